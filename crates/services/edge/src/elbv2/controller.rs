//! Tells the data plane what should be, and forgets targets that are done.
//!
//! Gather (records, dark zones, hosts), build the snapshot, obey when it differs from the last one; then look at what
//! the data plane shows and decide which deregistered targets are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::host::{HostObservation, Phase};
use standfast_core::lb::{Health, LbSnapshot, TargetKey};
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::faults::{self, Fault};
use standfast_kernel::{Cx, Wake, zones};
use standfast_store::View;

use super::model::{LoadBalancer, State, Target, TargetGroup, TargetType, ZoneMapping};
use super::snapshot::{self, Records, Seen};
use super::{errors, network};

/// How long after deregistration "no request under way" is believed: a worker may have chosen the target just before.
const SETTLE: Duration = Duration::from_secs(1);

/// What the data plane was told last. A process that starts tells it again.
#[derive(Default)]
pub struct Planes {
    told: Mutex<Option<Arc<LbSnapshot>>>,
}

impl Planes {
    fn tell(&self, cx: &Cx, snapshot: LbSnapshot) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.as_deref() != Some(&snapshot) {
            let snapshot = Arc::new(snapshot);
            cx.lb().obey(snapshot.clone());
            *told = Some(snapshot);
        }
    }
}

pub async fn run(cx: Cx, planes: &Planes) -> Result<Wake> {
    let (records, dark, failing) = cx.view(|view| (Records::read(view), zones::dark(view), failing(view)));
    // Only targets and nodes need them, and instances change by the thousand where there is no load balancer.
    let networks = cx.host().abilities().networks;
    let is_needed = !records.targets.is_empty() || networks && !records.load_balancers.is_empty();
    let hosts = if is_needed { cx.host().observe() } else { HostObservation::default() };
    // With networks an address needs no owner: whoever has it answers, or nobody.
    let owners = if networks { None } else { Some(owners(&cx, &records).await?) };
    let reach =
        |scope: &Scope, group: &TargetGroup, target: &Target| reach(scope, group, target, owners.as_ref(), &hosts);
    let seen =
        Seen { dark: &dark, failing: &failing, namespaces: networks.then_some(&hosts.namespaces), address: &reach };
    let snapshot = snapshot::build(&records, seen);
    let fresh = ready(&records, seen);
    let addressed: BTreeSet<TargetKey> = (snapshot.target_groups.values())
        .flat_map(|group| group.targets.iter().map(|target| (group.arn.clone(), target)))
        .filter(|(_, target)| target.address.is_some())
        .map(|(arn, target)| TargetKey { target_group_arn: arn, id: target.id.clone(), port: target.port })
        .collect();
    planes.tell(&cx, snapshot);
    let lost = lost(&cx, &records, &hosts).await?;
    let observed = cx.lb().observe();
    let (mut gone, mut wake) = (Vec::new(), Wake::OnChange);
    for (scope, id, target) in &records.targets {
        let key = key(scope, target);
        let seen = observed.targets.get(&key).filter(|_| addressed.contains(&key));
        match fate(target, seen, cx.now()) {
            _ if lost.contains(&target.id) => gone.push((scope, &**id, target)),
            Fate::Gone => gone.push((scope, &**id, target)),
            Fate::Until(time) => wake = wake.or(Wake::At(time)),
            Fate::Stay => {}
        }
    }
    forget(&cx, &gone).await?;
    activate(&cx, &fresh).await?;
    Ok(wake)
}

/// The target groups whose targets are to fail.
fn failing(view: &View) -> BTreeSet<String> {
    let each = faults::all(view).into_iter().filter_map(|fault| match fault {
        Fault::Targets(groups) => Some(groups),
        _ => None,
    });
    each.flatten().collect()
}

pub fn key(scope: &Scope, target: &Target) -> TargetKey {
    let target_group_arn = errors::arn::<TargetGroup>(scope, &target.group);
    TargetKey { target_group_arn, id: target.id.clone(), port: target.port }
}

/// Whether an instance in this phase can be reached.
pub fn is_alive(phase: &Phase) -> bool {
    matches!(phase, Phase::Booting | Phase::Running)
}

/// Where an instance can be reached now.
fn address_of(hosts: &HostObservation, instance: &str) -> Option<Ipv4Addr> {
    let seen = hosts.instances.get(instance)?;
    seen.address.filter(|_| is_alive(&seen.phase))
}

/// Instance ids by account and region, VPC and private address.
type Owners = BTreeMap<(Scope, String, Ipv4Addr), String>;

fn reach(
    scope: &Scope,
    group: &TargetGroup,
    target: &Target,
    owners: Option<&Owners>,
    hosts: &HostObservation,
) -> Option<Ipv4Addr> {
    match group.target_type {
        TargetType::Instance => address_of(hosts, &target.id),
        TargetType::Ip => {
            let address: Ipv4Addr = target.id.parse().ok()?;
            if address.is_loopback() {
                return Some(address);
            }
            let Some(owners) = owners else { return Some(address) };
            address_of(hosts, owners.get(&(scope.clone(), group.vpc.clone(), address))?)
        }
    }
}

