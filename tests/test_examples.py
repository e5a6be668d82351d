"""The scenarios of examples/ on the linux driver, each as its user does it: real addresses, real instances.

They need root. Elsewhere they are skipped, and say so.
"""

import json
import re
import subprocess
import sys

import pytest

import scenario
from cloud import ROOT, Cloud
from scenario import Outage, Stack, get, reached
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so no scenario of examples/ was run"
)

# How fast time goes in clouds where minutes are waited for.
SPEED = 20


@pytest.fixture(scope="module")
def linux(tmp_path_factory):
    """A cloud with the linux driver, for all scenarios."""
    folder = tmp_path_factory.mktemp("linux")
    options = ("server", "--driver", "linux", "--image-layer", str(scenario.image_layer()))
    cloud = Cloud(folder, *options).start()
    yield cloud
    cloud.close()


@pytest.fixture
def deploy(linux, new_cloud, request):
    """Deploys an example in an account of the test's own and deletes it afterwards, before clouds of the test's own end."""
    del new_cloud
    with scenario.deployments(linux, request.node.name) as make:
        yield make


def test_w1_an_address_stays_when_its_server_stops(deploy):
    stack = deploy("one-server")
    server, address = stack.outputs["InstanceId"], stack.outputs["Address"]
    assert server in reached(address)
    before = stack.instance(server)
    stack.call("ec2").stop_instances(InstanceIds=[server])
    stack.state(server, "stopped")
    assert get(address) is None
    stack.call("ec2").start_instances(InstanceIds=[server])
    assert server in reached(address)
    after = stack.state(server, "running")
    assert (after["PublicIpAddress"], after["PrivateIpAddress"]) == (address, before["PrivateIpAddress"])


def test_w2_a_bigger_type_is_more_processors_and_memory(deploy):
    stack = deploy("one-server", InstanceType="t3.micro")
    server, address = stack.outputs["InstanceId"], stack.outputs["Address"]
    reached(address)
    seen = "grep -c ^processor /proc/cpuinfo; awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo"
    assert stack.inside(server, seen).split() == ["2", "1024"]
    with Outage(address) as outage:
        stack.call("ec2").stop_instances(InstanceIds=[server])
        stack.state(server, "stopped")
        stack.call("ec2").modify_instance_attribute(InstanceId=server, InstanceType={"Value": "m5.xlarge"})
        stack.call("ec2").start_instances(InstanceIds=[server])
        down = outage.over(server)
    assert stack.inside(server, seen).split() == ["4", "16384"]
    assert stack.instance(server)["PublicIpAddress"] == address
    print(f"vertical scaling: {down:.2f} s without an answer")


def test_w3_a_sixth_address_is_one_too_many(deploy):
    stack = deploy("three-servers")
    for number in "123":
        reached(stack.outputs[f"Address{number}"])
    ec2 = stack.call("ec2")
    more = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(2)]
    with pytest.raises(ec2.exceptions.ClientError) as refused:
        ec2.allocate_address(Domain="vpc")
    assert refused.value.response["Error"]["Code"] == "AddressLimitExceeded"
    for allocation in more:
        ec2.release_address(AllocationId=allocation)


def test_l1_an_image_brings_the_server_back_at_its_address(deploy):
    stack = deploy("one-server")
    server, address = stack.outputs["InstanceId"], stack.outputs["Address"]
    reached(address)
    stack.inside(server, "mkdir -p /srv/state && echo kept > /srv/state/file")
    ec2 = stack.call("ec2")
    image = ec2.create_image(InstanceId=server, Name="golden")["ImageId"]
    eventually(
        lambda: ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available",
        limit_s=60, what="the image",
    )  # fmt: skip
    ec2.terminate_instances(InstanceIds=[server])
    stack.state(server, "terminated")
    assert get(address) is None
    (new,) = ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1,
        SecurityGroupIds=[stack.outputs["SecurityGroupId"]],
        UserData="#!/bin/sh\n/etc/rc.local &\n",
    )["Instances"]  # fmt: skip
    stack.state(new["InstanceId"], "running")
    ec2.associate_address(InstanceId=new["InstanceId"], AllocationId=stack.outputs["AllocationId"])
    reached(address, new["InstanceId"])
    assert stack.inside(new["InstanceId"], "cat /srv/state/file") == "kept\n"
    ec2.terminate_instances(InstanceIds=[new["InstanceId"]])
    stack.state(new["InstanceId"], "terminated")
    ec2.deregister_image(ImageId=image)


