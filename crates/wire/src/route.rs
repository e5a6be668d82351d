//! From a request to the operation that it asks for.
//!
//! The service is found by, in this order: the credential scope, the host's first labels, and, for requests that say
//! neither, what every service would make of the request. The operation is then found in the way of the protocol: the
//! path (rpc-v2-cbor), the target header (JSON), `Action` and `Version` (query, ec2), method, path and constant query
//! parameters (REST).
//!
//! Invariant: total. Every request gives a route or the error that the service's own protocol would give, a 4xx; no
//! request panics. Not here: whether the signature is right, and the values of path labels, which the codecs read.

mod rest;
mod virtual_host;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::{Method, Request};
use standfast_core::{Error, place};

use crate::chunked;
use crate::form;
use crate::schema::{OperationSchema, Protocol, ServiceSchema};
use crate::sigv4;

pub use virtual_host::path_style;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Route {
    pub service: &'static ServiceSchema,
    pub operation: &'static OperationSchema,
    /// The protocol that the request is in, and its answer will be in.
    pub protocol: Protocol,
    /// The region of the credential scope, or the one in the host's name.
    pub region: Option<String>,
    /// The key that the request says it is signed with.
    pub access_key: Option<String>,
}

/// A request that asks for nothing known, with the error to answer and the protocol to answer it in.
#[derive(Clone, Debug)]
pub struct Misrouted {
    pub protocol: Protocol,
    pub service: Option<&'static ServiceSchema>,
    pub error: Error,
}

const JSON: [Protocol; 2] = [Protocol::Json10, Protocol::Json11];
const QUERY: [Protocol; 2] = [Protocol::Query, Protocol::Ec2];
const REST: [Protocol; 2] = [Protocol::RestXml, Protocol::RestJson];

/// What a request says before any service is asked.
struct Asked {
    services: Vec<&'static ServiceSchema>,
    /// The name by which the request called its service, when it did.
    named: Option<String>,
}

