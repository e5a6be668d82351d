//! The cloud's API for instances: connections to port 4566 of 169.254.169.254 are joined with the API's listener.
//!
//! It is not a proxy: bytes are copied, so whatever the API speaks holds, and who calls is known by its signature only. That
//! an instance does is known by the address that the connection comes from.

use std::io;
use std::net::SocketAddr;

use standfast_core::host::INSTANCES_CALL_FROM;
use tokio::net::{TcpSocket, TcpStream};

use super::sockets::{self, listen};
use super::{API_PORT, METADATA_ADDRESS};

/// Connections to the API that a VPC may have at once.
const CONNECTIONS_PER_VPC_MAX: usize = 1024;

pub fn bind() -> io::Result<std::net::TcpListener> {
    listen(METADATA_ADDRESS, API_PORT)
}

pub async fn serve(listener: std::net::TcpListener, api: SocketAddr) -> io::Result<()> {
    sockets::accept(listener, CONNECTIONS_PER_VPC_MAX, move |mut stream, _| async move {
        // An API that is down shows as a connection that closes, as it would behind any relay. So do errors later on.
        let Ok(mut upstream) = dial(api).await else { return };
        let _ = stream.set_nodelay(true);
        let _ = upstream.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    })
    .await
}

async fn dial(api: SocketAddr) -> io::Result<TcpStream> {
    if api.is_ipv6() {
        // All of that are taken for instances'.
        return TcpStream::connect(api).await;
    }
    let socket = TcpSocket::new_v4()?;
    socket.bind((INSTANCES_CALL_FROM, 0).into())?;
    socket.connect(api).await
}
