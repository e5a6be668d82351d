//! The Rules section: what a template asserts about its parameters before anything is created.
//!
//! Invariant: every assertion is decided or refused by name; none is passed over. Not here: conditions, which have
//! functions of their own.
// AWS-DIFF: Fn::RefAll, Fn::ValueOf and Fn::ValueOfAll need the account's identifiers and are refused by name.

use serde_json::Value;
use standfast_core::{Error, Result};

use super::eval::Evaluation;
use super::model::{Rule, Template};
use super::{invalid, text};

/// The functions that decide rules.
const FUNCTIONS: &[&str] =
    &["Fn::And", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::Equals", "Fn::Not", "Fn::Or"];

/// Checks every rule whose condition holds; the first assertion that fails is answered.
pub fn check(template: &Template, evaluation: &Evaluation<'_>) -> Result<()> {
    template.rules.iter().try_for_each(|(name, rule)| check_rule(name, rule, evaluation))
}

fn check_rule(name: &str, rule: &Rule, evaluation: &Evaluation<'_>) -> Result<()> {
    let applies = match &rule.condition {
        Some(condition) => truth(condition, evaluation)?,
        None => true,
    };
    for assertion in rule.assertions.iter().filter(|_| applies) {
        if !truth(&assertion.assert, evaluation)? {
            let why = assertion.description.as_deref().unwrap_or("no description");
            return Err(invalid(format!("Template validation error: the assertion of rule {name} failed: {why}")));
        }
    }
    Ok(())
}

fn truth(node: &Value, evaluation: &Evaluation<'_>) -> Result<bool> {
    let Some((name, argument)) = node.as_object().filter(|members| members.len() == 1).and_then(|m| m.iter().next())
    else {
        return Err(error("every Assert and RuleCondition must be a rule function"));
    };
    let form = || error(&format!("{name} was given arguments of the wrong form in Rules"));
    let list = argument.as_array().map(Vec::as_slice).ok_or_else(form)?;
    match (name.as_str(), list) {
        ("Fn::And", [_, _, ..]) => list.iter().try_fold(true, |all, node| Ok(truth(node, evaluation)? && all)),
        ("Fn::Or", [_, _, ..]) => list.iter().try_fold(false, |any, node| Ok(truth(node, evaluation)? || any)),
        ("Fn::Not", [node]) => Ok(!truth(node, evaluation)?),
        ("Fn::Equals", [left, right]) => Ok(texts(left, evaluation)? == texts(right, evaluation)?),
        ("Fn::Contains" | "Fn::EachMemberIn", [left, right]) => {
            let (within, of) = if name == "Fn::Contains" { (left, right) } else { (right, left) };
            let within = texts(within, evaluation)?;
            Ok(texts(of, evaluation)?.iter().all(|text| within.contains(text)))
        }
        ("Fn::EachMemberEquals", [list, value]) => {
            let value = texts(value, evaluation)?;
            Ok(texts(list, evaluation)?.iter().all(|text| value == [text.as_str()]))
        }
        (name, _) if FUNCTIONS.contains(&name) => Err(form()),
        (name, _) => Err(error(&format!("{name} is not supported in Rules"))),
    }
}

/// The texts of a list, or of one scalar.
fn texts(node: &Value, evaluation: &Evaluation<'_>) -> Result<Vec<String>> {
    let value = evaluation.value(node)?.unwrap_or_default();
    let found = match &value {
        Value::Array(items) => items.iter().map(text).collect(),
        scalar => text(scalar).map(|text| vec![text]),
    };
    found.ok_or_else(|| error("a rule function was given what is neither a string nor a list of strings"))
}

fn error(what: &str) -> Error {
    invalid(format!("Template error: {what}"))
}
