//! The facade: transactions, views, watches.
//!
//! Invariant: a transaction is acknowledged (also one that only read, or that its closure refused) after everything it
//! saw is durable. Once the engine has failed, nothing is acknowledged any more.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use standfast_core::{Error, Result};
use tokio::sync::oneshot;

use crate::bulk::{Bulk, Bulks, Collection};
use crate::engine::journal::Journal;
use crate::engine::memory::Memory;
use crate::engine::{Done, Engine, Feed, Outcome, Proposal, Revision, Write};
use crate::error::StoreError;
use crate::key::Key;
use crate::record::Record;
use crate::txn::Txn;
use crate::view::View;
use crate::watch::{Signals, Watch};

/// How often a transaction runs when others keep changing what it reads, before its caller is told to retry.
const ATTEMPTS_MAX: usize = 64;

/// How many transactions may wait for durability at once.
const PENDING_MAX: usize = 65_536;

/// How much one transaction may write.
const TXN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where bulk data is, in the store's directory.
const BULK: &str = "bulk";

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    /// Before the engine, which holds the directory that it is in.
    bulks: Arc<Bulks>,
    engine: Arc<dyn Engine>,
}

/// What the store and its engine's completions share.
pub(crate) struct Shared {
    view: RwLock<View>,
    signals: Signals,
    /// The newest revision that is durable.
    durable: AtomicU64,
    pending: AtomicUsize,
    /// Why nothing can be acknowledged any more.
    failed: OnceLock<String>,
}

