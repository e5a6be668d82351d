//! Placement groups.
//!
//! Invariant: a spread group has at most seven instances that are not terminated in a zone, and a group with instances is
//! not deleted. AWS-DIFF: all instances share a machine, so that a group says nothing about where they run.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors;
use super::filters::{Described, Field, Filters, one};
use super::model::{Instance, PlacementGroup, State};
use super::tags;

const PARTITIONS_MAX: i32 = 7;
const PARTITIONS_DEFAULT: i32 = 2;
/// How many instances of a spread group there may be in a zone.
const SPREAD_MAX: usize = 7;
const NAME_LENGTH_MAX: usize = 255;

pub async fn create(cx: Cx, input: api::CreatePlacementGroupInput) -> Result<api::CreatePlacementGroupOutput> {
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "placement-group", &[])?;
    let group = read(&input)?;
    let (scope, id) = (cx.scope(), Id::<id::PlacementGroup>::new(cx.rng()));
    let group = cx
        .txn(|tx| {
            if tx.by_unique::<PlacementGroup>(scope, "name", &group.name).is_some() {
                let message = format!("The placement group '{}' already exists.", group.name);
                return Err(Error::client("InvalidPlacementGroup.Duplicate", message));
            }
            errors::dry_run(input.dry_run)?;
            tx.put(scope, &id, group.clone());
            tags::put(tx, scope, &id, &given);
            Ok(shape(tx, scope, &id, &group))
        })
        .await?;
    Ok(api::CreatePlacementGroupOutput { placement_group: Some(group) })
}

fn read(input: &api::CreatePlacementGroupInput) -> Result<PlacementGroup> {
    let name = errors::required(input.group_name.clone().filter(|name| !name.is_empty()), "groupName")?;
    if name.chars().count() > NAME_LENGTH_MAX {
        return Err(errors::invalid_value("groupName", &name));
    }
    let strategy = input.strategy.clone().unwrap_or_else(|| "cluster".into());
    if !matches!(strategy.as_str(), "cluster" | "spread" | "partition") {
        return Err(errors::invalid_value("strategy", &strategy));
    }
    let partitions = match (strategy.as_str(), input.partition_count.filter(|count| *count != 0)) {
        ("partition", count) => Some(count.unwrap_or(PARTITIONS_DEFAULT)),
        (_, None) => None,
        (_, Some(_)) => {
            return Err(errors::combination("PartitionCount can only be specified for 'partition' groups."));
        }
    };
    if let Some(count) = partitions.filter(|count| !(1..=PARTITIONS_MAX).contains(count)) {
        return Err(errors::invalid_value("partitionCount", &count.to_string()));
    }
    let spread_level = match (strategy.as_str(), input.spread_level.as_deref()) {
        ("spread", level) => Some(level.unwrap_or("rack").to_owned()),
        (_, None) => None,
        (_, Some(_)) => return Err(errors::combination("SpreadLevel can only be specified for 'spread' groups.")),
    };
    Ok(PlacementGroup { name, strategy, partitions, spread_level })
}

fn unknown(name: &str) -> Error {
    Error::client("InvalidPlacementGroup.Unknown", format!("The Placement Group '{name}' is unknown."))
}

/// The instances of a group that are there.
fn members(view: &View, scope: &Scope, name: &str, zone: Option<&str>) -> usize {
    let all = view.list::<Instance>(scope);
    let here = |instance: &Instance| {
        instance.options.placement_group.as_deref() == Some(name)
            && instance.state != State::Terminated
            && zone.is_none_or(|zone| instance.zone == zone)
    };
    all.iter().filter(|(_, instance)| here(instance)).count()
}

/// Whether so many more instances may be launched into the group that a launch names.
pub fn check(view: &View, scope: &Scope, name: Option<&str>, zone: &str, count: usize) -> Result<()> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(()) };
    let (_, group) = view.by_unique::<PlacementGroup>(scope, "name", name).ok_or_else(|| unknown(name))?;
    if group.strategy == "spread" && members(view, scope, name, Some(zone)) + count > SPREAD_MAX {
        let message = format!(
            "We currently do not have sufficient capacity to launch all of the additional requested instances into Placement Group '{name}'."
        );
        return Err(Error::client("InsufficientInstanceCapacity", message).with_status(500));
    }
    Ok(())
}

pub async fn delete(cx: Cx, input: api::DeletePlacementGroupInput) -> Result<api::DeletePlacementGroupOutput> {
    let (scope, name) = (cx.scope(), &input.group_name);
    cx.txn(|tx| {
        let (id, _) = tx.by_unique::<PlacementGroup>(scope, "name", name).ok_or_else(|| unknown(name))?;
        if members(tx, scope, name, None) > 0 {
            let message = format!("The placement group '{name}' is in use and may not be deleted.");
            return Err(Error::client("InvalidPlacementGroup.InUse", message));
        }
        errors::dry_run(input.dry_run)?;
        tx.delete::<PlacementGroup>(scope, &id);
        tags::forget(tx, scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeletePlacementGroupOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribePlacementGroupsInput) -> Result<api::DescribePlacementGroupsOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let mut rows = match &input.group_names {
            Some(names) if !names.is_empty() => {
                let named = |name: &String| view.by_unique::<PlacementGroup>(scope, "name", name);
                names.iter().map(|name| named(name).ok_or_else(|| unknown(name))).collect::<Result<Vec<_>>>()?
            }
            _ => errors::select::<PlacementGroup>(view, scope, input.group_ids.as_ref())?,
        };
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        let filters = Filters::parse(input.filters.as_ref())?;
        let shapes = rows.iter().map(|(id, group)| shape(view, scope, id, group));
        let groups = shapes.filter(|group| filters.pass(group)).collect();
        Ok(api::DescribePlacementGroupsOutput { placement_groups: Some(groups) })
    })
}

fn shape(view: &View, scope: &Scope, id: &str, group: &PlacementGroup) -> api::PlacementGroup {
    let arn = Arn::new("ec2", scope, format!("placement-group/{}", group.name));
    api::PlacementGroup {
        group_name: Some(group.name.clone()),
        state: Some("available".into()),
        strategy: Some(group.strategy.clone()),
        partition_count: group.partitions,
        group_id: Some(id.to_owned()),
        tags: tags::of(view, scope, id),
        group_arn: Some(arn.to_string()),
        spread_level: group.spread_level.clone(),
        ..Default::default()
    }
}

impl Described for api::PlacementGroup {
    const FIELDS: &'static [Field<Self>] = &[
        ("group-arn", |group| one(&group.group_arn)),
        ("group-name", |group| one(&group.group_name)),
        ("spread-level", |group| one(&group.spread_level)),
        ("state", |group| one(&group.state)),
        ("strategy", |group| one(&group.strategy)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.group_id.clone().unwrap_or_default()
    }
}
