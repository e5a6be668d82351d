//! What each of the two processes runs.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use standfast_core::host::{Abilities, HostDriver, HostObservation, HostSnapshot};
use standfast_core::lb::{LbDriver, LbObservation, LbSnapshot};
use standfast_core::{BoxFuture, Clock, Rng};
use standfast_dataplane::{Plane, PlaneConfig};
use standfast_host::process::{self, ProcessConfig, ProcessDriver};
use tokio::net::UnixStream;

use super::door::FrontDoor;
use super::protocol::{self, Hello, HostAnswer, HostCall, HostKind, LbAnswer, LbCall, LbKind};
use super::station::{self, Served};
use super::{Role, RunDir};
use crate::cli::{self, Driver};
use crate::{image, output, server};

/// `standfast host`: runs what instances are.
pub async fn host(options: &cli::HostProcess) -> Result<ExitCode> {
    let first = begin(Role::Host)?;
    let clock = options.process.clock();
    let driver = start(options, clock.clone())?;
    let run = options.process.run.clone().map(RunDir::open).transpose().context("opening the run directory")?;
    let temporary = run.is_none();
    if temporary {
        // Beside the work: what dead clouds have left is in nobody's way.
        tokio::task::spawn_blocking(process::sweep_stale);
    }
    station::serve(Arc::new(Host { driver, egress: options.egress, clock }), first, run).await?;
    if temporary {
        let _ = std::fs::remove_dir_all(&options.state);
    }
    Ok(ExitCode::SUCCESS)
}

/// What instances have written outlives this process in any case (`keep`): its successor goes on with it.
fn start(options: &cli::HostProcess, clock: Clock) -> Result<Arc<dyn HostDriver>> {
    let (state_dir, programs) = (Some(options.state.clone()), image::programs());
    match options.driver {
        Driver::Process => {
            let config = ProcessConfig { state_dir, programs, keep: true, ..ProcessConfig::new(clock) };
            Ok(ProcessDriver::start(config).context("starting the process driver")?)
        }
        #[cfg(target_os = "linux")]
        Driver::Linux => {
            use standfast_host::linux::{Egress, LinuxConfig, LinuxDriver};
            let image_layers = options.image_layers.clone();
            let config = LinuxConfig::new(clock, options.api);
            let egress = match options.egress {
                cli::Egress::Simulated => Egress::Simulated,
                cli::Egress::Host => Egress::host(),
            };
            let config = LinuxConfig { state_dir, programs, image_layers, egress, keep: true, ..config };
            Ok(LinuxDriver::start(config).context("starting the linux driver")?)
        }
        _ => bail!("a host runs the process driver, or on Linux the linux driver"),
    }
}

/// `standfast dataplane`: runs load balancers and has the API's listener.
pub async fn dataplane(options: &cli::DataplaneProcess) -> Result<ExitCode> {
    let first = begin(Role::Dataplane)?;
    let clock = options.process.clock();
    let run = options.process.run.clone().map(RunDir::open).transpose().context("opening the run directory")?;
    let rng = options.seed.map_or_else(Rng::from_entropy, Rng::seeded);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let config = PlaneConfig { workers, speed: clock.speed(), clock: clock.clone(), rng };
    let plane = Arc::new(Plane::start(config).context("starting the load balancers")?);
    if let Some(snapshot) = run.as_ref().and_then(|run| last_snapshot(&run.lb_snapshot())) {
        plane.obey(Arc::new(snapshot));
    }
    let front = FrontDoor::new(plane.clone());
    let snapshot = run.as_ref().map(RunDir::lb_snapshot);
    station::serve(Arc::new(Dataplane { plane, front, clock, snapshot: snapshot.clone() }), first, run).await?;
    // Kept only by a death that nobody asked for.
    if let Some(snapshot) = snapshot {
        let _ = std::fs::remove_file(snapshot);
    }
    Ok(ExitCode::SUCCESS)
}

