//! SNS's errors, in its own words.

use std::fmt::Display;

use standfast_core::Error;

/// A parameter that is not as it must be: `Invalid parameter: TopicArn`.
pub fn invalid(what: impl Display) -> Error {
    Error::client("InvalidParameter", format!("Invalid parameter: {what}"))
}

/// The same, with the reason as SNS writes it.
pub fn because(parameter: &str, reason: impl Display) -> Error {
    invalid(format!("{parameter} Reason: {reason}"))
}

pub fn no_topic() -> Error {
    Error::client("NotFound", "Topic does not exist").with_status(404)
}

pub fn no_subscription() -> Error {
    Error::client("NotFound", "Subscription does not exist").with_status(404)
}

/// What needs a service that is not there yet.
pub fn needs(parameter: &str, what: impl Display, service: &str) -> Error {
    because(parameter, format!("{what} needs {service}, which this version of Standfast does not have."))
}
