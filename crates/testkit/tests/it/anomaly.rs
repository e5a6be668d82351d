//! Anomaly detection, searches and statistics of parts, through the API.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch::MODEL;
use standfast_testkit::{TestCloud, run};

use crate::site::{list, text};

const MINUTE: Duration = Duration::from_secs(60);

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

/// A value for each of the last minutes, 8 and 12 in turns.
async fn history(cloud: &TestCloud, minutes: u32) {
    let datum = |minute: u32| {
        let value = if minute.is_multiple_of(2) { 8.0 } else { 12.0 };
        json!({"MetricName": "Heat", "Timestamp": (cloud.now() - MINUTE * minute).iso8601(), "Value": value})
    };
    let data: Vec<Json> = (1..=minutes).map(datum).collect();
    call(cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": data})).await;
}

fn queries(width: f64) -> Json {
    let metric = json!({"Namespace": "Shop", "MetricName": "Heat"});
    json!([
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}},
        {"Id": "ad1", "Expression": format!("ANOMALY_DETECTION_BAND(m1, {width})")},
    ])
}

#[test]
fn a_band_is_two_series_around_what_was_seen() {
    run(1, |cloud| async move {
        history(&cloud, 120).await;
        let asked = json!({
            "MetricDataQueries": queries(2.0), "StartTime": cloud.now().iso8601(),
            "EndTime": (cloud.now() + MINUTE * 2).iso8601(),
        });
        let answer = call(&cloud, "GetMetricData", asked).await;
        let band: Vec<(String, Json)> = (list(&answer, "MetricDataResults").iter())
            .filter(|result| text(result, "Id") == "ad1")
            .map(|result| (text(result, "Label").to_owned(), result["Values"].clone()))
            .collect();
        let expected = [("Heat Low".to_owned(), json!([6.0, 6.0])), ("Heat High".to_owned(), json!([14.0, 14.0]))];
        assert_eq!(band, expected);
    });
}

