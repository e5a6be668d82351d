"""autoscaling through boto3, what scales groups: tracked targets, forecasts, schedules; and what groups tell topics."""

from datetime import datetime, timedelta, timezone

import pytest

from waiting import eventually

GONE_S = 60


@pytest.fixture(scope="module")
def autoscaling(client):
    return client("autoscaling")


@pytest.fixture
def group(autoscaling, client, request):
    """An empty group with the test's name."""
    ec2, name = client("ec2"), request.node.name
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    autoscaling.create_launch_configuration(LaunchConfigurationName=name, ImageId=image, InstanceType="t3.micro")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName=name, LaunchConfigurationName=name, MinSize=0, MaxSize=6, DesiredCapacity=0,
        AvailabilityZones=[ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]],
    )  # fmt: skip
    yield name
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    eventually(
        lambda: not autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"],
        limit_s=GONE_S, what=f"the end of {name}",
    )  # fmt: skip
    autoscaling.delete_launch_configuration(LaunchConfigurationName=name)


def test_target_tracking_has_two_alarms(autoscaling, client, group, refused):
    config = {
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"},
        "TargetValue": 50.0,
        "DisableScaleIn": False,
    }
    policy = {"AutoScalingGroupName": group, "PolicyName": "cpu50", "PolicyType": "TargetTrackingScaling"}
    made = autoscaling.put_scaling_policy(**policy, EstimatedInstanceWarmup=60, TargetTrackingConfiguration=config)
    names = [alarm["AlarmName"] for alarm in made["Alarms"]]
    assert [name.rsplit("-Alarm")[1].split("-")[0] for name in names] == ["High", "Low"], names
    alarms = client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert [alarm["Threshold"] for alarm in alarms] == [50.0, 45.0]
    (shown,) = autoscaling.describe_policies(AutoScalingGroupName=group)["ScalingPolicies"]
    assert shown["TargetTrackingConfiguration"] == config and shown["EstimatedInstanceWarmup"] == 60
    with refused("ValidationError", naming="TargetValue"):
        autoscaling.put_scaling_policy(**policy, TargetTrackingConfiguration=config | {"TargetValue": -1.0})


def test_forecasts_are_asked_for(autoscaling, group, refused):
    config = {
        "MetricSpecifications": [
            {"TargetValue": 50.0, "PredefinedMetricPairSpecification": {"PredefinedMetricType": "ASGCPUUtilization"}}
        ],
        "Mode": "ForecastOnly",
    }
    policy = {"AutoScalingGroupName": group, "PolicyName": "ahead"}
    autoscaling.put_scaling_policy(**policy, PolicyType="PredictiveScaling", PredictiveScalingConfiguration=config)
    (shown,) = autoscaling.describe_policies(AutoScalingGroupName=group)["ScalingPolicies"]
    assert shown["PredictiveScalingConfiguration"] == config
    now = datetime.now(timezone.utc)
    asked = policy | {"StartTime": now, "EndTime": now + timedelta(days=2)}
    forecast = autoscaling.get_predictive_scaling_forecast(**asked)
    assert forecast["CapacityForecast"]["Values"] == [], "there is no history"
    assert forecast["LoadForecast"][0]["MetricSpecification"] == config["MetricSpecifications"][0]
    with refused("ValidationError", naming="EndTime"):
        autoscaling.get_predictive_scaling_forecast(**asked | {"EndTime": now - timedelta(days=1)})


def test_scheduled_actions_are_put_and_deleted(autoscaling, group, refused):
    of_group = {"AutoScalingGroupName": group}
    autoscaling.put_scheduled_update_group_action(
        **of_group, ScheduledActionName="morning", Recurrence="0 8 * * MON-FRI", TimeZone="Europe/London", MinSize=3,
        MaxSize=6, DesiredCapacity=4,
    )  # fmt: skip
    later = [datetime.now(timezone.utc) + timedelta(hours=hours) for hours in (1, 2)]
    actions = [
        {"ScheduledActionName": f"once{i}", "StartTime": at, "DesiredCapacity": 1} for i, at in enumerate(later)
    ]
    batch = autoscaling.batch_put_scheduled_update_group_action(
        **of_group, ScheduledUpdateGroupActions=[*actions, actions[0] | {"ScheduledActionName": "twice"}]
    )
    (failed,) = batch["FailedScheduledUpdateGroupActions"]
    assert (failed["ScheduledActionName"], failed["ErrorCode"]) == ("twice", "AlreadyExists")
    shown = autoscaling.describe_scheduled_actions(**of_group)["ScheduledUpdateGroupActions"]
    assert sorted(one["ScheduledActionName"] for one in shown) == ["morning", "once0", "once1"]
    batch = autoscaling.batch_delete_scheduled_action(**of_group, ScheduledActionNames=["once0", "once1", "none"])
    assert [one["ScheduledActionName"] for one in batch["FailedScheduledActions"]] == ["none"]
    autoscaling.delete_scheduled_action(**of_group, ScheduledActionName="morning")
    assert autoscaling.describe_scheduled_actions(**of_group)["ScheduledUpdateGroupActions"] == []
    with refused("ValidationError", naming="0 0 31 2"):
        autoscaling.put_scheduled_update_group_action(
            **of_group, ScheduledActionName="never", Recurrence="0 0 31 2 *", MinSize=1
        )


def test_topics_are_told(autoscaling, client, group, refused):
    topic = client("sns").create_topic(Name="scaling")["TopicArn"]
    kinds = ["autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_TERMINATE"]
    told = {"AutoScalingGroupName": group, "TopicARN": topic}
    autoscaling.put_notification_configuration(**told, NotificationTypes=kinds)
    shown = autoscaling.describe_notification_configurations(AutoScalingGroupNames=[group])
    assert [one["NotificationType"] for one in shown["NotificationConfigurations"]] == kinds
    autoscaling.delete_notification_configuration(**told)
    shown = autoscaling.describe_notification_configurations(AutoScalingGroupNames=[group])
    assert shown["NotificationConfigurations"] == []
    with refused("ValidationError", naming="nothing"):
        autoscaling.put_notification_configuration(**told, NotificationTypes=["nothing"])
