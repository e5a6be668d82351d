//! Signatures against what botocore's signer makes of the same requests (`signed.json`, among them AWS's published
//! test suite and the example of S3's guide), and against tampering.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use proptest::prelude::*;
use standfast_core::Timestamp;
use standfast_wire::chunked::plain_body;
use standfast_wire::sigv4::{self, Credentials, credential, read_credential, verify};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn at(time: &str) -> Timestamp {
    time.parse().expect("a time")
}

fn vectors_time() -> Timestamp {
    at("2015-08-30T12:36:00Z")
}

fn own(session_token: Option<&str>) -> Credentials {
    Credentials {
        access_key: "AKIDEXAMPLE".into(),
        secret_key: SECRET.into(),
        session_token: session_token.map(str::to_owned),
    }
}

/// The requests of `signed.json`, by name.
fn vectors() -> Vec<(String, serde_json::Value, Request<Bytes>)> {
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("signed.json")).expect("valid JSON");
    let read = |case: serde_json::Value| {
        let text = |name: &str| case[name].as_str().expect("a text").to_owned();
        let body = BASE64_STANDARD.decode(text("body")).expect("base64");
        let mut req = Request::builder().method(text("method").as_str()).uri(text("target"));
        for header in case["headers"].as_array().expect("headers") {
            req = req.header(header[0].as_str().expect("a name"), header[1].as_str().expect("a value"));
        }
        (text("name"), case.clone(), req.body(body.into()).expect("a request"))
    };
    cases.into_iter().map(read).collect()
}

fn vector(name: &str) -> Request<Bytes> {
    vectors().into_iter().find(|(n, ..)| n == name).expect("a vector of that name").2
}

fn code(req: &Request<Bytes>) -> String {
    verify(req, SECRET, vectors_time()).expect_err("must be refused").code.into_owned()
}

fn with_header(req: &Request<Bytes>, name: &str, value: &str) -> Request<Bytes> {
    let mut req = req.clone();
    let name: HeaderName = name.parse().expect("a name");
    req.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
    req
}

fn with_uri(req: &Request<Bytes>, from: &str, to: &str) -> Request<Bytes> {
    let uri = req.uri().to_string();
    assert!(uri.contains(from), "{uri} lacks {from}");
    let mut req = req.clone();
    *req.uri_mut() = uri.replacen(from, to, 1).parse().expect("a URI");
    req
}

fn with_body(req: &Request<Bytes>, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut req = req.clone();
    *req.body_mut() = body.into();
    req
}

