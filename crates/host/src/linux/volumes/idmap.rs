//! Mounts on which the ids of an instance are its own: owner 0 on disk is the instance's root.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::linux::ids;

/// A user namespace with the ids of instances and nothing in it, as the kernel wants for an idmapped mount.
pub fn user_namespace() -> io::Result<OwnedFd> {
    let (ready, says_ready) = pipe_with(PipeFlags::CLOEXEC)?;
    // SAFETY: the child makes only system calls on what exists already, which is allowed in a child of a process with
    // threads, and runs nothing else of this process. It ends by a signal: when this thread gives it one, or ends.
    #[allow(unsafe_code)]
    let child = unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let byte = u8::from(libc::unshare(libc::CLONE_NEWUSER) == 0);
            libc::write(says_ready.as_raw_fd(), (&raw const byte).cast(), 1);
            loop {
                libc::pause();
            }
        }
        child
    };
    let Some(child) = (child > 0).then(|| Pid::from_raw(child)).flatten() else {
        return Err(io::Error::last_os_error());
    };
    let namespace = mapped(child, File::from(ready));
    kill_process(child, Signal::KILL)?;
    waitpid(Some(child), WaitOptions::empty())?;
    namespace
}

fn mapped(child: Pid, mut ready: File) -> io::Result<OwnedFd> {
    let mut byte = [0];
    ready.read_exact(&mut byte)?;
    if byte != [1] {
        return Err(io::Error::other("user namespaces are not allowed here"));
    }
    let own = format!("/proc/{}", child.as_raw_nonzero());
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("{own}/{map}"), format!("0 {} {}\n", ids::SHIFT, ids::COUNT))?;
    }
    Ok(File::open(format!("{own}/ns/user"))?.into())
}

/// Maps the ids of a mount that is not attached anywhere yet.
pub fn map(mount: &OwnedFd, user_namespace: &OwnedFd) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: user_namespace.as_raw_fd() as u64,
    };
    // SAFETY: the descriptors are open, the path is a string, and the size is that of the attributes, which the kernel
    // only reads.
    #[allow(unsafe_code)]
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
