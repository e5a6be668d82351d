//! Who may ask for what: the checks before a page is made, and the headers that keep it to itself.
//!
//! The machine's own user is trusted; other sites in that user's browser are not, and instances are not.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use standfast_core::Rng;
use standfast_core::place::DEFAULT_REGION;

use crate::is_region;

/// The form field that holds the token.
pub const TOKEN: &str = "token";
/// The cookie that keeps the region between pages.
const REGION_COOKIE: &str = "standfast-region";
/// A form of the console is a few dozen bytes.
const FORM_BYTES_MAX: usize = 16 * 1024;

/// Where the browser may get things from: here only, and no script or style inside pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What another site cannot know, as it cannot read our pages.
pub struct Token(String);

impl Token {
    pub fn new(rng: &Rng) -> Self {
        Self(rng.uuid())
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Why a request gets no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Instance,
    Host,
    Method,
    CrossSite,
    Token,
}

impl Refused {
    pub fn into_response(self) -> Response<Bytes> {
        let (status, text) = match self {
            Refused::Instance => (StatusCode::FORBIDDEN, "This is not for instances.\n"),
            Refused::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "The console answers to localhost, 127.0.0.1 and [::1] only: another name may be another site's.\n",
            ),
            Refused::Method => (StatusCode::METHOD_NOT_ALLOWED, "Pages are for GET, and actions for POST.\n"),
            Refused::CrossSite => (StatusCode::FORBIDDEN, "This request comes from another site.\n"),
            Refused::Token => (
                StatusCode::FORBIDDEN,
                "The form has no token of this cloud. It was started anew, most likely: reload the page.\n",
            ),
        };
        let mut response = Response::new(Bytes::from_static(text.as_bytes()));
        *response.status_mut() = status;
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        response
    }
}

/// Whether the request may be looked at.
pub fn check(request: &Request<Bytes>, from_instance: bool, token: &Token) -> Result<(), Refused> {
    let headers = request.headers();
    if from_instance {
        return Err(Refused::Instance);
    }
    let host = text(headers, &header::HOST);
    if !is_this_machine(host) {
        return Err(Refused::Host);
    }
    match *request.method() {
        Method::GET | Method::HEAD => return Ok(()),
        Method::POST => (),
        _ => return Err(Refused::Method),
    }
    if !same_origin(headers, host) {
        return Err(Refused::CrossSite);
    }
    let given = form(request.body()).remove(TOKEN).unwrap_or_default();
    if given != token.text() { Err(Refused::Token) } else { Ok(()) }
}

/// A name that no site on the internet has, so that a page of one cannot be read through DNS that changes.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix("[::1]") {
        Some("") => return true,
        Some(port) => return port.starts_with(':'),
        None => host.split(':').next().unwrap_or_default(),
    };
    matches!(name, "localhost" | "127.0.0.1")
}

