//! Instance refreshes through the API: what is answered, that all instances are replaced, and what undoes it.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudwatch, ec2};
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, causes, described, image, refused, settled};
use crate::site::{list, text};

const LONG: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// A group named `web` of version 1 of a template with two; the template's id.
async fn template_group(cloud: &TestCloud, desired: u32, version: &str, more: Json) -> String {
    let data = json!({"ImageId": image(cloud).await, "InstanceType": "t3.micro"});
    let input = json!({"LaunchTemplateName": "web", "LaunchTemplateData": data});
    let template = cloud.send(&ec2::MODEL, "CreateLaunchTemplate", input).await.expect("a valid template");
    let id = text(&template["LaunchTemplate"], "LaunchTemplateId").to_owned();
    let input =
        json!({"LaunchTemplateId": id, "SourceVersion": "1", "LaunchTemplateData": {"InstanceType": "t3.small"}});
    cloud.send(&ec2::MODEL, "CreateLaunchTemplateVersion", input).await.expect("a valid version");
    let mut input = json!({
        "AutoScalingGroupName": "web", "MinSize": 0, "MaxSize": 9, "DesiredCapacity": desired,
        "AvailabilityZones": ["eu-west-1a", "eu-west-1b"], "LaunchTemplate": {"LaunchTemplateId": id, "Version": version},
    });
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    asg(cloud, "CreateAutoScalingGroup", input).await;
    settled(cloud, desired as usize).await;
    id
}

async fn start(cloud: &TestCloud, more: Json) -> String {
    let mut input = json!({"AutoScalingGroupName": "web"});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    text(&asg(cloud, "StartInstanceRefresh", input).await, "InstanceRefreshId").to_owned()
}

async fn latest(cloud: &TestCloud) -> Json {
    let answer = asg(cloud, "DescribeInstanceRefreshes", json!({"AutoScalingGroupName": "web"})).await;
    list(&answer, "InstanceRefreshes")[0].clone()
}

async fn becomes(cloud: &TestCloud, status: &str) -> Json {
    cloud
        .until(&format!("the refresh to be {status}"), LONG * 3, || async {
            let refresh = latest(cloud).await;
            (text(&refresh, "Status") == status).then_some(refresh)
        })
        .await
}

/// How many members there are of each type.
async fn types(cloud: &TestCloud) -> (usize, usize) {
    let group = described(cloud).await;
    let count = |name: &str| list(&group, "Instances").iter().filter(|m| text(m, "InstanceType") == name).count();
    (count("t3.micro"), count("t3.small"))
}

fn desired(id: &str, version: &str) -> Json {
    json!({"LaunchTemplate": {"LaunchTemplateId": id, "Version": version}})
}