def test_h2_an_address_moves_to_another_server_and_back(deploy):
    stack = deploy("floating-address")
    address, first, second = (stack.outputs[key] for key in ("Address", "First", "Second"))
    reached(address, first)
    for server in (second, first):
        with Outage(address) as outage:
            stack.call("ec2").associate_address(
                InstanceId=server, AllocationId=stack.outputs["AllocationId"], AllowReassociation=True
            )
            print(f"the address is at {server} after {outage.over(server) * 1000:.0f} ms")


def test_h3_an_interface_moves_with_its_mac_and_addresses(deploy):
    stack = deploy("floating-address")
    ec2, interface, address = stack.call("ec2"), stack.outputs["Interface"], stack.outputs["InterfaceAddress"]

    def described() -> dict:
        return ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]

    before = described()
    assert get(address) is None
    for server in (stack.outputs["First"], stack.outputs["Second"], stack.outputs["First"]):
        attachment = ec2.attach_network_interface(NetworkInterfaceId=interface, InstanceId=server, DeviceIndex=1)
        reached(address, server)
        link = stack.inside(server, "ip -o link show eth1; ip -o -4 address show eth1")
        assert before["MacAddress"] in link and before["PrivateIpAddress"] in link
        ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"])
        eventually(lambda: described()["Status"] == "available", limit_s=30, what="the interface to be free")
        eventually(lambda: get(address) is None, limit_s=5, what="the address to be nobody's")
        assert described()["MacAddress"] == before["MacAddress"]


def test_h8_a_golden_image_is_up_sooner_than_a_bootstrap(deploy):
    stack = deploy("bootstrap")
    ec2 = stack.call("ec2")
    reached(stack.outputs["Address"])
    slow = _boot_time(stack, stack.outputs["InstanceId"])
    image = ec2.create_image(InstanceId=stack.outputs["InstanceId"], Name="golden", NoReboot=True)["ImageId"]
    eventually(
        lambda: ec2.describe_images(ImageIds=[image])["Images"][0]["State"] == "available",
        limit_s=60, what="the image",
    )  # fmt: skip
    stack.delete()
    golden = deploy("bootstrap", Image=image)
    reached(golden.outputs["Address"])
    fast = _boot_time(golden, golden.outputs["InstanceId"])
    print(f"bootstrap {slow:.2f} s, golden image {fast:.2f} s")
    assert slow >= 5 > fast


def _boot_time(stack: Stack, instance: str) -> float:
    """Seconds from the boot of the instance to the beginning of its program, by its own clock."""
    begun = stack.inside(instance, "stat -c %Y.%N /proc/1; for p in /proc/[0-9]*; do "
                         "[ \"$(cat $p/comm 2>/dev/null)\" = what-is-the-tim ] && awk '{print $22}' $p/stat; done; "
                         "awk '{print $22}' /proc/1/stat; getconf CLK_TCK").split()  # fmt: skip
    program, init, ticks = float(begun[1]), float(begun[-2]), float(begun[-1])
    return (program - init) / ticks


def test_m9_only_the_links_of_the_chain_are_open(deploy):
    stack = deploy("chain")
    app, cache, database = (stack.outputs[key] for key in ("App", "Cache", "Database"))
    host = stack.outputs["URL"].removeprefix("http://")
    port = int(stack.cloud.endpoint.rsplit(":", 1)[1])
    private = {one: stack.instance(one)["PrivateIpAddress"] for one in (app, cache, database)}
    public = {one: stack.instance(one)["PublicIpAddress"] for one in (app, cache, database)}

    def front():
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/", headers={"Host": host})
        body = connection.getresponse().read().decode()
        connection.close()
        return app in body

    eventually(front, limit_s=60, what="the load balancer to reach the application")
    open_paths = {(app, cache, 6379), (app, database, 3306)}
    for source in (app, cache, database):
        for target, ports in ((app, (8080,)), (cache, (6379, 3306)), (database, (3306,))):
            for number in ports:
                expected = (source, target, number) in open_paths or source == target
                assert stack.opens(source, private[target], number) == expected, (source, target, number)
    for target, number in ((app, 8080), (cache, 6379), (database, 3306)):
        assert get(public[target], port=number) is None, "the world reaches the load balancer only"


