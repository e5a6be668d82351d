//! Valid messages with a few bytes changed: read or refused, never a panic. The seed is fixed, so a failure repeats.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use standfast_core::Rng;
use standfast_wire::codec::{decode_request, decode_response, encode_request, encode_response};
use standfast_wire::{OperationSchema, Protocol, ServiceSchema, Struct};

use super::schemas::{HOMES, PUT_BOUND, PUT_RICH, RICH, with};
use super::{REQUEST_ID, value};

const SEED: u64 = 0x5eed_2026;
/// For each codec.
const ROUNDS: usize = 10_000;

/// What the codecs look for.
const PIECES: &[&[u8]] = &[
    b"<",
    b">",
    b"</",
    b"/>",
    b"&",
    b"&amp;",
    b"&#x",
    b"<![CDATA[",
    b"]]>",
    b"<!--",
    b"<!DOCTYPE",
    b"<?",
    b"\"",
    b"'",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\u",
    b"\\",
    b"null",
    b"1e999",
    b"-",
    b".",
    b"=",
    b"%",
    b"%f",
    b"+",
    b".1.",
    b".member.",
    b".entry.",
    b"99999999999999999999",
    b"\xff",
    b"\x00",
    b"\xbf",
    b"\x9f",
    b"\x7f",
    b"\x5f",
    b"\xc1",
    b"\xf9",
    b"\xfb",
    b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\xc3\xa9",
    b"\xe2\x82",
];

fn mutate(rng: &Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len() + 1);
        let piece = PIECES[rng.below(PIECES.len())];
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, piece.iter().copied())),
            2 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let end = (at + rng.below(20)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
        }
    }
}

fn rich() -> Struct {
    value(
        &RICH,
        json!({
            "Name": "näme <&>", "Flag": true, "Count": 300, "Big": -70000, "Ratio": 0.1, "Exact": 1e-7, "Data": "AP8=",
            "When": 1795214465.5, "WhenDate": 0, "Names": ["a", "b"], "Flat": ["c"], "Numbers": [1, 2], "Lists": [["x"], []],
            "Leaves": [{"Kind": "k", "Key": "v", "Weight": 1}], "Tags": {"a": "1", "b": ""}, "LeafMap": {"l": {"Key": "k"}},
            "ListMap": {"m": ["1"]}, "FlatMap": {"f": "g"}, "Again": {"Again": {"Name": "deep"}}, "Anything": {"a": [1, null]},
        }),
    )
}

fn read_both(
    protocol: Protocol,
    service: &'static ServiceSchema,
    op: &'static OperationSchema,
    request: &Request<Bytes>,
    response: &Response<Bytes>,
) {
    if let Ok(input) = decode_request(protocol, service, op, request) {
        // What was read can be written.
        encode_request(protocol, service, op, &input);
    }
    if let Ok(output) = decode_response(protocol, service, op, response) {
        encode_response(protocol, service, op, output, REQUEST_ID);
    }
}

#[test]
fn changed_bodies_never_panic() {
    for (protocol, service) in HOMES {
        let rng = Rng::seeded(SEED);
        let request = encode_request(*protocol, service, &PUT_RICH, &rich());
        let response = encode_response(*protocol, service, &PUT_RICH, rich(), REQUEST_ID);
        for _ in 0..ROUNDS {
            let (mut asked, mut answered) = (request.body().to_vec(), response.body().to_vec());
            mutate(&rng, &mut asked);
            mutate(&rng, &mut answered);
            let status = if rng.below(4) == 0 { 400 } else { 200 };
            let mut changed = Response::new(answered.into());
            *changed.status_mut() = http::StatusCode::from_u16(status).expect("a status");
            read_both(*protocol, service, &PUT_RICH, &request.clone().map(|_| asked.into()), &changed);
        }
    }
}

#[test]
fn changed_paths_and_headers_never_panic() {
    for protocol in [Protocol::RestJson, Protocol::RestXml] {
        let (protocol, service, op) = with(protocol, &PUT_BOUND);
        let input = value(
            op.input,
            json!({
                "Bucket": "b", "Version": 1, "Key": "a/b", "Max": 1, "Since": 0, "Ids": ["x", "y"], "Others": {"o": ["1"]},
                "Token": "t", "Modified": 0, "Wait": true, "Parts": ["a", "b, c"], "Dates": [0, 1], "Meta": {"k": "v"},
            }),
        );
        let original = encode_request(protocol, service, op, &input);
        let rng = Rng::seeded(SEED);
        for _ in 0..ROUNDS {
            let mut request = original.clone();
            let mut uri = request.uri().to_string().into_bytes();
            mutate(&rng, &mut uri);
            if let Ok(uri) = http::Uri::try_from(uri) {
                *request.uri_mut() = uri;
            }
            for value in request.headers_mut().values_mut() {
                let mut bytes = value.as_bytes().to_vec();
                mutate(&rng, &mut bytes);
                if let Ok(changed) = http::HeaderValue::from_bytes(&bytes) {
                    *value = changed;
                }
            }
            let _ = decode_request(protocol, service, op, &request);
        }
    }
}
