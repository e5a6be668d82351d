//! What the event bus hears of experiments: `FIS Experiment State Change`, and of their actions.

use serde_json::json;
use standfast_core::Rng;
use standfast_kernel::{Cx, events};
use standfast_store::Txn;

use super::convert;
use super::model::{Experiment, Progress};

const OF_EXPERIMENTS: &str = "FIS Experiment State Change";
/// AWS has no such event: its source says so.
const OF_ACTIONS: &str = "FIS Experiment Action State Change";
const SOURCE: &str = "aws.fis";
const OWN_SOURCE: &str = "standfast.fis";

/// Notes what has changed between two states of an experiment's record. `rng` is the transaction's own.
pub fn moved(tx: &mut Txn, cx: &Cx, rng: &Rng, id: &str, old: Option<&Experiment>, new: &Experiment) {
    let mut note = |source: &str, detail_type: &str, detail| {
        let event = events::Event {
            source: source.into(),
            detail_type: detail_type.into(),
            resources: vec![convert::experiment_arn(cx, id)],
            detail,
            at: cx.now(),
        };
        events::note(tx, cx.scope(), &rng.uuid(), event);
    };
    if old.is_none_or(|old| old.status != new.status) {
        let state = |one: &Experiment| json!({"status": one.status.name(), "reason": one.reason()});
        let before = old.map_or_else(|| json!({"status": "pending", "reason": "Experiment is pending."}), state);
        let detail = json!({
            "experiment-id": id, "experiment-template-id": new.template_id,
            "new-state": state(new), "old-state": before,
        });
        note(SOURCE, OF_EXPERIMENTS, detail);
    }
    for (name, progress) in &new.progress {
        let was = old.and_then(|old| old.progress.get(name)).unwrap_or(&Progress::Pending);
        if was.shown() != progress.shown() {
            let state = |(status, reason): (&str, &str)| json!({"status": status, "reason": reason});
            let action = new.template.actions.get(name).map(|action| action.action_id.as_str());
            let detail = json!({
                "experiment-id": id, "experiment-template-id": new.template_id, "action-name": name,
                "action-id": action, "new-state": state(progress.shown()), "old-state": state(was.shown()),
            });
            note(OWN_SOURCE, OF_ACTIONS, detail);
        }
    }
}
