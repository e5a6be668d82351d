//! What should happen next to a group. Pure: records and observations in, decisions and effects out.
//!
//! Decisions change records, all of a pass in one transaction; effects are calls to other services that bring the world
//! to what the records say. Invariant: deciding twice about the same snapshot is the same as once, and nothing is
//! decided while nothing has changed.

mod allocate;
mod capacity;
mod effects;
mod members;
mod refresh;
mod replace;
mod select;
mod warm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use standfast_core::Timestamp;

use super::model::{Group, Hook, Launch, Member, Process, Unhealthy};
use super::refreshes::Refresh;

pub use allocate::Pick;
pub use capacity::balance_margin;
pub use effects::{Effect, effects};
pub use refresh::roll_back;
pub use replace::Retire;

/// How long nothing is launched in a zone after its first refusal; doubled with every further one.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(30);
pub const BACK_OFF_MAX: Duration = Duration::from_secs(240);
/// A group and what is known of the world.
pub struct Snapshot<'a> {
    pub group: &'a Group,
    /// What new members are launched from: the group's, or what an instance refresh moves it to.
    pub launch: &'a Launch,
    /// The instance refresh under way.
    pub refresh: Option<&'a Refresh>,
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
    /// Instances that EC2 recommends to replace.
    pub recommended: BTreeSet<String>,
    /// Alarms that were asked for: whether each is in ALARM.
    pub alarms: BTreeMap<String, bool>,
    /// What types cost, by type and zone; on demand with no zone. Asked for only where it decides.
    pub prices: BTreeMap<(String, String), u64>,
}

/// An instance's state in EC2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    Pending,
    Running,
    Stopping,
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

#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    MarkUnhealthy {
        member: Arc<str>,
        why: Unhealthy,
    },
    Launch {
        zone: String,
        pick: Pick,
        count: usize,
        cause: LaunchCause,
    },
    /// It leaves the warm pool for the group.
    Draw {
        member: Arc<str>,
    },
    /// It leaves the group for the warm pool.
    Return {
        member: Arc<str>,
    },
    /// It is warm.
    Rest {
        member: Arc<str>,
    },
    /// The warm pool is empty and goes.
    DropPool,
    /// What the instance refresh is now.
    Refresh(Box<Refresh>),
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
    /// Before another goes, beyond the desired capacity.
    Ahead(Retire),
    /// In the place of one that goes.
    Instead(Retire),
    /// Into the warm pool.
    Warm,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndCause {
    Unhealthy(Unhealthy),
    /// More instances than desired: the capacity before and after.
    Shrink {
        from: i32,
        to: i32,
    },
    /// Zones have been balanced, from this zone to others.
    Balanced {
        zone: String,
        from: i32,
        to: i32,
    },
    /// It is replaced though nothing may be wrong with it.
    Retired(Retire),
    /// The warm pool is larger than it should be.
    Pool,
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

    fn launch(&mut self, zone: &str, pick: Pick, cause: LaunchCause) {
        for decision in &mut self.decisions {
            if let Decision::Launch { zone: other, pick: same_pick, count, cause: same } = decision
                && other == zone
                && *same_pick == pick
                && *same == cause
            {
                *count += 1;
                return;
            }
        }
        self.push(Decision::Launch { zone: zone.to_owned(), pick, count: 1, cause });
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
        warm::adjust(s, &mut plan);
        refresh::advance(s, &mut plan);
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
        let restored = back_off.dark && !s.world.dark.contains(allocate::zone_of(zone));
        if restored || !s.group.zones.iter().any(|own| own == allocate::zone_of(zone)) {
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

impl<'a> Snapshot<'a> {
    fn is_suspended(&self, process: Process) -> bool {
        self.group.is_suspended(process)
    }

    /// Whether launches in a zone or a pool wait.
    fn is_closed(&self, key: &str, plan: &Plan) -> bool {
        let cleared = || plan.decisions.contains(&Decision::ClearBackOff { zone: key.to_owned() });
        let closing = || plan.decisions.contains(&Decision::BackOff { zone: key.to_owned() });
        let back_off = self.group.back_offs.get(key).filter(|_| !cleared());
        back_off.is_some_and(|back_off| back_off.until > self.now || closing())
    }

    /// Members that rest in the warm pool, healthy and not about to be replaced.
    fn warmed(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<Member>)> {
        let fit = |member: &Member| {
            member.state.is_warmed()
                && member.unhealthy.is_none()
                && !self.is_outdated(member)
                && !warm::is_broken(self, member)
        };
        self.members.iter().filter(move |(_, member)| fit(member)).map(|(id, member)| (id, member))
    }

    /// Whether the instance refresh under way is to replace it.
    fn is_outdated(&self, member: &Member) -> bool {
        self.refresh.is_some_and(|refresh| refresh.is_outdated(member))
    }

    /// How long a member is in service before it counts as one that serves, where others are ended for it.
    fn warmup(&self) -> Duration {
        let seconds = match self.refresh {
            Some(refresh) => refresh.warmup_s,
            None => self.group.options.default_instance_warmup_s.unwrap_or_default(),
        };
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
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
