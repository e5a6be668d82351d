//! Elastic IP addresses: allocated by an account, moved between interfaces.
//!
//! Invariant: an address is associated with one private address of one interface at most, and only the interface says
//! so; while it is, an instance there has no other public address.

use std::net::Ipv4Addr;
use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::page::page;
use standfast_core::{Error, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::auto_addresses::Giver;
use super::errors::{self, find};
use super::filters::{self, Described, Field, Filters};
use super::model::{ElasticIp, Instance, InternetGateway, NetworkInterface, PublicAddress, State};
use super::network_interfaces::own_service;
use super::{public_addresses, tags};

/// How many addresses an account has in a region.
const ADDRESSES_MAX: usize = 5;

pub async fn allocate(cx: Cx, input: api::AllocateAddressInput) -> Result<api::AllocateAddressOutput> {
    if let Some(other) = input.domain.as_deref().filter(|domain| *domain != "vpc") {
        return Err(errors::invalid_value("domain", other));
    }
    if let Some(pool) = input.public_ipv4_pool.as_deref().filter(|pool| *pool != "amazon") {
        let message = format!("The pool ID '{pool}' does not exist.");
        return Err(Error::client("InvalidPublicIpv4PoolID.NotFound", message));
    }
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "elastic-ip", &[])?;
    let asked = input.address.as_deref().map(address).transpose()?;
    let (scope, id, seed, now) = (cx.scope(), Id::<id::Allocation>::new(cx.rng()), cx.rng().u64(), cx.now());
    let service = own_service(&cx).is_some();
    let address = cx
        .txn(|tx| {
            if !service && tx.count::<ElasticIp>(scope) >= ADDRESSES_MAX {
                let message = "The maximum number of addresses has been reached.";
                return Err(Error::client("AddressLimitExceeded", message));
            }
            errors::dry_run(input.dry_run)?;
            let address = match asked {
                Some(asked) if public_addresses::is_usable(asked) && public_addresses::take_this(tx, asked, now) => {
                    asked
                }
                Some(asked) => return Err(unknown(asked)),
                None => public_addresses::take(tx, &Rng::seeded(seed), now)?,
            };
            tx.put(scope, &id, ElasticIp { address });
            tags::put(tx, scope, &id, &given);
            Ok(address)
        })
        .await?;
    Ok(api::AllocateAddressOutput {
        allocation_id: Some(id.into()),
        public_ip: Some(address.to_string()),
        public_ipv4_pool: Some("amazon".into()),
        network_border_group: Some(cx.region().to_owned()),
        domain: Some("vpc".into()),
        ..Default::default()
    })
}

fn address(text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| {
        errors::invalid(format!("Value ({text}) for parameter publicIp is invalid. Invalid IPv4 address."))
    })
}

fn unknown(address: Ipv4Addr) -> Error {
    Error::client("InvalidAddress.NotFound", format!("Address '{address}' not found."))
}

/// What a request names by its allocation or by itself.
fn named(
    view: &View,
    scope: &Scope,
    allocation: Option<&str>,
    public: Option<&str>,
) -> Result<(Id<id::Allocation>, Arc<ElasticIp>)> {
    match (allocation, public) {
        (Some(_), Some(_)) => {
            Err(errors::combination("You may specify public IP or allocation id, but not both in the same call"))
        }
        (Some(text), None) => {
            let id = errors::id::<id::Allocation>(text)?;
            let record = find::<ElasticIp>(view, scope, &id)?;
            Ok((id, record))
        }
        (None, Some(text)) => {
            let address = address(text)?;
            let found = view.by_unique::<ElasticIp>(scope, "address", &address.to_string());
            let (id, record) = found.ok_or_else(|| unknown(address))?;
            Ok((Id::from_shared(id), record))
        }
        (None, None) => Err(Error::client("MissingParameter", "Either public IP or allocation id must be specified")),
    }
}

