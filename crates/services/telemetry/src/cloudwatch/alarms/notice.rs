//! What an alarm tells: a topic, by CloudWatch's notice with its subject, and the event bus.

use serde_json::{Value, json};
use standfast_api::sns;
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_kernel::events::{self, Event};
use standfast_store::Txn;

use super::actions::Action;
use super::evaluate::State;
use super::model::{Alarm, Condition, Kind, MetricKind, Query, Watched, Watches};

/// SNS takes no longer subjects.
const SUBJECT_CHARS_MAX: usize = 100;

/// Notes the change of an alarm's state for the event bus.
pub fn note(tx: &mut Txn, scope: &Scope, rng: &Rng, name: &str, alarm: &Alarm, new: &Condition) {
    let state = |condition: &Condition| {
        let mut state = json!({
            "value": condition.state.name(),
            "reason": condition.reason,
            "timestamp": stamp(condition.updated),
        });
        if let Some(data) = &condition.data {
            state["reasonData"] = data.as_str().into();
        }
        state
    };
    let configuration = match &alarm.kind {
        Kind::Metric(MetricKind { watches: Watches::Queries(queries), .. }) => {
            json!({ "description": alarm.description, "metrics": queries.iter().map(query_json).collect::<Value>() })
        }
        Kind::Metric(MetricKind { watches: Watches::Metric(watched), .. }) => {
            let dimensions = watched.dimensions.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            let metric = json!({
                "namespace": watched.namespace,
                "name": watched.name,
                "dimensions": Value::Object(dimensions.collect()),
            });
            let stat = json!({ "metric": metric, "period": watched.period_s, "stat": watched.stat });
            let metrics = json!([{ "id": "m1", "metricStat": stat, "returnData": true }]);
            json!({ "description": alarm.description, "metrics": metrics })
        }
        Kind::Composite(composite) => json!({ "description": alarm.description, "alarmRule": composite.rule }),
    };
    let event = Event {
        source: "aws.cloudwatch".to_owned(),
        detail_type: "CloudWatch Alarm State Change".to_owned(),
        resources: vec![alarm.arn.clone()],
        detail: json!({
            "alarmName": name,
            "state": state(new),
            "previousState": state(&alarm.condition),
            "configuration": configuration,
        }),
        at: new.updated,
    };
    events::note(tx, scope, &rng.uuid(), event);
}

/// Publishes the notice of an alarm's state.
pub async fn publish(cx: &Cx, owed: &Action) -> Result<()> {
    let alarm = cx.view(|view| view.get::<Alarm>(cx.scope(), &owed.alarm));
    let alarm = alarm.ok_or_else(|| Error::client("ResourceNotFound", format!("Unknown alarm: {}", owed.alarm)))?;
    let input = sns::PublishInput {
        topic_arn: Some(owed.action.clone()),
        subject: Some(subject(owed, cx.region())),
        message: notice(cx, owed, &alarm).to_string(),
        ..Default::default()
    };
    cx.call(sns::Publish, input).await.map(|_| ())
}

/// `ALARM: "name" in EU (Ireland)`, with as much of the name as fits.
fn subject(owed: &Action, region: &str) -> String {
    let (state, place) = (owed.state.name(), place(region));
    let room = SUBJECT_CHARS_MAX.saturating_sub(format!("{state}: \"\" in {place}").chars().count());
    let plain = owed.alarm.chars().map(|c| if c.is_control() { ' ' } else { c });
    format!("{state}: \"{}\" in {place}", plain.take(room).collect::<String>())
}

fn notice(cx: &Cx, owed: &Action, alarm: &Alarm) -> Value {
    let actions = |state: State| alarm.actions.get(&state).cloned().unwrap_or_default();
    let condition = &alarm.condition;
    // The alarm may have gone on since; what it says now is not of this state.
    let reason = if condition.state == owed.state { condition.reason.as_str() } else { "" };
    let mut all = json!({
        "AlarmName": owed.alarm,
        "AlarmDescription": alarm.description,
        "AWSAccountId": cx.account(),
        "AlarmConfigurationUpdatedTimestamp": stamp(alarm.updated),
        "NewStateValue": owed.state.name(),
        "NewStateReason": reason,
        "StateChangeTime": stamp(owed.at.unwrap_or(condition.transitioned)),
        "Region": place(cx.region()),
        "AlarmArn": alarm.arn,
        "OldStateValue": owed.was.map(State::name),
        "OKActions": actions(State::Ok),
        "AlarmActions": actions(State::Alarm),
        "InsufficientDataActions": actions(State::InsufficientData),
    });
    match &alarm.kind {
        Kind::Metric(metric) => all["Trigger"] = trigger(metric),
        Kind::Composite(composite) => all["AlarmRule"] = composite.rule.as_str().into(),
    }
    all
}

