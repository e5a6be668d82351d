//! The record of an instance refresh.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use standfast_core::{Timestamp, names};
use standfast_store::Record;

use crate::autoscaling::model::{Launch, Lifecycle, Member};

names! {
    RefreshStatus {
        Pending "Pending", InProgress "InProgress", Successful "Successful", Failed "Failed", Cancelling "Cancelling",
        Cancelled "Cancelled", RollbackInProgress "RollbackInProgress", RollbackFailed "RollbackFailed",
        RollbackSuccessful "RollbackSuccessful", Baking "Baking",
    }
}

/// What a refresh does about instances that it may not simply replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Found {
    /// It replaces or terminates them.
    Act,
    Ignore,
    /// It waits until they are as others, for an hour.
    Wait,
}

/// An instance refresh. Its id is `GROUP/` and what sorts the newest first.
///
/// Members whose generation is lower than the refresh's are replaced; a rollback replaces those of the refresh's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    pub id: String,
    pub group: String,
    pub status: RefreshStatus,
    pub reason: Option<String>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub generation: u32,
    /// What the group is moved to, and as it was given; None replaces with what the group launches anyway.
    pub desired: Option<(Launch, Json)>,
    /// As they were given.
    pub preferences: Option<Json>,
    pub strategy: Option<String>,
    /// What must serve and what may be there, in percent of the desired capacity.
    pub bounds: (i32, i32),
    pub warmup_s: i32,
    pub checkpoints: Vec<i32>,
    pub checkpoint_delay_s: i32,
    pub auto_rollback: bool,
    pub protected: Found,
    pub standby: Found,
    pub alarms: Vec<String>,
    pub bake_s: i32,
    /// Instances to replace: of the group and of its warm pool, at the beginning and now.
    pub total: i32,
    pub remaining: i32,
    pub warm_total: i32,
    pub warm_left: i32,
    /// Checkpoints that it has gone past, and until when it stands at the next one.
    pub reached: usize,
    pub checkpoint_until: Option<Timestamp>,
    pub bake_until: Option<Timestamp>,
    /// When it last got further.
    pub moved: Timestamp,
    pub waits_to_cancel: bool,
    pub rollback: Option<Rollback>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    pub reason: String,
    pub started: Timestamp,
    pub percent: i32,
    pub remaining: i32,
}

impl Record for Refresh {
    const TABLE: &'static str = "autoscaling.instance_refreshes";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone())]
    }
}

impl Refresh {
    pub fn is_active(&self) -> bool {
        self.ended.is_none()
    }

    fn goes_back(&self) -> bool {
        self.rollback.is_some()
    }

    /// The generation of what is launched meanwhile.
    pub fn launches(&self) -> u32 {
        self.generation + u32::from(self.goes_back())
    }

    /// What is launched meanwhile, if it is not what the group says.
    pub fn launch(&self) -> Option<&Launch> {
        use RefreshStatus::{Baking, InProgress, Pending};
        let forward = matches!(self.status, Pending | InProgress | Baking);
        self.desired.as_ref().map(|(launch, _)| launch).filter(|_| forward)
    }

    /// Whether the member is of what the refresh does away with.
    pub fn is_outdated(&self, member: &Member) -> bool {
        match self.status {
            RefreshStatus::Cancelling => false,
            _ if self.goes_back() => member.generation == self.generation,
            _ => member.generation < self.generation,
        }
    }

    /// Whether the member was launched in its course.
    pub fn is_new(&self, member: &Member) -> bool {
        !self.is_outdated(member) && member.joined >= self.rollback.as_ref().map_or(self.started, |own| own.started)
    }

    /// Whether the refresh is not complete without it.
    pub fn counts(&self, member: &Member) -> bool {
        match member.state {
            Lifecycle::Standby => self.standby != Found::Ignore,
            _ => !member.protected || self.protected != Found::Ignore,
        }
    }

    /// Whether it is replaced now.
    pub fn replaces(&self, member: &Member) -> bool {
        let runs = matches!(self.status, RefreshStatus::InProgress | RefreshStatus::RollbackInProgress);
        let free = match member.state {
            Lifecycle::Standby => self.standby == Found::Act,
            _ => !member.protected || self.protected == Found::Act,
        };
        runs && free && self.is_outdated(member)
    }

    /// How many instances must have been replaced at the next checkpoint.
    pub fn checkpoint_goal(&self) -> i32 {
        let percent = self.checkpoints.get(self.reached).or(self.checkpoints.last()).copied().unwrap_or(100);
        (self.total * percent + 99) / 100
    }

    /// How many replacements may begin, with so many outdated members and so many spares for them.
    pub fn may_begin(&self, outdated: usize, spares: usize) -> i32 {
        if self.checkpoints.is_empty() || self.goes_back() {
            return i32::MAX;
        }
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        self.checkpoint_goal() - (self.total - number(outdated) + number(spares))
    }

    /// By what it is seen whether it gets further.
    pub fn measure(&self) -> (i32, i32, usize) {
        (self.remaining, self.warm_left, self.reached)
    }

    pub fn percent(&self) -> i32 {
        share(if self.goes_back() { self.remaining } else { self.total - self.remaining }, self.total)
    }

    pub fn warm_percent(&self) -> i32 {
        share(self.warm_total - self.warm_left, self.warm_total)
    }
}

fn share(part: i32, whole: i32) -> i32 {
    if whole == 0 { 100 } else { part * 100 / whole }
}
