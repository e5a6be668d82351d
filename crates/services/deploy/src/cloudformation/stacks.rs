//! Stacks: create, update, delete, protect; what may be done when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use standfast_api::cloudformation as api;
use standfast_core::{Arn, Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::errors::{self, invalid};
use super::events;
use super::forecast;
use super::model::{ChangeSet, OnFailure, Resource, Stack, Status, Target, TemplateText};
use super::prepare::{self, Prepared, Request};

/// How many stacks an account may have in a region.
const STACKS_MAX: usize = 2000;
/// How many deleted stacks are remembered.
const DELETED_MAX: usize = 100;
const NAME_CHARS_MAX: usize = 128;

/// The stack of a name or ARN. A name is that of a stack that is not deleted.
pub fn find(view: &View, scope: &Scope, name: &str) -> Result<(Arc<str>, Arc<Stack>)> {
    find_or(view, scope, name, errors::stack_does_not_exist)
}

pub fn find_or(
    view: &View,
    scope: &Scope,
    name: &str,
    refusal: impl Fn(&str) -> Error,
) -> Result<(Arc<str>, Arc<Stack>)> {
    if !name.starts_with("arn:") {
        return view.by_unique::<Stack>(scope, "name", name).ok_or_else(|| refusal(name));
    }
    let uuid = name.rsplit('/').next().unwrap_or_default();
    let found = view.get::<Stack>(scope, uuid).filter(|stack| stack.arn == name);
    found.map(|stack| (uuid.into(), stack)).ok_or_else(|| refusal(name))
}

pub fn check_name(name: &str) -> Result<()> {
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let valid = begins && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !valid || name.len() > NAME_CHARS_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*"
        )));
    }
    Ok(())
}

/// A new stack that is about to be created, or reviewed.
pub fn new_stack(name: &str, arn: String, status: Status, target: Target, now: Timestamp) -> Stack {
    Stack {
        name: name.to_owned(),
        arn,
        status,
        reason: Some("User Initiated".into()),
        target,
        previous: None,
        operation: 1,
        outputs: Vec::new(),
        on_failure: OnFailure::Rollback,
        timeout_minutes: None,
        began: now,
        created: now,
        updated: None,
        deleted: None,
        termination_protection: false,
        retain_except_on_create: false,
        token: None,
        created_by: None,
        change_set: None,
        retained: BTreeSet::new(),
        cancelled: false,
    }
}

pub fn arn(cx: &Cx, name: &str, uuid: &str) -> String {
    Arn::new("cloudformation", cx.scope(), format!("stack/{name}/{uuid}")).to_string()
}

fn wish(disable_rollback: Option<bool>, on_failure: Option<&str>) -> Result<OnFailure> {
    match (disable_rollback, on_failure) {
        (Some(_), Some(_)) => Err(invalid("You cannot specify both DisableRollback and OnFailure.")),
        (Some(true), None) => Ok(OnFailure::DoNothing),
        (_, None) => Ok(OnFailure::Rollback),
        (None, Some(name)) => OnFailure::named(name).ok_or_else(|| invalid(format!("Unknown OnFailure '{name}'."))),
    }
}

pub async fn create(cx: Cx, input: api::CreateStackInput) -> Result<api::CreateStackOutput> {
    check_name(&input.stack_name)?;
    if let Some(existing) = repeated(&cx, &input) {
        return Ok(api::CreateStackOutput { stack_id: Some(existing), operation_id: None });
    }
    if cx.view(|view| view.by_unique::<Stack>(cx.scope(), "name", &input.stack_name)).is_some() {
        return Err(errors::stack_exists(&input.stack_name));
    }
    let uuid = cx.rng().uuid();
    let arn = arn(&cx, &input.stack_name, &uuid);
    let body = prepare::body(input.template_body, input.template_url)?;
    let request = Request {
        body: body.clone(),
        parameters: input.parameters,
        tags: prepare::tags(input.tags)?,
        capabilities: input.capabilities.unwrap_or_default(),
        notification_arns: input.notification_arns.unwrap_or_default(),
        role_arn: input.role_arn,
        stack_arn: arn.clone(),
        stack_name: input.stack_name.clone(),
        previous: BTreeMap::new(),
    };
    let Prepared { mut target, .. } = prepare::prepare(&cx, request).await?;
    target.template = cx.rng().uuid();
    let now = cx.now();
    let stack = Stack {
        on_failure: wish(input.disable_rollback, input.on_failure.as_deref())?,
        timeout_minutes: input.timeout_in_minutes,
        termination_protection: input.enable_termination_protection.unwrap_or_default(),
        retain_except_on_create: input.retain_except_on_create.unwrap_or_default(),
        token: input.client_request_token.clone(),
        created_by: input.client_request_token,
        ..new_stack(&input.stack_name, arn.clone(), Status::CreateInProgress, target, now)
    };
    cx.txn(|tx| put_new(tx, cx.scope(), &uuid, &stack, &body, now)).await?;
    Ok(api::CreateStackOutput { stack_id: Some(arn), operation_id: None })
}

