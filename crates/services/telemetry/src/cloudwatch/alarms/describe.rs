//! DescribeAlarms and DescribeAlarmsForMetric.

use standfast_api::cloudwatch as api;
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;

use super::super::errors::{invalid, validation};
use super::super::stat::Stat;
use super::composite;
use super::evaluate::State;
use super::model::{Alarm, Kind, MetricKind, Query, Watched, Watches};
use super::types;

const PAGE_MAX: i32 = 100;
const PAGE: i32 = 50;

pub async fn describe(cx: Cx, input: api::DescribeAlarmsInput) -> Result<api::DescribeAlarmsOutput> {
    let state = input.state_value.as_deref();
    let state = state.map(|name| State::named(name).ok_or_else(|| invalid(name, "StateValue"))).transpose()?;
    let limit = input.max_records.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid(limit, "MaxRecords"));
    }
    let token = input.next_token.as_deref();
    if input.children_of_alarm_name.is_some() || input.parents_of_alarm_name.is_some() {
        return relatives(&cx, &input, limit as usize);
    }
    let names = input.alarm_names.clone().unwrap_or_default();
    if !names.is_empty() && input.alarm_name_prefix.is_some() {
        return Err(validation("AlarmNames and AlarmNamePrefix cannot be specified together."));
    }
    let wanted = types::wanted(input.alarm_types.as_deref())?;
    let fits = |name: &str, alarm: &Alarm| {
        (names.is_empty() || names.iter().any(|one| one == name))
            && input.alarm_name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && state.is_none_or(|state| state == alarm.condition.state)
            && input
                .action_prefix
                .as_ref()
                .is_none_or(|prefix| alarm.all_actions().any(|action| action.starts_with(prefix)))
            && (if alarm.is_composite() { wanted.composite } else { wanted.metric })
    };
    let mut found = cx.view(|view| view.list::<Alarm>(cx.scope()));
    found.retain(|(name, alarm)| fits(name, alarm));
    let page = page(found, |(name, _)| name.to_string(), token, limit as usize, "InvalidNextToken")?;
    let (mut metric_alarms, mut composite_alarms) = (Vec::new(), Vec::new());
    for (name, alarm) in &page.items {
        match &alarm.kind {
            Kind::Metric(metric) => metric_alarms.push(shape(name, alarm, metric)),
            Kind::Composite(composite) => composite_alarms.push(composite::shape(name, alarm, composite)),
        }
    }
    Ok(api::DescribeAlarmsOutput {
        metric_alarms: Some(metric_alarms),
        composite_alarms: Some(composite_alarms),
        next_token: page.next,
    })
}

