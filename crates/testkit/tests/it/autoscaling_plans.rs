//! Scaling plans: they make policies on groups, and take them away.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::autoscaling_plans as api;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, described, group};
use crate::site::{list, text};

async fn ask(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let answer = cloud.send(&api::MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

fn instruction(group: &str, target: f64) -> Json {
    json!({
        "ServiceNamespace": "autoscaling", "ResourceId": format!("autoScalingGroup/{group}"),
        "ScalableDimension": "autoscaling:autoScalingGroup:DesiredCapacity", "MinCapacity": 1, "MaxCapacity": 7,
        "PredefinedLoadMetricSpecification": {"PredefinedLoadMetricType": "ASGTotalCPUUtilization"},
        "PredictiveScalingMode": "ForecastOnly",
        "TargetTrackingConfigurations": [{
            "PredefinedScalingMetricSpecification": {"PredefinedScalingMetricType": "ASGAverageCPUUtilization"},
            "TargetValue": target,
        }],
    })
}

fn plan(instructions: Json) -> Json {
    json!({
        "ScalingPlanName": "shop", "ApplicationSource": {"TagFilters": [{"Key": "app", "Values": ["shop"]}]},
        "ScalingInstructions": instructions,
    })
}

async fn policies(cloud: &TestCloud) -> Vec<Json> {
    let found = asg(cloud, "DescribePolicies", json!({"AutoScalingGroupName": "web"})).await;
    list(&found, "ScalingPolicies").to_vec()
}

async fn status(cloud: &TestCloud) -> String {
    let plans = ask(cloud, "DescribeScalingPlans", json!({"ScalingPlanNames": ["shop"]})).await;
    list(&plans, "ScalingPlans").first().map(|plan| text(plan, "StatusCode").to_owned()).unwrap_or_default()
}

#[test]
fn a_plan_makes_policies_changes_them_and_takes_them_away() {
    run(1, |cloud| async move {
        group(&cloud, 1, json!({})).await;
        let soon = Duration::from_secs(2);
        let made = ask(&cloud, "CreateScalingPlan", plan(json!([instruction("web", 50.0)]))).await;
        assert_eq!(made["ScalingPlanVersion"], 1);
        cloud.pass(soon).await;
        assert_eq!(status(&cloud).await, "Active");
        let types: Vec<String> = policies(&cloud).await.iter().map(|one| text(one, "PolicyType").to_owned()).collect();
        assert_eq!(types, ["TargetTrackingScaling", "PredictiveScaling"]);
        let group = described(&cloud).await;
        assert_eq!((&group["MinSize"], &group["MaxSize"]), (&json!(1), &json!(7)));
        let named = json!({"ScalingPlanName": "shop", "ScalingPlanVersion": 1});
        let resources = ask(&cloud, "DescribeScalingPlanResources", named.clone()).await;
        let resource = &list(&resources, "ScalingPlanResources")[0];
        assert_eq!(text(resource, "ScalingStatusCode"), "Active");
        assert_eq!(list(resource, "ScalingPolicies").len(), 1);
        let forecast = json!({
            "ScalingPlanName": "shop", "ScalingPlanVersion": 1, "ServiceNamespace": "autoscaling",
            "ResourceId": "autoScalingGroup/web", "ScalableDimension": "autoscaling:autoScalingGroup:DesiredCapacity",
            "ForecastDataType": "CapacityForecast", "StartTime": cloud.now().seconds(),
            "EndTime": (cloud.now() + Duration::from_secs(86_400)).seconds(),
        });
        let forecast = ask(&cloud, "GetScalingPlanResourceForecastData", forecast).await;
        assert_eq!(forecast["Datapoints"], json!([]), "there is no history yet");

        let other = json!({"ServiceNamespace": "ecs", "ResourceId": "service/a/b", "ScalableDimension": "ecs:service:DesiredCount", "MinCapacity": 1, "MaxCapacity": 2, "TargetTrackingConfigurations": [{"TargetValue": 5.0, "PredefinedScalingMetricSpecification": {"PredefinedScalingMetricType": "ECSServiceAverageCPUUtilization"}}]});
        let mut update = named.clone();
        update["ScalingInstructions"] = json!([instruction("web", 70.0), other, instruction("gone", 50.0)]);
        ask(&cloud, "UpdateScalingPlan", update).await;
        cloud.pass(soon).await;
        assert_eq!(status(&cloud).await, "ActiveWithProblems");
        assert_eq!(policies(&cloud).await[0]["TargetTrackingConfiguration"]["TargetValue"], 70.0);
        let resources = ask(&cloud, "DescribeScalingPlanResources", named.clone()).await;
        let told = |at: usize| text(&list(&resources, "ScalingPlanResources")[at], "ScalingStatusMessage").to_owned();
        assert!(told(1).contains("'ecs'") && told(2).contains("gone"), "{} {}", told(1), told(2));

        ask(&cloud, "DeleteScalingPlan", named).await;
        cloud.pass(soon).await;
        assert_eq!((status(&cloud).await, policies(&cloud).await.len()), (String::new(), 0));
    });
}

#[test]
fn policies_of_others_are_kept_unless_they_are_to_be_replaced() {
    run(2, |cloud| async move {
        group(&cloud, 1, json!({})).await;
        let own = json!({
            "AutoScalingGroupName": "web", "PolicyName": "mine", "PolicyType": "TargetTrackingScaling",
            "TargetTrackingConfiguration": {
                "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 5.0,
            },
        });
        asg(&cloud, "PutScalingPolicy", own).await;
        ask(&cloud, "CreateScalingPlan", plan(json!([instruction("web", 50.0)]))).await;
        cloud.pass(Duration::from_secs(2)).await;
        assert_eq!(status(&cloud).await, "ActiveWithProblems");
        assert_eq!(text(&policies(&cloud).await[0], "PolicyName"), "mine");
        let mut replacing = instruction("web", 50.0);
        replacing["ScalingPolicyUpdateBehavior"] = json!("ReplaceExternalPolicies");
        let update = json!({"ScalingPlanName": "shop", "ScalingPlanVersion": 1, "ScalingInstructions": [replacing]});
        ask(&cloud, "UpdateScalingPlan", update).await;
        cloud.pass(Duration::from_secs(2)).await;
        assert_eq!(status(&cloud).await, "Active");
        assert!(policies(&cloud).await.iter().all(|policy| text(policy, "PolicyName") != "mine"));
        let error = cloud.refused(&api::MODEL, "CreateScalingPlan", plan(json!([instruction("web", 50.0)]))).await;
        assert!(error.code == "ValidationException" && error.message.contains("shop"), "{}", error.message);
    });
}
