//! GetMetricData: statistics of many metrics at once, and arithmetic over them.

mod pages;
mod queries;

use std::collections::BTreeMap;

use standfast_api::cloudwatch::{GetMetricDataInput, GetMetricDataOutput, MetricDataQuery, MetricDataResult};
use standfast_core::{Result, Timestamp};
use standfast_kernel::Cx;

use self::queries::{Query, Source};
use super::errors::{invalid, validation};
use super::expression::{Points, Results, Value, eval};
use super::points::Range;
use super::range;
use super::stat::Stat;

/// How many datapoints one call may give, and the queries may span.
const DATAPOINTS_MAX: i32 = 100_800;

pub async fn get(cx: Cx, input: GetMetricDataInput) -> Result<GetMetricDataOutput> {
    let limit = input.max_datapoints.unwrap_or(DATAPOINTS_MAX);
    if !(1..=DATAPOINTS_MAX).contains(&limit) {
        return Err(invalid(limit, "MaxDatapoints"));
    }
    let ascending = match input.scan_by.as_deref() {
        None | Some("TimestampDescending") => false,
        Some("TimestampAscending") => true,
        Some(other) => return Err(invalid(other, "ScanBy")),
    };
    range::check_times(input.start_time, input.end_time)?;
    let queries = queries::parse(&cx, input.metric_data_queries)?;
    let request = Request { cx: &cx, start: input.start_time, end: input.end_time, now: cx.now() };
    let mut computing = Computing { request, queries: &queries, done: BTreeMap::new(), under_way: Vec::new() };
    let mut results = Vec::new();
    for query in queries.iter().filter(|query| query.wanted) {
        computing.compute(query)?;
        results.extend(computing.results(query, ascending)?);
    }
    let page = pages::cut(results, input.next_token.as_deref(), limit as usize)?;
    Ok(GetMetricDataOutput { metric_data_results: Some(page.results), next_token: page.next, messages: Some(vec![]) })
}

/// The points of the one query whose data are to be returned.
pub fn returned(cx: &Cx, queries: Vec<MetricDataQuery>, start: Timestamp, end: Timestamp) -> Result<Points> {
    let queries = queries::parse(cx, queries)?;
    let request = Request { cx, start, end, now: cx.now() };
    let mut computing = Computing { request, queries: &queries, done: BTreeMap::new(), under_way: Vec::new() };
    let Some(query) = queries.iter().find(|query| query.wanted) else { return Ok(Points::new()) };
    computing.compute(query)?;
    match computing.done.remove(query.id.as_str()) {
        Some(Value::Series(points)) => Ok(points),
        _ => Err(query.math_error("its result is not a single metric")),
    }
}

struct Request<'a> {
    cx: &'a Cx,
    start: Timestamp,
    end: Timestamp,
    now: Timestamp,
}

impl Request<'_> {
    fn range(&self, period: i32, parameter: &str) -> Result<Range> {
        range::range(self.start, self.end, period, parameter, self.now)
    }

    /// A statistic of a metric. Points in several units are taken together where none is asked for.
    fn read(&self, query: &Query, stat: Stat) -> Result<Points> {
        let Source::Metric { key, unit, .. } = &query.source else { return Ok(Points::new()) };
        let range = self.range(query.period, &query.parameter("MetricStat.Period"))?;
        let merged = super::points(self.cx)?.data.read_merged(key, range, *unit, self.now);
        Ok(merged.iter().filter_map(|(at, bucket)| Some((*at, stat.of(bucket)?))).collect())
    }
}

/// Queries and what they have given so far.
struct Computing<'a> {
    request: Request<'a>,
    queries: &'a [Query],
    done: BTreeMap<&'a str, Value>,
    /// The expressions that wait for others, to notice a circle.
    under_way: Vec<&'a str>,
}

impl<'a> Computing<'a> {
    fn compute(&mut self, query: &'a Query) -> Result<()> {
        if self.done.contains_key(query.id.as_str()) {
            return Ok(());
        }
        let value = match &query.source {
            Source::Metric { stat, .. } => Value::Series(self.request.read(query, *stat)?),
            Source::Expression(expr) => {
                if self.under_way.contains(&query.id.as_str()) {
                    return Err(query.math_error("it refers to itself"));
                }
                self.under_way.push(&query.id);
                let needed = queries::needed(expr, self.queries);
                for other in &needed {
                    self.compute(other)?;
                }
                self.under_way.pop();
                let grid = self.grid(query, &needed)?;
                let periods = self.queries.iter().map(|query| (query.id.as_str(), i64::from(query.period))).collect();
                let is_metric = |query: &&Query| matches!(query.source, Source::Metric { .. });
                let metrics: Vec<&str> = self.queries.iter().filter(is_metric).map(|query| query.id.as_str()).collect();
                let results = Results { by_id: &self.done, periods: &periods, metrics: &metrics, grid: &grid };
                eval(expr, &results).map_err(|error| query.math_error(error))?
            }
        };
        self.done.insert(&query.id, value);
        Ok(())
    }

    /// The times at which an expression could have values.
    fn grid(&self, query: &Query, needed: &[&Query]) -> Result<Vec<i64>> {
        let period = match query.period {
            0 => needed.iter().map(|query| query.period).max().unwrap_or(0),
            given => given,
        };
        if period == 0 {
            return Ok(Vec::new());
        }
        let range = self.request.range(period, &query.parameter("Period"))?;
        if range::size(range) > i64::from(DATAPOINTS_MAX) {
            return Err(validation(format!(
                "The expression '{}' spans {} datapoints, which exceeds the limit of {DATAPOINTS_MAX}.",
                query.id,
                range::size(range)
            )));
        }
        Ok((0..range::size(range)).map(|i| range.start + i * range.period).collect())
    }

    /// What a computed query gives: one series, or several of an array.
    fn results(&self, query: &Query, ascending: bool) -> Result<Vec<MetricDataResult>> {
        let all = match self.done.get(query.id.as_str()) {
            Some(Value::Series(points)) => vec![points],
            Some(Value::Array(all)) => all.iter().collect(),
            _ => return Err(query.math_error("its result is not a metric")),
        };
        Ok(all.into_iter().map(|points| result(query, points, ascending)).collect())
    }
}

fn result(query: &Query, points: &Points, ascending: bool) -> MetricDataResult {
    let mut timestamps: Vec<_> = points.keys().map(|at| Timestamp(at * 1000)).collect();
    let mut values: Vec<_> = points.values().copied().collect();
    if !ascending {
        timestamps.reverse();
        values.reverse();
    }
    MetricDataResult {
        id: Some(query.id.clone()),
        label: Some(query.label.clone()),
        timestamps: Some(timestamps),
        values: Some(values),
        status_code: Some("Complete".to_owned()),
        messages: None,
    }
}
