//! The files of a log: `log.N` take the records, one after the other; `dump.N` holds everything that came before `log.N`.
//!
//! Both are files of frames (see `engine::journal::frame`), and the numbers of frames go on from one log to the next. A
//! dump is taken part by part while records come in, so each part says which frame it includes last; from `log.N` on, a
//! record counts that is in a later one. `*.tmp` are files that were not finished.
//!
//! Invariant: looking changes nothing. What no longer counts is removed after everything was read and found sound. The
//! directory is inside of the store's, whose lock keeps others out.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Collection, records};
use crate::engine::journal::frame::{self, CHUNK_BYTES_MIN, FILE_HEADER_BYTES, FileHeader, FrameWriter, Walk};
use crate::error::StoreError;

const LOG: &str = "log.";
const DUMP: &str = "dump.";
const UNFINISHED: &str = ".tmp";

/// A log grows by its own length, but at most by this.
const CHUNK_BYTES_MAX: u64 = 4 * 1024 * 1024;

static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A directory that was read, and the log that goes on.
pub(super) struct Files {
    pub(super) path: PathBuf,
    handle: File,
    pub(super) log: LogFile,
    /// The number of the last frame.
    pub(super) last: u64,
    /// How much is in logs since the last dump, and how long that is.
    pub(super) logged_bytes: u64,
    pub(super) dump_bytes: u64,
}

/// A log that takes frames.
pub(super) struct LogFile {
    file: File,
    pub(super) generation: u64,
    end: u64,
    len: u64,
}

/// A dump under construction.
pub(super) struct Draft {
    file: File,
    path: PathBuf,
    generation: u64,
    base: u64,
    frames: u64,
    end: u64,
}

impl Files {
    /// Reads everything into the collection and opens the last log.
    pub(super) fn open<C: Collection>(path: &Path, data: &C) -> Result<Self, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|e| failed("make the directory", path, e))?;
        let handle = File::open(path).map_err(|e| failed("open", path, e))?;
        let names = names(path)?;
        let numbers = |kind| numbers(&names, kind);
        let (dumps, logs) = (numbers(DUMP), numbers(LOG));
        let mut reading = Reading { path, data, floors: vec![0; usize::from(C::PARTS)], last: 0, bytes: 0 };
        let first = match dumps.last() {
            Some(newest) => reading.dump(*newest)?,
            None => 1,
        };
        let dump_bytes = std::mem::take(&mut reading.bytes);
        let logs: Vec<u64> = logs.into_iter().filter(|number| *number >= first).collect();
        if !logs.iter().copied().eq(first..first + logs.len() as u64) || (logs.is_empty() && !dumps.is_empty()) {
            return Err(reading.damaged("a log is missing"));
        }
        let mut tail = None;
        for generation in &logs {
            tail = Some((*generation, reading.log(*generation, generation == logs.last().expect("it has one"))?));
        }
        let (last, logged_bytes) = (reading.last, reading.bytes);
        let log = match tail {
            Some((generation, walk)) => LogFile::open(path, generation, &walk)?,
            None => {
                sync_parents(path).map_err(|e| failed("sync", path, e))?;
                LogFile::create(path, &handle, first, 0).map_err(|e| failed("write", path, e))?
            }
        };
        let files = Self { path: path.to_owned(), handle, log, last, logged_bytes, dump_bytes };
        files.tidy(first).map_err(|e| failed("remove what no longer counts in", path, e))?;
        Ok(files)
    }

    /// Appends a frame of these records; they are durable when this returns.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let mut frame = FrameWriter::new();
        frame.extend(records);
        let bytes = frame.finish(self.last + 1);
        self.log.append(&bytes)?;
        self.last += 1;
        self.logged_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Goes on in a new log, and starts the dump of what came before it.
    pub(super) fn rotate(&mut self) -> io::Result<Draft> {
        let generation = self.log.generation + 1;
        let draft = Draft::create(&self.path, generation, self.last)?;
        self.log = LogFile::create(&self.path, &self.handle, generation, self.last)?;
        Ok(draft)
    }

    /// Lets a dump count, and removes what came before it.
    pub(super) fn publish(&mut self, draft: Draft) -> io::Result<()> {
        let generation = draft.generation;
        let bytes = draft.finish(&self.handle, &self.path)?;
        (self.dump_bytes, self.logged_bytes) = (bytes, self.log.end);
        self.tidy(generation)
    }

    fn tidy(&self, first: u64) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let number = [LOG, DUMP].iter().find_map(|kind| name.strip_prefix(kind)?.parse::<u64>().ok());
            let ours = name.starts_with(LOG) || name.starts_with(DUMP);
            if number.is_some_and(|number| number < first) || (ours && name.ends_with(UNFINISHED)) {
                fs::remove_file(self.path.join(name))?;
            }
        }
        Ok(())
    }
}

