//! Scaling policies: alarms ask them, and they change the desired capacity by the documented arithmetic.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, causes, described, group, refused, settled};
use crate::site::{list, text};

const MINUTE: Duration = Duration::from_secs(60);

/// A policy of the group; its ARN.
async fn policy(cloud: &TestCloud, name: &str, more: Json) -> String {
    let mut input = json!({"AutoScalingGroupName": "web", "PolicyName": name});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    text(&asg(cloud, "PutScalingPolicy", input).await, "PolicyARN").to_owned()
}

/// An alarm on the group's load that asks a policy.
async fn alarm(cloud: &TestCloud, name: &str, policy: &str, more: Json) {
    let mut input = json!({
        "AlarmName": name, "Namespace": "Shop", "MetricName": "Load", "Statistic": "Average", "AlarmActions": [policy],
    });
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", input).await.expect("it is good");
}

/// So many minutes of a load.
async fn load(cloud: &TestCloud, percent: f64, minutes: u32) {
    for _ in 0..minutes {
        let input = json!({"Namespace": "Shop", "MetricData": [{"MetricName": "Load", "Value": percent}]});
        cloud.send(&cloudwatch::MODEL, "PutMetricData", input).await.expect("it is good");
        cloud.pass(MINUTE).await;
    }
}

async fn desired(cloud: &TestCloud) -> i64 {
    described(cloud).await["DesiredCapacity"].as_i64().expect("a number")
}

#[test]
fn ten_percent_more_after_five_minutes_of_load_and_ten_percent_less_after_twenty_of_little() {
    run(1, |cloud| async move {
        group(&cloud, 10, json!({"MaxSize": 20})).await;
        let percent = |amount: i32| json!({"AdjustmentType": "PercentChangeInCapacity", "ScalingAdjustment": amount});
        let (out, less) = (policy(&cloud, "out", percent(10)).await, policy(&cloud, "in", percent(-10)).await);
        let above = json!({"Period": 60, "EvaluationPeriods": 5, "Threshold": 60.0,
                           "ComparisonOperator": "GreaterThanThreshold"});
        let below = json!({"Period": 300, "EvaluationPeriods": 4, "Threshold": 30.0,
                           "ComparisonOperator": "LessThanThreshold"});
        alarm(&cloud, "high", &out, above).await;
        alarm(&cloud, "low", &less, below).await;
        load(&cloud, 45.0, 10).await;
        load(&cloud, 70.0, 4).await;
        assert_eq!(desired(&cloud).await, 10, "four minutes are not five");
        load(&cloud, 70.0, 3).await;
        assert_eq!(desired(&cloud).await, 11);
        settled(&cloud, 11).await;
        let cause = causes(&cloud).await.swap_remove(0);
        let told =
            "a monitor alarm high in state ALARM triggered policy out changing the desired capacity from 10 to 11.";
        assert!(cause.contains(told), "{cause}");
        load(&cloud, 70.0, 3).await;
        assert_eq!(desired(&cloud).await, 11, "it cools down for five minutes");
        load(&cloud, 70.0, 4).await;
        assert_eq!(desired(&cloud).await, 12, "the alarm asks again while it lasts");
        load(&cloud, 20.0, 18).await;
        assert_eq!(desired(&cloud).await, 12, "eighteen minutes are not twenty");
        load(&cloud, 20.0, 4).await;
        assert_eq!(desired(&cloud).await, 11);
        settled(&cloud, 11).await;
        load(&cloud, 45.0, 20).await;
        assert_eq!(desired(&cloud).await, 11);
    });
}

