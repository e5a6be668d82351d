//! From the records to what the data plane obeys. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use standfast_core::Scope;
use standfast_core::id::{self, Id};
use standfast_core::lb::{self, Algorithm, LbSnapshot, NodePlace, XffMode};
use standfast_store::View;

use super::attributes::{
    ALGORITHM, DEREGISTRATION_DELAY, IDLE_TIMEOUT, LOAD_BALANCER, STICKINESS_DURATION, STICKINESS_ENABLED,
    STICKINESS_TYPE, TARGET_GROUP, XFF_MODE,
};
use super::model::{
    Condition, Does, HealthCheck, Listener, LoadBalancer, Node, Rule, Target, TargetGroup, ZoneMapping,
};
use super::targets::ALL_ZONES;
use super::{errors, health_checks, secure};

type Rows<R> = Vec<(Scope, Arc<str>, Arc<R>)>;

/// All records, as of one point in time.
#[derive(Default)]
pub struct Records {
    pub load_balancers: Rows<LoadBalancer>,
    pub nodes: Rows<Node>,
    pub listeners: Rows<Listener>,
    pub rules: Rows<Rule>,
    pub target_groups: Rows<TargetGroup>,
    pub targets: Rows<Target>,
    /// What HTTPS listeners end TLS with, by the listener's ARN.
    pub tls: BTreeMap<String, lb::Tls>,
}

impl Records {
    pub fn read(view: &View) -> Self {
        let listeners: Rows<Listener> = view.all();
        let tls = |(scope, id, listener): &(Scope, Arc<str>, Arc<Listener>)| {
            Some((errors::arn::<Listener>(scope, id), secure::tls(view, scope, listener.secure.as_ref()?)))
        };
        Self {
            load_balancers: view.all(),
            nodes: view.all(),
            tls: listeners.iter().filter_map(tls).collect(),
            listeners,
            rules: view.all(),
            target_groups: view.all(),
            targets: view.all(),
        }
    }

    /// The node of a load balancer in a zone.
    pub fn node(&self, scope: &Scope, balancer: &str, mapping: &ZoneMapping) -> Option<&Node> {
        let id = Node::record_id(balancer, &mapping.subnet);
        let found = self.nodes.binary_search_by(|(of, other, _)| (of, &**other).cmp(&(scope, id.as_str())));
        found.ok().map(|index| &*self.nodes[index].2)
    }

    /// The zones in which each group receives traffic, by the group's ARN: those of the load balancer that uses it.
    pub fn zones_in_use(&self) -> BTreeMap<String, BTreeSet<&str>> {
        let balancers: BTreeMap<(&Scope, &str), &LoadBalancer> =
            self.load_balancers.iter().map(|(scope, id, balancer)| ((scope, &**id), &**balancer)).collect();
        let mut used: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (scope, _, rule) in &self.rules {
            let Some(balancer) = balancers.get(&(scope, rule.load_balancer.as_str())) else { continue };
            for arn in rule.action.target_groups() {
                let zones = used.entry(arn.to_owned()).or_default();
                zones.extend(balancer.zones.iter().map(|mapping| mapping.zone.as_str()));
            }
        }
        used
    }
}

/// Whether a target in this zone receives traffic from a load balancer in these.
pub fn zone_in_use(zones: &BTreeSet<&str>, zone: &str) -> bool {
    zone == ALL_ZONES || zones.contains(zone)
}

/// What a snapshot depends on besides the records.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Zones without power.
    pub dark: &'a BTreeSet<String>,
    /// Target groups, by ARN, whose targets are to fail: no answer to a health check is right.
    pub failing: &'a BTreeSet<String>,
    /// Where the namespaces of interfaces can be opened; `None` where instances have no networks.
    pub namespaces: Option<&'a BTreeMap<Id<id::NetworkInterface>, PathBuf>>,
    /// Where a target can be reached now.
    pub address: &'a (dyn Fn(&Scope, &TargetGroup, &Target) -> Option<Ipv4Addr> + Sync),
}

