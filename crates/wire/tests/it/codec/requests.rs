//! What clients write: query, ec2 and JSON requests as tables of inputs and bodies.

use serde_json::json;
use standfast_wire::Protocol;
use standfast_wire::codec::{decode_request, encode_request};

use super::schemas::{self, PUT_RICH, QUERY, rich};
use super::{reads, refuses, request, same_request, text, value};

const QUERY_HEAD: &str = "Action=PutRich&Version=2026-11-20&";

#[track_caller]
fn same_form(protocol: Protocol, input: serde_json::Value, parameters: &str) {
    same_request(rich(protocol), input, &format!("{QUERY_HEAD}{parameters}"));
}

#[test]
fn query_names_lists_and_maps_as_the_model_does() {
    for (input, form) in [
        (json!({"Name": "a b&c=é+%", "Flag": true}), "Name=a%20b%26c%3D%C3%A9%2B%25&Flag=true"),
        (
            json!({"Count": -3, "Big": 9_007_199_254_740_993_i64, "Exact": 0.5}),
            "Count=-3&Big=9007199254740993&Exact=0.5",
        ),
        (json!({"Data": "aGk="}), "Data=aGk%3D"),
        (json!({"Names": ["x", "y"]}), "Names.member.1=x&Names.member.2=y"),
        (json!({"Names": []}), "Names="),
        (json!({"Names": [""]}), "Names.member.1="),
        (json!({"Flat": ["x", "y"]}), "Flat.1=x&Flat.2=y"),
        (json!({"Numbers": [7]}), "Number.1=7"),
        (
            json!({"Lists": [["x"], ["y", "z"]]}),
            "Lists.member.1.member.1=x&Lists.member.2.member.1=y&Lists.member.2.member.2=z",
        ),
        (json!({"Leaves": [{"Key": "k", "Weight": 1}]}), "Leaves.Leaf.1.Key=k&Leaves.Leaf.1.weight=1"),
        (json!({"Tags": {"a": "1"}}), "Tags.entry.1.key=a&Tags.entry.1.value=1"),
        (json!({"LeafMap": {"a": {"Key": "k"}}}), "LeafMap.entry.1.Name=a&LeafMap.entry.1.Value.Key=k"),
        (json!({"FlatMap": {"a": "1", "b": "2"}}), "Attribute.1.K=a&Attribute.1.V=1&Attribute.2.K=b&Attribute.2.V=2"),
        (json!({"Leaf": {"Key": "k"}}), "theLeaf.Key=k"),
        (json!({"Again": {"Again": {"Name": "deep"}}}), "Again.Again.Name=deep"),
        (json!({"When": "2026-11-20T22:41:05.120Z"}), "When=2026-11-20T22%3A41%3A05.120Z"),
        (json!({"WhenEpoch": "2026-11-20T22:41:05Z"}), "WhenEpoch=1795214465"),
        (json!({"WhenDate": "2026-11-20T22:41:05Z"}), "WhenDate=Fri%2C%2020%20Nov%202026%2022%3A41%3A05%20GMT"),
    ] {
        same_form(Protocol::Query, input, form);
    }
}

#[test]
fn ec2_numbers_lists_directly_and_capitalises_names() {
    for (input, form) in [
        (json!({"Items": ["x", "y"]}), "ItemSet.1=x&ItemSet.2=y"),
        (json!({"Leaves": [{"Key": "k"}, {"Weight": 2}]}), "Leaves.1.Key=k&Leaves.2.Weight=2"),
        (json!({"Lists": [["x"]]}), "Lists.1.1=x"),
        (json!({"Leaf": {"Key": "k"}}), "TheLeaf.Key=k"),
    ] {
        same_form(Protocol::Ec2, input, form);
    }
}

