//! Topics: CreateTopic, DeleteTopic, ListTopics, tags.

use std::collections::BTreeMap;

use standfast_api::sns as api;
use standfast_core::page::page;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::attributes;
use super::errors::{because, invalid, needs, no_topic};
use super::model::{self, Sequence, Subscription, Topic};

const NAME_CHARS_MAX: usize = 256;
const FIFO: &str = ".fifo";
/// Topics of an account in a region.
const TOPICS_MAX: usize = 100_000;
pub const TAGS_MAX: usize = 50;
/// What a page of any listing holds.
pub const PAGE: usize = 100;
pub const BAD_TOKEN: &str = "InvalidParameter";

pub async fn create(cx: Cx, input: api::CreateTopicInput) -> Result<api::CreateTopicResponse> {
    let name = input.name;
    let given = input.attributes.unwrap_or_default();
    check_name(&name, given.get("FifoTopic").is_some_and(|value| value == "true"))?;
    if input.data_protection_policy.is_some_and(|policy| !policy.is_empty()) {
        return Err(needs("DataProtectionPolicy", "A data protection policy", "message data protection"));
    }
    let mut set = BTreeMap::new();
    for (attribute, value) in given.iter().filter(|(_, value)| !value.is_empty()) {
        attributes::check_new(attribute, value)?;
        set.insert(attribute.clone(), value.clone());
    }
    if set.contains_key("ContentBasedDeduplication") && !name.ends_with(FIFO) {
        return Err(because("Attributes", "Content-based deduplication can only be set for FIFO topics"));
    }
    let tags: BTreeMap<_, _> = input.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
    check_tags(&tags)?;
    let arn = model::topic_arn(cx.scope(), &name);
    cx.txn(|tx| {
        if let Some(old) = tx.get::<Topic>(cx.scope(), &name) {
            // What is there already answers as if it were new, unless it is another.
            if set.iter().any(|(attribute, value)| old.attributes.get(attribute) != Some(value)) {
                return Err(because("Attributes", "Topic already exists with different attributes"));
            }
            if !tags.is_empty() && old.tags != tags {
                return Err(because("Tags", "Topic already exists with different tags"));
            }
        } else {
            if tx.count::<Topic>(cx.scope()) >= TOPICS_MAX {
                let message = format!("Topic limit exceeded: an account has {TOPICS_MAX} topics at most.");
                return Err(Error::client("TopicLimitExceeded", message).with_status(403));
            }
            tx.put(cx.scope(), &name, Topic { attributes: set.clone(), tags: tags.clone(), deleted: 0 });
        }
        Ok(api::CreateTopicResponse { topic_arn: Some(arn.clone()) })
    })
    .await
}

fn check_name(name: &str, fifo: bool) -> Result<()> {
    let stem = if fifo { name.strip_suffix(FIFO) } else { Some(name) };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if stem.is_some_and(|stem| !stem.is_empty() && stem.chars().all(plain)) && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    let kind = if fifo { "Fifo Topic names must end with .fifo and" } else { "Topic names" };
    Err(invalid(format!(
        "{kind} must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must \
         be between 1 and {NAME_CHARS_MAX} characters long: {name}"
    )))
}

/// Deletes a topic with its subscriptions. What is on its way to them ends with the next attempt.
pub async fn delete(cx: Cx, input: api::DeleteTopicInput) -> Result<api::DeleteTopicOutput> {
    let name = model::topic_name(&cx, &input.topic_arn)?;
    cx.txn(|tx| {
        for (id, _) in model::subscriptions(tx, cx.scope(), &name) {
            tx.delete::<Subscription>(cx.scope(), &id);
        }
        tx.delete::<Sequence>(cx.scope(), &name);
        tx.delete::<Topic>(cx.scope(), &name);
        Ok(api::DeleteTopicOutput {})
    })
    .await
}

pub async fn list(cx: Cx, input: api::ListTopicsInput) -> Result<api::ListTopicsResponse> {
    let all = cx.view(|view| view.list::<Topic>(cx.scope()));
    let page = page(all, |(name, _)| name.to_string(), input.next_token.as_deref(), PAGE, BAD_TOKEN)?;
    let topic =
        |(name, _): (std::sync::Arc<str>, _)| api::Topic { topic_arn: Some(model::topic_arn(cx.scope(), &name)) };
    Ok(api::ListTopicsResponse { topics: Some(page.items.into_iter().map(topic).collect()), next_token: page.next })
}

pub async fn tag(cx: Cx, input: api::TagResourceRequest) -> Result<api::TagResourceResponse> {
    change_tags(&cx, &input.resource_arn, |tags| {
        tags.extend(input.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
    })
    .await?;
    Ok(api::TagResourceResponse {})
}

pub async fn untag(cx: Cx, input: api::UntagResourceRequest) -> Result<api::UntagResourceResponse> {
    change_tags(&cx, &input.resource_arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key))).await?;
    Ok(api::UntagResourceResponse {})
}

pub async fn list_tags(cx: Cx, input: api::ListTagsForResourceRequest) -> Result<api::ListTagsForResourceResponse> {
    let (_, topic) = cx.view(|view| model::topic(view, &cx, &input.resource_arn)).map_err(no_resource)?;
    let tag = |(key, value)| api::Tag { key, value };
    Ok(api::ListTagsForResourceResponse { tags: Some(topic.tags.into_iter().map(tag).collect()) })
}

async fn change_tags(cx: &Cx, arn: &str, change: impl Fn(&mut BTreeMap<String, String>)) -> Result<()> {
    cx.txn(|tx| {
        let (name, mut topic) = model::topic(tx, cx, arn).map_err(no_resource)?;
        change(&mut topic.tags);
        check_tags(&topic.tags)?;
        tx.put(cx.scope(), &name, topic);
        Ok(())
    })
    .await
}

/// Operations on tags have a code of their own.
fn no_resource(error: Error) -> Error {
    match error == no_topic() {
        true => Error::client("ResourceNotFound", "Resource does not exist").with_status(404),
        false => error,
    }
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() > TAGS_MAX {
        let message = format!("Could not complete request: tag quota of per resource exceeded ({TAGS_MAX})");
        return Err(Error::client("TagLimitExceeded", message));
    }
    match tags.iter().find(|(key, value)| key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256) {
        Some((key, _)) => Err(because("Tags", format!("the key or the value of '{key}' has a wrong length"))),
        None => Ok(()),
    }
}

/// There are none: what topics hold is not looked into.
pub async fn data_protection(
    cx: Cx,
    input: api::GetDataProtectionPolicyInput,
) -> Result<api::GetDataProtectionPolicyResponse> {
    cx.view(|view| model::topic(view, &cx, &input.resource_arn))?;
    Ok(api::GetDataProtectionPolicyResponse { data_protection_policy: None })
}
