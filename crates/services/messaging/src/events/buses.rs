//! Buses and tags.

use std::collections::BTreeMap;

use standfast_api::events as api;
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result};
use standfast_kernel::Cx;

use super::model::{self, Bus, DEFAULT_BUS, Rule, not_found, rule_key, validation};

/// Quotas.
const BUSES_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 256;
const TAGS_MAX: usize = 50;
const PAGE: usize = 100;

/// How long a page may be.
pub fn limit(given: Option<i32>) -> Result<usize> {
    match given {
        None => Ok(PAGE),
        Some(limit @ 1..=100) => Ok(limit as usize),
        Some(other) => Err(validation(format!("Limit must be from 1 to 100, not {other}."))),
    }
}

pub async fn create(cx: Cx, input: api::CreateEventBusRequest) -> Result<api::CreateEventBusResponse> {
    let name = input.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || "/.-_".contains(c);
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) || name.contains('/') {
        return Err(validation(format!("The name of an event bus has letters, digits and .-_ only: {name}")));
    }
    let tags = input.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
    let new = Bus { description: input.description.clone(), tags, made: cx.now() };
    cx.txn(|tx| {
        if name == DEFAULT_BUS || tx.get::<Bus>(cx.scope(), &name).is_some() {
            return Err(Error::client("ResourceAlreadyExistsException", format!("Event bus {name} already exists.")));
        }
        if tx.count::<Bus>(cx.scope()) >= BUSES_MAX {
            return Err(Error::client("LimitExceededException", format!("There are {BUSES_MAX} event buses at most.")));
        }
        tx.put(cx.scope(), &name, new.clone());
        Ok(())
    })
    .await?;
    Ok(api::CreateEventBusResponse {
        event_bus_arn: Some(model::bus_arn(cx.scope(), &name)),
        description: input.description,
        ..Default::default()
    })
}

pub async fn delete(cx: Cx, input: api::DeleteEventBusRequest) -> Result<api::DeleteEventBusOutput> {
    let name = &input.name;
    if name == DEFAULT_BUS {
        return Err(validation("Cannot delete event bus default."));
    }
    cx.txn(|tx| {
        if !tx.prefix::<Rule>(cx.scope(), &rule_key(name, "")).is_empty() {
            return Err(validation(format!("Event bus {name} can't be deleted while it has rules.")));
        }
        tx.delete::<Bus>(cx.scope(), name);
        Ok(api::DeleteEventBusOutput {})
    })
    .await
}

pub async fn describe(cx: Cx, input: api::DescribeEventBusRequest) -> Result<api::DescribeEventBusResponse> {
    let (name, bus) = cx.view(|view| {
        let name = model::bus(view, &cx, input.name.as_deref())?;
        let bus = view.get::<Bus>(cx.scope(), &name);
        Ok::<_, Error>((name, bus))
    })?;
    Ok(api::DescribeEventBusResponse {
        arn: Some(model::bus_arn(cx.scope(), &name)),
        name: Some(name),
        description: bus.as_ref().and_then(|bus| bus.description.clone()),
        creation_time: bus.as_ref().map(|bus| bus.made),
        last_modified_time: bus.as_ref().map(|bus| bus.made),
        ..Default::default()
    })
}

pub async fn list(cx: Cx, input: api::ListEventBusesRequest) -> Result<api::ListEventBusesResponse> {
    let made = cx.view(|view| view.list::<Bus>(cx.scope()));
    let mut all: BTreeMap<String, _> = made.into_iter().map(|(name, bus)| (name.to_string(), Some(bus))).collect();
    all.insert(DEFAULT_BUS.into(), None);
    let prefix = input.name_prefix.unwrap_or_default();
    let wanted = all.into_iter().filter(|(name, _)| name.starts_with(&prefix));
    let page = page(
        wanted,
        |(name, _)| name.clone(),
        input.next_token.as_deref(),
        limit(input.limit)?,
        "ValidationException",
    )?;
    let shown = |(name, bus): (String, Option<std::sync::Arc<Bus>>)| api::EventBus {
        arn: Some(model::bus_arn(cx.scope(), &name)),
        name: Some(name),
        description: bus.as_ref().and_then(|bus| bus.description.clone()),
        creation_time: bus.as_ref().map(|bus| bus.made),
        last_modified_time: bus.as_ref().map(|bus| bus.made),
        ..Default::default()
    };
    let event_buses = Some(page.items.into_iter().map(shown).collect());
    Ok(api::ListEventBusesResponse { event_buses, next_token: page.next })
}

pub async fn tag(cx: Cx, input: api::TagResourceRequest) -> Result<api::TagResourceResponse> {
    let new: BTreeMap<_, _> = input.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    tags(&cx, &input.resource_arn, |tags| tags.extend(new.clone())).await?;
    Ok(api::TagResourceResponse {})
}

pub async fn untag(cx: Cx, input: api::UntagResourceRequest) -> Result<api::UntagResourceResponse> {
    tags(&cx, &input.resource_arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key))).await?;
    Ok(api::UntagResourceResponse {})
}

pub async fn list_tags(cx: Cx, input: api::ListTagsForResourceRequest) -> Result<api::ListTagsForResourceResponse> {
    let all = tags(&cx, &input.resource_arn, |_| ()).await?;
    let tag = |(key, value)| api::Tag { key, value };
    Ok(api::ListTagsForResourceResponse { tags: Some(all.into_iter().map(tag).collect()) })
}

/// Changes the tags of a rule or a bus, and gives them. Nothing is written when nothing changes.
async fn tags(cx: &Cx, arn: &str, change: impl Fn(&mut BTreeMap<String, String>)) -> Result<BTreeMap<String, String>> {
    let parsed: Arn = arn.parse().map_err(|_| validation(format!("Parameter ResourceARN is not valid: {arn}")))?;
    let gone = || not_found(format!("{arn} does not exist."));
    let changed = |old: &BTreeMap<String, String>| {
        let mut new = old.clone();
        change(&mut new);
        match new.len() > TAGS_MAX {
            true => Err(validation(format!("A resource has {TAGS_MAX} tags at most."))),
            false => Ok(new),
        }
    };
    cx.txn(|tx| {
        if let Some(path) = parsed.resource.strip_prefix("rule/") {
            let (bus, name) = path.rsplit_once('/').unwrap_or((DEFAULT_BUS, path));
            let key = rule_key(bus, name);
            let rule = tx.get::<Rule>(cx.scope(), &key).ok_or_else(gone)?;
            let tags = changed(&rule.tags)?;
            if tags != rule.tags {
                tx.put(cx.scope(), &key, Rule { tags: tags.clone(), ..(*rule).clone() });
            }
            return Ok(tags);
        }
        let name = parsed.resource.strip_prefix("event-bus/").ok_or_else(gone)?;
        let bus = match (tx.get::<Bus>(cx.scope(), name), name) {
            (Some(bus), _) => (*bus).clone(),
            // The default bus has a record from its first tag on, which shows nothing else.
            (None, DEFAULT_BUS) => Bus { description: None, tags: BTreeMap::new(), made: cx.now() },
            (None, _) => return Err(gone()),
        };
        let tags = changed(&bus.tags)?;
        if tags != bus.tags {
            tx.put(cx.scope(), name, Bus { tags: tags.clone(), ..bus });
        }
        Ok(tags)
    })
    .await
}
