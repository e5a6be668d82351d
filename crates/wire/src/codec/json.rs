//! JSON bodies: json 1.0, json 1.1 and rest-json.

use base64::Engine;
use serde_json::Value as Json;

use super::bad::{Bad, Step, Within};
use super::budget::Depth;
use super::text;
use crate::schema::{Location, Member, StructSchema, TimeFormat, Type};
use crate::value::{Struct, Value};

/// Which of a member's names stands in the JSON.
#[derive(Clone, Copy)]
pub(super) enum Names {
    /// The model's: json 1.x, which knows no other.
    Model,
    /// The one on the wire: rest-json.
    Wire,
}

impl Names {
    fn of(self, member: &Member) -> &'static str {
        match self {
            Names::Model => member.name,
            Names::Wire => member.wire,
        }
    }
}

/// Reads a body as a structure. No body is a structure with nothing set.
pub(super) fn read(names: Names, schema: &'static StructSchema, body: &[u8], depth: Depth<'_>) -> Result<Struct, Bad> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Struct::new(schema));
    }
    match parse(body)? {
        Json::Object(entries) => read_struct(names, schema, entries, depth),
        other => Err(Bad::kind(kind(&other), "a structure")),
    }
}

/// Reads a body as JSON.
pub(super) fn parse(body: &[u8]) -> Result<Json, Bad> {
    serde_json::from_slice(body).map_err(|error| Bad::syntax(format!("The body is not valid JSON: {error}")))
}

/// Members that the model does not know are passed over.
fn read_struct(
    names: Names,
    schema: &'static StructSchema,
    entries: serde_json::Map<String, Json>,
    depth: Depth<'_>,
) -> Result<Struct, Bad> {
    let depth = depth.structure(schema.members.len())?;
    let mut out = Struct::new(schema);
    // Clients mostly write members in the model's order, so the search goes on where the last one ended.
    let mut next = 0;
    for (key, json) in entries {
        let (before, after) = schema.members.split_at(next);
        let wanted = |member: &Member| names.of(member) == key;
        let slot = match after.iter().position(wanted) {
            Some(ahead) => next + ahead,
            None => match before.iter().position(wanted) {
                Some(slot) => slot,
                None => continue,
            },
        };
        next = slot + 1;
        let member = &schema.members[slot];
        if !json.is_null() {
            out.slots[slot] = read_value(names, &member.ty, json, depth).within(|| Step::Member(member))?;
        }
    }
    Ok(out)
}

/// Reads a value that is not null.
pub(super) fn read_value(names: Names, ty: &Type, json: Json, depth: Depth<'_>) -> Result<Value, Bad> {
    Ok(match (ty, json) {
        (Type::Document, json) => Value::Document(Box::new(json)),
        (Type::String(_), Json::String(text)) => Value::String(text),
        (Type::Bool, Json::Bool(b)) => Value::Bool(b),
        (Type::Int(_), Json::Number(n)) => match n.as_i64().and_then(|i| i32::try_from(i).ok()) {
            Some(i) => Value::Int(i64::from(i)),
            None => return Err(Bad::kind(n.to_string(), "an integer")),
        },
        (Type::Long(_), Json::Number(n)) => match n.as_i64() {
            Some(i) => Value::Int(i),
            None => return Err(Bad::kind(n.to_string(), "a long integer")),
        },
        (Type::Float(_), Json::Number(n)) => Value::Float(f64::from(float(&n)? as f32)),
        (Type::Double(_), Json::Number(n)) => Value::Float(float(&n)?),
        (Type::Float(_) | Type::Double(_), Json::String(text))
            if ["NaN", "Infinity", "-Infinity"].contains(&&*text) =>
        {
            text::read(&text, ty, TimeFormat::Epoch)?
        }
        (Type::Blob(_), Json::String(text)) => text::read(&text, ty, TimeFormat::Epoch)?,
        (Type::Timestamp(_), Json::Number(n)) => match text::seconds(float(&n)?) {
            Some(time) => Value::Time(time),
            None => return Err(Bad::kind(n.to_string(), "a timestamp")),
        },
        (Type::Timestamp(format), Json::String(text)) => {
            Value::Time(text::read_time(&text, format.unwrap_or(TimeFormat::Iso8601))?)
        }
        (Type::List(list), Json::Array(items)) => {
            let depth = depth.deeper()?;
            let items = items.into_iter().enumerate();
            let read = |(index, item)| read_value(names, &list.item, item, depth).within(|| Step::Item(index + 1));
            Value::List(items.map(read).collect::<Result<_, _>>()?)
        }
        (Type::Map(map), Json::Object(entries)) => {
            let depth = depth.deeper()?;
            let mut out = Vec::with_capacity(entries.len());
            for (key, json) in entries {
                let value = read_value(names, &map.value, json, depth).within(|| Step::Key(key.clone()))?;
                out.push((key, value));
            }
            Value::Map(out)
        }
        (Type::Struct(schema), Json::Object(entries)) => Value::Struct(read_struct(names, schema, entries, depth)?),
        (_, json) => return Err(Bad::kind(kind(&json), expected(ty))),
    })
}

