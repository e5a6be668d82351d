//! Matching REST requests against the paths of operations.
//!
//! Of the operations whose method, path and constant query parameters fit, the one with the most literal path wins,
//! then the one with more constant parameters, then the one that asks for more of what the request brings along
//! (`PUT /{Bucket}/{Key+}` is UploadPart when there is an `uploadId`, PutObject when there is none).
//!
//! Segments are compared as they stand on the wire, so that an encoded slash stays inside its label.

use bytes::Bytes;
use http::Request;
use percent_encoding::percent_decode_str;

use crate::form;
use crate::schema::{Location, OperationSchema, ServiceSchema, Type};

/// How well an operation fits; greater is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fit {
    /// Two bits for each segment, the first one highest: 3 literal, 2 label, 1 greedy label, 0 none.
    literal: u64,
    /// Constant query parameters.
    constants: usize,
    /// Whether the request has all the parameters and headers that the operation cannot do without.
    complete: bool,
    /// Required parameters and headers, when it is complete.
    required: usize,
    /// Whether the client says that it means this operation (`x-id`, which SDKs add).
    named: bool,
}

/// A request, taken apart once.
struct Parts<'a> {
    req: &'a Request<Bytes>,
    /// The path's segments; the last one is empty when the path ends in a slash.
    segments: Vec<&'a str>,
    query: Vec<(String, String)>,
}

/// The operation that fits best.
pub(super) fn best(
    services: &[&'static ServiceSchema],
    req: &Request<Bytes>,
) -> Option<(&'static ServiceSchema, &'static OperationSchema)> {
    let path = req.uri().path();
    let query = form::pairs(req.uri().query().unwrap_or(""));
    let parts = Parts {
        req,
        segments: path.strip_prefix('/').unwrap_or(path).split('/').collect(),
        query: query.map(|(name, value)| (name.into_owned(), value.into_owned())).collect(),
    };
    let mut best: Option<(Fit, &'static ServiceSchema, &'static OperationSchema)> = None;
    for &service in services {
        for &operation in service.operations {
            let Some(fit) = fit(operation, &parts) else { continue };
            if best.is_none_or(|(other, _, found)| fit > other || (fit == other && supersedes(operation, found))) {
                best = Some((fit, service, operation));
            }
        }
    }
    best.map(|(_, service, operation)| (service, operation))
}

/// Of two operations on one path the longer name of a pair is the newer one, and means more
/// (`GetBucketLifecycleConfiguration` and `GetBucketLifecycle`).
fn supersedes(operation: &OperationSchema, other: &OperationSchema) -> bool {
    operation.name.len() > other.name.len() && operation.name.starts_with(other.name)
}

fn fit(operation: &'static OperationSchema, parts: &Parts<'_>) -> Option<Fit> {
    if operation.method != parts.req.method().as_str() {
        return None;
    }
    let (path, constants) = operation.uri.split_once('?').unwrap_or((operation.uri, ""));
    let literal = literal(path, &parts.segments)?;
    let mut matched = 0;
    for (name, value) in form::raw_pairs(constants) {
        let same = |(n, v): &(String, String)| n == name && (value.is_empty() || v == value);
        if !parts.query.iter().any(same) {
            return None;
        }
        matched += 1;
    }
    if parts.query.iter().any(|(name, value)| value.is_empty() && !expects(operation, constants, name)) {
        return None;
    }
    let (required, present) = required(operation, parts);
    let complete = required == present;
    let named = parts.query.iter().any(|(name, value)| name == "x-id" && value == operation.name);
    Some(Fit { literal, constants: matched, complete, required: if complete { required } else { 0 }, named })
}

/// Whether a query parameter without a value has a meaning for the operation. One that has none (`?analytics`) names
/// a part of the resource, so the request is for another operation, and must not fall through to the whole.
fn expects(operation: &OperationSchema, constants: &str, name: &str) -> bool {
    let is_constant = form::raw_pairs(constants).any(|(constant, _)| constant == name);
    let mut members = operation.input.members.iter().filter(|member| member.location == Location::Query);
    is_constant
        || members.any(|member| member.wire == name || matches!(member.ty, Type::Map(_)))
        || name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"))
}

/// How many query parameters and headers the operation requires, and how many of those the request has.
fn required(operation: &OperationSchema, parts: &Parts<'_>) -> (usize, usize) {
    let mut counts = (0, 0);
    for member in operation.input.members.iter().filter(|member| member.required) {
        let present = match member.location {
            Location::Query if matches!(member.ty, Type::Map(_)) => continue,
            Location::Query => parts.query.iter().any(|(name, _)| name == member.wire),
            Location::Header => parts.req.headers().contains_key(member.wire),
            _ => continue,
        };
        counts.0 += 1;
        counts.1 += usize::from(present);
    }
    counts
}

/// Matches a path pattern; gives the literal weight of the match.
fn literal(pattern: &str, segments: &[&str]) -> Option<u64> {
    let pattern: Vec<&str> = trimmed(pattern).collect();
    let has_greedy = pattern.iter().any(|segment| segment.ends_with("+}"));
    // A closing slash says nothing, except inside a greedy label: `dir/` is a key.
    let segments = match segments {
        [rest @ .., ""] if !has_greedy => rest,
        all => all,
    };
    let mut weight = 0u64;
    let mut at = 0;
    for (i, part) in pattern.iter().enumerate() {
        let after = pattern.len() - i - 1;
        let (rank, taken) = match label(part) {
            None if is_literal(part, segments.get(at)?) => (3, 1),
            None => return None,
            Some(false) => (2, usize::from(!segments.get(at)?.is_empty())),
            Some(true) => {
                let taken = segments.len().checked_sub(at + after)?;
                let is_empty = segments[at..at + taken].iter().all(|segment| segment.is_empty());
                (1, if is_empty && taken < 2 { 0 } else { taken })
            }
        };
        if taken == 0 {
            return None;
        }
        at += taken;
        weight |= rank << (62u32.saturating_sub(2 * u32::try_from(i).unwrap_or(31)));
    }
    (at == segments.len()).then_some(weight)
}

/// A pattern's segments, without the slashes around them.
fn trimmed(pattern: &str) -> impl Iterator<Item = &str> {
    let inner = pattern.trim_matches('/');
    inner.split('/').filter(move |_| !inner.is_empty())
}

/// Whether a segment is a label, and then whether it is a greedy one.
fn label(part: &str) -> Option<bool> {
    let inner = part.strip_prefix('{')?.strip_suffix('}')?;
    Some(inner.ends_with('+'))
}

fn is_literal(part: &str, segment: &str) -> bool {
    part == segment || percent_decode_str(segment).eq(part.bytes())
}
