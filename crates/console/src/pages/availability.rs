//! How available load balancers were lately, as nines.
//!
//! It counts what load balancers answered, so it does not see whom they could not answer at all: a probe does
//! (`standfast probe`). The page says so.

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_chart::{Chart, Size, Unit};
use standfast_core::{Result, Timestamp};

use crate::Page;
use crate::estate::{Balancer, Estate};
use crate::html::{self as ui, Live};
use crate::rates::{Of, STEPS_MAX};

pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let estate = Estate::read(&page.cx).await?;
    let content = html! {
        h1 { "Availability" }
        p.soft {
            "The share of answers of the last five minutes that were not errors (a status of 500 or more), as load balancers \
             counted them. Whoever found no load balancer at all is not in it; "
            code { "standfast probe" } " and game days count those too."
        }
        @if estate.balancers.is_empty() { (ui::empty("There is no load balancer in this region.", &ui::BEGIN)) }
        div.grid { @for balancer in &estate.balancers { (card(page, balancer)) } }
    };
    Ok(ui::shell(page, Live::Yes, "Availability", content))
}

fn card(page: &Page, balancer: &Balancer) -> Markup {
    let of = Of { balancer: Some(&balancer.dimension), ..Of::default() };
    let (answers, errors, seconds) = page.rates.sum(of, STEPS_MAX);
    let history = page.rates.history(of);
    let now = page.cx.clock().machine_now();
    let from = Timestamp(now.0 - STEPS_MAX as i64 * 1000);
    let share = |answers: f64, errors: f64| (answers > 0.0).then(|| 100.0 * (answers - errors) / answers);
    let chart = Chart::new("Answers that were no errors", Unit::Percent, from, now)
        .showing(100.0, 100.0)
        .line("each second", history.iter().map(|(at, rate)| (*at, share(rate.answers, rate.errors))));
    html! {
        section.card {
            h2 { (ui::link("balancers", &balancer.name)) }
            p.nines { (nines(answers, errors)) }
            p.soft { (answers) " answers in " (seconds.round()) " s, " (errors) " of them errors" }
            (ui::chart(chart.svg(Size::SMALL)))
        }
    }
}

/// A share of successes as people speak of it: its percentage, and how many nines that are.
fn nines(answers: u64, errors: u64) -> String {
    if answers == 0 {
        return "no requests".into();
    }
    if errors == 0 {
        return "100 %, no error".into();
    }
    let down = errors as f64 / answers as f64;
    // Rounded down: 99.999 is not four nines and a half.
    let percent = (100_000.0 * (1.0 - down)).floor() / 1000.0;
    format!("{percent} %, {:.1} nines", (down.log10().abs() * 10.0).floor() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_are_never_rounded_up() {
        assert_eq!(nines(0, 0), "no requests");
        assert_eq!(nines(1000, 0), "100 %, no error");
        assert_eq!(nines(1000, 1), "99.9 %, 3.0 nines");
        assert_eq!(nines(100_000, 6), "99.994 %, 4.2 nines");
        assert_eq!(nines(10, 10), "0 %, 0.0 nines");
    }
}
