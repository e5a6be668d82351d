//! Filters and pages of the Describe operations, for every resource alike.
//!
//! A resource says which filters it has (`Described::FIELDS`), each a function from the answer's shape to the values it
//! is compared with. Invariant: a filter that no resource of the operation has is refused, also when there is nothing to
//! filter.

use standfast_api::ec2 as api;
use standfast_core::Result;
use standfast_core::page::page;

use super::errors;

/// A filter's name and the values that a resource has for it.
pub type Field<S> = (&'static str, fn(&S) -> Vec<String>);

/// A shape that a Describe operation answers with.
pub trait Described: Sized + 'static {
    /// All filters but `tag:KEY` and `tag-key`.
    const FIELDS: &'static [Field<Self>];
    /// Whether it has the filters `tag:KEY` and `tag-key`.
    const TAGGED: bool = true;

    fn tags(&self) -> Option<&Vec<api::Tag>>;

    /// What listings are ordered by, and tokens speak of.
    fn key(&self) -> String;
}

/// How an operation pages.
#[derive(Clone, Copy, Debug)]
pub struct Paging<'a> {
    pub max: Option<i32>,
    pub token: Option<&'a str>,
    /// The bounds of MaxResults.
    pub bounds: (i32, i32),
}

/// MaxResults of almost every operation.
pub const USUAL_BOUNDS: (i32, i32) = (5, 1000);

/// The shapes that pass the filters, as a page. `rows` come ordered by `Described::key`.
pub fn answer<S: Described>(
    rows: impl IntoIterator<Item = S>,
    filters: Option<&Vec<api::Filter>>,
    paging: Paging,
) -> Result<(Vec<S>, Option<String>)> {
    let filters = Filters::parse(filters)?;
    let limit = match paging.max {
        None => usize::MAX,
        Some(max) => limit(max, paging.bounds)?,
    };
    let rows = rows.into_iter().filter(|row| filters.pass(row));
    let token = paging.token.filter(|token| !token.is_empty());
    let page = page(rows, S::key, token, limit, "InvalidNextToken")?;
    Ok((page.items, page.next))
}

fn limit(max: i32, (low, high): (i32, i32)) -> Result<usize> {
    if max < low {
        let message = format!(
            "Value ( {max} ) for parameter maxResults is invalid. Expecting a value greater than or equal to {low}."
        );
        return Err(errors::invalid(message));
    }
    if max > high {
        let message = format!(
            "Value ( {max} ) for parameter maxResults is invalid. Expecting a value less than or equal to {high}."
        );
        return Err(errors::invalid(message));
    }
    Ok(max as usize)
}

enum Test<S> {
    Field(fn(&S) -> Vec<String>),
    Tag(String),
    TagKey,
}

/// Parsed filters: all must hold, each by any of its values.
pub struct Filters<S>(Vec<(Test<S>, Vec<String>)>);

impl<S: Described> Filters<S> {
    pub fn parse(filters: Option<&Vec<api::Filter>>) -> Result<Self> {
        let mut parsed = Vec::new();
        for filter in filters.into_iter().flatten() {
            let name = filter.name.as_deref().unwrap_or_default();
            let values = filter.values.clone().unwrap_or_default();
            parsed.push((Self::test(name)?, values));
        }
        Ok(Self(parsed))
    }

    fn test(name: &str) -> Result<Test<S>> {
        if S::TAGGED && name == "tag-key" {
            return Ok(Test::TagKey);
        }
        if let Some(key) = name.strip_prefix("tag:").filter(|_| S::TAGGED) {
            return Ok(Test::Tag(key.to_owned()));
        }
        let field = S::FIELDS.iter().find(|(field, _)| *field == name);
        field
            .map(|(_, values)| Test::Field(*values))
            .ok_or_else(|| errors::invalid(format!("The filter '{name}' is invalid")))
    }

    pub fn pass(&self, row: &S) -> bool {
        self.0.iter().all(|(test, patterns)| match test {
            Test::Field(values) => any(patterns, &values(row)),
            Test::TagKey => row.tags().is_some_and(|tags| tags.iter().any(|tag| one_of(patterns, tag.key.as_deref()))),
            Test::Tag(key) => row.tags().is_some_and(|tags| {
                tags.iter().any(|tag| tag.key.as_ref() == Some(key) && one_of(patterns, tag.value.as_deref()))
            }),
        })
    }
}

