//! A cloud in this process: store, planes, services, listener.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use standfast_core::host::HostDriver;
use standfast_core::lb::LbDriver;
use standfast_core::{Clock, Rng};
use standfast_dataplane::{Plane, PlaneConfig};
use standfast_dataplane::{SimAnswer, SimLb};
use standfast_host::process::{ProcessConfig, ProcessDriver};
use standfast_host::sim::{SimConfig, SimHost, SimReply};
use standfast_kernel::{Cloud, Config, Planes};
use standfast_store::Store;
use tokio::net::TcpListener;

use crate::cli::{self, Driver};
use crate::image;
use crate::listen::{self, Sites};

/// A running cloud and where it answers.
pub struct Running {
    pub cloud: Cloud,
    pub address: SocketAddr,
    pub driver: &'static str,
}

impl Running {
    /// Opens the state, starts the planes, the services and the listener.
    pub async fn start(options: &cli::Server, listen: SocketAddr) -> Result<Self> {
        raise_descriptor_limit();
        let listener = TcpListener::bind(listen).await.with_context(|| {
            format!("listening on {listen} (is another cloud running? --listen takes another address)")
        })?;
        let address = listener.local_addr()?;
        let clock = Clock::system(options.speed);
        let rng = options.seed.map_or_else(Rng::from_entropy, Rng::seeded);
        let store = match &options.data {
            Some(data) => Store::open(&data.join("store")).map_err(anyhow::Error::new)?,
            None => Store::memory(),
        };
        // Damaged metric points stop the start, not the first request.
        standfast_telemetry::cloudwatch::open(&store).map_err(anyhow::Error::new)?;
        let (planes, sites) = planes(options, &clock, &rng)?;
        let driver = planes.host.name();
        let config = Config { clock, rng, store, planes, api_port: address.port() };
        let cloud = Cloud::start(config, standfast::services());
        tokio::spawn(listen::serve(listener, cloud.clone(), sites));
        Ok(Self { cloud, address, driver })
    }

    /// Stops everything and leaves nothing behind.
    pub async fn stop(self) {
        self.cloud.shutdown().await;
    }
}

/// Every instance and every connection needs a file descriptor; the usual limit of 1,024 is for programs that wait with
/// `select`, which nothing here does. Where it cannot be raised it stays.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn planes(options: &cli::Server, clock: &Clock, rng: &Rng) -> Result<(Planes, Sites)> {
    if options.driver == Driver::Sim {
        let host = SimHost::start(SimConfig::new(clock.clone(), rng.clone()));
        let answers = host.clone();
        let backend = Arc::new(move |address, path: &str| match answers.answer(address, path) {
            SimReply::Status(status) => SimAnswer::Status(status),
            SimReply::Refused => SimAnswer::Refused,
            SimReply::Timeout => SimAnswer::Timeout,
        });
        let lb = Arc::new(SimLb::new(clock.clone(), backend));
        let simulated = lb.clone();
        let sites = Sites::Simulated(Arc::new(move |name, path| simulated.request(name, path)));
        return Ok((Planes { host, lb }, sites));
    }
    let host = ProcessDriver::start(ProcessConfig {
        state_dir: options.data.as_ref().map(|data| data.join("hosts")),
        keep: options.data.is_some(),
        programs: image::programs(),
        ..ProcessConfig::new(clock.clone())
    })
    .context("starting the process driver")?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let config = PlaneConfig { workers, speed: options.speed, clock: clock.clone(), rng: rng.clone() };
    let plane = Arc::new(Plane::start(config).context("starting the load balancers")?);
    let adopting = plane.clone();
    let sites = Sites::Real(Arc::new(move |host, stream| adopting.adopt(host, stream)));
    let host: Arc<dyn HostDriver> = host;
    let lb: Arc<dyn LbDriver> = plane;
    Ok((Planes { host, lb }, sites))
}
