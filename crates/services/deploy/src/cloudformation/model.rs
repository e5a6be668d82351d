//! Records of stacks, of their resources, templates, events and change sets.
//!
//! Invariant: a resource's record names every physical thing that its stack made and has not deleted, from before the
//! call that makes it on, so that a crash at any point loses none of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use standfast_core::Timestamp;
use standfast_store::Record;

use super::template::eval::{EvaluatedOutput, EvaluatedResource};
use super::template::graph::Graph;

/// A stack. Its key is the uuid in its ARN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stack {
    pub name: String,
    pub arn: String,
    pub status: Status,
    pub reason: Option<String>,
    /// What it is, or is on its way to be.
    pub target: Target,
    /// What it was before the update under way.
    pub previous: Option<Target>,
    /// Counts the ways that it was sent on: a create, an update, a rollback, a delete. Resources remember in which of
    /// them they arrived.
    pub operation: u64,
    pub outputs: Vec<EvaluatedOutput>,
    pub on_failure: OnFailure,
    pub timeout_minutes: Option<i32>,
    /// When what is under way began.
    pub began: Timestamp,
    pub created: Timestamp,
    pub updated: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    pub termination_protection: bool,
    /// A resource of this operation whose policy is to be retained goes all the same when the operation fails.
    pub retain_except_on_create: bool,
    /// The token of the request that began what is under way.
    pub token: Option<String>,
    /// The token of the request that created it.
    pub created_by: Option<String>,
    pub change_set: Option<String>,
    /// Resources that a delete leaves alone.
    pub retained: BTreeSet<String>,
    /// The user wants the update undone.
    pub cancelled: bool,
}

impl Record for Stack {
    const TABLE: &'static str = "cloudformation.stacks";

    fn unique(&self) -> Vec<(&'static str, String)> {
        if self.status == Status::DeleteComplete {
            return Vec::new();
        }
        let exports = self.outputs.iter().filter_map(|output| output.export_name.clone());
        exports.map(|name| ("export", name)).chain([("name", self.name.clone())]).collect()
    }
}

/// All that decides what a stack consists of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The key of the template's text.
    pub template: String,
    pub description: Option<String>,
    pub parameters: BTreeMap<String, Given>,
    pub tags: BTreeMap<String, String>,
    pub capabilities: Vec<String>,
    pub notification_arns: Vec<String>,
    pub role_arn: Option<String>,
    /// What each resource waits for.
    pub needs: BTreeMap<String, BTreeSet<String>>,
    /// The exports of other stacks that it uses.
    pub imports: BTreeSet<String>,
}

impl Target {
    pub fn graph(&self) -> Graph {
        Graph::from_needs(self.needs.clone())
    }

    /// Whether a parameter's value must not be seen.
    pub fn has_secrets(&self) -> bool {
        self.parameters.values().any(|given| given.no_echo)
    }
}

/// A parameter's value, see [`super::template::params::Effective`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    pub given: String,
    pub resolved: Option<String>,
    pub value: Value,
    pub no_echo: bool,
}

/// A template's text. Its key is a uuid of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TemplateText {
    pub body: String,
}

impl Record for TemplateText {
    const TABLE: &'static str = "cloudformation.templates";
}

macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident: $($variant:ident $text:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($variant),* }
        impl $name {
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

statuses! {
    /// Where a stack stands.
    Status:
    ReviewInProgress "REVIEW_IN_PROGRESS", CreateInProgress "CREATE_IN_PROGRESS", CreateComplete "CREATE_COMPLETE",
    CreateFailed "CREATE_FAILED", RollbackInProgress "ROLLBACK_IN_PROGRESS", RollbackComplete "ROLLBACK_COMPLETE",
    RollbackFailed "ROLLBACK_FAILED", DeleteInProgress "DELETE_IN_PROGRESS", DeleteComplete "DELETE_COMPLETE",
    DeleteFailed "DELETE_FAILED", UpdateInProgress "UPDATE_IN_PROGRESS",
    UpdateCleanup "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", UpdateComplete "UPDATE_COMPLETE",
    UpdateFailed "UPDATE_FAILED", UpdateRollbackInProgress "UPDATE_ROLLBACK_IN_PROGRESS",
    UpdateRollbackCleanup "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    UpdateRollbackComplete "UPDATE_ROLLBACK_COMPLETE", UpdateRollbackFailed "UPDATE_ROLLBACK_FAILED",
}

impl Status {
    /// Whether the controller has something to do.
    pub fn is_under_way(self) -> bool {
        self.text().ends_with("_IN_PROGRESS") && self != Status::ReviewInProgress
    }

    /// Whether an update may begin.
    pub fn is_updatable(self) -> bool {
        matches!(
            self,
            Status::CreateComplete
                | Status::CreateFailed
                | Status::UpdateComplete
                | Status::UpdateFailed
                | Status::UpdateRollbackComplete
        )
    }
}

statuses! {
    /// Where a resource stands.
    ResourceStatus:
    CreateInProgress "CREATE_IN_PROGRESS", CreateComplete "CREATE_COMPLETE", CreateFailed "CREATE_FAILED",
    UpdateInProgress "UPDATE_IN_PROGRESS", UpdateComplete "UPDATE_COMPLETE", UpdateFailed "UPDATE_FAILED",
    DeleteInProgress "DELETE_IN_PROGRESS", DeleteComplete "DELETE_COMPLETE", DeleteFailed "DELETE_FAILED",
    DeleteSkipped "DELETE_SKIPPED",
}

/// What becomes of a stack whose create or update failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    #[default]
    Rollback,
    DoNothing,
    Delete,
}

