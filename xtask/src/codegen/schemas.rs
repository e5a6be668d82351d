//! `schemas.rs` of a service's crate: the statics that codecs walk. Each is called like its shape.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, Result, bail};
use serde_json::Number;

use super::names::{self, identifier};
use super::resolve::{Api, shape_of};
use crate::model::{Kind, Operation, Reference, Shape};

pub fn schemas(api: &Api) -> Result<String> {
    let mut out = String::from("use standfast_wire::schema::*;\n\n");
    let flattened = flattened_by_member(api)?;
    for (name, shape) in &api.model.shapes {
        if !api.errors.contains(name) {
            write_shape(api, &mut out, name, shape).with_context(|| format!("in {name}"))?;
            if flattened.contains(name.as_str()) {
                let shape = Shape { flattened: true, ..shape.clone() };
                write_collection(api, &mut out, &flattened_name(name), name, &shape)?;
            }
        }
    }
    out.push_str("\npub mod operations {\nuse super::*;\n");
    for (name, operation) in &api.model.operations {
        write_operation(&mut out, name, operation).with_context(|| format!("in {name}"))?;
    }
    out.push_str("}\n\n");
    write_service(api, &mut out)?;
    Ok(out)
}

/// `errors.rs`: the errors that operations are known to give.
pub fn errors(api: &Api) -> Result<String> {
    let mut out = String::from("use standfast_wire::ErrorSchema;\n\n");
    for name in error_shapes(api) {
        let shape = api.model.shape(name)?;
        let error = shape.error.as_ref();
        let code = error.and_then(|error| error.code.as_deref()).unwrap_or(name);
        let default = if shape.fault { 500 } else { 400 };
        let status = error.and_then(|error| error.http_status_code).unwrap_or(default);
        let constant = names::constant(name);
        writeln!(
            out,
            "pub static {constant}: ErrorSchema = ErrorSchema {{ shape: {name:?}, code: {code:?}, status: {status} }};"
        )?;
    }
    Ok(out)
}

fn error_shapes(api: &Api) -> BTreeSet<&str> {
    let operations = api.model.operations.values();
    operations.flat_map(|operation| &operation.errors).map(|error| error.shape.as_str()).collect()
}

/// Lists and maps that some member flattens while the shape itself does not.
fn flattened_by_member(api: &Api) -> Result<BTreeSet<&str>> {
    let mut out = BTreeSet::new();
    for reference in api.model.shapes.values().flat_map(Shape::references) {
        if reference.flattened && !api.model.shape(&reference.shape)?.flattened {
            out.insert(reference.shape.as_str());
        }
    }
    Ok(out)
}

fn flattened_name(name: &str) -> String {
    format!("{name}__flattened")
}

fn write_shape(api: &Api, out: &mut String, name: &str, shape: &Shape) -> Result<()> {
    match shape.kind {
        Kind::Structure if shape.document => Ok(()),
        Kind::Structure => write_structure(api, out, name, shape),
        Kind::List | Kind::Map => write_collection(api, out, name, name, shape),
        _ => match limits(shape) {
            Some(limits) => Ok(writeln!(out, "pub static {}: Limits = {limits};", identifier(name))?),
            None => Ok(()),
        },
    }
}

fn write_structure(api: &Api, out: &mut String, name: &str, shape: &Shape) -> Result<()> {
    let payload = match &shape.payload {
        Some(payload) => {
            let slot = shape.members.0.iter().position(|(member, _)| member == payload);
            format!("Some({})", slot.with_context(|| format!("no member '{payload}'"))?)
        }
        None => "None".to_owned(),
    };
    let (ident, union) = (identifier(name), shape.union);
    write!(out, "pub static {ident}: StructSchema = StructSchema {{ name: {name:?}, payload: {payload}, ")?;
    if shape.members.is_empty() {
        writeln!(out, "union: {union}, members: &[] }};")?;
        return Ok(());
    }
    writeln!(out, "union: {union}, members: &[")?;
    for (member, reference) in &shape.members.0 {
        let required = shape.required.contains(member);
        writeln!(out, "    {},", self::member(api, member, reference, required)?)?;
    }
    out.push_str("] };\n");
    Ok(())
}

