//! `load`: open-loop load, steady or rising, to see what it makes of a site. Several instances with it are a swarm.
//!
//! Invariant: a request is sent when its time has come, however long earlier ones take; one that cannot be, because too
//! many are under way, counts as failed. What became of requests is counted by the second and not remembered.

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::http_client::{Place, place, site_url};
use crate::world::{Idle, get};
use crate::{cli, output, signals};

/// Requests under way at once; each is a connection.
const UNDER_WAY_MAX: usize = 10_000;

/// How many requests a second, over time.
#[derive(Clone, Copy, Debug)]
struct Profile {
    from: f64,
    to: f64,
    /// Seconds until `to` is reached, at a constant pace; then it stays.
    over_s: f64,
}

impl Profile {
    fn of(options: &cli::Load) -> Self {
        let from = f64::from(options.rate);
        Self { from, to: options.to.map_or(from, f64::from), over_s: options.over.unwrap_or_default().as_secs_f64() }
    }

    /// When the `n`th request is due, in seconds: where the integral of the rate is `n`.
    fn due_s(&self, n: u64) -> f64 {
        let n = n as f64;
        let of_rise = (self.from + self.to) / 2.0 * self.over_s;
        if n >= of_rise {
            return self.over_s + (n - of_rise) / self.to;
        }
        let slope = (self.to - self.from) / self.over_s;
        if slope == 0.0 {
            n / self.from
        } else {
            ((self.from * self.from + 2.0 * slope * n).sqrt() - self.from) / slope
        }
    }

    fn rate_at(&self, s: f64) -> f64 {
        if s >= self.over_s { self.to } else { self.from + (self.to - self.from) * s / self.over_s }
    }
}

/// What became of the requests of a second, and of all.
#[derive(Default)]
struct Tally {
    ok: u64,
    failed: u64,
    latencies: Vec<Duration>,
    all_ok: u64,
    all_failed: u64,
    slowest: Duration,
}

impl Tally {
    fn add(&mut self, succeeded: bool, latency: Duration) {
        let (now, all) =
            if succeeded { (&mut self.ok, &mut self.all_ok) } else { (&mut self.failed, &mut self.all_failed) };
        *now += 1;
        *all += 1;
        self.latencies.push(latency);
        self.slowest = self.slowest.max(latency);
    }

    /// The line of a second that is over, which begins anew.
    fn line(&mut self, second: u64, rate: f64) -> String {
        self.latencies.sort_unstable();
        let line = format!(
            "{second:>5}s  {rate:>6.0}/s  {:>6} ok  {:>5} failed  p50 {:>8.2} ms  p99 {:>8.2} ms",
            self.ok,
            self.failed,
            millis(percentile(&self.latencies, 0.50)),
            millis(percentile(&self.latencies, 0.99))
        );
        (self.ok, self.failed) = (0, 0);
        self.latencies.clear();
        line
    }
}

type Shared = Arc<Mutex<Tally>>;

fn lock(tally: &Shared) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

pub async fn run(options: &cli::Load, endpoint: &str) -> Result<ExitCode> {
    let url = site_url(&options.url, endpoint);
    let (target, profile) = (place(&url)?, Profile::of(options));
    let (tally, idle): (Shared, Idle) = Default::default();
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    let mut printed = 0;
    let mut interrupted = std::pin::pin!(signals::stop_requested());
    for n in 0.. {
        let due = Duration::from_secs_f64(profile.due_s(n));
        if due >= options.duration {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep_until(start + due) => (),
            _ = &mut interrupted => break,
        }
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= UNDER_WAY_MAX {
            lock(&tally).add(false, options.timeout);
        } else {
            tasks.spawn(one(target.clone(), idle.clone(), options.timeout, start + due, tally.clone()));
        }
        if due.as_secs() > printed {
            let line = lock(&tally).line(printed, profile.rate_at(printed as f64));
            printed = due.as_secs();
            if !options.json {
                output::line(line);
            }
        }
    }
    while tasks.join_next().await.is_some() {}
    let report = report(&url, &lock(&tally), start.elapsed());
    if options.json {
        output::line(format_args!("{report:#}"));
    } else {
        output::line(format_args!(
            "\n{} requests, {} succeeded, {} failed, slowest {:.0} ms",
            report["requests"],
            report["succeeded"],
            report["failed"],
            report["max_ms"].as_f64().unwrap_or_default()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(target: Place, idle: Idle, timeout: Duration, due: Instant, tally: Shared) {
    let answer = tokio::time::timeout(timeout, get(&target, &idle)).await;
    let succeeded = answer.is_ok_and(|answer| answer.fate.succeeded());
    lock(&tally).add(succeeded, due.elapsed());
}

fn report(url: &str, tally: &Tally, took: Duration) -> Json {
    let requests = tally.all_ok + tally.all_failed;
    json!({
        "url": url, "requests": requests, "succeeded": tally.all_ok, "failed": tally.all_failed,
        "seconds": took.as_secs_f64(), "max_ms": millis(tally.slowest),
    })
}

fn percentile(sorted: &[Duration], p: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * p).round() as usize).copied().unwrap_or_default()
}

/// In milliseconds, to a microsecond.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_where_the_rate_says() {
        let steady = Profile { from: 50.0, to: 50.0, over_s: 0.0 };
        assert_eq!((steady.due_s(0), steady.due_s(50), steady.due_s(75)), (0.0, 1.0, 1.5));
        // From 10 to 30 in 10 s: 200 requests in the rise, half of the way in time is 75 of them.
        let rising = Profile { from: 10.0, to: 30.0, over_s: 10.0 };
        assert_eq!((rising.due_s(0), rising.due_s(75), rising.due_s(200)), (0.0, 5.0, 10.0));
        assert_eq!((rising.due_s(230), rising.rate_at(5.0), rising.rate_at(99.0)), (11.0, 20.0, 30.0));
        let falling = Profile { from: 30.0, to: 10.0, over_s: 10.0 };
        assert_eq!((falling.due_s(125), falling.due_s(210)), (5.0, 11.0));
    }

    #[test]
    fn a_second_s_line_begins_the_next_one_anew() {
        let mut tally = Tally::default();
        tally.add(true, Duration::from_millis(3));
        tally.add(false, Duration::from_millis(9));
        let line = tally.line(0, 2.0);
        assert!(line.contains("1 ok") && line.contains("1 failed") && line.contains("p99     9.00 ms"), "{line}");
        assert!(tally.line(1, 2.0).contains("0 ok"));
        assert_eq!(report("u", &tally, Duration::ZERO)["requests"], json!(2));
    }
}
