"""`standfast doctor` tries what a cloud needs, as whoever asks; `addresses` shows who has which public address."""

import json
import os
import pathlib
import shutil
import tempfile

import pytest

import example_site as example
from cloud import BINARY, Cloud

NOBODY = 65534
# Root as it is in a container that was given nothing.
NO_CAPABILITIES = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
needs_root = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can give up rights, with setpriv"
)


@pytest.fixture
def folder(tmp_path):
    """A cloud that is never started: only its commands are run."""
    return Cloud(tmp_path)


@pytest.fixture
def ordinary(tmp_path_factory):
    """The same as a user without any rights, who can reach the binary."""
    place = tmp_path_factory.mktemp("doctor")
    for part in (place, *place.parents[:2]):
        part.chmod(0o755)
    shutil.copy(BINARY, place / "standfast")
    return Cloud(place, binary=place / "standfast", uid=NOBODY)


def examined(cloud: Cloud) -> dict:
    """What the doctor says, with findings by their name."""
    said = json.loads(cloud.run("doctor", "--json"))
    return said | {kind: {one["name"]: one for one in said[kind]} for kind in ("findings", "programs")}


def test_the_doctor_says_what_would_run_and_what_each_thing_costs(folder):
    said = examined(folder)
    assert said["driver"] in ("linux", "process") and said["why"]
    assert set(said["programs"]) == {"mkfs.ext4", "sshd", "squid", "python3"}
    for one in [*said["findings"].values(), *said["programs"].values()]:
        assert one["detail"] and one["without"], one
    assert said["programs"]["python3"]["works"] == bool(shutil.which("python3"))
    screen = folder.run("doctor")
    assert screen.startswith(f"Driver: {said['driver']} (")
    assert all(name in screen for name in [*said["findings"], *said["programs"]])
    assert screen.count("without it: ") == len(
        [one for kind in ("findings", "programs") for one in said[kind].values() if not one["works"]]
    )


@pytest.mark.parametrize("driver", ["process", "sim"])
def test_egress_is_a_choice_only_where_instances_have_networks(folder, driver):
    asked = ("server", "--driver", driver, "--egress", "host", "--listen", "127.0.0.1:0")
    assert "--egress host needs the linux driver" in folder.run(*asked, expect=1)


@needs_root
def test_the_doctor_is_truthful_for_an_ordinary_user(ordinary):
    said = examined(ordinary)
    assert said["user"] == NOBODY and said["driver"] == "process"
    for name in ("linux driver", "root", "loop devices", "cgroup memory", "networks", "ports below 1024"):
        assert not said["findings"][name]["works"], said["findings"][name]
    refused = ordinary.run("server", "--driver", "linux", "--listen", "127.0.0.1:0", expect=1)
    assert "linux driver cannot run here" in refused and "standfast doctor" in refused


class Confined(Cloud):
    """A cloud of root without capabilities, or without some."""

    without = NO_CAPABILITIES

    def spawn(self, *arguments: str, **options):
        """Runs the binary as such a root and does not wait."""
        script = self.tmp.parent / "confined"
        # A program like the binary, so that all else of a cloud is as ever.
        script.write_text(f'#!/bin/sh\nexec {" ".join(self.without)} -- {BINARY} "$@"\n')
        script.chmod(0o755)
        self.binary = script
        return super().spawn(*arguments, **options)


@pytest.fixture
def confined():
    """A folder for such a cloud, whose files its root may reach without overriding anything."""
    with tempfile.TemporaryDirectory(prefix="test-confined-") as path:
        cloud = Confined(pathlib.Path(path))
        yield cloud
        if cloud.process:
            cloud.close()


@needs_root
def test_the_doctor_is_truthful_for_root_without_capabilities(confined):
    said = examined(confined)
    assert said["user"] == 0 and said["driver"] == "process" and "root lacks" in said["why"], said["why"]
    assert said["findings"]["root"]["works"] and not said["findings"]["capabilities"]["works"]
    for name in ("linux driver", "user namespaces", "mounts with shifted ids", "networks", "ports below 1024"):
        assert not said["findings"][name]["works"], said["findings"][name]
    assert "no networks, volumes, metadata or limits" in said["findings"]["linux driver"]["without"]
    refused = confined.run("server", "--driver", "linux", "--listen", "127.0.0.1:0", expect=1)
    assert "linux driver cannot run here: root lacks" in refused, refused


@needs_root
@pytest.mark.parametrize("missing", ["chown", "mknod", "net_admin", "net_bind_service", "sys_admin", "sys_ptrace"])
def test_without_a_single_capability_the_linux_driver_is_not_promised(confined, missing):
    confined.without = ("setpriv", f"--bounding-set=-{missing}", f"--inh-caps=-{missing}")
    said = examined(confined)
    assert said["driver"] == "process" and missing in said["why"], said["why"]
    assert said["findings"]["capabilities"]["detail"] == f"root lacks {missing}"


@needs_root
def test_up_works_for_root_without_capabilities(confined):
    confined.command = ("up", str(example.TEMPLATE))
    site = example.Site(confined.start())
    assert "(process driver)" in confined.said()
    assert sorted(site.settled().values()) == [1, 2, 2]
    assert site.probe(duration_s=2).report()["failed"] == 0
    assert confined.stop() == 0


@needs_root
def test_up_works_for_root_with_the_driver_that_the_doctor_names(new_cloud, folder):
    driver = examined(folder)["driver"]
    site = example.up(new_cloud)
    assert f"({driver} driver)" in site.cloud.said()
    assert sorted(site.settled().values()) == [1, 2, 2]
    assert site.probe(duration_s=2).report()["failed"] == 0
    assert site.cloud.stop() == 0


def test_addresses_are_shown_with_who_has_them(new_cloud):
    cloud = new_cloud("server").start()
    ec2 = cloud.client("ec2")
    assert "No public addresses." in cloud.run("addresses")
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)["Instances"][0]
    ec2.get_waiter("instance_running").wait(InstanceIds=[made["InstanceId"]], WaiterConfig={"Delay": 1})
    public = ec2.describe_instances(InstanceIds=[made["InstanceId"]])["Reservations"][0]["Instances"][0]
    free = ec2.allocate_address(Domain="vpc")
    rows = {row["address"]: row for row in json.loads(cloud.run("addresses", "--json"))["addresses"]}
    assert rows[public["PublicIpAddress"]]["id"] == made["InstanceId"]
    assert rows[free["PublicIp"]]["kind"] == "nothing"
    assert rows[free["PublicIp"]]["allocation"] == free["AllocationId"]
    screen = cloud.run("addresses")
    assert f"instance {made['InstanceId']}" in screen and free["AllocationId"] in screen
