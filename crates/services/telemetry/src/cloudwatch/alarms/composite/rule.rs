//! The language of AlarmRule: `ALARM(a) AND NOT (OK("b") OR INSUFFICIENT_DATA(c))`. Pure.
//!
//! Words may be in any case, names of alarms may be in quotes; NOT binds most, then AND, then OR.

use standfast_core::Arn;

use super::super::evaluate::State;

/// The limits of the service: alarms, elements (alarms, TRUE, FALSE, parentheses) and characters.
pub const CHILDREN_MAX: usize = 100;
pub const ELEMENTS_MAX: usize = 500;
pub const CHARS_MAX: usize = 10_240;

/// A rule. Alarms are named, also where an ARN was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    Is(State, String),
    Const(bool),
    Not(Box<Rule>),
    All(Vec<Rule>),
    Any(Vec<Rule>),
}

impl Rule {
    /// `Err` says what is wrong.
    pub fn parse(text: &str) -> Result<Rule, String> {
        if text.chars().count() > CHARS_MAX {
            return Err(format!("it has more than {CHARS_MAX} characters"));
        }
        let mut parser = Parser { text, at: 0, elements: 0 };
        let rule = parser.any()?;
        parser.skip_space();
        if parser.at < text.len() {
            return Err(parser.unexpected());
        }
        let children = rule.children().len();
        if children > CHILDREN_MAX {
            return Err(format!("it has {children} alarms where {CHILDREN_MAX} are allowed"));
        }
        Ok(rule)
    }

    /// The names of its alarms, each once, in order.
    pub fn children(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.names(&mut names);
        names
    }

    fn names<'a>(&'a self, names: &mut Vec<&'a str>) {
        match self {
            Rule::Const(_) => {}
            Rule::Is(_, name) => {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
            Rule::Not(inner) => inner.names(names),
            Rule::All(rules) | Rule::Any(rules) => rules.iter().for_each(|rule| rule.names(names)),
        }
    }

    /// Whether it holds. An alarm that is not there is in no state.
    pub fn holds(&self, state: &dyn Fn(&str) -> Option<State>) -> bool {
        match self {
            Rule::Const(holds) => *holds,
            Rule::Is(wanted, name) => state(name) == Some(*wanted),
            Rule::Not(inner) => !inner.holds(state),
            Rule::All(rules) => rules.iter().all(|rule| rule.holds(state)),
            Rule::Any(rules) => rules.iter().any(|rule| rule.holds(state)),
        }
    }

    /// The alarms because of which it holds, or does not, each once, in order.
    pub fn because(&self, state: &dyn Fn(&str) -> Option<State>) -> Vec<&str> {
        let mut names = Vec::new();
        self.decisive(state, &mut names);
        names
    }

    fn decisive<'a>(&'a self, state: &dyn Fn(&str) -> Option<State>, names: &mut Vec<&'a str>) {
        let holds = self.holds(state);
        match self {
            Rule::Const(_) | Rule::Is(..) => self.names(names),
            Rule::Not(inner) => inner.decisive(state, names),
            Rule::All(rules) | Rule::Any(rules) => {
                rules.iter().filter(|rule| rule.holds(state) == holds).for_each(|rule| rule.decisive(state, names));
            }
        }
    }
}

