//! The init of an instance: a process of this same program that everything in the instance descends from.
//!
//! It adopts orphans, waits for the dead, writes the console, and runs what the instance starts at boot; what it stands
//! on is a [`Ground`]'s. It holds one end of a socket to its cloud, and when it reads the end of that
//! stream it kills everything below it. It exits with 0 only when the kernel says that it has no children left; as
//! all descendants are its children or below them, that is the proof that nothing of the instance lives.
//!
//! Not here: any decision. The cloud says what to do; a single loop does it.

use std::collections::HashMap;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus};

use super::console::Console;
use super::directory::INITIALIZED;
use super::protocol::{self, FromInit, ToInit};

/// How long processes may take to end when the instance switches itself off.
const SWITCH_GRACE: Duration = super::machine::SHUTDOWN_GRACE;
/// Between looks for processes that are still to be killed.
const KILL_ROUND: Duration = Duration::from_millis(2);
/// The init and its watcher need no more.
const STACK_BYTES: usize = 64 * 1024;
const CHUNK_BYTES: usize = 16 * 1024;
/// What a pipe holds.
const PIPE_BYTES: usize = 64 * 1024;

/// What an init stands on: bare processes, or a machine of its own.
pub(crate) trait Ground {
    /// Where programs are started.
    fn working_directory(&self, directory: &Path) -> PathBuf;

    /// The first line of a boot, for the console.
    fn greeting(&self, boot: u64) -> String;

