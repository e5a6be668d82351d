//! What volumes did: `AWS/EBS` of each that is attached, and in sum of each instance.
//!
//! AWS-DIFF: the root volume is no device here, and counts nothing.

use std::time::Duration;

use standfast_api::cloudwatch as api;
use standfast_core::host::DiskUse;
use standfast_core::metric::PERIOD;
use standfast_core::{Timestamp, id};
use standfast_store::View;

use super::super::model::Volume;
use super::{Data, Disks, NAMESPACE, Reading, datum, dimension};

const EBS: &str = "AWS/EBS";

/// Adds the data of a minute: what was counted between two looks.
pub fn add(view: &View, readings: &[Reading], new: &Disks, old: &Disks, now: Timestamp, to: &mut Data) {
    for (scope, id, volume) in view.all::<Volume>() {
        let id = id::Id::<id::Volume>::from_text(&id);
        let (Some(new), Some(old)) = (new.get(&id), old.get(&id)) else { continue };
        let did = between(old, new);
        to.entry((scope.clone(), EBS)).or_default().extend(of_volume(&did, dimension("VolumeId", &id), now));
        let attached = volume.attachment.as_ref().map(|attachment| attachment.instance.as_str());
        for reading in readings.iter().filter(|reading| Some(&*reading.id) == attached && reading.scope == scope) {
            let to = to.entry((scope.clone(), NAMESPACE)).or_default();
            for dimension in reading.dimensions() {
                to.extend(
                    counts(&did)
                        .map(|(name, unit, count)| datum(&format!("EBS{name}"), unit, count, dimension.clone(), now)),
                );
            }
        }
    }
}

/// What a device did since; all of it when it is another one.
fn between(old: &DiskUse, new: &DiskUse) -> DiskUse {
    if new.reads < old.reads || new.writes < old.writes {
        return *new;
    }
    DiskUse {
        reads: new.reads - old.reads,
        read_bytes: new.read_bytes.saturating_sub(old.read_bytes),
        writes: new.writes - old.writes,
        write_bytes: new.write_bytes.saturating_sub(old.write_bytes),
        busy: new.busy.saturating_sub(old.busy),
        waited: new.waited.saturating_sub(old.waited),
    }
}

fn counts(did: &DiskUse) -> [(&'static str, &'static str, f64); 4] {
    [
        ("ReadOps", "Count", did.reads as f64),
        ("WriteOps", "Count", did.writes as f64),
        ("ReadBytes", "Bytes", did.read_bytes as f64),
        ("WriteBytes", "Bytes", did.write_bytes as f64),
    ]
}

fn of_volume(did: &DiskUse, dimension: api::Dimension, now: Timestamp) -> Vec<api::MetricDatum> {
    let mut data: Vec<_> = counts(did)
        .map(|(name, unit, count)| datum(&format!("Volume{name}"), unit, count, dimension.clone(), now))
        .into();
    let idle = PERIOD.saturating_sub(did.busy).as_secs_f64();
    data.push(datum("VolumeIdleTime", "Seconds", idle, dimension.clone(), now));
    data.push(datum("VolumeQueueLength", "Count", share(did.waited), dimension, now));
    data
}

/// How many were under way on average, from how long all of them took.
fn share(waited: Duration) -> f64 {
    waited.as_secs_f64() / PERIOD.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_a_volume_is_what_its_device_did_in_it() {
        let ms = Duration::from_millis;
        let old = DiskUse { reads: 5, read_bytes: 500, writes: 1, write_bytes: 10, busy: ms(100), waited: ms(200) };
        let new =
            DiskUse { reads: 8, read_bytes: 900, writes: 1, write_bytes: 10, busy: ms(30_100), waited: ms(120_200) };
        let data = of_volume(&between(&old, &new), dimension("VolumeId", "vol-1"), Timestamp(0));
        let value = |name: &str| data.iter().find(|datum| datum.metric_name == name).and_then(|datum| datum.value);
        assert_eq!((value("VolumeReadOps"), value("VolumeReadBytes")), (Some(3.0), Some(400.0)));
        assert_eq!((value("VolumeWriteOps"), value("VolumeIdleTime")), (Some(0.0), Some(30.0)));
        assert_eq!(value("VolumeQueueLength"), Some(2.0));
        assert_eq!(between(&new, &old).reads, 5, "a device that was attached anew");
    }
}
