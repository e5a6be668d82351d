//! The records of the event bus, and its errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standfast_core::{Arn, Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_kernel::events::Event;
use standfast_kernel::owed::Debt;
use standfast_store::{Record, View};

pub const DEFAULT_BUS: &str = "default";

/// A bus that was made; the default one has no record. Its id is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bus {
    pub description: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub made: Timestamp,
}

impl Record for Bus {
    const TABLE: &'static str = "events.buses";
}

/// A rule; its id is `bus/name`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub bus: String,
    pub name: String,
    pub pattern: Option<String>,
    pub schedule: Option<String>,
    pub enabled: bool,
    /// As it was given.
    pub state: String,
    pub description: Option<String>,
    pub role: Option<String>,
    pub targets: Vec<Target>,
    pub tags: BTreeMap<String, String>,
    /// When its schedule last fired, or it was put.
    pub since: Timestamp,
}

impl Record for Rule {
    const TABLE: &'static str = "events.rules";
}

/// Where a rule's events go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub id: String,
    pub arn: String,
    pub role: Option<String>,
    pub input: Input,
}

/// What a target is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Input {
    Event,
    Constant(String),
    Path(String),
    Transformed { paths: BTreeMap<String, String>, template: String },
}

/// An event that is owed to a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invocation {
    pub rule: String,
    pub target: String,
    pub arn: String,
    pub input: String,
}

impl Debt for Invocation {
    const TABLE: &'static str = "events.invocations";
}

/// An event that was seen, for people; the id is its number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub bus: String,
    pub event: Value,
}

impl Record for Seen {
    const TABLE: &'static str = "events.seen";
}

/// How many events a region has seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    pub last: u64,
}

impl Record for Tail {
    const TABLE: &'static str = "events.tail";
}

/// An event as rules and targets see it.
pub fn envelope(scope: &Scope, id: &str, event: &Event) -> Value {
    json!({
        "version": "0",
        "id": id,
        "detail-type": event.detail_type,
        "source": event.source,
        "account": &*scope.account,
        "time": event.at.iso8601_seconds(),
        "region": &*scope.region,
        "resources": event.resources,
        "detail": event.detail,
    })
}

pub fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}

pub fn not_found(message: impl Into<String>) -> Error {
    Error::client("ResourceNotFoundException", message)
}

pub fn rule_key(bus: &str, name: &str) -> String {
    format!("{bus}/{name}")
}

pub fn rule_arn(scope: &Scope, rule: &Rule) -> String {
    let path = if rule.bus == DEFAULT_BUS { rule.name.clone() } else { format!("{}/{}", rule.bus, rule.name) };
    Arn::new("events", scope, format!("rule/{path}")).to_string()
}

pub fn bus_arn(scope: &Scope, bus: &str) -> String {
    Arn::new("events", scope, format!("event-bus/{bus}")).to_string()
}

/// The name of a bus that is there, given by name or ARN, or not at all.
pub fn bus(view: &View, cx: &Cx, given: Option<&str>) -> Result<String> {
    let name = match given {
        None | Some("") => DEFAULT_BUS,
        Some(given) => given.rsplit_once("event-bus/").map_or(given, |(_, name)| name),
    };
    if name != DEFAULT_BUS && view.get::<Bus>(cx.scope(), name).is_none() {
        return Err(not_found(format!("Event bus {name} does not exist.")));
    }
    Ok(name.to_owned())
}

/// A rule that is there, with its id.
pub fn rule(view: &View, cx: &Cx, given_bus: Option<&str>, name: &str) -> Result<(String, Rule)> {
    let bus = bus(view, cx, given_bus)?;
    let key = rule_key(&bus, name);
    let found = view.get::<Rule>(cx.scope(), &key);
    let found = found.ok_or_else(|| not_found(format!("Rule {name} does not exist on EventBus {bus}.")))?;
    Ok((key, (*found).clone()))
}
