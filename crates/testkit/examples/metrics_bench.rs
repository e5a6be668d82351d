//! How many PutMetricData requests a cloud answers in a second on one thread: bytes in, bytes out, without HTTP.
//!
//! `cargo run --release -p standfast-testkit --example metrics_bench [DIRECTORY]`. With a directory every request waits
//! until its point is durable there. Sixteen callers ask one after the other, as connections would.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde_json::json;
use standfast_api::cloudwatch::MODEL;
use standfast_core::{Clock, Rng};
use standfast_dataplane::{SimAnswer, SimLb};
use standfast_host::{SimConfig, SimHost};
use standfast_kernel::{Cloud, Config, Planes};
use standfast_store::Store;
use standfast_wire::{Protocol, Struct, codec};

const CALLERS: usize = 16;
const REQUESTS: usize = 400_000;
const METRICS: usize = 1000;

fn main() {
    let dir = std::env::args().nth(1).map(PathBuf::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    for protocol in MODEL.protocols {
        runtime.block_on(measure(*protocol, dir.as_ref()));
    }
}

async fn measure(protocol: Protocol, dir: Option<&PathBuf>) {
    let clock = Clock::system(1.0);
    let rng = Rng::seeded(1);
    let store = dir.map_or_else(Store::memory, |dir| Store::open(dir).expect("the directory is ours or fresh"));
    let host = SimHost::start(SimConfig::new(clock.clone(), rng.clone()));
    let lb = Arc::new(SimLb::new(clock.clone(), Arc::new(|_, _: &str| SimAnswer::Status(200))));
    let courier = standfast_testkit::courier::TestCourier::new(clock.clone());
    let config = Config { clock: clock.clone(), rng, store, planes: Planes { host, lb, courier }, api_port: 4566 };
    let cloud = Cloud::start(config, vec![metrics_service()]);
    let requests: Arc<Vec<_>> = Arc::new((0..METRICS).map(|i| request(protocol, i)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let start = clock.now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (cloud, requests, next) = (cloud.clone(), requests.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= REQUESTS {
                        return;
                    }
                    let answer = cloud.handle(requests[i % METRICS].clone()).await;
                    assert_eq!(answer.status(), 200, "{:?}", answer.body());
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
    let seconds = clock.now().since(start).as_secs_f64();
    let kept = if dir.is_some() { "durable" } else { "memory" };
    println!(
        "{protocol:?} {kept}: {:.0} requests/s, {:.2} µs each",
        REQUESTS as f64 / seconds,
        seconds * 1e6 / REQUESTS as f64
    );
    cloud.shutdown().await;
}

fn metrics_service() -> standfast_kernel::Service {
    let named = |service: &standfast_kernel::Service| service.model.name == MODEL.name;
    standfast::services().into_iter().find(named).expect("a cloud has metrics")
}

fn request(protocol: Protocol, i: usize) -> http::Request<Bytes> {
    let op = MODEL.operation("PutMetricData").expect("in the model");
    let input = json!({"Namespace": "Bench", "MetricData": [{
        "MetricName": "Latency", "Unit": "Milliseconds", "Value": i as f64,
        "Dimensions": [{"Name": "InstanceId", "Value": format!("i-{i:017x}")}, {"Name": "Page", "Value": "/cart"}],
    }]});
    let input = Struct::from_json(&input, op.input).expect("the input fits the model");
    let mut request = codec::encode_request(protocol, &MODEL, op, &input);
    let authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/monitoring/aws4_request, \
                         SignedHeaders=host, Signature=00";
    request.headers_mut().insert("authorization", http::HeaderValue::from_static(authorization));
    request.headers_mut().insert("host", http::HeaderValue::from_static("127.0.0.1:4566"));
    request
}