impl Seen<'_> {
    fn node(&self, zone: &str, node: Option<&Node>) -> lb::Node {
        let place = node.and_then(|node| self.place(node));
        let is_there = self.namespaces.is_none() || place.is_some();
        lb::Node { zone: zone.to_owned(), up: is_there && !self.dark.contains(zone), place }
    }

    fn place(&self, node: &Node) -> Option<NodePlace> {
        let interface = node.interface.as_ref()?;
        let namespace = self.namespaces?.get(interface.id.as_str())?.clone();
        Some(NodePlace { address: interface.address, namespace })
    }

    /// Whether a load balancer has all that it needs in a zone.
    pub fn is_ready(&self, zone: &str, node: Option<&Node>) -> bool {
        let is_made = node.is_some_and(|node| node.interface.is_some());
        is_made && (self.node(zone, node).up || self.dark.contains(zone))
    }
}

pub fn build(records: &Records, seen: Seen<'_>) -> LbSnapshot {
    let load_balancers = load_balancers(records, seen);
    let placed = placed(&load_balancers);
    let used = records.zones_in_use();
    let mut targets: BTreeMap<(&Scope, &str), Vec<&Target>> = BTreeMap::new();
    for (scope, _, target) in &records.targets {
        targets.entry((scope, &target.group)).or_default().push(target);
    }
    let mut target_groups = BTreeMap::new();
    for (scope, id, group) in &records.target_groups {
        let arn = errors::arn::<TargetGroup>(scope, id);
        let Some(zones) = used.get(&arn) else { continue };
        // What is for a VPC must not leave through the machine's own network.
        let is_placed = seen.namespaces.is_none() || placed.contains(arn.as_str());
        let is_reached = |address: &Ipv4Addr| is_placed || address.is_loopback();
        let members = targets.get(&(scope, &**id)).into_iter().flatten();
        let members = members.filter(|target| zone_in_use(zones, &target.zone)).map(|target| lb::Target {
            id: target.id.clone(),
            port: target.port,
            zone: target.zone.clone(),
            address: (seen.address)(scope, group, target).filter(is_reached),
            draining_until: target.draining.map(|draining| draining.until),
        });
        let mut built = self::target_group(arn.clone(), id, group, members.collect());
        if seen.failing.contains(&arn) {
            built.health.matcher.clear();
        }
        target_groups.insert(arn, built);
    }
    LbSnapshot { load_balancers, target_groups }
}

/// The target groups of load balancers that have a place in their VPC.
fn placed(balancers: &[lb::LoadBalancer]) -> BTreeSet<&str> {
    let placed = balancers.iter().filter(|balancer| balancer.nodes.iter().any(|node| node.place.is_some()));
    let rules = placed.flat_map(|balancer| &balancer.listeners).flat_map(|listener| &listener.rules);
    let groups = rules.flat_map(|rule| match &rule.action {
        lb::Action::Forward { groups, .. } => groups.as_slice(),
        _ => &[],
    });
    groups.map(|(arn, _)| arn.as_str()).collect()
}

fn load_balancers(records: &Records, seen: Seen<'_>) -> Vec<lb::LoadBalancer> {
    let mut rules: BTreeMap<(&Scope, &str), Vec<(&str, &Rule)>> = BTreeMap::new();
    for (scope, id, rule) in &records.rules {
        rules.entry((scope, &rule.listener)).or_default().push((id, rule));
    }
    for rules in rules.values_mut() {
        rules.sort_by_key(|(_, rule)| rule.priority.unwrap_or(u32::MAX));
    }
    let mut listeners: BTreeMap<(&Scope, &str), Vec<lb::Listener>> = BTreeMap::new();
    for (scope, id, listener) in &records.listeners {
        let rules = rules.get(&(scope, &**id)).into_iter().flatten();
        listeners.entry((scope, &listener.load_balancer)).or_default().push(lb::Listener {
            tls: records.tls.get(&errors::arn::<Listener>(scope, id)).cloned(),
            arn: errors::arn::<Listener>(scope, id),
            port: listener.port,
            rules: rules.map(|(id, rule)| self::rule(scope, id, rule)).collect(),
        });
    }
    let balancer = |(scope, id, balancer): &(Scope, Arc<str>, Arc<LoadBalancer>)| {
        let node = |mapping: &ZoneMapping| seen.node(&mapping.zone, records.node(scope, id, mapping));
        lb::LoadBalancer {
            arn: errors::arn::<LoadBalancer>(scope, id),
            dimension: id.to_string(),
            dns_name: balancer.dns_name.clone(),
            nodes: balancer.zones.iter().map(node).collect(),
            listeners: listeners.get(&(scope, &**id)).cloned().unwrap_or_default(),
            idle_timeout_s: LOAD_BALANCER.number(&balancer.attributes, IDLE_TIMEOUT),
            xff_mode: match LOAD_BALANCER.get(&balancer.attributes, XFF_MODE) {
                "preserve" => XffMode::Preserve,
                "remove" => XffMode::Remove,
                _ => XffMode::Append,
            },
        }
    };
    records.load_balancers.iter().map(balancer).collect()
}

