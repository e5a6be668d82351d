//! Writes a page with charts to look at: `cargo run -p standfast-chart --example chart > chart.html`.

use standfast_chart::{Chart, STYLE, Size, Tone, Unit};
use standfast_core::Timestamp;

fn main() {
    let at = |second: i64| Timestamp(1_700_000_000_000 + second * 1000);
    let dark = 120..127;
    let answered = |second| if dark.contains(&second) { 120.0 } else { 198.0 + (second * 7 % 5) as f64 };
    let failed = |second| if dark.contains(&second) { 80.0 } else { 0.0 };
    let outage = Chart::new("Requests per second", Unit::PerSecond, at(0), at(300))
        .elapsed_since(at(100))
        .line("answered", (0..300).map(|second| (at(second), Some(answered(second)))))
        .bad_line("failed", (0..300).map(|second| (at(second), Some(failed(second)))))
        .threshold("steady state", 190.0)
        .band("eu-west-1a dark", at(120), at(240), Tone::Plain)
        .band("outage", at(120), at(127), Tone::Bad)
        .mark("power lost", at(120))
        .mark("targets ejected", at(121))
        .mark("alarm", at(135))
        .mark("healed", at(240))
        .responsive();
    let points = |scale: f64| (0..60).map(move |i| (at(i * 60), Some(scale * (30.0 + (i * i % 37) as f64))));
    let alarm = Chart::new("CPUUtilization", Unit::Percent, at(0), at(3600))
        .showing(0.0, 100.0)
        .line("average", points(1.0))
        .line("maximum", points(1.4))
        .line("minimum", points(0.4))
        .threshold("alarm", 70.0)
        .band("ALARM", at(1200), at(2000), Tone::Bad)
        .svg(Size::SMALL);
    let frame = "body{font:14px system-ui;margin:1rem;color-scheme:light dark}.two{max-width:420px}";
    println!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><style>{STYLE}{frame}</style>{outage}<div class=two>{alarm}</div>"
    );
}
