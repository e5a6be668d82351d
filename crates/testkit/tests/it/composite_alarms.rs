//! Composite alarms through the API: they follow other alarms, wait for their suppressor, and keep out of circles.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::cloudwatch::MODEL;
use standfast_testkit::{TestCloud, run};

use crate::site::{list, text};

/// Within which whatever follows at once has followed.
const AT_ONCE: Duration = Duration::from_secs(1);
const ACTION: &str = "arn:aws:sns:eu-west-1:000000000000:pager";

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let asked = input.clone();
    let answer = cloud.send(&MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation} {asked}: {error}"))
}

/// Metric alarms that stay as they are set.
async fn leaves(cloud: &TestCloud, names: &[&str]) {
    for name in names {
        let alarm = json!({
            "AlarmName": name, "Namespace": "Shop", "MetricName": "Heat", "Statistic": "Average", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 5.0, "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "ignore",
        });
        call(cloud, "PutMetricAlarm", alarm).await;
        set(cloud, name, "OK").await;
    }
}

async fn set(cloud: &TestCloud, name: &str, state: &str) {
    call(cloud, "SetAlarmState", json!({"AlarmName": name, "StateValue": state, "StateReason": "a test"})).await;
    cloud.pass(AT_ONCE).await;
}

async fn compose(cloud: &TestCloud, name: &str, rule: &str, more: Json) {
    let mut input = json!({"AlarmName": name, "AlarmRule": rule});
    let fields = input.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    call(cloud, "PutCompositeAlarm", input).await;
    cloud.pass(AT_ONCE).await;
}

async fn composite(cloud: &TestCloud, name: &str) -> Json {
    let asked = json!({"AlarmNames": [name], "AlarmTypes": ["CompositeAlarm"]});
    let answer = call(cloud, "DescribeAlarms", asked).await;
    list(&answer, "CompositeAlarms").first().expect("it is there").clone()
}

async fn state(cloud: &TestCloud, name: &str) -> String {
    text(&composite(cloud, name).await, "StateValue").to_owned()
}

/// How often the action was done, or tried.
async fn acted(cloud: &TestCloud, name: &str) -> usize {
    let asked = json!({"AlarmName": name, "HistoryItemType": "Action", "AlarmTypes": ["CompositeAlarm"]});
    let answer = call(cloud, "DescribeAlarmHistory", asked).await;
    list(&answer, "AlarmHistoryItems").iter().filter(|item| text(item, "HistorySummary").contains(ACTION)).count()
}

#[test]
fn a_composite_alarm_follows_the_alarms_of_its_rule() {
    run(1, |cloud| async move {
        leaves(&cloud, &["cpu", "disk", "deploy"]).await;
        let rule = "(ALARM(cpu) OR ALARM(\"disk\")) AND NOT ALARM(deploy)";
        compose(&cloud, "site", rule, json!({"AlarmActions": [ACTION]})).await;
        let new = composite(&cloud, "site").await;
        let arn = "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:";
        assert_eq!((text(&new, "StateValue"), text(&new, "AlarmRule")), ("OK", rule));
        assert_eq!(text(&new, "StateReason"), format!("{arn}site was created and its alarm rule evaluates to OK"));
        set(&cloud, "disk", "ALARM").await;
        let hot = composite(&cloud, "site").await;
        assert_eq!(text(&hot, "StateValue"), "ALARM");
        let reason = text(&hot, "StateReason");
        let expected = format!("{arn}disk transitioned to ALARM at Thursday 01 January, 2026 00:00:");
        assert!(reason.starts_with(&expected), "{reason}");
        let data: Json = serde_json::from_str(text(&hot, "StateReasonData")).expect("JSON");
        let because: Vec<_> = list(&data, "triggeringAlarms").iter().map(|one| text(one, "arn").to_owned()).collect();
        assert_eq!(because, [format!("{arn}disk"), format!("{arn}deploy")]);
        assert_eq!(acted(&cloud, "site").await, 1);
        set(&cloud, "deploy", "ALARM").await;
        assert_eq!(state(&cloud, "site").await, "OK");
        // One of another is evaluated when that one is.
        compose(&cloud, "all", "ALARM(site) AND TRUE", json!({})).await;
        set(&cloud, "deploy", "OK").await;
        assert_eq!(state(&cloud, "all").await, "ALARM");
        let history = json!({"AlarmName": "site", "HistoryItemType": "StateUpdate", "AlarmTypes": ["CompositeAlarm"]});
        let history = call(&cloud, "DescribeAlarmHistory", history).await;
        let first = &list(&history, "AlarmHistoryItems")[0];
        assert_eq!(text(first, "AlarmType"), "CompositeAlarm");
        assert_eq!(text(first, "HistorySummary"), "Alarm updated from OK to ALARM");
    });
}

