//! Templates: from text to evaluated resources, without a single side effect.
//!
//! The way of a template: [`parse`] makes one tree of JSON or YAML, [`language`] expands loops, [`model`] gives it the
//! sections' types, [`validate`] names every mistake that needs no values, [`params`] settles parameters, [`rules`]
//! checks what the template asserts of them, [`eval`] computes properties and outputs, [`graph`] says in which order, [`diff`] says what changed since.
//!
//! Invariant: nothing here does I/O or knows a resource type. What lies outside a template (attributes of resources,
//! zones, exports, SSM parameters) comes through [`eval::Resolver`]; what resource types exist through
//! [`validate::Types`]. Not here: stacks, change sets, events.

pub mod call;
pub mod cidr;
pub mod diff;
pub mod dynamic;
pub mod eval;
pub mod graph;
pub mod language;
pub mod model;
pub mod parameter_type;
pub mod params;
pub mod parse;
pub mod rules;
pub mod sub;
pub mod validate;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;
use standfast_core::{Error, Result};

/// The template of a parsed tree, its loops written out over the parameters' values where it has any.
pub fn template(tree: Value, values: &BTreeMap<String, Value>) -> Result<model::Template> {
    let list = |name: &str| values.get(name)?.as_array()?.iter().map(text).collect();
    model::Template::read(&language::expand(tree, &list)?)
}

/// A template that CloudFormation refuses: every refusal of this folder has this code.
pub fn invalid(message: impl Into<String>) -> Error {
    Error::client("ValidationError", message)
}

/// The text of a scalar, as CloudFormation shows it; `None` for lists, objects and null.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Names as CloudFormation lists them in messages: sorted, separated, without quotes.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: std::collections::BTreeSet<&str> = names.into_iter().collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}
