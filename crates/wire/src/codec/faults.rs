//! Which words each service has for an input that it cannot take. The one place that knows services apart.
//!
//! AWS's services share three dialects: a sentence that counts validation errors and names members by their lower
//! camel path, "The request must contain the parameter X", and "The parameter X is required."

use standfast_core::Error;

use super::bad::{Bad, Step, What};
use super::limits::ECHO_CHARS_MAX;
use crate::schema::{Protocol, ServiceSchema};

/// A constraint of the model that an input breaks.
#[derive(Debug)]
pub(super) struct Violation {
    /// From the outside inwards.
    pub path: Vec<Step>,
    /// `None` when the member is missing.
    pub found: Option<String>,
    /// `Member must have length less than or equal to 64`.
    pub rule: String,
}

#[derive(Clone, Copy)]
enum Dialect {
    /// `1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null`
    Counted,
    /// `The request must contain the parameter Name`
    Contain,
    /// `The parameter Name is required.`
    Required,
}

/// A service's codes and dialects.
struct Words {
    missing: (&'static str, Dialect),
    /// A value of the right kind breaks a constraint.
    constraint: (&'static str, Dialect),
    /// A value is of the wrong kind.
    kind: &'static str,
    /// The body is not in the protocol's language, or passes a limit.
    syntax: &'static str,
}

const EC2: Words = Words {
    missing: ("MissingParameter", Dialect::Contain),
    constraint: ("InvalidParameterValue", Dialect::Contain),
    kind: "InvalidParameterValue",
    syntax: "MalformedQueryString",
};
const QUERY: Words = Words {
    missing: ("ValidationError", Dialect::Counted),
    constraint: ("ValidationError", Dialect::Counted),
    kind: "ValidationError",
    syntax: "MalformedQueryString",
};
const RDS: Words = Words {
    missing: ("MissingParameter", Dialect::Contain),
    constraint: ("InvalidParameterValue", Dialect::Contain),
    kind: "InvalidParameterValue",
    ..QUERY
};
const JSON: Words = Words {
    missing: ("ValidationException", Dialect::Counted),
    constraint: ("ValidationException", Dialect::Counted),
    kind: "SerializationException",
    syntax: "SerializationException",
};
const CLOUDWATCH: Words = Words {
    missing: ("MissingParameter", Dialect::Required),
    constraint: ("ValidationError", Dialect::Counted),
    kind: "InvalidParameterValue",
    syntax: "SerializationException",
};
const SQS: Words = Words {
    missing: ("MissingParameter", Dialect::Contain),
    constraint: ("InvalidParameterValue", Dialect::Contain),
    ..JSON
};
const REST_XML: Words = Words { kind: "InvalidInput", syntax: "MalformedXML", ..QUERY };

/// A JSON service whose validation errors have a code of their own.
const fn json_with(code: &'static str) -> Words {
    Words { missing: (code, Dialect::Counted), constraint: (code, Dialect::Counted), ..JSON }
}
const LOGS: Words = json_with("InvalidParameterException");
const APIGATEWAY: Words = json_with("BadRequestException");
const BATCH: Words = json_with("ClientException");
const ROUTE53: Words =
    Words { missing: ("InvalidInput", Dialect::Counted), constraint: ("InvalidInput", Dialect::Counted), ..REST_XML };
const S3: Words = Words {
    missing: ("InvalidRequest", Dialect::Counted),
    constraint: ("InvalidArgument", Dialect::Counted),
    kind: "InvalidArgument",
    syntax: "MalformedXML",
};
const CLOUDFRONT: Words = Words {
    missing: ("InvalidArgument", Dialect::Counted),
    constraint: ("InvalidArgument", Dialect::Counted),
    kind: "InvalidArgument",
    syntax: "MalformedXML",
};

/// By the service, then by the protocol it is at home in.
fn words(service: &ServiceSchema) -> &'static Words {
    match service.name {
        "rds" | "elasticache" => &RDS,
        "cloudwatch" => &CLOUDWATCH,
        "sqs" => &SQS,
        "logs" => &LOGS,
        "apigateway" | "apigatewayv2" | "mq" | "efs" => &APIGATEWAY,
        "batch" => &BATCH,
        "route53" => &ROUTE53,
        "s3" | "s3control" => &S3,
        "cloudfront" => &CLOUDFRONT,
        _ => match service.protocols.first() {
            Some(Protocol::Ec2) => &EC2,
            Some(Protocol::Query) => &QUERY,
            Some(Protocol::RestXml) => &REST_XML,
            _ => &JSON,
        },
    }
}

/// The codes for syntax belong to the language that was spoken, not to the service.
fn syntax_code(protocol: Protocol, service: &ServiceSchema) -> &'static str {
    match protocol {
        Protocol::Query | Protocol::Ec2 => QUERY.syntax,
        Protocol::RestXml => words(service).syntax,
        Protocol::Json10 | Protocol::Json11 | Protocol::RestJson | Protocol::Cbor => JSON.syntax,
    }
}

