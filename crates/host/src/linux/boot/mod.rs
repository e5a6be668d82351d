//! What an instance does when it boots: a program of its own, started by its init inside.
//!
//! At the first boot it does what the user data says, at later ones it runs what the instance has for every boot. It is
//! the instance's root and knows nothing of the machine.

mod cloud_config;
mod parts;
mod yaml;

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::init::USER_DATA_INSIDE;
use crate::driver::init::script;
use parts::Part;

/// The argument that makes a program do this; it must be the first.
const BOOT_ARGUMENT: &str = "__machine-boot";
const FIRST: &str = "first";
const SSHD: &str = "/usr/sbin/sshd";
/// What an instance wants run at every boot but the first: the first that it has. Scripts of user data are started in `/`,
/// so what they write to `rc.local` is the second.
const HOOKS: [&str; 2] = ["/etc/rc.local", "/rc.local"];
/// Where what the user data consists of is kept, and where a script is found that is run again at every boot.
const SCRIPTS: &str = "/var/lib/cloud/instance/scripts";
const FINISHED: &str = "/var/lib/cloud/instance/boot-finished";
const PER_BOOT: &str = "/var/lib/cloud/scripts/per-boot";

/// What the init starts.
pub fn command(first: bool) -> Vec<(&'static str, Command)> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("standfast-boot").arg(BOOT_ARGUMENT).args(first.then_some(FIRST));
    let mut all = vec![(if first { "user data" } else { "boot scripts" }, command)];
    if Path::new(SSHD).exists() {
        let mut sshd = Command::new("/bin/sh");
        sshd.args(["-c", &sshd_script()]);
        all.push(("sshd", sshd));
    }
    all
}

/// Host keys are made at the first boot, as they would be the machine's otherwise. PAM is for logins on a whole machine.
fn sshd_script() -> String {
    format!(
        "mkdir -p /run/sshd /var/empty; \
         key=/etc/ssh/ssh_host_ed25519_key; \
         [ -f $key ] || ssh-keygen -q -t ed25519 -N '' -f $key; \
         exec {SSHD} -D -e -h $key -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o UsePAM=no \
         -o \"SetEnv=$(tr '\\n' ' ' < /etc/environment)\" -o PermitRootLogin=prohibit-password -o LogLevel=ERROR"
    )
}

pub fn run_if_asked() -> Option<i32> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == BOOT_ARGUMENT).then(|| match arguments.next().is_some_and(|word| word == FIRST) {
        true => first(),
        false => later(),
    })
}

/// In cloud-init's order: hooks, configurations, scripts, and last what configurations want run. The last of them takes this
/// process's place, so that an instance that only has a script has nothing else.
fn first() -> i32 {
    let data = match fs::read(USER_DATA_INSIDE) {
        Ok(data) => data,
        Err(error) => {
            say(&format!("no user data: {error}"));
            return 1;
        }
    };
    let (mut scripts, mut commands) = (Vec::new(), Vec::new());
    for part in parts::parts(&data) {
        match part {
            Part::Script(text) => scripts.push(text),
            Part::CloudConfig(text) => commands.extend(cloud_config::apply(&text)),
            Part::PerBoot(name, text) => {
                let path = Path::new(PER_BOOT).join(name);
                report(make_script(&path, &text).and_then(|()| run(&path)));
            }
            Part::Unknown(kind) => say(&format!("user data of this kind is not supported: {kind}")),
        }
    }
    scripts.extend(commands.into_iter().map(String::into_bytes));
    let mut paths = Vec::new();
    for (n, text) in scripts.iter().enumerate() {
        let path = Path::new(SCRIPTS).join(format!("part-{:03}", n + 1));
        match make_script(&path, text) {
            Ok(()) => paths.push(path),
            Err(error) => say(&format!("{}: {error}", path.display())),
        }
    }
    let Some((last, others)) = paths.split_last() else { return finish() };
    for path in others {
        report(run(path));
    }
    finish();
    match script(last) {
        Some(mut command) => replaced(&mut command),
        None => 0,
    }
}

fn finish() -> i32 {
    report(fs::write(FINISHED, ""));
    0
}

/// A line of the console.
fn say(text: &str) {
    println!("[standfast] {text}");
}

fn report(outcome: io::Result<()>) {
    if let Err(error) = outcome {
        say(&error.to_string());
    }
}

/// Writes an executable file, with its directory.
fn make_script(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let _ = fs::remove_file(path);
    File::options().write(true).create_new(true).mode(0o700).open(path)?.write_all(text)
}

/// Runs a script to its end.
fn run(path: &Path) -> io::Result<()> {
    let Some(mut command) = script(path) else { return Ok(()) };
    let status = command.status().map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{}: {status}", path.display()))),
    }
}

/// Runs a text as a script of this name.
fn run_text(name: &str, text: &[u8]) -> io::Result<()> {
    let path = Path::new(SCRIPTS).join(name);
    make_script(&path, text)?;
    run(&path)
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
    for path in scripts.iter().filter(|path| is_executable(path)) {
        report(run(path));
    }
    match HOOKS.iter().map(Path::new).find(|path| is_executable(path)) {
        Some(hook) => replaced(&mut Command::new(hook)),
        None => 0,
    }
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
