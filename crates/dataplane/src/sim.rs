//! The load balancers without sockets: the same rules, choices, health and metrics, on the clock's (virtual) time.
//!
//! For tests of whole clouds. Probes are tasks on the clock; requests are calls. A request takes no time and has no
//! headers, so nothing is ever under way at a target and stickiness does not apply.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standfast_core::lb::{HealthCheck, LbDriver, LbObservation, LbSnapshot, Traffic};
use standfast_core::metric::Datum;
use standfast_core::{BoxFuture, Clock};
use tokio::task::AbortHandle;

use crate::address;
use crate::choose::{self, Chosen, Tried};
use crate::health::Outcome;
use crate::metrics::{Counters, Event};
use crate::route::Request;
use crate::table::{Act, Cell, Changes, Group, Registry, Table, lock};

/// No node of the load balancer is up: a client could not even connect.
pub const NO_NODE: u16 = 0;
/// The source that rules see.
const CLIENT: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What a target would do with a request for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimAnswer {
    Status(u16),
    Refused,
    Timeout,
}

/// Asks the target at a socket for a path.
pub type Backend = Arc<dyn Fn(SocketAddr, &str) -> SimAnswer + Send + Sync>;

/// The simulation. `obey` must be called within a tokio runtime, where it spawns the probes.
pub struct SimLb {
    clock: Clock,
    backend: Backend,
    changes: Changes,
    registry: Mutex<Registry>,
    table: Mutex<Arc<Table>>,
    /// By the address of the cell, which its probe's task keeps alive.
    probes: Mutex<HashMap<usize, Probe>>,
}

