//! Load balancers: who listens, where requests go, and how that is going.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::elbv2 as api;
use standfast_chart::{Chart, Points, Unit};
use standfast_core::{Result, Timestamp};

use super::alarms;
use crate::Page;
use crate::estate::{Balancer, Estate, Target, TargetGroup};
use crate::html::{self as ui, Live};
use crate::metrics;
use crate::rates::{Of, STEPS_MAX};

/// How far back the times of targets are shown by the minute.
const TIMES: Duration = Duration::from_secs(900);
/// The last minute that was told began no longer ago.
const LAST: Duration = Duration::from_secs(150);

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let row = |balancer: &Balancer| {
        let rate = page.rates.now(Of { balancer: Some(&balancer.dimension), ..Of::default() });
        html! {
            td { (ui::link("balancers", &balancer.name)) }
            td { (ui::state(&balancer.state)) }
            td { (balancer.zones_up().len()) " of " (balancer.zones.len()) }
            td { @for group in &balancer.groups { div { (group.healthy()) " of " (group.targets.len()) " in " (group.name) } } }
            td { (ui::per_second(rate.answers)) }
            td { (ui::per_second(rate.errors)) }
            td.wide.mono { (balancer.dns_name) }
        }
    };
    let heads = ["Load balancer", "State", "Nodes up", "Healthy targets", "Answers", "Errors", "Name"];
    let content = html! {
        h1 { "Load balancers" }
        @if estate.balancers.is_empty() { (ui::empty("There is no load balancer in this region.", &ui::BEGIN)) }
        @else { (ui::table("Load balancers", &heads, estate.balancers.iter().map(row))) }
    };
    Ok(ui::shell(page, Live::Yes, "Load balancers", content))
}

pub async fn one(page: &Page<'_>, name: &str) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let Some(balancer) = estate.balancers.iter().find(|balancer| balancer.name == name) else {
        return Ok(ui::missing(page, "load balancer", name));
    };
    let now = page.cx.now();
    let times = metrics::target_times(&page.cx, &balancer.dimension, now - TIMES, now).await?;
    let content = html! {
        div.head { h1 { (name) } (ui::state(&balancer.state)) }
        (summary(page, balancer, &times))
        (super::map::troubles(&estate))
        (charts(page, &estate, balancer, &times))
        h2 { "Nodes" }
        (nodes(page, &estate, balancer))
        @for group in &balancer.groups { (targets(page, balancer, group)) }
        h2 { "Listeners and rules" }
        (listeners(page, balancer).await?)
        (alarms::of(page, "LoadBalancer", &balancer.dimension).await?)
    };
    Ok(ui::shell(page, Live::Yes, name, content))
}

/// The end of the lines of p50 and p99, where they reach to now.
pub fn last_minute(now: Timestamp, (p50, p99): &(Points, Points)) -> Option<(f64, f64)> {
    let last = |points: &Points| points.last().filter(|(at, _)| *at + LAST > now).and_then(|(_, value)| *value);
    last(p50).zip(last(p99))
}

fn summary(page: &Page, balancer: &Balancer, times: &(Points, Points)) -> Markup {
    let rate = page.rates.now(Of { balancer: Some(&balancer.dimension), ..Of::default() });
    let port = page.cx.cloud().api_port();
    let url = format!("http://{}:{port}/", balancer.dns_name);
    ui::facts(&[
        ("Answers", html! { span.number { (ui::per_second(rate.answers)) } }),
        ("Errors", html! { span.number { (ui::per_second(rate.errors)) } }),
        (
            "Mean time of targets",
            html! {
                span.number { @if let Some(ms) = rate.latency_ms { (Unit::Milliseconds.text(ms)) } @else { "–" } }
            },
        ),
        (
            "p50 and p99",
            html! {
                @match last_minute(page.cx.now(), times) {
                    Some((p50, p99)) => {
                        span.number { (Unit::Milliseconds.text(p50)) " and " (Unit::Milliseconds.text(p99)) }
                    }
                    None => "–",
                }
            },
        ),
        ("Nodes up", html! { span.number { (balancer.zones_up().len()) } " of " (balancer.zones.len()) }),
        (
            "Address",
            html! { a.mono href=(url) rel="noreferrer" { (balancer.dns_name) } div.soft { (balancer.scheme) } },
        ),
    ])
}

fn charts(page: &Page, estate: &Estate, balancer: &Balancer, times: &(Points, Points)) -> Markup {
    let now = page.cx.clock().machine_now();
    let from = now - Duration::from_secs(STEPS_MAX as u64);
    let of = Of { balancer: Some(&balancer.dimension), ..Of::default() };
    let history = page.rates.history(of);
    let chart = |title, unit| super::map::shaded(Chart::new(title, unit, from, now), page, estate);
    let answers = chart("Answers", Unit::PerSecond)
        .line("all", history.iter().map(|(at, rate)| (*at, Some(rate.answers))))
        .bad_line("errors", history.iter().map(|(at, rate)| (*at, Some(rate.errors))));
    let latency = chart("Mean time of targets", Unit::Milliseconds)
        .line("mean", history.iter().map(|(at, rate)| (*at, rate.latency_ms)));
    let by_minute = super::map::shaded_by_the_cloud(
        Chart::new("Time of targets by the minute", Unit::Milliseconds, page.cx.now() - TIMES, page.cx.now()),
        page,
        estate,
    )
    .line("p50", times.0.iter().copied())
    .line("p99", times.1.iter().copied());
    let by_zone = page.rates.zones(Of { group: Some(None), ..of }).into_iter().fold(
        chart("Requests to targets by zone", Unit::PerSecond),
        |chart, zone| {
            let history = page.rates.history(Of { group: Some(None), zone: Some(&zone), ..of });
            let points: Vec<_> = history.into_iter().map(|(at, rate)| (at, Some(rate.requests))).collect();
            chart.line(zone, points)
        },
    );
    html! {
        div.grid {
            (ui::chart(&answers)) (ui::chart(&by_zone)) (ui::chart(&latency)) (ui::chart(&by_minute))
        }
    }
}

