//! `top`: zones, groups, targets, rates and events on one screen of a terminal, live.
//!
//! It is a client like the others. What it shows is read whole each second and drawn by a pure function, which `--once`
//! calls too.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use ratatui::Frame;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};
use serde_json::Value as Json;
use standfast_core::Clock;

use super::{items, status, text};
use crate::api_client::ApiClient;
use crate::cli::Top;
use crate::output;

/// How often all is read again.
const EVERY: Duration = Duration::from_secs(1);
/// How long a key may wait to be noticed.
const KEYS: Duration = Duration::from_millis(100);
/// The frame that `--once` prints.
const FRAME: (u16, u16) = (80, 24);
/// Events that are kept; a screen shows a few of them.
const EVENTS_MAX: usize = 50;
const EVENT_ROWS: u16 = 6;

/// All that a frame shows.
#[derive(Default)]
struct Shown {
    status: Json,
    /// The newest last.
    events: Vec<Json>,
    /// Per second, by zone: what nodes answered, what targets got.
    zones: BTreeMap<String, (f64, f64)>,
    answers: f64,
    errors: f64,
    latency_ms: Option<f64>,
    /// Why the last look failed.
    lost: Option<String>,
}

/// Reads the cloud and remembers what rates are counted from.
struct Watcher<'a> {
    client: &'a ApiClient,
    clock: Clock,
    last: Option<(standfast_core::Timestamp, Json)>,
    after: String,
    shown: Shown,
}

/// Shows one frame, or frames until q is pressed.
pub async fn run(client: &ApiClient, options: &Top) -> Result<ExitCode> {
    let clock = Clock::system(1.0);
    let mut watcher = Watcher { client, clock, last: None, after: String::new(), shown: Shown::default() };
    if options.once {
        watcher.look().await?;
        // Rates are differences: one more look, a second later.
        watcher.clock.sleep(EVERY).await;
        watcher.look().await?;
        output::text_of(frame(&watcher.shown)?);
        return Ok(ExitCode::SUCCESS);
    }
    if !std::io::stdout().is_terminal() {
        bail!("this is no terminal; `standfast top --once` prints one frame");
    }
    watcher.look().await?;
    let mut terminal = ratatui::try_init()?;
    let result = live(&mut watcher, &mut terminal).await;
    ratatui::restore();
    result.map(|()| ExitCode::SUCCESS)
}

async fn live(watcher: &mut Watcher<'_>, terminal: &mut ratatui::DefaultTerminal) -> Result<()> {
    let (end, over) = (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Notify::new()));
    let keys = tokio::task::spawn_blocking({
        let (end, over) = (end.clone(), over.clone());
        move || keys(&end, &over)
    });
    let result = loop {
        if let Err(error) = terminal.draw(|frame| draw(frame, &watcher.shown)) {
            break Err(error.into());
        }
        tokio::select! {
            () = over.notified() => break Ok(()),
            () = watcher.clock.sleep(EVERY) => (),
        }
        // A cloud that does not answer is shown as that; it may come back.
        watcher.shown.lost = watcher.look().await.err().map(|error| format!("{error:#}"));
    };
    end.store(true, Ordering::Relaxed);
    let _ = keys.await;
    result
}

/// Waits for the key that ends it.
fn keys(end: &AtomicBool, over: &tokio::sync::Notify) {
    while !end.load(Ordering::Relaxed) {
        let pressed = match event::poll(KEYS) {
            Ok(true) => event::read(),
            Ok(false) => continue,
            Err(_) => break,
        };
        if let Ok(Event::Key(key)) = pressed {
            let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                break;
            }
        }
    }
    over.notify_one();
}

