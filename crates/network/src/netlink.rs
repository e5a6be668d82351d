//! Netlink messages and the sockets that carry them.
//!
//! A message is a header, a fixed part, and attributes which may nest; all lengths are written when a part is closed. Native
//! byte order, but for what a protocol defines otherwise (nftables numbers are big endian: its codec says so itself).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
pub const NLM_F_ACK: u16 = 4;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_REPLACE: u16 = 0x100;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_APPEND: u16 = 0x800;
pub const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
/// The kernel answers with at most this much at once.
const RECEIVE_BYTES: usize = 64 * 1024;
/// A transaction of a large VPC is a few megabytes.
const BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// Messages, one after the other, to be sent at once.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Where the messages begin.
    starts: Vec<usize>,
    /// Where the open nested attributes begin.
    open: Vec<usize>,
}

impl Messages {
    /// Begins a message with its fixed part; `flags` besides what every request has.
    pub fn begin(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> &mut Self {
        self.close();
        self.starts.push(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&(self.starts.len() as u32).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.raw(fixed)
    }

    /// Bytes, padded to a multiple of four.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value)
    }

    /// A string attribute, with the zero that ends it.
    pub fn text(&mut self, kind: u16, text: &str) -> &mut Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub fn u32_be(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// An attribute that holds what `content` writes.
    pub fn nested(&mut self, kind: u16, content: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.attribute(kind | NLA_F_NESTED, &[]);
        content(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Writes the length of the last message.
    fn close(&mut self) {
        if let Some(start) = self.starts.last() {
            let length = (self.bytes.len() - start) as u32;
            self.bytes[*start..start + 4].copy_from_slice(&length.to_ne_bytes());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    fn request_ack(&mut self, index: usize) {
        let at = self.starts[index] + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | NLM_F_ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }
}

/// One message as it was received: its kind and what follows the header.
pub struct Received {
    pub kind: u16,
    pub body: Vec<u8>,
}

/// A netlink socket; it belongs to the namespace in which it was opened.
pub struct Socket(OwnedFd);

impl Socket {
    /// `None` is rtnetlink.
    pub fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        // Only root may have more than the system's limit; less is slower, not wrong.
        let _ = sockopt::set_socket_send_buffer_size_force(&fd, BUFFER_BYTES);
        let _ = sockopt::set_socket_recv_buffer_size_force(&fd, BUFFER_BYTES);
        Ok(Self(fd))
    }

    /// Sends the messages and waits until the kernel has answered each; the first refusal is the error.
    pub fn execute(&self, mut messages: Messages) -> io::Result<()> {
        messages.close();
        let count = messages.starts.len();
        (0..count).for_each(|index| messages.request_ack(index));
        self.send(&messages.bytes)?;
        let mut first = Ok(());
        let mut answered = 0;
        while answered < count {
            self.receive(|message| {
                if message.kind == NLMSG_ERROR {
                    answered += 1;
                    if let Some(error) = refusal(&message.body)
                        && first.is_ok()
                    {
                        first = Err(error);
                    }
                }
            })?;
        }
        first
    }

    /// Sends messages that the kernel applies together or not at all: `messages` must begin and end with the batch's own
    /// markers. Every one in between is asked to answer.
    pub fn execute_batch(&self, mut messages: Messages) -> io::Result<()> {
        messages.close();
        let count = messages.starts.len();
        // One acknowledgement is enough: refusals come for every message, asked for or not.
        if count < 3 {
            return Ok(());
        }
        messages.request_ack(count - 2);
        self.send(&messages.bytes)?;
        let last = (count - 1) as u32;
        let mut first = None;
        loop {
            let mut done = false;
            self.receive(|message| {
                if message.kind == NLMSG_ERROR {
                    match refusal(&message.body) {
                        Some(error) if first.is_none() => first = Some(error),
                        _ => {}
                    }
                    done |= sequence(&message.body) == Some(last);
                }
            })?;
            if done {
                return first.map_or(Ok(()), Err);
            }
            if let Some(error) = first {
                self.drain();
                return Err(error);
            }
        }
    }

    /// Asks for a list and gives every message of it.
    pub fn dump(&self, mut messages: Messages, mut each: impl FnMut(Received)) -> io::Result<()> {
        messages.close();
        self.send(&messages.bytes)?;
        let mut end = None;
        while end.is_none() {
            self.receive(|message| match message.kind {
                NLMSG_DONE => end = Some(Ok(())),
                NLMSG_ERROR => end = Some(refusal(&message.body).map_or(Ok(()), Err)),
                _ => each(message),
            })?;
        }
        end.unwrap_or(Ok(()))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        rustix::net::send(self.0.as_fd(), bytes, SendFlags::empty())?;
        Ok(())
    }

    fn receive(&self, mut each: impl FnMut(Received)) -> io::Result<()> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let (length, _) = rustix::net::recv(self.0.as_fd(), &mut buffer[..], RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            if length < HEADER || length > rest.len() {
                break;
            }
            each(Received { kind: u16::from_ne_bytes([rest[4], rest[5]]), body: rest[HEADER..length].to_vec() });
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        Ok(())
    }

    /// Throws away what is still to be read.
    fn drain(&self) {
        let mut buffer = vec![0; RECEIVE_BYTES];
        while rustix::net::recv(self.0.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT).is_ok() {}
    }
}

/// The error of an answer; `None` is an acknowledgement.
fn refusal(body: &[u8]) -> Option<io::Error> {
    let code = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    (code != 0).then(|| io::Error::from_raw_os_error(-code))
}

/// The number of the message that an answer is about.
fn sequence(body: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(body.get(12..16)?.try_into().ok()?))
}

/// The attributes in these bytes: kind without flags, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & 0x3fff, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_what_was_written() {
        let mut messages = Messages::default();
        messages.begin(0x10, NLM_F_CREATE, &[1, 2, 3, 4]).text(1, "ab").nested(2, |inner| {
            inner.u32_be(3, 0x0102_0304);
        });
        messages.begin(0x11, 0, &[]);
        messages.close();
        let expected_second = 16 + 4 + 8 + 4 + 8;
        assert_eq!(messages.starts, [0, expected_second]);
        assert_eq!(messages.bytes[..4], (expected_second as u32).to_ne_bytes());
        assert_eq!(messages.bytes[20..28], [7, 0, 1, 0, b'a', b'b', 0, 0]);
        assert_eq!(messages.bytes[28..40], [12, 0, 2, 0x80, 8, 0, 3, 0, 1, 2, 3, 4]);
        assert_eq!(messages.bytes[40..44], 16u32.to_ne_bytes());
    }

    #[test]
    fn attributes_are_read_back() {
        let mut messages = Messages::default();
        messages.begin(0, 0, &[]).text(1, "x").u32(2, 7);
        let read: Vec<_> = attributes(&messages.bytes[16..]).collect();
        assert_eq!(read, [(1, &b"x\0"[..]), (2, &7u32.to_ne_bytes()[..])]);
    }
}
