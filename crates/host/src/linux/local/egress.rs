//! The relay to the real internet, where a cloud is open to it: connections over TCP that instances open to addresses
//! outside end here, and others are opened on the machine in their place.
//!
//! Owns the socket that `standfast_network::egress` leads them to. Invariants: what is not outside is refused before
//! anybody is asked to connect, whatever the packet filter let through; and nothing of the machine's own routing or packet
//! filter is changed. It carries bytes, not packets: there is no UDP and no ICMP, and an instance learns that a
//! connection was refused or timed out by a reset after it was accepted.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt::ip_original_dst;
use socket2::{SockRef, TcpKeepalive};
use standfast_core::BoxFuture;
use standfast_network::egress::{RELAY_PORT, is_outside, leads_away};
use tokio::net::TcpStream;

use super::sockets::{self, listen};
use super::upstream;

/// Connections at once, of all VPCs together; each holds two descriptors.
const CONNECTIONS_MAX: usize = 4096;

/// How long a destination may take to accept: about as long as an instance's own kernel would wait for it.
const CONNECT_LIMIT: Duration = Duration::from_secs(120);

/// How long nothing may be heard of either end before it is asked whether it is there, how often it is asked, and how
/// many times. An instance that loses its power says nothing.
const ALIVE_AFTER: Duration = Duration::from_secs(60);
const ALIVE_AGAIN: Duration = Duration::from_secs(10);
const ALIVE_TRIES: u32 = 6;

/// Where what instances send to the internet goes.
#[derive(Clone, Debug, Default)]
pub enum Egress {
    /// To the cloud's own internet, in which every address answers on port 80, and a few names are known.
    #[default]
    Simulated,
    /// To the real one.
    Host(Outside),
}

impl Egress {
    /// The machine's own network.
    pub fn host() -> Self {
        Self::Host(Outside { dial: Arc::new(|to| Box::pin(dial(to))), resolvers: Arc::new(upstream::of_machine) })
    }

    pub fn outside(&self) -> Option<&Outside> {
        match self {
            Self::Simulated => None,
            Self::Host(outside) => Some(outside),
        }
    }
}

/// Opens a connection to an address outside.
pub type Dial = Arc<dyn Fn(SocketAddrV4) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// The real internet, as a relay gets there; tests put something else in its place.
#[derive(Clone)]
pub struct Outside {
    pub dial: Dial,
    /// The servers that know names, the best one first; asked for before each question.
    pub resolvers: Arc<dyn Fn() -> Vec<SocketAddr> + Send + Sync>,
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

/// Connects from the machine, to others only: an address that is the machine's own is none of the internet's.
async fn dial(to: SocketAddrV4) -> io::Result<TcpStream> {
    if !leads_away(*to.ip())? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    TcpStream::connect(SocketAddr::V4(to)).await
}

pub fn bind() -> io::Result<std::net::TcpListener> {
    listen(Ipv4Addr::UNSPECIFIED, RELAY_PORT)
}

pub async fn serve(listener: std::net::TcpListener, outside: Outside) -> io::Result<()> {
    sockets::accept(listener, CONNECTIONS_MAX, move |mut stream, _| {
        let outside = outside.clone();
        async move {
            if relay(&mut stream, &outside).await.is_err() {
                reset(&stream);
            }
        }
    })
    .await
}

/// Joins a connection with one to where it was meant to go, until both directions have ended. An error is of either
/// end, or of getting there.
async fn relay(stream: &mut TcpStream, outside: &Outside) -> io::Result<()> {
    let to = ip_original_dst(&*stream)?;
    if !is_outside(*to.ip()) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let mut upstream = tokio::time::timeout(CONNECT_LIMIT, (outside.dial)(to)).await??;
    let alive = TcpKeepalive::new().with_time(ALIVE_AFTER).with_interval(ALIVE_AGAIN).with_retries(ALIVE_TRIES);
    for end in [&*stream, &upstream] {
        end.set_nodelay(true)?;
        SockRef::from(end).set_tcp_keepalive(&alive)?;
    }
    let copied = tokio::io::copy_bidirectional(stream, &mut upstream).await;
    if copied.is_err() {
        reset(&upstream);
    }
    copied.map(drop)
}

/// Lets the end of a connection be a reset.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
