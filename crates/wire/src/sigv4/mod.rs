//! Signature Version 4: who says they sent a request, whether they did, and signing requests of our own.
//!
//! Invariant: a signature is accepted only when it covers the method, the path, the query, the host, every `x-amz-*`
//! header and, unless the client said otherwise under that same signature, the body. Signatures are compared in
//! constant time. Not here: looking up secrets, and whether a request without a signature may pass.

mod canonical;
mod key;
mod sign;
mod verify;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use standfast_core::{Error, Result};

use crate::form;

pub use sign::{Credentials, presign, sign};
pub use verify::{EXPIRES_S_MAX, S3_SKEW_MAX, SKEW_MAX, verify};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// What ends every credential scope.
const TERMINATOR: &str = "aws4_request";

/// What a request says about who signed it. Nothing of it is proven until `verify` has accepted the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    pub access_key: String,
    /// The day of the scope, `YYYYMMDD`.
    pub date: String,
    pub region: String,
    /// The service's signing name.
    pub service: String,
    /// Whether it stands in the query string.
    pub presigned: bool,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl Credential {
    /// The scope that signatures are made for.
    fn scope(&self) -> String {
        format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service)
    }

    /// Whether S3's rules hold: its error codes, and paths that are signed as they stand.
    pub(crate) fn is_s3(&self) -> bool {
        matches!(self.service.as_str(), "s3" | "s3express" | "s3-outposts" | "s3-object-lambda")
    }
}

/// A signature with all that it claims.
#[derive(Debug)]
struct Claim {
    pub credential: Credential,
    /// The names of the headers that it covers.
    pub signed_headers: Vec<String>,
    /// Lower-case hexadecimal digits.
    pub signature: String,
}

/// Who signed the request; `Ok(None)` when nobody says so, and an error when what stands there cannot be read. A
/// request with an unreadable signature is not an anonymous one: answer it with the error.
pub fn read_credential<B>(req: &http::Request<B>) -> Result<Option<Credential>> {
    Ok(claim(req)?.map(|claim| claim.credential))
}

/// Who signed the request; `None` when nobody did or when what stands there cannot be read.
pub fn credential<B>(req: &http::Request<B>) -> Option<Credential> {
    claim(req).ok().flatten().map(|claim| claim.credential)
}

/// The request's signature; `Ok(None)` when it carries none, an error when it is malformed or said twice.
fn claim<B>(req: &http::Request<B>) -> Result<Option<Claim>> {
    let query = req.uri().query().unwrap_or("");
    let in_header = req.headers().contains_key(AUTHORIZATION);
    let in_query = form::value(query, "X-Amz-Signature").is_some() || form::value(query, "X-Amz-Credential").is_some();
    match (in_header, in_query) {
        (false, false) => Ok(None),
        (true, true) => Err(Error::client(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
        )),
        (true, false) => header_claim(req.headers()).map(Some),
        (false, true) => query_claim(query).map(Some),
    }
}

/// Reads `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
fn header_claim(headers: &HeaderMap) -> Result<Claim> {
    let text = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| incomplete("The Authorization header is not text."))?;
    let (algorithm, rest) = text.trim().split_once(' ').unwrap_or((text, ""));
    if algorithm != ALGORITHM {
        return Err(unsupported(algorithm));
    }
    let field = |name: &str| {
        let mut fields = rest.split(',').filter_map(|field| field.trim().split_once('='));
        let found = fields.find(|(key, _)| *key == name).map(|(_, value)| value);
        found.ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
    };
    let token = headers.get("x-amz-security-token").and_then(|value| value.to_str().ok()).map(str::to_owned);
    Ok(Claim {
        credential: scope(field("Credential")?, false, token)?,
        signed_headers: header_names(field("SignedHeaders")?),
        signature: field("Signature")?.to_owned(),
    })
}

/// Reads the `X-Amz-*` parameters of a presigned URL.
fn query_claim(query: &str) -> Result<Claim> {
    let field = |name: &str| {
        let value = form::value(query, name);
        value.ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
    };
    let algorithm = field("X-Amz-Algorithm")?;
    if algorithm != ALGORITHM {
        return Err(unsupported(&algorithm));
    }
    let token = form::value(query, "X-Amz-Security-Token").map(|token| token.into_owned());
    Ok(Claim {
        credential: scope(&field("X-Amz-Credential")?, true, token)?,
        signed_headers: header_names(&field("X-Amz-SignedHeaders")?),
        signature: field("X-Amz-Signature")?.into_owned(),
    })
}

/// Reads `KEY/YYYYMMDD/REGION/SERVICE/aws4_request`, from the right: a key may hold slashes.
fn scope(text: &str, presigned: bool, session_token: Option<String>) -> Result<Credential> {
    let mut parts = text.rsplitn(5, '/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let (end, service, region, date, key) = (next(), next(), next(), next(), next());
    let malformed = || {
        incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements ending in '{TERMINATOR}', got '{text}'."
        ))
    };
    if end != Some(TERMINATOR) {
        return Err(malformed());
    }
    let date = date.filter(|date| date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit()));
    match (key, date, region, service) {
        (Some(key), Some(date), Some(region), Some(service)) => Ok(Credential {
            access_key: key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            presigned,
            session_token,
        }),
        _ => Err(malformed()),
    }
}

fn header_names(text: &str) -> Vec<String> {
    text.split(';').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty()).collect()
}

fn incomplete(message: impl Into<String>) -> Error {
    Error::client("IncompleteSignature", message)
}

fn unsupported(algorithm: &str) -> Error {
    let message = format!("Unsupported AWS 'algorithm': '{algorithm}'. Please use {ALGORITHM}.");
    Error::client("IncompleteSignature", message)
}
