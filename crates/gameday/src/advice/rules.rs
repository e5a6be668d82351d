//! The rules. The one list; what they look for is told by theme beside it.

use super::Severity::{Error, Note, Warning};
use super::{Case, Found, Rule, alarms, balancers, groups, instances, zones};
use crate::estate::Group;

#[rustfmt::skip]
pub static RULES: &[Rule] = &[
    Rule { id: "group-in-one-zone", severity: Error, title: "A group lives in one zone", check: zones::group_in_one_zone },
    Rule { id: "balancer-in-one-zone", severity: Error, title: "A load balancer has a node in one zone", check: zones::balancer_in_one_zone },
    Rule { id: "balancer-misses-zone", severity: Error, title: "A load balancer has no node where its targets are", check: zones::balancer_misses_zone },
    Rule { id: "elb-health-unused", severity: Error, title: "The group does not hear what the load balancer finds", check: balancers::elb_health_unused },
    Rule { id: "health-checks-off", severity: Error, title: "Targets are not checked", check: balancers::health_checks_off },
    Rule { id: "suspended-processes", severity: Error, title: "The group has been told not to repair itself", check: groups::suspended_processes },
    Rule { id: "lone-address", severity: Error, title: "An address stands for one instance", check: instances::lone_address },
    Rule { id: "lone-instance", severity: Warning, title: "An instance that nothing replaces", check: instances::lone_instance },
    Rule { id: "recovery-off", severity: Warning, title: "An instance is not recovered when its hardware fails", check: instances::recovery_off },
    Rule { id: "no-grace", severity: Warning, title: "No time to start", check: groups::no_grace },
    Rule { id: "grace-too-long", severity: Warning, title: "A grace period longer than any start", check: groups::grace_too_long },
    Rule { id: "one-is-enough", severity: Warning, title: "The group may shrink to one", check: groups::one_is_enough },
    Rule { id: "group-of-one", severity: Warning, title: "A group of one", check: groups::group_of_one },
    Rule { id: "no-spare-zone", severity: Warning, title: "Losing a zone leaves less than the least", check: zones::no_spare_zone },
    Rule { id: "no-headroom", severity: Warning, title: "The group cannot grow", check: groups::no_headroom },
    Rule { id: "slow-health-check", severity: Warning, title: "Health checks are slower than an outage may last", check: balancers::slow_health_check },
    Rule { id: "long-deregistration", severity: Warning, title: "Targets take long to leave", check: balancers::long_deregistration },
    Rule { id: "no-draining", severity: Warning, title: "Targets leave with requests under way", check: balancers::no_draining },
    Rule { id: "no-addresses", severity: Warning, title: "No addresses to grow into", check: groups::no_addresses },
    Rule { id: "no-group-alarm", severity: Warning, title: "Nobody hears of the group", check: alarms::no_group_alarm },
    Rule { id: "no-target-alarm", severity: Warning, title: "Nobody hears of unhealthy targets", check: alarms::no_target_alarm },
    Rule { id: "silent-alarm", severity: Warning, title: "An alarm tells nobody", check: alarms::silent_alarm },
    Rule { id: "shared-nat", severity: Warning, title: "Zones share a NAT gateway in one of them", check: zones::shared_nat },
    Rule { id: "state-in-one-zone", severity: Warning, title: "State lives in one zone only", check: zones::state_in_one_zone },
    Rule { id: "subnets-in-one-zone", severity: Warning, title: "All subnets are in one zone", check: zones::subnets_in_one_zone },
    Rule { id: "all-spot", severity: Warning, title: "Everything can be taken away at once", check: groups::all_spot },
    Rule { id: "target-group-unused", severity: Warning, title: "A target group that no listener forwards to", check: balancers::target_group_unused },
    Rule { id: "lone-target", severity: Warning, title: "A load balancer with one server", check: balancers::lone_target },
    Rule { id: "targets-in-one-zone", severity: Warning, title: "All targets are in one zone", check: balancers::targets_in_one_zone },
    Rule { id: "unheard-silence", severity: Warning, title: "An alarm falls silent with what it watches", check: alarms::unheard_silence },
    Rule { id: "no-capacity-rebalance", severity: Note, title: "Spot Instances are replaced after they went", check: groups::no_capacity_rebalance },
    Rule { id: "one-spot-type", severity: Note, title: "Spot Instances of one type", check: groups::one_spot_type },
    Rule { id: "no-front", severity: Note, title: "Nothing stands before the group", check: instances::no_front },
    Rule { id: "sticky-sessions", severity: Note, title: "Users are bound to an instance", check: balancers::sticky_sessions },
    Rule { id: "no-scaling-policy", severity: Note, title: "Nothing ever scales the group", check: groups::no_scaling_policy },
    Rule { id: "no-stop-condition", severity: Note, title: "No alarm stops the game day", check: alarms::no_stop_condition },
];

