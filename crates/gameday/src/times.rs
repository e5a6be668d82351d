//! How long each layer took, and what its settings promise.
//!
//! Pure: figures are differences between entries of the timeline, levels that fell and rose, and outages of probes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::estate::{Estate, Group, Instance, TargetGroup};
use crate::probe::Outage;
use crate::spec::{Layer, Measure};
use crate::watch::{Entry, Levels, Sign};

/// A fault, and the time in which what happens is its doing.
#[derive(Clone, Debug)]
pub struct Struck {
    pub name: String,
    pub began_ms: i64,
    /// When the next fault began, or the end of it all.
    pub until_ms: i64,
    pub instances: BTreeSet<String>,
}

/// What happened, as the timeline has it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub entries: &'a [Entry],
    pub levels: &'a [(i64, Levels)],
    pub estate: &'a Estate,
    /// What users had of it; `None` where there are no probes.
    pub outages: Option<&'a [Outage]>,
}

/// What became of something that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Took {
    After {
        measured_ms: i64,
    },
    /// Nothing was lost that would have had to be noticed or made good.
    Unaffected,
    /// Not while it was looked.
    Never,
}

/// One figure beside what was promised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Time {
    pub fault: String,
    #[serde(serialize_with = "layer_name")]
    pub layer: Layer,
    #[serde(serialize_with = "measure_name")]
    pub measure: Measure,
    #[serde(flatten)]
    pub took: Took,
    pub promised_ms: Option<u64>,
    /// The settings that the promise is made of.
    pub promise: String,
    /// What AWS's documentation says of it.
    pub documented: &'static str,
}

fn layer_name<S: serde::Serializer>(layer: &Layer, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(layer.name())
}

fn measure_name<S: serde::Serializer>(measure: &Measure, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(measure.name())
}

/// Whether a figure can be taken for what there is. The error says why not.
pub fn can_be_taken(measure: Measure, layer: Layer, estate: &Estate, probes: bool) -> Result<(), String> {
    let there = match layer {
        Layer::Users => probes,
        Layer::LoadBalancer => !estate.target_groups.is_empty(),
        Layer::Group => !estate.groups.is_empty(),
        Layer::Alarm => !estate.alarms.is_empty(),
        Layer::Instance => !estate.instances.is_empty(),
        Layer::Fault | Layer::Stack => false,
    };
    if !measure.layers().contains(&layer) || !there {
        let what = match layer {
            Layer::Users => "there are no probes",
            Layer::LoadBalancer => "the stack has no target group",
            Layer::Group => "the stack has no Auto Scaling group",
            Layer::Alarm => "the stack has no alarm",
            _ => "the stack has no instance",
        };
        return Err(format!("{} of {} cannot be measured: {what}", measure.name(), layer.name()));
    }
    Ok(())
}

/// All figures of a fault.
pub fn times(fault: &Struck, seen: &Seen<'_>) -> Vec<Time> {
    let mut out = Vec::new();
    for measure in Measure::ALL {
        for layer in measure.layers() {
            if can_be_taken(*measure, *layer, seen.estate, seen.outages.is_some()).is_ok() {
                let touched = touched(fault, seen.estate);
                let (promised, promise) = promise(*measure, *layer, &touched);
                out.push(Time {
                    fault: fault.name.clone(),
                    layer: *layer,
                    measure: *measure,
                    took: took(*measure, *layer, fault, seen),
                    promised_ms: promised.map(|time| time.as_millis() as u64),
                    promise,
                    documented: documented(*measure, *layer, !touched.groups.is_empty()),
                });
            }
        }
    }
    out
}

