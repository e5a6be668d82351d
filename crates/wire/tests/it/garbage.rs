//! What comes from the network may be anything: nothing here may panic, and what is refused is refused as a client's
//! mistake.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use standfast_core::{Fault, Rng, Timestamp};
use standfast_wire::chunked::plain_body;
use standfast_wire::route::{path_style, route};
use standfast_wire::sigv4::{credential, verify};

use crate::route::services;

const SEED: u64 = 20_261_120;
const ROUNDS: usize = 20_000;

/// Pieces that the parsers look for.
const PIECES: &[&str] = &[
    "/",
    "?",
    "&",
    "=",
    "%",
    "%2F",
    "%zz",
    "+",
    ";",
    ",",
    ":",
    ".",
    "..",
    "\r\n",
    "0",
    "5",
    "ffffffffffffffff",
    "hello",
    "Action",
    "Version",
    "AddTags",
    "2015-12-01",
    "acl",
    "uploadId",
    "list-type=2",
    "bucket",
    "v2",
    "apis",
    "é",
    "X-Amz-Credential=",
    "X-Amz-Signature=",
    "X-Amz-Algorithm=",
    "X-Amz-Date=",
    "X-Amz-Expires=",
    "X-Amz-SignedHeaders=",
    "AWS4-HMAC-SHA256",
    " Credential=",
    "AKID/20261120/eu-west-1/s3/aws4_request",
    "SignedHeaders=host",
    "Signature=00",
    "20261120T000000Z",
    "20261399T999999Z",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "aws-chunked",
    "gzip",
    "AAAAAA==",
    "chunk-signature=",
    "x-amz-checksum-crc32:",
    "x-amz-trailer-signature:",
    "service",
    "operation",
    "rpc-v2-cbor",
    "application/x-www-form-urlencoded",
    "application/x-amz-json-1.0",
    "\u{1f}\u{8b}",
    "s3",
    "localhost",
    "\0",
    "\u{fffd}",
];

const HEADERS: &[&str] = &[
    "authorization",
    "host",
    "x-amz-date",
    "date",
    "x-amz-target",
    "content-type",
    "content-encoding",
    "x-amz-trailer",
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
    "x-amz-checksum-crc32",
    "smithy-protocol",
    "x-amz-copy-source",
];

fn soup(rng: &Rng, pieces: usize) -> String {
    (0..rng.below(pieces + 1)).map(|_| PIECES[rng.below(PIECES.len())]).collect()
}

fn request(rng: &Rng) -> Request<Bytes> {
    let mut req = Request::new(Bytes::from(soup(rng, 12)));
    *req.method_mut() = [Method::GET, Method::POST, Method::PUT, Method::DELETE][rng.below(4)].clone();
    let target = format!("/{}", soup(rng, 10));
    *req.uri_mut() = target.parse().unwrap_or_else(|_| Uri::from_static("/"));
    for _ in 0..rng.below(6) {
        let name = HeaderName::from_static(HEADERS[rng.below(HEADERS.len())]);
        if let Ok(value) = HeaderValue::from_bytes(soup(rng, 6).as_bytes()) {
            req.headers_mut().append(name, value);
        }
    }
    req
}

#[test]
fn garbage_is_a_clients_mistake_and_never_a_panic() {
    let rng = Rng::seeded(SEED);
    let now: Timestamp = "2026-11-20T00:00:00Z".parse().expect("a time");
    for round in 0..ROUNDS {
        let req = request(&rng);
        let context = || format!("seed {SEED}, round {round}: {req:?}");
        let _ = credential(&req);
        let mut errors = vec![verify(&req, "secret", now).expect_err("garbage is not signed")];
        errors.extend(route(services(), &req).err().map(|misrouted| misrouted.error));
        errors.extend(plain_body(path_style(req.clone(), &["localhost"])).err());
        for error in errors {
            assert_eq!(error.fault, Fault::Client, "{}: {error}", context());
            assert!(error.status.is_none_or(|status| (400..500).contains(&status)), "{}: {error}", context());
        }
    }
}
