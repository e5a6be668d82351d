"""ec2 through boto3: regions, VPCs, subnets, gateways, routes, network ACLs, DHCP options."""

import pytest

MISSING_VPC = "vpc-0123456789abcdef0"


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def vpc(ec2):
    """A VPC for tests that only look at it or put things into it."""
    return ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


def subnet(ec2, vpc, cidr, zone="eu-west-1a"):
    return ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, AvailabilityZone=zone)["Subnet"]


def test_regions_and_zones_are_those_of_aws(ec2, refused):
    names = [region["RegionName"] for region in ec2.describe_regions()["Regions"]]
    assert {"eu-west-1", "us-east-1", "ap-southeast-2"} <= set(names)
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [zone["ZoneName"] for zone in zones] == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    assert {zone["State"] for zone in zones} == {"available"}
    attributes = ec2.describe_account_attributes()["AccountAttributes"]
    assert "default-vpc" in [attribute["AttributeName"] for attribute in attributes]
    with refused("InvalidParameterValue", naming="eu-west-9z"):
        ec2.describe_availability_zones(ZoneNames=["eu-west-9z"])


def test_an_account_begins_with_a_default_vpc_and_gets_it_back(client):
    ec2 = client("ec2", region="eu-north-1")
    (default,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    assert default["CidrBlock"] == "172.31.0.0/16"
    inside = [{"Name": "vpc-id", "Values": [default["VpcId"]]}]
    subnets = ec2.describe_subnets(Filters=inside)["Subnets"]
    assert len(subnets) == 3 and all(subnet["DefaultForAz"] for subnet in subnets)
    for one in subnets:
        ec2.delete_subnet(SubnetId=one["SubnetId"])
    back = ec2.create_default_subnet(AvailabilityZone="eu-north-1a")["Subnet"]
    assert back["DefaultForAz"] and back["VpcId"] == default["VpcId"]
    ec2.delete_subnet(SubnetId=back["SubnetId"])
    attached = [{"Name": "attachment.vpc-id", "Values": [default["VpcId"]]}]
    (gateway,) = ec2.describe_internet_gateways(Filters=attached)["InternetGateways"]
    ec2.detach_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"], VpcId=default["VpcId"])
    ec2.delete_internet_gateway(InternetGatewayId=gateway["InternetGatewayId"])
    ec2.delete_vpc(VpcId=default["VpcId"])
    again = ec2.create_default_vpc()["Vpc"]
    assert again["IsDefault"] and again["VpcId"] != default["VpcId"]


def test_a_vpc_brings_its_own_and_goes(ec2, refused):
    tags = [{"ResourceType": "vpc", "Tags": [{"Key": "Name", "Value": "mine"}]}]
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=tags)["Vpc"]
    assert vpc["State"] in ("pending", "available")
    assert vpc["Tags"] == [{"Key": "Name", "Value": "mine"}]
    inside = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    (table,) = ec2.describe_route_tables(Filters=inside)["RouteTables"]
    assert table["Associations"][0]["Main"] and table["Routes"][0]["GatewayId"] == "local"
    (acl,) = ec2.describe_network_acls(Filters=inside)["NetworkAcls"]
    assert acl["IsDefault"]
    (group,) = ec2.describe_security_groups(Filters=inside)["SecurityGroups"]
    assert group["GroupName"] == "default"
    ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], EnableDnsHostnames={"Value": True})
    hostnames = ec2.describe_vpc_attribute(VpcId=vpc["VpcId"], Attribute="enableDnsHostnames")
    assert hostnames["EnableDnsHostnames"] == {"Value": True}
    ec2.delete_vpc(VpcId=vpc["VpcId"])
    with refused("InvalidVpcID.NotFound", naming=vpc["VpcId"]):
        ec2.describe_vpcs(VpcIds=[vpc["VpcId"]])


def test_a_vpc_has_a_block_that_is_one(ec2, refused):
    with refused("InvalidVpc.Range"):
        ec2.create_vpc(CidrBlock="10.0.0.0/8")
    with refused("InvalidParameterValue", naming="not-a-cidr"):
        ec2.create_vpc(CidrBlock="not-a-cidr")
    with refused("InvalidVpcID.NotFound", naming=MISSING_VPC):
        ec2.delete_vpc(VpcId=MISSING_VPC)


