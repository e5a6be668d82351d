//! Copies files without filling their holes, and without copying where the file system can share blocks.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::{SeekFrom, copy_file_range, ioctl_ficlone, seek};
use rustix::io::Errno;

/// The most that is copied with one call.
const STEP_BYTES: usize = 8 << 20;

/// The buffer where the kernel cannot copy.
const BUFFER_BYTES: usize = 128 << 10;

/// Makes `to`, which is empty, equal to `from`. A file that shrinks meanwhile is copied as far as it goes.
pub fn copy(from: &File, to: &File) -> io::Result<()> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let size = from.metadata()?.len();
    to.set_len(size)?;
    let mut at = 0;
    while let Some((start, end)) = next_data(from, at)? {
        copy_range(from, start, to, start, end.min(size).saturating_sub(start))?;
        at = end;
    }
    Ok(())
}

/// The first stretch of data at or after `at`.
pub fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((start, seek(file, SeekFrom::Hole(start))?)))
}

pub fn copy_range(from: &File, mut source: u64, to: &File, mut target: u64, length: u64) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let step = left.min(STEP_BYTES as u64) as usize;
        let (mut off_in, mut off_out) = (source, target);
        match copy_file_range(from.as_fd(), Some(&mut off_in), to.as_fd(), Some(&mut off_out), step) {
            Ok(0) => return Ok(()),
            Ok(copied) => {
                source += copied as u64;
                target += copied as u64;
                left -= copied as u64;
            }
            Err(Errno::INTR) => {}
            // Across file systems, or on those that have no such call.
            Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(from, source, to, target, left);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &File, mut source: u64, to: &File, mut target: u64, mut left: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    while left > 0 {
        let step = left.min(BUFFER_BYTES as u64) as usize;
        let read = from.read_at(&mut buffer[..step], source)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all_at(&buffer[..read], target)?;
        source += read as u64;
        target += read as u64;
        left -= read as u64;
    }
    Ok(())
}
