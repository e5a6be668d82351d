//! The server's side of the API's port.
//!
//! The data plane accepts, and hands over what is the API's. While there is none (the first milliseconds of a cloud, and
//! when it died) the server accepts itself, and keeps what is the load balancers' until there is one.
//!
//! Invariant: the listening socket is open in both, so no connection is ever refused because one of them is gone.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::Clock;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::descriptors::{self, Tag};
use super::door::peek_host;
use crate::listen::{self, Api, Sites};
use crate::output;

/// How long a load balancer's client waits for a data plane.
const DATAPLANE_LIMIT: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connection for descriptors to a data plane.
pub struct Door(pub std::os::unix::net::UnixStream);

/// The door to the data plane that is there.
type Current = watch::Sender<Option<Arc<UnixStream>>>;

/// Serves the API behind this socket until the task is dropped.
pub async fn serve(listener: TcpListener, mut doors: mpsc::Receiver<Door>, api: Api) {
    let listener = Arc::new(listener);
    let current: Arc<Current> = Arc::new(watch::Sender::new(None));
    let accept = || tokio::spawn(accept(listener.clone(), current.clone(), api.clone()));
    let mut own = Some(accept());
    while let Some(Door(door)) = doors.recv().await {
        let Ok(door) = door.set_nonblocking(true).and_then(|()| UnixStream::from_std(door)) else { continue };
        let door = Arc::new(door);
        if descriptors::send_on(&door, Tag::Listener, Some(listener.as_fd())).await.is_err() {
            continue;
        }
        current.send_replace(Some(door.clone()));
        while let Ok(Some((tag, descriptor))) = descriptors::receive_on(&door).await {
            match (tag, descriptor) {
                (Tag::Accepting, _) => {
                    if let Some(own) = own.take() {
                        own.abort();
                    }
                }
                (Tag::Connection, Some(stream)) => take(TcpStream::from(stream), &api),
                _ => {}
            }
        }
        current.send_replace(None);
        own = own.or_else(|| Some(accept()));
    }
}

/// Serves a connection that the data plane has found to be the API's.
fn take(stream: TcpStream, api: &Api) {
    if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| tokio::net::TcpStream::from_std(stream)) {
        tokio::spawn(listen::connection(stream, api.clone(), Sites::Elsewhere));
    }
}

/// Accepts while no data plane does.
async fn accept(listener: Arc<TcpListener>, current: Arc<Current>, api: Api) {
    // Registered only for as long as this runs: a listener that is registered wakes its process for each connection.
    let own = listener.try_clone().and_then(|own| own.set_nonblocking(true).map(|()| own));
    let Ok(own) = own.and_then(tokio::net::TcpListener::from_std) else { return };
    loop {
        match own.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, current.clone(), api.clone()))),
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to come back instead of spinning.
                output::log("warn", "accept_failed", format_args!("error={:?}", error.to_string()));
                Clock::system(1.0).sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, current: Arc<Current>, api: Api) {
    let _ = stream.set_nodelay(true);
    if !peek_host(&stream).await.is_some_and(|host| host.contains(".elb.")) {
        return listen::connection(stream, api, Sites::Elsewhere).await;
    }
    let mut doors = current.subscribe();
    let door = tokio::time::timeout(DATAPLANE_LIMIT, doors.wait_for(Option::is_some)).await;
    let door = door.ok().and_then(|door| door.ok()?.clone());
    let handed = match door {
        Some(door) => descriptors::send_on(&door, Tag::Connection, Some(stream.as_fd())).await.is_ok(),
        None => false,
    };
    if !handed {
        listen::connection(stream, api, Sites::Elsewhere).await;
    }
}
