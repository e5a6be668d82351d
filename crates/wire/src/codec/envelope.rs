//! Errors on the wire, both ways, and the heads of all answers.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response};
use standfast_core::{Error, Fault};

use super::budget::Budget;
use super::{json, xml_read, xml_write};
use crate::schema::{ErrorSchema, OperationSchema, Protocol, ServiceSchema};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const S3_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
pub(super) const SMITHY_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
pub(super) const SMITHY_CBOR: HeaderValue = HeaderValue::from_static("rpc-v2-cbor");
/// What stands before the answers of ec2 and of rest-xml.
pub(super) const XML_DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// The media type of a protocol's answers.
pub(super) fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Query | Protocol::Ec2 => "text/xml;charset=utf-8",
        Protocol::RestXml => "application/xml",
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
        Protocol::RestJson => "application/json",
        Protocol::Cbor => "application/cbor",
    }
}

/// An answer with the headers that every answer has.
pub(super) fn answer(
    protocol: Protocol,
    service: &ServiceSchema,
    status: u16,
    request_id: &str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let body = body.into();
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(protocol)));
    }
    headers.insert(REQUEST_ID, header_value(request_id));
    if bare_errors(service) {
        headers.insert(S3_REQUEST_ID, header_value(request_id));
    }
    if protocol == Protocol::Cbor {
        headers.insert(SMITHY_PROTOCOL, SMITHY_CBOR);
    }
    *response.body_mut() = body;
    response
}

/// A text as a header. What a header cannot hold (line ends, controls) is left out.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| {
        let kept: Vec<u8> = text.bytes().filter(|b| *b == b'\t' || (*b >= b' ' && *b != 0x7f)).collect();
        HeaderValue::from_bytes(&kept).expect("no control characters are left")
    })
}

/// Whether the service's errors are `<Error>` alone and its request ids have its own header.
fn bare_errors(service: &ServiceSchema) -> bool {
    service.name == "s3"
}

/// Puts an error into the protocol's envelope.
pub fn encode_error(
    protocol: Protocol,
    service: &'static ServiceSchema,
    op: Option<&'static OperationSchema>,
    error: &Error,
    request_id: &str,
) -> Response<Bytes> {
    let known = op.and_then(|op| op.errors.iter().find(|known| known.code == error.code || known.shape == error.code));
    let status = error.status.or(known.map(|known| known.status)).unwrap_or(match error.fault {
        Fault::Client => 400,
        Fault::Server => 500,
    });
    if op.is_some_and(|op| op.method == "HEAD") {
        return answer(protocol, service, status, request_id, Bytes::new());
    }
    let code = known.map_or(&*error.code, |known| known.code);
    let shape = known.map_or(&*error.code, |known| known.shape);
    let body = match protocol {
        Protocol::Query => query_body(service, code, error, request_id).into(),
        Protocol::Ec2 => ec2_body(code, error, request_id).into(),
        Protocol::RestXml if bare_errors(service) => s3_body(code, error, request_id).into(),
        Protocol::RestXml => format!("{XML_DECLARATION}{}", query_body(service, code, error, request_id)).into(),
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => json_body(shape, error).into(),
        Protocol::Cbor => super::cbor::error_body(shape, &error.message),
    };
    let mut response = answer(protocol, service, status, request_id, Bytes::from(body));
    let headers = response.headers_mut();
    if matches!(protocol, Protocol::Json10 | Protocol::Json11 | Protocol::RestJson) {
        headers.insert(ERROR_TYPE, header_value(shape));
    }
    // Clients that moved from query to another protocol still tell errors apart by the old codes.
    let moved = service.protocols.contains(&Protocol::Query);
    if moved && matches!(protocol, Protocol::Json10 | Protocol::Json11 | Protocol::Cbor) {
        headers.insert(QUERY_ERROR, header_value(&format!("{code};{}", side(error.fault))));
    }
    response
}

