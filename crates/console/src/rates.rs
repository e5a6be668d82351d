//! The traffic of the last minutes, second by second.
//!
//! Samples what the data plane has counted and keeps the differences. Times are the machine's: requests come from
//! programs outside of the cloud, whatever the speed of its clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::Timestamp;
use standfast_core::lb::{Traffic, TrafficCounts};
use standfast_kernel::Cloud;

/// How often is looked.
const STEP: Duration = Duration::from_secs(1);
/// How many steps are kept: five minutes.
pub const STEPS_MAX: usize = 300;
/// A rate that is shown as a number is that of the last steps, so that it can be read.
const NOW_STEPS: usize = 3;

/// Whose traffic: of a load balancer's nodes, or with a group of its targets; in a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    balancer: String,
    group: Option<String>,
    zone: String,
}

/// What is asked for: of all balancers, groups or zones where nothing is named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Of<'a> {
    pub balancer: Option<&'a str>,
    /// None: what nodes took. `Some(None)`: what targets of any group got.
    pub group: Option<Option<&'a str>>,
    pub zone: Option<&'a str>,
}

impl Of<'_> {
    fn holds(&self, key: &Key) -> bool {
        let group = match self.group {
            None => key.group.is_none(),
            Some(None) => key.group.is_some(),
            Some(Some(group)) => key.group.as_deref() == Some(group),
        };
        group && self.balancer.is_none_or(|one| one == key.balancer) && self.zone.is_none_or(|one| one == key.zone)
    }
}

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub answers: f64,
    pub requests: f64,
    pub errors: f64,
    /// Mean, in milliseconds; of targets that answered.
    pub latency_ms: Option<f64>,
}

/// One step: when it ended, how long it was, and what grew in it.
struct Step {
    at: Timestamp,
    seconds: f64,
    grown: BTreeMap<Key, TrafficCounts>,
}

#[derive(Default)]
struct Kept {
    last: Option<(Timestamp, BTreeMap<Key, TrafficCounts>)>,
    steps: VecDeque<Step>,
}

/// What was sampled. Cheap to clone.
#[derive(Clone, Default)]
pub struct Rates(Arc<Mutex<Kept>>);

impl Rates {
    /// Samples as long as the cloud runs.
    pub fn watch(&self, cloud: &Cloud) {
        let (rates, of) = (self.clone(), cloud.clone());
        cloud.supervisor().spawn("console/rates".into(), async move {
            loop {
                let lb = of.planes().lb.clone();
                // The data plane may be a process that hangs.
                if let Ok(traffic) = tokio::task::spawn_blocking(move || lb.traffic()).await {
                    rates.add(of.clock().machine_now(), traffic);
                }
                of.clock().sleep(STEP.mul_f64(of.clock().speed())).await;
            }
        });
    }

    fn add(&self, now: Timestamp, traffic: Vec<Traffic>) {
        let key = |traffic: &Traffic| Key {
            balancer: traffic.balancer.clone(),
            group: traffic.group.clone(),
            zone: traffic.zone.clone(),
        };
        let counts: BTreeMap<Key, TrafficCounts> = traffic.iter().map(|one| (key(one), one.counts)).collect();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, last)) = kept.last.take() {
            let grown = counts.iter().filter_map(|(key, counts)| {
                let before = last.get(key).copied().unwrap_or_default();
                let grown = difference(*counts, before);
                (grown != TrafficCounts::default()).then(|| (key.clone(), grown))
            });
            let step = Step { at: now, seconds: now.since(before).as_secs_f64().max(0.001), grown: grown.collect() };
            kept.steps.push_back(step);
            while kept.steps.len() > STEPS_MAX {
                kept.steps.pop_front();
            }
        }
        kept.last = Some((now, counts));
    }

    /// The rate now.
    pub fn now(&self, of: Of) -> Rate {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps: Vec<&Step> = kept.steps.iter().rev().take(NOW_STEPS).collect();
        let seconds: f64 = steps.iter().map(|step| step.seconds).sum();
        rate(steps.iter().flat_map(|step| &step.grown), of, seconds)
    }

    /// The rate of every step that is kept.
    pub fn history(&self, of: Of) -> Vec<(Timestamp, Rate)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.steps.iter().map(|step| (step.at, rate(step.grown.iter(), of, step.seconds))).collect()
    }

    /// The answers and the errors among them of the last steps, and for how many seconds they are counted.
    pub fn sum(&self, of: Of, steps: usize) -> (u64, u64, f64) {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = || kept.steps.iter().rev().take(steps);
        let seconds = steps().map(|step| step.seconds).sum();
        let counts = steps().flat_map(|step| &step.grown).filter(|(key, _)| of.holds(key));
        let (answers, errors) =
            counts.fold((0, 0), |(answers, errors), (_, grown)| (answers + grown.answers, errors + grown.errors));
        (answers, errors, seconds)
    }

    /// The zones from which or to which anything went lately, of what is asked for.
    pub fn zones(&self, of: Of) -> BTreeSet<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = kept.steps.iter().flat_map(|step| step.grown.keys());
        keys.filter(|key| of.holds(key)).map(|key| key.zone.clone()).collect()
    }
}

