//! PutMetricAlarm: what an alarm is to be, checked.

use std::collections::{BTreeMap, BTreeSet};

use standfast_api::cloudwatch::{Dimension, MetricDataQuery, MetricStat, PutMetricAlarmInput, PutMetricAlarmOutput};
use standfast_core::{Arn, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::super::anomaly;
use super::super::errors::{combination, invalid, missing, too_many, validation};
use super::super::points::Unit;
use super::super::put::DIMENSIONS_MAX;
use super::super::stat::Stat;
use super::evaluate::{Comparison, Gaps, Rule, State};
use super::history;
use super::model::{Alarm, Condition, Kind, MetricKind, Query, Watched, Watches};

/// Actions of a state.
const ACTIONS_MAX: usize = 5;
const QUERIES_MAX: usize = 20;
/// How far back an alarm may look: a day, or a week with periods of an hour or more. In seconds.
const DAY: i64 = 24 * 3600;
const WEEK: i64 = 7 * DAY;
const HOUR: i64 = 3600;
/// Periods below a minute that alarms may have.
const FINE_PERIODS: [i32; 3] = [10, 20, 30];

pub async fn put(cx: Cx, input: PutMetricAlarmInput) -> Result<PutMetricAlarmOutput> {
    let (now, scope) = (cx.now(), cx.scope());
    let tags = input.tags.iter().flatten().map(|tag| (tag.key.clone(), tag.value.clone())).collect();
    let name = input.alarm_name.clone();
    let given = [&input.ok_actions, &input.alarm_actions, &input.insufficient_data_actions];
    let actions = actions(given, &|_| true)?;
    let metric = MetricKind {
        rule: rule(&input)?,
        watches: watches(&input)?,
        to_alarm_given: input.datapoints_to_alarm,
        missing_given: input.treat_missing_data,
        low_samples: low_samples(input.evaluate_low_sample_count_percentile)?,
        band: input.threshold_metric_id,
    };
    let expected = metric.expected();
    let span = metric.period_s() * i64::from(metric.rule.periods);
    let (most, what) = if metric.period_s() < HOUR { (DAY, "a day") } else { (WEEK, "a week") };
    if span > most {
        return Err(validation(format!(
            "Metrics cannot be checked across more than {what} (EvaluationPeriods * Period must be <= {most}); it is {span}."
        )));
    }
    let alarm = Alarm {
        arn: Arn::new("cloudwatch", scope, format!("alarm:{name}")).to_string(),
        actions,
        description: input.alarm_description,
        updated: now,
        actions_enabled: input.actions_enabled.unwrap_or(true),
        kind: Kind::Metric(metric),
        condition: Condition::initial(now),
        tags,
    };
    let seed = cx.rng().u64();
    cx.txn(|tx| {
        save(tx, scope, &name, alarm.clone(), seed)?;
        expected.iter().for_each(|single| anomaly::ensure(tx, scope, single.clone()));
        Ok(PutMetricAlarmOutput {})
    })
    .await
}

/// Writes down a new or changed alarm: what is changed keeps its state until it is evaluated, and its tags.
pub fn save(tx: &mut Txn, scope: &Scope, name: &str, mut alarm: Alarm, seed: u64) -> Result<()> {
    let old = tx.get::<Alarm>(scope, name);
    if let Some(old) = &old {
        if old.is_composite() != alarm.is_composite() {
            return Err(validation(format!("An alarm of another type with the name {name} already exists.")));
        }
        alarm.condition = old.condition.clone();
        alarm.tags = old.tags.clone();
    }
    let (verb, at) = (if old.is_some() { "updated" } else { "created" }, alarm.updated);
    tx.put(scope, name, alarm);
    history::note(tx, scope, &Rng::seeded(seed), history::configuration(name, verb, "Update", at));
    Ok(())
}

fn rule(input: &PutMetricAlarmInput) -> Result<Rule> {
    let operator = input.comparison_operator.as_deref().ok_or_else(|| missing("ComparisonOperator"))?;
    if input.evaluation_criteria.is_some() || input.evaluation_interval.is_some() {
        return Err(validation("Alarms on PromQL are not available in this version of Standfast."));
    }
    let comparison = Comparison::named(operator).ok_or_else(|| invalid(operator, "ComparisonOperator"))?;
    let threshold = match (comparison.is_of_band(), &input.threshold_metric_id, input.threshold) {
        (true, None, _) => return Err(validation(format!("{operator} needs a ThresholdMetricId."))),
        (false, Some(_), _) => return Err(validation(format!("{operator} cannot be used with a ThresholdMetricId."))),
        (true, Some(_), Some(_)) => {
            return Err(combination("Threshold and ThresholdMetricId cannot be specified together."));
        }
        // The band is in its place.
        (true, Some(_), None) => 0.0,
        (false, None, given) => given.ok_or_else(|| missing("Threshold"))?,
    };
    let periods = input.evaluation_periods.ok_or_else(|| missing("EvaluationPeriods"))?;
    let positive =
        |number: i32, name| u32::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| invalid(number, name));
    let periods = positive(periods, "EvaluationPeriods")?;
    let to_alarm = input.datapoints_to_alarm.map(|n| positive(n, "DatapointsToAlarm")).transpose()?.unwrap_or(periods);
    if to_alarm > periods {
        return Err(validation(format!(
            "DatapointsToAlarm must be less than or equal to EvaluationPeriods; it is {to_alarm} of {periods}."
        )));
    }
    let treat = input.treat_missing_data.as_deref();
    let treat = treat.map(|name| Gaps::named(name).ok_or_else(|| invalid(name, "TreatMissingData"))).transpose()?;
    Ok(Rule { comparison, threshold, periods, to_alarm, missing: treat.unwrap_or(Gaps::Missing) })
}

