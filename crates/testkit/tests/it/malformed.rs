//! Every bound operation against malformed input: the protocol's own error, a 4xx, naming the member.

use bytes::Bytes;
use standfast_api::SERVICES;
use standfast_testkit::TestCloud;
use standfast_wire::{Limits, OperationSchema, Protocol, ServiceSchema, Struct, StructSchema, Type, Value, codec};

/// Texts longer than this are not made, to keep the walk quick.
const TEXT_MAX: i64 = 10_000;

#[test]
fn every_bound_operation_refuses_malformed_input() {
    standfast_testkit::run(21, |cloud| async move {
        let mut walked = 0;
        for (service, operation) in cloud.cloud.bound_operations() {
            let service = SERVICES.iter().find(|s| s.name == service).expect("a service of the api");
            let operation = service.operation(operation).expect("an operation of the api");
            for protocol in service.protocols {
                walk(&cloud, service, operation, *protocol).await;
            }
            walked += 1;
        }
        assert!(walked > 150, "only {walked} operations are bound");
    });
}

async fn walk(cloud: &TestCloud, service: &'static ServiceSchema, op: &'static OperationSchema, protocol: Protocol) {
    let valid = minimal(op.input, 0);
    for (slot, member) in op.input.members.iter().enumerate() {
        if member.required && !member.idempotency_token {
            let mut input = valid.clone();
            input.slots[slot] = Value::Null;
            if member.location == standfast_wire::Location::Uri {
                continue; // A path without its label is another path.
            }
            expect(cloud, service, op, protocol, &input, said(member, protocol), "is missing").await;
        }
        // ec2's models carry no bounds that its service checks, but its enums are checked.
        let checked =
            protocol != Protocol::Ec2 || matches!(member.ty, Type::String(limits) if !limits.values.is_empty());
        if let Some(bad) = out_of_range(&member.ty)
            && checked
        {
            let mut input = valid.clone();
            input.slots[slot] = bad;
            expect(cloud, service, op, protocol, &input, said(member, protocol), "is out of range").await;
        }
    }
    if matches!(protocol, Protocol::Json10 | Protocol::Json11 | Protocol::Cbor)
        || (protocol == Protocol::RestJson && op.method == "POST")
    {
        let mut request = codec::encode_request(protocol, service, op, &valid);
        *request.body_mut() = Bytes::from_static(b"{\"a\": [1, 2, \xff");
        let (status, body) = cloud.raw(cloud.signed(service, request)).await;
        assert!((400..500).contains(&status), "{}:{} {protocol:?} garbage: {status} {body}", service.name, op.name);
    }
}

/// What the protocol's clients call the member.
fn said(member: &standfast_wire::Member, protocol: Protocol) -> &'static str {
    if protocol == Protocol::Ec2 { member.ec2 } else { member.name }
}

async fn expect(
    cloud: &TestCloud,
    service: &'static ServiceSchema,
    op: &'static OperationSchema,
    protocol: Protocol,
    input: &Struct,
    member: &str,
    what: &str,
) {
    let request = codec::encode_request(protocol, service, op, input);
    let (status, body) = cloud.raw(cloud.signed(service, request)).await;
    let context = format!("{}:{} in {protocol:?} when {member} {what}: {status} {body}", service.name, op.name);
    assert!((400..500).contains(&status), "{context}");
    assert!(body.to_ascii_lowercase().contains(&member.to_ascii_lowercase()), "{context}");
    let envelope = match protocol {
        Protocol::Query | Protocol::RestXml => body.contains("<ErrorResponse"),
        Protocol::Ec2 => body.contains("<Response><Errors><Error>"),
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => body.contains("\"__type\""),
        Protocol::Cbor => body.contains("__type"),
    };
    assert!(envelope, "{context}");
}

/// A structure with its required members set to something that passes the model's bounds.
fn minimal(schema: &'static StructSchema, depth: usize) -> Struct {
    let mut out = Struct::new(schema);
    for (slot, member) in schema.members.iter().enumerate() {
        if member.required {
            out.slots[slot] = valid(&member.ty, depth);
        }
    }
    out
}

fn valid(ty: &Type, depth: usize) -> Value {
    let number = |limits: &Limits| limits.min.unwrap_or(1).max(limits.max.unwrap_or(1).min(1));
    match ty {
        Type::Bool => Value::Bool(true),
        Type::Int(limits) | Type::Long(limits) => Value::Int(number(limits)),
        Type::Float(limits) | Type::Double(limits) => Value::Float(number(limits) as f64),
        Type::String(limits) => match limits.values.first() {
            Some(value) => Value::String((*value).to_owned()),
            None => Value::String("x".repeat(limits.min.unwrap_or(1).max(1) as usize)),
        },
        Type::Blob(_) => Value::Blob(b"x".to_vec()),
        Type::Timestamp(_) => Value::Time(standfast_testkit::BEGINNING),
        Type::List(list) if depth < 4 => {
            Value::List((0..list.limits.min.unwrap_or(1).max(1)).map(|_| valid(&list.item, depth + 1)).collect())
        }
        Type::Map(map) if depth < 4 => Value::Map(vec![("x".into(), valid(&map.value, depth + 1))]),
        Type::List(_) => Value::List(vec![]),
        Type::Map(_) => Value::Map(vec![]),
        Type::Struct(schema) => Value::Struct(minimal(schema, depth + 1)),
        Type::Document => Value::Document(Box::new(serde_json::json!({}))),
    }
}

/// A value that the model's bounds forbid, where it has any.
fn out_of_range(ty: &Type) -> Option<Value> {
    match ty {
        Type::Int(limits) | Type::Long(limits) => {
            let below = limits.min.and_then(|min| min.checked_sub(1));
            let above = limits.max.filter(|max| *max < i64::from(i32::MAX)).map(|max| max + 1);
            above.or(below.filter(|below| *below >= i64::from(i32::MIN))).map(Value::Int)
        }
        Type::String(limits) if !limits.values.is_empty() => Some(Value::String("no-such-value".into())),
        Type::String(limits) => {
            let above = limits.max.filter(|max| *max < TEXT_MAX)?;
            Some(Value::String("x".repeat(above as usize + 1)))
        }
        _ => None,
    }
}
