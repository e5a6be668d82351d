//! An event loop: one thread, its own listeners, clients and connections to targets.
//!
//! Invariant: nothing here waits but the poll. Each socket is registered once, edge-triggered, and a connection is
//! driven until it can move no further or has had its share of the turn. What it does with a request is in `serve`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use standfast_core::{Clock, Rng, Timestamp};

use crate::address::Door;
use crate::client::{Client, Phase, Place};
use crate::io::{Key, Kind, Pool, Slab, reset};
use crate::table::{Cell, Table};
use crate::tls::Wire;
use crate::upstream::Upstreams;

pub const WAKER: Token = Token(0);
const EVENTS_PER_TURN_MAX: usize = 1024;
/// Connections that one listener may take in one turn, so that a flood does not starve those that are served.
const ACCEPTS_PER_TURN_MAX: usize = 64;
/// Steps of one connection in one turn.
const STEPS_PER_TURN_MAX: usize = 32;
/// Deadlines are looked at together, at most this often.
const SWEEP_GAP_US: u64 = 10_000;
/// How long to leave a listener alone that fails to accept (out of file descriptors).
const ACCEPT_PAUSE_US: u64 = 100_000;

/// What a worker is told.
pub enum Command {
    Table(Arc<Table>),
    /// A listener for a door, in the place of this number.
    Open(Arc<Door>, u64, std::net::TcpListener),
    Close(Door, u64),
    Adopt(std::net::TcpStream, SocketAddr, Arc<Door>),
    /// Finish what is under way, for this long at most, and end.
    Stop(Duration),
}

struct Listening {
    listener: TcpListener,
    door: Arc<Door>,
    space: u64,
}

pub struct Worker {
    pub poll: Poll,
    commands: Receiver<Command>,
    listeners: Slab<Listening>,
    pub clients: Slab<Client>,
    pub upstreams: Upstreams,
    pub pool: Pool,
    pub table: Arc<Table>,
    pub rng: Rng,
    clock: Clock,
    speed: f64,
    epoch: Instant,
    /// The time of this turn: since the epoch, and of the control plane.
    pub now_us: u64,
    pub now: Timestamp,
    next_sweep_us: u64,
    last_sweep_us: u64,
    /// Draining targets and when their requests are cut off.
    drains: Vec<(u64, Arc<Cell>)>,
    /// To be driven in the next turn without an event.
    again: Vec<Key>,
    accept_again: Vec<Key>,
    accept_paused_until_us: u64,
    pub stop_at_us: Option<u64>,
}

/// How far a step got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something moved; there may be more to do.
    Again,
    /// Only an event or time can help.
    Wait,
    /// The client's connection is closed.
    Gone,
}

impl Worker {
    pub fn new(poll: Poll, commands: Receiver<Command>, clock: Clock, rng: Rng, speed: f64) -> Self {
        #[allow(clippy::disallowed_methods)] // Timeouts of real sockets run on the machine's time.
        let epoch = Instant::now();
        Self {
            poll,
            commands,
            listeners: Slab::default(),
            clients: Slab::default(),
            upstreams: Upstreams::default(),
            pool: Pool::default(),
            table: Arc::default(),
            rng,
            now: clock.now(),
            clock,
            speed,
            epoch,
            now_us: 0,
            next_sweep_us: u64::MAX,
            last_sweep_us: 0,
            drains: Vec::new(),
            again: Vec::new(),
            accept_again: Vec::new(),
            accept_paused_until_us: 0,
            stop_at_us: None,
        }
    }

    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        while !self.is_finished() {
            match self.poll.poll(&mut events, self.patience()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            self.now_us = self.epoch.elapsed().as_micros() as u64;
            self.now = self.clock.now();
            for key in std::mem::take(&mut self.again) {
                self.drive(key);
            }
            for event in &events {
                self.dispatch(event);
            }
            if self.now_us >= self.accept_paused_until_us {
                for key in std::mem::take(&mut self.accept_again) {
                    self.accept(key);
                }
            }
            if self.now_us >= self.next_sweep_us {
                self.sweep();
            }
        }
        Ok(())
    }

    fn is_finished(&mut self) -> bool {
        self.stop_at_us.is_some_and(|at| self.now_us >= at || self.clients.len() == 0)
    }