def test_subnets_lie_in_their_vpc_and_apart(ec2, vpc, refused):
    made = subnet(ec2, vpc, "10.0.1.0/24")
    assert made["AvailableIpAddressCount"] == 251, "AWS keeps five addresses"
    assert made["AvailabilityZone"] == "eu-west-1a"
    with refused("InvalidSubnet.Conflict", naming="10.0.1.128/25"):
        subnet(ec2, vpc, "10.0.1.128/25")
    with refused("InvalidSubnet.Range"):
        subnet(ec2, vpc, "10.9.0.0/24")
    ec2.modify_subnet_attribute(SubnetId=made["SubnetId"], MapPublicIpOnLaunch={"Value": True})
    (read,) = ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"]
    assert read["MapPublicIpOnLaunch"] is True
    with refused("DependencyViolation", naming=vpc):
        ec2.delete_vpc(VpcId=vpc)
    ec2.delete_subnet(SubnetId=made["SubnetId"])
    with refused("InvalidSubnetID.NotFound", naming=made["SubnetId"]):
        ec2.delete_subnet(SubnetId=made["SubnetId"])


def test_routes_lead_through_a_gateway(ec2, vpc, refused):
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    everywhere = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    with refused("Resource.AlreadyAssociated"):
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.create_route(**everywhere, GatewayId=gateway)
    with refused("RouteAlreadyExists"):
        ec2.create_route(**everywhere, GatewayId=gateway)
    ec2.replace_route(**everywhere, GatewayId=gateway)
    (read,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    routes = {route["DestinationCidrBlock"]: route["GatewayId"] for route in read["Routes"]}
    assert routes == {"10.0.0.0/16": "local", "0.0.0.0/0": gateway}
    ec2.delete_route(**everywhere)
    with refused("InvalidRoute.NotFound"):
        ec2.delete_route(**everywhere)
    ec2.detach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    ec2.delete_internet_gateway(InternetGatewayId=gateway)
    ec2.delete_route_table(RouteTableId=table)
    with refused("InvalidRouteTableID.NotFound", naming=table):
        ec2.describe_route_tables(RouteTableIds=[table])


def test_a_subnet_follows_one_route_table(ec2, vpc, refused):
    one = subnet(ec2, vpc, "10.0.2.0/24")["SubnetId"]
    first = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    second = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(SubnetId=one, RouteTableId=first)["AssociationId"]
    with refused("DependencyViolation"):
        ec2.delete_route_table(RouteTableId=first)
    moved = ec2.replace_route_table_association(AssociationId=association, RouteTableId=second)
    by_subnet = [{"Name": "association.subnet-id", "Values": [one]}]
    (followed,) = ec2.describe_route_tables(Filters=by_subnet)["RouteTables"]
    assert followed["RouteTableId"] == second
    ec2.disassociate_route_table(AssociationId=moved["NewAssociationId"])
    assert ec2.describe_route_tables(Filters=by_subnet)["RouteTables"] == []
    for table in (first, second):
        ec2.delete_route_table(RouteTableId=table)


def test_network_acls_hold_numbered_entries(ec2, vpc, refused):
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    entry = {"NetworkAclId": acl, "RuleNumber": 100, "Egress": False}
    what = {"Protocol": "6", "PortRange": {"From": 80, "To": 80}, "CidrBlock": "0.0.0.0/0"}
    ec2.create_network_acl_entry(**entry, **what, RuleAction="allow")
    with refused("NetworkAclEntryAlreadyExists"):
        ec2.create_network_acl_entry(**entry, **what, RuleAction="allow")
    ec2.replace_network_acl_entry(**entry, **what, RuleAction="deny")
    (read,) = ec2.describe_network_acls(NetworkAclIds=[acl])["NetworkAcls"]
    (changed,) = [one for one in read["Entries"] if one["RuleNumber"] == 100]
    assert changed["RuleAction"] == "deny" and changed["PortRange"] == {"From": 80, "To": 80}
    ec2.delete_network_acl_entry(**entry)
    with refused("InvalidNetworkAclEntry.NotFound"):
        ec2.delete_network_acl_entry(**entry)
    move_a_subnet_to_acl(ec2, vpc, acl)
    ec2.delete_network_acl(NetworkAclId=acl)
    with refused("InvalidNetworkAclID.NotFound", naming=acl):
        ec2.describe_network_acls(NetworkAclIds=[acl])


def move_a_subnet_to_acl(ec2, vpc, acl):
    """There and back again: an ACL in use cannot be deleted."""
    one = subnet(ec2, vpc, "10.0.3.0/24")["SubnetId"]
    by_subnet = [{"Name": "association.subnet-id", "Values": [one]}]

    def current():
        (read,) = ec2.describe_network_acls(Filters=by_subnet)["NetworkAcls"]
        (association,) = [a for a in read["Associations"] if a["SubnetId"] == one]
        return read["NetworkAclId"], association["NetworkAclAssociationId"]

    default, association = current()
    ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)
    moved_to, association = current()
    assert moved_to == acl
    ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=default)
    assert current()[0] == default


