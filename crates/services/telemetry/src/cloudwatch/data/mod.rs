//! GetMetricData: statistics of many metrics at once, and arithmetic over them.

mod labels;
mod pages;
mod queries;

use std::collections::BTreeMap;

use standfast_api::cloudwatch::{GetMetricDataInput, GetMetricDataOutput, MetricDataQuery, MetricDataResult};
use standfast_core::{Result, Timestamp};
use standfast_kernel::Cx;

use self::queries::{Query, Source};
use super::anomaly::{self, band};
use super::errors::{invalid, validation};
use super::expression::search::{self, Search};
use super::expression::{Expr, Line, MathError, Of, Points, Results, Value, eval};
use super::points::{Key, Range, Unit};
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
    let mut computing = Computing::new(request, &queries);
    let mut results = Vec::new();
    for query in queries.iter().filter(|query| query.wanted) {
        computing.compute(query)?;
        results.extend(computing.results(query, ascending)?);
    }
    let page = pages::cut(results, input.next_token.as_deref(), limit as usize)?;
    Ok(GetMetricDataOutput { metric_data_results: Some(page.results), next_token: page.next, messages: Some(vec![]) })
}

/// The values of an alarm's queries: of the one whose data are to be returned, and the two edges of a band where one is named.
#[derive(Debug, Default)]
pub struct Returned {
    pub points: Points,
    pub band: Option<(Points, Points)>,
}

/// `edges` is the id of a query that gives a band.
pub fn returned(
    cx: &Cx,
    queries: Vec<MetricDataQuery>,
    edges: Option<&str>,
    start: Timestamp,
    end: Timestamp,
) -> Result<Returned> {
    let queries = queries::parse(cx, queries)?;
    let request = Request { cx, start, end, now: cx.now() };
    let mut computing = Computing::new(request, &queries);
    let Some(query) = queries.iter().find(|query| query.wanted && Some(query.id.as_str()) != edges) else {
        return Ok(Returned::default());
    };
    computing.compute(query)?;
    let points = match computing.done.get(query.id.as_str()) {
        Some(Value::Series(points)) => points.clone(),
        _ => return Err(query.math_error("its result is not a single metric")),
    };
    let band = match edges.and_then(|id| queries.iter().find(|query| query.id == id)) {
        None => None,
        Some(query) => {
            computing.compute(query)?;
            match computing.done.remove(query.id.as_str()) {
                Some(Value::Array(edges)) => {
                    let mut edges = edges.into_iter().map(|line| line.points);
                    edges.next().zip(edges.next())
                }
                _ => return Err(query.math_error("its result is not a band")),
            }
        }
    };
    Ok(Returned { points, band })
}

/// All lines that queries give, for a picture.
pub fn lines(cx: &Cx, queries: Vec<MetricDataQuery>, start: Timestamp, end: Timestamp) -> Result<Vec<(String, Line)>> {
    let queries = queries::parse(cx, queries)?;
    let request = Request { cx, start, end, now: cx.now() };
    let mut computing = Computing::new(request, &queries);
    let mut lines = Vec::new();
    for query in queries.iter().filter(|query| query.wanted) {
        computing.compute(query)?;
        let all = computing.lines(query)?.into_iter();
        lines.extend(all.map(|line| (query.id.clone(), line)));
    }
    Ok(lines)
}

