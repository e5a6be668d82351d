//! Policies of scalable targets: kept and given back. Nothing is there yet that they could scale.

use serde::{Deserialize, Serialize};
use standfast_api::{application_autoscaling as api, cloudwatch as cw};
use standfast_core::{Arn, Result, Timestamp};
use standfast_kernel::Cx;
use standfast_store::Record;

use super::{Asked, Dimension, Target, limit, paged, validation};
use crate::kept::Kept;

const STEP: &str = "StepScaling";
const TRACKING: &str = "TargetTrackingScaling";
const PREDICTIVE: &str = "PredictiveScaling";
/// Policies of a target.
const POLICIES_MAX: usize = 50;
const STEPS_MAX: usize = 20;

/// A policy. Its id is its target's and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    of: Dimension,
    name: String,
    arn: String,
    created: Timestamp,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Step(Kept<api::StepScalingPolicyConfiguration>),
    Tracking(Kept<api::TargetTrackingScalingPolicyConfiguration>),
    Predictive(Kept<api::PredictiveScalingPolicyConfiguration>),
}

impl Record for Policy {
    const TABLE: &'static str = "application-autoscaling.policies";
}

pub async fn put(cx: Cx, input: api::PutScalingPolicyInput) -> Result<api::PutScalingPolicyOutput> {
    let of = Dimension::new(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let (key, now, id, name) = (of.key_of(&input.policy_name), cx.now(), cx.rng().uuid(), input.policy_name.clone());
    let given = kind(input)?;
    let resource = format!("scalingPolicy:{id}:resource/{}/{}:policyName/{name}", of.namespace, of.resource);
    let policy_arn = cx
        .txn(|tx| {
            tx.get::<Target>(cx.scope(), &of.key()).ok_or_else(|| of.lacks("registered scalable target"))?;
            let old = tx.get::<Policy>(cx.scope(), &key);
            if old.is_none() && tx.prefix::<Policy>(cx.scope(), &of.key_of("")).len() >= POLICIES_MAX {
                return Err(limit(format!("A scalable target can have at most {POLICIES_MAX} scaling policies.")));
            }
            let kind = match (&given, old.as_ref().map(|old| &old.kind)) {
                (Some(kind), _) => kind.clone(),
                (None, Some(kind)) => kind.clone(),
                (None, None) => return Err(validation("A policy must have the configuration of its type.")),
            };
            let arn = old.as_ref().map(|old| old.arn.clone());
            let arn = arn.unwrap_or_else(|| Arn::new("autoscaling", cx.scope(), resource.clone()).to_string());
            let created = old.map_or(now, |old| old.created);
            tx.put(cx.scope(), &key, Policy { of: of.clone(), name: name.clone(), arn: arn.clone(), created, kind });
            Ok(arn)
        })
        .await?;
    let alarms = alarms(&cx, &policy_arn).await?;
    Ok(api::PutScalingPolicyOutput { policy_arn, alarms: Some(alarms) })
}

/// What is given; `None` when nothing is, as for a policy that keeps what it has.
fn kind(input: api::PutScalingPolicyInput) -> Result<Option<Kind>> {
    let type_ = input.policy_type.as_deref().unwrap_or(STEP);
    let step = input.step_scaling_policy_configuration;
    let tracking = input.target_tracking_scaling_policy_configuration;
    let predictive = input.predictive_scaling_policy_configuration;
    let given = [
        (STEP, "StepScalingPolicyConfiguration", step.is_some()),
        (TRACKING, "TargetTrackingScalingPolicyConfiguration", tracking.is_some()),
        (PREDICTIVE, "PredictiveScalingPolicyConfiguration", predictive.is_some()),
    ];
    if let Some((_, name, _)) = given.iter().find(|(own, _, given)| *given && *own != type_) {
        return Err(validation(format!("{name} is not valid for policy type {type_}.")));
    }
    Ok(match (step, tracking, predictive) {
        (Some(step), ..) => {
            check_step(&step)?;
            Some(Kind::Step(Kept(step)))
        }
        (_, Some(tracking), _) => {
            check_tracking(&tracking)?;
            Some(Kind::Tracking(Kept(tracking)))
        }
        (.., Some(predictive)) => Some(Kind::Predictive(Kept(predictive))),
        _ => None,
    })
}

fn check_step(config: &api::StepScalingPolicyConfiguration) -> Result<()> {
    if config.adjustment_type.is_none() {
        return Err(validation("AdjustmentType is required for policy type StepScaling."));
    }
    let steps = config.step_adjustments.as_deref().unwrap_or_default();
    if steps.is_empty() {
        return Err(validation("At least one StepAdjustment must be specified."));
    }
    if steps.len() > STEPS_MAX {
        return Err(limit(format!("A policy can have at most {STEPS_MAX} step adjustments.")));
    }
    let low = |step: &api::StepAdjustment| step.metric_interval_lower_bound.unwrap_or(f64::NEG_INFINITY);
    let high = |step: &api::StepAdjustment| step.metric_interval_upper_bound.unwrap_or(f64::INFINITY);
    let mut sorted: Vec<_> = steps.iter().collect();
    sorted.sort_by(|a, b| low(a).total_cmp(&low(b)));
    if sorted.iter().any(|step| low(step) >= high(step)) {
        return Err(validation("The lower bound of a StepAdjustment must be less than its upper bound."));
    }
    if sorted.windows(2).any(|pair| high(pair[0]) > low(pair[1])) {
        return Err(validation("StepAdjustment intervals must not overlap."));
    }
    if sorted.windows(2).any(|pair| high(pair[0]) < low(pair[1])) {
        return Err(validation("There must not be a gap between StepAdjustment intervals."));
    }
    Ok(())
}

fn check_tracking(config: &api::TargetTrackingScalingPolicyConfiguration) -> Result<()> {
    if config.predefined_metric_specification.is_some() == config.customized_metric_specification.is_some() {
        return Err(validation(
            "A target tracking configuration must have either PredefinedMetricSpecification or \
             CustomizedMetricSpecification, but not both.",
        ));
    }
    if !(config.target_value.is_finite() && config.target_value > 0.0) {
        return Err(validation(format!("TargetValue {} must be greater than 0.", config.target_value)));
    }
    let cooldowns = [("ScaleOutCooldown", config.scale_out_cooldown), ("ScaleInCooldown", config.scale_in_cooldown)];
    match cooldowns.iter().find(|(_, seconds)| seconds.is_some_and(|seconds| seconds < 0)) {
        Some((name, _)) => Err(validation(format!("{name} must not be negative."))),
        None => Ok(()),
    }
}

pub async fn delete(cx: Cx, input: api::DeleteScalingPolicyInput) -> Result<api::DeleteScalingPolicyOutput> {
    let of = Dimension::new(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let key = of.key_of(&input.policy_name);
    cx.txn(|tx| {
        tx.get::<Policy>(cx.scope(), &key)
            .ok_or_else(|| of.lacks(&format!("scaling policy named {}", input.policy_name)))?;
        tx.delete::<Policy>(cx.scope(), &key);
        Ok(())
    })
    .await?;
    Ok(api::DeleteScalingPolicyOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeScalingPoliciesInput) -> Result<api::DescribeScalingPoliciesOutput> {
    let asked = Asked::new(input.service_namespace, input.resource_id, input.scalable_dimension)?;
    let names = input.policy_names.unwrap_or_default();
    let mut rows = cx.view(|view| view.list::<Policy>(cx.scope()));
    let wanted = |policy: &Policy| names.is_empty() || names.contains(&policy.name) || names.contains(&policy.arn);
    rows.retain(|(_, policy)| policy.of.fits(&asked) && wanted(policy));
    let page = paged(rows, input.max_results, input.next_token.as_deref())?;
    let mut policies = Vec::new();
    for (_, policy) in &page.items {
        policies.push(shape(policy, alarms(&cx, &policy.arn).await?));
    }
    Ok(api::DescribeScalingPoliciesOutput { scaling_policies: Some(policies), next_token: page.next })
}

/// The alarms that ask this policy.
async fn alarms(cx: &Cx, policy: &str) -> Result<Vec<api::Alarm>> {
    let input = cw::DescribeAlarmsInput { action_prefix: Some(policy.to_owned()), ..Default::default() };
    let found = cx.call(cw::DescribeAlarms, input).await?.metric_alarms.unwrap_or_default();
    let alarm = |own: cw::MetricAlarm| Some(api::Alarm { alarm_name: own.alarm_name?, alarm_arn: own.alarm_arn? });
    Ok(found.into_iter().filter_map(alarm).collect())
}

fn shape(policy: &Policy, alarms: Vec<api::Alarm>) -> api::ScalingPolicy {
    let mut shape = api::ScalingPolicy {
        policy_arn: policy.arn.clone(),
        policy_name: policy.name.clone(),
        service_namespace: policy.of.namespace.clone(),
        resource_id: policy.of.resource.clone(),
        scalable_dimension: policy.of.dimension.clone(),
        alarms: Some(alarms),
        creation_time: policy.created,
        ..Default::default()
    };
    let type_ = match &policy.kind {
        Kind::Step(config) => {
            shape.step_scaling_policy_configuration = Some(config.0.clone());
            STEP
        }
        Kind::Tracking(config) => {
            shape.target_tracking_scaling_policy_configuration = Some(config.0.clone());
            TRACKING
        }
        Kind::Predictive(config) => {
            shape.predictive_scaling_policy_configuration = Some(config.0.clone());
            PREDICTIVE
        }
    };
    shape.policy_type = type_.to_owned();
    shape
}
