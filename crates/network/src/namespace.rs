//! Network namespaces without names: each is held by a descriptor and gone with the last one.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// The namespace of the calling thread.
pub fn own() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A new, empty namespace.
pub fn new() -> io::Result<OwnedFd> {
    // A thread of its own, so that no other code ever runs in the wrong namespace.
    let made = std::thread::spawn(|| {
        #[allow(unsafe_code)]
        // SAFETY: only the network namespace of this thread changes; no descriptor and no memory is concerned.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
        own()
    });
    made.join().map_err(|_| io::Error::other("the thread that makes a namespace panicked"))?
}

/// Runs something in a namespace: sockets opened there belong to it, `/proc/sys/net` is its own.
///
/// # Panics
/// Ends the process when the thread cannot come back: whatever ran on it next would act on the wrong network.
pub fn in_namespace<T>(namespace: BorrowedFd, run: impl FnOnce() -> T) -> io::Result<T> {
    let home = own()?;
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    let back = Back(home);
    let result = run();
    drop(back);
    Ok(result)
}

/// Brings the thread back also when what ran panicked.
struct Back(OwnedFd);

impl Drop for Back {
    fn drop(&mut self) {
        use std::os::fd::AsFd;
        if move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).is_err() {
            std::process::abort();
        }
    }
}

/// Sets a kernel parameter below `/proc/sys/net` of the current namespace: `ipv4/ip_forward`.
pub fn set(parameter: &str, value: &str) -> io::Result<()> {
    let path = PathBuf::from("/proc/sys/net").join(parameter);
    std::fs::write(&path, value).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
