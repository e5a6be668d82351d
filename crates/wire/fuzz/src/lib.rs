//! What the fuzz targets share: reading a request from a fuzzer's bytes.
//!
//! The form is HTTP/1's without its rules, so that a fuzzer's small changes stay small: a line `METHOD target`, lines
//! `name: value`, an empty line, the body.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};

/// The request that the bytes stand for; `None` when their first line is none.
pub fn request(data: &[u8]) -> Option<Request<Bytes>> {
    let (mut line, mut rest) = split(data);
    let at = line.iter().position(|byte| *byte == b' ')?;
    let mut req = Request::new(Bytes::new());
    *req.method_mut() = Method::from_bytes(&line[..at]).ok()?;
    *req.uri_mut() = Uri::try_from(&line[at + 1..]).ok()?;
    loop {
        (line, rest) = split(rest);
        if line.is_empty() {
            break;
        }
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(line[at + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            req.headers_mut().try_append(name, value).ok()?;
        }
    }
    *req.body_mut() = Bytes::copy_from_slice(rest);
    Some(req)
}

/// The bytes before the first line feed, and those after it.
fn split(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}