#[test]
fn an_alarm_on_a_band_fires_outside_of_it() {
    run(2, |cloud| async move {
        history(&cloud, 120).await;
        let mut alarm = json!({
            "AlarmName": "odd", "EvaluationPeriods": 1, "ThresholdMetricId": "ad1", "Metrics": queries(2.0),
            "ComparisonOperator": "LessThanLowerOrGreaterThanUpperThreshold",
        });
        call(&cloud, "PutMetricAlarm", alarm.clone()).await;
        let detectors = call(&cloud, "DescribeAnomalyDetectors", json!({"Namespace": "Shop"})).await;
        let detector = &list(&detectors, "AnomalyDetectors")[0];
        assert_eq!((text(detector, "MetricName"), text(detector, "StateValue")), ("Heat", "TRAINED"));
        for (value, state) in [(10.0, "OK"), (15.0, "ALARM"), (13.0, "OK"), (5.0, "ALARM")] {
            let datum = json!({"MetricName": "Heat", "Value": value});
            call(&cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": [datum]})).await;
            cloud.pass(MINUTE * 2).await;
            let found = call(&cloud, "DescribeAlarms", json!({"AlarmNames": ["odd"]})).await;
            let found = &list(&found, "MetricAlarms")[0];
            assert_eq!(text(found, "StateValue"), state, "{value}: {}", text(found, "StateReason"));
            assert_eq!((text(found, "ThresholdMetricId"), found.get("Threshold")), ("ad1", None));
        }
        alarm["ComparisonOperator"] = json!("GreaterThanThreshold");
        assert!(cloud.refused(&MODEL, "PutMetricAlarm", alarm.clone()).await.is("ValidationError"));
        alarm["ComparisonOperator"] = json!("GreaterThanUpperThreshold");
        alarm["ThresholdMetricId"] = json!("m1");
        assert!(cloud.refused(&MODEL, "PutMetricAlarm", alarm).await.is("ValidationError"));
    });
}

#[test]
fn detectors_are_kept_by_what_they_watch() {
    run(3, |cloud| async move {
        let single = json!({"Namespace": "Shop", "MetricName": "Heat", "Stat": "Average"});
        let put = |more: Json| {
            let mut input = json!({"SingleMetricAnomalyDetector": single});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            input
        };
        let range = json!({"StartTime": "2026-01-01T00:00:00Z", "EndTime": "2026-01-01T01:00:00Z"});
        let configuration = json!({"ExcludedTimeRanges": [range], "MetricTimezone": "Europe/Berlin"});
        call(&cloud, "PutAnomalyDetector", put(json!({}))).await;
        call(&cloud, "PutAnomalyDetector", put(json!({"Configuration": configuration}))).await;
        let math = json!({"MetricMathAnomalyDetector": {"MetricDataQueries": [{"Id": "e", "Expression": "1+1"}]}});
        call(&cloud, "PutAnomalyDetector", math.clone()).await;
        let found = call(&cloud, "DescribeAnomalyDetectors", json!({})).await;
        let found = list(&found, "AnomalyDetectors");
        assert_eq!(found.len(), 1);
        assert_eq!(text(&found[0]["Configuration"], "MetricTimezone"), "Europe/Berlin");
        assert_eq!(text(&found[0], "StateValue"), "TRAINED_INSUFFICIENT_DATA");
        let both = json!({"AnomalyDetectorTypes": ["SINGLE_METRIC", "METRIC_MATH"]});
        let found = call(&cloud, "DescribeAnomalyDetectors", both).await;
        assert_eq!(list(&found, "AnomalyDetectors").len(), 2);
        let twice = put(json!({"Namespace": "Shop"}));
        assert!(cloud.refused(&MODEL, "PutAnomalyDetector", twice).await.is("InvalidParameterCombination"));
        call(&cloud, "DeleteAnomalyDetector", math).await;
        call(&cloud, "DeleteAnomalyDetector", put(json!({}))).await;
        let gone = cloud.refused(&MODEL, "DeleteAnomalyDetector", put(json!({}))).await;
        assert!(gone.is("ResourceNotFoundException"));
    });
}

#[test]
fn searches_and_parts_of_values_are_computed() {
    run(4, |cloud| async move {
        for (instance, value) in [("i-1", 1.0), ("i-2", 3.0)] {
            let dimensions = json!([{"Name": "InstanceId", "Value": instance}]);
            let values: Vec<f64> = (0..10).map(|i| value + f64::from(i)).collect();
            let datum = json!({"MetricName": "Load", "Dimensions": dimensions, "Values": values});
            call(&cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": [datum]})).await;
        }
        let search = "SEARCH('{Shop,InstanceId} MetricName=\"Load\"', 'Average', 60)";
        let metric =
            json!({"Namespace": "Shop", "MetricName": "Load", "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}]});
        let asked = json!({
            "MetricDataQueries": [
                {"Id": "all", "Expression": search},
                {"Id": "most", "Expression": format!("LAST(SORT({search}, AVG, ASC))"), "Label": "${MAX} most"},
                {"Id": "tm", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "TM(10%:90%)"}, "Label": "${PROP('Stat')}"},
            ],
            "StartTime": (cloud.now() - MINUTE).iso8601(), "EndTime": (cloud.now() + MINUTE).iso8601(),
        });
        let answer = call(&cloud, "GetMetricData", asked).await;
        let found: Vec<(String, Json)> = (list(&answer, "MetricDataResults").iter())
            .map(|result| (text(result, "Label").to_owned(), result["Values"].clone()))
            .collect();
        let expected = [("i-1", 5.5), ("i-2", 7.5), ("7.50 most", 7.5), ("TM(10%:90%)", 5.5)];
        assert_eq!(found, expected.map(|(label, value)| (label.to_owned(), json!([value]))));
    });
}