fn took(measure: Measure, layer: Layer, fault: &Struck, seen: &Seen<'_>) -> Took {
    match (measure, layer) {
        (Measure::Detect, Layer::Users) => users_detect(fault, seen),
        (Measure::Recover, Layer::Users) => users_recover(fault, seen),
        (Measure::Detect, Layer::Alarm) => first(fault, seen, layer, |e| e.sign == Sign::Out, Took::Never),
        (Measure::Detect, _) => {
            let hit = |e: &Entry| e.sign == Sign::Out && fault.instances.contains(&e.resource);
            first(fault, seen, layer, hit, unaffected(fault, layer, seen))
        }
        (Measure::Eject, _) => ejected(fault, seen),
        (Measure::Replace, _) => {
            let new = |e: &Entry| e.sign == Sign::In && !fault.instances.contains(&e.resource);
            first(fault, seen, layer, new, unaffected(fault, layer, seen))
        }
        (Measure::Recover, _) => level_back(layer, fault, seen),
    }
}

/// What of an estate a fault has to do with.
struct Touched<'a> {
    estate: &'a Estate,
    /// Those of which something was hit.
    groups: Vec<&'a Group>,
    target_groups: Vec<&'a TargetGroup>,
    /// Whether one of them has nothing left that could serve.
    is_all: bool,
}

/// Finds it by the instances that are hit. Where none are named, and of those that came later, it may be anything.
fn touched<'a>(fault: &Struck, estate: &'a Estate) -> Touched<'a> {
    let any = |is_in: &dyn Fn(&Instance) -> bool| {
        let known = |id: &String| estate.instances.iter().find(|instance| instance.id == *id);
        fault.instances.is_empty() || fault.instances.iter().any(|id| known(id).is_none_or(is_in))
    };
    let groups: Vec<&Group> =
        (estate.groups.iter()).filter(|group| any(&|one| one.group.as_ref() == Some(&group.name))).collect();
    let target_groups: Vec<&TargetGroup> =
        estate.target_groups.iter().filter(|group| any(&|one| group.members.contains(&one.id))).collect();
    let is_all = |group: &&TargetGroup| !group.members.is_empty() && group.members.is_subset(&fault.instances);
    let is_all = target_groups.iter().any(is_all);
    Touched { estate, groups, target_groups, is_all }
}

/// What it is that nothing was seen of a fault in a layer: nothing, where it had nothing to show.
fn unaffected(fault: &Struck, layer: Layer, seen: &Seen<'_>) -> Took {
    let touched = touched(fault, seen.estate);
    let apart = match layer {
        Layer::LoadBalancer => touched.target_groups.is_empty(),
        Layer::Group => touched.groups.is_empty(),
        _ => false,
    };
    // Late packets and busy processors take nothing away as long as everything is still answered.
    let is_out = |e: &Entry| e.sign == Sign::Out && fault.instances.contains(&e.resource);
    let in_time = |e: &&Entry| e.at_ms >= fault.began_ms && e.at_ms < fault.until_ms;
    let lost = seen.entries.iter().filter(in_time).any(is_out) || outages(fault, seen).next().is_some();
    if fault.instances.is_empty() || apart || !lost { Took::Unaffected } else { Took::Never }
}

/// Entries that are this fault's doing.
fn during<'a>(fault: &'a Struck, seen: &Seen<'a>, layer: Layer) -> impl DoubleEndedIterator<Item = &'a Entry> {
    let entries = seen.entries;
    entries.iter().filter(move |e| e.layer == layer && e.at_ms >= fault.began_ms && e.at_ms < fault.until_ms)
}

fn first(fault: &Struck, seen: &Seen<'_>, layer: Layer, is_it: impl Fn(&Entry) -> bool, otherwise: Took) -> Took {
    let found = during(fault, seen, layer).filter(|entry| is_it(entry)).map(|entry| entry.at_ms).min();
    found.map_or(otherwise, |at| Took::After { measured_ms: at - fault.began_ms })
}

/// Outages that are this fault's doing: those whose first failure showed meanwhile, also of a request that was under way
/// when it struck.
fn outages<'a>(fault: &'a Struck, seen: &Seen<'a>) -> impl Iterator<Item = &'a Outage> {
    let (began_us, until_us) = (fault.began_ms * 1000, fault.until_ms * 1000);
    let all = seen.outages.unwrap_or_default().iter();
    all.filter(move |outage| (began_us..until_us).contains(&(outage.known_us as i64)))
}