fn member(api: &Api, name: &str, reference: &Reference, required: bool) -> Result<String> {
    let shape = api.model.shape(&reference.shape)?;
    let flattened = shape.kind == Kind::List && (reference.flattened || shape.flattened);
    let item_name = shape.member.as_ref().and_then(|item| item.location_name.as_deref());
    let own_name = reference.location_name.as_deref().or(shape.location_name.as_deref());
    // In XML protocols a flattened list's items stand where the member would, under their own name.
    let location_name = if flattened && api.speaks_xml() { item_name.or(own_name) } else { own_name };
    let wire = location_name.unwrap_or(name);
    let ec2 = match (&reference.query_name, own_name) {
        (Some(query), _) => query.clone(),
        (None, Some(own)) => names::upper_first(own),
        (None, None) => name.to_owned(),
    };
    let ty = type_of(api, reference)?;
    let mut out = if wire == name && ec2 == name {
        format!("Member::plain({name:?}, {ty})")
    } else {
        format!("Member::new({name:?}, {wire:?}, {ec2:?}, {ty})")
    };
    match reference.location.as_deref() {
        None => {}
        Some("header") => out.push_str(".at(Location::Header)"),
        Some("headers") => out.push_str(".at(Location::Headers)"),
        Some("uri") => out.push_str(".at(Location::Uri)"),
        Some("querystring") => out.push_str(".at(Location::Query)"),
        Some("statusCode") => out.push_str(".at(Location::Status)"),
        Some(other) => bail!("unknown location '{other}'"),
    }
    for (holds, call) in [
        (required, ".required()"),
        (reference.xml_attribute, ".xml_attribute()"),
        (reference.idempotency_token, ".idempotency_token()"),
    ] {
        if holds {
            out.push_str(call);
        }
    }
    Ok(out)
}

fn type_of(api: &Api, reference: &Reference) -> Result<String> {
    let name = &reference.shape;
    let shape = api.model.shape(name)?;
    let (ident, limits) = (identifier(name), limits_of(name, shape));
    let collection = if reference.flattened && !shape.flattened { flattened_name(name) } else { ident.clone() };
    Ok(match shape.kind {
        Kind::Structure if shape.document => "Type::Document".to_owned(),
        Kind::Structure => format!("Type::Struct(&{ident})"),
        Kind::List => format!("Type::List(&{collection})"),
        Kind::Map => format!("Type::Map(&{collection})"),
        Kind::String | Kind::Character => format!("Type::String({limits})"),
        Kind::Boolean => "Type::Bool".to_owned(),
        Kind::Byte | Kind::Short | Kind::Integer => format!("Type::Int({limits})"),
        Kind::Long => format!("Type::Long({limits})"),
        Kind::Float => format!("Type::Float({limits})"),
        Kind::Double => format!("Type::Double({limits})"),
        Kind::Blob => format!("Type::Blob({limits})"),
        Kind::Timestamp => {
            let format = match reference.timestamp_format.as_deref().or(shape.timestamp_format.as_deref()) {
                None => "None",
                Some("iso8601") => "Some(TimeFormat::Iso8601)",
                Some("unixTimestamp") => "Some(TimeFormat::Epoch)",
                Some("rfc822") => "Some(TimeFormat::HttpDate)",
                Some(other) => bail!("unknown timestamp format '{other}'"),
            };
            format!("Type::Timestamp({format})")
        }
    })
}

/// A list's or map's static; `shape_name` is where its limits are, `name` what the static is called.
fn write_collection(api: &Api, out: &mut String, name: &str, shape_name: &str, shape: &Shape) -> Result<()> {
    let (ident, flattened) = (identifier(name), shape.flattened);
    let limits = limits(shape).map_or("&FREE".to_owned(), |limits| format!("&{limits}"));
    if shape.kind == Kind::List {
        let item = shape.member.as_ref().with_context(|| format!("the list {shape_name} has no item"))?;
        let (ty, wire) = (type_of(api, item)?, item.location_name.as_deref().unwrap_or("member"));
        writeln!(
            out,
            "pub static {ident}: ListSchema = \
             ListSchema {{ item: {ty}, wire: {wire:?}, flattened: {flattened}, limits: {limits} }};"
        )?;
        return Ok(());
    }
    let key = shape.key.as_ref().with_context(|| format!("the map {shape_name} has no key"))?;
    let value = shape.value.as_ref().with_context(|| format!("the map {shape_name} has no value"))?;
    let key_limits = limits_of(&key.shape, api.model.shape(&key.shape)?);
    let key_wire = key.location_name.as_deref().unwrap_or("key");
    let value_wire = value.location_name.as_deref().unwrap_or("value");
    let ty = type_of(api, value)?;
    writeln!(
        out,
        "pub static {ident}: MapSchema = MapSchema {{ key: {key_limits}, value: {ty}, key_wire: {key_wire:?}, \
         value_wire: {value_wire:?}, flattened: {flattened}, limits: {limits} }};"
    )?;
    Ok(())
}

