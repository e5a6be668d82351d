//! A whole cloud: its clock, its chance, its state, its services and its planes.

use std::sync::Arc;
use std::time::Duration;

use standfast_core::courier::Courier;
use standfast_core::host::HostDriver;
use standfast_core::lb::LbDriver;
use standfast_core::place::{DEFAULT_ACCOUNT, DEFAULT_REGION};
use standfast_core::{Clock, Rng, Scope};
use standfast_store::Store;

use crate::controller;
use crate::cx::{Cx, Principal};
use crate::pipeline;
use crate::service::{Registry, Service};
use crate::supervisor::Supervisor;

/// How long a shutdown waits for requests under way in the load balancers.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// What a cloud is made with.
pub struct Config {
    pub clock: Clock,
    pub rng: Rng,
    pub store: Store,
    pub planes: Planes,
    /// The port of the API, for URLs that the cloud makes up.
    pub api_port: u16,
}

/// What really runs instances, forwards traffic and carries notifications.
#[derive(Clone)]
pub struct Planes {
    pub host: Arc<dyn HostDriver>,
    pub lb: Arc<dyn LbDriver>,
    pub courier: Arc<dyn Courier>,
}

/// A running cloud. Cheap to clone.
#[derive(Clone)]
pub struct Cloud(Arc<Inner>);

struct Inner {
    config: Config,
    registry: Registry,
    supervisor: Supervisor,
}

impl Cloud {
    /// Makes a cloud of these services and starts their controllers on the current runtime.
    pub fn start(config: Config, services: Vec<Service>) -> Self {
        let (registry, controllers) = Registry::new(services);
        let cloud = Self(Arc::new(Inner { config, registry, supervisor: Supervisor::default() }));
        for controller in controllers {
            let name = format!("{}/{}", controller.service, controller.name);
            cloud.0.supervisor.spawn(name, controller::run(cloud.clone(), controller));
        }
        cloud
    }

    pub fn clock(&self) -> &Clock {
        &self.0.config.clock
    }

    pub fn rng(&self) -> &Rng {
        &self.0.config.rng
    }

    pub fn store(&self) -> &Store {
        &self.0.config.store
    }

    pub fn planes(&self) -> &Planes {
        &self.0.config.planes
    }

    pub fn api_port(&self) -> u16 {
        self.0.config.api_port
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Tasks of this cloud, by name.
    pub fn supervisor(&self) -> &Supervisor {
        &self.0.supervisor
    }

    /// A context for the cloud's owner in the default account and the region.
    pub fn owner(&self, region: &str) -> Cx {
        Cx::new(self.clone(), Scope::new(DEFAULT_ACCOUNT, region), Principal::Root, "standfast")
    }

    /// The context in which a service's own controllers run; `Cx::at` moves it to an account and region.
    pub(crate) fn service_context(&self, service: &'static str) -> Cx {
        let scope = Scope::new(DEFAULT_ACCOUNT, DEFAULT_REGION);
        Cx::new(self.clone(), scope, Principal::Service(service), service)
    }

    /// Every operation that has a handler: service and operation, sorted.
    pub fn bound_operations(&self) -> Vec<(&'static str, &'static str)> {
        let mut all: Vec<_> = self.registry().dynamic.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// The operations that have a handler, of the service that policies call this; empty when there is none.
    pub fn operations_of(&self, service: &str) -> Vec<&'static str> {
        let models = self.registry().models.iter().filter(|model| pipeline::action_prefix(model) == service);
        let names: Vec<&str> = models.map(|model| model.name).collect();
        let all = self.bound_operations().into_iter().filter(|(of, _)| names.contains(of));
        all.map(|(_, operation)| operation).collect()
    }

    /// What policies call the services, in order.
    pub fn services(&self) -> Vec<&'static str> {
        let mut all: Vec<_> = self.registry().models.iter().map(|model| pipeline::action_prefix(model)).collect();
        all.sort_unstable();
        all
    }

    /// Stops controllers, load balancers and instances, in that order, then closes the store.
    pub async fn shutdown(&self) {
        self.0.supervisor.stop();
        self.planes().lb.shutdown(SHUTDOWN_GRACE).await;
        self.planes().host.shutdown().await;
        self.store().close().await;
    }
}
