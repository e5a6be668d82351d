//! Volumes: made, described, deleted. What is attached where is in `attach`, what changes of one in `modify`.
//!
//! Invariant: a volume that an instance has is in that instance's list of devices, and the other way round.
//!
//! AWS-DIFF: where hosts do not make volumes (the process driver, the simulation) they are records only: they become
//! available at once, and hold nothing.

mod attach;
mod attributes;
pub mod controller;
mod kinds;
mod modify;
mod plan;

pub use attach::{attach, detach};
pub use attributes::{describe_attribute, describe_status, enable_io, modify_attribute};
pub use kinds::{DEFAULT as DEFAULT_TYPE, performance};
pub use modify::{describe_modifications, modify};

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::{Region, Zone};
use standfast_core::{Error, Result, Scope};
use standfast_kernel::{Cx, zones};
use standfast_store::{Txn, View};

use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{PENDING_OF_INDEX, Performance, Snapshot, Tags, Volume, VolumeAttachment, VolumeState};
use super::{defaults, errors, snapshots, tags, tokens};

pub async fn create(cx: Cx, input: api::CreateVolumeInput) -> Result<api::CreateVolumeOutput> {
    defaults::ready(&cx).await?;
    let zone = zone(&cx, &input)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "volume", &[])?;
    let token = tokens::read(input.client_token.as_deref(), &input)?;
    if input.multi_attach_enabled == Some(true) {
        // AWS-DIFF: a volume is attached to one instance at a time.
        return Err(Error::client("UnsupportedOperation", "Volumes with multi-attach are not supported."));
    }
    let (scope, id, now) = (cx.scope(), Id::<id::Volume>::new(cx.rng()), cx.now());
    cx.txn(|tx| {
        if let Some(token) = &token {
            let made = tx.by_index::<Volume>(scope, "token", &token.token);
            if let Some((id, volume)) = made.first() {
                tokens::same_request(token, volume.client_token.as_ref())?;
                return Ok(shape(tx, scope, id, volume));
            }
        }
        if zones::is_dark(tx, &zone) {
            let message = format!("The zone '{zone}' cannot make volumes: it has no power.");
            return Err(Error::unavailable(message));
        }
        let from = match input.snapshot_id.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Some(snapshots::usable(tx, scope, text)?),
            None => None,
        };
        let performance = asked(&input, from.as_ref())?;
        errors::dry_run(input.dry_run)?;
        let encrypted = input.encrypted.unwrap_or(false) || from.as_ref().is_some_and(|from| from.encrypted);
        let volume = Volume {
            zone: zone.clone(),
            size_gib: performance.size_gib,
            volume_type: performance.volume_type,
            iops: performance.iops,
            throughput: performance.throughput,
            encrypted,
            kms_key: input.kms_key_id.clone().or_else(|| from.as_ref().and_then(|from| from.kms_key.clone())),
            root: from.as_ref().is_some_and(|from| from.root),
            snapshot: from.map(|from| from.id),
            created: now,
            attachment: None,
            state: VolumeState::Creating,
            paused: false,
            auto_enable_io: false,
            modification: None,
            client_token: token.clone(),
        };
        tags::put(tx, scope, &id, &given);
        let answer = shape(tx, scope, &id, &volume);
        tx.put(scope, &id, volume);
        Ok(answer)
    })
    .await
}

/// The zone that a request names, by name or by id.
fn zone(cx: &Cx, input: &api::CreateVolumeInput) -> Result<String> {
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, zone_id) = (text(&input.availability_zone), text(&input.availability_zone_id));
    let asked = name.clone().or(zone_id.clone()).ok_or_else(|| errors::missing("AvailabilityZone"))?;
    let mut zones = Region::named(cx.region()).into_iter().flat_map(Region::zones);
    let found = zones.find(|zone| Some(&zone.name) == name.as_ref() || Some(&zone.id) == zone_id.as_ref());
    let unknown = || Error::client("InvalidZone.NotFound", format!("The zone '{asked}' does not exist."));
    Ok(found.ok_or_else(unknown)?.name)
}

/// Size and performance of a new volume.
fn asked(input: &api::CreateVolumeInput, from: Option<&snapshots::Usable>) -> Result<Performance> {
    let size_gib = match (input.size, from) {
        (Some(size), Some(from)) if size < from.size_gib => {
            return Err(errors::invalid(format!(
                "The volume size '{size}' is smaller than snapshot '{}', expect size >= {}.",
                from.id, from.size_gib
            )));
        }
        (Some(size), _) => size,
        (None, Some(from)) => from.size_gib,
        (None, None) => return Err(errors::missing("size/snapshot")),
    };
    performance(input.volume_type.as_deref().unwrap_or(DEFAULT_TYPE), size_gib, input.iops, input.throughput)
}

pub async fn delete(cx: Cx, input: api::DeleteVolumeInput) -> Result<api::DeleteVolumeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Volume>(&input.volume_id)?);
    cx.txn(|tx| {
        let volume = errors::find::<Volume>(tx, scope, &id)?;
        if let Some(attachment) = &volume.attachment {
            let message = format!("Volume {id} is currently attached to {}", attachment.instance);
            return Err(Error::client("VolumeInUse", message));
        }
        errors::dry_run(input.dry_run)?;
        remove(tx, scope, &id, &volume);
        Ok(())
    })
    .await?;
    Ok(api::DeleteVolumeOutput {})
}

