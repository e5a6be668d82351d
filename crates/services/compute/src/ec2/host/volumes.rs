//! From the records of volumes and snapshots to what a host should keep: pure.

use std::collections::{BTreeMap, BTreeSet};

use standfast_core::host::{SnapshotSpec, VolumeSpec};
use standfast_core::id::{self, Id};

use super::network::Row;
use crate::ec2::model::{Snapshot, SnapshotSource, Volume};
use crate::ec2::{burst, catalogue};

/// The size in GiB up to which `gp2` volumes have less throughput.
const GP2_SMALL_GIB: u32 = 170;

/// Every volume; `paused` are those whose I/O hangs.
pub fn specs(volumes: &[Row<Volume>], paused: &BTreeSet<String>) -> BTreeMap<Id<id::Volume>, VolumeSpec> {
    let each = |(_, id, volume): &Row<Volume>| {
        let spec = spec(volume);
        (Id::from_shared(id.clone()), VolumeSpec { paused: spec.paused || paused.contains(&**id), ..spec })
    };
    volumes.iter().map(each).collect()
}

fn spec(volume: &Volume) -> VolumeSpec {
    let size_gib = volume.size_gib.unsigned_abs();
    let (iops, throughput_mib) = performance(&volume.volume_type, size_gib);
    // The images that every region has are the base image itself: their snapshots hold nothing.
    let own = volume.snapshot.as_deref().filter(|id| !id.is_empty() && !catalogue::is_snapshot(id));
    VolumeSpec {
        zone: volume.zone.clone(),
        size_gib,
        iops: volume.iops.map_or(iops, i32::unsigned_abs).max(iops),
        throughput_mib: volume.throughput.map_or(throughput_mib, i32::unsigned_abs),
        from: own.map(Id::from_text),
        root: volume.root,
        attached: volume.attachment.as_ref().map(|attached| (attached.instance.clone(), attached.device.clone())),
        paused: volume.paused,
    }
}

/// The operations per second and MiB per second that a volume of a type can do when nothing is said. A `gp2` volume is
/// taken to have credits.
fn performance(volume_type: &str, size_gib: u32) -> (u32, u32) {
    match volume_type {
        "gp3" => (3000, 125),
        "gp2" => (burst::peak_iops(size_gib), if size_gib <= GP2_SMALL_GIB { 128 } else { 250 }),
        "io1" => (100, 1000),
        "io2" => (100, 4000),
        "st1" => (500, 500),
        "sc1" => (250, 250),
        _ => (200, 90),
    }
}

/// Every snapshot.
pub fn snapshots(snapshots: &[Row<Snapshot>]) -> BTreeMap<Id<id::Snapshot>, SnapshotSpec> {
    let spec = |source: &SnapshotSource| match source {
        SnapshotSource::Volume(volume) => SnapshotSpec::OfVolume(volume.clone()),
        SnapshotSource::Copy { snapshot, .. } => SnapshotSpec::CopyOf(snapshot.clone()),
        SnapshotSource::Import(path) => SnapshotSpec::Import(path.clone()),
    };
    snapshots.iter().map(|(_, id, snapshot)| (Id::from_shared(id.clone()), spec(&snapshot.source))).collect()
}