pub async fn release(cx: Cx, input: api::ReleaseAddressInput) -> Result<api::ReleaseAddressOutput> {
    let scope = cx.scope();
    cx.txn(|tx| {
        let (id, record) = named(tx, scope, input.allocation_id.as_deref(), input.public_ip.as_deref())?;
        if place(tx, scope, &id).is_some() {
            let message = format!("Address {} is in use.", record.address);
            return Err(Error::client("InvalidIPAddress.InUse", message));
        }
        errors::dry_run(input.dry_run)?;
        public_addresses::release(tx, record.address);
        tx.delete::<ElasticIp>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::ReleaseAddressOutput {})
}

/// Where an address is associated: the interface and which of its addresses.
fn place(view: &View, scope: &Scope, id: &Id<id::Allocation>) -> Option<Place> {
    let found = view.by_index::<NetworkInterface>(scope, "allocation", id);
    let (interface_id, interface) = found.into_iter().next()?;
    let of = |public: &Option<PublicAddress>| public.as_ref().is_some_and(|p| p.allocation.as_ref() == Some(id));
    let at = interface.addresses.iter().position(|address| of(&address.public))?;
    Some(Place { id: Id::from_shared(interface_id), interface, at })
}

struct Place {
    id: Id<id::NetworkInterface>,
    interface: Arc<NetworkInterface>,
    at: usize,
}

impl Place {
    fn public(&self) -> Option<&PublicAddress> {
        self.interface.addresses[self.at].public.as_ref()
    }

    fn association(&self) -> &str {
        self.public().and_then(|public| public.association.as_ref()).map_or("", |id| id.as_str())
    }

    /// Writes what the place has now.
    fn set(&self, tx: &mut Txn, scope: &Scope, public: Option<PublicAddress>) {
        // The interface may have changed since: an address may have moved from one of its places to another.
        let newest = tx.get::<NetworkInterface>(scope, &self.id).unwrap_or_else(|| self.interface.clone());
        let mut interface = (*newest).clone();
        if let Some(address) = interface.addresses.get_mut(self.at) {
            address.public = public;
        }
        tx.put(scope, &self.id, interface);
    }
}

pub async fn associate(cx: Cx, input: api::AssociateAddressInput) -> Result<api::AssociateAddressOutput> {
    let (scope, new, giver) = (cx.scope(), Id::<id::Association>::new(cx.rng()), Giver::new(&cx));
    let private = input.private_ip_address.as_deref().map(address).transpose()?;
    let service = own_service(&cx).is_some();
    let association = cx
        .txn(|tx| {
            let (id, record) = named(tx, scope, input.allocation_id.as_deref(), input.public_ip.as_deref())?;
            let to = wanted(tx, scope, input.instance_id.as_deref(), input.network_interface_id.as_deref())?;
            let to = at_private(to, private)?;
            if to.interface.requester.is_some() && !service {
                return Err(not_yours());
            }
            check_gateway(tx, scope, &to.interface.vpc)?;
            let from = place(tx, scope, &id);
            if let Some(old) = from.as_ref().filter(|old| old.id == to.id && old.at == to.at) {
                return Ok(old.association().to_owned());
            }
            if input.allow_reassociation == Some(false) {
                refuse_reassociation(&id, from.as_ref(), &to)?;
            }
            if from.as_ref().is_some_and(|old| old.interface.requester.is_some()) && !service {
                return Err(not_yours());
            }
            errors::dry_run(input.dry_run)?;
            put(tx, scope, &to, (&id, record.address), &new);
            if let Some(from) = from.filter(|from| from.id != to.id) {
                giver.give_again(tx, scope, &from.interface)?;
            }
            Ok(new.to_string())
        })
        .await?;
    Ok(api::AssociateAddressOutput { association_id: Some(association) })
}

/// The refusal of what belongs to a service.
pub fn not_yours() -> Error {
    let message = "You do not have permission to access the specified resource.";
    Error::client("AuthFailure", message).with_status(403)
}

/// The interface that a request names, or the one that an instance has.
fn wanted(view: &View, scope: &Scope, instance: Option<&str>, interface: Option<&str>) -> Result<Place> {
    let id = match (instance, interface) {
        (Some(_), Some(_)) => {
            return Err(errors::combination(
                "You may specify an instance id or a network interface id, but not both in the same call",
            ));
        }
        (None, None) => {
            let message = "Either instance id or network interface id must be specified";
            return Err(Error::client("MissingParameter", message));
        }
        (None, Some(text)) => errors::id::<id::NetworkInterface>(text)?,
        (Some(text), None) => {
            let instance = find::<Instance>(view, scope, &errors::id(text)?)?;
            if !matches!(instance.state, State::Running | State::Stopping | State::Stopped) {
                let state = instance.state.name();
                let message = format!("The {state} instance '{text}' is not in a valid state for this operation.");
                return Err(Error::client("InvalidInstanceID", message));
            }
            match &instance.interfaces[..] {
                [only] => only.clone(),
                _ => {
                    let message = format!(
                        "There are multiple interfaces attached to instance '{text}'. Please specify an interface ID for the operation instead."
                    );
                    return Err(Error::client("InvalidInstanceID", message));
                }
            }
        }
    };
    let interface = find::<NetworkInterface>(view, scope, &id)?;
    Ok(Place { id, interface, at: 0 })
}

/// The place of a private address, or of the primary one.
fn at_private(place: Place, private: Option<Ipv4Addr>) -> Result<Place> {
    let Some(private) = private else { return Ok(place) };
    let at = place.interface.addresses.iter().position(|address| address.private == private).ok_or_else(|| {
        errors::invalid(format!("{private} is not one of the private addresses of the interface '{}'", place.id))
    })?;
    Ok(Place { at, ..place })
}

/// Public addresses lead into a VPC through its internet gateway.
pub fn check_gateway(view: &View, scope: &Scope, vpc: &Id<id::Vpc>) -> Result<()> {
    if view.by_index::<InternetGateway>(scope, "vpc", vpc).is_empty() {
        let message = format!("Network {vpc} is not attached to any internet gateway");
        return Err(Error::client("Gateway.NotAttached", message));
    }
    Ok(())
}

fn refuse_reassociation(id: &Id<id::Allocation>, from: Option<&Place>, to: &Place) -> Result<()> {
    let already = |what: &str, association: &str| {
        let message = format!("resource {what} is already associated with associate-id {association}");
        Err(Error::client("Resource.AlreadyAssociated", message))
    };
    match (from, to.public()) {
        (Some(from), _) => already(id, from.association()),
        (None, Some(PublicAddress { allocation: Some(_), .. })) => already(&to.id, to.association()),
        _ => Ok(()),
    }
}

/// Associates an address with a place, and with no other.
fn put(
    tx: &mut Txn,
    scope: &Scope,
    to: &Place,
    (id, address): (&Id<id::Allocation>, Ipv4Addr),
    new: &Id<id::Association>,
) {
    if let Some(from) = place(tx, scope, id) {
        from.set(tx, scope, None);
    }
    // What the place had without its owner's asking is given back: the Elastic IP address replaces it.
    if let Some(PublicAddress { address, allocation: None, .. }) = to.public() {
        public_addresses::release(tx, *address);
    }
    to.set(tx, scope, Some(PublicAddress { address, allocation: Some(id.clone()), association: Some(new.clone()) }));
}

/// Takes an address for the primary place of a service's new interface. Give the interface as it is in the store.
pub fn associate_new(
    tx: &mut Txn,
    scope: &Scope,
    allocation: &Id<id::Allocation>,
    interface: &Id<id::NetworkInterface>,
    new: &Id<id::Association>,
) -> Result<Ipv4Addr> {
    let record = find::<ElasticIp>(tx, scope, allocation)?;
    if let Some(old) = place(tx, scope, allocation) {
        let message = format!("resource {allocation} is already associated with associate-id {}", old.association());
        return Err(Error::client("Resource.AlreadyAssociated", message));
    }
    let to = Place { id: interface.clone(), interface: find(tx, scope, interface)?, at: 0 };
    put(tx, scope, &to, (allocation, record.address), new);
    Ok(record.address)
}

pub async fn disassociate(cx: Cx, input: api::DisassociateAddressInput) -> Result<api::DisassociateAddressOutput> {
    let (scope, giver) = (cx.scope(), Giver::new(&cx));
    let service = own_service(&cx).is_some();
    cx.txn(|tx| {
        let place = match (&input.association_id, &input.public_ip) {
            (Some(text), _) => associated(tx, scope, text)?,
            (None, public) => {
                let (id, record) = named(tx, scope, None, public.as_deref())?;
                place(tx, scope, &id).ok_or_else(|| {
                    let message = format!("Address '{}' is not associated.", record.address);
                    Error::client("InvalidAssociationID.NotFound", message)
                })?
            }
        };
        if place.interface.requester.is_some() && !service {
            return Err(not_yours());
        }
        errors::dry_run(input.dry_run)?;
        place.set(tx, scope, None);
        giver.give_again(tx, scope, &place.interface)
    })
    .await?;
    Ok(api::DisassociateAddressOutput {})
}

fn associated(view: &View, scope: &Scope, text: &str) -> Result<Place> {
    let id = errors::id::<id::Association>(text)?;
    let found = view.by_index::<NetworkInterface>(scope, "association", &id);
    let allocation = found.first().and_then(|(_, interface)| {
        let mut publics = interface.addresses.iter().filter_map(|address| address.public.as_ref());
        publics.find(|public| public.association.as_ref() == Some(&id))?.allocation.clone()
    });
    allocation
        .and_then(|allocation| place(view, scope, &allocation))
        .ok_or_else(|| errors::not_found::<id::Association>(text))
}

pub async fn describe(cx: Cx, input: api::DescribeAddressesInput) -> Result<api::DescribeAddressesOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let rows = asked(view, scope, input.allocation_ids.as_ref(), input.public_ips.as_ref())?;
        let filters = Filters::parse(input.filters.as_ref())?;
        let shapes = rows.iter().map(|(id, record)| shape(view, scope, id, record));
        Ok(api::DescribeAddressesOutput { addresses: Some(shapes.filter(|row| filters.pass(row)).collect()) })
    })
}

