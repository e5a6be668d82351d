//! What connects networks: public addresses, NAT gateways, peerings, endpoints and their services, prefix lists, VPN and
//! egress-only gateways; and placement groups.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use standfast_core::id::{self, Id, Kind};
use standfast_core::{Cidr, Scope, Timestamp};
use standfast_store::Record;

use crate::ec2::errors::{Keyed, Resource};

/// Where records are that belong to the cloud and to no account's region.
pub fn cloud() -> Scope {
    Scope::new("cloud", "global")
}

/// A public address that is in use, keyed by its text, in the scope `cloud`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PublicAddressUse {
    pub since: Timestamp,
}

impl Record for PublicAddressUse {
    const TABLE: &'static str = "ec2.public_addresses";
}

/// An Elastic IP address. What it is associated with is said by the interface (index `allocation`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElasticIp {
    pub address: Ipv4Addr,
}

impl Record for ElasticIp {
    const TABLE: &'static str = "ec2.addresses";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("address", self.address.to_string())]
    }
}
impl Keyed for ElasticIp {
    type Kind = id::Allocation;
}

/// A NAT gateway. Until it is deleted it has an interface of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatGateway {
    pub vpc: Id<id::Vpc>,
    pub subnet: Id<id::Subnet>,
    pub public: bool,
    /// What it has, and when it is deleted had: the primary address first.
    pub addresses: Vec<NatAddress>,
    pub interface: Id<id::NetworkInterface>,
    pub state: NatState,
    pub created: Timestamp,
    pub deleted: Option<Timestamp>,
    pub token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NatAddress {
    pub private: Ipv4Addr,
    pub public: Option<Ipv4Addr>,
    pub allocation: Option<Id<id::Allocation>>,
    pub association: Option<Id<id::Association>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NatState {
    Pending,
    Available,
    Deleting,
    Deleted,
}

impl NatState {
    pub fn name(self) -> &'static str {
        match self {
            NatState::Pending => "pending",
            NatState::Available => "available",
            NatState::Deleting => "deleting",
            NatState::Deleted => "deleted",
        }
    }

    /// Whether it has an interface and addresses.
    pub fn is_there(self) -> bool {
        matches!(self, NatState::Pending | NatState::Available)
    }
}

impl Record for NatGateway {
    const TABLE: &'static str = "ec2.nat_gateways";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let there = self.state.is_there().then(|| [("vpc", self.vpc.to_string()), ("subnet", self.subnet.to_string())]);
        there.into_iter().flatten().chain(self.token.iter().map(|token| ("token", token.clone()))).collect()
    }
}
impl Keyed for NatGateway {
    type Kind = id::NatGateway;
}

/// A peering of two VPCs, which may be of different accounts and regions: kept in the scope `cloud`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peering {
    pub requester: PeeringSide,
    pub accepter: PeeringSide,
    pub state: PeeringState,
    pub message: String,
    /// When the state was last changed.
    pub changed: Timestamp,
    pub expires: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeeringSide {
    pub account: String,
    pub region: String,
    pub vpc: Id<id::Vpc>,
    /// Empty until it is known.
    pub cidrs: Vec<Cidr>,
    /// Whether public names of this side's instances lead the other side to their private addresses.
    pub dns_resolution: bool,
}

impl PeeringSide {
    pub fn scope(&self) -> Scope {
        Scope::new(&self.account, &self.region)
    }

    pub fn is_in(&self, scope: &Scope) -> bool {
        *self.account == *scope.account && *self.region == *scope.region
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeeringState {
    PendingAcceptance,
    Provisioning,
    Active,
    Deleted,
    Rejected,
    Failed,
    Expired,
}

impl PeeringState {
    pub fn name(self) -> &'static str {
        match self {
            PeeringState::PendingAcceptance => "pending-acceptance",
            PeeringState::Provisioning => "provisioning",
            PeeringState::Active => "active",
            PeeringState::Deleted => "deleted",
            PeeringState::Rejected => "rejected",
            PeeringState::Failed => "failed",
            PeeringState::Expired => "expired",
        }
    }

    /// Whether it keeps the VPCs together, or may yet.
    pub fn is_open(self) -> bool {
        matches!(self, PeeringState::PendingAcceptance | PeeringState::Provisioning | PeeringState::Active)
    }
}

impl Peering {
    /// The index value of what an account sees in a region.
    pub fn side_key(account: &str, region: &str) -> String {
        format!("{account}/{region}")
    }

