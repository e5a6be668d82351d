//! Records of autoscaling: groups, their members, activities, launch configurations, lifecycle hooks.
//!
//! Invariant: a member's record is written before its instance is asked for and its id is the launch's client token,
//! so that a launch that was interrupted is found again instead of repeated.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use standfast_core::{Timestamp, names};
use standfast_store::Record;

/// A group. Its id is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub arn: String,
    pub created: Timestamp,
    pub launch: Launch,
    pub min: i32,
    pub max: i32,
    pub desired: i32,
    pub cooldown_s: i32,
    /// Zones in the order of their names.
    pub zones: Vec<String>,
    /// Where instances are launched, in the order given: subnet and zone.
    pub subnets: Vec<(String, String)>,
    /// As it was given; empty for a group that was made with zones.
    pub vpc_zone_identifier: String,
    /// `EC2`, or a list that also names `ELB`, as it was given.
    pub health_check_type: String,
    pub grace_s: i32,
    pub target_groups: Vec<String>,
    pub termination_policies: Vec<TerminationPolicy>,
    pub protect_new: bool,
    pub tags: BTreeMap<String, GroupTag>,
    pub suspended: BTreeMap<Process, String>,
    pub metrics: BTreeSet<String>,
    pub options: Options,
    /// Set while a forced deletion waits for the instances to go.
    pub deleting: bool,
    /// Why the desired capacity was last changed, until the group has got there.
    pub change: Option<String>,
    /// Zones, and pools (`ZONE TYPE MARKET`) of a mixed group, in which a launch was refused lately.
    pub back_offs: BTreeMap<String, BackOff>,
    /// How often members were to be replaced by a refresh or its rollback.
    #[serde(default)]
    pub generation: u32,
    #[serde(default)]
    pub warm_pool: Option<WarmPool>,
}

impl Record for Group {
    const TABLE: &'static str = "autoscaling.groups";
}

impl Group {
    pub fn checks_elb(&self) -> bool {
        self.health_check_type.split(',').any(|kind| kind.trim() == "ELB")
    }

    pub fn is_suspended(&self, process: Process) -> bool {
        self.suspended.contains_key(&process)
    }

    /// How many warmed instances there should be.
    pub fn warm_target(&self) -> usize {
        let Some(pool) = self.warm_pool.as_ref().filter(|pool| !pool.deleting) else { return 0 };
        let prepared = pool.prepared_max.unwrap_or(self.max) - self.desired;
        usize::try_from(prepared.max(pool.min)).unwrap_or_default()
    }
}

/// What instances are launched from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Launch {
    Configuration(String),
    Template(TemplateRef),
    Mixed(MixedPolicy),
}

impl Launch {
    /// The units of capacity of an instance.
    pub fn weight(&self) -> i32 {
        let Launch::Mixed(policy) = self else { return 1 };
        policy.overrides.first().and_then(|first| first.weight.as_deref()?.parse().ok()).unwrap_or(1)
    }
}

/// A launch template, by both its names; the version as it was given (`$Latest` stays).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TemplateRef {
    pub id: String,
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixedPolicy {
    pub template: TemplateRef,
    pub overrides: Vec<Override>,
    pub distribution: Distribution,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    pub instance_type: Option<String>,
    pub weight: Option<String>,
    pub template: Option<TemplateRef>,
    pub image: Option<String>,
    /// Requirements as they were given, and the types that meet them.
    #[serde(default)]
    pub requirements: Option<serde_json::Value>,
    #[serde(default)]
    pub types: Vec<String>,
}

/// Instances that are kept ready beside the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmPool {
    pub min: i32,
    /// The capacity of group and pool together; the group's maximum where it is not given.
    pub prepared_max: Option<i32>,
    pub state: PoolState,
    pub reuse: Option<bool>,
    /// The pool goes when its instances have gone.
    pub deleting: bool,
}

names! {
    /// What instances in a warm pool are kept as.
    PoolState { Stopped "Stopped", Running "Running", Hibernated "Hibernated" }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub on_demand_strategy: String,
    pub on_demand_base: i32,
    pub on_demand_percentage: i32,
    pub spot_strategy: String,
    pub spot_pools: Option<i32>,
    pub spot_max_price: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTag {
    pub value: String,
    pub propagate: bool,
}

/// Settings that are kept and shown and decide nothing yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    pub placement_group: Option<String>,
    pub capacity_rebalance: Option<bool>,
    pub service_linked_role: Option<String>,
    pub max_instance_lifetime_s: Option<i32>,
    pub context: Option<String>,
    pub desired_capacity_type: Option<String>,
    pub default_instance_warmup_s: Option<i32>,
    /// Minimum and maximum healthy percentage.
    pub maintenance: Option<(Option<i32>, Option<i32>)>,
    pub zone_distribution: Option<String>,
    /// Whether zonal shift is enabled, and what happens to the unhealthy meanwhile.
    pub zone_impairment: Option<(Option<bool>, Option<String>)>,
    /// Preference, reservation ids, resource group ARNs.
    pub reservations: Option<(Option<String>, Vec<String>, Vec<String>)>,
    pub abandon_retention: Option<String>,
    pub deletion_protection: Option<String>,
}

