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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Map;

    use super::super::model::{Deployed, Doomed, ResourceStatus, Spec, Target};
    use super::super::stacks::new_stack;
    use super::super::template::eval::EvaluatedResource;
    use super::super::template::model::DeletionPolicy;
    use super::*;

    fn name(n: usize) -> String {
        format!("R{n:02}")
    }

    /// A stack whose resources need some of those with smaller numbers.
    fn stack(status: Status, edges: &[Vec<usize>]) -> Stack {
        let needs = edges.iter().enumerate().map(|(n, needed)| {
            let needed = needed.iter().filter(|other| **other < n).map(|other| name(*other));
            (name(n), needed.collect())
        });
        let target = Target { needs: needs.collect(), ..Target::default() };
        new_stack("web", "arn".into(), status, target, Timestamp(0))
    }

    fn resource(name: &str) -> Resource {
        Resource::new("uuid", name, "AWS::EC2::VPC", Timestamp(0))
    }

    fn spec() -> Spec {
        let evaluated = EvaluatedResource {
            kind: "AWS::EC2::VPC".into(),
            properties: Map::new(),
            metadata: None,
            creation_policy: None,
            update_policy: None,
            deletion_policy: DeletionPolicy::Delete,
            update_replace_policy: DeletionPolicy::Delete,
        };
        Spec { evaluated, stack_tags: BTreeMap::new(), suffix: String::new() }
    }

    fn deployed(id: &str) -> Deployed {
        Deployed { spec: spec(), physical_id: id.to_owned(), attributes: Map::new() }
    }

    fn doomed(id: &str, since: Option<Timestamp>) -> Doomed {
        Doomed { deployed: deployed(id), keep: false, since }
    }

    fn settling(name: &str) -> Resource {
        let work = Work::Settle { wanted: spec(), physical_id: name.to_owned(), since: Timestamp(0) };
        Resource { work, ..resource(name) }
    }

    fn arrived(name: &str) -> Resource {
        Resource { now: Some(deployed(name)), settled: 1, status: ResourceStatus::CreateComplete, ..resource(name) }
    }

    fn edges() -> impl Strategy<Value = Vec<Vec<usize>>> {
        prop::collection::vec(prop::collection::vec(0..30usize, 0..4), 1..30)
    }

    proptest! {
        #[test]
        fn everything_is_made_once_after_what_it_needs(edges in edges(), order in prop::collection::vec(any::<u8>(), 64)) {
            let stack = stack(Status::CreateInProgress, &edges);
            let mut resources = Resources::new();
            for round in 0.. {
                prop_assert!(round < 4 * edges.len() + 4, "it does not end");
                let steps = plan(&stack, &resources, Timestamp(0));
                prop_assert!(steps.len() <= AT_ONCE_MAX);
                if steps == [Step::Arrive] {
                    break;
                }
                for (n, step) in steps.into_iter().enumerate() {
                    match step {
                        Step::Start(name) => {
                            let here = |other: &String| resources.get(other).is_some_and(|r| r.now.is_some());
                            prop_assert!(stack.target.needs[&name].iter().all(here));
                            prop_assert!(!resources.contains_key(&name));
                            resources.insert(name.clone(), settling(&name));
                        }
                        // Some take longer than others; the first never waits, so that it ends.
                        Step::Settle(name) if n == 0 || order[(n + round) % order.len()] % 2 == 0 => {
                            resources.insert(name.clone(), arrived(&name));
                        }
                        Step::Settle(_) => (),
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
            }
            prop_assert_eq!(resources.len(), edges.len());
        }

        #[test]
        fn nothing_goes_before_what_was_built_upon_it(edges in edges(), order in prop::collection::vec(any::<u8>(), 64)) {
            let stack = stack(Status::DeleteInProgress, &edges);
            let names = (0..edges.len()).map(name);
            let mut resources: Resources = names.map(|name| (name.clone(), arrived(&name))).collect();
            // What arrived in this operation has not failed in it.
            for round in 0.. {
                prop_assert!(round < 4 * edges.len() + 4, "it does not end");
                let steps = plan(&stack, &resources, Timestamp(0));
                prop_assert!(steps.len() <= AT_ONCE_MAX);
                if steps == [Step::Cleaned(vec![])] {
                    break;
                }
                for (n, step) in steps.into_iter().enumerate() {
                    match step {
                        Step::Condemn(name) => {
                            let needs = |(other, needed): (&String, &BTreeSet<String>)| {
                                needed.contains(&name) && resources[other].exists()
                            };
                            prop_assert!(!stack.target.needs.iter().any(needs));
                            let going = vec![doomed(&name, Some(Timestamp(0)))];
                            resources.insert(name.clone(), Resource { doomed: going, ..resource(&name) });
                        }
                        Step::Erase(name) if n == 0 || order[(n + round) % order.len()] % 2 == 0 => {
                            resources.insert(name.clone(), resource(&name));
                        }
                        Step::Erase(_) => (),
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
            }
            prop_assert!(resources.values().all(|resource| !resource.exists()));
        }
    }

    #[test]
    fn a_failure_turns_the_stack_back_whatever_is_under_way() {
        let stack = stack(Status::CreateInProgress, &[vec![], vec![], vec![0]]);
        let failed = Resource { failed: true, settled: 1, ..resource(&name(0)) };
        let resources = Resources::from([(name(0), failed), (name(1), settling(&name(1)))]);
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Fail(Failure::Resources)]);
    }

    #[test]
    fn a_create_that_takes_too_long_fails_and_an_update_may_be_cancelled() {
        let mut stack = stack(Status::CreateInProgress, &[vec![]]);
        stack.timeout_minutes = Some(1);
        let resources = Resources::from([(name(0), settling(&name(0)))]);
        assert_eq!(plan(&stack, &resources, Timestamp(59_999)), [Step::Settle(name(0))]);
        assert_eq!(plan(&stack, &resources, Timestamp(60_000)), [Step::Fail(Failure::Timeout)]);
        (stack.status, stack.cancelled) = (Status::UpdateInProgress, true);
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Fail(Failure::Cancelled)]);
    }

    #[test]
    fn a_cleanup_deletes_what_is_doomed_and_nothing_else() {
        let stack = stack(Status::UpdateCleanup, &[vec![], vec![0]]);
        let replaced = |n: usize| Resource { doomed: vec![doomed("old", None)], ..arrived(&name(n)) };
        let resources = Resources::from([(name(0), replaced(0)), (name(1), replaced(1))]);
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Condemn(name(1))]);
        let resources = Resources::from([(name(0), replaced(0)), (name(1), arrived(&name(1)))]);
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Condemn(name(0))]);
        let resources = Resources::from([(name(0), arrived(&name(0))), (name(1), arrived(&name(1)))]);
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Cleaned(vec![])]);
    }

    #[test]
    fn what_cannot_be_deleted_holds_what_it_needs_and_is_named() {
        let stack = stack(Status::DeleteInProgress, &[vec![], vec![0], vec![]]);
        let going = vec![doomed("r", Some(Timestamp(0)))];
        let stuck = Resource { failed: true, settled: 1, doomed: going, ..resource(&name(1)) };
        let mut resources =
            Resources::from([(name(0), arrived(&name(0))), (name(1), stuck), (name(2), arrived(&name(2)))]);
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Condemn(name(2))]);
        resources.insert(name(2), resource(&name(2)));
        assert_eq!(plan(&stack, &resources, Timestamp(0)), [Step::Cleaned(vec![name(1)])]);
    }
}
