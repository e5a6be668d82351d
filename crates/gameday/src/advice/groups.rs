//! Groups that do not repair themselves, or not in time, or not far enough.

use std::collections::BTreeSet;

use super::rules::{found, groups};
use super::{Case, Found};
use crate::estate::Instance;

/// Processes without which a group does not repair itself.
const REPAIRING: [&str; 6] =
    ["Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AddToLoadBalancer"];
/// A grace period longer than this keeps an instance that never comes up for longer than it takes to replace it twice.
const GRACE_S_MAX: u64 = 300;

pub fn suspended_processes(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let off: Vec<&str> =
            group.suspended.iter().map(String::as_str).filter(|name| REPAIRING.contains(name)).collect();
        if off.is_empty() {
            return None;
        }
        let why = format!("{} suspended: what dies stays dead, or what replaces it gets no traffic.", off.join(", "));
        Some(found(&group.name, "", why, "Resume the processes when the maintenance is over."))
    })
}

pub fn no_grace(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if !group.health_check.contains("ELB") || group.grace_s > 0 {
            return None;
        }
        let why = "Instances are judged by the load balancer before their application can have started, and are replaced \
                   before they ever serve.";
        Some(found(&group.name, "HealthCheckGracePeriod", why, "Set it to the time that an instance needs to answer."))
    })
}

pub fn grace_too_long(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if group.grace_s <= GRACE_S_MAX {
            return None;
        }
        let why = format!("A new instance that never answers is kept for {} s before it is replaced.", group.grace_s);
        Some(found(&group.name, "HealthCheckGracePeriod", why, "Set it to the time that an instance needs to answer."))
    })
}

pub fn one_is_enough(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        // A group that is empty serves nobody.
        if group.min > 1 || group.max <= 1 || group.desired == 0 {
            return None;
        }
        let why = format!(
            "MinSize is {}: scaling in may leave one instance, and its zone is then the whole site.",
            group.min
        );
        Some(found(&group.name, "MinSize", why, "Set MinSize to at least one for each zone."))
    })
}

pub fn group_of_one(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        // One that may shrink to one is another thing.
        (group.max == 1 && group.desired == 1).then(|| {
            let why = "It keeps exactly one instance: from when that is lost until the next one has started there is no service.";
            found(&group.name, "MaxSize", why, "Run two or more behind a load balancer, where the application can bear it.")
        })
    })
}

pub fn no_addresses(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let own: Vec<u64> = (case.estate.subnets.iter())
            .filter(|subnet| group.subnets.contains(&subnet.id))
            .map(|subnet| subnet.free_addresses)
            .collect();
        let (free, more) = (own.iter().sum::<u64>(), group.max.saturating_sub(group.desired));
        if own.is_empty() || free >= more {
            return None;
        }
        let why = format!("It may launch {more} more, and its subnets have {free} free addresses.");
        Some(found(&group.name, "VPCZoneIdentifier", why, "Give it larger subnets, or more of them."))
    })
}

pub fn no_headroom(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        // A group of exactly one is another thing.
        if group.desired < group.max || group.max <= 1 {
            return None;
        }
        let why = format!(
            "DesiredCapacity is MaxSize ({}): the group can neither scale out nor launch before it terminates when zones \
             are balanced again.",
            group.max
        );
        Some(found(&group.name, "MaxSize", why, "Leave room for at least one zone's instances."))
    })
}

pub fn all_spot(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        group.all_spot.then(|| {
            let why = "All capacity is spot: when it is wanted elsewhere, all of it may go within two minutes.";
            found(&group.name, "MixedInstancesPolicy", why, "Keep an OnDemandBaseCapacity that serves at night.")
        })
    })
}

pub fn one_spot_type(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let spot = |one: &&Instance| one.spot && one.group.as_ref() == Some(&group.name);
        let types: BTreeSet<&str> = case.estate.instances.iter().filter(spot).map(|one| one.kind.as_str()).collect();
        let [only] = types.into_iter().collect::<Vec<_>>()[..] else { return None };
        let why = format!("All of its Spot Instances are {only}: when that type is wanted elsewhere, all of them are.");
        Some(found(&group.name, "MixedInstancesPolicy", why, "Override the launch template with several types."))
    })
}

pub fn no_capacity_rebalance(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let spot = |one: &Instance| one.spot && one.group.as_ref() == Some(&group.name);
        let has_spot = group.all_spot || case.estate.instances.iter().any(spot);
        (has_spot && !group.rebalances_capacity).then(|| {
            let why = "Replacements are launched when Spot Instances are gone, not when they get their notice.";
            found(&group.name, "CapacityRebalance", why, "Set CapacityRebalance to true.")
        })
    })
}

pub fn no_scaling_policy(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        (group.policies == 0 && group.min < group.max && group.desired > 0).then(|| {
            let why =
                format!("It may have {} to {} instances, and nothing changes their number.", group.min, group.max);
            found(&group.name, "", why, "Track a target, for example 50 % of ASGAverageCPUUtilization.")
        })
    })
}
