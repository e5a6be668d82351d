//! What is wrong with a template before any value is known, in CloudFormation's words.
//!
//! Invariant: a template that passes refers to nothing it does not have, calls no function that does not exist, and
//! has no cycle. Not here: parameter values ([`super::params`]), what properties a resource type takes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use standfast_core::{Error, Result};

use super::call::{self, Call, Place, Reference};
use super::graph::Graph;
use super::model::{LANGUAGE_EXTENSIONS, Template};
use super::{invalid, listed};

/// The names that a `Ref` knows in every template.
pub const PSEUDO_PARAMETERS: &[&str] = &[
    "AWS::AccountId",
    "AWS::NoValue",
    "AWS::NotificationARNs",
    "AWS::Partition",
    "AWS::Region",
    "AWS::StackId",
    "AWS::StackName",
    "AWS::URLSuffix",
];

/// What the registry of resource types knows.
pub struct Types<'a> {
    /// Whether there is such a type.
    pub exists: &'a dyn Fn(&str) -> bool,
    /// Whether a type has an attribute, both by name.
    pub has_attribute: &'a dyn Fn(&str, &str) -> bool,
}

/// Checks a template. The first mistake found is answered, except that names which lack are gathered.
pub fn validate(template: &Template, types: &Types<'_>) -> Result<()> {
    if let Some(name) = template.transforms.iter().find(|name| *name != LANGUAGE_EXTENSIONS) {
        return Err(invalid(format!("No transform named {name} found.")));
    }
    let unknown =
        template.resources.values().map(|resource| resource.kind.as_str()).filter(|kind| !(types.exists)(kind));
    let unknown: BTreeSet<&str> = unknown.collect();
    if !unknown.is_empty() {
        return Err(invalid(format!("Template format error: Unrecognized resource types: [{}]", listed(unknown))));
    }
    conditions(template)?;
    resources(template, types)?;
    outputs(template, types)?;
    Graph::of(template, |_| true)?.waves().map(drop)
}

/// A block of the template while its values are walked.
struct Block<'a> {
    template: &'a Template,
    types: &'a Types<'a>,
    name: &'static str,
    missing: BTreeSet<String>,
}

impl<'a> Block<'a> {
    fn new(template: &'a Template, types: &'a Types<'a>, name: &'static str) -> Self {
        Self { template, types, name, missing: BTreeSet::new() }
    }

    fn walk(&mut self, node: &Value) -> Result<()> {
        call::walk_all(node, Place::Value, &mut |call| {
            if matches!(call, Call::And(_) | Call::Or(_) | Call::Not(_) | Call::Equals(..)) {
                let name = call.name();
                return Err(invalid(format!("Template error: {name} is only allowed in the Conditions block")));
            }
            check_call(self.template, call)?;
            check_text_of_import(self.template, call)?;
            call.references().into_iter().try_for_each(|reference| self.reference(reference))
        })
    }

    fn reference(&mut self, reference: Reference<'_>) -> Result<()> {
        match reference {
            Reference::Name(name) => {
                self.needs(name);
                Ok(())
            }
            Reference::Attribute { resource, attribute, through_sub } => {
                self.attribute(resource, attribute, through_sub)
            }
            Reference::Condition { name, .. } if self.template.conditions.contains_key(name) => Ok(()),
            Reference::Condition { name, .. } => {
                Err(invalid(format!("Template error: unresolved condition dependency {name} in Fn::If")))
            }
        }
    }

    fn needs(&mut self, name: &str) {
        if !self.template.resources.contains_key(name) && !is_value(self.template, name) {
            self.missing.insert(name.to_owned());
        }
    }

    fn attribute(&self, resource: &str, attribute: Option<&str>, through_sub: bool) -> Result<()> {
        let function = if through_sub { "Fn::Sub" } else { "Fn::GetAtt" };
        let Some(found) = self.template.resources.get(resource) else {
            return Err(match attribute {
                Some(attribute) if through_sub => invalid(format!(
                    "Template error: instance of Fn::Sub references invalid resource attribute {resource}.{attribute}"
                )),
                _ => {
                    invalid(format!("Template error: instance of Fn::GetAtt references undefined resource {resource}"))
                }
            });
        };
        match attribute {
            Some(attribute) if !(self.types.has_attribute)(&found.kind, attribute) => Err(invalid(format!(
                "Template error: resource {resource} does not support attribute type {attribute} in {function}"
            ))),
            _ => Ok(()),
        }
    }

    fn condition(&self, condition: Option<&str>) -> Result<()> {
        match condition {
            Some(name) if !self.template.conditions.contains_key(name) => Err(invalid(format!(
                "Template format error: Unresolved condition dependency {name} in the {} block of the template",
                self.name
            ))),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        if self.missing.is_empty() {
            return Ok(());
        }
        Err(unresolved(self.missing.iter().map(String::as_str), self.name))
    }
}

/// The refusal of names that a block refers to and the template does not have.
pub fn unresolved<'a>(names: impl IntoIterator<Item = &'a str>, block: &str) -> Error {
    let names = listed(names);
    invalid(format!(
        "Template format error: Unresolved resource dependencies [{names}] in the {block} block of the template"
    ))
}

fn is_value(template: &Template, name: &str) -> bool {
    template.parameters.contains_key(name) || PSEUDO_PARAMETERS.contains(&name)
}

fn resources(template: &Template, types: &Types<'_>) -> Result<()> {
    let mut block = Block::new(template, types, "Resources");
    for (name, resource) in &template.resources {
        block.condition(resource.condition.as_deref())?;
        for needed in &resource.depends_on {
            // Waiting for oneself is a cycle; waiting for a parameter is a name that no resource has.
            if !template.resources.contains_key(needed) {
                block.missing.insert(needed.clone());
            }
        }
        resource.nodes().try_for_each(|node| block.walk(node)).map_err(|error| at(error, "Resources", name))?;
    }
    block.finish()
}

