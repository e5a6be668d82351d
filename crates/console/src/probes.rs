//! What users see: the metrics that probes tell the cloud, read as anyone could.

use std::time::Duration;

use standfast_api::cloudwatch as api;
use standfast_chart::Points;
use standfast_core::{Result, Timestamp};
use standfast_gameday::probe::figures::{LIVE, Metric, NAMESPACE, PROBE, STACK};
use standfast_kernel::Cx;

use crate::metrics::{self, Wanted};

/// How far back is looked: as long as metrics are kept by the second.
const LOOK_BACK: Duration = Duration::from_secs(3 * 3600);
/// Figures that are shown as those of now are of this many seconds, before those that may not be complete yet.
const NOW_SECONDS: usize = 5;
const INCOMPLETE: Duration = Duration::from_secs(2);
/// What is farther apart belongs to two runs of a probe.
const GAP: Duration = Duration::from_secs(150);
/// Percentiles are of the end of a run, and so are charts: many seconds' latencies take their time to be put together.
const PERCENTILES: Duration = Duration::from_secs(300);
const CHART: Duration = Duration::from_secs(900);
/// The most probes that are shown.
const PROBES_MAX: usize = 20;
/// How many points a chart shows at most, and the periods that there are below a minute, in seconds.
const POINTS_MAX: i64 = 300;
const FINE_PERIODS_S: [i32; 5] = [1, 5, 10, 20, 30];
const MINUTE_S: i32 = 60;

/// The last run of a probe.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: String,
    pub stack: Option<String>,
    /// The run, to the minute; its end is now while it is live.
    pub from: Timestamp,
    pub to: Timestamp,
    pub is_live: bool,
    pub requests: u64,
    pub failed: u64,
    pub longest_outage_ms: f64,
    /// Of the run's last five minutes.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub now: Now,
}

/// What a probe that is live has told last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// By this machine's time.
    pub requests_per_second: f64,
    pub failed_per_second: f64,
    pub waiting: u64,
}

/// The lines of a run's charts. Rates are by this machine's time.
pub struct Lines {
    pub requests: Points,
    pub failed: Points,
    pub p50_ms: Points,
    pub p99_ms: Points,
}

/// The probes of the last hours, those that are live first.
pub async fn all(cx: &Cx) -> Result<Vec<Seen>> {
    let input = api::ListMetricsInput {
        namespace: Some(NAMESPACE.into()),
        metric_name: Some(Metric::Requests.name().into()),
        recently_active: Some("PT3H".into()),
        ..Default::default()
    };
    let found = cx.call(api::ListMetrics, input).await?.metrics.unwrap_or_default();
    let mut out = Vec::new();
    for metric in found.into_iter().take(PROBES_MAX) {
        out.extend(seen(cx, &metric.dimensions.unwrap_or_default()).await?);
    }
    out.sort_by(|a, b| (b.is_live, b.to, &a.name).cmp(&(a.is_live, a.to, &b.name)));
    Ok(out)
}

/// Those that are live.
pub async fn live(cx: &Cx) -> Result<Vec<Seen>> {
    Ok(all(cx).await?.into_iter().filter(|seen| seen.is_live).collect())
}

async fn seen(cx: &Cx, dimensions: &[api::Dimension]) -> Result<Option<Seen>> {
    let dimensions: Vec<(&str, &str)> = dimensions.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
    let named = |name: &str| dimensions.iter().find(|(one, _)| *one == name).map(|(_, value)| (*value).to_owned());
    let Some(name) = named(PROBE) else { return Ok(None) };
    let (now, speed) = (cx.now(), cx.clock().speed());
    let wanted = |metric, stat, period_s| wanted(&dimensions, metric, stat, period_s);
    let minutes = [(Metric::Requests, "Sum"), (Metric::Failed, "Sum"), (Metric::Outage, "Maximum")]
        .map(|(metric, stat)| wanted(metric, stat, MINUTE_S));
    let minutes = metrics::read(cx, &minutes, now - LOOK_BACK, now + Duration::from_secs(1)).await?;
    let [requests, failed, outages] = &minutes[..] else { return Ok(None) };
    let Some((from, last)) = run(requests, GAP.max(LIVE.mul_f64(speed))) else { return Ok(None) };
    let in_run = |points: &Points| -> Vec<f64> {
        points.iter().filter(|(at, _)| (from..=last).contains(at)).filter_map(|(_, value)| *value).collect()
    };
    let recent = [(Metric::Requests, "Sum"), (Metric::Failed, "Sum"), (Metric::Waiting, "Maximum")]
        .map(|(metric, stat)| wanted(metric, stat, 1));
    let recent = metrics::read(cx, &recent, now - LIVE.mul_f64(speed), now + Duration::from_secs(1)).await?;
    let is_live = recent.iter().any(|points| points.iter().any(|(_, value)| value.is_some()));
    let to = if is_live { now } else { last + Duration::from_secs(MINUTE_S as u64) };
    // One bin for all of it: bins begin where is read from, at a full minute.
    let end_from = from.max(to - PERCENTILES.mul_f64(speed));
    let end_s = (to.since(end_from).as_secs() as i32 / MINUTE_S + 2) * MINUTE_S;
    let end = ["p50", "p99"].map(|stat| wanted(Metric::Latency, stat, end_s));
    let end = metrics::read(cx, &end, end_from, to + Duration::from_secs(1)).await?;
    let first = |at: usize| end.get(at).and_then(|points| points.first()).and_then(|(_, value)| *value);
    Ok(Some(Seen {
        name,
        stack: named(STACK),
        from,
        to,
        is_live,
        requests: in_run(requests).iter().sum::<f64>() as u64,
        failed: in_run(failed).iter().sum::<f64>() as u64,
        longest_outage_ms: in_run(outages).into_iter().fold(0.0, f64::max),
        p50_ms: first(0),
        p99_ms: first(1),
        now: recently(&recent, now, speed),
    }))
}

