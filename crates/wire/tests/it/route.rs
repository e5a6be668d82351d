//! Routing: of the requests that Terraform and the aws CLI really sent (`corpus.json`: services and operations with
//! their paths, and requests with what they ask for), and of what nobody should send.

use std::io::Write;
use std::sync::OnceLock;

use bytes::Bytes;
use http::Request;
use standfast_wire::route::{Misrouted, Route, path_style, route};
use standfast_wire::{Location, Member, OperationSchema, Protocol, ServiceSchema, StructSchema, Type};

#[derive(Debug)]
struct Corpus {
    services: Vec<&'static ServiceSchema>,
    requests: serde_json::Value,
}

/// The services of the corpus. Schemas are static, so they are read once and kept.
fn corpus() -> &'static Corpus {
    static CORPUS: OnceLock<Corpus> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let mut json: serde_json::Value = serde_json::from_str(include_str!("corpus.json")).expect("valid JSON");
        let services = json["services"].as_array().expect("services").iter().map(service).collect();
        Corpus { services, requests: json["requests"].take() }
    })
}

pub fn services() -> &'static [&'static ServiceSchema] {
    &corpus().services
}

fn keep<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn text(json: &serde_json::Value) -> &'static str {
    Box::leak(json.as_str().unwrap_or_default().to_owned().into_boxed_str())
}

fn protocol(name: &str) -> Protocol {
    match name {
        "query" => Protocol::Query,
        "ec2" => Protocol::Ec2,
        "json1.0" => Protocol::Json10,
        "json1.1" => Protocol::Json11,
        "rest-xml" => Protocol::RestXml,
        "rest-json" => Protocol::RestJson,
        "cbor" => Protocol::Cbor,
        other => panic!("no protocol {other}"),
    }
}

fn service(json: &serde_json::Value) -> &'static ServiceSchema {
    let list = |name: &str| json[name].as_array().expect("a list");
    keep(ServiceSchema {
        name: text(&json["name"]),
        signing_name: text(&json["signing"]),
        api_version: text(&json["version"]),
        protocols: list("protocols").iter().map(|name| protocol(text(name))).collect::<Vec<_>>().leak(),
        target_prefix: json["target"].as_str().map(|_| text(&json["target"])),
        cbor_name: text(&json["cbor"]),
        xml_namespace: "",
        global: false,
        operations: list("operations").iter().map(operation).collect::<Vec<_>>().leak(),
    })
}

/// Reads `[name, method, uri, "Q!uploadId", …]`: Q is a query parameter, H a header, ! is required.
fn operation(json: &serde_json::Value) -> &'static OperationSchema {
    let parts: Vec<&'static str> = json.as_array().expect("an operation").iter().map(text).collect();
    let member = |spec: &&'static str| {
        let location = if spec.starts_with('Q') { Location::Query } else { Location::Header };
        let required = spec[1..].starts_with('!');
        let wire = spec[1..].trim_start_matches('!');
        let ty = Type::String(&standfast_wire::schema::FREE);
        Member { name: wire, wire, ec2: wire, location, required, ty, xml_attribute: false, idempotency_token: false }
    };
    let shape =
        |members: Vec<Member>| keep(StructSchema { name: "", members: members.leak(), payload: None, union: false });
    keep(OperationSchema {
        name: parts[0],
        method: parts[1],
        uri: parts[2],
        status: 200,
        input: shape(parts[3..].iter().map(member).collect()),
        output: shape(Vec::new()),
        result_wrapper: None,
        input_root: None,
        errors: &[],
    })
}

/// `METHOD target`, signed for a service.
fn request(line: &str, signed_as: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let (method, target) = line.split_once(' ').expect("a method and a target");
    let mut req = Request::builder().method(method).uri(target);
    if !signed_as.is_empty() {
        let scope = format!("AKID/20261120/eu-west-2/{signed_as}/aws4_request");
        req = req
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"));
    }
    for (name, value) in headers {
        req = req.header(*name, *value);
    }
    req.body(body.to_owned().into()).expect("a request")
}

fn found(req: &Request<Bytes>) -> Route {
    route(services(), req).unwrap_or_else(|misrouted| panic!("{req:?}: {misrouted:?}"))
}

fn misrouted(req: &Request<Bytes>) -> Misrouted {
    route(services(), req).expect_err("asks for nothing known")
}

