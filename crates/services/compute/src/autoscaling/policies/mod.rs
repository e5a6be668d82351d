//! Scaling policies: PutScalingPolicy, DescribePolicies, DeletePolicy; `execute` carries them out.
//!
//! Simple and step policies. Alarms name a policy by its ARN and are cloudwatch's; which ones do is asked for, not kept.
//! It is not here yet: target tracking and predictive scaling.

pub mod execute;
mod scale;

use serde::{Deserialize, Serialize};
use standfast_api::autoscaling as api;
use standfast_api::cloudwatch;
use standfast_core::page::page;
use standfast_core::{Arn, Result};
use standfast_kernel::Cx;
use standfast_store::{Record, Txn};

pub use self::scale::Adjusts;
use self::scale::Step;
use super::errors::{self, validation};
use super::groups::{find, live};

const POLICIES_MAX: usize = 50;
const STEPS_MAX: usize = 20;
const PAGE: i32 = 50;
const PAGE_MAX: i32 = 100;
const SIMPLE: &str = "SimpleScaling";
const STEP: &str = "StepScaling";

/// A policy. Its id is `GROUP/POLICY`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub group: String,
    pub name: String,
    pub arn: String,
    pub enabled: bool,
    pub adjusts: Adjusts,
    /// Of a percentage; the second is the older way to say it.
    pub least: Option<i32>,
    pub least_step: Option<i32>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Simple { amount: i32, cooldown_s: Option<i32> },
    Step { steps: Vec<Step>, aggregation: String, warmup_s: Option<i32> },
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

/// Removes the policies of a group that goes.
pub fn remove_all(tx: &mut Txn, scope: &standfast_core::Scope, group: &str) {
    for (key, _) in tx.by_index::<Policy>(scope, "group", group) {
        tx.delete::<Policy>(scope, &key);
    }
}

pub async fn put(cx: Cx, input: api::PutScalingPolicyInput) -> Result<api::PutScalingPolicyOutput> {
    let (group, name) = (&input.auto_scaling_group_name, &input.policy_name);
    let key = Policy::key(group, name);
    let new = parse(&input)?;
    let id = cx.rng().uuid();
    let arn = cx
        .txn(|tx| {
            live(tx, &cx, group)?;
            let old = tx.get::<Policy>(cx.scope(), &key);
            if old.is_none() && tx.by_index::<Policy>(cx.scope(), "group", group).len() >= POLICIES_MAX {
                return Err(errors::limit(format!("A group can have at most {POLICIES_MAX} scaling policies.")));
            }
            let resource = format!("scalingPolicy:{id}:autoScalingGroupName/{group}:policyName/{name}");
            let arn = old.map(|old| old.arn.clone());
            let arn = arn.unwrap_or_else(|| Arn::new("autoscaling", cx.scope(), resource).to_string());
            tx.put(cx.scope(), &key, Policy { arn: arn.clone(), ..new.clone() });
            Ok(arn)
        })
        .await?;
    Ok(api::PutScalingPolicyOutput { policy_arn: Some(arn), alarms: Some(Vec::new()) })
}

