//! Members one by one: are they healthy, and may they take their next step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::autoscaling::model::{HookResult, Lifecycle, Member, Move, PoolState, Process, Registration, Unhealthy};

use super::{Decision, EndCause, Plan, Power, Snapshot, TargetState};

/// When a draining target is looked at again if elbv2 tells of no change before.
const DRAIN_CHECK: Duration = Duration::from_secs(10);

/// Marks the unhealthy and ends those that may be replaced; their ids.
pub(super) fn check(s: &Snapshot, plan: &mut Plan) -> BTreeSet<Arc<str>> {
    let mut doomed = BTreeSet::new();
    if s.group.deleting {
        return doomed;
    }
    let replace = !s.is_suspended(Process::ReplaceUnhealthy) && !s.is_suspended(Process::Terminate);
    for (id, member) in s.members.iter().filter(|(_, member)| member.counts() && member.instance.is_some()) {
        let found = member.unhealthy.is_none().then(|| finding(s, member, plan)).flatten();
        if let Some(why) = found {
            plan.push(Decision::MarkUnhealthy { member: id.clone(), why });
        }
        // One that still runs may be replaced first, if the maintenance policy says so.
        let waits =
            member.state == Lifecycle::InService && super::replace::is_replaced_first(s, member.unhealthy.or(found));
        if let Some(why) = member.unhealthy.or(found).filter(|_| replace && !waits) {
            if member.in_service.is_none() {
                early_end(member, plan);
            }
            plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Unhealthy(why) });
            doomed.insert(id.clone());
        }
    }
    doomed
}

/// Notes that a member ends before it has served.
fn early_end(member: &Member, plan: &mut Plan) {
    let decision = Decision::BackOff { zone: member.zone.clone() };
    if !plan.decisions.contains(&decision) {
        plan.push(decision);
    }
}

/// What is wrong with a member that has been healthy.
fn finding(s: &Snapshot, member: &Member, plan: &mut Plan) -> Option<Unhealthy> {
    if s.is_suspended(Process::HealthCheck) {
        return None;
    }
    let starts = member.moves == Some(Move::Out) && matches!(s.power(member), Some(Power::Stopped | Power::Stopping));
    if s.power(member).is_some_and(is_down) && !starts {
        return Some(Unhealthy::Ec2);
    }
    let since = member.in_service.filter(|_| s.group.checks_elb() && member.state == Lifecycle::InService)?;
    if !registered(member).any(|arn| s.target(member, arn) == Some(TargetState::Unhealthy)) {
        return None;
    }
    let grace_ends = since + Duration::from_secs(u64::try_from(s.group.grace_s).unwrap_or_default());
    if s.now < grace_ends {
        plan.wake_at(grace_ends);
        return None;
    }
    Some(Unhealthy::Elb)
}

/// Moves members to where their instances, targets and hooks allow.
pub(super) fn advance(s: &Snapshot, doomed: &BTreeSet<Arc<str>>, plan: &mut Plan) {
    for (id, member) in s.members.iter().filter(|(id, _)| !doomed.contains(id)) {
        forget_drained(s, id, member, plan);
        if s.group.deleting && !member.state.is_terminating() {
            continue;
        }
        match member.state {
            Lifecycle::Pending if s.power(member) == Some(Power::Running) && s.has_hooks(true) => {
                plan.push(Decision::Wait { member: id.clone() });
            }
            Lifecycle::Pending | Lifecycle::PendingProceed
                if s.power(member) == Some(Power::Running) && s.unregistered(member).next().is_none() =>
            {
                plan.push(Decision::InService { member: id.clone() });
            }
            Lifecycle::WarmedPending | Lifecycle::WarmedPendingProceed => warm_up(s, id, member, plan),
            Lifecycle::PendingWait | Lifecycle::WarmedPendingWait => match hooks(s, member, plan) {
                None => (),
                Some((HookResult::Abandon, token)) => {
                    early_end(member, plan);
                    plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Abandoned { token } });
                }
                Some((HookResult::Continue, _)) => plan.push(Decision::Proceed { member: id.clone() }),
            },
            state if state.is_terminating() => end(s, id, member, plan),
            _ => (),
        }
    }
}

fn forget_drained(s: &Snapshot, id: &Arc<str>, member: &Member, plan: &mut Plan) {
    let draining = member.targets.iter().filter(|(_, registration)| **registration == Registration::Draining);
    for (arn, _) in draining {
        if s.knows(arn) && s.target(member, arn) != Some(TargetState::Draining) {
            plan.push(Decision::Forget { member: id.clone(), target_group: arn.clone() });
        } else {
            plan.wake_at(s.now + DRAIN_CHECK);
        }
    }
}

