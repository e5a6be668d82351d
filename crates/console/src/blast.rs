//! What an act would hit, in figures. Pure: from what exists to what is said before anyone presses the button.

use std::collections::BTreeSet;

use crate::estate::{Estate, Machine};

/// What goes when something is broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blast {
    /// Ids of running instances that end.
    pub instances: Vec<String>,
    /// Groups that lose instances in service.
    pub groups: Vec<Fall>,
    /// Load balancers that lose nodes.
    pub nodes: Vec<Fall>,
    /// Target groups that lose healthy targets.
    pub targets: Vec<Fall>,
}

/// How much of something is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fall {
    pub name: String,
    pub from: usize,
    pub to: usize,
    /// The least that its settings ask for.
    pub least: Option<usize>,
}

impl Fall {
    /// Whether nothing is left, or less than there should be.
    pub fn is_grave(&self) -> bool {
        self.to == 0 || self.least.is_some_and(|least| self.to < least)
    }
}

/// What a zone's power takes with it.
pub fn of_zone(estate: &Estate, zone: &str) -> Blast {
    let gone = |machine: &&Machine| machine.zone == zone && machine.is_running();
    let mut blast = of_instances(estate, &estate.machines.iter().filter(gone).map(|m| m.id.as_str()).collect());
    for balancer in &estate.balancers {
        let up = balancer.zones_up();
        if up.contains(zone) {
            blast.nodes.push(Fall { name: balancer.name.clone(), from: up.len(), to: up.len() - 1, least: None });
        }
    }
    blast
}

/// What goes with instances.
pub fn of_instances(estate: &Estate, ids: &BTreeSet<&str>) -> Blast {
    let mut blast = Blast { instances: ids.iter().map(|id| (*id).to_owned()).collect(), ..Blast::default() };
    for group in &estate.groups {
        let members = group.instances.as_deref().unwrap_or_default();
        let serving: Vec<_> = members.iter().filter(|member| member.lifecycle_state == "InService").collect();
        let lost = serving.iter().filter(|member| ids.contains(member.instance_id.as_str())).count();
        if lost > 0 {
            blast.groups.push(Fall {
                name: group.auto_scaling_group_name.clone(),
                from: serving.len(),
                to: serving.len() - lost,
                least: Some(usize::try_from(group.min_size).unwrap_or_default()),
            });
        }
    }
    let mut seen = BTreeSet::new();
    for group in estate.balancers.iter().flat_map(|balancer| &balancer.groups) {
        let healthy: Vec<_> = group.targets.iter().filter(|target| target.state == "healthy").collect();
        let lost = healthy.iter().filter(|target| ids.contains(target.id.as_str())).count();
        if lost > 0 && seen.insert(&group.arn) {
            let (from, to) = (healthy.len(), healthy.len() - lost);
            blast.targets.push(Fall { name: group.name.clone(), from, to, least: None });
        }
    }
    blast
}

#[cfg(test)]
mod tests {
    use standfast_api::autoscaling;

    use super::*;
    use crate::estate::{Balancer, Target, TargetGroup};

    fn machine(id: &str, zone: &str) -> Machine {
        Machine { id: id.into(), zone: zone.into(), state: "running".into(), ..Machine::default() }
    }

    fn target(id: &str, zone: &str, state: &str) -> Target {
        Target { id: id.into(), port: 80, zone: zone.into(), state: state.into(), reason: None, description: None }
    }

    fn estate() -> Estate {
        let member = |id: &str, zone: &str| autoscaling::Instance {
            instance_id: id.into(),
            availability_zone: zone.into(),
            lifecycle_state: "InService".into(),
            ..Default::default()
        };
        let group = autoscaling::AutoScalingGroup {
            auto_scaling_group_name: "web".into(),
            min_size: 3,
            instances: Some(vec![member("i-1", "a"), member("i-2", "a"), member("i-3", "b")]),
            ..Default::default()
        };
        let targets =
            vec![target("i-1", "a", "healthy"), target("i-2", "a", "unhealthy"), target("i-3", "b", "healthy")];
        let sockets = ["a", "b"].map(|zone| ((zone.to_owned(), 80), String::new()));
        let balancer = Balancer {
            name: "front".into(),
            arn: "arn".into(),
            dimension: String::new(),
            dns_name: String::new(),
            scheme: String::new(),
            state: "active".into(),
            zones: vec!["a".into(), "b".into()],
            sockets: sockets.into(),
            groups: vec![TargetGroup {
                shape: Default::default(),
                name: "app".into(),
                arn: "tg".into(),
                dimension: String::new(),
                targets,
            }],
        };
        let mut machines = vec![machine("i-1", "a"), machine("i-2", "a"), machine("i-3", "b"), machine("i-4", "a")];
        machines[3].state = "stopped".into();
        Estate {
            zones: vec![],
            machines,
            groups: vec![group],
            balancers: vec![balancer],
            troubles: vec![],
            past: vec![],
        }
    }

    fn fall(name: &str, from: usize, to: usize, least: Option<usize>) -> Fall {
        Fall { name: name.into(), from, to, least }
    }

    #[test]
    fn a_zone_takes_its_instances_nodes_and_targets() {
        let blast = of_zone(&estate(), "a");
        assert_eq!(blast.instances, ["i-1", "i-2"], "what is stopped has nothing to lose");
        assert_eq!(blast.groups, [fall("web", 3, 1, Some(3))]);
        assert!(blast.groups[0].is_grave(), "1 is below the least of 3");
        assert_eq!(blast.nodes, [fall("front", 2, 1, None)]);
        assert_eq!(blast.targets, [fall("app", 2, 1, None)], "the unhealthy one got no requests anyway");
    }

    #[test]
    fn an_empty_zone_takes_nothing() {
        assert_eq!(of_zone(&estate(), "c"), Blast::default());
    }

    #[test]
    fn an_instance_takes_its_place_in_group_and_target_group() {
        let blast = of_instances(&estate(), &["i-3"].into());
        assert_eq!((blast.groups, blast.nodes.len()), (vec![fall("web", 3, 2, Some(3))], 0));
        assert_eq!(blast.targets, [fall("app", 2, 1, None)]);
    }
}
