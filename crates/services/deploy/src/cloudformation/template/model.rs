//! A template's sections with their types.
//!
//! Invariant: of a [`Template`] every section has the form that CloudFormation asks for and stays within its limits;
//! the values inside (properties, conditions, outputs) are still trees that [`super::call`] reads. Not here: whether
//! what a value refers to exists.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standfast_core::{Error, Result};

use super::parameter_type::ParameterType;
use super::{invalid, text};

/// How many of each a template may have.
pub const RESOURCES_MAX: usize = 500;
pub const PARAMETERS_MAX: usize = 200;
pub const MAPPINGS_MAX: usize = 200;
pub const OUTPUTS_MAX: usize = 200;
/// The longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 1024;
/// The longest name of a parameter, resource, output or mapping.
pub const NAME_CHARS_MAX: usize = 255;
/// The transform that adds `Fn::ForEach`, `Fn::Length`, `Fn::ToJsonString` and defaults of `Fn::FindInMap`.
pub const LANGUAGE_EXTENSIONS: &str = "AWS::LanguageExtensions";

const SECTIONS: &[&str] = &[
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Hooks",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
    "Transform",
];
const PARAMETER_MEMBERS: &[&str] = &[
    "AllowedPattern",
    "AllowedValues",
    "ConstraintDescription",
    "Default",
    "Description",
    "MaxLength",
    "MaxValue",
    "MinLength",
    "MinValue",
    "NoEcho",
    "Type",
];
const RESOURCE_MEMBERS: &[&str] = &[
    "Condition",
    "CreationPolicy",
    "DeletionPolicy",
    "DependsOn",
    "Description",
    "Metadata",
    "Properties",
    "Type",
    "UpdatePolicy",
    "UpdateReplacePolicy",
    "Version",
];
const OUTPUT_MEMBERS: &[&str] = &["Condition", "Description", "Export", "Value"];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template {
    pub description: Option<String>,
    pub metadata: Option<Value>,
    pub parameters: BTreeMap<String, Parameter>,
    /// Map name, first key, second key, and there a scalar or a list of scalars.
    pub mappings: BTreeMap<String, BTreeMap<String, BTreeMap<String, Value>>>,
    pub conditions: BTreeMap<String, Value>,
    pub rules: BTreeMap<String, Rule>,
    pub resources: BTreeMap<String, Resource>,
    pub outputs: BTreeMap<String, Output>,
    pub transforms: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub kind: ParameterType,
    pub default: Option<String>,
    pub description: Option<String>,
    pub allowed_values: Vec<String>,
    pub allowed_pattern: Option<String>,
    pub constraint_description: Option<String>,
    pub min_length: Option<u64>,
    pub max_length: Option<u64>,
    pub min_value: Option<f64>,
    pub max_value: Option<f64>,
    pub no_echo: bool,
}

/// Assertions about parameters, checked before a stack is created.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub condition: Option<Value>,
    pub assertions: Vec<Assertion>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Assertion {
    pub assert: Value,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub kind: String,
    pub properties: Map<String, Value>,
    pub depends_on: Vec<String>,
    pub condition: Option<String>,
    pub deletion_policy: DeletionPolicy,
    pub update_replace_policy: DeletionPolicy,
    pub creation_policy: Option<Value>,
    pub update_policy: Option<Value>,
    pub metadata: Option<Value>,
}

/// What becomes of the real thing when the resource leaves its stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    #[default]
    Delete,
    Retain,
    Snapshot,
    RetainExceptOnCreate,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub value: Value,
    pub description: Option<String>,
    pub export: Option<Value>,
    pub condition: Option<String>,
}

