"""autoscaling through boto3: launch configurations, groups, their members, hooks, processes, tags, targets."""

import pytest

from waiting import eventually

SETTLED_S = 60
NO_GROUP = "not-a-group"


@pytest.fixture(scope="module")
def autoscaling(client):
    return client("autoscaling")


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def subnets(ec2):
    """The default VPC's, one in each zone."""
    return [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]


@pytest.fixture(scope="module")
def configuration(autoscaling, image):
    autoscaling.create_launch_configuration(
        LaunchConfigurationName="shared", ImageId=image, InstanceType="t3.micro"
    )
    return "shared"


@pytest.fixture(scope="module")
def image(ec2):
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    return ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]


@pytest.fixture
def group(autoscaling, configuration, subnets, request):
    """Makes groups of a name, and deletes them after the test."""
    made = []

    def make(size, **options):
        name = request.node.name
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName=name, LaunchConfigurationName=configuration, MinSize=0, MaxSize=6,
            DesiredCapacity=size, VPCZoneIdentifier=",".join(subnets), **options,
        )  # fmt: skip
        made.append(name)
        settled(autoscaling, name, size)
        return name

    yield make
    for name in made:
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        eventually(lambda: not read(autoscaling, name), limit_s=SETTLED_S, what=f"the end of {name}")


def read(autoscaling, name):
    groups = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return groups[0] if groups else None


def members(autoscaling, name, state="InService"):
    return [one["InstanceId"] for one in read(autoscaling, name)["Instances"] if one["LifecycleState"] == state]


def settled(autoscaling, name, size):
    """Waits until the group has this many members, all in service."""

    def look():
        instances = read(autoscaling, name)["Instances"]
        states = [one["LifecycleState"] for one in instances]
        assert states == ["InService"] * size, states
        return [one["InstanceId"] for one in instances] or True

    return eventually(look, limit_s=SETTLED_S, what=f"{name} to have {size} members in service")


def test_launch_configurations_are_made_once_and_deleted(autoscaling, image, refused):
    mine = {"LaunchConfigurationName": "mine"}
    autoscaling.create_launch_configuration(**mine, ImageId=image, InstanceType="t3.micro")
    with refused("AlreadyExists", naming="mine"):
        autoscaling.create_launch_configuration(**mine, ImageId=image, InstanceType="t3.micro")
    found = autoscaling.describe_launch_configurations(LaunchConfigurationNames=["mine"])["LaunchConfigurations"]
    assert found[0]["InstanceType"] == "t3.micro"
    assert ":launchConfigurationName/mine" in found[0]["LaunchConfigurationARN"]
    autoscaling.delete_launch_configuration(**mine)
    with refused("ValidationError", naming="not found"):
        autoscaling.delete_launch_configuration(**mine)


def test_a_group_spreads_over_zones_and_follows_its_desired_capacity(autoscaling, group, refused):
    name = group(3)
    zones = {one["AvailabilityZone"] for one in read(autoscaling, name)["Instances"]}
    assert zones == {"eu-west-1a", "eu-west-1b", "eu-west-1c"}
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=4)
    settled(autoscaling, name, 4)
    autoscaling.update_auto_scaling_group(AutoScalingGroupName=name, MaxSize=5, DesiredCapacity=1)
    settled(autoscaling, name, 1)
    with refused("ValidationError", naming="max"):
        autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=99)
    told = autoscaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    launches = [one for one in told if one["Description"].startswith("Launching a new EC2 instance: i-")]
    assert len(launches) == 4 and {one["StatusCode"] for one in launches} == {"Successful"}
    with refused("AlreadyExists", naming=name):
        group(1)


