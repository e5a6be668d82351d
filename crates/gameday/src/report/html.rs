//! The report as a page: one file that needs no network and no script.

use std::fmt::Write;

use super::verdict::{doing, layer};
use super::words::{YEAR_S, count, how_many_nines, percent, plural, time};
use super::{Counted, ProbeReport, Report, Verdict, timeline};
use crate::times::{Time, Took};

const STYLE: &str = include_str!("page.css");
/// The widths for which the timeline is drawn.
const WIDE: u32 = 1032;
const NARROW: u32 = 358;
/// The list of events shows this many; report.json has all.
const EVENTS_MAX: usize = 1500;

/// Text as HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// The whole page.
pub fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = escape(&report.name);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>{STYLE}</style></head><body><main>"
    );
    head(&mut out, report);
    verdict(&mut out, report);
    if let Some(probe) = report.probes.first() {
        tiles(&mut out, probe);
    }
    hypothesis(&mut out, report);
    for probe in &report.probes {
        timelines(&mut out, report, probe);
    }
    times(&mut out, report);
    single_points(&mut out, report);
    advice(&mut out, report);
    users(&mut out, report);
    events(&mut out, report);
    out.push_str(
        "<footer>Made by Standfast. All figures are in report.json beside this page.</footer></main></body></html>\n",
    );
    out
}

fn head(out: &mut String, report: &Report) {
    let _ = write!(out, "<header><span class=\"kind\">Standfast game day</span><h1>{}</h1>", escape(&report.name));
    if !report.description.is_empty() {
        let _ = write!(out, "<p>{}</p>", escape(&report.description));
    }
    let _ = write!(
        out,
        "<div class=\"meta\">Stack {} · {} · took {} · seed {}{}</div></header>",
        escape(&report.stack),
        escape(&report.began.replace('T', " ").split('.').next().map_or(String::new(), |t| format!("{t} UTC"))),
        time(report.length_ms as f64 / 1000.0),
        report.seed,
        if report.speed == 1.0 { String::new() } else { format!(" · time went {} times as fast", report.speed) }
    );
}

fn verdict(out: &mut String, report: &Report) {
    let (class, word) = match report.verdict {
        Verdict::Held => ("verdict", "Held"),
        Verdict::Failed => ("verdict bad", "Failed"),
        Verdict::Interrupted => ("verdict bad", "Interrupted"),
    };
    let _ = write!(out, "<section class=\"{class}\"><div><b>{word}</b><p>{}</p></div></section>", escape(&report.said));
}

fn tile(out: &mut String, name: &str, figure: &str, small: &str) {
    let _ = write!(
        out,
        "<div class=\"tile\"><span>{}</span><b>{}</b><small>{}</small></div>",
        escape(name),
        escape(figure),
        escape(small)
    );
}

fn tiles(out: &mut String, probe: &ProbeReport) {
    let broken = &probe.broken;
    out.push_str("<section class=\"tiles\">");
    tile(out, "availability while broken", &percent(broken.availability), &nines_of(broken));
    tile(
        out,
        "longest outage",
        &time(broken.longest_outage_ms / 1000.0),
        &format!("of {}", plural(broken.outages, "outage")),
    );
    match &probe.budget {
        Some(budget) if budget.allowed > 0.0 => {
            let spent = budget.spent as f64 / budget.allowed;
            let small = format!(
                "{} of {} failures that {} allows; {} of a month's budget",
                count(budget.spent),
                count(budget.allowed as u64),
                percent(budget.objective),
                share(budget.of_month)
            );
            tile(out, "error budget spent", &share(spent), &small);
        }
        _ => tile(out, "failed", &count(broken.failed), &format!("of {} requests", count(broken.requests))),
    }
    let small = format!("p50 {}", time(broken.latency.p50_ms / 1000.0));
    tile(out, "p99 while broken", &time(broken.latency.p99_ms / 1000.0), &small);
    out.push_str("</section>");
    if broken.failed == 0 {
        let most = time(YEAR_S / broken.requests.max(1) as f64);
        let _ = write!(
            out,
            "<p class=\"legend\">No request failed, and {} requests can show no more than that: a year of it would be less than \
             {most} without service.</p>",
            count(broken.requests)
        );
    } else {
        let _ = write!(
            out,
            "<p class=\"legend\">A year in which everything is always as it was while broken would be {} without service. {} \
             requests a second were sent at their times, whether or not earlier ones had been answered.</p>",
            time(broken.lost_per_year_s),
            probe.rate
        );
    }
}

