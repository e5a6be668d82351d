"""ec2 through boto3: security groups and their rules, network interfaces, key pairs, tags."""

import base64

import pytest

HTTP = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
HTTPS = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
MISSING_GROUP = "sg-0123456789abcdef0"


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def vpc(ec2):
    return ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


@pytest.fixture(scope="module")
def subnet(ec2, vpc):
    return ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]


@pytest.fixture
def group(ec2, vpc):
    """A security group that is deleted after the test."""
    made = ec2.create_security_group(GroupName="web", Description="web servers", VpcId=vpc)["GroupId"]
    yield made
    ec2.delete_security_group(GroupId=made)


def test_a_group_is_unique_in_its_vpc_and_lets_everything_out(ec2, vpc, group, refused):
    with refused("InvalidGroup.Duplicate", naming="web"):
        ec2.create_security_group(GroupName="web", Description="again", VpcId=vpc)
    (read,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert read["IpPermissions"] == []
    usable = ec2.get_security_groups_for_vpc(VpcId=vpc)["SecurityGroupForVpcs"]
    assert sorted(one["GroupName"] for one in usable) == ["default", "web"]
    assert [one["IpProtocol"] for one in read["IpPermissionsEgress"]] == ["-1"]
    with refused("InvalidGroup.NotFound", naming=MISSING_GROUP):
        ec2.describe_security_groups(GroupIds=[MISSING_GROUP])


def test_rules_are_authorized_described_and_revoked(ec2, group, refused):
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[HTTP])
    (rule,) = made["SecurityGroupRules"]
    assert (rule["FromPort"], rule["CidrIpv4"], rule["IsEgress"]) == (80, "0.0.0.0/0", False)
    with refused("InvalidPermission.Duplicate"):
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[HTTP])
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[HTTP])
    with refused("InvalidPermission.NotFound"):
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[HTTP])
    (out,) = ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[HTTPS])["SecurityGroupRules"]
    ec2.revoke_security_group_egress(GroupId=group, SecurityGroupRuleIds=[out["SecurityGroupRuleId"]])
    of_group = [{"Name": "group-id", "Values": [group]}]
    assert len(ec2.describe_security_group_rules(Filters=of_group)["SecurityGroupRules"]) == 1


def test_a_rule_can_change_in_place(ec2, group):
    (rule,) = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[HTTP])["SecurityGroupRules"]
    changed = {"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "CidrIpv4": "10.0.0.0/8"}
    update = [{"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": changed}]
    assert ec2.modify_security_group_rules(GroupId=group, SecurityGroupRules=update)["Return"]
    ranges = [{"CidrIp": "10.0.0.0/8", "Description": "from inside"}]
    described = [{"IpProtocol": "tcp", "FromPort": 8080, "ToPort": 8080, "IpRanges": ranges}]
    ec2.update_security_group_rule_descriptions_ingress(GroupId=group, IpPermissions=described)
    everything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}]}]
    ec2.update_security_group_rule_descriptions_egress(GroupId=group, IpPermissions=everything)
    (read,) = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert read["IpPermissions"][0]["IpRanges"] == ranges
    assert read["IpPermissionsEgress"][0]["IpRanges"][0]["Description"] == "all"


def test_a_group_that_another_one_admits_stays(ec2, vpc, group, refused):
    app = ec2.create_security_group(GroupName="app", Description="behind web", VpcId=vpc)["GroupId"]
    from_web = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=app, IpPermissions=[from_web])
    with refused("DependencyViolation"):
        ec2.delete_security_group(GroupId=group)
    ec2.delete_security_group(GroupId=app)


def test_an_interface_moves_between_instances(ec2, subnet, group, refused):
    made = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.0.0.10", Groups=[group])
    interface = made["NetworkInterface"]["NetworkInterfaceId"]
    with refused("InvalidIPAddress.InUse", naming="10.0.0.10"):
        ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress="10.0.0.10")
    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Description={"Value": "floats"})
    instance = ec2.run_instances(ImageId=image(ec2), MinCount=1, MaxCount=1, SubnetId=subnet)["Instances"][0]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance["InstanceId"]], WaiterConfig={"Delay": 1})
    attached = ec2.attach_network_interface(
        NetworkInterfaceId=interface, InstanceId=instance["InstanceId"], DeviceIndex=1
    )
    (read,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    assert (read["Description"], read["PrivateIpAddress"]) == ("floats", "10.0.0.10")
    description = ec2.describe_network_interface_attribute(NetworkInterfaceId=interface, Attribute="description")
    assert description["Description"] == {"Value": "floats"}
    assert read["Attachment"]["InstanceId"] == instance["InstanceId"]
    ec2.detach_network_interface(AttachmentId=attached["AttachmentId"])
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    with refused("InvalidNetworkInterfaceID.NotFound", naming=interface):
        ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])


def image(ec2):
    """A base image, found as every tutorial finds one."""
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    return ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]


# An ed25519 public key of 32 zero octets: valid in form, and nobody's.
PUBLIC_KEY = b"ssh-ed25519 " + base64.b64encode(
    b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"\0" * 32
)


def test_key_pairs_are_made_imported_and_deleted(ec2, refused):
    made = ec2.create_key_pair(KeyName="made", KeyType="ed25519")
    assert "PRIVATE KEY" in made["KeyMaterial"] and made["KeyPairId"].startswith("key-")
    with refused("InvalidKeyPair.Duplicate", naming="made"):
        ec2.create_key_pair(KeyName="made", KeyType="ed25519")
    ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=PUBLIC_KEY)
    names = [pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]]
    assert sorted(names) == ["made", "mine"]
    for name in names:
        ec2.delete_key_pair(KeyName=name)
    with refused("InvalidKeyPair.NotFound", naming="mine"):
        ec2.describe_key_pairs(KeyNames=["mine"])


def test_tags_are_set_found_and_removed(ec2, vpc, refused):
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "team", "Value": "blue"}])
    of_vpc = [{"Name": "resource-id", "Values": [vpc]}]
    (tag,) = ec2.describe_tags(Filters=of_vpc)["Tags"]
    assert (tag["Key"], tag["Value"], tag["ResourceType"]) == ("team", "blue", "vpc")
    by_tag = [{"Name": "tag:team", "Values": ["blue"]}]
    assert [one["VpcId"] for one in ec2.describe_vpcs(Filters=by_tag)["Vpcs"]] == [vpc]
    ec2.delete_tags(Resources=[vpc], Tags=[{"Key": "team"}])
    assert ec2.describe_tags(Filters=of_vpc)["Tags"] == []
    with refused("InvalidVpcID.NotFound"):
        ec2.create_tags(Resources=["vpc-0123456789abcdef0"], Tags=[{"Key": "a", "Value": "b"}])
