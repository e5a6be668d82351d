//! Application load balancers: the records of what should be, and the controller that tells the data plane.
//!
//! Owns `elbv2.load_balancers`, `elbv2.nodes`, `elbv2.listeners`, `elbv2.rules`, `elbv2.target_groups` and
//! `elbv2.targets`. Invariant: the data plane's snapshot is a function of these records, of the hosts' observation and of the dark zones, so that a
//! cloud that was started again forwards as before. Health is the data plane's to decide; it is read here, never stored.
//! It does not offer network or gateway load balancers, nor TLS to targets: those are refused by name.

mod actions;
mod attributes;
mod catalogue;
mod conditions;
mod controller;
mod convert;
mod errors;
mod health_checks;
mod listeners;
mod load_balancers;
mod metrics;
mod model;
mod network;
mod nodes;
mod rules;
mod secure;
mod snapshot;
mod tags;
mod target_groups;
mod target_health;
mod targets;

use std::sync::Arc;

use standfast_api::elbv2 as api;
use standfast_kernel::{On, Service, faults, zones};

pub use self::secure::users_of_certificate;
use crate::acm;

/// What changes a snapshot. Instances are watched as a hint: their addresses come from the hosts.
const PLANES_WATCH: &[&str] = &[
    "elbv2.load_balancers",
    "elbv2.nodes",
    "elbv2.listeners",
    "elbv2.rules",
    "elbv2.target_groups",
    "elbv2.targets",
    "ec2.instances",
    acm::TABLE,
    zones::TABLE,
    faults::TABLE,
];

/// The service's table.
pub fn service() -> Service {
    let planes = Arc::new(controller::Planes::default());
    Service::new(&api::MODEL)
        .op(api::CreateLoadBalancer, load_balancers::create)
        .op(api::DeleteLoadBalancer, load_balancers::delete)
        .op(api::DescribeLoadBalancers, load_balancers::describe)
        .op(api::DescribeLoadBalancerAttributes, load_balancers::describe_attributes)
        .op(api::ModifyLoadBalancerAttributes, load_balancers::modify_attributes)
        .op(api::SetSubnets, load_balancers::set_subnets)
        .op(api::SetSecurityGroups, load_balancers::set_security_groups)
        .op(api::SetIpAddressType, load_balancers::set_ip_address_type)
        .op(api::DescribeCapacityReservation, load_balancers::describe_capacity_reservation)
        .op(api::CreateListener, listeners::create)
        .op(api::DeleteListener, listeners::delete)
        .op(api::ModifyListener, listeners::modify)
        .op(api::DescribeListeners, listeners::describe)
        .op(api::DescribeListenerAttributes, listeners::describe_attributes)
        .op(api::ModifyListenerAttributes, listeners::modify_attributes)
        .op(api::DescribeListenerCertificates, secure::describe)
        .op(api::AddListenerCertificates, secure::add)
        .op(api::RemoveListenerCertificates, secure::remove)
        .op(api::CreateRule, rules::create)
        .op(api::DeleteRule, rules::delete)
        .op(api::ModifyRule, rules::modify)
        .op(api::DescribeRules, rules::describe)
        .op(api::SetRulePriorities, rules::set_priorities)
        .op(api::CreateTargetGroup, target_groups::create)
        .op(api::DeleteTargetGroup, target_groups::delete)
        .op(api::ModifyTargetGroup, target_groups::modify)
        .op(api::DescribeTargetGroups, target_groups::describe)
        .op(api::DescribeTargetGroupAttributes, target_groups::describe_attributes)
        .op(api::ModifyTargetGroupAttributes, target_groups::modify_attributes)
        .op(api::RegisterTargets, targets::register)
        .op(api::DeregisterTargets, targets::deregister)
        .op(api::DescribeTargetHealth, target_health::describe)
        .op(api::AddTags, tags::add)
        .op(api::RemoveTags, tags::remove)
        .op(api::DescribeTags, tags::describe)
        .op(api::DescribeSSLPolicies, catalogue::describe_ssl_policies)
        .op(api::DescribeAccountLimits, catalogue::describe_account_limits)
        .controller("planes", On::tables(PLANES_WATCH).host().lb(), move |cx| {
            let planes = planes.clone();
            async move { controller::run(cx, &planes).await }
        })
        .controller("nodes", On::tables(&["elbv2.load_balancers", "elbv2.nodes"]), nodes::run)
        .controller("metrics", On::tables(&["elbv2.load_balancers"]), metrics::run)
}
