//! Target tracking: a policy makes its own alarms, and keeps a metric at its target by the documented arithmetic.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, causes, described, group, refused, settled};
use crate::site::{list, text};

const MINUTE: Duration = Duration::from_secs(60);

/// A policy that tracks a metric of the shop; its answer.
async fn track(cloud: &TestCloud, name: &str, metric: &str, target: f64, more: Json) -> Json {
    let custom = json!({"MetricName": metric, "Namespace": "Shop", "Statistic": "Average"});
    let mut config = json!({"CustomizedMetricSpecification": custom, "TargetValue": target});
    config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let input = json!({
        "AutoScalingGroupName": "web", "PolicyName": name, "PolicyType": "TargetTrackingScaling",
        "EstimatedInstanceWarmup": 300, "TargetTrackingConfiguration": config,
    });
    asg(cloud, "PutScalingPolicy", input).await
}

async fn alarms(cloud: &TestCloud) -> Vec<Json> {
    let input = json!({"AlarmNamePrefix": "TargetTracking-web-"});
    let found = cloud.send(&cloudwatch::MODEL, "DescribeAlarms", input).await.expect("it is good");
    list(&found, "MetricAlarms").to_vec()
}

/// So many minutes of these metrics.
async fn load(cloud: &TestCloud, metrics: &[(&str, f64)], minutes: u32) {
    for _ in 0..minutes {
        let data: Vec<Json> = metrics.iter().map(|(name, value)| json!({"MetricName": name, "Value": value})).collect();
        let input = json!({"Namespace": "Shop", "MetricData": data});
        cloud.send(&cloudwatch::MODEL, "PutMetricData", input).await.expect("it is good");
        cloud.pass(MINUTE).await;
    }
}

async fn desired(cloud: &TestCloud) -> i64 {
    described(cloud).await["DesiredCapacity"].as_i64().expect("a number")
}

#[test]
fn a_policy_has_two_alarms_as_long_as_it_lives() {
    run(1, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let config = json!({
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 50.0,
        });
        let mut input = json!({
            "AutoScalingGroupName": "web", "PolicyName": "cpu50", "PolicyType": "TargetTrackingScaling",
            "EstimatedInstanceWarmup": 60, "TargetTrackingConfiguration": config,
        });
        let put = asg(&cloud, "PutScalingPolicy", input.clone()).await;
        let names: Vec<&str> = list(&put, "Alarms").iter().map(|alarm| text(alarm, "AlarmName")).collect();
        assert!(names[0].starts_with("TargetTracking-web-AlarmHigh-"), "{names:?}");
        assert!(names[1].starts_with("TargetTracking-web-AlarmLow-"), "{names:?}");
        let made = alarms(&cloud).await;
        let facts: Vec<Json> = made
            .iter()
            .map(|alarm| {
                json!([
                    alarm["Threshold"],
                    alarm["EvaluationPeriods"],
                    alarm["Period"],
                    alarm["ComparisonOperator"],
                    alarm["MetricName"],
                    alarm["Dimensions"][0]["Value"],
                    alarm["AlarmActions"],
                ])
            })
            .collect();
        let arn = &put["PolicyARN"];
        assert_eq!(
            json!(facts),
            json!([
                [50.0, 3, 60, "GreaterThanThreshold", "CPUUtilization", "web", [arn]],
                [45.0, 15, 60, "LessThanThreshold", "CPUUtilization", "web", [arn]],
            ])
        );
        let shown = asg(&cloud, "DescribePolicies", json!({"PolicyTypes": ["TargetTrackingScaling"]})).await;
        let shown = &list(&shown, "ScalingPolicies")[0];
        assert_eq!((&shown["TargetTrackingConfiguration"], &shown["EstimatedInstanceWarmup"]), (&config, &json!(60)));
        assert_eq!(list(shown, "Alarms").len(), 2);
        assert_eq!(shown["AdjustmentType"], Json::Null);

        // The same again changes nothing, another target is other alarms.
        assert_eq!(asg(&cloud, "PutScalingPolicy", input.clone()).await, put);
        input["TargetTrackingConfiguration"]["TargetValue"] = json!(60.0);
        let other = asg(&cloud, "PutScalingPolicy", input.clone()).await;
        assert_eq!(other["PolicyARN"], *arn);
        cloud.pass(Duration::from_secs(1)).await;
        let made = alarms(&cloud).await;
        assert_eq!((made.len(), &made[0]["Threshold"]), (2, &json!(60.0)));
        assert_ne!(made[0]["AlarmName"], put["Alarms"][0]["AlarmName"]);

        asg(&cloud, "DeletePolicy", json!({"AutoScalingGroupName": "web", "PolicyName": "cpu50"})).await;
        cloud.pass(Duration::from_secs(1)).await;
        assert_eq!(alarms(&cloud).await, Vec::<Json>::new());
        asg(&cloud, "PutScalingPolicy", input).await;
        asg(&cloud, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web"})).await;
        cloud.pass(Duration::from_secs(1)).await;
        assert_eq!(alarms(&cloud).await, Vec::<Json>::new());
    });
}

