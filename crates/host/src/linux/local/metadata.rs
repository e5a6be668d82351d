//! The instance metadata service, versions 1 and 2: which answer an instance gets. No sockets here.
//!
//! A path is a version, or `latest`, and a path in the instance's tree (`Metadata::tree`); every version shows the same.
//! A directory lists its entries, those that are directories with a slash, as EC2 does. Where entries are to be listed
//! otherwise than they are named, which on EC2 is so in `public-keys/` only (`0=NAME` for the directory `0/`), the
//! control plane puts the listing in the tree as a leaf named `=`: `meta-data/public-keys/=`.
//!
//! `user-data` is the specification's, byte for byte, and not the tree's, whose leaves are text.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use percent_encoding::percent_decode_str;
use standfast_core::host::{InstanceSpec, Metadata};
use standfast_core::id::{Id, Instance};
use standfast_core::{Clock, Timestamp};
use tokio::sync::watch;

use super::http::text;
use super::tokens::Tokens;
use super::view::View;

/// The longest and the shortest time that a token may be valid.
const TOKEN_TTL_SECONDS: std::ops::RangeInclusive<u64> = 1..=21_600;

const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const FORWARDED: &str = "x-forwarded-for";

/// The leaf that is a directory's listing, where it is not what its entries imply.
const LISTING: &str = "=";

const USER_DATA: &str = "user-data";

/// The versions that EC2 lists.
const VERSIONS: [&str; 27] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "latest",
];

/// The service of a VPC.
#[derive(Clone)]
pub struct Service {
    pub view: watch::Receiver<Arc<View>>,
    pub tokens: Arc<Tokens>,
    pub clock: Clock,
}

pub struct Answer {
    pub response: Response<Full<Bytes>>,
    /// The time to live of the packets of an answer that carries a token.
    pub hop_limit: Option<u8>,
}

impl Service {
    pub fn answer<B>(&self, client: Ipv4Addr, request: &Request<B>) -> Answer {
        let view = self.view.borrow().clone();
        let mut answer = match view.caller(client) {
            Some((id, spec)) => answer(&self.tokens, self.clock.now(), id, spec, request),
            None => Answer::from(error(StatusCode::NOT_FOUND)),
        };
        answer.response.headers_mut().insert(header::SERVER, HeaderValue::from_static("EC2ws"));
        answer
    }
}

impl From<Response<Full<Bytes>>> for Answer {
    fn from(response: Response<Full<Bytes>>) -> Self {
        Self { response, hop_limit: None }
    }
}

fn answer<B>(tokens: &Tokens, now: Timestamp, id: &Id<Instance>, spec: &InstanceSpec, request: &Request<B>) -> Answer {
    if !spec.metadata.enabled {
        return error(StatusCode::FORBIDDEN).into();
    }
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    // Clients join paths with one slash too many; EC2 does not mind.
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match *request.method() {
        Method::PUT if path == ["latest", "api", "token"] => issue(tokens, now, id, &spec.metadata, request),
        Method::GET | Method::HEAD => {
            let remaining = match request.headers().get(TOKEN) {
                Some(token) => {
                    let token = token.to_str().unwrap_or_default();
                    let Some(remaining) = tokens.remaining(id, token, now) else {
                        return error(StatusCode::UNAUTHORIZED).into();
                    };
                    Some(remaining)
                }
                None if spec.metadata.tokens_required => return error(StatusCode::UNAUTHORIZED).into(),
                None => None,
            };
            let mut response = read(spec, &path);
            if let Some(remaining) = remaining {
                response.headers_mut().insert(TOKEN_TTL, remaining.as_secs().into());
            }
            response.into()
        }
        _ => error(StatusCode::METHOD_NOT_ALLOWED).into(),
    }
}

fn issue<B>(tokens: &Tokens, now: Timestamp, id: &Id<Instance>, metadata: &Metadata, request: &Request<B>) -> Answer {
    // A proxy that passes on anybody's requests must not be given tokens.
    if request.headers().contains_key(FORWARDED) {
        return error(StatusCode::FORBIDDEN).into();
    }
    let ttl = request.headers().get(TOKEN_TTL).and_then(|ttl| ttl.to_str().ok()?.trim().parse::<u64>().ok());
    let Some(ttl) = ttl.filter(|ttl| TOKEN_TTL_SECONDS.contains(ttl)) else {
        return error(StatusCode::BAD_REQUEST).into();
    };
    let mut response = text(StatusCode::OK, tokens.issue(id, now, Duration::from_secs(ttl)));
    response.headers_mut().insert(TOKEN_TTL, ttl.into());
    Answer { response, hop_limit: Some(metadata.hop_limit.max(1)) }
}

fn read(spec: &InstanceSpec, path: &[&str]) -> Response<Full<Bytes>> {
    let Some((version, path)) = path.split_first() else {
        return text(StatusCode::OK, VERSIONS.join("\n"));
    };
    if !VERSIONS.contains(version) {
        return error(StatusCode::NOT_FOUND);
    }
    if path == [USER_DATA] {
        if spec.user_data.is_empty() {
            return error(StatusCode::NOT_FOUND);
        }
        let mut response = text(StatusCode::OK, spec.user_data.clone());
        let octets = HeaderValue::from_static("application/octet-stream");
        response.headers_mut().insert(header::CONTENT_TYPE, octets);
        return response;
    }
    let path = path.join("/");
    let found = match path.is_empty() {
        true => Some(versions_listing(spec)),
        false => spec.metadata.tree.get(&path).cloned().or_else(|| listing(&spec.metadata.tree, &path)),
    };
    found.map_or_else(|| error(StatusCode::NOT_FOUND), |found| text(StatusCode::OK, found))
}

/// What a version has. Here, and only here, EC2 lists directories without a slash.
fn versions_listing(spec: &InstanceSpec) -> String {
    let tree = spec.metadata.tree.keys().filter_map(|path| path.split('/').next());
    let mut names: Vec<&str> = tree.filter(|name| *name != USER_DATA).collect();
    if !spec.user_data.is_empty() {
        names.push(USER_DATA);
    }
    names.dedup();
    names.join("\n")
}

/// The entries of a directory; `None` when there is no such directory.
fn listing(tree: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let prefix = format!("{path}/");
    if let Some(listing) = tree.get(&format!("{prefix}{LISTING}")) {
        return Some(listing.clone());
    }
    let below = tree.range(prefix.clone()..).map_while(|(path, _)| path.strip_prefix(&prefix));
    let mut names: Vec<&str> = below.map(|rest| rest.split_inclusive('/').next().unwrap_or_default()).collect();
    names.dedup();
    (!names.is_empty()).then(|| names.join("\n"))
}

/// An error in the form that EC2 gives it.
fn error(status: StatusCode) -> Response<Full<Bytes>> {
    let title = format!("{} - {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let mut response = text(
        status,
        format!(
            "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n\
             <!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n\
             \t\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n\
             <html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n \
             <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n </body>\n</html>\n"
        ),
    );
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

#[cfg(test)]
mod tests;
