//! Text to tree: JSON and YAML templates become the same [`Value`].
//!
//! Invariant: a returned tree is an object, has no null, no repeated key, is at most [`DEPTH_MAX`] deep and at most
//! [`WEIGHT_MAX`] heavy, so whoever walks it may recurse. YAML short forms are already their long forms.
//! Not here: what the keys mean.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use standfast_core::Result;

use super::{invalid, yaml};

/// The longest template given in a request.
pub const BODY_BYTES_MAX: usize = 51_200;
/// The longest template given by address.
pub const URL_BODY_BYTES_MAX: usize = 1_048_576;
/// How deep lists and objects may nest. Below serde_json's own limit of 128, so that ours answers.
pub const DEPTH_MAX: usize = 100;
/// What a tree may weigh once aliases and loops are expanded: its text plus [`NODE_WEIGHT`] for every node.
pub const WEIGHT_MAX: usize = 32 * 1_048_576;
/// The weight of a node beside its text.
pub const NODE_WEIGHT: usize = 16;
/// How much of a refused body an error repeats.
const ECHO_CHARS_MAX: usize = 64;

/// Where the text came from; it decides how long it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Body,
    Url,
}

/// Reads a template. The first character decides: an opening brace means JSON, anything else YAML.
pub fn parse(text: &str, origin: Origin) -> Result<Value> {
    check_length(text, origin)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let tree = match text.trim_start().chars().next() {
        Some('{') => json(text)?,
        Some(_) => yaml::read(text)?,
        None => Value::Null,
    };
    if !tree.is_object() {
        return Err(invalid("Template format error: unsupported structure."));
    }
    refuse_null(&tree, &mut Vec::new())?;
    Ok(tree)
}

fn check_length(text: &str, origin: Origin) -> Result<()> {
    match origin {
        Origin::Body if text.len() > BODY_BYTES_MAX => {
            let start: String = text.chars().take(ECHO_CHARS_MAX).collect();
            Err(invalid(format!(
                "1 validation error detected: Value '{start}...' at 'templateBody' failed to satisfy constraint: \
                 Member must have length less than or equal to {BODY_BYTES_MAX}"
            )))
        }
        Origin::Url if text.len() > URL_BODY_BYTES_MAX => {
            Err(invalid(format!("Template may not exceed {URL_BODY_BYTES_MAX} bytes in size.")))
        }
        Origin::Body | Origin::Url => Ok(()),
    }
}

fn refuse_null<'a>(value: &'a Value, path: &mut Vec<&'a str>) -> Result<()> {
    match value {
        Value::Null => Err(invalid(format!("[/{}] 'null' values are not allowed in templates", path.join("/")))),
        Value::Array(items) => items.iter().try_for_each(|item| refuse_null(item, path)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            path.push(key);
            refuse_null(member, path)?;
            path.pop();
            Ok(())
        }),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn json(text: &str) -> Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let tree = JsonNode { depth: 0 }.deserialize(&mut reader).and_then(|tree| reader.end().map(|()| tree));
    tree.map_err(|error| {
        // Only our own complaints are worth repeating; serde_json's wording is not CloudFormation's.
        let said = error.to_string();
        let why = said.split(" at line ").next().filter(|_| error.is_data()).map(|why| format!(" {why}"));
        let (line, column) = (error.line(), error.column());
        invalid(format!(
            "Template format error: JSON not well-formed. (line {line}, column {column}){}",
            why.unwrap_or_default()
        ))
    })
}

/// Reads one JSON node. serde_json's own `Value` keeps the last of two equal keys; a template must not have two.
struct JsonNode {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for JsonNode {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl JsonNode {
    fn child<E: serde::de::Error>(&self) -> Result<JsonNode, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("Templates may nest {DEPTH_MAX} levels at most.")));
        }
        Ok(JsonNode { depth: self.depth + 1 })
    }
}

impl<'de> Visitor<'de> for JsonNode {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self.child()?)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("Duplicate key '{key}'.")));
            }
            let member = object.next_value_seed(self.child()?)?;
            members.insert(key, member);
        }
        Ok(Value::Object(members))
    }
}
