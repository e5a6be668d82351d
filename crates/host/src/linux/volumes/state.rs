//! What is known about volumes and snapshots while the process lives.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use standfast_core::host::{HostSnapshot, Progress};
use standfast_core::id::{self, Id, Instance};

use super::device::Device;
use super::plan::Needs;
use super::store::{SnapshotRecord, VolumeRecord};

#[derive(Default)]
pub struct State {
    pub wanted: Option<Arc<HostSnapshot>>,
    pub volumes: BTreeMap<Id<id::Volume>, Volume>,
    /// What each snapshot is, or why it could not be made.
    pub snapshots: BTreeMap<Id<id::Snapshot>, Result<SnapshotRecord, String>>,
    /// The instances that run.
    pub machines: BTreeMap<Id<Instance>, Machine>,
    pub busy: Busy,
    /// Whether there may be layers or chunks that nothing refers to.
    pub garbage: bool,
    /// How many steps run.
    pub running: usize,
    /// Counts starts of machines.
    pub boots: u64,
}

/// A volume that is there, or could not be made.
#[derive(Default)]
pub struct Volume {
    pub made: Option<VolumeRecord>,
    pub failed: Option<String>,
    /// How large its file is.
    pub size_gib: u32,
    /// Shared with every `RootTree` of it.
    pub hold: Arc<()>,
    pub mounted: Option<Mounted>,
    /// The attachment that could not be made; it is tried again at the next snapshot and at the instance's next boot.
    pub refused: Option<(Id<Instance>, String)>,
    /// It could not be deleted, for want of something on the machine. The next snapshot is another try.
    pub stuck: bool,
}

/// A volume's device, for an instance.
pub struct Mounted {
    pub instance: Id<Instance>,
    pub device_name: String,
    pub device: Arc<Device>,
    /// The boot of the instance in which it is shown.
    pub inside: Option<u64>,
    pub paused: bool,
}

/// An instance that runs.
pub struct Machine {
    /// Its init, by a pidfd, which keeps nothing of it alive.
    pub init: Arc<OwnedFd>,
    pub boot: u64,
}

/// What running steps hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busy {
    pub volumes: BTreeSet<Id<id::Volume>>,
    pub snapshots: BTreeSet<Id<id::Snapshot>>,
    pub reads: BTreeMap<Id<id::Snapshot>, usize>,
    pub collecting: bool,
}

impl Volume {
    pub fn held(&self) -> bool {
        Arc::strong_count(&self.hold) > 1
    }

    pub fn refused_by(&self, instance: &Id<Instance>) -> bool {
        self.refused.as_ref().is_some_and(|(refused, _)| refused == instance)
    }

    pub fn progress(&self) -> Progress {
        match (&self.failed, &self.made) {
            (Some(reason), _) => Progress::Failed(reason.clone()),
            (None, Some(_)) => Progress::Ready,
            (None, None) => Progress::Working,
        }
    }
}

impl Busy {
    /// Takes what a step needs; false, and nothing is taken, when another step has it.
    pub fn take(&mut self, needs: &Needs) -> bool {
        let free = needs.volumes.iter().all(|id| !self.volumes.contains(id))
            && needs.snapshots.iter().all(|id| !self.snapshots.contains(id) && !self.reads.contains_key(id))
            && needs.reads.iter().all(|id| !self.snapshots.contains(id));
        if free {
            self.volumes.extend(needs.volumes.iter().cloned());
            self.snapshots.extend(needs.snapshots.iter().cloned());
            for id in &needs.reads {
                *self.reads.entry(id.clone()).or_default() += 1;
            }
        }
        free
    }

    pub fn give_back(&mut self, needs: &Needs) {
        for id in &needs.volumes {
            self.volumes.remove(id);
        }
        for id in &needs.snapshots {
            self.snapshots.remove(id);
        }
        for id in &needs.reads {
            if let Some(count) = self.reads.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    self.reads.remove(id);
                }
            }
        }
    }
}
