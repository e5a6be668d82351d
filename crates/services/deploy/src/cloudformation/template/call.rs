//! Intrinsic functions, read from a node once: everyone who walks a template (validation, graph, evaluation) sees a
//! [`Call`] with the right number of arguments of the right form, or CloudFormation's refusal.
//!
//! Invariant: [`read`] is the only place that knows how a function is written. Not here: what a function means.

use serde_json::{Map, Value};
use standfast_core::{Error, Result};

use super::{invalid, sub};

/// Every function name, as CloudFormation lists them when it meets another one.
const SUPPORTED: &str = "Fn::Base64, Fn::GetAtt, Fn::GetAZs, Fn::ImportValue, Fn::Join, Fn::Split, Fn::FindInMap, \
    Fn::Select, Ref, Fn::Equals, Fn::If, Fn::Not, Condition, Fn::And, Fn::Or, Fn::Sub, Fn::Cidr, Fn::Length, \
    Fn::ToJsonString";
/// How many conditions `Fn::And` and `Fn::Or` take.
const BRANCHES: std::ops::RangeInclusive<usize> = 2..=10;

/// Where a node stands; it decides what is a function there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Properties and attributes of resources, outputs. `Condition` is a word like any other here.
    Value,
    /// The Conditions section.
    Condition,
}

