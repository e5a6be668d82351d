//! What a policy makes of a capacity: the documented arithmetic. Pure.

use serde::{Deserialize, Serialize};
use standfast_core::names;

names! {
    /// How an adjustment is meant.
    Adjusts { Change "ChangeInCapacity", Exact "ExactCapacity", Percent "PercentChangeInCapacity" }
}

impl Adjusts {
    /// The new capacity, before the group's bounds. `least` is how much a percentage changes at least.
    pub fn apply(self, capacity: i32, amount: i32, least: Option<i32>) -> i32 {
        match self {
            Adjusts::Change => capacity.saturating_add(amount),
            Adjusts::Exact => amount,
            Adjusts::Percent => capacity.saturating_add(percent(capacity, amount, least.unwrap_or(0))),
        }
    }
}

/// Rounded towards zero, but never to nothing.
fn percent(capacity: i32, amount: i32, least: i32) -> i32 {
    let exact = f64::from(capacity) * f64::from(amount) / 100.0;
    let size = if exact == 0.0 { 0 } else { (exact.abs() as i32).max(1) };
    if amount == 0 { 0 } else { size.max(least) * amount.signum() }
}

/// An adjustment for a range of differences between metric and threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub lower: Option<f64>,
    pub upper: Option<f64>,
    pub amount: i32,
}

impl Step {
    /// Above the threshold the lower bound belongs to the step, below it the upper one.
    fn holds(&self, difference: f64) -> bool {
        let (lower, upper) = (self.lower.unwrap_or(f64::NEG_INFINITY), self.upper.unwrap_or(f64::INFINITY));
        if difference >= 0.0 {
            lower <= difference && difference < upper
        } else {
            lower < difference && difference <= upper
        }
    }
}

/// The step for a difference.
pub fn step(steps: &[Step], difference: f64) -> Option<Step> {
    steps.iter().find(|step| step.holds(difference)).copied()
}

/// What is wrong with a policy's steps; they may come in any order.
pub fn check(steps: &[Step]) -> Result<(), &'static str> {
    if steps.is_empty() {
        return Err("At least one StepAdjustment must be specified");
    }
    let mut sorted = steps.to_vec();
    let low = |step: &Step| step.lower.unwrap_or(f64::NEG_INFINITY);
    let high = |step: &Step| step.upper.unwrap_or(f64::INFINITY);
    sorted.sort_by(|a, b| low(a).total_cmp(&low(b)));
    if sorted.iter().any(|step| low(step) >= high(step)) {
        return Err("The lower bound of a StepAdjustment must be less than its upper bound");
    }
    for pair in sorted.windows(2) {
        if high(&pair[0]) > low(&pair[1]) {
            return Err("StepAdjustment intervals can't overlap");
        }
        if high(&pair[0]) < low(&pair[1]) {
            return Err("There must not be a gap between StepAdjustment intervals");
        }
    }
    Ok(())
}

/// What a group is when a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub min: i32,
    pub max: i32,
    pub desired: i32,
    /// How much of it is not warm yet, and so not in the metric.
    pub warming: i32,
}

/// The desired capacity that a step policy asks for; `None` when all stays.
pub fn stepped(standing: Standing, adjusts: Adjusts, amount: i32, least: Option<i32>) -> Option<i32> {
    let Standing { min, max, desired, warming } = standing;
    // What was added before and is not warm yet counts as part of what is added now.
    let wanted = adjusts.apply(desired - warming, amount, least).clamp(min, max);
    let grows = adjusts.apply(desired, amount, least) > desired;
    match wanted {
        wanted if grows => (wanted > desired).then_some(wanted),
        // Nothing is taken away while something that was asked for is on its way.
        wanted => (warming == 0 && wanted < desired).then_some(wanted),
    }
}

/// The capacity at which a metric that is shared out evenly would be at its target. A billionth less than a whole
/// number is that number.
fn needed(capacity: i32, value: f64, target: f64) -> i32 {
    (f64::from(capacity) * value / target - 1e-9).ceil().clamp(0.0, f64::from(i32::MAX)) as i32
}

/// The desired capacity that a metric over its target asks for; `None` when all stays. Only what is warm bears on the
/// metric; what is on its way counts as part of what is added.
pub fn tracked_out(standing: Standing, value: f64, target: f64) -> Option<i32> {
    let Standing { min, max, desired, warming } = standing;
    let wanted = needed(desired - warming, value, target).clamp(min, max);
    (wanted > desired).then_some(wanted)
}

