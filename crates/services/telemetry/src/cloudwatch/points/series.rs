//! The points of one metric in one unit, from fine and young to coarse and old.
//!
//! Invariant: a point is in exactly one tier. It goes into the finest that it was sent for and moves up when it is older
//! than that tier keeps, so every statistic of an interval is the same before and after, as far as periods that fit.

use std::collections::BTreeMap;

use super::bucket::Bucket;
use super::tier::Buckets;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// How wide the buckets of a tier are and how old they get, in seconds.
pub struct Tier {
    pub width: i64,
    pub kept: i64,
}

/// CloudWatch's own.
pub const TIERS: [Tier; 4] = [
    Tier { width: 1, kept: 3 * HOUR },
    Tier { width: 60, kept: 15 * DAY },
    Tier { width: 300, kept: 63 * DAY },
    Tier { width: 3600, kept: 455 * DAY },
];

/// The tier of high resolution, and that of all other points.
const FINE: usize = 0;
const PLAIN: usize = 1;

/// What is to be known of the buckets that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Count, sum, minimum and maximum.
    Sums,
    /// Also how the values are spread, as percentiles need it.
    Spread,
}

/// See the module. Times are seconds since 1970.
#[derive(Debug, Default)]
pub struct Series {
    pub(super) tiers: [Buckets; TIERS.len()],
    pub(super) size_bytes: usize,
}

impl Series {
    /// Adds values of one time. `fine` keeps them by the second, else by the minute.
    pub fn put(&mut self, at: i64, fine: bool, values: &Bucket) {
        self.add(if fine { FINE } else { PLAIN }, at, values);
    }

    fn add(&mut self, tier: usize, at: i64, values: &Bucket) {
        let start = stored(at - at.rem_euclid(TIERS[tier].width));
        let buckets = &mut self.tiers[tier];
        let before = buckets.size_bytes();
        buckets.add(start, values);
        self.size_bytes = self.size_bytes + buckets.size_bytes() - before;
    }

    /// Puts a tier back as a dump had it.
    pub(super) fn restore(&mut self, tier: usize, buckets: Buckets) {
        self.size_bytes += buckets.size_bytes();
        self.tiers[tier] = buckets;
    }

