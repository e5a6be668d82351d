//! Parameters of the parameter store.

use serde_json::json;
use standfast_api::ssm as api;
use standfast_core::Result;

use super::ec2_network::{ready, vanished};
use super::job::{Job, as_list};
use super::{BASE, ResourceType, State};
use crate::cloudformation::errors;

pub static TYPES: &[ResourceType] = &[ResourceType {
    name: "AWS::SSM::Parameter",
    required: &["Type", "Value"],
    replaced: &["Name"],
    updated: &["AllowedPattern", "DataType", "Description", "Policies", "Tags", "Tier", "Type", "Value"],
    attributes: &["Type", "Value"],
    volatile: &["Type", "Value"],
    create: |job| Box::pin(create(job)),
    find: |job| Box::pin(find(job)),
    read: |job| Box::pin(read(job)),
    update: |job| Box::pin(update(job)),
    delete: |job| Box::pin(delete(job)),
    ..BASE
}];

/// How long a generated name may be.
const NAME_CHARS_MAX: usize = 1011;

async fn create(job: &Job) -> Result<String> {
    let name = job.name("Name", NAME_CHARS_MAX);
    if job.text("Type").as_deref() == Some("SecureString") {
        return Err(errors::property("Parameters of type SecureString cannot be created from CloudFormation."));
    }
    let mut input = job.properties().clone();
    input.insert("Name".into(), name.clone().into());
    input.insert("Tags".into(), job.tag_list());
    job.ask(api::PutParameter, input.into()).await?;
    Ok(name)
}

async fn find(job: &Job) -> Result<Option<String>> {
    let name = job.name("Name", NAME_CHARS_MAX);
    let input = json!({"ResourceType": "Parameter", "ResourceId": name});
    let answer = match job.ask(api::ListTagsForResource, input).await {
        Err(error) if errors::is_not_found(&error) || error.is("InvalidResourceId") => return Ok(None),
        answer => answer?,
    };
    let mut tags = answer["TagList"].as_array().into_iter().flatten();
    let ours = tags.any(|tag| tag["Key"] == super::job::STACK_ID_TAG && tag["Value"] == job.stack_arn.as_str());
    Ok((ours && !job.others.contains(&name)).then_some(name))
}

async fn read(job: &Job) -> Result<State> {
    match job.ask(api::GetParameter, json!({"Name": job.id()})).await {
        Ok(answer) => Ok(ready(json!({"Type": answer["Parameter"]["Type"], "Value": answer["Parameter"]["Value"]}))),
        Err(error) if errors::is_not_found(&error) => Ok(vanished(job)),
        Err(error) => Err(error),
    }
}

async fn update(job: &Job) -> Result<()> {
    let mut input = job.without(&["Tags"]);
    input.insert("Name".into(), job.id().into());
    input.insert("Overwrite".into(), true.into());
    job.ask(api::PutParameter, input.into()).await?;
    let (set, gone) = job.tag_changes();
    let named = |rest: serde_json::Value| {
        let mut input = json!({"ResourceType": "Parameter", "ResourceId": job.id()});
        if let (Some(input), serde_json::Value::Object(rest)) = (input.as_object_mut(), rest) {
            input.extend(rest);
        }
        input
    };
    if !gone.is_empty() {
        job.ask(api::RemoveTagsFromResource, named(json!({"TagKeys": gone}))).await?;
    }
    if !set.is_empty() {
        job.ask(api::AddTagsToResource, named(json!({"Tags": as_list(set)}))).await?;
    }
    Ok(())
}

async fn delete(job: &Job) -> Result<bool> {
    job.forget(api::DeleteParameter, json!({"Name": job.id()})).await.map(|_| true)
}
