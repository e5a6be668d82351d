"""Groups through boto3: instance refreshes, warm pools, mixed instances policies, and what CloudFormation makes of them."""

import json

import pytest
from botocore.exceptions import ClientError

from waiting import eventually

SETTLED_S = 90


@pytest.fixture(scope="module")
def autoscaling(client):
    return client("autoscaling")


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def subnets(ec2):
    return [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]


@pytest.fixture(scope="module")
def template(ec2):
    """A launch template of two versions."""
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    data = {"ImageId": image, "InstanceType": "t3.micro"}
    made = ec2.create_launch_template(LaunchTemplateName="groups", LaunchTemplateData=data)["LaunchTemplate"]
    identity = made["LaunchTemplateId"]
    newer = {"InstanceType": "t3.small"}
    ec2.create_launch_template_version(LaunchTemplateId=identity, SourceVersion="1", LaunchTemplateData=newer)
    return identity


@pytest.fixture
def group(autoscaling, template, subnets, request):
    """Makes a group of the first version, and deletes it after the test."""
    name = request.node.name

    def make(size, **options):
        options = {"LaunchTemplate": {"LaunchTemplateId": template, "Version": "1"}, "MaxSize": 6} | options
        if "MixedInstancesPolicy" in options:
            del options["LaunchTemplate"]
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name, MinSize=0, DesiredCapacity=size, VPCZoneIdentifier=",".join(subnets), **options
        )
        return name

    yield make
    if read(autoscaling, name):
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        eventually(lambda: not read(autoscaling, name), limit_s=SETTLED_S, what=f"the end of {name}")


def read(autoscaling, name):
    groups = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return groups[0] if groups else None


def settled(autoscaling, name, count):
    def look():
        instances = read(autoscaling, name)["Instances"]
        good = all(one["LifecycleState"] == "InService" for one in instances)
        return instances if good and len(instances) == count else None

    return eventually(look, limit_s=SETTLED_S, what=f"{count} members of {name}")


def refresh_of(autoscaling, name, status):
    def look():
        latest = autoscaling.describe_instance_refreshes(AutoScalingGroupName=name)["InstanceRefreshes"][0]
        return latest if latest["Status"] == status else None

    return eventually(look, limit_s=SETTLED_S, what=f"{name} to be {status}")


def test_a_refresh_moves_a_group_to_another_version(autoscaling, group, template):
    name = group(2)
    settled(autoscaling, name, 2)
    wanted = {"LaunchTemplate": {"LaunchTemplateId": template, "Version": "2"}}
    preferences = {"MinHealthyPercentage": 0, "InstanceWarmup": 0, "SkipMatching": True}
    started = autoscaling.start_instance_refresh(
        AutoScalingGroupName=name, Strategy="Rolling", DesiredConfiguration=wanted, Preferences=preferences
    )["InstanceRefreshId"]
    ended = refresh_of(autoscaling, name, "Successful")
    assert ended["InstanceRefreshId"] == started
    assert (ended["PercentageComplete"], ended["InstancesToUpdate"]) == (100, 0)
    assert ended["DesiredConfiguration"] == wanted
    assert preferences.items() <= ended["Preferences"].items()
    assert {one["InstanceType"] for one in settled(autoscaling, name, 2)} == {"t3.small"}
    assert read(autoscaling, name)["LaunchTemplate"]["Version"] == "2"


def test_a_refresh_is_cancelled_and_rolled_back(autoscaling, group, template):
    name = group(2)
    settled(autoscaling, name, 2)
    ask = {
        "AutoScalingGroupName": name,
        "DesiredConfiguration": {"LaunchTemplate": {"LaunchTemplateId": template, "Version": "2"}},
        "Preferences": {"MinHealthyPercentage": 50, "InstanceWarmup": 3600},
    }
    autoscaling.start_instance_refresh(**ask)
    refresh_of(autoscaling, name, "InProgress")
    with pytest.raises(autoscaling.exceptions.InstanceRefreshInProgressFault):
        autoscaling.start_instance_refresh(AutoScalingGroupName=name)
    autoscaling.cancel_instance_refresh(AutoScalingGroupName=name)
    assert refresh_of(autoscaling, name, "Cancelled")["StatusReason"] == "Cancelled due to user request."
    with pytest.raises(autoscaling.exceptions.ActiveInstanceRefreshNotFoundFault):
        autoscaling.cancel_instance_refresh(AutoScalingGroupName=name)
    settled(autoscaling, name, 2)
    autoscaling.start_instance_refresh(**ask)
    refresh_of(autoscaling, name, "InProgress")
    autoscaling.rollback_instance_refresh(AutoScalingGroupName=name)
    assert "RollbackDetails" in refresh_of(autoscaling, name, "RollbackInProgress")
    autoscaling.cancel_instance_refresh(AutoScalingGroupName=name, WaitForTransitioningInstances=False)
    refresh_of(autoscaling, name, "Cancelled")
    autoscaling.start_instance_refresh(AutoScalingGroupName=name, Preferences=ask["Preferences"])
    with pytest.raises(autoscaling.exceptions.IrreversibleInstanceRefreshFault):
        autoscaling.rollback_instance_refresh(AutoScalingGroupName=name)


