//! How far an instance refresh is, and when it ends.

use std::time::Duration;

use standfast_core::Timestamp;

use crate::autoscaling::model::{Lifecycle, Member, Process};
use crate::autoscaling::refreshes::{Found, Refresh, RefreshStatus, Rollback};

use super::members::{is_ready, is_warmed_up};
use super::{Decision, EndCause, Plan, Retire, Snapshot};

/// A refresh that gets no further for this long fails.
const STALL: Duration = Duration::from_secs(3600);

/// Moves the refresh on.
pub(super) fn advance(s: &Snapshot, plan: &mut Plan) {
    let Some(refresh) = s.refresh else { return };
    if s.is_suspended(Process::InstanceRefresh) && refresh.status != RefreshStatus::Cancelling {
        return;
    }
    standby(s, refresh, plan);
    let next = step(s, refresh, plan);
    if next != *refresh {
        plan.push(Decision::Refresh(Box::new(next)));
    }
}

/// Ends instances on standby, where the refresh is to.
fn standby(s: &Snapshot, refresh: &Refresh, plan: &mut Plan) {
    if refresh.standby != Found::Act || refresh.status == RefreshStatus::Cancelling {
        return;
    }
    for (id, _) in s.members.iter().filter(|(_, m)| m.state == Lifecycle::Standby && refresh.is_outdated(m)) {
        plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Retired(Retire::Refresh) });
    }
}

fn step(s: &Snapshot, refresh: &Refresh, plan: &mut Plan) -> Refresh {
    let mut next = refresh.clone();
    match refresh.status {
        RefreshStatus::Pending => {
            (next.status, next.moved) = (RefreshStatus::InProgress, s.now);
            count(s, &mut next);
        }
        RefreshStatus::Cancelling => {
            let moves = s.members.iter().any(|(_, m)| m.state.is_pending() || m.state.is_terminating());
            if !refresh.waits_to_cancel || !moves {
                end(&mut next, RefreshStatus::Cancelled, Some("Cancelled due to user request.".into()), s.now);
            }
        }
        RefreshStatus::InProgress | RefreshStatus::Baking | RefreshStatus::RollbackInProgress => {
            goes_on(s, refresh, &mut next, plan);
        }
        _ => (),
    }
    next
}

fn goes_on(s: &Snapshot, refresh: &Refresh, next: &mut Refresh, plan: &mut Plan) {
    let back = refresh.status == RefreshStatus::RollbackInProgress;
    let alarm = refresh.alarms.iter().find(|name| s.world.alarms.get(*name) == Some(&true));
    if let Some(name) = alarm.filter(|_| !back) {
        return fail(next, format!("The CloudWatch alarm {name} went into the ALARM state."), s.now);
    }
    count(s, next);
    if next.measure() != refresh.measure() {
        next.moved = s.now;
    }
    if pauses(s, next, plan) {
        return;
    }
    if is_done(s, next) {
        return done(next, s.now, plan);
    }
    let stalled = next.moved + STALL;
    if s.now >= stalled {
        let reason = next.reason.clone().unwrap_or_else(|| "No instance could be replaced for an hour.".into());
        let reason = format!("Timed out after an hour without progress. {reason}");
        return if back {
            end(next, RefreshStatus::RollbackFailed, Some(reason), s.now)
        } else {
            fail(next, reason, s.now)
        };
    }
    plan.wake_at(stalled);
}

