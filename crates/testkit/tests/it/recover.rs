//! An alarm on the system's status check recovers its instance.

use std::time::Duration;

use serde_json::json;
use standfast_api::cloudwatch::MODEL;
use standfast_api::ec2 as api;
use standfast_testkit::run;

use crate::ec2;
use crate::site::{list, text};

#[test]
fn an_alarm_recovers_an_instance_whose_hardware_failed() {
    run(1, |cloud| async move {
        let id = ec2::launch(&cloud, json!({"MaintenanceOptions": {"AutoRecovery": "disabled"}})).await;
        let before = ec2::becomes(&cloud, &id, "running").await;
        let alarm = json!({
            "AlarmName": "sick", "Namespace": "AWS/EC2", "MetricName": "StatusCheckFailed_System", "Statistic": "Maximum",
            "Dimensions": [{"Name": "InstanceId", "Value": id}], "Period": 60, "EvaluationPeriods": 2, "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": ["arn:aws:automate:eu-west-1:ec2:recover"],
        });
        cloud.send(&MODEL, "PutMetricAlarm", alarm).await.expect("a good alarm");
        let tag = api::Tag { key: Some("aws:standfast:impaired".into()), value: Some("system".into()) };
        let input = api::CreateTagsInput { resources: vec![id.clone()], tags: vec![tag], dry_run: None };
        cloud.cx().call(api::CreateTags, input).await.expect("a service may give reserved tags");
        let boot = || cloud.host.snapshot().instances.get(id.as_str()).map(|one| one.boot);
        assert_eq!(boot(), Some(1));
        let again = || async { (boot() == Some(2)).then_some(()) };
        cloud.until("it boots again", Duration::from_secs(600), again).await;
        let after = ec2::becomes(&cloud, &id, "running").await;
        for field in ["PrivateIpAddress", "PublicIpAddress", "BlockDeviceMappings"] {
            assert_eq!(after[field], before[field], "{field}");
        }
        let history = json!({"AlarmName": "sick", "HistoryItemType": "Action"});
        let history = cloud.send(&MODEL, "DescribeAlarmHistory", history).await.expect("history");
        let first = text(&list(&history, "AlarmHistoryItems")[0], "HistorySummary").to_owned();
        assert_eq!(first, "Successfully executed action arn:aws:automate:eu-west-1:ec2:recover");
    });
}
