"""Root in an instance of the linux driver tries to get at what is not the instance's: the machine, the cloud, other instances.

Each row is one script. It runs in an instance against what is forbidden, and must get nothing; and against what is the
instance's own, and must get all of it, so that a script which could never get anything is noticed. Around every row the
machine is looked at: nothing of it may have changed.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable

import pytest

import scenario
from cloud import Cloud, is_alive
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so no instance tried to get out"
)

PYTHON = "/usr/bin/python3"
BLOCK = "10.31.0.0/16"
OTHER_BLOCK = "10.32.0.0/16"
BOOTED_S = 60
# What instances serve, over TCP and UDP.
PORT = 8080
# Of what the test leaves in places where instances must not find it.
TOKEN = secrets.token_hex(8)

SERVER = f"""#!{PYTHON}
import socket, threading
def datagrams():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", {PORT}))
    while True:
        text, sender = server.recvfrom(100)
        server.sendto(text, sender)
threading.Thread(target=datagrams, daemon=True).start()
server = socket.create_server(("0.0.0.0", {PORT}))
while True:
    connection, _ = server.accept()
    connection.sendall(b"hello")
    connection.close()
"""

# What scripts begin with: `get(what, f)` says that `f` got it when it gives something true, and else why not.
PRELUDE = """
import ctypes, glob, json, os, socket, stat, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
targets = json.loads(sys.argv[1])
def get(what, f):
    try:
        print("GOT" if f() else "nothing of", json.dumps(what), flush=True)
    except (OSError, subprocess.SubprocessError) as error:
        print("no", json.dumps(what), error, flush=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True
def run(command):
    return subprocess.run(command, shell=True, timeout=10, capture_output=True).returncode == 0
"""


@dataclasses.dataclass
class Ground:
    """A cloud with instances, and what lies around on its machine."""

    cloud: Cloud
    # In one VPC; in another one with the same block; in one with another block.
    ids: dict[str, str]
    addresses: dict[str, str]
    planted: list[pathlib.Path]
    listeners: "Listeners"
    canary: subprocess.Popen

    def inside(self, who: str, script: str, targets: list) -> str:
        """Runs a script in an instance, as its root; gives what it printed."""
        return self.cloud.run("exec", self.ids[who], "--", PYTHON, "-c", PRELUDE + script, json.dumps(targets))

    def shell(self, who: str, command: str) -> str:
        """Runs a shell command in an instance, as its root; gives what it printed."""
        return self.cloud.run("exec", self.ids[who], "--", "sh", "-c", command)


class Listeners:
    """The machine's own servers: on its loopback and on its real address, of each kind. They count who comes."""

    def __init__(self):
        self.real = real_address()
        self.came: list[str] = []
        self.abstract = f"isolation-{TOKEN}"
        self.tcp = [socket.create_server((address, 0)) for address in ("127.0.0.1", self.real)]
        self.udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for one, address in zip(self.udp, ("127.0.0.1", self.real)):
            one.bind((address, 0))
        local = socket.socket(socket.AF_UNIX)
        local.bind(f"\0{self.abstract}")
        local.listen()
        self.all = [*self.tcp, *self.udp, local]
        for one in self.all:
            threading.Thread(target=self._count, args=(one,), daemon=True).start()

    def _count(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer = server.accept()[1] if server.type == socket.SOCK_STREAM else server.recvfrom(100)[1]
                self.came.append(f"{server.getsockname()} from {peer}")

    def ports(self, sockets: list[socket.socket]) -> list[int]:
        """Where these listen."""
        return [one.getsockname()[1] for one in sockets]

    def close(self) -> None:
        """Ends them."""
        for one in self.all:
            one.close()


def real_address() -> str:
    """The machine's own address on its network; 127.0.0.2 where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: this only asks the routes.
            probe.connect(("192.0.2.99", 9))
            return probe.getsockname()[0]
        except OSError:
            return "127.0.0.2"


@contextlib.contextmanager
def planted(data: pathlib.Path):
    """Files of the machine that are no instance's business, in the places where such files are."""
    name = f"secret-{TOKEN}"
    folders = [pathlib.Path(top) / f"isolation-{TOKEN}" for top in ("/root", "/home", "/var/lib", "/srv", "/etc", "/opt")]
    files = [folder / name for folder in folders] + [data / name, pathlib.Path(f"/etc/{name}")]
    try:
        for file in files:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(TOKEN)
        yield files
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        pathlib.Path(f"/etc/{name}").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def ground():
    """One cloud for all rows, which keeps its state, as a cloud for serious use does."""
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="test-isolation-")))
        data = folder / "data"
        data.mkdir(mode=0o700)
        files = stack.enter_context(planted(data))
        listeners = Listeners()
        stack.callback(listeners.close)
        canary = subprocess.Popen(["sleep", "infinity"], env={"CANARY": TOKEN})
        stack.callback(lambda: (canary.kill(), canary.wait()))
        cloud = Cloud(folder, "server", "--driver", "linux", "--data", str(data)).start()
        stack.callback(cloud.close)
        ids, addresses = launched(cloud)
        # The instances run: what hides the rest was made before.
        late = pathlib.Path(f"/etc/late-{TOKEN}")
        stack.callback(late.unlink)
        late.touch(mode=0o600)
        late.write_text(TOKEN)
        files.append(late)
        ground = Ground(cloud, ids, addresses, files, listeners, canary)
        for who in ids:
            eventually(
                lambda: "GOT" in ground.inside(who, CONNECT, [["127.0.0.1", PORT]]), limit_s=BOOTED_S, what=f"{who} to serve"
            )
            ground.shell(who, f"mkdir -p /srv/own && echo {who} > /srv/own/of-{who}-{TOKEN}")
        yield ground


