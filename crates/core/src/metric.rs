//! What a data plane has measured, in CloudWatch's terms.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::name::{Name, named};

/// How often services tell CloudWatch what they measured.
pub const PERIOD: Duration = Duration::from_secs(60);

/// The most different values of a datum.
pub const VALUES_MAX: usize = 150;

/// What is taken this soon after a minute's end was measured in that minute: a wake-up is never quite on time.
const LATE_MAX: Duration = Duration::from_secs(5);

/// The beginning of the minute to which what is taken now belongs.
pub fn minute_measured(now: Timestamp) -> Timestamp {
    (now - LATE_MAX).floor(PERIOD)
}

/// When to take the next.
pub fn next_minute(now: Timestamp) -> Timestamp {
    now.floor(PERIOD) + PERIOD
}

/// One measurement or a summary of many over an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datum {
    #[serde(deserialize_with = "named")]
    pub namespace: Name,
    #[serde(deserialize_with = "named")]
    pub name: Name,
    #[serde(deserialize_with = "dimensions")]
    pub dimensions: Vec<(Name, String)>,
    #[serde(deserialize_with = "named")]
    pub unit: Name,
    pub stats: Stats,
    /// Where percentiles are of use: the values that `stats` sums up, and how many times each.
    pub values: Vec<(f64, u64)>,
}

fn dimensions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Name, String)>, D::Error> {
    #[derive(Deserialize)]
    struct Dimension(#[serde(deserialize_with = "named")] Name, String);
    Ok(Vec::<Dimension>::deserialize(deserializer)?.into_iter().map(|Dimension(name, value)| (name, value)).collect())
}

/// A statistic set. A single value has `count` 1 and `sum` = `min` = `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    pub count: f64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
}

impl Stats {
    pub fn one(value: f64) -> Self {
        Self { count: 1.0, sum: value, min: value, max: value }
    }

    pub fn add(&mut self, value: f64) {
        *self = if self.count == 0.0 {
            Self::one(value)
        } else {
            Self { count: self.count + 1.0, sum: self.sum + value, min: self.min.min(value), max: self.max.max(value) }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_just_after_a_minute_was_measured_in_it() {
        for (now_ms, minute_ms) in [(120_000, 60_000), (120_003, 60_000), (124_999, 60_000), (125_000, 120_000)] {
            assert_eq!(minute_measured(Timestamp(now_ms)), Timestamp(minute_ms), "{now_ms}");
        }
        assert_eq!(next_minute(Timestamp(120_000)), Timestamp(180_000));
    }
}
