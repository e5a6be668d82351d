//! The console: pages for people at `/_standfast/`.
//!
//! Owns: HTML, its style sheet and its one script, and the rates of the last minutes, which it samples.
//!
//! Invariants: a page is a client. It calls operations as everyone does and reads no tables, so it shows nothing and does
//! nothing that the API does not. Everything it shows is escaped (maud does, unless told otherwise, and only charts are).
//! A GET changes nothing; what changes the world is a POST from a page of its own, with a token, after a page that says
//! what will be hit. Pages work without the script, which only brings the parts that live up to date.
//!
//! It is not for other programs: they have the API.

mod acts;
mod blast;
mod estate;
mod guard;
mod harm;
mod html;
mod metrics;
mod pages;
mod probes;
mod rates;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value as Json;
use standfast_core::place::Region;
use standfast_kernel::{Cloud, Cx};

pub use self::acts::{KILL, MARK, POWER, POWER_ZONE};
pub use self::blast::Blast;
use self::guard::{Asked, Token};
use self::rates::Rates;

/// Where the console is.
pub const ROOT: &str = "/_standfast/";

/// What it cannot ask an operation for, as AWS has none: what was mailed, and what the event bus was told. Both are given
/// the region; events also the key after which they are wanted.
#[derive(Clone, Copy)]
pub struct Sources {
    pub mails: fn(&Cloud, &str) -> Json,
    pub events: fn(&Cloud, &str, &str) -> Json,
}

/// The pages of a cloud. Cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    cloud: Cloud,
    sources: Sources,
    rates: Rates,
    token: Token,
}

/// What a page is made from.
pub(crate) struct Page<'a> {
    pub cx: Cx,
    pub asked: &'a Asked,
    pub sources: Sources,
    pub rates: &'a Rates,
    pub token: &'a Token,
}

impl Console {
    /// Starts to watch the traffic of this cloud.
    pub fn start(cloud: &Cloud, sources: Sources) -> Self {
        let rates = Rates::default();
        rates.watch(cloud);
        let token = Token::new(cloud.rng());
        Self(Arc::new(Inner { cloud: cloud.clone(), sources, rates, token }))
    }

    /// Whether a path is one of the console's.
    pub fn has(path: &str) -> bool {
        path == ROOT.trim_end_matches('/') || path.strip_prefix(ROOT).is_some_and(pages::has)
    }

    /// Answers a request for one of the console's paths. Instances are refused before anything else is looked at.
    pub async fn answer(&self, request: Request<Bytes>, from_instance: bool) -> Response<Bytes> {
        let answer = self.respond(request, from_instance).await;
        guard::with_headers(answer)
    }

    async fn respond(&self, request: Request<Bytes>, from_instance: bool) -> Response<Bytes> {
        if let Err(refused) = guard::check(&request, from_instance, &self.0.token) {
            return refused.into_response();
        }
        let Some(path) = request.uri().path().strip_prefix(ROOT) else {
            return guard::see_other(ROOT);
        };
        if let Some(file) = html::file(path) {
            return file;
        }
        let asked = Asked::read(&request, path);
        let cx = self.0.cloud.owner(&asked.region);
        let inner = &*self.0;
        let page = Page { cx, asked: &asked, sources: inner.sources, rates: &inner.rates, token: &inner.token };
        let answer =
            if request.method() == http::Method::POST { acts::act(&page).await } else { pages::show(&page).await };
        answer.unwrap_or_else(|error| html::failed(&page, &error))
    }
}

/// Whether a region exists.
pub(crate) fn is_region(name: &str) -> bool {
    Region::named(name).is_some()
}

/// A page as an answer.
pub(crate) fn page(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let html = http::HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, html);
    response
}
