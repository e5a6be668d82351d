//! Control groups: what an instance may use of processors, memory and processes, and what it has used.
//!
//! One group per instance, `standfast-CLOUD.PID-START/i-...`, in every hierarchy that the machine has: version 2, or
//! version 1 with one for each controller. Groups are directories and so the only thing that outlives a killed cloud; the
//! next cloud removes those whose process has ended. When the process was started is in the name because another one may
//! have its id by then.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::Pid;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "standfast-";
const CONTROLLERS_V1: [&str; 6] = ["cpu", "cpuacct", "memory", "pids", "blkio", "freezer"];
const CONTROLLERS_V2: [&str; 4] = ["cpu", "memory", "pids", "io"];
/// Of time, in microseconds, that the quota is a part of.
const PERIOD_US: u64 = 100_000;
/// Processes and threads of an instance.
const PROCESSES_MAX: u32 = 16_384;
/// A group is busy for as long as the kernel takes to let go of the dead.
const REMOVE_TRIES_MAX: usize = 200;
const REMOVE_RETRY: Duration = Duration::from_millis(5);

/// Where the groups of a cloud are.
pub struct Cgroups {
    name: String,
    hierarchies: Vec<Hierarchy>,
}

struct Hierarchy {
    path: PathBuf,
    /// The controller of a hierarchy of version 1.
    controller: Option<&'static str>,
}

impl Cgroups {
    /// Finds the hierarchies and sweeps what dead clouds left.
    pub fn start(cloud: &str) -> Self {
        let hierarchies = hierarchies();
        for hierarchy in &hierarchies {
            sweep(&hierarchy.path);
        }
        let pid = std::process::id().to_string();
        Self { name: format!("{PREFIX}{cloud}.{pid}-{}", started(&pid).unwrap_or(0)), hierarchies }
    }

    /// Makes the group of an instance and puts a process into it. What the machine lacks is not limited.
    pub fn enter(&self, instance: &str, pid: Pid, vcpus: u32, memory_mib: u64) -> io::Result<()> {
        for hierarchy in &self.hierarchies {
            let path = hierarchy.path.join(&self.name).join(instance);
            fs::create_dir_all(&path)?;
            if hierarchy.controller.is_none() {
                enable(&hierarchy.path.join(&self.name));
            }
            let quota = u64::from(vcpus.max(1)) * PERIOD_US;
            let memory = memory_mib << 20;
            let limits: Vec<(&str, String)> = match hierarchy.controller {
                None => vec![
                    ("cpu.max", format!("{quota} {PERIOD_US}")),
                    ("memory.max", memory.to_string()),
                    ("pids.max", PROCESSES_MAX.to_string()),
                ],
                Some("cpu") => {
                    vec![("cpu.cfs_period_us", PERIOD_US.to_string()), ("cpu.cfs_quota_us", quota.to_string())]
                }
                Some("memory") => vec![("memory.limit_in_bytes", memory.to_string())],
                Some("pids") => vec![("pids.max", PROCESSES_MAX.to_string())],
                Some(_) => Vec::new(),
            };
            for (file, value) in limits {
                // A controller that is not delegated has no such file.
                if path.join(file).exists() {
                    fs::write(path.join(file), value)?;
                }
            }
            fs::write(path.join("cgroup.procs"), pid.as_raw_nonzero().to_string())?;
        }
        Ok(())
    }

    /// The CPU time that everything in the group has used.
    pub fn cpu_time(&self, instance: &str) -> Option<Duration> {
        self.hierarchies.iter().find_map(|hierarchy| {
            let path = hierarchy.path.join(&self.name).join(instance);
            match hierarchy.controller {
                Some("cpuacct") => {
                    let ns = fs::read_to_string(path.join("cpuacct.usage")).ok()?;
                    Some(Duration::from_nanos(ns.trim().parse().ok()?))
                }
                Some(_) => None,
                None => {
                    let stat = fs::read_to_string(path.join("cpu.stat")).ok()?;
                    let us = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
                    Some(Duration::from_micros(us.trim().parse().ok()?))
                }
            }
        })
    }

    /// Limits the I/O of an instance's volumes, where the machine can. Other devices, which it had, have no limits then: a
    /// read that waits for one would wait for ever.
    pub fn limit_io(&self, instance: &str, limits: &[super::volumes::Limit]) {
        for hierarchy in &self.hierarchies {
            let path = hierarchy.path.join(&self.name).join(instance);
            unlimit_io(&path, |device| limits.iter().all(|limit| name_of(limit) != device));
            for limit in limits {
                let device = name_of(limit);
                let (iops, bytes, read) = (limit.iops, limit.bytes_per_second, limit.read_bytes_per_second);
                let lines: Vec<(&str, String)> = match hierarchy.controller {
                    None => vec![("io.max", format!("{device} rbps={read} wbps={bytes} riops={iops} wiops={iops}"))],
                    Some("blkio") => vec![
                        ("blkio.throttle.read_bps_device", format!("{device} {read}")),
                        ("blkio.throttle.write_bps_device", format!("{device} {bytes}")),
                        ("blkio.throttle.read_iops_device", format!("{device} {iops}")),
                        ("blkio.throttle.write_iops_device", format!("{device} {iops}")),
                    ],
                    Some(_) => Vec::new(),
                };
                for (file, value) in lines {
                    // The device may be gone, or the machine be without the controller.
                    let _ = fs::write(path.join(file), value);
                }
            }
        }
    }

    /// Removes the group of an instance of which nothing lives.
    pub fn leave(&self, instance: &str) {
        for hierarchy in &self.hierarchies {
            remove(&hierarchy.path.join(&self.name).join(instance), REMOVE_TRIES_MAX);
        }
    }