/// The error for an input that could not be read.
pub(super) fn unreadable(protocol: Protocol, service: &ServiceSchema, bad: Bad) -> Error {
    let path: Vec<Step> = bad.path.into_iter().rev().collect();
    match bad.what {
        What::Syntax(message) => Error::client(syntax_code(protocol, service), message),
        What::Limit(message) => Error::client(syntax_code(protocol, service), format!("Request refused: {message}")),
        What::Kind { found, expected } => {
            let found = echo(&found);
            let code = match protocol {
                Protocol::Json10 | Protocol::Json11 | Protocol::RestJson | Protocol::Cbor => JSON.kind,
                _ => words(service).kind,
            };
            Error::client(
                code,
                match protocol {
                    Protocol::Ec2 => {
                        format!(
                            "Invalid value '{found}' for parameter {}: it must be {expected}",
                            parameter(&path, service)
                        )
                    }
                    _ if path.is_empty() => format!("The request must be {expected}, not '{found}'"),
                    _ => format!("Value '{found}' at '{}' must be {expected}", camel_path(&path)),
                },
            )
        }
    }
}

/// The error for an input that breaks constraints. There is at least one violation.
pub(super) fn invalid(service: &ServiceSchema, violations: &[Violation]) -> Error {
    let words = words(service);
    // Services that name one missing parameter do so before they look at values.
    let missing = violations.iter().find(|violation| violation.found.is_none());
    let (code, dialect) = if missing.is_some() { words.missing } else { words.constraint };
    let first = missing.or(violations.first()).expect("there is a violation");
    let name = || parameter(&first.path, service);
    let message = match (dialect, &first.found) {
        (Dialect::Contain, None) => format!("The request must contain the parameter {}", name()),
        (Dialect::Required, None) => format!("The parameter {} is required.", name()),
        (Dialect::Contain | Dialect::Required, Some(found)) => {
            format!("Invalid value '{}' for parameter {}. {}", echo(found), name(), first.rule)
        }
        (Dialect::Counted, _) => counted(violations),
    };
    Error::client(code, message)
}

fn counted(violations: &[Violation]) -> String {
    let sentences: Vec<String> = violations
        .iter()
        .map(|violation| {
            let value = match &violation.found {
                Some(found) => format!("'{}'", echo(found)),
                None => "null".to_owned(),
            };
            format!(
                "Value {value} at '{}' failed to satisfy constraint: {}",
                camel_path(&violation.path),
                violation.rule
            )
        })
        .collect();
    let plural = if sentences.len() == 1 { "" } else { "s" };
    format!("{} validation error{plural} detected: {}", sentences.len(), sentences.join("; "))
}

/// `tags.1.member.key`
fn camel_path(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        if !out.is_empty() {
            out.push('.');
        }
        match step {
            Step::Member(member) => {
                let mut letters = member.name.chars();
                out.extend(letters.next().map(|c| c.to_ascii_lowercase()));
                out.push_str(letters.as_str());
            }
            Step::Item(index) => out.push_str(&format!("{index}.member")),
            Step::Key(key) => out.push_str(&echo(key)),
        }
    }
    out
}

/// The name as a client of the query protocols writes it: `BlockDeviceMapping.1.DeviceName`.
fn parameter(path: &[Step], service: &ServiceSchema) -> String {
    let ec2 = service.protocols.first() == Some(&Protocol::Ec2);
    let steps: Vec<String> = path
        .iter()
        .map(|step| match step {
            Step::Member(member) => if ec2 { member.ec2 } else { member.name }.to_owned(),
            Step::Item(index) if ec2 => index.to_string(),
            Step::Item(index) => format!("member.{index}"),
            Step::Key(key) => echo(key),
        })
        .collect();
    steps.join(".")
}

/// What an error repeats of a value: enough to recognise it.
fn echo(value: &str) -> String {
    match value.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}