    /// What is started at a boot, in this order; `first` is the instance's first boot. Failing is the boot's failure.
    fn programs(&mut self, directory: &Path, first: bool) -> io::Result<Vec<(&'static str, Command)>>;

    /// What the processes write their output to, and where it comes out.
    fn output(&self) -> io::Result<(PipeReader, PipeWriter)> {
        io::pipe()
    }

    /// Where something inside asks for the machine's power to be switched.
    fn switch(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// What was asked for there: the code that the init is to exit with once all is down.
    fn switched(&mut self) -> Option<i32> {
        None
    }

    /// Whether a process that is started now may be killed when memory runs out; the init itself, where it can, never is.
    fn expose(&self, _exposed: bool) {}

    /// Sends a signal to everything below the init.
    fn signal_all(&self, signal: Signal);
}

/// Runs an init on its ground; the exit code of its process. The control socket is its standard input.
pub(crate) fn run(ground: Box<dyn Ground>) -> io::Result<i32> {
    Init::start(ground)?.run()
}

struct Init {
    ground: Box<dyn Ground>,
    control: UnixStream,
    inbox: Vec<u8>,
    directory: PathBuf,
    console: Console,
    /// What the processes write their output to, and where it comes out.
    output: PipeWriter,
    output_end: PipeReader,
    watcher: Watcher,
    mode: Mode,
    /// What to exit with.
    code: i32,
    /// What was started here and has not ended.
    started: HashMap<Pid, Job>,
    /// The process groups of what was started here; a group outlives its leader.
    groups: Vec<Pid>,
}

enum Job {
    Script(&'static str),
    Exec(u64),
}

enum Mode {
    Up,
    /// Until then the processes may end on their own.
    Ending(Instant),
    /// From then on what is left is looked for by walking through `/proc`.
    Killing(Instant),
}

impl Init {
    fn start(ground: Box<dyn Ground>) -> io::Result<Self> {
        let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut inbox = Vec::new();
        let (directory, boot) = loop {
            match protocol::take(&mut inbox)? {
                Some(ToInit::Boot { directory, boot }) => break (directory, boot),
                Some(_) => return Err(io::Error::other("the first message is not what to boot")),
                None if read_more(&mut control, &mut inbox)? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
        };
        let (output_end, output) = ground.output()?;
        rustix::io::ioctl_fionbio(&output_end, true)?;
        let console = Console::open(&directory)?;
        let watcher = Watcher::start()?;
        let (started, groups, mode, code) = (HashMap::new(), Vec::new(), Mode::Up, 0);
        let mut init = Self {
            ground,
            control,
            inbox,
            directory,
            console,
            output,
            output_end,
            watcher,
            mode,
            code,
            started,
            groups,
        };
        init.boot(boot)?;
        init.control.set_nonblocking(true)?;
        Ok(init)
    }

    /// Starts what the instance runs. Whatever fails there is a line in its console: the machine itself is up.
    fn boot(&mut self, boot: u64) -> io::Result<()> {
        self.console.say(&self.ground.greeting(boot));
        let initialized = self.directory.join(INITIALIZED);
        let first = !initialized.exists();
        if first {
            std::fs::write(initialized, "")?;
        }
        for (name, mut command) in self.ground.programs(&self.directory, first)? {
            self.start_script(name, &mut command);
        }
        self.tell(&FromInit::Ready);
        Ok(())
    }

    fn start_script(&mut self, name: &'static str, command: &mut Command) {
        let output = self.output.try_clone().and_then(|out| Ok((out, self.output.try_clone()?)));
        let child = output.and_then(|(out, err)| self.spawn(command.stdout(out).stderr(err)));
        match child {
            Ok(pid) => drop(self.started.insert(pid, Job::Script(name))),
            Err(error) => self.console.say(&format!("{name} could not be started: {error}")),
        }
    }

    fn spawn(&mut self, command: &mut Command) -> io::Result<Pid> {
        let directory = self.ground.working_directory(&self.directory);
        self.ground.expose(true);
        let child = command.current_dir(directory).stdin(Stdio::null()).process_group(0).spawn();
        self.ground.expose(false);
        let child = child?;
        self.watcher.watch();
        let pid = Pid::from_raw(child.id() as i32).ok_or_else(|| io::Error::other("a process without an id"))?;
        self.groups.retain(|group| is_ours(*group));
        self.groups.push(pid);
        Ok(pid)
    }

    /// The loop. Ends when the instance is down and nothing of it is left.
    fn run(mut self) -> io::Result<i32> {
        loop {
            let [control, output, dead, switch] = self.wait()?;
            if control {
                self.listen();
            }
            if output {
                self.copy_output();
            }
            if switch && let Some(code) = self.ground.switched() {
                self.code = code;
                self.shut_down(SWITCH_GRACE);
            }
            let childless = if dead { self.bury() } else { self.watcher.idle };
            match self.mode {
                Mode::Up => continue,
                _ if childless && self.is_alone() => break,
                Mode::Ending(then) | Mode::Killing(then) if now() < then => continue,
                Mode::Ending(_) | Mode::Killing(_) => self.kill_all(),
            }
        }
        // Nobody is left who could write more.
        while self.copy_output() {}
        self.console.say("down");
        Ok(self.code)
    }

    /// Whether no process is left, given that no child is. Where orphans do not become children, groups are asked.
    fn is_alone(&self) -> bool {
        cfg!(target_os = "linux") || !self.groups.iter().any(|group| is_ours(*group))
    }

    /// Waits for the control socket, the output pipe, a death, or the switch; which of them there was.
    fn wait(&self) -> io::Result<[bool; 4]> {
        let timeout = match self.mode {
            Mode::Up => None,
            Mode::Ending(then) | Mode::Killing(then) => Some(then.saturating_duration_since(now())),
        };
        let timeout = timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: t.subsec_nanos().into() });
        // A socket at its end is always ready: once we are killing there is nothing more to hear from it.
        let listening = !matches!(self.mode, Mode::Killing(_));
        let switch = self.ground.switch().filter(|_| matches!(self.mode, Mode::Up));
        let mut fds =
            vec![PollFd::new(&self.output_end, PollFlags::IN), PollFd::new(&self.watcher.bell, PollFlags::IN)];
        fds.extend(listening.then(|| PollFd::new(&self.control, PollFlags::IN)));
        let has_switch = switch.is_some();
        fds.extend(switch.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok([false; 4]),
            polled => polled?,
        };
        let ready = |i: usize| fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
        Ok([listening && ready(2), ready(0), ready(1), has_switch && ready(2 + usize::from(listening))])
    }

    /// Does what the cloud says. Its silence for ever (the end of the stream) means: power off, now.
    fn listen(&mut self) {
        let open = match read_more(&mut self.control, &mut self.inbox) {
            Ok(n) => n > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        while let Ok(Some(message)) = protocol::take(&mut self.inbox) {
            match message {
                ToInit::Boot { .. } => {}
                ToInit::ShutDown { grace_ms } => self.shut_down(Duration::from_millis(grace_ms)),
                ToInit::Exec { n, argv } => self.exec(n, &argv),
                ToInit::EndExec { n } => self.end_exec(n),
            }
        }
        if !open {
            self.kill_groups();
        }
    }

    fn shut_down(&mut self, grace: Duration) {
        self.console.say("shutting down");
        self.mode = Mode::Ending(now() + grace);
        if cfg!(not(target_os = "linux")) {
            self.groups.iter().for_each(|group| signal_group(*group, Signal::TERM));
        }
        self.ground.signal_all(Signal::TERM);
        // One that is stopped could not act on it.
        self.ground.signal_all(Signal::CONT);
    }

    /// Kills what was started here with one call per group. That is nearly everything in nearly every instance, and
    /// needs no walk through `/proc`, which matters when hundreds of instances lose power at once.
    fn kill_groups(&mut self) {
        self.mode = Mode::Killing(now() + KILL_ROUND);
        self.groups.iter().for_each(|group| signal_group(*group, Signal::KILL));
    }

    fn kill_all(&mut self) {
        self.kill_groups();
        self.ground.signal_all(Signal::KILL);
    }

    fn exec(&mut self, n: u64, argv: &[String]) {
        let started = self.start_exec(n, argv);
        let answer = match started {
            Ok(pid) => {
                self.started.insert(pid, Job::Exec(n));
                FromInit::ExecStarted { n }
            }
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                FromInit::ExecRefused { n, code, reason: error.to_string() }
            }
        };
        self.tell(&answer);
    }

    fn start_exec(&mut self, n: u64, argv: &[String]) -> io::Result<Pid> {
        let out = open_pipe(&self.directory.join(format!("exec-{n}.out")))?;
        let err = open_pipe(&self.directory.join(format!("exec-{n}.err")))?;
        let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        self.spawn(Command::new(program).args(arguments).stdout(out).stderr(err))
    }

    fn end_exec(&mut self, n: u64) {
        let job = self.started.iter().find(|(_, job)| matches!(job, Job::Exec(m) if *m == n));
        if let Some((pid, _)) = job {
            signal_group(*pid, Signal::KILL);
        }
    }

    /// Waits for all that are dead; whether no child is left.
    fn bury(&mut self) -> bool {
        self.watcher.hear();
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid, status),
                Ok(None) => {
                    self.watcher.watch();
                    return false;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) {
        let code = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => code,
            (None, signal) => 128 + signal.unwrap_or(0),
        };
        match self.started.remove(&pid) {
            Some(Job::Script(name)) => {
                // What it wrote last comes before the word of its end; more than a pipe holds it cannot have left.
                for _ in 0..PIPE_BYTES / CHUNK_BYTES {
                    self.copy_output();
                }
                self.console.say(&format!("{name} ended with {code}"));
            }
            Some(Job::Exec(n)) => self.tell(&FromInit::ExecEnded { n, code }),
            None => {}
        }
    }

    /// Copies a chunk to the console; false when there is none now. One chunk a turn of the loop, so that a process that
    /// writes without end cannot keep us from hearing the cloud.
    fn copy_output(&mut self) -> bool {
        let mut chunk = [0; CHUNK_BYTES];
        let Ok(n) = self.output_end.read(&mut chunk) else { return false };
        self.console.write(&chunk[..n]);
        n > 0
    }

    /// Tells the cloud. When it cannot hear any more, the end of the stream will say so.
    fn tell(&mut self, message: &FromInit) {
        let line = protocol::line(message);
        let mut rest = &line[..];
        while !rest.is_empty() {
            match self.control.write(rest) {
                Ok(n) => rest = &rest[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(&self.control, PollFlags::OUT)];
                    let _ = rustix::event::poll(&mut fds, None);
                }
                Err(_) => return,
            }
        }
    }
}

