//! Decides what is to be done next. Pure: it sees the state and changes nothing.
//!
//! Invariant: no two steps that run at once touch the same volume or snapshot, but that several may read one snapshot;
//! what something else is still to be made from is not removed.

use std::collections::BTreeSet;

use standfast_core::host::{HostSnapshot, SnapshotSpec, VolumeSpec};
use standfast_core::id::{self, Id, Instance};

use super::state::{Busy, Mounted, State};
use super::store::VolumeRecord;

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Make(Id<id::Volume>),
    Grow(Id<id::Volume>),
    Delete(Id<id::Volume>),
    /// Give it a device, for the instance that it is attached to.
    Mount(Id<id::Volume>),
    Unmount(Id<id::Volume>),
    /// Show it in the instance.
    Enter(Id<id::Volume>),
    Pause(Id<id::Volume>, bool),
    Snapshot(Id<id::Snapshot>),
    Forget(Id<id::Snapshot>),
    /// Remove layers and chunks that nothing refers to.
    Collect,
}

/// What a step needs for itself, and what it reads.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    pub volumes: Vec<Id<id::Volume>>,
    pub snapshots: Vec<Id<id::Snapshot>>,
    pub reads: Vec<Id<id::Snapshot>>,
}

impl Step {
    pub fn needs(&self, wanted: &HostSnapshot) -> Needs {
        match self {
            Step::Make(id) => {
                let from = wanted.volumes.get(id).and_then(|spec| spec.from.clone());
                Needs { volumes: vec![id.clone()], reads: from.into_iter().collect(), ..Needs::default() }
            }
            Step::Grow(id)
            | Step::Delete(id)
            | Step::Mount(id)
            | Step::Unmount(id)
            | Step::Enter(id)
            | Step::Pause(id, _) => Needs { volumes: vec![id.clone()], ..Needs::default() },
            Step::Snapshot(id) => {
                let mut needs = Needs { snapshots: vec![id.clone()], ..Needs::default() };
                match wanted.snapshots.get(id) {
                    Some(SnapshotSpec::OfVolume(volume)) => needs.volumes.push(volume.clone()),
                    Some(SnapshotSpec::CopyOf(other)) => needs.reads.push(other.clone()),
                    _ => {}
                }
                needs
            }
            Step::Forget(id) => Needs { snapshots: vec![id.clone()], ..Needs::default() },
            Step::Collect => Needs::default(),
        }
    }
}

/// The steps that can be taken now, in the order in which they matter.
pub fn plan(state: &State) -> Vec<Step> {
    let Some(wanted) = &state.wanted else { return Vec::new() };
    if state.busy.collecting {
        return Vec::new();
    }
    let mut steps: Vec<Step> = Vec::new();
    // Snapshots first: a volume that is to be removed is copied before.
    steps.extend(
        wanted.snapshots.keys().filter(|id| snapshot_can_be_made(state, wanted, id)).cloned().map(Step::Snapshot),
    );
    steps.extend(wanted.volumes.iter().filter_map(|(id, spec)| volume_step(state, id, spec)));
    let kept = still_needed(state, wanted);
    for id in state.volumes.keys().filter(|id| !wanted.volumes.contains_key(*id) && !kept.0.contains(*id)) {
        let volume = &state.volumes[id];
        match &volume.mounted {
            Some(mounted) => steps.push(unmounting(id, mounted)),
            None if !volume.held() && !volume.stuck => steps.push(Step::Delete(id.clone())),
            None => {}
        }
    }
    let gone = state.snapshots.keys().filter(|id| !wanted.snapshots.contains_key(*id) && !kept.1.contains(*id));
    steps.extend(gone.cloned().map(Step::Forget));
    let mut busy = state.busy.clone();
    steps.retain(|step| busy.take(&step.needs(wanted)));
    if steps.is_empty() && state.garbage && state.busy == Busy::default() {
        steps.push(Step::Collect);
    }
    steps
}

fn snapshot_can_be_made(state: &State, wanted: &HostSnapshot, id: &Id<id::Snapshot>) -> bool {
    if state.snapshots.contains_key(id) {
        return false;
    }
    match &wanted.snapshots[id] {
        SnapshotSpec::Import(_) => true,
        // What is not there and will not be shows as a failure of the step.
        SnapshotSpec::OfVolume(volume) => volume_is_settled(state, wanted, volume),
        SnapshotSpec::CopyOf(other) => snapshot_is_settled(state, wanted, other),
    }
}

