//! Alarms, dashboards and anomaly detectors.

use serde_json::{Value, json};
use standfast_api::cloudwatch as api;
use standfast_core::Result;

use super::ec2_network::{identified, ready, vanished};
use super::job::{Job, STACK_ID_TAG, as_list};
use super::values::document;
use super::{BASE, ResourceType, State};

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::CloudWatch::Alarm",
        required: &["ComparisonOperator", "EvaluationPeriods"],
        replaced: &["AlarmName"],
        updated: &[
            "ActionsEnabled",
            "AlarmActions",
            "AlarmDescription",
            "ComparisonOperator",
            "DatapointsToAlarm",
            "Dimensions",
            "EvaluateLowSampleCountPercentile",
            "EvaluationPeriods",
            "ExtendedStatistic",
            "InsufficientDataActions",
            "MetricName",
            "Metrics",
            "Namespace",
            "OKActions",
            "Period",
            "Statistic",
            "Tags",
            "Threshold",
            "ThresholdMetricId",
            "TreatMissingData",
            "Unit",
        ],
        attributes: &["Arn"],
        create: |job| Box::pin(create_alarm(job, false)),
        find: |job| Box::pin(find_alarm(job)),
        read: |job| Box::pin(read_alarm(job)),
        update: |job| Box::pin(update_alarm(job, false)),
        delete: |job| Box::pin(delete_alarm(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::CloudWatch::CompositeAlarm",
        required: &["AlarmRule"],
        replaced: &["AlarmName"],
        updated: &[
            "ActionsEnabled",
            "ActionsSuppressor",
            "ActionsSuppressorExtensionPeriod",
            "ActionsSuppressorWaitPeriod",
            "AlarmActions",
            "AlarmDescription",
            "AlarmRule",
            "InsufficientDataActions",
            "OKActions",
            "Tags",
        ],
        attributes: &["Arn"],
        create: |job| Box::pin(create_alarm(job, true)),
        find: |job| Box::pin(find_alarm(job)),
        read: |job| Box::pin(read_alarm(job)),
        update: |job| Box::pin(update_alarm(job, true)),
        delete: |job| Box::pin(delete_alarm(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::CloudWatch::Dashboard",
        required: &["DashboardBody"],
        replaced: &["DashboardName"],
        updated: &["DashboardBody"],
        create: |job| Box::pin(create_dashboard(job)),
        read: |job| Box::pin(read_dashboard(job)),
        update: |job| Box::pin(put_dashboard(job, job.id().to_owned())),
        delete: |job| Box::pin(delete_dashboard(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::CloudWatch::AnomalyDetector",
        replaced: DETECTOR,
        updated: &["Configuration", "MetricCharacteristics"],
        attributes: &["Id"],
        create: |job| Box::pin(create_detector(job)),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        update: |job| Box::pin(put_detector(job)),
        delete: |job| Box::pin(delete_detector(job)),
        ..BASE
    },
];

/// What names an anomaly detector.
const DETECTOR: &[&str] =
    &["Dimensions", "MetricMathAnomalyDetector", "MetricName", "Namespace", "SingleMetricAnomalyDetector", "Stat"];
/// How long generated names may be.
const NAME_CHARS_MAX: usize = 255;

async fn create_alarm(job: &Job, composite: bool) -> Result<String> {
    let name = job.name("AlarmName", NAME_CHARS_MAX);
    put_alarm(job, &name, composite).await?;
    Ok(name)
}

async fn put_alarm(job: &Job, name: &str, composite: bool) -> Result<()> {
    let mut input = job.without(&["Tags"]);
    input.insert("AlarmName".into(), name.into());
    // Only a new alarm takes them.
    input.insert("Tags".into(), job.tag_list());
    if composite {
        job.ask(api::PutCompositeAlarm, input.into()).await.map(drop)
    } else {
        job.ask(api::PutMetricAlarm, input.into()).await.map(drop)
    }
}

/// The alarm of either kind.
async fn alarm(job: &Job, name: &str) -> Result<Option<Value>> {
    let input = json!({"AlarmNames": [name], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]});
    let mut answer = job.ask(api::DescribeAlarms, input).await?;
    let lists = ["MetricAlarms", "CompositeAlarms"];
    Ok(lists.into_iter().find_map(|list| answer[list].as_array_mut().and_then(Vec::pop)))
}

async fn find_alarm(job: &Job) -> Result<Option<String>> {
    let name = job.name("AlarmName", NAME_CHARS_MAX);
    let Some(found) = alarm(job, &name).await? else { return Ok(None) };
    let answer = job.ask(api::ListTagsForResource, json!({"ResourceARN": found["AlarmArn"]})).await?;
    let mut tags = answer["Tags"].as_array().into_iter().flatten();
    let ours = tags.any(|tag| tag["Key"] == STACK_ID_TAG && tag["Value"] == job.stack_arn.as_str());
    Ok((ours && !job.others.contains(&name)).then_some(name))
}

async fn read_alarm(job: &Job) -> Result<State> {
    Ok(match alarm(job, job.id()).await? {
        Some(found) => ready(json!({"Arn": found["AlarmArn"]})),
        None => vanished(job),
    })
}

async fn update_alarm(job: &Job, composite: bool) -> Result<()> {
    put_alarm(job, job.id(), composite).await?;
    let (set, gone) = job.tag_changes();
    let Some(found) = alarm(job, job.id()).await? else { return Ok(()) };
    if !gone.is_empty() {
        job.ask(api::UntagResource, json!({"ResourceARN": found["AlarmArn"], "TagKeys": gone})).await?;
    }
    if !set.is_empty() {
        job.ask(api::TagResource, json!({"ResourceARN": found["AlarmArn"], "Tags": as_list(set)})).await?;
    }
    Ok(())
}

async fn delete_alarm(job: &Job) -> Result<bool> {
    job.forget(api::DeleteAlarms, json!({"AlarmNames": [job.id()]})).await.map(|_| true)
}

async fn create_dashboard(job: &Job) -> Result<String> {
    let name = job.name("DashboardName", NAME_CHARS_MAX);
    put_dashboard(job, name.clone()).await?;
    Ok(name)
}

async fn put_dashboard(job: &Job, name: String) -> Result<()> {
    let body = job.get("DashboardBody").map(document).unwrap_or_default();
    job.ask(api::PutDashboard, json!({"DashboardName": name, "DashboardBody": body})).await.map(drop)
}

async fn read_dashboard(job: &Job) -> Result<State> {
    let there = job.forget(api::GetDashboard, json!({"DashboardName": job.id()})).await?;
    Ok(if there { ready(json!({})) } else { vanished(job) })
}

async fn delete_dashboard(job: &Job) -> Result<bool> {
    job.forget(api::DeleteDashboards, json!({"DashboardNames": [job.id()]})).await.map(|_| true)
}

async fn create_detector(job: &Job) -> Result<String> {
    put_detector(job).await?;
    // The service gives detectors no name: CloudFormation's own id is all there is.
    Ok(job.name("", NAME_CHARS_MAX))
}

async fn put_detector(job: &Job) -> Result<()> {
    let mut input = job.only(DETECTOR);
    input.extend(job.only(&["Configuration", "MetricCharacteristics"]));
    job.ask(api::PutAnomalyDetector, input.into()).await.map(drop)
}

async fn delete_detector(job: &Job) -> Result<bool> {
    job.forget(api::DeleteAnomalyDetector, job.only(DETECTOR).into()).await.map(|_| true)
}
