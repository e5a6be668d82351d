//! Scaling policies: PutScalingPolicy, DescribePolicies, DeletePolicy; `execute` carries them out.
//!
//! Alarms name a policy by its ARN and are cloudwatch's; which ones do is asked for, not kept. The two alarms of a target
//! tracking policy are made and removed by `tracking`. What a policy makes of a capacity is `scale`'s; what it foresees is
//! `predictive`'s.

pub mod execute;
mod metric;
mod parse;
pub mod predictive;
mod scale;
pub mod tracking;

use serde::{Deserialize, Serialize};
use standfast_api::autoscaling as api;
use standfast_api::cloudwatch;
use standfast_core::page::page;
use standfast_core::{Arn, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Record, Txn, View};

pub use self::metric::GROUP as GROUP_DIMENSION;
use self::predictive::Predictive;
pub use self::scale::Adjusts;
use self::scale::Step;
use self::tracking::Tracking;
use super::errors::{self, validation};
use super::groups::{find, live};
use super::{notifications, schedules};

const POLICIES_MAX: usize = 50;
const PAGE: i32 = 50;
const PAGE_MAX: i32 = 100;

/// A policy. Its id is `GROUP/POLICY`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub group: String,
    pub name: String,
    pub arn: String,
    pub enabled: bool,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Simple { adjusts: Adjustment, amount: i32, cooldown_s: Option<i32> },
    Step { adjusts: Adjustment, steps: Vec<Step>, aggregation: String, warmup_s: Option<i32> },
    Tracking(Tracking),
    Predictive(Predictive),
}

/// How a policy's amounts are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adjustment {
    pub how: Adjusts,
    /// Of a percentage; the second is the older way to say it.
    pub least: Option<i32>,
    pub least_step: Option<i32>,
}

impl Adjustment {
    /// How much a percentage changes at least.
    pub fn at_least(self) -> Option<i32> {
        self.least.or(self.least_step)
    }
}

impl Record for Policy {
    const TABLE: &'static str = "autoscaling.policies";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone()), (Self::BY_ARN, self.arn.clone())]
    }
}

impl Policy {
    const BY_ARN: &'static str = "arn";

    pub fn key(group: &str, name: &str) -> String {
        format!("{group}/{name}")
    }
}

/// Removes what scales a group that goes and what it tells: policies, schedules, notifications.
pub fn remove_all(tx: &mut Txn, scope: &Scope, group: &str, now: Timestamp) {
    schedules::remove_all(tx, scope, group);
    notifications::remove_all(tx, scope, group);
    for (key, policy) in tx.by_index::<Policy>(scope, "group", group) {
        remove(tx, scope, &key, &policy, now);
    }
}

fn remove(tx: &mut Txn, scope: &Scope, key: &str, policy: &Policy, now: Timestamp) {
    if let Kind::Tracking(tracking) = &policy.kind {
        tracking::abandon(tx, scope, tracking, now);
    }
    predictive::remove(tx, scope, key);
    tx.delete::<Policy>(scope, key);
}

pub async fn put(cx: Cx, input: api::PutScalingPolicyInput) -> Result<api::PutScalingPolicyOutput> {
    let (group, name) = (&input.auto_scaling_group_name, &input.policy_name);
    let key = Policy::key(group, name);
    let new = parse::policy(&input, cx.rng())?;
    let (id, now) = (cx.rng().uuid(), cx.now());
    let (arn, old) = cx
        .txn(|tx| {
            live(tx, &cx, group)?;
            let old = tx.get::<Policy>(cx.scope(), &key);
            if old.is_none() && tx.by_index::<Policy>(cx.scope(), "group", group).len() >= POLICIES_MAX {
                return Err(errors::limit(format!("A group can have at most {POLICIES_MAX} scaling policies.")));
            }
            let resource = format!("scalingPolicy:{id}:autoScalingGroupName/{group}:policyName/{name}");
            let arn = old.as_ref().map(|old| old.arn.clone());
            let arn = arn.unwrap_or_else(|| Arn::new("autoscaling", cx.scope(), resource).to_string());
            let mut policy = Policy { arn: arn.clone(), ..new.clone() };
            tracking::replace(tx, cx.scope(), &key, old.as_deref(), &mut policy, now);
            tx.put(cx.scope(), &key, policy);
            Ok((arn, old))
        })
        .await?;
    if matches!(new.kind, Kind::Tracking(_)) {
        tracking::make_now(&cx, &key, old.as_deref()).await?;
    }
    let alarms = if matches!(new.kind, Kind::Tracking(_)) { alarms(&cx, &arn, None).await? } else { Vec::new() };
    Ok(api::PutScalingPolicyOutput { policy_arn: Some(arn), alarms: Some(alarm_shapes(alarms)) })
}

pub async fn delete(cx: Cx, input: api::DeletePolicyInput) -> Result<api::DeletePolicyOutput> {
    let (group, name) = (input.auto_scaling_group_name.as_deref(), &input.policy_name);
    cx.txn(|tx| {
        let (key, policy) = named(tx, &cx, group, name)?;
        remove(tx, cx.scope(), &key, &policy, cx.now());
        Ok(())
    })
    .await?;
    Ok(api::DeletePolicyOutput {})
}

