//! What an expression computes: a number, a series or an array of series.
//!
//! Between two series an operator gives values where both have one; what is not finite (a division by zero) gives none.
//! Comparisons give 1 and 0.

use std::collections::BTreeMap;

use super::functions;
use super::parse::{Expr, Op};
use super::{MathError, Points};

/// A number, a series, several of them, or a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Series(Points),
    Array(Vec<Points>),
    Text(String),
}

/// What an expression may refer to.
pub struct Results<'a> {
    /// The results of other queries.
    pub by_id: &'a BTreeMap<&'a str, Value>,
    /// The periods of other queries, in seconds.
    pub periods: &'a BTreeMap<&'a str, i64>,
    /// The ids of the queries of metrics, in order.
    pub metrics: &'a [&'a str],
    /// The times at which the expression's period has a bucket.
    pub grid: &'a [i64],
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
                all.extend(series(eval(item, results)?)?);
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
        Value::Array(all) => Ok(Value::Array(all.into_iter().map(each).collect())),
        Value::Text(text) => Err(MathError::new(format!("\"{text}\" is no number"))),
    }
}

/// Series of a value that must have some.
pub(super) fn series(value: Value) -> Result<Vec<Points>, MathError> {
    match value {
        Value::Series(points) => Ok(vec![points]),
        Value::Array(all) => Ok(all),
        Value::Number(_) | Value::Text(_) => Err(MathError::new("a metric was expected, not a number or a text")),
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
        (Value::Array(all), Value::Series(b)) => Ok(Value::Array(all.iter().map(|a| both(a, &b, &f)).collect())),
        (Value::Series(a), Value::Array(all)) => Ok(Value::Array(all.iter().map(|b| both(&a, b, &f)).collect())),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            Ok(Value::Array(a.iter().zip(&b).map(|(a, b)| both(a, b, &f)).collect()))
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
        let results = Results { by_id: &by_id, periods: &periods, metrics: &["m1", "m2"], grid: &grid };
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
            ("SEARCH('{AWS/EC2} x', 'Sum')", "the function SEARCH is not available in this version of Standfast"),
            (
                "ANOMALY_DETECTION_BAND(m1)",
                "the function ANOMALY_DETECTION_BAND is not available in this version of Standfast",
            ),
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
