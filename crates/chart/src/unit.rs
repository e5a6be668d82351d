//! What values are counted in, and how they are written.

/// The unit of a chart's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Things a second.
    PerSecond,
    /// Out of a hundred.
    Percent,
    Milliseconds,
    Seconds,
    Bytes,
}

impl Unit {
    /// A value as people read it: `1.2 k/s`, `99.9 %`, `350 ms`.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Count => scaled(value, 1000.0, &["", " k", " M", " G"]),
            Unit::PerSecond => scaled(value, 1000.0, &["/s", " k/s", " M/s", " G/s"]),
            Unit::Percent => format!("{} %", short(value)),
            Unit::Milliseconds if value.abs() >= 1000.0 => Unit::Seconds.text(value / 1000.0),
            Unit::Milliseconds => format!("{} ms", short(value)),
            Unit::Seconds if value != 0.0 && value.abs() < 1.0 => format!("{} ms", short(value * 1000.0)),
            Unit::Seconds if value.abs() >= 120.0 => format!("{} min", short(value / 60.0)),
            Unit::Seconds => format!("{} s", short(value)),
            Unit::Bytes => scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]),
        }
    }
}

/// The value in the largest of the units, each `step` times the one before, of which it has at least one.
fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let (mut rest, mut at) = (value, 0);
    while rest.abs() >= step && at + 1 < units.len() {
        rest /= step;
        at += 1;
    }
    format!("{}{}", short(rest), units[at])
}

/// Three digits, or what stands before the point where that is more. 99.95 stays what it is: it is not 100.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => 0,
        size if (99.0..100.0).contains(&size) => 3,
        size if size >= 100.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_have_units() {
        let table = [
            (Unit::Count, 0.0, "0"),
            (Unit::Count, 1250.0, "1.25 k"),
            (Unit::PerSecond, 199.9, "199.9/s"),
            (Unit::PerSecond, 5000.0, "5 k/s"),
            (Unit::Percent, 99.95, "99.95 %"),
            (Unit::Percent, 100.0, "100 %"),
            (Unit::Milliseconds, 0.35, "0.35 ms"),
            (Unit::Milliseconds, 1500.0, "1.5 s"),
            (Unit::Seconds, 0.02, "20 ms"),
            (Unit::Seconds, 600.0, "10 min"),
            (Unit::Bytes, 1536.0, "1.5 KiB"),
        ];
        for (unit, value, text) in table {
            assert_eq!(unit.text(value), text);
        }
    }
}