/// The stack that the same request created before.
fn repeated(cx: &Cx, input: &api::CreateStackInput) -> Option<String> {
    let (_, stack) = cx.view(|view| view.by_unique::<Stack>(cx.scope(), "name", &input.stack_name))?;
    let same = input.client_request_token.is_some() && stack.created_by == input.client_request_token;
    same.then(|| stack.arn.clone())
}

/// Puts a stack that there was not, with its template.
pub fn put_new(tx: &mut Txn, scope: &Scope, uuid: &str, stack: &Stack, body: &str, now: Timestamp) -> Result<()> {
    if tx.by_unique::<Stack>(scope, "name", &stack.name).is_some() {
        return Err(errors::stack_exists(&stack.name));
    }
    let stacks = tx.list::<Stack>(scope);
    if stacks.iter().filter(|(_, stack)| stack.status != Status::DeleteComplete).count() >= STACKS_MAX {
        let message = format!("Limit for stack has been exceeded. The limit is {STACKS_MAX}.");
        return Err(Error::client("LimitExceededException", message));
    }
    if !body.is_empty() {
        tx.put(scope, &stack.target.template, TemplateText { body: body.to_owned() });
    }
    events::of_stack(tx, scope, uuid, stack, now);
    tx.put(scope, uuid, stack.clone());
    Ok(())
}

/// Refuses an update of a stack that is busy or beyond help.
pub fn check_updatable(stack: &Stack) -> Result<()> {
    if stack.status.is_updatable() {
        return Ok(());
    }
    let (arn, status) = (&stack.arn, stack.status.text());
    Err(invalid(format!("Stack:{arn} is in {status} state and can not be updated.")))
}

/// What an update says; what it leaves out stays as it is.
pub struct Update {
    pub template_body: Option<String>,
    pub template_url: Option<String>,
    pub use_previous_template: Option<bool>,
    pub parameters: Option<Vec<api::Parameter>>,
    pub tags: Option<Vec<api::Tag>>,
    pub capabilities: Option<Vec<String>>,
    pub notification_arns: Option<Vec<String>>,
    pub role_arn: Option<String>,
}

/// The target of an update, and its template's text.
pub async fn retarget(cx: &Cx, stack: &Stack, update: Update) -> Result<(Prepared, String)> {
    let given = update.template_body.is_some() || update.template_url.is_some();
    let body = match update.use_previous_template {
        Some(true) if given => {
            return Err(invalid("You cannot specify both usePreviousTemplate and Template Body/Template URL."));
        }
        Some(true) => template_of(cx, &stack.target)?,
        _ => prepare::body(update.template_body, update.template_url)?,
    };
    let old = &stack.target;
    let request = Request {
        body: body.clone(),
        parameters: update.parameters,
        tags: update.tags.map_or_else(|| Ok(old.tags.clone()), |tags| prepare::tags(Some(tags)))?,
        capabilities: update.capabilities.unwrap_or_default(),
        notification_arns: update.notification_arns.unwrap_or_else(|| old.notification_arns.clone()),
        role_arn: update.role_arn.or_else(|| old.role_arn.clone()),
        stack_arn: stack.arn.clone(),
        stack_name: stack.name.clone(),
        previous: old.parameters.iter().map(|(name, given)| (name.clone(), given.given.clone())).collect(),
    };
    Ok((prepare::prepare(cx, request).await?, body))
}

/// The text of a target's template.
pub fn template_of(cx: &Cx, target: &Target) -> Result<String> {
    let text = cx.view(|view| view.get::<TemplateText>(cx.scope(), &target.template));
    text.map(|text| text.body.clone()).ok_or_else(|| invalid("The stack has no template yet."))
}

pub async fn update(cx: Cx, input: api::UpdateStackInput) -> Result<api::UpdateStackOutput> {
    let (uuid, stack) = cx.view(|view| find(view, cx.scope(), &input.stack_name))?;
    check_updatable(&stack)?;
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
    let (mut prepared, body) = retarget(&cx, &stack, update).await?;
    if forecast::forecast(&cx, &uuid, &stack, &prepared).await?.is_nothing() {
        return Err(invalid("No updates are to be performed."));
    }
    prepared.target.template = cx.rng().uuid();
    let on_failure = wish(input.disable_rollback, None)?;
    let begin = Begin { target: prepared.target, on_failure, token: input.client_request_token, change_set: None };
    let now = cx.now();
    cx.txn(|tx| {
        let current = tx.get::<Stack>(cx.scope(), &uuid).ok_or_else(|| errors::stack_does_not_exist(&stack.name))?;
        check_updatable(&current)?;
        let mut new = (*current).clone();
        new.retain_except_on_create = input.retain_except_on_create.unwrap_or_default();
        tx.put(cx.scope(), &begin.target.template, TemplateText { body: body.clone() });
        begin_update(tx, cx.scope(), &uuid, new, &begin, now);
        Ok(())
    })
    .await?;
    Ok(api::UpdateStackOutput { stack_id: Some(stack.arn.clone()), operation_id: None })
}