def test_a_warm_pool_is_filled_used_and_deleted(autoscaling, ec2, group):
    name = group(1, MaxSize=2)
    settled(autoscaling, name, 1)
    policy = {"ReuseOnScaleIn": True}
    autoscaling.put_warm_pool(AutoScalingGroupName=name, PoolState="Stopped", MinSize=0, InstanceReusePolicy=policy)

    def warm(count):
        def look():
            instances = autoscaling.describe_warm_pool(AutoScalingGroupName=name)["Instances"]
            good = len(instances) == count and all(one["LifecycleState"] == "Warmed:Stopped" for one in instances)
            return instances if good else None

        return eventually(look, limit_s=SETTLED_S, what=f"{count} warm instances")

    own = warm(1)[0]["InstanceId"]
    described = ec2.describe_instances(InstanceIds=[own])["Reservations"][0]["Instances"][0]
    assert described["State"]["Name"] == "stopped"
    configuration = {"MinSize": 0, "PoolState": "Stopped", "InstanceReusePolicy": policy}
    assert read(autoscaling, name)["WarmPoolConfiguration"] == configuration
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=2)
    assert own in [one["InstanceId"] for one in settled(autoscaling, name, 2)]
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    warm(1)
    autoscaling.delete_warm_pool(AutoScalingGroupName=name, ForceDelete=True)
    gone = lambda: "WarmPoolConfiguration" not in autoscaling.describe_warm_pool(AutoScalingGroupName=name)
    eventually(gone, limit_s=SETTLED_S, what="the end of the pool")


def mixed(template, **distribution):
    specification = {"LaunchTemplateId": template, "Version": "1"}
    overrides = [
        {"InstanceType": "t3.small", "WeightedCapacity": "2"},
        {"InstanceType": "t3.medium", "WeightedCapacity": "2"},
    ]
    launch = {"LaunchTemplateSpecification": specification, "Overrides": overrides}
    return {"LaunchTemplate": launch, "InstancesDistribution": distribution}


def test_a_mixed_group_counts_weights_and_shares(autoscaling, ec2, group, template):
    policy = mixed(
        template, OnDemandBaseCapacity=2, OnDemandPercentageAboveBaseCapacity=0, SpotAllocationStrategy="lowest-price",
        SpotInstancePools=2, OnDemandAllocationStrategy="prioritized",
    )  # fmt: skip
    name = group(5, MixedInstancesPolicy=policy)
    members = settled(autoscaling, name, 3)
    assert {one["WeightedCapacity"] for one in members} == {"2"}
    ids = [one["InstanceId"] for one in members]
    instances = [one for r in ec2.describe_instances(InstanceIds=ids)["Reservations"] for one in r["Instances"]]
    assert sorted(one.get("InstanceLifecycle", "") for one in instances) == ["", "spot", "spot"]
    told = read(autoscaling, name)["MixedInstancesPolicy"]
    assert told["InstancesDistribution"] == policy["InstancesDistribution"]
    assert told["LaunchTemplate"]["Overrides"] == policy["LaunchTemplate"]["Overrides"]
    with pytest.raises(ClientError, match="mixed instances policy"):
        autoscaling.put_warm_pool(AutoScalingGroupName=name)


def test_cloudformation_makes_mixed_groups_and_warm_pools(autoscaling, client, template, subnets):
    cloudformation = client("cloudformation")
    group = {"MinSize": "0", "MaxSize": "2", "DesiredCapacity": "1", "VPCZoneIdentifier": subnets}
    plain = {"LaunchTemplate": {"LaunchTemplateId": template, "Version": "1"}}
    types = "AWS::AutoScaling::"
    body = {
        "Resources": {
            "Mixed": {
                "Type": types + "AutoScalingGroup",
                "Properties": group | {"DesiredCapacity": "2", "MixedInstancesPolicy": mixed(template)},
            },
            "Plain": {"Type": types + "AutoScalingGroup", "Properties": group | plain},
            "Pool": {
                "Type": types + "WarmPool",
                "Properties": {"AutoScalingGroupName": {"Ref": "Plain"}, "MinSize": 1, "PoolState": "Running"},
            },
        }
    }
    cloudformation.create_stack(StackName="pools", TemplateBody=json.dumps(body))
    cloudformation.get_waiter("stack_create_complete").wait(StackName="pools", WaiterConfig={"Delay": 1})
    resources = cloudformation.describe_stack_resources(StackName="pools")["StackResources"]
    names = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
    assert names["Pool"] == names["Plain"]
    settled(autoscaling, names["Mixed"], 1)
    pool = autoscaling.describe_warm_pool(AutoScalingGroupName=names["Plain"])["WarmPoolConfiguration"]
    assert pool == {"MinSize": 1, "PoolState": "Running"}
    cloudformation.delete_stack(StackName="pools")
    cloudformation.get_waiter("stack_delete_complete").wait(StackName="pools", WaiterConfig={"Delay": 1})
    assert not read(autoscaling, names["Plain"])
