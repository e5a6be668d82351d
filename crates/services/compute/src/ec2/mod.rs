//! ec2: VPCs and what is in them, images, launch templates, instances.
//!
//! It owns every record whose table begins with `ec2.`, and is the only one that tells the host driver what to run.
//! Invariant: an address is given out once at a time; an instance's state is moved by requests (what its owner wants) and
//! by the `instances` controller (what its host shows), each in one transaction.
//! It is not the place for policy about how many instances there should be.

mod absent;
mod addresses;
mod attributes;
mod auto_addresses;
mod block_devices;
pub mod burst;
pub mod catalogue;
mod cidr_blocks;
mod connections;
mod convert;
mod defaults;
mod dhcp_options;
mod elastic_ips;
mod endpoint_services;
mod endpoints;
mod errors;
mod filters;
mod fleets;
mod host;
mod iam_profiles;
mod images;
mod instance_types;
mod instances;
mod interface_addresses;
mod internet_gateways;
mod key_pairs;
mod launch;
mod launch_templates;
mod metrics;
mod model;
mod nat_gateways;
mod network_acls;
mod network_interfaces;
mod peerings;
mod placement_groups;
mod plan;
mod power;
mod prefix_lists;
mod public_addresses;
mod regions;
mod route_tables;
mod route_targets;
mod rsa_keys;
mod run;
mod security_groups;
mod security_rules;
mod snapshots;
mod spot;
mod ssh_keys;
mod state_events;
mod subnets;
mod tags;
mod template_data;
mod tokens;
mod volumes;
mod vpcs;
mod vpn_gateways;

use standfast_api::ec2::*;
use standfast_kernel::{On, Service};

pub fn service() -> Service {
    let service = Service::new(&MODEL);
    absent(spot(storage(instances(images(interfaces(security(networks(service))))))))
}

fn networks(service: Service) -> Service {
    connections(service)
        .op(DescribeRegions, regions::describe)
        .op(DescribeAvailabilityZones, regions::describe_zones)
        .op(DescribeAccountAttributes, regions::describe_account_attributes)
        .op(CreateVpc, vpcs::create)
        .op(CreateDefaultVpc, vpcs::create_default)
        .op(DeleteVpc, vpcs::delete)
        .op(DescribeVpcs, vpcs::describe)
        .op(ModifyVpcAttribute, vpcs::modify_attribute)
        .op(DescribeVpcAttribute, vpcs::describe_attribute)
        .op(CreateSubnet, subnets::create)
        .op(CreateDefaultSubnet, subnets::create_default)
        .op(DeleteSubnet, subnets::delete)
        .op(DescribeSubnets, subnets::describe)
        .op(ModifySubnetAttribute, subnets::modify_attribute)
        .op(CreateInternetGateway, internet_gateways::create)
        .op(AttachInternetGateway, internet_gateways::attach)
        .op(DetachInternetGateway, internet_gateways::detach)
        .op(DeleteInternetGateway, internet_gateways::delete)
        .op(DescribeInternetGateways, internet_gateways::describe)
        .op(CreateRouteTable, route_tables::create)
        .op(DeleteRouteTable, route_tables::delete)
        .op(DescribeRouteTables, route_tables::describe)
        .op(CreateRoute, route_tables::create_route)
        .op(ReplaceRoute, route_tables::replace_route)
        .op(DeleteRoute, route_tables::delete_route)
        .op(AssociateRouteTable, route_tables::associate)
        .op(DisassociateRouteTable, route_tables::disassociate)
        .op(ReplaceRouteTableAssociation, route_tables::replace_association)
        .op(CreateNetworkAcl, network_acls::create)
        .op(DeleteNetworkAcl, network_acls::delete)
        .op(DescribeNetworkAcls, network_acls::describe)
        .op(CreateNetworkAclEntry, network_acls::create_entry)
        .op(ReplaceNetworkAclEntry, network_acls::replace_entry)
        .op(DeleteNetworkAclEntry, network_acls::delete_entry)
        .op(ReplaceNetworkAclAssociation, network_acls::replace_association)
        .op(CreateDhcpOptions, dhcp_options::create)
        .op(AssociateDhcpOptions, dhcp_options::associate)
        .op(DeleteDhcpOptions, dhcp_options::delete)
        .op(DescribeDhcpOptions, dhcp_options::describe)
}

