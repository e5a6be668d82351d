//! The base layer: what instances must not see of the machine's system directories, and what they find in its place.
//!
//! Made once per cloud, below `STATE/base`: `root`, the skeleton of a root file system, and a directory for each system
//! directory, with a whiteout for everything there that not every user of the machine may read. Instances' root could
//! read it otherwise, as the machine's root is its own there. `/etc`, where secrets appear at any time, is a copy without
//! them; what appears in the others later is seen by instances, whatever its mode.
//!
//! Invariant: no byte that not every user may read gets into the layer, nor users and groups of 1000 and above.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use super::{ids, power};

/// What is shared with instances, where it is a directory and no link.
pub const SYSTEM: [&str; 8] = ["usr", "etc", "opt", "bin", "sbin", "lib", "lib64", "lib32"];
/// Of those the one that is copied, and not the machine's own any more.
pub const COPIED: &str = "etc";
/// Hidden whatever their modes say.
const SECRET: [&str; 6] =
    ["etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-", "etc/ssl/private", "etc/machine-id"];
const SSH_HOST_KEYS: &str = "ssh_host_";
/// Threads that look at the machine's files: as many wait for its disk at once.
const SEARCHERS: usize = 8;
/// Of the instance's own root file system: path and mode.
const SKELETON: [(&str, u32); 22] = [
    ("boot", 0o755),
    ("dev", 0o755),
    ("home", 0o755),
    ("home/ec2-user", 0o700),
    ("media", 0o755),
    ("mnt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/empty", 0o755),
    ("var/lib", 0o755),
    ("var/lib/cloud", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o1777),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];
const LINKS: [(&str, &str); 2] = [("var/run", "/run"), ("var/lock", "/run/lock")];
const FIRST_USER: u32 = 1000;
const NOBODY: u32 = 65_534;
/// The user of EC2's images, who may become root.
pub const USER: &str = "ec2-user";
pub const USER_ID: u32 = FIRST_USER;

/// The layer that was made.
#[derive(Clone, Debug)]
pub struct Base {
    pub path: PathBuf,
    /// The system directories that it is for.
    pub system: Vec<String>,
}

/// Makes it in `path`, anew; gives up soon after `stop` is set.
pub fn make(path: &Path, stop: &AtomicBool) -> io::Result<Base> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o755).create(path)?;
    let root = path.join("root");
    directory(&root, 0o755, 0, 0)?;
    for (name, mode) in SKELETON {
        let owner = if name.ends_with(USER) { USER_ID } else { 0 };
        directory(&root.join(name), mode, owner, owner)?;
    }
    for (name, target) in LINKS {
        link(Path::new(target), &root.join(name))?;
    }
    let mut system = Vec::new();
    for name in SYSTEM {
        let machine = Path::new("/").join(name);
        match fs::symlink_metadata(&machine) {
            Ok(meta) if meta.is_dir() => {
                system.push(name.to_owned());
                directory(&root.join(name), 0o755, 0, 0)?;
            }
            Ok(meta) if meta.is_symlink() => link(&fs::read_link(&machine)?, &root.join(name))?,
            _ => {}
        }
    }
    for name in &system {
        mirror(path, Path::new(name))?;
    }
    let shared = system.iter().filter(|name| *name != COPIED);
    for found in Search::below(shared.map(|name| Path::new("/").join(name)), stop)? {
        hide(path, found.strip_prefix("/").map_err(io::Error::other)?)?;
    }
    if system.iter().any(|name| name == COPIED) {
        let machine = Path::new("/").join(COPIED);
        copy_open(&machine, &path.join(COPIED), fs::metadata(&machine)?.dev())?;
    }
    for (name, text, mode, group) in replacements() {
        replace(path, Path::new(&name), &text, mode, group)?;
    }
    Ok(Base { path: path.to_owned(), system })
}

fn directory(path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path)?;
    chown(path, Some(ids::shifted(uid)), Some(ids::shifted(gid)))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn link(target: &Path, path: &Path) -> io::Result<()> {
    symlink(target, path)?;
    lchown(path, Some(ids::SHIFT), Some(ids::SHIFT))
}

