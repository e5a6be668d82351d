//! Instance refreshes: all instances of a group are replaced, a few at a time.
//!
//! Owns their records and the requests about them; replacing is the planner's (`plan/replace.rs`, `plan/refresh.rs`).
//! Invariant: a group has at most one that is active.

mod record;

use standfast_api::autoscaling::{
    self as api, CancelInstanceRefreshInput, CancelInstanceRefreshOutput, DescribeInstanceRefreshesInput,
    DescribeInstanceRefreshesOutput, RollbackInstanceRefreshInput, RollbackInstanceRefreshOutput,
    StartInstanceRefreshInput, StartInstanceRefreshOutput,
};
use standfast_api::cloudwatch;
use standfast_core::page::page;
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, validation};
use super::groups::{find, live};
use super::launch;
use super::model::{Group, Launch, Member};
use super::settings::{self, Asked};
use super::{documents, plan};

pub use record::{Found, Refresh, RefreshStatus, Rollback};

const MIN_HEALTHY_PERCENT: i32 = 90;
const MAX_HEALTHY_PERCENT: i32 = 100;
/// How far apart the two may be.
const SPREAD_MAX: i32 = 100;
const CHECKPOINT_DELAY_S: i32 = 3600;
/// The longest delay and bake time.
const WAIT_MAX_S: i32 = 172_800;
const ALARMS_MAX: usize = 10;
/// How many refreshes of a group that have ended are kept.
const KEPT_MAX: usize = 50;
const PAGE_MAX: usize = 100;

/// The group's active refresh, with its key.
pub fn active(view: &View, scope: &Scope, group: &str) -> Option<(std::sync::Arc<str>, Refresh)> {
    let all = view.by_index::<Refresh>(scope, "group", group);
    all.into_iter().find(|(_, refresh)| refresh.is_active()).map(|(key, refresh)| (key, (*refresh).clone()))
}

pub fn remove_all(tx: &mut Txn, scope: &Scope, group: &str) {
    for (key, _) in tx.by_index::<Refresh>(scope, "group", group) {
        tx.delete::<Refresh>(scope, &key);
    }
}

pub async fn start(cx: Cx, input: StartInstanceRefreshInput) -> Result<StartInstanceRefreshOutput> {
    let name = input.auto_scaling_group_name.clone();
    let group = find(&cx, &name)?;
    match input.strategy.as_deref() {
        None | Some("" | "Rolling") => (),
        Some("ReplaceRootVolume") => {
            return Err(validation("The strategy ReplaceRootVolume is not available in this version of Standfast."));
        }
        Some(other) => return Err(validation(format!("The strategy '{other}' is not valid. Valid value: Rolling."))),
    }
    let given = input.preferences.unwrap_or_default();
    let mut refresh = draft(&name, &group, &given, cx.now())?;
    refresh.strategy = input.strategy;
    refresh.desired = desired(&cx, input.desired_configuration).await?;
    if given != api::RefreshPreferences::default() {
        refresh.preferences = Some(documents::keep(given.clone()));
    }
    if refresh.auto_rollback {
        reversible(&group, &refresh).map_err(|error| validation(error.message))?;
    }
    check_alarms(&cx, &refresh.alarms).await?;
    let target = refresh.desired.as_ref().map_or(&group.launch, |(launch, _)| launch);
    let recipe = if given.skip_matching == Some(true) { Some(launch::recipe(&cx, target).await?) } else { None };
    refresh.id = cx.rng().uuid();
    let key = format!("{name}/{:016x}-{}", u64::MAX - u64::try_from(cx.now().0).unwrap_or_default(), refresh.id);
    cx.txn(|tx| {
        let mut group = live(tx, &cx, &name)?;
        if active(tx, cx.scope(), &name).is_some() {
            return Err(errors::refresh_in_progress());
        }
        let mut refresh = refresh.clone();
        refresh.generation = group.generation + 1;
        for (id, member) in tx.by_index::<Member>(cx.scope(), "group", &name) {
            if member.state.is_terminating() {
                continue;
            }
            if recipe.as_ref().is_some_and(|recipe| recipe.matches(&member)) {
                tx.put(cx.scope(), &id, Member { generation: refresh.generation, ..(*member).clone() });
            } else if member.state.in_pool() {
                refresh.warm_total += 1;
            } else if refresh.counts(&member) {
                refresh.total += 1;
            }
        }
        (refresh.remaining, refresh.warm_left) = (refresh.total, refresh.warm_total);
        group.generation = refresh.generation;
        // What was refused before may work now.
        group.back_offs.clear();
        tx.put(cx.scope(), &name, group);
        tx.put(cx.scope(), &key, refresh);
        for (key, _) in tx.by_index::<Refresh>(cx.scope(), "group", &name).into_iter().skip(KEPT_MAX) {
            tx.delete::<Refresh>(cx.scope(), &key);
        }
        Ok(())
    })
    .await?;
    Ok(StartInstanceRefreshOutput { instance_refresh_id: Some(refresh.id) })
}