#[test]
fn what_set_alarm_state_says_of_a_composite_alarm_stays_until_a_child_changes() {
    run(2, |cloud| async move {
        leaves(&cloud, &["cpu", "disk"]).await;
        compose(&cloud, "site", "ALARM(cpu) AND ALARM(disk)", json!({})).await;
        set(&cloud, "site", "ALARM").await;
        cloud.pass(Duration::from_secs(600)).await;
        assert_eq!(state(&cloud, "site").await, "ALARM");
        set(&cloud, "cpu", "ALARM").await;
        assert_eq!(state(&cloud, "site").await, "OK");
    });
}

#[test]
fn a_suppressor_holds_actions_back() {
    run(3, |cloud| async move {
        leaves(&cloud, &["cpu", "maintenance"]).await;
        let more = json!({
            "AlarmActions": [ACTION], "ActionsSuppressor": "maintenance",
            "ActionsSuppressorWaitPeriod": 60, "ActionsSuppressorExtensionPeriod": 120,
        });
        compose(&cloud, "site", "ALARM(cpu)", more).await;
        cloud.pass(Duration::from_secs(61)).await;
        // Nothing suppresses: the action comes after the wait.
        set(&cloud, "cpu", "ALARM").await;
        let waiting = composite(&cloud, "site").await;
        assert_eq!(text(&waiting, "ActionsSuppressedBy"), "WaitPeriod");
        assert_eq!(text(&waiting, "ActionsSuppressedReason"), "Actions suppressed by WaitPeriod");
        cloud.pass(Duration::from_secs(57)).await;
        assert_eq!(acted(&cloud, "site").await, 0);
        cloud.pass(Duration::from_secs(3)).await;
        assert_eq!(acted(&cloud, "site").await, 1);
        assert!(composite(&cloud, "site").await.get("ActionsSuppressedBy").is_none());
        // The suppressor comes in time: the action comes when it is gone for as long as the extension.
        set(&cloud, "cpu", "OK").await;
        cloud.pass(Duration::from_secs(61)).await;
        set(&cloud, "maintenance", "ALARM").await;
        set(&cloud, "cpu", "ALARM").await;
        assert_eq!(text(&composite(&cloud, "site").await, "ActionsSuppressedBy"), "Alarm");
        cloud.pass(Duration::from_secs(3600)).await;
        assert_eq!(acted(&cloud, "site").await, 1);
        set(&cloud, "maintenance", "OK").await;
        assert_eq!(text(&composite(&cloud, "site").await, "ActionsSuppressedBy"), "ExtensionPeriod");
        cloud.pass(Duration::from_secs(117)).await;
        assert_eq!(acted(&cloud, "site").await, 1);
        cloud.pass(Duration::from_secs(3)).await;
        assert_eq!(acted(&cloud, "site").await, 2);
    });
}

