//! What connects networks, as a client sees it: public addresses, NAT gateways, routes, peerings, endpoints, prefix lists.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::ec2::MODEL;
use standfast_testkit::TestCloud;

const SOON: Duration = Duration::from_secs(60);

fn text<'a>(json: &'a Json, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {json:#}"))
}

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    match cloud.send(&MODEL, operation, input.clone()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {input}: {error}"),
    }
}

async fn code(cloud: &TestCloud, operation: &str, input: Json) -> String {
    cloud.refused(&MODEL, operation, input).await.code.into_owned()
}

/// A VPC with an internet gateway and a subnet.
struct Site {
    vpc: String,
    subnet: String,
    gateway: String,
    table: String,
}

async fn site(cloud: &TestCloud, cidr: &str) -> Site {
    let vpc = call(cloud, "CreateVpc", json!({"CidrBlock": cidr})).await;
    let vpc = text(&vpc, "/Vpc/VpcId").to_owned();
    let gateway = call(cloud, "CreateInternetGateway", json!({})).await;
    let gateway = text(&gateway, "/InternetGateway/InternetGatewayId").to_owned();
    call(cloud, "AttachInternetGateway", json!({"InternetGatewayId": gateway, "VpcId": vpc})).await;
    let subnet =
        call(cloud, "CreateSubnet", json!({"VpcId": vpc, "CidrBlock": cidr, "AvailabilityZone": "eu-west-1a"}));
    let subnet = text(&subnet.await, "/Subnet/SubnetId").to_owned();
    let table = call(cloud, "CreateRouteTable", json!({"VpcId": vpc})).await;
    Site { vpc, subnet, gateway, table: text(&table, "/RouteTable/RouteTableId").to_owned() }
}

async fn allocate(cloud: &TestCloud) -> (String, String) {
    let address = call(cloud, "AllocateAddress", json!({"Domain": "vpc"})).await;
    (text(&address, "/AllocationId").to_owned(), text(&address, "/PublicIp").to_owned())
}

async fn address(cloud: &TestCloud, allocation: &str) -> Json {
    call(cloud, "DescribeAddresses", json!({"AllocationIds": [allocation]})).await["Addresses"][0].clone()
}

async fn interface(cloud: &TestCloud, subnet: &str) -> String {
    let made = call(cloud, "CreateNetworkInterface", json!({"SubnetId": subnet})).await;
    text(&made, "/NetworkInterface/NetworkInterfaceId").to_owned()
}

async fn launch(cloud: &TestCloud, more: Json) -> String {
    let filters = json!([{"Name": "name", "Values": ["amzn2-ami-hvm-*-x86_64-gp2"]}]);
    let images = call(cloud, "DescribeImages", json!({"Owners": ["amazon"], "Filters": filters})).await;
    let image = text(&images, "/Images/0/ImageId");
    let mut input = json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    text(&call(cloud, "RunInstances", input).await, "/Instances/0/InstanceId").to_owned()
}

async fn described(cloud: &TestCloud, id: &str) -> Json {
    let answer = call(cloud, "DescribeInstances", json!({"InstanceIds": [id]})).await;
    answer["Reservations"][0]["Instances"][0].clone()
}

async fn becomes(cloud: &TestCloud, id: &str, state: &str) -> Json {
    cloud
        .until(&format!("{id} to be {state}"), SOON, || async {
            let instance = described(cloud, id).await;
            (text(&instance, "/State/Name") == state).then_some(instance)
        })
        .await
}

/// The state of the route to a destination.
async fn route_state(cloud: &TestCloud, table: &str, to: &str) -> String {
    let tables = call(cloud, "DescribeRouteTables", json!({"RouteTableIds": [table]})).await;
    let routes = tables["RouteTables"][0]["Routes"].as_array().expect("routes").clone();
    let route = routes.iter().find(|route| route["DestinationCidrBlock"] == to).expect("the route");
    text(route, "/State").to_owned()
}

