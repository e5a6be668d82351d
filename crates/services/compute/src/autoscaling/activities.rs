//! Scaling activities: what a group did, and why, in AWS's words.
//!
//! Invariant: an activity is written in the transaction of the change it tells of; a group keeps its latest
//! `KEPT_MAX` and a few more, those under way not counted.

use standfast_api::autoscaling::{self as api, ActivitiesType, DescribeScalingActivitiesInput};
use standfast_core::page::page;
use standfast_core::{Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::model::{Activity, Group, Member, Status};
use super::{errors, notifications};

/// How many finished activities of a group are kept.
const KEPT_MAX: usize = 200;
const PAGE_MAX: usize = 100;
/// Where an activity's id begins in its key, and how the ids begin with which old activities are looked for: one in 16.
const ID_AT: usize = 17;
const TRIMS: char = '0';

/// What an activity begins with.
pub struct Draft<'a> {
    pub group: &'a str,
    pub group_arn: &'a str,
    pub description: String,
    pub cause: String,
    pub status: Status,
    pub progress: i32,
    pub member: &'a Member,
}

/// Writes a new activity; its key. `rng` is a generator of the transaction's own.
pub fn begin(tx: &mut Txn, scope: &Scope, rng: &Rng, now: Timestamp, draft: Draft) -> String {
    let id = rng.uuid();
    // Newer activities have lower keys.
    let key = format!("{:016x}-{id}", u64::MAX - u64::try_from(now.0).unwrap_or_default());
    let activity = Activity {
        id,
        group: draft.group.to_owned(),
        group_arn: draft.group_arn.to_owned(),
        description: draft.description,
        cause: draft.cause,
        started: now,
        ended: None,
        status: draft.status,
        message: None,
        progress: draft.progress,
        subnet: draft.member.subnet.clone(),
        zone: draft.member.zone.clone(),
    };
    tx.put(scope, &key, activity);
    // Now and then is enough: by the first of the id's random digits.
    if key[ID_AT..].starts_with(TRIMS) {
        trim(tx, scope, draft.group);
    }
    key
}

/// Changes an activity that is under way.
pub fn update(tx: &mut Txn, scope: &Scope, key: Option<&String>, change: impl FnOnce(&mut Activity)) {
    let Some(key) = key else { return };
    let Some(activity) = tx.get::<Activity>(scope, key) else { return };
    let mut activity = (*activity).clone();
    change(&mut activity);
    tx.put(scope, key, activity);
}

/// Ends an activity.
pub fn finish(
    tx: &mut Txn,
    scope: &Scope,
    key: Option<&String>,
    now: Timestamp,
    status: Status,
    message: Option<String>,
) {
    update(tx, scope, key, |activity| {
        activity.status = status;
        activity.progress = 100;
        activity.ended = Some(now);
        activity.message = message;
    });
    if let Some(activity) = key.and_then(|key| tx.get::<Activity>(scope, key)) {
        notifications::activity_ended(tx, scope, &activity, now);
    }
}

fn trim(tx: &mut Txn, scope: &Scope, group: &str) {
    let all = tx.by_index::<Activity>(scope, "group", group);
    for (key, _) in all.into_iter().filter(|(_, activity)| activity.ended.is_some()).skip(KEPT_MAX) {
        tx.delete::<Activity>(scope, &key);
    }
}

pub fn shape(activity: &Activity, gone: bool) -> api::Activity {
    let details = serde_json::json!({ "Subnet ID": activity.subnet, "Availability Zone": activity.zone });
    api::Activity {
        activity_id: activity.id.clone(),
        auto_scaling_group_name: activity.group.clone(),
        description: Some(activity.description.clone()),
        cause: activity.cause.clone(),
        start_time: activity.started,
        end_time: activity.ended,
        status_code: activity.status.name().into(),
        status_message: activity.message.clone(),
        progress: Some(activity.progress),
        details: Some(details.to_string()),
        auto_scaling_group_state: gone.then(|| "Deleted".to_owned()),
        auto_scaling_group_arn: Some(activity.group_arn.clone()),
    }
}

pub async fn describe(cx: Cx, input: DescribeScalingActivitiesInput) -> Result<ActivitiesType> {
    let filters = input.filters.unwrap_or_default();
    if let Some(filter) = filters.iter().find(|filter| filter.name.as_deref() != Some("Status")) {
        let name = filter.name.as_deref().unwrap_or_default();
        return Err(errors::validation(format!("The filter '{name}' is not valid. Valid filters are: [Status].")));
    }
    let (rows, groups) = cx.view(|view| {
        let rows = match &input.auto_scaling_group_name {
            Some(name) => view.by_index::<Activity>(cx.scope(), "group", name),
            None => view.list::<Activity>(cx.scope()),
        };
        (rows, view.list::<Group>(cx.scope()))
    });
    let lives = |activity: &Activity| groups.iter().any(|(_, group)| group.arn == activity.group_arn);
    if let Some(name) = &input.auto_scaling_group_name
        && input.include_deleted_groups != Some(true)
        && !groups.iter().any(|(id, _)| **id == **name)
    {
        return Err(errors::group_not_found(name));
    }
    let wanted = |activity: &Activity| {
        let named = input.activity_ids.as_ref().is_none_or(|ids| ids.is_empty() || ids.contains(&activity.id));
        let passes = filters.iter().all(|filter| {
            filter.values.as_ref().is_none_or(|values| values.iter().any(|value| value == activity.status.name()))
        });
        named && passes && (input.include_deleted_groups == Some(true) || lives(activity))
    };
    let rows = rows.into_iter().filter(|(_, activity)| wanted(activity));
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    let page = page(rows, |(key, _)| key.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let activities = page.items.iter().map(|(_, activity)| shape(activity, !lives(activity))).collect();
    Ok(ActivitiesType { activities, next_token: page.next })
}
