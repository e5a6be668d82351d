"""What experiments break in real instances, seen from inside: that it is so, and that it ends.

One table of faults, each with a victim of its own, so that all of them are there at once: they are seen to begin, and to end
when their experiments are stopped; and once more, at their time, although the control plane was killed half way and another
one has taken over. What comes of them when the host is killed, and scenarios, have tests of their own.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import signal
import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

import scenario
from broken_ground import (
    ELSEWHERE, KEEP, PORT, READ, READY_S, VOLUME, WRITE, Ground, arn, build, default_subnets, group_of_one, image_of,
    is_mounted, launch, targets_are, with_volume,
)
from cloud import REGION, Cloud, is_alive
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so nothing was broken for real"
)

SEEN_S = 45
# Long enough for all to be seen, of which two failed health checks take longest: six seconds.
SHORT = 25
BRIEF = 20
LONG = 600
# The shortest, and how long before its end an instance is told.
SPOT_NOTICE_S = 120
# So many are looked at at once.
EYES = 4
# Of FIS.
ACTIONS_MAX = 20

# Counts the packets that come, until none comes for a while.
COUNT = """
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
listener.bind(("", int(sys.argv[1])))
listener.settimeout(15)
count = 0
try:
    while True:
        listener.recv(64)
        count += 1
        listener.settimeout(1)
except TimeoutError:
    print(count)
"""
# Sends packets, few enough at once for whoever counts them.
SEND = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(int(sys.argv[3])):
    sender.sendto(b"x", (sys.argv[1], int(sys.argv[2])))
    if n % 5 == 0:
        time.sleep(0.005)
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    cloud = Cloud(folder, "server", "--driver", "linux", "--data", str(folder / "data")).start()
    ground = Ground(cloud)
    build(ground, [name for name, fault in FAULTS.items() if fault.has_victim])
    yield ground
    cloud.close()


Target = Callable[[Ground], tuple[str, dict]]


def on(name: str, resource_type: str, resource: Callable[[Ground], str]) -> Target:
    """An action's target that is one resource."""

    def target(ground: Ground) -> tuple[str, dict]:
        return name, {"resourceType": resource_type, "resourceArns": [resource(ground)], "selectionMode": "ALL"}

    return target


def instance(name: str) -> Target:
    return on("Instances", "aws:ec2:instance", lambda g: arn("instance", g.ids[name]))


def subnet(name: str) -> Target:
    return on("Subnets", "aws:ec2:subnet", lambda g: arn("subnet", g.subnets[name]))


VOLUMES = on("Volumes", "aws:ec2:ebs-volume", lambda g: arn("volume", g.volumes["paused"]))
ROLE = on("Roles", "aws:iam:role", lambda g: g.role)
TARGET_GROUP = on("TargetGroups", "aws:elasticloadbalancing:targetgroup", lambda g: g.target_group)
GROUP = on("AutoScalingGroups", "aws:ec2:autoscaling-group", lambda g: g.group)


@dataclasses.dataclass
class Fault:
    """An action, and whether its effect is there."""

    action: str
    parameters: dict
    target: Target | None
    seen: Callable[[Ground], bool]
    document: str = ""
    # The parameter that says how long; none of what is over at once.
    lasts: str = "duration"
    region: str = REGION
    # Whether it has an instance of its name to itself.
    has_victim: bool = False
    # What is done before it begins, and while it is there, for it to be seen.
    prepare: Callable[[Ground], None] = lambda _: None
    provoke: Callable[[Ground], None] = lambda _: None
    # Whether it ends early and is not stopped, as its end is seen late: a group tries again after half a minute, then after
    # a whole one. That it ends when it is stopped is seen on virtual time.
    is_brief: bool = False
    # Whether nothing of it is left; unless it says otherwise, when it is not seen.
    gone: Callable[[Ground], bool] | None = None

    def is_gone(self, ground: Ground) -> bool:
        return self.gone(ground) if self.gone else not self.seen(ground)

    def template(self, ground: Ground, name: str, seconds: int) -> tuple[dict, dict]:
        """The action, and the targets that it refers to."""
        seconds = min(seconds, BRIEF) if self.is_brief else seconds
        parameters = dict(self.parameters) | ({self.lasts: f"PT{seconds}S"} if self.lasts else {})
        if self.document:
            inner = {key: parameters.pop(key) for key in self.parameters} | {"DurationSeconds": str(seconds)}
            parameters["documentArn"] = f"arn:aws:ssm:{REGION}::document/AWSFIS-Run-{self.document}"
            parameters["documentParameters"] = json.dumps(inner)
        action: dict = {"actionId": self.action, "parameters": parameters}
        if not self.target:
            return action, {}
        kind, target = self.target(ground)
        action["targets"] = {kind: name}
        return action, {name: target}


