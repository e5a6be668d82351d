//! Experiment templates.

use serde_json::{Map, Value, json};
use standfast_api::fis as api;
use standfast_core::Result;

use super::ec2_network::{identified, vanished};
use super::job::{Job, STACK_ID_TAG, said};
use super::{BASE, ResourceType, State};
use crate::cloudformation::errors;

pub static TYPES: &[ResourceType] = &[ResourceType {
    name: "AWS::FIS::ExperimentTemplate",
    required: &["Description", "RoleArn", "Targets"],
    replaced: &[],
    updated: &[
        "Actions",
        "Description",
        "ExperimentOptions",
        "ExperimentReportConfiguration",
        "LogConfiguration",
        "RoleArn",
        "StopConditions",
        "Tags",
        "Targets",
    ],
    attributes: &["Id"],
    create: |job| Box::pin(create(job)),
    find: |job| Box::pin(find(job)),
    read: |job| Box::pin(read(job)),
    update: |job| Box::pin(update(job)),
    delete: |job| Box::pin(delete(job)),
    ..BASE
}];

/// How long a token may be.
const TOKEN_CHARS_MAX: usize = 64;
/// Members whose own members are named by who wrote the template.
const NAMED_BY_USER: [&str; 5] = ["Actions", "Targets", "Parameters", "ResourceTags", "Tags"];

/// The properties as the API names them: its members begin with a lower letter, names that people gave stay.
fn members(value: &Value, by_user: bool) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| members(item, false)).collect(),
        Value::Object(object) => {
            let each = |(name, inner): (&String, &Value)| {
                let own = !by_user && NAMED_BY_USER.contains(&name.as_str());
                (if by_user { name.clone() } else { lower(name) }, members(inner, own))
            };
            Value::Object(object.iter().map(each).collect())
        }
        plain => plain.clone(),
    }
}

fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// What the operations take besides tags.
fn input(job: &Job) -> Map<String, Value> {
    match members(&Value::Object(job.without(&["Tags"])), false) {
        Value::Object(mut input) => {
            input.entry("stopConditions").or_insert_with(|| json!([{"source": "none"}]));
            input.entry("actions").or_insert_with(|| json!({}));
            input
        }
        _ => Map::new(),
    }
}

async fn create(job: &Job) -> Result<String> {
    let mut input = input(job);
    input.insert("clientToken".into(), job.name("ClientToken", TOKEN_CHARS_MAX).into());
    input.insert("tags".into(), json!(job.tags()));
    said(&job.ask(api::CreateExperimentTemplate, input.into()).await?, "/experimentTemplate/id")
}

async fn find(job: &Job) -> Result<Option<String>> {
    let answer = job.ask(api::ListExperimentTemplates, json!({})).await?;
    let ours = |one: &&Value| {
        one["tags"][STACK_ID_TAG] == job.stack_arn.as_str()
            && one["tags"]["aws:cloudformation:logical-id"] == job.logical_id.as_str()
    };
    let mut found = answer["experimentTemplates"].as_array().into_iter().flatten().filter(ours);
    let ids = found.by_ref().filter_map(|one| one["id"].as_str());
    Ok(ids.map(str::to_owned).find(|id| !job.others.contains(id)))
}

async fn read(job: &Job) -> Result<State> {
    match job.ask(api::GetExperimentTemplate, json!({"id": job.id()})).await {
        Ok(_) => Ok(identified(job, "Id")),
        Err(error) if errors::is_not_found(&error) => Ok(vanished(job)),
        Err(error) => Err(error),
    }
}

async fn update(job: &Job) -> Result<()> {
    let mut input = input(job);
    if let Some(options) = input.get_mut("experimentOptions").and_then(Value::as_object_mut) {
        // The API changes this one only.
        options.retain(|name, _| name == "emptyTargetResolutionMode");
    }
    input.insert("id".into(), job.id().into());
    let answer = job.ask(api::UpdateExperimentTemplate, input.into()).await?;
    let arn = said(&answer, "/experimentTemplate/arn")?;
    let (set, gone) = job.tag_changes();
    if !set.is_empty() {
        job.ask(api::TagResource, json!({"resourceArn": arn, "tags": set})).await?;
    }
    if !gone.is_empty() {
        job.ask(api::UntagResource, json!({"resourceArn": arn, "tagKeys": gone})).await?;
    }
    Ok(())
}

async fn delete(job: &Job) -> Result<bool> {
    job.forget(api::DeleteExperimentTemplate, json!({"id": job.id()})).await.map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_gave_stay() {
        let given = json!({
            "Actions": {"Kill": {"ActionId": "x", "Parameters": {"Duration": "PT1M"}, "Targets": {"Instances": "It"}}},
            "StopConditions": [{"Source": "none"}],
            "Targets": {"It": {"ResourceTags": {"Name": "A"}, "Filters": [{"Path": "State.Name", "Values": ["running"]}]}},
        });
        let wanted = json!({
            "actions": {"Kill": {"actionId": "x", "parameters": {"Duration": "PT1M"}, "targets": {"Instances": "It"}}},
            "stopConditions": [{"source": "none"}],
            "targets": {"It": {"resourceTags": {"Name": "A"}, "filters": [{"path": "State.Name", "values": ["running"]}]}},
        });
        assert_eq!(members(&given, false), wanted);
    }
}
