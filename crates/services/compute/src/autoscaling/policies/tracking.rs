//! Target tracking: a policy that keeps a metric at a target, by two alarms of its own.
//!
//! Invariant: which alarms a policy has is in its record; making and removing them is owed from the transaction that
//! changes the record on, so that none is missing or left over after a crash. Another configuration gets other alarms.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_api::autoscaling::{self as api, ExecutePolicyInput};
use standfast_api::cloudwatch as cw;
use standfast_core::{Fault, Result, Rng, Scope, Timestamp};
use standfast_kernel::owed::{self, Debt};
use standfast_kernel::{Cx, Wake};
use standfast_store::Txn;

use super::super::errors::validation;
use super::metric::{self, PERIOD_S};
use super::scale::{self, Standing};
use super::{Kind, Policy};
use crate::kept::Kept;

/// Points over the target before it scales out.
const HIGH_POINTS: i32 = 3;
/// How long the metric must be under the share of the target that scaling in begins at.
const LOW_S: i32 = 15 * 60;
const LOW_SHARE: f64 = 0.9;
/// The bounds of targets.
const TARGET_MIN: f64 = 8.515_920e-109;
const TARGET_MAX: f64 = 1.174_271e108;
/// The periods of customized metrics.
const PERIODS_S: [i32; 4] = [10, 20, 30, 60];
const STATISTICS: [&str; 5] = ["Average", "Minimum", "Maximum", "SampleCount", "Sum"];
/// How far back the present value of a metric is looked for.
const RECENT: Duration = Duration::from_secs(900);

/// What a target tracking policy has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tracking {
    pub config: Kept<api::TargetTrackingConfiguration>,
    pub warmup_s: Option<i32>,
    /// The names of its alarms.
    pub high: String,
    pub low: String,
}

impl Tracking {
    pub fn new(group: &str, config: api::TargetTrackingConfiguration, warmup_s: Option<i32>, rng: &Rng) -> Self {
        let name = |side: &str| format!("TargetTracking-{group}-Alarm{side}-{}", rng.uuid());
        Self { config: Kept(config), warmup_s, high: name("High"), low: name("Low") }
    }

    fn names(&self) -> Vec<String> {
        vec![self.high.clone(), self.low.clone()]
    }

    fn target(&self) -> f64 {
        self.config.0.target_value
    }

    fn scales_in(&self) -> bool {
        self.config.0.disable_scale_in != Some(true)
    }
}

/// Checks a configuration.
pub fn check(config: &api::TargetTrackingConfiguration) -> Result<()> {
    let target = config.target_value;
    if !(TARGET_MIN..=TARGET_MAX).contains(&target) {
        return Err(validation(format!("TargetValue {target} must be between {TARGET_MIN:e} and {TARGET_MAX:e}.")));
    }
    match (&config.predefined_metric_specification, &config.customized_metric_specification) {
        (Some(predefined), None) => {
            // AWS-DIFF: the service wants the target group to be attached; here it may be attached later.
            metric::check_label(&predefined.predefined_metric_type, predefined.resource_label.as_deref())
        }
        (None, Some(custom)) => check_custom(custom),
        _ => Err(validation(
            "TargetTrackingConfiguration must have either PredefinedMetricSpecification or \
             CustomizedMetricSpecification, but not both.",
        )),
    }
}

fn check_period(period: Option<i32>) -> Result<()> {
    match period {
        Some(seconds) if !PERIODS_S.contains(&seconds) => {
            Err(validation(format!("Period {seconds} is not valid; it must be 10, 20, 30 or 60.")))
        }
        _ => Ok(()),
    }
}

fn check_custom(custom: &api::CustomizedMetricSpecification) -> Result<()> {
    check_period(custom.period)?;
    let plain = [
        ("MetricName", custom.metric_name.is_some()),
        ("Namespace", custom.namespace.is_some()),
        ("Statistic", custom.statistic.is_some()),
    ];
    let Some(queries) = custom.metrics.as_ref().filter(|queries| !queries.is_empty()) else {
        if let Some((name, _)) = plain.iter().find(|(_, given)| !given) {
            return Err(validation(format!("CustomizedMetricSpecification must have {name}, or Metrics.")));
        }
        let statistic = custom.statistic.as_deref().unwrap_or_default();
        if !STATISTICS.contains(&statistic) {
            return Err(validation(format!("Invalid Statistic: {statistic}")));
        }
        return Ok(());
    };
    if let Some((name, _)) = plain.iter().find(|(_, given)| *given) {
        return Err(validation(format!("{name} cannot be used together with Metrics.")));
    }
    for query in queries {
        check_period(query.period)?;
        check_period(query.metric_stat.as_ref().and_then(|stat| stat.period))?;
    }
    metric::check_queries(queries.iter().map(|query| {
        let (metric, expression) = (query.metric_stat.is_some(), query.expression.is_some());
        (query.id.as_str(), metric, expression, query.return_data.unwrap_or(true))
    }))
}

