//! A picture: lines, areas and text on pixels.
//!
//! Text is drawn in Ubuntu Light, which comes with a crate, so no font of the machine is needed.

use std::sync::LazyLock;

use tiny_skia::Transform;
use tiny_skia::{
    Color, FillRule, LineCap, LineJoin, Paint, PathBuilder, Pixmap, PremultipliedColorU8, Rect, Stroke, StrokeDash,
};

static FONT: LazyLock<fontdue::Font> = LazyLock::new(|| {
    let bytes = epaint_default_fonts::UBUNTU_LIGHT;
    fontdue::Font::from_bytes(bytes, fontdue::FontSettings::default()).expect("the crate's font is sound")
});

pub struct Canvas {
    pixels: Pixmap,
}

/// Where a text begins, is centred or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Middle,
    Right,
}

/// A colour with how much it covers.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    rgb: [u8; 3],
    alpha: f32,
}

impl Ink {
    pub const fn new(red: u8, green: u8, blue: u8) -> Self {
        Self { rgb: [red, green, blue], alpha: 1.0 }
    }

    /// `#1f77b4`; what is none is grey.
    pub fn named(text: &str) -> Self {
        let byte = |at: usize| text.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (text.starts_with('#'), byte(1), byte(3), byte(5)) {
            (true, Some(red), Some(green), Some(blue)) => Self::new(red, green, blue),
            _ => Self::new(0x7f, 0x7f, 0x7f),
        }
    }

    pub fn thin(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }

    fn paint(self) -> Paint<'static> {
        let mut paint = Paint { anti_alias: true, ..Paint::default() };
        let [red, green, blue] = self.rgb.map(|part| f32::from(part) / 255.0);
        paint.set_color(Color::from_rgba(red, green, blue, self.alpha.clamp(0.0, 1.0)).unwrap_or(Color::BLACK));
        paint
    }
}

impl Canvas {
    /// White. `None` of no size.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let mut pixels = Pixmap::new(width, height)?;
        pixels.fill(Color::WHITE);
        Some(Self { pixels })
    }

    pub fn png(&self) -> Option<Vec<u8>> {
        self.pixels.encode_png().ok()
    }

    pub fn rect(&mut self, x: f32, y: f32, width: f32, height: f32, ink: Ink) {
        if let Some(rect) = Rect::from_xywh(x, y, width, height) {
            self.pixels.fill_rect(rect, &ink.paint(), Transform::identity(), None);
        }
    }

    /// A line through points; a single one is a dot.
    pub fn line(&mut self, points: &[(f32, f32)], width: f32, dashed: bool, ink: Ink) {
        let [first, rest @ ..] = points else { return };
        if rest.is_empty() {
            if let Some(dot) = PathBuilder::from_circle(first.0, first.1, width) {
                self.pixels.fill_path(&dot, &ink.paint(), FillRule::Winding, Transform::identity(), None);
            }
            return;
        }
        let mut path = PathBuilder::new();
        path.move_to(first.0, first.1);
        rest.iter().for_each(|(x, y)| path.line_to(*x, *y));
        let dash = if dashed { StrokeDash::new(vec![5.0, 4.0], 0.0) } else { None };
        let stroke = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, dash, ..Stroke::default() };
        if let Some(path) = path.finish() {
            self.pixels.stroke_path(&path, &ink.paint(), &stroke, Transform::identity(), None);
        }
    }

    pub fn area(&mut self, points: &[(f32, f32)], ink: Ink) {
        let [first, rest @ ..] = points else { return };
        let mut path = PathBuilder::new();
        path.move_to(first.0, first.1);
        rest.iter().for_each(|(x, y)| path.line_to(*x, *y));
        path.close();
        if let Some(path) = path.finish() {
            self.pixels.fill_path(&path, &ink.paint(), FillRule::Winding, Transform::identity(), None);
        }
    }

    /// Text whose base line is at `y`.
    pub fn text(&mut self, text: &str, x: f32, y: f32, size: f32, align: Align, ink: Ink) {
        let mut x = match align {
            Align::Left => x,
            Align::Middle => x - width(text, size) / 2.0,
            Align::Right => x - width(text, size),
        };
        for c in text.chars() {
            let (metrics, coverage) = FONT.rasterize(c, size);
            let left = x.round() as i32 + metrics.xmin;
            let top = y.round() as i32 - metrics.height as i32 - metrics.ymin;
            for (i, coverage) in coverage.iter().enumerate() {
                let (dx, dy) = ((i % metrics.width) as i32, (i / metrics.width) as i32);
                self.blend(left + dx, top + dy, *coverage, ink);
            }
            x += metrics.advance_width;
        }
    }

    /// Text that is read from below, with its middle at `y`.
    pub fn upright(&mut self, text: &str, x: f32, y: f32, size: f32, ink: Ink) {
        let mut y = y + width(text, size) / 2.0;
        for c in text.chars() {
            let (metrics, coverage) = FONT.rasterize(c, size);
            for (i, coverage) in coverage.iter().enumerate() {
                let (dx, dy) = ((i % metrics.width) as i32, (i / metrics.width) as i32);
                let across = x.round() as i32 - metrics.height as i32 - metrics.ymin + dy;
                let along = y.round() as i32 - metrics.xmin - dx;
                self.blend(across, along, *coverage, ink);
            }
            y -= metrics.advance_width;
        }
    }

    fn blend(&mut self, x: i32, y: i32, coverage: u8, ink: Ink) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if x >= self.pixels.width() || y >= self.pixels.height() || coverage == 0 {
            return;
        }
        // A light face on white: a little more than its coverage reads better.
        let share = (f32::from(coverage) / 255.0).powf(0.7) * ink.alpha;
        let place = (y * self.pixels.width() + x) as usize;
        let old = self.pixels.pixels()[place];
        let mix = |old: u8, new: u8| (f32::from(old) * (1.0 - share) + f32::from(new) * share).round() as u8;
        let [red, green, blue] = ink.rgb;
        let (red, green, blue) = (mix(old.red(), red), mix(old.green(), green), mix(old.blue(), blue));
        if let Some(new) = PremultipliedColorU8::from_rgba(red, green, blue, 255) {
            self.pixels.pixels_mut()[place] = new;
        }
    }
}

/// How wide a text is.
pub fn width(text: &str, size: f32) -> f32 {
    text.chars().map(|c| FONT.metrics(c, size).advance_width).sum()
}

/// The text, or its beginning, so that it fits.
pub fn shorten(text: &str, size: f32, room: f32) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut short: String = text.to_owned();
    while !short.is_empty() && width(&short, size) + width("...", size) > room {
        short.pop();
    }
    short + "..."
}
