//! Security groups, as two base chains: the sender's egress, then the receiver's ingress.
//!
//! As on EC2, a flow of TCP or UDP is not tracked at an interface whose groups open it to everybody and everybody's answers
//! on all ports too: its packets, either way, are judged one by one, so it is cut at once when the rule goes. What is
//! tracked goes on. Which it is is told by the flow's mark in connection tracking, written with its first packet: it
//! holds for the flow's life. What goes to a NAT gateway is always tracked.

use std::collections::BTreeSet;

use standfast_core::id::{self, Id};
use standfast_core::network::{GroupRule, Interface, Owner, Peer, Traffic};

use super::{Builder, TCP, UDP, accept, drop_it, hook, traffic};
use crate::nft::{Elements, FORWARD, Step, Verdict};

const GROUPS_OUT: &str = "groups-out";
const GROUPS_IN: &str = "groups-in";
const NAT_GATEWAYS: &str = "nat-gateways";

/// Bits of a flow's mark: it is not tracked by the groups of who began it, or of who it is to.
const OPEN_AT_FIRST: u32 = 1;
const OPEN_AT_SECOND: u32 = 2;

impl Builder<'_> {
    /// Security groups: what the sender's allow to go out, then what the receiver's allow to come in. Interfaces without
    /// any, as NAT gateways have, are not filtered.
    pub(super) fn groups(&mut self) {
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
                let jumps = known.map(|id| vec![Step::Is(Verdict::Jump(format!("{id}-{direction}")))]);
                let mut rules: Vec<_> = self.open(one, direction == "in").into_iter().chain(jumps).collect();
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
        let gateways = self.linked.iter().filter(|(.., one)| matches!(one.owner, Owner::NatGateway(_)));
        self.table.set(NAT_GATEWAYS, Elements::Links(gateways.map(|(number, ..)| *number).collect()));
        let mut senders = tracked(OPEN_AT_FIRST, OPEN_AT_SECOND);
        senders.push(vec![Step::Invalid, drop_it()]);
        senders.push(vec![Step::InVerdict(GROUPS_OUT.into())]);
        self.table.base("senders-groups", hook("filter", FORWARD, 0), senders);
        let mut receivers = tracked(OPEN_AT_SECOND, OPEN_AT_FIRST);
        receivers.push(vec![Step::OutVerdict(GROUPS_IN.into())]);
        self.table.base("receivers-groups", hook("filter", FORWARD, 10), receivers);
    }

    /// Lets the first packets through of flows that the interface's groups do not track, and says so in their marks.
    fn open(&self, one: &Interface, inward: bool) -> Vec<Vec<Step>> {
        let groups: Vec<_> = one.groups.iter().filter_map(|id| self.snapshot.security_groups.get(id)).collect();
        let to_all = |inward: bool| {
            let rules = groups.iter().flat_map(move |group| if inward { &group.ingress } else { &group.egress });
            rules.filter(|rule| matches!(rule.peer, Peer::Cidr(cidr) if cidr.prefix() == 0)).map(|rule| rule.traffic)
        };
        let mut open = Vec::new();
        for protocol in [TCP, UDP] {
            if !to_all(!inward).any(|answers| ports(answers, protocol) == Some(ALL_PORTS)) {
                continue;
            }
            for (from, to) in to_all(inward).filter_map(|rule| ports(rule, protocol)) {
                let mut rule = vec![Step::New];
                if !inward {
                    rule.push(Step::OutAmong(NAT_GATEWAYS.into(), false));
                }
                let mark = if inward { OPEN_AT_SECOND } else { OPEN_AT_FIRST };
                rule.extend([
                    Step::Protocol(protocol),
                    Step::DestinationPorts(from, to),
                    Step::MarkFlow(mark),
                    accept(),
                ]);
                if !open.contains(&rule) {
                    open.push(rule);
                }
            }
        }
        open
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

const ALL_PORTS: (u16, u16) = (0, u16::MAX);

/// Which ports of a protocol a rule is about.
fn ports(rule: Traffic, protocol: u8) -> Option<(u16, u16)> {
    match (rule, protocol) {
        (Traffic::All, _) => Some(ALL_PORTS),
        (Traffic::Tcp(from, to), TCP) | (Traffic::Udp(from, to), UDP) => Some((from, to)),
        _ => None,
    }
}

/// Lets through what belongs to flows that are tracked here: where this is who sends, `there` is the bit for packets of who
/// began the flow, `back` for the answers.
fn tracked(there: u32, back: u32) -> Vec<Vec<Step>> {
    vec![
        vec![Step::Related, accept()],
        vec![Step::Established, Step::Answer(false), Step::FlowMarked(there, false), accept()],
        vec![Step::Established, Step::Answer(true), Step::FlowMarked(back, false), accept()],
    ]
}

fn members_of(group: &Id<id::SecurityGroup>) -> String {
    format!("{group}-members")
}

fn interface(number: u32, direction: &str) -> String {
    format!("interface-{number}-{direction}")
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
