//! Where the axes are labelled, and with what.

use standfast_core::Timestamp;

use crate::Chart;

/// Steps of time that people count in, in milliseconds.
const TIME_STEPS_MS: [i64; 25] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000,
    900_000, 1_800_000, 3_600_000, 10_800_000, 21_600_000, 43_200_000,
];
const DAY_MS: i64 = 86_400_000;

/// At most `most` labels of the horizontal axis: milliseconds after the chart's begin, and the text.
pub fn of_time(chart: &Chart, most: usize) -> Vec<(i64, String)> {
    let length = chart.to.0 - chart.from.0;
    let most = most.max(1) as i64;
    let step = TIME_STEPS_MS.into_iter().find(|step| length / step < most);
    let step = step.unwrap_or_else(|| DAY_MS * (length / most / DAY_MS + 1));
    // Labels stand at round times of what the axis shows.
    let zero = chart.zero.map_or(0, |zero| zero.0);
    let first = (chart.from.0 - zero).div_euclid(step) * step;
    (0..=most + 1)
        .map(|i| zero + first + i * step)
        .filter(|at| (chart.from.0..=chart.to.0).contains(at))
        .map(|at| (at - chart.from.0, time(chart, Timestamp(at), step)))
        .collect()
}

/// A moment as the chart's axis shows it, exact to a step.
pub fn time(chart: &Chart, at: Timestamp, step_ms: i64) -> String {
    let digits = match step_ms {
        ..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    if let Some(zero) = chart.zero {
        let ms = at.0 - zero.0;
        let (sign, seconds) = (if ms < 0 { "-" } else { "" }, ms.abs() as f64 / 1000.0);
        if ms.abs() < 60_000 && chart.to.0 - zero.0 <= 120_000 {
            return format!("{sign}{seconds:.digits$} s");
        }
        let whole = ms.abs() / 1000;
        let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
        return if hours > 0 {
            format!("{sign}{hours}:{minutes:02}:{seconds:02}")
        } else {
            format!("{sign}{minutes}:{seconds:02}")
        };
    }
    let civil = at.civil();
    match step_ms {
        ..1000 => {
            format!("{}.{:0digits$}", civil.strftime("%H:%M:%S"), at.0.rem_euclid(1000) / 10_i64.pow(3 - digits as u32))
        }
        1000..60_000 => civil.strftime("%H:%M:%S").to_string(),
        60_000..DAY_MS => civil.strftime("%H:%M").to_string(),
        _ => civil.strftime("%d %b").to_string(),
    }
}

/// Round values over a range, about `wanted` of them; the first is at or below `low`, the last at or above `high`.
pub fn of_values(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    let span = if high > low { high - low } else { 1.0 };
    let rough = span / wanted.max(1) as f64;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(magnitude * 10.0);
    let (first, last) = ((low / step + 1e-9).floor() as i64, ((low + span) / step - 1e-9).ceil() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    #[test]
    fn values_are_round_and_cover_the_range() {
        assert_eq!(of_values(0.0, 187.0, 4), [0.0, 50.0, 100.0, 150.0, 200.0]);
        assert_eq!(of_values(0.0, 0.0, 4), [0.0, 0.5, 1.0]);
        assert_eq!(of_values(99.0, 100.0, 4), [99.0, 99.5, 100.0]);
        assert_eq!(of_values(-3.0, 3.0, 3), [-4.0, -2.0, 0.0, 2.0, 4.0]);
    }

    #[test]
    fn times_are_round_where_they_are_read() {
        let at = |ms: i64| Timestamp(1_700_000_000_000 + ms); // 22:13:20
        let texts = |chart: &Chart, most| of_time(chart, most).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let chart = Chart::new("", Unit::Count, at(0), at(300_000));
        assert_eq!(texts(&chart, 6), ["22:14", "22:15", "22:16", "22:17", "22:18"]);
        let chart = Chart::new("", Unit::Count, at(0), at(40_000)).elapsed_since(at(0));
        assert_eq!(texts(&chart, 5), ["0 s", "10 s", "20 s", "30 s", "40 s"]);
        let chart = Chart::new("", Unit::Count, at(-60_000), at(240_000)).elapsed_since(at(0));
        assert_eq!(texts(&chart, 6), ["-1:00", "0:00", "1:00", "2:00", "3:00", "4:00"]);
    }
}