def test_mistakes_about_groups_are_validation_errors(autoscaling, configuration, subnets, refused):
    sizes = {"MinSize": 1, "MaxSize": 1, "VPCZoneIdentifier": subnets[0]}
    with refused("ValidationError"):
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="x", LaunchConfigurationName="not-there", **sizes
        )
    with refused("ValidationError"):
        autoscaling.create_auto_scaling_group(
            AutoScalingGroupName="x", LaunchConfigurationName=configuration, **sizes | {"MaxSize": 0}
        )
    with refused("ValidationError"):
        autoscaling.set_desired_capacity(AutoScalingGroupName=NO_GROUP, DesiredCapacity=1)
    with refused("ValidationError"):
        autoscaling.delete_auto_scaling_group(AutoScalingGroupName=NO_GROUP)
    assert read(autoscaling, NO_GROUP) is None


def test_an_unhealthy_member_is_replaced(autoscaling, group):
    name = group(1)
    (ill,) = members(autoscaling, name)
    autoscaling.set_instance_health(InstanceId=ill, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    eventually(lambda: members(autoscaling, name) not in ([], [ill]), limit_s=SETTLED_S, what="a replacement")
    (new,) = settled(autoscaling, name, 1)
    ended = autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=new, ShouldDecrementDesiredCapacity=True)
    assert ended["Activity"]["Description"] == f"Terminating EC2 instance: {new}"
    settled(autoscaling, name, 0)


def test_protected_members_outlive_scale_in(autoscaling, group):
    name = group(2)
    kept, _ = members(autoscaling, name)
    autoscaling.set_instance_protection(AutoScalingGroupName=name, InstanceIds=[kept], ProtectedFromScaleIn=True)
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    assert settled(autoscaling, name, 1) == [kept]
    (shown,) = autoscaling.describe_auto_scaling_instances(InstanceIds=[kept])["AutoScalingInstances"]
    assert shown["AutoScalingGroupName"] == name and shown["ProtectedFromScaleIn"] is True


def test_members_leave_and_come_back(autoscaling, group, refused):
    name = group(1)
    (one,) = members(autoscaling, name)
    who = {"AutoScalingGroupName": name, "InstanceIds": [one]}
    autoscaling.enter_standby(**who, ShouldDecrementDesiredCapacity=True)
    eventually(lambda: members(autoscaling, name, "Standby") == [one], limit_s=SETTLED_S, what="standby")
    autoscaling.exit_standby(**who)
    assert settled(autoscaling, name, 1) == [one]
    autoscaling.detach_instances(**who, ShouldDecrementDesiredCapacity=True)
    settled(autoscaling, name, 0)
    autoscaling.attach_instances(**who)
    assert settled(autoscaling, name, 1) == [one]
    with refused("ValidationError", naming=one):
        autoscaling.attach_instances(**who)


def test_lifecycle_hooks_hold_a_launch_until_it_is_completed(autoscaling, group, refused):
    name = group(0)
    hook = {"AutoScalingGroupName": name, "LifecycleHookName": "greet"}
    launching = "autoscaling:EC2_INSTANCE_LAUNCHING"
    assert launching in autoscaling.describe_lifecycle_hook_types()["LifecycleHookTypes"]
    autoscaling.put_lifecycle_hook(**hook, LifecycleTransition=launching, HeartbeatTimeout=300)
    (shown,) = autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]
    assert shown["DefaultResult"] == "ABANDON" and "RoleARN" not in shown
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    (held,) = eventually(
        lambda: members(autoscaling, name, "Pending:Wait"), limit_s=SETTLED_S, what="the hook to hold the launch"
    )
    autoscaling.record_lifecycle_action_heartbeat(**hook, InstanceId=held)
    autoscaling.complete_lifecycle_action(**hook, InstanceId=held, LifecycleActionResult="CONTINUE")
    assert settled(autoscaling, name, 1) == [held]
    with refused("ValidationError"):
        autoscaling.complete_lifecycle_action(**hook, InstanceId=held, LifecycleActionResult="CONTINUE")
    autoscaling.delete_lifecycle_hook(**hook)
    assert autoscaling.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"] == []


