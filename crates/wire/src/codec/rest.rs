//! Where members of rest-xml and rest-json travel: path, query string, headers, status, body.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};

use super::bad::{Bad, Step, Within};
use super::budget::Budget;
use super::dotted::{UNRESERVED, push_pair, read_pairs};
use super::envelope::{XML_DECLARATION, answer, header_value};
use super::json::{self, Names};
use super::{text, xml_read, xml_write};
use crate::schema::{Location, Member, OperationSchema, Protocol, ServiceSchema, StructSchema, TimeFormat, Type};
use crate::value::{Struct, Value};

/// What stays as it is in a label that may hold slashes.
const GREEDY: &AsciiSet = &UNRESERVED.remove(b'/');

/// Reads an input from all of a request.
pub(super) fn read_request(
    protocol: Protocol,
    op: &OperationSchema,
    request: &Request<Bytes>,
    budget: &Budget,
) -> Result<Struct, Bad> {
    let (template, constants) = op.uri.split_once('?').unwrap_or((op.uri, ""));
    let mut out = read_body(protocol, op.input, request.body(), budget)?;
    let labels = labels(template, request.uri().path())?;
    let parameters = read_pairs(request.uri().query().unwrap_or_default(), budget)?;
    for (slot, member) in op.input.members.iter().enumerate() {
        let value = match member.location {
            Location::Body | Location::Status => continue,
            Location::Uri => match labels.iter().find(|(name, _)| *name == member.wire) {
                Some((_, label)) => text::read(label, &member.ty, TimeFormat::Iso8601),
                None => Ok(Value::Null),
            },
            Location::Query => read_query(op.input, constants, member, &parameters),
            Location::Header => read_header(member, request.headers()),
            Location::Headers => Ok(read_prefixed(member, request.headers())),
        };
        out.slots[slot] = value.within(|| Step::Member(member))?;
    }
    Ok(out)
}

/// Reads an output from all of an answer.
pub(super) fn read_response(
    protocol: Protocol,
    op: &OperationSchema,
    response: &Response<Bytes>,
    budget: &Budget,
) -> Result<Struct, Bad> {
    let mut out = read_body(protocol, op.output, response.body(), budget)?;
    for (slot, member) in op.output.members.iter().enumerate() {
        out.slots[slot] = match member.location {
            Location::Header => read_header(member, response.headers()).within(|| Step::Member(member))?,
            Location::Headers => read_prefixed(member, response.headers()),
            Location::Status => Value::Int(i64::from(response.status().as_u16())),
            Location::Body | Location::Uri | Location::Query => continue,
        };
    }
    Ok(out)
}

fn read_body(protocol: Protocol, schema: &'static StructSchema, body: &Bytes, budget: &Budget) -> Result<Struct, Bad> {
    let mut out = Struct::new(schema);
    if body.is_empty() {
        return Ok(out);
    }
    let Some(slot) = schema.payload else {
        return match protocol {
            _ if !has_body(schema) => Ok(out),
            Protocol::RestXml => xml_read::read_struct(schema, &xml_read::parse(body, budget)?, budget.top()),
            _ => {
                let mut read = json::read(Names::Wire, schema, body, budget.top())?;
                for (slot, member) in schema.members.iter().enumerate() {
                    if member.location != Location::Body {
                        read.slots[slot] = Value::Null;
                    }
                }
                Ok(read)
            }
        };
    };
    let member = &schema.members[slot];
    let value = match member.ty {
        Type::Blob(_) => Ok(Value::Blob(body.to_vec())),
        Type::String(_) => match std::str::from_utf8(body) {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => Err(Bad::kind("bytes", "a string")),
        },
        Type::Struct(inner) if protocol == Protocol::RestXml => xml_read::parse(body, budget)
            .and_then(|root| xml_read::read_struct(inner, &root, budget.top()))
            .map(Value::Struct),
        ref ty => match json::parse(body)? {
            serde_json::Value::Null => Ok(Value::Null),
            json => json::read_value(Names::Wire, ty, json, budget.top()),
        },
    };
    out.slots[slot] = value.within(|| Step::Member(member))?;
    Ok(out)
}

fn has_body(schema: &StructSchema) -> bool {
    schema.members.iter().any(|member| member.location == Location::Body)
}

