//! Records of alarms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::{Timestamp, names};
use standfast_store::Record;

use super::evaluate::{Rule, State};

/// A metric alarm. Its id is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    pub arn: String,
    pub description: Option<String>,
    pub updated: Timestamp,
    pub actions_enabled: bool,
    /// ARNs by the state that they are for.
    pub actions: BTreeMap<State, Vec<String>>,
    pub watches: Watches,
    pub rule: Rule,
    /// As they were given, or not.
    pub to_alarm_given: Option<i32>,
    pub missing_given: Option<String>,
    pub low_samples: Option<String>,
    pub condition: Condition,
    pub tags: BTreeMap<String, String>,
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

/// Something that happened to an alarm. Ids sort the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub alarm: String,
    pub at: Timestamp,
    pub kind: EventKind,
    pub summary: String,
    /// JSON.
    pub data: String,
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
    /// The length of a period, in seconds.
    pub fn period_s(&self) -> i64 {
        match &self.watches {
            Watches::Metric(watched) => i64::from(watched.period_s),
            Watches::Queries(queries) => {
                let own = queries.iter().find(|query| query.is_returned()).and_then(|query| query.period_s);
                let periods = queries.iter().filter_map(|query| Some(query.metric.as_ref()?.period_s));
                i64::from(own.filter(|period| *period > 0).or(periods.max()).unwrap_or(60))
            }
        }
    }
}

impl Query {
    pub fn is_returned(&self) -> bool {
        self.returned.unwrap_or(true)
    }
}
