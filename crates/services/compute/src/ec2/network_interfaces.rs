//! Network interfaces: the primary ones of instances, and ones of their own.
//!
//! Invariant: an interface's address is in use in its subnet for as long as the interface exists.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Zone;
use standfast_core::{Error, Result, Rng, Scope};
use standfast_kernel::{Cx, Principal};
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::instance_types::{InstanceType, interfaces_max};
use super::interface_addresses::{self, Wanted};
use super::model::{Attachment, Instance, InterfaceAddress, NetworkInterface, Purpose, State, Subnet, Vpc};
use super::{convert, defaults, elastic_ips, public_addresses, security_groups, subnets, tags};

/// A hardware address of the kind that is administered locally.
pub fn new_mac(rng: &Rng) -> String {
    let h = rng.hex(10);
    format!("02:{}:{}:{}:{}:{}", &h[0..2], &h[2..4], &h[4..6], &h[6..8], &h[8..10])
}

/// CloudFormation asks for what the owner of a stack is to have.
const ON_BEHALF: &str = "cloudformation";

/// The service that asks for something of its own.
pub fn own_service(cx: &Cx) -> Option<&'static str> {
    match cx.principal() {
        Principal::Service(name) if *name != ON_BEHALF => Some(name),
        _ => None,
    }
}

pub async fn create(cx: Cx, input: api::CreateNetworkInterfaceInput) -> Result<api::CreateNetworkInterfaceOutput> {
    defaults::ready(&cx).await?;
    let subnet_id = errors::id::<id::Subnet>(&input.subnet_id)?;
    let groups = groups(input.groups.as_ref())?;
    let single = input.private_ip_address.as_deref();
    let count = input.secondary_private_ip_address_count;
    let wanted = Wanted::read(single, input.private_ip_addresses.as_ref(), count)?;
    interface_addresses::check_limit(None, wanted.count())?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "network-interface", &[])?;
    let (scope, id, mac) = (cx.scope(), Id::<id::NetworkInterface>::new(cx.rng()), new_mac(cx.rng()));
    let requester = own_service(&cx).map(str::to_owned);
    let purpose = match input.interface_type.clone().filter(|_| requester.is_some()) {
        Some(named) if named != Purpose::Any.name() => Purpose::Service(named),
        _ => Purpose::Any,
    };
    let interface = cx
        .txn(|tx| {
            let subnet = find::<Subnet>(tx, scope, &subnet_id)?;
            let mut groups = groups.clone();
            if groups.is_empty() {
                groups.push(security_groups::by_name(tx, scope, &subnet.vpc, "default")?);
            }
            security_groups::same_vpc(tx, scope, &subnet.vpc, &groups)?;
            errors::dry_run(input.dry_run)?;
            let interface = NetworkInterface {
                vpc: subnet.vpc.clone(),
                subnet: subnet_id.clone(),
                zone: subnet.zone.clone(),
                addresses: wanted.take(tx, scope, &subnet_id, &subnet)?,
                mac: mac.clone(),
                description: input.description.clone().unwrap_or_default(),
                groups,
                source_dest_check: true,
                attachment: None,
                requester: requester.clone(),
                purpose: purpose.clone(),
            };
            tx.put(scope, &id, interface.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &interface))
        })
        .await?;
    Ok(api::CreateNetworkInterfaceOutput { network_interface: Some(interface), ..Default::default() })
}

/// Groups by id, each once.
pub fn groups(texts: Option<&Vec<String>>) -> Result<Vec<Id<id::SecurityGroup>>> {
    let mut out = Vec::new();
    for text in texts.into_iter().flatten() {
        let id = errors::id(text)?;
        if !out.contains(&id) {
            out.push(id);
        }
    }
    Ok(out)
}

pub async fn delete(cx: Cx, input: api::DeleteNetworkInterfaceInput) -> Result<api::DeleteNetworkInterfaceOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::NetworkInterface>(&input.network_interface_id)?);
    let service = own_service(&cx).is_some();
    cx.txn(|tx| {
        let interface = find::<NetworkInterface>(tx, scope, &id)?;
        if interface.requester.is_some() && !service {
            return Err(elastic_ips::not_yours());
        }
        if interface.attachment.is_some() {
            let message = format!("Network interface '{id}' is currently in use.");
            return Err(Error::client("InvalidParameterValue", message));
        }
        errors::dry_run(input.dry_run)?;
        subnets::release_addresses(tx, scope, &interface);
        tx.delete::<NetworkInterface>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteNetworkInterfaceOutput {})
}