/// The labels of a path, decoded. A template's `{Name+}` takes as many segments as the rest of it leaves.
fn labels<'t>(template: &'t str, path: &str) -> Result<Vec<(&'t str, String)>, Bad> {
    let mut wanted: Vec<&str> = template.trim_start_matches('/').split('/').collect();
    let mut found: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let greedy = wanted.iter().position(|segment| segment.ends_with("+}"));
    // A slash at the end means nothing, unless it is part of a key.
    if greedy.is_none() && wanted.last() == Some(&"") {
        wanted.pop();
    }
    if greedy.is_none() && found.last() == Some(&"") {
        found.pop();
    }
    let extra = found.len().checked_sub(wanted.len()).filter(|extra| *extra == 0 || greedy.is_some());
    let extra = extra.ok_or_else(|| Bad::syntax("The path does not fit the operation"))?;
    let mut out = Vec::new();
    for (index, segment) in wanted.iter().enumerate() {
        let Some(name) = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) else { continue };
        let raw = match greedy {
            Some(at) if index == at => found[at..=at + extra].join("/"),
            Some(at) if index > at => found[index + extra].to_owned(),
            _ => found[index].to_owned(),
        };
        let label = percent_decode_str(&raw).decode_utf8();
        let label = label.map_err(|_| Bad::syntax("The path is not valid UTF-8"))?.into_owned();
        out.push((name.trim_end_matches('+'), label));
    }
    Ok(out)
}

type Pairs<'q> = [(Cow<'q, str>, Cow<'q, str>)];

/// A member of the query string: a value, a list as the same name repeated, or a map of all names not otherwise used.
fn read_query(schema: &StructSchema, constants: &str, member: &Member, parameters: &Pairs<'_>) -> Result<Value, Bad> {
    let mut named = parameters.iter().filter(|(key, _)| key == member.wire).map(|(_, value)| value);
    match &member.ty {
        Type::List(list) => {
            let items = named.enumerate().map(|(index, value)| {
                text::read(value, &list.item, TimeFormat::Iso8601).within(|| Step::Item(index + 1))
            });
            let items = items.collect::<Result<Vec<_>, _>>()?;
            Ok(if items.is_empty() { Value::Null } else { Value::List(items) })
        }
        Type::Map(map) => {
            let used = |key: &str| {
                constants.split('&').any(|constant| constant.split('=').next() == Some(key))
                    || (schema.members.iter()).any(|other| {
                        other.location == Location::Query && !matches!(other.ty, Type::Map(_)) && other.wire == key
                    })
            };
            read_query_map(&map.value, parameters.iter().filter(|(key, _)| !used(key)))
        }
        ty => named.next().map_or(Ok(Value::Null), |value| text::read(value, ty, TimeFormat::Iso8601)),
    }
}

fn read_query_map<'q>(
    ty: &Type,
    parameters: impl Iterator<Item = &'q (Cow<'q, str>, Cow<'q, str>)>,
) -> Result<Value, Bad> {
    let mut entries: Vec<(String, Value)> = Vec::new();
    for (key, value) in parameters {
        let item = match ty {
            Type::List(list) => &list.item,
            ty => ty,
        };
        let item = text::read(value, item, TimeFormat::Iso8601).within(|| Step::Key(key.to_string()))?;
        let known = entries.iter_mut().find(|(known, _)| known == key);
        match (ty, known) {
            (Type::List(_), Some((_, Value::List(items)))) => items.push(item),
            (Type::List(_), _) => entries.push((key.to_string(), Value::List(vec![item]))),
            (_, Some(_)) => {}
            (_, None) => entries.push((key.to_string(), item)),
        }
    }
    Ok(if entries.is_empty() { Value::Null } else { Value::Map(entries) })
}

fn read_header(member: &Member, headers: &HeaderMap) -> Result<Value, Bad> {
    let values = headers.get_all(member.wire).iter();
    let mut values = values
        .map(|value| std::str::from_utf8(value.as_bytes()).map(str::trim).map_err(|_| Bad::kind("bytes", "a string")));
    match &member.ty {
        Type::List(list) => {
            let mut items = Vec::new();
            for value in values {
                for item in split_header(value?, is_http_date(&list.item)) {
                    items.push(text::read(&item, &list.item, TimeFormat::HttpDate)?);
                }
            }
            Ok(if items.is_empty() { Value::Null } else { Value::List(items) })
        }
        ty => match values.next().transpose()? {
            None => Ok(Value::Null),
            Some("") if !matches!(ty, Type::String(_)) => Ok(Value::Null),
            Some(value) => text::read(value, ty, TimeFormat::HttpDate),
        },
    }
}

