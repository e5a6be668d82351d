//! The embedded engine: a log of checksummed frames in one file, all of which is read at start.
//!
//! Since every control read comes from the replica in memory, an engine here has to do two things: read everything once,
//! and make writes durable. A log does both with one file and one sync, and, because the whole of it is verified before
//! anything is touched, damage cannot hide (docs/adr/0002-store-engine.md has the figures of the alternatives).
//!
//! One named thread owns the file. It takes what has queued up while it synced, writes it as one frame, syncs once, and
//! completes every proposal of the frame. A frame is there as a whole or not at all. When the file has grown past twice
//! what is alive in it, the thread writes a snapshot beside it and switches over by a rename.
//!
//! Invariant: after a write or sync that failed nothing is written any more; the kernel may have dropped what it could
//! not write, so trying again could acknowledge what is not there.
//!
//! What is not noticed at opening: a file that was replaced by an older copy of itself, and an end of the log that was
//! overwritten with zeros from the start of a frame on. Both look like a store that had not got further.

mod dir;
mod file;
pub(crate) mod frame;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use self::dir::{Content, Dir};
use self::file::JournalFile;
use self::frame::Scan;
use super::{Done, Engine, Feed, Outcome, Proposal, Write};
use crate::error::StoreError;
use crate::key::Key;

/// The name of the thread that owns the file (Linux shows 15 characters).
const THREAD: &str = "store-journal";

/// How many transactions one sync may serve.
const GROUP_PROPOSALS_MAX: usize = 4096;

/// No more transactions join a frame of this size.
const GROUP_BYTES_MAX: usize = 1024 * 1024;

/// See the module.
pub struct Journal {
    state: Mutex<State>,
}

enum State {
    /// Held, read and found sound; nothing was changed yet.
    Read(Box<(Dir, Option<Scan>)>),
    Running(Sender<Message>, JoinHandle<()>),
    Closed,
}

enum Message {
    Commit(Proposal, Done),
    Close(oneshot::Sender<()>),
}

impl Journal {
    /// Takes hold of a directory and reads it. Nothing in it changes before `start`.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let dir = Dir::hold(path)?;
        let scan = match dir.content()? {
            Content::Journal(generation) => Some(file::read(&dir, generation)?),
            Content::Fresh | Content::Unfinished => None,
        };
        Ok(Self { state: Mutex::new(State::Read(Box::new((dir, scan)))) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for Journal {
    fn load(&self) -> Result<Vec<(Key, Arc<[u8]>)>, StoreError> {
        let State::Read(read) = &*self.state() else { return Ok(Vec::new()) };
        let pairs = read.1.iter().flat_map(|scan| &scan.pairs);
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn start(&self, _: Feed) -> Result<(), StoreError> {
        let mut state = self.state();
        let State::Read(read) = std::mem::replace(&mut *state, State::Closed) else { return Ok(()) };
        let (mut dir, scan) = *read;
        let file = match scan {
            Some(scan) => JournalFile::open(&dir, scan)?,
            None => JournalFile::create(&dir)?,
        };
        dir.tidy(file.generation())?;
        dir.write_pid()?;
        let (sender, receiver) = channel();
        let worker = Worker { dir, file, receiver };
        let spawned = std::thread::Builder::new().name(THREAD.to_owned()).spawn(move || worker.run());
        let thread = spawned.map_err(|e| StoreError::Engine { action: "start its thread", what: e.to_string() })?;
        *state = State::Running(sender, thread);
        Ok(())
    }

    fn commit(&self, proposal: Proposal, done: Done) {
        if let State::Running(sender, _) = &*self.state() {
            // A thread that is gone drops `done`, which says so.
            let _ = sender.send(Message::Commit(proposal, done));
        } else {
            done.complete(Outcome::Failed("the store is closed".to_owned()));
        }
    }

    fn close(&self, done: oneshot::Sender<()>) {
        if let State::Running(sender, _) = &*self.state() {
            let _ = sender.send(Message::Close(done));
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let State::Running(sender, thread) = std::mem::replace(&mut *self.state(), State::Closed) {
            drop(sender);
            // When this returns the directory can be opened again. A panic of the thread was told through `Done`.
            let _ = thread.join();
        }
    }
}

struct Worker {
    dir: Dir,
    file: JournalFile,
    receiver: Receiver<Message>,
}

impl Worker {
    fn run(mut self) {
        let mut failed = None;
        while let Ok(first) = self.receiver.recv() {
            let group = self.group(first);
            let outcome = match &failed {
                None => self.commit(group.writes),
                Some(why) => Outcome::Failed(String::clone(why)),
            };
            if let Outcome::Failed(why) = &outcome {
                failed.get_or_insert(why.clone());
            }
            for done in group.done {
                done.complete(outcome.clone());
            }
            if let Some(close) = group.close {
                // Lets go of the lock before saying so.
                drop((self.dir, self.file));
                let _ = close.send(());
                return;
            }
            if failed.is_none() && self.file.wants_replacing() {
                failed = self.file.replace(&self.dir).err().map(|e| e.to_string());
            }
        }
    }

    /// What has queued up, as far as one frame takes it.
    fn group(&self, first: Message) -> Group {
        let mut group = Group { writes: Vec::new(), done: Vec::new(), close: None };
        let (mut bytes, mut next) = (0, Some(first));
        while let Some(message) = next.take() {
            match message {
                Message::Close(close) => group.close = Some(close),
                Message::Commit(proposal, done) => {
                    bytes += proposal.writes.iter().map(Write::size_bytes).sum::<usize>();
                    group.writes.extend(proposal.writes);
                    group.done.push(done);
                }
            }
            if group.close.is_none() && group.done.len() < GROUP_PROPOSALS_MAX && bytes < GROUP_BYTES_MAX {
                next = self.receiver.try_recv().ok();
            }
        }
        group
    }

    fn commit(&mut self, writes: Vec<Write>) -> Outcome {
        // Barriers alone need no sync: what they wait for is durable already.
        if writes.is_empty() {
            return Outcome::Committed;
        }
        match self.file.append(writes) {
            Ok(()) => Outcome::Committed,
            Err(e) => Outcome::Failed(format!("cannot write to {}: {e}", self.dir.path.display())),
        }
    }
}

/// What one sync makes durable, in the order it came.
struct Group {
    writes: Vec<Write>,
    done: Vec<Done>,
    close: Option<oneshot::Sender<()>>,
}