fn name(route: &Route) -> (&'static str, &'static str) {
    (route.service.name, route.operation.name)
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

#[test]
fn every_request_of_the_corpus_finds_its_operation() {
    for case in corpus().requests.as_array().expect("requests") {
        let mut headers = Vec::new();
        if let Some(content_type) = case["content_type"].as_str() {
            headers.push(("content-type", content_type));
        }
        let extra = case["headers"].as_object().expect("headers");
        headers.extend(extra.iter().map(|(name, value)| (name.as_str(), text(value))));
        let line = format!("{} {}", text(&case["method"]), text(&case["target"]));
        let req = request(&line, text(&case["signed_as"]), &headers, text(&case["body"]));
        let route = found(&req);
        assert_eq!(name(&route), (text(&case["service"]), text(&case["operation"])), "{line}");
        assert_eq!(route.protocol, protocol(text(&case["protocol"])), "{line}");
        assert_eq!(route.region.as_deref(), Some("eu-west-2"));
        assert_eq!(route.access_key.as_deref(), Some("AKID"));
    }
}

#[test]
fn every_operation_is_found_by_its_own_path() {
    // Older operations whose path a newer one has taken over; a client may still name them in `x-id`.
    let replaced = ["GetBucketLifecycle", "GetBucketNotification", "PutBucketLifecycle", "PutBucketNotification"];
    for service in services().iter().filter(|service| service.protocols[0] != Protocol::Cbor) {
        let is_rest = matches!(service.protocols[0], Protocol::RestXml | Protocol::RestJson);
        for operation in service.operations.iter().filter(|_| is_rest) {
            let filled: Vec<&str> = operation.uri.split('/').map(fill).collect();
            let mut target = filled.join("/");
            let mut headers = Vec::new();
            for member in operation.input.members.iter().filter(|member| member.required) {
                match member.location {
                    Location::Header => headers.push((member.wire, "v")),
                    _ => target += &format!("{}{}=v", if target.contains('?') { "&" } else { "?" }, member.wire),
                }
            }
            if replaced.contains(&operation.name) || operation.name == "ListDirectoryBuckets" {
                target += &format!("{}x-id={}", if target.contains('?') { "&" } else { "?" }, operation.name);
            }
            let req = request(&format!("{} {target}", operation.method), service.signing_name, &headers, "");
            assert_eq!(name(&found(&req)), (service.name, operation.name), "{target}");
        }
    }
}

/// A path's segment with something in place of its label; the constant query parameters of the last one stay.
fn fill(segment: &str) -> &'static str {
    let (path, query) = segment.split_once('?').map_or((segment, None), |(path, query)| (path, Some(query)));
    let path = match path {
        label if label.ends_with("+}") => "a/b%20c",
        label if label.starts_with('{') => "arn%3Aaws%2Fx",
        literal => literal,
    };
    Box::leak(query.map_or(path.to_owned(), |query| format!("{path}?{query}")).into_boxed_str())
}

#[test]
fn elb_and_elbv2_differ_by_version() {
    for (version, service) in [("2012-06-01", "elb"), ("2015-12-01", "elbv2")] {
        let body = format!("Action=AddTags&Version={version}");
        let route = found(&request("POST /", "elasticloadbalancing", &[FORM], &body));
        assert_eq!(name(&route), (service, "AddTags"));
        let unsigned = found(&request(&format!("GET /?Version={version}&Action=AddTags"), "", &[], ""));
        assert_eq!(name(&unsigned), (service, "AddTags"));
    }
    let odd = found(&request("POST /", "ec2", &[FORM], "Action=AllocateAddress&Version=2010-01-01"));
    assert_eq!(name(&odd), ("ec2", "AllocateAddress"), "old versions of an action are the action");
}

#[test]
fn cloudwatch_is_spoken_to_in_three_protocols() {
    let path = "POST /service/GraniteServiceVersion20100801/operation/DeleteAlarms";
    let cbor =
        request(path, "monitoring", &[("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")], "");
    let target = ("x-amz-target", "GraniteServiceVersion20100801.DeleteAlarms");
    let json = request("POST /", "monitoring", &[target, ("content-type", "application/x-amz-json-1.0")], "{}");
    let query = request("POST /", "monitoring", &[FORM], "Action=DeleteAlarms&Version=2010-08-01");
    for (req, protocol) in [(cbor, Protocol::Cbor), (json, Protocol::Json10), (query, Protocol::Query)] {
        let route = found(&req);
        assert_eq!((name(&route), route.protocol), (("cloudwatch", "DeleteAlarms"), protocol));
    }
}