#[test]
fn capacity_follows_the_metric_out_at_once_and_in_after_a_quarter_of_an_hour() {
    run(2, |cloud| async move {
        group(&cloud, 4, json!({"MinSize": 2, "MaxSize": 12})).await;
        track(&cloud, "load", "Load", 50.0, json!({})).await;
        load(&cloud, &[("Load", 48.0)], 8).await;
        load(&cloud, &[("Load", 75.0)], 2).await;
        assert_eq!(desired(&cloud).await, 4, "two points are not three");
        load(&cloud, &[("Load", 75.0)], 2).await;
        assert_eq!(desired(&cloud).await, 6, "four at 75 % where 50 % is wanted are six");
        settled(&cloud, 6).await;
        let cause = causes(&cloud).await.swap_remove(0);
        let told = "in state ALARM triggered policy load changing the desired capacity from 4 to 6.";
        assert!(cause.contains("a monitor alarm TargetTracking-web-AlarmHigh-") && cause.contains(told), "{cause}");
        load(&cloud, &[("Load", 75.0)], 2).await;
        assert_eq!(desired(&cloud).await, 6, "the two are not warm: four at 75 % are still six");
        load(&cloud, &[("Load", 100.0)], 2).await;
        assert_eq!(desired(&cloud).await, 8, "it is worse: four at 100 % are eight");
        load(&cloud, &[("Load", 46.0)], 20).await;
        assert_eq!(desired(&cloud).await, 8, "it is not below nine tenths of the target");
        load(&cloud, &[("Load", 25.0)], 14).await;
        assert_eq!(desired(&cloud).await, 8, "fourteen points are not fifteen");
        load(&cloud, &[("Load", 25.0)], 3).await;
        assert_eq!(desired(&cloud).await, 4, "eight at 25 % are four at 50 %");
        load(&cloud, &[("Load", 1.0)], 4).await;
        assert_eq!(desired(&cloud).await, 2, "not below the minimum");
    });
}

#[test]
fn several_policies_scale_in_only_when_all_agree_and_never_when_told_not_to() {
    run(3, |cloud| async move {
        group(&cloud, 6, json!({"MinSize": 1, "MaxSize": 20})).await;
        track(&cloud, "load", "Load", 50.0, json!({})).await;
        track(&cloud, "queue", "Queue", 100.0, json!({})).await;
        load(&cloud, &[("Load", 20.0), ("Queue", 95.0)], 24).await;
        assert_eq!(desired(&cloud).await, 6, "the queue is not short enough");
        load(&cloud, &[("Load", 20.0), ("Queue", 60.0)], 17).await;
        assert_eq!(desired(&cloud).await, 4, "the queue needs four, the load three");
        load(&cloud, &[("Load", 46.0), ("Queue", 95.0)], 3).await;
        assert_eq!(desired(&cloud).await, 4);
        // The largest of what is asked for.
        load(&cloud, &[("Load", 60.0), ("Queue", 200.0)], 5).await;
        assert_eq!(desired(&cloud).await, 8);
        track(&cloud, "load", "Load", 50.0, json!({"DisableScaleIn": true})).await;
        track(&cloud, "queue", "Queue", 100.0, json!({"DisableScaleIn": true})).await;
        load(&cloud, &[("Load", 1.0), ("Queue", 1.0)], 30).await;
        assert_eq!(desired(&cloud).await, 8);
    });
}

