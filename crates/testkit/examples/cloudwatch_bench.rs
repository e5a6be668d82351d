//! Four figures of CloudWatch, each on one thread and without HTTP: bytes in, bytes out.
//!
//! `cargo run --release -p standfast-testkit --example cloudwatch_bench DIRECTORY [put|get|alarms|month]...`; all without a name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use standfast_api::cloudwatch::MODEL;
use standfast_core::{Clock, Rng, Timestamp};
use standfast_dataplane::{SimAnswer, SimLb};
use standfast_host::{SimConfig, SimHost};
use standfast_kernel::{Cloud, Config, Planes};
use standfast_store::Store;
use standfast_wire::{Protocol, Struct, codec};

const MINUTE_MS: i64 = 60_000;
/// Of PutMetricData: data a request, requests, and callers at once.
const DATA: usize = 500;
const REQUESTS: usize = 2000;
const CALLERS: usize = 16;
/// Of GetMetricData: a day of so many metrics, in calls of as many queries as one may answer with 5 minutes each.
const SERIES: usize = 1000;
const QUERIES: usize = 350;
const ALARMS: usize = 10_000;
const ALARM_MINUTES: i64 = 10;
/// A month of a million points a day, as fast as a clock of this speed.
const MONTH_METRICS: usize = 694;
const MONTH_MINUTES: i64 = 30 * 24 * 60;
const MONTH_SPEED: f64 = 8_000.0;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("a directory is given");
    let dir = Path::new(&dir);
    let names: Vec<String> = arguments.collect();
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| one == name);
    let real = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    if wanted("put") {
        real().block_on(put(&dir.join("put")));
    }
    if wanted("get") {
        real().block_on(get());
    }
    if wanted("alarms") {
        let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        paused.expect("a runtime can be built").block_on(alarms());
    }
    if wanted("month") {
        real().block_on(month(&dir.join("month")));
    }
}

fn start(clock: Clock, store: Store) -> Cloud {
    let rng = Rng::seeded(1);
    let host = SimHost::start(SimConfig::new(clock.clone(), rng.clone()));
    let lb = Arc::new(SimLb::new(clock.clone(), Arc::new(|_, _: &str| SimAnswer::Status(200))));
    let courier = standfast_testkit::courier::TestCourier::new(clock.clone());
    let named = |service: &standfast_kernel::Service| service.model.name == MODEL.name;
    let service = standfast::services().into_iter().find(named).expect("a cloud has metrics");
    Cloud::start(Config { clock, rng, store, planes: Planes { host, lb, courier }, api_port: 4566 }, vec![service])
}

async fn ask(cloud: &Cloud, request: http::Request<Bytes>) -> Bytes {
    let answer = cloud.handle(request).await;
    assert_eq!(answer.status(), 200, "{:?}", answer.body());
    answer.into_body()
}

fn request(operation: &str, input: &Json) -> http::Request<Bytes> {
    let op = MODEL.operation(operation).expect("in the model");
    let input = Struct::from_json(input, op.input).expect("the input fits the model");
    let mut request = codec::encode_request(Protocol::Json10, &MODEL, op, &input);
    let authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/monitoring/aws4_request, \
                         SignedHeaders=host, Signature=00";
    request.headers_mut().insert("authorization", http::HeaderValue::from_static(authorization));
    request.headers_mut().insert("host", http::HeaderValue::from_static("127.0.0.1:4566"));
    request
}

fn dimensions(metric: usize) -> Json {
    json!([{"Name": "InstanceId", "Value": format!("i-{metric:017x}")}])
}

fn datum(metric: usize, at: Timestamp, value: f64) -> Json {
    json!({"MetricName": "Load", "Timestamp": at.0 as f64 / 1000.0, "Value": value, "Dimensions": dimensions(metric)})
}

fn put_request(data: Vec<Json>) -> http::Request<Bytes> {
    request("PutMetricData", &json!({"Namespace": "Bench", "MetricData": data}))
}

