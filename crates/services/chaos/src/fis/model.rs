//! Records of templates and experiments.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_store::Record;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Template {
    pub description: String,
    pub targets: BTreeMap<String, Target>,
    pub actions: BTreeMap<String, Action>,
    pub role_arn: String,
    pub tags: BTreeMap<String, String>,
    pub client_token: String,
    pub created: Timestamp,
    pub skip_empty_targets: bool,
}

impl Record for Template {
    const TABLE: &'static str = "fis.templates";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub resource_type: String,
    pub resource_arns: Vec<String>,
    pub resource_tags: BTreeMap<String, String>,
    /// Path and values.
    pub filters: Vec<(String, Vec<String>)>,
    pub selection: Selection,
}

/// How many of the resources that match are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    All,
    Count(usize),
    /// 1 to 100; rounded down, at least one.
    Percent(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub action_id: String,
    pub description: Option<String>,
    pub parameters: BTreeMap<String, String>,
    /// The action's target name (`Instances`) to the template's.
    pub targets: BTreeMap<String, String>,
    pub start_after: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Experiment {
    pub template_id: String,
    pub template: Template,
    pub tags: BTreeMap<String, String>,
    pub client_token: String,
    pub status: Status,
    pub reason: Option<String>,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// Instance ids by the template's target names, chosen once at the start.
    pub resolved: BTreeMap<String, Vec<String>>,
    /// By the template's action names.
    pub progress: BTreeMap<String, Progress>,
}

impl Record for Experiment {
    const TABLE: &'static str = "fis.experiments";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    Initiating,
    Running,
    Completed,
    Stopping,
    Stopped,
    Failed,
}

impl Status {
    pub fn is_over(self) -> bool {
        matches!(self, Status::Completed | Status::Stopped | Status::Failed)
    }
}

/// Where an action stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    #[default]
    Pending,
    /// What it broke is broken; undone at `until`, or when the experiment is stopped.
    Running {
        since: Timestamp,
        until: Option<Timestamp>,
    },
    Completed {
        since: Timestamp,
        ended: Timestamp,
    },
    Stopped {
        since: Timestamp,
        ended: Timestamp,
    },
    Failed {
        reason: String,
        ended: Timestamp,
    },
    Cancelled,
}
