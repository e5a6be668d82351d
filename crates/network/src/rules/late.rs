//! What is wrong between zones and with single interfaces: loss and delay, and the way of late frames.

use std::collections::{BTreeMap, BTreeSet};

use standfast_core::Cidr;
use standfast_core::id::{self, Id};
use standfast_core::network::{Harm, Impairment, NetworkSnapshot, PacketFault, Way};

use super::{Builder, drop_it, hook, traffic};
use crate::delay;
use crate::nft::{DEVICES_MAX, EGRESS, Elements, FORWARD, INGRESS, Step, Table};

/// What is late is marked with this plus the place of its detour among those of the VPC; route tables' marks are below this.
const LATE_FROM: u32 = 1 << 24;

/// What happens to frames on a detour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detour {
    pub delay_ms: u32,
    pub jitter_ms: u32,
    pub corrupt_percent: u8,
}

/// The detours of a VPC, with the marks of what is to take them.
pub type Marks = BTreeMap<Detour, u32>;

/// All detours of a VPC. A mark is of one snapshot: the rules that set it change together with those that read it, but for a
/// moment in which what is under way may be on time.
pub fn marks(snapshot: &NetworkSnapshot, vpc: &Id<id::Vpc>) -> Marks {
    let is_own = |id: &Id<id::NetworkInterface>| snapshot.interfaces.get(id).is_some_and(|one| one.vpc == *vpc);
    let own = snapshot.faults.iter().filter(|(id, _)| is_own(id)).filter_map(|(_, fault)| detour_of(fault));
    let all: BTreeSet<_> = late(snapshot, vpc).into_values().map(detour_between_zones).chain(own).collect();
    all.into_iter().zip(LATE_FROM..).collect()
}

/// The name of the rules for late frames.
pub const DETOURS: &str = "standfast-late";
const DELAYS: &str = "delays";
const LIVE: &str = "live";

impl Builder<'_> {
    /// Loss between zones, and marks for what is to be late.
    pub(super) fn impairments(&mut self) {
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
        let (late, marks) = (late(self.snapshot, self.vpc_id), marks(self.snapshot, self.vpc_id));
        let marked =
            |delay| marks.get(&detour_between_zones(delay)).map(|mark| Step::Mark(*mark)).into_iter().collect();
        faults.extend(late.into_iter().map(|(way, delay)| (way, marked(delay))));

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
        rules.extend(self.snapshot.faults.iter().flat_map(|(id, fault)| {
            let link = self.numbers.interfaces.get(id);
            link.into_iter().flat_map(|link| harm(*link, fault, &marks))
        }));
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
}

fn zone(name: &str) -> String {
    format!("zone-{name}")
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

/// The rules of a fault of the interface behind a link, one for each peer.
fn harm(link: u32, fault: &PacketFault, marks: &Marks) -> Vec<Vec<Step>> {
    let harm = match fault.harm {
        Harm::Loss(100..) => vec![drop_it()],
        Harm::Loss(percent) => vec![Step::Percent(percent), drop_it()],
        Harm::Late { .. } => {
            detour_of(fault).and_then(|detour| Some(Step::Mark(*marks.get(&detour)?))).into_iter().collect()
        }
    };
    if harm.is_empty() {
        return Vec::new();
    }
    let peers: Vec<_> = match (&fault.peers[..], fault.way) {
        ([], _) => vec![None],
        (peers, Way::Sent) => peers.iter().map(|peer| Some(Step::Destination(*peer))).collect(),
        (peers, Way::Received) => peers.iter().map(|peer| Some(Step::Source(*peer))).collect(),
    };
    let rule = |peer: Option<Step>| {
        let mut rule = vec![match fault.way {
            Way::Sent => Step::In(link),
            Way::Received => Step::Out(link),
        }];
        rule.extend(peer);
        traffic(&mut rule, fault.traffic);
        rule.extend(harm.iter().cloned());
        rule
    };
    peers.into_iter().map(rule).collect()
}

/// The detour of what an interface receives, when its fault is one.
pub fn detour_of(fault: &PacketFault) -> Option<Detour> {
    match (fault.way, fault.harm) {
        (Way::Received, Harm::Late { delay_ms, jitter_ms, corrupt_percent }) => {
            Some(Detour { delay_ms, jitter_ms, corrupt_percent })
        }
        _ => None,
    }
}

/// The detour of what is late between zones.
pub fn detour_between_zones(delay_ms: u32) -> Detour {
    Detour { delay_ms, jitter_ms: 0, corrupt_percent: 0 }
}

/// The way of late frames: from the links, by their marks, to the devices that delay them (`delays`: the detour to a
/// device's number), and from there to the link that they were for. `links` are numbers, names, and whether what was late
/// may still arrive.
pub fn detours(marks: &Marks, delays: &BTreeMap<Detour, u32>, links: &[(u32, String, bool)]) -> Table {
    let mut table = Table::of_devices();
    if delays.is_empty() {
        return table;
    }
    let marks = delays.iter().filter_map(|(detour, device)| Some((*marks.get(detour)?, *device))).collect();
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
