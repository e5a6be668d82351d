//! An instruction of a plan as policies of autoscaling. Pure.

use standfast_api::autoscaling as asg;
use standfast_api::autoscaling_plans as api;

const RESOURCE: &str = "autoScalingGroup/";
const NAMESPACE: &str = "autoscaling";
const DIMENSION: &str = "autoscaling:autoScalingGroup:DesiredCapacity";

/// The group that an instruction is for, if it is for one.
pub fn group(instruction: &api::ScalingInstruction) -> Option<&str> {
    let fits = instruction.service_namespace == NAMESPACE && instruction.scalable_dimension == DIMENSION;
    instruction.resource_id.strip_prefix(RESOURCE).filter(|_| fits)
}

/// The name of a plan's policy: by the place of its configuration, or of its forecast.
pub fn tracking_name(plan: &str, at: usize) -> String {
    format!("AutoScaling-{plan}-{at}")
}

pub fn predictive_name(plan: &str) -> String {
    format!("AutoScaling-{plan}-predictive")
}

/// All policies that an instruction makes.
pub fn wanted(plan: &str, group: &str, instruction: &api::ScalingInstruction) -> Vec<asg::PutScalingPolicyInput> {
    let dynamic = instruction.disable_dynamic_scaling != Some(true);
    let configs = instruction.target_tracking_configurations.iter().filter(|_| dynamic).enumerate();
    let tracked = configs.map(|(at, config)| asg::PutScalingPolicyInput {
        auto_scaling_group_name: group.to_owned(),
        policy_name: tracking_name(plan, at),
        policy_type: Some("TargetTrackingScaling".into()),
        estimated_instance_warmup: config.estimated_instance_warmup,
        target_tracking_configuration: Some(tracking(config)),
        ..Default::default()
    });
    let predicted = predictive(instruction).map(|config| asg::PutScalingPolicyInput {
        auto_scaling_group_name: group.to_owned(),
        policy_name: predictive_name(plan),
        policy_type: Some("PredictiveScaling".into()),
        predictive_scaling_configuration: Some(config),
        ..Default::default()
    });
    tracked.chain(predicted).collect()
}

fn tracking(config: &api::TargetTrackingConfiguration) -> asg::TargetTrackingConfiguration {
    let predefined = config.predefined_scaling_metric_specification.as_ref();
    let custom = config.customized_scaling_metric_specification.as_ref();
    asg::TargetTrackingConfiguration {
        predefined_metric_specification: predefined.map(|own| asg::PredefinedMetricSpecification {
            predefined_metric_type: own.predefined_scaling_metric_type.clone(),
            resource_label: own.resource_label.clone(),
        }),
        customized_metric_specification: custom.map(|own| asg::CustomizedMetricSpecification {
            metric_name: Some(own.metric_name.clone()),
            namespace: Some(own.namespace.clone()),
            dimensions: own.dimensions.as_deref().map(dimensions),
            statistic: Some(own.statistic.clone()),
            unit: own.unit.clone(),
            ..Default::default()
        }),
        target_value: config.target_value,
        disable_scale_in: config.disable_scale_in,
    }
}

fn dimensions(own: &[api::MetricDimension]) -> Vec<asg::MetricDimension> {
    own.iter().map(|own| asg::MetricDimension { name: own.name.clone(), value: own.value.clone() }).collect()
}

/// The settings of a forecast, where a load metric is given; the scaling metric is the first that is tracked.
fn predictive(instruction: &api::ScalingInstruction) -> Option<asg::PredictiveScalingConfiguration> {
    let load = instruction.predefined_load_metric_specification.as_ref();
    let custom = instruction.customized_load_metric_specification.as_ref();
    let tracked = instruction.target_tracking_configurations.first()?;
    let scaling = tracked.predefined_scaling_metric_specification.as_ref()?;
    if load.is_none() && custom.is_none() {
        return None;
    }
    let spec = asg::PredictiveScalingMetricSpecification {
        target_value: tracked.target_value,
        predefined_load_metric_specification: load.map(|own| asg::PredictiveScalingPredefinedLoadMetric {
            predefined_metric_type: own.predefined_load_metric_type.clone(),
            resource_label: own.resource_label.clone(),
        }),
        customized_load_metric_specification: custom
            .map(|own| asg::PredictiveScalingCustomizedLoadMetric { metric_data_queries: vec![query(own)] }),
        predefined_scaling_metric_specification: Some(asg::PredictiveScalingPredefinedScalingMetric {
            predefined_metric_type: scaling.predefined_scaling_metric_type.clone(),
            resource_label: scaling.resource_label.clone(),
        }),
        ..Default::default()
    };
    let grows = instruction.predictive_scaling_max_capacity_behavior.as_deref();
    let grows = grows.filter(|behaviour| *behaviour != "SetForecastCapacityToMaxCapacity");
    let buffer = instruction.predictive_scaling_max_capacity_buffer.unwrap_or_default();
    Some(asg::PredictiveScalingConfiguration {
        metric_specifications: vec![spec],
        mode: Some(instruction.predictive_scaling_mode.clone().unwrap_or_else(|| "ForecastAndScale".into())),
        scheduling_buffer_time: instruction.scheduled_action_buffer_time,
        max_capacity_breach_behavior: grows.map(|_| "IncreaseMaxCapacity".into()),
        max_capacity_buffer: grows.map(|_| buffer),
    })
}

fn query(own: &api::CustomizedLoadMetricSpecification) -> asg::MetricDataQuery {
    let metric = asg::Metric {
        namespace: own.namespace.clone(),
        metric_name: own.metric_name.clone(),
        dimensions: own.dimensions.as_deref().map(dimensions),
    };
    asg::MetricDataQuery {
        id: "load".into(),
        metric_stat: Some(asg::MetricStat { metric, stat: own.statistic.clone(), unit: own.unit.clone() }),
        ..Default::default()
    }
}
