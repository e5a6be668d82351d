//! The init of the process driver's instances: the leader of a session and the subreaper of its tree.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::driver::directory::{ROOT, USER_DATA};
use crate::driver::init::{self, Ground};
use crate::driver::procs;

/// The argument that makes a program an init; it must be the first.
pub const INIT_ARGUMENT: &str = "__instance-init";

/// What the instance itself wants started at every boot but the first, in its working directory.
const BOOT_HOOK: &str = "rc.local";

/// The exit code of an init, when this process is one; it was one for as long as its instance was up.
pub(crate) fn run_if_asked() -> Option<i32> {
    std::env::args_os().nth(1).is_some_and(|argument| argument == INIT_ARGUMENT).then(|| match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("standfast: instance init: {error}");
            1
        }
    })
}

fn run() -> io::Result<i32> {
    init::close_inherited();
    // Fails only for a leader of a process group, which a process that was just started is not.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    {
        // What holds the tree together: an orphan becomes our child and not the machine's.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let _ = rustix::thread::set_name(c"instance-init");
    }
    init::run(Box::new(Tree))
}

/// A tree of bare processes.
struct Tree;

impl Ground for Tree {
    fn working_directory(&self, directory: &Path) -> PathBuf {
        directory.join(ROOT)
    }

    fn greeting(&self, boot: u64) -> String {
        let address = std::env::var("STANDFAST_ADDRESS").unwrap_or_default();
        format!("boot {boot}, address {address}")
    }

    fn programs(&mut self, directory: &Path, first: bool) -> io::Result<Vec<(&'static str, Command)>> {
        if first {
            return Ok(init::script(&directory.join(USER_DATA))
                .map(|command| ("user data", command))
                .into_iter()
                .collect());
        }
        let hook = directory.join(ROOT).join(BOOT_HOOK);
        Ok(hook.is_file().then(|| (BOOT_HOOK, Command::new(hook))).into_iter().collect())
    }

    fn signal_all(&self, signal: Signal) {
        for process in procs::descendants(rustix::process::getpid(), &procs::all()) {
            let _ = rustix::process::kill_process(process.pid, signal);
        }
    }
}
