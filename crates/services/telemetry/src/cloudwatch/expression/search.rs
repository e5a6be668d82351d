//! The language of SEARCH: `{AWS/EC2,InstanceId} MetricName="CPUUtilization" (web OR "api-1") NOT test`. Pure.
//!
//! A word matches where its parts follow each other among the parts of a name or value (`webServer-12` has the parts web,
//! server, 12), whatever the case; a word in quotes only the whole of one. Without an operator between two, both are meant.

use super::super::points::MetricName;
use super::super::stat::Stat;
use super::MathError;
use super::parse::Expr;

/// The service's limit of a search's text, and how deep it may nest.
const CHARS_MAX: usize = 1024;
const DEPTH_MAX: usize = 32;
/// Metrics that one search gives.
pub const FOUND_MAX: usize = 500;

/// A search, with what to read of each metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    schema: Option<Schema>,
    terms: Terms,
    pub stat_name: String,
    pub stat: Stat,
    /// The query's own where none is given.
    pub period_s: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Schema {
    namespace: String,
    /// Sorted.
    dimensions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Terms {
    All(Vec<Terms>),
    Any(Vec<Terms>),
    Not(Box<Terms>),
    /// In the property of this name, or in any.
    Word(Option<String>, Word),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Exact(String),
    Parts(Vec<String>),
}

impl Search {
    pub(super) fn of(args: &[Expr]) -> Result<Search, MathError> {
        let (Expr::Text(text), Expr::Text(stat_name)) = (&args[0], &args[1]) else {
            return Err(MathError::new("SEARCH takes a search and a statistic, both in quotes, and a period"));
        };
        let stat =
            Stat::named(stat_name).ok_or_else(|| MathError::new(format!("SEARCH has no statistic '{stat_name}'")))?;
        let period_s = match args.get(2) {
            None => None,
            Some(Expr::Number(seconds)) => Some(*seconds as i32),
            Some(_) => return Err(MathError::new("the third argument of SEARCH is a period in seconds")),
        };
        let (schema, terms) = parse(text)?;
        Ok(Search { schema, terms, stat_name: stat_name.clone(), stat, period_s })
    }

    pub fn finds(&self, metric: &MetricName) -> bool {
        let fits = |schema: &Schema| {
            let mut names: Vec<_> = metric.dimensions.iter().map(|(name, _)| name).collect();
            names.sort();
            schema.namespace == metric.namespace && names.into_iter().eq(&schema.dimensions)
        };
        self.schema.as_ref().is_none_or(fits) && self.terms.find(metric)
    }
}

impl Terms {
    fn find(&self, metric: &MetricName) -> bool {
        match self {
            Terms::All(terms) => terms.iter().all(|term| term.find(metric)),
            Terms::Any(terms) => terms.iter().any(|term| term.find(metric)),
            Terms::Not(term) => !term.find(metric),
            Terms::Word(None, word) => {
                let dimensions = metric.dimensions.iter().flat_map(|(name, value)| [name, value]);
                [&metric.namespace, &metric.name].into_iter().chain(dimensions).any(|text| word.is_in(text))
            }
            Terms::Word(Some(property), word) => match property.as_str() {
                "MetricName" => word.is_in(&metric.name),
                "Namespace" => word.is_in(&metric.namespace),
                name => metric.dimensions.iter().any(|(own, value)| own == name && word.is_in(value)),
            },
        }
    }
}

impl Word {
    fn is_in(&self, text: &str) -> bool {
        match self {
            Word::Exact(whole) => text == whole,
            Word::Parts(wanted) => parts(text).windows(wanted.len()).any(|some| some == wanted),
        }
    }
}

/// `myCPUServer-12` has my, cpu, server, 12.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut before): (Vec<String>, Option<char>) = (Vec::new(), None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c.is_alphanumeric() {
            let ends_capitals = rest.peek().is_some_and(|next| next.is_lowercase());
            let begins = before.is_none_or(|before| {
                !before.is_alphanumeric()
                    || before.is_numeric() != c.is_numeric()
                    || c.is_uppercase() && (before.is_lowercase() || ends_capitals)
            });
            if begins {
                parts.push(String::new());
            }
            if let Some(last) = parts.last_mut() {
                last.extend(c.to_lowercase());
            }
        }
        before = Some(c);
    }
    parts
}

