//! Copies the file tree of a root volume, which may be in use: its owner writes to it at the same time.
//!
//! Owners, modes, times, extended attributes, hard links, holes and the overlay's whiteouts are kept. Invariant: nothing
//! outside the tree is read or written whatever the instance does meanwhile, for every step is taken from an open
//! directory and follows no link. Sockets, and device nodes that are not whiteouts, are left out. What vanishes under
//! the copy is left out too: a snapshot is what a machine would find on its disk after a power cut.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat, readlinkat, statat,
    symlinkat, utimensat,
};
use rustix::io::Errno;

use super::sparse;

/// How deep a tree may be. Each level holds two descriptors.
const DEPTH_MAX: usize = 200;

/// The largest extended attribute, and the largest list of names, that Linux has.
const XATTR_BYTES_MAX: usize = 64 << 10;

/// Attributes by which an overlay finds its way back to the layer below; in a copy they would lie.
const OVERLAY_OWN: [&str; 4] = ["origin", "nlink", "uuid", "impure"];

/// Copies the tree `from` to `to`, which must not exist.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let source = directory(CWD, from.as_os_str().as_bytes())?;
    mkdirat(CWD, to, Mode::RWXU)?;
    let target = directory(CWD, to.as_os_str().as_bytes())?;
    let mut copier = Copier { root: target.try_clone()?, links: HashMap::new() };
    copier.tree(&source, &target, Path::new(""), 0)?;
    attributes(&source, &target, &fstat(&source)?)
}

struct Copier {
    /// The top of the copy.
    root: OwnedFd,
    /// Where the first name of each file with several is in the copy.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copier {
    fn tree(&mut self, from: &OwnedFd, to: &OwnedFd, at: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!("the directories are more than {DEPTH_MAX} deep")));
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match self.entry(from, to, name, at, depth) {
                // It vanished, or became something else, since it was listed.
                Err(error)
                    if matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::LOOP | Errno::NOTDIR)) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr, at: &Path, depth: usize) -> io::Result<()> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let path = at.join(OsStr::from_bytes(name.to_bytes()));
        let key = (stat.st_dev, stat.st_ino);
        let kind = FileType::from_raw_mode(stat.st_mode);
        let several = kind != FileType::Directory && stat.st_nlink > 1;
        if let Some(first) = self.links.get(&key).filter(|_| several) {
            return Ok(linkat(&self.root, first, to, name, AtFlags::empty())?);
        }
        match kind {
            FileType::Directory => {
                let source = directory(from.as_fd(), name.to_bytes())?;
                mkdirat(to, name, Mode::RWXU)?;
                let target = directory(to.as_fd(), name.to_bytes())?;
                self.tree(&source, &target, &path, depth + 1)?;
                attributes(&source, &target, &fstat(&source)?)?;
            }
            FileType::RegularFile => regular(from, to, name)?,
            FileType::Symlink => {
                symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                named_attributes(to, name, &stat)?;
            }
            FileType::Fifo => {
                mknodat(to, name, kind, mode(&stat), 0)?;
                named_attributes(to, name, &stat)?;
            }
            FileType::CharacterDevice if stat.st_rdev == 0 => {
                mknodat(to, name, kind, mode(&stat), 0)?;
                named_attributes(to, name, &stat)?;
            }
            _ => return Ok(()),
        }
        if several {
            self.links.insert(key, path);
        }
        Ok(())
    }
}

fn regular(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> io::Result<()> {
    // Not to wait should it have become a pipe since.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&source)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = File::from(openat(to, name, flags, Mode::RUSR | Mode::WUSR)?);
    let source = File::from(source);
    sparse::copy(&source, &target)?;
    attributes(&source, &target, &stat)
}

fn directory(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Gives an open file everything that is not its content. The owner comes first: changing it clears the others.
fn attributes(from: impl AsFd, to: impl AsFd, stat: &Stat) -> io::Result<()> {
    fchown(&to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
    fchmod(&to, mode(stat))?;
    extended(&from, &to)?;
    Ok(futimens(&to, &times(stat))?)
}

/// The same for what cannot be opened.
fn named_attributes(to: &OwnedFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn extended(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    let mut names = vec![0; XATTR_BYTES_MAX];
    let length = match flistxattr(&from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let overlay = [&b"trusted.overlay."[..], b"user.overlay."].iter().find_map(|prefix| name.strip_prefix(*prefix));
        if overlay.is_some_and(|own| OVERLAY_OWN.iter().any(|lie| lie.as_bytes() == own)) {
            continue;
        }
        let name = CString::new(name).expect("names were split at zeros");
        let mut value = vec![0; XATTR_BYTES_MAX];
        let length = match fgetxattr(&from, &name, &mut value[..]) {
            Ok(length) => length,
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        };
        fsetxattr(&to, &name, &value[..length], XattrFlags::empty())?;
    }
    Ok(())
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec as _),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec as _),
    }
}
