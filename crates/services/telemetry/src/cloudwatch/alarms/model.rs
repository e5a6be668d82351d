//! Records of alarms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::{Timestamp, names};
use standfast_store::Record;

use super::super::anomaly::Single;
use super::evaluate::{Rule, State};
use super::reasons;

/// An alarm. Its id is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub arn: String,
    pub description: Option<String>,
    pub updated: Timestamp,
    pub actions_enabled: bool,
    /// ARNs by the state that they are for.
    pub actions: BTreeMap<State, Vec<String>>,
    pub kind: Kind,
    pub condition: Condition,
    pub tags: BTreeMap<String, String>,
}

/// What its state follows from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Metric(MetricKind),
    Composite(Composite),
}

/// What only alarms on metrics have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricKind {
    pub watches: Watches,
    pub rule: Rule,
    /// As they were given, or not.
    pub to_alarm_given: Option<i32>,
    pub missing_given: Option<String>,
    pub low_samples: Option<String>,
    /// The query that gives the band that values are compared with, in place of the threshold.
    pub band: Option<String>,
}

/// What only alarms on alarms have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Composite {
    /// The rule's text.
    pub rule: String,
    /// The names of the alarms in it.
    pub children: Vec<String>,
    pub suppressor: Option<Suppressor>,
    /// Actions of the present state that are not done yet because of the suppressor.
    pub held: Option<Held>,
    /// It was not evaluated since this.
    pub fresh: Option<Fresh>,
}

/// An alarm that keeps another from acting while it is in ALARM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressor {
    pub alarm: String,
    /// As it was given: a name or an ARN.
    pub given: String,
    pub wait_s: i32,
    pub extension_s: i32,
}

/// Why actions wait, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub by: HeldBy,
    pub since: Timestamp,
}

names! {
    /// What keeps actions from being done.
    HeldBy { Wait "WaitPeriod", Extension "ExtensionPeriod", Alarm "Alarm" }
}

/// What was done to an alarm before its first evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fresh {
    Created,
    Updated,
}

impl Record for Alarm {
    const TABLE: &'static str = "cloudwatch.alarms";
}

/// What an alarm watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watches {
    Metric(Watched),
    /// Exactly one of them is to be returned.
    Queries(Vec<Query>),
}

/// A statistic of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    pub namespace: String,
    pub name: String,
    pub dimensions: Vec<(String, String)>,
    /// `Average`, ..., or a percentile.
    pub stat: String,
    pub period_s: i32,
    pub unit: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    pub id: String,
    pub metric: Option<Watched>,
    pub expression: Option<String>,
    pub label: Option<String>,
    pub period_s: Option<i32>,
    pub returned: Option<bool>,
    pub account: Option<String>,
}

/// The state that an alarm is in, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    pub state: State,
    pub reason: String,
    /// JSON.
    pub data: Option<String>,
    /// When it was set, and when it last became another one.
    pub updated: Timestamp,
    pub transitioned: Timestamp,
}

impl Condition {
    /// Of an alarm that was never evaluated.
    pub fn initial(at: Timestamp) -> Self {
        let reason = reasons::INITIAL.to_owned();
        Self { state: State::InsufficientData, reason, data: None, updated: at, transitioned: at }
    }
}

/// Something that happened to an alarm. Ids sort the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub alarm: String,
    pub at: Timestamp,
    pub kind: EventKind,
    pub summary: String,
    /// JSON.
    pub data: String,
    /// Whether the alarm was a composite one.
    pub composite: bool,
}

impl Record for Event {
    const TABLE: &'static str = "cloudwatch.alarm_history";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![(Self::BY_ALARM, self.alarm.clone())]
    }
}

impl Event {
    pub const BY_ALARM: &'static str = "alarm";
}

names! {
    EventKind { ConfigurationUpdate "ConfigurationUpdate", StateUpdate "StateUpdate", Action "Action" }
}

impl Alarm {
    pub fn is_composite(&self) -> bool {
        self.composite().is_some()
    }

    pub fn composite(&self) -> Option<&Composite> {
        match &self.kind {
            Kind::Composite(composite) => Some(composite),
            Kind::Metric(_) => None,
        }
    }

    pub fn metric(&self) -> Option<&MetricKind> {
        match &self.kind {
            Kind::Metric(metric) => Some(metric),
            Kind::Composite(_) => None,
        }
    }

    /// All that it does in any state.
    pub fn all_actions(&self) -> impl Iterator<Item = &String> {
        self.actions.values().flatten()
    }
}

impl MetricKind {
    /// The metrics that it has a band of.
    pub fn expected(&self) -> Vec<Single> {
        let Watches::Queries(queries) = &self.watches else { return Vec::new() };
        let bands: Vec<&String> =
            queries.iter().filter(|query| query.is_band()).filter_map(|q| q.expression.as_ref()).collect();
        let named = |id: &str| {
            let is_id = |c: char| c.is_ascii_alphanumeric() || c == '_';
            bands.iter().any(|text| text.split(|c| !is_id(c)).any(|word| word == id))
        };
        let single = |query: &Query| {
            let metric = query.metric.as_ref().filter(|_| named(&query.id))?;
            let mut dimensions = metric.dimensions.clone();
            dimensions.sort();
            let (namespace, name, stat) = (metric.namespace.clone(), metric.name.clone(), metric.stat.clone());
            Some(Single { namespace, name, dimensions, stat })
        };
        queries.iter().filter_map(single).collect()
    }

    /// The length of a period, in seconds.
    pub fn period_s(&self) -> i64 {
        match &self.watches {
            Watches::Metric(watched) => i64::from(watched.period_s),
            Watches::Queries(queries) => {
                let shown = |query: &&Query| query.is_returned() && !query.is_band();
                let own = queries.iter().find(shown).and_then(|query| query.period_s);
                let periods = queries.iter().filter_map(|query| Some(query.metric.as_ref()?.period_s));
                i64::from(own.filter(|period| *period > 0).or(periods.max()).unwrap_or(60))
            }
        }
    }
}

impl Query {
    pub fn is_band(&self) -> bool {
        let is_band = |text: &String| text.trim_start().to_ascii_uppercase().starts_with("ANOMALY_DETECTION_BAND");
        self.expression.as_ref().is_some_and(is_band)
    }

    pub fn is_returned(&self) -> bool {
        self.returned.unwrap_or(true)
    }
}
