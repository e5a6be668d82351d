//! What this service asks ec2: subnets, security groups, VPCs, instances, and the interfaces of its nodes. By filter and
//! not by id, so that what is missing shows as missing and the error can be this service's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use standfast_api::ec2;
use standfast_core::{Cidr, Error, Result};
use standfast_kernel::Cx;

use super::errors::{configuration, validation};
use super::model::{Interface, ZoneMapping};

const ZONES_MIN: usize = 2;
/// Free addresses that a subnet must have when a load balancer comes to it.
const FREE_ADDRESSES_MIN: i32 = 8;
/// What ec2 names in a VPC's DNS by the addresses of the interfaces that have this tag.
const DNS_NAME_TAG: &str = "aws:standfast:dns-name";
/// The code of an interface that is not there.
const NO_INTERFACE: &str = "InvalidNetworkInterfaceID.NotFound";
/// How many values one filter is asked with.
const VALUES_PER_FILTER_MAX: usize = 200;

/// Where a load balancer is.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub vpc: String,
    pub zones: Vec<ZoneMapping>,
}

fn filter(name: &str, values: &[String]) -> ec2::Filter {
    ec2::Filter { name: Some(name.into()), values: Some(values.to_vec()) }
}

/// The place that these subnets make; those in `held` have their node already.
pub async fn place(cx: &Cx, ids: &[String], held: &[ZoneMapping]) -> Result<Place> {
    let ids: Vec<String> = ids.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect();
    if ids.is_empty() {
        return Err(too_few());
    }
    let input = ec2::DescribeSubnetsInput { filters: Some(vec![filter("subnet-id", &ids)]), ..Default::default() };
    let subnets = cx.call(ec2::DescribeSubnets, input).await?.subnets.unwrap_or_default();
    let place = place_of(&ids, &subnets)?;
    check_free_addresses(&subnets, held)?;
    Ok(place)
}

fn check_free_addresses(subnets: &[ec2::Subnet], held: &[ZoneMapping]) -> Result<()> {
    let is_held = |subnet: &ec2::Subnet| held.iter().any(|mapping| Some(&mapping.subnet) == subnet.subnet_id.as_ref());
    let is_full = |subnet: &&ec2::Subnet| {
        !is_held(subnet) && subnet.available_ip_address_count.is_some_and(|free| free < FREE_ADDRESSES_MIN)
    };
    let Some(full) = subnets.iter().find(is_full) else { return Ok(()) };
    let message = format!(
        "Not enough IP space available in {}. ELB requires at least {FREE_ADDRESSES_MIN} free IP addresses in each \
         subnet.",
        full.subnet_id.as_deref().unwrap_or_default()
    );
    Err(Error::client("InvalidSubnet", message))
}

fn too_few() -> Error {
    validation("At least two subnets in two different Availability Zones must be specified")
}

fn place_of(ids: &[String], subnets: &[ec2::Subnet]) -> Result<Place> {
    let mut vpc: Option<String> = None;
    let mut zones: Vec<ZoneMapping> = Vec::new();
    for id in ids {
        let subnet = subnets.iter().find(|subnet| subnet.subnet_id.as_ref() == Some(id));
        let subnet =
            subnet.ok_or_else(|| Error::client("SubnetNotFound", format!("The subnet ID '{id}' does not exist")))?;
        let (of, zone) = (subnet.vpc_id.clone(), subnet.availability_zone.clone().unwrap_or_default());
        if vpc.is_some() && vpc != of {
            return Err(configuration("All subnets must belong to the same VPC"));
        }
        if zones.iter().any(|mapping| mapping.zone == zone) {
            return Err(configuration(
                "A load balancer cannot be attached to multiple subnets in the same Availability Zone",
            ));
        }
        vpc = of;
        zones.push(ZoneMapping { zone, subnet: id.clone() });
    }
    if zones.len() < ZONES_MIN {
        return Err(too_few());
    }
    zones.sort();
    Ok(Place { vpc: vpc.unwrap_or_default(), zones })
}

/// Refuses a load balancer that faces the internet in a VPC that does not.
pub async fn check_internet_gateway(cx: &Cx, place: &Place) -> Result<()> {
    let vpc = std::slice::from_ref(&place.vpc);
    let input = ec2::DescribeInternetGatewaysInput {
        filters: Some(vec![filter("attachment.vpc-id", vpc)]),
        ..Default::default()
    };
    let gateways = cx.call(ec2::DescribeInternetGateways, input).await?.internet_gateways.unwrap_or_default();
    if gateways.is_empty() {
        return Err(Error::client("InvalidSubnet", format!("VPC {} has no internet gateway", place.vpc)));
    }
    Ok(())
}

