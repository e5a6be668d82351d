//! `DATA/run`: where the processes of a cloud that keeps its state are found.
//!
//! ```text
//! host.sock, dataplane.sock   what a server connects to
//! host.pid, dataplane.pid     the process's id and when it was started, so that no stranger is taken for it
//! host.log, dataplane.log     what they have to say: they outlive the server's terminal
//! lb-snapshot                 what the load balancers should do, for a data plane that starts before anyone tells it
//! ```

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::Role;

/// What the kernel takes as a socket's path, with some to spare.
const SOCKET_PATH_BYTES_MAX: usize = 90;
/// A log that has grown beyond this is begun anew when its process starts.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// The directory.
#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

/// A process that cannot be mistaken for a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub pid: Pid,
    /// In clock ticks since the machine's start; 0 where that cannot be found out.
    started: u64,
}

impl Identity {
    /// Of the process that has this id now.
    pub fn of(pid: Pid) -> Option<Self> {
        if !cfg!(target_os = "linux") {
            return rustix::process::test_kill_process(pid).is_ok().then_some(Self { pid, started: 0 });
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // After the name, which may hold anything: state is the first field, the start is the twentieth.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split(' ').collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self { pid, started: fields.get(19)?.parse().ok()? })
    }

    /// Whether it still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

impl RunDir {
    /// Makes it where it is not there.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(Self(path.canonicalize()?))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn lb_snapshot(&self) -> PathBuf {
        self.0.join("lb-snapshot")
    }

    /// Opens the log that a process writes what it has to say into.
    pub fn log(&self, role: Role) -> io::Result<fs::File> {
        let path = self.0.join(format!("{}.log", role.name()));
        let full = fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX);
        let mut options = fs::File::options();
        options.create(true).mode(0o600);
        if full { options.write(true).truncate(true).open(path) } else { options.append(true).open(path) }
    }

    /// Listens as this role and notes who listens. One that did before is nobody from now on, and ends itself.
    pub fn listen(&self, role: Role) -> io::Result<UnixListener> {
        let path = self.socket(role);
        let _ = fs::remove_file(&path);
        let listener = self.short(&path, |path| UnixListener::bind(path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let own = Identity::of(rustix::process::getpid()).ok_or_else(|| io::Error::other("no /proc"))?;
        let new = self.0.join(format!("{}.pid.new", role.name()));
        fs::write(&new, format!("{} {}\n", own.pid.as_raw_nonzero(), own.started))?;
        fs::rename(new, self.pid_file(role))?;
        Ok(listener)
    }

    pub fn connect(&self, role: Role) -> io::Result<UnixStream> {
        self.short(&self.socket(role), |path| UnixStream::connect(path))
    }

    /// Who was noted last as this role.
    pub fn noted(&self, role: Role) -> Option<Identity> {
        let text = fs::read_to_string(self.pid_file(role)).ok()?;
        let (pid, started) = text.trim().split_once(' ')?;
        Some(Identity { pid: Pid::from_raw(pid.parse().ok()?)?, started: started.parse().ok()? })
    }

    /// Whether this process is the one that is noted.
    pub fn is_ours(&self, role: Role) -> bool {
        self.noted(role).is_some_and(|noted| noted.pid == rustix::process::getpid())
    }

    /// Removes what says that a process of this role is there.
    pub fn forget(&self, role: Role) {
        let _ = fs::remove_file(self.socket(role));
        let _ = fs::remove_file(self.pid_file(role));
    }

    fn socket(&self, role: Role) -> PathBuf {
        self.0.join(format!("{}.sock", role.name()))
    }

    fn pid_file(&self, role: Role) -> PathBuf {
        self.0.join(format!("{}.pid", role.name()))
    }

    /// A path that the kernel takes, also when the directory's is too long for a socket.
    fn short<T>(&self, path: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
        if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX || cfg!(not(target_os = "linux")) {
            return use_it(path);
        }
        let directory = fs::File::open(&self.0)?;
        let name = path.file_name().unwrap_or_default();
        use_it(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
    }
}
