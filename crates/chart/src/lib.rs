//! Line charts over time, as SVG.
//!
//! Owns: how a chart looks (axes, lines, thresholds, bands, marks) and what it says to those who do not see it. The
//! console and the reports of game days draw with it; plotters does the geometry.
//!
//! Invariants: what comes out is one element that needs no script, no font and no network, and escapes every text. Its
//! colours are custom properties of CSS, which [`STYLE`] sets for light and dark. Nothing is told by colour only: lines
//! differ in their dashes and are named, bands and marks are labelled, and the description repeats all of it.
//!
//! It is not where figures come from: whoever draws has counted already.
//!
//! ```
//! use standfast_chart::{Chart, Size, Tone, Unit};
//! use standfast_core::Timestamp;
//!
//! let at = |second: i64| Timestamp(1_700_000_000_000 + second * 1000);
//! let answered = (0..60).map(|second| (at(second), Some(if (20..25).contains(&second) { 0.0 } else { 200.0 })));
//! let failed = (0..60).map(|second| (at(second), (20..25).contains(&second).then_some(200.0)));
//! let svg = Chart::new("Requests", Unit::PerSecond, at(0), at(60))
//!     .elapsed_since(at(0))
//!     .line("answered", answered)
//!     .bad_line("failed", failed)
//!     .threshold("steady state", 150.0)
//!     .band("outage", at(20), at(25), Tone::Bad)
//!     .mark("eu-west-1a loses power", at(20))
//!     .svg(Size::WIDE);
//! assert!(svg.starts_with("<svg class=\"chart\""));
//! assert!(svg.contains("<desc>"));
//! ```

mod describe;
mod draw;
mod ticks;
mod unit;

use standfast_core::Timestamp;
pub use unit::Unit;

/// The style sheet that a page with charts needs once: the colours, light and dark, and that charts fit their box.
pub const STYLE: &str = include_str!("chart.css");

/// A line's points in order of time. `None` interrupts the line.
pub type Points = Vec<(Timestamp, Option<f64>)>;

/// The size that a chart is drawn for, in pixels of CSS. It scales to the width of its box, and its letters with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl Size {
    /// One of several in a row on a wide screen, or the width of a phone.
    pub const SMALL: Size = Size { width: 420, height: 190 };
    /// The width of a page.
    pub const WIDE: Size = Size { width: 1080, height: 260 };
    /// What stands for [`Size::WIDE`] on a phone.
    pub const NARROW: Size = Size { width: 400, height: 240 };
}

/// What a band or a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Something that is so: a phase, insufficient data.
    Plain,
    /// Something that should not be: an alarm, an outage.
    Bad,
}

/// A chart that can still be added to.
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    unit: Unit,
    from: Timestamp,
    to: Timestamp,
    /// What the axis counts from, when it does not show the time of day.
    zero: Option<Timestamp>,
    /// What the vertical axis shows at least.
    range: (f64, f64),
    lines: Vec<Line>,
    thresholds: Vec<(String, f64)>,
    bands: Vec<Band>,
    marks: Vec<(String, Timestamp)>,
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    tone: Tone,
    points: Points,
}

#[derive(Clone, Debug)]
struct Band {
    name: String,
    from: Timestamp,
    to: Timestamp,
    tone: Tone,
}

impl Chart {
    /// An empty chart of the time between two moments; the axis shows the time of day in UTC.
    pub fn new(title: impl Into<String>, unit: Unit, from: Timestamp, to: Timestamp) -> Self {
        Self {
            title: title.into(),
            unit,
            from,
            to: to.max(Timestamp(from.0 + 1)),
            zero: None,
            range: (0.0, 0.0),
            lines: Vec::new(),
            thresholds: Vec::new(),
            bands: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The axis shows the time that has passed since then.
    pub fn elapsed_since(self, zero: Timestamp) -> Self {
        Self { zero: Some(zero), ..self }
    }

    /// The vertical axis reaches from at most `low` to at least `high`. Without it, from zero to the largest value.
    pub fn showing(self, low: f64, high: f64) -> Self {
        Self { range: (low, high), ..self }
    }

    pub fn line(self, name: impl Into<String>, points: impl IntoIterator<Item = (Timestamp, Option<f64>)>) -> Self {
        self.with_line(name.into(), Tone::Plain, points.into_iter().collect())
    }

    /// A line of something that should not be: errors.
    pub fn bad_line(self, name: impl Into<String>, points: impl IntoIterator<Item = (Timestamp, Option<f64>)>) -> Self {
        self.with_line(name.into(), Tone::Bad, points.into_iter().collect())
    }

    fn with_line(mut self, name: String, tone: Tone, points: Points) -> Self {
        self.lines.push(Line { name, tone, points });
        self
    }

    /// A level that means something.
    pub fn threshold(mut self, name: impl Into<String>, value: f64) -> Self {
        self.thresholds.push((name.into(), value));
        self
    }

    /// A time in which something held.
    pub fn band(mut self, name: impl Into<String>, from: Timestamp, to: Timestamp, tone: Tone) -> Self {
        if to >= self.from && from <= self.to {
            self.bands.push(Band { name: name.into(), from: from.max(self.from), to: to.min(self.to), tone });
        }
        self
    }

    /// Something that happened. Labels that find no room are left out of the picture and stay in the description.
    pub fn mark(mut self, name: impl Into<String>, at: Timestamp) -> Self {
        if (self.from..=self.to).contains(&at) {
            self.marks.push((name.into(), at));
        }
        self
    }

    /// The chart as an `<svg>` element.
    pub fn svg(&self, size: Size) -> String {
        draw::svg(self, size)
    }

    /// The chart twice, of which [`STYLE`] shows one: on wide screens and on phones.
    pub fn responsive(&self) -> String {
        let (wide, narrow) = (self.svg(Size::WIDE), self.svg(Size::NARROW));
        format!("<div class=\"chart-wide\">{wide}</div><div class=\"chart-narrow\">{narrow}</div>")
    }
}
