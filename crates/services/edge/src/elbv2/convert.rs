//! Records to the shapes of the API.

use std::collections::BTreeSet;

use standfast_api::elbv2 as api;
use standfast_core::Scope;
use standfast_store::View;

use super::catalogue::hosted_zone;
use super::model::{Listener, LoadBalancer, Rule, State, TargetGroup, TargetType, ZoneMapping};
use super::{actions, conditions, errors, health_checks, secure};

pub fn zones(zones: &[ZoneMapping]) -> Vec<api::AvailabilityZone> {
    let zone = |mapping: &ZoneMapping| api::AvailabilityZone {
        zone_name: Some(mapping.zone.clone()),
        subnet_id: Some(mapping.subnet.clone()),
        load_balancer_addresses: Some(Vec::new()),
        ..Default::default()
    };
    zones.iter().map(zone).collect()
}

pub fn load_balancer(scope: &Scope, id: &str, balancer: &LoadBalancer) -> api::LoadBalancer {
    let state = match balancer.state {
        State::Provisioning => "provisioning",
        State::Active => "active",
    };
    api::LoadBalancer {
        load_balancer_arn: Some(errors::arn::<LoadBalancer>(scope, id)),
        dns_name: Some(balancer.dns_name.clone()),
        canonical_hosted_zone_id: Some(hosted_zone(&scope.region).into()),
        created_time: Some(balancer.created),
        load_balancer_name: Some(balancer.name.clone()),
        scheme: Some(if balancer.internal { "internal" } else { "internet-facing" }.into()),
        vpc_id: Some(balancer.vpc.clone()),
        state: Some(api::LoadBalancerState { code: Some(state.into()), reason: None }),
        r#type: Some("application".into()),
        availability_zones: Some(zones(&balancer.zones)),
        security_groups: Some(balancer.security_groups.clone()),
        ip_address_type: Some("ipv4".into()),
        ..Default::default()
    }
}

/// A listener with its default rule's actions.
pub fn listener(view: &View, scope: &Scope, id: &str, listener: &Listener) -> api::Listener {
    let rules = view.by_index::<Rule>(scope, "listener", id);
    let default = rules.iter().find(|(_, rule)| rule.priority.is_none());
    api::Listener {
        listener_arn: Some(errors::arn::<Listener>(scope, id)),
        load_balancer_arn: Some(errors::arn::<LoadBalancer>(scope, &listener.load_balancer)),
        port: Some(i32::from(listener.port)),
        protocol: Some(listener.protocol().into()),
        ssl_policy: listener.secure.as_ref().map(|secure| secure.policy.clone()),
        certificates: listener.secure.as_ref().map(secure::default_shape),
        mutual_authentication: listener
            .secure
            .as_ref()
            .map(|_| api::MutualAuthenticationAttributes { mode: Some("off".into()), ..Default::default() }),
        default_actions: Some(default.map(|(_, rule)| actions::shape(&rule.action)).into_iter().collect()),
        ..Default::default()
    }
}

pub fn rule(scope: &Scope, id: &str, rule: &Rule) -> api::Rule {
    api::Rule {
        rule_arn: Some(errors::arn::<Rule>(scope, id)),
        priority: Some(rule.priority.map_or_else(|| "default".into(), |priority| priority.to_string())),
        conditions: Some(rule.conditions.iter().map(conditions::shape).collect()),
        actions: Some(vec![actions::shape(&rule.action)]),
        is_default: Some(rule.priority.is_none()),
        transforms: Some(Vec::new()),
    }
}

pub fn target_group(view: &View, scope: &Scope, id: &str, group: &TargetGroup) -> api::TargetGroup {
    let arn = errors::arn::<TargetGroup>(scope, id);
    let rules = view.by_index::<Rule>(scope, "target_group", &arn);
    let balancers: BTreeSet<&str> = rules.iter().map(|(_, rule)| rule.load_balancer.as_str()).collect();
    let health = &group.health;
    api::TargetGroup {
        target_group_arn: Some(arn),
        target_group_name: Some(group.name.clone()),
        protocol: Some("HTTP".into()),
        port: Some(i32::from(group.port)),
        vpc_id: Some(group.vpc.clone()),
        health_check_protocol: Some("HTTP".into()),
        health_check_port: Some(health_checks::port_text(health)),
        health_check_enabled: Some(true),
        health_check_interval_seconds: Some(health.interval_s as i32),
        health_check_timeout_seconds: Some(health.timeout_s as i32),
        healthy_threshold_count: Some(health.healthy_threshold as i32),
        unhealthy_threshold_count: Some(health.unhealthy_threshold as i32),
        health_check_path: Some(health.path.clone()),
        matcher: Some(api::Matcher { http_code: Some(health.matcher.clone()), grpc_code: None }),
        load_balancer_arns: Some(balancers.into_iter().map(|id| errors::arn::<LoadBalancer>(scope, id)).collect()),
        target_type: Some(target_type(group.target_type).into()),
        protocol_version: Some("HTTP1".into()),
        ip_address_type: Some("ipv4".into()),
        target_control_port: None,
    }
}

pub fn target_type(target_type: TargetType) -> &'static str {
    match target_type {
        TargetType::Instance => "instance",
        TargetType::Ip => "ip",
    }
}