fn outputs(template: &Template, types: &Types<'_>) -> Result<()> {
    let mut block = Block::new(template, types, "Outputs");
    for (name, output) in &template.outputs {
        block.condition(output.condition.as_deref())?;
        let nodes = [Some(&output.value), output.export.as_ref()];
        nodes
            .into_iter()
            .flatten()
            .try_for_each(|node| block.walk(node))
            .map_err(|error| at(error, "Outputs", name))?;
    }
    block.finish()
}

/// Says where a mistake stands when its text does not.
fn at(mut error: Error, block: &str, name: &str) -> Error {
    if !error.message.contains(name) {
        error.message = format!("{} [/{block}/{name}]", error.message);
    }
    error
}

fn conditions(template: &Template) -> Result<()> {
    let mut missing = BTreeSet::new();
    let mut needs = BTreeMap::new();
    for (name, condition) in &template.conditions {
        if !condition.is_object() || call::read(condition, Place::Condition)?.is_none() {
            return Err(invalid(format!(
                "Template format error: Every Conditions member must be a condition function [/Conditions/{name}]"
            )));
        }
        let needed: &mut BTreeSet<String> = needs.entry(name.clone()).or_default();
        let walked = call::walk_all(condition, Place::Condition, &mut |call| {
            check_call(template, call)?;
            if matches!(call, Call::GetAtt { .. } | Call::ImportValue(_) | Call::GetAzs(_)) {
                return Err(invalid(format!("Template error: Cannot use {} in Conditions.", call.name())));
            }
            for reference in call.references() {
                match reference {
                    Reference::Name(name) if is_value(template, name) => {}
                    Reference::Name(name) | Reference::Attribute { resource: name, .. } => {
                        missing.insert(name.to_owned());
                    }
                    Reference::Condition { name, .. } if template.conditions.contains_key(name) => {
                        needed.insert(name.to_owned());
                    }
                    Reference::Condition { name, .. } => {
                        return Err(invalid(format!(
                            "Template format error: Unresolved condition dependency {name} in the Conditions block of \
                             the template"
                        )));
                    }
                }
            }
            Ok(())
        });
        walked.map_err(|error| at(error, "Conditions", name))?;
    }
    if let Some(names) = Graph::from_needs(needs).cycle() {
        return Err(circular_conditions(&names));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names = listed(missing.iter().map(String::as_str));
    Err(invalid(format!(
        "Template format error: Unresolved dependencies [{names}]. Cannot reference resources in the Conditions block of \
         the template"
    )))
}

/// The refusal of conditions that need each other.
pub fn circular_conditions(names: &[String]) -> Error {
    invalid(format!("Template error: Circular dependency between conditions: [{}]", names.join(", ")))
}

/// What is wrong with a call wherever it stands.
fn check_call(template: &Template, call: &Call<'_>) -> Result<()> {
    let extended = matches!(call, Call::Length(_) | Call::ToJsonString(_) | Call::FindInMap { default: Some(_), .. });
    if extended && !template.extends_language() {
        let what = match call {
            Call::FindInMap { .. } => "DefaultValue of Fn::FindInMap",
            other => other.name(),
        };
        return Err(invalid(format!("Template error: {what} requires the {LANGUAGE_EXTENSIONS} transform")));
    }
    match call {
        Call::Sub { text, .. } => super::sub::pieces(text).map(drop),
        Call::FindInMap { map: Value::String(map), top, second, default: None } => {
            find_in_map(template, map, top, second)
        }
        Call::Select { index, .. } => match super::text(index) {
            Some(index) if index.parse::<usize>().is_err() => Err(invalid(format!(
                "Template error: Fn::Select requires a list argument with two elements: an integer index and a list; \
                 '{index}' is no index"
            ))),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// A lookup whose names are written out must find something.
fn find_in_map(template: &Template, name: &str, top: &Value, second: &Value) -> Result<()> {
    let map = template.mappings.get(name).ok_or_else(|| no_mapping(name))?;
    let (Some(top), second) = (super::text(top), super::text(second)) else { return Ok(()) };
    let row = map.get(&top);
    let found = match (&row, &second) {
        (Some(row), Some(second)) => row.contains_key(second),
        (row, None) => row.is_some(),
        (None, Some(_)) => false,
    };
    if found { Ok(()) } else { Err(no_entry(name, &top, second.as_deref().unwrap_or_default())) }
}

/// The refusal of a lookup in a map that is not there.
pub fn no_mapping(name: &str) -> Error {
    invalid(format!("Template error: Mapping named '{name}' is not present in the 'Mappings' section of template."))
}

/// The refusal of a lookup of keys that a map lacks.
pub fn no_entry(map: &str, top: &str, second: &str) -> Error {
    invalid(format!("Template error: Unable to get mapping for {map}::{top}::{second}"))
}

/// The name of an import must be known before any resource is there.
fn check_text_of_import(template: &Template, call: &Call<'_>) -> Result<()> {
    let Call::ImportValue(name) = call else { return Ok(()) };
    call::walk_all(name, Place::Value, &mut |inner| {
        let names = inner.references();
        let resource = names.iter().any(|reference| match reference {
            Reference::Name(name) => template.resources.contains_key(*name),
            Reference::Attribute { .. } => true,
            Reference::Condition { .. } => false,
        });
        if resource || matches!(inner, Call::ImportValue(_) | Call::GetAzs(_)) {
            return Err(invalid(
                "Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or \
                 Fn::GetAZs",
            ));
        }
        Ok(())
    })
}
