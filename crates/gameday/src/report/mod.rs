//! The report: what was measured, beside what was promised and expected.
//!
//! `report.json` is [`Report`] as serde writes it; `docs/game-day.md` describes it. Its schema has a version: members are
//! added without changing it, and changed only with it.

mod build;
mod html;
mod points;
mod timeline;
mod verdict;
pub mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::advice::Advice;
use crate::probe::{Latency, Outage};
use crate::times::Time;
use crate::watch::Entry;

pub use build::{Fact, Facts, build, counted};
pub use html::page;

/// What `report.json` says of its form.
pub const SCHEMA: &str = "standfast.game-day-report/1";

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub schema: &'static str,
    pub name: String,
    pub description: String,
    pub stack: String,
    pub seed: u64,
    /// How many times as fast as this machine's the cloud's time went, by which all times here are.
    pub speed: f64,
    /// When the first probe's first request was due.
    pub began: String,
    pub length_ms: i64,
    pub verdict: Verdict,
    /// The verdict in a sentence.
    pub said: String,
    pub hypothesis: Vec<Line>,
    pub phases: Vec<Phase>,
    pub probes: Vec<ProbeReport>,
    pub faults: Vec<FaultReport>,
    pub times: Vec<Time>,
    pub single_points: Vec<SinglePoint>,
    pub advice: Vec<Advice>,
    pub timeline: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Held,
    Failed,
    /// Stopped before its end: nothing is proven.
    Interrupted,
}

/// A line of the hypothesis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub what: String,
    pub expected: String,
    pub measured: String,
    pub held: bool,
    /// Where it does not hold: what the measurements say about it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A part of the day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Phase {
    pub name: &'static str,
    pub from_ms: i64,
    pub to_ms: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    pub name: String,
    pub kind: &'static str,
    pub url: String,
    pub rate: u32,
    /// From the first request to the last.
    pub whole: Counted,
    /// From the first moment at which something may break until all is healed: what the hypothesis is about.
    pub broken: Counted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    pub outages: Vec<Outage>,
    pub seconds: Seconds,
}

/// What became of requests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counted {
    pub requests: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub availability: f64,
    /// Without a failure: at least so many.
    pub nines: f64,
    /// What a year of this would be.
    pub lost_per_year_s: f64,
    pub outages: usize,
    pub longest_outage_ms: f64,
    pub latency: Latency,
    pub answers: BTreeMap<String, u64>,
    pub zones: BTreeMap<String, u64>,
    pub targets: BTreeMap<String, u64>,
}

/// What an objective leaves for failures, and how much of it this day took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    pub objective: f64,
    /// How many of the requests while things were broken might have failed.
    pub allowed: f64,
    pub spent: u64,
    /// What the objective leaves in 30 days, and what part of it the failures of this day took.
    pub month_s: f64,
    pub of_month: f64,
}

/// A figure for each second; the first is second 0.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seconds {
    pub ok: Vec<u32>,
    pub failed: Vec<u32>,
    pub p50_ms: Vec<f64>,
    pub p99_ms: Vec<f64>,
    /// How many each zone answered.
    pub zones: BTreeMap<String, Vec<u32>>,
}

#[derive(Clone, Debug, Serialize, Default)]
pub struct FaultReport {
    pub name: String,
    pub action: String,
    pub parameters: BTreeMap<String, String>,
    pub experiment: String,
    pub began_ms: i64,
    pub ended_ms: i64,
    /// The experiment's last status.
    pub status: String,
    pub targets: Vec<String>,
    /// Instances that it took away or harmed.
    pub instances: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// Something whose loss alone is an outage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinglePoint {
    pub resource: String,
    /// Whether this day showed it, or its settings do.
    pub seen: bool,
    #[serde(skip)]
    pub by_settings: bool,
    pub why: String,
}