def test_suspended_processes_do_nothing(autoscaling, group):
    name = group(0)
    kinds = [one["ProcessName"] for one in autoscaling.describe_scaling_process_types()["Processes"]]
    assert {"Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AZRebalance"} <= set(kinds)
    autoscaling.suspend_processes(AutoScalingGroupName=name, ScalingProcesses=["Launch"])
    assert [one["ProcessName"] for one in read(autoscaling, name)["SuspendedProcesses"]] == ["Launch"]
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    assert read(autoscaling, name)["Instances"] == []
    autoscaling.resume_processes(AutoScalingGroupName=name)
    settled(autoscaling, name, 1)


def test_metrics_collection_is_switched(autoscaling, group):
    name = group(0)
    assert autoscaling.describe_metric_collection_types()["Granularities"] == [{"Granularity": "1Minute"}]
    autoscaling.enable_metrics_collection(
        AutoScalingGroupName=name, Granularity="1Minute", Metrics=["GroupDesiredCapacity"]
    )
    enabled = [one["Metric"] for one in read(autoscaling, name)["EnabledMetrics"]]
    assert enabled == ["GroupDesiredCapacity"]
    autoscaling.disable_metrics_collection(AutoScalingGroupName=name)
    assert read(autoscaling, name).get("EnabledMetrics", []) == []


def test_tags_reach_the_instances(autoscaling, ec2, group):
    name = group(0)
    tag = {"ResourceId": name, "ResourceType": "auto-scaling-group", "Key": "part"}
    autoscaling.create_or_update_tags(Tags=[tag | {"Value": "web", "PropagateAtLaunch": True}])
    by_group = [{"Name": "auto-scaling-group", "Values": [name]}]
    (shown,) = autoscaling.describe_tags(Filters=by_group)["Tags"]
    assert (shown["Key"], shown["Value"], shown["PropagateAtLaunch"]) == ("part", "web", True)
    autoscaling.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    (instance,) = settled(autoscaling, name, 1)
    tags = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["Tags"]
    assert {"Key": "part", "Value": "web"} in tags
    assert {"Key": "aws:autoscaling:groupName", "Value": name} in tags
    autoscaling.delete_tags(Tags=[tag])
    assert autoscaling.describe_tags(Filters=by_group)["Tags"] == []


def test_members_register_with_target_groups(autoscaling, client, ec2, group, refused):
    elbv2 = client("elbv2")
    vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    made = elbv2.create_target_group(Name="members", Protocol="HTTP", Port=8080, VpcId=vpc)["TargetGroups"][0]
    arn = made["TargetGroupArn"]
    name = group(1)

    def registered():
        health = elbv2.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        return [one["Target"]["Id"] for one in health if one["TargetHealth"]["State"] != "draining"]

    of_group = {"AutoScalingGroupName": name}
    autoscaling.attach_load_balancer_target_groups(**of_group, TargetGroupARNs=[arn])
    (shown,) = autoscaling.describe_load_balancer_target_groups(**of_group)["LoadBalancerTargetGroups"]
    assert shown["LoadBalancerTargetGroupARN"] == arn
    eventually(lambda: registered() == members(autoscaling, name), limit_s=SETTLED_S, what="a registration")
    autoscaling.detach_load_balancer_target_groups(**of_group, TargetGroupARNs=[arn])
    eventually(lambda: registered() == [], limit_s=SETTLED_S, what="a deregistration")
    source = {"Identifier": arn, "Type": "elbv2"}
    autoscaling.attach_traffic_sources(**of_group, TrafficSources=[source])
    assert autoscaling.describe_traffic_sources(**of_group)["TrafficSources"][0]["Identifier"] == arn
    autoscaling.detach_traffic_sources(**of_group, TrafficSources=[source])
    eventually(
        lambda: not autoscaling.describe_traffic_sources(**of_group)["TrafficSources"],
        limit_s=SETTLED_S, what="the traffic source to be gone",
    )  # fmt: skip
    with refused("ValidationError"):
        autoscaling.attach_load_balancer_target_groups(**of_group, TargetGroupARNs=[arn[:-16] + "0" * 16])