/// Since when and for how long nothing is launched in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOff {
    pub until: Timestamp,
    /// Refusals in a row.
    pub failures: u32,
    /// Whether the zone had no power then: the back-off ends when it has.
    pub dark: bool,
}

names! {
    /// What a group does by itself, each of which can be suspended.
    Process {
        AddToLoadBalancer "AddToLoadBalancer", AlarmNotification "AlarmNotification", AzRebalance "AZRebalance",
        HealthCheck "HealthCheck", InstanceRefresh "InstanceRefresh", Launch "Launch",
        ReplaceUnhealthy "ReplaceUnhealthy", ScheduledActions "ScheduledActions", Terminate "Terminate",
    }
}

names! {
    /// Which instance goes first.
    TerminationPolicy {
        AllocationStrategy "AllocationStrategy", ClosestToNextInstanceHour "ClosestToNextInstanceHour",
        Default "Default", NewestInstance "NewestInstance", OldestInstance "OldestInstance",
        OldestLaunchConfiguration "OldestLaunchConfiguration", OldestLaunchTemplate "OldestLaunchTemplate",
    }
}

names! {
    /// Where a member stands.
    Lifecycle {
        Pending "Pending", PendingWait "Pending:Wait", PendingProceed "Pending:Proceed", InService "InService",
        Terminating "Terminating", TerminatingWait "Terminating:Wait", TerminatingProceed "Terminating:Proceed",
        Standby "Standby",
        WarmedPending "Warmed:Pending", WarmedPendingWait "Warmed:Pending:Wait",
        WarmedPendingProceed "Warmed:Pending:Proceed", WarmedStopped "Warmed:Stopped",
        WarmedHibernated "Warmed:Hibernated", WarmedRunning "Warmed:Running",
        WarmedTerminating "Warmed:Terminating", WarmedTerminatingWait "Warmed:Terminating:Wait",
        WarmedTerminatingProceed "Warmed:Terminating:Proceed",
    }
}

impl Lifecycle {
    pub fn is_pending(self) -> bool {
        matches!(self, Lifecycle::Pending | Lifecycle::PendingWait | Lifecycle::PendingProceed)
    }

    pub fn is_terminating(self) -> bool {
        use Lifecycle::*;
        matches!(
            self,
            Terminating
                | TerminatingWait
                | TerminatingProceed
                | WarmedTerminating
                | WarmedTerminatingWait
                | WarmedTerminatingProceed
        )
    }

    /// Whether it is on its way into the warm pool.
    pub fn is_warming(self) -> bool {
        matches!(self, Lifecycle::WarmedPending | Lifecycle::WarmedPendingWait | Lifecycle::WarmedPendingProceed)
    }

    /// Whether it rests in the warm pool, ready to be taken.
    pub fn is_warmed(self) -> bool {
        matches!(self, Lifecycle::WarmedStopped | Lifecycle::WarmedHibernated | Lifecycle::WarmedRunning)
    }

    /// Whether it belongs to the warm pool, on its way in or out included.
    pub fn in_pool(self) -> bool {
        self.is_warming() || self.is_warmed() || self.name().starts_with("Warmed:")
    }

    /// Where lifecycle hooks hold it.
    pub fn waiting(self) -> Self {
        match self {
            Lifecycle::Pending => Lifecycle::PendingWait,
            Lifecycle::WarmedPending => Lifecycle::WarmedPendingWait,
            Lifecycle::Terminating => Lifecycle::TerminatingWait,
            Lifecycle::WarmedTerminating => Lifecycle::WarmedTerminatingWait,
            other => other,
        }
    }

    /// Where it is when they let it go on.
    pub fn proceeding(self) -> Self {
        match self {
            Lifecycle::Pending | Lifecycle::PendingWait => Lifecycle::PendingProceed,
            Lifecycle::WarmedPending | Lifecycle::WarmedPendingWait => Lifecycle::WarmedPendingProceed,
            Lifecycle::Terminating | Lifecycle::TerminatingWait => Lifecycle::TerminatingProceed,
            Lifecycle::WarmedTerminating | Lifecycle::WarmedTerminatingWait => Lifecycle::WarmedTerminatingProceed,
            other => other,
        }
    }
}

