//! The codecs, by bytes. `schemas` holds hand-made services; the tables say what stands on the wire.

mod answers;
mod cbor;
mod errors;
mod hostile;
mod mutation;
mod requests;
mod rest;
mod round_trip;
mod schemas;
mod validation;

use bytes::Bytes;
use http::{Request, Response};
use standfast_core::Error;
use standfast_wire::codec::{decode_request, decode_response, encode_request, encode_response};
use standfast_wire::{Struct, StructSchema};

use self::schemas::Case;

const REQUEST_ID: &str = "7f1c2f0e-req";

/// A structure from JSON that names members as the model does.
fn value(schema: &'static StructSchema, json: serde_json::Value) -> Struct {
    Struct::from_json(&json, schema).expect("the test's own value fits its schema")
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("the test's own request is valid")
}

fn response(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).expect("the test's own response is valid")
}

fn text(body: &Bytes) -> &str {
    std::str::from_utf8(body).expect("the body is text")
}

/// The request reads as this input, and this input is written as this request's body.
#[track_caller]
fn same_request((protocol, service, op): Case, input: serde_json::Value, body: &str) {
    let input = value(op.input, input);
    let written = encode_request(protocol, service, op, &input);
    assert_eq!(text(written.body()), body);
    assert_eq!(decode_request(protocol, service, op, &written).expect("it is valid"), input);
}

/// The body reads as this input; clients may write it so, though we do not.
#[track_caller]
fn reads((protocol, service, op): Case, body: impl Into<Bytes>, input: serde_json::Value) {
    let read = decode_request(protocol, service, op, &request("POST", "/", &[], body)).expect("it is valid");
    assert_eq!(read, value(op.input, input));
}

/// The body is refused.
#[track_caller]
fn refuses((protocol, service, op): Case, body: impl Into<Bytes>) -> Error {
    let error = decode_request(protocol, service, op, &request("POST", "/", &[], body)).expect_err("it is not valid");
    assert_eq!(error.fault, standfast_core::Fault::Client, "{error}");
    error
}

/// The output is written as this body, which reads as the output again.
#[track_caller]
fn same_answer((protocol, service, op): Case, output: serde_json::Value, body: &str) -> Response<Bytes> {
    let output = value(op.output, output);
    let written = encode_response(protocol, service, op, output.clone(), REQUEST_ID);
    assert_eq!(text(written.body()), body);
    assert_eq!(decode_response(protocol, service, op, &written).expect("it is a success"), output);
    written
}
