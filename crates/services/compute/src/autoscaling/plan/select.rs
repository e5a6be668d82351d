//! Which members go when a group shrinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use standfast_core::Timestamp;

use crate::autoscaling::model::{Launch, Member, Source, TerminationPolicy};

use super::Snapshot;
use super::allocate::on_demand_share;

const HOUR_MS: i64 = 3_600_000;

type Candidate<'a> = (&'a Arc<str>, &'a Arc<Member>);

/// The members that go, in this order, at most `units` of capacity.
///
/// Each comes out of the zone that then has the most members: `counts` are those of the zones, candidates only those
/// that may go.
pub(super) fn victims<'a>(
    s: &Snapshot,
    mut candidates: Vec<Candidate<'a>>,
    mut counts: BTreeMap<&'a str, usize>,
    mut units: i32,
) -> Vec<Candidate<'a>> {
    let mut chosen = Vec::new();
    loop {
        candidates.retain(|(_, member)| member.units() <= units);
        let weight = |candidate: &Candidate| {
            let zone = candidate.1.zone.as_str();
            // A zone that is no longer the group's goes first.
            (!s.group.zones.iter().any(|own| own == zone), counts.get(zone).copied().unwrap_or_default())
        };
        let Some(heaviest) = candidates.iter().map(weight).max() else { break };
        let fullest = candidates.iter().copied().filter(|candidate| weight(candidate) == heaviest).collect();
        let gone: i32 = chosen.iter().filter(|(_, m): &&Candidate| !m.spot).map(|(_, m)| m.units()).sum();
        let victim = first(s, fullest, gone);
        candidates.retain(|(id, _)| *id != victim.0);
        if let Some(count) = counts.get_mut(victim.1.zone.as_str()) {
            *count -= 1;
        }
        units -= victim.1.units();
        chosen.push(victim);
    }
    chosen
}

/// The one that the policies choose. Members that do not serve go before those that do; the oldest of equals goes.
/// `gone` units on demand have been chosen before.
fn first<'a>(s: &Snapshot, mut left: Vec<Candidate<'a>>, gone: i32) -> Candidate<'a> {
    narrow(&mut left, |member| i64::from(member.in_service.is_some() && member.unhealthy.is_none()));
    for policy in &s.group.termination_policies {
        match policy {
            TerminationPolicy::OldestInstance => narrow(&mut left, |member| member.joined.0),
            TerminationPolicy::NewestInstance => narrow(&mut left, |member| -member.joined.0),
            TerminationPolicy::OldestLaunchConfiguration | TerminationPolicy::OldestLaunchTemplate => {
                narrow(&mut left, |member| age(s.launch, member));
            }
            TerminationPolicy::ClosestToNextInstanceHour => narrow(&mut left, |member| to_next_hour_ms(member, s.now)),
            TerminationPolicy::AllocationStrategy => allocation(s, &mut left, gone),
            TerminationPolicy::Default => {
                allocation(s, &mut left, gone);
                narrow(&mut left, |member| age(s.launch, member));
                narrow(&mut left, |member| to_next_hour_ms(member, s.now));
            }
        }
    }
    left.into_iter().min_by_key(|(id, member)| (member.joined, *id)).expect("chosen among at least one")
}

/// Keeps those of the market that has more than its share, and of those the types that the policy no longer names.
fn allocation(s: &Snapshot, left: &mut Vec<Candidate>, gone: i32) {
    let Launch::Mixed(policy) = s.launch else { return };
    let on_demand = s.members.iter().filter(|(_, member)| member.counts() && !member.spot);
    let on_demand: i32 = on_demand.map(|(_, member)| member.units()).sum();
    let too_many = on_demand - gone > on_demand_share(policy, s.group.desired);
    narrow(left, |member| i64::from(member.spot == too_many));
    let named = |member: &Member| {
        policy.overrides.iter().any(|over| {
            over.instance_type.as_ref() == Some(&member.instance_type) || over.types.contains(&member.instance_type)
        })
    };
    narrow(left, |member| i64::from(named(member)));
}

/// Keeps those with the lowest key.
fn narrow(left: &mut Vec<Candidate>, key: impl Fn(&Member) -> i64) {
    if let Some(lowest) = left.iter().map(|(_, member)| key(member)).min() {
        left.retain(|(_, member)| key(member) == lowest);
    }
}

/// How old what a member was launched from is: other configurations and templates than the group's are the oldest,
/// then the versions of its own template.
fn age(launch: &Launch, member: &Member) -> i64 {
    match (&member.source, launch) {
        (Source::Configuration(own), Launch::Configuration(current)) if own == current => i64::MAX,
        (Source::Template(own), Launch::Template(current)) if own.id == current.id => version(&own.version),
        (Source::Template(own), Launch::Mixed(policy)) if own.id == policy.template.id => version(&own.version),
        (Source::Template(_), _) => -1,
        (Source::Configuration(_) | Source::None, _) => -2,
    }
}

fn version(number: &str) -> i64 {
    number.parse().unwrap_or_default()
}

fn to_next_hour_ms(member: &Member, now: Timestamp) -> i64 {
    HOUR_MS - (now.0 - member.joined.0).rem_euclid(HOUR_MS)
}
