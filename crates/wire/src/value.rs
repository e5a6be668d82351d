//! Dynamic values, as the codecs read and write them.

use standfast_core::Timestamp;

use crate::schema::{StructSchema, Type};

/// A value of some `Type`. `Null` stands for a member that was not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    /// `Int` and `Long`.
    Int(i64),
    /// `Float` and `Double`.
    Float(f64),
    String(String),
    Blob(Vec<u8>),
    Time(Timestamp),
    List(Vec<Value>),
    /// In the order in which it was written.
    Map(Vec<(String, Value)>),
    Struct(Struct),
    /// In a box, because it is the largest and the rarest: the size of a value is the cost of large answers.
    Document(Box<serde_json::Value>),
}

/// A structure: its schema and one slot for each member, in the schema's order.
#[derive(Clone)]
pub struct Struct {
    pub schema: &'static StructSchema,
    pub slots: Vec<Value>,
}

impl Struct {
    /// A structure with nothing set.
    pub fn new(schema: &'static StructSchema) -> Self {
        Self { schema, slots: vec![Value::Null; schema.members.len()] }
    }

    /// The value of the member with this name in the model.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let slot = self.schema.members.iter().position(|member| member.name == name)?;
        Some(&self.slots[slot])
    }

    /// Sets a member by its name in the model; false when there is none of that name.
    pub fn set(&mut self, name: &str, value: Value) -> bool {
        let slot = self.schema.members.iter().position(|member| member.name == name);
        if let Some(slot) = slot {
            self.slots[slot] = value;
        }
        slot.is_some()
    }
}

impl PartialEq for Struct {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.schema, other.schema) && self.slots == other.slots
    }
}

impl std::fmt::Debug for Struct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct(self.schema.name);
        for (member, value) in self.schema.members.iter().zip(&self.slots) {
            if *value != Value::Null {
                out.field(member.name, value);
            }
        }
        out.finish()
    }
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value as plain JSON, members by their names in the model; what is not set is left out.
    pub fn to_json(&self) -> serde_json::Value {
        use base64::Engine;
        use serde_json::Value as Json;
        match self {
            Value::Null => Json::Null,
            Value::Bool(b) => (*b).into(),
            Value::Int(i) => (*i).into(),
            Value::Float(f) => (*f).into(),
            Value::String(s) => s.as_str().into(),
            Value::Blob(b) => base64::prelude::BASE64_STANDARD.encode(b).into(),
            Value::Time(t) => t.iso8601().into(),
            Value::List(items) => items.iter().map(Value::to_json).collect(),
            Value::Map(entries) => Json::Object(entries.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
            Value::Struct(s) => Json::Object(
                (s.schema.members.iter().zip(&s.slots))
                    .filter(|(_, value)| !value.is_null())
                    .map(|(member, value)| (member.name.to_owned(), value.to_json()))
                    .collect(),
            ),
            Value::Document(json) => (**json).clone(),
        }
    }

    /// Reads plain JSON, members by their names in the model; the error names the member that does not fit.
    pub fn from_json(json: &serde_json::Value, ty: &Type) -> Result<Value, String> {
        use base64::Engine;
        use serde_json::Value as Json;
        let wrong = |what: &str| Err(format!("expected {what}, found {json}"));
        if json.is_null() {
            return Ok(Value::Null);
        }
        Ok(match ty {
            Type::Bool => match json {
                Json::Bool(b) => Value::Bool(*b),
                _ => return wrong("a boolean"),
            },
            Type::Int(_) | Type::Long(_) => match json.as_i64() {
                Some(i) => Value::Int(i),
                None => return wrong("an integer"),
            },
            Type::Float(_) | Type::Double(_) => match json.as_f64() {
                Some(f) if matches!(ty, Type::Float(_)) => Value::Float(f64::from(f as f32)),
                Some(f) => Value::Float(f),
                None => return wrong("a number"),
            },
            Type::String(_) => match json {
                Json::String(s) => Value::String(s.clone()),
                _ => return wrong("a string"),
            },
            Type::Blob(_) => match json.as_str().and_then(|s| base64::prelude::BASE64_STANDARD.decode(s).ok()) {
                Some(bytes) => Value::Blob(bytes),
                None => return wrong("base64 text"),
            },
            Type::Timestamp(_) => match (json.as_f64(), json.as_str().and_then(|s| s.parse().ok())) {
                (Some(seconds), _) => Value::Time(Timestamp::from_seconds(seconds)),
                (_, Some(time)) => Value::Time(time),
                _ => return wrong("a time"),
            },
            Type::List(list) => match json {
                Json::Array(items) => {
                    Value::List(items.iter().map(|i| Value::from_json(i, &list.item)).collect::<Result<_, _>>()?)
                }
                _ => return wrong("a list"),
            },
            Type::Map(map) => match json {
                Json::Object(entries) => Value::Map(
                    entries
                        .iter()
                        .map(|(k, v)| Ok((k.clone(), Value::from_json(v, &map.value)?)))
                        .collect::<Result<_, String>>()?,
                ),
                _ => return wrong("an object"),
            },
            Type::Struct(schema) => Value::Struct(Struct::from_json(json, schema)?),
            Type::Document => Value::Document(Box::new(json.clone())),
        })
    }
}

impl Struct {
    /// Reads plain JSON, members by their names in the model; the error names the member that does not fit.
    pub fn from_json(json: &serde_json::Value, schema: &'static StructSchema) -> Result<Struct, String> {
        let serde_json::Value::Object(entries) = json else {
            return Err(format!("expected an object for {}, found {json}", schema.name));
        };
        let mut out = Struct::new(schema);
        for (name, value) in entries {
            let Some(slot) = schema.members.iter().position(|member| member.name == name) else {
                return Err(format!("{} has no member '{name}'", schema.name));
            };
            out.slots[slot] =
                Value::from_json(value, &schema.members[slot].ty).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(out)
    }
}
