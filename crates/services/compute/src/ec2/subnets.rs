//! Subnets and the addresses in them.
//!
//! Invariant: blocks of a VPC's subnets do not overlap, and each subnet belongs to exactly one network ACL.

use std::net::Ipv4Addr;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::{Region, Zone};
use standfast_core::{Arn, Cidr, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::addresses::Refused;
use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Addresses, NetworkAcl, NetworkInterface, PublicAddress, RouteTable, Subnet, Vpc};
use super::vpcs::cidr;
use super::{defaults, public_addresses, tags};

const PREFIX_MIN: u8 = 16;
const PREFIX_MAX: u8 = 28;

impl Subnet {
    /// A subnet with EC2's defaults.
    pub fn of(vpc: Id<id::Vpc>, cidr: Cidr, zone: String) -> Self {
        Self {
            vpc,
            cidr,
            zone,
            default_for_zone: false,
            map_public_ip: false,
            assign_ipv6: false,
            dns64: false,
            hostname_type: "ip-name".into(),
            dns_a_record: false,
            dns_aaaa_record: false,
        }
    }
}

/// Writes a new subnet with its addresses and its place in the VPC's default ACL. The association's id is made from the
/// subnet's: both are 17 random digits, and a subnet has one association at a time.
pub fn put(tx: &mut Txn, scope: &Scope, id: &Id<id::Subnet>, subnet: Subnet, default_acl: &Id<id::NetworkAcl>) {
    let acl = tx.get::<NetworkAcl>(scope, default_acl).expect("a VPC has its default ACL for as long as it exists");
    let mut acl = (*acl).clone();
    let digits = id.as_str().trim_start_matches("subnet-");
    acl.associations.push((Id::from_text(&format!("aclassoc-{digits}")), id.clone()));
    tx.put(scope, default_acl, acl);
    tx.put(scope, id, Addresses::default());
    tx.put(scope, id, subnet);
}

/// The default ACL of a VPC.
pub fn default_acl(view: &View, scope: &Scope, vpc: &str) -> Id<id::NetworkAcl> {
    let acls = view.by_index::<NetworkAcl>(scope, "vpc", vpc);
    let default = acls.iter().find(|(_, acl)| acl.is_default);
    Id::from_text(&default.expect("a VPC has its default ACL for as long as it exists").0)
}

pub async fn create(cx: Cx, input: api::CreateSubnetInput) -> Result<api::CreateSubnetOutput> {
    defaults::ready(&cx).await?;
    let vpc_id = errors::required_id::<id::Vpc>(Some(&input.vpc_id), "vpcId")?;
    let text = errors::required(input.cidr_block.as_deref(), "cidrBlock")?;
    let block = cidr(text, "cidrBlock")?;
    let zone = zone(&cx, input.availability_zone.as_deref(), input.availability_zone_id.as_deref())?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "subnet", &[])?;
    let (scope, id) = (cx.scope(), Id::<id::Subnet>::new(cx.rng()));
    let subnet = cx
        .txn(|tx| {
            let vpc = find::<Vpc>(tx, scope, &vpc_id)?;
            let inside = vpc.cidrs().iter().any(|cidr| cidr.covers(block));
            let in_range = (PREFIX_MIN..=PREFIX_MAX).contains(&block.prefix()) && inside;
            if !in_range {
                return Err(Error::client("InvalidSubnet.Range", format!("The CIDR '{text}' is invalid.")));
            }
            if tx.by_index::<Subnet>(scope, "vpc", &vpc_id).iter().any(|(_, other)| other.cidr.overlaps(block)) {
                let message = format!("The CIDR '{text}' conflicts with another subnet");
                return Err(Error::client("InvalidSubnet.Conflict", message));
            }
            errors::dry_run(input.dry_run)?;
            let acl = default_acl(tx, scope, &vpc_id);
            put(tx, scope, &id, Subnet::of(vpc_id.clone(), block, zone.name.clone()), &acl);
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &*find::<Subnet>(tx, scope, &id)?))
        })
        .await?;
    Ok(api::CreateSubnetOutput { subnet: Some(subnet) })
}

pub async fn create_default(cx: Cx, input: api::CreateDefaultSubnetInput) -> Result<api::CreateDefaultSubnetOutput> {
    defaults::ready(&cx).await?;
    let zone = zone(&cx, input.availability_zone.as_deref(), input.availability_zone_id.as_deref())?;
    let (scope, id) = (cx.scope(), Id::<id::Subnet>::new(cx.rng()));
    let subnet = cx
        .txn(|tx| {
            let found = tx.by_index::<Vpc>(scope, "default", "true");
            let (vpc_id, vpc) = found.first().ok_or_else(|| {
                Error::client("DefaultVpcDoesNotExist", "There is no default VPC for this account in this region")
            })?;
            let others = tx.by_index::<Subnet>(scope, "vpc", vpc_id);
            if others.iter().any(|(_, other)| other.default_for_zone && other.zone == zone.name) {
                let message = format!("'{}' already has a default subnet", zone.name);
                return Err(Error::client("DefaultSubnetAlreadyExistsInAvailabilityZone", message));
            }
            let taken = |subnet: &Subnet| others.iter().any(|(_, other)| other.cidr.overlaps(subnet.cidr));
            let vpc_id = Id::<id::Vpc>::from_text(vpc_id);
            let mut places = (0..defaults::SUBNETS_MAX).map(|n| defaults::subnet(&vpc_id, vpc.cidr, n, &zone));
            let subnet = places.find(|subnet| !taken(subnet)).ok_or_else(|| {
                Error::client("InvalidSubnet.Conflict", "The default VPC has no room for another default subnet")
            })?;
            errors::dry_run(input.dry_run)?;
            put(tx, scope, &id, subnet.clone(), &default_acl(tx, scope, &vpc_id));
            Ok(shape(tx, scope, &id, &subnet))
        })
        .await?;
    Ok(api::CreateDefaultSubnetOutput { subnet: Some(subnet) })
}

