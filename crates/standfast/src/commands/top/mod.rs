//! `top`: zones, groups, targets, rates and events on one screen of a terminal, live.
//!
//! It is a client like the others. What it shows is read whole each second and drawn by a pure function (`draw.rs`), which
//! `--once` calls too.

mod draw;
mod probes;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value as Json;
use standfast_core::Clock;
use tokio::sync::Notify;

use super::{status, text};
use crate::api_client::ApiClient;
use crate::cli::Top;
use crate::output;

/// How often all is read again.
const EVERY: Duration = Duration::from_secs(1);
/// How long a key may wait to be noticed.
const KEYS: Duration = Duration::from_millis(100);
/// Events that are kept; a screen shows a few of them.
const EVENTS_MAX: usize = 50;
/// Instances by which a page moves.
const PAGE: usize = 10;
/// Keys that wait to be obeyed; what is pressed beyond them is lost.
const KEYS_MAX: usize = 32;

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
    /// What users see, where a probe asks.
    probes: Vec<probes::Probe>,
    /// The first of the instances' rows that is shown.
    first: usize,
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
        output::text_of(draw::text(&watcher.shown)?);
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
    let (pressed, mut keys) = tokio::sync::mpsc::channel(KEYS_MAX);
    let over = Arc::new(Notify::new());
    let reader = tokio::task::spawn_blocking({
        let over = over.clone();
        move || {
            read_keys(&pressed);
            over.notify_one();
        }
    });
    let mut due = watcher.clock.now() + EVERY;
    let result = loop {
        let mut first = 0;
        if let Err(error) = terminal.draw(|frame| first = draw::draw(frame, &watcher.shown)) {
            break Err(error.into());
        }
        watcher.shown.first = first;
        tokio::select! {
            () = over.notified() => break Ok(()),
            Some(key) = keys.recv() => if let Key::Scroll(to) = key {
                watcher.shown.first = to.from(first);
            },
            () = watcher.clock.sleep_until(due) => {
                // Whoever wants to go does not wait for a cloud that hangs.
                let looked = tokio::select! {
                    () = over.notified() => break Ok(()),
                    looked = watcher.look() => looked,
                };
                // A cloud that does not answer is shown as that; it may come back.
                watcher.shown.lost = looked.err().map(|error| format!("{error:#}"));
                due = watcher.clock.now() + EVERY;
            }
        }
    };
    drop(keys);
    let _ = reader.await;
    result
}

/// What a key asks for.
enum Key {
    Scroll(Scroll),
    /// The terminal has another size.
    Redraw,
}

/// Where the rows of instances move to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scroll {
    Back(usize),
    On(usize),
    Begin,
    End,
}

impl Scroll {
    fn of(key: KeyCode) -> Option<Self> {
        Some(match key {
            KeyCode::Up | KeyCode::Char('k') => Self::Back(1),
            KeyCode::Down | KeyCode::Char('j') => Self::On(1),
            KeyCode::PageUp => Self::Back(PAGE),
            KeyCode::PageDown | KeyCode::Char(' ') => Self::On(PAGE),
            KeyCode::Home => Self::Begin,
            KeyCode::End => Self::End,
            _ => return None,
        })
    }

    /// The first row then; what is beyond the end is drawn as the end.
    fn from(self, first: usize) -> usize {
        match self {
            Self::Back(rows) => first.saturating_sub(rows),
            Self::On(rows) => first.saturating_add(rows),
            Self::Begin => 0,
            Self::End => usize::MAX,
        }
    }
}

/// Tells of keys until one ends it, or nobody listens.
fn read_keys(pressed: &tokio::sync::mpsc::Sender<Key>) {
    while !pressed.is_closed() {
        let event = match event::poll(KEYS) {
            Ok(true) => event::read(),
            Ok(false) => continue,
            Err(_) => return,
        };
        let key = match event {
            Ok(Event::Key(key)) if ends(key) => return,
            Ok(Event::Key(key)) => Scroll::of(key.code).map(Key::Scroll),
            Ok(Event::Resize(..)) => Some(Key::Redraw),
            _ => None,
        };
        // Who presses faster than a screen is drawn misses nothing but a row.
        let _ = key.map(|key| pressed.try_send(key));
    }
}

fn ends(key: KeyEvent) -> bool {
    let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc)
}

impl Watcher<'_> {
    async fn look(&mut self) -> Result<()> {
        self.shown.status = status::read(self.client).await?;
        self.shown.probes = probes::read(self.client).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_by_rows_and_pages_and_stay_within() {
        let moved = |key, first| Scroll::of(key).map(|scroll| scroll.from(first));
        assert_eq!(moved(KeyCode::Up, 0), Some(0));
        assert_eq!(moved(KeyCode::Char('j'), 3), Some(4));
        assert_eq!(moved(KeyCode::PageUp, 25), Some(25 - PAGE));
        assert_eq!((moved(KeyCode::Home, 9), moved(KeyCode::End, 9)), (Some(0), Some(usize::MAX)));
        assert_eq!(moved(KeyCode::Char('x'), 9), None);
    }
}
