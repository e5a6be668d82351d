//! The errors that all drivers give, in EC2's terms.

use standfast_core::{Error, Id, id::Instance};

pub fn not_found(id: &Id<Instance>) -> Error {
    Error::client("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

pub fn not_running(id: &Id<Instance>) -> Error {
    let text = format!("The instance '{id}' is not in a state from which this can be done: it is not running.");
    Error::client("IncorrectInstanceState", text)
}
