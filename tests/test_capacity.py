"""A machine that has too little left of something: launches fail with AWS's code and a reason in the log, and nothing is half-made."""

import contextlib
import os
import pathlib
import resource
import subprocess

import pytest

import scenario
from churn import Churn, Holdings
from cloud import Cloud, stat
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so no machine was too small for it"
)

DISK_MIB = 24
REFUSED_S = 60
SEED = 1


class Small:
    """A cloud on a machine that has little left of one thing."""

    def __init__(self, cloud: Cloud):
        self.cloud, self.host = cloud, cloud.parts()["host"]
        self.churn, self.holdings = Churn(cloud, SEED), Holdings(cloud)
        self.ec2 = self.churn.ec2
        # What an account has from its first call on is there before it is counted.
        self.churn.described()
        self.before = self.holdings.at_rest()
        self.subnet = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]

    def launch(self) -> str:
        """Asks for an instance."""
        made = self.ec2.run_instances(
            ImageId=self.churn.image, InstanceType="t3.nano", MinCount=1, MaxCount=1, SubnetId=self.subnet
        )["Instances"][0]  # fmt: skip
        return self.churn.made("i", made["InstanceId"])

    def ends(self, id: str) -> dict:
        """Waits until the instance is up or has been given up; gives what is said of it."""

        def look():
            (reservation,) = self.ec2.describe_instances(InstanceIds=[id])["Reservations"]
            (found,) = reservation["Instances"]
            return found if found["State"]["Name"] in ("running", "terminated") else None

        return eventually(look, limit_s=REFUSED_S, what=f"{id} to be up or given up")

    def runs(self) -> str:
        """An instance that can be launched; it answers."""
        id = self.launch()
        found = self.ends(id)
        assert found["State"]["Name"] == "running", found.get("StateReason")
        assert self.answers(id)
        return id

    def answers(self, id: str) -> bool:
        """Whether the instance runs a command."""
        return "up" in self.cloud.run("exec", id, "--", "echo", "up")

    def refused(self) -> str:
        """An instance that cannot be launched, told as AWS tells it; gives its id."""
        id = self.launch()
        found = self.ends(id)
        assert found["State"]["Name"] == "terminated", "there is too little for it"
        said = [line for line in self.log() if id in line and "event=boot_failed" in line]
        assert found["StateReason"]["Code"] == "Server.InsufficientInstanceCapacity", (found["StateReason"], said)
        assert said and "no capacity" in said[-1], said
        print(said[-1])
        return id

    def log(self) -> list[str]:
        """What the host and the control plane had to say."""
        return (self.cloud.data / "run/host.log").read_text().splitlines() + self.cloud.said().splitlines()


@pytest.fixture
def small(new_cloud, tmp_path):
    """A cloud whose instances live on a file system of a few MiB."""
    data = tmp_path / "data"
    hosts = data / "hosts"
    hosts.mkdir(parents=True, mode=0o700)
    data.chmod(0o700)
    with contextlib.ExitStack() as stack:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "none", str(hosts)], check=True)
        stack.callback(subprocess.run, ["umount", "-l", str(hosts)], check=True)
        cloud = Cloud(tmp_path, "server", "--driver", "linux", "--data", str(data)).start()
        stack.callback(cloud.close)
        yield Small(cloud)


@contextlib.contextmanager
def full_disk(small: Small):
    """The last byte of the disk is taken."""
    filler = small.cloud.data / "hosts/filler"
    with open(filler, "wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def no_processes(small: Small):
    """The host may not start another process or thread."""
    group = pathlib.Path(f"/sys/fs/cgroup/pids/test-capacity-{os.getpid()}")
    if not group.parent.is_dir():
        pytest.skip("NOT TESTED: no hierarchy of version 1 for pids")
    group.mkdir()
    try:
        (group / "cgroup.procs").write_text(str(small.host))
        (group / "pids.max").write_text((group / "pids.current").read_text())
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(small.host))
        eventually(lambda: not (group / "cgroup.procs").read_text(), limit_s=10, what="the group to be empty")
        group.rmdir()


@contextlib.contextmanager
def no_descriptors(small: Small):
    """The host may not open another file."""
    before = resource.prlimit(small.host, resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir(f"/proc/{small.host}/fd")}
    first_free = min(set(range(len(used) + 1)) - used)
    resource.prlimit(small.host, resource.RLIMIT_NOFILE, (first_free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(small.host, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("without", [full_disk, no_processes, no_descriptors], ids=lambda one: one.__name__)
def test_what_the_machine_has_too_little_of_is_no_capacity_and_nothing_half_made(small, without):
    first = small.runs()
    with without(small):
        refused = small.refused()
    assert small.answers(first), "who was there before goes on"
    directory = small.cloud.data / "hosts/instances" / refused
    eventually(lambda: not directory.exists(), limit_s=REFUSED_S, what="the refused one's files to go")
    assert not [group for top in small.holdings.groups() for group in top.glob(refused)]
    small.runs()
    assert small.cloud.parts()["host"] == small.host and stat(small.host), "the host did not die of it"
    small.churn.delete_all()
    small.holdings.are_again(small.before)
    assert small.cloud.stop() == 0
