//! The group as a whole: as many units of capacity as desired, evenly over its zones.
//!
//! An instance is one unit, or its override's weight. A group has at least what is desired: weights that do not fit
//! exactly are rounded up, and what is too much then is kept until the desired capacity changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use standfast_core::Timestamp;

use crate::autoscaling::model::{Lifecycle, Member, Process};

use super::allocate::{Ledger, heaviest, zone_of};
use super::members::{is_ready, is_warmed_up};
use super::replace::{self, Retire};
use super::select::victims;
use super::{Decision, EndCause, LaunchCause, Plan, Snapshot};

/// By how much a group may pass its desired capacity to balance its zones: a tenth, but at least one instance.
pub const BALANCE_MARGIN_PERCENT: i32 = 10;

type Candidate<'a> = (&'a Arc<str>, &'a Arc<Member>);

/// The members that count, by what matters here.
pub(super) struct Crew<'a> {
    pub members: Vec<Candidate<'a>>,
    /// Instances per zone, those of the group without any included.
    pub counts: BTreeMap<&'a str, usize>,
    /// Units that are there, and units that there should be.
    pub have: i32,
    pub wanted: i32,
    /// How many are on their way out in this pass.
    pub doomed: usize,
}

pub(super) fn units<'a>(members: impl IntoIterator<Item = Candidate<'a>>) -> i32 {
    members.into_iter().map(|(_, member)| member.units()).sum()
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
    let have = units(members.iter().copied());
    let mut crew = Crew { members, counts, have, wanted: s.group.desired, doomed: doomed.len() };
    if crew.have < crew.wanted {
        grow(s, crew, plan);
        return;
    }
    if crew.have == crew.wanted {
        settle(crew.members.iter().filter(|(_, member)| member.spare).map(|(id, _)| *id), plan);
    } else if shrink(s, &crew, plan) {
        return;
    }
    if s.group.change.is_some() {
        plan.push(Decision::ClearChange);
    }
    let replaces = replace::replace(s, &mut crew, plan);
    // What cannot be ended is no reason to launch more.
    if !replaces && crew.have - crew.wanted < heaviest(s.launch) {
        balance(s, crew, plan);
    }
}

/// Launches what is missing, each in the zone that has the fewest; what is warm already goes first.
fn grow<'a>(s: &Snapshot<'a>, mut crew: Crew<'a>, plan: &mut Plan) {
    settle(crew.members.iter().filter(|(_, member)| member.spare).map(|(id, _)| *id), plan);
    if s.is_suspended(Process::Launch) {
        return;
    }
    let open = open_zones(s, plan);
    let mut warm: Vec<Candidate> = s.warmed().filter(|(_, member)| open.contains(&member.zone.as_str())).collect();
    let mut ledger = Ledger::new(s, crew.members.iter().map(|(_, member)| &***member));
    let mut replaced = 0;
    while crew.have < crew.wanted {
        let emptiest_warm = warm.iter().position(|(_, member)| {
            let count = |zone: &str| crew.counts.get(zone).copied().unwrap_or_default();
            warm.iter().all(|(_, other)| count(&member.zone) <= count(&other.zone))
        });
        if let Some(place) = emptiest_warm {
            let (id, member) = warm.remove(place);
            *crew.counts.entry(member.zone.as_str()).or_default() += 1;
            crew.have += member.units();
            plan.push(Decision::Draw { member: id.clone() });
            continue;
        }
        let mut zones = open.clone();
        zones.sort_by_key(|zone| crew.counts.get(*zone).copied().unwrap_or_default());
        let found = zones.iter().find_map(|zone| Some((*zone, ledger.pick(zone, crew.wanted, plan)?)));
        let Some((zone, pick)) = found else {
            if let Some(time) = s.group.back_offs.values().map(|b| b.until).filter(|until| *until > s.now).min() {
                plan.wake_at(time);
            }
            return;
        };
        *crew.counts.entry(zone).or_default() += 1;
        crew.have += pick.units();
        ledger.note(zone, &pick);
        let replaces = replaced < crew.doomed && s.group.change.is_none();
        replaced += 1;
        let cause = if replaces { LaunchCause::Replace } else { LaunchCause::Difference };
        plan.launch(zone, pick, cause);
    }
}