#[derive(Clone, Copy)]
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
    fn read(&self, key: &Key, range: Range, unit: Option<Unit>, stat: Stat) -> Result<Points> {
        let merged = super::points(self.cx)?.data.read_merged(key, range, unit, stat.detail(), self.now);
        Ok(merged.iter().filter_map(|(at, bucket)| Some((*at, stat.of(bucket)?))).collect())
    }

    /// The metrics that a search finds, with their points.
    fn search(&self, search: &Search, range: Range) -> Result<Vec<Line>> {
        let points = super::points(self.cx)?;
        let mut found =
            points.data.list(self.cx.scope(), self.now - super::metrics::ACTIVE, |metric| search.finds(metric));
        found.sort_unstable();
        found.truncate(search::FOUND_MAX);
        let labels = search::labels(&found);
        let line = |(metric, label): (_, String)| {
            let of = Of { metric, stat: search.stat_name.clone(), period_s: range.period };
            let points = self.read(&of.metric.key(self.cx.scope()), range, None, search.stat)?;
            Ok(Line { label, points, of: Some(of) })
        };
        found.into_iter().zip(labels).map(line).collect()
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
    fn new(request: Request<'a>, queries: &'a [Query]) -> Self {
        Self { request, queries, done: BTreeMap::new(), under_way: Vec::new() }
    }

    fn compute(&mut self, query: &'a Query) -> Result<()> {
        if self.done.contains_key(query.id.as_str()) {
            return Ok(());
        }
        let value = match &query.source {
            Source::Metric { key, stat, unit, .. } => {
                let range = self.request.range(query.period, &query.parameter("MetricStat.Period"))?;
                Value::Series(self.request.read(key, range, *unit, *stat)?)
            }
            Source::Expression(expr) => self.express(query, expr)?,
        };
        self.done.insert(&query.id, value);
        Ok(())
    }

    fn express(&mut self, query: &'a Query, expr: &'a Expr) -> Result<Value> {
        if self.under_way.contains(&query.id.as_str()) {
            return Err(query.math_error("it refers to itself"));
        }
        self.under_way.push(&query.id);
        let needed = queries::needed(expr, self.queries);
        for other in &needed {
            self.compute(other)?;
        }
        let period = self.period(query, expr, &needed);
        let grid = self.grid(query, period)?;
        let range = if period == 0 { None } else { Some(self.request.range(period, &query.parameter("Period"))?) };
        let periods = self.queries.iter().map(|query| (query.id.as_str(), i64::from(query.period))).collect();
        let labels = self.queries.iter().map(|query| (query.id.as_str(), query.label.as_str())).collect();
        let is_metric = |query: &&Query| matches!(query.source, Source::Metric { .. });
        let metrics: Vec<&str> = self.queries.iter().filter(is_metric).map(|query| query.id.as_str()).collect();
        let told = |error: standfast_core::Error| MathError::new(error.message);
        let search = |search: &Search| {
            let range = match (search.period_s, range) {
                (Some(period), _) => self.request.range(period, "SEARCH's period").map_err(told)?,
                (None, Some(range)) => range,
                (None, None) => return Err(MathError::new("SEARCH needs a period")),
            };
            self.request.search(search, range).map_err(told)
        };
        let band = |id: &str, width: f64| self.band(id, width, &grid).map_err(told);
        let results = Results {
            by_id: &self.done,
            periods: &periods,
            labels: &labels,
            metrics: &metrics,
            grid: &grid,
            search: &search,
            band: &band,
        };
        let value = eval(expr, &results).map_err(|error| query.math_error(error))?;
        self.under_way.pop();
        Ok(value)
    }

    /// What is expected of the result of a query, which is computed for as long before as a model learns from.
    fn band(&self, id: &str, width: f64, grid: &[i64]) -> Result<(Points, Points)> {
        let query = self.queries.iter().find(|query| query.id == id);
        let query = query.ok_or_else(|| validation(format!("there is no query with the id '{id}'")))?;
        let start = Timestamp(self.request.start.0 - band::TRAINING_S * 1000);
        let mut earlier = Computing::new(Request { start, ..self.request }, self.queries);
        earlier.under_way.clone_from(&self.under_way);
        earlier.compute(query)?;
        let Some(Value::Series(values)) = earlier.done.get(id) else {
            return Err(validation(format!("'{id}' is not a single metric")));
        };
        let excluded = match &query.source {
            Source::Metric { single, .. } => anomaly::excluded(self.request.cx, single.clone()),
            Source::Expression(_) => Vec::new(),
        };
        Ok(band::band(values, grid.iter().copied(), width, &excluded))
    }

    /// The period of an expression: its own, else the longest of what it is computed from.
    fn period(&self, query: &Query, expr: &Expr, needed: &[&Query]) -> i32 {
        if query.period > 0 {
            return query.period;
        }
        let mut longest = needed.iter().map(|query| query.period).max().unwrap_or(0);
        expr.calls(&mut |name, args| {
            if let ("SEARCH", Some(Expr::Number(period))) = (name, args.get(2)) {
                longest = longest.max(*period as i32);
            }
        });
        longest
    }

    /// The times at which an expression could have values.
    fn grid(&self, query: &Query, period: i32) -> Result<Vec<i64>> {
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
    fn lines(&self, query: &Query) -> Result<Vec<Line>> {
        let of = || match &query.source {
            Source::Metric { single, .. } => Some(Of {
                metric: super::points::MetricName {
                    namespace: single.namespace.clone(),
                    name: single.name.clone(),
                    dimensions: single.dimensions.clone(),
                },
                stat: single.stat.clone(),
                period_s: i64::from(query.period),
            }),
            Source::Expression(_) => None,
        };
        let mut lines = match self.done.get(query.id.as_str()) {
            Some(Value::Series(points)) => {
                vec![Line { label: query.label.clone(), points: points.clone(), of: of() }]
            }
            Some(Value::Array(all)) => all.clone(),
            _ => return Err(query.math_error("its result is not a metric")),
        };
        for line in &mut lines {
            line.label = labels::label(query.given_label.as_deref(), line, self.request.cx.scope());
        }
        Ok(lines)
    }

    fn results(&self, query: &Query, ascending: bool) -> Result<Vec<MetricDataResult>> {
        Ok(self.lines(query)?.into_iter().map(|line| result(query, line, ascending)).collect())
    }
}

fn result(query: &Query, line: Line, ascending: bool) -> MetricDataResult {
    let (mut timestamps, mut values): (Vec<_>, Vec<_>) =
        line.points.into_iter().map(|(at, value)| (Timestamp(at * 1000), value)).unzip();
    if !ascending {
        timestamps.reverse();
        values.reverse();
    }
    MetricDataResult {
        id: Some(query.id.clone()),
        label: Some(line.label),
        timestamps: Some(timestamps),
        values: Some(values),
        status_code: Some("Complete".to_owned()),
        messages: None,
    }
}