def test_h10_failed_hardware_is_recovered_with_all_that_the_server_had(deploy, new_cloud):
    # Two failed checks, a minute apart, come before a recovery.
    fast = new_cloud("server", "--driver", "linux", "--speed", str(SPEED)).start()
    stack = deploy("recovery", cloud=fast)
    server, address = stack.outputs["InstanceId"], stack.outputs["Address"]
    reached(address, server)
    stack.inside(server, "echo precious > /mnt/sdf/file && sync")
    before = stack.instance(server)
    with Outage(address) as outage:
        stack.run("break", "hardware", server)
        eventually(lambda: get(address) is None, limit_s=30, what="the server to be gone")
        print(f"recovered after {outage.over(server) * SPEED:.0f} s of the cloud's time")
    after = stack.state(server, "running")
    for same in ("InstanceId", "PrivateIpAddress", "PublicIpAddress"):
        assert after[same] == before[same]
    assert stack.inside(server, "cat /mnt/sdf/file") == "precious\n"


def test_h12_the_address_follows_the_one_instance_through_its_role(deploy):
    stack = deploy("one-of-one")
    group, address = stack.outputs["Group"], stack.outputs["Address"]
    (first,) = eventually(lambda: stack.members(group), limit_s=60, what="an instance in service")
    reached(address, first["InstanceId"])
    stack.call("ec2").terminate_instances(InstanceIds=[first["InstanceId"]])
    second = _replacement(stack, group, first["InstanceId"])
    reached(address, second)
    # Without the permission the call is denied.
    iam = stack.call("iam")
    (policy,) = iam.list_role_policies(RoleName=stack.outputs["Role"])["PolicyNames"]
    document = iam.get_role_policy(RoleName=stack.outputs["Role"], PolicyName=policy)["PolicyDocument"]
    document["Statement"][0]["Action"].remove("ec2:AssociateAddress")
    iam.put_role_policy(RoleName=stack.outputs["Role"], PolicyName=policy, PolicyDocument=json.dumps(document))
    denied = stack.inside(
        second,
        f"aws ec2 associate-address --instance-id {second} --public-ip {address} 2>&1",
        expect=None,
    )
    assert "UnauthorizedOperation" in denied, denied