/// Ends what is too much; whether there was any. Spares are held until they serve, so that there are never fewer that
/// serve than desired.
fn shrink(s: &Snapshot, crew: &Crew, plan: &mut Plan) -> bool {
    let extra = crew.have - crew.wanted;
    let serves = |member: &Member| is_ready(s, member) && is_warmed_up(s, member);
    let mut spares: Vec<Candidate> = crew.members.iter().copied().filter(|(_, member)| member.spare).collect();
    spares.sort_by_key(|(_, member)| !serves(member));
    // Members went while spares came: as many of them are ordinary members now.
    let mut ordinary = 0;
    while units(spares[ordinary..].iter().copied()) > extra {
        ordinary += 1;
    }
    settle(spares.drain(..ordinary).map(|(id, _)| id), plan);
    let retiring = replace::retiring(s, crew);
    let serving = units(crew.members.iter().copied().filter(|(_, member)| serves(member)));
    // Nothing is lost with members that are being replaced and do not serve.
    let idle = units(retiring.iter().map(|(candidate, _)| *candidate).filter(|(_, member)| !serves(member)));
    let (mut released, mut count) = (0, 0);
    for (_, spare) in spares.iter().filter(|(_, member)| serves(member)) {
        if released + spare.units() <= serving + idle - crew.wanted {
            released += spare.units();
            count += 1;
        }
    }
    let held: BTreeSet<&Arc<str>> = spares[count..].iter().map(|(id, _)| *id).collect();
    if s.is_suspended(Process::Terminate) {
        return false;
    }
    // A launch under way has no instance yet that could be ended; it will be looked at when it has.
    let launching = units(crew.members.iter().copied().filter(|(id, m)| m.instance.is_none() && !held.contains(id)));
    let room = extra - units(spares[count..].iter().copied()) - launching;
    // Weights that do not fit leave too much, which is no reason to end one.
    let heavy = crew.members.iter().map(|(_, member)| member.units()).max().unwrap_or(1).max(heaviest(s.launch));
    if room <= 0 || (released == 0 && s.group.change.is_none() && room < heavy) {
        return launching > 0;
    }
    let mut cut = Cut { left: room, released, have: crew.have, chosen: Vec::new() };
    for (candidate, why) in retiring.iter().filter(|((id, _), _)| !held.contains(id)) {
        if candidate.1.units() <= cut.left.min(cut.released) {
            cut.end(*candidate, Some(*why));
        }
    }
    let taken: BTreeSet<&Arc<str>> = cut.chosen.iter().map(|((id, _), _)| *id).collect();
    let may_go = |id: &Arc<str>, member: &Member| {
        !member.protected && member.instance.is_some() && !held.contains(id) && !taken.contains(id)
    };
    let candidates = crew.members.iter().copied().filter(|(id, member)| may_go(id, member)).collect();
    for victim in victims(s, candidates, crew.counts.clone(), cut.left) {
        cut.end(victim, None);
    }
    let any = !cut.chosen.is_empty();
    let freed = room - cut.left;
    let mut settled = 0;
    for (id, spare) in &spares[..count] {
        if settled + spare.units() <= freed {
            settled += spare.units();
            settle([*id].into_iter(), plan);
        }
    }
    for ((id, _), cause) in cut.chosen {
        plan.push(Decision::Terminate { member: id.clone(), cause });
    }
    any
}

/// What is ended of too much capacity.
struct Cut<'a> {
    /// Units that may still go.
    left: i32,
    /// Units that go because spares serve in their place.
    released: i32,
    have: i32,
    chosen: Vec<(Candidate<'a>, EndCause)>,
}

impl<'a> Cut<'a> {
    fn end(&mut self, candidate: Candidate<'a>, why: Option<Retire>) {
        let units = candidate.1.units();
        let (from, to) = (self.have, self.have - units);
        let cause = match why {
            Some(why) => EndCause::Retired(why),
            None if self.released > 0 => EndCause::Balanced { zone: candidate.1.zone.clone(), from, to },
            None => EndCause::Shrink { from, to },
        };
        self.have = to;
        self.released -= units;
        self.left -= units;
        self.chosen.push((candidate, cause));
    }
}

/// Launches spares in zones that have fewer than others. Only when all is quiet: what is coming up may balance by itself.
fn balance<'a>(s: &Snapshot<'a>, mut crew: Crew<'a>, plan: &mut Plan) {
    let suspended = [Process::AzRebalance, Process::Launch, Process::Terminate].iter().any(|p| s.is_suspended(*p));
    let quiet = crew.members.iter().all(|(_, member)| member.state == Lifecycle::InService && !member.spare);
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
    let limit = (s.group.max + balance_margin(s.group.desired)).max(crew.have + heaviest(s.launch));
    let mut ledger = Ledger::new(s, crew.members.iter().map(|(_, member)| &***member));
    if open.is_empty() {
        return;
    }
    loop {
        let to = emptiest(&crew.counts, &open);
        let Some(from) = fullest(s, &crew.counts, &movable) else { break };
        if is_own(s, from) && crew.counts[from] < crew.counts[to] + 2 {
            break;
        }
        let Some(pick) = ledger.pick(to, crew.have, plan) else { break };
        if crew.have + pick.units() > limit {
            break;
        }
        crew.have += pick.units();
        ledger.note(to, &pick);
        *crew.counts.entry(from).or_default() -= 1;
        *movable.entry(from).or_default() -= 1;
        *crew.counts.entry(to).or_default() += 1;
        plan.launch(to, pick, LaunchCause::Balance(before.clone()));
    }
}

/// How far a group may pass its desired capacity, in units.
pub fn balance_margin(desired: i32) -> i32 {
    (desired * BALANCE_MARGIN_PERCENT / 100).max(1)
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
    let needy = closed.filter(|(key, _)| counts.get(zone_of(key)).is_some_and(|n| n + 2 <= most));
    needy.map(|(_, back_off)| back_off.until).min()
}

/// The group's zones in which launches are not waiting.
pub(super) fn open_zones<'a>(s: &Snapshot<'a>, plan: &Plan) -> Vec<&'a str> {
    s.group.zones.iter().filter(|zone| !s.is_closed(zone, plan)).map(String::as_str).collect()
}

/// The first of the open zones with the fewest members.
pub(super) fn emptiest<'a>(counts: &BTreeMap<&str, usize>, open: &[&'a str]) -> &'a str {
    let count = |zone: &&&str| counts.get(**zone).copied().unwrap_or_default();
    open.iter().min_by_key(count).expect("the caller has found an open zone")
}

fn settle<'a>(spares: impl Iterator<Item = &'a Arc<str>>, plan: &mut Plan) {
    for member in spares {
        plan.push(Decision::Settle { member: member.clone() });
    }
}