    /// Moves up what has grown too old for its tier, and drops what has for the last. Every tier keeps `1/shrink` of
    /// what it should.
    pub fn age(&mut self, now: i64, shrink: i64) {
        for (tier, Tier { kept, .. }) in TIERS.iter().enumerate() {
            let oldest = stored(now - kept / shrink);
            let buckets = &mut self.tiers[tier];
            let before = buckets.size_bytes();
            let taken = buckets.take_older(oldest);
            self.size_bytes = self.size_bytes + buckets.size_bytes() - before;
            if tier + 1 < TIERS.len() {
                taken.into_iter().for_each(|(start, bucket)| self.add(tier + 1, i64::from(start), &bucket));
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.tiers.iter().all(Buckets::is_empty)
    }

    /// The start of the newest bucket.
    pub fn newest(&self) -> Option<i64> {
        self.tiers.iter().filter_map(Buckets::newest).max().map(i64::from)
    }

    /// Adds the values of `start..end` to buckets of `period` seconds that begin at `start`. Points that are kept in
    /// wider buckets than that are left out, but any period below a minute shows those of a minute at its start.
    pub fn read(&self, start: i64, end: i64, period: i64, detail: Detail, out: &mut BTreeMap<i64, Bucket>) {
        let widest = period.max(TIERS[PLAIN].width);
        let (first, last) = (stored(start), stored(end));
        for (tier, buckets) in TIERS.iter().zip(&self.tiers) {
            if tier.width > widest {
                break;
            }
            // Those of one period come one after another: one look into the map for all of them.
            let mut open: Option<(i64, Bucket)> = None;
            buckets.each(first, last, |at, bucket| {
                let at = start + (i64::from(at) - start) / period * period;
                match &mut open {
                    Some((begun, sum)) if *begun == at => sum.merge(bucket),
                    _ => {
                        let new = if detail == Detail::Sums { bucket.sums() } else { bucket.clone() };
                        close(open.replace((at, new)), out);
                    }
                }
            });
            close(open, out);
        }
    }
}

fn close(open: Option<(i64, Bucket)>, out: &mut BTreeMap<i64, Bucket>) {
    if let Some((at, bucket)) = open {
        out.entry(at).and_modify(|sum| sum.merge(&bucket)).or_insert(bucket);
    }
}

fn stored(seconds: i64) -> u32 {
    seconds.clamp(0, i64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn one(value: f64) -> Bucket {
        Bucket::values(value, 1.0)
    }

    fn sums(series: &Series, start: i64, end: i64, period: i64) -> Vec<(i64, f64)> {
        let mut out = BTreeMap::new();
        series.read(start, end, period, Detail::Spread, &mut out);
        out.into_iter().map(|(at, bucket)| (at - start, bucket.sum)).collect()
    }

    #[test]
    fn periods_begin_at_the_start_and_end_before_the_end() {
        let mut series = Series::default();
        for minute in 0..10 {
            series.put(NOW + 60 * minute + 59, false, &one(1.0));
        }
        assert_eq!(sums(&series, NOW, NOW + 600, 300), [(0, 5.0), (300, 5.0)]);
        assert_eq!(sums(&series, NOW + 120, NOW + 540, 300), [(0, 5.0), (300, 2.0)]);
        assert_eq!(sums(&series, NOW + 60, NOW + 120, 60), [(0, 1.0)]);
        assert_eq!(sums(&series, NOW + 600, NOW + 900, 60), []);
    }

    #[test]
    fn points_may_come_in_any_order() {
        let mut series = Series::default();
        for minute in [5, 1, 9, 1, 0] {
            series.put(NOW + 60 * minute, false, &one(1.0));
        }
        assert_eq!(sums(&series, NOW, NOW + 600, 60), [(0, 1.0), (60, 2.0), (300, 1.0), (540, 1.0)]);
    }

    #[test]
    fn seconds_are_told_apart_for_high_resolution_only() {
        let mut series = Series::default();
        for second in [61, 62, 75] {
            series.put(NOW + second, true, &one(1.0));
            series.put(NOW + second, false, &one(10.0));
        }
        assert_eq!(sums(&series, NOW + 60, NOW + 120, 1), [(0, 30.0), (1, 1.0), (2, 1.0), (15, 1.0)]);
        assert_eq!(sums(&series, NOW, NOW + 120, 60), [(60, 33.0)]);
    }

    #[test]
    fn old_points_move_up_and_in_the_end_go() {
        let mut series = Series::default();
        let start = NOW - NOW % 3600;
        for second in 0..3600 {
            series.put(start + second, true, &one(1.0));
        }
        let held = |series: &Series| series.tiers.each_ref().map(Buckets::len);
        for (age, expected) in [
            (3 * HOUR, [3600, 0, 0, 0]),
            (4 * HOUR, [0, 60, 0, 0]),
            (15 * DAY, [0, 60, 0, 0]),
            (15 * DAY + HOUR, [0, 0, 12, 0]),
            (64 * DAY, [0, 0, 0, 1]),
            (455 * DAY, [0, 0, 0, 1]),
            (455 * DAY + 1, [0, 0, 0, 0]),
        ] {
            series.age(start + age, 1);
            assert_eq!(held(&series), expected, "after {age} s");
            if age < 455 * DAY {
                assert_eq!(sums(&series, start, start + 3600, 3600), [(0, 3600.0)], "after {age} s");
            }
        }
        assert_eq!((series.size_bytes, series.is_empty()), (0, true));
    }

    #[test]
    fn wide_buckets_are_not_shown_in_narrow_periods() {
        let mut series = Series::default();
        series.put(NOW, false, &one(1.0));
        series.age(NOW + 16 * DAY, 1);
        assert_eq!(sums(&series, NOW, NOW + 3600, 60), []);
        assert_eq!(sums(&series, NOW, NOW + 3600, 300), [(0, 1.0)]);
    }

    #[test]
    fn the_size_is_what_the_buckets_take() {
        let mut series = Series::default();
        for i in 0..1000 {
            series.put(NOW + i % 7 * 60, i % 2 == 0, &one((i % 100) as f64));
        }
        let size = |series: &Series| series.tiers.iter().map(Buckets::measured_bytes).sum::<usize>();
        assert_eq!(series.size_bytes, size(&series));
        series.age(NOW + 4 * HOUR, 1);
        assert_eq!(series.size_bytes, size(&series));
    }
}
