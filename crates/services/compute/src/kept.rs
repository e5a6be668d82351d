//! Settings of an API that are kept in a record as they were given and given back the same.
//!
//! The record holds the wire structure as JSON by the model's member names, as launch templates do. It is for trees of
//! settings that are read once when they are put to use, never for what controllers change.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use standfast_wire::{Decode, Encode, Struct, Value, convert};

/// A structure of the API in a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept<T>(pub T);

impl<T: Encode + Clone> Serialize for Kept<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::Struct(convert::encode(self.0.clone())).to_json().serialize(serializer)
    }
}

impl<'de, T: Decode> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = serde_json::Value::deserialize(deserializer)?;
        let read = Struct::from_json(&json, T::SCHEMA).map_err(serde::de::Error::custom)?;
        Ok(Kept(convert::decode(read)))
    }
}