/// A function with its arguments, which may be functions themselves where the type is a `Value`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Call<'a> {
    Ref(&'a str),
    GetAtt { resource: &'a str, attribute: Attribute<'a> },
    Sub { text: &'a str, variables: Option<&'a Map<String, Value>> },
    Join { delimiter: &'a str, list: &'a Value },
    Select { index: &'a Value, list: &'a Value },
    Split { delimiter: &'a str, source: &'a Value },
    If { condition: &'a str, then: &'a Value, otherwise: &'a Value },
    Equals(&'a Value, &'a Value),
    And(&'a [Value]),
    Or(&'a [Value]),
    Not(&'a Value),
    Condition(&'a str),
    FindInMap { map: &'a Value, top: &'a Value, second: &'a Value, default: Option<&'a Value> },
    Base64(&'a Value),
    GetAzs(&'a Value),
    Cidr { block: &'a Value, count: &'a Value, bits: Option<&'a Value> },
    ImportValue(&'a Value),
    Length(&'a Value),
    ToJsonString(&'a Value),
}

/// The attribute of `Fn::GetAtt`: a name, or a `Ref` to a parameter that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute<'a> {
    Name(&'a str),
    Computed(&'a Value),
}

/// Something of the template that a call names directly, not through its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// A parameter, a resource or a pseudo parameter.
    Name(&'a str),
    /// An attribute of a resource, by the function that asks; the attribute is unknown when it is computed.
    Attribute { resource: &'a str, attribute: Option<&'a str>, through_sub: bool },
    /// A condition, by the function that asks.
    Condition { name: &'a str, through_if: bool },
}

/// The function that a node is, if it is one.
pub fn read(node: &Value, place: Place) -> Result<Option<Call<'_>>> {
    let Value::Object(members) = node else { return Ok(None) };
    let Some((name, argument)) = members.iter().find(|(key, _)| is_function(key)) else {
        return match (place, members.iter().next()) {
            (Place::Condition, Some((name, argument))) if name == "Condition" => match argument {
                Value::String(name) => Ok(Some(Call::Condition(name))),
                _ => Err(error("every Condition object must have a single String value.")),
            },
            _ => Ok(None),
        };
    };
    if members.len() > 1 {
        if name == "Ref" {
            return Ok(None);
        }
        return Err(error(&format!("{name} must be the only member of its object")));
    }
    call(name, argument).map(Some)
}

fn is_function(key: &str) -> bool {
    key == "Ref" || key.starts_with("Fn::")
}

fn call<'a>(name: &'a str, argument: &'a Value) -> Result<Call<'a>> {
    let (list, one, two) = (argument.as_array().map(Vec::as_slice), argument, pair(argument));
    let found = match name {
        "Ref" => argument.as_str().map(Call::Ref),
        "Fn::GetAtt" => get_att(argument),
        "Fn::Sub" => sub(argument),
        "Fn::Join" => {
            two.and_then(|(first, list)| Some(Call::Join { delimiter: first.as_str()?, list: listish(list)? }))
        }
        "Fn::Select" => two.and_then(|(index, list)| Some(Call::Select { index, list: listish(list)? })),
        "Fn::Split" => {
            two.and_then(|(first, source)| Some(Call::Split { delimiter: first.as_str()?, source: textish(source)? }))
        }
        "Fn::If" => match list {
            Some([condition, then, otherwise]) => {
                condition.as_str().map(|condition| Call::If { condition, then, otherwise })
            }
            _ => None,
        },
        "Fn::Equals" => two.map(|(left, right)| Call::Equals(left, right)),
        "Fn::And" => list.filter(|list| BRANCHES.contains(&list.len())).map(Call::And),
        "Fn::Or" => list.filter(|list| BRANCHES.contains(&list.len())).map(Call::Or),
        "Fn::Not" => match list {
            Some([only]) => Some(Call::Not(only)),
            _ => None,
        },
        "Fn::FindInMap" => find_in_map(list),
        "Fn::Base64" => textish(one).map(Call::Base64),
        "Fn::GetAZs" => textish(one).map(Call::GetAzs),
        "Fn::Cidr" => match list {
            Some([block, count]) => Some(Call::Cidr { block, count, bits: None }),
            Some([block, count, bits]) => Some(Call::Cidr { block, count, bits: Some(bits) }),
            _ => None,
        },
        "Fn::ImportValue" => textish(one).map(Call::ImportValue),
        "Fn::Length" => listish(one).map(Call::Length),
        "Fn::ToJsonString" => (one.is_array() || one.is_object()).then_some(Call::ToJsonString(one)),
        "Fn::Transform" => return Err(transform(argument)),
        name if name.starts_with("Fn::ForEach::") => {
            return Err(error(&format!("{name} requires the AWS::LanguageExtensions transform")));
        }
        name => {
            return Err(error(&format!(
                "Encountered unsupported function: {name} Supported functions are: [{SUPPORTED}]"
            )));
        }
    };
    found.ok_or_else(|| error(form(name)))
}

fn pair(argument: &Value) -> Option<(&Value, &Value)> {
    match argument.as_array()?.as_slice() {
        [first, second] => Some((first, second)),
        _ => None,
    }
}

/// A list, or a function that may give one.
fn listish(node: &Value) -> Option<&Value> {
    (node.is_array() || node.is_object()).then_some(node)
}

/// A scalar, or a function that may give one.
fn textish(node: &Value) -> Option<&Value> {
    (!node.is_array()).then_some(node)
}

fn get_att(argument: &Value) -> Option<Call<'_>> {
    let (resource, attribute) = match argument {
        Value::String(text) => text.split_once('.').map(|(resource, name)| (resource, Attribute::Name(name)))?,
        _ => match pair(argument)? {
            (Value::String(resource), Value::String(name)) => (resource.as_str(), Attribute::Name(name)),
            (Value::String(resource), computed @ Value::Object(_)) => {
                (resource.as_str(), Attribute::Computed(computed))
            }
            _ => return None,
        },
    };
    let empty = resource.is_empty() || attribute == Attribute::Name("");
    (!empty).then_some(Call::GetAtt { resource, attribute })
}

fn sub(argument: &Value) -> Option<Call<'_>> {
    match argument {
        Value::String(text) => Some(Call::Sub { text, variables: None }),
        _ => match pair(argument)? {
            (Value::String(text), Value::Object(variables)) => Some(Call::Sub { text, variables: Some(variables) }),
            _ => None,
        },
    }
}

fn find_in_map(list: Option<&[Value]>) -> Option<Call<'_>> {
    match list? {
        [map, top, second] => Some(Call::FindInMap { map, top, second, default: None }),
        [map, top, second, Value::Object(options)] => {
            let default = Some(options.get("DefaultValue")?);
            Some(Call::FindInMap { map, top, second, default })
        }
        _ => None,
    }
}

fn transform(argument: &Value) -> Error {
    let name = argument.get("Name").and_then(Value::as_str).unwrap_or("of no name");
    error(&format!("Fn::Transform is not supported: the macro {name} cannot be run"))
}

fn error(what: &str) -> Error {
    invalid(format!("Template error: {what}"))
}

/// What a function wants, in CloudFormation's words.
fn form(name: &str) -> &'static str {
    match name {
        "Ref" => "every Ref object must have a single String value.",
        "Fn::GetAtt" => {
            "every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute"
        }
        "Fn::Sub" => {
            "One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first \
             argument, and an optional second argument to specify a mapping of values to replace in the string"
        }
        "Fn::Join" => {
            "every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of strings to be \
             joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
        }
        "Fn::Select" => "Fn::Select requires a list argument with two elements: an integer index and a list",
        "Fn::Split" => {
            "every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string to be split or a \
             function that returns a string to be split."
        }
        "Fn::If" => "Fn::If requires a list argument with three elements, the first being the name of a condition",
        "Fn::Equals" => "every Fn::Equals object requires a list of 2 string parameters.",
        "Fn::And" => "every Fn::And object requires a list of at least 2 and at most 10 boolean parameters.",
        "Fn::Or" => "every Fn::Or object requires a list of at least 2 and at most 10 boolean parameters.",
        "Fn::Not" => "every Fn::Not object requires one boolean parameter.",
        "Fn::FindInMap" => {
            "every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return \
             value"
        }
        "Fn::Base64" => "every Fn::Base64 object must have a String-typed value.",
        "Fn::GetAZs" => "every Fn::GetAZs object must have a String-typed value.",
        "Fn::Cidr" => {
            "every Fn::Cidr object requires two or three parameters, (1) the IP block, (2) the count of blocks and (3) \
             the number of subnet bits"
        }
        "Fn::ImportValue" => "the attribute in Fn::ImportValue must be a string or a function that returns a string",
        "Fn::Length" => "every Fn::Length object requires a list or a function that returns a list",
        _ => "every Fn::ToJsonString object requires an object or a list",
    }
}

impl<'a> Call<'a> {
    pub fn name(&self) -> &'static str {
        match self {
            Call::Ref(_) => "Ref",
            Call::GetAtt { .. } => "Fn::GetAtt",
            Call::Sub { .. } => "Fn::Sub",
            Call::Join { .. } => "Fn::Join",
            Call::Select { .. } => "Fn::Select",
            Call::Split { .. } => "Fn::Split",
            Call::If { .. } => "Fn::If",
            Call::Equals(..) => "Fn::Equals",
            Call::And(_) => "Fn::And",
            Call::Or(_) => "Fn::Or",
            Call::Not(_) => "Fn::Not",
            Call::Condition(_) => "Condition",
            Call::FindInMap { .. } => "Fn::FindInMap",
            Call::Base64(_) => "Fn::Base64",
            Call::GetAzs(_) => "Fn::GetAZs",
            Call::Cidr { .. } => "Fn::Cidr",
            Call::ImportValue(_) => "Fn::ImportValue",
            Call::Length(_) => "Fn::Length",
            Call::ToJsonString(_) => "Fn::ToJsonString",
        }
    }

    /// The arguments that may hold calls.
    pub fn arguments(&self) -> Vec<&'a Value> {
        match *self {
            Call::Ref(_) | Call::Condition(_) => Vec::new(),
            Call::GetAtt { attribute: Attribute::Name(_), .. } => Vec::new(),
            Call::GetAtt { attribute: Attribute::Computed(name), .. } => vec![name],
            Call::Sub { variables, .. } => variables.into_iter().flat_map(Map::values).collect(),
            Call::Join { list, .. } => vec![list],
            Call::Select { index, list } => vec![index, list],
            Call::Split { source, .. } => vec![source],
            Call::If { then, otherwise, .. } => vec![then, otherwise],
            Call::Equals(left, right) => vec![left, right],
            Call::And(list) | Call::Or(list) => list.iter().collect(),
            Call::FindInMap { map, top, second, default } => [map, top, second].into_iter().chain(default).collect(),
            Call::Cidr { block, count, bits } => [block, count].into_iter().chain(bits).collect(),
            Call::Not(one)
            | Call::Base64(one)
            | Call::GetAzs(one)
            | Call::ImportValue(one)
            | Call::Length(one)
            | Call::ToJsonString(one) => vec![one],
        }
    }

    /// What the call itself names.
    pub fn references(&self) -> Vec<Reference<'a>> {
        match *self {
            Call::Ref(name) => vec![Reference::Name(name)],
            Call::Condition(name) => vec![Reference::Condition { name, through_if: false }],
            Call::If { condition: name, .. } => vec![Reference::Condition { name, through_if: true }],
            Call::GetAtt { resource, attribute } => {
                let attribute = match attribute {
                    Attribute::Name(name) => Some(name),
                    Attribute::Computed(_) => None,
                };
                vec![Reference::Attribute { resource, attribute, through_sub: false }]
            }
            Call::Sub { text, variables } => {
                let given = |name: &str| variables.is_some_and(|variables| variables.contains_key(name));
                sub::variables(text).into_iter().filter(|name| !given(name)).map(Reference::of_variable).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl<'a> Reference<'a> {
    /// What `${name}` stands for in `Fn::Sub`, when no variable of its own has the name.
    pub fn of_variable(name: &'a str) -> Self {
        match name.split_once('.') {
            Some((resource, attribute)) => {
                Reference::Attribute { resource, attribute: Some(attribute), through_sub: true }
            }
            None => Reference::Name(name),
        }
    }
}

/// Visits every call in a node, outer ones first. `taken` decides which branch of an `Fn::If` is visited: both where
/// it answers `None`.
pub fn walk<'a>(
    node: &'a Value,
    place: Place,
    taken: &dyn Fn(&str) -> Option<bool>,
    visit: &mut dyn FnMut(&Call<'a>) -> Result<()>,
) -> Result<()> {
    if let Some(call) = read(node, place)? {
        visit(&call)?;
        if let Call::If { condition, then, otherwise } = call
            && let Some(yes) = taken(condition)
        {
            return walk(if yes { then } else { otherwise }, place, taken, visit);
        }
        return call.arguments().into_iter().try_for_each(|argument| walk(argument, place, taken, visit));
    }
    match node {
        Value::Array(items) => items.iter().try_for_each(|item| walk(item, place, taken, visit)),
        Value::Object(members) => members.values().try_for_each(|member| walk(member, place, taken, visit)),
        _ => Ok(()),
    }
}

/// [`walk`] through both branches of every `Fn::If`.
pub fn walk_all<'a>(node: &'a Value, place: Place, visit: &mut dyn FnMut(&Call<'a>) -> Result<()>) -> Result<()> {
    walk(node, place, &|_| None, visit)
}