#[test]
fn compressed_forms_are_found() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"Action=DeleteAlarms&Version=2010-08-01").expect("into memory");
    let mut req = request("POST /", "monitoring", &[FORM, ("content-encoding", "gzip")], "");
    *req.body_mut() = encoder.finish().expect("into memory").into();
    assert_eq!(name(&found(&req)), ("cloudwatch", "DeleteAlarms"));
    *req.body_mut() = Bytes::from("Action=DeleteAlarms");
    assert_eq!(misrouted(&req).service.expect("signed for it").name, "cloudwatch");
}

#[test]
fn s3_subresources_select_operations() {
    for (line, copy, operation) in [
        ("GET /", false, "ListBuckets"),
        ("GET /b", false, "ListObjects"),
        ("GET /b/", false, "ListObjects"),
        ("GET /b/?list-type=2&prefix=", false, "ListObjectsV2"),
        ("GET /b/k", false, "GetObject"),
        ("GET /b//k/", false, "GetObject"),
        ("GET /b/dir/", false, "GetObject"),
        ("GET /b/k?uploadId=1", false, "ListParts"),
        ("PUT /b/k?x-id=PutObject", false, "PutObject"),
        ("PUT /b/k?partNumber=1&uploadId=2", false, "UploadPart"),
        ("PUT /b/k?partNumber=1&uploadId=2", true, "UploadPartCopy"),
        ("PUT /b/k", true, "CopyObject"),
        ("POST /b/k?uploads", false, "CreateMultipartUpload"),
        ("POST /b?delete", false, "DeleteObjects"),
        ("GET /b?analytics", false, "ListBucketAnalyticsConfigurations"),
        ("GET /b?analytics&id=1", false, "GetBucketAnalyticsConfiguration"),
    ] {
        let copy: &[_] = if copy { &[("x-amz-copy-source", "b/x")] } else { &[] };
        assert_eq!(name(&found(&request(line, "s3", copy, ""))).1, operation, "{line}");
    }
    let unknown = misrouted(&request("PUT /b/k?newfangled", "s3", &[], "x"));
    assert_eq!(
        (unknown.protocol, unknown.error.status),
        (Protocol::RestXml, Some(404)),
        "must not overwrite the object"
    );
}

#[test]
fn paths_are_matched_by_segments() {
    let lambda = |line: &str| name(&found(&request(line, "lambda", &[], ""))).1;
    assert_eq!(lambda("GET /2015-03-31/functions/"), "ListFunctions");
    assert_eq!(lambda("GET /2015-03-31/functions"), "ListFunctions");
    assert_eq!(lambda("GET /2015-03-31/functions/a%2Fb"), "GetFunction");
    assert_eq!(lambda("GET /2015%2D03-31/functions/f"), "GetFunction");
    for line in ["GET /2015-03-31/functions/a/b", "PATCH /2015-03-31/functions/f", "GET /2015-03-31//f"] {
        let misrouted = misrouted(&request(line, "lambda", &[], ""));
        assert_eq!(misrouted.error.code, "UnknownOperationException", "{line}");
        assert_eq!((misrouted.protocol, misrouted.error.status), (Protocol::RestJson, Some(404)));
        assert_eq!(misrouted.service.expect("signed for it").name, "lambda");
    }
    let v2 = found(&request("GET /v2/apis/a", "apigateway", &[], ""));
    assert_eq!(name(&v2), ("apigatewayv2", "GetApi"));
}

