//! Structures of the API that are kept as they were given, to be given back the same.

use serde_json::Value as Json;
use standfast_wire::{Decode, Encode, Struct, Value, convert};

/// As it is kept: JSON by the model's member names.
pub fn keep<T: Encode>(shape: T) -> Json {
    Value::Struct(convert::encode(shape)).to_json()
}

pub fn give<T: Decode>(kept: &Json) -> T {
    let read = Struct::from_json(kept, <T as Decode>::SCHEMA).map(convert::decode);
    read.expect("it was made from a structure of this kind")
}
