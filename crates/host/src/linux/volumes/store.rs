//! Where volumes and snapshots are on disk, and what is there.
//!
//! | path under the state directory | |
//! |---|---|
//! | `volumes/vol-X/record.json` | what the volume is; without it the volume is half-made and is made again |
//! | `volumes/vol-X/tree`, `work` | a root volume: the upper directory of its overlay, and the overlay's own directory |
//! | `volumes/vol-X/data` | another volume: a sparse file with a file system |
//! | `snapshots/snap-X.json` | what a snapshot is; without it the snapshot is made again |
//! | `layers/snap-X` | the file tree that a snapshot of a root volume, or an import, added to those below it |
//! | `chunks/ab/abcd...` | pieces of other volumes' snapshots, by their content |
//!
//! Invariant: a record is written last and removed first, so what it refers to is whole. Layers and chunks have no owner:
//! one that no record refers to is garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use standfast_core::id::{self, Id};

/// The directory of volumes in a state directory.
pub const VOLUMES: &str = "volumes";

/// What a volume on disk is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum VolumeRecord {
    Root(Layers),
    Data,
}

/// What a snapshot on disk is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SnapshotRecord {
    Root(Layers),
    Data(Chunks),
}

/// File trees over one another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layers {
    /// Names in `layers/`, the uppermost first.
    pub names: Vec<String>,
    /// Whether they are a whole root file system, so that the base image does not lie below them.
    pub whole: bool,
}

/// The content of a file: its pieces by their number, those that are not zeros.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunks {
    pub size_bytes: u64,
    pub chunks: BTreeMap<u64, String>,
}

pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the directories, removes what is half-made, and reads the records.
    pub fn open(state: &Path) -> io::Result<Self> {
        for name in [VOLUMES, "snapshots", "layers", "chunks"] {
            fs::create_dir_all(state.join(name))?;
            // What instances write is nobody else's.
            fs::set_permissions(state.join(name), fs::Permissions::from_mode(0o700))?;
        }
        // Kernel interfaces show files of loop devices by their real paths.
        let store = Self { root: state.canonicalize()? };
        for entry in fs::read_dir(store.root.join(VOLUMES))? {
            let path = entry?.path();
            let record = path.join("record.json").metadata();
            if record.map_or(0, |record| record.len()) == 0 {
                fs::remove_dir_all(path)?;
            }
        }
        for entry in fs::read_dir(store.root.join("snapshots"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                fs::remove_file(path)?;
            }
        }
        Ok(store)
    }

    pub fn volumes(&self) -> io::Result<BTreeMap<Id<id::Volume>, VolumeRecord>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.root.join(VOLUMES))? {
            let entry = entry?;
            let name = entry.file_name();
            found.insert(Id::from_text(&name.to_string_lossy()), read(&entry.path().join("record.json"))?);
        }
        Ok(found)
    }

    pub fn snapshots(&self) -> io::Result<BTreeMap<Id<id::Snapshot>, SnapshotRecord>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.root.join("snapshots"))? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            found.insert(Id::from_text(&name), read(&path)?);
        }
        Ok(found)
    }

    pub fn volume(&self, id: &Id<id::Volume>) -> PathBuf {
        self.root.join(VOLUMES).join(id.as_str())
    }

    pub fn data(&self, id: &Id<id::Volume>) -> PathBuf {
        self.volume(id).join("data")
    }

    pub fn layer(&self, name: &str) -> PathBuf {
        self.root.join("layers").join(name)
    }

    pub fn chunk(&self, hash: &str) -> PathBuf {
        self.root.join("chunks").join(&hash[..2]).join(hash)
    }

    /// Root volumes are not synced, for a start of an instance waits for them: after a power cut of the machine one that
    /// was made in the last seconds has an empty record, and is made again.
    pub fn write_volume(&self, id: &Id<id::Volume>, record: &VolumeRecord) -> io::Result<()> {
        write(&self.volume(id).join("record.json"), record, matches!(record, VolumeRecord::Data))
    }

    /// What the record refers to is on the disk before it is.
    pub fn write_snapshot(&self, id: &Id<id::Snapshot>, record: &SnapshotRecord) -> io::Result<()> {
        rustix::fs::syncfs(fs::File::open(&self.root)?)?;
        write(&self.snapshot(id), record, true)
    }

    pub fn remove_volume(&self, id: &Id<id::Volume>) -> io::Result<()> {
        gone(fs::remove_file(self.volume(id).join("record.json")))?;
        gone(fs::remove_dir_all(self.volume(id)))
    }

    pub fn remove_snapshot(&self, id: &Id<id::Snapshot>) -> io::Result<()> {
        gone(fs::remove_file(self.snapshot(id)))
    }

    /// Removes layers and chunks other than these.
    pub fn collect(&self, layers: &BTreeSet<String>, chunks: &BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("layers"))? {
            let entry = entry?;
            if !layers.contains(&*entry.file_name().to_string_lossy()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        for shelf in fs::read_dir(self.root.join("chunks"))? {
            for entry in fs::read_dir(shelf?.path())? {
                let entry = entry?;
                if !chunks.contains(&*entry.file_name().to_string_lossy()) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn snapshot(&self, id: &Id<id::Snapshot>) -> PathBuf {
        self.root.join("snapshots").join(format!("{id}.json"))
    }
}

/// The outcome of a removal, for which it is good that there was nothing.
pub fn gone(removal: io::Result<()>) -> io::Result<()> {
    match removal {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

/// Writes a record whole or not at all.
fn write<T: Serialize>(path: &Path, record: &T, sync: bool) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::File::create(&part)?;
    file.write_all(&serde_json::to_vec(record).map_err(io::Error::other)?)?;
    if sync {
        file.sync_all()?;
    }
    fs::rename(part, path)
}