fn trigger(metric: &MetricKind) -> Value {
    let rule = &metric.rule;
    let mut all = json!({
        "EvaluationPeriods": rule.periods,
        "DatapointsToAlarm": rule.to_alarm,
        "ComparisonOperator": rule.comparison.name(),
        "Threshold": rule.threshold,
        "TreatMissingData": rule.missing.name(),
        "EvaluateLowSampleCountPercentile": metric.low_samples.as_deref().unwrap_or_default(),
    });
    match &metric.watches {
        Watches::Metric(watched) => {
            let Value::Object(of_metric) = watched_json(watched) else { return all };
            all.as_object_mut().into_iter().for_each(|all| all.extend(of_metric.clone()));
        }
        Watches::Queries(queries) => all["Metrics"] = queries.iter().map(query_json).collect(),
    }
    all
}

fn watched_json(watched: &Watched) -> Value {
    let dimension = |(name, value): &(String, String)| json!({ "value": value, "name": name });
    let simple = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"].contains(&watched.stat.as_str());
    let mut all = json!({
        "MetricName": watched.name,
        "Namespace": watched.namespace,
        "StatisticType": if simple { "Statistic" } else { "ExtendedStatistic" },
        "Unit": watched.unit,
        "Dimensions": watched.dimensions.iter().map(dimension).collect::<Value>(),
        "Period": watched.period_s,
    });
    match simple {
        true => all["Statistic"] = watched.stat.to_uppercase().into(),
        false => all["ExtendedStatistic"] = watched.stat.as_str().into(),
    }
    all
}

fn query_json(query: &Query) -> Value {
    let mut all = json!({ "Id": query.id, "ReturnData": query.returned.unwrap_or(true) });
    if let Some(expression) = &query.expression {
        all["Expression"] = expression.as_str().into();
    }
    if let Some(label) = &query.label {
        all["Label"] = label.as_str().into();
    }
    if let Some(watched) = &query.metric {
        let dimension = |(name, value): &(String, String)| json!({ "value": value, "name": name });
        all["MetricStat"] = json!({
            "Metric": {
                "Dimensions": watched.dimensions.iter().map(dimension).collect::<Value>(),
                "MetricName": watched.name,
                "Namespace": watched.namespace,
            },
            "Period": watched.period_s,
            "Stat": watched.stat,
        });
    }
    all
}

/// `2026-11-20T22:41:05.120+0000`
fn stamp(at: Timestamp) -> String {
    at.iso8601().replace('Z', "+0000")
}

/// Regions' names for people, as notices have them.
const PLACES: [(&str, &str); 34] = [
    ("af-south-1", "Africa (Cape Town)"),
    ("ap-east-1", "Asia Pacific (Hong Kong)"),
    ("ap-east-2", "Asia Pacific (Taipei)"),
    ("ap-northeast-1", "Asia Pacific (Tokyo)"),
    ("ap-northeast-2", "Asia Pacific (Seoul)"),
    ("ap-northeast-3", "Asia Pacific (Osaka)"),
    ("ap-south-1", "Asia Pacific (Mumbai)"),
    ("ap-south-2", "Asia Pacific (Hyderabad)"),
    ("ap-southeast-1", "Asia Pacific (Singapore)"),
    ("ap-southeast-2", "Asia Pacific (Sydney)"),
    ("ap-southeast-3", "Asia Pacific (Jakarta)"),
    ("ap-southeast-4", "Asia Pacific (Melbourne)"),
    ("ap-southeast-5", "Asia Pacific (Malaysia)"),
    ("ap-southeast-6", "Asia Pacific (New Zealand)"),
    ("ap-southeast-7", "Asia Pacific (Thailand)"),
    ("ca-central-1", "Canada (Central)"),
    ("ca-west-1", "Canada West (Calgary)"),
    ("eu-central-1", "EU (Frankfurt)"),
    ("eu-central-2", "Europe (Zurich)"),
    ("eu-north-1", "EU (Stockholm)"),
    ("eu-south-1", "Europe (Milan)"),
    ("eu-south-2", "Europe (Spain)"),
    ("eu-west-1", "EU (Ireland)"),
    ("eu-west-2", "EU (London)"),
    ("eu-west-3", "EU (Paris)"),
    ("il-central-1", "Israel (Tel Aviv)"),
    ("me-central-1", "Middle East (UAE)"),
    ("me-south-1", "Middle East (Bahrain)"),
    ("mx-central-1", "Mexico (Central)"),
    ("sa-east-1", "South America (Sao Paulo)"),
    ("us-east-1", "US East (N. Virginia)"),
    ("us-east-2", "US East (Ohio)"),
    ("us-west-1", "US West (N. California)"),
    ("us-west-2", "US West (Oregon)"),
];

fn place(region: &str) -> &str {
    PLACES.iter().find(|(name, _)| *name == region).map_or(region, |(_, place)| place)
}
