//! Reading `/proc`: who descends from whom, who carries an instance's mark, and how much CPU time they used.
//!
//! Invariant: a process is signalled only when it descends from an init, is in a session that an init of ours leads,
//! or carries the mark of the cloud in its environment. Where there is no `/proc` (macOS) nothing is found, so only
//! what an init can reach through process groups is ended; that is the degraded behaviour there.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use rustix::process::{Pid, Signal};

/// The environment variable that marks every process of an instance: `CLOUD/INSTANCE`.
pub(crate) const MARK: &str = "STANDFAST_INSTANCE";

/// How often a hunt looks again for processes that were forked while it killed their parents.
const HUNT_ROUNDS_MAX: usize = 2_000;

/// More than the kernel lets an environment be on most machines; marks stand far below.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What files are read into: most fit at once, so that each takes two calls of the kernel.
const BUFFER_BYTES: usize = 64 * 1024;

/// A process as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pub pid: Pid,
    pub parent: i32,
    pub session: i32,
    /// Dead, and not yet waited for.
    pub zombie: bool,
    /// Its CPU time and that of its children that it has waited for, in clock ticks.
    pub ticks: u64,
}

/// All processes that can be seen.
pub(crate) fn all() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    pids.filter_map(|pid| parse(&String::from_utf8_lossy(read(pid, "stat", &mut buffer)?))).collect()
}

/// A file of a process. Their lengths are not known beforehand, and a start reads hundreds of them: the usual way to read
/// one, which begins with small steps, takes ten calls of the kernel.
fn read<'a>(pid: i32, name: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    let file = File::open(format!("/proc/{pid}/{name}")).ok()?;
    file.take(FILE_BYTES_MAX).read_to_end(buffer).ok()?;
    Some(buffer)
}

/// The fields after the name, which may itself hold spaces and parentheses.
fn parse(stat: &str) -> Option<Process> {
    let pid = Pid::from_raw(stat.split(' ').next()?.parse().ok()?)?;
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
    let number = |i: usize| fields.get(i)?.parse::<i64>().ok();
    let ticks: i64 = (11..15).filter_map(number).sum();
    Some(Process {
        pid,
        parent: number(1)? as i32,
        session: number(3)? as i32,
        zombie: matches!(*fields.first()?, "Z" | "X"),
        ticks: ticks.max(0) as u64,
    })
}

/// Everything below `root`, without it.
pub(crate) fn descendants(root: Pid, processes: &[Process]) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<&Process>> = HashMap::new();
    for process in processes {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut next = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = next.pop() {
        // Removing makes a loop in a table that was read while it changed harmless.
        for child in children.remove(&parent).unwrap_or_default() {
            next.push(child.pid.as_raw_nonzero().get());
            found.push(*child);
        }
    }
    found
}

/// The CPU time of a tree: of all that live in it, and of all that died in it and were waited for.
pub(crate) fn cpu_times(roots: &[Pid]) -> HashMap<Pid, Duration> {
    let processes = all();
    let own: HashMap<Pid, u64> = processes.iter().map(|p| (p.pid, p.ticks)).collect();
    let tick = rustix::param::clock_ticks_per_second().max(1);
    let time = |root: &Pid| {
        let ticks: u64 = descendants(*root, &processes).iter().map(|p| p.ticks).sum();
        Duration::from_millis((ticks + own.get(root).copied().unwrap_or(0)) * 1000 / tick)
    };
    roots.iter().map(|root| (*root, time(root))).collect()
}

/// Whom a hunt is after.
pub(crate) struct Prey {
    /// The mark's value: `CLOUD/INSTANCE` for one instance, `CLOUD/` for all of a cloud.
    pub mark: String,
    /// The session that an init led. Only while its process has not been waited for: then no stranger can have it.
    pub session: Option<Pid>,
}

impl Prey {
    /// All living processes that it means, and their descendants.
    fn find(&self) -> Vec<Process> {
        let processes = all();
        let own = rustix::process::getpid();
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let meant = |p: &&Process| {
            self.session.is_some_and(|s| s.as_raw_nonzero().get() == p.session)
                || has_mark(p.pid, &self.mark, &mut buffer)
        };
        let mut found: Vec<Process> = processes.iter().filter(|p| p.pid != own).filter(meant).copied().collect();
        for i in 0..found.len() {
            found.extend(descendants(found[i].pid, &processes));
        }
        found.retain(|p| !p.zombie && p.pid != own);
        found
    }

    /// Kills all of them once; returns how many there were.
    pub fn strike(&self) -> usize {
        let found = self.find();
        for process in &found {
            let _ = rustix::process::kill_process(process.pid, Signal::KILL);
        }
        found.len()
    }

    /// Kills until none is left; false when some are after all rounds (they do not die, or are not ours to signal).
    pub fn hunt(&self) -> bool {
        for _ in 0..HUNT_ROUNDS_MAX {
            if self.strike() == 0 {
                return true;
            }
            #[allow(clippy::disallowed_methods)] // The machine's own processes die in the machine's time.
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }
}

/// Whether the process was started with this mark. Processes of other users cannot be read and have none.
fn has_mark(pid: Pid, mark: &str, buffer: &mut Vec<u8>) -> bool {
    let Some(environment) = read(pid.as_raw_nonzero().get(), "environ", buffer) else { return false };
    environment.split(|b| *b == 0).any(|variable| {
        variable
            .strip_prefix(MARK.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
            .is_some_and(|value| value == mark.as_bytes() || mark.ends_with('/') && value.starts_with(mark.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "42 (a) b (c) S 7 42 9 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 555 1000 5";
        let process = parse(stat).expect("a valid line");
        assert_eq!((process.parent, process.session, process.ticks, process.zombie), (7, 9, 100, false));
        assert!(parse("").is_none() && parse("x").is_none() && parse("1 (a)").is_none());
    }
}
