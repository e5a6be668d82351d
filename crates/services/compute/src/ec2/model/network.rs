//! VPCs, subnets, gateways, route tables, network ACLs, DHCP options, interfaces.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use standfast_core::id::{self, Id};
use standfast_core::{Cidr, Timestamp};
use standfast_store::Record;

use super::connections::{EgressOnlyGatewayKind, VpnGatewayKind};
use crate::ec2::errors::Keyed;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vpc {
    pub cidr: Cidr,
    /// `vpc-cidr-assoc-` and 17 hexadecimal digits.
    pub cidr_association: String,
    pub is_default: bool,
    pub tenancy: String,
    /// `None` is `default`: no options at all.
    pub dhcp_options: Option<Id<id::DhcpOptions>>,
    pub dns_support: bool,
    pub dns_hostnames: bool,
    pub usage_metrics: bool,
    /// Blocks that were added, with the ids of their associations.
    #[serde(default)]
    pub more_cidrs: Vec<(String, Cidr)>,
}

impl Vpc {
    /// All blocks, the first one first.
    pub fn cidrs(&self) -> Vec<Cidr> {
        [self.cidr].into_iter().chain(self.more_cidrs.iter().map(|(_, cidr)| *cidr)).collect()
    }
}

impl Record for Vpc {
    const TABLE: &'static str = "ec2.vpcs";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let dhcp = self.dhcp_options.iter().map(|id| ("dhcp", id.to_string()));
        self.is_default.then(|| ("default", "true".to_owned())).into_iter().chain(dhcp).collect()
    }
}
impl Keyed for Vpc {
    type Kind = id::Vpc;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subnet {
    pub vpc: Id<id::Vpc>,
    pub cidr: Cidr,
    pub zone: String,
    pub default_for_zone: bool,
    pub map_public_ip: bool,
    pub assign_ipv6: bool,
    pub dns64: bool,
    /// `ip-name` or `resource-name`.
    pub hostname_type: String,
    pub dns_a_record: bool,
    pub dns_aaaa_record: bool,
}

impl Record for Subnet {
    const TABLE: &'static str = "ec2.subnets";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("vpc", self.vpc.to_string())]
    }
}
impl Keyed for Subnet {
    type Kind = id::Subnet;
}

/// Which addresses of a subnet are in use, keyed by the subnet's id. It exists exactly as long as the subnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Addresses {
    /// Offsets from the block's base as half-open ranges, ascending, apart from each other. Addresses are given out
    /// from the lowest, so that this stays short.
    pub used: Vec<(u32, u32)>,
}

impl Record for Addresses {
    const TABLE: &'static str = "ec2.subnet_addresses";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InternetGateway {
    pub vpc: Option<Id<id::Vpc>>,
}

