//! Connections to targets, and the pool of idle ones. Each worker has its own.
//!
//! Invariant: a request uses only connections that were made from its node's place. The same address may be another
//! machine elsewhere.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry};

use crate::io::{Inbox, Key, Kind, Pool, Ready, Slab};
use crate::space::{self, Space};
use crate::table::Cell;

/// Idle connections that a worker keeps to one target.
const IDLE_PER_TARGET_MAX: usize = 256;
/// How long an idle connection is kept. Shorter than the keep-alive of common servers, which would close it under us.
pub const IDLE_US: u64 = 4_000_000;
pub const CONNECT_TIMEOUT_US: u64 = 10_000_000;

pub struct Upstream {
    pub stream: TcpStream,
    pub ready: Ready,
    pub inbox: Inbox,
    pub cell: Arc<Cell>,
    /// The number of the place that it was made from.
    pub space: u64,
    /// Whose request it carries; `None` while idle.
    pub client: Option<Key>,
    pub connected: bool,
    /// It has carried a request before.
    pub reused: bool,
    pub deadline_us: u64,
}

#[derive(Default)]
pub struct Upstreams {
    all: Slab<Upstream>,
    /// By target and the number of the place.
    idle: HashMap<(SocketAddr, u64), Vec<Key>>,
}

impl Upstreams {
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Upstream> {
        self.all.get_mut(key)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Upstream)> {
        self.all.iter_mut()
    }

    /// The idle connection to `cell` from a place that was used last.
    pub fn reuse(&mut self, cell: &Arc<Cell>, space: u64, client: Key) -> Option<Key> {
        let idle = self.idle.get_mut(&(cell.socket, space))?;
        while let Some(key) = idle.pop() {
            let Some(upstream) = self.all.get_mut(key) else { continue };
            upstream.client = Some(client);
            upstream.reused = true;
            upstream.deadline_us = u64::MAX;
            upstream.cell = cell.clone();
            return Some(key);
        }
        None
    }

    pub fn connect(
        &mut self,
        registry: &Registry,
        (cell, from): (&Arc<Cell>, Option<&Arc<Space>>),
        client: Key,
        now_us: u64,
    ) -> io::Result<Key> {
        let stream = space::connect(from.map(|space| &**space), cell.socket)?;
        // Heads and last parts are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let key = self.all.insert(Upstream {
            stream,
            ready: Ready::default(),
            inbox: Inbox::default(),
            cell: cell.clone(),
            space: space::number(from),
            client: Some(client),
            connected: false,
            reused: false,
            deadline_us: now_us + CONNECT_TIMEOUT_US,
        });
        let upstream = self.all.get_mut(key).expect("just inserted");
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut upstream.stream, key.token(Kind::Upstream), interest) {
            self.all.remove(key);
            return Err(error);
        }
        Ok(key)
    }

    /// Puts a connection whose exchange is over into the pool.
    pub fn park(&mut self, key: Key, now_us: u64, pool: &mut Pool) {
        let Some(upstream) = self.all.get_mut(key) else { return };
        let idle = self.idle.entry((upstream.cell.socket, upstream.space)).or_default();
        if idle.len() >= IDLE_PER_TARGET_MAX || upstream.cell.is_draining() {
            self.drop(key, pool);
            return;
        }
        upstream.client = None;
        upstream.deadline_us = now_us + IDLE_US;
        idle.push(key);
    }

    /// Closes a connection, in the pool or not.
    pub fn drop(&mut self, key: Key, pool: &mut Pool) {
        let Some(mut upstream) = self.all.remove(key) else { return };
        upstream.inbox.release(pool);
        if upstream.client.is_none()
            && let Some(idle) = self.idle.get_mut(&(upstream.cell.socket, upstream.space))
        {
            idle.retain(|other| *other != key);
            if idle.is_empty() {
                self.idle.remove(&(upstream.cell.socket, upstream.space));
            }
        }
    }

    /// Forgets the places of targets that have no idle connections.
    pub fn tidy(&mut self) {
        self.idle.retain(|_, keys| !keys.is_empty());
    }

    /// Closes the idle connections to a target that refuses new ones.
    pub fn drop_idle(&mut self, socket: SocketAddr, space: u64) {
        for key in self.idle.remove(&(socket, space)).unwrap_or_default() {
            self.all.remove(key);
        }
    }
}
