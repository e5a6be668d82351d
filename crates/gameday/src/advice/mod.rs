//! Advice: what in an estate will cost availability, from rules.
//!
//! Invariant: a finding names a resource, says why, and what to do; each rule has a test that shows it fire and hold
//! still. The report of a game day and `standfast lint` use the same rules.

mod alarms;
mod balancers;
mod groups;
mod instances;
mod rules;
mod zones;

use std::time::Duration;

use serde::Serialize;

use crate::estate::Estate;

pub use rules::{RULES, SINGLE_POINTS};

standfast_core::names! {
    /// How bad: the site will fail, may fail, or could do better.
    Severity { Error "error", Warning "warning", Note "note" }
}

/// What rules judge.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub estate: &'a Estate,
    /// How long an outage may be; what is slower is found.
    pub objective: Duration,
    /// For a game day: whether an alarm would stop it.
    pub stops: Option<bool>,
}

/// What is asked for where nobody says how long an outage may be.
pub const OBJECTIVE: Duration = Duration::from_secs(60);

/// A rule, and how it judges.
pub struct Rule {
    pub id: &'static str,
    pub severity: Severity,
    pub title: &'static str,
    pub check: fn(&Case<'_>) -> Vec<Found>,
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// A physical id.
    pub resource: String,
    /// The template's property that decides it; empty when none does.
    pub property: &'static str,
    pub why: String,
    pub fix: String,
}

/// A piece of advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    pub rule: &'static str,
    #[serde(serialize_with = "by_name")]
    pub severity: Severity,
    pub title: &'static str,
    /// The logical id where there is one.
    pub resource: String,
    pub physical: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub property: &'static str,
    pub why: String,
    pub fix: String,
}

fn by_name<S: serde::Serializer>(severity: &Severity, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(severity.name())
}

/// What all rules say, the worst first.
pub fn advise(case: &Case<'_>) -> Vec<Advice> {
    let found = |rule: &'static Rule| {
        (rule.check)(case).into_iter().map(move |found| Advice {
            rule: rule.id,
            severity: rule.severity,
            title: rule.title,
            resource: case.estate.called(&found.resource).to_owned(),
            physical: found.resource,
            property: found.property,
            why: found.why,
            fix: found.fix,
        })
    };
    let mut all: Vec<Advice> = RULES.iter().flat_map(found).collect();
    all.sort_by_key(|advice| advice.severity);
    all
}
