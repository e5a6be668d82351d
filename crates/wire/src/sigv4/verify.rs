//! Whether a request was signed with a secret.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use standfast_core::{Error, Result, Timestamp};

use super::canonical::{self, Form, sha256};
use super::key::{Key, time};
use super::{Claim, claim, incomplete};
use crate::chunked::{self, Framed};
use crate::form;

/// How far a signer's clock may be off.
pub const SKEW_MAX: Duration = Duration::from_secs(5 * 60);
/// The same for s3.
pub const S3_SKEW_MAX: Duration = Duration::from_secs(15 * 60);
/// How long a presigned URL may hold: a week.
pub const EXPIRES_S_MAX: u64 = 604_800;

/// Headers that a way of sending adds after signing.
const ADDED_LATER: &[&str] = &["x-amz-user-agent", "x-amz-cf-id"];

/// Checks that the request, as it came over the wire, was signed with the secret, and `now` is in its time.
///
/// `now` is the signer's kind of time: on a cloud whose clock runs faster than the world's, the world's.
/// A body in signed chunks is checked chunk by chunk; call this before `chunked::plain_body` takes the framing away.
pub fn verify(req: &Request<Bytes>, secret: &str, now: Timestamp) -> Result<()> {
    let claim = claim(req)?.ok_or_else(|| {
        Error::client("MissingAuthenticationToken", "Request is missing Authentication Token").with_status(403)
    })?;
    let signed_at = signed_at(req, &claim)?;
    check_time(req, &claim, signed_at, now)?;
    check_covered(req, &claim)?;
    let payload = Payload::of(req, &claim)?;
    let canonical = canonical::request(
        req,
        &Form { signed_headers: &claim.signed_headers, payload: &payload.text(req), is_s3: claim.credential.is_s3() },
    );
    let key = Key::new(secret, &claim.credential, signed_at);
    if !key.request(&canonical).is(&claim.signature) {
        return Err(mismatch());
    }
    payload.check(req, &key, &claim.signature)
}

// ---- time ----

/// When the request says that it was signed.
fn signed_at(req: &Request<Bytes>, claim: &Claim) -> Result<Timestamp> {
    let header = |name: &str| req.headers().get(name).and_then(|value| value.to_str().ok());
    let query = req.uri().query().unwrap_or("");
    let stamp = match claim.credential.presigned {
        true => form::value(query, "X-Amz-Date"),
        false => header("x-amz-date").map(Into::into),
    };
    let time = match stamp {
        Some(stamp) => time(&stamp),
        None if claim.credential.presigned => None,
        None => header("date").and_then(|date| time(date).or_else(|| date.parse().ok())),
    };
    let time = time.ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format'."))?;
    if super::key::stamp(time)[..8] != claim.credential.date {
        let message = "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.";
        return Err(Error::client("SignatureDoesNotMatch", message).with_status(403));
    }
    Ok(time)
}

fn check_time(req: &Request<Bytes>, claim: &Claim, signed_at: Timestamp, now: Timestamp) -> Result<()> {
    let is_s3 = claim.credential.is_s3();
    let skew = if is_s3 { S3_SKEW_MAX } else { SKEW_MAX };
    let expires = if claim.credential.presigned { expires(req, is_s3)? } else { None };
    let valid_for = expires.unwrap_or(skew);
    if now.since(signed_at) > valid_for {
        return Err(match (is_s3, expires) {
            (true, Some(_)) => Error::client("AccessDenied", "Request has expired").with_status(403),
            (false, Some(_)) => Error::client(
                "SignatureDoesNotMatch",
                format!("Signature expired: {} is now earlier than {}", signed_at, now - valid_for),
            )
            .with_status(403),
            (_, None) => skewed(is_s3, signed_at, now),
        });
    }
    if signed_at.since(now) > skew {
        return Err(skewed(is_s3, signed_at, now));
    }
    Ok(())
}

/// How long a presigned URL holds. s3 must be told; others fall back to what holds for headers.
fn expires(req: &Request<Bytes>, is_s3: bool) -> Result<Option<Duration>> {
    let code = if is_s3 { "AuthorizationQueryParametersError" } else { "IncompleteSignature" };
    let Some(text) = form::value(req.uri().query().unwrap_or(""), "X-Amz-Expires") else {
        let message = "Query-string authentication version 4 requires the X-Amz-Expires parameter.";
        return if is_s3 { Err(Error::client(code, message).with_status(400)) } else { Ok(None) };
    };
    match text.parse::<u64>() {
        Ok(seconds @ 1..=EXPIRES_S_MAX) => Ok(Some(Duration::from_secs(seconds))),
        Ok(_) => {
            let message = format!("X-Amz-Expires must be between 1 and {EXPIRES_S_MAX} seconds.");
            Err(Error::client(code, message).with_status(400))
        }
        Err(_) => Err(Error::client(code, "X-Amz-Expires should be a number").with_status(400)),
    }
}

