//! Processes that can be suspended, and metrics that can be collected.

use standfast_api::autoscaling::{
    DescribeMetricCollectionTypesAnswer, DescribeMetricCollectionTypesInput, DescribeScalingProcessTypesInput,
    DisableMetricsCollectionOutput, DisableMetricsCollectionQuery, EnableMetricsCollectionOutput,
    EnableMetricsCollectionQuery, MetricCollectionType, MetricGranularityType, ProcessType, ProcessesType,
    ResumeProcessesOutput, ScalingProcessQuery, SuspendProcessesOutput,
};
use standfast_core::Result;
use standfast_kernel::Cx;

use super::convert::METRIC_GRANULARITY;
use super::errors::validation;
use super::group_metrics::METRICS;
use super::groups::live;
use super::model::Process;

fn processes(names: Option<&Vec<String>>) -> Result<Vec<Process>> {
    let Some(names) = names.filter(|names| !names.is_empty()) else { return Ok(Process::ALL.to_vec()) };
    let process = |name: &String| {
        let message = || validation(format!("The process '{name}' is not valid."));
        Process::named(name).ok_or_else(message)
    };
    names.iter().map(process).collect()
}

pub async fn suspend(cx: Cx, input: ScalingProcessQuery) -> Result<SuspendProcessesOutput> {
    let processes = processes(input.scaling_processes.as_ref())?;
    let reason = format!("User suspended at {}", cx.now().iso8601_seconds());
    cx.txn(|tx| {
        let mut group = live(tx, &cx, &input.auto_scaling_group_name)?;
        for process in &processes {
            group.suspended.entry(*process).or_insert_with(|| reason.clone());
        }
        tx.put(cx.scope(), &input.auto_scaling_group_name, group);
        Ok(())
    })
    .await?;
    Ok(SuspendProcessesOutput {})
}

pub async fn resume(cx: Cx, input: ScalingProcessQuery) -> Result<ResumeProcessesOutput> {
    let processes = processes(input.scaling_processes.as_ref())?;
    cx.txn(|tx| {
        let mut group = live(tx, &cx, &input.auto_scaling_group_name)?;
        group.suspended.retain(|process, _| !processes.contains(process));
        tx.put(cx.scope(), &input.auto_scaling_group_name, group);
        Ok(())
    })
    .await?;
    Ok(ResumeProcessesOutput {})
}

pub async fn describe_types(_: Cx, _: DescribeScalingProcessTypesInput) -> Result<ProcessesType> {
    let all = Process::ALL.iter().map(|process| ProcessType { process_name: process.name().into() });
    Ok(ProcessesType { processes: Some(all.collect()) })
}

pub async fn enable_metrics(cx: Cx, input: EnableMetricsCollectionQuery) -> Result<EnableMetricsCollectionOutput> {
    if input.granularity != METRIC_GRANULARITY {
        return Err(validation(format!("The granularity '{}' is not valid; use 1Minute.", input.granularity)));
    }
    let metrics = metrics(input.metrics.as_ref())?;
    cx.txn(|tx| {
        let mut group = live(tx, &cx, &input.auto_scaling_group_name)?;
        group.metrics.extend(metrics.iter().cloned());
        tx.put(cx.scope(), &input.auto_scaling_group_name, group);
        Ok(())
    })
    .await?;
    Ok(EnableMetricsCollectionOutput {})
}

pub async fn disable_metrics(cx: Cx, input: DisableMetricsCollectionQuery) -> Result<DisableMetricsCollectionOutput> {
    let metrics = metrics(input.metrics.as_ref())?;
    cx.txn(|tx| {
        let mut group = live(tx, &cx, &input.auto_scaling_group_name)?;
        group.metrics.retain(|metric| !metrics.contains(metric));
        tx.put(cx.scope(), &input.auto_scaling_group_name, group);
        Ok(())
    })
    .await?;
    Ok(DisableMetricsCollectionOutput {})
}

fn metrics(names: Option<&Vec<String>>) -> Result<Vec<String>> {
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Ok(METRICS.iter().map(|(name, _)| (*name).to_owned()).collect());
    };
    if let Some(name) = names.iter().find(|name| !METRICS.iter().any(|(known, _)| known == name)) {
        return Err(validation(format!("The metric '{name}' is not valid.")));
    }
    Ok(names.clone())
}

pub async fn describe_metric_types(
    _: Cx,
    _: DescribeMetricCollectionTypesInput,
) -> Result<DescribeMetricCollectionTypesAnswer> {
    let metrics = METRICS.iter().map(|(name, _)| MetricCollectionType { metric: Some((*name).to_owned()) });
    let granularity = MetricGranularityType { granularity: Some(METRIC_GRANULARITY.into()) };
    Ok(DescribeMetricCollectionTypesAnswer { metrics: Some(metrics.collect()), granularities: Some(vec![granularity]) })
}
