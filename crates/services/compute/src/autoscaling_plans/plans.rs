//! Plans: created, updated, deleted, described. `apply` makes of them what they say.

use std::collections::BTreeSet;

use standfast_api::autoscaling_plans as api;
use standfast_core::page::{Page, page};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;
use standfast_store::View;

use super::{Outcome, Plan, Scaling, Status, VERSION, not_found, policies, validation};
use crate::kept::Kept;

/// Plans of an account in a region, instructions of a plan, and configurations of an instruction.
const PLANS_MAX: usize = 100;
const INSTRUCTIONS_MAX: usize = 500;
const CONFIGURATIONS_MAX: usize = 10;
const PAGE_MAX: i32 = 50;
const NAME_MAX: usize = 128;

pub async fn create(cx: Cx, input: api::CreateScalingPlanInput) -> Result<api::CreateScalingPlanOutput> {
    let (name, now) = (&input.scaling_plan_name, cx.now());
    if name.is_empty() || name.chars().count() > NAME_MAX || name.contains(['|', ':', '/']) {
        return Err(validation(format!(
            "ScalingPlanName '{name}' must have 1 to {NAME_MAX} characters and no |, : or /."
        )));
    }
    check_source(&input.application_source)?;
    check(&input.scaling_instructions)?;
    cx.txn(|tx| {
        let plans = tx.list::<Plan>(cx.scope());
        if plans.iter().any(|(own, _)| **own == **name) {
            return Err(validation(format!("A scaling plan with the name {name} already exists.")));
        }
        if let Some((other, _)) = plans.iter().find(|(_, plan)| plan.source.0 == input.application_source) {
            return Err(validation(format!("The application source is already used by the scaling plan {other}.")));
        }
        if plans.len() >= PLANS_MAX {
            return Err(Error::client(
                "LimitExceededException",
                format!("At most {PLANS_MAX} scaling plans are allowed."),
            ));
        }
        let plan = Plan {
            source: Kept(input.application_source.clone()),
            instructions: input.scaling_instructions.iter().cloned().map(Kept).collect(),
            status: Status::Creating,
            message: None,
            created: now,
            since: now,
            made: Vec::new(),
            outcomes: Vec::new(),
        };
        tx.put(cx.scope(), name, plan);
        Ok(())
    })
    .await?;
    Ok(api::CreateScalingPlanOutput { scaling_plan_version: VERSION })
}

fn check_source(source: &api::ApplicationSource) -> Result<()> {
    let filters = source.tag_filters.as_ref().is_some_and(|filters| !filters.is_empty());
    if source.cloud_formation_stack_arn.is_some() == filters {
        return Err(validation("ApplicationSource must have either CloudFormationStackARN or TagFilters."));
    }
    Ok(())
}

fn check(instructions: &[api::ScalingInstruction]) -> Result<()> {
    if instructions.is_empty() || instructions.len() > INSTRUCTIONS_MAX {
        let count = instructions.len();
        return Err(validation(format!(
            "ScalingInstructions must have 1 to {INSTRUCTIONS_MAX} members; it has {count}."
        )));
    }
    let mut seen = BTreeSet::new();
    for own in instructions {
        let id = &own.resource_id;
        if !seen.insert((&own.service_namespace, id, &own.scalable_dimension)) {
            return Err(validation(format!("The resource {id} is in more than one scaling instruction.")));
        }
        if own.min_capacity < 0 || own.max_capacity < own.min_capacity {
            return Err(validation(format!(
                "MinCapacity {} and MaxCapacity {} of {id} must not be negative, and the maximum not less than the minimum.",
                own.min_capacity, own.max_capacity
            )));
        }
        let count = own.target_tracking_configurations.len();
        if count == 0 || count > CONFIGURATIONS_MAX {
            return Err(validation(format!(
                "TargetTrackingConfigurations of {id} must have 1 to {CONFIGURATIONS_MAX} members; it has {count}."
            )));
        }
        for config in &own.target_tracking_configurations {
            let (predefined, custom) =
                (&config.predefined_scaling_metric_specification, &config.customized_scaling_metric_specification);
            if predefined.is_some() == custom.is_some() {
                return Err(validation(format!(
                    "A target tracking configuration of {id} must have either PredefinedScalingMetricSpecification or \
                     CustomizedScalingMetricSpecification."
                )));
            }
        }
    }
    Ok(())
}

/// The plan that is named, if it is of this version.
pub fn named(view: &View, cx: &Cx, name: &str, version: i64) -> Result<Plan> {
    let plan = view.get::<Plan>(cx.scope(), name).filter(|_| version == VERSION);
    Ok((*plan.ok_or_else(|| not_found(name))?).clone())
}

fn check_idle(name: &str, plan: &Plan) -> Result<()> {
    match plan.status {
        Status::Active | Status::ActiveWithProblems => Ok(()),
        status => {
            let message = format!("The scaling plan {name} is in status {}.", status.name());
            Err(Error::client("ConcurrentUpdateException", message))
        }
    }
}

