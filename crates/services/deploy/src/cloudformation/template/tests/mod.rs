//! Templates through the ways in that stacks use.

mod evaluation;
mod parameters;
mod parsing;
mod plans;
mod properties;
mod validation;

use std::collections::BTreeMap;

use serde_json::Value;
use standfast_core::Result;

use super::model::Template;
use super::params::{self, Supplied};
use super::parse::{Origin, parse};
use super::validate::{Types, validate};

/// A registry for tests: every type of EC2, with the attributes that the templates here ask for.
const TYPES: Types<'static> = Types {
    exists: &|kind| kind.starts_with("AWS::EC2::") || kind == "AWS::SQS::Queue",
    has_attribute: &|_, attribute| ["Arn", "PublicIp", "Endpoint.Address", "Lists"].contains(&attribute),
};

fn tree(text: &str) -> Value {
    parse(text, Origin::Body).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The refusal of a text that must not parse.
fn refused(text: &str) -> String {
    match parse(text, Origin::Body) {
        Ok(tree) => panic!("{text}\nparsed to {tree}"),
        Err(error) => {
            assert_eq!(error.code, "ValidationError");
            error.message
        }
    }
}

/// From text to a valid template, with the parameters' defaults.
fn load(text: &str) -> Result<Template> {
    let tree = parse(text, Origin::Body)?;
    let template = super::template(tree, &BTreeMap::new())?;
    validate(&template, &TYPES)?;
    Ok(template)
}

fn loaded(text: &str) -> Template {
    load(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn load_error(text: &str) -> String {
    match load(text) {
        Ok(_) => panic!("{text}\nis valid"),
        Err(error) => error.message,
    }
}

/// The values of a template's parameters when the user gives some.
fn values(template: &Template, given: &[(&str, &str)]) -> Result<BTreeMap<String, Value>> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), Supplied::Value((*value).to_owned())));
    let ssm = |name: &str| Ok(format!("value of {name}"));
    Ok(params::values(&params::effective(&template.parameters, &given.collect(), &BTreeMap::new(), &ssm)?))
}