/// A refresh of these preferences, checked.
pub(super) fn draft(name: &str, group: &Group, given: &api::RefreshPreferences, now: Timestamp) -> Result<Refresh> {
    let checkpoints = given.checkpoint_percentages.clone().unwrap_or_default();
    let rises = checkpoints.windows(2).all(|pair| pair[0] < pair[1]);
    if !rises || checkpoints.iter().any(|percent| !(1..=100).contains(percent)) {
        return Err(validation(format!(
            "CheckpointPercentages {checkpoints:?} must be unique, in ascending order and between 1 and 100."
        )));
    }
    if given.checkpoint_delay.is_some() && checkpoints.is_empty() {
        return Err(validation("CheckpointDelay requires CheckpointPercentages to be specified."));
    }
    let delay = ranged("CheckpointDelay", given.checkpoint_delay, CHECKPOINT_DELAY_S, (0, WAIT_MAX_S))?;
    let bake_s = ranged("BakeTime", given.bake_time, 0, (0, WAIT_MAX_S))?;
    let options = &group.options;
    let warmup_s = options.default_instance_warmup_s.unwrap_or(group.grace_s);
    let warmup_s = ranged("InstanceWarmup", given.instance_warmup.filter(|s| *s != -1), warmup_s, (0, i32::MAX))?;
    let alarms = given.alarm_specification.as_ref().and_then(|own| own.alarms.clone()).unwrap_or_default();
    if alarms.len() > ALARMS_MAX {
        return Err(validation(format!("AlarmSpecification can name at most {ALARMS_MAX} alarms.")));
    }
    Ok(Refresh {
        id: String::new(),
        group: name.to_owned(),
        status: RefreshStatus::Pending,
        reason: None,
        started: now,
        ended: None,
        generation: 0,
        desired: None,
        preferences: None,
        strategy: None,
        bounds: bounds(group, given)?,
        warmup_s,
        checkpoints,
        checkpoint_delay_s: delay,
        auto_rollback: given.auto_rollback == Some(true),
        protected: found("ScaleInProtectedInstances", "Refresh", given.scale_in_protected_instances.as_deref())?,
        standby: found("StandbyInstances", "Terminate", given.standby_instances.as_deref())?,
        alarms,
        bake_s,
        total: 0,
        remaining: 0,
        warm_total: 0,
        warm_left: 0,
        reached: 0,
        checkpoint_until: None,
        bake_until: None,
        moved: now,
        waits_to_cancel: true,
        rollback: None,
    })
}

fn bounds(group: &Group, given: &api::RefreshPreferences) -> Result<(i32, i32)> {
    let (low, high) = group.options.maintenance.unwrap_or_default();
    if given.max_healthy_percentage.is_some() && given.min_healthy_percentage.is_none() {
        return Err(validation("MaxHealthyPercentage requires MinHealthyPercentage to be specified."));
    }
    let min = ranged("MinHealthyPercentage", given.min_healthy_percentage, MIN_HEALTHY_PERCENT, (0, 100))?;
    let max = ranged("MaxHealthyPercentage", given.max_healthy_percentage, MAX_HEALTHY_PERCENT, (100, 200))?;
    if given.max_healthy_percentage.is_some() && max - min > SPREAD_MAX {
        return Err(validation(format!(
            "The difference between MaxHealthyPercentage {max} and MinHealthyPercentage {min} must not be greater than \
             {SPREAD_MAX}."
        )));
    }
    let min = given.min_healthy_percentage.or(low).unwrap_or(min);
    Ok((min, given.max_healthy_percentage.or(high).unwrap_or(max)))
}

