//! Whatever is written reads back the same, in every protocol, but for what the protocol has no way to say.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use standfast_core::Timestamp;
use standfast_wire::codec::{decode_request, decode_response, encode_request, encode_response};
use standfast_wire::{Protocol, Struct, StructSchema, TimeFormat, Type, Value};

use super::REQUEST_ID;
use super::schemas::{BOUND, BOUND_OUT, HOMES, PUT_BOUND, PUT_RICH, RICH, with};

/// Levels of structures that are made.
const DEPTH: u32 = 3;

fn structure(schema: &'static StructSchema, depth: u32) -> BoxedStrategy<Struct> {
    let slots: Vec<BoxedStrategy<Value>> = schema
        .members
        .iter()
        .map(|member| match member.ty {
            Type::Struct(_) if depth == 0 => Just(Value::Null).boxed(),
            ref ty => prop::option::weighted(0.4, any_value(ty, depth)).prop_map(Option::unwrap_or_default).boxed(),
        })
        .collect();
    slots.prop_map(move |slots| Struct { schema, slots }).boxed()
}

fn any_value(ty: &Type, depth: u32) -> BoxedStrategy<Value> {
    let deeper = depth.saturating_sub(1);
    match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Int(_) => any::<i32>().prop_map(|i| Value::Int(i.into())).boxed(),
        Type::Long(_) => any::<i64>().prop_map(Value::Int).boxed(),
        // Not NaN, which equals nothing.
        Type::Float(_) => any::<f32>().prop_filter("NaN", |f| !f.is_nan()).prop_map(|f| Value::Float(f.into())).boxed(),
        Type::Double(_) => any::<f64>().prop_filter("NaN", |f| !f.is_nan()).prop_map(Value::Float).boxed(),
        Type::String(_) => any_text().prop_map(Value::String).boxed(),
        Type::Blob(_) => vec(any::<u8>(), 0..20).prop_map(Value::Blob).boxed(),
        Type::Timestamp(_) => {
            (-62_135_596_800_000..253_402_207_200_000_i64).prop_map(|millis| Value::Time(Timestamp(millis))).boxed()
        }
        Type::List(list) => vec(any_value(&list.item, deeper), 0..4).prop_map(Value::List).boxed(),
        Type::Map(map) => btree_map(any_text(), any_value(&map.value, deeper), 0..4)
            .prop_map(|entries| Value::Map(entries.into_iter().collect()))
            .boxed(),
        Type::Struct(schema) => structure(schema, deeper).prop_map(Value::Struct).boxed(),
        Type::Document => any_json().prop_map(|json| Value::Document(Box::new(json))).boxed(),
    }
}

/// Texts with a liking for what needs escaping.
fn any_text() -> BoxedStrategy<String> {
    prop_oneof![
        ".{0,12}",
        "[<>&\"'\\r\\n\\t \\]%+=.,/\\\\;#?]{0,8}",
        vec(any::<char>(), 0..6).prop_map(|chars| chars.into_iter().collect::<String>()),
    ]
    .boxed()
}

fn any_json() -> BoxedStrategy<serde_json::Value> {
    use serde_json::Value as Json;
    // At the top, null is how JSON says that nothing is there.
    let leaf = prop_oneof![
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any_text().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            btree_map(any_text(), inner, 0..4).prop_map(|entries| Json::Object(entries.into_iter().collect())),
        ]
    })
    .boxed()
}

/// What the other side can know of a structure.
fn known(protocol: Protocol, way: Way, value: &Struct) -> Struct {
    let members = value.schema.members.iter().zip(&value.slots);
    let slots = members.map(|(member, value)| known_value(protocol, way, &member.ty, value)).collect();
    Struct { schema: value.schema, slots }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Request,
    Answer,
}

/// The losses, all of them:
/// - XML has no way to tell an empty flattened list or map from none, and no characters below space but tab, line feed
///   and carriage return;
/// - the dates of RFC 9110 have no fractions of seconds, where they are written as text;
fn known_value(protocol: Protocol, way: Way, ty: &Type, value: &Value) -> Value {
    let xml =
        protocol == Protocol::RestXml || (way == Way::Answer && matches!(protocol, Protocol::Query | Protocol::Ec2));
    let inner = |ty: &Type, value: &Value| known_value(protocol, way, ty, value);
    let text = |text: &str| if xml { text.replace(not_in_xml, "\u{fffd}") } else { text.to_owned() };
    match (ty, value) {
        (Type::List(list), Value::List(items)) if xml && list.flattened && items.is_empty() => Value::Null,
        (Type::Map(map), Value::Map(entries)) if xml && map.flattened && entries.is_empty() => Value::Null,
        (Type::List(list), Value::List(items)) => {
            Value::List(items.iter().map(|item| inner(&list.item, item)).collect())
        }
        (Type::Map(map), Value::Map(entries)) => {
            Value::Map(entries.iter().map(|(key, value)| (text(key), inner(&map.value, value))).collect())
        }
        (_, Value::Struct(value)) => Value::Struct(known(protocol, way, value)),
        (_, Value::String(value)) => Value::String(text(value)),
        (Type::Timestamp(Some(TimeFormat::HttpDate)), Value::Time(time)) if protocol != Protocol::Cbor => {
            Value::Time(whole_seconds(*time))
        }
        // JSON escapes what XML cannot hold, but for these two.
        (Type::Document, Value::Document(json)) if xml => {
            let json = json.to_string().replace(not_in_xml, "\u{fffd}");
            Value::Document(Box::new(serde_json::from_str(&json).expect("still JSON")))
        }
        _ => value.clone(),
    }
}

