//! What the packet filter of a VPC's namespace should be: pure, from the snapshot and the numbers of the links.
//!
//! Order of a forwarded packet: anti-spoofing and darkness (raw), the route table's mark, translation to private addresses;
//! then links' impairments, network ACLs, the sender's security groups, the receiver's, the way out; then translation to
//! public addresses. What the namespace itself answers (metadata, names) meets neither ACLs nor groups, as on EC2.

mod groups;
mod late;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use standfast_core::id::{self, Id};
use standfast_core::network::{AclEntry, Interface, NetworkSnapshot, Traffic};

use crate::nft::{Elements, FORWARD, Hook, POSTROUTING, PREROUTING, Step, Table, Verdict};

pub use late::{DETOURS, Detour, detour_between_zones, detour_of, detours, late, marks};

/// Priorities of base chains; lower comes first. Those at prerouting and postrouting are the kernel's own places for raw,
/// mangle and nat.
const RAW: i32 = -300;
const MANGLE: i32 = -150;
const DESTINATION_NAT: i32 = -100;
const SOURCE_NAT: i32 = 100;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// The links of a VPC's namespace by what they lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub interfaces: BTreeMap<Id<id::NetworkInterface>, u32>,
    /// To the internet, where a gateway is attached.
    pub internet: Option<u32>,
    pub peers: BTreeMap<Id<id::VpcPeering>, u32>,
    pub route_tables: BTreeMap<Id<id::RouteTable>, u32>,
}

/// Names of sets.
const DARK: &str = "dark";
const CHECKED: &str = "checked";
const OWN: &str = "own-addresses";
const MARKS: &str = "marks";
const PUBLIC: &str = "public";
const TO_PRIVATE: &str = "to-private";
const TO_PUBLIC: &str = "to-public";
const ACL_OUT: &str = "acl-out";
const ACL_IN: &str = "acl-in";

struct Builder<'a> {
    snapshot: &'a NetworkSnapshot,
    vpc_id: &'a Id<id::Vpc>,
    vpc: &'a standfast_core::network::Vpc,
    numbers: &'a Numbers,
    /// The VPC's interfaces that have a link.
    linked: Vec<(u32, &'a Id<id::NetworkInterface>, &'a Interface)>,
    table: Table,
}

/// The rules of one VPC; empty when the snapshot does not have it.
pub fn vpc(snapshot: &NetworkSnapshot, vpc_id: &Id<id::Vpc>, numbers: &Numbers, dark: &BTreeSet<String>) -> Table {
    let Some(vpc) = snapshot.vpcs.get(vpc_id) else { return Table::default() };
    let linked = (numbers.interfaces.iter())
        .filter_map(|(id, number)| Some((*number, id, snapshot.interfaces.get(id)?)))
        .collect();
    let mut builder = Builder { snapshot, vpc_id, vpc, numbers, linked, table: Table::default() };
    builder.raw(dark);
    builder.marks();
    builder.translation();
    builder.impairments();
    builder.acls();
    builder.groups();
    builder.table
}

fn drop_it() -> Step {
    Step::Is(Verdict::Drop)
}

fn accept() -> Step {
    Step::Is(Verdict::Accept)
}

fn hook(kind: &'static str, number: u32, priority: i32) -> Hook {
    Hook { kind, number, priority }
}

