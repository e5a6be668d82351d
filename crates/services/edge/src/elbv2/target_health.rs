//! DescribeTargetHealth: what the records say, what the instances' states are, and what the data plane shows now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use standfast_api::elbv2 as api;
use standfast_core::Result;
use standfast_core::host::{HostObservation, Phase};
use standfast_core::lb::Health;
use standfast_kernel::Cx;

use super::errors;
use super::model::{LoadBalancer, Rule, Target, TargetGroup, TargetType};
use super::network;
use super::{controller, snapshot, targets};

/// Everything that a target's health depends on.
#[derive(Clone, Debug, Default)]
struct Facts<'a> {
    draining: bool,
    /// A listener or rule forwards to its group.
    in_use: bool,
    /// The load balancer has a node in its zone.
    zone_in_use: bool,
    /// Of a target by instance: EC2's name of the state, and whether its host says that it runs no more.
    instance: Option<(&'a str, bool)>,
    seen: Option<&'a Health>,
    /// Of a target by address: it is at no instance that can be reached.
    unreachable: bool,
}

struct Verdict {
    state: &'static str,
    reason: Option<&'static str>,
    description: Option<String>,
}

fn verdict(state: &'static str, reason: &'static str, description: impl Into<String>) -> Verdict {
    Verdict { state, reason: Some(reason), description: Some(description.into()) }
}

/// The state that an instance must be in is `running`; all before it is on its way.
const GONE_STATES: [&str; 4] = ["stopping", "stopped", "shutting-down", "terminated"];

fn judge(facts: &Facts<'_>) -> Verdict {
    if facts.draining {
        let text = "Target deregistration is in progress";
        return verdict("draining", "Target.DeregistrationInProgress", text);
    }
    if !facts.in_use {
        let text = "Target group is not configured to receive traffic from the load balancer";
        return verdict("unused", "Target.NotInUse", text);
    }
    if !facts.zone_in_use {
        let text = "Target is in an Availability Zone that is not enabled for the load balancer";
        return verdict("unused", "Target.NotInUse", text);
    }
    match facts.instance {
        Some((state, _)) if GONE_STATES.contains(&state) => {
            return verdict("unused", "Target.InvalidState", format!("Target is in the {state} state"));
        }
        // It died, and EC2 has not said so yet.
        Some((_, true)) => return verdict("unused", "Target.InvalidState", "Target is in the stopped state"),
        _ => {}
    }
    match facts.seen {
        Some(Health::Healthy) => Verdict { state: "healthy", reason: None, description: None },
        Some(Health::Unhealthy { reason, description }) => verdict("unhealthy", reason, description.clone()),
        Some(Health::Initial) => verdict("initial", "Elb.InitialHealthChecking", "Initial health checks in progress"),
        None if facts.unreachable => verdict("unhealthy", "Target.Timeout", "Request timed out"),
        // The data plane has not heard of it, or not of its being registered again.
        None | Some(Health::Draining { .. }) => {
            verdict("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
        }
    }
}

pub async fn describe(cx: Cx, input: api::DescribeTargetHealthInput) -> Result<api::DescribeTargetHealthOutput> {
    let scope = cx.scope();
    let (group, known, zones) = cx.view(|view| {
        let (id, group) = errors::find::<TargetGroup>(view, scope, &input.target_group_arn)?;
        let rules = view.by_index::<Rule>(scope, "target_group", &input.target_group_arn);
        let ids: BTreeSet<&str> = rules.iter().map(|(_, rule)| rule.load_balancer.as_str()).collect();
        let balancers: Vec<_> = ids.into_iter().filter_map(|id| view.get::<LoadBalancer>(scope, id)).collect();
        let zones: BTreeSet<String> =
            balancers.iter().flat_map(|balancer| &balancer.zones).map(|mapping| mapping.zone.clone()).collect();
        Ok((group, view.by_index::<Target>(scope, "group", &id), zones))
    })?;
    let zones: BTreeSet<&str> = zones.iter().map(String::as_str).collect();
    let known: BTreeMap<(&str, u16), &Target> =
        known.iter().map(|(_, target)| ((target.id.as_str(), target.port), &**target)).collect();
    let asked: Vec<(String, u16)> = match input.targets.as_ref().filter(|targets| !targets.is_empty()) {
        Some(asked) => targets::named(&group, asked)?.into_iter().map(|(id, port, _)| (id, port)).collect(),
        None => known.keys().map(|(id, port)| ((*id).to_owned(), *port)).collect(),
    };
    let ids: Vec<String> = asked.iter().map(|(id, _)| id.clone()).collect();
    let instances = match group.target_type {
        TargetType::Instance => network::instances(&cx, &ids).await?,
        TargetType::Ip => network::instances_at(&cx, &ids).await?,
    };
    let (hosts, observed) = (cx.host().observe(), cx.lb().observe());
    let networks = cx.host().abilities().networks;
    let reachable = reachable(&group.vpc, &ids, &instances, &hosts);
    let mut descriptions = Vec::new();
    for (id, port) in &asked {
        let Some(target) = known.get(&(id.as_str(), *port)) else {
            descriptions.push(shape(&group, (id, *port), None, not_registered()));
            continue;
        };
        let host = hosts.instances.get(id.as_str());
        let facts = Facts {
            draining: target.draining.is_some(),
            in_use: !zones.is_empty(),
            zone_in_use: snapshot::zone_in_use(&zones, &target.zone),
            instance: (group.target_type == TargetType::Instance).then(|| {
                let state = instances.get(id).map_or("terminated", |host| host.state.as_str());
                (state, host.is_some_and(|host| is_dead(&host.phase)))
            }),
            seen: observed.targets.get(&controller::key(scope, target)),
            // With networks the health checks find out.
            unreachable: group.target_type == TargetType::Ip && !networks && !reachable.contains(id),
        };
        descriptions.push(shape(&group, (id, *port), Some(target), judge(&facts)));
    }
    Ok(api::DescribeTargetHealthOutput { target_health_descriptions: Some(descriptions) })
}

fn is_dead(phase: &Phase) -> bool {
    !controller::is_alive(phase)
}

/// The addresses that something answers at: this machine's own, and those of instances that run.
fn reachable(
    vpc: &str,
    addresses: &[String],
    instances: &BTreeMap<String, network::Host>,
    hosts: &HostObservation,
) -> BTreeSet<String> {
    let lives = |id: &String| hosts.instances.get(id.as_str()).is_some_and(|host| !is_dead(&host.phase));
    let owned = |address: Ipv4Addr| {
        instances.iter().any(|(id, host)| host.vpc == vpc && host.private_ip == Some(address) && lives(id))
    };
    let is_reachable =
        |text: &&String| text.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback() || owned(address));
    addresses.iter().filter(is_reachable).cloned().collect()
}

