//! Opens sockets in namespaces and keeps their servers running as long as they are wanted.
//!
//! Invariant: a thread is in another namespace than the process only while it makes a socket, on a blocking thread and
//! with no await between.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use standfast_core::Clock;
use standfast_network::in_namespace;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};

/// How long to wait before sockets that could not be opened are tried again, and before accepting goes on when the
/// machine is out of descriptors.
const RETRY: Duration = Duration::from_millis(500);

/// Connections that the kernel holds for a listener until they are accepted.
const BACKLOG: i32 = 256;

/// Starts servers.
#[derive(Clone)]
pub struct Opener {
    pub runtime: Handle,
    pub clock: Clock,
}

/// A server; dropping it closes its sockets and connections.
pub struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Opener {
    /// Calls `bind` in the namespace, again and again until it succeeds, and serves what it gives.
    pub fn serve<T, F>(
        &self,
        namespace: Arc<OwnedFd>,
        bind: impl Fn() -> io::Result<T> + Clone + Send + 'static,
        serve: impl FnOnce(T) -> F + Send + 'static,
    ) -> Task
    where
        T: Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let clock = self.clock.clone();
        Task(self.runtime.spawn(async move {
            let opened = loop {
                let (namespace, bind) = (namespace.clone(), bind.clone());
                match tokio::task::spawn_blocking(move || in_namespace(namespace.as_fd(), bind)?).await {
                    Ok(Ok(opened)) => break opened,
                    Ok(Err(error)) => eprintln!("level=error event=socket_failed error={error:?}"),
                    // The runtime ends.
                    Err(_) => return,
                }
                clock.sleep(RETRY).await;
            };
            if let Err(error) = serve(opened).await {
                eprintln!("level=error event=server_ended error={error:?}");
            }
        }))
    }
}

/// A TCP listener, for tokio to take, on an address that may not be there yet.
pub fn listen(address: Ipv4Addr, port: u16) -> io::Result<std::net::TcpListener> {
    let socket = socket(Type::STREAM, Protocol::TCP)?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(address, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A UDP socket, for tokio to take, on an address that may not be there yet.
pub fn datagrams(address: Ipv4Addr, port: u16) -> io::Result<std::net::UdpSocket> {
    let socket = socket(Type::DGRAM, Protocol::UDP)?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(address, port)).into())?;
    Ok(socket.into())
}

fn socket(kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    socket.set_freebind_v4(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    Ok(socket)
}

/// Accepts for ever and runs `serve` for each connection, at most `connections_max` at once; others wait in the backlog.
pub async fn accept<F>(
    listener: std::net::TcpListener,
    connections_max: usize,
    serve: impl Fn(TcpStream, Ipv4Addr) -> F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= connections_max {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(peer))) => {
                connections.spawn(serve(stream, *peer.ip()));
            }
            // The sockets are of IPv4.
            Ok(_) => {}
            Err(error) => {
                eprintln!("level=error event=accept_failed error={error:?}");
                let wait = std::future::pending::<()>();
                let _ = tokio::time::timeout(RETRY, wait).await;
            }
        }
    }
}
