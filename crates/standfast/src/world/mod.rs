//! The real world of game days and probes: this machine's time, the API over HTTP, requests over sockets.
//!
//! Invariant: nothing here reaches beyond loopback, as `http_client::place` sees to.

mod shots;
mod simulated;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value as Json;
use standfast_core::{BoxFuture, Clock, Error, Result, Timestamp};
use standfast_gameday::World;
use standfast_gameday::probe::{Kind, Target};
use standfast_gameday::world::Shot;
use standfast_wire::Struct;
use tokio::time::Instant;

use crate::api_client::{ApiClient, api_error};

pub use shots::{Idle, get};
pub use simulated::SimulatedWorld;

/// See the module's documentation.
pub struct RealWorld {
    client: ApiClient,
    clock: Clock,
    start: Instant,
}

impl RealWorld {
    /// By this machine's time.
    pub fn new(client: ApiClient) -> Self {
        Self { client, clock: Clock::system(1.0), start: Instant::now() }
    }

    /// By the time of the cloud, which may go faster.
    pub async fn by_its_clock(client: ApiClient) -> anyhow::Result<Self> {
        let told: Json = serde_json::from_slice(&client.own("clock").await?).context("reading the cloud's clock")?;
        let (now_ms, speed) = (told["now_ms"].as_i64(), told["speed"].as_f64().filter(|speed| *speed > 0.0));
        let (now_ms, speed) = now_ms.zip(speed).context("the cloud's clock tells no time")?;
        Ok(Self { client, clock: Clock::starting_at(Timestamp(now_ms), speed), start: Instant::now() })
    }
}

impl World for RealWorld {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed().mul_f64(self.clock.speed())
    }

    fn speed(&self) -> f64 {
        self.clock.speed()
    }

    fn takes(&self, service: &str, operation: &str, input: &Json) -> Result<(), String> {
        let model = standfast_api::SERVICES.iter().find(|model| model.name == service);
        let model = model.ok_or_else(|| format!("there is no service '{service}'"))?;
        let op = model.operation(operation).ok_or_else(|| format!("{service} has no operation '{operation}'"))?;
        Struct::from_json(input, op.input).map(|_| ()).map_err(|error| format!("{operation}: {error}"))
    }

    fn sleep_until(&self, elapsed: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(self.start + elapsed.div_f64(self.clock.speed())))
    }

    fn call(&self, service: &str, operation: &str, input: Json) -> BoxFuture<'_, Result<Json>> {
        let model = standfast_api::SERVICES.iter().find(|model| model.name == service).copied();
        let operation = operation.to_owned();
        Box::pin(async move {
            let model = model.ok_or_else(|| Error::internal("a service that no client knows"))?;
            let answer = self.client.call(model, &operation, input).await;
            answer.map_err(|error| match api_error(&error) {
                Some(api) => api.clone(),
                None => Error::unavailable(format!("{error:#}")),
            })
        })
    }

    fn aim(&self, target: &Target) -> Result<Shot, String> {
        let kind = target.kind().ok_or_else(|| {
            let known: Vec<_> = Kind::ALL.iter().map(|kind| format!("{}://", kind.name())).collect();
            format!("'{}' does not begin with {}", target.url, known.join(" or "))
        })?;
        let aimed = match kind {
            Kind::Http => shots::http(&target.url, self.client.endpoint(), target.timeout),
            Kind::Tcp => shots::tcp(&target.url, target.timeout),
            Kind::Dns => shots::dns(&target.url, target.timeout),
        };
        aimed.map_err(|error| format!("{error:#}"))
    }
}

/// The world by this machine's time.
pub fn real(client: &ApiClient) -> Arc<dyn World> {
    Arc::new(RealWorld::new(client.clone()))
}
