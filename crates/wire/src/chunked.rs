//! Bodies as clients wrap them: `aws-chunked` framing with checksums behind it, and gzip.
//!
//! ```text
//! 5;chunk-signature=…\r\n hello\r\n
//! 0;chunk-signature=…\r\n
//! x-amz-checksum-crc32:NhCmhg==\r\n
//! x-amz-trailer-signature:…\r\n
//! \r\n
//! ```
//!
//! Invariant: what comes out is no longer than what went in, except gzip, which has a limit; a body that is cut short,
//! goes on too long or does not have the checksum that its sender says is refused. Not here: chunk signatures, which
//! `sigv4::verify` checks on the framed body.

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use sha2::{Digest, Sha256};
use standfast_core::{Error, Result};

use crate::{form, sigv4};

/// The longest body that gzip may unfold to.
pub const GZIP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest line of the framing: a size and a signature, or a trailer.
pub const LINE_BYTES_MAX: usize = 1024;
/// The most trailers after a body.
pub const TRAILERS_MAX: usize = 16;

/// The only trailers that become headers: any other would let a body, perhaps unsigned, change what is asked.
const TRAILER_PREFIX: &str = "x-amz-checksum-";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// What may stand around a trailer's value without being a part of it.
const BLANK: [char; 2] = [' ', '\t'];

/// A framed body, taken apart.
#[derive(Debug)]
pub(crate) struct Framed<'a> {
    /// With the empty one at the end.
    pub chunks: Vec<Chunk<'a>>,
    pub trailers: Vec<(&'a str, &'a str)>,
    pub trailer_signature: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) struct Chunk<'a> {
    pub data: &'a [u8],
    pub signature: Option<&'a str>,
}

/// The request with the body that its sender meant: without `aws-chunked` framing (trailing checksums become headers),
/// checksums verified, and gzip undone where it is a matter of transport.
pub fn plain_body(req: Request<Bytes>) -> Result<Request<Bytes>> {
    let req = if is_framed(req.headers()) { unframe(req)? } else { req };
    check_checksums(&req)?;
    if is_compressed_transport(&req) { gunzip(req) } else { Ok(req) }
}

// ---- aws-chunked ----

fn is_framed(headers: &HeaderMap) -> bool {
    let hash = headers.get("x-amz-content-sha256").map_or(&b""[..], |value| value.as_bytes());
    hash.starts_with(b"STREAMING-") || encodings(headers).any(|encoding| encoding == "aws-chunked")
}

fn unframe(req: Request<Bytes>) -> Result<Request<Bytes>> {
    let (mut head, body) = req.into_parts();
    let framed = frames(&body)?;
    let plain: Vec<u8> = framed.chunks.iter().flat_map(|chunk| chunk.data).copied().collect();
    let said = head.headers.get("x-amz-decoded-content-length").map(|value| value.to_str().unwrap_or(""));
    if said.is_some_and(|said| said.parse() != Ok(plain.len())) {
        return Err(incomplete("You did not provide the number of bytes specified by the Content-Length HTTP header."));
    }
    for (name, value) in &framed.trailers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok().filter(|n| n.as_str().starts_with(TRAILER_PREFIX));
        let (Some(name), Ok(value)) = (name, HeaderValue::from_str(value)) else {
            return Err(malformed_trailer());
        };
        head.headers.insert(name, value);
    }
    check_promised_trailers(&head.headers, &framed)?;
    let left: Vec<String> = encodings(&head.headers).filter(|encoding| encoding != "aws-chunked").collect();
    head.headers.remove(CONTENT_ENCODING);
    if !left.is_empty() {
        let left = HeaderValue::from_str(&left.join(",")).map_err(|_| incomplete("Content-Encoding is not text."))?;
        head.headers.insert(CONTENT_ENCODING, left);
    }
    Ok(with_body(head, plain))
}

/// Checks that each trailer that the head promises has come.
fn check_promised_trailers(headers: &HeaderMap, framed: &Framed<'_>) -> Result<()> {
    let promised = headers.get("x-amz-trailer").and_then(|value| value.to_str().ok()).unwrap_or("");
    let mut promised = promised.split(',').map(str::trim).filter(|name| !name.is_empty());
    let came = |name: &str| framed.trailers.iter().any(|(trailer, _)| trailer.eq_ignore_ascii_case(name));
    if promised.all(came) { Ok(()) } else { Err(malformed_trailer()) }
}

