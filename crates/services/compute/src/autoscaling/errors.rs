//! Autoscaling's error codes and messages.

use standfast_core::Error;

pub fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationError", message)
}

pub fn group_not_found(name: &str) -> Error {
    validation(format!("AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"))
}

pub fn group_exists(name: &str) -> Error {
    let message = format!("AutoScalingGroup by this name already exists - A group with the name {name} already exists");
    Error::client("AlreadyExists", message)
}

pub fn group_in_use() -> Error {
    Error::client(
        "ResourceInUse",
        "You cannot delete an AutoScalingGroup while there are instances or pending spot instance request(s) still in \
         the group.",
    )
}

pub fn group_deleting(name: &str) -> Error {
    let message = format!("You cannot update an AutoScalingGroup that is being deleted: {name} has a pending delete.");
    Error::client("ScalingActivityInProgress", message)
}

pub fn activity_blocks(id: &str) -> Error {
    let message = format!("Scaling activity {id} is in progress and blocks this action");
    Error::client("ScalingActivityInProgress", message)
}

pub fn limit(message: impl Into<String>) -> Error {
    Error::client("LimitExceeded", message)
}

pub fn configuration_exists(name: &str) -> Error {
    let message = format!(
        "Launch Configuration by this name already exists - A launch configuration already exists with the name {name}"
    );
    Error::client("AlreadyExists", message)
}

pub fn configuration_in_use(name: &str, group: &str) -> Error {
    let message =
        format!("Cannot delete launch configuration {name} because it is attached to AutoScalingGroup {group}");
    Error::client("ResourceInUse", message)
}

pub fn no_such_instance(id: &str) -> Error {
    validation(format!("Instance Id not found - No managed instance found for instance ID: {id}"))
}

pub fn not_a_member(id: &str, group: &str) -> Error {
    validation(format!("The instance {id} is not part of Auto Scaling group {group}."))
}

/// Load balancers of the classic kind are not there yet.
pub fn no_classic() -> Error {
    validation(
        "Classic load balancers (LoadBalancerNames) are not available in this version of Standfast; use target groups \
         (TargetGroupARNs).",
    )
}

pub fn refresh_in_progress() -> Error {
    Error::client(
        "InstanceRefreshInProgress",
        "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.",
    )
}

pub fn no_active_refresh(group: &str) -> Error {
    let message = format!("No in progress or pending Instance Refresh found for Auto Scaling group {group}.");
    Error::client("ActiveInstanceRefreshNotFound", message)
}

pub fn irreversible(why: &str) -> Error {
    Error::client("IrreversibleInstanceRefresh", format!("The instance refresh cannot be rolled back because {why}."))
}
