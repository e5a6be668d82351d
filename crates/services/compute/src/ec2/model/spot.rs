//! Requests for spot instances, and fleets.

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_core::id::{self, Id};
use standfast_store::Record;

use super::{ClientToken, Tags};
use crate::ec2::errors::Keyed;

/// A request for one spot instance. It outlives the instance when it is persistent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpotRequest {
    pub persistent: bool,
    pub interruption: Interruption,
    /// The most that may be paid per hour, as the request says it. `None` is the price on demand.
    pub price_max: Option<String>,
    pub valid_from: Option<Timestamp>,
    pub valid_until: Option<Timestamp>,
    pub launch_group: Option<String>,
    pub zone_group: Option<String>,
    /// The launch that fulfils it, as the document that RunInstances takes (see `template_data`).
    pub launch: serde_json::Map<String, serde_json::Value>,
    /// Counts launches: each has a client token of its own.
    pub launches: u32,
    pub instance: Option<Id<id::Instance>>,
    /// The zone of its instance.
    pub zone: Option<String>,
    pub created: Timestamp,
    pub state: SpotState,
    pub status: SpotStatus,
    /// Its instance is to be interrupted.
    pub notice: Option<Notice>,
    pub client_token: Option<ClientToken>,
}

/// What happens to an instance that is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interruption {
    Terminate,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpotState {
    Open,
    Active,
    /// Its instance is stopped.
    Disabled,
    Closed,
    Cancelled,
    Failed,
}

impl SpotState {
    pub fn name(self) -> &'static str {
        match self {
            SpotState::Open => "open",
            SpotState::Active => "active",
            SpotState::Disabled => "disabled",
            SpotState::Closed => "closed",
            SpotState::Cancelled => "cancelled",
            SpotState::Failed => "failed",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpotStatus {
    pub code: String,
    pub message: String,
    pub updated: Timestamp,
}

/// The interruption that an instance has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub at: Timestamp,
    pub cause: Cause,
    /// Whether the instance has been told: two minutes before, and not earlier.
    pub told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    Experiment,
    Price,
}

impl Record for SpotRequest {
    const TABLE: &'static str = "ec2.spot_requests";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let instance = self.instance.iter().map(|id| ("instance", id.to_string()));
        instance.chain(self.client_token.iter().map(|token| ("token", token.token.clone()))).collect()
    }
}
impl Keyed for SpotRequest {
    type Kind = id::SpotInstanceRequest;
}

/// A fleet of type `instant`: what was launched at once, and what could not be. Keyed by its id (`fleet-...`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fleet {
    pub created: Timestamp,
    pub target: FleetTarget,
    /// What the request gave to choose from.
    pub configs: Vec<FleetConfig>,
    pub launched: Vec<FleetLaunch>,
    pub errors: Vec<FleetError>,
    pub tags: Tags,
    pub deleted: bool,
    pub client_token: Option<ClientToken>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetTarget {
    pub total: i32,
    pub on_demand: i32,
    pub spot: i32,
    /// `spot` or `on-demand`.
    pub by_default: String,
}

/// A template and what may override it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetConfig {
    pub template: FleetChoice,
    pub overrides: Vec<FleetOverride>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetOverride {
    pub choice: FleetChoice,
    pub priority: Option<f64>,
    pub weight: Option<f64>,
}

/// A template with what overrides it, of which instances were launched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetChoice {
    pub template_id: Option<String>,
    pub template_name: Option<String>,
    pub version: Option<String>,
    pub instance_type: Option<String>,
    pub subnet: Option<String>,
    pub zone: Option<String>,
    pub image: Option<String>,
    pub price_max: Option<String>,
    pub spot: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetLaunch {
    pub choice: FleetChoice,
    pub instance_type: String,
    pub instances: Vec<Id<id::Instance>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetError {
    pub choice: FleetChoice,
    pub code: String,
    pub message: String,
}

impl Record for Fleet {
    const TABLE: &'static str = "ec2.fleets";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        self.client_token.iter().map(|token| ("token", token.token.clone())).collect()
    }
}
