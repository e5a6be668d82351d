//! A chart's geometry, by plotters.
//!
//! plotters knows colours as numbers, so each role has a number that no other role has; in the finished text these
//! become custom properties of CSS, and the dashes that tell lines apart without colours.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use standfast_core::Timestamp;

use crate::describe::describe;
use crate::{Chart, Line, Points, Size, Tone, ticks};

/// plotters divides sizes of letters by this when it writes SVG.
const LETTER: f64 = 1.24;
const SMALL: f64 = 11.0 * LETTER;
const LARGE: f64 = 12.0 * LETTER;
/// How wide a small letter is taken to be, in pixels.
const LETTER_WIDTH: i32 = 7;
const ROW: i32 = 16;
const TITLE: i32 = 22;
const MARGIN: i32 = 8;
/// Rows of labels of marks at most.
const MARK_ROWS: usize = 3;
/// A label of the time axis needs this much room.
const TIME_LABEL_WIDTH: u32 = 78;
const VALUE_LABEL_HEIGHT: u32 = 34;

/// How lines are told apart, in order: a custom property and the dashes of its line.
const LINES: [(&str, &str); 6] =
    [("1", "none"), ("2", "7 3"), ("3", "2 3"), ("4", "9 3 2 3"), ("5", "12 4"), ("6", "4 2 1 2 1 2")];

/// What something is painted as. Its number is its place here.
#[derive(Clone, Copy)]
enum Ink {
    Text,
    Faint,
    Grid,
    Threshold,
    Bad,
    Band,
    Line(usize),
}

impl Ink {
    const FIRST_LINE: u8 = 6;

    fn colour(self) -> RGBColor {
        let number = match self {
            Ink::Text => 0,
            Ink::Faint => 1,
            Ink::Grid => 2,
            Ink::Threshold => 3,
            Ink::Bad => 4,
            Ink::Band => 5,
            Ink::Line(at) => Ink::FIRST_LINE + (at % LINES.len()) as u8,
        };
        RGBColor(0xFA, 0, number)
    }

    /// The custom property and the dashes.
    fn look(number: u8) -> (&'static str, &'static str) {
        match number {
            0 => ("ink", "none"),
            1 => ("faint", "none"),
            2 => ("grid", "none"),
            3 => ("threshold", "8 4"),
            4 => ("bad", "3 2"),
            5 => ("band", "none"),
            line => LINES[usize::from(line - Ink::FIRST_LINE) % LINES.len()],
        }
    }

    fn text(self, size: f64) -> TextStyle<'static> {
        let colour = self.colour();
        TextStyle { color: colour.to_backend_color(), ..TextStyle::from(("sans-serif", size)) }
    }
}

