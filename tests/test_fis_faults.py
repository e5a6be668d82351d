"""What experiments break in real instances, seen from inside: that it is so, and that it ends.

One table of faults. Each is seen to begin, and to end at its time, when its experiment is stopped, and at its time although
the control plane was killed half way and another one has taken over.
"""

import dataclasses
import json
import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

import scenario
from cloud import DEFAULT_ACCOUNT, REGION, Cloud
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so nothing was broken for real"
)

PYTHON = "/usr/bin/python3"
PORT = 8080
READY_S = 60
SEEN_S = 30
# Long enough to be seen, and for a control plane to be killed and started again.
SHORT = 8
LONG = 600
VOLUME = "/mnt/sdf"

SERVER = f"#!/bin/sh\ncd /var/empty && setsid {PYTHON} -m http.server {PORT} >/dev/null 2>&1 &\n"

# Prints how long a connection took, or "no".
CONNECT = """
import socket, sys, time
start = time.monotonic()
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
    print(time.monotonic() - start)
except OSError:
    print("no")
"""

# Prints what the processes of a kind of stress use: processor ticks and bytes written within half a second, KiB held.
STRESS = """
import glob, json, sys, time
def use():
    ticks = written = held = 0
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            if f"stress\\0{sys.argv[1]}\\0".encode() not in open(folder + "/cmdline", "rb").read():
                continue
            stat = open(folder + "/stat").read().rsplit(")", 1)[1].split()
            ticks += int(stat[11]) + int(stat[12])
            lines = dict(line.split(":", 1) for line in open(folder + "/status"))
            held += int(lines.get("VmRSS", "0").split()[0])
            written += int(dict(line.split(": ") for line in open(folder + "/io"))["wchar"])
        except OSError:
            pass
    return ticks, written, held
before = use()
time.sleep(0.5)
after = use()
print(json.dumps([after[0] - before[0], after[1] - before[1], after[2]]))
"""

# Prints whether a write to the volume is done within a second.
WRITE = f"""
import subprocess, sys
child = subprocess.Popen(["dd", "if=/dev/zero", "of={VOLUME}/written", "bs=4k", "count=1", "conv=fsync"],
                         stderr=subprocess.DEVNULL, start_new_session=True)
try:
    child.wait(1)
    print("done")
except subprocess.TimeoutExpired:
    print("waits")
"""


