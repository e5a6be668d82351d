//! The timeline as one SVG: requests, latencies, who answered, and what happened in every layer, above one another on one
//! axis of time.
//!
//! Invariant: its size does not depend on how many requests or seconds there were; what does not fit is put together, and
//! failures are never lost by it: sums for counts, the slowest for latencies.

use std::fmt::Write;

use super::html::escape;
use super::verdict::layer;
use super::words::{count, time};
use super::{ProbeReport, Report};
use crate::spec::Layer;
use crate::watch::{Entry, Sign};

/// The most entries that one lane shows; the list below the picture has all.
const MARKS_MAX: usize = 400;
/// Lanes, from what is done to what comes of it.
const LANES: [Layer; 7] =
    [Layer::Fault, Layer::Stack, Layer::Users, Layer::LoadBalancer, Layer::Group, Layer::Instance, Layer::Alarm];
const LANE: f64 = 24.0;
const GAP: f64 = 40.0;

/// A picture of this width; its height follows from what there is.
pub struct Picture<'a> {
    report: &'a Report,
    probe: &'a ProbeReport,
    width: f64,
    left: f64,
    right: f64,
    out: String,
    y: f64,
}

/// The timeline of one probe.
pub fn svg(report: &Report, probe: &ProbeReport, width: u32) -> String {
    let narrow = width < 640;
    let width = f64::from(width);
    let left = if narrow { 46.0 } else { 92.0 };
    let mut picture = Picture { report, probe, width, left, right: width - 10.0, out: String::new(), y: 8.0 };
    let columns = picture.columns();
    let zones = !probe.seconds.zones.is_empty();
    picture.requests(&columns, if narrow { 90.0 } else { 130.0 });
    picture.latencies(&columns, if narrow { 76.0 } else { 96.0 });
    if zones {
        picture.zones(if narrow { 54.0 } else { 64.0 });
    }
    picture.lanes(narrow);
    picture.finish()
}