#[test]
fn forms_are_read_in_any_order_with_gaps_and_by_old_habits() {
    let query = rich(Protocol::Query);
    reads(query, "Names.member.10=c&Names.member.9=b&Action=X&Names.member.2=a", json!({"Names": ["a", "b", "c"]}));
    reads(query, "Names.1=a&Names.2=b", json!({"Names": ["a", "b"]}));
    reads(query, "Leaves.member.1.Key=k", json!({"Leaves": [{"Key": "k"}]}));
    reads(query, "Flat.member.1=a", json!({"Flat": ["a"]}));
    reads(query, "Tags.1.key=a&Tags.1.value=", json!({"Tags": {"a": ""}}));
    reads(query, "Name=a+b%2bc&Unknown=1&Unknown.Deep.1=2&=&Names.member.x=1", json!({"Name": "a b+c"}));
    reads(query, "Name=first&Name=second", json!({"Name": "first"}));
    reads(
        query,
        "When=2026-11-20T23:41:05%2B01:00&WhenDate=2026-11-20T22:41:05",
        json!({
            "When": "2026-11-20T22:41:05Z", "WhenDate": "2026-11-20T22:41:05Z"
        }),
    );
    reads(rich(Protocol::Ec2), "Leaves.Leaf.1.Key=k", json!({"Leaves": [{"Key": "k"}]}));
}

#[test]
fn query_parameters_may_stand_in_the_uri() {
    let request = request("GET", "/?Action=PutRich&Name=n&Names.member.1=a", &[], "Flag=true");
    let read = decode_request(Protocol::Query, &QUERY, &PUT_RICH, &request).expect("valid");
    assert_eq!(read, value(&schemas::RICH, json!({"Name": "n", "Names": ["a"], "Flag": true})));
}

#[test]
fn query_values_of_the_wrong_kind_are_named() {
    let query = rich(Protocol::Query);
    for (body, message) in [
        ("Flag=yes", "Value 'yes' at 'flag' must be a boolean"),
        ("Count=2147483648", "Value '2147483648' at 'count' must be an integer"),
        ("Count=1.5", "Value '1.5' at 'count' must be an integer"),
        ("Exact=inf", "Value 'inf' at 'exact' must be a number"),
        ("When=yesterday", "Value 'yesterday' at 'when' must be a timestamp"),
        ("Data=%21", "Value '!' at 'data' must be base64 text"),
        ("Names=a", "Value 'a' at 'names' must be a list"),
        ("Again.Leaves.Leaf.2.weight=x", "Value 'x' at 'again.leaves.1.member.weight' must be an integer"),
    ] {
        let error = refuses(query, body);
        assert_eq!((&*error.code, &*error.message), ("ValidationError", message));
    }
    let error = refuses(rich(Protocol::Ec2), "Leaves.1.Weight=x");
    assert_eq!(error.code, "InvalidParameterValue");
    assert_eq!(error.message, "Invalid value 'x' for parameter Leaves.1.Weight: it must be an integer");
}

#[test]
fn forms_that_are_not_text_are_malformed() {
    assert_eq!(refuses(rich(Protocol::Query), "Name=%ff").code, "MalformedQueryString");
    assert_eq!(refuses(rich(Protocol::Ec2), vec![0xff]).code, "MalformedQueryString");
}

