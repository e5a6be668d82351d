//! Waiting for tables to change.
//!
//! Level-triggered: a watch knows that something changed since it last looked, not what. Any number of changes between
//! two looks count as one, and none is missed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// The changes of every table, and who waits for them.
#[derive(Default)]
pub(crate) struct Signals(Mutex<HashMap<String, Signal>>);

#[derive(Default)]
struct Signal {
    changes: Arc<AtomicU64>,
    watches: Vec<Weak<Notify>>,
}

impl Signals {
    /// Counts a change of the table and wakes its watches.
    pub(crate) fn changed(&self, table: &str) {
        let mut signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(signal) = signals.get_mut(table) else { return };
        signal.changes.fetch_add(1, Ordering::Release);
        signal.watches.retain(|watch| watch.upgrade().map(|notify| notify.notify_one()).is_some());
    }

    pub(crate) fn watch(&self, tables: &'static [&'static str]) -> Watch {
        let notify = Arc::new(Notify::new());
        let mut signals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = tables.iter().map(|table| {
            let signal = signals.entry((*table).to_owned()).or_default();
            signal.watches.retain(|watch| watch.strong_count() > 0);
            signal.watches.push(Arc::downgrade(&notify));
            (signal.changes.clone(), signal.changes.load(Ordering::Acquire))
        });
        Watch { tables: tables.collect(), notify }
    }
}

/// Waits for any of some tables to change.
pub struct Watch {
    /// The counter of each table, and what it showed when it was last looked at.
    tables: Vec<(Arc<AtomicU64>, u64)>,
    notify: Arc<Notify>,
}

impl Watch {
    /// Resolves when any of the tables has changed since the watch was made or this last resolved, at once when that
    /// has already happened; returns the change counter of each table. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Vec<u64> {
        while !self.look() {
            self.notify.notified().await;
        }
        self.tables.iter().map(|(_, seen)| *seen).collect()
    }

    /// Whether any of the tables has changed since the last look.
    fn look(&mut self) -> bool {
        let mut any = false;
        for (changes, seen) in &mut self.tables {
            let now = changes.load(Ordering::Acquire);
            any |= now != *seen;
            *seen = now;
        }
        any
    }
}
