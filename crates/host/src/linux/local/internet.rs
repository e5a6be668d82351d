//! The servers of the simulated internet: port 80 of every address answers with the client's address and a newline, so
//! that people see which address they leave their VPC with. Where a cloud is open to the real internet, they have one
//! address only.

use std::io;
use std::net::Ipv4Addr;

use super::http;
use super::sockets::{self, listen};

/// Connections at once, of all VPCs together.
const CONNECTIONS_MAX: usize = 1024;

pub fn bind(address: Ipv4Addr) -> io::Result<std::net::TcpListener> {
    listen(address, 80)
}

pub async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    sockets::accept(listener, CONNECTIONS_MAX, |stream, client| {
        http::connection(stream, move |_, _| http::text(::http::StatusCode::OK, format!("{client}\n")))
    })
    .await
}
