//! The engine that keeps nothing: the replica is all there is. Commits complete at once, without a thread, so that whole
//! clouds run in tests on virtual time.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Done, Engine, Outcome, Proposal};
use crate::error::StoreError;
use crate::key::Key;

/// See the module.
pub struct Memory;

impl Engine for Memory {
    fn load(&self) -> Result<Vec<(Key, Arc<[u8]>)>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&self, _: Proposal, done: Done) {
        done.complete(Outcome::Committed);
    }

    fn close(&self, done: oneshot::Sender<()>) {
        let _ = done.send(());
    }
}
