//! The queries of GetMetricData, checked and parsed.

use std::fmt::Display;

use standfast_api::cloudwatch::{MetricDataQuery, MetricStat};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::super::anomaly::{self, Single};
use super::super::errors::{invalid, missing, validation};
use super::super::expression::{self, Expr};
use super::super::points::{Key, Unit};
use super::super::stat::Stat;
use super::super::statistics;

/// How many queries a request may hold.
const QUERIES_MAX: usize = 500;

pub struct Query {
    /// Where it is in the request, from 1.
    number: usize,
    pub id: String,
    pub label: String,
    pub given_label: Option<String>,
    /// Whether it is part of the answer.
    pub wanted: bool,
    /// In seconds; 0 for an expression that does not say.
    pub period: i32,
    pub source: Source,
}

pub enum Source {
    Metric { key: Key, single: Single, stat: Stat, unit: Option<Unit> },
    Expression(Expr),
}

impl Query {
    /// The name of a parameter of this query, for messages.
    pub fn parameter(&self, name: &str) -> String {
        parameter(self.number, name)
    }

    pub fn math_error(&self, what: impl Display) -> Error {
        validation(format!("Error in expression '{}': {what}.", self.id))
    }
}

fn parameter(number: usize, name: &str) -> String {
    format!("MetricDataQueries.member.{number}.{name}")
}

pub fn parse(cx: &Cx, queries: Vec<MetricDataQuery>) -> Result<Vec<Query>> {
    if queries.is_empty() {
        return Err(missing("MetricDataQueries"));
    }
    if queries.len() > QUERIES_MAX {
        return Err(validation(format!(
            "The collection MetricDataQueries must not have a size greater than {QUERIES_MAX}."
        )));
    }
    let queries: Vec<_> =
        queries.into_iter().enumerate().map(|(i, query)| parse_one(cx, i + 1, query)).collect::<Result<_>>()?;
    let mut ids: Vec<_> = queries.iter().map(|query| query.id.as_str()).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(validation("The values for parameter id in MetricDataQueries are not unique."));
    }
    Ok(queries)
}

fn parse_one(cx: &Cx, number: usize, query: MetricDataQuery) -> Result<Query> {
    if !is_id(&query.id) {
        return Err(validation(format!(
            "The value {} for parameter {} is not matching the expected pattern ^[a-z][a-zA-Z0-9_]*$.",
            query.id,
            parameter(number, "Id")
        )));
    }
    if let Some(account) = query.account_id.as_deref().filter(|account| *account != cx.account()) {
        return Err(invalid(account, parameter(number, "AccountId")));
    }
    let (source, period, label) = match (query.metric_stat, &query.expression) {
        (Some(metric), None) => {
            let (label, period) = (metric.metric.metric_name.clone().unwrap_or_default(), metric.period);
            (parse_metric(cx, number, metric)?, period, label)
        }
        (None, Some(text)) => {
            let parsed = expression::parse(text);
            let expr = parsed.map_err(|error| validation(format!("Error in expression '{}': {error}.", query.id)))?;
            (Source::Expression(expr), query.period.unwrap_or(0), query.id.clone())
        }
        _ => {
            let (metric, expression) = (parameter(number, "MetricStat"), parameter(number, "Expression"));
            return Err(validation(format!("Exactly one of {metric} and {expression} must be specified.")));
        }
    };
    Ok(Query {
        number,
        label: query.label.clone().filter(|label| !label.contains("${")).unwrap_or(label),
        given_label: query.label,
        wanted: query.return_data.unwrap_or(true),
        id: query.id,
        period,
        source,
    })
}

fn is_id(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_lowercase()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn parse_metric(cx: &Cx, number: usize, metric: MetricStat) -> Result<Source> {
    let given = |value: Option<String>, name| value.ok_or_else(|| missing(parameter(number, name)));
    let namespace = given(metric.metric.namespace, "MetricStat.Metric.Namespace")?;
    let name = given(metric.metric.metric_name, "MetricStat.Metric.MetricName")?;
    let stat = Stat::named(&metric.stat).ok_or_else(|| invalid(&metric.stat, parameter(number, "MetricStat.Stat")))?;
    let unit = (metric.unit.as_deref())
        .map(|unit| Unit::named(unit).ok_or_else(|| invalid(unit, parameter(number, "MetricStat.Unit"))))
        .transpose()?;
    let key = statistics::key(cx, &namespace, &name, metric.metric.dimensions.as_deref());
    let single =
        Single { namespace, name, dimensions: anomaly::sorted(metric.metric.dimensions.as_deref()), stat: metric.stat };
    Ok(Source::Metric { key, single, stat, unit })
}

/// The queries that an expression refers to.
pub fn needed<'a>(expr: &Expr, queries: &'a [Query]) -> Vec<&'a Query> {
    let mut ids = Vec::new();
    expr.ids(&mut |id| ids.push(id));
    let all = expr.uses_metrics();
    let is_needed =
        |query: &&Query| ids.contains(&query.id.as_str()) || (all && matches!(query.source, Source::Metric { .. }));
    queries.iter().filter(is_needed).collect()
}