fn wanted<'a>(dimensions: &'a [(&'a str, &'a str)], metric: Metric, stat: &'a str, period_s: i32) -> Wanted<'a> {
    Wanted { namespace: NAMESPACE, name: metric.name(), dimensions, stat, period_s }
}

/// Where the last run of a probe begins, and its last minute.
fn run(minutes: &Points, gap: Duration) -> Option<(Timestamp, Timestamp)> {
    let mut times = minutes.iter().filter(|(_, value)| value.is_some()).map(|(at, _)| *at).rev();
    let last = times.next()?;
    let mut from = last;
    for at in times {
        if from.since(at) > gap {
            break;
        }
        from = at;
    }
    Some((from, last))
}

fn recently(recent: &[Points], now: Timestamp, speed: f64) -> Now {
    let complete = now - INCOMPLETE.mul_f64(speed);
    // A point is what was due in one second of this machine.
    let mean = |at: usize| {
        let points = recent.get(at).into_iter().flatten().filter(|(at, _)| *at <= complete);
        let last: Vec<f64> = points.rev().filter_map(|(_, value)| *value).take(NOW_SECONDS).collect();
        if last.is_empty() { 0.0 } else { last.iter().sum::<f64>() / last.len() as f64 }
    };
    Now {
        requests_per_second: mean(0),
        failed_per_second: mean(1),
        waiting: recent.get(2).into_iter().flatten().rev().find_map(|(_, value)| *value).unwrap_or_default() as u64,
    }
}

impl Seen {
    /// What its charts show.
    pub async fn lines(&self, cx: &Cx) -> Result<Lines> {
        let mut dimensions = vec![(PROBE, self.name.as_str())];
        dimensions.extend(self.stack.as_deref().map(|stack| (STACK, stack)));
        let from = self.from.max(self.to - CHART.mul_f64(cx.clock().speed()));
        let period_s = period(self.to.since(from).as_secs() as i64);
        let lines =
            [(Metric::Requests, "Sum"), (Metric::Failed, "Sum"), (Metric::Latency, "p50"), (Metric::Latency, "p99")];
        let lines = lines.map(|(metric, stat)| wanted(&dimensions, metric, stat, period_s));
        let until = if self.is_live { self.to - INCOMPLETE.mul_f64(cx.clock().speed()) } else { self.to };
        let until = until.max(from + Duration::from_secs(1));
        let mut points = metrics::read(cx, &lines, from, until).await?.into_iter();
        let mut next = || points.next().unwrap_or_default();
        // A second of this machine is as many of the cloud's.
        let seconds = f64::from(period_s) / cx.clock().speed();
        let rate =
            |points: Points| points.into_iter().map(|(at, value)| (at, value.map(|sum| sum / seconds))).collect();
        Ok(Lines { requests: rate(next()), failed: rate(next()), p50_ms: next(), p99_ms: next() })
    }

    /// Where it begins and ends on charts: to the second where that is known.
    pub fn shown(&self, lines: &Lines) -> (Timestamp, Timestamp) {
        let first = lines.requests.first().map_or(self.from, |(at, _)| *at);
        let last = if self.is_live { self.to } else { lines.requests.last().map_or(self.to, |(at, _)| *at) };
        (first, last)
    }
}

/// The shortest period in which a run of so many seconds fits on a chart.
fn period(length_s: i64) -> i32 {
    let fine = FINE_PERIODS_S.into_iter().find(|period| length_s <= POINTS_MAX * i64::from(*period));
    fine.unwrap_or(((length_s / POINTS_MAX / i64::from(MINUTE_S)) as i32 + 1) * MINUTE_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_where_there_is_a_gap() {
        let at = |minute: i64| (Timestamp(minute * 60_000), Some(1.0));
        let found = |minutes: &[i64]| {
            let points: Points = minutes.iter().map(|minute| at(*minute)).collect();
            run(&points, GAP).map(|(from, last)| (from.0 / 60_000, last.0 / 60_000))
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[3]), Some((3, 3)));
        assert_eq!(found(&[1, 2, 6, 7, 9]), Some((6, 9)), "two minutes apart are one run");
    }

    #[test]
    fn charts_have_periods_that_there_are() {
        for (length_s, expected) in [(10, 1), (300, 1), (301, 5), (9000, 30), (9001, 60), (18_001, 120)] {
            assert_eq!(period(length_s), expected, "{length_s}");
        }
    }
}