fn is_http_date(ty: &Type) -> bool {
    matches!(ty, Type::Timestamp(None | Some(TimeFormat::HttpDate)))
}

/// The items of a list in a header: after commas, in quotes where they hold commas themselves.
fn split_header(value: &str, dates: bool) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let (mut quoted, mut was_quoted, mut commas) = (false, false, 0);
    let mut letters = value.chars();
    while let Some(c) = letters.next() {
        match c {
            '"' if quoted || item.trim().is_empty() => {
                quoted = !quoted;
                was_quoted = true;
                if quoted {
                    item.clear();
                }
            }
            '\\' if quoted => item.extend(letters.next()),
            ',' if !quoted => {
                commas += 1;
                // A date has a comma of its own after the day of the week.
                if dates && commas % 2 == 1 {
                    item.push(c);
                } else {
                    items.push(finish_item(&mut item, &mut was_quoted));
                }
            }
            _ => item.push(c),
        }
    }
    items.push(finish_item(&mut item, &mut was_quoted));
    if items.len() == 1 && items[0].is_empty() && !value.starts_with('"') {
        items.clear();
    }
    items
}

fn finish_item(item: &mut String, was_quoted: &mut bool) -> String {
    let item = std::mem::take(item);
    if std::mem::take(was_quoted) { item } else { item.trim().to_owned() }
}

/// All headers whose names begin with the member's prefix. Header names have no case, so keys are in lower case.
fn read_prefixed(member: &Member, headers: &HeaderMap) -> Value {
    let prefix = member.wire.to_ascii_lowercase();
    let entries: Vec<(String, Value)> = headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(&prefix)?;
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((key.to_owned(), Value::String(value.to_owned())))
        })
        .collect();
    if entries.is_empty() { Value::Null } else { Value::Map(entries) }
}

/// Writes an input. A label that is not set leaves its place empty.
pub(super) fn write_request(
    protocol: Protocol,
    service: &ServiceSchema,
    op: &OperationSchema,
    input: Struct,
) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = op.method.parse().expect("models have HTTP's own methods");
    *request.uri_mut() = uri(op, &input).parse().expect("all of it is escaped and far below 64 KiB");
    write_headers(&input, request.headers_mut());
    let (root, namespace) = op.input_root.unwrap_or((op.input.name, ""));
    let (content_type, body) = write_body(protocol, service, root, namespace, input);
    if !body.is_empty() {
        request.headers_mut().entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    }
    *request.body_mut() = body;
    request
}

/// Writes an output.
pub(super) fn write_response(
    protocol: Protocol,
    service: &ServiceSchema,
    op: &OperationSchema,
    output: Struct,
    request_id: &str,
) -> Response<Bytes> {
    let mut status = op.status;
    for (member, value) in output.schema.members.iter().zip(&output.slots) {
        if let (Location::Status, Value::Int(code)) = (member.location, value) {
            status = u16::try_from(*code).unwrap_or(status);
        }
    }
    let mut headers = HeaderMap::new();
    write_headers(&output, &mut headers);
    let root = op.result_wrapper.unwrap_or(op.output.name);
    let (content_type, body) = write_body(protocol, service, root, service.xml_namespace, output);
    let mut response = answer(protocol, service, status, request_id, body);
    if let Some(default) = response.headers_mut().get_mut(CONTENT_TYPE) {
        *default = HeaderValue::from_static(content_type);
    }
    response.headers_mut().extend(headers);
    response
}

