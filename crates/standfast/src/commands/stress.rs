//! `stress`: load on an instance's processor, memory and disks from within, for a time.
//!
//! Systems Manager runs it for the documents of FIS. Invariant: it ends by itself at its time, and what it wrote goes with
//! it however it ends, because its files have no names. It never runs on the machine itself: only in instances.

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::{Stress, StressKind};
use crate::{image, output};

/// Load is a part of this: short enough for averages of a second to be even.
const PERIOD: Duration = Duration::from_millis(50);
/// What is written at once.
const BLOCK_BYTES: usize = 1 << 20;
const PAGE_BYTES: usize = 4096;
/// How much a worker of `io` writes at least before it begins again.
const IO_BLOCKS_MIN: u64 = 1;
/// So much of what is free on the machine's disk counts as free: it is not the instance's alone.
const SHARED_BYTES_MAX: u64 = 1 << 30;
/// How often what waits looks for its end.
const TICK: Duration = Duration::from_millis(200);
/// File systems that have a size of their own.
const ON_DEVICES: [&str; 3] = ["ext4", "xfs", "btrfs"];
/// What a file system keeps for itself, so that filling it does not fail at its end.
const MEMORY_MARGIN_KIB: u64 = 8 * 1024;

pub fn run(options: &Stress) -> Result<ExitCode> {
    if !image::in_instance() && !matches!(options.what, StressKind::End { .. }) {
        bail!("stress is for instances of the linux driver: `standfast exec ID -- standfast stress ...`");
    }
    match &options.what {
        StressKind::Cpu { cpus, load, time } => cpu(*cpus, *load, End::after(time.time)),
        StressKind::Memory { workers, percent, time } => memory(*workers, *percent, End::after(time.time))?,
        StressKind::Io { workers, percent, path, time } => io(*workers, *percent, path, End::after(time.time))?,
        StressKind::Disk { percent, path, time } => disk(*percent, path.as_deref(), &End::after(time.time))?,
        StressKind::Kill { signal, process } => kill(process, signal)?,
        StressKind::End { token } => end(token),
    }
    Ok(ExitCode::SUCCESS)
}

/// When it is over, by the machine's time: it is the machine's processor that is stressed.
#[derive(Clone, Copy)]
struct End(Instant);

#[allow(clippy::disallowed_methods)] // Stress is real work on the machine's clock.
impl End {
    fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    fn has_come(&self) -> bool {
        Instant::now() >= self.0
    }

    fn wait(&self) {
        while !self.has_come() {
            self.tick();
        }
    }

    fn tick(&self) {
        thread::sleep(TICK);
    }
}

/// Keeps processors busy for a part of the time; 0 is all of them.
fn cpu(cpus: usize, load: u8, end: End) {
    let all = thread::available_parallelism().map_or(1, usize::from);
    let busy = PERIOD * u32::from(load) / 100;
    let workers: Vec<_> = (0..if cpus == 0 { all } else { cpus })
        .map(|_| {
            thread::spawn(move || {
                while !end.has_come() {
                    spin(busy)
                }
            })
        })
        .collect();
    for worker in workers {
        let _ = worker.join();
    }
}

#[allow(clippy::disallowed_methods)] // As above.
fn spin(busy: Duration) {
    let start = Instant::now();
    let mut number = 0u64;
    while start.elapsed() < busy {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    thread::sleep(PERIOD.saturating_sub(start.elapsed()));
}

/// Holds a part of the memory that is free, of which every worker has its share and writes to it all the time.
fn memory(workers: usize, percent: u8, end: End) -> Result<()> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let total = field(&text, "MemTotal:").context("/proc/meminfo has no MemTotal")?;
    let used: u64 = processes().filter_map(|pid| status_kib(pid, "VmRSS:")).sum();
    let free = total.saturating_sub(used + MEMORY_MARGIN_KIB);
    let blocks = free * u64::from(percent) / 100 * 1024 / BLOCK_BYTES as u64;
    let workers = workers.max(1) as u64;
    let share = move |worker: u64| blocks / workers + u64::from(worker < blocks % workers);
    output::line(format_args!("Holding {blocks} MiB of {} MiB by {workers} workers.", total / 1024));
    let all: Vec<_> = (0..workers).map(|worker| thread::spawn(move || hold(share(worker), end))).collect();
    for worker in all {
        worker.join().map_err(|_| anyhow::anyhow!("a worker has ended early"))?;
    }
    Ok(())
}

/// Each page is written, or it would not be there; and written again, as memory that is in use is.
fn hold(blocks: u64, end: End) {
    let mut held: Vec<Vec<u8>> =
        (0..blocks).take_while(|_| !end.has_come()).map(|n| vec![n as u8 | 1; BLOCK_BYTES]).collect();
    while !end.has_come() {
        for page in held.iter_mut().flat_map(|block| block.iter_mut().step_by(PAGE_BYTES)) {
            *page = std::hint::black_box(page.wrapping_add(2));
        }
        end.tick();
    }
}

