//! The functions of metric math: which there are, and those that compute with values. `shape` has those that choose and order.

use std::collections::BTreeMap;

use super::eval::{Line, Results, Value, eval, map, named, series};
use super::parse::Expr;
use super::search::Search;
use super::{MathError, Points, shape};

/// What CloudWatch has and is not here, to be told from what does not exist.
const UNAVAILABLE: [&str; 4] = ["DB_PERF_INSIGHTS", "INSIGHT_RULE_METRIC", "LAMBDA", "SERVICE_QUOTA"];
/// How wide a band is where nothing is said.
const DEVIATIONS: f64 = 2.0;
const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

pub(super) fn call(name: &str, args: &[Expr], results: &Results<'_>) -> Result<Value, MathError> {
    let count = |min: usize, max: usize| {
        let plural = if max == 1 { "" } else { "s" };
        let most = if min == max { String::new() } else { format!(" to {max}") };
        let fits = (min..=max).contains(&args.len());
        fits.then_some(()).ok_or_else(|| MathError::new(format!("{name} takes {min}{most} argument{plural}")))
    };
    let argument = |i: usize| eval(&args[i], results);
    let only = || count(1, 1).and_then(|()| argument(0));
    match name {
        "SUM" | "AVG" | "MIN" | "MAX" | "STDDEV" | "DATAPOINT_COUNT" => aggregate(name, only()?),
        "ABS" => map(only()?, &f64::abs),
        "CEIL" => map(only()?, &f64::ceil),
        "FLOOR" => map(only()?, &f64::floor),
        "LOG" => map(only()?, &f64::ln),
        "LOG10" => map(only()?, &f64::log10),
        "DIFF" | "DIFF_TIME" | "RATE" => each(only()?, |points| differences(&points, name)),
        "RUNNING_SUM" => each(only()?, running_sum),
        "MINUTE" | "HOUR" | "DAY" | "DATE" | "MONTH" | "YEAR" | "EPOCH" => {
            each(only()?, |points| points.into_keys().map(|at| (at, calendar(name, at))).collect())
        }
        "FILL" => {
            count(2, 2)?;
            fill_all(argument(0)?, &args[1], results)
        }
        "IF" => {
            count(2, 3)?;
            let other = args.get(2).map(|other| eval(other, results)).transpose()?;
            shape::choose(argument(0)?, argument(1)?, other, results.grid)
        }
        "TIME_SERIES" => match only()? {
            Value::Number(number) => Ok(Value::Series(results.grid.iter().map(|at| (*at, number)).collect())),
            _ => Err(MathError::new("TIME_SERIES takes a number")),
        },
        "METRICS" => metrics(args, results),
        "METRIC_COUNT" => Ok(Value::Number(series(only()?)?.len() as f64)),
        "PERIOD" => {
            count(1, 1)?;
            period(&args[0], results)
        }
        "FIRST" | "LAST" => shape::end(only()?, name == "FIRST"),
        "REMOVE_EMPTY" => shape::remove_empty(only()?),
        "SLICE" => {
            count(2, 3)?;
            shape::slice(argument(0)?, &args[1..])
        }
        "SORT" => {
            count(3, 4)?;
            shape::sort(argument(0)?, &args[1..])
        }
        "SEARCH" => {
            count(2, 3)?;
            Ok(Value::Array((results.search)(&Search::of(args)?)?))
        }
        "ANOMALY_DETECTION_BAND" => {
            count(1, 2)?;
            band(args, results)
        }
        _ if UNAVAILABLE.contains(&name) => {
            Err(MathError::new(format!("the function {name} is not available in this version of Standfast")))
        }
        _ => Err(MathError::new(format!("there is no function {name}"))),
    }
}

/// Applies to every series.
fn each(value: Value, change: impl Fn(Points) -> Points) -> Result<Value, MathError> {
    match value {
        Value::Series(points) => Ok(Value::Series(change(points))),
        Value::Array(all) => Ok(Value::Array(all.into_iter().map(|line| line.with(&change)).collect())),
        other => series(other).map(|_| Value::Array(Vec::new())),
    }
}