fn nines_of(counted: &Counted) -> String {
    format!("{} nines", how_many_nines(counted.failed, counted.requests))
}

/// A ratio as a percentage with few digits.
fn share(ratio: f64) -> String {
    match ratio * 100.0 {
        0.0 => "0 %".into(),
        p if p < 0.1 => "under 0.1 %".into(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// Begins a table, whose rows end it.
fn table(out: &mut String, heads: &[&str]) {
    out.push_str("<table class=\"stack\"><thead><tr>");
    for head in heads {
        let _ = match *head {
            "" => write!(out, "<td></td>"),
            head => write!(out, "<th scope=\"col\">{head}</th>"),
        };
    }
    out.push_str("</tr></thead><tbody>");
}

fn hypothesis(out: &mut String, report: &Report) {
    out.push_str("<h2>Hypothesis</h2>");
    table(out, &["what", "expected", "measured", ""]);
    for line in &report.hypothesis {
        let why = if line.why.is_empty() {
            String::new()
        } else {
            format!("<span class=\"why\">{}</span>", escape(&line.why))
        };
        let (class, word) = if line.held { ("yes", "✓ held") } else { ("no", "✗ failed") };
        let _ = write!(
            out,
            "<tr><td>{}{why}</td><td class=\"n\" data-of=\"expected\">{}</td><td class=\"n\" data-of=\"measured\">{}</td><td \
             class=\"{class}\">{word}</td></tr>",
            escape(&line.what),
            escape(&line.expected),
            escape(&line.measured)
        );
    }
    out.push_str("</tbody></table>");
}

fn timelines(out: &mut String, report: &Report, probe: &ProbeReport) {
    let name = if report.probes.len() > 1 { format!("Timeline: {}", probe.name) } else { "Timeline".to_owned() };
    let _ = write!(
        out,
        "<h2>{}</h2><div class=\"wide\">{}</div><div class=\"narrow\">{}</div><p class=\"legend\">Red is failed requests, and \
         what stopped serving (▼); blue is what serves (▲ from then on). The shade is the time of a fault.</p>",
        escape(&name),
        timeline::svg(report, probe, WIDE),
        timeline::svg(report, probe, NARROW)
    );
}

fn times(out: &mut String, report: &Report) {
    let shown: Vec<&Time> = report.times.iter().filter(|time| time.took != Took::Unaffected).collect();
    if shown.is_empty() {
        return;
    }
    out.push_str("<h2>How long each layer took</h2>");
    table(out, &["layer", "measured", "settings promise", "of which settings, and what AWS documents"]);
    let several = report.faults.len() > 1;
    for figure in shown {
        let measured = match figure.took {
            Took::After { measured_ms } => time(measured_ms as f64 / 1000.0),
            Took::Never => "not seen".into(),
            Took::Unaffected => "unaffected".into(),
        };
        let promised = figure.promised_ms.map_or("—".to_owned(), |ms| time(ms as f64 / 1000.0));
        let over = matches!((figure.took, figure.promised_ms), (Took::After { measured_ms }, Some(most)) if measured_ms > most as i64);
        let after =
            if several { format!("<span class=\"why\">after {}</span>", escape(&figure.fault)) } else { String::new() };
        let _ = write!(
            out,
            "<tr><td>{}: {}{after}</td><td class=\"n {}\" data-of=\"measured\">{measured}</td><td class=\"n\" \
             data-of=\"promised\">{promised}</td><td>{}<span class=\"why\">{}</span></td></tr>",
            layer(figure.layer),
            doing(figure.measure),
            if over { "no" } else { "" },
            escape(&figure.promise),
            escape(figure.documented)
        );
    }
    out.push_str("</tbody></table>");
}

fn single_points(out: &mut String, report: &Report) {
    if report.single_points.is_empty() {
        return;
    }
    out.push_str("<h2>Single points of failure</h2><ul class=\"advice\">");
    for point in &report.single_points {
        let how = if point.seen { "seen" } else { "by its settings" };
        let _ = write!(
            out,
            "<li><span class=\"tag error\">{how}</span><b>{}</b><span class=\"why\">{}</span></li>",
            escape(&point.resource),
            escape(&point.why)
        );
    }
    out.push_str("</ul>");
}

fn advice(out: &mut String, report: &Report) {
    out.push_str("<h2>What would make it better</h2>");
    if report.advice.is_empty() {
        out.push_str("<p>No rule has anything to say.</p>");
        return;
    }
    out.push_str("<ul class=\"advice\">");
    for advice in &report.advice {
        let property = if advice.property.is_empty() { String::new() } else { format!(".{}", advice.property) };
        let _ = write!(
            out,
            "<li><span class=\"tag {0}\">{0}</span><b>{1}</b> <code>{2}{3}</code><span class=\"why\">{4} {5}</span></li>",
            advice.severity.name(),
            escape(advice.title),
            escape(&advice.resource),
            property,
            escape(&advice.why),
            escape(&advice.fix)
        );
    }
    out.push_str("</ul>");
}

fn users(out: &mut String, report: &Report) {
    out.push_str("<h2>What users saw</h2><div class=\"wrap\">");
    let heads = ["probe", "requests", "failed", "availability", "p50", "p99", "p99.9", "answers, and by which zones"];
    table(out, &heads);
    for probe in &report.probes {
        for (when, counted) in [("while broken", &probe.broken), ("from beginning to end", &probe.whole)] {
            let list = |map: &std::collections::BTreeMap<String, u64>| {
                map.iter().map(|(name, n)| format!("{}: {}", escape(name), count(*n))).collect::<Vec<_>>().join(", ")
            };
            let latency = |ms: f64| time(ms / 1000.0);
            let _ = write!(
                out,
                "<tr><td>{}, {when}<span class=\"why\">{}</span></td><td class=\"n\" data-of=\"requests\">{}</td><td class=\"n\" \
                 data-of=\"failed\">{}</td><td class=\"n\" data-of=\"availability\">{}</td><td class=\"n\" \
                 data-of=\"p50\">{}</td><td class=\"n\" data-of=\"p99\">{}</td><td class=\"n\" data-of=\"p99.9\">{}</td><td>{}<span \
                 class=\"why\">{}</span></td></tr>",
                escape(&probe.name),
                escape(&probe.url),
                count(counted.requests),
                count(counted.failed),
                percent(counted.availability),
                latency(counted.latency.p50_ms),
                latency(counted.latency.p99_ms),
                latency(counted.latency.p999_ms),
                list(&counted.answers),
                list(&counted.zones)
            );
        }
    }
    out.push_str("</tbody></table></div>");
}

fn events(out: &mut String, report: &Report) {
    let shown = report.timeline.len().min(EVENTS_MAX);
    let _ = write!(
        out,
        "<h2>Events</h2><details><summary>{}, layer by layer</summary>",
        plural(report.timeline.len(), "event")
    );
    table(out, &["at", "layer", "what"]);
    for entry in &report.timeline[..shown] {
        let zone = entry.zone.as_ref().map_or(String::new(), |zone| format!(" in {zone}"));
        let _ = write!(
            out,
            "<tr><td class=\"n\">{:.1} s</td><td class=\"n\">{}</td><td><code>{}</code>{} {}</td></tr>",
            entry.at_ms as f64 / 1000.0,
            layer(entry.layer),
            escape(&entry.resource),
            escape(&zone),
            escape(&entry.what)
        );
    }
    out.push_str("</tbody></table></details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escape("<a href='x'>&\"</a>"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;&lt;/a&gt;");
    }

    #[test]
    fn shares_have_few_digits() {
        for (ratio, said) in [(0.0, "0 %"), (0.0004, "under 0.1 %"), (0.05, "5.0 %"), (1.5, "150 %")] {
            assert_eq!(share(ratio), said);
        }
    }
}
