//! Tags of scalable targets.

use std::collections::BTreeMap;

use standfast_api::application_autoscaling as api;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;
use standfast_store::View;

use super::{Target, validation};

const TAGS_MAX: usize = 50;
const KEY_MAX: usize = 128;
const VALUE_MAX: usize = 256;

pub fn check(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() > TAGS_MAX {
        let message = format!("A scalable target has {TAGS_MAX} tags at most; there are {}.", tags.len());
        return Err(Error::client("TooManyTagsException", message));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > KEY_MAX || key.starts_with("aws:") {
            return Err(validation(format!(
                "The tag key '{key}' must have 1 to {KEY_MAX} characters and not begin with aws:."
            )));
        }
        if value.chars().count() > VALUE_MAX {
            return Err(validation(format!("The value of tag '{key}' is longer than {VALUE_MAX} characters.")));
        }
    }
    Ok(())
}

fn named(view: &View, cx: &Cx, arn: &str) -> Result<(String, Target)> {
    let found = view.by_index::<Target>(cx.scope(), Target::BY_ARN, arn).into_iter().next();
    let (key, target) = found.ok_or_else(|| {
        Error::client("ResourceNotFoundException", format!("The specified resource {arn} doesn't exist."))
    })?;
    Ok((key.to_string(), (*target).clone()))
}

pub async fn tag(cx: Cx, input: api::TagResourceInput) -> Result<api::TagResourceOutput> {
    cx.txn(|tx| {
        let (key, mut target) = named(tx, &cx, &input.resource_arn)?;
        target.tags.extend(input.tags.clone());
        check(&target.tags)?;
        tx.put(cx.scope(), &key, target);
        Ok(())
    })
    .await?;
    Ok(api::TagResourceOutput {})
}

pub async fn untag(cx: Cx, input: api::UntagResourceInput) -> Result<api::UntagResourceOutput> {
    cx.txn(|tx| {
        let (key, mut target) = named(tx, &cx, &input.resource_arn)?;
        target.tags.retain(|key, _| !input.tag_keys.contains(key));
        tx.put(cx.scope(), &key, target);
        Ok(())
    })
    .await?;
    Ok(api::UntagResourceOutput {})
}

pub async fn list(cx: Cx, input: api::ListTagsForResourceInput) -> Result<api::ListTagsForResourceOutput> {
    let (_, target) = cx.view(|view| named(view, &cx, &input.resource_arn))?;
    Ok(api::ListTagsForResourceOutput { tags: Some(target.tags) })
}
