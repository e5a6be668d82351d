//! What an expression computes: a number, a series or an array of series.
//!
//! Between two series an operator gives values where both have one; what is not finite (a division by zero) gives none.
//! Comparisons give 1 and 0.

use std::collections::BTreeMap;

use super::super::points::MetricName;
use super::functions;
use super::parse::{Expr, Op};
use super::search::Search;
use super::{MathError, Points};

/// A number, a series, several of them, or a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Series(Points),
    Array(Vec<Line>),
    Text(String),
}

/// A series of an array.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub label: String,
    pub points: Points,
    /// What it shows, where that is a metric.
    pub of: Option<Of>,
}

/// A metric with a statistic, for labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Of {
    pub metric: MetricName,
    pub stat: String,
    pub period_s: i64,
}

/// What an expression may refer to.
pub struct Results<'a> {
    /// The results of other queries.
    pub by_id: &'a BTreeMap<&'a str, Value>,
    /// The periods of other queries, in seconds, and their labels.
    pub periods: &'a BTreeMap<&'a str, i64>,
    pub labels: &'a BTreeMap<&'a str, &'a str>,
    /// The ids of the queries of metrics, in order.
    pub metrics: &'a [&'a str],
    /// The times at which the expression's period has a bucket.
    pub grid: &'a [i64],
    /// Finds metrics and reads them.
    pub search: &'a dyn Fn(&Search) -> Result<Vec<Line>, MathError>,
    /// The lower and the upper edge of what is expected of the metric of a query, at so many standard deviations.
    pub band: &'a dyn Fn(&str, f64) -> Result<(Points, Points), MathError>,
}

pub fn eval(expr: &Expr, results: &Results<'_>) -> Result<Value, MathError> {
    match expr {
        Expr::Number(number) => Ok(Value::Number(*number)),
        Expr::Text(text) => Ok(Value::Text(text.clone())),
        Expr::Id(id) => {
            let found = results.by_id.get(id.as_str()).cloned();
            found.ok_or_else(|| MathError::new(format!("there is no query with the id '{id}'")))
        }
        Expr::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(named(item, eval(item, results)?, results)?);
            }
            Ok(Value::Array(all))
        }
        Expr::Negate(inner) => map(eval(inner, results)?, &|value| -value),
        Expr::Binary(op, a, b) => binary(*op, eval(a, results)?, eval(b, results)?),
        Expr::Call(name, args) => functions::call(name, args, results),
    }
}

/// Applies to every value; what is not finite is left out.
pub(super) fn map(value: Value, f: &dyn Fn(f64) -> f64) -> Result<Value, MathError> {
    let each = |points: Points| finite(points.into_iter().map(|(at, value)| (at, f(value))));
    match value {
        Value::Number(number) => Ok(Value::Number(f(number))),
        Value::Series(points) => Ok(Value::Series(each(points))),
        Value::Array(all) => Ok(Value::Array(all.into_iter().map(|line| line.with(each)).collect())),
        Value::Text(text) => Err(MathError::new(format!("\"{text}\" is no number"))),
    }
}

/// Series of a value that must have some.
pub(super) fn series(value: Value) -> Result<Vec<Points>, MathError> {
    match value {
        Value::Series(points) => Ok(vec![points]),
        Value::Array(all) => Ok(all.into_iter().map(|line| line.points).collect()),
        Value::Number(_) | Value::Text(_) => Err(MathError::new("a metric was expected, not a number or a text")),
    }
}

/// The same with labels: that of the query where it is one.
pub(super) fn named(expr: &Expr, value: Value, results: &Results<'_>) -> Result<Vec<Line>, MathError> {
    if let Value::Array(all) = value {
        return Ok(all);
    }
    let label = match expr {
        Expr::Id(id) => results.labels.get(id.as_str()).copied().unwrap_or(id),
        _ => "",
    };
    Ok(series(value)?.into_iter().map(|points| Line { label: label.to_owned(), points, of: None }).collect())
}

impl Line {
    /// The same metric with other points.
    pub fn with(self, change: impl FnOnce(Points) -> Points) -> Self {
        Self { points: change(self.points), ..self }
    }
}

