//! Tags of certificates.

use std::collections::BTreeMap;

use standfast_api::acm as api;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::Certificate;
use super::{find, validation};

const TAGS_MAX: usize = 50;
const KEY_LENGTH_MAX: usize = 128;
const VALUE_LENGTH_MAX: usize = 256;

/// The tags of a request, checked.
pub fn parse(given: &[api::Tag]) -> Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for tag in given {
        let value = tag.value.clone().unwrap_or_default();
        if tag.key.is_empty() || tag.key.chars().count() > KEY_LENGTH_MAX || value.chars().count() > VALUE_LENGTH_MAX {
            return Err(validation(format!(
                "A tag has a key of 1 to {KEY_LENGTH_MAX} characters and a value of up to {VALUE_LENGTH_MAX}; \
                 '{}' has not.",
                tag.key
            )));
        }
        if tag.key.starts_with("aws:") {
            return Err(Error::client("InvalidTagException", format!("The tag key '{}' is reserved.", tag.key)));
        }
        tags.insert(tag.key.clone(), value);
    }
    limit(&tags)?;
    Ok(tags)
}

fn limit(tags: &BTreeMap<String, String>) -> Result<()> {
    if tags.len() > TAGS_MAX {
        let message = format!("A certificate has {TAGS_MAX} tags at most; this one would have {}.", tags.len());
        return Err(Error::client("TooManyTagsException", message));
    }
    Ok(())
}

pub async fn add(cx: Cx, input: api::AddTagsToCertificateInput) -> Result<api::AddTagsToCertificateOutput> {
    let given = parse(&input.tags)?;
    change(&cx, &input.certificate_arn, |tags| tags.extend(given.clone())).await?;
    Ok(api::AddTagsToCertificateOutput {})
}

/// A tag with a value goes only when it has that value.
pub async fn remove(
    cx: Cx,
    input: api::RemoveTagsFromCertificateInput,
) -> Result<api::RemoveTagsFromCertificateOutput> {
    change(&cx, &input.certificate_arn, |tags| {
        for tag in &input.tags {
            if tag.value.as_ref().is_none_or(|value| tags.get(&tag.key) == Some(value)) {
                tags.remove(&tag.key);
            }
        }
    })
    .await?;
    Ok(api::RemoveTagsFromCertificateOutput {})
}

async fn change(cx: &Cx, arn: &str, change: impl Fn(&mut BTreeMap<String, String>)) -> Result<()> {
    cx.txn(|tx| {
        let (id, mut certificate): (String, Certificate) = find(tx, cx.scope(), arn)?;
        change(&mut certificate.tags);
        limit(&certificate.tags)?;
        tx.put(cx.scope(), &id, certificate);
        Ok(())
    })
    .await
}

pub async fn list(cx: Cx, input: api::ListTagsForCertificateInput) -> Result<api::ListTagsForCertificateOutput> {
    let (_, certificate) = cx.view(|view| find(view, cx.scope(), &input.certificate_arn))?;
    let tag = |(key, value)| api::Tag { key, value: Some(value) };
    Ok(api::ListTagsForCertificateOutput { tags: Some(certificate.tags.into_iter().map(tag).collect()) })
}