/// The next step of a member on its way into the warm pool.
fn warm_up(s: &Snapshot, id: &Arc<str>, member: &Member, plan: &mut Plan) {
    // What comes back from the group has hooks of its own, once its requests are done.
    let returns = member.moves == Some(Move::Back);
    if returns && !member.targets.is_empty() {
        return;
    }
    let power = s.power(member);
    if member.state == Lifecycle::WarmedPending && s.has_hooks(!returns) {
        if power == Some(Power::Running) {
            plan.push(Decision::Wait { member: id.clone() });
        }
        return;
    }
    let keeps_running = s.group.warm_pool.as_ref().is_some_and(|pool| pool.state == PoolState::Running);
    let there = if keeps_running { Power::Running } else { Power::Stopped };
    if power == Some(there) {
        plan.push(Decision::Rest { member: id.clone() });
    }
}

/// The next step of a member on its way out.
fn end(s: &Snapshot, id: &Arc<str>, member: &Member, plan: &mut Plan) {
    let power = s.power(member);
    if power == Some(Power::Gone) {
        if registered(member).next().is_none() {
            plan.push(Decision::Remove { member: id.clone() });
        }
    } else if member.state.waiting() != member.state && is_drained(s, member) && holds(s, member) {
        plan.push(Decision::Wait { member: id.clone() });
    } else if member.state.proceeding() != member.state
        && !member.waits.is_empty()
        && (s.group.deleting || hooks(s, member, plan).is_some())
    {
        plan.push(Decision::Proceed { member: id.clone() });
    }
}

/// Whether hooks hold a member before it is terminated. One that never served has not been announced to anyone.
pub(super) fn holds(s: &Snapshot, member: &Member) -> bool {
    let announced = member.in_service.is_some() || member.state.in_pool();
    !s.group.deleting && announced && s.has_hooks(false)
}

/// Whether nothing is under way to a member any more. What has no power has no requests either.
pub(super) fn is_drained(s: &Snapshot, member: &Member) -> bool {
    s.group.deleting || member.targets.is_empty() || s.power(member).is_some_and(is_down)
}

/// How the hooks of a member have ended, all of them, with the token of the one that decided; None while one has not.
fn hooks(s: &Snapshot, member: &Member, plan: &mut Plan) -> Option<(HookResult, String)> {
    let (mut waiting, mut last) = (false, String::new());
    for wait in &member.waits {
        let deadline = wait.until.min(wait.limit);
        let default = || s.hooks.iter().find(|(name, _)| *name == wait.hook).map(|(_, hook)| hook.default);
        let result = match wait.result {
            Some(result) => Some(result),
            None if s.now >= deadline => Some(default().unwrap_or(HookResult::Abandon)),
            None => None,
        };
        match result {
            Some(HookResult::Abandon) => return Some((HookResult::Abandon, wait.token.clone())),
            Some(HookResult::Continue) => last.clone_from(&wait.token),
            None => {
                plan.wake_at(deadline);
                waiting = true;
            }
        }
    }
    (!waiting).then_some((HookResult::Continue, last))
}

pub(super) fn is_down(power: Power) -> bool {
    matches!(power, Power::Stopping | Power::Stopped | Power::ShuttingDown | Power::Gone)
}

/// The target groups that send it requests.
pub(super) fn registered(member: &Member) -> impl Iterator<Item = &String> {
    let all = member.targets.iter().filter(|(_, registration)| **registration == Registration::Registered);
    all.map(|(arn, _)| arn)
}

/// Whether it serves: in service, and every target group sends it requests.
pub(super) fn is_ready(s: &Snapshot, member: &Member) -> bool {
    member.state == Lifecycle::InService
        && member.unhealthy.is_none()
        && s.unregistered(member).next().is_none()
        && registered(member).all(|arn| {
            s.world.missing.contains(arn)
                || matches!(s.target(member, arn), Some(TargetState::Healthy | TargetState::Unused))
        })
}

/// Whether it has served long enough for others to be ended for it. What a refresh does away with has served before.
pub(super) fn is_warmed_up(s: &Snapshot, member: &Member) -> bool {
    s.is_outdated(member) || member.in_service.is_some_and(|since| since + s.warmup() <= s.now)
}
