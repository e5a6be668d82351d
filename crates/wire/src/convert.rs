//! Between dynamic values and generated structures, slot by slot.
//!
//! The codecs have checked kinds and required members against the schema before anything here runs, so a value of
//! another kind is a broken invariant and panics.
//!
//! Compile time decides the shape of this file: what is generic here is compiled for each of thousands of structures.
//! So loops over slots are not generic, conversions are never inlined into each other, and lists are filled by plain
//! loops; together that is 40 % less compiler time for the API crates than iterator chains left to the inliner.

use std::collections::BTreeMap;

use standfast_core::Timestamp;

use crate::schema::{OperationSchema, ServiceSchema, StructSchema};
use crate::value::{Struct, Value};

/// Bytes. A type of its own, so that a blob is not a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

/// A marker type for each operation.
pub trait Operation: Copy + Send + Sync + 'static {
    type Input: Decode + Send + 'static;
    type Output: Encode + Send + 'static;
    const SERVICE: &'static ServiceSchema;
    const SCHEMA: &'static OperationSchema;
}

/// A generated structure that an input reaches.
pub trait Decode: Default {
    const SCHEMA: &'static StructSchema;
    fn set(&mut self, slot: usize, value: Value);
}

/// A generated structure that an output reaches.
pub trait Encode {
    const SCHEMA: &'static StructSchema;
    /// Moves the member's value out.
    fn take(&mut self, slot: usize) -> Value;
}

/// A Rust type that a checked value converts to.
pub trait FromValue: Sized {
    fn from_value(value: Value) -> Self;
}

/// A Rust type that converts to a value.
pub trait IntoValue {
    fn into_value(self) -> Value;
}

/// Builds a generated structure from a decoded one. Members that are not set keep their defaults.
pub fn decode<T: Decode>(value: Struct) -> T {
    debug_assert!(std::ptr::eq(value.schema, T::SCHEMA));
    let mut out = T::default();
    scatter(value.slots, &mut |slot, value| out.set(slot, value));
    out
}

/// Takes a generated structure apart.
pub fn encode<T: Encode>(mut value: T) -> Struct {
    gather(T::SCHEMA, &mut |slot| value.take(slot))
}

fn scatter(slots: Vec<Value>, set: &mut dyn FnMut(usize, Value)) {
    for (slot, value) in slots.into_iter().enumerate() {
        if !value.is_null() {
            set(slot, value);
        }
    }
}

fn gather(schema: &'static StructSchema, take: &mut dyn FnMut(usize) -> Value) -> Struct {
    Struct { schema, slots: (0..schema.members.len()).map(take).collect() }
}

#[cold]
fn broken(expected: &str, found: &Value) -> ! {
    panic!("codec let a value of the wrong kind through: expected {expected}, found {found:?}")
}

impl<T: Decode> FromValue for T {
    #[inline(never)]
    fn from_value(value: Value) -> Self {
        match value {
            Value::Struct(value) => decode(value),
            other => broken(T::SCHEMA.name, &other),
        }
    }
}

impl<T: Encode> IntoValue for T {
    #[inline(never)]
    fn into_value(self) -> Value {
        Value::Struct(encode(self))
    }
}

macro_rules! plain {
    ($($ty:ty, $name:literal, $pattern:pat => $out:expr, $value:ident => $into:expr;)*) => {$(
        impl FromValue for $ty {
            #[inline(never)]
            fn from_value(value: Value) -> Self {
                match value { $pattern => $out, other => broken($name, &other) }
            }
        }
        impl IntoValue for $ty {
            #[inline(never)]
            fn into_value(self) -> Value { let $value = self; $into }
        }
    )*};
}

plain! {
    bool, "a boolean", Value::Bool(b) => b, b => Value::Bool(b);
    i32, "an integer", Value::Int(i) => i as i32, i => Value::Int(i64::from(i));
    i64, "a long", Value::Int(i) => i, i => Value::Int(i);
    f32, "a float", Value::Float(f) => f as f32, f => Value::Float(f64::from(f));
    f64, "a double", Value::Float(f) => f, f => Value::Float(f);
    String, "a string", Value::String(s) => s, s => Value::String(s);
    Blob, "a blob", Value::Blob(b) => Blob(b), b => Value::Blob(b.0);
    Timestamp, "a timestamp", Value::Time(t) => t, t => Value::Time(t);
    serde_json::Value, "a document", Value::Document(d) => *d, d => Value::Document(Box::new(d));
}

impl<T: FromValue> FromValue for Option<T> {
    #[inline(never)]
    fn from_value(value: Value) -> Self {
        if value.is_null() { None } else { Some(T::from_value(value)) }
    }
}
impl<T: IntoValue> IntoValue for Option<T> {
    #[inline(never)]
    fn into_value(self) -> Value {
        self.map_or(Value::Null, IntoValue::into_value)
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    #[inline(never)]
    fn from_value(value: Value) -> Self {
        match value {
            Value::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for item in items {
                    out.push(T::from_value(item));
                }
                out
            }
            other => broken("a list", &other),
        }
    }
}
impl<T: IntoValue> IntoValue for Vec<T> {
    #[inline(never)]
    fn into_value(self) -> Value {
        let mut out = Vec::with_capacity(self.len());
        for item in self {
            out.push(item.into_value());
        }
        Value::List(out)
    }
}

impl<T: FromValue> FromValue for BTreeMap<String, T> {
    #[inline(never)]
    fn from_value(value: Value) -> Self {
        match value {
            Value::Map(entries) => entries.into_iter().map(|(k, v)| (k, T::from_value(v))).collect(),
            other => broken("a map", &other),
        }
    }
}
impl<T: IntoValue> IntoValue for BTreeMap<String, T> {
    #[inline(never)]
    fn into_value(self) -> Value {
        Value::Map(self.into_iter().map(|(k, v)| (k, v.into_value())).collect())
    }
}
