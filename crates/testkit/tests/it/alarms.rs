//! Alarms through the API: they follow their metrics on the clock, tell why, and act.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch::MODEL;
use standfast_core::Timestamp;
use standfast_testkit::{TestCloud, run};

use crate::ec2;
use crate::site::{list, text};

const MINUTE: Duration = Duration::from_secs(60);
/// In which every alarm was evaluated.
const EVALUATED: Duration = Duration::from_secs(61);

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

async fn put(cloud: &TestCloud, name: &str, at: Timestamp, value: f64) {
    let datum = json!({"MetricName": name, "Timestamp": at.iso8601(), "Value": value});
    call(cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": [datum]})).await;
}

/// One period of a minute over 5.
fn hot(more: Json) -> Json {
    let mut alarm = json!({
        "AlarmName": "hot", "Namespace": "Shop", "MetricName": "Heat", "Statistic": "Average", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    let fields = alarm.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("an object") {
        match value {
            Json::Null => drop(fields.remove(name)),
            value => drop(fields.insert(name.clone(), value.clone())),
        }
    }
    alarm
}

async fn alarm(cloud: &TestCloud) -> Json {
    let answer = call(cloud, "DescribeAlarms", json!({"AlarmNames": ["hot"]})).await;
    list(&answer, "MetricAlarms").first().expect("it is there").clone()
}

async fn state(cloud: &TestCloud) -> String {
    text(&alarm(cloud).await, "StateValue").to_owned()
}

async fn history(cloud: &TestCloud, input: Json) -> Vec<String> {
    let answer = call(cloud, "DescribeAlarmHistory", input).await;
    list(&answer, "AlarmHistoryItems").iter().map(|item| text(item, "HistorySummary").to_owned()).collect()
}

#[test]
fn an_alarm_follows_its_metric_whether_or_not_data_comes() {
    run(1, |cloud| async move {
        call(&cloud, "PutMetricAlarm", hot(json!({}))).await;
        let new = alarm(&cloud).await;
        assert_eq!(text(&new, "StateValue"), "INSUFFICIENT_DATA");
        assert_eq!(text(&new, "StateReason"), "Unchecked: Initial alarm creation");
        put(&cloud, "Heat", cloud.now(), 9.0).await;
        cloud.pass(EVALUATED * 2).await;
        let hot = alarm(&cloud).await;
        assert_eq!(text(&hot, "StateValue"), "ALARM");
        let reason = text(&hot, "StateReason");
        assert!(reason.starts_with("Threshold Crossed: 1 out of the last 1 datapoint [9.0 ("), "{reason}");
        let data: Json = serde_json::from_str(text(&hot, "StateReasonData")).expect("JSON");
        assert_eq!((&data["threshold"], &data["recentDatapoints"]), (&json!(5.0), &json!([9.0])));
        put(&cloud, "Heat", cloud.now(), 1.0).await;
        cloud.pass(EVALUATED * 2).await;
        assert_eq!(state(&cloud).await, "OK");
        // Nothing is put any more.
        cloud.pass(MINUTE * 5).await;
        let silent = alarm(&cloud).await;
        assert_eq!(text(&silent, "StateValue"), "INSUFFICIENT_DATA");
        assert_eq!(text(&silent, "StateReason"), "Insufficient Data: 1 datapoint was unknown.");
        let expected = [
            "Alarm updated from OK to INSUFFICIENT_DATA",
            "Alarm updated from ALARM to OK",
            "Alarm updated from INSUFFICIENT_DATA to ALARM",
        ];
        assert_eq!(history(&cloud, json!({"AlarmName": "hot", "HistoryItemType": "StateUpdate"})).await, expected);
        let oldest = history(&cloud, json!({"ScanBy": "TimestampAscending", "MaxRecords": 2})).await;
        assert_eq!(oldest, ["Alarm \"hot\" created", expected[2]]);
    });
}

#[test]
fn fine_periods_are_evaluated_every_ten_seconds_and_missing_data_can_breach() {
    run(2, |cloud| async move {
        let input = hot(json!({"Period": 10, "EvaluationPeriods": 2, "TreatMissingData": "breaching"}));
        call(&cloud, "PutMetricAlarm", input).await;
        cloud.pass(Duration::from_secs(11)).await;
        let now = alarm(&cloud).await;
        assert_eq!(text(&now, "StateValue"), "ALARM");
        assert!(text(&now, "StateReason").ends_with("2 missing datapoints were treated as [Breaching]."));
        for _ in 0..3 {
            let datum = json!({"MetricName": "Heat", "Value": 1.0, "StorageResolution": 1});
            call(&cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": [datum]})).await;
            cloud.pass(Duration::from_secs(10)).await;
        }
        assert_eq!(state(&cloud).await, "OK");
    });
}

#[test]
fn an_alarm_can_watch_what_is_computed() {
    run(3, |cloud| async move {
        let metric = |id: &str, name: &str| {
            let metric = json!({"Namespace": "Shop", "MetricName": name});
            json!({"Id": id, "ReturnData": false, "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}})
        };
        let share = json!({"Id": "share", "Expression": "100 * bad / all"});
        let given = json!([share, metric("bad", "Errors"), metric("all", "Requests")]);
        let input = hot(json!({
            "Metrics": given, "MetricName": null, "Namespace": null, "Statistic": null, "Period": null,
        }));
        call(&cloud, "PutMetricAlarm", input).await;
        assert_eq!(alarm(&cloud).await["Metrics"][0], share);
        let at = cloud.now();
        put(&cloud, "Errors", at, 6.0).await;
        put(&cloud, "Requests", at, 100.0).await;
        cloud.pass(EVALUATED * 2).await;
        assert_eq!(state(&cloud).await, "ALARM");
        let at = cloud.now();
        put(&cloud, "Errors", at, 5.0).await;
        put(&cloud, "Requests", at, 100.0).await;
        cloud.pass(EVALUATED * 2).await;
        assert_eq!(state(&cloud).await, "OK");
        let asked = json!({"Namespace": "Shop", "MetricName": "Errors"});
        let answer = call(&cloud, "DescribeAlarmsForMetric", asked).await;
        assert_eq!(list(&answer, "MetricAlarms").len(), 1);
    });
}

#[test]
fn an_alarm_acts_on_its_instance_unless_it_is_told_not_to() {
    run(4, |cloud| async move {
        let id = ec2::launch(&cloud, json!({})).await;
        ec2::becomes(&cloud, &id, "running").await;
        let input = hot(json!({
            "Dimensions": [{"Name": "InstanceId", "Value": id}], "ActionsEnabled": false,
            "AlarmActions": ["arn:aws:automate:eu-west-1:ec2:stop"],
            "OKActions": ["arn:aws:ssm:eu-west-1:000000000000:opsitem:1"],
        }));
        call(&cloud, "PutMetricAlarm", input).await;
        let set = async |state: &str| {
            let input = json!({"AlarmName": "hot", "StateValue": state, "StateReason": "testing"});
            call(&cloud, "SetAlarmState", input).await;
            cloud.pass(Duration::from_secs(1)).await;
        };
        set("ALARM").await;
        assert_eq!(text(&ec2::described(&cloud, &id).await["State"], "Name"), "running");
        set("OK").await;
        call(&cloud, "EnableAlarmActions", json!({"AlarmNames": ["hot"]})).await;
        set("ALARM").await;
        ec2::becomes(&cloud, &id, "stopped").await;
        set("OK").await;
        let actions = history(&cloud, json!({"HistoryItemType": "Action"})).await;
        assert!(actions[0].starts_with("Failed to execute action arn:aws:ssm:"), "{actions:?}");
        assert_eq!(actions[1..], ["Successfully executed action arn:aws:automate:eu-west-1:ec2:stop"]);
        call(&cloud, "DeleteAlarms", json!({"AlarmNames": ["hot"]})).await;
        assert_eq!(list(&call(&cloud, "DescribeAlarms", json!({})).await, "MetricAlarms"), &[] as &[Json]);
        assert_eq!(history(&cloud, json!({"AlarmName": "hot", "MaxRecords": 1})).await, ["Alarm \"hot\" deleted"]);
    });
}

#[test]
fn mistakes_are_refused_by_name() {
    run(5, |cloud| async move {
        let cases = [
            (json!({"ComparisonOperator": "Above"}), "ValidationError", "comparisonOperator"),
            (json!({"ComparisonOperator": "GreaterThanUpperThreshold"}), "ValidationError", "ThresholdMetricId"),
            (json!({"Threshold": null}), "MissingParameter", "Threshold"),
            (json!({"Statistic": null}), "InvalidParameterCombination", "ExtendedStatistic"),
            (json!({"ExtendedStatistic": "p99"}), "InvalidParameterCombination", "together"),
            (json!({"Statistic": null, "ExtendedStatistic": "p101"}), "InvalidParameterValue", "p101"),
            (json!({"Period": 45}), "ValidationError", "45"),
            (json!({"Period": 3600, "EvaluationPeriods": 200}), "ValidationError", "a week"),
            (json!({"Period": 300, "EvaluationPeriods": 300}), "ValidationError", "a day"),
            (json!({"DatapointsToAlarm": 2}), "ValidationError", "DatapointsToAlarm"),
            (json!({"TreatMissingData": "sometimes"}), "InvalidParameterValue", "sometimes"),
            (json!({"AlarmActions": ["topic"]}), "ValidationError", "Invalid arn syntax: topic"),
            (json!({"Unit": "Furlongs"}), "ValidationError", "Furlongs"),
            (json!({"Metrics": [{"Id": "a", "Expression": "1"}]}), "InvalidParameterCombination", "MetricName"),
        ];
        for (change, code, named) in cases {
            let error = cloud.refused(&MODEL, "PutMetricAlarm", hot(change.clone())).await;
            assert!(error.code == code && error.message.contains(named), "{change}: {error}");
        }
        let unknown = json!({"AlarmName": "hot", "StateValue": "OK", "StateReason": "?"});
        assert_eq!(cloud.refused(&MODEL, "SetAlarmState", unknown).await.code, "ResourceNotFound");
    });
}
