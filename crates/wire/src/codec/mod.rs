//! The protocols' codecs: requests, answers and errors, both ways.
//!
//! Invariants: a codec walks a static schema and knows no service (`faults` and `envelope` hold the few differences
//! in wording). Bytes from outside never panic, and what they may cost is bounded (`limits`); what comes out of a `decode_` function is of its schema's kinds and, for requests, within its constraints.
//! Not here: finding the operation (`route`), signatures (`sigv4`), framing and compression of bodies (`chunked`).

mod bad;
mod budget;
mod cbor;
mod dotted;
mod envelope;
mod faults;
mod json;
pub mod limits;
mod query;
mod rest;
mod text;
mod validate;
mod xml_read;
mod xml_write;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use standfast_core::Error;

use self::bad::Bad;
use self::budget::Budget;
use self::envelope::{SMITHY_CBOR, SMITHY_PROTOCOL, XML_DECLARATION, answer, header_value};
use self::json::Names;
use self::query::Style;
use crate::schema::{OperationSchema, Protocol, ServiceSchema};
use crate::value::Struct;

pub use self::envelope::encode_error;
pub use self::validate::validate;

const AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// Decodes a request into its input and checks the model's constraints; the error is in the service's words and
/// names the member.
pub fn decode_request(
    protocol: Protocol,
    service: &'static ServiceSchema,
    op: &'static OperationSchema,
    request: &Request<Bytes>,
) -> Result<Struct, Error> {
    let body = request.body();
    let budget = Budget::request();
    let input = match protocol {
        Protocol::Query => read_form(Style::Query, op, request, &budget),
        Protocol::Ec2 => read_form(Style::Ec2, op, request, &budget),
        Protocol::Json10 | Protocol::Json11 => json::read(Names::Model, op.input, body, budget.top()),
        Protocol::RestXml | Protocol::RestJson => rest::read_request(protocol, op, request, &budget),
        Protocol::Cbor => cbor::read(op.input, body, &budget),
    };
    let input = input.map_err(|bad| faults::unreadable(protocol, service, bad))?;
    validate(service, op, &input)?;
    Ok(input)
}

fn read_form(style: Style, op: &OperationSchema, request: &Request<Bytes>, budget: &Budget) -> Result<Struct, Bad> {
    let body = std::str::from_utf8(request.body()).map_err(|_| Bad::syntax("The body is not valid UTF-8"))?;
    query::read(style, op.input, request.uri().query().unwrap_or_default(), body, budget)
}

/// Writes a request. Its URI is the path and query string; the caller adds the endpoint and the signature.
///
/// Panics when the input is not of the operation's kinds.
pub fn encode_request(
    protocol: Protocol,
    service: &'static ServiceSchema,
    op: &'static OperationSchema,
    input: &Struct,
) -> Request<Bytes> {
    let mut request = match protocol {
        Protocol::RestXml | Protocol::RestJson => return rest::write_request(protocol, service, op, input.clone()),
        _ => Request::new(Bytes::new()),
    };
    *request.method_mut() = Method::POST;
    let mut content_type = envelope::content_type(protocol);
    let body: Bytes = match protocol {
        Protocol::Query | Protocol::Ec2 => {
            content_type = "application/x-www-form-urlencoded; charset=utf-8";
            let style = if protocol == Protocol::Ec2 { Style::Ec2 } else { Style::Query };
            query::write(style, service, op, input).into()
        }
        Protocol::Cbor => {
            let path = format!("/service/{}/operation/{}", service.cbor_name, op.name);
            *request.uri_mut() = path.parse::<Uri>().expect("a service's name is a path segment");
            request.headers_mut().insert(SMITHY_PROTOCOL, SMITHY_CBOR);
            request.headers_mut().insert(ACCEPT, HeaderValue::from_static(content_type));
            let mut out = Vec::with_capacity(256);
            cbor::write_struct(&mut out, input);
            out.into()
        }
        _ => {
            let target = format!("{}.{}", service.target_prefix.unwrap_or_default(), op.name);
            request.headers_mut().insert(AMZ_TARGET, header_value(&target));
            let mut out = String::with_capacity(256);
            json::write_struct(Names::Model, &mut out, input);
            out.into()
        }
    };
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    *request.body_mut() = body;
    request
}

