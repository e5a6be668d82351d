//! ExecutePolicy, for users and for alarms: from a policy to a desired capacity.

use std::time::Duration;

use standfast_api::autoscaling::{ExecutePolicyInput, ExecutePolicyOutput};
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::{Cx, Principal};
use standfast_store::View;

use super::super::causes;
use super::super::errors::validation;
use super::super::groups::live;
use super::super::model::{Group, Member, Process};
use super::super::{capacity, errors};
use super::scale::{self, Standing};
use super::{Kind, Policy, alarms, named};

/// The service whose alarms ask.
const ALARMS: &str = "cloudwatch";

pub async fn execute(cx: Cx, input: ExecutePolicyInput) -> Result<ExecutePolicyOutput> {
    let (group, now) = (input.auto_scaling_group_name.as_deref(), cx.now());
    let (_, policy) = cx.view(|view| named(view, &cx, group, &input.policy_name))?;
    let by_alarm = *cx.principal() == Principal::Service(ALARMS);
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
        let wanted = wanted(tx, &cx, &policy, &group, &input, now)?;
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
    now: Timestamp,
) -> Result<Option<i32>> {
    let least = policy.least.or(policy.least_step);
    match &policy.kind {
        Kind::Simple { amount, cooldown_s } => {
            if input.honor_cooldown == Some(true) {
                let cooldown_s = cooldown_s.unwrap_or(group.cooldown_s);
                capacity::check_cooldown(view, cx, &policy.group, group, cooldown_s)?;
            }
            Ok(Some(policy.adjusts.apply(group.desired, *amount, least).clamp(group.min, group.max)))
        }
        Kind::Step { steps, warmup_s, .. } => {
            let (Some(value), Some(threshold)) = (input.metric_value, input.breach_threshold) else {
                return Err(validation("MetricValue and BreachThreshold are required for policy type StepScaling"));
            };
            let Some(step) = scale::step(steps, value - threshold) else { return Err(no_step(value - threshold)) };
            let standing = Standing {
                min: group.min,
                max: group.max,
                desired: group.desired,
                warming: warming(view, cx, &policy.group, group, *warmup_s, now),
            };
            Ok(scale::stepped(standing, policy.adjusts, step.amount, least))
        }
    }
}

fn no_step(difference: f64) -> Error {
    errors::validation(format!("No StepAdjustment is for a difference of {difference} between metric and threshold"))
}

/// How much of the desired capacity is on its way or not warm yet.
fn warming(view: &View, cx: &Cx, name: &str, group: &Group, warmup_s: Option<i32>, now: Timestamp) -> i32 {
    let warmup_s = warmup_s.or(group.options.default_instance_warmup_s).unwrap_or(group.cooldown_s);
    let warmup = Duration::from_secs(u64::try_from(warmup_s).unwrap_or_default());
    let members = view.by_index::<Member>(cx.scope(), "group", name);
    let warm = |member: &Member| member.counts() && member.in_service.is_some_and(|at| at + warmup <= now);
    let warm = members.iter().filter(|(_, member)| warm(member)).count();
    let warm = i32::try_from(warm).unwrap_or(i32::MAX).saturating_mul(group.launch.weight());
    (group.desired - warm).max(0)
}
