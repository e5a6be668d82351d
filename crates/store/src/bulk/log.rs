//! The log of a collection, as those who write to it see it.

use std::path::Path;
use std::sync::Arc;

use standfast_core::Result;

use super::Collection;
use crate::error::StoreError;

/// A log. Clones are the same log.
#[derive(Clone)]
pub struct Log(#[allow(dead_code)] Option<()>);

impl Log {
    /// Keeps nothing.
    pub(super) fn memory() -> Self {
        Self(None)
    }

    pub(super) fn open<C: Collection>(_: &Path, _: Arc<C>) -> Result<Self, StoreError> {
        Err(StoreError::Engine { action: "open bulk data", what: "not there yet".to_owned() })
    }

    /// Refuses while too much waits for the disk, or when nothing can be made durable any more. To be asked before
    /// changing anything.
    pub fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// Adds a record; `write` appends its bytes to the buffer. Called under the lock of the part.
    pub fn append(&self, part: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let _ = (part, write);
    }

    /// Resolves when everything is durable that was appended before this call.
    pub async fn synced(&self) -> Result<()> {
        Ok(())
    }

    pub(super) async fn close(&self) {}
}
