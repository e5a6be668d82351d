//! NAT gateways: a box in a subnet that forwards with its own address as the source.
//!
//! Invariant: one that is pending or available has an interface, whose addresses are its own; with the request to delete
//! it the interface goes and its Elastic IP address is free. The `connections` controller moves it on.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Zone;
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{InterfaceAddress, NatAddress, NatGateway, NatState, NetworkInterface, Purpose, Subnet, Tags};
use super::network_interfaces::new_mac;
use super::{defaults, elastic_ips, run, subnets, tags};

/// Who owns the interfaces of NAT gateways.
const REQUESTER: &str = "nat-gateway";

/// What a request asks for, with the ids of what is to be made.
struct New {
    id: Id<id::NatGateway>,
    subnet: Id<id::Subnet>,
    allocation: Option<Id<id::Allocation>>,
    private: Option<std::net::Ipv4Addr>,
    interface: Id<id::NetworkInterface>,
    association: Id<id::Association>,
    mac: String,
    token: Option<String>,
    now: Timestamp,
}

pub async fn create(cx: Cx, input: api::CreateNatGatewayInput) -> Result<api::CreateNatGatewayOutput> {
    defaults::ready(&cx).await?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "natgateway", &[])?;
    let new = read(&cx, &input)?;
    let scope = cx.scope();
    let gateway = cx
        .txn(|tx| {
            let made = new.token.iter().flat_map(|token| tx.by_index::<NatGateway>(scope, "token", token)).next();
            if let Some((id, gateway)) = made {
                return Ok(shape(tx, scope, &id, &gateway));
            }
            put(tx, scope, &new, input.dry_run, &given)
        })
        .await?;
    Ok(api::CreateNatGatewayOutput { nat_gateway: Some(gateway), client_token: input.client_token })
}

fn read(cx: &Cx, input: &api::CreateNatGatewayInput) -> Result<New> {
    let regional = input.availability_mode.as_deref().is_some_and(|mode| mode != "zonal");
    let several = input.secondary_private_ip_address_count.is_some()
        || input.secondary_private_ip_addresses.as_ref().is_some_and(|list| !list.is_empty())
        || input.secondary_allocation_ids.as_ref().is_some_and(|list| !list.is_empty());
    if regional || several {
        // AWS-DIFF: NAT gateways are zonal and have one address.
        let message = "Regional NAT gateways and secondary addresses of NAT gateways are not supported.";
        return Err(Error::client("UnsupportedOperation", message));
    }
    let public = match input.connectivity_type.as_deref() {
        None | Some("public") => true,
        Some("private") => false,
        Some(other) => return Err(errors::invalid_value("connectivityType", other)),
    };
    let allocation = match (input.allocation_id.as_deref().filter(|text| !text.is_empty()), public) {
        (Some(text), true) => Some(errors::id(text)?),
        (None, false) => None,
        (None, true) => return Err(errors::missing("AllocationId")),
        (Some(_), false) => {
            return Err(errors::combination("AllocationId can't be specified for a private NAT gateway."));
        }
    };
    Ok(New {
        id: Id::new(cx.rng()),
        subnet: errors::required_id(input.subnet_id.as_deref(), "subnetId")?,
        allocation,
        private: run::address(input.private_ip_address.as_deref())?,
        interface: Id::new(cx.rng()),
        association: Id::new(cx.rng()),
        mac: new_mac(cx.rng()),
        token: input.client_token.clone().filter(|token| !token.is_empty()),
        now: cx.now(),
    })
}

fn put(tx: &mut Txn, scope: &Scope, new: &New, dry_run: Option<bool>, given: &Tags) -> Result<api::NatGateway> {
    let subnet = find::<Subnet>(tx, scope, &new.subnet)?;
    if new.allocation.is_some() {
        elastic_ips::check_gateway(tx, scope, &subnet.vpc)?;
    }
    errors::dry_run(dry_run)?;
    let private = subnets::take_address(tx, scope, &new.subnet, &subnet, new.private)?;
    let interface = NetworkInterface {
        vpc: subnet.vpc.clone(),
        subnet: new.subnet.clone(),
        zone: subnet.zone.clone(),
        addresses: vec![InterfaceAddress::private(private)],
        mac: new.mac.clone(),
        description: format!("Interface for NAT Gateway {}", new.id),
        groups: Vec::new(),
        source_dest_check: false,
        attachment: None,
        requester: Some(REQUESTER.into()),
        purpose: Purpose::NatGateway(new.id.clone()),
    };
    tx.put(scope, &new.interface, interface);
    let public = match &new.allocation {
        Some(allocation) => Some(elastic_ips::associate_new(tx, scope, allocation, &new.interface, &new.association)?),
        None => None,
    };
    let address = NatAddress {
        private,
        public,
        allocation: new.allocation.clone(),
        association: new.allocation.as_ref().map(|_| new.association.clone()),
    };
    let gateway = NatGateway {
        vpc: subnet.vpc.clone(),
        subnet: new.subnet.clone(),
        public: new.allocation.is_some(),
        addresses: vec![address],
        interface: new.interface.clone(),
        state: NatState::Pending,
        created: new.now,
        deleted: None,
        token: new.token.clone(),
    };
    tx.put(scope, &new.id, gateway.clone());
    tags::put(tx, scope, &new.id, given);
    Ok(shape(tx, scope, &new.id, &gateway))
}

