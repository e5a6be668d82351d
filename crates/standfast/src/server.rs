//! A cloud: its control plane in this process, its planes in others, and the API's port.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use standfast_core::{Clock, Rng};
use standfast_host::process;
use standfast_host::sim::SimConfig;
use standfast_kernel::{Cloud, Config, Planes};
use standfast_store::Store;

use crate::cli::{self, Driver, Egress};
use crate::courier::RealCourier;
use crate::driver;
use crate::listen::{self, Api, Sites};
use crate::processes::adopt::{self, Found, Wanted};
use crate::processes::{self, Processes, RunDir, Start};

/// A running cloud and where it answers.
pub struct Running {
    pub cloud: Cloud,
    pub address: SocketAddr,
    pub driver: &'static str,
    /// Keeps the temporary state directory, if there is one, this cloud's.
    _reserved: Option<File>,
}

impl Running {
    /// Opens the state, starts the planes, the services and the listener.
    pub async fn start(options: &cli::Server, listen: SocketAddr) -> Result<Self> {
        raise_descriptor_limit();
        let rng = options.seed.map_or_else(Rng::from_entropy, Rng::seeded);
        match options.driver {
            Driver::Sim => {
                check_egress(driver::SIM, options.egress)?;
                simulated(options, listen, rng).await
            }
            _ => real(options, listen, rng).await,
        }
    }

    /// Stops everything and leaves nothing behind.
    pub async fn stop(self) {
        self.cloud.shutdown().await;
    }
}

/// What carries notifications out.
fn courier(options: &cli::Server) -> Arc<RealCourier> {
    Arc::new(RealCourier::new(options.egress, options.smtp.clone()))
}

/// Where instances get to can be chosen only where they have networks of their own.
fn check_egress(driver: &str, egress: Egress) -> Result<()> {
    match (egress, driver) {
        (Egress::Simulated, _) | (_, driver::LINUX) => Ok(()),
        (Egress::Host, driver::SIM) => bail!("--egress host needs the linux driver: simulated instances send nothing"),
        (Egress::Host, _) => bail!(
            "--egress host needs the linux driver: instances of the {driver} driver are processes of this machine and use \
             its network as it is, without being asked. `standfast doctor` shows what the linux driver needs"
        ),
    }
}

/// Every instance and every connection needs a file descriptor; the usual limit of 1,024 is for programs that wait with
/// `select`, which nothing here does. Where it cannot be raised it stays.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn open_store(data: Option<&Path>) -> Result<Store> {
    let store = match data {
        Some(data) => Store::open(&data.join("store")).map_err(anyhow::Error::new)?,
        None => Store::memory(),
    };
    // Damaged metric points stop the start, not the first request.
    standfast_telemetry::cloudwatch::open(&store).map_err(anyhow::Error::new)?;
    Ok(store)
}

fn bind(listen: SocketAddr) -> Result<TcpListener> {
    // With what tokio sets: an address can be taken again at once, and many may wait.
    let bound = || -> std::io::Result<TcpListener> {
        let socket = match listen {
            SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
            SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().with_context(|| format!("listening on {listen} (is another cloud running? --listen takes another address)"))
}

/// How many connections may wait to be accepted, as far as the machine's own limit allows.
const BACKLOG: u32 = 4096;

/// Everything in this process.
async fn simulated(options: &cli::Server, listen: SocketAddr, rng: Rng) -> Result<Running> {
    let listener = tokio::net::TcpListener::from_std(bind(listen)?)?;
    let address = listener.local_addr()?;
    let clock = Clock::system(options.speed);
    let store = open_store(options.data.as_deref())?;
    let (host, lb) = standfast::simulation(SimConfig::new(clock.clone(), rng.clone()));
    let sites = lb.clone();
    let sites = Sites::Simulated(Arc::new(move |name, path| sites.request(name, path)));
    let planes = Planes { host, lb, courier: courier(options) };
    let config = Config { clock, rng, store, planes, api_port: address.port() };
    let cloud = Cloud::start(config, standfast::services());
    let api = Api { cloud: cloud.clone(), console: standfast::console(&cloud) };
    tokio::spawn(listen::serve(listener, api, sites));
    Ok(Running { cloud, address, driver: driver::SIM, _reserved: None })
}

/// The planes in processes of their own.
async fn real(options: &cli::Server, listen: SocketAddr, rng: Rng) -> Result<Running> {
    let driver = driver::choose(options.driver)?.name;
    check_egress(driver, options.egress)?;
    // Where state is kept its lock comes first: only who has it may look for processes of that cloud.
    let (early, store, run) = match &options.data {
        None => (Some(bind(listen)?), open_store(None)?, None),
        Some(data) => {
            let store = open_store(Some(data))?;
            let run = RunDir::open(data.join("run")).with_context(|| format!("opening {}", data.display()))?;
            (None, store, Some(run))
        }
    };
    let wanted = Wanted {
        build: processes::build(),
        driver: (options.driver != Driver::Auto).then_some(driver),
        egress: options.egress,
        speed: options.speed,
    };
    let host = run.as_ref().and_then(|run| adopt::find(run, &wanted));
    let dataplane = run.as_ref().and_then(|run| adopt::find(run, &wanted));
    let clock = match host.as_ref().map(|found| &found.hello).or(dataplane.as_ref().map(|found| &found.hello)) {
        // The clock that the planes go by, which runs ahead of the machine's.
        Some(hello) if options.speed != 1.0 => Clock::starting_at(hello.now, options.speed),
        _ => Clock::system(options.speed),
    };
    let driver = host.as_ref().map_or(driver, |found| driver::known(&found.hello.driver));
    let listener = match early {
        Some(listener) => listener,
        None => match inherited(dataplane.as_ref(), listen)? {
            Some(listener) => listener,
            None => bind(listen)?,
        },
    };
    let address = listener.local_addr()?;
    let (state, reserved) = match &options.data {
        Some(data) => (std::path::absolute(data)?.join("hosts"), None),
        None => {
            let (state, reserved) = process::reserve_state().context("making a temporary directory")?;
            (state, Some(reserved))
        }
    };
    let image_layers = options
        .image_layers
        .iter()
        .map(std::path::absolute)
        .collect::<std::io::Result<_>>()
        .context("--image-layer")?;
    let api = SocketAddr::from(([127, 0, 0, 1], address.port()));
    let start = Start {
        driver,
        wanted,
        seed: options.seed,
        clock: clock.clone(),
        state,
        api,
        image_layers,
        run,
        host,
        dataplane,
    };
    let Processes { host, lb, doors } = Processes::start(start).context("starting the processes")?;
    let planes = Planes { host, lb, courier: courier(options) };
    let config = Config { clock, rng, store, planes, api_port: address.port() };
    let cloud = Cloud::start(config, standfast::services());
    let api = Api { cloud: cloud.clone(), console: standfast::console(&cloud) };
    tokio::spawn(processes::front::serve(listener, doors, api));
    Ok(Running { cloud, address, driver, _reserved: reserved })
}

/// The listening socket that a data plane has kept, where it is the one that is asked for.
fn inherited(dataplane: Option<&Found<impl processes::Kind>>, listen: SocketAddr) -> Result<Option<TcpListener>> {
    let Some(found) = dataplane else { return Ok(None) };
    let Some(listener) = adopt::listener(&found.door).context("asking the load balancers for their listener")? else {
        return Ok(None);
    };
    let there = listener.local_addr()?;
    // A port of 0 is any port, so also this one.
    Ok((there.ip() == listen.ip() && [0, there.port()].contains(&listen.port())).then_some(listener))
}
