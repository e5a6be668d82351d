//! Evaluates composite alarms when an alarm in their rule has changed, and lets actions go that a suppressor held.

use std::collections::HashMap;
use std::sync::Arc;

use standfast_core::{Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::Txn;

use super::super::evaluate::State;
use super::super::model::{Alarm, Composite, Condition, Kind};
use super::super::state;
use super::rule::Rule;
use super::{reasons, suppress};

pub async fn run(cx: Cx) -> Result<Wake> {
    let all = cx.view(|view| view.all::<Alarm>());
    if !all.iter().any(|(_, _, alarm)| alarm.is_composite()) {
        return Ok(Wake::OnChange);
    }
    let by_name: HashMap<(&Scope, &str), &Arc<Alarm>> =
        all.iter().map(|(scope, name, alarm)| ((scope, &**name), alarm)).collect();
    let mut wake = Wake::OnChange;
    for (scope, name, alarm) in &all {
        let Some(composite) = alarm.composite() else { continue };
        let (now, seed) = (cx.now(), cx.rng().u64());
        let child = |name: &str| by_name.get(&(scope, name)).copied();
        if let Some(new) = evaluate(alarm, composite, &child, now) {
            cx.txn(|tx| {
                settle(tx, scope, name, alarm, &new, seed);
                Ok(())
            })
            .await?;
        } else if let (Some(held), Some(suppressor)) = (composite.held, &composite.suppressor) {
            let suppressing = child(&suppressor.alarm).is_some_and(|other| other.condition.state == State::Alarm);
            if suppress::later(suppressor, suppressing, held, now) != suppress::Next::Wait(held) {
                cx.txn(|tx| {
                    if let Some(current) = tx.get::<Alarm>(scope, name) {
                        suppress::proceed(tx, scope, &Rng::seeded(seed), name, &current, now);
                    }
                    Ok(())
                })
                .await?;
            } else if let Some(until) = suppress::until(suppressor, &held) {
                wake = wake.or(Wake::At(until));
            }
        }
    }
    // What was written wakes this again.
    Ok(wake)
}

/// The condition that an alarm is to have from now on, where it is due and that is another one or its first.
fn evaluate<'a>(
    alarm: &Alarm,
    composite: &Composite,
    child: &dyn Fn(&str) -> Option<&'a Arc<Alarm>>,
    now: Timestamp,
) -> Option<Condition> {
    let children = composite.children.iter().filter_map(|name| child(name));
    let latest = children.max_by_key(|child| child.condition.transitioned);
    let is_newer = |child: &&Arc<Alarm>| child.condition.transitioned >= alarm.condition.updated;
    if composite.fresh.is_none() && !latest.is_some_and(|latest| is_newer(&latest)) {
        return None;
    }
    // It was checked when it was put.
    let rule = Rule::parse(&composite.rule).ok()?;
    let state_of = |name: &str| child(name).map(|alarm| alarm.condition.state);
    let state = if rule.holds(&state_of) { State::Alarm } else { State::Ok };
    if state == alarm.condition.state {
        return composite.fresh.map(|_| alarm.condition.clone());
    }
    let because = rule.because(&state_of);
    Some(Condition {
        state,
        reason: reasons::reason(&alarm.arn, state, composite.fresh, latest.map(|latest| &**latest)),
        data: Some(reasons::data(because.into_iter().filter_map(child).map(|child| &**child))),
        updated: now,
        transitioned: now,
    })
}

fn settle(tx: &mut Txn, scope: &Scope, name: &str, seen: &Alarm, new: &Condition, seed: u64) {
    // What was changed meanwhile is evaluated again.
    let Some(current) = tx.get::<Alarm>(scope, name).filter(|current| **current == *seen) else { return };
    let Some(composite) = current.composite() else { return };
    let kind = Kind::Composite(Composite { fresh: None, ..composite.clone() });
    state::change(tx, scope, name, &Alarm { kind, ..(*current).clone() }, new.clone(), None, seed);
}