/// Rings when a child may be waited for. A thread of its own, because waiting blocks; it only peeks and leaves the
/// dead to the loop, so that a process is never taken from under the code that is starting it.
struct Watcher {
    turns: mpsc::Sender<()>,
    bell: UnixStream,
    /// It is not looking, because there was no child.
    idle: bool,
}

impl Watcher {
    fn start() -> io::Result<Self> {
        let (turns, next) = mpsc::channel::<()>();
        let (bell, mut rope) = UnixStream::pair()?;
        std::thread::Builder::new().name("watcher".into()).stack_size(STACK_BYTES).spawn(move || {
            while next.recv().is_ok() {
                let peek = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
                while matches!(rustix::process::waitid(WaitId::All, peek), Err(rustix::io::Errno::INTR)) {}
                if rope.write_all(&[1]).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { turns, bell, idle: true })
    }

    /// Looks once more, if it does not already.
    fn watch(&mut self) {
        if self.idle {
            self.idle = self.turns.send(()).is_err();
        }
    }

    /// The bell was heard: nobody looks until `watch`.
    fn hear(&mut self) {
        let mut ring = [0];
        let _ = self.bell.read(&mut ring);
        self.idle = true;
    }
}

/// Whether a child of ours is in the process group. Once there is none, strangers may be given its number.
#[cfg(target_os = "linux")]
fn is_ours(group: Pid) -> bool {
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::Pgid(Some(group)), peek).is_ok()
}

/// Where orphans do not become our children, a group that exists is taken to be the one that we made.
#[cfg(not(target_os = "linux"))]
fn is_ours(group: Pid) -> bool {
    rustix::process::test_kill_process_group(group).is_ok()
}

fn signal_group(group: Pid, signal: Signal) {
    if is_ours(group) {
        let _ = rustix::process::kill_process_group(group, signal);
    }
}

/// Closes what the cloud itself inherited open (a lock, a pipe that somebody waits for the end of): the instance is none
/// of that file's business, and lives longer than whoever waits for it may want to.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // Closing by number is the only way to close what nobody here has opened.
pub(crate) fn close_inherited() {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The listing's own was among them, and is closed by now.
    let is_open = |fd: &i32| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok();
    for fd in open.into_iter().filter(|fd| *fd > 2).filter(is_open) {
        // SAFETY: this runs first in a process that was just executed, which has opened nothing and has one thread, so
        // no value here owns or borrows any file above standard error.
        unsafe { rustix::io::close(fd) };
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn close_inherited() {}

/// How the kernel would run a script: its interpreter, at most one argument, the file. Run so, it also works where the
/// file system forbids execution. `None` when the file is not text that begins with `#!`.
pub(crate) fn script(path: &Path) -> Option<Command> {
    let bytes = std::fs::read(path).ok()?;
    let text = std::str::from_utf8(bytes.strip_prefix(b"#!")?).ok()?;
    let line = text.lines().next()?.trim();
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let mut command = Command::new(interpreter);
    if !argument.trim().is_empty() {
        command.arg(argument.trim());
    }
    command.arg(path);
    Some(command)
}

/// The writing end of a named pipe whose reader is there; an error when it is not.
fn open_pipe(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = rustix::fs::open(path, flags, Mode::empty())?;
    rustix::io::ioctl_fionbio(&pipe, false)?;
    Ok(pipe)
}

fn read_more(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let n = stream.read(&mut chunk)?;
    buffer.extend_from_slice(&chunk[..n]);
    Ok(n)
}

/// Real processes end in real time, whatever the control plane's clock shows.
fn now() -> Instant {
    #[allow(clippy::disallowed_methods)] // An init has no control-plane clock; it measures a grace period of processes.
    Instant::now()
}
