//! What the load balancers count, and how it becomes CloudWatch's data.
//!
//! Requests only touch `Counters`: atomics that they reach without a lock. `collect` empties them. A metric that counted
//! nothing is not published, like ELB's own; host counts always are.
//!
//! AWS-DIFF: ActiveConnectionCount counts connections from clients, not those to targets.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use standfast_core::lb::TrafficCounts;
use standfast_core::metric::{Datum, Stats};

use crate::times::{self, Times};

const NAMESPACE: &str = "AWS/ApplicationELB";

/// Counters of one load balancer's node, or of one target group's targets in one zone.
#[derive(Debug)]
pub struct Counters {
    counts: [AtomicU64; COUNT],
    /// Connections that are open now; not emptied.
    active: AtomicU64,
    times: Times,
    /// What was taken already.
    before: Mutex<TrafficCounts>,
}

/// What is counted. The order is that of `NAMES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Request,
    Target2xx,
    Target3xx,
    Target4xx,
    Target5xx,
    ConnectionError,
    Elb4xx,
    Elb5xx,
    Elb500,
    Elb502,
    Elb503,
    Elb504,
    NewConnection,
    Redirect,
    FixedResponse,
    TlsNegotiationError,
}

const COUNT: usize = NAMES.len();
const NAMES: [&str; 16] = [
    "RequestCount",
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_3XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
    "TargetConnectionErrorCount",
    "HTTPCode_ELB_4XX_Count",
    "HTTPCode_ELB_5XX_Count",
    "HTTPCode_ELB_500_Count",
    "HTTPCode_ELB_502_Count",
    "HTTPCode_ELB_503_Count",
    "HTTPCode_ELB_504_Count",
    "NewConnectionCount",
    "HTTP_Redirect_Count",
    "HTTP_Fixed_Response_Count",
    "ClientTLSNegotiationErrorCount",
];

impl Default for Counters {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; COUNT],
            active: AtomicU64::new(0),
            times: Times::default(),
            before: Mutex::default(),
        }
    }
}

impl Counters {
    pub fn count(&self, event: Event) {
        self.counts[event as usize].fetch_add(1, Relaxed);
    }

    /// A target answered with `status`, `took_us` after the request had been sent.
    pub fn answered(&self, status: u16, took_us: u64) {
        match status / 100 {
            2 => self.count(Event::Target2xx),
            3 => self.count(Event::Target3xx),
            4 => self.count(Event::Target4xx),
            5 => self.count(Event::Target5xx),
            _ => {}
        }
        self.times.add(took_us);
    }

    /// The load balancer itself answered with an error.
    pub fn refused(&self, status: u16) {
        match status {
            400..500 => self.count(Event::Elb4xx),
            500.. => self.count(Event::Elb5xx),
            _ => {}
        }
        match status {
            500 => self.count(Event::Elb500),
            502 => self.count(Event::Elb502),
            503 => self.count(Event::Elb503),
            504 => self.count(Event::Elb504),
            _ => {}
        }
    }

    pub fn opened(&self) {
        self.active.fetch_add(1, Relaxed);
        self.count(Event::NewConnection);
    }

    pub fn closed(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// All that was ever counted. Neither runs beside `take`: both have the registry to themselves.
    pub fn total(&self) -> TrafficCounts {
        let before = *self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = std::array::from_fn(|at| self.counts[at].load(Relaxed));
        sum(before, &counts, self.times.total())
    }

    fn take(&self) -> Taken {
        let mut counts = [0; COUNT];
        for (taken, count) in counts.iter_mut().zip(&self.counts) {
            *taken = count.swap(0, Relaxed);
        }
        let times = self.times.take();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        *before = sum(*before, &counts, times.total());
        Taken { counts, active: self.active.load(Relaxed), times }
    }
}

/// The counts with what was counted since.
fn sum(before: TrafficCounts, counts: &[u64; COUNT], (timed, time_us): (u64, u64)) -> TrafficCounts {
    let of = |events: &[Event]| events.iter().map(|event| counts[*event as usize]).sum::<u64>();
    let errors = of(&[Event::Target5xx, Event::Elb5xx]);
    let others = [Event::Target2xx, Event::Target3xx, Event::Target4xx, Event::Elb4xx];
    TrafficCounts {
        requests: before.requests + of(&[Event::Request]),
        answers: before.answers + errors + of(&others) + of(&[Event::Redirect, Event::FixedResponse]),
        errors: before.errors + errors,
        connection_errors: before.connection_errors + of(&[Event::ConnectionError]),
        timed: before.timed + timed,
        time_us: before.time_us + time_us,
    }
}

#[derive(Default)]
struct Taken {
    counts: [u64; COUNT],
    active: u64,
    times: times::Taken,
}

impl Taken {
    fn add(&mut self, other: &Taken) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.active += other.active;
        self.times.add(&other.times);
    }
}

