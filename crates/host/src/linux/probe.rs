//! What this machine allows of what the linux driver needs.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{OpenTreeFlags, open_tree};
use standfast_core::Rng;

use super::{cgroups, ids, volumes};

/// Something that the driver needs or can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub name: String,
    pub ok: bool,
    pub detail: String,
}

/// Tries everything, and cleans up.
pub fn probe() -> Vec<Finding> {
    let root = rustix::process::geteuid().is_root();
    let mut all = vec![finding("root", if root { Ok(()) } else { Err(io::Error::other("not the machine's root")) })];
    let user_namespace = volumes::user_namespace();
    let made = user_namespace.as_ref().map(drop).map_err(|error| io::Error::new(error.kind(), error.to_string()));
    all.push(finding("user namespaces", made));
    let mapped = user_namespace.and_then(|namespace| map(&namespace));
    all.push(finding("mounts with shifted ids", mapped));
    all.push(finding("overlay", listed("/proc/filesystems", "overlay")));
    all.push(finding("files of instances", files()));
    all.push(finding("loop devices", File::options().read(true).write(true).open("/dev/loop-control").map(drop)));
    all.push(finding("mkfs.ext4", program("mkfs.ext4")));
    for (controller, there) in cgroups::controllers() {
        let outcome = if there { Ok(()) } else { Err(io::Error::other("not available; what it limits is unlimited")) };
        all.push(finding(&format!("cgroup {controller}"), outcome));
    }
    all.push(finding("networks", standfast_network::probe()));
    all.push(egress());
    all.push(finding("latency between zones", standfast_network::probe_delay()));
    all
}

/// Whether the driver can run here, without trying everything; the text says why not.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("it needs root".into());
    }
    listed("/proc/filesystems", "overlay").map_err(|_| "the kernel has no overlay file system".to_owned())?;
    let namespace = volumes::user_namespace().map_err(|error| format!("no user namespace can be made: {error}"))?;
    map(&namespace).map_err(|error| format!("no mount with shifted ids can be made: {error}"))?;
    files().map_err(|error| format!("no files of instances can be made: {error}"))?;
    standfast_network::probe().map_err(|error| format!("no networks can be made: {error}"))
}

/// What a root file system is made of besides mounts: devices, and files that are another user's.
fn files() -> io::Result<()> {
    let path =
        std::env::temp_dir().join(format!("standfast-probe-{}-{}", std::process::id(), Rng::from_entropy().hex(4)));
    let made = mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), rustix::fs::makedev(1, 3));
    let made = made
        .map_err(|error| io::Error::other(format!("no device nodes in {}: {error}", std::env::temp_dir().display())));
    let owned = made.and_then(|()| chown(&path, Some(ids::SHIFT), Some(ids::SHIFT)));
    let _ = fs::remove_file(&path);
    owned
}

fn finding(name: &str, outcome: io::Result<()>) -> Finding {
    let detail = outcome.as_ref().map_or_else(ToString::to_string, |()| "works".into());
    Finding { name: name.into(), ok: outcome.is_ok(), detail }
}

/// The way to the real internet for those who ask for it, and what does not go that way.
fn egress() -> Finding {
    let mut found = finding("egress to the host", standfast_network::egress::probe());
    if found.ok {
        found.detail = "works (--egress host): TCP and names; no other UDP, no ICMP, no private networks".into();
    }
    found
}

fn map(user_namespace: &OwnedFd) -> io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    volumes::map_mount(&open_tree(CWD, "/usr", flags)?, user_namespace)
}

fn listed(file: &str, word: &str) -> io::Result<()> {
    match fs::read_to_string(file)?.split_whitespace().any(|it| it == word) {
        true => Ok(()),
        false => Err(io::Error::other(format!("{word} is not in {file}"))),
    }
}

fn program(name: &str) -> io::Result<()> {
    let there = ["/usr/sbin", "/sbin", "/usr/bin"].iter().any(|at| Path::new(at).join(name).exists());
    if there { Ok(()) } else { Command::new(name).arg("-V").output().map(drop) }
}