    /// Removes the cloud's groups.
    pub fn remove(&self) {
        for hierarchy in &self.hierarchies {
            remove_tree(&hierarchy.path.join(&self.name));
        }
    }
}

/// A device, as control groups call it.
fn name_of(limit: &super::volumes::Limit) -> String {
    format!("{}:{}", limit.major, limit.minor)
}

/// Takes the limits of a group's devices away, of those that are meant.
fn unlimit_io(group: &Path, meant: impl Fn(&str) -> bool) {
    const LIMITS: [(&str, &str); 5] = [
        ("io.max", "rbps=max wbps=max riops=max wiops=max"),
        ("blkio.throttle.read_bps_device", "0"),
        ("blkio.throttle.write_bps_device", "0"),
        ("blkio.throttle.read_iops_device", "0"),
        ("blkio.throttle.write_iops_device", "0"),
    ];
    for (file, none) in LIMITS {
        let set = fs::read_to_string(group.join(file)).unwrap_or_default();
        for device in set.lines().filter_map(|line| line.split(' ').next()).filter(|device| meant(device)) {
            // The device may be gone.
            let _ = fs::write(group.join(file), format!("{device} {none}"));
        }
    }
}

/// Which controllers can be used: the name of each, and whether it is there for us to make groups in.
pub fn controllers() -> Vec<(&'static str, bool)> {
    let mut found = hierarchies();
    found.retain(|hierarchy| accessat(CWD, &hierarchy.path, Access::WRITE_OK, AtFlags::EACCESS).is_ok());
    let v2 = found.iter().find(|hierarchy| hierarchy.controller.is_none());
    let enabled = v2.and_then(|it| fs::read_to_string(it.path.join("cgroup.controllers")).ok()).unwrap_or_default();
    let has = |name: &str| {
        enabled.split_whitespace().any(|it| it == name)
            || found.iter().any(|hierarchy| hierarchy.controller == Some(name))
            || name == "io" && found.iter().any(|hierarchy| hierarchy.controller == Some("blkio"))
    };
    CONTROLLERS_V2.iter().map(|name| (*name, has(name))).collect()
}

fn hierarchies() -> Vec<Hierarchy> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        enable(root);
        return vec![Hierarchy { path: root.to_owned(), controller: None }];
    }
    let of_v1 = |name: &'static str| {
        let path = root.join(name);
        path.join("cgroup.procs").exists().then_some(Hierarchy { path, controller: Some(name) })
    };
    CONTROLLERS_V1.into_iter().filter_map(of_v1).collect()
}

/// Lets the groups below have the controllers, one by one, as far as they may.
fn enable(group: &Path) {
    for name in CONTROLLERS_V2 {
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{name}"));
    }
}

fn sweep(hierarchy: &Path) {
    for (_, group) in of_the_dead(hierarchy) {
        remove_tree(&group);
    }
}

/// Takes the limits away of what is left of a cloud that is dead.
pub fn let_go(cloud: &str) {
    for hierarchy in hierarchies() {
        for (_, group) in of_the_dead(&hierarchy.path).filter(|(owner, _)| owner == cloud) {
            let instances = fs::read_dir(group).into_iter().flatten().flatten();
            instances.for_each(|instance| unlimit_io(&instance.path(), |_| true));
        }
    }
}

/// The groups of clouds that are dead, with the clouds' names.
fn of_the_dead(hierarchy: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(hierarchy).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name();
        let (cloud, owner) = name.to_str()?.strip_prefix(PREFIX)?.rsplit_once('.')?;
        (!is_alive(owner)).then(|| (cloud.to_owned(), entry.path()))
    })
}

/// Whether the process that a group is named for (`PID-START`) runs. Earlier versions named the id only: then anybody who
/// has it counts, as that cloud may be running beside this one.
fn is_alive(owner: &str) -> bool {
    match owner.split_once('-') {
        Some((pid, start)) => started(pid).is_some_and(|own| start.parse() == Ok(own)),
        None => started(owner).is_some(),
    }
}

/// When a process was started, in clock ticks since the machine's start; nothing when it has ended. Its parent may be late
/// to notice that, or never be: in a container nobody may wait for orphans.
fn started(pid: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: the state is the first field, the start is the twentieth.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    let dead = matches!(*fields.first()?, "Z" | "X");
    fields.get(19)?.parse().ok().filter(|_| !dead)
}

fn remove_tree(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
        remove(&entry.path(), REMOVE_TRIES_MAX);
    }
    remove(group, 1);
}

fn remove(group: &Path, tries: usize) {
    for _ in 0..tries {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                // The killed end when what they read has come.
                unlimit_io(group, |_| true);
                #[allow(clippy::disallowed_methods)] // The kernel lets go of the dead in its own time.
                std::thread::sleep(REMOVE_RETRY);
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_has_ended_whether_anybody_waited_for_it_or_not() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("a child");
        let pid = child.id().to_string();
        let start = started(&pid).expect("it runs");
        let owner = format!("{pid}-{start}");
        assert!(is_alive(&owner) && is_alive(&pid));
        assert!(!is_alive(&format!("{pid}-{}", start + 1)), "another process of this id");
        child.kill().expect("a child can be killed");
        let stat = format!("/proc/{pid}/stat");
        while !fs::read_to_string(&stat).expect("nobody has waited for it").contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(!is_alive(&owner) && !is_alive(&pid));
        child.wait().expect("a child can be waited for");
        assert!(!is_alive(&owner) && !is_alive("") && !is_alive("x-1"));
    }
}