def command(victim: str, document: str, seen: Callable[[Ground], bool], **parameters: str) -> Fault:
    return Fault("aws:ssm:send-command", parameters, instance(victim), seen, document, has_victim=victim != "a")


def full(ground: Ground) -> bool:
    return int(ground.inside("a", "df", "--output=pcent", VOLUME).split()[-1].rstrip("%")) > 90


def io(ground: Ground) -> bool:
    """Two workers beside the process's own thread, whose files take a part of a tenth of what is free."""
    _, written, _, threads, files = ground.stressed("io")
    return written > 0 and threads == 3 and 0 < files <= 103 << 20


def memory(ground: Ground) -> bool:
    _, _, held, threads, _ = ground.stressed("memory")
    return held > 200 * 1024 and threads == 4


def cut(name: str) -> Callable[[Ground], bool]:
    return lambda ground: not ground.connects("b", name)


def slow(name: str) -> Callable[[Ground], bool]:
    def seen(ground: Ground) -> bool:
        took = ground.connects("b", name)
        return bool(took) and took[0] > 0.2

    return seen


def uneven(ground: Ground) -> bool:
    """Later than the least, and spread as it is but once in thousands of times."""
    took = ground.connects("b", "jitter", 6)
    return bool(took) and min(took) > 0.09 and max(took) - min(took) > 0.03


def off(name: str, region: str = REGION) -> Callable[[Ground], bool]:
    """Whether the instance does not run."""

    def seen(ground: Ground) -> bool:
        (found,) = ground.client("ec2", region).describe_instances(InstanceIds=[ground.ids[name]])["Reservations"]
        return found["Instances"][0]["State"]["Name"] != "running"

    return seen


