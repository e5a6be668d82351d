//! What a client sees of a server that may not be there yet: one quick try at a time.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, ipproto, recv, sendto, socket_with,
};

use super::client::whole;
use super::cloud::until;
use super::machine;

/// A packet that is dropped is not waited for longer than this: the kernel would send the next one after a second.
const TRY: Duration = Duration::from_millis(1);
/// An answer that is on its way may take longer.
const ANSWER: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_micros(200);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: curl\r\nConnection: close\r\n\r\n";

/// Whether packets get there and back within this time, which may be a part of a millisecond: a connection that is refused
/// is an answer too.
pub fn reaches(address: SocketAddrV4, within: Duration) -> Result<bool> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    match connect(&socket, &address) {
        Err(Errno::INPROGRESS) => {
            let mut answer = [PollFd::new(&socket, PollFlags::OUT)];
            Ok(poll(&mut answer, Some(&Timespec::try_from(within)?))? > 0)
        }
        Ok(()) | Err(Errno::CONNREFUSED) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// The body of the answer to a request, if there is one at once.
pub fn visit(address: SocketAddrV4) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(address), TRY).ok()?;
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

/// Pings to many addresses. Every ping carries its number, so that an answer says when it was asked for.
pub struct Pings {
    socket: rustix::fd::OwnedFd,
    targets: Vec<Ipv4Addr>,
    id: u16,
    sent: Vec<Instant>,
    /// Of each ping, whether it was answered.
    answered: Vec<bool>,
}

impl Pings {
    pub fn new(targets: Vec<Ipv4Addr>) -> Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::NONBLOCK, Some(ipproto::ICMP))?;
        Ok(Self { socket, targets, id: std::process::id() as u16, sent: Vec::new(), answered: Vec::new() })
    }

    /// Sends to all and takes what has come.
    pub fn round(&mut self) -> Result<()> {
        for n in 0..self.targets.len() {
            let packet = echo_request(self.id, self.sent.len() as u32);
            self.sent.push(machine::now());
            self.answered.push(false);
            // What cannot be sent is not answered.
            let _ = sendto(&self.socket, &packet, SendFlags::empty(), &SocketAddrV4::new(self.targets[n], 0));
        }
        self.take()
    }

    fn take(&mut self) -> Result<()> {
        let mut buffer = [0; 256];
        loop {
            match recv(&self.socket, &mut buffer, RecvFlags::empty()).map_err(std::io::Error::from) {
                Ok((length, _)) => self.note(&buffer[..length.min(buffer.len())]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes a packet, IP header and all, when it is an answer to one of these.
    fn note(&mut self, packet: &[u8]) {
        let header = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
        let routed = packet.get(8).is_some_and(|ttl| *ttl < OWN_TTL);
        let Some([0, 0, _, _, high, low, _, _, a, b, c, d]) = packet.get(header..header + ECHO_BYTES) else { return };
        if routed && u16::from_be_bytes([*high, *low]) == self.id {
            let number = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            if let Some(answered) = self.answered.get_mut(number) {
                *answered = true;
            }
        }
    }

    /// Whether all answered in one of the last rounds.
    pub fn all_answer(&self) -> bool {
        let rounds = self.answered.rchunks(self.targets.len()).take(3);
        rounds.into_iter().any(|round| round.iter().all(|answered| *answered))
    }

    /// When the first ping was sent that was not answered, as no later one.
    pub fn silent_since(&self) -> Option<Instant> {
        let last = self.answered.iter().rposition(|answered| *answered)?;
        self.sent.get(last + 1).copied()
    }
}

const ECHO_BYTES: usize = 12;

/// An echo request with a number as its data.
fn echo_request(id: u16, number: u32) -> [u8; ECHO_BYTES] {
    let ([id_high, id_low], [a, b, c, d]) = (id.to_be_bytes(), number.to_be_bytes());
    let mut sum = 0x0800 + u32::from(id) + (number >> 16) + (number & 0xffff);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [sum_high, sum_low] = (!(sum as u16)).to_be_bytes();
    [8, 0, sum_high, sum_low, id_high, id_low, 0, 0, a, b, c, d]
}
