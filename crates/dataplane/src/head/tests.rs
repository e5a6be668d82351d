//! Heads of requests and answers, as clients and targets see them.

use std::net::Ipv4Addr;

use super::*;

fn rejected(text: &str) -> Option<u16> {
    request(text.as_bytes(), &mut slots()).err().map(|Rejected(status)| status)
}

fn forwarded(text: &str, xff: XffMode) -> String {
    let mut slots = slots();
    let head = request(text.as_bytes(), &mut slots).expect("accepted").expect("complete");
    let forward = Forward {
        client: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)),
        port: 80,
        scheme: "http",
        xff,
        dns_name: "lb.example",
        now_s: 0x5f00_0001,
        chance: (0xabc, 0x1_2345_6789),
    };
    let mut out = Vec::new();
    write_request(&mut out, &head, &forward);
    String::from_utf8(out).expect("text")
}

#[test]
fn ambiguous_or_malformed_requests_are_refused() {
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", Some(400)),
        ("GET / HTTP/1.0\r\n\r\n", None),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Some(400)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Some(400)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", Some(400)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n", None),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", Some(400)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Some(400)),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Some(501)),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Some(400)),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", Some(405)),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Some(400)),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Some(400)),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Some(505)),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Some(400)),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", Some(400)),
        ("\0\x01", Some(400)),
    ];
    for (text, expected) in cases {
        assert_eq!(rejected(text), expected, "{text}");
    }
    let long = "a".repeat(LINE_SIZE_MAX + 1);
    assert_eq!(rejected(&format!("GET /{long}")), Some(414));
    assert_eq!(rejected(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")), Some(400));
    let many = "A: b\r\n".repeat(HEADERS_MAX + 1);
    assert_eq!(rejected(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Some(400));
    let whole = "A: bbbbbbbb\r\n".repeat(HEAD_SIZE_MAX / 13 + 1);
    assert_eq!(rejected(&format!("GET / HTTP/1.1\r\n{whole}")), Some(400));
}

#[test]
fn heads_wait_until_they_are_complete() {
    let text = b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    let end = text.len() - 3;
    for cut in 0..end {
        assert!(request(&text[..cut], &mut slots()).expect("no error").is_none());
    }
    let mut slots = slots();
    let head = request(text, &mut slots).expect("accepted").expect("complete");
    assert_eq!((head.size, head.framing, head.path, head.query), (end, Framing::Length(3), "/a", "b=c"));
}

#[test]
fn a_target_sees_forwarded_headers_and_no_hop_by_hop_ones() {
    let text = "GET http://shop.example/a?b HTTP/1.1\r\nHost: other\r\nX-Forwarded-For: 1.2.3.4\r\n\
        X-Forwarded-Proto: https\r\nConnection: keep-alive, X-Private\r\nKeep-Alive: 5\r\nX-Private: 1\r\nTE: trailers\r\n\
        Upgrade: h2c\r\nExpect: 100-continue\r\nX-Kept: yes\r\n\r\n";
    let expected = "GET /a?b HTTP/1.1\r\nHost: shop.example\r\nX-Kept: yes\r\n\
        X-Forwarded-For: 1.2.3.4, 127.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n\
        X-Amzn-Trace-Id: Root=1-5f000001-0000000000000abc23456789\r\n\r\n";
    assert_eq!(forwarded(text, XffMode::Append), expected);
    assert!(forwarded(text, XffMode::Preserve).contains("\r\nX-Forwarded-For: 1.2.3.4\r\n"));
    assert!(!forwarded(text, XffMode::Remove).contains("X-Forwarded-For"));
}

#[test]
fn upgrades_trace_ids_and_framing_are_passed_on() {
    let upgrade =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Amzn-Trace-Id: Root=1-a\r\n\r\n";
    let text = forwarded(upgrade, XffMode::Remove);
    assert!(text.contains("Upgrade: websocket\r\n") && text.contains("Connection: Upgrade\r\n"), "{text}");
    assert_eq!(text.matches("X-Amzn-Trace-Id").count(), 1);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n\r\n";
    assert!(forwarded(chunked, XffMode::Remove).contains("Transfer-Encoding: chunked\r\n"));
    let empty = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
    assert!(forwarded(empty, XffMode::Remove).contains("Content-Length: 0\r\n"));
    assert!(forwarded("GET / HTTP/1.0\r\n\r\n", XffMode::Remove).contains("Host: lb.example\r\n"));
}

#[test]
fn answers_say_how_they_end() {
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Ok((Framing::Length(5), true))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, Ok((Framing::NONE, true))),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, Ok((Framing::CHUNKED, true))),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", false, Ok((Framing::UntilClose, false))),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", false, Ok((Framing::Length(1), false))),
        ("HTTP/1.1 204 No Content\r\n\r\n", false, Ok((Framing::NONE, true))),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false, Ok((Framing::NONE, true))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false, Err(BadAnswer)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false, Err(BadAnswer)),
        ("SMTP ready\r\n\r\n", false, Err(BadAnswer)),
    ];
    for (text, bodiless, expected) in cases {
        let mut slots = slots();
        let read = response(text.as_bytes(), &mut slots, bodiless).map(|head| head.expect("complete"));
        assert_eq!(read.map(|head| (head.framing, head.keep_alive)), expected, "{text}");
    }
}

#[test]
fn a_client_sees_its_own_connection_header() {
    let text = "HTTP/1.1 200 Fine\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nServer: app\r\n\r\n";
    let mut slots = slots();
    let head = response(text.as_bytes(), &mut slots, false).expect("valid").expect("complete");
    let mut back = Return { keep_alive: true, upgrade: false, dechunk: false, cookies: "Set-Cookie: a=b\r\n" };
    let mut out = Vec::new();
    write_response(&mut out, &head, &back);
    let expected = "HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nServer: app\r\nSet-Cookie: a=b\r\n\
        Connection: keep-alive\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&out), expected);
    back.dechunk = true;
    back.keep_alive = false;
    out.clear();
    write_response(&mut out, &head, &back);
    assert!(!String::from_utf8_lossy(&out).contains("Transfer-Encoding"));
    assert!(out.ends_with(b"Connection: close\r\n\r\n"));
}
