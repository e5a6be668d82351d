//! What instances and their volumes report of themselves to CloudWatch: processors, network, disks, and the checks.
//!
//! At the end of every minute of the clock, while instances run: `AWS/EC2` by InstanceId, and by AutoScalingGroupName for
//! members of a group; `AWS/EBS` by VolumeId. What a driver does not count is not published.
//!
//! AWS-DIFF: every instance is monitored in detail, each minute.

mod disks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_api::cloudwatch as api;
use standfast_core::host::{DiskUse, HostObservation, Phase, Traffic};
use standfast_core::id::{self, Id};
use standfast_core::metric::{minute_measured, next_minute};
use standfast_core::{Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};

use super::instance_types::InstanceType;
use super::model::{Check, Instance, State, Tagged};

const NAMESPACE: &str = "AWS/EC2";
/// How many data one PutMetricData takes.
const DATA_MAX: usize = 1000;
/// The tag that says which group an instance is a member of.
const GROUP_TAG: &str = "aws:autoscaling:groupName";
/// The metrics of the status checks, and whether an impaired instance fails them. Nothing answers on a system that fails.
type CheckMetric = (&'static str, fn(Check) -> bool);
const CHECKS: [CheckMetric; 3] = [
    ("StatusCheckFailed", |_| true),
    ("StatusCheckFailed_Instance", |_| true),
    ("StatusCheckFailed_System", |check| check == Check::System),
];

const TRAFFIC: [(&str, &str); 4] =
    [("NetworkIn", "Bytes"), ("NetworkOut", "Bytes"), ("NetworkPacketsIn", "Count"), ("NetworkPacketsOut", "Count")];

/// How much an instance had used at some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub boot: u64,
    pub cpu_time: Duration,
    pub traffic: Option<Traffic>,
    pub at: Timestamp,
}

/// What is remembered between runs; what is lost costs the data of a minute.
#[derive(Default)]
pub struct Memory {
    /// When the next data are due; none while nothing runs.
    due: Option<Timestamp>,
    samples: BTreeMap<Arc<str>, Sample>,
    disks: Disks,
}

type Disks = BTreeMap<Id<id::Volume>, DiskUse>;

