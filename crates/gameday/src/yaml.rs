//! YAML (and JSON, which is written the same) as a tree that knows its lines.
//!
//! Game days are read from it, and findings in templates are placed by it. A template's short forms (`!Ref x`) are read
//! as if the tag were not there: what a template means is the cloud's to say, here it is only looked at.

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value as Json};

/// Deeper trees are refused, so that whoever walks one may recurse.
const DEPTH_MAX: usize = 100;
/// Larger files are no game day and no template.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// A node and the line where it begins, from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text as written, and whether it was quoted.
    Scalar(String, bool),
    List(Vec<Node>),
    /// In the order of the file; a key's line is where the key stands.
    Map(Vec<(String, usize, Node)>),
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub line: usize,
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Reads one document.
pub fn read(text: &str) -> Result<Node, Mistake> {
    if text.len() > BYTES_MAX {
        return Err(Mistake { line: 1, message: format!("a file of over {BYTES_MAX} bytes") });
    }
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    for event in Parser::new_from_str(text) {
        let (event, span) = event
            .map_err(|error| Mistake { line: error.marker().line(), message: format!("not YAML: {}", error.info()) })?;
        let line = span.start.line();
        let refuse = |message: &str| Err(Mistake { line, message: message.into() });
        let done = match event {
            Event::Scalar(text, style, ..) => Some(scalar(text, style, line)),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH_MAX => {
                return refuse("lists and maps nest too deeply");
            }
            Event::SequenceStart(..) => {
                open.push(Open { line, value: Value::List(Vec::new()), key: None });
                None
            }
            Event::MappingStart(..) => {
                open.push(Open { line, value: Value::Map(Vec::new()), key: None });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop().map(|open| Node { line: open.line, value: open.value })
            }
            // What an alias stands for would have to be copied; nothing that is read here needs it.
            Event::Alias(_) => Some(scalar(Cow::Borrowed("*"), ScalarStyle::Plain, line)),
            Event::DocumentStart(_) if root.is_some() => return refuse("a second document"),
            _ => None,
        };
        if let Some(node) = done {
            match open.last_mut() {
                Some(parent) => parent.take(node)?,
                None => root = Some(node),
            }
        }
    }
    root.ok_or(Mistake { line: 1, message: "the file is empty".into() })
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, line: usize) -> Node {
    Node { line, value: Value::Scalar(text.into_owned(), style != ScalarStyle::Plain) }
}

/// A list or a map whose end has not been seen.
struct Open {
    line: usize,
    value: Value,
    key: Option<(String, usize)>,
}

impl Open {
    fn take(&mut self, node: Node) -> Result<(), Mistake> {
        match (&mut self.value, self.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(members), Some((key, line))) => members.push((key, line, node)),
            (Value::Map(members), None) => match node.value {
                Value::Scalar(key, _) if members.iter().any(|(other, ..)| *other == key) => {
                    return Err(Mistake { line: node.line, message: format!("'{key}' is given twice") });
                }
                Value::Scalar(key, _) => self.key = Some((key, node.line)),
                _ => return Err(Mistake { line: node.line, message: "a key that is not text".into() }),
            },
            (Value::Scalar(..), _) => (),
        }
        Ok(())
    }
}

impl Node {
    /// A member of a map.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.member(name).map(|(_, node)| node)
    }

    /// A member of a map, with the line of its key.
    pub fn member(&self, name: &str) -> Option<(usize, &Node)> {
        let Value::Map(members) = &self.value else { return None };
        members.iter().find(|(key, ..)| key == name).map(|(_, line, node)| (*line, node))
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// As JSON: plain numbers, booleans and null as such.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(text, true) => text.clone().into(),
            Value::Scalar(text, false) => plain(text),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(members) => {
                Json::Object(members.iter().map(|(key, _, node)| (key.clone(), node.to_json())).collect::<Map<_, _>>())
            }
        }
    }
}

fn plain(text: &str) -> Json {
    match text {
        "" | "~" | "null" => Json::Null,
        "true" => true.into(),
        "false" => false.into(),
        _ => text.parse::<serde_json::Number>().map_or_else(|_| text.into(), Json::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_their_lines() {
        let root = read("a:\n  - b: 1\n    c: 'yes'\nd: !Ref x\n").expect("valid");
        let list = root.get("a").expect("there");
        let Value::List(items) = &list.value else { panic!("a list") };
        assert_eq!((items[0].line, items[0].member("c").expect("there").0), (2, 3));
        assert_eq!(root.member("d").map(|(line, node)| (line, node.text())), Some((4, Some("x"))));
        assert_eq!(root.to_json(), serde_json::json!({"a": [{"b": 1, "c": "yes"}], "d": "x"}));
    }

    #[test]
    fn mistakes_are_placed() {
        for (text, line, part) in
            [("a: 1\na: 2", 2, "twice"), ("a: [", 1, "not YAML"), ("", 1, "empty"), ("[a]: 1", 1, "not text")]
        {
            let mistake = read(text).expect_err(text);
            assert!(mistake.message.contains(part), "{text}: {mistake}");
            assert!(mistake.line >= line, "{text}: {mistake}");
        }
    }
}
