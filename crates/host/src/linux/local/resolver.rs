//! The resolver's sockets: UDP and TCP on port 53 of an address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::dns::{self, Transport};
use super::egress::Outside;
use super::sockets::{self, datagrams, listen};
use super::upstream;
use super::view::View;

const PORT: u16 = 53;

/// The largest question that is read: with every option a client sends it is much smaller.
const QUESTION_BYTES_MAX: usize = 4096;

/// Connections to the resolver that a VPC may have at once at each address, and how long one may be idle.
const CONNECTIONS_MAX: usize = 128;
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Questions over UDP that may wait at once for somebody else's answer, at each address. Those after them are dropped:
/// clients ask again.
const FORWARDED_MAX: usize = 256;

type Views = watch::Receiver<Arc<View>>;

pub fn bind(address: Ipv4Addr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    Ok((datagrams(address, PORT)?, listen(address, PORT)?))
}

/// With `outside`, what the VPC does not know is asked there.
pub async fn serve(
    (udp, tcp): (std::net::UdpSocket, std::net::TcpListener),
    views: Views,
    outside: Option<Outside>,
) -> io::Result<()> {
    let connections = sockets::accept(tcp, CONNECTIONS_MAX, |stream, _| {
        let (views, outside) = (views.clone(), outside.clone());
        // Errors are the client's: it left, or was silent for too long.
        async move { drop(connection(stream, views, outside).await) }
    });
    let packets = packets(Arc::new(UdpSocket::from_std(udp)?), views.clone(), outside.clone());
    tokio::try_join!(packets, connections).map(drop)
}

async fn packets(socket: Arc<UdpSocket>, views: Views, outside: Option<Outside>) -> io::Result<()> {
    let mut forwarded = JoinSet::new();
    let mut question = [0; QUESTION_BYTES_MAX];
    loop {
        // Errors are of packets that were sent before (a client's port is closed); the next one may be good.
        let Ok((length, client)) = socket.recv_from(&mut question).await else { continue };
        let view = views.borrow().clone();
        let question = &question[..length];
        if let Some(outside) = outside.as_ref().filter(|_| dns::is_foreign(&view, question)) {
            while forwarded.try_join_next().is_some() {}
            if forwarded.len() < FORWARDED_MAX {
                forwarded.spawn(forward(socket.clone(), client, question.to_vec(), outside.clone()));
            }
        } else if let Some(answer) = dns::answer(&view, question, Transport::Udp) {
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

/// Answers with what others say.
async fn forward(socket: Arc<UdpSocket>, client: SocketAddr, question: Vec<u8>, outside: Outside) {
    let answer = upstream::ask(&outside, &question, Transport::Udp).await;
    if let Some(answer) = answer.or_else(|| dns::failure(&question)) {
        let _ = socket.send_to(&answer, client).await;
    }
}

async fn connection(mut stream: TcpStream, views: Views, outside: Option<Outside>) -> io::Result<()> {
    let mut question = [0; QUESTION_BYTES_MAX];
    loop {
        let read = async {
            let length = usize::from(stream.read_u16().await?);
            let question = question.get_mut(..length).ok_or(io::ErrorKind::InvalidData)?;
            stream.read_exact(question).await.map(|_| length)
        };
        let length = tokio::time::timeout(IDLE_TIMEOUT, read).await??;
        let view = views.borrow().clone();
        let question = &question[..length];
        let answer = match outside.as_ref().filter(|_| dns::is_foreign(&view, question)) {
            Some(outside) => upstream::ask(outside, question, Transport::Tcp).await.or_else(|| dns::failure(question)),
            None => dns::answer(&view, question, Transport::Tcp),
        };
        let framed = upstream::framed(&answer.ok_or(io::ErrorKind::InvalidData)?)?;
        tokio::time::timeout(IDLE_TIMEOUT, stream.write_all(&framed)).await??;
    }
}
