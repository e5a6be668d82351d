//! How values are written.

/// Reads `250ms`, `90s`, `5m`, `1h`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().map_err(|_| format!("'{text}' is not a duration such as 90s or 5m"))?;
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("'{unit}' is not a unit of time; use ms, s, m or h")),
    };
    let seconds = number * unit;
    if !(seconds > 0.0 && seconds <= 86_400.0) {
        return Err("a duration is more than zero and at most 24h".into());
    }
    Ok(std::time::Duration::from_secs_f64(seconds))
}

pub(super) fn probability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err("a probability is a number from 0 to 1".into()),
    }
}

pub(super) fn moment(text: &str) -> Result<(i64, i64), String> {
    let pair = text.split_once(':').and_then(|(cloud, machine)| Some((cloud.parse().ok()?, machine.parse().ok()?)));
    pair.ok_or_else(|| format!("'{text}' is not two times"))
}

pub(super) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=1000.0).contains(&speed) => Ok(speed),
        _ => Err("a speed is a number from 0.1 to 1000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        assert_eq!(duration("1.5m"), Ok(std::time::Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(std::time::Duration::from_millis(250)));
        for bad in ["", "s", "5 parsecs", "0s", "-1s", "25h", "NaN"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