impl Template {
    /// Gives a tree its types.
    pub fn read(tree: &Value) -> Result<Self> {
        let root = tree.as_object().ok_or_else(|| format_error("unsupported structure."))?;
        let unknown: Vec<&str> = root.keys().map(String::as_str).filter(|key| !SECTIONS.contains(key)).collect();
        if !unknown.is_empty() {
            return Err(invalid(format!("Invalid template property or properties [{}]", super::listed(unknown))));
        }
        check_version(root)?;
        let resources = section(root, "Resources", RESOURCES_MAX, resource)?;
        if resources.is_empty() {
            return Err(format_error("At least one Resources member must be defined."));
        }
        Ok(Self {
            description: description(root)?,
            metadata: root.get("Metadata").cloned(),
            parameters: section(root, "Parameters", PARAMETERS_MAX, parameter)?,
            mappings: section(root, "Mappings", MAPPINGS_MAX, mapping)?,
            conditions: section(root, "Conditions", usize::MAX, |_, value| Ok(value.clone()))?,
            rules: section(root, "Rules", usize::MAX, rule)?,
            resources,
            outputs: section(root, "Outputs", OUTPUTS_MAX, output)?,
            transforms: transforms(root)?,
        })
    }

    pub fn extends_language(&self) -> bool {
        self.transforms.iter().any(|name| name == LANGUAGE_EXTENSIONS)
    }
}

/// The Parameters section alone: what loops need before the rest of the tree has its final form.
pub fn parameters(tree: &Value) -> Result<BTreeMap<String, Parameter>> {
    let root = tree.as_object().ok_or_else(|| format_error("unsupported structure."))?;
    section(root, "Parameters", PARAMETERS_MAX, parameter)
}

/// The macros that a tree asks for, as text or in a list.
pub fn transforms(root: &Map<String, Value>) -> Result<Vec<String>> {
    let name = |value: &Value| value.as_str().map(str::to_owned);
    let names = match root.get("Transform") {
        None => Some(Vec::new()),
        Some(Value::Array(names)) => names.iter().map(name).collect(),
        Some(one) => name(one).map(|name| vec![name]),
    };
    names.ok_or_else(|| format_error("Transform must be a string or a list of strings."))
}

fn format_error(what: &str) -> Error {
    invalid(format!("Template format error: {what}"))
}

fn check_version(root: &Map<String, Value>) -> Result<()> {
    match root.get("AWSTemplateFormatVersion").map(text) {
        None => Ok(()),
        Some(Some(version)) if version == "2010-09-09" => Ok(()),
        Some(version) => {
            let version = version.unwrap_or_default();
            Err(invalid(format!(
                "Template format error: unsupported value for AWSTemplateFormatVersion. The value '{version}' is not \
                 2010-09-09."
            )))
        }
    }
}

fn description(root: &Map<String, Value>) -> Result<Option<String>> {
    match root.get("Description") {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= DESCRIPTION_BYTES_MAX => Ok(Some(text.clone())),
        Some(Value::String(_)) => {
            Err(format_error(&format!("'Description' length is greater than {DESCRIPTION_BYTES_MAX}.")))
        }
        Some(_) => Err(format_error("every Description member must be a string.")),
    }
}

/// Reads the members of a section; a section that is absent has none.
fn section<T>(
    root: &Map<String, Value>,
    name: &str,
    limit: usize,
    read: impl Fn(&str, &Value) -> Result<T>,
) -> Result<BTreeMap<String, T>> {
    let members = match root.get(name) {
        None => return Ok(BTreeMap::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(format_error(&format!("{name} must be an object."))),
    };
    if members.len() > limit {
        return Err(format_error(&format!(
            "Number of {}, {}, is greater than maximum allowed, {limit}",
            name.to_lowercase(),
            members.len()
        )));
    }
    let one = |(key, value): (&String, &Value)| {
        check_name(name, key)?;
        Ok((key.clone(), read(key, value)?))
    };
    members.iter().map(one).collect()
}

fn check_name(section: &str, name: &str) -> Result<()> {
    let kind = match section {
        "Resources" => "Resource name",
        "Parameters" => "Parameter name",
        "Outputs" => "Output",
        "Mappings" => "Mapping name",
        // Condition and rule names are free.
        _ => return Ok(()),
    };
    if name.starts_with("Fn::ForEach::") {
        return Err(invalid(format!("Template error: {name} requires the {LANGUAGE_EXTENSIONS} transform")));
    }
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format_error(&format!("{kind} {name} is non alphanumeric.")));
    }
    if name.len() > NAME_CHARS_MAX {
        return Err(format_error(&format!("{kind} {name} is longer than {NAME_CHARS_MAX} characters.")));
    }
    Ok(())
}

