//! Targets come and go. Where an instance's target can be reached is not kept here: the hosts say.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use standfast_api::elbv2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::attributes::{DEREGISTRATION_DELAY, TARGET_GROUP};
use super::errors::{self, given, too_many, validation, within};
use super::model::{Draining, Target, TargetGroup, TargetType};
use super::network;

const TARGETS_PER_GROUP_MAX: usize = 1000;
/// The zone of a target outside its group's VPC.
pub const ALL_ZONES: &str = "all";

/// A target as a request names it: id, port, zone when it says one.
pub type Named = (String, u16, Option<String>);

/// The targets that a request names; ports default to the group's.
pub fn named(group: &TargetGroup, targets: &[api::TargetDescription]) -> Result<Vec<Named>> {
    let one = |target: &api::TargetDescription| {
        let port = match target.port {
            None => group.port,
            Some(port) => within("targets.port", port, 1, i32::from(u16::MAX))? as u16,
        };
        check_id(group.target_type, &target.id)?;
        Ok((target.id.clone(), port, given(&target.availability_zone).map(str::to_owned)))
    };
    targets.iter().map(one).collect()
}

fn check_id(target_type: TargetType, id: &str) -> Result<()> {
    match target_type {
        TargetType::Instance if Id::<id::Instance>::parse(id).is_none() => {
            Err(validation(format!("Instance ID '{id}' is not valid")))
        }
        TargetType::Ip if id.parse::<Ipv4Addr>().is_err() => {
            Err(validation(format!("The IP address '{id}' is not a valid IPv4 address")))
        }
        _ => Ok(()),
    }
}

pub async fn register(cx: Cx, input: api::RegisterTargetsInput) -> Result<api::RegisterTargetsOutput> {
    let (group_id, group) = cx.view(|view| errors::find::<TargetGroup>(view, cx.scope(), &input.target_group_arn))?;
    if input.targets.is_empty() {
        return Err(validation("At least one target must be specified"));
    }
    let named = named(&group, &input.targets)?;
    let zones = match group.target_type {
        TargetType::Instance => instance_zones(&cx, &group, &named).await?,
        TargetType::Ip => address_zones(&cx, &group, &named).await?,
    };
    cx.txn(|tx| {
        let scope = cx.scope();
        errors::find::<TargetGroup>(tx, scope, &input.target_group_arn)?;
        for ((id, port, _), zone) in named.iter().zip(&zones) {
            // Registering again while it drains ends the draining.
            let target =
                Target { group: group_id.clone(), id: id.clone(), port: *port, zone: zone.clone(), draining: None };
            tx.put(scope, &Target::record_id(&group_id, id, *port), target);
        }
        if tx.by_index::<Target>(scope, "group", &group_id).len() > TARGETS_PER_GROUP_MAX {
            return Err(too_many("TooManyTargets", "targets in the target group", TARGETS_PER_GROUP_MAX));
        }
        Ok(())
    })
    .await?;
    Ok(api::RegisterTargetsOutput {})
}

fn invalid_targets(what: &str, ids: Vec<&str>) -> Error {
    let ids: Vec<String> = ids.into_iter().map(|id| format!("'{id}'")).collect();
    Error::client("InvalidTarget", format!("The following targets {what}: {}", ids.join(", ")))
}

/// The zones of these instances, when all of them may be registered.
async fn instance_zones(cx: &Cx, group: &TargetGroup, named: &[Named]) -> Result<Vec<String>> {
    let ids: Vec<String> = named.iter().map(|(id, ..)| id.clone()).collect();
    let hosts = network::instances(cx, &ids).await?;
    zones_of(&group.vpc, &ids, &hosts)
}

fn zones_of(vpc: &str, ids: &[String], hosts: &BTreeMap<String, network::Host>) -> Result<Vec<String>> {
    let those =
        |wrong: &dyn Fn(&str) -> bool| ids.iter().map(String::as_str).filter(|id| wrong(id)).collect::<Vec<_>>();
    let unknown = those(&|id| !hosts.contains_key(id));
    if !unknown.is_empty() {
        return Err(invalid_targets("do not exist", unknown));
    }
    let idle = those(&|id| hosts[id].state != "running");
    if !idle.is_empty() {
        return Err(invalid_targets("are not in a running state and cannot be registered", idle));
    }
    let elsewhere = those(&|id| hosts[id].vpc != vpc);
    if !elsewhere.is_empty() {
        return Err(invalid_targets(&format!("are not in the target group VPC '{vpc}'"), elsewhere));
    }
    Ok(ids.iter().map(|id| hosts[id].zone.clone()).collect())
}

