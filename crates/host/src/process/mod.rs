//! The process driver: an instance is a tree of ordinary processes with a loopback address of its own.
//!
//! For where namespaces are not allowed. It needs no privileges and no image: programs are the machine's own.
//!
//! # What an instance gets
//! A directory (`STATE/instances/i-.../root`, working directory and `HOME`), a console log, a session, and an init
//! (this program, executed again) that everything in the instance descends from. Its environment is only this:
//!
//! | variable | |
//! |---|---|
//! | `STANDFAST_ADDRESS` | the address to listen on, 127.128.0.0/9; the data plane reaches the instance there |
//! | `INSTANCE_ID`, `INSTANCE_TYPE` | as EC2 shows them |
//! | `AVAILABILITY_ZONE`, `STANDFAST_AVAILABILITY_ZONE` | the zone's name |
//! | `AWS_REGION`, `AWS_DEFAULT_REGION` | the region's name |
//! | `PRIVATE_IP` | its address in the VPC, which nothing listens on here |
//! | `PATH`, `HOME`, `LANG` | the system's directories and, last, the directory of Standfast's own program |
//! | `STANDFAST_INSTANCE` | `CLOUD/INSTANCE`, the mark that its processes are found by |
//!
//! # What it runs
//! User data that is text and begins with `#!` is run by its interpreter at the first boot, and at no other, as on
//! EC2; other data is only stored. The instance is up as long as its init lives, so a script may end and leave daemons
//! (`app &`, `nohup`, `setsid`, double forks). They end with the boot. An enabled service of a real machine would come
//! back at the next one; here the instance's own executable file `rc.local` in its working directory plays that part:
//! where it exists it is run at every boot after the first.
//!
//! # What does not hold here
//! There is no isolation: processes of instances see the machine's files, network and each other, with the rights of
//! the user who runs the cloud; user data that installs does so to this machine. (`reboot`, `shutdown` and the like are
//! shadowed in the `PATH` and only say that it is not done so.) Security groups, network
//! ACLs, routes and limits of CPU and memory by instance type are records only. Every port of another instance can be
//! reached. On macOS, moreover, addresses other than 127.0.0.1 must be added to `lo0` by hand, commands cannot be run
//! inside, CPU time reads zero, and a daemon that leaves its process group is not found.
//!
//! # Invariant
//! No process outlives its cloud. Each init holds one end of a socket: when the cloud dies, however it dies, the init
//! reads the end of the stream, kills everything below it and exits. When an init is killed, the driver finds what was
//! below it by its session and by the mark. When both are killed at once, the next cloud that is started with the state
//! directory (or, for temporary ones, the next cloud of this user) sweeps by the mark. A process without the mark, the
//! session or the ancestry is never signalled; a program that clears its environment, leaves the session and loses both
//! its init and its cloud in the same moment is therefore left alone.

pub(crate) mod init;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Pid;
use standfast_core::host::{ExecOutput, HostDriver, HostObservation, HostSnapshot, InstanceSpec};
use standfast_core::{BoxFuture, Clock, Error, Id, id::Instance};
use tokio::runtime::Handle;

pub use crate::driver::exec::{EXEC_ARGUMENT_BYTES_MAX, EXEC_OUTPUT_BYTES_MAX};
pub use crate::driver::machine::{CLOUD_SHUTDOWN_GRACE, SHUTDOWN_GRACE};
pub use init::INIT_ARGUMENT;

use crate::address::Pool;
use crate::driver::procs::{self, MARK, Prey};
use crate::driver::protocol::ToInit;
use crate::driver::state::StateDir;
use crate::driver::{Backend, Begun, Core, Start, Verdict};

/// Removes what dead clouds of this user left in the machine's temporary directory, and ends what they left running.
pub fn sweep_stale() {
    StateDir::sweep_stale();
}

/// Makes a temporary state directory for a driver in another process. It is the caller's for as long as the file is open;
/// from then on `sweep_stale` of a later cloud removes it.
pub fn reserve_state() -> io::Result<(PathBuf, std::fs::File)> {
    StateDir::reserve()
}

/// How a process driver is started.
#[derive(Clone, Debug)]
pub struct ProcessConfig {
    /// Where instances live; one cloud at a time. `None` makes a temporary directory and removes it at shutdown.
    pub state_dir: Option<PathBuf>,
    /// The program whose `main` calls `run_instance_init_if_asked`.
    pub init_program: PathBuf,
    /// Its first arguments, `INIT_ARGUMENT` before all.
    pub init_args: Vec<OsString>,
    /// Names under which instances find this very program on their `PATH`, for what the base image carries.
    pub programs: Vec<String>,
    pub clock: Clock,
    /// Whether instances' directories outlive the cloud (a cloud with durable state).
    pub keep: bool,
}

impl ProcessConfig {
    /// Runs inits from this very program, also when its file is replaced while it runs.
    pub fn new(clock: Clock) -> Self {
        let own = std::env::current_exe().unwrap_or_default();
        let init_program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { own };
        Self {
            state_dir: None,
            init_program,
            init_args: vec![INIT_ARGUMENT.into()],
            programs: Vec::new(),
            clock,
            keep: false,
        }
    }
}

