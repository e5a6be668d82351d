//! What a widget's JSON says beside its metrics: size, times, axes, annotations. Pure.

use serde_json::{Map, Value};
use standfast_core::Timestamp;

use super::metrics::{self, Line, Wrong};

/// The service's sizes, in pixels.
const WIDTH: u32 = 600;
const HEIGHT: u32 = 400;
const SIZE_MAX: u32 = 2000;
const SIZE_MIN: u32 = 100;
const PERIOD_S: i32 = 300;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Annotations that are drawn.
const ANNOTATIONS_MAX: usize = 50;

#[derive(Debug)]
pub struct Spec {
    pub width: u32,
    pub height: u32,
    pub title: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub period_s: i32,
    pub stat: String,
    pub stacked: bool,
    pub legend: bool,
    pub left: Axis,
    pub right: Axis,
    pub horizontal: Vec<Mark>,
    pub vertical: Vec<Mark>,
    pub lines: Vec<Line>,
    /// How far the times that are shown are from UTC.
    pub offset_ms: i64,
}

#[derive(Debug, Default)]
pub struct Axis {
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub label: String,
}

/// A line at a value, or at a time in seconds.
#[derive(Debug)]
pub struct Mark {
    pub at: f64,
    pub label: String,
    pub color: String,
    pub right: bool,
}

impl Spec {
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, Wrong> {
        let wrong = |path: &str, message: &str| Wrong { path: path.to_owned(), message: message.to_owned() };
        let Ok(Value::Object(given)) = serde_json::from_str(text) else {
            return Err(wrong("", "Should be a JSON object"));
        };
        let size = |name: &str, standard: u32| match given.get(name) {
            None => Ok(standard),
            Some(value) => (value.as_u64())
                .and_then(|size| u32::try_from(size).ok())
                .filter(|size| (SIZE_MIN..=SIZE_MAX).contains(size))
                .ok_or_else(|| wrong(name, &format!("Should be a number from {SIZE_MIN} to {SIZE_MAX}"))),
        };
        let time = |name: &str, standard: &str| {
            let text = given.get(name).and_then(Value::as_str).unwrap_or(standard);
            instant(text, now).ok_or_else(|| wrong(name, "Should be a time or a duration, such as -PT3H"))
        };
        let (start, end) = (time("start", "-PT3H")?, time("end", "PT0H")?);
        if start >= end {
            return Err(wrong("start", "Should be before the end"));
        }
        let period = given.get("period").map(|period| period.as_i64().and_then(|period| i32::try_from(period).ok()));
        let axes = given.get("yAxis");
        let metrics = given.get("metrics").map_or_else(|| Ok(Vec::new()), metrics::parse);
        Ok(Self {
            width: size("width", WIDTH)?,
            height: size("height", HEIGHT)?,
            title: text_of(&given, "title"),
            start,
            end,
            period_s: period.unwrap_or(Some(PERIOD_S)).ok_or_else(|| wrong("period", "Should be integer"))?,
            stat: given.get("stat").and_then(Value::as_str).unwrap_or("Average").to_owned(),
            stacked: given.get("stacked").and_then(Value::as_bool).unwrap_or(false),
            legend: given.pointer("legend/position") != Some(&Value::from("hidden")),
            left: axis(axes.and_then(|axes| axes.get("left"))),
            right: axis(axes.and_then(|axes| axes.get("right"))),
            horizontal: marks(&given, "horizontal", |mark| mark.get("value")?.as_f64()),
            vertical: marks(&given, "vertical", |mark| {
                let at = instant(mark.get("value")?.as_str()?, now)?;
                Some(at.0 as f64 / 1000.0)
            }),
            lines: metrics.map_err(|wrong| Wrong { path: format!("metrics{}", wrong.path), ..wrong })?,
            offset_ms: given.get("timezone").and_then(Value::as_str).and_then(offset).unwrap_or(0),
        })
    }
}