def code(call: Callable[[], object]) -> str:
    """The error of a call; nothing when it works."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def fails(wanted: str, call: Callable[[object, Ground], object], everybody: bool = False) -> Callable[[Ground], bool]:
    """Whether a call fails for the role; for another one it does for as long as it does for everybody."""

    def seen(ground: Ground) -> bool:
        one, other = (code(lambda: call(ground.assumed(role), ground)) for role in (ground.role, ground.other_role))
        assert {one, other} <= {wanted, "", "DryRunOperation"}, (one, other)
        if one == wanted and not everybody:
            assert other != wanted, "another role is hit too"
        return one == wanted

    return seen


def would_launch(zone: str) -> Callable[[object, Ground], object]:
    return lambda ec2, ground: launch(ec2, ground.image, ground.subnets[zone], DryRun=True)


def few(ground: Ground) -> dict:
    return ground.client("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=["few"])["AutoScalingGroups"][0]


def wanted(count: int) -> Callable[[Ground], None]:
    def want(ground: Ground) -> None:
        ground.client("autoscaling").set_desired_capacity(AutoScalingGroupName="few", DesiredCapacity=count)
        if count == 0:
            eventually(lambda: not few(ground)["Instances"], limit_s=SEEN_S, what="the group to be empty")

    return want


def refused_to_group(ground: Ground, region: str = REGION) -> bool:
    """Whether its last launch found no capacity."""
    all = ground.client("autoscaling", region).describe_scaling_activities(AutoScalingGroupName="few")["Activities"]
    last = next((one for one in all if one["Description"].startswith("Launching")), {})
    return last.get("StatusCode") == "Failed" and "do not have sufficient" in last["StatusMessage"]


def paused(ground: Ground) -> bool:
    return ground.waits(WRITE) and ground.waits(READ)


def not_paused(ground: Ground) -> bool:
    return not ground.waits(WRITE) and not ground.waits(READ)


def zones(letter: str) -> dict:
    return {"availabilityZoneIdentifiers": f"{REGION}{letter}"}


def of_ec2(operation: str) -> dict:
    return {"service": "ec2", "operations": operation}


LINK = {"availabilityZoneIdentifier": f"{REGION}b", "otherAvailabilityZoneIdentifier": f"{REGION}c"}
NO_CAPACITY = "InsufficientInstanceCapacity"

FAULTS = {
    "cpu": command("a", "CPU-Stress", lambda g: g.stressed("cpu")[0] > 20, LoadPercent="90"),
    "memory": command("a", "Memory-Stress", memory, Percent="50", Workers="3"),
    "io": command("a", "IO-Stress", io, Percent="10", Workers="2"),
    "disk": command("a", "Disk-Fill", full, Percent="95"),
    "blackhole": command("blackhole", "Network-Blackhole-Port", cut("blackhole"), Protocol="tcp", Port=str(PORT)),
    "loss": command("loss", "Network-Packet-Loss", cut("loss"), LossPercent="100"),
    "loss-from-a-zone": command(
        "loss-from-a-zone", "Network-Packet-Loss-Sources", cut("loss-from-a-zone"), LossPercent="100", Sources=f"{REGION}b"
    ),
    "latency": command("latency", "Network-Latency", slow("latency"), DelayMilliseconds="250"),
    "jitter": command(
        "jitter", "Network-Latency-Sources", uneven, DelayMilliseconds="200", JitterMilliseconds="100", Sources=f"{REGION}b"
    ),
    "own-interface": Fault(
        "standfast:ec2:impair-network", {"delayMilliseconds": "250"}, instance("own-interface"), slow("own-interface"),
        has_victim=True,
    ),
    "corruption": Fault(
        "standfast:ec2:impair-network", {"corruptPercent": "100"}, instance("corruption"), cut("corruption"), has_victim=True
    ),
    "link": Fault("standfast:az:impair-link", LINK | {"lossPercent": "100"}, None, cut("far")),
    "subnet": Fault(
        "aws:network:disrupt-connectivity", {"scope": "all"}, subnet("subnet"), cut("subnet"), has_victim=True
    ),
    "subnet-from-zones": Fault(
        "aws:network:disrupt-connectivity", {"scope": "availability-zone"}, subnet("subnet-from-zones"),
        cut("subnet-from-zones"), has_victim=True,
    ),
    "volume": Fault("aws:ebs:pause-volume-io", {}, VOLUMES, paused, gone=not_paused),
    "stopped-instance": Fault(
        "aws:ec2:stop-instances", {}, instance("stopped-instance"), off("stopped-instance"),
        lasts="startInstancesAfterDuration",
    ),
    "zone-power": Fault(
        "standfast:az:power-interruption", {"availabilityZoneIdentifier": f"{ELSEWHERE}a"}, None,
        off("zone-power", ELSEWHERE), region=ELSEWHERE,
    ),
    "capacity-for-a-role": Fault(
        "aws:ec2:api-insufficient-instance-capacity-error", zones("b"), ROLE, fails(NO_CAPACITY, would_launch("b"))
    ),
    "capacity-for-a-group": Fault(
        "aws:ec2:asg-insufficient-instance-capacity-error", zones("c"), GROUP, refused_to_group,
        prepare=wanted(0), provoke=wanted(1), gone=lambda g: len(few(g)["Instances"]) == 1, is_brief=True,
    ),
    "capacity": Fault(
        "standfast:az:insufficient-capacity", zones("a"), None, fails(NO_CAPACITY, would_launch("a"), everybody=True)
    ),
    "throttling-of-a-role": Fault(
        "aws:fis:inject-api-throttle-error", of_ec2("DescribeVpcs"), ROLE,
        fails("RequestLimitExceeded", lambda ec2, _: ec2.describe_vpcs()),
    ),
    "errors-for-a-role": Fault(
        "aws:fis:inject-api-internal-error", of_ec2("DescribeSubnets"), ROLE,
        fails("InternalError", lambda ec2, _: ec2.describe_subnets()),
    ),
    "unavailability-for-a-role": Fault(
        "aws:fis:inject-api-unavailable-error", of_ec2("DescribeRouteTables"), ROLE,
        fails("Unavailable", lambda ec2, _: ec2.describe_route_tables()),
    ),
    "throttling": Fault(
        "standfast:api:throttle-error", of_ec2("DescribeAddresses"), None,
        fails("RequestLimitExceeded", lambda ec2, _: ec2.describe_addresses(), everybody=True),
    ),
    "errors": Fault(
        "standfast:api:internal-error", of_ec2("DescribeKeyPairs"), None,
        fails("InternalError", lambda ec2, _: ec2.describe_key_pairs(), everybody=True),
    ),
    "unavailability": Fault(
        "standfast:api:unavailable-error", of_ec2("DescribeVolumes"), None,
        fails("Unavailable", lambda ec2, _: ec2.describe_volumes(), everybody=True),
    ),
    "targets": Fault("standfast:elbv2:fail-targets", {}, TARGET_GROUP, lambda g: targets_are(g, "unhealthy")),
}  # fmt: skip


def start(ground: Ground, faults: dict[str, Fault], seconds: int) -> list[tuple[str, str]]:
    """Experiments of these faults: their regions and ids."""
    begun = []
    for region in sorted({fault.region for fault in faults.values()}):
        there = [(name, fault) for name, fault in faults.items() if fault.region == region]
        for some in (there[at : at + ACTIONS_MAX] for at in range(0, len(there), ACTIONS_MAX)):
            begun.append((region, start_one(ground, region, some, seconds)))
    return begun


def start_one(ground: Ground, region: str, faults: list[tuple[str, Fault]], seconds: int) -> str:
    fis, actions, targets = ground.client("fis", region), {}, {}
    for name, fault in faults:
        actions[name], more = fault.template(ground, name, seconds)
        targets |= more
    made = fis.create_experiment_template(
        clientToken=f"t{time.monotonic_ns()}", description="faults", stopConditions=[{"source": "none"}],
        roleArn=ground.role, actions=actions, targets=targets,
    )["experimentTemplate"]["id"]  # fmt: skip
    started = fis.start_experiment(clientToken=f"e{time.monotonic_ns()}", experimentTemplateId=made)["experiment"]["id"]

    def has_begun() -> bool:
        actions = fis.get_experiment(id=started)["experiment"]["actions"].values()
        return not any(action["state"]["status"] in ("pending", "initiating") for action in actions)

    eventually(has_begun, limit_s=SEEN_S, what="its actions to begin")
    return started


def all_are(ground: Ground, faults: dict[str, Fault], so: Callable[[Fault], bool], what: str) -> None:
    """Waits until it is so of every fault, looking at some at once."""

    def wait(name: str) -> None:
        eventually(lambda: so(faults[name]), limit_s=SEEN_S, what=f"{name} to be {what}")

    with concurrent.futures.ThreadPoolExecutor(EYES) as eyes:
        for seen in [eyes.submit(wait, name) for name in faults]:
            seen.result()


def are_seen(ground: Ground, faults: dict[str, Fault]) -> None:
    for fault in faults.values():
        fault.provoke(ground)
    faults = dict(sorted(faults.items(), key=lambda one: not one[1].is_brief))
    all_are(ground, faults, lambda fault: fault.seen(ground), "seen")


def are_gone(ground: Ground, faults: dict[str, Fault]) -> None:
    all_are(ground, faults, lambda fault: fault.is_gone(ground), "gone")


def is_over(ground: Ground, region: str, experiment: str, wanted: str) -> None:
    fis = ground.client("fis", region)

    def state() -> dict:
        return fis.get_experiment(id=experiment)["experiment"]["state"]

    eventually(lambda: state()["status"] not in ("initiating", "running", "stopping"), limit_s=SEEN_S * 2, what="its end")
    assert state()["status"] == wanted, state()


def prepared(ground: Ground) -> None:
    for fault in FAULTS.values():
        fault.prepare(ground)
    seen = [name for name, fault in FAULTS.items() if fault.gone is None and fault.seen(ground)]
    assert not seen, f"there before anything is broken: {seen}"


def test_every_fault_is_seen_and_ends_when_it_is_stopped(ground):
    prepared(ground)
    faults = {name: fault for name, fault in FAULTS.items() if not fault.is_brief}
    experiments = start(ground, faults, LONG)
    are_seen(ground, faults)
    for region, experiment in experiments:
        ground.client("fis", region).stop_experiment(id=experiment)
    for region, experiment in experiments:
        is_over(ground, region, experiment, "stopped")
    are_gone(ground, faults)


def test_every_fault_ends_at_its_time_also_when_the_control_plane_was_killed_half_way(ground):
    prepared(ground)
    experiments = start(ground, FAULTS, SHORT)
    are_seen(ground, FAULTS)
    ground.cloud.kill()
    ground.cloud.start()
    for region, experiment in experiments:
        is_over(ground, region, experiment, "completed")
    are_gone(ground, FAULTS)


def test_a_process_is_killed(ground):
    ground.inside("b", "sh", "-c", "setsid sleep 4242 >/dev/null 2>&1 &")

    def sleeps() -> bool:
        return "4242" in ground.inside("b", "sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true")

    assert sleeps()
    fault = Fault("aws:ssm:send-command", {}, instance("b"), lambda _: False, "Kill-Process")
    action, targets = fault.template(ground, "kill", LONG)
    action["parameters"]["documentParameters"] = json.dumps({"ProcessName": "sleep", "Signal": "SIGKILL"})
    fis = ground.client("fis")
    made = fis.create_experiment_template(
        clientToken="kill", description="kill", stopConditions=[{"source": "none"}], roleArn=ground.role,
        actions={"kill": action}, targets=targets,
    )["experimentTemplate"]["id"]  # fmt: skip
    experiment = fis.start_experiment(clientToken="kill", experimentTemplateId=made)["experiment"]["id"]
    eventually(lambda: not sleeps(), limit_s=SEEN_S, what="the process to be gone")
    fis.stop_experiment(id=experiment)


def test_what_an_instance_cannot_do_fails_its_experiment(ground):
    """This instance has no volume to fill."""
    fault = command("b", "Disk-Fill", full, Percent="95")
    ((region, experiment),) = start(ground, {"disk": fault}, LONG)
    is_over(ground, region, experiment, "failed")


def arrived(ground: Ground, who: str, to: str, port: int, count: int) -> int:
    """How many of so many packets arrive."""
    with concurrent.futures.ThreadPoolExecutor(1) as other:
        counted = other.submit(ground.python, to, COUNT, str(port))
        listening = f"grep -qi ':{port:04X} ' /proc/net/udp && echo is; true"
        eventually(lambda: ground.inside(to, "sh", "-c", listening).strip(), limit_s=READY_S, what="a listener")
        ground.python(who, SEND, ground.addresses[to], str(port), str(count))
        return int(counted.result())


def test_the_scenario_of_slow_traffic_loses_packets_to_other_zones_and_none_within(ground):
    sent = 1500
    tag = {"Key": "CrossAZTrafficSlowdown", "Value": "PacketLossForEC2"}
    ground.client("ec2").create_tags(Resources=[ground.ids["latency"]], Tags=[tag])
    scenario_of = ["scenario", "cross-az-traffic-slowdown", "--zone", f"{REGION}a"]
    assert "heal scenario" in ground.cloud.run("break", *scenario_of, "--for", "10m")
    ways = [("latency", "far"), ("latency", "own-interface"), ("far", "latency")]
    with concurrent.futures.ThreadPoolExecutor(len(ways)) as eyes:
        counted = [eyes.submit(arrived, ground, *way, 9001 + n, sent) for n, way in enumerate(ways)]
        across, within, back = (one.result() for one in counted)
    # 15 of a hundred: 225, give or take 14; six times that is wide enough for chance.
    assert 140 < sent - across < 310, across
    assert within == sent, "within the zone nothing is lost"
    assert back == sent, "what comes is not lost"
    ground.cloud.run("heal", "scenario", f"{REGION}a")
    assert arrived(ground, "latency", "far", 9004, sent) == sent


def test_the_scenario_of_a_slow_application_delays_what_comes_from_its_zone(ground):
    tag = {"Key": "AZApplicationSlowdown", "Value": "LatencyForEC2"}
    ground.client("ec2").create_tags(Resources=[ground.ids["latency"]], Tags=[tag])
    ground.cloud.run("break", "scenario", "az-application-slowdown", "--zone", f"{REGION}a", "--for", "10m")

    def within() -> float:
        return ground.connects("own-interface", "latency")[0]

    eventually(lambda: within() >= 0.2, limit_s=SEEN_S, what="its zone's packets to be late")
    assert ground.connects("b", "latency")[0] < 0.2, "another zone's are not"
    ground.cloud.run("heal", "scenario", f"{REGION}a")
    eventually(lambda: within() < 0.2, limit_s=SEEN_S, what="it to end")


def test_the_scenario_of_a_lost_zone_hits_all_that_has_its_tags_and_what_recovers_late(ground):
    region = "us-west-2"
    ec2, asg, fis = (ground.client(service, region) for service in ("ec2", "autoscaling", "fis"))
    image, subnets, zone = image_of(ec2), default_subnets(ec2), f"{region}a"

    def tagged(value: str) -> list[dict]:
        return [{"Key": "AzImpairmentPower", "Value": value}]

    made = {name: launch(ec2, image, subnets[place]) for name, place in (("stops", "a"), ("stays", "a"), ("looks", "b"))}
    ground.ids |= {name: one["InstanceId"] for name, one in made.items()}
    ground.regions |= dict.fromkeys(made, region)
    ground.addresses |= {name: one["PrivateIpAddress"] for name, one in made.items()}
    group_of_one(asg, image, zone, MinSize=1, Tags=[tagged("IceAsg")[0] | {"PropagateAtLaunch": True}])
    ec2.get_waiter("instance_running").wait(InstanceIds=[ground.ids["stops"], ground.ids["stays"]], WaiterConfig={"Delay": 1})
    ec2.create_tags(Resources=[ground.ids["stops"]], Tags=tagged("StopInstances"))
    ec2.create_tags(Resources=[subnets["a"]], Tags=tagged("DisruptSubnet"))
    of_volume = [{"ResourceType": "volume", "Tags": tagged("ApiPauseVolume")}]
    with_volume(ec2, zone, ground.ids["stays"], TagSpecifications=of_volume)
    ground.client("iam").tag_role(RoleName="app", Tags=tagged("IceInstanceLaunch"))

    def member() -> str:
        (group,) = asg.describe_auto_scaling_groups()["AutoScalingGroups"]
        return next((one["InstanceId"] for one in group["Instances"] if one["LifecycleState"] == "InService"), "")

    before = eventually(member, limit_s=READY_S, what="a member")
    eventually(lambda: is_mounted(ground, "stays"), limit_s=READY_S, what="the volume")
    eventually(lambda: ground.connects("looks", "stays"), limit_s=READY_S, what="it to serve")
    ground.cloud.run("break", "scenario", "az-power-interruption", "--zone", zone, "--for", "15s")
    (running,) = [one["id"] for one in fis.list_experiments()["experiments"] if one["state"]["status"] == "running"]

    def launches(role: str) -> str:
        return code(lambda: launch(ground.assumed(role, region), image, subnets["a"], DryRun=True))

    def is_dark() -> bool:
        refused = [launches(ground.role), launches(ground.other_role)] == [NO_CAPACITY, "DryRunOperation"]
        return refused and off("stops", region)(ground) and not ground.connects("looks", "stays") and member() != before

    eventually(is_dark, limit_s=SEEN_S, what="the zone to be lost")
    eventually(lambda: refused_to_group(ground, region), limit_s=SEEN_S, what="the group to find no capacity")
    eventually(lambda: not off("stops", region)(ground), limit_s=SEEN_S, what="what was stopped to run again")
    eventually(lambda: ground.waits(WRITE, "stays"), limit_s=SEEN_S, what="the volume to hang when the power is back")
    is_over(ground, region, running, "completed")
    assert not ground.waits(WRITE, "stays") and ground.connects("looks", "stays")
    assert launches(ground.role) == "DryRunOperation"
    eventually(member, limit_s=READY_S, what="another member")


# Prints what the metadata say of an interruption.
NOTICE = """
import urllib.error, urllib.request
def get(path, **options):
    request = urllib.request.Request("http://169.254.169.254/latest/" + path, **options)
    return urllib.request.urlopen(request, timeout=2).read().decode()