/// See the module's documentation.
pub struct ProcessDriver {
    core: Core,
}

impl ProcessDriver {
    /// Starts a driver on the current runtime. Takes over the state directory: what an earlier cloud left running in it
    /// is killed, and unless `keep` its directories are removed. Fails when another cloud uses the directory.
    ///
    /// Instances run until `shutdown`, or until the runtime or the process ends: dropping the driver does not end them.
    pub fn start(config: ProcessConfig) -> io::Result<Arc<Self>> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let state = match &config.state_dir {
            Some(path) => StateDir::open(path)?,
            None => StateDir::temporary()?,
        };
        state.link_programs(&config.programs)?;
        if !config.keep {
            state.clear();
        }
        let (clock, keep) = (config.clock.clone(), config.keep);
        let backend = Arc::new(Processes { path: path(&state), addresses: Mutex::default(), config });
        Ok(Arc::new(Self { core: Core::start(runtime, state, clock, keep, backend) }))
    }

    /// The directory that instances live in.
    pub fn state_dir(&self) -> &std::path::Path {
        self.core.cloud.state.path()
    }
}

impl HostDriver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    fn obey(&self, snapshot: Arc<HostSnapshot>) {
        self.core.obey(snapshot);
    }

    fn observe(&self) -> HostObservation {
        self.core.observe()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.core.changed()
    }

    fn kill(&self, id: &Id<Instance>) -> Result<(), Error> {
        self.core.kill(id)
    }

    fn console(&self, id: &Id<Instance>) -> Vec<u8> {
        self.core.console(id)
    }

    fn exec(
        &self,
        id: &Id<Instance>,
        argv: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'static, Result<ExecOutput, Error>> {
        self.core.exec(id, argv, limit)
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.core.shutdown(|| ())
    }
}

/// Where programs of an instance are looked for, after the guards and before the directory of Standfast's own program.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Instances as trees of processes.
struct Processes {
    config: ProcessConfig,
    path: OsString,
    addresses: Mutex<Pool>,
}

impl Processes {
    fn addresses(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(&self, start: &Start) -> io::Result<Begun> {
        let Start { id, spec, boot, directory, address, .. } = start;
        directory.prepare(spec, *address, *boot)?;
        let (stream, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.config.init_program)
            .arg0("standfast")
            .args(&self.config.init_args)
            .arg(id.as_str())
            .env_clear()
            .envs(self.environment(start))
            .current_dir(directory.path())
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(std::fs::File::options().create(true).append(true).open(directory.console_path())?)
            .spawn()?;
        Ok(Begun { child, stream, message: ToInit::Boot { directory: directory.path().into(), boot: *boot } })
    }

    /// The environment of an instance's processes; the module's documentation lists it for people.
    fn environment(&self, start: &Start) -> Vec<(&'static str, OsString)> {
        let Start { id, spec, .. } = start;
        let text = |s: &str| s.into();
        vec![
            ("PATH", self.path.clone()),
            ("HOME", start.directory.root().into()),
            ("LANG", text("C.UTF-8")),
            (MARK, text(&start.mark)),
            ("STANDFAST_ADDRESS", start.address.to_string().into()),
            ("STANDFAST_AVAILABILITY_ZONE", text(&spec.zone)),
            ("AVAILABILITY_ZONE", text(&spec.zone)),
            ("AWS_REGION", text(&spec.region)),
            ("AWS_DEFAULT_REGION", text(&spec.region)),
            ("INSTANCE_ID", text(id)),
            ("INSTANCE_TYPE", text(&spec.instance_type)),
            ("PRIVATE_IP", spec.private_ip.to_string().into()),
        ]
    }
}

impl Backend for Processes {
    fn claim(&self, id: &Id<Instance>, _: Option<&InstanceSpec>, earlier: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut addresses = self.addresses();
        earlier.filter(|address| addresses.reclaim(*address)).or_else(|| addresses.claim(id))
    }

    fn release(&self, address: Ipv4Addr) {
        self.addresses().release(address);
    }

    fn begin(self: Arc<Self>, start: Start) -> BoxFuture<'static, io::Result<Begun>> {
        Box::pin(
            async move { tokio::task::spawn_blocking(move || self.spawn(&start)).await.map_err(io::Error::other)? },
        )
    }

    fn leave(&self, _: &Id<Instance>) {}

    /// What was below it is found by session and mark.
    fn hunt(&self, mark: String, init: Pid) {
        (Prey { mark, session: Some(init) }).hunt();
    }

    fn clean(&self, _: &Id<Instance>) {}

    fn verdict(&self, _: Option<ExitStatus>) -> Verdict {
        Verdict::Crashed
    }

    /// In one walk through `/proc`.
    fn cpu_times(&self, inits: &[(Id<Instance>, Pid)]) -> HashMap<Pid, Duration> {
        procs::cpu_times(&inits.iter().map(|(_, pid)| *pid).collect::<Vec<_>>())
    }
}

fn path(state: &StateDir) -> OsString {
    let mut path = state.guards().into_os_string();
    path.push(":");
    path.push(PATH);
    if let Some(own) = std::env::current_exe().ok().as_deref().and_then(std::path::Path::parent) {
        path.push(":");
        path.push(own);
    }
    path
}
