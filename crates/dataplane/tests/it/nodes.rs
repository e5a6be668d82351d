//! Nodes that come and go, adopted connections, and the end.

use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use standfast_core::lb::LbDriver;

use crate::support::*;

/// A connection's two ends, as the API's listener would have them.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    (client, listener.accept().expect("accept").0)
}

#[test]
fn nodes_have_addresses_of_their_own() {
    let backend = Backend::named("a");
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let addresses = [cloud.address(0), cloud.address(1)];
    assert_ne!(addresses[0].ip(), addresses[1].ip());
    for address in addresses {
        assert!(address.ip().is_loopback());
        assert_eq!(Browser::connect(address).get("/").text(), "a");
    }
}

#[test]
fn a_node_without_power_resets_its_connections_and_listens_no_more() {
    let (_never, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let backend = Backend::start(move |got, stream| {
        if got.path() == "/slow" {
            let _ = gate.lock().expect("no panic").recv_timeout(Duration::from_secs(10));
        }
        answer(stream, 200, b"a")
    });
    let mut cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let (lost, kept) = (cloud.address(0), cloud.address(1));
    let (mut idle, mut busy, mut other) = (Browser::connect(lost), Browser::connect(lost), Browser::connect(kept));
    idle.get("/");
    other.get("/");
    busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the request arrives", || backend.seen().iter().any(|got| got.path() == "/slow"));
    cloud.balancer().nodes[0].up = false;
    cloud.obey();
    for browser in [&mut idle, &mut busy] {
        let error = std::io::Read::read(&mut browser.stream, &mut [0]).expect_err("reset, not closed");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    wait_for("it listens no more", || TcpStream::connect(lost).is_err());
    assert_eq!(other.get("/").text(), "a");
    cloud.balancer().nodes[0].up = true;
    cloud.obey();
    assert_eq!(cloud.address(0), lost, "it comes back where it was");
    assert_eq!(cloud.get("/").text(), "a");
    drop(_never);
}

#[test]
fn connections_by_name_are_adopted_and_die_with_their_node() {
    let backend =
        Backend::start(|got, stream| answer(stream, 200, got.header("x-forwarded-port").unwrap_or("").as_bytes()));
    let mut cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    cloud.balancer().nodes.pop();
    cloud.obey();
    let (client, server) = pair();
    let mut browser = Browser::over(client);
    // The request is in the socket's buffer before the plane sees the connection.
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    cloud.plane.adopt(&format!("{}:4566", NAME.to_uppercase()), server).expect("known");
    assert_eq!(browser.receive().text(), "0");
    assert_eq!(browser.get("/again").status(), 200);
    let (_client, stranger) = pair();
    assert!(cloud.plane.adopt("other.eu-west-1.elb.localhost", stranger).is_err());
    cloud.balancer().nodes[0].up = false;
    cloud.obey();
    let error = std::io::Read::read(&mut browser.stream, &mut [0]).expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let (_client, late) = pair();
    let late = cloud.plane.adopt(NAME, late).expect_err("no node is up");
    assert!(late.peer_addr().is_ok(), "the connection comes back unharmed");
}

#[test]
fn a_listener_that_is_deleted_closes() {
    let backend = Backend::named("a");
    let mut cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let address = cloud.address(0);
    let mut browser = cloud.browser();
    browser.get("/");
    cloud.snapshot.load_balancers.clear();
    cloud.obey();
    assert!(browser.is_closed());
    wait_for("it listens no more", || TcpStream::connect(address).is_err());
    assert!(cloud.plane.observe().targets.is_empty(), "nobody uses the group");
}

#[test]
fn shutdown_waits_for_what_is_under_way() {
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let backend = Backend::start(move |_, stream| {
        let _ = gate.lock().expect("no panic").recv();
        answer(stream, 200, b"done")
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the request arrives", || backend.seen().len() == 1);
    let over = cloud.plane.shutdown(Duration::from_secs(10));
    release.send(()).expect("the backend waits");
    let got = browser.receive();
    assert_eq!((got.text().as_str(), got.header("connection")), ("done", Some("close")));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), over).await }).expect("in time");
}

#[test]
fn changing_tables_under_load_on_several_workers_fails_no_request() {
    const CLIENTS: usize = 6;
    const REQUESTS: usize = 150;
    let backends = [Backend::named("a"), Backend::named("b"), Backend::named("c")];
    let targets: Vec<_> = backends.iter().enumerate().map(|(n, b)| target(&format!("i-{n}"), b.address)).collect();
    let mut cloud = Cloud::start_with(snapshot(group(targets)), 3, 1.0);
    cloud.wait_healthy();
    let addresses = [cloud.address(0), cloud.address(1)];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            std::thread::spawn(move || {
                let mut browser = Browser::connect(addresses[n % 2]);
                (0..REQUESTS).filter(|_| browser.get("/").status() != 200).count()
            })
        })
        .collect();
    let mut round = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        round += 1;
        let until = cloud.clock.now() + Duration::from_secs(300);
        let draining = round % backends.len();
        for (n, target) in cloud.group().targets.iter_mut().enumerate() {
            target.draining_until = (n == draining).then_some(until);
        }
        cloud.obey();
    }
    let failed: usize = clients.into_iter().map(|client| client.join().expect("client")).sum();
    assert_eq!(failed, 0, "after {round} tables");
    assert_eq!(cloud.metric("RequestCount"), (CLIENTS * REQUESTS) as f64);
}

#[test]
fn speed_shortens_the_control_planes_times() {
    let (_never, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let backend = Backend::start(move |_, stream| {
        let _ = gate.lock().expect("no panic").recv_timeout(Duration::from_secs(10));
        answer(stream, 200, b"")
    });
    let mut group = group(vec![target("i-a", backend.address)]);
    group.health.interval_ms = 600_000;
    group.health.unhealthy_threshold = 3;
    let mut cloud = Cloud::start_with(snapshot(group), 1, 6_000.0);
    cloud.wait_healthy();
    let mut browser = cloud.browser();
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the request arrives", || backend.seen().len() == 1);
    cloud.group().targets[0].draining_until = Some(cloud.clock.now() + Duration::from_secs(600));
    cloud.obey();
    assert_eq!(browser.receive().status(), 502, "ten minutes were over in 100 ms");
    cloud.group().targets = vec![target("i-none", nowhere())];
    cloud.obey();
    wait_for("three probes ten minutes apart fail", || {
        matches!(cloud.health("i-none"), standfast_core::lb::Health::Unhealthy { .. })
    });
    drop(_never);
}
