//! Which state an alarm should have, from the points that it watches. Pure.
//!
//! The rules are those of the User Guide's pages on alarm evaluation and missing data; `tests` holds their tables.

use serde::{Deserialize, Serialize};
use standfast_core::names;

names! {
    /// The state of an alarm.
    State { Ok "OK", Alarm "ALARM", InsufficientData "INSUFFICIENT_DATA" }
}

names! {
    /// What a period without points counts as.
    Gaps { Missing "missing", Ignore "ignore", Breaching "breaching", NotBreaching "notBreaching" }
}

names! {
    /// How a value is compared with the threshold.
    Comparison {
        GreaterOrEqual "GreaterThanOrEqualToThreshold", Greater "GreaterThanThreshold", Less "LessThanThreshold",
        LessOrEqual "LessThanOrEqualToThreshold", OutsideBand "LessThanLowerOrGreaterThanUpperThreshold",
        BelowBand "LessThanLowerThreshold", AboveBand "GreaterThanUpperThreshold",
    }
}

impl Comparison {
    /// As a state's reason says it.
    pub fn words(self) -> &'static str {
        match self {
            Comparison::GreaterOrEqual => "greater than or equal to",
            Comparison::Greater => "greater than",
            Comparison::Less => "less than",
            Comparison::LessOrEqual => "less than or equal to",
            Comparison::OutsideBand => "less than the lower thresholds or greater than the upper thresholds",
            Comparison::BelowBand => "less than the lower thresholds",
            Comparison::AboveBand => "greater than the upper thresholds",
        }
    }

    /// Whether it compares with a band, not with a threshold.
    pub fn is_of_band(self) -> bool {
        matches!(self, Comparison::OutsideBand | Comparison::BelowBand | Comparison::AboveBand)
    }

    /// Whether a value breaches a threshold, or the band at its time.
    pub fn holds(self, value: f64, threshold: f64, band: Option<(f64, f64)>) -> bool {
        let below = band.is_some_and(|(low, _)| value < low);
        let above = band.is_some_and(|(_, high)| value > high);
        match self {
            Comparison::OutsideBand => below || above,
            Comparison::BelowBand => below,
            Comparison::AboveBand => above,
            Comparison::GreaterOrEqual => value >= threshold,
            Comparison::Greater => value > threshold,
            Comparison::Less => value < threshold,
            Comparison::LessOrEqual => value <= threshold,
        }
    }
}

/// How points make a state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    pub comparison: Comparison,
    pub threshold: f64,
    /// N: the periods that are evaluated.
    pub periods: u32,
    /// M: how many of them must breach.
    pub to_alarm: u32,
    pub missing: Gaps,
}

/// How many periods more than N are looked at, for points in place of missing ones.
pub const EXTRA_PERIODS: u32 = 2;

/// The value of a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The period's begin, in seconds.
    pub at: i64,
    pub value: f64,
    /// Of a percentile: there were too few samples for it to say anything.
    pub insignificant: bool,
    /// What it is compared with in place of the threshold.
    pub band: Option<(f64, f64)>,
}

/// What an evaluation finds.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub state: State,
    /// The points that decided, the newest first.
    pub points: Vec<Point>,
    /// How many of them breach.
    pub breaching: u32,
    /// How many periods without points were counted as something.
    pub filled: u32,
}

impl Rule {
    pub fn breaches(&self, point: &Point) -> bool {
        self.comparison.holds(point.value, self.threshold, point.band)
    }

