//! The thread beside the workers: binds and closes listeners, and runs the health checks.
//!
//! Workers never wait for it: health and tables reach them through shared cells and their own channels.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};

use crate::address::{self, Addresses, Door};
use crate::io::Key;
use crate::probe::Prober;
use crate::space::{MACHINE, Space};
use crate::table::{Changes, Table, lock};
use crate::worker::{Command, WAKER};

const EVENTS_PER_TURN_MAX: usize = 256;

/// What the steward is told.
pub enum Order {
    Table(Arc<Table>),
    Stop,
}

/// How to reach a worker.
#[derive(Clone)]
pub struct Line {
    pub commands: Sender<Command>,
    pub waker: Arc<Waker>,
}

impl Line {
    /// Gives the command back when the worker is gone.
    pub fn tell(&self, command: Command) -> Result<(), Command> {
        self.commands.send(command).map_err(|error| error.0)?;
        // It fails only when the poll is gone, and with it the worker.
        let _ = self.waker.wake();
        Ok(())
    }
}

/// Where the listeners are, by balancer, zone and port.
pub type Sockets = Mutex<BTreeMap<(String, String, u16), SocketAddr>>;

/// A door and the number of the place that it leads in from.
pub type Way = (Door, u64);

pub struct Steward {
    pub poll: Poll,
    pub orders: Receiver<Order>,
    pub workers: Vec<Line>,
    pub sockets: Arc<Sockets>,
    pub changes: Changes,
    pub prober: Prober,
    pub addresses: Addresses,
    /// The doors that are open, each in the machine's own network and in its node's place.
    pub open: BTreeMap<Way, SocketAddr>,
    /// Those of which it was said that they cannot be opened.
    pub shut: BTreeSet<Way>,
}

impl Steward {
    pub fn run(mut self) -> io::Result<()> {
        #[allow(clippy::disallowed_methods)] // Timeouts of real sockets run on the machine's time.
        let epoch = Instant::now();
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        let mut patience = None;
        loop {
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now_us = epoch.elapsed().as_micros() as u64;
            for event in &events {
                if event.token() == WAKER {
                    if self.obey(now_us).is_none() {
                        return Ok(());
                    }
                } else {
                    self.prober.event(Key::of(event.token()).1, event);
                }
            }
            let next_us = self.prober.turn(self.poll.registry(), now_us);
            patience = next_us.map(|at| Duration::from_millis(at.saturating_sub(now_us).div_ceil(1000)));
        }
    }

    /// `None` when it is time to end.
    fn obey(&mut self, now_us: u64) -> Option<()> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Table(table)) => {
                    self.prober.replace(&table, now_us);
                    self.replace_doors(&table);
                }
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => return Some(()),
            }
        }
    }

    fn replace_doors(&mut self, table: &Table) {
        let wanted = doors(table);
        let closed: Vec<Way> = self.open.keys().filter(|way| !wanted.contains_key(*way)).cloned().collect();
        for way in &closed {
            self.open.remove(way);
            self.tell_all(|| Command::Close(way.0.clone(), way.1));
        }
        self.shut.retain(|way| wanted.contains_key(way));
        let mut opened = false;
        for (way, at) in &wanted {
            if !self.open.contains_key(way) {
                opened |= self.open(way, at);
            }
        }
        if opened || !closed.is_empty() {
            let here = self.open.iter().filter(|((_, space), _)| *space == MACHINE);
            let socket = |((door, _), socket): (&Way, &SocketAddr)| {
                ((door.balancer.clone(), door.zone.clone(), door.port), *socket)
            };
            *lock(&self.sockets) = here.map(socket).collect();
            self.changes.tell();
        }
    }

    /// Whether it could be opened; what could not is tried again with the next table.
    fn open(&mut self, way: &Way, at: &At) -> bool {
        let (door, space) = way;
        let bound = match at {
            At::Machine(ports) => self.addresses.bind(door, ports, self.workers.len()),
            At::Place(place) => address::bind_in(place, door.port, self.workers.len()),
        };
        let (socket, listeners) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                if self.shut.insert(way.clone()) {
                    say_shut(door, &error);
                }
                return false;
            }
        };
        self.shut.remove(way);
        self.open.insert(way.clone(), socket);
        let shared = Arc::new(door.clone());
        for (worker, listener) in self.workers.iter().zip(listeners) {
            // A worker that is gone serves nothing; its listener closes with the message.
            let _ = worker.tell(Command::Open(shared.clone(), *space, listener));
        }
        true
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _ = worker.tell(command()); // A worker that is gone has no listeners to close.
        }
    }
}

fn say_shut(Door { balancer, zone, port }: &Door, error: &io::Error) {
    let error = error.to_string();
    eprintln!("level=warn event=lb_listener_shut load_balancer={balancer} zone={zone} port={port} error={error:?}");
}

/// Where a door is opened.
enum At {
    /// In the machine's own network; with all ports of its node.
    Machine(Vec<u16>),
    Place(Arc<Space>),
}

/// The doors that should be open.
fn doors(table: &Table) -> BTreeMap<Way, At> {
    let mut doors = BTreeMap::new();
    for balancer in table.balancers.values() {
        let ports: Vec<u16> = balancer.routes.iter().map(|route| route.port).collect();
        for node in balancer.nodes.iter().filter(|node| node.up) {
            for port in &ports {
                let door = Door { balancer: balancer.arn.clone(), zone: node.zone.clone(), port: *port };
                if let Some(place) = &node.space {
                    doors.insert((door.clone(), place.number), At::Place(place.clone()));
                }
                doors.insert((door, MACHINE), At::Machine(ports.clone()));
            }
        }
    }
    doors
}