    /// The VPCs that it joins.
    pub fn vpcs(&self) -> (Id<id::Vpc>, Id<id::Vpc>) {
        (self.requester.vpc.clone(), self.accepter.vpc.clone())
    }

    /// The side that is in this scope; the requester's where both are.
    pub fn side_in(&self, scope: &Scope) -> Option<&PeeringSide> {
        [&self.requester, &self.accepter].into_iter().find(|side| side.is_in(scope))
    }
}

impl Record for Peering {
    const TABLE: &'static str = "ec2.vpc_peerings";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let sides = [&self.requester, &self.accepter];
        let mut out: Vec<_> = sides.iter().map(|side| ("side", Self::side_key(&side.account, &side.region))).collect();
        out.dedup();
        if self.state.is_open() {
            out.extend(sides.iter().map(|side| ("vpc", side.vpc.to_string())));
        }
        out
    }
}
impl Keyed for Peering {
    type Kind = id::VpcPeering;
}

/// A VPC endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    pub vpc: Id<id::Vpc>,
    pub kind: EndpointKind,
    pub service: String,
    pub state: EndpointState,
    pub policy: Option<String>,
    pub created: Timestamp,
    pub token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EndpointKind {
    /// Routes in these tables lead to the service's prefix list.
    Gateway {
        tables: Vec<Id<id::RouteTable>>,
    },
    /// An interface in each subnet.
    Interface {
        interfaces: Vec<EndpointInterface>,
        groups: Vec<Id<id::SecurityGroup>>,
        private_dns: bool,
    },
    GatewayLoadBalancer {
        interfaces: Vec<EndpointInterface>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointInterface {
    pub subnet: Id<id::Subnet>,
    pub interface: Id<id::NetworkInterface>,
}

impl EndpointKind {
    pub fn name(&self) -> &'static str {
        match self {
            EndpointKind::Gateway { .. } => "Gateway",
            EndpointKind::Interface { .. } => "Interface",
            EndpointKind::GatewayLoadBalancer { .. } => "GatewayLoadBalancer",
        }
    }

    pub fn interfaces(&self) -> &[EndpointInterface] {
        match self {
            EndpointKind::Gateway { .. } => &[],
            EndpointKind::Interface { interfaces, .. } | EndpointKind::GatewayLoadBalancer { interfaces } => interfaces,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointState {
    PendingAcceptance,
    Pending,
    Available,
    Rejected,
    Deleting,
}

impl EndpointState {
    pub fn name(self) -> &'static str {
        match self {
            EndpointState::PendingAcceptance => "pendingAcceptance",
            EndpointState::Pending => "pending",
            EndpointState::Available => "available",
            EndpointState::Rejected => "rejected",
            EndpointState::Deleting => "deleting",
        }
    }
}

impl Record for Endpoint {
    const TABLE: &'static str = "ec2.vpc_endpoints";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let token = self.token.iter().map(|token| ("token", token.clone()));
        let there = (self.state != EndpointState::Deleting).then(|| ("vpc", self.vpc.to_string()));
        token.chain(there).collect()
    }
}
impl Keyed for Endpoint {
    type Kind = id::VpcEndpoint;
}

/// A service of a user's own, behind load balancers, that endpoints lead to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointService {
    pub acceptance_required: bool,
    pub network_load_balancers: Vec<String>,
    pub gateway_load_balancers: Vec<String>,
    pub private_dns_name: Option<String>,
    /// Who may connect besides its owner: the permission's id and the principal's ARN, or `*`.
    pub principals: Vec<(String, String)>,
    /// The zones of the load balancers.
    pub zones: Vec<String>,
}

impl Record for EndpointService {
    const TABLE: &'static str = "ec2.vpc_endpoint_services";
}

/// A managed prefix list of a user's. Every version is kept; the last one is current.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ManagedPrefixList {
    pub name: String,
    /// `IPv4` or `IPv6`.
    pub family: String,
    pub entries_max: i32,
    pub versions: Vec<Vec<PrefixListEntry>>,
    /// What was done last: `create` or `modify`.
    pub last_change: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrefixListEntry {
    /// As it was given: a block of the list's family.
    pub cidr: String,
    pub description: Option<String>,
}

impl ManagedPrefixList {
    pub fn entries(&self) -> &[PrefixListEntry] {
        self.versions.last().map_or(&[], Vec::as_slice)
    }
}

impl Record for ManagedPrefixList {
    const TABLE: &'static str = "ec2.prefix_lists";
}
impl Keyed for ManagedPrefixList {
    type Kind = id::PrefixList;
}

/// A placement group. Instances say by its name that they are in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementGroup {
    pub name: String,
    pub strategy: String,
    pub partitions: Option<i32>,
    pub spread_level: Option<String>,
}