/// What was added since. A counter that is smaller has begun anew.
fn difference(now: TrafficCounts, before: TrafficCounts) -> TrafficCounts {
    if now.answers < before.answers || now.requests < before.requests {
        return now;
    }
    TrafficCounts {
        requests: now.requests - before.requests,
        answers: now.answers - before.answers,
        errors: now.errors.saturating_sub(before.errors),
        connection_errors: now.connection_errors.saturating_sub(before.connection_errors),
        timed: now.timed.saturating_sub(before.timed),
        time_us: now.time_us.saturating_sub(before.time_us),
    }
}

fn rate<'a>(grown: impl Iterator<Item = (&'a Key, &'a TrafficCounts)>, of: Of, seconds: f64) -> Rate {
    let mut sum = TrafficCounts::default();
    for (_, one) in grown.filter(|(key, _)| of.holds(key)) {
        sum.requests += one.requests;
        sum.answers += one.answers;
        sum.errors += one.errors;
        sum.timed += one.timed;
        sum.time_us += one.time_us;
    }
    if seconds <= 0.0 {
        return Rate::default();
    }
    let per_second = |count: u64| count as f64 / seconds;
    Rate {
        answers: per_second(sum.answers),
        requests: per_second(sum.requests),
        errors: per_second(sum.errors),
        latency_ms: (sum.timed > 0).then(|| sum.time_us as f64 / sum.timed as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(zone: &str, group: Option<&str>, answers: u64, errors: u64) -> Traffic {
        let counts = TrafficCounts {
            requests: answers,
            answers,
            errors,
            timed: answers,
            time_us: answers * 2000,
            ..Default::default()
        };
        Traffic { balancer: "app/web/1".into(), group: group.map(Into::into), zone: zone.into(), counts }
    }

    #[test]
    fn rates_are_differences_by_zone_and_survive_a_new_data_plane() {
        let rates = Rates::default();
        let tell = |second: i64, a: u64, b: u64, errors: u64| {
            let all = vec![traffic("a", None, a, errors), traffic("b", None, b, 0), traffic("a", Some("g"), a + b, 0)];
            rates.add(Timestamp(second * 1000), all);
        };
        assert_eq!(rates.now(Of::default()), Rate::default());
        tell(0, 1000, 2000, 0);
        tell(1, 1100, 2050, 10);
        let all = rates.now(Of::default());
        assert_eq!((all.answers, all.errors, all.latency_ms), (150.0, 10.0, Some(2.0)));
        assert_eq!(rates.now(Of { zone: Some("b"), ..Of::default() }).answers, 50.0);
        assert_eq!(rates.now(Of { group: Some(Some("g")), ..Of::default() }).answers, 150.0);
        assert_eq!(rates.now(Of { balancer: Some("other"), ..Of::default() }).answers, 0.0);
        tell(2, 7, 0, 0);
        assert_eq!(rates.history(Of { zone: Some("a"), ..Of::default() })[1].1.answers, 7.0, "it began anew");
        assert_eq!(rates.sum(Of { zone: Some("a"), ..Of::default() }, 60), (107, 10, 2.0));
    }
}