/// The zones of these addresses: their subnet's, or the one the request says.
///
/// AWS-DIFF: loopback addresses are taken, so that what runs outside the cloud on the same machine can be a target.
async fn address_zones(cx: &Cx, group: &TargetGroup, named: &[Named]) -> Result<Vec<String>> {
    let subnets = network::subnet_zones(cx, &group.vpc).await?;
    let zone = |(id, _, zone): &Named| {
        let address: Ipv4Addr = id.parse().expect("read by check_id");
        if let Some((_, zone)) = subnets.iter().find(|(block, _)| block.contains(address)) {
            return Ok(zone.clone());
        }
        if !is_reachable(address) {
            return Err(Error::client(
                "InvalidTarget",
                format!("The IP address '{id}' is not within a range of private addresses that can be targets"),
            ));
        }
        Ok(zone.clone().unwrap_or_else(|| ALL_ZONES.to_owned()))
    };
    named.iter().map(zone).collect()
}

/// Whether an address outside the VPC may be a target: RFC 1918, RFC 6598, or this machine.
fn is_reachable(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || address.is_loopback() || (a == 100 && (64..128).contains(&b))
}

/// Deregistering what is not registered succeeds.
pub async fn deregister(cx: Cx, input: api::DeregisterTargetsInput) -> Result<api::DeregisterTargetsOutput> {
    if input.targets.is_empty() {
        return Err(validation("At least one target must be specified"));
    }
    let now = cx.now();
    cx.txn(|tx| {
        let scope = cx.scope();
        let (group_id, group) = errors::find::<TargetGroup>(tx, scope, &input.target_group_arn)?;
        let delay = TARGET_GROUP.number(&group.attributes, DEREGISTRATION_DELAY);
        for (id, port, _) in named(&group, &input.targets)? {
            let record = Target::record_id(&group_id, &id, port);
            let Some(target) = tx.get::<Target>(scope, &record).filter(|target| target.draining.is_none()) else {
                continue;
            };
            if delay == 0 {
                tx.delete::<Target>(scope, &record);
            } else {
                let until = now + Duration::from_secs(u64::from(delay));
                let draining = Some(Draining { since: now, until });
                tx.put(scope, &record, Target { draining, ..Target::clone(&target) });
            }
        }
        Ok(())
    })
    .await?;
    Ok(api::DeregisterTargetsOutput {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(vpc: &str, state: &str) -> network::Host {
        network::Host { vpc: vpc.into(), zone: "z".into(), state: state.into(), private_ip: None }
    }

    #[test]
    fn only_running_instances_of_the_vpc_are_registered() {
        let hosts = BTreeMap::from([
            ("i-1".to_owned(), host("v", "running")),
            ("i-2".to_owned(), host("v", "pending")),
            ("i-3".to_owned(), host("w", "running")),
        ]);
        let of = |id: &str| zones_of("v", &[id.to_owned()], &hosts);
        assert_eq!(of("i-1").expect("running"), ["z"]);
        for (id, text) in [
            ("i-2", "The following targets are not in a running state and cannot be registered: 'i-2'"),
            ("i-3", "The following targets are not in the target group VPC 'v': 'i-3'"),
            ("i-9", "The following targets do not exist: 'i-9'"),
        ] {
            let error = of(id).expect_err(text);
            assert!(error.is("InvalidTarget") && error.message == text, "{error}");
        }
    }

    #[test]
    fn addresses_outside_the_vpc_are_private() {
        for (text, good) in [("10.1.2.3", true), ("100.64.0.1", true), ("127.0.0.1", true), ("8.8.8.8", false)] {
            assert_eq!(is_reachable(text.parse().expect("address")), good, "{text}");
        }
    }
}
