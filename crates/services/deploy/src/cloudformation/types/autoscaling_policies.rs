//! What scales Auto Scaling groups: policies and scheduled actions.

use serde_json::{Map, Value, json};
use standfast_api::autoscaling as api;
use standfast_core::Result;

use super::ec2_network::{ready, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State};

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::AutoScaling::ScalingPolicy",
        required: &["AutoScalingGroupName"],
        replaced: &["AutoScalingGroupName"],
        updated: &[
            "AdjustmentType",
            "Cooldown",
            "EstimatedInstanceWarmup",
            "MetricAggregationType",
            "MinAdjustmentMagnitude",
            "PolicyType",
            "PredictiveScalingConfiguration",
            "ScalingAdjustment",
            "StepAdjustments",
            "TargetTrackingConfiguration",
        ],
        attributes: &["Arn", "PolicyName"],
        create: |job| Box::pin(put_policy(job)),
        read: |job| Box::pin(read_policy(job)),
        update: |job| Box::pin(async { put_policy(job).await.map(drop) }),
        delete: |job| Box::pin(delete_policy(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::AutoScaling::ScheduledAction",
        required: &["AutoScalingGroupName"],
        replaced: &["AutoScalingGroupName"],
        updated: &["DesiredCapacity", "EndTime", "MaxSize", "MinSize", "Recurrence", "StartTime", "TimeZone"],
        attributes: &["ScheduledActionName"],
        create: |job| Box::pin(put_schedule(job)),
        read: |job| Box::pin(read_schedule(job)),
        update: |job| Box::pin(async { put_schedule(job).await.map(drop) }),
        delete: |job| Box::pin(delete_schedule(job)),
        ..BASE
    },
];

const NAME_CHARS_MAX: usize = 255;

/// The name is a generated one, and the physical id the ARN.
async fn put_policy(job: &Job) -> Result<String> {
    let mut input: Map<String, Value> = job.properties().clone();
    input.insert("PolicyName".into(), job.name("PolicyName", NAME_CHARS_MAX).into());
    let answer = job.ask(api::PutScalingPolicy, input.into()).await?;
    said(&answer, "/PolicyARN")
}

async fn read_policy(job: &Job) -> Result<State> {
    let input = json!({"PolicyNames": [job.id()]});
    let Some(found) = job.look(api::DescribePolicies, input, "ScalingPolicies").await? else {
        return Ok(vanished(job));
    };
    Ok(ready(json!({"Arn": found["PolicyARN"], "PolicyName": found["PolicyName"]})))
}

async fn delete_policy(job: &Job) -> Result<bool> {
    job.forget(api::DeletePolicy, json!({"PolicyName": job.id()})).await.map(|_| true)
}

async fn put_schedule(job: &Job) -> Result<String> {
    let name = job.name("ScheduledActionName", NAME_CHARS_MAX);
    let mut input: Map<String, Value> = job.properties().clone();
    input.insert("ScheduledActionName".into(), name.clone().into());
    job.ask(api::PutScheduledUpdateGroupAction, input.into()).await?;
    Ok(name)
}

/// An action that has run for the last time is gone, and its resource as good as before.
async fn read_schedule(job: &Job) -> Result<State> {
    Ok(ready(json!({"ScheduledActionName": job.id()})))
}

async fn delete_schedule(job: &Job) -> Result<bool> {
    let group = job.need("AutoScalingGroupName")?;
    let input = json!({"AutoScalingGroupName": group, "ScheduledActionName": job.id()});
    job.forget(api::DeleteScheduledAction, input).await.map(|_| true)
}