fn rule(scope: &Scope, id: &str, rule: &Rule) -> lb::Rule {
    lb::Rule {
        arn: errors::arn::<Rule>(scope, id),
        conditions: rule.conditions.iter().map(condition).collect(),
        action: action(&rule.action.does),
    }
}

fn condition(condition: &Condition) -> lb::Condition {
    match condition {
        Condition::Path(values) => lb::Condition::Path(values.clone()),
        Condition::Host(values) => lb::Condition::Host(values.clone()),
        Condition::Header { name, values } => lb::Condition::Header { name: name.clone(), values: values.clone() },
        Condition::Method(values) => lb::Condition::Method(values.clone()),
        Condition::Query(pairs) => lb::Condition::Query(pairs.clone()),
        // Clients come over IPv4 only, so a block of IPv6 addresses holds none of them.
        Condition::SourceIp(blocks) => {
            lb::Condition::SourceIp(blocks.iter().filter_map(|block| block.parse().ok()).collect())
        }
    }
}

fn action(does: &Does) -> lb::Action {
    match does {
        Does::Forward { groups, stickiness } => lb::Action::Forward {
            groups: groups.clone(),
            stickiness_s: stickiness.duration_s.filter(|_| stickiness.enabled).map(i32::unsigned_abs),
        },
        Does::FixedResponse { status, content_type, body } => lb::Action::FixedResponse {
            status: *status,
            content_type: content_type.clone().unwrap_or_else(|| "text/plain".into()),
            body: body.clone().unwrap_or_default(),
        },
        Does::Redirect { permanent, protocol, host, port, path, query } => lb::Action::Redirect {
            status: if *permanent { 301 } else { 302 },
            protocol: protocol.clone(),
            host: host.clone(),
            port: port.clone(),
            path: path.clone(),
            query: query.clone(),
        },
    }
}

fn target_group(arn: String, id: &str, group: &TargetGroup, targets: Vec<lb::Target>) -> lb::TargetGroup {
    let set = &group.attributes;
    let sticky = TARGET_GROUP.is_on(set, STICKINESS_ENABLED) && TARGET_GROUP.get(set, STICKINESS_TYPE) == "lb_cookie";
    lb::TargetGroup {
        arn,
        dimension: format!("targetgroup/{id}"),
        algorithm: match TARGET_GROUP.get(set, ALGORITHM) {
            "least_outstanding_requests" => Algorithm::LeastOutstandingRequests,
            _ => Algorithm::RoundRobin,
        },
        health: health_check(&group.health),
        targets,
        deregistration_delay_ms: u64::from(TARGET_GROUP.number(set, DEREGISTRATION_DELAY)) * 1000,
        stickiness_s: sticky.then(|| TARGET_GROUP.number(set, STICKINESS_DURATION)),
    }
}

