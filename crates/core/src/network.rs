//! The networks that instances live in, as whatever runs them needs to know them.
//!
//! A part of [`crate::host::HostSnapshot`], and like it a level: it says what should be, whole. The control plane resolves
//! what people name: NAT gateways and instances as route targets are interfaces here, prefix lists are blocks, rules
//! that cannot match are left out. Invariant: every id that is referred to is in the same snapshot.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Cidr;
use crate::id::{self, Id};

/// All networks of a cloud.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSnapshot {
    pub vpcs: BTreeMap<Id<id::Vpc>, Vpc>,
    pub security_groups: BTreeMap<Id<id::SecurityGroup>, SecurityGroup>,
    /// Interfaces of instances, and of what services put into VPCs (load balancer nodes, NAT gateways).
    pub interfaces: BTreeMap<Id<id::NetworkInterface>, Interface>,
    /// Active peerings and the two VPCs that each joins.
    pub peerings: BTreeMap<Id<id::VpcPeering>, (Id<id::Vpc>, Id<id::Vpc>)>,
    /// What is wrong, on purpose, with the links between zones.
    pub impairments: Vec<Impairment>,
    /// What is wrong, on purpose, with single interfaces.
    pub faults: Vec<(Id<id::NetworkInterface>, PacketFault)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vpc {
    pub account: String,
    pub region: String,
    pub cidrs: Vec<Cidr>,
    pub subnets: BTreeMap<Id<id::Subnet>, Subnet>,
    /// Without the local routes, which are always there.
    pub route_tables: BTreeMap<Id<id::RouteTable>, Vec<Route>>,
    pub acls: BTreeMap<Id<id::NetworkAcl>, Acl>,
    /// Whether an internet gateway is attached.
    pub internet: bool,
    /// Whether the resolver (the base of the first block plus two) answers.
    pub dns: bool,
    /// Names that the resolver knows, in lower case without the final dot.
    pub names: BTreeMap<String, Vec<Ipv4Addr>>,
    /// The search domain of its instances: `eu-west-1.compute.internal`.
    pub domain: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    pub zone: String,
    pub cidr: Cidr,
    pub route_table: Id<id::RouteTable>,
    pub acl: Id<id::NetworkAcl>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub destination: Cidr,
    pub target: RouteTarget,
}

/// Where a route leads. The most specific route wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RouteTarget {
    /// Only what leaves from, or goes to, an address with a public address gets through.
    InternetGateway,
    /// An instance's interface, or a NAT gateway's.
    Interface(Id<id::NetworkInterface>),
    Peering(Id<id::VpcPeering>),
    /// The target is gone, detached or its instance is not there.
    Blackhole,
}

/// A network ACL: stateless, the first entry that matches decides, what no entry matches is denied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acl {
    /// In ascending order of their numbers.
    pub ingress: Vec<AclEntry>,
    pub egress: Vec<AclEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AclEntry {
    pub allow: bool,
    pub traffic: Traffic,
    pub peer: Cidr,
}

/// A security group: stateful, denies what no rule of any group of the interface allows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SecurityGroup {
    pub ingress: Vec<GroupRule>,
    pub egress: Vec<GroupRule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRule {
    pub traffic: Traffic,
    pub peer: Peer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    Cidr(Cidr),
    /// The private addresses of all interfaces of a group, in this VPC or one that is peered.
    Group(Id<id::SecurityGroup>),
}

/// What kind of packets a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Traffic {
    All,
    /// TCP with destination ports, both ends included.
    Tcp(u16, u16),
    Udp(u16, u16),
    /// ICMP of a type and code; `None` is any.
    Icmp(Option<u8>, Option<u8>),
    /// Another IP protocol by number.
    Protocol(u8),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub vpc: Id<id::Vpc>,
    pub subnet: Id<id::Subnet>,
    pub zone: String,
    /// Six octets in hexadecimal, with colons.
    pub mac: String,
    /// The primary address first; never empty.
    pub addresses: Vec<Address>,
    /// Without any, nothing is filtered: only services' interfaces, such as NAT gateways', have none.
    pub groups: Vec<Id<id::SecurityGroup>>,
    /// Whether what is neither from nor to one of its addresses is dropped.
    pub source_dest_check: bool,
    pub owner: Owner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub private: Ipv4Addr,
    /// The address on the internet that is translated to this one and back, one to one. From 127.128.0.0/9, so that the
    /// host reaches it as it is and a packet for it can never leave the machine.
    pub public: Option<Ipv4Addr>,
}

/// Who holds an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Nobody: it has addresses, and nothing answers there.
    None,
    /// Device index 0 is `eth0`.
    Instance { id: Id<id::Instance>, device_index: u32 },
    /// A NAT gateway: a box that forwards with its own first address as the source.
    NatGateway(Id<id::NatGateway>),
    /// A load balancer's node: a place in the VPC in which a data plane opens its sockets (see
    /// [`crate::host::HostObservation::namespaces`]).
    Service,
}

/// What is wrong between two zones, in both directions, or within one when both are the same. It is so for what goes from
/// an interface to an interface, in one VPC or a peered one; not for what goes by way of the internet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Impairment {
    pub zones: (String, String),
    /// Packets lost, 0 to 100; 100 is a partition.
    pub loss_percent: u8,
    /// Added to each packet's way, there and back: a round trip takes twice this longer. Several for one link add up.
    pub delay_ms: u32,
}

/// What is wrong with an interface's packets. It is about what goes through the VPC's router: not about the metadata service
/// and names, which answer there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketFault {
    pub way: Way,
    /// Who is at the other end; everybody when there are none.
    pub peers: Vec<Cidr>,
    pub traffic: Traffic,
    pub harm: Harm,
}

/// Which packets: those that are sent by the interface, or those that are for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    Sent,
    Received,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Harm {
    /// So many of a hundred are lost.
    Loss(u8),
    /// They arrive this much later, each up to `jitter_ms` more or less, so that one may overtake another; and so many of a
    /// hundred with a bit that is wrong. It takes the place of the delay between zones. Only of what is received.
    Late { delay_ms: u32, jitter_ms: u32, corrupt_percent: u8 },
}
