//! Scheduled actions: bounds and desired capacity of a group that change at a time, once or as a cron expression says.
//!
//! Invariant: when an action runs next is in its record, so that what came due while there was no cloud runs once, at its
//! start. An action that never runs again is no longer there.

use serde::{Deserialize, Serialize};
use standfast_api::autoscaling as api;
use standfast_core::cron::{Cron, TimeZone};
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::{Record, Txn};

use super::errors::{self, validation};
use super::groups::{find, live};
use super::model::{Group, Process};

/// Actions of a group.
const ACTIONS_MAX: usize = 125;
/// Actions that one call may put or delete.
const BATCH_MAX: usize = 50;
const NAME_MAX: usize = 255;
const PAGE: i32 = 50;
const PAGE_MAX: i32 = 100;
const UTC: &str = "UTC";

/// A scheduled action. Its id is `GROUP/ACTION`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduled {
    pub group: String,
    pub name: String,
    pub arn: String,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub recurrence: Option<String>,
    pub zone: Option<String>,
    pub min: Option<i32>,
    pub max: Option<i32>,
    pub desired: Option<i32>,
    /// When it runs next.
    pub next: Timestamp,
}

impl Record for Scheduled {
    const TABLE: &'static str = "autoscaling.scheduled_actions";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone())]
    }
}

/// The table, for the controller.
pub const WATCHED: &[&str] = &[Scheduled::TABLE];

impl Scheduled {
    fn key(group: &str, name: &str) -> String {
        format!("{group}/{name}")
    }

    /// When it runs after a time; `None` when never again.
    fn after(&self, time: Timestamp) -> Option<Timestamp> {
        let cron = Cron::unix(self.recurrence.as_deref()?).ok()?;
        let zone = TimeZone::get(self.zone.as_deref().unwrap_or(UTC)).ok()?;
        cron.next_after(time, &zone).filter(|next| self.end.is_none_or(|end| *next <= end))
    }
}

/// Removes the actions of a group that goes.
pub fn remove_all(tx: &mut Txn, scope: &Scope, group: &str) {
    for (key, _) in tx.by_index::<Scheduled>(scope, "group", group) {
        tx.delete::<Scheduled>(scope, &key);
    }
}

pub async fn put(
    cx: Cx,
    input: api::PutScheduledUpdateGroupActionInput,
) -> Result<api::PutScheduledUpdateGroupActionOutput> {
    if let (Some(time), Some(start)) = (input.time, input.start_time)
        && time != start
    {
        return Err(validation("Time and StartTime must be the same when both are specified."));
    }
    let asked = api::ScheduledUpdateGroupActionRequest {
        scheduled_action_name: input.scheduled_action_name,
        start_time: input.start_time.or(input.time),
        end_time: input.end_time,
        recurrence: input.recurrence,
        min_size: input.min_size,
        max_size: input.max_size,
        desired_capacity: input.desired_capacity,
        time_zone: input.time_zone,
    };
    put_one(&cx, &input.auto_scaling_group_name, asked).await?;
    Ok(api::PutScheduledUpdateGroupActionOutput {})
}

pub async fn batch_put(
    cx: Cx,
    input: api::BatchPutScheduledUpdateGroupActionInput,
) -> Result<api::BatchPutScheduledUpdateGroupActionOutput> {
    let (group, actions) = (&input.auto_scaling_group_name, input.scheduled_update_group_actions);
    check_batch(actions.len())?;
    cx.view(|view| live(view, &cx, group))?;
    let mut failed = Vec::new();
    for asked in actions {
        let name = asked.scheduled_action_name.clone();
        if let Err(error) = put_one(&cx, group, asked).await {
            failed.push(failure(name, error)?);
        }
    }
    Ok(api::BatchPutScheduledUpdateGroupActionOutput { failed_scheduled_update_group_actions: Some(failed) })
}

fn check_batch(count: usize) -> Result<()> {
    if count == 0 || count > BATCH_MAX {
        return Err(validation(format!("A call takes 1 to {BATCH_MAX} scheduled actions; there are {count}.")));
    }
    Ok(())
}

/// How one action of several failed; what is no mistake of the caller's fails them all.
fn failure(name: String, error: Error) -> Result<api::FailedScheduledUpdateGroupActionRequest> {
    if error.fault == standfast_core::Fault::Server {
        return Err(error);
    }
    Ok(api::FailedScheduledUpdateGroupActionRequest {
        scheduled_action_name: name,
        error_code: Some(error.code.to_string()),
        error_message: Some(error.message),
    })
}