/// What becomes of the seconds that share a column of pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Column {
    from_s: f64,
    to_s: f64,
    ok: f64,
    failed: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Picture<'_> {
    fn end_s(&self) -> f64 {
        (self.report.length_ms as f64 / 1000.0).max(1.0)
    }

    fn x(&self, s: f64) -> f64 {
        self.left + (s / self.end_s()).clamp(0.0, 1.0) * (self.right - self.left)
    }

    /// At most one column for each two pixels.
    fn columns(&self) -> Vec<Column> {
        let seconds = &self.probe.seconds;
        let most = ((self.right - self.left) / 2.0) as usize;
        let each = seconds.ok.len().div_ceil(most.max(1)).max(1);
        (0..seconds.ok.len()).step_by(each).map(|from| column(seconds, from, each)).collect()
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = write!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>", escape(text));
    }

    /// A panel's frame: its name above it, and lines at these heights with their labels.
    fn panel(&mut self, name: &str, height: f64, ticks: &[(f64, String)]) -> f64 {
        self.y += if self.y > GAP { GAP - 8.0 } else { GAP / 2.0 };
        self.text(self.left, self.y - 8.0, "t-name", name);
        let top = self.y;
        for (part, label) in ticks {
            let y = top + height * (1.0 - part);
            let _ = write!(self.out, "<path class=\"t-grid\" d=\"M{:.1} {y:.1}H{:.1}\"/>", self.left, self.right);
            self.text(self.left - 6.0, y + 4.0, "t-tick t-end", label);
        }
        self.y = top + height;
        top
    }

    fn requests(&mut self, columns: &[Column], height: f64) {
        let most = columns.iter().map(|c| (c.ok + c.failed) / (c.to_s - c.from_s)).fold(1.0, f64::max);
        let full = nice(most);
        let ticks = [0.0, 0.5, 1.0].map(|part| (part, short(part * full)));
        let top = self.panel("requests a second", height, &ticks);
        let (mut ok, mut failed) = (String::new(), String::new());
        for c in columns {
            let (x, end) = (self.x(c.from_s), self.x(c.to_s));
            let each = c.to_s - c.from_s;
            let (high, bad) = (height * c.ok / each / full, height * c.failed / each / full);
            let y = top + height - high;
            let _ = write!(ok, "M{x:.1} {:.1}V{y:.1}H{end:.1}V{:.1}z", top + height, top + height);
            if c.failed > 0.0 {
                // One failure in a thousand is to be seen too.
                let bad = bad.max(2.0);
                let _ = write!(failed, "M{x:.1} {y:.1}V{:.1}H{end:.1}V{y:.1}z", y - bad);
            }
        }
        let _ = write!(self.out, "<path class=\"t-ok\" d=\"{ok}\"/><path class=\"t-failed\" d=\"{failed}\"/>");
    }

    fn latencies(&mut self, columns: &[Column], height: f64) {
        let measured = || columns.iter().filter(|c| c.ok > 0.0);
        let low = measured().map(|c| c.p50_ms).fold(f64::INFINITY, f64::min).clamp(0.01, 1e6).log10().floor();
        let high = measured().map(|c| c.p99_ms).fold(0.01, f64::max).log10().ceil().max(low + 1.0);
        let part = |ms: f64| ((ms.max(1e-3).log10() - low) / (high - low)).clamp(0.0, 1.0);
        let ticks: Vec<(f64, String)> = (low as i32..=high as i32)
            .map(|power| (part(10f64.powi(power)), time(10f64.powi(power) / 1000.0)))
            .map(|(part, label)| (part, if label.starts_with("under") { String::new() } else { label }))
            .collect();
        let top = self.panel("latency: p50, and p99 above it", height, &ticks);
        for (class, of) in [("t-p99", (|c: &Column| c.p99_ms) as fn(&Column) -> f64), ("t-p50", |c| c.p50_ms)] {
            let mut line = String::new();
            let mut pen = 'M';
            for c in columns {
                if c.ok == 0.0 {
                    pen = 'M';
                    continue;
                }
                let y = top + height * (1.0 - part(of(c)));
                let _ = write!(line, "{pen}{:.1} {y:.1}", self.x((c.from_s + c.to_s) / 2.0));
                pen = 'L';
            }
            let _ = write!(self.out, "<path class=\"{class}\" d=\"{line}\"/>");
        }
    }

    /// Who answered: the zones' shares, above one another.
    fn zones(&mut self, height: f64) {
        let ticks = [(0.0, "0 %".to_owned()), (1.0, "100 %".to_owned())];
        let zones: Vec<(&String, &Vec<u32>)> = self.probe.seconds.zones.iter().collect();
        let names: Vec<&str> = zones.iter().map(|(name, _)| name.as_str()).collect();
        let all = format!("answered by zone, from below: {}", names.join(", "));
        let name = if self.width < 640.0 { "answered by zone" } else { &all };
        let top = self.panel(name, height, &ticks);
        let seconds = self.probe.seconds.ok.len();
        let each = seconds.div_ceil(((self.right - self.left) / 2.0) as usize).max(1);
        let mut paths = vec![String::new(); zones.len()];
        for from in (0..seconds).step_by(each) {
            let sum = |column: &[u32]| column.iter().skip(from).take(each).sum::<u32>();
            let total: u32 = zones.iter().map(|(_, column)| sum(column)).sum();
            if total == 0 {
                continue;
            }
            let (x, end) = (self.x(from as f64), self.x((from + each).min(seconds) as f64));
            let mut below = top + height;
            for ((_, column), path) in zones.iter().zip(&mut paths) {
                let share = height * f64::from(sum(column)) / f64::from(total);
                let _ = write!(path, "M{x:.1} {below:.1}V{:.1}H{end:.1}V{below:.1}z", below - share);
                below -= share;
            }
        }
        for (n, path) in paths.iter().enumerate() {
            let _ = write!(
                self.out,
                "<path class=\"t-zone t-zone{}\" d=\"{path}\"><title>{}</title></path>",
                n % 4,
                escape(names[n])
            );
        }
    }

    fn lanes(&mut self, narrow: bool) {
        self.y += 14.0;
        let present: Vec<Layer> =
            LANES.into_iter().filter(|lane| self.report.timeline.iter().any(|entry| entry.layer == *lane)).collect();
        for lane in present {
            let middle = self.y + LANE / 2.0;
            let _ = write!(self.out, "<path class=\"t-grid\" d=\"M{:.1} {middle:.1}H{:.1}\"/>", self.left, self.right);
            let name = if narrow { short_name(lane) } else { layer(lane) };
            self.text(self.left - 6.0, middle + 4.0, "t-tick t-end", name);
            if lane == Layer::Fault {
                self.faults(middle);
            } else if lane == Layer::Users {
                self.outages(middle);
            } else {
                self.marks(lane, middle);
            }
            self.y += LANE;
        }
    }

    fn faults(&mut self, middle: f64) {
        for fault in &self.report.faults {
            let (from, to) = (self.x(fault.began_ms as f64 / 1000.0), self.x(fault.ended_ms as f64 / 1000.0));
            let _ = write!(
                self.out,
                "<rect class=\"t-fault\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" rx=\"2\"><title>{}</title></rect>",
                middle - 5.0,
                (to - from).max(4.0),
                escape(&fault.name)
            );
        }
    }

    fn outages(&mut self, middle: f64) {
        for outage in self.probe.outages.iter().take(MARKS_MAX) {
            let (from, to) = (self.x(outage.from_us as f64 / 1e6), self.x(outage.to_us as f64 / 1e6));
            let said = format!("{} failed in {}", count(outage.failed), time(outage.length_us() as f64 / 1e6));
            let _ = write!(
                self.out,
                "<rect class=\"t-outage\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\" rx=\"2\"><title>{}</title></rect>",
                middle - 5.0,
                (to - from).max(4.0),
                escape(&said)
            );
        }
    }

    fn marks(&mut self, lane: Layer, middle: f64) {
        let entries: Vec<&Entry> =
            self.report.timeline.iter().filter(|entry| entry.layer == lane).take(MARKS_MAX).collect();
        // What changes what serves lies above what is only said.
        let (notes, changes): (Vec<&Entry>, Vec<&Entry>) =
            entries.into_iter().partition(|entry| entry.sign == Sign::Note);
        for entry in notes.into_iter().chain(changes) {
            let (x, class) = (self.x(entry.at_ms as f64 / 1000.0), mark_class(entry.sign));
            // The shape says what the colour does: down is out, up is in.
            let shape = match entry.sign {
                Sign::Out => format!("M{:.1} {:.1}h9l-4.5 8z", x - 4.5, middle - 4.0),
                Sign::In => format!("M{:.1} {:.1}h9l-4.5 -8z", x - 4.5, middle + 4.0),
                _ => format!("M{:.1} {:.1}v6", x, middle - 3.0),
            };
            let said = format!("{} {} {}", time(entry.at_ms as f64 / 1000.0), entry.resource, entry.what);
            let _ = write!(self.out, "<path class=\"{class}\" d=\"{shape}\"><title>{}</title></path>", escape(&said));
        }
    }

    /// Puts the axis below and the faults' bands behind.
    fn finish(mut self) -> String {
        let bottom = self.y + 4.0;
        let (step, end) = (step(self.end_s(), (self.right - self.left) / 70.0), self.end_s());
        let mut s = 0.0;
        while s <= end {
            let x = self.x(s);
            let _ = write!(self.out, "<path class=\"t-axis\" d=\"M{x:.1} {:.1}v4\"/>", bottom);
            let label = if s == 0.0 { "0".to_owned() } else { clock(s) };
            let class = if x > self.right - 12.0 { "t-tick t-end" } else { "t-tick t-middle" };
            self.text(x, bottom + 17.0, class, &label);
            s += step;
        }
        let mut behind = String::new();
        for fault in &self.report.faults {
            let (from, to) = (self.x(fault.began_ms as f64 / 1000.0), self.x(fault.ended_ms as f64 / 1000.0));
            let _ = write!(
                behind,
                "<rect class=\"t-band\" x=\"{from:.1}\" y=\"6\" width=\"{:.1}\" height=\"{:.1}\"/>",
                (to - from).max(1.0),
                bottom - 6.0
            );
        }
        let height = bottom + 24.0;
        let said = format!(
            "Requests a second, latencies, who answered, and what happened in each layer of {}, over {}.",
            self.report.name,
            time(self.end_s())
        );
        format!(
            "<svg viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" aria-label=\"{}\">{behind}{}</svg>",
            self.width,
            escape(&said),
            self.out
        )
    }
}