fn connections(service: Service) -> Service {
    service
        .op(AllocateAddress, elastic_ips::allocate)
        .op(ReleaseAddress, elastic_ips::release)
        .op(AssociateAddress, elastic_ips::associate)
        .op(DisassociateAddress, elastic_ips::disassociate)
        .op(DescribeAddresses, elastic_ips::describe)
        .op(DescribeAddressesAttribute, elastic_ips::describe_attributes)
        .op(CreateNatGateway, nat_gateways::create)
        .op(DeleteNatGateway, nat_gateways::delete)
        .op(DescribeNatGateways, nat_gateways::describe)
        .op(CreateManagedPrefixList, prefix_lists::create)
        .op(ModifyManagedPrefixList, prefix_lists::modify)
        .op(DeleteManagedPrefixList, prefix_lists::delete)
        .op(DescribeManagedPrefixLists, prefix_lists::describe_managed)
        .op(GetManagedPrefixListEntries, prefix_lists::get_entries)
        .op(DescribePrefixLists, prefix_lists::describe)
        .op(CreateVpcPeeringConnection, peerings::create)
        .op(AcceptVpcPeeringConnection, peerings::accept)
        .op(RejectVpcPeeringConnection, peerings::reject)
        .op(DeleteVpcPeeringConnection, peerings::delete)
        .op(ModifyVpcPeeringConnectionOptions, peerings::modify_options)
        .op(DescribeVpcPeeringConnections, peerings::describe)
        .op(AssociateVpcCidrBlock, cidr_blocks::associate)
        .op(DisassociateVpcCidrBlock, cidr_blocks::disassociate)
        .op(CreateVpnGateway, vpn_gateways::create)
        .op(AttachVpnGateway, vpn_gateways::attach)
        .op(DetachVpnGateway, vpn_gateways::detach)
        .op(DeleteVpnGateway, vpn_gateways::delete)
        .op(DescribeVpnGateways, vpn_gateways::describe)
        .op(EnableVgwRoutePropagation, vpn_gateways::enable_propagation)
        .op(DisableVgwRoutePropagation, vpn_gateways::disable_propagation)
        .op(CreateEgressOnlyInternetGateway, vpn_gateways::create_egress_only)
        .op(DeleteEgressOnlyInternetGateway, vpn_gateways::delete_egress_only)
        .op(DescribeEgressOnlyInternetGateways, vpn_gateways::describe_egress_only)
        .op(CreateVpcEndpoint, endpoints::create)
        .op(ModifyVpcEndpoint, endpoints::modify)
        .op(DeleteVpcEndpoints, endpoints::delete)
        .op(DescribeVpcEndpoints, endpoints::describe)
        .op(DescribeVpcEndpointServices, endpoint_services::describe_services)
        .op(CreateVpcEndpointServiceConfiguration, endpoint_services::create)
        .op(ModifyVpcEndpointServiceConfiguration, endpoint_services::modify)
        .op(DeleteVpcEndpointServiceConfigurations, endpoint_services::delete)
        .op(DescribeVpcEndpointServiceConfigurations, endpoint_services::describe)
        .op(DescribeVpcEndpointServicePermissions, endpoint_services::describe_permissions)
        .op(ModifyVpcEndpointServicePermissions, endpoint_services::modify_permissions)
        .op(DescribeVpcEndpointConnections, endpoint_services::describe_connections)
        .op(AcceptVpcEndpointConnections, endpoint_services::accept)
        .op(RejectVpcEndpointConnections, endpoint_services::reject)
        .op(CreatePlacementGroup, placement_groups::create)
        .op(DeletePlacementGroup, placement_groups::delete)
        .op(DescribePlacementGroups, placement_groups::describe)
        .controller("connections", On::tables(connections::TABLES), connections::run)
}

