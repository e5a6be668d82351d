//! Stacks that scale: policies of all kinds, schedules, metrics and targets of other services.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{application_autoscaling, cloudformation as api};
use standfast_testkit::{TestCloud, run};

use crate::autoscaling::asg;
use crate::site::{STACK, list, rest, text};

const TEMPLATE: &str = "
Parameters:
  Target: {Type: Number, Default: 50}
  Image: {Type: 'AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>', Default: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}
Resources:
  Config:
    Type: AWS::AutoScaling::LaunchConfiguration
    Properties: {ImageId: !Ref Image, InstanceType: t3.micro}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    Properties:
      AutoScalingGroupName: web
      LaunchConfigurationName: !Ref Config
      AvailabilityZones: [eu-west-1a]
      MinSize: 0
      MaxSize: 4
      DesiredCapacity: 0
      MetricsCollection: [{Granularity: 1Minute, Metrics: [GroupDesiredCapacity]}]
  Tracking:
    Type: AWS::AutoScaling::ScalingPolicy
    Properties:
      AutoScalingGroupName: !Ref Group
      PolicyType: TargetTrackingScaling
      EstimatedInstanceWarmup: 60
      TargetTrackingConfiguration:
        PredefinedMetricSpecification: {PredefinedMetricType: ASGAverageCPUUtilization}
        TargetValue: !Ref Target
  Steps:
    Type: AWS::AutoScaling::ScalingPolicy
    Properties:
      AutoScalingGroupName: !Ref Group
      PolicyType: StepScaling
      AdjustmentType: ChangeInCapacity
      StepAdjustments: [{MetricIntervalLowerBound: 0, ScalingAdjustment: 1}]
  Simple:
    Type: AWS::AutoScaling::ScalingPolicy
    Properties: {AutoScalingGroupName: !Ref Group, AdjustmentType: ChangeInCapacity, ScalingAdjustment: -1, Cooldown: '120'}
  Ahead:
    Type: AWS::AutoScaling::ScalingPolicy
    Properties:
      AutoScalingGroupName: !Ref Group
      PolicyType: PredictiveScaling
      PredictiveScalingConfiguration:
        MetricSpecifications:
          - TargetValue: 50
            PredefinedMetricPairSpecification: {PredefinedMetricType: ASGCPUUtilization}
  Morning:
    Type: AWS::AutoScaling::ScheduledAction
    Properties: {AutoScalingGroupName: !Ref Group, Recurrence: 0 8 * * MON-FRI, TimeZone: Europe/London, MinSize: '1'}
  Service:
    Type: AWS::ApplicationAutoScaling::ScalableTarget
    Properties:
      ServiceNamespace: ecs
      ResourceId: service/a/b
      ScalableDimension: ecs:service:DesiredCount
      MinCapacity: 1
      MaxCapacity: 5
      ScheduledActions: [{ScheduledActionName: night, Schedule: cron(0 22 * * ? *), ScalableTargetAction: {MinCapacity: 0}}]
  ServicePolicy:
    Type: AWS::ApplicationAutoScaling::ScalingPolicy
    Properties:
      PolicyName: cpu
      PolicyType: TargetTrackingScaling
      ScalingTargetId: !Ref Service
      TargetTrackingScalingPolicyConfiguration:
        TargetValue: 60
        PredefinedMetricSpecification: {PredefinedMetricType: ECSServiceAverageCPUUtilization}
Outputs:
  Policy: {Value: !GetAtt Tracking.PolicyName}
  Arn: {Value: !Ref Tracking}
";

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    let answer = cloud.send(&api::MODEL, operation, input).await;
    answer.unwrap_or_else(|error| panic!("{operation}: {error}"))
}

async fn services(cloud: &TestCloud, operation: &str, name: &str) -> Vec<Json> {
    let input = json!({"ServiceNamespace": "ecs"});
    let found = cloud.send(&application_autoscaling::MODEL, operation, input).await.expect("it is good");
    list(&found, name).to_vec()
}

#[test]
fn a_stack_scales_and_takes_all_of_it_along() {
    run(1, |cloud| async move {
        call(&cloud, "CreateStack", json!({"StackName": STACK, "TemplateBody": TEMPLATE})).await;
        let (status, events) = rest(&cloud).await;
        assert_eq!(status, "CREATE_COMPLETE", "{events:#?}");
        let policies = asg(&cloud, "DescribePolicies", json!({"AutoScalingGroupName": "web"})).await;
        let mut types: Vec<&str> =
            list(&policies, "ScalingPolicies").iter().map(|one| text(one, "PolicyType")).collect();
        types.sort_unstable();
        assert_eq!(types, ["PredictiveScaling", "SimpleScaling", "StepScaling", "TargetTrackingScaling"]);
        let actions = asg(&cloud, "DescribeScheduledActions", json!({"AutoScalingGroupName": "web"})).await;
        assert_eq!(text(&list(&actions, "ScheduledUpdateGroupActions")[0], "TimeZone"), "Europe/London");
        assert_eq!(services(&cloud, "DescribeScalableTargets", "ScalableTargets").await[0]["MaxCapacity"], 5);
        assert_eq!(services(&cloud, "DescribeScalingPolicies", "ScalingPolicies").await.len(), 1);
        assert_eq!(services(&cloud, "DescribeScheduledActions", "ScheduledActions").await.len(), 1);

        let parameters = json!([{"ParameterKey": "Target", "ParameterValue": "70"}]);
        call(&cloud, "UpdateStack", json!({"StackName": STACK, "TemplateBody": TEMPLATE, "Parameters": parameters}))
            .await;
        let (status, events) = rest(&cloud).await;
        assert_eq!(status, "UPDATE_COMPLETE", "{events:#?}");
        let tracking = json!({"PolicyTypes": ["TargetTrackingScaling"]});
        let tracking = asg(&cloud, "DescribePolicies", tracking).await;
        let tracking = &list(&tracking, "ScalingPolicies")[0];
        assert_eq!(tracking["TargetTrackingConfiguration"]["TargetValue"], 70.0);
        let stack = call(&cloud, "DescribeStacks", json!({"StackName": STACK})).await;
        let outputs = list(&list(&stack, "Stacks")[0], "Outputs");
        let output = |key: &str| outputs.iter().find(|one| text(one, "OutputKey") == key).expect("it is there");
        assert_eq!(output("Arn")["OutputValue"], tracking["PolicyARN"]);
        assert_eq!(output("Policy")["OutputValue"], tracking["PolicyName"]);

        call(&cloud, "DeleteStack", json!({"StackName": STACK})).await;
        cloud
            .until("the stack to be gone", Duration::from_secs(600), || async {
                cloud.send(&api::MODEL, "DescribeStacks", json!({"StackName": STACK})).await.err()
            })
            .await;
        assert_eq!(services(&cloud, "DescribeScalableTargets", "ScalableTargets").await.len(), 0);
        let policies = asg(&cloud, "DescribePolicies", json!({})).await;
        assert_eq!(list(&policies, "ScalingPolicies").len(), 0);
    });
}
