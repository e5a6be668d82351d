//! Predictive scaling: what is foreseen from the past, and capacity that is there before the load is.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch;
use standfast_core::Timestamp;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, causes, described, group, refused};
use crate::site::{list, text};

const HOUR: Duration = Duration::from_secs(3600);
const HOUR_MS: i64 = 3_600_000;

/// A policy on the jobs of the shop, of which an instance does ten an hour at the target.
fn policy(more: Json) -> Json {
    let metric = |name: &str, stat: &str| {
        let metric = json!({"Namespace": "Shop", "MetricName": name});
        json!({"MetricDataQueries": [{"Id": "m", "MetricStat": {"Metric": metric, "Stat": stat}}]})
    };
    let spec = json!({
        "TargetValue": 5.0,
        "CustomizedLoadMetricSpecification": metric("Jobs", "Sum"),
        "CustomizedScalingMetricSpecification": metric("JobsEach", "Average"),
        "CustomizedCapacityMetricSpecification": metric("Hosts", "Average"),
    });
    let mut config = json!({"MetricSpecifications": [spec]});
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({
        "AutoScalingGroupName": "web", "PolicyName": "ahead", "PolicyType": "PredictiveScaling",
        "PredictiveScalingConfiguration": config,
    })
}

fn this_hour(cloud: &TestCloud) -> Timestamp {
    Timestamp(cloud.now().0.div_euclid(HOUR_MS) * HOUR_MS)
}

/// Two days of jobs: sixty in the hour of the day that comes in two hours, twenty in all others. Two hosts did them.
async fn past(cloud: &TestCloud) {
    let now = this_hour(cloud);
    for ago in 1..=48_i64 {
        let at = Timestamp(now.0 - ago * HOUR_MS + 60_000).iso8601_seconds();
        let jobs = if (ago + 2) % 24 == 0 { 60.0 } else { 20.0 };
        let datum = |name: &str, value: f64| json!({"MetricName": name, "Timestamp": at, "Value": value});
        let data = [datum("Jobs", jobs), datum("JobsEach", jobs / 4.0), datum("Hosts", 2.0)];
        let input = json!({"Namespace": "Shop", "MetricData": data});
        cloud.send(&cloudwatch::MODEL, "PutMetricData", input).await.expect("it is good");
    }
}

async fn forecast(cloud: &TestCloud, hours: i64) -> Json {
    let (from, to) = (this_hour(cloud), Timestamp(this_hour(cloud).0 + hours * HOUR_MS));
    let input = json!({
        "AutoScalingGroupName": "web", "PolicyName": "ahead",
        "StartTime": from.iso8601_seconds(), "EndTime": to.iso8601_seconds(),
    });
    asg(cloud, "GetPredictiveScalingForecast", input).await
}

#[test]
fn two_days_tell_the_third() {
    run(1, |cloud| async move {
        group(&cloud, 2, json!({})).await;
        past(&cloud).await;
        let given = policy(json!({}));
        asg(&cloud, "PutScalingPolicy", given.clone()).await;
        cloud.pass(Duration::from_secs(1)).await;
        let shown = forecast(&cloud, 6).await;
        assert_eq!(shown["LoadForecast"][0]["Values"], json!([20.0, 20.0, 60.0, 20.0, 20.0, 20.0]));
        // An instance makes two of load for one of the metric: ten at five.
        assert_eq!(shown["CapacityForecast"]["Values"], json!([2.0, 2.0, 6.0, 2.0, 2.0, 2.0]));
        assert_eq!(list(&shown["CapacityForecast"], "Timestamps").len(), 6);
        assert_eq!(list(&forecast(&cloud, 100).await["CapacityForecast"], "Values").len(), 48);
        let policies = asg(&cloud, "DescribePolicies", json!({"PolicyTypes": ["PredictiveScaling"]})).await;
        let kept = &list(&policies, "ScalingPolicies")[0]["PredictiveScalingConfiguration"];
        assert_eq!(*kept, given["PredictiveScalingConfiguration"]);
        cloud.pass(HOUR * 3).await;
        assert_eq!(described(&cloud).await["DesiredCapacity"], 2, "it only foresees");
    });
}

