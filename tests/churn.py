"""Random calls of ec2, in valid and invalid order, from a seed; and what a cloud holds of the machine meanwhile."""

import collections
import concurrent.futures
import os
import pathlib
import random
import re
import subprocess
import threading

from botocore.exceptions import ClientError

from cloud import REGION, Cloud, parent, pids
from waiting import eventually

INSTANCES_MAX = 6
# Of everything else.
KIND_MAX = 8
# How often something is asked of what has gone already.
STALE = 0.08
ZONES = (f"{REGION}a", f"{REGION}b")
BLOCKS = ("10.40.0.0/16", "10.40.0.0/16", "10.41.0.0/16", "10.42.0.0/20")
SETTLED_S = 90
SWEPT_S = 30
# What states are called that end by themselves.
PASSING = ("pending", "stopping", "shutting-down", "attaching", "detaching", "creating", "deleting")


class Churn:
    """Calls one random operation after another and remembers what was acknowledged."""

    def __init__(self, cloud: Cloud, seed: int):
        self.cloud, self.random = cloud, random.Random(seed)
        self.ec2 = cloud.client("ec2")
        named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
        self.image = self.ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
        self.live: dict[str, list[str]] = collections.defaultdict(list)
        self.gone: dict[str, list[str]] = collections.defaultdict(list)
        self.counts: collections.Counter = collections.Counter()
        self.lock = threading.Lock()
        self.steps = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("do_")]
        self.weights = [WEIGHTS.get(step.__name__.removeprefix("do_"), 2) for step in self.steps]

    def resume(self) -> None:
        """Goes on in a cloud that was started again."""
        self.ec2 = self.cloud.client("ec2")

    def run(self, steps: int) -> None:
        """That many steps. An error that is not the caller's fails the test."""
        for _ in range(steps):
            (step,) = self.random.choices(self.steps, self.weights)
            try:
                step()
                outcome = "done"
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                outcome = error.response["Error"]["Code"]
                assert 400 <= status < 500 and outcome != "InternalError", f"{step.__name__}: {error}"
            self.counts[f"{step.__name__} {outcome}"] += 1

    def run_at_once(self, steps: int, callers: int) -> None:
        """That many steps by callers who do not know of each other; what they do is from the seed, when they do it is not."""
        with concurrent.futures.ThreadPoolExecutor(callers) as pool:
            for done in [pool.submit(self.run, steps // callers) for _ in range(callers)]:
                done.result()

    def pick(self, kind: str) -> str:
        """Something of this kind: mostly what is there, sometimes what has gone or never was."""
        with self.lock:
            if self.live[kind] and self.random.random() > STALE:
                return self.random.choice(self.live[kind])
            return self.random.choice(self.gone[kind] or [f"{kind}-0123456789abcdef0"])

    def made(self, kind: str, id: str) -> str:
        """Notes what was made."""
        self.live[kind].append(id)
        return id

    def lost(self, kind: str, id: str) -> None:
        """Notes what was deleted."""
        with self.lock:
            if id in self.live[kind]:
                self.live[kind].remove(id)
                self.gone[kind].append(id)

    def full(self, kind: str, limit: int = KIND_MAX) -> bool:
        """Whether there is enough of it."""
        return len(self.live[kind]) >= limit

    def do_create_vpc(self):
        if not self.full("vpc", 4):
            self.made("vpc", self.ec2.create_vpc(CidrBlock=self.random.choice(BLOCKS))["Vpc"]["VpcId"])

    def do_delete_vpc(self):
        id = self.pick("vpc")
        self.ec2.delete_vpc(VpcId=id)
        self.lost("vpc", id)

    def do_create_subnet(self):
        if not self.full("subnet"):
            block = f"10.{self.random.choice((40, 40, 41, 42, 43))}.{self.random.randrange(4)}.0/24"
            zone = self.random.choice(ZONES)
            made = self.ec2.create_subnet(VpcId=self.pick("vpc"), CidrBlock=block, AvailabilityZone=zone)
            self.made("subnet", made["Subnet"]["SubnetId"])

    def do_delete_subnet(self):
        id = self.pick("subnet")
        self.ec2.delete_subnet(SubnetId=id)
        self.lost("subnet", id)

    def do_create_gateway(self):
        if not self.full("igw", 4):
            id = self.made("igw", self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"])
            self.ec2.attach_internet_gateway(InternetGatewayId=id, VpcId=self.pick("vpc"))

    def do_attach_gateway(self):
        self.ec2.attach_internet_gateway(InternetGatewayId=self.pick("igw"), VpcId=self.pick("vpc"))

    def do_route_to_gateway(self):
        (table, *_) = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.pick("vpc")]}])[
            "RouteTables"
        ] or [{"RouteTableId": "rtb-0123456789abcdef0"}]
        self.ec2.create_route(
            RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=self.pick("igw")
        )

    def do_detach_gateway(self):
        self.ec2.detach_internet_gateway(InternetGatewayId=self.pick("igw"), VpcId=self.pick("vpc"))

    def do_delete_gateway(self):
        id = self.pick("igw")
        self.ec2.delete_internet_gateway(InternetGatewayId=id)
        self.lost("igw", id)

    def do_create_group(self):
        if not self.full("sg"):
            name = f"group-{self.random.randrange(10)}"
            made = self.ec2.create_security_group(GroupName=name, Description="churn", VpcId=self.pick("vpc"))
            self.made("sg", made["GroupId"])

    def do_authorize(self):
        port = self.random.choice((22, 80, 443))
        peer = self.random.choice(
            ({"IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, {"UserIdGroupPairs": [{"GroupId": self.pick("sg")}]})
        )
        permission = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peer}
        change = self.random.choice((self.ec2.authorize_security_group_ingress, self.ec2.revoke_security_group_ingress))
        change(GroupId=self.pick("sg"), IpPermissions=[permission])

    def do_delete_group(self):
        id = self.pick("sg")
        self.ec2.delete_security_group(GroupId=id)
        self.lost("sg", id)

    def do_create_interface(self):
        if not self.full("eni"):
            options = {"PrivateIpAddress": f"10.40.1.{self.random.randrange(3, 12)}"} if self.random.random() < 0.2 else {}
            if self.random.random() < 0.4:
                options["Groups"] = [self.pick("sg")]
            made = self.ec2.create_network_interface(SubnetId=self.pick("subnet"), **options)
            self.made("eni", made["NetworkInterface"]["NetworkInterfaceId"])

    def do_attach_interface(self):
        self.ec2.attach_network_interface(
            NetworkInterfaceId=self.pick("eni"), InstanceId=self.pick("i"), DeviceIndex=self.random.randrange(1, 3)
        )

    def do_detach_interface(self):
        (found,) = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[self.pick("eni")])["NetworkInterfaces"]
        attachment = found.get("Attachment", {}).get("AttachmentId", "eni-attach-0123456789abcdef0")
        self.ec2.detach_network_interface(AttachmentId=attachment, Force=self.random.random() < 0.5)

    def do_delete_interface(self):
        id = self.pick("eni")
        self.ec2.delete_network_interface(NetworkInterfaceId=id)
        self.lost("eni", id)

    def do_create_volume(self):
        if not self.full("vol"):
            made = self.ec2.create_volume(Size=1, AvailabilityZone=self.random.choice(ZONES), VolumeType="gp3")
            self.made("vol", made["VolumeId"])

    def do_attach_volume(self):
        device = self.random.choice(("/dev/sdf", "/dev/sdg", "/dev/sdh"))
        self.ec2.attach_volume(VolumeId=self.pick("vol"), InstanceId=self.pick("i"), Device=device)

    def do_detach_volume(self):
        self.ec2.detach_volume(VolumeId=self.pick("vol"), Force=self.random.random() < 0.3)

    def do_delete_volume(self):
        id = self.pick("vol")
        self.ec2.delete_volume(VolumeId=id)
        self.lost("vol", id)

    def do_snapshot(self):
        if not self.full("snap", 4):
            self.made("snap", self.ec2.create_snapshot(VolumeId=self.pick("vol"))["SnapshotId"])

    def do_delete_snapshot(self):
        id = self.pick("snap")
        self.ec2.delete_snapshot(SnapshotId=id)
        self.lost("snap", id)

    def do_allocate(self):
        self.made("eipalloc", self.ec2.allocate_address(Domain="vpc")["AllocationId"])

    def do_associate(self):
        kind = self.random.choice(("i", "i", "eni"))
        target = {"i": "InstanceId", "eni": "NetworkInterfaceId"}[kind]
        self.ec2.associate_address(
            AllocationId=self.pick("eipalloc"), AllowReassociation=self.random.random() < 0.8, **{target: self.pick(kind)}
        )

    def do_disassociate(self):
        (found,) = self.ec2.describe_addresses(AllocationIds=[self.pick("eipalloc")])["Addresses"]
        self.ec2.disassociate_address(AssociationId=found.get("AssociationId", "eipassoc-0123456789abcdef0"))

    def do_release(self):
        id = self.pick("eipalloc")
        self.ec2.release_address(AllocationId=id)
        self.lost("eipalloc", id)

    def do_run(self):
        if not self.full("i", INSTANCES_MAX):
            self.made("i", self.ec2.run_instances(
                ImageId=self.image, InstanceType="t3.nano", MinCount=1, MaxCount=1, SubnetId=self.pick("subnet")
            )["Instances"][0]["InstanceId"])  # fmt: skip

    def do_stop(self):
        self.ec2.stop_instances(InstanceIds=[self.pick("i")], Force=self.random.random() < 0.5)

    def do_start(self):
        self.ec2.start_instances(InstanceIds=[self.pick("i")])

    def do_reboot(self):
        self.ec2.reboot_instances(InstanceIds=[self.pick("i")])

    def do_terminate(self):
        id = self.pick("i")
        self.ec2.terminate_instances(InstanceIds=[id])
        self.lost("i", id)

    def do_rest(self):
        self.settled()

    def described(self) -> dict[str, dict]:
        """What the API says of everything that is there, by id; states are kept apart by `settled`."""
        everything = {}
        for reservation in self.ec2.describe_instances()["Reservations"]:
            for one in reservation["Instances"]:
                interfaces = sorted(it["NetworkInterfaceId"] for it in one["NetworkInterfaces"])
                volumes = sorted(it["Ebs"]["VolumeId"] for it in one["BlockDeviceMappings"])
                everything[one["InstanceId"]] = {
                    "state": one["State"]["Name"], "address": one.get("PrivateIpAddress"),
                    "interfaces": interfaces, "volumes": volumes,
                }  # fmt: skip
        for one in self.ec2.describe_network_interfaces()["NetworkInterfaces"]:
            everything[one["NetworkInterfaceId"]] = {
                "address": one["PrivateIpAddress"], "mac": one["MacAddress"], "groups": [g["GroupId"] for g in one["Groups"]],
                "instance": one.get("Attachment", {}).get("InstanceId"),
                "elastic": one.get("Association", {}).get("AllocationId"),
            }  # fmt: skip
        for one in self.ec2.describe_volumes()["Volumes"]:
            attached = [(it["InstanceId"], it["Device"], it["State"]) for it in one["Attachments"]]
            everything[one["VolumeId"]] = {"state": one["State"], "zone": one["AvailabilityZone"], "attached": attached}
        for one in self.ec2.describe_addresses()["Addresses"]:
            everything[one["AllocationId"]] = {"address": one["PublicIp"], "at": one.get("NetworkInterfaceId")}
        for one in self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]:
            everything[one["SnapshotId"]] = {"state": one["State"], "volume": one["VolumeId"]}
        for one in self.ec2.describe_security_groups()["SecurityGroups"]:
            everything[one["GroupId"]] = {"vpc": one["VpcId"], "rules": len(one["IpPermissions"])}
        for one in self.ec2.describe_vpcs()["Vpcs"]:
            everything[one["VpcId"]] = {"block": one["CidrBlock"]}
        for one in self.ec2.describe_subnets()["Subnets"]:
            everything[one["SubnetId"]] = {"vpc": one["VpcId"], "block": one["CidrBlock"], "zone": one["AvailabilityZone"]}
        for one in self.ec2.describe_internet_gateways()["InternetGateways"]:
            everything[one["InternetGatewayId"]] = {"at": [it["VpcId"] for it in one["Attachments"]]}
        return everything

    def settled(self) -> dict[str, dict]:
        """Waits until nothing is on its way to another state; gives what is there."""

        def look():
            found = self.described()
            moving = {id: one for id, one in found.items() if passing(one)}
            assert not moving, moving
            return found

        return eventually(look, limit_s=SETTLED_S, what="everything to have arrived in its state")

    def answer(self) -> None:
        """Every instance that is said to run does run."""
        for id, one in self.settled().items():
            if one.get("state") == "running":
                eventually(
                    lambda: "up" in self.cloud.run("exec", id, "--", "echo", "up"), limit_s=SETTLED_S, what=f"{id} to answer"
                )

    def delete_all(self) -> None:
        """Deletes everything that was made, in the order in which AWS allows it."""
        ec2 = self.ec2
        if self.live["i"]:
            ec2.terminate_instances(InstanceIds=self.live["i"])
        self.settled()
        for id in self.live["eipalloc"]:
            (address,) = ec2.describe_addresses(AllocationIds=[id])["Addresses"]
            if "AssociationId" in address:
                ec2.disassociate_address(AssociationId=address["AssociationId"])
            ec2.release_address(AllocationId=id)
        for id in self.live["eni"]:
            ec2.delete_network_interface(NetworkInterfaceId=id)
        for id in self.live["snap"]:
            ec2.delete_snapshot(SnapshotId=id)
        for id in self.live["vol"]:
            ec2.delete_volume(VolumeId=id)
        for id in self.live["igw"]:
            (gateway,) = ec2.describe_internet_gateways(InternetGatewayIds=[id])["InternetGateways"]
            for attachment in gateway["Attachments"]:
                ec2.detach_internet_gateway(InternetGatewayId=id, VpcId=attachment["VpcId"])
            ec2.delete_internet_gateway(InternetGatewayId=id)
        for id in self.live["sg"]:
            (group,) = ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"]
            if group["IpPermissions"]:
                ec2.revoke_security_group_ingress(GroupId=id, IpPermissions=group["IpPermissions"])
        for id in self.live["sg"]:
            ec2.delete_security_group(GroupId=id)
        for id in self.live["subnet"]:
            ec2.delete_subnet(SubnetId=id)
        for id in self.live["vpc"]:
            ec2.delete_vpc(VpcId=id)
        self.live.clear()


