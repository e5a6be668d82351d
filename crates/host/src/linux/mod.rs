//! The linux driver: an instance is a little machine in namespaces of its own, a VPC is a network (ADR 4).
//!
//! # What an instance is
//! Namespaces of its own of every kind, with ids that own nothing else on the machine (`ids`); a root file system over the
//! machine's system directories (`root`, `base`); limits (`cgroups`); a network (`networks`); volumes (`volumes`). A
//! launcher makes it (`launcher`) and stays as the parent of its first process (`init`), which starts what the instance
//! starts at boot (`boot`). How it lives and ends is `driver`'s, as with bare processes.
//!
//! # Invariant
//! What kills the driver's process ends everything: inits read the end of their stream, and the kernel ends an instance
//! with its init and takes mounts, links and devices along. Control groups alone stay and are swept by the next cloud.

mod base;
mod boot;
mod cgroups;
mod counters;
mod files;
mod hardware;
pub mod ids;
mod init;
mod launcher;
pub mod local;
mod machines;
mod networks;
mod power;
mod probe;
mod root;
pub mod volumes;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use standfast_core::host::{Abilities, ExecOutput, HostDriver, HostObservation, HostSnapshot};
use standfast_core::{BoxFuture, Clock, Error, Id, id::Instance};
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use launcher::LAUNCH_ARGUMENT;
pub use local::{Dial, Egress, Outside};
pub use probe::{Finding, available, probe};

use crate::driver::Core;
use crate::driver::state::StateDir;
use cgroups::Cgroups;
use local::Local;
use machines::Machines;
use networks::Networks;
use volumes::Volumes;

/// How a linux driver is started.
#[derive(Clone, Debug)]
pub struct LinuxConfig {
    /// Where instances and volumes live; one cloud at a time. `None` makes a temporary directory and removes it at the end.
    pub state_dir: Option<PathBuf>,
    /// The program whose `main` calls `run_instance_init_if_asked`.
    pub init_program: PathBuf,
    /// Its first arguments, `LAUNCH_ARGUMENT` before all.
    pub launch_args: Vec<OsString>,
    /// Names under which instances find this very program on their `PATH`.
    pub programs: Vec<String>,
    pub clock: Clock,
    /// Whether instances and volumes outlive the cloud.
    pub keep: bool,
    /// Where the cloud's API answers on the machine's loopback.
    pub api: SocketAddr,
    /// Whether instances that have a way to the internet get to the real one.
    pub egress: Egress,
    /// Directories laid over the base image: `LAYER/usr/bin/aws` is `/usr/bin/aws` in instances.
    pub image_layers: Vec<PathBuf>,
}

impl LinuxConfig {
    /// Runs launchers from this very program, also when its file is replaced while it runs.
    pub fn new(clock: Clock, api: SocketAddr) -> Self {
        Self {
            state_dir: None,
            init_program: "/proc/self/exe".into(),
            launch_args: vec![LAUNCH_ARGUMENT.into()],
            programs: Vec::new(),
            clock,
            keep: false,
            api,
            egress: Egress::Simulated,
            image_layers: Vec::new(),
        }
    }
}

/// See the module's documentation.
pub struct LinuxDriver {
    core: Core,
    machines: Arc<Machines>,
}