/// A policy by its ARN, or by its name in a group.
fn named(view: &View, cx: &Cx, group: Option<&str>, name: &str) -> Result<(String, Policy)> {
    let found = if name.starts_with("arn:") {
        view.by_index::<Policy>(cx.scope(), Policy::BY_ARN, name).into_iter().next()
    } else {
        let group =
            group.ok_or_else(|| validation("AutoScalingGroupName is required when PolicyName is not an ARN"))?;
        let key = Policy::key(group, name);
        view.get::<Policy>(cx.scope(), &key).map(|policy| (key.into(), policy))
    };
    let found = found.filter(|(_, policy)| group.is_none_or(|group| group == policy.group));
    let (key, policy) = found.ok_or_else(|| validation(format!("Cannot find specified policy {name}")))?;
    Ok((key.to_string(), (*policy).clone()))
}

pub async fn describe(cx: Cx, input: api::DescribePoliciesInput) -> Result<api::DescribePoliciesOutput> {
    if let Some(name) = &input.auto_scaling_group_name {
        find(&cx, name)?;
    }
    let limit = input.max_records.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(validation(format!("MaxRecords must be from 1 to {PAGE_MAX}; it is {limit}.")));
    }
    let (names, types) = (input.policy_names.unwrap_or_default(), input.policy_types.unwrap_or_default());
    let fits = |policy: &Policy| {
        input.auto_scaling_group_name.as_ref().is_none_or(|group| *group == policy.group)
            && (names.is_empty() || names.contains(&policy.name) || names.contains(&policy.arn))
            && (types.is_empty() || types.iter().any(|type_| type_ == policy.type_name()))
    };
    let mut found = cx.view(|view| view.list::<Policy>(cx.scope()));
    found.retain(|(_, policy)| fits(policy));
    let page =
        page(found, |(key, _)| key.to_string(), input.next_token.as_deref(), limit as usize, "InvalidNextToken")?;
    let mut policies = Vec::new();
    for (_, policy) in page.items {
        policies.push(shape(&policy, alarms(&cx, &policy.arn, None).await?));
    }
    Ok(api::DescribePoliciesOutput { scaling_policies: Some(policies), next_token: page.next })
}

/// The alarms that ask this policy: name and ARN.
async fn alarms(cx: &Cx, policy: &str, state: Option<&str>) -> Result<Vec<(String, String)>> {
    let input = cloudwatch::DescribeAlarmsInput {
        action_prefix: Some(policy.to_owned()),
        state_value: state.map(str::to_owned),
        ..Default::default()
    };
    let found = cx.call(cloudwatch::DescribeAlarms, input).await?.metric_alarms.unwrap_or_default();
    Ok(found.into_iter().filter_map(|alarm| Some((alarm.alarm_name?, alarm.alarm_arn?))).collect())
}

impl Policy {
    fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Simple { .. } => parse::SIMPLE,
            Kind::Step { .. } => parse::STEP,
            Kind::Tracking(_) => parse::TRACKING,
            Kind::Predictive(_) => parse::PREDICTIVE,
        }
    }
}

fn alarm_shapes(alarms: Vec<(String, String)>) -> Vec<api::Alarm> {
    alarms.into_iter().map(|(name, arn)| api::Alarm { alarm_name: Some(name), alarm_arn: Some(arn) }).collect()
}

fn shape(policy: &Policy, alarms: Vec<(String, String)>) -> api::ScalingPolicy {
    let mut shape = api::ScalingPolicy {
        auto_scaling_group_name: Some(policy.group.clone()),
        policy_name: Some(policy.name.clone()),
        policy_arn: Some(policy.arn.clone()),
        policy_type: Some(policy.type_name().to_owned()),
        step_adjustments: Some(Vec::new()),
        alarms: Some(alarm_shapes(alarms)),
        enabled: Some(policy.enabled),
        ..Default::default()
    };
    let mut adjusted = |adjusts: &Adjustment| {
        shape.adjustment_type = Some(adjusts.how.name().to_owned());
        (shape.min_adjustment_magnitude, shape.min_adjustment_step) = (adjusts.least, adjusts.least_step);
    };
    match &policy.kind {
        Kind::Simple { adjusts, amount, cooldown_s } => {
            adjusted(adjusts);
            (shape.scaling_adjustment, shape.cooldown) = (Some(*amount), *cooldown_s);
        }
        Kind::Step { adjusts, steps, aggregation, warmup_s } => {
            adjusted(adjusts);
            let step = |step: &Step| api::StepAdjustment {
                metric_interval_lower_bound: step.lower,
                metric_interval_upper_bound: step.upper,
                scaling_adjustment: step.amount,
            };
            shape.step_adjustments = Some(steps.iter().map(step).collect());
            shape.metric_aggregation_type = Some(aggregation.clone());
            shape.estimated_instance_warmup = *warmup_s;
        }
        Kind::Tracking(tracking) => {
            shape.target_tracking_configuration = Some(tracking.config.0.clone());
            shape.estimated_instance_warmup = tracking.warmup_s;
        }
        Kind::Predictive(own) => shape.predictive_scaling_configuration = Some(own.config.0.clone()),
    }
    shape
}
