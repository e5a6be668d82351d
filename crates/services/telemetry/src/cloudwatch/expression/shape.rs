//! Functions of metric math that choose and order, and leave values as they are.

use super::eval::{Line, Value};
use super::functions::statistic;
use super::parse::Expr;
use super::{MathError, Points};

/// What SORT can order by.
const ORDERS: [&str; 5] = ["AVG", "MAX", "MIN", "SUM", "STDDEV"];

/// `IF(condition, then, else)`: where the condition is not zero the one, else the other.
pub fn choose(condition: Value, then: Value, other: Option<Value>, grid: &[i64]) -> Result<Value, MathError> {
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

fn array(value: Value, function: &str) -> Result<Vec<Line>, MathError> {
    match value {
        Value::Array(all) => Ok(all),
        _ => Err(MathError::new(format!("{function} takes an array"))),
    }
}

/// The first or the last series of an array.
pub fn end(value: Value, first: bool) -> Result<Value, MathError> {
    let all = array(value, if first { "FIRST" } else { "LAST" })?;
    let one = if first { all.into_iter().next() } else { all.into_iter().next_back() };
    Ok(Value::Series(one.map(|line| line.points).unwrap_or_default()))
}

pub fn remove_empty(value: Value) -> Result<Value, MathError> {
    let mut all = array(value, "REMOVE_EMPTY")?;
    all.retain(|line| !line.points.is_empty());
    Ok(Value::Array(all))
}

/// `SLICE(array, start, end)`, without the one at `end`.
pub fn slice(value: Value, bounds: &[Expr]) -> Result<Value, MathError> {
    let all = array(value, "SLICE")?;
    let bound = |expr: &Expr| match expr {
        Expr::Number(number) if *number >= 0.0 => Ok(*number as usize),
        _ => Err(MathError::new("the bounds of SLICE are numbers from 0 on")),
    };
    let start = bound(&bounds[0])?;
    let end = bounds.get(1).map(bound).transpose()?.unwrap_or(all.len());
    Ok(Value::Array(all.into_iter().take(end).skip(start).collect()))
}

/// `SORT(array, AVG, DESC, count)`. Series without values come last.
pub fn sort(value: Value, how: &[Expr]) -> Result<Value, MathError> {
    let mut all = array(value, "SORT")?;
    let word = |expr: &Expr| match expr {
        Expr::Id(word) => word.to_ascii_uppercase(),
        _ => String::new(),
    };
    let (by, direction) = (word(&how[0]), word(&how[1]));
    if !ORDERS.contains(&by.as_str()) {
        return Err(MathError::new(format!("SORT orders by AVG, MAX, MIN, SUM or STDDEV, not by {by}")));
    }
    let ascending = match direction.as_str() {
        "ASC" => true,
        "DESC" => false,
        other => return Err(MathError::new(format!("SORT goes ASC or DESC, not {other}"))),
    };
    let rank = |line: &Line| {
        let values: Vec<f64> = line.points.values().copied().collect();
        (!values.is_empty()).then(|| statistic(&by, &values))
    };
    all.sort_by(|a, b| match (rank(a), rank(b)) {
        (Some(a), Some(b)) if ascending => a.total_cmp(&b),
        (Some(a), Some(b)) => b.total_cmp(&a),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
    match how.get(2) {
        None => {}
        Some(Expr::Number(count)) if *count >= 0.0 => all.truncate(*count as usize),
        Some(_) => return Err(MathError::new("the last argument of SORT is a number of metrics")),
    }
    Ok(Value::Array(all))
}