/// Browsers say where a form comes from; whoever says nothing at all is refused.
fn same_origin(headers: &HeaderMap, host: &str) -> bool {
    let site = text(headers, &HeaderName::from_static("sec-fetch-site"));
    let origin = text(headers, &header::ORIGIN);
    let site_is_own = site.is_empty() || site == "same-origin";
    let origin_is_own = origin.is_empty() || origin.strip_prefix("http://") == Some(host);
    site_is_own && origin_is_own && !(site.is_empty() && origin.is_empty())
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What a browser has asked for.
pub struct Asked {
    /// The parts of the path after the root, decoded.
    pub parts: Vec<String>,
    pub query: BTreeMap<String, String>,
    pub form: BTreeMap<String, String>,
    pub region: String,
}

impl Asked {
    pub fn read(request: &Request<Bytes>, path: &str) -> Self {
        let parts = path.split('/').map(decoded).collect();
        let query = fields(request.uri().query().unwrap_or_default());
        let form = form(request.body());
        let chosen = form.get("region").or_else(|| query.get("region")).cloned();
        let kept = text(request.headers(), &header::COOKIE)
            .split("; ")
            .find_map(|pair| pair.strip_prefix(REGION_COOKIE)?.strip_prefix('=').map(str::to_owned));
        let region = chosen.or(kept).filter(|region| is_region(region)).unwrap_or_else(|| DEFAULT_REGION.into());
        Self { parts, query, form, region }
    }

    /// A field of the query; empty when it is not there.
    pub fn query(&self, name: &str) -> &str {
        self.query.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Remembers the region for the next page.
    pub fn cookie(&self) -> HeaderValue {
        let cookie = format!("{REGION_COOKIE}={}; Path=/_standfast; HttpOnly; SameSite=Strict", self.region);
        HeaderValue::from_str(&cookie).expect("a region's name is plain")
    }
}

fn form(body: &Bytes) -> BTreeMap<String, String> {
    if body.len() > FORM_BYTES_MAX { BTreeMap::new() } else { fields(&String::from_utf8_lossy(body)) }
}

fn fields(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    text.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub fn see_other(to: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let to = HeaderValue::from_str(to).expect("our own paths are ASCII");
    response.headers_mut().insert(header::LOCATION, to);
    response
}

/// What every answer says about itself.
pub fn with_headers(mut response: Response<Bytes>) -> Response<Bytes> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token("secret".into())
    }

    fn post(headers: &[(&str, &str)], body: &'static str) -> Result<(), Refused> {
        let mut request = Request::post("/_standfast/act/break-zone");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(Bytes::from_static(body.as_bytes())).expect("valid"), false, &token())
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for good in ["localhost", "localhost:4566", "127.0.0.1:80", "[::1]", "[::1]:4566"] {
            assert!(is_this_machine(good), "{good}");
        }
        for bad in
            ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1]evil", "10.0.0.1:4566"]
        {
            assert!(!is_this_machine(bad), "{bad}");
        }
    }

    #[test]
    fn posts_of_other_sites_are_refused() {
        let host = ("host", "localhost:4566");
        let own = ("origin", "http://localhost:4566");
        let body = "token=secret&zone=eu-west-1a";
        assert_eq!(post(&[host, own], body), Ok(()));
        assert_eq!(post(&[host, ("sec-fetch-site", "same-origin")], body), Ok(()));
        assert_eq!(post(&[host], body), Err(Refused::CrossSite), "nothing is said");
        for origin in ["http://evil.example", "null", "http://localhost:4567", "https://localhost:4566"] {
            assert_eq!(post(&[host, ("origin", origin)], body), Err(Refused::CrossSite), "{origin}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(post(&[host, own, ("sec-fetch-site", site)], body), Err(Refused::CrossSite), "{site}");
        }
        assert_eq!(post(&[host, own], "zone=eu-west-1a"), Err(Refused::Token));
        assert_eq!(post(&[host, own], "token=guess"), Err(Refused::Token));
        assert_eq!(post(&[("host", "evil.example"), ("origin", "http://evil.example")], body), Err(Refused::Host));
    }

    #[test]
    fn instances_are_refused() {
        let request = Request::get("/_standfast/").header("host", "localhost").body(Bytes::new()).expect("valid");
        assert_eq!(check(&request, true, &token()), Err(Refused::Instance));
        assert_eq!(check(&request, false, &token()), Ok(()));
    }

    #[test]
    fn the_region_is_chosen_by_query_then_cookie() {
        let asked = |uri: &str, cookie: &str| {
            let request = Request::get(uri).header("cookie", cookie).body(Bytes::new()).expect("valid");
            Asked::read(&request, "groups/a%2Fb").region
        };
        assert_eq!(asked("/?region=us-east-1", "standfast-region=eu-west-2"), "us-east-1");
        assert_eq!(asked("/", "other=1; standfast-region=eu-west-2"), "eu-west-2");
        assert_eq!(asked("/?region=mars-1", ""), DEFAULT_REGION);
    }
}
