//! An instance's directory: its disk, its console, and what the driver remembers of it.
//!
//! ```text
//! instances/i-0123456789abcdef0/
//!   root/            working directory and HOME of its processes; survives boots
//!   user-data        as it was given, mode 700
//!   console.log      newest output; console.log.old holds what was there before it grew too large
//!   initialized      there once its user data was started, which is never done again
//!   instance.json    the address and the newest boot
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use standfast_core::host::InstanceSpec;

use crate::CONSOLE_BYTES_MAX;

/// A console log that grows beyond this becomes the old one; together they stay under 1 MiB.
pub(crate) const CONSOLE_FILE_BYTES_MAX: u64 = 512 * 1024;

pub(crate) const CONSOLE: &str = "console.log";
pub(crate) const CONSOLE_OLD: &str = "console.log.old";
pub(crate) const ROOT: &str = "root";
pub(crate) const INITIALIZED: &str = "initialized";
pub(crate) const USER_DATA: &str = "user-data";
const RECORD: &str = "instance.json";
const RECORD_NEW: &str = "instance.json.new";

/// What a driver that is started again needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub address: Ipv4Addr,
    pub boot: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The working directory and HOME of its processes.
    pub fn root(&self) -> PathBuf {
        self.0.join(ROOT)
    }

    pub fn console_path(&self) -> PathBuf {
        self.0.join(CONSOLE)
    }

    /// Makes what is missing of it and notes the boot that is about to begin.
    pub fn prepare(&self, spec: &InstanceSpec, address: Ipv4Addr, boot: u64) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(self.0.join(ROOT))?;
        let path = self.0.join(USER_DATA);
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o700).open(path)?;
        file.write_all(&spec.user_data)?;
        self.note(Record { address, boot })
    }

    /// Notes a boot that was refused, so that its number is used up also for a cloud that is started again.
    pub fn refuse(&self, address: Ipv4Addr, boot: u64) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        self.note(Record { address, boot })
    }

    /// What was noted last; `None` for a directory that is new or cannot be read.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.0.join(RECORD)).ok()?).ok()
    }

    fn note(&self, record: Record) -> io::Result<()> {
        let new = self.0.join(RECORD_NEW);
        fs::write(&new, serde_json::to_vec(&record)?)?;
        fs::rename(new, self.0.join(RECORD))
    }

    /// The newest console output.
    pub fn console(&self) -> Vec<u8> {
        let newest = tail(&self.0.join(CONSOLE), CONSOLE_BYTES_MAX);
        let mut all = tail(&self.0.join(CONSOLE_OLD), CONSOLE_BYTES_MAX - newest.len());
        all.extend(newest);
        all
    }

    /// Removes it. One that is not there is removed already.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The last `max` bytes of a file; nothing when it cannot be read.
fn tail(path: &Path, max: usize) -> Vec<u8> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(max as u64)))?;
        let mut bytes = Vec::new();
        file.take(max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}
