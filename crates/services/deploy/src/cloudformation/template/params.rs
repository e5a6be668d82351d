//! Parameters: what the template asks for and what the user gave become the values a stack runs with.
//!
//! Invariant: an [`Effective`] satisfies every constraint of its parameter. Not here: whether an image or a subnet of
//! that name exists ([`super::parameter_type::ParameterType::identifier`] says whom to ask).

use std::collections::BTreeMap;

use serde_json::Value;
use standfast_core::{Error, Result};

use super::invalid;
use super::model::Parameter;
use super::parameter_type::ParameterType;

/// The longest value of a parameter.
pub const VALUE_BYTES_MAX: usize = 4096;
/// What is shown in place of a value that must not be seen.
pub const NO_ECHO: &str = "****";

/// What the user says about a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Supplied {
    Value(String),
    UsePrevious,
}

/// The value a stack runs with.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The text as it was given; for SSM types the name of the SSM parameter.
    pub given: String,
    /// The text that the SSM parameter had, for SSM types.
    pub resolved: Option<String>,
    /// What `Ref` gives: text, or a list of texts.
    pub value: Value,
    pub no_echo: bool,
}

impl Effective {
    /// The text that descriptions of a stack show.
    pub fn shown(&self) -> &str {
        if self.no_echo { NO_ECHO } else { &self.given }
    }
}

/// The SSM parameters that must be looked up before [`effective`] can answer.
pub fn ssm_names(
    parameters: &BTreeMap<String, Parameter>,
    supplied: &BTreeMap<String, Supplied>,
    previous: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let given = given(parameters, supplied, previous)?;
    let ssm = given.into_iter().filter(|(name, _)| matches!(parameters[name].kind, ParameterType::Ssm(_)));
    Ok(ssm.map(|(_, value)| value).collect())
}

/// Every parameter's value. `ssm` gives the text of an SSM parameter by its name.
pub fn effective(
    parameters: &BTreeMap<String, Parameter>,
    supplied: &BTreeMap<String, Supplied>,
    previous: &BTreeMap<String, String>,
    ssm: &dyn Fn(&str) -> Result<String>,
) -> Result<BTreeMap<String, Effective>> {
    let mut values = BTreeMap::new();
    for (name, given) in given(parameters, supplied, previous)? {
        let parameter = &parameters[&name];
        check(&name, parameter, &given)?;
        let resolved = match parameter.kind {
            ParameterType::Ssm(_) => Some(ssm(&given)?),
            _ => None,
        };
        let value = value(&parameter.kind, resolved.as_ref().unwrap_or(&given));
        values.insert(name, Effective { given, resolved, value, no_echo: parameter.no_echo });
    }
    Ok(values)
}

/// What `Ref` gives of each parameter: the form that evaluation takes.
pub fn values(effective: &BTreeMap<String, Effective>) -> BTreeMap<String, Value> {
    effective.iter().map(|(name, effective)| (name.clone(), effective.value.clone())).collect()
}

/// The text of every parameter, by supply, by the previous stack, or by default.
fn given(
    parameters: &BTreeMap<String, Parameter>,
    supplied: &BTreeMap<String, Supplied>,
    previous: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let unknown: Vec<&str> =
        supplied.keys().filter(|name| !parameters.contains_key(*name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        return Err(invalid(format!("Parameters: [{}] do not exist in the template", super::listed(unknown))));
    }
    let mut given = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, parameter) in parameters {
        let text = match supplied.get(name) {
            Some(Supplied::Value(text)) => Some(text),
            Some(Supplied::UsePrevious) => Some(previous.get(name).ok_or_else(|| {
                invalid(format!(
                    "Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter key \
                     not in the previous template"
                ))
            })?),
            None => parameter.default.as_ref(),
        };
        match text {
            Some(text) => drop(given.insert(name.clone(), text.clone())),
            None => missing.push(name.as_str()),
        }
    }
    if !missing.is_empty() {
        return Err(invalid(format!("Parameters: [{}] must have values", super::listed(missing))));
    }
    Ok(given)
}

fn value(kind: &ParameterType, text: &str) -> Value {
    if kind.is_list() {
        return text.split(',').map(|item| Value::from(item.trim())).collect();
    }
    Value::from(text)
}

fn check(name: &str, parameter: &Parameter, given: &str) -> Result<()> {
    if given.len() > VALUE_BYTES_MAX {
        return Err(invalid(format!("Parameter '{name}' must contain at most {VALUE_BYTES_MAX} characters")));
    }
    let items: Vec<&str> =
        if parameter.kind.is_list() { given.split(',').map(str::trim).collect() } else { vec![given] };
    items.into_iter().try_for_each(|item| check_item(name, parameter, item))
}

fn check_item(name: &str, parameter: &Parameter, item: &str) -> Result<()> {
    let broken = |rule: String| match &parameter.constraint_description {
        Some(why) => Err(invalid(format!("Parameter '{name}' failed to satisfy constraint: {why}"))),
        None => Err(invalid(format!("Parameter '{name}' {rule}"))),
    };
    if parameter.kind.is_numeric() {
        let Ok(number) = item.parse::<f64>() else {
            return Err(invalid(format!("Parameter '{name}' must be a number")));
        };
        if let Some(min) = parameter.min_value.filter(|min| number < *min) {
            return broken(format!("must be a number not less than {min}"));
        }
        if let Some(max) = parameter.max_value.filter(|max| number > *max) {
            return broken(format!("must be a number not greater than {max}"));
        }
    }
    if !parameter.allowed_values.is_empty() && !parameter.allowed_values.iter().any(|allowed| allowed == item) {
        return broken(format!("must be one of AllowedValues [{}]", parameter.allowed_values.join(", ")));
    }
    let length = item.chars().count() as u64;
    if let Some(min) = parameter.min_length.filter(|min| length < *min) {
        return broken(format!("must contain at least {min} characters"));
    }
    if let Some(max) = parameter.max_length.filter(|max| length > *max) {
        return broken(format!("must contain at most {max} characters"));
    }
    match &parameter.allowed_pattern {
        Some(pattern) if !matches(name, pattern, item)? => broken(format!("must match pattern {pattern}")),
        _ => Ok(()),
    }
}

/// Whether a pattern matches a whole text.
// AWS-DIFF: patterns of Java with look-around, back references or classes by \p are refused by name, not run.
fn matches(name: &str, pattern: &str, text: &str) -> Result<bool> {
    let unsupported = |error: regex_lite::Error| -> Error {
        invalid(format!(
            "AllowedPattern '{pattern}' of parameter '{name}' is not a supported regular expression: {error}"
        ))
    };
    let regex = regex_lite::Regex::new(&format!("^(?:{pattern})$")).map_err(unsupported)?;
    Ok(regex.is_match(text))
}