fn not_in_xml(c: char) -> bool {
    matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp(time.0.div_euclid(1000) * 1000)
}

/// Makes what stands outside a body something that can stand there: headers hold no controls and no space at their
/// ends, header names are tokens in lower case, a label is not empty, and times are whole seconds.
fn bindable(mut value: Struct) -> Struct {
    for (member, slot) in value.schema.members.iter().zip(&mut value.slots) {
        match (member.name, &mut *slot) {
            ("Bucket" | "Key", Value::String(text)) if text.is_empty() => text.push('k'),
            ("Bucket" | "Key", Value::Null) => *slot = Value::String("k".to_owned()),
            ("Version", Value::Null) => *slot = Value::Int(1),
            ("Token" | "ETag", Value::String(text)) => *text = header_text(text),
            ("Parts", Value::List(items)) => {
                for item in items {
                    if let Value::String(text) = item {
                        text.retain(|c| !c.is_control());
                    }
                }
            }
            ("Modified", Value::Time(time)) => *time = whole_seconds(*time),
            ("Dates", Value::List(items)) => {
                for item in items {
                    if let Value::Time(time) = item {
                        *time = whole_seconds(*time);
                    }
                }
            }
            ("Meta", Value::Map(entries)) => {
                for (index, (key, value)) in entries.iter_mut().enumerate() {
                    *key = format!("k{index}");
                    if let Value::String(text) = value {
                        *text = header_text(text);
                    }
                }
            }
            // A name of the query string that is not a member's own.
            ("Others", Value::Map(entries)) => {
                for (index, (key, _)) in entries.iter_mut().enumerate() {
                    key.push_str(&format!(" other {index}"));
                }
                // A name without a value is not there.
                entries.retain(|(_, values)| !matches!(values, Value::List(items) if items.is_empty()));
            }
            ("Status", _) => *slot = Value::Int(202),
            _ => {}
        }
        let empty = matches!(slot, Value::List(items) if items.is_empty())
            || matches!(slot, Value::Map(entries) if entries.is_empty());
        if empty {
            *slot = Value::Null;
        }
    }
    value
}

fn header_text(text: &str) -> String {
    text.replace(char::is_control, "").trim().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_read_back(input in structure(&RICH, DEPTH)) {
        for (protocol, service) in HOMES {
            let written = encode_request(*protocol, service, &PUT_RICH, &input);
            let read = decode_request(*protocol, service, &PUT_RICH, &written);
            let known = known(*protocol, Way::Request, &input);
            prop_assert_eq!(read, Ok(known), "{:?}: {:?}", protocol, written);
        }
    }

    #[test]
    fn answers_read_back(output in structure(&RICH, DEPTH)) {
        for (protocol, service) in HOMES {
            let written = encode_response(*protocol, service, &PUT_RICH, output.clone(), REQUEST_ID);
            let read = decode_response(*protocol, service, &PUT_RICH, &written);
            let known = known(*protocol, Way::Answer, &output);
            prop_assert_eq!(read, Ok(known), "{:?}: {:?}", protocol, written);
        }
    }

    #[test]
    fn members_outside_the_body_read_back(
        input in structure(&BOUND, DEPTH).prop_map(bindable),
        output in structure(&BOUND_OUT, DEPTH).prop_map(bindable),
    ) {
        for protocol in [Protocol::RestJson, Protocol::RestXml] {
            let (protocol, service, op) = with(protocol, &PUT_BOUND);
            let written = encode_request(protocol, service, op, &input);
            let read = decode_request(protocol, service, op, &written);
            prop_assert_eq!(read.map(|read| body(&read)), Ok(body(&known_body(protocol, &input))), "{:?}", written);
            let written = encode_response(protocol, service, op, output.clone(), REQUEST_ID);
            let read = decode_response(protocol, service, op, &written);
            prop_assert_eq!(read, Ok(known_body(protocol, &output)), "{:?}", written);
        }
    }
}

/// `known`, but for members outside the body, which are no XML.
fn known_body(protocol: Protocol, value: &Struct) -> Struct {
    let mut out = known(protocol, Way::Request, value);
    for (slot, member) in value.schema.members.iter().enumerate() {
        if member.location != standfast_wire::Location::Body {
            out.slots[slot] = value.slots[slot].clone();
        }
    }
    out
}

/// The same with maps sorted: headers and query strings have an order of their own.
fn body(value: &Struct) -> Struct {
    let mut value = value.clone();
    for slot in &mut value.slots {
        if let Value::Map(entries) = slot {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
    value
}