fn mark_class(sign: Sign) -> &'static str {
    match sign {
        Sign::Out | Sign::OutageBegins | Sign::Broken => "t-out",
        Sign::In | Sign::OutageEnds | Sign::Healed => "t-in",
        Sign::Note => "t-note",
    }
}

fn short_name(layer: Layer) -> &'static str {
    match layer {
        Layer::LoadBalancer => "lb",
        Layer::Instance => "inst.",
        other => super::verdict::layer(other),
    }
}

fn column(seconds: &super::Seconds, from: usize, each: usize) -> Column {
    let to = (from + each).min(seconds.ok.len());
    let sum = |list: &[u32]| list[from..to].iter().map(|n| f64::from(*n)).sum::<f64>();
    let most = |list: &[f64]| list[from..to].iter().copied().fold(0.0, f64::max);
    Column {
        from_s: from as f64,
        to_s: to as f64,
        ok: sum(&seconds.ok),
        failed: sum(&seconds.failed),
        p50_ms: most(&seconds.p50_ms),
        p99_ms: most(&seconds.p99_ms),
    }
}

/// The next number that reads well.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 { count(value as u64) } else { format!("{value}") }
}

/// How far ticks of time are apart, so that there are at most so many.
fn step(end_s: f64, most: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0];
    steps.into_iter().find(|step| end_s / step <= most.max(2.0)).unwrap_or(86_400.0)
}

fn clock(s: f64) -> String {
    let whole = s as u64;
    if whole < 60 { format!("{whole} s") } else { format!("{}:{:02}", whole / 60, whole % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Seconds;

    #[test]
    fn seconds_that_share_a_column_lose_no_failure() {
        let seconds = Seconds {
            ok: vec![10, 10, 10],
            failed: vec![0, 1, 0],
            p50_ms: vec![1.0, 5.0, 2.0],
            p99_ms: vec![3.0, 9.0, 4.0],
            ..Seconds::default()
        };
        let all = column(&seconds, 0, 3);
        assert_eq!((all.ok, all.failed, all.p99_ms), (30.0, 1.0, 9.0));
        assert_eq!(column(&seconds, 2, 3).to_s, 3.0, "the last column is what is left");
    }

    #[test]
    fn axes_read_well() {
        assert_eq!((nice(101.0), nice(100.0), nice(0.7)), (150.0, 100.0, 0.8));
        assert_eq!((step(90.0, 10.0), step(86_400.0, 10.0)), (10.0, 21_600.0));
        assert_eq!((clock(45.0), clock(75.0)), ("45 s".into(), "1:15".into()));
    }
}
