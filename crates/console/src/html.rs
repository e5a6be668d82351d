//! What all pages share: the frame, links, states, times, tables.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use standfast_chart::{Chart, Size};
use standfast_core::place::REGIONS;
use standfast_core::{Error, Fault, Timestamp};

use crate::{Page, ROOT, guard, pages};

/// What stays as it is in paths.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");
const ICON: &str = include_str!("icon.svg");

/// The files that pages refer to.
const FILES: [&str; 3] = ["console.css", "console.js", "icon.svg"];

pub fn is_file(path: &str) -> bool {
    FILES.contains(&path)
}

pub fn file(path: &str) -> Option<Response<Bytes>> {
    let (kind, body) = match path {
        "console.css" => ("text/css; charset=utf-8", Bytes::from(format!("{}{STYLE}", standfast_chart::STYLE))),
        "console.js" => ("text/javascript; charset=utf-8", Bytes::from_static(SCRIPT.as_bytes())),
        "icon.svg" => ("image/svg+xml", Bytes::from_static(ICON.as_bytes())),
        _ => return None,
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Some(response)
}

/// Whether the parts of a page are brought up to date while it is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Live {
    Yes,
    No,
}

/// A whole page.
pub fn shell(page: &Page, live: Live, title: &str, content: Markup) -> Response<Bytes> {
    framed(page, StatusCode::OK, live, title, content)
}

fn framed(page: &Page, status: StatusCode, live: Live, title: &str, content: Markup) -> Response<Bytes> {
    let here = page.asked.parts.first().map(String::as_str).unwrap_or_default();
    let body = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Standfast" }
                link rel="stylesheet" href={ (ROOT) "console.css" };
                link rel="icon" href={ (ROOT) "icon.svg" };
                script src={ (ROOT) "console.js" } defer {}
                @if live == Live::Yes { noscript { meta http-equiv="refresh" content="5"; } }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.top {
                    a.brand href=(ROOT) { "Standfast" }
                    nav aria-label="Pages" {
                        @for (path, name) in &pages::NAVIGATION {
                            a href={ (ROOT) (path) } aria-current=[(*path == here).then_some("page")] { (name) }
                        }
                    }
                    form.region method="get" {
                        label for="region" { "Region" }
                        select #region name="region" {
                            @for region in REGIONS {
                                option value=(region.name) selected[region.name == page.asked.region] { (region.name) }
                            }
                        }
                        button type="submit" { "Go" }
                    }
                }
                p #lost role="status" hidden { "The cloud does not answer. What is shown is what it last said." }
                main #main tabindex="-1" data-live=[(live == Live::Yes).then_some("")] { (content) }
                footer { "Times are UTC by the cloud's clock: " (time(page.cx.now())) "." }
            }
        }
    };
    let mut response = crate::page(status, body.into_string());
    response.headers_mut().insert(header::SET_COOKIE, page.asked.cookie());
    response
}

/// A page that says what went wrong.
pub fn failed(page: &Page, error: &Error) -> Response<Bytes> {
    let status = match error.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => status,
        None if error.fault == Fault::Client => StatusCode::BAD_REQUEST,
        None => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let content = html! {
        h1 { "That did not work" }
        p { strong { (error.code) } ": " (error.message) }
        p { a href=(ROOT) { "Back to the map" } }
    };
    framed(page, status, Live::No, "That did not work", content)
}

/// What may be missing that is in no region.
pub const PAGE: &str = "page";
pub const ACT: &str = "act";

/// A page for what does not exist, or not any more.
pub fn missing(page: &Page, what: &str, name: &str) -> Response<Bytes> {
    let content = html! {
        h1 { "There is no such " (what) }
        @if [PAGE, ACT].contains(&what) { p { "Nothing of the console is called “" (name) "”." } }
        @else { p { "“" (name) "” is not in " (page.asked.region) ". It may be in another region, or gone." } }
        p { a href=(ROOT) { "Back to the map" } }
    };
    framed(page, StatusCode::NOT_FOUND, Live::No, "Not found", content)
}

/// The path of a page about something.
pub fn path(page: &str, name: &str) -> String {
    format!("{ROOT}{page}/{}", utf8_percent_encode(name, PLAIN))
}

/// A link to the page about something.
pub fn link(page: &str, name: &str) -> Markup {
    html! { a href=(path(page, name)) { (name) } }
}

/// A link that looks like a button, to the page that asks whether it is meant.
pub fn ask(act: &str, field: &str, value: &str, label: &str) -> Markup {
    let value = utf8_percent_encode(value, PLAIN);
    html! { a.button.danger href={ (ROOT) "confirm/" (act) "?" (field) "=" (value) } { (label) } }
}

/// The form that does what was asked; `back` is where those go who did not mean it.
pub fn act(page: &Page, act: &str, field: &str, value: &str, label: &str, back: &str) -> Markup {
    html! {
        form.act method="post" action={ (ROOT) "act/" (act) } {
            input type="hidden" name=(guard::TOKEN) value=(page.token.text());
            input type="hidden" name="region" value=(page.asked.region);
            input type="hidden" name=(field) value=(value);
            button.danger type="submit" { (label) }
            a.button href=(back) { "Cancel" }
        }
    }
}

/// How a state is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    Busy,
    Bad,
    Off,
}

