//! What stands behind the load balancers: answers at once, from memory, on a thread of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::machine;

const POLL_TIMEOUT: Duration = Duration::from_millis(100);
const LISTENER: Token = Token(usize::MAX);

/// A running backend; it ends with this value.
pub struct Backend {
    pub address: SocketAddrV4,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Backend {
    /// Answers every request with a body of this size.
    pub fn start(core: usize, body_bytes: usize) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port());
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + body_bytes, b'x');
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("bench-backend".into()).spawn(move || {
            machine::pin(core)?;
            serve(listener, &answer, &stopped)
        })?;
        Ok(Self { address, stop, thread: Some(thread) })
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("the backend failed: {error:#}"),
            Some(Err(_)) => eprintln!("the backend panicked"),
            _ => (),
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The end of what was read so far, as far as an empty line may begin in it.
    tail: Vec<u8>,
    /// How many bytes of answers are still to be written.
    owed: usize,
}

fn serve(mut listener: TcpListener, answer: &[u8], stop: &AtomicBool) -> Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !stop.load(Ordering::Acquire) {
        match poll.poll(&mut events, Some(POLL_TIMEOUT)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let slot = connections.get_mut(event.token().0).context("an event of no connection")?;
            if slot.as_mut().is_some_and(|connection| connection.turn(answer, &mut buffer).is_err()) {
                *slot = None;
            }
        }
    }
    Ok(())
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error).context("accepting"),
        };
        stream.set_nodelay(true)?;
        let token = Token(connections.len());
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        connections.push(Some(Connection { stream, tail: Vec::new(), owed: 0 }));
    }
}

impl Connection {
    /// Reads requests and answers them as far as possible; an error ends the connection.
    fn turn(&mut self, answer: &[u8], buffer: &mut [u8]) -> Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("closed"),
                Ok(length) => {
                    self.owed += answer.len() * self.requests(&buffer[..length]);
                    // Less than asked for: nothing is left, and what comes next is an event of its own.
                    if length < buffer.len() {
                        return self.write(answer);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.write(answer),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn write(&mut self, answer: &[u8]) -> Result<()> {
        while self.owed > 0 {
            let from = (answer.len() - self.owed % answer.len()) % answer.len();
            match self.stream.write(&answer[from..]) {
                Ok(length) => self.owed -= length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// How many requests end in these bytes. Requests have no bodies.
    fn requests(&mut self, bytes: &[u8]) -> usize {
        const END: &[u8] = b"\r\n\r\n";
        // Almost always one whole request.
        if self.tail.is_empty() && bytes.ends_with(END) && bytes.len() < 4096 {
            return bytes.windows(END.len()).filter(|part| *part == END).count();
        }
        self.tail.extend_from_slice(bytes);
        let ends: Vec<usize> = (0..self.tail.len()).filter(|at| self.tail[*at..].starts_with(END)).collect();
        let done = ends.last().map_or(0, |at| at + END.len());
        self.tail.drain(..done);
        ends.len()
    }
}
