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
/// Details are cut off here; all of them are in `standfast events`.
const DETAIL_MAX: usize = 300;

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
            (ui::table("Events", &["Time", "Source", "What", "Resources", "Detail"], events.iter().map(row)))
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
            (ui::table("What happened last", &["Time", "What", "About", "State"], events.iter().map(brief)))
        }
    }
}

fn newest(page: &Page, most: usize) -> Vec<Json> {
    let all = (page.sources.events)(page.cx.cloud(), &page.asked.region, "");
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().rev().take(most).map(|seen| seen["Event"].clone()).collect()
}

fn row(event: &Json) -> Markup {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let resources = event["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let detail: String = event["detail"].to_string().chars().take(DETAIL_MAX).collect();
    html! {
        td { (clock(&text("time"))) }
        td { (text("source")) }
        td { (text("detail-type")) }
        td { @for resource in resources { div.mono { (short(resource.as_str().unwrap_or_default())) } } }
        td.wide.mono.soft { (detail) }
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
        td { (event["detail-type"].as_str().unwrap_or_default()) }
        td.mono { @for resource in resources { div { (short(resource.as_str().unwrap_or_default())) } } }
        td { @if let Some(state) = state { (ui::state(state)) } }
    }
}

/// The end of an ARN, which is what tells resources apart; a group's is long enough without its id.
fn short(arn: &str) -> &str {
    let end = if arn.starts_with("arn:") { arn.splitn(6, ':').nth(5).unwrap_or(arn) } else { arn };
    end.split_once("autoScalingGroupName/").map_or(end, |(_, name)| name)
}

fn clock(time: &str) -> Markup {
    match time.parse() {
        Ok(at) => ui::time(at),
        Err(_) => html! { (time) },
    }
}