#[test]
fn an_address_moves_between_interfaces() {
    standfast_testkit::run(1, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let (one, other) = (interface(&cloud, &site.subnet).await, interface(&cloud, &site.subnet).await);
        let (allocation, public) = allocate(&cloud).await;
        let octets: Vec<u8> = public.split('.').map(|octet| octet.parse().expect("an octet")).collect();
        assert!(octets[0] == 127 && octets[1] >= 128 && !matches!(octets[3], 0 | 255), "{public}");
        let to = json!({"AllocationId": allocation, "NetworkInterfaceId": one});
        let association = call(&cloud, "AssociateAddress", to.clone()).await;
        assert_eq!(call(&cloud, "AssociateAddress", to).await, association);
        let shown = address(&cloud, &allocation).await;
        assert_eq!((text(&shown, "/NetworkInterfaceId"), text(&shown, "/PrivateIpAddress")), (&*one, "10.0.0.4"));
        let strict = json!({"AllocationId": allocation, "NetworkInterfaceId": other, "AllowReassociation": false});
        assert_eq!(code(&cloud, "AssociateAddress", strict).await, "Resource.AlreadyAssociated");
        assert_eq!(code(&cloud, "ReleaseAddress", json!({"AllocationId": allocation})).await, "InvalidIPAddress.InUse");
        let moved = json!({"AllocationId": allocation, "NetworkInterfaceId": other});
        let moved = call(&cloud, "AssociateAddress", moved).await;
        assert_ne!(moved, association);
        let interfaces = call(&cloud, "DescribeNetworkInterfaces", json!({"NetworkInterfaceIds": [one, other]})).await;
        let publics: Vec<_> = interfaces["NetworkInterfaces"]
            .as_array()
            .expect("interfaces")
            .iter()
            .filter_map(|interface| interface.pointer("/Association/PublicIp"))
            .collect();
        assert_eq!(publics, [&json!(public)]);
        call(&cloud, "DisassociateAddress", json!({"AssociationId": moved["AssociationId"]})).await;
        call(&cloud, "ReleaseAddress", json!({"AllocationId": allocation})).await;
        let gone = json!({"AllocationIds": [allocation]});
        assert_eq!(code(&cloud, "DescribeAddresses", gone).await, "InvalidAllocationID.NotFound");
    });
}

#[test]
fn an_account_has_five_addresses_in_a_region() {
    standfast_testkit::run(2, |cloud| async move {
        for _ in 0..5 {
            allocate(&cloud).await;
        }
        let error = cloud.refused(&MODEL, "AllocateAddress", json!({})).await;
        assert_eq!(
            (error.code.as_ref(), error.message.as_str()),
            ("AddressLimitExceeded", "The maximum number of addresses has been reached.")
        );
    });
}

#[test]
fn an_address_stays_with_its_instance() {
    standfast_testkit::run(3, |cloud| async move {
        let id = launch(&cloud, json!({})).await;
        let (allocation, public) = allocate(&cloud).await;
        let to = json!({"AllocationId": allocation, "InstanceId": id});
        assert_eq!(code(&cloud, "AssociateAddress", to.clone()).await, "InvalidInstanceID");
        let before = becomes(&cloud, &id, "running").await;
        assert_ne!(text(&before, "/PublicIpAddress"), public);
        call(&cloud, "AssociateAddress", to).await;
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        let stopped = becomes(&cloud, &id, "stopped").await;
        assert_eq!(text(&stopped, "/PublicIpAddress"), public);
        call(&cloud, "StartInstances", json!({"InstanceIds": [id]})).await;
        let running = becomes(&cloud, &id, "running").await;
        assert_eq!(text(&running, "/PublicIpAddress"), public);
        assert_eq!(text(&address(&cloud, &allocation).await, "/InstanceId"), id);
        call(&cloud, "TerminateInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "terminated").await;
        assert_eq!(address(&cloud, &allocation).await["AssociationId"], Json::Null);
    });
}

#[test]
fn an_address_needs_an_internet_gateway() {
    standfast_testkit::run(4, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let detach = json!({"InternetGatewayId": site.gateway, "VpcId": site.vpc});
        call(&cloud, "DetachInternetGateway", detach.clone()).await;
        let one = interface(&cloud, &site.subnet).await;
        let (allocation, _) = allocate(&cloud).await;
        let to = json!({"AllocationId": allocation, "NetworkInterfaceId": one});
        assert_eq!(code(&cloud, "AssociateAddress", to.clone()).await, "Gateway.NotAttached");
        call(&cloud, "AttachInternetGateway", detach.clone()).await;
        call(&cloud, "AssociateAddress", to).await;
        assert_eq!(code(&cloud, "DetachInternetGateway", detach).await, "DependencyViolation");
    });
}

