//! What tests of this module share.

use std::collections::BTreeMap;

use standfast_core::Timestamp;

use super::evaluate::{Comparison, Gaps, Rule, State};
use super::model::{Alarm, Condition, Watched, Watches};

/// One period of a minute over 5.
pub fn alarm() -> Alarm {
    let at = Timestamp(0);
    Alarm {
        arn: "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:hot".into(),
        description: None,
        updated: at,
        actions_enabled: true,
        actions: BTreeMap::new(),
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
        condition: Condition { state: State::Ok, reason: String::new(), data: None, updated: at, transitioned: at },
        tags: BTreeMap::new(),
    }
}
