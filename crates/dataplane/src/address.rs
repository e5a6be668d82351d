//! Where the nodes of load balancers listen.
//!
//! Each node (load balancer and zone) has a loopback address of its own, found by hash, so that it is the same after a
//! restart; when somebody else listens there the next candidate is taken. A port that cannot be bound (privileged, or
//! taken by a wildcard listener) is replaced by one that the system chooses. Where 127.x addresses cannot be bound, all
//! nodes live on 127.0.0.1. A node with a place in a VPC listens there besides.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::fingerprint;
use crate::space::Space;

/// Candidates that are looked at for one node.
const CANDIDATES_MAX: u64 = 16;
/// 127.64.0.0/10.
const BASE: u32 = 0x7f40_0000;
const HOST_BITS: u32 = 22;
const BACKLOG: i32 = 4096;

/// A listener of a node: what a client connects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door {
    /// By ARN.
    pub balancer: String,
    pub zone: String,
    pub port: u16,
}

/// The addresses that were given out. They are kept while the process lives: a node that comes back is found again.
#[derive(Debug, Default)]
pub struct Addresses {
    nodes: BTreeMap<(String, String), Ipv4Addr>,
    taken: BTreeSet<Ipv4Addr>,
    last: BTreeMap<Door, u16>,
}

/// The `n`th candidate for a node's address.
pub fn candidate(balancer: &str, zone: &str, n: u64) -> Ipv4Addr {
    let hash = fingerprint::mix(fingerprint::of(&[balancer, zone]).wrapping_add(n));
    let host = (hash >> (64 - HOST_BITS)) as u32;
    // The last octet is neither 0 nor 255, which look like networks and broadcasts.
    let last = 1 + (host & 0xff) % 254;
    Ipv4Addr::from(BASE | (host & !0xff) | last)
}

impl Addresses {
    /// Binds `door` once for each worker. `ports` are all ports of its node: they should be free on its address.
    pub fn bind(&mut self, door: &Door, ports: &[u16], workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
        let address = self.node(door, ports);
        let last = self.last.get(door).copied();
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        let wanted = (door.port != 0).then_some(door.port);
        for port in [wanted, last, Some(0)].into_iter().flatten() {
            // The guard fails when somebody else listens, of any user: a shared port would get half of his clients.
            result = bind(SocketAddr::from((address, port)), false).and_then(|guard| {
                let port = local_port(&guard)?;
                drop(guard);
                let socket = SocketAddr::from((address, port));
                let listeners: io::Result<Vec<_>> = (0..workers).map(|_| listen(socket)).collect();
                Ok((socket, listeners?))
            });
            if result.is_ok() {
                break;
            }
        }
        if let Ok((socket, _)) = &result {
            self.last.insert(door.clone(), socket.port());
        }
        result
    }

    fn node(&mut self, door: &Door, ports: &[u16]) -> Ipv4Addr {
        let key = (door.balancer.clone(), door.zone.clone());
        if let Some(address) = self.nodes.get(&key) {
            return *address;
        }
        let candidates = || (0..CANDIDATES_MAX).map(|n| candidate(&door.balancer, &door.zone, n));
        let own = || candidates().filter(|address| !self.taken.contains(address));
        let address = own()
            .find(|address| ports.iter().all(|port| is_free(*address, *port)))
            .or_else(|| own().find(|address| bind(SocketAddr::from((*address, 0)), false).is_ok()))
            .unwrap_or(Ipv4Addr::LOCALHOST);
        self.taken.insert(address);
        self.nodes.insert(key, address);
        address
    }
}

/// Binds a port of a node's own address in its VPC once for each worker; 0 is a port that the system chooses.
pub fn bind_in(place: &Space, port: u16, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let mut socket = SocketAddr::from((place.address, port));
    let mut listeners = Vec::new();
    for _ in 0..workers {
        let listener = place.socket()?;
        listener.set_reuse_address(true)?;
        listener.set_reuse_port(true)?;
        listener.bind(&socket.into())?;
        listener.listen(BACKLOG)?;
        socket.set_port(local_port(&listener)?);
        listeners.push(listener.into());
    }
    Ok((socket, listeners))
}

/// Whether nothing but a missing privilege keeps us from the port.
fn is_free(address: Ipv4Addr, port: u16) -> bool {
    match bind(SocketAddr::from((address, port)), false) {
        Ok(_) => true,
        Err(error) => {
            let any_port = || bind(SocketAddr::from((address, 0)), false);
            error.kind() == io::ErrorKind::PermissionDenied && any_port().is_ok()
        }
    }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bind(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn local_port(socket: &Socket) -> io::Result<u16> {
    socket.local_addr()?.as_socket().map(|address| address.port()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(zone: &str, port: u16) -> Door {
        Door { balancer: "arn:lb".into(), zone: zone.into(), port }
    }

    #[test]
    fn candidates_are_stable_and_stay_in_their_block() {
        for n in 0..1000 {
            let address = candidate("arn:lb", "eu-west-1a", n);
            let [first, second, _, last] = address.octets();
            assert!(first == 127 && (64..128).contains(&second) && (1..255).contains(&last), "{address}");
            assert_eq!(address, candidate("arn:lb", "eu-west-1a", n));
        }
    }

    #[test]
    fn a_taken_port_is_replaced_and_a_node_keeps_its_address() {
        let mut addresses = Addresses::default();
        let (first, listeners) = addresses.bind(&door("a", 0), &[], 2).expect("any port");
        assert_eq!(listeners.len(), 2, "workers share the port");
        let (second, _) = addresses.bind(&door("a", first.port()), &[], 1).expect("another port");
        assert_eq!(first.ip(), second.ip());
        assert_ne!(first.port(), second.port());
        let (other, _) = addresses.bind(&door("b", first.port()), &[first.port()], 1).expect("another node");
        assert_ne!(other.ip(), first.ip());
    }
}
