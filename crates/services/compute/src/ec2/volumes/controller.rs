//! Moves volumes, snapshots and images on, by what hosts show of them and by the clock.
//!
//! Only records that are on their way somewhere are looked at: they have an index of their own.

use standfast_core::host::HostObservation;
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::{Record, Txn, View};

use super::plan::{self, Seen, Step};
use crate::ec2::model::{
    Defaults, Image, ImageState, MOVING, MOVING_INDEX, PENDING_OF_INDEX, Snapshot, SnapshotState, Volume,
};
use crate::ec2::tags;

/// What wakes it, besides the host.
pub const TABLES: &[&str] = &[Volume::TABLE, Snapshot::TABLE, Image::TABLE];

/// A record that moves.
enum Move {
    Volume(Scope, String, Step),
    Snapshot(Scope, String, SnapshotState),
    Image(Scope, String, ImageState),
}

pub async fn run(cx: Cx) -> Result<Wake> {
    let (now, real) = (cx.now(), cx.host().abilities().volumes);
    let observed = if real { Some(cx.host().observe()) } else { None };
    let (moves, wake) = cx.view(|view| gather(view, observed.as_ref(), now));
    if !moves.is_empty() {
        // Planned again from what the transaction reads: requests may have come in between.
        cx.txn(|tx| {
            let (moves, _) = gather(tx, observed.as_ref(), now);
            moves.into_iter().for_each(|one| apply(tx, one));
            Ok(())
        })
        .await?;
    }
    Ok(wake)
}

fn gather(view: &View, observed: Option<&HostObservation>, now: Timestamp) -> (Vec<Move>, Wake) {
    let (mut moves, mut wake) = (Vec::new(), Wake::OnChange);
    // Whatever makes volumes or images sets its account's region up first.
    for (scope, _, _) in view.all::<Defaults>() {
        for (id, volume) in view.by_index::<Volume>(&scope, MOVING_INDEX, MOVING) {
            let seen = observed.map_or(Seen::RecordsOnly, |observed| Seen::Host(observed.volumes.get(&*id)));
            let copied = !view.by_index::<Snapshot>(&scope, PENDING_OF_INDEX, &id).is_empty();
            match plan::volume(&volume, seen, copied, now) {
                Some(step) => moves.push(Move::Volume(scope.clone(), id.to_string(), step)),
                None => wake = plan::deadline(&volume).map_or(wake, |due| wake.or(Wake::At(due))),
            }
        }
        for (id, snapshot) in view.by_index::<Snapshot>(&scope, MOVING_INDEX, MOVING) {
            let seen = observed.map_or(Seen::RecordsOnly, |observed| Seen::Host(observed.snapshots.get(&*id)));
            if let Some(state) = plan::snapshot(&snapshot, seen, now) {
                moves.push(Move::Snapshot(scope.clone(), id.to_string(), state));
            }
        }
        for (id, image) in view.by_index::<Image>(&scope, MOVING_INDEX, MOVING) {
            // Snapshots of the catalogue are no records, and always there.
            let parts: Vec<_> = image.snapshots().filter_map(|id| view.get::<Snapshot>(&scope, id)).collect();
            if let Some(state) = plan::image(&image, parts.iter().map(|part| &part.state)) {
                moves.push(Move::Image(scope.clone(), id.to_string(), state));
            }
        }
    }
    (moves, wake)
}

fn apply(tx: &mut Txn, one: Move) {
    match one {
        Move::Volume(scope, id, Step::Put(new)) => tx.put(&scope, &id, *new),
        Move::Volume(scope, id, Step::Remove) => {
            tx.delete::<Volume>(&scope, &id);
            tags::forget(tx, &scope, &id);
        }
        Move::Snapshot(scope, id, state) => {
            if let Some(old) = tx.get::<Snapshot>(&scope, &id) {
                tx.put(&scope, &id, Snapshot { state, ..(*old).clone() });
            }
        }
        Move::Image(scope, id, state) => {
            if let Some(old) = tx.get::<Image>(&scope, &id) {
                tx.put(&scope, &id, Image { state, ..(*old).clone() });
            }
        }
    }
}