fn nodes(page: &Page, estate: &Estate, balancer: &Balancer) -> Markup {
    let row = |zone: &String| {
        let rate = page.rates.now(Of { balancer: Some(&balancer.dimension), group: None, zone: Some(zone) });
        let sockets = balancer.sockets.iter().filter(|((one, _), _)| one == zone);
        html! {
            td { (zone) }
            td {
                @if balancer.is_up(zone) { (ui::state("up")) } @else { (ui::state("down")) }
                @if estate.is_dark(zone) { " " span.soft { "its zone has no power" } }
            }
            td { (ui::per_second(rate.answers)) }
            td { (ui::per_second(rate.errors)) }
            td.mono {
                @for ((_, port), socket) in sockets { div { (port) " at " (socket) } }
                @if !balancer.is_up(zone) { "–" }
            }
        }
    };
    ui::table("Nodes", &["Zone", "Node", "Answers", "Errors", "Listens"], balancer.zones.iter().map(row))
}

fn targets(page: &Page, balancer: &Balancer, group: &TargetGroup) -> Markup {
    let shape = &group.shape;
    let of = Of { balancer: Some(&balancer.dimension), group: Some(Some(&group.dimension)), zone: None };
    let row = |target: &Target| {
        html! {
            td.mono { (ui::link("instances", &target.id)) }
            td { (target.port) }
            td { (target.zone) }
            td.wide {
                (ui::state(&target.state)) " " (target.reason.as_deref().unwrap_or_default())
                @if let Some(description) = &target.description { div.soft { (description) } }
            }
        }
    };
    html! {
        h2 { "Targets of " (group.name) }
        p.soft {
            (group.healthy()) " of " (group.targets.len()) " healthy, " (ui::per_second(page.rates.now(of).requests)) ". Checked at "
            code { (shape.health_check_path.as_deref().unwrap_or("/")) } " every "
            (shape.health_check_interval_seconds.unwrap_or_default()) " s; "
            (shape.unhealthy_threshold_count.unwrap_or_default()) " failures make one unhealthy, "
            (shape.healthy_threshold_count.unwrap_or_default()) " successes healthy."
        }
        @if group.targets.is_empty() { p.soft { "No target is registered." } }
        @else { (ui::table(&format!("Targets of {}", group.name), &["Target", "Port", "Zone", "Health"], group.targets.iter().map(row))) }
    }
}

async fn listeners(page: &Page<'_>, balancer: &Balancer) -> Result<Markup> {
    let input = api::DescribeListenersInput { load_balancer_arn: Some(balancer.arn.clone()), ..Default::default() };
    let listeners = page.cx.call(api::DescribeListeners, input).await?.listeners.unwrap_or_default();
    let mut rows = Vec::new();
    for listener in &listeners {
        let input = api::DescribeRulesInput { listener_arn: listener.listener_arn.clone(), ..Default::default() };
        let rules = page.cx.call(api::DescribeRules, input).await?.rules.unwrap_or_default();
        rows.extend(rules.iter().map(|rule| {
            html! {
                td { (listener.protocol.as_deref().unwrap_or_default()) " " (listener.port.unwrap_or_default()) }
                td { (rule.priority.as_deref().unwrap_or_default()) }
                td.wide {
                    @for condition in rule.conditions.iter().flatten() { div { (self::condition(condition)) } }
                    @if rule.conditions.iter().flatten().next().is_none() { "any other request" }
                }
                td.wide { @for action in rule.actions.iter().flatten() { div { (self::action(action)) } } }
            }
        }));
    }
    Ok(html! {
        @if rows.is_empty() { p.soft { "It has no listener, so nothing can reach it." } }
        @else { (ui::table("Listeners and rules", &["Listener", "Priority", "When", "Then"], rows)) }
    })
}

fn condition(condition: &api::RuleCondition) -> String {
    let field = condition.field.as_deref().unwrap_or_default();
    let values = [
        condition.values.as_ref(),
        condition.host_header_config.as_ref().and_then(|config| config.values.as_ref()),
        condition.path_pattern_config.as_ref().and_then(|config| config.values.as_ref()),
        condition.http_request_method_config.as_ref().and_then(|config| config.values.as_ref()),
        condition.source_ip_config.as_ref().and_then(|config| config.values.as_ref()),
        condition.http_header_config.as_ref().and_then(|config| config.values.as_ref()),
    ];
    let values = values.into_iter().flatten().find(|values| !values.is_empty());
    format!("{field} {}", values.map(|values| values.join(" or ")).unwrap_or_default())
}

fn action(action: &api::Action) -> String {
    let name = |arn: &str| arn.split('/').nth(1).unwrap_or(arn).to_owned();
    let groups = action.forward_config.iter().flat_map(|config| config.target_groups.iter().flatten());
    let weighted: Vec<String> = groups
        .map(|group| {
            format!("{} ({})", name(group.target_group_arn.as_deref().unwrap_or_default()), group.weight.unwrap_or(1))
        })
        .collect();
    match (&action.target_group_arn, &action.fixed_response_config, &action.redirect_config) {
        (Some(arn), ..) => format!("forward to {}", name(arn)),
        (_, Some(fixed), _) => format!("answer {}", fixed.status_code),
        (.., Some(redirect)) => format!("redirect with {}", redirect.status_code),
        _ if !weighted.is_empty() => format!("forward to {}", weighted.join(", ")),
        _ => action.r#type.clone(),
    }
}