/// The whole element.
pub fn svg(chart: &Chart, size: Size) -> String {
    let mut drawn = String::new();
    {
        let area = SVGBackend::with_string(&mut drawn, (size.width, size.height)).into_drawing_area();
        draw(chart, size, &area).expect("drawing into a string does not fail");
        area.present().expect("drawing into a string does not fail");
    }
    let body = drawn.split_once('>').map_or("", |(_, body)| body);
    let (title, described) = (escaped(&chart.title), escaped(&describe(chart)));
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" xmlns=\"http://www.w3.org/2000/svg\">\
         <title>{title}</title><desc>{described}</desc>{}",
        size.width,
        size.height,
        painted(body)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Puts custom properties where the numbers of roles are. Texts cannot hold one: their quotes are escaped.
fn painted(body: &str) -> String {
    const NUMBER: &str = "\"#FA00";
    let mut out = String::with_capacity(body.len());
    let mut pieces = body.replace("font-family=\"sans-serif\" ", "").replace(" opacity=\"1\"", "");
    pieces.retain(|c| c != '\n');
    let mut pieces = pieces.split(NUMBER);
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (number, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        let (property, dashes) = Ink::look(u8::from_str_radix(number, 16).unwrap_or_default());
        let is_stroke = out.ends_with("stroke=");
        out.push_str("\"var(--chart-");
        out.push_str(property);
        out.push_str(")\"");
        if is_stroke && dashes != "none" {
            out.push_str(" stroke-dasharray=\"");
            out.push_str(dashes);
            out.push('"');
        }
        out.push_str(rest.strip_prefix('"').unwrap_or(rest));
    }
    out
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn draw(chart: &Chart, size: Size, area: &Area) -> Drawn {
    let (width, height) = (size.width as i32, size.height as i32);
    let mut title = Ink::Text.text(LARGE);
    title.font = title.font.style(FontStyle::Bold);
    area.draw_text(&chart.title, &title, (MARGIN, 4))?;
    let legend_top = TITLE;
    let marks_top = legend_top + legend(chart, area, width, legend_top)?;

    let values = values(chart, size);
    let labels: Vec<String> = values.iter().map(|value| chart.unit.text(*value)).collect();
    let label_width = labels.iter().map(|label| label.chars().count()).max().unwrap_or_default() as i32 * LETTER_WIDTH;
    let left = label_width + MARGIN + 6;
    let scale = Scale { chart, left, right: width - MARGIN };
    let placed = place(chart, &scale);
    let rows = placed.iter().filter_map(|(_, _, _, row)| row.map(|row| row as i32 + 1)).max().unwrap_or(0);
    let top = marks_top + rows * ROW + 4;
    let bottom = (height - 22).max(top + 20);

    let (low, high) = (values[0], values[values.len() - 1]);
    let y =
        |value: f64| bottom - ((value.clamp(low, high) - low) / (high - low) * f64::from(bottom - top)).round() as i32;
    for band in &chart.bands {
        shade(band, &scale, top, bottom, area)?;
    }
    for (value, label) in values.iter().zip(&labels) {
        area.draw(&PathElement::new([(left, y(*value)), (scale.right, y(*value))], Ink::Grid.colour()))?;
        area.draw_text(label, &Ink::Faint.text(SMALL).pos(Pos::new(HPos::Right, VPos::Center)), (left - 6, y(*value)))?;
    }
    let most = (scale.right - left).max(1) as u32 / TIME_LABEL_WIDTH;
    for (after, label) in ticks::of_time(chart, most as usize) {
        let x = scale.x(Timestamp(chart.from.0 + after));
        area.draw(&PathElement::new([(x, bottom), (x, bottom + 4)], Ink::Faint.colour()))?;
        let half = label.chars().count() as i32 * LETTER_WIDTH / 2;
        let x = x.clamp(half.min(left), width - half);
        area.draw_text(&label, &Ink::Faint.text(SMALL).pos(Pos::new(HPos::Center, VPos::Top)), (x, bottom + 7))?;
    }
    for (_, value) in &chart.thresholds {
        let style = Ink::Threshold.colour().stroke_width(2);
        area.draw(&PathElement::new([(left, y(*value)), (scale.right, y(*value))], style))?;
    }
    for (at, line) in chart.lines.iter().enumerate() {
        draw_line(chart, at, line, &scale, &y, area)?;
    }
    if !chart.lines.iter().flat_map(|line| &line.points).any(|(_, value)| value.is_some()) {
        let middle = Ink::Faint.text(SMALL).pos(Pos::new(HPos::Center, VPos::Center));
        area.draw_text("no values", &middle, ((left + scale.right) / 2, (top + bottom) / 2))?;
    }
    for (name, x, to_left, row) in placed {
        let label_top = row.map_or(top, |row| marks_top + row as i32 * ROW);
        area.draw(&PathElement::new([(x, label_top + 2), (x, bottom)], Ink::Text.colour()))?;
        if row.is_some() {
            let (h, x) = if to_left { (HPos::Right, x - 4) } else { (HPos::Left, x + 4) };
            area.draw_text(name, &Ink::Text.text(SMALL).pos(Pos::new(h, VPos::Top)), (x, label_top + 2))?;
        }
    }
    Ok(())
}

/// Time across.
struct Scale<'a> {
    chart: &'a Chart,
    left: i32,
    right: i32,
}

impl Scale<'_> {
    fn x(&self, at: Timestamp) -> i32 {
        let (from, to) = (self.chart.from.0, self.chart.to.0);
        let part = (at.0.clamp(from, to) - from) as f64 / (to - from) as f64;
        self.left + (part * f64::from(self.right - self.left)).round() as i32
    }
}