/// The name of an alarm that is given by name or ARN.
pub fn name_of(given: &str) -> &str {
    let is_arn = given.starts_with("arn:") && given.parse::<Arn>().is_ok_and(|arn| arn.service == "cloudwatch");
    given.split_once(":alarm:").filter(|_| is_arn).map_or(given, |(_, name)| name)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    elements: usize,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<Rule, String> {
        let mut rules = vec![self.all()?];
        while self.word("OR") {
            rules.push(self.all()?);
        }
        Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::Any(rules) })
    }

    fn all(&mut self) -> Result<Rule, String> {
        let mut rules = vec![self.one()?];
        while self.word("AND") {
            rules.push(self.one()?);
        }
        Ok(if rules.len() == 1 { rules.remove(0) } else { Rule::All(rules) })
    }

    fn one(&mut self) -> Result<Rule, String> {
        let mut negative = false;
        while self.word("NOT") {
            negative = !negative;
        }
        let rule = self.element()?;
        Ok(if negative { Rule::Not(Box::new(rule)) } else { rule })
    }

    fn element(&mut self) -> Result<Rule, String> {
        // Counted on the way down, which also bounds how deep this nests.
        self.count()?;
        if self.sign('(') {
            let rule = self.any()?;
            self.close()?;
            self.count()?;
            return Ok(rule);
        }
        for (word, holds) in [("TRUE", true), ("FALSE", false)] {
            if self.word(word) {
                return Ok(Rule::Const(holds));
            }
        }
        for state in State::ALL {
            if self.word(state.name()) {
                if !self.sign('(') {
                    return Err(format!("{} is not followed by an alarm in parentheses", state.name()));
                }
                let name = self.name()?;
                self.close()?;
                return Ok(Rule::Is(*state, name_of(name).to_owned()));
            }
        }
        Err(self.unexpected())
    }

    fn count(&mut self) -> Result<(), String> {
        self.elements += 1;
        let fits = self.elements <= ELEMENTS_MAX;
        fits.then_some(()).ok_or_else(|| format!("it has more than {ELEMENTS_MAX} elements"))
    }

    fn name(&mut self) -> Result<&'a str, String> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let (name, len) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"').ok_or("a quote is not closed")?;
                (&quoted[..end], end + 2)
            }
            None => {
                let end = rest.find(')').ok_or("')' is missing at the end")?;
                (rest[..end].trim_end(), end)
            }
        };
        if name.is_empty() {
            return Err("an alarm has no name".to_owned());
        }
        self.at += len;
        Ok(name)
    }

    /// Takes a word that no letter follows.
    fn word(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = &self.text.as_bytes()[self.at..];
        let ends = rest.get(word.len()).is_none_or(|next| !next.is_ascii_alphanumeric() && *next != b'_');
        let found = ends && rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()));
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(sign);
        self.at += if found { sign.len_utf8() } else { 0 };
        found
    }

    fn close(&mut self) -> Result<(), String> {
        if self.sign(')') { Ok(()) } else { Err(self.unexpected()) }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn unexpected(&self) -> String {
        match self.text[self.at..].split_whitespace().next() {
            Some(next) => format!("unexpected '{next}' at character {}", self.text[..self.at].chars().count() + 1),
            None => "it ends too early".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` is in ALARM, `o` is OK, `i` has INSUFFICIENT_DATA; nothing else is there.
    fn state(name: &str) -> Option<State> {
        match name.chars().next() {
            Some('a') => Some(State::Alarm),
            Some('o') => Some(State::Ok),
            Some('i') => Some(State::InsufficientData),
            _ => None,
        }
    }

    /// A rule, whether it holds, and because of which alarms.
    #[rustfmt::skip]
    const CASES: &[(&str, bool, &[&str])] = &[
        ("ALARM(a)", true, &["a"]),
        ("ALARM(o)", false, &["o"]),
        ("ALARM(i)", false, &["i"]),
        ("OK(o)", true, &["o"]),
        ("OK(a)", false, &["a"]),
        ("INSUFFICIENT_DATA(i)", true, &["i"]),
        ("INSUFFICIENT_DATA(o)", false, &["o"]),
        ("TRUE", true, &[]),
        ("false", false, &[]),
        ("NOT TRUE", false, &[]),
        ("NOT ALARM(o)", true, &["o"]),
        ("NOT NOT ALARM(a)", true, &["a"]),
        // The User Guide's examples.
        ("ALARM(a1) AND ALARM(a2)", true, &["a1", "a2"]),
        ("ALARM(a) AND ALARM(o)", false, &["o"]),
        ("ALARM(a) AND NOT ALARM(o)", true, &["a", "o"]),
        ("ALARM(a1) AND NOT ALARM(a2)", false, &["a2"]),
        ("(ALARM(a) OR ALARM(o1)) AND OK(o2)", true, &["a", "o2"]),
        ("(ALARM(o1) OR ALARM(o2)) AND OK(o3)", false, &["o1", "o2"]),
        ("ALARM(a1) OR ALARM(a2)", true, &["a1", "a2"]),
        ("ALARM(o1) OR ALARM(o2)", false, &["o1", "o2"]),
        // AND binds more than OR, NOT more than AND.
        ("ALARM(a) OR ALARM(o1) AND ALARM(o2)", true, &["a"]),
        ("(ALARM(a) OR ALARM(o1)) AND ALARM(o2)", false, &["o2"]),
        ("NOT ALARM(o) AND ALARM(o)", false, &["o"]),
        ("NOT (ALARM(o) AND ALARM(a))", true, &["o"]),
        ("FALSE AND ALARM(a) OR TRUE", true, &[]),
        ("ALARM(a1) AND (OK(o) OR (INSUFFICIENT_DATA(i) AND NOT OK(a2)))", true, &["a1", "o", "i", "a2"]),
        // Names in every way.
        ("ALARM(\"a\")", true, &["a"]),
        ("ALARM( a b )", true, &["a b"]),
        ("ALARM(\"a (b) OR c\")", true, &["a (b) OR c"]),
        ("ALARM(arn:aws:cloudwatch:eu-west-1:000000000000:alarm:a:b)", true, &["a:b"]),
        ("ALARM(\"arn:aws:cloudwatch:eu-west-1:000000000000:alarm:a\")", true, &["a"]),
        ("ALARM(a)AND(ALARM(a))", true, &["a"]),
        ("\n alarm(a)\tor ok(a)\n", true, &["a"]),
        // What is not there is in no state.
        ("ALARM(x) OR OK(x) OR INSUFFICIENT_DATA(x)", false, &["x"]),
    ];

    #[test]
    fn rules_hold_as_documented() {
        for (text, holds, because) in CASES {
            let rule = Rule::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rule.holds(&state), *holds, "{text}");
            assert_eq!(rule.because(&state), *because, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let many = |n: usize, part: &dyn Fn(usize) -> String| (0..n).map(part).collect::<Vec<_>>().join(" OR ");
        let nested = format!("{}TRUE{}", "(".repeat(250), ")".repeat(250));
        for (bad, why) in [
            ("", "it ends too early"),
            ("  ", "it ends too early"),
            ("ALARM", "ALARM is not followed by an alarm in parentheses"),
            ("ALARM()", "an alarm has no name"),
            ("ALARM(a", "')' is missing at the end"),
            ("ALARM(\"a)", "a quote is not closed"),
            ("ALARM(\"a\" b)", "unexpected 'b)' at character 11"),
            ("ALARM(a) ALARM(b)", "unexpected 'ALARM(b)' at character 10"),
            ("ALARM(a) AND", "it ends too early"),
            ("(ALARM(a)", "it ends too early"),
            ("ALARM(a))", "unexpected ')' at character 9"),
            ("AND ALARM(a)", "unexpected 'AND' at character 1"),
            ("ALARMED(a)", "unexpected 'ALARMED(a)' at character 1"),
            ("TRUEST", "unexpected 'TRUEST' at character 1"),
            ("é", "unexpected 'é' at character 1"),
            (&many(101, &|i| format!("ALARM(a{i})")), "it has 101 alarms where 100 are allowed"),
            (&many(501, &|_| "TRUE".to_owned()), "it has more than 500 elements"),
            (&nested, "it has more than 500 elements"),
            (&format!("ALARM({})", "a".repeat(10_240)), "it has more than 10240 characters"),
        ] {
            assert_eq!(Rule::parse(bad), Err(why.to_owned()), "{bad:.40}");
        }
        assert!(Rule::parse(&many(100, &|i| format!("ALARM(a{i})"))).is_ok());
        assert!(Rule::parse(&many(500, &|_| "ALARM(a)".to_owned())).is_ok());
    }
}
