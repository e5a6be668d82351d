//! Checks an input against the model's constraints: required members, bounds, enums, unions.
//!
//! It collects what is wrong; `faults` puts it into the service's words. Patterns are not checked: the services' own
//! handlers know better what a name may be.

use standfast_core::Error;

use super::bad::Step;
use super::faults::{self, Violation};
use super::limits::{ENUM_SHOWN_MAX, VIOLATIONS_MAX};
use crate::schema::{Limits, ListSchema, MapSchema, Member, OperationSchema, Protocol, ServiceSchema, Type};
use crate::value::{Struct, Value};

/// Checks an operation's input. The error names the members and their values.
pub fn validate(service: &ServiceSchema, op: &OperationSchema, input: &Struct) -> Result<(), Error> {
    debug_assert!(std::ptr::eq(op.input, input.schema), "{} takes {}", op.name, op.input.name);
    let mut check = Check {
        path: Vec::new(),
        found: Vec::new(),
        // ec2's model has bounds that the service does not hold to.
        bounds: service.protocols.first() != Some(&Protocol::Ec2),
    };
    check.structure(input);
    if check.found.is_empty() { Ok(()) } else { Err(faults::invalid(service, &check.found)) }
}

struct Check {
    path: Vec<Step>,
    found: Vec<Violation>,
    bounds: bool,
}

/// What a bound is about.
#[derive(Clone, Copy)]
enum Measure {
    Value,
    Length,
}

impl Check {
    fn structure(&mut self, input: &Struct) {
        for (member, value) in input.schema.members.iter().zip(&input.slots) {
            if value.is_null() {
                if member.required {
                    self.missing(member);
                }
                continue;
            }
            self.path.push(Step::Member(member));
            self.value(&member.ty, value);
            self.path.pop();
        }
        let set = input.slots.iter().filter(|value| !value.is_null()).count();
        if input.schema.union && set != 1 {
            self.report(format!("{set} members"), "Member must have exactly one member set".to_owned());
        }
    }

    fn value(&mut self, ty: &Type, value: &Value) {
        match (ty, value) {
            (Type::Struct(_), Value::Struct(inner)) => self.structure(inner),
            (Type::List(list), Value::List(items)) => self.list(list, items, value),
            (Type::Map(map), Value::Map(entries)) => self.map(map, entries, value),
            _ => {
                if let Some((limits, measure)) = limits_of(ty) {
                    for rule in self.broken(limits, measure, value) {
                        self.report(show(value), rule);
                    }
                }
            }
        }
    }