fn security(service: Service) -> Service {
    service
        .op(CreateSecurityGroup, security_groups::create)
        .op(DeleteSecurityGroup, security_groups::delete)
        .op(DescribeSecurityGroups, security_groups::describe)
        .op(GetSecurityGroupsForVpc, security_groups::describe_for_vpc)
        .op(AuthorizeSecurityGroupIngress, security_rules::authorize_ingress)
        .op(AuthorizeSecurityGroupEgress, security_rules::authorize_egress)
        .op(RevokeSecurityGroupIngress, security_rules::revoke_ingress)
        .op(RevokeSecurityGroupEgress, security_rules::revoke_egress)
        .op(DescribeSecurityGroupRules, security_rules::describe)
        .op(ModifySecurityGroupRules, security_rules::modify)
        .op(UpdateSecurityGroupRuleDescriptionsIngress, security_rules::update_ingress_descriptions)
        .op(UpdateSecurityGroupRuleDescriptionsEgress, security_rules::update_egress_descriptions)
}

fn interfaces(service: Service) -> Service {
    service
        .op(CreateNetworkInterface, network_interfaces::create)
        .op(DeleteNetworkInterface, network_interfaces::delete)
        .op(DescribeNetworkInterfaces, network_interfaces::describe)
        .op(DescribeNetworkInterfaceAttribute, network_interfaces::describe_attribute)
        .op(ModifyNetworkInterfaceAttribute, network_interfaces::modify_attribute)
        .op(AttachNetworkInterface, network_interfaces::attach)
        .op(DetachNetworkInterface, network_interfaces::detach)
        .op(ResetNetworkInterfaceAttribute, network_interfaces::reset_attribute)
        .op(AssignPrivateIpAddresses, interface_addresses::assign)
        .op(UnassignPrivateIpAddresses, interface_addresses::unassign)
        .op(CreateTags, tags::create)
        .op(DeleteTags, tags::delete)
        .op(DescribeTags, tags::describe)
}

fn images(service: Service) -> Service {
    service
        .op(DescribeImages, images::describe)
        .op(CreateImage, images::create)
        .op(RegisterImage, images::register)
        .op(CopyImage, images::copy)
        .op(DeregisterImage, images::deregister)
        .op(ModifyImageAttribute, images::modify_attribute)
        .op(ResetImageAttribute, images::reset_attribute)
        .op(DescribeImageAttribute, images::describe_attribute)
        .op(ImportImage, images::import_image)
        .op(DescribeImportImageTasks, images::describe_image_tasks)
        .op(ImportSnapshot, images::import_snapshot)
        .op(DescribeImportSnapshotTasks, images::describe_snapshot_tasks)
        .op(DescribeInstanceTypes, instance_types::describe)
        .op(DescribeInstanceTypeOfferings, instance_types::describe_offerings)
        .op(ImportKeyPair, key_pairs::import)
        .op(CreateKeyPair, key_pairs::create)
        .op(DeleteKeyPair, key_pairs::delete)
        .op(DescribeKeyPairs, key_pairs::describe)
        .op(CreateLaunchTemplate, launch_templates::create)
        .op(CreateLaunchTemplateVersion, launch_templates::create_version)
        .op(ModifyLaunchTemplate, launch_templates::modify)
        .op(DeleteLaunchTemplate, launch_templates::delete)
        .op(DeleteLaunchTemplateVersions, launch_templates::delete_versions)
        .op(DescribeLaunchTemplates, launch_templates::describe)
        .op(DescribeLaunchTemplateVersions, launch_templates::describe_versions)
}

