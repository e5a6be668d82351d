//! Members that are replaced though the group is complete: by an instance refresh, for their age, on EC2's advice.
//!
//! How many at once follows from two bounds in percent of the desired capacity: how much must serve, and how much may be
//! there. What may be there beyond the desired capacity is launched first, as spares; what need not serve is ended first.

use std::sync::Arc;
use std::time::Duration;

use crate::autoscaling::model::{Lifecycle, Member, Process, Unhealthy};

use super::allocate::{Ledger, Pick};
use super::capacity::{Crew, emptiest, open_zones, units};
use super::members::{is_ready, is_warmed_up};
use super::{Decision, EndCause, LaunchCause, Plan, Snapshot};

/// What must serve and what may be there while members are replaced for their age, in percent.
const LIFETIME_BOUNDS: (i32, i32) = (90, 100);
/// The same for capacity rebalancing: launched first, by AWS's margin of a tenth.
const REBALANCE_BOUNDS: (i32, i32) = (100, 110);

/// Why a member is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    /// The maintenance policy has its replacement launched first.
    Unhealthy(Unhealthy),
    /// EC2 expects to interrupt it.
    Rebalance,
    /// An instance refresh.
    Refresh,
    /// It is as old as the group lets instances become.
    Lifetime,
}

type Candidate<'a> = (&'a Arc<str>, &'a Arc<Member>);

/// Whether the maintenance policy wants an unhealthy member replaced before it is ended. What has no power is not kept.
pub(super) fn is_replaced_first(s: &Snapshot, why: Option<Unhealthy>) -> bool {
    let (_, high) = s.group.options.maintenance.unwrap_or_default();
    why.is_some_and(|why| why != Unhealthy::Ec2) && high.is_some_and(|high| high > 100)
}

fn why(s: &Snapshot, member: &Member) -> Option<Retire> {
    if member.state != Lifecycle::InService || member.spare || member.instance.is_none() {
        return None;
    }
    if let Some(why) = member.unhealthy {
        let replaces = !s.is_suspended(Process::ReplaceUnhealthy) && is_replaced_first(s, Some(why));
        return replaces.then_some(Retire::Unhealthy(why));
    }
    let advised = member.instance.as_ref().is_some_and(|id| s.world.recommended.contains(id));
    if advised && s.group.options.capacity_rebalance == Some(true) {
        return Some(Retire::Rebalance);
    }
    let refreshing = !s.is_suspended(Process::InstanceRefresh);
    if refreshing && s.refresh.is_some_and(|refresh| refresh.replaces(member)) {
        return Some(Retire::Refresh);
    }
    expires(s, member).is_some_and(|time| time <= s.now).then_some(Retire::Lifetime)
}

/// When a member has reached the maximum lifetime.
fn expires(s: &Snapshot, member: &Member) -> Option<standfast_core::Timestamp> {
    let seconds = s.group.options.max_instance_lifetime_s?;
    Some(member.joined + Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// The members that are to be replaced, the most urgent first.
pub(super) fn retiring<'a>(s: &Snapshot, crew: &Crew<'a>) -> Vec<(Candidate<'a>, Retire)> {
    let mut all: Vec<_> =
        crew.members.iter().filter_map(|(id, member)| Some(((*id, *member), why(s, member)?))).collect();
    let urgency = |why: &Retire| match why {
        Retire::Unhealthy(_) => 0,
        Retire::Rebalance => 1,
        Retire::Refresh => 2,
        Retire::Lifetime => 3,
    };
    all.sort_by_key(|((id, member), why)| {
        let crowd = crew.counts.get(member.zone.as_str()).copied().unwrap_or_default();
        (urgency(why), std::cmp::Reverse(crowd), member.joined, *id)
    });
    all
}

fn bounds(s: &Snapshot, why: Retire) -> (i32, i32) {
    let (low, high) = s.group.options.maintenance.unwrap_or_default();
    let policy = low.unwrap_or(LIFETIME_BOUNDS.0)..=high.unwrap_or(LIFETIME_BOUNDS.1);
    match why {
        Retire::Refresh => s.refresh.map_or(LIFETIME_BOUNDS, |refresh| refresh.bounds),
        Retire::Lifetime => policy.into_inner(),
        Retire::Unhealthy(_) => (100, *policy.end()),
        Retire::Rebalance => (REBALANCE_BOUNDS.0, REBALANCE_BOUNDS.1.max(*policy.end())),
    }
}

/// What is open to a replacement while the pass goes on.
struct Pace {
    /// Units that serve.
    serving: i32,
    /// Spares that are there for members that have not been ended yet, in units.
    cover: i32,
    /// Nothing is under way: one at a time is always allowed.
    quiet: bool,
    /// How many more a refresh may begin with before its next checkpoint.
    refreshed_max: i32,
}

/// Replaces what the bounds allow; whether there is anything to replace.
pub(super) fn replace<'a>(s: &Snapshot<'a>, crew: &mut Crew<'a>, plan: &mut Plan) -> bool {
    wake(s, crew, plan);
    let all = retiring(s, crew);
    if all.is_empty() {
        return false;
    }
    if s.is_suspended(Process::Launch) || s.is_suspended(Process::Terminate) {
        return true;
    }
    let serves = |member: &Member| is_ready(s, member) && is_warmed_up(s, member);
    let spares = crew.members.iter().copied().filter(|(_, member)| member.spare);
    let outdated = all.iter().filter(|(_, why)| *why == Retire::Refresh).count();
    let covering = spares.clone().count();
    let mut pace = Pace {
        serving: units(crew.members.iter().copied().filter(|(_, member)| serves(member))),
        cover: units(spares),
        quiet: crew.members.iter().all(|(_, member)| serves(member)),
        refreshed_max: s.refresh.map_or(0, |refresh| refresh.may_begin(outdated, covering)),
    };
    let leaving: Vec<&Arc<str>> = all.iter().map(|((id, _), _)| *id).collect();
    let mut ledger = Ledger::new(s, crew.members.iter().filter(|(id, _)| !leaving.contains(id)).map(|(_, m)| &***m));
    for (candidate, why) in &all {
        one(s, crew, *candidate, *why, &mut pace, &mut ledger, plan);
    }
    true
}