/// The values that the vertical axis is labelled with; it ends with the first and the last.
fn values(chart: &Chart, size: Size) -> Vec<f64> {
    let all = chart.lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value);
    let all = all.chain(chart.thresholds.iter().map(|(_, value)| *value)).filter(|value| value.is_finite());
    let (low, high) = all.fold(chart.range, |(low, high), value| (low.min(value), high.max(value)));
    ticks::of_values(low, high, (size.height / VALUE_LABEL_HEIGHT).clamp(2, 6) as usize - 1)
}

/// Names what lines and thresholds look like; gives the height that it took.
fn legend(chart: &Chart, area: &Area, width: i32, top: i32) -> Result<i32, DrawingAreaErrorKind<std::io::Error>> {
    let lines = chart.lines.iter().enumerate().map(|(at, line)| (line.name.clone(), ink(at, line)));
    let thresholds =
        chart.thresholds.iter().map(|(name, value)| (format!("{name} ({})", chart.unit.text(*value)), Ink::Threshold));
    let (mut x, mut y) = (MARGIN, top);
    let mut used = 0;
    for (name, ink) in lines.chain(thresholds) {
        let needed = 24 + name.chars().count() as i32 * LETTER_WIDTH + 14;
        if x > MARGIN && x + needed > width {
            (x, y) = (MARGIN, y + ROW);
        }
        area.draw(&PathElement::new([(x, y + 7), (x + 20, y + 7)], ink.colour().stroke_width(2)))?;
        area.draw_text(&name, &Ink::Text.text(SMALL), (x + 25, y + 1))?;
        x += needed;
        used = y + ROW - top;
    }
    Ok(used)
}

fn ink(at: usize, line: &Line) -> Ink {
    match line.tone {
        Tone::Plain => Ink::Line(at),
        Tone::Bad => Ink::Bad,
    }
}

fn shade(band: &crate::Band, scale: &Scale, top: i32, bottom: i32, area: &Area) -> Drawn {
    let ink = match band.tone {
        Tone::Plain => Ink::Band,
        Tone::Bad => Ink::Bad,
    };
    let (from, to) = (scale.x(band.from), scale.x(band.to).max(scale.x(band.from) + 1));
    area.draw(&Rectangle::new([(from, top), (to, bottom)], ink.colour().mix(0.13).filled()))?;
    // An edge on top, so that the band is seen without its colour and where it is narrow.
    area.draw(&Rectangle::new([(from, top - 3), (to, top)], ink.colour().filled()))?;
    if to - from > band.name.chars().count() as i32 * LETTER_WIDTH + 6 {
        area.draw_text(&band.name, &ink.text(SMALL), (from + 4, top + 3))?;
    }
    Ok(())
}

/// Where the labels of marks stand: name, place, whether it ends there, and the row if there is room.
fn place<'a>(chart: &'a Chart, scale: &Scale) -> Vec<(&'a str, i32, bool, Option<usize>)> {
    let mut ends = [i32::MIN; MARK_ROWS];
    let mut marks: Vec<_> = chart.marks.iter().map(|(name, at)| (name.as_str(), scale.x(*at))).collect();
    marks.sort_by_key(|(_, x)| *x);
    marks
        .into_iter()
        .map(|(name, x)| {
            let needed = name.chars().count() as i32 * LETTER_WIDTH + 12;
            let to_left = x + needed > scale.right;
            let (from, to) = if to_left { (x - needed, x + 4) } else { (x - 2, x + needed) };
            let row = ends.iter().position(|end| *end <= from).filter(|_| from >= 0);
            if let Some(row) = row {
                ends[row] = to;
            }
            (name, x, to_left, row)
        })
        .collect()
}

fn draw_line(chart: &Chart, at: usize, line: &Line, scale: &Scale, y: &dyn Fn(f64) -> i32, area: &Area) -> Drawn {
    let ink = ink(at, line).colour();
    let inside: Points = line.points.iter().copied().filter(|(at, _)| (chart.from..=chart.to).contains(at)).collect();
    for piece in inside.split(|(_, value)| !value.is_some_and(f64::is_finite)) {
        let points = thinned(piece.iter().filter_map(|(at, value)| Some((scale.x(*at), y((*value)?)))));
        match points.as_slice() {
            [] => (),
            [(x, y)] => area.draw(&Circle::new((*x, *y), 2, ink.filled()))?,
            _ => area.draw(&PathElement::new(points, ink.stroke_width(2)))?,
        }
    }
    Ok(())
}

