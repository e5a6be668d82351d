//! What becomes of volumes, snapshots and images by themselves: pure.

use standfast_core::Timestamp;
use standfast_core::host::Progress;

use super::modify::{MODIFYING, OPTIMIZING};
use crate::ec2::model::{
    Image, ImageState, ModificationState, Snapshot, SnapshotState, Volume, VolumeAttachment, VolumeState,
};

/// What a host says of a volume or a snapshot.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It makes none: what a record says is all there is.
    RecordsOnly,
    Host(Option<&'a Progress>),
}

impl Seen<'_> {
    /// Whether it is there now, or the reason why it will never be.
    fn made(self) -> Result<bool, String> {
        match self {
            Seen::RecordsOnly | Seen::Host(Some(Progress::Ready)) => Ok(true),
            Seen::Host(None | Some(Progress::Working)) => Ok(false),
            Seen::Host(Some(Progress::Failed(why))) => Err(why.clone()),
        }
    }
}

/// The next record of a volume.
#[derive(Clone, Debug)]
pub enum Step {
    Put(Box<Volume>),
    Remove,
}

/// What should happen to a volume now. `copied` says whether a snapshot of it is being taken.
pub fn volume(volume: &Volume, seen: Seen, copied: bool, now: Timestamp) -> Option<Step> {
    let mut new = volume.clone();
    match volume.state {
        VolumeState::Deleting => return (!copied).then_some(Step::Remove),
        VolumeState::Creating => match seen.made() {
            Ok(true) => new.state = VolumeState::Ready,
            Ok(false) => {}
            Err(why) => new.state = VolumeState::Failed(why),
        },
        VolumeState::Ready | VolumeState::Failed(_) => {}
    }
    if let Some(attachment) = volume.attachment.clone().filter(|attachment| attachment.attaching)
        && seen.made() == Ok(true)
    {
        new.attachment = Some(VolumeAttachment { attaching: false, ..attachment });
    }
    let modified = modify(&mut new, now);
    let moved = modified || new.state != volume.state || new.attachment != volume.attachment;
    moved.then(|| Step::Put(Box::new(new)))
}

/// Moves a volume's modification to where it is at this time; whether it moved.
fn modify(volume: &mut Volume, now: Timestamp) -> bool {
    let Some(change) = &mut volume.modification else { return false };
    let before = change.state;
    if change.state == ModificationState::Modifying && now >= change.started + MODIFYING {
        change.state = ModificationState::Optimizing;
        volume.volume_type = change.target.volume_type.clone();
        volume.size_gib = change.target.size_gib;
        volume.iops = change.target.iops;
        volume.throughput = change.target.throughput;
    }
    if change.state == ModificationState::Optimizing && now >= change.started + MODIFYING + OPTIMIZING {
        change.state = ModificationState::Completed(now);
    }
    change.state != before
}

/// When `volume` may say something else without any change of record or host.
pub fn deadline(volume: &Volume) -> Option<Timestamp> {
    let change = volume.modification.as_ref()?;
    match change.state {
        ModificationState::Modifying => Some(change.started + MODIFYING),
        ModificationState::Optimizing => Some(change.started + MODIFYING + OPTIMIZING),
        ModificationState::Completed(_) => None,
    }
}

/// The next state of a snapshot that is being made.
pub fn snapshot(snapshot: &Snapshot, seen: Seen, now: Timestamp) -> Option<SnapshotState> {
    if !snapshot.is_pending() {
        return None;
    }
    match seen.made() {
        Ok(true) => Some(SnapshotState::Completed(now)),
        Ok(false) => None,
        Err(why) => Some(SnapshotState::Failed(why)),
    }
}

/// The next state of an image that is being made of these snapshots.
pub fn image<'a>(image: &Image, snapshots: impl Iterator<Item = &'a SnapshotState>) -> Option<ImageState> {
    if image.state != ImageState::Pending {
        return None;
    }
    let mut next = ImageState::Available;
    for state in snapshots {
        match state {
            SnapshotState::Completed(_) => {}
            SnapshotState::Pending => return None,
            SnapshotState::Failed(why) => next = ImageState::Failed(why.clone()),
        }
    }
    Some(next)
}
