//! The resolver's sockets: UDP and TCP on port 53 of an address.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;

use super::dns::{self, Transport};
use super::sockets::{self, datagrams, listen};
use super::view::View;

const PORT: u16 = 53;

/// The largest question that is read: with every option a client sends it is much smaller.
const QUESTION_BYTES_MAX: usize = 4096;

/// Connections to the resolver that a VPC may have at once at each address, and how long one may be idle.
const CONNECTIONS_MAX: usize = 128;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

type Views = watch::Receiver<Arc<View>>;

pub fn bind(address: Ipv4Addr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    Ok((datagrams(address, PORT)?, listen(address, PORT)?))
}

pub async fn serve((udp, tcp): (std::net::UdpSocket, std::net::TcpListener), views: Views) -> io::Result<()> {
    let connections = sockets::accept(tcp, CONNECTIONS_MAX, |stream, _| {
        let views = views.clone();
        // Errors are the client's: it left, or was silent for too long.
        async move { drop(connection(stream, views).await) }
    });
    tokio::try_join!(packets(UdpSocket::from_std(udp)?, views.clone()), connections).map(drop)
}

async fn packets(socket: UdpSocket, views: Views) -> io::Result<()> {
    let mut question = [0; QUESTION_BYTES_MAX];
    loop {
        // Errors are of packets that were sent before (a client's port is closed); the next one may be good.
        let Ok((length, client)) = socket.recv_from(&mut question).await else { continue };
        let view = views.borrow().clone();
        if let Some(answer) = dns::answer(&view, &question[..length], Transport::Udp) {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

async fn connection(mut stream: TcpStream, views: Views) -> io::Result<()> {
    let mut question = [0; QUESTION_BYTES_MAX];
    loop {
        let read = async {
            let length = usize::from(stream.read_u16().await?);
            let question = question.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
            stream.read_exact(question).await.map(|_| length)
        };
        let length = tokio::time::timeout(IDLE_TIMEOUT, read).await??;
        let view = views.borrow().clone();
        let answer = dns::answer(&view, &question[..length], Transport::Tcp).ok_or(io::ErrorKind::InvalidData)?;
        let mut framed = u16::try_from(answer.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        framed.extend(answer);
        tokio::time::timeout(IDLE_TIMEOUT, stream.write_all(&framed)).await??;
    }
}