impl LinuxDriver {
    /// Starts a driver on the current runtime. Takes over the state directory, as the process driver does.
    pub fn start(config: LinuxConfig) -> io::Result<Arc<Self>> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let state = match &config.state_dir {
            Some(path) => StateDir::open(path)?,
            None => StateDir::temporary()?,
        };
        if !config.keep {
            state.clear();
            machines::remove_volumes(state.path());
        }
        let (clock, keep, path) = (config.clock.clone(), config.keep, state.path().to_owned());
        let changes = watch::Sender::new(());
        let local = Local::start(runtime.clone(), clock.clone(), config.api, config.egress.clone())?;
        let networks = Networks::start(&state.cloud, local, config.egress.outside().is_some(), changes.clone())?;
        let machines = Arc::new(Machines {
            networks,
            volumes: Volumes::start(&path, runtime.clone())?,
            cgroups: Cgroups::start(&state.cloud),
            user_namespace: volumes::user_namespace()?,
            base: OnceLock::new(),
            stop: AtomicBool::new(false),
            roots: Mutex::default(),
            state: path,
            config,
        });
        // So that the first instance does not wait for it.
        let of_task = machines.clone();
        runtime.spawn_blocking(move || of_task.base().map(drop));
        let core = Core::start(runtime.clone(), state, clock, keep, machines.clone());
        let (networks, volumes) = (changes.subscribe(), machines.volumes.subscribe());
        runtime.spawn(tell(Arc::downgrade(&machines), networks, volumes, core.cloud.changes.clone()));
        Ok(Arc::new(Self { core, machines }))
    }

    /// The directory that instances and volumes live in.
    pub fn state_dir(&self) -> &std::path::Path {
        self.core.cloud.state.path()
    }
}

/// Lets go on what waits for volumes of a cloud that is dead: a freeze and a limit outlive the process that made them, and
/// nothing that waits in the kernel can be killed.
pub fn let_go(directory: &std::path::Path, cloud: &str) {
    if let Err(error) = directory.canonicalize().and_then(|directory| volumes::thaw_all(&directory)) {
        eprintln!("level=error event=thaw_failed directory={} error={error:?}", directory.display());
    }
    cgroups::let_go(cloud);
}

/// Passes changes of networks and volumes on to those who wait for changes of the driver, when they can be seen.
async fn tell(
    machines: Weak<Machines>,
    mut networks: watch::Receiver<()>,
    mut volumes: watch::Receiver<u64>,
    changes: watch::Sender<()>,
) {
    // Before the first snapshot there is nothing of either.
    let mut last = Some(Default::default());
    loop {
        let changed = tokio::select! {
            changed = networks.changed() => changed,
            changed = volumes.changed() => changed,
        };
        let Some(machines) = machines.upgrade().filter(|_| changed.is_ok()) else { return };
        let of_task = machines.clone();
        let _ = tokio::task::spawn_blocking(move || of_task.limit_io()).await;
        let now = Some((machines.networks.namespaces(), machines.volumes.progress()));
        if last != now {
            last = now;
            changes.send_replace(());
        }
    }
}

impl HostDriver for LinuxDriver {
    fn name(&self) -> &'static str {
        "linux"
    }

    fn abilities(&self) -> Abilities {
        Abilities { networks: true, volumes: true, metadata: true, loss: true, delay: standfast_network::can_delay() }
    }

    /// The networks and volumes are told first: instances that boot because of this snapshot find them as it says.
    fn obey(&self, snapshot: Arc<HostSnapshot>) {
        if self.core.cloud.is_closing() {
            return;
        }
        self.machines.networks.apply(snapshot.clone());
        self.machines.volumes.apply(snapshot.clone());
        self.core.obey(snapshot);
    }

    fn observe(&self) -> HostObservation {
        let (volumes, snapshots) = self.machines.volumes.progress();
        let namespaces = self.machines.networks.namespaces();
        let disks = self.machines.volumes.disks();
        HostObservation { volumes, snapshots, namespaces, disks, ..self.core.observe() }
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
        let machines = self.machines.clone();
        self.core.shutdown(move || {
            machines.end_base();
            machines.networks.end();
            machines.cgroups.remove();
            if !machines.config.keep {
                machines::remove_volumes(&machines.state);
            }
        })
    }
}

/// The exit code of a launcher, of an instance's init, or of what it starts at boot, when this process is one.
pub(crate) use root::in_machine;

pub(crate) fn run_if_asked() -> Option<i32> {
    launcher::run_if_asked().or_else(boot::run_if_asked)
}