#[test]
fn every_instance_is_replaced_and_the_group_takes_the_new_version() {
    run(1, |cloud| async move {
        let id = template_group(&cloud, 4, "1", json!({})).await;
        let preferences = json!({"MinHealthyPercentage": 50, "InstanceWarmup": 30});
        let started =
            start(&cloud, json!({"Preferences": preferences, "DesiredConfiguration": desired(&id, "2")})).await;
        let again = refused(&cloud, "StartInstanceRefresh", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(again.0, "InstanceRefreshInProgress");
        let refresh = becomes(&cloud, "InProgress").await;
        assert_eq!((text(&refresh, "InstanceRefreshId"), &refresh["InstancesToUpdate"]), (started.as_str(), &json!(4)));
        assert_eq!(refresh["Preferences"]["MinHealthyPercentage"], 50);
        assert_eq!(refresh["DesiredConfiguration"], desired(&id, "2"));
        cloud.pass(SECOND * 20).await;
        let reason = text(&latest(&cloud).await, "StatusReason").to_owned();
        assert!(reason.starts_with("Waiting for instances to warm up before continuing. For example: i-"), "{reason}");
        let refresh = becomes(&cloud, "Successful").await;
        assert_eq!((&refresh["PercentageComplete"], &refresh["InstancesToUpdate"]), (&json!(100), &json!(0)));
        settled(&cloud, 4).await;
        assert_eq!(types(&cloud).await, (0, 4));
        assert_eq!(text(&described(&cloud).await["LaunchTemplate"], "Version"), "2");
        let causes = causes(&cloud).await;
        assert!(causes.iter().any(|cause| cause.ends_with("was launched in response to an instance refresh.")));

        let matching = json!({"Preferences": {"SkipMatching": true}});
        start(&cloud, matching).await;
        becomes(&cloud, "Successful").await;
        assert_eq!(list(&described(&cloud).await, "Instances").len(), 4);
        let nothing = refused(&cloud, "CancelInstanceRefresh", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(nothing.0, "ActiveInstanceRefreshNotFound");
    });
}

#[test]
fn a_refresh_is_cancelled_or_rolled_back() {
    run(2, |cloud| async move {
        let id = template_group(&cloud, 4, "1", json!({})).await;
        let more = json!({
            "Preferences": {"MinHealthyPercentage": 75, "InstanceWarmup": 30}, "DesiredConfiguration": desired(&id, "2"),
        });
        start(&cloud, more.clone()).await;
        cloud.pass(SECOND * 60).await;
        let (old, new) = types(&cloud).await;
        assert!(old > 0 && new > 0, "{old} and {new}");
        asg(&cloud, "CancelInstanceRefresh", json!({"AutoScalingGroupName": "web"})).await;
        let refresh = becomes(&cloud, "Cancelled").await;
        assert_eq!(text(&refresh, "StatusReason"), "Cancelled due to user request.");
        settled(&cloud, 4).await;
        assert_eq!(text(&described(&cloud).await["LaunchTemplate"], "Version"), "1");

        start(&cloud, more).await;
        cloud.pass(SECOND * 60).await;
        asg(&cloud, "RollbackInstanceRefresh", json!({"AutoScalingGroupName": "web"})).await;
        let refresh = becomes(&cloud, "RollbackSuccessful").await;
        assert!(refresh["RollbackDetails"]["RollbackReason"].is_string());
        settled(&cloud, 4).await;
        assert_eq!(refresh["PercentageComplete"], 0);

        start(&cloud, json!({})).await;
        let none = refused(&cloud, "RollbackInstanceRefresh", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(none.0, "IrreversibleInstanceRefresh");
    });
}

#[test]
fn an_alarm_undoes_a_refresh() {
    run(3, |cloud| async move {
        let id = template_group(&cloud, 4, "1", json!({})).await;
        let alarm = json!({
            "AlarmName": "errors", "Namespace": "Shop", "MetricName": "Errors", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
        });
        cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", alarm).await.expect("a valid alarm");
        let preferences = json!({
            "MinHealthyPercentage": 75, "InstanceWarmup": 60, "AutoRollback": true,
            "AlarmSpecification": {"Alarms": ["errors"]},
        });
        start(&cloud, json!({"Preferences": preferences, "DesiredConfiguration": desired(&id, "2")})).await;
        cloud.pass(SECOND * 90).await;
        let input = json!({"AlarmName": "errors", "StateValue": "ALARM", "StateReason": "a test"});
        cloud.send(&cloudwatch::MODEL, "SetAlarmState", input).await.expect("it is there");
        cloud.pass(SECOND).await;
        assert_eq!(text(&latest(&cloud).await, "Status"), "RollbackInProgress");
        becomes(&cloud, "RollbackSuccessful").await;
        settled(&cloud, 4).await;
        assert_eq!(types(&cloud).await, (4, 0));
    });
}

#[test]
fn mistakes_are_told() {
    run(4, |cloud| async move {
        template_group(&cloud, 1, "$Latest", json!({})).await;
        let refuse = async |preferences: Json| {
            let input = json!({"AutoScalingGroupName": "web", "Preferences": preferences});
            let (code, message) = refused(&cloud, "StartInstanceRefresh", input).await;
            assert_eq!(code, "ValidationError", "{message}");
            message
        };
        let message = refuse(json!({"MinHealthyPercentage": 101})).await;
        assert!(message.contains("inHealthyPercentage") && message.contains("101"), "{message}");
        assert!(refuse(json!({"MaxHealthyPercentage": 120})).await.contains("requires MinHealthyPercentage"));
        let message = refuse(json!({"MinHealthyPercentage": 10, "MaxHealthyPercentage": 120})).await;
        assert!(message.contains("must not be greater than 100"), "{message}");
        assert!(refuse(json!({"CheckpointDelay": 5})).await.contains("requires CheckpointPercentages"));
        assert!(refuse(json!({"CheckpointPercentages": [50, 20]})).await.contains("ascending"));
        assert!(refuse(json!({"AutoRollback": true})).await.contains("desired configuration"));
        let message = refuse(json!({"AlarmSpecification": {"Alarms": ["none"]}})).await;
        assert!(message.contains("'none'"), "{message}");
        assert!(refuse(json!({"StandbyInstances": "Shoot"})).await.contains("Shoot"));
    });
}
