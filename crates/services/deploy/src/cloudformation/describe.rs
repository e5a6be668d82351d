//! Stacks and their resources as descriptions show them.

use standfast_api::cloudformation as api;
use standfast_core::page::page;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::errors::{self, invalid};
use super::model::{OnFailure, Resource, ResourceStatus, Stack, Status};
use super::stacks::{find, find_or};
use super::template::params::NO_ECHO;

const STACKS_PAGE: usize = 100;
const RESOURCES_PAGE: usize = 100;
/// How many resources DescribeStackResources shows at most.
const RESOURCES_MAX: usize = 500;

/// An empty list is left out, as is what nobody set.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

pub fn parameters(target: &super::model::Target) -> Vec<api::Parameter> {
    let shape = |(key, given): (&String, &super::model::Given)| api::Parameter {
        parameter_key: Some(key.clone()),
        parameter_value: Some(if given.no_echo { NO_ECHO.into() } else { given.given.clone() }),
        use_previous_value: None,
        resolved_value: given.resolved.clone().filter(|_| !given.no_echo),
    };
    target.parameters.iter().map(shape).collect()
}

pub fn tags(target: &super::model::Target) -> Vec<api::Tag> {
    target.tags.iter().map(|(key, value)| api::Tag { key: key.clone(), value: value.clone() }).collect()
}

fn stack_shape(stack: &Stack) -> api::Stack {
    let output = |output: &super::template::eval::EvaluatedOutput| api::Output {
        output_key: Some(output.key.clone()),
        output_value: Some(output.value.clone()),
        description: output.description.clone(),
        export_name: output.export_name.clone(),
    };
    let outputs: Vec<api::Output> = stack.outputs.iter().map(output).collect();
    api::Stack {
        stack_id: Some(stack.arn.clone()),
        stack_name: stack.name.clone(),
        change_set_id: stack.change_set.clone(),
        description: stack.target.description.clone(),
        parameters: some(&parameters(&stack.target)),
        creation_time: stack.created,
        deletion_time: stack.deleted,
        last_updated_time: stack.updated,
        rollback_configuration: Some(api::RollbackConfiguration::default()),
        stack_status: stack.status.text().into(),
        stack_status_reason: stack.reason.clone(),
        disable_rollback: Some(stack.on_failure == OnFailure::DoNothing),
        notification_arns: Some(stack.target.notification_arns.clone()),
        timeout_in_minutes: stack.timeout_minutes,
        capabilities: some(&stack.target.capabilities),
        outputs: some(&outputs),
        role_arn: stack.target.role_arn.clone(),
        tags: Some(tags(&stack.target)),
        enable_termination_protection: Some(stack.termination_protection),
        drift_information: Some(api::StackDriftInformation {
            stack_drift_status: "NOT_CHECKED".into(),
            last_check_timestamp: None,
        }),
        ..Default::default()
    }
}

pub async fn stacks(cx: Cx, input: api::DescribeStacksInput) -> Result<api::DescribeStacksOutput> {
    if let Some(name) = &input.stack_name {
        let (_, stack) = cx.view(|view| find_or(view, cx.scope(), name, errors::no_stack))?;
        return Ok(api::DescribeStacksOutput { stacks: Some(vec![stack_shape(&stack)]), next_token: None });
    }
    let all = cx.view(|view| view.list::<Stack>(cx.scope()));
    let live = all.into_iter().filter(|(_, stack)| stack.status != Status::DeleteComplete);
    let page = page(live, |(id, _)| id.to_string(), input.next_token.as_deref(), STACKS_PAGE, "ValidationError")?;
    let stacks = page.items.iter().map(|(_, stack)| stack_shape(stack)).collect();
    Ok(api::DescribeStacksOutput { stacks: Some(stacks), next_token: page.next })
}

/// All stacks, the deleted ones too, the newest first.
pub async fn list_stacks(cx: Cx, input: api::ListStacksInput) -> Result<api::ListStacksOutput> {
    let wanted = input.stack_status_filter.unwrap_or_default();
    let all = cx.view(|view| view.list::<Stack>(cx.scope()));
    let mut all: Vec<_> = all
        .into_iter()
        .filter(|(_, stack)| wanted.is_empty() || wanted.iter().any(|status| status == stack.status.text()))
        .collect();
    all.sort_by_key(|(id, stack)| (std::cmp::Reverse(stack.created), id.clone()));
    // The key's first part counts down with time, so that pages follow the order.
    let key =
        |(id, stack): &(std::sync::Arc<str>, std::sync::Arc<Stack>)| format!("{:020}{id}", i64::MAX - stack.created.0);
    let page = page(all, key, input.next_token.as_deref(), STACKS_PAGE, "ValidationError")?;
    let summary = |stack: &Stack| api::StackSummary {
        stack_id: Some(stack.arn.clone()),
        stack_name: stack.name.clone(),
        template_description: stack.target.description.clone(),
        creation_time: stack.created,
        last_updated_time: stack.updated,
        deletion_time: stack.deleted,
        stack_status: stack.status.text().into(),
        stack_status_reason: stack.reason.clone(),
        drift_information: Some(api::StackDriftInformationSummary {
            stack_drift_status: "NOT_CHECKED".into(),
            last_check_timestamp: None,
        }),
        ..Default::default()
    };
    let summaries = page.items.iter().map(|(_, stack)| summary(stack)).collect();
    Ok(api::ListStacksOutput { stack_summaries: Some(summaries), next_token: page.next })
}

