//! The machine: its cores, its time, and the processes that are measured on it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a process may take to end when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(5);
const END_PAUSE: Duration = Duration::from_millis(10);

/// Benchmarks measure the machine's time: it is what they are about.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Instant {
    Instant::now()
}

pub fn ms_since(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1000.0
}

#[allow(clippy::disallowed_methods)] // Between measurements, and for things that cannot be waited for.
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Which core runs what is measured, and which all else.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    pub server: usize,
    pub client: usize,
}

impl Cores {
    pub fn of_this_machine() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let server = cores.next().context("no core to run on")?;
        let Some(client) = cores.next() else { bail!("a benchmark needs two cores: one for itself") };
        Ok(Self { server, client })
    }
}

/// Runs this thread, and what it starts from now on, on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).context("choosing a core")
}

/// Runs something on a thread that is pinned to a core.
pub fn pinned<T: Send>(core: usize, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(core)?;
            run()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().parse()?)
}

pub fn describe() -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{cores} x {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim()))
}

/// Runs a command to its end.
pub fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A port of 127.0.0.1 that is free now, for programs that cannot choose one themselves.
pub fn free_port() -> Result<SocketAddrV4> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))
}

/// A process that ends with this value.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
    /// Open for as long as the process should run.
    _input: Option<ChildStdin>,
}

impl Process {
    /// Starts a program on a core; without one, wherever the machine likes.
    pub fn spawn(mut command: Command, core: Option<usize>) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut spawn = || command.spawn().with_context(|| format!("starting {:?}", command.get_program()));
        let mut child = match core {
            // A child has the cores of the thread that made it.
            Some(core) => pinned(core, &mut spawn)?,
            None => spawn()?,
        };
        let (output, input) = (child.stdout.take().map(BufReader::new), child.stdin.take());
        Ok(Self { child, output, _input: input })
    }

    /// The next line of its standard output.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let output = self.output.as_mut().context("its output is not read")?;
        if output.read_line(&mut line)? == 0 {
            bail!("a server ended before it was ready: {:?}", self.child.try_wait()?);
        }
        Ok(line)
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The processor time that it has used.
    pub fn cpu_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name, in parentheses, may hold anything; user and system time are the 14th and 15th fields.
        let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// Its resident and its proportional memory with that of its children, in MB (2^20).
    pub fn memory_mb(&self) -> Result<(f64, f64)> {
        self.family_memory_mb(1)
    }

    /// The same with so many generations of descendants.
    pub fn family_memory_mb(&self, generations: usize) -> Result<(f64, f64)> {
        let (mut rss, mut pss) = (0.0, 0.0);
        let mut family = vec![self.child.id()];
        for generation in 0..=generations {
            let mut next = Vec::new();
            for pid in family {
                let folder = Path::new("/proc").join(pid.to_string());
                rss += kib(&folder.join("status"), "VmRSS:")?;
                pss += kib(&folder.join("smaps_rollup"), "Pss:")?;
                if generation < generations {
                    next.extend(children(pid)?);
                }
            }
            family = next;
        }
        Ok((rss / 1024.0, pss / 1024.0))
    }
}

/// The processes that a process has started. Each of its threads has those that it started itself.
pub fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("children"))?;
        children.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    Ok(children)
}

/// What the machine could still give to programs, in MB (2^20).
pub fn available_mb() -> Result<f64> {
    Ok(kib(Path::new("/proc/meminfo"), "MemAvailable:")? / 1024.0)
}

fn kib(path: &Path, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let asked = now();
        while !self.ended() {
            if asked.elapsed() > END_TIMEOUT {
                eprintln!("process {} did not end when asked to", self.child.id());
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            pause(END_PAUSE);
        }
    }
}
