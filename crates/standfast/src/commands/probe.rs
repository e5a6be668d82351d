//! `probe`: open-loop load, and what its users would have seen.
//!
//! How requests are sent and counted is `standfast_gameday::probe`; here is the command line around it. What it sees it
//! tells the cloud on a thread of its own, so that this costs no request its time.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value as Json, json};
use standfast_gameday::World;
use standfast_gameday::probe::{
    self, CSV_HEAD, Kind, Log, Named, Pace, RECORDS_MAX, Record, SharedLog, Stopper, Summary, Target, Teller, lock,
    nines, summarize,
};
use standfast_gameday::report::words;
use tokio::sync::oneshot;

use crate::api_client::ApiClient;
use crate::cli;
use crate::http_client::site_url;
use crate::output;
use crate::signals;
use crate::world::{self, RealWorld};

/// A second's line is printed this much later, when its requests have been answered.
const LINE_LATER: Duration = Duration::from_secs(2);

/// How long a cloud may take to say what time it is there.
const CLOCK_LIMIT: Duration = Duration::from_secs(2);

/// Sends the load and prints the report; fails only when it could not be sent.
pub async fn run(options: &cli::Probe, client: &ApiClient) -> Result<ExitCode> {
    let url = site_url(&options.url, client.endpoint());
    let world = world::real(client);
    let cloud = if options.no_metrics { None } else { cloud(client).await };
    let target = Target { url: url.clone(), timeout: options.timeout };
    let shot = world.aim(&target).map_err(|error| anyhow!(error))?;
    let pace = Pace { per_second: options.rate, duration: options.duration };
    if pace.total() > RECORDS_MAX {
        bail!("{} requests are too many for one probe; the limit is {RECORDS_MAX}", pace.total());
    }
    // A file that cannot be written is said before anything is sent.
    if let Some(path) = &options.records {
        File::create(path).with_context(|| format!("making {}", path.display()))?;
    }
    let log = SharedLog::default();
    let (stopper, stop) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        // Whoever has seen enough still wants the report.
        if signals::stop_requested().await.is_ok() {
            stopper.send_replace(true);
        }
    });
    let (start, quiet) = (world.elapsed(), options.json);
    let mut lines = Lines::default();
    let telling = match cloud {
        None => None,
        Some(cloud) => {
            let named = Named { probe: options.name.clone().unwrap_or_else(|| url.clone()), stack: None };
            let (began, speed) = (cloud.now(), cloud.speed());
            let teller = Teller { world: world.clone(), named, pace, start, began, speed, log: log.clone() };
            Some(Telling::start(teller)?)
        }
    };
    probe::fire(&world, &shot, pace, start, &log, stop, |due| {
        if !quiet {
            lines.until(due.saturating_sub(LINE_LATER), &log);
        }
    })
    .await;
    if let Some(telling) = telling {
        telling.end().await;
    }
    let mut all = std::mem::take(&mut *lock(&log));
    all.sort();
    if let Some(path) = &options.records {
        write_records(path, std::iter::once((options.name.as_deref().unwrap_or(&url), &all)))?;
    }
    let summary = summarize(&all, &all.records);
    if options.json {
        output::line(format_args!("{:#}", report(&url, options.rate, &summary)));
    } else {
        let end = all.records.last().map_or(Duration::ZERO, |record| Duration::from_micros(record.due_us));
        *lock(&log) = all;
        lines.until(end + Duration::from_secs(1), &log);
        output::text_of(people(&url, options.rate, &summary));
    }
    Ok(ExitCode::SUCCESS)
}

/// The cloud at the endpoint, if one soon says what time it is there.
async fn cloud(client: &ApiClient) -> Option<RealWorld> {
    #[allow(clippy::disallowed_methods)] // Something real that may not answer.
    let cloud = tokio::time::timeout(CLOCK_LIMIT, RealWorld::by_its_clock(client.clone())).await;
    cloud.ok()?.ok()
}

/// A thread that tells the cloud what the probe sees.
struct Telling {
    done: Stopper,
    ended: oneshot::Receiver<()>,
}

