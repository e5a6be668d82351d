//! Alarms on alarms: PutCompositeAlarm, and how their states follow.
//!
//! Invariants: a rule names alarms that are there, and no alarm is in its own rule by any way. A composite alarm is evaluated
//! when it is new or changed and when an alarm in its rule has changed state; so what SetAlarmState says stays until then, as
//! in the service.

pub mod controller;
mod reasons;
pub mod rule;
pub mod suppress;

use standfast_api::cloudwatch as api;
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use self::rule::{Rule, name_of};
use super::super::errors::{invalid, missing, validation};
use super::evaluate::State;
use super::model::{Alarm, Composite, Condition, Fresh, Kind, Suppressor};
use super::put;

/// Whom composite alarms may ask to do something.
const ASKED: [&str; 5] = ["sns", "lambda", "ssm", "ssm-incidents", "aiops"];
/// How long the way from an alarm to one in its rule's rule may be: more than a store of honest rules has.
const VISITED_MAX: usize = 100_000;

pub async fn put(cx: Cx, input: api::PutCompositeAlarmInput) -> Result<api::PutCompositeAlarmOutput> {
    let (now, scope, name) = (cx.now(), cx.scope(), input.alarm_name.clone());
    let parsed = Rule::parse(&input.alarm_rule)
        .map_err(|error| validation(format!("AlarmRule must be a valid rule, and this is not: {error}.")))?;
    let children: Vec<String> = parsed.children().into_iter().map(str::to_owned).collect();
    let suppressor = suppressor(&input)?;
    let given = [&input.ok_actions, &input.alarm_actions, &input.insufficient_data_actions];
    let actions = put::actions(given, &|service| ASKED.contains(&service))?;
    let composite = Composite { rule: input.alarm_rule, children, suppressor, held: None, fresh: Some(Fresh::Created) };
    let alarm = Alarm {
        arn: Arn::new("cloudwatch", scope, format!("alarm:{name}")).to_string(),
        description: input.alarm_description,
        updated: now,
        actions_enabled: input.actions_enabled.unwrap_or(true),
        actions,
        kind: Kind::Composite(composite.clone()),
        condition: Condition::initial(now),
        tags: input.tags.iter().flatten().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
    };
    let seed = cx.rng().u64();
    cx.txn(|tx| {
        check(tx, scope, &name, &composite)?;
        let mut alarm = alarm.clone();
        if let Some(old) = tx.get::<Alarm>(scope, &name) {
            let (before, suppressor) = (old.composite(), composite.suppressor.clone());
            // Actions that wait go on to where there is still a suppressor.
            let held = before.and_then(|before| before.held).filter(|_| suppressor.is_some());
            alarm.kind = Kind::Composite(Composite { held, fresh: Some(Fresh::Updated), ..composite.clone() });
        }
        put::save(tx, scope, &name, alarm, seed)?;
        Ok(api::PutCompositeAlarmOutput {})
    })
    .await
}

fn suppressor(input: &api::PutCompositeAlarmInput) -> Result<Option<Suppressor>> {
    let periods = [
        ("ActionsSuppressorWaitPeriod", input.actions_suppressor_wait_period),
        ("ActionsSuppressorExtensionPeriod", input.actions_suppressor_extension_period),
    ];
    let Some(given) = &input.actions_suppressor else {
        return match periods.iter().find(|(_, period)| period.is_some()) {
            Some((name, _)) => Err(validation(format!("{name} needs ActionsSuppressor."))),
            None => Ok(None),
        };
    };
    let mut seconds = [0; 2];
    for ((name, period), seconds) in periods.into_iter().zip(&mut seconds) {
        *seconds = period.ok_or_else(|| missing(name))?;
        if *seconds < 0 {
            return Err(invalid(*seconds, name));
        }
    }
    let [wait_s, extension_s] = seconds;
    Ok(Some(Suppressor { alarm: name_of(given).to_owned(), given: given.clone(), wait_s, extension_s }))
}