type Row = (Id<id::Allocation>, Arc<ElasticIp>);

fn asked(view: &View, scope: &Scope, ids: Option<&Vec<String>>, addresses: Option<&Vec<String>>) -> Result<Vec<Row>> {
    let mut out: Vec<Row> = Vec::new();
    let (ids, addresses) = (ids.into_iter().flatten(), addresses.into_iter().flatten());
    for row in
        ids.map(|id| named(view, scope, Some(id), None)).chain(addresses.map(|a| named(view, scope, None, Some(a))))
    {
        let row = row?;
        if !out.iter().any(|(known, _)| *known == row.0) {
            out.push(row);
        }
    }
    if out.is_empty() {
        out = view.list::<ElasticIp>(scope).into_iter().map(|(id, record)| (Id::from_shared(id), record)).collect();
    }
    Ok(out)
}

fn shape(view: &View, scope: &Scope, id: &Id<id::Allocation>, record: &ElasticIp) -> api::Address {
    let place = place(view, scope, id);
    let interface = place.as_ref().map(|place| &place.interface);
    api::Address {
        allocation_id: Some(id.into()),
        association_id: place.as_ref().map(|place| place.association().to_owned()),
        domain: Some("vpc".into()),
        instance_id: interface.and_then(|interface| Some((&interface.attachment.as_ref()?.instance).into())),
        network_border_group: Some(scope.region.to_string()),
        network_interface_id: place.as_ref().map(|place| (&place.id).into()),
        network_interface_owner_id: interface.map(|_| scope.account.to_string()),
        private_ip_address: place.as_ref().map(|place| place.interface.addresses[place.at].private.to_string()),
        public_ip: Some(record.address.to_string()),
        public_ipv4_pool: Some("amazon".into()),
        tags: tags::of(view, scope, id),
        ..Default::default()
    }
}