# How often each step is taken; 2 where nothing is said.
WEIGHTS = {
    "create_vpc": 3, "delete_vpc": 1, "create_subnet": 5, "delete_subnet": 1, "delete_group": 1, "delete_gateway": 1,
    "detach_gateway": 1, "create_interface": 5, "attach_interface": 6, "detach_interface": 4, "attach_volume": 6,
    "detach_volume": 4, "create_volume": 4, "allocate": 3, "associate": 8, "disassociate": 3, "release": 1,
    "rest": 8, "run": 8, "stop": 3, "start": 5, "terminate": 3,
}  # fmt: skip


def passing(one: dict) -> bool:
    """Whether something is on its way to another state."""
    states = [one.get("state"), *[state for *_, state in one.get("attached", [])]]
    return any(state in PASSING for state in states)


def children(pid: int) -> list[int]:
    """All that descends from a process, and it itself."""
    parents = {one: parent(one) for one in pids()}
    found = [pid]
    for one in found:
        found += [child for child, its in parents.items() if its == one]
    return found


class Holdings:
    """What a cloud holds of the machine, found from its processes and the mark in its names."""

    def __init__(self, cloud: Cloud):
        self.cloud = cloud
        self.id = (cloud.data / "hosts/cloud-id").read_text()

    def now(self) -> dict:
        """While it runs. The same before and after, when everything was deleted in between."""
        host = self.cloud.parts()["host"]
        held = namespaces(children(self.cloud.process.pid))
        mounts = pathlib.Path(f"/proc/{host}/mountinfo").read_text().splitlines()
        hosts = self.cloud.data / "hosts"
        return {
            "namespaces": collections.Counter(name.split(":")[0] for name in held),
            "links": sum(len(links(path)) for name, path in held.items() if name.startswith("net:")),
            "mounts": len(mounts),
            "instances' groups": [str(group) for top in self.groups() for group in top.glob("i-*")],
            "loops": self.loops(),
            "routes": self.routes(),
            "processes": self.cloud.processes(),
            "files": files(hosts),
        }  # fmt: skip

    def at_rest(self) -> dict:
        """Waits until it does not change any more what a cloud without anything of its users holds; gives that."""
        eventually(lambda: not self.cloud.processes(), limit_s=SWEPT_S, what="instances to end")
        seen = []

        def look():
            seen.append(self.now())
            return len(seen) > 3 and seen[-1] == seen[-2] == seen[-3]

        eventually(look, limit_s=SWEPT_S, what="the cloud to be at rest")
        return seen[-1]

    def are_again(self, before: dict) -> None:
        """Waits until the cloud holds what it held before."""

        def look():
            now = self.now()
            assert now == before, {name: (before[name], now[name]) for name in now if now[name] != before[name]}
            return True

        eventually(look, limit_s=SWEPT_S, what="the cloud to hold nothing more")

    def are_gone(self, but_groups: bool = False) -> None:
        """Waits until nothing is left of a cloud that has ended. The kernel takes a moment to take away what it had."""

        def look():
            assert not self.left(but_groups), self.left(but_groups)
            return True

        eventually(look, limit_s=SWEPT_S, what="everything of the cloud to be gone")

    def groups(self) -> list[pathlib.Path]:
        """Its control groups."""
        return [path for path in pathlib.Path("/sys/fs/cgroup").glob(f"**/standfast-{self.id}.*")]

    def loops(self) -> list[str]:
        """Its loop devices."""
        files = pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
        return [text for text in map(read, files) if str(self.cloud.data) in text]

    def link(self) -> list[str]:
        """Its links in the machine's own network."""
        return [name for name in links() if name == f"sf-{self.id[-12:]}"]

    def routes(self) -> list[str]:
        """The machine's ways to its public addresses."""
        shown = subprocess.run(["ip", "-4", "route", "show", "table", "local"], capture_output=True, text=True, check=True)
        return [line.split()[1] for line in shown.stdout.splitlines() if f"sf-{self.id[-12:]}" in line and "127.254" not in line]

    def mounts(self) -> list[str]:
        """Mounts of its files that the machine itself sees."""
        return [line for line in read(pathlib.Path("/proc/self/mountinfo")).splitlines() if str(self.cloud.data) in line]

    def left(self, but_groups: bool = False) -> dict:
        """What is there though the cloud has ended: nothing, hence false."""
        all = {
            "groups": [] if but_groups else list(map(str, self.groups())), "loops": self.loops(), "links": self.link(),
            "routes": self.routes(), "mounts": self.mounts(), "processes": self.cloud.processes(),
        }  # fmt: skip
        return {name: found for name, found in all.items() if found}


