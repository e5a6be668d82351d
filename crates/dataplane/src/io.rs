//! Buffers, readiness, and the system calls of the event loop.
//!
//! A connection holds a buffer only while bytes wait in it: idle connections cost no buffer, and the ones in use are few
//! and warm in the cache. Sockets are registered once, edge-triggered; `Ready` remembers what the edges said.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::time::Duration;

use mio::Token;
use mio::event::Event;
use mio::net::TcpStream;

use crate::tls::Wire;

/// A head of the largest size and as much body fit in.
pub const BUFFER_SIZE: usize = 128 * 1024;
/// Free buffers that are kept for the next connection.
const FREE_BUFFERS_MAX: usize = 64;

/// Free buffers, the warmest last.
#[derive(Default)]
pub struct Pool(Vec<Box<[u8]>>);

impl Pool {
    fn take(&mut self) -> Box<[u8]> {
        self.0.pop().unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice())
    }

    fn give(&mut self, buffer: Box<[u8]>) {
        if !buffer.is_empty() && self.0.len() < FREE_BUFFERS_MAX {
            self.0.push(buffer);
        }
    }
}

/// Bytes that were read and not yet used.
#[derive(Default)]
pub struct Inbox {
    /// Empty when no buffer is held.
    data: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub fn len(&self) -> usize {
        self.end - self.start
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn is_full(&self) -> bool {
        self.len() == BUFFER_SIZE
    }

    pub fn consume(&mut self, count: usize, pool: &mut Pool) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.is_empty() {
            self.release(pool);
        }
    }

    pub fn release(&mut self, pool: &mut Pool) {
        (self.start, self.end) = (0, 0);
        pool.give(std::mem::take(&mut self.data));
    }

    fn room(&mut self, pool: &mut Pool) -> &mut [u8] {
        if self.data.is_empty() {
            self.data = pool.take();
        }
        if self.end == self.data.len() && self.start > 0 {
            self.data.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.data[self.end..]
    }
}

/// What the socket is known to be ready for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ready {
    pub readable: bool,
    pub writable: bool,
    /// The peer will send no more; what it sent may still be unread.
    pub read_closed: bool,
    pub error: bool,
}

impl Ready {
    pub fn merge(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed();
        self.writable |= event.is_writable() || event.is_write_closed();
        self.read_closed |= event.is_read_closed();
        self.error |= event.is_error();
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Fill {
    Got,
    /// Nothing to read now, or no room.
    Nothing,
    Eof,
    Broken,
}

/// What bytes are read from and written to.
pub trait Stream: Read + Write {
    /// Whether there may be more to read after a read that did not fill its buffer.
    fn may_have_more(&self) -> bool;
    /// Whether more can be written now, after a write that took all it was given or not.
    fn takes_more(&self, took_all: bool) -> bool;
}

impl Stream for TcpStream {
    /// A short read on a socket that is not closed means that it is empty: the next edge tells.
    fn may_have_more(&self) -> bool {
        false
    }

    fn takes_more(&self, took_all: bool) -> bool {
        took_all
    }
}

impl Stream for Wire {
    fn may_have_more(&self) -> bool {
        self.is_tls()
    }

    fn takes_more(&self, took_all: bool) -> bool {
        if self.is_tls() { !self.is_pending() } else { took_all }
    }
}

/// Reads once into `inbox`.
pub fn fill(stream: &mut impl Stream, inbox: &mut Inbox, ready: &mut Ready, pool: &mut Pool) -> Fill {
    if !ready.readable || inbox.is_full() {
        return Fill::Nothing;
    }
    let result = loop {
        let room = inbox.room(pool);
        let size = room.len();
        match stream.read(room) {
            Ok(0) => break Fill::Eof,
            Ok(count) => {
                inbox.end += count;
                ready.readable = count == size || ready.read_closed || stream.may_have_more();
                break Fill::Got;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready.readable = false;
                break Fill::Nothing;
            }
            Err(_) => break Fill::Broken,
        }
    };
    if inbox.is_empty() {
        inbox.release(pool);
    }
    result
}

/// Writes `head` and `body` with one system call; how many bytes of both together went out.
pub fn send(stream: &mut impl Stream, head: &[u8], body: &[u8], ready: &mut Ready) -> io::Result<usize> {
    let total = head.len() + body.len();
    if total == 0 || !ready.writable {
        return Ok(0);
    }
    loop {
        let result = match (head.is_empty(), body.is_empty()) {
            (true, _) => stream.write(body),
            (_, true) => stream.write(head),
            _ => stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
        };
        match result {
            Ok(count) => {
                ready.writable = stream.takes_more(count == total);
                return Ok(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready.writable = false;
                return Ok(0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Closes with a reset, as a machine without power would be noticed.
pub fn reset(stream: &TcpStream) {
    // It fails only for a socket that is closed already.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// What a token of the poll stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Waker,
    Listener,
    Client,
    Upstream,
}

const KINDS: [Kind; 4] = [Kind::Waker, Kind::Listener, Kind::Client, Kind::Upstream];

/// A place in a `Slab`, and which of its successive values is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

const GENERATION_BITS: u32 = 30;
const _: () = assert!(usize::BITS == 64, "a token holds a kind, a generation and an index");

impl Key {
    pub fn token(self, kind: Kind) -> Token {
        let generation = (self.generation as usize) << 32;
        Token((kind as usize) << (32 + GENERATION_BITS) | generation | self.index as usize)
    }

    pub fn of(token: Token) -> (Kind, Self) {
        let generation = (token.0 >> 32) as u32 & ((1 << GENERATION_BITS) - 1);
        (KINDS[token.0 >> (32 + GENERATION_BITS)], Self { index: token.0 as u32, generation })
    }
}

/// Values with keys that are not mistaken for one another when a place is used again.
pub struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[index as usize];
        slot.1 = Some(value);
        Key { index, generation: slot.0 }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.0 == key.generation { slot.1.as_mut() } else { None }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.0 == key.generation)?;
        let value = slot.1.take()?;
        slot.0 = (slot.0 + 1) & ((1 << GENERATION_BITS) - 1);
        self.free.push(key.index);
        Some(value)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, (generation, value))| {
            let key = Key { index: index as u32, generation: *generation };
            value.as_mut().map(|value| (key, value))
        })
    }

    /// The keys of the values that `wanted` says yes to.
    pub fn keys(&mut self, mut wanted: impl FnMut(&mut T) -> bool) -> Vec<Key> {
        self.iter_mut().filter_map(|(key, value)| wanted(value).then_some(key)).collect()
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_removed_values_find_nothing() {
        let mut slab = Slab::default();
        let first = slab.insert("a");
        assert_eq!(Key::of(first.token(Kind::Client)), (Kind::Client, first));
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_ne!(first, second);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!((slab.remove(first), slab.len()), (None, 1));
        assert_eq!(slab.get_mut(second), Some(&mut "b"));
        assert_eq!(Key::of(second.token(Kind::Upstream)), (Kind::Upstream, second));
    }
}
