//! The map: a region's zones side by side, what runs in them, and where requests go.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::fis;
use standfast_chart::{Chart, Tone, Unit};
use standfast_core::place::REGIONS;
use standfast_core::{Result, Timestamp};
use standfast_gameday::report::words;

use super::{availability, balancers, bus};
use crate::Page;
use crate::estate::{self, Balancer, Estate, Machine, Zone};
use crate::harm::{self, Harm};
use crate::html::{self as ui, Live, Mood};
use crate::metrics;
use crate::rates::Of;

/// How many events the map shows.
const EVENTS_MAX: usize = 8;
/// The widest and the thinnest line of traffic, in pixels.
const LINE: (f64, f64) = (2.0, 14.0);
/// Within which load balancers told of a minute.
const TIMES: Duration = Duration::from_secs(180);

pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let harm = Harm::read(&page.cx, &estate).await?;
    let others = others(page).await?;
    let content = html! {
        div.head { h1 { (page.asked.region) } }
        @if !others.is_empty() {
            ul.regions aria-label="Other regions with instances" {
                @for (region, count) in &others { li { a.button href={ "?region=" (region) } { (words::plural(*count, "instance")) " in " (region) } } }
            }
        }
        (troubles(&estate))
        @if estate.machines.is_empty() && estate.balancers.is_empty() && estate.groups.is_empty() {
            (ui::empty("Nothing runs in this region yet.", &ui::BEGIN))
        }
        (availability::strip(page).await?)
        (front(page, &estate).await?)
        div.field { (zones(page, &estate, &harm)) (links(&estate, &harm)) }
        @if !estate.balancers.is_empty() { (charts(page, &estate)) }
        (bus::latest(page, EVENTS_MAX))
    };
    Ok(ui::shell(page, Live::Yes, &format!("Map of {}", page.asked.region), content))
}

/// Other regions in which instances run, and how many.
async fn others(page: &Page<'_>) -> Result<Vec<(&'static str, usize)>> {
    let mut out = Vec::new();
    for region in REGIONS.iter().filter(|region| region.name != page.asked.region) {
        let scope = standfast_core::Scope::new(page.cx.account(), region.name);
        let machines = estate::machines(&page.cx.at(&scope)).await?;
        let running = machines.iter().filter(|machine| machine.is_running()).count();
        if running > 0 {
            out.push((region.name, running));
        }
    }
    Ok(out)
}

/// What is broken on purpose, with the way to end it.
pub fn troubles(estate: &Estate) -> Markup {
    html! {
        @if !estate.troubles.is_empty() {
            section.trouble aria-label="Broken on purpose" {
                h2 { "Broken on purpose" }
                ul {
                    @for experiment in &estate.troubles { (trouble(experiment)) }
                }
            }
        }
    }
}

fn trouble(experiment: &fis::Experiment) -> Markup {
    let id = experiment.id.as_deref().unwrap_or_default();
    html! {
        @for (name, action) in experiment.actions.iter().flatten() {
            li {
                @match harm::says(action) {
                    Some(says) => { strong { (says) } }
                    None => {
                        span.mono { (action.action_id.as_deref().unwrap_or(name)) }
                        @for (parameter, value) in action.parameters.iter().flatten() {
                            span { span.soft { (spaced(parameter)) } " " (value) }
                        }
                    }
                }
                @if let Some(start) = action.start_time { span.soft { "since " (ui::time(start)) } }
                span.end { span.mono { (ui::link("experiments", id)) } (ui::ask("stop-experiment", "id", id, "Stop…")) }
            }
        }
    }
}

/// The chart of this machine's time with the times in which something was broken.
pub fn shaded(chart: Chart, page: &Page, estate: &Estate) -> Chart {
    // At another speed the cloud's times are not those of requests.
    if page.cx.clock().speed() == 1.0 { shaded_by_the_cloud(chart, page, estate) } else { chart }
}

/// The same of a chart of the cloud's time.
pub fn shaded_by_the_cloud(chart: Chart, page: &Page, estate: &Estate) -> Chart {
    let experiments = estate.troubles.iter().chain(&estate.past);
    let actions = experiments.flat_map(|experiment| experiment.actions.iter().flatten());
    let broken = actions.filter_map(|(name, action)| {
        let label = harm::says(action).unwrap_or_else(|| name.clone());
        Some((action.start_time?, action.end_time.unwrap_or(page.cx.now()), label))
    });
    merged(broken.collect()).into_iter().fold(chart, |chart, (from, to, labels)| {
        let label = match labels.as_slice() {
            [label] => label.clone(),
            labels => format!("{} faults", labels.len()),
        };
        chart.band(label, from, to, Tone::Bad)
    })
}

type Broken = (Timestamp, Timestamp, String);

/// Times that overlap as one, with the labels of all.
fn merged(mut times: Vec<Broken>) -> Vec<(Timestamp, Timestamp, Vec<String>)> {
    times.sort();
    let mut out: Vec<(Timestamp, Timestamp, Vec<String>)> = Vec::new();
    for (from, to, label) in times {
        match out.last_mut() {
            Some((_, end, labels)) if from <= *end => {
                *end = to.max(*end);
                if !labels.contains(&label) {
                    labels.push(label);
                }
            }
            _ => out.push((from, to, vec![label])),
        }
    }
    out
}

