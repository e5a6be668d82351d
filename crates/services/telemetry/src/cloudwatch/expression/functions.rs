//! The functions of metric math.

use std::collections::BTreeMap;

use super::eval::{Results, Value, eval, map, series};
use super::parse::Expr;
use super::{MathError, Points};

/// What CloudWatch has and is not here, to be told from what does not exist.
const UNAVAILABLE: [&str; 26] = [
    "ANOMALY_DETECTION_BAND",
    "DATAPOINT_COUNT",
    "DATE",
    "DAY",
    "DB_PERF_INSIGHTS",
    "DIFF_TIME",
    "EPOCH",
    "FIRST",
    "HOUR",
    "INSIGHT_RULE_METRIC",
    "LAMBDA",
    "LAST",
    "LOG",
    "LOG10",
    "METRIC_COUNT",
    "MINUTE",
    "MONTH",
    "REMOVE_EMPTY",
    "RUNNING_SUM",
    "SEARCH",
    "SERVICE_QUOTA",
    "SLICE",
    "SORT",
    "STDDEV",
    "TIME_SERIES",
    "YEAR",
];

pub(super) fn call(name: &str, args: &[Expr], results: &Results<'_>) -> Result<Value, MathError> {
    let argument = |i: usize| eval(&args[i], results);
    let count = |count: usize| {
        let plural = if count == 1 { "" } else { "s" };
        let fits = args.len() == count;
        fits.then_some(()).ok_or_else(|| MathError::new(format!("{name} takes {count} argument{plural}")))
    };
    match name {
        "SUM" | "AVG" | "MIN" | "MAX" => {
            count(1)?;
            aggregate(name, argument(0)?)
        }
        "ABS" | "CEIL" | "FLOOR" => {
            count(1)?;
            map(argument(0)?, &|value| match name {
                "ABS" => value.abs(),
                "CEIL" => value.ceil(),
                _ => value.floor(),
            })
        }
        "FILL" => {
            count(2)?;
            fill_all(argument(0)?, &args[1], results)
        }
        "IF" => {
            if args.len() == 2 {
                return choose(argument(0)?, argument(1)?, None, results.grid);
            }
            count(3)?;
            choose(argument(0)?, argument(1)?, Some(argument(2)?), results.grid)
        }
        "METRICS" => metrics(args, results),
        "PERIOD" => {
            count(1)?;
            period(&args[0], results)
        }
        "DIFF" | "RATE" => {
            count(1)?;
            let each = |points: Points| differences(&points, name == "RATE");
            Ok(match argument(0)? {
                Value::Series(points) => Value::Series(each(points)),
                other => Value::Array(series(other)?.into_iter().map(each).collect()),
            })
        }
        _ if UNAVAILABLE.contains(&name) => {
            Err(MathError::new(format!("the function {name} is not available in this version of Standfast")))
        }
        _ => Err(MathError::new(format!("there is no function {name}"))),
    }
}

/// Of one series a number, of an array the series of what is there at each time.
fn aggregate(name: &str, value: Value) -> Result<Value, MathError> {
    let of = |values: &[f64]| match name {
        "SUM" => values.iter().sum(),
        "AVG" => values.iter().sum::<f64>() / values.len() as f64,
        "MIN" => values.iter().copied().fold(f64::INFINITY, f64::min),
        _ => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    };
    if let Value::Series(points) = &value {
        let values: Vec<f64> = points.values().copied().collect();
        // Of no values there is no series either.
        return Ok(if values.is_empty() { Value::Series(Points::new()) } else { Value::Number(of(&values)) });
    }
    let mut by_time = BTreeMap::<i64, Vec<f64>>::new();
    for points in series(value)? {
        for (at, value) in points {
            by_time.entry(at).or_default().push(value);
        }
    }
    Ok(Value::Series(by_time.into_iter().map(|(at, values)| (at, of(&values))).collect()))
}

/// What stands where a value is missing.
enum Filler {
    Number(f64),
    Series(Points),
    Repeat,
    Linear,
}

fn fill_all(value: Value, filler: &Expr, results: &Results<'_>) -> Result<Value, MathError> {
    let wrong = || MathError::new("the second argument of FILL is a number, a metric, REPEAT or LINEAR");
    let filler = match filler {
        Expr::Id(id) if id == "REPEAT" => Filler::Repeat,
        Expr::Id(id) if id == "LINEAR" => Filler::Linear,
        other => match eval(other, results)? {
            Value::Number(number) => Filler::Number(number),
            Value::Series(points) => Filler::Series(points),
            Value::Array(_) | Value::Text(_) => return Err(wrong()),
        },
    };
    let each = |points: Points| fill(points, &filler, results.grid);
    Ok(match value {
        Value::Series(points) => Value::Series(each(points)),
        other => Value::Array(series(other)?.into_iter().map(each).collect()),
    })
}

fn fill(points: Points, filler: &Filler, grid: &[i64]) -> Points {
    let mut filled = points.clone();
    for at in grid.iter().filter(|at| !points.contains_key(at)) {
        let before = points.range(..at).next_back();
        let value = match filler {
            Filler::Number(number) => Some(*number),
            Filler::Series(other) => other.get(at).copied(),
            Filler::Repeat => before.map(|(_, value)| *value),
            Filler::Linear => before.zip(points.range(at..).next()).map(|((from, a), (to, b))| {
                let share = (at - from) as f64 / (to - from) as f64;
                a + (b - a) * share
            }),
        };
        filled.extend(value.map(|value| (*at, value)));
    }
    filled
}

/// `IF(condition, then, else)`: where the condition is not zero the one, else the other.
fn choose(condition: Value, then: Value, other: Option<Value>, grid: &[i64]) -> Result<Value, MathError> {
    let at = |value: &Value, time: i64| match value {
        Value::Number(number) => Ok(Some(*number)),
        Value::Series(points) => Ok(points.get(&time).copied()),
        Value::Array(_) | Value::Text(_) => Err(MathError::new("IF takes numbers and single metrics")),
    };
    let mut out = Points::new();
    for time in grid {
        let Some(holds) = at(&condition, *time)? else { continue };
        let value = match (&other, holds != 0.0) {
            (_, true) => at(&then, *time)?,
            (Some(other), false) => at(other, *time)?,
            (None, false) => None,
        };
        out.extend(value.map(|value| (*time, value)));
    }
    Ok(Value::Series(out))
}

/// All metrics of the request, or those whose id holds a text.
fn metrics(args: &[Expr], results: &Results<'_>) -> Result<Value, MathError> {
    let part = match args {
        [] => "",
        [Expr::Text(part)] => part.as_str(),
        _ => return Err(MathError::new("METRICS takes nothing or one text")),
    };
    let mut all = Vec::new();
    for id in results.metrics.iter().filter(|id| id.contains(part)) {
        all.extend(results.by_id.get(id).cloned().map(series).transpose()?.unwrap_or_default());
    }
    Ok(Value::Array(all))
}

fn period(argument: &Expr, results: &Results<'_>) -> Result<Value, MathError> {
    let period = match argument {
        Expr::Id(id) => results.periods.get(id.as_str()),
        _ => None,
    };
    period.map(|period| Value::Number(*period as f64)).ok_or_else(|| MathError::new("PERIOD takes the id of a metric"))
}

/// From one value to the next, by the second for a rate.
fn differences(points: &Points, rate: bool) -> Points {
    let pairs = points.iter().zip(points.iter().skip(1));
    pairs.map(|((from, a), (to, b))| (*to, (b - a) / if rate { (to - from) as f64 } else { 1.0 })).collect()
}
