//! The data plane's side of the API's port: accepting, and telling load balancers' connections from the API's.
//!
//! Invariant: a connection is looked at before it is read. One whose first request names a load balancer is served here
//! with nothing consumed; every other one is handed to the server, or, while there is none, waits for it a moment.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::Clock;
use standfast_dataplane::Plane;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::descriptors::{self, Tag};
use crate::output;

/// How much of a first request is looked at for its Host header, and for how long.
const PEEK_BYTES_MAX: usize = 8 * 1024;
const PEEK_TRIES_MAX: u32 = 200;
const PEEK_PAUSE: Duration = Duration::from_millis(5);
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// How long the API's clients wait for a server.
const SERVER_LIMIT: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const NO_SERVER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 78\r\n\
    Connection: close\r\nRetry-After: 1\r\n\r\n\
    The control plane of this cloud is not running. Its load balancers still are.\n";

/// See the module's documentation.
pub struct FrontDoor {
    plane: Arc<Plane>,
    /// The connection for descriptors to the server that is there.
    server: watch::Sender<Option<Arc<UnixStream>>>,
    listening: Mutex<Option<(TcpListener, AbortHandle)>>,
}

impl FrontDoor {
    pub fn new(plane: Arc<Plane>) -> Arc<Self> {
        Arc::new(Self { plane, server: watch::Sender::new(None), listening: Mutex::new(None) })
    }

    /// Serves a server for as long as it is there.
    pub async fn serve(self: Arc<Self>, server: UnixStream) {
        let server = Arc::new(server);
        self.server.send_replace(Some(server.clone()));
        while let Ok(Some((tag, descriptor))) = descriptors::receive_on(&server).await {
            let said = match (tag, descriptor) {
                (Tag::Which, _) => match self.listener() {
                    Some(listener) => descriptors::send_on(&server, Tag::Listener, Some(listener.as_fd())).await,
                    None => descriptors::send_on(&server, Tag::Nothing, None).await,
                },
                (Tag::Listener, Some(listener)) => {
                    self.listen(TcpListener::from(listener));
                    descriptors::send_on(&server, Tag::Accepting, None).await
                }
                (Tag::Connection, Some(stream)) => {
                    let stream = std::net::TcpStream::from(stream);
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        tokio::spawn(self.clone().connection(stream));
                    }
                    Ok(())
                }
                _ => Ok(()),
            };
            if said.is_err() {
                break;
            }
        }
        self.server.send_if_modified(|current| {
            let ours = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &server));
            if ours {
                *current = None;
            }
            ours
        });
    }

    fn listener(&self) -> Option<TcpListener> {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        listening.as_ref().and_then(|(listener, _)| listener.try_clone().ok())
    }

    /// Accepts from this socket, and from no other any more.
    fn listen(self: &Arc<Self>, listener: TcpListener) {
        let own = listener.set_nonblocking(true).and_then(|()| listener.try_clone());
        let Ok(own) = own.and_then(tokio::net::TcpListener::from_std) else { return };
        let task = tokio::spawn(self.clone().accept(own)).abort_handle();
        let before = self.listening.lock().unwrap_or_else(PoisonError::into_inner).replace((listener, task));
        if let Some((_, task)) = before {
            task.abort();
        }
    }

    async fn accept(self: Arc<Self>, listener: tokio::net::TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(self.clone().connection(stream))),
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to come back instead of spinning.
                    output::log("warn", "accept_failed", format_args!("error={:?}", error.to_string()));
                    Clock::system(1.0).sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let host = tokio::time::timeout(HEAD_LIMIT, peek_host(&stream)).await;
        let Ok(host) = host else { return };
        let stream = match host.filter(|host| host.contains(".elb.")) {
            None => stream,
            Some(host) => {
                let Ok(plain) = stream.into_std() else { return };
                let Err(plain) = self.plane.adopt(&host, plain) else { return };
                // None of ours has this name; the server says so.
                let Ok(stream) = TcpStream::from_std(plain) else { return };
                stream
            }
        };
        if let Err(stream) = self.hand_over(stream).await {
            refuse(stream).await;
        }
    }

    /// Hands a connection to the server; gives it back when there is none.
    async fn hand_over(&self, stream: TcpStream) -> Result<(), TcpStream> {
        let hand = async {
            let mut servers = self.server.subscribe();
            loop {
                let server = servers.wait_for(Option::is_some).await.ok()?.clone()?;
                if descriptors::send_on(&server, Tag::Connection, Some(stream.as_fd())).await.is_ok() {
                    return Some(());
                }
                servers.changed().await.ok()?;
            }
        };
        match tokio::time::timeout(SERVER_LIMIT, hand).await {
            Ok(Some(())) => Ok(()),
            _ => Err(stream),
        }
    }
}

async fn refuse(mut stream: TcpStream) {
    // What is not read would turn the answer into a reset.
    let mut request = [0; PEEK_BYTES_MAX];
    let _ = stream.try_read(&mut request);
    let _ = stream.write_all(NO_SERVER).await;
    let _ = stream.shutdown().await;
}

/// The Host header of the first request, without consuming it.
pub async fn peek_host(stream: &TcpStream) -> Option<String> {
    let clock = Clock::system(1.0);
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
            clock.sleep(PEEK_PAUSE).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_line_counts_only_when_complete() {
        assert_eq!(host_header("GET / HTTP/1.1\r\nHoSt:  a.elb.localhost:80 \r\n"), Some("a.elb.localhost:80".into()));
        assert_eq!(host_header("GET / HTTP/1.1\r\nHost: a.elb"), None);
        assert_eq!(host_header("GET / HTTP/1.1\r\nX: host: y\r\n\r\n"), None);
    }

    #[test]
    fn the_refusal_has_the_length_that_it_says() {
        let text = std::str::from_utf8(NO_SERVER).expect("ASCII");
        let (_, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(text.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
