//! A whole simulated cloud in this process, for what wants to know what a cloud would do: memory for records, hosts and
//! load balancers that are simulations, time that runs fast, and mail that goes nowhere.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use standfast_core::courier::{Courier, Mail, Post, Undelivered};
use standfast_core::place::DEFAULT_REGION;
use standfast_core::{BoxFuture, Clock, Error, Result, Rng, Timestamp};
use standfast_gameday::World;
use standfast_gameday::probe::Target;
use standfast_gameday::world::Shot;
use standfast_host::sim::SimConfig;
use standfast_kernel::{Cloud, Config, Planes};
use standfast_store::Store;
use standfast_wire::{ServiceSchema, Struct, Value, codec};

/// A stack that takes minutes is there within a second.
const SPEED: f64 = 500.0;
/// The same template gets the same answer.
const SEED: u64 = 1;

/// See the module's documentation.
pub struct SimulatedWorld {
    cloud: Cloud,
    clock: Clock,
    beginning: Timestamp,
    region: String,
}

impl SimulatedWorld {
    /// Starts a cloud on the current runtime.
    pub fn start() -> Self {
        let (clock, rng) = (Clock::system(SPEED), Rng::seeded(SEED));
        let (host, lb) = standfast::simulation(SimConfig::new(clock.clone(), rng.clone()));
        let planes = Planes { host, lb, courier: Arc::new(Nowhere) };
        let config = Config { clock: clock.clone(), rng, store: Store::memory(), planes, api_port: 0 };
        let cloud = Cloud::start(config, standfast::services());
        Self { cloud, beginning: clock.now(), clock, region: DEFAULT_REGION.into() }
    }

    /// Ends the cloud.
    pub async fn stop(self) {
        self.cloud.shutdown().await;
    }

    async fn ask(&self, service: &'static ServiceSchema, operation: &str, input: Json) -> Result<Json> {
        let unknown = || Error::internal(format!("{} has no {operation}", service.name));
        let op = service.operation(operation).ok_or_else(unknown)?;
        let input =
            Struct::from_json(&input, op.input).map_err(|error| Error::internal(format!("{operation}: {error}")))?;
        let protocol = service.protocols[0];
        let mut request = codec::encode_request(protocol, service, op, &input);
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=standfast/20260101/{}/{}/aws4_request, SignedHeaders=host, Signature=00",
            self.region, service.signing_name
        );
        let headers = request.headers_mut();
        headers.insert("authorization", scope.parse().map_err(|_| Error::internal("the region is no header's text"))?);
        headers.insert("host", http::HeaderValue::from_static("localhost"));
        let answer = self.cloud.handle(request).await;
        Ok(Value::Struct(codec::decode_response(protocol, service, op, &answer)?).to_json())
    }
}

impl World for SimulatedWorld {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(self.beginning)
    }

    fn sleep_until(&self, elapsed: Duration) -> BoxFuture<'static, ()> {
        let (clock, until) = (self.clock.clone(), self.beginning + elapsed);
        Box::pin(async move { clock.sleep_until(until).await })
    }

    fn call(&self, service: &str, operation: &str, input: Json) -> BoxFuture<'_, Result<Json>> {
        let model = standfast_api::SERVICES.iter().find(|model| model.name == service).copied();
        let operation = operation.to_owned();
        Box::pin(async move {
            let model = model.ok_or_else(|| Error::internal("a service that no client knows"))?;
            self.ask(model, &operation, input).await
        })
    }

    fn aim(&self, _: &Target) -> Result<Shot, String> {
        Err("nothing listens in a simulated cloud".into())
    }
}

/// A courier that takes everything and delivers nothing.
struct Nowhere;

impl Courier for Nowhere {
    fn post(&self, _: Post) -> BoxFuture<'static, Result<u16, Undelivered>> {
        Box::pin(std::future::ready(Ok(200)))
    }

    fn takes_mail(&self) -> bool {
        false
    }

    fn mail(&self, _: Mail) -> BoxFuture<'static, Result<(), Undelivered>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
