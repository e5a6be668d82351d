//! The probes of a game day, from the first request to the last.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::World;
use crate::check::Ready;
use crate::probe::{Named, Pace, SharedLog, Stopper, Summary, Teller, fire, lock, summarize};
use crate::report::{Fact, words};
use crate::spec::{Probe, Steady};

/// For how long no request may have failed when everything serves again.
const RECENT: Duration = Duration::from_secs(1);

/// A probe that sends.
struct Running {
    probe: Probe,
    log: SharedLog,
    stopper: Stopper,
    task: JoinHandle<()>,
}

/// All probes of a day, while they send.
pub(super) struct Probes(Vec<Running>);

impl Probes {
    /// Starts them: the first requests are due at `start`, by the world's `elapsed`; the last after `longest`. Each tells
    /// the cloud what it sees.
    pub(super) fn start(
        world: &Arc<dyn World>,
        ready: &Ready,
        stack: &str,
        longest: Duration,
        start: Duration,
    ) -> Self {
        let start_one = |(probe, shot): &(Probe, crate::world::Shot)| {
            let (log, (stopper, stop)) = (SharedLog::default(), tokio::sync::watch::channel(false));
            let pace = Pace { per_second: probe.rate, duration: longest };
            let (world, shot, kept) = (world.clone(), shot.clone(), log.clone());
            let named = Named { probe: probe.name.clone(), stack: Some(stack.to_owned()) };
            let began = world.now() + start.saturating_sub(world.elapsed());
            let log_read = log.clone();
            let teller = Teller { world: world.clone(), named, pace, start, began, speed: 1.0, log: log_read };
            let task = tokio::spawn(async move {
                let (done, is_done) = tokio::sync::watch::channel(false);
                let all = async {
                    fire(&world, &shot, pace, start, &kept, stop, |_| ()).await;
                    done.send_replace(true);
                };
                tokio::join!(biased; all, teller.tell(is_done));
            });
            Running { probe: probe.clone(), log, stopper, task }
        };
        Self(ready.probes.iter().map(start_one).collect())
    }

    /// The probe whose last second had failures.
    pub(super) fn failing(&self, now_ms: i64) -> Option<String> {
        let from_us = (now_ms - RECENT.as_millis() as i64).max(0) as u64 * 1000;
        let failing = |running: &&Running| {
            let log = lock(&running.log);
            log.records
                .iter()
                .rev()
                .take_while(|record| record.due_us >= from_us)
                .any(|record| !record.fate.succeeded())
        };
        self.0.iter().find(failing).map(|running| format!("requests of the probe '{}' fail", running.probe.name))
    }

    /// What of the steady state does not hold in this time.
    pub(super) fn unsteady(&self, steady: &Steady, from_ms: i64, to_ms: i64) -> Vec<String> {
        let mut why = Vec::new();
        for running in &self.0 {
            let log = lock(&running.log);
            let in_time = |us: u64| us as i64 >= from_ms * 1000 && (us as i64) < to_ms * 1000;
            let mut records: Vec<_> = log.records.iter().filter(|record| in_time(record.due_us)).copied().collect();
            records.sort_by_key(|record| record.due_us);
            why.extend(out_of_bounds(&running.probe.name, steady, &summarize(&log, &records)));
        }
        why
    }

    /// Ends them and waits for what is under way.
    pub(super) async fn stop(&mut self) {
        for running in &mut self.0 {
            running.stopper.send_replace(true);
            // Its records are in the log, whatever became of the task.
            let _ = (&mut running.task).await;
        }
    }

    /// What they saw.
    pub(super) fn into_facts(self) -> Vec<Fact> {
        (self.0.into_iter())
            .map(|running| {
                let mut log = std::mem::take(&mut *lock(&running.log));
                log.sort();
                Fact { probe: running.probe, log }
            })
            .collect()
    }
}

fn out_of_bounds(probe: &str, steady: &Steady, summary: &Summary) -> Vec<String> {
    let mut why = Vec::new();
    if summary.availability() < steady.success_rate {
        why.push(format!(
            "{probe}: {} succeeded, and {} should",
            words::percent(summary.availability()),
            words::percent(steady.success_rate)
        ));
    }
    let latencies = [("p50", steady.p50, summary.latency.p50_ms), ("p99", steady.p99, summary.latency.p99_ms)];
    for (name, most, measured_ms) in latencies {
        if let Some(most) = most.filter(|most| measured_ms > most.as_secs_f64() * 1000.0) {
            let (measured, most) = (words::time(measured_ms / 1000.0), words::time(most.as_secs_f64()));
            why.push(format!("{probe}: {name} is {measured}, and should be at most {most}"));
        }
    }
    why
}
