//! What the packet filter of a VPC's namespace should be: pure, from the snapshot and the numbers of the links.
//!
//! Order of a forwarded packet: anti-spoofing and darkness (raw), the route table's mark, translation to private addresses;
//! then links' impairments, network ACLs, the sender's security groups, the receiver's, the way out; then translation to
//! public addresses. What the namespace itself answers (metadata, names) meets neither ACLs nor groups, as on EC2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use standfast_core::Cidr;
use standfast_core::id::{self, Id};
use standfast_core::network::{AclEntry, GroupRule, Impairment, Interface, NetworkSnapshot, Peer, Traffic};

use crate::delay;
use crate::nft::{
    DEVICES_MAX, EGRESS, Elements, FORWARD, Hook, INGRESS, POSTROUTING, PREROUTING, Step, Table, Verdict,
};

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

/// What is late by N milliseconds is marked with this plus N; route tables' marks are below.
const LATE_FROM: u32 = 1 << 24;
/// The name of the rules for late frames.
pub const DETOURS: &str = "standfast-late";
const DELAYS: &str = "delays";
const LIVE: &str = "live";

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
const GROUPS_OUT: &str = "groups-out";
const GROUPS_IN: &str = "groups-in";

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

/// The ways, from a zone to a zone, that an impairment is about.
fn ways(one: &Impairment) -> impl Iterator<Item = (&str, &str)> {
    let (a, b) = (one.zones.0.as_str(), one.zones.1.as_str());
    let back = (a != b).then_some((b, a));
    [(a, b)].into_iter().chain(back)
}

/// How many milliseconds later packets arrive, by the zones that they go from and to; only where they can arrive in the VPC.
/// Delays add up: each is of what it is said to be.
pub fn late<'a>(snapshot: &'a NetworkSnapshot, vpc: &Id<id::Vpc>) -> BTreeMap<(&'a str, &'a str), u32> {
    let zones: BTreeSet<_> =
        snapshot.interfaces.values().filter(|one| one.vpc == *vpc).map(|one| one.zone.as_str()).collect();
    let mut late = BTreeMap::<_, u32>::new();
    for one in snapshot.impairments.iter().filter(|one| one.delay_ms > 0) {
        for way in ways(one).filter(|(_, to)| zones.contains(to)) {
            let delay = late.entry(way).or_default();
            *delay = delay.saturating_add(one.delay_ms);
        }
    }
    late
}

fn mark_of(delay: u32) -> u32 {
    LATE_FROM.saturating_add(delay)
}

