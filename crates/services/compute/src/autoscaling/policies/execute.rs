//! ExecutePolicy, for users and for alarms: from a policy to a desired capacity.

use std::time::Duration;

use standfast_api::autoscaling::{ExecutePolicyInput, ExecutePolicyOutput};
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::{Cx, Principal};
use standfast_store::View;

use super::super::causes;
use super::super::errors::validation;
use super::super::groups::live;
use super::super::model::{Activity, Group, Member, Process};
use super::super::{capacity, errors};
use super::scale::{self, Standing};
use super::tracking::{self, Wish};
use super::{Kind, Policy, alarms, named, predictive};

/// The service whose alarms ask.
const ALARMS: &str = "cloudwatch";

pub async fn execute(cx: Cx, input: ExecutePolicyInput) -> Result<ExecutePolicyOutput> {
    let (group, now) = (input.auto_scaling_group_name.as_deref(), cx.now());
    let (_, policy) = cx.view(|view| named(view, &cx, group, &input.policy_name))?;
    let by_alarm = *cx.principal() == Principal::Service(ALARMS);
    let wish = match &policy.kind {
        Kind::Tracking(_) | Kind::Predictive(_) if !by_alarm => return Err(not_by_hand(&policy)),
        Kind::Tracking(tracking) => Wish::gather(&cx, &policy, tracking, &input).await?,
        _ => None,
    };
    let asked = if by_alarm {
        let alarm = alarms(&cx, &policy.arn, Some("ALARM")).await?.into_iter().next();
        let name = alarm.map_or_else(|| "alarm".to_owned(), |(name, _)| name);
        format!("a monitor alarm {name} in state ALARM triggered policy {}", policy.name)
    } else {
        format!("a user request executed policy {}", policy.name)
    };
    cx.txn(|tx| {
        let (_, policy) = named(tx, &cx, group, &input.policy_name)?;
        let mut group = live(tx, &cx, &policy.group)?;
        if by_alarm && (!policy.enabled || group.is_suspended(Process::AlarmNotification)) {
            return Ok(());
        }
        let wanted = wanted(tx, &cx, &policy, &group, &input, wish.as_ref(), now)?;
        if let Some(desired) = wanted.filter(|desired| *desired != group.desired) {
            group.change = Some(causes::policy(now, &asked, group.desired, desired));
            group.desired = desired;
            tx.put(cx.scope(), &policy.group, group);
        }
        Ok(())
    })
    .await?;
    Ok(ExecutePolicyOutput {})
}

fn wanted(
    view: &View,
    cx: &Cx,
    policy: &Policy,
    group: &Group,
    input: &ExecutePolicyInput,
    wish: Option<&Wish>,
    now: Timestamp,
) -> Result<Option<i32>> {
    match &policy.kind {
        Kind::Simple { adjusts, amount, cooldown_s } => {
            if input.honor_cooldown == Some(true) {
                let cooldown_s = cooldown_s.unwrap_or(group.cooldown_s);
                capacity::check_cooldown(view, cx, &policy.group, group, cooldown_s)?;
            }
            let wanted = adjusts.how.apply(group.desired, *amount, adjusts.at_least());
            let least = predictive::floor(view, cx.scope(), &policy.group, group, now).min(group.desired);
            Ok(Some(wanted.clamp(least.max(group.min), group.max)))
        }
        Kind::Step { adjusts, steps, warmup_s, .. } => {
            let (Some(value), Some(threshold)) = (input.metric_value, input.breach_threshold) else {
                return Err(validation("MetricValue and BreachThreshold are required for policy type StepScaling"));
            };
            let Some(step) = scale::step(steps, value - threshold) else { return Err(no_step(value - threshold)) };
            let standing = standing(view, cx, &policy.group, group, *warmup_s, now);
            Ok(scale::stepped(standing, adjusts.how, step.amount, adjusts.at_least()))
        }
        Kind::Tracking(tracking) => {
            // The newest value is of what was warm then, and says nothing of what has gone since.
            let measured = tracking::measured(now);
            let standing = standing(view, cx, &policy.group, group, tracking.warmup_s, measured);
            let wish = wish.filter(|wish| !wish.shrinks() || !has_shrunk(view, cx, &policy.group, group, measured));
            Ok(wish.and_then(|wish| wish.of(standing)))
        }
        Kind::Predictive(_) => Ok(None),
    }
}

/// Whether instances of a group leave it, or began to since a time.
fn has_shrunk(view: &View, cx: &Cx, name: &str, group: &Group, since: Timestamp) -> bool {
    let members = view.by_index::<Member>(cx.scope(), "group", name);
    let activities = view.by_index::<Activity>(cx.scope(), "group", name);
    let began = |activity: &Activity| {
        activity.group_arn == group.arn && activity.started >= since && activity.description.starts_with("Terminating")
    };
    members.iter().any(|(_, member)| member.state.is_terminating()) || activities.iter().any(|(_, one)| began(one))
}

fn not_by_hand(policy: &Policy) -> Error {
    validation(format!("Cannot execute policy {}: its type is {}", policy.name, policy.type_name()))
}

fn no_step(difference: f64) -> Error {
    errors::validation(format!("No StepAdjustment is for a difference of {difference} between metric and threshold"))
}

/// Where a group stands: what is on its way or not warm yet is told from the rest.
pub fn standing(view: &View, cx: &Cx, name: &str, group: &Group, warmup_s: Option<i32>, now: Timestamp) -> Standing {
    let warmup_s = warmup_s.or(group.options.default_instance_warmup_s).unwrap_or(group.cooldown_s);
    let warmup = Duration::from_secs(u64::try_from(warmup_s).unwrap_or_default());
    let members = view.by_index::<Member>(cx.scope(), "group", name);
    let warm = |member: &Member| member.counts() && member.in_service.is_some_and(|at| at + warmup <= now);
    let warm: i32 = members.iter().filter(|(_, member)| warm(member)).map(|(_, member)| member.units()).sum();
    let min = predictive::floor(view, cx.scope(), name, group, cx.now());
    Standing { min, max: group.max, desired: group.desired, warming: (group.desired - warm).max(0) }
}