/// A load in percent with two digits, as noise.
fn value(metric: usize, at: Timestamp) -> f64 {
    let seed = (metric as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (at.0 as u64 / 60_000).wrapping_mul(0xD1B5_4A32_D192_ED03);
    ((seed ^ seed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f64 % 10_000.0 / 100.0
}

async fn put(dir: &Path) {
    let clock = Clock::system(1.0);
    let cloud = start(clock.clone(), Store::open(dir).expect("the directory is fresh"));
    let now = clock.now();
    let bodies: Vec<_> = (0..20)
        .map(|i| put_request((0..DATA).map(|k| datum((i * DATA + k) % SERIES, now, k as f64)).collect()))
        .collect();
    let bodies = Arc::new(bodies);
    let (began, cpu) = (clock.now(), cpu_seconds());
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (cloud, bodies) = (cloud.clone(), bodies.clone());
            tokio::spawn(async move {
                for i in (caller..REQUESTS).step_by(CALLERS) {
                    ask(&cloud, bodies[i % bodies.len()].clone()).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
    let (seconds, cpu) = (clock.now().since(began).as_secs_f64(), cpu_seconds() - cpu);
    println!("durable points/s: {:.0}", (REQUESTS * DATA) as f64 / seconds);
    println!("points/s of processor time: {:.0}", (REQUESTS * DATA) as f64 / cpu);
    cloud.shutdown().await;
}

async fn get() {
    let clock = Clock::system(1.0);
    let cloud = start(clock.clone(), Store::memory());
    let end = clock.now().0 / (5 * MINUTE_MS) * 5 * MINUTE_MS;
    let first = end - 24 * 60 * MINUTE_MS;
    for minute in 0..24 * 60 {
        let at = Timestamp(first + minute * MINUTE_MS);
        ask(&cloud, put_request((0..SERIES).map(|metric| datum(metric, at, value(metric, at))).collect())).await;
    }
    let query = |metric: usize| {
        let metric = json!({"Namespace": "Bench", "MetricName": "Load", "Dimensions": dimensions(metric)});
        json!({"MetricStat": {"Metric": metric, "Period": 300, "Stat": "Average"}})
    };
    let calls: Vec<_> = (0..SERIES)
        .collect::<Vec<_>>()
        .chunks(QUERIES)
        .map(|metrics| {
            let queries = metrics.iter().map(|metric| {
                let mut query = query(*metric);
                query["Id"] = format!("m{metric}").into();
                query
            });
            let queries: Vec<_> = queries.collect();
            let (start, end) = (Timestamp(first).iso8601(), Timestamp(end).iso8601());
            request("GetMetricData", &json!({"MetricDataQueries": queries, "StartTime": start, "EndTime": end}))
        })
        .collect();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let began = clock.now();
        let mut bytes = 0;
        for call in &calls {
            bytes += ask(&cloud, call.clone()).await.len();
        }
        assert!(bytes > SERIES * 288);
        best = best.min(clock.now().since(began).as_secs_f64() * 1000.0);
    }
    println!("1000 series of a day, ms: {best:.0}");
    cloud.shutdown().await;
}

async fn alarms() {
    let clock = Clock::starting_at(standfast_testkit::BEGINNING, 1.0);
    let cloud = start(clock.clone(), Store::memory());
    for minute in 0..=ALARM_MINUTES {
        let at = clock.now() + Duration::from_secs(60) * minute as u32;
        for metrics in (0..ALARMS).collect::<Vec<_>>().chunks(DATA) {
            ask(&cloud, put_request(metrics.iter().map(|metric| datum(*metric, at, value(*metric, at))).collect()))
                .await;
        }
    }
    for metric in 0..ALARMS {
        let alarm = json!({
            "AlarmName": format!("alarm-{metric}"), "Namespace": "Bench", "MetricName": "Load",
            "Dimensions": dimensions(metric), "Statistic": "Average", "Period": 60, "EvaluationPeriods": 3,
            "Threshold": 100.0, "ComparisonOperator": "GreaterThanThreshold",
        });
        ask(&cloud, request("PutMetricAlarm", &alarm)).await;
    }
    // The first evaluations change every alarm's state, and write that.
    clock.sleep(Duration::from_secs(125)).await;
    let cpu = cpu_seconds();
    clock.sleep(Duration::from_secs(60) * ALARM_MINUTES as u32).await;
    let share = (cpu_seconds() - cpu) / (60.0 * ALARM_MINUTES as f64);
    println!("10000 alarms a minute, % of a core: {:.2}", share * 100.0);
    cloud.shutdown().await;
}

async fn month(dir: &Path) {
    let clock = Clock::system(MONTH_SPEED);
    let cloud = start(clock.clone(), Store::open(dir).expect("the directory is fresh"));
    let first = clock.now().0 / MINUTE_MS;
    let (mut fed, mut largest) = (0, 0);
    while fed < MONTH_MINUTES {
        let due = (clock.now().0 / MINUTE_MS - first).min(MONTH_MINUTES);
        if due == fed {
            tokio::task::yield_now().await;
        }
        for minute in fed..due {
            let at = Timestamp((first + minute) * MINUTE_MS);
            ask(&cloud, put_request((0..MONTH_METRICS).map(|metric| datum(metric, at, value(metric, at))).collect()))
                .await;
            if minute % 500 == 0 {
                largest = largest.max(size_bytes(dir));
            }
        }
        fed = due;
    }
    println!("a month of a million points a day, MB on disk: {:.0}", size_bytes(dir) as f64 / 1e6);
    println!("the most on the way, MB: {:.0}", largest as f64 / 1e6);
    cloud.shutdown().await;
}

fn size_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("it is there");
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => size_bytes(&entry.path()),
        // A file may go while it is looked at.
        found => found.map_or(0, |found| found.len()),
    };
    entries.flatten().map(size).sum()
}

/// What this thread has used.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells it");
    let ns: f64 = text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("the first is the time");
    ns / 1e9
}
