//! The rules. The one list.

use std::collections::BTreeSet;

use super::Severity::{Error, Note, Warning};
use super::{Case, Found, Rule};
use crate::estate::{Group, Instance};

/// A grace period longer than this keeps an instance that never comes up for longer than it takes to replace it twice.
const GRACE_S_MAX: u64 = 300;
/// A deregistration longer than this holds up every replacement and deployment.
const DEREGISTRATION_S_MAX: u64 = 120;
/// Processes without which a group does not repair itself.
const REPAIRING: [&str; 6] =
    ["Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AZRebalance", "AddToLoadBalancer"];

#[rustfmt::skip]
pub static RULES: &[Rule] = &[
    Rule { id: "group-in-one-zone", severity: Error, title: "A group lives in one zone", check: group_in_one_zone },
    Rule { id: "balancer-in-one-zone", severity: Error, title: "A load balancer has a node in one zone", check: balancer_in_one_zone },
    Rule { id: "balancer-misses-zone", severity: Error, title: "A load balancer has no node where its targets are", check: balancer_misses_zone },
    Rule { id: "elb-health-unused", severity: Error, title: "The group does not hear what the load balancer finds", check: elb_health_unused },
    Rule { id: "health-checks-off", severity: Error, title: "Targets are not checked", check: health_checks_off },
    Rule { id: "suspended-processes", severity: Error, title: "The group has been told not to repair itself", check: suspended_processes },
    Rule { id: "lone-address", severity: Error, title: "An address stands for one instance", check: lone_address },
    Rule { id: "lone-instance", severity: Warning, title: "An instance that nothing replaces", check: lone_instance },
    Rule { id: "recovery-off", severity: Warning, title: "An instance is not recovered when its hardware fails", check: recovery_off },
    Rule { id: "no-grace", severity: Warning, title: "No time to start", check: no_grace },
    Rule { id: "grace-too-long", severity: Warning, title: "A grace period longer than any start", check: grace_too_long },
    Rule { id: "one-is-enough", severity: Warning, title: "The group may shrink to one", check: one_is_enough },
    Rule { id: "no-spare-zone", severity: Warning, title: "Losing a zone leaves less than the least", check: no_spare_zone },
    Rule { id: "no-headroom", severity: Warning, title: "The group cannot grow", check: no_headroom },
    Rule { id: "slow-health-check", severity: Warning, title: "Health checks are slower than an outage may last", check: slow_health_check },
    Rule { id: "long-deregistration", severity: Warning, title: "Targets take long to leave", check: long_deregistration },
    Rule { id: "no-group-alarm", severity: Warning, title: "Nobody hears of the group", check: no_group_alarm },
    Rule { id: "no-target-alarm", severity: Warning, title: "Nobody hears of unhealthy targets", check: no_target_alarm },
    Rule { id: "silent-alarm", severity: Warning, title: "An alarm tells nobody", check: silent_alarm },
    Rule { id: "shared-nat", severity: Warning, title: "Zones share a NAT gateway in one of them", check: shared_nat },
    Rule { id: "state-in-one-zone", severity: Warning, title: "State lives in one zone only", check: state_in_one_zone },
    Rule { id: "subnets-in-one-zone", severity: Warning, title: "All subnets are in one zone", check: subnets_in_one_zone },
    Rule { id: "all-spot", severity: Warning, title: "Everything can be taken away at once", check: all_spot },
    Rule { id: "target-group-unused", severity: Warning, title: "A target group that no listener forwards to", check: target_group_unused },
    Rule { id: "no-capacity-rebalance", severity: Note, title: "Spot Instances are replaced after they went", check: no_capacity_rebalance },
    Rule { id: "no-scaling-policy", severity: Note, title: "Nothing ever scales the group", check: no_scaling_policy },
    Rule { id: "no-stop-condition", severity: Note, title: "No alarm stops the game day", check: no_stop_condition },
];

/// The rules that name something whose loss alone is an outage.
pub const SINGLE_POINTS: [&str; 7] = [
    "group-in-one-zone",
    "balancer-in-one-zone",
    "lone-address",
    "lone-instance",
    "shared-nat",
    "state-in-one-zone",
    "subnets-in-one-zone",
];

fn found(resource: &str, property: &'static str, why: impl Into<String>, fix: impl Into<String>) -> Found {
    Found { resource: resource.to_owned(), property, why: why.into(), fix: fix.into() }
}

/// Asks each group.
fn groups(case: &Case<'_>, check: impl Fn(&Group) -> Option<Found>) -> Vec<Found> {
    case.estate.groups.iter().filter_map(check).collect()
}

