//! Active health checks: one connection per target at a time, on a poll that the steward owns.
//!
//! Intervals and timeouts are control-plane time and divided by the speed. A timeout is never shorter than
//! `TIMEOUT_MIN`, because the target itself does not run faster.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry};
use standfast_core::lb::HealthCheck;

use crate::health::Outcome;
use crate::io::{Key, Kind, Slab};
use crate::space::{self, Space};
use crate::table::{Cell, Origin, Table};

const TIMEOUT_MIN: Duration = Duration::from_millis(200);
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// What is read of an answer, so that the target can send it in peace.
const ANSWER_SIZE_MAX: usize = 64 * 1024;
/// `HTTP/1.1 200` and the byte behind it.
const STATUS_SIZE: usize = 13;

/// A target that is probed.
struct Job {
    cell: Arc<Cell>,
    check: HealthCheck,
    from: Option<Arc<Space>>,
    next_us: u64,
    probe: Option<Probe>,
}

struct Probe {
    stream: TcpStream,
    deadline_us: u64,
    asked: bool,
    /// The first bytes of the answer.
    status: Vec<u8>,
    seen: usize,
    /// The outcome was told; the rest of the answer is read only to be polite.
    decided: bool,
}

pub struct Prober {
    jobs: Slab<Job>,
    /// By the address of the cell, which its job keeps alive.
    by_cell: HashMap<usize, Key>,
    speed: f64,
}

impl Prober {
    pub fn new(speed: f64) -> Self {
        Self { jobs: Slab::default(), by_cell: HashMap::new(), speed }
    }

    /// Probes exactly the targets of `table` that are to be probed, new ones at once.
    pub fn replace(&mut self, table: &Table, now_us: u64) {
        let mut by_cell = HashMap::new();
        for group in table.groups.values().filter(|group| group.check.enabled) {
            for member in group.members.iter().filter(|member| member.draining_until.is_none()) {
                let from = match &member.probed_from {
                    Origin::Machine => None,
                    Origin::Place(space) => Some(space.clone()),
                    Origin::Nowhere => continue,
                };
                let id = Arc::as_ptr(&member.cell).addr();
                let key = self.by_cell.remove(&id).unwrap_or_else(|| {
                    let (cell, check) = (member.cell.clone(), group.check.clone());
                    self.jobs.insert(Job { cell, check, from: None, next_us: now_us, probe: None })
                });
                if let Some(job) = self.jobs.get_mut(key) {
                    job.check = group.check.clone();
                    job.from = from;
                }
                by_cell.insert(id, key);
            }
        }
        for (_, key) in std::mem::replace(&mut self.by_cell, by_cell) {
            self.jobs.remove(key);
        }
    }

    /// Starts what is due and ends what is late; when to come again.
    pub fn turn(&mut self, registry: &Registry, now_us: u64) -> Option<u64> {
        let speed = self.speed;
        for (key, job) in self.jobs.iter_mut() {
            if job.probe.as_ref().is_some_and(|probe| probe.deadline_us <= now_us) {
                job.decide(Outcome::Timeout);
                job.probe = None;
            }
            if job.next_us <= now_us && job.probe.as_ref().is_none_or(|probe| probe.decided) {
                job.start(registry, key, now_us, speed);
            }
        }
        let next = |(_, job): (Key, &mut Job)| match &job.probe {
            Some(probe) if !probe.decided => probe.deadline_us,
            Some(probe) => probe.deadline_us.min(job.next_us),
            None => job.next_us,
        };
        self.jobs.iter_mut().map(next).min()
    }

    pub fn event(&mut self, key: Key, event: &Event) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let Some(probe) = job.probe.as_mut() else { return };
        if !probe.asked {
            let failed = event.is_error() || event.is_write_closed();
            let error = if failed { probe.stream.take_error().ok().flatten() } else { None };
            if failed {
                let outcome = error.map_or(Outcome::Broken, |error| failure(&error));
                job.decide(outcome);
                job.probe = None;
                return;
            }
        }
        if job.advance(event.is_writable()) {
            job.probe = None;
        }
    }
}

impl Job {
    fn start(&mut self, registry: &Registry, key: Key, now_us: u64, speed: f64) {
        let real = |ms: u64, min: Duration| Duration::from_millis(ms).div_f64(speed).max(min).as_micros() as u64;
        self.next_us = now_us + real(self.check.interval_ms, INTERVAL_MIN);
        self.probe = None;
        let port = self.check.port.unwrap_or(self.cell.socket.port());
        let stream = space::connect(self.from.as_deref(), SocketAddr::new(self.cell.socket.ip(), port));
        let registered = stream.and_then(|mut stream| {
            registry.register(&mut stream, key.token(Kind::Upstream), Interest::READABLE | Interest::WRITABLE)?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => {
                let deadline_us = now_us + real(self.check.timeout_ms, TIMEOUT_MIN);
                self.probe =
                    Some(Probe { stream, deadline_us, asked: false, status: Vec::new(), seen: 0, decided: false });
            }
            Err(error) => self.cell.probed(failure(&error), &self.check),
        }
    }

    /// Tells the outcome, once per probe.
    fn decide(&mut self, outcome: Outcome) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| !probe.decided) {
            probe.decided = true;
            self.cell.probed(outcome, &self.check);
        }
    }

    /// Writes and reads; whether the probe is over.
    fn advance(&mut self, writable: bool) -> bool {
        let Some(probe) = self.probe.as_mut() else { return true };
        if !probe.asked && writable {
            probe.asked = true;
            let host = self.cell.socket;
            let request = format!(
                "GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\n\
                 Accept-Encoding: gzip, compressed\r\n\r\n",
                self.check.path
            );
            // A fresh socket takes a kilobyte at once or is of no use.
            if !matches!(probe.stream.write(request.as_bytes()), Ok(count) if count == request.len()) {
                self.decide(Outcome::Broken);
                return true;
            }
        }
        self.read()
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            let Some(probe) = self.probe.as_mut() else { return true };
            match probe.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    probe.seen += count;
                    let missing = STATUS_SIZE.saturating_sub(probe.status.len());
                    probe.status.extend_from_slice(&buffer[..count.min(missing)]);
                    if probe.status.len() == STATUS_SIZE {
                        let outcome = status(&probe.status).map_or(Outcome::Broken, Outcome::Status);
                        self.decide(outcome);
                    }
                    if self.probe.as_ref().is_none_or(|probe| probe.seen > ANSWER_SIZE_MAX) {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::NotConnected => return false,
                Err(_) => break,
            }
        }
        self.decide(Outcome::Broken);
        true
    }
}

fn failure(error: &std::io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Outcome::Refused,
        ErrorKind::TimedOut => Outcome::Timeout,
        _ => Outcome::Broken,
    }
}

/// The code of a status line.
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.0 ").or_else(|| line.strip_prefix(b"HTTP/1.1 "))?;
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    matches!(rest.get(3), Some(b' ' | b'\r')).then_some(())?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_read_strictly() {
        let cases: [(&[u8], Option<u16>); 5] = [
            (b"HTTP/1.1 200 ", Some(200)),
            (b"HTTP/1.0 503\r", Some(503)),
            (b"HTTP/1.1 20x ", None),
            (b"HTTP/2.0 200 ", None),
            (b"SSH-2.0-OpenS", None),
        ];
        for (line, expected) in cases {
            assert_eq!(status(line), expected);
        }
    }
}
