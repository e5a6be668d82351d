//! A frame of `top`: a pure function of what was read.

use std::collections::BTreeMap;

use anyhow::Result;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use ratatui::{Frame, Terminal};
use serde_json::Value as Json;
use standfast_gameday::report::words;

use super::Shown;
use super::probes::Probe;
use crate::commands::{items, text as word};

/// The frame that `--once` prints.
const FRAME: (u16, u16) = (80, 24);
const EVENT_ROWS: u16 = 6;
/// A table's rule and its heads.
const TABLE_HEAD: usize = 2;

/// One frame as text.
pub(super) fn text(shown: &Shown) -> Result<String> {
    let mut terminal = Terminal::new(TestBackend::new(FRAME.0, FRAME.1))?;
    terminal.draw(|frame| {
        draw(frame, shown);
    })?;
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..FRAME.0).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    Ok((0..FRAME.1).map(|y| format!("{}\n", line(y).trim_end())).collect())
}

/// Draws it; gives the first of the instances' rows that it shows.
pub(super) fn draw(frame: &mut Frame, shown: &Shown) -> usize {
    let zones = u16::try_from(items(&shown.status, "zones").len()).unwrap_or(u16::MAX).min(6);
    let groups = u16::try_from(items(&shown.status, "groups").len()).unwrap_or(u16::MAX).clamp(1, 4);
    let parts = Layout::vertical([
        Constraint::Length(1 + shown.probes.len() as u16),
        Constraint::Length(zones + 2),
        Constraint::Length(groups + 2),
        Constraint::Min(3),
        Constraint::Length(EVENT_ROWS),
    ])
    .split(frame.area());
    head(frame, shown, parts[0]);
    draw_zones(frame, shown, parts[1]);
    draw_groups(frame, shown, parts[2]);
    draw_events(frame, shown, parts[4]);
    draw_instances(frame, shown, parts[3])
}

fn head(frame: &mut Frame, shown: &Shown, area: Rect) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let latency = shown.latency_ms.map(|ms| format!(", {ms:.1} ms")).unwrap_or_default();
    let line = match &shown.lost {
        Some(why) => Line::from(vec![Span::styled("NO ANSWER ", bad()), Span::raw(why.clone())]),
        None => Line::from(vec![
            Span::styled(format!("Standfast {}  ", word(&shown.status, "region")), bold),
            Span::raw(format!("{:.0} answers/s, ", shown.answers)),
            Span::styled(
                format!("{:.0} errors/s", shown.errors),
                if shown.errors > 0.0 { bad() } else { Style::new() },
            ),
            Span::raw(format!("{latency}   q quits")),
        ]),
    };
    let lines: Vec<Line> = std::iter::once(line).chain(shown.probes.iter().map(probe)).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// What users see of a site.
fn probe(probe: &Probe) -> Line<'_> {
    let succeeded = 1.0 - probe.failed as f64 / probe.requests.max(1) as f64;
    let failed = format!("{} of {} failed", words::count(probe.failed), words::count(probe.requests));
    Line::from(vec![
        Span::raw(format!("Probe {}  {:.0}/s, ", probe.name, probe.per_second)),
        Span::styled(failed, if probe.failed > 0 { bad() } else { Style::new() }),
        Span::raw(format!(" in the last hour: {} succeeded", words::percent(succeeded))),
    ])
}

/// Colour only repeats what a word says.
fn bad() -> Style {
    Style::new().red().add_modifier(Modifier::BOLD)
}

fn of_state(state: &str) -> Style {
    match state {
        "unhealthy" | "dark" | "Failed" | "failed" | "Unhealthy" => bad(),
        "healthy" | "running" | "available" | "InService" => Style::new().green(),
        "stopped" | "terminated" => Style::new().dark_gray(),
        _ => Style::new().yellow(),
    }
}

fn table<'a>(title: &'a str, heads: &[&'a str], widths: &[Constraint], rows: Vec<Row<'a>>) -> Table<'a> {
    let head = Row::new(heads.iter().map(|head| Cell::from(*head))).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(rows, widths.to_vec())
        .header(head)
        .block(Block::new().borders(Borders::TOP).title(title))
        .column_spacing(1)
}

