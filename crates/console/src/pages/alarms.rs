//! Alarms: their metric with its threshold, and when they were in which state.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::cloudwatch as api;
use standfast_chart::{Chart, Points, Tone, Unit};
use standfast_core::{Result, Timestamp};
use standfast_gameday::probe::figures::{Metric, NAMESPACE};

use crate::Page;
use crate::html::{self as ui, Live};
use crate::metrics;

/// How many periods an alarm's graph shows, within these bounds.
const PERIODS: u32 = 60;
const GRAPH: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(24 * 3600));
/// How much of an alarm's history is shown.
const HISTORY_MAX: i32 = 50;
/// Pages of alarms that are read at most.
const PAGES_MAX: usize = 50;

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let (metric, composite) = all(page).await?;
    let composite_row = |alarm: &api::CompositeAlarm| {
        html! {
            td { (ui::link("alarms", alarm.alarm_name.as_deref().unwrap_or_default())) }
            td { (ui::state(alarm.state_value.as_deref().unwrap_or_default())) }
            td.mono { (alarm.alarm_rule.as_deref().unwrap_or_default()) }
            td { (ui::maybe_date(alarm.state_updated_timestamp)) }
        }
    };
    let content = html! {
        h1 { "Alarms" }
        @if metric.is_empty() && composite.is_empty() {
            (ui::empty("There is no alarm in this region.", &[
                ("aws cloudwatch put-metric-alarm", "makes one; target tracking policies make theirs."),
            ]))
        }
        @if !metric.is_empty() { (ui::table("Alarms", &HEADS, metric.iter().map(row))) }
        @if !composite.is_empty() {
            h2 { "Composite alarms" }
            (ui::table("Composite alarms", &["Alarm", "State", "Rule", "Since"], composite.iter().map(composite_row)))
        }
    };
    Ok(ui::shell(page, Live::Yes, "Alarms", content))
}

const HEADS: [&str; 4] = ["Alarm", "State", "When", "Since"];

fn row(alarm: &api::MetricAlarm) -> Markup {
    html! {
        td { (ui::link("alarms", alarm.alarm_name.as_deref().unwrap_or_default())) }
        td { (ui::state(alarm.state_value.as_deref().unwrap_or_default())) }
        td.wide { (rule(alarm)) }
        td { (ui::maybe_date(alarm.state_updated_timestamp)) }
    }
}

/// What it takes, in words.
fn rule(alarm: &api::MetricAlarm) -> String {
    let comparison = match alarm.comparison_operator.as_deref().unwrap_or_default() {
        "GreaterThanOrEqualToThreshold" => "≥",
        "GreaterThanThreshold" => ">",
        "LessThanThreshold" => "<",
        "LessThanOrEqualToThreshold" => "≤",
        other => other,
    };
    let periods = alarm.evaluation_periods.unwrap_or(1);
    let of = match (&alarm.metric_name, alarm.statistic.as_deref().or(alarm.extended_statistic.as_deref())) {
        (Some(metric), Some(stat)) => format!("{stat} of {metric}"),
        _ => "expression".to_owned(),
    };
    let needed = alarm.datapoints_to_alarm.unwrap_or(periods);
    format!(
        "{of} {comparison} {} in {needed} of {periods} {} of {} s",
        alarm.threshold.map(|threshold| unit(alarm).text(threshold)).unwrap_or_else(|| "its band".into()),
        if periods == 1 { "period" } else { "periods" },
        alarm.period.unwrap_or(60),
    )
}

/// What its metric is counted in: as the alarm says it, or as metrics of this name are.
fn unit(alarm: &api::MetricAlarm) -> Unit {
    let name = alarm.metric_name.as_deref().unwrap_or_default();
    let probes = alarm.namespace.as_deref() == Some(NAMESPACE);
    let named = Metric::named(name).filter(|_| probes).map(Metric::unit);
    match alarm.unit.as_deref().or(named) {
        Some("Percent") => Unit::Percent,
        Some("Milliseconds") => Unit::Milliseconds,
        Some("Seconds") => Unit::Seconds,
        Some("Bytes") => Unit::Bytes,
        None if name.contains("Utilization") => Unit::Percent,
        None if name == "TargetResponseTime" => Unit::Seconds,
        None if matches!(name, "NetworkIn" | "NetworkOut" | "EBSReadBytes" | "EBSWriteBytes") => Unit::Bytes,
        _ => Unit::Count,
    }
}

