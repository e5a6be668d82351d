//! CBOR as RFC 8949 and rpc-v2-cbor have it.

use serde_json::json;
use standfast_wire::Protocol;
use standfast_wire::codec::{decode_request, encode_request};

use super::schemas::{PUT_RICH, rich};
use super::{reads, refuses, value};

#[track_caller]
fn same(input: serde_json::Value, body: &[u8]) {
    let (protocol, service, op) = rich(Protocol::Cbor);
    let input = value(op.input, input);
    let written = encode_request(protocol, service, op, &input);
    assert_eq!(&written.body()[..], body);
    assert_eq!(decode_request(protocol, service, op, &written).expect("it is valid"), input);
}

#[test]
fn values_are_written_in_their_shortest_form() {
    same(json!({}), b"\xa0");
    same(json!({"Name": "hé"}), b"\xa1\x64Name\x63h\xc3\xa9");
    same(json!({"Flag": true}), b"\xa1\x64Flag\xf5");
    for (count, bytes) in [
        (0, &b"\x00"[..]),
        (23, b"\x17"),
        (24, b"\x18\x18"),
        (256, b"\x19\x01\x00"),
        (65_536, b"\x1a\x00\x01\x00\x00"),
        (4_294_967_296, b"\x1b\x00\x00\x00\x01\x00\x00\x00\x00"),
        (-1, b"\x20"),
        (-257, b"\x39\x01\x00"),
        (i64::MIN, b"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    ] {
        same(json!({"Big": count}), &[b"\xa1\x63Big", bytes].concat());
    }
    same(json!({"Exact": 1.5}), b"\xa1\x65Exact\xfb\x3f\xf8\0\0\0\0\0\0");
    same(json!({"Ratio": 1.5}), b"\xa1\x65Ratio\xfa\x3f\xc0\0\0");
    same(json!({"Data": "AP8="}), b"\xa1\x64Data\x42\x00\xff");
    same(json!({"When": 1}), b"\xa1\x64When\xc1\x01");
    same(json!({"When": 1.5}), b"\xa1\x64When\xc1\xfb\x3f\xf8\0\0\0\0\0\0");
    same(json!({"Names": ["a", "b"]}), b"\xa1\x65Names\x82\x61a\x61b");
    same(json!({"Tags": {"k": "v"}}), b"\xa1\x64Tags\xa1\x61k\x61v");
    same(json!({"Leaf": {"Weight": 1}}), b"\xa1\x64Leaf\xa1\x66Weight\x01");
}

#[test]
fn all_forms_of_the_same_value_are_read() {
    let case = rich(Protocol::Cbor);
    for (body, want) in [
        (&b""[..], json!({})),
        (b"\xbf\x64Name\x61n\xff", json!({"Name": "n"})),
        (b"\xbf\x64Name\x7f\x61a\x62bc\xff\xff", json!({"Name": "abc"})),
        (b"\xa1\x64Data\x5f\x41\x00\x41\xff\xff", json!({"Data": "AP8="})),
        (b"\xa1\x65Names\x9f\x61a\xff", json!({"Names": ["a"]})),
        (b"\xa1\x64Tags\xbf\x61k\x61v\xff", json!({"Tags": {"k": "v"}})),
        (b"\xa1\x64Name\x78\x01n", json!({"Name": "n"})),
        (b"\xa1\x65Count\x1b\0\0\0\0\0\0\0\x05", json!({"Count": 5})),
        // Half floats: one, the smallest, the largest, minus infinity is not JSON.
        (b"\xa1\x65Exact\xf9\x3c\x00", json!({"Exact": 1.0})),
        (b"\xa1\x65Exact\xf9\x00\x01", json!({"Exact": 5.960464477539063e-8})),
        (b"\xa1\x65Exact\xf9\xfb\xff", json!({"Exact": -65504.0})),
        (b"\xa1\x65Exact\xfa\x3f\xc0\0\0", json!({"Exact": 1.5})),
        (b"\xa1\x65Exact\x03", json!({"Exact": 3.0})),
        (b"\xa1\x64When\xc1\xf9\x3c\x00", json!({"When": 1})),
        (b"\xa1\x64When\xc1\x20", json!({"When": -1})),
        (b"\xa1\x64When\x01", json!({"When": 1})),
        (b"\xa1\x64Name\xd9\xd9\xf7\x61n", json!({"Name": "n"})),
        (b"\xa2\x64Name\xf6\x64Flag\xf7", json!({})),
        (b"\xa2\x61?\x83\x01\xa1\x61a\xc1\x02\xf9\x3c\x00\x64Flag\xf4", json!({"Flag": false})),
    ] {
        reads(case, body, want);
    }
}

#[test]
fn what_is_not_the_members_kind_is_named() {
    let case = rich(Protocol::Cbor);
    for (body, message) in [
        (&b"\x80"[..], "The request must be a structure, not '[...]'"),
        (b"\xa1\x64Name\x05", "Value '5' at 'name' must be a string"),
        (b"\xa1\x65Count\x1a\x80\0\0\0", "Value '2147483648' at 'count' must be an integer"),
        (b"\xa1\x63Big\x1b\x80\0\0\0\0\0\0\0", "Value '9223372036854775808' at 'big' must be a long integer"),
        (b"\xa1\x65Count\xf9\x3c\x00", "Value '1' at 'count' must be an integer"),
        (b"\xa1\x65Names\x81\xf6", "Value 'null' at 'names.1.member' must be a string"),
        (b"\xa1\x64Tags\xa1\x61k\xf5", "Value 'true' at 'tags.k' must be a string"),
        (b"\xa1\x64When\xf9\x7c\x00", "Value 'inf' at 'when' must be a timestamp"),
    ] {
        let error = refuses(case, body);
        assert_eq!((&*error.code, &*error.message), ("SerializationException", message));
    }
}

#[test]
fn broken_cbor_is_refused() {
    let case = rich(Protocol::Cbor);
    for body in [
        &b"\xa1"[..],
        b"\xa1\x64Nam",
        b"\xa1\x01\x02",
        b"\xa1\x64Name\x62\xff\xff",
        b"\xa0\x00",
        b"\xff",
        b"\xa1\x64Name\xff",
        b"\xa1\x64Name\x1c",
        b"\xa1\x64Name\xf8\x20",
        b"\xa1\x64Name\xfe",
        b"\xa1\x64Name\x7f\x7f\x61a\xff\xff",
        b"\xa1\x64Name\x7f\x41a\xff",
        b"\xa1\x64Name\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xa1\x65Names\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert_eq!(refuses(case, body).code, "SerializationException", "{body:02x?}");
    }
}

#[test]
fn the_head_names_the_operation() {
    let (protocol, service, op) = rich(Protocol::Cbor);
    let request = encode_request(protocol, service, op, &value(PUT_RICH.input, json!({})));
    assert_eq!(request.uri(), "/service/Things/operation/PutRich");
    assert_eq!(request.headers()["accept"], "application/cbor");
    assert_eq!(request.headers()["content-type"], "application/cbor");
}
