//! ModifyVolume: growing a volume, or changing its type and performance.
//!
//! A change is `modifying` for a moment, then in effect while it is `optimizing`, then `completed`.

use std::time::Duration;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;

use crate::ec2::errors;
use crate::ec2::filters::{self, Described, Field, Paging};
use crate::ec2::model::{Modification, ModificationState, Performance, Volume, VolumeState};

/// How long a change is being made, and how long its volume is being optimized then.
pub const MODIFYING: Duration = Duration::from_secs(2);
pub const OPTIMIZING: Duration = Duration::from_secs(60);
/// How long after the beginning of a change the next one may come.
const CHANGE_EVERY: Duration = Duration::from_secs(6 * 3600);
const BOUNDS: (i32, i32) = (1, 500);

pub async fn modify(cx: Cx, input: api::ModifyVolumeInput) -> Result<api::ModifyVolumeOutput> {
    let (scope, id, now) = (cx.scope(), errors::id::<id::Volume>(&input.volume_id)?, cx.now());
    cx.txn(|tx| {
        let volume = errors::find::<Volume>(tx, scope, &id)?;
        modifiable(&id, &volume, now)?;
        let target = target(&input, &volume.performance())?;
        errors::dry_run(input.dry_run)?;
        let change =
            Modification { original: volume.performance(), target, started: now, state: ModificationState::Modifying };
        let answer = shape(&id, &change, now);
        tx.put(scope, &id, Volume { modification: Some(change), ..(*volume).clone() });
        Ok(api::ModifyVolumeOutput { volume_modification: Some(answer) })
    })
    .await
}

fn modifiable(id: &Id<id::Volume>, volume: &Volume, now: Timestamp) -> Result<()> {
    if volume.state != VolumeState::Ready {
        let message = format!("The volume '{id}' is in the '{}' state.", super::state(volume));
        return Err(Error::client("IncorrectState", message));
    }
    let Some(last) = &volume.modification else { return Ok(()) };
    if !matches!(last.state, ModificationState::Completed(_)) {
        let message = format!("Can't modify '{id}': it is in the '{}' state.", name(last.state));
        return Err(Error::client("IncorrectModificationState", message));
    }
    if now < last.started + CHANGE_EVERY {
        return Err(Error::client(
            "VolumeModificationRateExceeded",
            "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between modifications per EBS volume.",
        ));
    }
    Ok(())
}

/// What a volume should become.
fn target(input: &api::ModifyVolumeInput, old: &Performance) -> Result<Performance> {
    if input.multi_attach_enabled == Some(true) {
        return Err(Error::client("UnsupportedOperation", "Volumes with multi-attach are not supported."));
    }
    let asked = [input.size.is_some(), input.volume_type.is_some(), input.iops.is_some(), input.throughput.is_some()];
    if !asked.contains(&true) {
        return Err(errors::missing("Size, VolumeType, Iops or Throughput"));
    }
    let size_gib = input.size.unwrap_or(old.size_gib);
    if size_gib < old.size_gib {
        return Err(errors::invalid(format!(
            "New size cannot be smaller than existing size: {size_gib} GiB is smaller than {} GiB.",
            old.size_gib
        )));
    }
    let volume_type = input.volume_type.as_deref().unwrap_or(&old.volume_type);
    // What was asked for stays when the type does; what the type gives by itself follows the size.
    let kept = volume_type == old.volume_type;
    let iops = input.iops.or(old.iops.filter(|_| kept && matches!(volume_type, "gp3" | "io1" | "io2")));
    let throughput = input.throughput.or(old.throughput.filter(|_| kept));
    super::performance(volume_type, size_gib, iops, throughput)
}

fn name(state: ModificationState) -> &'static str {
    match state {
        ModificationState::Modifying => "modifying",
        ModificationState::Optimizing => "optimizing",
        ModificationState::Completed(_) => "completed",
    }
}

/// How much of a change is done, in percent: by the time that has passed of the time it takes.
fn progress(change: &Modification, now: Timestamp) -> i64 {
    match change.state {
        ModificationState::Completed(_) => 100,
        _ => {
            let whole = (MODIFYING + OPTIMIZING).as_secs_f64();
            ((now.since(change.started).as_secs_f64() / whole * 100.0) as i64).min(99)
        }
    }
}

fn shape(id: &str, change: &Modification, now: Timestamp) -> api::VolumeModification {
    let (from, to) = (&change.original, &change.target);
    api::VolumeModification {
        volume_id: Some(id.to_owned()),
        modification_state: Some(name(change.state).into()),
        target_size: Some(to.size_gib),
        target_iops: to.iops,
        target_volume_type: Some(to.volume_type.clone()),
        target_throughput: to.throughput,
        target_multi_attach_enabled: Some(false),
        original_size: Some(from.size_gib),
        original_iops: from.iops,
        original_volume_type: Some(from.volume_type.clone()),
        original_throughput: from.throughput,
        original_multi_attach_enabled: Some(false),
        progress: Some(progress(change, now)),
        start_time: Some(change.started),
        end_time: match change.state {
            ModificationState::Completed(end) => Some(end),
            _ => None,
        },
        ..Default::default()
    }
}

pub async fn describe_modifications(
    cx: Cx,
    input: api::DescribeVolumesModificationsInput,
) -> Result<api::DescribeVolumesModificationsOutput> {
    let volumes = cx.view(|view| errors::select::<Volume>(view, cx.scope(), input.volume_ids.as_ref()))?;
    let named = input.volume_ids.as_ref().is_some_and(|ids| !ids.is_empty());
    let mut rows = Vec::new();
    for (id, volume) in &volumes {
        match &volume.modification {
            Some(change) => rows.push(shape(id, change, cx.now())),
            None if named => {
                let message = format!("Modification for volume '{id}' does not exist.");
                return Err(Error::client("InvalidVolumeModification.NotFound", message));
            }
            None => (),
        }
    }
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (changes, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeVolumesModificationsOutput { next_token, volumes_modifications: Some(changes) })
}

impl Described for api::VolumeModification {
    const FIELDS: &'static [Field<Self>] = &[
        ("modification-state", |change| filters::one(&change.modification_state)),
        ("multi-attach-enabled", |change| filters::text(change.target_multi_attach_enabled)),
        ("original-iops", |change| filters::text(change.original_iops)),
        ("original-size", |change| filters::text(change.original_size)),
        ("original-volume-type", |change| filters::one(&change.original_volume_type)),
        ("originalMultiAttachEnabled", |change| filters::text(change.original_multi_attach_enabled)),
        ("start-time", |change| filters::text(change.start_time)),
        ("target-iops", |change| filters::text(change.target_iops)),
        ("target-size", |change| filters::text(change.target_size)),
        ("target-volume-type", |change| filters::one(&change.target_volume_type)),
        ("targetMultiAttachEnabled", |change| filters::text(change.target_multi_attach_enabled)),
        ("volume-id", |change| filters::one(&change.volume_id)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.volume_id.clone().unwrap_or_default()
    }
}
