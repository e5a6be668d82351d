//! Launches an instance: makes its root file system and its namespaces, and leaves its first process in them.
//!
//! A process of this same program, with one thread, started for one boot. It stays as the parent of the instance's init
//! and ends with it, so the driver sees the one end in the other's. When it is killed the kernel kills the init, and with
//! the init everything in the instance.
//!
//! Invariant: nothing of the machine's file system is written through a name that an instance could have made.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, waitpid};
use rustix::thread::{CpuSet, UnshareFlags, sched_getaffinity, sched_setaffinity, unshare_unsafe};
use serde::{Deserialize, Serialize};

use super::{ids, init, root};
use crate::driver::machine::is_full;
use crate::driver::{init as common, protocol};

/// The argument that makes a program a launcher; it must be the first.
pub const LAUNCH_ARGUMENT: &str = "__machine-launch";

/// Where a process says how readily it is killed when memory runs out, and that it never is.
pub const SACRIFICE: &str = "/proc/self/oom_score_adj";
pub const NEVER: i32 = -1000;

/// What is to be launched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Where the root file system is put together; only this process and its instance see it there.
    pub mount_point: PathBuf,
    /// The instance's directory, which its init alone can reach.
    pub directory: PathBuf,
    pub upper: PathBuf,
    pub work: PathBuf,
    /// Below the upper directory, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// Whether they are all that lies below.
    pub whole: bool,
    /// Directories of the machine over its own system directories.
    pub image_layers: Vec<PathBuf>,
    /// What is hidden of the system directories and what stands in its place.
    pub base: PathBuf,
    /// The system directories, relative to the root.
    pub system: Vec<String>,
    /// A user namespace with the instances' ids, for mounts.
    pub user_namespace: PathBuf,
    /// Names under which this program is found inside.
    pub programs: Vec<String>,
    pub vcpus: u32,
    pub memory_mib: u64,
    pub hostname: String,
    /// Written inside before it boots.
    pub files: Vec<Text>,
}

/// A file of an instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Text {
    pub path: String,
    pub text: String,
    pub mode: u32,
    /// Its owner and group, and that of the directories that are made for it.
    pub owner: u32,
    /// Otherwise only before the first.
    pub every_boot: bool,
}

/// What the launcher says to the driver.
#[derive(Debug, Serialize, Deserialize)]
pub enum Launched {
    /// The namespaces are there; the process is the init, which waits for what to boot.
    Made { pid: i32 },
    Failed {
        text: String,
        /// The machine has too little left of something.
        full: bool,
    },
}

/// The exit code of a launcher, when this process is one; the instance was up for as long as that took.
pub fn run_if_asked() -> Option<i32> {
    std::env::args_os().nth(1).is_some_and(|argument| argument == LAUNCH_ARGUMENT).then(|| match launch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("[standfast] the launch failed: {error}");
            1
        }
    })
}

fn launch() -> io::Result<i32> {
    common::close_inherited();
    let _ = rustix::process::setsid();
    // For the init too, which inherits it. It takes a right that root in a container often lacks.
    let _ = std::fs::write(SACRIFICE, NEVER.to_string());
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let plan = read_plan(&mut control)?;
    match make(&plan) {
        Ok(init) => {
            say(&mut control, &Launched::Made { pid: init.as_raw_nonzero().get() })?;
            drop(control);
            // From here on the init alone holds the line, so that its end is the end of the stream.
            rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
            attend(init)
        }
        Err(error) => {
            let _ = say(&mut control, &Launched::Failed { text: error.to_string(), full: is_full(&error) });
            Err(error)
        }
    }
}

fn read_plan(control: &mut UnixStream) -> io::Result<Plan> {
    let mut inbox = Vec::new();
    loop {
        if let Some(plan) = protocol::take(&mut inbox)? {
            return Ok(plan);
        }
        let mut chunk = [0; 4096];
        match control.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => inbox.extend_from_slice(&chunk[..n]),
        }
    }
}

fn say(control: &mut UnixStream, message: &Launched) -> io::Result<()> {
    control.write_all(&protocol::line(message))
}

/// Makes the instance; its init waits for what to boot.
fn make(plan: &Plan) -> io::Result<Pid> {
    // Of the mounts that this program was started from, which cannot be bound any more once they are not its own.
    let own = root::own_program()?;
    // SAFETY: this process has one thread, which is to have mounts of its own from here on.
    #[allow(unsafe_code)]
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    root::build(plan, &own)?;
    affinity(plan);
    // Where the init finds its root: in its own mount namespace the same directory is its working directory too.
    rustix::process::chdir(&plan.mount_point)?;
    let directory = root::open_directory(&plan.directory)?;
    let (mut mapped, says_mapped) = io::pipe()?;
    let (mut ready, says_ready) = io::pipe()?;
    let flags = libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWCGROUP
        | libc::SIGCHLD;
    // SAFETY: without a stack and without shared memory this is fork, in a process that has one thread.
    #[allow(unsafe_code)]
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child == 0 {
        drop((says_mapped, ready));
        let mut byte = [0];
        let code = match mapped.read_exact(&mut byte).and_then(|()| init::run(plan, directory, says_ready)) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("[standfast] the instance's init failed: {error}");
                1
            }
        };
        std::process::exit(code);
    }
    let child = Pid::from_raw(child as i32).filter(|_| child > 0).ok_or_else(io::Error::last_os_error)?;
    drop((mapped, says_ready));
    let own = format!("/proc/{}", child.as_raw_nonzero());
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("{own}/{map}"), format!("0 {} {}\n", ids::SHIFT, ids::COUNT))?;
    }
    { says_mapped }.write_all(&[1])?;
    let mut byte = [0];
    match ready.read_exact(&mut byte) {
        Ok(()) => Ok(child),
        Err(_) => {
            let _ = waitpid(Some(child), WaitOptions::empty());
            Err(io::Error::other("its init did not come up; its console says why"))
        }
    }
}

/// As many of the machine's processors as the instance has. A failure leaves it all of them, within its quota.
fn affinity(plan: &Plan) {
    let Ok(all) = sched_getaffinity(None) else { return };
    let mine: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|n| all.is_set(*n)).collect();
    let wanted = plan.vcpus.max(1) as usize;
    if wanted >= mine.len() {
        return;
    }
    let first = plan.hostname.bytes().map(usize::from).sum::<usize>();
    let mut set = CpuSet::new();
    (0..wanted).for_each(|n| set.set(mine[(first + n) % mine.len()]));
    let _ = sched_setaffinity(None, &set);
}

/// Waits for the init and ends as it ended.
fn attend(init: Pid) -> io::Result<i32> {
    loop {
        match waitpid(Some(init), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(Some((_, status))) => return Ok(end(status)),
            Ok(None) => {}
        }
    }
}

fn end(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        // The kernel's words for reboot(2) inside: what was asked for shows as these signals.
        (None, Some(libc::SIGHUP)) => init::REBOOTED,
        (None, Some(libc::SIGINT)) => init::SWITCHED_OFF,
        (None, Some(libc::SIGKILL)) => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
            1
        }
        (None, signal) => 128 + signal.unwrap_or(0),
    }
}

/// A C string of a path of ours.
pub fn c_string(text: &str) -> io::Result<CString> {
    Ok(CString::new(text)?)
}

/// The name of an open file that the kernel finds it by.
pub fn by_descriptor(fd: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}
