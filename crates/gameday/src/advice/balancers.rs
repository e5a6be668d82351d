//! What a load balancer is told of its targets, and who hears what it finds.

use std::collections::BTreeSet;

use super::rules::{found, groups};
use super::{Case, Found};

/// A deregistration longer than this holds up every replacement and deployment.
const DEREGISTRATION_S_MAX: u64 = 120;

pub fn elb_health_unused(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if group.target_groups.is_empty() || group.health_check.contains("ELB") {
            return None;
        }
        let why = "It is behind a load balancer and checks EC2 status only: an instance whose application hangs is taken \
                   out of traffic and never replaced, so capacity is lost for good.";
        Some(found(&group.name, "HealthCheckType", why, "Set HealthCheckType to ELB."))
    })
}

pub fn health_checks_off(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| !group.checks)
        .map(|group| {
            let why = "Every target counts as healthy, so requests go to dead ones.";
            found(&group.arn, "HealthCheckEnabled", why, "Enable health checks.")
        })
        .collect()
}

pub fn slow_health_check(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.checks && group.ejects_within() > case.objective)
        .map(|group| {
            let why = format!(
                "A target that hangs gets requests for HealthCheckIntervalSeconds {} x UnhealthyThresholdCount {} = {} s; an \
                 outage may last {} s.",
                group.interval_s,
                group.unhealthy,
                group.ejects_within().as_secs(),
                case.objective.as_secs_f64()
            );
            found(&group.arn, "HealthCheckIntervalSeconds", why, "Check more often, or let fewer failures do.")
        })
        .collect()
}

pub fn long_deregistration(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.deregistration_s > DEREGISTRATION_S_MAX)
        .map(|group| {
            let why =
                format!("Each instance that is replaced stays {} s for its last requests.", group.deregistration_s);
            let fix = "Set deregistration_delay.timeout_seconds to the longest request that you serve.";
            found(&group.arn, "TargetGroupAttributes", why, fix)
        })
        .collect()
}

pub fn no_draining(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.deregistration_s == 0)
        .map(|group| {
            let why =
                "Requests that are under way are cut off whenever a target leaves, for a deployment or by scaling in.";
            let fix = "Set deregistration_delay.timeout_seconds to the longest request that you serve.";
            found(&group.arn, "TargetGroupAttributes", why, fix)
        })
        .collect()
}

pub fn sticky_sessions(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.sticky)
        .map(|group| {
            let why = "What an instance keeps for its users is lost with it, and new instances take load from nobody who is bound.";
            found(&group.arn, "TargetGroupAttributes", why, "Keep sessions where every instance finds them.")
        })
        .collect()
}

pub fn target_group_unused(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.balancers.is_empty())
        .map(|group| {
            let why =
                "Its targets are neither checked nor sent anything, and a group that waits for them waits for ever.";
            found(&group.arn, "", why, "Forward to it from a listener, or remove it.")
        })
        .collect()
}

pub fn lone_target(case: &Case<'_>) -> Vec<Found> {
    let in_group = |arn: &String| case.estate.groups.iter().any(|group| group.target_groups.contains(arn));
    (case.estate.target_groups.iter())
        .filter(|group| group.members.len() == 1 && !in_group(&group.arn))
        .map(|group| {
            let only = group.members.first().map_or("", |id| case.estate.called(id));
            let why = format!("{only} is its only target: the load balancer has nowhere else to send requests.");
            found(
                &group.arn,
                "Targets",
                why,
                "Let an Auto Scaling group over several zones register its instances here.",
            )
        })
        .collect()
}

pub fn targets_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.members.len() > 1)
        .filter_map(|group| {
            let placed = case.estate.instances.iter().filter(|one| group.members.contains(&one.id));
            let zones: BTreeSet<&str> = placed.map(|one| one.zone.as_str()).collect();
            let [zone] = zones.into_iter().collect::<Vec<_>>()[..] else { return None };
            let why = format!("All of its targets are in {zone}: when that zone goes, none is left.");
            Some(found(&group.arn, "Targets", why, "Spread the targets over several zones."))
        })
        .collect()
}
