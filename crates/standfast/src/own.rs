//! What the cloud tells of itself beside AWS's API: paths under `/_standfast/`.
//!
//! Invariant: an instance learns nothing here but that the cloud is up, and its time. The others are for people and tools on
//! the machine.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value as Json, json};
use standfast_core::lb::Traffic;
use standfast_core::place::DEFAULT_REGION;
use standfast_kernel::Cloud;
use standfast_telemetry::cloudwatch::prometheus;

/// Where these paths begin.
pub const PREFIX: &str = "/_standfast/";

/// The answer to a GET of `PREFIX` and `name`; `query` is what stands behind the question mark.
pub fn answer(cloud: &Cloud, name: &str, query: &str, from_instance: bool) -> Response<Full<Bytes>> {
    match name {
        "health" => text(StatusCode::OK, "ok\n"),
        "clock" => json_of(&clock(cloud)),
        _ if from_instance => text(StatusCode::FORBIDDEN, "This is not for instances.\n"),
        "listeners" => json_of(&listeners(cloud)),
        "events" => {
            let after = parameter(query, "after").unwrap_or_default();
            json_of(&standfast_messaging::events::seen(cloud, region(query), after))
        }
        "mail" => json_of(&standfast_messaging::sns::mails(cloud, region(query))),
        "metrics" => metrics(cloud),
        "traffic" => json_of(&traffic(cloud)),
        _ => text(StatusCode::NOT_FOUND, "Standfast has nothing of this name.\n"),
    }
}

/// What the cloud's clock shows, and how fast it goes.
fn clock(cloud: &Cloud) -> Json {
    json!({"now_ms": cloud.clock().now().0, "speed": cloud.clock().speed()})
}

/// The region that is asked about.
fn region(query: &str) -> &str {
    parameter(query, "region").unwrap_or(DEFAULT_REGION)
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// Where load balancers' listeners can be reached on this machine.
fn listeners(cloud: &Cloud) -> Json {
    let observed = cloud.planes().lb.observe().listeners;
    let row = |((arn, zone, port), socket): (&(String, String, u16), &std::net::SocketAddr)| json!({"load_balancer": arn, "zone": zone, "port": port, "socket": socket.to_string()});
    observed.iter().map(row).collect()
}

/// What load balancers have counted so far; who asks twice knows the rates between.
fn traffic(cloud: &Cloud) -> Json {
    let row = |traffic: &Traffic| {
        let counts = traffic.counts;
        json!({
            "load_balancer": traffic.balancer, "target_group": traffic.group, "zone": traffic.zone,
            "requests": counts.requests, "answers": counts.answers, "errors": counts.errors,
            "connection_errors": counts.connection_errors, "timed": counts.timed, "time_us": counts.time_us,
        })
    };
    cloud.planes().lb.traffic().iter().map(row).collect()
}

/// The newest values of all metrics, for Prometheus.
fn metrics(cloud: &Cloud) -> Response<Full<Bytes>> {
    match prometheus::text(cloud.store(), cloud.clock().now()) {
        Ok(text) => with_type(prometheus::CONTENT_TYPE, text.into()),
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "The metrics cannot be read.\n"),
    }
}

fn json_of(value: &Json) -> Response<Full<Bytes>> {
    with_type("application/json", Bytes::from(format!("{value}\n")))
}

/// An answer of some type.
pub fn with_type(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// A short plain text.
pub fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response
}
