//! Notifications: topics are told of what groups do, and lifecycle hooks tell who waits.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::sns;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, group, refused, settled};
use crate::site::{list, text};

const HOOK: &str = "http://127.0.0.1:9999/asg";
const MINUTE: Duration = Duration::from_secs(60);

/// A topic whose messages an endpoint gets raw.
async fn topic(cloud: &TestCloud) -> String {
    let send = async |operation: &str, input: Json| cloud.send(&sns::MODEL, operation, input).await.expect(operation);
    let made = send("CreateTopic", json!({"Name": "told"})).await;
    let topic = text(&made, "TopicArn").to_owned();
    let raw = json!({"RawMessageDelivery": "true"});
    send("Subscribe", json!({"TopicArn": topic, "Protocol": "http", "Endpoint": HOOK, "Attributes": raw})).await;
    let asked = cloud
        .until("the question", MINUTE, || async {
            cloud.courier.posts().into_iter().find(|(_, post)| post.url == HOOK)
        })
        .await;
    let asked: Json = serde_json::from_str(&asked.1.body).expect("JSON");
    send("ConfirmSubscription", json!({"TopicArn": topic, "Token": asked["Token"]})).await;
    topic
}

/// What has arrived since the question.
fn told(cloud: &TestCloud) -> Vec<Json> {
    let posts = cloud.courier.posts().into_iter().filter(|(_, post)| post.url == HOOK).skip(1);
    posts.map(|(_, post)| serde_json::from_str(&post.body).expect("JSON")).collect()
}

async fn until_told(cloud: &TestCloud, what: &str, fits: impl Fn(&Json) -> bool) -> Json {
    cloud.until(what, MINUTE * 5, || async { told(cloud).into_iter().find(|one| fits(one)) }).await
}

#[test]
fn topics_are_told_of_launches_and_terminations() {
    run(1, |cloud| async move {
        group(&cloud, 1, json!({})).await;
        let topic = topic(&cloud).await;
        let types = ["autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_TERMINATE"];
        let put = json!({"AutoScalingGroupName": "web", "TopicARN": topic, "NotificationTypes": types});
        asg(&cloud, "PutNotificationConfiguration", put).await;
        let test = until_told(&cloud, "the test", |one| one["Event"] == "autoscaling:TEST_NOTIFICATION").await;
        assert_eq!((text(&test, "AutoScalingGroupName"), text(&test, "Service")), ("web", "AWS Auto Scaling"));
        let shown = asg(&cloud, "DescribeNotificationConfigurations", json!({"AutoScalingGroupNames": ["web"]})).await;
        let shown: Vec<&str> =
            list(&shown, "NotificationConfigurations").iter().map(|one| text(one, "NotificationType")).collect();
        assert_eq!(shown, types);

        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 2})).await;
        let launch = until_told(&cloud, "the launch", |one| one["Event"] == types[0]).await;
        assert!(text(&launch, "EC2InstanceId").starts_with("i-"), "{launch}");
        assert!(text(&launch, "Description").starts_with("Launching a new EC2 instance: i-"), "{launch}");
        assert!(text(&launch, "Cause").contains("from 1 to 2."), "{launch}");
        assert!(text(&launch["Details"], "Availability Zone").starts_with("eu-west-1"), "{launch}");
        settled(&cloud, 2).await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 0})).await;
        until_told(&cloud, "the end", |one| one["Event"] == types[1]).await;

        let gone = json!({"AutoScalingGroupName": "web", "TopicARN": topic});
        asg(&cloud, "DeleteNotificationConfiguration", gone).await;
        let shown = asg(&cloud, "DescribeNotificationConfigurations", json!({})).await;
        assert_eq!(list(&shown, "NotificationConfigurations").len(), 0);
    });
}

#[test]
fn hooks_tell_who_waits_with_a_token_that_completes_it() {
    run(2, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let hook = json!({
            "AutoScalingGroupName": "web", "LifecycleHookName": "greet", "NotificationMetadata": "hello",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_LAUNCHING", "NotificationTargetARN": topic(&cloud).await,
        });
        asg(&cloud, "PutLifecycleHook", hook).await;
        until_told(&cloud, "the test", |one| one["Event"] == "autoscaling:TEST_NOTIFICATION").await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 1})).await;
        let waits = until_told(&cloud, "the hook", |one| one["LifecycleHookName"] == "greet").await;
        assert_eq!(text(&waits, "NotificationMetadata"), "hello");
        assert_eq!(text(&waits, "LifecycleTransition"), "autoscaling:EC2_INSTANCE_LAUNCHING");
        let complete = json!({
            "AutoScalingGroupName": "web", "LifecycleHookName": "greet", "LifecycleActionResult": "CONTINUE",
            "LifecycleActionToken": waits["LifecycleActionToken"],
        });
        asg(&cloud, "CompleteLifecycleAction", complete).await;
        settled(&cloud, 1).await;
    });
}

#[test]
fn mistakes_in_notifications_are_named() {
    run(3, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let good = topic(&cloud).await;
        let gone = good.replace(":told", ":gone");
        for (topic, type_, named) in [
            (good.as_str(), "autoscaling:NOTHING", "autoscaling:NOTHING"),
            ("told", "autoscaling:EC2_INSTANCE_LAUNCH", "told"),
            (gone.as_str(), "autoscaling:EC2_INSTANCE_LAUNCH", ":gone"),
        ] {
            let put = json!({"AutoScalingGroupName": "web", "TopicARN": topic, "NotificationTypes": [type_]});
            let (code, message) = refused(&cloud, "PutNotificationConfiguration", put).await;
            assert!(code == "ValidationError" && message.contains(named), "{topic}: {code}: {message}");
        }
    });
}