#[test]
fn a_nat_gateway_lives_and_dies() {
    standfast_testkit::run(5, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let (allocation, public) = allocate(&cloud).await;
        let input = json!({"SubnetId": site.subnet, "AllocationId": allocation, "ClientToken": "one"});
        let made = call(&cloud, "CreateNatGateway", input.clone()).await;
        assert_eq!(text(&made, "/NatGateway/State"), "pending");
        let id = text(&made, "/NatGateway/NatGatewayId").to_owned();
        assert_eq!(text(&call(&cloud, "CreateNatGateway", input).await, "/NatGateway/NatGatewayId"), id);
        let state = |state: &'static str| {
            let (cloud, id) = (&cloud, &id);
            cloud.until(state, SOON, move || async move {
                let answer = call(cloud, "DescribeNatGateways", json!({"NatGatewayIds": [id]})).await;
                let gateway = answer["NatGateways"][0].clone();
                (text(&gateway, "/State") == state).then_some(gateway)
            })
        };
        let gateway = state("available").await;
        assert_eq!(text(&gateway, "/NatGatewayAddresses/0/PublicIp"), public);
        let interface = text(&gateway, "/NatGatewayAddresses/0/NetworkInterfaceId").to_owned();
        let eni = call(&cloud, "DescribeNetworkInterfaces", json!({"NetworkInterfaceIds": [interface]})).await;
        assert_eq!(text(&eni, "/NetworkInterfaces/0/Description"), format!("Interface for NAT Gateway {id}"));
        assert_eq!(eni["NetworkInterfaces"][0]["RequesterManaged"], true);
        let delete = json!({"NetworkInterfaceId": interface});
        assert_eq!(code(&cloud, "DeleteNetworkInterface", delete).await, "AuthFailure");
        let disassociate = json!({"PublicIp": public});
        assert_eq!(code(&cloud, "DisassociateAddress", disassociate).await, "AuthFailure");
        let subnet = json!({"SubnetId": site.subnet});
        assert_eq!(code(&cloud, "DeleteSubnet", subnet.clone()).await, "DependencyViolation");
        let route = json!({"RouteTableId": site.table, "DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": id});
        call(&cloud, "CreateRoute", route).await;
        assert_eq!(route_state(&cloud, &site.table, "0.0.0.0/0").await, "active");
        call(&cloud, "DeleteNatGateway", json!({"NatGatewayId": id})).await;
        let gone = state("deleted").await;
        assert!(gone["DeleteTime"].is_string() || gone["DeleteTime"].is_number(), "{gone:#}");
        assert_eq!(route_state(&cloud, &site.table, "0.0.0.0/0").await, "blackhole");
        call(&cloud, "ReleaseAddress", json!({"AllocationId": allocation})).await;
        call(&cloud, "DeleteSubnet", subnet).await;
        cloud.pass(Duration::from_secs(3700)).await;
        assert_eq!(code(&cloud, "DescribeNatGateways", json!({"NatGatewayIds": [id]})).await, "NatGatewayNotFound");
    });
}

#[test]
fn a_route_to_a_stopped_instance_is_a_black_hole() {
    standfast_testkit::run(6, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let id = launch(&cloud, json!({"SubnetId": site.subnet})).await;
        becomes(&cloud, &id, "running").await;
        let to = "192.168.0.0/24";
        let route = json!({"RouteTableId": site.table, "DestinationCidrBlock": to, "InstanceId": id});
        call(&cloud, "CreateRoute", route).await;
        assert_eq!(route_state(&cloud, &site.table, to).await, "active");
        call(&cloud, "StopInstances", json!({"InstanceIds": [id]})).await;
        becomes(&cloud, &id, "stopped").await;
        assert_eq!(route_state(&cloud, &site.table, to).await, "blackhole");
    });
}

