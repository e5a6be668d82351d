//! What should happen next to a group. Pure: records and observations in, decisions and effects out.
//!
//! Decisions change records, all of a pass in one transaction; effects are calls to other services that bring the world
//! to what the records say. Invariant: deciding twice about the same snapshot is the same as once, and nothing is
//! decided while nothing has changed.

mod capacity;
mod effects;
mod members;
mod select;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use standfast_core::Timestamp;

use super::model::{Group, Hook, Member, Process, Unhealthy};

pub use effects::{Effect, effects};

/// How long nothing is launched in a zone after its first refusal; doubled with every further one.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(30);
pub const BACK_OFF_MAX: Duration = Duration::from_secs(240);
/// By how much of its maximum a group may pass it to balance its zones: a tenth, but at least one instance.
const BALANCE_MARGIN_PERCENT: usize = 10;
const BALANCE_MARGIN_MIN: usize = 1;

/// A group and what is known of the world.
pub struct Snapshot<'a> {
    pub group: &'a Group,
    pub members: &'a [(Arc<str>, Arc<Member>)],
    /// Hooks by name.
    pub hooks: &'a [(String, Arc<Hook>)],
    pub world: &'a World,
    pub now: Timestamp,
}

/// What ec2, elbv2 and the kernel say.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// Of every instance that was asked for.
    pub instances: BTreeMap<String, Power>,
    /// Of every target group that was asked for: the targets by instance.
    pub targets: BTreeMap<String, BTreeMap<String, TargetState>>,
    /// Target groups that do not exist.
    pub missing: BTreeSet<String>,
    /// Zones without power.
    pub dark: BTreeSet<String>,
}

/// An instance's state in EC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    Pending,
    Running,
    /// Stopping or stopped.
    Stopped,
    ShuttingDown,
    /// Terminated, or no longer listed.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
    Draining,
    /// Not checked: its group is used by no listener, or its checks are off.
    Unused,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    MarkUnhealthy {
        member: Arc<str>,
        why: Unhealthy,
    },
    Launch {
        zone: String,
        count: usize,
        cause: LaunchCause,
    },
    Terminate {
        member: Arc<str>,
        cause: EndCause,
    },
    /// Lifecycle hooks hold it.
    Wait {
        member: Arc<str>,
    },
    /// Its hooks are done.
    Proceed {
        member: Arc<str>,
    },
    InService {
        member: Arc<str>,
    },
    /// It was a spare and is an ordinary member now.
    Settle {
        member: Arc<str>,
    },
    /// The target group has let go of it.
    Forget {
        member: Arc<str>,
        target_group: String,
    },
    /// Its instance is terminated: the record goes.
    Remove {
        member: Arc<str>,
    },
    /// It died before it served: launches in its zone wait.
    BackOff {
        zone: String,
    },
    ClearBackOff {
        zone: String,
    },
    ClearChange,
    DeleteGroup,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchCause {
    /// Fewer instances than desired.
    Difference,
    /// In the place of an unhealthy one.
    Replace,
    /// To balance zones, which have these counts.
    Balance(Vec<(String, usize)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndCause {
    Unhealthy(Unhealthy),
    /// More instances than desired: the capacity before and after.
    Shrink {
        from: usize,
        to: usize,
    },
    /// Zones have been balanced, from this zone to others.
    Balanced {
        zone: String,
        from: usize,
        to: usize,
    },
    /// A lifecycle action ended with ABANDON.
    Abandoned {
        token: String,
    },
    Deletion,
}

/// The decisions of a pass, and when to look again if nothing changes before.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    pub decisions: Vec<Decision>,
    pub wake: Option<Timestamp>,
}

impl Plan {
    fn push(&mut self, decision: Decision) {
        self.decisions.push(decision);
    }

    fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    /// Whether a launch template must be resolved to carry it out.
    pub fn launches(&self) -> bool {
        self.decisions.iter().any(|decision| matches!(decision, Decision::Launch { .. }))
    }
}

/// Decides.
pub fn decide(s: &Snapshot) -> Plan {
    let mut plan = Plan::default();
    back_offs(s, &mut plan);
    let doomed = members::check(s, &mut plan);
    members::advance(s, &doomed, &mut plan);
    if s.group.deleting {
        delete(s, &mut plan);
    } else {
        capacity::adjust(s, &doomed, &mut plan);
    }
    plan
}

/// How long launches in a zone wait after this many refusals in a row.
pub fn back_off(failures: u32) -> Duration {
    BACK_OFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACK_OFF_MAX)
}

/// How long launches in a zone wait after this many instances in a row ended before they served. The first has no
/// consequence: it may have been killed by hand.
pub fn early_back_off(failures: u32) -> Duration {
    if failures <= 1 { Duration::ZERO } else { back_off(failures - 1) }
}

/// Power that is back ends the back-off that its loss began.
fn back_offs(s: &Snapshot, plan: &mut Plan) {
    for (zone, back_off) in &s.group.back_offs {
        let restored = back_off.dark && !s.world.dark.contains(zone);
        if restored || !s.group.zones.contains(zone) {
            plan.push(Decision::ClearBackOff { zone: zone.clone() });
        }
    }
}

fn delete(s: &Snapshot, plan: &mut Plan) {
    for (id, _) in s.members.iter().filter(|(_, member)| !member.state.is_terminating() && member.instance.is_some()) {
        plan.push(Decision::Terminate { member: id.clone(), cause: EndCause::Deletion });
    }
    if s.members.is_empty() {
        plan.push(Decision::DeleteGroup);
    }
}

impl Snapshot<'_> {
    fn is_suspended(&self, process: Process) -> bool {
        self.group.is_suspended(process)
    }

    /// The state of a member's instance; None when it is not known yet.
    fn power(&self, member: &Member) -> Option<Power> {
        self.world.instances.get(member.instance.as_deref()?).copied()
    }

    /// The state of a member in a target group; None when it is not there or nobody asked.
    fn target(&self, member: &Member, target_group: &str) -> Option<TargetState> {
        self.world.targets.get(target_group)?.get(member.instance.as_deref()?).copied()
    }

    /// Whether the target group was asked about.
    fn knows(&self, target_group: &str) -> bool {
        self.world.targets.contains_key(target_group) || self.world.missing.contains(target_group)
    }

    /// Whether hooks hold members that are launching (or terminating).
    fn has_hooks(&self, launching: bool) -> bool {
        self.hooks.iter().any(|(_, hook)| hook.launching == launching)
    }

    /// Target groups that the member should be registered with and is not.
    fn unregistered<'b>(&'b self, member: &'b Member) -> impl Iterator<Item = &'b String> + 'b {
        use super::model::Registration::Registered;
        let wanted = !member.unattached && !self.is_suspended(Process::AddToLoadBalancer);
        (self.group.target_groups.iter()).filter(move |arn| {
            wanted && !self.world.missing.contains(*arn) && member.targets.get(*arn) != Some(&Registered)
        })
    }
}
