//! Snapshots: taken of volumes, described, deleted. Copies and permissions are in `share`.
//!
//! Invariant: a snapshot that an image is made of exists as long as the image does.

mod share;

pub use share::{NO_VOLUME, account, copied, copy, describe_attribute, modify_attribute, source};

use std::collections::BTreeSet;
use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Image, Instance, Snapshot, SnapshotSource, SnapshotState, Tags, Volume, VolumeState};
use super::{catalogue, tags, volumes};

/// Everyone, where accounts are named that may use something.
pub const EVERYONE: &str = "all";

/// A snapshot that a volume can be made from.
pub struct Usable {
    pub id: String,
    pub size_gib: i32,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    pub root: bool,
}

/// The snapshot that a request names, when a volume can be made from it.
pub fn usable(view: &View, scope: &Scope, text: &str) -> Result<Usable> {
    let id = errors::id::<id::Snapshot>(text)?;
    if let Some(image) = catalogue::of_snapshot(&scope.region, text) {
        return Ok(Usable {
            id: text.to_owned(),
            size_gib: image.root_size_gib,
            encrypted: false,
            kms_key: None,
            root: true,
        });
    }
    let (_, snapshot) = visible(view, scope, &id)?;
    if !matches!(snapshot.state, SnapshotState::Completed(_)) {
        let message = format!("Snapshot '{id}' is in invalid state - {}", state(&snapshot));
        return Err(Error::client("IncorrectState", message));
    }
    Ok(Usable {
        id: id.into(),
        size_gib: snapshot.size_gib,
        encrypted: snapshot.encrypted,
        kms_key: snapshot.kms_key.clone(),
        root: snapshot.root,
    })
}

/// A snapshot that the account may use, its own or one that is shared with it, and the account that owns it.
pub fn visible(view: &View, scope: &Scope, id: &Id<id::Snapshot>) -> Result<(Scope, Arc<Snapshot>)> {
    if let Some(own) = view.get::<Snapshot>(scope, id) {
        return Ok((scope.clone(), own));
    }
    let mut others = all(view, scope).into_iter().filter(|(_, other, _)| &**other == id.as_str());
    others.next().map(|(owner, _, snapshot)| (owner, snapshot)).ok_or_else(|| errors::not_found::<id::Snapshot>(id))
}

/// Every snapshot of the region that the account may use.
fn all(view: &View, scope: &Scope) -> Vec<(Scope, Arc<str>, Arc<Snapshot>)> {
    let mut rows = view.all::<Snapshot>();
    rows.retain(|(owner, _, snapshot)| {
        owner.region == scope.region
            && (owner.account == scope.account || shared(&snapshot.shared_with, &scope.account))
    });
    rows
}

/// Whether the account is among those named.
pub fn shared(with: &BTreeSet<String>, account: &str) -> bool {
    with.contains(EVERYONE) || with.contains(account)
}

/// What is said about snapshots when they are taken.
pub struct Taking<'a> {
    pub description: &'a str,
    pub tags: &'a Tags,
    pub now: Timestamp,
}

/// Takes a snapshot of a volume, which the controller will see complete.
pub fn take(
    tx: &mut Txn,
    scope: &Scope,
    rng: &Rng,
    (volume_id, volume): (&Id<id::Volume>, &Volume),
    taking: &Taking,
) -> (Id<id::Snapshot>, Snapshot) {
    let id = Id::<id::Snapshot>::new(rng);
    let snapshot = Snapshot {
        source: SnapshotSource::Volume(volume_id.clone()),
        volume: volume_id.to_string(),
        size_gib: volume.size_gib,
        encrypted: volume.encrypted,
        kms_key: volume.kms_key.clone(),
        description: taking.description.to_owned(),
        started: taking.now,
        state: SnapshotState::Pending,
        root: volume.root,
        shared_with: BTreeSet::new(),
    };
    tags::put(tx, scope, &id, taking.tags);
    tx.put(scope, &id, snapshot.clone());
    (id, snapshot)
}

fn takeable(id: &Id<id::Volume>, volume: &Volume) -> Result<()> {
    if volume.state == VolumeState::Ready {
        return Ok(());
    }
    Err(Error::client(
        "IncorrectState",
        format!("The volume '{id}' is not in a state of which a snapshot can be taken."),
    ))
}