def launched(cloud: Cloud) -> tuple[dict[str, str], dict[str, str]]:
    """The attacker and a neighbour in one VPC with a way to the internet; others in VPCs of their own."""
    ec2 = cloud.client("ec2")
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    ids, addresses = {}, {}
    for members, block in ((["attacker", "neighbour"], BLOCK), (["twin"], BLOCK), (["stranger"], OTHER_BLOCK)):
        vpc = ec2.create_vpc(CidrBlock=block)["Vpc"]["VpcId"]
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=block.replace("0.0/16", "1.0/24"))["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="all", Description="Everybody", VpcId=vpc)["GroupId"]
        everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=everything)
        if "attacker" in members:
            gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
            ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
            (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
            ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
        for number, who in enumerate(members):
            interface = {
                "DeviceIndex": 0, "SubnetId": subnet, "Groups": [group],
                # No two have the same, so that a stranger's address is not the attacker's own.
                "PrivateIpAddress": block.replace("0.0/16", f"1.{10 + len(ids)}"),
                "AssociatePublicIpAddress": who == "attacker",
            }  # fmt: skip
            made = ec2.run_instances(
                ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1, NetworkInterfaces=[interface], UserData=SERVER
            )["Instances"][0]  # fmt: skip
            ids[who], addresses[who] = made["InstanceId"], made["PrivateIpAddress"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[*ids.values()], WaiterConfig={"Delay": 1})
    return ids, addresses


def machine(ground: Ground) -> dict:
    """What no instance may change of the machine and the cloud."""

    def text(path: str) -> str:
        # A kernel without modules has no file about them.
        return pathlib.Path(path).read_text() if pathlib.Path(path).exists() else ""

    settings = ("hostname", "core_pattern", "modprobe", "pid_max", "panic")
    return {
        "boot": text("/proc/sys/kernel/random/boot_id"),
        "settings": {name: text(f"/proc/sys/kernel/{name}") for name in settings},
        "forwarding": text("/proc/sys/net/ipv4/ip_forward"),
        "swappiness": text("/proc/sys/vm/swappiness"),
        "modules": sorted(line.split()[0] for line in text("/proc/modules").splitlines()),
        "mounts": sorted(line.split(" ", 2)[2] for line in text("/proc/self/mountinfo").splitlines()),
        "binary": hashlib.sha256(ground.cloud.binary.read_bytes()).hexdigest(),
        "env": hashlib.sha256(pathlib.Path("/usr/bin/env").read_bytes()).hexdigest(),
        "clock": round((time.time() - time.monotonic()) / 5),
        "secrets": [file.read_text() for file in ground.planted],
        "canary": is_alive(ground.canary.pid),
        "parts": ground.cloud.parts(),
        "control plane": ground.cloud.is_running(),
        "limits": limits(ground),
        "callers": list(ground.listeners.came),
    }


def limits(ground: Ground) -> dict[str, str]:
    """What the control groups of the instances allow."""
    names = ("memory.limit_in_bytes", "memory.max", "cpu.cfs_quota_us", "cpu.max", "pids.max")
    groups = [group for id in ground.ids.values() for group in pathlib.Path("/sys/fs/cgroup").glob(f"**/{id}")]
    files = [group / name for group in groups for name in names]
    return {str(file): file.read_text() for file in files if file.exists()}


@dataclasses.dataclass
class Row:
    """One way to try: the script, what it must not get and what it must."""

    name: str
    script: str
    forbidden: Callable[[Ground], list]
    own: Callable[[Ground], list]
    # No instance may do this at all: that it can be done is shown on the machine.
    on_machine: bool = False

    def __str__(self) -> str:
        return self.name


# Every file whose name ends so, wherever it is.
FIND = """
for end in targets:
    roots = ["/"] + glob.glob("/proc/[0-9]*/root/") + glob.glob("/proc/[0-9]*/cwd/")
    seen, found = set(), []
    for root in roots:
        try:
            about = os.stat(root)
        except OSError:
            continue
        if (about.st_dev, about.st_ino) in seen:
            continue
        seen.add((about.st_dev, about.st_ino))
        for at, folders, files in os.walk(root):
            if at == "/":
                folders[:] = [name for name in folders if name not in ("proc", "sys")]
            found += [name for name in files + folders if name.endswith(end)]
    get(end, lambda: found)
"""

READ = """
for path in targets:
    for prefix in ("", "/proc/self/root", "/proc/1/root", "/proc/1/cwd/../../../..", "/proc/1/fd/100/../../../../../.."):
        get(prefix + path, lambda: open(prefix + path).read() or True)
"""

# What can be seen of a process.
PEEK = """
for process in targets:
    get([process, "memory"], lambda: open(process + "/mem", "rb"))
    get([process, "environ"], lambda: open(process + "/environ", "rb").read() or True)
    get([process, "open files"], lambda: [os.readlink(fd) for fd in glob.glob(process + "/fd/*")] or os.listdir(process + "/fd"))
    get([process, "program"], lambda: os.readlink(process + "/exe"))
    get([process, "root"], lambda: os.listdir(process + "/root/"))
"""

# Who has this in its environment.
SEE = """
for text in targets:
    def look():
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                if text.encode() in open(path, "rb").read():
                    return path
            except OSError:
                pass
    get(text, look)
"""

NODE = """
kinds = {"block": stat.S_IFBLK, "character": stat.S_IFCHR, "pipe": stat.S_IFIFO}
for kind, major, minor in targets:
    for folder in ("/tmp", "/dev", "/dev/shm", "/run"):
        path = f"{folder}/node"
        def make():
            os.mknod(path, 0o600 | kinds[kind], os.makedev(major, minor))
            try:
                return os.open(path, os.O_RDONLY | os.O_NONBLOCK) >= 0
            finally:
                os.unlink(path)
        get([kind, major, minor, folder], make)
"""

MOUNT = """
os.makedirs("/mnt/try", exist_ok=True)
for kind, source, options in targets:
    flags = 4096 if kind == "bind" else 0
    def mount():
        call("mount", source.encode(), b"/mnt/try", kind.encode(), ctypes.c_ulong(flags), options.encode())
        return os.listdir("/mnt/try") + call("umount2", b"/mnt/try", 2) * ["mounted"]
    get([kind, source, options], mount)
"""

# The system's settings, and this program, also when their mounts are made writable first.
WRITE = """
for path in targets:
    for how in ("as it is", "mounted writable", "unmounted"):
        if how == "mounted writable":
            run(f"mount -o remount,rw,bind {path}; mount -o remount,rw /sys; mount -o remount,rw,bind /sys")
        if how == "unmounted":
            run(f"umount -l {path}")
        def write():
            if stat.S_ISCHR(os.stat(path).st_mode):
                return None
            # Opened only: what is written could be what the machine has.
            os.close(os.open(path, os.O_WRONLY))
            return True
        get([path, how], write)
"""

CONNECT = """
for address, port in targets:
    def connect():
        with socket.create_connection((address, port), 0.7) as connection:
            return True
    get([address, port], connect)
"""

DATAGRAM = """
for address, port in targets:
    def ask():
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.7)
            asking.sendto(b"hello", (address, port))
            return asking.recv(100)
    get([address, port], ask)
"""

# Loopback addresses, which are the caller's own, are made addresses of the network first.
FAR_LOOPBACK = """
gateway = subprocess.run("ip -4 route show default", shell=True, capture_output=True, text=True).stdout.split()[2]
shown = subprocess.run("ip -4 route show table local", shell=True, capture_output=True, text=True).stdout
near = [line for line in shown.splitlines() if " 127." in line]
prepare = [f"ip route del {line} table local" for line in near] + [
    f"ip route add 127.0.0.0/8 via {gateway} dev eth0",
    "echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet",
]
back = ["ip route del 127.0.0.0/8"] + [f"ip route add {line} table local" for line in near]
done = [run(command) for command in prepare]
route = subprocess.run("ip route get 127.0.0.1", shell=True, capture_output=True, text=True).stdout
if "dev eth0" not in route:
    sys.exit(f"the way was not made: {done} {route}")
""" + CONNECT + """
for command in back:
    run(command)
"""

# As somebody else of the network: an address that another has.
STEAL = """
for address in targets:
    run(f"ip address add {address}/32 dev eth0")
    def ask():
        with socket.create_connection(("169.254.169.254", 80), 1, (address, 0)) as connection:
            connection.sendall(b"PUT /latest/api/token HTTP/1.0\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n")
            return connection.recv(100)
    get(address, ask)
    if address != os.environ["PRIVATE_IP"]:
        run(f"ip address del {address}/32 dev eth0")
"""

UNIX = """
for name in targets:
    if name.startswith("own:"):
        name = name[4:]
        server = socket.socket(socket.AF_UNIX)
        server.bind(name.replace("@", "\\0"))
        server.listen()
    def connect():
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(name.replace("@", "\\0"))
            return True
    get(name, connect)
"""

# Control groups, wherever they can be mounted: [what is done, its file]
GROUPS = """
for what, name in targets:
    for kind, options in (("cgroup2", ""), ("cgroup", "memory"), ("cgroup", "cpu,cpuacct"), ("cgroup", "cpu"), ("cgroup", "pids")):
        os.makedirs("/mnt/groups", exist_ok=True)
        try:
            call("mount", b"none", b"/mnt/groups", kind.encode(), ctypes.c_ulong(0), options.encode())
        except OSError as error:
            print("not mounted", kind, options, error)
            continue
        path = "/mnt/groups/" + name
        if what == "raise":
            get([what, kind, options, name], lambda: open(path, "w").write("max" if kind == "cgroup2" else "-1"))
        elif os.path.exists(path):
            get([what, name], lambda: open(path).read())
        call("umount2", b"/mnt/groups", 2)
"""

# System calls by name. None of them would do harm if it were done.
CALLS = """
import struct, time
structures = {"now": struct.pack("qq", int(time.time()), 0), "tick": struct.pack("I", 0x4000) + bytes(252)}
for name, *arguments in targets:
    given = [ctypes.c_long(a) if isinstance(a, int) else structures.get(a, a.encode()) for a in arguments]
    def ask():
        try:
            return call(name, *given)
        except OSError as error:
            # Anything else is what comes after the question whether it may.
            if error.errno not in (1, 13, 38):
                return True
            raise
    get([name, *arguments], ask)
"""

# A file by its number, which says nothing of where it is: 2 is the top of an ext4.
HANDLE = """
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("kind", ctypes.c_int), ("body", ctypes.c_uint * 8)]
for path in targets:
    def opened():
        at = os.open(path, os.O_RDONLY)
        handle = Handle(8, 1, (ctypes.c_uint * 8)(2, 0))
        return call("open_by_handle_at", at, ctypes.byref(handle), os.O_RDONLY)
    get(path, opened)
"""


# Unsigned calls of the cloud's API, which are the account's root.
CALL_API = """
import urllib.request
for form in targets:
    get(form, lambda: urllib.request.urlopen("http://169.254.169.254:4566/", (form + "&Version=2016-11-15").encode()).read())
"""


def host_addresses(ground: Ground, ports: list[int]) -> list:
    """Everything that could lead to the machine's servers."""
    block = BLOCK.removesuffix(".0.0/16")
    near = ["127.0.0.1", f"{block}.1.1", f"{block}.0.2", "169.254.169.254", "169.254.169.253", "::1"]
    far = [ground.listeners.real, "127.254.0.1", "198.51.100.1", "198.51.100.80", "192.0.2.1"]
    return [[address, port] for port in ports for address in near + far]


def api_port(ground: Ground) -> int:
    """Where the API listens on the machine."""
    return int(ground.cloud.endpoint.rsplit(":", 1)[1])


def block_device() -> list:
    """The device that the machine's root file system is on."""
    device = os.stat("/").st_dev
    return ["block", os.major(device), os.minor(device)]


def control_sockets(ground: Ground) -> list[str]:
    """The sockets that the processes of the cloud speak with each other over."""
    found = [str(path) for path in ground.cloud.data.glob("run/*.sock")]
    assert len(found) == 2, found
    names = [line.split()[-1] for line in pathlib.Path("/proc/net/unix").read_text().splitlines() if " @" in line]
    return found + names


ROWS = [
    Row("files of the machine and the cloud, by name",
        FIND, lambda g: [f"secret-{TOKEN}", f"late-{TOKEN}", "lb-snapshot", "cloud-id"], lambda g: [f"of-attacker-{TOKEN}"]),
    Row("files of other instances, by name",
        FIND, lambda g: [f"of-{who}-{TOKEN}" for who in g.ids if who != "attacker"], lambda g: [f"of-attacker-{TOKEN}"]),
    Row("files of the machine and the cloud, by path",
        READ, lambda g: [*map(str, g.planted), str(g.cloud.data / "hosts/cloud-id"), str(g.cloud.data / "run/host.pid")],
        lambda g: [f"/srv/own/of-attacker-{TOKEN}"]),
    Row("its first process, which comes from the machine", PEEK, lambda g: ["/proc/1"], lambda g: ["/proc/self"]),
    Row("processes of the machine and of other instances",
        SEE, lambda g: [f"CANARY={TOKEN}", *[f"INSTANCE_ID={id}" for who, id in g.ids.items() if who != "attacker"]],
        lambda g: [f"INSTANCE_ID={g.ids['attacker']}"]),
    Row("devices",
        NODE, lambda g: [block_device(), ["block", 7, 0], ["character", 10, 237], ["character", 1, 1], ["character", 1, 11]],
        lambda g: [["pipe", 0, 0]]),
    Row("mounts of the machine's file systems",
        MOUNT, lambda g: [
            ["ext4", "/dev/vda", ""], ["ext4", "/dev/loop0", ""], ["devtmpfs", "none", ""], ["debugfs", "none", ""],
            ["tracefs", "none", ""], ["securityfs", "none", ""], ["configfs", "none", ""], ["efivarfs", "none", ""],
            ["bind", "/proc/1/root", ""], ["bind", "/proc/1/cwd", ""], ["bind", "/proc/1/fd/100", ""],
            ["overlay", "none", "lowerdir=/proc/1/root:/usr"], ["overlay", "none", "lowerdir=/proc/1/fd/100:/usr"],
        ], lambda g: [["tmpfs", "none", ""], ["bind", "/srv", ""], ["overlay", "none", "lowerdir=/srv:/var/log"]]),
    Row("settings of the machine",
        WRITE, lambda g: [
            "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/swappiness", "/proc/sys/kernel/panic",
            "/proc/sysrq-trigger", "/proc/kcore", "/sys/power/state", "/sys/kernel/uevent_helper",
            "/sys/devices/system/cpu/cpu1/online", "/sys/kernel/mm/transparent_hugepage/enabled",
        ], lambda g: ["/proc/sys/net/ipv4/ip_forward", "/proc/self/oom_score_adj"]),
    Row("the program of the cloud, which it shares",
        WRITE, lambda g: ["/opt/standfast/bin/standfast", "/opt/standfast/bin/what-is-the-time"],
        lambda g: ["/usr/bin/env"]),
    Row("the machine's servers over TCP",
        CONNECT, lambda g: host_addresses(g, [*g.listeners.ports(g.listeners.tcp), api_port(g)]),
        lambda g: [[g.addresses["neighbour"], PORT], ["169.254.169.254", 4566], ["169.254.169.254", 80]]),
    Row("the machine's servers over UDP",
        DATAGRAM, lambda g: host_addresses(g, g.listeners.ports(g.listeners.udp)),
        lambda g: [[g.addresses["neighbour"], PORT]]),
    Row("the machine's loopback, made an address of the network",
        FAR_LOOPBACK, lambda g: [
            [address, port] for port in [*g.listeners.ports(g.listeners.tcp), api_port(g)] for address in ("127.0.0.1", "127.254.0.1")
        ], lambda g: [[g.addresses["neighbour"], PORT]]),
    Row("instances of other VPCs",
        CONNECT, lambda g: [[g.addresses[who], port] for who in ("twin", "stranger") for port in (PORT, 22)],
        lambda g: [[g.addresses["neighbour"], PORT]]),
    Row("answers for another's address", STEAL, lambda g: [g.addresses["neighbour"]], lambda g: [g.addresses["attacker"]]),
    Row("sockets of the machine and the cloud",
        UNIX, lambda g: [f"@{g.listeners.abstract}", *control_sockets(g)],
        lambda g: [f"own:@own-{TOKEN}", "own:/tmp/own"]),
    Row("files of the machine, as images",
        CALL_API, lambda g: [
            f"Action=ImportImage&DiskContainer.1.Url=file://{g.planted[0]}",
            f"Action=ImportSnapshot&DiskContainer.Url=file://{g.planted[0]}",
        ], lambda g: ["Action=DescribeImportImageTasks"]),
    Row("its limits",
        GROUPS, lambda g: [
            ["raise", name] for name in ("memory.max", "memory.limit_in_bytes", "cpu.max", "cpu.cfs_quota_us", "pids.max")
        ], lambda g: [["read", "pids.max"]]),
    Row("calls that are for the machine's root",
        CALLS, lambda g: [
            ["init_module", "x", 1, ""], ["delete_module", "overlay", 0], ["clock_settime", 0, "now"], ["adjtimex", "tick"],
            ["swapon", "/dev/null", 0], ["acct", "/tmp/acct"], ["iopl", 3], ["klogctl", 8, "", 1], ["vhangup"],
        ], lambda g: [["sethostname", "renamed", 7], ["setdomainname", "renamed", 7], ["chroot", "/"]]),
    Row("files by their number",
        HANDLE, lambda g: ["/", "/etc", "/opt/standfast/bin/standfast", "/proc/self"], lambda g: ["/"], on_machine=True),
]  # fmt: skip


def on_machine(script: str, targets: list) -> str:
    """Runs a script as the machine's root; gives what it printed."""
    command = [PYTHON, "-c", PRELUDE + script, json.dumps(targets)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_root_in_an_instance_gets_only_what_is_its_own(ground, row):
    before = machine(ground)
    tried = ground.inside("attacker", row.script, row.forbidden(ground))
    assert machine(ground) == before
    print(tried)
    got = [line for line in tried.splitlines() if line.startswith("GOT")]
    assert not got, got
    assert len(tried.splitlines()) >= len(row.forbidden(ground)), tried
    own = row.own(ground)
    control = on_machine(row.script, own) if row.on_machine else ground.inside("attacker", row.script, own)
    assert control.count("GOT") >= len(own), f"the row proves nothing: it does not get its own either\n{control}"


def test_a_reboot_of_an_instance_is_not_one_of_the_machine(ground):
    before = machine(ground)
    # When its first process was started.
    started = "cut -d ' ' -f 22 /proc/1/stat"
    boot = ground.shell("stranger", started)
    reboot = "import ctypes; ctypes.CDLL(None).reboot(0x1234567)"
    ground.cloud.spawn("exec", ground.ids["stranger"], "--", PYTHON, "-c", reboot).wait(BOOTED_S)

    def again():
        return ground.shell("stranger", started) != boot

    eventually(again, limit_s=BOOTED_S, what="the instance to be up again")
    after = machine(ground)
    assert after["boot"] == before["boot"] and after["parts"] == before["parts"]
