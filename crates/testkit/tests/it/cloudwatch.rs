//! Metrics through the API: what is put can be asked for, and what is wrong is refused in CloudWatch's words.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch::{self, Dimension, MetricDatum, PutMetricData, PutMetricDataInput};
use standfast_core::{Scope, Timestamp};
use standfast_testkit::{BEGINNING, REGION, TestCloud, run};

use crate::site::{list, text};

const MINUTE_MS: i64 = 60_000;

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&cloudwatch::MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

async fn refused(cloud: &TestCloud, operation: &str, input: Json) -> (String, String) {
    let error = cloud.refused(&cloudwatch::MODEL, operation, input).await;
    (error.code.into_owned(), error.message)
}

async fn put(cloud: &TestCloud, data: Json) {
    call(cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": data})).await;
}

/// Minutes before the beginning.
fn ago(minutes: i64) -> String {
    Timestamp(BEGINNING.0 - minutes * MINUTE_MS).iso8601()
}

fn numbers(json: &Json, member: &str) -> Vec<f64> {
    list(json, member).iter().map(|value| value.as_f64().expect("a number")).collect()
}

#[test]
fn statistics_are_of_all_values_of_a_period() {
    run(1, |cloud| async move {
        put(
            &cloud,
            json!([
                {"MetricName": "Latency", "Timestamp": ago(10), "Value": 4.0, "Unit": "Milliseconds"},
                {"MetricName": "Latency", "Timestamp": ago(9), "Values": [1.0, 2.0], "Counts": [3.0, 1.0], "Unit": "Milliseconds"},
                {"MetricName": "Latency", "Timestamp": ago(4), "Unit": "Milliseconds",
                 "StatisticValues": {"SampleCount": 2.0, "Sum": 9.0, "Minimum": 3.0, "Maximum": 6.0}},
                {"MetricName": "Latency", "Timestamp": ago(4), "Value": 7.0, "Unit": "Seconds"},
                {"MetricName": "Latency", "Dimensions": [{"Name": "Page", "Value": "/"}], "Timestamp": ago(4), "Value": 9.0},
            ]),
        )
        .await;
        let mut ask = json!({
            "Namespace": "Shop", "MetricName": "Latency", "StartTime": ago(10), "EndTime": ago(0), "Period": 300,
            "Statistics": ["SampleCount", "Average", "Sum", "Minimum", "Maximum"], "Unit": "Milliseconds",
        });
        let answer = call(&cloud, "GetMetricStatistics", ask.clone()).await;
        let point = |at: i64, count: f64, average: f64, sum: f64, min: f64, max: f64| {
            json!({"Timestamp": ago(at), "SampleCount": count, "Average": average, "Sum": sum, "Minimum": min,
                   "Maximum": max, "Unit": "Milliseconds"})
        };
        let expected = [point(10, 5.0, 1.8, 9.0, 1.0, 4.0), point(5, 2.0, 4.5, 9.0, 3.0, 6.0)];
        assert_eq!(answer, json!({"Label": "Latency", "Datapoints": expected}));

        let all = ask.as_object_mut().expect("an object");
        all.remove("Unit");
        all.remove("Statistics");
        all.insert("ExtendedStatistics".into(), json!(["p50", "p99"]));
        let answer = call(&cloud, "GetMetricStatistics", ask).await;
        // Other units are other datapoints; a statistic set has no percentiles.
        let expected = [
            json!({"Timestamp": ago(10), "ExtendedStatistics": {"p50": 1.0, "p99": 4.0}, "Unit": "Milliseconds"}),
            json!({"Timestamp": ago(5), "ExtendedStatistics": {"p50": 7.0, "p99": 7.0}, "Unit": "Seconds"}),
        ];
        assert_eq!(list(&answer, "Datapoints"), expected);
    });
}

#[test]
fn metrics_are_listed_while_they_have_points() {
    run(2, |cloud| async move {
        let page = |name: &str| json!([{"Name": "Page", "Value": name}, {"Name": "Zone", "Value": "a"}]);
        put(
            &cloud,
            json!([
                {"MetricName": "Hits", "Value": 1.0, "Dimensions": page("/")},
                {"MetricName": "Hits", "Value": 1.0, "Dimensions": page("/cart")},
                {"MetricName": "Errors", "Value": 1.0},
            ]),
        )
        .await;
        let listed = async |input: Json| {
            let answer = call(&cloud, "ListMetrics", input).await;
            list(&answer, "Metrics").iter().map(|m| text(m, "MetricName").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(listed(json!({})).await, ["Errors", "Hits", "Hits"]);
        assert_eq!(listed(json!({"Namespace": "Other"})).await, [""; 0]);
        assert_eq!(listed(json!({"MetricName": "Errors"})).await, ["Errors"]);
        assert_eq!(listed(json!({"Dimensions": [{"Name": "Page"}]})).await, ["Hits", "Hits"]);
        assert_eq!(listed(json!({"Dimensions": [{"Name": "Page", "Value": "/"}]})).await, ["Hits"]);
        assert_eq!(listed(json!({"OwningAccount": "999999999999"})).await, [""; 0]);
        cloud.pass(Duration::from_secs(4 * 3600)).await;
        assert_eq!(listed(json!({"RecentlyActive": "PT3H"})).await, [""; 0]);
        assert_eq!(listed(json!({})).await.len(), 3);
        cloud.pass(Duration::from_secs(14 * 24 * 3600)).await;
        assert_eq!(listed(json!({})).await, [""; 0]);
    });
}

#[test]
fn metrics_are_listed_in_pages_of_500() {
    run(3, |cloud| async move {
        for chunk in 0..2 {
            let data: Vec<Json> =
                (0..600).map(|i| json!({"MetricName": format!("m{:04}", chunk * 600 + i), "Value": 1.0})).collect();
            put(&cloud, json!(data)).await;
        }
        let (mut token, mut names, mut sizes) = (None, Vec::new(), Vec::new());
        while sizes.len() < 5 {
            let answer =
                call(&cloud, "ListMetrics", token.map_or(json!({}), |token| json!({"NextToken": token}))).await;
            names.extend(list(&answer, "Metrics").iter().map(|m| text(m, "MetricName").to_owned()));
            sizes.push(list(&answer, "Metrics").len());
            token = answer.get("NextToken").cloned();
            if token.is_none() {
                break;
            }
        }
        assert_eq!(sizes, [500, 500, 200]);
        names.dedup();
        assert_eq!(names.len(), 1200);
        let (code, _) = refused(&cloud, "ListMetrics", json!({"NextToken": "?"})).await;
        assert_eq!(code, "InvalidParameterValue");
    });
}

#[test]
fn data_of_several_metrics_come_with_arithmetic() {
    run(4, |cloud| async move {
        for (minute, requests, errors) in [(3, 100.0, Some(5.0)), (2, 200.0, None), (1, 50.0, Some(1.0))] {
            put(&cloud, json!([{"MetricName": "Requests", "Timestamp": ago(minute), "Value": requests}])).await;
            if let Some(errors) = errors {
                put(&cloud, json!([{"MetricName": "Errors", "Timestamp": ago(minute), "Value": errors}])).await;
            }
        }
        let metric = |id: &str, name: &str| {
            json!({"Id": id, "ReturnData": false, "MetricStat": {
                "Metric": {"Namespace": "Shop", "MetricName": name}, "Period": 60, "Stat": "Sum"}})
        };
        let ask = |queries: Json, more: Json| {
            let mut input = json!({"MetricDataQueries": queries, "StartTime": ago(3), "EndTime": ago(0)});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            input
        };
        let rate = json!({"Id": "rate", "Expression": "100 * FILL(errors, 0) / requests", "Label": "Error rate"});
        let queries = json!([rate, metric("errors", "Errors"), metric("requests", "Requests")]);
        let answer = call(&cloud, "GetMetricData", ask(queries.clone(), json!({"ScanBy": "TimestampAscending"}))).await;
        let results = list(&answer, "MetricDataResults");
        assert_eq!(results.len(), 1);
        assert_eq!((text(&results[0], "Id"), text(&results[0], "Label")), ("rate", "Error rate"));
        assert_eq!(text(&results[0], "StatusCode"), "Complete");
        assert_eq!(numbers(&results[0], "Values"), [5.0, 0.0, 2.0]);
        assert_eq!(list(&results[0], "Timestamps"), [json!(ago(3)), json!(ago(2)), json!(ago(1))]);

        // The newest come first unless asked otherwise.
        let answer = call(&cloud, "GetMetricData", ask(queries.clone(), json!({"MaxDatapoints": 2}))).await;
        let first = list(&answer, "MetricDataResults")[0].clone();
        assert_eq!((numbers(&first, "Values"), text(&first, "StatusCode")), (vec![2.0, 0.0], "PartialData"));
        let token = answer.get("NextToken").cloned().expect("there is more");
        let answer = call(&cloud, "GetMetricData", ask(queries, json!({"MaxDatapoints": 2, "NextToken": token}))).await;
        assert_eq!(numbers(&list(&answer, "MetricDataResults")[0], "Values"), [5.0]);
        assert_eq!(answer.get("NextToken"), None);

        for (expression, why) in [
            ("LAMBDA('x')", "the function LAMBDA is not available in this version of Standfast"),
            ("SUM(errors)", "its result is not a metric"),
            ("nothing * 2", "there is no query with the id 'nothing'"),
            ("e + 1", "it refers to itself"),
            ("errors +", "it ends too early"),
        ] {
            let queries = json!([{"Id": "e", "Expression": expression}, metric("errors", "Errors")]);
            let error = refused(&cloud, "GetMetricData", ask(queries, json!({}))).await;
            assert_eq!(error, ("ValidationError".to_owned(), format!("Error in expression 'e': {why}.")));
        }
    });
}

#[test]
fn what_is_wrong_is_refused_in_cloudwatchs_words() {
    run(5, |cloud| async move {
        let datum = |value: Json| json!({"Namespace": "Shop", "MetricData": [value]});
        let statistics = |period: i64, minutes: i64, stats: Json| {
            json!({"Namespace": "Shop", "MetricName": "m", "StartTime": ago(minutes), "EndTime": ago(0),
                   "Period": period, "Statistics": stats})
        };
        let cases = [
            (
                "PutMetricData",
                json!({"Namespace": "AWS/EC2", "MetricData": [{"MetricName": "m", "Value": 1.0}]}),
                "InvalidParameterValue",
                "The value AWS/ for parameter Namespace is invalid.",
            ),
            (
                "PutMetricData",
                json!({"Namespace": "Shop"}),
                "MissingParameter",
                "The parameter MetricData is required.",
            ),
            (
                "PutMetricData",
                datum(json!({"MetricName": "m", "Value": 1.0, "Timestamp": ago(15 * 24 * 60)})),
                "InvalidParameterValue",
                "The parameter MetricData.member.1.Timestamp must specify a time within the past two weeks.",
            ),
            (
                "GetMetricStatistics",
                statistics(60, 2880, json!(["Sum"])),
                "InvalidParameterCombination",
                "You have requested up to 2880 datapoints, which exceeds the limit of 1440. You may reduce the datapoints \
                 requested by increasing Period, or decreasing the time range.",
            ),
            (
                "GetMetricStatistics",
                statistics(60, 0, json!(["Sum"])),
                "InvalidParameterValue",
                "The parameter StartTime must be less than the parameter EndTime.",
            ),
            (
                "GetMetricStatistics",
                statistics(61, 10, json!(["Sum"])),
                "InvalidParameterValue",
                "The parameter Period must be set to 1, 5, 10, 20, 30, or a multiple of 60; it is 61.",
            ),
        ];
        for (operation, input, code, message) in cases {
            assert_eq!(refused(&cloud, operation, input).await, (code.to_owned(), message.to_owned()));
        }
        let too_many: Vec<Json> = (0..1001).map(|_| json!({"MetricName": "m", "Value": 1.0})).collect();
        let error = refused(&cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": too_many})).await;
        assert_eq!(error.1, "The collection MetricData must not have a size greater than 1000.");
        // Nothing of a refused request is kept.
        let data = json!([{"MetricName": "m", "Value": 1.0}, {"MetricName": "m"}]);
        let error = refused(&cloud, "PutMetricData", json!({"Namespace": "Shop", "MetricData": data})).await;
        assert_eq!(error.1, "The parameter MetricData.member.2.Value is required.");
        assert_eq!(list(&call(&cloud, "ListMetrics", json!({})).await, "Metrics").len(), 0);
    });
}

#[test]
fn services_may_publish_under_aws_and_scopes_are_apart() {
    run(6, |cloud| async move {
        let put = |cx: standfast_kernel::Cx| async move {
            let dimensions = Some(vec![Dimension { name: "InstanceId".into(), value: "i-1".into() }]);
            let datum = MetricDatum { metric_name: "CPU".into(), value: Some(1.0), dimensions, ..Default::default() };
            let input = PutMetricDataInput {
                namespace: "AWS/EC2".into(),
                metric_data: Some(vec![datum]),
                ..Default::default()
            };
            cx.call(PutMetricData, input).await.expect("a service may")
        };
        put(cloud.cx()).await;
        put(cloud.cx().at(&Scope::new("999999999999", REGION))).await;
        put(cloud.cx().at(&Scope::new("000000000000", "us-east-1"))).await;
        let answer = call(&cloud, "ListMetrics", json!({"Namespace": "AWS/EC2"})).await;
        let dimensions = json!([{"Name": "InstanceId", "Value": "i-1"}]);
        let expected = json!([{"Namespace": "AWS/EC2", "MetricName": "CPU", "Dimensions": dimensions}]);
        assert_eq!(answer, json!({"Metrics": expected}));
    });
}
