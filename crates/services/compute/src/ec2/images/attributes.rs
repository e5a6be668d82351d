//! Attributes of images: who may launch them, and what is said of them.

use std::collections::BTreeSet;

use standfast_api::ec2 as api;
use standfast_core::Result;
use standfast_kernel::Cx;

use super::{Found, find, own};
use crate::ec2::errors;
use crate::ec2::model::Image;
use crate::ec2::snapshots::{EVERYONE, account};

const LAUNCH_PERMISSION: &str = "launchPermission";

/// What a request changes.
#[derive(Default)]
struct Changes {
    add: BTreeSet<String>,
    remove: BTreeSet<String>,
    description: Option<String>,
    imds: Option<String>,
}

impl Changes {
    /// From its own members, or from `Attribute` with `Value` or `OperationType`.
    fn of(input: &api::ModifyImageAttributeInput) -> Result<Self> {
        let text = |given: &Option<api::AttributeValue>| given.as_ref().and_then(|given| given.value.clone());
        let mut changes =
            Self { description: text(&input.description), imds: text(&input.imds_support), ..Self::default() };
        if let Some(given) = &input.launch_permission {
            for (side, list) in [(&mut changes.add, &given.add), (&mut changes.remove, &given.remove)] {
                for one in list.iter().flatten() {
                    side.insert(account(one.user_id.as_deref(), one.group.as_deref())?);
                }
            }
        }
        let users = input.user_ids.iter().flatten().map(|user| account(Some(user), None));
        let groups = input.user_groups.iter().flatten().map(|group| account(None, Some(group)));
        let named: BTreeSet<String> = users.chain(groups).collect::<Result<_>>()?;
        match input.operation_type.as_deref() {
            _ if named.is_empty() => {}
            Some("add") => changes.add.extend(named),
            Some("remove") => changes.remove.extend(named),
            other => return Err(errors::invalid_value("operationType", other.unwrap_or_default())),
        }
        match (input.attribute.as_deref(), input.value.clone()) {
            (None | Some(LAUNCH_PERMISSION), _) | (Some(_), None) => {}
            (Some("description"), value) => changes.description = value,
            (Some("imdsSupport"), value) => changes.imds = value,
            (Some(other), _) => return Err(errors::invalid_value("attribute", other)),
        }
        Ok(changes)
    }

    fn is_nothing(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty() && self.description.is_none() && self.imds.is_none()
    }
}

pub async fn modify_attribute(
    cx: Cx,
    input: api::ModifyImageAttributeInput,
) -> Result<api::ModifyImageAttributeOutput> {
    let changes = Changes::of(&input)?;
    if changes.is_nothing() {
        return Err(errors::combination("No attributes specified."));
    }
    let scope = cx.scope();
    cx.txn(|tx| {
        let (id, image) = own(tx, scope, &input.image_id)?;
        let mut image = (*image).clone();
        image.launched_by.extend(changes.add.clone());
        image.launched_by.retain(|account| !changes.remove.contains(account));
        image.description = changes.description.clone().unwrap_or(image.description);
        image.imds = changes.imds.clone().or(image.imds);
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, image);
        Ok(())
    })
    .await?;
    Ok(api::ModifyImageAttributeOutput {})
}

pub async fn reset_attribute(cx: Cx, input: api::ResetImageAttributeInput) -> Result<api::ResetImageAttributeOutput> {
    if input.attribute != LAUNCH_PERMISSION {
        return Err(errors::invalid_value("attribute", &input.attribute));
    }
    let scope = cx.scope();
    cx.txn(|tx| {
        let (id, image) = own(tx, scope, &input.image_id)?;
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, Image { launched_by: BTreeSet::new(), ..(*image).clone() });
        Ok(())
    })
    .await?;
    Ok(api::ResetImageAttributeOutput {})
}

pub async fn describe_attribute(
    cx: Cx,
    input: api::DescribeImageAttributeInput,
) -> Result<api::DescribeImageAttributeOutput> {
    cx.view(|view| {
        let found = find(view, cx.scope(), &input.image_id)?;
        errors::dry_run(input.dry_run)?;
        let shape = found.shape(view, cx.scope());
        let text = |value: Option<String>| Some(api::AttributeValue { value });
        let mut output = api::ImageAttribute { image_id: Some(input.image_id.clone()), ..Default::default() };
        match input.attribute.as_str() {
            "description" => output.description = text(shape.description),
            "kernel" => output.kernel_id = text(None),
            "ramdisk" => output.ramdisk_id = text(None),
            "sriovNetSupport" => output.sriov_net_support = text(shape.sriov_net_support),
            "bootMode" => output.boot_mode = text(shape.boot_mode),
            "tpmSupport" => output.tpm_support = text(shape.tpm_support),
            "imdsSupport" => output.imds_support = text(shape.imds_support),
            "lastLaunchedTime" => output.last_launched_time = text(None),
            "blockDeviceMapping" => output.block_device_mappings = shape.block_device_mappings,
            "productCodes" => output.product_codes = Some(Vec::new()),
            LAUNCH_PERMISSION => output.launch_permissions = Some(permissions(&found)),
            other => return Err(errors::invalid_value("attribute", other)),
        }
        Ok(output)
    })
}

fn permissions(found: &Found) -> Vec<api::LaunchPermission> {
    let one = |account: &str| match account {
        EVERYONE => api::LaunchPermission { group: Some(EVERYONE.into()), ..Default::default() },
        account => api::LaunchPermission { user_id: Some(account.into()), ..Default::default() },
    };
    match found {
        Found::Catalogue(_) => vec![one(EVERYONE)],
        Found::Record { image, .. } => image.launched_by.iter().map(|account| one(account)).collect(),
    }
}
