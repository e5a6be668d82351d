//! What connects networks: addresses, NAT gateways, peerings, endpoints, prefix lists; and placement groups.

use serde_json::{Value, json};
use standfast_api::ec2;
use standfast_core::{Result, Scope};

use super::ec2_network::{gone, identified, ready, retag, retag_id, tag_specifications, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State, attributes, values};

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::EC2::EIP",
        replaced: &["Domain", "NetworkBorderGroup", "PublicIpv4Pool"],
        updated: &["InstanceId", "Tags"],
        attributes: &["AllocationId", "PublicIp"],
        create: |job| Box::pin(create_address(job)),
        equip: |job| Box::pin(associate_instance(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeAddresses, "Addresses", "PublicIp")),
        read: |job| Box::pin(read_address(job)),
        update: |job| Box::pin(update_address(job)),
        delete: |job| Box::pin(release_address(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::EIPAssociation",
        replaced: &["AllocationId", "EIP", "InstanceId", "NetworkInterfaceId", "PrivateIpAddress"],
        attributes: &["Id"],
        create: |job| Box::pin(associate_address(job)),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        delete: |job| Box::pin(gone(job, ec2::DisassociateAddress, "AssociationId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::NatGateway",
        required: &["SubnetId"],
        replaced: &["AllocationId", "ConnectivityType", "PrivateIpAddress", "SubnetId"],
        updated: &["MaxDrainDurationSeconds", "Tags"],
        attributes: &["EniId", "NatGatewayId"],
        create: |job| Box::pin(create_nat_gateway(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeNatGateways, "NatGateways", "NatGatewayId")),
        read: |job| Box::pin(read_nat_gateway(job)),
        update: |job| Box::pin(retag(job)),
        delete: |job| Box::pin(delete_nat_gateway(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::VPCPeeringConnection",
        required: &["PeerVpcId", "VpcId"],
        replaced: &["PeerOwnerId", "PeerRegion", "PeerRoleArn", "PeerVpcId", "VpcId"],
        updated: &["Tags"],
        attributes: &["Id"],
        create: |job| Box::pin(create_peering(job)),
        equip: |job| Box::pin(accept_peering(job)),
        find: |job| {
            Box::pin(job.tagged(ec2::DescribeVpcPeeringConnections, "VpcPeeringConnections", "VpcPeeringConnectionId"))
        },
        read: |job| Box::pin(read_peering(job)),
        update: |job| Box::pin(retag(job)),
        delete: |job| Box::pin(delete_peering(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::VPCEndpoint",
        required: &["ServiceName", "VpcId"],
        replaced: &["ServiceName", "VpcEndpointType", "VpcId"],
        updated: &["PolicyDocument", "PrivateDnsEnabled", "RouteTableIds", "SecurityGroupIds", "SubnetIds", "Tags"],
        attributes: &["CreationTimestamp", "DnsEntries", "Id", "NetworkInterfaceIds"],
        volatile: &["DnsEntries", "NetworkInterfaceIds"],
        create: |job| Box::pin(create_endpoint(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeVpcEndpoints, "VpcEndpoints", "VpcEndpointId")),
        read: |job| Box::pin(read_endpoint(job)),
        update: |job| Box::pin(update_endpoint(job)),
        delete: |job| Box::pin(delete_endpoint(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::PrefixList",
        required: &["AddressFamily", "PrefixListName"],
        replaced: &["AddressFamily"],
        updated: &["Entries", "MaxEntries", "PrefixListName", "Tags"],
        attributes: &["Arn", "OwnerId", "PrefixListId", "Version"],
        volatile: &["Version"],
        create: |job| Box::pin(create_prefix_list(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeManagedPrefixLists, "PrefixLists", "PrefixListId")),
        read: |job| Box::pin(read_prefix_list(job)),
        update: |job| Box::pin(update_prefix_list(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteManagedPrefixList, "PrefixListId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::PlacementGroup",
        replaced: &["PartitionCount", "SpreadLevel", "Strategy"],
        updated: &["Tags"],
        attributes: &["GroupName"],
        create: |job| Box::pin(create_placement_group(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribePlacementGroups, "PlacementGroups", "GroupName")),
        read: |job| Box::pin(async { Ok(identified(job, "GroupName")) }),
        update: |job| Box::pin(retag_placement_group(job)),
        delete: |job| Box::pin(delete_placement_group(job)),
        ..BASE
    },
];

/// How long a name may be.
const NAME_LENGTH_MAX: usize = 255;

async fn create_address(job: &Job) -> Result<String> {
    let mut input = job.only(&["NetworkBorderGroup", "PublicIpv4Pool"]);
    input.insert("Domain".into(), "vpc".into());
    input.insert("TagSpecifications".into(), tag_specifications(job, "elastic-ip"));
    said(&job.ask(ec2::AllocateAddress, input.into()).await?, "/PublicIp")
}

async fn associate_instance(job: &Job) -> Result<()> {
    if let Some(instance) = job.text("InstanceId") {
        job.ask(ec2::AssociateAddress, json!({"PublicIp": job.id(), "InstanceId": instance})).await?;
    }
    Ok(())
}

async fn address(job: &Job) -> Result<Option<Value>> {
    job.look(ec2::DescribeAddresses, json!({"PublicIps": [job.id()]}), "Addresses").await
}

async fn read_address(job: &Job) -> Result<State> {
    let found = address(job).await?;
    Ok(found.map_or_else(|| vanished(job), |found| State::Ready(attributes(&found, &["AllocationId", "PublicIp"]))))
}

async fn update_address(job: &Job) -> Result<()> {
    let Some(found) = address(job).await? else { return Ok(()) };
    if job.changes("InstanceId") {
        if let Some(association) = found["AssociationId"].as_str() {
            job.forget(ec2::DisassociateAddress, json!({"AssociationId": association})).await?;
        }
        associate_instance(job).await?;
    }
    retag_id(job, found["AllocationId"].as_str().unwrap_or_default()).await
}

async fn release_address(job: &Job) -> Result<bool> {
    let Some(found) = address(job).await? else { return Ok(true) };
    if let Some(association) = found["AssociationId"].as_str().filter(|_| found["InstanceId"].is_string()) {
        job.forget(ec2::DisassociateAddress, json!({"AssociationId": association})).await?;
    }
    job.forget(ec2::ReleaseAddress, json!({"AllocationId": found["AllocationId"]})).await.map(|_| true)
}

async fn associate_address(job: &Job) -> Result<String> {
    let mut input = job.without(&["EIP"]);
    if let Some(address) = job.text("EIP") {
        input.insert("PublicIp".into(), address.into());
    }
    said(&job.ask(ec2::AssociateAddress, input.into()).await?, "/AssociationId")
}

async fn create_nat_gateway(job: &Job) -> Result<String> {
    let mut input = job.without(&["MaxDrainDurationSeconds", "Tags"]);
    input.insert("ClientToken".into(), job.spec.suffix.clone().into());
    input.insert("TagSpecifications".into(), tag_specifications(job, "natgateway"));
    said(&job.ask(ec2::CreateNatGateway, input.into()).await?, "/NatGateway/NatGatewayId")
}

async fn nat_gateway(job: &Job) -> Result<Option<Value>> {
    job.look(ec2::DescribeNatGateways, json!({"NatGatewayIds": [job.id()]}), "NatGateways").await
}

async fn read_nat_gateway(job: &Job) -> Result<State> {
    let found = nat_gateway(job).await?.unwrap_or_default();
    Ok(match found["State"].as_str() {
        Some("available") => {
            let interface = found.pointer("/NatGatewayAddresses/0/NetworkInterfaceId").cloned().unwrap_or_default();
            ready(json!({"NatGatewayId": job.id(), "EniId": interface}))
        }
        Some("pending") => State::Pending,
        _ => vanished(job),
    })
}

async fn delete_nat_gateway(job: &Job) -> Result<bool> {
    let found = nat_gateway(job).await?.unwrap_or_default();
    match found["State"].as_str() {
        None | Some("deleted") => Ok(true),
        Some("deleting") => Ok(false),
        Some(_) => job.forget(ec2::DeleteNatGateway, json!({"NatGatewayId": job.id()})).await.map(|was| !was),
    }
}

async fn create_peering(job: &Job) -> Result<String> {
    let mut input = job.without(&["PeerRoleArn", "Tags"]);
    input.insert("TagSpecifications".into(), tag_specifications(job, "vpc-peering-connection"));
    let made = job.ask(ec2::CreateVpcPeeringConnection, input.into()).await?;
    said(&made, "/VpcPeeringConnection/VpcPeeringConnectionId")
}

/// Accepts for the other side, where the stack may: in its own account, or with a role of the other one.
async fn accept_peering(job: &Job) -> Result<()> {
    let own = job.cx.scope();
    let account = job.text("PeerOwnerId").unwrap_or_else(|| own.account.to_string());
    let region = job.text("PeerRegion").unwrap_or_else(|| own.region.to_string());
    if account != *own.account && job.get("PeerRoleArn").is_none() {
        return Ok(());
    }
    if peering_status(job).await?.as_deref() != Some("pending-acceptance") {
        return Ok(());
    }
    let input =
        ec2::AcceptVpcPeeringConnectionInput { vpc_peering_connection_id: job.id().to_owned(), ..Default::default() };
    job.cx.at(&Scope::new(&account, &region)).call(ec2::AcceptVpcPeeringConnection, input).await.map(drop)
}

async fn peering_status(job: &Job) -> Result<Option<String>> {
    let ids = json!({"VpcPeeringConnectionIds": [job.id()]});
    let found = job.look(ec2::DescribeVpcPeeringConnections, ids, "VpcPeeringConnections").await?;
    Ok(found.and_then(|found| found["Status"]["Code"].as_str().map(str::to_owned)))
}

async fn read_peering(job: &Job) -> Result<State> {
    Ok(match peering_status(job).await?.as_deref() {
        Some("active") => identified(job, "Id"),
        Some("initiating-request" | "pending-acceptance" | "provisioning") => State::Pending,
        Some(other) => State::Failed(format!("The VPC peering connection is {other}.")),
        None => vanished(job),
    })
}

async fn delete_peering(job: &Job) -> Result<bool> {
    match peering_status(job).await?.as_deref() {
        Some("active" | "pending-acceptance" | "provisioning") => {
            gone(job, ec2::DeleteVpcPeeringConnection, "VpcPeeringConnectionId").await
        }
        _ => Ok(true),
    }
}

async fn create_endpoint(job: &Job) -> Result<String> {
    let mut input = job.without(&["PolicyDocument", "Tags"]);
    if let Some(policy) = job.get("PolicyDocument") {
        input.insert("PolicyDocument".into(), values::document(policy).into());
    }
    input.insert("ClientToken".into(), job.spec.suffix.clone().into());
    input.insert("TagSpecifications".into(), tag_specifications(job, "vpc-endpoint"));
    said(&job.ask(ec2::CreateVpcEndpoint, input.into()).await?, "/VpcEndpoint/VpcEndpointId")
}

async fn endpoint(job: &Job) -> Result<Option<Value>> {
    job.look(ec2::DescribeVpcEndpoints, json!({"VpcEndpointIds": [job.id()]}), "VpcEndpoints").await
}

async fn read_endpoint(job: &Job) -> Result<State> {
    let Some(found) = endpoint(job).await? else { return Ok(vanished(job)) };
    if found["State"] == "pending" {
        return Ok(State::Pending);
    }
    let mut all = attributes(&found, &["CreationTimestamp", "NetworkInterfaceIds"]);
    let entry = |entry: &Value| {
        let part = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        Value::from(format!("{}:{}", part("HostedZoneId"), part("DnsName")))
    };
    all.insert("DnsEntries".into(), found["DnsEntries"].as_array().into_iter().flatten().map(entry).collect());
    all.insert("Id".into(), job.id().into());
    Ok(State::Ready(all))
}

/// What a list property gains and loses in an update.
fn list_changes(job: &Job, property: &str) -> (Vec<Value>, Vec<Value>) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let old = list(job.old.as_ref().and_then(|old| old.evaluated.properties.get(property)));
    let new = list(job.get(property));
    let gained = new.iter().filter(|value| !old.contains(value)).cloned().collect();
    (gained, old.into_iter().filter(|value| !new.contains(value)).collect())
}

async fn update_endpoint(job: &Job) -> Result<()> {
    let mut input = job.only(&["PrivateDnsEnabled"]);
    if !job.changes("PrivateDnsEnabled") {
        input.clear();
    }
    for property in ["RouteTableIds", "SecurityGroupIds", "SubnetIds"] {
        let (add, remove) = list_changes(job, property);
        for (verb, list) in [("Add", add), ("Remove", remove)] {
            if !list.is_empty() {
                input.insert(format!("{verb}{property}"), list.into());
            }
        }
    }
    if job.changes("PolicyDocument") {
        match job.get("PolicyDocument") {
            Some(policy) => input.insert("PolicyDocument".into(), values::document(policy).into()),
            None => input.insert("ResetPolicy".into(), true.into()),
        };
    }
    if !input.is_empty() {
        input.insert("VpcEndpointId".into(), job.id().into());
        job.ask(ec2::ModifyVpcEndpoint, input.into()).await?;
    }
    retag(job).await
}

async fn delete_endpoint(job: &Job) -> Result<bool> {
    if endpoint(job).await?.is_none() {
        return Ok(true);
    }
    job.ask(ec2::DeleteVpcEndpoints, json!({"VpcEndpointIds": [job.id()]})).await?;
    Ok(false)
}

async fn create_prefix_list(job: &Job) -> Result<String> {
    let mut input = job.without(&["MaxEntries", "Tags"]);
    let entries = job.get("Entries").and_then(Value::as_array).map_or(1, Vec::len);
    input.insert("MaxEntries".into(), job.get("MaxEntries").cloned().unwrap_or_else(|| entries.into()));
    input.insert("TagSpecifications".into(), tag_specifications(job, "prefix-list"));
    said(&job.ask(ec2::CreateManagedPrefixList, input.into()).await?, "/PrefixList/PrefixListId")
}

async fn prefix_list(job: &Job) -> Result<Option<Value>> {
    job.look(ec2::DescribeManagedPrefixLists, json!({"PrefixListIds": [job.id()]}), "PrefixLists").await
}

async fn read_prefix_list(job: &Job) -> Result<State> {
    let Some(found) = prefix_list(job).await? else { return Ok(vanished(job)) };
    let mut all = attributes(&found, &["OwnerId", "PrefixListId", "Version"]);
    all.insert("Arn".into(), found["PrefixListArn"].clone());
    Ok(State::Ready(all))
}

async fn update_prefix_list(job: &Job) -> Result<()> {
    let Some(found) = prefix_list(job).await? else { return Ok(()) };
    let mut input = json!({"PrefixListId": job.id()});
    for property in ["MaxEntries", "PrefixListName"] {
        if let Some(value) = job.get(property).filter(|_| job.changes(property)) {
            input[property] = value.clone();
        }
    }
    let (add, remove) = list_changes(job, "Entries");
    // An entry whose description changes is added again, and not removed.
    let stays = |gone: &&Value| !add.iter().any(|entry| entry["Cidr"] == gone["Cidr"]);
    let remove: Vec<Value> = remove.iter().filter(stays).map(|entry| json!({"Cidr": entry["Cidr"]})).collect();
    if !add.is_empty() || !remove.is_empty() {
        input["CurrentVersion"] = found["Version"].clone();
        input["AddEntries"] = add.into();
        input["RemoveEntries"] = remove.into();
    }
    if input.as_object().is_some_and(|input| input.len() > 1) {
        job.ask(ec2::ModifyManagedPrefixList, input).await?;
    }
    retag(job).await
}

async fn create_placement_group(job: &Job) -> Result<String> {
    let name = job.name("GroupName", NAME_LENGTH_MAX);
    let mut input = job.without(&["Tags"]);
    input.insert("GroupName".into(), name.clone().into());
    input.insert("TagSpecifications".into(), tag_specifications(job, "placement-group"));
    job.ask(ec2::CreatePlacementGroup, input.into()).await?;
    Ok(name)
}

async fn retag_placement_group(job: &Job) -> Result<()> {
    let names = json!({"GroupNames": [job.id()]});
    let found = job.look(ec2::DescribePlacementGroups, names, "PlacementGroups").await?.unwrap_or_default();
    retag_id(job, found["GroupId"].as_str().unwrap_or_default()).await
}

async fn delete_placement_group(job: &Job) -> Result<bool> {
    let names = json!({"GroupNames": [job.id()]});
    match job.ask(ec2::DescribePlacementGroups, names).await {
        Err(error) if error.is("InvalidPlacementGroup.Unknown") => Ok(true),
        Err(error) => Err(error),
        Ok(_) => gone(job, ec2::DeletePlacementGroup, "GroupName").await,
    }
}
