//! Change sets: what an update would do, shown before it is done.
//!
//! Invariant: a change set holds the target that executing it leads to; it is void as soon as its stack goes elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use standfast_api::cloudformation as api;
use standfast_core::page::page;
use standfast_core::{Arn, Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::describe;
use super::errors::{self, invalid};
use super::events;
use super::forecast;
use super::model::{Action, ChangeSet, Detail, OnFailure, Planned, Replacement, Stack, Status, Target, TemplateText};
use super::prepare::Prepared;
use super::stacks::{self, Begin, Update};

/// How many change sets a stack may have.
const CHANGE_SETS_MAX: usize = 1000;
const PAGE: usize = 100;

const NOTHING: &str = "The submitted information didn't contain changes. Submit different information to create a change \
    set.";

/// The change set of an ARN, or of a name with its stack.
pub fn find(view: &View, scope: &Scope, name: &str, stack: Option<&str>) -> Result<(Arc<str>, Arc<ChangeSet>)> {
    let gone = || errors::no_change_set(name);
    if name.starts_with("arn:") {
        let uuid = name.rsplit('/').next().unwrap_or_default();
        let found = view.get::<ChangeSet>(scope, uuid).filter(|change_set| change_set.arn == name);
        return found.map(|change_set| (uuid.into(), change_set)).ok_or_else(gone);
    }
    let stack =
        stack.ok_or_else(|| invalid("StackName must be specified if ChangeSetName is not specified as an ARN."))?;
    let (uuid, _) = stacks::find(view, scope, stack)?;
    let all = view.by_index::<ChangeSet>(scope, "stack", &uuid);
    all.into_iter().find(|(_, change_set)| change_set.name == name).ok_or_else(gone)
}

pub async fn create(cx: Cx, input: api::CreateChangeSetInput) -> Result<api::CreateChangeSetOutput> {
    stacks::check_name(&input.change_set_name)
        .map_err(|error| Error { message: error.message.replace("'stackName'", "'changeSetName'"), ..error })?;
    let creates = match input.change_set_type.as_deref() {
        None | Some("UPDATE") => false,
        Some("CREATE") => true,
        Some(other) => return Err(invalid(format!("ChangeSetType '{other}' is not supported by Standfast."))),
    };
    let (uuid, stack, is_new) = stack_of(&cx, &input, creates)?;
    let update = Update {
        template_body: input.template_body,
        template_url: input.template_url,
        use_previous_template: input.use_previous_template,
        parameters: input.parameters,
        tags: input.tags,
        capabilities: input.capabilities,
        notification_arns: input.notification_arns,
        role_arn: input.role_arn,
    };
    let (mut prepared, body) = stacks::retarget(&cx, &stack, update).await?;
    let forecast = forecast::forecast(&cx, &uuid, &stack, &prepared).await?;
    let failure = forecast.is_nothing().then(|| NOTHING.to_owned());
    prepared.target.template = cx.rng().uuid();
    let id = cx.rng().uuid();
    let arn = Arn::new("cloudformation", cx.scope(), format!("changeSet/{}/{id}", input.change_set_name)).to_string();
    let on_failure = match input.on_stack_failure.as_deref() {
        None => None,
        Some(wish) => Some(OnFailure::named(wish).ok_or_else(|| invalid(format!("Unknown OnStackFailure '{wish}'.")))?),
    };
    let Prepared { target, .. } = prepared;
    let change_set = ChangeSet {
        name: input.change_set_name.clone(),
        arn: arn.clone(),
        stack: uuid.clone(),
        description: input.description,
        created: cx.now(),
        creates,
        target,
        changes: forecast.changes,
        failure,
        on_failure,
        token: input.client_token,
        executed: false,
    };
    put(&cx, &stack, is_new, &id, &change_set, &body).await?;
    Ok(api::CreateChangeSetOutput { id: Some(arn), stack_id: Some(stack.arn.clone()) })
}

/// The stack that a change set is for; of a CREATE a new one, unless one is under review already.
fn stack_of(cx: &Cx, input: &api::CreateChangeSetInput, creates: bool) -> Result<(String, Stack, bool)> {
    let found = cx.view(|view| stacks::find(view, cx.scope(), &input.stack_name));
    match found {
        Ok((uuid, stack)) if creates && stack.status == Status::ReviewInProgress => {
            Ok((uuid.to_string(), (*stack).clone(), false))
        }
        Ok((_, stack)) if creates => Err(invalid(format!(
            "Stack [{}] already exists and cannot be created again with the changeSet [{}].",
            stack.name, input.change_set_name
        ))),
        Ok((uuid, stack)) => {
            stacks::check_updatable(&stack)?;
            Ok((uuid.to_string(), (*stack).clone(), false))
        }
        Err(error) if !creates => Err(error),
        Err(_) => {
            stacks::check_name(&input.stack_name)?;
            let uuid = cx.rng().uuid();
            let arn = stacks::arn(cx, &input.stack_name, &uuid);
            let status = Status::ReviewInProgress;
            let stack = stacks::new_stack(&input.stack_name, arn, status, Target::default(), cx.now());
            Ok((uuid, stack, true))
        }
    }
}

async fn put(cx: &Cx, stack: &Stack, is_new: bool, id: &str, change_set: &ChangeSet, body: &str) -> Result<()> {
    let (scope, now) = (cx.scope(), cx.now());
    cx.txn(|tx| {
        if is_new {
            stacks::put_new(tx, scope, &change_set.stack, stack, "", now)?;
        }
        let others = tx.by_index::<ChangeSet>(scope, "stack", &change_set.stack);
        if others.iter().any(|(_, other)| other.name == change_set.name) {
            let message = format!("ChangeSet {} already exists", change_set.name);
            return Err(Error::client("AlreadyExistsException", message));
        }
        if others.len() >= CHANGE_SETS_MAX {
            let message = format!("A stack may have at most {CHANGE_SETS_MAX} change sets.");
            return Err(Error::client("LimitExceededException", message));
        }
        tx.put(scope, &change_set.target.template, TemplateText { body: body.to_owned() });
        tx.put(scope, id, change_set.clone());
        Ok(())
    })
    .await
}

/// The names for a change set's own status and whether it can be executed.
fn status(change_set: &ChangeSet) -> (&'static str, &'static str) {
    match (&change_set.failure, change_set.executed) {
        (Some(_), _) => ("FAILED", "UNAVAILABLE"),
        (None, true) => ("CREATE_COMPLETE", "EXECUTE_COMPLETE"),
        (None, false) => ("CREATE_COMPLETE", "AVAILABLE"),
    }
}

fn found_with_stack(cx: &Cx, name: &str, stack: Option<&str>) -> Result<(Arc<str>, Arc<ChangeSet>, Arc<Stack>)> {
    cx.view(|view| {
        let (id, change_set) = find(view, cx.scope(), name, stack)?;
        let stack = view.get::<Stack>(cx.scope(), &change_set.stack);
        let stack = stack.ok_or_else(|| Error::internal(format!("the change set {name} has no stack")))?;
        Ok((id, change_set, stack))
    })
}

pub async fn describe(cx: Cx, input: api::DescribeChangeSetInput) -> Result<api::DescribeChangeSetOutput> {
    let (_, found, stack) = found_with_stack(&cx, &input.change_set_name, input.stack_name.as_deref())?;
    let (status, execution_status) = status(&found);
    let key = |planned: &Planned| planned.logical_id.clone();
    let mut changes = found.changes.clone();
    changes.sort_by_key(key);
    let page = page(changes, key, input.next_token.as_deref(), PAGE, "ValidationError")?;
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    Ok(api::DescribeChangeSetOutput {
        change_set_name: Some(found.name.clone()),
        change_set_id: Some(found.arn.clone()),
        stack_id: Some(stack.arn.clone()),
        stack_name: Some(stack.name.clone()),
        description: found.description.clone(),
        parameters: Some(describe::parameters(&found.target)).filter(|list| !list.is_empty()),
        creation_time: Some(found.created),
        execution_status: Some(execution_status.into()),
        status: Some(status.into()),
        status_reason: found.failure.clone(),
        notification_arns: Some(found.target.notification_arns.clone()),
        rollback_configuration: Some(api::RollbackConfiguration::default()),
        capabilities: some(found.target.capabilities.clone()),
        tags: Some(describe::tags(&found.target)).filter(|list| !list.is_empty()),
        changes: Some(page.items.iter().map(change).collect()),
        next_token: page.next,
        include_nested_stacks: Some(false),
        ..Default::default()
    })
}

fn change(planned: &Planned) -> api::Change {
    let (action, replacement) = match planned.action {
        Action::Add => ("Add", None),
        Action::Remove => ("Remove", None),
        Action::Modify(Replacement::Never) => ("Modify", Some("False")),
        Action::Modify(Replacement::Conditional) => ("Modify", Some("Conditional")),
        Action::Modify(Replacement::Always) => ("Modify", Some("True")),
    };
    let mut scope: Vec<String> = planned.details.iter().map(|detail| detail.attribute.clone()).collect();
    scope.sort();
    scope.dedup();
    api::Change {
        r#type: Some("Resource".into()),
        hook_invocation_count: None,
        resource_change: Some(api::ResourceChange {
            action: Some(action.into()),
            logical_resource_id: Some(planned.logical_id.clone()),
            physical_resource_id: planned.physical_id.clone(),
            resource_type: Some(planned.kind.clone()),
            replacement: replacement.map(str::to_owned),
            scope: Some(scope),
            details: Some(planned.details.iter().map(detail).collect()),
            ..Default::default()
        }),
    }
}

fn detail(detail: &Detail) -> api::ResourceChangeDetail {
    let recreation = match detail.replacement {
        Replacement::Never => "Never",
        Replacement::Conditional => "Conditionally",
        Replacement::Always => "Always",
    };
    let is_property = detail.attribute == "Properties";
    api::ResourceChangeDetail {
        target: Some(api::ResourceTargetDefinition {
            attribute: Some(detail.attribute.clone()),
            name: detail.property.clone().filter(|_| is_property),
            requires_recreation: Some(recreation.into()),
            ..Default::default()
        }),
        evaluation: Some(if detail.dynamic { "Dynamic" } else { "Static" }.into()),
        change_source: Some(if detail.dynamic { "ResourceAttribute" } else { "DirectModification" }.into()),
        causing_entity: None,
    }
}

pub async fn execute(cx: Cx, input: api::ExecuteChangeSetInput) -> Result<api::ExecuteChangeSetOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    let (id, ..) = found_with_stack(&cx, &input.change_set_name, input.stack_name.as_deref())?;
    cx.txn(|tx| {
        let found = tx.get::<ChangeSet>(scope, &id).ok_or_else(|| errors::no_change_set(&input.change_set_name))?;
        let gone = || Error::internal(format!("the change set {} has no stack", found.name));
        let mut stack = (*tx.get::<Stack>(scope, &found.stack).ok_or_else(gone)?).clone();
        let (status, execution) = status(&found);
        if execution != "AVAILABLE" {
            let message = format!("ChangeSet [{}] cannot be executed in its current status of [{status}]", found.arn);
            return Err(Error::client("InvalidChangeSetStatus", message));
        }
        let on_failure = match input.disable_rollback {
            Some(true) => OnFailure::DoNothing,
            _ => found.on_failure.unwrap_or_default(),
        };
        stack.retain_except_on_create = input.retain_except_on_create.unwrap_or_default();
        tx.put(scope, &id, ChangeSet { executed: true, ..(*found).clone() });
        let (target, token) = (found.target.clone(), input.client_request_token.clone());
        let change_set = Some(found.arn.clone());
        if stack.status == Status::ReviewInProgress {
            (stack.status, stack.reason) = (Status::CreateInProgress, Some("User Initiated".into()));
            (stack.target, stack.token, stack.change_set) = (target, token, change_set);
            (stack.on_failure, stack.began) = (on_failure, now);
            stacks::drop_change_sets(tx, scope, &found.stack, Some(&found.arn));
            events::of_stack(tx, scope, &found.stack, &stack, now);
            tx.put(scope, &found.stack, stack);
        } else {
            stacks::check_updatable(&stack)?;
            let begin = Begin { target, on_failure, token, change_set };
            stacks::begin_update(tx, scope, &found.stack, stack, &begin, now);
        }
        Ok(())
    })
    .await?;
    Ok(api::ExecuteChangeSetOutput {})
}

