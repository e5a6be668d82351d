//! Instances as answers show them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::Scope;
use standfast_core::id::{self, Id};
use standfast_core::place::Region;
use standfast_store::View;

use super::defaults::domain;
use super::instance_types::InstanceType;
use super::model::{
    Attachment, BlockDevice, Instance, InterfaceAddress, NetworkInterface, Options, SecurityGroup, State, StateReason,
    Vpc,
};
use super::{public_addresses, spot, tags};

/// A reservation of instances that were launched together (or those of them that are asked for).
pub fn reservation(view: &View, scope: &Scope, instances: &[(Id<id::Instance>, Arc<Instance>)]) -> api::Reservation {
    api::Reservation {
        reservation_id: instances.first().map(|(_, instance)| (&instance.reservation).into()),
        owner_id: Some(scope.account.to_string()),
        groups: Some(Vec::new()),
        instances: Some(instances.iter().map(|(id, one)| instance(view, scope, id, one)).collect()),
        ..Default::default()
    }
}

/// Instances by reservation, in the order in which the reservations first appear.
pub fn reservations(scope: &Scope, instances: Vec<(Id<id::Reservation>, Box<api::Instance>)>) -> Vec<api::Reservation> {
    let mut places: BTreeMap<Id<id::Reservation>, usize> = BTreeMap::new();
    let mut out: Vec<api::Reservation> = Vec::new();
    for (id, instance) in instances {
        let at = *places.entry(id.clone()).or_insert_with(|| {
            out.push(api::Reservation {
                reservation_id: Some(id.into()),
                owner_id: Some(scope.account.to_string()),
                groups: Some(Vec::new()),
                instances: Some(Vec::new()),
                ..Default::default()
            });
            out.len() - 1
        });
        out[at].instances.get_or_insert_default().push(*instance);
    }
    out
}

pub fn state(state: State) -> api::InstanceState {
    api::InstanceState { code: Some(state.code()), name: Some(state.name().to_owned()) }
}

