//! Why things happened, in the words of AWS's activities.

use standfast_core::Timestamp;

use super::model::Unhealthy;
use super::plan::{EndCause, LaunchCause, Retire};

pub fn created(now: Timestamp, to: i32) -> String {
    let at = now.iso8601_seconds();
    format!("At {at} a user request created an AutoScalingGroup changing the desired capacity from 0 to {to}.")
}

/// Bounds and desired capacity after an update.
pub fn updated(now: Timestamp, (min, max): (i32, i32), from: i32, to: i32) -> String {
    format!(
        "At {} a user request update of AutoScalingGroup constraints to min: {min}, max: {max}, desired: {to} changing \
         the desired capacity from {from} to {to}.",
        now.iso8601_seconds()
    )
}

pub fn desired(now: Timestamp, from: i32, to: i32) -> String {
    format!(
        "At {} a user request explicitly set group desired capacity changing the desired capacity from {from} to {to}.",
        now.iso8601_seconds()
    )
}

/// `asked` is who asked which policy.
pub fn policy(now: Timestamp, asked: &str, from: i32, to: i32) -> String {
    format!("At {} {asked} changing the desired capacity from {from} to {to}.", now.iso8601_seconds())
}

/// Why an instance is launched; `change` is why the desired capacity differs.
pub fn launch(now: Timestamp, cause: &LaunchCause, change: Option<&str>, from: i32, to: i32) -> String {
    let at = now.iso8601_seconds();
    match cause {
        LaunchCause::Difference => format!(
            "{}At {at} an instance was started in response to a difference between desired and actual capacity, \
             increasing the capacity from {from} to {to}.",
            before(change)
        ),
        LaunchCause::Replace => {
            format!("At {at} an instance was launched in response to an unhealthy instance needing to be replaced.")
        }
        LaunchCause::Balance(counts) => {
            let zones: Vec<&str> = counts.iter().map(|(zone, _)| zone.as_str()).collect();
            let numbers: Vec<String> = counts.iter().map(|(_, count)| count.to_string()).collect();
            format!(
                "At {at} availability zones {} had {} instances respectively. An instance was launched to aid in \
                 balancing the group's zones.",
                zones.join(" "),
                numbers.join(" ")
            )
        }
        LaunchCause::Ahead(why) | LaunchCause::Instead(why) => {
            format!("At {at} an instance was launched in response to {}.", retirement(*why))
        }
        LaunchCause::Warm => format!(
            "At {at} an instance was started in response to a difference between desired and actual capacity of the \
             warm pool."
        ),
    }
}

/// Why an instance is ended.
pub fn end(now: Timestamp, cause: &EndCause, instance: &str, change: Option<&str>) -> String {
    let at = now.iso8601_seconds();
    let shrinking = |from: i32, to: i32| {
        format!(
            "At {at} an instance was taken out of service in response to a difference between desired and actual \
             capacity, shrinking the capacity from {from} to {to}.  At {at} instance {instance} was selected for \
             termination."
        )
    };
    match cause {
        EndCause::Unhealthy(why) => {
            format!("At {at} an instance was taken out of service in response to {}.", illness(*why))
        }
        EndCause::Retired(why) => {
            format!("At {at} an instance was taken out of service in response to {}.", retirement(*why))
        }
        EndCause::Pool => format!(
            "At {at} an instance was taken out of the warm pool in response to a difference between desired and actual \
             capacity of the warm pool."
        ),
        EndCause::Shrink { from, to } => format!("{}{}", before(change), shrinking(*from, *to)),
        EndCause::Balanced { zone, from, to } => format!(
            "At {at} instances were launched to balance instances in zones {zone} with other zones resulting in more \
             than desired number of instances in the group.  {}",
            shrinking(*from, *to)
        ),
        EndCause::Abandoned { token } => format!(
            "At {at} an instance was taken out of service in response to a failed lifecycle action: Lifecycle Action \
             with token {token} was abandoned."
        ),
        EndCause::Deletion => format!(
            "At {at} a user request force deleted the AutoScalingGroup.  At {at} instance {instance} was taken out of \
             service."
        ),
    }
}

fn illness(why: Unhealthy) -> &'static str {
    match why {
        Unhealthy::Ec2 => "an EC2 health check indicating it has been terminated or stopped",
        Unhealthy::Elb => "an ELB system health check failure",
        Unhealthy::User => "a user health-check",
    }
}

fn retirement(why: Retire) -> &'static str {
    match why {
        Retire::Unhealthy(why) => illness(why),
        Retire::Rebalance => "an EC2 instance rebalance recommendation",
        Retire::Refresh => "an instance refresh",
        Retire::Lifetime => "the maximum instance lifetime of the group being reached",
    }
}

/// Why an instance goes back to the warm pool.
pub fn returned(now: Timestamp, instance: &str, change: Option<&str>) -> String {
    format!(
        "{}At {} instance {instance} was returned to the warm pool in response to a difference between desired and \
         actual capacity.",
        before(change),
        now.iso8601_seconds()
    )
}

/// What a user did to one instance: `taken out of service`, `detached`, `moved to standby`; with the capacity before
/// and after, when it changed.
pub fn user(now: Timestamp, instance: &str, did: &str, shrunk: Option<(i32, i32)>) -> String {
    let capacity = shrunk.map(|(from, to)| {
        let word = if to < from { "shrinking" } else { "increasing" };
        format!(", {word} the capacity from {from} to {to}")
    });
    let at = now.iso8601_seconds();
    format!("At {at} instance {instance} was {did} in response to a user request{}.", capacity.unwrap_or_default())
}

fn before(change: Option<&str>) -> String {
    change.map(|change| format!("{change}  ")).unwrap_or_default()
}

pub fn pool_deleted(now: Timestamp) -> String {
    format!("At {} a user request force deleted the warm pool.", now.iso8601_seconds())
}
