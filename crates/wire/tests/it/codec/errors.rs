//! Error envelopes, byte for byte, and what clients make of them.

use bytes::Bytes;
use http::Response;
use standfast_core::{Error, Fault};
use standfast_wire::codec::{decode_response, encode_error};
use standfast_wire::{OperationSchema, Protocol, ServiceSchema};

use super::schemas::{CLOUDWATCH, EC2, HEAD_BOUND, HOMES, JSON, PUT_RICH, QUERY, REST_JSON, REST_XML, S3, SQS};
use super::{response, text};

fn gone() -> Error {
    Error::client("ThingNotFound", "There is no 'a<b>' & \"c\"")
}

fn encode(protocol: Protocol, service: &'static ServiceSchema, error: &Error) -> Response<Bytes> {
    encode_error(protocol, service, Some(&PUT_RICH), error, "req-1")
}

fn header<'r>(response: &'r Response<Bytes>, name: &str) -> &'r str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[test]
fn query_errors_say_whose_fault_it_is() {
    let answer = encode(Protocol::Query, &QUERY, &gone());
    assert_eq!(
        text(answer.body()),
        "<ErrorResponse xmlns=\"http://things.example/doc/\"><Error><Type>Sender</Type><Code>ThingNotFound</Code>\
         <Message>There is no 'a&lt;b&gt;' &amp; &quot;c&quot;</Message></Error><RequestId>req-1</RequestId></ErrorResponse>"
    );
    assert_eq!((answer.status().as_u16(), header(&answer, "content-type")), (404, "text/xml;charset=utf-8"));
    assert_eq!(header(&answer, "x-amzn-requestid"), "req-1");
    let ours = encode(Protocol::Query, &QUERY, &Error::internal("broken"));
    assert!(text(ours.body()).contains("<Type>Receiver</Type><Code>InternalFailure</Code>"));
    assert_eq!(ours.status(), 500);
}

#[test]
fn ec2_errors_have_an_envelope_of_their_own() {
    let answer = encode(Protocol::Ec2, &EC2, &Error::client("InvalidVpcID.NotFound", "The vpc ID 'v' does not exist"));
    assert_eq!(
        text(answer.body()),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>InvalidVpcID.NotFound</Code>\
         <Message>The vpc ID 'v' does not exist</Message></Error></Errors><RequestID>req-1</RequestID></Response>"
    );
    assert_eq!(answer.status(), 400);
}

#[test]
fn rest_xml_errors_are_like_querys_and_those_of_s3_are_bare() {
    let answer = encode(Protocol::RestXml, &REST_XML, &gone());
    assert_eq!(
        text(answer.body()),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ErrorResponse xmlns=\"http://things.example/doc/\"><Error>\
         <Type>Sender</Type><Code>ThingNotFound</Code><Message>There is no 'a&lt;b&gt;' &amp; &quot;c&quot;</Message>\
         </Error><RequestId>req-1</RequestId></ErrorResponse>"
    );
    let answer = encode(Protocol::RestXml, &S3, &Error::client("NoSuchKey", "No such key").with_status(404));
    assert_eq!(
        text(answer.body()),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>No such key</Message>\
         <RequestId>req-1</RequestId></Error>"
    );
    assert_eq!(header(&answer, "x-amz-request-id"), "req-1");
}

#[test]
fn an_answer_to_head_has_no_body() {
    let answer = encode_error(Protocol::RestXml, &S3, Some(&HEAD_BOUND), &gone(), "req-1");
    assert_eq!((answer.status().as_u16(), answer.body().len()), (404, 0));
}

#[test]
fn json_errors_are_called_by_their_shape() {
    for (protocol, service) in
        [(Protocol::Json10, &CLOUDWATCH), (Protocol::Json11, &JSON), (Protocol::RestJson, &REST_JSON)]
    {
        let answer = encode(protocol, service, &gone());
        assert_eq!(
            text(answer.body()),
            r#"{"__type":"ThingNotFoundException","message":"There is no 'a<b>' & \"c\""}"#
        );
        assert_eq!(header(&answer, "x-amzn-errortype"), "ThingNotFoundException");
        assert_eq!(answer.status(), 404);
    }
    let unknown = encode(Protocol::Json11, &JSON, &Error::client("Other", "o"));
    assert_eq!(text(unknown.body()), r#"{"__type":"Other","message":"o"}"#);
}

#[test]
fn services_that_once_spoke_query_keep_its_codes() {
    let answer = encode(Protocol::Json10, &SQS, &gone());
    assert_eq!(header(&answer, "x-amzn-query-error"), "ThingNotFound;Sender");
    let answer = encode(Protocol::Cbor, &CLOUDWATCH, &Error::internal("i"));
    assert_eq!(header(&answer, "x-amzn-query-error"), "InternalFailure;Receiver");
    assert_eq!(header(&encode(Protocol::Json11, &JSON, &gone()), "x-amzn-query-error"), "");
}

#[test]
fn cbor_errors_are_maps() {
    let answer = encode(Protocol::Cbor, &CLOUDWATCH, &Error::client("ThingNotFound", "m"));
    assert_eq!(&answer.body()[..], b"\xa2\x66__type\x76ThingNotFoundException\x67message\x61m");
    assert_eq!(header(&answer, "smithy-protocol"), "rpc-v2-cbor");
    assert_eq!(header(&answer, "content-type"), "application/cbor");
}

#[test]
fn an_error_reads_back_in_every_protocol() {
    for (protocol, service) in HOMES {
        for mut error in [gone(), Error::client("Other", "ü\n").with_status(409), Error::unavailable("later")] {
            let read = decode_response(*protocol, service, &PUT_RICH, &encode(*protocol, service, &error));
            error.status = Some(match &*error.code {
                "ThingNotFound" => 404,
                "Other" => 409,
                _ => 503,
            });
            assert_eq!(read, Err(error), "{protocol:?}");
        }
    }
}

#[test]
fn unknown_operations_get_the_protocols_envelope() {
    let error = Error::client("InvalidAction", "no such action");
    let answer = encode_error(Protocol::Query, &QUERY, None, &error, "req-1");
    assert!(text(answer.body()).contains("<Code>InvalidAction</Code>"));
    assert_eq!(answer.status(), 400);
}

#[test]
fn answers_that_are_not_an_envelope_are_errors_with_their_status() {
    let op: &'static OperationSchema = &PUT_RICH;
    for (protocol, service) in HOMES {
        let error = decode_response(*protocol, service, op, &response(502, &[], "<html>Bad gateway</html>"));
        let error = error.expect_err("502 is an error");
        assert_eq!((&*error.code, error.fault, error.status), ("502", Fault::Server, Some(502)), "{protocol:?}");
    }
    let named = response(400, &[("x-amzn-errortype", "aws.things#ThingNotFoundException:http://x/")], "{}");
    let error = decode_response(Protocol::RestJson, &REST_JSON, op, &named).expect_err("400 is an error");
    assert_eq!(error.code, "ThingNotFound");
}

#[test]
fn a_request_id_cannot_add_headers() {
    let answer = encode_error(Protocol::Query, &QUERY, None, &gone(), "a\r\nset-cookie: b");
    assert_eq!(header(&answer, "x-amzn-requestid"), "aset-cookie: b");
}
