//! A template's JSON as the input of an operation.
//!
//! Invariant: templates write numbers and booleans as text and the other way round, so here either is taken for the
//! other; nothing else is. What does not fit is refused by the property's name.

use serde_json::{Map, Value as Json};
use standfast_core::Result;
use standfast_wire::{Struct, StructSchema, Type, Value};

use crate::cloudformation::errors::property;
use crate::cloudformation::template::text;

/// Reads an object as a structure of a model.
pub fn structure(members: &Map<String, Json>, schema: &'static StructSchema) -> Result<Struct> {
    read_struct(members, schema, "")
}

fn read_struct(members: &Map<String, Json>, schema: &'static StructSchema, path: &str) -> Result<Struct> {
    let mut out = Struct::new(schema);
    for (name, value) in members {
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        let Some(slot) = schema.members.iter().position(|member| member.name == name) else {
            return Err(property(format!("Encountered unsupported property {name}")));
        };
        out.slots[slot] = read(value, &schema.members[slot].ty, &path)?;
    }
    for member in schema.members.iter().filter(|member| member.required) {
        if out.get(member.name).is_none_or(Value::is_null) {
            return Err(property(format!("Property {} cannot be empty.", member.name)));
        }
    }
    Ok(out)
}

fn read(json: &Json, ty: &Type, path: &str) -> Result<Value> {
    let wrong = |what: &str| property(format!("Value of property {path} must be {what}."));
    let scalar = |what: &str| text(json).ok_or_else(|| wrong(what));
    Ok(match ty {
        Type::Bool => match scalar("of type Boolean")?.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(wrong("of type Boolean")),
        },
        Type::Int(_) | Type::Long(_) => {
            Value::Int(scalar("of type Integer")?.trim().parse().map_err(|_| wrong("of type Integer"))?)
        }
        Type::Float(_) | Type::Double(_) => {
            Value::Float(scalar("of type Double")?.trim().parse().map_err(|_| wrong("of type Double"))?)
        }
        Type::String(_) => Value::String(scalar("of type String")?),
        // Blobs are plain text in templates (a key pair's public half).
        Type::Blob(_) => Value::Blob(scalar("of type String")?.into_bytes()),
        Type::Timestamp(_) => Value::Time(scalar("a timestamp")?.parse().map_err(|_| wrong("a timestamp"))?),
        Type::List(list) => {
            let items = json.as_array().ok_or_else(|| wrong("of type List"))?;
            Value::List(items.iter().map(|item| read(item, &list.item, path)).collect::<Result<_>>()?)
        }
        Type::Map(map) => {
            let entries = json.as_object().ok_or_else(|| wrong("of type Map"))?;
            let entry = |(key, value): (&String, &Json)| Ok((key.clone(), read(value, &map.value, path)?));
            Value::Map(entries.iter().map(entry).collect::<Result<_>>()?)
        }
        Type::Struct(schema) => {
            let members = json.as_object().ok_or_else(|| wrong("an object"))?;
            Value::Struct(read_struct(members, schema, path)?)
        }
        Type::Document => Value::Document(Box::new(json.clone())),
    })
}

/// Whether a property is true, however it is written.
pub fn is_true(value: Option<&Json>) -> Option<bool> {
    match text(value?)?.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A policy document as the text that services take: templates write it as an object.
pub fn document(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use standfast_api::ec2;
    use standfast_wire::{Decode, Operation};

    use super::*;

    fn subnet(json: Json) -> Result<ec2::CreateSubnetRequest> {
        type Input = <ec2::CreateSubnet as Operation>::Input;
        let members = json.as_object().expect("tests give objects").clone();
        structure(&members, <Input as Decode>::SCHEMA).map(standfast_wire::convert::decode)
    }

    #[test]
    fn scalars_are_taken_for_each_other() {
        let read = subnet(json!({"VpcId": 7, "Ipv6Native": "true", "Ipv4NetmaskLength": "24"})).expect("fits");
        assert_eq!((read.vpc_id.as_str(), read.ipv6_native, read.ipv4_netmask_length), ("7", Some(true), Some(24)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refusal = |json| subnet(json).expect_err("does not fit").message;
        assert_eq!(refusal(json!({"VpcId": "x", "Foo": 1})), "Encountered unsupported property Foo");
        assert_eq!(refusal(json!({})), "Property VpcId cannot be empty.");
        assert_eq!(
            refusal(json!({"VpcId": "x", "Ipv4NetmaskLength": "a"})),
            "Value of property Ipv4NetmaskLength must be of type Integer."
        );
    }
}