fn any(patterns: &[String], values: &[String]) -> bool {
    values.iter().any(|value| one_of(patterns, Some(value)))
}

/// The values that a filter allows for a field, when it names them without wildcards; `None` when it does not.
pub fn exactly<'a>(filters: Option<&'a Vec<api::Filter>>, name: &str) -> Option<Vec<&'a str>> {
    let filter = filters?.iter().find(|filter| filter.name.as_deref() == Some(name))?;
    let values = filter.values.as_ref().filter(|values| !values.is_empty())?;
    let plain = values.iter().all(|value| !value.contains(['*', '?', '\\']));
    plain.then(|| values.iter().map(String::as_str).collect())
}

fn one_of(patterns: &[String], value: Option<&str>) -> bool {
    value.is_some_and(|value| patterns.iter().any(|pattern| like(pattern, value)))
}

/// Whether the value fits the pattern: `*` is any text, `?` any one character, and a backslash takes the next one as it
/// is. Case matters.
pub fn like(pattern: &str, value: &str) -> bool {
    if !pattern.contains(['*', '?', '\\']) {
        return pattern == value;
    }
    let (pattern, value): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
    let (mut p, mut v) = (0, 0);
    // Where to go on when the text after the last star does not fit.
    let mut star: Option<(usize, usize)> = None;
    while v < value.len() {
        let (literal, width) = match pattern.get(p) {
            Some('\\') if p + 1 < pattern.len() => (Some(pattern[p + 1]), 2),
            Some('*') => {
                star = Some((p + 1, v));
                p += 1;
                continue;
            }
            Some('?') => (Some(value[v]), 1),
            Some(c) => (Some(*c), 1),
            None => (None, 0),
        };
        if literal == Some(value[v]) {
            (p, v) = (p + width, v + 1);
        } else if let Some((after, from)) = star {
            (p, v) = (after, from + 1);
            star = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The value of an optional text.
pub fn one(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

/// A value's text, for booleans and numbers.
pub fn text<T: ToString>(value: Option<T>) -> Vec<String> {
    value.iter().map(T::to_string).collect()
}

/// One value of each item of an optional list.
pub fn each<T>(items: &Option<Vec<T>>, value: impl Fn(&T) -> &Option<String>) -> Vec<String> {
    items.iter().flatten().filter_map(|item| value(item).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_ec2_does() {
        for (pattern, value, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("amzn2-ami-hvm-*-x86_64-*", "amzn2-ami-hvm-2.0.20251110.0-x86_64-gp2", true),
            ("amzn2-ami-hvm-*-arm64-*", "amzn2-ami-hvm-2.0.20251110.0-x86_64-gp2", false),
            ("t?.micro", "t3.micro", true),
            ("t?.micro", "t3a.micro", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxbxxa", false),
            ("", "", true),
            ("", "x", false),
            ("??", "é1", true),
        ] {
            assert_eq!(like(pattern, value), expected, "{pattern} on {value}");
        }
    }

    struct Row(Option<Vec<api::Tag>>);
    impl Described for Row {
        const FIELDS: &'static [Field<Self>] = &[("colour", |_| vec!["red".into()])];
        fn tags(&self) -> Option<&Vec<api::Tag>> {
            self.0.as_ref()
        }
        fn key(&self) -> String {
            String::new()
        }
    }

    fn filter(name: &str, values: &[&str]) -> Vec<api::Filter> {
        vec![api::Filter {
            name: Some(name.into()),
            values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
        }]
    }

    #[test]
    fn filters_look_at_fields_and_tags() {
        let row = Row(Some(vec![api::Tag { key: Some("Name".into()), value: Some("web-1".into()) }]));
        for (name, values, expected) in [
            ("colour", &["blue", "r*"][..], true),
            ("colour", &["blue"], false),
            ("tag:Name", &["web-?"], true),
            ("tag:name", &["web-?"], false),
            ("tag-key", &["Na*"], true),
            ("tag-key", &[], false),
        ] {
            let filters = Filters::parse(Some(&filter(name, values))).expect("a known filter");
            assert_eq!(filters.pass(&row), expected, "{name} {values:?}");
        }
        let error = Filters::<Row>::parse(Some(&filter("foo", &["x"]))).err().expect("unknown");
        assert_eq!(
            (error.code.as_ref(), error.message.as_str()),
            ("InvalidParameterValue", "The filter 'foo' is invalid")
        );
    }
}
