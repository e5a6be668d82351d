//! The API's listener: HTTP/1.1 on one port, for the API and, by Host header, for load balancers.
//!
//! Invariant: a connection is looked at before it is read. One whose first request names a load balancer is handed to
//! the load balancers' data plane with nothing consumed; every other one is the API's.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use standfast_kernel::Cloud;
use tokio::net::{TcpListener, TcpStream};

/// A request body of the control plane's operations; S3 objects will stream past this.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How much of a first request is looked at for its Host header, and for how long.
const PEEK_BYTES_MAX: usize = 8 * 1024;
const PEEK_TRIES_MAX: u32 = 200;
const PEEK_PAUSE: Duration = Duration::from_millis(5);
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What becomes of requests whose Host is a load balancer's name.
#[derive(Clone)]
pub enum Sites {
    /// The connection is handed over; it comes back when no load balancer has that name.
    Real(Arc<dyn Fn(&str, std::net::TcpStream) -> Result<(), std::net::TcpStream> + Send + Sync>),
    /// Host and path to the status that the simulation gives; 0 when no node of that name is up.
    Simulated(Arc<dyn Fn(&str, &str) -> u16 + Send + Sync>),
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, cloud: Cloud, sites: Sites) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, cloud.clone(), sites.clone()));
            }
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back instead of spinning.
                eprintln!("level=warn event=accept_failed error={:?}", error.to_string());
                cloud.clock().sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, cloud: Cloud, sites: Sites) {
    let _ = stream.set_nodelay(true);
    let Some(stream) = hand_over(stream, &cloud, &sites).await else { return };
    let service = hyper::service::service_fn(move |request| {
        let (cloud, sites) = (cloud.clone(), sites.clone());
        async move { Ok::<_, Infallible>(answer(cloud, sites, request).await) }
    });
    // A client that hangs up mid-request is no event of ours.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Gives the stream back when it is the API's.
async fn hand_over(stream: TcpStream, cloud: &Cloud, sites: &Sites) -> Option<TcpStream> {
    let Sites::Real(adopt) = sites else { return Some(stream) };
    let Some(host) = peek_host(&stream, cloud).await else { return Some(stream) };
    if !host.contains(".elb.") {
        return Some(stream);
    }
    let plain = stream.into_std().ok()?;
    match adopt(&host, plain) {
        Ok(()) => None,
        Err(plain) => TcpStream::from_std(plain).ok(),
    }
}

/// The Host header of the first request, without consuming it.
async fn peek_host(stream: &TcpStream, cloud: &Cloud) -> Option<String> {
    let mut buffer = [0u8; PEEK_BYTES_MAX];
    let mut seen = 0;
    for _ in 0..PEEK_TRIES_MAX {
        let length = stream.peek(&mut buffer).await.ok()?;
        if length == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some(host) = host_header(&text) {
            return Some(host);
        }
        if text.contains("\r\n\r\n") || length == buffer.len() {
            return None;
        }
        if length == seen {
            // The same bytes: the rest is on its way.
            cloud.clock().sleep(PEEK_PAUSE).await;
        }
        seen = length;
    }
    None
}

/// Finds a complete Host line in the beginning of a request.
fn host_header(text: &str) -> Option<String> {
    let mut lines = text.split_inclusive("\r\n");
    lines.next()?;
    lines.filter(|line| line.ends_with("\r\n")).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim().to_owned())
    })
}

async fn answer(cloud: Cloud, sites: Sites, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.uri().path() == "/_standfast/health" {
        return plain(StatusCode::OK, "ok\n");
    }
    let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    if host.contains(".elb.localhost") {
        return site(&sites, host, request.uri().path());
    }
    let (head, body) = request.into_parts();
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => cloud.handle(Request::from_parts(head, body.to_bytes())).await.map(Full::new),
        Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "The request's body is over 16 MiB or was cut off.\n"),
    }
}

/// The answer for a load balancer's name that no data plane took.
fn site(sites: &Sites, host: &str, path: &str) -> Response<Full<Bytes>> {
    let name = host.split(':').next().unwrap_or_default();
    let status = match sites {
        Sites::Real(_) => None,
        Sites::Simulated(simulated) => StatusCode::from_u16(simulated(name, path)).ok(),
    };
    match status {
        Some(status) => plain(status, "Simulated: no instance of this cloud runs any program.\n"),
        // Not a 404, which a prober would take for an answer of the site.
        None => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "No load balancer has this name, or none of its zones has power.\n")
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_line_counts_only_when_complete() {
        assert_eq!(host_header("GET / HTTP/1.1\r\nHoSt:  a.elb.localhost:80 \r\n"), Some("a.elb.localhost:80".into()));
        assert_eq!(host_header("GET / HTTP/1.1\r\nHost: a.elb"), None);
        assert_eq!(host_header("GET / HTTP/1.1\r\nX: host: y\r\n\r\n"), None);
    }
}
