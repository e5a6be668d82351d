//! The places of load balancer nodes in their VPCs: network namespaces in which sockets are made.
//!
//! A socket belongs for ever to the namespace that it was made in, so a thread enters one for the single call that makes
//! a socket and is back before anything else happens. Invariant: outside `Space::socket` every thread is in its own
//! namespace. One that cannot return ends the process: its next packet could leave the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use standfast_core::lb;

/// The number of the machine's own network.
pub const MACHINE: u64 = 0;

/// A node's namespace, held open, and its address there.
#[derive(Debug)]
pub struct Space {
    /// Never used twice while the process lives.
    pub number: u64,
    pub address: Ipv4Addr,
    namespace: File,
    /// The namespace's device and inode.
    identity: (u64, u64),
}

impl Space {
    fn open(place: &lb::NodePlace) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(MACHINE + 1);
        let namespace = File::open(&place.namespace)?;
        let identity = enter::identity(&namespace)?;
        // The number of a descriptor may have been given to something else since the path was told.
        match enter::own()? {
            own if own == identity => return Err(io::Error::other("this is the machine's own network")),
            own if own.0 != identity.0 => return Err(io::Error::other("this is not a namespace")),
            _ => {}
        }
        Ok(Self { number: NEXT.fetch_add(1, Ordering::Relaxed), address: place.address, namespace, identity })
    }

    /// A TCP socket of the namespace that does not block.
    pub fn socket(&self) -> io::Result<Socket> {
        let socket = enter::within(&self.namespace, || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)))??;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Begins a connection. Its source is the namespace's only address; to bind it first would take a port for all
    /// targets at once instead of one for each.
    fn connect(&self, target: SocketAddr) -> io::Result<TcpStream> {
        let socket = self.socket()?;
        match socket.connect(&target.into()) {
            Err(error) if !enter::is_under_way(&error) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

/// Begins a connection to a target from a node's place, or from the machine's own network for a node without one and
/// for targets on the machine itself, which no VPC leads to.
pub fn connect(from: Option<&Space>, target: SocketAddr) -> io::Result<TcpStream> {
    match from.filter(|_| !target.ip().is_loopback()) {
        Some(space) => space.connect(target),
        None => TcpStream::connect(target),
    }
}

/// The number of a node's place.
pub fn number(from: Option<&Arc<Space>>) -> u64 {
    from.map_or(MACHINE, |space| space.number)
}

/// The places of the last snapshot.
#[derive(Debug, Default)]
pub struct Spaces {
    open: BTreeMap<PathBuf, Arc<Space>>,
    /// Those of which it was said that they cannot be opened.
    shut: BTreeSet<PathBuf>,
}

impl Spaces {
    /// The places that can be opened now, by their paths. A namespace that is still the same stays the same `Space`, so
    /// that connections from there go on.
    pub fn renew(&mut self, balancers: &[lb::LoadBalancer]) {
        let mut open = BTreeMap::new();
        let mut shut = BTreeSet::new();
        for balancer in balancers {
            for node in &balancer.nodes {
                let Some(place) = &node.place else { continue };
                let path = place.namespace.clone();
                match Space::open(place) {
                    Ok(new) => {
                        let is_same = |old: &Arc<Space>| (old.identity, old.address) == (new.identity, new.address);
                        let old = self.open.remove(&path).filter(is_same);
                        open.insert(path, old.unwrap_or_else(|| Arc::new(new)));
                    }
                    Err(error) => {
                        if !self.shut.contains(&path) {
                            eprintln!(
                                "level=warn event=lb_node_down load_balancer={} zone={} namespace={} error={:?}",
                                balancer.arn,
                                node.zone,
                                path.display(),
                                error.to_string()
                            );
                        }
                        shut.insert(path);
                    }
                }
            }
        }
        (self.open, self.shut) = (open, shut);
    }

    pub fn get(&self, place: &lb::NodePlace) -> Option<&Arc<Space>> {
        self.open.get(&place.namespace)
    }
}

#[cfg(target_os = "linux")]
mod enter {
    use std::cell::OnceCell;
    use std::fs::File;
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use rustix::io::Errno;
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

    const OWN_PATH: &str = "/proc/thread-self/ns/net";

    thread_local! {
        /// The namespace that this thread belongs in.
        static OWN: OnceCell<File> = const { OnceCell::new() };
    }

    /// Calls `make` in a namespace. It must not panic, and do nothing but make.
    pub fn within<T>(namespace: &File, make: impl FnOnce() -> T) -> io::Result<T> {
        OWN.with(|own| {
            if own.get().is_none() {
                let _ = own.set(File::open(OWN_PATH)?); // It was empty just now.
            }
            let own = own.get().expect("just set");
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network)?;
            let made = make();
            if let Err(error) = move_into_link_name_space(own.as_fd(), network) {
                eprintln!("level=error event=namespace_not_left error={:?}", error.to_string());
                std::process::abort();
            }
            Ok(made)
        })
    }

    pub fn identity(namespace: &File) -> io::Result<(u64, u64)> {
        let about = namespace.metadata()?;
        Ok((about.dev(), about.ino()))
    }

    /// The identity of the calling thread's namespace; all namespaces are inodes of one device.
    pub fn own() -> io::Result<(u64, u64)> {
        let about = std::fs::metadata(OWN_PATH)?;
        Ok((about.dev(), about.ino()))
    }

    /// Whether this is not a failure to connect, but its beginning.
    pub fn is_under_way(error: &io::Error) -> bool {
        Errno::from_io_error(error) == Some(Errno::INPROGRESS)
    }
}

#[cfg(not(target_os = "linux"))]
mod enter {
    use std::fs::File;
    use std::io;

    pub fn within<T>(_: &File, _: impl FnOnce() -> T) -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn identity(_: &File) -> io::Result<(u64, u64)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn own() -> io::Result<(u64, u64)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub fn is_under_way(_: &io::Error) -> bool {
        false
    }
}