/// The alarms in a composite alarm's rule, or those whose rule has an alarm, with little of each.
fn relatives(cx: &Cx, input: &api::DescribeAlarmsInput, limit: usize) -> Result<api::DescribeAlarmsOutput> {
    let others = [
        ("AlarmNames", input.alarm_names.as_ref().is_some_and(|names| !names.is_empty())),
        ("AlarmNamePrefix", input.alarm_name_prefix.is_some()),
        ("AlarmTypes", input.alarm_types.as_ref().is_some_and(|types| !types.is_empty())),
        ("StateValue", input.state_value.is_some()),
        ("ActionPrefix", input.action_prefix.is_some()),
        ("ParentsOfAlarmName", input.children_of_alarm_name.is_some() && input.parents_of_alarm_name.is_some()),
    ];
    let (of, children) = match (&input.children_of_alarm_name, &input.parents_of_alarm_name) {
        (Some(of), _) => (of, true),
        (None, of) => (of.as_ref().expect("one of the two is given"), false),
    };
    let asked = if children { "ChildrenOfAlarmName" } else { "ParentsOfAlarmName" };
    if let Some((name, _)) = others.iter().find(|(_, given)| *given) {
        return Err(validation(format!("{name} cannot be specified together with {asked}.")));
    }
    let all = cx.view(|view| view.list::<Alarm>(cx.scope()));
    let asked = all.iter().find(|(name, _)| **name == **of).map(|(_, alarm)| alarm.clone());
    let own = asked.as_ref().and_then(|alarm| alarm.composite()).map(|composite| composite.children.as_slice());
    let own = own.unwrap_or_default();
    let fits = |name: &str, alarm: &Alarm| match children {
        true => own.iter().any(|child| child == name),
        false => alarm.composite().is_some_and(|composite| composite.children.contains(of)),
    };
    let found = all.into_iter().filter(|(name, alarm)| fits(name, alarm));
    let page = page(found, |(name, _)| name.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let (mut metric_alarms, mut composite_alarms) = (Vec::new(), Vec::new());
    for (name, alarm) in page.items {
        let (name, arn) = (Some(name.to_string()), Some(alarm.arn.clone()));
        let state = children.then(|| alarm.condition.state.name().to_owned());
        let updated = children.then_some(alarm.condition.updated);
        if alarm.is_composite() {
            composite_alarms.push(api::CompositeAlarm {
                alarm_name: name,
                alarm_arn: arn,
                state_value: state,
                state_updated_timestamp: updated,
                ..Default::default()
            });
        } else {
            metric_alarms.push(api::MetricAlarm {
                alarm_name: name,
                alarm_arn: arn,
                state_value: state,
                state_updated_timestamp: updated,
                ..Default::default()
            });
        }
    }
    Ok(api::DescribeAlarmsOutput {
        metric_alarms: Some(metric_alarms),
        composite_alarms: Some(composite_alarms),
        next_token: page.next,
    })
}

pub async fn for_metric(
    cx: Cx,
    input: api::DescribeAlarmsForMetricInput,
) -> Result<api::DescribeAlarmsForMetricOutput> {
    let mut dimensions = of(input.dimensions.as_deref());
    dimensions.sort();
    let stat = input.statistic.or(input.extended_statistic);
    let watches = |watched: &Watched| {
        let mut own = watched.dimensions.clone();
        own.sort();
        watched.name == input.metric_name
            && watched.namespace == input.namespace
            && own == dimensions
            && stat.as_ref().is_none_or(|stat| *stat == watched.stat)
            && input.period.is_none_or(|period| period == watched.period_s)
            && input.unit.as_ref().is_none_or(|unit| watched.unit.as_ref() == Some(unit))
    };
    let fits = |metric: &MetricKind| match &metric.watches {
        Watches::Metric(watched) => watches(watched),
        Watches::Queries(queries) => queries.iter().filter_map(|query| query.metric.as_ref()).any(watches),
    };
    let found = cx.view(|view| view.list::<Alarm>(cx.scope()));
    let alarms = found.iter().filter_map(|(name, alarm)| {
        let metric = alarm.metric().filter(|metric| fits(metric))?;
        Some(shape(name, alarm, metric))
    });
    let alarms = alarms.collect();
    Ok(api::DescribeAlarmsForMetricOutput { metric_alarms: Some(alarms) })
}

fn of(dimensions: Option<&[api::Dimension]>) -> Vec<(String, String)> {
    dimensions.unwrap_or_default().iter().map(|one| (one.name.clone(), one.value.clone())).collect()
}

fn shape(name: &str, alarm: &Alarm, kind: &MetricKind) -> api::MetricAlarm {
    let actions = |state| Some(alarm.actions.get(&state).cloned().unwrap_or_default());
    let (condition, rule) = (&alarm.condition, &kind.rule);
    let mut shape = api::MetricAlarm {
        alarm_name: Some(name.to_owned()),
        alarm_arn: Some(alarm.arn.clone()),
        alarm_description: alarm.description.clone(),
        alarm_configuration_updated_timestamp: Some(alarm.updated),
        actions_enabled: Some(alarm.actions_enabled),
        ok_actions: actions(State::Ok),
        alarm_actions: actions(State::Alarm),
        insufficient_data_actions: actions(State::InsufficientData),
        state_value: Some(condition.state.name().to_owned()),
        state_reason: Some(condition.reason.clone()),
        state_reason_data: condition.data.clone(),
        state_updated_timestamp: Some(condition.updated),
        state_transitioned_timestamp: Some(condition.transitioned),
        dimensions: Some(Vec::new()),
        evaluation_periods: Some(rule.periods as i32),
        datapoints_to_alarm: kind.to_alarm_given,
        threshold: kind.band.is_none().then_some(rule.threshold),
        threshold_metric_id: kind.band.clone(),
        comparison_operator: Some(rule.comparison.name().to_owned()),
        treat_missing_data: kind.missing_given.clone(),
        evaluate_low_sample_count_percentile: kind.low_samples.clone(),
        ..Default::default()
    };
    match &kind.watches {
        Watches::Metric(watched) => {
            let metric = metric(watched);
            (shape.namespace, shape.metric_name, shape.dimensions) =
                (metric.namespace, metric.metric_name, metric.dimensions);
            (shape.period, shape.unit) = (Some(watched.period_s), watched.unit.clone());
            let stat = Some(watched.stat.clone());
            (shape.statistic, shape.extended_statistic) =
                if Stat::plain(&watched.stat).is_some() { (stat, None) } else { (None, stat) };
        }
        Watches::Queries(queries) => shape.metrics = Some(queries.iter().map(query).collect()),
    }
    shape
}

fn metric(watched: &Watched) -> api::Metric {
    let dimension = |(name, value): &(String, String)| api::Dimension { name: name.clone(), value: value.clone() };
    api::Metric {
        namespace: Some(watched.namespace.clone()),
        metric_name: Some(watched.name.clone()),
        dimensions: Some(watched.dimensions.iter().map(dimension).collect()),
    }
}

/// As it was given.
pub fn query(query: &Query) -> api::MetricDataQuery {
    let stat = |watched: &Watched| api::MetricStat {
        metric: metric(watched),
        period: watched.period_s,
        stat: watched.stat.clone(),
        unit: watched.unit.clone(),
    };
    api::MetricDataQuery {
        id: query.id.clone(),
        metric_stat: query.metric.as_ref().map(stat),
        expression: query.expression.clone(),
        label: query.label.clone(),
        return_data: query.returned,
        period: query.period_s,
        account_id: query.account.clone(),
    }
}
