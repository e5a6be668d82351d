//! The first process of an instance, from its first step in its namespaces on.
//!
//! It has never executed another program since it was the machine's root, and cannot be traced: what it holds open (its
//! directory on the machine, the line to the cloud) stays out of reach of the instance's root. It starts what the
//! instance starts at boot as programs of their own and else does what `driver::init` does.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind, move_mount, open_tree, unmount,
};
use rustix::process::Signal;

use super::launcher::{self, Plan, Text};
use super::root::{CONSOLE, HARDWARE};
use super::{hardware, power};
use crate::driver::directory::{INITIALIZED, USER_DATA};
use crate::driver::init::{self, Ground};

/// Exit codes of an init, and of its launcher, when the instance switched itself.
pub const SWITCHED_OFF: i32 = 72;
pub const REBOOTED: i32 = 73;

/// What the init calls its directory: a descriptor of this number.
pub const DIRECTORY: &str = "/proc/self/fd/100";
const DIRECTORY_NUMBER: i32 = 100;

/// In thousandths of the instance's memory: more than the first process has of the smallest.
const OFFERED: i32 = 300;
const SACRIFICE_MAX: i32 = 1000;

const HOSTNAME: &str = "/etc/hostname";
/// The kernel's limit.
const HOSTNAME_BYTES_MAX: usize = 64;

/// Where user data is kept inside, as on EC2's images.
pub const USER_DATA_INSIDE: &str = "/var/lib/cloud/instance/user-data.txt";

/// Makes this process the init of the instance and stays it. `ready` hears when the instance's file system stands.
pub fn run(plan: &Plan, directory: OwnedFd, mut ready: PipeWriter) -> io::Result<i32> {
    // While this process is the machine's root, as nobody but that can open it later.
    let sacrifice = Sacrifice::open().ok();
    become_root()?;
    file_systems()?;
    let directory = renumbered(&directory)?;
    let first = !Path::new(DIRECTORY).join(INITIALIZED).exists();
    rustix::system::sethostname(hostname(plan, first).as_bytes())?;
    for file in plan.files.iter().filter(|file| first || file.every_boot) {
        if let Err(error) = write(file) {
            eprintln!("[standfast] {}: {error}", file.path);
        }
    }
    let switch = switch()?;
    let _ = rustix::thread::set_name(c"init");
    ready.write_all(&[1])?;
    drop(ready);
    init::run(Box::new(Machine { _directory: directory, switch, sacrifice }))
}

/// What the instance has called itself since it first booted, as it keeps that in its file.
fn hostname(plan: &Plan, first: bool) -> String {
    let own =
        || fs::read_to_string(HOSTNAME).ok().and_then(|text| text.lines().next().map(|name| name.trim().to_owned()));
    let own = if first { None } else { own() };
    own.filter(|name| (1..=HOSTNAME_BYTES_MAX).contains(&name.len())).unwrap_or_else(|| plan.hostname.clone())
}