impl Watcher<'_> {
    async fn look(&mut self) -> Result<()> {
        self.shown.status = status::read(self.client).await?;
        let traffic: Json = serde_json::from_slice(&self.client.own("traffic").await?)?;
        let now = self.clock.now();
        if let Some((before, last)) = self.last.take() {
            self.rates(&last, &traffic, now.since(before).as_secs_f64().max(0.001));
        }
        self.last = Some((now, traffic));
        let path = format!("events?region={}&after={}", self.client.region(), self.after);
        let events: Vec<Json> = serde_json::from_slice(&self.client.own(&path).await?)?;
        for seen in events {
            text(&seen, "Key").clone_into(&mut self.after);
            self.shown.events.push(seen["Event"].clone());
        }
        let surplus = self.shown.events.len().saturating_sub(EVENTS_MAX);
        self.shown.events.drain(..surplus);
        Ok(())
    }

    fn rates(&mut self, before: &Json, now: &Json, seconds: f64) {
        let key = |row: &Json| ["load_balancer", "target_group", "zone"].map(|name| text(row, name).to_owned());
        let before: BTreeMap<_, _> = before.as_array().into_iter().flatten().map(|row| (key(row), row)).collect();
        let shown = &mut self.shown;
        shown.zones.clear();
        (shown.answers, shown.errors) = (0.0, 0.0);
        let (mut timed, mut time_us) = (0.0, 0.0);
        for row in now.as_array().into_iter().flatten() {
            let count = |row: &Json, name: &str| row[name].as_f64().unwrap_or_default();
            let old = before.get(&key(row));
            let grown = |name: &str| (count(row, name) - old.map_or(0.0, |old| count(old, name))).max(0.0);
            let zone = shown.zones.entry(text(row, "zone").to_owned()).or_default();
            if row["target_group"].is_null() {
                zone.0 += grown("answers") / seconds;
                shown.answers += grown("answers") / seconds;
                shown.errors += grown("errors") / seconds;
                timed += grown("timed");
                time_us += grown("time_us");
            } else {
                zone.1 += grown("requests") / seconds;
            }
        }
        shown.latency_ms = (timed > 0.0).then(|| time_us / timed / 1000.0);
    }
}

/// One frame as text.
fn frame(shown: &Shown) -> Result<String> {
    let mut terminal = Terminal::new(TestBackend::new(FRAME.0, FRAME.1))?;
    terminal.draw(|frame| draw(frame, shown))?;
    let buffer = terminal.backend().buffer().clone();
    let line = |y| (0..FRAME.0).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    Ok((0..FRAME.1).map(|y| format!("{}\n", line(y).trim_end())).collect())
}

fn draw(frame: &mut Frame, shown: &Shown) {
    let zones = u16::try_from(items(&shown.status, "zones").len()).unwrap_or(u16::MAX).min(6);
    let groups = u16::try_from(items(&shown.status, "groups").len()).unwrap_or(u16::MAX).clamp(1, 4);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(zones + 2),
        Constraint::Length(groups + 2),
        Constraint::Min(3),
        Constraint::Length(EVENT_ROWS),
    ])
    .split(frame.area());
    head(frame, shown, parts[0]);
    draw_zones(frame, shown, parts[1]);
    draw_groups(frame, shown, parts[2]);
    draw_instances(frame, shown, parts[3]);
    draw_events(frame, shown, parts[4]);
}

fn head(frame: &mut Frame, shown: &Shown, area: Rect) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let latency = shown.latency_ms.map(|ms| format!(", {ms:.1} ms")).unwrap_or_default();
    let line = match &shown.lost {
        Some(why) => Line::from(vec![Span::styled("NO ANSWER ", bad()), Span::raw(why.clone())]),
        None => Line::from(vec![
            Span::styled(format!("Standfast {}  ", text(&shown.status, "region")), bold),
            Span::raw(format!("{:.0} answers/s, ", shown.answers)),
            Span::styled(
                format!("{:.0} errors/s", shown.errors),
                if shown.errors > 0.0 { bad() } else { Style::new() },
            ),
            Span::raw(format!("{latency}   q quits")),
        ]),
    };
    frame.render_widget(Paragraph::new(line), area);
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
        let here = |one: &&Json| text(one, "zone") == zone && text(one, "state") == "running";
        items(&shown.status, "instances").iter().filter(here).count()
    };
    let rows = items(&shown.status, "zones").iter().map(|zone| {
        let name = text(zone, "name");
        let (taken, sent) = shown.zones.get(name).copied().unwrap_or_default();
        let state = if text(zone, "state") == "dark" { "dark" } else { "power" };
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
        let serving = members.iter().filter(|member| text(member, "lifecycle") == "InService");
        serving.for_each(|member| *zones.entry(text(member, "zone")).or_default() += 1);
        let count: usize = zones.values().sum();
        let desired = group["desired"].as_u64().unwrap_or_default();
        let style = if (count as u64) < desired { bad() } else { Style::new().green() };
        let letters =
            zones.iter().map(|(zone, count)| format!("{} {count}", zone.get(zone.len() - 1..).unwrap_or(zone)));
        Row::new(vec![
            Cell::from(text(group, "name").to_owned()),
            Cell::from(format!("{count} of {desired}")).style(style),
            Cell::from(format!("{} to {}", group["min"], group["max"])),
            Cell::from(letters.collect::<Vec<_>>().join(", ")),
        ])
    });
    let widths = [Constraint::Min(24), Constraint::Length(10), Constraint::Length(9), Constraint::Length(22)];
    let heads = ["Group", "In service", "Size", "By zone"];
    frame.render_widget(table(" Groups ", &heads, &widths, rows.collect()), area);
}