token = get("api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
try:
    print(get("meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token}))
except urllib.error.HTTPError as error:
    print(error.code)
"""


def test_what_is_over_at_once_is_seen_in_the_instance_or_by_its_end(ground):
    ec2 = ground.client("ec2")
    market = {"MarketType": "spot"}
    spot = launch(ec2, ground.image, ground.subnets["a"], InstanceMarketOptions=market)["InstanceId"]
    ground.ids["spot"] = spot
    ec2.get_waiter("instance_running").wait(InstanceIds=[spot], WaiterConfig={"Delay": 1})
    eventually(lambda: ground.python("spot", NOTICE) == "404", limit_s=READY_S, what="no notice")
    ground.inside("blackhole", "sh", "-c", "setsid sleep 4243 >/dev/null 2>&1 &")

    def sleeps() -> bool:
        try:
            return "4243" in ground.inside("blackhole", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; true")
        except AssertionError:
            # It is between two boots.
            return True

    def is_in(name: str, *states: str) -> bool:
        (found,) = ec2.describe_instances(InstanceIds=[ground.ids[name]])["Reservations"]
        return found["Instances"][0]["State"]["Name"] in states

    def is_impaired() -> bool:
        (status,) = ec2.describe_instance_status(InstanceIds=[ground.ids["corruption"]])["InstanceStatuses"]
        return status["SystemStatus"]["Status"] == "impaired"

    assert sleeps() and is_in("loss", "running") and is_in("jitter", "running") and not is_impaired()
    spots = on("SpotInstances", "aws:ec2:spot-instance", lambda g: arn("instance", g.ids["spot"]))
    at_once = {
        "reboot": Fault("aws:ec2:reboot-instances", {}, instance("blackhole"), lambda _: not sleeps(), lasts=""),
        "kill": Fault("standfast:ec2:kill-instances", {}, instance("loss"), lambda _: is_in("loss", "stopped"), lasts=""),
        "terminate": Fault(
            "aws:ec2:terminate-instances", {}, instance("jitter"),
            lambda _: is_in("jitter", "shutting-down", "terminated"), lasts="",
        ),
        "hardware": Fault("standfast:ec2:fail-hardware", {}, instance("corruption"), lambda _: is_impaired(), lasts=""),
        "spot": Fault(
            "aws:ec2:send-spot-instance-interruptions", {}, spots,
            lambda g: '"action":"terminate"' in g.python("spot", NOTICE).replace(" ", ""), lasts="durationBeforeInterruption",
        ),
    }  # fmt: skip
    ((region, experiment),) = start(ground, at_once, SPOT_NOTICE_S)
    are_seen(ground, at_once)
    is_over(ground, region, experiment, "completed")
    eventually(lambda: is_in("blackhole", "running"), limit_s=SEEN_S, what="it to run again")


def test_a_host_that_is_killed_leaves_nothing_behind_and_faults_last(ground):
    """What is a level is there again after it; load within instances has ended with them, which fails its experiment."""
    lasting = {name: FAULTS[name] for name in ("volume", "latency", "loss-from-a-zone", "own-interface", "link")}
    within = {name: FAULTS[name] for name in ("memory", "io", "disk")}
    ((region, experiment),), ((_, ending),) = start(ground, lasting, LONG), start(ground, within, LONG)
    are_seen(ground, lasting | within)
    hosts, before = ground.cloud.parts()["host"], ground.cloud.processes()
    os.kill(hosts, signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, before)), limit_s=SEEN_S, what="the processes of its instances to end")
    eventually(lambda: ground.cloud.parts().get("host", hosts) != hosts, limit_s=READY_S, what="another host")
    is_over(ground, region, ending, "failed")
    are_seen(ground, lasting)
    are_gone(ground, within)
    ground.client("fis").stop_experiment(id=experiment)
    is_over(ground, region, experiment, "stopped")
    are_gone(ground, lasting)
    eventually(lambda: len(devices(ground)) == len(set(devices(ground))), limit_s=SEEN_S, what="old devices to go")
    groups = [path.name for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/standfast-*.{hosts}-*")]
    assert not groups, groups


def devices(ground: Ground) -> list[str]:
    """The loop devices of the cloud's volumes."""
    folder = ground.cloud.data or ground.cloud.tmp
    files = pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
    return [file for file in (path.read_text() for path in files) if file.startswith(str(folder))]


def test_the_next_cloud_lets_go_what_a_killed_one_left_hanging(new_cloud):
    """Nothing that waits in the kernel ends with the cloud that is killed, not even by SIGKILL."""
    cloud = new_cloud("server", "--driver", "linux").start()
    ground = Ground(cloud)
    ec2 = ground.client("ec2")
    ground.ids["paused"] = launch(ec2, image_of(ec2), default_subnets(ec2)["a"])["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[ground.ids["paused"]], WaiterConfig={"Delay": 1})
    volume = with_volume(ec2, f"{REGION}a", ground.ids["paused"])
    eventually(lambda: is_mounted(ground, "paused"), limit_s=READY_S, what="the volume")
    ground.inside("paused", *KEEP)
    cloud.run("break", "volume", volume)
    eventually(lambda: paused(ground), limit_s=SEEN_S, what="it to hang")
    hanging = [pid for pid in cloud.processes() if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "dd"]
    for pid in [cloud.process.pid, *cloud.parts().values()]:
        os.kill(pid, signal.SIGKILL)
    cloud.process.wait()
    assert hanging and all(map(is_alive, hanging))
    cloud.start()
    eventually(lambda: not any(map(is_alive, hanging)), limit_s=SEEN_S, what="what hangs to end")
    eventually(lambda: not devices(ground), limit_s=SEEN_S, what="the device to go")