fn begin(role: Role) -> Result<UnixStream> {
    server::raise_descriptor_limit();
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(match role {
        Role::Host => c"standfast-host",
        Role::Dataplane => c"standfast-lb",
    });
    #[cfg(not(target_os = "linux"))]
    let _ = role;
    station::first_connection()
}

/// What an earlier data plane did last; nothing when there was none or it was of another version.
fn last_snapshot(path: &Path) -> Option<LbSnapshot> {
    let bytes = std::fs::read(path).ok()?;
    let (build, rest) = postcard::take_from_bytes::<String>(&bytes).ok()?;
    if build == protocol::build() { postcard::from_bytes(rest).ok() } else { None }
}

fn hello(clock: &Clock, driver: &str, egress: cli::Egress, abilities: Abilities) -> Hello {
    Hello {
        build: protocol::build(),
        pid: std::process::id(),
        driver: driver.to_owned(),
        egress,
        abilities,
        now: clock.now(),
        speed: clock.speed(),
    }
}

struct Host {
    driver: Arc<dyn HostDriver>,
    egress: cli::Egress,
    clock: Clock,
}

impl Served<HostKind> for Host {
    fn hello(&self) -> Hello {
        hello(&self.clock, self.driver.name(), self.egress, self.driver.abilities())
    }

    fn obey(&self, snapshot: Arc<HostSnapshot>) {
        self.driver.obey(snapshot);
    }

    fn observe(&self) -> HostObservation {
        self.driver.observe()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.driver.changed()
    }

    fn call(&self, call: HostCall) -> BoxFuture<'static, HostAnswer> {
        let driver = self.driver.clone();
        match call {
            HostCall::Kill(id) => {
                let _ = driver.kill(&id); // It may have ended meanwhile, which is as good.
                Box::pin(async { HostAnswer::Done })
            }
            HostCall::Console(id) => Box::pin(async move { HostAnswer::Console(driver.console(&id)) }),
            HostCall::Exec { id, argv, limit } => {
                Box::pin(async move { HostAnswer::Exec(driver.exec(&id, argv, limit).await.map_err(Into::into)) })
            }
            HostCall::Shutdown => Box::pin(async move {
                driver.shutdown().await;
                HostAnswer::Done
            }),
        }
    }

    fn door(&self, _: UnixStream) {}

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.driver.shutdown()
    }
}

struct Dataplane {
    plane: Arc<Plane>,
    front: Arc<FrontDoor>,
    clock: Clock,
    /// Where what should be is kept for a successor.
    snapshot: Option<std::path::PathBuf>,
}

impl Served<LbKind> for Dataplane {
    fn hello(&self) -> Hello {
        hello(&self.clock, "", cli::Egress::default(), Abilities::default())
    }

    fn obey(&self, snapshot: Arc<LbSnapshot>) {
        self.plane.obey(snapshot.clone());
        if let Some(path) = &self.snapshot
            && let Err(error) = keep(path, &snapshot)
        {
            output::log("warn", "lb_snapshot_not_kept", format_args!("error={:?}", error.to_string()));
        }
    }

    fn observe(&self) -> LbObservation {
        self.plane.observe()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        self.plane.changed()
    }

    fn call(&self, call: LbCall) -> BoxFuture<'static, LbAnswer> {
        let plane = self.plane.clone();
        Box::pin(async move {
            match call {
                LbCall::TakeMetrics => LbAnswer::Metrics(plane.take_metrics()),
                LbCall::Traffic => LbAnswer::Traffic(plane.traffic()),
                LbCall::Shutdown(grace) => {
                    plane.shutdown(grace).await;
                    LbAnswer::Done
                }
            }
        })
    }

    fn door(&self, door: UnixStream) {
        tokio::spawn(self.front.clone().serve(door));
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        self.plane.shutdown(std::time::Duration::ZERO)
    }
}

/// Whole or not at all; it need not survive the machine, only this process.
fn keep(path: &Path, snapshot: &LbSnapshot) -> std::io::Result<()> {
    let bytes = postcard::to_stdvec(&(protocol::build(), snapshot)).map_err(std::io::Error::other)?;
    let new = path.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::rename(new, path)
}
