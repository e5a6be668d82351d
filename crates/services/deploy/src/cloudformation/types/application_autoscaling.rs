//! Scalable targets of Application Auto Scaling, and their policies.

use serde_json::{Map, Value, json};
use standfast_api::application_autoscaling as api;
use standfast_core::Result;

use super::ec2_network::{ready, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State};
use crate::cloudformation::errors;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::ApplicationAutoScaling::ScalableTarget",
        required: &["MaxCapacity", "MinCapacity", "ResourceId", "ScalableDimension", "ServiceNamespace"],
        replaced: &["ResourceId", "ScalableDimension", "ServiceNamespace"],
        updated: &["MaxCapacity", "MinCapacity", "RoleARN", "ScheduledActions", "SuspendedState"],
        attributes: &["Id"],
        create: |job| Box::pin(register(job)),
        equip: |job| Box::pin(schedule(job)),
        read: |job| Box::pin(read_target(job)),
        update: |job| Box::pin(update_target(job)),
        delete: |job| Box::pin(deregister(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::ApplicationAutoScaling::ScalingPolicy",
        required: &["PolicyName", "PolicyType"],
        replaced: &["PolicyName", "ResourceId", "ScalableDimension", "ScalingTargetId", "ServiceNamespace"],
        updated: &[
            "PolicyType",
            "PredictiveScalingPolicyConfiguration",
            "StepScalingPolicyConfiguration",
            "TargetTrackingScalingPolicyConfiguration",
        ],
        attributes: &["Arn"],
        create: |job| Box::pin(put_policy(job)),
        read: |job| Box::pin(read_policy(job)),
        update: |job| Box::pin(async { put_policy(job).await.map(drop) }),
        delete: |job| Box::pin(delete_policy(job)),
        ..BASE
    },
];

const OF: [&str; 3] = ["ResourceId", "ScalableDimension", "ServiceNamespace"];

/// The physical id of a target: `service/a/b|ecs:service:DesiredCount|ecs`.
async fn register(job: &Job) -> Result<String> {
    job.ask(api::RegisterScalableTarget, job.without(&["ScheduledActions"]).into()).await?;
    let [resource, dimension, namespace] = OF.map(|name| job.need(name));
    Ok(format!("{}|{}|{}", resource?, dimension?, namespace?))
}

async fn schedule(job: &Job) -> Result<()> {
    for action in job.get("ScheduledActions").and_then(Value::as_array).into_iter().flatten() {
        let mut input = job.only(&OF);
        input.extend(action.as_object().cloned().unwrap_or_default());
        job.ask(api::PutScheduledAction, input.into()).await?;
    }
    Ok(())
}

async fn read_target(job: &Job) -> Result<State> {
    let mut input = job.only(&OF[1..]);
    input.insert("ResourceIds".into(), json!([job.need(OF[0])?]));
    match job.look(api::DescribeScalableTargets, input.into(), "ScalableTargets").await? {
        Some(_) => Ok(ready(json!({"Id": job.id()}))),
        None => Ok(vanished(job)),
    }
}

async fn update_target(job: &Job) -> Result<()> {
    register(job).await?;
    let old = job.old.as_ref().and_then(|old| old.evaluated.properties.get("ScheduledActions"));
    let names = |list: Option<&Value>| -> Vec<Value> {
        list.and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|action| action["ScheduledActionName"].clone())
            .collect()
    };
    let kept = names(job.get("ScheduledActions"));
    for gone in names(old).into_iter().filter(|name| !kept.contains(name)) {
        let mut input = job.only(&OF);
        input.insert("ScheduledActionName".into(), gone);
        job.forget(api::DeleteScheduledAction, input.into()).await?;
    }
    schedule(job).await
}

async fn deregister(job: &Job) -> Result<bool> {
    job.forget(api::DeregisterScalableTarget, job.only(&OF).into()).await.map(|_| true)
}

/// Which target a policy is of: by its id, or by its three parts.
fn of(job: &Job) -> Result<Map<String, Value>> {
    let Some(id) = job.text("ScalingTargetId") else { return Ok(job.only(&OF)) };
    let parts: Vec<&str> = id.split('|').collect();
    if parts.len() != OF.len() {
        return Err(errors::property(format!("Value of property ScalingTargetId is no scalable target: {id}")));
    }
    Ok(OF.iter().zip(parts).map(|(name, part)| ((*name).to_owned(), part.into())).collect())
}

async fn put_policy(job: &Job) -> Result<String> {
    let mut input = job.without(&["ScalingTargetId"]);
    input.extend(of(job)?);
    let answer = job.ask(api::PutScalingPolicy, input.into()).await?;
    said(&answer, "/PolicyARN")
}

async fn read_policy(job: &Job) -> Result<State> {
    let mut input = of(job)?;
    input.insert("PolicyNames".into(), json!([job.id()]));
    match job.look(api::DescribeScalingPolicies, input.into(), "ScalingPolicies").await? {
        Some(found) => Ok(ready(json!({"Arn": found["PolicyARN"]}))),
        None => Ok(vanished(job)),
    }
}

async fn delete_policy(job: &Job) -> Result<bool> {
    let mut input = of(job)?;
    input.insert("PolicyName".into(), job.need("PolicyName")?.into());
    job.forget(api::DeleteScalingPolicy, input.into()).await.map(|_| true)
}