impl Builder<'_> {
    /// Drops what dark zones send and get, and what pretends to be, or is for, somebody else.
    fn raw(&mut self, dark: &BTreeSet<String>) {
        let of = |wanted: &dyn Fn(&Interface) -> bool| {
            self.linked.iter().filter(|(_, _, one)| wanted(one)).map(|(number, ..)| *number).collect::<Vec<_>>()
        };
        let (dark, checked) = (of(&|one| dark.contains(&one.zone)), of(&|one| one.source_dest_check));
        let own: Vec<_> = (self.linked.iter())
            .flat_map(|(number, _, one)| one.addresses.iter().map(|address| (*number, address.private)))
            .collect();
        self.table.set(DARK, Elements::Links(dark));
        self.table.set(CHECKED, Elements::Links(checked));
        self.table.set(OWN, Elements::LinkAddresses(own));
        let rules = vec![
            vec![Step::InAmong(DARK.into(), true), drop_it()],
            vec![Step::InAmong(CHECKED.into(), true), Step::InSourceAmong(OWN.into(), false), drop_it()],
        ];
        self.table.base("raw", hook("filter", PREROUTING, RAW), rules);
        let rules = vec![
            vec![Step::OutAmong(DARK.into(), true), drop_it()],
            vec![Step::OutAmong(CHECKED.into(), true), Step::OutDestinationAmong(OWN.into(), false), drop_it()],
        ];
        self.table.base("receivers", hook("filter", FORWARD, -30), rules);
    }

    /// Marks what an interface sends with the number of its subnet's route table.
    fn marks(&mut self) {
        let marks = (self.linked.iter()).filter_map(|(number, _, one)| {
            let subnet = self.vpc.subnets.get(&one.subnet)?;
            Some((*number, *self.numbers.route_tables.get(&subnet.route_table)?))
        });
        self.table.set(MARKS, Elements::LinkMarks(marks.collect()));
        self.table.base("routes", hook("filter", PREROUTING, MANGLE), vec![vec![Step::MarkByIn(MARKS.into())]]);
    }

    /// Public addresses, one to one, where the VPC meets the internet.
    fn translation(&mut self) {
        let Some(internet) = self.numbers.internet else { return };
        let pairs: Vec<(Ipv4Addr, Ipv4Addr)> = (self.linked.iter())
            .flat_map(|(_, _, one)| &one.addresses)
            .filter_map(|address| Some((address.public?, address.private)))
            .collect();
        let privates: BTreeSet<Ipv4Addr> = pairs.iter().map(|(_, private)| *private).collect();
        let reversed: BTreeMap<_, _> = pairs.iter().map(|(public, private)| (*private, *public)).collect();
        self.table.set(TO_PRIVATE, Elements::AddressMap(pairs));
        self.table.set(TO_PUBLIC, Elements::AddressMap(reversed.into_iter().collect()));
        self.table.set(PUBLIC, Elements::Addresses(privates.into_iter().collect()));
        let inward = vec![vec![Step::In(internet), Step::DestinationFrom(TO_PRIVATE.into())]];
        self.table.base("from-internet", hook("nat", PREROUTING, DESTINATION_NAT), inward);
        let outward = vec![vec![Step::Out(internet), Step::SourceFrom(TO_PUBLIC.into())]];
        self.table.base("to-internet", hook("nat", POSTROUTING, SOURCE_NAT), outward);
        let without = vec![vec![Step::Out(internet), Step::SourceAmong(PUBLIC.into(), false), drop_it()]];
        self.table.base("way-out", hook("filter", FORWARD, 20), without);
    }

    /// Network ACLs, at the borders of subnets only.
    fn acls(&mut self) {
        for (id, acl) in &self.vpc.acls {
            for (direction, entries) in [("in", &acl.ingress), ("out", &acl.egress)] {
                let mut rules: Vec<_> = entries.iter().map(|entry| acl_rule(entry, direction == "in")).collect();
                rules.push(vec![drop_it()]);
                self.table.chain(format!("{id}-{direction}"), rules);
            }
        }
        for (id, subnet) in &self.vpc.subnets {
            let back = Step::Is(Verdict::Return);
            let inward = vec![
                vec![Step::Source(subnet.cidr), back.clone()],
                vec![Step::Is(Verdict::Jump(format!("{}-in", subnet.acl)))],
            ];
            let outward = vec![
                vec![Step::Destination(subnet.cidr), back],
                vec![Step::Is(Verdict::Jump(format!("{}-out", subnet.acl)))],
            ];
            self.table.chain(format!("{id}-in"), inward);
            self.table.chain(format!("{id}-out"), outward);
        }
        let verdicts = |direction: &str| {
            let known = self.linked.iter().filter(|(_, _, one)| self.vpc.subnets.contains_key(&one.subnet));
            let jump = |subnet: &Id<id::Subnet>| Verdict::Jump(format!("{subnet}-{direction}"));
            Elements::LinkVerdicts(known.map(|(number, _, one)| (*number, jump(&one.subnet))).collect())
        };
        let (inward, outward) = (verdicts("in"), verdicts("out"));
        self.table.set(ACL_IN, inward);
        self.table.set(ACL_OUT, outward);
        let rules = vec![vec![Step::InVerdict(ACL_OUT.into())], vec![Step::OutVerdict(ACL_IN.into())]];
        self.table.base("acls", hook("filter", FORWARD, -10), rules);
    }
}

fn acl_rule(entry: &AclEntry, inward: bool) -> Vec<Step> {
    let mut rule = vec![if inward { Step::Source(entry.peer) } else { Step::Destination(entry.peer) }];
    traffic(&mut rule, entry.traffic);
    // Allowed is: on to the rest of the filter.
    rule.push(Step::Is(if entry.allow { Verdict::Return } else { Verdict::Drop }));
    rule
}

fn traffic(steps: &mut Vec<Step>, traffic: Traffic) {
    match traffic {
        Traffic::All => {}
        Traffic::Tcp(from, to) => steps.extend([Step::Protocol(TCP), Step::DestinationPorts(from, to)]),
        Traffic::Udp(from, to) => steps.extend([Step::Protocol(UDP), Step::DestinationPorts(from, to)]),
        Traffic::Icmp(kind, code) => {
            steps.push(Step::Protocol(ICMP));
            steps.extend(kind.map(Step::IcmpType));
            steps.extend(code.map(Step::IcmpCode));
        }
        Traffic::Protocol(number) => steps.push(Step::Protocol(number)),
    }
}