    /// `range` are the `periods + EXTRA_PERIODS` newest periods, the oldest first. `None` when the state is to stay.
    pub fn evaluate(&self, range: &[Option<Point>]) -> Option<Finding> {
        let (n, m) = (self.periods as usize, self.to_alarm as usize);
        let points: Vec<Point> = range.iter().rev().flatten().take(n).copied().collect();
        if points.iter().any(|point| point.insignificant) {
            return None;
        }
        let breaching = points.iter().filter(|point| self.breaches(point)).count();
        let filled = n - points.len();
        let all_breach = breaching == points.len();
        let state = if breaching >= m {
            State::Alarm
        } else if filled == 0 {
            State::Ok
        } else {
            match self.missing {
                Gaps::Breaching if breaching + filled >= m => State::Alarm,
                Gaps::Breaching | Gaps::NotBreaching => State::Ok,
                // Some that do not breach were seen.
                Gaps::Missing | Gaps::Ignore if !all_breach => State::Ok,
                Gaps::Ignore => return None,
                Gaps::Missing if points.is_empty() => State::InsufficientData,
                // Since the oldest one breached, M periods ago or more, nothing has said that it is over.
                Gaps::Missing if range.iter().rev().skip(m - 1).any(Option::is_some) => State::Alarm,
                Gaps::Missing => return None,
            }
        };
        Some(Finding { state, points, breaching: breaching as u32, filled: filled as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `0` is within the threshold, `X` breaches, `-` is missing, `?` is a percentile of too few samples.
    fn range(text: &str) -> Vec<Option<Point>> {
        let point = |(i, c): (usize, char)| {
            let value = if c == 'X' { 9.0 } else { 0.0 };
            (c != '-').then_some(Point { at: 60 * i as i64, value, insignificant: c == '?', band: None })
        };
        text.chars().filter(|c| *c != ' ').enumerate().map(point).collect()
    }

    fn state(text: &str, to_alarm: u32, periods: u32, missing: Gaps) -> Option<State> {
        let rule = Rule { comparison: Comparison::Greater, threshold: 5.0, periods, to_alarm, missing };
        let range = range(text);
        assert_eq!(range.len() as u32, periods + EXTRA_PERIODS, "{text}");
        rule.evaluate(&range).map(|finding| finding.state)
    }

    const OK: Option<State> = Some(State::Ok);
    const ALARM: Option<State> = Some(State::Alarm);
    const NO_DATA: Option<State> = Some(State::InsufficientData);
    const STAYS: Option<State> = None;

    /// Points, M, N; then the state by what missing points count as: missing, ignore, breaching, notBreaching.
    type Case = (&'static str, u32, u32, [Option<State>; 4]);

    #[rustfmt::skip]
    const CASES: &[Case] = &[
        // Three out of three, as the User Guide has it.
        ("0 - X - X", 3, 3, [OK, OK, OK, OK]),
        ("- - - - 0", 3, 3, [OK, OK, OK, OK]),
        ("- - - - -", 3, 3, [NO_DATA, STAYS, ALARM, OK]),
        ("0 X X - X", 3, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("- - X - -", 3, 3, [ALARM, STAYS, ALARM, OK]),
        // Two out of three, as the User Guide has it.
        ("0 - X - X", 2, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("0 0 X 0 X", 2, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("0 - X - -", 2, 3, [OK, OK, ALARM, OK]),
        ("- - - - 0", 2, 3, [OK, OK, ALARM, OK]),
        ("- - - X -", 2, 3, [ALARM, STAYS, ALARM, OK]),
        // Nothing is missing: only the newest N count.
        ("X X 0 0 0", 3, 3, [OK, OK, OK, OK]),
        ("0 0 X X X", 3, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("X X X X 0", 3, 3, [OK, OK, OK, OK]),
        ("X X X X 0", 2, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("X X 0 X 0", 2, 3, [OK, OK, OK, OK]),
        ("X X X 0 0", 1, 3, [ALARM, ALARM, ALARM, ALARM]),
        // One breach is too young to be the whole story.
        ("- - - - X", 2, 3, [STAYS, STAYS, ALARM, OK]),
        ("- - - - X", 3, 3, [STAYS, STAYS, ALARM, OK]),
        ("- - - X X", 3, 3, [STAYS, STAYS, ALARM, OK]),
        ("- - - X -", 3, 3, [STAYS, STAYS, ALARM, OK]),
        ("X - - - -", 3, 3, [ALARM, STAYS, ALARM, OK]),
        ("X - - - X", 3, 3, [ALARM, STAYS, ALARM, OK]),
        // Points from further back stand in for missing ones.
        ("X X - - X", 3, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("X 0 - - X", 3, 3, [OK, OK, OK, OK]),
        ("0 X X - -", 2, 3, [ALARM, ALARM, ALARM, ALARM]),
        // One out of one.
        ("- - X", 1, 1, [ALARM, ALARM, ALARM, ALARM]),
        ("- - 0", 1, 1, [OK, OK, OK, OK]),
        ("- X -", 1, 1, [ALARM, ALARM, ALARM, ALARM]),
        ("0 X -", 1, 1, [ALARM, ALARM, ALARM, ALARM]),
        ("X 0 -", 1, 1, [OK, OK, OK, OK]),
        ("- - -", 1, 1, [NO_DATA, STAYS, ALARM, OK]),
        // What says nothing changes nothing.
        ("0 0 ?", 1, 1, [STAYS, STAYS, STAYS, STAYS]),
        ("0 0 0 ? X", 2, 3, [STAYS, STAYS, STAYS, STAYS]),
        ("? ? 0 0 0", 2, 3, [OK, OK, OK, OK]),
        ("0 0 X ? X", 2, 3, [STAYS, STAYS, STAYS, STAYS]),
        ("X X - - ?", 1, 3, [STAYS, STAYS, STAYS, STAYS]),
        ("? - - - X", 1, 3, [STAYS, STAYS, STAYS, STAYS]),
        // M of N with gaps.
        ("0 0 X - X", 2, 3, [ALARM, ALARM, ALARM, ALARM]),
        ("0 0 - X 0 X -", 2, 5, [ALARM, ALARM, ALARM, ALARM]),
        ("- - - - 0 X -", 2, 5, [OK, OK, ALARM, OK]),
        ("- - - - 0 0 -", 2, 5, [OK, OK, ALARM, OK]),
        ("- - - - - X -", 2, 5, [ALARM, STAYS, ALARM, OK]),
        ("X - - - - - -", 2, 5, [ALARM, STAYS, ALARM, OK]),
        ("X X X 0 0 0 0", 1, 5, [ALARM, ALARM, ALARM, ALARM]),
        ("X X 0 0 0 0 0", 1, 5, [OK, OK, OK, OK]),
        ("0 0 - - - - -", 3, 5, [OK, OK, ALARM, OK]),
        ("- - - - 0 - -", 5, 5, [OK, OK, OK, OK]),
        ("- - X X X X -", 5, 5, [ALARM, STAYS, ALARM, OK]),
    ];

    #[test]
    fn states_are_as_documented_for_each_way_to_treat_missing_points() {
        for (text, m, n, expected) in CASES {
            for (missing, expected) in Gaps::ALL.iter().copied().zip(expected) {
                assert_eq!(state(text, *m, *n, missing), *expected, "{text}, {m} of {n}, {}", missing.name());
            }
        }
    }

    #[test]
    fn a_value_at_the_threshold_breaches_only_where_equality_counts() {
        for (comparison, expected) in Comparison::ALL.iter().zip([
            [false, true, true],
            [false, false, true],
            [true, false, false],
            [true, true, false],
        ]) {
            let holds = [4.0, 5.0, 6.0].map(|value| comparison.holds(value, 5.0, None));
            assert_eq!(holds, expected, "{}", comparison.name());
            assert!(!comparison.holds(f64::NAN, 5.0, None));
        }
    }

    #[test]
    fn a_value_breaches_a_band_beyond_the_edge_that_is_watched() {
        for (comparison, expected) in [
            (Comparison::OutsideBand, [true, false, false, false, true]),
            (Comparison::BelowBand, [true, false, false, false, false]),
            (Comparison::AboveBand, [false, false, false, false, true]),
        ] {
            let holds = [0.5, 1.0, 2.0, 3.0, 3.5].map(|value| comparison.holds(value, 0.0, Some((1.0, 3.0))));
            assert_eq!(holds, expected, "{}", comparison.name());
            assert!(!comparison.holds(9.0, 0.0, None), "without a band nothing breaches");
        }
    }

    #[test]
    fn a_finding_tells_what_decided() {
        let rule =
            Rule { comparison: Comparison::Less, threshold: 1.0, periods: 2, to_alarm: 2, missing: Gaps::Breaching };
        let finding = rule.evaluate(&range("X - 0 -")).expect("it decides");
        assert_eq!((finding.state, finding.breaching, finding.filled), (State::Ok, 1, 0));
        assert_eq!(finding.points.iter().map(|point| point.at).collect::<Vec<_>>(), [120, 0]);
        let finding = rule.evaluate(&range("- - 0 -")).expect("it decides");
        assert_eq!((finding.state, finding.breaching, finding.filled), (State::Alarm, 1, 1));
    }
}
