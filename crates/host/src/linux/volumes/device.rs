//! A file with a file system, as a loop device that is mounted.
//!
//! The mount is attached nowhere: this process holds it by a descriptor. So when the process ends, however it ends, the
//! mount goes, and with it the device, which clears itself (autoclear).
//!
//! The one exception is a file system that is frozen in that moment: a freeze holds it, and the kernel has no owner of a
//! freeze. [`thaw_all`] at the next start undoes it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::resize;
use rustix::fs::{Mode, OFlags, openat, syncfs};
use rustix::io::Errno;
use rustix::ioctl::{NoArg, Setter, Updater, ioctl};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

/// The file system of volumes.
const FILE_SYSTEM: &str = "ext4";

/// How often a free loop device is asked for: another process may take it first.
const TRIES_MAX: usize = 32;

const LOOP_SET_CAPACITY: u32 = 0x4c07;
const LOOP_CONFIGURE: u32 = 0x4c0a;
const LOOP_CTL_GET_FREE: u32 = 0x4c82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;
/// `_IOWR('X', 119, int)` and the one after it.
const FIFREEZE: u32 = 0xc004_5877;
const FITHAW: u32 = 0xc004_5878;
/// `_IOW('f', 16, __u64)`
const EXT4_IOC_RESIZE_FS: u32 = 0x4008_6610;

/// The kernel's `struct loop_config`, of which only the file and the flags are set.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    /// `struct loop_info64`: the flags are its 14th 32-bit word.
    info: [u32; 58],
    reserved: [u64; 8],
}
const INFO_FLAGS: usize = 13;

/// See the module's documentation.
pub struct Device {
    number: u32,
    device: File,
    /// The top of the file system, which keeps it mounted.
    top: OwnedFd,
}

impl Device {
    /// Mounts the file, and makes its file system as large as the file.
    pub fn open(path: &Path) -> io::Result<Self> {
        // A device of the file that is still there has the same file system: programs of an instance that it was
        // detached from may have it open. A second device would be a second, other file system on the same blocks.
        let (number, device) = match bound(path)? {
            Some(found) => found,
            None => {
                if resize::is_due(path)? && !resize::can_be_done_in_use() {
                    resize::offline(path)?;
                }
                bind(path)?
            }
        };
        let opened = Self::mounted(number, device)?;
        opened.grow(path)?;
        Ok(opened)
    }

    fn mounted(number: u32, device: File) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(mount(number)?, c".", flags, Mode::empty())?;
        Ok(Self { number, device, top })
    }

    /// Another mount of the same file system, attached nowhere.
    pub fn mount(&self) -> io::Result<OwnedFd> {
        mount(self.number)
    }

    pub fn major_minor(&self) -> (u32, u32) {
        const LOOP_MAJOR: u32 = 7;
        (LOOP_MAJOR, self.number)
    }

    /// Makes the device as large as its file has become, and the file system where that can be done in use.
    pub fn grow(&self, path: &Path) -> io::Result<()> {
        // SAFETY: the call takes no argument.
        #[allow(unsafe_code)]
        unsafe { ioctl(&self.device, NoArg::<LOOP_SET_CAPACITY>::new()) }?;
        if !resize::is_due(path)? {
            return Ok(());
        }
        if !resize::can_be_done_in_use() {
            eprintln!("level=warn event=grow_waits_for_attachment file={}", path.display());
            return Ok(());
        }
        let block_bytes = rustix::fs::fstatvfs(&self.top)?.f_frsize;
        let blocks = std::fs::metadata(path)?.len() / block_bytes;
        // SAFETY: the argument is a pointer to a 64-bit number of blocks, which is read.
        #[allow(unsafe_code)]
        let outcome = unsafe { ioctl(&self.top, Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks)) };
        outcome.map_err(|error| context("the file system cannot be made larger", error.into()))
    }

    /// Stops writes, which then wait, and brings what was written to the file. False when it was frozen already.
    pub fn freeze(&self) -> io::Result<bool> {
        match freeze_call::<FIFREEZE>(&self.top) {
            Ok(()) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets writes go on.
    pub fn thaw(&self) -> io::Result<()> {
        match freeze_call::<FITHAW>(&self.top) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.top)?)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A frozen file system would stay for ever.
        let _ = self.thaw();
    }
}