/// The zone that a request names, or the region's first.
fn zone(cx: &Cx, name: Option<&str>, zone_id: Option<&str>) -> Result<Zone> {
    let mut zones = Region::named(cx.region()).into_iter().flat_map(Region::zones);
    let (name, zone_id) = (name.filter(|name| !name.is_empty()), zone_id.filter(|id| !id.is_empty()));
    let found = zones.find(|zone| name.is_none_or(|name| zone.name == name) && zone_id.is_none_or(|id| zone.id == id));
    found.ok_or_else(|| {
        let (parameter, value) = if let Some(name) = name {
            ("availabilityZone", name)
        } else {
            ("availabilityZoneId", zone_id.unwrap_or(""))
        };
        errors::invalid(format!("Value ({value}) for parameter {parameter} is invalid."))
    })
}

pub async fn delete(cx: Cx, input: api::DeleteSubnetInput) -> Result<api::DeleteSubnetOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Subnet>(&input.subnet_id)?);
    cx.txn(|tx| {
        find::<Subnet>(tx, scope, &id)?;
        if tx.get::<Addresses>(scope, &id).is_some_and(|addresses| !addresses.is_empty()) {
            return Err(errors::dependency(format!("The subnet '{id}' has dependencies and cannot be deleted.")));
        }
        errors::dry_run(input.dry_run)?;
        for (table_id, table) in tx.by_index::<RouteTable>(scope, "subnet", &id) {
            let mut table = (*table).clone();
            table.associations.retain(|association| association.subnet.as_ref() != Some(&id));
            tx.put(scope, &table_id, table);
        }
        for (acl_id, acl) in tx.by_index::<NetworkAcl>(scope, "subnet", &id) {
            let mut acl = (*acl).clone();
            acl.associations.retain(|(_, subnet)| *subnet != id);
            tx.put(scope, &acl_id, acl);
        }
        tx.delete::<Addresses>(scope, &id);
        tx.delete::<Subnet>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteSubnetOutput {})
}

/// Takes an address of a subnet: the one that is asked for, or the lowest free one.
pub fn take_address(
    tx: &mut Txn,
    scope: &Scope,
    id: &Id<id::Subnet>,
    subnet: &Subnet,
    asked: Option<Ipv4Addr>,
) -> Result<Ipv4Addr> {
    let addresses = tx.get::<Addresses>(scope, id).expect("exists as long as the subnet");
    let mut addresses = (*addresses).clone();
    let taken = match asked {
        Some(address) => addresses.take(subnet.cidr, address).map(|()| address),
        None => addresses.take_lowest(subnet.cidr),
    };
    let taken = taken.map_err(|why| refused(why, id, asked))?;
    tx.put(scope, id, addresses);
    Ok(taken)
}

/// The error of an address that cannot be had.
pub fn refused(why: Refused, id: &Id<id::Subnet>, asked: Option<Ipv4Addr>) -> Error {
    match (why, asked) {
        (Refused::InUse, Some(address)) => {
            Error::client("InvalidIPAddress.InUse", format!("Address {address} is in use."))
        }
        (Refused::OutOfRange, Some(address)) => {
            errors::invalid(format!("Address {address} does not fall within the subnet's address range"))
        }
        _ => Error::client(
            "InsufficientFreeAddressesInSubnet",
            format!("The subnet '{id}' has insufficient free addresses to satisfy the request."),
        ),
    }
}

/// Gives back the addresses of an interface that goes: the private ones, and public ones that nobody allocated.
pub fn release_addresses(tx: &mut Txn, scope: &Scope, interface: &NetworkInterface) {
    for address in &interface.addresses {
        release_address(tx, scope, &interface.subnet, address.private);
        if let Some(PublicAddress { address, allocation: None, .. }) = &address.public {
            public_addresses::release(tx, *address);
        }
    }
}

/// Gives an address back.
pub fn release_address(tx: &mut Txn, scope: &Scope, id: &Id<id::Subnet>, address: Ipv4Addr) {
    let (Some(subnet), Some(addresses)) = (tx.get::<Subnet>(scope, id), tx.get::<Addresses>(scope, id)) else { return };
    let mut addresses = (*addresses).clone();
    addresses.release(subnet.cidr, address);
    tx.put(scope, id, addresses);
}

