//! What should happen next to a stack. Pure.
//!
//! Invariant: a plan starts nothing whose needs are not there, deletes nothing that others need, and runs at most
//! [`AT_ONCE_MAX`] resources at a time. An empty plan means that the stack is at rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use standfast_core::Timestamp;

use super::model::{Resource, Stack, Status, Work};
use super::template::graph::Graph;

/// How many resources of a stack are worked on at once.
pub const AT_ONCE_MAX: usize = 8;

/// One thing to do. Names are logical ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Evaluate it, and make or change it when it is not as wanted.
    Start(String),
    /// Make it again: whether the call before succeeded is not known.
    Create(String),
    /// Change it again.
    Update(String),
    /// See whether it is what it should be.
    Settle(String),
    /// Bring it back to what it was before the update.
    Restore(String),
    /// Begin to delete what must go.
    Condemn(String),
    /// Go on deleting it.
    Erase(String),
    /// The way forward has failed.
    Fail(Failure),
    /// Everything is as wanted.
    Arrive,
    /// Everything is as it was before the update.
    Restored,
    /// Something could not be restored.
    RestoreFailed(Vec<String>),
    /// What had to go is gone, but these.
    Cleaned(Vec<String>),
}

/// Why the way forward has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Resources,
    Timeout,
    Cancelled,
}

pub type Resources = BTreeMap<String, Resource>;

/// What to do now.
pub fn plan(stack: &Stack, resources: &Resources, now: Timestamp) -> Vec<Step> {
    match stack.status {
        Status::CreateInProgress | Status::UpdateInProgress => forward(stack, resources, now),
        Status::UpdateRollbackInProgress => restore(stack, resources),
        Status::RollbackInProgress | Status::DeleteInProgress => delete(stack, resources, true),
        Status::UpdateCleanup | Status::UpdateRollbackCleanup => delete(stack, resources, false),
        _ => Vec::new(),
    }
}

/// Whether a create has taken longer than its user allows.
fn is_late(stack: &Stack, now: Timestamp) -> bool {
    let limit = stack.timeout_minutes.filter(|_| stack.status == Status::CreateInProgress);
    limit.is_some_and(|minutes| now >= stack.began + Duration::from_secs(60 * minutes.unsigned_abs() as u64))
}

/// What the work of a resource asks for next.
fn next(name: &str, resource: &Resource) -> Option<Step> {
    match resource.work {
        Work::Rest => None,
        Work::Create { .. } => Some(Step::Create(name.to_owned())),
        Work::Update { .. } => Some(Step::Update(name.to_owned())),
        Work::Settle { .. } => Some(Step::Settle(name.to_owned())),
    }
}

fn has_failed(stack: &Stack, resource: &Resource) -> bool {
    resource.failed && resource.settled == stack.operation
}

fn forward(stack: &Stack, resources: &Resources, now: Timestamp) -> Vec<Step> {
    if stack.cancelled {
        return vec![Step::Fail(Failure::Cancelled)];
    }
    if resources.values().any(|resource| has_failed(stack, resource)) {
        return vec![Step::Fail(Failure::Resources)];
    }
    if is_late(stack, now) {
        return vec![Step::Fail(Failure::Timeout)];
    }
    let wanted = |name: &&String| stack.target.needs.contains_key(*name);
    let names = |holds: &dyn Fn(&Resource) -> bool| -> BTreeSet<String> {
        let held = resources.iter().filter(|(_, resource)| holds(resource)).map(|(name, _)| name);
        held.filter(wanted).cloned().collect()
    };
    let started = names(&Resource::is_at_work);
    let done = names(&|resource| resource.settled == stack.operation && !resource.is_at_work());
    let mut steps: Vec<Step> = resources.iter().filter_map(|(name, resource)| next(name, resource)).collect();
    let room = AT_ONCE_MAX.saturating_sub(steps.len());
    let graph = stack.target.graph();
    steps.extend(graph.ready(&done, &started).into_iter().take(room).map(|name| Step::Start(name.to_owned())));
    if steps.is_empty() { vec![Step::Arrive] } else { steps }
}

/// Whether an update left a mark on a resource that is to be undone.
fn needs_restoring(resource: &Resource) -> bool {
    resource.before.is_some() || resource.half.is_some()
}

fn restore(stack: &Stack, resources: &Resources) -> Vec<Step> {
    let mut steps: Vec<Step> = resources.iter().filter_map(|(name, resource)| next(name, resource)).collect();
    let failed = |resource: &Resource| has_failed(stack, resource);
    let waiting = |resource: &Resource| needs_restoring(resource) && !resource.is_at_work() && !failed(resource);
    let room = AT_ONCE_MAX.saturating_sub(steps.len());
    let graph = stack.target.graph();
    let is_back = |name: &str| resources.get(name).is_none_or(|resource| !needs_restoring(resource));
    let ready = (resources.iter())
        .filter(|(name, resource)| waiting(resource) && graph.needs(name).all(is_back))
        .map(|(name, _)| Step::Restore(name.clone()));
    steps.extend(ready.take(room));
    if !steps.is_empty() {
        return steps;
    }
    let failed: Vec<String> = resources.iter().filter(|(_, r)| failed(r)).map(|(name, _)| name.clone()).collect();
    if failed.is_empty() { vec![Step::Restored] } else { vec![Step::RestoreFailed(failed)] }
}

/// The order of everything that a stack has or had, the last one first.
fn backward(stack: &Stack) -> Graph {
    let mut needs = stack.target.needs.clone();
    for (name, needed) in stack.previous.iter().flat_map(|target| &target.needs) {
        needs.entry(name.clone()).or_default().extend(needed.iter().cloned());
    }
    Graph::from_needs(needs).reversed()
}

/// Deletes everything, or only what is doomed.
fn delete(stack: &Stack, resources: &Resources, everything: bool) -> Vec<Step> {
    let kept = |name: &str| everything && stack.retained.contains(name);
    let is_left = |name: &str| {
        resources.get(name).is_some_and(|resource| {
            !kept(name) && if everything { resource.exists() } else { !resource.doomed.is_empty() }
        })
    };
    let graph = backward(stack);
    // Two templates together may make a circle; then the order is given up rather than the deletion.
    let ordered = graph.cycle().is_none();
    let (mut going, mut ready, mut stuck, mut left) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (name, resource) in resources.iter().filter(|(name, _)| is_left(name)) {
        left += 1;
        let begun = !resource.doomed.is_empty() && resource.doomed.iter().all(|doomed| doomed.since.is_some());
        if has_failed(stack, resource) {
            stuck.push(name.clone());
        } else if begun && !(everything && (resource.now.is_some() || resource.is_at_work())) {
            going.push(Step::Erase(name.clone()));
        } else if !ordered || graph.needs(name).all(|dependent| !is_left(dependent)) {
            ready.push(Step::Condemn(name.clone()));
        }
    }
    let room = AT_ONCE_MAX.saturating_sub(going.len());
    going.extend(ready.into_iter().take(room));
    if going.is_empty() {
        debug_assert!(left == 0 || !stuck.is_empty(), "resources are left and nothing is in their way");
        return vec![Step::Cleaned(stuck)];
    }
    going
}