impl OnFailure {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ROLLBACK" => Some(Self::Rollback),
            "DO_NOTHING" => Some(Self::DoNothing),
            "DELETE" => Some(Self::Delete),
            _ => None,
        }
    }
}

/// A resource as its template wants it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    pub evaluated: EvaluatedResource,
    /// The stack's own tags, which its resources have too.
    pub stack_tags: BTreeMap<String, String>,
    /// The random end of generated names; also makes calls idempotent.
    pub suffix: String,
}

/// A physical thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployed {
    pub spec: Spec,
    pub physical_id: String,
    pub attributes: Map<String, Value>,
}

/// A physical thing that is to go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doomed {
    pub deployed: Deployed,
    /// It leaves the stack, but stays in the world.
    pub keep: bool,
    /// When its deletion began.
    pub since: Option<Timestamp>,
}

/// What is being done to a resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Work {
    #[default]
    Rest,
    /// To be made. Once `tried`, it may exist without our knowing its id.
    Create { wanted: Spec, tried: bool },
    /// To be changed in place.
    Update { wanted: Spec },
    /// Made or changed; waits until it is what it should be.
    Settle { wanted: Spec, physical_id: String, since: Timestamp },
}

/// A resource of a stack, by the stack's uuid and the logical id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resource {
    pub stack: String,
    pub logical_id: String,
    pub kind: String,
    pub status: ResourceStatus,
    pub reason: Option<String>,
    pub changed: Timestamp,
    pub now: Option<Deployed>,
    /// What it was before the update under way changed or replaced it.
    pub before: Option<Deployed>,
    /// Made by the operation under way, with nothing before it.
    pub fresh: bool,
    /// What it may be in part, because an update in place to this failed half way.
    pub half: Option<Spec>,
    pub doomed: Vec<Doomed>,
    pub work: Work,
    /// The stack's operation in which it last arrived, or failed.
    pub settled: u64,
    /// It failed in the operation `settled`.
    pub failed: bool,
    /// The physical id that it had last.
    pub last_id: Option<String>,
}

impl Resource {
    pub fn new(stack: &str, logical_id: &str, kind: &str, now: Timestamp) -> Self {
        Self {
            stack: stack.to_owned(),
            logical_id: logical_id.to_owned(),
            kind: kind.to_owned(),
            status: ResourceStatus::CreateInProgress,
            reason: None,
            changed: now,
            now: None,
            before: None,
            fresh: false,
            half: None,
            doomed: Vec::new(),
            work: Work::Rest,
            settled: 0,
            failed: false,
            last_id: None,
        }
    }

    /// The key of a resource's record.
    pub fn key(stack: &str, logical_id: &str) -> String {
        format!("{stack}/{logical_id}")
    }

    /// The physical id that descriptions show.
    pub fn physical_id(&self) -> Option<&str> {
        match &self.work {
            Work::Settle { physical_id, .. } => Some(physical_id),
            _ => self.now.as_ref().map(|now| now.physical_id.as_str()).or(self.last_id.as_deref()),
        }
    }

    pub fn is_at_work(&self) -> bool {
        self.work != Work::Rest
    }

    /// Whether anything physical belongs to it.
    pub fn exists(&self) -> bool {
        self.now.is_some() || !self.doomed.is_empty() || self.is_at_work()
    }
}

impl Record for Resource {
    const TABLE: &'static str = "cloudformation.resources";

    fn indexes(&self) -> Vec<(&'static str, String)> {
        self.physical_id().map(|id| ("physical", id.to_owned())).into_iter().collect()
    }
}

/// An event of a stack, by the stack's uuid and a number that counts up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    pub id: String,
    pub logical_id: String,
    pub physical_id: String,
    pub kind: String,
    pub status: String,
    pub reason: Option<String>,
    pub properties: Option<String>,
    pub token: Option<String>,
    pub time: Timestamp,
}

impl Record for Event {
    const TABLE: &'static str = "cloudformation.events";
}

/// Which events a stack has: from `first` up to before `next`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct EventCounter {
    pub first: u64,
    pub next: u64,
}

impl Record for EventCounter {
    const TABLE: &'static str = "cloudformation.event_counters";
}

/// A change set. Its key is the uuid in its ARN.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeSet {
    pub name: String,
    pub arn: String,
    /// The stack's uuid.
    pub stack: String,
    pub description: Option<String>,
    pub created: Timestamp,
    pub creates: bool,
    pub target: Target,
    pub changes: Vec<Planned>,
    /// Why it cannot be executed.
    pub failure: Option<String>,
    pub on_failure: Option<OnFailure>,
    pub token: Option<String>,
    pub executed: bool,
}

impl Record for ChangeSet {
    const TABLE: &'static str = "cloudformation.change_sets";

    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("stack", self.stack.clone())]
    }
}

/// What an update would do to a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    pub logical_id: String,
    pub physical_id: Option<String>,
    pub kind: String,
    pub action: Action,
    pub details: Vec<Detail>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Add,
    Remove,
    /// With what is known about its replacement.
    Modify(Replacement),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Replacement {
    Never,
    Conditional,
    Always,
}

/// A part of a resource that would change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detail {
    /// `Properties`, `Metadata`, `Tags`, ...
    pub attribute: String,
    pub property: Option<String>,
    pub replacement: Replacement,
    /// Whether the value is known only when the update runs.
    pub dynamic: bool,
}
