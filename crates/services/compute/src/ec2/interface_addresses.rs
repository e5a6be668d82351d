//! The private addresses of interfaces: what a request wants, and giving secondary ones to and taking them from an
//! interface that exists.
//!
//! Invariant: an address is in use in its subnet exactly while one interface has it; the primary address never moves.

use std::net::Ipv4Addr;
use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::instance_types::{self, InstanceType};
use super::model::{Instance, InterfaceAddress, NetworkInterface, PublicAddress, Subnet};
use super::network_interfaces::own_service;
use super::{elastic_ips, public_addresses, subnets};

/// What a request says about the addresses of a new interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub primary: Option<Ipv4Addr>,
    pub secondary: Vec<Ipv4Addr>,
    /// How many more there are to be, whichever are free.
    pub more: usize,
}

impl Wanted {
    /// Reads a request's single address, its list and its count of secondary addresses.
    pub fn read(
        single: Option<&str>,
        list: Option<&Vec<api::PrivateIpAddressSpecification>>,
        count: Option<i32>,
    ) -> Result<Self> {
        let mut wanted =
            Self { primary: single.filter(|text| !text.is_empty()).map(parse).transpose()?, ..Self::default() };
        for given in list.into_iter().flatten() {
            let address = parse(given.private_ip_address.as_deref().unwrap_or_default())?;
            match (given.primary == Some(true), wanted.primary) {
                (true, Some(other)) if other != address => {
                    return Err(errors::combination("Only one primary private IP address can be specified."));
                }
                (true, _) => wanted.primary = Some(address),
                (false, _) => wanted.secondary.push(address),
            }
        }
        match count {
            None => (),
            Some(_) if !wanted.secondary.is_empty() => {
                let message = "Secondary private IP addresses and their count may not be specified on the same request";
                return Err(errors::combination(message));
            }
            Some(count) => {
                wanted.more = usize::try_from(count)
                    .map_err(|_| errors::invalid_value("secondaryPrivateIpAddressCount", &count.to_string()))?;
            }
        }
        Ok(wanted)
    }

    /// How many addresses there are to be.
    pub fn count(&self) -> usize {
        1 + self.secondary.len() + self.more
    }

    /// Whether it names addresses, which only one interface can have.
    pub fn is_particular(&self) -> bool {
        self.primary.is_some() || !self.secondary.is_empty()
    }

    /// Takes the addresses in a subnet: those that are named first, so that none of them is taken as any.
    pub fn take(
        &self,
        tx: &mut Txn,
        scope: &Scope,
        id: &Id<id::Subnet>,
        subnet: &Subnet,
    ) -> Result<Vec<InterfaceAddress>> {
        let mut take = |asked| subnets::take_address(tx, scope, id, subnet, asked).map(InterfaceAddress::private);
        let named: Vec<_> =
            self.primary.iter().chain(&self.secondary).map(|one| take(Some(*one))).collect::<Result<_>>()?;
        let primary = if self.primary.is_some() { None } else { Some(take(None)?) };
        let more: Vec<_> = (0..self.more).map(|_| take(None)).collect::<Result<_>>()?;
        Ok(primary.into_iter().chain(named).chain(more).collect())
    }
}

fn parse(text: &str) -> Result<Ipv4Addr> {
    text.parse().map_err(|_| errors::invalid(format!("Invalid IPv4 address: '{text}'")))
}

/// Refuses more addresses on an interface than the type of the instance that has it allows.
pub fn check_limit(instance_type: Option<&InstanceType>, count: usize) -> Result<()> {
    let limit = instance_type.map_or(instance_types::ADDRESSES_MAX, instance_types::addresses_max);
    if count > limit as usize {
        let message = "Number of private addresses will exceed limit.";
        return Err(Error::client("PrivateIpAddressLimitExceeded", message));
    }
    Ok(())
}

/// The type of the instance that has the interface.
fn type_of(view: &View, scope: &Scope, interface: &NetworkInterface) -> Option<InstanceType> {
    let instance = view.get::<Instance>(scope, &interface.attachment.as_ref()?.instance)?;
    InstanceType::named(&instance.instance_type)
}

fn owned(cx: &Cx, interface: &NetworkInterface) -> Result<()> {
    let service = own_service(cx).is_some();
    if interface.requester.is_some() && !service { Err(elastic_ips::not_yours()) } else { Ok(()) }
}