async fn put_one(cx: &Cx, group: &str, asked: api::ScheduledUpdateGroupActionRequest) -> Result<()> {
    let (now, id, name) = (cx.now(), cx.rng().uuid(), asked.scheduled_action_name.clone());
    let mut new = parse(group, asked, now)?;
    let key = Scheduled::key(group, &name);
    let resource = format!("scheduledUpdateGroupAction:{id}:autoScalingGroupName/{group}:scheduledActionName/{name}");
    new.arn = Arn::new("autoscaling", cx.scope(), resource).to_string();
    cx.txn(|tx| {
        live(tx, cx, group)?;
        let mut others = tx.by_index::<Scheduled>(cx.scope(), "group", group);
        let old = others.iter().position(|(own, _)| **own == *key).map(|at| others.remove(at).1);
        if others.len() >= ACTIONS_MAX {
            return Err(errors::limit(format!("A group can have at most {ACTIONS_MAX} scheduled actions.")));
        }
        if let Some((_, other)) = others.iter().find(|(_, other)| other.next == new.next) {
            return Err(taken(&other.name, new.next));
        }
        let arn = old.map_or_else(|| new.arn.clone(), |old| old.arn.clone());
        tx.put(cx.scope(), &key, Scheduled { arn, ..new.clone() });
        Ok(())
    })
    .await
}

fn taken(other: &str, at: Timestamp) -> Error {
    let message = format!(
        "A scheduled action with this scheduled start time already exists: {other} is scheduled for {}.",
        at.iso8601_seconds()
    );
    Error::client("AlreadyExists", message)
}

/// The action without its ARN.
fn parse(group: &str, asked: api::ScheduledUpdateGroupActionRequest, now: Timestamp) -> Result<Scheduled> {
    let name = asked.scheduled_action_name;
    if name.is_empty() || name.chars().count() > NAME_MAX || name.contains('/') {
        return Err(validation(format!(
            "ScheduledActionName '{name}' must have 1 to {NAME_MAX} characters and no slash."
        )));
    }
    check_sizes(asked.min_size, asked.max_size, asked.desired_capacity)?;
    let (start, end) = (asked.start_time, asked.end_time);
    let recurrence = asked.recurrence.filter(|text| !text.is_empty());
    let zone = asked.time_zone.filter(|text| !text.is_empty());
    if let Some(zone) = &zone
        && TimeZone::get(zone).is_err()
    {
        return Err(validation(format!(
            "The time zone '{zone}' is not valid. Use a name of the IANA time zone database."
        )));
    }
    if let Some(text) = &recurrence {
        Cron::unix(text).map_err(|why| validation(format!("Given recurrence string:{text} is invalid: {why}")))?;
    } else if start.is_none() {
        return Err(validation("Either StartTime or Recurrence must be specified."));
    }
    if start.is_some_and(|start| start <= now) {
        return Err(validation("Given start time is in the past"));
    }
    if end.is_some_and(|end| end <= now) {
        return Err(validation("Given end time is in the past"));
    }
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        return Err(validation("EndTime must be later than StartTime"));
    }
    let mut scheduled = Scheduled {
        group: group.to_owned(),
        name,
        arn: String::new(),
        start,
        end,
        recurrence,
        zone,
        min: asked.min_size,
        max: asked.max_size,
        desired: asked.desired_capacity,
        next: now,
    };
    let next = start.or_else(|| scheduled.after(now));
    let never = || {
        let text = scheduled.recurrence.as_deref().unwrap_or_default();
        validation(format!("Given recurrence string:{text} is invalid: it names no time that comes"))
    };
    // What begins at a start time must recur as well.
    if scheduled.recurrence.is_some()
        && next.and_then(|next| Scheduled { end: None, ..scheduled.clone() }.after(next)).is_none()
    {
        return Err(never());
    }
    scheduled.next = next.ok_or_else(never)?;
    Ok(scheduled)
}

fn check_sizes(min: Option<i32>, max: Option<i32>, desired: Option<i32>) -> Result<()> {
    for (name, size) in [("MinSize", min), ("MaxSize", max), ("DesiredCapacity", desired)] {
        if let Some(size) = size.filter(|size| *size < 0) {
            return Err(validation(format!("{name} {size} must not be negative.")));
        }
    }
    if min.or(max).or(desired).is_none() {
        return Err(validation("At least one of MinSize, MaxSize and DesiredCapacity must be specified."));
    }
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(validation(format!("Max bound, {max}, must be greater than or equal to min bound, {min}")));
    }
    if let Some(desired) = desired
        && (min.is_some_and(|min| desired < min) || max.is_some_and(|max| desired > max))
    {
        let bound = |bound: Option<i32>| bound.map_or_else(|| "none".to_owned(), |bound| bound.to_string());
        return Err(validation(format!(
            "Desired capacity:{desired} must be between the specified min size:{} and max size:{}",
            bound(min),
            bound(max)
        )));
    }
    Ok(())
}

pub async fn delete(cx: Cx, input: api::DeleteScheduledActionInput) -> Result<api::DeleteScheduledActionOutput> {
    delete_one(&cx, &input.auto_scaling_group_name, &input.scheduled_action_name).await?;
    Ok(api::DeleteScheduledActionOutput {})
}

