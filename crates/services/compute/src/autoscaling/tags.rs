//! Tags of groups. Members get those that say so when they are launched, and no later ones.

use std::collections::BTreeMap;

use standfast_api::autoscaling::{
    self as api, CreateOrUpdateTagsInput, CreateOrUpdateTagsOutput, DeleteTagsInput, DeleteTagsOutput,
    DescribeTagsInput, DescribeTagsOutput,
};
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;

use super::convert;
use super::errors::validation;
use super::groups::live;
use super::model::Group;
use super::settings::{self, GROUP_TYPE};

const PAGE_MAX: usize = 100;

/// Tags by the group they are for.
fn by_group(tags: Vec<api::Tag>) -> Result<BTreeMap<String, Vec<api::Tag>>> {
    let mut groups: BTreeMap<String, Vec<api::Tag>> = BTreeMap::new();
    for tag in tags {
        if let Some(kind) = tag.resource_type.as_deref().filter(|kind| *kind != GROUP_TYPE) {
            return Err(validation(format!("The resource type '{kind}' is not valid; use {GROUP_TYPE}.")));
        }
        let Some(group) = tag.resource_id.clone().filter(|id| !id.is_empty()) else {
            return Err(validation(format!("The tag '{}' names no ResourceId.", tag.key)));
        };
        groups.entry(group).or_default().push(tag);
    }
    Ok(groups)
}

pub async fn create_or_update(cx: Cx, input: CreateOrUpdateTagsInput) -> Result<CreateOrUpdateTagsOutput> {
    let groups = by_group(input.tags)?;
    let groups = groups.into_iter().map(|(name, tags)| Ok((name, settings::tags(&cx, tags)?)));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    cx.txn(|tx| {
        for (name, tags) in &groups {
            let mut group = live(tx, &cx, name)?;
            group.tags.extend(tags.clone());
            settings::check_tag_count(group.tags.len())?;
            tx.put(cx.scope(), name, group);
        }
        Ok(())
    })
    .await?;
    Ok(CreateOrUpdateTagsOutput {})
}

pub async fn delete(cx: Cx, input: DeleteTagsInput) -> Result<DeleteTagsOutput> {
    let groups = by_group(input.tags)?;
    cx.txn(|tx| {
        for (name, tags) in &groups {
            let mut group = live(tx, &cx, name)?;
            let deleted = |key: &String, value: &String| {
                tags.iter()
                    .any(|tag| tag.key == *key && tag.value.as_ref().is_none_or(|own| own.is_empty() || own == value))
            };
            group.tags.retain(|key, tag| !deleted(key, &tag.value));
            tx.put(cx.scope(), name, group);
        }
        Ok(())
    })
    .await?;
    Ok(DeleteTagsOutput {})
}

pub async fn describe(cx: Cx, input: DescribeTagsInput) -> Result<DescribeTagsOutput> {
    let filters = input.filters.unwrap_or_default();
    let names = ["auto-scaling-group", "key", "value", "propagate-at-launch"];
    if let Some(filter) =
        filters.iter().find(|filter| !filter.name.as_deref().is_some_and(|name| names.contains(&name)))
    {
        let name = filter.name.as_deref().unwrap_or_default();
        let allowed = names.join(" ");
        return Err(validation(format!("Filter type {name} is not correct. Allowed Filter types are: {allowed}")));
    }
    let passes = |tag: &api::TagDescription| {
        filters.iter().all(|filter| {
            let own = match filter.name.as_deref() {
                Some("auto-scaling-group") => tag.resource_id.clone(),
                Some("key") => tag.key.clone(),
                Some("value") => tag.value.clone(),
                _ => tag.propagate_at_launch.map(|propagates| propagates.to_string()),
            };
            filter.values.as_ref().is_none_or(|values| own.is_some_and(|own| values.contains(&own)))
        })
    };
    let groups = cx.view(|view| view.list::<Group>(cx.scope()));
    let tags = groups.iter().flat_map(|(name, group)| convert::tags(name, group)).filter(passes);
    let limit = input.max_records.map_or(PAGE_MAX, |max| (max.max(1) as usize).min(PAGE_MAX));
    // Names hold no control characters, so that a group's tags come together and in order.
    let key = |tag: &api::TagDescription| {
        format!("{}\0{}", tag.resource_id.as_deref().unwrap_or_default(), tag.key.as_deref().unwrap_or_default())
    };
    let page = page(tags, key, input.next_token.as_deref(), limit, "InvalidNextToken")?;
    Ok(DescribeTagsOutput { tags: Some(page.items), next_token: page.next })
}