/// What is to be done about alarms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AlarmDebt {
    /// Make those of a policy, by its key.
    Make(String),
    Remove(Vec<String>),
}

impl Debt for AlarmDebt {
    const TABLE: &'static str = "autoscaling.owed_alarms";
}

/// The table of what is owed, for the controller.
pub const OWED: &[&str] = &[AlarmDebt::TABLE];

/// Before a policy is written in the place of an old one: alarms that fit are kept, others are to be made and removed.
pub fn replace(tx: &mut Txn, scope: &Scope, key: &str, old: Option<&Policy>, new: &mut Policy, now: Timestamp) {
    let old = old.and_then(|old| match &old.kind {
        Kind::Tracking(tracking) => Some(tracking),
        _ => None,
    });
    if let (Some(old), Kind::Tracking(new)) = (old, &mut new.kind)
        && old.config == new.config
    {
        (new.high, new.low) = (old.high.clone(), old.low.clone());
        return;
    }
    if let Some(old) = old {
        abandon(tx, scope, old, now);
    }
    if let Kind::Tracking(tracking) = &new.kind {
        owed::owe(tx, scope, &format!("make-{}", tracking.high), AlarmDebt::Make(key.to_owned()), now);
    }
}

/// When a policy goes: so do its alarms.
pub fn abandon(tx: &mut Txn, scope: &Scope, tracking: &Tracking, now: Timestamp) {
    owed::owe(tx, scope, &format!("remove-{}", tracking.high), AlarmDebt::Remove(tracking.names()), now);
}

/// Makes the alarms of a policy while its caller waits. What cloudwatch refuses was not to be put: the policy is again
/// what it was.
pub async fn make_now(cx: &Cx, key: &str, old: Option<&Policy>) -> Result<()> {
    match make(cx, key).await {
        Err(error) if error.fault == Fault::Client => {
            let now = cx.now();
            cx.txn(|tx| {
                if let Some(policy) = tx.get::<Policy>(cx.scope(), key) {
                    super::remove(tx, cx.scope(), key, &policy, now);
                }
                if let Some(mut old) = old.cloned() {
                    // Its alarms may be gone already: it gets them as a new policy does.
                    if let Kind::Tracking(tracking) = &mut old.kind {
                        let (high, low) = (format!("{}-1", tracking.high), format!("{}-1", tracking.low));
                        (tracking.high, tracking.low) = (high, low);
                    }
                    replace(tx, cx.scope(), key, None, &mut old, now);
                    tx.put(cx.scope(), key, old);
                }
                Ok(())
            })
            .await?;
            Err(validation(format!("The metric of the policy is not valid: {}", error.message)))
        }
        // It is owed, and made when cloudwatch can.
        _ => Ok(()),
    }
}

pub async fn run(cx: Cx) -> Result<Wake> {
    let perform = |cx: Cx, debt: AlarmDebt| async move {
        match debt {
            AlarmDebt::Make(key) => make(&cx, &key).await,
            AlarmDebt::Remove(names) => remove(&cx, names).await,
        }
    };
    owed::settle(&cx, perform, |_, _, _| ()).await
}

async fn remove(cx: &Cx, names: Vec<String>) -> Result<()> {
    cx.call(cw::DeleteAlarms, cw::DeleteAlarmsInput { alarm_names: names }).await.map(drop)
}

/// Makes those alarms of a policy that are not there.
async fn make(cx: &Cx, key: &str) -> Result<()> {
    let current = || cx.view(|view| view.get::<Policy>(cx.scope(), key));
    let Some(policy) = current() else { return Ok(()) };
    let Kind::Tracking(tracking) = &policy.kind else { return Ok(()) };
    let input = cw::DescribeAlarmsInput { alarm_names: Some(tracking.names()), ..Default::default() };
    let found = cx.call(cw::DescribeAlarms, input).await?.metric_alarms.unwrap_or_default();
    for (name, high) in [(&tracking.high, true), (&tracking.low, false)] {
        if !found.iter().any(|alarm| alarm.alarm_name.as_ref() == Some(name)) {
            cx.call(cw::PutMetricAlarm, alarm(&policy, tracking, name, high)).await?;
        }
    }
    // The policy may have gone or changed meanwhile.
    let still = current().is_some_and(|now| match &now.kind {
        Kind::Tracking(now) => now.high == tracking.high,
        _ => false,
    });
    if still { Ok(()) } else { remove(cx, tracking.names()).await }
}

