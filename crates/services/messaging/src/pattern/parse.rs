//! What a pattern may be, in either dialect.

use serde_json::{Map, Value};

use super::{Comparison, Condition, Field, Pattern, Text};

/// Limits of filter policies.
const FILTER_KEYS_MAX: usize = 5;
const FILTER_COMBINATIONS_MAX: usize = 150;
const FILTER_BYTES_MAX: usize = 256 * 1024;
/// Event patterns are at most this long, and nothing is nested deeper than this.
const EVENT_BYTES_MAX: usize = 4096;
const DEPTH_MAX: usize = 100;
/// Stars of a wildcard.
const STARS_MAX: usize = 20;
const OR: &str = "$or";

/// Whose patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A filter policy on message attributes, which have no depth.
    Attributes,
    /// A filter policy on the message's body.
    Body,
    /// An event pattern.
    Events,
}

/// Reads a pattern; an error says why it is none.
pub fn parse(text: &str, dialect: Dialect) -> Result<Pattern, String> {
    let max = if dialect == Dialect::Events { EVENT_BYTES_MAX } else { FILTER_BYTES_MAX };
    if text.len() > max {
        return Err(format!("it is longer than {max} bytes"));
    }
    let value: Value = serde_json::from_str(text).map_err(|error| format!("failed to parse JSON: {error}"))?;
    let Value::Object(object) = value else { return Err("it is not a JSON object".into()) };
    if object.is_empty() && dialect == Dialect::Events {
        return Err("Empty objects are not allowed".into());
    }
    let pattern = pattern(&object, dialect, 0)?;
    if dialect != Dialect::Events {
        if pattern.leaves() > FILTER_KEYS_MAX {
            return Err(format!("Filter policy can not have more than {FILTER_KEYS_MAX} keys"));
        }
        if pattern.combinations(1) > FILTER_COMBINATIONS_MAX {
            return Err(format!(
                "Filter policy is too complex: it has more than {FILTER_COMBINATIONS_MAX} combinations"
            ));
        }
    }
    Ok(pattern)
}

fn pattern(object: &Map<String, Value>, dialect: Dialect, depth: usize) -> Result<Pattern, String> {
    if depth > DEPTH_MAX {
        return Err(format!("it is nested deeper than {DEPTH_MAX} levels"));
    }
    let mut all = Pattern::default();
    for (name, value) in object {
        match value {
            Value::Array(items) if name == OR && is_or(items) => {
                for item in items.iter().filter_map(Value::as_object) {
                    all.any.push(pattern(item, dialect, depth + 1)?);
                }
            }
            Value::Array(items) if items.is_empty() => return Err(format!("Empty arrays are not allowed: \"{name}\"")),
            Value::Array(items) => {
                let conditions: Result<_, _> = items.iter().map(|item| condition(item, dialect)).collect();
                all.fields.push((name.clone(), Field::Leaf(conditions?)));
            }
            Value::Object(_) if dialect == Dialect::Attributes => {
                return Err("Filter policy scope MessageAttributes does not support nested filter policy".into());
            }
            Value::Object(inner) if inner.is_empty() => {
                return Err(format!("Empty objects are not allowed: \"{name}\""));
            }
            Value::Object(inner) => all.fields.push((name.clone(), Field::Object(pattern(inner, dialect, depth + 1)?))),
            _ => return Err(format!("\"{name}\" must be an object or an array")),
        }
    }
    Ok(all)
}

/// Whether it is a choice, and not a field of this name: several objects, with fields and not with conditions.
fn is_or(items: &[Value]) -> bool {
    let is_choice = |item: &Value| {
        item.as_object().is_some_and(|item| !item.is_empty() && item.keys().all(|name| !WORDS.contains(&name.as_str())))
    };
    items.len() > 1 && items.iter().all(is_choice)
}

const WORDS: [&str; 8] =
    ["prefix", "suffix", "anything-but", "numeric", "exists", "cidr", "equals-ignore-case", "wildcard"];

