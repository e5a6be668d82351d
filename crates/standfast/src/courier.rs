//! The courier of a real cloud: requests by HTTP, e-mail by SMTP.
//!
//! Invariant: requests go to loopback addresses only unless the cloud was started with `--egress host`, and never to
//! private networks: an endpoint inside a VPC is not reachable from here. Mail goes to the server that `--smtp` names.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use http::{Request, Uri};
use http_body_util::Full;
use standfast_core::BoxFuture;
use standfast_core::courier::{Courier, Mail, Post, Undelivered};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::cli::Egress;
use crate::http_client::Connection;
use crate::smtp::Smtp;

/// How long an endpoint may take for an answer, as SNS has it, and a mail server for all of it.
const POST_LIMIT: Duration = Duration::from_secs(15);
const MAIL_LIMIT: Duration = Duration::from_secs(60);

pub struct RealCourier {
    egress: Egress,
    smtp: Option<Arc<Smtp>>,
}

impl RealCourier {
    pub fn new(egress: Egress, smtp: Option<Smtp>) -> Self {
        Self { egress, smtp: smtp.map(Arc::new) }
    }
}

impl Courier for RealCourier {
    fn post(&self, post: Post) -> BoxFuture<'static, Result<u16, Undelivered>> {
        let egress = self.egress;
        Box::pin(limited(POST_LIMIT, async move { send(post, egress).await }))
    }

    fn takes_mail(&self) -> bool {
        self.smtp.is_some()
    }

    fn mail(&self, mail: Mail) -> BoxFuture<'static, Result<(), Undelivered>> {
        let smtp = self.smtp.clone();
        Box::pin(limited(MAIL_LIMIT, async move {
            match smtp {
                Some(smtp) => smtp.send(&mail).await,
                None => Err(Undelivered::Final("the cloud was started without --smtp".into())),
            }
        }))
    }
}

async fn limited<T>(limit: Duration, act: impl Future<Output = Result<T, Undelivered>>) -> Result<T, Undelivered> {
    #[allow(clippy::disallowed_methods)] // A peer outside the cloud goes by the machine's time.
    let done = tokio::time::timeout(limit, act).await;
    done.unwrap_or_else(|_| Err(Undelivered::Passing(format!("no answer within {} s", limit.as_secs()))))
}

async fn send(post: Post, egress: Egress) -> Result<u16, Undelivered> {
    let refused = |why: &str| Undelivered::Final(format!("{}: {why}", post.url));
    let uri: Uri = post.url.parse().map_err(|_| refused("is not a URL"))?;
    let (Some(host), scheme) = (uri.host(), uri.scheme_str()) else { return Err(refused("names no host")) };
    let (port, secure) = match scheme {
        Some("http") => (uri.port_u16().unwrap_or(80), false),
        Some("https") => (uri.port_u16().unwrap_or(443), true),
        _ => return Err(refused("begins with neither http:// nor https://")),
    };
    let host = host.trim_matches(['[', ']']);
    let address = resolve(host, port, egress).await.map_err(|why| match why {
        Undelivered::Passing(why) => Undelivered::Passing(format!("{}: {why}", post.url)),
        Undelivered::Nobody(why) | Undelivered::Final(why) => refused(&why),
    })?;
    let passing = |error: anyhow::Error| Undelivered::Passing(format!("{}: {error:#}", post.url));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path).header("host", uri.authority().map_or(host, |authority| authority.as_str()));
    for (name, value) in &post.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(post.body.into())).map_err(|_| refused("cannot be asked for"))?;
    let stream = Connection::stream(address).await.map_err(|error| {
        let refused = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        match refused == Some(std::io::ErrorKind::ConnectionRefused) && address.ip().is_loopback() {
            true => Undelivered::Nobody(format!("{}: {error:#}", post.url)),
            false => passing(error),
        }
    })?;
    let mut connection = match secure {
        true => Connection::over(trusting(stream, host).await.map_err(passing)?).await,
        false => Connection::over(stream).await,
    }
    .map_err(passing)?;
    Ok(connection.send(request).await.map_err(passing)?.status().as_u16())
}

/// TLS over a stream, with a server whose certificate this machine trusts.
async fn trusting(stream: TcpStream, host: &str) -> anyhow::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("'{host}' is no name of a server"))?;
    let connector = TlsConnector::from(trusted()?);
    connector.connect(name, stream).await.with_context(|| format!("speaking TLS with {host}"))
}

/// The certificates that this machine trusts, or those in the file that `SSL_CERT_FILE` names; read once.
fn trusted() -> anyhow::Result<Arc<ClientConfig>> {
    static TRUSTED: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(read) = TRUSTED.get() {
        return Ok(read.clone());
    }
    let mut roots = RootCertStore::empty();
    // One that cannot be read is one that is not trusted.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    Ok(TRUSTED.get_or_init(|| config).clone())
}

/// Where a host may be reached. Loopback comes first: names below localhost need no resolver.
async fn resolve(host: &str, port: u16, egress: Egress) -> Result<SocketAddr, Undelivered> {
    if host == "localhost" || host.ends_with(".localhost") {
        return Ok(([127, 0, 0, 1], port).into());
    }
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![(ip, port).into()],
        // A resolver may be elsewhere, so it is asked only by a cloud that may go there.
        Err(_) if egress == Egress::Simulated => return Err(elsewhere()),
        Err(_) => match tokio::net::lookup_host((host, port)).await {
            Ok(found) => found.collect(),
            Err(error) => return Err(Undelivered::Passing(error.to_string())),
        },
    };
    let reachable =
        |address: &&SocketAddr| address.ip().is_loopback() || egress == Egress::Host && is_public(address.ip());
    if let Some(address) = addresses.iter().find(reachable) {
        return Ok(*address);
    }
    match egress {
        Egress::Simulated => Err(elsewhere()),
        Egress::Host => {
            Err(Undelivered::Final("its address is private: endpoints inside a VPC cannot be reached".into()))
        }
    }
}

fn elsewhere() -> Undelivered {
    Undelivered::Final("is not on this machine, and the cloud was started without --egress host".into())
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_private()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_unspecified()
                || shared)
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public(ip.into()),
            None => !(ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_leaves_the_machine_unless_it_may() {
        for (host, egress, reached) in [
            ("127.0.0.1", Egress::Simulated, true),
            ("::1", Egress::Simulated, true),
            ("hooks.localhost", Egress::Simulated, true),
            ("192.0.2.1", Egress::Simulated, false),
            ("example.com", Egress::Simulated, false),
            ("10.0.0.5", Egress::Simulated, false),
            ("10.0.0.5", Egress::Host, false),
            ("192.168.1.1", Egress::Host, false),
            ("169.254.169.254", Egress::Host, false),
            ("100.64.0.1", Egress::Host, false),
            ("::ffff:10.0.0.1", Egress::Host, false),
            ("192.0.2.1", Egress::Host, true),
        ] {
            assert_eq!(resolve(host, 80, egress).await.is_ok(), reached, "{host} {egress:?}");
        }
    }
}
