//! Puts mounts into the mount namespace of a running instance, and takes them away.
//!
//! Done on a thread of its own that enters the namespace and ends there. What the instance's root may have made of
//! `/mnt` in the meantime is resolved within that namespace and never through a link.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::fchdir;
use rustix::thread::{ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe};

use crate::linux::ids;

/// Where volumes are in an instance, by the last part of their device's name: `/dev/sdf` is `/mnt/sdf`.
pub const MOUNTS: &str = "/mnt";

const DEVICE_NAME_BYTES_MAX: usize = 32;

/// The last part of a device's name, when it can be a directory.
pub fn short_name(device_name: &str) -> Option<&str> {
    let short = device_name.rsplit('/').next().unwrap_or_default();
    let plain = short.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (plain && (1..=DEVICE_NAME_BYTES_MAX).contains(&short.len())).then_some(short)
}

/// Attaches `mount` at `/mnt/NAME` of the instance whose init is `init` (a pidfd). The directory is made.
pub fn attach(init: BorrowedFd<'_>, mount: &OwnedFd, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    inside(init, move || {
        let mounts = mounts()?;
        match mkdirat(&mounts, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(&mounts, &name, flags, Mode::empty())?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(mount, c"", &target, c"", flags)?)
    })
}

/// Takes what is mounted at `/mnt/NAME` away. Files of it that are open stay usable until they are closed.
pub fn detach(init: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let outcome = inside(init, move || {
        fchdir(mounts()?)?;
        match unmount(&name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // The instance has taken it away itself.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    });
    match outcome {
        // The instance is gone, and its mounts with it.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(()),
        other => other,
    }
}

/// `/mnt` of the namespace that the thread is in.
fn mounts() -> io::Result<OwnedFd> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(CWD, MOUNTS, flags, Mode::empty(), resolve)
    };
    match open() {
        Err(Errno::NOENT) => {
            mkdirat(CWD, MOUNTS, Mode::from_raw_mode(0o755))?;
            Ok(open()?)
        }
        other => Ok(other?),
    }
}

/// Runs `f` on a thread in the mount namespace of a process.
fn inside<T: Send>(init: BorrowedFd<'_>, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mount-namespace".into()).spawn_scoped(scope, || {
            // SAFETY: only the thread's own root and working directory are unshared, not its descriptors.
            #[allow(unsafe_code)]
            unsafe { unshare_unsafe(UnshareFlags::FS) }?;
            move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::MOUNT)?;
            // Files that are made in the instance's root file system belong to its root: the machine's own root has no
            // id in there.
            // SAFETY: the calls change only the ids by which this thread, which ends soon, makes files.
            #[allow(unsafe_code)]
            unsafe {
                libc::syscall(libc::SYS_setfsgid, ids::SHIFT);
                libc::syscall(libc::SYS_setfsuid, ids::SHIFT);
            }
            f()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the instance panicked")))
    })
}
