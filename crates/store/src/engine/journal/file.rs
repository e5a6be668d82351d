//! One journal file: appending frames and replacing the file by a shorter one of the same content.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::dir::{Dir, failed};
use super::frame::{self, CHUNK_BYTES_MIN, FILE_HEADER_BYTES, FileHeader, FrameWriter, PAIR_BYTES, Scan};
use crate::engine::Write;
use crate::error::StoreError;
use crate::key::Key;

/// A file grows by its own length, but at most by this.
const CHUNK_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file is replaced when it is longer than this and twice what is alive in it: small enough to be read within
/// milliseconds at start.
const SLACK_BYTES: u64 = 3 * 1024 * 1024;

/// How much of a snapshot goes into one frame.
const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;

/// Zeros are written in pieces of this.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What a journal holds. The values are those of the replica, not copies.
type Pairs = HashMap<Key, Arc<[u8]>>;

/// An open journal that takes frames.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: File,
    generation: u64,
    /// The number of the last frame.
    last: u64,
    end: u64,
    len: u64,
    live: Pairs,
    /// What a snapshot would take.
    live_bytes: u64,
    /// The file is replaced when its end comes here.
    replace_at: u64,
}

impl JournalFile {
    /// Makes the first journal of a directory.
    pub(super) fn create(dir: &Dir) -> Result<Self, StoreError> {
        let draft = dir.draft(1);
        let journal = Self::write(&draft, 1, 0, Pairs::new()).map_err(|(e, _)| failed("write", &draft, e))?;
        dir.write_format()?;
        journal.publish(dir)?;
        Ok(journal)
    }

    /// Opens a journal that was read and found sound, and clears the remains of an incomplete frame.
    pub(super) fn open(dir: &Dir, scan: Scan) -> Result<Self, StoreError> {
        let path = dir.journal(scan.header.generation);
        let opened = OpenOptions::new().write(true).open(&path);
        let file = opened.map_err(|e| failed("open", &path, e))?;
        let len = file.metadata().map_err(|e| failed("open", &path, e))?.len();
        let end = scan.end as u64;
        if let Some(torn_end) = scan.torn_end {
            let cleared = write_zeros(&file, end, torn_end as u64).and_then(|()| file.sync_data());
            cleared.map_err(|e| failed("write", &path, e))?;
        }
        Ok(Self::at(file, scan.header.generation, scan.last, end, len, scan.pairs))
    }

