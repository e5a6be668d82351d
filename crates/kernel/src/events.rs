//! Events of services, noted beside the changes that they tell of, for the event bus.
//!
//! Invariant: an event is a record of the change's own transaction. Only the events service takes them away.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use standfast_core::{Scope, Timestamp};
use standfast_store::{Record, Txn};

/// The table to watch for new events.
pub const TABLE: &str = "kernel.events";

/// What a service tells its account and region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// `aws.autoscaling`
    pub source: String,
    /// `EC2 Instance Launch Successful`
    pub detail_type: String,
    /// The ARNs of what it is about.
    pub resources: Vec<String>,
    pub detail: Value,
    pub at: Timestamp,
}

impl Record for Event {
    const TABLE: &'static str = TABLE;
}

/// Notes an event for the default bus. `id` is what no other event of the same millisecond has; keys are in the order of
/// time.
pub fn note(tx: &mut Txn, scope: &Scope, id: &str, event: Event) {
    let key = format!("{:016x}-{id}", event.at.0);
    tx.put(scope, &key, event);
}
