//! Which buckets a request asks for: CloudWatch's rules of periods and starts.

use standfast_core::{Result, Timestamp};

use super::errors::wrong;
use super::points::Range;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// Periods below a minute.
const FINE_PERIODS: [i64; 5] = [1, 5, 10, 20, 30];

/// Checks the period and the times, and rounds the start down as CloudWatch does: by its age to the minute, to five
/// minutes or to the hour; with a period below a minute to a multiple of that.
pub fn range(start: Timestamp, end: Timestamp, period: i32, parameter: &str, now: Timestamp) -> Result<Range> {
    let period = i64::from(period);
    if !FINE_PERIODS.contains(&period) && (period <= 0 || period % MINUTE != 0) {
        return Err(wrong(format!(
            "The parameter {parameter} must be set to 1, 5, 10, 20, 30, or a multiple of 60; it is {period}."
        )));
    }
    check_times(start, end)?;
    let (start, end, now) = (start.0.div_euclid(1000), ceil(end.0), now.0.div_euclid(1000));
    let unit = match now - start {
        age if age >= 63 * DAY => HOUR,
        age if age >= 15 * DAY => 5 * MINUTE,
        _ => period.min(MINUTE),
    };
    let start = start - start.rem_euclid(unit);
    Ok(Range { start, end, period })
}

pub fn check_times(start: Timestamp, end: Timestamp) -> Result<()> {
    if start >= end {
        return Err(wrong("The parameter StartTime must be less than the parameter EndTime."));
    }
    Ok(())
}

/// How many buckets there can be.
pub fn size(range: Range) -> i64 {
    (range.end - range.start + range.period - 1) / range.period
}

fn ceil(ms: i64) -> i64 {
    -(-ms).div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_rounded_down_by_age_and_period() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a time");
        let cases = [
            ("2026-11-20T10:07:31.500Z", 60, "2026-11-20T10:07:00.000Z"),
            ("2026-11-20T10:07:31Z", 300, "2026-11-20T10:07:00.000Z"),
            ("2026-11-20T10:07:31Z", 1, "2026-11-20T10:07:31.000Z"),
            ("2026-11-20T10:07:31Z", 10, "2026-11-20T10:07:30.000Z"),
            ("2026-11-20T10:07:31Z", 20, "2026-11-20T10:07:20.000Z"),
            ("2026-11-01T10:07:31Z", 60, "2026-11-01T10:05:00.000Z"),
            ("2026-08-01T10:07:31Z", 60, "2026-08-01T10:00:00.000Z"),
        ];
        for (start, period, expected) in cases {
            let range = range(start.parse().expect("a time"), now, period, "Period", now).expect("good");
            assert_eq!(Timestamp(range.start * 1000).iso8601(), expected, "{start} by {period}");
        }
    }

    #[test]
    fn periods_and_times_are_checked() {
        let (now, before) = (Timestamp(1_000_000), Timestamp(0));
        for bad in [0, -60, 2, 45, 61, 90] {
            let error = range(before, now, bad, "Period", now).expect_err("must be refused");
            assert!(error.is("InvalidParameterValue") && error.message.contains("Period"), "{bad}");
        }
        assert!(range(now, now, 60, "Period", now).is_err());
        assert!(range(now, before, 60, "Period", now).is_err());
        assert_eq!(size(range(Timestamp(0), Timestamp(120_001), 60, "Period", now).expect("good")), 3);
    }
}