/// `lossPercent` as people write it.
fn spaced(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            out.push(' ');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// The load balancers, and lines from them to the zones.
async fn front(page: &Page<'_>, estate: &Estate) -> Result<Markup> {
    let mut cards = Vec::new();
    for balancer in &estate.balancers {
        let (now, dimension) = (page.cx.now(), &balancer.dimension);
        let times = metrics::target_times(&page.cx, dimension, now - TIMES, now).await?;
        cards.push(card(page, balancer, balancers::last_minute(now, &times)));
    }
    Ok(html! {
        @if !estate.balancers.is_empty() {
            section.front aria-label="Load balancers" { @for card in cards { (card) } }
            (flow(page, estate))
        }
    })
}

fn card(page: &Page, balancer: &Balancer, times: Option<(f64, f64)>) -> Markup {
    let rate = page.rates.now(Of { balancer: Some(&balancer.dimension), ..Of::default() });
    let targets: usize = balancer.groups.iter().map(|group| group.targets.len()).sum();
    let healthy: usize = balancer.groups.iter().map(crate::estate::TargetGroup::healthy).sum();
    html! {
        div.card {
            div.head {
                span.name { (ui::link("balancers", &balancer.name)) } (ui::state(&balancer.state))
                span.soft { (balancer.zones_up().len()) " of " (balancer.zones.len()) " nodes up" }
            }
            div.figures {
                span { b { (ui::per_second(rate.answers)) } " answers" }
                span { b { (ui::per_second(rate.errors)) } " errors" }
                @if let Some((p50, p99)) = times {
                    span { b { (Unit::Milliseconds.text(p50)) } " p50" }
                    span { b { (Unit::Milliseconds.text(p99)) } " p99" }
                } @else if let Some(latency) = rate.latency_ms {
                    span { b { (Unit::Milliseconds.text(latency)) } " mean" }
                }
                span { b { (healthy) " of " (targets) } " targets healthy" }
            }
        }
    }
}

/// Where requests go from the load balancers: a line to each zone where they have something, as wide as its share of what
/// targets get.
fn flow(page: &Page, estate: &Estate) -> Markup {
    let to = |zone: &Zone| page.rates.now(Of { group: Some(None), zone: Some(&zone.name), ..Of::default() }).requests;
    let rates: Vec<f64> = estate.zones.iter().map(to).collect();
    let (total, count) = (rates.iter().sum::<f64>(), rates.len() as f64);
    let reached = |zone: &Zone| estate.balancers.iter().any(|balancer| balancer.reaches(&zone.name));
    let all = estate.zones.iter().zip(&rates).enumerate();
    let lines = all.filter(|(_, (zone, rate))| **rate > 0.0 || reached(zone)).map(|(at, (zone, rate))| {
        let x = 600.0 * (at as f64 + 0.5) / count;
        let width = if total > 0.0 { LINE.0 + (LINE.1 - LINE.0) * rate / total } else { LINE.0 };
        let class = match (zone.dark.is_some(), *rate > 0.0) {
            (true, _) => "cut",
            (false, true) => "going",
            (false, false) => "none",
        };
        (format!("M300 0C300 26 {x:.0} 20 {x:.0} 46"), format!("{width:.1}"), class)
    });
    html! {
        svg.flow viewBox="0 0 600 46" preserveAspectRatio="none" aria-hidden="true" {
            @for (path, width, class) in lines {
                path d=(path) stroke-width=(width) class=(class) vector-effect="non-scaling-stroke" {}
            }
        }
    }
}

/// Lines between zones whose links are worse than they should be, each over the zones that it goes past.
fn links(estate: &Estate, harm: &Harm) -> Markup {
    let place = |name: &String| estate.zones.iter().position(|zone| zone.name == *name).map_or(1, |at| at + 1);
    html! {
        @if !harm.links.is_empty() {
            ul class={ "links zones-" (columns(estate)) } aria-label="Links between zones that are impaired" {
                @for ((one, other), says) in &harm.links {
                    li class={ "from-" (place(one)) " to-" (place(other)) " past-" (place(other).abs_diff(place(one))) } {
                        span { b { (one) " ↔ " (other) } " " (says.join("; ")) }
                    }
                }
            }
        }
    }
}

fn columns(estate: &Estate) -> usize {
    estate.zones.len().clamp(1, 6)
}

fn zones(page: &Page, estate: &Estate, harm: &Harm) -> Markup {
    html! {
        div class={ "zones zones-" (columns(estate)) } {
            @for zone in &estate.zones { (column(page, estate, harm, zone)) }
        }
    }
}

fn column(page: &Page, estate: &Estate, harm: &Harm, zone: &Zone) -> Markup {
    let is_dark = zone.dark.is_some();
    let taken = page.rates.now(Of { zone: Some(&zone.name), ..Of::default() });
    let sent = page.rates.now(Of { group: Some(None), zone: Some(&zone.name), ..Of::default() });
    let here = |machine: &&Machine| machine.zone == zone.name && machine.state != "terminated";
    let machines: Vec<&Machine> = estate.machines.iter().filter(here).collect();
    let nodes: Vec<&Balancer> = estate.balancers.iter().filter(|one| one.zones.contains(&zone.name)).collect();
    html! {
        section class={ "zone" @if is_dark { " dark" } } aria-labelledby=(zone.name) {
            div.head {
                h2 id=(zone.name) { (zone.name) } span.soft { (zone.id) }
                @if is_dark { (ui::mood(Mood::Bad, "dark")) } @else { (ui::mood(Mood::Good, "power")) }
                span.buttons {
                    @if is_dark { (ui::ask("heal-zone", "zone", &zone.name, "Heal…")) }
                    @else { (ui::ask("break-zone", "zone", &zone.name, "Break…")) }
                }
            }
            @for says in harm.zones.get(&zone.name).into_iter().flatten() { p.harm { (ui::mood(Mood::Bad, says)) } }
            @if !estate.balancers.is_empty() {
                div.figures {
                    span { b { (ui::per_second(taken.answers)) } " through its nodes" }
                    span { b { (ui::per_second(sent.requests)) } " to its targets" }
                }
            }
            @if !nodes.is_empty() {
                h3 { "Load balancer nodes" }
                ul.chips { @for balancer in nodes { li { (node(page, balancer, &zone.name)) } } }
            }
            @for group in &estate.groups {
                @let mine: Vec<_> = machines.iter().filter(|one| one.group.as_ref() == Some(&group.auto_scaling_group_name)).collect();
                @if !mine.is_empty() {
                    h3 { (ui::link("groups", &group.auto_scaling_group_name)) " · " (mine.len()) }
                    ul.chips { @for machine in mine { li { (chip(estate, harm, machine)) } } }
                }
            }
            @let alone: Vec<_> = machines.iter().filter(|one| one.group.is_none()).collect();
            @if !alone.is_empty() {
                h3 { "In no group" }
                ul.chips { @for machine in alone { li { (chip(estate, harm, machine)) } } }
            }
            @if machines.is_empty() { p.soft { "No instances." } }
        }
    }
}

fn node(page: &Page, balancer: &Balancer, zone: &str) -> Markup {
    let rate = page.rates.now(Of { balancer: Some(&balancer.dimension), group: None, zone: Some(zone) });
    html! {
        a href=(ui::path("balancers", &balancer.name)) {
            span { (balancer.name) }
            @if balancer.is_up(zone) { span { (ui::per_second(rate.answers)) " " (ui::state("up")) } }
            @else { (ui::state("down")) }
        }
    }
}

/// An instance in a word: what it is doing, or what load balancers think of it while it runs.
pub fn condition(estate: &Estate, machine: &Machine) -> String {
    let health = estate.health(&machine.id);
    let worst = health.iter().find(|(_, target)| target.state != "healthy").or(health.first());
    match worst {
        Some((_, target)) if machine.is_running() => target.state.clone(),
        _ => machine.state.clone(),
    }
}

fn chip(estate: &Estate, harm: &Harm, machine: &Machine) -> Markup {
    html! {
        a href=(ui::path("instances", &machine.id)) {
            span.mono { (machine.id) } (ui::state(&condition(estate, machine)))
            @for says in harm.instances.get(&machine.id).into_iter().flatten() { (ui::mood(Mood::Bad, says)) }
        }
    }
}

fn charts(page: &Page, estate: &Estate) -> Markup {
    let history = page.rates.history(Of::default());
    let now = page.cx.clock().machine_now();
    let from = now - Duration::from_secs(crate::rates::STEPS_MAX as u64);
    let chart = |title, unit| shaded(Chart::new(title, unit, from, now), page, estate);
    let requests = chart("Answers of all load balancers", Unit::PerSecond)
        .line("answers", history.iter().map(|(at, rate)| (*at, Some(rate.answers))))
        .bad_line("errors", history.iter().map(|(at, rate)| (*at, Some(rate.errors))));
    let latency = chart("Mean time of targets", Unit::Milliseconds)
        .line("mean", history.iter().map(|(at, rate)| (*at, rate.latency_ms)));
    html! {
        h2 { "The last five minutes" }
        div.grid { (ui::chart(&requests)) (ui::chart(&latency)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_at_the_same_time_are_one_band() {
        let broken = |from: i64, to: i64, label: &str| (Timestamp(from), Timestamp(to), label.to_owned());
        let merged = merged(vec![broken(5, 9, "b"), broken(1, 6, "a"), broken(8, 9, "a"), broken(20, 30, "c")]);
        let bands: Vec<_> = merged.iter().map(|(from, to, labels)| (from.0, to.0, labels.join(" "))).collect();
        assert_eq!(bands, [(1, 9, "a b".to_owned()), (20, 30, "c".to_owned())]);
    }
}
