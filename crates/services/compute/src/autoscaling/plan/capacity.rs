//! The group as a whole: as many members as desired, evenly over its zones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use standfast_core::Timestamp;

use crate::autoscaling::model::{Lifecycle, Member, Process};

use super::members::is_ready;
use super::select::victims;
use super::{BALANCE_MARGIN_MIN, BALANCE_MARGIN_PERCENT, Decision, EndCause, LaunchCause, Plan, Snapshot};

/// The members that count, by what matters here.
struct Crew<'a> {
    members: Vec<(&'a Arc<str>, &'a Arc<Member>)>,
    /// Per zone, those of the group without members included.
    counts: BTreeMap<&'a str, usize>,
    /// How many there should be.
    wanted: usize,
    /// How many are on their way out in this pass.
    doomed: usize,
}

pub(super) fn adjust<'a>(s: &Snapshot<'a>, doomed: &BTreeSet<Arc<str>>, plan: &mut Plan) {
    let abandoned: Vec<Arc<str>> = (plan.decisions.iter())
        .filter_map(|decision| match decision {
            Decision::Terminate { member, .. } => Some(member.clone()),
            _ => None,
        })
        .collect();
    let stays = |id: &Arc<str>| !doomed.contains(id) && !abandoned.contains(id);
    let members: Vec<_> =
        s.members.iter().filter(|(id, member)| member.counts() && stays(id)).map(|(id, m)| (id, m)).collect();
    let mut counts: BTreeMap<&str, usize> = s.group.zones.iter().map(|zone| (zone.as_str(), 0)).collect();
    for (_, member) in &members {
        *counts.entry(member.zone.as_str()).or_default() += 1;
    }
    let crew = Crew { members, counts, wanted: s.group.instances_for(s.group.desired), doomed: doomed.len() };
    if crew.members.len() < crew.wanted {
        grow(s, crew, plan);
    } else if crew.members.len() > crew.wanted {
        shrink(s, &crew, plan);
    } else {
        settle(crew.members.iter().filter(|(_, member)| member.spare).map(|(id, _)| *id), plan);
        if s.group.change.is_some() {
            plan.push(Decision::ClearChange);
        }
        balance(s, crew, plan);
    }
}

/// Launches what is missing, each in the zone that has the fewest.
fn grow<'a>(s: &Snapshot<'a>, mut crew: Crew<'a>, plan: &mut Plan) {
    settle(crew.members.iter().filter(|(_, member)| member.spare).map(|(id, _)| *id), plan);
    if s.is_suspended(Process::Launch) {
        return;
    }
    let open = open_zones(s, plan);
    let missing = crew.wanted - crew.members.len();
    if open.is_empty() {
        if let Some(time) = s.group.back_offs.values().map(|back_off| back_off.until).min() {
            plan.wake_at(time);
        }
        return;
    }
    for n in 0..missing {
        let zone = emptiest(&crew.counts, &open);
        *crew.counts.entry(zone).or_default() += 1;
        let replaces = n < crew.doomed && s.group.change.is_none();
        let cause = if replaces { LaunchCause::Replace } else { LaunchCause::Difference };
        launch(zone, cause, plan);
    }
}

/// Ends what is too much. Spares are held until they serve, so that there are never fewer that serve than desired.
fn shrink(s: &Snapshot, crew: &Crew, plan: &mut Plan) {
    let (have, wanted) = (crew.members.len(), crew.wanted);
    let extra = have - wanted;
    let mut spares: Vec<_> = crew.members.iter().filter(|(_, member)| member.spare).collect();
    spares.sort_by_key(|(_, member)| !is_ready(s, member));
    // Members went while spares came: as many of them are ordinary members now.
    let ordinary = spares.len().saturating_sub(extra);
    settle(spares.drain(..ordinary).map(|(id, _)| *id), plan);
    let serving = crew.members.iter().filter(|(_, member)| is_ready(s, member)).count();
    let ready = spares.iter().filter(|(_, member)| is_ready(s, member)).count();
    let released = ready.min(serving.saturating_sub(wanted));
    let held: BTreeSet<&Arc<str>> = spares[released..].iter().map(|(id, _)| *id).collect();
    if s.is_suspended(Process::Terminate) {
        return;
    }
    // A launch under way has no instance yet that could be ended; it will be looked at when it has.
    let launching = crew.members.iter().filter(|(id, m)| m.instance.is_none() && !held.contains(id)).count();
    let candidates: Vec<_> = (crew.members.iter().copied())
        .filter(|(id, member)| !member.protected && member.instance.is_some() && !held.contains(id))
        .collect();
    let count = (extra - held.len()).saturating_sub(launching);
    let chosen = victims(s.group, candidates, crew.counts.clone(), count, s.now);
    settle(spares[..released.min(chosen.len())].iter().map(|(id, _)| *id), plan);
    for (n, (id, member)) in chosen.into_iter().enumerate() {
        let (from, to) = (have - n, have - n - 1);
        let cause = if n < released {
            EndCause::Balanced { zone: member.zone.clone(), from, to }
        } else {
            EndCause::Shrink { from, to }
        };
        plan.push(Decision::Terminate { member: id.clone(), cause });
    }
}

