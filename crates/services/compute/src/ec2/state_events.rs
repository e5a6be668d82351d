//! What the event bus is told of instances: their states, and what is ahead of those that run on spare capacity.
//!
//! Invariant: an event is noted in the transaction of the change that it tells of.

use serde_json::{Value, json};
use standfast_core::{Arn, Scope, Timestamp};
use standfast_kernel::events::{self, Event};
use standfast_store::Txn;

use super::model::{Instance, State};

const SOURCE: &str = "aws.ec2";

/// An instance's new record, when its state is another one than before.
pub fn moved(tx: &mut Txn, scope: &Scope, id: &str, old: Option<State>, new: &Instance) {
    if old == Some(new.state) {
        return;
    }
    let state = new.state.name();
    let detail = json!({"instance-id": id, "state": state});
    note(tx, scope, (id, state), "EC2 Instance State-change Notification", detail, new.changed);
}

/// A spot instance will be interrupted.
pub fn interruption(tx: &mut Txn, scope: &Scope, id: &str, action: &str, now: Timestamp) {
    let detail = json!({"instance-id": id, "instance-action": action});
    note(tx, scope, (id, action), "EC2 Spot Instance Interruption Warning", detail, now);
}

/// A spot instance is likelier than others to be interrupted.
pub fn rebalance(tx: &mut Txn, scope: &Scope, id: &str, now: Timestamp) {
    let detail = json!({"instance-id": id});
    note(tx, scope, (id, "rebalance"), "EC2 Instance Rebalance Recommendation", detail, now);
}

fn note(tx: &mut Txn, scope: &Scope, (id, what): (&str, &str), detail_type: &str, detail: Value, at: Timestamp) {
    let event = Event {
        source: SOURCE.to_owned(),
        detail_type: detail_type.to_owned(),
        resources: vec![Arn::new("ec2", scope, format!("instance/{id}")).to_string()],
        detail,
        at,
    };
    events::note(tx, scope, &format!("{id}-{what}"), event);
}
