//! Alarms, dashboards and detectors of stacks.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{cloudformation as api, cloudwatch};
use standfast_testkit::TestCloud;

use crate::site::{list, text};

const TEMPLATE: &str = "
Resources:
  Hot:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: Shop
      MetricName: Heat
      Statistic: Average
      Period: 60
      EvaluationPeriods: 1
      Threshold: 5
      ComparisonOperator: GreaterThanThreshold
      Tags: [{Key: team, Value: shop}]
  Site:
    Type: AWS::CloudWatch::CompositeAlarm
    Properties: {AlarmName: site, AlarmRule: !Sub 'ALARM(\"${Hot.Arn}\")'}
  Board:
    Type: AWS::CloudWatch::Dashboard
    Properties: {DashboardName: shop, DashboardBody: '{\"widgets\": []}'}
  Normal:
    Type: AWS::CloudWatch::AnomalyDetector
    Properties: {Namespace: Shop, MetricName: Heat, Stat: Average}
Outputs:
  Arn: {Value: !GetAtt Site.Arn}
";

async fn watch(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    cloud.send(&cloudwatch::MODEL, operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

async fn settled(cloud: &TestCloud) -> Json {
    let done = || async {
        let answer = cloud.send(&api::MODEL, "DescribeStacks", json!({"StackName": "s"})).await.expect("it is there");
        let stack = list(&answer, "Stacks")[0].clone();
        (!text(&stack, "StackStatus").ends_with("IN_PROGRESS")).then_some(stack)
    };
    cloud.until("the stack to settle", Duration::from_secs(300), done).await
}

#[test]
fn a_stack_has_alarms_dashboards_and_detectors() {
    standfast_testkit::run(1, |cloud| async move {
        let input = json!({"StackName": "s", "TemplateBody": TEMPLATE});
        cloud.send(&api::MODEL, "CreateStack", input).await.expect("a good template");
        let stack = settled(&cloud).await;
        assert_eq!(text(&stack, "StackStatus"), "CREATE_COMPLETE");
        let arn = "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:site";
        assert_eq!(text(&list(&stack, "Outputs")[0], "OutputValue"), arn);
        let both = json!({"AlarmTypes": ["MetricAlarm", "CompositeAlarm"]});
        let alarms = watch(&cloud, "DescribeAlarms", both.clone()).await;
        let hot = list(&alarms, "MetricAlarms")[0].clone();
        assert!(text(&hot, "AlarmName").starts_with("s-Hot-"), "{hot}");
        assert_eq!(hot["Threshold"], json!(5.0));
        let tags = watch(&cloud, "ListTagsForResource", json!({"ResourceARN": hot["AlarmArn"]})).await;
        assert!(list(&tags, "Tags").contains(&json!({"Key": "team", "Value": "shop"})));
        watch(&cloud, "GetDashboard", json!({"DashboardName": "shop"})).await;
        let detectors = watch(&cloud, "DescribeAnomalyDetectors", json!({})).await;
        assert_eq!(list(&detectors, "AnomalyDetectors").len(), 1);

        let changed = TEMPLATE.replace("Threshold: 5", "Threshold: 7").replace("Value: shop", "Value: ops");
        let input = json!({"StackName": "s", "TemplateBody": changed});
        cloud.send(&api::MODEL, "UpdateStack", input).await.expect("a good change");
        assert_eq!(text(&settled(&cloud).await, "StackStatus"), "UPDATE_COMPLETE");
        let alarms = watch(&cloud, "DescribeAlarms", json!({})).await;
        assert_eq!(list(&alarms, "MetricAlarms")[0]["Threshold"], json!(7.0));
        let tags = watch(&cloud, "ListTagsForResource", json!({"ResourceARN": hot["AlarmArn"]})).await;
        assert!(list(&tags, "Tags").contains(&json!({"Key": "team", "Value": "ops"})));

        cloud.send(&api::MODEL, "DeleteStack", json!({"StackName": "s"})).await.expect("it is there");
        let gone = || async { cloud.send(&api::MODEL, "DescribeStacks", json!({"StackName": "s"})).await.err() };
        cloud.until("the stack to go", Duration::from_secs(60), gone).await;
        let alarms = watch(&cloud, "DescribeAlarms", both).await;
        assert!(list(&alarms, "MetricAlarms").is_empty() && list(&alarms, "CompositeAlarms").is_empty());
        let detectors = watch(&cloud, "DescribeAnomalyDetectors", json!({})).await;
        assert!(list(&detectors, "AnomalyDetectors").is_empty());
    });
}
