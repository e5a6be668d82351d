//! The simulation decides as the plane does, in virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standfast_core::lb::{Health, LbDriver, Node};
use standfast_core::{Clock, Timestamp};
use standfast_dataplane::{NO_NODE, SimAnswer, SimLb};

use crate::support::*;

type Answers = Arc<Mutex<BTreeMap<SocketAddr, SimAnswer>>>;

struct Sim {
    lb: SimLb,
    clock: Clock,
    answers: Answers,
    sockets: Vec<SocketAddr>,
}

/// `count` targets that answer 200, with probes every 30 s.
async fn sim(count: usize) -> Sim {
    let clock = Clock::starting_at(Timestamp(1_800_000_000_000), 1.0);
    let sockets: Vec<SocketAddr> = (0..count).map(|n| SocketAddr::from(([127, 0, 1, n as u8 + 1], 80))).collect();
    let answers: Answers =
        Arc::new(Mutex::new(sockets.iter().map(|socket| (*socket, SimAnswer::Status(200))).collect()));
    let backend = answers.clone();
    let answer = move |socket, _: &str| backend.lock().expect("no panic").get(&socket).copied();
    let lb =
        SimLb::new(clock.clone(), Arc::new(move |socket, path| answer(socket, path).unwrap_or(SimAnswer::Refused)));
    let mut group = group(sockets.iter().enumerate().map(|(n, socket)| target(&format!("i-{n}"), *socket)).collect());
    group.health.interval_ms = 30_000;
    lb.obey(Arc::new(snapshot(group)));
    clock.sleep(Duration::from_secs(1)).await;
    Sim { lb, clock, answers, sockets }
}

impl Sim {
    fn set(&self, target: usize, answer: SimAnswer) {
        self.answers.lock().expect("no panic").insert(self.sockets[target], answer);
    }

    fn load(&self, requests: usize) -> Vec<u16> {
        (0..requests).map(|_| self.lb.request(NAME, "/")).collect()
    }

    fn healthy(&self) -> usize {
        self.lb.observe().targets.values().filter(|health| **health == Health::Healthy).count()
    }
}

#[tokio::test(start_paused = true)]
async fn losing_targets_loses_no_request_and_healing_brings_them_back() {
    let sim = sim(5).await;
    assert_eq!((sim.healthy(), sim.load(10)), (5, vec![200; 10]));
    let changed = sim.lb.changed();
    sim.set(0, SimAnswer::Refused);
    sim.set(1, SimAnswer::Refused);
    assert_eq!(sim.load(100), vec![200; 100]);
    assert_eq!(sim.healthy(), 3, "ejected at once");
    tokio::time::timeout(Duration::from_secs(1), changed).await.expect("told");
    sim.set(0, SimAnswer::Status(200));
    sim.clock.sleep(Duration::from_secs(31)).await;
    assert_eq!(sim.healthy(), 4, "one pass suffices");
    sim.clock.sleep(Duration::from_secs(31)).await;
    sim.set(1, SimAnswer::Status(200));
    sim.clock.sleep(Duration::from_secs(31)).await;
    assert_eq!(sim.healthy(), 4, "it had failed by threshold");
    sim.clock.sleep(Duration::from_secs(30)).await;
    assert_eq!(sim.healthy(), 5);
}

#[tokio::test(start_paused = true)]
async fn probes_find_slow_and_failing_targets() {
    let sim = sim(2).await;
    sim.set(0, SimAnswer::Timeout);
    sim.set(1, SimAnswer::Status(500));
    sim.clock.sleep(Duration::from_secs(70)).await;
    let reasons: Vec<String> = sim.lb.observe().targets.values().map(|health| format!("{health:?}")).collect();
    assert!(reasons[0].contains("Target.Timeout") && reasons[1].contains("codes: [500]"), "{reasons:?}");
    let mut answers = sim.load(2);
    answers.sort_unstable();
    assert_eq!(answers, [500, 504], "all unhealthy: fail open");
}

#[tokio::test(start_paused = true)]
async fn errors_are_the_services() {
    let sim = sim(2).await;
    (0..2).for_each(|n| sim.set(n, SimAnswer::Refused));
    assert_eq!(sim.load(2), [502, 502]);
    let mut state = snapshot(group(vec![]));
    sim.lb.obey(Arc::new(state.clone()));
    assert_eq!(sim.load(1), [503]);
    state.load_balancers[0].nodes = vec![Node { place: None, zone: ZONES[0].into(), up: false }];
    sim.lb.obey(Arc::new(state));
    assert_eq!((sim.load(1), sim.lb.request("other.elb.localhost", "/")), (vec![NO_NODE], NO_NODE));
    let data = sim.lb.take_metrics();
    let sum = |name: &str| data.iter().find(|d| d.name == name && d.dimensions.len() == 1).map(|d| d.stats.sum);
    assert_eq!((sum("HTTPCode_ELB_502_Count"), sum("HTTPCode_ELB_503_Count")), (Some(2.0), Some(1.0)));
}