/// The same file under the number that `DIRECTORY` names.
fn renumbered(directory: &OwnedFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is free, as this process has opened few files, and the new descriptor is nobody else's.
    #[allow(unsafe_code)]
    unsafe {
        match libc::dup3(directory.as_raw_fd(), DIRECTORY_NUMBER, libc::O_CLOEXEC) {
            number if number < 0 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// The instance's own root, that nothing inside can look into, and that dies with its launcher.
fn become_root() -> io::Result<()> {
    // SAFETY: the calls change this process's own ids and attributes; it has one thread.
    #[allow(unsafe_code)]
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(0, 0, 0) == 0
            && libc::setresuid(0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) == 0
    };
    if !done {
        return Err(io::Error::last_os_error());
    }
    let _ = rustix::process::setsid();
    Ok(())
}

/// From the working directory, which is the root to be, to a root with everything mounted.
fn file_systems() -> io::Result<()> {
    // What came along from the launcher's namespace is locked where it is; a copy of it is ours to move.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let copy = open_tree(CWD, ".", flags).map_err(|e| context("the root", e))?;
    move_mount(&copy, c"", CWD, c".", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(|e| context("the root", e))?;
    rustix::process::fchdir(&copy)?;
    let hidden = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for name in ["proc", "sys", "run"] {
        match fs::DirBuilder::new().mode(0o755).create(name) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    // While the machine's own are still in sight, which the kernel wants.
    mount("proc", "proc", "proc", hidden, None).map_err(|e| context("/proc", e))?;
    // Without it programs find no topology, which they are used to in containers.
    let _ = mount("sysfs", "sys", "sysfs", hidden | MountFlags::RDONLY, None);
    mount("tmpfs", "run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=755")
        .map_err(|e| context("/run", e))?;
    let terminals = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount("devpts", "dev/pts", "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, terminals)
        .map_err(|e| context("/dev/pts", e))?;
    mount("tmpfs", "dev/shm", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=1777")
        .map_err(|e| context("/dev/shm", e))?;
    rustix::process::pivot_root(".", ".").map_err(|e| context("pivot_root", e))?;
    unmount(".", UnmountFlags::DETACH).map_err(|e| context("the old root", e))?;
    rustix::process::chdir("/")?;
    for (name, place) in hardware::PLACES {
        let _ = mount_bind(format!("/dev/{HARDWARE}/{name}"), place);
    }
    for name in ["/proc/kcore", "/proc/keys", "/proc/sysrq-trigger", "/proc/timer_list"] {
        let _ = mount_bind("/dev/null", name);
    }
    fs::create_dir_all("/run/lock")
}

fn context(what: &str, error: rustix::io::Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn write(file: &Text) -> io::Result<()> {
    let path = Path::new(&file.path);
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(if file.mode & 0o077 == 0 { 0o700 } else { 0o755 })
            .create(parent)?;
        std::os::unix::fs::chown(parent, Some(file.owner), Some(file.owner))?;
    }
    let _ = fs::remove_file(path);
    let mut new = File::options().write(true).create_new(true).mode(file.mode).open(path)?;
    new.write_all(file.text.as_bytes())?;
    new.set_permissions(fs::Permissions::from_mode(file.mode))?;
    std::os::unix::fs::chown(path, Some(file.owner), Some(file.owner))
}

/// The named pipe in which the commands of `power` leave their word.
fn switch() -> io::Result<File> {
    mknodat(CWD, power::SWITCH, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // Open for both, so that there is never an end of the stream.
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(power::SWITCH)
}

/// A machine of its own.
struct Machine {
    /// Open for as long as the init uses its name.
    _directory: OwnedFd,
    switch: File,
    sacrifice: Option<Sacrifice>,
}

/// Where this process says how readily it is killed when memory runs out; what it starts inherits that.
///
/// An instance whose many small programs use up its memory must lose one of them, and not its first process, which is
/// larger than each and with which all would end. Where the machine may not exempt that one, the others are offered.
struct Sacrifice {
    file: File,
    own: i32,
    others: i32,
}

impl Sacrifice {
    fn open() -> io::Result<Self> {
        let mut file = File::options().read(true).write(true).open(launcher::SACRIFICE)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let own: i32 = text.trim().parse().map_err(io::Error::other)?;
        let others = if own == launcher::NEVER { 0 } else { (own + OFFERED).min(SACRIFICE_MAX) };
        Ok(Self { file, own, others })
    }
}

impl Ground for Machine {
    fn working_directory(&self, _: &Path) -> PathBuf {
        "/".into()
    }

    fn greeting(&self, boot: u64) -> String {
        let address = std::env::var("PRIVATE_IP").unwrap_or_default();
        format!("boot {boot}, address {address}")
    }

    fn programs(&mut self, directory: &Path, first: bool) -> io::Result<Vec<(&'static str, Command)>> {
        let mut programs = Vec::new();
        if first {
            let data = fs::read(directory.join(USER_DATA))?;
            let inside = Path::new(USER_DATA_INSIDE);
            if let Some(parent) = inside.parent() {
                fs::create_dir_all(parent)?;
            }
            let _ = fs::remove_file(inside);
            File::options().write(true).create_new(true).mode(0o700).open(inside)?.write_all(&data)?;
        }
        programs.extend(super::boot::command(first));
        Ok(programs)
    }

    /// `/dev/console` is it, for everybody inside.
    fn output(&self) -> io::Result<(PipeReader, PipeWriter)> {
        let path = format!("/dev/{CONSOLE}");
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
        let writer = File::options().write(true).open(&path)?;
        Ok((OwnedFd::from(reader).into(), OwnedFd::from(writer).into()))
    }

    fn switch(&self) -> Option<BorrowedFd<'_>> {
        Some(self.switch.as_fd())
    }

    fn switched(&mut self) -> Option<i32> {
        let mut word = [0; 64];
        let n = self.switch.read(&mut word).ok()?;
        match String::from_utf8_lossy(&word[..n]).lines().next_back()? {
            power::REBOOT => Some(REBOOTED),
            power::OFF => Some(SWITCHED_OFF),
            _ => None,
        }
    }

    fn expose(&self, exposed: bool) {
        if let Some(sacrifice) = &self.sacrifice {
            let value = if exposed { sacrifice.others } else { sacrifice.own };
            let _ = sacrifice.file.write_at(value.to_string().as_bytes(), 0);
        }
    }

    /// Everything that this process can see is the instance's.
    fn signal_all(&self, signal: Signal) {
        // SAFETY: sends a signal to processes of this namespace, of which this process is the first.
        #[allow(unsafe_code)]
        unsafe {
            libc::kill(-1, signal.as_raw());
        }
    }
}