trait Pointer {
    fn pointer(&self, path: &str) -> Option<&Value>;
}

impl Pointer for Map<String, Value> {
    fn pointer(&self, path: &str) -> Option<&Value> {
        let (first, rest) = path.split_once('/')?;
        self.get(first)?.get(rest)
    }
}

fn text_of(object: &Map<String, Value>, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn axis(given: Option<&Value>) -> Axis {
    let number = |name: &str| given.and_then(|axis| axis.get(name)).and_then(Value::as_f64);
    let label = given.and_then(|axis| axis.get("label")).and_then(Value::as_str).unwrap_or_default();
    Axis { min: number("min"), max: number("max"), label: label.to_owned() }
}

fn marks(given: &Map<String, Value>, direction: &str, at: impl Fn(&Map<String, Value>) -> Option<f64>) -> Vec<Mark> {
    let list = given.get("annotations").and_then(|all| all.get(direction)).and_then(Value::as_array);
    let mark = |value: &Value| {
        let mark = value.as_object()?;
        let color = mark.get("color").and_then(Value::as_str).unwrap_or("#d62728").to_owned();
        let right = mark.get("yAxis").and_then(Value::as_str) == Some("right");
        Some(Mark { at: at(mark)?, label: text_of(mark, "label"), color, right })
    };
    list.into_iter().flatten().filter_map(mark).take(ANNOTATIONS_MAX).collect()
}

/// `-PT3H`, `-P7D`, `PT0H`, or a time.
fn instant(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let Some(period) = rest.strip_prefix('P') else { return text.parse().ok() };
    let (days, clock) = period.split_once('T').unwrap_or((period, ""));
    let mut ms = 0;
    for (part, units) in [
        (days, &[('W', 7 * DAY_MS), ('M', 30 * DAY_MS), ('D', DAY_MS)][..]),
        (clock, &[('H', HOUR_MS), ('M', MINUTE_MS), ('S', 1000)]),
    ] {
        let mut number = String::new();
        for c in part.chars() {
            if c.is_ascii_digit() {
                number.push(c);
            } else {
                let unit = units.iter().find(|(name, _)| *name == c)?.1;
                ms += number.parse::<i64>().ok()?.checked_mul(unit)?;
                number.clear();
            }
        }
        if !number.is_empty() {
            return None;
        }
    }
    Some(Timestamp(now.0.checked_add(sign * ms)?))
}

/// `+0130`.
fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = (if text.starts_with('-') { -1 } else { 1 }, text.trim_start_matches(['+', '-']));
    let (hours, minutes) = digits.split_at_checked(2)?;
    Some(sign * (hours.parse::<i64>().ok()? * HOUR_MS + minutes.parse::<i64>().ok()? * MINUTE_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_durations_or_instants() {
        let now = Timestamp(100 * DAY_MS);
        for (text, expected) in [
            ("-PT3H", Some(100 * DAY_MS - 3 * HOUR_MS)),
            ("-P7D", Some(93 * DAY_MS)),
            ("-P1DT1H30M", Some(99 * DAY_MS - 90 * MINUTE_MS)),
            ("PT0H", Some(100 * DAY_MS)),
            ("1970-01-02T00:00:00Z", Some(DAY_MS)),
            ("yesterday", None),
            ("-PT3", None),
            ("-PT3X", None),
        ] {
            assert_eq!(instant(text, now).map(|at| at.0), expected, "{text}");
        }
        assert_eq!((offset("+0130"), offset("-0200")), (Some(90 * MINUTE_MS), Some(-2 * HOUR_MS)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let path = |text: &str| Spec::parse(text, Timestamp(DAY_MS)).expect_err("must be refused").path;
        for (text, expected) in [
            ("[]", ""),
            ("{\"width\": 5}", "width"),
            ("{\"start\": \"x\"}", "start"),
            ("{\"end\": \"-PT9H\"}", "start"),
            ("{\"metrics\": [[\"a\"]]}", "metrics/0"),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }
}
