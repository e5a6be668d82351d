//! EC2's error codes and messages, and the reading of ids.
//!
//! Invariant: an id of the wrong form is `.Malformed`, one of nothing that exists is `.NotFound`; clients wait for and
//! act on these codes to the letter.

use std::sync::Arc;

use standfast_core::id::{self, Id, Kind};
use standfast_core::{Error, Result, Scope};
use standfast_store::{Record, View};

/// A kind of EC2 resource: how errors speak of it.
pub trait Resource: Kind + Sized {
    const NOT_FOUND: &'static str;
    const MALFORMED: &'static str;
    /// What stands before the id in a message: `vpc ID`.
    const NOUN: &'static str;
}

macro_rules! resources {
    ($($kind:ident $not_found:literal $malformed:literal $noun:literal;)*) => {$(
        impl Resource for id::$kind {
            const NOT_FOUND: &'static str = $not_found;
            const MALFORMED: &'static str = $malformed;
            const NOUN: &'static str = $noun;
        }
    )*};
}

resources! {
    Vpc "InvalidVpcID.NotFound" "InvalidVpcID.Malformed" "vpc ID";
    Subnet "InvalidSubnetID.NotFound" "InvalidSubnetID.Malformed" "subnet ID";
    InternetGateway "InvalidInternetGatewayID.NotFound" "InvalidInternetGatewayId.Malformed" "internetGateway ID";
    RouteTable "InvalidRouteTableID.NotFound" "InvalidRouteTableId.Malformed" "routeTable ID";
    RouteTableAssociation "InvalidAssociationID.NotFound" "InvalidAssociationID.Malformed" "association ID";
    NetworkAcl "InvalidNetworkAclID.NotFound" "InvalidNetworkAclId.Malformed" "networkAcl ID";
    NetworkAclAssociation "InvalidAssociationID.NotFound" "InvalidAssociationID.Malformed" "association ID";
    DhcpOptions "InvalidDhcpOptionID.NotFound" "InvalidDhcpOptionsId.Malformed" "dhcpOption ID";
    SecurityGroup "InvalidGroup.NotFound" "InvalidGroupId.Malformed" "security group";
    SecurityGroupRule "InvalidSecurityGroupRuleId.NotFound" "InvalidSecurityGroupRuleId.Malformed" "security group rule ID";
    NetworkInterface "InvalidNetworkInterfaceID.NotFound" "InvalidNetworkInterfaceId.Malformed" "networkInterface ID";
    NetworkInterfaceAttachment "InvalidAttachmentID.NotFound" "InvalidAttachmentID.Malformed" "attachment ID";
    KeyPair "InvalidKeyPair.NotFound" "InvalidKeyPair.Format" "key pair";
    LaunchTemplate "InvalidLaunchTemplateId.NotFound" "InvalidLaunchTemplateId.Malformed" "launch template ID";
    Instance "InvalidInstanceID.NotFound" "InvalidInstanceID.Malformed" "instance ID";
    Allocation "InvalidAllocationID.NotFound" "InvalidAllocationID.Malformed" "allocation ID";
    Association "InvalidAssociationID.NotFound" "InvalidAssociationID.Malformed" "association ID";
    NatGateway "NatGatewayNotFound" "NatGatewayMalformed" "Nat Gateway";
    VpcPeering "InvalidVpcPeeringConnectionID.NotFound" "InvalidVpcPeeringConnectionId.Malformed" "vpcPeeringConnection ID";
    VpcEndpoint "InvalidVpcEndpointId.NotFound" "InvalidVpcEndpointId.Malformed" "Vpc Endpoint Id";
    PrefixList "InvalidPrefixListID.NotFound" "InvalidPrefixListID.Malformed" "prefix list ID";
    PlacementGroup "InvalidPlacementGroupId.NotFound" "InvalidPlacementGroupId.Malformed" "placement group";
    Image "InvalidAMIID.NotFound" "InvalidAMIID.Malformed" "image id";
    Volume "InvalidVolume.NotFound" "InvalidVolumeID.Malformed" "volume";
    Snapshot "InvalidSnapshot.NotFound" "InvalidSnapshotID.Malformed" "snapshot";
    SpotInstanceRequest "InvalidSpotInstanceRequestID.NotFound" "InvalidSpotInstanceRequestID.Malformed" "spot instance request ID";
}

/// A record whose id is of this kind.
pub trait Keyed: Record {
    type Kind: Resource;
}

/// Reads an id as a caller wrote it.
pub fn id<K: Resource>(text: &str) -> Result<Id<K>> {
    Id::parse(text)
        .ok_or_else(|| Error::client(K::MALFORMED, format!("Invalid id: \"{text}\" (expecting \"{}-...\")", K::PREFIX)))
}

/// Reads an id that the request must name.
pub fn required_id<K: Resource>(text: Option<&str>, parameter: &str) -> Result<Id<K>> {
    id(text.filter(|text| !text.is_empty()).ok_or_else(|| missing(parameter))?)
}

pub fn not_found<K: Resource>(text: &str) -> Error {
    Error::client(K::NOT_FOUND, format!("The {} '{text}' does not exist", K::NOUN))
}

/// The record that an id speaks of.
pub fn find<R: Keyed>(view: &View, scope: &Scope, id: &Id<R::Kind>) -> Result<Arc<R>> {
    view.get::<R>(scope, id).ok_or_else(|| not_found::<R::Kind>(id))
}

/// The records of these ids, or all of them when none is named.
pub fn select<R: Keyed>(view: &View, scope: &Scope, ids: Option<&Vec<String>>) -> Result<Vec<(Arc<str>, Arc<R>)>> {
    match ids {
        None => Ok(view.list::<R>(scope)),
        Some(ids) if ids.is_empty() => Ok(view.list::<R>(scope)),
        Some(ids) => {
            let mut seen = std::collections::BTreeSet::new();
            let unique = ids.iter().filter(|text| seen.insert(text.as_str()));
            unique.map(|text| Ok((text.as_str().into(), find::<R>(view, scope, &id(text)?)?))).collect()
        }
    }
}

/// A member that the request must have.
pub fn missing(parameter: &str) -> Error {
    Error::client("MissingParameter", format!("The request must contain the parameter {parameter}"))
}

/// The member's value, or the error that says it is missing.
pub fn required<T>(value: Option<T>, parameter: &str) -> Result<T> {
    value.ok_or_else(|| missing(parameter))
}

pub fn invalid_value(parameter: &str, value: &str) -> Error {
    let message = format!("Value ({value}) for parameter {parameter} is invalid.");
    Error::client("InvalidParameterValue", message)
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::client("InvalidParameterValue", message)
}

pub fn combination(message: impl Into<String>) -> Error {
    Error::client("InvalidParameterCombination", message)
}

/// Something that cannot go while something else needs it.
pub fn dependency(message: impl Into<String>) -> Error {
    Error::client("DependencyViolation", message)
}

/// Ends a dry run: called when everything else about the request has been found to be right.
pub fn dry_run(asked: Option<bool>) -> Result<()> {
    if asked == Some(true) {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(Error::client("DryRunOperation", message).with_status(412));
    }
    Ok(())
}