/// Takes a framed body apart.
pub(crate) fn frames(body: &[u8]) -> Result<Framed<'_>> {
    let mut rest = body;
    let mut framed = Framed { chunks: Vec::new(), trailers: Vec::new(), trailer_signature: None };
    loop {
        let line = line(&mut rest)?.ok_or_else(cut_short)?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let size = size_of(size).ok_or_else(|| incomplete("A chunk does not begin with its size."))?;
        let signature = extension.strip_prefix("chunk-signature=");
        let (data, after) = rest.split_at_checked(size).ok_or_else(cut_short)?;
        framed.chunks.push(Chunk { data, signature });
        rest = after;
        if size == 0 {
            break;
        }
        rest = rest.strip_prefix(b"\r\n").ok_or_else(|| incomplete("A chunk is not as long as it says."))?;
    }
    while let Some(line) = line(&mut rest)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(malformed_trailer)?;
        let (name, value) = (name.trim_matches(BLANK), value.trim_matches(BLANK));
        if name == TRAILER_SIGNATURE {
            framed.trailer_signature = Some(value);
        } else if framed.trailers.len() == TRAILERS_MAX || framed.trailer_signature.is_some() {
            return Err(malformed_trailer());
        } else {
            framed.trailers.push((name, value));
        }
    }
    if rest.is_empty() { Ok(framed) } else { Err(incomplete("The body goes on after its last chunk.")) }
}

/// Takes the next line; `None` at the end of the body.
fn line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a str>> {
    if rest.is_empty() {
        return Ok(None);
    }
    let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
    let end = window.windows(2).position(|pair| pair == b"\r\n").ok_or_else(cut_short)?;
    let line = std::str::from_utf8(&rest[..end]).map_err(|_| incomplete("The framing of the body is not text."))?;
    *rest = &rest[end + 2..];
    Ok(Some(line))
}

/// A chunk's size: hexadecimal digits and nothing else.
fn size_of(text: &str) -> Option<usize> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { usize::from_str_radix(text, 16).ok() } else { None }
}

// ---- checksums ----

/// Verifies the checksums that can be computed here (CRC32, SHA-256); others go on to the service.
fn check_checksums(req: &Request<Bytes>) -> Result<()> {
    // CompleteMultipartUpload says the checksum of the whole object, not of its own body.
    if form::value(req.uri().query().unwrap_or(""), "uploadId").is_some() && req.method() == http::Method::POST {
        return Ok(());
    }
    check(req, "x-amz-checksum-crc32", "CRC32", |body| crc32fast::hash(body).to_be_bytes().to_vec())?;
    check(req, "x-amz-checksum-sha256", "SHA256", |body| Sha256::digest(body).to_vec())
}

fn check(req: &Request<Bytes>, header: &str, what: &str, compute: fn(&[u8]) -> Vec<u8>) -> Result<()> {
    let Some(said) = req.headers().get(header) else { return Ok(()) };
    let computed = compute(req.body());
    let Some(said) = BASE64_STANDARD.decode(said.as_bytes()).ok().filter(|said| said.len() == computed.len()) else {
        return Err(Error::client("InvalidRequest", format!("Value for {header} header is invalid.")).with_status(400));
    };
    if said == computed {
        return Ok(());
    }
    let message = format!("The {what} you specified did not match the calculated checksum.");
    Err(Error::client("BadDigest", message).with_status(400))
}

// ---- gzip ----

/// Whether gzip only wraps the request, as SDKs do with large metric data. To s3 it belongs to the object.
fn is_compressed_transport(req: &Request<Bytes>) -> bool {
    let content_type = req.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    let is_call = essence.starts_with("application/x-amz-json-")
        || matches!(essence, "application/x-www-form-urlencoded" | "application/cbor");
    let is_gzip = encodings(req.headers()).eq(["gzip"]);
    is_call && is_gzip && sigv4::credential(req).is_none_or(|credential| !credential.is_s3())
}

fn gunzip(req: Request<Bytes>) -> Result<Request<Bytes>> {
    let (mut head, body) = req.into_parts();
    let mut plain = Vec::new();
    let limit = GZIP_BYTES_MAX as u64 + 1;
    let read = MultiGzDecoder::new(&body[..]).take(limit).read_to_end(&mut plain);
    if read.is_err() {
        return Err(
            Error::client("InvalidRequest", "The body is not what Content-Encoding says: gzip.").with_status(400)
        );
    }
    if plain.len() > GZIP_BYTES_MAX {
        let message = format!("The body unfolds to more than {GZIP_BYTES_MAX} bytes.");
        return Err(Error::client("RequestEntityTooLarge", message).with_status(413));
    }
    head.headers.remove(CONTENT_ENCODING);
    Ok(with_body(head, plain))
}

// ---- both ----

/// The content encodings, in the order in which they were applied.
fn encodings(headers: &HeaderMap) -> impl Iterator<Item = String> {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let encodings = values.flat_map(|value| value.split(',')).map(|encoding| encoding.trim().to_ascii_lowercase());
    encodings.filter(|encoding| !encoding.is_empty())
}

fn with_body(mut head: http::request::Parts, body: Vec<u8>) -> Request<Bytes> {
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    Request::from_parts(head, body.into())
}

fn cut_short() -> Error {
    incomplete("The request body terminated unexpectedly.")
}

fn incomplete(message: &str) -> Error {
    Error::client("IncompleteBody", message).with_status(400)
}

fn malformed_trailer() -> Error {
    let message =
        "The request contained trailing data that was not well-formed or did not conform to our published schema.";
    Error::client("MalformedTrailerError", message).with_status(400)
}
