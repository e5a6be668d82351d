//! What the host and the data plane have in common: they serve one server at a time, and know when to end.
//!
//! Invariant: a server that connects is told who this is and what is, and from then on every change; the last one that
//! connected is the one that is obeyed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use standfast_core::{BoxFuture, Clock};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::RunDir;
use super::descriptors::{self, Tag};
use super::protocol::{self, Down, Hello, Kind, Up};
use crate::{output, signals};

/// How long a server may take to begin a conversation.
const BEGIN_LIMIT: Duration = Duration::from_secs(5);
/// How often it is looked whether figures have changed that nobody waits for.
const REFRESH: Duration = Duration::from_secs(1);
/// Changes are left to gather for this long for each thing that an observation speaks of.
const GATHER_PER_THING: Duration = Duration::from_micros(5);
/// How often a process that outlives its server looks whether its state is still there.
const ORPHAN_CHECK: Duration = Duration::from_secs(3);
/// How long the end of what runs here may take when nobody waits for it any more.
const END_LIMIT: Duration = Duration::from_secs(15);

/// What a process serves.
pub trait Served<K: Kind>: Send + Sync + 'static {
    fn hello(&self) -> Hello;
    fn obey(&self, level: Arc<K::Level>);
    fn observe(&self) -> K::Observation;
    fn changed(&self) -> BoxFuture<'static, ()>;
    fn call(&self, call: K::Call) -> BoxFuture<'static, K::Answer>;
    /// The connection for descriptors that came with the one for messages.
    fn door(&self, door: UnixStream);
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}

/// The connection that the server which started this process gave it as standard input. Nothing that this process
/// starts inherits it.
pub fn first_connection() -> Result<UnixStream> {
    let stream = rustix::stdio::stdin().try_clone_to_owned().context("standard input")?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null").context("opening /dev/null")?)?;
    let stream = std::os::unix::net::UnixStream::from(stream);
    // Only a Unix socket has an address of that kind.
    stream.local_addr().context("this command is started by `standfast server`, not by people")?;
    stream.set_nonblocking(true)?;
    Ok(UnixStream::from_std(stream)?)
}

/// Serves until it is time to end, and ends what runs here. With `run` it outlives its server and takes new ones.
pub async fn serve<K: Kind, S: Served<K>>(served: Arc<S>, first: UnixStream, run: Option<RunDir>) -> Result<()> {
    let listener = match &run {
        Some(run) => Some(UnixListener::from_std(run.listen(K::ROLE).context("listening in the run directory")?)?),
        None => None,
    };
    let (ended, mut ends) = mpsc::channel(1);
    let mut server = attend(served.clone(), first, ended.clone());
    let mut check = tokio::time::interval(ORPHAN_CHECK);
    let stop = signals::terminated()?;
    tokio::pin!(stop);
    let told = loop {
        tokio::select! {
            () = &mut stop => break false,
            Some(how) = ends.recv() => match how {
                End::Told => break true,
                End::Lost if run.is_none() => break false,
                End::Lost => output::log("warn", "server_lost", format_args!("process={}", K::ROLE.name())),
            },
            stream = accept(listener.as_ref()) => {
                server.abort();
                server = attend(served.clone(), stream, ended.clone());
            }
            _ = check.tick() => if let Some(run) = &run && !run.is_ours(K::ROLE) {
                output::log("warn", "orphan_ends", format_args!("process={} reason=\"its state is gone\"", K::ROLE.name()));
                break false;
            },
        }
    };
    if !told {
        // A server is not shown how everything goes down, as if it had been wanted: it is to see a process that is gone.
        server.abort();
        let _ = (&mut server).await;
        if tokio::time::timeout(END_LIMIT, served.shutdown()).await.is_err() {
            output::log("warn", "end_too_slow", format_args!("process={}", K::ROLE.name()));
        }
    }
    if let Some(run) = run.filter(|run| run.is_ours(K::ROLE)) {
        run.forget(K::ROLE);
    }
    Ok(())
}