struct Probe {
    check: HealthCheck,
    task: AbortHandle,
    /// Keeps the address from being used again.
    _cell: Arc<Cell>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl SimLb {
    pub fn new(clock: Clock, backend: Backend) -> Self {
        let changes = Changes::new();
        Self {
            clock,
            backend,
            registry: Mutex::new(Registry::simulated(changes.clone())),
            changes,
            table: Mutex::default(),
            probes: Mutex::default(),
        }
    }

    /// Sends a GET to the load balancer of this name, as a client on the API's port would: the status that it gets, or
    /// `NO_NODE`.
    pub fn request(&self, dns_name: &str, path: &str) -> u16 {
        self.ask(dns_name, path).0
    }

    /// The same, and the target that answered.
    pub fn ask(&self, dns_name: &str, path: &str) -> (u16, Option<Arc<Cell>>) {
        let table = lock(&self.table).clone();
        let Some(balancer) = table.named(dns_name) else { return (NO_NODE, None) };
        let Some((node, route)) = balancer.front_door() else { return (NO_NODE, None) };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request { method: "GET", host: dns_name, path, query, headers: &[], source: CLIENT };
        match choose::action(route, &request) {
            Some(Act::Fixed { status, .. }) => {
                node.counters.count(Event::FixedResponse);
                (*status, None)
            }
            Some(Act::Redirect(redirect)) => {
                node.counters.count(Event::Redirect);
                (redirect.status, None)
            }
            Some(act) => match choose::group(act, None, self.clock.now()) {
                Some(group) => self.forward(group, &node.counters, path),
                None => (refuse(&node.counters, 503), None),
            },
            None => (refuse(&node.counters, 503), None),
        }
    }

    fn forward(&self, group: &Group, node: &Counters, path: &str) -> (u16, Option<Arc<Cell>>) {
        let mut tried = Tried::default();
        while !tried.is_exhausted() {
            let first = tried.is_empty();
            let cell = match choose::target(group, &tried, None, self.clock.now()) {
                Chosen::Target(cell) => cell,
                Chosen::NoTargets if first => return (refuse(node, 503), None),
                _ => break,
            };
            tried.add(&cell);
            if first {
                node.count(Event::Request);
                cell.counters.count(Event::Request);
            }
            match (self.backend)(cell.socket, path) {
                SimAnswer::Status(status) => {
                    node.answered(status, 0);
                    cell.counters.answered(status, 0);
                    return (status, Some(cell));
                }
                SimAnswer::Timeout => return (refuse(node, 504), None),
                SimAnswer::Refused => {
                    node.count(Event::ConnectionError);
                    cell.counters.count(Event::ConnectionError);
                    cell.refused();
                }
            }
        }
        (refuse(node, 502), None)
    }

    fn replace_probes(&self, table: &Table) {
        let mut probes = lock(&self.probes);
        let mut before = std::mem::take(&mut *probes);
        for group in table.groups.values().filter(|group| group.check.enabled) {
            for member in group.members.iter().filter(|member| member.draining_until.is_none()) {
                let id = Arc::as_ptr(&member.cell).addr();
                let kept = before.remove(&id).filter(|probe| probe.check == group.check);
                probes.insert(id, kept.unwrap_or_else(|| self.start_probe(&member.cell, &group.check)));
            }
        }
    }

    fn start_probe(&self, cell: &Arc<Cell>, check: &HealthCheck) -> Probe {
        let (clock, backend) = (self.clock.clone(), self.backend.clone());
        let task = tokio::spawn(probe(clock, backend, cell.clone(), check.clone()));
        Probe { check: check.clone(), task: task.abort_handle(), _cell: cell.clone() }
    }
}

/// Probes one target until it is aborted.
async fn probe(clock: Clock, backend: Backend, cell: Arc<Cell>, check: HealthCheck) {
    let port = check.port.unwrap_or(cell.socket.port());
    let socket = SocketAddr::new(cell.socket.ip(), port);
    let interval = Duration::from_millis(check.interval_ms.max(1));
    let timeout = Duration::from_millis(check.timeout_ms).min(interval);
    loop {
        let answer = backend(socket, &check.path);
        let waited = if answer == SimAnswer::Timeout { timeout } else { Duration::ZERO };
        clock.sleep(waited).await;
        let outcome = match answer {
            SimAnswer::Status(status) => Outcome::Status(status),
            SimAnswer::Refused => Outcome::Refused,
            SimAnswer::Timeout => Outcome::Timeout,
        };
        cell.probed(outcome, &check);
        clock.sleep(interval - waited).await;
    }
}

fn refuse(node: &Counters, status: u16) -> u16 {
    node.refused(status);
    status
}

impl LbDriver for SimLb {
    fn obey(&self, snapshot: Arc<LbSnapshot>) {
        let mut registry = lock(&self.registry); // Held to the end: tables follow one another in order.
        let table = Arc::new(registry.compile(&snapshot));
        self.replace_probes(&table);
        let before = std::mem::replace(&mut *lock(&self.table), table.clone());
        if before.health() != table.health() {
            self.changes.tell();
        }
    }

    fn observe(&self) -> LbObservation {
        let table = lock(&self.table).clone();
        let mut listeners = BTreeMap::new();
        for balancer in table.balancers.values() {
            for node in balancer.nodes.iter().filter(|node| node.up) {
                let address = address::candidate(&balancer.arn, &node.zone, 0);
                for route in &balancer.routes {
                    let key = (balancer.arn.clone(), node.zone.clone(), route.port);
                    listeners.insert(key, SocketAddr::from((address, route.port)));
                }
            }
        }
        LbObservation { targets: table.health(), listeners }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.changes.next())
    }

    fn take_metrics(&self) -> Vec<Datum> {
        let mut registry = lock(&self.registry);
        let table = lock(&self.table).clone();
        registry.collect(&table)
    }

    fn traffic(&self) -> Vec<Traffic> {
        lock(&self.registry).traffic()
    }

    fn shutdown(&self, _grace: Duration) -> BoxFuture<'static, ()> {
        lock(&self.probes).clear();
        *lock(&self.table) = Arc::default();
        Box::pin(std::future::ready(()))
    }
}