thread_local! {
    /// Whether this thread runs a transaction's closure, which must not enter the store by another door.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Store {
    /// A store that is gone with the process.
    pub fn memory() -> Store {
        Self::with_engine(Arc::new(Memory)).expect("an engine that holds nothing has nothing wrong in it")
    }

    /// Opens the store in a directory, which is made when it is not there.
    pub fn open(dir: &Path) -> Result<Store, StoreError> {
        let store = Self::with_engine(Arc::new(Journal::open(dir)?)).map_err(|error| match error {
            StoreError::Unsound(what) => StoreError::Damaged { path: dir.to_owned(), what },
            other => other,
        })?;
        Ok(Store { bulks: Arc::new(Bulks::new(Some(dir.join(BULK)))), ..store })
    }

    /// A store over an engine.
    pub fn with_engine(engine: Arc<dyn Engine>) -> Result<Store, StoreError> {
        let mut view = View::default();
        let loaded = engine.load()?.into_iter().map(|(key, value)| (key, Some(value))).collect();
        view.ingest(loaded).map_err(StoreError::Unsound)?;
        let shared = Arc::new(Shared {
            view: RwLock::new(view),
            signals: Signals::default(),
            durable: AtomicU64::new(0),
            pending: AtomicUsize::new(0),
            failed: OnceLock::new(),
        });
        engine.start(Feed { shared: shared.clone() })?;
        Ok(Store { shared, bulks: Arc::new(Bulks::new(None)), engine })
    }

    /// Runs a transaction; resolves when everything it wrote and saw is durable.
    ///
    /// The closure is synchronous, does no I/O, must not use the store but through its argument, and may run twice. When
    /// it returns an error, nothing is written and the error is returned as it is. Its writes are applied as a whole even
    /// when this future is dropped.
    pub async fn txn<T>(&self, f: impl Fn(&mut Txn) -> Result<T>) -> Result<T> {
        for _ in 0..ATTEMPTS_MAX {
            let (result, wait) = self.attempt(&f)?;
            match wait {
                None => return result,
                Some(wait) => match wait.await {
                    Ok(Outcome::Committed) => return result,
                    Ok(Outcome::Conflict) => continue,
                    Ok(Outcome::Failed(_)) | Err(_) => {
                        self.shared.fail("the storage engine stopped");
                        return Err(self.shared.failure());
                    }
                },
            }
        }
        Err(Error::unavailable("The records that the request needs keep changing. Try again."))
    }

    /// Reads the replica at one point in time, without waiting for durability. Must not be nested.
    pub fn view<T>(&self, f: impl FnOnce(&View) -> T) -> T {
        f(&self.shared.read())
    }

    /// Reads every record of a type, and rewrites those that an older version wrote or whose index entries are not what
    /// the type says today. To be called at start, for every type: what cannot be read is found before anything depends
    /// on it. Returns how many were rewritten.
    pub async fn migrate<R: Record>(&self) -> Result<usize> {
        self.txn(|tx| tx.migrate::<R>().map_err(|error| Error::internal(error.to_string()))).await
    }

    /// A collection of bulk data and its log, which are opened when they are first asked for.
    pub fn bulk<C: Collection>(&self) -> Result<Arc<Bulk<C>>, StoreError> {
        self.bulks.get()
    }

    /// Watches tables for durable changes.
    pub fn watch(&self, tables: &'static [&'static str]) -> Watch {
        self.shared.signals.watch(tables)
    }

    /// Resolves when everything is durable and the engine has let go of its data. Later transactions fail.
    pub async fn close(&self) {
        self.bulks.close().await;
        let _ = self.shared.failed.set("the store is closed".to_owned());
        let (reply, closed) = oneshot::channel();
        self.engine.close(reply);
        let _ = closed.await;
    }

    /// Runs the closure once and proposes what it did. The receiver tells what became of it; without one the result
    /// stands. The engine takes proposals under the lock, so they come in the order of the replica's revisions.
    fn attempt<T>(
        &self,
        f: &impl Fn(&mut Txn) -> Result<T>,
    ) -> Result<(Result<T>, Option<oneshot::Receiver<Outcome>>)> {
        if self.shared.pending.load(Ordering::Acquire) >= PENDING_MAX {
            return Err(Error::unavailable("Too many requests wait for the disk. Try again."));
        }
        let mut view = self.shared.write();
        if self.shared.failed.get().is_some() {
            return Err(self.shared.failure());
        }
        let mut txn = Txn::begin(&mut view);
        let result = inside(|| f(&mut txn));
        let result = result.and_then(|value| txn.broken().map_or(Ok(value), Err));
        let reads = txn.take_reads();
        let (writes, tables) = if result.is_ok() { txn.writes() } else { Default::default() };
        let size_bytes = writes.iter().map(Write::size_bytes).sum::<usize>();
        if size_bytes > TXN_BYTES_MAX {
            return Err(Error::internal(format!("A transaction of {size_bytes} bytes is over {TXN_BYTES_MAX}.")));
        }
        let sole = !self.engine.shared();
        let reads = if sole { reads } else { txn.compares(reads) };
        if sole && result.is_ok() {
            txn.keep();
        } else {
            drop(txn);
        }
        if writes.is_empty() {
            return Ok((result, self.barrier(&view)));
        }
        if sole {
            view.revision += 1;
        }
        let proposal = Proposal { revision: view.revision, reads, writes };
        if !sole {
            // The feed needs the replica to bring it up to date, maybe before `commit` returns.
            drop(view);
            return Ok((result, Some(self.propose(proposal, Vec::new()))));
        }
        let wait = self.propose(proposal, tables.into_iter().collect());
        Ok((result, Some(wait)))
    }

    /// Waits for what the replica shows to be durable, where it may not be yet.
    fn barrier(&self, view: &View) -> Option<oneshot::Receiver<Outcome>> {
        let ahead = !self.engine.shared() && self.shared.durable.load(Ordering::Acquire) < view.revision;
        let barrier = || Proposal { revision: view.revision, reads: Default::default(), writes: Vec::new() };
        ahead.then(|| self.propose(barrier(), Vec::new()))
    }

    fn propose(&self, proposal: Proposal, tables: Vec<&'static str>) -> oneshot::Receiver<Outcome> {
        let (reply, wait) = oneshot::channel();
        self.shared.pending.fetch_add(1, Ordering::AcqRel);
        let done = Done { shared: self.shared.clone(), revision: proposal.revision, tables, reply: Some(reply) };
        self.engine.commit(proposal, done);
        wait
    }
}

impl Shared {
    pub(crate) fn durable(&self, revision: Revision, tables: &[&'static str]) {
        self.durable.fetch_max(revision, Ordering::AcqRel);
        for table in tables {
            self.signals.changed(table);
        }
    }

    /// Stops acknowledging. The first reason stays.
    pub(crate) fn fail(&self, why: &str) {
        let _ = self.failed.set(why.to_owned());
    }

    pub(crate) fn settled(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    fn failure(&self) -> Error {
        let why = self.failed.get().map_or("unknown", String::as_str);
        Error::unavailable(format!("The store takes no more writes: {why}."))
    }

    pub(crate) fn ingest(&self, revision: Revision, writes: Vec<(Key, Option<Arc<[u8]>>)>) -> Result<()> {
        let tables = {
            let mut view = self.write();
            view.revision = revision;
            view.ingest(writes).map_err(|what| {
                self.fail(&what);
                self.failure()
            })?
        };
        for table in tables {
            self.signals.changed(&table);
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, View> {
        refuse_inside();
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic in a closure undoes its transaction, so a poisoned lock guards a sound replica.
    fn write(&self) -> RwLockWriteGuard<'_, View> {
        refuse_inside();
        self.view.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn inside<T>(f: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _leave = Leave;
    f()
}

/// Loud instead of a deadlock.
fn refuse_inside() {
    assert!(!INSIDE.get(), "a transaction's closure must read through its argument, not through the store");
}