/// Copies what is for everybody from one directory into another.
fn copy_open(from: &Path, to: &Path, device: u64) -> io::Result<()> {
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        let copied = match (Sight::of(&entry, device), entry.file_type()?) {
            (Sight::Hidden, _) => Ok(()),
            (Sight::Directory, _) => entry.metadata().and_then(|meta| {
                directory(&target, meta.mode() & 0o7777, meta.uid(), meta.gid())?;
                copy_open(&entry.path(), &target, device)
            }),
            (Sight::Open, kind) if kind.is_symlink() => {
                fs::read_link(entry.path()).and_then(|points_to| link(&points_to, &target))
            }
            (Sight::Open, kind) if kind.is_file() => copy_file(&entry.path(), &target),
            (Sight::Open, _) => Ok(()),
        };
        match copied {
            // It went away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = fs::File::from(rustix::fs::openat(CWD, from, flags, Mode::empty())?);
    // Of what was opened, for it may not be any more what was listed.
    let meta = file.metadata()?;
    if !meta.is_file() || meta.mode() & 0o004 == 0 {
        return Ok(());
    }
    io::copy(&mut file, &mut fs::File::create_new(to)?)?;
    chown(to, Some(ids::shifted(meta.uid())), Some(ids::shifted(meta.gid())))?;
    fs::set_permissions(to, fs::Permissions::from_mode(meta.mode() & 0o7777))
}

/// Looks for what is not for everybody, with several threads: a hundred thousand files that the machine has not in memory
/// take seconds one after the other, and the first instance waits for them.
#[derive(Default)]
struct Search {
    todo: Mutex<Todo>,
    changed: Condvar,
    hidden: Mutex<Vec<PathBuf>>,
}

/// Directories to be looked into, with the devices they are on, and how many threads may yet find more.
#[derive(Default)]
struct Todo {
    directories: Vec<(PathBuf, u64)>,
    busy: usize,
}

impl Search {
    /// Everything below these directories that not every user may read, without what is mounted there.
    fn below(tops: impl Iterator<Item = PathBuf>, stop: &AtomicBool) -> io::Result<Vec<PathBuf>> {
        let tops = tops.map(|top| fs::metadata(&top).map(|meta| (top, meta.dev())));
        let search = Self::default();
        lock(&search.todo).directories = tops.collect::<io::Result<_>>()?;
        std::thread::scope(|scope| (0..SEARCHERS).for_each(|_| drop(scope.spawn(|| search.help(stop)))));
        if stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the cloud ends"));
        }
        Ok(search.hidden.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn help(&self, stop: &AtomicBool) {
        while let Some((directory, device)) = self.next(stop) {
            let (mut below, mut hidden) = (Vec::new(), Vec::new());
            // What cannot be listed shows nothing to instances either.
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                match Sight::of(&entry, device) {
                    Sight::Open => {}
                    Sight::Directory => below.push((entry.path(), device)),
                    Sight::Hidden => hidden.push(entry.path()),
                }
            }
            lock(&self.hidden).append(&mut hidden);
            let mut todo = lock(&self.todo);
            todo.directories.append(&mut below);
            todo.busy -= 1;
            self.changed.notify_all();
        }
    }

    /// The next directory; `None` when all have been looked into or none is to be.
    fn next(&self, stop: &AtomicBool) -> Option<(PathBuf, u64)> {
        let done = |todo: &mut Todo| todo.directories.is_empty() && todo.busy > 0;
        let mut todo = self.changed.wait_while(lock(&self.todo), done).unwrap_or_else(PoisonError::into_inner);
        let next = todo.directories.pop().filter(|_| !stop.load(Ordering::Relaxed))?;
        todo.busy += 1;
        Some(next)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an entry of a directory of the machine is to instances.
enum Sight {
    Open,
    /// To be looked into.
    Directory,
    Hidden,
}

impl Sight {
    fn of(entry: &fs::DirEntry, device: u64) -> Self {
        // Of something that cannot be looked at nobody knows whether it may be seen.
        let Ok(kind) = entry.file_type() else { return Self::Hidden };
        if kind.is_symlink() {
            return Self::Open;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Open,
            Err(_) => return Self::Hidden,
        };
        let needed = if kind.is_dir() { 0o005 } else { 0o004 };
        let secret =
            entry.path().strip_prefix("/").is_ok_and(|path| SECRET.iter().any(|secret| path == Path::new(secret)))
                || entry.file_name().to_string_lossy().starts_with(SSH_HOST_KEYS);
        if secret || meta.mode() & needed != needed || kind.is_block_device() || kind.is_char_device() {
            Self::Hidden
        } else if kind.is_dir() && meta.dev() == device {
            Self::Directory
        } else {
            Self::Open
        }
    }
}

/// Makes a directory of the machine, and those above it, in the layer: what is uppermost says what they are.
fn mirror(layer: &Path, name: &Path) -> io::Result<()> {
    let own = layer.join(name);
    if own.is_dir() {
        return Ok(());
    }
    if let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        mirror(layer, parent)?;
    }
    let (mode, uid, gid) = match fs::metadata(Path::new("/").join(name)) {
        Ok(meta) => (meta.mode() & 0o7777, meta.uid(), meta.gid()),
        Err(_) => (0o755, 0, 0),
    };
    directory(&own, mode, uid, gid)
}

fn hide(layer: &Path, name: &Path) -> io::Result<()> {
    mirror(layer, name.parent().unwrap_or(Path::new("")))?;
    Ok(mknodat(CWD, layer.join(name), FileType::CharacterDevice, Mode::empty(), 0)?)
}

fn replace(layer: &Path, name: &Path, text: &str, mode: u32, group: u32) -> io::Result<()> {
    mirror(layer, name.parent().unwrap_or(Path::new("")))?;
    let path = layer.join(name);
    let _ = fs::remove_file(&path);
    fs::write(&path, text)?;
    chown(&path, Some(ids::shifted(0)), Some(ids::shifted(group)))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
}

/// Files that every instance has of its own: path, text, mode, group.
fn replacements() -> Vec<(String, String, u32, u32)> {
    let read = |name: &str| fs::read_to_string(name).unwrap_or_default();
    let (passwd, group) = (passwd(&read("/etc/passwd")), group(&read("/etc/group")));
    let shadow: String = passwd
        .lines()
        .filter_map(|line| line.split(':').next())
        .map(|name| format!("{name}:*:19000:0:99999:7:::\n"))
        .collect();
    let gshadow: String =
        group.lines().filter_map(|line| line.split(':').next()).map(|name| format!("{name}:*::\n")).collect();
    let shadow_group =
        group.lines().find_map(|line| line.strip_prefix("shadow:x:")?.split(':').next()?.parse().ok()).unwrap_or(0);
    let mut all = vec![
        ("etc/passwd".to_owned(), passwd, 0o644, 0),
        ("etc/group".to_owned(), group, 0o644, 0),
        ("etc/shadow".to_owned(), shadow, 0o640, shadow_group),
        ("etc/gshadow".to_owned(), gshadow, 0o640, shadow_group),
        ("etc/fstab".to_owned(), String::new(), 0o644, 0),
        ("etc/motd".to_owned(), String::new(), 0o644, 0),
        ("etc/sudoers".to_owned(), sudoers(), 0o440, 0),
    ];
    let directory = if Path::new("/usr/sbin").is_dir() { "usr/sbin" } else { "sbin" };
    all.extend(power::COMMANDS.map(|name| (format!("{directory}/{name}"), power::script(name), 0o755, 0)));
    all
}

fn sudoers() -> String {
    format!(
        "Defaults env_reset\nDefaults secure_path=\"/{}:{}\"\nroot ALL=(ALL:ALL) ALL\n{USER} ALL=(ALL) NOPASSWD: ALL\n@includedir /etc/sudoers.d\n",
        super::root::PROGRAMS,
        super::machines::PATH
    )
}

/// The machine's system users, whom files belong to, with root and the user of EC2's images.
fn passwd(machine: &str) -> String {
    let mut text = "root:x:0:0:root:/root:/bin/bash\n".to_owned();
    for line in machine.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, _] = fields[..] else { continue };
        let system = uid.parse().is_ok_and(|uid: u32| (1..FIRST_USER).contains(&uid) || uid == NOBODY);
        if system && name != USER {
            text += &format!("{name}:x:{uid}:{gid}::{home}:/usr/sbin/nologin\n");
        }
    }
    if !text.contains("\nsshd:") {
        text += "sshd:x:74:74::/run/sshd:/usr/sbin/nologin\n";
    }
    text + &format!("{USER}:x:{USER_ID}:{USER_ID}:EC2 Default User:/home/{USER}:/bin/bash\n")
}