#[test]
fn json_has_the_models_names_and_epoch_times() {
    for protocol in [Protocol::Json10, Protocol::Json11] {
        for (input, body) in [
            (json!({}), "{}"),
            (json!({"Name": "q\"\\\n\u{1}é", "Flag": false}), r#"{"Name":"q\"\\\n\u0001é","Flag":false}"#),
            (json!({"Count": 1, "Ratio": 0.1, "Exact": 1.0}), r#"{"Count":1,"Ratio":0.1,"Exact":1.0}"#),
            (json!({"Data": "aGk="}), r#"{"Data":"aGk="}"#),
            (json!({"When": 1795214465}), r#"{"When":1795214465}"#),
            (json!({"When": 1795214465.12}), r#"{"When":1795214465.12}"#),
            (json!({"When": -0.5}), r#"{"When":-0.5}"#),
            (json!({"WhenIso": 1795214465}), r#"{"WhenIso":"2026-11-20T22:41:05.000Z"}"#),
            (json!({"Items": ["a"], "Flat": [], "Numbers": [1]}), r#"{"Items":["a"],"Flat":[],"Numbers":[1]}"#),
            (json!({"FlatMap": {"b": "1", "a": "2"}}), r#"{"FlatMap":{"b":"1","a":"2"}}"#),
            (json!({"Leaf": {"Weight": 1}, "Leaves": [{}]}), r#"{"Leaves":[{}],"Leaf":{"Weight":1}}"#),
            (json!({"Anything": {"a": [1, null, 2.5, "x"]}}), r#"{"Anything":{"a":[1,null,2.5,"x"]}}"#),
        ] {
            same_request(rich(protocol), input, body);
        }
    }
}

#[test]
fn rest_json_bodies_have_the_wires_names() {
    let case = rich(Protocol::RestJson);
    same_request(case, json!({"Items": ["a"], "Leaf": {"Weight": 1}}), r#"{"itemSet":["a"],"theLeaf":{"weight":1}}"#);
}

#[test]
fn json_is_read_leniently_where_clients_differ() {
    let json = rich(Protocol::Json11);
    reads(json, "", json!({}));
    reads(json, " {\"Unknown\": {\"a\": [1]}, \"Name\": null, \"Flag\": true} ", json!({"Flag": true}));
    reads(json, r#"{"When": "2026-11-20T22:41:05Z"}"#, json!({"When": 1795214465}));
    reads(json, r#"{"Flag": true, "Name": "n", "Count": 1}"#, json!({"Flag": true, "Name": "n", "Count": 1}));
    reads(json, r#"{"Data": "aGk"}"#, json!({"Data": "aGk="}));
}

#[test]
fn json_of_the_wrong_kind_is_a_serialization_error() {
    let json = rich(Protocol::Json11);
    for (body, message) in [
        ("[]", "The request must be a structure, not '[...]'"),
        (r#"{"Name": 5}"#, "Value '5' at 'name' must be a string"),
        (r#"{"Flag": "true"}"#, "Value 'true' at 'flag' must be a boolean"),
        (r#"{"Count": 2147483648}"#, "Value '2147483648' at 'count' must be an integer"),
        (r#"{"Count": 1.0}"#, "Value '1.0' at 'count' must be an integer"),
        (r#"{"When": 1e300}"#, "Value '1e+300' at 'when' must be a timestamp"),
        (r#"{"Names": ["a", 1]}"#, "Value '1' at 'names.2.member' must be a string"),
        (r#"{"Names": [null]}"#, "Value 'null' at 'names.1.member' must be a string"),
        (r#"{"Tags": {"a": {}}}"#, "Value '{...}' at 'tags.a' must be a string"),
    ] {
        let error = refuses(json, body);
        assert_eq!((&*error.code, &*error.message), ("SerializationException", message));
    }
    assert_eq!(refuses(json, "{").code, "SerializationException");
}

#[test]
fn heads_of_requests_say_the_protocol_and_the_operation() {
    let head = |protocol, name: &str| {
        let (protocol, service, op) = rich(protocol);
        let request = encode_request(protocol, service, op, &value(op.input, json!({})));
        let header = request.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        format!("{} {} {}", request.method(), request.uri(), header.unwrap_or_default())
    };
    assert_eq!(head(Protocol::Query, "content-type"), "POST / application/x-www-form-urlencoded; charset=utf-8");
    assert_eq!(head(Protocol::Json10, "content-type"), "POST / application/x-amz-json-1.0");
    assert_eq!(head(Protocol::Json11, "content-type"), "POST / application/x-amz-json-1.1");
    assert_eq!(head(Protocol::Json11, "x-amz-target"), "POST / Things_20261120.PutRich");
    assert_eq!(head(Protocol::Cbor, "smithy-protocol"), "POST /service/Things/operation/PutRich rpc-v2-cbor");
    let empty = encode_request(Protocol::Query, &QUERY, &PUT_RICH, &value(&schemas::RICH, json!({})));
    assert_eq!(text(empty.body()), "Action=PutRich&Version=2026-11-20");
}