/// The groups, when all of them are in the VPC.
pub async fn check_security_groups(cx: &Cx, vpc: &str, ids: &[String]) -> Result<Vec<String>> {
    let input = ec2::DescribeSecurityGroupsInput { filters: Some(vec![filter("group-id", ids)]), ..Default::default() };
    let found = cx.call(ec2::DescribeSecurityGroups, input).await?.security_groups.unwrap_or_default();
    let known: BTreeSet<&str> = (found.iter())
        .filter(|group| group.vpc_id.as_deref() == Some(vpc))
        .filter_map(|group| group.group_id.as_deref())
        .collect();
    match ids.iter().find(|id| !known.contains(id.as_str())) {
        None => Ok(ids.to_vec()),
        Some(_) => Err(configuration("One or more security groups are invalid")),
    }
}

/// The default security group of a VPC.
pub async fn default_security_group(cx: &Cx, vpc: &str) -> Result<Vec<String>> {
    let filters = vec![filter("vpc-id", &[vpc.to_owned()]), filter("group-name", &["default".to_owned()])];
    let input = ec2::DescribeSecurityGroupsInput { filters: Some(filters), ..Default::default() };
    let found = cx.call(ec2::DescribeSecurityGroups, input).await?.security_groups.unwrap_or_default();
    Ok(found.into_iter().filter_map(|group| group.group_id).collect())
}

/// Refuses a VPC that is not there.
pub async fn check_vpc(cx: &Cx, vpc: &str) -> Result<()> {
    let input =
        ec2::DescribeVpcsInput { filters: Some(vec![filter("vpc-id", &[vpc.to_owned()])]), ..Default::default() };
    let found = cx.call(ec2::DescribeVpcs, input).await?.vpcs.unwrap_or_default();
    if found.is_empty() {
        return Err(validation(format!("The VPC ID '{vpc}' is not found")));
    }
    Ok(())
}

/// An instance as far as load balancers care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub vpc: String,
    pub zone: String,
    /// EC2's name of the state: `running`.
    pub state: String,
    pub private_ip: Option<Ipv4Addr>,
}

/// The instances of these ids that exist, by id.
pub async fn instances(cx: &Cx, ids: &[String]) -> Result<BTreeMap<String, Host>> {
    find_instances(cx, "instance-id", ids).await
}

/// The instances that have one of these private addresses, in any VPC, by id.
pub async fn instances_at(cx: &Cx, addresses: &[String]) -> Result<BTreeMap<String, Host>> {
    find_instances(cx, "private-ip-address", addresses).await
}

async fn find_instances(cx: &Cx, by: &str, values: &[String]) -> Result<BTreeMap<String, Host>> {
    let mut found = BTreeMap::new();
    for values in values.chunks(VALUES_PER_FILTER_MAX) {
        let input = ec2::DescribeInstancesInput { filters: Some(vec![filter(by, values)]), ..Default::default() };
        let reservations = cx.call(ec2::DescribeInstances, input).await?.reservations.unwrap_or_default();
        for instance in reservations.into_iter().flat_map(|reservation| reservation.instances.unwrap_or_default()) {
            let host = Host {
                vpc: instance.vpc_id.unwrap_or_default(),
                zone: instance.placement.and_then(|placement| placement.availability_zone).unwrap_or_default(),
                state: instance.state.and_then(|state| state.name).unwrap_or_default(),
                private_ip: instance.private_ip_address.and_then(|text| text.parse().ok()),
            };
            found.insert(instance.instance_id.unwrap_or_default(), host);
        }
    }
    Ok(found)
}

/// An interface to be made.
pub struct NewInterface<'a> {
    pub description: String,
    pub subnet: &'a str,
    pub security_groups: &'a [String],
    /// The name that resolves to its address in the VPC.
    pub dns_name: &'a str,
}

pub async fn create_interface(cx: &Cx, new: NewInterface<'_>) -> Result<Interface> {
    let tag = ec2::Tag { key: Some(DNS_NAME_TAG.into()), value: Some(new.dns_name.into()) };
    let tags = ec2::TagSpecification { resource_type: Some("network-interface".into()), tags: Some(vec![tag]) };
    let input = ec2::CreateNetworkInterfaceInput {
        subnet_id: new.subnet.to_owned(),
        description: Some(new.description),
        groups: Some(new.security_groups.to_vec()),
        tag_specifications: Some(vec![tags]),
        ..Default::default()
    };
    let made = cx.call(ec2::CreateNetworkInterface, input).await?.network_interface;
    made.and_then(interface).ok_or_else(|| Error::internal("an interface was made without an id or an address"))
}