pub async fn delete(cx: Cx, input: api::DeleteChangeSetInput) -> Result<api::DeleteChangeSetOutput> {
    let scope = cx.scope();
    cx.txn(|tx| {
        // One that is not there is as good as deleted; a stack that is not there is a mistake.
        let (id, found) = match find(tx, scope, &input.change_set_name, input.stack_name.as_deref()) {
            Err(error) if error.is("ChangeSetNotFound") => return Ok(()),
            found => found?,
        };
        if !found.executed {
            tx.delete::<TemplateText>(scope, &found.target.template);
        }
        tx.delete::<ChangeSet>(scope, &id);
        Ok(())
    })
    .await?;
    Ok(api::DeleteChangeSetOutput {})
}

pub async fn list(cx: Cx, input: api::ListChangeSetsInput) -> Result<api::ListChangeSetsOutput> {
    let (stack, all) = cx.view(|view| {
        let (uuid, stack) = stacks::find(view, cx.scope(), &input.stack_name)?;
        let all = view.by_index::<ChangeSet>(cx.scope(), "stack", &uuid);
        // By name, as pages go.
        let by_name: BTreeMap<String, Arc<ChangeSet>> =
            all.into_iter().map(|(_, set)| (set.name.clone(), set)).collect();
        Ok::<_, Error>((stack, by_name.into_values().collect::<Vec<_>>()))
    })?;
    let page = page(all, |set| set.name.clone(), input.next_token.as_deref(), PAGE, "ValidationError")?;
    let summary = |set: &Arc<ChangeSet>| {
        let (status, execution_status) = status(set);
        api::ChangeSetSummary {
            stack_id: Some(stack.arn.clone()),
            stack_name: Some(stack.name.clone()),
            change_set_id: Some(set.arn.clone()),
            change_set_name: Some(set.name.clone()),
            execution_status: Some(execution_status.into()),
            status: Some(status.into()),
            status_reason: set.failure.clone(),
            creation_time: Some(set.created),
            description: set.description.clone(),
            include_nested_stacks: Some(false),
            ..Default::default()
        }
    };
    let summaries = page.items.iter().map(summary).collect();
    Ok(api::ListChangeSetsOutput { summaries: Some(summaries), next_token: page.next })
}