impl Described for api::Address {
    const FIELDS: &'static [Field<Self>] = &[
        ("allocation-id", |address| filters::one(&address.allocation_id)),
        ("association-id", |address| filters::one(&address.association_id)),
        ("domain", |address| filters::one(&address.domain)),
        ("instance-id", |address| filters::one(&address.instance_id)),
        ("network-border-group", |address| filters::one(&address.network_border_group)),
        ("network-interface-id", |address| filters::one(&address.network_interface_id)),
        ("network-interface-owner-id", |address| filters::one(&address.network_interface_owner_id)),
        ("private-ip-address", |address| filters::one(&address.private_ip_address)),
        ("public-ip", |address| filters::one(&address.public_ip)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.allocation_id.clone().unwrap_or_default()
    }
}

/// The names that addresses have in reverse; there is no way to give them one, so none is shown.
pub async fn describe_attributes(
    cx: Cx,
    input: api::DescribeAddressesAttributeInput,
) -> Result<api::DescribeAddressesAttributeOutput> {
    if let Some(other) = input.attribute.as_deref().filter(|attribute| *attribute != "domain-name") {
        return Err(errors::invalid_value("attribute", other));
    }
    let scope = cx.scope();
    cx.view(|view| {
        let rows = asked(view, scope, input.allocation_ids.as_ref(), None)?;
        let shapes = rows.into_iter().map(|(id, record)| api::AddressAttribute {
            allocation_id: Some(id.into()),
            public_ip: Some(record.address.to_string()),
            ..Default::default()
        });
        let limit = input.max_results.map_or(usize::MAX, |max| max.max(1) as usize);
        let key = |row: &api::AddressAttribute| row.allocation_id.clone().unwrap_or_default();
        let page = page(shapes, key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
        Ok(api::DescribeAddressesAttributeOutput { addresses: Some(page.items), next_token: page.next })
    })
}