/// The interfaces in a subnet that have this description.
pub async fn interfaces(cx: &Cx, description: &str, subnet: &str) -> Result<Vec<Interface>> {
    let (description, subnet) = (description.to_owned(), subnet.to_owned());
    let filters = vec![filter("description", &[description]), filter("subnet-id", &[subnet])];
    let managed = filter("requester-managed", &["true".to_owned()]);
    let filters = filters.into_iter().chain([managed]).collect();
    let input = ec2::DescribeNetworkInterfacesInput { filters: Some(filters), ..Default::default() };
    let found = cx.call(ec2::DescribeNetworkInterfaces, input).await?.network_interfaces.unwrap_or_default();
    Ok(found.into_iter().filter_map(interface).collect())
}

fn interface(shape: ec2::NetworkInterface) -> Option<Interface> {
    let groups = shape.groups.unwrap_or_default().into_iter().filter_map(|group| group.group_id);
    Some(Interface {
        id: shape.network_interface_id?,
        address: shape.private_ip_address?.parse().ok()?,
        security_groups: groups.collect(),
    })
}

/// Gives an interface other security groups; whether it is there.
pub async fn regroup(cx: &Cx, id: &str, groups: &[String]) -> Result<bool> {
    let input = ec2::ModifyNetworkInterfaceAttributeInput {
        network_interface_id: id.to_owned(),
        groups: Some(groups.to_vec()),
        ..Default::default()
    };
    match cx.call(ec2::ModifyNetworkInterfaceAttribute, input).await {
        Err(error) if error.is(NO_INTERFACE) => Ok(false),
        result => result.map(|_| true),
    }
}

/// Deletes an interface, unless it is gone already.
pub async fn delete_interface(cx: &Cx, id: &str) -> Result<()> {
    let input = ec2::DeleteNetworkInterfaceInput { network_interface_id: id.to_owned(), ..Default::default() };
    match cx.call(ec2::DeleteNetworkInterface, input).await {
        Err(error) if error.is(NO_INTERFACE) => Ok(()),
        result => result.map(|_| ()),
    }
}

/// The zones of a VPC's subnets, by their blocks.
pub async fn subnet_zones(cx: &Cx, vpc: &str) -> Result<Vec<(Cidr, String)>> {
    let input =
        ec2::DescribeSubnetsInput { filters: Some(vec![filter("vpc-id", &[vpc.to_owned()])]), ..Default::default() };
    let subnets = cx.call(ec2::DescribeSubnets, input).await?.subnets.unwrap_or_default();
    let zone = |subnet: ec2::Subnet| Some((subnet.cidr_block?.parse().ok()?, subnet.availability_zone?));
    Ok(subnets.into_iter().filter_map(zone).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(id: &str, vpc: &str, zone: &str) -> ec2::Subnet {
        ec2::Subnet {
            subnet_id: Some(id.into()),
            vpc_id: Some(vpc.into()),
            availability_zone: Some(zone.into()),
            ..Default::default()
        }
    }

    #[test]
    fn a_place_is_two_zones_of_one_vpc() {
        let all = [subnet("s1", "v", "a"), subnet("s2", "v", "b"), subnet("s3", "v", "b"), subnet("s4", "w", "c")];
        let of = |ids: &[&str]| place_of(&ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), &all);
        let place = of(&["s2", "s1"]).expect("two zones");
        assert_eq!(place.zones.iter().map(|m| m.zone.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        for (ids, code) in [
            (vec!["s1"], "ValidationError"),
            (vec!["s1", "s9"], "SubnetNotFound"),
            (vec!["s2", "s3"], "InvalidConfigurationRequest"),
            (vec!["s1", "s4"], "InvalidConfigurationRequest"),
        ] {
            assert!(of(&ids).is_err_and(|error| error.is(code)), "{ids:?}");
        }
    }

    #[test]
    fn a_subnet_has_room_for_a_load_balancer_that_comes_to_it() {
        let with = |free: i32| ec2::Subnet { available_ip_address_count: Some(free), ..subnet("s1", "v", "a") };
        let held = [ZoneMapping { zone: "a".into(), subnet: "s1".into() }];
        assert_eq!(check_free_addresses(&[with(8)], &[]), Ok(()));
        assert_eq!(check_free_addresses(&[with(7)], &held), Ok(()));
        let error = check_free_addresses(&[with(7)], &[]).expect_err("one is missing");
        assert!(error.is("InvalidSubnet") && error.message.contains("in s1."), "{error}");
    }
}
