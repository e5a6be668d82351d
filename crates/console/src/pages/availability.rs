//! How available the site is: what probes saw, and what load balancers answered.
//!
//! Load balancers do not see whom they could not answer at all; probes do. The page says so.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_chart::{Chart, Unit};
use standfast_core::{Result, Timestamp};
use standfast_gameday::report::words;

use super::map;
use crate::Page;
use crate::estate::{Balancer, Estate};
use crate::html::{self as ui, Live, Mood};
use crate::probes::{self, Seen};
use crate::rates::{Of, STEPS_MAX};

/// The page's path, to which the map's strip leads.
pub const PATH: &str = "availability";

pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let seen = probes::all(&page.cx).await?;
    let mut cards = Vec::new();
    for one in &seen {
        cards.push(card(page, &estate, one).await?);
    }
    let content = html! {
        h1 { "Availability" }
        (map::troubles(&estate))
        h2 { "What users see" }
        @if seen.is_empty() {
            (ui::empty("No probe has run in this region in the last three hours. A probe sends requests at a fixed rate, \
                        and counts those too that nobody answers.", &[
                ("standfast probe http://NAME/", "sends them; a load balancer's NAME is among its stack's outputs."),
                ("standfast game-day run FILE", "breaks a stack while its probes send, and writes a report."),
            ]))
        } @else {
            @for card in cards { (card) }
            p.soft {
                "Probes count requests that were due, answered or not. Each tells what it saw as metrics in the namespace "
                code { "Standfast/Probes" } ", which alarms and experiments' stop conditions can watch."
            }
        }
        h2 { "What load balancers answered" }
        @if estate.balancers.is_empty() { (ui::empty("There is no load balancer in this region.", &ui::BEGIN)) }
        @else {
            p.soft { "The last five minutes. Who found no load balancer at all is not counted here; an answer of 500 or more is an error." }
            div.grid { @for balancer in &estate.balancers { (balancer_card(page, balancer)) } }
        }
    };
    Ok(ui::shell(page, Live::Yes, "Availability", content))
}

/// What is live, in a line each; for the map.
pub async fn strip(page: &Page<'_>) -> Result<Markup> {
    let live = probes::live(&page.cx).await?;
    Ok(html! {
        @if !live.is_empty() {
            section.card.strip aria-label="What users see" {
                @for seen in &live {
                    div.probe {
                        a.name href=(ui::path(PATH, "")) { (name(seen)) }
                        (state(page, seen))
                        span { b { (words::percent(ratio(seen))) } " available" }
                        span { b { (words::how_many_nines(seen.failed, seen.requests)) } " nines" }
                        span { b { (ui::per_second(seen.now.requests_per_second)) } " requests" }
                        @if let Some(p99) = seen.p99_ms { span { b { (Unit::Milliseconds.text(p99)) } " p99" } }
                        @if seen.longest_outage_ms > 0.0 {
                            span { b { (words::time(seen.longest_outage_ms / 1000.0)) } " longest outage" }
                        }
                    }
                }
            }
        }
    })
}

fn ratio(seen: &Seen) -> f64 {
    if seen.requests == 0 { 1.0 } else { (seen.requests - seen.failed) as f64 / seen.requests as f64 }
}

/// Its name, of which a URL need not say all.
fn name(seen: &Seen) -> &str {
    seen.name.strip_prefix("http://").unwrap_or(&seen.name).trim_end_matches('/')
}

/// How it is for users now.
fn state(page: &Page, seen: &Seen) -> Markup {
    let now = seen.now;
    if !seen.is_live {
        let ago = page.cx.now().since(seen.to);
        return ui::mood(Mood::Off, &format!("ended {} ago", words::time(ago.as_secs_f64())));
    }
    if now.failed_per_second > 0.0 {
        let share = now.failed_per_second / now.requests_per_second.max(now.failed_per_second);
        return ui::mood(Mood::Bad, &format!("{} fail", words::percent((share * 100.0).round() / 100.0)));
    }
    match (now.requests_per_second > 0.0, now.waiting) {
        (false, 1..) => ui::mood(Mood::Busy, &format!("{} wait for an answer", words::count(now.waiting))),
        _ => ui::mood(Mood::Good, "live"),
    }
}

