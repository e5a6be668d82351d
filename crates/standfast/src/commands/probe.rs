//! `probe`: open-loop load, and what its users would have seen.
//!
//! Invariant: a request is sent when its time has come, however long earlier ones take (open loop), so a stall of the
//! site counts against every user who came during it. Each request is tried once.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use http_body_util::Full;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::cli;
use crate::http_client::{Connection, Place, place, site_url};
use crate::output;
use crate::signals;

/// All requests are remembered until the end; this many are enough for a day at 100 a second.
const REQUESTS_MAX: u64 = 10_000_000;
/// Idle connections kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 256;

/// What became of one request.
#[derive(Clone, Debug)]
struct Outcome {
    /// When it was due, after the beginning.
    due: Duration,
    latency: Duration,
    result: Result<u16, &'static str>,
}

impl Outcome {
    fn succeeded(&self) -> bool {
        matches!(self.result, Ok(status) if status < 500)
    }
}

type Log = Arc<Mutex<Vec<Outcome>>>;
pub type Idle = Arc<Mutex<VecDeque<Connection>>>;

/// Sends the load and prints the report; fails only when it could not be sent.
pub async fn run(options: &cli::Probe, endpoint: &str) -> Result<ExitCode> {
    let url = site_url(&options.url, endpoint);
    let target = place(&url)?;
    let total = (options.duration.as_secs_f64() * f64::from(options.rate)).round() as u64;
    if total > REQUESTS_MAX {
        bail!("{total} requests are too many for one probe; the limit is {REQUESTS_MAX}");
    }
    let start = Instant::now();
    let (log, idle): (Log, Idle) = Default::default();
    let mut tasks = tokio::task::JoinSet::new();
    let (mut printed, mut last) = (0, 0);
    let mut interrupted = std::pin::pin!(signals::stop_requested());
    for n in 0..total {
        let due = Duration::from_secs_f64(n as f64 / f64::from(options.rate));
        tokio::select! {
            () = tokio::time::sleep_until(start + due) => (),
            // Whoever has seen enough still wants the report.
            _ = &mut interrupted => break,
        }
        tasks.spawn(one(target.clone(), idle.clone(), options.timeout, start, due, log.clone()));
        while tasks.try_join_next().is_some() {}
        // A second's line comes a second later, when its requests have been answered.
        last = due.as_secs();
        if !options.json && last > printed + 1 {
            output::line(second_line(printed, &log));
            printed += 1;
        }
    }
    while tasks.join_next().await.is_some() {}
    if !options.json {
        (printed..=last).for_each(|second| output::line(second_line(second, &log)));
    }
    let outcomes = std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner));
    let report = report(&url, options.rate, outcomes);
    if options.json {
        output::line(format_args!("{report:#}"));
    } else {
        output::text_of(people(&report));
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(target: Place, idle: Idle, timeout: Duration, start: Instant, due: Duration, log: Log) {
    let result = match tokio::time::timeout(timeout, attempt(&target, &idle)).await {
        Ok(result) => result,
        Err(_) => Err("timed out"),
    };
    // From when it was due, not from when it left: the user came then.
    let outcome = Outcome { due, latency: start.elapsed().saturating_sub(due), result };
    log.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
}

pub async fn attempt(target: &Place, idle: &Idle) -> Result<u16, &'static str> {
    let kept = {
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop_back()).find(|connection| !connection.is_closed())
    };
    let mut connection = match kept {
        Some(connection) => connection,
        None => Connection::open(target.address).await.map_err(|_| "connection refused")?,
    };
    let request = http::Request::get(&target.path)
        .header("host", &target.host)
        .header("user-agent", "standfast-probe")
        .header("accept", "text/plain")
        .body(Full::default())
        .map_err(|_| "malformed URL")?;
    let status = connection.send(request).await.map_err(|_| "connection closed")?.status().as_u16();
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < IDLE_CONNECTIONS_MAX && !connection.is_closed() {
        idle.push_back(connection);
    }
    Ok(status)
}

fn second_line(second: u64, log: &Log) -> String {
    let (from, to) = (Duration::from_secs(second), Duration::from_secs(second + 1));
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    // Outcomes come nearly in order; the last few seconds are at the end.
    let recent = log.iter().rev().take_while(|o| o.due + Duration::from_secs(10) >= from);
    let mut latencies: Vec<Duration> = Vec::new();
    let (mut ok, mut failed) = (0, 0);
    for outcome in recent.filter(|o| o.due >= from && o.due < to) {
        if outcome.succeeded() {
            ok += 1
        } else {
            failed += 1
        }
        latencies.push(outcome.latency);
    }
    latencies.sort_unstable();
    let line = format!(
        "{second:>5}s  {ok:>5} ok  {failed:>4} failed  p50 {:>7.2} ms  p99 {:>7.2} ms",
        millis(percentile(&latencies, 0.50)),
        millis(percentile(&latencies, 0.99))
    );
    if failed > 0 && std::io::stdout().is_terminal() { format!("\x1b[31m{line}\x1b[0m") } else { line }
}