fn users_detect(fault: &Struck, seen: &Seen<'_>) -> Took {
    let first = outages(fault, seen).map(|outage| outage.from_us as i64 / 1000).min();
    first.map_or(Took::Unaffected, |at| Took::After { measured_ms: (at - fault.began_ms).max(0) })
}

/// To the end of the last outage.
fn users_recover(fault: &Struck, seen: &Seen<'_>) -> Took {
    match outages(fault, seen).max_by_key(|outage| outage.to_us) {
        None => Took::Unaffected,
        Some(last) if last.ended => Took::After { measured_ms: (last.again_us as i64 / 1000 - fault.began_ms).max(0) },
        Some(_) => Took::Never,
    }
}

/// Until all that was hit gets no more requests.
fn ejected(fault: &Struck, seen: &Seen<'_>) -> Took {
    let mut last = None;
    for id in &fault.instances {
        let out = during(fault, seen, Layer::LoadBalancer).filter(|e| e.resource == *id && e.sign == Sign::Out);
        match out.map(|entry| entry.at_ms).min() {
            Some(at) => last = last.max(Some(at)),
            // Whether it was a target at all shows in what else was said of it.
            None if during(fault, seen, Layer::LoadBalancer).any(|e| e.resource == *id) => return Took::Never,
            None => (),
        }
    }
    last.map_or(unaffected(fault, Layer::LoadBalancer, seen), |at| Took::After { measured_ms: at - fault.began_ms })
}

/// Until as much serves as before, in everything of the layer.
fn level_back(layer: Layer, fault: &Struck, seen: &Seen<'_>) -> Took {
    match by_level(layer, fault, seen) {
        // A fall that is over between two looks shows in who came and who went alone.
        Took::Unaffected => replaced(layer, fault, seen),
        took => took,
    }
}

/// Until as many others had come as were lost of what was hit.
fn replaced(layer: Layer, fault: &Struck, seen: &Seen<'_>) -> Took {
    let entries = || during(fault, seen, layer);
    let lost: BTreeSet<&str> = (entries().filter(|e| e.sign == Sign::Out && fault.instances.contains(&e.resource)))
        .map(|entry| entry.resource.as_str())
        .collect();
    let mut came: Vec<i64> = (entries().filter(|e| e.sign == Sign::In && !fault.instances.contains(&e.resource)))
        .map(|entry| entry.at_ms)
        .collect();
    came.sort_unstable();
    let Some(last) = lost.len().checked_sub(1) else { return Took::Unaffected };
    came.get(last).map_or(Took::Never, |at| Took::After { measured_ms: at - fault.began_ms })
}

fn by_level(layer: Layer, fault: &Struck, seen: &Seen<'_>) -> Took {
    let before = seen.levels.iter().rev().find(|(at, _)| *at <= fault.began_ms).or(seen.levels.first());
    let Some((_, before)) = before else { return Took::Unaffected };
    let mut slowest = Took::Unaffected;
    for (key, full) in before.iter().filter(|((of, _), _)| *of == layer) {
        let later = seen.levels.iter().filter(|(at, _)| *at > fault.began_ms && *at < fault.until_ms);
        let mut fallen = false;
        let mut back = None;
        for (at, levels) in later {
            let now = levels.get(key).copied().unwrap_or_default();
            fallen |= now < *full;
            // It counts from the last time that it fell: a replacement may fail too.
            back = if now < *full { None } else { back.or(fallen.then_some(*at)) };
        }
        slowest = match (fallen, back, slowest) {
            (false, ..) => slowest,
            (true, None, _) | (.., Took::Never) => Took::Never,
            (true, Some(at), Took::After { measured_ms }) => {
                Took::After { measured_ms: measured_ms.max(at - fault.began_ms) }
            }
            (true, Some(at), Took::Unaffected) => Took::After { measured_ms: at - fault.began_ms },
        };
    }
    slowest
}

