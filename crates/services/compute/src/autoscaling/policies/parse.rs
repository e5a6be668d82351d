//! PutScalingPolicy's input, checked: what each kind of policy needs and refuses.

use standfast_api::autoscaling as api;
use standfast_core::{Error, Result, Rng};

use super::super::errors::{self, validation};
use super::predictive::{self, Predictive};
use super::scale::{self, Adjusts, Step};
use super::tracking::{self, Tracking};
use super::{Adjustment, Kind, Policy};
use crate::kept::Kept;

pub const SIMPLE: &str = "SimpleScaling";
pub const STEP: &str = "StepScaling";
pub const TRACKING: &str = "TargetTrackingScaling";
pub const PREDICTIVE: &str = "PredictiveScaling";
const STEPS_MAX: usize = 20;
const NAME_MAX: usize = 255;
const AGGREGATIONS: [&str; 3] = ["Average", "Minimum", "Maximum"];

/// The policy without its ARN.
pub fn policy(input: &api::PutScalingPolicyInput, rng: &Rng) -> Result<Policy> {
    let name = &input.policy_name;
    if name.is_empty() || name.chars().count() > NAME_MAX {
        return Err(validation(format!("PolicyName '{name}' must have 1 to {NAME_MAX} characters.")));
    }
    let kind = match input.policy_type.as_deref().unwrap_or(SIMPLE) {
        SIMPLE => simple(input)?,
        STEP => step(input)?,
        TRACKING => track(input, rng)?,
        PREDICTIVE => predict(input)?,
        other => return Err(validation(format!("Invalid PolicyType: {other}"))),
    };
    let enabled = input.enabled.unwrap_or(true);
    Ok(Policy { group: input.auto_scaling_group_name.clone(), name: name.clone(), arn: String::new(), enabled, kind })
}

/// A parameter that only other kinds of policies have.
fn foreign(name: &str, type_: &str) -> Error {
    validation(format!("{name} is not valid for policy type {type_}"))
}

fn refuse(type_: &str, given: &[(&str, bool)]) -> Result<()> {
    given.iter().find(|(_, given)| *given).map_or(Ok(()), |(name, _)| Err(foreign(name, type_)))
}

fn has_steps(input: &api::PutScalingPolicyInput) -> bool {
    input.step_adjustments.as_ref().is_some_and(|steps| !steps.is_empty())
}

fn adjustment(input: &api::PutScalingPolicyInput, type_: &str) -> Result<Adjustment> {
    let given = input.adjustment_type.as_deref();
    let given = given.ok_or_else(|| validation(format!("AdjustmentType is required for policy type {type_}")))?;
    let how = Adjusts::named(given).ok_or_else(|| validation(format!("Invalid AdjustmentType: {given}")))?;
    let (least, least_step) = (input.min_adjustment_magnitude, input.min_adjustment_step);
    if least.is_some_and(|least| least < 0) {
        return Err(validation("MinAdjustmentMagnitude must not be negative"));
    }
    if how != Adjusts::Percent && least.or(least_step).is_some() {
        return Err(validation("MinAdjustmentMagnitude is only valid with AdjustmentType PercentChangeInCapacity"));
    }
    Ok(Adjustment { how, least, least_step })
}

fn warmup(input: &api::PutScalingPolicyInput) -> Result<Option<i32>> {
    match input.estimated_instance_warmup {
        Some(seconds) if seconds < 0 => {
            Err(validation(format!("EstimatedInstanceWarmup must not be negative; it is {seconds}")))
        }
        given => Ok(given),
    }
}

fn simple(input: &api::PutScalingPolicyInput) -> Result<Kind> {
    let adjusts = adjustment(input, SIMPLE)?;
    refuse(
        SIMPLE,
        &[
            ("StepAdjustments", has_steps(input)),
            ("EstimatedInstanceWarmup", input.estimated_instance_warmup.is_some()),
            ("MetricAggregationType", input.metric_aggregation_type.is_some()),
            ("TargetTrackingConfiguration", input.target_tracking_configuration.is_some()),
            ("PredictiveScalingConfiguration", input.predictive_scaling_configuration.is_some()),
        ],
    )?;
    if input.cooldown.is_some_and(|seconds| seconds < 0) {
        return Err(validation("Cooldown must not be negative"));
    }
    let amount = input.scaling_adjustment;
    let amount = amount.ok_or_else(|| validation("ScalingAdjustment is required for policy type SimpleScaling"))?;
    Ok(Kind::Simple { adjusts, amount, cooldown_s: input.cooldown })
}

fn step(input: &api::PutScalingPolicyInput) -> Result<Kind> {
    let adjusts = adjustment(input, STEP)?;
    refuse(
        STEP,
        &[
            ("ScalingAdjustment", input.scaling_adjustment.is_some()),
            ("Cooldown", input.cooldown.is_some()),
            ("TargetTrackingConfiguration", input.target_tracking_configuration.is_some()),
            ("PredictiveScalingConfiguration", input.predictive_scaling_configuration.is_some()),
        ],
    )?;
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
    let aggregation = input.metric_aggregation_type.clone().unwrap_or_else(|| AGGREGATIONS[0].into());
    if !AGGREGATIONS.contains(&aggregation.as_str()) {
        return Err(validation(format!("Invalid MetricAggregationType: {aggregation}")));
    }
    Ok(Kind::Step { adjusts, steps, aggregation, warmup_s: warmup(input)? })
}

/// Whatever simple and step policies alone have.
fn refuse_adjustments(input: &api::PutScalingPolicyInput, type_: &str) -> Result<()> {
    refuse(
        type_,
        &[
            ("AdjustmentType", input.adjustment_type.is_some()),
            ("MinAdjustmentMagnitude", input.min_adjustment_magnitude.is_some()),
            ("MinAdjustmentStep", input.min_adjustment_step.is_some()),
            ("ScalingAdjustment", input.scaling_adjustment.is_some()),
            ("Cooldown", input.cooldown.is_some()),
            ("MetricAggregationType", input.metric_aggregation_type.is_some()),
            ("StepAdjustments", has_steps(input)),
        ],
    )
}

fn track(input: &api::PutScalingPolicyInput, rng: &Rng) -> Result<Kind> {
    refuse_adjustments(input, TRACKING)?;
    refuse(TRACKING, &[("PredictiveScalingConfiguration", input.predictive_scaling_configuration.is_some())])?;
    let config = input.target_tracking_configuration.as_ref();
    let config = config
        .ok_or_else(|| validation(format!("TargetTrackingConfiguration is required for policy type {TRACKING}")))?;
    tracking::check(config)?;
    Ok(Kind::Tracking(Tracking::new(&input.auto_scaling_group_name, config.clone(), warmup(input)?, rng)))
}

fn predict(input: &api::PutScalingPolicyInput) -> Result<Kind> {
    refuse_adjustments(input, PREDICTIVE)?;
    refuse(
        PREDICTIVE,
        &[
            ("EstimatedInstanceWarmup", input.estimated_instance_warmup.is_some()),
            ("TargetTrackingConfiguration", input.target_tracking_configuration.is_some()),
        ],
    )?;
    let config = input.predictive_scaling_configuration.as_ref();
    let config = config.ok_or_else(|| {
        validation(format!("PredictiveScalingConfiguration is required for policy type {PREDICTIVE}"))
    })?;
    predictive::check(config)?;
    Ok(Kind::Predictive(Predictive { config: Kept(config.clone()) }))
}