async fn all(page: &Page<'_>) -> Result<(Vec<api::MetricAlarm>, Vec<api::CompositeAlarm>)> {
    let (mut metric, mut composite, mut token) = (Vec::new(), Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let kinds = ["MetricAlarm", "CompositeAlarm"].map(str::to_owned).to_vec();
        let input = api::DescribeAlarmsInput { alarm_types: Some(kinds), next_token: token, ..Default::default() };
        let answer = page.cx.call(api::DescribeAlarms, input).await?;
        metric.extend(answer.metric_alarms.unwrap_or_default());
        composite.extend(answer.composite_alarms.unwrap_or_default());
        token = answer.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok((metric, composite))
}

/// The alarms on something, for its page.
pub async fn of(page: &Page<'_>, dimension: &str, value: &str) -> Result<Markup> {
    let (metric, _) = all(page).await?;
    let concerns = |dimensions: &Option<Vec<api::Dimension>>| {
        dimensions.iter().flatten().any(|one| one.name == dimension && one.value == value)
    };
    let mine: Vec<_> = metric
        .iter()
        .filter(|alarm| {
            let own = alarm.metrics.iter().flatten().filter_map(|query| query.metric_stat.as_ref());
            concerns(&alarm.dimensions) || own.into_iter().any(|stat| concerns(&stat.metric.dimensions))
        })
        .collect();
    Ok(html! {
        h2 { "Alarms" }
        @if mine.is_empty() { p.soft { "No alarm watches it." } }
        @else { (ui::table("Alarms", &HEADS, mine.into_iter().map(row))) }
    })
}

pub async fn one(page: &Page<'_>, name: &str) -> Result<Response<Bytes>> {
    let (metric, composite) = all(page).await?;
    let named = |one: &Option<String>| one.as_deref() == Some(name);
    let history = history(page, name).await?;
    if let Some(alarm) = metric.iter().find(|alarm| named(&alarm.alarm_name)) {
        let content = html! {
            div.head { h1 { (name) } (ui::state(alarm.state_value.as_deref().unwrap_or_default())) }
            (facts(alarm))
            p { (alarm.state_reason.as_deref().unwrap_or_default()) }
            (graph(page, alarm, &history).await?)
            (past(&history))
        };
        return Ok(ui::shell(page, Live::Yes, name, content));
    }
    let Some(alarm) = composite.iter().find(|alarm| named(&alarm.alarm_name)) else {
        return Ok(ui::missing(page, "alarm", name));
    };
    let content = html! {
        div.head { h1 { (name) } (ui::state(alarm.state_value.as_deref().unwrap_or_default())) }
        (ui::facts(&[
            ("Rule", html! { code { (alarm.alarm_rule.as_deref().unwrap_or_default()) } }),
            ("Why", html! { (alarm.state_reason.as_deref().unwrap_or_default()) }),
        ]))
        (past(&history))
    };
    Ok(ui::shell(page, Live::Yes, name, content))
}

fn facts(alarm: &api::MetricAlarm) -> Markup {
    let actions: Vec<&String> = alarm.alarm_actions.iter().flatten().collect();
    let dimensions = alarm.dimensions.iter().flatten();
    ui::facts(&[
        ("Rule", html! { (rule(alarm)) }),
        (
            "Metric",
            html! {
                (alarm.namespace.as_deref().unwrap_or_default()) " " (alarm.metric_name.as_deref().unwrap_or_default())
                @for dimension in dimensions { div.soft { (dimension.name) " " (dimension.value) } }
            },
        ),
        ("Since", ui::maybe_date(alarm.state_updated_timestamp)),
        ("Missing data", html! { (alarm.treat_missing_data.as_deref().unwrap_or("missing")) }),
        (
            "Actions",
            html! {
                @if alarm.actions_enabled == Some(false) { "disabled" }
                @for action in &actions { div.soft { (action) } }
                @if actions.is_empty() { "none" }
            },
        ),
    ])
}

async fn history(page: &Page<'_>, name: &str) -> Result<Vec<api::AlarmHistoryItem>> {
    let input = api::DescribeAlarmHistoryInput {
        alarm_name: Some(name.into()),
        alarm_types: Some(["MetricAlarm", "CompositeAlarm"].map(str::to_owned).to_vec()),
        max_records: Some(HISTORY_MAX),
        ..Default::default()
    };
    Ok(page.cx.call(api::DescribeAlarmHistory, input).await?.alarm_history_items.unwrap_or_default())
}

fn past(history: &[api::AlarmHistoryItem]) -> Markup {
    html! {
        h2 { "History" }
        @if history.is_empty() { p.soft { "Nothing has happened to it yet." } }
        @else {
            (ui::history("History", &["Time", "Kind", "What"], history.iter().map(|item| html! {
                td { (ui::maybe_date(item.timestamp)) }
                td { (item.history_item_type.as_deref().unwrap_or_default()) }
                td.wide { (item.history_summary.as_deref().unwrap_or_default()) }
            })))
        }
    }
}

/// When it was in which state, oldest first: the moment of each change, from what, and to what.
fn changes(history: &[api::AlarmHistoryItem]) -> Vec<(Timestamp, String, String)> {
    let mut out: Vec<_> = history
        .iter()
        .filter(|item| item.history_item_type.as_deref() == Some("StateUpdate"))
        .filter_map(|item| {
            let (from, to) =
                item.history_summary.as_deref()?.strip_prefix("Alarm updated from ")?.split_once(" to ")?;
            Some((item.timestamp?, from.trim().to_owned(), to.trim_end_matches('.').trim().to_owned()))
        })
        .collect();
    out.sort_by_key(|(at, ..)| *at);
    out
}

/// The times in ALARM and without data, between two moments.
fn bands(
    changes: &[(Timestamp, String, String)],
    state: &str,
    from: Timestamp,
    to: Timestamp,
) -> Vec<(String, Timestamp, Timestamp)> {
    let mut out = Vec::new();
    let first = changes.first().map_or(state, |(_, before, _)| before.as_str());
    let (mut current, mut since) = (first.to_owned(), from);
    for (at, _, next) in changes {
        out.push((current, since, *at));
        (current, since) = (next.clone(), *at);
    }
    out.push((current, since, to));
    out.retain(|(state, ..)| state != "OK");
    out
}

async fn graph(page: &Page<'_>, alarm: &api::MetricAlarm, history: &[api::AlarmHistoryItem]) -> Result<Markup> {
    let (now, period_s) = (page.cx.now(), alarm.period.unwrap_or(60));
    let length = Duration::from_secs(u64::try_from(period_s).unwrap_or(60)) * PERIODS;
    let from = now - length.clamp(GRAPH.0, GRAPH.1);
    let name = alarm.metric_name.as_deref().unwrap_or("expression");
    let mut chart = Chart::new(name, unit(alarm), from, now);
    for (label, points) in lines(page, alarm, period_s, from, now).await? {
        chart = chart.line(label, points);
    }
    if let Some(threshold) = alarm.threshold {
        chart = chart.threshold("threshold", threshold);
    }
    let state = alarm.state_value.as_deref().unwrap_or_default();
    // Before its oldest entry it was not there, or nobody knows.
    let known = history.iter().filter_map(|item| item.timestamp).min().unwrap_or(from);
    for (state, since, until) in bands(&changes(history), state, from.max(known), now) {
        let tone = if state == "ALARM" { Tone::Bad } else { Tone::Plain };
        let label = if state == "ALARM" { "ALARM" } else { "no data" };
        chart = chart.band(label, since, until, tone);
    }
    Ok(html! { div.chart-box { (maud::PreEscaped(chart.responsive())) } })
}

/// The alarm's metric, or what its expression gives.
async fn lines(
    page: &Page<'_>,
    alarm: &api::MetricAlarm,
    period_s: i32,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(String, Points)>> {
    if let Some(queries) = alarm.metrics.as_ref().filter(|queries| !queries.is_empty()) {
        let period_s = queries.iter().find_map(|query| Some(query.metric_stat.as_ref()?.period)).unwrap_or(period_s);
        let results = metrics::ask(&page.cx, queries.clone(), from, to).await?;
        let line = |result: &api::MetricDataResult| {
            let id = result.id.clone().unwrap_or_default();
            let points = metrics::points(&results, &id, period_s);
            (result.label.clone().unwrap_or(id), points)
        };
        return Ok(results.iter().map(line).collect());
    }
    let stat = alarm.statistic.as_deref().or(alarm.extended_statistic.as_deref()).unwrap_or("Average");
    let dimensions: Vec<(&str, &str)> =
        alarm.dimensions.iter().flatten().map(|one| (one.name.as_str(), one.value.as_str())).collect();
    let wanted = metrics::Wanted {
        namespace: alarm.namespace.as_deref().unwrap_or_default(),
        name: alarm.metric_name.as_deref().unwrap_or_default(),
        dimensions: &dimensions,
        stat,
        period_s,
    };
    let points = metrics::read(&page.cx, &[wanted], from, to).await?.pop().unwrap_or_default();
    Ok(vec![(stat.to_owned(), points)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(second: i64, from: &str, to: &str) -> api::AlarmHistoryItem {
        api::AlarmHistoryItem {
            timestamp: Some(Timestamp(second * 1000)),
            history_item_type: Some("StateUpdate".into()),
            history_summary: Some(format!("Alarm updated from {from} to {to}")),
            ..Default::default()
        }
    }

    #[test]
    fn bands_are_the_times_that_are_not_ok() {
        let history = [change(30, "ALARM", "OK"), change(10, "INSUFFICIENT_DATA", "OK"), change(20, "OK", "ALARM")];
        let at = |second: i64| Timestamp(second * 1000);
        let bands = bands(&changes(&history), "OK", at(0), at(60));
        assert_eq!(bands, [("INSUFFICIENT_DATA".into(), at(0), at(10)), ("ALARM".into(), at(20), at(30))]);
        let always = super::bands(&[], "ALARM", at(0), at(60));
        assert_eq!(always, [("ALARM".into(), at(0), at(60))]);
    }
}
