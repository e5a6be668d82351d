//! What is in one zone only, or in too few.

use std::collections::BTreeSet;

use super::rules::{found, groups};
use super::{Case, Found};
use crate::report::words::plural;

pub fn group_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let [zone] = group.zones.as_slice() else { return None };
        let why = format!("All of its subnets are in {zone}: when that zone goes, nothing can be launched elsewhere.");
        Some(found(&group.name, "VPCZoneIdentifier", why, "Give it a subnet in each of at least two zones."))
    })
}

pub fn balancer_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    (case.estate.balancers.iter())
        .filter(|balancer| balancer.zones.len() == 1)
        .map(|balancer| {
            let why =
                format!("Its only node is in {}: when that zone goes, its name leads nowhere.", balancer.zones[0]);
            found(&balancer.arn, "Subnets", why, "Give it a subnet in every zone that has targets.")
        })
        .collect()
}

pub fn balancer_misses_zone(case: &Case<'_>) -> Vec<Found> {
    let estate = case.estate;
    let mut out = Vec::new();
    for balancer in &estate.balancers {
        let behind = estate.groups.iter().filter(|group| {
            let of = |arn: &String| estate.target_group(arn).is_some_and(|t| t.balancers.contains(&balancer.arn));
            group.target_groups.iter().any(of)
        });
        let missed: BTreeSet<&str> = behind
            .flat_map(|group| &group.zones)
            .filter(|zone| !balancer.zones.contains(zone))
            .map(String::as_str)
            .collect();
        if !missed.is_empty() {
            let missed = missed.into_iter().collect::<Vec<_>>().join(", ");
            let why =
                format!("Targets are launched in {missed} too, and a target in a zone without a node gets nothing.");
            out.push(found(&balancer.arn, "Subnets", why, format!("Add a subnet in {missed}.")));
        }
    }
    out
}

pub fn no_spare_zone(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let zones = group.zones.len() as u64;
        let left = group.desired - group.desired.div_ceil(zones.max(1)).min(group.desired);
        if zones < 2 || left >= group.min || group.max <= 1 {
            return None;
        }
        let why = format!(
            "Of {} over {zones} zones, {left} {} left when a zone goes: under MinSize {}, the load that you say needs at \
             least that many.",
            plural(group.desired as usize, "instance"),
            if left == 1 { "is" } else { "are" },
            group.min
        );
        let enough = (group.min * zones).div_ceil(zones - 1);
        Some(found(
            &group.name,
            "DesiredCapacity",
            why,
            format!("Run {enough}: what the others need, and a zone's worth more."),
        ))
    })
}

pub fn shared_nat(case: &Case<'_>) -> Vec<Found> {
    (case.estate.nat_gateways.iter())
        .filter_map(|gateway| {
            let users = case.estate.subnets.iter().filter(|subnet| subnet.nat.as_ref() == Some(&gateway.id));
            let others: BTreeSet<&str> = users.map(|s| s.zone.as_str()).filter(|zone| *zone != gateway.zone).collect();
            if others.is_empty() {
                return None;
            }
            let others = others.into_iter().collect::<Vec<_>>().join(", ");
            let why = format!("When {} goes, the subnets in {others} lose their way out with it.", gateway.zone);
            Some(found(&gateway.id, "SubnetId", why, "A NAT gateway in each zone, and a route table for each."))
        })
        .collect()
}

pub fn state_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    (case.estate.volumes.iter())
        .filter(|volume| !volume.is_root && volume.snapshots == 0)
        .map(|volume| {
            let why = format!("The volume is in {} and has no snapshot: with the zone its data is gone.", volume.zone);
            found(&volume.id, "", why, "Take snapshots on a schedule, or keep the state where several zones have it.")
        })
        .collect()
}

pub fn subnets_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    let zones: BTreeSet<&str> = case.estate.subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    match (case.estate.subnets.first(), zones.len()) {
        (Some(first), 1) => {
            let why = format!("Every subnet is in {}: nothing of the stack can be anywhere else.", first.zone);
            vec![found(&first.id, "AvailabilityZone", why, "Make subnets in at least two zones.")]
        }
        _ => Vec::new(),
    }
}