pub async fn modify_attribute(
    cx: Cx,
    input: api::ModifyNetworkInterfaceAttributeInput,
) -> Result<api::ModifyNetworkInterfaceAttributeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::NetworkInterface>(&input.network_interface_id)?);
    let wanted = groups(input.groups.as_ref())?;
    let service = own_service(&cx).is_some();
    cx.txn(|tx| {
        let mut interface = (*find::<NetworkInterface>(tx, scope, &id)?).clone();
        if interface.requester.is_some() && !service {
            return Err(elastic_ips::not_yours());
        }
        if !wanted.is_empty() {
            security_groups::same_vpc(tx, scope, &interface.vpc, &wanted)?;
            interface.groups = wanted.clone();
        }
        if let Some(check) = input.source_dest_check.as_ref().and_then(|check| check.value) {
            interface.source_dest_check = check;
        }
        if let Some(description) = input.description.as_ref().and_then(|description| description.value.clone()) {
            interface.description = description;
        }
        if let Some(changes) = &input.attachment {
            let text = changes.attachment_id.as_deref().unwrap_or_default();
            let attachment = interface.attachment.as_mut().filter(|known| known.id.as_str() == text);
            let attachment = attachment.ok_or_else(|| errors::not_found::<id::NetworkInterfaceAttachment>(text))?;
            attachment.delete_on_termination =
                changes.delete_on_termination.unwrap_or(attachment.delete_on_termination);
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, interface);
        Ok(())
    })
    .await?;
    Ok(api::ModifyNetworkInterfaceAttributeOutput {})
}

pub async fn attach(cx: Cx, input: api::AttachNetworkInterfaceInput) -> Result<api::AttachNetworkInterfaceOutput> {
    let id = errors::id::<id::NetworkInterface>(&input.network_interface_id)?;
    let instance_id = errors::id::<id::Instance>(&input.instance_id)?;
    let (scope, new, now) = (cx.scope(), Id::<id::NetworkInterfaceAttachment>::new(cx.rng()), cx.now());
    cx.txn(|tx| {
        let interface = find::<NetworkInterface>(tx, scope, &id)?;
        let instance = find::<Instance>(tx, scope, &instance_id)?;
        check_attach(tx, scope, (&id, &interface), (&instance_id, &instance), input.device_index)?;
        errors::dry_run(input.dry_run)?;
        let attachment = Attachment {
            id: new.clone(),
            instance: instance_id.clone(),
            device_index: input.device_index,
            attached: now,
            delete_on_termination: false,
        };
        tx.put(scope, &id, NetworkInterface { attachment: Some(attachment), ..(*interface).clone() });
        let mut instance = (*instance).clone();
        instance.interfaces.push(id.clone());
        tx.put(scope, &instance_id, instance);
        Ok(())
    })
    .await?;
    Ok(api::AttachNetworkInterfaceOutput { attachment_id: Some(new.into()), network_card_index: Some(0) })
}

/// Resets the one attribute that has a default: the check of source and destination is on again.
pub async fn reset_attribute(
    cx: Cx,
    input: api::ResetNetworkInterfaceAttributeInput,
) -> Result<api::ResetNetworkInterfaceAttributeOutput> {
    errors::required(input.source_dest_check, "sourceDestCheck")?;
    let check = api::AttributeBooleanValue { value: Some(true) };
    let change = api::ModifyNetworkInterfaceAttributeInput {
        network_interface_id: input.network_interface_id,
        source_dest_check: Some(check),
        dry_run: input.dry_run,
        ..Default::default()
    };
    modify_attribute(cx, change).await?;
    Ok(api::ResetNetworkInterfaceAttributeOutput {})
}

/// Refuses an interface that somebody has.
pub fn check_free(id: &Id<id::NetworkInterface>, interface: &NetworkInterface) -> Result<()> {
    if interface.is_in_use() {
        return Err(Error::client("InvalidNetworkInterface.InUse", format!("Interface: [{id}] in use.")));
    }
    Ok(())
}