def test_lists_that_are_the_same_for_everyone(autoscaling, group):
    name = group(0)
    limits = autoscaling.describe_account_limits()
    assert limits["NumberOfAutoScalingGroups"] >= 1
    kinds = [one["AdjustmentType"] for one in autoscaling.describe_adjustment_types()["AdjustmentTypes"]]
    assert kinds == ["ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"]
    assert "OldestInstance" in autoscaling.describe_termination_policy_types()["TerminationPolicyTypes"]
    kinds = autoscaling.describe_auto_scaling_notification_types()["AutoScalingNotificationTypes"]
    assert "autoscaling:EC2_INSTANCE_LAUNCH" in kinds
    of_group = {"AutoScalingGroupName": name}
    assert autoscaling.describe_load_balancers(**of_group)["LoadBalancers"] == []
    assert autoscaling.describe_instance_refreshes(**of_group)["InstanceRefreshes"] == []
    assert autoscaling.describe_warm_pool(**of_group)["Instances"] == []
    assert autoscaling.describe_policies(**of_group)["ScalingPolicies"] == []
    assert autoscaling.describe_scheduled_actions(**of_group)["ScheduledUpdateGroupActions"] == []
    notified = autoscaling.describe_notification_configurations(AutoScalingGroupNames=[name])
    assert notified["NotificationConfigurations"] == []


def test_classic_load_balancers_are_refused_by_name(autoscaling, group, refused):
    classic = {"AutoScalingGroupName": group(0), "LoadBalancerNames": ["classic"]}
    with refused("ValidationError", naming="TargetGroupARNs"):
        autoscaling.attach_load_balancers(**classic)
    with refused("ValidationError", naming="TargetGroupARNs"):
        autoscaling.detach_load_balancers(**classic)


def test_an_alarm_scales_a_group_by_its_policy(autoscaling, client, group, refused):
    name = group(1)
    cloudwatch, of_group = client("cloudwatch"), {"AutoScalingGroupName": name, "PolicyName": "out"}
    arn = autoscaling.put_scaling_policy(
        **of_group, PolicyType="StepScaling", AdjustmentType="ChangeInCapacity", EstimatedInstanceWarmup=0,
        StepAdjustments=[{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 2}],
    )["PolicyARN"]  # fmt: skip
    cloudwatch.put_metric_alarm(
        AlarmName=name, Namespace="Boto", MetricName=name, Statistic="Maximum", Period=10, EvaluationPeriods=1,
        Threshold=5, ComparisonOperator="GreaterThanThreshold", AlarmActions=[arn],
    )  # fmt: skip
    (shown,) = autoscaling.describe_policies(AutoScalingGroupName=name)["ScalingPolicies"]
    assert (shown["PolicyARN"], shown["Enabled"]) == (arn, True)
    assert [alarm["AlarmName"] for alarm in shown["Alarms"]] == [name]

    def scaled():
        point = {"MetricName": name, "Value": 9, "StorageResolution": 1}
        cloudwatch.put_metric_data(Namespace="Boto", MetricData=[point])
        desired = read(autoscaling, name)["DesiredCapacity"]
        assert desired >= 3, desired
        return True

    eventually(scaled, limit_s=SETTLED_S, what="the alarm to ask the policy")
    cloudwatch.delete_alarms(AlarmNames=[name])
    told = autoscaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    assert any(f"a monitor alarm {name} in state ALARM triggered policy out" in one["Cause"] for one in told), told
    autoscaling.execute_policy(**of_group, MetricValue=9, BreachThreshold=5)
    autoscaling.delete_policy(**of_group)
    with refused("ValidationError", naming="out"):
        autoscaling.execute_policy(**of_group, MetricValue=9, BreachThreshold=5)
