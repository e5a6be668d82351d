//! The pages, by the first part of their path. Their names are here once: routing, navigation and tests read this table.

mod alarms;
mod availability;
mod balancers;
mod bus;
mod confirm;
mod experiments;
mod groups;
mod instances;
mod mails;
mod map;
mod stacks;
mod storage;

use bytes::Bytes;
use http::Response;
use standfast_core::{BoxFuture, Result};

use crate::{Page, html};

type Answer<'a> = BoxFuture<'a, Result<Response<Bytes>>>;

/// A list, or one thing of it where the path names it.
struct Kind {
    path: &'static str,
    list: for<'a> fn(&'a Page<'a>) -> Answer<'a>,
    one: Option<for<'a> fn(&'a Page<'a>, &'a str) -> Answer<'a>>,
}

const KINDS: [Kind; 11] = [
    Kind { path: "", list: |page| Box::pin(map::show(page)), one: None },
    Kind {
        path: "groups",
        list: |page| Box::pin(groups::list(page)),
        one: Some(|page, name| Box::pin(groups::one(page, name))),
    },
    Kind {
        path: "balancers",
        list: |page| Box::pin(balancers::list(page)),
        one: Some(|page, name| Box::pin(balancers::one(page, name))),
    },
    Kind {
        path: "instances",
        list: |page| Box::pin(instances::list(page)),
        one: Some(|page, id| Box::pin(instances::one(page, id))),
    },
    Kind {
        path: "alarms",
        list: |page| Box::pin(alarms::list(page)),
        one: Some(|page, name| Box::pin(alarms::one(page, name))),
    },
    Kind {
        path: "experiments",
        list: |page| Box::pin(experiments::list(page)),
        one: Some(|page, id| Box::pin(experiments::one(page, id))),
    },
    Kind { path: "availability", list: |page| Box::pin(availability::show(page)), one: None },
    Kind { path: "bus", list: |page| Box::pin(bus::show(page)), one: None },
    Kind {
        path: "stacks",
        list: |page| Box::pin(stacks::list(page)),
        one: Some(|page, name| Box::pin(stacks::one(page, name))),
    },
    Kind { path: "storage", list: |page| Box::pin(storage::show(page)), one: None },
    Kind { path: "mails", list: |page| Box::pin(mails::show(page)), one: None },
];

/// What is shown at the top of each page, in order: path and name.
pub const NAVIGATION: [(&str, &str); 11] = [
    ("", "Map"),
    ("groups", "Groups"),
    ("balancers", "Load balancers"),
    ("instances", "Instances"),
    ("alarms", "Alarms"),
    ("experiments", "Experiments"),
    ("availability", "Availability"),
    ("bus", "Events"),
    ("stacks", "Stacks"),
    ("storage", "Storage"),
    ("mails", "Mail"),
];

/// The paths of acts: the question before it, and the act.
const CONFIRM: &str = "confirm";
const ACT: &str = "act";

/// Whether a path below the root is the console's.
pub fn has(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    [CONFIRM, ACT].contains(&first) || KINDS.iter().any(|kind| kind.path == first) || html::is_file(path)
}

/// Answers a GET.
pub async fn show(page: &Page<'_>) -> Result<Response<Bytes>> {
    let parts: Vec<&str> = page.asked.parts.iter().map(String::as_str).collect();
    let kind = parts.first().and_then(|first| KINDS.iter().find(|kind| kind.path == *first));
    match (kind, parts.as_slice()) {
        (Some(kind), [_] | [_, ""]) => (kind.list)(page).await,
        (Some(Kind { one: Some(one), .. }), [_, name]) => one(page, name).await,
        (None, [CONFIRM, act]) => confirm::show(page, act).await,
        _ => Ok(html::missing(page, html::PAGE, &parts.join("/"))),
    }
}
