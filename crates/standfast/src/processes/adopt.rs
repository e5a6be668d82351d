//! Finding the processes that a server before this one left running, and replacing those that cannot be kept.
//!
//! Done before anything else of a cloud starts, and therefore blocking: the first look of the control plane at its
//! instances must already show them running.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::descriptors::{self, Tag};
use super::protocol::{self, Hello, Kind, Up};
use super::run_dir::Identity;
use super::{Role, RunDir};
use crate::cli::Egress;
use crate::output;

/// How long a process may take to say who it is.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// How long one that is replaced may take to end its instances, before it is killed.
const REPLACE_LIMIT: Duration = Duration::from_secs(15);
const KILL_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// What a process must be like to be kept.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub build: String,
    /// The host driver; `None` takes what there is.
    pub driver: Option<&'static str>,
    pub egress: Egress,
    pub speed: f64,
}

/// A process with whom a conversation has begun.
pub struct Found<K: Kind> {
    pub stream: UnixStream,
    pub door: UnixStream,
    pub identity: Identity,
    pub hello: Hello,
    pub observation: K::Observation,
}

/// The running process of this role; `None` when there is none that can be kept. From then on there is none.
pub fn find<K: Kind>(run: &RunDir, wanted: &Wanted) -> Option<Found<K>> {
    let noted = run.noted(K::ROLE)?;
    if noted.is_alive() {
        match begin::<K>(run, noted, wanted) {
            Ok(found) => {
                output::log("info", "process_adopted", format_args!("process={} pid={}", K::ROLE.name(), pid(noted)));
                return Some(found);
            }
            Err(why) => replace(K::ROLE, noted, &why.to_string()),
        }
    }
    run.forget(K::ROLE);
    None
}

fn pid(identity: Identity) -> i32 {
    identity.pid.as_raw_nonzero().get()
}

fn begin<K: Kind>(run: &RunDir, identity: Identity, wanted: &Wanted) -> io::Result<Found<K>> {
    let stream = run.connect(K::ROLE)?;
    check_peer(&stream)?;
    stream.set_read_timeout(Some(HELLO_LIMIT))?;
    stream.set_write_timeout(Some(HELLO_LIMIT))?;
    let (door, theirs) = UnixStream::pair()?;
    descriptors::send(&stream, Tag::Begin, Some(theirs.as_fd()))?;
    drop(theirs);
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "another version of this program");
    let Ok(Up::Hello(hello)) = protocol::read_blocking::<Up<K::Observation, K::Answer>>(&stream) else {
        return Err(foreign());
    };
    if hello.build != wanted.build {
        return Err(foreign());
    }
    if let Some(what) = difference(K::ROLE, &hello, wanted) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let Up::Observation(observation) = protocol::read_blocking::<Up<K::Observation, K::Answer>>(&stream)? else {
        return Err(foreign());
    };
    stream.set_read_timeout(None)?;
    stream.set_write_timeout(None)?;
    Ok(Found { stream, door, identity, hello, observation })
}

/// What a process was started with, where that is not what is wanted. A host that lets instances out to the real
/// internet is never one that should not, nor the other way round.
fn difference(role: Role, hello: &Hello, wanted: &Wanted) -> Option<String> {
    let Hello { driver, egress, speed, .. } = hello;
    let same_host = wanted.driver.is_none_or(|it| it == driver) && wanted.egress == *egress;
    if *speed == wanted.speed && (role != Role::Host || same_host) {
        return None;
    }
    Some(format!("started with --driver {driver} --egress {} --speed {speed}", egress.name()))
}

/// The listening socket that the data plane at the other end of this door has, if it has one.
pub fn listener(door: &UnixStream) -> io::Result<Option<TcpListener>> {
    door.set_read_timeout(Some(HELLO_LIMIT))?;
    descriptors::send(door, Tag::Which, None)?;
    let answer = descriptors::receive(door)?;
    door.set_read_timeout(None)?;
    match answer {
        Some((Tag::Listener, Some(listener))) => Ok(Some(TcpListener::from(listener))),
        _ => Ok(None),
    }
}

#[cfg(target_os = "linux")]
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    match peer.uid == rustix::process::getuid() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to another user")),
    }
}

/// The run directory is this user's alone.
#[cfg(not(target_os = "linux"))]
fn check_peer(_: &UnixStream) -> io::Result<()> {
    Ok(())
}

/// Ends a process that cannot be kept, with what it runs.
fn replace(role: Role, process: Identity, why: &str) {
    output::log(
        "warn",
        "process_replaced",
        format_args!("process={} pid={} reason={why:?}", role.name(), pid(process)),
    );
    signal(process, Signal::TERM);
    if !ends(process, REPLACE_LIMIT) {
        kill(process);
    }
}

/// Kills a process and waits for its end.
pub fn kill(process: Identity) {
    signal(process, Signal::KILL);
    ends(process, KILL_LIMIT);
}

/// Whether it ends within the limit.
pub fn ends(process: Identity, limit: Duration) -> bool {
    let rounds = limit.as_millis() / POLL.as_millis();
    for _ in 0..rounds {
        if !process.is_alive() {
            return true;
        }
        #[allow(clippy::disallowed_methods)] // The machine's own processes end in the machine's time.
        std::thread::sleep(POLL);
    }
    !process.is_alive()
}

#[cfg(target_os = "linux")]
fn signal(process: Identity, signal: Signal) {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let Ok(handle) = pidfd_open(process.pid, PidfdFlags::empty()) else { return };
    // Looked at after it was opened: it is this process, or none.
    if process.is_alive() {
        let _ = pidfd_send_signal(handle, signal);
    }
}

#[cfg(not(target_os = "linux"))]
fn signal(process: Identity, signal: Signal) {
    if process.is_alive() {
        let _ = rustix::process::kill_process(process.pid, signal);
    }
}

/// The identity of a process that this one has started and not waited for.
pub fn of_child(id: u32) -> Option<Identity> {
    Identity::of(Pid::from_raw(i32::try_from(id).ok()?)?)
}

#[cfg(test)]
mod tests {
    use standfast_core::Timestamp;
    use standfast_core::host::Abilities;

    use super::*;

    #[test]
    fn a_host_with_another_way_out_is_not_kept() {
        let hello = |egress| Hello {
            build: "b".into(),
            pid: 1,
            driver: "linux".into(),
            egress,
            abilities: Abilities::default(),
            now: Timestamp(0),
            speed: 1.0,
        };
        let wanted = |egress| Wanted { build: "b".into(), driver: None, egress, speed: 1.0 };
        for (is, should) in [(Egress::Host, Egress::Simulated), (Egress::Simulated, Egress::Host)] {
            let why = difference(Role::Host, &hello(is), &wanted(should)).expect("it differs");
            assert!(why.contains(&format!("--egress {}", is.name())), "{why}");
            assert_eq!(difference(Role::Host, &hello(is), &wanted(is)), None);
            assert_eq!(difference(Role::Dataplane, &hello(is), &wanted(should)), None, "it has no instances");
        }
    }
}