/// The way of late frames: from the links, by their marks, to the devices that delay them (`delays`: milliseconds to a
/// device's number), and from there to the link that they were for. `links` are numbers, names, and whether what was late
/// may still arrive.
pub fn detours(delays: &BTreeMap<u32, u32>, links: &[(u32, String, bool)]) -> Table {
    let mut table = Table::of_devices();
    if delays.is_empty() {
        return table;
    }
    let marks = delays.iter().map(|(delay, device)| (mark_of(*delay), *device)).collect();
    let live = links.iter().filter(|(.., live)| *live).map(|(number, ..)| *number).collect();
    table.set(DELAYS, Elements::MarkLinks(marks));
    table.set(LIVE, Elements::Links(live));
    let names: Vec<_> = links.iter().map(|(_, name, _)| name.clone()).collect();
    for (n, names) in names.chunks(DEVICES_MAX).enumerate() {
        let away = vec![vec![Step::ForwardByMark(DELAYS.into())]];
        table.on(format!("away-{n}"), EGRESS, names.to_vec(), away);
    }
    // Nothing comes from the devices but what went to them: they are no links of anybody.
    let devices: Vec<_> = delays.values().map(|number| delay::name(*number)).collect();
    for (n, devices) in devices.chunks(DEVICES_MAX).enumerate() {
        let on = vec![vec![Step::ForwardBySender(LIVE.into())], vec![drop_it()]];
        table.on(format!("on-{n}"), INGRESS, devices.to_vec(), on);
    }
    table
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

    /// Loss between zones, and marks for what is to be late.
    fn impairments(&mut self) {
        let mut zones = BTreeMap::<&str, Vec<u32>>::new();
        for (number, _, one) in &self.linked {
            zones.entry(&one.zone).or_default().push(*number);
        }
        let lossy = self.snapshot.impairments.iter().filter(|one| one.loss_percent > 0);
        let lossy = lossy.flat_map(|one| ways(one).map(|way| (way, one.loss_percent)));
        let mut faults: Vec<_> = lossy
            .map(|(way, percent)| match percent {
                100.. => (way, vec![drop_it()]),
                _ => (way, vec![Step::Percent(percent), drop_it()]),
            })
            .collect();
        let late = late(self.snapshot, self.vpc_id);
        faults.extend(late.into_iter().map(|(way, delay)| (way, vec![Step::Mark(mark_of(delay))])));

        let mut rules = Vec::new();
        let mut used = BTreeSet::new();
        for ((from, to), fault) in faults.into_iter().filter(|((_, to), _)| zones.contains_key(to)) {
            used.insert(to);
            if zones.contains_key(from) {
                used.insert(from);
                rules.push(
                    [vec![Step::InAmong(zone(from), true), Step::OutAmong(zone(to), true)], fault.clone()].concat(),
                );
            }
            for (peer, block) in self.peers_in(from) {
                let way = vec![Step::In(peer), Step::Source(block), Step::OutAmong(zone(to), true)];
                rules.push([way, fault.clone()].concat());
            }
        }
        let sets: Vec<_> = used.into_iter().map(|name| (zone(name), zones[name].clone())).collect();
        sets.into_iter().for_each(|(name, links)| self.table.set(name, Elements::Links(links)));
        self.table.base("impairments", hook("filter", FORWARD, -20), rules);
    }

    /// The links to peers with blocks that are in this zone there.
    fn peers_in(&self, zone: &str) -> Vec<(u32, Cidr)> {
        let mut found = Vec::new();
        for (id, link) in &self.numbers.peers {
            let Some((one, other)) = self.snapshot.peerings.get(id) else { continue };
            let far = if one == self.vpc_id { other } else { one };
            let subnets = self.snapshot.vpcs.get(far).into_iter().flat_map(|vpc| vpc.subnets.values());
            found.extend(subnets.filter(|subnet| subnet.zone == zone).map(|subnet| (*link, subnet.cidr)));
        }
        found
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

    /// Security groups: what the sender's allow to go out, then what the receiver's allow to come in. Interfaces without
    /// any, as NAT gateways have, are not filtered.
    fn groups(&mut self) {
        let near = self.near();
        let used: BTreeSet<_> = self.linked.iter().flat_map(|(_, _, one)| &one.groups).collect();
        let mut referenced = BTreeSet::new();
        for id in used {
            let Some(group) = self.snapshot.security_groups.get(id) else { continue };
            for (direction, rules) in [("in", &group.ingress), ("out", &group.egress)] {
                let rules = rules.iter().map(|rule| group_rule(rule, direction == "in")).collect();
                self.table.chain(format!("{id}-{direction}"), rules);
            }
            let peers = group.ingress.iter().chain(&group.egress);
            referenced.extend(peers.filter_map(|rule| if let Peer::Group(id) = &rule.peer { Some(id) } else { None }));
        }
        for id in referenced {
            let members = self.snapshot.interfaces.values();
            let members = members.filter(|one| near.contains(&one.vpc) && one.groups.contains(id));
            let addresses: BTreeSet<_> = members.flat_map(|one| &one.addresses).map(|one| one.private).collect();
            self.table.set(members_of(id), Elements::Addresses(addresses.into_iter().collect()));
        }
        for direction in ["in", "out"] {
            for (number, _, one) in self.linked.iter().filter(|(.., one)| !one.groups.is_empty()) {
                let known = one.groups.iter().filter(|id| self.snapshot.security_groups.contains_key(*id));
                let mut rules: Vec<_> =
                    known.map(|id| vec![Step::Is(Verdict::Jump(format!("{id}-{direction}")))]).collect();
                rules.push(vec![drop_it()]);
                self.table.chain(interface(*number, direction), rules);
            }
        }
        let verdicts = |direction: &str| {
            let jump = |number: u32| Verdict::Jump(interface(number, direction));
            let grouped = self.linked.iter().filter(|(.., one)| !one.groups.is_empty());
            Elements::LinkVerdicts(grouped.map(|(number, ..)| (*number, jump(*number))).collect())
        };
        let (inward, outward) = (verdicts("in"), verdicts("out"));
        self.table.set(GROUPS_IN, inward);
        self.table.set(GROUPS_OUT, outward);
        let senders = vec![
            vec![Step::Established, accept()],
            vec![Step::Invalid, drop_it()],
            vec![Step::InVerdict(GROUPS_OUT.into())],
        ];
        self.table.base("senders-groups", hook("filter", FORWARD, 0), senders);
        let receivers = vec![vec![Step::Established, accept()], vec![Step::OutVerdict(GROUPS_IN.into())]];
        self.table.base("receivers-groups", hook("filter", FORWARD, 10), receivers);
    }

    /// This VPC and those that are peered with it.
    fn near(&self) -> BTreeSet<Id<id::Vpc>> {
        let peers = self.snapshot.peerings.values().filter_map(|(a, b)| match (a == self.vpc_id, b == self.vpc_id) {
            (true, _) => Some(b),
            (_, true) => Some(a),
            _ => None,
        });
        peers.chain([self.vpc_id]).cloned().collect()
    }
}

fn zone(name: &str) -> String {
    format!("zone-{name}")
}

fn members_of(group: &Id<id::SecurityGroup>) -> String {
    format!("{group}-members")
}

fn interface(number: u32, direction: &str) -> String {
    format!("interface-{number}-{direction}")
}

fn acl_rule(entry: &AclEntry, inward: bool) -> Vec<Step> {
    let mut rule = vec![if inward { Step::Source(entry.peer) } else { Step::Destination(entry.peer) }];
    traffic(&mut rule, entry.traffic);
    // Allowed is: on to the rest of the filter.
    rule.push(Step::Is(if entry.allow { Verdict::Return } else { Verdict::Drop }));
    rule
}

fn group_rule(rule: &GroupRule, inward: bool) -> Vec<Step> {
    let mut steps = vec![match (&rule.peer, inward) {
        (Peer::Cidr(cidr), true) => Step::Source(*cidr),
        (Peer::Cidr(cidr), false) => Step::Destination(*cidr),
        (Peer::Group(id), true) => Step::SourceAmong(members_of(id), true),
        (Peer::Group(id), false) => Step::DestinationAmong(members_of(id)),
    }];
    traffic(&mut steps, rule.traffic);
    steps.push(accept());
    steps
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