/// At most the first, the highest, the lowest and the last point of every column of pixels.
fn thinned(points: impl Iterator<Item = (i32, i32)>) -> Vec<(i32, i32)> {
    let mut out: Vec<(i32, i32)> = Vec::new();
    let mut column: Vec<(i32, i32)> = Vec::new();
    for point in points {
        if column.first().is_some_and(|(x, _)| *x != point.0) {
            flush(&mut column, &mut out);
        }
        column.push(point);
    }
    flush(&mut column, &mut out);
    out
}

fn flush(column: &mut Vec<(i32, i32)>, out: &mut Vec<(i32, i32)>) {
    if let (Some(first), Some(last)) = (column.first().copied(), column.last().copied()) {
        let low = column.iter().copied().min_by_key(|(_, y)| *y).unwrap_or(first);
        let high = column.iter().copied().max_by_key(|(_, y)| *y).unwrap_or(first);
        let mut kept = vec![first, low, high, last];
        kept.dedup();
        out.append(&mut kept);
    }
    column.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Unit;

    fn at(second: i64) -> Timestamp {
        Timestamp(1_700_000_000_000 + second * 1000)
    }

    #[test]
    fn texts_are_escaped_and_colours_are_properties() {
        let hostile = "<script>alert(\"#FA0001\")</script>&";
        let svg = Chart::new(hostile, Unit::Count, at(0), at(60))
            .line(hostile, [(at(1), Some(1.0)), (at(50), Some(2.0))])
            .bad_line("errors", [(at(1), Some(1.0)), (at(9), Some(1.0))])
            .threshold(hostile, 1.5)
            .band(hostile, at(0), at(60), Tone::Bad)
            .mark(hostile, at(5))
            .svg(Size::SMALL);
        assert!(!svg.contains("<script"), "{svg}");
        assert!(!svg.contains("\"#"), "{svg}");
        assert!(!svg.contains("style="), "a strict policy allows no style of elements");
        assert!(svg.contains("stroke=\"var(--chart-bad)\" stroke-dasharray=\"3 2\""), "{svg}");
        assert!(svg.ends_with("</svg>"), "{svg}");
    }

    #[test]
    fn the_description_repeats_what_is_drawn() {
        let svg = Chart::new("Load", Unit::PerSecond, at(0), at(60))
            .elapsed_since(at(0))
            .line("answered", [(at(0), Some(200.0)), (at(30), Some(0.0)), (at(60), Some(150.0))])
            .threshold("wanted", 100.0)
            .band("outage", at(20), at(25), Tone::Bad)
            .mark("zone dark", at(20))
            .svg(Size::WIDE);
        let said = "From 0 s to 1:00. answered: 0/s to 200/s, 150/s at the end. wanted: 100/s. outage from 20 s to 25 s. \
                    At 20 s: zone dark.";
        assert!(svg.contains(said), "{svg}");
    }

    #[test]
    fn a_million_points_make_a_small_picture() {
        let points = (0..1_000_000).map(|i| (Timestamp(at(0).0 + i), Some((i % 977) as f64)));
        let svg = Chart::new("Load", Unit::Milliseconds, at(0), at(1000)).line("latency", points).svg(Size::WIDE);
        assert!(svg.len() < 100_000, "{} bytes", svg.len());
    }

    #[test]
    fn lines_break_where_there_are_no_values() {
        let points = [(at(0), Some(1.0)), (at(1), Some(1.0)), (at(2), None), (at(3), Some(1.0)), (at(4), Some(2.0))];
        let svg = Chart::new("", Unit::Count, at(0), at(5)).line("a", points).svg(Size::SMALL);
        assert_eq!(svg.matches("<polyline fill=\"none\" stroke=\"var(--chart-1)\"").count(), 3, "two and the legend");
    }

    #[test]
    fn an_empty_chart_is_drawn() {
        let svg = Chart::new("Nothing", Unit::Count, at(0), at(0)).svg(Size::SMALL);
        assert!(svg.contains("<title>Nothing</title>"));
    }
}
