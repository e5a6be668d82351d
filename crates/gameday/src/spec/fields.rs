//! Reading maps of YAML member by member, so that every mistake is named with its line and nothing is passed over.

use std::time::Duration;

use crate::yaml::{Mistake, Node, Value};

/// A map of which members are taken one by one.
pub struct Fields<'a> {
    /// Where it stands, for messages: `faults[0]`.
    path: String,
    line: usize,
    members: Vec<(&'a str, usize, &'a Node)>,
}

impl<'a> Fields<'a> {
    pub fn of(node: &'a Node, path: &str) -> Result<Self, Mistake> {
        let Value::Map(members) = &node.value else {
            return Err(Mistake { line: node.line, message: format!("{path} should be a map") });
        };
        let members = members.iter().map(|(key, line, node)| (key.as_str(), *line, node)).collect();
        Ok(Self { path: path.into(), line: node.line, members })
    }

    pub fn line(&self) -> usize {
        self.line
    }

    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a member that may be absent.
    pub fn take(&mut self, name: &str) -> Option<&'a Node> {
        let at = self.members.iter().position(|(key, ..)| *key == name)?;
        Some(self.members.remove(at).2)
    }

    /// Takes a member that must be there.
    pub fn need(&mut self, name: &str) -> Result<&'a Node, Mistake> {
        self.take(name).ok_or_else(|| Mistake { line: self.line, message: format!("{} is missing", self.path(name)) })
    }

    pub fn text(&mut self, name: &str) -> Result<Option<String>, Mistake> {
        self.take(name).map(|node| text(node, &self.path(name))).transpose()
    }

    pub fn duration(&mut self, name: &str) -> Result<Option<Duration>, Mistake> {
        self.take(name).map(|node| duration(node, &self.path(name))).transpose()
    }

    /// Takes a percentage above 0 and up to 100, as a ratio.
    pub fn percent(&mut self, name: &str) -> Result<Option<f64>, Mistake> {
        let Some(node) = self.take(name) else { return Ok(None) };
        let given = text(node, &self.path(name))?;
        let number = given.trim_end_matches(['%', ' ']).parse::<f64>().ok();
        match number.filter(|number| *number > 0.0 && *number <= 100.0) {
            Some(number) => Ok(Some(number / 100.0)),
            None => Err(mistake(node, &self.path(name), &given, "a percentage above 0 and up to 100, such as 99.9")),
        }
    }

    /// Takes a whole number within bounds.
    pub fn number(&mut self, name: &str, bounds: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Mistake> {
        let Some(node) = self.take(name) else { return Ok(None) };
        let given = text(node, &self.path(name))?;
        match given.parse().ok().filter(|number| bounds.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let wanted = format!("a number from {} to {}", bounds.start(), bounds.end());
                Err(mistake(node, &self.path(name), &given, &wanted))
            }
        }
    }

    /// Takes a map of text to text.
    pub fn texts(&mut self, name: &str) -> Result<Vec<(String, String)>, Mistake> {
        let Some(node) = self.take(name) else { return Ok(Vec::new()) };
        let fields = Fields::of(node, &self.path(name))?;
        (fields.members.iter()).map(|(key, _, node)| Ok(((*key).to_owned(), text(node, &fields.path(key))?))).collect()
    }

    /// Takes a list of text, or one text.
    pub fn list(&mut self, name: &str) -> Result<Vec<String>, Mistake> {
        let path = self.path(name);
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Node { value: Value::List(items), .. }) => items.iter().map(|item| text(item, &path)).collect(),
            Some(node) => Ok(vec![text(node, &path)?]),
        }
    }

    /// Refuses what nobody has taken.
    pub fn end(self) -> Result<(), Mistake> {
        match self.members.first() {
            Some((name, line, _)) => {
                Err(Mistake { line: *line, message: format!("{} is not known here", self.path(name)) })
            }
            None => Ok(()),
        }
    }
}

/// The items of a list, each with its path.
pub fn items<'a>(node: &'a Node, path: &str) -> Result<Vec<(String, &'a Node)>, Mistake> {
    match &node.value {
        Value::List(items) => Ok(items.iter().enumerate().map(|(n, item)| (format!("{path}[{n}]"), item)).collect()),
        _ => Err(Mistake { line: node.line, message: format!("{path} should be a list") }),
    }
}

pub fn text(node: &Node, path: &str) -> Result<String, Mistake> {
    match node.text() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(Mistake { line: node.line, message: format!("{path} should be text") }),
    }
}

pub fn duration(node: &Node, path: &str) -> Result<Duration, Mistake> {
    let given = text(node, path)?;
    read_duration(&given).ok_or_else(|| mistake(node, path, &given, "a duration such as 250ms, 20s, 5m or 1h"))
}

fn mistake(node: &Node, path: &str, given: &str, wanted: &str) -> Mistake {
    Mistake { line: node.line, message: format!("{path}: '{given}' is not {wanted}") }
}

/// Reads `250ms`, `90s`, `5m`, `1h`, and `0s`; a bare number is seconds.
fn read_duration(text: &str) -> Option<Duration> {
    /// Longer than a day is no game.
    const SECONDS_MAX: f64 = 86_400.0;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds = digits.parse::<f64>().ok()? * unit;
    (0.0..=SECONDS_MAX).contains(&seconds).then(|| Duration::from_micros((seconds * 1e6).round() as u64))
}