#[test]
fn vpcs_are_peered_when_asked_and_answered() {
    standfast_testkit::run(7, |cloud| async move {
        let (a, b) = (site(&cloud, "10.0.0.0/24").await, site(&cloud, "10.1.0.0/24").await);
        let asked = json!({"VpcId": a.vpc, "PeerVpcId": b.vpc});
        let made = call(&cloud, "CreateVpcPeeringConnection", asked.clone()).await;
        assert_eq!(text(&made, "/VpcPeeringConnection/Status/Code"), "initiating-request");
        let id = text(&made, "/VpcPeeringConnection/VpcPeeringConnectionId").to_owned();
        let named = json!({"VpcPeeringConnectionId": id});
        let route =
            json!({"RouteTableId": a.table, "DestinationCidrBlock": "10.1.0.0/24", "VpcPeeringConnectionId": id});
        call(&cloud, "CreateRoute", route).await;
        assert_eq!(route_state(&cloud, &a.table, "10.1.0.0/24").await, "blackhole");
        assert_eq!(code(&cloud, "DeleteVpc", json!({"VpcId": b.vpc})).await, "DependencyViolation");
        call(&cloud, "AcceptVpcPeeringConnection", named.clone()).await;
        cloud
            .until("the peering to be active", SOON, || async {
                let one = json!({"VpcPeeringConnectionIds": [id]});
                let shown = call(&cloud, "DescribeVpcPeeringConnections", one).await;
                (text(&shown, "/VpcPeeringConnections/0/Status/Code") == "active").then_some(())
            })
            .await;
        assert_eq!(route_state(&cloud, &a.table, "10.1.0.0/24").await, "active");
        assert_eq!(code(&cloud, "CreateVpcPeeringConnection", asked).await, "VpcPeeringConnectionAlreadyExists");
        assert_eq!(code(&cloud, "RejectVpcPeeringConnection", named.clone()).await, "InvalidStateTransition");
        call(&cloud, "DeleteVpcPeeringConnection", named.clone()).await;
        assert_eq!(route_state(&cloud, &a.table, "10.1.0.0/24").await, "blackhole");
        cloud.pass(Duration::from_secs(3 * 3600)).await;
        assert_eq!(code(&cloud, "AcceptVpcPeeringConnection", named).await, "InvalidVpcPeeringConnectionID.NotFound");
    });
}

#[test]
fn peerings_of_overlapping_vpcs_fail_and_unanswered_ones_expire() {
    standfast_testkit::run(8, |cloud| async move {
        let (a, b) = (site(&cloud, "10.0.0.0/24").await, site(&cloud, "10.0.0.0/16").await);
        let c = site(&cloud, "10.9.0.0/24").await;
        let status = |id: String| {
            let cloud = &cloud;
            async move {
                let shown = json!({"VpcPeeringConnectionIds": [id]});
                let shown = call(cloud, "DescribeVpcPeeringConnections", shown).await;
                text(&shown, "/VpcPeeringConnections/0/Status/Code").to_owned()
            }
        };
        let made = call(&cloud, "CreateVpcPeeringConnection", json!({"VpcId": a.vpc, "PeerVpcId": b.vpc})).await;
        let overlapping = text(&made, "/VpcPeeringConnection/VpcPeeringConnectionId").to_owned();
        assert_eq!(status(overlapping).await, "failed");
        let made = call(&cloud, "CreateVpcPeeringConnection", json!({"VpcId": a.vpc, "PeerVpcId": c.vpc})).await;
        let waiting = text(&made, "/VpcPeeringConnection/VpcPeeringConnectionId").to_owned();
        assert_eq!(status(waiting.clone()).await, "pending-acceptance");
        cloud.pass(Duration::from_secs(7 * 24 * 3600 + 60)).await;
        assert_eq!(status(waiting).await, "expired");
    });
}

#[test]
fn a_gateway_endpoint_is_a_route_in_its_tables() {
    standfast_testkit::run(9, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let service = "com.amazonaws.eu-west-1.s3";
        let input = json!({"VpcId": site.vpc, "ServiceName": service, "RouteTableIds": [site.table]});
        let made = call(&cloud, "CreateVpcEndpoint", input.clone()).await;
        let id = text(&made, "/VpcEndpoint/VpcEndpointId").to_owned();
        assert_eq!(code(&cloud, "CreateVpcEndpoint", input).await, "RouteAlreadyExists");
        let lists = json!({"Filters": [{"Name": "prefix-list-name", "Values": [service]}]});
        let lists = call(&cloud, "DescribePrefixLists", lists).await;
        let list = text(&lists, "/PrefixLists/0/PrefixListId").to_owned();
        let leads = |tables: &Json| {
            let routes = tables["RouteTables"][0]["Routes"].as_array().expect("routes").clone();
            routes.iter().any(|route| route["DestinationPrefixListId"] == *list && route["GatewayId"] == *id)
        };
        let table = json!({"RouteTableIds": [site.table]});
        assert!(leads(&call(&cloud, "DescribeRouteTables", table.clone()).await));
        let delete = json!({"RouteTableId": site.table, "DestinationPrefixListId": list});
        assert_eq!(code(&cloud, "DeleteRoute", delete).await, "InvalidParameterValue");
        call(&cloud, "DeleteVpcEndpoints", json!({"VpcEndpointIds": [id]})).await;
        assert!(!leads(&call(&cloud, "DescribeRouteTables", table).await));
        cloud.pass(Duration::from_secs(1)).await;
        let gone = json!({"VpcEndpointIds": [id]});
        assert_eq!(code(&cloud, "DescribeVpcEndpoints", gone).await, "InvalidVpcEndpointId.NotFound");
    });
}