fn finite(points: impl Iterator<Item = (i64, f64)>) -> Points {
    points.filter(|(_, value)| value.is_finite()).collect()
}

fn binary(op: Op, a: Value, b: Value) -> Result<Value, MathError> {
    let f = |a: f64, b: f64| apply(op, a, b);
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(Value::Number(f(a, b))),
        (a, Value::Number(b)) => map(a, &|a| f(a, b)),
        (Value::Number(a), b) => map(b, &|b| f(a, b)),
        (Value::Series(a), Value::Series(b)) => Ok(Value::Series(both(&a, &b, &f))),
        (Value::Array(all), Value::Series(b)) => {
            Ok(Value::Array(all.into_iter().map(|line| line.with(|a| both(&a, &b, &f))).collect()))
        }
        (Value::Series(a), Value::Array(all)) => {
            Ok(Value::Array(all.into_iter().map(|line| line.with(|b| both(&a, &b, &f))).collect()))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.into_iter().zip(&b);
            Ok(Value::Array(pairs.map(|(line, b)| line.with(|a| both(&a, &b.points, &f))).collect()))
        }
        (Value::Array(_), Value::Array(_)) => Err(MathError::new("an operator between arrays of different lengths")),
        (Value::Text(text), _) | (_, Value::Text(text)) => Err(MathError::new(format!("\"{text}\" is no number"))),
    }
}

fn both(a: &Points, b: &Points, f: &dyn Fn(f64, f64) -> f64) -> Points {
    finite(a.iter().filter_map(|(at, a)| Some((*at, f(*a, *b.get(at)?)))))
}

