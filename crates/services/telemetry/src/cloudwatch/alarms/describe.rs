//! DescribeAlarms and DescribeAlarmsForMetric.

use standfast_api::cloudwatch as api;
use standfast_core::Result;
use standfast_core::page::page;
use standfast_kernel::Cx;

use super::super::errors::invalid;
use super::super::stat::Stat;
use super::evaluate::State;
use super::model::{Alarm, Query, Watched, Watches};
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
    let names = input.alarm_names.unwrap_or_default();
    let wanted = types::wanted(input.alarm_types.as_deref())?;
    // Metric alarms have neither children nor, without composite alarms, parents.
    let relatives = input.children_of_alarm_name.is_some() || input.parents_of_alarm_name.is_some();
    let fits = |name: &str, alarm: &Alarm| {
        (names.is_empty() || names.iter().any(|one| one == name))
            && input.alarm_name_prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && state.is_none_or(|state| state == alarm.condition.state)
            && input
                .action_prefix
                .as_ref()
                .is_none_or(|prefix| alarm.actions.values().flatten().any(|action| action.starts_with(prefix)))
    };
    let mut found = cx.view(|view| view.list::<Alarm>(cx.scope()));
    found.retain(|(name, alarm)| wanted.metric && !relatives && fits(name, alarm));
    let page =
        page(found, |(name, _)| name.to_string(), input.next_token.as_deref(), limit as usize, "InvalidNextToken")?;
    let alarms = page.items.iter().map(|(name, alarm)| shape(name, alarm)).collect();
    Ok(api::DescribeAlarmsOutput {
        metric_alarms: Some(alarms),
        composite_alarms: Some(Vec::new()),
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
    let fits = |alarm: &Alarm| match &alarm.watches {
        Watches::Metric(watched) => watches(watched),
        Watches::Queries(queries) => queries.iter().filter_map(|query| query.metric.as_ref()).any(watches),
    };
    let found = cx.view(|view| view.list::<Alarm>(cx.scope()));
    let alarms = found.iter().filter(|(_, alarm)| fits(alarm)).map(|(name, alarm)| shape(name, alarm)).collect();
    Ok(api::DescribeAlarmsForMetricOutput { metric_alarms: Some(alarms) })
}

fn of(dimensions: Option<&[api::Dimension]>) -> Vec<(String, String)> {
    dimensions.unwrap_or_default().iter().map(|one| (one.name.clone(), one.value.clone())).collect()
}

fn shape(name: &str, alarm: &Alarm) -> api::MetricAlarm {
    let actions = |state| Some(alarm.actions.get(&state).cloned().unwrap_or_default());
    let (condition, rule) = (&alarm.condition, &alarm.rule);
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
        datapoints_to_alarm: alarm.to_alarm_given,
        threshold: Some(rule.threshold),
        comparison_operator: Some(rule.comparison.name().to_owned()),
        treat_missing_data: alarm.missing_given.clone(),
        evaluate_low_sample_count_percentile: alarm.low_samples.clone(),
        ..Default::default()
    };
    match &alarm.watches {
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
