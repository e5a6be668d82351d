//! Networks: VPCs, subnets, gateways, routes.

use serde_json::{Map, Value, json};
use standfast_api::ec2;
use standfast_core::Result;

use super::job::{Job, as_list, said};
use super::{BASE, ResourceType, State, attributes, values};
use crate::cloudformation::errors;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::EC2::VPC",
        replaced: &["CidrBlock", "Ipv4IpamPoolId", "Ipv4NetmaskLength"],
        updated: &["EnableDnsHostnames", "EnableDnsSupport", "InstanceTenancy", "Tags"],
        attributes: &["CidrBlock", "CidrBlockAssociations", "DefaultNetworkAcl", "DefaultSecurityGroup", "VpcId"],
        create: |job| Box::pin(create_vpc(job)),
        equip: |job| Box::pin(vpc_attributes(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeVpcs, "Vpcs", "VpcId")),
        read: |job| Box::pin(read_vpc(job)),
        update: |job| Box::pin(update_vpc(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteVpc, "VpcId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::InternetGateway",
        updated: &["Tags"],
        attributes: &["InternetGatewayId"],
        create: |job| Box::pin(create_internet_gateway(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeInternetGateways, "InternetGateways", "InternetGatewayId")),
        read: |job| Box::pin(async { Ok(identified(job, "InternetGatewayId")) }),
        update: |job| Box::pin(retag(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteInternetGateway, "InternetGatewayId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::VPCGatewayAttachment",
        required: &["VpcId"],
        replaced: &["VpcId"],
        updated: &["InternetGatewayId", "VpnGatewayId"],
        attributes: &["AttachmentType"],
        create: |job| Box::pin(attach(job)),
        read: |_| Box::pin(async { Ok(ready(json!({"AttachmentType": "IGW"}))) }),
        update: |job| Box::pin(reattach(job)),
        delete: |job| Box::pin(detach(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::Subnet",
        required: &["VpcId"],
        replaced: &["AvailabilityZone", "AvailabilityZoneId", "CidrBlock", "Ipv6Native", "VpcId"],
        updated: &["AssignIpv6AddressOnCreation", "Ipv6CidrBlock", "MapPublicIpOnLaunch", "Tags"],
        attributes: &["AvailabilityZone", "AvailabilityZoneId", "CidrBlock", "SubnetId", "VpcId"],
        create: |job| Box::pin(create_subnet(job)),
        equip: |job| Box::pin(subnet_attributes(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeSubnets, "Subnets", "SubnetId")),
        read: |job| Box::pin(read_subnet(job)),
        update: |job| Box::pin(update_subnet(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteSubnet, "SubnetId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::RouteTable",
        required: &["VpcId"],
        replaced: &["VpcId"],
        updated: &["Tags"],
        attributes: &["RouteTableId"],
        create: |job| Box::pin(create_route_table(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeRouteTables, "RouteTables", "RouteTableId")),
        read: |job| Box::pin(async { Ok(identified(job, "RouteTableId")) }),
        update: |job| Box::pin(retag(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteRouteTable, "RouteTableId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::Route",
        required: &["RouteTableId"],
        replaced: &["DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId", "RouteTableId"],
        updated: ROUTE_TARGETS,
        attributes: &["CidrBlock"],
        create: |job| Box::pin(create_route(job)),
        read: |job| Box::pin(async { Ok(ready(json!({"CidrBlock": destination(job)}))) }),
        update: |job| Box::pin(replace_route(job)),
        delete: |job| Box::pin(delete_route(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::SubnetRouteTableAssociation",
        required: &["RouteTableId", "SubnetId"],
        replaced: &["RouteTableId", "SubnetId"],
        attributes: &["Id"],
        create: |job| Box::pin(associate(job)),
        find: |job| Box::pin(association(job)),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        delete: |job| Box::pin(gone(job, ec2::DisassociateRouteTable, "AssociationId")),
        ..BASE
    },
];

const ROUTE_TARGETS: &[&str] = &[
    "CarrierGatewayId",
    "EgressOnlyInternetGatewayId",
    "GatewayId",
    "InstanceId",
    "NatGatewayId",
    "NetworkInterfaceId",
    "TransitGatewayId",
    "VpcEndpointId",
    "VpcPeeringConnectionId",
];

/// Tags for an operation of ec2 that makes something.
pub fn tag_specifications(job: &Job, resource_type: &str) -> Value {
    json!([{"ResourceType": resource_type, "Tags": job.tag_list()}])
}

/// Brings the tags of something of ec2 up to date.
pub async fn retag(job: &Job) -> Result<()> {
    retag_id(job, job.id()).await
}

pub async fn retag_id(job: &Job, id: &str) -> Result<()> {
    let (set, gone) = job.tag_changes();
    if !gone.is_empty() {
        let gone: Vec<Value> = gone.into_iter().map(|key| json!({"Key": key})).collect();
        job.ask(ec2::DeleteTags, json!({"Resources": [id], "Tags": gone})).await?;
    }
    if !set.is_empty() {
        job.ask(ec2::CreateTags, json!({"Resources": [id], "Tags": as_list(set)})).await?;
    }
    Ok(())
}

/// Deletes by an operation that takes the physical id and is done when it answers.
pub async fn gone<O: standfast_wire::Operation>(job: &Job, operation: O, member: &str) -> Result<bool> {
    job.forget(operation, json!({member: job.id()})).await.map(|_| true)
}

pub fn ready(attributes: Value) -> State {
    match attributes {
        Value::Object(attributes) => State::Ready(attributes),
        _ => State::Ready(Map::new()),
    }
}

/// Ready, with the physical id as its attribute.
pub fn identified(job: &Job, attribute: &str) -> State {
    ready(json!({attribute: job.id()}))
}

/// Why something that should be there is not.
pub fn vanished(job: &Job) -> State {
    State::Failed(format!(
        "Resource of type '{}' with identifier '{}' was not found.",
        job.spec.evaluated.kind,
        job.id()
    ))
}

async fn create_vpc(job: &Job) -> Result<String> {
    let mut input = job.only(&["CidrBlock", "InstanceTenancy", "Ipv4IpamPoolId", "Ipv4NetmaskLength"]);
    input.insert("TagSpecifications".into(), tag_specifications(job, "vpc"));
    said(&job.ask(ec2::CreateVpc, input.into()).await?, "/Vpc/VpcId")
}

/// The VPC's switches, each of which has an operation of its own.
async fn vpc_attributes(job: &Job) -> Result<()> {
    for property in ["EnableDnsSupport", "EnableDnsHostnames"] {
        if job.changes(property) {
            let on = values::is_true(job.get(property)).unwrap_or(property == "EnableDnsSupport");
            job.ask(ec2::ModifyVpcAttribute, json!({"VpcId": job.id(), property: {"Value": on}})).await?;
        }
    }
    Ok(())
}

async fn update_vpc(job: &Job) -> Result<()> {
    vpc_attributes(job).await?;
    retag(job).await
}

async fn read_vpc(job: &Job) -> Result<State> {
    let Some(vpc) = job.look(ec2::DescribeVpcs, json!({"VpcIds": [job.id()]}), "Vpcs").await? else {
        return Ok(vanished(job));
    };
    if vpc["State"] == "pending" {
        return Ok(State::Pending);
    }
    let mut found = attributes(&vpc, &["CidrBlock", "VpcId"]);
    let blocks = vpc["CidrBlockAssociationSet"].as_array().into_iter().flatten();
    found.insert("CidrBlockAssociations".into(), blocks.map(|block| block["AssociationId"].clone()).collect());
    let of_vpc = |extra: Value| json!({"Filters": [{"Name": "vpc-id", "Values": [job.id()]}, extra]});
    let by_name = of_vpc(json!({"Name": "group-name", "Values": ["default"]}));
    if let Some(group) = job.look(ec2::DescribeSecurityGroups, by_name, "SecurityGroups").await? {
        found.insert("DefaultSecurityGroup".into(), group["GroupId"].clone());
    }
    // Few templates ask for the network ACL: its absence is found by those that do.
    let by_default = of_vpc(json!({"Name": "default", "Values": ["true"]}));
    if let Ok(Some(acl)) = job.look(ec2::DescribeNetworkAcls, by_default, "NetworkAcls").await {
        found.insert("DefaultNetworkAcl".into(), acl["NetworkAclId"].clone());
    }
    Ok(State::Ready(found))
}

async fn create_internet_gateway(job: &Job) -> Result<String> {
    let input = json!({"TagSpecifications": tag_specifications(job, "internet-gateway")});
    said(&job.ask(ec2::CreateInternetGateway, input).await?, "/InternetGateway/InternetGatewayId")
}

async fn attach(job: &Job) -> Result<String> {
    if job.get("VpnGatewayId").is_some() {
        return Err(errors::property("VpnGatewayId is not supported by Standfast."));
    }
    let vpc = job.need("VpcId")?;
    let input = json!({"InternetGatewayId": job.need("InternetGatewayId")?, "VpcId": vpc});
    match job.ask(ec2::AttachInternetGateway, input).await {
        Err(error) if !(job.again && error.is("Resource.AlreadyAssociated")) => Err(error),
        _ => Ok(format!("IGW|{vpc}")),
    }
}

async fn detach(job: &Job) -> Result<bool> {
    let input = json!({"InternetGatewayId": job.need("InternetGatewayId")?, "VpcId": job.need("VpcId")?});
    job.forget(ec2::DetachInternetGateway, input).await.map(|_| true)
}

async fn reattach(job: &Job) -> Result<()> {
    let old = job.old.as_ref().and_then(|old| old.evaluated.properties.get("InternetGatewayId"));
    if let Some(old) = old.filter(|_| job.changes("InternetGatewayId")) {
        job.forget(ec2::DetachInternetGateway, json!({"InternetGatewayId": old, "VpcId": job.need("VpcId")?})).await?;
        attach(job).await?;
    }
    Ok(())
}

async fn create_subnet(job: &Job) -> Result<String> {
    let mut input = job.without(&["AssignIpv6AddressOnCreation", "MapPublicIpOnLaunch", "Tags"]);
    input.insert("TagSpecifications".into(), tag_specifications(job, "subnet"));
    said(&job.ask(ec2::CreateSubnet, input.into()).await?, "/Subnet/SubnetId")
}

async fn subnet_attributes(job: &Job) -> Result<()> {
    for property in ["AssignIpv6AddressOnCreation", "MapPublicIpOnLaunch"] {
        if job.changes(property) {
            let on = values::is_true(job.get(property)).unwrap_or(false);
            job.ask(ec2::ModifySubnetAttribute, json!({"SubnetId": job.id(), property: {"Value": on}})).await?;
        }
    }
    Ok(())
}

async fn update_subnet(job: &Job) -> Result<()> {
    subnet_attributes(job).await?;
    retag(job).await
}

async fn read_subnet(job: &Job) -> Result<State> {
    let Some(subnet) = job.look(ec2::DescribeSubnets, json!({"SubnetIds": [job.id()]}), "Subnets").await? else {
        return Ok(vanished(job));
    };
    if subnet["State"] == "pending" {
        return Ok(State::Pending);
    }
    let names = ["AvailabilityZone", "AvailabilityZoneId", "CidrBlock", "SubnetId", "VpcId"];
    Ok(State::Ready(attributes(&subnet, &names)))
}

async fn create_route_table(job: &Job) -> Result<String> {
    let input = json!({"VpcId": job.need("VpcId")?, "TagSpecifications": tag_specifications(job, "route-table")});
    said(&job.ask(ec2::CreateRouteTable, input).await?, "/RouteTable/RouteTableId")
}

fn destination(job: &Job) -> String {
    let others = || job.text("DestinationIpv6CidrBlock").or_else(|| job.text("DestinationPrefixListId"));
    job.text("DestinationCidrBlock").or_else(others).unwrap_or_default()
}

async fn create_route(job: &Job) -> Result<String> {
    match job.ask(ec2::CreateRoute, job.properties().clone().into()).await {
        Err(error) if !(job.again && error.is("RouteAlreadyExists")) => Err(error),
        _ => Ok(format!("{}|{}", job.need("RouteTableId")?, destination(job))),
    }
}

async fn replace_route(job: &Job) -> Result<()> {
    job.ask(ec2::ReplaceRoute, job.properties().clone().into()).await.map(drop)
}

async fn delete_route(job: &Job) -> Result<bool> {
    let input =
        job.only(&["RouteTableId", "DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId"]);
    job.forget(ec2::DeleteRoute, input.into()).await.map(|_| true)
}

async fn associate(job: &Job) -> Result<String> {
    let input = json!({"RouteTableId": job.need("RouteTableId")?, "SubnetId": job.need("SubnetId")?});
    said(&job.ask(ec2::AssociateRouteTable, input).await?, "/AssociationId")
}

/// The association of the subnet with the route table, if an earlier attempt made it.
async fn association(job: &Job) -> Result<Option<String>> {
    let tables = json!({"RouteTableIds": [job.need("RouteTableId")?]});
    let table = job.look(ec2::DescribeRouteTables, tables, "RouteTables").await?.unwrap_or_default();
    let subnet = job.need("SubnetId")?;
    let mut all = table["Associations"].as_array().into_iter().flatten();
    let found = all.find(|association| association["SubnetId"] == subnet.as_str());
    Ok(found.and_then(|association| association["RouteTableAssociationId"].as_str()).map(str::to_owned))
}