def test_h13_the_data_follows_the_one_instance(deploy, linux):
    scenario.needs("mkfs.ext4")
    stack = deploy("one-of-one/with-state")
    group = stack.outputs["Group"]
    handler = subprocess.Popen(
        [sys.executable, str(ROOT / "examples/one-of-one/handler.py"), group],
        env=linux.environment() | {"AWS_ACCESS_KEY_ID": stack.account}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        (first,) = eventually(lambda: stack.members(group), limit_s=60, what="an instance in service")
        stack.inside(first["InstanceId"], "echo kept > /mnt/sdf/file && sync")
        stack.call("autoscaling").terminate_instance_in_auto_scaling_group(
            InstanceId=first["InstanceId"], ShouldDecrementDesiredCapacity=False
        )
        second = _replacement(stack, group, first["InstanceId"])
        eventually(
            lambda: stack.inside(second, "cat /mnt/sdf/file", expect=None) == "kept\n",
            limit_s=60, what="the data in the new instance",
        )  # fmt: skip
        # Without instances the group has nothing to wait for when it is deleted.
        stack.call("autoscaling").update_auto_scaling_group(AutoScalingGroupName=group, MinSize=0, DesiredCapacity=0)
        eventually(lambda: not stack.members(group), limit_s=60, what="the group to be empty")
        eventually(lambda: _saved(stack) >= 2, limit_s=60, what="the second snapshot")
    finally:
        handler.kill()
        handler.wait()


def _saved(stack: Stack) -> int:
    return len(stack.call("ec2").describe_snapshots(OwnerIds=["self"])["Snapshots"])


def _replacement(stack: Stack, group: str, old: str) -> str:
    """Waits for another instance in service; gives its id."""

    def look():
        return [member["InstanceId"] for member in stack.members(group) if member["InstanceId"] != old]

    return eventually(look, limit_s=90, what="a replacement")[0]


def test_h14_the_inside_is_reached_through_a_bastion_only(deploy, tmp_path):
    scenario.needs("sshd", "ssh", "ssh-keygen")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    stack = deploy("bastion", prepare=lambda ec2: ec2.import_key_pair(
        KeyName="ops", PublicKeyMaterial=key.with_suffix(".pub").read_bytes()
    ), KeyName="ops")  # fmt: skip
    members = eventually(
        lambda: len(stack.members(stack.outputs["Bastions"])) == 2 and stack.members(stack.outputs["Bastions"]),
        limit_s=60, what="two bastions",
    )  # fmt: skip
    assert len({member["AvailabilityZone"] for member in members}) == 2
    inner = stack.outputs["InnerAddress"]
    options = ["-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    for member in members:
        bastion = stack.instance(member["InstanceId"])["PublicIpAddress"]
        hop = " ".join(["ssh", *options, "-W", "%h:%p", f"ec2-user@{bastion}"])

        def login():
            done = subprocess.run(
                ["ssh", *options, "-o", f"ProxyCommand={hop}", f"ec2-user@{inner}", "hostname; id -un"],
                capture_output=True, text=True, timeout=20,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout.split()

        name, user = eventually(login, limit_s=30, what=f"a login through {bastion}")
        assert user == "ec2-user" and inner.replace(".", "-") in name
    (other,) = stack.call("ec2").run_instances(
        ImageId=stack.instance(stack.outputs["Inner"])["ImageId"], InstanceType="t3.nano", MinCount=1, MaxCount=1,
        SubnetId=stack.instance(stack.outputs["Inner"])["SubnetId"],
    )["Instances"]  # fmt: skip
    stack.state(other["InstanceId"], "running")
    assert not stack.opens(other["InstanceId"], inner, 22), "only bastions are let in"
    stack.call("ec2").terminate_instances(InstanceIds=[other["InstanceId"]])
    stack.state(other["InstanceId"], "terminated")


def test_e7_each_way_of_blocking_an_address_blocks_it(deploy):
    stack = deploy("block-an-address")
    address, ec2 = stack.outputs["Address"], stack.call("ec2")
    reached(address)
    user, blocked = "127.254.0.10", "127.254.0.66"
    assert get(address, source=user) is not None
    assert get(address, source=blocked) is None, "the network ACL denies it"
    group = stack.outputs["SecurityGroupId"]
    everyone = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    one = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "198.51.100.10/32"}]}]
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=everyone)
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=one)
    eventually(lambda: get(address, source="127.254.0.11") is None, limit_s=5, what="the group to keep others out")
    assert get(address, source=user) is not None, "the security group allows it"
    assert get(address, source=blocked) is None


def test_w8_a_spot_instance_gets_its_notice_and_is_replaced(deploy):
    stack = deploy("spot")
    group = stack.outputs["Group"]

    def spot() -> list[str]:
        members = [member["InstanceId"] for member in stack.members(group)]
        return [one for one in members if stack.instance(one).get("InstanceLifecycle") == "spot"]

    eventually(lambda: len(stack.members(group)) == 2, limit_s=60, what="two instances in service")
    (instance,) = spot()
    stack.run("break", "spot", instance)
    notice = eventually(
        lambda: stack.inside(instance, "cat /var/log/notice", expect=None), limit_s=30, what="the notice inside"
    )
    assert re.search(r'"action": ?"terminate"', notice), notice


def test_l8_private_subnets_go_out_through_gateway_and_instance(deploy):
    scenario.needs("nft", "curl")
    stack = deploy("nat")
    address = stack.outputs["GatewayAddress"]
    out = "curl -s -m 2 http://checkip.amazonaws.com"
    eventually(
        lambda: stack.inside(stack.outputs["InnerA"], out, expect=None).strip() == address,
        limit_s=60, what="the first zone to leave by the NAT gateway's address",
    )  # fmt: skip
    group = stack.outputs["NatGroup"]

    def leaves_by_nat_instance(but: str = ""):
        members = stack.members(group)
        if not members or members[0]["InstanceId"] == but:
            return None
        seen = stack.inside(stack.outputs["InnerB"], out, expect=None).strip()
        return members[0]["InstanceId"] if seen == stack.instance(members[0]["InstanceId"])["PublicIpAddress"] else None

    first = eventually(leaves_by_nat_instance, limit_s=60, what="the second zone to leave by the NAT instance")
    stack.call("ec2").terminate_instances(InstanceIds=[first])
    eventually(
        lambda: leaves_by_nat_instance(but=first), limit_s=90, what="the second zone to leave by the next NAT instance"
    )
