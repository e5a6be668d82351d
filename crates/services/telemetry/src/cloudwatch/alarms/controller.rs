//! Evaluates alarms on the clock, whether or not data arrives.
//!
//! Invariant: an evaluation that changes nothing writes nothing. What is remembered between runs is the time of the last
//! one only: when an alarm is due follows from its ARN.

use std::sync::{Arc, Mutex, PoisonError};

use standfast_core::{Result, Rng, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::Txn;

use super::super::points::{Key, Range, Unit};
use super::super::stat::Stat;
use super::super::{data, points};
use super::actions::{self, Owing};
use super::evaluate::{EXTRA_PERIODS, Point};
use super::model::{Alarm, Condition, MetricKind, Watched, Watches};
use super::{describe, reasons, state};

/// How often alarms are evaluated, in seconds; those with periods below a minute more often.
const EVERY_S: i64 = 60;
const EVERY_FINE_S: i64 = 10;
/// How long after a minute's end services have told of it, in milliseconds.
const DATA_COME_MS: i64 = 2000;

/// When the last run was.
pub type Shared = Arc<Mutex<Option<Timestamp>>>;

pub async fn run(cx: Cx, last: Shared) -> Result<Wake> {
    let now = cx.now();
    let since = last.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
    let (mut wake, mut failure) = (Wake::OnChange, None);
    for (scope, name, alarm) in cx.view(|view| view.all::<Alarm>()) {
        let Some(metric) = alarm.metric() else { continue };
        wake = wake.or(Wake::At(next(&alarm.arn, metric, now)));
        // After a start, what came due while there was no cloud is so now.
        let due = since.is_none_or(|since| next(&alarm.arn, metric, since) <= now || alarm.updated > since);
        if due && let Err(error) = evaluate(&cx.at(&scope), &name, &alarm, metric, since, now).await {
            failure = Some(error);
        }
    }
    failure.map_or(Ok(wake), Err)
}

/// The next evaluation after a time: each alarm has a second of its own, so that not all come at once; and none comes
/// before the services have told of the minute that has just ended.
fn next(arn: &str, alarm: &MetricKind, after: Timestamp) -> Timestamp {
    let every = if alarm.period_s() < EVERY_S { EVERY_FINE_S } else { EVERY_S } * 1000;
    let hash = arn.bytes().fold(0_i64, |hash, byte| (hash * 31 + i64::from(byte)) % 1_000_003);
    let own = DATA_COME_MS + hash * 1000 % (every - DATA_COME_MS);
    Timestamp((after.0 - own).div_euclid(every) * every + every + own)
}

async fn evaluate(
    cx: &Cx,
    name: &str,
    alarm: &Alarm,
    metric: &MetricKind,
    since: Option<Timestamp>,
    now: Timestamp,
) -> Result<()> {
    let scope = cx.scope();
    let range = window(metric, now);
    let points = match &metric.watches {
        Watches::Metric(watched) => watched_points(cx, watched, range, metric, now)?,
        Watches::Queries(queries) => {
            let queries = queries.iter().map(describe::query).collect();
            // A query that cannot be computed gives no data.
            let (start, end) = (Timestamp(range.start * 1000), Timestamp(range.end * 1000));
            let found = data::returned(cx, queries, metric.band.as_deref(), start, end).unwrap_or_default();
            let point = |at: i64| {
                let value = *found.points.get(&at)?;
                let band = match &found.band {
                    // A value of which nothing is expected says nothing.
                    Some((low, high)) => Some((*low.get(&at)?, *high.get(&at)?)),
                    None => None,
                };
                Some(Point { at, value, insignificant: false, band })
            };
            (range.start..range.end).step_by(range.period as usize).map(point).collect()
        }
    };
    let Some(finding) = metric.rule.evaluate(&points) else { return Ok(()) };
    let breach = finding.points.first().map(|point| (point.value, metric.rule.threshold));
    let seed = cx.rng().u64();
    if finding.state == alarm.condition.state {
        let why = Owing { state: finding.state, at: now, breach, lasts: true };
        if !actions::asks_policies(alarm, finding.state) || !is_new_period(alarm, metric, since, now) {
            return Ok(());
        }
        let owe = |tx: &mut Txn| {
            actions::owe(tx, scope, &Rng::seeded(seed), name, alarm, &why);
            Ok(())
        };
        return cx.txn(owe).await;
    }
    let new = Condition {
        state: finding.state,
        reason: reasons::reason(metric, &finding),
        data: Some(reasons::data(metric, &finding, now)),
        updated: now,
        transitioned: now,
    };
    cx.txn(|tx| {
        // What was changed meanwhile is evaluated again.
        let Some(current) = tx.get::<Alarm>(scope, name).filter(|current| **current == *alarm) else { return Ok(()) };
        state::change(tx, scope, name, &current, new.clone(), breach, seed);
        Ok(())
    })
    .await
}

/// Whether a period of the present state has passed between two runs.
fn is_new_period(alarm: &Alarm, metric: &MetricKind, since: Option<Timestamp>, now: Timestamp) -> bool {
    let periods = |at: Timestamp| (at.0 - alarm.condition.transitioned.0).div_euclid(metric.period_s() * 1000);
    since.is_none_or(|since| periods(since) < periods(now))
}

/// The newest periods that are over: they end with the minute, or with a period that is shorter.
fn window(alarm: &MetricKind, now: Timestamp) -> Range {
    let period = alarm.period_s();
    let now = now.0.div_euclid(1000);
    let end = now - now.rem_euclid(period.min(EVERY_S));
    Range { start: end - period * i64::from(alarm.rule.periods + EXTRA_PERIODS), end, period }
}

fn watched_points(
    cx: &Cx,
    watched: &Watched,
    range: Range,
    alarm: &MetricKind,
    now: Timestamp,
) -> Result<Vec<Option<Point>>> {
    let dimensions = watched.dimensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let key = Key::new(cx.scope(), &watched.namespace, &watched.name, dimensions);
    let unit = watched.unit.as_deref().and_then(Unit::named);
    let Some(stat) = Stat::named(&watched.stat) else { return Ok(Vec::new()) };
    let merged = points(cx)?.data.read_merged(&key, range, unit, stat.detail(), now);
    let careful = alarm.low_samples.as_deref() == Some("ignore");
    let point = |at: i64| {
        let bucket = merged.get(&at)?;
        let insignificant = careful && stat.samples_needed().is_some_and(|needed| bucket.count < needed);
        Some(Point { at, value: stat.of(bucket)?, insignificant, band: None })
    };
    Ok((range.start..range.end).step_by(range.period as usize).map(point).collect())
}
