//! What becomes of a stack as a whole: it arrives, it fails and turns back, what had to go is gone.
//!
//! Invariant: a stack moves on together with the records of all its resources, in one transaction, and only from where
//! the controller saw it: a user's delete or cancel in between wins.

use standfast_core::{Result, Scope};
use standfast_store::{Txn, View};

use super::act::{Scene, abandon};
use super::errors::invalid;
use super::events::{self, Said};
use super::model::{Doomed, OnFailure, Resource, ResourceStatus, Stack, Status, TemplateText, Work};
use super::plan::{Failure, Resources, Step};
use super::prepare;
use super::resolve::{Known, World};
use super::stacks;
use super::template::eval::{EvaluatedOutput, Evaluation};
use super::template::model::DeletionPolicy;
use super::types;

/// Does a step of the whole stack.
pub async fn turn(scene: &Scene<'_>, step: Step) -> Result<bool> {
    match step {
        Step::Arrive => arrive(scene).await,
        Step::Fail(failure) => fail(scene, failure).await,
        Step::Restored => {
            let name = Status::UpdateRollbackCleanup;
            go(scene, |stack, resources| {
                (stack.status, stack.reason) = (name, None);
                resources.values_mut().for_each(|resource| resource.fresh = false);
                Ok(())
            })
            .await
        }
        Step::RestoreFailed(names) => {
            let reason = format!("The following resource(s) failed to update: [{}]. ", names.join(", "));
            go(scene, |stack, _| {
                (stack.status, stack.reason) = (Status::UpdateRollbackFailed, Some(reason.clone()));
                Ok(())
            })
            .await
        }
        Step::Cleaned(stuck) => cleaned(scene, &stuck).await,
        other => unreachable!("{other:?} is a step of a resource"),
    }
}

/// Changes the stack and its resources, unless somebody else has moved it on; says so in an event.
async fn go(scene: &Scene<'_>, change: impl Fn(&mut Stack, &mut Resources) -> Result<()>) -> Result<bool> {
    let (scope, now) = (scene.cx.scope(), scene.cx.now());
    scene
        .cx
        .txn(|tx| {
            let Some(mut stack) = still(tx, scope, scene) else { return Ok(true) };
            let mut resources = scene.resources.clone();
            change(&mut stack, &mut resources)?;
            put_resources(tx, scope, scene, &resources);
            events::of_stack(tx, scope, scene.uuid, &stack, now);
            tx.put(scope, scene.uuid, stack);
            Ok(true)
        })
        .await
}

/// The stack, when it is where this round saw it.
fn still(view: &View, scope: &Scope, scene: &Scene<'_>) -> Option<Stack> {
    let stack = view.get::<Stack>(scope, scene.uuid)?;
    let same = stack.operation == scene.stack.operation && stack.status == scene.stack.status;
    same.then(|| (*stack).clone())
}

fn put_resources(tx: &mut Txn, scope: &Scope, scene: &Scene<'_>, resources: &Resources) {
    for (name, resource) in resources {
        tx.put(scope, &Resource::key(scene.uuid, name), resource.clone());
    }
}

async fn outputs(scene: &Scene<'_>) -> Result<Vec<EvaluatedOutput>> {
    let Some(template) = scene.template else { return Ok(Vec::new()) };
    let known = scene.resources.iter().filter_map(|(name, resource)| {
        let now = resource.now.as_ref()?;
        let (physical_id, attributes) = (Some(now.physical_id.clone()), now.attributes.clone());
        Some((name.clone(), Known { physical_id, attributes, volatile: &[] }))
    });
    let target = &scene.stack.target;
    let values = prepare::values(target);
    let pseudo = prepare::pseudo(&scene.cx, &scene.stack.arn, &scene.stack.name, target);
    World::of(known)
        .evaluate(&scene.cx, |resolver| Evaluation::new(template, &values, &pseudo, resolver)?.outputs())
        .await
}

async fn arrive(scene: &Scene<'_>) -> Result<bool> {
    let arrived = match outputs(scene).await {
        Ok(outputs) => {
            let creating = scene.stack.status == Status::CreateInProgress;
            go_with_exports(scene, &outputs, creating).await
        }
        Err(error) => Err(error),
    };
    match arrived {
        Err(error) if error.is("ValidationError") => back(scene, &error.message, "").await,
        arrived => arrived,
    }
}

async fn go_with_exports(scene: &Scene<'_>, outputs: &[EvaluatedOutput], creating: bool) -> Result<bool> {
    let (scope, now) = (scene.cx.scope(), scene.cx.now());
    scene
        .cx
        .txn(|tx| {
            let Some(mut stack) = still(tx, scope, scene) else { return Ok(true) };
            check_exports(tx, scope, scene.uuid, &stack, outputs)?;
            let mut resources = scene.resources.clone();
            for resource in resources.values_mut() {
                accept(resource, &stack);
            }
            stack.outputs = outputs.to_vec();
            stack.status = if creating { Status::CreateComplete } else { Status::UpdateCleanup };
            stack.reason = None;
            put_resources(tx, scope, scene, &resources);
            events::of_stack(tx, scope, scene.uuid, &stack, now);
            tx.put(scope, scene.uuid, stack);
            Ok(true)
        })
        .await
}