/// The instances behind targets by address.
async fn owners(cx: &Cx, records: &Records) -> Result<Owners> {
    let mut wanted: BTreeMap<&Scope, BTreeSet<String>> = BTreeMap::new();
    for (scope, _, target) in &records.targets {
        if target.id.parse::<Ipv4Addr>().is_ok_and(|address| !address.is_loopback()) {
            wanted.entry(scope).or_default().insert(target.id.clone());
        }
    }
    let mut owners = Owners::new();
    for (scope, addresses) in wanted {
        let addresses: Vec<String> = addresses.into_iter().collect();
        for (id, host) in network::instances_at(&cx.at(scope), &addresses).await? {
            if let Some(address) = host.private_ip {
                owners.insert((scope.clone(), host.vpc, address), id);
            }
        }
    }
    Ok(owners)
}

/// Instances that are targets and exist no more: they are deregistered. Only those that no host shows are asked for.
async fn lost(cx: &Cx, records: &Records, hosts: &HostObservation) -> Result<BTreeSet<String>> {
    let mut missing: BTreeMap<&Scope, BTreeSet<String>> = BTreeMap::new();
    for (scope, _, target) in &records.targets {
        if target.id.starts_with("i-") && !hosts.instances.contains_key(target.id.as_str()) {
            missing.entry(scope).or_default().insert(target.id.clone());
        }
    }
    let mut lost = BTreeSet::new();
    for (scope, ids) in missing {
        let ids: Vec<String> = ids.into_iter().collect();
        let known = network::instances(&cx.at(scope), &ids).await?;
        lost.extend(ids.into_iter().filter(|id| known.get(id).is_none_or(|host| host.state == "terminated")));
    }
    Ok(lost)
}

/// What becomes of a target.
#[derive(Debug, PartialEq)]
enum Fate {
    Stay,
    /// It drains, at the longest until then; ask again at this time.
    Until(Timestamp),
    Gone,
}

/// `seen` is what the data plane shows of it, when it can be reached and is in use.
fn fate(target: &Target, seen: Option<&Health>, now: Timestamp) -> Fate {
    let Some(draining) = target.draining else { return Fate::Stay };
    let settled = draining.since + SETTLE;
    match seen {
        None => Fate::Gone,
        Some(_) if now >= draining.until => Fate::Gone,
        Some(Health::Draining { in_flight: 0 }) if now >= settled => Fate::Gone,
        Some(_) if now < settled => Fate::Until(settled.min(draining.until)),
        Some(_) => Fate::Until(draining.until),
    }
}

/// Deletes targets that are still what they were when this was decided.
async fn forget(cx: &Cx, gone: &[(&Scope, &str, &Arc<Target>)]) -> Result<()> {
    if gone.is_empty() {
        return Ok(());
    }
    cx.txn(|tx| {
        for (scope, id, target) in gone {
            if tx.get::<Target>(scope, id).is_some_and(|now| now == **target) {
                tx.delete::<Target>(scope, id);
            }
        }
        Ok(())
    })
    .await
}

/// The load balancers that become active: the data plane knows of them now, and their nodes are there.
fn ready<'a>(records: &'a Records, seen: Seen<'_>) -> Vec<(&'a Scope, &'a str)> {
    let is_ready = |(scope, id, balancer): &&(Scope, Arc<str>, Arc<LoadBalancer>)| {
        let is_ready = |mapping: &ZoneMapping| seen.is_ready(&mapping.zone, records.node(scope, id, mapping));
        balancer.state == State::Provisioning && balancer.zones.iter().all(is_ready)
    };
    records.load_balancers.iter().filter(is_ready).map(|(scope, id, _)| (scope, &**id)).collect()
}

async fn activate(cx: &Cx, fresh: &[(&Scope, &str)]) -> Result<()> {
    if fresh.is_empty() {
        return Ok(());
    }
    cx.txn(|tx| {
        for (scope, id) in fresh {
            if let Some(balancer) = tx.get::<LoadBalancer>(scope, id) {
                tx.put(scope, id, LoadBalancer { state: State::Active, ..LoadBalancer::clone(&balancer) });
            }
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elbv2::model::Draining;

    #[test]
    fn a_draining_target_goes_when_it_is_done() {
        let at = |seconds: i64| Timestamp(seconds * 1000);
        let draining = Some(Draining { since: at(0), until: at(20) });
        let busy = Health::Draining { in_flight: 1 };
        let idle = Health::Draining { in_flight: 0 };
        let cases = [
            (None, Some(&idle), 100, Fate::Stay),
            (draining, None, 0, Fate::Gone),
            (draining, Some(&idle), 0, Fate::Until(at(1))),
            (draining, Some(&idle), 1, Fate::Gone),
            (draining, Some(&busy), 0, Fate::Until(at(1))),
            (draining, Some(&busy), 1, Fate::Until(at(20))),
            (draining, Some(&busy), 20, Fate::Gone),
        ];
        for (draining, seen, now, expected) in cases {
            let target = Target { group: "g/1".into(), id: "i-1".into(), port: 80, zone: "a".into(), draining };
            assert_eq!(fate(&target, seen, at(now)), expected, "{draining:?} {seen:?} {now}");
        }
    }
}
