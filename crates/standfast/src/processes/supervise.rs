//! Starts the two processes, starts them again when they end, and lets go of them when the cloud does.
//!
//! Runs in a thread of its own: the control plane may stand still for an answer (see `remote`), and is not slowed by
//! messages being written and read. Invariant: there is never more than one process of a role for one state.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use standfast_core::Clock;
use tokio::sync::mpsc;

use super::adopt::{self, Found, Wanted};
use super::descriptors::{self, Tag};
use super::front::Door;
use super::line::{Asked, Line, STOP_LIMIT};
use super::protocol::{HostKind, Kind, LbKind};
use super::remote::{RemoteHost, RemoteLb};
use super::run_dir::Identity;
use super::{Role, RunDir};
use crate::output;

/// A process that has lived this long was well; one that ends sooner is started again after a pause, each time longer.
const WELL_AFTER: Duration = Duration::from_secs(1);
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a process may take to be gone after it closed its connection.
const EXIT_LIMIT: Duration = Duration::from_secs(5);
/// Connections for descriptors that wait to be taken: one for each start of a data plane.
const DOORS_MAX: usize = 16;

/// What the processes are started with.
pub struct Start {
    pub driver: &'static str,
    pub wanted: Wanted,
    pub seed: Option<u64>,
    pub clock: Clock,
    /// Where the host keeps what instances write.
    pub state: PathBuf,
    /// Where instances find the API.
    pub api: SocketAddr,
    /// What is laid over the base image of instances.
    pub image_layers: Vec<PathBuf>,
    /// Where they are found again; without it they end with this process and the host's state is removed.
    pub run: Option<RunDir>,
    pub host: Option<Found<HostKind>>,
    pub dataplane: Option<Found<LbKind>>,
}

/// Both, running or about to.
pub struct Processes {
    pub host: Arc<RemoteHost>,
    pub lb: Arc<RemoteLb>,
    /// A door for each data plane that was started, in order.
    pub doors: mpsc::Receiver<Door>,
}

impl Processes {
    /// Starts them and does not wait.
    pub fn start(start: Start) -> io::Result<Self> {
        let Start { driver, wanted, seed, clock, state, api, image_layers, run, host, dataplane } = start;
        let (host_line, host_inbox) = Line::<HostKind>::new();
        let (lb_line, lb_inbox) = Line::<LbKind>::new();
        let (door_sender, doors) = mpsc::channel(DOORS_MAX);
        let mut common: Vec<OsString> = vec!["--clock".into(), moment(&clock).into()];
        common.extend(["--speed".into(), clock.speed().to_string().into()]);
        if let Some(run) = &run {
            common.extend(["--run".into(), run.path().into()]);
        }
        let mut of_host = common.clone();
        of_host.extend(["--driver".into(), driver.into(), "--state".into(), state.into()]);
        of_host.extend(["--api".into(), api.to_string().into(), "--egress".into(), wanted.egress.name().into()]);
        of_host.extend(image_layers.into_iter().flat_map(|layer| ["--image-layer".into(), layer.into()]));
        let mut of_dataplane = common;
        if let Some(seed) = seed {
            of_dataplane.extend(["--seed".into(), seed.to_string().into()]);
        }
        let start = |role, arguments| Starter { role, arguments, run: run.clone(), wanted: wanted.clone() };
        let (host_starter, lb_starter) = (start(Role::Host, of_host), start(Role::Dataplane, of_dataplane));
        let adopted_host = host.map(|found| Attached::adopted(&host_line, found));
        let adopted_lb = dataplane.map(|found| Attached::adopted(&lb_line, found));
        let (for_host, for_lb) = (host_line.clone(), lb_line.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("processes".into()).spawn(move || {
            runtime.block_on(async {
                tokio::join!(
                    supervise(for_host, host_inbox, host_starter, adopted_host, None),
                    supervise(for_lb, lb_inbox, lb_starter, adopted_lb, Some(door_sender)),
                )
            });
        })?;
        let host = Arc::new(RemoteHost { line: host_line, name: driver });
        Ok(Self { host, lb: Arc::new(RemoteLb { line: lb_line }), doors })
    }
}

/// What the cloud's clock shows now, and what the machine's does: another process makes the same clock of it.
fn moment(clock: &Clock) -> String {
    format!("{}:{}", clock.now().0, clock.machine_now().0)
}

/// How a process of a role is started.
struct Starter {
    role: Role,
    arguments: Vec<OsString>,
    run: Option<RunDir>,
    wanted: Wanted,
}

/// A process and the connections to it.
struct Attached {
    stream: UnixStream,
    door: UnixStream,
    identity: Option<Identity>,
    /// When it is ours to wait for.
    child: Option<Child>,
}

impl Attached {
    fn adopted<K: Kind>(line: &Line<K>, found: Found<K>) -> Self {
        line.greet(found.hello, found.observation);
        Self { stream: found.stream, door: found.door, identity: Some(found.identity), child: None }
    }
}

impl Starter {
    /// Takes the process that is there, else starts one.
    fn attach<K: Kind>(&self, line: &Line<K>) -> io::Result<Attached> {
        if let Some(found) = self.run.as_ref().and_then(|run| adopt::find::<K>(run, &self.wanted)) {
            return Ok(Attached::adopted(line, found));
        }
        let (stream, theirs) = UnixStream::pair()?;
        let (door, their_door) = UnixStream::pair()?;
        descriptors::send(&stream, Tag::Begin, Some(their_door.as_fd()))?;
        let log = match &self.run {
            Some(run) => run.log(self.role)?.into(),
            None => Stdio::inherit(),
        };
        // This very program, also when its file is replaced while it runs.
        let own = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        let child = Command::new(own)
            .arg0("standfast")
            .arg(self.role.name())
            .args(&self.arguments)
            // Not of the terminal's foreground group: Ctrl-C is for the server to act on.
            .process_group(0)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Attached { stream, door, identity: adopt::of_child(child.id()), child: Some(child) })
    }
}