/// What the settings promise, and which they are.
fn promise(measure: Measure, layer: Layer, touched: &Touched<'_>) -> (Option<Duration>, String) {
    let slowest = touched.target_groups.iter().max_by_key(|group| group.ejects_within());
    let ejects = slowest.map(|group| {
        let settings =
            format!("HealthCheckIntervalSeconds {} x UnhealthyThresholdCount {}", group.interval_s, group.unhealthy);
        (group.ejects_within(), settings)
    });
    let starts = touched.groups.iter().filter_map(|group| starts(group, touched.estate)).max_by_key(|(time, _)| *time);
    let promise = match (measure, layer) {
        (Measure::Detect | Measure::Eject, Layer::LoadBalancer) => ejects,
        // That requests go elsewhere helps where there is anything else.
        (Measure::Recover, Layer::Users) if touched.is_all => starts.filter(|_| !touched.groups.is_empty()),
        (Measure::Recover, Layer::Users) => ejects,
        (Measure::Detect, Layer::Group) => {
            let elb = touched.groups.iter().any(|group| group.health_check.contains("ELB"));
            ejects.filter(|_| elb)
        }
        (Measure::Detect, Layer::Alarm) => alarm(touched.estate),
        (Measure::Replace, _) | (Measure::Recover, Layer::Group | Layer::LoadBalancer) => starts,
        _ => None,
    };
    promise.map_or((None, String::new()), |(time, settings)| (Some(time), settings))
}

/// What a group gives its instances to serve: no setting says so where it waits for nothing.
fn starts(group: &Group, estate: &Estate) -> Option<(Duration, String)> {
    let check =
        group.target_groups.iter().filter_map(|arn| estate.target_group(arn)).map(|group| group.interval_s).max();
    if check.is_none() && group.grace_s == 0 {
        return None;
    }
    let checked = check.map_or(String::new(), |s| format!(" + HealthCheckIntervalSeconds {s}"));
    let time = Duration::from_secs(group.grace_s + check.unwrap_or_default());
    Some((time, format!("HealthCheckGracePeriod {}{checked}", group.grace_s)))
}

/// Until the quickest alarm. What begins within a period is seen whole from the next one on.
fn alarm(estate: &Estate) -> Option<(Duration, String)> {
    let quickest = estate.alarms.iter().min_by_key(|alarm| alarm.period_s * (alarm.datapoints + 1))?;
    let time = Duration::from_secs(quickest.period_s * (quickest.datapoints + 1));
    Some((
        time,
        format!("Period {} x (DatapointsToAlarm {} + the one that had begun)", quickest.period_s, quickest.datapoints),
    ))
}