fn one<'a>(
    s: &Snapshot<'a>,
    crew: &mut Crew<'a>,
    (id, member): Candidate<'a>,
    why: Retire,
    pace: &mut Pace,
    ledger: &mut Ledger,
    plan: &mut Plan,
) {
    let own = member.units();
    if pace.cover >= own {
        pace.cover -= own;
        return;
    }
    if why == Retire::Refresh && pace.refreshed_max <= 0 {
        return;
    }
    let Some((zone, pick)) = place(s, crew, member, ledger, plan) else { return };
    let (low, high) = bounds(s, why);
    let share = |percent: i32| (i64::from(crew.wanted) * i64::from(percent)) as f64 / 100.0;
    let most = (share(high).floor() as i32).max(crew.wanted + pick.units());
    if high > 100 && crew.have + pick.units() <= most {
        crew.have += pick.units();
        ledger.note(zone, &pick);
        plan.launch(zone, pick, LaunchCause::Ahead(why));
    } else {
        let least = share(low).ceil() as i32;
        let serves = is_ready(s, member) && is_warmed_up(s, member);
        let one_at_a_time = pace.quiet && high <= 100;
        let may = !serves || pace.serving - own >= least || one_at_a_time;
        if !may || matches!(why, Retire::Unhealthy(_) | Retire::Rebalance) {
            return;
        }
        pace.serving -= if serves { own } else { 0 };
        ledger.note(zone, &pick);
        plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Retired(why) });
        plan.launch(zone, pick, LaunchCause::Instead(why));
    }
    pace.quiet = false;
    if why == Retire::Refresh {
        pace.refreshed_max -= 1;
    }
}

/// Where a member's replacement goes: in its own zone, so that balance is kept, or where there is room.
fn place<'a>(
    s: &Snapshot<'a>,
    crew: &Crew<'a>,
    member: &Member,
    ledger: &Ledger,
    plan: &mut Plan,
) -> Option<(&'a str, Pick)> {
    let open = open_zones(s, plan);
    if open.is_empty() {
        let opening = s.group.back_offs.values().map(|back_off| back_off.until).filter(|until| *until > s.now).min();
        opening.into_iter().for_each(|time| plan.wake_at(time));
        return None;
    }
    let own = open.iter().copied().find(|zone| *zone == member.zone);
    let zone = own.unwrap_or_else(|| emptiest(&crew.counts, &open));
    ledger.pick(zone, crew.wanted, plan).map(|pick| (zone, pick))
}

/// Looks again when a member has served long enough, or is as old as it may become.
fn wake(s: &Snapshot, crew: &Crew, plan: &mut Plan) {
    for (_, member) in &crew.members {
        let warm = member.in_service.map(|since| since + s.warmup());
        for time in [expires(s, member), warm].into_iter().flatten().filter(|time| *time > s.now) {
            plan.wake_at(time);
        }
    }
}
