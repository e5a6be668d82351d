//! Charts of CloudWatch's metrics.

use std::time::Duration;

use standfast_api::cloudwatch as api;
use standfast_chart::Points;
use standfast_core::{Result, Timestamp};
use standfast_kernel::Cx;

/// A line of a chart: the metric's namespace, name, dimensions and statistic, over periods of so many seconds.
pub struct Wanted<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub dimensions: &'a [(&'a str, &'a str)],
    pub stat: &'a str,
    pub period_s: i32,
}

/// The points of metrics between two moments, one list for each. Where periods have no value the line is interrupted.
pub async fn read(cx: &Cx, wanted: &[Wanted<'_>], from: Timestamp, to: Timestamp) -> Result<Vec<Points>> {
    let queries = wanted.iter().enumerate().map(|(at, one)| query(at, one)).collect();
    let answer = ask(cx, queries, from, to).await?;
    Ok(wanted.iter().enumerate().map(|(at, one)| points(&answer, &name(at), one.period_s)).collect())
}

/// How long a load balancer's targets took, by the minute, in milliseconds: p50 and p99.
pub async fn target_times(cx: &Cx, dimension: &str, from: Timestamp, to: Timestamp) -> Result<(Points, Points)> {
    let dimensions = [("LoadBalancer", dimension)];
    let wanted = ["p50", "p99"].map(|stat| Wanted {
        namespace: "AWS/ApplicationELB",
        name: "TargetResponseTime",
        dimensions: &dimensions,
        stat,
        period_s: 60,
    });
    let mut points = read(cx, &wanted, from, to).await?.into_iter().map(|points| {
        let ms = |(at, seconds): (Timestamp, Option<f64>)| (at, seconds.map(|seconds| seconds * 1000.0));
        points.into_iter().map(ms).collect::<Points>()
    });
    Ok((points.next().unwrap_or_default(), points.next().unwrap_or_default()))
}

fn name(at: usize) -> String {
    format!("m{at}")
}

fn query(at: usize, one: &Wanted) -> api::MetricDataQuery {
    let dimension = |(name, value): &(&str, &str)| api::Dimension { name: (*name).into(), value: (*value).into() };
    let metric = api::Metric {
        namespace: Some(one.namespace.into()),
        metric_name: Some(one.name.into()),
        dimensions: Some(one.dimensions.iter().map(dimension).collect()),
    };
    let stat = api::MetricStat { metric, period: one.period_s, stat: one.stat.into(), unit: None };
    api::MetricDataQuery { id: name(at), metric_stat: Some(stat), return_data: Some(true), ..Default::default() }
}

/// The results of queries, also of an alarm's own.
pub async fn ask(
    cx: &Cx,
    queries: Vec<api::MetricDataQuery>,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<api::MetricDataResult>> {
    let input = api::GetMetricDataInput {
        metric_data_queries: queries,
        start_time: from,
        end_time: to,
        scan_by: Some("TimestampAscending".into()),
        ..Default::default()
    };
    Ok(cx.call(api::GetMetricData, input).await?.metric_data_results.unwrap_or_default())
}

/// The points of a result, in order of time.
pub fn points(results: &[api::MetricDataResult], id: &str, period_s: i32) -> Points {
    let Some(result) = results.iter().find(|result| result.id.as_deref() == Some(id)) else { return Vec::new() };
    let times = result.timestamps.iter().flatten().copied();
    let mut known: Vec<(Timestamp, f64)> = times.zip(result.values.iter().flatten().copied()).collect();
    known.sort_by_key(|(at, _)| *at);
    let gap = Duration::from_secs(u64::try_from(period_s).unwrap_or(60)).mul_f64(1.5);
    let mut out = Points::new();
    for (at, value) in known {
        if let Some((before, Some(_))) = out.last()
            && at.since(*before) > gap
        {
            out.push((*before + gap, None));
        }
        out.push((at, Some(value)));
    }
    out
}
