//! What is done to alarms: SetAlarmState, EnableAlarmActions and DisableAlarmActions, DeleteAlarms.

use standfast_api::cloudwatch as api;
use standfast_core::{Error, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::super::errors::{invalid, too_many, validation};
use super::actions::{self, Owing};
use super::composite::{self, suppress};
use super::evaluate::State;
use super::model::{Alarm, Condition};
use super::{history, notice};

/// Alarms that one call may name.
const NAMES_MAX: usize = 100;
/// Composite alarms that one call may delete.
const COMPOSITE_MAX: usize = 1;

pub async fn set(cx: Cx, input: api::SetAlarmStateInput) -> Result<api::SetAlarmStateOutput> {
    let state = State::named(&input.state_value).ok_or_else(|| invalid(&input.state_value, "StateValue"))?;
    if let Some(data) = &input.state_reason_data
        && serde_json::from_str::<serde_json::Value>(data).is_err()
    {
        return Err(Error::client("InvalidFormat", format!("StateReasonData is not JSON: {data}")));
    }
    let (now, scope, name, seed) = (cx.now(), cx.scope(), &input.alarm_name, cx.rng().u64());
    cx.txn(|tx| {
        let alarm = tx.get::<Alarm>(scope, name).ok_or_else(|| not_found(name))?;
        let transitioned = if alarm.condition.state == state { alarm.condition.transitioned } else { now };
        let (reason, data) = (input.state_reason.clone(), input.state_reason_data.clone());
        let new = Condition { state, reason, data, updated: now, transitioned };
        change(tx, scope, name, &alarm, new, None, seed);
        Ok(api::SetAlarmStateOutput {})
    })
    .await
}

/// Puts an alarm into a state. When it is another one than before, what is to be done about that is owed from here on.
/// `breach` is the newest value and the threshold, where there is one.
pub fn change(
    tx: &mut Txn,
    scope: &Scope,
    name: &str,
    alarm: &Alarm,
    new: Condition,
    breach: Option<(f64, f64)>,
    seed: u64,
) {
    let (rng, mut kind) = (Rng::seeded(seed), alarm.kind.clone());
    if alarm.condition.state != new.state {
        history::note(tx, scope, &rng, history::transition(name, &alarm.condition, &new));
        notice::note(tx, scope, &rng, name, alarm, &new);
        let why = Owing { state: new.state, at: new.updated, breach, lasts: false };
        if alarm.composite().is_some_and(|composite| composite.suppressor.is_some()) {
            kind = suppress::transition(tx, scope, &rng, name, alarm, new.state, new.updated);
        } else if alarm.actions_enabled {
            actions::owe(tx, scope, &rng, name, alarm, &why);
        }
    }
    tx.put(scope, name, Alarm { condition: new, kind, ..alarm.clone() });
}

pub async fn enable(cx: Cx, input: api::EnableAlarmActionsInput) -> Result<api::EnableAlarmActionsOutput> {
    switch(&cx, &input.alarm_names, true).await?;
    Ok(api::EnableAlarmActionsOutput {})
}

pub async fn disable(cx: Cx, input: api::DisableAlarmActionsInput) -> Result<api::DisableAlarmActionsOutput> {
    switch(&cx, &input.alarm_names, false).await?;
    Ok(api::DisableAlarmActionsOutput {})
}

/// Names that no alarm has are passed over, as the service does.
async fn switch(cx: &Cx, names: &[String], on: bool) -> Result<()> {
    check_names(names)?;
    let (now, scope, seed) = (cx.now(), cx.scope(), cx.rng().u64());
    cx.txn(|tx| {
        let rng = Rng::seeded(seed);
        for name in names {
            let Some(alarm) = tx.get::<Alarm>(scope, name).filter(|alarm| alarm.actions_enabled != on) else {
                continue;
            };
            tx.put(scope, name, Alarm { actions_enabled: on, updated: now, ..(*alarm).clone() });
            history::note(tx, scope, &rng, history::configuration(name, "updated", "Update", now));
        }
        Ok(())
    })
    .await
}

pub async fn delete(cx: Cx, input: api::DeleteAlarmsInput) -> Result<api::DeleteAlarmsOutput> {
    check_names(&input.alarm_names)?;
    let (now, scope, seed) = (cx.now(), cx.scope(), cx.rng().u64());
    cx.txn(|tx| {
        let rng = Rng::seeded(seed);
        let is_composite = |name: &&String| tx.get::<Alarm>(scope, name).is_some_and(|alarm| alarm.is_composite());
        if input.alarm_names.iter().filter(is_composite).count() > COMPOSITE_MAX {
            return Err(validation("Only one composite alarm can be deleted in one request."));
        }
        for name in &input.alarm_names {
            if let Some(parent) = composite::parent(tx, scope, name, &input.alarm_names) {
                return Err(validation(format!(
                    "Cannot delete {name} as there are composite alarm(s) depending on it: {parent}."
                )));
            }
        }
        for name in &input.alarm_names {
            if tx.get::<Alarm>(scope, name).is_some() {
                history::note(tx, scope, &rng, history::configuration(name, "deleted", "Delete", now));
                tx.delete::<Alarm>(scope, name);
            }
        }
        Ok(api::DeleteAlarmsOutput {})
    })
    .await
}

fn check_names(names: &[String]) -> Result<()> {
    if names.len() > NAMES_MAX {
        return Err(too_many("AlarmNames", NAMES_MAX));
    }
    Ok(())
}

fn not_found(name: &str) -> Error {
    Error::client("ResourceNotFound", format!("Unknown alarm: {name}")).with_status(404)
}
