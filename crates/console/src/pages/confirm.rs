//! The pages that ask whether an act is meant, and say in figures what it would hit.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_core::Result;

use crate::acts::{self, Act};
use crate::blast::{self, Blast, Fall};
use crate::estate::Estate;
use crate::html::{self as ui, Live};
use crate::{Page, estate};

pub async fn show(page: &Page<'_>, name: &str) -> Result<Response<Bytes>> {
    let Some(act) = Act::named(name) else { return Ok(ui::missing(page, ui::ACT, name)) };
    let subject = page.asked.query(act.field());
    let estate = Estate::read(&page.cx).await?;
    let (title, button, says) = match act {
        Act::BreakZone | Act::HealZone if !estate.zones.iter().any(|zone| zone.name == subject) => {
            return Ok(ui::missing(page, "zone", subject));
        }
        Act::BreakZone => (
            format!("Break {subject}?"),
            format!("Cut the power of {subject}"),
            html! {
                p { "The zone loses its power until it is healed: what runs there ends as if the plug was pulled." }
                (figures(&blast::of_zone(&estate, subject)))
            },
        ),
        Act::HealZone => (
            format!("Heal {subject}?"),
            format!("Bring {subject} back"),
            html! {
                p { "The experiment that cut its power is stopped. Load balancer nodes come back at once; groups launch there again \
                     when they next balance their zones." }
            },
        ),
        Act::KillInstance | Act::TerminateInstance if estate.machine(subject).is_none() => {
            return Ok(ui::missing(page, "instance", subject));
        }
        Act::KillInstance => (
            format!("Kill {subject}?"),
            "Kill it".to_owned(),
            html! {
                p { "Everything in the instance gets SIGKILL, as when hardware fails. Its group replaces it when it notices." }
                (figures(&blast::of_instances(&estate, &BTreeSet::from([subject]))))
            },
        ),
        Act::TerminateInstance => (
            format!("Terminate {subject}?"),
            "Terminate it".to_owned(),
            html! {
                p { "The instance is shut down and is gone for good, with the volumes that go with it." }
                (figures(&blast::of_instances(&estate, &BTreeSet::from([subject]))))
            },
        ),
        Act::StopExperiment => match estate.troubles.iter().find(|one| one.id.as_deref() == Some(subject)) {
            Some(experiment) => (format!("Stop {subject}?"), "Stop it".to_owned(), undone(experiment)),
            None => {
                let running = estate::experiments(&page.cx).await?;
                let exists = running.iter().any(|one| one.id.as_deref() == Some(subject));
                let what = if exists { "running experiment" } else { "experiment" };
                return Ok(ui::missing(page, what, subject));
            }
        },
    };
    let content = html! {
        h1 { (title) }
        (says)
        (ui::act(page, act.name(), act.field(), subject, &button, &acts::about(act, subject)))
        p.soft { "The same on the command line: " code { (acts::command(act, subject)) } }
    };
    Ok(ui::shell(page, Live::No, &title, content))
}

/// What would be hit.
fn figures(blast: &Blast) -> Markup {
    html! {
        section.card aria-label="What it hits" {
            h2 { "What it hits" }
            @if *blast == Blast::default() { p { "Nothing: no instance runs there, and no load balancer has a node there." } }
            ul.falls {
                @if !blast.instances.is_empty() {
                    li {
                        strong { (blast.instances.len()) @if blast.instances.len() == 1 { " instance" } @else { " instances" } }
                        " running now: " span.mono { (blast.instances.join(", ")) }
                    }
                }
                @for fall in &blast.groups { (line("group", fall, "instances in service")) }
                @for fall in &blast.targets { (line("target group", fall, "healthy targets")) }
                @for fall in &blast.nodes { (line("load balancer", fall, "nodes")) }
            }
        }
    }
}

fn line(what: &str, fall: &Fall, of: &str) -> Markup {
    html! {
        li {
            (what) " " strong { (fall.name) } " falls from " strong { (fall.from) } " to " strong { (fall.to) } " " (of)
            @if let Some(least) = fall.least { span.soft { " (at least " (least) " wanted)" } }
            @if fall.is_grave() { " " (ui::mood(ui::Mood::Bad, if fall.to == 0 { "nothing is left" } else { "below its least" })) }
        }
    }
}

fn undone(experiment: &standfast_api::fis::Experiment) -> Markup {
    html! {
        p { "What it broke and what lasts is undone:" }
        ul {
            @for (name, action) in experiment.actions.iter().flatten() {
                li {
                    span.mono { (action.action_id.as_deref().unwrap_or(name)) }
                    @for (parameter, value) in action.parameters.iter().flatten() { ", " (parameter) " " (value) }
                }
            }
        }
    }
}
