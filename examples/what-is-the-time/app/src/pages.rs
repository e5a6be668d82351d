//! What the application says.

use std::time::{Duration, Instant};

use crate::http::{Answer, Request, plain};
use crate::time;

/// The longest that one request may burn; a load balancer gives up on an answer after 60 s.
const BURN_MS_MAX: u64 = 30_000;
/// What a request burns that does not say how long.
const BURN_MS_DEFAULT: u64 = 100;

/// Where the application runs.
pub struct Place {
    pub instance: String,
    pub zone: String,
}

pub fn answer(request: &Request, place: &Place) -> Answer {
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return plain("405 Method Not Allowed");
    }
    match request.path.as_str() {
        "/" if wants_text(request) => text(now_line(place)),
        "/" => Answer { status: "200 OK", content_type: "text/html; charset=utf-8", body: page(place) },
        "/health" => text("ok\n".into()),
        "/burn" => match burn_time(&request.query) {
            Some(ms) => text(burn(Duration::from_millis(ms), place)),
            None => plain("400 Bad Request"),
        },
        _ => plain("404 Not Found"),
    }
}

fn text(body: String) -> Answer {
    Answer { status: "200 OK", content_type: "text/plain; charset=utf-8", body }
}

/// A person at a terminal sees text; a browser says that it takes HTML.
fn wants_text(request: &Request) -> bool {
    request.accept.contains("text/plain")
        || !request.accept.contains("text/html") && !request.agent.starts_with("Mozilla/")
}

fn now_line(place: &Place) -> String {
    let (date, clock) = time::civil(time::now());
    format!("{date} {clock} UTC from {} in {}\n", place.instance, place.zone)
}

fn burn_time(query: &str) -> Option<u64> {
    match query.split('&').find_map(|pair| pair.strip_prefix("ms=")) {
        Some(ms) => ms.parse().ok().map(|ms: u64| ms.min(BURN_MS_MAX)),
        None => Some(BURN_MS_DEFAULT),
    }
}

#[allow(clippy::disallowed_methods)] // Burning takes the machine's time, by definition.
fn burn(time: Duration, place: &Place) -> String {
    let begin = Instant::now();
    let mut number = 0x9e37_79b9_u64;
    while begin.elapsed() < time {
        for _ in 0..1_000 {
            number = std::hint::black_box(number.rotate_left(5).wrapping_mul(0x5851_f42d_4c95_7f2d));
        }
    }
    format!("burned {} ms on {} in {}\n", time.as_millis(), place.instance, place.zone)
}

/// The colour of a zone, by its last letter: answers from different zones are told apart at a glance.
fn hue(zone: &str) -> u32 {
    let letter = zone.bytes().last().unwrap_or(b'a');
    (210 + u32::from(letter.wrapping_sub(b'a')) * 137) % 360
}

fn page(place: &Place) -> String {
    let (date, clock) = time::civil(time::now());
    let (instance, zone, hue) = (escape(&place.instance), escape(&place.zone), hue(&place.zone));
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{clock} UTC</title>
<style>
  :root {{ color-scheme: light dark; --zone: hsl({hue} 65% 48%); }}
  body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; font: 1.1rem/1.5 system-ui, sans-serif;
         background: color-mix(in srgb, var(--zone) 9%, Canvas); color: CanvasText; }}
  main {{ padding: 2.5rem 3.5rem; border-radius: 1rem; border-top: .4rem solid var(--zone); background: Canvas;
         box-shadow: 0 .5rem 2.5rem rgb(0 0 0 / .12); text-align: center; }}
  h1 {{ margin: 0; font-size: clamp(3rem, 14vw, 6rem); font-weight: 250; line-height: 1.1;
       font-variant-numeric: tabular-nums; }}
  p {{ margin: .25rem 0 2rem; opacity: .65; }}
  dl {{ display: grid; grid-template-columns: auto auto; gap: .2rem 1rem; justify-content: center; margin: 0; }}
  dt {{ text-align: right; opacity: .65; }}
  dd {{ margin: 0; text-align: left; font-family: ui-monospace, monospace; }}
  .zone {{ color: var(--zone); font-weight: 600; }}
</style>
<main>
  <h1>{clock}</h1>
  <p>{date} UTC</p>
  <dl>
    <dt>answered by</dt><dd>{instance}</dd>
    <dt>in</dt><dd class="zone">{zone}</dd>
  </dl>
</main>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burning_is_bounded() {
        assert_eq!(burn_time("ms=250"), Some(250));
        assert_eq!(burn_time("x=1&ms=999999999"), Some(BURN_MS_MAX));
        assert_eq!(burn_time(""), Some(BURN_MS_DEFAULT));
        assert_eq!(burn_time("ms=much"), None);
    }

    #[test]
    fn zones_of_a_region_have_colours_of_their_own() {
        let hues: std::collections::HashSet<u32> = "abcdef".chars().map(|c| hue(&format!("eu-west-1{c}"))).collect();
        assert_eq!(hues.len(), 6);
        assert!(hue("") < 360);
    }
}
