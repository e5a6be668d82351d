//! What a client sees of a server that may not be there yet: one quick try at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

use super::client::whole;
use super::cloud::until;
use super::machine;

/// A packet that is dropped is not waited for longer than this: the kernel would send the next one after a second.
pub const TRY: Duration = Duration::from_millis(1);
/// An answer that is on its way may take longer.
const ANSWER: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_micros(200);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: curl\r\nConnection: close\r\n\r\n";

/// Whether a connection is made within this time.
pub fn connects(address: SocketAddrV4, within: Duration) -> Option<TcpStream> {
    TcpStream::connect_timeout(&SocketAddr::V4(address), within).ok()
}

/// The body of the answer to a request, if there is one at once.
pub fn visit(address: SocketAddrV4) -> Option<String> {
    let mut stream = connects(address, TRY)?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.write_all(REQUEST).ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(body) = whole(&answer) {
            return Some(String::from_utf8_lossy(body).into_owned());
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Waits for an answer that has this text in it.
pub fn answered(address: SocketAddrV4, text: &str) -> Result<()> {
    until("an answer", PAUSE, || Ok(visit(address).filter(|body| body.contains(text)).map(|_| ())))
}

/// What the machine's own loopback answers with. It answers at the addresses of instances that are gone; an instance's answer
/// has come through routers, which count down.
const OWN_TTL: u8 = 64;

/// Rounds of pings to many addresses: every round has a number, so that an answer says when it was asked for.
pub struct Pings {
    socket: rustix::fd::OwnedFd,
    targets: Vec<Ipv4Addr>,
    id: u16,
    sent: Vec<Instant>,
    /// Of each round, how many answered.
    answers: Vec<usize>,
}

impl Pings {
    pub fn new(targets: Vec<Ipv4Addr>) -> Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::NONBLOCK, Some(ipproto::ICMP))?;
        Ok(Self { socket, targets, id: std::process::id() as u16, sent: Vec::new(), answers: Vec::new() })
    }

    /// Sends to all; what has come is taken first, and after.
    pub fn round(&mut self) -> Result<()> {
        self.take()?;
        let packet = echo_request(self.id, self.sent.len() as u16);
        self.sent.push(machine::now());
        self.answers.push(0);
        for target in &self.targets {
            // What cannot be sent is not answered.
            let _ = sendto(&self.socket, &packet, SendFlags::empty(), &SocketAddrV4::new(*target, 0));
        }
        self.take()
    }

    /// Takes the answers that have come.
    pub fn take(&mut self) -> Result<()> {
        let mut buffer = [0; 256];
        loop {
            match recv(&self.socket, &mut buffer, RecvFlags::empty()).map_err(std::io::Error::from) {
                Ok((length, _)) => self.count(&buffer[..length.min(buffer.len())]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Counts a packet, IP header and all, when it is an answer to one of these.
    fn count(&mut self, packet: &[u8]) {
        let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
        let Some([0, 0, _, _, id_high, id_low, high, low]) = packet.get(header..header + 8) else { return };
        let routed = packet.get(8).is_some_and(|ttl| *ttl < OWN_TTL);
        if routed && u16::from_be_bytes([*id_high, *id_low]) == self.id {
            let round = usize::from(u16::from_be_bytes([*high, *low]));
            if let Some(answers) = self.answers.get_mut(round) {
                *answers += 1;
            }
        }
    }

    /// Whether all answered one of the last rounds.
    pub fn all_answer(&self) -> bool {
        self.answers.iter().rev().take(3).any(|answers| *answers == self.targets.len())
    }

    /// When the first round was sent that nobody answered, as no later one.
    pub fn silent_since(&self) -> Option<Instant> {
        let last = self.answers.iter().rposition(|answers| *answers > 0)?;
        self.sent.get(last + 1).copied()
    }
}

fn echo_request(id: u16, sequence: u16) -> [u8; 8] {
    let ([id_high, id_low], [high, low]) = (id.to_be_bytes(), sequence.to_be_bytes());
    let mut sum = 0x0800 + u32::from(id) + u32::from(sequence);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [sum_high, sum_low] = (!(sum as u16)).to_be_bytes();
    [8, 0, sum_high, sum_low, id_high, id_low, high, low]
}