#[test]
fn steps_add_up_to_what_the_breach_asks_for_while_instances_warm_up() {
    run(2, |cloud| async move {
        group(&cloud, 10, json!({"MaxSize": 20})).await;
        let step = |lower: f64, upper: Option<f64>, amount: i32| json!({"MetricIntervalLowerBound": lower, "MetricIntervalUpperBound": upper, "ScalingAdjustment": amount});
        let given = json!({
            "PolicyType": "StepScaling", "AdjustmentType": "PercentChangeInCapacity", "EstimatedInstanceWarmup": 600,
            "StepAdjustments": [step(0.0, Some(10.0), 10), step(10.0, None, 30)],
        });
        let out = policy(&cloud, "out", given).await;
        let above = json!({"Period": 60, "EvaluationPeriods": 1, "Threshold": 60.0,
                           "ComparisonOperator": "GreaterThanThreshold"});
        alarm(&cloud, "high", &out, above).await;
        let shown = asg(&cloud, "DescribePolicies", json!({"AutoScalingGroupName": "web"})).await;
        let shown = &list(&shown, "ScalingPolicies")[0];
        assert_eq!((text(shown, "PolicyARN"), text(&list(shown, "Alarms")[0], "AlarmName")), (out.as_str(), "high"));
        // All of the first ten are warm.
        load(&cloud, 50.0, 11).await;
        load(&cloud, 65.0, 3).await;
        assert_eq!(desired(&cloud).await, 11, "one more, however often it is asked for");
        load(&cloud, 75.0, 2).await;
        assert_eq!(desired(&cloud).await, 13, "three more, of which one is on its way");
        load(&cloud, 75.0, 5).await;
        assert_eq!(desired(&cloud).await, 13);
        load(&cloud, 75.0, 10).await;
        assert_eq!(desired(&cloud).await, 16, "all are warm, and it is still too much: thirty percent of thirteen");
    });
}

#[test]
fn policies_are_executed_by_hand_and_not_by_alarms_when_they_are_told_not_to() {
    run(3, |cloud| async move {
        group(&cloud, 2, json!({})).await;
        let given = json!({"AdjustmentType": "ChangeInCapacity", "ScalingAdjustment": 1, "Enabled": false});
        let out = policy(&cloud, "out", given).await;
        let above = json!({"Period": 60, "EvaluationPeriods": 1, "Threshold": 60.0,
                           "ComparisonOperator": "GreaterThanThreshold"});
        alarm(&cloud, "high", &out, above).await;
        load(&cloud, 90.0, 8).await;
        assert_eq!(desired(&cloud).await, 2, "it is disabled");
        let by_hand = json!({"AutoScalingGroupName": "web", "PolicyName": "out"});
        asg(&cloud, "ExecutePolicy", by_hand.clone()).await;
        settled(&cloud, 3).await;
        let cause = causes(&cloud).await.swap_remove(0);
        assert!(
            cause.contains("a user request executed policy out changing the desired capacity from 2 to 3."),
            "{cause}"
        );
        let careful = json!({"PolicyName": out, "HonorCooldown": true});
        assert_eq!(refused(&cloud, "ExecutePolicy", careful).await.0, "ScalingActivityInProgress");
        asg(&cloud, "DeletePolicy", by_hand.clone()).await;
        let (code, message) = refused(&cloud, "ExecutePolicy", by_hand).await;
        assert!(code == "ValidationError" && message.contains("out"), "{code}: {message}");
    });
}

#[test]
fn mistakes_in_policies_are_named() {
    run(4, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let step = json!({"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1});
        for (given, named) in [
            (json!({}), "AdjustmentType"),
            (json!({"AdjustmentType": "Twice", "ScalingAdjustment": 1}), "Twice"),
            (json!({"AdjustmentType": "ExactCapacity"}), "ScalingAdjustment"),
            (json!({"AdjustmentType": "ExactCapacity", "ScalingAdjustment": 1, "StepAdjustments": [step]}), "StepAdj"),
            (json!({"AdjustmentType": "ExactCapacity", "ScalingAdjustment": 1, "MinAdjustmentMagnitude": 1}), "MinAdj"),
            (json!({"AdjustmentType": "ChangeInCapacity", "PolicyType": "StepScaling"}), "StepAdjustment"),
            (
                json!({"AdjustmentType": "ChangeInCapacity", "PolicyType": "StepScaling", "StepAdjustments": [step, step]}),
                "overlap",
            ),
            (json!({"PolicyType": "TargetTrackingScaling"}), "TargetTrackingConfiguration"),
            (json!({"PolicyType": "Guess"}), "Guess"),
        ] {
            let mut input = json!({"AutoScalingGroupName": "web", "PolicyName": "p"});
            input.as_object_mut().expect("an object").extend(given.as_object().expect("an object").clone());
            let (code, message) = refused(&cloud, "PutScalingPolicy", input).await;
            assert!(code == "ValidationError" && message.contains(named), "{given}: {code}: {message}");
        }
    });
}
