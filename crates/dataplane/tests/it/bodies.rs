//! Bodies in both directions, of any size and framing.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::support::*;

const SIZE: usize = 1 << 20;

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 7 + n / 251) as u8).collect()
}

fn echo() -> Backend {
    Backend::start(|got, stream| answer(stream, 200, &got.body))
}

#[test]
fn large_bodies_pass_both_ways_and_the_connection_stays() {
    let backend = echo();
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    let body = pattern(SIZE);
    for _ in 0..3 {
        let mut writer = browser.stream.try_clone().expect("clone");
        let sent = body.clone();
        let sender = std::thread::spawn(move || {
            let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n");
            writer.write_all(&[head.as_bytes(), &sent].concat()).expect("send");
        });
        let got = browser.receive();
        sender.join().expect("sender");
        assert!(got.status() == 200 && got.body == body, "{} bytes came back", got.body.len());
    }
    assert_eq!(backend.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn chunks_pass_both_ways() {
    let backend = Backend::start(|got, stream| {
        let mut text = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for chunk in got.body.chunks(1000) {
            text.extend_from_slice(format!("{:x};note=1\r\n", chunk.len()).as_bytes());
            text.extend_from_slice(chunk);
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&text).expect("answer");
        After::Keep
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    let body = pattern(300_000);
    for _ in 0..2 {
        let mut writer = browser.stream.try_clone().expect("clone");
        let sent = body.clone();
        let sender = std::thread::spawn(move || {
            writer.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").expect("head");
            for chunk in sent.chunks(7_777) {
                writer.write_all(format!("{:X}\r\n", chunk.len()).as_bytes()).expect("size");
                writer.write_all(chunk).expect("chunk");
                writer.write_all(b"\r\n").expect("end");
            }
            writer.write_all(b"0\r\n\r\n").expect("last");
        });
        let got = browser.receive();
        sender.join().expect("sender");
        assert_eq!(got.header("transfer-encoding"), Some("chunked"));
        assert!(got.body == body, "{} bytes came back", got.body.len());
    }
    // A client that does not know chunks gets the bytes alone, until the end.
    let mut old = cloud.browser();
    old.send("PUT / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    let got = old.receive();
    assert_eq!((got.text().as_str(), got.header("transfer-encoding")), ("hello", None));
}

#[test]
fn an_answer_without_length_ends_with_its_connection() {
    let backend = Backend::start(|_, stream| {
        stream
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n")
            .and_then(|()| stream.write_all(&pattern(200_000)))
            .expect("answer");
        After::Close
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let got = cloud.get("/");
    assert!(got.header("connection") == Some("close") && got.body == pattern(200_000));
}

#[test]
fn heads_and_statuses_without_body_have_none() {
    let backend = Backend::start(|got, stream| {
        let status = if got.path() == "/304" { "304 Not Modified" } else { "200 OK" };
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 1000\r\n\r\n").as_bytes()).expect("answer");
        After::Keep
    });
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    for request in ["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "GET /304 HTTP/1.1\r\nHost: a\r\n\r\n"] {
        for _ in 0..2 {
            browser.send(request);
            let head = read_head(&mut browser.reader).expect("an answer");
            assert_eq!(head.header("content-length"), Some("1000"));
        }
    }
}

#[test]
fn whoever_expects_100_continue_gets_it() {
    let backend = echo();
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    browser.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(read_head(&mut browser.reader).expect("interim").status(), 100);
    browser.send("body");
    assert_eq!(browser.receive().text(), "body");
    assert_eq!(backend.seen()[0].header("expect"), None);
}

#[test]
fn a_slow_reader_gets_everything() {
    let backend = Backend::start(|_, stream| answer(stream, 200, &pattern(8 << 20)));
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let mut browser = cloud.browser();
    browser.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = read_head(&mut browser.reader).expect("an answer");
    assert_eq!(head.status(), 200);
    // Meanwhile others are served: the worker waits for nobody.
    assert_eq!(cloud.get("/other").body.len(), 8 << 20);
    let mut body = vec![0; 8 << 20];
    browser.reader.read_exact(&mut body).expect("the rest");
    assert!(body == pattern(8 << 20));
}

#[test]
fn an_answer_before_the_end_of_the_request_is_delivered() {
    let backend = Backend::start(|_, _| After::Close);
    let cloud = Cloud::serving(vec![target("i-a", backend.address)]);
    let early = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = early.local_addr().expect("address");
    let mut cloud = cloud;
    cloud.group().targets = vec![target("i-early", address)];
    cloud.group().health.enabled = false;
    cloud.obey();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = early.accept().expect("accept");
        let mut some = [0; 64];
        let _ = stream.read(&mut some);
        answer(&mut stream, 413, b"too much");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut browser = cloud.browser();
    browser.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin");
    let got = browser.receive();
    assert_eq!((got.status(), got.header("connection")), (413, Some("close")));
    drop(browser);
    server.join().expect("server");
}