fn skewed(is_s3: bool, signed_at: Timestamp, now: Timestamp) -> Error {
    if is_s3 {
        let message = "The difference between the request time and the current time is too large.";
        return Error::client("RequestTimeTooSkewed", message).with_status(403);
    }
    let message = format!("Request has expired. It was signed at {signed_at}, and the time is {now}.");
    Error::client("RequestExpired", message).with_status(400)
}

// ---- headers ----

/// Checks that the signature covers the host and every header that means something to a service.
fn check_covered(req: &Request<Bytes>, claim: &Claim) -> Result<()> {
    let is_signed = |name: &str| claim.signed_headers.iter().any(|signed| signed == name);
    if !is_signed("host") {
        return Err(incomplete("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    let names = req.headers().keys().map(|name| name.as_str());
    let mut open = names.filter(|name| name.starts_with("x-amz-") && !ADDED_LATER.contains(name) && !is_signed(name));
    match open.next() {
        None => Ok(()),
        Some(name) => {
            let message = format!("There were headers present in the request which were not signed: {name}");
            Err(Error::client("AccessDenied", message).with_status(403))
        }
    }
}

// ---- body ----

/// How the body is bound to the signature.
enum Payload {
    /// By its hash, which the client has said (or would have).
    Hash(Option<String>),
    Unsigned,
    /// Chunks without signatures, checksums after them.
    UnsignedChunks,
    /// Each chunk has a signature.
    SignedChunks {
        has_trailer: bool,
    },
}

impl Payload {
    fn of(req: &Request<Bytes>, claim: &Claim) -> Result<Self> {
        let in_header =
            req.headers().get("x-amz-content-sha256").map(|value| String::from_utf8_lossy(value.as_bytes()));
        let in_query = || form::value(req.uri().query().unwrap_or(""), "X-Amz-Content-Sha256");
        let said = in_header.or_else(|| if claim.credential.presigned { in_query() } else { None });
        Ok(match said.as_deref() {
            None if claim.credential.presigned && claim.credential.is_s3() => Self::Unsigned,
            None => Self::Hash(None),
            Some("UNSIGNED-PAYLOAD") => Self::Unsigned,
            Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER") => Self::UnsignedChunks,
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD") => Self::SignedChunks { has_trailer: false },
            Some("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") => Self::SignedChunks { has_trailer: true },
            Some(hash) if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
                Self::Hash(Some(hash.to_owned()))
            }
            Some(_) => {
                let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.";
                return Err(Error::client("InvalidArgument", message).with_status(400));
            }
        })
    }

    /// The last line of the canonical request.
    fn text(&self, req: &Request<Bytes>) -> String {
        match self {
            Self::Hash(Some(hash)) => hash.clone(),
            Self::Hash(None) => sha256(req.body()),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Self::UnsignedChunks => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            Self::SignedChunks { has_trailer: false } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Self::SignedChunks { has_trailer: true } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
        }
    }

    /// Checks the body against what the accepted head of the request says about it.
    fn check(&self, req: &Request<Bytes>, key: &Key, seed: &str) -> Result<()> {
        match self {
            Self::Hash(Some(hash)) if !hash.eq_ignore_ascii_case(&sha256(req.body())) => {
                let message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
                Err(Error::client("XAmzContentSHA256Mismatch", message).with_status(400))
            }
            Self::Hash(_) | Self::Unsigned | Self::UnsignedChunks => Ok(()),
            Self::SignedChunks { has_trailer } => check_chunks(&chunked::frames(req.body())?, key, seed, *has_trailer),
        }
    }
}

/// Checks the chain of signatures: each one covers its chunk and the signature before it.
fn check_chunks(framed: &Framed<'_>, key: &Key, seed: &str, has_trailer: bool) -> Result<()> {
    let mut previous = seed;
    for chunk in &framed.chunks {
        let signature = chunk.signature.ok_or_else(mismatch)?;
        if !key.chunk(previous, chunk.data).is(signature) {
            return Err(mismatch());
        }
        previous = signature;
    }
    if !has_trailer {
        let is_bare = framed.trailers.is_empty() && framed.trailer_signature.is_none();
        return if is_bare { Ok(()) } else { Err(mismatch()) };
    }
    let lines: String = framed.trailers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    match framed.trailer_signature {
        Some(signature) if key.trailer(previous, lines.as_bytes()).is(signature) => Ok(()),
        _ => Err(mismatch()),
    }
}

fn mismatch() -> Error {
    let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.";
    Error::client("SignatureDoesNotMatch", message).with_status(403)
}