fn limits_of(name: &str, shape: &Shape) -> String {
    if limits(shape).is_some() { format!("&{}", identifier(name)) } else { "&FREE".to_owned() }
}

/// The literal of a shape's limits, when it has any.
fn limits(shape: &Shape) -> Option<String> {
    let min = shape.min.as_ref().map(|number| whole(number, f64::floor));
    let max = shape.max.as_ref().map(|number| whole(number, f64::ceil));
    if min.is_none() && max.is_none() && shape.values.is_empty() {
        return None;
    }
    Some(format!("Limits {{ min: {min:?}, max: {max:?}, values: &{:?} }}", shape.values))
}

/// Limits are whole; a bound with a fraction is widened, so that nothing that AWS accepts is refused.
fn whole(number: &Number, widen: fn(f64) -> f64) -> i64 {
    number.as_i64().unwrap_or_else(|| widen(number.as_f64().unwrap_or_default()) as i64)
}

fn write_operation(out: &mut String, name: &str, operation: &Operation) -> Result<()> {
    let input = operation.input.as_ref().context("no input")?;
    let root = match (&input.location_name, &input.xml_namespace) {
        (Some(name), Some(namespace)) => format!("Some(({name:?}, {:?}))", namespace.uri),
        (Some(name), None) => format!("Some(({name:?}, \"\"))"),
        (None, _) => "None".to_owned(),
    };
    let wrapper = operation.output.as_ref().and_then(|output| output.result_wrapper.as_deref());
    let errors: Vec<String> =
        operation.errors.iter().map(|error| format!("&crate::errors::{}", names::constant(&error.shape))).collect();
    let (method, uri, status) =
        (&operation.http.method, &operation.http.request_uri, operation.http.response_code.unwrap_or(200));
    writeln!(out, "pub static {name}: OperationSchema = OperationSchema {{")?;
    writeln!(out, "    name: {name:?}, method: {method:?}, uri: {uri:?}, status: {status},")?;
    writeln!(
        out,
        "    input: &super::{}, output: &super::{}, result_wrapper: {wrapper:?}, input_root: {root},",
        identifier(&input.shape),
        identifier(shape_of(&operation.output)?)
    )?;
    writeln!(out, "    errors: &[{}],\n}};", errors.join(", "))?;
    Ok(())
}

fn write_service(api: &Api, out: &mut String) -> Result<()> {
    let metadata = &api.model.metadata;
    let signing_name = metadata.signing_name.as_ref().unwrap_or(&metadata.endpoint_prefix);
    let cbor_name = match &metadata.target_prefix {
        Some(prefix) => prefix.clone(),
        None => metadata.service_id.split_whitespace().map(names::upper_first).collect(),
    };
    let inputs = api.model.operations.values().filter_map(|operation| operation.input.as_ref());
    let of_inputs = inputs.filter_map(|input| input.xml_namespace.as_ref()).map(|namespace| &namespace.uri).next();
    let namespace = metadata.xml_namespace.as_ref().or(of_inputs).map_or("", String::as_str);
    let protocols: Vec<String> = api.protocols.iter().map(|protocol| format!("Protocol::{protocol}")).collect();
    let operations: Vec<String> =
        api.model.operations.keys().map(|name| format!("    &operations::{name},\n")).collect();
    writeln!(out, "pub static MODEL: ServiceSchema = ServiceSchema {{")?;
    writeln!(out, "    name: {:?}, signing_name: {signing_name:?}, ", api.name)?;
    writeln!(out, "    api_version: {:?}, protocols: &[{}],", metadata.api_version, protocols.join(", "))?;
    writeln!(out, "    target_prefix: {:?}, cbor_name: {cbor_name:?},", metadata.target_prefix)?;
    writeln!(out, "    xml_namespace: {namespace:?}, global: {},", api.global)?;
    writeln!(out, "    operations: &[\n{}    ],\n}};", operations.concat())?;
    Ok(())
}