pub async fn create(cx: Cx, input: api::CreateSnapshotInput) -> Result<api::CreateSnapshotOutput> {
    let volume_id = errors::id::<id::Volume>(&input.volume_id)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "snapshot", &[])?;
    let (scope, seed, now) = (cx.scope(), cx.rng().u64(), cx.now());
    cx.txn(|tx| {
        let volume = find::<Volume>(tx, scope, &volume_id)?;
        takeable(&volume_id, &volume)?;
        errors::dry_run(input.dry_run)?;
        let taking = Taking { description: input.description.as_deref().unwrap_or_default(), tags: &given, now };
        let (id, snapshot) = take(tx, scope, &Rng::seeded(seed), (&volume_id, &volume), &taking);
        Ok(shape(tx, scope, &id, &snapshot))
    })
    .await
}

/// Takes snapshots of an instance's volumes, all at one moment.
pub async fn create_of_instance(cx: Cx, input: api::CreateSnapshotsInput) -> Result<api::CreateSnapshotsOutput> {
    let wanted = &input.instance_specification;
    let instance_id = errors::id::<id::Instance>(&wanted.instance_id)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "snapshot", &[])?;
    let copies = match input.copy_tags_from_source.as_deref() {
        None | Some("") => false,
        Some("volume") => true,
        Some(other) => return Err(errors::invalid_value("CopyTagsFromSource", other)),
    };
    let excluded = |id: &str| wanted.exclude_data_volume_ids.iter().flatten().any(|excluded| excluded == id);
    let (scope, seed, now) = (cx.scope(), cx.rng().u64(), cx.now());
    cx.txn(|tx| {
        let instance = find::<Instance>(tx, scope, &instance_id)?;
        let rng = Rng::seeded(seed);
        let mut out = Vec::new();
        for device in &instance.devices {
            let root = device.device == instance.root_device;
            if (root && wanted.exclude_boot_volume == Some(true)) || (!root && excluded(&device.volume)) {
                continue;
            }
            let volume = find::<Volume>(tx, scope, &device.volume)?;
            takeable(&device.volume, &volume)?;
            let mut tags = if copies { volumes::user_tags(tx, scope, &device.volume) } else { Tags::new() };
            tags.extend(given.clone());
            let taking = Taking { description: input.description.as_deref().unwrap_or_default(), tags: &tags, now };
            let (id, snapshot) = take(tx, scope, &rng, (&device.volume, &volume), &taking);
            out.push(info(shape(tx, scope, &id, &snapshot)));
        }
        errors::dry_run(input.dry_run)?;
        if out.is_empty() {
            return Err(errors::combination(format!(
                "The instance '{instance_id}' has no volumes to take snapshots of."
            )));
        }
        Ok(api::CreateSnapshotsOutput { snapshots: Some(out) })
    })
    .await
}

fn info(shape: api::Snapshot) -> api::SnapshotInfo {
    api::SnapshotInfo {
        description: shape.description,
        tags: shape.tags,
        encrypted: shape.encrypted,
        volume_id: shape.volume_id,
        state: shape.state,
        volume_size: shape.volume_size,
        start_time: shape.start_time,
        progress: shape.progress,
        owner_id: shape.owner_id,
        snapshot_id: shape.snapshot_id,
        ..Default::default()
    }
}

pub async fn delete(cx: Cx, input: api::DeleteSnapshotInput) -> Result<api::DeleteSnapshotOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Snapshot>(&input.snapshot_id)?);
    cx.txn(|tx| {
        find::<Snapshot>(tx, scope, &id)?;
        if let Some((image, _)) = tx.by_index::<Image>(scope, "snapshot", &id).first() {
            let message = format!("The snapshot {id} is currently in use by {image}");
            return Err(Error::client("InvalidSnapshot.InUse", message));
        }
        errors::dry_run(input.dry_run)?;
        remove(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteSnapshotOutput {})
}

/// Takes a snapshot away that no image is made of.
pub fn remove(tx: &mut Txn, scope: &Scope, id: &str) {
    tx.delete::<Snapshot>(scope, id);
    tags::forget(tx, scope, id);
}

fn state(snapshot: &Snapshot) -> &'static str {
    match snapshot.state {
        SnapshotState::Pending => "pending",
        SnapshotState::Completed(_) => "completed",
        SnapshotState::Failed(_) => "error",
    }
}

