//! Scheduled actions: groups change at a time, once or again and again, in the time zone that was asked for.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_core::Timestamp;
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::{asg, causes, described, group, refused, settled};
use crate::site::{list, text};

const HOUR: Duration = Duration::from_secs(3600);

async fn put(cloud: &TestCloud, name: &str, more: Json) {
    asg(cloud, "PutScheduledUpdateGroupAction", action(name, more)).await;
}

fn action(name: &str, more: Json) -> Json {
    let mut input = json!({"AutoScalingGroupName": "web", "ScheduledActionName": name});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    input
}

async fn actions(cloud: &TestCloud, more: Json) -> Vec<Json> {
    let found = asg(cloud, "DescribeScheduledActions", more).await;
    list(&found, "ScheduledUpdateGroupActions").to_vec()
}

fn sizes(group: &Json) -> [i64; 3] {
    ["MinSize", "MaxSize", "DesiredCapacity"].map(|name| group[name].as_i64().expect("a number"))
}

fn after(cloud: &TestCloud, by: Duration) -> String {
    (cloud.now() + by).iso8601_seconds()
}

#[test]
fn a_one_off_changes_the_group_at_its_time_and_is_gone() {
    run(1, |cloud| async move {
        group(&cloud, 2, json!({})).await;
        put(&cloud, "up", json!({"StartTime": after(&cloud, HOUR), "MinSize": 3, "MaxSize": 6, "DesiredCapacity": 4}))
            .await;
        let shown = actions(&cloud, json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(shown[0]["StartTime"], shown[0]["Time"]);
        assert!(text(&shown[0], "ScheduledActionARN").ends_with(":autoScalingGroupName/web:scheduledActionName/up"));
        cloud.pass(HOUR - Duration::from_secs(5)).await;
        assert_eq!(sizes(&described(&cloud).await), [0, 9, 2]);
        cloud.pass(Duration::from_secs(10)).await;
        assert_eq!(sizes(&described(&cloud).await), [3, 6, 4]);
        settled(&cloud, 4).await;
        let cause = causes(&cloud).await.swap_remove(0);
        let told = "a scheduled action update of AutoScalingGroup constraints to min: 3, max: 6, desired: 4 changing the \
                    desired capacity from 2 to 4.";
        assert!(cause.contains(told), "{cause}");
        assert_eq!(actions(&cloud, json!({})).await, Vec::<Json>::new());
    });
}

#[test]
fn a_recurrence_keeps_the_hour_of_its_zone_until_it_ends() {
    run(2, |cloud| async move {
        group(&cloud, 2, json!({"MinSize": 2})).await;
        let morning = json!({"Recurrence": "0 8 * * MON-FRI", "TimeZone": "Europe/London", "MinSize": 3, "MaxSize": 6, "DesiredCapacity": 4});
        put(&cloud, "morning", morning).await;
        let shown = actions(&cloud, json!({"ScheduledActionNames": ["morning"]})).await.remove(0);
        assert_eq!((text(&shown, "Recurrence"), text(&shown, "TimeZone")), ("0 8 * * MON-FRI", "Europe/London"));
        let next: Timestamp = text(&shown, "StartTime").parse().expect("a time");
        let (at, now) = (next.civil(), cloud.now());
        assert!(next > now && (at.hour() == 8 || at.hour() == 7) && at.minute() == 0, "{next}");
        cloud.pass(next.since(now) + Duration::from_secs(1)).await;
        assert_eq!(sizes(&described(&cloud).await), [3, 6, 4]);
        let again: Timestamp = text(&actions(&cloud, json!({})).await[0], "StartTime").parse().expect("a time");
        assert!(again >= next + HOUR * 23, "{again}");

        put(
            &cloud,
            "hourly",
            json!({"Recurrence": "30 * * * *", "DesiredCapacity": 5, "EndTime": after(&cloud, HOUR * 3)}),
        )
        .await;
        cloud.pass(HOUR).await;
        assert_eq!(sizes(&described(&cloud).await), [3, 6, 5]);
        asg(
            &cloud,
            "SuspendProcesses",
            json!({"AutoScalingGroupName": "web", "ScalingProcesses": ["ScheduledActions"]}),
        )
        .await;
        asg(&cloud, "SetDesiredCapacity", json!({"AutoScalingGroupName": "web", "DesiredCapacity": 3})).await;
        cloud.pass(HOUR).await;
        assert_eq!(sizes(&described(&cloud).await), [3, 6, 3], "scheduled actions are suspended");
        cloud.pass(HOUR * 2).await;
        let names = actions(&cloud, json!({})).await;
        assert_eq!(names.iter().map(|one| text(one, "ScheduledActionName")).collect::<Vec<_>>(), ["morning"]);
        asg(&cloud, "DeleteScheduledAction", action("morning", json!({}))).await;
        assert_eq!(refused(&cloud, "DeleteScheduledAction", action("morning", json!({}))).await.0, "ValidationError");
    });
}

#[test]
fn several_are_put_and_deleted_at_once_and_told_apart() {
    run(3, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let one = |name: &str, hours: u32| json!({"ScheduledActionName": name, "StartTime": after(&cloud, HOUR * hours), "DesiredCapacity": 1});
        let both = json!({"AutoScalingGroupName": "web", "ScheduledUpdateGroupActions": [one("a", 1), one("b", 2), one("c", 2)]});
        let answer = asg(&cloud, "BatchPutScheduledUpdateGroupAction", both).await;
        let failed = list(&answer, "FailedScheduledUpdateGroupActions");
        assert_eq!((failed.len(), text(&failed[0], "ScheduledActionName")), (1, "c"));
        assert_eq!(text(&failed[0], "ErrorCode"), "AlreadyExists");
        assert_eq!(actions(&cloud, json!({"StartTime": after(&cloud, HOUR + HOUR / 2)})).await.len(), 1);
        assert_eq!(actions(&cloud, json!({"EndTime": after(&cloud, HOUR / 2)})).await.len(), 0);
        let page = asg(&cloud, "DescribeScheduledActions", json!({"MaxRecords": 1})).await;
        assert_eq!(actions(&cloud, json!({"NextToken": page["NextToken"]})).await.len(), 1);
        let names = json!({"AutoScalingGroupName": "web", "ScheduledActionNames": ["a", "x"]});
        let answer = asg(&cloud, "BatchDeleteScheduledAction", names).await;
        assert_eq!(text(&list(&answer, "FailedScheduledActions")[0], "ScheduledActionName"), "x");
        assert_eq!(actions(&cloud, json!({})).await.len(), 1);
        asg(&cloud, "DeleteAutoScalingGroup", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(actions(&cloud, json!({})).await.len(), 0);
    });
}

#[test]
fn mistakes_in_schedules_are_named() {
    run(4, |cloud| async move {
        group(&cloud, 0, json!({})).await;
        let soon = after(&cloud, HOUR);
        let past = (cloud.now() - HOUR).iso8601_seconds();
        for (more, named) in [
            (json!({"StartTime": soon}), "MinSize"),
            (json!({"DesiredCapacity": 1}), "StartTime"),
            (json!({"StartTime": past, "DesiredCapacity": 1}), "start time is in the past"),
            (json!({"StartTime": soon, "EndTime": soon, "DesiredCapacity": 1}), "EndTime"),
            (json!({"Recurrence": "0 8 * *", "DesiredCapacity": 1}), "0 8 * *"),
            (json!({"Recurrence": "0 0 31 2 *", "DesiredCapacity": 1}), "0 0 31 2 *"),
            (json!({"Recurrence": "0 0 30 2 *", "StartTime": soon, "DesiredCapacity": 1}), "0 0 30 2 *"),
            (json!({"Recurrence": "0 8 * * *", "TimeZone": "Mars/Base", "DesiredCapacity": 1}), "Mars/Base"),
            (json!({"StartTime": soon, "MinSize": 4, "MaxSize": 2}), "Max bound, 2"),
            (json!({"StartTime": soon, "MaxSize": 2, "DesiredCapacity": 3}), "Desired capacity:3"),
            (json!({"StartTime": soon, "MinSize": -1}), "MinSize -1"),
        ] {
            let (code, message) = refused(&cloud, "PutScheduledUpdateGroupAction", action("a", more.clone())).await;
            assert!(code == "ValidationError" && message.contains(named), "{more}: {code}: {message}");
        }
        let fine = action("a", json!({"StartTime": soon, "DesiredCapacity": 1}));
        asg(&cloud, "PutScheduledUpdateGroupAction", fine.clone()).await;
        asg(&cloud, "PutScheduledUpdateGroupAction", fine).await;
        let same = action("b", json!({"StartTime": soon, "DesiredCapacity": 2}));
        assert_eq!(refused(&cloud, "PutScheduledUpdateGroupAction", same).await.0, "AlreadyExists");
    });
}
