//! What a probe's records come to while they come in: the metrics that it tells the cloud.
//!
//! Invariant: nothing waits for a request that is under way. What has become known since the last look is told as of the
//! second in which it was due; the cloud adds up what is told of a second in parts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use standfast_core::metric::VALUES_MAX;

use super::engine::Pace;
use super::record::{Log, Record};
use super::summary::{Outage, Outages};

/// Where probes' metrics are.
pub const NAMESPACE: &str = "Standfast/Probes";
/// The dimension that names the probe.
pub const PROBE: &str = "Probe";
/// The dimension that names the stack whose game day it belongs to.
pub const STACK: &str = "Stack";
/// A probe that told nothing for longer, by this machine's time, is live no more.
pub const LIVE: Duration = Duration::from_secs(10);

standfast_core::names! {
    /// The metrics of a probe.
    Metric {
        Requests "Requests", Failed "Failed", SuccessPercent "SuccessPercent", Latency "Latency", Outage "Outage",
        Waiting "Waiting",
    }
}

impl Metric {
    /// As CloudWatch calls it.
    pub fn unit(self) -> &'static str {
        match self {
            Metric::Requests | Metric::Failed | Metric::Waiting => "Count",
            Metric::SuccessPercent => "Percent",
            Metric::Latency | Metric::Outage => "Milliseconds",
        }
    }
}

/// A metric in a second: its values, and how many times each.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// After the probe's beginning.
    pub second: u64,
    pub metric: Metric,
    pub values: Vec<(f64, u64)>,
}

/// What became known of one second's requests.
#[derive(Default)]
struct Grown {
    ok: u64,
    failed: u64,
    latencies_us: Vec<u32>,
}

/// Reads a log as it grows.
pub struct Tally {
    pace: Pace,
    /// How many records have been read.
    read: usize,
    /// Requests that are known while an earlier one is under way: number, when due and when known, whether it succeeded.
    known: BinaryHeap<Reverse<(u64, u64, u64, bool)>>,
    /// The first request that is not known yet.
    next: u64,
    outages: Outages,
}

impl Tally {
    pub fn new(pace: Pace) -> Self {
        Self { pace, read: 0, known: BinaryHeap::new(), next: 0, outages: Outages::default() }
    }

    /// What is new in the log, which nobody may have sorted.
    pub fn look(&mut self, log: &Log) -> Vec<Figure> {
        let new = &log.records[self.read.min(log.records.len())..];
        self.read = log.records.len();
        let mut seconds: BTreeMap<u64, Grown> = BTreeMap::new();
        for record in new {
            let grown = seconds.entry(record.due_us / 1_000_000).or_default();
            if record.fate.succeeded() {
                grown.ok += 1;
                grown.latencies_us.push(record.latency_us);
            } else {
                grown.failed += 1;
            }
            let known_us = record.known_us();
            self.known.push(Reverse((self.number(record), record.due_us, known_us, record.fate.succeeded())));
        }
        let mut out = Vec::new();
        for (second, grown) in seconds {
            grown.tell(second, &mut out);
        }
        out.extend(self.outage());
        out
    }

    /// How many of the requests that were due by then have no answer yet.
    pub fn waiting(&self, elapsed_ms: u64) -> Figure {
        let due = (elapsed_ms * u64::from(self.pace.per_second) / 1000 + 1).min(self.pace.total());
        let waiting = due.saturating_sub(self.read as u64);
        Figure { second: elapsed_ms / 1000, metric: Metric::Waiting, values: vec![(waiting as f64, 1)] }
    }

    /// Which request it is, from 0: due times are cut to microseconds, and rates are far below one in each.
    fn number(&self, record: &Record) -> u64 {
        (record.due_us * u64::from(self.pace.per_second) + 500_000) / 1_000_000
    }

    /// The longest outage that ended or went on among the requests that became known.
    fn outage(&mut self) -> Option<Figure> {
        let mut last_us = None;
        while let Some(Reverse((_, due_us, known_us, succeeded))) =
            self.known.peek().copied().filter(|known| known.0.0 <= self.next)
        {
            self.known.pop();
            self.next += 1;
            self.outages.add(due_us, known_us, succeeded);
            last_us = Some(due_us);
        }
        let longest_us = self.outages.take().iter().map(Outage::length_us).max().unwrap_or(0);
        Some(Figure {
            second: last_us? / 1_000_000,
            metric: Metric::Outage,
            values: vec![(longest_us as f64 / 1000.0, 1)],
        })
    }
}

impl Grown {
    fn tell(mut self, second: u64, out: &mut Vec<Figure>) {
        let mut add = |metric, values| out.push(Figure { second, metric, values });
        add(Metric::Requests, vec![((self.ok + self.failed) as f64, 1)]);
        add(Metric::Failed, vec![(self.failed as f64, 1)]);
        // One value a request: its average is the share of successes over any time, as many as there were in it.
        let shares = [(100.0, self.ok), (0.0, self.failed)];
        add(Metric::SuccessPercent, shares.into_iter().filter(|(_, count)| *count > 0).collect());
        if !self.latencies_us.is_empty() {
            self.latencies_us.sort_unstable();
            add(Metric::Latency, binned(&self.latencies_us));
        }
    }
}

/// Sorted latencies as values in milliseconds with how many there are of each. Where these are too many, values near each
/// other, by ratio, become the slowest of them: no percentile looks better than it was.
fn binned(sorted_us: &[u32]) -> Vec<(f64, u64)> {
    let exact = runs(sorted_us, u64::from);
    if exact.len() <= VALUES_MAX {
        return exact;
    }
    let log = |us: u32| f64::from(us.max(1)).ln();
    let (low, high) = (log(sorted_us[0]), log(sorted_us[sorted_us.len() - 1]));
    let step = (high - low) / (VALUES_MAX - 1) as f64;
    runs(sorted_us, |us| ((log(us) - low) / step) as u64)
}

