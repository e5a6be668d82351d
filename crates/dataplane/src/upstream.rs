//! Connections to targets, and the pool of idle ones. Each worker has its own.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry};

use crate::io::{Inbox, Key, Kind, Pool, Ready, Slab};
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
    idle: HashMap<SocketAddr, Vec<Key>>,
}

impl Upstreams {
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Upstream> {
        self.all.get_mut(key)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut Upstream)> {
        self.all.iter_mut()
    }

    /// The idle connection to `cell` that was used last.
    pub fn reuse(&mut self, cell: &Arc<Cell>, client: Key) -> Option<Key> {
        let idle = self.idle.get_mut(&cell.socket)?;
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

    pub fn connect(&mut self, registry: &Registry, cell: &Arc<Cell>, client: Key, now_us: u64) -> io::Result<Key> {
        let stream = TcpStream::connect(cell.socket)?;
        // Heads and last parts are written whole; waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        let key = self.all.insert(Upstream {
            stream,
            ready: Ready::default(),
            inbox: Inbox::default(),
            cell: cell.clone(),
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
        let idle = self.idle.entry(upstream.cell.socket).or_default();
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
            && let Some(idle) = self.idle.get_mut(&upstream.cell.socket)
        {
            idle.retain(|other| *other != key);
            if idle.is_empty() {
                self.idle.remove(&upstream.cell.socket);
            }
        }
    }

    /// Forgets the places of targets that have no idle connections.
    pub fn tidy(&mut self) {
        self.idle.retain(|_, keys| !keys.is_empty());
    }

    /// Closes the idle connections to a target that refuses new ones.
    pub fn drop_idle(&mut self, socket: SocketAddr) {
        for key in self.idle.remove(&socket).unwrap_or_default() {
            self.all.remove(key);
        }
    }
}
