//! The root file system of an instance, put together by its launcher as the machine's root.
//!
//! One overlay is the whole tree: what the instance writes, the layers of its image, a skeleton. The machine's system
//! directories (`/usr`, `/etc`, `/opt`) are each an overlay on top, with the same directory of the root volume as the upper
//! one, so all that is written is in the root volume. The machine's directories are mounted with shifted ids: its root is
//! the instance's.
//!
//! Invariant: directories that an instance could have replaced are opened without following links, and mounted on by
//! descriptor.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdirat, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_remount, move_mount, open_tree,
};

use super::launcher::{Plan, by_descriptor, c_string};
use super::volumes::map_mount;
use super::{base, hardware, ids, power};

/// Where this program and its shadows of the power commands are inside.
/// Read-only in every instance.
pub const PROGRAMS: &str = "opt/standfast/bin";
/// The console's named pipe, below `/dev`.
pub const CONSOLE: &str = "console";
/// What init mounts over files of `/proc` and `/sys`, below `/dev`.
pub const HARDWARE: &str = ".machine";

/// Character devices: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// A detached mount of this very program.
pub fn own_program() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(open_tree(CWD, "/proc/self/exe", flags)?)
}

/// Builds it at the plan's mount point.
pub fn build(plan: &Plan, own_program: &OwnedFd) -> io::Result<()> {
    let upper = open_directory(&plan.upper)?;
    let work = open_directory(&plan.work)?;
    let mut lowers = opened(&plan.layers)?;
    if !plan.whole || lowers.is_empty() {
        lowers.push(open_directory(&plan.base.join("root"))?);
    }
    let target = open_directory(&plan.mount_point)?;
    overlay(&target, &lowers, &upper, &place(&work, "root", 0o700)?).map_err(|e| context("the root overlay", e))?;
    drop(target);
    let root = open_directory(&plan.mount_point)?;
    if !plan.whole {
        let user_namespace = File::open(&plan.user_namespace)?.into();
        for name in &plan.system {
            system(plan, name, &root, &upper, &work, &user_namespace).map_err(|e| context(name, e))?;
        }
    }
    devices(plan, &root).map_err(|e| context("/dev", e))?;
    programs(plan, &root, own_program).map_err(|e| context("the programs", e))
}

fn context(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Lays a system directory over the root.
fn system(
    plan: &Plan,
    name: &str,
    root: &OwnedFd,
    upper: &OwnedFd,
    work: &OwnedFd,
    user_namespace: &OwnedFd,
) -> io::Result<()> {
    let below = |top: &std::path::PathBuf| Some(top.join(name)).filter(|path| path.is_dir());
    let mut lowers = opened(&plan.layers.iter().filter_map(below).collect::<Vec<_>>())?;
    for layer in plan.image_layers.iter().filter_map(below) {
        lowers.push(shifted(&layer, user_namespace)?);
    }
    lowers.extend(below(&plan.base).map(|base| open_directory(&base)).transpose()?);
    if name != base::COPIED {
        lowers.push(shifted(&Path::new("/").join(name), user_namespace)?);
    }
    let upper = place(upper, name, 0o755)?;
    let target = place(root, name, 0o755)?;
    overlay(&target, &lowers, &upper, &place(work, name, 0o700)?)
}

fn opened(paths: &[std::path::PathBuf]) -> io::Result<Vec<OwnedFd>> {
    paths.iter().map(|path| open_directory(path)).collect()
}

/// A mount of a directory of the machine on which its ids are the instance's.
fn shifted(path: &Path, user_namespace: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    map_mount(&tree, user_namespace)?;
    Ok(tree)
}

/// Mounts an overlay. Layers are named by their descriptors, which keeps the kernel's bound on the text far away.
fn overlay(target: &OwnedFd, lowers: &[OwnedFd], upper: &OwnedFd, work: &OwnedFd) -> io::Result<()> {
    let lowers: Vec<String> = lowers.iter().map(by_descriptor).collect();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", lowers.join(":"), by_descriptor(upper), by_descriptor(work));
    Ok(mount("overlay", by_descriptor(target), "overlay", MountFlags::empty(), c_string(&options)?.as_c_str())?)
}

/// Opens a directory of ours.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).map_err(|e| context(&path.display().to_string(), e.into()))
}

