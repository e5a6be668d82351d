//! Calls that bring the world to what the records say.

use std::sync::Arc;

use crate::autoscaling::model::{Lifecycle, Member, Move, PoolState};

use super::members::{holds, is_drained, registered};
use super::{Power, Snapshot};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Ask for the member's instance.
    Run {
        member: Arc<str>,
    },
    Register {
        member: Arc<str>,
        instance: String,
        target_group: String,
    },
    Deregister {
        member: Arc<str>,
        instance: String,
        target_group: String,
    },
    /// It leaves the warm pool.
    Start {
        member: Arc<str>,
        instance: String,
    },
    /// It is to rest in the warm pool.
    Stop {
        member: Arc<str>,
        instance: String,
    },
    Terminate {
        member: Arc<str>,
        instance: String,
    },
}

/// What to call for.
pub fn effects(s: &Snapshot) -> Vec<Effect> {
    let mut all = Vec::new();
    for (id, member) in s.members {
        match &member.instance {
            None => all.push(Effect::Run { member: id.clone() }),
            Some(instance) => of_member(s, id, member, instance, &mut all),
        }
    }
    all
}

fn of_member(s: &Snapshot, id: &Arc<str>, member: &Member, instance: &str, all: &mut Vec<Effect>) {
    let running = s.power(member) == Some(Power::Running);
    let serves = match member.state {
        Lifecycle::InService | Lifecycle::PendingProceed => running,
        Lifecycle::Pending => running && !s.has_hooks(true),
        _ => false,
    };
    if serves && member.unhealthy.is_none() {
        for arn in s.unregistered(member) {
            let (member, instance) = (id.clone(), instance.to_owned());
            all.push(Effect::Register { member, instance, target_group: arn.clone() });
        }
    }
    let leaves = member.state.is_terminating() || member.state == Lifecycle::Standby || member.state.in_pool();
    for arn in registered(member).filter(|arn| leaves || !s.group.target_groups.contains(arn)) {
        let (member, instance) = (id.clone(), instance.to_owned());
        all.push(Effect::Deregister { member, instance, target_group: arn.clone() });
    }
    move_power(s, id, member, instance, all);
    let may_end = match member.state {
        Lifecycle::Terminating | Lifecycle::WarmedTerminating => is_drained(s, member) && !holds(s, member),
        Lifecycle::TerminatingProceed | Lifecycle::WarmedTerminatingProceed => true,
        _ => false,
    };
    let there = [Power::Pending, Power::Running, Power::Stopping, Power::Stopped];
    if may_end && s.power(member).is_some_and(|power| there.contains(&power)) {
        all.push(Effect::Terminate { member: id.clone(), instance: instance.to_owned() });
    }
}

/// Starts what is taken from the warm pool and stops what is put into it.
fn move_power(s: &Snapshot, id: &Arc<str>, member: &Member, instance: &str, all: &mut Vec<Effect>) {
    let (id, instance) = (id.clone(), instance.to_owned());
    if member.state.is_pending() && member.moves == Some(Move::Out) && s.power(member) == Some(Power::Stopped) {
        all.push(Effect::Start { member: id, instance });
        return;
    }
    let returns = member.moves == Some(Move::Back);
    let done = match member.state {
        Lifecycle::WarmedPending => !s.has_hooks(!returns) && (!returns || member.targets.is_empty()),
        Lifecycle::WarmedPendingProceed => true,
        _ => false,
    };
    let stops = s.group.warm_pool.as_ref().is_some_and(|pool| pool.state != PoolState::Running);
    if done && stops && s.power(member) == Some(Power::Running) {
        all.push(Effect::Stop { member: id, instance });
    }
}
