//! Scalable targets: registered, deregistered, described.

use standfast_api::application_autoscaling as api;
use standfast_core::{Arn, Result};
use standfast_kernel::Cx;

use super::policies::Policy;
use super::schedules::Scheduled;
use super::{Asked, Dimension, Target, limit, paged, tags, validation};

/// Targets of an account in a region.
const TARGETS_MAX: usize = 5000;
const ID_DIGITS: usize = 36;
/// The roles by which the service acts, where they are not called like their service.
const ROLES: &[(&str, &str)] = &[
    ("appstream", "ApplicationAutoScaling_AppStreamFleet"),
    ("cassandra", "ApplicationAutoScaling_CassandraTable"),
    ("comprehend", "ApplicationAutoScaling_ComprehendEndpoint"),
    ("custom-resource", "ApplicationAutoScaling_CustomResource"),
    ("dynamodb", "ApplicationAutoScaling_DynamoDBTable"),
    ("ec2", "ApplicationAutoScaling_EC2SpotFleetRequest"),
    ("ecs", "ApplicationAutoScaling_ECSService"),
    ("elasticache", "ApplicationAutoScaling_ElastiCacheRG"),
    ("elasticmapreduce", "ApplicationAutoScaling_EMRContainer"),
    ("kafka", "ApplicationAutoScaling_KafkaCluster"),
    ("lambda", "ApplicationAutoScaling_LambdaConcurrency"),
    ("neptune", "ApplicationAutoScaling_NeptuneCluster"),
    ("rds", "ApplicationAutoScaling_RDSCluster"),
    ("sagemaker", "ApplicationAutoScaling_SageMakerEndpoint"),
    ("workspaces", "ApplicationAutoScaling_WorkSpacesPool"),
];

pub async fn register(cx: Cx, input: api::RegisterScalableTargetInput) -> Result<api::RegisterScalableTargetOutput> {
    let of = Dimension::new(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let given = input.tags.clone().unwrap_or_default();
    tags::check(&given)?;
    let (now, id) = (cx.now(), cx.rng().hex(ID_DIGITS));
    let scalable_target_arn = cx
        .txn(|tx| {
            let old = tx.get::<Target>(cx.scope(), &of.key());
            if old.is_some() && !given.is_empty() {
                return Err(validation(
                    "Tags can only be specified when a scalable target is registered first; use TagResource.",
                ));
            }
            if old.is_none() && tx.count::<Target>(cx.scope()) >= TARGETS_MAX {
                return Err(limit(format!("At most {TARGETS_MAX} scalable targets are allowed.")));
            }
            let bound = |given: Option<i32>, old: Option<i32>, name: &str| {
                let missing = || validation(format!("{name} is required when a scalable target is registered first."));
                let bound = given.or(old).ok_or_else(missing)?;
                if bound < 0 {
                    Err(validation(format!("{name} must not be negative; it is {bound}.")))
                } else {
                    Ok(bound)
                }
            };
            let min = bound(input.min_capacity, old.as_ref().map(|old| old.min), "MinCapacity")?;
            let max = bound(input.max_capacity, old.as_ref().map(|old| old.max), "MaxCapacity")?;
            if max < min {
                return Err(validation(format!(
                    "Maximum capacity cannot be less than minimum capacity: {max} is less than {min}."
                )));
            }
            let new = || Target {
                of: of.clone(),
                arn: Arn::new("application-autoscaling", cx.scope(), format!("scalable-target/{id}")).to_string(),
                min,
                max,
                role: role(&cx, &of.namespace),
                created: now,
                suspended: (false, false, false),
                tags: given.clone(),
            };
            let mut target = old.map_or_else(new, |old| (*old).clone());
            (target.min, target.max) = (min, max);
            if let Some(role) = &input.role_arn {
                target.role.clone_from(role);
            }
            if let Some(state) = &input.suspended_state {
                let (scale_in, scale_out, schedules) = target.suspended;
                target.suspended = (
                    state.dynamic_scaling_in_suspended.unwrap_or(scale_in),
                    state.dynamic_scaling_out_suspended.unwrap_or(scale_out),
                    state.scheduled_scaling_suspended.unwrap_or(schedules),
                );
            }
            let arn = target.arn.clone();
            tx.put(cx.scope(), &of.key(), target);
            Ok(arn)
        })
        .await?;
    Ok(api::RegisterScalableTargetOutput { scalable_target_arn: Some(scalable_target_arn) })
}

fn role(cx: &Cx, namespace: &str) -> String {
    let own = ROLES.iter().find(|(own, _)| *own == namespace).map_or("ApplicationAutoScaling", |(_, role)| role);
    let resource =
        format!("role/aws-service-role/{namespace}.application-autoscaling.amazonaws.com/AWSServiceRoleFor{own}");
    Arn::global("iam", cx.account(), resource).to_string()
}

pub async fn deregister(
    cx: Cx,
    input: api::DeregisterScalableTargetInput,
) -> Result<api::DeregisterScalableTargetOutput> {
    let of = Dimension::new(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    cx.txn(|tx| {
        let key = of.key();
        tx.get::<Target>(cx.scope(), &key).ok_or_else(|| of.lacks("scalable target"))?;
        tx.delete::<Target>(cx.scope(), &key);
        for (key, _) in tx.prefix::<Policy>(cx.scope(), &of.key_of("")) {
            tx.delete::<Policy>(cx.scope(), &key);
        }
        for (key, _) in tx.prefix::<Scheduled>(cx.scope(), &of.key_of("")) {
            tx.delete::<Scheduled>(cx.scope(), &key);
        }
        Ok(())
    })
    .await?;
    Ok(api::DeregisterScalableTargetOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeScalableTargetsInput) -> Result<api::DescribeScalableTargetsOutput> {
    let ids = input.resource_ids.unwrap_or_default();
    if input.scalable_dimension.is_some() && ids.is_empty() {
        return Err(validation("ResourceIds must be specified where ScalableDimension is."));
    }
    let asked = Asked { namespace: input.service_namespace, resource: None, dimension: input.scalable_dimension };
    let mut rows = cx.view(|view| view.list::<Target>(cx.scope()));
    rows.retain(|(_, target)| target.of.fits(&asked) && (ids.is_empty() || ids.contains(&target.of.resource)));
    let page = paged(rows, input.max_results, input.next_token.as_deref())?;
    let targets = page.items.iter().map(|(_, target)| shape(target)).collect();
    Ok(api::DescribeScalableTargetsOutput { scalable_targets: Some(targets), next_token: page.next })
}

fn shape(target: &Target) -> api::ScalableTarget {
    let (scale_in, scale_out, schedules) = target.suspended;
    api::ScalableTarget {
        service_namespace: target.of.namespace.clone(),
        resource_id: target.of.resource.clone(),
        scalable_dimension: target.of.dimension.clone(),
        min_capacity: target.min,
        max_capacity: target.max,
        predicted_capacity: None,
        role_arn: target.role.clone(),
        creation_time: target.created,
        suspended_state: Some(api::SuspendedState {
            dynamic_scaling_in_suspended: Some(scale_in),
            dynamic_scaling_out_suspended: Some(scale_out),
            scheduled_scaling_suspended: Some(schedules),
        }),
        scalable_target_arn: Some(target.arn.clone()),
    }
}
