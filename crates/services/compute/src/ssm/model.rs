//! Records of parameters and commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_store::Record;

/// A parameter with its versions, oldest first; never empty.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Parameter {
    pub versions: Vec<Version>,
    pub tags: BTreeMap<String, String>,
}

impl Record for Parameter {
    const TABLE: &'static str = "ssm.parameters";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Version {
    pub number: i64,
    /// `String`, `StringList` or `SecureString`.
    pub kind: String,
    pub value: String,
    pub description: Option<String>,
    pub allowed_pattern: Option<String>,
    pub key_id: Option<String>,
    pub tier: String,
    pub data_type: String,
    pub modified: Timestamp,
    pub user: String,
}

impl Parameter {
    pub fn newest(&self) -> &Version {
        self.versions.last().expect("a parameter is made with its first version")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Command {
    pub document: String,
    pub comment: Option<String>,
    pub parameters: BTreeMap<String, Vec<String>>,
    pub instance_ids: Vec<String>,
    pub requested: Timestamp,
    pub timeout_s: i32,
}

impl Record for Command {
    const TABLE: &'static str = "ssm.commands";
}

/// A command on one instance; its id is `COMMAND/INSTANCE`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invocation {
    pub script: String,
    pub limit_s: u64,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Pending,
    InProgress { since: Timestamp },
    Done { since: Timestamp, ended: Timestamp, code: i32, stdout: String, stderr: String, timed_out: bool },
}

impl Record for Invocation {
    const TABLE: &'static str = "ssm.invocations";
}

impl State {
    /// The status of the API.
    pub fn status(&self) -> &'static str {
        match self {
            State::Pending => "Pending",
            State::InProgress { .. } => "InProgress",
            State::Done { timed_out: true, .. } => "TimedOut",
            State::Done { code: 0, .. } => "Success",
            State::Done { .. } => "Failed",
        }
    }
}
