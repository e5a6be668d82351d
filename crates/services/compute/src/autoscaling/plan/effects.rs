//! Calls that bring the world to what the records say.

use std::sync::Arc;

use crate::autoscaling::model::{Lifecycle, Member};

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
    let leaves = member.state.is_terminating() || member.state == Lifecycle::Standby;
    for arn in registered(member).filter(|arn| leaves || !s.group.target_groups.contains(arn)) {
        let (member, instance) = (id.clone(), instance.to_owned());
        all.push(Effect::Deregister { member, instance, target_group: arn.clone() });
    }
    let may_end = match member.state {
        Lifecycle::Terminating => is_drained(s, member) && !holds(s, member),
        Lifecycle::TerminatingProceed => true,
        _ => false,
    };
    if may_end && matches!(s.power(member), Some(Power::Pending | Power::Running | Power::Stopped)) {
        all.push(Effect::Terminate { member: id.clone(), instance: instance.to_owned() });
    }
}
