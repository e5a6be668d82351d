"""ec2 through boto3: what connects networks. Addresses, NAT gateways, peerings, endpoints, prefix lists, groups."""

import ipaddress

import pytest

from waiting import eventually

WAIT = {"Delay": 1, "MaxAttempts": 60}
SOON_S = 60
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def network(ec2):
    """A VPC with an internet gateway, a subnet and a route table, for all tests."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", AvailabilityZone="eu-west-1a")["Subnet"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    return {"vpc": vpc, "gateway": gateway, "subnet": subnet["SubnetId"], "table": table}


@pytest.fixture
def address(ec2):
    made = ec2.allocate_address(Domain="vpc")
    yield made
    if ec2.describe_addresses(Filters=[{"Name": "allocation-id", "Values": [made["AllocationId"]]}])["Addresses"]:
        ec2.release_address(AllocationId=made["AllocationId"])


def routes(ec2, table):
    (read,) = ec2.describe_route_tables(RouteTableIds=[table])["RouteTables"]
    return read["Routes"]


def test_an_address_is_associated_with_an_interface(ec2, network, address, refused):
    assert ipaddress.ip_address(address["PublicIp"]) in ipaddress.ip_network("127.128.0.0/9")
    assert (address["Domain"], address["NetworkBorderGroup"]) == ("vpc", REGION)
    interface = ec2.create_network_interface(SubnetId=network["subnet"])["NetworkInterface"]
    made = ec2.associate_address(
        AllocationId=address["AllocationId"], NetworkInterfaceId=interface["NetworkInterfaceId"]
    )
    (read,) = ec2.describe_addresses(PublicIps=[address["PublicIp"]])["Addresses"]
    assert read["AssociationId"] == made["AssociationId"]
    assert read["PrivateIpAddress"] == interface["PrivateIpAddress"]
    (names,) = ec2.describe_addresses_attribute(AllocationIds=[address["AllocationId"]], Attribute="domain-name")[
        "Addresses"
    ]
    assert names["PublicIp"] == address["PublicIp"] and "PtrRecord" not in names
    with refused("InvalidIPAddress.InUse", naming=address["PublicIp"]):
        ec2.release_address(AllocationId=address["AllocationId"])
    ec2.disassociate_address(AssociationId=made["AssociationId"])
    ec2.delete_network_interface(NetworkInterfaceId=interface["NetworkInterfaceId"])
    ec2.release_address(AllocationId=address["AllocationId"])
    with refused("InvalidAllocationID.NotFound", naming=address["AllocationId"]):
        ec2.describe_addresses(AllocationIds=[address["AllocationId"]])
    with refused("InvalidAddress.NotFound"):
        ec2.describe_addresses(PublicIps=["192.0.2.1"])


def test_a_nat_gateway_holds_its_address(ec2, network, address, refused):
    tags = [{"ResourceType": "natgateway", "Tags": [{"Key": "Name", "Value": "out"}]}]
    made = ec2.create_nat_gateway(
        SubnetId=network["subnet"], AllocationId=address["AllocationId"], TagSpecifications=tags
    )["NatGateway"]
    assert made["State"] == "pending" and made["Tags"] == [{"Key": "Name", "Value": "out"}]
    named = {"NatGatewayIds": [made["NatGatewayId"]]}
    ec2.get_waiter("nat_gateway_available").wait(**named, WaiterConfig=WAIT)
    (read,) = ec2.describe_nat_gateways(**named)["NatGateways"]
    assert read["NatGatewayAddresses"][0]["PublicIp"] == address["PublicIp"]
    ec2.create_route(
        RouteTableId=network["table"], DestinationCidrBlock="0.0.0.0/0", NatGatewayId=made["NatGatewayId"]
    )
    (out,) = [one for one in routes(ec2, network["table"]) if one.get("NatGatewayId")]
    assert out["State"] == "active"
    with refused("DependencyViolation", naming=network["subnet"]):
        ec2.delete_subnet(SubnetId=network["subnet"])
    ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    ec2.get_waiter("nat_gateway_deleted").wait(**named, WaiterConfig=WAIT)
    (out,) = [one for one in routes(ec2, network["table"]) if one.get("NatGatewayId")]
    assert out["State"] == "blackhole"
    ec2.delete_route(RouteTableId=network["table"], DestinationCidrBlock="0.0.0.0/0")
    with refused("MissingParameter", naming="AllocationId"):
        ec2.create_nat_gateway(SubnetId=network["subnet"])


def test_vpcs_are_peered_across_regions(ec2, client, network, refused):
    far = client("ec2", region="us-east-1")
    there = far.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_vpc_peering_connection(VpcId=network["vpc"], PeerVpcId=there, PeerRegion="us-east-1")
    peering = made["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    with refused("OperationNotPermitted", naming=peering):
        ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    far.accept_vpc_peering_connection(VpcPeeringConnectionId=peering)
    named = {"VpcPeeringConnectionIds": [peering]}

    def status():
        return ec2.describe_vpc_peering_connections(**named)["VpcPeeringConnections"][0]["Status"]["Code"]

    eventually(lambda: status() == "active", limit_s=SOON_S, what="the peering to be active")
    answer = ec2.modify_vpc_peering_connection_options(
        VpcPeeringConnectionId=peering, RequesterPeeringConnectionOptions={"AllowDnsResolutionFromRemoteVpc": True}
    )
    assert answer["RequesterPeeringConnectionOptions"]["AllowDnsResolutionFromRemoteVpc"]
    far.delete_vpc_peering_connection(VpcPeeringConnectionId=peering)
    assert status() == "deleted"
    again = ec2.create_vpc_peering_connection(VpcId=network["vpc"], PeerVpcId=there, PeerRegion="us-east-1")
    again = again["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    far.reject_vpc_peering_connection(VpcPeeringConnectionId=again)
    far.delete_vpc(VpcId=there)


def test_endpoints_lead_to_services(ec2, network, refused):
    services = ec2.describe_vpc_endpoint_services(ServiceNames=[f"com.amazonaws.{REGION}.s3"])["ServiceDetails"]
    assert {one["ServiceType"][0]["ServiceType"] for one in services} == {"Gateway", "Interface"}
    gateway = ec2.create_vpc_endpoint(VpcId=network["vpc"], ServiceName=f"com.amazonaws.{REGION}.s3")["VpcEndpoint"]
    ec2.modify_vpc_endpoint(VpcEndpointId=gateway["VpcEndpointId"], AddRouteTableIds=[network["table"]])
    (s3,) = ec2.describe_prefix_lists(
        Filters=[{"Name": "prefix-list-name", "Values": [f"com.amazonaws.{REGION}.s3"]}]
    )["PrefixLists"]
    (route,) = [one for one in routes(ec2, network["table"]) if one.get("DestinationPrefixListId")]
    assert (route["DestinationPrefixListId"], route["GatewayId"]) == (s3["PrefixListId"], gateway["VpcEndpointId"])
    interface = ec2.create_vpc_endpoint(
        VpcId=network["vpc"], ServiceName=f"com.amazonaws.{REGION}.ssm", VpcEndpointType="Interface",
        SubnetIds=[network["subnet"]],
    )["VpcEndpoint"]  # fmt: skip
    assert len(interface["NetworkInterfaceIds"]) == 1 and len(interface["DnsEntries"]) == 2
    ids = [gateway["VpcEndpointId"], interface["VpcEndpointId"]]

    def states():
        return {one["State"] for one in ec2.describe_vpc_endpoints(VpcEndpointIds=ids)["VpcEndpoints"]}

    eventually(lambda: states() == {"available"}, limit_s=SOON_S, what="the endpoints to be available")
    assert ec2.delete_vpc_endpoints(VpcEndpointIds=ids)["Unsuccessful"] == []
    with refused("InvalidServiceName", naming="nothing"):
        ec2.create_vpc_endpoint(VpcId=network["vpc"], ServiceName=f"com.amazonaws.{REGION}.nothing")


def test_a_service_of_ones_own_is_offered(ec2, client, network, refused):
    elbv2 = client("elbv2")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    inside = [{"Name": "vpc-id", "Values": [vpc["VpcId"]]}]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets(Filters=inside)["Subnets"]][:2]
    balancer = elbv2.create_load_balancer(Name="behind", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    made = ec2.create_vpc_endpoint_service_configuration(
        NetworkLoadBalancerArns=[balancer], AcceptanceRequired=True
    )["ServiceConfiguration"]
    service = {"ServiceId": made["ServiceId"]}
    ec2.modify_vpc_endpoint_service_permissions(**service, AddAllowedPrincipals=["*"])
    (allowed,) = ec2.describe_vpc_endpoint_service_permissions(**service)["AllowedPrincipals"]
    assert (allowed["Principal"], allowed["PrincipalType"]) == ("*", "All")
    endpoint = ec2.create_vpc_endpoint(
        VpcId=network["vpc"], ServiceName=made["ServiceName"], VpcEndpointType="Interface",
        SubnetIds=[network["subnet"]],
    )["VpcEndpoint"]["VpcEndpointId"]  # fmt: skip
    (connection,) = ec2.describe_vpc_endpoint_connections()["VpcEndpointConnections"]
    assert (connection["VpcEndpointId"], connection["VpcEndpointState"]) == (endpoint, "pendingAcceptance")
    ec2.accept_vpc_endpoint_connections(**service, VpcEndpointIds=[endpoint])
    (left,) = ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[made["ServiceId"]])["Unsuccessful"]
    assert left["Error"]["Code"] == "ExistingVpcEndpointConnections"
    ec2.reject_vpc_endpoint_connections(**service, VpcEndpointIds=[endpoint])
    ec2.delete_vpc_endpoints(VpcEndpointIds=[endpoint])
    ec2.modify_vpc_endpoint_service_configuration(**service, AcceptanceRequired=False)
    (read,) = ec2.describe_vpc_endpoint_service_configurations(ServiceIds=[made["ServiceId"]])["ServiceConfigurations"]
    assert not read["AcceptanceRequired"]

    def gone():
        return ec2.delete_vpc_endpoint_service_configurations(ServiceIds=[made["ServiceId"]])["Unsuccessful"] == []

    eventually(gone, limit_s=SOON_S, what="the service to be deleted")
    elbv2.delete_load_balancer(LoadBalancerArn=balancer)
    with refused("InvalidParameter"):
        ec2.create_vpc_endpoint_service_configuration(NetworkLoadBalancerArns=[balancer])


def test_a_prefix_list_stands_for_its_blocks(ec2, network, refused):
    made = ec2.create_managed_prefix_list(
        PrefixListName="offices", MaxEntries=5, AddressFamily="IPv4", Entries=[{"Cidr": "192.0.2.0/24"}]
    )["PrefixList"]
    list_id = made["PrefixListId"]
    assert ec2.describe_managed_prefix_lists(PrefixListIds=[list_id])["PrefixLists"][0]["State"] == "create-complete"
    changed = ec2.modify_managed_prefix_list(
        PrefixListId=list_id, CurrentVersion=1, AddEntries=[{"Cidr": "198.51.100.0/24", "Description": "other"}],
        RemoveEntries=[{"Cidr": "192.0.2.0/24"}],
    )["PrefixList"]  # fmt: skip
    assert changed["Version"] == 2
    entries = ec2.get_managed_prefix_list_entries(PrefixListId=list_id)["Entries"]
    assert entries == [{"Cidr": "198.51.100.0/24", "Description": "other"}]
    to = {"RouteTableId": network["table"], "DestinationPrefixListId": list_id}
    ec2.create_route(**to, GatewayId=network["gateway"])
    with refused("DependencyViolation", naming=list_id):
        ec2.delete_managed_prefix_list(PrefixListId=list_id)
    ec2.delete_route(**to)
    ec2.delete_managed_prefix_list(PrefixListId=list_id)
    with refused("InvalidPrefixListID.NotFound", naming=list_id):
        ec2.describe_managed_prefix_lists(PrefixListIds=[list_id])


def test_a_vpc_has_further_blocks(ec2, network, refused):
    made = ec2.associate_vpc_cidr_block(VpcId=network["vpc"], CidrBlock="10.7.0.0/16")["CidrBlockAssociation"]
    (read,) = ec2.describe_vpcs(VpcIds=[network["vpc"]])["Vpcs"]
    assert [one["CidrBlock"] for one in read["CidrBlockAssociationSet"]] == ["10.0.0.0/16", "10.7.0.0/16"]
    with refused("CidrConflict", naming="10.7.0.0/24"):
        ec2.associate_vpc_cidr_block(VpcId=network["vpc"], CidrBlock="10.7.0.0/24")
    ec2.disassociate_vpc_cidr_block(AssociationId=made["AssociationId"])


def test_placement_groups_have_names(ec2, refused):
    made = ec2.create_placement_group(GroupName="apart", Strategy="spread")["PlacementGroup"]
    assert (made["State"], made["SpreadLevel"]) == ("available", "rack")
    (read,) = ec2.describe_placement_groups(GroupNames=["apart"])["PlacementGroups"]
    assert read["GroupId"] == made["GroupId"]
    with refused("InvalidPlacementGroup.Duplicate", naming="apart"):
        ec2.create_placement_group(GroupName="apart", Strategy="cluster")
    ec2.delete_placement_group(GroupName="apart")
    with refused("InvalidPlacementGroup.Unknown", naming="apart"):
        ec2.describe_placement_groups(GroupNames=["apart"])


def test_private_gateways_are_attached_and_routed_to(ec2, network):
    made = ec2.create_vpn_gateway(Type="ipsec.1")["VpnGateway"]
    gateway = made["VpnGatewayId"]
    assert made["AmazonSideAsn"] == 64512
    ec2.attach_vpn_gateway(VpnGatewayId=gateway, VpcId=network["vpc"])
    ec2.enable_vgw_route_propagation(GatewayId=gateway, RouteTableId=network["table"])
    (table,) = ec2.describe_route_tables(RouteTableIds=[network["table"]])["RouteTables"]
    assert table["PropagatingVgws"] == [{"GatewayId": gateway}]
    ec2.disable_vgw_route_propagation(GatewayId=gateway, RouteTableId=network["table"])
    ec2.detach_vpn_gateway(VpnGatewayId=gateway, VpcId=network["vpc"])
    ec2.delete_vpn_gateway(VpnGatewayId=gateway)
    (read,) = ec2.describe_vpn_gateways(VpnGatewayIds=[gateway])["VpnGateways"]
    assert read["State"] == "deleted"


def test_egress_only_gateways_are_made_and_deleted(ec2, network):
    made = ec2.create_egress_only_internet_gateway(VpcId=network["vpc"])["EgressOnlyInternetGateway"]
    gateway = made["EgressOnlyInternetGatewayId"]
    (read,) = ec2.describe_egress_only_internet_gateways(EgressOnlyInternetGatewayIds=[gateway])[
        "EgressOnlyInternetGateways"
    ]
    assert read["Attachments"] == [{"State": "attached", "VpcId": network["vpc"]}]
    ec2.delete_egress_only_internet_gateway(EgressOnlyInternetGatewayId=gateway)
