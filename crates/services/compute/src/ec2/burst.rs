//! The burst credits of gp2 volumes: pure arithmetic, for hosts and metrics.
//!
//! A gp2 volume earns a credit for each I/O operation per second of its baseline, and spends one for each operation. It
//! begins with a full bucket, so a small volume can do 3,000 operations per second for a while.

use std::time::Duration;

/// The baseline per GiB, and its bounds.
pub const BASELINE_PER_GIB: u32 = 3;
pub const BASELINE_MIN: u32 = 100;
pub const BASELINE_MAX: u32 = 16_000;
/// What a volume whose baseline is lower can do while it has credits.
pub const BURST_IOPS: u32 = 3_000;
/// How many credits the bucket holds: half an hour of bursting without any earned.
pub const CREDITS_MAX: f64 = 5_400_000.0;

/// What a gp2 volume of this size can do for ever.
pub fn baseline_iops(size_gib: u32) -> u32 {
    size_gib.saturating_mul(BASELINE_PER_GIB).clamp(BASELINE_MIN, BASELINE_MAX)
}

/// What it can do while it has credits.
pub fn peak_iops(size_gib: u32) -> u32 {
    baseline_iops(size_gib).max(BURST_IOPS)
}

/// How long a full bucket lasts at the burst rate; `None` when the baseline is no lower and credits do not count.
pub fn full_burst(size_gib: u32) -> Option<Duration> {
    let spent = BURST_IOPS.checked_sub(baseline_iops(size_gib)).filter(|spent| *spent > 0)?;
    Some(Duration::from_secs_f64(CREDITS_MAX / f64::from(spent)))
}

/// The credits after `time` at `iops`, of a volume that had `credits`: never under zero, never over the bucket.
pub fn credits_after(size_gib: u32, credits: f64, iops: u32, time: Duration) -> f64 {
    let rate = f64::from(baseline_iops(size_gib)) - f64::from(iops);
    (credits + rate * time.as_secs_f64()).clamp(0.0, CREDITS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_is_three_per_gib_within_its_bounds() {
        for (size, baseline, peak) in
            [(1, 100, 3000), (33, 100, 3000), (34, 102, 3000), (1000, 3000, 3000), (5334, 16_000, 16_000)]
        {
            assert_eq!((baseline_iops(size), peak_iops(size)), (baseline, peak), "{size} GiB");
        }
    }

    #[test]
    fn credits_are_earned_at_the_baseline_and_spent_by_operations() {
        assert_eq!(full_burst(100), Some(Duration::from_secs(2000)));
        assert_eq!(full_burst(1000), None);
        assert_eq!(credits_after(100, CREDITS_MAX, 3000, Duration::from_secs(2000)), 0.0);
        assert_eq!(credits_after(100, 0.0, 0, Duration::from_secs(10)), 3000.0);
        assert_eq!(credits_after(100, CREDITS_MAX, 0, Duration::from_secs(10)), CREDITS_MAX);
    }
}
