//! Volumes as instances' block devices show them. Volumes of one's own come later.

use standfast_api::ec2 as api;
use standfast_core::place::Zone;
use standfast_core::{Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors;
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Volume, VolumeAttachment};
use super::tags;

pub async fn describe(cx: Cx, input: api::DescribeVolumesInput) -> Result<api::DescribeVolumesOutput> {
    cx.view(|view| {
        let rows = errors::select::<Volume>(view, cx.scope(), input.volume_ids.as_ref())?;
        let rows = rows.iter().map(|(id, volume)| shape(view, cx.scope(), id, volume));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (volumes, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeVolumesOutput { volumes: Some(volumes), next_token })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, volume: &Volume) -> api::Volume {
    let attachment = |attachment: &VolumeAttachment| api::VolumeAttachment {
        delete_on_termination: Some(attachment.delete_on_termination),
        volume_id: Some(id.to_owned()),
        instance_id: Some((&attachment.instance).into()),
        device: Some(attachment.device.clone()),
        state: Some("attached".into()),
        attach_time: Some(attachment.attached),
        ..Default::default()
    };
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
        state: Some(if volume.attachment.is_some() { "in-use" } else { "available" }.into()),
        create_time: Some(volume.created),
        attachments: Some(volume.attachment.iter().map(attachment).collect()),
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

/// Volumes do not fail in this version: each is `ok`.
pub async fn describe_status(cx: Cx, input: api::DescribeVolumeStatusInput) -> Result<api::DescribeVolumeStatusOutput> {
    let volumes = cx.view(|view| errors::select::<Volume>(view, cx.scope(), input.volume_ids.as_ref()))?;
    let detail = |name: &str, status: &str| api::VolumeStatusDetails {
        name: Some(name.to_owned()),
        status: Some(status.to_owned()),
    };
    let rows = volumes.iter().map(|(id, volume)| api::VolumeStatusItem {
        actions: Some(Vec::new()),
        availability_zone: Some(volume.zone.clone()),
        availability_zone_id: Zone::named(&volume.zone).map(|zone| zone.id),
        events: Some(Vec::new()),
        volume_id: Some(id.to_string()),
        volume_status: Some(api::VolumeStatusInfo {
            details: Some(vec![detail("io-enabled", "passed"), detail("io-performance", "not-applicable")]),
            status: Some("ok".into()),
        }),
        ..Default::default()
    });
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
    let (statuses, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeVolumeStatusOutput { next_token, volume_statuses: Some(statuses) })
}

impl Described for api::VolumeStatusItem {
    const FIELDS: &'static [Field<Self>] = &[
        ("availability-zone", |item| filters::one(&item.availability_zone)),
        ("availability-zone-id", |item| filters::one(&item.availability_zone_id)),
        ("volume-status.status", |item| {
            item.volume_status.iter().flat_map(|info| filters::one(&info.status)).collect()
        }),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.volume_id.clone().unwrap_or_default()
    }
}
