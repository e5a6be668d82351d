//! Closed-loop load: some connections that are kept, each with one request under way.
//!
//! One thread and one epoll: what a request costs here is taken from the core that client and backend share.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddrV4;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::client::{content_length, head_len};
use super::machine;

/// How long the answers to the last requests may take: moto needs seconds for some.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_TIMEOUT: Duration = Duration::from_millis(50);
const READ_BYTES: usize = 256 * 1024;

/// A load generator with its connections.
pub struct Load {
    address: SocketAddrV4,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    /// Sent in turn.
    requests: Vec<Vec<u8>>,
    next: usize,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// The beginning of an answer whose head is not complete.
    head: Vec<u8>,
    /// What is missing of the body, when the head was read.
    body_left: Option<usize>,
    busy: bool,
}

/// What was answered, and in what time.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    pub requests: u64,
    pub time: Duration,
}

impl Answered {
    pub fn per_second(self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }
}

impl Load {
    pub fn new(address: SocketAddrV4, connections: usize, requests: Vec<Vec<u8>>) -> Result<Self> {
        let poll = Poll::new()?;
        let connections = (0..connections).map(|token| connect(&poll, address, token)).collect::<Result<_>>()?;
        let (events, buffer) = (Events::with_capacity(1024), vec![0; READ_BYTES]);
        Ok(Self { address, poll, events, connections, requests, next: 0, buffer })
    }

    /// Sends for this long, but at most so many requests, and waits for the answers to all of them.
    pub fn run(&mut self, window: Duration, requests_max: u64) -> Result<Answered> {
        let start = machine::now();
        let (mut sent, mut answered) = (0, 0);
        for token in 0..self.connections.len().min(requests_max as usize) {
            self.send(token)?;
            sent += 1;
        }
        while answered < sent {
            if start.elapsed() > window + DRAIN_TIMEOUT {
                bail!("{} requests got no answer", sent - answered);
            }
            let open = start.elapsed() < window;
            for token in self.ready()? {
                if self.receive(token)? {
                    answered += 1;
                    if open && sent < requests_max {
                        self.send(token)?;
                        sent += 1;
                    }
                }
            }
        }
        Ok(Answered { requests: answered, time: start.elapsed() })
    }

    fn ready(&mut self) -> Result<Vec<usize>> {
        match self.poll.poll(&mut self.events, Some(POLL_TIMEOUT)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Vec::new()),
            other => other?,
        }
        Ok(self.events.iter().map(|event| event.token().0).collect())
    }

    fn send(&mut self, token: usize) -> Result<()> {
        let request = &self.requests[self.next % self.requests.len()];
        self.next += 1;
        let connection = &mut self.connections[token];
        connection.busy = true;
        let written = connection.stream.write(request).context("sending a request")?;
        // A request is far smaller than a socket's buffer, which is empty.
        if written < request.len() {
            bail!("a request of {} bytes does not fit a socket", request.len())
        } else {
            Ok(())
        }
    }

    /// Reads what has come; whether that completes an answer.
    fn receive(&mut self, token: usize) -> Result<bool> {
        loop {
            let connection = &mut self.connections[token];
            if !connection.busy {
                return Ok(false);
            }
            let length = match connection.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed a connection in the middle of an answer"),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error).context("reading an answer"),
            };
            let Some(close) = connection.take(&self.buffer[..length])? else { continue };
            connection.busy = false;
            if close {
                self.connections[token] = connect(&self.poll, self.address, token)?;
            }
            return Ok(true);
        }
    }
}

impl Connection {
    /// Takes bytes of an answer; when it is complete, whether the server closes the connection after it.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<bool>> {
        if let Some(left) = self.body_left {
            return Ok(self.body(left, bytes.len()).then(|| self.ended()));
        }
        self.head.extend_from_slice(bytes);
        let Some(head) = head_len(&self.head) else { return Ok(None) };
        if self.head.get(9..12) != Some(b"200") {
            bail!("a request failed: {}", String::from_utf8_lossy(&self.head));
        }
        let body = content_length(&self.head[..head]).context("an answer has no length")?;
        let came = self.head.len() - head;
        self.head.truncate(head);
        Ok(self.body(body, came).then(|| self.ended()))
    }

    fn body(&mut self, left: usize, came: usize) -> bool {
        self.body_left = Some(left.saturating_sub(came));
        came >= left
    }

    fn ended(&mut self) -> bool {
        const CLOSE: &[u8] = b"connection: close";
        let close = self.head.windows(CLOSE.len()).any(|part| part.eq_ignore_ascii_case(CLOSE));
        self.body_left = None;
        self.head.clear();
        close
    }
}

fn connect(poll: &Poll, address: SocketAddrV4, token: usize) -> Result<Connection> {
    let stream = std::net::TcpStream::connect(address).context("connecting")?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let mut stream = TcpStream::from_std(stream);
    poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
    Ok(Connection { stream, head: Vec::new(), body_left: None, busy: false })
}
