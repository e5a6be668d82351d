"""ec2 through boto3: interfaces with several addresses, and what is changed of instances besides their state."""

import json

import pytest

from waiting import eventually

WAIT = {"Delay": 1, "MaxAttempts": 60}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def instance(ec2):
    """An instance that all tests share."""
    image = ec2.describe_images(
        Owners=["amazon"], Filters=[{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    )["Images"][0]["ImageId"]
    made = ec2.run_instances(ImageId=image, InstanceType="t3.small", MinCount=1, MaxCount=1)["Instances"][0]
    ec2.get_waiter("instance_running").wait(InstanceIds=[made["InstanceId"]], WaiterConfig=WAIT)
    yield made["InstanceId"]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


@pytest.fixture
def interface(ec2, instance):
    """A second interface in the instance's subnet, with a secondary address."""
    subnet = read(ec2, instance)["SubnetId"]
    made = ec2.create_network_interface(SubnetId=subnet, SecondaryPrivateIpAddressCount=1)["NetworkInterface"]
    yield made
    ec2.delete_network_interface(NetworkInterfaceId=made["NetworkInterfaceId"])


def read(ec2, instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def addresses(ec2, interface_id):
    (shown,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"]
    return [address["PrivateIpAddress"] for address in shown["PrivateIpAddresses"]]


def test_a_secondary_address_is_taken_over(ec2, instance, interface, refused):
    first = read(ec2, instance)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    second, floating = interface["NetworkInterfaceId"], interface["PrivateIpAddresses"][1]["PrivateIpAddress"]
    with refused("InvalidIPAddress.InUse", naming=floating):
        ec2.assign_private_ip_addresses(NetworkInterfaceId=first, PrivateIpAddresses=[floating])
    answer = ec2.assign_private_ip_addresses(
        NetworkInterfaceId=first, PrivateIpAddresses=[floating], AllowReassignment=True
    )
    assert answer["AssignedPrivateIpAddresses"] == [{"PrivateIpAddress": floating}]
    assert floating in addresses(ec2, first) and floating not in addresses(ec2, second)
    ec2.unassign_private_ip_addresses(NetworkInterfaceId=first, PrivateIpAddresses=[floating])
    assert floating not in addresses(ec2, first)
    with refused("PrivateIpAddressLimitExceeded"):
        ec2.assign_private_ip_addresses(NetworkInterfaceId=first, SecondaryPrivateIpAddressCount=9)


def test_an_interface_goes_from_hand_to_hand(ec2, instance, interface, refused):
    given = interface["NetworkInterfaceId"]
    attachment = ec2.attach_network_interface(NetworkInterfaceId=given, InstanceId=instance, DeviceIndex=1)
    with refused("InvalidNetworkInterface.InUse", naming=given):
        ec2.attach_network_interface(NetworkInterfaceId=given, InstanceId=instance, DeviceIndex=2)
    shown = read(ec2, instance)["NetworkInterfaces"]
    assert {one["Attachment"]["DeviceIndex"] for one in shown} == {0, 1}
    ec2.detach_network_interface(AttachmentId=attachment["AttachmentId"], Force=True)
    assert len(read(ec2, instance)["NetworkInterfaces"]) == 1


def test_attributes_are_changed_and_reset(ec2, instance, interface, refused):
    given = interface["NetworkInterfaceId"]

    def checks(interface_id):
        answer = ec2.describe_network_interface_attribute(
            NetworkInterfaceId=interface_id, Attribute="sourceDestCheck"
        )
        return answer["SourceDestCheck"]["Value"]

    ec2.modify_network_interface_attribute(NetworkInterfaceId=given, SourceDestCheck={"Value": False})
    assert not checks(given)
    ec2.reset_network_interface_attribute(NetworkInterfaceId=given, SourceDestCheck="true")
    assert checks(given)

    primary = read(ec2, instance)["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.modify_instance_attribute(InstanceId=instance, SourceDestCheck={"Value": False})
    assert not checks(primary)
    ec2.reset_instance_attribute(InstanceId=instance, Attribute="sourceDestCheck")
    assert checks(primary)

    ec2.modify_private_dns_name_options(InstanceId=instance, EnableResourceNameDnsARecord=True)
    assert read(ec2, instance)["PrivateDnsNameOptions"]["EnableResourceNameDnsARecord"]
    with refused("IncorrectInstanceState", naming=instance):
        ec2.modify_private_dns_name_options(InstanceId=instance, PrivateDnsHostnameType="resource-name")
    answer = ec2.modify_instance_credit_specification(
        InstanceCreditSpecifications=[{"InstanceId": instance, "CpuCredits": "standard"}]
    )
    assert answer["SuccessfulInstanceCreditSpecifications"] == [{"InstanceId": instance}]
    (credits,) = ec2.describe_instance_credit_specifications(InstanceIds=[instance])["InstanceCreditSpecifications"]
    assert credits["CpuCredits"] == "standard"


def test_a_status_is_reported(ec2, instance, refused):
    ec2.report_instance_status(Instances=[instance], Status="impaired", ReasonCodes=["unresponsive"])
    with refused("InvalidInstanceID.NotFound"):
        ec2.report_instance_status(Instances=["i-0123456789abcdef0"], Status="ok", ReasonCodes=["other"])


def test_a_profile_is_replaced(ec2, client, instance, refused):
    iam = client("iam")
    for name in ["one", "two"]:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    first = ec2.associate_iam_instance_profile(IamInstanceProfile={"Name": "one"}, InstanceId=instance)
    association = first["IamInstanceProfileAssociation"]["AssociationId"]
    ec2.replace_iam_instance_profile_association(IamInstanceProfile={"Name": "two"}, AssociationId=association)
    eventually(
        lambda: read(ec2, instance)["IamInstanceProfile"]["Arn"].endswith("/two"), limit_s=10, what="the other profile"
    )
    with refused("NoSuchAssociation"):
        ec2.replace_iam_instance_profile_association(IamInstanceProfile={"Name": "one"}, AssociationId=association)