#[test]
fn botocores_signatures_are_accepted() {
    for (name, case, req) in vectors() {
        verify(&req, SECRET, vectors_time()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let error = verify(&req, "another secret", vectors_time()).expect_err("signed with another secret");
        assert_eq!(error.code, "SignatureDoesNotMatch", "{name}");
        assert_eq!(error.status, Some(403), "{name}");
        if let Some(plain) = case["plain"].as_str() {
            let unwrapped = plain_body(req).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(unwrapped.body(), &BASE64_STANDARD.decode(plain).expect("base64"), "{name}");
        }
    }
}

#[test]
fn the_published_vectors_are_among_them() {
    let published = [
        ("get-vanilla", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("get-vanilla-query-order-key-case", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
        ("get-unreserved", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
        ("post-vanilla", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("get-header-value-trim", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ];
    for (name, signature) in published {
        let req = vector(name);
        let header = req.headers()["authorization"].to_str().expect("text");
        assert!(header.ends_with(&format!("Signature={signature}")), "{name}");
    }
}

#[test]
fn our_signatures_are_botocores() {
    for name in
        ["get-vanilla", "get-vanilla-query-order-value", "get-space", "json", "s3-get", "s3-put", "post-sts-token"]
    {
        let theirs = vector(name);
        let mut ours = theirs.clone();
        let who = credential(&theirs).expect("signed");
        sigv4::sign(&mut ours, &own(who.session_token.as_deref()), &who.region, &who.service, vectors_time())
            .expect("can be signed");
        assert_eq!(ours.headers()["authorization"], theirs.headers()["authorization"], "{name}");
    }
}

/// The example of a signed upload in chunks in S3's guide, and the one with a trailer.
fn guide(trailer: bool) -> Request<Bytes> {
    let hash =
        if trailer { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" } else { "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" };
    let (names, signature, chunks) = match trailer {
        false => (
            "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ],
        ),
        true => (
            "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer",
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
        ),
    };
    let mut body = Vec::new();
    for (size, signature) in [65536, 1024, 0].into_iter().zip(chunks) {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(std::iter::repeat_n(b'a', size));
        if size > 0 {
            body.extend_from_slice(b"\r\n");
        }
    }
    if trailer {
        body.extend_from_slice(b"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:");
        body.extend_from_slice(b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n");
    }
    body.extend_from_slice(b"\r\n");
    let scope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    let mut req = Request::put("/examplebucket/chunkObject.txt")
        .header("host", "s3.amazonaws.com")
        .header("x-amz-date", "20130524T000000Z")
        .header("x-amz-storage-class", "REDUCED_REDUNDANCY")
        .header("x-amz-content-sha256", hash)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", "66560")
        .header("content-length", "66824")
        .header(
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={names},Signature={signature}"),
        );
    if trailer {
        req = req.header("x-amz-trailer", "x-amz-checksum-crc32c");
    }
    req.body(body.into()).expect("a request")
}

const GUIDE_SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

#[test]
fn the_examples_of_the_s3_guide_are_accepted() {
    for trailer in [false, true] {
        let req = guide(trailer);
        verify(&req, GUIDE_SECRET, at("2013-05-24T00:00:00Z")).unwrap_or_else(|error| panic!("{trailer}: {error}"));
        let plain = plain_body(req).expect("well-formed");
        assert_eq!(plain.body().len(), 66560);
        assert_eq!(plain.headers().get("x-amz-checksum-crc32c").is_some(), trailer);
    }
}

#[test]
fn any_byte_of_a_signed_chunk_counts() {
    for name in ["chunks-signed", "chunks-signed-trailer"] {
        let req = vector(name);
        for i in 0..req.body().len() {
            let mut body = req.body().to_vec();
            body[i] ^= 1;
            let changed = with_body(&req, body);
            let refused = verify(&changed, SECRET, vectors_time()).is_err() || plain_body(changed).is_err();
            assert!(refused, "{name}: byte {i} was changed");
        }
        let cut = req.body().len() - 100;
        assert!(
            verify(&with_body(&req, req.body().slice(..cut)), SECRET, vectors_time()).is_err(),
            "{name}: cut short"
        );
    }
}

#[test]
fn chunks_cannot_be_dropped_swapped_or_followed() {
    let req = vector("chunks-signed");
    let text = String::from_utf8(req.body().to_vec()).expect("text");
    let second = text[2..].find("a;chunk-signature").expect("a second chunk") + 2;
    let last = text.rfind("0;chunk-signature").expect("a last chunk");
    let dropped = format!("{}{}", &text[..second], &text[last..]);
    let swapped = format!("{}{}{}", &text[second..last], &text[..second], &text[last..]);
    let bare = "5\r\nhello\r\n0\r\n\r\n".to_owned();
    let trailed = format!("{}x-amz-checksum-crc32:AAAAAA==\r\n\r\n", &text[..text.len() - 2]);
    for body in [dropped, swapped, bare, trailed] {
        assert_eq!(code(&with_body(&req, body.clone())), "SignatureDoesNotMatch", "{body}");
    }
    assert_eq!(code(&with_body(&req, format!("{text}0\r\n\r\n"))), "IncompleteBody");
}

#[test]
fn every_signed_part_counts() {
    let req = vector("s3-put");
    let other_method = {
        let mut req = req.clone();
        *req.method_mut() = http::Method::POST;
        req
    };
    for changed in [
        other_method,
        with_uri(&req, "/bucket/key", "/bucket/kez"),
        with_uri(&req, "/bucket/key", "/bucket/key?acl"),
        with_header(&req, "host", "127.0.0.2:4566"),
        with_header(&req, "content-type", "text/html"),
        with_header(&req, "x-amz-meta-a", "2"),
    ] {
        assert_eq!(code(&changed), "SignatureDoesNotMatch", "{changed:?}");
    }
    assert_eq!(code(&with_body(&req, "hellO")), "XAmzContentSHA256Mismatch");
    assert_eq!(code(&with_body(&vector("json"), "{ }")), "SignatureDoesNotMatch");
    assert_eq!(code(&with_header(&req, "x-amz-meta-b", "1")), "AccessDenied");
    assert_eq!(code(&with_header(&req, "x-amz-content-sha256", "UNSIGNED-PAYLOAD")), "SignatureDoesNotMatch");
    assert_eq!(code(&with_header(&req, "x-amz-content-sha256", "nonsense")), "InvalidArgument");
    verify(&with_header(&req, "x-unsigned", "1"), SECRET, vectors_time()).expect("proxies may add headers");
}

#[test]
fn a_signature_has_one_writing_and_covers_the_host() {
    let req = vector("s3-put");
    let header = req.headers()["authorization"].to_str().expect("text").to_owned();
    let (head, signature) = header.rsplit_once('=').expect("a signature");
    let upper = format!("{head}={}", signature.to_uppercase());
    for signature in [upper, format!("{head}={signature}00"), format!("{head}="), format!("{head}=xyz")] {
        assert_eq!(code(&with_header(&req, "authorization", &signature)), "SignatureDoesNotMatch");
    }
    let hostless = header.replace(";host", "");
    assert_eq!(code(&with_header(&req, "authorization", &hostless)), "IncompleteSignature");
}

#[test]
fn unreadable_signatures_have_their_own_errors() {
    let req = vector("get-vanilla");
    let header = req.headers()["authorization"].to_str().expect("text").to_owned();
    for broken in [
        header.replace("Credential=", "Cred="),
        header.replace("/aws4_request", "/aws5_request"),
        header.replace("AKIDEXAMPLE/", ""),
        header.replace("20150830", "2015083"),
        header.replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
        header.replace("SignedHeaders=host;x-amz-date, ", ""),
        "AWS AKIDEXAMPLE:signature".into(),
        "".into(),
    ] {
        let broken = with_header(&req, "authorization", &broken);
        assert_eq!(code(&broken), "IncompleteSignature", "{broken:?}");
        assert_eq!(credential(&broken), None);
        read_credential(&broken).expect_err("not an anonymous request");
    }
    assert_eq!(code(&with_header(&req, "x-amz-date", "yesterday")), "IncompleteSignature");
    let other_day = header.replace("20150830", "20150829");
    assert_eq!(code(&with_header(&req, "authorization", &other_day)), "SignatureDoesNotMatch");
    let twice = with_header(&vector("presigned-sts"), "authorization", &header);
    assert_eq!(code(&twice), "InvalidArgument");
    let mut bare = req.clone();
    bare.headers_mut().remove("authorization");
    assert_eq!(code(&bare), "MissingAuthenticationToken");
}

#[test]
fn a_signature_holds_for_minutes() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let refused =
        |name: &str, now: Timestamp| verify(&vector(name), SECRET, now).map_err(|error| error.code.into_owned()).err();
    for (name, limit, expected) in [("json", 5, "RequestExpired"), ("s3-put", 15, "RequestTimeTooSkewed")] {
        assert_eq!(refused(name, vectors_time() + minutes(limit)), None);
        assert_eq!(refused(name, vectors_time() - minutes(limit)), None);
        assert_eq!(refused(name, vectors_time() + minutes(limit + 1)).as_deref(), Some(expected));
        assert_eq!(refused(name, vectors_time() - minutes(limit + 1)).as_deref(), Some(expected));
    }
}

#[test]
fn a_presigned_url_holds_as_long_as_it_says() {
    let req = vector("presigned-s3-get");
    let seconds = Duration::from_secs;
    verify(&req, SECRET, vectors_time() + seconds(300)).expect("still good");
    let late = verify(&req, SECRET, vectors_time() + seconds(301)).expect_err("too late");
    assert_eq!((late.code.as_ref(), late.status), ("AccessDenied", Some(403)));
    let late = verify(&vector("presigned-sts"), SECRET, vectors_time() + seconds(301)).expect_err("too late");
    assert_eq!(late.code, "SignatureDoesNotMatch");
    for bad in ["0", "604801", "-1", "soon", ""] {
        let changed = with_uri(&req, "X-Amz-Expires=300", &format!("X-Amz-Expires={bad}"));
        assert_eq!(code(&changed), "AuthorizationQueryParametersError", "{bad}");
    }
    assert_eq!(code(&with_uri(&req, "X-Amz-Expires=300", "X-Amz-Expires=301")), "SignatureDoesNotMatch");
    assert_eq!(code(&with_uri(&req, "/c?", "/d?")), "SignatureDoesNotMatch");
    assert_eq!(code(&with_header(&req, "x-amz-acl", "public-read")), "AccessDenied");
    let who = credential(&vector("presigned-s3-token")).expect("presigned");
    assert!(who.presigned);
    assert_eq!(who.session_token.as_deref(), Some("a/b+c="));
}

#[test]
fn our_presigned_urls_are_good_until_they_expire() {
    let now = vectors_time();
    for (service, token) in [("s3", None), ("s3", Some("t/+=")), ("sts", None)] {
        let mut req = Request::get("https://b.example.com/a%20b?x=1").body(Bytes::new()).expect("a request");
        sigv4::presign(&mut req, &own(token), "eu-west-1", service, now, 60).expect("can be signed");
        verify(&req, SECRET, now + Duration::from_secs(60)).expect("still good");
        verify(&req, SECRET, now + Duration::from_secs(61)).expect_err("expired");
        assert_eq!(credential(&req).expect("presigned").session_token.as_deref(), token);
    }
}

#[test]
fn equal_requests_in_other_writings_are_equal() {
    let req = vector("s3-get");
    verify(&with_uri(&req, "%C3%A9", "%c3%a9"), SECRET, vectors_time()).expect("digits in either case");
    verify(&with_uri(&req, "a%20b", "%61%20b"), SECRET, vectors_time()).expect("what needs no encoding");
    let req = vector("s3-subresource-without-value");
    verify(&with_uri(&req, "?acl", "?acl="), SECRET, vectors_time()).expect("an empty value");
    let req = vector("get-header-value-trim");
    verify(&with_header(&req, "my-header2", "\"a b c\""), SECRET, vectors_time()).expect("folded spaces");
    let swapped = with_uri(
        &vector("get-vanilla-query-order-key-case"),
        "Param2=value2&Param1=value1",
        "Param1=value1&Param2=value2",
    );
    verify(&swapped, SECRET, vectors_time()).expect("another order");
}

/// Requests of which every byte means something: unreserved characters only.
fn requests() -> impl Strategy<Value = (Request<Bytes>, &'static str)> {
    let service = prop_oneof![Just("s3"), Just("ec2")];
    let parts = ("(/[a-z0-9~_-]{1,8}){1,3}", "[a-z]{1,5}=[a-z0-9]{1,9}", "[a-z0-9]{1,12}", "[ -~]{0,40}", service);
    parts.prop_map(|(path, query, meta, body, service)| {
        let req = Request::post(format!("{path}?{query}")).header("host", "cloud.test:4566");
        let req = req.header("x-amz-meta", meta).header("content-type", "text/plain");
        (req.body(Bytes::from(body)).expect("a request"), service)
    })
}

/// Changes one byte to another that means something else; `where_` and `index` pick it.
fn mutate(req: &mut Request<Bytes>, where_: u8, index: usize) {
    let swap = |text: &str, skip: usize| {
        let mut bytes = text.as_bytes().to_vec();
        let at = skip + index % (bytes.len() - skip);
        bytes[at] = if bytes[at] == b'q' { b'z' } else { b'q' };
        String::from_utf8(bytes).expect("ASCII")
    };
    let header = |req: &Request<Bytes>, name: &str| req.headers()[name].to_str().expect("text").to_owned();
    match where_ {
        0 => *req.uri_mut() = swap(&req.uri().to_string(), 1).parse().expect("a URI"),
        1 => {
            let mut body = req.body().to_vec();
            if body.is_empty() {
                body.push(b'q')
            } else {
                let at = index % body.len();
                body[at] ^= 1
            }
            *req.body_mut() = body.into();
        }
        n => {
            let name = ["x-amz-meta", "authorization", "host", "x-amz-date", "content-type"][usize::from(n - 2)];
            *req = with_header(req, name, &swap(&header(req, name), 0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_was_signed_verifies_and_nothing_near_it((req, service) in requests(), where_ in 0u8..7, index in 0usize..4096) {
        let mut req = req;
        let now = vectors_time();
        sigv4::sign(&mut req, &own(None), "eu-west-1", service, now).expect("can be signed");
        prop_assert!(verify(&req, SECRET, now).is_ok());
        let who = credential(&req).expect("signed");
        prop_assert_eq!((who.access_key.as_str(), who.region.as_str(), who.service.as_str()), ("AKIDEXAMPLE", "eu-west-1", service));
        let signed = req.headers()["authorization"].clone();
        mutate(&mut req, where_, index);
        let refused = verify(&req, SECRET, now).is_err();
        // A space between the fields and the key's own name are no part of the signature; the key finds the secret.
        let is_other_key = credential(&req).is_some_and(|other| other.access_key != who.access_key);
        let is_unsaid = where_ == 3 && signed.as_bytes()[index % signed.len()] == b' ';
        prop_assert!(refused || is_other_key || is_unsaid, "{:?}", req);
    }
}
