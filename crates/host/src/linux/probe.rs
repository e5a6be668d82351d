//! What this machine allows of what the linux driver needs.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::CapabilitySet;

use super::{cgroups, volumes};

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
    if root {
        all.push(finding("capabilities", capabilities()));
    }
    let user_namespace = volumes::user_namespace();
    let made = user_namespace.as_ref().map(drop).map_err(|error| io::Error::new(error.kind(), error.to_string()));
    all.push(finding("user namespaces", made));
    let mapped = user_namespace.and_then(|namespace| map(&namespace));
    all.push(finding("mounts with shifted ids", mapped));
    all.push(finding("overlay", listed("/proc/filesystems", "overlay")));
    all.push(finding("loop devices", File::options().read(true).write(true).open("/dev/loop-control").map(drop)));
    all.push(finding("mkfs.ext4", program("mkfs.ext4")));
    for (controller, there) in cgroups::controllers() {
        let lacks = match controller {
            "io" => "not available; volumes are as fast as the disk, and of a paused one only the writes hang",
            _ => "not available; what it limits is unlimited",
        };
        let outcome = if there { Ok(()) } else { Err(io::Error::other(lacks)) };
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
    capabilities().map_err(|error| error.to_string())?;
    listed("/proc/filesystems", "overlay").map_err(|_| "the kernel has no overlay file system".to_owned())?;
    let namespace = volumes::user_namespace().map_err(|error| format!("no user namespace can be made: {error}"))?;
    map(&namespace).map_err(|error| format!("no mount with shifted ids can be made: {error}"))?;
    standfast_network::probe().map_err(|error| format!("no networks can be made: {error}"))
}

/// What root needs and may not have in a container. Half a driver would be none: no instance would boot.
const NEEDED: [(&str, CapabilitySet); 12] = [
    ("chown", CapabilitySet::CHOWN),
    ("dac_override", CapabilitySet::DAC_OVERRIDE),
    ("fowner", CapabilitySet::FOWNER),
    ("kill", CapabilitySet::KILL),
    ("mknod", CapabilitySet::MKNOD),
    ("net_admin", CapabilitySet::NET_ADMIN),
    ("net_bind_service", CapabilitySet::NET_BIND_SERVICE),
    ("setgid", CapabilitySet::SETGID),
    ("setuid", CapabilitySet::SETUID),
    ("sys_admin", CapabilitySet::SYS_ADMIN),
    ("sys_chroot", CapabilitySet::SYS_CHROOT),
    ("sys_ptrace", CapabilitySet::SYS_PTRACE),
];

fn capabilities() -> io::Result<()> {
    let own = rustix::thread::capabilities(None)?.effective;
    let missing: Vec<&str> = NEEDED.iter().filter(|(_, one)| !own.contains(*one)).map(|(name, _)| *name).collect();
    if missing.is_empty() { Ok(()) } else { Err(io::Error::other(format!("root lacks {}", missing.join(", ")))) }
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