#[test]
fn an_interface_endpoint_has_an_interface_in_each_subnet() {
    standfast_testkit::run(10, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let input = json!({"VpcId": site.vpc, "ServiceName": "com.amazonaws.eu-west-1.ssm", "SubnetIds": [site.subnet],
            "VpcEndpointType": "Interface"});
        let made = call(&cloud, "CreateVpcEndpoint", input).await;
        let id = text(&made, "/VpcEndpoint/VpcEndpointId").to_owned();
        let interface = text(&made, "/VpcEndpoint/NetworkInterfaceIds/0").to_owned();
        let shown = call(&cloud, "DescribeNetworkInterfaces", json!({"NetworkInterfaceIds": [interface]})).await;
        assert_eq!(text(&shown, "/NetworkInterfaces/0/InterfaceType"), "vpc_endpoint");
        assert_eq!(text(&shown, "/NetworkInterfaces/0/Status"), "in-use");
        assert_eq!(code(&cloud, "DeleteSubnet", json!({"SubnetId": site.subnet})).await, "DependencyViolation");
        call(&cloud, "ModifyVpcEndpoint", json!({"VpcEndpointId": id, "RemoveSubnetIds": [site.subnet]})).await;
        call(&cloud, "DeleteSubnet", json!({"SubnetId": site.subnet})).await;
        let unknown = json!({"VpcId": site.vpc, "ServiceName": "com.amazonaws.eu-west-1.nothing"});
        assert_eq!(code(&cloud, "CreateVpcEndpoint", unknown).await, "InvalidServiceName");
    });
}

#[test]
fn a_prefix_list_has_versions_and_keeps_those_who_need_it() {
    standfast_testkit::run(11, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let input = json!({"PrefixListName": "offices", "MaxEntries": 2, "AddressFamily": "IPv4",
            "Entries": [{"Cidr": "192.0.2.0/24", "Description": "one"}]});
        let made = call(&cloud, "CreateManagedPrefixList", input).await;
        let id = text(&made, "/PrefixList/PrefixListId").to_owned();
        let add = |cidr: &str, version: i64| json!({"PrefixListId": id, "CurrentVersion": version, "AddEntries": [{"Cidr": cidr}]});
        assert_eq!(
            code(&cloud, "ModifyManagedPrefixList", add("198.51.100.0/24", 7)).await,
            "PrefixListVersionMismatch"
        );
        let changed = call(&cloud, "ModifyManagedPrefixList", add("198.51.100.0/24", 1)).await;
        assert_eq!(changed["PrefixList"]["Version"], 2);
        assert_eq!(
            code(&cloud, "ModifyManagedPrefixList", add("203.0.113.0/24", 2)).await,
            "PrefixListMaxEntriesExceeded"
        );
        let first = json!({"PrefixListId": id, "TargetVersion": 1});
        let first = call(&cloud, "GetManagedPrefixListEntries", first).await;
        assert_eq!(first["Entries"], json!([{"Cidr": "192.0.2.0/24", "Description": "one"}]));
        let group = json!({"GroupName": "g", "Description": "g", "VpcId": site.vpc});
        let group = call(&cloud, "CreateSecurityGroup", group).await;
        let group = text(&group, "/GroupId").to_owned();
        let rule = |list: &str| {
            json!({"GroupId": group, "IpPermissions":
                [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "PrefixListIds": [{"PrefixListId": list}]}]})
        };
        let absent = rule("pl-0123456789abcdef0");
        assert_eq!(code(&cloud, "AuthorizeSecurityGroupIngress", absent).await, "InvalidPrefixListID.NotFound");
        call(&cloud, "AuthorizeSecurityGroupIngress", rule(&id)).await;
        let delete = json!({"PrefixListId": id});
        assert_eq!(code(&cloud, "DeleteManagedPrefixList", delete.clone()).await, "DependencyViolation");
        call(&cloud, "DeleteSecurityGroup", json!({"GroupId": group})).await;
        call(&cloud, "DeleteManagedPrefixList", delete).await;
    });
}

