//! Copies of snapshots in other regions, and who may make volumes from a snapshot.

use std::collections::BTreeSet;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Region;
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::View;

use super::EVERYONE;
use crate::ec2::errors::{self, find};
use crate::ec2::model::{Snapshot, SnapshotSource, SnapshotState};
use crate::ec2::{defaults, tags};

/// What a copy says that it is a snapshot of.
pub const NO_VOLUME: &str = "vol-ffffffff";
const PERMISSION: &str = "createVolumePermission";

pub async fn copy(cx: Cx, input: api::CopySnapshotInput) -> Result<api::CopySnapshotOutput> {
    defaults::ready(&cx).await?;
    let source = source(&cx, &input.source_region, &input.source_snapshot_id)?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "snapshot", &[])?;
    let (scope, id, now) = (cx.scope(), Id::<id::Snapshot>::new(cx.rng()), cx.now());
    cx.txn(|tx| {
        let mut copy = copied(tx, &source, now)?;
        copy.description = input.description.clone().unwrap_or(copy.description);
        copy.encrypted |= input.encrypted == Some(true);
        copy.kms_key = input.kms_key_id.clone().or(copy.kms_key);
        errors::dry_run(input.dry_run)?;
        tags::put(tx, scope, &id, &given);
        tx.put(scope, &id, copy);
        Ok(())
    })
    .await?;
    Ok(api::CopySnapshotOutput { tags: Some(tags::shape(&given)), snapshot_id: Some(id.into()) })
}

/// A snapshot in another region (or this one), as the caller names it.
pub struct Source {
    scope: Scope,
    snapshot: Id<id::Snapshot>,
}

pub fn source(cx: &Cx, region: &str, snapshot: &str) -> Result<Source> {
    let known = Region::named(region).ok_or_else(|| errors::invalid_value("SourceRegion", region))?;
    Ok(Source { scope: Scope::new(cx.account(), known.name), snapshot: errors::id(snapshot)? })
}

/// The record of a copy, which its host still has to make.
pub fn copied(view: &View, source: &Source, now: Timestamp) -> Result<Snapshot> {
    let (_, snapshot) = super::visible(view, &source.scope, &source.snapshot)?;
    if !matches!(snapshot.state, SnapshotState::Completed(_)) {
        let message = format!("Snapshot '{}' is in invalid state - {}", source.snapshot, super::state(&snapshot));
        return Err(Error::client("IncorrectState", message));
    }
    let (id, region) = (source.snapshot.clone(), source.scope.region.to_string());
    Ok(Snapshot {
        description: String::new(),
        source: SnapshotSource::Copy { region, snapshot: id },
        volume: NO_VOLUME.to_owned(),
        started: now,
        state: SnapshotState::Pending,
        shared_with: BTreeSet::new(),
        ..(*snapshot).clone()
    })
}

pub async fn modify_attribute(
    cx: Cx,
    input: api::ModifySnapshotAttributeInput,
) -> Result<api::ModifySnapshotAttributeOutput> {
    if let Some(other) = input.attribute.as_deref().filter(|name| *name != PERMISSION) {
        return Err(errors::invalid_value("attribute", other));
    }
    let (add, remove) = permissions(&input)?;
    let (scope, id) = (cx.scope(), errors::id::<id::Snapshot>(&input.snapshot_id)?);
    cx.txn(|tx| {
        let mut snapshot = (*find::<Snapshot>(tx, scope, &id)?).clone();
        if snapshot.encrypted && add.contains(EVERYONE) {
            let message = format!("The encrypted snapshot '{id}' cannot be made public.");
            return Err(Error::client("OperationNotPermitted", message));
        }
        snapshot.shared_with.extend(add.clone());
        snapshot.shared_with.retain(|account| !remove.contains(account));
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, snapshot);
        Ok(())
    })
    .await?;
    Ok(api::ModifySnapshotAttributeOutput {})
}

/// Who is added and who is removed, in the request's newer or older form.
fn permissions(input: &api::ModifySnapshotAttributeInput) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let mut sides = (BTreeSet::new(), BTreeSet::new());
    if let Some(given) = &input.create_volume_permission {
        for (side, list) in [(&mut sides.0, &given.add), (&mut sides.1, &given.remove)] {
            for one in list.iter().flatten() {
                side.insert(account(one.user_id.as_deref(), one.group.as_deref())?);
            }
        }
    }
    let users = input.user_ids.iter().flatten().map(|user| account(Some(user), None));
    let groups = input.group_names.iter().flatten().map(|group| account(None, Some(group)));
    let named: BTreeSet<String> = users.chain(groups).collect::<Result<_>>()?;
    match input.operation_type.as_deref() {
        _ if named.is_empty() => {}
        Some("add") => sides.0.extend(named),
        Some("remove") => sides.1.extend(named),
        other => return Err(errors::invalid_value("operationType", other.unwrap_or_default())),
    }
    if sides.0.is_empty() && sides.1.is_empty() {
        return Err(errors::missing("CreateVolumePermission"));
    }
    Ok(sides)
}

/// Whom a permission speaks of: an account, or everyone.
pub fn account(user: Option<&str>, group: Option<&str>) -> Result<String> {
    match (user, group) {
        (Some(user), _) if user.len() == 12 && user.bytes().all(|b| b.is_ascii_digit()) => Ok(user.to_owned()),
        (Some(user), _) => Err(Error::client("InvalidUserID.Malformed", format!("Invalid user id: \"{user}\""))),
        (None, Some(EVERYONE)) => Ok(EVERYONE.to_owned()),
        (None, group) => Err(errors::invalid_value("group", group.unwrap_or_default())),
    }
}

pub async fn describe_attribute(
    cx: Cx,
    input: api::DescribeSnapshotAttributeInput,
) -> Result<api::DescribeSnapshotAttributeOutput> {
    let id = errors::id::<id::Snapshot>(&input.snapshot_id)?;
    let snapshot = cx.view(|view| find::<Snapshot>(view, cx.scope(), &id))?;
    errors::dry_run(input.dry_run)?;
    let mut output = api::DescribeSnapshotAttributeOutput { snapshot_id: Some(id.into()), ..Default::default() };
    match input.attribute.as_str() {
        PERMISSION => {
            let one = |account: &String| match account.as_str() {
                EVERYONE => api::CreateVolumePermission { group: Some(EVERYONE.into()), user_id: None },
                account => api::CreateVolumePermission { user_id: Some(account.into()), group: None },
            };
            output.create_volume_permissions = Some(snapshot.shared_with.iter().map(one).collect());
        }
        "productCodes" => output.product_codes = Some(Vec::new()),
        other => return Err(errors::invalid_value("attribute", other)),
    }
    Ok(output)
}