impl Record for InternetGateway {
    const TABLE: &'static str = "ec2.internet_gateways";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        self.vpc.iter().map(|vpc| ("vpc", vpc.to_string())).collect()
    }
}
impl Keyed for InternetGateway {
    type Kind = id::InternetGateway;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteTable {
    pub vpc: Id<id::Vpc>,
    /// The local route comes first.
    pub routes: Vec<Route>,
    pub associations: Vec<RouteTableAssociation>,
    /// The virtual private gateways that may add routes.
    #[serde(default)]
    pub propagating: Vec<Id<VpnGatewayKind>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub destination: Destination,
    pub target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    V4(Cidr),
    /// As it was given.
    V6(String),
    PrefixList(Id<id::PrefixList>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Local,
    InternetGateway(Id<id::InternetGateway>),
    NetworkInterface(Id<id::NetworkInterface>),
    NatGateway(Id<id::NatGateway>),
    Peering(Id<id::VpcPeering>),
    /// A gateway endpoint (its destination is a prefix list), or one of a gateway load balancer.
    Endpoint(Id<id::VpcEndpoint>),
    VpnGateway(Id<VpnGatewayKind>),
    EgressOnly(Id<EgressOnlyGatewayKind>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteTableAssociation {
    pub id: Id<id::RouteTableAssociation>,
    /// `None` makes it the VPC's main table.
    pub subnet: Option<Id<id::Subnet>>,
}

impl RouteTable {
    pub fn is_main(&self) -> bool {
        self.associations.iter().any(|association| association.subnet.is_none())
    }
}

impl Record for RouteTable {
    const TABLE: &'static str = "ec2.route_tables";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let associations = self.associations.iter().flat_map(|association| {
            let subnet = association.subnet.iter().map(|subnet| ("subnet", subnet.to_string()));
            subnet.chain([("association", association.id.to_string())])
        });
        associations.chain([("vpc", self.vpc.to_string())]).collect()
    }
}
impl Keyed for RouteTable {
    type Kind = id::RouteTable;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkAcl {
    pub vpc: Id<id::Vpc>,
    pub is_default: bool,
    /// Ordered by direction and number; the closing deny-all entries (32767) are not kept.
    pub entries: Vec<AclEntry>,
    pub associations: Vec<(Id<id::NetworkAclAssociation>, Id<id::Subnet>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AclEntry {
    pub egress: bool,
    pub number: i32,
    /// `-1` or a protocol's number.
    pub protocol: String,
    /// `allow` or `deny`.
    pub action: String,
    pub cidr: Option<Cidr>,
    pub cidr_v6: Option<String>,
    pub ports: Option<(i32, i32)>,
    pub icmp: Option<(i32, i32)>,
}

impl Record for NetworkAcl {
    const TABLE: &'static str = "ec2.network_acls";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let associations = (self.associations.iter())
            .flat_map(|(id, subnet)| [("association", id.to_string()), ("subnet", subnet.to_string())]);
        associations.chain([("vpc", self.vpc.to_string())]).collect()
    }
}
impl Keyed for NetworkAcl {
    type Kind = id::NetworkAcl;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DhcpOptions {
    pub options: Vec<(String, Vec<String>)>,
}

impl DhcpOptions {
    /// What is said of a key, in words: several may be in one value.
    pub fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        let values = self.options.iter().filter(move |(name, _)| name == key).flat_map(|(_, values)| values);
        values.flat_map(|value| value.split([' ', ','])).filter(|word| !word.is_empty())
    }
}

impl Record for DhcpOptions {
    const TABLE: &'static str = "ec2.dhcp_options";
}
impl Keyed for DhcpOptions {
    type Kind = id::DhcpOptions;
}

/// A network interface. Its private addresses are marked as used in the subnet's `Addresses` while it has them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkInterface {
    pub vpc: Id<id::Vpc>,
    pub subnet: Id<id::Subnet>,
    pub zone: String,
    /// The primary address first; never empty.
    pub addresses: Vec<InterfaceAddress>,
    pub mac: String,
    pub description: String,
    /// The security groups, in the order in which they were given.
    pub groups: Vec<Id<id::SecurityGroup>>,
    pub source_dest_check: bool,
    pub attachment: Option<Attachment>,
    /// Whether a service made it and owns it (`RequesterManaged`): its name.
    pub requester: Option<String>,
    #[serde(default)]
    pub purpose: Purpose,
}

/// What an interface is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    #[default]
    Any,
    NatGateway(Id<id::NatGateway>),
    Endpoint(Id<id::VpcEndpoint>),
    GatewayLoadBalancerEndpoint(Id<id::VpcEndpoint>),
    /// What a service said when it made the interface: `network_load_balancer`.
    Service(String),
}

impl Purpose {
    /// The interface type of answers.
    pub fn name(&self) -> &str {
        match self {
            Purpose::Service(name) => name,
            Purpose::Any => "interface",
            Purpose::NatGateway(_) => "nat_gateway",
            Purpose::Endpoint(_) => "vpc_endpoint",
            Purpose::GatewayLoadBalancerEndpoint(_) => "gateway_load_balancer_endpoint",
        }
    }
}

/// A private address of an interface, and the one on the internet that is translated to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    pub private: Ipv4Addr,
    pub public: Option<PublicAddress>,
}

impl InterfaceAddress {
    pub fn private(private: Ipv4Addr) -> Self {
        Self { private, public: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAddress {
    pub address: Ipv4Addr,
    /// The Elastic IP address that it is; `None` when it was given because of how the subnet or the launch is.
    pub allocation: Option<Id<id::Allocation>>,
    pub association: Option<Id<id::Association>>,
}

impl NetworkInterface {
    /// Whether an instance or a service has it.
    pub fn is_in_use(&self) -> bool {
        self.attachment.is_some() || self.requester.is_some() || self.purpose != Purpose::Any
    }

    /// The primary private address.
    pub fn private_ip(&self) -> Ipv4Addr {
        self.addresses[0].private
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub id: Id<id::NetworkInterfaceAttachment>,
    pub instance: Id<id::Instance>,
    pub device_index: i32,
    pub attached: Timestamp,
    pub delete_on_termination: bool,
}

impl Record for NetworkInterface {
    const TABLE: &'static str = "ec2.network_interfaces";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let groups: BTreeSet<_> = self.groups.iter().collect();
        let attachment = self.attachment.iter().map(|attachment| ("attachment", attachment.id.to_string()));
        let elastic = self.addresses.iter().filter_map(|address| address.public.as_ref()).flat_map(|public| {
            let allocation = public.allocation.iter().map(|id| ("allocation", id.to_string()));
            allocation.chain(public.association.iter().map(|id| ("association", id.to_string())))
        });
        let groups = groups.into_iter().map(|group| ("group", group.to_string()));
        groups.chain(attachment).chain(elastic).chain([("vpc", self.vpc.to_string())]).collect()
    }
}
impl Keyed for NetworkInterface {
    type Kind = id::NetworkInterface;
}
