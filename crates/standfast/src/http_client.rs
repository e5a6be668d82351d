//! A small HTTP/1.1 client over loopback, for the command line.
//!
//! Invariant: it connects to loopback addresses only, and within an instance to what its network leads to. Standfast
//! never sends load or calls anywhere else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::image;

/// Where a URL points: the socket address and the Host header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub address: SocketAddr,
    pub host: String,
    /// Path and query.
    pub path: String,
}

/// Reads an http URL whose host is on this machine.
pub fn place(url: &str) -> Result<Place> {
    let uri: Uri = url.parse().with_context(|| format!("'{url}' is not a URL"))?;
    if uri.scheme_str() != Some("http") {
        bail!("'{url}' does not begin with http://");
    }
    let authority = uri.authority().with_context(|| format!("'{url}' names no host"))?;
    let host = authority.host();
    let ip: IpAddr = match host.trim_matches(['[', ']']).parse() {
        Ok(ip) => ip,
        Err(_) if image::in_instance() && host != "localhost" => resolve(host)?,
        // RFC 6761: localhost and all names below it are this machine.
        Err(_) if host == "localhost" || host.ends_with(".localhost") => Ipv4Addr::LOCALHOST.into(),
        Err(_) => bail!("'{host}' is not on this machine: only localhost, names below it and loopback addresses are"),
    };
    if !ip.is_loopback() && !image::in_instance() {
        bail!("{ip} is not a loopback address; Standfast sends traffic only to this machine");
    }
    Ok(Place {
        address: (ip, authority.port_u16().unwrap_or(80)).into(),
        host: authority.as_str().to_owned(),
        path: uri.path_and_query().map_or("/".into(), |p| p.as_str().to_owned()),
    })
}

/// The first address that the instance's resolver knows for a name.
fn resolve(host: &str) -> Result<IpAddr> {
    let found = (host, 0).to_socket_addrs().with_context(|| format!("looking up '{host}'"))?.next();
    Ok(found.with_context(|| format!("'{host}' has no address"))?.ip())
}

/// The URL as this machine can fetch it: a load balancer's name without a port answers at the API's port.
pub fn site_url(url: &str, endpoint: &str) -> String {
    let split = || -> Option<(&str, u16)> {
        let uri: Uri = url.parse().ok()?;
        let named = |host: &&str| host.ends_with(".elb.localhost") && uri.port().is_none() && !image::in_instance();
        let host = uri.host().filter(named)?;
        let end = url.find(host)? + host.len();
        Some((&url[..end], place(endpoint).ok()?.address.port()))
    };
    match split() {
        Some((front, port)) => format!("{front}:{port}{}", &url[front.len()..]),
        None => url.to_owned(),
    }
}

/// A connection that is kept for several requests.
pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        Self::over(Self::stream(address).await?).await
    }

    /// What a connection goes over.
    pub async fn stream(address: SocketAddr) -> Result<TcpStream> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection over a stream that is open.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self> {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its end shows in the next request.
            let _ = connection.await;
        });
        Ok(Self(sender))
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Bytes>> {
        self.0.ready().await?;
        let (head, body) = self.0.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }

    /// Whether the peer has closed it.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_balancer_answers_at_the_apis_port() {
        let api = "http://127.0.0.1:4566";
        let name = "http://web-1.eu-west-1.elb.localhost";
        assert_eq!(site_url(&format!("{name}/a?b"), api), format!("{name}:4566/a?b"));
        for kept in [&format!("{name}:80/"), "http://localhost/", "not a URL"] {
            assert_eq!(site_url(kept, api), *kept);
        }
    }

    #[test]
    fn only_this_machine_is_a_place() {
        let place = place("http://web-1.eu-west-1.elb.localhost:4566/a?b=c").expect("on this machine");
        assert_eq!(place.address, ([127, 0, 0, 1], 4566).into());
        assert_eq!((place.host.as_str(), place.path.as_str()), ("web-1.eu-west-1.elb.localhost:4566", "/a?b=c"));
        for bad in
            ["http://10.0.0.1/", "http://example.com/", "https://localhost/", "localhost", "http://notlocalhost/"]
        {
            assert!(super::place(bad).is_err(), "{bad}");
        }
    }
}