impl Mood {
    pub fn of(state: &str) -> Self {
        let upper = state.to_ascii_uppercase();
        match upper.as_str() {
            "TERMINATED" | "STOPPED" | "UNUSED" | "DISABLED" | "DELETE_COMPLETE" | "CANCELLED" => Mood::Off,
            "UNHEALTHY" | "UNHEALTHY.DRAINING" | "ALARM" | "DARK" | "DOWN" | "UNAVAILABLE" | "ERROR" => Mood::Bad,
            "RUNNING" | "HEALTHY" | "INSERVICE" | "ACTIVE" | "OK" | "AVAILABLE" | "IN-USE" | "COMPLETED" | "UP"
            | "SUCCESSFUL" | "POWER" => Mood::Good,
            _ if upper.contains("FAIL") || upper.contains("ROLLBACK") => Mood::Bad,
            _ if upper.ends_with("_COMPLETE") => Mood::Good,
            _ => Mood::Busy,
        }
    }

    /// Beside the word, so that colour is not all that tells.
    fn sign(self) -> &'static str {
        match self {
            Mood::Good => "✓",
            Mood::Busy => "◌",
            Mood::Bad => "✕",
            Mood::Off => "–",
        }
    }

    pub fn class(self) -> &'static str {
        match self {
            Mood::Good => "good",
            Mood::Busy => "busy",
            Mood::Bad => "bad",
            Mood::Off => "off",
        }
    }
}

/// A state in its words.
pub fn state(word: &str) -> Markup {
    mood(Mood::of(word), word)
}

pub fn mood(mood: Mood, word: &str) -> Markup {
    html! { span class={ "state " (mood.class()) } { span.sign aria-hidden="true" { (mood.sign()) } " " (word) } }
}

/// A running experiment breaks things: what is good for it is not good, and no failure either.
pub fn experiment_state(word: &str) -> Markup {
    if word == "running" {
        html! { span.state.bad { span.sign aria-hidden="true" { "●" } " " (word) } }
    } else {
        state(word)
    }
}

pub fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.iso8601()) title=(at.civil().strftime("%Y-%m-%d").to_string()) { (at.civil().strftime("%H:%M:%S").to_string()) } }
}

/// With the date.
pub fn date(at: Timestamp) -> Markup {
    html! { time datetime=(at.iso8601()) { (at.civil().strftime("%Y-%m-%d %H:%M:%S").to_string()) } }
}

pub fn maybe_date(at: Option<Timestamp>) -> Markup {
    html! { @if let Some(at) = at { (date(at)) } @else { "–" } }
}

/// A table in a box of its own, in which it scrolls where it is wider than the screen.
pub fn table(label: &str, heads: &[&str], rows: impl IntoIterator<Item = Markup>) -> Markup {
    boxed("scroll", label, heads, rows)
}

/// A table of what happened, whose cells explain themselves: on a phone they stand below each other.
pub fn history(label: &str, heads: &[&str], rows: impl IntoIterator<Item = Markup>) -> Markup {
    boxed("scroll stack", label, heads, rows)
}

fn boxed(class: &str, label: &str, heads: &[&str], rows: impl IntoIterator<Item = Markup>) -> Markup {
    html! {
        div class=(class) role="region" aria-label=(label) tabindex="0" {
            table {
                thead { tr { @for head in heads { @if head.is_empty() { td {} } @else { th scope="col" { (head) } } } } }
                tbody { @for row in rows { tr { (row) } } }
            }
        }
    }
}

/// Names and values.
pub fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

/// What is said where there is nothing, with what to do next.
pub fn empty(says: &str, commands: &[(&str, &str)]) -> Markup {
    html! {
        div.empty {
            p { (says) }
            @for (command, does) in commands { p { code { (command) } " " (does) } }
        }
    }
}

/// Commands that put something into an empty cloud.
pub const BEGIN: [(&str, &str); 2] = [
    ("standfast up examples/what-is-the-time/template.yaml", "deploys a site in three zones behind a load balancer."),
    ("standfast probe http://NAME/", "sends it requests, as its users would; its NAME is among the stack's outputs."),
];

/// Half of a wide page, or all of a narrow one; on a phone a chart of its own, whose letters stay legible.
const HALF: Size = Size { width: 560, height: 220 };
const PHONE: Size = Size { width: 350, height: 200 };

/// A chart, which escapes what it shows itself.
pub fn chart(chart: &Chart) -> Markup {
    html! {
        div.chart-box {
            div.chart-wide { (PreEscaped(chart.svg(HALF))) }
            div.chart-narrow { (PreEscaped(chart.svg(PHONE))) }
        }
    }
}

/// A rate, with one decimal where it is small.
pub fn per_second(rate: f64) -> String {
    if rate < 10.0 && rate > 0.0 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_moods() {
        for (word, expected) in [
            ("healthy", Mood::Good),
            ("unhealthy", Mood::Bad),
            ("InService", Mood::Good),
            ("Pending:Wait", Mood::Busy),
            ("ROLLBACK_COMPLETE", Mood::Bad),
            ("CREATE_COMPLETE", Mood::Good),
            ("CREATE_IN_PROGRESS", Mood::Busy),
            ("INSUFFICIENT_DATA", Mood::Busy),
            ("terminated", Mood::Off),
        ] {
            assert_eq!(Mood::of(word), expected, "{word}");
        }
    }

    #[test]
    fn names_are_escaped_in_text_and_in_paths() {
        let hostile = "<img src=x onerror=alert(1)>/../\"";
        let shown = link("groups", hostile).into_string();
        assert!(!shown.contains("<img"), "{shown}");
        assert!(shown.contains("groups/%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%2F..%2F%22\""), "{shown}");
    }
}