/// Runs of values of one bin, by their last.
fn runs(sorted_us: &[u32], bin: impl Fn(u32) -> u64) -> Vec<(f64, u64)> {
    let run = |run: &[u32]| (f64::from(run[run.len() - 1]) / 1000.0, run.len() as u64);
    sorted_us.chunk_by(|one, other| bin(*one) == bin(*other)).map(run).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::record::Fate;
    use super::*;

    fn tally() -> Tally {
        Tally::new(Pace { per_second: 10, duration: Duration::from_secs(10) })
    }

    /// Requests by number: whether they succeeded, 5 ms after they were due.
    fn add(log: &mut Log, requests: &[(u64, bool)]) {
        for (n, ok) in requests {
            let fate = if *ok { Fate::status(200) } else { Fate::REFUSED };
            log.add(Duration::from_millis(n * 100), Duration::from_millis(5), fate, None);
        }
    }

    fn of(figures: &[Figure], metric: Metric) -> Vec<(u64, Vec<(f64, u64)>)> {
        figures.iter().filter(|one| one.metric == metric).map(|one| (one.second, one.values.clone())).collect()
    }

    #[test]
    fn what_is_known_is_told_once_as_of_when_it_was_due() {
        let (mut log, mut tally) = (Log::default(), tally());
        add(&mut log, &[(0, true), (1, true), (12, false)]);
        let figures = tally.look(&log);
        assert_eq!(of(&figures, Metric::Requests), [(0, vec![(2.0, 1)]), (1, vec![(1.0, 1)])]);
        assert_eq!(of(&figures, Metric::Failed), [(0, vec![(0.0, 1)]), (1, vec![(1.0, 1)])]);
        assert_eq!(of(&figures, Metric::SuccessPercent), [(0, vec![(100.0, 2)]), (1, vec![(0.0, 1)])]);
        assert_eq!(of(&figures, Metric::Latency), [(0, vec![(5.0, 2)])], "of successes only");
        assert!(tally.look(&log).is_empty());
        add(&mut log, &[(2, true)]);
        assert_eq!(of(&tally.look(&log), Metric::Requests), [(0, vec![(1.0, 1)])], "a second in parts");
    }

    #[test]
    fn an_outage_is_told_in_the_order_of_requests_and_while_it_lasts() {
        let (mut log, mut tally) = (Log::default(), tally());
        add(&mut log, &[(0, true), (2, false), (3, false), (4, true)]);
        assert_eq!(of(&tally.look(&log), Metric::Outage), [(0, vec![(0.0, 1)])], "request 1 is under way");
        add(&mut log, &[(1, false)]);
        assert_eq!(of(&tally.look(&log), Metric::Outage), [(0, vec![(300.0, 1)])]);
        add(&mut log, &[(5, false), (6, false), (7, false)]);
        assert_eq!(of(&tally.look(&log), Metric::Outage), [(0, vec![(200.0, 1)])], "so far");
        add(&mut log, &[(8, false), (9, false), (10, true), (11, true)]);
        assert_eq!(of(&tally.look(&log), Metric::Outage), [(1, vec![(500.0, 1)])]);
        add(&mut log, &[(12, true)]);
        assert_eq!(of(&tally.look(&log), Metric::Outage), [(1, vec![(0.0, 1)])]);
    }

    #[test]
    fn requests_under_way_are_those_due_without_an_answer() {
        let (mut log, mut tally) = (Log::default(), tally());
        add(&mut log, &[(0, true), (1, true)]);
        tally.look(&log);
        assert_eq!(tally.waiting(1000).values, [(9.0, 1)]);
        assert_eq!(tally.waiting(3_600_000).values, [(98.0, 1)], "no more than there are in all");
    }

    #[test]
    fn due_times_give_their_requests_number_at_any_rate() {
        for per_second in [1, 3, 7, 50, 4999, 20_000] {
            let tally = Tally::new(Pace { per_second, duration: Duration::from_secs(3600) });
            for n in (0..u64::from(per_second) * 40).chain([u64::from(per_second) * 3599 + 1]) {
                let due = Duration::from_nanos(n * 1_000_000_000 / u64::from(per_second));
                let record = Record { due_us: due.as_micros() as u64, latency_us: 0, fate: Fate::status(200), who: 0 };
                assert_eq!(tally.number(&record), n, "{per_second} a second");
            }
        }
    }

    #[test]
    fn many_latencies_are_few_values_that_never_look_better() {
        let few: Vec<u32> = vec![500, 500, 700];
        assert_eq!(binned(&few), [(0.5, 2), (0.7, 1)]);
        let many: Vec<u32> = (0..5000).map(|n| 200 + n * n / 10).collect();
        let binned = binned(&many);
        assert!(binned.len() <= VALUES_MAX, "{}", binned.len());
        assert_eq!(binned.iter().map(|(_, count)| count).sum::<u64>(), 5000);
        assert_eq!(binned.last().map(|(value, _)| *value), Some(f64::from(many[4999]) / 1000.0));
        let median = binned.iter().scan(0, |sum, (value, count)| {
            *sum += count;
            Some((*sum, *value))
        });
        let median = median.into_iter().find(|(sum, _)| *sum >= 2500).map(|(_, value)| value).expect("there is one");
        let exact = f64::from(many[2499]) / 1000.0;
        assert!((exact..exact * 1.08).contains(&median), "{median} for {exact}");
    }
}
