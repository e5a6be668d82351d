//! What a probe's records come to.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::record::{Log, Record};

/// Latencies are counted to a microsecond up to this, in three significant digits.
const LATENCY_US_MAX: u64 = u32::MAX as u64;
const DIGITS: u8 = 3;

/// Latencies of requests that succeeded, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// From the first request that failed to the next that succeeded, by when they were due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    pub from_us: u64,
    /// When the first request had failed.
    pub known_us: u64,
    /// When the next success was due; the last request when there was none.
    pub to_us: u64,
    /// When that success had come: a connection that is tried again may be due before what it waits for is there.
    pub again_us: u64,
    pub failed: u64,
    pub ended: bool,
}

impl Outage {
    pub fn length_us(&self) -> u64 {
        self.to_us - self.from_us
    }
}

/// Finds outages among requests that it is told of in the order in which they were due.
#[derive(Debug, Default)]
pub struct Outages {
    ended: Vec<Outage>,
    open: Option<Outage>,
}

impl Outages {
    pub fn add(&mut self, due_us: u64, known_us: u64, succeeded: bool) {
        if succeeded {
            self.ended.extend(self.open.take().map(|outage| Outage {
                to_us: due_us,
                again_us: known_us,
                ended: true,
                ..outage
            }));
            return;
        }
        let new = Outage { from_us: due_us, known_us, to_us: due_us, again_us: known_us, failed: 0, ended: false };
        let open = self.open.get_or_insert(new);
        (open.to_us, open.again_us, open.failed) = (due_us, known_us, open.failed + 1);
    }

    /// Those that have ended since this was last asked, and as far as it goes the one that has not.
    pub fn take(&mut self) -> Vec<Outage> {
        let mut all = std::mem::take(&mut self.ended);
        all.extend(self.open);
        all
    }
}

/// What became of requests.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub requests: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub latency: Latency,
    #[serde(skip)]
    pub outages: Vec<Outage>,
    pub answers: BTreeMap<String, u64>,
    /// How many requests each zone answered, as far as answers tell.
    pub zones: BTreeMap<String, u64>,
    pub targets: BTreeMap<String, u64>,
}

impl Summary {
    /// Successes over requests that were due; 1 when none were.
    pub fn availability(&self) -> f64 {
        if self.requests == 0 { 1.0 } else { self.succeeded as f64 / self.requests as f64 }
    }

    pub fn longest_outage_us(&self) -> u64 {
        self.outages.iter().map(Outage::length_us).max().unwrap_or(0)
    }
}

/// How many nines an availability has; without a failure, how many the number of requests can show at least.
pub fn nines(failed: u64, requests: u64) -> f64 {
    if requests == 0 {
        return 0.0;
    }
    (requests as f64 / failed.max(1) as f64).log10()
}

/// Counts records, which are in the order of their due times.
pub fn summarize<'a>(log: &Log, records: impl IntoIterator<Item = &'a Record>) -> Summary {
    let mut out = Summary::default();
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, DIGITS).expect("the bounds are in order");
    let (mut slowest, mut outages) = (0, Outages::default());
    let mut by_fate: BTreeMap<_, u64> = BTreeMap::new();
    let mut by_who = vec![0u64; log.names.len() + 1];
    for record in records {
        out.requests += 1;
        outages.add(record.due_us, record.known_us(), record.fate.succeeded());
        *by_fate.entry(record.fate).or_default() += 1;
        if record.fate.succeeded() {
            out.succeeded += 1;
            by_who[usize::from(record.who)] += 1;
            histogram.saturating_record(u64::from(record.latency_us));
            slowest = slowest.max(record.latency_us);
        }
    }
    out.outages = outages.take();
    out.failed = out.requests - out.succeeded;
    out.latency = latency(&histogram, slowest);
    out.answers = by_fate.into_iter().map(|(fate, count)| (fate.name(), count)).collect();
    for (who, count) in log.names.iter().zip(&by_who[1..]).filter(|(_, count)| **count > 0) {
        for (map, name) in [(&mut out.zones, &who.zone), (&mut out.targets, &who.target)] {
            if !name.is_empty() {
                *map.entry(name.clone()).or_default() += count;
            }
        }
    }
    out
}

