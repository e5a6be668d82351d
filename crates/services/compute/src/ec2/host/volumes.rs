//! From the records of volumes and snapshots to what a host should keep: pure.

use std::collections::{BTreeMap, HashSet};

use standfast_core::host::VolumeSpec;
use standfast_core::id::{self, Id};

use super::network::Row;
use crate::ec2::model::{Instance, Volume};

/// What volumes do that say nothing of it.
const IOPS_DEFAULT: u32 = 100;
const THROUGHPUT_DEFAULT_MIB: u32 = 125;

/// Every volume.
pub fn specs(volumes: &[Row<Volume>], instances: &[Row<Instance>]) -> BTreeMap<Id<id::Volume>, VolumeSpec> {
    let roots: HashSet<&str> =
        instances.iter().filter_map(|(_, _, instance)| Some(instance.devices.first()?.volume.as_str())).collect();
    let each = |(_, id, volume): &Row<Volume>| (Id::from_shared(id.clone()), spec(volume, roots.contains(&**id)));
    volumes.iter().map(each).collect()
}

fn spec(volume: &Volume, root: bool) -> VolumeSpec {
    let whole = |value: Option<i32>, otherwise: u32| value.map_or(otherwise, i32::unsigned_abs);
    VolumeSpec {
        zone: volume.zone.clone(),
        size_gib: volume.size_gib.unsigned_abs(),
        iops: whole(volume.iops, IOPS_DEFAULT),
        throughput_mib: whole(volume.throughput, THROUGHPUT_DEFAULT_MIB),
        from: None,
        root,
        attached: volume.attachment.as_ref().map(|attached| (attached.instance.clone(), attached.device.clone())),
        paused: false,
    }
}
