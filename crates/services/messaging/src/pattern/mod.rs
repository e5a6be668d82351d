//! Patterns over JSON: the filter policies of SNS and the event patterns of EventBridge.
//!
//! A pattern has the form of what it matches; each of its leaves is a list of conditions, one of which must hold. What is
//! there besides does not matter. `parse` says what a pattern may be in either dialect, this file what it matches.

mod parse;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde_json::{Map, Value};

pub use self::parse::{Dialect, parse};

/// All fields must match, and one of the alternatives, where there are any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pattern {
    fields: Vec<(String, Field)>,
    any: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Object(Pattern),
    /// One of them must hold.
    Leaf(Vec<Condition>),
}

#[derive(Clone, Debug, PartialEq)]
enum Condition {
    /// A text, a number, true, false or null.
    Is(Value),
    Text(Text),
    /// Something is there for which none of these holds.
    Not(Vec<Condition>),
    /// Bounds that all hold.
    Number(Vec<(Comparison, f64)>),
    Exists(bool),
    Cidr(IpAddr, u8),
}

#[derive(Clone, Debug, PartialEq)]
enum Text {
    Prefix(String),
    Suffix(String),
    PrefixOfAnyCase(String),
    SuffixOfAnyCase(String),
    AnyCase(String),
    /// Parts between the stars.
    Wildcard(Vec<String>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Pattern {
    pub fn matches(&self, object: &Map<String, Value>) -> bool {
        self.fields.iter().all(|(name, field)| field.matches(object.get(name)))
            && (self.any.is_empty() || self.any.iter().any(|one| one.matches(object)))
    }

    /// Whether a value matches; one that is no object never does.
    pub fn matches_value(&self, value: &Value) -> bool {
        value.as_object().is_some_and(|object| self.matches(object))
    }

    /// How many leaves it has.
    fn leaves(&self) -> usize {
        let fields = self.fields.iter().map(|(_, field)| match field {
            Field::Object(inner) => inner.leaves(),
            Field::Leaf(_) => 1,
        });
        fields.chain(self.any.iter().map(Pattern::leaves)).sum()
    }

    /// How many ways there are to match it, as SNS counts: each value as often as it is deep, one of each key.
    fn combinations(&self, depth: usize) -> usize {
        let fields = self.fields.iter().map(|(_, field)| match field {
            Field::Object(inner) => inner.combinations(depth + 1),
            Field::Leaf(conditions) => conditions.len().saturating_mul(depth),
        });
        let any: usize = self.any.iter().map(|one| one.combinations(depth)).sum();
        fields.fold(any.max(1), usize::saturating_mul)
    }
}

impl Field {
    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Field::Object(inner), Some(Value::Array(items))) => items.iter().any(|item| inner.matches_value(item)),
            // What is not there may still be asked not to be there, further in.
            (Field::Object(inner), other) => {
                let empty = Map::new();
                inner.matches(other.and_then(Value::as_object).unwrap_or(&empty))
            }
            (Field::Leaf(conditions), value) => conditions.iter().any(|condition| condition.holds_of(value)),
        }
    }
}

impl Condition {
    fn holds_of(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Condition::Exists(wanted), value) => value.is_some_and(|value| !value.is_object()) == *wanted,
            (_, None) => false,
            (_, Some(Value::Array(items))) => items.iter().any(|item| self.holds(item)),
            (_, Some(value)) => self.holds(value),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        match self {
            Condition::Is(Value::Number(wanted)) => value.as_f64().is_some_and(|value| wanted.as_f64() == Some(value)),
            Condition::Is(wanted) => value == wanted,
            Condition::Text(text) => value.as_str().is_some_and(|value| text.fits(value)),
            Condition::Not(all) => !value.is_object() && !all.iter().any(|one| one.holds(value)),
            Condition::Number(bounds) => value
                .as_f64()
                .is_some_and(|value| bounds.iter().all(|(comparison, bound)| comparison.holds(value, *bound))),
            Condition::Exists(wanted) => *wanted,
            Condition::Cidr(base, bits) => {
                value.as_str().and_then(|text| text.parse().ok()).is_some_and(|ip| within(ip, *base, *bits))
            }
        }
    }
}

impl Text {
    fn fits(&self, value: &str) -> bool {
        match self {
            Text::Prefix(wanted) => value.starts_with(wanted),
            Text::Suffix(wanted) => value.ends_with(wanted),
            Text::PrefixOfAnyCase(wanted) => value.to_lowercase().starts_with(&wanted.to_lowercase()),
            Text::SuffixOfAnyCase(wanted) => value.to_lowercase().ends_with(&wanted.to_lowercase()),
            Text::AnyCase(wanted) => value.to_lowercase() == wanted.to_lowercase(),
            Text::Wildcard(parts) => wildcard(parts, value),
        }
    }
}

/// Whether the parts come in this order, the first and the last at the ends. Each as early as it can is as good as any.
fn wildcard(parts: &[String], value: &str) -> bool {
    let [first, middle @ .., last] = parts else { return parts.iter().all(|only| only == value) };
    let Some(mut rest) = value.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

impl Comparison {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Equal => value == bound,
            Comparison::Less => value < bound,
            Comparison::LessOrEqual => value <= bound,
            Comparison::Greater => value > bound,
            Comparison::GreaterOrEqual => value >= bound,
        }
    }
}

fn within(ip: IpAddr, base: IpAddr, bits: u8) -> bool {
    let same = |ip: u128, base: u128, width: u8| {
        let shift = u32::from(width - bits);
        shift >= 128 || ip >> shift == base >> shift
    };
    match (ip, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) => same(ip.to_bits().into(), base.to_bits().into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(base)) => same(ip.to_bits(), base.to_bits(), 128),
        _ => false,
    }
}