fn ranged(name: &str, given: Option<i32>, default: i32, (low, high): (i32, i32)) -> Result<i32> {
    match given {
        Some(value) if !(low..=high).contains(&value) => {
            Err(validation(format!("{name} {value} must be between {low} and {high}.")))
        }
        given => Ok(given.unwrap_or(default)),
    }
}

fn found(name: &str, act: &str, given: Option<&str>) -> Result<Found> {
    match given {
        None | Some("" | "Wait") => Ok(Found::Wait),
        Some("Ignore") => Ok(Found::Ignore),
        Some(other) if other == act => Ok(Found::Act),
        Some(other) => Err(validation(format!("{name} '{other}' is not valid. Valid values: {act}, Ignore, Wait."))),
    }
}

async fn desired(cx: &Cx, given: Option<api::DesiredConfiguration>) -> Result<Option<(Launch, serde_json::Value)>> {
    let Some(given) = given.filter(|own| *own != api::DesiredConfiguration::default()) else { return Ok(None) };
    let kept = documents::keep(given.clone());
    let asked = Asked { configuration: None, template: given.launch_template, mixed: given.mixed_instances_policy };
    Ok(settings::launch(cx, asked).await?.map(|launch| (launch, kept)))
}

/// Whether there is something to go back to that is still the same.
fn reversible(group: &Group, refresh: &Refresh) -> Result<()> {
    if refresh.desired.is_none() {
        return Err(errors::irreversible("a desired configuration was not specified for it"));
    }
    let template = match &group.launch {
        Launch::Configuration(_) => return Ok(()),
        Launch::Template(template) => template,
        Launch::Mixed(policy) => &policy.template,
    };
    if template.version.starts_with('$') {
        let version = &template.version;
        let why = format!("the Auto Scaling group uses the launch template version {version}, which may change");
        return Err(errors::irreversible(&why));
    }
    Ok(())
}

async fn check_alarms(cx: &Cx, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let known = alarms(cx, names).await?;
    match names.iter().find(|name| !known.contains_key(*name)) {
        Some(name) => Err(validation(format!("The CloudWatch alarm '{name}' of AlarmSpecification does not exist."))),
        None => Ok(()),
    }
}

/// Whether each of these alarms is in ALARM.
pub async fn alarms(cx: &Cx, names: &[String]) -> Result<std::collections::BTreeMap<String, bool>> {
    let input = cloudwatch::DescribeAlarmsInput {
        alarm_names: Some(names.to_vec()),
        alarm_types: Some(vec!["MetricAlarm".into(), "CompositeAlarm".into()]),
        ..Default::default()
    };
    let found = cx.call(cloudwatch::DescribeAlarms, input).await?;
    let metric = found.metric_alarms.unwrap_or_default().into_iter().map(|own| (own.alarm_name, own.state_value));
    let composite = found.composite_alarms.unwrap_or_default().into_iter().map(|own| (own.alarm_name, own.state_value));
    Ok(metric.chain(composite).filter_map(|(name, state)| Some((name?, state.as_deref() == Some("ALARM")))).collect())
}

pub async fn cancel(cx: Cx, input: CancelInstanceRefreshInput) -> Result<CancelInstanceRefreshOutput> {
    let name = &input.auto_scaling_group_name;
    let id = change(&cx, name, |_, refresh| {
        refresh.status = RefreshStatus::Cancelling;
        refresh.waits_to_cancel = input.wait_for_transitioning_instances != Some(false);
        Ok(())
    })
    .await?;
    Ok(CancelInstanceRefreshOutput { instance_refresh_id: Some(id) })
}

pub async fn rollback(cx: Cx, input: RollbackInstanceRefreshInput) -> Result<RollbackInstanceRefreshOutput> {
    let (name, now) = (&input.auto_scaling_group_name, cx.now());
    let id = change(&cx, name, |group, refresh| {
        if refresh.status == RefreshStatus::Cancelling {
            return Err(errors::no_active_refresh(name));
        }
        reversible(group, refresh)?;
        if refresh.rollback.is_none() {
            plan::roll_back(refresh, "User requested rollback of the instance refresh.".into(), now);
            group.generation = refresh.launches();
        }
        Ok(())
    })
    .await?;
    Ok(RollbackInstanceRefreshOutput { instance_refresh_id: Some(id) })
}

