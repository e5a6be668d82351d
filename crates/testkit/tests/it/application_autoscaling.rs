//! Application Auto Scaling: what is registered is kept and given back; what cannot be scaled here is told.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::application_autoscaling as api;
use standfast_testkit::{TestCloud, run};

use crate::site::{list, text};

async fn ask(cloud: &TestCloud, operation: &str, more: Json) -> Json {
    let answer = cloud.send(&api::MODEL, operation, with(more)).await;
    answer.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

/// A request about one service of ecs.
fn with(more: Json) -> Json {
    let mut input = json!({"ServiceNamespace": "ecs", "ResourceId": "service/a/b", "ScalableDimension": "ecs:service:DesiredCount"});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    input
}

#[test]
fn targets_policies_and_schedules_live_and_go_together() {
    run(1, |cloud| async move {
        let made =
            ask(&cloud, "RegisterScalableTarget", json!({"MinCapacity": 1, "MaxCapacity": 5, "Tags": {"a": "b"}}))
                .await;
        let arn = text(&made, "ScalableTargetARN").to_owned();
        ask(&cloud, "RegisterScalableTarget", json!({"MaxCapacity": 6})).await;
        let tracking = json!({
            "PolicyName": "cpu", "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 50.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
            },
        });
        let policy = ask(&cloud, "PutScalingPolicy", tracking).await;
        assert!(text(&policy, "PolicyARN").ends_with(":resource/ecs/service/a/b:policyName/cpu"), "{policy}");
        let at = (cloud.now() + Duration::from_secs(600)).iso8601_seconds().replace('Z', "");
        let once = json!({"ScheduledActionName": "once", "Schedule": format!("at({at})"), "ScalableTargetAction": {"MinCapacity": 3}});
        ask(&cloud, "PutScheduledAction", once).await;
        let often = json!({"ScheduledActionName": "often", "Schedule": "rate(5 minutes)", "ScalableTargetAction": {"MaxCapacity": 9}});
        ask(&cloud, "PutScheduledAction", often).await;
        cloud.pass(Duration::from_secs(660)).await;
        let activities = cloud.send(&api::MODEL, "DescribeScalingActivities", json!({"ServiceNamespace": "ecs"})).await;
        let activities = activities.expect("it is good");
        let told = list(&activities, "ScalingActivities");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(
            told.iter().all(|one| text(one, "StatusCode") == "Failed" && text(one, "StatusMessage").contains("'ecs'"))
        );
        let shown = cloud.send(&api::MODEL, "DescribeScalableTargets", json!({"ServiceNamespace": "ecs"})).await;
        let shown = &list(&shown.expect("it is good"), "ScalableTargets")[0].clone();
        assert_eq!((&shown["MinCapacity"], &shown["MaxCapacity"]), (&json!(3), &json!(9)));
        assert!(text(shown, "RoleARN").ends_with("AWSServiceRoleForApplicationAutoScaling_ECSService"), "{shown}");

        let of = |arn: &str, more: Json| {
            let mut input = json!({"ResourceARN": arn});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            input
        };
        let send =
            async |operation: &str, input: Json| cloud.send(&api::MODEL, operation, input).await.expect("it is good");
        send("TagResource", of(&arn, json!({"Tags": {"c": "d"}}))).await;
        send("UntagResource", of(&arn, json!({"TagKeys": ["a"]}))).await;
        assert_eq!(send("ListTagsForResource", of(&arn, json!({}))).await["Tags"], json!({"c": "d"}));

        ask(&cloud, "DeleteScheduledAction", json!({"ScheduledActionName": "often"})).await;
        ask(&cloud, "DeregisterScalableTarget", json!({})).await;
        for (operation, name) in
            [("DescribeScalingPolicies", "ScalingPolicies"), ("DescribeScheduledActions", "ScheduledActions")]
        {
            assert_eq!(list(&send(operation, json!({"ServiceNamespace": "ecs"})).await, name).len(), 0, "{operation}");
        }
    });
}

#[test]
fn mistakes_are_named() {
    run(2, |cloud| async move {
        let refused = async |operation: &str, more: Json, code: &str, named: &str| {
            let error = cloud.refused(&api::MODEL, operation, with(more)).await;
            assert!(
                error.code == code && error.message.contains(named),
                "{operation}: {}: {}",
                error.code,
                error.message
            );
        };
        refused(
            "PutScalingPolicy",
            json!({"PolicyName": "p", "PolicyType": "StepScaling"}),
            "ObjectNotFoundException",
            "service/a/b",
        )
        .await;
        refused("DeregisterScalableTarget", json!({}), "ObjectNotFoundException", "service/a/b").await;
        let wrong = json!({"ScalableDimension": "rds:cluster:ReadReplicaCount", "MinCapacity": 1, "MaxCapacity": 2});
        refused("RegisterScalableTarget", wrong, "ValidationException", "rds:cluster").await;
        refused(
            "RegisterScalableTarget",
            json!({"MinCapacity": 3, "MaxCapacity": 2}),
            "ValidationException",
            "2 is less than 3",
        )
        .await;
        refused("RegisterScalableTarget", json!({"MinCapacity": 3}), "ValidationException", "MaxCapacity").await;
        ask(&cloud, "RegisterScalableTarget", json!({"MinCapacity": 1, "MaxCapacity": 5})).await;
        refused(
            "PutScalingPolicy",
            json!({"PolicyName": "p", "PolicyType": "StepScaling"}),
            "ValidationException",
            "configuration",
        )
        .await;
        for schedule in ["at(yesterday)", "rate(0 minutes)", "cron(0 0 31 2 ? *)", "daily", "at(2001-01-01T00:00:00)"] {
            let more =
                json!({"ScheduledActionName": "s", "Schedule": schedule, "ScalableTargetAction": {"MinCapacity": 0}});
            refused("PutScheduledAction", more, "ValidationException", schedule).await;
        }
        let zone = json!({"ScheduledActionName": "s", "Schedule": "rate(1 day)", "Timezone": "Mars/Base", "ScalableTargetAction": {"MinCapacity": 0}});
        refused("PutScheduledAction", zone, "ValidationException", "Mars/Base").await;
        refused("DeleteScalingPolicy", json!({"PolicyName": "p"}), "ObjectNotFoundException", "p").await;
    });
}
