"""autoscaling-plans through boto3: a plan's life, and what it says of what it cannot scale."""

from datetime import datetime, timedelta, timezone

import pytest

from waiting import eventually

WAIT_S = 30
NAMED = {"ScalingPlanName": "shop", "ScalingPlanVersion": 1}
OF = {
    "ServiceNamespace": "autoscaling",
    "ResourceId": "autoScalingGroup/not-a-group",
    "ScalableDimension": "autoscaling:autoScalingGroup:DesiredCapacity",
}
TRACKED = {
    "PredefinedScalingMetricSpecification": {"PredefinedScalingMetricType": "ASGAverageCPUUtilization"},
    "TargetValue": 50.0,
}


@pytest.fixture
def plans(client):
    return client("autoscaling-plans")


@pytest.fixture
def group(client):
    autoscaling, ec2 = client("autoscaling"), client("ec2")
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    autoscaling.create_launch_configuration(LaunchConfigurationName="planned", ImageId=image, InstanceType="t3.micro")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="planned", LaunchConfigurationName="planned", MinSize=0, MaxSize=6, DesiredCapacity=0,
        AvailabilityZones=[ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]],
    )  # fmt: skip
    yield "planned"
    autoscaling.delete_auto_scaling_group(AutoScalingGroupName="planned", ForceDelete=True)


def test_a_plan_comes_changes_and_goes(plans, client, group, refused):
    instruction = OF | {
        "ResourceId": f"autoScalingGroup/{group}", "MinCapacity": 0, "MaxCapacity": 4,
        "TargetTrackingConfigurations": [TRACKED], "PredictiveScalingMode": "ForecastOnly",
        "PredefinedLoadMetricSpecification": {"PredefinedLoadMetricType": "ASGTotalCPUUtilization"},
    }  # fmt: skip
    source = {"TagFilters": [{"Key": "app", "Values": ["shop"]}]}
    made = plans.create_scaling_plan(
        ScalingPlanName="shop", ApplicationSource=source, ScalingInstructions=[instruction]
    )
    assert made["ScalingPlanVersion"] == 1

    def status(wanted):
        (plan,) = plans.describe_scaling_plans(ScalingPlanNames=["shop"])["ScalingPlans"]
        return plan["StatusCode"] == wanted

    eventually(lambda: status("Active"), limit_s=WAIT_S, what="the plan to be active")
    policies = client("autoscaling").describe_policies(AutoScalingGroupName=group)["ScalingPolicies"]
    assert sorted(one["PolicyType"] for one in policies) == ["PredictiveScaling", "TargetTrackingScaling"]
    (resource,) = plans.describe_scaling_plan_resources(**NAMED)["ScalingPlanResources"]
    assert resource["ScalingStatusCode"] == "Active"
    now = datetime.now(timezone.utc)
    forecast = plans.get_scaling_plan_resource_forecast_data(
        **NAMED, **OF | {"ResourceId": f"autoScalingGroup/{group}"}, ForecastDataType="CapacityForecast",
        StartTime=now, EndTime=now + timedelta(days=1),
    )  # fmt: skip
    assert forecast["Datapoints"] == []
    bad = OF | {"MinCapacity": 0, "MaxCapacity": 4, "TargetTrackingConfigurations": [TRACKED]}
    plans.update_scaling_plan(**NAMED, ScalingInstructions=[instruction, bad])
    eventually(lambda: status("ActiveWithProblems"), limit_s=WAIT_S, what="the plan to see the problem")
    plans.delete_scaling_plan(**NAMED)
    eventually(lambda: not plans.describe_scaling_plans()["ScalingPlans"], limit_s=WAIT_S, what="the plan to be gone")
    with refused("ObjectNotFoundException", naming="shop"):
        plans.delete_scaling_plan(**NAMED)
