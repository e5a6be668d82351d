//! A whole cloud in one test: every service, simulated hosts and load balancers, virtual time, a seed.
//!
//! Invariant: nothing here waits for real. A test of hours takes milliseconds, and the same seed gives the same run.

pub mod courier;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;
use standfast_core::host::Abilities;
use standfast_core::{Clock, Error, Result, Rng, Timestamp};
use standfast_dataplane::SimLb;
use standfast_host::sim::{SimConfig, SimHost};
use standfast_kernel::{Cloud, Config, Cx, Planes};
use standfast_store::Store;
use standfast_wire::{ServiceSchema, Struct, Value, codec};

use self::courier::TestCourier;

/// When every test cloud begins: 2026-01-01T00:00:00Z.
pub const BEGINNING: Timestamp = Timestamp(1_767_225_600_000);
/// The region that tests act in unless they say otherwise.
pub const REGION: &str = "eu-west-1";

/// A cloud under test.
pub struct TestCloud {
    pub cloud: Cloud,
    pub host: Arc<SimHost>,
    pub lb: Arc<SimLb>,
    pub courier: Arc<TestCourier>,
    seed: u64,
}

/// Runs a test in a new cloud on virtual time. The seed is printed when it fails.
pub fn run<F, Fut>(seed: u64, test: F)
where
    F: FnOnce(TestCloud) -> Fut,
    Fut: Future<Output = ()>,
{
    run_able(seed, Abilities::default(), test);
}

/// The same with hosts that say that they can do these things.
pub fn run_able<F, Fut>(seed: u64, abilities: Abilities, test: F)
where
    F: FnOnce(TestCloud) -> Fut,
    Fut: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    let said = SeedOnPanic(seed);
    runtime.block_on(async {
        let cloud = TestCloud::start_able(seed, abilities);
        let handle = cloud.cloud.clone();
        test(cloud).await;
        handle.shutdown().await;
    });
    drop(said);
}

struct SeedOnPanic(u64);

impl Drop for SeedOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of the failed run is {}", self.0);
        }
    }
}

impl TestCloud {
    /// Starts a cloud on the current runtime, whose time is paused.
    pub fn start(seed: u64) -> Self {
        Self::start_able(seed, Abilities::default())
    }

    /// The same with hosts that say that they can do these things.
    pub fn start_able(seed: u64, abilities: Abilities) -> Self {
        let clock = Clock::starting_at(BEGINNING, 1.0);
        let rng = Rng::seeded(seed);
        let (host, lb) = standfast::simulation(SimConfig { abilities, ..SimConfig::new(clock.clone(), rng.clone()) });
        let courier = TestCourier::new(clock.clone());
        let planes = Planes { host: host.clone(), lb: lb.clone(), courier: courier.clone() };
        let config = Config { clock, rng, store: Store::memory(), planes, api_port: 4566 };
        Self { cloud: Cloud::start(config, standfast::services()), host, lb, courier, seed }
    }

    /// A control plane over hosts and load balancers that may have had another one.
    pub fn of(cloud: Cloud, host: Arc<SimHost>, lb: Arc<SimLb>, courier: Arc<TestCourier>, seed: u64) -> Self {
        Self { cloud, host, lb, courier, seed }
    }

    /// A context of the owner in the default account and region.
    pub fn cx(&self) -> Cx {
        self.cloud.owner(REGION)
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn now(&self) -> Timestamp {
        self.cloud.clock().now()
    }

    /// Lets virtual time pass.
    pub async fn pass(&self, time: Duration) {
        self.cloud.clock().sleep(time).await;
    }

    /// Waits until `condition` gives a value, looking every 100 ms of virtual time.
    ///
    /// # Panics
    /// When `limit` of virtual time has passed.
    pub async fn until<T, Fut>(&self, what: &str, limit: Duration, condition: impl Fn() -> Fut) -> T
    where
        Fut: Future<Output = Option<T>>,
    {
        let deadline = self.now() + limit;
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            assert!(self.now() < deadline, "still waiting for {what} after {limit:?}");
            self.pass(Duration::from_millis(100)).await;
        }
    }

    /// Calls an operation over its bytes, in the service's default protocol, as any client would. Members are named as
    /// in the API's model.
    pub async fn send(&self, service: &'static ServiceSchema, operation: &str, input: Json) -> Result<Json> {
        let op = service.operation(operation).expect("the operation is in the model");
        let input = Struct::from_json(&input, op.input).expect("the input fits the model");
        let protocol = service.protocols[0];
        let request = self.signed(service, codec::encode_request(protocol, service, op, &input));
        let answer = self.cloud.handle(request).await;
        Ok(Value::Struct(codec::decode_response(protocol, service, op, &answer)?).to_json())
    }

    /// Sends bytes as they are and gives the answer's status and body.
    pub async fn raw(&self, request: http::Request<Bytes>) -> (u16, String) {
        let answer = self.cloud.handle(request).await;
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// Adds a credential scope, as clients whose key iam does not know sign.
    pub fn signed(&self, service: &ServiceSchema, mut request: http::Request<Bytes>) -> http::Request<Bytes> {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{}/aws4_request, SignedHeaders=host, Signature=00",
            service.signing_name
        );
        let headers = request.headers_mut();
        headers.insert("authorization", authorization.parse().expect("plain text"));
        headers.insert("host", http::HeaderValue::from_static("127.0.0.1:4566"));
        request
    }

    /// The error of a call that must fail.
    pub async fn refused(&self, service: &'static ServiceSchema, operation: &str, input: Json) -> Error {
        match self.send(service, operation, input.clone()).await {
            Err(error) => error,
            Ok(answer) => panic!("{operation} {input} should have failed and answered {answer}"),
        }
    }
}