/// What the update made stands: what was there before, and what the template no longer has, goes.
fn accept(resource: &mut Resource, stack: &Stack) {
    resource.fresh = false;
    resource.half = None;
    let now_id = resource.now.as_ref().map(|now| now.physical_id.clone());
    if let Some(before) = resource.before.take().filter(|before| now_id.as_ref() != Some(&before.physical_id)) {
        let keep = before.spec.evaluated.update_replace_policy == DeletionPolicy::Retain;
        resource.doomed.push(Doomed { deployed: before, keep, since: None });
    }
    if !stack.target.needs.contains_key(&resource.logical_id)
        && let Some(deployed) = resource.now.take()
    {
        let policy = deployed.spec.evaluated.deletion_policy;
        let keep = matches!(policy, DeletionPolicy::Retain | DeletionPolicy::RetainExceptOnCreate);
        resource.doomed.push(Doomed { deployed, keep, since: None });
    }
}

/// An export's name is one stack's, and what others import neither goes nor changes.
fn check_exports(view: &View, scope: &Scope, uuid: &str, stack: &Stack, outputs: &[EvaluatedOutput]) -> Result<()> {
    for name in outputs.iter().filter_map(|output| output.export_name.as_deref()) {
        if let Some((holder, other)) = view.by_unique::<Stack>(scope, "export", name)
            && *holder != *uuid
        {
            return Err(invalid(format!("Export with name {name} is already exported by stack {}.", other.name)));
        }
    }
    for old in &stack.outputs {
        let Some(name) = &old.export_name else { continue };
        let new = outputs.iter().find(|output| output.export_name.as_ref() == Some(name));
        let verb = match new {
            Some(new) if new.value == old.value => continue,
            Some(_) => "updated",
            None => "deleted",
        };
        stacks::check_not_imported(view, scope, name, verb)?;
    }
    Ok(())
}

async fn fail(scene: &Scene<'_>, failure: Failure) -> Result<bool> {
    let cancelled = match failure {
        Failure::Cancelled => "User Initiated",
        Failure::Timeout => "Stack creation time exceeded the specified timeout. ",
        Failure::Resources => "",
    };
    back(scene, "", cancelled).await
}

/// Gives the way forward up, for `why` or because of the resources that failed.
async fn back(scene: &Scene<'_>, why: &str, prefix: &str) -> Result<bool> {
    let made = unrecorded(scene).await?;
    let (scope, now) = (scene.cx.scope(), scene.cx.now());
    scene
        .cx
        .txn(|tx| {
            let Some(mut stack) = still(tx, scope, scene) else { return Ok(true) };
            let mut resources = scene.resources.clone();
            let mut failed = Failed::default();
            for (name, resource) in &mut resources {
                if resource.is_at_work() {
                    cancel(tx, scope, &stack, resource, made.iter().find(|(of, _)| of == name), now);
                    failed.add(resource);
                } else if resource.failed && resource.settled == stack.operation {
                    failed.add(resource);
                }
            }
            let reason = if why.is_empty() { format!("{prefix}{}", failed.said()) } else { format!("{why} ") };
            turn_back(&mut stack, &mut resources, &reason);
            put_resources(tx, scope, scene, &resources);
            events::of_stack(tx, scope, scene.uuid, &stack, now);
            tx.put(scope, scene.uuid, stack);
            Ok(true)
        })
        .await
}

/// What calls made whose answers were never recorded.
async fn unrecorded(scene: &Scene<'_>) -> Result<Vec<(String, String)>> {
    let mut made = Vec::new();
    for (name, resource) in scene.resources {
        if let Work::Create { wanted, tried: true } = &resource.work
            && let Some(kind) = types::named(&wanted.evaluated.kind)
            && let Some(id) = (kind.find)(&scene.job(resource, wanted, None, None)).await?
        {
            made.push((name.clone(), id));
        }
    }
    Ok(made)
}

fn cancel(
    tx: &mut Txn,
    scope: &Scope,
    stack: &Stack,
    resource: &mut Resource,
    made: Option<&(String, String)>,
    now: standfast_core::Timestamp,
) {
    let made = match &resource.work {
        Work::Settle { physical_id, .. } => Some(physical_id.clone()),
        _ => made.map(|(_, id)| id.clone()),
    };
    let (status, reason) = match resource.now {
        Some(_) => (ResourceStatus::UpdateFailed, "Resource update cancelled"),
        None => (ResourceStatus::CreateFailed, "Resource creation cancelled"),
    };
    let physical_id = made.as_deref().or(resource.physical_id()).unwrap_or_default().to_owned();
    abandon(resource, made);
    (resource.status, resource.reason, resource.changed) = (status, Some(reason.to_owned()), now);
    (resource.settled, resource.failed) = (stack.operation, true);
    let said = Said { status: status.text(), reason: Some(reason), physical_id: &physical_id, properties: None };
    events::of_resource(tx, scope, stack, resource, &said, now);
}