/// Finds the operation that the request asks for.
pub fn route(services: &[&'static ServiceSchema], req: &Request<Bytes>) -> Result<Route, Misrouted> {
    let credential = sigv4::credential(req);
    let host = host(req);
    let asked = asked(services, credential.as_ref().map(|c| c.service.as_str()), &host);
    let found = find(&asked, req).or_else(|misrouted| {
        // A host's name is only a hint: an endpoint may be called `events.example.com` and mean nothing by it.
        let all = Asked { services: services.to_vec(), named: None };
        if credential.is_none() { find(&all, req).map_err(|_| misrouted) } else { Err(misrouted) }
    });
    let (service, operation, protocol) = found?;
    let (region, access_key) = match credential {
        Some(credential) => (Some(credential.region), Some(credential.access_key)),
        None => (region_of(&host), None),
    };
    Ok(Route { service, operation, protocol, region, access_key })
}

type Found = (&'static ServiceSchema, &'static OperationSchema, Protocol);

fn find(asked: &Asked, req: &Request<Bytes>) -> Result<Found, Misrouted> {
    if let Some((name, operation)) = cbor_path(req) {
        return by_cbor(asked, name, operation);
    }
    if let Some(target) = header(req, "x-amz-target") {
        return by_target(asked, target, header(req, CONTENT_TYPE.as_str()).unwrap_or(""));
    }
    if speaks(asked, &QUERY).next().is_some()
        && let Some((action, version)) = action(req)
    {
        return by_action(asked, &action, version.as_deref());
    }
    if speaks(asked, &REST).next().is_some() {
        return by_path(asked, req);
    }
    Err(nothing_said(asked, req))
}

// ---- rpc-v2-cbor ----

/// The names in a path that ends in `/service/NAME/operation/OP`, when the request is in that protocol.
fn cbor_path(req: &Request<Bytes>) -> Option<(&str, &str)> {
    header(req, "smithy-protocol").filter(|protocol| *protocol == "rpc-v2-cbor")?;
    let mut parts = req.uri().path().rsplit('/');
    let operation = parts.next()?;
    parts.next().filter(|part| *part == "operation")?;
    let name = parts.next()?;
    parts.next().filter(|part| *part == "service")?;
    Some((name, operation))
}

fn by_cbor(asked: &Asked, name: &str, operation: &str) -> Result<Found, Misrouted> {
    let service = speaks(asked, &[Protocol::Cbor]).find(|service| service.cbor_name == name);
    let Some(service) = service else {
        return Err(unknown(asked, None, Protocol::Cbor, &format!("{name}.{operation}")));
    };
    match service.operation(operation) {
        Some(found) => Ok((service, found, Protocol::Cbor)),
        None => Err(unknown(asked, Some(service), Protocol::Cbor, operation)),
    }
}

// ---- JSON ----

fn by_target(asked: &Asked, target: &str, content_type: &str) -> Result<Found, Misrouted> {
    let said = match essence(content_type) {
        "application/x-amz-json-1.1" => Protocol::Json11,
        _ => Protocol::Json10,
    };
    let Some((prefix, operation)) = target.rsplit_once('.') else {
        return Err(unknown(asked, meant(asked, &JSON), said, target));
    };
    let mut speakers = speaks(asked, &JSON);
    let Some(service) = speakers.find(|service| service.target_prefix == Some(prefix)) else {
        return Err(unknown(asked, meant(asked, &JSON), said, target));
    };
    // A client that mixes up the two versions is still understood, and answered in the service's own.
    let own = service.protocols.iter().find(|p| JSON.contains(p)).copied();
    let protocol = if service.protocols.contains(&said) { said } else { own.unwrap_or(said) };
    match service.operation(operation) {
        Some(found) => Ok((service, found, protocol)),
        None => Err(unknown(asked, Some(service), protocol, operation)),
    }
}

// ---- query and ec2 ----

/// `Action` and `Version`, from the query string or from a form.
fn action(req: &Request<Bytes>) -> Option<(String, Option<String>)> {
    let read = |text: &str| {
        let action = form::value(text, "Action")?.into_owned();
        Some((action, form::value(text, "Version").map(|version| version.into_owned())))
    };
    if let Some(found) = req.uri().query().and_then(read) {
        return Some(found);
    }
    let content_type = header(req, CONTENT_TYPE.as_str()).unwrap_or("");
    let is_form = matches!(essence(content_type), "application/x-www-form-urlencoded" | "");
    if req.method() != Method::POST || !is_form {
        return None;
    }
    if req.headers().contains_key(CONTENT_ENCODING) {
        // SDKs compress large forms (PutMetricData), and with them what is asked.
        let plain = chunked::plain_body(req.clone()).ok()?;
        return std::str::from_utf8(plain.body()).ok().and_then(read);
    }
    std::str::from_utf8(req.body()).ok().and_then(read)
}

fn by_action(asked: &Asked, action: &str, version: Option<&str>) -> Result<Found, Misrouted> {
    let speakers: Vec<_> = speaks(asked, &QUERY).collect();
    let versioned = |service: &&&'static ServiceSchema| version.is_some_and(|version| version == service.api_version);
    // Several services may share a date, and old clients send old dates: whoever knows the action is meant.
    let service = speakers
        .iter()
        .filter(versioned)
        .find(|service| service.operation(action).is_some())
        .or_else(|| speakers.iter().find(versioned))
        .or_else(|| speakers.iter().find(|service| service.operation(action).is_some()))
        .copied()
        .or_else(|| meant(asked, &QUERY));
    let Some(service) = service else {
        return Err(unknown(asked, None, Protocol::Query, action));
    };
    let protocol = if service.protocols.contains(&Protocol::Ec2) { Protocol::Ec2 } else { Protocol::Query };
    match service.operation(action) {
        Some(found) => Ok((service, found, protocol)),
        None => Err(unknown(asked, Some(service), protocol, action)),
    }
}

// ---- REST ----

fn by_path(asked: &Asked, req: &Request<Bytes>) -> Result<Found, Misrouted> {
    let speakers: Vec<_> = speaks(asked, &REST).collect();
    if let Some((service, operation)) = rest::best(&speakers, req) {
        return Ok((service, operation, rest_protocol(service)));
    }
    let service = meant(asked, &REST);
    let protocol = service.map_or(Protocol::RestJson, rest_protocol);
    Err(unknown(asked, service, protocol, &format!("{} {}", req.method(), req.uri().path())))
}

fn rest_protocol(service: &'static ServiceSchema) -> Protocol {
    if service.protocols.contains(&Protocol::RestXml) { Protocol::RestXml } else { Protocol::RestJson }
}

// ---- what is not known ----

/// The request names no operation in any way that its service reads.
fn nothing_said(asked: &Asked, req: &Request<Bytes>) -> Misrouted {
    let service = asked.services.first().copied().filter(|_| asked.named.is_some());
    let protocol = service.and_then(|service| service.protocols.first().copied()).unwrap_or_else(|| guess(req));
    if service.is_some() && matches!(protocol, Protocol::Query | Protocol::Ec2) {
        let error = Error::client("MissingAction", "The request must contain the parameter Action.");
        return Misrouted { protocol, service, error: error.with_status(400) };
    }
    let what = match action(req) {
        Some((action, _)) => action,
        None => format!("{} {}", req.method(), req.uri().path()),
    };
    unknown(asked, service, protocol, &what)
}

/// The protocol of a request to a service that is not here.
fn guess(req: &Request<Bytes>) -> Protocol {
    match action(req) {
        Some(_) => Protocol::Query,
        None => Protocol::RestJson,
    }
}

fn unknown(asked: &Asked, service: Option<&'static ServiceSchema>, protocol: Protocol, what: &str) -> Misrouted {
    let missing = match (&asked.named, asked.services.is_empty()) {
        (Some(name), true) => Some(format!("The service {name} is not part of this cloud.")),
        _ => None,
    };
    let error = match protocol {
        Protocol::Query | Protocol::Ec2 => {
            let message = || format!("The action {what} is not valid for this web service.");
            Error::client("InvalidAction", missing.unwrap_or_else(message)).with_status(400)
        }
        Protocol::Json10 | Protocol::Json11 => {
            let message = || format!("The operation {what} is not valid for this service.");
            Error::client("UnknownOperationException", missing.unwrap_or_else(message)).with_status(400)
        }
        Protocol::RestXml | Protocol::RestJson | Protocol::Cbor => {
            let message = || format!("This service has no operation for {what}.");
            Error::client("UnknownOperationException", missing.unwrap_or_else(message)).with_status(404)
        }
    };
    Misrouted { protocol, service, error }
}

// ---- which service ----

/// The services that may be meant. One signing name may stand for several (elb and elbv2).
fn asked(services: &[&'static ServiceSchema], signed_as: Option<&str>, host: &str) -> Asked {
    if let Some(name) = signed_as {
        let services = services.iter().copied().filter(|service| service.signing_name == name).collect();
        return Asked { services, named: Some(name.to_owned()) };
    }
    // `ec2.eu-west-1.…` names a service in its first label, `bucket.s3.eu-west-1.…` in a later one.
    for label in host.split('.') {
        let called = |service: &&&'static ServiceSchema| service.name == label || service.signing_name == label;
        let found: Vec<_> = services.iter().filter(called).copied().collect();
        if !found.is_empty() {
            return Asked { services: found, named: Some(label.to_owned()) };
        }
    }
    Asked { services: services.to_vec(), named: None }
}

fn speaks<'a>(asked: &'a Asked, protocols: &'a [Protocol]) -> impl Iterator<Item = &'static ServiceSchema> + use<'a> {
    let speaks = |service: &&'static ServiceSchema| service.protocols.iter().any(|p| protocols.contains(p));
    asked.services.iter().copied().filter(speaks)
}

/// The service to blame when the request named one and nothing in it fits.
fn meant(asked: &Asked, protocols: &[Protocol]) -> Option<&'static ServiceSchema> {
    asked.named.as_ref().and_then(|_| speaks(asked, protocols).next())
}

/// The host that the request names, without the port; empty when it names none.
fn host(req: &Request<Bytes>) -> String {
    let named = header(req, HOST.as_str()).or_else(|| req.uri().authority().map(|authority| authority.as_str()));
    let host = named.unwrap_or("").rsplit('@').next().unwrap_or("");
    host.split(':').next().unwrap_or("").to_ascii_lowercase()
}

/// The region among a host's labels.
fn region_of(host: &str) -> Option<String> {
    let mut labels = host.split('.');
    labels.find(|label| place::REGIONS.iter().any(|region| region.name == *label)).map(str::to_owned)
}

fn header<'a>(req: &'a Request<Bytes>, name: &str) -> Option<&'a str> {
    req.headers().get(name).and_then(|value| value.to_str().ok())
}

/// A content type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or("").trim()
}
