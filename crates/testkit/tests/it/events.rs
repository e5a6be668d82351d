//! The event bus: what is told reaches the topics of the rules that match.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudwatch, events, sns};
use standfast_testkit::TestCloud;

use crate::autoscaling::{asg, group, settled};

const MINUTE: Duration = Duration::from_secs(60);
const HOOK: &str = "http://127.0.0.1:9999/hook";

/// A topic with a confirmed endpoint that gets messages raw.
async fn topic(cloud: &TestCloud) -> String {
    let made = cloud.send(&sns::MODEL, "CreateTopic", json!({"Name": "events"})).await.expect("created");
    let topic = made["TopicArn"].as_str().expect("an ARN").to_owned();
    let attributes = json!({"RawMessageDelivery": "true"});
    let input = json!({"TopicArn": topic, "Protocol": "http", "Endpoint": HOOK, "Attributes": attributes});
    cloud.send(&sns::MODEL, "Subscribe", input).await.expect("subscribed");
    let token = cloud
        .until("the question", MINUTE, || async {
            let body: Json = serde_json::from_str(&cloud.courier.posts().first()?.1.body).expect("JSON");
            Some(body["Token"].clone())
        })
        .await;
    let input = json!({"TopicArn": topic, "Token": token});
    cloud.send(&sns::MODEL, "ConfirmSubscription", input).await.expect("confirmed");
    topic
}

/// What the endpoint got since it confirmed.
fn got(cloud: &TestCloud) -> Vec<String> {
    cloud.courier.posts().into_iter().skip(1).map(|(_, post)| post.body).collect()
}

async fn rule(cloud: &TestCloud, rule: Json, target: Json) {
    cloud.send(&events::MODEL, "PutRule", rule.clone()).await.expect("put");
    let input = json!({"Rule": rule["Name"], "Targets": [target]});
    let answer = cloud.send(&events::MODEL, "PutTargets", input).await.expect("put");
    assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
}

#[test]
fn events_reach_the_targets_of_rules_that_match() {
    standfast_testkit::run(1, |cloud| async move {
        let topic = topic(&cloud).await;
        let pattern = json!({"source": ["shop"], "detail": {"price": [{"numeric": [">", 10]}]}}).to_string();
        let transformer = json!({
            "InputPathsMap": {"price": "$.detail.price", "what": "$.detail.what"},
            "InputTemplate": "\"sold <what> for <price>\"",
        });
        let target = json!({"Id": "t", "Arn": topic, "InputTransformer": transformer});
        rule(&cloud, json!({"Name": "sales", "EventPattern": pattern}), target).await;
        let sale = |price: u32| {
            let detail = json!({"what": "tea", "price": price}).to_string();
            json!({"Source": "shop", "DetailType": "sale", "Detail": detail})
        };
        let entries = json!([sale(9), sale(11), {"Source": "aws.ec2", "DetailType": "x", "Detail": "{}"}]);
        let answer = cloud.send(&events::MODEL, "PutEvents", json!({"Entries": entries})).await.expect("put");
        assert_eq!(answer["FailedEntryCount"], 1, "{answer}");
        cloud.pass(MINUTE).await;
        assert_eq!(got(&cloud), ["sold tea for 11"]);
        let seen = standfast_messaging::events::seen(&cloud.cloud, standfast_testkit::REGION, "");
        assert_eq!(seen.as_array().map(Vec::len), Some(2));
    });
}

