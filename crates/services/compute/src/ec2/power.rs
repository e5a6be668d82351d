//! What owners do to instances: start, stop, reboot, terminate. Each moves the record to a state on the way; the
//! `instances` controller moves it on when the host has done it.

use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, faults, zones};
use standfast_store::{Txn, View};

use super::auto_addresses::Giver;
use super::errors;
use super::model::{Instance, State, StateReason};
use super::run::user_initiated;
use super::{convert, launch, spot, state_events};

/// How many instances one request may name.
const INSTANCES_MAX: usize = 1000;

/// The instances of these ids, each once; the error names all that do not exist.
pub fn named(view: &View, scope: &Scope, texts: &[String]) -> Result<Vec<(Id<id::Instance>, Arc<Instance>)>> {
    if texts.len() > INSTANCES_MAX {
        return Err(errors::invalid(format!("A request may name at most {INSTANCES_MAX} instances.")));
    }
    let (mut found, mut unknown) = (Vec::with_capacity(texts.len()), Vec::new());
    let mut seen = std::collections::BTreeSet::new();
    for text in texts {
        let id = Id::<id::Instance>::parse(text)
            .ok_or_else(|| Error::client("InvalidInstanceID.Malformed", format!("Invalid id: \"{text}\"")))?;
        if !seen.insert(text) {
            continue;
        }
        match view.get::<Instance>(scope, &id) {
            Some(instance) => found.push((id, instance)),
            None => unknown.push(text.as_str()),
        }
    }
    match &unknown[..] {
        [] => Ok(found),
        [one] => Err(errors::not_found::<id::Instance>(one)),
        many => {
            let message = format!("The instance IDs '{}' do not exist", many.join(", "));
            Err(Error::client("InvalidInstanceID.NotFound", message))
        }
    }
}

fn some(texts: &[String]) -> Result<()> {
    if texts.is_empty() { Err(errors::missing("InstanceId")) } else { Ok(()) }
}

/// Changes instances in one transaction: each to what `step` says, or none when it refuses one.
async fn change(
    cx: &Cx,
    ids: &[String],
    dry_run: Option<bool>,
    step: impl Fn(&Txn, &Id<id::Instance>, &Instance, Timestamp) -> Result<Option<Instance>>,
) -> Result<Vec<api::InstanceStateChange>> {
    some(ids)?;
    let (scope, now, giver) = (cx.scope(), cx.now(), Giver::new(cx));
    cx.txn(|tx| {
        let rng = giver.rng();
        let mut changes = Vec::new();
        for (id, old) in named(tx, scope, ids)? {
            let new = step(tx, &id, &old, now)?;
            let current = new.as_ref().map_or(old.state, |new| new.state);
            if let Some(new) = new {
                if new.state == State::Pending {
                    giver.give(tx, scope, &new, &rng)?;
                }
                state_events::moved(tx, scope, &id, Some(old.state), &new);
                tx.put(scope, &id, new);
            }
            changes.push(api::InstanceStateChange {
                instance_id: Some(id.into()),
                current_state: Some(convert::state(current)),
                previous_state: Some(convert::state(old.state)),
            });
        }
        errors::dry_run(dry_run)?;
        Ok(changes)
    })
    .await
}

fn incorrect_state(id: &Id<id::Instance>, verb: &str) -> Error {
    let message = format!("The instance '{id}' is not in a state from which it can be {verb}.");
    Error::client("IncorrectInstanceState", message)
}

fn not_permitted(id: &Id<id::Instance>, verb: &str, attribute: &str) -> Error {
    let message =
        format!("The instance '{id}' may not be {verb}. Modify its '{attribute}' instance attribute and try again.");
    Error::client("OperationNotPermitted", message)
}

pub async fn start(cx: Cx, input: api::StartInstancesInput) -> Result<api::StartInstancesOutput> {
    let scope = cx.scope();
    let seed = cx.rng().u64();
    let refused =
        |tx: &Txn, zone: &str| faults::refuses_launch(tx, &Rng::seeded(seed), scope, cx.principal(), None, zone);
    let changes = change(&cx, &input.instance_ids, input.dry_run, |tx, id, old, now| match old.state {
        State::Running | State::Pending => Ok(None),
        State::Stopped if zones::is_dark(tx, &old.zone) || refused(tx, &old.zone) => {
            Err(launch::no_capacity(tx, scope, &old.instance_type, &old.zone))
        }
        State::Stopped if !old.devices.iter().any(|device| device.device == old.root_device) => {
            let message = format!(
                "Invalid value '{id}' for instanceId. Instance does not have a volume attached at root ({})",
                old.root_device
            );
            Err(errors::invalid(message))
        }
        State::Stopped => Ok(Some(started(old, now))),
        _ => Err(incorrect_state(id, "started")),
    })
    .await?;
    Ok(api::StartInstancesOutput { starting_instances: Some(changes) })
}

/// The instance on its way up again.
pub fn started(old: &Instance, now: Timestamp) -> Instance {
    Instance {
        state: State::Pending,
        reason: None,
        transition: String::new(),
        changed: now,
        launched: now,
        boot: old.boot + 1,
        resume: false,
        ..old.clone()
    }
}

fn by_user(code: &str) -> Option<StateReason> {
    Some(StateReason { code: code.into(), message: format!("{code}: User initiated shutdown") })
}

pub async fn stop(cx: Cx, input: api::StopInstancesInput) -> Result<api::StopInstancesOutput> {
    let scope = cx.scope();
    let changes = change(&cx, &input.instance_ids, input.dry_run, |tx, id, old, now| match old.state {
        State::Stopping => Ok(None),
        // It may be waiting for its zone's power; its owner does not want it back.
        State::Stopped => Ok(old.resume.then(|| Instance { resume: false, ..old.clone() })),
        State::Running if old.options.api_stop_disabled => Err(not_permitted(id, "stopped", "disableApiStop")),
        State::Running => spot::stoppable(tx, scope, id).map(|()| {
            Some(Instance {
                state: State::Stopping,
                reason: by_user("Client.UserInitiatedShutdown"),
                transition: user_initiated(now),
                changed: now,
                ..old.clone()
            })
        }),
        _ => Err(incorrect_state(id, "stopped")),
    })
    .await?;
    Ok(api::StopInstancesOutput { stopping_instances: Some(changes) })
}

pub async fn reboot(cx: Cx, input: api::RebootInstancesInput) -> Result<api::RebootInstancesOutput> {
    change(&cx, &input.instance_ids, input.dry_run, |_, id, old, _| match old.state {
        State::Running => Ok(Some(Instance { boot: old.boot + 1, ..old.clone() })),
        State::Pending => Ok(None),
        _ => Err(incorrect_state(id, "rebooted")),
    })
    .await?;
    Ok(api::RebootInstancesOutput {})
}

pub async fn terminate(cx: Cx, input: api::TerminateInstancesInput) -> Result<api::TerminateInstancesOutput> {
    let changes = change(&cx, &input.instance_ids, input.dry_run, |_, id, old, now| match old.state {
        State::ShuttingDown | State::Terminated => Ok(None),
        _ if old.options.api_termination_disabled => Err(not_permitted(id, "terminated", "disableApiTermination")),
        _ => Ok(Some(Instance {
            state: State::ShuttingDown,
            reason: by_user("Client.UserInitiatedShutdown"),
            transition: user_initiated(now),
            changed: now,
            resume: false,
            ..old.clone()
        })),
    })
    .await?;
    Ok(api::TerminateInstancesOutput { terminating_instances: Some(changes) })
}