fn write_body(
    protocol: Protocol,
    service: &ServiceSchema,
    root: &str,
    namespace: &str,
    mut value: Struct,
) -> (&'static str, Bytes) {
    let content_type = super::envelope::content_type(protocol);
    let xml = protocol == Protocol::RestXml;
    let mut out = String::with_capacity(1024);
    let Some(slot) = value.schema.payload else {
        if has_body(value.schema) {
            if xml {
                out.push_str(XML_DECLARATION);
                xml_write::root(&mut out, root, namespace, &value);
            } else {
                json::write_struct(Names::Wire, &mut out, &value);
            }
        }
        return (content_type, out.into());
    };
    let member = &value.schema.members[slot];
    match std::mem::take(&mut value.slots[slot]) {
        Value::Null => (content_type, Bytes::new()),
        Value::Blob(bytes) => ("application/octet-stream", bytes.into()),
        Value::String(text) => ("text/plain", text.into()),
        Value::Struct(inner) if xml => {
            out.push_str(XML_DECLARATION);
            xml_write::root(&mut out, member.wire, service.xml_namespace, &inner);
            (content_type, out.into())
        }
        other => {
            json::write_value(Names::Wire, &mut out, &member.ty, &other);
            (content_type, out.into())
        }
    }
}

/// The path and query string of a request.
fn uri(op: &OperationSchema, input: &Struct) -> String {
    let (template, constants) = op.uri.split_once('?').unwrap_or((op.uri, ""));
    let mut out = String::with_capacity(op.uri.len() + 64);
    for segment in template.trim_start_matches('/').split('/') {
        out.push('/');
        let Some(name) = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) else {
            out.push_str(segment);
            continue;
        };
        let (name, kept) = name.strip_suffix('+').map_or((name, UNRESERVED), |name| (name, GREEDY));
        for (member, value) in input.schema.members.iter().zip(&input.slots) {
            if member.location == Location::Uri && member.wire == name {
                out.extend(utf8_percent_encode(&as_text(&member.ty, value, TimeFormat::Iso8601), kept));
            }
        }
    }
    let mut query = String::new();
    for constant in constants.split('&').filter(|constant| !constant.is_empty()) {
        query.push_str(constant);
        query.push('&');
    }
    for (member, value) in input.schema.members.iter().zip(&input.slots) {
        if member.location == Location::Query {
            write_query(&mut query, member, value);
        }
    }
    if query.pop().is_some() {
        out.push('?');
        out.push_str(&query);
    }
    out
}

fn write_query(out: &mut String, member: &Member, value: &Value) {
    match (&member.ty, value) {
        (_, Value::Null) => {}
        (Type::Map(map), Value::Map(entries)) => {
            for (key, value) in entries {
                push_query(out, key, &map.value, value);
            }
        }
        (ty, value) => push_query(out, member.wire, ty, value),
    }
}

fn push_query(out: &mut String, name: &str, ty: &Type, value: &Value) {
    match (ty, value) {
        (Type::List(list), Value::List(items)) => {
            for item in items {
                push_pair(out, name, &as_text(&list.item, item, TimeFormat::Iso8601));
            }
        }
        _ => push_pair(out, name, &as_text(ty, value, TimeFormat::Iso8601)),
    }
}

fn as_text(ty: &Type, value: &Value, default_time: TimeFormat) -> String {
    let mut out = String::new();
    text::write(&mut out, ty, value, default_time);
    out
}

fn write_headers(value: &Struct, headers: &mut HeaderMap) {
    for (member, value) in value.schema.members.iter().zip(&value.slots) {
        let insert = |headers: &mut HeaderMap, name: &str, text: &str| {
            // A key that no header can be called is left out.
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, header_value(text));
            }
        };
        match (member.location, &member.ty, value) {
            (_, _, Value::Null) => {}
            (Location::Header, Type::List(list), Value::List(items)) => {
                let plain = matches!(list.item, Type::Timestamp(_));
                let items = items.iter().map(|item| as_text(&list.item, item, TimeFormat::HttpDate));
                let items: Vec<String> = items.map(|item| if plain { item } else { quote(item) }).collect();
                insert(headers, member.wire, &items.join(", "));
            }
            (Location::Header, ty, value) => {
                insert(headers, member.wire, &as_text(ty, value, TimeFormat::HttpDate));
            }
            (Location::Headers, Type::Map(map), Value::Map(entries)) => {
                for (key, value) in entries {
                    let text = as_text(&map.value, value, TimeFormat::HttpDate);
                    insert(headers, &format!("{}{key}", member.wire), &text);
                }
            }
            _ => {}
        }
    }
}

/// Quotes an item that would be taken for several, or for a quoted one.
fn quote(item: String) -> String {
    if item.is_empty() || item.contains([',', '"']) || item.trim() != item {
        format!("\"{}\"", item.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        item
    }
}
