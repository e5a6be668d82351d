//! What every target does: any bytes are read or refused, and what was read can be written.

#[allow(dead_code)]
#[path = "../../tests/it/codec/schemas.rs"]
mod schemas;

use bytes::Bytes;
use http::{Request, Response, Uri};
use standfast_wire::codec::{decode_request, decode_response, encode_request, encode_response};
use standfast_wire::{OperationSchema, Protocol};

/// The bytes are a path and query string, a line feed, and a body.
pub fn read(protocol: Protocol, data: &[u8]) {
    let line = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let uri = Uri::try_from(&data[..line]).unwrap_or_default();
    let body = Bytes::copy_from_slice(data.get(line + 1..).unwrap_or_default());
    let rest = matches!(protocol, Protocol::RestJson | Protocol::RestXml);
    let ops: &[&'static OperationSchema] =
        if rest { &[&schemas::PUT_RICH, &schemas::PUT_BOUND, &schemas::PUT_LEAF] } else { &[&schemas::PUT_RICH] };
    for op in ops {
        both(schemas::with(protocol, op), uri.clone(), body.clone());
    }
}

fn both((protocol, service, op): schemas::Case, uri: Uri, body: Bytes) {
    let mut request = Request::new(body.clone());
    *request.uri_mut() = uri;
    if let Ok(input) = decode_request(protocol, service, op, &request) {
        let written = encode_request(protocol, service, op, &input);
        decode_request(protocol, service, op, &written).expect("what was written reads");
    }
    let mut response = Response::new(body);
    for status in [http::StatusCode::OK, http::StatusCode::BAD_REQUEST] {
        *response.status_mut() = status;
        if let Ok(output) = decode_response(protocol, service, op, &response) {
            let written = encode_response(protocol, service, op, output, "id");
            decode_response(protocol, service, op, &written).expect("what was written reads");
        }
    }
}