/// One number of many.
pub(super) fn statistic(name: &str, values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    match name {
        "SUM" => values.iter().sum(),
        "AVG" => mean,
        "MIN" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "MAX" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "STDDEV" => (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt(),
        _ => count,
    }
}

/// Of one series a number, of an array the series of what is there at each time.
fn aggregate(name: &str, value: Value) -> Result<Value, MathError> {
    if let Value::Series(points) = &value {
        let values: Vec<f64> = points.values().copied().collect();
        // Of no values there is no series either.
        let none = values.is_empty() && name != "DATAPOINT_COUNT";
        return Ok(if none { Value::Series(Points::new()) } else { Value::Number(statistic(name, &values)) });
    }
    let mut by_time = BTreeMap::<i64, Vec<f64>>::new();
    for points in series(value)? {
        for (at, value) in points {
            by_time.entry(at).or_default().push(value);
        }
    }
    Ok(Value::Series(by_time.into_iter().map(|(at, values)| (at, statistic(name, &values))).collect()))
}

/// From one value to the next: by how much, by how much a second, or how many seconds.
fn differences(points: &Points, name: &str) -> Points {
    let of = |(from, a): (&i64, &f64), (to, b): (&i64, &f64)| {
        let seconds = (to - from) as f64;
        match name {
            "DIFF" => b - a,
            "RATE" => (b - a) / seconds,
            _ => seconds,
        }
    };
    points.iter().zip(points.iter().skip(1)).map(|(a, b)| (*b.0, of(a, b))).collect()
}

fn running_sum(points: Points) -> Points {
    let mut sum = 0.0;
    let add = |(at, value)| {
        sum += value;
        (at, sum)
    };
    points.into_iter().map(add).collect()
}

/// A part of a time in UTC. Days of the week begin with Monday as 1.
fn calendar(name: &str, at: i64) -> f64 {
    let days = at.div_euclid(DAY);
    // The civil date by the days since 0000-03-01, in eras of 400 years.
    let (era, of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let part = match name {
        "MINUTE" => at.rem_euclid(HOUR) / MINUTE,
        "HOUR" => at.rem_euclid(DAY) / HOUR,
        // 1970 began on a Thursday.
        "DAY" => (days + 3).rem_euclid(7) + 1,
        "DATE" => day_of_year - (153 * from_march + 2) / 5 + 1,
        "MONTH" => month,
        "YEAR" => year_of_era + era * 400 + i64::from(month <= 2),
        _ => at,
    };
    part as f64
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
    each(value, |points| fill(points, &filler, results.grid))
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

/// All metrics of the request, or those whose id holds a text.
fn metrics(args: &[Expr], results: &Results<'_>) -> Result<Value, MathError> {
    let part = match args {
        [] => "",
        [Expr::Text(part)] => part.as_str(),
        _ => return Err(MathError::new("METRICS takes nothing or one text")),
    };
    let mut all = Vec::new();
    for id in results.metrics.iter().filter(|id| id.contains(part)) {
        if let Some(value) = results.by_id.get(id) {
            all.extend(named(&Expr::Id((*id).to_owned()), value.clone(), results)?);
        }
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

/// The two edges of a band, the lower first.
fn band(args: &[Expr], results: &Results<'_>) -> Result<Value, MathError> {
    let width = match args.get(1) {
        None => Some(DEVIATIONS),
        Some(Expr::Number(number)) => Some(*number),
        Some(_) => None,
    };
    let (Expr::Id(id), Some(width)) = (&args[0], width) else {
        return Err(MathError::new("ANOMALY_DETECTION_BAND takes the id of a metric and a number of deviations"));
    };
    let (low, high) = (results.band)(id, width)?;
    let label = results.labels.get(id.as_str()).copied().unwrap_or(id);
    let line = |edge: &str, points| Line { label: format!("{label} {edge}"), points, of: None };
    Ok(Value::Array(vec![line("Low", low), line("High", high)]))
}
