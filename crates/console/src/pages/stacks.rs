//! Stacks with their resources and events.

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::cloudformation as api;
use standfast_core::Result;

use crate::Page;
use crate::html::{self as ui, Live};

/// How many events a stack's page shows.
const EVENTS_MAX: usize = 60;

/// The resources that have pages, the page, and whether its name is the end of an ARN.
const PAGES: [(&str, &str); 4] = [
    ("AWS::AutoScaling::AutoScalingGroup", "groups"),
    ("AWS::ElasticLoadBalancingV2::LoadBalancer", "balancers"),
    ("AWS::EC2::Instance", "instances"),
    ("AWS::CloudWatch::Alarm", "alarms"),
];

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let stacks =
        page.cx.call(api::DescribeStacks, api::DescribeStacksInput::default()).await?.stacks.unwrap_or_default();
    let row = |stack: &api::Stack| {
        html! {
            td { (ui::link("stacks", &stack.stack_name)) }
            td { (ui::state(&stack.stack_status)) }
            td { (ui::date(stack.creation_time)) }
            td.wide { (stack.description.as_deref().unwrap_or_default()) }
        }
    };
    let content = html! {
        h1 { "Stacks" }
        @if stacks.is_empty() { (ui::empty("No stack is deployed in this region.", &ui::BEGIN)) }
        @else { (ui::table("Stacks", &["Stack", "Status", "Made", "Description"], stacks.iter().map(row))) }
    };
    Ok(ui::shell(page, Live::Yes, "Stacks", content))
}

pub async fn one(page: &Page<'_>, name: &str) -> Result<Response<Bytes>> {
    let input = api::DescribeStacksInput { stack_name: Some(name.into()), ..Default::default() };
    let stack =
        page.cx.call(api::DescribeStacks, input).await.ok().and_then(|answer| answer.stacks?.into_iter().next());
    let Some(stack) = stack else { return Ok(ui::missing(page, "stack", name)) };
    let input = api::DescribeStackResourcesInput { stack_name: Some(name.into()), ..Default::default() };
    let resources = page.cx.call(api::DescribeStackResources, input).await?.stack_resources.unwrap_or_default();
    let input = api::DescribeStackEventsInput { stack_name: name.into(), ..Default::default() };
    let events = page.cx.call(api::DescribeStackEvents, input).await?.stack_events.unwrap_or_default();
    let heads = ["Resource", "Kind", "Status", "Physical id"];
    let content = html! {
        h1 { (stack.stack_name) }
        (ui::facts(&[
            ("Status", html! { (ui::state(&stack.stack_status)) " " (stack.stack_status_reason.as_deref().unwrap_or_default()) }),
            ("Made", ui::date(stack.creation_time)),
            ("Updated", ui::maybe_date(stack.last_updated_time)),
            ("Description", html! { (stack.description.as_deref().unwrap_or("–")) }),
        ]))
        @if let Some(outputs) = stack.outputs.as_ref().filter(|outputs| !outputs.is_empty()) {
            h2 { "Outputs" }
            (ui::table("Outputs", &["Output", "Value"], outputs.iter().map(|one| output(one, page.cx.cloud().api_port()))))
        }
        h2 { "Resources" }
        (ui::history("Resources", &heads, resources.iter().map(resource)))
        h2 { "Events" }
        (ui::history("Events", &["Time", "Resource", "Status", "Reason"], events.iter().take(EVENTS_MAX).map(event)))
    };
    Ok(ui::shell(page, Live::Yes, &stack.stack_name, content))
}

fn output(output: &api::Output, port: u16) -> Markup {
    let value = output.output_value.as_deref().unwrap_or_default();
    // Only what a browser opens harmlessly is a link; an output may say anything.
    let is_link = value.starts_with("http://") || value.starts_with("https://");
    html! {
        td { (output.output_key.as_deref().unwrap_or_default()) }
        td.wide.mono { @if is_link { a href=(reached(value, port)) rel="noreferrer" { (value) } } @else { (value) } }
    }
}

/// The URL as this machine reaches it: a load balancer's name answers at the API's port.
fn reached(url: &str, port: u16) -> String {
    const NAME: &str = ".elb.localhost";
    match url.split_once(NAME) {
        Some((front, rest)) if !rest.starts_with(':') => format!("{front}{NAME}:{port}{rest}"),
        _ => url.to_owned(),
    }
}

fn resource(resource: &api::StackResource) -> Markup {
    let id = resource.physical_resource_id.as_deref().unwrap_or_default();
    let page = PAGES.iter().find(|(kind, _)| *kind == resource.resource_type).map(|(_, page)| *page);
    // A load balancer is named by its ARN: loadbalancer/app/NAME/ID.
    let name = if page == Some("balancers") { id.rsplit('/').nth(1).unwrap_or(id) } else { id };
    html! {
        td { (resource.logical_resource_id) }
        td { (resource.resource_type) }
        td {
            (ui::state(&resource.resource_status))
            @if let Some(reason) = &resource.resource_status_reason { div.soft { (reason) } }
        }
        td.wide.mono { @if let Some(page) = page { a href=(ui::path(page, name)) { (id) } } @else { (id) } }
    }
}

fn event(event: &api::StackEvent) -> Markup {
    html! {
        td { (ui::time(event.timestamp)) }
        td { (event.logical_resource_id.as_deref().unwrap_or_default()) }
        td { (ui::state(event.resource_status.as_deref().unwrap_or_default())) }
        td.wide { (event.resource_status_reason.as_deref().unwrap_or_default()) }
    }
}
