//! The model of predictive scaling. Pure.
//!
//! The load of an hour to come is the mean of the loads of the same hour of the week in up to two weeks of history; where
//! there is none, of the same hour of the day; where there is none either, of all. A day's worth of hours must be there.
//! The capacity that a load needs is the load over what one instance bears at the target: `per_instance` tells how much
//! load makes how much of the scaling metric on one instance (ADR 6).

use std::collections::BTreeMap;

pub const HOUR_S: i64 = 3600;
/// How much history counts.
pub const HISTORY_HOURS: i64 = 14 * 24;
/// How many hours of it there must be.
pub const HISTORY_HOURS_MIN: usize = 24;
/// How far ahead is told.
pub const AHEAD_HOURS: i64 = 48;
const DAY_HOURS: i64 = 24;
const WEEK_HOURS: i64 = 7 * DAY_HOURS;
/// Of metrics that come once a minute and instance: how much load an instance at 1 makes in an hour.
pub const PER_INSTANCE: f64 = 60.0;

/// Values by the hour since 1970 that they are of.
pub type Hours = BTreeMap<i64, f64>;

/// The loads of the hours from `from` on; empty when there is too little history.
pub fn loads(history: &Hours, from: i64) -> Hours {
    if history.len() < HISTORY_HOURS_MIN {
        return Hours::new();
    }
    let mean_of = |of: &dyn Fn(i64) -> bool| mean(history.iter().filter(|(hour, _)| of(**hour)).map(|(_, load)| *load));
    let load = |hour: i64| {
        let same = |every: i64| mean_of(&|past| past.rem_euclid(every) == hour.rem_euclid(every));
        same(WEEK_HOURS).or_else(|| same(DAY_HOURS)).or_else(|| mean_of(&|_| true)).unwrap_or_default()
    };
    (from..from + AHEAD_HOURS).map(|hour| (hour, load(hour))).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

/// How much load makes one of the scaling metric on one instance, from hours in which all three are known.
pub fn per_instance(loads: &Hours, scaling: &Hours, capacity: &Hours) -> Option<f64> {
    mean(loads.iter().filter_map(|(hour, load)| {
        let product = scaling.get(hour)? * capacity.get(hour)?;
        (product > 0.0).then(|| load / product)
    }))
}

/// The capacity at which a load keeps the scaling metric at its target.
pub fn capacity(load: f64, target: f64, per_instance: f64) -> f64 {
    let exact = load / (target * per_instance);
    if exact.is_finite() { (exact - 1e-9).ceil().max(0.0) } else { 0.0 }
}

/// Bounds, and what may be done about the upper one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub min: i32,
    pub max: i32,
    /// By how many percent of the forecast the maximum may be over it; `None` when it stays.
    pub buffer: Option<i32>,
}

/// The capacity and the maximum that a forecast makes of a group's bounds.
pub fn bounded(bounds: Bounds, forecast: f64) -> (i32, i32) {
    let Bounds { min, max, buffer } = bounds;
    let wanted = forecast.clamp(0.0, f64::from(i32::MAX)) as i32;
    let raised = buffer.map(|percent| (f64::from(wanted) * f64::from(100 + percent) / 100.0).ceil() as i32);
    let max = raised.map_or(max, |raised| raised.max(max));
    (wanted.min(max).max(min), max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_hour_of_the_week_goes_before_the_same_hour_of_the_day() {
        // Two weeks: a load of 10 by day and 2 by night; the first hour of each week has 50 and 70.
        let load = |hour: i64| match hour {
            0 => 50.0,
            168 => 70.0,
            hour if (8..20).contains(&(hour % 24)) => 10.0,
            _ => 2.0,
        };
        let history: Hours = (0..336).map(|hour| (hour, load(hour))).collect();
        let found = loads(&history, 336);
        assert_eq!(found.len(), 48);
        assert_eq!((found[&336], found[&337], found[&344], found[&360]), (60.0, 2.0, 10.0, 2.0));
        // Of a day and a half only: what is not of this weekday is of the hour of the day.
        let short: Hours = (0..36).map(|hour| (hour, load(hour))).collect();
        let found = loads(&short, 36);
        assert_eq!((found[&36], found[&46], found[&48]), (10.0, 2.0, 26.0));
        // An hour of the day that was never seen is like all.
        let gaps: Hours = (0..48).filter(|hour| hour % 24 != 5).map(|hour| (hour, 4.0)).collect();
        assert_eq!(loads(&gaps, 48)[&53], 4.0);
        assert!(loads(&(0..23).map(|hour| (hour, 1.0)).collect(), 23).is_empty());
    }

    #[test]
    fn capacity_is_what_keeps_the_metric_at_its_target() {
        for (load, target, per, expected) in [
            // Four instances at 50 %, a value a minute.
            (12_000.0, 50.0, PER_INSTANCE, 4.0),
            (12_001.0, 50.0, PER_INSTANCE, 5.0),
            (0.0, 50.0, PER_INSTANCE, 0.0),
            (900.0, 30.0, 10.0, 3.0),
            (900.0, 30.0, 0.0, 0.0),
        ] {
            assert_eq!(capacity(load, target, per), expected, "{load} at {target}, {per}");
        }
        let hours = |values: &[f64]| -> Hours { values.iter().enumerate().map(|(h, v)| (h as i64, *v)).collect() };
        assert_eq!(per_instance(&hours(&[100.0, 240.0]), &hours(&[5.0, 10.0, 1.0]), &hours(&[2.0, 2.0])), Some(11.0));
        assert_eq!(per_instance(&hours(&[100.0]), &hours(&[0.0]), &hours(&[2.0])), None);
    }

    #[test]
    fn the_maximum_holds_unless_it_may_grow() {
        let bounds = |buffer| Bounds { min: 2, max: 10, buffer };
        for (buffer, forecast, expected) in [
            (None, 6.0, (6, 10)),
            (None, 1.0, (2, 10)),
            (None, 14.0, (10, 10)),
            (Some(0), 14.0, (14, 14)),
            (Some(10), 14.0, (14, 16)),
            (Some(10), 9.5, (9, 10)),
            (Some(50), 8.0, (8, 12)),
        ] {
            assert_eq!(bounded(bounds(buffer), forecast), expected, "{buffer:?} {forecast}");
        }
    }
}
