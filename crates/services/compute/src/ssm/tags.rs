//! Tags of parameters.

use standfast_api::ssm::{
    AddTagsToResourceInput, AddTagsToResourceOutput, ListTagsForResourceInput, ListTagsForResourceOutput,
    RemoveTagsFromResourceInput, RemoveTagsFromResourceOutput, Tag,
};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::Parameter;

const TAGS_MAX: usize = 50;

fn check(resource_type: &str) -> Result<()> {
    if resource_type == "Parameter" {
        return Ok(());
    }
    Err(Error::client(
        "InvalidResourceType",
        format!("The resource type '{resource_type}' is not valid here; only Parameter is."),
    ))
}

fn unknown(id: &str) -> Error {
    Error::client("InvalidResourceId", format!("The resource ID '{id}' is not valid. Verify the ID and try again."))
}

pub async fn add(cx: Cx, input: AddTagsToResourceInput) -> Result<AddTagsToResourceOutput> {
    check(&input.resource_type)?;
    change(&cx, &input.resource_id, |parameter| {
        parameter.tags.extend(input.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())));
        if parameter.tags.len() > TAGS_MAX {
            let message = format!("The parameter {} would have over {TAGS_MAX} tags.", input.resource_id);
            return Err(Error::client("TooManyTagsError", message));
        }
        Ok(())
    })
    .await?;
    Ok(AddTagsToResourceOutput::default())
}

pub async fn remove(cx: Cx, input: RemoveTagsFromResourceInput) -> Result<RemoveTagsFromResourceOutput> {
    check(&input.resource_type)?;
    change(&cx, &input.resource_id, |parameter| {
        parameter.tags.retain(|key, _| !input.tag_keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(RemoveTagsFromResourceOutput::default())
}

pub async fn list(cx: Cx, input: ListTagsForResourceInput) -> Result<ListTagsForResourceOutput> {
    check(&input.resource_type)?;
    let parameter = cx.view(|v| v.get::<Parameter>(cx.scope(), &input.resource_id));
    let parameter = parameter.ok_or_else(|| unknown(&input.resource_id))?;
    let tag = |(key, value): (&String, &String)| Tag { key: key.clone(), value: value.clone() };
    Ok(ListTagsForResourceOutput { tag_list: Some(parameter.tags.iter().map(tag).collect()) })
}

async fn change(cx: &Cx, id: &str, f: impl Fn(&mut Parameter) -> Result<()>) -> Result<()> {
    cx.txn(|tx| {
        let mut parameter = (*tx.get::<Parameter>(cx.scope(), id).ok_or_else(|| unknown(id))?).clone();
        f(&mut parameter)?;
        tx.put(cx.scope(), id, parameter);
        Ok(())
    })
    .await
}