/// The desired capacity when all metrics are well under their targets, which are values and targets: what the one that
/// needs most needs. Nothing is taken away while something warms up.
pub fn tracked_in(standing: Standing, metrics: &[(f64, f64)]) -> Option<i32> {
    let Standing { min, max, desired, warming } = standing;
    let most = metrics.iter().map(|(value, target)| needed(desired, *value, *target)).max()?;
    let wanted = most.clamp(min, max);
    (warming == 0 && wanted < desired).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjustments_are_as_documented() {
        use Adjusts::{Change, Exact, Percent};
        #[rustfmt::skip]
        let cases = [
            (Change, 3, 5, None, 8),
            (Change, 3, -5, None, -2),
            (Exact, 3, 5, None, 5),
            (Percent, 10, 10, None, 11),
            // 12.7 is 12, 6.67 is 6, .67 is 1, and so below zero.
            (Percent, 127, 10, None, 139),
            (Percent, 10, 67, None, 16),
            (Percent, 1, 67, None, 2),
            (Percent, 1, -58, None, 0),
            (Percent, 10, -67, None, 4),
            (Percent, 4, 25, Some(2), 6),
            (Percent, 4, -25, Some(2), 2),
            (Percent, 40, 25, Some(2), 50),
            (Percent, 0, 50, None, 0),
            (Percent, 0, 50, Some(1), 1),
            (Percent, 7, 0, Some(3), 7),
        ];
        for (adjusts, capacity, amount, least, expected) in cases {
            let found = adjusts.apply(capacity, amount, least);
            assert_eq!(found, expected, "{} of {capacity} by {amount}, at least {least:?}", adjusts.name());
        }
    }

    fn steps() -> Vec<Step> {
        let step = |lower, upper, amount| Step { lower, upper, amount };
        vec![
            step(None, Some(-20.0), -30),
            step(Some(-20.0), Some(-10.0), -10),
            step(Some(-10.0), Some(10.0), 0),
            step(Some(10.0), Some(20.0), 10),
            step(Some(20.0), None, 30),
        ]
    }

    #[test]
    fn steps_are_chosen_by_how_far_the_metric_is_from_the_threshold() {
        for (difference, amount) in [
            (-50.0, -30),
            (-20.0, -30),
            (-19.9, -10),
            (-10.0, -10),
            (-9.9, 0),
            (0.0, 0),
            (9.9, 0),
            (10.0, 10),
            (19.9, 10),
            (20.0, 30),
            (1e9, 30),
        ] {
            assert_eq!(step(&steps(), difference).expect("a step").amount, amount, "{difference}");
        }
        assert_eq!(step(&steps()[3..], 5.0), None);
    }

    #[test]
    fn steps_neither_overlap_nor_leave_gaps() {
        assert_eq!(check(&steps()), Ok(()));
        assert!(check(&[]).is_err());
        let with = |change: fn(&mut Step)| {
            let mut steps = steps();
            change(&mut steps[3]);
            check(&steps).expect_err("it is refused")
        };
        assert!(with(|step| step.lower = Some(5.0)).contains("overlap"));
        assert!(with(|step| step.lower = Some(15.0)).contains("gap"));
        assert!(with(|step| step.upper = Some(10.0)).contains("less than"));
    }

    #[test]
    fn what_is_warming_up_is_part_of_what_is_added() {
        let standing = |desired, warming| Standing { min: 1, max: 20, desired, warming };
        let percent = |standing, amount| stepped(standing, Adjusts::Percent, amount, None);
        assert_eq!(percent(standing(10, 0), 10), Some(11));
        // The same again while that one warms up adds nothing, more adds the rest: three of ten.
        assert_eq!(percent(standing(11, 1), 10), None);
        assert_eq!(percent(standing(11, 1), 30), Some(13));
        assert_eq!(percent(standing(11, 1), -30), None);
        assert_eq!(percent(standing(13, 0), -30), Some(10));
        assert_eq!(stepped(standing(19, 0), Adjusts::Change, 5, None), Some(20));
        assert_eq!(stepped(standing(20, 0), Adjusts::Change, 5, None), None);
        assert_eq!(stepped(standing(2, 0), Adjusts::Change, -5, None), Some(1));
        assert_eq!(stepped(standing(4, 2), Adjusts::Exact, 9, None), Some(9));
        assert_eq!(stepped(standing(9, 0), Adjusts::Exact, 4, None), Some(4));
    }

    #[test]
    fn tracking_keeps_capacity_in_proportion_to_the_metric() {
        let standing = |desired, warming| Standing { min: 1, max: 20, desired, warming };
        #[rustfmt::skip]
        let cases = [
            // Four at 75 % where 50 % is wanted are six.
            (4, 0, 75.0, 50.0, Some(6)),
            (4, 0, 50.1, 50.0, Some(5)),
            (3, 0, 100.0, 50.0, Some(6)),
            (2, 0, 60.0, 50.0, Some(3)),
            (10, 0, 55.0, 50.0, Some(11)),
            // A third is not rounded beyond a whole number.
            (3, 0, 1.0 + 1.0 / 3.0, 1.0, Some(4)),
            // Six were asked for, two are not warm: the same breach adds nothing, a worse one the difference.
            (6, 2, 75.0, 50.0, None),
            (6, 2, 90.0, 50.0, Some(8)),
            // None is warm: nothing bears on the metric.
            (4, 4, 90.0, 50.0, None),
            (15, 0, 100.0, 50.0, Some(20)),
            (20, 0, 100.0, 50.0, None),
            (4, 0, 1e300, 50.0, Some(20)),
        ];
        for (desired, warming, value, target, expected) in cases {
            let found = tracked_out(standing(desired, warming), value, target);
            assert_eq!(found, expected, "{desired} of which {warming} warm up, {value} of {target}");
        }
    }

    #[test]
    fn tracking_takes_away_only_what_no_metric_needs() {
        let standing = |desired, warming| Standing { min: 2, max: 20, desired, warming };
        #[rustfmt::skip]
        let cases: [(i32, i32, &[(f64, f64)], Option<i32>); 9] = [
            (10, 0, &[(25.0, 50.0)], Some(5)),
            (10, 0, &[(44.0, 50.0)], Some(9)),
            // Nine tenths of four are four.
            (4, 0, &[(44.0, 50.0)], None),
            (3, 0, &[(33.0, 50.0)], Some(2)),
            (10, 0, &[(0.0, 50.0)], Some(2)),
            (10, 1, &[(10.0, 50.0)], None),
            // The policy that needs most decides.
            (10, 0, &[(10.0, 50.0), (700.0, 1000.0)], Some(7)),
            (10, 0, &[(10.0, 50.0), (1100.0, 1000.0)], None),
            (10, 0, &[], None),
        ];
        for (desired, warming, metrics, expected) in cases {
            let found = tracked_in(standing(desired, warming), metrics);
            assert_eq!(found, expected, "{desired} of which {warming} warm up, {metrics:?}");
        }
    }
}