/// The stack of a name and its resources.
fn resources_of(cx: &Cx, name: &str) -> Result<(std::sync::Arc<Stack>, Vec<std::sync::Arc<Resource>>)> {
    cx.view(|view| {
        let (uuid, stack) = find(view, cx.scope(), name)?;
        let resources = view.prefix::<Resource>(cx.scope(), &Resource::key(&uuid, ""));
        Ok((stack, resources.into_iter().map(|(_, resource)| resource).collect()))
    })
}

fn not_checked() -> Option<api::StackResourceDriftInformation> {
    let stack_resource_drift_status = "NOT_CHECKED".into();
    Some(api::StackResourceDriftInformation { stack_resource_drift_status, last_check_timestamp: None })
}

fn no_resource(name: &str, stack: &str) -> Error {
    invalid(format!("Resource {name} does not exist for stack {stack}"))
}

pub async fn resource(cx: Cx, input: api::DescribeStackResourceInput) -> Result<api::DescribeStackResourceOutput> {
    let (stack, resources) = resources_of(&cx, &input.stack_name)?;
    let found = resources.iter().find(|resource| resource.logical_id == input.logical_resource_id);
    let found = found.ok_or_else(|| no_resource(&input.logical_resource_id, &stack.name))?;
    let metadata = found.now.as_ref().and_then(|now| now.spec.evaluated.metadata.as_ref());
    let detail = api::StackResourceDetail {
        stack_name: Some(stack.name.clone()),
        stack_id: Some(stack.arn.clone()),
        logical_resource_id: found.logical_id.clone(),
        physical_resource_id: found.physical_id().map(str::to_owned),
        resource_type: found.kind.clone(),
        last_updated_timestamp: found.changed,
        resource_status: found.status.text().into(),
        resource_status_reason: found.reason.clone(),
        metadata: Some(metadata.map_or_else(|| "{}".into(), ToString::to_string)),
        drift_information: not_checked(),
        ..Default::default()
    };
    Ok(api::DescribeStackResourceOutput { stack_resource_detail: Some(detail) })
}

pub async fn resources(cx: Cx, input: api::DescribeStackResourcesInput) -> Result<api::DescribeStackResourcesOutput> {
    let (stack, mut resources) = match (&input.stack_name, &input.physical_resource_id) {
        (Some(name), None) => resources_of(&cx, name)?,
        (None, Some(id)) => {
            let gone = |resource: &Resource| resource.status == ResourceStatus::DeleteComplete;
            let found = cx.view(|view| view.by_index::<Resource>(cx.scope(), "physical", id));
            let owner = found.into_iter().find(|(_, resource)| !gone(resource));
            let (_, owner) = owner.ok_or_else(|| invalid(format!("Stack for {id} does not exist")))?;
            let stack = cx.view(|view| view.get::<Stack>(cx.scope(), &owner.stack));
            let stack = stack.ok_or_else(|| Error::internal(format!("resource {id} has no stack")))?;
            resources_of(&cx, &stack.arn)?
        }
        _ => return Err(invalid("Either StackName or PhysicalResourceId must be specified, and not both.")),
    };
    if let Some(name) = &input.logical_resource_id {
        resources.retain(|resource| resource.logical_id == *name);
        if resources.is_empty() {
            return Err(no_resource(name, &stack.name));
        }
    }
    let shape = |resource: &std::sync::Arc<Resource>| api::StackResource {
        stack_name: Some(stack.name.clone()),
        stack_id: Some(stack.arn.clone()),
        logical_resource_id: resource.logical_id.clone(),
        physical_resource_id: resource.physical_id().map(str::to_owned),
        resource_type: resource.kind.clone(),
        timestamp: resource.changed,
        resource_status: resource.status.text().into(),
        resource_status_reason: resource.reason.clone(),
        drift_information: not_checked(),
        ..Default::default()
    };
    let shapes = resources.iter().take(RESOURCES_MAX).map(shape).collect();
    Ok(api::DescribeStackResourcesOutput { stack_resources: Some(shapes) })
}

pub async fn list_resources(cx: Cx, input: api::ListStackResourcesInput) -> Result<api::ListStackResourcesOutput> {
    let (_, resources) = resources_of(&cx, &input.stack_name)?;
    let key = |resource: &std::sync::Arc<Resource>| resource.logical_id.clone();
    let page = page(resources, key, input.next_token.as_deref(), RESOURCES_PAGE, "ValidationError")?;
    let summary = |resource: &std::sync::Arc<Resource>| api::StackResourceSummary {
        logical_resource_id: resource.logical_id.clone(),
        physical_resource_id: resource.physical_id().map(str::to_owned),
        resource_type: resource.kind.clone(),
        last_updated_timestamp: resource.changed,
        resource_status: resource.status.text().into(),
        resource_status_reason: resource.reason.clone(),
        drift_information: Some(api::StackResourceDriftInformationSummary {
            stack_resource_drift_status: "NOT_CHECKED".into(),
            last_check_timestamp: None,
        }),
        module_info: None,
    };
    let summaries = page.items.iter().map(summary).collect();
    Ok(api::ListStackResourcesOutput { stack_resource_summaries: Some(summaries), next_token: page.next })
}