fn group_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let [zone] = group.zones.as_slice() else { return None };
        let why = format!("All of its subnets are in {zone}: when that zone goes, nothing can be launched elsewhere.");
        Some(found(&group.name, "VPCZoneIdentifier", why, "Give it a subnet in each of at least two zones."))
    })
}

fn balancer_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    (case.estate.balancers.iter())
        .filter(|balancer| balancer.zones.len() == 1)
        .map(|balancer| {
            let why =
                format!("Its only node is in {}: when that zone goes, its name leads nowhere.", balancer.zones[0]);
            found(&balancer.arn, "Subnets", why, "Give it a subnet in every zone that has targets.")
        })
        .collect()
}

fn balancer_misses_zone(case: &Case<'_>) -> Vec<Found> {
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

fn elb_health_unused(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if group.target_groups.is_empty() || group.health_check.contains("ELB") {
            return None;
        }
        let why = "It is behind a load balancer and checks EC2 status only: an instance whose application hangs is taken \
                   out of traffic and never replaced, so capacity is lost for good.";
        Some(found(&group.name, "HealthCheckType", why, "Set HealthCheckType to ELB."))
    })
}

fn health_checks_off(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| !group.checks)
        .map(|group| {
            let why = "Every target counts as healthy, so requests go to dead ones.";
            found(&group.arn, "HealthCheckEnabled", why, "Enable health checks.")
        })
        .collect()
}

fn suspended_processes(case: &Case<'_>) -> Vec<Found> {
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

fn alone<'a>(case: &Case<'a>) -> impl Iterator<Item = &'a Instance> {
    case.estate.instances.iter().filter(|instance| instance.group.is_none())
}

fn lone_address(case: &Case<'_>) -> Vec<Found> {
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

fn lone_instance(case: &Case<'_>) -> Vec<Found> {
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

fn recovery_off(case: &Case<'_>) -> Vec<Found> {
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

fn no_grace(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if !group.health_check.contains("ELB") || group.grace_s > 0 {
            return None;
        }
        let why = "Instances are judged by the load balancer before their application can have started, and are replaced \
                   before they ever serve.";
        Some(found(&group.name, "HealthCheckGracePeriod", why, "Set it to the time that an instance needs to answer."))
    })
}

fn grace_too_long(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if group.grace_s <= GRACE_S_MAX {
            return None;
        }
        let why = format!("A new instance that never answers is kept for {} s before it is replaced.", group.grace_s);
        Some(found(&group.name, "HealthCheckGracePeriod", why, "Set it to the time that an instance needs to answer."))
    })
}

fn one_is_enough(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        if group.min > 1 || group.max <= 1 {
            return None;
        }
        let why = format!(
            "MinSize is {}: scaling in may leave one instance, and its zone is then the whole site.",
            group.min
        );
        Some(found(&group.name, "MinSize", why, "Set MinSize to at least one for each zone."))
    })
}

fn no_spare_zone(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let zones = group.zones.len() as u64;
        let left = group.desired - group.desired.div_ceil(zones.max(1)).min(group.desired);
        if zones < 2 || left >= group.min || group.max <= 1 {
            return None;
        }
        let why = format!(
            "Of {} instances over {zones} zones, {left} are left when a zone goes: under MinSize {}, the load that you say \
             needs at least that many.",
            group.desired, group.min
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

fn no_headroom(case: &Case<'_>) -> Vec<Found> {
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

fn slow_health_check(case: &Case<'_>) -> Vec<Found> {
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

fn long_deregistration(case: &Case<'_>) -> Vec<Found> {
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

fn no_group_alarm(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let of_targets = |arn: &String| case.estate.alarms.iter().any(|alarm| is_about(&alarm.about, arn));
        let heard = case.estate.alarms.iter().any(|alarm| alarm.about.contains(&group.name))
            || group.target_groups.iter().any(of_targets);
        (!heard).then(|| {
            let why =
                "No alarm watches the group or its targets: that it runs on less than it needs shows to users first.";
            found(&group.name, "", why, "Alarm on GroupInServiceInstances below what a zone less would leave.")
        })
    })
}

/// Whether a dimension's value, `targetgroup/name/id`, is the end of this ARN.
fn is_about(values: &[String], arn: &str) -> bool {
    values.iter().any(|value| !value.is_empty() && arn.ends_with(value.as_str()))
}

fn no_target_alarm(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| !case.estate.alarms.iter().any(|alarm| is_about(&alarm.about, &group.arn)))
        .map(|group| {
            let why = "No alarm watches its targets: a zone may be out for long before anybody looks.";
            found(&group.arn, "", why, "Alarm on UnHealthyHostCount above 0, or HealthyHostCount below what you need.")
        })
        .collect()
}

fn silent_alarm(case: &Case<'_>) -> Vec<Found> {
    (case.estate.alarms.iter())
        .filter(|alarm| alarm.actions == 0)
        .map(|alarm| {
            let why = "It changes its state and does nothing: nobody is told and nothing is done.";
            found(&alarm.name, "AlarmActions", why, "Give it a topic or a scaling policy.")
        })
        .collect()
}

fn shared_nat(case: &Case<'_>) -> Vec<Found> {
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

fn state_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    (case.estate.volumes.iter())
        .filter(|volume| !volume.is_root && volume.snapshots == 0)
        .map(|volume| {
            let why = format!("The volume is in {} and has no snapshot: with the zone its data is gone.", volume.zone);
            found(&volume.id, "", why, "Take snapshots on a schedule, or keep the state where several zones have it.")
        })
        .collect()
}

fn subnets_in_one_zone(case: &Case<'_>) -> Vec<Found> {
    let zones: BTreeSet<&str> = case.estate.subnets.iter().map(|subnet| subnet.zone.as_str()).collect();
    match (case.estate.subnets.first(), zones.len()) {
        (Some(first), 1) => {
            let why = format!("Every subnet is in {}: nothing of the stack can be anywhere else.", first.zone);
            vec![found(&first.id, "AvailabilityZone", why, "Make subnets in at least two zones.")]
        }
        _ => Vec::new(),
    }
}

fn all_spot(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        group.all_spot.then(|| {
            let why = "All capacity is spot: when it is wanted elsewhere, all of it may go within two minutes.";
            found(&group.name, "MixedInstancesPolicy", why, "Keep an OnDemandBaseCapacity that serves at night.")
        })
    })
}