#[test]
fn capacity_is_there_before_its_hour_and_within_the_maximum() {
    run(2, |cloud| async move {
        group(&cloud, 2, json!({"MaxSize": 5})).await;
        past(&cloud).await;
        asg(&cloud, "PutScalingPolicy", policy(json!({"Mode": "ForecastAndScale", "SchedulingBufferTime": 600}))).await;
        let due = Timestamp(this_hour(&cloud).0 + 2 * HOUR_MS) - Duration::from_secs(600);
        cloud.pass(due.since(cloud.now()) - Duration::from_secs(5)).await;
        assert_eq!(described(&cloud).await["DesiredCapacity"], 2);
        cloud.pass(Duration::from_secs(10)).await;
        assert_eq!(described(&cloud).await["DesiredCapacity"], 5, "six are foreseen, five are the maximum");
        cloud.pass(Duration::from_secs(60)).await;
        let cause = causes(&cloud).await.swap_remove(0);
        assert!(cause.contains("policy ahead") && cause.contains("from 2 to 5."), "{cause}");
        let less = json!({
            "AutoScalingGroupName": "web", "PolicyName": "in", "AdjustmentType": "ChangeInCapacity",
            "ScalingAdjustment": -4,
        });
        asg(&cloud, "PutScalingPolicy", less).await;
        asg(&cloud, "ExecutePolicy", json!({"AutoScalingGroupName": "web", "PolicyName": "in"})).await;
        assert_eq!(described(&cloud).await["DesiredCapacity"], 5, "no policy goes below what is foreseen");
        let grow = json!({"Mode": "ForecastAndScale", "MaxCapacityBreachBehavior": "IncreaseMaxCapacity", "MaxCapacityBuffer": 20});
        asg(&cloud, "PutScalingPolicy", policy(grow)).await;
        cloud.pass(HOUR / 6).await;
        let grown = described(&cloud).await;
        assert_eq!((&grown["DesiredCapacity"], &grown["MaxSize"]), (&json!(6), &json!(8)));
    });
}

#[test]
fn mistakes_in_predictions_are_named() {
    run(3, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let pair = json!({"PredefinedMetricType": "ASGCPUUtilization"});
        let with = |spec: Json| json!({"MetricSpecifications": [spec]});
        let good = json!({"TargetValue": 50.0, "PredefinedMetricPairSpecification": pair});
        for (config, named) in [
            (json!({"MetricSpecifications": []}), "MetricSpecifications"),
            (with(json!({"TargetValue": 0.0, "PredefinedMetricPairSpecification": pair})), "TargetValue"),
            (with(json!({"TargetValue": 1.0})), "PredefinedMetricPairSpecification"),
            (
                with(
                    json!({"TargetValue": 1.0, "PredefinedMetricPairSpecification": {"PredefinedMetricType": "ALBRequestCount"}}),
                ),
                "resource label",
            ),
            (json!({"MetricSpecifications": [good], "SchedulingBufferTime": 4000}), "4000"),
            (json!({"MetricSpecifications": [good], "MaxCapacityBuffer": 10}), "MaxCapacityBuffer"),
            (
                json!({"MetricSpecifications": [good], "MaxCapacityBreachBehavior": "IncreaseMaxCapacity"}),
                "MaxCapacityBuffer",
            ),
        ] {
            let mut input = policy(json!({}));
            input["PredictiveScalingConfiguration"] = config.clone();
            let (code, message) = refused(&cloud, "PutScalingPolicy", input).await;
            assert!(code == "ValidationError" && message.contains(named), "{config}: {code}: {message}");
        }
        let mut input = policy(json!({}));
        input["PredictiveScalingConfiguration"] = json!({"MetricSpecifications": [good]});
        asg(&cloud, "PutScalingPolicy", input).await;
        let shown = forecast(&cloud, 6).await;
        assert_eq!(shown["CapacityForecast"]["Values"], json!([]), "there is no history");
        assert!(text(&shown, "UpdateTime").ends_with('Z'));
        let mut span = json!({"AutoScalingGroupName": "web", "PolicyName": "ahead"});
        for name in ["StartTime", "EndTime"] {
            span[name] = json!(this_hour(&cloud).iso8601_seconds());
        }
        assert_eq!(refused(&cloud, "GetPredictiveScalingForecast", span).await.0, "ValidationError");
    });
}
