//! Buckets in host names: `bucket.s3.example.com/key` for `s3.example.com/bucket/key`.
//!
//! Invariant: nothing but the path of requests to s3 changes. Call it after `sigv4::verify`, which needs the path that
//! was signed, and before `route`.

use bytes::Bytes;
use http::{Request, Uri};

use super::host;
use crate::sigv4;

/// Where s3control's paths begin. Its hosts are `ACCOUNT.endpoint`, which is no bucket.
const S3_CONTROL_PATHS: &str = "/v20180820/";

/// The request with the bucket of its host name in front of its path. `endpoints` are the names by which this cloud is
/// known (`localhost`, `cloud.example.com`); labels before them, or before a label `s3`, are a bucket.
pub fn path_style(req: Request<Bytes>, endpoints: &[&str]) -> Request<Bytes> {
    let is_elsewhere = sigv4::credential(&req).is_some_and(|credential| credential.service != "s3");
    if is_elsewhere || req.uri().path().starts_with(S3_CONTROL_PATHS) {
        return req;
    }
    let Some(bucket) = bucket(&host(&req), endpoints) else { return req };
    let query = req.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("/{bucket}{}{query}", req.uri().path());
    let mut uri = req.uri().clone().into_parts();
    let Ok(path) = path.parse() else { return req };
    uri.path_and_query = Some(path);
    let Ok(uri) = Uri::from_parts(uri) else { return req };
    let (mut head, body) = req.into_parts();
    head.uri = uri;
    Request::from_parts(head, body)
}

/// The bucket that a host's name begins with.
fn bucket(host: &str, endpoints: &[&str]) -> Option<String> {
    let labels: Vec<&str> = host.split('.').collect();
    // The last such label: a bucket's own name may hold one too.
    let by_label = labels.iter().rposition(|label| *label == "s3" || is_regional_s3(label));
    if let Some(at) = by_label {
        return (at > 0).then(|| labels[..at].join("."));
    }
    let mut before = endpoints.iter().filter_map(|endpoint| host.strip_suffix(endpoint)?.strip_suffix('.'));
    before.next().filter(|bucket| !bucket.is_empty()).map(str::to_owned)
}

/// `s3-eu-west-1`, the old way of writing `s3.eu-west-1`.
fn is_regional_s3(label: &str) -> bool {
    let region = label.strip_prefix("s3-");
    region.is_some_and(|name| standfast_core::place::REGIONS.iter().any(|region| region.name == name))
}
