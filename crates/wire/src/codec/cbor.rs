//! CBOR (RFC 8949) for rpc-v2-cbor: as much of it as the protocol uses, written and read without a tree in between.
//!
//! Reading understands definite and indefinite lengths, half floats, and any tag; of tags, only 1 (seconds since
//! 1970) has a meaning. Every item is at least a byte long, so nothing is allocated by what a length claims.

use std::borrow::Cow;

use base64::Engine;
use serde_json::Value as Json;
use standfast_core::Timestamp;

use super::bad::{Bad, Step, What, Within};
use super::budget::{Budget, Depth};
use super::json::expected;
use super::text;
use crate::schema::{StructSchema, Type};
use crate::value::{Struct, Value};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const FALSE: u8 = 0xf4;
const TRUE: u8 = 0xf5;
const NULL: u8 = 0xf6;
const HALF: u8 = 0xf9;
const SINGLE: u8 = 0xfa;
const DOUBLE: u8 = 0xfb;
const BREAK: u8 = 0xff;
/// The tag of a number of seconds since 1970.
const EPOCH_TAG: u64 = 1;

/// Writes a structure as a map by the model's names.
pub(super) fn write_struct(out: &mut Vec<u8>, value: &Struct) {
    head(out, MAP, value.slots.iter().filter(|value| !value.is_null()).count() as u64);
    for (member, value) in value.schema.members.iter().zip(&value.slots) {
        if !value.is_null() {
            write_text(out, member.name);
            write_value(out, &member.ty, value);
        }
    }
}

/// The body of an error.
pub(super) fn error_body(shape: &str, message: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + shape.len() + message.len());
    head(&mut out, MAP, 2);
    for text in ["__type", shape, "message", message] {
        write_text(&mut out, text);
    }
    out
}

/// The code and message of an error's body.
pub(super) fn read_error(body: &[u8]) -> Option<(String, String)> {
    let budget = Budget::answer();
    let mut reader = Reader { rest: body, budget: &budget };
    let item = reader.item().ok()?;
    let json = reader.document(item, budget.top()).ok()?;
    let text = |name: &str| json.get(name)?.as_str();
    let message = text("message").or(text("Message")).unwrap_or_default();
    Some((super::envelope::shape_name(text("__type")?).to_owned(), message.to_owned()))
}

fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    match argument {
        0..=23 => out.push(major | argument as u8),
        24..=0xff => out.extend([major | 24, argument as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((argument as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((argument as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(argument.to_be_bytes());
        }
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    head(out, TEXT, text.len() as u64);
    out.extend(text.as_bytes());
}

fn write_int(out: &mut Vec<u8>, value: i64) {
    if value >= 0 { head(out, UNSIGNED, value as u64) } else { head(out, NEGATIVE, !value as u64) }
}

fn write_value(out: &mut Vec<u8>, ty: &Type, value: &Value) {
    match (ty, value) {
        (_, Value::Null) => out.push(NULL),
        (_, Value::Bool(b)) => out.push(if *b { TRUE } else { FALSE }),
        (_, Value::Int(i)) => write_int(out, *i),
        (Type::Float(_), Value::Float(f)) => {
            out.push(SINGLE);
            out.extend((*f as f32).to_be_bytes());
        }
        (_, Value::Float(f)) => {
            out.push(DOUBLE);
            out.extend(f.to_be_bytes());
        }
        (_, Value::String(text)) => write_text(out, text),
        (_, Value::Blob(bytes)) => {
            head(out, BYTES, bytes.len() as u64);
            out.extend(bytes);
        }
        (_, Value::Time(time)) => write_time(out, *time),
        (Type::List(list), Value::List(items)) => {
            head(out, ARRAY, items.len() as u64);
            for item in items {
                write_value(out, &list.item, item);
            }
        }
        (Type::Map(map), Value::Map(entries)) => {
            head(out, MAP, entries.len() as u64);
            for (key, value) in entries {
                write_text(out, key);
                write_value(out, &map.value, value);
            }
        }
        (_, Value::Struct(inner)) => write_struct(out, inner),
        (_, Value::Document(json)) => write_document(out, json),
        (_, Value::List(_) | Value::Map(_)) => panic!("not of its member's kind: {value:?}"),
    }
}

fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    head(out, TAG, EPOCH_TAG);
    if time.0 % 1000 == 0 {
        write_int(out, time.0 / 1000);
    } else {
        out.push(DOUBLE);
        out.extend(time.seconds().to_be_bytes());
    }
}

/// The protocol has no documents; they are written as what they look like.
fn write_document(out: &mut Vec<u8>, json: &Json) {
    match json {
        Json::Null => out.push(NULL),
        Json::Bool(b) => out.push(if *b { TRUE } else { FALSE }),
        Json::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(i), _) => write_int(out, i),
            (None, f) => {
                out.push(DOUBLE);
                out.extend(f.unwrap_or(f64::NAN).to_be_bytes());
            }
        },
        Json::String(text) => write_text(out, text),
        Json::Array(items) => {
            head(out, ARRAY, items.len() as u64);
            items.iter().for_each(|item| write_document(out, item));
        }
        Json::Object(entries) => {
            head(out, MAP, entries.len() as u64);
            for (key, value) in entries {
                write_text(out, key);
                write_document(out, value);
            }
        }
    }
}

/// Reads a body as a structure. No body is a structure with nothing set.
pub(super) fn read(schema: &'static StructSchema, body: &[u8], budget: &Budget) -> Result<Struct, Bad> {
    if body.is_empty() {
        return Ok(Struct::new(schema));
    }
    let mut reader = Reader { rest: body, budget };
    let value = match reader.item()? {
        Item::Map(length) => reader.structure(schema, length, budget.top())?,
        item => return Err(Bad::kind(item.show(), "a structure")),
    };
    if reader.rest.is_empty() { Ok(value) } else { Err(broken("there is more after the value")) }
}

fn broken(why: &str) -> Bad {
    Bad { what: What::Syntax(format!("The body is not valid CBOR: {why}")), path: Vec::new() }
}

/// The head of a data item, with its content when that holds no other items.
enum Item<'b> {
    Unsigned(u64),
    /// The number is -1 minus this.
    Negative(u64),
    Bytes(Cow<'b, [u8]>),
    Text(Cow<'b, str>),
    /// `None` is an indefinite length.
    Array(Option<u64>),
    Map(Option<u64>),
    Tag(u64),
    Bool(bool),
    Null,
    Float(f64),
    Break,
}

impl Item<'_> {
    fn integer(&self) -> Option<i64> {
        match self {
            Item::Unsigned(n) => i64::try_from(*n).ok(),
            Item::Negative(n) => i64::try_from(*n).ok().map(|n| !n),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Item::Float(f) => Some(*f),
            Item::Unsigned(n) => Some(*n as f64),
            Item::Negative(n) => Some(-1.0 - *n as f64),
            _ => None,
        }
    }

    /// For errors.
    fn show(&self) -> String {
        match self {
            Item::Bool(b) => b.to_string(),
            Item::Text(text) => text.to_string(),
            Item::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Item::Array(_) => "[...]".to_owned(),
            Item::Map(_) => "{...}".to_owned(),
            Item::Null => "null".to_owned(),
            Item::Tag(tag) => format!("tag {tag}"),
            Item::Break => "break".to_owned(),
            Item::Unsigned(n) => n.to_string(),
            number => number.number().map_or(String::new(), |n| n.to_string()),
        }
    }
}

struct Reader<'b> {
    rest: &'b [u8],
    budget: &'b Budget,
}

impl<'b> Reader<'b> {
    fn bytes(&mut self, count: u64) -> Result<&'b [u8], Bad> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| broken("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        Ok(self.bytes(N as u64)?.try_into().expect("as many bytes as asked for"))
    }

    fn item(&mut self) -> Result<Item<'b>, Bad> {
        self.budget.part()?;
        let [first] = self.array()?;
        match first {
            FALSE | TRUE => return Ok(Item::Bool(first == TRUE)),
            // Null and undefined.
            NULL | 0xf7 => return Ok(Item::Null),
            HALF => return Ok(Item::Float(half(u16::from_be_bytes(self.array()?)))),
            SINGLE => return Ok(Item::Float(f64::from(f32::from_be_bytes(self.array()?)))),
            DOUBLE => return Ok(Item::Float(f64::from_be_bytes(self.array()?))),
            BREAK => return Ok(Item::Break),
            _ => {}
        }
        let (major, low) = (first >> 5, first & 31);
        let argument = match low {
            0..=23 => Some(u64::from(low)),
            24 => Some(u64::from(u8::from_be_bytes(self.array()?))),
            25 => Some(u64::from(u16::from_be_bytes(self.array()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.array()?))),
            27 => Some(u64::from_be_bytes(self.array()?)),
            31 => None,
            _ => return Err(broken("a length is reserved")),
        };
        match (major, argument) {
            (UNSIGNED, Some(n)) => Ok(Item::Unsigned(n)),
            (NEGATIVE, Some(n)) => Ok(Item::Negative(n)),
            (BYTES, Some(n)) => Ok(Item::Bytes(Cow::Borrowed(self.bytes(n)?))),
            (BYTES, None) => Ok(Item::Bytes(Cow::Owned(self.chunks(BYTES)?))),
            (TEXT, Some(n)) => std::str::from_utf8(self.bytes(n)?)
                .map(|text| Item::Text(Cow::Borrowed(text)))
                .map_err(|_| broken("a text is not UTF-8")),
            (TEXT, None) => String::from_utf8(self.chunks(TEXT)?)
                .map(|text| Item::Text(Cow::Owned(text)))
                .map_err(|_| broken("a text is not UTF-8")),
            (ARRAY, length) => Ok(Item::Array(length)),
            (MAP, length) => Ok(Item::Map(length)),
            (TAG, Some(n)) => Ok(Item::Tag(n)),
            _ => Err(broken("a value is reserved")),
        }
    }

    /// The chunks of a text or bytes of indefinite length.
    fn chunks(&mut self, major: u8) -> Result<Vec<u8>, Bad> {
        let mut out = Vec::new();
        loop {
            // A chunk of indefinite length would nest without end.
            if self.rest.first().is_some_and(|first| first & 31 == 31 && *first != BREAK) {
                return Err(broken("a chunk has no length"));
            }
            match self.item()? {
                Item::Break => return Ok(out),
                Item::Bytes(chunk) if major == BYTES => out.extend_from_slice(&chunk),
                Item::Text(chunk) if major == TEXT => out.extend_from_slice(chunk.as_bytes()),
                _ => return Err(broken("a chunk is of another kind")),
            }
        }
    }

    /// The next item of a collection; `None` at its end. `left` counts down.
    fn next(&mut self, left: &mut Option<u64>) -> Result<Option<Item<'b>>, Bad> {
        if *left == Some(0) {
            return Ok(None);
        }
        match (self.item()?, left) {
            (Item::Break, None) => Ok(None),
            (Item::Break, Some(_)) => Err(broken("a break outside of an indefinite length")),
            (item, Some(left)) => {
                *left -= 1;
                Ok(Some(item))
            }
            (item, None) => Ok(Some(item)),
        }
    }

    /// The next key of a map; `None` at its end.
    fn key(&mut self, left: &mut Option<u64>) -> Result<Option<Cow<'b, str>>, Bad> {
        match self.next(left)? {
            None => Ok(None),
            Some(Item::Text(key)) => Ok(Some(key)),
            Some(_) => Err(broken("a key is not a text")),
        }
    }

    /// The next item, which must be a value; tags without a meaning are passed over.
    fn untagged(&mut self, mut item: Item<'b>) -> Result<Item<'b>, Bad> {
        while let Item::Tag(_) = item {
            item = self.item()?;
        }
        if let Item::Break = item { Err(broken("a break in place of a value")) } else { Ok(item) }
    }

    fn structure(
        &mut self,
        schema: &'static StructSchema,
        mut left: Option<u64>,
        depth: Depth<'_>,
    ) -> Result<Struct, Bad> {
        let depth = depth.structure(schema.members.len())?;
        let mut out = Struct::new(schema);
        while let Some(key) = self.key(&mut left)? {
            let item = self.item()?;
            let item = self.untagged(item)?;
            match schema.members.iter().position(|member| member.name == key) {
                None => drop(self.document(item, depth)?),
                Some(_) if matches!(item, Item::Null) => {}
                Some(slot) => {
                    let member = &schema.members[slot];
                    out.slots[slot] = self.value(&member.ty, item, depth).within(|| Step::Member(member))?;
                }
            }
        }
        Ok(out)
    }

    fn value(&mut self, ty: &Type, item: Item<'b>, depth: Depth<'_>) -> Result<Value, Bad> {
        let item = self.untagged(item)?;
        Ok(match (ty, item) {
            (Type::Bool, Item::Bool(b)) => Value::Bool(b),
            (Type::String(_), Item::Text(text)) => Value::String(text.into_owned()),
            (Type::Blob(_), Item::Bytes(bytes)) => Value::Blob(bytes.into_owned()),
            (Type::Document, item) => Value::Document(Box::new(self.document(item, depth)?)),
            (Type::List(list), Item::Array(mut left)) => {
                let depth = depth.deeper()?;
                let mut items = Vec::new();
                while let Some(item) = self.next(&mut left)? {
                    let index = items.len() + 1;
                    items.push(self.value(&list.item, item, depth).within(|| Step::Item(index))?);
                }
                Value::List(items)
            }
            (Type::Map(map), Item::Map(mut left)) => {
                let depth = depth.deeper()?;
                let mut entries = Vec::new();
                while let Some(key) = self.key(&mut left)? {
                    let item = self.item()?;
                    let value = self.value(&map.value, item, depth).within(|| Step::Key(key.clone().into_owned()))?;
                    entries.push((key.into_owned(), value));
                }
                Value::Map(entries)
            }
            (Type::Struct(schema), Item::Map(left)) => Value::Struct(self.structure(schema, left, depth)?),
            (ty, item) => return number(ty, &item),
        })
    }

    /// Reads any value as JSON; also how what nobody knows is passed over.
    fn document(&mut self, item: Item<'b>, depth: Depth<'_>) -> Result<Json, Bad> {
        let item = self.untagged(item)?;
        Ok(match item {
            Item::Bool(b) => b.into(),
            Item::Text(text) => Json::String(text.into_owned()),
            Item::Bytes(bytes) => text::BASE64.encode(bytes).into(),
            Item::Array(mut left) => {
                let depth = depth.deeper()?;
                let mut items = Vec::new();
                while let Some(item) = self.next(&mut left)? {
                    items.push(self.document(item, depth)?);
                }
                Json::Array(items)
            }
            Item::Map(mut left) => {
                let depth = depth.deeper()?;
                let mut entries = serde_json::Map::new();
                while let Some(key) = self.key(&mut left)? {
                    let item = self.item()?;
                    let value = self.document(item, depth)?;
                    entries.insert(key.into_owned(), value);
                }
                Json::Object(entries)
            }
            item => match (item.integer(), item.number()) {
                (Some(i), _) => i.into(),
                (None, Some(f)) => f.into(),
                (None, None) => Json::Null,
            },
        })
    }
}

/// A number or time from an item that holds nothing else.
fn number(ty: &Type, item: &Item<'_>) -> Result<Value, Bad> {
    let wrong = || Bad::kind(item.show(), expected(ty));
    match ty {
        Type::Int(_) => match item.integer().and_then(|i| i32::try_from(i).ok()) {
            Some(i) => Ok(Value::Int(i64::from(i))),
            None => Err(wrong()),
        },
        Type::Long(_) => item.integer().map(Value::Int).ok_or_else(wrong),
        Type::Float(_) => item.number().map(|f| Value::Float(f64::from(f as f32))).ok_or_else(wrong),
        Type::Double(_) => item.number().map(Value::Float).ok_or_else(wrong),
        Type::Timestamp(_) => item.number().and_then(text::seconds).map(Value::Time).ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

/// A half-precision float: 1 bit of sign, 5 of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 31);
    let fraction = f64::from(bits & 0x3ff);
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}
