//! Where an axis has its ticks, and what they are called. Pure.

use standfast_core::Timestamp;

/// Steps of time axes, in seconds.
const TIME_STEPS: [i64; 14] =
    [60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000];
const DAY: i64 = 86_400;

/// What an axis shows, with the step of its ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub min: f64,
    pub max: f64,
    step: f64,
}

impl Scale {
    /// For values from `low` to `high`, with about so many ticks at round numbers.
    pub fn of(low: f64, high: f64, ticks: usize) -> Self {
        let (low, high) = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
        let rough = (high - low) / ticks.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|part| part * power).find(|step| *step >= rough);
        let step = step.unwrap_or(10.0 * power);
        Self { min: (low / step).floor() * step, max: (high / step).ceil() * step, step }
    }

    /// With edges that were asked for.
    pub fn between(self, min: Option<f64>, max: Option<f64>) -> Self {
        let (min, max) = (min.unwrap_or(self.min), max.unwrap_or(self.max));
        if min < max { Self { min, max, step: Self::of(min, max, 5).step } } else { self }
    }

    pub fn ticks(self) -> Vec<f64> {
        let first = (self.min / self.step).ceil() as i64;
        let last = (self.max / self.step + 1e-9).floor() as i64;
        (first..=last.min(first + 100)).map(|i| i as f64 * self.step).collect()
    }

    /// Where a value is, from 0 at the bottom to 1 at the top.
    pub fn place(self, value: f64) -> f64 {
        (value - self.min) / (self.max - self.min)
    }
}

/// `1.5k`, `20M`, `0.25`.
pub fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e12 => (value / 1e12, "T"),
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}

/// Times for ticks from `start` to `end`, in seconds, at most so many, with their names.
pub fn times(start: i64, end: i64, most: usize, offset_s: i64) -> Vec<(i64, String)> {
    let fits = |step: &&i64| (end - start) / **step < most.max(1) as i64;
    let step = TIME_STEPS.iter().find(fits).copied().unwrap_or((end - start).max(1));
    let first = (start + offset_s + step - 1).div_euclid(step) * step - offset_s;
    let name = |at: i64| {
        let text = Timestamp((at + offset_s) * 1000).iso8601();
        let day = (at + offset_s).rem_euclid(DAY) == 0;
        if step >= DAY || day { format!("{}/{}", &text[5..7], &text[8..10]) } else { text[11..16].to_owned() }
    };
    (0..).map(|i| first + i * step).take_while(|at| *at <= end).map(|at| (at, name(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_at_round_numbers() {
        assert_eq!(Scale::of(0.0, 97.0, 5).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(Scale::of(3.1, 3.9, 4).ticks().len(), 6);
        assert_eq!(Scale::of(5.0, 5.0, 4).place(5.0), 0.5);
        assert_eq!(Scale::of(0.0, 9.0, 5).between(Some(0.0), Some(100.0)).ticks().last(), Some(&100.0));
    }

    #[test]
    fn numbers_and_times_are_short() {
        for (value, text) in
            [(0.0, "0"), (-0.0, "0"), (0.25, "0.25"), (1500.0, "1500"), (15_000.0, "15k"), (2.5e6, "2.5M")]
        {
            assert_eq!(number(value), text);
        }
        let names: Vec<String> = times(0, 3 * 3600, 6, 0).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["01/01", "01:00", "02:00", "03:00"]);
        assert_eq!(times(60, 9 * DAY, 10, 0).first().map(|(_, name)| name.clone()), Some("01/02".to_owned()));
    }
}
