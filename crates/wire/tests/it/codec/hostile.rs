//! Inputs that are made to hurt: each is refused, or read, at once and in little memory.

use serde_json::json;
use standfast_wire::Protocol;
use standfast_wire::codec::limits::{DEPTH_MAX, INDEX_MAX, KEY_BYTES_MAX, PARTS_MAX, SLOTS_MAX};

use super::schemas::{rich, with};
use super::{reads, refuses, schemas};

#[test]
fn a_high_index_costs_nothing() {
    let query = rich(Protocol::Query);
    reads(query, "Names.member.999999=a", json!({"Names": ["a"]}));
    for index in [u64::from(INDEX_MAX) + 1, u64::MAX] {
        let error = refuses(query, format!("Names.member.{index}=a"));
        assert!(error.message.contains("index is too high"), "{error}");
    }
    refuses(rich(Protocol::Ec2), format!("Names.{}=a", "9".repeat(500)));
}

#[test]
fn forms_have_a_bounded_number_of_parameters_and_length_of_names() {
    let query = rich(Protocol::Query);
    assert!(refuses(query, "a&".repeat(PARTS_MAX + 1)).message.contains("too many parts"));
    assert!(refuses(query, format!("{}=", "a".repeat(KEY_BYTES_MAX + 1))).message.contains("name is too long"));
    // Many items are fine.
    let many: String = (1..=20_000).map(|i| format!("Names.member.{i}=x&")).collect();
    reads(query, many, json!({"Names": vec!["x"; 20_000]}));
}

#[test]
fn a_few_bytes_cannot_ask_for_many_structures() {
    // Each of them is much larger than the bytes that ask for it.
    let count = SLOTS_MAX / 4;
    let refused = "it has too many structures";
    let json = format!("{{\"Leaves\":[{}{{}}]}}", "{},".repeat(count));
    assert!(refuses(rich(Protocol::Json11), json).message.ends_with(refused));
    let many = [b"\xa1\x66Leaves\x9f", &b"\xa0".repeat(count)[..], b"\xff"].concat();
    assert!(refuses(rich(Protocol::Cbor), many).message.ends_with("it has too many parts"));
    let xml = format!("<Rich><Leaves>{}</Leaves></Rich>", "<a/>".repeat(count));
    assert!(refuses(rich(Protocol::RestXml), xml).message.ends_with("it has too many parts"));
}

#[test]
fn nesting_is_bounded_in_every_protocol() {
    let levels = DEPTH_MAX + 1;
    refuses(rich(Protocol::Query), format!("{}Name=x", "Again.".repeat(levels)));
    refuses(rich(Protocol::Ec2), format!("{}Name=x", "Again.".repeat(levels)));
    for depth in [levels, 100_000] {
        let json = format!("{}{{}}{}", "{\"Again\":".repeat(depth), "}".repeat(depth));
        refuses(rich(Protocol::Json11), json.clone());
        refuses(rich(Protocol::RestJson), json);
        let xml = format!("<Rich>{}{}</Rich>", "<Again>".repeat(depth), "</Again>".repeat(depth));
        refuses(rich(Protocol::RestXml), xml);
        refuses(rich(Protocol::RestXml), "<a>".repeat(depth));
        refuses(rich(Protocol::Cbor), [&b"\xa1\x65Again".repeat(depth)[..], b"\xa0"].concat());
        // In what nobody reads, too.
        refuses(rich(Protocol::Cbor), [b"\xa1\x61?", &b"\x81".repeat(depth)[..], b"\x00"].concat());
        refuses(rich(Protocol::Cbor), [b"\xa1\x61?", &b"\xbf\x61a".repeat(depth)[..]].concat());
    }
    // Tags and chunks are not levels, and run out with the bytes.
    refuses(rich(Protocol::Cbor), [b"\xa1\x64Name", &b"\xc1".repeat(100_000)[..]].concat());
    refuses(rich(Protocol::Cbor), [b"\xa1\x64Name", &b"\x7f".repeat(100_000)[..]].concat());
}

#[test]
fn recursion_within_bounds_is_fine() {
    let depth = DEPTH_MAX - 1;
    let mut input = json!({"Name": "x"});
    for _ in 0..depth {
        input = json!({ "Again": input });
    }
    reads(rich(Protocol::Json11), input.to_string(), input.clone());
    reads(rich(Protocol::Query), format!("{}Name=x", "Again.".repeat(depth)), input.clone());
    let xml = format!("<Rich>{}<Name>x</Name>{}</Rich>", "<Again>".repeat(depth), "</Again>".repeat(depth));
    reads(rich(Protocol::RestXml), xml, input);
}

#[test]
fn xml_has_no_document_types_and_no_entities_but_its_own() {
    let case = rich(Protocol::RestXml);
    for body in [
        "<!DOCTYPE r [<!ENTITY a \"aaaa\">]><Rich><Name>&a;</Name></Rich>",
        "<!DOCTYPE r SYSTEM \"file:///etc/passwd\"><Rich/>",
        "<Rich><Name>&a;</Name></Rich>",
        "<Rich><Name>&#0;</Name></Rich>",
        "<Rich><Name>&#xD800;</Name></Rich>",
        "<Rich><Name></Rich>",
        "<Rich>",
        "</Rich>",
        "<Rich/><Rich/>",
        "<Rich/>text",
        "text",
        "<Rich a=b/>",
        "<Rich a='1' a='2'/>",
        "<",
    ] {
        let error = refuses(case, body);
        assert_eq!(error.code, "MalformedXML", "{body}: {error}");
    }
    refuses(case, vec![b'<', 0xff, b'/', b'>']);
}

#[test]
fn a_missing_body_is_an_input_with_nothing_set() {
    for (protocol, _) in schemas::HOMES {
        reads(with(*protocol, &schemas::PUT_RICH), "", json!({}));
    }
}
