//! Where everything of a graph is.

use super::axis::{self, Scale};
use super::canvas::{Align, Canvas, Ink, shorten, width};
use super::spec::{Axis, Mark, Spec};

const INK: Ink = Ink::new(0x33, 0x33, 0x33);
const FAINT: Ink = Ink::new(0xdd, 0xdd, 0xdd);
const TITLE: f32 = 16.0;
const SMALL: f32 = 12.0;
const LINE: f32 = 1.8;
const MARGIN: f32 = 12.0;
const LEGEND_ROW: f32 = 18.0;
/// Rows of the legend that are shown.
const LEGEND_ROWS_MAX: usize = 6;
/// Pixels for a tick's name.
const TIME_ROOM: f32 = 70.0;
const VALUE_ROOM: f32 = 45.0;
/// Points that are further apart than this many periods are not joined.
const JOINED_PERIODS: f64 = 1.5;

pub struct Series {
    pub label: String,
    pub color: String,
    pub right: bool,
    pub points: Vec<(i64, f64)>,
}

pub struct Chart<'a> {
    pub spec: &'a Spec,
    pub series: Vec<Series>,
}

/// The inner part, with the scales of its sides.
struct Plot {
    left: f32,
    top: f32,
    right: f32,
    bottom: f32,
    scales: [Scale; 2],
    start: f64,
    end: f64,
}

impl Plot {
    fn x(&self, at: f64) -> f32 {
        self.left + (self.right - self.left) * ((at - self.start) / (self.end - self.start)) as f32
    }

    fn y(&self, value: f64, right: bool) -> f32 {
        let place = self.scales[usize::from(right)].place(value).clamp(-0.02, 1.02) as f32;
        self.bottom - (self.bottom - self.top) * place
    }
}

