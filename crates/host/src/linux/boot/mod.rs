//! What an instance does when it boots: a program of its own, started by its init inside.
//!
//! At the first boot it does what the user data says, at later ones it runs what the instance has for every boot. It is
//! the instance's root and knows nothing of the machine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::init::USER_DATA_INSIDE;
use crate::driver::init::script;

/// The argument that makes a program do this; it must be the first.
const BOOT_ARGUMENT: &str = "__machine-boot";
const FIRST: &str = "first";
/// What an instance wants run at every boot but the first: the first that it has. Scripts of user data are started in `/`,
/// so what they write to `rc.local` is the second.
const HOOKS: [&str; 2] = ["/etc/rc.local", "/rc.local"];
const PER_BOOT: &str = "/var/lib/cloud/scripts/per-boot";

/// What the init starts.
pub fn command(first: bool) -> Vec<(&'static str, Command)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("standfast-boot").arg(BOOT_ARGUMENT).args(first.then_some(FIRST));
    vec![(if first { "user data" } else { "boot scripts" }, command)]
}

pub fn run_if_asked() -> Option<i32> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == BOOT_ARGUMENT).then(|| match arguments.next().is_some_and(|word| word == FIRST) {
        true => first(),
        false => later(),
    })
}

fn first() -> i32 {
    let Some(mut command) = script(Path::new(USER_DATA_INSIDE)) else { return 0 };
    replaced(&mut command)
}

/// Becomes the command; this process is not needed any more.
fn replaced(command: &mut Command) -> i32 {
    let error = command.exec();
    eprintln!("[standfast] it could not be started: {error}");
    if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 }
}

fn later() -> i32 {
    let mut scripts: Vec<_> = std::fs::read_dir(PER_BOOT).into_iter().flatten().flatten().map(|e| e.path()).collect();
    scripts.sort();
    for script in scripts.iter().filter(|path| is_executable(path)) {
        match Command::new(script).status() {
            Ok(status) if status.success() => {}
            Ok(status) => println!("[standfast] {}: {status}", script.display()),
            Err(error) => println!("[standfast] {}: {error}", script.display()),
        }
    }
    match HOOKS.iter().map(Path::new).find(|path| is_executable(path)) {
        Some(hook) => replaced(&mut Command::new(hook)),
        None => 0,
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