fn low_samples(given: Option<String>) -> Result<Option<String>> {
    match given {
        Some(other) if !["evaluate", "ignore"].contains(&other.as_str()) => {
            Err(invalid(other, "EvaluateLowSampleCountPercentile"))
        }
        given => Ok(given),
    }
}

/// Actions by state, given for OK, ALARM and INSUFFICIENT_DATA. `may` says which services an alarm may ask.
pub fn actions(given: [&Option<Vec<String>>; 3], may: &dyn Fn(&str) -> bool) -> Result<BTreeMap<State, Vec<String>>> {
    let mut actions = BTreeMap::new();
    let named = [
        (State::Ok, "OKActions"),
        (State::Alarm, "AlarmActions"),
        (State::InsufficientData, "InsufficientDataActions"),
    ];
    for ((state, name), given) in named.into_iter().zip(given) {
        let given = given.clone().unwrap_or_default();
        if given.len() > ACTIONS_MAX {
            return Err(too_many(name, ACTIONS_MAX));
        }
        for action in &given {
            let arn = action.parse::<Arn>();
            let arn = arn.map_err(|_| validation(format!("Invalid arn syntax: {action} (in {name})")))?;
            if !may(&arn.service) {
                return Err(validation(format!("An alarm of this type cannot do {action} (in {name}).")));
            }
        }
        let different: BTreeSet<&String> = given.iter().collect();
        if different.len() < given.len() {
            return Err(validation(format!("Alarm cannot have duplicate actions in {name}.")));
        }
        actions.insert(state, given);
    }
    Ok(actions)
}

fn watches(input: &PutMetricAlarmInput) -> Result<Watches> {
    let Some(queries) = input.metrics.as_ref().filter(|queries| !queries.is_empty()) else {
        return metric(input).map(Watches::Metric);
    };
    let alone = [
        ("MetricName", input.metric_name.is_some()),
        ("Namespace", input.namespace.is_some()),
        ("Statistic", input.statistic.is_some()),
        ("ExtendedStatistic", input.extended_statistic.is_some()),
        ("Dimensions", input.dimensions.as_ref().is_some_and(|all| !all.is_empty())),
        ("Period", input.period.is_some()),
        ("Unit", input.unit.is_some()),
    ];
    if let Some((name, _)) = alone.iter().find(|(_, given)| *given) {
        return Err(combination(format!("The parameter {name} cannot be used together with Metrics.")));
    }
    if queries.len() > QUERIES_MAX {
        return Err(too_many("Metrics", QUERIES_MAX));
    }
    let queries = self::queries(queries, "Metrics")?;
    let band = input.threshold_metric_id.as_ref();
    if let Some(id) = band.filter(|id| !queries.iter().any(|query| query.id == **id && query.is_band())) {
        return Err(validation(format!(
            "ThresholdMetricId {id} is not the id of an ANOMALY_DETECTION_BAND in Metrics."
        )));
    }
    if queries.iter().filter(|query| query.is_returned() && Some(&query.id) != band).count() != 1 {
        return Err(validation("Exactly one element of the metrics list should return data."));
    }
    Ok(Watches::Queries(queries))
}