/// Launches spares in zones that have fewer than others. Only when all is quiet: what is coming up may balance by itself.
fn balance<'a>(s: &Snapshot<'a>, mut crew: Crew<'a>, plan: &mut Plan) {
    let suspended = [Process::AzRebalance, Process::Launch, Process::Terminate].iter().any(|p| s.is_suspended(*p));
    let quiet = crew.members.iter().all(|(_, member)| member.state == Lifecycle::InService);
    if suspended || !quiet || crew.doomed > 0 {
        return;
    }
    let mut movable: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, member) in crew.members.iter().filter(|(_, member)| !member.protected && member.unhealthy.is_none()) {
        *movable.entry(member.zone.as_str()).or_default() += 1;
    }
    let before: Vec<(String, usize)> = crew.counts.iter().map(|(zone, n)| ((*zone).to_owned(), *n)).collect();
    let open = open_zones(s, plan);
    if let Some(time) = reopening(s, &crew.counts, &movable) {
        plan.wake_at(time);
    }
    let most = s.group.instances_for(s.group.max);
    let margin = (most * BALANCE_MARGIN_PERCENT / 100).max(BALANCE_MARGIN_MIN);
    let room = (most + margin).saturating_sub(crew.members.len());
    if open.is_empty() {
        return;
    }
    for _ in 0..room {
        let to = emptiest(&crew.counts, &open);
        let Some(from) = fullest(s, &crew.counts, &movable) else { break };
        if is_own(s, from) && crew.counts[from] < crew.counts[to] + 2 {
            break;
        }
        *crew.counts.entry(from).or_default() -= 1;
        *movable.entry(from).or_default() -= 1;
        *crew.counts.entry(to).or_default() += 1;
        launch(to, LaunchCause::Balance(before.clone()), plan);
    }
}

/// The zone that members should leave first: one that is no longer the group's, then the one with the most.
fn fullest<'a>(s: &Snapshot, counts: &BTreeMap<&'a str, usize>, movable: &BTreeMap<&str, usize>) -> Option<&'a str> {
    let can = counts.iter().filter(|(zone, _)| movable.get(*zone).is_some_and(|n| *n > 0));
    can.max_by_key(|(zone, n)| (!is_own(s, zone), **n)).map(|(zone, _)| *zone)
}

fn is_own(s: &Snapshot, zone: &str) -> bool {
    s.group.zones.iter().any(|own| own == zone)
}

/// When the first closed zone opens that members should move to.
fn reopening(s: &Snapshot, counts: &BTreeMap<&str, usize>, movable: &BTreeMap<&str, usize>) -> Option<Timestamp> {
    let most = counts.iter().filter(|(zone, _)| movable.contains_key(*zone)).map(|(_, n)| *n).max()?;
    let closed = s.group.back_offs.iter().filter(|(_, back_off)| back_off.until > s.now);
    let needy = closed.filter(|(zone, _)| counts.get(zone.as_str()).is_some_and(|n| n + 2 <= most));
    needy.map(|(_, back_off)| back_off.until).min()
}

/// The group's zones in which launches are not waiting.
fn open_zones<'a>(s: &Snapshot<'a>, plan: &Plan) -> Vec<&'a str> {
    let cleared = |zone: &String| plan.decisions.contains(&Decision::ClearBackOff { zone: zone.clone() });
    let closing = |zone: &String| plan.decisions.contains(&Decision::BackOff { zone: zone.clone() });
    let closed = |zone: &String| {
        let back_off = s.group.back_offs.get(zone).filter(|_| !cleared(zone));
        back_off.is_some_and(|back_off| back_off.until > s.now || closing(zone))
    };
    s.group.zones.iter().filter(|zone| !closed(zone)).map(String::as_str).collect()
}

/// The first of the open zones with the fewest members.
fn emptiest<'a>(counts: &BTreeMap<&str, usize>, open: &[&'a str]) -> &'a str {
    let count = |zone: &&&str| counts.get(**zone).copied().unwrap_or_default();
    open.iter().min_by_key(count).expect("the caller has found an open zone")
}

fn launch(zone: &str, cause: LaunchCause, plan: &mut Plan) {
    for decision in &mut plan.decisions {
        if let Decision::Launch { zone: other, count, cause: same } = decision
            && other == zone
            && *same == cause
        {
            *count += 1;
            return;
        }
    }
    plan.push(Decision::Launch { zone: zone.to_owned(), count: 1, cause });
}

fn settle<'a>(spares: impl Iterator<Item = &'a Arc<str>>, plan: &mut Plan) {
    for member in spares {
        plan.push(Decision::Settle { member: member.clone() });
    }
}