fn condition(value: &Value, dialect: Dialect) -> Result<Condition, String> {
    let object = match value {
        Value::Object(object) => object,
        Value::Array(_) => return Err("Match value must be String, number, true, false, or null".into()),
        plain => return Ok(Condition::Is(plain.clone())),
    };
    let mut entries = object.iter();
    let (Some((word, what)), None) = (entries.next(), entries.next()) else {
        return Err("Only one key allowed in match expression".into());
    };
    match word.as_str() {
        "anything-but" => anything_but(what, dialect).map(Condition::Not),
        "numeric" => numeric(what).map(Condition::Number),
        "exists" => match what {
            Value::Bool(wanted) => Ok(Condition::Exists(*wanted)),
            _ => Err("exists match pattern must be either true or false".into()),
        },
        "cidr" => cidr(what),
        word => text(word, what, dialect).map(Condition::Text),
    }
}

fn text(word: &str, what: &Value, dialect: Dialect) -> Result<Text, String> {
    let any_case =
        |what: &Value| Some(what.as_object().filter(|o| o.len() == 1)?.get("equals-ignore-case")?.as_str()?.to_owned());
    let plain = || what.as_str().map(str::to_owned).ok_or_else(|| format!("{word} match pattern must be a string"));
    match word {
        "prefix" => any_case(what).map(Text::PrefixOfAnyCase).map_or_else(|| plain().map(Text::Prefix), Ok),
        "suffix" => any_case(what).map(Text::SuffixOfAnyCase).map_or_else(|| plain().map(Text::Suffix), Ok),
        "equals-ignore-case" => plain().map(Text::AnyCase),
        "wildcard" if dialect == Dialect::Events => {
            let parts: Vec<String> = plain()?.split('*').map(str::to_owned).collect();
            if parts.len() > STARS_MAX + 1 || parts.len() > 2 && parts[1..parts.len() - 1].iter().any(String::is_empty)
            {
                return Err("Consecutive wildcard characters, or more than 20 of them, are not allowed".into());
            }
            Ok(Text::Wildcard(parts))
        }
        _ => Err(format!("Unrecognized match type {word}")),
    }
}

/// A value, a list of values, or conditions on texts with one or several of them.
fn anything_but(what: &Value, dialect: Dialect) -> Result<Vec<Condition>, String> {
    let plain = |value: &Value| match value {
        Value::String(_) | Value::Number(_) => Ok(Condition::Is(value.clone())),
        _ => Err("Value of anything-but must be a string, a number or a list of them".to_owned()),
    };
    match what {
        Value::Array(items) if items.is_empty() => Err("Empty arrays are not allowed: \"anything-but\"".into()),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(object) => {
            let mut entries = object.iter();
            let (Some((word, what)), None) = (entries.next(), entries.next()) else {
                return Err("Only one key allowed in match expression".into());
            };
            let several = match what {
                Value::Array(items) => items.clone(),
                one => vec![one.clone()],
            };
            several.iter().map(|one| text(word, one, dialect).map(Condition::Text)).collect()
        }
        one => Ok(vec![plain(one)?]),
    }
}

fn numeric(what: &Value) -> Result<Vec<(Comparison, f64)>, String> {
    let items = what.as_array().ok_or("Value of numeric must be an array")?;
    if items.is_empty() || items.len() > 4 || items.len() % 2 != 0 {
        return Err("Invalid member in numeric match: it takes one or two comparisons with a number each".into());
    }
    let mut bounds = Vec::new();
    for pair in items.chunks(2) {
        let word = pair[0].as_str().unwrap_or_default();
        let comparison = match word {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return Err(format!("Unrecognized numeric range operator: {}", pair[0])),
        };
        let number = pair[1].as_f64().ok_or_else(|| format!("Value of {word} must be numeric"))?;
        bounds.push((comparison, number));
    }
    if let [(from, low), (to, high)] = bounds[..] {
        let lower = matches!(from, Comparison::Greater | Comparison::GreaterOrEqual);
        if !lower || !matches!(to, Comparison::Less | Comparison::LessOrEqual) || low >= high {
            return Err("Bottom must be less than top".into());
        }
    }
    Ok(bounds)
}

fn cidr(what: &Value) -> Result<Condition, String> {
    let text = what.as_str().ok_or("cidr match pattern must be a string")?;
    let parsed = || {
        let (base, bits) = text.split_once('/')?;
        let base: std::net::IpAddr = base.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= if base.is_ipv4() { 32 } else { 128 }).then_some(Condition::Cidr(base, bits))
    };
    parsed().ok_or_else(|| format!("Malformed CIDR: {text}"))
}