/// Writes and reads without pause, in files that take a part of what is free between them.
fn io(workers: usize, percent: u8, path: &Path, end: End) -> Result<()> {
    let shape = rustix::fs::statvfs(path).with_context(|| format!("looking at {}", path.display()))?;
    let is_own = mounted()?.iter().any(|place| path.starts_with(place));
    let free = (shape.f_bavail * shape.f_frsize).min(if is_own { u64::MAX } else { SHARED_BYTES_MAX });
    let blocks = (free / 100 * u64::from(percent) / BLOCK_BYTES as u64 / workers.max(1) as u64).max(IO_BLOCKS_MIN);
    output::line(format_args!("Writing to {} by {workers} workers, up to {blocks} MiB each.", path.display()));
    let files = (0..workers).map(|_| nameless(path)).collect::<Result<Vec<_>>>()?;
    let workers: Vec<_> = files.into_iter().map(|file| thread::spawn(move || churn(file, blocks, end))).collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow::anyhow!("a worker has ended early"))?.context("writing")?;
    }
    Ok(())
}

fn churn(mut file: File, blocks: u64, end: End) -> std::io::Result<()> {
    let mut block = vec![0x5a; BLOCK_BYTES];
    while !end.has_come() {
        file.rewind()?;
        for n in 0..blocks {
            file.write_all(&block)?;
            file.sync_data()?;
            file.read_at(&mut block, n * BLOCK_BYTES as u64)?;
            if end.has_come() {
                break;
            }
        }
    }
    Ok(())
}

/// Fills the file systems that have a size of their own. The root does not: it shares the machine's disk.
fn disk(percent: u8, path: Option<&Path>, end: &End) -> Result<()> {
    let places: Vec<PathBuf> = match path {
        Some(path) => vec![path.to_owned()],
        None => mounted()?,
    };
    if places.is_empty() {
        bail!("no volume with a file system is mounted here, and the root shares the machine's disk: it is not filled");
    }
    let mut held = Vec::new();
    for place in &places {
        let (file, bytes) = fill(place, percent)?;
        output::line(format_args!("Filling {} with {} MiB.", place.display(), bytes >> 20));
        held.push(file);
    }
    end.wait();
    drop(held);
    Ok(())
}

fn mounted() -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    let each = table.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (device, place, kind) = (words.next()?, words.next()?, words.next()?);
        let own = device.starts_with("/dev/") && ON_DEVICES.contains(&kind) && Path::new(place).is_dir();
        (own && place != "/").then(|| PathBuf::from(place))
    });
    Ok(each.collect())
}

/// A file that makes this part of the file system used.
fn fill(place: &Path, percent: u8) -> Result<(File, u64)> {
    let shape = rustix::fs::statvfs(place).with_context(|| format!("looking at {}", place.display()))?;
    let total = shape.f_blocks * shape.f_frsize;
    let used = (shape.f_blocks - shape.f_bfree) * shape.f_frsize;
    let wanted = (total * u64::from(percent) / 100).saturating_sub(used).min(shape.f_bavail * shape.f_frsize);
    let file = nameless(place)?;
    if wanted > 0 {
        let flags = rustix::fs::FallocateFlags::empty();
        rustix::fs::fallocate(&file, flags, 0, wanted).with_context(|| format!("filling {}", place.display()))?;
    }
    Ok((file, wanted))
}

/// A file without a name: its space is free again when this process is not there any more.
fn nameless(place: &Path) -> Result<File> {
    let path = place.join(format!(".standfast-stress-{}", std::process::id()));
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.with_context(|| format!("writing to {}", place.display()))?;
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    Ok(file)
}

/// Sends a signal to every process of this name.
fn kill(name: &str, signal: &str) -> Result<()> {
    let signal = match signal.trim_start_matches("SIG") {
        "TERM" | "15" => Signal::TERM,
        "KILL" | "9" => Signal::KILL,
        "INT" | "2" => Signal::INT,
        "HUP" | "1" => Signal::HUP,
        "QUIT" | "3" => Signal::QUIT,
        "STOP" | "19" => Signal::STOP,
        "CONT" | "18" => Signal::CONT,
        "USR1" | "10" => Signal::USR1,
        "USR2" | "12" => Signal::USR2,
        other => bail!("'{other}' is not a signal such as SIGTERM"),
    };
    let named =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == comm_of(name));
    let hit: Vec<i32> = others().filter(named).collect();
    if hit.is_empty() {
        bail!("no process is called '{name}'");
    }
    for pid in &hit {
        send(*pid, signal);
    }
    output::line(format_args!("Sent a signal to {} of '{name}'.", hit.len()));
    Ok(())
}

/// The kernel keeps so much of a process's name.
fn comm_of(name: &str) -> &str {
    name.get(..15).unwrap_or(name)
}

/// Ends the processes that were started under this token: it is a whole argument of theirs.
fn end(token: &str) {
    let has_it = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|argument| argument == token.as_bytes())
    };
    for pid in others().filter(has_it) {
        send(pid, Signal::TERM);
    }
}

fn send(pid: i32, signal: Signal) {
    // One that has gone meanwhile needs no signal.
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

fn others() -> impl Iterator<Item = i32> {
    let own = std::process::id() as i32;
    processes().filter(move |pid| *pid != own)
}

fn processes() -> impl Iterator<Item = i32> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn status_kib(pid: i32, name: &str) -> Option<u64> {
    field(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, name)
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