pub async fn batch_delete(
    cx: Cx,
    input: api::BatchDeleteScheduledActionInput,
) -> Result<api::BatchDeleteScheduledActionOutput> {
    let (group, names) = (&input.auto_scaling_group_name, input.scheduled_action_names);
    check_batch(names.len())?;
    cx.view(|view| live(view, &cx, group))?;
    let mut failed = Vec::new();
    for name in names {
        if let Err(error) = delete_one(&cx, group, &name).await {
            failed.push(failure(name, error)?);
        }
    }
    Ok(api::BatchDeleteScheduledActionOutput { failed_scheduled_actions: Some(failed) })
}

async fn delete_one(cx: &Cx, group: &str, name: &str) -> Result<()> {
    cx.txn(|tx| {
        live(tx, cx, group)?;
        let key = Scheduled::key(group, name);
        if tx.get::<Scheduled>(cx.scope(), &key).is_none() {
            return Err(validation(format!("Scheduled action name not found: {name}")));
        }
        tx.delete::<Scheduled>(cx.scope(), &key);
        Ok(())
    })
    .await
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeScheduledActionsInput,
) -> Result<api::DescribeScheduledActionsOutput> {
    if let Some(name) = &input.auto_scaling_group_name {
        find(&cx, name)?;
    }
    let limit = input.max_records.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(validation(format!("MaxRecords must be from 1 to {PAGE_MAX}; it is {limit}.")));
    }
    let names = input.scheduled_action_names.unwrap_or_default();
    // Times do not count where names are given.
    let (from, to) = if names.is_empty() { (input.start_time, input.end_time) } else { (None, None) };
    let fits = |action: &Scheduled| {
        input.auto_scaling_group_name.as_ref().is_none_or(|group| *group == action.group)
            && (names.is_empty() || names.contains(&action.name) || names.contains(&action.arn))
            && from.is_none_or(|from| action.next >= from)
            && to.is_none_or(|to| action.next <= to)
    };
    let mut found = cx.view(|view| view.list::<Scheduled>(cx.scope()));
    found.retain(|(_, action)| fits(action));
    let page =
        page(found, |(key, _)| key.to_string(), input.next_token.as_deref(), limit as usize, "InvalidNextToken")?;
    let actions = page.items.iter().map(|(_, action)| shape(action)).collect();
    Ok(api::DescribeScheduledActionsOutput { scheduled_update_group_actions: Some(actions), next_token: page.next })
}

fn shape(action: &Scheduled) -> api::ScheduledUpdateGroupAction {
    api::ScheduledUpdateGroupAction {
        auto_scaling_group_name: Some(action.group.clone()),
        scheduled_action_name: Some(action.name.clone()),
        scheduled_action_arn: Some(action.arn.clone()),
        time: Some(action.next),
        start_time: Some(action.next),
        end_time: action.end,
        recurrence: action.recurrence.clone(),
        min_size: action.min,
        max_size: action.max,
        desired_capacity: action.desired,
        time_zone: action.zone.clone(),
    }
}

/// Does what is due.
pub async fn run(cx: Cx) -> Result<Wake> {
    let now = cx.now();
    let mut wake = Wake::OnChange;
    for (scope, key, action) in cx.view(|view| view.all::<Scheduled>()) {
        if action.next > now {
            wake = wake.or(Wake::At(action.next));
            continue;
        }
        let next = cx.txn(|tx| Ok(perform(tx, &scope, &key, now))).await?;
        wake = next.map_or(wake, |next| wake.or(Wake::At(next)));
    }
    Ok(wake)
}

/// Carries an action out and says when it is due again.
fn perform(tx: &mut Txn, scope: &Scope, key: &str, now: Timestamp) -> Option<Timestamp> {
    let action = tx.get::<Scheduled>(scope, key)?;
    if action.next > now {
        return Some(action.next);
    }
    if let Some(group) = tx.get::<Group>(scope, &action.group)
        && !group.deleting
        && !group.is_suspended(Process::ScheduledActions)
        && let Some(group) = changed(&group, &action, now)
    {
        tx.put(scope, &action.group, group);
    }
    let next = action.after(now);
    match next {
        Some(next) => tx.put(scope, key, Scheduled { next, ..(*action).clone() }),
        None => tx.delete::<Scheduled>(scope, key),
    }
    next
}

/// The group after an action; `None` when nothing changes, or what the action asks for no longer fits the other bound.
fn changed(group: &Group, action: &Scheduled, now: Timestamp) -> Option<Group> {
    let (min, max) = (action.min.unwrap_or(group.min), action.max.unwrap_or(group.max));
    let desired = action.desired.unwrap_or(group.desired).min(max).max(min);
    if min > max || (min, max, desired) == (group.min, group.max, group.desired) {
        return None;
    }
    let mut new = Group { min, max, desired, ..group.clone() };
    if desired != group.desired {
        new.change = Some(format!(
            "At {} a scheduled action update of AutoScalingGroup constraints to min: {min}, max: {max}, desired: {desired} \
             changing the desired capacity from {} to {desired}.",
            now.iso8601_seconds(),
            group.desired
        ));
    }
    Some(new)
}