/// The data of each account and region, by namespace.
type Data = BTreeMap<(Scope, &'static str), Vec<api::MetricDatum>>;

pub type Shared = Arc<Mutex<Memory>>;

/// A running instance, its sample of now, and its group.
struct Reading {
    scope: Scope,
    id: Arc<str>,
    vcpus: i32,
    group: Option<String>,
    impaired: Option<Check>,
    /// None while nothing answers.
    sample: Option<Sample>,
}

pub async fn run(cx: Cx, memory: Shared) -> Result<Wake> {
    let now = cx.now();
    let (due, old, old_disks) = {
        let memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(due) = memory.due.filter(|due| *due > now) {
            return Ok(Wake::At(due));
        }
        (memory.due, memory.samples.clone(), memory.disks.clone())
    };
    let observed = observe(&cx);
    let readings = read(&cx, &observed, now);
    // The run that finds the first instance only notes where it begins.
    if due.is_some() {
        let minute = minute_measured(now);
        let mut all = data(&readings, &old, minute);
        cx.view(|view| disks::add(view, &readings, &observed.disks, &old_disks, minute, &mut all));
        put(&cx, all).await?;
    }
    let due = (!readings.is_empty()).then(|| next_minute(now));
    let samples = readings.into_iter().filter_map(|reading| Some((reading.id, reading.sample?))).collect();
    *memory.lock().unwrap_or_else(PoisonError::into_inner) = Memory { due, samples, disks: observed.disks };
    Ok(due.map_or(Wake::OnChange, Wake::At))
}

fn is_running((_, _, instance): &(Scope, Arc<str>, Arc<Instance>)) -> bool {
    instance.state == State::Running
}

/// What the hosts see, when anything runs that they could.
fn observe(cx: &Cx) -> HostObservation {
    let any = cx.view(|view| view.all::<Instance>().iter().any(is_running));
    if any { cx.host().observe() } else { HostObservation::default() }
}

/// The instances that run, as records and host agree, and those that would if they were not impaired.
fn read(cx: &Cx, observed: &HostObservation, now: Timestamp) -> Vec<Reading> {
    cx.view(|view| {
        let running = view.all::<Instance>().into_iter().filter(is_running);
        running
            .filter_map(|(scope, id, instance)| {
                let seen = observed.instances.get(&*id).filter(|seen| seen.phase == Phase::Running);
                if seen.is_none() && instance.impaired.is_none() {
                    return None;
                }
                let tagged = view.get::<Tagged>(&scope, &id);
                Some(Reading {
                    vcpus: InstanceType::named(&instance.instance_type).map_or(1, |known| known.vcpus),
                    group: tagged.and_then(|tagged| tagged.tags.get(GROUP_TAG).cloned()),
                    impaired: instance.impaired.map(|impaired| impaired.check),
                    sample: seen.map(|seen| Sample {
                        boot: seen.boot,
                        cpu_time: seen.cpu_time,
                        traffic: seen.traffic,
                        at: now,
                    }),
                    scope,
                    id,
                })
            })
            .collect()
    })
}

/// The percentage of an instance's processors that it used between two samples; none across a boot.
pub fn utilization(old: &Sample, new: &Sample, vcpus: i32) -> Option<f64> {
    let passed = new.at.since(old.at).as_secs_f64();
    if old.boot != new.boot || passed <= 0.0 {
        return None;
    }
    let used = new.cpu_time.saturating_sub(old.cpu_time).as_secs_f64();
    Some((100.0 * used / passed / f64::from(vcpus.max(1))).clamp(0.0, 100.0))
}

/// What the minute that begins at `minute` brought.
fn data(readings: &[Reading], old: &BTreeMap<Arc<str>, Sample>, minute: Timestamp) -> Data {
    let mut out = Data::new();
    for reading in readings {
        let to = out.entry((reading.scope.clone(), NAMESPACE)).or_default();
        let samples = old.get(&reading.id).zip(reading.sample.as_ref());
        let used = samples.and_then(|(old, new)| utilization(old, new, reading.vcpus));
        let carried = samples.and_then(|(old, new)| carried(old, new)).map_or([None; 4], |carried| carried.map(Some));
        for dimension in reading.dimensions() {
            to.extend(used.map(|used| datum("CPUUtilization", "Percent", used, dimension.clone(), minute)));
            for ((name, unit), count) in TRAFFIC.iter().zip(carried) {
                to.extend(count.map(|count| datum(name, unit, count, dimension.clone(), minute)));
            }
            to.extend(CHECKS.map(|(check, fails)| {
                let failed = if reading.impaired.is_some_and(fails) { 1.0 } else { 0.0 };
                datum(check, "Count", failed, dimension.clone(), minute)
            }));
        }
    }
    out
}

/// What an instance's interfaces carried between two samples, in the order of `TRAFFIC`; none across a boot.
fn carried(old: &Sample, new: &Sample) -> Option<[f64; 4]> {
    let (before, after) = old.traffic.zip(new.traffic).filter(|_| old.boot == new.boot)?;
    // An interface that was detached took its counts with it.
    let between = |count: fn(&Traffic) -> u64| count(&after).saturating_sub(count(&before)) as f64;
    Some([between(|t| t.bytes_in), between(|t| t.bytes_out), between(|t| t.packets_in), between(|t| t.packets_out)])
}

impl Reading {
    fn dimensions(&self) -> Vec<api::Dimension> {
        let mut dimensions = vec![dimension("InstanceId", &self.id)];
        dimensions.extend(self.group.iter().map(|group| dimension("AutoScalingGroupName", group)));
        dimensions
    }
}

fn dimension(name: &str, value: &str) -> api::Dimension {
    api::Dimension { name: name.to_owned(), value: value.to_owned() }
}

fn datum(name: &str, unit: &str, value: f64, dimension: api::Dimension, at: Timestamp) -> api::MetricDatum {
    api::MetricDatum {
        metric_name: name.to_owned(),
        dimensions: Some(vec![dimension]),
        timestamp: Some(at),
        value: Some(value),
        unit: Some(unit.to_owned()),
        ..Default::default()
    }
}

async fn put(cx: &Cx, data: Data) -> Result<()> {
    for ((scope, namespace), mut data) in data {
        let cx = cx.at(&scope);
        while !data.is_empty() {
            let rest = data.split_off(data.len().min(DATA_MAX));
            let input = api::PutMetricDataInput {
                namespace: namespace.to_owned(),
                metric_data: Some(std::mem::replace(&mut data, rest)),
                ..Default::default()
            };
            cx.call(api::PutMetricData, input).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(boot: u64, cpu_s: f64, at_s: i64) -> Sample {
        Sample { boot, cpu_time: Duration::from_secs_f64(cpu_s), traffic: None, at: Timestamp(at_s * 1000) }
    }

    #[test]
    fn utilization_is_the_share_of_all_vcpus() {
        let old = sample(1, 10.0, 0);
        for (new, vcpus, expected) in [
            (sample(1, 40.0, 60), 1, Some(50.0)),
            (sample(1, 40.0, 60), 2, Some(25.0)),
            (sample(1, 500.0, 60), 1, Some(100.0)),
            (sample(1, 10.0, 60), 2, Some(0.0)),
            (sample(2, 1.0, 60), 1, None),
            (sample(1, 10.0, 0), 1, None),
        ] {
            assert_eq!(utilization(&old, &new, vcpus), expected, "{new:?} {vcpus}");
        }
    }

    #[test]
    fn traffic_is_counted_within_a_boot_alone() {
        let at = |boot, bytes_in| Sample {
            traffic: Some(Traffic { bytes_in, bytes_out: 7, packets_in: 2, packets_out: 1 }),
            ..sample(boot, 0.0, 0)
        };
        assert_eq!(carried(&at(1, 100), &at(1, 150)), Some([50.0, 0.0, 0.0, 0.0]));
        assert_eq!(carried(&at(1, 150), &at(1, 100)), Some([0.0; 4]), "an interface went");
        assert_eq!(carried(&at(1, 100), &at(2, 150)), None);
        assert_eq!(carried(&sample(1, 0.0, 0), &at(1, 150)), None);
    }

    #[test]
    fn a_group_s_members_report_under_its_name_too() {
        let reading = |id: &str, region: &str, group: Option<&str>| Reading {
            scope: Scope::new("000000000000", region),
            id: id.into(),
            vcpus: 1,
            group: group.map(str::to_owned),
            impaired: None,
            sample: Some(sample(1, 30.0, 60)),
        };
        let readings = [reading("i-1", "eu-west-1", Some("web")), reading("i-2", "eu-west-2", None)];
        let old = BTreeMap::from([("i-1".into(), sample(1, 0.0, 0))]);
        let data = data(&readings, &old, Timestamp(60_000));
        assert_eq!(data.len(), 2);
        let of = |reading: &Reading| &data[&(reading.scope.clone(), NAMESPACE)];
        let first = of(&readings[0]);
        let cpu: Vec<_> = (first.iter().filter(|datum| datum.metric_name == "CPUUtilization"))
            .map(|datum| (datum.dimensions.as_ref().map(|d| d[0].value.clone()), datum.value))
            .collect();
        assert_eq!(cpu, [(Some("i-1".to_owned()), Some(50.0)), (Some("web".to_owned()), Some(50.0))]);
        // Without an earlier sample there is no share to tell, but the checks are.
        assert_eq!(of(&readings[1]).len(), CHECKS.len());
    }
}
