//! Signing requests of our own, in headers or as presigned URLs.

use std::fmt;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Request, Uri};
use standfast_core::{Error, Result, Timestamp};

use super::canonical::{self, Form, encode, sha256};
use super::key::{Key, stamp};
use super::{ALGORITHM, Credential};

/// What requests are signed with.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    /// Shows the key and hides what is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Signs the request with an Authorization header; adds Host (from an absolute URI), the date, the token and, for s3,
/// the body's hash. A hash that the request already says (`UNSIGNED-PAYLOAD`) is kept. Signing again replaces the
/// earlier signature.
pub fn sign(
    req: &mut Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now: Timestamp,
) -> Result<()> {
    req.headers_mut().remove(AUTHORIZATION);
    let credential = credential(credentials, region, service, now, false);
    add_host(req)?;
    set(req, "x-amz-date", &stamp(now))?;
    if let Some(token) = &credential.session_token {
        set(req, "x-amz-security-token", token)?;
    }
    let said = req.headers().get("x-amz-content-sha256").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let payload = said.map_or_else(|| sha256(req.body()), |said| said.into_owned());
    if credential.is_s3() {
        set(req, "x-amz-content-sha256", &payload)?;
    }
    let mut names: Vec<String> = req.headers().keys().map(|name| name.as_str().to_owned()).collect();
    names.retain(|name| name.starts_with("x-amz-") || matches!(name.as_str(), "host" | "content-type" | "content-md5"));
    names.sort();
    let form = Form { signed_headers: &names, payload: &payload, is_s3: credential.is_s3() };
    let canonical = canonical::request(req, &form);
    let signature = Key::new(&credentials.secret_key, &credential, now).request(&canonical).text();
    let value = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        credential.access_key,
        credential.scope(),
        names.join(";")
    );
    set(req, AUTHORIZATION.as_str(), &value)
}

/// Signs the request's URL for `expires_s` seconds. The signature covers the method, the URL and the Host header;
/// the body too, unless the service is s3.
pub fn presign(
    req: &mut Request<Bytes>,
    credentials: &Credentials,
    region: &str,
    service: &str,
    now: Timestamp,
    expires_s: u32,
) -> Result<()> {
    let credential = credential(credentials, region, service, now, true);
    add_host(req)?;
    let mut query = req.uri().query().map(|query| format!("{query}&")).unwrap_or_default();
    let owner = encode(format!("{}/{}", credential.access_key, credential.scope()).as_bytes());
    query += &format!("X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={owner}&X-Amz-Date={}", stamp(now));
    query += &format!("&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host");
    if let Some(token) = &credential.session_token {
        query += &format!("&X-Amz-Security-Token={}", encode(token.as_bytes()));
    }
    set_query(req, &query)?;
    let payload = if credential.is_s3() { "UNSIGNED-PAYLOAD".to_owned() } else { sha256(req.body()) };
    let names = ["host".to_owned()];
    let form = Form { signed_headers: &names, payload: &payload, is_s3: credential.is_s3() };
    let canonical = canonical::request(req, &form);
    let signature = Key::new(&credentials.secret_key, &credential, now).request(&canonical).text();
    set_query(req, &format!("{query}&X-Amz-Signature={signature}"))
}

fn credential(credentials: &Credentials, region: &str, service: &str, now: Timestamp, presigned: bool) -> Credential {
    Credential {
        access_key: credentials.access_key.clone(),
        date: stamp(now)[..8].to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        presigned,
        session_token: credentials.session_token.clone(),
    }
}

fn add_host(req: &mut Request<Bytes>) -> Result<()> {
    if req.headers().contains_key(HOST) {
        return Ok(());
    }
    let authority = req.uri().authority().map(|authority| authority.as_str().to_owned());
    let host = authority.ok_or_else(|| Error::internal("a request to sign has neither a Host header nor a host"))?;
    set(req, HOST.as_str(), &host)
}

fn set(req: &mut Request<Bytes>, name: &'static str, value: &str) -> Result<()> {
    let value = HeaderValue::from_str(value).map_err(|_| Error::internal(format!("{name} cannot be a header")))?;
    req.headers_mut().insert(name, value);
    Ok(())
}

fn set_query(req: &mut Request<Bytes>, query: &str) -> Result<()> {
    let mut parts = req.uri().clone().into_parts();
    let path = format!("{}?{query}", req.uri().path());
    parts.path_and_query = Some(path.parse().map_err(|_| Error::internal("a signed URL is not a URL"))?);
    *req.uri_mut() = Uri::from_parts(parts).map_err(|_| Error::internal("a signed URL is not a URL"))?;
    Ok(())
}
