//! What a data plane has measured, in CloudWatch's terms.

use serde::{Deserialize, Deserializer, Serialize};

use crate::name::{Name, named};

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
