//! The thread that writes a log: one sync for all that has queued up, and now and then a dump in between.
//!
//! Invariant: after a write or sync that failed nothing is written any more (see `engine::journal`).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::files::{Draft, Files};
use super::log::{Group, Shared};

/// Logs are dumped when they are longer than this and the last dump: small enough to be read quickly at start.
const DUMP_AFTER_BYTES: u64 = 32 * 1024 * 1024;

/// Dumps a part, and seals what it includes.
type Dump = Box<dyn Fn(u16, &mut dyn FnMut()) -> Vec<u8> + Send>;

pub(super) struct Worker {
    files: Files,
    shared: Arc<Shared>,
    parts: u16,
    dump: Dump,
    dumping: Option<Dumping>,
    /// The next dump begins when so much is logged.
    dump_at: u64,
    /// A buffer to be used again.
    spare: Vec<u8>,
}

struct Dumping {
    draft: Draft,
    next: u16,
}

impl Worker {
    pub(super) fn new(files: Files, shared: Arc<Shared>, parts: u16, dump: Dump) -> Self {
        let dump_at = DUMP_AFTER_BYTES.max(files.dump_bytes);
        Self { files, shared, parts, dump, dumping: None, dump_at, spare: Vec::new() }
    }

    pub(super) fn run(mut self) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work()));
        let ended = worked.unwrap_or_else(|_| Err("its writer panicked".to_owned()));
        let why = ended.err().unwrap_or_else(|| "the store is closed".to_owned());
        let mut state = self.shared.lock();
        state.failed.get_or_insert(why);
        state.gone = true;
        // Nothing comes after this: those who wait hear of it.
        let (group, closed) = (std::mem::take(&mut state.group), std::mem::take(&mut state.closed));
        drop(state);
        drop((self.files, self.dumping, self.dump));
        drop(group);
        closed.into_iter().for_each(|closed| {
            let _ = closed.send(());
        });
    }

    /// Works until the log is closed, or says why it cannot go on.
    fn work(&mut self) -> Result<(), String> {
        while let Some(group) = self.shared.take(self.dumping.is_some(), &mut self.spare) {
            self.commit(group)?;
            if self.dumping.is_some() {
                self.dump_next()?;
            } else if self.files.logged_bytes >= self.dump_at {
                let draft = self.files.rotate().map_err(|e| self.why(e))?;
                self.dumping = Some(Dumping { draft, next: 0 });
            }
        }
        Ok(())
    }

    fn commit(&mut self, group: Group) -> Result<(), String> {
        // Who waits for nothing new waits for what is durable already.
        if !group.records.is_empty() {
            self.files.append(&group.records).map_err(|e| self.why(e))?;
        }
        for waiter in group.waiters {
            // The caller may have gone away.
            let _ = waiter.send(());
        }
        self.spare = group.records;
        Ok(())
    }

    /// Dumps one part; after the last one the dump counts.
    fn dump_next(&mut self) -> Result<(), String> {
        let Some(Dumping { mut draft, next }) = self.dumping.take() else { return Ok(()) };
        let (shared, mut sealed) = (self.shared.clone(), None);
        let mut spare = std::mem::take(&mut self.spare);
        let bytes = (self.dump)(next, &mut || sealed = Some(shared.lock().take(&mut spare)));
        let sealed = sealed.unwrap_or_default();
        let floor = self.files.last + u64::from(!sealed.records.is_empty());
        self.commit(sealed)?;
        if let Err(error) = draft.add(next, floor, &bytes) {
            self.give_up(&draft, &error);
            return Ok(());
        }
        if next + 1 < self.parts {
            self.dumping = Some(Dumping { draft, next: next + 1 });
            return Ok(());
        }
        self.files.publish(draft).map_err(|e| self.why(e))?;
        self.dump_at = DUMP_AFTER_BYTES.max(self.files.dump_bytes);
        Ok(())
    }

    /// The logs hold everything without the dump; it is tried again later.
    fn give_up(&mut self, draft: &Draft, error: &std::io::Error) {
        eprintln!("level=warn event=dump_failed path={:?} error={:?}", draft.path(), error.to_string());
        // It does not count, whether it can be removed or not.
        let _ = std::fs::remove_file(draft.path());
        self.dump_at = self.files.logged_bytes + DUMP_AFTER_BYTES;
    }

    fn why(&self, error: std::io::Error) -> String {
        format!("cannot write to {}: {error}", self.files.path.display())
    }
}
