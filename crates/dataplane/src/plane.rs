//! The real data plane: workers, a steward, and what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use mio::{Poll, Waker};
use standfast_core::lb::{LbDriver, LbObservation, LbSnapshot, Traffic};
use standfast_core::metric::Datum;
use standfast_core::{BoxFuture, Clock, Rng};
use tokio::sync::watch;

use crate::address::{Addresses, Door};
use crate::probe::Prober;
use crate::steward::{Line, Order, Sockets, Steward};
use crate::table::{Changes, Registry, Table, lock};
use crate::worker::{Command, WAKER, Worker};

/// More workers than this would be a mistake in the configuration.
pub const WORKERS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// Event loops; at least one. One per core is best.
    pub workers: usize,
    /// How many times as fast as the machine's the control plane's time runs. Health intervals and deregistration
    /// delays are divided by it; idle timeouts are the users' and are not.
    pub speed: f64,
    pub clock: Clock,
    pub rng: Rng,
}

/// The load balancers' data plane on real sockets. Dropping it closes everything at once.
pub struct Plane {
    registry: Mutex<Registry>,
    table: Mutex<Arc<Table>>,
    workers: Vec<Line>,
    steward: (Sender<Order>, Arc<Waker>),
    sockets: Arc<Sockets>,
    changes: Changes,
    /// The worker that adopts next.
    turn: AtomicUsize,
    /// How many workers run.
    running: watch::Receiver<usize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Plane {
    pub fn start(config: PlaneConfig) -> io::Result<Self> {
        let changes = Changes::new();
        let sockets = Arc::new(Sockets::default());
        let count = config.workers.clamp(1, WORKERS_MAX);
        let (running, running_watch) = watch::channel(count);
        let running = Arc::new(running);
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (line, thread) = start_worker(&config, index, running.clone())?;
            workers.push(line);
            threads.push(thread);
        }
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (orders, receiver) = channel();
        let steward = Steward {
            poll,
            orders: receiver,
            workers: workers.clone(),
            sockets: sockets.clone(),
            changes: changes.clone(),
            prober: Prober::new(config.speed),
            addresses: Addresses::default(),
            open: BTreeMap::new(),
            shut: BTreeSet::new(),
        };
        threads.push(Builder::new().name("lb-steward".into()).spawn(move || report("steward", steward.run()))?);
        Ok(Self {
            registry: Mutex::new(Registry::new(changes.clone())),
            table: Mutex::default(),
            workers,
            steward: (orders, waker),
            sockets,
            changes,
            turn: AtomicUsize::new(0),
            running: running_watch,
            threads: Mutex::new(threads),
        })
    }

    /// Takes over a client's connection that came to another listener for the load balancer whose name is `host` (a
    /// port is ignored). Nothing of it may have been read: the request is still in the socket's buffer. It is served as
    /// if it had come to one of the load balancer's nodes, in turn, on port 80 or else the lowest. `Err` gives it back
    /// when no load balancer with a node has that name.
    pub fn adopt(&self, host: &str, stream: TcpStream) -> Result<(), TcpStream> {
        let table = lock(&self.table).clone();
        let door = table.named(host).and_then(|balancer| {
            let (node, route) = balancer.front_door()?;
            Some(Door { balancer: balancer.arn.clone(), zone: node.zone.clone(), port: route.port })
        });
        let (Some(door), Ok(peer)) = (door, stream.peer_addr()) else { return Err(stream) };
        if stream.set_nonblocking(true).is_err() {
            return Err(stream);
        }
        let worker = &self.workers[self.turn.fetch_add(1, Ordering::Relaxed) % self.workers.len()];
        worker.tell(Command::Adopt(stream, peer, Arc::new(door))).map_err(|command| match command {
            Command::Adopt(stream, ..) => stream,
            _ => unreachable!("a channel gives back what was sent"),
        })
    }

    fn stop(&self, grace: Duration) {
        for worker in &self.workers {
            let _ = worker.tell(Command::Stop(grace)); // It may have ended already.
        }
        let _ = self.steward.0.send(Order::Stop);
        let _ = self.steward.1.wake();
        lock(&self.sockets).clear();
    }
}

fn start_worker(
    config: &PlaneConfig,
    index: usize,
    running: Arc<watch::Sender<usize>>,
) -> io::Result<(Line, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let (commands, receiver) = channel();
    // A sequence of its own: workers do not wait for one another's chance.
    let rng = Rng::seeded(config.rng.u64());
    let worker = Worker::new(poll, receiver, config.clock.clone(), rng, config.speed);
    let thread = Builder::new().name(format!("lb-worker-{index}")).spawn(move || {
        let _counted = Running(running);
        report("worker", worker.run());
    })?;
    Ok((Line { commands, waker }, thread))
}

/// A poll that fails cannot be repaired; say so instead of vanishing.
fn report(who: &str, result: io::Result<()>) {
    if let Err(error) = result {
        eprintln!("load balancer {who} ended: {error}");
    }
}

/// Counts a worker as running while it lives, also when it panics.
struct Running(Arc<watch::Sender<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl LbDriver for Plane {
    fn obey(&self, snapshot: Arc<LbSnapshot>) {
        let mut registry = lock(&self.registry); // Held to the end: tables arrive in order.
        let table = Arc::new(registry.compile(&snapshot));
        for worker in &self.workers {
            let _ = worker.tell(Command::Table(table.clone())); // A worker that is gone needs none.
        }
        let _ = self.steward.0.send(Order::Table(table.clone()));
        let _ = self.steward.1.wake();
        let before = std::mem::replace(&mut *lock(&self.table), table.clone());
        // Only a difference is told: who obeys on every change would otherwise never come to rest.
        if before.health() != table.health() {
            self.changes.tell();
        }
    }

    fn observe(&self) -> LbObservation {
        let table = lock(&self.table).clone();
        LbObservation { targets: table.health(), listeners: lock(&self.sockets).clone() }
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

    fn shutdown(&self, grace: Duration) -> BoxFuture<'static, ()> {
        self.stop(grace);
        let mut running = self.running.clone();
        Box::pin(async move {
            // An error means that every worker has dropped its end: all are done.
            let _ = running.wait_for(|count| *count == 0).await;
        })
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ = thread.join(); // A panic was already printed by its thread.
        }
    }
}

/// Where a listener is; what `LbObservation` holds, for one of them.
pub fn socket_of(observation: &LbObservation, balancer: &str, zone: &str, port: u16) -> Option<SocketAddr> {
    observation.listeners.get(&(balancer.to_owned(), zone.to_owned(), port)).copied()
}
