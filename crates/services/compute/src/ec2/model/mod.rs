//! The records of ec2: our own types, never wire shapes.
//!
//! Invariant: tags are records of their own (`Tagged`, keyed by the resource's id) and exist no longer than their
//! resource; what a record says about others is an id that exists as long as the record does.

mod connections;
mod instance;
mod network;
mod security;
mod spot;
mod storage;
mod template;

pub use connections::*;
pub use instance::*;
pub use network::*;
pub use security::*;
pub use spot::*;
pub use storage::*;
pub use template::*;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_store::Record;

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// The tags of a resource, keyed by its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tagged {
    /// The resource's type as tag specifications name it: `security-group`.
    pub resource_type: String,
    pub tags: Tags,
}

impl Record for Tagged {
    const TABLE: &'static str = "ec2.tags";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        self.tags.get(IMPAIRED_TAG).map(|check| (IMPAIRED_INDEX, check.clone())).into_iter().collect()
    }
}

/// A service gives an instance this tag (`system` or `instance`) to let it fail that check.
pub const IMPAIRED_TAG: &str = "aws:standfast:impaired";
/// The index of the tags of instances that should fail a check.
pub const IMPAIRED_INDEX: &str = "impaired";

/// Says that an account's region has been set up with its default VPC. Its id is `defaults`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Defaults {
    /// The options that new VPCs get.
    pub dhcp_options: standfast_core::Id<standfast_core::id::DhcpOptions>,
}

impl Record for Defaults {
    const TABLE: &'static str = "ec2.defaults";
}

/// The key of the one `Defaults` record of a scope.
pub const DEFAULTS_ID: &str = "defaults";
