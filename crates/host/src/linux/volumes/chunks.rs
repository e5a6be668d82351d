//! Snapshots of files as pieces that are kept once, whatever file or snapshot they are in.
//!
//! A piece is named by the SHA-256 of its content, so a second snapshot of a volume adds only what was written since,
//! and the removal of one harms no other. Zeros are not kept.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::sparse;
use super::store::{Chunks, Store};

pub const CHUNK_BYTES: u64 = 512 << 10;

/// Keeps the content of the file, as it is while nobody writes to it.
pub fn keep(store: &Store, path: &Path) -> io::Result<Chunks> {
    let file = File::open(path)?;
    let size_bytes = file.metadata()?.len();
    let mut chunks = BTreeMap::new();
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    let mut next = 0;
    while let Some((start, end)) = sparse::next_data(&file, next * CHUNK_BYTES)? {
        next = next.max(start / CHUNK_BYTES);
        while next * CHUNK_BYTES < end {
            let at = next * CHUNK_BYTES;
            let piece = &mut buffer[..CHUNK_BYTES.min(size_bytes - at) as usize];
            file.read_exact_at(piece, at)?;
            if piece.iter().any(|byte| *byte != 0) {
                chunks.insert(next, put(store, piece)?);
            }
            next += 1;
        }
    }
    Ok(Chunks { size_bytes, chunks })
}

/// Writes what was kept into a new file, which becomes as large as it was.
pub fn restore(store: &Store, chunks: &Chunks, path: &Path) -> io::Result<()> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(chunks.size_bytes)?;
    for (number, hash) in &chunks.chunks {
        let piece = File::open(store.chunk(hash))?;
        sparse::copy_range(&piece, 0, &file, number * CHUNK_BYTES, piece.metadata()?.len())?;
    }
    file.sync_all()
}

fn put(store: &Store, piece: &[u8]) -> io::Result<String> {
    let hash = hex::encode(Sha256::digest(piece));
    let path = store.chunk(&hash);
    if !path.exists() {
        let shelf = path.parent().expect("a piece is on a shelf");
        fs::create_dir_all(shelf)?;
        // Under another name until it is whole; a piece left there is garbage.
        let part = tempfile_in(shelf, &hash);
        fs::write(&part, piece)?;
        fs::rename(part, path)?;
    }
    Ok(hash)
}

/// A name that no other thread writes to.
fn tempfile_in(shelf: &Path, hash: &str) -> std::path::PathBuf {
    shelf.join(format!("{hash}.{:?}.part", std::thread::current().id()))
}
