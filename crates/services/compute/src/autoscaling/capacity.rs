//! The desired capacity, and instances that a user takes out of it.

use std::sync::Arc;
use std::time::Duration;

use standfast_api::autoscaling::{
    ActivityType, SetDesiredCapacityInput, SetDesiredCapacityOutput, TerminateInstanceInAutoScalingGroupInput,
};
use standfast_core::{Result, Rng};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::apply::{self, Pass};
use super::errors::{self, validation};
use super::groups::live;
use super::model::{Activity, Group, Member};
use super::{activities, causes};

pub async fn set_desired(cx: Cx, input: SetDesiredCapacityInput) -> Result<SetDesiredCapacityOutput> {
    let (name, desired, now) = (&input.auto_scaling_group_name, input.desired_capacity, cx.now());
    cx.txn(|tx| {
        let mut group = live(tx, &cx, name)?;
        if desired > group.max {
            return Err(validation(format!(
                "New SetDesiredCapacity value {desired} is above max value {} for the AutoScalingGroup.",
                group.max
            )));
        }
        if desired < group.min {
            return Err(validation(format!(
                "New SetDesiredCapacity value {desired} is below min value {} for the AutoScalingGroup.",
                group.min
            )));
        }
        if input.honor_cooldown == Some(true) {
            check_cooldown(tx, &cx, name, &group, group.cooldown_s)?;
        }
        if desired != group.desired {
            group.change = Some(causes::desired(now, group.desired, desired));
            group.desired = desired;
            tx.put(cx.scope(), name, group);
        }
        Ok(())
    })
    .await?;
    Ok(SetDesiredCapacityOutput {})
}

/// Refuses while an activity is under way, or has ended less than a cooldown ago.
pub fn check_cooldown(view: &View, cx: &Cx, name: &str, group: &Group, cooldown_s: i32) -> Result<()> {
    let cooldown = Duration::from_secs(u64::try_from(cooldown_s).unwrap_or_default());
    let activities = view.by_index::<Activity>(cx.scope(), "group", name);
    let blocks = |activity: &Activity| activity.ended.is_none_or(|ended| ended + cooldown > cx.now());
    match activities.iter().find(|(_, activity)| activity.group_arn == group.arn && blocks(activity)) {
        Some((_, activity)) => Err(errors::activity_blocks(&activity.id)),
        None => Ok(()),
    }
}

/// The member that has this instance.
pub fn member_of(view: &View, cx: &Cx, instance: &str) -> Result<(Arc<str>, Member)> {
    let found = view.by_index::<Member>(cx.scope(), "instance", instance).into_iter().next();
    let (id, member) = found.ok_or_else(|| errors::no_such_instance(instance))?;
    Ok((id, (*member).clone()))
}

/// Takes an instance's units out of the desired capacity; before and after.
pub fn decrement(group: &mut Group, units: i32) -> Result<(i32, i32)> {
    let (from, to) = (group.desired, group.desired - units);
    if to < group.min {
        return Err(validation(format!(
            "Currently, desiredSize equals minSize ({}). Terminating instance without replacement will violate group's \
             min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.",
            group.min
        )));
    }
    group.desired = to;
    Ok((from, to))
}

/// A pass in a handler's transaction.
pub fn pass<'a>(cx: &'a Cx, name: &'a str, seed: u64) -> Pass<'a> {
    Pass { scope: cx.scope(), name, now: cx.now(), rng: Rng::seeded(seed), recipe: None }
}

pub async fn terminate_instance(cx: Cx, input: TerminateInstanceInAutoScalingGroupInput) -> Result<ActivityType> {
    let (instance, seed) = (&input.instance_id, cx.rng().u64());
    let activity = cx.txn(|tx| terminate(tx, &cx, instance, input.should_decrement_desired_capacity, seed)).await?;
    Ok(ActivityType { activity: Some(activities::shape(&activity, false)) })
}

fn terminate(tx: &mut Txn, cx: &Cx, instance: &str, decrements: bool, seed: u64) -> Result<Arc<Activity>> {
    let (id, mut member) = member_of(tx, cx, instance)?;
    let name = member.group.clone();
    let mut group = live(tx, cx, &name)?;
    if member.state.is_terminating() {
        let message = format!("The instance {instance} is not in InService, Pending or Standby.");
        return Err(validation(message));
    }
    // A standby instance is no longer part of the capacity.
    let shrunk = if decrements && member.counts() { Some(decrement(&mut group, member.units())?) } else { None };
    if shrunk.is_some() {
        tx.put(cx.scope(), &name, group.clone());
    }
    let cause = causes::user(cx.now(), instance, "taken out of service", shrunk);
    let key = apply::begin_end(tx, &pass(cx, &name, seed), &group, &id, &mut member, cause);
    Ok(tx.get::<Activity>(cx.scope(), &key).expect("written in this transaction"))
}