/// The rules that name something whose loss alone is an outage.
pub const SINGLE_POINTS: [&str; 11] = [
    "group-in-one-zone",
    "group-of-one",
    "balancer-in-one-zone",
    "lone-address",
    "lone-instance",
    "lone-target",
    "no-front",
    "shared-nat",
    "state-in-one-zone",
    "subnets-in-one-zone",
    "targets-in-one-zone",
];

pub fn found(resource: &str, property: &'static str, why: impl Into<String>, fix: impl Into<String>) -> Found {
    Found { resource: resource.to_owned(), property, why: why.into(), fix: fix.into() }
}

/// Asks each group.
pub fn groups(case: &Case<'_>, check: impl Fn(&Group) -> Option<Found>) -> Vec<Found> {
    case.estate.groups.iter().filter_map(check).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Case, OBJECTIVE, advise};
    use super::*;
    use crate::estate::{Address, Alarm, Balancer, Estate, Instance, NatGateway, Subnet, TargetGroup, Volume};

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
                subnets: ZONES.map(|zone| format!("s-{zone}")).to_vec(),
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
                .map(|zone| Subnet {
                    id: format!("s-{zone}"),
                    zone: (*zone).into(),
                    free_addresses: 1,
                    ..Subnet::default()
                })
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
        ("group-of-one", |e| (e.groups[0].min, e.groups[0].desired, e.groups[0].max) = (1, 1, 1)),
        ("no-spare-zone", |e| e.groups[0].min = 5),
        ("no-headroom", |e| e.groups[0].max = 6),
        ("slow-health-check", |e| e.target_groups[0].interval_s = 31),
        ("long-deregistration", |e| e.target_groups[0].deregistration_s = 300),
        ("no-draining", |e| e.target_groups[0].deregistration_s = 0),
        ("no-addresses", |e| e.subnets.iter_mut().for_each(|subnet| subnet.free_addresses = 0)),
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
        ("lone-target", |e| {
            e.groups[0].target_groups.clear();
            e.target_groups[0].members = ["i-z-a".to_owned()].into();
        }),
        ("targets-in-one-zone", |e| {
            e.instances[1].zone = "z-a".into();
            e.target_groups[0].members = ["i-z-a", "i-z-b"].map(str::to_owned).into();
        }),
        ("unheard-silence", |e| {
            let (namespace, about) = ("CWAgent".into(), vec!["t".into()]);
            e.alarms.push(Alarm { namespace, about, actions: 1, silent_when_missing: true, ..Alarm::default() });
        }),
        ("no-capacity-rebalance", |e| e.instances[0].spot = true),
        ("one-spot-type", |e| e.instances[0].spot = true),
        ("no-front", |e| {
            e.instances[0].public = true;
            e.groups[0].target_groups.clear();
        }),
        ("sticky-sessions", |e| e.target_groups[0].sticky = true),
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
    fn who_is_alone_in_a_rule_is_not_found() {
        for keep in [
            (|e: &mut Estate| e.target_groups[0].members = ["i-z-a".to_owned()].into()) as fn(&mut Estate),
            |e| e.target_groups[0].members = ["i-z-a", "i-z-b"].map(str::to_owned).into(),
            |e| e.instances[0].public = true,
            // A group that nothing runs in yet.
            |e| {
                let (name, zones) = ("empty".to_owned(), ZONES.map(str::to_owned).to_vec());
                e.groups.push(Group { name, zones, max: 8, health_check: "EC2".into(), ..Group::default() });
            },
            |e| {
                e.alarms.push(Alarm { namespace: "CWAgent".into(), actions: 1, ..Alarm::default() });
                e.alarms.push(Alarm {
                    namespace: "AWS/EC2".into(),
                    actions: 1,
                    silent_when_missing: true,
                    ..Alarm::default()
                });
            },
            // Spot Instances of several types, and replaced in time.
            |e| {
                e.groups[0].rebalances_capacity = true;
                for (n, one) in e.instances.iter_mut().enumerate() {
                    (one.spot, one.kind) = (true, format!("t{n}"));
                }
            },
        ] {
            let mut estate = good();
            keep(&mut estate);
            assert_eq!(said(&estate, None), [""; 0]);
        }
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
