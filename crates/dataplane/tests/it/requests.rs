//! What a request meets on its way: rules, headers, connections.

use standfast_core::lb::{Action, Condition, LbDriver, Rule, TargetGroup};

use crate::support::*;

#[test]
fn connections_to_targets_are_used_again() {
    let backend = Backend::named("a");
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    for _ in 0..20 {
        assert_eq!(browser.get("/").text(), "a");
    }
    assert_eq!(cloud.get("/").text(), "a");
    assert_eq!(backend.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(backend.seen().len(), 21);
}

#[test]
fn targets_take_turns_and_learn_of_the_client() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let cloud = Cloud::serving(vec![target("i-a", backends[0].address), target("i-b", backends[1].address)]);
    let mut browser = cloud.browser();
    let answers: Vec<String> = (0..4).map(|_| browser.get("/x?y=z").text()).collect();
    assert_eq!(answers[0], answers[2]);
    assert_ne!(answers[0], answers[1]);
    let got = &backends[0].seen()[0];
    assert_eq!(got.line, "GET /x?y=z HTTP/1.1");
    assert_eq!(got.header("host"), Some("shop.example"));
    assert_eq!(got.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(got.header("x-forwarded-proto"), Some("http"));
    let trace = got.header("x-amzn-trace-id").expect("a trace id");
    assert!(trace.starts_with("Root=1-") && trace.len() == "Root=1-".len() + 8 + 1 + 24, "{trace}");
}

#[test]
fn rules_decide_by_path_and_answer_by_themselves() {
    let backend = Backend::named("app");
    let mut cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let fixed = Action::FixedResponse { status: 418, content_type: "text/plain".into(), body: "teapot".into() };
    let redirect = Action::Redirect {
        status: 301,
        protocol: "HTTPS".into(),
        host: "#{host}".into(),
        port: "443".into(),
        path: "/new/#{path}".into(),
        query: "#{query}".into(),
    };
    let rule = |pattern: &str, action| Rule {
        arn: pattern.into(),
        conditions: vec![Condition::Path(vec![pattern.into()])],
        action,
    };
    cloud.balancer().listeners[0].rules = vec![rule("/tea*", fixed), rule("/old/*", redirect), forward()];
    cloud.obey();
    let mut browser = cloud.browser();
    let tea = browser.get("/teapot");
    assert_eq!((tea.status(), tea.text().as_str()), (418, "teapot"));
    let moved = browser.get("/old/page?q=1");
    assert_eq!(moved.header("location"), Some("https://shop.example:443/new/old/page?q=1"));
    assert_eq!(browser.get("/other").text(), "app");
    assert_eq!(backend.seen().len(), 1);
    assert_eq!(cloud.metric("HTTP_Fixed_Response_Count"), 1.0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::start(|got, stream| answer(stream, 200, got.path().as_bytes()));
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    let requests: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    browser.send(&requests);
    for n in 0..50 {
        assert_eq!(browser.receive().text(), format!("/{n}"));
    }
}

#[test]
fn malformed_requests_get_an_error_and_are_counted() {
    let backend = Backend::named("a");
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ];
    for (text, status) in cases {
        let mut browser = cloud.browser();
        browser.send(text);
        let got = browser.receive();
        assert_eq!((got.status(), got.header("server")), (status, Some("awselb/2.0")), "{text}");
        assert!(browser.is_closed(), "{text}");
    }
    assert!(backend.seen().is_empty());
    assert_eq!(cloud.metric("HTTPCode_ELB_4XX_Count"), 4.0);
}

#[test]
fn old_clients_and_close_are_respected() {
    let backend =
        Backend::start(|got, stream| answer(stream, 200, got.header("connection").unwrap_or("none").as_bytes()));
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    for request in ["GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"] {
        let mut browser = cloud.browser();
        browser.send(request);
        let got = browser.receive();
        assert_eq!((got.text().as_str(), got.header("connection")), ("none", Some("close")));
        assert!(browser.is_closed());
    }
    let mut browser = cloud.browser();
    for _ in 0..2 {
        browser.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(browser.receive().header("connection"), Some("keep-alive"));
    }
}

#[test]
fn a_sticky_client_stays_with_its_target() {
    let backends = [Backend::named("a"), Backend::named("b")];
    let mut group = group(vec![target("i-a", backends[0].address), target("i-b", backends[1].address)]);
    group.stickiness_s = Some(60);
    let cloud = Cloud::start(snapshot(group));
    cloud.wait_healthy();
    let mut browser = cloud.browser();
    let first = browser.get("/");
    let cookie = first.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    assert!(cookie.starts_with("AWSALB="), "{cookie}");
    for _ in 0..5 {
        browser.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; {cookie}\r\n\r\n"));
        assert_eq!(browser.receive().text(), first.text());
    }
}

#[test]
fn a_client_stays_with_the_group_of_a_forward_action_that_it_got() {
    let backends = [Backend::named("blue"), Backend::named("green")];
    let mut snapshot = snapshot(group(vec![target("i-blue", backends[0].address)]));
    let green = TargetGroup { arn: "green".into(), ..group(vec![target("i-green", backends[1].address)]) };
    snapshot.target_groups.insert("green".into(), green);
    let forward = |weights: [u32; 2]| Action::Forward {
        groups: vec![(TG.into(), weights[0]), ("green".into(), weights[1])],
        stickiness_s: Some(60),
    };
    snapshot.load_balancers[0].listeners[0].rules[0].action = forward([50, 50]);
    let mut cloud = Cloud::start(snapshot);
    cloud.wait_healthy();
    let first = cloud.get("/");
    let cookie = first.header("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    assert!(cookie.starts_with("AWSALBTG="), "{cookie}");
    let again = |cloud: &Cloud| {
        let mut browser = cloud.browser();
        browser.send(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n"));
        browser.receive().text()
    };
    for _ in 0..8 {
        assert_eq!(again(&cloud), first.text());
    }
    // A group that gets nothing any more keeps nobody.
    let blue = first.text() == "blue";
    cloud.balancer().listeners[0].rules[0].action = forward(if blue { [0, 1] } else { [1, 0] });
    cloud.obey();
    wait_for("the client goes to the other group", || again(&cloud) != first.text());
}

#[test]
fn upgraded_connections_become_tunnels() {
    let backend = Backend::start(|_, stream| {
        use std::io::{Read, Write};
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello";
        stream.write_all(head).expect("head");
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..count]).expect("echo");
        }
        After::Close
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    browser.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    let head = read_head(&mut browser.reader).expect("an answer");
    assert_eq!((head.status(), head.header("upgrade")), (101, Some("echo")));
    let mut buffer = [0; 9];
    browser.send("ping");
    std::io::Read::read_exact(&mut browser.reader, &mut buffer).expect("greeting and echo");
    assert_eq!(&buffer, b"helloping");
    browser.stream.shutdown(std::net::Shutdown::Write).expect("half close");
    assert!(browser.is_closed());
}

#[test]
fn requests_are_counted_by_class_and_time() {
    let backend = Backend::start(|got, stream| answer(stream, if got.path() == "/no" { 404 } else { 200 }, b""));
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    browser.get("/");
    browser.get("/no");
    let data = cloud.plane.take_metrics();
    let count = |name: &str| data.iter().find(|datum| datum.name == name).map(|datum| datum.stats.count);
    assert_eq!(count("RequestCount"), Some(2.0));
    assert_eq!(count("HTTPCode_Target_2XX_Count"), Some(1.0));
    assert_eq!(count("HTTPCode_Target_4XX_Count"), Some(1.0));
    assert_eq!(count("TargetResponseTime"), Some(2.0));
    assert_eq!(count("HealthyHostCount"), Some(1.0));
}