    fn patience(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let accept_us = if self.accept_again.is_empty() { u64::MAX } else { self.accept_paused_until_us };
        let until_us = self.next_sweep_us.min(accept_us);
        // Rounded up to a millisecond: the poll's own grain, or it would return early and turn in vain.
        (until_us < u64::MAX).then(|| Duration::from_millis(until_us.saturating_sub(self.now_us).div_ceil(1000)))
    }

    fn dispatch(&mut self, event: &Event) {
        if event.token() == WAKER {
            self.obey();
            return;
        }
        let (kind, key) = Key::of(event.token());
        match kind {
            Kind::Waker => {}
            Kind::Listener => self.accept(key),
            Kind::Client => {
                if let Some(client) = self.clients.get_mut(key) {
                    client.ready.merge(event);
                    self.drive(key);
                }
            }
            Kind::Upstream => self.upstream_event(key, event),
        }
    }

    /// Serves a client as far as possible.
    pub fn drive(&mut self, key: Key) {
        for _ in 0..STEPS_PER_TURN_MAX {
            match self.step(key) {
                Step::Again => {}
                Step::Wait => {
                    let deadline = self.clients.get_mut(key).map_or(u64::MAX, |client| client.deadline_us);
                    return self.note(deadline);
                }
                Step::Gone => return,
            }
        }
        self.again.push(key);
    }

    /// Makes sure that a sweep looks at a deadline in time.
    pub fn note(&mut self, deadline_us: u64) {
        let earliest = self.last_sweep_us + SWEEP_GAP_US;
        self.next_sweep_us = self.next_sweep_us.min(deadline_us.max(earliest));
    }

    fn sweep(&mut self) {
        let now_us = self.now_us;
        self.last_sweep_us = now_us;
        self.next_sweep_us = u64::MAX;
        for key in self.clients.keys(|client| client.deadline_us <= now_us) {
            self.client_timed_out(key);
        }
        let late = |(key, upstream): (Key, &mut crate::upstream::Upstream)| {
            (upstream.deadline_us <= now_us).then_some((key, upstream.client))
        };
        let late: Vec<_> = self.upstreams.iter_mut().filter_map(late).collect();
        for (key, client) in late {
            match client {
                Some(client) => self.connect_timed_out(client),
                None => self.upstreams.drop(key, &mut self.pool),
            }
        }
        let (over, drains) = std::mem::take(&mut self.drains).into_iter().partition(|(at, _)| *at <= now_us);
        self.drains = drains;
        for (_, cell) in over {
            self.cut(|other| Arc::ptr_eq(other, &cell));
        }
        let clients = self.clients.iter_mut().map(|(_, client)| client.deadline_us);
        let upstreams = self.upstreams.iter_mut().map(|(_, upstream)| upstream.deadline_us);
        let drains = self.drains.iter().map(|(at, _)| *at);
        let next = clients.chain(upstreams).chain(drains).chain(self.stop_at_us).min();
        self.note(next.unwrap_or(u64::MAX));
    }

