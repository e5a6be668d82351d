//! GetMetricStatistics.

use std::collections::BTreeMap;

use standfast_api::cloudwatch::{Datapoint, Dimension, GetMetricStatisticsInput, GetMetricStatisticsOutput};
use standfast_core::{Result, Timestamp};
use standfast_kernel::Cx;

use super::errors::{combination, invalid};
use super::points::{Bucket, Key, Unit};
use super::range::{range, size};
use super::stat::Stat;

/// How many datapoints one call may give.
const DATAPOINTS_MAX: i64 = 1440;

pub async fn get(cx: Cx, input: GetMetricStatisticsInput) -> Result<GetMetricStatisticsOutput> {
    let plain = input.statistics.unwrap_or_default();
    let extended = input.extended_statistics.unwrap_or_default();
    if plain.is_empty() && extended.is_empty() {
        return Err(combination("Must specify either Statistics or ExtendedStatistics."));
    }
    let stats = parse(&plain, "Statistics", Stat::plain)?;
    let percentiles = parse(&extended, "ExtendedStatistics", Stat::extended)?;
    let now = cx.now();
    let range = range(input.start_time, input.end_time, input.period, "Period", now)?;
    let datapoints = size(range);
    if datapoints > DATAPOINTS_MAX {
        return Err(combination(format!(
            "You have requested up to {datapoints} datapoints, which exceeds the limit of {DATAPOINTS_MAX}. You may reduce \
             the datapoints requested by increasing Period, or decreasing the time range."
        )));
    }
    let unit = input.unit.as_deref().map(|name| Unit::named(name).ok_or_else(|| invalid(name, "Unit"))).transpose()?;
    let key = key(&cx, &input.namespace, &input.metric_name, input.dimensions.as_deref());
    let mut datapoints = Vec::new();
    for (found, buckets) in super::points(&cx)?.data.read(&key, range, now) {
        if unit.is_none_or(|unit| unit == found) {
            let of = |(at, bucket): (&i64, &Bucket)| datapoint(*at, bucket, found, &stats, &percentiles);
            datapoints.extend(buckets.iter().filter_map(of));
        }
    }
    datapoints.sort_by_key(|datapoint| datapoint.timestamp);
    Ok(GetMetricStatisticsOutput { label: Some(input.metric_name), datapoints: Some(datapoints) })
}

/// The key of a metric in a request's scope.
pub fn key(cx: &Cx, namespace: &str, name: &str, dimensions: Option<&[Dimension]>) -> Key {
    let dimensions = dimensions.unwrap_or_default().iter();
    Key::new(cx.scope(), namespace, name, dimensions.map(|d| (d.name.as_str(), d.value.as_str())))
}

fn parse(names: &[String], parameter: &str, read: fn(&str) -> Option<Stat>) -> Result<Vec<(String, Stat)>> {
    (names.iter().enumerate())
        .map(|(i, name)| {
            let stat = read(name).ok_or_else(|| invalid(name, format_args!("{parameter}.member.{}", i + 1)))?;
            Ok((name.clone(), stat))
        })
        .collect()
}

/// `None` when nothing that was asked for is known.
fn datapoint(
    at: i64,
    bucket: &Bucket,
    unit: Unit,
    stats: &[(String, Stat)],
    percentiles: &[(String, Stat)],
) -> Option<Datapoint> {
    let mut out =
        Datapoint { timestamp: Some(Timestamp(at * 1000)), unit: Some(unit.name().to_owned()), ..Default::default() };
    for (_, stat) in stats {
        let value = stat.of(bucket);
        match stat {
            Stat::SampleCount => out.sample_count = value,
            Stat::Average => out.average = value,
            Stat::Sum => out.sum = value,
            Stat::Minimum => out.minimum = value,
            Stat::Maximum => out.maximum = value,
            Stat::Percentile(_) | Stat::Cut(..) => {}
        }
    }
    let known: BTreeMap<String, f64> =
        percentiles.iter().filter_map(|(name, stat)| Some((name.clone(), stat.of(bucket)?))).collect();
    let any = !stats.is_empty() || !known.is_empty();
    out.extended_statistics = (!known.is_empty()).then_some(known);
    any.then_some(out)
}