/// A member of a group. Its id is the client token of its launch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    pub group: String,
    /// None until RunInstances has answered.
    pub instance: Option<String>,
    pub zone: String,
    pub subnet: String,
    pub source: Source,
    pub instance_type: String,
    pub image: Option<String>,
    /// As the group's first override says.
    pub weight: Option<String>,
    pub state: Lifecycle,
    /// Why it is unhealthy, if it is.
    pub unhealthy: Option<Unhealthy>,
    pub protected: bool,
    /// When it became a member.
    pub joined: Timestamp,
    pub in_service: Option<Timestamp>,
    /// Launched to balance zones, beyond the desired capacity: another goes when this one is ready.
    pub spare: bool,
    /// Not to be registered with target groups: launched while AddToLoadBalancer was suspended.
    pub unattached: bool,
    /// Target groups it was registered with.
    pub targets: BTreeMap<String, Registration>,
    /// Lifecycle hooks that it waits for.
    pub waits: Vec<HookWait>,
    /// The key of its activity under way.
    pub activity: Option<String>,
    /// The group's generation when it was launched.
    #[serde(default)]
    pub generation: u32,
    /// Launched on the spot market.
    #[serde(default)]
    pub spot: bool,
    /// Where it is between the warm pool and the group, if it moves.
    #[serde(default)]
    pub moves: Option<Move>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Move {
    /// Taken out of the warm pool; it is being started.
    Out,
    /// Put back into it, as the group shrinks.
    Back,
}

impl Record for Member {
    const TABLE: &'static str = "autoscaling.instances";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let instance = self.instance.iter().map(|id| ("instance", id.clone()));
        instance.chain([("group", self.group.clone())]).collect()
    }
}

impl Member {
    /// Whether it counts towards the desired capacity.
    pub fn counts(&self) -> bool {
        self.state.is_pending() || self.state == Lifecycle::InService
    }

    /// The units of capacity that it is.
    pub fn units(&self) -> i32 {
        self.weight.as_deref().and_then(|weight| weight.parse().ok()).unwrap_or(1)
    }
}

/// What an instance was launched from, exactly: the version is a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    Configuration(String),
    Template(TemplateRef),
    /// Attached, not launched by the group.
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Unhealthy {
    /// Its EC2 state is not running.
    Ec2,
    /// A target group says so.
    Elb,
    /// SetInstanceHealth said so.
    User,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Registration {
    Registered,
    /// Deregistered; its requests may still go on.
    Draining,
}

/// A lifecycle action that a member waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookWait {
    pub hook: String,
    pub token: String,
    /// When its heartbeat runs out.
    pub until: Timestamp,
    /// When it ends whatever heartbeats come.
    pub limit: Timestamp,
    pub result: Option<HookResult>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HookResult {
    Continue,
    Abandon,
}

/// A lifecycle hook. Its id is `GROUP/HOOK`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hook {
    pub group: String,
    pub launching: bool,
    pub heartbeat_s: i32,
    pub default: HookResult,
    pub metadata: Option<String>,
    pub notification_target: Option<String>,
    pub role: Option<String>,
}

impl Hook {
    pub fn key(group: &str, hook: &str) -> String {
        format!("{group}/{hook}")
    }
}

impl Record for Hook {
    const TABLE: &'static str = "autoscaling.lifecycle_hooks";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone())]
    }
}

/// An activity. Its id sorts the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    pub id: String,
    pub group: String,
    pub group_arn: String,
    pub description: String,
    pub cause: String,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub status: Status,
    pub message: Option<String>,
    pub progress: i32,
    pub subnet: String,
    pub zone: String,
}

impl Record for Activity {
    const TABLE: &'static str = "autoscaling.activities";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone())]
    }
}

names! {
    Status {
        PreInService "PreInService", InProgress "InProgress", WaitingForElbConnectionDraining
        "WaitingForELBConnectionDraining", MidLifecycleAction "MidLifecycleAction", Successful "Successful",
        Failed "Failed", Cancelled "Cancelled",
    }
}

/// A launch configuration. Its id is its name; it never changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaunchConfiguration {
    pub arn: String,
    pub created: Timestamp,
    pub image: String,
    pub instance_type: String,
    pub key_name: Option<String>,
    pub security_groups: Vec<String>,
    pub user_data: Option<String>,
    pub kernel: Option<String>,
    pub ramdisk: Option<String>,
    pub devices: Vec<Device>,
    pub monitoring: bool,
    pub spot_price: Option<String>,
    pub iam_profile: Option<String>,
    pub ebs_optimized: bool,
    pub public_address: Option<bool>,
    pub tenancy: Option<String>,
    /// Tokens, hop limit, endpoint.
    pub metadata: Option<(Option<String>, Option<i32>, Option<String>)>,
}

impl Record for LaunchConfiguration {
    const TABLE: &'static str = "autoscaling.launch_configurations";
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub name: String,
    pub virtual_name: Option<String>,
    pub no_device: Option<bool>,
    pub volume: Option<Volume>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    pub snapshot: Option<String>,
    pub size_gib: Option<i32>,
    pub volume_type: Option<String>,
    pub delete_on_termination: Option<bool>,
    pub iops: Option<i32>,
    pub encrypted: Option<bool>,
    pub throughput: Option<i32>,
}