/// `parameter` is what holds them.
pub fn queries(given: &[MetricDataQuery], parameter: &str) -> Result<Vec<Query>> {
    given.iter().enumerate().map(|(i, given)| query(&format!("{parameter}.member.{}", i + 1), given)).collect()
}

fn metric(input: &PutMetricAlarmInput) -> Result<Watched> {
    let stat = match (&input.statistic, &input.extended_statistic) {
        (Some(plain), None) => Stat::plain(plain).map(|_| plain).ok_or_else(|| invalid(plain, "Statistic")),
        (None, Some(more)) => Stat::extended(more).map(|_| more).ok_or_else(|| invalid(more, "ExtendedStatistic")),
        (None, None) => Err(combination("Must specify either Statistic or ExtendedStatistic.")),
        _ => Err(combination("Statistic and ExtendedStatistic cannot be specified together.")),
    }?;
    let period_s = period(input.period.ok_or_else(|| missing("Period"))?, "Period")?;
    Ok(Watched {
        namespace: input.namespace.clone().ok_or_else(|| missing("Namespace"))?,
        name: input.metric_name.clone().ok_or_else(|| missing("MetricName"))?,
        dimensions: dimensions(input.dimensions.as_deref())?,
        stat: stat.clone(),
        period_s,
        unit: unit(input.unit.clone(), "Unit")?,
    })
}

fn query(place: &str, given: &MetricDataQuery) -> Result<Query> {
    let member = |name: &str| format!("{place}.{name}");
    let read = |stat: &MetricStat| -> Result<Watched> {
        let of = &stat.metric;
        Stat::named(&stat.stat).ok_or_else(|| invalid(&stat.stat, member("MetricStat.Stat")))?;
        Ok(Watched {
            namespace: of.namespace.clone().ok_or_else(|| missing(member("MetricStat.Metric.Namespace")))?,
            name: of.metric_name.clone().ok_or_else(|| missing(member("MetricStat.Metric.MetricName")))?,
            dimensions: dimensions(of.dimensions.as_deref())?,
            stat: stat.stat.clone(),
            period_s: period(stat.period, &member("MetricStat.Period"))?,
            unit: unit(stat.unit.clone(), &member("MetricStat.Unit"))?,
        })
    };
    Ok(Query {
        id: given.id.clone(),
        metric: given.metric_stat.as_ref().map(read).transpose()?,
        expression: given.expression.clone(),
        label: given.label.clone(),
        period_s: given.period.map(|given| period(given, &member("Period"))).transpose()?,
        returned: given.return_data,
        account: given.account_id.clone(),
    })
}

fn period(seconds: i32, parameter: &str) -> Result<i32> {
    if FINE_PERIODS.contains(&seconds) || seconds > 0 && seconds % 60 == 0 {
        return Ok(seconds);
    }
    Err(validation(format!("The parameter {parameter} must be 10, 20, 30 or a multiple of 60; it is {seconds}.")))
}

fn unit(given: Option<String>, parameter: &str) -> Result<Option<String>> {
    match given {
        Some(name) if Unit::named(&name).is_none() => Err(invalid(name, parameter)),
        given => Ok(given),
    }
}

fn dimensions(given: Option<&[Dimension]>) -> Result<Vec<(String, String)>> {
    let given = given.unwrap_or_default();
    if given.len() > DIMENSIONS_MAX {
        return Err(too_many("Dimensions", DIMENSIONS_MAX));
    }
    Ok(given.iter().map(|dimension| (dimension.name.clone(), dimension.value.clone())).collect())
}
