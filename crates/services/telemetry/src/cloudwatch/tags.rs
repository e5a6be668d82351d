//! Tags of alarms and dashboards.

use std::collections::BTreeMap;

use standfast_api::cloudwatch as api;
use standfast_core::{Arn, Error, Result};
use standfast_kernel::Cx;
use standfast_store::View;

use super::alarms::Alarm;
use super::dashboards::Dashboard;
use super::errors::{invalid, wrong};

const TAGS_MAX: usize = 50;

type Tags = BTreeMap<String, String>;

/// What has tags, with its id.
enum Tagged {
    Alarm(String, Box<Alarm>),
    Dashboard(String, Dashboard),
}

pub async fn tag(cx: Cx, input: api::TagResourceInput) -> Result<api::TagResourceOutput> {
    change(&cx, &input.resource_arn, |tags| {
        tags.extend(input.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
    })
    .await?;
    Ok(api::TagResourceOutput {})
}

pub async fn untag(cx: Cx, input: api::UntagResourceInput) -> Result<api::UntagResourceOutput> {
    change(&cx, &input.resource_arn, |tags| tags.retain(|key, _| !input.tag_keys.contains(key))).await?;
    Ok(api::UntagResourceOutput {})
}

pub async fn list(cx: Cx, input: api::ListTagsForResourceInput) -> Result<api::ListTagsForResourceOutput> {
    let mut found = cx.view(|view| named(view, &cx, &input.resource_arn))?;
    let tag = |(key, value)| api::Tag { key, value };
    Ok(api::ListTagsForResourceOutput { tags: Some(std::mem::take(found.tags()).into_iter().map(tag).collect()) })
}

async fn change(cx: &Cx, arn: &str, change: impl Fn(&mut Tags)) -> Result<()> {
    cx.txn(|tx| {
        let mut found = named(tx, cx, arn)?;
        change(found.tags());
        let count = found.tags().len();
        if count > TAGS_MAX {
            return Err(wrong(format!("A resource has {TAGS_MAX} tags at most; this one would have {count}.")));
        }
        match found {
            Tagged::Alarm(name, alarm) => tx.put(cx.scope(), &name, *alarm),
            Tagged::Dashboard(name, dashboard) => tx.put(&cx.scope().global(), &name, dashboard),
        }
        Ok(())
    })
    .await
}

impl Tagged {
    fn tags(&mut self) -> &mut Tags {
        match self {
            Tagged::Alarm(_, alarm) => &mut alarm.tags,
            Tagged::Dashboard(_, dashboard) => &mut dashboard.tags,
        }
    }
}

/// What an ARN names.
fn named(view: &View, cx: &Cx, text: &str) -> Result<Tagged> {
    let arn: Arn = text.parse().map_err(|_| invalid(text, "ResourceARN"))?;
    let find = || {
        if arn.service != "cloudwatch" || arn.account != *cx.account() {
            return None;
        }
        if let Some(name) = arn.resource.strip_prefix("dashboard/") {
            let found = view.get::<Dashboard>(&cx.scope().global(), name)?;
            return Some(Tagged::Dashboard(name.to_owned(), (*found).clone()));
        }
        let name = arn.resource.strip_prefix("alarm:").filter(|_| arn.scope() == *cx.scope())?;
        Some(Tagged::Alarm(name.to_owned(), Box::new((*view.get::<Alarm>(cx.scope(), name)?).clone())))
    };
    find().ok_or_else(|| Error::client("ResourceNotFoundException", format!("{text} does not exist")).with_status(404))
}