impl Chart<'_> {
    /// `None` when there is no such picture.
    pub fn png(&self) -> Option<Vec<u8>> {
        let mut canvas = Canvas::new(self.spec.width, self.spec.height)?;
        let rows = self.legend();
        let plot = self.plot(rows.len());
        self.grid(&mut canvas, &plot);
        let stacked = self.stacked();
        for (i, series) in self.series.iter().enumerate() {
            self.draw(&mut canvas, &plot, series, &stacked[i]);
        }
        self.marks(&mut canvas, &plot);
        let (width, height) = (self.spec.width as f32, self.spec.height as f32);
        if !self.spec.title.is_empty() {
            let title = shorten(&self.spec.title, TITLE, width - 2.0 * MARGIN);
            canvas.text(&title, width / 2.0, MARGIN + TITLE, TITLE, Align::Middle, INK);
        }
        for (row, places) in rows.iter().enumerate() {
            let y = height - MARGIN - LEGEND_ROW * (rows.len() - 1 - row) as f32;
            for (series, x, label) in places {
                canvas.rect(*x, y - 9.0, 10.0, 10.0, Ink::named(&self.series[*series].color));
                canvas.text(label, x + 15.0, y, SMALL, Align::Left, INK);
            }
        }
        canvas.png()
    }

    /// What each row of the legend holds: a series, where it begins, and its label.
    fn legend(&self) -> Vec<Vec<(usize, f32, String)>> {
        let mut rows: Vec<Vec<(usize, f32, String)>> = Vec::new();
        if !self.spec.legend {
            return rows;
        }
        let room = self.spec.width as f32 - 2.0 * MARGIN;
        let mut x = room;
        for (i, series) in self.series.iter().enumerate() {
            let label = shorten(&series.label, SMALL, room - 20.0);
            let wide = 15.0 + width(&label, SMALL) + 16.0;
            if x + wide > room + 16.0 {
                if rows.len() == LEGEND_ROWS_MAX {
                    break;
                }
                rows.push(Vec::new());
                x = 0.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((i, MARGIN + x, label));
            }
            x += wide;
        }
        rows
    }

    fn plot(&self, legend_rows: usize) -> Plot {
        let spec = self.spec;
        let top = if spec.title.is_empty() { MARGIN + 4.0 } else { MARGIN + TITLE + 16.0 };
        let legend = LEGEND_ROW * legend_rows as f32 + if legend_rows > 0 { 8.0 } else { 0.0 };
        let bottom = (spec.height as f32 - MARGIN - legend - 18.0).max(top + 20.0);
        let ticks = ((bottom - top) / VALUE_ROOM) as usize;
        let scales = [self.scale(false, &spec.left, ticks), self.scale(true, &spec.right, ticks)];
        let room = |scale: Scale, axis: &Axis| {
            let names = scale.ticks().into_iter().map(|tick| width(&axis::number(tick), SMALL));
            names.fold(10.0, f32::max) + 10.0 + if axis.label.is_empty() { 0.0 } else { 18.0 }
        };
        let right = if self.has_right() { room(scales[1], &spec.right) } else { 8.0 };
        Plot {
            left: MARGIN + room(scales[0], &spec.left),
            right: spec.width as f32 - MARGIN - right,
            top,
            bottom,
            scales,
            start: spec.start.0 as f64 / 1000.0,
            end: spec.end.0 as f64 / 1000.0,
        }
    }

    fn has_right(&self) -> bool {
        self.series.iter().any(|series| series.right) || self.spec.horizontal.iter().any(|mark| mark.right)
    }

    /// Round numbers around all values of a side and its marks. Nothing starts above zero that is not far above it.
    fn scale(&self, right: bool, axis: &Axis, ticks: usize) -> Scale {
        let stacked = self.stacked();
        let series = self.series.iter().zip(&stacked).filter(|(series, _)| series.right == right);
        let values =
            series.flat_map(|(series, base)| series.points.iter().zip(base).map(|((_, value), base)| value + base));
        let marks = self.spec.horizontal.iter().filter(|mark| mark.right == right).map(|mark| mark.at);
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.chain(marks) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if low > 0.0 && (low < high * 0.5 || self.spec.stacked) {
            low = 0.0;
        }
        Scale::of(low, high, ticks.clamp(2, 10)).between(axis.min, axis.max)
    }

    /// What is below each point of each series: nothing, or the series before it.
    fn stacked(&self) -> Vec<Vec<f64>> {
        let mut below = [std::collections::BTreeMap::<i64, f64>::new(), Default::default()];
        let of = |series: &Series| {
            let below = &mut below[usize::from(series.right)];
            let base = |(at, value): &(i64, f64)| {
                let sum = below.entry(*at).or_default();
                let base = if self.spec.stacked { *sum } else { 0.0 };
                *sum += value;
                base
            };
            series.points.iter().map(base).collect()
        };
        self.series.iter().map(of).collect()
    }

    fn grid(&self, canvas: &mut Canvas, plot: &Plot) {
        let middle = (plot.top + plot.bottom) / 2.0;
        for tick in plot.scales[0].ticks() {
            let y = plot.y(tick, false).round() + 0.5;
            canvas.line(&[(plot.left, y), (plot.right, y)], 1.0, false, FAINT);
            canvas.text(&axis::number(tick), plot.left - 8.0, y + 4.0, SMALL, Align::Right, INK);
        }
        canvas.upright(&self.spec.left.label, MARGIN + SMALL, middle, SMALL, INK);
        if self.has_right() {
            for tick in plot.scales[1].ticks() {
                let y = plot.y(tick, true).round() + 4.5;
                canvas.text(&axis::number(tick), plot.right + 8.0, y, SMALL, Align::Left, INK);
            }
            let x = self.spec.width as f32 - MARGIN;
            canvas.upright(&self.spec.right.label, x, middle, SMALL, INK);
        }
        let most = ((plot.right - plot.left) / TIME_ROOM) as usize;
        for (at, name) in axis::times(plot.start as i64, plot.end as i64, most, self.spec.offset_ms / 1000) {
            let x = plot.x(at as f64).round() + 0.5;
            canvas.line(&[(x, plot.bottom), (x, plot.bottom + 4.0)], 1.0, false, INK);
            canvas.text(&name, x, plot.bottom + 17.0, SMALL, Align::Middle, INK);
        }
        let y = plot.bottom.round() + 0.5;
        canvas.line(&[(plot.left, y), (plot.right, y)], 1.0, false, INK);
    }

    fn draw(&self, canvas: &mut Canvas, plot: &Plot, series: &Series, base: &[f64]) {
        let ink = Ink::named(&series.color);
        let joined = f64::from(self.spec.period_s) * JOINED_PERIODS;
        let place = |((at, value), base): (&(i64, f64), &f64)| {
            let (x, at) = (plot.x(*at as f64), *at);
            (at, (x, plot.y(value + base, series.right)), (x, plot.y(*base, series.right)))
        };
        let places: Vec<_> = series.points.iter().zip(base).map(place).collect();
        for run in places.chunk_by(|(a, ..), (b, ..)| (b - a) as f64 <= joined) {
            let line: Vec<_> = run.iter().map(|(_, point, _)| *point).collect();
            if self.spec.stacked {
                let below = run.iter().rev().map(|(_, _, base)| *base);
                let area: Vec<_> = line.iter().copied().chain(below).collect();
                canvas.area(&area, ink.thin(0.35));
            }
            canvas.line(&line, LINE, false, ink);
        }
    }

    fn marks(&self, canvas: &mut Canvas, plot: &Plot) {
        let inside = |x: f32| (plot.left..=plot.right).contains(&x);
        for mark in &self.spec.horizontal {
            let (y, ink) = (plot.y(mark.at, mark.right).round() + 0.5, Ink::named(&mark.color));
            canvas.line(&[(plot.left, y), (plot.right, y)], 1.4, true, ink);
            let text = named(mark, || axis::number(mark.at));
            canvas.text(&text, plot.left + 6.0, y - 4.0, SMALL, Align::Left, ink);
        }
        for mark in &self.spec.vertical {
            let (x, ink) = (plot.x(mark.at).round() + 0.5, Ink::named(&mark.color));
            if inside(x) {
                canvas.line(&[(x, plot.top), (x, plot.bottom)], 1.4, true, ink);
                canvas.text(&named(mark, String::new), x + 5.0, plot.top + SMALL, SMALL, Align::Left, ink);
            }
        }
    }
}

