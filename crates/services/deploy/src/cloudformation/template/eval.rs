//! Values of a template: conditions, properties and outputs with every function computed.
//!
//! Invariant: an [`Evaluation`] has every condition decided; what it returns holds no call, no `AWS::NoValue` and (in
//! properties) no dynamic reference. It asks [`Resolver`] for what a template cannot know, and nobody else.
//! Not here: how a function is written ([`super::call`]).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standfast_core::{Error, Result};

use super::call::{self, Call, Place, Reference};
use super::model::{DeletionPolicy, Template};
use super::{dynamic, graph, invalid, text, validate};

mod functions;

/// The values of the pseudo parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pseudo {
    pub account_id: String,
    pub notification_arns: Vec<String>,
    pub partition: String,
    pub region: String,
    pub stack_id: String,
    pub stack_name: String,
    pub url_suffix: String,
}

/// Something outside of the template and its stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum External {
    /// The names of a region's zones, as a list.
    Zones {
        region: String,
    },
    /// The value that another stack exports.
    Import {
        name: String,
    },
    Ssm {
        name: String,
        version: Option<u64>,
    },
    SsmSecure {
        name: String,
        version: Option<u64>,
    },
    Secret {
        id: String,
        json_key: Option<String>,
        version_stage: Option<String>,
        version_id: Option<String>,
    },
}

/// What a template cannot know by itself.
pub trait Resolver {
    /// What `Ref` gives of a resource, usually its physical id.
    fn reference(&self, resource: &str) -> Result<Value>;
    fn attribute(&self, resource: &str, attribute: &str) -> Result<Value>;
    fn external(&self, wanted: &External) -> Result<Value>;
}

/// A resource with nothing left to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluatedResource {
    pub kind: String,
    pub properties: Map<String, Value>,
    pub metadata: Option<Value>,
    pub creation_policy: Option<Value>,
    pub update_policy: Option<Value>,
    pub deletion_policy: DeletionPolicy,
    pub update_replace_policy: DeletionPolicy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluatedOutput {
    pub key: String,
    pub value: String,
    pub description: Option<String>,
    pub export_name: Option<String>,
}

/// A template together with the values that decide it.
pub struct Evaluation<'a> {
    template: &'a Template,
    parameters: &'a BTreeMap<String, Value>,
    pseudo: &'a Pseudo,
    resolver: &'a dyn Resolver,
    conditions: BTreeMap<String, bool>,
}

impl<'a> Evaluation<'a> {
    /// Decides all conditions. The template is one that [`validate::validate`] passed; of another, mistakes come out
    /// as errors all the same.
    pub fn new(
        template: &'a Template,
        parameters: &'a BTreeMap<String, Value>,
        pseudo: &'a Pseudo,
        resolver: &'a dyn Resolver,
    ) -> Result<Self> {
        let mut evaluation = Self { template, parameters, pseudo, resolver, conditions: BTreeMap::new() };
        for name in template.conditions.keys() {
            evaluation.decide(name, &mut Vec::new())?;
        }
        Ok(evaluation)
    }

    /// Whether a condition holds; `None` when the template has no such condition.
    pub fn condition(&self, name: &str) -> Option<bool> {
        self.conditions.get(name).copied()
    }

    /// Whether a resource is part of the stack: it exists and its condition holds.
    pub fn is_active(&self, resource: &str) -> bool {
        self.template.resources.get(resource).is_some_and(|resource| self.holds(resource.condition.as_deref()))
    }