/// What an alarm names is there, and is not itself.
fn check(view: &View, scope: &Scope, name: &str, composite: &Composite) -> Result<()> {
    let gone = |child: &&String| view.get::<Alarm>(scope, child).is_none();
    let gone: Vec<&str> = composite.children.iter().filter(gone).map(String::as_str).collect();
    if composite.children.iter().any(|child| child == name) || reaches(view, scope, &composite.children, name) {
        // AWS-DIFF: the service takes such a rule and then never evaluates it.
        return Err(validation(format!("Could not save the composite alarm as {name} would depend on itself.")));
    }
    if !gone.is_empty() {
        return Err(validation(format!(
            "Could not save the composite alarm as alarms [{}] in the alarm rule do not exist",
            gone.join(", ")
        )));
    }
    match &composite.suppressor {
        Some(suppressor) if suppressor.alarm == name => Err(self_suppressing(name)),
        Some(suppressor) if view.get::<Alarm>(scope, &suppressor.alarm).is_none() => Err(validation(format!(
            "Could not save the composite alarm as the ActionsSuppressor {} does not exist",
            suppressor.given
        ))),
        _ => Ok(()),
    }
}

fn self_suppressing(name: &str) -> Error {
    validation(format!("Could not save the composite alarm as {name} cannot be its own ActionsSuppressor."))
}

/// Whether one of these alarms depends on another.
fn reaches(view: &View, scope: &Scope, from: &[String], to: &str) -> bool {
    let (mut left, mut seen) = (from.to_vec(), std::collections::BTreeSet::new());
    while let Some(next) = left.pop() {
        if next == to || seen.len() > VISITED_MAX {
            return true;
        }
        if let Some(alarm) = view.get::<Alarm>(scope, &next)
            && seen.insert(next)
        {
            left.extend(alarm.composite().into_iter().flat_map(|composite| composite.children.clone()));
        }
    }
    false
}

/// A composite alarm that has an alarm in its rule and is not to be deleted as well.
pub fn parent(tx: &Txn, scope: &Scope, name: &str, deleted: &[String]) -> Option<String> {
    let depends = |alarm: &Alarm| alarm.composite().is_some_and(|own| own.children.iter().any(|child| child == name));
    let all = tx.list::<Alarm>(scope);
    let parent = all.iter().find(|(parent, alarm)| depends(alarm) && !deleted.iter().any(|one| **one == **parent))?;
    Some(parent.0.to_string())
}

pub fn shape(name: &str, alarm: &Alarm, composite: &Composite) -> api::CompositeAlarm {
    let actions = |state| Some(alarm.actions.get(&state).cloned().unwrap_or_default());
    let (condition, held, suppressor) = (&alarm.condition, &composite.held, &composite.suppressor);
    api::CompositeAlarm {
        alarm_name: Some(name.to_owned()),
        alarm_arn: Some(alarm.arn.clone()),
        alarm_description: alarm.description.clone(),
        alarm_configuration_updated_timestamp: Some(alarm.updated),
        alarm_rule: Some(composite.rule.clone()),
        actions_enabled: Some(alarm.actions_enabled),
        ok_actions: actions(State::Ok),
        alarm_actions: actions(State::Alarm),
        insufficient_data_actions: actions(State::InsufficientData),
        state_value: Some(condition.state.name().to_owned()),
        state_reason: Some(condition.reason.clone()),
        state_reason_data: condition.data.clone(),
        state_updated_timestamp: Some(condition.updated),
        state_transitioned_timestamp: Some(condition.transitioned),
        actions_suppressed_by: held.map(|held| held.by.name().to_owned()),
        actions_suppressed_reason: held.map(|held| suppress::reason(composite, &held)),
        actions_suppressor: suppressor.as_ref().map(|own| own.given.clone()),
        actions_suppressor_wait_period: suppressor.as_ref().map(|own| own.wait_s),
        actions_suppressor_extension_period: suppressor.as_ref().map(|own| own.extension_s),
    }
}