fn apply(op: Op, a: f64, b: f64) -> f64 {
    let truth = |holds: bool| f64::from(u8::from(holds));
    match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a * b,
        Op::Divide => a / b,
        Op::Power => a.powf(b),
        Op::Less => truth(a < b),
        Op::LessOrEqual => truth(a <= b),
        Op::Greater => truth(a > b),
        Op::GreaterOrEqual => truth(a >= b),
        Op::Equal => truth(a == b),
        Op::NotEqual => truth(a != b),
        Op::And => truth(a != 0.0 && b != 0.0),
        Op::Or => truth(a != 0.0 || b != 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn points(values: &[(i64, f64)]) -> Points {
        values.iter().copied().collect()
    }

    /// Computes over two metrics of five minutes: m1 lacks the third, m2 the first value.
    fn compute(text: &str) -> Result<Value, String> {
        let m1 = points(&[(0, 1.0), (60, 2.0), (180, 4.0), (240, 5.0)]);
        let m2 = points(&[(60, 10.0), (120, 0.0), (180, 0.0), (240, 20.0)]);
        let by_id = BTreeMap::from([("m1", Value::Series(m1)), ("m2", Value::Series(m2))]);
        let periods = BTreeMap::from([("m1", 60), ("m2", 60)]);
        let grid = [0, 60, 120, 180, 240];
        let labels = BTreeMap::from([("m1", "one"), ("m2", "two")]);
        let line = |label: &str, points: &[(i64, f64)]| Line {
            label: label.to_owned(),
            points: points.iter().copied().collect(),
            of: None,
        };
        let search = |_: &Search| {
            Ok(vec![line("low", &[(0, 1.0), (60, 1.0)]), line("none", &[]), line("high", &[(0, 9.0), (60, 3.0)])])
        };
        let band = |_: &str, width: f64| Ok((points(&[(0, -width)]), points(&[(0, width)])));
        let results = Results {
            by_id: &by_id,
            periods: &periods,
            labels: &labels,
            metrics: &["m1", "m2"],
            grid: &grid,
            search: &search,
            band: &band,
        };
        let expr = parse(text).map_err(|e| e.to_string())?;
        eval(&expr, &results).map_err(|e| e.to_string())
    }

    fn computed(text: &str) -> Vec<(i64, f64)> {
        match compute(text) {
            Ok(Value::Series(points)) => points.into_iter().collect(),
            other => panic!("{text} gives {other:?}"),
        }
    }

    #[test]
    fn operators_between_series_need_both() {
        assert_eq!(computed("m1+m2"), [(60, 12.0), (180, 4.0), (240, 25.0)]);
        assert_eq!(computed("m1/m2"), [(60, 0.2), (240, 0.25)], "nothing where it would not be finite");
        assert_eq!(computed("100*m1-1"), [(0, 99.0), (60, 199.0), (180, 399.0), (240, 499.0)]);
        assert_eq!(computed("m1 >= 4"), [(0, 0.0), (60, 0.0), (180, 1.0), (240, 1.0)]);
        assert_eq!(computed("-m1^2"), [(0, -1.0), (60, -4.0), (180, -16.0), (240, -25.0)]);
    }

    #[test]
    fn functions_of_one_series_give_a_number() {
        for (text, value) in [
            ("SUM(m1)", 12.0),
            ("AVG(m1)", 3.0),
            ("MIN(m1)", 1.0),
            ("MAX(m2)", 20.0),
            ("PERIOD(m1)", 60.0),
            ("1+2*3", 7.0),
        ] {
            assert_eq!(compute(text), Ok(Value::Number(value)), "{text}");
        }
    }

    #[test]
    fn functions_of_arrays_take_what_is_there() {
        let sums = [(0, 1.0), (60, 12.0), (120, 0.0), (180, 4.0), (240, 25.0)];
        assert_eq!(computed("SUM([m1,m2])"), sums);
        assert_eq!(computed("SUM(METRICS())"), sums);
        assert_eq!(computed("AVG([m1,m2])"), [(0, 1.0), (60, 6.0), (120, 0.0), (180, 2.0), (240, 12.5)]);
        assert_eq!(computed("MAX(METRICS(\"2\"))"), [(60, 10.0), (120, 0.0), (180, 0.0), (240, 20.0)]);
        assert_eq!(computed("MIN([m1*10,m2])"), [(0, 10.0), (60, 10.0), (120, 0.0), (180, 0.0), (240, 20.0)]);
    }

    #[test]
    fn functions_of_time_and_of_what_came_before() {
        assert_eq!(computed("DIFF_TIME(m1)"), [(60, 60.0), (180, 120.0), (240, 60.0)]);
        assert_eq!(computed("DIFF(m1)"), [(60, 1.0), (180, 2.0), (240, 1.0)]);
        assert_eq!(computed("RATE(m1) * 60"), [(60, 1.0), (180, 1.0), (240, 1.0)]);
        assert_eq!(computed("RUNNING_SUM(m1)"), [(0, 1.0), (60, 3.0), (180, 7.0), (240, 12.0)]);
        assert_eq!(computed("MINUTE(m1)"), [(0, 0.0), (60, 1.0), (180, 3.0), (240, 4.0)]);
        assert_eq!(computed("EPOCH(m2)"), [(60, 60.0), (120, 120.0), (180, 180.0), (240, 240.0)]);
        for (text, value) in [("HOUR", 0.0), ("DAY", 4.0), ("DATE", 1.0), ("MONTH", 1.0), ("YEAR", 1970.0)] {
            assert_eq!(computed(&format!("{text}(m1)"))[0], (0, value), "{text}");
        }
        assert_eq!(computed("TIME_SERIES(7)").len(), 5);
        assert_eq!(computed("LOG10(FILL(m1*0+100, 0))"), [(0, 2.0), (60, 2.0), (180, 2.0), (240, 2.0)]);
        assert_eq!(compute("SUM(LOG(m1*0+1))"), Ok(Value::Number(0.0)));
        for (text, value) in [("DATAPOINT_COUNT(m1)", 4.0), ("METRIC_COUNT([m1,m2])", 2.0), ("STDDEV(m1^0*3)", 0.0)] {
            assert_eq!(compute(text), Ok(Value::Number(value)), "{text}");
        }
    }

    #[test]
    fn arrays_are_sorted_cut_and_picked_from() {
        const ALL: &str = "SEARCH('x', 'Sum')";
        let labels = |text: &str| match compute(&text.replace("ALL", ALL)) {
            Ok(Value::Array(all)) => all.into_iter().map(|line| line.label).collect::<Vec<_>>(),
            other => panic!("{text} gives {other:?}"),
        };
        assert_eq!(labels("ALL"), ["low", "none", "high"]);
        assert_eq!(labels("REMOVE_EMPTY(ALL)"), ["low", "high"]);
        assert_eq!(labels("SORT(ALL, AVG, DESC)"), ["high", "low", "none"]);
        assert_eq!(labels("SORT(ALL, SUM, ASC, 1)"), ["low"]);
        assert_eq!(labels("SLICE(ALL, 1)"), ["none", "high"]);
        assert_eq!(labels("SLICE(ALL, 0, 2)"), ["low", "none"]);
        assert_eq!(labels("[m1, m2 * 2, ALL]"), ["one", "", "low", "none", "high"]);
        assert_eq!(labels("METRICS()"), ["one", "two"]);
        assert_eq!(labels("ALL * 2 + m1"), ["low", "none", "high"]);
        assert_eq!(computed("FIRST(SEARCH('x', 'Sum'))"), [(0, 1.0), (60, 1.0)]);
        assert_eq!(computed("LAST(SEARCH('x', 'Sum', 60)) - 1"), [(0, 8.0), (60, 2.0)]);
        assert_eq!(computed("DATAPOINT_COUNT(SEARCH('x', 'Sum'))"), [(0, 2.0), (60, 2.0)]);
        assert_eq!(labels("ANOMALY_DETECTION_BAND(m1, 3)"), ["one Low", "one High"]);
    }

    #[test]
    fn gaps_are_filled() {
        assert_eq!(computed("FILL(m1,0)"), [(0, 1.0), (60, 2.0), (120, 0.0), (180, 4.0), (240, 5.0)]);
        assert_eq!(computed("FILL(m1,REPEAT)"), [(0, 1.0), (60, 2.0), (120, 2.0), (180, 4.0), (240, 5.0)]);
        assert_eq!(computed("FILL(m1,LINEAR)"), [(0, 1.0), (60, 2.0), (120, 3.0), (180, 4.0), (240, 5.0)]);
        assert_eq!(computed("FILL(m2,REPEAT)"), [(60, 10.0), (120, 0.0), (180, 0.0), (240, 20.0)]);
        assert_eq!(computed("FILL(m2,m1)"), [(0, 1.0), (60, 10.0), (120, 0.0), (180, 0.0), (240, 20.0)]);
        assert_eq!(computed("SUM([FILL(m1,0),FILL(m2,0)])").len(), 5);
        assert_eq!(computed("IF(FILL(m2,0) > 5, m2, 1)"), [(0, 1.0), (60, 10.0), (120, 1.0), (180, 1.0), (240, 20.0)]);
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (text, why) in [
            ("SEARCH('{AWS/EC2} x', 'Total')", "SEARCH has no statistic 'Total'"),
            ("SEARCH('{AWS/EC2', 'Sum')", "a search's schema is not closed"),
            ("SERVICE_QUOTA(m1)", "the function SERVICE_QUOTA is not available in this version of Standfast"),
            ("ANOMALY_DETECTION_BAND(3)", "ANOMALY_DETECTION_BAND takes the id of a metric and a number of deviations"),
            ("SORT([m1,m2], MEDIAN, ASC)", "SORT orders by AVG, MAX, MIN, SUM or STDDEV, not by MEDIAN"),
            ("SLICE(m1, 0)", "SLICE takes an array"),
            ("NONSENSE(m1)", "there is no function NONSENSE"),
            ("m3", "there is no query with the id 'm3'"),
            ("FILL(m1)", "FILL takes 2 arguments"),
            ("FILL(m1, \"x\")", "the second argument of FILL is a number, a metric, REPEAT or LINEAR"),
            ("SUM(1)", "a metric was expected, not a number or a text"),
            ("m1+'x'", "\"x\" is no number"),
        ] {
            assert_eq!(compute(text), Err(why.to_owned()), "{text}");
        }
    }
}
