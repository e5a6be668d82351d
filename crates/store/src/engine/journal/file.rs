//! One journal file: appending frames and replacing the file by a shorter one of the same content.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::dir::{Dir, failed};
use super::frame::{self, CHUNK_BYTES_MIN, FILE_HEADER_BYTES, FileHeader, FrameWriter, PAIR_BYTES, Scan};
use crate::error::StoreError;
use crate::key::Key;

/// A file grows by its own length, but at most by this.
const CHUNK_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A file is replaced when it is longer than this and twice what is alive in it: small enough to be read within
/// milliseconds at start.
const SLACK_BYTES: u64 = 3 * 1024 * 1024;

/// How much of a snapshot goes into one frame.
const SNAPSHOT_FRAME_BYTES: usize = 256 * 1024;

/// An open journal that takes frames.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: File,
    generation: u64,
    /// The number of the last frame.
    last: u64,
    end: u64,
    len: u64,
    /// What a snapshot of it would take.
    live_bytes: u64,
    /// The file is replaced when its end comes here.
    replace_at: u64,
}

impl JournalFile {
    /// Makes the first journal of a directory.
    pub(super) fn create(dir: &Dir) -> Result<Self, StoreError> {
        let draft = dir.draft(1);
        Self::write(&draft, 1, 0, &HashMap::new()).map_err(|e| failed("write", &draft, e))?;
        dir.write_format()?;
        Self::publish(dir, 1).map_err(|e| failed("write", &dir.journal(1), e))?;
        Self::open(dir, &read(dir, 1)?)
    }

    /// Opens a journal that was read and found sound, and clears the remains of an incomplete frame.
    pub(super) fn open(dir: &Dir, scan: &Scan) -> Result<Self, StoreError> {
        let path = dir.journal(scan.header.generation);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|e| failed("open", &path, e))?;
        let len = file.metadata().map_err(|e| failed("open", &path, e))?.len();
        let end = scan.end as u64;
        if let Some(torn_end) = scan.torn_end {
            let zeros = vec![0; torn_end - scan.end];
            let cleared = file.write_all_at(&zeros, end).and_then(|()| file.sync_data());
            cleared.map_err(|e| failed("write", &path, e))?;
        }
        let live_bytes = live_bytes(&scan.pairs);
        let replace_at = 2 * live_bytes + SLACK_BYTES;
        Ok(Self { file, generation: scan.header.generation, last: scan.last, end, len, live_bytes, replace_at })
    }

    /// Appends a frame; it is durable when this returns.
    pub(super) fn append(&mut self, frame: FrameWriter, live_bytes_change: i64) -> io::Result<()> {
        let bytes = frame.finish(self.last + 1);
        let end = self.end + bytes.len() as u64;
        self.grow(end)?;
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        self.last += 1;
        self.end = end;
        self.live_bytes = self.live_bytes.saturating_add_signed(live_bytes_change);
        Ok(())
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn wants_replacing(&self) -> bool {
        self.end >= self.replace_at
    }

    /// Replaces the file by a snapshot of it. An error means that the new file may or may not count, and that neither
    /// can be written to; where only the draft could not be written, the old file goes on and this is tried again later.
    pub(super) fn replace(&mut self, dir: &Dir) -> Result<(), StoreError> {
        let scan = read(dir, self.generation)?;
        let (next, draft) = (self.generation + 1, dir.draft(self.generation + 1));
        if Self::write(&draft, next, scan.last, &scan.pairs).is_err() {
            let _ = fs::remove_file(&draft);
            self.replace_at = self.end + SLACK_BYTES;
            return Ok(());
        }
        Self::publish(dir, next).map_err(|e| failed("write", &dir.journal(next), e))?;
        *self = Self::open(dir, &read(dir, next)?)?;
        dir.tidy(next)
    }

    /// Gives a draft its final name: from here on it counts.
    pub(super) fn publish(dir: &Dir, generation: u64) -> io::Result<()> {
        fs::rename(dir.draft(generation), dir.journal(generation))?;
        dir.sync()
    }

    /// Writes a whole file, durably.
    fn write(path: &Path, generation: u64, base: u64, pairs: &HashMap<Key, Arc<[u8]>>) -> io::Result<()> {
        let mut frames = Vec::new();
        let (mut number, mut frame) = (base, FrameWriter::new());
        for (key, value) in pairs {
            frame.push(key, Some(value));
            if frame.len() >= SNAPSHOT_FRAME_BYTES {
                number += 1;
                frames.extend(std::mem::replace(&mut frame, FrameWriter::new()).finish(number));
            }
        }
        if !frame.is_empty() {
            number += 1;
            frames.extend(frame.finish(number));
        }
        let header = FileHeader { generation, base, snapshot_frames: number - base };
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let mut bytes = frame::file_header(header).to_vec();
        bytes.extend(frames);
        let len = (bytes.len() as u64).next_multiple_of(CHUNK_BYTES_MIN);
        bytes.resize(usize::try_from(len).expect("it is in memory"), 0);
        file.write_all_at(&bytes, 0)?;
        file.sync_all()
    }

    /// Makes room up to `end`. The space is written with zeros and synced first, so that appending changes neither the
    /// file's length nor its map, and a crash cannot leave a length of its own.
    fn grow(&mut self, end: u64) -> io::Result<()> {
        if end <= self.len {
            return Ok(());
        }
        let len = end.max(self.len + self.len.min(CHUNK_BYTES_MAX)).next_multiple_of(CHUNK_BYTES_MIN);
        self.file.set_len(len)?;
        let zeros = vec![0; usize::try_from(len - self.len).expect("a few chunks and a transaction")];
        self.file.write_all_at(&zeros, self.len)?;
        self.file.sync_all()?;
        self.len = len;
        Ok(())
    }
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
    debug_assert!(scan.end >= FILE_HEADER_BYTES);
    Ok(scan)
}

fn live_bytes(pairs: &HashMap<Key, Arc<[u8]>>) -> u64 {
    pairs.iter().map(|(key, value)| pair_bytes(key, value)).sum()
}

/// What a pair takes in a snapshot.
pub(super) fn pair_bytes(key: &str, value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + PAIR_BYTES
}
