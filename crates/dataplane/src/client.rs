//! A client's connection and the exchange under way on it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::Door;
use crate::body::Framing;
use crate::choose::Tried;
use crate::io::{Inbox, Key, Pool, Ready};
use crate::metrics::{Counters, Event};
use crate::space::Space;
use crate::table::{Balancer, Flight, Group, Route, Table};
use crate::tls::Wire;

/// Capacity that a connection's own buffers keep between requests.
const KEPT_CAPACITY: usize = 4 * 1024;

pub struct Client {
    pub stream: Wire,
    pub ready: Ready,
    pub inbox: Inbox,
    /// The inbox holds bytes that the parser has not seen.
    pub fresh: bool,
    /// What goes to the client before anything from the target.
    pub out: Vec<u8>,
    pub out_sent: usize,
    /// The head that goes to the target, kept for another attempt.
    pub head: Vec<u8>,
    pub door: Arc<Door>,
    pub place: Place,
    pub peer: SocketAddr,
    pub phase: Phase,
    pub exchange: Option<Exchange>,
    /// After this answer another request may follow.
    pub keep_alive: bool,
    pub deadline_us: u64,
    /// Bytes that were discarded while lingering.
    pub discarded: usize,
    _open: Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a request's head.
    Head,
    Exchange,
    /// An answer of our own is on its way.
    Answer,
    /// The answer is out; what the client still sends is discarded, so that closing does not destroy the answer.
    Linger,
}

/// What the table says about a client's door.
pub struct Place {
    pub version: u64,
    pub balancer: Arc<Balancer>,
    pub route: Arc<Route>,
    pub counters: Arc<Counters>,
    /// Where its node connects from.
    pub space: Option<Arc<Space>>,
}

impl Place {
    /// `None` when the listener is gone or its node is down.
    pub fn find(table: &Table, door: &Door) -> Option<Self> {
        let balancer = table.balancers.get(&door.balancer)?;
        let node = balancer.node(&door.zone).filter(|node| node.up)?;
        let route = balancer.route(door.port)?;
        Some(Self {
            version: table.version,
            balancer: balancer.clone(),
            route: route.clone(),
            counters: node.counters.clone(),
            space: node.space.clone(),
        })
    }

    pub fn idle_us(&self) -> u64 {
        self.balancer.idle_timeout.as_micros() as u64
    }
}

/// Counts the connection as open while it lives.
struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed();
    }
}

/// A request that was given to a target.
pub struct Exchange {
    pub upstream: Option<Key>,
    pub group: Arc<Group>,
    /// How long the client stays with the group, if it does.
    pub group_stays_s: Option<u32>,
    pub flight: Flight,
    pub tried: Tried,
    pub head_sent: usize,
    /// What is still to be read of the request's body, and how many bytes at the front of the inbox may go out.
    pub request: Framing,
    pub request_ready: usize,
    /// Some of the body has left us, or the client's connection ended: there is no second attempt.
    pub body_sent: bool,
    /// The target takes no more of the request; it may have answered already.
    pub write_broken: bool,
    pub answer: Answer,
    pub answer_ready: usize,
    /// Some bytes of an answer have come.
    pub received: bool,
    pub idempotent: bool,
    pub head_only: bool,
    pub http10: bool,
    pub upgrade: bool,
    pub keep_alive: bool,
    /// The target keeps its connection after this answer.
    pub target_keeps: bool,
    pub dechunk: bool,
    pub tunnel: Tunnel,
    /// When the head had been sent.
    pub sent_us: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Waiting,
    Body(Framing),
    /// All of it is read.
    Read,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    No,
    Open,
    /// The client has ended its side.
    ClientEnded,
    /// And the target was told.
    TargetTold,
}

impl Client {
    pub fn new(stream: Wire, peer: SocketAddr, door: Arc<Door>, place: Place, now_us: u64) -> Self {
        place.counters.opened();
        Self {
            stream,
            ready: Ready { writable: true, ..Ready::default() },
            inbox: Inbox::default(),
            fresh: false,
            out: Vec::new(),
            out_sent: 0,
            head: Vec::new(),
            door,
            peer,
            phase: Phase::Head,
            exchange: None,
            keep_alive: true,
            deadline_us: now_us + place.idle_us(),
            discarded: 0,
            _open: Open(place.counters.clone()),
            place,
        }
    }

    pub fn touch(&mut self, now_us: u64) {
        self.deadline_us = now_us + self.place.idle_us();
    }

    /// Nothing of a request has come yet.
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Head && self.inbox.is_empty()
    }

    /// Marks `count` bytes of `out` as written.
    pub fn wrote(&mut self, count: usize) {
        self.out_sent += count;
        if self.out_sent == self.out.len() {
            self.out_sent = 0;
            clear(&mut self.out);
        }
    }

    pub fn expect_request(&mut self, now_us: u64) {
        self.phase = Phase::Head;
        self.fresh = !self.inbox.is_empty();
        clear(&mut self.head);
        self.touch(now_us);
    }

    pub fn count(&self, event: Event) {
        self.place.counters.count(event);
    }

    pub fn release(&mut self, pool: &mut Pool) {
        self.inbox.release(pool);
    }
}

fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
}
