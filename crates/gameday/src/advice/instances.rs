//! Instances that nothing replaces, or that nobody finds again.

use super::rules::{found, groups};
use super::{Case, Found};
use crate::estate::Instance;

fn alone<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Instance> {
    case.estate.instances.iter().filter(|instance| instance.group.is_none())
}

pub fn lone_address(case: &Case<'_>) -> Vec<Found> {
    (case.estate.addresses.iter())
        .filter_map(|address| {
            let id = address.instance.as_ref()?;
            let instance = alone(case).find(|instance| instance.id == *id)?;
            let why = format!(
                "Users come to {} on the one instance {}: while it is gone, and until somebody moves the address, there is \
                 no service.",
                address.ip,
                case.estate.called(&instance.id)
            );
            Some(found(&address.ip, "", why, "Put a load balancer, or a group of one that takes its address along, in its place."))
        })
        .collect()
}

pub fn lone_instance(case: &Case<'_>) -> Vec<Found> {
    // Where an address makes it a worse finding, that one is enough.
    let addressed =
        |instance: &&Instance| case.estate.addresses.iter().all(|a| a.instance.as_ref() != Some(&instance.id));
    alone(case)
        .filter(addressed)
        .map(|instance| {
            let why =
                format!("It is in no Auto Scaling group: when it or {} goes, nothing takes its place.", instance.zone);
            found(&instance.id, "", why, "Let a group of min 1 over several zones keep it.")
        })
        .collect()
}

pub fn recovery_off(case: &Case<'_>) -> Vec<Found> {
    alone(case)
        .filter(|instance| !instance.recovers)
        .map(|instance| {
            let why = "Simplified automatic recovery is disabled, and no group replaces it.";
            found(
                &instance.id,
                "MaintenanceOptions",
                why,
                "Leave AutoRecovery at default, or alarm on StatusCheckFailed_System.",
            )
        })
        .collect()
}

pub fn no_front(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let public = |one: &Instance| one.public && one.group.as_ref() == Some(&group.name);
        if group.max < 2 || !group.target_groups.is_empty() || !case.estate.instances.iter().any(public) {
            return None;
        }
        let why = "No load balancer stands before it: who comes to an instance by its own public address does not find the \
                   one that replaces it.";
        Some(found(
            &group.name,
            "TargetGroupARNs",
            why,
            "Put a load balancer before it, or take the public addresses away.",
        ))
    })
}