fn target_group_unused(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| group.balancers.is_empty())
        .map(|group| {
            let why =
                "Its targets are neither checked nor sent anything, and a group that waits for them waits for ever.";
            found(&group.arn, "", why, "Forward to it from a listener, or remove it.")
        })
        .collect()
}

fn no_capacity_rebalance(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let spot = |one: &Instance| one.spot && one.group.as_ref() == Some(&group.name);
        let has_spot = group.all_spot || case.estate.instances.iter().any(spot);
        (has_spot && !group.rebalances_capacity).then(|| {
            let why = "Replacements are launched when Spot Instances are gone, not when they get their notice.";
            found(&group.name, "CapacityRebalance", why, "Set CapacityRebalance to true.")
        })
    })
}

fn no_scaling_policy(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        (group.policies == 0 && group.min < group.max).then(|| {
            let why =
                format!("It may have {} to {} instances, and nothing changes their number.", group.min, group.max);
            found(&group.name, "", why, "Track a target, for example 50 % of ASGAverageCPUUtilization.")
        })
    })
}

fn no_stop_condition(case: &Case<'_>) -> Vec<Found> {
    match (case.stops, case.estate.groups.first()) {
        (Some(false), Some(group)) => {
            let why = "What the game day breaks stays broken until its time is over, whatever it does to users.";
            vec![found(&group.name, "", why, "Name an alarm in the game day's stop_alarms.")]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Case, OBJECTIVE, advise};
    use super::*;
    use crate::estate::{Address, Alarm, Balancer, Estate, NatGateway, Subnet, TargetGroup, Volume};

    const ZONES: [&str; 3] = ["z-a", "z-b", "z-c"];

    /// An estate of which no rule has anything to say.
    fn good() -> Estate {
        let zones = || ZONES.map(str::to_owned).to_vec();
        Estate {
            groups: vec![Group {
                name: "g".into(),
                min: 3,
                max: 9,
                desired: 6,
                zones: zones(),
                health_check: "ELB".into(),
                grace_s: 30,
                target_groups: vec!["arn:t".into()],
                policies: 1,
                ..Group::default()
            }],
            balancers: vec![Balancer { arn: "arn:b".into(), zones: zones(), ..Balancer::default() }],
            target_groups: vec![TargetGroup {
                arn: "arn:t".into(),
                checks: true,
                interval_s: 5,
                unhealthy: 2,
                deregistration_s: 10,
                balancers: vec!["arn:b".into()],
                ..TargetGroup::default()
            }],
            instances: (ZONES.iter())
                .map(|zone| Instance {
                    id: format!("i-{zone}"),
                    zone: (*zone).into(),
                    group: Some("g".into()),
                    recovers: true,
                    ..Instance::default()
                })
                .collect(),
            subnets: (ZONES.iter())
                .map(|zone| Subnet { id: format!("s-{zone}"), zone: (*zone).into(), ..Subnet::default() })
                .collect(),
            alarms: vec![Alarm { name: "a".into(), about: vec!["t".into()], actions: 1, ..Alarm::default() }],
            volumes: vec![Volume { id: "v-root".into(), is_root: true, ..Volume::default() }],
            ..Estate::default()
        }
    }

    fn alone() -> Instance {
        Instance { id: "i-alone".into(), zone: "z-a".into(), recovers: true, ..Instance::default() }
    }

    /// Each rule with a change to the good estate that makes it fire.
    const BAD: &[(&str, fn(&mut Estate))] = &[
        ("group-in-one-zone", |e| e.groups[0].zones.truncate(1)),
        ("balancer-in-one-zone", |e| e.balancers[0].zones.truncate(1)),
        ("balancer-misses-zone", |e| e.balancers[0].zones.truncate(2)),
        ("elb-health-unused", |e| e.groups[0].health_check = "EC2".into()),
        ("health-checks-off", |e| e.target_groups[0].checks = false),
        ("suspended-processes", |e| e.groups[0].suspended = vec!["Launch".into()]),
        ("lone-address", |e| {
            e.instances.push(alone());
            e.addresses.push(Address { ip: "x".into(), instance: Some("i-alone".into()), ..Address::default() });
        }),
        ("lone-instance", |e| e.instances.push(alone())),
        ("recovery-off", |e| e.instances.push(Instance { recovers: false, ..alone() })),
        ("no-grace", |e| e.groups[0].grace_s = 0),
        ("grace-too-long", |e| e.groups[0].grace_s = 301),
        ("one-is-enough", |e| e.groups[0].min = 1),
        ("no-spare-zone", |e| e.groups[0].min = 5),
        ("no-headroom", |e| e.groups[0].max = 6),
        ("slow-health-check", |e| e.target_groups[0].interval_s = 31),
        ("long-deregistration", |e| e.target_groups[0].deregistration_s = 300),
        ("no-group-alarm", |e| e.alarms.clear()),
        ("no-target-alarm", |e| e.alarms[0].about = vec!["g".into()]),
        ("silent-alarm", |e| e.alarms[0].actions = 0),
        ("shared-nat", |e| {
            e.nat_gateways.push(NatGateway { id: "n".into(), zone: "z-a".into() });
            e.subnets.iter_mut().for_each(|subnet| subnet.nat = Some("n".into()));
        }),
        ("state-in-one-zone", |e| e.volumes.push(Volume { id: "v".into(), ..Volume::default() })),
        ("subnets-in-one-zone", |e| e.subnets.truncate(1)),
        ("all-spot", |e| e.groups[0].all_spot = true),
        ("target-group-unused", |e| e.target_groups[0].balancers.clear()),
        ("no-capacity-rebalance", |e| e.instances[0].spot = true),
        ("no-scaling-policy", |e| e.groups[0].policies = 0),
    ];

    fn said(estate: &Estate, stops: Option<bool>) -> Vec<&'static str> {
        advise(&Case { estate, objective: OBJECTIVE, stops }).iter().map(|advice| advice.rule).collect()
    }

    #[test]
    fn a_good_estate_needs_no_advice() {
        assert_eq!(said(&good(), Some(true)), [""; 0]);
    }

    #[test]
    fn each_rule_fires_for_what_it_is_about() {
        for (rule, spoil) in BAD {
            let mut estate = good();
            spoil(&mut estate);
            let said = said(&estate, None);
            assert!(said.contains(rule), "{rule} is not among {said:?}");
        }
        assert_eq!(said(&good(), Some(false)), ["no-stop-condition"]);
    }

    #[test]
    fn no_rule_is_without_a_test() {
        let tested: Vec<_> = BAD.iter().map(|(rule, _)| *rule).chain(["no-stop-condition"]).collect();
        let rules: Vec<_> = RULES.iter().map(|rule| rule.id).collect();
        assert_eq!(rules, tested);
    }

    #[test]
    fn single_points_are_of_rules() {
        for id in SINGLE_POINTS {
            assert!(RULES.iter().any(|rule| rule.id == id), "{id}");
        }
    }

    #[test]
    fn an_addressed_instance_is_found_once() {
        let mut estate = good();
        estate.instances.push(alone());
        estate.addresses.push(Address { ip: "x".into(), instance: Some("i-alone".into()), ..Address::default() });
        assert_eq!(said(&estate, None), ["lone-address"]);
    }

    #[test]
    fn a_health_check_is_slow_by_the_objective() {
        let estate = good();
        let case = Case { estate: &estate, objective: Duration::from_secs(9), stops: None };
        let advice = advise(&case);
        assert_eq!(advice.len(), 1);
        assert!(advice[0].why.contains("5 x UnhealthyThresholdCount 2 = 10 s"), "{}", advice[0].why);
    }
}