/// Files being read into a collection.
struct Reading<'a, C> {
    path: &'a Path,
    data: &'a C,
    /// The last frame that the dump of each part includes.
    floors: Vec<u64>,
    last: u64,
    bytes: u64,
}

impl<C: Collection> Reading<'_, C> {
    /// Reads a dump; gives back the number of the first log after it.
    fn dump(&mut self, generation: u64) -> Result<u64, StoreError> {
        let (data, mut floors) = (self.data, std::mem::take(&mut self.floors));
        let mut expected = 0;
        let walk = self.file(DUMP, generation, |_, payload| {
            let (part, floor, dump) = records::read_dump(payload).filter(|(part, ..)| *part == expected)?;
            *floors.get_mut(usize::from(part))? = floor;
            expected += 1;
            data.restore(part, dump)
        })?;
        if walk.torn_end.is_some() || expected != C::PARTS {
            return Err(self.damaged(format!("the end of file '{DUMP}{generation}' is missing")));
        }
        self.floors = floors;
        self.last = walk.header.base;
        Ok(generation)
    }

    /// Reads a log. Only the newest may have a torn end.
    fn log(&mut self, generation: u64, newest: bool) -> Result<Walk, StoreError> {
        let (data, floors) = (self.data, std::mem::take(&mut self.floors));
        let walk = self.file(LOG, generation, |number, payload| {
            records::read(payload, |part, record| {
                let counts = number > *floors.get(usize::from(part))?;
                if counts { data.replay(part, record) } else { Some(()) }
            })
        })?;
        if walk.header.base != self.last || (walk.torn_end.is_some() && !newest) {
            return Err(self.damaged(format!("frames are missing before or in file '{LOG}{generation}'")));
        }
        self.floors = floors;
        self.last = walk.last;
        Ok(walk)
    }

    fn file(
        &mut self,
        kind: &str,
        generation: u64,
        each: impl FnMut(u64, &[u8]) -> Option<()>,
    ) -> Result<Walk, StoreError> {
        let path = self.path.join(format!("{kind}{generation}"));
        let bytes = fs::read(&path).map_err(|e| failed("read", &path, e))?;
        let walk = frame::walk(&bytes, each).map_err(|damage| {
            let (at, len) = (damage.at, bytes.len());
            self.damaged(format!("{} (file '{kind}{generation}', byte {at} of {len})", damage.what))
        })?;
        if walk.header.generation != generation {
            return Err(self.damaged(format!("the file '{kind}{generation}' has another number")));
        }
        self.bytes += walk.end as u64;
        Ok(walk)
    }

    fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: self.path.to_owned(), what: what.into() }
    }
}

