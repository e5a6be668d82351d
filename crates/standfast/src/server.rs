//! A cloud in this process: store, planes, services, listener.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use standfast_core::host::HostDriver;
use standfast_core::lb::LbDriver;
use standfast_core::{Clock, Rng};
use standfast_dataplane::sim::{SimAnswer, SimLb};
use standfast_dataplane::{Plane, PlaneConfig};
use standfast_host::process::{INIT_ARGUMENT, ProcessConfig, ProcessDriver};
use standfast_host::sim::{SimConfig, SimHost, SimReply};
use standfast_kernel::{Cloud, Config, Planes};
use standfast_store::Store;
use tokio::net::TcpListener;

use crate::cli::{self, Driver};
use crate::image;
use crate::listen::{self, Adopt};

/// A running cloud and where it answers.
pub struct Running {
    pub cloud: Cloud,
    pub address: SocketAddr,
    pub driver: &'static str,
    /// Removed when the cloud stops; `None` when the state is kept.
    scratch: Option<PathBuf>,
}

impl Running {
    /// Opens the state, starts the planes, the services and the listener.
    pub async fn start(options: &cli::Server, listen: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listening on {listen} (is another cloud running? --listen takes another address)"))?;
        let address = listener.local_addr()?;
        let clock = Clock::system(options.speed);
        let rng = options.seed.map_or_else(Rng::from_entropy, Rng::seeded);
        let (store, hosts, scratch) = match &options.data {
            Some(data) => {
                let store = Store::open(&data.join("store")).map_err(anyhow::Error::new)?;
                (store, data.join("hosts"), None)
            }
            None => {
                let scratch = scratch_dir(address.port());
                (Store::memory(), scratch.join("hosts"), Some(scratch))
            }
        };
        let (planes, adopt) = planes(options, &clock, &rng, &hosts)?;
        let driver = planes.host.name();
        let config = Config { clock, rng, store, planes, api_port: address.port() };
        let cloud = Cloud::start(config, standfast::services());
        tokio::spawn(listen::serve(listener, cloud.clone(), adopt));
        Ok(Self { cloud, address, driver, scratch })
    }

    /// Stops everything and leaves nothing behind.
    pub async fn stop(self) {
        self.cloud.shutdown().await;
        if let Some(scratch) = self.scratch {
            // What cannot be removed now is swept by the next cloud at this place.
            let _ = std::fs::remove_dir_all(scratch);
        }
    }
}

/// Where a forgotten cloud keeps its instances. Named by user and port, so that the next cloud at the same address
/// finds and sweeps what a killed one left.
fn scratch_dir(port: u16) -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("standfast-{user}-{port}"))
}

fn planes(options: &cli::Server, clock: &Clock, rng: &Rng, hosts: &Path) -> Result<(Planes, Option<Adopt>)> {
    if options.driver == Driver::Sim {
        let host = SimHost::start(SimConfig::default(), clock.clone(), rng.clone());
        let answers = host.clone();
        let backend = Arc::new(move |address, path: &str| match answers.answer(address, path) {
            SimReply::Status(status) => SimAnswer::Status(status),
            SimReply::Refused => SimAnswer::Refused,
            SimReply::Timeout => SimAnswer::Timeout,
        });
        let lb = Arc::new(SimLb::new(clock.clone(), backend));
        return Ok((Planes { host, lb }, None));
    }
    let binary = std::env::current_exe().context("finding this program's own file")?;
    let programs = hosts.join("bin");
    image::install_programs(&programs, &binary).with_context(|| format!("preparing {}", programs.display()))?;
    let host = ProcessDriver::start(ProcessConfig {
        state_dir: hosts.to_owned(),
        init_program: binary,
        init_args: vec![INIT_ARGUMENT.into()],
        programs: Some(programs),
        clock: clock.clone(),
        keep: options.data.is_some(),
    })
    .with_context(|| format!("starting the process driver in {}", hosts.display()))?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let config = PlaneConfig { workers, speed: options.speed, clock: clock.clone(), rng: rng.clone() };
    let plane = Arc::new(Plane::start(config).context("starting the load balancers")?);
    let adopting = plane.clone();
    let adopt: Adopt = Arc::new(move |host, stream| adopting.adopt(host, stream));
    let host: Arc<dyn HostDriver> = host;
    let lb: Arc<dyn LbDriver> = plane;
    Ok((Planes { host, lb }, Some(adopt)))
}