/// Whether it is made, or never will be.
fn volume_is_settled(state: &State, wanted: &HostSnapshot, id: &Id<id::Volume>) -> bool {
    state.volumes.contains_key(id) || !wanted.volumes.contains_key(id)
}

fn snapshot_is_settled(state: &State, wanted: &HostSnapshot, id: &Id<id::Snapshot>) -> bool {
    state.snapshots.contains_key(id) || !wanted.snapshots.contains_key(id)
}

/// The volumes and snapshots that something which is wanted is still to be made from.
fn still_needed(state: &State, wanted: &HostSnapshot) -> (BTreeSet<Id<id::Volume>>, BTreeSet<Id<id::Snapshot>>) {
    let (mut volumes, mut snapshots) = (BTreeSet::new(), BTreeSet::new());
    for (_, spec) in wanted.snapshots.iter().filter(|(id, _)| !state.snapshots.contains_key(*id)) {
        match spec {
            SnapshotSpec::OfVolume(volume) => drop(volumes.insert(volume.clone())),
            SnapshotSpec::CopyOf(other) => drop(snapshots.insert(other.clone())),
            SnapshotSpec::Import(_) => {}
        }
    }
    let unmade = wanted.volumes.iter().filter(|(id, _)| !state.volumes.contains_key(*id));
    snapshots.extend(unmade.filter_map(|(_, spec)| spec.from.clone()));
    (volumes, snapshots)
}

fn volume_step(state: &State, id: &Id<id::Volume>, spec: &VolumeSpec) -> Option<Step> {
    let wanted = state.wanted.as_ref()?;
    let Some(volume) = state.volumes.get(id) else {
        let ready = spec.from.as_ref().is_none_or(|from| snapshot_is_settled(state, wanted, from));
        return ready.then(|| Step::Make(id.clone()));
    };
    if volume.failed.is_some() || volume.made != Some(VolumeRecord::Data) {
        return None;
    }
    let Some(mounted) = &volume.mounted else {
        if volume.size_gib < spec.size_gib {
            return Some(Step::Grow(id.clone()));
        }
        let fresh = spec.attached.as_ref().is_some_and(|attached| volume.refused.as_ref() != Some(attached));
        return fresh.then(|| Step::Mount(id.clone()));
    };
    if !attached_as(spec, mounted) {
        return Some(unmounting(id, mounted));
    }
    if volume.size_gib < spec.size_gib {
        return Some(Step::Grow(id.clone()));
    }
    machine_step(state, id, spec, mounted, volume.refused.is_some())
}

/// What hangs goes on before it is detached.
fn unmounting(id: &Id<id::Volume>, mounted: &Mounted) -> Step {
    if mounted.paused { Step::Pause(id.clone(), false) } else { Step::Unmount(id.clone()) }
}

fn attached_as(spec: &VolumeSpec, mounted: &Mounted) -> bool {
    spec.attached.as_ref().is_some_and(|(instance, name)| *instance == mounted.instance && *name == mounted.device_name)
}

/// What is to be done in the instance, if it runs.
fn machine_step(
    state: &State,
    id: &Id<id::Volume>,
    spec: &VolumeSpec,
    mounted: &Mounted,
    refused: bool,
) -> Option<Step> {
    let boot = state.machines.get(&mounted.instance)?.boot;
    if mounted.inside != Some(boot) {
        return (!refused).then(|| Step::Enter(id.clone()));
    }
    (mounted.paused != spec.paused).then(|| Step::Pause(id.clone(), spec.paused))
}

/// The volumes that an instance is still to get, so that it should wait with its start.
pub fn awaited(state: &State, instance: &Id<Instance>) -> bool {
    let Some(wanted) = &state.wanted else { return false };
    let boot = state.machines.get(instance).map(|machine| machine.boot);
    wanted.volumes.iter().any(|(id, spec)| {
        let attached = !spec.root && spec.attached.as_ref().is_some_and(|(to, _)| to == instance);
        attached
            && state.volumes.get(id).is_none_or(|volume| {
                volume.failed.is_none()
                    && volume.refused.is_none()
                    && volume.mounted.as_ref().is_none_or(|mounted| mounted.inside != boot)
            })
    })
}

#[cfg(test)]
mod tests;