/// Serves a line for as long as the cloud runs.
async fn supervise<K: Kind>(
    line: Arc<Line<K>>,
    mut inbox: mpsc::Receiver<Asked<K>>,
    starter: Starter,
    mut adopted: Option<Attached>,
    doors: Option<mpsc::Sender<Door>>,
) {
    let (clock, starter, name) = (Clock::system(1.0), Arc::new(starter), K::ROLE.name());
    let mut pause = Duration::ZERO;
    while !line.is_stopping() {
        let since = clock.now();
        let attached = match adopted.take() {
            Some(attached) => Ok(attached),
            None => {
                let (line, starter) = (line.clone(), starter.clone());
                let attach = tokio::task::spawn_blocking(move || starter.attach(&line));
                attach.await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
        };
        let how = match attached {
            Ok(attached) => attend(&line, attached, &mut inbox, doors.as_ref()).await,
            Err(error) => format!("it cannot be started: {error}"),
        };
        line.lose();
        if line.is_stopping() {
            break;
        }
        let well = clock.now().since(since) >= WELL_AFTER;
        pause = if well { Duration::ZERO } else { (pause * 2).clamp(PAUSE_FIRST, PAUSE_MAX) };
        let fields = format_args!("process={name} how={how:?} restart_in_ms={}", pause.as_millis()).to_string();
        output::log("error", "process_ended", fields);
        tokio::select! {
            () = clock.sleep(pause) => {}
            _ = line.stop_asked() => {}
        }
    }
    line.end();
}

/// Stays with a process until it is gone; says how it went.
async fn attend<K: Kind>(
    line: &Line<K>,
    attached: Attached,
    inbox: &mut mpsc::Receiver<Asked<K>>,
    doors: Option<&mpsc::Sender<Door>>,
) -> String {
    let Attached { stream, door, identity, child } = attached;
    if let Some(doors) = doors {
        let _ = doors.send(Door(door)).await; // Without a front nobody needs doors.
    }
    match stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream)) {
        Ok(stream) => line.talk(stream, inbox).await,
        Err(error) => return format!("no connection: {error}"),
    }
    let limit = if line.is_stopping() { STOP_LIMIT } else { EXIT_LIMIT };
    tokio::task::spawn_blocking(move || bury(identity, child, limit)).await.unwrap_or_default()
}

/// Waits for a process that has closed its connection, and kills it when it does not end.
fn bury(identity: Option<Identity>, child: Option<Child>, limit: Duration) -> String {
    if let Some(process) = identity
        && !adopt::ends(process, limit)
    {
        adopt::kill(process);
    }
    match child.map(|mut child| child.wait()) {
        Some(Ok(status)) => status.to_string(),
        Some(Err(error)) => error.to_string(),
        None => "it was another server's".into(),
    }
}
