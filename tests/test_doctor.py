"""`standfast doctor` tries what a cloud needs, as whoever asks; `addresses` shows who has which public address."""

import json
import os
import shutil

import pytest

from cloud import BINARY, Cloud

NOBODY = 65534
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
    assert not said["findings"]["ports below 1024"]["works"]
    refused = ordinary.run("server", "--driver", "linux", "--listen", "127.0.0.1:0", expect=1)
    assert "linux driver cannot run here" in refused and "standfast doctor" in refused


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
