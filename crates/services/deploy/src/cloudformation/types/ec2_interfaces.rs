//! Network interfaces and network ACLs.

use serde_json::{Value, json};
use standfast_api::ec2;
use standfast_core::Result;

use super::ec2_network::{gone, identified, retag, tag_specifications, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State, attributes, values};

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::EC2::NetworkInterface",
        required: &["SubnetId"],
        replaced: &["InterfaceType", "PrivateIpAddress", "PrivateIpAddresses", "SubnetId"],
        updated: &["Description", "GroupSet", "SecondaryPrivateIpAddressCount", "SourceDestCheck", "Tags"],
        attributes: &["Id", "PrimaryPrivateIpAddress", "SecondaryPrivateIpAddresses", "VpcId"],
        volatile: &["SecondaryPrivateIpAddresses"],
        create: |job| Box::pin(create_interface(job)),
        equip: |job| Box::pin(interface_attributes(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeNetworkInterfaces, "NetworkInterfaces", "NetworkInterfaceId")),
        read: |job| Box::pin(read_interface(job)),
        update: |job| Box::pin(update_interface(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteNetworkInterface, "NetworkInterfaceId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::NetworkInterfaceAttachment",
        required: &["DeviceIndex", "InstanceId", "NetworkInterfaceId"],
        replaced: &["DeviceIndex", "InstanceId", "NetworkInterfaceId"],
        updated: &["DeleteOnTermination"],
        attributes: &["AttachmentId"],
        create: |job| Box::pin(attach(job)),
        equip: |job| Box::pin(attachment_attributes(job)),
        find: |job| Box::pin(attachment(job)),
        read: |job| Box::pin(async { Ok(identified(job, "AttachmentId")) }),
        update: |job| Box::pin(attachment_attributes(job)),
        delete: |job| Box::pin(detach(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::NetworkAcl",
        required: &["VpcId"],
        replaced: &["VpcId"],
        updated: &["Tags"],
        attributes: &["Id"],
        create: |job| Box::pin(create_acl(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeNetworkAcls, "NetworkAcls", "NetworkAclId")),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        update: |job| Box::pin(retag(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteNetworkAcl, "NetworkAclId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::NetworkAclEntry",
        required: &["NetworkAclId", "Protocol", "RuleAction", "RuleNumber"],
        replaced: &["Egress", "NetworkAclId", "RuleNumber"],
        updated: &["CidrBlock", "Icmp", "Ipv6CidrBlock", "PortRange", "Protocol", "RuleAction"],
        attributes: &["Id"],
        create: |job| Box::pin(create_entry(job)),
        read: |job| Box::pin(async { Ok(identified(job, "Id")) }),
        update: |job| Box::pin(async { job.ask(ec2::ReplaceNetworkAclEntry, entry(job)).await.map(drop) }),
        delete: |job| Box::pin(delete_entry(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::SubnetNetworkAclAssociation",
        required: &["NetworkAclId", "SubnetId"],
        replaced: &["NetworkAclId", "SubnetId"],
        attributes: &["AssociationId"],
        create: |job| Box::pin(associate_acl(job)),
        read: |job| Box::pin(async { Ok(identified(job, "AssociationId")) }),
        delete: |job| Box::pin(associate_default_acl(job)),
        ..BASE
    },
];

async fn create_interface(job: &Job) -> Result<String> {
    let mut input = job.without(&["GroupSet", "SourceDestCheck", "Tags"]);
    if let Some(groups) = job.get("GroupSet") {
        input.insert("Groups".into(), groups.clone());
    }
    input.insert("TagSpecifications".into(), tag_specifications(job, "network-interface"));
    said(&job.ask(ec2::CreateNetworkInterface, input.into()).await?, "/NetworkInterface/NetworkInterfaceId")
}

/// What of an interface is changed one attribute at a time.
async fn interface_attributes(job: &Job) -> Result<()> {
    if job.changes("SourceDestCheck") {
        let check = values::is_true(job.get("SourceDestCheck")).unwrap_or(true);
        modify(job, json!({"SourceDestCheck": {"Value": check}})).await?;
    }
    Ok(())
}

async fn modify(job: &Job, mut change: Value) -> Result<()> {
    change["NetworkInterfaceId"] = job.id().into();
    job.ask(ec2::ModifyNetworkInterfaceAttribute, change).await.map(drop)
}

async fn update_interface(job: &Job) -> Result<()> {
    interface_attributes(job).await?;
    if job.changes("Description") {
        modify(job, json!({"Description": {"Value": job.text("Description").unwrap_or_default()}})).await?;
    }
    if let Some(groups) = job.get("GroupSet").filter(|_| job.changes("GroupSet")) {
        modify(job, json!({"Groups": groups})).await?;
    }
    retag(job).await
}

async fn interface(job: &Job, id: &str) -> Result<Option<Value>> {
    job.look(ec2::DescribeNetworkInterfaces, json!({"NetworkInterfaceIds": [id]}), "NetworkInterfaces").await
}

async fn read_interface(job: &Job) -> Result<State> {
    let Some(found) = interface(job, job.id()).await? else { return Ok(vanished(job)) };
    let mut all = attributes(&found, &["VpcId"]);
    let addresses = found["PrivateIpAddresses"].as_array().into_iter().flatten();
    let secondary = addresses.filter(|address| address["Primary"] != true);
    all.insert("Id".into(), job.id().into());
    all.insert("PrimaryPrivateIpAddress".into(), found["PrivateIpAddress"].clone());
    all.insert(
        "SecondaryPrivateIpAddresses".into(),
        secondary.map(|address| address["PrivateIpAddress"].clone()).collect(),
    );
    Ok(State::Ready(all))
}

async fn attach(job: &Job) -> Result<String> {
    let input = job.without(&["DeleteOnTermination"]);
    said(&job.ask(ec2::AttachNetworkInterface, input.into()).await?, "/AttachmentId")
}

async fn attachment(job: &Job) -> Result<Option<String>> {
    let found = interface(job, &job.need("NetworkInterfaceId")?).await?.unwrap_or_default();
    let attached = &found["Attachment"];
    let here = attached["InstanceId"] == job.need("InstanceId")?.as_str();
    Ok(attached["AttachmentId"].as_str().filter(|_| here).map(str::to_owned))
}

async fn attachment_attributes(job: &Job) -> Result<()> {
    let delete = values::is_true(job.get("DeleteOnTermination")).unwrap_or(true);
    let change = json!({"NetworkInterfaceId": job.need("NetworkInterfaceId")?,
        "Attachment": {"AttachmentId": job.id(), "DeleteOnTermination": delete}});
    job.ask(ec2::ModifyNetworkInterfaceAttribute, change).await.map(drop)
}

async fn detach(job: &Job) -> Result<bool> {
    if attachment(job).await?.as_deref() != Some(job.id()) {
        return Ok(true);
    }
    job.forget(ec2::DetachNetworkInterface, json!({"AttachmentId": job.id()})).await.map(|was| !was)
}

async fn create_acl(job: &Job) -> Result<String> {
    let input = json!({"VpcId": job.need("VpcId")?, "TagSpecifications": tag_specifications(job, "network-acl")});
    said(&job.ask(ec2::CreateNetworkAcl, input).await?, "/NetworkAcl/NetworkAclId")
}

/// An entry as its operations take it.
fn entry(job: &Job) -> Value {
    let mut input = job.without(&["Egress", "Icmp"]);
    input.insert("Egress".into(), values::is_true(job.get("Egress")).unwrap_or(false).into());
    if let Some(icmp) = job.get("Icmp") {
        input.insert("IcmpTypeCode".into(), icmp.clone());
    }
    input.into()
}

async fn create_entry(job: &Job) -> Result<String> {
    match job.ask(ec2::CreateNetworkAclEntry, entry(job)).await {
        Err(error) if !(job.again && error.is("NetworkAclEntryAlreadyExists")) => Err(error),
        _ => {
            let direction = if values::is_true(job.get("Egress")) == Some(true) { "egress" } else { "ingress" };
            Ok(format!("{}|{}|{direction}", job.need("NetworkAclId")?, job.need("RuleNumber")?))
        }
    }
}

async fn delete_entry(job: &Job) -> Result<bool> {
    let egress = values::is_true(job.get("Egress")).unwrap_or(false);
    let mut input = job.only(&["NetworkAclId", "RuleNumber"]);
    input.insert("Egress".into(), egress.into());
    job.forget(ec2::DeleteNetworkAclEntry, input.into()).await.map(|_| true)
}

/// The ACL that a subnet has now, and the association.
async fn current_acl(job: &Job) -> Result<Option<(Value, String)>> {
    let subnet = job.need("SubnetId")?;
    let filter = json!({"Filters": [{"Name": "association.subnet-id", "Values": [subnet]}]});
    let Some(acl) = job.look(ec2::DescribeNetworkAcls, filter, "NetworkAcls").await? else { return Ok(None) };
    let mut all = acl["Associations"].as_array().into_iter().flatten();
    let association = all.find(|one| one["SubnetId"] == subnet.as_str()).cloned().unwrap_or_default();
    let id = association["NetworkAclAssociationId"].as_str().map(str::to_owned);
    Ok(id.map(|id| (acl, id)))
}

async fn associate_acl(job: &Job) -> Result<String> {
    let wanted = job.need("NetworkAclId")?;
    let Some((acl, association)) = current_acl(job).await? else {
        return Err(crate::cloudformation::errors::property("The subnet does not exist."));
    };
    if acl["NetworkAclId"] == wanted.as_str() {
        return Ok(association);
    }
    let input = json!({"AssociationId": association, "NetworkAclId": wanted});
    said(&job.ask(ec2::ReplaceNetworkAclAssociation, input).await?, "/NewAssociationId")
}

/// A subnet always has an ACL: without this one it has its VPC's default again.
async fn associate_default_acl(job: &Job) -> Result<bool> {
    let Some((acl, association)) = current_acl(job).await? else { return Ok(true) };
    if acl["NetworkAclId"] != job.need("NetworkAclId")?.as_str() {
        return Ok(true);
    }
    let of_vpc = json!({"Filters": [{"Name": "vpc-id", "Values": [acl["VpcId"]]},
        {"Name": "default", "Values": ["true"]}]});
    let default = job.look(ec2::DescribeNetworkAcls, of_vpc, "NetworkAcls").await?.unwrap_or_default();
    let input = json!({"AssociationId": association, "NetworkAclId": default["NetworkAclId"]});
    job.forget(ec2::ReplaceNetworkAclAssociation, input).await.map(|_| true)
}
