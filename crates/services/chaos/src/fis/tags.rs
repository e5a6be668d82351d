//! Tags of templates and experiments.

use std::collections::BTreeMap;

use standfast_api::fis::{
    ListTagsForResourceInput, ListTagsForResourceOutput, TagResourceInput, TagResourceOutput, UntagResourceInput,
    UntagResourceOutput,
};
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::model::{Experiment, Template};
use super::parse;

/// The quota of AWS.
const TAGS_MAX: usize = 50;

/// Of what an ARN is.
enum Tagged {
    Template(String),
    Experiment(String),
}

type Tags = BTreeMap<String, String>;

fn named(cx: &Cx, arn: &str) -> Result<Tagged> {
    let own = |kind: &str| {
        let prefix = Arn::new("fis", cx.scope(), format!("{kind}/")).to_string();
        arn.strip_prefix(&prefix).filter(|id| !id.is_empty()).map(str::to_owned)
    };
    match (own("experiment-template"), own("experiment")) {
        (Some(id), _) => Ok(Tagged::Template(id)),
        (_, Some(id)) => Ok(Tagged::Experiment(id)),
        _ => Err(missing(arn)),
    }
}

fn missing(arn: &str) -> Error {
    Error::client("ResourceNotFoundException", format!("The resource {arn} does not exist."))
}

/// Changes the tags of what is there; `None` when it is not.
fn change(tx: &mut Txn, scope: &Scope, what: &Tagged, change: impl Fn(&mut Tags)) -> Option<Tags> {
    match what {
        Tagged::Template(id) => {
            let mut template = (*tx.get::<Template>(scope, id)?).clone();
            change(&mut template.tags);
            tx.put(scope, id, template.clone());
            Some(template.tags)
        }
        Tagged::Experiment(id) => {
            let mut experiment = (*tx.get::<Experiment>(scope, id)?).clone();
            change(&mut experiment.tags);
            tx.put(scope, id, experiment.clone());
            Some(experiment.tags)
        }
    }
}

pub async fn tag(cx: Cx, input: TagResourceInput) -> Result<TagResourceOutput> {
    let what = named(&cx, &input.resource_arn)?;
    cx.txn(|tx| {
        let add = |tags: &mut Tags| tags.extend(input.tags.clone());
        let tags = change(tx, cx.scope(), &what, add).ok_or_else(|| missing(&input.resource_arn))?;
        if tags.len() > TAGS_MAX { Err(parse::too_many("tags", TAGS_MAX)) } else { Ok(()) }
    })
    .await?;
    Ok(TagResourceOutput {})
}

pub async fn untag(cx: Cx, input: UntagResourceInput) -> Result<UntagResourceOutput> {
    let what = named(&cx, &input.resource_arn)?;
    let keys = input.tag_keys.unwrap_or_default();
    cx.txn(|tx| {
        let remove = |tags: &mut Tags| tags.retain(|key, _| !keys.contains(key));
        change(tx, cx.scope(), &what, remove).map(drop).ok_or_else(|| missing(&input.resource_arn))
    })
    .await?;
    Ok(UntagResourceOutput {})
}

pub async fn list(cx: Cx, input: ListTagsForResourceInput) -> Result<ListTagsForResourceOutput> {
    let tags = cx.view(|view| match named(&cx, &input.resource_arn).ok()? {
        Tagged::Template(id) => view.get::<Template>(cx.scope(), &id).map(|one| one.tags.clone()),
        Tagged::Experiment(id) => view.get::<Experiment>(cx.scope(), &id).map(|one| one.tags.clone()),
    });
    let tags = tags.ok_or_else(|| missing(&input.resource_arn))?;
    Ok(ListTagsForResourceOutput { tags: Some(tags) })
}