/// Takes a volume away: at once, or when the snapshots that are being taken of it are complete.
pub fn remove(tx: &mut Txn, scope: &Scope, id: &Id<id::Volume>, volume: &Volume) {
    if tx.by_index::<Snapshot>(scope, PENDING_OF_INDEX, id).is_empty() {
        tx.delete::<Volume>(scope, id);
        tags::forget(tx, scope, id);
    } else {
        tx.put(scope, id, Volume { state: VolumeState::Deleting, attachment: None, ..volume.clone() });
    }
}

/// The tags of a volume.
fn tags_of(view: &View, scope: &Scope, id: &str) -> Option<Tags> {
    view.get::<super::model::Tagged>(scope, id).map(|tagged| tagged.tags.clone())
}

/// The user's tags of a volume, for what is made from it.
pub fn user_tags(view: &View, scope: &Scope, id: &str) -> Tags {
    let tags = tags_of(view, scope, id).unwrap_or_default();
    tags.into_iter().filter(|(key, _)| !key.starts_with("aws:")).collect()
}

pub async fn describe(cx: Cx, input: api::DescribeVolumesInput) -> Result<api::DescribeVolumesOutput> {
    cx.view(|view| {
        let rows = errors::select::<Volume>(view, cx.scope(), input.volume_ids.as_ref())?;
        let rows = rows.iter().map(|(id, volume)| shape(view, cx.scope(), id, volume));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (volumes, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeVolumesOutput { volumes: Some(volumes), next_token })
    })
}

fn state(volume: &Volume) -> &'static str {
    match volume.state {
        VolumeState::Creating => "creating",
        VolumeState::Ready if volume.attachment.is_some() => "in-use",
        VolumeState::Ready => "available",
        VolumeState::Failed(_) => "error",
        VolumeState::Deleting => "deleting",
    }
}

/// An attachment as answers show it.
fn attachment(id: &str, attachment: &VolumeAttachment) -> api::VolumeAttachment {
    api::VolumeAttachment {
        delete_on_termination: Some(attachment.delete_on_termination),
        volume_id: Some(id.to_owned()),
        instance_id: Some((&attachment.instance).into()),
        device: Some(attachment.device.clone()),
        state: Some(if attachment.attaching { "attaching" } else { "attached" }.into()),
        attach_time: Some(attachment.attached),
        ..Default::default()
    }
}

fn shape(view: &View, scope: &Scope, id: &str, volume: &Volume) -> api::Volume {
    api::Volume {
        availability_zone: Some(volume.zone.clone()),
        availability_zone_id: Zone::named(&volume.zone).map(|zone| zone.id),
        iops: volume.iops,
        tags: tags::of(view, scope, id),
        volume_type: Some(volume.volume_type.clone()),
        multi_attach_enabled: Some(false),
        throughput: volume.throughput,
        volume_id: Some(id.to_owned()),
        size: Some(volume.size_gib),
        snapshot_id: Some(volume.snapshot.clone().unwrap_or_default()),
        state: Some(state(volume).into()),
        create_time: Some(volume.created),
        attachments: Some(volume.attachment.iter().map(|one| attachment(id, one)).collect()),
        encrypted: Some(volume.encrypted),
        kms_key_id: volume.kms_key.clone(),
        ..Default::default()
    }
}

fn attachments(volume: &api::Volume) -> impl Iterator<Item = &api::VolumeAttachment> {
    volume.attachments.iter().flatten()
}

impl Described for api::Volume {
    const FIELDS: &'static [Field<Self>] = &[
        ("attachment.attach-time", |volume| attachments(volume).flat_map(|a| filters::text(a.attach_time)).collect()),
        ("attachment.delete-on-termination", |volume| {
            attachments(volume).flat_map(|a| filters::text(a.delete_on_termination)).collect()
        }),
        ("attachment.device", |volume| filters::each(&volume.attachments, |attachment| &attachment.device)),
        ("attachment.instance-id", |volume| filters::each(&volume.attachments, |attachment| &attachment.instance_id)),
        ("attachment.status", |volume| filters::each(&volume.attachments, |attachment| &attachment.state)),
        ("availability-zone", |volume| filters::one(&volume.availability_zone)),
        ("availability-zone-id", |volume| filters::one(&volume.availability_zone_id)),
        ("create-time", |volume| filters::text(volume.create_time)),
        ("encrypted", |volume| filters::text(volume.encrypted)),
        ("fast-restored", |_| vec!["false".into()]),
        ("multi-attach-enabled", |volume| filters::text(volume.multi_attach_enabled)),
        ("size", |volume| filters::text(volume.size)),
        ("snapshot-id", |volume| filters::one(&volume.snapshot_id)),
        ("status", |volume| filters::one(&volume.state)),
        ("volume-id", |volume| filters::one(&volume.volume_id)),
        ("volume-type", |volume| filters::one(&volume.volume_type)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.volume_id.clone().unwrap_or_default()
    }
}