/// A snapshot as answers show it, with the scope of the account that owns it. Hosts say whether a copy is done and not
/// how much of it, so its progress is nothing or everything.
fn shape(view: &View, owner: &Scope, id: &str, snapshot: &Snapshot) -> api::Snapshot {
    let completed = match snapshot.state {
        SnapshotState::Completed(at) => Some(at),
        _ => None,
    };
    api::Snapshot {
        tags: tags::of(view, owner, id),
        storage_tier: Some("standard".into()),
        completion_time: completed,
        snapshot_id: Some(id.to_owned()),
        volume_id: Some(snapshot.volume.clone()),
        state: Some(state(snapshot).into()),
        state_message: match &snapshot.state {
            SnapshotState::Failed(why) => Some(why.clone()),
            _ => None,
        },
        start_time: Some(snapshot.started),
        progress: Some(if completed.is_some() { "100%" } else { "0%" }.into()),
        owner_id: Some(owner.account.to_string()),
        description: Some(snapshot.description.clone()),
        volume_size: Some(snapshot.size_gib),
        encrypted: Some(snapshot.encrypted),
        kms_key_id: snapshot.kms_key.clone(),
        ..Default::default()
    }
}

pub async fn describe(cx: Cx, input: api::DescribeSnapshotsInput) -> Result<api::DescribeSnapshotsOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let mut rows = match input.snapshot_ids.as_ref().filter(|ids| !ids.is_empty()) {
            None => all(view, scope),
            Some(texts) => {
                let unique: BTreeSet<&String> = texts.iter().collect();
                let one = |text: &String| {
                    let (owner, snapshot) = visible(view, scope, &errors::id(text)?)?;
                    Ok((owner, Arc::from(text.as_str()), snapshot))
                };
                unique.into_iter().map(one).collect::<Result<_>>()?
            }
        };
        rows.sort_by(|a, b| a.1.cmp(&b.1));
        let named = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
        let own =
            |name: &String, account: &str| if name == "self" { *scope.account == *account } else { name == account };
        if let Some(owners) = named(&input.owner_ids) {
            rows.retain(|(owner, ..)| owners.iter().any(|name| own(name, &owner.account)));
        }
        if let Some(users) = named(&input.restorable_by_user_ids) {
            rows.retain(|(owner, _, snapshot)| {
                users.iter().any(|user| {
                    let account = if user == "self" { &*scope.account } else { user };
                    *owner.account == *account || shared(&snapshot.shared_with, account)
                })
            });
        }
        errors::dry_run(input.dry_run)?;
        let rows = rows.iter().map(|(owner, id, snapshot)| shape(view, owner, id, snapshot));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (snapshots, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeSnapshotsOutput { next_token, snapshots: Some(snapshots) })
    })
}

impl Described for api::Snapshot {
    const FIELDS: &'static [Field<Self>] = &[
        ("completion-time", |snapshot| filters::text(snapshot.completion_time)),
        ("description", |snapshot| filters::one(&snapshot.description)),
        ("encrypted", |snapshot| filters::text(snapshot.encrypted)),
        ("owner-alias", |snapshot| filters::one(&snapshot.owner_alias)),
        ("owner-id", |snapshot| filters::one(&snapshot.owner_id)),
        ("progress", |snapshot| filters::one(&snapshot.progress)),
        ("snapshot-id", |snapshot| filters::one(&snapshot.snapshot_id)),
        ("start-time", |snapshot| filters::text(snapshot.start_time)),
        ("status", |snapshot| filters::one(&snapshot.state)),
        ("storage-tier", |snapshot| filters::one(&snapshot.storage_tier)),
        ("transfer-type", |snapshot| filters::one(&snapshot.transfer_type)),
        ("volume-id", |snapshot| filters::one(&snapshot.volume_id)),
        ("volume-size", |snapshot| filters::text(snapshot.volume_size)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.snapshot_id.clone().unwrap_or_default()
    }
}