#[test]
fn metric_math_is_tracked() {
    run(4, |cloud| async move {
        group(&cloud, 2, json!({})).await;
        let metric = |id: &str, name: &str| json!({"Id": id, "ReturnData": false, "MetricStat": {"Stat": "Sum", "Metric": {"Namespace": "Shop", "MetricName": name}}});
        let queries =
            json!([metric("jobs", "Jobs"), metric("hosts", "Hosts"), {"Id": "each", "Expression": "jobs / hosts"}]);
        let input = json!({
            "AutoScalingGroupName": "web", "PolicyName": "backlog", "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": {"TargetValue": 10.0, "CustomizedMetricSpecification": {"Metrics": queries}},
        });
        asg(&cloud, "PutScalingPolicy", input).await;
        load(&cloud, &[("Jobs", 20.0), ("Hosts", 2.0)], 7).await;
        assert_eq!(desired(&cloud).await, 2);
        load(&cloud, &[("Jobs", 50.0), ("Hosts", 2.0)], 5).await;
        assert_eq!(desired(&cloud).await, 5, "twenty-five each where ten are wanted");
    });
}

#[test]
fn mistakes_in_target_tracking_are_named() {
    run(5, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let cpu = json!({"PredefinedMetricType": "ASGAverageCPUUtilization"});
        let alb = |label: &str| json!({"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget", "ResourceLabel": label}, "TargetValue": 1.0});
        let custom = json!({"MetricName": "Load", "Namespace": "Shop", "Statistic": "Average"});
        let query = json!({"Id": "a", "Expression": "1"});
        let metrics =
            |queries: Json| json!({"CustomizedMetricSpecification": {"Metrics": queries}, "TargetValue": 1.0});
        for (config, named) in [
            (json!({"PredefinedMetricSpecification": cpu, "TargetValue": 0.0}), "TargetValue 0"),
            (json!({"PredefinedMetricSpecification": cpu, "TargetValue": -5.0}), "TargetValue -5"),
            (json!({"TargetValue": 5.0}), "PredefinedMetricSpecification"),
            (
                json!({"PredefinedMetricSpecification": cpu, "CustomizedMetricSpecification": custom, "TargetValue": 5.0}),
                "not both",
            ),
            (
                json!({"PredefinedMetricSpecification": {"PredefinedMetricType": "ALBRequestCountPerTarget"}, "TargetValue": 1.0}),
                "resource label",
            ),
            (alb("app/web/targetgroup/blue/1"), "app/web/targetgroup/blue/1"),
            (json!({"CustomizedMetricSpecification": {"MetricName": "Load"}, "TargetValue": 5.0}), "Namespace"),
            (metrics(json!([query, query])), "'a'"),
            (metrics(json!([{"Id": "Big", "Expression": "1"}])), "'Big'"),
            (metrics(json!([{"Id": "a", "Expression": "1", "ReturnData": false}])), "ReturnData"),
            (metrics(json!([{"Id": "a"}])), "'a'"),
        ] {
            let input = json!({
                "AutoScalingGroupName": "web", "PolicyName": "p", "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": config,
            });
            let (code, message) = refused(&cloud, "PutScalingPolicy", input).await;
            assert!(code == "ValidationError" && message.contains(named), "{config}: {code}: {message}");
        }
        let config = json!({"PredefinedMetricSpecification": cpu, "TargetValue": 5.0});
        for more in ["AdjustmentType", "Cooldown", "ScalingAdjustment"] {
            let mut input = json!({
                "AutoScalingGroupName": "web", "PolicyName": "p", "PolicyType": "TargetTrackingScaling",
                "TargetTrackingConfiguration": config,
            });
            input[more] = if more == "AdjustmentType" { json!("ChangeInCapacity") } else { json!(1) };
            let (code, message) = refused(&cloud, "PutScalingPolicy", input).await;
            assert!(code == "ValidationError" && message.contains(more), "{more}: {code}: {message}");
        }
        asg(&cloud, "PutScalingPolicy", json!({"AutoScalingGroupName": "web", "PolicyName": "p", "PolicyType": "TargetTrackingScaling", "TargetTrackingConfiguration": config})).await;
        let by_hand = json!({"AutoScalingGroupName": "web", "PolicyName": "p"});
        assert_eq!(refused(&cloud, "ExecutePolicy", by_hand).await.0, "ValidationError");
    });
}
