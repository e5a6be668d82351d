//! What is expected of a metric: the documented simple model of ADR 7. Pure.
//!
//! For every hour the model is made of the fourteen days before it: the mean and the deviation of the values at the same hour of
//! the day, once there are three such days, else of all values. So a value is never judged by itself.

use std::collections::BTreeMap;

use super::super::expression::Points;

pub const HOUR: i64 = 3600;
const DAY_HOURS: i64 = 24;
/// What a model is made of, in hours and in seconds.
const TRAINING_HOURS: i64 = 14 * DAY_HOURS;
pub const TRAINING_S: i64 = TRAINING_HOURS * HOUR;
/// Fewer values than this say nothing.
pub const VALUES_MIN: f64 = 30.0;
/// From how many days on an hour of the day has a model of its own.
const DAYS_MIN: usize = 3;
/// The deviation is at least this part of the mean's size: a metric that never changed may do so a little.
const DEVIATION_MIN: f64 = 0.01;

/// The values of an hour, or of several, as sums.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn add(&mut self, other: Sums) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
    }

    /// The mean and the deviation. `None` of too few.
    fn model(self) -> Option<(f64, f64)> {
        if self.count < VALUES_MIN {
            return None;
        }
        let mean = self.sum / self.count;
        let deviation = (self.squares / self.count - mean * mean).max(0.0).sqrt();
        Some((mean, deviation.max(mean.abs() * DEVIATION_MIN)))
    }
}

/// The lower and the upper edge at each of some times, where there is a model, `width` deviations from the mean. `values`
/// begin `TRAINING_S` earlier; those of `excluded` times are not learnt from.
pub fn band(
    values: &Points,
    times: impl Iterator<Item = i64>,
    width: f64,
    excluded: &[(i64, i64)],
) -> (Points, Points) {
    let mut hours = BTreeMap::<i64, Sums>::new();
    for (at, value) in values.iter().filter(|(at, _)| !excluded.iter().any(|(from, to)| (*from..*to).contains(*at))) {
        let one = Sums { count: 1.0, sum: *value, squares: value * value };
        hours.entry(at.div_euclid(HOUR)).or_default().add(one);
    }
    let (mut low, mut high) = (Points::new(), Points::new());
    let mut last: Option<(i64, Option<(f64, f64)>)> = None;
    for at in times {
        let hour = at.div_euclid(HOUR);
        let model = match last {
            Some((known, model)) if known == hour => model,
            _ => model(&hours, hour),
        };
        last = Some((hour, model));
        if let Some((mean, deviation)) = model {
            low.insert(at, mean - width * deviation);
            high.insert(at, mean + width * deviation);
        }
    }
    (low, high)
}

fn model(hours: &BTreeMap<i64, Sums>, hour: i64) -> Option<(f64, f64)> {
    let (mut all, mut same, mut days) = (Sums::default(), Sums::default(), 0);
    for (past, sums) in hours.range(hour - TRAINING_HOURS..hour) {
        all.add(*sums);
        if (hour - past) % DAY_HOURS == 0 {
            same.add(*sums);
            days += 1;
        }
    }
    let own = if days >= DAYS_MIN { same.model() } else { None };
    own.or_else(|| all.model())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;

    fn series(hours: i64, value: impl Fn(i64) -> f64) -> Points {
        (0..hours * 60).map(|minute| (minute * MINUTE, value(minute))).collect()
    }

    fn at(values: &Points, time: i64, width: f64) -> Option<(f64, f64)> {
        let (low, high) = band(values, [time].into_iter(), width, &[]);
        Some((*low.get(&time)?, *high.get(&time)?))
    }

    #[test]
    fn a_band_is_so_many_deviations_around_the_mean() {
        // 8 and 12 in turns: a mean of 10, a deviation of 2.
        let values = series(2, |minute| if minute % 2 == 0 { 8.0 } else { 12.0 });
        assert_eq!(at(&values, 2 * HOUR, 2.0), Some((6.0, 14.0)));
        assert_eq!(at(&values, 2 * HOUR + 59 * MINUTE, 1.0), Some((8.0, 12.0)));
    }

    #[test]
    fn a_model_needs_enough_values_of_the_past() {
        let values = series(1, |_| 5.0);
        assert_eq!(at(&values, 59 * MINUTE, 2.0), None, "an hour does not learn from itself");
        assert_eq!(at(&values, HOUR, 2.0), Some((4.9, 5.1)), "a part of the mean at least");
        let few: Points = (0..29).map(|minute| (minute * MINUTE, 5.0)).collect();
        assert_eq!(at(&few, HOUR, 2.0), None);
        assert_eq!(at(&values, TRAINING_S + HOUR, 2.0), None, "what is too old is forgotten");
    }

    #[test]
    fn hours_of_the_day_have_models_of_their_own_after_three_days() {
        let busy = |minute: i64| if minute / 60 % 24 == 9 { 100.0 } else { 10.0 };
        let values = series(3 * 24, busy);
        assert_eq!(at(&values, (3 * 24 + 9) * HOUR, 1.0), Some((99.0, 101.0)));
        assert_eq!(at(&values, (3 * 24 + 10) * HOUR, 1.0), Some((9.9, 10.1)));
        let (low, high) = at(&series(2 * 24, busy), (2 * 24 + 9) * HOUR, 1.0).expect("a model");
        assert!(low < 10.0 && high > 25.0, "two days have one model: {low} {high}");
    }

    #[test]
    fn excluded_times_are_not_learnt_from() {
        let values = series(4, |minute| if minute / 60 == 1 { 1000.0 } else { 10.0 });
        let (_, high) = band(&values, [4 * HOUR].into_iter(), 2.0, &[(HOUR, 2 * HOUR)]);
        assert_eq!(high[&(4 * HOUR)], 10.2);
    }
}