fn alarm(policy: &Policy, tracking: &Tracking, name: &str, high: bool) -> cw::PutMetricAlarmInput {
    let mut queries = metric::tracked(&policy.group, &tracking.config.0);
    let period =
        queries.iter().find_map(|query| query.metric_stat.as_ref().map(|stat| stat.period)).unwrap_or(PERIOD_S);
    let (comparison, threshold, points) = if high {
        ("GreaterThanThreshold", tracking.target(), HIGH_POINTS)
    } else {
        ("LessThanThreshold", tracking.target() * LOW_SHARE, LOW_S / period.max(1))
    };
    let mut input = cw::PutMetricAlarmInput {
        alarm_name: name.to_owned(),
        alarm_description: Some(format!("DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {}.", policy.arn)),
        alarm_actions: Some(vec![policy.arn.clone()]),
        comparison_operator: Some(comparison.into()),
        threshold: Some(threshold),
        evaluation_periods: Some(points),
        ..Default::default()
    };
    let is_plain = queries.len() == 1 && queries[0].expression.is_none();
    match queries.pop().filter(|_| is_plain).and_then(|query| query.metric_stat) {
        Some(stat) if STATISTICS.contains(&stat.stat.as_str()) => {
            (input.namespace, input.metric_name) = (stat.metric.namespace, stat.metric.metric_name);
            (input.dimensions, input.period) = (stat.metric.dimensions, Some(stat.period));
            (input.statistic, input.unit) = (Some(stat.stat), stat.unit);
        }
        _ => input.metrics = Some(metric::tracked(&policy.group, &tracking.config.0)),
    }
    input
}

/// What an alarm of a policy wishes for.
pub enum Wish {
    /// Value and target of the metric that breached.
    Out(f64, f64),
    /// Those of all policies that must agree.
    In(Vec<(f64, f64)>),
}

/// When the period began whose value an alarm sees as its newest.
pub fn measured(now: Timestamp) -> Timestamp {
    let minute = i64::from(PERIOD_S) * 1000;
    Timestamp(now.0.div_euclid(minute) * minute - minute)
}

impl Wish {
    pub fn shrinks(&self) -> bool {
        matches!(self, Wish::In(_))
    }

    pub fn of(&self, standing: Standing) -> Option<i32> {
        match self {
            Wish::Out(value, target) => scale::tracked_out(standing, *value, *target),
            Wish::In(metrics) => scale::tracked_in(standing, metrics),
        }
    }

    /// What an alarm asks a policy for; `None` when it is to scale in and may not, or others do not agree.
    pub async fn gather(
        cx: &Cx,
        policy: &Policy,
        tracking: &Tracking,
        input: &ExecutePolicyInput,
    ) -> Result<Option<Wish>> {
        let (Some(value), Some(threshold)) = (input.metric_value, input.breach_threshold) else { return Ok(None) };
        if value > threshold {
            return Ok(Some(Wish::Out(value, tracking.target())));
        }
        if !tracking.scales_in() {
            return Ok(None);
        }
        let policies = cx.view(|view| view.by_index::<Policy>(cx.scope(), "group", &policy.group));
        let others = policies.iter().filter_map(|(_, other)| match &other.kind {
            Kind::Tracking(own) if other.arn != policy.arn && other.enabled && own.scales_in() => Some(own),
            _ => None,
        });
        let others: Vec<&Tracking> = others.collect();
        let mut metrics = vec![(value, tracking.target())];
        if !all_low(cx, &others).await? {
            return Ok(None);
        }
        for other in others {
            let Some(value) = recent(cx, &policy.group, other).await? else { return Ok(None) };
            metrics.push((value, other.target()));
        }
        Ok(Some(Wish::In(metrics)))
    }
}

/// Whether the low alarms of all of them are in ALARM.
async fn all_low(cx: &Cx, others: &[&Tracking]) -> Result<bool> {
    if others.is_empty() {
        return Ok(true);
    }
    let input = cw::DescribeAlarmsInput {
        alarm_names: Some(others.iter().map(|other| other.low.clone()).collect()),
        state_value: Some("ALARM".into()),
        ..Default::default()
    };
    let found = cx.call(cw::DescribeAlarms, input).await?.metric_alarms.unwrap_or_default();
    Ok(found.len() == others.len())
}

/// The newest value of a policy's metric.
async fn recent(cx: &Cx, group: &str, tracking: &Tracking) -> Result<Option<f64>> {
    let now = cx.now();
    let input = cw::GetMetricDataInput {
        metric_data_queries: metric::tracked(group, &tracking.config.0),
        start_time: now - RECENT,
        end_time: now,
        ..Default::default()
    };
    let results = cx.call(cw::GetMetricData, input).await?.metric_data_results.unwrap_or_default();
    let newest = |result: cw::MetricDataResult| {
        let times = result.timestamps.unwrap_or_default().into_iter();
        times.zip(result.values.unwrap_or_default()).max_by_key(|(at, _)| *at).map(|(_, value)| value)
    };
    Ok(results.into_iter().find_map(newest))
}
