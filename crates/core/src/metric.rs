//! What a data plane has measured, in CloudWatch's terms.

/// One measurement or a summary of many over an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Datum {
    pub namespace: &'static str,
    pub name: &'static str,
    pub dimensions: Vec<(&'static str, String)>,
    pub unit: &'static str,
    pub stats: Stats,
}

/// A statistic set. A single value has `count` 1 and `sum` = `min` = `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
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