impl LogFile {
    fn open(dir: &Path, generation: u64, walk: &Walk) -> Result<Self, StoreError> {
        let path = dir.join(format!("{LOG}{generation}"));
        let opened = OpenOptions::new().write(true).open(&path);
        let file = opened.map_err(|e| failed("open", &path, e))?;
        let len = file.metadata().map_err(|e| failed("open", &path, e))?.len();
        let end = walk.end as u64;
        if let Some(torn_end) = walk.torn_end {
            let cleared = write_zeros(&file, end, torn_end as u64).and_then(|()| file.sync_data());
            cleared.map_err(|e| failed("write", &path, e))?;
        }
        Ok(Self { file, generation, end, len })
    }

    fn create(dir: &Path, handle: &File, generation: u64, base: u64) -> io::Result<Self> {
        let path = dir.join(format!("{LOG}{generation}"));
        let draft = dir.join(format!("{LOG}{generation}{UNFINISHED}"));
        let file = create(&draft)?;
        file.write_all_at(&frame::file_header(FileHeader { generation, base, snapshot_frames: 0 }), 0)?;
        let (end, len) = (FILE_HEADER_BYTES as u64, CHUNK_BYTES_MIN);
        write_zeros(&file, end, len)?;
        file.sync_all()?;
        fs::rename(draft, path)?;
        handle.sync_all()?;
        Ok(Self { file, generation, end, len })
    }

    fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        let end = self.end + frame.len() as u64;
        self.grow(end)?;
        self.file.write_all_at(frame, self.end)?;
        self.file.sync_data()?;
        self.end = end;
        Ok(())
    }

    /// Makes room up to `end`, zeros that are durable before anything is written over them: so a crash leaves no length
    /// of its own, and syncs have no lengths to write.
    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end <= self.len {
            return Ok(());
        }
        let len = end.max(self.len + self.len.min(CHUNK_BYTES_MAX)).next_multiple_of(CHUNK_BYTES_MIN);
        write_zeros(&self.file, self.len, len)?;
        self.file.sync_all()?;
        self.len = len;
        Ok(())
    }
}

impl Draft {
    fn create(dir: &Path, generation: u64, base: u64) -> io::Result<Self> {
        let path = dir.join(format!("{DUMP}{generation}{UNFINISHED}"));
        let file = create(&path)?;
        Ok(Self { file, path, generation, base, frames: 0, end: FILE_HEADER_BYTES as u64 })
    }

    /// Adds a part, which includes all frames up to `floor`.
    pub(super) fn add(&mut self, part: u16, floor: u64, dump: &[u8]) -> io::Result<()> {
        let mut frame = FrameWriter::new();
        frame.extend(&records::dump_head(part, floor));
        frame.extend(dump);
        self.frames += 1;
        let bytes = frame.finish(self.base + self.frames);
        self.file.write_all_at(&bytes, self.end)?;
        self.end += bytes.len() as u64;
        // A little now and not all at the end, when others would wait for it.
        self.file.sync_data()
    }

    /// Gives the dump its final name; from here on it counts.
    fn finish(self, handle: &File, dir: &Path) -> io::Result<u64> {
        let header = FileHeader { generation: self.generation, base: self.base, snapshot_frames: self.frames };
        self.file.write_all_at(&frame::file_header(header), 0)?;
        write_zeros(&self.file, self.end, self.end.next_multiple_of(CHUNK_BYTES_MIN))?;
        self.file.sync_all()?;
        fs::rename(&self.path, dir.join(format!("{DUMP}{}", self.generation)))?;
        handle.sync_all()?;
        Ok(self.end)
    }

    /// Where it is, to be removed when it cannot be finished.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let piece = (to - at).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..piece as usize], at)?;
        at += piece;
    }
    Ok(())
}

/// Makes the directory itself durable: it may be new, and the one that it is in too.
fn sync_parents(path: &Path) -> io::Result<()> {
    path.ancestors().skip(1).take(2).try_for_each(|dir| File::open(dir)?.sync_all())
}

fn names(path: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(path).map_err(|e| failed("list", path, e))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(|e| failed("list", path, e))
}

/// The numbers of the files of a kind, in order.
fn numbers(names: &[String], kind: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.strip_prefix(kind)?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}
