//! What a chart says in words.

use std::fmt::Write;

use crate::{Chart, Line, ticks};

/// The most marks and bands that are read out one by one.
const SAID_MAX: usize = 40;

/// The description of a chart for those who do not see it.
pub fn describe(chart: &Chart) -> String {
    let time = |at| ticks::time(chart, at, 1000);
    let zone = if chart.zero.is_some() { "" } else { " UTC" };
    let mut out = format!("From {} to {}{zone}.", time(chart.from), time(chart.to));
    for line in &chart.lines {
        let _ = write!(out, " {}: {}.", line.name, range(chart, line));
    }
    for (name, value) in &chart.thresholds {
        let _ = write!(out, " {name}: {}.", chart.unit.text(*value));
    }
    for band in chart.bands.iter().take(SAID_MAX) {
        let _ = write!(out, " {} from {} to {}.", band.name, time(band.from), time(band.to));
    }
    for (name, at) in chart.marks.iter().take(SAID_MAX) {
        let _ = write!(out, " At {}: {name}.", time(*at));
    }
    out
}

/// What a line's values are.
fn range(chart: &Chart, line: &Line) -> String {
    let mut values = line.points.iter().filter_map(|(_, value)| *value);
    let Some(first) = values.next() else { return "no values".into() };
    let (low, high, last) =
        values.fold((first, first, first), |(low, high, _), value| (value.min(low), value.max(high), value));
    let text = |value| chart.unit.text(value);
    if low == high {
        return text(low);
    }
    format!("{} to {}, {} at the end", text(low), text(high), text(last))
}