pub async fn update(cx: Cx, input: api::UpdateScalingPlanInput) -> Result<api::UpdateScalingPlanOutput> {
    let (name, now) = (&input.scaling_plan_name, cx.now());
    input.application_source.as_ref().map(check_source).transpose()?;
    input.scaling_instructions.as_deref().map(check).transpose()?;
    cx.txn(|tx| {
        let mut plan = named(tx, &cx, name, input.scaling_plan_version)?;
        check_idle(name, &plan)?;
        if let Some(source) = &input.application_source {
            plan.source = Kept(source.clone());
        }
        if let Some(instructions) = &input.scaling_instructions {
            plan.instructions = instructions.iter().cloned().map(Kept).collect();
        }
        (plan.status, plan.message, plan.since) = (Status::Updating, None, now);
        tx.put(cx.scope(), name, plan);
        Ok(())
    })
    .await?;
    Ok(api::UpdateScalingPlanOutput {})
}

pub async fn delete(cx: Cx, input: api::DeleteScalingPlanInput) -> Result<api::DeleteScalingPlanOutput> {
    let (name, now) = (&input.scaling_plan_name, cx.now());
    cx.txn(|tx| {
        let mut plan = named(tx, &cx, name, input.scaling_plan_version)?;
        (plan.status, plan.message, plan.since) = (Status::Deleting, None, now);
        tx.put(cx.scope(), name, plan);
        Ok(())
    })
    .await?;
    Ok(api::DeleteScalingPlanOutput {})
}

fn paged<T>(rows: Vec<(String, T)>, max: Option<i32>, token: Option<&str>) -> Result<Page<(String, T)>> {
    let limit = max.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(validation(format!("MaxResults must be from 1 to {PAGE_MAX}; it is {limit}.")));
    }
    page(rows, |(key, _)| key.clone(), token, limit as usize, "InvalidNextTokenException")
}

pub async fn describe(cx: Cx, input: api::DescribeScalingPlansInput) -> Result<api::DescribeScalingPlansOutput> {
    let (names, sources) =
        (input.scaling_plan_names.unwrap_or_default(), input.application_sources.unwrap_or_default());
    let rows = cx.view(|view| view.list::<Plan>(cx.scope()));
    let rows = rows.into_iter().filter(|(name, plan)| {
        (names.is_empty() || names.iter().any(|own| **own == **name))
            && input.scaling_plan_version.is_none_or(|version| version == VERSION)
            && (sources.is_empty() || sources.contains(&plan.source.0))
    });
    let rows = rows.map(|(name, plan)| (name.to_string(), plan)).collect();
    let page = paged(rows, input.max_results, input.next_token.as_deref())?;
    let plans = page.items.iter().map(|(name, plan)| api::ScalingPlan {
        scaling_plan_name: name.clone(),
        scaling_plan_version: VERSION,
        application_source: plan.source.0.clone(),
        scaling_instructions: plan.instructions.iter().map(|own| own.0.clone()).collect(),
        status_code: plan.status.name().into(),
        status_message: plan.message.clone(),
        status_start_time: Some(plan.since),
        creation_time: Some(plan.created),
    });
    Ok(api::DescribeScalingPlansOutput { scaling_plans: Some(plans.collect()), next_token: page.next })
}

pub async fn describe_resources(
    cx: Cx,
    input: api::DescribeScalingPlanResourcesInput,
) -> Result<api::DescribeScalingPlanResourcesOutput> {
    let name = &input.scaling_plan_name;
    let plan = cx.view(|view| named(view, &cx, name, input.scaling_plan_version))?;
    let rows = plan.instructions.iter().enumerate();
    let rows = rows.map(|(at, own)| (format!("{at:04}"), resource(name, &plan, &own.0, plan.outcomes.get(at))));
    let page = paged(rows.collect(), input.max_results, input.next_token.as_deref())?;
    let resources = page.items.into_iter().map(|(_, resource)| resource).collect();
    Ok(api::DescribeScalingPlanResourcesOutput { scaling_plan_resources: Some(resources), next_token: page.next })
}

fn resource(
    name: &str,
    plan: &Plan,
    own: &api::ScalingInstruction,
    outcome: Option<&Outcome>,
) -> api::ScalingPlanResource {
    let group = policies::group(own).unwrap_or_default();
    let configs = own.target_tracking_configurations.iter().enumerate();
    let made = configs.filter_map(|(at, config)| {
        let policy = policies::tracking_name(name, at);
        let is_made = plan.made.iter().any(|(own, made)| own == group && *made == policy);
        is_made.then(|| api::ScalingPolicy {
            policy_name: policy,
            policy_type: "TargetTrackingScaling".into(),
            target_tracking_configuration: Some(config.clone()),
        })
    });
    api::ScalingPlanResource {
        scaling_plan_name: name.to_owned(),
        scaling_plan_version: VERSION,
        service_namespace: own.service_namespace.clone(),
        resource_id: own.resource_id.clone(),
        scalable_dimension: own.scalable_dimension.clone(),
        scaling_policies: Some(made.collect()),
        scaling_status_code: outcome.map_or(Scaling::Inactive, |outcome| outcome.status).name().into(),
        scaling_status_message: outcome.and_then(|outcome| outcome.message.clone()),
    }
}
