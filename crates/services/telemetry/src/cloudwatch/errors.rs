//! CloudWatch's errors. Parameters are named as CloudWatch names them: `MetricData.member.1.Value`.

use std::fmt::Display;

use standfast_core::Error;

/// A member with a value that it may not have.
pub fn invalid(value: impl Display, parameter: impl Display) -> Error {
    Error::client("InvalidParameterValue", format!("The value {value} for parameter {parameter} is invalid."))
}

/// A member with a value that it may not have, and why.
pub fn wrong(message: impl Into<String>) -> Error {
    Error::client("InvalidParameterValue", message)
}

pub fn missing(parameter: impl Display) -> Error {
    Error::client("MissingParameter", format!("The parameter {parameter} is required."))
}

pub fn combination(message: impl Into<String>) -> Error {
    Error::client("InvalidParameterCombination", message)
}

pub fn too_many(collection: impl Display, max: usize) -> Error {
    wrong(format!("The collection {collection} must not have a size greater than {max}."))
}

/// What GetMetricData finds wrong with a query.
pub fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationError", message)
}
