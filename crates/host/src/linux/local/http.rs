//! HTTP/1.1 connections of the metadata service and of the simulated internet.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::TcpStream;

use super::METADATA_ADDRESS;
use super::metadata::Service;
use super::sockets::{self, listen};

/// Connections to the metadata service that a VPC may have at once.
const CONNECTIONS_PER_VPC_MAX: usize = 512;

/// The largest head of a request, and the most header fields in it.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// How long a connection may take to send a head, and may stay idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The time to live of packets that need no limit.
const TTL: u8 = 64;

pub fn bind_metadata() -> io::Result<std::net::TcpListener> {
    listen(METADATA_ADDRESS, 80)
}

pub async fn serve_metadata(listener: std::net::TcpListener, service: Service) -> io::Result<()> {
    sockets::accept(listener, CONNECTIONS_PER_VPC_MAX, move |stream, client| {
        let service = service.clone();
        connection(stream, move |request, socket| answer(&service, client, request, socket))
    })
    .await
}

/// Answers, and sees to it that packets with a token go no further than they may.
fn answer(service: &Service, client: Ipv4Addr, request: &Request<Incoming>, socket: &OwnedFd) -> Response<Full<Bytes>> {
    let answer = service.answer(client, request);
    let _ = SockRef::from(socket).set_ttl_v4(u32::from(answer.hop_limit.unwrap_or(TTL)));
    answer.response
}

/// Serves a connection until it ends. `answer` gets the connection's socket too.
pub async fn connection(
    stream: TcpStream,
    answer: impl Fn(&Request<Incoming>, &OwnedFd) -> Response<Full<Bytes>> + Send + 'static,
) {
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else { return };
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let response = answer(&request, &socket);
        async move { Ok::<_, Infallible>(response) }
    });
    // What goes wrong here is the client's: it left, or it does not speak HTTP.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