fn side(fault: Fault) -> &'static str {
    match fault {
        Fault::Client => "Sender",
        Fault::Server => "Receiver",
    }
}

fn query_body(service: &ServiceSchema, code: &str, error: &Error, request_id: &str) -> String {
    let mut out = String::with_capacity(256 + error.message.len());
    xml_write::open(&mut out, "ErrorResponse", service.xml_namespace);
    out.push_str("<Error>");
    xml_write::element(&mut out, "Type", side(error.fault));
    xml_write::element(&mut out, "Code", code);
    xml_write::element(&mut out, "Message", &error.message);
    out.push_str("</Error>");
    xml_write::element(&mut out, "RequestId", request_id);
    out.push_str("</ErrorResponse>");
    out
}

fn ec2_body(code: &str, error: &Error, request_id: &str) -> String {
    let mut out = String::with_capacity(256 + error.message.len());
    out.push_str(XML_DECLARATION);
    out.push_str("<Response><Errors><Error>");
    xml_write::element(&mut out, "Code", code);
    xml_write::element(&mut out, "Message", &error.message);
    out.push_str("</Error></Errors>");
    xml_write::element(&mut out, "RequestID", request_id);
    out.push_str("</Response>");
    out
}

fn s3_body(code: &str, error: &Error, request_id: &str) -> String {
    let mut out = String::with_capacity(256 + error.message.len());
    out.push_str(XML_DECLARATION);
    out.push_str("<Error>");
    xml_write::element(&mut out, "Code", code);
    xml_write::element(&mut out, "Message", &error.message);
    xml_write::element(&mut out, "RequestId", request_id);
    out.push_str("</Error>");
    out
}

fn json_body(shape: &str, error: &Error) -> String {
    let mut out = String::with_capacity(64 + error.message.len());
    out.push_str("{\"__type\":");
    json::write_string(&mut out, shape);
    out.push_str(",\"message\":");
    json::write_string(&mut out, &error.message);
    out.push('}');
    out
}

/// Reads the error of an answer that is not a success. It never fails: what cannot be read is an error too.
pub(super) fn decode_error(protocol: Protocol, op: &OperationSchema, response: &Response<Bytes>) -> Error {
    let status = response.status();
    let (code, message) = match protocol {
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml => xml_error(response.body()),
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson => json_error(response),
        Protocol::Cbor => super::cbor::read_error(response.body()),
    }
    .unwrap_or_else(|| (status.as_u16().to_string(), status.canonical_reason().unwrap_or("Unknown").to_owned()));
    let known: Option<&&ErrorSchema> = op.errors.iter().find(|known| known.shape == code || known.code == code);
    let fault = if status.is_server_error() { Fault::Server } else { Fault::Client };
    let code = known.map_or(code.into(), |known| known.code.into());
    Error { code, message, fault, status: Some(status.as_u16()) }
}

fn xml_error(body: &[u8]) -> Option<(String, String)> {
    let root = xml_read::parse(body, &Budget::answer()).ok()?;
    let error = match root.name.as_str() {
        "Error" => &root,
        _ => root.child("Errors").unwrap_or(&root).child("Error")?,
    };
    Some((error.text_of("Code").to_owned(), error.text_of("Message").to_owned()))
}

fn json_error(response: &Response<Bytes>) -> Option<(String, String)> {
    let body = json::parse(response.body()).ok();
    let text = |name: &str| body.as_ref().and_then(|body| body.get(name)?.as_str());
    let header = response.headers().get(ERROR_TYPE).and_then(|value| value.to_str().ok());
    let shape = header.or(text("__type")).or(text("code"))?;
    let message = text("message").or(text("Message")).unwrap_or_default();
    Some((shape_name(shape).to_owned(), message.to_owned()))
}

/// `Name` of `namespace#Name:address`.
pub(super) fn shape_name(shape: &str) -> &str {
    let name = shape.rsplit_once('#').map_or(shape, |(_, name)| name);
    name.split_once(':').map_or(name, |(name, _)| name)
}
