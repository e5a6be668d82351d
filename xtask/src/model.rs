//! An API model: the facts that generated code is made from.
//!
//! Invariant: these types are the filter. Botocore's files are read into them and the pruned models are written from
//! them, so what has no field here (prose, examples, patterns, pagination) cannot reach `models/`.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

#[derive(Debug, Deserialize, Serialize)]
pub struct Model {
    pub metadata: Metadata,
    pub operations: BTreeMap<String, Operation>,
    pub shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub api_version: String,
    pub service_id: String,
    pub endpoint_prefix: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_name: Option<String>,
    pub protocol: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml_namespace: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    pub http: Http,
    /// `none` where requests need no signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authtype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Reference>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Reference>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Http {
    pub method: String,
    pub request_uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_code: Option<u16>,
}

/// A use of a shape: an input, an output, a member, a list's item, a map's key or value.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    pub shape: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_wrapper: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xml_namespace: Option<XmlNamespace>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub flattened: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub xml_attribute: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub streaming: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub idempotency_token: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub jsonvalue: bool,
    #[serde(default, skip_serializing_if = "is_false", rename = "box")]
    pub boxed: bool,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct XmlNamespace {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    pub uri: String,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shape {
    #[serde(rename = "type")]
    pub kind: Kind,
    /// A structure's members, in the model's order, which is the order of slots.
    #[serde(default, skip_serializing_if = "Members::is_empty")]
    pub members: Members,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// A list's item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Reference>,
    /// A map's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Reference>,
    /// A map's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_format: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "enum")]
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub flattened: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub streaming: bool,
    #[serde(default, skip_serializing_if = "is_false", rename = "box")]
    pub boxed: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub document: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub union: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub exception: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub fault: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorTrait>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Structure,
    List,
    Map,
    String,
    Character,
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Blob,
    Timestamp,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorTrait {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status_code: Option<u16>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub sender_fault: bool,
}

impl Model {
    pub fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("the model has no shape '{name}'"))
    }

    /// The model as text: one line per operation and per shape, so that a diff reads well.
    pub fn to_text(&self) -> Result<String> {
        let mut out = format!("{{\n \"metadata\": {},\n", serde_json::to_string(&self.metadata)?);
        out.push_str(&format!(" \"operations\": {{\n{}\n }},\n", lines(&self.operations)?));
        out.push_str(&format!(" \"shapes\": {{\n{}\n }}\n}}\n", lines(&self.shapes)?));
        Ok(out)
    }
}

fn lines<T: Serialize>(entries: &BTreeMap<String, T>) -> Result<String> {
    let lines: Vec<String> = entries
        .iter()
        .map(|(name, value)| Ok(format!("  \"{name}\": {}", serde_json::to_string(value)?)))
        .collect::<Result<_>>()?;
    Ok(lines.join(",\n"))
}

impl Shape {
    /// The uses of other shapes in this one.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        let members = self.members.0.iter().map(|(_, reference)| reference);
        members.chain(&self.member).chain(&self.key).chain(&self.value)
    }
}

/// A JSON object that keeps its order.
#[derive(Clone, Debug, Default)]
pub struct Members(pub Vec<(String, Reference)>);

impl Members {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, reference) in &self.0 {
            map.serialize_entry(name, reference)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of members")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn is_false(value: &bool) -> bool {
    !value
}