impl Telling {
    fn start(teller: Teller) -> Result<Self> {
        let (done, is_done) = tokio::sync::watch::channel(false);
        let (tell, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("metrics".into()).spawn(move || {
            runtime.block_on(teller.tell(is_done));
            // Nobody listens when the command has ended already.
            let _ = tell.send(());
        })?;
        Ok(Self { done, ended })
    }

    /// Tells what is left.
    async fn end(self) {
        self.done.send_replace(true);
        // It is no failure of the probe when the thread has failed.
        let _ = self.ended.await;
    }
}

/// Writes every request of these probes as CSV.
pub fn write_records<'a>(path: &Path, probes: impl Iterator<Item = (&'a str, &'a Log)>) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(path)?);
        out.write_all(CSV_HEAD.as_bytes())?;
        for (probe, log) in probes {
            for line in log.csv(probe) {
                out.write_all(line.as_bytes())?;
            }
        }
        out.flush()
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The lines of seconds that are over.
#[derive(Default)]
struct Lines {
    printed: u64,
}

impl Lines {
    /// Prints the lines of all seconds that had ended at this time.
    fn until(&mut self, time: Duration, log: &Arc<std::sync::Mutex<Log>>) {
        while self.printed < time.as_secs() {
            output::line(second_line(self.printed, &lock(log)));
            self.printed += 1;
        }
    }
}

/// Requests are answered nearly in order: those of a second are near the end, among those of this many seconds more.
const BACK: u64 = 12;

fn second_line(second: u64, log: &Log) -> String {
    let due = |record: &Record| record.due_us / 1_000_000;
    let recent = log.records.iter().rev().take_while(|record| due(record) + BACK >= second);
    let mut now: VecDeque<Record> = VecDeque::new();
    recent.filter(|record| due(record) == second).for_each(|record| now.push_front(*record));
    let summary = summarize(log, &now);
    let line = format!(
        "{second:>5}s  {:>5} ok  {:>4} failed  p50 {:>7.2} ms  p99 {:>7.2} ms",
        summary.succeeded, summary.failed, summary.latency.p50_ms, summary.latency.p99_ms
    );
    if summary.failed > 0 && std::io::stdout().is_terminal() { format!("\x1b[31m{line}\x1b[0m") } else { line }
}

fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
}

fn report(url: &str, rate: u32, summary: &Summary) -> Json {
    let latency = &summary.latency;
    json!({
        "url": url, "kind": Kind::of(url).map(Kind::name), "rate": rate,
        "requests": summary.requests, "succeeded": summary.succeeded, "failed": summary.failed,
        "success_rate": summary.availability(), "nines": nines(summary.failed, summary.requests),
        "outages": summary.outages.len(), "longest_outage_ms": millis(summary.longest_outage_us()),
        "p50_ms": latency.p50_ms, "p90_ms": latency.p90_ms, "p99_ms": latency.p99_ms, "p999_ms": latency.p999_ms,
        "max_ms": latency.max_ms, "answers": summary.answers, "zones": summary.zones,
    })
}

fn people(url: &str, rate: u32, summary: &Summary) -> String {
    let counts = |map: &std::collections::BTreeMap<String, u64>| {
        map.iter().map(|(name, count)| format!("{name}: {count}")).collect::<Vec<_>>().join(", ")
    };
    let latency = &summary.latency;
    let zones = if summary.zones.is_empty() {
        String::new()
    } else {
        format!("  answered by     {}\n", counts(&summary.zones))
    };
    format!(
        "\n{} requests to {url} at {rate} a second\n  succeeded       {} ({:.4}%), failed {}\n  availability    {}\n  \
         longest outage  {:.0} ms (of {})\n  latency         p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms\n  \
         answers         {}\n{zones}",
        summary.requests,
        summary.succeeded,
        summary.availability() * 100.0,
        summary.failed,
        words::nines(summary.failed, summary.requests),
        millis(summary.longest_outage_us()),
        summary.outages.len(),
        latency.p50_ms,
        latency.p99_ms,
        latency.max_ms,
        counts(&summary.answers),
    )
}
