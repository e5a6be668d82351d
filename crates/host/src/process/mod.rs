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

mod cloud;
mod console;
mod directory;
mod exec;
mod init;
mod machine;
mod procs;
mod protocol;
mod state;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::host::{ExecOutput, HostDriver, HostObservation, HostSnapshot};
use standfast_core::{BoxFuture, Clock, Error, Id, id::Instance};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

pub use exec::{EXEC_ARGUMENT_BYTES_MAX, EXEC_OUTPUT_BYTES_MAX};
pub use init::{INIT_ARGUMENT, run_instance_init_if_asked};
pub use machine::{CLOUD_SHUTDOWN_GRACE, SHUTDOWN_GRACE};

use crate::{errors, rules};
use cloud::Cloud;
use procs::Prey;
use state::StateDir;

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
    cloud: Arc<Cloud>,
    runtime: Handle,
    /// Who shuts down takes it and waits for the end of all instances' tasks.
    tasks: std::sync::Mutex<Option<mpsc::Receiver<()>>>,
    finished: watch::Sender<bool>,
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
        let (cloud, tasks) = Cloud::new(config, state, runtime.clone());
        let tasks = std::sync::Mutex::new(Some(tasks));
        Ok(Arc::new(Self { cloud, runtime, tasks, finished: watch::Sender::new(false) }))
    }

    /// The directory that instances live in.
    pub fn state_dir(&self) -> &std::path::Path {
        self.cloud.state.path()
    }
}

impl HostDriver for ProcessDriver {
    fn name(&self) -> &'static str {
        "process"
    }

    fn obey(&self, snapshot: Arc<HostSnapshot>) {
        self.cloud.obey(snapshot);
    }

    fn observe(&self) -> HostObservation {
        self.cloud.observe()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut changes = self.cloud.changes.subscribe();
        Box::pin(async move {
            // An error means that the driver is gone: nothing will change any more.
            let _ = changes.changed().await;
        })
    }

    fn kill(&self, id: &Id<Instance>) -> Result<(), Error> {
        match self.cloud.cut(id, rules::KILLED) {
            true => Ok(()),
            false if self.cloud.has(id) => Err(errors::not_running(id)),
            false => Err(errors::not_found(id)),
        }
    }

    fn console(&self, id: &Id<Instance>) -> Vec<u8> {
        self.cloud.directory(id).console()
    }

    fn exec(
        &self,
        id: &Id<Instance>,
        argv: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'static, Result<ExecOutput, Error>> {
        Box::pin(exec::exec(self.cloud.clone(), id.clone(), argv, limit))
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.cloud.close();
        let tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(tasks) = tasks {
            self.runtime.spawn(finish(self.cloud.clone(), tasks, self.finished.clone()));
        }
        let mut finished = self.finished.subscribe();
        Box::pin(async move {
            let _ = finished.wait_for(|finished| *finished).await;
        })
    }
}

/// Waits for the end of all instances, makes sure that no process is left, and removes what is not to be kept.
async fn finish(cloud: Arc<Cloud>, mut tasks: mpsc::Receiver<()>, finished: watch::Sender<bool>) {
    while tasks.recv().await.is_some() {}
    let _ = tokio::task::spawn_blocking(move || {
        (Prey { mark: format!("{}/", cloud.state.cloud), session: None }).hunt();
        if !cloud.config.keep {
            cloud.state.remove();
        }
        cloud.state.release();
    })
    .await;
    finished.send_replace(true);
}
