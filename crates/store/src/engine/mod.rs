//! What a store needs from the thing that keeps its data.
//!
//! An engine holds keys and values, commits a proposal as a whole when nothing it read has changed since, and completes
//! it when it is durable. There are two ways to be one:
//!
//! * A *sole* engine ([`memory`], [`journal`]) has no other writer, so the replica is always the newest state: the store
//!   applies a transaction to the replica first, proposes it in the same order, and a conflict cannot happen. Readers may
//!   see a write before it is durable; nobody is told that it succeeded before it is.
//! * A *shared* engine (etcd) has other writers. The replica changes only through the [`Feed`], in the engine's order;
//!   a transaction that conflicts runs again on the newer replica.
//!
//! Why etcd fits: [`Reads`] is the compare part of its transaction. A key that existed compares as `version > 0` and
//! `mod_revision < at + 1`, one that did not as `version = 0`, a range as `mod_revision < at + 1` over its prefix, and,
//! because a deleted key has no revision left, every delete also puts `/d/TABLE/ACCOUNT/REGION`, which range reads
//! compare as well. The feed is a watch on the prefix `/`, and a load is a range read at one revision.

use std::sync::Arc;

use standfast_core::Error;
use tokio::sync::oneshot;

use crate::error::StoreError;
use crate::key::Key;
use crate::store::Shared;

pub mod journal;
pub mod memory;

/// Counts committed transactions that wrote.
pub type Revision = u64;

/// What a transaction read: it may be committed when none of it has changed after revision `at`. For a sole engine, which
/// has nothing to compare, this is as it was noted: keys may repeat, and include what the transaction itself wrote.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    pub at: Revision,
    /// Keys, and whether they existed.
    pub keys: Vec<(Key, bool)>,
    /// Prefixes of keys.
    pub ranges: Vec<Key>,
}

/// A change of one key: `None` deletes it.
#[derive(Clone, Debug)]
pub struct Write {
    pub key: Key,
    pub new: Option<Arc<[u8]>>,
}

impl Write {
    /// What it takes, roughly, in a proposal.
    pub fn size_bytes(&self) -> usize {
        self.key.len() + self.new.as_ref().map_or(0, |value| value.len())
    }
}

/// A transaction to be committed. Without writes it is a barrier: complete when all before it are.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// What the replica's revision is with it applied (sole engines).
    pub revision: Revision,
    pub reads: Reads,
    /// Ordered by key, each key once.
    pub writes: Vec<Write>,
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, as a whole.
    Committed,
    /// Something it read has changed. Nothing was written, and the feed has delivered the change.
    Conflict,
    /// The engine cannot write any more, for this reason.
    Failed(String),
}

/// Keeps keys and values.
pub trait Engine: Send + Sync + 'static {
    /// Whether there are other writers (see the module).
    fn shared(&self) -> bool {
        false
    }

    /// Everything it holds. Called once, first.
    fn load(&self) -> Result<Vec<(Key, Arc<[u8]>)>, StoreError>;

    /// Begins to take proposals; a shared engine keeps the feed. Called once, after what `load` gave was found sound:
    /// nothing on disk may change before.
    fn start(&self, feed: Feed) -> Result<(), StoreError> {
        let _ = feed;
        Ok(())
    }

    /// Takes a proposal without waiting for it; proposals are committed in the order they come.
    fn commit(&self, proposal: Proposal, done: Done);

    /// Completes everything taken so far and lets go of the data; later proposals fail. `done` is told when that is so.
    fn close(&self, done: oneshot::Sender<()>);
}

/// Told what became of a proposal. Dropped untold, it counts as a failure of the engine.
pub struct Done {
    pub(crate) shared: Arc<Shared>,
    pub(crate) revision: Revision,
    pub(crate) tables: Vec<&'static str>,
    pub(crate) reply: Option<oneshot::Sender<Outcome>>,
}

impl Done {
    pub fn complete(mut self, outcome: Outcome) {
        match &outcome {
            Outcome::Committed => self.shared.durable(self.revision, &self.tables),
            Outcome::Conflict => {}
            Outcome::Failed(why) => self.shared.fail(why),
        }
        if let Some(reply) = self.reply.take() {
            // The caller may have gone away; the transaction stands all the same.
            let _ = reply.send(outcome);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.shared.fail("the storage engine stopped");
        }
        self.shared.settled();
    }
}

/// Brings the replica of a shared engine up to date.
pub struct Feed {
    pub(crate) shared: Arc<Shared>,
}

impl Feed {
    /// Applies what was committed at `revision`, whoever wrote it. In the order of revisions, and before a proposal is
    /// completed whose outcome depends on it.
    pub fn apply(&self, revision: Revision, writes: Vec<(Key, Option<Arc<[u8]>>)>) -> Result<(), Error> {
        self.shared.ingest(revision, writes)
    }
}
