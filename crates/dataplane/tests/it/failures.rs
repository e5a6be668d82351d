//! Targets that fail: errors, ejection, retries, draining.

use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::channel;
use std::time::Duration;

use standfast_core::lb::{Health, LbDriver};

use crate::support::*;

#[test]
fn a_killed_target_costs_no_request() {
    let mut victim = Backend::named("victim");
    let other = Backend::named("other");
    let mut group = group(vec![target("i-victim", victim.address), target("i-other", other.address)]);
    group.health.interval_ms = 600_000; // Only requests can find out.
    let cloud = Cloud::start(snapshot(group));
    cloud.wait_healthy();
    let mut browser = cloud.browser();
    (0..4).for_each(|_| assert_eq!(browser.get("/").status(), 200));
    let changed = cloud.plane.changed();
    victim.kill();
    for _ in 0..20 {
        let got = browser.get("/");
        assert_eq!((got.status(), got.text().as_str()), (200, "other"));
    }
    let unhealthy =
        Health::Unhealthy { reason: "Target.FailedHealthChecks", description: "Health checks failed".into() };
    assert_eq!(cloud.health("i-victim"), unhealthy);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), changed).await }).expect("told");
    assert_eq!(cloud.metric("TargetConnectionErrorCount"), 1.0);
}

#[test]
fn probes_bring_targets_in_and_out_of_service() {
    let status = Arc::new(std::sync::atomic::AtomicU16::new(200));
    let shared = status.clone();
    let backend = Backend::start(move |_, stream| answer(stream, shared.load(SeqCst), b""));
    let mut group = group(vec![target("i-a", backend.address)]);
    group.health.path = "/probe".into();
    let cloud = Cloud::start(snapshot(group));
    cloud.wait_healthy();
    status.store(503, SeqCst);
    wait_for("the probes notice", || {
        let description = "Health checks failed with these codes: [503]".into();
        cloud.health("i-a") == Health::Unhealthy { reason: "Target.ResponseCodeMismatch", description }
    });
    assert_eq!(cloud.get("/").status(), 503, "all unhealthy: fail open");
    status.store(200, SeqCst);
    cloud.wait_healthy();
    let probe = &backend.seen()[0];
    assert_eq!(probe.header("user-agent"), Some("ELB-HealthChecker/2.0"));
}

#[test]
fn errors_are_the_services() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let garbage = Backend::start(|_, stream| {
        let _ = stream.write_all(b"what?\r\n\r\n");
        After::Close
    });
    let hangs_up = Backend::start(|_, _| After::Close);
    let mut cloud = Cloud::start(snapshot(group(vec![])));
    cloud.balancer().idle_timeout_s = 1;
    cloud.group().health.enabled = false;
    let silent_address = silent.local_addr().expect("address");
    let cases = [
        (vec![], 503),
        (vec![target("i-none", nowhere())], 502),
        (vec![target("i-garbage", garbage.address)], 502),
        (vec![target("i-hangs-up", hangs_up.address)], 502),
        (vec![target("i-silent", silent_address)], 504),
    ];
    for (targets, status) in cases {
        let name = format!("{targets:?}");
        cloud.group().targets = targets;
        cloud.obey();
        let mut browser = cloud.browser();
        let got = browser.get("/");
        assert_eq!((got.status(), got.header("server")), (status, Some("awselb/2.0")), "{name}");
        assert!(got.text().contains(&format!("<head><title>{status} ")), "{}", got.text());
    }
    let data = cloud.plane.take_metrics();
    let sum = |name: &str| data.iter().find(|d| d.name == name && d.dimensions.len() == 1).map_or(0.0, |d| d.stats.sum);
    assert_eq!(sum("HTTPCode_ELB_5XX_Count"), 5.0);
    assert_eq!(["502", "503", "504"].map(|code| sum(&format!("HTTPCode_ELB_{code}_Count"))), [3.0, 1.0, 1.0]);
}

#[test]
fn half_an_answer_is_not_passed_off_as_a_whole_one() {
    let backend = Backend::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        After::Close
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(read_message(&mut browser.reader).is_none());
}

#[test]
fn a_stale_connection_is_replaced_unless_the_request_could_do_harm_twice() {
    let backend = Backend::start(|got, stream| {
        answer(stream, 200, b"");
        if got.path() == "/last" { After::Close } else { After::Keep }
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    for _ in 0..50 {
        browser.get("/last"); // The target closes after it; the next request may find the closed connection.
        assert_eq!(browser.get("/").status(), 200);
    }
    // A target that closes without an answer: once for the reused connection, once for a new one, then 502.
    let closes =
        Backend::start(|got, stream| if got.path() == "/crash" { After::Close } else { answer(stream, 200, b"") });
    let cloud = Cloud::serving(vec![target("i-b", closes.address)]);
    let mut browser = cloud.browser();
    browser.get("/");
    assert_eq!(browser.get("/crash").status(), 502);
    let crashes = |method: &str| {
        let line = format!("{method} /crash HTTP/1.1");
        closes.seen().iter().filter(|got| got.line == line).count()
    };
    assert_eq!(crashes("GET"), 2);
    browser.get("/");
    browser.send("POST /crash HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(browser.receive().status(), 502);
    assert_eq!(crashes("POST"), 1, "a POST is sent once");
    assert_eq!(cloud.health("i-b"), Health::Healthy, "it listens: no ejection");
}

#[test]
fn a_deregistered_target_finishes_what_it_has_and_gets_no_more() {
    let (release, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let slow = Backend::start(move |got, stream| {
        if got.path() == "/slow" {
            let _ = gate.lock().expect("no panic").recv();
        }
        answer(stream, 200, b"slow")
    });
    let other = Backend::named("other");
    let mut cloud = Cloud::serving(vec![target("i-slow", slow.address)]);
    let mut browser = cloud.browser();
    browser.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the request arrives", || slow.seen().len() == 1);
    let until = cloud.clock.now() + Duration::from_secs(300);
    cloud.group().targets[0].draining_until = Some(until);
    cloud.group().targets.push(target("i-other", other.address));
    cloud.obey();
    assert_eq!(cloud.health("i-slow"), Health::Draining { in_flight: 1 });
    (0..4).for_each(|_| assert_eq!(cloud.get("/").text(), "other"));
    release.send(()).expect("the backend waits");
    assert_eq!(browser.receive().text(), "slow");
    wait_for("nothing is in flight", || cloud.health("i-slow") == Health::Draining { in_flight: 0 });
}

#[test]
fn only_draining_targets_are_no_targets_and_their_time_ends() {
    let (_never, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let slow = Backend::start(move |_, stream| {
        let _ = gate.lock().expect("no panic").recv_timeout(Duration::from_secs(10));
        answer(stream, 200, b"")
    });
    let mut cloud = Cloud::serving(vec![target("i-slow", slow.address)]);
    let mut browser = cloud.browser();
    browser.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for("the request arrives", || slow.seen().len() == 1);
    cloud.group().targets[0].draining_until = Some(cloud.clock.now() + Duration::from_millis(100));
    cloud.obey();
    assert_eq!(cloud.get("/").status(), 503);
    assert_eq!(browser.receive().status(), 502, "cut off when the time was over");
    assert_eq!(cloud.health("i-slow"), Health::Draining { in_flight: 0 });
    drop(_never);
}
