//! Tells the cloud what a probe sees, second by second: metrics like everyone's.
//!
//! Invariant: a probe neither waits nor fails because of it. What the cloud does not take is tried again with the next
//! second, up to a limit, and then forgotten.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_core::{Fault, Timestamp};

use super::engine::{Pace, Stop};
use super::figures::{Figure, NAMESPACE, PROBE, STACK, Tally};
use super::record::{SharedLog, lock};
use crate::world::{World, patience};

/// How often is told.
const EVERY: Duration = Duration::from_secs(1);
/// A call that takes longer is given up.
const CALL_LIMIT: Duration = Duration::from_secs(2);
/// How many data wait for a cloud that does not take them; PutMetricData takes a thousand.
const BACKLOG_MAX: usize = 600;
/// The longest name that a dimension takes.
const NAME_MAX: usize = 1024;

/// Whose figures they are: the metrics' dimensions.
#[derive(Clone, Debug)]
pub struct Named {
    pub probe: String,
    pub stack: Option<String>,
}

/// A probe that tells, as `fire` runs it.
pub struct Teller {
    pub world: Arc<dyn World>,
    pub named: Named,
    pub pace: Pace,
    /// The world's `elapsed` at the first request.
    pub start: Duration,
    /// The cloud's time at the first request, and how many times as fast as `elapsed` it runs.
    pub began: Timestamp,
    pub speed: f64,
    pub log: SharedLog,
}

impl Teller {
    /// Tells every second until `done`, and then what is left. `log` is not sorted before this has returned.
    pub async fn tell(self, mut done: Stop) {
        let mut tally = Tally::new(self.pace);
        let mut backlog: Vec<Json> = Vec::new();
        let mut next = self.start;
        let mut is_over = false;
        while !is_over {
            next = (next + patience(&*self.world, EVERY)).max(self.world.elapsed());
            tokio::select! {
                // In this order, so that a seed is a run.
                biased;
                _ = done.wait_for(|done| *done) => is_over = true,
                () = self.world.sleep_until(next) => (),
            }
            let elapsed = self.world.elapsed().saturating_sub(self.start);
            let mut figures = tally.look(&lock(&self.log));
            if !is_over {
                figures.push(tally.waiting(elapsed.as_millis() as u64));
            }
            backlog.extend(figures.iter().map(|figure| self.datum(figure)));
            let too_many = backlog.len().saturating_sub(BACKLOG_MAX);
            backlog.drain(..too_many);
            if !backlog.is_empty() {
                self.send(&mut backlog).await;
            }
        }
    }

    /// Sends what waits; what was not taken, but may be later, stays.
    async fn send(&self, backlog: &mut Vec<Json>) {
        let input = json!({"Namespace": NAMESPACE, "MetricData": &*backlog});
        let limit = self.world.elapsed() + patience(&*self.world, CALL_LIMIT);
        let answer = tokio::select! {
            biased;
            answer = self.world.call("cloudwatch", "PutMetricData", input) => Some(answer),
            () = self.world.sleep_until(limit) => None,
        };
        let is_refused = |error: &standfast_core::Error| error.fault == Fault::Client && !error.is("Throttling");
        if answer.is_some_and(|answer| answer.as_ref().err().is_none_or(is_refused)) {
            backlog.clear();
        }
    }

    fn datum(&self, figure: &Figure) -> Json {
        let at = self.began + Duration::from_secs(figure.second).mul_f64(self.speed);
        let mut dimensions = vec![json!({"Name": PROBE, "Value": plain(&self.named.probe)})];
        dimensions.extend(self.named.stack.as_ref().map(|stack| json!({"Name": STACK, "Value": plain(stack)})));
        let (values, counts): (Vec<f64>, Vec<u64>) = figure.values.iter().copied().unzip();
        json!({
            "MetricName": figure.metric.name(), "Dimensions": dimensions, "Unit": figure.metric.unit(),
            "Timestamp": at.iso8601(), "Values": values, "Counts": counts, "StorageResolution": 1,
        })
    }
}

/// A name as dimensions take it: ASCII that can be seen.
fn plain(name: &str) -> String {
    let seen = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    let name: String = name.chars().take(NAME_MAX).map(seen).collect();
    if name.trim().is_empty() { "probe".into() } else { name }
}