impl Record for PlacementGroup {
    const TABLE: &'static str = "ec2.placement_groups";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
}
impl Keyed for PlacementGroup {
    type Kind = id::PlacementGroup;
}

/// A virtual private gateway: a record that nothing is connected to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VpnGateway {
    pub vpc: Option<Id<id::Vpc>>,
    pub asn: i64,
    pub zone: Option<String>,
    /// When it was deleted: it is shown for a while after.
    pub deleted: Option<Timestamp>,
}

impl Record for VpnGateway {
    const TABLE: &'static str = "ec2.vpn_gateways";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        self.vpc.iter().map(|vpc| ("vpc", vpc.to_string())).collect()
    }
}
impl Keyed for VpnGateway {
    type Kind = VpnGatewayKind;
}

/// An egress-only internet gateway. As networks have no IPv6 here, nothing goes through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EgressOnlyGateway {
    pub vpc: Id<id::Vpc>,
}

impl Record for EgressOnlyGateway {
    const TABLE: &'static str = "ec2.egress_only_internet_gateways";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("vpc", self.vpc.to_string())]
    }
}
impl Keyed for EgressOnlyGateway {
    type Kind = EgressOnlyGatewayKind;
}

/// The kind of the ids of virtual private gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VpnGatewayKind;

impl Kind for VpnGatewayKind {
    const PREFIX: &'static str = "vgw";
}
impl Resource for VpnGatewayKind {
    const NOT_FOUND: &'static str = "InvalidVpnGatewayID.NotFound";
    const MALFORMED: &'static str = "InvalidVpnGatewayID.Malformed";
    const NOUN: &'static str = "vpnGateway ID";
}

/// The kind of the ids of egress-only internet gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressOnlyGatewayKind;

impl Kind for EgressOnlyGatewayKind {
    const PREFIX: &'static str = "eigw";
}
impl Resource for EgressOnlyGatewayKind {
    const NOT_FOUND: &'static str = "InvalidGatewayID.NotFound";
    const MALFORMED: &'static str = "InvalidGatewayID.Malformed";
    const NOUN: &'static str = "gateway ID";
}

/// The kind of the ids of endpoint services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointServiceKind;

impl Kind for EndpointServiceKind {
    const PREFIX: &'static str = "vpce-svc";
}
impl Resource for EndpointServiceKind {
    const NOT_FOUND: &'static str = "InvalidVpcEndpointServiceId.NotFound";
    const MALFORMED: &'static str = "InvalidVpcEndpointServiceId.Malformed";
    const NOUN: &'static str = "VpcEndpointService Id";
}
impl Keyed for EndpointService {
    type Kind = EndpointServiceKind;
}