fn freeze_call<const CODE: u32>(top: &OwnedFd) -> rustix::io::Result<()> {
    let mut unused = 0i32;
    // SAFETY: the calls ignore their argument.
    #[allow(unsafe_code)]
    unsafe {
        ioctl(top, Updater::<CODE, i32>::new(&mut unused))
    }
}

/// A new device of the file.
fn bind(path: &Path) -> io::Result<(u32, File)> {
    let file = File::options().read(true).write(true).open(path)?;
    let control = File::options().read(true).write(true).open("/dev/loop-control")?;
    for _ in 0..TRIES_MAX {
        let number = free_number(&control)?;
        let device = open(number)?;
        // Without direct I/O what instances write would be cached twice; not every file system has it.
        for flags in [LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, LO_FLAGS_AUTOCLEAR] {
            let mut config = LoopConfig { fd: file.as_raw_fd() as u32, block_size: 0, info: [0; 58], reserved: [0; 8] };
            config.info[INFO_FLAGS] = flags;
            // SAFETY: the argument is the structure that the call reads, and the descriptor in it is open.
            #[allow(unsafe_code)]
            match unsafe { ioctl(&device, Setter::<LOOP_CONFIGURE, LoopConfig>::new(config)) } {
                Ok(()) => return Ok((number, device)),
                Err(Errno::BUSY) => break,
                Err(Errno::INVAL) => {}
                Err(error) => return Err(context("no loop device can be had", error.into())),
            }
        }
    }
    Err(io::Error::other("no loop device is free"))
}

fn free_number(control: &File) -> io::Result<u32> {
    // SAFETY: the call takes no argument; rustix has no form for one whose result is its return value.
    #[allow(unsafe_code)]
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
    u32::try_from(number).map_err(|_| context("no loop device is free", io::Error::last_os_error()))
}

fn open(number: u32) -> io::Result<File> {
    File::options().read(true).write(true).open(format!("/dev/loop{number}"))
}

/// The device that the file has.
fn bound(path: &Path) -> io::Result<Option<(u32, File)>> {
    for (number, file) in devices()? {
        if file == path {
            let device = open(number)?;
            // While it was not open it may have cleared itself; open, it stays.
            if devices()?.contains(&(number, file)) {
                return Ok(Some((number, device)));
            }
        }
    }
    Ok(None)
}

/// The loop devices of the machine that have files.
fn devices() -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        if let Ok(path) = fs::read_to_string(entry.path().join("loop/backing_file")) {
            found.push((number, path.trim_end_matches('\n').into()));
        }
    }
    Ok(found)
}

fn mount(number: u32) -> io::Result<OwnedFd> {
    let mounting = |error: Errno| context("the file system cannot be mounted", error.into());
    let context = fsopen(FILE_SYSTEM, FsOpenFlags::FSOPEN_CLOEXEC).map_err(mounting)?;
    fsconfig_set_string(&context, "source", format!("/dev/loop{number}")).map_err(mounting)?;
    // What an instance deletes gives its room back to the machine.
    fsconfig_set_flag(&context, "discard").map_err(mounting)?;
    fsconfig_create(&context).map_err(mounting)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOATIME;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(mounting)
}

/// Thaws what a process that is gone has left frozen of the files below `directory`. Their devices then clear themselves.
/// One that cannot be reached is left as it is: its file is still there, and may be attached again.
pub fn thaw_all(directory: &Path) -> io::Result<()> {
    for (number, path) in devices()?.into_iter().filter(|(_, path)| path.starts_with(directory)) {
        let thawed = open(number).and_then(|device| Device::mounted(number, device)?.thaw());
        if let Err(error) = thawed {
            eprintln!("level=error event=thaw_failed device=loop{number} file={} error={error:?}", path.display());
        }
    }
    Ok(())
}

/// An error with what could not be done because of it.
pub fn context(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
