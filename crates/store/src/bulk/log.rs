//! The log of a collection, as those who write to it see it.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use standfast_core::{Error, Result};
use tokio::sync::oneshot;

use super::Collection;
use super::files::Files;
use super::worker::Worker;
use crate::error::StoreError;

/// How much may wait for the disk before new changes are refused.
const PENDING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// This much is written also when nobody waits for it.
const UNWATCHED_BYTES_MAX: usize = 1024 * 1024;

/// A log. Clones are the same log.
#[derive(Clone)]
pub struct Log(Option<Arc<Handle>>);

/// The last handle takes the worker with it.
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Between those who append and the worker.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// What the worker has not taken yet.
    pub(super) group: Group,
    /// Why nothing becomes durable any more. The first reason stays.
    pub(super) failed: Option<String>,
    pub(super) closing: bool,
    /// The worker takes nothing any more.
    pub(super) gone: bool,
    /// Told when the worker has let go of the files.
    pub(super) closed: Vec<oneshot::Sender<()>>,
    sleeping: bool,
}

/// What one sync makes durable, and who waits for it. Dropping the waiters tells them that it failed.
#[derive(Default)]
pub(super) struct Group {
    pub(super) records: Vec<u8>,
    pub(super) waiters: Vec<oneshot::Sender<()>>,
}

impl Log {
    /// Keeps nothing.
    pub(super) fn memory() -> Self {
        Self(None)
    }

    /// Reads the log in a directory into the collection and goes on writing it.
    pub(super) fn open<C: Collection>(dir: &Path, data: Arc<C>) -> Result<Self, StoreError> {
        let files = Files::open(dir, &*data)?;
        let shared = Arc::new(Shared::default());
        let dump = move |part, seal: &mut dyn FnMut()| data.dump(part, seal);
        let worker = Worker::new(files, shared.clone(), C::PARTS, Box::new(dump));
        let spawned = std::thread::Builder::new().name("store-bulk".to_owned()).spawn(move || worker.run());
        let thread = spawned.map_err(|e| StoreError::Engine { action: "start its thread", what: e.to_string() })?;
        Ok(Self(Some(Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) }))))
    }

    /// Refuses while too much waits for the disk, or when nothing becomes durable any more. To be asked before changing
    /// anything.
    pub fn ready(&self) -> Result<()> {
        let Some(handle) = &self.0 else { return Ok(()) };
        let state = handle.shared.lock();
        if state.failed.is_some() {
            return Err(state.failure());
        }
        if state.group.records.len() >= PENDING_BYTES_MAX {
            return Err(Error::unavailable("Too many requests wait for the disk. Try again."));
        }
        Ok(())
    }

    /// Adds a record; `write` appends its bytes to the buffer. Called under the lock of the part.
    pub fn append(&self, part: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(handle) = &self.0 else { return };
        let mut state = handle.shared.lock();
        let records = &mut state.group.records;
        super::records::append(records, part, write);
        if records.len() >= UNWATCHED_BYTES_MAX {
            handle.shared.rouse(&mut state);
        }
    }

    /// Resolves when everything is durable that was appended before this call.
    pub async fn synced(&self) -> Result<()> {
        let Some(handle) = &self.0 else { return Ok(()) };
        let wait = {
            let mut state = handle.shared.lock();
            if state.failed.is_some() {
                return Err(state.failure());
            }
            let (sender, wait) = oneshot::channel();
            state.group.waiters.push(sender);
            handle.shared.rouse(&mut state);
            wait
        };
        wait.await.map_err(|_| handle.shared.lock().failure())
    }

    /// Resolves when everything is durable and the files are let go of. Later appends come to nothing.
    pub(super) async fn close(&self) {
        let Some(handle) = &self.0 else { return };
        let (sender, closed) = oneshot::channel();
        {
            let mut state = handle.shared.lock();
            if state.gone {
                return;
            }
            state.closed.push(sender);
            state.closing = true;
            handle.shared.rouse(&mut state);
        }
        let _ = closed.await;
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.rouse(&mut state);
        drop(state);
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // When this returns the directory can be opened again.
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what has queued up, and leaves `spare` for what comes. Waits for something unless `busy`; `None` when the
    /// log is closing and everything was taken.
    pub(super) fn take(&self, busy: bool, spare: &mut Vec<u8>) -> Option<Group> {
        let mut state = self.lock();
        loop {
            if busy || !state.group.records.is_empty() || !state.group.waiters.is_empty() {
                return Some(state.take(spare));
            }
            if state.closing {
                return None;
            }
            state.sleeping = true;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.sleeping = false;
        }
    }

    fn rouse(&self, state: &mut State) {
        // Waking a worker that is awake would cost a system call every time.
        if std::mem::take(&mut state.sleeping) {
            self.wake.notify_one();
        }
    }
}

impl State {
    pub(super) fn take(&mut self, spare: &mut Vec<u8>) -> Group {
        spare.clear();
        Group {
            records: std::mem::replace(&mut self.group.records, std::mem::take(spare)),
            waiters: std::mem::take(&mut self.group.waiters),
        }
    }

    fn failure(&self) -> Error {
        let why = self.failed.as_deref().unwrap_or("its writer is gone");
        Error::unavailable(format!("The store takes no more writes: {why}."))
    }
}
