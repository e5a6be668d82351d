//! Single points of failure: what this day showed, and what is alone by its settings.

use super::{FaultReport, SinglePoint};
use crate::advice::{Advice, SINGLE_POINTS};
use crate::estate::Estate;
use crate::report::build::Facts;
use crate::spec::{Layer, Measure};
use crate::times::{Time, Took};

/// An outage lasted as long as a fault when it lasted so much of it: neither ends on the tick.
const AS_LONG: f64 = 0.9;
/// What is over at once is no state that users could have been in until it was healed.
const LASTS_MS: i64 = 1000;

/// All of them, those that were seen first.
pub fn of(facts: &Facts<'_>, times: &[Time], advice: &[Advice]) -> Vec<SinglePoint> {
    let without: Vec<&FaultReport> = facts.faults.iter().filter(|fault| no_service(fault, times)).collect();
    let mut out: Vec<SinglePoint> = without.iter().map(|fault| lost(fault, times, facts.estate)).collect();
    let alone = advice.iter().filter(|advice| SINGLE_POINTS.contains(&advice.rule));
    out.extend(alone.map(|advice| SinglePoint {
        resource: advice.resource.clone(),
        seen: without.iter().any(|fault| is_hit(&advice.physical, fault, facts.estate)),
        by_settings: true,
        why: advice.why.clone(),
    }));
    out.sort_by_key(|point| !point.seen);
    out
}

fn users(fault: &FaultReport, times: &[Time]) -> Took {
    let is_it =
        |time: &&Time| time.fault == fault.name && (time.layer, time.measure) == (Layer::Users, Measure::Recover);
    times.iter().find(is_it).map_or(Took::Unaffected, |time| time.took)
}

/// Whether users had no service for as long as it lasted.
fn no_service(fault: &FaultReport, times: &[Time]) -> bool {
    let lasted_ms = fault.ended_ms.saturating_sub(fault.began_ms);
    match users(fault, times) {
        Took::After { measured_ms } => lasted_ms > LASTS_MS && measured_ms as f64 >= lasted_ms as f64 * AS_LONG,
        Took::Never => true,
        Took::Unaffected => false,
    }
}

/// What a fault took away and nothing replaced.
fn lost(fault: &FaultReport, times: &[Time], estate: &Estate) -> SinglePoint {
    let resource = match (&fault.zone, fault.instances.as_slice()) {
        (Some(zone), _) => zone.clone(),
        (None, [one]) => match estate.instances.iter().find(|i| i.id == *one).and_then(|i| i.group.as_ref()) {
            Some(group) => format!("{one} of {}", estate.called(group)),
            None => estate.called(one).to_owned(),
        },
        (None, _) => fault.name.clone(),
    };
    let until = match users(fault, times) {
        Took::Never => format!("after '{}' for as long as it was watched", fault.name),
        _ => format!("from '{}' until it was healed", fault.name),
    };
    let why = format!("Users had no service {until}: nothing that they could reach took its place.");
    SinglePoint { resource, seen: true, by_settings: false, why }
}

/// Whether a fault took away what stands alone.
fn is_hit(physical: &str, fault: &FaultReport, estate: &Estate) -> bool {
    let dark = |zone: &str| fault.zone.as_deref() == Some(zone);
    let gone = |id: &str| fault.instances.iter().any(|hit| hit == id);
    let address = |ip: &str| estate.addresses.iter().find(|one| one.ip == ip).and_then(|one| one.instance.as_deref());
    gone(physical)
        || address(physical).is_some_and(gone)
        || estate.nat_gateways.iter().any(|one| one.id == physical && dark(&one.zone))
        || estate.groups.iter().any(|one| one.name == physical && one.zones.iter().all(|zone| dark(zone)))
        || estate.instances.iter().any(|one| one.group.as_deref() == Some(physical) && gone(&one.id))
        || estate.balancers.iter().any(|one| one.arn == physical && one.zones.iter().all(|zone| dark(zone)))
        || estate
            .target_groups
            .iter()
            .any(|one| one.arn == physical && !one.members.is_empty() && one.members.iter().all(|member| gone(member)))
        || estate.volumes.iter().any(|one| one.id == physical && dark(&one.zone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estate::{Address, Instance, NatGateway, TargetGroup};

    fn fault(zone: Option<&str>, instances: &[&str]) -> FaultReport {
        FaultReport {
            name: "f".into(),
            began_ms: 0,
            ended_ms: 20_000,
            zone: zone.map(str::to_owned),
            instances: instances.iter().map(|id| (*id).to_owned()).collect(),
            ..FaultReport::default()
        }
    }

    fn recovered(took: Took) -> Vec<Time> {
        let (layer, measure) = (Layer::Users, Measure::Recover);
        let (promised_ms, promise) = (None, String::new());
        vec![Time { fault: "f".into(), layer, measure, took, promised_ms, promise, documented: "" }]
    }

    #[test]
    fn an_outage_as_long_as_its_fault_shows_that_nothing_took_over() {
        let fault = fault(None, &["i"]);
        for (took, is_one) in [
            (Took::Never, true),
            (Took::After { measured_ms: 20_050 }, true),
            (Took::After { measured_ms: 19_000 }, true),
            (Took::After { measured_ms: 9_000 }, false),
            (Took::Unaffected, false),
        ] {
            assert_eq!(no_service(&fault, &recovered(took)), is_one, "{took:?}");
        }
        assert!(!no_service(&FaultReport { ended_ms: 10, ..fault }, &recovered(Took::After { measured_ms: 900 })));
    }

    #[test]
    fn what_is_lost_has_a_name() {
        let instance = Instance { id: "i".into(), group: Some("g".into()), ..Instance::default() };
        let estate = Estate { instances: vec![instance], ..Estate::default() };
        let never = recovered(Took::Never);
        assert_eq!(lost(&fault(None, &["i"]), &never, &estate).resource, "i of g");
        assert_eq!(lost(&fault(Some("z-a"), &["i"]), &never, &estate).resource, "z-a");
        assert!(lost(&fault(None, &["i"]), &never, &estate).why.contains("as long as it was watched"));
    }

    #[test]
    fn what_stands_alone_was_seen_to_when_it_was_hit() {
        let estate = Estate {
            nat_gateways: vec![NatGateway { id: "nat".into(), zone: "z-a".into() }],
            target_groups: vec![TargetGroup {
                arn: "t".into(),
                members: ["i".to_owned()].into(),
                ..TargetGroup::default()
            }],
            addresses: vec![Address { ip: "ip".into(), instance: Some("i".into()), ..Address::default() }],
            ..Estate::default()
        };
        for (physical, zone, instances, hit) in [
            ("nat", Some("z-a"), &["i"][..], true),
            ("nat", Some("z-b"), &[], false),
            ("t", None, &["i"], true),
            ("t", None, &["j"], false),
            ("ip", None, &["i"], true),
            ("ip", None, &["j"], false),
            ("i", None, &["i"], true),
        ] {
            assert_eq!(is_hit(physical, &fault(zone, instances), &estate), hit, "{physical}");
        }
    }
}