fn documented(measure: Measure, layer: Layer, in_group: bool) -> &'static str {
    match (measure, layer) {
        (Measure::Detect | Measure::Eject, Layer::LoadBalancer) => {
            "A target is unhealthy after UnhealthyThresholdCount failed checks in a row; by default 2, 30 s apart."
        }
        (Measure::Detect, Layer::Group) => {
            "Instances that are found unhealthy are replaced; by ELB checks once the grace period (300 s in the console) is over."
        }
        (Measure::Replace, _) => {
            "A replacement starts as soon as an instance is marked unhealthy, without the cooldown."
        }
        (Measure::Recover, Layer::LoadBalancer) => "A new target must pass one health check before it gets requests.",
        (Measure::Detect, Layer::Alarm) => {
            "An alarm changes when DatapointsToAlarm of EvaluationPeriods are breaching."
        }
        (Measure::Recover, Layer::Instance) if !in_group => {
            "Recovery begins when the system status check has failed for some minutes."
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at_ms: i64, layer: Layer, sign: Sign, resource: &str) -> Entry {
        Entry { at_ms, layer, sign, resource: resource.into(), zone: None, what: String::new() }
    }

    fn estate() -> Estate {
        Estate {
            groups: vec![Group {
                name: "g".into(),
                grace_s: 30,
                health_check: "ELB".into(),
                target_groups: vec!["t".into()],
                ..Group::default()
            }],
            target_groups: vec![TargetGroup { arn: "t".into(), interval_s: 5, unhealthy: 2, ..TargetGroup::default() }],
            ..Estate::default()
        }
    }

    fn fault() -> Struck {
        Struck { name: "f".into(), began_ms: 1000, until_ms: 60_000, instances: ["a".into(), "b".into()].into() }
    }

    fn figure(entries: &[Entry], levels: &[(i64, Levels)], measure: Measure, layer: Layer) -> (Took, Option<u64>) {
        timed(&[], entries, levels, measure, layer)
    }

    fn timed(
        outages: &[Outage],
        entries: &[Entry],
        levels: &[(i64, Levels)],
        measure: Measure,
        layer: Layer,
    ) -> (Took, Option<u64>) {
        let estate = estate();
        let seen = Seen { entries, levels, estate: &estate, outages: Some(outages) };
        let all = times(&fault(), &seen);
        let time = all.iter().find(|time| (time.measure, time.layer) == (measure, layer)).expect("it can be taken");
        (time.took, time.promised_ms)
    }

    fn outage(from_ms: u64, known_ms: u64, to_ms: u64) -> Outage {
        let us = |ms| ms * 1000;
        let (from_us, known_us, to_us) = (us(from_ms), us(known_ms), us(to_ms));
        Outage { from_us, known_us, to_us, again_us: to_us, failed: 1, ended: true }
    }

    #[test]
    fn users_lose_what_was_due_meanwhile_and_what_was_under_way() {
        let after = |ms| Took::After { measured_ms: ms };
        let open = Outage { ended: false, ..outage(1200, 1201, 59_000) };
        for (outages, detect, recover) in [
            (&[][..], Took::Unaffected, Took::Unaffected),
            (&[outage(1200, 1210, 1300), outage(2000, 2001, 2500)], after(200), after(1500)),
            // Due before it struck, and failed by it.
            (&[outage(990, 1004, 1010)], after(0), after(10)),
            (&[outage(900, 904, 950), outage(60_001, 60_002, 61_000)], Took::Unaffected, Took::Unaffected),
            (&[open], after(200), Took::Never),
            // Under way when the next fault struck.
            (&[outage(59_999, 60_003, 60_010)], Took::Unaffected, Took::Unaffected),
            // The one that ends it was due before what it waited for was there.
            (&[Outage { again_us: 2_530_000, ..outage(1200, 1201, 1500) }], after(200), after(1530)),
        ] {
            let took = |measure| timed(outages, &[], &[], measure, Layer::Users).0;
            assert_eq!((took(Measure::Detect), took(Measure::Recover)), (detect, recover), "{outages:?}");
        }
    }

    #[test]
    fn layers_are_timed_from_the_fault_beside_what_is_promised() {
        let entries = [
            entry(900, Layer::LoadBalancer, Sign::Out, "a"),
            entry(3000, Layer::LoadBalancer, Sign::Out, "a"),
            entry(3200, Layer::LoadBalancer, Sign::Out, "c"),
            entry(9000, Layer::LoadBalancer, Sign::Out, "b"),
            entry(4000, Layer::Group, Sign::Out, "b"),
            entry(12_000, Layer::Group, Sign::In, "d"),
        ];
        let key = (Layer::Group, "g".to_owned());
        let level = |at: i64, n: usize| (at, Levels::from([(key.clone(), n)]));
        let levels = [level(0, 6), level(4000, 4), level(12_000, 5), level(13_000, 6)];
        let after = |ms| Took::After { measured_ms: ms };
        for (measure, layer, took, promised) in [
            (Measure::Recover, Layer::Users, Took::Unaffected, Some(10_000)),
            (Measure::Detect, Layer::LoadBalancer, after(2000), Some(10_000)),
            (Measure::Eject, Layer::LoadBalancer, after(8000), Some(10_000)),
            (Measure::Detect, Layer::Group, after(3000), Some(10_000)),
            (Measure::Replace, Layer::Group, after(11_000), Some(35_000)),
            (Measure::Recover, Layer::Group, after(12_000), Some(35_000)),
        ] {
            assert_eq!(figure(&entries, &levels, measure, layer), (took, promised), "{measure:?} {layer:?}");
        }
        assert_eq!(figure(&entries, &levels[..2], Measure::Recover, Layer::Group).0, Took::Never);
        // Lost and replaced between two looks: as many as ever at each of them.
        let same = [level(0, 6), level(4000, 6)];
        assert_eq!(figure(&entries, &same, Measure::Recover, Layer::Group).0, after(11_000));
        assert_eq!(figure(&entries[..5], &same, Measure::Recover, Layer::Group).0, Took::Never);
        assert_eq!(figure(&[], &same, Measure::Recover, Layer::Group).0, Took::Unaffected);
        // Nothing was lost; or users lost something that nobody else saw.
        assert_eq!(figure(&[], &[], Measure::Detect, Layer::LoadBalancer).0, Took::Unaffected);
        let lost = [outage(1200, 1210, 1300)];
        assert_eq!(timed(&lost, &[], &[], Measure::Detect, Layer::LoadBalancer).0, Took::Never);
    }

    /// The estate with the instances that are hit in the group, and in the target group beside these others.
    fn placed(group: Option<&str>, targets: &[&str]) -> Estate {
        let mut estate = estate();
        let instance = |id: &str| Instance { id: id.into(), group: group.map(str::to_owned), ..Instance::default() };
        estate.instances = ["a", "b"].map(instance).to_vec();
        estate.target_groups[0].members = targets.iter().map(|id| (*id).to_owned()).collect();
        estate
    }

    #[test]
    fn settings_promise_something_to_those_that_they_are_about() {
        let checks = Some("HealthCheckIntervalSeconds 5 x UnhealthyThresholdCount 2");
        let starts = Some("HealthCheckGracePeriod 30 + HealthCheckIntervalSeconds 5");
        for (estate, users, ejected, replaced) in [
            (placed(Some("g"), &["a", "b", "c"]), checks, checks, starts),
            // All that there was is hit: it takes another.
            (placed(Some("g"), &["a", "b"]), starts, checks, starts),
            (placed(None, &["a", "b"]), None, checks, None),
            // Neither members nor targets.
            (placed(None, &["c"]), None, None, None),
        ] {
            let lost = [outage(1200, 1210, 1300)];
            let seen = Seen { entries: &[], levels: &[], estate: &estate, outages: Some(&lost) };
            let all = times(&fault(), &seen);
            let of = |measure, layer| all.iter().find(|t| (t.measure, t.layer) == (measure, layer)).expect("taken");
            let promise = |measure, layer| Some(of(measure, layer).promise.as_str()).filter(|text| !text.is_empty());
            assert_eq!(promise(Measure::Recover, Layer::Users), users);
            assert_eq!(promise(Measure::Eject, Layer::LoadBalancer), ejected);
            assert_eq!(promise(Measure::Replace, Layer::Group), replaced);
            let never = |is_hit: bool| if is_hit { Took::Never } else { Took::Unaffected };
            assert_eq!(of(Measure::Eject, Layer::LoadBalancer).took, never(ejected.is_some()));
            assert_eq!(of(Measure::Replace, Layer::Group).took, never(replaced.is_some()));
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_timed() {
        let nothing = Estate::default();
        let why = can_be_taken(Measure::Recover, Layer::Group, &nothing, true).expect_err("no group");
        assert_eq!(why, "recover of group cannot be measured: the stack has no Auto Scaling group");
        assert!(can_be_taken(Measure::Recover, Layer::Users, &nothing, true).is_ok());
        assert!(can_be_taken(Measure::Eject, Layer::Users, &nothing, true).is_err());
    }
}