/// The members of an object of a section, all of them known.
fn members<'a>(section: &str, name: &str, value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>> {
    let Value::Object(members) = value else {
        return Err(format_error(&format!("[/{section}/{name}] Any {section} member must be an object.")));
    };
    match members.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(members),
        Some(key) => {
            let singular = section.trim_end_matches('s').to_lowercase();
            Err(invalid(format!("Invalid template {singular} property '{key}' [/{section}/{name}]")))
        }
    }
}

fn string(members: &Map<String, Value>, key: &str) -> Result<Option<String>> {
    let found = members.get(key).map(|value| text(value).ok_or(key));
    found.transpose().map_err(|key| format_error(&format!("Every {key} member must be a string.")))
}

fn number<T: std::str::FromStr>(members: &Map<String, Value>, key: &str) -> Result<Option<T>> {
    let parsed = string(members, key)?.map(|text| text.parse());
    parsed.transpose().map_err(|_| format_error(&format!("Every {key} member must be a number.")))
}

fn parameter(name: &str, value: &Value) -> Result<Parameter> {
    let members = members("Parameters", name, value, PARAMETER_MEMBERS)?;
    let kind = string(members, "Type")?.ok_or_else(|| {
        format_error(&format!("[/Parameters/{name}] Every Parameters object must contain a Type member."))
    })?;
    let kind = ParameterType::named(&kind)
        .ok_or_else(|| format_error(&format!("Unrecognized parameter type: {kind} [/Parameters/{name}]")))?;
    let allowed_values = match members.get("AllowedValues") {
        None => Some(Vec::new()),
        Some(Value::Array(values)) if !values.is_empty() => values.iter().map(text).collect(),
        Some(_) => None,
    };
    Ok(Parameter {
        kind,
        default: string(members, "Default")?,
        description: string(members, "Description")?,
        allowed_values: allowed_values
            .ok_or_else(|| format_error(&format!("[/Parameters/{name}] AllowedValues must be a list of strings.")))?,
        allowed_pattern: string(members, "AllowedPattern")?,
        constraint_description: string(members, "ConstraintDescription")?,
        min_length: number(members, "MinLength")?,
        max_length: number(members, "MaxLength")?,
        min_value: number(members, "MinValue")?,
        max_value: number(members, "MaxValue")?,
        no_echo: string(members, "NoEcho")?.is_some_and(|text| text.eq_ignore_ascii_case("true")),
    })
}

fn mapping(name: &str, value: &Value) -> Result<BTreeMap<String, BTreeMap<String, Value>>> {
    let bad = |path: &str, what: &str| format_error(&format!("[/Mappings/{path}] {what}"));
    let object = |value: &Value, path: &str| {
        value.as_object().cloned().ok_or_else(|| bad(path, "Every Mappings member must be an object of objects."))
    };
    let leaf = |value: &Value| match value {
        Value::Array(items) => items.iter().all(|item| text(item).is_some()),
        other => text(other).is_some(),
    };
    let mut map = BTreeMap::new();
    for (top, inner) in object(value, name)? {
        let path = format!("{name}/{top}");
        let inner = object(&inner, &path)?;
        if let Some((second, _)) = inner.iter().find(|(_, value)| !leaf(value)) {
            let path = format!("{path}/{second}");
            return Err(bad(&path, "Every Mappings attribute must be a String or a List."));
        }
        map.insert(top, inner.into_iter().collect());
    }
    Ok(map)
}