fn parse(input: &api::PutScalingPolicyInput) -> Result<Policy> {
    let type_ = input.policy_type.as_deref().unwrap_or(SIMPLE);
    if type_ != SIMPLE && type_ != STEP {
        return Err(validation(format!("Policies of type {type_} are not available in this version of Standfast.")));
    }
    let given = input.adjustment_type.as_deref();
    let given = given.ok_or_else(|| validation(format!("AdjustmentType is required for policy type {type_}")))?;
    let adjusts = Adjusts::named(given).ok_or_else(|| validation(format!("Invalid AdjustmentType: {given}")))?;
    if input.min_adjustment_magnitude.is_some_and(|least| least < 0) {
        return Err(validation("MinAdjustmentMagnitude must not be negative"));
    }
    if adjusts != Adjusts::Percent && (input.min_adjustment_magnitude.or(input.min_adjustment_step)).is_some() {
        return Err(validation("MinAdjustmentMagnitude is only valid with AdjustmentType PercentChangeInCapacity"));
    }
    let refuse = |what: Option<()>, name: &str| match what {
        Some(()) => Err(validation(format!("{name} is not valid for policy type {type_}"))),
        None => Ok(()),
    };
    let kind = if type_ == SIMPLE {
        refuse(input.step_adjustments.as_ref().filter(|steps| !steps.is_empty()).map(drop), "StepAdjustments")?;
        refuse(input.estimated_instance_warmup.map(drop), "EstimatedInstanceWarmup")?;
        refuse(input.metric_aggregation_type.as_ref().map(drop), "MetricAggregationType")?;
        let amount = input.scaling_adjustment;
        let amount = amount.ok_or_else(|| validation("ScalingAdjustment is required for policy type SimpleScaling"))?;
        Kind::Simple { amount, cooldown_s: input.cooldown }
    } else {
        refuse(input.scaling_adjustment.map(drop), "ScalingAdjustment")?;
        refuse(input.cooldown.map(drop), "Cooldown")?;
        let read = |step: &api::StepAdjustment| Step {
            lower: step.metric_interval_lower_bound,
            upper: step.metric_interval_upper_bound,
            amount: step.scaling_adjustment,
        };
        let steps: Vec<Step> = input.step_adjustments.iter().flatten().map(read).collect();
        if steps.len() > STEPS_MAX {
            return Err(errors::limit(format!("A policy can have at most {STEPS_MAX} step adjustments.")));
        }
        scale::check(&steps).map_err(validation)?;
        let aggregation = input.metric_aggregation_type.clone().unwrap_or_else(|| "Average".into());
        if !["Average", "Minimum", "Maximum"].contains(&aggregation.as_str()) {
            return Err(validation(format!("Invalid MetricAggregationType: {aggregation}")));
        }
        Kind::Step { steps, aggregation, warmup_s: input.estimated_instance_warmup }
    };
    Ok(Policy {
        group: input.auto_scaling_group_name.clone(),
        name: input.policy_name.clone(),
        arn: String::new(),
        enabled: input.enabled.unwrap_or(true),
        adjusts,
        least: input.min_adjustment_magnitude,
        least_step: input.min_adjustment_step,
        kind,
    })
}

pub async fn delete(cx: Cx, input: api::DeletePolicyInput) -> Result<api::DeletePolicyOutput> {
    let (group, name) = (input.auto_scaling_group_name.as_deref(), &input.policy_name);
    cx.txn(|tx| {
        let (key, _) = named(tx, &cx, group, name)?;
        tx.delete::<Policy>(cx.scope(), &key);
        Ok(())
    })
    .await?;
    Ok(api::DeletePolicyOutput {})
}

/// A policy by its ARN, or by its name in a group.
fn named(view: &standfast_store::View, cx: &Cx, group: Option<&str>, name: &str) -> Result<(String, Policy)> {
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
            Kind::Simple { .. } => SIMPLE,
            Kind::Step { .. } => STEP,
        }
    }
}

fn shape(policy: &Policy, alarms: Vec<(String, String)>) -> api::ScalingPolicy {
    let alarm = |(name, arn)| api::Alarm { alarm_name: Some(name), alarm_arn: Some(arn) };
    let mut shape = api::ScalingPolicy {
        auto_scaling_group_name: Some(policy.group.clone()),
        policy_name: Some(policy.name.clone()),
        policy_arn: Some(policy.arn.clone()),
        policy_type: Some(policy.type_name().to_owned()),
        adjustment_type: Some(policy.adjusts.name().to_owned()),
        min_adjustment_magnitude: policy.least,
        min_adjustment_step: policy.least_step,
        step_adjustments: Some(Vec::new()),
        alarms: Some(alarms.into_iter().map(alarm).collect()),
        enabled: Some(policy.enabled),
        ..Default::default()
    };
    match &policy.kind {
        Kind::Simple { amount, cooldown_s } => {
            (shape.scaling_adjustment, shape.cooldown) = (Some(*amount), *cooldown_s);
        }
        Kind::Step { steps, aggregation, warmup_s } => {
            let step = |step: &Step| api::StepAdjustment {
                metric_interval_lower_bound: step.lower,
                metric_interval_upper_bound: step.upper,
                scaling_adjustment: step.amount,
            };
            shape.step_adjustments = Some(steps.iter().map(step).collect());
            shape.metric_aggregation_type = Some(aggregation.clone());
            shape.estimated_instance_warmup = *warmup_s;
        }
    }
    shape
}
