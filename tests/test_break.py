"""The short commands that break and heal: each is seen through the API, and heals."""

import pytest
from botocore.exceptions import ClientError

from cloud import REGION, Cloud
from waiting import eventually

ZONE = f"{REGION}a"
GROUP = "web"
SETTLED_S = 60


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    cloud = Cloud(tmp_path_factory.mktemp("break"), "server", "--driver", "sim", "--speed", "20").start()
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def group(cloud):
    """A group of two in two zones, which the power scenario may hit."""
    ec2, asg = cloud.client("ec2"), cloud.client("autoscaling")
    image = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}])
    asg.create_launch_configuration(
        LaunchConfigurationName="lc", ImageId=image["Images"][0]["ImageId"], InstanceType="t3.micro"
    )
    tag = {"Key": "AzImpairmentPower", "Value": "IceAsg", "PropagateAtLaunch": True}
    asg.create_auto_scaling_group(
        AutoScalingGroupName=GROUP, LaunchConfigurationName="lc", MinSize=2, MaxSize=2, Tags=[tag],
        AvailabilityZones=[ZONE, f"{REGION}b"],
    )  # fmt: skip
    # Members do not move by themselves.
    asg.suspend_processes(AutoScalingGroupName=GROUP, ScalingProcesses=["AZRebalance"])
    eventually(lambda: len(members(cloud)) == 2, limit_s=SETTLED_S, what="two members")
    return GROUP


def members(cloud) -> list[str]:
    (group,) = cloud.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"]
    return sorted(one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService")


def code(call) -> str:
    """The error of a call; nothing when it works."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_an_api_fails_until_it_is_healed(cloud):
    ec2 = cloud.client("ec2")
    said = cloud.run("break", "api", "ec2", "--operation", "DescribeVpcs", "--error", "unavailable")
    assert "standfast heal api ec2" in said
    assert code(ec2.describe_vpcs) == "Unavailable" and code(ec2.describe_subnets) == ""
    assert "comes first" in cloud.run("break", "api", "ec2", expect=1)
    assert "whole again" in cloud.run("heal", "api", "ec2")
    assert code(ec2.describe_vpcs) == ""
    assert "nothing to heal" in cloud.run("heal", "api", "ec2")
    cloud.run("break", "zone", f"{REGION}c")
    assert f"heal zone {REGION}c" in cloud.run("heal", "api", "ec2")
    cloud.run("heal", "zone", f"{REGION}c")
    assert "nobody could stop" in cloud.run("break", "api", "fis", expect=1)


def test_a_zone_has_no_capacity_until_all_is_healed(cloud, group):
    ec2 = cloud.client("ec2")
    image = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}])
    launch = {"ImageId": image["Images"][0]["ImageId"], "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}
    launch |= {"Placement": {"AvailabilityZone": ZONE}, "DryRun": True}
    cloud.run("break", "capacity", ZONE)
    cloud.run("break", "capacity", ZONE, "--group", group)
    assert code(lambda: ec2.run_instances(**launch)) == "InsufficientInstanceCapacity"
    assert "Stopped 2 experiments" in cloud.run("heal", "all")
    assert code(lambda: ec2.run_instances(**launch)) == "DryRunOperation"


def test_what_this_driver_cannot_do_is_refused(cloud, group):
    (instance, _) = members(cloud)
    for command in (["network", instance, "--loss", "5"], ["stress", instance, "cpu"]):
        assert "sim driver cannot" in cloud.run("break", *command, expect=1)


def test_a_wrong_name_is_told_what_there_is(cloud, group):
    for words, wanted in (
        (["instance", "i-nope"], members(cloud)[0]),
        (["spot", members(cloud)[0]], "no spot instance"),
        (["zone", "eu-west-1x"], "eu-west-1a, eu-west-1b, eu-west-1c"),
        (["api", "elbv2"], "elasticloadbalancing"),
        (["api", "ec2", "--operation", "DescribeVpc"], "Did you mean DescribeVpcs?"),
        (["network", members(cloud)[0]], "--loss, --delay or --corrupt"),
        (["link", ZONE, f"{REGION}b"], "--loss or --delay"),
    ):
        said = cloud.run("break", *words, expect=1)
        assert wanted in said and "'action'" not in said, said


def test_a_sixth_experiment_says_how_to_stop_the_others(cloud):
    for service in ("sns", "acm", "events", "cloudformation", "cloudwatch"):
        cloud.run("break", "api", service)
    assert "standfast heal all" in cloud.run("break", "api", "sts", expect=1)
    assert "Stopped 5 experiments" in cloud.run("heal", "all")
    assert "nothing to heal" in cloud.run("heal", "all")


def test_a_scenario_that_hits_nothing_is_an_error(cloud):
    said = cloud.run("break", "scenario", "cross-az-traffic-slowdown", "--zone", ZONE, expect=1)
    assert "CrossAZTrafficSlowdown = PacketLossForEC2" in said


def test_the_power_scenario_stops_what_has_its_tags_in_the_zone(cloud, group):
    ec2 = cloud.client("ec2")
    described = ec2.describe_instances(InstanceIds=members(cloud))["Reservations"]
    zones = {one["InstanceId"]: one["Placement"]["AvailabilityZone"] for r in described for one in r["Instances"]}
    (victim,) = [id for id, zone in zones.items() if zone == ZONE]
    said = cloud.run("break", "scenario", "az-power-interruption", "--zone", ZONE, "--for", "20m")
    assert said.startswith("AZ Availability: Power Interruption")
    fis = cloud.client("fis")
    (running,) = [one["id"] for one in fis.list_experiments()["experiments"] if one["state"]["status"] == "running"]
    actions = fis.get_experiment(id=running)["experiment"]["actions"]
    states = {name: action["state"]["status"] for name, action in actions.items()}
    assert states["Stop-ASG-Instances"] == states["Pause-ASG-Scaling"] == "running", states
    assert states["Stop-Instances"] == states["Pause-Network-Connectivity"] == "skipped", states
    eventually(lambda: victim not in members(cloud), limit_s=SETTLED_S, what="the member in the zone to go")
    cloud.run("heal", "scenario", ZONE)
    eventually(lambda: len(members(cloud)) == 2, limit_s=SETTLED_S, what="two members again")


def test_the_monkey_hits_who_opted_in_and_goes(cloud, group):
    before = members(cloud)
    ended = cloud.run("monkey", "--every", "1s", "--for", "2s", "--probability", "1")
    assert "standfast:monkey=on" in ended and "0 instances" in ended and members(cloud) == before
    assert "there are: web" in cloud.run("monkey", "--group", "wep", expect=1)
    tag = {"ResourceId": group, "ResourceType": "auto-scaling-group", "PropagateAtLaunch": False}
    cloud.client("autoscaling").create_or_update_tags(Tags=[tag | {"Key": "standfast:monkey", "Value": "on"}])
    once = ["monkey", "--every", "10s", "--for", "1s", "--probability", "1", "--seed", "7"]
    # The same choice with the same seed.
    choices = {cloud.run(*once, "--dry-run").split(f"{group}: ")[1].split()[0] for _ in range(3)}
    assert len(choices) == 1 and choices <= set(before)
    assert "1 instance terminated" in cloud.run(*once)
    (victim,) = choices
    eventually(lambda: victim not in members(cloud) and len(members(cloud)) == 2, limit_s=SETTLED_S, what="another one")
