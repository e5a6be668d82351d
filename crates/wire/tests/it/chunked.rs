//! Bodies in the wrappings that clients use.

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use standfast_wire::chunked::{GZIP_BYTES_MAX, TRAILERS_MAX, plain_body};

fn framed(body: &str) -> Request<Bytes> {
    let req = Request::put("/bucket/key").header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let req = req.header("content-encoding", "aws-chunked,gzip").header("content-length", body.len());
    req.body(body.to_owned().into()).expect("a request")
}

fn crc(body: &[u8]) -> String {
    BASE64_STANDARD.encode(crc32fast::hash(body).to_be_bytes())
}

fn code(req: Request<Bytes>) -> String {
    plain_body(req).expect_err("must be refused").code.into_owned()
}

fn gzip(body: &[u8], content_type: &str) -> Request<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("into memory");
    let req = Request::post("/").header("content-encoding", "gzip").header("content-type", content_type);
    req.body(encoder.finish().expect("into memory").into()).expect("a request")
}

#[test]
fn framing_goes_and_its_checksum_becomes_a_header() {
    let crc = crc(b"hello world");
    let req = framed(&format!("5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n"));
    let plain = plain_body(req).expect("well-formed");
    assert_eq!(plain.body(), "hello world");
    assert_eq!(plain.headers()["x-amz-checksum-crc32"], crc);
    assert_eq!(plain.headers()["content-length"], "11");
    assert_eq!(
        plain.headers()["content-encoding"],
        "gzip",
        "the object's own encoding stays, and its body is not unpacked"
    );
}

#[test]
fn a_body_that_is_not_framed_passes_untouched() {
    let req =
        Request::put("/b/k").header("content-encoding", "gzip").body(Bytes::from("5\r\nhello")).expect("a request");
    let plain = plain_body(req).expect("nothing to do");
    assert_eq!(plain.body(), "5\r\nhello");
}

#[test]
fn broken_framing_is_refused() {
    for body in [
        "",
        "5\r\nhel",
        "5\r\nhello",
        "5\r\nhello\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "x\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "0\r\n\r\nmore",
    ] {
        assert_eq!(code(framed(body)), "IncompleteBody", "{body:?}");
    }
    let mut long = framed("5\r\nhello\r\n0\r\n\r\n");
    long.headers_mut().insert("x-amz-decoded-content-length", 6.into());
    assert_eq!(code(long), "IncompleteBody");
}

#[test]
fn only_checksums_may_trail() {
    let smuggled = framed("0\r\nx-amz-acl:public-read\r\n\r\n");
    assert_eq!(code(smuggled), "MalformedTrailerError");
    let many = "x-amz-checksum-crc32c:a\r\n".repeat(TRAILERS_MAX + 1);
    assert_eq!(code(framed(&format!("0\r\n{many}\r\n"))), "MalformedTrailerError");
    let mut promised = framed("0\r\n\r\n");
    promised.headers_mut().insert("x-amz-trailer", "x-amz-checksum-crc32".parse().expect("a value"));
    assert_eq!(code(promised), "MalformedTrailerError");
}

#[test]
fn checksums_are_verified() {
    let put = |value: &str| {
        let req = Request::put("/b/k").header("x-amz-checksum-crc32", value);
        req.body(Bytes::from("hello")).expect("a request")
    };
    plain_body(put(&crc(b"hello"))).expect("the right one");
    assert_eq!(code(put(&crc(b"hellO"))), "BadDigest");
    assert_eq!(code(put("nonsense")), "InvalidRequest");
    assert_eq!(code(framed("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n")), "BadDigest");
    // The checksum of a multipart upload is the object's, not that of the list of parts in the body.
    let complete = Request::post("/b/k?uploadId=1").header("x-amz-checksum-crc32", "AAAAAA==");
    plain_body(complete.body(Bytes::from("<parts/>")).expect("a request")).expect("not this body's");
}

#[test]
fn gzip_is_undone_for_calls_and_kept_for_objects() {
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    let plain = plain_body(gzip(b"Action=PutMetricData", form)).expect("well-formed");
    assert_eq!(plain.body(), "Action=PutMetricData");
    assert!(!plain.headers().contains_key("content-encoding"));
    assert_eq!(plain.headers()["content-length"], "20");
    let object = gzip(b"data", "text/plain");
    let packed = object.body().clone();
    assert_eq!(plain_body(object).expect("nothing to do").body(), &packed);
}

#[test]
fn gzip_has_a_limit_and_must_be_gzip() {
    let bomb = gzip(&vec![0; GZIP_BYTES_MAX + 1], "application/cbor");
    let error = plain_body(bomb).expect_err("too large");
    assert_eq!((error.code.as_ref(), error.status), ("RequestEntityTooLarge", Some(413)));
    let mut broken = gzip(b"Action=PutMetricData", "application/x-www-form-urlencoded");
    *broken.body_mut() = Bytes::from("Action=PutMetricData");
    assert_eq!(code(broken), "InvalidRequest");
}
