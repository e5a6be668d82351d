//! How volumes are: their status, and the one attribute that they have.

use standfast_api::ec2 as api;
use standfast_core::Result;
use standfast_core::id;
use standfast_core::place::Zone;
use standfast_kernel::Cx;
use standfast_kernel::faults::{self, Fault};

use crate::ec2::errors;
use crate::ec2::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use crate::ec2::model::Volume;

/// A volume whose I/O hangs is impaired; others do not fail.
pub async fn describe_status(cx: Cx, input: api::DescribeVolumeStatusInput) -> Result<api::DescribeVolumeStatusOutput> {
    let volumes = cx.view(|view| errors::select::<Volume>(view, cx.scope(), input.volume_ids.as_ref()))?;
    let hang = cx.view(|view| faults::at(view, cx.scope()));
    let hangs = |id: &str| hang.iter().any(|fault| matches!(fault, Fault::Volumes(ids) if ids.contains(id)));
    let rows = volumes.iter().map(|(id, volume)| status(id, volume, volume.paused || hangs(id)));
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
    let (statuses, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeVolumeStatusOutput { next_token, volume_statuses: Some(statuses) })
}

fn status(id: &str, volume: &Volume, paused: bool) -> api::VolumeStatusItem {
    let detail = |name: &str, status: &str| api::VolumeStatusDetails {
        name: Some(name.to_owned()),
        status: Some(status.to_owned()),
    };
    let provisioned = matches!(volume.volume_type.as_str(), "io1" | "io2");
    let performance = match (paused, provisioned) {
        (true, true) => "stalled",
        (false, true) => "normal",
        (_, false) => "not-applicable",
    };
    let (summary, enabled) = if paused { ("impaired", "failed") } else { ("ok", "passed") };
    api::VolumeStatusItem {
        actions: Some(Vec::new()),
        availability_zone: Some(volume.zone.clone()),
        availability_zone_id: Zone::named(&volume.zone).map(|zone| zone.id),
        events: Some(Vec::new()),
        volume_id: Some(id.to_owned()),
        volume_status: Some(api::VolumeStatusInfo {
            details: Some(vec![detail("io-enabled", enabled), detail("io-performance", performance)]),
            status: Some(summary.into()),
        }),
        ..Default::default()
    }
}

fn details(item: &api::VolumeStatusItem) -> impl Iterator<Item = &api::VolumeStatusDetails> {
    item.volume_status.iter().flat_map(|info| info.details.iter().flatten())
}

impl Described for api::VolumeStatusItem {
    const FIELDS: &'static [Field<Self>] = &[
        ("action.code", |_| Vec::new()),
        ("action.description", |_| Vec::new()),
        ("action.event-id", |_| Vec::new()),
        ("availability-zone", |item| filters::one(&item.availability_zone)),
        ("availability-zone-id", |item| filters::one(&item.availability_zone_id)),
        ("event.description", |_| Vec::new()),
        ("event.event-id", |_| Vec::new()),
        ("event.event-type", |_| Vec::new()),
        ("event.not-after", |_| Vec::new()),
        ("event.not-before", |_| Vec::new()),
        ("volume-status.details-name", |item| details(item).flat_map(|detail| filters::one(&detail.name)).collect()),
        ("volume-status.details-status", |item| {
            details(item).flat_map(|detail| filters::one(&detail.status)).collect()
        }),
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

pub async fn describe_attribute(
    cx: Cx,
    input: api::DescribeVolumeAttributeInput,
) -> Result<api::DescribeVolumeAttributeOutput> {
    let id = errors::id::<id::Volume>(&input.volume_id)?;
    let volume = cx.view(|view| errors::find::<Volume>(view, cx.scope(), &id))?;
    errors::dry_run(input.dry_run)?;
    let mut output = api::DescribeVolumeAttributeOutput { volume_id: Some(id.into()), ..Default::default() };
    match input.attribute.as_str() {
        "autoEnableIO" => {
            output.auto_enable_io = Some(api::AttributeBooleanValue { value: Some(volume.auto_enable_io) });
        }
        "productCodes" => output.product_codes = Some(Vec::new()),
        other => return Err(errors::invalid_value("attribute", other)),
    }
    Ok(output)
}

pub async fn modify_attribute(
    cx: Cx,
    input: api::ModifyVolumeAttributeInput,
) -> Result<api::ModifyVolumeAttributeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Volume>(&input.volume_id)?);
    let to = input.auto_enable_io.as_ref().and_then(|given| given.value);
    let to = errors::required(to, "AutoEnableIO")?;
    cx.txn(|tx| {
        let volume = errors::find::<Volume>(tx, scope, &id)?;
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, Volume { auto_enable_io: to, ..(*volume).clone() });
        Ok(())
    })
    .await?;
    Ok(api::ModifyVolumeAttributeOutput {})
}

/// Switches the I/O of a volume on that came up without: none does here.
pub async fn enable_io(cx: Cx, input: api::EnableVolumeIOInput) -> Result<api::EnableVolumeIOOutput> {
    let id = errors::id::<id::Volume>(&input.volume_id)?;
    cx.view(|view| errors::find::<Volume>(view, cx.scope(), &id))?;
    errors::dry_run(input.dry_run)?;
    Ok(api::EnableVolumeIOOutput {})
}