/// Writes a success.
///
/// Panics when the output is not of the operation's kinds.
pub fn encode_response(
    protocol: Protocol,
    service: &'static ServiceSchema,
    op: &'static OperationSchema,
    output: Struct,
    request_id: &str,
) -> Response<Bytes> {
    /// What most answers fit into; lists grow it.
    const CAPACITY: usize = 1024;
    let body: Bytes = match protocol {
        Protocol::RestXml | Protocol::RestJson => {
            return rest::write_response(protocol, service, op, output, request_id);
        }
        Protocol::Query => query_response(service, op, &output, request_id).into(),
        Protocol::Ec2 => ec2_response(service, op, &output, request_id).into(),
        Protocol::Json10 | Protocol::Json11 => {
            let mut out = String::with_capacity(CAPACITY);
            json::write_struct(Names::Model, &mut out, &output);
            out.into()
        }
        Protocol::Cbor => {
            let mut out = Vec::with_capacity(CAPACITY);
            cbor::write_struct(&mut out, &output);
            out.into()
        }
    };
    answer(protocol, service, op.status, request_id, body)
}

fn query_response(service: &ServiceSchema, op: &OperationSchema, output: &Struct, request_id: &str) -> String {
    let root = format!("{}Response", op.name);
    let mut out = String::with_capacity(1024);
    xml_write::open(&mut out, &root, service.xml_namespace);
    match op.result_wrapper {
        Some(wrapper) => xml_write::root(&mut out, wrapper, "", output),
        None => xml_write::members(&mut out, output),
    }
    out.push_str("<ResponseMetadata>");
    xml_write::element(&mut out, "RequestId", request_id);
    out.push_str("</ResponseMetadata>");
    xml_write::close(&mut out, &root);
    out
}

fn ec2_response(service: &ServiceSchema, op: &OperationSchema, output: &Struct, request_id: &str) -> String {
    let root = format!("{}Response", op.name);
    let mut out = String::with_capacity(4096);
    out.push_str(XML_DECLARATION);
    xml_write::open(&mut out, &root, service.xml_namespace);
    xml_write::element(&mut out, "requestId", request_id);
    if output.schema.members.is_empty() {
        // What ec2 says when there is nothing to say.
        xml_write::element(&mut out, "return", "true");
    }
    xml_write::members(&mut out, output);
    xml_write::close(&mut out, &root);
    out
}

/// Reads an answer; one that is not a success becomes its error, with its code, message and status.
pub fn decode_response(
    protocol: Protocol,
    service: &'static ServiceSchema,
    op: &'static OperationSchema,
    response: &Response<Bytes>,
) -> Result<Struct, Error> {
    // Outputs may choose their status (a redirect is one), so only 4xx and 5xx are errors.
    if response.status().as_u16() >= 400 {
        return Err(envelope::decode_error(protocol, op, response));
    }
    let body = response.body();
    let budget = Budget::answer();
    let output = match protocol {
        Protocol::Query | Protocol::Ec2 => read_xml(op, body, &budget),
        Protocol::Json10 | Protocol::Json11 => json::read(Names::Model, op.output, body, budget.top()),
        Protocol::RestXml | Protocol::RestJson => rest::read_response(protocol, op, response, &budget),
        Protocol::Cbor => cbor::read(op.output, body, &budget),
    };
    output.map_err(|bad| faults::unreadable(protocol, service, bad))
}

fn read_xml(op: &OperationSchema, body: &[u8], budget: &Budget) -> Result<Struct, Bad> {
    let root = xml_read::parse(body, budget)?;
    let result = op.result_wrapper.and_then(|wrapper| root.child(wrapper)).unwrap_or(&root);
    xml_read::read_struct(op.output, result, budget.top())
}