/// Counts what is left to do, and says what is waited for.
fn count(s: &Snapshot, next: &mut Refresh) {
    let live = |member: &Member| !member.state.is_terminating() && !member.state.in_pool();
    let concerned = |member: &Member| live(member) && next.is_outdated(member) && next.counts(member);
    let outdated: Vec<_> = s.members.iter().filter(|(_, member)| concerned(member)).collect();
    let new = |member: &Member| live(member) && member.counts() && next.is_new(member);
    let unready = s.members.iter().filter(|(_, m)| new(m) && !(is_ready(s, m) && is_warmed_up(s, m)));
    let unready: Vec<_> = unready.collect();
    let left = i32::try_from(outdated.len() + unready.len()).unwrap_or(i32::MAX).min(next.total);
    let warm = s.members.iter().filter(|(_, m)| m.state.in_pool() && !m.state.is_terminating() && next.is_outdated(m));
    next.warm_left = i32::try_from(warm.count()).unwrap_or(i32::MAX).min(next.warm_total);
    next.remaining = left;
    let name = |member: &Member| member.instance.clone().unwrap_or_default();
    let started = unready.iter().filter(|(_, member)| member.instance.is_some());
    next.reason = match started.min_by_key(|(_, member)| (member.in_service.is_some(), member.joined)) {
        Some((_, member)) if member.in_service.is_some() && is_ready(s, member) => Some(format!(
            "Waiting for instances to warm up before continuing. For example: {} is warming up.",
            name(member)
        )),
        Some((_, member)) if member.in_service.is_some() => Some(format!(
            "Waiting for remaining instances to be available. For example: {} is not healthy with its load balancer.",
            name(member)
        )),
        Some((_, member)) => Some(format!(
            "Waiting for remaining instances to be available. For example: {} has insufficient data to evaluate its \
             health with Amazon EC2.",
            name(member)
        )),
        None => outdated.iter().find(|(_, member)| !next.replaces(member)).map(|(_, member)| {
            let why = if member.state == Lifecycle::Standby { "in Standby" } else { "protected from scale in" };
            format!("Waiting for instances that cannot be replaced. For example: {} is {why}.", name(member))
        }),
    };
}

/// Whether the refresh stands at a checkpoint.
fn pauses(s: &Snapshot, next: &mut Refresh, plan: &mut Plan) -> bool {
    if next.status != RefreshStatus::InProgress {
        return false;
    }
    if let Some(until) = next.checkpoint_until {
        if s.now < until {
            next.moved = until;
            next.reason = Some(at_checkpoint(next));
            plan.wake_at(until);
            return true;
        }
        (next.checkpoint_until, next.reached) = (None, next.reached + 1);
        next.moved = s.now;
        return false;
    }
    let is_last = next.reached + 1 >= next.checkpoints.len();
    if is_last || next.total - next.remaining < next.checkpoint_goal() {
        return false;
    }
    let until = s.now + Duration::from_secs(u64::try_from(next.checkpoint_delay_s).unwrap_or_default());
    next.checkpoint_until = Some(until);
    (next.moved, next.reason) = (until, Some(at_checkpoint(next)));
    plan.wake_at(until);
    true
}

fn at_checkpoint(next: &Refresh) -> String {
    format!("Waiting at the checkpoint of {} percent.", next.checkpoints[next.reached])
}

fn is_done(s: &Snapshot, next: &Refresh) -> bool {
    let stands = !s.members.iter().any(|(_, member)| member.spare && !member.state.is_terminating());
    let have: i32 = s.members.iter().filter(|(_, m)| m.counts()).map(|(_, m)| m.units()).sum();
    let goal = if next.status == RefreshStatus::RollbackInProgress { next.total } else { next.checkpoint_goal() };
    stands && have >= s.group.desired && next.total - next.remaining >= goal && next.warm_left == 0
}

fn done(next: &mut Refresh, now: Timestamp, plan: &mut Plan) {
    next.reason = None;
    if next.status == RefreshStatus::RollbackInProgress {
        return end(next, RefreshStatus::RollbackSuccessful, None, now);
    }
    let bake = Duration::from_secs(u64::try_from(next.bake_s).unwrap_or_default());
    let until = *next.bake_until.get_or_insert(now + bake);
    if now < until {
        next.status = RefreshStatus::Baking;
        next.reason = Some("Waiting for the bake time to pass.".into());
        plan.wake_at(until);
        // Nothing of it is progress that would have to be written again and again.
        next.moved = until;
        return;
    }
    end(next, RefreshStatus::Successful, None, now);
}

/// A refresh that fails is rolled back where that is wanted.
fn fail(next: &mut Refresh, reason: String, now: Timestamp) {
    if next.auto_rollback {
        roll_back(next, reason, now);
    } else {
        end(next, RefreshStatus::Failed, Some(reason), now);
    }
}

/// Turns a refresh around: what it launched is replaced by what was there before.
pub fn roll_back(next: &mut Refresh, reason: String, now: Timestamp) {
    next.rollback = Some(Rollback { reason, started: now, percent: next.percent(), remaining: next.remaining });
    next.status = RefreshStatus::RollbackInProgress;
    (next.checkpoint_until, next.bake_until, next.moved) = (None, None, now);
}

fn end(next: &mut Refresh, status: RefreshStatus, reason: Option<String>, now: Timestamp) {
    (next.status, next.reason, next.ended) = (status, reason, Some(now));
    next.checkpoint_until = None;
}
