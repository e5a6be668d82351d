//! What the planner does for which snapshot.

use std::sync::Arc;

use super::*;
use crate::linux::volumes::state::Volume;
use crate::linux::volumes::store::{Layers, SnapshotRecord};

fn vol(n: u8) -> Id<id::Volume> {
    Id::from_text(&format!("vol-{n}"))
}

fn snap(n: u8) -> Id<id::Snapshot> {
    Id::from_text(&format!("snap-{n}"))
}

fn root(from: Option<Id<id::Snapshot>>) -> VolumeSpec {
    let zone = "eu-west-1a".into();
    VolumeSpec { zone, size_gib: 8, iops: 3000, throughput_mib: 125, from, root: true, attached: None, paused: false }
}

fn made() -> Volume {
    Volume { made: Some(VolumeRecord::Root(Layers::default())), ..Volume::default() }
}

/// The steps of a state in which `there` volumes and snapshots are made.
fn steps(there: (&[u8], &[u8]), change: impl FnOnce(&mut State, &mut HostSnapshot)) -> Vec<Step> {
    let mut state = State::default();
    state.volumes.extend(there.0.iter().map(|n| (vol(*n), made())));
    state.snapshots.extend(there.1.iter().map(|n| (snap(*n), Ok(SnapshotRecord::Root(Layers::default())))));
    let mut wanted = HostSnapshot::default();
    change(&mut state, &mut wanted);
    state.wanted = Some(Arc::new(wanted));
    plan(&state)
}

#[test]
fn a_volume_waits_for_its_snapshot_and_many_are_made_of_it_at_once() {
    let of_another = |_: &mut State, wanted: &mut HostSnapshot| {
        wanted.volumes.insert(vol(1), root(None));
        wanted.snapshots.insert(snap(1), SnapshotSpec::OfVolume(vol(1)));
        wanted.volumes.insert(vol(2), root(Some(snap(1))));
        wanted.volumes.insert(vol(3), root(Some(snap(1))));
    };
    assert_eq!(steps((&[], &[]), of_another), [Step::Make(vol(1))]);
    assert_eq!(steps((&[1], &[]), of_another), [Step::Snapshot(snap(1))]);
    assert_eq!(steps((&[1], &[1]), of_another), [Step::Make(vol(2)), Step::Make(vol(3))]);
    assert_eq!(steps((&[1, 2, 3], &[1]), of_another), []);
}

#[test]
fn what_something_is_still_made_from_is_removed_after() {
    // The volume is to go, and so is the snapshot, in the moment in which a copy of each is asked for.
    let copies = |_: &mut State, wanted: &mut HostSnapshot| {
        wanted.snapshots.insert(snap(2), SnapshotSpec::OfVolume(vol(1)));
        wanted.snapshots.insert(snap(3), SnapshotSpec::CopyOf(snap(1)));
    };
    assert_eq!(steps((&[1], &[1]), copies), [Step::Snapshot(snap(2)), Step::Snapshot(snap(3))]);
    assert_eq!(steps((&[1], &[1, 2, 3]), copies), [Step::Delete(vol(1)), Step::Forget(snap(1))]);
}

#[test]
fn what_is_in_use_stays() {
    let mut hold = None;
    let held = steps((&[1], &[]), |state, _| hold = Some(state.volumes[&vol(1)].hold.clone()));
    // The plan was made while it was held.
    assert_eq!((held, hold.is_some()), (Vec::new(), true));
    let busy = steps((&[1], &[]), |state, wanted| {
        state.busy.volumes.insert(vol(1));
        wanted.volumes.insert(vol(1), root(None));
        wanted.snapshots.insert(snap(1), SnapshotSpec::OfVolume(vol(1)));
    });
    assert_eq!(busy, []);
}

#[test]
fn garbage_is_collected_when_nothing_else_is_done() {
    let garbage = |state: &mut State, _: &mut HostSnapshot| state.garbage = true;
    assert_eq!(steps((&[], &[]), garbage), [Step::Collect]);
    assert_eq!(steps((&[1], &[]), garbage), [Step::Delete(vol(1))]);
    let running = |state: &mut State, _: &mut HostSnapshot| {
        state.garbage = true;
        state.busy.snapshots.insert(snap(1));
    };
    assert_eq!(steps((&[], &[]), running), []);
}

#[test]
fn what_failed_is_not_tried_again_and_what_it_was_for_is_told() {
    let failed = |state: &mut State, wanted: &mut HostSnapshot| {
        state.volumes.insert(vol(1), Volume { failed: Some("no".into()), ..Volume::default() });
        wanted.volumes.insert(vol(1), root(None));
        wanted.snapshots.insert(snap(1), SnapshotSpec::OfVolume(vol(1)));
    };
    assert_eq!(steps((&[], &[]), failed), [Step::Snapshot(snap(1))], "which then fails too");
}