pub async fn modify_attribute(
    cx: Cx,
    input: api::ModifySubnetAttributeInput,
) -> Result<api::ModifySubnetAttributeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Subnet>(&input.subnet_id)?);
    let value = |attribute: &Option<api::AttributeBooleanValue>, old: bool| {
        attribute.as_ref().and_then(|value| value.value).unwrap_or(old)
    };
    cx.txn(|tx| {
        let mut subnet = (*find::<Subnet>(tx, scope, &id)?).clone();
        subnet.map_public_ip = value(&input.map_public_ip_on_launch, subnet.map_public_ip);
        subnet.assign_ipv6 = value(&input.assign_ipv6_address_on_creation, subnet.assign_ipv6);
        subnet.dns64 = value(&input.enable_dns64, subnet.dns64);
        subnet.dns_a_record = value(&input.enable_resource_name_dns_a_record_on_launch, subnet.dns_a_record);
        subnet.dns_aaaa_record = value(&input.enable_resource_name_dns_aaaa_record_on_launch, subnet.dns_aaaa_record);
        if let Some(hostname_type) = &input.private_dns_hostname_type_on_launch {
            subnet.hostname_type = hostname_type.clone();
        }
        tx.put(scope, &id, subnet);
        Ok(())
    })
    .await?;
    Ok(api::ModifySubnetAttributeOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeSubnetsInput) -> Result<api::DescribeSubnetsOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<Subnet>(view, cx.scope(), input.subnet_ids.as_ref())?;
        let rows = rows.iter().map(|(id, subnet)| shape(view, cx.scope(), id, subnet));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (subnets, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeSubnetsOutput { subnets: Some(subnets), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, subnet: &Subnet) -> api::Subnet {
    let free = view.get::<Addresses>(scope, id).map_or(0, |addresses| addresses.free(subnet.cidr));
    api::Subnet {
        availability_zone_id: Zone::named(&subnet.zone).map(|zone| zone.id),
        availability_zone: Some(subnet.zone.clone()),
        map_customer_owned_ip_on_launch: Some(false),
        owner_id: Some(scope.account.to_string()),
        assign_ipv6_address_on_creation: Some(subnet.assign_ipv6),
        ipv6_cidr_block_association_set: Some(Vec::new()),
        tags: tags::of(view, scope, id),
        subnet_arn: Some(Arn::new("ec2", scope, format!("subnet/{id}")).to_string()),
        enable_dns64: Some(subnet.dns64),
        ipv6_native: Some(false),
        private_dns_name_options_on_launch: Some(api::PrivateDnsNameOptionsOnLaunch {
            hostname_type: Some(subnet.hostname_type.clone()),
            enable_resource_name_dns_a_record: Some(subnet.dns_a_record),
            enable_resource_name_dns_aaaa_record: Some(subnet.dns_aaaa_record),
        }),
        subnet_id: Some(id.to_owned()),
        state: Some("available".into()),
        vpc_id: Some(subnet.vpc.to_string()),
        cidr_block: Some(subnet.cidr.to_string()),
        available_ip_address_count: Some(free as i32),
        default_for_az: Some(subnet.default_for_zone),
        map_public_ip_on_launch: Some(subnet.map_public_ip),
        ..Default::default()
    }
}

impl Described for api::Subnet {
    const FIELDS: &'static [Field<Self>] = &[
        ("availability-zone", |subnet| filters::one(&subnet.availability_zone)),
        ("availabilityZone", |subnet| filters::one(&subnet.availability_zone)),
        ("availability-zone-id", |subnet| filters::one(&subnet.availability_zone_id)),
        ("availabilityZoneId", |subnet| filters::one(&subnet.availability_zone_id)),
        ("available-ip-address-count", |subnet| filters::text(subnet.available_ip_address_count)),
        ("cidr-block", |subnet| filters::one(&subnet.cidr_block)),
        ("cidr", |subnet| filters::one(&subnet.cidr_block)),
        ("cidrBlock", |subnet| filters::one(&subnet.cidr_block)),
        ("default-for-az", |subnet| filters::text(subnet.default_for_az)),
        ("defaultForAz", |subnet| filters::text(subnet.default_for_az)),
        ("map-public-ip-on-launch", |subnet| filters::text(subnet.map_public_ip_on_launch)),
        ("ipv6-native", |subnet| filters::text(subnet.ipv6_native)),
        ("ipv6-cidr-block-association.ipv6-cidr-block", |_| Vec::new()),
        ("ipv6-cidr-block-association.association-id", |_| Vec::new()),
        ("ipv6-cidr-block-association.state", |_| Vec::new()),
        ("outpost-arn", |_| Vec::new()),
        ("owner-id", |subnet| filters::one(&subnet.owner_id)),
        ("state", |subnet| filters::one(&subnet.state)),
        ("subnet-arn", |subnet| filters::one(&subnet.subnet_arn)),
        ("subnet-id", |subnet| filters::one(&subnet.subnet_id)),
        ("vpc-id", |subnet| filters::one(&subnet.vpc_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.subnet_id.clone().unwrap_or_default()
    }
}