    /// The logical ids of the stack's resources.
    pub fn active(&self) -> Vec<&'a str> {
        self.template.resources.keys().map(String::as_str).filter(|name| self.is_active(name)).collect()
    }

    /// The order of the stack's resources.
    pub fn graph(&self) -> Result<graph::Graph> {
        graph::Graph::of(self.template, |name| self.is_active(name))
    }

    /// Refuses references to resources whose condition does not hold, from what will be evaluated.
    pub fn check(&self) -> Result<()> {
        let resources = self.template.resources.iter().filter(|(name, _)| self.is_active(name));
        self.check_block("Resources", resources.flat_map(|(_, resource)| resource.nodes()))?;
        let outputs = self.template.outputs.values().filter(|output| self.holds(output.condition.as_deref()));
        self.check_block("Outputs", outputs.flat_map(|output| [Some(&output.value), output.export.as_ref()]).flatten())
    }

    fn check_block<'t>(&self, block: &str, nodes: impl Iterator<Item = &'t Value>) -> Result<()> {
        let mut absent = BTreeSet::new();
        for node in nodes {
            call::walk(node, Place::Value, &|name| self.condition(name), &mut |call| {
                for reference in call.references() {
                    if let Reference::Name(name) | Reference::Attribute { resource: name, .. } = reference
                        && self.template.resources.contains_key(name)
                        && !self.is_active(name)
                    {
                        absent.insert(name.to_owned());
                    }
                }
                Ok(())
            })?;
        }
        if absent.is_empty() { Ok(()) } else { Err(validate::unresolved(absent.iter().map(String::as_str), block)) }
    }

    /// A resource's properties and attributes, once everything it refers to can be resolved.
    pub fn resource(&self, name: &str) -> Result<EvaluatedResource> {
        let resource = self.template.resources.get(name).ok_or_else(|| validate::unresolved([name], "Resources"))?;
        let mut properties = Map::new();
        for (key, node) in &resource.properties {
            if let Some(value) = self.value(node)? {
                properties.insert(key.clone(), self.settle(value)?);
            }
        }
        let attribute = |node: &Option<Value>| match node {
            Some(node) => self.value(node),
            None => Ok(None),
        };
        Ok(EvaluatedResource {
            kind: resource.kind.clone(),
            properties,
            metadata: attribute(&resource.metadata)?,
            creation_policy: attribute(&resource.creation_policy)?,
            update_policy: attribute(&resource.update_policy)?,
            deletion_policy: resource.deletion_policy,
            update_replace_policy: resource.update_replace_policy,
        })
    }

    /// The outputs whose conditions hold, in the order of their names.
    pub fn outputs(&self) -> Result<Vec<EvaluatedOutput>> {
        let held = self.template.outputs.iter().filter(|(_, output)| self.holds(output.condition.as_deref()));
        held.map(|(key, output)| {
            let no_text = || {
                invalid(format!(
                    "Template format error: The Value field of every Outputs member must evaluate to a String. \
                     [/Outputs/{key}]"
                ))
            };
            let value = self.value(&output.value)?.and_then(|value| text(&value)).ok_or_else(no_text)?;
            let value = dynamic::replace(&value, &mut |wanted| match wanted {
                // Secrets do not go where everybody may read them.
                External::Ssm { .. } => self.external_text(&wanted).map(Some),
                _ => Ok(None),
            })?;
            let export_name = match &output.export {
                Some(name) => Some(self.text(name, "Export Name of an output")?),
                None => None,
            };
            Ok(EvaluatedOutput { key: key.clone(), value, description: output.description.clone(), export_name })
        })
        .collect()
    }

    /// The value of a node; `None` for `AWS::NoValue`.
    pub fn value(&self, node: &Value) -> Result<Option<Value>> {
        if let Some(call) = call::read(node, Place::Value)? {
            return self.call(&call);
        }
        match node {
            Value::Array(items) => {
                let values = items.iter().filter_map(|item| self.value(item).transpose());
                Ok(Some(Value::Array(values.collect::<Result<_>>()?)))
            }
            Value::Object(members) => {
                let mut values = Map::new();
                for (key, member) in members {
                    if let Some(value) = self.value(member)? {
                        values.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(values)))
            }
            scalar => Ok(Some(scalar.clone())),
        }
    }

    fn holds(&self, condition: Option<&str>) -> bool {
        condition.is_none_or(|name| self.condition(name) == Some(true))
    }

    /// Replaces the dynamic references in a computed value.
    fn settle(&self, value: Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) if dynamic::is_in(&text) => Value::String(self.settle_text(&text)?),
            Value::Array(items) => {
                Value::Array(items.into_iter().map(|item| self.settle(item)).collect::<Result<_>>()?)
            }
            Value::Object(members) => {
                let settled = members.into_iter().map(|(key, member)| Ok((key, self.settle(member)?)));
                Value::Object(settled.collect::<Result<_>>()?)
            }
            other => other,
        })
    }

    fn settle_text(&self, text: &str) -> Result<String> {
        dynamic::replace(text, &mut |wanted| self.external_text(&wanted).map(Some))
    }

    fn external_text(&self, wanted: &External) -> Result<String> {
        let value = self.resolver.external(wanted)?;
        text(&value).ok_or_else(|| Error::internal(format!("{wanted:?} was resolved to what is no text")))
    }

    /// Decides a condition and those it needs. `path` holds the names being decided.
    fn decide(&mut self, name: &str, path: &mut Vec<String>) -> Result<bool> {
        if let Some(decided) = self.condition(name) {
            return Ok(decided);
        }
        if let Some(start) = path.iter().position(|other| other == name) {
            return Err(validate::circular_conditions(&path[start..]));
        }
        let template = self.template;
        let node = template.conditions.get(name).ok_or_else(|| {
            invalid(format!("Template error: unresolved condition dependency {name} in the Conditions block"))
        })?;
        path.push(name.to_owned());
        let decided = self.truth(node, path)?;
        path.pop();
        self.conditions.insert(name.to_owned(), decided);
        Ok(decided)
    }

    fn truth(&mut self, node: &Value, path: &mut Vec<String>) -> Result<bool> {
        let call = call::read(node, Place::Condition)?;
        match call {
            Some(Call::Condition(name)) => self.decide(name, path),
            // Every branch is looked at, so that a mistake does not hide behind the first that decides.
            Some(Call::And(list)) => list.iter().try_fold(true, |all, node| Ok(self.truth(node, path)? && all)),
            Some(Call::Or(list)) => list.iter().try_fold(false, |any, node| Ok(self.truth(node, path)? || any)),
            Some(Call::Not(node)) => Ok(!self.truth(node, path)?),
            Some(Call::Equals(left, right)) => self.equal(left, right),
            other => {
                let name = other.map_or("a value", |call| call.name());
                Err(invalid(format!("Template error: {name} does not give a condition")))
            }
        }
    }

    fn equal(&self, left: &Value, right: &Value) -> Result<bool> {
        let side = |node: &Value| Ok(self.value(node)?.map(comparable));
        Ok(side(left)? == side(right)?)
    }
}

/// CloudFormation compares text: `true` and `"true"` are equal.
fn comparable(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(comparable).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, comparable(value))).collect(),
        scalar => text(&scalar).map_or(scalar, Value::String),
    }
}