/// Changes the active refresh of a group; its id.
async fn change(cx: &Cx, name: &str, change: impl Fn(&mut Group, &mut Refresh) -> Result<(), Error>) -> Result<String> {
    cx.txn(|tx| {
        let mut group = live(tx, cx, name)?;
        let found = active(tx, cx.scope(), name);
        let (key, mut refresh) = found.ok_or_else(|| errors::no_active_refresh(name))?;
        change(&mut group, &mut refresh)?;
        let id = refresh.id.clone();
        tx.put(cx.scope(), &key, refresh);
        tx.put(cx.scope(), name, group);
        Ok(id)
    })
    .await
}

pub async fn describe(cx: Cx, input: DescribeInstanceRefreshesInput) -> Result<DescribeInstanceRefreshesOutput> {
    let name = &input.auto_scaling_group_name;
    find(&cx, name)?;
    let ids = input.instance_refresh_ids.unwrap_or_default();
    let rows = cx.view(|view| view.by_index::<Refresh>(cx.scope(), "group", name));
    let rows = rows.into_iter().filter(|(_, refresh)| ids.is_empty() || ids.contains(&refresh.id));
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    let page = page(rows, |(key, _)| key.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let refreshes = page.items.iter().map(|(_, refresh)| shape(refresh)).collect();
    Ok(DescribeInstanceRefreshesOutput { instance_refreshes: Some(refreshes), next_token: page.next })
}

fn shape(refresh: &Refresh) -> api::InstanceRefresh {
    let details = |percent: i32, left: i32| api::InstanceRefreshProgressDetails {
        live_pool_progress: Some(api::InstanceRefreshLivePoolProgress {
            percentage_complete: Some(percent),
            instances_to_update: Some(left),
        }),
        warm_pool_progress: (refresh.warm_total > 0).then(|| api::InstanceRefreshWarmPoolProgress {
            percentage_complete: Some(refresh.warm_percent()),
            instances_to_update: Some(refresh.warm_left),
        }),
    };
    let left = refresh.rollback.as_ref().map_or(refresh.remaining, |own| own.remaining);
    let ran = refresh.status != RefreshStatus::Pending;
    api::InstanceRefresh {
        instance_refresh_id: Some(refresh.id.clone()),
        auto_scaling_group_name: Some(refresh.group.clone()),
        status: Some(refresh.status.name().into()),
        status_reason: refresh.reason.clone(),
        start_time: ran.then_some(refresh.started),
        end_time: refresh.ended,
        percentage_complete: Some(refresh.percent()),
        instances_to_update: Some(left),
        progress_details: (refresh.warm_total > 0).then(|| details(refresh.percent(), left)),
        preferences: Some(preferences(refresh)),
        desired_configuration: refresh.desired.as_ref().map(|(_, given)| documents::give(given)),
        rollback_details: refresh.rollback.as_ref().map(|own| api::RollbackDetails {
            rollback_reason: Some(own.reason.clone()),
            rollback_start_time: Some(own.started),
            percentage_complete_on_rollback: Some(own.percent),
            instances_to_update_on_rollback: Some(own.remaining),
            progress_details_on_rollback: (refresh.warm_total > 0).then(|| details(own.percent, own.remaining)),
        }),
        strategy: Some(refresh.strategy.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| "Rolling".into())),
    }
}

/// The preferences as they were given, with the defaults that AWS shows.
fn preferences(refresh: &Refresh) -> api::RefreshPreferences {
    let given = refresh.preferences.as_ref().map(documents::give::<api::RefreshPreferences>).unwrap_or_default();
    api::RefreshPreferences {
        min_healthy_percentage: given.min_healthy_percentage.or(Some(refresh.bounds.0)),
        skip_matching: given.skip_matching.or(Some(false)),
        auto_rollback: given.auto_rollback.or(Some(false)),
        scale_in_protected_instances: given.scale_in_protected_instances.or_else(|| Some("Wait".into())),
        standby_instances: given.standby_instances.or_else(|| Some("Wait".into())),
        checkpoint_delay: given.checkpoint_delay.or((!refresh.checkpoints.is_empty()).then_some(CHECKPOINT_DELAY_S)),
        ..given
    }
}
