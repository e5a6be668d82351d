"""`--data DIR`: what was acknowledged survives SIGKILL; what is damaged or in use is refused and left as it is."""

import hashlib
import pathlib

import pytest

import example_site as example
from waiting import eventually

SETTLED_S = 60


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def server(new_cloud, data):
    """A cloud that keeps its state, started."""
    return new_cloud("server", "--data", str(data)).start()


def crash(cloud):
    """SIGKILL to everything, and a new start with the same state."""
    cloud.kill_all()
    cloud.start()


def stop(cloud, data):
    """A cloud with durable state leaves its state, and nothing else."""
    assert cloud.stop() == 0
    assert data.is_dir()


def running(cloud):
    """The ids of running instances."""
    state = [{"Name": "instance-state-name", "Values": ["running"]}]
    answer = cloud.client("ec2").describe_instances(Filters=state)
    return {instance["InstanceId"] for one in answer["Reservations"] for instance in one["Instances"]}


def test_everything_acknowledged_is_there_after_a_crash(server, data):
    ec2, ssm = server.client("ec2"), server.client("ssm")
    vpcs = [ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"] for number in range(20)]
    ssm.put_parameter(Name="kept", Value="yes", Type="String")
    # No wait between the last answer and the end: it is durable, or it was not acknowledged.
    last = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    crash(server)
    kept = {vpc["VpcId"] for vpc in server.client("ec2").describe_vpcs()["Vpcs"]}
    assert {*vpcs, last} <= kept
    assert server.client("ssm").get_parameter(Name="kept")["Parameter"]["Value"] == "yes"
    stop(server, data)


def test_the_site_comes_back_after_a_crash(new_cloud, data):
    site = example.up(new_cloud, "--data", str(data))
    site.settled()
    before = site.status()
    cloud = site.cloud
    crash(cloud)
    eventually(lambda: "is up to date" in cloud.said(), limit_s=SETTLED_S, what="`up` to find the stack as it was")
    site = example.Site(cloud)
    site.settled()
    after = site.status()
    assert [stack["status"] for stack in after["stacks"]] == ["CREATE_COMPLETE"]
    assert after["groups"][0]["name"] == before["groups"][0]["name"]
    assert after["load_balancers"][0]["dns_name"] == before["load_balancers"][0]["dns_name"]
    assert site.get("/health")[0] == 200
    assert site.probe(duration_s=2).report()["failed"] == 0
    stop(cloud, data)


def test_instances_run_again_after_a_crash_and_stopped_ones_do_not(server, data):
    ec2 = server.client("ec2")
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=2, MaxCount=2)["Instances"]
    one, other = (instance["InstanceId"] for instance in made)
    ec2.get_waiter("instance_running").wait(InstanceIds=[one, other], WaiterConfig={"Delay": 1})
    ec2.stop_instances(InstanceIds=[other])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[other], WaiterConfig={"Delay": 1})
    crash(server)
    eventually(lambda: running(server) == {one}, limit_s=SETTLED_S, what="the instance to run again")
    stop(server, data)


def fingerprint(folder: pathlib.Path) -> dict[str, str]:
    """Every file with what is in it."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_damaged_store_is_refused_and_left_as_it_is(server, data):
    ec2 = server.client("ec2")
    for number in range(30):
        ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")
    server.kill_all()
    largest = max((path for path in (data / "store").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    # Well before the end: a torn last write is no damage, but what a crash leaves behind.
    content[len(content) // 4] ^= 0xFF
    largest.write_bytes(content)
    before = fingerprint(data / "store")
    said = refused_start(server, data)
    assert "damaged" in said or "corrupt" in said, said
    assert str(data) in said and "panicked" not in said
    assert fingerprint(data / "store") == before


def refused_start(cloud, data):
    """What a start that must fail prints."""
    process = cloud.spawn("server", "--data", str(data), "--listen", "127.0.0.1:0")
    try:
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 1, said
    assert "ready" not in said
    return said


def test_a_store_of_something_else_is_refused(server, data):
    server.kill_all()
    for path in (data / "store").rglob("*"):
        if path.is_file():
            path.write_bytes(b"this is somebody's diary\n" * 100)
    before = fingerprint(data / "store")
    said = refused_start(server, data)
    assert "panicked" not in said and len(said.splitlines()) <= 3, said
    assert fingerprint(data / "store") == before


def test_one_cloud_at_a_time_has_a_state_directory(server, data):
    said = refused_start(server, data)
    assert "in use" in said or "another" in said, said
    vpc = server.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]
    assert vpc["VpcId"].startswith("vpc-"), "the first one was not disturbed"
    stop(server, data)


def test_what_an_alarm_and_a_policy_owe_is_done_after_a_crash(server, data):
    autoscaling, cloudwatch = server.client("autoscaling"), server.client("cloudwatch")
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = server.client("ec2").describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    autoscaling.create_launch_configuration(LaunchConfigurationName="web", ImageId=image, InstanceType="t3.micro")
    autoscaling.create_auto_scaling_group(
        AutoScalingGroupName="web", LaunchConfigurationName="web", MinSize=0, MaxSize=5, AvailabilityZones=["eu-west-1a"]
    )
    policy = autoscaling.put_scaling_policy(
        AutoScalingGroupName="web", PolicyName="three", AdjustmentType="ExactCapacity", ScalingAdjustment=3
    )["PolicyARN"]
    cloudwatch.put_metric_alarm(
        AlarmName="busy", Namespace="Shop", MetricName="Load", Statistic="Average", Period=60, EvaluationPeriods=1,
        Threshold=1.0, ComparisonOperator="GreaterThanThreshold", AlarmActions=[policy],
    )  # fmt: skip
    cloudwatch.set_alarm_state(AlarmName="busy", StateValue="ALARM", StateReason="a test")
    # No wait: whether the policy has been asked by now is a matter of milliseconds.
    crash(server)

    def group() -> dict:
        return server.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"][0]

    eventually(lambda: group()["DesiredCapacity"] == 3, limit_s=SETTLED_S, what="what the alarm asked for")
    eventually(lambda: len(running(server)) == 3, limit_s=SETTLED_S, what="three instances")
    server.client("autoscaling").put_scaling_policy(
        AutoScalingGroupName="web", PolicyName="half", PolicyType="TargetTrackingScaling",
        TargetTrackingConfiguration={
            "PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 50.0
        },
    )  # fmt: skip
    crash(server)

    def its_alarms() -> list[str]:
        policies = server.client("autoscaling").describe_policies(PolicyNames=["half"])["ScalingPolicies"]
        named = [alarm["AlarmName"] for policy in policies for alarm in policy["Alarms"]]
        kept = server.client("cloudwatch").describe_alarms(AlarmNames=named or ["none"])["MetricAlarms"]
        return kept if len(named) == 2 else []

    assert len(eventually(its_alarms, limit_s=SETTLED_S, what="the policy's alarms")) == 2
    stop(server, data)
