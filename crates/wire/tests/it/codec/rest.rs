//! Where members travel in rest-json and rest-xml.

use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use standfast_wire::codec::{decode_request, decode_response, encode_request, encode_response};
use standfast_wire::{OperationSchema, Protocol, Struct};

use super::schemas::{self, PUT_BLOB, PUT_BOUND, PUT_JSON, PUT_LEAF, PUT_RICH, PUT_TEXT, with};
use super::{REQUEST_ID, request, response, same_request, text, value};

const REST: [Protocol; 2] = [Protocol::RestJson, Protocol::RestXml];

fn write(protocol: Protocol, op: &'static OperationSchema, input: serde_json::Value) -> Request<Bytes> {
    let (protocol, service, op) = with(protocol, op);
    encode_request(protocol, service, op, &value(op.input, input))
}

fn read(protocol: Protocol, op: &'static OperationSchema, request: &Request<Bytes>) -> Struct {
    let (protocol, service, op) = with(protocol, op);
    decode_request(protocol, service, op, request).expect("it is valid")
}

fn answer(protocol: Protocol, op: &'static OperationSchema, output: serde_json::Value) -> Response<Bytes> {
    let (protocol, service, op) = with(protocol, op);
    let output = value(op.output, output);
    let written = encode_response(protocol, service, op, output.clone(), REQUEST_ID);
    assert_eq!(decode_response(protocol, service, op, &written).expect("it is a success"), output);
    written
}

fn bound() -> serde_json::Value {
    json!({
        "Bucket": "b/ü c", "Version": 3, "Key": "a/b c//d?e",
        "Max": 5, "Since": 1795214465, "Ids": ["x", "y&z"], "Others": {"o": ["1", "2"]},
        "Token": "t", "Modified": 1795214465, "Wait": false,
        "Parts": ["a", "b, c", "d \"e\" \\", ""], "Dates": [1795214465, 0], "Meta": {"k": "v", "other": ""},
        "Note": "n", "Leaf": {"Key": "k"},
    })
}