/// Refuses an interface with more addresses than the type's interfaces can have, or more interfaces than it can have.
pub fn check_limits(name: &str, interfaces: usize, addresses: usize) -> Result<()> {
    let Some(known) = InstanceType::named(name) else { return Ok(()) };
    let limit = interfaces_max(&known);
    if interfaces > limit as usize {
        let message = format!("Interface count {interfaces} exceeds the limit for {name}");
        return Err(Error::client("AttachmentLimitExceeded", message));
    }
    interface_addresses::check_limit(Some(&known), addresses)
}

fn check_attach(
    view: &View,
    scope: &Scope,
    (id, interface): (&Id<id::NetworkInterface>, &NetworkInterface),
    (instance_id, instance): (&Id<id::Instance>, &Instance),
    device_index: i32,
) -> Result<()> {
    check_free(id, interface)?;
    if !matches!(instance.state, State::Running | State::Stopped) {
        let message = format!("Instance '{instance_id}' is not 'running' or 'stopped'.");
        return Err(Error::client("IncorrectState", message));
    }
    if interface.zone != instance.zone {
        let message = format!(
            "You may not attach a network interface to an instance if they are not in the same availability zone: {id}, {instance_id}"
        );
        return Err(errors::combination(message));
    }
    let taken = instance
        .interfaces
        .iter()
        .filter_map(|id| view.get::<NetworkInterface>(scope, id))
        .any(|other| other.attachment.as_ref().is_some_and(|attachment| attachment.device_index == device_index));
    if taken {
        let message =
            format!("Instance '{instance_id}' already has an interface attached at device index '{device_index}'.");
        return Err(errors::invalid(message));
    }
    check_limits(&instance.instance_type, instance.interfaces.len() + 1, interface.addresses.len())
}

pub async fn detach(cx: Cx, input: api::DetachNetworkInterfaceInput) -> Result<api::DetachNetworkInterfaceOutput> {
    let (scope, attachment) = (cx.scope(), errors::id::<id::NetworkInterfaceAttachment>(&input.attachment_id)?);
    cx.txn(|tx| {
        let found = tx.by_index::<NetworkInterface>(scope, "attachment", &attachment);
        let (id, interface) =
            found.first().ok_or_else(|| errors::not_found::<id::NetworkInterfaceAttachment>(&attachment))?;
        let known = interface.attachment.as_ref().expect("indexed by it");
        if known.device_index == 0 {
            let message = "The network interface at device index 0 cannot be detached.";
            return Err(Error::client("OperationNotPermitted", message));
        }
        errors::dry_run(input.dry_run)?;
        if let Some(instance) = tx.get::<Instance>(scope, &known.instance) {
            let mut instance = (*instance).clone();
            instance.interfaces.retain(|other| **other != **id);
            tx.put(scope, &known.instance, instance);
        }
        tx.put(scope, id, NetworkInterface { attachment: None, ..(**interface).clone() });
        Ok(())
    })
    .await?;
    Ok(api::DetachNetworkInterfaceOutput {})
}

/// Gives the primary interface of an instance other groups.
pub fn regroup(tx: &mut Txn, scope: &Scope, instance: &Instance, groups: &[Id<id::SecurityGroup>]) -> Result<()> {
    let Some(id) = instance.interfaces.first() else { return Ok(()) };
    security_groups::same_vpc(tx, scope, &instance.vpc, groups)?;
    let interface = find::<NetworkInterface>(tx, scope, id)?;
    tx.put(scope, id, NetworkInterface { groups: groups.to_vec(), ..(*interface).clone() });
    Ok(())
}

/// Sets whether the primary interface drops what is not from or to its own address.
pub fn check_source_and_destination(tx: &mut Txn, scope: &Scope, instance: &Instance, check: bool) -> Result<()> {
    let Some(id) = instance.interfaces.first() else { return Ok(()) };
    let interface = find::<NetworkInterface>(tx, scope, id)?;
    tx.put(scope, id, NetworkInterface { source_dest_check: check, ..(*interface).clone() });
    Ok(())
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeNetworkInterfacesInput,
) -> Result<api::DescribeNetworkInterfacesOutput> {
    defaults::ready(&cx).await?;
    cx.view(|view| {
        let rows = errors::select::<NetworkInterface>(view, cx.scope(), input.network_interface_ids.as_ref())?;
        let rows = rows.iter().map(|(id, interface)| shape(view, cx.scope(), id, interface));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (interfaces, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeNetworkInterfacesOutput { network_interfaces: Some(interfaces), next_token })
    })
}