pub fn percentile(sorted: &[Duration], p: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * p).round() as usize).copied().unwrap_or_default()
}

/// In milliseconds, to a microsecond.
pub fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// The longest time in which no request succeeded although some were due: from the first failed request's time to the
/// next success; and the number of such times.
fn outages(sorted: &[Outcome]) -> (Duration, usize) {
    let (mut longest, mut count, mut since) = (Duration::ZERO, 0, None);
    for outcome in sorted {
        match (outcome.succeeded(), since) {
            (false, None) => {
                since = Some(outcome.due);
                count += 1;
            }
            (true, Some(start)) => {
                longest = longest.max(outcome.due.saturating_sub(start));
                since = None;
            }
            _ => (),
        }
    }
    if let (Some(start), Some(last)) = (since, sorted.last()) {
        longest = longest.max(last.due.saturating_sub(start));
    }
    (longest, count)
}

fn report(url: &str, rate: u32, mut outcomes: Vec<Outcome>) -> Json {
    outcomes.sort_by_key(|outcome| outcome.due);
    let ok = outcomes.iter().filter(|outcome| outcome.succeeded()).count();
    let mut latencies: Vec<Duration> = outcomes.iter().filter(|o| o.succeeded()).map(|o| o.latency).collect();
    latencies.sort_unstable();
    let mut answers: std::collections::BTreeMap<String, u64> = Default::default();
    for outcome in &outcomes {
        *answers.entry(outcome.result.map_or_else(str::to_owned, |status| status.to_string())).or_default() += 1;
    }
    let (longest, outages) = outages(&outcomes);
    json!({
        "url": url, "rate": rate, "requests": outcomes.len(), "succeeded": ok, "failed": outcomes.len() - ok,
        "success_rate": if outcomes.is_empty() { 1.0 } else { ok as f64 / outcomes.len() as f64 },
        "outages": outages, "longest_outage_ms": millis(longest),
        "p50_ms": millis(percentile(&latencies, 0.50)), "p99_ms": millis(percentile(&latencies, 0.99)),
        "max_ms": millis(percentile(&latencies, 1.0)), "answers": answers,
    })
}

fn people(report: &Json) -> String {
    let number = |name: &str| report[name].as_f64().unwrap_or_default();
    let answers: Vec<String> = report["answers"]
        .as_object()
        .map(|answers| answers.iter().map(|(answer, count)| format!("{answer}: {count}")).collect())
        .unwrap_or_default();
    format!(
        "\n{} requests to {} at {} a second\n  succeeded       {} ({:.4}%), failed {}\n  longest outage  {:.0} ms (of {})\n  \
         latency         p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms\n  answers         {}\n",
        report["requests"],
        report["url"].as_str().unwrap_or_default(),
        report["rate"],
        report["succeeded"],
        number("success_rate") * 100.0,
        report["failed"],
        number("longest_outage_ms"),
        report["outages"],
        number("p50_ms"),
        number("p99_ms"),
        number("max_ms"),
        answers.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(due_ms: u64, ok: bool) -> Outcome {
        let result = if ok { Ok(200) } else { Err("connection refused") };
        Outcome { due: Duration::from_millis(due_ms), latency: Duration::from_millis(due_ms % 100), result }
    }

    #[test]
    fn an_outage_lasts_from_the_first_failure_to_the_next_success() {
        let ok_at = |ms| outcome(ms, true);
        let failed_at = |ms| outcome(ms, false);
        assert_eq!(outages(&[ok_at(0), ok_at(5)]), (Duration::ZERO, 0));
        assert_eq!(
            outages(&[ok_at(0), failed_at(5), failed_at(10), ok_at(25), failed_at(30), ok_at(31)]),
            (Duration::from_millis(20), 2)
        );
        assert_eq!(outages(&[failed_at(5), failed_at(50)]), (Duration::from_millis(45), 1));
    }

    #[test]
    fn the_report_counts_what_users_saw() {
        let mut outcomes: Vec<Outcome> = (0..99).map(|n| outcome(n, true)).collect();
        outcomes.push(Outcome { due: Duration::from_millis(99), latency: Duration::ZERO, result: Ok(502) });
        let report = report("http://localhost/", 100, outcomes);
        assert_eq!((&report["succeeded"], &report["failed"]), (&json!(99), &json!(1)));
        assert_eq!(report["answers"], json!({"200": 99, "502": 1}));
        assert_eq!(report["p50_ms"], json!(49.0));
    }
}