/// A connection of this very user.
async fn accept(listener: Option<&UnixListener>) -> UnixStream {
    let Some(listener) = listener else { return std::future::pending().await };
    let own = rustix::process::getuid().as_raw();
    loop {
        match listener.accept().await {
            Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == own) => return stream,
            Ok(_) => output::log("warn", "stranger_refused", format_args!("")),
            Err(_) => Clock::system(1.0).sleep(GATHER_PER_THING).await,
        }
    }
}

/// How a conversation ended.
enum End {
    /// The server ended or let go.
    Lost,
    /// The server said that this is the end; what ran here is down.
    Told,
}

fn attend<K: Kind, S: Served<K>>(served: Arc<S>, stream: UnixStream, ended: mpsc::Sender<End>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let end = converse::<K, S>(&served, stream).await.unwrap_or(End::Lost);
        let _ = ended.send(end).await; // Nobody listens when the process is ending anyway.
    })
}

async fn converse<K: Kind, S: Served<K>>(served: &Arc<S>, stream: UnixStream) -> io::Result<End> {
    let begun = tokio::time::timeout(BEGIN_LIMIT, descriptors::receive_on(&stream)).await?;
    let Some((Tag::Begin, Some(door))) = begun? else { return Ok(End::Lost) };
    let door = std::os::unix::net::UnixStream::from(door);
    door.set_nonblocking(true)?;
    served.door(UnixStream::from_std(door)?);
    let (read, mut write) = stream.into_split();
    protocol::write(&mut write, &Up::<K::Observation, K::Answer>::Hello(served.hello())).await?;
    let write = Mutex::new(write);
    tokio::select! {
        end = obey::<K, S>(served, read, &write) => end,
        end = show::<K, S>(served, &write) => end,
    }
}

/// Does what the server says.
async fn obey<K: Kind, S: Served<K>>(
    served: &Arc<S>,
    mut read: OwnedReadHalf,
    write: &Mutex<OwnedWriteHalf>,
) -> io::Result<End> {
    // Calls take as long as they take, and the next message does not wait for them.
    let (answers, mut answered) = mpsc::unbounded_channel();
    let listen = async {
        loop {
            match protocol::read::<Down<K::Level, K::Call>>(&mut read).await {
                Ok(Down::Level(level)) => served.obey(Arc::new(level)),
                Ok(Down::Call(number, call)) => {
                    let (last, answers) = (K::stops(&call), answers.clone());
                    let answer = served.call(call);
                    tokio::spawn(async move { answers.send((number, last, answer.await)) });
                }
                Err(error) => return Err(error),
            }
        }
    };
    let answer = async {
        while let Some((number, last, answer)) = answered.recv().await {
            protocol::write(&mut *write.lock().await, &Up::<K::Observation, _>::Answer(number, answer)).await?;
            if last {
                break;
            }
        }
        Ok(End::Told)
    };
    tokio::select! {
        end = listen => end,
        end = answer => end,
    }
}

/// Shows every change.
async fn show<K: Kind, S: Served<K>>(served: &Arc<S>, write: &Mutex<OwnedWriteHalf>) -> io::Result<End> {
    let clock = Clock::system(1.0);
    let mut refresh = tokio::time::interval(REFRESH);
    let mut shown: Option<K::Observation> = None;
    loop {
        let changed = served.changed();
        let now = served.observe();
        let message = match &shown {
            Some(shown) if *shown == now => None,
            Some(shown) if K::same(shown, &now) => Some(Up::<&K::Observation, K::Answer>::Refresh(&now)),
            _ => Some(Up::Observation(&now)),
        };
        if let Some(message) = message {
            let frame = protocol::frame(&message)?;
            tokio::io::AsyncWriteExt::write_all(&mut *write.lock().await, &frame).await?;
            clock.sleep(GATHER_PER_THING * K::size(&now) as u32).await;
            shown = Some(now);
        }
        tokio::select! {
            () = changed => {}
            _ = refresh.tick() => {}
        }
    }
}