/// What begins an update.
pub struct Begin {
    pub target: Target,
    pub on_failure: OnFailure,
    pub token: Option<String>,
    pub change_set: Option<String>,
}

/// Sends a stack on its way to another target. Change sets that were made for the one before are void.
pub fn begin_update(tx: &mut Txn, scope: &Scope, uuid: &str, mut stack: Stack, begin: &Begin, now: Timestamp) {
    let old = std::mem::replace(&mut stack.target, begin.target.clone());
    stack.previous = Some(old);
    (stack.status, stack.reason) = (Status::UpdateInProgress, Some("User Initiated".into()));
    stack.operation += 1;
    stack.cancelled = false;
    stack.on_failure = begin.on_failure;
    stack.token = begin.token.clone();
    stack.change_set = begin.change_set.clone();
    (stack.began, stack.updated) = (now, Some(now));
    drop_change_sets(tx, scope, uuid, begin.change_set.as_deref());
    events::of_stack(tx, scope, uuid, &stack, now);
    tx.put(scope, uuid, stack);
}

/// Drops the change sets of a stack, but for one.
pub fn drop_change_sets(tx: &mut Txn, scope: &Scope, uuid: &str, but: Option<&str>) {
    for (id, change_set) in tx.by_index::<ChangeSet>(scope, "stack", uuid) {
        if but != Some(change_set.arn.as_str()) {
            if !change_set.executed {
                tx.delete::<TemplateText>(scope, &change_set.target.template);
            }
            tx.delete::<ChangeSet>(scope, &id);
        }
    }
}

pub async fn delete(cx: Cx, input: api::DeleteStackInput) -> Result<api::DeleteStackOutput> {
    let now = cx.now();
    let scope = cx.scope();
    cx.txn(|tx| {
        // Deleting what is not there succeeds.
        let Ok((uuid, stack)) = find(tx, scope, &input.stack_name) else { return Ok(()) };
        match stack.status {
            Status::DeleteComplete | Status::DeleteInProgress => return Ok(()),
            status
                if status.is_under_way()
                    && !matches!(status, Status::CreateInProgress | Status::RollbackInProgress) =>
            {
                let (arn, status) = (&stack.arn, status.text());
                return Err(invalid(format!("Stack [{arn}] cannot be deleted while in status {status}")));
            }
            _ => (),
        }
        if stack.termination_protection {
            return Err(invalid(format!(
                "Stack [{}] cannot be deleted while TerminationProtection is enabled",
                stack.name
            )));
        }
        let retained: BTreeSet<String> = input.retain_resources.iter().flatten().cloned().collect();
        check_retained(tx, scope, &uuid, &stack, &retained)?;
        for name in stack.outputs.iter().filter_map(|output| output.export_name.as_deref()) {
            check_not_imported(tx, scope, name, "deleted")?;
        }
        let mut new = (*stack).clone();
        (new.status, new.reason) = (Status::DeleteInProgress, Some("User Initiated".into()));
        new.operation += 1;
        new.began = now;
        new.token = input.client_request_token.clone();
        new.retained = retained;
        drop_change_sets(tx, scope, &uuid, None);
        events::of_stack(tx, scope, &uuid, &new, now);
        tx.put(scope, &uuid, new);
        Ok(())
    })
    .await?;
    Ok(api::DeleteStackOutput {})
}

/// Only what could not be deleted may be left alone.
fn check_retained(view: &View, scope: &Scope, uuid: &str, stack: &Stack, retained: &BTreeSet<String>) -> Result<()> {
    if retained.is_empty() {
        return Ok(());
    }
    if stack.status != Status::DeleteFailed {
        return Err(invalid(
            "Invalid operation on stack. RetainResources is only valid for stacks in DELETE_FAILED state.",
        ));
    }
    match retained.iter().find(|name| view.get::<Resource>(scope, &Resource::key(uuid, name)).is_none()) {
        Some(name) => Err(invalid(format!("The resource {name} does not exist in stack {}.", stack.name))),
        None => Ok(()),
    }
}

/// Refuses to take an export away from those that import it.
pub fn check_not_imported(view: &View, scope: &Scope, export: &str, verb: &str) -> Result<()> {
    let users: Vec<String> = importers(view, scope, export);
    if users.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Export {export} cannot be {verb} as it is in use by {}", users.join(", "))))
}

