//! Records of parameters and commands.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_core::network::PacketFault;
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
    pub work: Work,
    pub state: State,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Work {
    /// Runs this inside the instance. What ends by itself, after `lasts_s`, goes on while the cloud is restarted.
    Script { script: String, limit_s: u64, lasts_s: Option<u64> },
    /// Harms the instance's packets.
    Packets { faults: Vec<PacketFault>, duration_s: u64 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Pending,
    InProgress { since: Timestamp },
    Done { since: Timestamp, ended: Timestamp, code: i32, stdout: String, stderr: String, how: How },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    ByItself,
    TimedOut,
    Cancelled,
}

impl Record for Invocation {
    const TABLE: &'static str = "ssm.invocations";
}

impl State {
    pub fn cancelled(since: Timestamp, ended: Timestamp) -> Self {
        Self::Done { since, ended, code: -1, stdout: String::new(), stderr: String::new(), how: How::Cancelled }
    }

    /// The status of the API.
    pub fn status(&self) -> &'static str {
        match self {
            State::Pending => "Pending",
            State::InProgress { .. } => "InProgress",
            State::Done { how: How::TimedOut, .. } => "TimedOut",
            State::Done { how: How::Cancelled, .. } => "Cancelled",
            State::Done { code: 0, .. } => "Success",
            State::Done { .. } => "Failed",
        }
    }
}