#[test]
fn members_are_written_where_the_model_says() {
    for protocol in REST {
        let request = write(protocol, &PUT_BOUND, bound());
        assert_eq!(request.method(), "PUT");
        assert_eq!(
            request.uri().to_string(),
            "/v1/b%2F%C3%BC%20c/3/keys/a/b%20c//d%3Fe?list-type=2&max-keys=5&since=2026-11-20T22%3A41%3A05.000Z\
             &id=x&id=y%26z&o=1&o=2"
        );
        for (name, want) in [
            ("x-token", "t"),
            ("if-modified-since", "Fri, 20 Nov 2026 22:41:05 GMT"),
            ("x-wait", "false"),
            ("x-parts", r#"a, "b, c", "d \"e\" \\", """#),
            ("x-dates", "Fri, 20 Nov 2026 22:41:05 GMT, Thu, 01 Jan 1970 00:00:00 GMT"),
            ("x-meta-k", "v"),
            ("x-meta-other", ""),
        ] {
            assert_eq!(request.headers()[name], want, "{name}");
        }
        let body = match protocol {
            Protocol::RestJson => r#"{"note":"n","leaf":{"Key":"k"}}"#,
            _ => {
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BoundRequest xmlns=\"http://things.example/doc/\">\
                 <note>n</note><leaf><Key>k</Key></leaf></BoundRequest>"
            }
        };
        assert_eq!(text(request.body()), body);
        assert_eq!(read(protocol, &PUT_BOUND, &request), value(&schemas::BOUND, bound()));
    }
}

#[test]
fn requests_of_other_clients_are_understood() {
    let request = request(
        "PUT",
        "/v1/bucket/-1/keys/dir/?list-type=2&id=b&max-keys=7&x-id=PutBound&id=a",
        &[
            ("X-PARTS", "a,b"),
            ("x-parts", " c "),
            ("x-wait", ""),
            ("x-meta-A", "1"),
            ("if-modified-since", "2026-11-20T22:41:05Z"),
        ],
        "",
    );
    let want = json!({
        "Bucket": "bucket", "Version": -1, "Key": "dir/", "Max": 7, "Ids": ["b", "a"],
        "Others": {"x-id": ["PutBound"]}, "Parts": ["a", "b", "c"], "Meta": {"a": "1"}, "Modified": 1795214465,
    });
    for protocol in REST {
        assert_eq!(read(protocol, &PUT_BOUND, &request), value(&schemas::BOUND, want.clone()));
    }
}

#[test]
fn what_does_not_fit_outside_the_body_is_named() {
    for (uri, headers, complaint) in [
        ("/v1/b/x/keys/k", [("a", "b")], "Value 'x' at 'version' must be an integer"),
        ("/v1/b/1/keys/k?max-keys=", [("a", "b")], "Value '' at 'max' must be an integer"),
        ("/v1/b/1/keys/k", [("x-wait", "maybe")], "Value 'maybe' at 'wait' must be a boolean"),
        ("/v1/b/1", [("a", "b")], "The path does not fit the operation"),
        ("/v1/b/1/keys/%ff", [("a", "b")], "The path is not valid UTF-8"),
    ] {
        let (protocol, service, op) = with(Protocol::RestJson, &PUT_BOUND);
        let error = decode_request(protocol, service, op, &request("PUT", uri, &headers, "")).expect_err(uri);
        assert_eq!((&*error.code, &*error.message), ("SerializationException", complaint));
    }
}

#[test]
fn answers_have_their_status_and_headers_from_members() {
    for protocol in REST {
        let output = json!({"Status": 202, "ETag": "\"e\"", "Modified": 1795214465, "Meta": {"k": "v"}, "Note": "n"});
        let written = answer(protocol, &PUT_BOUND, output);
        assert_eq!(written.status(), 202);
        assert_eq!(written.headers()["etag"], "\"e\"");
        assert_eq!(written.headers()["last-modified"], "Fri, 20 Nov 2026 22:41:05 GMT");
        assert_eq!(written.headers()["x-meta-k"], "v");
    }
    let plain = answer(Protocol::RestXml, &PUT_BOUND, json!({"Status": 201, "Note": "n"}));
    assert_eq!(
        text(plain.body()),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<BoundOut xmlns=\"http://things.example/doc/\"><note>n</note></BoundOut>"
    );
    assert_eq!(plain.headers()["content-type"], "application/xml");
}

#[test]
fn a_payload_is_the_whole_body() {
    for protocol in REST {
        let blob = json!({"Body": "AP8=", "ContentType": "image/png"});
        let request = write(protocol, &PUT_BLOB, blob.clone());
        assert_eq!(
            (&request.body()[..], &request.headers()["content-type"]),
            (&[0u8, 0xff][..], &"image/png".parse().expect("valid"))
        );
        assert_eq!(read(protocol, &PUT_BLOB, &request), value(PUT_BLOB.input, blob.clone()));
        assert_eq!(answer(protocol, &PUT_BLOB, blob).headers()["content-type"], "image/png");
        let untyped = write(protocol, &PUT_BLOB, json!({"Body": "AP8="}));
        assert_eq!(untyped.headers()["content-type"], "application/octet-stream");

        let written = answer(protocol, &PUT_TEXT, json!({"Body": "päyload <"}));
        assert_eq!((text(written.body()), written.status().as_u16()), ("päyload <", 201));
        assert_eq!(written.headers()["content-type"], "text/plain");
        assert!(answer(protocol, &PUT_TEXT, json!({})).body().is_empty());
    }
}

#[test]
fn a_structure_as_payload_is_the_root() {
    same_request(with(Protocol::RestJson, &PUT_LEAF), json!({"Leaf": {"Weight": 1}}), r#"{"weight":1}"#);
    same_request(
        with(Protocol::RestXml, &PUT_LEAF),
        json!({"Leaf": {"Weight": 1, "Kind": "k"}}),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LeafConfiguration xmlns=\"http://things.example/doc/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:kind=\"k\"><weight>1</weight></LeafConfiguration>",
    );
    same_request(with(Protocol::RestJson, &PUT_JSON), json!({"Body": [1, {"a": null}]}), r#"[1,{"a":null}]"#);
}

#[test]
fn s3_style_roots_and_namespaces_do_not_matter_when_reading() {
    let body = "<x:Whatever xmlns:x=\"http://other/\"><x:weight>1</x:weight></x:Whatever>";
    let read = read(Protocol::RestXml, &PUT_LEAF, &request("PUT", "/leaf", &[], body));
    assert_eq!(read, value(PUT_LEAF.input, json!({"Leaf": {"Weight": 1}})));
}

#[test]
fn xml_times_are_iso_and_json_times_are_epochs() {
    let output = json!({"When": 1795214465});
    assert_eq!(text(answer(Protocol::RestJson, &PUT_RICH, output.clone()).body()), r#"{"When":1795214465}"#);
    assert!(
        text(answer(Protocol::RestXml, &PUT_RICH, output).body()).contains("<When>2026-11-20T22:41:05.000Z</When>")
    );
}

#[test]
fn headers_of_answers_cannot_be_split() {
    let (protocol, service, op) = with(Protocol::RestXml, &PUT_BOUND);
    let output = value(op.output, json!({"ETag": "a\r\nx-evil: 1", "Meta": {"bad key\n": "v", "ok": "ü"}}));
    let written = encode_response(protocol, service, op, output, REQUEST_ID);
    assert_eq!(written.headers()["etag"], "ax-evil: 1");
    assert!(written.headers().get("x-evil").is_none());
    let read = decode_response(protocol, service, op, &written).expect("it is a success");
    assert_eq!(read.get("Meta"), value(op.output, json!({"Meta": {"ok": "ü"}})).get("Meta"));
}

#[test]
fn an_empty_body_sets_nothing() {
    for protocol in REST {
        let (protocol, service, op) = with(protocol, &PUT_RICH);
        let read = decode_response(protocol, service, op, &response(200, &[], "")).expect("it is a success");
        assert_eq!(read, Struct::new(op.output));
    }
}