    fn accept(&mut self, key: Key) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            let Some(Listening { listener, door, .. }) = self.listeners.get_mut(key) else { return };
            match listener.accept() {
                Ok((stream, peer)) => {
                    let door = door.clone();
                    self.serve(stream, peer, door);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The client gave up before it was served.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.accept_paused_until_us = self.now_us + ACCEPT_PAUSE_US;
                    break;
                }
            }
        }
        self.accept_again.push(key);
    }

    fn serve(&mut self, stream: TcpStream, peer: SocketAddr, door: Arc<Door>) {
        let Some(place) = Place::find(&self.table, &door).filter(|_| self.stop_at_us.is_none()) else {
            return reset(&stream);
        };
        let _ = stream.set_nodelay(true); // Answers are written whole.
        let stream = match Wire::new(stream, place.route.tls.as_ref()) {
            Ok(stream) => stream,
            Err(error) => return eprintln!("level=error event=tls_failed balancer={} error={error:?}", door.balancer),
        };
        let key = self.clients.insert(Client::new(stream, peer, door, place, self.now_us));
        let client = self.clients.get_mut(key).expect("just inserted");
        let deadline_us = client.deadline_us;
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut client.stream.tcp, key.token(Kind::Client), interest).is_err() {
            self.clients.remove(key);
        }
        self.note(deadline_us);
    }

    fn obey(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Table(table)) => self.replace_table(table),
                Ok(Command::Open(door, space, listener)) => self.open(door, space, listener),
                Ok(Command::Close(door, space)) => {
                    for key in self.listeners.keys(|one| *one.door == door && one.space == space) {
                        self.listeners.remove(key);
                    }
                }
                Ok(Command::Adopt(stream, peer, door)) => self.serve(TcpStream::from_std(stream), peer, door),
                Ok(Command::Stop(grace)) => self.stop(grace),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.stop(Duration::ZERO),
            }
        }
    }

    fn open(&mut self, door: Arc<Door>, space: u64, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener);
        let key = self.listeners.insert(Listening { listener, door, space });
        let listening = self.listeners.get_mut(key).expect("just inserted");
        let token = key.token(Kind::Listener);
        if self.poll.registry().register(&mut listening.listener, token, Interest::READABLE).is_err() {
            self.listeners.remove(key);
        }
    }

    fn stop(&mut self, grace: Duration) {
        let at = self.now_us + grace.as_micros() as u64;
        self.stop_at_us = Some(self.stop_at_us.map_or(at, |earlier| earlier.min(at)));
        for key in self.listeners.keys(|_| true) {
            self.listeners.remove(key);
        }
        for key in self.clients.keys(|client| client.is_idle()) {
            self.close(key);
        }
        self.note(at);
    }

    fn replace_table(&mut self, table: Arc<Table>) {
        self.table = table.clone();
        let is_down = |client: &mut Client| {
            let balancer = table.balancers.get(&client.door.balancer);
            balancer.and_then(|balancer| balancer.node(&client.door.zone)).is_none_or(|node| !node.up)
        };
        for key in self.clients.keys(is_down) {
            if let Some(client) = self.clients.get_mut(key) {
                reset(&client.stream.tcp);
            }
            self.close(key);
        }
        for key in self.clients.keys(|client| client.is_idle() && Place::find(&table, &client.door).is_none()) {
            self.close(key);
        }
        self.replace_targets(&table);
    }

    fn replace_targets(&mut self, table: &Table) {
        let live: std::collections::HashSet<_> = table.members().map(|member| Arc::as_ptr(&member.cell)).collect();
        let places: std::collections::HashSet<_> = table.places().collect();
        let dead = |(key, upstream): (Key, &mut crate::upstream::Upstream)| {
            let unwanted = upstream.cell.is_draining()
                || !live.contains(&Arc::as_ptr(&upstream.cell))
                || !places.contains(&upstream.space);
            (upstream.client.is_none() && unwanted).then_some(key)
        };
        let dead: Vec<_> = self.upstreams.iter_mut().filter_map(dead).collect();
        for key in dead {
            self.upstreams.drop(key, &mut self.pool);
        }
        self.upstreams.tidy();
        self.cut(|cell| !live.contains(&Arc::as_ptr(cell)));
        let stranded = |(_, upstream): (Key, &mut crate::upstream::Upstream)| {
            upstream.client.filter(|_| !places.contains(&upstream.space))
        };
        let stranded: Vec<_> = self.upstreams.iter_mut().filter_map(stranded).collect();
        for client in stranded {
            self.cut_off(client);
        }
        let drain = |member: &crate::table::Member| {
            let left = member.draining_until?.since(self.now).div_f64(self.speed);
            Some((self.now_us + left.as_micros() as u64, member.cell.clone()))
        };
        self.drains = table.members().filter_map(drain).collect();
        if let Some(first) = self.drains.iter().map(|(at, _)| *at).min() {
            self.note(first);
        }
    }

    /// Ends the exchanges of targets that may have none any more.
    fn cut(&mut self, is_over: impl Fn(&Arc<Cell>) -> bool) {
        let of_cell = |client: &mut Client| {
            client.phase == Phase::Exchange
                && client.exchange.as_ref().is_some_and(|exchange| is_over(exchange.flight.cell()))
        };
        for key in self.clients.keys(of_cell) {
            self.cut_off(key);
        }
    }
}
