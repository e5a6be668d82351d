//! Records of templates, experiments and the safety lever.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_store::Record;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template {
    pub description: String,
    pub targets: BTreeMap<String, Target>,
    pub actions: BTreeMap<String, Action>,
    /// ARNs of alarms, each of which stops the experiment.
    pub stop_alarms: Vec<String>,
    pub role_arn: String,
    pub tags: BTreeMap<String, String>,
    pub client_token: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    pub skip_empty_targets: bool,
    pub multi_account: bool,
    /// By the account's id.
    pub accounts: BTreeMap<String, TargetAccount>,
}

impl Record for Template {
    const TABLE: &'static str = "fis.templates";
}

/// The configuration of a target account: kept and shown, as targets are looked for in the own account only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetAccount {
    pub role_arn: String,
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub resource_type: String,
    pub resource_arns: Vec<String>,
    pub resource_tags: BTreeMap<String, String>,
    /// Path and values.
    pub filters: Vec<(String, Vec<String>)>,
    pub parameters: BTreeMap<String, String>,
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    pub template_id: String,
    pub template: Template,
    pub tags: BTreeMap<String, String>,
    pub client_token: String,
    /// Whether only targets are resolved and no action is run.
    pub skip_all: bool,
    pub status: Status,
    pub reason: Option<String>,
    pub created: Timestamp,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    /// ARNs by the template's target names, chosen once at the start.
    pub resolved: BTreeMap<String, Vec<String>>,
    /// By the template's action names.
    pub progress: BTreeMap<String, Progress>,
}

impl Record for Experiment {
    const TABLE: &'static str = "fis.experiments";
}

standfast_core::names! {
    /// How far an experiment is.
    Status {
        Initiating "initiating", Running "running", Completed "completed", Stopping "stopping", Stopped "stopped",
        Failed "failed",
    }
}

impl Status {
    pub fn is_over(self) -> bool {
        matches!(self, Status::Completed | Status::Stopped | Status::Failed)
    }

    /// The reason that goes without saying.
    pub fn usual_reason(self) -> &'static str {
        match self {
            Status::Initiating => "Experiment is initiating.",
            Status::Running => "Experiment is running.",
            Status::Completed => "Experiment completed.",
            Status::Stopping => "Experiment is stopping.",
            Status::Stopped => "Experiment halted by user.",
            Status::Failed => "Experiment failed.",
        }
    }
}

impl Experiment {
    pub fn reason(&self) -> String {
        self.reason.clone().unwrap_or_else(|| self.status.usual_reason().to_owned())
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
        since: Timestamp,
        ended: Timestamp,
        reason: String,
    },
    Cancelled,
    /// It had nothing to act on, or nothing was to be done.
    Skipped(String),
    /// Something of it may be broken already, and all of it will be: a control plane that died meanwhile may not have said.
    Beginning {
        since: Timestamp,
    },
}

/// The status and its reason in the API.
impl Progress {
    pub fn shown(&self) -> (&'static str, &str) {
        match self {
            Progress::Pending => ("pending", "Initial state."),
            Progress::Beginning { .. } => ("initiating", "Action is initiating."),
            Progress::Running { .. } => ("running", "Action is running."),
            Progress::Completed { .. } => ("completed", "Action was completed."),
            Progress::Stopped { .. } => ("stopped", "Action was halted by stop."),
            Progress::Failed { reason, .. } => ("failed", reason),
            Progress::Cancelled => ("cancelled", "Action was not run."),
            Progress::Skipped(reason) => ("skipped", reason),
        }
    }

    /// Whether what starts after it may start.
    pub fn is_done(&self) -> bool {
        matches!(self, Progress::Completed { .. } | Progress::Skipped(_))
    }
}

/// The safety lever of an account and region; there is a record once it was moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lever {
    pub engaged: bool,
    pub reason: String,
}

impl Record for Lever {
    const TABLE: &'static str = "fis.safety_levers";
}
