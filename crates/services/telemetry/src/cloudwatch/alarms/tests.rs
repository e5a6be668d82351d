//! What tests of this module share.

use super::evaluate::{Comparison, Gaps, Rule};
use super::model::{MetricKind, Watched, Watches};

/// One period of a minute over 5.
pub fn metric() -> MetricKind {
    MetricKind {
        watches: Watches::Metric(Watched {
            namespace: "Shop".into(),
            name: "Heat".into(),
            dimensions: Vec::new(),
            stat: "Average".into(),
            period_s: 60,
            unit: None,
        }),
        rule: Rule { comparison: Comparison::Greater, threshold: 5.0, periods: 1, to_alarm: 1, missing: Gaps::Missing },
        to_alarm_given: None,
        missing_given: None,
        low_samples: None,
        band: None,
    }
}
