//! The directory of a journal: whose it is, which format, who holds it.
//!
//! `FORMAT` says in text that the directory is ours and how to read it. `journal.N` holds the data; the one with the
//! highest number counts. `pid` names the process that has the directory open, whose lock is on the directory itself.
//! `*.tmp` are files that were not finished.
//!
//! Invariant: looking changes nothing. Everything that writes comes after everything was read and found sound.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::frame::LAYOUT;
use crate::error::StoreError;

const FORMAT: &str = "FORMAT";
const PID: &str = "pid";
const MAGIC: &str = "standfast store";
const ENGINE: &str = "journal";
const JOURNAL: &str = "journal.";
const UNFINISHED: &str = ".tmp";
/// Found in the root of a fresh file system.
const LOST_AND_FOUND: &str = "lost+found";
/// `FORMAT` and `pid` are a few lines; what is longer is not ours.
const NOTE_BYTES_MAX: u64 = 4096;

/// How often, and how far apart, a lock that another process holds is tried.
const LOCK_TRIES_MAX: usize = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A directory that this process holds.
#[derive(Debug)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    /// Open for as long as the directory is held: closing it lets go of the lock.
    handle: File,
    /// Whether this process has written its pid.
    noted: bool,
}

/// What a held directory is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing yet.
    Fresh,
    /// Made, but the maker did not get to its first journal.
    Unfinished,
    /// The journal of this generation counts.
    Journal(u64),
}

impl Dir {
    /// Makes the directory where needed, and locks it.
    pub(super) fn hold(path: &Path) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|e| failed("make the directory", path, e))?;
        let handle = File::open(path).map_err(|e| failed("open", path, e))?;
        match lock(&handle) {
            Ok(()) => Ok(Self { path: path.to_owned(), handle, noted: false }),
            Err(Errno::WOULDBLOCK) => {
                let pid = note(&path.join(PID)).ok().flatten().and_then(|text| text.trim().parse().ok());
                Err(StoreError::InUse { path: path.to_owned(), pid })
            }
            Err(e) => Err(failed("lock", path, e.into())),
        }
    }

    /// Looks at what is there, without changing it.
    pub(super) fn content(&self) -> Result<Content, StoreError> {
        let names = self.names()?;
        let format = note(&self.path.join(FORMAT)).map_err(|e| failed("read", &self.path.join(FORMAT), e))?;
        let Some(format) = format else {
            let foreign = names.iter().find(|name| !name.ends_with(UNFINISHED) && *name != LOST_AND_FOUND);
            return match foreign {
                None => Ok(Content::Fresh),
                Some(name) => Err(StoreError::Foreign {
                    path: self.path.clone(),
                    what: format!("it holds '{name}' and no file '{FORMAT}'"),
                }),
            };
        };
        self.check(&format)?;
        let newest = names.iter().filter_map(|name| name.strip_prefix(JOURNAL)?.parse::<u64>().ok()).max();
        match newest {
            Some(generation) => Ok(Content::Journal(generation)),
            None if names.contains(&unfinished(1)) => Ok(Content::Unfinished),
            None => Err(self.damaged(format!("there is no file '{JOURNAL}N'"))),
        }
    }

    pub(super) fn journal(&self, generation: u64) -> PathBuf {
        self.path.join(format!("{JOURNAL}{generation}"))
    }

    /// Where the journal of this generation is written before it counts.
    pub(super) fn draft(&self, generation: u64) -> PathBuf {
        self.path.join(unfinished(generation))
    }

    /// Marks the directory as ours. Only then may a journal get its final name.
    pub(super) fn write_format(&self) -> Result<(), StoreError> {
        let (path, draft) = (self.path.join(FORMAT), self.path.join(format!("{FORMAT}{UNFINISHED}")));
        let written = write_note(&draft, &format_text())
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&draft, &path));
        written.and_then(|()| self.sync()).map_err(|e| failed("write", &path, e))
    }

    /// Makes new names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Removes what no longer counts beside the journal of this generation.
    pub(super) fn tidy(&self, generation: u64) -> Result<(), StoreError> {
        for name in self.names()? {
            let older = name.strip_prefix(JOURNAL).and_then(|n| n.parse::<u64>().ok()).is_some_and(|n| n < generation);
            if older || (name.ends_with(UNFINISHED) && (name.starts_with(JOURNAL) || name.starts_with(FORMAT))) {
                let path = self.path.join(name);
                fs::remove_file(&path).map_err(|e| failed("remove", &path, e))?;
            }
        }
        Ok(())
    }

    /// Says who holds the directory, for those who find it locked: while this process lives, so it need not be durable.
    pub(super) fn write_pid(&mut self) -> Result<(), StoreError> {
        let path = self.path.join(PID);
        self.noted = true;
        let written = write_note(&path, &format!("{}\n", std::process::id()));
        written.map(drop).map_err(|e| failed("write", &path, e))
    }

    pub(super) fn damaged(&self, what: String) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what }
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let entries = fs::read_dir(&self.path).map_err(|e| failed("list", &self.path, e))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        let names: Result<Vec<String>, io::Error> = names.collect();
        let mut names = names.map_err(|e| failed("list", &self.path, e))?;
        names.sort();
        Ok(names)
    }

    fn check(&self, format: &str) -> Result<(), StoreError> {
        let mut lines = format.lines();
        if lines.next() != Some(MAGIC) {
            return Err(StoreError::Foreign {
                path: self.path.clone(),
                what: format!("its file '{FORMAT}' is not ours"),
            });
        }
        if format != format_text() {
            let found = lines.collect::<Vec<_>>().join(", ");
            let known = format_text().lines().skip(1).collect::<Vec<_>>().join(", ");
            return Err(StoreError::Format { path: self.path.clone(), found, known });
        }
        Ok(())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.noted {
            // The lock tells the truth; a pid that stays behind is never read without it.
            let _ = fs::remove_file(self.path.join(PID));
        }
    }
}

/// Locks the directory. A process that was just forked, and is about to become another program, shares the locks of the
/// one that forked it: so a directory that its last holder has let go of may look held for a moment more.
fn lock(handle: &File) -> Result<(), Errno> {
    for _ in 1..LOCK_TRIES_MAX {
        match flock(handle, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {}
            other => return other,
        }
        #[allow(clippy::disallowed_methods)] // Before there is a runtime; the kernel knows no virtual time.
        std::thread::sleep(LOCK_PAUSE);
    }
    flock(handle, FlockOperation::NonBlockingLockExclusive)
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}

fn unfinished(generation: u64) -> String {
    format!("{JOURNAL}{generation}{UNFINISHED}")
}

fn format_text() -> String {
    format!("{MAGIC}\nengine {ENGINE}\nformat {LAYOUT}\n")
}

/// The text of a small file; `None` when there is no such file.
fn note(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, NOTE_BYTES_MAX), &mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn write_note(path: &Path, text: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}