pub async fn delete(cx: Cx, input: api::DeleteNatGatewayInput) -> Result<api::DeleteNatGatewayOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    let id = errors::id::<id::NatGateway>(&input.nat_gateway_id)?;
    cx.txn(|tx| {
        let gateway = find::<NatGateway>(tx, scope, &id)?;
        errors::dry_run(input.dry_run)?;
        if !gateway.state.is_there() {
            return Ok(());
        }
        if let Some(interface) = tx.get::<NetworkInterface>(scope, &gateway.interface) {
            subnets::release_addresses(tx, scope, &interface);
            tx.delete::<NetworkInterface>(scope, &gateway.interface);
        }
        let deleting = NatGateway { state: NatState::Deleting, deleted: Some(now), token: None, ..(*gateway).clone() };
        tx.put(scope, &id, deleting);
        Ok(())
    })
    .await?;
    Ok(api::DeleteNatGatewayOutput { nat_gateway_id: Some(id.into()) })
}

pub async fn describe(cx: Cx, input: api::DescribeNatGatewaysInput) -> Result<api::DescribeNatGatewaysOutput> {
    cx.view(|view| {
        let rows = errors::select::<NatGateway>(view, cx.scope(), input.nat_gateway_ids.as_ref())?;
        let rows = rows.iter().map(|(id, gateway)| shape(view, cx.scope(), id, gateway));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (gateways, next_token) = filters::answer(rows, input.filter.as_ref(), paging)?;
        Ok(api::DescribeNatGatewaysOutput { nat_gateways: Some(gateways), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, gateway: &NatGateway) -> api::NatGateway {
    let zone = view.get::<Subnet>(scope, &gateway.subnet).map(|subnet| subnet.zone.clone());
    let address = |(at, address): (usize, &NatAddress)| api::NatGatewayAddress {
        allocation_id: address.allocation.as_ref().map(String::from),
        association_id: address.association.as_ref().map(String::from),
        network_interface_id: Some((&gateway.interface).into()),
        private_ip: Some(address.private.to_string()),
        public_ip: address.public.map(|address| address.to_string()),
        is_primary: Some(at == 0),
        status: Some("succeeded".into()),
        availability_zone: zone.clone(),
        availability_zone_id: zone.as_deref().and_then(Zone::named).map(|zone| zone.id),
        ..Default::default()
    };
    api::NatGateway {
        create_time: Some(gateway.created),
        delete_time: gateway.deleted,
        nat_gateway_addresses: Some(gateway.addresses.iter().enumerate().map(address).collect()),
        nat_gateway_id: Some(id.to_owned()),
        state: Some(gateway.state.name().into()),
        subnet_id: Some((&gateway.subnet).into()),
        vpc_id: Some((&gateway.vpc).into()),
        tags: tags::of(view, scope, id),
        connectivity_type: Some(if gateway.public { "public" } else { "private" }.into()),
        availability_mode: Some("zonal".into()),
        ..Default::default()
    }
}

impl Described for api::NatGateway {
    const FIELDS: &'static [Field<Self>] = &[
        ("connectivity-type", |gateway| filters::one(&gateway.connectivity_type)),
        ("nat-gateway-id", |gateway| filters::one(&gateway.nat_gateway_id)),
        ("state", |gateway| filters::one(&gateway.state)),
        ("subnet-id", |gateway| filters::one(&gateway.subnet_id)),
        ("vpc-id", |gateway| filters::one(&gateway.vpc_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.nat_gateway_id.clone().unwrap_or_default()
    }
}
