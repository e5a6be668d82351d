//! What is the time? A web application small enough to read, for seeing who answers while things break.
//!
//! `/` says the time, the instance and its availability zone (a page, or text for `curl`), `/health` is for health
//! checks, `/burn?ms=N` uses a processor that long, for alarms and scaling. It listens on `$STANDFAST_ADDRESS:$PORT`
//! (by default 0.0.0.0:8080) and knows nothing of the cloud but the environment of its instance.
//!
//! A thread per connection: simple, and enough for thousands of requests a second over hundreds of connections.

mod http;
mod pages;
mod time;

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pages::Place;

/// More connections at the same time are answered with 503.
const CONNECTIONS_MAX: usize = 2_000;
/// Longer than a load balancer keeps an idle connection (60 s), so that it is never this side that closes one just
/// when a request is on the way.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// A client that takes nothing for this long is gone.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// What a client may still be sending when its connection is closed is read for this long, and this much of it.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 64 * 1024;
const STACK_BYTES: usize = 128 * 1024;
/// After `accept` fails (no more file descriptors), until it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is killed.
pub fn run() -> ExitCode {
    match serve() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("what-is-the-time: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<std::convert::Infallible> {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    let address = format!("{}:{}", variable("STANDFAST_ADDRESS", "0.0.0.0"), variable("PORT", "8080"));
    let listener = TcpListener::bind(&address)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))?;
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;
    let place =
        Arc::new(Place { instance: variable("INSTANCE_ID", "local"), zone: variable("AVAILABILITY_ZONE", "nowhere") });
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept() {
            Ok((stream, _)) => begin(stream, &open, &place),
            #[allow(clippy::disallowed_methods)] // This program lives in the machine's time.
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
}

/// Gives the connection a thread. Without one it is refused, which the client sees as 503.
fn begin(mut stream: TcpStream, open: &Arc<AtomicUsize>, place: &Arc<Place>) {
    // Options that cannot be set make it slower and not wrong.
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(IDLE_MAX));
    let _ = stream.set_write_timeout(Some(WRITE_MAX));
    if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
        open.fetch_sub(1, Ordering::Relaxed);
        let _ = stream.write_all(http::BUSY);
        return;
    }
    let (counter, place) = (open.clone(), place.clone());
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        // Whatever goes wrong with a connection ends that connection.
        let _ = http::converse(&mut stream, |request| pages::answer(request, &place));
        linger(stream);
        counter.fetch_sub(1, Ordering::Relaxed);
    });
    if thread.is_err() {
        open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Closes so that the client gets the last answer: the kernel would throw it away if something came in unread.
fn linger(stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(LINGER_MAX));
    let _ = io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut io::sink());
}