def test_dhcp_options_belong_to_vpcs(ec2, vpc, refused):
    wanted = [{"Key": "domain-name", "Values": ["example.com"]}]
    options = ec2.create_dhcp_options(DhcpConfigurations=wanted)["DhcpOptions"]["DhcpOptionsId"]
    ec2.associate_dhcp_options(DhcpOptionsId=options, VpcId=vpc)
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["DhcpOptionsId"] == options
    with refused("DependencyViolation"):
        ec2.delete_dhcp_options(DhcpOptionsId=options)
    ec2.associate_dhcp_options(DhcpOptionsId="default", VpcId=vpc)
    (read,) = ec2.describe_dhcp_options(DhcpOptionsIds=[options])["DhcpOptions"]
    assert read["DhcpConfigurations"] == [{"Key": "domain-name", "Values": [{"Value": "example.com"}]}]
    ec2.delete_dhcp_options(DhcpOptionsId=options)
    with refused("InvalidDhcpOptionID.NotFound", naming=options):
        ec2.describe_dhcp_options(DhcpOptionsIds=[options])


def test_listings_come_in_pages(ec2):
    for number in range(3):
        ec2.create_vpc(CidrBlock=f"10.{100 + number}.0.0/16")
    pages = list(ec2.get_paginator("describe_vpcs").paginate(PaginationConfig={"PageSize": 5}))
    everything = [vpc["VpcId"] for page in pages for vpc in page["Vpcs"]]
    assert sorted(everything) == sorted(vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"])


ABSENT = [
    ("describe_flow_logs", {}, "FlowLogs"),
    ("describe_snapshots", {"OwnerIds": ["self"]}, "Snapshots"),
    ("describe_spot_instance_requests", {}, "SpotInstanceRequests"),
    ("describe_volumes_modifications", {}, "VolumesModifications"),
    ("describe_instance_connect_endpoints", {}, "InstanceConnectEndpoints"),
    ("describe_stale_security_groups", {"VpcId": "vpc"}, "StaleSecurityGroupSet"),
    ("describe_iam_instance_profile_associations", {}, "IamInstanceProfileAssociations"),
    ("describe_instance_event_windows", {}, "InstanceEventWindows"),
    ("describe_reserved_instances", {}, "ReservedInstances"),
    ("describe_security_group_references", {"GroupId": ["group"]}, "SecurityGroupReferenceSet"),
]


@pytest.mark.parametrize(("operation", "arguments", "key"), ABSENT, ids=[name for name, *_ in ABSENT])
def test_what_clients_look_for_and_nobody_has_is_an_empty_list(ec2, vpc, operation, arguments, key):
    inside = [{"Name": "vpc-id", "Values": [vpc]}]
    group = ec2.describe_security_groups(Filters=inside)["SecurityGroups"][0]["GroupId"]
    real = {"vpc": vpc, "group": group}
    arguments = {
        name: [real.get(one, one) for one in value] if isinstance(value, list) else real.get(value, value)
        for name, value in arguments.items()
    }
    assert [one for one in getattr(ec2, operation)(**arguments)[key]] == []
