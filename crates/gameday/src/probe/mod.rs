//! Probes: open-loop requests, and what became of each.
//!
//! Invariant: when a request is due depends on nothing but the rate; its latency counts from then, however late it left.
//! Every request that was due leaves a record.

mod engine;
pub mod figures;
mod record;
mod summary;
mod tell;
mod who;

use std::time::Duration;

pub use engine::{Pace, Stop, Stopper, UNDER_WAY_MAX, fire};
pub use record::{CSV_HEAD, Fate, Log, RECORDS_MAX, Record, SharedLog, Who, lock};
pub use summary::{Latency, Outage, Outages, Second, Summary, nines, seconds, summarize};
pub use tell::{Named, Teller};
pub use who::{INSTANCE_HEADER, ZONE_HEADER, who};

/// What requests are sent to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `http://host/path`, `tcp://host:port`, or `dns://resolver:port/name`.
    pub url: String,
    /// A request that takes longer has failed.
    pub timeout: Duration,
}

impl Target {
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(&self.url)
    }
}

standfast_core::names! {
    /// What a request is: a GET that is answered with a status, a connection that is opened and closed, or a question for
    /// the address of a name.
    Kind { Http "http", Tcp "tcp", Dns "dns" }
}

impl Kind {
    /// The kind that a URL's scheme names.
    pub fn of(url: &str) -> Option<Self> {
        Self::named(url.split_once("://")?.0)
    }
}

/// What came back of one request, and from whom as far as the answer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub fate: Fate,
    pub who: Option<Who>,
}
