//! CloudFormation's refusals, and how it words the refusals of others.

use standfast_core::{Error, Fault};

pub use super::template::invalid;

/// The operation names a stack that is not there.
pub fn no_stack(name: &str) -> Error {
    invalid(format!("Stack with id {name} does not exist"))
}

/// The longer form that operations other than DescribeStacks use.
pub fn stack_does_not_exist(name: &str) -> Error {
    invalid(format!("Stack [{name}] does not exist"))
}

pub fn stack_exists(name: &str) -> Error {
    Error::client("AlreadyExistsException", format!("Stack [{name}] already exists"))
}

pub fn no_change_set(name: &str) -> Error {
    Error::client("ChangeSetNotFound", format!("ChangeSet [{name}] does not exist")).with_status(404)
}

pub fn insufficient_capabilities(needed: &str) -> Error {
    Error::client("InsufficientCapabilitiesException", format!("Requires capabilities : [{needed}]"))
}

/// A service's refusal as the reason of a resource's failure.
pub fn handler_message(error: &Error, service: &str, request_id: &str, token: &str) -> String {
    // What we refuse ourselves is said as it is.
    if error.is(PROPERTY) {
        return error.message.clone();
    }
    let status = error.status.unwrap_or(if error.fault == Fault::Client { 400 } else { 500 });
    format!(
        "Resource handler returned message: \"{} (Service: {service}, Status Code: {status}, Request ID: {request_id})\" \
         (RequestToken: {token}, HandlerErrorCode: {})",
        error.message,
        handler_code(error)
    )
}

/// The code of errors in a resource's own properties, which no service has seen.
pub const PROPERTY: &str = "PropertyError";

pub fn property(message: impl Into<String>) -> Error {
    Error::client(PROPERTY, message)
}

fn handler_code(error: &Error) -> &'static str {
    let code = error.code.as_ref();
    let has = |parts: &[&str]| parts.iter().any(|part| code.contains(part));
    match () {
        () if is_not_found(error) => "NotFound",
        () if has(&["AlreadyExists", "Duplicate", "EntityAlreadyExists", "AlreadyAssociated"]) => "AlreadyExists",
        () if has(&["AccessDenied", "Unauthorized"]) => "AccessDenied",
        () if has(&["LimitExceeded", "TooMany"]) => "ServiceLimitExceeded",
        () if error.fault == Fault::Server => "ServiceInternalError",
        () => "InvalidRequest",
    }
}

/// Whether a service says that what was named is not there.
pub fn is_not_found(error: &Error) -> bool {
    let code = error.code.as_ref();
    // Auto Scaling has no code of its own for this.
    code.contains("NotFound")
        || code == "NoSuchEntity"
        || code == "Gateway.NotAttached"
        || (code == "ValidationError" && ["not found", "Cannot find"].iter().any(|said| error.message.contains(said)))
}

/// Whether the same call may succeed later: something else must go first.
pub fn is_in_use(error: &Error) -> bool {
    const CODES: &[&str] = &[
        "DependencyViolation",
        "ResourceInUse",
        "DeleteConflict",
        "ScalingActivityInProgress",
        "InvalidIPAddress.InUse",
        "OperationNotPermitted",
    ];
    CODES.contains(&error.code.as_ref()) || error.status == Some(503)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_services_are_worded_as_cloudformation_words_them() {
        let error = Error::client("InvalidSubnet.Conflict", "The CIDR '10.0.0.0/24' conflicts with another subnet");
        assert_eq!(
            handler_message(&error, "Ec2", "r-1", "t-1"),
            "Resource handler returned message: \"The CIDR '10.0.0.0/24' conflicts with another subnet (Service: Ec2, \
             Status Code: 400, Request ID: r-1)\" (RequestToken: t-1, HandlerErrorCode: InvalidRequest)"
        );
        let gone = Error::client("InvalidVpcID.NotFound", "x");
        assert!(handler_message(&gone, "Ec2", "r", "t").ends_with("HandlerErrorCode: NotFound)"));
        assert_eq!(
            handler_message(&property("Encountered unsupported property Foo"), "Ec2", "r", "t"),
            "Encountered unsupported property Foo"
        );
    }
}