fn group(machine: &str) -> String {
    let mut text = "root:x:0:\n".to_owned();
    for line in machine.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, _] = fields[..] else { continue };
        if gid.parse().is_ok_and(|gid: u32| (1..FIRST_USER).contains(&gid) || gid == NOBODY) && name != USER {
            text += &format!("{name}:x:{gid}:\n");
        }
    }
    text + &format!("{USER}:x:{USER_ID}:\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_not_everybody_may_read_is_hidden_and_nothing_below_it_looked_at() {
        let top = std::env::temp_dir().join(format!("standfast-base-{}", std::process::id()));
        for (name, mode) in [("open/deep", 0o755), ("closed/deep", 0o755), ("closed", 0o750)] {
            fs::create_dir_all(top.join(name)).expect("a directory");
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        for (name, mode) in [
            ("open/deep/all", 0o644),
            ("open/deep/own", 0o640),
            ("closed/deep/own", 0o600),
            ("open/ssh_host_rsa_key.pub", 0o644),
        ] {
            fs::write(top.join(name), "").expect("a file");
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        symlink("/nowhere", top.join("open/link")).expect("a link");
        let mut found = Search::below([top.clone()].into_iter(), &AtomicBool::new(false)).expect("it is there");
        found.sort();
        assert_eq!(found, ["closed", "open/deep/own", "open/ssh_host_rsa_key.pub"].map(|name| top.join(name)));
        let never = AtomicBool::new(false);
        assert!(Search::below([top.join("missing")].into_iter(), &never).is_err());
        let stopped = AtomicBool::new(true);
        assert!(Search::below([top.clone()].into_iter(), &stopped).is_err());
        if rustix::process::getuid().is_root() {
            let copy = top.join("copy");
            fs::create_dir(&copy).expect("a directory");
            let device = fs::metadata(&top).expect("it is there").dev();
            copy_open(&top.join("open"), &copy, device).expect("it can be copied");
            let names = fs::read_dir(&copy).expect("it is there").flatten().map(|entry| entry.file_name());
            let mut names: Vec<_> = names.collect();
            names.sort();
            assert_eq!(names, ["deep", "link"]);
            assert!(copy.join("deep/all").exists() && !copy.join("deep/own").exists());
            assert_eq!(fs::metadata(copy.join("deep/all")).expect("it is there").uid(), ids::shifted(0));
        }
        fs::remove_dir_all(&top).expect("it is ours");
    }

    #[test]
    fn people_of_the_machine_are_not_in_the_instance() {
        let machine = "root:x:0:0:Admin:/root:/bin/zsh\nwww-data:x:33:33:w:/var/www:/bin/sh\nalice:x:1001:1001::/home/alice:/bin/sh\n";
        let text = passwd(machine);
        assert!(text.starts_with("root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:"), "{text}");
        assert!(!text.contains("alice") && text.contains("\nec2-user:x:1000:1000:") && text.contains("\nsshd:"));
        assert_eq!(group("root:x:0:\nsudo:x:27:alice\nalice:x:1001:\n"), "root:x:0:\nsudo:x:27:\nec2-user:x:1000:\n");
    }
}