#[test]
fn unknown_operations_are_answered_in_the_services_protocol() {
    let json = ("content-type", "application/x-amz-json-1.1");
    for (req, protocol, service, code, status) in [
        (
            request("POST /", "ec2", &[FORM], "Action=Foo&Version=2016-11-15"),
            Protocol::Ec2,
            "ec2",
            "InvalidAction",
            400,
        ),
        (
            request("POST /", "sns", &[FORM], "Action=Foo&Version=2010-03-31"),
            Protocol::Query,
            "sns",
            "InvalidAction",
            400,
        ),
        (request("POST /", "sns", &[FORM], "Version=2010-03-31"), Protocol::Query, "sns", "MissingAction", 400),
        (
            request("POST /", "acm", &[json, ("x-amz-target", "CertificateManager.Foo")], "{}"),
            Protocol::Json11,
            "acm",
            "UnknownOperationException",
            400,
        ),
        (
            request("POST /", "acm", &[json, ("x-amz-target", "Foo")], "{}"),
            Protocol::Json11,
            "acm",
            "UnknownOperationException",
            400,
        ),
        (request("POST /", "acm", &[], "{}"), Protocol::Json11, "acm", "UnknownOperationException", 400),
        (request("DELETE /nowhere", "efs", &[], ""), Protocol::RestJson, "", "UnknownOperationException", 404),
        (
            request("POST /", "lightsail", &[json, ("x-amz-target", "L.GetInstances")], "{}"),
            Protocol::Json11,
            "",
            "UnknownOperationException",
            400,
        ),
        (
            request("POST /", "redshift", &[FORM], "Action=Foo&Version=2012-12-01"),
            Protocol::Query,
            "",
            "InvalidAction",
            400,
        ),
        (
            request("POST /service/Nope/operation/Foo", "monitoring", &[("smithy-protocol", "rpc-v2-cbor")], ""),
            Protocol::Cbor,
            "",
            "UnknownOperationException",
            404,
        ),
    ] {
        let misrouted = misrouted(&req);
        assert_eq!(misrouted.protocol, protocol, "{req:?}");
        assert_eq!(misrouted.service.map_or("", |service| service.name), service, "{req:?}");
        assert_eq!((misrouted.error.code.as_ref(), misrouted.error.status), (code, Some(status)), "{req:?}");
    }
    let message = misrouted(&request("POST /", "sns", &[FORM], "Action=Foo&Version=2010-03-31")).error.message;
    assert_eq!(message, "The action Foo is not valid for this web service.");
}

#[test]
fn unsigned_requests_are_found_by_what_they_say() {
    let route = found(&request("POST /", "", &[FORM, ("host", "sts.us-east-1.example.com")], "Action=AssumeRole"));
    assert_eq!(name(&route), ("sts", "AssumeRole"));
    assert_eq!((route.region.as_deref(), route.access_key), (Some("us-east-1"), None));
    let route = found(&request("POST /", "", &[FORM, ("host", "events.example.com")], "Action=AssumeRole"));
    assert_eq!(name(&route), ("sts", "AssumeRole"), "a host's name is only a hint");
    let route = found(&request("GET /bucket/key", "", &[], ""));
    assert_eq!(name(&route), ("s3", "GetObject"));
    let route = found(&request("GET /2015-03-31/functions/f", "", &[], ""));
    assert_eq!(name(&route), ("lambda", "GetFunction"), "the more literal path wins over a bucket's");
    let presigned = "/?Action=AssumeRole&X-Amz-Credential=AK%2F20261120%2Feu-west-1%2Fsts%2Faws4_request&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-SignedHeaders=host&X-Amz-Signature=0";
    let route = found(&request(&format!("GET {presigned}"), "", &[], ""));
    assert_eq!(
        (name(&route).0, route.region.as_deref(), route.access_key.as_deref()),
        ("sts", Some("eu-west-1"), Some("AK"))
    );
}

#[test]
fn buckets_may_stand_in_the_host() {
    for (host, target, signed_as, path) in [
        ("b.s3.eu-west-1.amazonaws.com", "/k?acl", "s3", "/b/k?acl"),
        ("my.b.s3-eu-west-1.amazonaws.com", "/k", "s3", "/my.b/k"),
        ("b.localhost:4566", "/", "s3", "/b/"),
        ("b.localhost:4566", "/k", "", "/b/k"),
        ("localhost:4566", "/b/k", "s3", "/b/k"),
        ("s3.localhost:4566", "/b/k", "s3", "/b/k"),
        ("123456789012.localhost:4566", "/v20180820/configuration", "s3", "/v20180820/configuration"),
        ("data-x.localhost:4566", "/", "servicediscovery", "/"),
        ("127.0.0.1:4566", "/b/k", "s3", "/b/k"),
    ] {
        let req = request(&format!("GET {target}"), signed_as, &[("host", host)], "");
        assert_eq!(path_style(req, &["localhost"]).uri().to_string(), path, "{host}{target}");
    }
}