#[test]
fn rules_that_cannot_be_kept_are_refused() {
    run(4, |cloud| async move {
        leaves(&cloud, &["cpu"]).await;
        compose(&cloud, "a", "ALARM(cpu)", json!({})).await;
        compose(&cloud, "b", "ALARM(a)", json!({})).await;
        let put = |rule: &str, more: Json| {
            let mut input = json!({"AlarmName": "a", "AlarmRule": rule});
            input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            input
        };
        let suppressed = |more: Json| put("ALARM(cpu)", more);
        for (input, code, why) in [
            (
                put("ALARM(x) OR ALARM(y)", json!({})),
                "ValidationError",
                "Could not save the composite alarm as alarms [x, y] in the alarm rule do not exist",
            ),
            (
                put("ALARM(cpu", json!({})),
                "ValidationError",
                "AlarmRule must be a valid rule, and this is not: ')' is missing at the end.",
            ),
            (
                put("ALARM(a)", json!({})),
                "ValidationError",
                "Could not save the composite alarm as a would depend on itself.",
            ),
            (
                put("ALARM(cpu) OR ALARM(b)", json!({})),
                "ValidationError",
                "Could not save the composite alarm as a would depend on itself.",
            ),
            (
                suppressed(
                    json!({"ActionsSuppressor": "x", "ActionsSuppressorWaitPeriod": 1, "ActionsSuppressorExtensionPeriod": 1}),
                ),
                "ValidationError",
                "Could not save the composite alarm as the ActionsSuppressor x does not exist",
            ),
            (
                suppressed(json!({"ActionsSuppressor": "cpu", "ActionsSuppressorWaitPeriod": 1})),
                "MissingParameter",
                "The parameter ActionsSuppressorExtensionPeriod is required.",
            ),
            (
                suppressed(json!({"ActionsSuppressorWaitPeriod": 1})),
                "ValidationError",
                "ActionsSuppressorWaitPeriod needs ActionsSuppressor.",
            ),
            (
                suppressed(json!({"AlarmActions": ["arn:aws:automate:eu-west-1:ec2:stop"]})),
                "ValidationError",
                "An alarm of this type cannot do arn:aws:automate:eu-west-1:ec2:stop (in AlarmActions).",
            ),
        ] {
            let error = cloud.refused(&MODEL, "PutCompositeAlarm", input.clone()).await;
            assert_eq!((&*error.code, &*error.message), (code, why), "{input}");
        }
        let error = cloud.refused(&MODEL, "DeleteAlarms", json!({"AlarmNames": ["cpu"]})).await;
        assert_eq!(&*error.message, "Cannot delete cpu as there are composite alarm(s) depending on it: a.");
        let error = cloud.refused(&MODEL, "DeleteAlarms", json!({"AlarmNames": ["a", "b"]})).await;
        assert_eq!(&*error.message, "Only one composite alarm can be deleted in one request.");
        call(&cloud, "DeleteAlarms", json!({"AlarmNames": ["b"]})).await;
        call(&cloud, "DeleteAlarms", json!({"AlarmNames": ["a", "cpu"]})).await;
        let all = call(&cloud, "DescribeAlarms", json!({"AlarmTypes": ["CompositeAlarm", "MetricAlarm"]})).await;
        assert!(list(&all, "MetricAlarms").is_empty() && list(&all, "CompositeAlarms").is_empty());
    });
}

#[test]
fn composite_alarms_are_described_with_their_relatives() {
    run(5, |cloud| async move {
        leaves(&cloud, &["cpu", "disk", "other"]).await;
        let given = json!({"Tags": [{"Key": "team", "Value": "shop"}]});
        compose(&cloud, "low", "ALARM(cpu) OR OK(disk)", given).await;
        compose(&cloud, "high", "ALARM(low) AND ALARM(cpu)", json!({})).await;
        let names = |answer: &Json, field| -> Vec<String> {
            list(answer, field).iter().map(|one| text(one, "AlarmName").to_owned()).collect()
        };
        let children = call(&cloud, "DescribeAlarms", json!({"ChildrenOfAlarmName": "high"})).await;
        assert_eq!(
            (names(&children, "MetricAlarms"), names(&children, "CompositeAlarms")),
            (vec!["cpu".into()], vec!["low".into()])
        );
        assert_eq!(text(&list(&children, "CompositeAlarms")[0], "StateValue"), "ALARM");
        let parents = call(&cloud, "DescribeAlarms", json!({"ParentsOfAlarmName": "cpu"})).await;
        assert_eq!(names(&parents, "CompositeAlarms"), ["high", "low"]);
        assert!(list(&parents, "CompositeAlarms")[0].get("StateValue").is_none());
        let plain = call(&cloud, "DescribeAlarms", json!({})).await;
        assert_eq!((names(&plain, "MetricAlarms").len(), names(&plain, "CompositeAlarms").len()), (3, 0));
        let both = json!({"ChildrenOfAlarmName": "high", "StateValue": "OK"});
        assert!(cloud.refused(&MODEL, "DescribeAlarms", both).await.is("ValidationError"));
        let arn = "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:low";
        let tags = call(&cloud, "ListTagsForResource", json!({"ResourceARN": arn})).await;
        assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "shop"}]));
        call(&cloud, "DisableAlarmActions", json!({"AlarmNames": ["low"]})).await;
        assert_eq!(composite(&cloud, "low").await["ActionsEnabled"], json!(false));
    });
}