fn parse(text: &str) -> Result<(Option<Schema>, Terms), MathError> {
    if text.chars().count() > CHARS_MAX {
        return Err(MathError::new(format!("a search has {CHARS_MAX} characters at most")));
    }
    let (schema, rest) = match text.trim_start().strip_prefix('{') {
        None => (None, text),
        Some(rest) => {
            let (inner, rest) =
                rest.split_once('}').ok_or_else(|| MathError::new("a search's schema is not closed"))?;
            let mut names = inner.split(',').map(|name| name.trim().trim_matches('"').to_owned());
            let namespace = names.next().unwrap_or_default();
            let mut dimensions: Vec<_> = names.collect();
            dimensions.sort();
            (Some(Schema { namespace, dimensions }), rest)
        }
    };
    let tokens = tokens(rest)?;
    let mut parser = Parser { tokens: &tokens, depth: 0 };
    let terms = parser.any(None)?;
    match parser.tokens.first() {
        None => Ok((schema, terms)),
        Some(token) => Err(MathError::new(format!("unexpected {token:?} in a search"))),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Quoted(String),
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, MathError> {
    let (mut rest, mut tokens) = (text.trim_start(), Vec::new());
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '(' | ')' | '=' => {
                tokens.push(Token::Sign(first));
                1
            }
            '"' => {
                let len = rest[1..].find('"').ok_or_else(|| MathError::new("a quote in a search is not closed"))?;
                tokens.push(Token::Quoted(rest[1..=len].to_owned()));
                len + 2
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "()=\"".contains(c);
                let len = rest.find(ends).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..len].to_owned()));
                len
            }
        };
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self, property: Option<&str>) -> Result<Terms, MathError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(MathError::new(format!("a search is nested more than {DEPTH_MAX} deep")));
        }
        let mut terms = vec![self.all(property)?];
        while self.word("OR") {
            terms.push(self.all(property)?);
        }
        self.depth -= 1;
        Ok(if terms.len() == 1 { terms.remove(0) } else { Terms::Any(terms) })
    }

    fn all(&mut self, property: Option<&str>) -> Result<Terms, MathError> {
        let mut terms = Vec::new();
        loop {
            self.word("AND");
            match self.tokens.first() {
                None | Some(Token::Sign(')')) => break,
                Some(Token::Word(word)) if word == "OR" => break,
                Some(_) => terms.push(self.one(property)?),
            }
        }
        Ok(Terms::All(terms))
    }

    fn one(&mut self, property: Option<&str>) -> Result<Terms, MathError> {
        if self.word("NOT") {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return Err(MathError::new(format!("a search is nested more than {DEPTH_MAX} deep")));
            }
            let term = self.one(property)?;
            self.depth -= 1;
            return Ok(Terms::Not(Box::new(term)));
        }
        let early = || MathError::new("a search ends too early");
        let (first, rest) = self.tokens.split_first().ok_or_else(early)?;
        self.tokens = rest;
        let word = match first {
            Token::Sign('(') => {
                let inner = self.any(property)?;
                return if self.sign(')') { Ok(inner) } else { Err(early()) };
            }
            Token::Sign(sign) => return Err(MathError::new(format!("unexpected '{sign}' in a search"))),
            Token::Word(name) | Token::Quoted(name) if property.is_none() && self.sign('=') => {
                return self.one(Some(name.trim_start_matches(':')));
            }
            Token::Quoted(text) => Word::Exact(text.clone()),
            Token::Word(text) => Word::Parts(parts(text)),
        };
        Ok(Terms::Word(property.map(str::to_owned), word))
    }

    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.first(), Some(Token::Word(first)) if first == word);
        self.tokens = &self.tokens[usize::from(found)..];
        found
    }

    fn sign(&mut self, sign: char) -> bool {
        let found = self.tokens.first() == Some(&Token::Sign(sign));
        self.tokens = &self.tokens[usize::from(found)..];
        found
    }
}

/// Labels for metrics that were found together: what tells them apart.
pub fn labels(metrics: &[MetricName]) -> Vec<String> {
    let Some(first) = metrics.first() else { return Vec::new() };
    let names_differ = metrics.iter().any(|metric| metric.name != first.name);
    let namespaces_differ = metrics.iter().any(|metric| metric.namespace != first.namespace);
    let label = |metric: &MetricName| {
        let own = metric.dimensions.iter().filter(|pair| !metrics.iter().all(|other| other.dimensions.contains(pair)));
        let mut parts: Vec<&str> = if namespaces_differ { vec![&metric.namespace] } else { Vec::new() };
        parts.extend(own.map(|(_, value)| value.as_str()));
        if names_differ || parts.is_empty() {
            parts.push(&metric.name);
        }
        parts.join(" ")
    };
    metrics.iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(namespace: &str, name: &str, dimensions: &[(&str, &str)]) -> MetricName {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        MetricName { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }

    #[test]
    fn searches_find_by_schema_words_and_properties() {
        let metrics = [
            metric("AWS/EC2", "CPUUtilization", &[("InstanceId", "i-123")]),
            metric("AWS/EC2", "CPUUtilization", &[("AutoScalingGroupName", "myWebServer-Prod")]),
            metric("AWS/EC2", "NetworkIn", &[("InstanceId", "i-123")]),
            metric("Shop App", "TotalCount", &[]),
        ];
        for (text, found) in [
            ("", &[0, 1, 2, 3][..]),
            ("{AWS/EC2,InstanceId}", &[0, 2]),
            ("{AWS/EC2,InstanceId} cpu", &[0]),
            ("{AWS/EC2,InstanceId} CPUUtilization", &[0]),
            ("{\"Shop App\"} count", &[3]),
            ("{AWS/EC2}", &[]),
            ("CPUUtil", &[]),
            ("\"CPUUtilization\"", &[0, 1]),
            ("\"CPU\"", &[]),
            ("web server", &[1]),
            ("webServer", &[1]),
            ("serverWeb", &[]),
            ("MetricName=\"NetworkIn\"", &[2]),
            ("MetricName=network", &[2]),
            ("Namespace=\"AWS/EC2\" NOT MetricName=\"NetworkIn\"", &[0, 1]),
            ("InstanceId=(\"i-123\" OR \"i-9\") AND MetricName=cpu", &[0]),
            ("total OR network", &[2, 3]),
            ("network i-123", &[2]),
            ("NOT NOT (total)", &[3]),
        ] {
            let (schema, terms) = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let search = Search { schema, terms, stat_name: "Sum".into(), stat: Stat::Sum, period_s: None };
            let places = (0..metrics.len()).filter(|i| search.finds(&metrics[*i]));
            assert_eq!(places.collect::<Vec<_>>(), found, "{text}");
        }
        let deep = "(".repeat(100);
        for bad in ["{AWS/EC2", "\"open", "(a", "a)", "=a", deep.as_str(), &"NOT ".repeat(100)] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(labels(&metrics[..1]), ["CPUUtilization"]);
        assert_eq!(labels(&metrics[..2]), ["i-123", "myWebServer-Prod"]);
        assert_eq!(labels(&[metrics[0].clone(), metrics[2].clone()]), ["CPUUtilization", "NetworkIn"]);
    }
}