fn draw_zones(frame: &mut Frame, shown: &Shown, area: Rect) {
    let running = |zone: &str| {
        let here = |one: &&Json| word(one, "zone") == zone && word(one, "state") == "running";
        items(&shown.status, "instances").iter().filter(here).count()
    };
    let rows = items(&shown.status, "zones").iter().map(|zone| {
        let name = word(zone, "name");
        let (taken, sent) = shown.zones.get(name).copied().unwrap_or_default();
        let state = if word(zone, "state") == "dark" { "dark" } else { "power" };
        let style = if state == "dark" { bad() } else { Style::new().green() };
        Row::new(vec![
            Cell::from(name.to_owned()),
            Cell::from(state).style(style),
            Cell::from(format!("{:>9}", running(name))),
            Cell::from(format!("{taken:>11.0}")),
            Cell::from(format!("{sent:>12.0}")),
        ])
    });
    let heads = ["Zone", "Power", "Instances", "Through/s", "To targets/s"];
    let widths = [16, 8, 10, 12, 13].map(Constraint::Length);
    frame.render_widget(table(" Zones ", &heads, &widths, rows.collect()), area);
}

fn draw_groups(frame: &mut Frame, shown: &Shown, area: Rect) {
    let rows = items(&shown.status, "groups").iter().map(|group| {
        let members = items(group, "instances");
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        let serving = members.iter().filter(|member| word(member, "lifecycle") == "InService");
        serving.for_each(|member| *zones.entry(word(member, "zone")).or_default() += 1);
        let count: usize = zones.values().sum();
        let desired = group["desired"].as_u64().unwrap_or_default();
        let style = if (count as u64) < desired { bad() } else { Style::new().green() };
        let letters =
            zones.iter().map(|(zone, count)| format!("{} {count}", zone.get(zone.len() - 1..).unwrap_or(zone)));
        Row::new(vec![
            Cell::from(word(group, "name").to_owned()),
            Cell::from(format!("{count} of {desired}")).style(style),
            Cell::from(format!("{} to {}", group["min"], group["max"])),
            Cell::from(letters.collect::<Vec<_>>().join(", ")),
        ])
    });
    let widths = [Constraint::Min(24), Constraint::Length(10), Constraint::Length(9), Constraint::Length(22)];
    let heads = ["Group", "In service", "Size", "By zone"];
    frame.render_widget(table(" Groups ", &heads, &widths, rows.collect()), area);
}

fn draw_instances(frame: &mut Frame, shown: &Shown, area: Rect) -> usize {
    let mut health: BTreeMap<&str, &Json> = BTreeMap::new();
    for balancer in items(&shown.status, "load_balancers") {
        let targets = items(balancer, "target_groups").iter().flat_map(|group| items(group, "targets"));
        health.extend(targets.map(|target| (word(target, "id"), target)));
    }
    // What is not well comes first.
    let mut instances: Vec<&Json> = items(&shown.status, "instances").iter().collect();
    let well = |one: &Json| health.get(word(one, "id")).is_none_or(|target| word(target, "health") == "healthy");
    instances.sort_by_key(|one| (word(one, "state") == "running" && well(one), word(one, "zone")));
    let (all, room) = (instances.len(), usize::from(area.height).saturating_sub(TABLE_HEAD));
    let first = shown.first.min(all.saturating_sub(room));
    let title = match all > room {
        true => {
            format!(" Instances and targets: {} to {} of {all}, arrows scroll ", first + 1, (first + room).min(all))
        }
        false => " Instances and targets ".to_owned(),
    };
    let rows = instances.into_iter().skip(first).map(|one| {
        let target = health.get(word(one, "id"));
        let state = target.map_or("", |target| word(target, "health"));
        let reason = target.map_or("", |target| word(target, "reason"));
        Row::new(vec![
            Cell::from(word(one, "id").to_owned()),
            Cell::from(word(one, "zone").to_owned()),
            Cell::from(word(one, "state").to_owned()).style(of_state(word(one, "state"))),
            Cell::from(state.to_owned()).style(of_state(state)),
            Cell::from(reason.to_owned()),
        ])
    });
    let widths = [20, 15, 13, 10].map(Constraint::Length).into_iter().chain([Constraint::Min(10)]).collect::<Vec<_>>();
    let heads = ["Instance", "Zone", "State", "Target", "Reason"];
    frame.render_widget(table(&title, &heads, &widths, rows.collect()), area);
    first
}

