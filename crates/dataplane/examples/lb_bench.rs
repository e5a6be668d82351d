//! One worker in front of given targets, for comparison with other proxies.
//!
//! `lb_bench --listen-port-file FILE ADDRESS:PORT...` writes `ADDRESS:PORT` of its listener to FILE and serves until
//! standard input ends. Health checks are off, so that nothing but the load is measured.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use standfast_core::lb::*;
use standfast_core::{Clock, Rng};
use standfast_dataplane::{Plane, PlaneConfig, socket_of};

const LB: &str = "lb";
const ZONE: &str = "zone";

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = || io::Error::new(ErrorKind::InvalidInput, "lb_bench --listen-port-file FILE ADDRESS:PORT...");
    let (Some("--listen-port-file"), Some(file)) = (arguments.next().as_deref(), arguments.next()) else {
        return Err(usage());
    };
    let targets = arguments.map(|text| text.parse().map_err(|_| usage())).collect::<io::Result<Vec<SocketAddrV4>>>()?;
    let config = PlaneConfig { workers: 1, speed: 1.0, clock: Clock::system(1.0), rng: Rng::from_entropy() };
    let plane = Plane::start(config)?;
    plane.obey(Arc::new(snapshot(&targets)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let address = runtime.block_on(async {
        loop {
            let changed = plane.changed();
            if let Some(address) = socket_of(&plane.observe(), LB, ZONE, 0) {
                return address;
            }
            changed.await;
        }
    });
    std::fs::write(file, address.to_string())?;
    io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(plane.shutdown(Duration::ZERO));
    Ok(())
}

fn snapshot(targets: &[SocketAddrV4]) -> LbSnapshot {
    let target = |socket: &SocketAddrV4| Target {
        id: socket.to_string(),
        port: socket.port(),
        zone: ZONE.into(),
        address: Some(*socket.ip()),
        draining_until: None,
    };
    let action = Action::Forward { groups: vec![("group".into(), 1)], stickiness_s: None };
    let rules = vec![Rule { arn: "rule".into(), conditions: vec![], action }];
    let group = TargetGroup {
        arn: "group".into(),
        dimension: "targetgroup/bench/0".into(),
        algorithm: Algorithm::RoundRobin,
        health: HealthCheck {
            enabled: false,
            port: None,
            path: "/".into(),
            interval_ms: 30_000,
            timeout_ms: 5_000,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            matcher: vec![(200, 200)],
        },
        targets: targets.iter().map(target).collect(),
        deregistration_delay_ms: 0,
        stickiness_s: None,
    };
    LbSnapshot {
        load_balancers: vec![LoadBalancer {
            arn: LB.into(),
            dimension: "app/bench/0".into(),
            dns_name: "bench.elb.localhost".into(),
            nodes: vec![Node { place: None, zone: ZONE.into(), up: true }],
            listeners: vec![Listener { arn: "listener".into(), port: 0, tls: None, rules }],
            idle_timeout_s: 60,
            xff_mode: XffMode::Append,
        }],
        target_groups: BTreeMap::from([("group".into(), group)]),
    }
}