fn not_registered() -> Verdict {
    verdict("unused", "Target.NotRegistered", "Target is not registered to the target group")
}

fn shape(
    group: &TargetGroup,
    (id, port): (&str, u16),
    target: Option<&Target>,
    verdict: Verdict,
) -> api::TargetHealthDescription {
    let zone = target.filter(|_| group.target_type == TargetType::Ip).map(|target| target.zone.clone());
    api::TargetHealthDescription {
        target: Some(api::TargetDescription {
            id: id.to_owned(),
            port: Some(i32::from(port)),
            availability_zone: zone,
            quic_server_id: None,
        }),
        health_check_port: Some(group.health.port.unwrap_or(port).to_string()),
        target_health: Some(api::TargetHealth {
            state: Some(verdict.state.into()),
            reason: verdict.reason.map(Into::into),
            description: verdict.description,
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_judged_by_the_first_thing_that_is_wrong() {
        let good = Facts {
            in_use: true,
            zone_in_use: true,
            instance: Some(("running", false)),
            seen: Some(&Health::Healthy),
            ..Facts::default()
        };
        let unhealthy = Health::Unhealthy {
            reason: "Target.ResponseCodeMismatch",
            description: "Health checks failed with these codes: [500]".into(),
        };
        let late = Health::Draining { in_flight: 1 };
        let cases = [
            (good.clone(), "healthy", ""),
            (Facts { draining: true, in_use: false, ..good.clone() }, "draining", "Target.DeregistrationInProgress"),
            (Facts { in_use: false, ..good.clone() }, "unused", "Target.NotInUse"),
            (Facts { zone_in_use: false, ..good.clone() }, "unused", "Target.NotInUse"),
            (Facts { instance: Some(("stopped", true)), ..good.clone() }, "unused", "Target.InvalidState"),
            (Facts { instance: Some(("running", true)), ..good.clone() }, "unused", "Target.InvalidState"),
            (Facts { instance: None, unreachable: true, seen: None, ..good.clone() }, "unhealthy", "Target.Timeout"),
            (Facts { seen: None, ..good.clone() }, "initial", "Elb.RegistrationInProgress"),
            (Facts { seen: Some(&late), ..good.clone() }, "initial", "Elb.RegistrationInProgress"),
            (Facts { seen: Some(&Health::Initial), ..good.clone() }, "initial", "Elb.InitialHealthChecking"),
            (Facts { seen: Some(&unhealthy), ..good.clone() }, "unhealthy", "Target.ResponseCodeMismatch"),
        ];
        for (facts, state, reason) in cases {
            let found = judge(&facts);
            assert_eq!((found.state, found.reason.unwrap_or_default()), (state, reason), "{facts:?}");
        }
        let stopped = judge(&Facts { instance: Some(("stopped", true)), ..good });
        assert_eq!(stopped.description.as_deref(), Some("Target is in the stopped state"));
    }
}
