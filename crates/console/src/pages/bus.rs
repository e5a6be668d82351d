//! What services told the event bus.

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use serde_json::Value as Json;
use standfast_core::Result;

use crate::Page;
use crate::html::{self as ui, Live};

/// How many events the page shows.
const SHOWN_MAX: usize = 200;
/// The pages about what events are of, by what the end of an ARN begins with.
const PAGES: [(&str, &str); 4] = [
    ("instance/", "instances"),
    ("autoScalingGroupName/", "groups"),
    ("experiment/", "experiments"),
    ("alarm:", "alarms"),
];

pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let events = newest(page, SHOWN_MAX);
    let content = html! {
        h1 { "Events" }
        @if events.is_empty() {
            (ui::empty("Nothing has happened in this region yet.", &[
                ui::BEGIN[0],
                ("standfast events", "prints events as they come, as JSON."),
            ]))
        } @else {
            p.soft { "The newest " (events.len()) " of what services told the event bus of " (page.asked.region) "." }
            (ui::history("Events", &["Time", "What", "About", "Detail"], events.iter().map(row)))
        }
    };
    Ok(ui::shell(page, Live::Yes, "Events", content))
}

/// The newest events for another page.
pub fn latest(page: &Page, most: usize) -> Markup {
    let events = newest(page, most);
    html! {
        @if !events.is_empty() {
            h2 { "What happened last" }
            (ui::history("What happened last", &["Time", "What", "About"], events.iter().map(brief)))
            p { a href=(ui::path("bus", "")) { "All events" } }
        }
    }
}

fn newest(page: &Page, most: usize) -> Vec<Json> {
    let all = (page.sources.events)(page.cx.cloud(), &page.asked.region, "");
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().rev().take(most).map(|seen| seen["Event"].clone()).collect()
}

fn row(event: &Json) -> Markup {
    html! {
        (brief(event))
        td.wide {
            details {
                summary { (event["source"].as_str().unwrap_or_default()) }
                pre.detail { (format!("{:#}", event["detail"])) }
            }
        }
    }
}

fn brief(event: &Json) -> Markup {
    let resources = event["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let detail = &event["detail"];
    // Services name it as they like.
    let states = [&detail["state"], &detail["state"]["value"], &detail["new-state"]["status"]];
    let state = states.into_iter().find_map(Json::as_str);
    html! {
        td { (clock(event["time"].as_str().unwrap_or_default())) }
        td {
            (event["detail-type"].as_str().unwrap_or_default())
            @if let Some(state) = state {
                " " @if detail["new-state"].is_object() { (ui::experiment_state(state)) } @else { (ui::state(state)) }
            }
        }
        td.mono { @for resource in resources { div { (about(resource.as_str().unwrap_or_default())) } } }
    }
}

/// The end of an ARN, which is what tells resources apart, as a link where there is a page about it.
pub fn about(arn: &str) -> Markup {
    let end = if arn.starts_with("arn:") { arn.splitn(6, ':').nth(5).unwrap_or(arn) } else { arn };
    let page = PAGES.iter().find_map(|(begin, page)| Some((*page, end.split_once(begin)?.1)));
    match page {
        Some((page, name)) => ui::link(page, name),
        None => html! { (end) },
    }
}

fn clock(time: &str) -> Markup {
    match time.parse() {
        Ok(at) => ui::time(at),
        Err(_) => html! { (time) },
    }
}
