//! Predictive scaling's settings, checked, and the metrics that they name.

use standfast_api::autoscaling as api;
use standfast_api::cloudwatch as cw;
use standfast_core::Result;

use super::super::metric;
use super::forecast::HOUR_S;
use crate::autoscaling::errors::validation;

pub const SCALES: &str = "ForecastAndScale";
pub const BUFFER_S: i32 = 300;
pub const INCREASES: &str = "IncreaseMaxCapacity";
const BUFFER_MAX_S: i32 = 3600;
const MAX_BUFFER_PERCENT: i32 = 100;
const PERIOD: i32 = HOUR_S as i32;

type Spec = api::PredictiveScalingMetricSpecification;

/// Checks a configuration.
pub fn check(config: &api::PredictiveScalingConfiguration) -> Result<()> {
    let [spec] = &config.metric_specifications[..] else {
        let count = config.metric_specifications.len();
        return Err(validation(format!("MetricSpecifications must have exactly one member; it has {count}.")));
    };
    if !(spec.target_value.is_finite() && spec.target_value > 0.0) {
        return Err(validation(format!("TargetValue {} must be greater than 0.", spec.target_value)));
    }
    check_metrics(spec)?;
    if let Some(seconds) = config.scheduling_buffer_time.filter(|seconds| !(0..=BUFFER_MAX_S).contains(seconds)) {
        return Err(validation(format!(
            "SchedulingBufferTime {seconds} must be between 0 and {BUFFER_MAX_S} seconds."
        )));
    }
    let increases = config.max_capacity_breach_behavior.as_deref() == Some(INCREASES);
    match config.max_capacity_buffer {
        Some(_) if !increases => {
            Err(validation(format!("MaxCapacityBuffer is only valid with MaxCapacityBreachBehavior {INCREASES}.")))
        }
        None if increases => {
            Err(validation(format!("MaxCapacityBuffer is required with MaxCapacityBreachBehavior {INCREASES}.")))
        }
        Some(percent) if !(0..=MAX_BUFFER_PERCENT).contains(&percent) => {
            Err(validation(format!("MaxCapacityBuffer {percent} must be between 0 and {MAX_BUFFER_PERCENT}.")))
        }
        _ => Ok(()),
    }
}

fn check_metrics(spec: &Spec) -> Result<()> {
    let scaling = [
        spec.predefined_scaling_metric_specification.is_some(),
        spec.customized_scaling_metric_specification.is_some(),
    ];
    let load =
        [spec.predefined_load_metric_specification.is_some(), spec.customized_load_metric_specification.is_some()];
    let count = |given: [bool; 2]| given.iter().filter(|given| **given).count();
    let fits = match &spec.predefined_metric_pair_specification {
        Some(_) => count(scaling) + count(load) == 0,
        None => count(scaling) == 1 && count(load) == 1,
    };
    if !fits {
        return Err(validation(
            "A metric specification must have either PredefinedMetricPairSpecification, or one scaling metric and one load \
             metric.",
        ));
    }
    if spec.customized_capacity_metric_specification.is_some() && spec.customized_scaling_metric_specification.is_none()
    {
        return Err(validation(
            "CustomizedCapacityMetricSpecification is only valid with CustomizedScalingMetricSpecification.",
        ));
    }
    let labelled = [
        spec.predefined_metric_pair_specification
            .as_ref()
            .map(|own| (&own.predefined_metric_type, &own.resource_label)),
        spec.predefined_scaling_metric_specification
            .as_ref()
            .map(|own| (&own.predefined_metric_type, &own.resource_label)),
        spec.predefined_load_metric_specification
            .as_ref()
            .map(|own| (&own.predefined_metric_type, &own.resource_label)),
    ];
    for (type_, label) in labelled.into_iter().flatten() {
        metric::check_label(type_, label.as_deref())?;
    }
    for queries in customized(spec).into_iter().flatten() {
        metric::check_queries(queries.iter().map(|query| {
            let (metric, expression) = (query.metric_stat.is_some(), query.expression.is_some());
            (query.id.as_str(), metric, expression, query.return_data.unwrap_or(true))
        }))?;
    }
    Ok(())
}

/// The queries of the load, scaling and capacity metrics that are not predefined.
fn customized(spec: &Spec) -> [Option<&Vec<api::MetricDataQuery>>; 3] {
    [
        spec.customized_load_metric_specification.as_ref().map(|own| &own.metric_data_queries),
        spec.customized_scaling_metric_specification.as_ref().map(|own| &own.metric_data_queries),
        spec.customized_capacity_metric_specification.as_ref().map(|own| &own.metric_data_queries),
    ]
}

/// What is asked of cloudwatch, an hour a point.
pub struct Metrics {
    pub load: Vec<cw::MetricDataQuery>,
    /// Of settings that say how capacity is measured: the scaling metric and the capacity.
    pub learnt: Option<(Vec<cw::MetricDataQuery>, Vec<cw::MetricDataQuery>)>,
}

pub fn metrics(group: &str, spec: &Spec) -> Metrics {
    let [load, scaling, capacity] =
        customized(spec).map(|queries| queries.map(|queries| queries.iter().map(query).collect()));
    Metrics { load: load.unwrap_or_else(|| vec![predefined(group, spec)]), learnt: scaling.zip(capacity) }
}

/// The load metric that a pair or a load specification names.
fn predefined(group: &str, spec: &Spec) -> cw::MetricDataQuery {
    let pair = spec.predefined_metric_pair_specification.as_ref();
    let load = spec.predefined_load_metric_specification.as_ref();
    let named = pair.map(|own| (own.predefined_metric_type.as_str(), own.resource_label.as_deref()));
    let named = named.or(load.map(|own| (own.predefined_metric_type.as_str(), own.resource_label.as_deref())));
    let (type_, label) = named.unwrap_or_default();
    match type_ {
        "ASGNetworkIn" | "ASGTotalNetworkIn" => metric::of_group(group, "NetworkIn", "Sum", PERIOD),
        "ASGNetworkOut" | "ASGTotalNetworkOut" => metric::of_group(group, "NetworkOut", "Sum", PERIOD),
        "ALBRequestCount" | "ALBTargetGroupRequestCount" => {
            metric::of_target_group(label.unwrap_or_default(), "RequestCount", "Sum", PERIOD)
        }
        _ => metric::of_group(group, "CPUUtilization", "Sum", PERIOD),
    }
}

fn query(own: &api::MetricDataQuery) -> cw::MetricDataQuery {
    let stat = |own: &api::MetricStat| cw::MetricStat {
        metric: metric::metric(&own.metric),
        period: PERIOD,
        stat: own.stat.clone(),
        unit: own.unit.clone(),
    };
    cw::MetricDataQuery {
        id: own.id.clone(),
        metric_stat: own.metric_stat.as_ref().map(stat),
        expression: own.expression.clone(),
        label: own.label.clone(),
        return_data: Some(own.return_data.unwrap_or(true)),
        ..Default::default()
    }
}