fn latency(histogram: &Histogram<u64>, slowest_us: u32) -> Latency {
    let max_ms = f64::from(slowest_us) / 1000.0;
    // A bucket's upper end may lie beyond the slowest of its values.
    let at = |quantile: f64| (histogram.value_at_quantile(quantile) as f64 / 1000.0).min(max_ms);
    Latency { p50_ms: at(0.5), p90_ms: at(0.9), p99_ms: at(0.99), p999_ms: at(0.999), max_ms }
}

/// What became of the requests that were due in one second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Second {
    pub second: u64,
    pub ok: u32,
    pub failed: u32,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// How many each of `Log::names` answered, by number; 0 is nobody known.
    pub by_who: BTreeMap<u16, u32>,
}

/// Counts records by the second, without gaps; they are in the order of their due times.
pub fn seconds(records: &[Record]) -> Vec<Second> {
    let mut out = Vec::new();
    let mut latencies: Vec<u32> = Vec::new();
    let mut rest = records;
    let mut second = 0;
    while !rest.is_empty() {
        let end = rest.partition_point(|record| record.due_us < (second + 1) * 1_000_000);
        let (now, later) = rest.split_at(end);
        out.push(one_second(second, now, &mut latencies));
        (rest, second) = (later, second + 1);
    }
    out
}

fn one_second(second: u64, records: &[Record], latencies: &mut Vec<u32>) -> Second {
    let mut out = Second { second, ..Second::default() };
    latencies.clear();
    for record in records {
        if record.fate.succeeded() {
            out.ok += 1;
            *out.by_who.entry(record.who).or_default() += 1;
            latencies.push(record.latency_us);
        } else {
            out.failed += 1;
        }
    }
    latencies.sort_unstable();
    // The rank of a quantile as HdrHistogram counts it.
    let at = |quantile: f64| {
        let rank = (latencies.len() as f64 * quantile).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).map_or(0.0, |us| f64::from(*us) / 1000.0)
    };
    (out.p50_ms, out.p99_ms) = (at(0.5), at(0.99));
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::{Fate, Who};
    use super::*;

    fn log(requests: &[(u64, bool)]) -> Log {
        let mut log = Log::default();
        for (due_ms, ok) in requests {
            let (fate, who) = if *ok {
                (Fate::status(200), Some(Who { target: "i-1".into(), zone: "eu-west-1a".into() }))
            } else {
                (Fate::REFUSED, None)
            };
            log.add(Duration::from_millis(*due_ms), Duration::from_millis(due_ms % 100), fate, who);
        }
        log
    }

    fn outages(requests: &[(u64, bool)]) -> (u64, usize) {
        let log = log(requests);
        let summary = summarize(&log, &log.records);
        (summary.longest_outage_us() / 1000, summary.outages.len())
    }

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_next_success() {
        assert_eq!(outages(&[(0, true), (5, true)]), (0, 0));
        let twice = [(0, true), (5, false), (10, false), (25, true), (30, false), (31, true)];
        assert_eq!(outages(&twice), (20, 2));
        assert_eq!(outages(&[(5, false), (50, false)]), (45, 1));
    }

    #[test]
    fn the_summary_counts_what_users_saw() {
        let mut requests: Vec<(u64, bool)> = (0..99).map(|n| (n, true)).collect();
        requests.push((99, false));
        let log = log(&requests);
        let summary = summarize(&log, &log.records);
        assert_eq!((summary.requests, summary.succeeded, summary.failed), (100, 99, 1));
        assert_eq!(summary.availability(), 0.99);
        assert!((summary.latency.p50_ms - 49.0).abs() <= 1.0, "{:?}", summary.latency);
        assert_eq!(summary.latency.max_ms, 98.0);
        assert_eq!(summary.answers, [("200".to_owned(), 99), ("connection refused".to_owned(), 1)].into());
        assert_eq!((summary.zones["eu-west-1a"], summary.targets["i-1"]), (99, 99));
    }

    #[test]
    fn nines_are_what_the_requests_can_show() {
        assert_eq!(nines(1, 1000), 3.0);
        assert_eq!(nines(0, 1000), 3.0, "no failure in a thousand shows three nines and not more");
        assert!((nines(5, 1000) - 2.301).abs() < 0.001);
    }

    #[test]
    fn seconds_have_no_gaps() {
        let log = log(&[(0, true), (10, false), (2500, true)]);
        let seconds = seconds(&log.records);
        let counts: Vec<_> = seconds.iter().map(|s| (s.second, s.ok, s.failed)).collect();
        assert_eq!(counts, [(0, 1, 1), (1, 0, 0), (2, 1, 0)]);
    }
}
