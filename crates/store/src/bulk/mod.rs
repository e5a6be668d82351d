//! Bulk data: what comes in by the ten thousands a second and is too much for the replica (metric points, messages).
//!
//! A service keeps such data in a structure of its own, a [`Collection`], which lives in memory and is asked there. What
//! is put into it goes into a [`Log`] beside it, in the order of the changes; one sync serves many callers. A store in
//! memory has the same collections and logs that keep nothing.
//!
//! Invariants: what [`Log::synced`] answered for survives SIGKILL; a damaged log is refused and left as it was; after a
//! failed write nothing more is answered for. A collection is divided into parts, each with a lock of its own; a part's
//! records are in the log in the order in which they changed the part, because both happen under its lock.
//!
//! It is not: transactional (each record stands for itself), or a place for what does not fit into memory.

mod files;
mod log;
mod records;
#[cfg(test)]
mod tests;
mod worker;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

pub use self::log::Log;
use crate::error::StoreError;

/// Data that a service keeps outside of the transactional store. All methods take care of locking themselves.
pub trait Collection: Default + Send + Sync + 'static {
    /// The name of its directory.
    const NAME: &'static str;
    /// How many parts it has. A change of this number is a change of format.
    const PARTS: u16;

    /// Puts a dump of a part back, at start. `None` when the bytes are not what `dump` gives.
    fn restore(&self, part: u16, dump: &[u8]) -> Option<()>;

    /// Does what a record of the log says, at start. `None` when the bytes are no such record.
    fn replay(&self, part: u16, record: &[u8]) -> Option<()>;

    /// Everything in a part. Calls `seal` while it holds the part's lock, so that it is known which records the dump
    /// includes.
    fn dump(&self, part: u16, seal: &mut dyn FnMut()) -> Vec<u8>;
}

/// A collection and its log.
pub struct Bulk<C> {
    pub data: Arc<C>,
    pub log: Log,
}

/// The collections of a store, each made when it is first asked for.
pub(crate) struct Bulks {
    /// `None` in memory.
    dir: Option<PathBuf>,
    open: RwLock<HashMap<TypeId, Open>>,
}

struct Open {
    bulk: Arc<dyn Any + Send + Sync>,
    log: Log,
}

impl Bulks {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, open: RwLock::default() }
    }

    pub(crate) fn get<C: Collection>(&self) -> Result<Arc<Bulk<C>>, StoreError> {
        let found = |open: &HashMap<TypeId, Open>| {
            let bulk = open.get(&TypeId::of::<C>())?.bulk.clone();
            Some(bulk.downcast::<Bulk<C>>().expect("keyed by its own type"))
        };
        if let Some(bulk) = found(&self.open.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(bulk);
        }
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(bulk) = found(&open) {
            return Ok(bulk);
        }
        let data = Arc::new(C::default());
        let log = match &self.dir {
            None => Log::memory(),
            Some(dir) => Log::open(&dir.join(C::NAME), data.clone())?,
        };
        let bulk = Arc::new(Bulk { data, log: log.clone() });
        open.insert(TypeId::of::<C>(), Open { bulk: bulk.clone(), log });
        Ok(bulk)
    }

    /// Makes everything durable that is in the logs and lets go of their files.
    pub(crate) async fn close(&self) {
        let logs: Vec<Log> =
            self.open.read().unwrap_or_else(PoisonError::into_inner).values().map(|open| open.log.clone()).collect();
        for log in logs {
            log.close().await;
        }
    }
}
