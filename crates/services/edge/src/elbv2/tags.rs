//! Tags of load balancers, listeners, rules and target groups. They are part of the record.

use standfast_api::elbv2 as api;
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::{Cx, Principal};
use standfast_store::{Txn, View};

use super::errors::{self, Resource, too_many, validation};
use super::model::{Listener, LoadBalancer, Rule, Tags, TargetGroup};

const TAGS_MAX: usize = 50;
const KEY_LENGTH_MAX: usize = 128;
const VALUE_LENGTH_MAX: usize = 256;
/// How many resources one request may name.
const RESOURCES_MAX: usize = 20;
const RESERVED_PREFIX: &str = "aws:";

/// The tags of a request, checked.
pub fn parse(cx: &Cx, given: Option<&Vec<api::Tag>>) -> Result<Tags> {
    let service = matches!(cx.principal(), Principal::Service(_));
    let mut tags = Tags::new();
    for tag in given.into_iter().flatten() {
        let value = tag.value.clone().unwrap_or_default();
        if tag.key.is_empty() || tag.key.chars().count() > KEY_LENGTH_MAX {
            return Err(validation(format!("Tag key '{}' must have 1 to {KEY_LENGTH_MAX} characters", tag.key)));
        }
        if value.chars().count() > VALUE_LENGTH_MAX {
            return Err(validation(format!("Tag value '{value}' cannot have over {VALUE_LENGTH_MAX} characters")));
        }
        if !service && reserved(&tag.key) {
            return Err(validation(format!("Tag key '{}' is reserved: it begins with '{RESERVED_PREFIX}'", tag.key)));
        }
        if tags.insert(tag.key.clone(), value).is_some() {
            let message = format!("Tag key '{}' is specified more than once", tag.key);
            return Err(Error::client("DuplicateTagKeys", message));
        }
    }
    limit(&tags)?;
    Ok(tags)
}

fn reserved(key: &str) -> bool {
    key.get(..RESERVED_PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED_PREFIX))
}

fn limit(tags: &Tags) -> Result<()> {
    if tags.keys().filter(|key| !reserved(key)).count() > TAGS_MAX {
        return Err(too_many("TooManyTags", "tags on the resource", TAGS_MAX));
    }
    Ok(())
}

/// The kinds of resource that have tags: how to read and to change them.
struct Kind {
    owns: fn(&Arn) -> bool,
    read: fn(&View, &Scope, &str) -> Result<Tags>,
    change: fn(&mut Txn, &Scope, &str, &dyn Fn(&mut Tags) -> Result<()>) -> Result<()>,
}

const fn kind<R: Resource>() -> Kind {
    Kind { owns: |arn| errors::id_in::<R>(arn).is_some(), read: read::<R>, change: change::<R> }
}

const KINDS: [Kind; 4] = [kind::<LoadBalancer>(), kind::<TargetGroup>(), kind::<Listener>(), kind::<Rule>()];

fn read<R: Resource>(view: &View, scope: &Scope, arn: &str) -> Result<Tags> {
    Ok(errors::find::<R>(view, scope, arn)?.1.tags().clone())
}

fn change<R: Resource>(tx: &mut Txn, scope: &Scope, arn: &str, how: &dyn Fn(&mut Tags) -> Result<()>) -> Result<()> {
    let (id, record) = errors::find::<R>(tx, scope, arn)?;
    let mut record = R::clone(&record);
    how(record.tags_mut())?;
    tx.put(scope, &id, record);
    Ok(())
}

fn kind_of(text: &str) -> Result<&'static Kind> {
    let arn: Option<Arn> = text.parse().ok();
    let kind = arn.and_then(|arn| KINDS.iter().find(|kind| (kind.owns)(&arn)));
    kind.ok_or_else(|| validation(format!("'{text}' is not a valid Elastic Load Balancing ARN")))
}

fn check_count(arns: &[String]) -> Result<()> {
    if arns.is_empty() {
        return Err(validation("A resource ARN must be specified"));
    }
    if arns.len() > RESOURCES_MAX {
        return Err(validation(format!("A request can name at most '{RESOURCES_MAX}' resources")));
    }
    Ok(())
}

pub async fn add(cx: Cx, input: api::AddTagsInput) -> Result<api::AddTagsOutput> {
    check_count(&input.resource_arns)?;
    let given = parse(&cx, Some(&input.tags))?;
    cx.txn(|tx| {
        for arn in &input.resource_arns {
            (kind_of(arn)?.change)(tx, cx.scope(), arn, &|tags| {
                tags.extend(given.clone());
                limit(tags)
            })?;
        }
        Ok(())
    })
    .await?;
    Ok(api::AddTagsOutput {})
}

pub async fn remove(cx: Cx, input: api::RemoveTagsInput) -> Result<api::RemoveTagsOutput> {
    check_count(&input.resource_arns)?;
    cx.txn(|tx| {
        for arn in &input.resource_arns {
            (kind_of(arn)?.change)(tx, cx.scope(), arn, &|tags| {
                tags.retain(|key, _| !input.tag_keys.contains(key));
                Ok(())
            })?;
        }
        Ok(())
    })
    .await?;
    Ok(api::RemoveTagsOutput {})
}

pub async fn describe(cx: Cx, input: api::DescribeTagsInput) -> Result<api::DescribeTagsOutput> {
    check_count(&input.resource_arns)?;
    let descriptions = cx.view(|view| {
        let describe = |arn: &String| {
            let tags = (kind_of(arn)?.read)(view, cx.scope(), arn)?;
            let tag = |(key, value): (String, String)| api::Tag { key, value: Some(value) };
            let tags = Some(tags.into_iter().map(tag).collect());
            Ok(api::TagDescription { resource_arn: Some(arn.clone()), tags })
        };
        input.resource_arns.iter().map(describe).collect::<Result<Vec<_>>>()
    })?;
    Ok(api::DescribeTagsOutput { tag_descriptions: Some(descriptions) })
}