/// A directory in another one; made, with the instance's root as its owner, when it is not there.
pub fn place(parent: &OwnedFd, name: &str, mode: u32) -> io::Result<OwnedFd> {
    match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) => own(parent, name)?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Gives a new entry to the instance's root.
pub fn own(parent: &OwnedFd, name: &str) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(ids::SHIFT), Gid::from_raw(ids::SHIFT));
    Ok(chownat(parent, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A tmpfs on a directory; its top belongs to the instance's root.
fn tmpfs(target: &OwnedFd, options: &str) -> io::Result<()> {
    let options = format!("uid={0},gid={0},{options}", ids::SHIFT);
    Ok(mount("tmpfs", by_descriptor(target), "tmpfs", MountFlags::NOSUID, c_string(&options)?.as_c_str())?)
}

/// The nodes are made here, because instances may not make any.
fn devices(plan: &Plan, root: &OwnedFd) -> io::Result<()> {
    tmpfs(&place(root, "dev", 0o755)?, "mode=755,size=64k")?;
    let dev = place(root, "dev", 0o755)?;
    for (name, major, minor) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)?;
        chmodat(&dev, name, Mode::from_raw_mode(0o666), rustix::fs::AtFlags::empty())?;
        own(&dev, name)?;
    }
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, &dev, name)?;
    }
    mknodat(&dev, CONSOLE, FileType::Fifo, Mode::from_raw_mode(0o622), 0)?;
    chmodat(&dev, CONSOLE, Mode::from_raw_mode(0o622), rustix::fs::AtFlags::empty())?;
    own(&dev, CONSOLE)?;
    for name in ["pts", "shm"] {
        place(&dev, name, 0o755)?;
    }
    let hardware = place(&dev, HARDWARE, 0o755)?;
    for (name, text) in hardware::files(plan.vcpus, plan.memory_mib) {
        write(&hardware, name, &text, 0o444)?;
    }
    Ok(())
}

/// This program, and the shadows of the commands that switch the power.
fn programs(plan: &Plan, root: &OwnedFd, own_program: &OwnedFd) -> io::Result<()> {
    let mut directory = root.try_clone()?;
    for name in PROGRAMS.split('/') {
        directory = place(&directory, name, 0o755)?;
    }
    tmpfs(&directory, "mode=755,size=64k")?;
    let mut directory = root.try_clone()?;
    for name in PROGRAMS.split('/') {
        directory = place(&directory, name, 0o755)?;
    }
    for name in power::COMMANDS {
        write(&directory, name, &power::script(name), 0o755)?;
    }
    let open = |name: &str| openat(&directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    for (n, name) in plan.programs.iter().enumerate() {
        write(&directory, name, "", 0o755)?;
        match n.checked_sub(1).and_then(|earlier| plan.programs.get(earlier)) {
            None => {
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                move_mount(own_program, c"", open(name)?, c"", flags)?;
            }
            Some(earlier) => mount_bind(by_descriptor(&open(earlier)?), by_descriptor(&open(name)?))?,
        }
        mount_remount(by_descriptor(&open(name)?), MountFlags::BIND | MountFlags::RDONLY, c"")?;
    }
    Ok(())
}

/// Whether this process is one of the image's programs in an instance: they are nowhere else, and neither is the mark.
pub fn in_machine() -> bool {
    let own = std::env::current_exe().is_ok_and(|exe| exe.starts_with(Path::new("/").join(PROGRAMS)));
    own && Path::new("/dev").join(HARDWARE).is_dir()
}

/// Writes a new file of the instance's root.
fn write(directory: &OwnedFd, name: &str, text: &str, mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_raw_mode(mode))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    io::Write::write_all(&mut File::from(file), text.as_bytes())?;
    own(directory, name)
}
