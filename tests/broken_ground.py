"""The ground for tests that break real instances: a cloud on the linux driver, instances to break by name, what they are
asked, and what else faults are about: volumes, roles, a group, a target group."""

import dataclasses
import json

import boto3
from botocore.config import Config

from cloud import DEFAULT_ACCOUNT, REGION, Cloud
from waiting import eventually

PYTHON = "/usr/bin/python3"
PORT = 8080
READY_S = 60
VOLUME = "/mnt/sdf"
# A zone's power is lost here, where nothing else is.
ELSEWHERE = "eu-central-1"
SERVER = f"#!/bin/sh\ncd /var/empty && setsid {PYTHON} -m http.server {PORT} >/dev/null 2>&1 &\n"

# Prints how long some connections took, or "no". A refusal is an answer too: what serves may have ended with a boot.
CONNECT = """
import json, socket, sys, time
took = []
for _ in range(int(sys.argv[3])):
    start = time.monotonic()
    try:
        socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()
    except ConnectionRefusedError:
        pass
    except OSError:
        print("no")
        sys.exit()
    took.append(time.monotonic() - start)
print(json.dumps(took))
"""

# Prints what the processes of a kind of stress use: processor ticks and bytes written within half a second, KiB held, threads,
# and the bytes of their files.
STRESS = """
import glob, json, os, sys, time
def use():
    ticks = written = held = threads = files = 0
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            if f"stress\\0{sys.argv[1]}\\0".encode() not in open(folder + "/cmdline", "rb").read():
                continue
            stat = open(folder + "/stat").read().rsplit(")", 1)[1].split()
            ticks += int(stat[11]) + int(stat[12])
            lines = dict(line.split(":", 1) for line in open(folder + "/status"))
            held += int(lines.get("VmRSS", "0").split()[0])
            threads += int(lines["Threads"])
            written += int(dict(line.split(": ") for line in open(folder + "/io"))["wchar"])
            own = [name for name in glob.glob(folder + "/fd/*") if "standfast-stress" in os.readlink(name)]
            files += sum(os.stat(name).st_size for name in own)
        except OSError:
            pass
    return ticks, written, held, threads, files
before = use()
time.sleep(0.5)
after = use()
print(json.dumps([after[0] - before[0], after[1] - before[1], *after[2:]]))
"""

# Prints whether what a command does is done within a second.
WAITS = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
try:
    child.wait(1)
    print("done")
except subprocess.TimeoutExpired:
    print("waits")
