//! Statistics by name: `Average`, `Sum`, ..., percentiles such as `p99.9`, and what is left when a part of the values is cut
//! off: `tm90`, `TM(10%:90%)`, `wm`, `tc`, `ts`, `PR(:300)`, `IQM`.
//!
//! All but the five plain ones need to know how the values of a bucket are spread. Up to 64 different values of a bucket that is
//! exact; beyond, values are known to one and a half percent, and so are these statistics.

use super::points::{Bucket, Detail};

/// A statistic of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stat {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    Percentile(f64),
    /// Of the values between two bounds.
    Cut(Cut, Bound, Bound),
}

/// What is said of values between bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// `tm`: their mean.
    Mean,
    /// `wm`: the mean of all, where those beyond a bound count as the bound.
    Winsorized,
    /// `tc`: how many they are.
    Count,
    /// `ts`: their sum.
    Sum,
    /// `pr`: how many percent of all they are.
    Rank,
}

/// Where values are cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    None,
    /// So many percent of the values are below.
    Percent(f64),
    Value(f64),
}

/// How many digits a percentile may have after its point.
const DIGITS_MAX: usize = 10;
const CUTS: [(&str, Cut); 5] =
    [("tm", Cut::Mean), ("wm", Cut::Winsorized), ("tc", Cut::Count), ("ts", Cut::Sum), ("pr", Cut::Rank)];

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

    /// Any other.
    pub fn extended(name: &str) -> Option<Stat> {
        if let Some(number) = name.strip_prefix('p')
            && let Some(percent) = percent(number)
        {
            return Some(Stat::Percentile(percent));
        }
        if name.eq_ignore_ascii_case("iqm") {
            return Some(Stat::Cut(Cut::Mean, Bound::Percent(25.0), Bound::Percent(75.0)));
        }
        let (start, rest) = name.split_at_checked(2)?;
        let cut = CUTS.iter().find(|(short, _)| start.eq_ignore_ascii_case(short))?.1;
        let Some(bounds) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
            // `tm90` is `TM(:90%)`. A rank is by values alone.
            return percent(rest)
                .filter(|_| cut != Cut::Rank)
                .map(|up| Stat::Cut(cut, Bound::None, Bound::Percent(up)));
        };
        let (low, high) = bounds.split_once(':')?;
        let (low, high) = (bound(low)?, bound(high)?);
        let sound = match (low, high) {
            (Bound::None, Bound::None) => false,
            (Bound::Percent(low), Bound::Percent(high)) | (Bound::Value(low), Bound::Value(high)) => low < high,
            (Bound::Percent(_), Bound::Value(_)) | (Bound::Value(_), Bound::Percent(_)) => false,
            _ => true,
        };
        let by_percent = [low, high].iter().any(|bound| matches!(bound, Bound::Percent(_)));
        (sound && !(cut == Cut::Rank && by_percent)).then_some(Stat::Cut(cut, low, high))
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

    /// What must be known of a bucket.
    pub fn detail(self) -> Detail {
        match self {
            Stat::Percentile(_) | Stat::Cut(..) => Detail::Spread,
            _ => Detail::Sums,
        }
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
            Stat::Cut(cut, low, high) => cut_of(bucket, cut, low, high),
        }
    }
}

/// A number from 0 to 100.
fn percent(number: &str) -> Option<f64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 3 || fraction.len() > DIGITS_MAX {
        return None;
    }
    let percent = number.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent)
}

fn bound(text: &str) -> Option<Bound> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Bound::None);
    }
    if let Some(number) = text.strip_suffix('%') {
        return percent(number).map(Bound::Percent);
    }
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
    text.parse().ok().filter(|_| plain).map(Bound::Value)
}

/// Values count from above the lower bound up to the upper one. A value at a bound by percent counts in part.
fn cut_of(bucket: &Bucket, cut: Cut, low: Bound, high: Bound) -> Option<f64> {
    let rank = |bound: Bound, open: f64| match bound {
        Bound::Percent(percent) => bucket.count * percent / 100.0,
        Bound::None | Bound::Value(_) => open,
    };
    let (from, to) = (rank(low, 0.0), rank(high, bucket.count));
    let edge = |bound: Bound, open: f64| match bound {
        Bound::None => Some(open),
        Bound::Percent(percent) => bucket.percentile(percent),
        Bound::Value(value) => Some(value),
    };
    let (least, most) = (edge(low, f64::NEG_INFINITY)?, edge(high, f64::INFINITY)?);
    let (mut seen, mut count, mut sum, mut winsorized) = (0.0, 0.0, 0.0, 0.0);
    for (value, times) in bucket.spread()? {
        let in_rank = ((seen + times).min(to) - f64::max(seen, from)).max(0.0);
        let in_value = |bound: Bound, fits: bool| !matches!(bound, Bound::Value(_)) || fits;
        let taken = if in_value(low, value > least) && in_value(high, value <= most) { in_rank } else { 0.0 };
        seen += times;
        count += taken;
        sum += value * taken;
        winsorized += value.clamp(least.min(most), most) * times;
    }
    match cut {
        Cut::Count => Some(count),
        Cut::Sum => Some(sum),
        Cut::Rank => Some(100.0 * count / bucket.count),
        Cut::Winsorized => Some(winsorized / bucket.count),
        Cut::Mean => (count > 0.0).then(|| sum / count),
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
        for bad in [
            "p",
            "p-1",
            "p101",
            "p100.1",
            "p1e2",
            "p+5",
            "p9.",
            "p.5",
            "pNaN",
            "P50",
            "average",
            "",
            "tm",
            "tm101",
            "TM(:)",
            "TM(10:90%)",
            "TM(90%:10%)",
            "TM(10%)",
            "PR(10%:)",
            "pr90",
            "TM(:inf)",
            "TM(:1e5)",
            "IQM()",
            "é",
        ] {
            assert_eq!(Stat::named(bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_of_values_are_cut_off() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 100.0].map(|value| Bucket::values(value, 1.0));
        let ten = values.into_iter().reduce(|mut a, b| (a.merge(&b), a).1).expect("not empty");
        for (name, value) in [
            ("tm90", 5.0),
            ("TM(:90%)", 5.0),
            ("TM(10%:90%)", 5.5),
            ("tm(10%:)", 16.0),
            ("TM(2:4)", 3.5),
            ("TM(:3)", 2.0),
            ("IQM", 5.5),
            ("tc90", 9.0),
            ("TC(2:8)", 6.0),
            ("ts90", 45.0),
            ("TS(80%:)", 109.0),
            ("TS(:5)", 15.0),
            ("wm90", 5.4),
            ("WM(10%:90%)", 5.4),
            ("PR(:3)", 30.0),
            ("PR(3:)", 70.0),
            ("PR(3:8)", 50.0),
            ("tm5", 1.0),
        ] {
            let found = Stat::named(name).unwrap_or_else(|| panic!("{name}")).of(&ten).expect("known");
            assert!((found - value).abs() < 1e-9, "{name}: {found} for {value}");
        }
        assert_eq!(Stat::named("TM(200:300)").expect("good").of(&ten), None, "there is nothing");
        assert_eq!(Stat::named("tm90").expect("good").of(&Bucket::set(2.0, 3.0, 1.0, 2.0)), None, "nothing is known");
        assert_eq!(Stat::named("tm90").expect("good").of(&Bucket::values(4.0, 9.0)), Some(4.0));
    }
}
