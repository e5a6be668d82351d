//! Figures in words and with units, the same on the terminal and on the page.

/// A year as availability is counted by: 365 days.
pub const YEAR_S: f64 = 365.0 * 86_400.0;

/// How many nines, cut and not rounded: 2.997 are not three.
pub fn how_many_nines(failed: u64, requests: u64) -> String {
    let nines = crate::probe::nines(failed, requests);
    if failed == 0 {
        format!("at least {:.1}", (nines * 10.0).floor() / 10.0)
    } else {
        format!("{:.2}", (nines * 100.0).floor() / 100.0)
    }
}

/// The nines that an availability has, and what it comes to in a year.
pub fn nines(failed: u64, requests: u64) -> String {
    if requests == 0 {
        return "nothing was asked".into();
    }
    let nines = how_many_nines(failed, requests);
    let year = failed.max(1) as f64 / requests as f64 * YEAR_S;
    if failed == 0 {
        format!("{nines} nines: none of {} failed; fewer requests cannot show more", count(requests))
    } else {
        format!("{nines} nines; a year of this is {} without service", time(year))
    }
}

/// A ratio as a percentage, with as many digits as tell it from 100.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    let missing = 100.0 - percent;
    let digits = if missing <= 0.0 { 0 } else { (2.0 - missing.log10().floor()).clamp(0.0, 6.0) as usize };
    let text = format!("{percent:.digits$}");
    // A limit that somebody gave as 99.5 is not 99.500.
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// Seconds, in the units that people use.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0 s".into(),
        s if s < 0.001 => "under 1 ms".into(),
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 9.95 => format!("{} s", format!("{s:.1}").trim_end_matches(".0")),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 3600.0 && s.round() % 60.0 != 0.0 => {
            format!("{} min {} s", s.round() as u64 / 60, s.round() as u64 % 60)
        }
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 2.0 * 86_400.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 thing`, `2 things`.
pub fn plural(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_units() {
        for (seconds, said) in [
            (0.0, "0 s"),
            (0.25, "250 ms"),
            (5.04, "5 s"),
            (5.06, "5.1 s"),
            (0.0004, "under 1 ms"),
            (90.0, "90 s"),
            (134.2, "2 min 14 s"),
            (600.0, "10 min"),
            (6000.0, "100 min"),
            (90_000.0, "25.0 h"),
        ] {
            assert_eq!(time(seconds), said);
        }
        for (ratio, said) in [(1.0, "100 %"), (0.99871, "99.871 %"), (0.5, "50 %"), (0.995, "99.5 %"), (0.0, "0 %")] {
            assert_eq!(percent(ratio), said, "{ratio}");
        }
        assert_eq!((count(999), count(1_234_567)), ("999".into(), "1,234,567".into()));
        assert_eq!((plural(1, "zone"), plural(0, "zone")), ("1 zone".into(), "0 zones".into()));
    }

    #[test]
    fn nines_say_what_a_year_would_be() {
        assert_eq!(nines(36, 3600), "2.00 nines; a year of this is 4 days without service");
        assert!(nines(3, 3000 - 6).starts_with("2.99 nines"), "cut, not rounded");
        assert!(nines(0, 1000).starts_with("at least 3.0 nines: none of 1,000 failed"));
    }
}