fn draw_instances(frame: &mut Frame, shown: &Shown, area: Rect) {
    let mut health: BTreeMap<&str, &Json> = BTreeMap::new();
    for balancer in items(&shown.status, "load_balancers") {
        let targets = items(balancer, "target_groups").iter().flat_map(|group| items(group, "targets"));
        health.extend(targets.map(|target| (text(target, "id"), target)));
    }
    // What is not well comes first: the screen may not have room for all.
    let mut instances: Vec<&Json> = items(&shown.status, "instances").iter().collect();
    let well = |one: &Json| health.get(text(one, "id")).is_none_or(|target| text(target, "health") == "healthy");
    instances.sort_by_key(|one| (text(one, "state") == "running" && well(one), text(one, "zone")));
    let rows = instances.into_iter().map(|one| {
        let target = health.get(text(one, "id"));
        let state = target.map_or("", |target| text(target, "health"));
        let reason = target.map_or("", |target| text(target, "reason"));
        Row::new(vec![
            Cell::from(text(one, "id").to_owned()),
            Cell::from(text(one, "zone").to_owned()),
            Cell::from(text(one, "state").to_owned()).style(of_state(text(one, "state"))),
            Cell::from(state.to_owned()).style(of_state(state)),
            Cell::from(reason.to_owned()),
        ])
    });
    let widths = [20, 15, 13, 10].map(Constraint::Length).into_iter().chain([Constraint::Min(10)]).collect::<Vec<_>>();
    let heads = ["Instance", "Zone", "State", "Target", "Reason"];
    frame.render_widget(table(" Instances and targets ", &heads, &widths, rows.collect()), area);
}

fn draw_events(frame: &mut Frame, shown: &Shown, area: Rect) {
    let room = usize::from(area.height.saturating_sub(1));
    let line = |event: &Json| {
        let time = text(event, "time").get(11..19).unwrap_or_default().to_owned();
        let about = items(event, "resources").last().and_then(Json::as_str).unwrap_or_default();
        let about = about.rsplit(['/', ':']).next().unwrap_or_default();
        Line::from(vec![
            Span::styled(time, Style::new().add_modifier(Modifier::DIM)),
            Span::raw(format!(" {} {about} {}", text(event, "detail-type"), text(&event["detail"], "state"))),
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
        let shown = Shown { status, zones, answers: 120.0, errors: 2.0, ..Shown::default() };
        let text = frame(&shown).expect("drawing into memory does not fail");
        let line = |word: &str| text.lines().find(|line| line.contains(word)).unwrap_or_default().to_owned();
        assert!(line("Standfast").contains("120 answers/s, 2 errors/s"), "{text}");
        assert!(line("eu-west-1a ").contains("dark"), "{text}");
        assert!(line("118").contains("eu-west-1b"), "{text}");
        assert!(line("web").contains("1 of 3"), "{text}");
        assert!(line("i-1").contains("unhealthy  Target.Timeout"), "{text}");
        assert!(text.find("i-1") < text.find("i-2 "), "what is not well comes first: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80) && text.lines().count() == 24, "{text}");
    }
}