@dataclasses.dataclass
class Ground:
    """A cloud with two instances that serve HTTP in two zones, one of them with a volume, behind a load balancer."""

    cloud: Cloud
    ids: dict[str, str] = dataclasses.field(default_factory=dict)
    addresses: dict[str, str] = dataclasses.field(default_factory=dict)
    subnets: dict[str, str] = dataclasses.field(default_factory=dict)
    volume: str = ""
    target_group: str = ""
    role: str = ""

    def client(self, service: str):
        return self.cloud.client(service)

    def inside(self, who: str, *command: str) -> str:
        return self.cloud.run("exec", self.ids[who], "--", *command)

    def python(self, who: str, script: str, *arguments: str) -> str:
        return self.inside(who, PYTHON, "-c", script, *arguments).strip()

    def connects(self, who: str, to: str, port: int = PORT) -> str:
        return self.python(who, CONNECT, self.addresses[to], str(port))

    def stressed(self, kind: str) -> list[int]:
        return json.loads(self.python("a", STRESS, kind))

    def assumed(self, service: str):
        """A client with the credentials of the role."""
        import boto3
        from botocore.config import Config

        given = self.client("sts").assume_role(RoleArn=self.role, RoleSessionName="session")["Credentials"]
        return boto3.client(
            service, endpoint_url=self.cloud.endpoint, region_name=REGION, aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    cloud = Cloud(folder, "server", "--driver", "linux", "--data", str(folder / "data")).start()
    ground = Ground(cloud)
    build(ground)
    yield ground
    cloud.close()


def build(ground: Ground) -> None:
    ec2, elb, iam = ground.client("ec2"), ground.client("elbv2"), ground.client("iam")
    image = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}])
    for subnet in ec2.describe_subnets()["Subnets"]:
        ground.subnets[subnet["AvailabilityZone"][-1]] = subnet["SubnetId"]
    # The third one serves nothing: it is there to be switched off.
    for zone in "abc":
        made = ec2.run_instances(
            ImageId=image["Images"][0]["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1,
            SubnetId=ground.subnets[zone], UserData=SERVER,
        )["Instances"][0]  # fmt: skip
        ground.ids[zone], ground.addresses[zone] = made["InstanceId"], made["PrivateIpAddress"]
    ec2.get_waiter("instance_running").wait(InstanceIds=list(ground.ids.values()), WaiterConfig={"Delay": 1})
    ground.volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[ground.volume], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=ground.volume, InstanceId=ground.ids["a"], Device="/dev/sdf")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    ground.role = iam.create_role(RoleName="app", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_role_policy(RoleName="app", PolicyName="all", PolicyDocument=policy)
    group = elb.create_target_group(
        Name="web", Protocol="HTTP", Port=PORT, VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"], HealthCheckPath="/",
        HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2, UnhealthyThresholdCount=2,
    )["TargetGroups"][0]  # fmt: skip
    ground.target_group = group["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=ground.target_group, Targets=[{"Id": ground.ids[zone]} for zone in "ab"])
    subnets = [ground.subnets[zone] for zone in "ab"]
    balancer = elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    forward = [{"Type": "forward", "TargetGroupArn": ground.target_group}]
    elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward)
    for one, other in ("ab", "ba"):
        eventually(lambda: ground.connects(one, other) != "no", limit_s=READY_S, what=f"{other} to serve")
    eventually(lambda: ground.inside("a", "sh", "-c", f"mountpoint -q {VOLUME} && echo is").strip() == "is", limit_s=READY_S, what="the volume")
    eventually(lambda: targets_are(ground, "healthy"), limit_s=READY_S, what="healthy targets")


def targets_are(ground: Ground, state: str) -> bool:
    health = ground.client("elbv2").describe_target_health(TargetGroupArn=ground.target_group)
    return {one["TargetHealth"]["State"] for one in health["TargetHealthDescriptions"]} == {state}


def arn(kind: str, id: str) -> str:
    return f"arn:aws:ec2:{REGION}:{DEFAULT_ACCOUNT}:{kind}/{id}"


def on(name: str, resource_type: str, resource: Callable[[Ground], str]) -> Callable[[Ground], tuple[str, dict]]:
    """The target of an action."""

    def target(ground: Ground) -> tuple[str, dict]:
        return name, {"resourceType": resource_type, "resourceArns": [resource(ground)], "selectionMode": "ALL"}

    return target


INSTANCE = on("Instances", "aws:ec2:instance", lambda g: arn("instance", g.ids["a"]))
SUBNET = on("Subnets", "aws:ec2:subnet", lambda g: arn("subnet", g.subnets["a"]))
VOLUMES = on("Volumes", "aws:ec2:ebs-volume", lambda g: arn("volume", g.volume))
ROLE = on("Roles", "aws:iam:role", lambda g: g.role)
GROUP = on("TargetGroups", "aws:elasticloadbalancing:targetgroup", lambda g: g.target_group)


@dataclasses.dataclass
class Fault:
    """An action, and whether its effect is there."""

    action: str
    parameters: dict
    target: Callable[[Ground], tuple[str, dict]] | None
    seen: Callable[[Ground], bool]
    document: str = ""
    # The parameter that says how long.
    lasts: str = "duration"

    def template(self, ground: Ground, seconds: int) -> dict:
        parameters = dict(self.parameters) | {self.lasts: f"PT{seconds}S"}
        if self.document:
            inner = {key: parameters.pop(key) for key in self.parameters} | {"DurationSeconds": str(seconds)}
            parameters["documentArn"] = f"arn:aws:ssm:{REGION}::document/AWSFIS-Run-{self.document}"
            parameters["documentParameters"] = json.dumps(inner)
        action: dict = {"actionId": self.action, "parameters": parameters}
        targets = {}
        if self.target:
            name, target = self.target(ground)
            action["targets"], targets = {name: "it"}, {"it": target}
        return {"actions": {"act": action}, "targets": targets}


def command(document: str, seen: Callable[[Ground], bool], **parameters: str) -> Fault:
    return Fault("aws:ssm:send-command", parameters, INSTANCE, seen, document)


def full(ground: Ground) -> bool:
    return int(ground.inside("a", "df", "--output=pcent", VOLUME).split()[-1].rstrip("%")) > 90


def cut(ground: Ground) -> bool:
    return ground.connects("b", "a") == "no"


def off(ground: Ground) -> bool:
    """Whether the third instance does not run."""
    (found,) = ground.client("ec2").describe_instances(InstanceIds=[ground.ids["c"]])["Reservations"]
    return found["Instances"][0]["State"]["Name"] != "running"


def slow(ground: Ground) -> bool:
    took = ground.connects("b", "a")
    return took != "no" and float(took) > 0.2


def fails(code: str, call: Callable[[Ground], object]) -> Callable[[Ground], bool]:
    def seen(ground: Ground) -> bool:
        try:
            call(ground)
        except ClientError as error:
            found = error.response["Error"]["Code"]
            assert found in (code, "DryRunOperation"), error
            return found == code
        return False

    return seen


def launch(ec2) -> None:
    image = ec2.describe_images(Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}])
    where = {"Placement": {"AvailabilityZone": f"{REGION}a"}, "DryRun": True}
    ec2.run_instances(
        ImageId=image["Images"][0]["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1, **where
    )  # fmt: skip


ZONES = {"availabilityZoneIdentifiers": f"{REGION}a"}
VPCS = {"service": "ec2", "operations": "DescribeVpcs"}
LINK = {"availabilityZoneIdentifier": f"{REGION}a", "otherAvailabilityZoneIdentifier": f"{REGION}b"}

FAULTS = {
    "cpu": command("CPU-Stress", lambda g: g.stressed("cpu")[0] > 20, LoadPercent="90"),
    "memory": command("Memory-Stress", lambda g: g.stressed("memory")[2] > 200 * 1024, Percent="50"),
    "io": command("IO-Stress", lambda g: g.stressed("io")[1] > 0),
    "disk": command("Disk-Fill", full, Percent="95"),
    "blackhole": command("Network-Blackhole-Port", cut, Protocol="tcp", Port=str(PORT), TrafficType="ingress"),
    "loss": command("Network-Packet-Loss", cut, LossPercent="100"),
    "loss-to-a-zone": command("Network-Packet-Loss-Sources", cut, LossPercent="100", Sources=f"{REGION}b"),
    "latency": command("Network-Latency", slow, DelayMilliseconds="250"),
    "own-interface": Fault("standfast:ec2:impair-network", {"delayMilliseconds": "250"}, INSTANCE, slow),
    "corruption": Fault("standfast:ec2:impair-network", {"corruptPercent": "100"}, INSTANCE, cut),
    "link": Fault("standfast:az:impair-link", LINK | {"lossPercent": "100"}, None, cut),
    "subnet": Fault("aws:network:disrupt-connectivity", {"scope": "all"}, SUBNET, cut),
    "subnet-from-zones": Fault("aws:network:disrupt-connectivity", {"scope": "availability-zone"}, SUBNET, cut),
    "volume": Fault("aws:ebs:pause-volume-io", {}, VOLUMES, lambda g: g.python("a", WRITE) == "waits"),
    "stopped-instance": Fault(
        "aws:ec2:stop-instances", {}, on("Instances", "aws:ec2:instance", lambda g: arn("instance", g.ids["c"])), off,
        lasts="startInstancesAfterDuration",
    ),
    "zone-power": Fault(
        "standfast:az:power-interruption", {"availabilityZoneIdentifier": f"{REGION}c"}, None, off
    ),
    "capacity-for-a-role": Fault(
        "aws:ec2:api-insufficient-instance-capacity-error", ZONES, ROLE,
        fails("InsufficientInstanceCapacity", lambda g: launch(g.assumed("ec2"))),
    ),
    "capacity": Fault(
        "standfast:az:insufficient-capacity", ZONES, None,
        fails("InsufficientInstanceCapacity", lambda g: launch(g.client("ec2"))),
    ),
    "throttling-of-a-role": Fault(
        "aws:fis:inject-api-throttle-error", VPCS, ROLE,
        fails("RequestLimitExceeded", lambda g: g.assumed("ec2").describe_vpcs()),
    ),
    "errors-for-a-role": Fault(
        "aws:fis:inject-api-internal-error", VPCS, ROLE, fails("InternalError", lambda g: g.assumed("ec2").describe_vpcs())
    ),
    "unavailability-for-a-role": Fault(
        "aws:fis:inject-api-unavailable-error", VPCS, ROLE,
        fails("Unavailable", lambda g: g.assumed("ec2").describe_vpcs()),
    ),
    "throttling": Fault(
        "standfast:api:throttle-error", VPCS, None,
        fails("RequestLimitExceeded", lambda g: g.client("ec2").describe_vpcs()),
    ),
    "targets": Fault("standfast:elbv2:fail-targets", {}, GROUP, lambda g: targets_are(g, "unhealthy")),
}  # fmt: skip
# Two health checks have to fail before it is seen.
SLOW_TO_SEE = {"targets": 25}


def start(ground: Ground, fault: Fault, seconds: int) -> str:
    fis = ground.client("fis")
    made = fis.create_experiment_template(
        clientToken=f"t{time.monotonic_ns()}", description="a fault", stopConditions=[{"source": "none"}],
        roleArn=ground.role, **fault.template(ground, seconds),
    )["experimentTemplate"]["id"]  # fmt: skip
    started = fis.start_experiment(clientToken=f"e{time.monotonic_ns()}", experimentTemplateId=made)
    return started["experiment"]["id"]


def is_seen(ground: Ground, fault: Fault) -> None:
    eventually(lambda: fault.seen(ground), limit_s=SEEN_S, what="the effect")


def is_over(ground: Ground, fault: Fault, experiment: str, wanted: str) -> None:
    fis = ground.client("fis")

    def state() -> dict:
        return fis.get_experiment(id=experiment)["experiment"]["state"]

    eventually(lambda: state()["status"] not in ("initiating", "running", "stopping"), limit_s=SEEN_S * 2, what="its end")
    assert state()["status"] == wanted, state()
    eventually(lambda: not fault.seen(ground), limit_s=SEEN_S, what="the effect to go")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_seen_and_ends_when_it_is_stopped(ground, name):
    fault = FAULTS[name]
    assert not fault.seen(ground)
    experiment = start(ground, fault, LONG)
    is_seen(ground, fault)
    ground.client("fis").stop_experiment(id=experiment)
    is_over(ground, fault, experiment, "stopped")


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_at_its_time_also_when_the_control_plane_was_killed_half_way(ground, name):
    fault = FAULTS[name]
    experiment = start(ground, fault, SLOW_TO_SEE.get(name, SHORT))
    is_seen(ground, fault)
    ground.cloud.kill()
    ground.cloud.start()
    is_over(ground, fault, experiment, "completed")


def test_a_process_is_killed(ground):
    ground.inside("b", "sh", "-c", "setsid sleep 4242 >/dev/null 2>&1 &")

    def sleeps() -> bool:
        return "4242" in ground.inside("b", "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true")

    assert sleeps()
    fault = command("Kill-Process", lambda _: not sleeps(), ProcessName="sleep", Signal="SIGKILL")
    fault.target = on("Instances", "aws:ec2:instance", lambda g: arn("instance", g.ids["b"]))
    experiment = start(ground, fault, SHORT)
    eventually(lambda: not sleeps(), limit_s=SEEN_S, what="the process to be gone")
    ground.client("fis").stop_experiment(id=experiment)


def test_what_an_instance_cannot_do_fails_its_experiment(ground):
    """The other instance has no volume to fill."""
    fault = command("Disk-Fill", full, Percent="95")
    fault.target = on("Instances", "aws:ec2:instance", lambda g: arn("instance", g.ids["b"]))
    experiment = start(ground, fault, LONG)
    is_over(ground, dataclasses.replace(fault, seen=lambda _: False), experiment, "failed")