def files(hosts: pathlib.Path) -> list[str]:
    """What is kept of instances, volumes and snapshots. Directories that only sort files may stay."""
    found = [path for path in hosts.rglob("*") if path.relative_to(hosts).parts[0] not in ("base", "bin")]
    return sorted(str(path.relative_to(hosts)) for path in found if not path.is_dir() or path.parent.name in KEPT)


KEPT = ("instances", "volumes", "snapshots", "layers")


def namespaces(of: list[int]) -> dict[str, str]:
    """The namespaces of processes, and those that they hold open, but the machine's own: name and a path to it."""
    own = {os.readlink(path) for path in pathlib.Path("/proc/self/ns").iterdir()}
    found = {}
    for pid in of:
        for folder in ("ns", "fd"):
            for path in listed(pathlib.Path(f"/proc/{pid}/{folder}")):
                try:
                    name = os.readlink(path)
                except OSError:
                    continue
                if re.fullmatch(r"[a-z]+:\[\d+\]", name) and name.split(":")[0] in KINDS and name not in own:
                    found.setdefault(name, str(path))
    return found


KINDS = ("net", "mnt", "pid", "user", "uts", "ipc", "cgroup", "time")


def listed(folder: pathlib.Path) -> list[pathlib.Path]:
    """A folder that may go at any time."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def links(namespace: str | None = None) -> list[str]:
    """The names of links in a network namespace; in the machine's own without one."""
    enter = ["nsenter", f"--net={namespace}"] if namespace else []
    shown = subprocess.run([*enter, "ip", "-o", "link"], capture_output=True, text=True, check=False).stdout
    return [line.split(": ")[1].split("@")[0] for line in shown.splitlines()]


def read(path: pathlib.Path) -> str:
    """A file that may be gone."""
    try:
        return path.read_text()
    except OSError:
        return ""
