//! The warm pool: instances kept ready beside the group.

use std::sync::Arc;

use crate::autoscaling::model::{Lifecycle, Member, Process, Unhealthy};

use super::allocate::Ledger;
use super::capacity::open_zones;
use super::members::is_down;
use super::{Decision, EndCause, LaunchCause, Plan, Power, Retire, Snapshot};

/// Whether what rests in the pool is not as it was left.
pub(super) fn is_broken(s: &Snapshot, member: &Member) -> bool {
    match member.state {
        Lifecycle::WarmedRunning => s.power(member).is_some_and(is_down),
        Lifecycle::WarmedStopped | Lifecycle::WarmedHibernated => {
            matches!(s.power(member), Some(Power::Gone | Power::ShuttingDown))
        }
        _ => matches!(s.power(member), Some(Power::Gone | Power::ShuttingDown)),
    }
}

/// Keeps the pool at its size.
pub(super) fn adjust(s: &Snapshot, plan: &mut Plan) {
    let Some(pool) = &s.group.warm_pool else { return };
    let target = s.group.warm_target();
    let mut warm: Vec<(&Arc<str>, &Arc<Member>)> = Vec::new();
    for (id, member) in s.members.iter().filter(|(_, m)| m.state.is_warming() || m.state.is_warmed()) {
        let drawn = plan.decisions.contains(&Decision::Draw { member: id.clone() });
        let ends = plan.decisions.iter().any(|d| matches!(d, Decision::Terminate { member, .. } if member == id));
        if drawn || ends {
            continue;
        }
        if member.instance.is_some() && (is_broken(s, member) || member.unhealthy.is_some()) {
            plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Unhealthy(Unhealthy::Ec2) });
        } else if s.is_outdated(member) && member.state.is_warmed() {
            plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Retired(Retire::Refresh) });
        } else {
            warm.push((id, member));
        }
    }
    let kept = if pool.reuse == Some(true) { put_back(s, plan, target.saturating_sub(warm.len())) } else { 0 };
    let have = warm.len() + kept;
    if have > target && !s.is_suspended(Process::Terminate) {
        warm.retain(|(_, member)| member.instance.is_some());
        warm.sort_by_key(|(id, member)| (member.state.is_warmed(), member.joined, *id));
        for (id, _) in warm.iter().take(have - target) {
            plan.push(Decision::Terminate { member: (*id).clone(), cause: EndCause::Pool });
        }
    } else if have < target && !s.is_suspended(Process::Launch) {
        fill(s, &warm, target - have, plan);
    }
    if pool.deleting && !s.members.iter().any(|(_, member)| member.state.in_pool()) {
        plan.push(Decision::DropPool);
    }
}

/// Keeps what the group lets go as it shrinks, at most so many; how many.
fn put_back(s: &Snapshot, plan: &mut Plan, room: usize) -> usize {
    let mut kept = 0;
    for decision in &mut plan.decisions {
        if let Decision::Terminate { member, cause: EndCause::Shrink { .. } } = decision
            && kept < room
            && let Some((_, own)) = s.members.iter().find(|(id, _)| id == member)
            && own.state == Lifecycle::InService
            && own.unhealthy.is_none()
        {
            *decision = Decision::Return { member: member.clone() };
            kept += 1;
        }
    }
    kept
}

fn fill(s: &Snapshot, warm: &[(&Arc<str>, &Arc<Member>)], missing: usize, plan: &mut Plan) {
    let mut open = open_zones(s, plan);
    let ledger = Ledger::new(s, std::iter::empty());
    let mut counts: std::collections::BTreeMap<&str, usize> = Default::default();
    warm.iter().for_each(|(_, member)| *counts.entry(member.zone.as_str()).or_default() += 1);
    for _ in 0..missing {
        open.sort_by_key(|zone| (counts.get(zone).copied().unwrap_or_default(), *zone));
        let Some(zone) = open.first().copied() else { return };
        let Some(pick) = ledger.pick(zone, i32::MAX, plan) else { return };
        *counts.entry(zone).or_default() += 1;
        plan.launch(zone, pick, LaunchCause::Warm);
    }
}
