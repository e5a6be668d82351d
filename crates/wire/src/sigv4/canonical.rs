//! The canonical form of a request: the bytes that both sides hash.
//!
//! Invariant: two requests that a service could tell apart by what a signature covers have different canonical forms.
//! What is equal to a service is equal here: folded header values, encodings of one character, `?acl` and `?acl=`.

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderName, Request};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

use crate::form;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a canonical request is made of, besides the request.
pub(super) struct Form<'a> {
    /// The names of the signed headers, in their order.
    pub signed_headers: &'a [String],
    /// The last line: the body's hash or what stands for it.
    pub payload: &'a str,
    /// Whether the path is encoded once and left as it is (s3).
    pub is_s3: bool,
}

/// The canonical request.
pub(super) fn request(req: &Request<Bytes>, form: &Form<'_>) -> Vec<u8> {
    let path = if form.is_s3 { plain_path(req.uri().path()) } else { normal_path(req.uri().path()) };
    let query = query(req.uri().query().unwrap_or(""));
    let mut out = format!("{}\n{path}\n{query}\n", req.method()).into_bytes();
    for name in form.signed_headers {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        header(req, name, &mut out);
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(form.signed_headers.join(";").as_bytes());
    out.push(b'\n');
    out.extend_from_slice(form.payload.as_bytes());
    out
}

/// The SHA-256 of some bytes, as lower-case hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Percent-encodes all but unreserved characters.
pub(super) fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, RESERVED).to_string()
}

/// The path with each segment encoded exactly once, nothing else changed. An encoded slash stays in its segment.
fn plain_path(path: &str) -> String {
    let once = |segment: &str| encode(&percent_decode_str(segment).collect::<Vec<u8>>());
    let segments: Vec<String> = path.split('/').map(once).collect();
    absolute(segments.join("/"))
}

/// The path without empty and dot segments, encoded once more than on the wire.
fn normal_path(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let encoded: Vec<String> = kept.iter().map(|segment| encode(segment.as_bytes())).collect();
    let end = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", encoded.join("/"))
}

fn absolute(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// The parameters, each encoded exactly once, sorted; without the signature itself.
fn query(query: &str) -> String {
    let once = |text: &str| encode(&percent_decode_str(&text.replace('+', "%20")).collect::<Vec<u8>>());
    let pairs = form::raw_pairs(query).map(|(name, value)| (once(name), once(value)));
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| name != "X-Amz-Signature").collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Writes a header's values, joined by commas, each trimmed and with runs of spaces folded.
fn header(req: &Request<Bytes>, name: &str, out: &mut Vec<u8>) {
    let mut is_first = true;
    for value in req.headers().get_all(name) {
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        fold(value.as_bytes(), out);
    }
    // HTTP/2 has no Host header: the authority stands in the request's URI.
    if is_first && HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| name == HOST) {
        out.extend_from_slice(req.uri().authority().map_or("", |authority| authority.as_str()).as_bytes());
    }
}

fn fold(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (i, word) in words.enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}