fn rule(name: &str, value: &Value) -> Result<Rule> {
    let rule = members("Rules", name, value, &["RuleCondition", "Assertions"])?;
    let no_list = || format_error(&format!("[/Rules/{name}] Assertions must be a list of objects."));
    let list = rule.get("Assertions").and_then(Value::as_array).ok_or_else(no_list)?;
    let assertion = |value: &Value| {
        let members = members("Rules", name, value, &["Assert", "AssertDescription"])?;
        let assert = members.get("Assert").cloned().ok_or_else(no_list)?;
        Ok(Assertion { assert, description: string(members, "AssertDescription")? })
    };
    Ok(Rule {
        condition: rule.get("RuleCondition").cloned(),
        assertions: list.iter().map(assertion).collect::<Result<_>>()?,
    })
}

fn resource(name: &str, value: &Value) -> Result<Resource> {
    let members = members("Resources", name, value, RESOURCE_MEMBERS)?;
    let bad = |what: &str| format_error(&format!("[/Resources/{name}] {what}"));
    let kind = match members.get("Type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(_) => return Err(bad("Every Type member must be a string.")),
        None => return Err(bad("Every Resources object must contain a Type member.")),
    };
    let properties = match members.get("Properties") {
        None => Map::new(),
        Some(Value::Object(properties)) => properties.clone(),
        Some(_) => return Err(bad("Properties must be an object.")),
    };
    let depends_on = match members.get("DependsOn") {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(list)) => list.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    Ok(Resource {
        kind,
        properties,
        depends_on: depends_on.ok_or_else(|| bad("DependsOn must be a string or list of strings."))?,
        condition: condition_name("Resources", name, members)?,
        deletion_policy: policy(name, members, "DeletionPolicy")?,
        update_replace_policy: policy(name, members, "UpdateReplacePolicy")?,
        creation_policy: members.get("CreationPolicy").cloned(),
        update_policy: members.get("UpdatePolicy").cloned(),
        metadata: members.get("Metadata").cloned(),
    })
}

fn condition_name(section: &str, name: &str, members: &Map<String, Value>) -> Result<Option<String>> {
    match members.get("Condition") {
        None => Ok(None),
        Some(Value::String(condition)) => Ok(Some(condition.clone())),
        Some(_) => Err(format_error(&format!("[/{section}/{name}] Every Condition member must be a string."))),
    }
}

fn policy(name: &str, members: &Map<String, Value>, key: &str) -> Result<DeletionPolicy> {
    let given = members.get(key);
    match given.map(|value| value.as_str().unwrap_or_default()) {
        None | Some("Delete") => Ok(DeletionPolicy::Delete),
        Some("Retain") => Ok(DeletionPolicy::Retain),
        Some("Snapshot") => Ok(DeletionPolicy::Snapshot),
        Some("RetainExceptOnCreate") if key == "DeletionPolicy" => Ok(DeletionPolicy::RetainExceptOnCreate),
        Some(_) => {
            let given = given.and_then(text).unwrap_or_else(|| "of no known form".into());
            Err(format_error(&format!("Unrecognized {key} {given} for resource {name}")))
        }
    }
}

fn output(name: &str, value: &Value) -> Result<Output> {
    let members = members("Outputs", name, value, OUTPUT_MEMBERS)?;
    let bad = |what: &str| format_error(&format!("[/Outputs/{name}] {what}"));
    let value = members.get("Value").ok_or_else(|| bad("Every Outputs member must contain a Value object"))?;
    let export = match members.get("Export") {
        None => None,
        Some(Value::Object(export)) if export.len() == 1 && export.contains_key("Name") => export.get("Name").cloned(),
        Some(_) => return Err(bad("Export must be an object whose only member is Name.")),
    };
    Ok(Output {
        value: value.clone(),
        description: string(members, "Description")?,
        export,
        condition: condition_name("Outputs", name, members)?,
    })
}