/// The resources that failed, for the stack's reason.
#[derive(Default)]
struct Failed {
    create: Vec<String>,
    update: Vec<String>,
}

impl Failed {
    fn add(&mut self, resource: &Resource) {
        let list = if resource.status == ResourceStatus::UpdateFailed { &mut self.update } else { &mut self.create };
        list.push(resource.logical_id.clone());
    }

    fn said(&self) -> String {
        let part = |verb: &str, names: &[String]| match names {
            [] => String::new(),
            names => format!("The following resource(s) failed to {verb}: [{}]. ", names.join(", ")),
        };
        part("create", &self.create) + &part("update", &self.update)
    }
}

/// Sends a stack whose way forward failed where its user wants it then.
fn turn_back(stack: &mut Stack, resources: &mut Resources, reason: &str) {
    let creating = stack.status == Status::CreateInProgress;
    let (status, wish) = match (creating, stack.on_failure) {
        (true, OnFailure::Rollback) => (Status::RollbackInProgress, "Rollback requested by user."),
        (true, OnFailure::Delete) => (Status::DeleteInProgress, "Delete requested by user."),
        (true, OnFailure::DoNothing) => (Status::CreateFailed, ""),
        (false, OnFailure::DoNothing) => (Status::UpdateFailed, ""),
        (false, OnFailure::Rollback | OnFailure::Delete) => (Status::UpdateRollbackInProgress, ""),
    };
    (stack.status, stack.reason) = (status, Some(format!("{reason}{wish}")));
    stack.operation += 1;
    stack.cancelled = false;
    match status {
        Status::UpdateRollbackInProgress => {
            if let Some(previous) = stack.previous.take() {
                stack.previous = Some(std::mem::replace(&mut stack.target, previous));
            }
            for resource in resources.values_mut().filter(|resource| resource.fresh) {
                let made = resource.now.take();
                resource.doomed.extend(made.map(|deployed| Doomed { deployed, keep: false, since: None }));
            }
        }
        Status::UpdateFailed => resources.values_mut().for_each(keep_as_it_is),
        _ => (),
    }
}

/// A failed update that is not undone: what was replaced goes with the next one.
fn keep_as_it_is(resource: &mut Resource) {
    resource.fresh = false;
    let now_id = resource.now.as_ref().map(|now| now.physical_id.clone());
    let before = resource.before.take().filter(|before| now_id.as_ref() != Some(&before.physical_id));
    resource.doomed.extend(before.map(|deployed| Doomed { deployed, keep: false, since: None }));
}

async fn cleaned(scene: &Scene<'_>, stuck: &[String]) -> Result<bool> {
    let (scope, now) = (scene.cx.scope(), scene.cx.now());
    let failed = !stuck.is_empty();
    scene
        .cx
        .txn(|tx| {
            let Some(mut stack) = still(tx, scope, scene) else { return Ok(true) };
            stack.status = match stack.status {
                Status::RollbackInProgress if failed => Status::RollbackFailed,
                Status::RollbackInProgress => Status::RollbackComplete,
                Status::DeleteInProgress if failed => Status::DeleteFailed,
                Status::DeleteInProgress => Status::DeleteComplete,
                Status::UpdateCleanup => Status::UpdateComplete,
                _ => Status::UpdateRollbackComplete,
            };
            let updated = matches!(stack.status, Status::UpdateComplete | Status::UpdateRollbackComplete);
            let reason = format!("The following resource(s) failed to delete: [{}]. ", stuck.join(", "));
            stack.reason = (failed && !updated).then_some(reason);
            if let Some(previous) = stack.previous.take_if(|_| updated) {
                tx.delete::<TemplateText>(scope, &previous.template);
            }
            // What an update could not delete is no longer the stack's.
            for (name, resource) in scene.resources.iter().filter(|_| updated) {
                if !stack.target.needs.contains_key(name) {
                    tx.delete::<Resource>(scope, &Resource::key(scene.uuid, name));
                } else if !resource.doomed.is_empty() {
                    let kept = Resource { doomed: Vec::new(), ..resource.clone() };
                    tx.put(scope, &Resource::key(scene.uuid, name), kept);
                }
            }
            if stack.status == Status::DeleteComplete {
                stack.deleted = Some(now);
                stacks::forget_oldest(tx, scope);
            }
            events::of_stack(tx, scope, scene.uuid, &stack, now);
            tx.put(scope, scene.uuid, stack);
            Ok(true)
        })
        .await
}