pub async fn assign(cx: Cx, input: api::AssignPrivateIpAddressesInput) -> Result<api::AssignPrivateIpAddressesOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::NetworkInterface>(&input.network_interface_id)?);
    let named: Vec<Ipv4Addr> =
        input.private_ip_addresses.iter().flatten().map(|text| parse(text)).collect::<Result<_>>()?;
    let wanted = Wanted { secondary: named, ..Wanted::read(None, None, input.secondary_private_ip_address_count)? };
    match (wanted.secondary.is_empty(), input.secondary_private_ip_address_count) {
        (true, None) => return Err(errors::missing("secondaryPrivateIpAddressCount or privateIpAddress")),
        (false, Some(_)) => {
            let message = "Private IP addresses and their count may not be specified on the same request";
            return Err(errors::combination(message));
        }
        _ => (),
    }
    let assigned = cx
        .txn(|tx| {
            let mut interface = (*find::<NetworkInterface>(tx, scope, &id)?).clone();
            owned(&cx, &interface)?;
            let subnet = find::<Subnet>(tx, scope, &interface.subnet)?;
            let mut new = Vec::new();
            for address in &wanted.secondary {
                if interface.addresses.iter().any(|known| known.private == *address) {
                    continue;
                }
                new.push(if input.allow_reassignment == Some(true) {
                    move_or_take(tx, scope, &interface, &subnet, *address)?
                } else {
                    let private = subnets::take_address(tx, scope, &interface.subnet, &subnet, Some(*address))?;
                    InterfaceAddress::private(private)
                });
            }
            for _ in 0..wanted.more {
                let private = subnets::take_address(tx, scope, &interface.subnet, &subnet, None)?;
                new.push(InterfaceAddress::private(private));
            }
            let given: Vec<Ipv4Addr> = new.iter().map(|address| address.private).collect();
            interface.addresses.extend(new);
            check_limit(type_of(tx, scope, &interface).as_ref(), interface.addresses.len())?;
            tx.put(scope, &id, interface);
            Ok(given)
        })
        .await?;
    let shape = |address: Ipv4Addr| api::AssignedPrivateIpAddress { private_ip_address: Some(address.to_string()) };
    Ok(api::AssignPrivateIpAddressesOutput {
        network_interface_id: Some(id.into()),
        assigned_private_ip_addresses: Some(assigned.into_iter().map(shape).collect()),
        ..Default::default()
    })
}

/// Takes an address from the interface that has it, with its public address, or from the subnet when none has it.
fn move_or_take(
    tx: &mut Txn,
    scope: &Scope,
    to: &NetworkInterface,
    subnet: &Subnet,
    address: Ipv4Addr,
) -> Result<InterfaceAddress> {
    let has = |interface: &NetworkInterface| {
        interface.subnet == to.subnet && interface.addresses.iter().any(|known| known.private == address)
    };
    let all = tx.list::<NetworkInterface>(scope);
    let holder: Option<&(Arc<str>, Arc<NetworkInterface>)> = all.iter().find(|(_, interface)| has(interface));
    let Some((holder_id, holder)) = holder else {
        return subnets::take_address(tx, scope, &to.subnet, subnet, Some(address)).map(InterfaceAddress::private);
    };
    let at = holder.addresses.iter().position(|known| known.private == address).expect("found by it");
    if at == 0 || holder.requester.is_some() {
        let message =
            format!("The address {address} is the primary private IP address of the interface '{holder_id}'.");
        return Err(errors::invalid(message));
    }
    let mut holder = (**holder).clone();
    let moved = holder.addresses.remove(at);
    tx.put(scope, holder_id, holder);
    Ok(moved)
}

pub async fn unassign(
    cx: Cx,
    input: api::UnassignPrivateIpAddressesInput,
) -> Result<api::UnassignPrivateIpAddressesOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::NetworkInterface>(&input.network_interface_id)?);
    let named: Vec<Ipv4Addr> =
        input.private_ip_addresses.iter().flatten().map(|text| parse(text)).collect::<Result<_>>()?;
    if named.is_empty() {
        return Err(errors::missing("privateIpAddress"));
    }
    cx.txn(|tx| {
        let mut interface = (*find::<NetworkInterface>(tx, scope, &id)?).clone();
        owned(&cx, &interface)?;
        for address in &named {
            let at = interface.addresses.iter().position(|known| known.private == *address).ok_or_else(|| {
                errors::invalid(format!("Some of the addresses are not assigned to interface {id}: {address}"))
            })?;
            if at == 0 {
                let message = format!("The primary private IP address {address} cannot be unassigned.");
                return Err(errors::invalid(message));
            }
            let gone = interface.addresses.remove(at);
            subnets::release_address(tx, scope, &interface.subnet, gone.private);
            if let Some(PublicAddress { address, allocation: None, .. }) = gone.public {
                public_addresses::release(tx, address);
            }
        }
        tx.put(scope, &id, interface);
        Ok(())
    })
    .await?;
    Ok(api::UnassignPrivateIpAddressesOutput {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(address: &str, primary: bool) -> api::PrivateIpAddressSpecification {
        api::PrivateIpAddressSpecification { primary: Some(primary), private_ip_address: Some(address.into()) }
    }

    #[test]
    fn a_list_a_single_address_and_a_count_say_the_same_thing() {
        let primary: Ipv4Addr = "10.0.0.9".parse().expect("valid");
        let read = Wanted::read(Some("10.0.0.9"), Some(&vec![given("10.0.0.7", false)]), None).expect("valid");
        assert_eq!((read.primary, read.secondary.len(), read.count()), (Some(primary), 1, 2));
        let listed = vec![given("10.0.0.9", true), given("10.0.0.7", false)];
        assert_eq!(Wanted::read(None, Some(&listed), None).expect("valid"), read);
        assert_eq!(Wanted::read(None, None, Some(3)).expect("valid").count(), 4);
        let two = vec![given("10.0.0.9", true), given("10.0.0.8", true)];
        assert!(Wanted::read(None, Some(&two), None).is_err());
        assert!(Wanted::read(None, Some(&listed), Some(1)).is_err());
        assert!(Wanted::read(None, None, Some(-1)).is_err());
    }
}