async fn card(page: &Page<'_>, estate: &Estate, seen: &Seen) -> Result<Markup> {
    let lines = seen.lines(&page.cx).await?;
    let (from, to) = seen.shown(&lines);
    // To the second where the charts show it, else to the minute.
    let began = if from.since(seen.from) < Duration::from_secs(60) { from } else { seen.from };
    let chart = |title, unit| map::shaded_by_the_cloud(Chart::new(title, unit, from, to), page, estate);
    let requests = chart("Requests", Unit::PerSecond)
        .line("sent", lines.requests.iter().copied())
        .bad_line("failed", lines.failed.iter().copied());
    let latency = chart("Time until the answer", Unit::Milliseconds)
        .line("p50", lines.p50_ms.iter().copied())
        .line("p99", lines.p99_ms.iter().copied());
    let ms = |value: Option<f64>| value.map_or("–".to_owned(), |ms| Unit::Milliseconds.text(ms));
    Ok(html! {
        section.card.probe-card {
            div.head {
                h3 { (name(seen)) } (state(page, seen))
                @if let Some(stack) = &seen.stack { span.soft { "stack " (ui::link("stacks", stack)) } }
            }
            p.nines { (words::percent(ratio(seen))) }
            p { (words::nines(seen.failed, seen.requests)) }
            (ui::facts(&[
                ("Requests", html! { span.number { (words::count(seen.requests)) } }),
                ("Failed", html! { span.number { (words::count(seen.failed)) } }),
                ("Longest outage", html! { span.number { (words::time(seen.longest_outage_ms / 1000.0)) } }),
                ("p50 and p99 of five minutes", html! { span.number { (ms(seen.p50_ms)) " and " (ms(seen.p99_ms)) } }),
                ("Now", html! {
                    @if seen.is_live {
                        span.number { (ui::per_second(seen.now.requests_per_second)) }
                        @if seen.now.waiting > 0 { span.soft { ", " (words::count(seen.now.waiting)) " wait" } }
                    } @else { "–" }
                }),
                ("From and to", html! {
                    (ui::time(began)) " to " @if seen.is_live { "now" } @else { (ui::time(to)) }
                }),
            ]))
            div.grid { (ui::chart(&requests)) (ui::chart(&latency)) }
        }
    })
}

fn balancer_card(page: &Page, balancer: &Balancer) -> Markup {
    let of = Of { balancer: Some(&balancer.dimension), ..Of::default() };
    let (answers, errors, seconds) = page.rates.sum(of, STEPS_MAX);
    let history = page.rates.history(of);
    let now = page.cx.clock().machine_now();
    let from: Timestamp = now - Duration::from_secs(STEPS_MAX as u64);
    let share = |answers: f64, errors: f64| (answers > 0.0).then(|| 100.0 * (answers - errors) / answers);
    let chart = Chart::new("Answers that were no errors", Unit::Percent, from, now)
        .showing(100.0, 100.0)
        .line("each second", history.iter().map(|(at, rate)| (*at, share(rate.answers, rate.errors))));
    html! {
        section.card {
            h3 { (ui::link("balancers", &balancer.name)) }
            @if answers == 0 { p.nines { "no requests" } }
            @else {
                p.nines { (words::percent((answers - errors) as f64 / answers as f64)) }
                p { (words::nines(errors, answers)) }
                p.soft {
                    (words::count(answers)) " answers in " (words::time(seconds)) ", " (words::count(errors)) " of them errors"
                }
            }
            (ui::chart(&chart))
        }
    }
}
