//! What happened to a stack, and DescribeStackEvents.
//!
//! Invariant: events are numbered without gaps in the order in which they were committed, and a stack keeps at most
//! [`EVENTS_MAX`] of them.

use standfast_api::cloudformation as api;
use standfast_core::{Error, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::model::{Deployed, Event, EventCounter, Resource, Stack};
use super::stacks;

/// How many events of a stack are kept; older ones go.
const EVENTS_MAX: u64 = 5000;
const PAGE_MAX: u64 = 100;

pub const STACK_TYPE: &str = "AWS::CloudFormation::Stack";

fn key(stack: &str, number: u64) -> String {
    format!("{stack}/{number:012}")
}

/// An id that is the stack's own and the event's.
fn id(stack: &str, number: u64) -> String {
    format!("{}{number:012x}", stack.get(..24).unwrap_or_default())
}

fn add(tx: &mut Txn, scope: &Scope, uuid: &str, event: impl FnOnce(String) -> Event) {
    let mut counter = tx.get::<EventCounter>(scope, uuid).as_deref().copied().unwrap_or_default();
    tx.put(scope, &key(uuid, counter.next), event(id(uuid, counter.next)));
    counter.next += 1;
    while counter.next - counter.first > EVENTS_MAX {
        tx.delete::<Event>(scope, &key(uuid, counter.first));
        counter.first += 1;
    }
    tx.put(scope, uuid, counter);
}

/// The stack has come to the status that it has now.
pub fn of_stack(tx: &mut Txn, scope: &Scope, uuid: &str, stack: &Stack, now: Timestamp) {
    add(tx, scope, uuid, |id| Event {
        id,
        logical_id: stack.name.clone(),
        physical_id: stack.arn.clone(),
        kind: STACK_TYPE.into(),
        status: stack.status.text().into(),
        reason: stack.reason.clone(),
        properties: None,
        token: stack.token.clone(),
        time: now,
    });
}

/// What an event of a resource says besides the resource.
pub struct Said<'a> {
    pub status: &'static str,
    pub reason: Option<&'a str>,
    pub physical_id: &'a str,
    pub properties: Option<String>,
}

pub fn of_resource(tx: &mut Txn, scope: &Scope, stack: &Stack, resource: &Resource, said: &Said, now: Timestamp) {
    add(tx, scope, &resource.stack, |id| Event {
        id: format!("{}-{id}", resource.logical_id),
        logical_id: resource.logical_id.clone(),
        physical_id: said.physical_id.into(),
        kind: resource.kind.clone(),
        status: said.status.into(),
        reason: said.reason.map(str::to_owned),
        properties: said.properties.clone(),
        token: stack.token.clone(),
        time: now,
    });
}

/// The properties as events show them: not at all when a parameter's value must not be seen.
pub fn properties(stack: &Stack, spec: &super::model::Spec) -> Option<String> {
    let shown = !stack.target.has_secrets();
    shown.then(|| serde_json::Value::from(spec.evaluated.properties.clone()).to_string())
}

/// What is left of something that goes.
pub fn of_doomed(
    tx: &mut Txn,
    scope: &Scope,
    stack: &Stack,
    resource: &Resource,
    gone: &Deployed,
    (status, reason): (&'static str, Option<&str>),
    now: Timestamp,
) {
    let properties = properties(stack, &gone.spec);
    let said = Said { status, reason, physical_id: &gone.physical_id, properties };
    of_resource(tx, scope, stack, resource, &said, now);
}

/// Drops all events of a stack.
pub fn drop_all(tx: &mut Txn, scope: &Scope, uuid: &str) {
    let Some(counter) = tx.get::<EventCounter>(scope, uuid).as_deref().copied() else { return };
    (counter.first..counter.next).for_each(|number| tx.delete::<Event>(scope, &key(uuid, number)));
    tx.delete::<EventCounter>(scope, uuid);
}

/// The newest first. A token is the number of the last event of the page before, so that events that happen in between
/// shift nothing.
pub async fn describe(cx: Cx, input: api::DescribeStackEventsInput) -> Result<api::DescribeStackEventsOutput> {
    let number = |token: String| {
        token.parse::<u64>().map_err(|_| Error::client("ValidationError", format!("The token '{token}' is not valid.")))
    };
    let before = input.next_token.map(number).transpose()?;
    cx.view(|view| {
        let scope = cx.scope();
        let (uuid, stack) = stacks::find(view, scope, &input.stack_name)?;
        let counter = view.get::<EventCounter>(scope, &uuid).as_deref().copied().unwrap_or_default();
        let end = before.unwrap_or(counter.next).clamp(counter.first, counter.next);
        let start = end.saturating_sub(PAGE_MAX).max(counter.first);
        let events = (start..end).rev().filter_map(|number| view.get::<Event>(scope, &key(&uuid, number)));
        let shapes = events.map(|event| shape(&stack, &event)).collect();
        let next_token = (start > counter.first).then(|| start.to_string());
        Ok(api::DescribeStackEventsOutput { stack_events: Some(shapes), next_token })
    })
}

fn shape(stack: &Stack, event: &Event) -> api::StackEvent {
    api::StackEvent {
        stack_id: stack.arn.clone(),
        event_id: event.id.clone(),
        stack_name: stack.name.clone(),
        logical_resource_id: Some(event.logical_id.clone()),
        physical_resource_id: Some(event.physical_id.clone()),
        resource_type: Some(event.kind.clone()),
        timestamp: event.time,
        resource_status: Some(event.status.clone()),
        resource_status_reason: event.reason.clone(),
        resource_properties: event.properties.clone(),
        client_request_token: event.token.clone(),
        ..Default::default()
    }
}