pub async fn describe_attribute(
    cx: Cx,
    input: api::DescribeNetworkInterfaceAttributeInput,
) -> Result<api::DescribeNetworkInterfaceAttributeOutput> {
    let id = errors::id::<id::NetworkInterface>(&input.network_interface_id)?;
    cx.view(|view| {
        let shape = shape(view, cx.scope(), &id, &*find::<NetworkInterface>(view, cx.scope(), &id)?);
        let mut output = api::DescribeNetworkInterfaceAttributeOutput {
            network_interface_id: shape.network_interface_id,
            ..Default::default()
        };
        match input.attribute.as_deref() {
            Some("attachment") => output.attachment = shape.attachment,
            Some("description") => output.description = Some(api::AttributeValue { value: shape.description }),
            Some("groupSet") => output.groups = shape.groups,
            Some("sourceDestCheck") => {
                output.source_dest_check = Some(api::AttributeBooleanValue { value: shape.source_dest_check });
            }
            Some("associatePublicIpAddress") => {
                output.associate_public_ip_address = Some(shape.association.is_some());
            }
            Some(other) => return Err(errors::invalid_value("attribute", other)),
            None => return Err(errors::missing("attribute")),
        }
        Ok(output)
    })
}

fn shape(view: &View, scope: &Scope, id: &str, interface: &NetworkInterface) -> api::NetworkInterface {
    let dns = convert::private_dns(&scope.region, interface.private_ip());
    let instance = interface.attachment.as_ref().and_then(|at| view.get::<Instance>(scope, &at.instance));
    let hostnames = view.get::<Vpc>(scope, &interface.vpc).is_some_and(|vpc| vpc.dns_hostnames);
    let primary = instance.as_ref().is_some_and(|instance| instance.interfaces.first().is_some_and(|i| **i == *id));
    let association = |at: usize, address: &InterfaceAddress| {
        let public = public_addresses::of(instance.as_deref(), primary && at == 0, address)?;
        Some(api::NetworkInterfaceAssociation {
            allocation_id: public.allocation.as_ref().map(String::from),
            association_id: public.association.as_ref().map(String::from),
            ip_owner_id: Some(public_addresses::owner(scope, &public)),
            public_dns_name: Some(if hostnames {
                convert::public_dns(&scope.region, public.address)
            } else {
                String::new()
            }),
            public_ip: Some(public.address.to_string()),
            ..Default::default()
        })
    };
    let address = |(at, address): (usize, &InterfaceAddress)| api::NetworkInterfacePrivateIpAddress {
        association: association(at, address),
        primary: Some(at == 0),
        private_dns_name: Some(convert::private_dns(&scope.region, address.private)),
        private_ip_address: Some(address.private.to_string()),
    };
    let addresses: Vec<_> = interface.addresses.iter().enumerate().map(address).collect();
    let attachment = |attachment: &Attachment| api::NetworkInterfaceAttachment {
        attach_time: Some(attachment.attached),
        attachment_id: Some((&attachment.id).into()),
        delete_on_termination: Some(attachment.delete_on_termination),
        device_index: Some(attachment.device_index),
        network_card_index: Some(0),
        instance_id: Some((&attachment.instance).into()),
        instance_owner_id: Some(scope.account.to_string()),
        status: Some("attached".into()),
        ..Default::default()
    };
    api::NetworkInterface {
        attachment: interface.attachment.as_ref().map(attachment),
        availability_zone: Some(interface.zone.clone()),
        availability_zone_id: Zone::named(&interface.zone).map(|zone| zone.id),
        description: Some(interface.description.clone()),
        groups: Some(convert::groups(view, scope, &interface.groups)),
        interface_type: Some(interface.purpose.name().into()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(interface.mac.clone()),
        network_interface_id: Some(id.to_owned()),
        owner_id: Some(scope.account.to_string()),
        private_dns_name: Some(dns),
        private_ip_address: Some(interface.private_ip().to_string()),
        association: addresses[0].association.clone(),
        private_ip_addresses: Some(addresses),
        requester_id: interface.requester.as_ref().map(|service| format!("amazon-{service}")),
        requester_managed: Some(interface.requester.is_some()),
        source_dest_check: Some(interface.source_dest_check),
        status: Some(if interface.is_in_use() { "in-use" } else { "available" }.into()),
        subnet_id: Some((&interface.subnet).into()),
        tag_set: tags::of(view, scope, id),
        vpc_id: Some((&interface.vpc).into()),
        ..Default::default()
    }
}

fn attachment(interface: &api::NetworkInterface) -> impl Iterator<Item = &api::NetworkInterfaceAttachment> {
    interface.attachment.iter()
}

impl Described for api::NetworkInterface {
    const FIELDS: &'static [Field<Self>] = &[
        ("association.allocation-id", |i| i.association.iter().flat_map(|a| filters::one(&a.allocation_id)).collect()),
        ("association.association-id", |i| {
            i.association.iter().flat_map(|a| filters::one(&a.association_id)).collect()
        }),
        ("association.ip-owner-id", |i| i.association.iter().flat_map(|a| filters::one(&a.ip_owner_id)).collect()),
        ("association.public-ip", |i| i.association.iter().flat_map(|a| filters::one(&a.public_ip)).collect()),
        ("addresses.private-ip-address", |i| filters::each(&i.private_ip_addresses, |one| &one.private_ip_address)),
        ("addresses.primary", |i| {
            i.private_ip_addresses.iter().flatten().flat_map(|one| filters::text(one.primary)).collect()
        }),
        ("addresses.association.public-ip", |i| {
            let associations = i.private_ip_addresses.iter().flatten().filter_map(|one| one.association.as_ref());
            associations.flat_map(|association| filters::one(&association.public_ip)).collect()
        }),
        ("attachment.attachment-id", |i| attachment(i).flat_map(|a| filters::one(&a.attachment_id)).collect()),
        ("attachment.attach-time", |i| attachment(i).flat_map(|a| filters::text(a.attach_time)).collect()),
        ("attachment.delete-on-termination", |i| {
            attachment(i).flat_map(|a| filters::text(a.delete_on_termination)).collect()
        }),
        ("attachment.device-index", |i| attachment(i).flat_map(|a| filters::text(a.device_index)).collect()),
        ("attachment.instance-id", |i| attachment(i).flat_map(|a| filters::one(&a.instance_id)).collect()),
        ("attachment.instance-owner-id", |i| attachment(i).flat_map(|a| filters::one(&a.instance_owner_id)).collect()),
        ("attachment.status", |i| attachment(i).flat_map(|a| filters::one(&a.status)).collect()),
        ("availability-zone", |i| filters::one(&i.availability_zone)),
        ("availability-zone-id", |i| filters::one(&i.availability_zone_id)),
        ("description", |i| filters::one(&i.description)),
        ("group-id", |i| filters::each(&i.groups, |group| &group.group_id)),
        ("group-name", |i| filters::each(&i.groups, |group| &group.group_name)),
        ("interface-type", |i| filters::one(&i.interface_type)),
        ("ipv6-addresses.ipv6-address", |_| Vec::new()),
        ("mac-address", |i| filters::one(&i.mac_address)),
        ("network-interface-id", |i| filters::one(&i.network_interface_id)),
        ("owner-id", |i| filters::one(&i.owner_id)),
        ("private-dns-name", |i| filters::one(&i.private_dns_name)),
        ("private-ip-address", |i| filters::one(&i.private_ip_address)),
        ("requester-id", |i| filters::one(&i.requester_id)),
        ("requester-managed", |i| filters::text(i.requester_managed)),
        ("source-dest-check", |i| filters::text(i.source_dest_check)),
        ("status", |i| filters::one(&i.status)),
        ("subnet-id", |i| filters::one(&i.subnet_id)),
        ("vpc-id", |i| filters::one(&i.vpc_id)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tag_set.as_ref()
    }
    fn key(&self) -> String {
        self.network_interface_id.clone().unwrap_or_default()
    }
}
