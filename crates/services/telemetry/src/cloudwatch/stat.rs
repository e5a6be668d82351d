//! Statistics by name: `Average`, `Sum`, ..., and percentiles such as `p99.9`.

use super::points::Bucket;

/// A statistic of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stat {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    Percentile(f64),
}

/// How many digits a percentile may have after its point.
const DIGITS_MAX: usize = 10;

impl Stat {
    /// The five plain ones.
    pub fn plain(name: &str) -> Option<Stat> {
        Some(match name {
            "SampleCount" => Stat::SampleCount,
            "Average" => Stat::Average,
            "Sum" => Stat::Sum,
            "Minimum" => Stat::Minimum,
            "Maximum" => Stat::Maximum,
            _ => return None,
        })
    }

    /// A percentile: `p` and a number from 0 to 100.
    pub fn extended(name: &str) -> Option<Stat> {
        let number = name.strip_prefix('p')?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || whole.len() > 3 || fraction.len() > DIGITS_MAX {
            return None;
        }
        let percent = number.parse().ok()?;
        (0.0..=100.0).contains(&percent).then_some(Stat::Percentile(percent))
    }

    /// Either.
    pub fn named(name: &str) -> Option<Stat> {
        Stat::plain(name).or_else(|| Stat::extended(name))
    }

    /// How many samples a percentile needs to say anything: ten in its smaller part.
    pub fn samples_needed(self) -> Option<f64> {
        let Stat::Percentile(percent) = self else { return None };
        let part = (percent.min(100.0 - percent) / 100.0).max(f64::EPSILON);
        Some(10.0 / part)
    }

    /// `None` when the bucket does not know.
    pub fn of(self, bucket: &Bucket) -> Option<f64> {
        match self {
            Stat::SampleCount => Some(bucket.count),
            Stat::Average => Some(bucket.average()),
            Stat::Sum => Some(bucket.sum),
            Stat::Minimum => Some(bucket.min),
            Stat::Maximum => Some(bucket.max),
            Stat::Percentile(percent) => bucket.percentile(percent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numbers_up_to_a_hundred() {
        for (name, percent) in [("p0", 0.0), ("p50", 50.0), ("p99.9", 99.9), ("p100", 100.0), ("p0.01", 0.01)] {
            assert_eq!(Stat::named(name), Some(Stat::Percentile(percent)), "{name}");
        }
        for bad in ["p", "p-1", "p101", "p100.1", "p1e2", "p+5", "p9.", "p.5", "pNaN", "P50", "average", "tm99", ""] {
            assert_eq!(Stat::named(bad), None, "{bad}");
        }
    }
}
