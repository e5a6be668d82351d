//! An engine that is shared with a rival: between what a transaction read and its commit, somebody else writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use standfast_core::Rng;
use standfast_store::engine::{Done, Engine, Feed, Outcome, Proposal, Reads, Revision};
use standfast_store::{Key, StoreError};
use tokio::sync::oneshot;

type Changes = Vec<(Key, Option<Arc<[u8]>>)>;

/// Checks what every proposal read, as etcd does.
pub struct Rival {
    state: Mutex<State>,
    feed: OnceLock<Feed>,
}

struct State {
    revision: Revision,
    /// When each key was last changed, and its value; `None` when it was deleted.
    keys: BTreeMap<Key, (Revision, Option<Arc<[u8]>>)>,
    rng: Rng,
    /// What the rival writes before the next proposal is looked at.
    planned: Vec<Changes>,
    /// One in how many proposals the rival gets in first.
    one_in: usize,
}

impl Rival {
    /// A rival that rewrites, unchanged, what one in `one_in` proposals has read (never for zero).
    pub fn new(seed: u64, one_in: usize) -> Self {
        let state = State { revision: 0, keys: BTreeMap::new(), rng: Rng::seeded(seed), planned: Vec::new(), one_in };
        Self { state: Mutex::new(state), feed: OnceLock::new() }
    }

    /// Lets the rival write this before the next proposal is looked at.
    pub fn plan(&self, changes: Changes) {
        self.state.lock().expect("no panic under it").planned.push(changes);
    }

    fn apply(&self, state: &mut State, changes: Changes) {
        state.revision += 1;
        for (key, value) in &changes {
            state.keys.insert(key.clone(), (state.revision, value.clone()));
        }
        self.feed.get().expect("started").apply(state.revision, changes).expect("well-formed");
    }
}

impl State {
    fn holds(&self, reads: &Reads) -> bool {
        let unchanged = |(key, existed): &(Key, bool)| match self.keys.get(key) {
            Some((changed, Some(_))) => *existed && *changed <= reads.at,
            Some((_, None)) | None => !existed,
        };
        let quiet = |prefix: &Key| self.under(prefix).all(|(_, (changed, _))| *changed <= reads.at);
        reads.keys.iter().all(unchanged) && reads.ranges.iter().all(quiet)
    }

    fn under<'a>(&'a self, prefix: &'a Key) -> impl Iterator<Item = (&'a Key, &'a (Revision, Option<Arc<[u8]>>))> {
        self.keys.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(prefix.as_str()))
    }

    /// A key that the proposal depends on, and its value.
    fn target(&self, reads: &Reads) -> Option<(Key, Option<Arc<[u8]>>)> {
        let read = reads.keys.iter().filter_map(|(key, _)| self.keys.get_key_value(key));
        let known = read.chain(reads.ranges.iter().flat_map(|prefix| self.under(prefix)));
        let known: Vec<_> = known.filter(|(_, (_, value))| value.is_some()).collect();
        known.get(self.rng.below(known.len())).map(|(key, (_, value))| ((*key).clone(), value.clone()))
    }
}

impl Engine for Rival {
    fn shared(&self) -> bool {
        true
    }

    fn load(&self) -> Result<Vec<(Key, Arc<[u8]>)>, StoreError> {
        Ok(Vec::new())
    }

    fn start(&self, feed: Feed) -> Result<(), StoreError> {
        assert!(self.feed.set(feed).is_ok(), "started once");
        Ok(())
    }

    fn commit(&self, proposal: Proposal, done: Done) {
        let mut state = self.state.lock().expect("no panic under it");
        for changes in std::mem::take(&mut state.planned) {
            self.apply(&mut state, changes);
        }
        if state.one_in > 0
            && state.rng.below(state.one_in) == 0
            && let Some(target) = state.target(&proposal.reads)
        {
            self.apply(&mut state, vec![target]);
        }
        if !state.holds(&proposal.reads) {
            return done.complete(Outcome::Conflict);
        }
        let changes = proposal.writes.into_iter().map(|write| (write.key, write.new)).collect();
        self.apply(&mut state, changes);
        done.complete(Outcome::Committed);
    }

    fn close(&self, done: oneshot::Sender<()>) {
        let _ = done.send(());
    }
}