fn float(number: &serde_json::Number) -> Result<f64, Bad> {
    number.as_f64().ok_or_else(|| Bad::kind(number.to_string(), "a number"))
}

/// What to call a value that is of the wrong kind.
fn kind(json: &Json) -> String {
    match json {
        Json::Array(_) => "[...]".to_owned(),
        Json::Object(_) => "{...}".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a type expects, for errors.
pub(super) fn expected(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "a boolean",
        Type::Int(_) => "an integer",
        Type::Long(_) => "a long integer",
        Type::Float(_) | Type::Double(_) => "a number",
        Type::String(_) => "a string",
        Type::Blob(_) => "base64 text",
        Type::Timestamp(_) => "a timestamp",
        Type::List(_) => "a list",
        Type::Map(_) => "a map",
        Type::Struct(_) => "a structure",
        Type::Document => "JSON",
    }
}

/// Writes a structure's members, other than those that travel outside the body.
pub(super) fn write_struct(names: Names, out: &mut String, value: &Struct) {
    out.push('{');
    let mut first = true;
    for (member, value) in value.schema.members.iter().zip(&value.slots) {
        if value.is_null() || member.location != Location::Body {
            continue;
        }
        comma(out, &mut first);
        write_string(out, names.of(member));
        out.push(':');
        write_value(names, out, &member.ty, value);
    }
    out.push('}');
}

pub(super) fn write_value(names: Names, out: &mut String, ty: &Type, value: &Value) {
    match (ty, value) {
        (_, Value::Null) => out.push_str("null"),
        (_, Value::String(text)) => write_string(out, text),
        (_, Value::Struct(inner)) => write_struct(names, out, inner),
        (Type::List(list), Value::List(items)) => {
            out.push('[');
            let mut first = true;
            for item in items {
                comma(out, &mut first);
                write_value(names, out, &list.item, item);
            }
            out.push(']');
        }
        (Type::Map(map), Value::Map(entries)) => {
            out.push('{');
            let mut first = true;
            for (key, value) in entries {
                comma(out, &mut first);
                write_string(out, key);
                out.push(':');
                write_value(names, out, &map.value, value);
            }
            out.push('}');
        }
        (_, Value::Blob(bytes)) => {
            out.push('"');
            text::BASE64.encode_string(bytes, out);
            out.push('"');
        }
        (_, Value::Time(time)) => match text::time_format(ty, TimeFormat::Epoch) {
            TimeFormat::Epoch => text::write_time(out, *time, TimeFormat::Epoch),
            format => {
                out.push('"');
                text::write_time(out, *time, format);
                out.push('"');
            }
        },
        (_, Value::Float(f)) if !f.is_finite() => {
            out.push('"');
            text::write_float(out, *f, false);
            out.push('"');
        }
        _ => text::write(out, ty, value, TimeFormat::Epoch),
    }
}

fn comma(out: &mut String, first: &mut bool) {
    if !std::mem::take(first) {
        out.push(',');
    }
}

/// Writes a text with quotes.
pub(super) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[from..at]);
        from = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out.push_str(&text[from..]);
    out.push('"');
}
