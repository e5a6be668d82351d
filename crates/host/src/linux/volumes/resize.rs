//! Makes the file system of a data volume as large as its file.
//!
//! In use by the kernel's own call, for which it wants CAP_SYS_RESOURCE; containers often lack that. There, `resize2fs`
//! does it before the next attachment, and a volume that is made larger while it is attached keeps its old size until
//! then.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::thread::{CapabilitySet, capabilities};

/// Where the programs for file systems may be.
const PROGRAM_DIRS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// Where the superblock is, and what is where in it: the count of blocks in two halves, and the power of two of KiB that
/// is their size.
const SUPERBLOCK_AT: u64 = 1024;
const SUPERBLOCK_BYTES: usize = 1024;
const BLOCKS_LOW: usize = 4;
const BLOCKS_HIGH: usize = 0x150;
const BLOCK_SIZE: usize = 24;

pub fn can_be_done_in_use() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_RESOURCE))
}

/// Whether there is room for another block after the file system of `size_bytes` of the file.
pub fn is_due(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut superblock = [0; SUPERBLOCK_BYTES];
    file.read_exact_at(&mut superblock, SUPERBLOCK_AT)?;
    let word = |at: usize| u64::from(u32::from_le_bytes(superblock[at..at + 4].try_into().expect("four bytes")));
    let block_bytes = 1024u64.checked_shl(word(BLOCK_SIZE) as u32).unwrap_or_default().max(1024);
    let blocks = word(BLOCKS_LOW) | word(BLOCKS_HIGH) << 32;
    Ok(file.metadata()?.len() / block_bytes > blocks)
}

/// Does it for a file that nothing uses.
pub fn offline(path: &Path) -> io::Result<()> {
    // Replays the journal, and is what the other asks for. 1 says that it found something to correct, and did.
    run("e2fsck", &["-f", "-p"], path, 1)?;
    run("resize2fs", &[], path, 0)
}

pub fn find(program: &str) -> io::Result<PathBuf> {
    let found = PROGRAM_DIRS.iter().map(|dir| Path::new(dir).join(program)).find(|path| path.is_file());
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{program} is not on this machine")))
}

/// Runs a program on a file; exit codes up to `code_max` are good.
pub fn run(program: &str, arguments: &[&str], path: &Path, code_max: i32) -> io::Result<()> {
    let mut command = Command::new(find(program)?);
    let output = command.args(arguments).arg(path).env_clear().stdin(Stdio::null()).output()?;
    if output.status.code().is_some_and(|code| code <= code_max) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}", text.trim().lines().next_back().unwrap_or_default())))
}