#[test]
fn a_vpc_has_further_blocks() {
    standfast_testkit::run(12, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let block = |cidr: &str| json!({"VpcId": site.vpc, "CidrBlock": cidr});
        assert_eq!(code(&cloud, "AssociateVpcCidrBlock", block("10.0.0.0/16")).await, "CidrConflict");
        assert_eq!(code(&cloud, "CreateSubnet", block("10.5.0.0/24")).await, "InvalidSubnet.Range");
        let made = call(&cloud, "AssociateVpcCidrBlock", block("10.5.0.0/16")).await;
        assert_eq!(route_state(&cloud, &site.table, "10.5.0.0/16").await, "active");
        let subnet = call(&cloud, "CreateSubnet", block("10.5.0.0/24")).await;
        let association = json!({"AssociationId": text(&made, "/CidrBlockAssociation/AssociationId")});
        assert_eq!(code(&cloud, "DisassociateVpcCidrBlock", association.clone()).await, "DependencyViolation");
        call(&cloud, "DeleteSubnet", json!({"SubnetId": text(&subnet, "/Subnet/SubnetId")})).await;
        call(&cloud, "DisassociateVpcCidrBlock", association).await;
        assert_eq!(code(&cloud, "CreateSubnet", block("10.5.0.0/24")).await, "InvalidSubnet.Range");
    });
}

#[test]
fn a_spread_group_has_seven_instances_in_a_zone() {
    standfast_testkit::run(13, |cloud| async move {
        call(&cloud, "CreatePlacementGroup", json!({"GroupName": "apart", "Strategy": "spread"})).await;
        let placement = |name: &str| json!({"GroupName": name, "AvailabilityZone": "eu-west-1a"});
        launch(&cloud, json!({"MinCount": 7, "MaxCount": 7, "Placement": placement("apart")})).await;
        let filters = json!([{"Name": "name", "Values": ["amzn2-ami-hvm-*-x86_64-gp2"]}]);
        let images = call(&cloud, "DescribeImages", json!({"Owners": ["amazon"], "Filters": filters})).await;
        let one = |name: &str| {
            json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": text(&images, "/Images/0/ImageId"),
                "Placement": placement(name)})
        };
        assert_eq!(code(&cloud, "RunInstances", one("apart")).await, "InsufficientInstanceCapacity");
        assert_eq!(code(&cloud, "RunInstances", one("unknown")).await, "InvalidPlacementGroup.Unknown");
        let delete = json!({"GroupName": "apart"});
        assert_eq!(code(&cloud, "DeletePlacementGroup", delete).await, "InvalidPlacementGroup.InUse");
    });
}

#[test]
fn a_virtual_private_gateway_is_attached_and_propagates() {
    standfast_testkit::run(14, |cloud| async move {
        let site = site(&cloud, "10.0.0.0/24").await;
        let made = call(&cloud, "CreateVpnGateway", json!({"Type": "ipsec.1"})).await;
        let id = text(&made, "/VpnGateway/VpnGatewayId").to_owned();
        let propagation = json!({"RouteTableId": site.table, "GatewayId": id});
        assert_eq!(code(&cloud, "EnableVgwRoutePropagation", propagation.clone()).await, "Gateway.NotAttached");
        let attachment = json!({"VpnGatewayId": id, "VpcId": site.vpc});
        call(&cloud, "AttachVpnGateway", attachment.clone()).await;
        call(&cloud, "EnableVgwRoutePropagation", propagation).await;
        assert_eq!(code(&cloud, "DeleteVpnGateway", json!({"VpnGatewayId": id})).await, "IncorrectState");
        call(&cloud, "DetachVpnGateway", attachment).await;
        call(&cloud, "DeleteVpnGateway", json!({"VpnGatewayId": id})).await;
        let shown = call(&cloud, "DescribeVpnGateways", json!({"VpnGatewayIds": [id]})).await;
        assert_eq!(text(&shown, "/VpnGateways/0/State"), "deleted");
    });
}