    fn at(file: File, generation: u64, last: u64, end: u64, len: u64, live: Pairs) -> Self {
        let live_bytes = live.iter().map(|(key, value)| pair_bytes(key, value)).sum();
        Self { file, generation, last, end, len, live, live_bytes, replace_at: 2 * live_bytes + SLACK_BYTES }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Appends a frame of these writes; they are durable when this returns.
    pub(super) fn append(&mut self, writes: Vec<Write>) -> io::Result<()> {
        let mut frame = FrameWriter::new();
        for write in &writes {
            frame.push(&write.key, write.new.as_deref());
        }
        let bytes = frame.finish(self.last + 1);
        let end = self.end + bytes.len() as u64;
        self.grow(end)?;
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        (self.last, self.end) = (self.last + 1, end);
        for write in writes {
            self.live_bytes += write.new.as_ref().map_or(0, |new| pair_bytes(&write.key, new));
            let size = pair_bytes(&write.key, &[]);
            let old = match write.new {
                Some(new) => self.live.insert(write.key, new),
                None => self.live.remove(&write.key),
            };
            self.live_bytes -= old.map_or(0, |old| size + old.len() as u64);
        }
        Ok(())
    }

    pub(super) fn wants_replacing(&self) -> bool {
        self.end >= self.replace_at
    }

    /// Replaces the file by a snapshot of what is alive in it. An error means that it is unknown which of the two files
    /// counts, so neither may be written to. Where only the draft could not be written, the old file goes on, and this is
    /// tried again later.
    pub(super) fn replace(&mut self, dir: &Dir) -> Result<(), StoreError> {
        let (next, draft) = (self.generation + 1, dir.draft(self.generation + 1));
        match Self::write(&draft, next, self.last, std::mem::take(&mut self.live)) {
            Ok(journal) => {
                journal.publish(dir)?;
                *self = journal;
                dir.tidy(next)
            }
            Err((_, live)) => {
                self.live = live;
                self.replace_at = self.end + SLACK_BYTES;
                // It does not count, whether it can be removed or not.
                let _ = fs::remove_file(&draft);
                Ok(())
            }
        }
    }

    /// Gives a draft its final name: from here on it counts.
    fn publish(&self, dir: &Dir) -> Result<(), StoreError> {
        let (draft, journal) = (dir.draft(self.generation), dir.journal(self.generation));
        fs::rename(draft, &journal).and_then(|()| dir.sync()).map_err(|e| failed("write", &journal, e))
    }

    /// Writes a whole file, durably. Gives back what should have been in it where that fails.
    fn write(path: &Path, generation: u64, base: u64, live: Pairs) -> Result<Self, (io::Error, Pairs)> {
        match write_snapshot(path, generation, base, &live) {
            Ok((file, last, end, len)) => Ok(Self::at(file, generation, last, end, len, live)),
            Err(e) => Err((e, live)),
        }
    }

    /// Makes room up to `end`. The space is written with zeros and synced first, so that appending changes neither the
    /// file's length nor its map, and a crash cannot leave a length of its own.
    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end <= self.len {
            return Ok(());
        }
        let len = end.max(self.len + self.len.min(CHUNK_BYTES_MAX)).next_multiple_of(CHUNK_BYTES_MIN);
        self.file.set_len(len)?;
        write_zeros(&self.file, self.len, len)?;
        self.file.sync_all()?;
        self.len = len;
        Ok(())
    }
}

/// Writes a whole file frame by frame; returns it with the number of the last frame, where that ends, and the length.
fn write_snapshot(path: &Path, generation: u64, base: u64, live: &Pairs) -> io::Result<(File, u64, u64, u64)> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let (mut last, mut end) = (base, FILE_HEADER_BYTES as u64);
    let mut append = |frame: FrameWriter| {
        let bytes = frame.finish(last + 1);
        file.write_all_at(&bytes, end)?;
        (last, end) = (last + 1, end + bytes.len() as u64);
        io::Result::Ok(())
    };
    let mut frame = FrameWriter::new();
    for (key, value) in live {
        frame.push(key, Some(value));
        if frame.len() >= SNAPSHOT_FRAME_BYTES {
            append(std::mem::replace(&mut frame, FrameWriter::new()))?;
        }
    }
    if !frame.is_empty() {
        append(frame)?;
    }
    let header = FileHeader { generation, base, snapshot_frames: last - base };
    file.write_all_at(&frame::file_header(header), 0)?;
    let len = end.next_multiple_of(CHUNK_BYTES_MIN);
    write_zeros(&file, end, len)?;
    file.sync_all()?;
    Ok((file, last, end, len))
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

/// Reads a journal and judges it, without changing anything.
pub(super) fn read(dir: &Dir, generation: u64) -> Result<Scan, StoreError> {
    let path = dir.journal(generation);
    let bytes = fs::read(&path).map_err(|e| failed("read", &path, e))?;
    let scan = frame::scan(&bytes).map_err(|damage| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        dir.damaged(format!("{} (file '{name}', byte {} of {})", damage.what, damage.at, bytes.len()))
    })?;
    if scan.header.generation != generation {
        return Err(dir.damaged(format!("the file of generation {} has another number", scan.header.generation)));
    }
    Ok(scan)
}

/// What a pair takes in a snapshot.
fn pair_bytes(key: &str, value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + PAIR_BYTES
}
