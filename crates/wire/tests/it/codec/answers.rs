//! What clients read: query, ec2 and JSON answers as tables of outputs and bodies.

use serde_json::json;
use standfast_wire::Protocol;
use standfast_wire::codec::{decode_response, encode_response};

use super::schemas::{DO_NOTHING, EC2, PUT_RICH, QUERY, RICH, rich, with};
use super::{REQUEST_ID, response, same_answer, text, value};

#[track_caller]
fn same_query(output: serde_json::Value, inner: &str) {
    let body = format!(
        "<PutRichResponse xmlns=\"http://things.example/doc/\"><PutRichResult>{inner}</PutRichResult>\
         <ResponseMetadata><RequestId>7f1c2f0e-req</RequestId></ResponseMetadata></PutRichResponse>"
    );
    same_answer(rich(Protocol::Query), output, &body);
}

#[test]
fn query_answers_stand_in_the_result_element() {
    for (output, inner) in [
        (
            json!({"Name": "a<b>&\"c\"\r\n", "Flag": true}),
            "<Name>a&lt;b&gt;&amp;&quot;c&quot;&#xD;\n</Name><Flag>true</Flag>",
        ),
        (json!({"Exact": 80.0, "Ratio": 0.1}), "<Ratio>0.1</Ratio><Exact>80.0</Exact>"),
        (json!({"When": 1795214465.12}), "<When>2026-11-20T22:41:05.120Z</When>"),
        (json!({"Data": "aGk="}), "<Data>aGk=</Data>"),
        (json!({"Names": ["a", ""]}), "<Names><member>a</member><member></member></Names>"),
        (json!({"Names": [], "Tags": {}}), "<Names/><Tags/>"),
        (json!({"Items": ["a"]}), "<itemSet><item>a</item></itemSet>"),
        (json!({"Flat": ["a", "b"]}), "<Flat>a</Flat><Flat>b</Flat>"),
        (json!({"Numbers": [1, 2]}), "<Number>1</Number><Number>2</Number>"),
        (json!({"Leaves": [{"Key": "k"}]}), "<Leaves><Leaf><Key>k</Key></Leaf></Leaves>"),
        (json!({"Tags": {"a": "1"}}), "<Tags><entry><key>a</key><value>1</value></entry></Tags>"),
        (json!({"FlatMap": {"a": "1"}}), "<Attribute><K>a</K><V>1</V></Attribute>"),
        (
            json!({"Leaf": {"Kind": "x\"y\n", "Weight": 2}}),
            "<theLeaf xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:kind=\"x&quot;y&#xA;\">\
             <weight>2</weight></theLeaf>",
        ),
    ] {
        same_query(output, inner);
    }
}

#[test]
fn characters_that_xml_cannot_hold_are_replaced() {
    let output = value(&RICH, json!({"Name": "a\u{0}b\u{1b}c\u{fffe}d\u{e000}"}));
    let written = encode_response(Protocol::Query, &QUERY, &PUT_RICH, output, REQUEST_ID);
    assert!(text(written.body()).contains("<Name>a\u{fffd}b\u{fffd}c\u{fffd}d\u{e000}</Name>"));
}

#[test]
fn an_operation_without_a_result_answers_its_metadata() {
    same_answer(
        with(Protocol::Query, &DO_NOTHING),
        json!({}),
        "<DoNothingResponse xmlns=\"http://things.example/doc/\"><ResponseMetadata>\
         <RequestId>7f1c2f0e-req</RequestId></ResponseMetadata></DoNothingResponse>",
    );
}

#[test]
fn ec2_answers_have_the_request_id_among_the_members() {
    let answer = same_answer(
        rich(Protocol::Ec2),
        json!({"Items": ["a"], "Names": [], "Leaf": {"Weight": 1}}),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PutRichResponse xmlns=\"http://things.example/doc/\">\
         <requestId>7f1c2f0e-req</requestId><Names/><itemSet><item>a</item></itemSet>\
         <theLeaf><weight>1</weight></theLeaf></PutRichResponse>",
    );
    assert_eq!(answer.headers()["content-type"], "text/xml;charset=utf-8");
    let nothing = encode_response(Protocol::Ec2, &EC2, &DO_NOTHING, value(DO_NOTHING.output, json!({})), "r");
    assert!(text(nothing.body()).ends_with("<requestId>r</requestId><return>true</return></DoNothingResponse>"));
}

#[test]
fn json_answers_leave_out_what_is_not_set() {
    let body = r#"{"Name":"n","When":1795214465.5,"Names":[],"Tags":{"a":"1"}}"#;
    let output = json!({"Name": "n", "When": 1795214465.5, "Names": [], "Tags": {"a": "1"}});
    let answer = same_answer(rich(Protocol::Json11), output.clone(), body);
    assert_eq!(answer.headers()["content-type"], "application/x-amz-json-1.1");
    let answer = same_answer(rich(Protocol::Json10), output, body);
    assert_eq!(answer.headers()["content-type"], "application/x-amz-json-1.0");
    assert_eq!(same_answer(rich(Protocol::Json10), json!({}), "{}").status(), 200);
}

#[test]
fn numbers_that_are_none_have_names() {
    let read = |body: &'static str| {
        decode_response(Protocol::Json11, &super::schemas::JSON, &PUT_RICH, &response(200, &[], body)).expect("valid")
    };
    let mut output = value(&RICH, json!({}));
    output.set("Exact", standfast_wire::Value::Float(f64::NEG_INFINITY));
    output.set("Ratio", standfast_wire::Value::Float(f64::INFINITY));
    assert_eq!(read(r#"{"Exact":"-Infinity","Ratio":"Infinity"}"#), output);
    for (protocol, service) in super::schemas::HOMES {
        let written = encode_response(*protocol, service, &PUT_RICH, output.clone(), REQUEST_ID);
        assert_eq!(decode_response(*protocol, service, &PUT_RICH, &written).expect("valid"), output);
    }
}

#[test]
fn every_answer_carries_the_request_id() {
    for (protocol, service) in super::schemas::HOMES {
        let written = encode_response(*protocol, service, &PUT_RICH, value(&RICH, json!({})), REQUEST_ID);
        assert_eq!(written.headers()["x-amzn-requestid"], REQUEST_ID);
    }
}

#[test]
fn xml_is_read_with_entities_cdata_prefixes_and_space() {
    let body = "<?xml version=\"1.0\"?><!-- c --><p:PutRichResponse xmlns:p='u'>\n <PutRichResult>\n\
                <Name>&lt;a&#x20AC;&#8364;<![CDATA[<b>&amp;]]>&amp;</Name> <Count> 5 </Count>\
                <theLeaf x:kind='k'/><Unknown><deep/></Unknown></PutRichResult></p:PutRichResponse>\n";
    let read = decode_response(Protocol::Query, &QUERY, &PUT_RICH, &response(200, &[], body)).expect("valid");
    let want = json!({"Name": "<a€€<b>&amp;&", "Count": 5, "Leaf": {"Kind": "k"}});
    assert_eq!(read, value(&RICH, want));
}

#[test]
fn answers_with_many_items_read_back() {
    let output = value(
        &RICH,
        json!({"Leaves": vec![json!({"Key": "key", "Weight": 1}); 80_000], "Names": vec!["name"; 80_000]}),
    );
    for (protocol, service) in super::schemas::HOMES {
        let written = encode_response(*protocol, service, &PUT_RICH, output.clone(), REQUEST_ID);
        assert_eq!(decode_response(*protocol, service, &PUT_RICH, &written).expect("it is a success"), output);
    }
}