pub fn reason(reason: &StateReason) -> api::StateReason {
    api::StateReason { code: Some(reason.code.clone()), message: Some(reason.message.clone()) }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// The id of a zone, without building its region's list of zones.
fn zone_id(zone: &str) -> Option<String> {
    let (at, letter) = zone.char_indices().last()?;
    let region = Region::named(&zone[..at])?;
    Some(format!("{}-az{}", region.short, region.letters.find(letter)? + 1))
}

/// The private host name of an address.
pub fn private_dns(region: &str, address: Ipv4Addr) -> String {
    format!("ip-{}.{}", address.to_string().replace('.', "-"), domain(region))
}

pub fn public_dns(region: &str, address: Ipv4Addr) -> String {
    let dashed = address.to_string().replace('.', "-");
    match region {
        "us-east-1" => format!("ec2-{dashed}.compute-1.amazonaws.com"),
        _ => format!("ec2-{dashed}.{region}.compute.amazonaws.com"),
    }
}

pub fn instance(view: &View, scope: &Scope, id: &Id<id::Instance>, record: &Instance) -> api::Instance {
    let region = &*scope.region;
    let gone = record.state == State::Terminated;
    let there = |value: String| (!gone).then_some(value);
    let interfaces: Vec<(&Id<id::NetworkInterface>, Arc<NetworkInterface>)> =
        (record.interfaces.iter()).filter_map(|id| Some((id, view.get::<NetworkInterface>(scope, id)?))).collect();
    let primary = interfaces.first().map(|(_, interface)| interface);
    let hostnames = !gone && view.get::<Vpc>(scope, &record.vpc).is_some_and(|vpc| vpc.dns_hostnames);
    let known = InstanceType::named(&record.instance_type);
    let (cores, threads) = known.map_or((1, 1), |known| known.cores());
    let public_ip = public_addresses::of_instance(view, scope, record);
    let public_name = public_ip.filter(|_| hostnames).map(|address| public_dns(region, address));
    let shown: Vec<api::InstanceNetworkInterface> =
        (interfaces.iter()).map(|(id, one)| interface(view, scope, record, id, one, hostnames)).collect();
    let security_groups = shown.first().and_then(|primary| primary.groups.clone()).unwrap_or_default();
    api::Instance {
        architecture: known.map(|known| known.architecture.to_owned()),
        block_device_mappings: Some(record.devices.iter().map(device).collect()),
        client_token: Some(record.client_token.as_ref().map_or_else(String::new, |token| token.token.clone())),
        ebs_optimized: Some(record.options.ebs_optimized),
        ena_support: Some(true),
        hypervisor: text("xen"),
        iam_instance_profile: (record.iam_profile.as_ref())
            .map(|profile| api::IamInstanceProfile { arn: text(&profile.arn), id: text(&profile.id) }),
        instance_lifecycle: record.options.lifecycle.clone(),
        network_interfaces: Some(shown),
        spot_instance_request_id: (record.options.lifecycle.as_ref())
            .and_then(|_| spot::of_instance(view, scope, id))
            .map(String::from),
        root_device_name: text(&record.root_device),
        root_device_type: text("ebs"),
        security_groups: Some(security_groups),
        source_dest_check: primary.map(|interface| interface.source_dest_check),
        state_reason: record.reason.as_ref().map(reason),
        tags: tags::of(view, scope, id),
        virtualization_type: text("hvm"),
        cpu_options: Some(api::CpuOptions {
            core_count: Some(cores),
            threads_per_core: Some(threads),
            ..Default::default()
        }),
        capacity_reservation_specification: Some(api::CapacityReservationSpecificationResponse {
            capacity_reservation_preference: text("open"),
            ..Default::default()
        }),
        hibernation_options: Some(api::HibernationOptions { configured: Some(record.options.hibernation) }),
        metadata_options: Some(metadata(&record.options)),
        enclave_options: Some(api::EnclaveOptions { enabled: Some(record.options.enclave) }),
        platform_details: text("Linux/UNIX"),
        usage_operation: text("RunInstances"),
        usage_operation_update_time: Some(record.launched),
        private_dns_name_options: Some(api::PrivateDnsNameOptionsResponse {
            hostname_type: text(&record.options.hostname_type),
            enable_resource_name_dns_a_record: Some(record.options.dns_a_record),
            enable_resource_name_dns_aaaa_record: Some(record.options.dns_aaaa_record),
        }),
        maintenance_options: Some(api::InstanceMaintenanceOptions {
            auto_recovery: text(record.options.auto_recovery.as_deref().unwrap_or("default")),
            ..Default::default()
        }),
        instance_id: Some(id.into()),
        image_id: text(&record.image),
        state: Some(state(record.state)),
        private_dns_name: Some(there(private_dns(region, record.private_ip)).unwrap_or_default()),
        public_dns_name: Some(public_name.clone().unwrap_or_default()),
        state_transition_reason: text(&record.transition),
        key_name: record.key_name.clone(),
        ami_launch_index: Some(record.launch_index),
        product_codes: Some(Vec::new()),
        instance_type: text(&record.instance_type),
        launch_time: Some(record.launched),
        placement: Some(api::Placement {
            availability_zone: text(&record.zone),
            availability_zone_id: zone_id(&record.zone),
            group_name: Some(record.options.placement_group.clone().unwrap_or_default()),
            tenancy: text(&record.options.tenancy),
            ..Default::default()
        }),
        monitoring: Some(monitoring(record)),
        subnet_id: there((&record.subnet).into()),
        vpc_id: there((&record.vpc).into()),
        private_ip_address: there(record.private_ip.to_string()),
        public_ip_address: public_ip.map(|address| address.to_string()),
        boot_mode: known.map(|known| if known.architecture == "arm64" { "uefi" } else { "uefi-preferred" }.to_owned()),
        current_instance_boot_mode: text("uefi"),
        ..Default::default()
    }
}

pub fn monitoring(record: &Instance) -> api::Monitoring {
    api::Monitoring { state: text(if record.options.monitoring { "enabled" } else { "disabled" }) }
}

pub fn metadata(options: &Options) -> api::InstanceMetadataOptionsResponse {
    let options = &options.metadata;
    api::InstanceMetadataOptionsResponse {
        state: text("applied"),
        http_tokens: text(&options.tokens),
        http_put_response_hop_limit: Some(options.hop_limit),
        http_endpoint: text(&options.endpoint),
        http_protocol_ipv6: text(&options.ipv6),
        instance_metadata_tags: text(&options.tags),
    }
}

/// Groups by id and name.
pub fn groups(view: &View, scope: &Scope, ids: &[Id<id::SecurityGroup>]) -> Vec<api::GroupIdentifier> {
    let one = |id: &Id<id::SecurityGroup>| api::GroupIdentifier {
        group_id: Some(id.into()),
        group_name: view.get::<SecurityGroup>(scope, id).map(|group| group.name.clone()),
    };
    ids.iter().map(one).collect()
}

fn device(device: &BlockDevice) -> api::InstanceBlockDeviceMapping {
    api::InstanceBlockDeviceMapping {
        device_name: text(&device.device),
        ebs: Some(api::EbsInstanceBlockDevice {
            attach_time: Some(device.attached),
            delete_on_termination: Some(device.delete_on_termination),
            status: text("attached"),
            volume_id: Some((&device.volume).into()),
            ..Default::default()
        }),
    }
}

fn interface(
    view: &View,
    scope: &Scope,
    instance: &Instance,
    id: &Id<id::NetworkInterface>,
    interface: &NetworkInterface,
    hostnames: bool,
) -> api::InstanceNetworkInterface {
    let dns = private_dns(&scope.region, interface.private_ip());
    let primary = instance.interfaces.first() == Some(id);
    let association = |at: usize, address: &InterfaceAddress| {
        let public = public_addresses::of(Some(instance), primary && at == 0, address)?;
        let name = hostnames.then(|| public_dns(&scope.region, public.address));
        Some(api::InstanceNetworkInterfaceAssociation {
            ip_owner_id: Some(public_addresses::owner(scope, &public)),
            public_dns_name: Some(name.unwrap_or_default()),
            public_ip: Some(public.address.to_string()),
            ..Default::default()
        })
    };
    let address = |(at, address): (usize, &InterfaceAddress)| api::InstancePrivateIpAddress {
        association: association(at, address),
        primary: Some(at == 0),
        private_dns_name: Some(private_dns(&scope.region, address.private)),
        private_ip_address: Some(address.private.to_string()),
    };
    let addresses: Vec<_> = interface.addresses.iter().enumerate().map(address).collect();
    let attachment = |attachment: &Attachment| api::InstanceNetworkInterfaceAttachment {
        attach_time: Some(attachment.attached),
        attachment_id: Some((&attachment.id).into()),
        delete_on_termination: Some(attachment.delete_on_termination),
        device_index: Some(attachment.device_index),
        status: text("attached"),
        network_card_index: Some(0),
        ..Default::default()
    };
    api::InstanceNetworkInterface {
        attachment: interface.attachment.as_ref().map(attachment),
        description: text(&interface.description),
        groups: Some(groups(view, scope, &interface.groups)),
        ipv6_addresses: Some(Vec::new()),
        mac_address: text(&interface.mac),
        network_interface_id: Some(id.into()),
        owner_id: Some(scope.account.to_string()),
        private_dns_name: Some(dns),
        private_ip_address: Some(interface.private_ip().to_string()),
        association: addresses[0].association.clone(),
        private_ip_addresses: Some(addresses),
        source_dest_check: Some(interface.source_dest_check),
        status: text("in-use"),
        subnet_id: Some((&interface.subnet).into()),
        vpc_id: Some((&interface.vpc).into()),
        interface_type: text("interface"),
        ..Default::default()
    }
}
