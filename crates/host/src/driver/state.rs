//! The state directory of a driver: who owns it, and getting rid of what an earlier owner left.
//!
//! Invariant: one cloud at a time owns a state directory, by a lock that the kernel gives up for it when it dies.
//! Processes are swept by the id kept in the directory, so a cloud never touches another cloud's.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use standfast_core::{Id, Rng, id::Instance};

use super::directory::{Directory, Record};
use super::procs::Prey;

const LOCK: &str = "lock";
/// Locked by a cloud whose driver is another process.
const OWNER: &str = "owner";
const CLOUD_ID: &str = "cloud-id";
const INSTANCES: &str = "instances";
const GUARDS: &str = "bin";

/// Programs that would stop the machine itself, which user data may well mean to do to its instance.
const GUARDED: [&str; 4] = ["halt", "poweroff", "reboot", "shutdown"];
const GUARD: &str =
    "#!/bin/sh\necho \"$0: instances of the process driver are stopped and rebooted from outside\" >&2\nexit 1\n";

/// How often a new temporary directory is tried before giving up.
const TEMPORARY_TRIES_MAX: usize = 16;

pub(crate) struct StateDir {
    path: PathBuf,
    /// The id of the cloud that owns it; random, made with the directory.
    pub cloud: String,
    /// The driver made it, so the driver removes it.
    made: bool,
    lock: File,
}

impl StateDir {
    /// Opens a directory, making it when it is not there, and ends what an earlier cloud left running.
    pub fn open(path: &Path) -> io::Result<Self> {
        let made = !path.exists();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let path = path.canonicalize()?;
        let lock = lock(&path, true)?.ok_or_else(|| {
            let text = format!("{} is in use by another running cloud", path.display());
            io::Error::new(io::ErrorKind::ResourceBusy, text)
        })?;
        let cloud = match fs::read_to_string(path.join(CLOUD_ID)) {
            Ok(id) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
                sweep(&path, &id)?;
                id
            }
            _ => {
                let id = Rng::from_entropy().hex(16);
                fs::write(path.join(CLOUD_ID), &id)?;
                id
            }
        };
        write_guards(&path.join(GUARDS))?;
        Ok(Self { path, cloud, made, lock })
    }

    /// Makes a directory for a cloud that keeps nothing, and removes those of such clouds that are dead.
    pub fn temporary() -> io::Result<Self> {
        Self::sweep_stale();
        for _ in 0..TEMPORARY_TRIES_MAX {
            let path = Self::temporary_path();
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Another cloud that starts now may see it before it is locked, and remove it: then take another name.
            if let Ok(mut state) = Self::open(&path) {
                state.made = true;
                return Ok(state);
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for a temporary state directory"))
    }

    /// Removes the temporary directories of this user's dead clouds.
    pub fn sweep_stale() {
        remove_stale(&prefix());
    }

    /// Makes one for another process to open. While the file is open nobody takes it for a dead cloud's.
    pub fn reserve() -> io::Result<(PathBuf, File)> {
        for _ in 0..TEMPORARY_TRIES_MAX {
            let path = Self::temporary_path();
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            let owner = lock_file(&path.join(OWNER), true)?;
            return owner.map(|owner| (path, owner)).ok_or_else(|| io::ErrorKind::ResourceBusy.into());
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for a temporary state directory"))
    }

    /// A new name for one.
    fn temporary_path() -> PathBuf {
        std::env::temp_dir().join(format!("{}{}", prefix(), Rng::from_entropy().hex(8)))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the programs that instances find before the machine's own.
    pub fn guards(&self) -> PathBuf {
        self.path.join(GUARDS)
    }

    /// Puts this very program among them under these names.
    pub fn link_programs(&self, names: &[String]) -> io::Result<()> {
        let own = std::env::current_exe()?;
        for name in names {
            let link = self.guards().join(name);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&own, &link)?;
        }
        Ok(())
    }

    pub fn instance(&self, id: &str) -> Directory {
        Directory::new(self.path.join(INSTANCES).join(id))
    }

    /// The instances that an earlier cloud left on disk.
    pub fn left(&self) -> Vec<(Id<Instance>, Record)> {
        let Ok(entries) = fs::read_dir(self.path.join(INSTANCES)) else { return Vec::new() };
        entries
            .flatten()
            .filter_map(|entry| Id::parse(entry.file_name().to_str()?))
            .filter_map(|id| Some((id.clone(), self.instance(&id).record()?)))
            .collect()
    }

    /// Removes all instances' directories.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(self.path.join(INSTANCES));
    }

    /// Lets the next cloud have it. Said explicitly, because a process that is just being started may for an instant
    /// hold the same lock.
    pub fn release(&self) {
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }

    /// Removes what the driver made in it, and it itself if the driver made it.
    pub fn remove(&self) {
        self.clear();
        let _ = fs::remove_dir_all(self.guards());
        let _ = fs::remove_file(self.path.join(CLOUD_ID));
        let _ = fs::remove_file(self.path.join(LOCK));
        if self.made {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// How the names of this user's temporary directories begin.
fn prefix() -> String {
    format!("standfast-{}-", rustix::process::getuid().as_raw())
}

/// Locks the directory; `None` when another process holds the lock, or removed the directory meanwhile.
fn lock(path: &Path, create: bool) -> io::Result<Option<File>> {
    lock_file(&path.join(LOCK), create)
}

fn lock_file(name: &Path, create: bool) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).create(create).truncate(false).open(name)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let same = fs::metadata(name).is_ok_and(|now| file.metadata().is_ok_and(|ours| now.ino() == ours.ino()));
    Ok(same.then_some(file))
}

fn write_guards(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for name in GUARDED {
        let path = directory.join(name);
        fs::write(&path, GUARD)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Ends the processes of a cloud that is dead, whose directory is locked. Those that wait for a volume that was paused end
/// when it goes on.
fn sweep(directory: &Path, cloud: &str) -> io::Result<()> {
    crate::linux::let_go(directory, cloud);
    match (Prey { mark: format!("{cloud}/"), session: None }).hunt() {
        true => Ok(()),
        false => Err(io::Error::other("processes of an earlier cloud with this state directory do not end")),
    }
}

/// Removes the temporary directories of dead clouds. What cannot be removed waits for the next start.
fn remove_stale(prefix: &str) {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    let stale = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    for path in stale.map(|entry| entry.path()) {
        // Somebody else may have made something of this name, also a link to somewhere.
        let uid = rustix::process::getuid().as_raw();
        if !fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir() && it.uid() == uid) {
            continue;
        }
        // Its driver may have died alone: then the cloud is about to start another one.
        if matches!(lock_file(&path.join(OWNER), false), Ok(None)) {
            continue;
        }
        // Without a lock file it is being made right now, or none of ours.
        let Ok(Some(_lock)) = lock(&path, false) else { continue };
        let Ok(cloud) = fs::read_to_string(path.join(CLOUD_ID)) else { continue };
        if !cloud.is_empty() && sweep(&path, &cloud).is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}