fn health_check(check: &HealthCheck) -> lb::HealthCheck {
    lb::HealthCheck {
        enabled: true,
        port: check.port,
        path: check.path.clone(),
        interval_ms: u64::from(check.interval_s) * 1000,
        timeout_ms: u64::from(check.timeout_s) * 1000,
        healthy_threshold: check.healthy_threshold,
        unhealthy_threshold: check.unhealthy_threshold,
        matcher: health_checks::codes_of(&check.matcher).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elbv2::model::{Action, Draining, Interface, State, Stickiness, TargetType, ZoneMapping};
    use standfast_core::Timestamp;

    const WEB: &str = "app/web/50dc6c495c0c9188";
    const LISTENER: &str = "app/web/50dc6c495c0c9188/aaaaaaaaaaaaaaaa";

    fn scope() -> Scope {
        Scope::new("000000000000", "eu-west-1")
    }

    fn row<R>(id: &str, record: R) -> (Scope, Arc<str>, Arc<R>) {
        (scope(), id.into(), Arc::new(record))
    }

    fn group_arn(id: &str) -> String {
        errors::arn::<TargetGroup>(&scope(), id)
    }

    fn rule(priority: Option<u32>, group: &str) -> Rule {
        let groups = vec![(group_arn(group), 1)];
        Rule {
            load_balancer: WEB.into(),
            listener: LISTENER.into(),
            priority,
            conditions: priority.map(|p| Condition::Path(vec![format!("/{p}")])).into_iter().collect(),
            action: Action { order: None, does: Does::Forward { groups, stickiness: Stickiness::default() } },
            tags: Default::default(),
        }
    }

    fn target(group: &str, id: &str, zone: &str) -> (Scope, Arc<str>, Arc<Target>) {
        let target = Target { group: group.into(), id: id.into(), port: 80, zone: zone.into(), draining: None };
        row(&Target::record_id(group, id, 80), target)
    }

    fn group(id: &str) -> (Scope, Arc<str>, Arc<TargetGroup>) {
        row(
            id,
            TargetGroup {
                name: id.into(),
                port: 80,
                vpc: "vpc-1".into(),
                target_type: TargetType::Instance,
                health: HealthCheck::default(),
                attributes: [(DEREGISTRATION_DELAY.into(), "20".into()), (STICKINESS_ENABLED.into(), "true".into())]
                    .into(),
                tags: Default::default(),
            },
        )
    }

    fn records() -> Records {
        let mapping = |zone: &str| ZoneMapping { zone: zone.into(), subnet: format!("subnet-{zone}") };
        let balancer = LoadBalancer {
            name: "web".into(),
            internal: false,
            vpc: "vpc-1".into(),
            zones: vec![mapping("a"), mapping("b")],
            security_groups: vec![],
            dns_name: "web-0000000001.eu-west-1.elb.localhost".into(),
            state: State::Active,
            created: Timestamp(0),
            attributes: [(IDLE_TIMEOUT.into(), "30".into())].into(),
            tags: Default::default(),
        };
        let listener = Listener {
            load_balancer: WEB.into(),
            port: 80,
            secure: None,
            attributes: Default::default(),
            tags: Default::default(),
        };
        Records {
            load_balancers: vec![row(WEB, balancer)],
            nodes: vec![],
            listeners: vec![row(LISTENER, listener)],
            rules: vec![
                row(&format!("{LISTENER}/1"), rule(None, "used/1")),
                row(&format!("{LISTENER}/2"), rule(Some(20), "used/1")),
                row(&format!("{LISTENER}/3"), rule(Some(3), "used/1")),
            ],
            target_groups: vec![group("used/1"), group("idle/2")],
            targets: vec![
                target("used/1", "i-a", "a"),
                target("used/1", "i-c", "c"),
                target("used/1", "10.0.0.1", ALL_ZONES),
                target("idle/2", "i-b", "b"),
            ],
            tls: BTreeMap::new(),
        }
    }

    fn nowhere(_: &Scope, _: &TargetGroup, _: &Target) -> Option<Ipv4Addr> {
        None
    }

    type Namespaces = BTreeMap<Id<id::NetworkInterface>, PathBuf>;

    fn seen<'a>(dark: &'a BTreeSet<String>, namespaces: Option<&'a Namespaces>) -> Seen<'a> {
        Seen { dark, failing: const { &BTreeSet::new() }, namespaces, address: &nowhere }
    }

    #[test]
    fn a_node_with_a_network_is_up_where_its_interface_has_a_namespace() {
        let interface = |n: u8| Interface {
            id: format!("eni-{n}"),
            address: [10, 0, 0, n].into(),
            security_groups: vec!["sg-1".into()],
        };
        let node = |zone: &str, interface: Option<Interface>| {
            let node = Node { load_balancer: WEB.into(), subnet: format!("subnet-{zone}"), interface };
            row(&Node::record_id(WEB, &node.subnet), node)
        };
        let records =
            Records { nodes: vec![node("a", Some(interface(1))), node("b", Some(interface(2)))], ..records() };
        let address = |_: &Scope, _: &TargetGroup, _: &Target| Some(Ipv4Addr::new(10, 0, 0, 9));
        let (light, path) = (BTreeSet::new(), PathBuf::from("/proc/1/fd/7"));
        let mut namespaces = Namespaces::new();
        let snapshot = build(&records, Seen { address: &address, ..seen(&light, Some(&namespaces)) });
        assert!(snapshot.load_balancers[0].nodes.iter().all(|node| !node.up && node.place.is_none()));
        let reached = |snapshot: &LbSnapshot| {
            snapshot.target_groups.values().flat_map(|group| &group.targets).any(|target| target.address.is_some())
        };
        assert!(!reached(&snapshot), "there is no place to reach it from");

        namespaces.insert(Id::from_text("eni-1"), path.clone());
        let now = Seen { address: &address, ..seen(&light, Some(&namespaces)) };
        let snapshot = build(&records, now);
        let nodes = &snapshot.load_balancers[0].nodes;
        let place = NodePlace { address: [10, 0, 0, 1].into(), namespace: path };
        assert_eq!((nodes[0].up, nodes[0].place.as_ref()), (true, Some(&place)));
        assert_eq!((nodes[1].up, nodes[1].place.as_ref()), (false, None));
        assert!(reached(&snapshot));
        let node = |index: usize| Some(&*records.nodes[index].2);
        assert!(now.is_ready("a", node(0)) && !now.is_ready("b", node(1)) && !now.is_ready("a", None));
        let dark = BTreeSet::from(["b".to_owned()]);
        assert!(seen(&dark, Some(&namespaces)).is_ready("b", node(1)), "power is not what it lacks");
    }

    #[test]
    fn a_dark_zone_takes_its_node_down() {
        let snapshot = build(&records(), seen(&BTreeSet::from(["b".to_owned()]), None));
        let nodes: Vec<_> = snapshot.load_balancers[0].nodes.iter().map(|n| (n.zone.as_str(), n.up)).collect();
        assert_eq!(nodes, [("a", true), ("b", false)]);
        assert_eq!(snapshot.load_balancers[0].idle_timeout_s, 30);
        assert_eq!(snapshot.load_balancers[0].dimension, WEB);
    }

    #[test]
    fn rules_are_in_order_and_the_default_is_last() {
        let snapshot = build(&records(), seen(&BTreeSet::new(), None));
        let rules = &snapshot.load_balancers[0].listeners[0].rules;
        let order: Vec<_> = rules.iter().map(|rule| rule.arn.rsplit('/').next().unwrap_or_default()).collect();
        assert_eq!(order, ["3", "2", "1"]);
        assert!(rules[2].conditions.is_empty());
    }

    #[test]
    fn only_groups_in_use_and_targets_in_enabled_zones_are_told() {
        let address =
            |_: &Scope, _: &TargetGroup, target: &Target| (target.id == "i-a").then_some(Ipv4Addr::new(127, 1, 0, 1));
        let snapshot = build(&records(), Seen { address: &address, ..seen(&BTreeSet::new(), None) });
        assert_eq!(snapshot.target_groups.keys().collect::<Vec<_>>(), [&group_arn("used/1")]);
        let group = &snapshot.target_groups[&group_arn("used/1")];
        let targets: Vec<_> = group.targets.iter().map(|t| (t.id.as_str(), t.address.is_some())).collect();
        assert_eq!(targets, [("i-a", true), ("10.0.0.1", false)]);
        assert_eq!((group.deregistration_delay_ms, group.stickiness_s), (20_000, Some(86_400)));
        assert_eq!(group.dimension, "targetgroup/used/1");
    }

    #[test]
    fn draining_is_told_with_its_end() {
        let mut records = records();
        let mut target = Target::clone(&records.targets[0].2);
        target.draining = Some(Draining { since: Timestamp(1), until: Timestamp(9) });
        records.targets[0].2 = Arc::new(target);
        let snapshot = build(&records, seen(&BTreeSet::new(), None));
        let group = &snapshot.target_groups[&group_arn("used/1")];
        assert_eq!(group.targets[0].draining_until, Some(Timestamp(9)));
    }
}
