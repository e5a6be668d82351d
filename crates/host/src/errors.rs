//! The errors that both drivers give, in EC2's terms.

use standfast_core::{Error, Id, id::Instance};

pub(crate) fn not_found(id: &Id<Instance>) -> Error {
    Error::client("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

pub(crate) fn not_running(id: &Id<Instance>) -> Error {
    let text = format!("The instance '{id}' is not in a state from which this can be done: it is not running.");
    Error::client("IncorrectInstanceState", text)
}