/// A target group of a load balancer, as `collect` sees it.
pub struct GroupView<'a> {
    pub balancer: &'a str,
    pub dimension: &'a str,
    /// Counters by the zone of the targets.
    pub zones: Vec<(&'a str, &'a Counters)>,
    /// The zone and health of each target that is in use.
    pub hosts: Vec<(&'a str, bool)>,
}

type Dimensions = Vec<(&'static str, String)>;

/// The data of one load balancer from its nodes, by zone; empties their counters.
pub fn collect_balancer(dimension: &str, zones: &[(&str, &Counters)], out: &mut Vec<Datum>) {
    let base = vec![("LoadBalancer", dimension.to_owned())];
    let mut total = Taken::default();
    for (zone, counters) in zones {
        let taken = counters.take();
        total.add(&taken);
        publish(&taken, &with_zone(&base, zone), out);
    }
    publish(&total, &base, out);
    if total.active > 0 {
        out.push(datum("ActiveConnectionCount", &base, "Count", Stats::one(total.active as f64)));
    }
}

/// The data of one target group; empties its counters.
pub fn collect_group(group: &GroupView<'_>, out: &mut Vec<Datum>) {
    let base = vec![("LoadBalancer", group.balancer.to_owned()), ("TargetGroup", group.dimension.to_owned())];
    let mut total = Taken::default();
    for (zone, counters) in &group.zones {
        let taken = counters.take();
        total.add(&taken);
        publish(&taken, &with_zone(&base, zone), out);
    }
    publish(&total, &base, out);
    publish_hosts(&group.hosts, &base, out);
    publish_per_target(total.counts[Event::Request as usize], group, &base, out);
}

fn publish(taken: &Taken, dimensions: &Dimensions, out: &mut Vec<Datum>) {
    for (name, count) in NAMES.into_iter().zip(taken.counts) {
        let of_balancer_only = name == NAMES[Event::NewConnection as usize];
        if count > 0 && !(of_balancer_only && dimensions.len() > 1) {
            let stats = Stats { count: count as f64, sum: count as f64, min: 1.0, max: 1.0 };
            out.push(datum(name, dimensions, "Count", stats));
        }
    }
    let values = taken.times.values();
    if !values.is_empty() {
        out.push(Datum { values, ..datum("TargetResponseTime", dimensions, "Seconds", taken.times.stats()) });
    }
}

fn publish_hosts(hosts: &[(&str, bool)], base: &Dimensions, out: &mut Vec<Datum>) {
    let mut counts = |dimensions: &Dimensions, zone: Option<&str>| {
        let of_zone = || hosts.iter().filter(|(host_zone, _)| zone.is_none_or(|zone| zone == *host_zone));
        let healthy = of_zone().filter(|(_, healthy)| *healthy).count();
        let unhealthy = of_zone().count() - healthy;
        out.push(datum("HealthyHostCount", dimensions, "Count", Stats::one(healthy as f64)));
        out.push(datum("UnHealthyHostCount", dimensions, "Count", Stats::one(unhealthy as f64)));
    };
    counts(base, None);
    let mut zones: Vec<&str> = hosts.iter().map(|(zone, _)| *zone).collect();
    zones.sort_unstable();
    zones.dedup();
    for zone in zones {
        counts(&with_zone(base, zone), Some(zone));
    }
}

/// Target tracking scales on this one: its sum over a period is the mean number of requests that a target got.
fn publish_per_target(requests: u64, group: &GroupView<'_>, base: &Dimensions, out: &mut Vec<Datum>) {
    let healthy = group.hosts.iter().filter(|(_, healthy)| *healthy).count();
    if requests == 0 || group.hosts.is_empty() {
        return;
    }
    let hosts = if healthy > 0 { healthy } else { group.hosts.len() };
    let share = requests as f64 / hosts as f64;
    for dimensions in [base.clone(), vec![("TargetGroup", group.dimension.to_owned())]] {
        out.push(datum("RequestCountPerTarget", &dimensions, "Count", Stats::one(share)));
    }
}

fn with_zone(base: &Dimensions, zone: &str) -> Dimensions {
    let mut dimensions = base.clone();
    dimensions.push(("AvailabilityZone", zone.to_owned()));
    dimensions
}

fn datum(name: &'static str, dimensions: &Dimensions, unit: &'static str, stats: Stats) -> Datum {
    Datum { namespace: NAMESPACE, name, dimensions: dimensions.clone(), unit, stats, values: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(data: &'a [Datum], name: &str, dimensions: &[(&str, &str)]) -> Option<&'a Stats> {
        let same = |datum: &&Datum| {
            datum.name == name
                && datum.dimensions.len() == dimensions.len()
                && datum.dimensions.iter().zip(dimensions).all(|(a, b)| (a.0, a.1.as_str()) == *b)
        };
        data.iter().find(same).map(|datum| &datum.stats)
    }

    #[test]
    fn counts_are_published_per_zone_and_in_sum_and_then_forgotten() {
        let (a, b) = (Counters::default(), Counters::default());
        a.count(Event::Request);
        b.count(Event::Request);
        a.answered(200, 1_000);
        b.answered(302, 3_000);
        b.refused(503);
        a.opened();
        let mut data = Vec::new();
        collect_balancer("app/x/1", &[("a", &a), ("b", &b)], &mut data);
        let lb = ("LoadBalancer", "app/x/1");
        assert_eq!(find(&data, "RequestCount", &[lb]).map(|stats| stats.sum), Some(2.0));
        assert_eq!(find(&data, "RequestCount", &[lb, ("AvailabilityZone", "a")]).map(|stats| stats.sum), Some(1.0));
        let time = Stats { count: 2.0, sum: 0.004, min: 0.001, max: 0.003 };
        assert_eq!(find(&data, "TargetResponseTime", &[lb]), Some(&time));
        assert_eq!(find(&data, "HTTPCode_ELB_503_Count", &[lb]).map(|stats| stats.sum), Some(1.0));
        assert_eq!(find(&data, "HTTPCode_ELB_5XX_Count", &[lb]).map(|stats| stats.sum), Some(1.0));
        assert!(find(&data, "HTTPCode_Target_5XX_Count", &[lb]).is_none());
        assert!(find(&data, "NewConnectionCount", &[lb]).is_some());
        assert!(find(&data, "NewConnectionCount", &[lb, ("AvailabilityZone", "a")]).is_none());
        data.clear();
        collect_balancer("app/x/1", &[("a", &a), ("b", &b)], &mut data);
        assert_eq!(data.len(), 1, "only the open connection is left: {data:?}");
        a.refused(502);
        let total =
            TrafficCounts { requests: 1, answers: 2, errors: 1, timed: 1, time_us: 1_000, ..Default::default() };
        assert_eq!(a.total(), total, "what was taken counts too");
        assert_eq!(find(&data, "ActiveConnectionCount", &[lb]), Some(&Stats::one(1.0)));
    }

    #[test]
    fn hosts_are_counted_by_zone_of_the_target() {
        let counters = Counters::default();
        (0..6).for_each(|_| counters.count(Event::Request));
        let group = GroupView {
            balancer: "app/x/1",
            dimension: "targetgroup/g/2",
            zones: vec![("a", &counters)],
            hosts: vec![("a", true), ("b", true), ("b", false)],
        };
        let mut data = Vec::new();
        collect_group(&group, &mut data);
        let (lb, tg) = (("LoadBalancer", "app/x/1"), ("TargetGroup", "targetgroup/g/2"));
        assert_eq!(find(&data, "HealthyHostCount", &[lb, tg]), Some(&Stats::one(2.0)));
        let in_b = [lb, tg, ("AvailabilityZone", "b")];
        assert_eq!(find(&data, "UnHealthyHostCount", &in_b), Some(&Stats::one(1.0)));
        assert_eq!(find(&data, "RequestCountPerTarget", &[tg]), Some(&Stats::one(3.0)));
        assert_eq!(find(&data, "RequestCountPerTarget", &[lb, tg]), Some(&Stats::one(3.0)));
    }
}
