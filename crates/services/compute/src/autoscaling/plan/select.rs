//! Which members go when a group shrinks.

use std::collections::BTreeMap;
use std::sync::Arc;

use standfast_core::Timestamp;

use crate::autoscaling::model::{Group, Launch, Member, Source, TerminationPolicy};

const HOUR_MS: i64 = 3_600_000;

type Candidate<'a> = (&'a Arc<str>, &'a Arc<Member>);

/// The members that go, in this order, at most `count`.
///
/// Each comes out of the zone that then has the most members: `counts` are those of the zones, candidates only those
/// that may go.
pub(super) fn victims<'a>(
    group: &Group,
    mut candidates: Vec<Candidate<'a>>,
    mut counts: BTreeMap<&'a str, usize>,
    count: usize,
    now: Timestamp,
) -> Vec<Candidate<'a>> {
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let weight = |candidate: &Candidate| {
            let zone = candidate.1.zone.as_str();
            // A zone that is no longer the group's goes first.
            (!group.zones.iter().any(|own| own == zone), counts.get(zone).copied().unwrap_or_default())
        };
        let Some(heaviest) = candidates.iter().map(weight).max() else { break };
        let fullest = candidates.iter().copied().filter(|candidate| weight(candidate) == heaviest).collect();
        let victim = first(group, fullest, now);
        candidates.retain(|(id, _)| *id != victim.0);
        if let Some(count) = counts.get_mut(victim.1.zone.as_str()) {
            *count -= 1;
        }
        chosen.push(victim);
    }
    chosen
}

/// The one that the policies choose. Members that do not serve go before those that do; the oldest of equals goes.
fn first<'a>(group: &Group, mut left: Vec<Candidate<'a>>, now: Timestamp) -> Candidate<'a> {
    narrow(&mut left, |member| i64::from(member.in_service.is_some() && member.unhealthy.is_none()));
    for policy in &group.termination_policies {
        match policy {
            TerminationPolicy::OldestInstance => narrow(&mut left, |member| member.joined.0),
            TerminationPolicy::NewestInstance => narrow(&mut left, |member| -member.joined.0),
            TerminationPolicy::OldestLaunchConfiguration | TerminationPolicy::OldestLaunchTemplate => {
                narrow(&mut left, |member| age(group, member));
            }
            TerminationPolicy::ClosestToNextInstanceHour => narrow(&mut left, |member| to_next_hour_ms(member, now)),
            TerminationPolicy::Default | TerminationPolicy::AllocationStrategy => {
                narrow(&mut left, |member| age(group, member));
                narrow(&mut left, |member| to_next_hour_ms(member, now));
            }
        }
    }
    left.into_iter().min_by_key(|(id, member)| (member.joined, *id)).expect("chosen among at least one")
}

/// Keeps those with the lowest key.
fn narrow(left: &mut Vec<Candidate>, key: impl Fn(&Member) -> i64) {
    if let Some(lowest) = left.iter().map(|(_, member)| key(member)).min() {
        left.retain(|(_, member)| key(member) == lowest);
    }
}

/// How old what a member was launched from is: other configurations and templates than the group's are the oldest,
/// then the versions of its own template.
fn age(group: &Group, member: &Member) -> i64 {
    match (&member.source, &group.launch) {
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
