//! What is remembered of each request: sixteen bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The most requests that one probe remembers: a day at 100 a second, in 160 MB.
pub const RECORDS_MAX: u64 = 10_000_000;
/// Targets that answer under more names than this are counted as unknown.
const NAMES_MAX: usize = u16::MAX as usize - 1;

/// The columns of `Log::csv`: times in microseconds, `due` after the probe's beginning and `latency` from then; whether it
/// succeeded is 1 or 0.
pub const CSV_HEAD: &str = "probe,due_us,latency_us,fate,succeeded,target,zone\n";

/// What became of a request: an HTTP status, or one of the fates beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fate(u16);

impl Fate {
    pub const CONNECTED: Self = Self(1000);
    pub const RESOLVED: Self = Self(1001);
    pub const REFUSED: Self = Self(1002);
    pub const CLOSED: Self = Self(1003);
    pub const TIMED_OUT: Self = Self(1004);
    pub const NO_SUCH_NAME: Self = Self(1005);
    pub const NOT_UNDERSTOOD: Self = Self(1006);
    /// Too many requests were under way for one more; it counts as failed, because its user got nothing.
    pub const NOT_SENT: Self = Self(1007);

    pub fn status(status: u16) -> Self {
        Self(status.min(999))
    }

    /// Whether a user would call it a success: an answer that is not the server's error.
    pub fn succeeded(self) -> bool {
        self.0 != 0 && self.0 < 500 || self == Self::CONNECTED || self == Self::RESOLVED
    }

    /// The status, or words.
    pub fn name(self) -> String {
        let words = match self {
            Self::CONNECTED => "connected",
            Self::RESOLVED => "resolved",
            Self::REFUSED => "connection refused",
            Self::CLOSED => "connection closed",
            Self::TIMED_OUT => "timed out",
            Self::NO_SUCH_NAME => "no such name",
            Self::NOT_UNDERSTOOD => "answer not understood",
            Self::NOT_SENT => "not sent",
            Self(status) => return status.to_string(),
        };
        words.to_owned()
    }
}

/// Who answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Who {
    /// An instance's id, or what else the answer calls itself.
    pub target: String,
    pub zone: String,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// After the probe's beginning.
    pub due_us: u64,
    /// From when it was due.
    pub latency_us: u32,
    pub fate: Fate,
    /// A number in `Log::names`, from 1; 0 is nobody known.
    pub who: u16,
}

impl Record {
    /// When its fate was known, after the probe's beginning.
    pub fn known_us(&self) -> u64 {
        self.due_us + u64::from(self.latency_us)
    }
}

/// All requests of one probe.
#[derive(Debug, Default)]
pub struct Log {
    pub records: Vec<Record>,
    pub names: Vec<Who>,
    known: HashMap<Who, u16>,
}

/// A log that requests under way write to.
pub type SharedLog = Arc<Mutex<Log>>;

/// The log, for a moment.
pub fn lock(log: &SharedLog) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    pub fn add(&mut self, due: Duration, latency: Duration, fate: Fate, who: Option<Who>) {
        let who = who.map_or(0, |who| self.number(who));
        let latency_us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
        self.records.push(Record { due_us: due.as_micros() as u64, latency_us, fate, who });
    }

    fn number(&mut self, who: Who) -> u16 {
        if let Some(number) = self.known.get(&who) {
            return *number;
        }
        if self.names.len() >= NAMES_MAX {
            return 0;
        }
        self.names.push(who.clone());
        let number = self.names.len() as u16;
        self.known.insert(who, number);
        number
    }

    /// Who answered a request.
    pub fn who(&self, record: &Record) -> Option<&Who> {
        self.names.get(usize::from(record.who).checked_sub(1)?)
    }

    /// A line of CSV for each request, as `CSV_HEAD` names its columns; `probe` is the first of them.
    pub fn csv<'a>(&'a self, probe: &'a str) -> impl Iterator<Item = String> + 'a {
        let probe = quoted(probe);
        self.records.iter().map(move |record| {
            let (target, zone) = self.who(record).map_or(("", ""), |who| (&who.target, &who.zone));
            format!(
                "{probe},{},{},{},{},{},{}\n",
                record.due_us,
                record.latency_us,
                record.fate.name(),
                u8::from(record.fate.succeeded()),
                quoted(target),
                quoted(zone)
            )
        })
    }

    /// In the order in which requests were due, which is not that of their answers.
    pub fn sort(&mut self) {
        self.records.sort_by_key(|record| record.due_us);
    }
}

/// A field of CSV: what answers call themselves may be anything.
fn quoted(field: &str) -> Cow<'_, str> {
    match field.contains(['"', ',', '\n', '\r']) {
        true => Cow::Owned(format!("\"{}\"", field.replace('"', "\"\""))),
        false => Cow::Borrowed(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_a_line_each() {
        let mut log = Log::default();
        let who = Who { target: "i-\"1\",\n".into(), zone: "eu-west-1a".into() };
        log.add(Duration::from_millis(20), Duration::from_micros(1500), Fate::status(200), Some(who));
        log.add(Duration::from_millis(40), Duration::from_secs(2), Fate::TIMED_OUT, None);
        let lines: Vec<String> = log.csv("site").collect();
        assert_eq!(lines[0], "site,20000,1500,200,1,\"i-\"\"1\"\",\n\",eu-west-1a\n");
        assert_eq!(lines[1], "site,40000,2000000,timed out,0,,\n");
        assert_eq!(CSV_HEAD.matches(',').count(), lines[1].matches(',').count());
    }

    #[test]
    fn a_record_is_sixteen_bytes() {
        assert_eq!(size_of::<Record>(), 16);
    }

    #[test]
    fn success_is_what_a_user_would_call_so() {
        for (fate, succeeded) in [
            (Fate::status(200), true),
            (Fate::status(404), true),
            (Fate::status(500), false),
            (Fate::status(0), false),
            (Fate::CONNECTED, true),
            (Fate::REFUSED, false),
            (Fate::NOT_SENT, false),
        ] {
            assert_eq!(fate.succeeded(), succeeded, "{}", fate.name());
        }
    }

    #[test]
    fn who_answered_is_kept_once() {
        let mut log = Log::default();
        let who = |target: &str| Some(Who { target: target.into(), zone: "eu-west-1a".into() });
        for target in ["i-1", "i-2", "i-1"] {
            log.add(Duration::ZERO, Duration::ZERO, Fate::status(200), who(target));
        }
        log.add(Duration::ZERO, Duration::ZERO, Fate::REFUSED, None);
        assert_eq!(log.names.len(), 2);
        let names: Vec<_> = log.records.iter().map(|r| log.who(r).map(|who| who.target.as_str())).collect();
        assert_eq!(names, [Some("i-1"), Some("i-2"), Some("i-1"), None]);
    }
}