"""
WRITE = ["dd", "if=/dev/zero", f"of={VOLUME}/written", "bs=4k", "count=1", "conv=fsync"]
# What is in memory would be read at once.
READ = ["dd", f"if={VOLUME}/kept", "of=/dev/null", "bs=4k", "count=1", "iflag=direct"]
KEEP = ["dd", "if=/dev/zero", f"of={VOLUME}/kept", "bs=4k", "count=4", "conv=fsync"]


@dataclasses.dataclass
class Ground:
    """A cloud with instances to break, by name, that serve HTTP, and what else faults are about."""

    cloud: Cloud
    ids: dict[str, str] = dataclasses.field(default_factory=dict)
    addresses: dict[str, str] = dataclasses.field(default_factory=dict)
    subnets: dict[str, str] = dataclasses.field(default_factory=dict)
    volumes: dict[str, str] = dataclasses.field(default_factory=dict)
    image: str = ""
    target_group: str = ""
    group: str = ""
    role: str = ""
    other_role: str = ""

    # Clients are dear to make, and each is asked many times.
    clients: dict = dataclasses.field(default_factory=dict)

    def client(self, service: str, region: str = REGION):
        return self.clients.get((service, region)) or self.clients.setdefault(
            (service, region), self.cloud.client(service, region=region)
        )

    # Of instances that are not in the usual one.
    regions: dict[str, str] = dataclasses.field(default_factory=dict)

    def inside(self, who: str, *command: str) -> str:
        return self.cloud.run("exec", self.ids[who], "--region", self.regions.get(who, REGION), "--", *command)

    def python(self, who: str, script: str, *arguments: str) -> str:
        return self.inside(who, PYTHON, "-c", script, *arguments).strip()

    def connects(self, who: str, to: str, times: int = 1) -> list[float]:
        """How long connections took; none when one does not come about."""
        took = self.python(who, CONNECT, self.addresses[to], str(PORT), str(times))
        return [] if took == "no" else json.loads(took)

    def stressed(self, kind: str) -> list[int]:
        return json.loads(self.python("a", STRESS, kind))

    def waits(self, command: list[str], who: str = "paused") -> bool:
        return self.python(who, WAITS, *command) == "waits"

    def assumed(self, role: str, region: str = REGION):
        """A client of ec2 with the credentials of a role."""
        if (role, region) in self.clients:
            return self.clients[role, region]
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
        self.clients[role, region] = boto3.client(
            "ec2", endpoint_url=self.cloud.endpoint, region_name=region, aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}),
        )  # fmt: skip
        return self.clients[role, region]


def launch(ec2, image: str, subnet: str, **options) -> dict:
    return ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, SubnetId=subnet, UserData=SERVER, **options
    )["Instances"][0]  # fmt: skip


def default_subnets(ec2) -> dict[str, str]:
    """Of the default VPC, by the letters of their zones."""
    return {subnet["AvailabilityZone"][-1]: subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]}


def image_of(ec2) -> str:
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    return ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]


def build(ground: Ground, victims: list[str]) -> None:
    """Makes it, with an instance for each of these besides the usual ones."""
    ec2, elsewhere = ground.client("ec2"), ground.client("ec2", ELSEWHERE)
    ground.image, ground.subnets = image_of(ec2), default_subnets(ec2)
    vpc = ec2.describe_vpcs()["Vpcs"][0]
    # Subnets of their own, in the first zone, are cut off.
    for name, block in (("subnet", "172.31.96.0/20"), ("subnet-from-zones", "172.31.112.0/20")):
        made = ec2.create_subnet(VpcId=vpc["VpcId"], CidrBlock=block, AvailabilityZone=f"{REGION}a")
        ground.subnets[name] = made["Subnet"]["SubnetId"]
    places = {"a": "a", "paused": "a", "calm": "a", "b": "b", "far": "c", "stopped-instance": "c"}
    places |= {name: name if name in ground.subnets else "a" for name in victims}
    for name, place in places.items():
        made = launch(ec2, ground.image, ground.subnets[place])
        ground.ids[name], ground.addresses[name] = made["InstanceId"], made["PrivateIpAddress"]
    dark = launch(elsewhere, image_of(elsewhere), default_subnets(elsewhere)["a"])["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=list(ground.ids.values()), WaiterConfig={"Delay": 1})
    ground.ids["zone-power"] = dark
    for name in ("a", "paused"):
        ground.volumes[name] = with_volume(ec2, f"{REGION}a", ground.ids[name])
    build_group(ground)
    build_roles(ground)
    build_balancer(ground, vpc["VpcId"])
    for name in places:
        if name != "b":
            eventually(lambda: ground.connects("b", name), limit_s=READY_S, what=f"{name} to serve")
    for name in ("a", "paused"):
        eventually(lambda: is_mounted(ground, name), limit_s=READY_S, what="the volume")
    ground.inside("paused", *KEEP)
    eventually(lambda: targets_are(ground, "healthy"), limit_s=READY_S, what="healthy targets")


def with_volume(ec2, zone: str, instance: str, **options) -> str:
    """A new volume of an instance."""
    volume = ec2.create_volume(AvailabilityZone=zone, Size=1, **options)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    return volume


def is_mounted(ground: Ground, name: str) -> bool:
    return ground.inside(name, "sh", "-c", f"mountpoint -q {VOLUME} && echo is; true").strip() == "is"


def build_group(ground: Ground) -> None:
    """A group that wants nothing."""
    asg = ground.client("autoscaling")
    group_of_one(asg, ground.image, f"{REGION}c", MinSize=0)
    ground.group = asg.describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupARN"]


def group_of_one(asg, image: str, zone: str, **options) -> None:
    asg.create_launch_configuration(LaunchConfigurationName="lc", ImageId=image, InstanceType="t3.micro")
    asg.create_auto_scaling_group(
        AutoScalingGroupName="few", LaunchConfigurationName="lc", MaxSize=1, AvailabilityZones=[zone], **options
    )


def build_roles(ground: Ground) -> None:
    iam = ground.client("iam")
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    for name in ("app", "other"):
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy)
    ground.role, ground.other_role = (f"arn:aws:iam::{DEFAULT_ACCOUNT}:role/{name}" for name in ("app", "other"))


def build_balancer(ground: Ground, vpc: str) -> None:
    elb = ground.client("elbv2")
    group = elb.create_target_group(
        Name="web", Protocol="HTTP", Port=PORT, VpcId=vpc, HealthCheckPath="/", HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2, HealthyThresholdCount=2, UnhealthyThresholdCount=2,
    )["TargetGroups"][0]  # fmt: skip
    ground.target_group = group["TargetGroupArn"]
    elb.register_targets(TargetGroupArn=ground.target_group, Targets=[{"Id": ground.ids[name]} for name in ("b", "calm")])
    subnets = [ground.subnets[zone] for zone in "ab"]
    balancer = elb.create_load_balancer(Name="web", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    forward = [{"Type": "forward", "TargetGroupArn": ground.target_group}]
    elb.create_listener(LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=forward)


def targets_are(ground: Ground, state: str) -> bool:
    health = ground.client("elbv2").describe_target_health(TargetGroupArn=ground.target_group)
    return {one["TargetHealth"]["State"] for one in health["TargetHealthDescriptions"]} == {state}


def arn(kind: str, id: str, region: str = REGION) -> str:
    return f"arn:aws:ec2:{region}:{DEFAULT_ACCOUNT}:{kind}/{id}"