    fn list(&mut self, list: &'static ListSchema, items: &[Value], value: &Value) {
        for rule in self.broken(list.limits, Measure::Length, value) {
            self.report(show(value), rule);
        }
        match limits_of(&list.item) {
            // A list answers for its single values.
            Some((limits, measure)) => {
                if items.iter().any(|item| !self.broken(limits, measure, item).is_empty()) {
                    self.report(show(value), format!("Member must satisfy constraint: {}", all_rules(limits, measure)));
                }
            }
            None => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Item(index + 1));
                    self.value(&list.item, item);
                    self.path.pop();
                }
            }
        }
    }

    fn map(&mut self, map: &'static MapSchema, entries: &[(String, Value)], value: &Value) {
        for rule in self.broken(map.limits, Measure::Length, value) {
            self.report(show(value), rule);
        }
        if entries.iter().any(|(key, _)| !self.broken_text(map.key, key).is_empty()) {
            let rules = all_rules(map.key, Measure::Length);
            self.report(show(value), format!("Map keys must satisfy constraint: {rules}"));
        }
        match limits_of(&map.value) {
            Some((limits, measure)) => {
                if entries.iter().any(|(_, entry)| !self.broken(limits, measure, entry).is_empty()) {
                    let rules = all_rules(limits, measure);
                    self.report(show(value), format!("Map value must satisfy constraint: {rules}"));
                }
            }
            None => {
                for (key, entry) in entries {
                    self.path.push(Step::Key(key.clone()));
                    self.value(&map.value, entry);
                    self.path.pop();
                }
            }
        }
    }

    /// The rules that a value breaks.
    fn broken(&self, limits: &Limits, measure: Measure, value: &Value) -> Vec<String> {
        match (measure, value) {
            (Measure::Length, Value::String(text)) => self.broken_text(limits, text),
            (Measure::Length, Value::Blob(bytes)) => self.out_of_bounds(limits, measure, bytes.len() as f64),
            (Measure::Length, Value::List(items)) => self.out_of_bounds(limits, measure, items.len() as f64),
            (Measure::Length, Value::Map(entries)) => self.out_of_bounds(limits, measure, entries.len() as f64),
            (Measure::Value, Value::Int(number)) => self.out_of_bounds(limits, measure, *number as f64),
            (Measure::Value, Value::Float(number)) => self.out_of_bounds(limits, measure, *number),
            _ => Vec::new(),
        }
    }

    fn broken_text(&self, limits: &Limits, text: &str) -> Vec<String> {
        if !limits.values.is_empty() && !limits.values.contains(&text) {
            return vec![enum_rule(limits)];
        }
        if limits.min.is_none() && limits.max.is_none() {
            return Vec::new();
        }
        self.out_of_bounds(limits, Measure::Length, text.chars().count() as f64)
    }

    fn out_of_bounds(&self, limits: &Limits, measure: Measure, amount: f64) -> Vec<String> {
        let mut broken = Vec::new();
        if self.bounds && limits.max.is_some_and(|max| amount > max as f64) {
            broken.extend(max_rule(limits, measure));
        }
        if self.bounds && limits.min.is_some_and(|min| amount < min as f64) {
            broken.extend(min_rule(limits, measure));
        }
        broken
    }

    fn missing(&mut self, member: &'static Member) {
        let mut path = self.path.clone();
        path.push(Step::Member(member));
        self.push(Violation { path, found: None, rule: "Member must not be null".to_owned() });
    }

    fn report(&mut self, found: String, rule: String) {
        let path = self.path.clone();
        self.push(Violation { path, found: Some(found), rule });
    }

    fn push(&mut self, violation: Violation) {
        if self.found.len() < VIOLATIONS_MAX {
            self.found.push(violation);
        }
    }
}

/// The limits of a single value.
fn limits_of(ty: &Type) -> Option<(&'static Limits, Measure)> {
    match ty {
        Type::Int(limits) | Type::Long(limits) | Type::Float(limits) | Type::Double(limits) => {
            Some((limits, Measure::Value))
        }
        Type::String(limits) | Type::Blob(limits) => Some((limits, Measure::Length)),
        _ => None,
    }
}

fn max_rule(limits: &Limits, measure: Measure) -> Option<String> {
    let what = measured(measure);
    limits.max.map(|max| format!("Member must have {what} less than or equal to {max}"))
}

fn min_rule(limits: &Limits, measure: Measure) -> Option<String> {
    let what = measured(measure);
    limits.min.map(|min| format!("Member must have {what} greater than or equal to {min}"))
}

fn measured(measure: Measure) -> &'static str {
    match measure {
        Measure::Value => "value",
        Measure::Length => "length",
    }
}

fn enum_rule(limits: &Limits) -> String {
    let shown = limits.values.get(..ENUM_SHOWN_MAX).unwrap_or(limits.values).join(", ");
    match limits.values.len().saturating_sub(ENUM_SHOWN_MAX) {
        0 => format!("Member must satisfy enum value set: [{shown}]"),
        more => format!("Member must satisfy enum value set: [{shown}, and {more} more]"),
    }
}

/// `[rule, rule]`, as lists and maps cite the rules of what is in them.
fn all_rules(limits: &Limits, measure: Measure) -> String {
    let mut rules: Vec<String> = max_rule(limits, measure).into_iter().chain(min_rule(limits, measure)).collect();
    if !limits.values.is_empty() {
        rules.push(enum_rule(limits));
    }
    format!("[{}]", rules.join(", "))
}

/// A value as the messages print it.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(i) => i.to_string(),
        Value::Float(f) => f.to_string(),
        Value::String(text) => text.clone(),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
        Value::Time(time) => time.iso8601(),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}={}", show(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Struct(inner) => inner.schema.name.to_owned(),
        Value::Document(json) => json.to_string(),
    }
}
