//! Instances, and what each says.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::ec2;
use standfast_chart::{Chart, Unit};
use standfast_core::Result;

use super::alarms;
use super::map::condition;
use crate::Page;
use crate::estate::{Estate, Machine};
use crate::html::{self as ui, Live};
use crate::metrics::{self, Wanted};

/// The end of the console output that is shown.
const CONSOLE_BYTES_MAX: usize = 16 * 1024;
/// How far back metrics are shown.
const METRICS: Duration = Duration::from_secs(3600);

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let row = |machine: &Machine| {
        html! {
            td.mono { (ui::link("instances", &machine.id)) }
            td { (machine.name.as_deref().unwrap_or("–")) }
            td { (ui::state(&machine.state)) }
            td { @for (_, target) in estate.health(&machine.id) { (ui::state(&target.state)) " " } }
            td { (machine.zone) }
            td { (machine.kind) @if machine.spot { " spot" } }
            td.mono { (machine.private_ip.as_deref().unwrap_or("–")) }
            td { @if let Some(group) = &machine.group { (ui::link("groups", group)) } @else { "–" } }
        }
    };
    let heads = ["Instance", "Name", "State", "Target health", "Zone", "Type", "Address", "Group"];
    let content = html! {
        h1 { "Instances" }
        @if estate.machines.is_empty() { (ui::empty("There is no instance in this region.", &ui::BEGIN)) }
        @else { (ui::table("Instances", &heads, estate.machines.iter().map(row))) }
    };
    Ok(ui::shell(page, Live::Yes, "Instances", content))
}

pub async fn one(page: &Page<'_>, id: &str) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let Some(machine) = estate.machine(id) else { return Ok(ui::missing(page, "instance", id)) };
    let said = console(page, id).await;
    let content = html! {
        div.head {
            h1.mono { (id) } (ui::state(&condition(&estate, machine)))
            @if machine.is_running() {
                span.buttons {
                    (ui::ask("kill-instance", "id", id, "Kill…")) (ui::ask("terminate-instance", "id", id, "Terminate…"))
                }
            }
        }
        (summary(&estate, machine))
        @if !estate.health(id).is_empty() { h2 { "Target health" } (health(&estate, id)) }
        h2 { "The last hour" }
        (charts(page, machine).await?)
        (alarms::of(page, "InstanceId", id).await?)
        h2 { "Console output" }
        @if said.is_empty() { p.soft { "It has said nothing yet." } }
        @else { pre.console tabindex="0" aria-label="Console output" { (said) } }
        p.soft { "Inside: " code { "standfast exec " (id) " -- sh" } }
    };
    Ok(ui::shell(page, Live::Yes, id, content))
}

fn summary(estate: &Estate, machine: &Machine) -> Markup {
    ui::facts(&[
        (
            "State",
            html! {
                (ui::state(&machine.state))
                @if let Some(reason) = &machine.reason { div.soft { (reason) } }
            },
        ),
        ("Name", html! { (machine.name.as_deref().unwrap_or("–")) }),
        (
            "Zone",
            html! { (machine.zone) @if estate.is_dark(&machine.zone) { " " (ui::mood(ui::Mood::Bad, "no power")) } },
        ),
        ("Type", html! { (machine.kind) @if machine.spot { " spot" } }),
        (
            "Addresses",
            html! {
                span.mono { (machine.private_ip.as_deref().unwrap_or("–")) }
                @if let Some(public) = &machine.public_ip { " and " span.mono { (public) } }
            },
        ),
        ("Group", html! { @if let Some(group) = &machine.group { (ui::link("groups", group)) } @else { "none" } }),
        ("Launched", ui::maybe_date(machine.launched)),
    ])
}

fn health(estate: &Estate, id: &str) -> Markup {
    let rows = estate.health(id);
    ui::table(
        "Target health",
        &["Target group", "Port", "Health"],
        rows.into_iter().map(|(group, target)| {
            html! {
                td { (group.name) } td { (target.port) }
                td {
                    (ui::state(&target.state)) " " (target.reason.as_deref().unwrap_or_default())
                    @if let Some(description) = &target.description { div.soft { (description) } }
                }
            }
        }),
    )
}

/// The end of what it printed. What cannot be had is nothing to fail a page for.
async fn console(page: &Page<'_>, id: &str) -> String {
    let input = ec2::GetConsoleOutputInput { instance_id: id.into(), latest: Some(true), ..Default::default() };
    let answer = page.cx.call(ec2::GetConsoleOutput, input).await;
    let encoded = answer.ok().and_then(|answer| answer.output).unwrap_or_default();
    let said = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap_or_default();
    let from = said.len().saturating_sub(CONSOLE_BYTES_MAX);
    let text = String::from_utf8_lossy(&said[from..]);
    // Terminals' colours and the like would only be noise here.
    text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t')).collect()
}

async fn charts(page: &Page<'_>, machine: &Machine) -> Result<Markup> {
    let (now, period_s) = (page.cx.now(), if machine.monitored { 60 } else { 300 });
    let dimensions = [("InstanceId", machine.id.as_str())];
    let wanted = ["CPUUtilization", "NetworkIn", "NetworkOut"].map(|name| Wanted {
        namespace: "AWS/EC2",
        name,
        dimensions: &dimensions,
        stat: "Average",
        period_s,
    });
    let from = now - METRICS;
    let mut points = metrics::read(&page.cx, &wanted, from, now).await?.into_iter();
    let mut next = || points.next().unwrap_or_default();
    let cpu = Chart::new("Processor", Unit::Percent, from, now).showing(0.0, 100.0).line("average", next());
    let network = Chart::new("Network", Unit::Bytes, from, now).line("in", next()).line("out", next());
    Ok(html! { div.grid { (ui::chart(&cpu)) (ui::chart(&network)) } })
}