fn instances(service: Service) -> Service {
    let (memory, samples) = (host::Shared::default(), metrics::Shared::default());
    let wakes = On::tables(host::TABLES).host();
    service
        .op(RunInstances, run::run)
        .op(StartInstances, power::start)
        .op(StopInstances, power::stop)
        .op(RebootInstances, power::reboot)
        .op(TerminateInstances, power::terminate)
        .op(DescribeInstances, instances::describe)
        .op(DescribeInstanceStatus, instances::describe_status)
        .op(ReportInstanceStatus, instances::report_status)
        .op(GetConsoleOutput, instances::console_output)
        .op(DescribeInstanceAttribute, attributes::describe)
        .op(ModifyInstanceAttribute, attributes::modify)
        .op(ResetInstanceAttribute, attributes::reset)
        .op(ModifyPrivateDnsNameOptions, attributes::modify_private_dns)
        .op(ModifyInstanceCreditSpecification, attributes::modify_credits)
        .op(ModifyInstanceMetadataOptions, attributes::modify_metadata)
        .op(DescribeInstanceCreditSpecifications, attributes::describe_credits)
        .op(MonitorInstances, attributes::monitor)
        .op(UnmonitorInstances, attributes::unmonitor)
        .op(AssociateIamInstanceProfile, iam_profiles::associate)
        .op(DisassociateIamInstanceProfile, iam_profiles::disassociate)
        .op(ReplaceIamInstanceProfileAssociation, iam_profiles::replace)
        .op(DescribeIamInstanceProfileAssociations, iam_profiles::describe)
        .controller("instances", wakes, move |cx| host::run(cx, memory.clone()))
        .controller("credentials", On::tables(host::CREDENTIALS_TABLES), host::renew_credentials)
        .controller("metrics", On::tables(&["ec2.instances"]), move |cx| metrics::run(cx, samples.clone()))
}

fn spot(service: Service) -> Service {
    service
        .op(RequestSpotInstances, spot::request)
        .op(DescribeSpotInstanceRequests, spot::describe)
        .op(CancelSpotInstanceRequests, spot::cancel)
        .op(DescribeSpotPriceHistory, spot::describe_prices)
        .op(CreateFleet, fleets::create)
        .op(DeleteFleets, fleets::delete)
        .op(DescribeFleets, fleets::describe)
        .op(DescribeFleetInstances, fleets::describe_instances)
        .controller("spot", On::tables(spot::controller::TABLES), spot::controller::run)
}

fn storage(service: Service) -> Service {
    let wakes = On::tables(volumes::controller::TABLES).host();
    service
        .op(CreateVolume, volumes::create)
        .op(DeleteVolume, volumes::delete)
        .op(DescribeVolumes, volumes::describe)
        .op(DescribeVolumeStatus, volumes::describe_status)
        .op(DescribeVolumeAttribute, volumes::describe_attribute)
        .op(ModifyVolumeAttribute, volumes::modify_attribute)
        .op(EnableVolumeIO, volumes::enable_io)
        .op(AttachVolume, volumes::attach)
        .op(DetachVolume, volumes::detach)
        .op(ModifyVolume, volumes::modify)
        .op(DescribeVolumesModifications, volumes::describe_modifications)
        .op(CreateSnapshot, snapshots::create)
        .op(CreateSnapshots, snapshots::create_of_instance)
        .op(CopySnapshot, snapshots::copy)
        .op(DeleteSnapshot, snapshots::delete)
        .op(DescribeSnapshots, snapshots::describe)
        .op(ModifySnapshotAttribute, snapshots::modify_attribute)
        .op(DescribeSnapshotAttribute, snapshots::describe_attribute)
        .controller("volumes", wakes, volumes::controller::run)
}

fn absent(service: Service) -> Service {
    service
        .op(DescribeFlowLogs, absent::flow_logs)
        .op(DescribeInstanceConnectEndpoints, absent::instance_connect_endpoints)
        .op(DescribeStaleSecurityGroups, absent::stale_security_groups)
        .op(DescribeInstanceEventWindows, absent::instance_event_windows)
        .op(DescribeReservedInstances, absent::reserved_instances)
        .op(DescribeSecurityGroupReferences, absent::security_group_references)
}