/// The names of the stacks that import an export.
pub fn importers(view: &View, scope: &Scope, export: &str) -> Vec<String> {
    let stacks = view.list::<Stack>(scope).into_iter();
    let users = stacks.filter(|(_, stack)| {
        stack.status != Status::DeleteComplete
            && std::iter::once(&stack.target).chain(&stack.previous).any(|target| target.imports.contains(export))
    });
    users.map(|(_, stack)| stack.name.clone()).collect()
}

/// Drops the oldest of the deleted stacks when there are too many.
pub fn forget_oldest(tx: &mut Txn, scope: &Scope) {
    let mut deleted: Vec<_> =
        tx.list::<Stack>(scope).into_iter().filter(|(_, stack)| stack.status == Status::DeleteComplete).collect();
    deleted.sort_by_key(|(_, stack)| stack.deleted);
    let surplus = (deleted.len() + 1).saturating_sub(DELETED_MAX);
    for (uuid, stack) in deleted.into_iter().take(surplus) {
        events::drop_all(tx, scope, &uuid);
        for (key, _) in tx.prefix::<Resource>(scope, &Resource::key(&uuid, "")) {
            tx.delete::<Resource>(scope, &key);
        }
        tx.delete::<TemplateText>(scope, &stack.target.template);
        tx.delete::<Stack>(scope, &uuid);
    }
}

/// Changes a stack that is not deleted.
async fn change(cx: &Cx, name: &str, change: impl Fn(&mut Stack) -> Result<bool>) -> Result<String> {
    let now = cx.now();
    cx.txn(|tx| {
        let (uuid, stack) = find(tx, cx.scope(), name)?;
        let mut new = (*stack).clone();
        if change(&mut new)? {
            events::of_stack(tx, cx.scope(), &uuid, &new, now);
        }
        tx.put(cx.scope(), &uuid, new);
        Ok(stack.arn.clone())
    })
    .await
}

pub async fn protect(
    cx: Cx,
    input: api::UpdateTerminationProtectionInput,
) -> Result<api::UpdateTerminationProtectionOutput> {
    let arn = change(&cx, &input.stack_name, |stack| {
        if matches!(stack.status, Status::DeleteComplete | Status::DeleteInProgress) {
            return Err(errors::stack_does_not_exist(&input.stack_name));
        }
        stack.termination_protection = input.enable_termination_protection;
        Ok(false)
    })
    .await?;
    Ok(api::UpdateTerminationProtectionOutput { stack_id: Some(arn) })
}

pub async fn cancel_update(cx: Cx, input: api::CancelUpdateStackInput) -> Result<api::CancelUpdateStackOutput> {
    change(&cx, &input.stack_name, |stack| {
        if stack.status != Status::UpdateInProgress {
            return Err(invalid("CancelUpdateStack cannot be called from current stack status"));
        }
        stack.cancelled = true;
        stack.on_failure = OnFailure::Rollback;
        Ok(false)
    })
    .await?;
    Ok(api::CancelUpdateStackOutput {})
}

pub async fn continue_rollback(
    cx: Cx,
    input: api::ContinueUpdateRollbackInput,
) -> Result<api::ContinueUpdateRollbackOutput> {
    let now = cx.now();
    let scope = cx.scope();
    cx.txn(|tx| {
        let (uuid, stack) = find(tx, scope, &input.stack_name)?;
        if stack.status != Status::UpdateRollbackFailed {
            let (arn, status) = (&stack.arn, stack.status.text());
            return Err(invalid(format!("Stack:{arn} is in {status} state and can not continue its rollback.")));
        }
        for name in input.resources_to_skip.iter().flatten() {
            let key = Resource::key(&uuid, name);
            let resource = tx.get::<Resource>(scope, &key).filter(|resource| resource.failed);
            let skipped =
                resource.ok_or_else(|| invalid(format!("{name} is not a resource that failed to roll back.")))?;
            tx.put(scope, &key, Resource { before: None, half: None, failed: false, ..(*skipped).clone() });
        }
        let mut new = (*stack).clone();
        (new.status, new.reason) = (Status::UpdateRollbackInProgress, Some("User Initiated".into()));
        new.operation += 1;
        new.token = input.client_request_token.clone();
        events::of_stack(tx, scope, &uuid, &new, now);
        tx.put(scope, &uuid, new);
        Ok(())
    })
    .await?;
    Ok(api::ContinueUpdateRollbackOutput {})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_letters_digits_and_dashes() {
        for good in ["a", "web-1", "A0-"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "-a", "a_b", "a b", "é", &"a".repeat(129)] {
            assert!(check_name(bad).is_err_and(|error| error.is("ValidationError")), "{bad}");
        }
    }
}