#[test]
fn an_alarm_is_an_event_and_schedules_fire() {
    standfast_testkit::run(2, |cloud| async move {
        let topic = topic(&cloud).await;
        let pattern = json!({"source": ["aws.cloudwatch"], "detail": {"state": {"value": ["ALARM"]}}}).to_string();
        let target = json!({"Id": "t", "Arn": topic, "InputPath": "$.detail.alarmName"});
        rule(&cloud, json!({"Name": "alarms", "EventPattern": pattern}), target).await;
        let input = json!({
            "AlarmName": "cpu", "Namespace": "N", "MetricName": "M", "Statistic": "Average", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "ignore",
        });
        cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", input).await.expect("put");
        let set = json!({"AlarmName": "cpu", "StateValue": "ALARM", "StateReason": "by hand"});
        cloud.send(&cloudwatch::MODEL, "SetAlarmState", set).await.expect("set");
        cloud.until("the event", MINUTE, || async { (got(&cloud) == ["\"cpu\""]).then_some(()) }).await;
        let target = json!({"Id": "t", "Arn": topic, "Input": "\"tick\""});
        rule(&cloud, json!({"Name": "clock", "ScheduleExpression": "rate(5 minutes)"}), target).await;
        cloud.pass(Duration::from_secs(16 * 60)).await;
        assert_eq!(got(&cloud)[1..], ["\"tick\""; 3]);
    });
}

#[test]
fn what_is_wrong_is_said() {
    standfast_testkit::run(3, |cloud| async move {
        let put = |more: Json| {
            let mut input = json!({"Name": "r"});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            ("PutRule", input)
        };
        for ((operation, input), code) in [
            (put(json!({})), "ValidationException"),
            (put(json!({"EventPattern": "{"})), "InvalidEventPatternException"),
            (put(json!({"ScheduleExpression": "rate(1 minutes)"})), "ValidationException"),
            (put(json!({"ScheduleExpression": "cron(0 0 * * * *)"})), "ValidationException"),
            (put(json!({"EventPattern": r#"{"a": ["b"]}"#, "EventBusName": "none"})), "ResourceNotFoundException"),
            (("DescribeRule", json!({"Name": "none"})), "ResourceNotFoundException"),
            (("DeleteEventBus", json!({"Name": "default"})), "ValidationException"),
        ] {
            let error = cloud.refused(&events::MODEL, operation, input.clone()).await;
            assert!(error.is(code), "{operation} {input}: {error}");
        }
        cloud.send(&events::MODEL, "PutRule", put(json!({"EventPattern": r#"{"a": ["b"]}"#})).1).await.expect("put");
        let targets = json!([{"Id": "q", "Arn": "arn:aws:sqs:eu-west-1:000000000000:q"}]);
        let input = json!({"Rule": "r", "Targets": targets});
        let answer = cloud.send(&events::MODEL, "PutTargets", input).await.expect("answered");
        assert_eq!(answer["FailedEntryCount"], 1);
        assert!(
            answer["FailedEntries"][0]["ErrorMessage"].as_str().is_some_and(|text| text.contains("sqs")),
            "{answer}"
        );
    });
}

#[test]
fn instances_and_groups_tell_of_themselves() {
    standfast_testkit::run(4, |cloud| async move {
        let topic = topic(&cloud).await;
        let pattern = json!({"source": ["aws.ec2", "aws.autoscaling"]}).to_string();
        let target = json!({"Id": "t", "Arn": topic});
        rule(&cloud, json!({"Name": "compute", "EventPattern": pattern}), target).await;
        group(&cloud, 1, json!({"MinSize": 0})).await;
        settled(&cloud, 1).await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 0})).await;
        cloud.pass(5 * MINUTE).await;
        let told: Vec<Json> = got(&cloud).iter().map(|body| serde_json::from_str(body).expect("JSON")).collect();
        let of = |source: &str, member: &str| -> Vec<String> {
            let own = told.iter().filter(|event| event["source"] == source);
            own.map(|event| event[member].as_str().or(event["detail"]["state"].as_str()).unwrap_or("?").to_owned())
                .collect()
        };
        let states = ["pending", "running", "shutting-down", "terminated"];
        assert_eq!(of("aws.ec2", "no such member"), states);
        let activities = ["EC2 Instance Launch Successful", "EC2 Instance Terminate Successful"];
        assert_eq!(of("aws.autoscaling", "detail-type"), activities);
        let launched = told.iter().find(|event| event["detail-type"] == activities[0]).expect("told");
        assert_eq!(launched["detail"]["AutoScalingGroupName"], "web");
        assert!(launched["resources"][1].as_str().is_some_and(|arn| arn.contains(":instance/i-")), "{launched}");
    });
}