fn named(mark: &Mark, otherwise: impl FnOnce() -> String) -> String {
    if mark.label.is_empty() { otherwise() } else { mark.label.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standfast_core::Timestamp;

    /// A day of two metrics, with a gap, a threshold and a deployment. With `WIDGET_PNG` in the environment it is kept there.
    #[test]
    fn a_widget_is_drawn() {
        let json = serde_json::json!({
            "width": 700, "height": 380, "title": "Requests and processor of the web tier", "period": 300,
            "start": "-P1D", "yAxis": {"left": {"label": "Percent", "min": 0}, "right": {"label": "Requests"}},
            "annotations": {
                "horizontal": [{"value": 75, "label": "Scale out at 75 %"}],
                "vertical": [{"value": "1970-01-10T14:00:00Z", "label": "Deploy", "color": "#2ca02c"}],
            },
        });
        let now = Timestamp(10 * 86_400_000);
        let spec = Spec::parse(&json.to_string(), now).expect("a good widget");
        let points = |of: &dyn Fn(f64) -> f64| -> Vec<(i64, f64)> {
            let all = (0..288).map(|i| (9 * 86_400 + i * 300, of(i as f64)));
            all.filter(|(at, _)| !(9 * 86_400 + 30_000..9 * 86_400 + 36_000).contains(at)).collect()
        };
        let series = |label: &str, color: &str, right, points| Series {
            label: label.to_owned(),
            color: color.to_owned(),
            right,
            points,
        };
        let chart = Chart {
            spec: &spec,
            series: vec![
                series(
                    "CPUUtilization i-0123456789abcdef0",
                    "#1f77b4",
                    false,
                    points(&|i| 45.0 + 38.0 * (i / 40.0).sin()),
                ),
                series(
                    "CPUUtilization i-0fedcba9876543210",
                    "#ff7f0e",
                    false,
                    points(&|i| 40.0 + 20.0 * (i / 25.0).cos()),
                ),
                series("RequestCount app/web", "#9467bd", true, points(&|i| 18_000.0 + 9000.0 * (i / 60.0).sin())),
            ],
        };
        let png = chart.png().expect("a picture");
        assert_eq!(
            (&png[1..4], &png[16..24]),
            (&b"PNG"[..], &[0, 0, 700_u16.to_be_bytes()[0], 700_u16.to_be_bytes()[1], 0, 0, 1, 124][..])
        );
        if let Some(path) = std::env::var_os("WIDGET_PNG") {
            std::fs::write(path, png).expect("it can be written");
        }
    }
}