fn draw_events(frame: &mut Frame, shown: &Shown, area: Rect) {
    let room = usize::from(area.height.saturating_sub(1));
    let line = |event: &Json| {
        let time = word(event, "time").get(11..19).unwrap_or_default().to_owned();
        let about = items(event, "resources").last().and_then(Json::as_str).unwrap_or_default();
        let about = about.rsplit(['/', ':']).next().unwrap_or_default();
        Line::from(vec![
            Span::styled(time, Style::new().add_modifier(Modifier::DIM)),
            Span::raw(format!(" {} {about} {}", word(event, "detail-type"), word(&event["detail"], "state"))),
        ])
    };
    let lines: Vec<Line> = shown.events.iter().rev().take(room).map(line).collect();
    let block = Block::new().borders(Borders::TOP).title(" Events ");
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_shows_the_dark_zone_the_rates_and_what_is_not_well() {
        let status = serde_json::json!({
            "region": "eu-west-1",
            "zones": [{"name": "eu-west-1a", "state": "dark"}, {"name": "eu-west-1b", "state": "available"}],
            "groups": [{"name": "web", "desired": 3, "min": 1, "max": 9,
                        "instances": [{"id": "i-2", "zone": "eu-west-1b", "lifecycle": "InService"}]}],
            "instances": [{"id": "i-2", "zone": "eu-west-1b", "state": "running"},
                          {"id": "i-1", "zone": "eu-west-1a", "state": "stopped"}],
            "load_balancers": [{"target_groups": [{"targets": [
                {"id": "i-2", "health": "healthy"}, {"id": "i-1", "health": "unhealthy", "reason": "Target.Timeout"}]}]}],
        });
        let zones = BTreeMap::from([("eu-west-1b".to_owned(), (120.0, 118.0))]);
        let probe = Probe { name: "site".into(), per_second: 50.0, requests: 12_000, failed: 12 };
        let shown = Shown { status, zones, answers: 120.0, errors: 2.0, probes: vec![probe], ..Shown::default() };
        let text = text(&shown).expect("drawing into memory does not fail");
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap_or_default().to_owned();
        assert!(line("Standfast").contains("120 answers/s, 2 errors/s"), "{text}");
        assert!(line("Probe site").contains("50/s, 12 of 12,000 failed in the last hour: 99.9 % succeeded"), "{text}");
        assert!(line("eu-west-1a ").contains("dark"), "{text}");
        assert!(line("118").contains("eu-west-1b"), "{text}");
        assert!(line("web").contains("1 of 3"), "{text}");
        assert!(line("i-1").contains("unhealthy  Target.Timeout"), "{text}");
        assert!(text.find("i-1") < text.find("i-2 "), "what is not well comes first: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80) && text.lines().count() == 24, "{text}");
    }

    #[test]
    fn what_has_no_room_is_scrolled_to() {
        let one = |n: usize| serde_json::json!({"id": format!("i-{n:02}"), "zone": "eu-west-1a", "state": "running"});
        let status = serde_json::json!({"region": "eu-west-1", "instances": (0..40).map(one).collect::<Vec<_>>()});
        let shown = |first| Shown { status: status.clone(), first, ..Shown::default() };
        let at = |first| text(&shown(first)).expect("drawing into memory does not fail");
        let begin = at(0);
        assert!(begin.contains("1 to 10 of 40, arrows scroll") && begin.contains("i-00"), "{begin}");
        assert!(!begin.contains("i-10"), "{begin}");
        let end = at(usize::MAX);
        assert!(end.contains("31 to 40 of 40") && end.contains("i-30") && end.contains("i-39"), "{end}");
        assert!(!end.contains("i-29"), "{end}");
    }
}
