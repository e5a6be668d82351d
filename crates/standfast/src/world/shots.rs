//! One request of each kind, over real sockets.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::Full;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use standfast_gameday::probe::{self, Answer, Fate, INSTANCE_HEADER, ZONE_HEADER};
use standfast_gameday::world::Shot;
use tokio::net::{TcpStream, UdpSocket};

use crate::http_client::{Connection, Place, place, site_url};

/// Idle connections kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// The longest answer of a resolver that is read.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Connections that wait for the next request.
pub type Idle = Arc<Mutex<VecDeque<Connection>>>;

fn shot<F>(timeout: Duration, request: impl Fn() -> F + Send + Sync + 'static) -> Shot
where
    F: Future<Output = Answer> + Send + 'static,
{
    Arc::new(move || {
        let request = request();
        Box::pin(async move {
            match tokio::time::timeout(timeout, request).await {
                Ok(answer) => answer,
                Err(_) => of(Fate::TIMED_OUT),
            }
        })
    })
}

fn of(fate: Fate) -> Answer {
    Answer { fate, who: None }
}

/// A GET over a connection that is kept.
pub fn http(url: &str, endpoint: &str, timeout: Duration) -> Result<Shot> {
    let target = Arc::new(place(&site_url(url, endpoint))?);
    request_of(&target).context("the URL")?;
    let idle = Idle::default();
    Ok(shot(timeout, move || {
        let (target, idle) = (target.clone(), idle.clone());
        async move { get(&target, &idle).await }
    }))
}

fn request_of(target: &Place) -> http::Result<http::Request<Full<Bytes>>> {
    http::Request::get(&target.path)
        .header("host", &target.host)
        .header("user-agent", "standfast-probe")
        .header("accept", "text/plain")
        .body(Full::default())
}

/// One GET, tried once.
pub async fn get(target: &Place, idle: &Idle) -> Answer {
    let kept = {
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop_back()).find(|connection| !connection.is_closed())
    };
    let mut connection = match kept {
        Some(connection) => connection,
        None => match Connection::open(target.address).await {
            Ok(connection) => connection,
            Err(_) => return of(Fate::REFUSED),
        },
    };
    let Ok(request) = request_of(target) else { return of(Fate::NOT_UNDERSTOOD) };
    let Ok(answer) = connection.send(request).await else { return of(Fate::CLOSED) };
    let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let who = probe::who(header(INSTANCE_HEADER), header(ZONE_HEADER), answer.body());
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < IDLE_CONNECTIONS_MAX && !connection.is_closed() {
        idle.push_back(connection);
    }
    Answer { fate: Fate::status(answer.status().as_u16()), who }
}

/// The address of `tcp://` and `dns://`, and what follows it.
fn socket(url: &str, scheme: &str) -> Result<(SocketAddr, String)> {
    let Some(rest) = url.strip_prefix(scheme) else { bail!("'{url}' does not begin with {scheme}") };
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
        bail!("'{url}' names no port");
    }
    let place = place(&format!("http://{rest}"))?;
    Ok((place.address, place.path.trim_matches('/').to_owned()))
}

/// A connection that is opened and closed.
pub fn tcp(url: &str, timeout: Duration) -> Result<Shot> {
    let (address, _) = socket(url, "tcp://")?;
    Ok(shot(timeout, move || async move {
        match TcpStream::connect(address).await {
            Ok(_) => of(Fate::CONNECTED),
            Err(_) => of(Fate::REFUSED),
        }
    }))
}

/// A question for a name's IPv4 address.
pub fn dns(url: &str, timeout: Duration) -> Result<Shot> {
    let (resolver, name) = socket(url, "dns://")?;
    if name.is_empty() {
        bail!("'{url}' names nothing to look up: it is of the form dns://RESOLVER:PORT/NAME");
    }
    let question = question(&name)?;
    Ok(shot(timeout, move || {
        let question = question.clone();
        async move { ask(resolver, &question).await.unwrap_or_else(|_| of(Fate::CLOSED)) }
    }))
}

fn question(name: &str) -> Result<Vec<u8>> {
    // The number tells answers on one socket apart; each question has a socket of its own.
    let mut packet = Packet::new_query(1);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).with_context(|| format!("'{name}' is not a name"))?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().context("writing a question")
}

async fn ask(resolver: SocketAddr, question: &[u8]) -> std::io::Result<Answer> {
    let local: SocketAddr =
        if resolver.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { (std::net::Ipv6Addr::LOCALHOST, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(resolver).await?;
    socket.send(question).await?;
    let mut answer = [0; DATAGRAM_BYTES_MAX];
    let length = socket.recv(&mut answer).await?;
    let Ok(packet) = Packet::parse(&answer[..length]) else { return Ok(of(Fate::NOT_UNDERSTOOD)) };
    Ok(of(match packet.rcode() {
        RCODE::NoError if !packet.answers.is_empty() => Fate::RESOLVED,
        RCODE::NoError | RCODE::NameError => Fate::NO_SUCH_NAME,
        _ => Fate::status(500),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn only_this_machine_is_aimed_at() {
        for bad in ["tcp://10.0.0.1:80", "tcp://localhost", "dns://8.8.8.8:53/a.example", "dns://127.0.0.1:53/"] {
            let aimed = if bad.starts_with("tcp") { tcp(bad, TIMEOUT) } else { dns(bad, TIMEOUT) };
            assert!(aimed.is_err(), "{bad}");
        }
        assert!(tcp("tcp://127.0.0.1:80", TIMEOUT).is_ok());
        assert!(dns("dns://127.0.0.53:53/a.example", TIMEOUT).is_ok());
    }

    #[test]
    fn connections_and_names_have_fates() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let url = format!("tcp://{}", listener.local_addr().expect("bound"));
            assert_eq!(tcp(&url, TIMEOUT).expect("valid")().await.fate, Fate::CONNECTED);
            drop(listener);
            assert_eq!(tcp(&url, TIMEOUT).expect("valid")().await.fate, Fate::REFUSED);

            let resolver = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
            let address = resolver.local_addr().expect("bound");
            let served = tokio::spawn(async move {
                let mut bytes = [0; 512];
                let (length, from) = resolver.recv_from(&mut bytes).await.expect("a question");
                let asked = Packet::parse(&bytes[..length]).expect("a question");
                let mut answer = Packet::new_reply(asked.id());
                *answer.rcode_mut() = RCODE::NameError;
                resolver.send_to(&answer.build_bytes_vec().expect("an answer"), from).await.expect("sent");
            });
            let shot = dns(&format!("dns://{address}/nobody.example"), TIMEOUT).expect("valid");
            assert_eq!(shot().await.fate, Fate::NO_SUCH_NAME);
            served.await.expect("it answered");
        });
    }
}
