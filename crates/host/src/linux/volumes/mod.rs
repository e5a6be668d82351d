//! Volumes and snapshots, on disk and in instances.
//!
//! Owns `volumes`, `snapshots`, `layers` and `chunks` in the state directory (see [`store`]), the loop devices of data
//! volumes and their mounts. [`Volumes::apply`] takes what should be; steps towards it (`plan`) run on blocking threads.
//!
//! # Root volumes
//! A directory, the upper one of the instance's overlay, over the layers of the snapshot that it was made from. A snapshot
//! of one is a copy of that directory as one more layer; a volume made from it, and a copy of it, copy nothing. Its size
//! is not enforced: it shares the machine's disk.
//!
//! # Data volumes
//! A sparse file with an ext4 file system on a loop device. Instances are in user namespaces and cannot mount devices, so
//! this differs from EC2: the file system is made with the volume and is mounted in the instance at `/mnt/NAME`, where
//! `/dev/NAME` is the name of the device that it was attached as; there is no device node. A full volume gives ENOSPC.
//! One that is made larger is so at once, file system included, where that is allowed (`resize`). After a detach, files that the instance still has open
//! stay usable. Snapshots are taken while writes wait, so they are consistent. A data volume cannot be made from a
//! snapshot of a root volume, nor the other way round.
//!
//! # Paused I/O
//! The file system is frozen: writes wait (uninterruptibly, so [`Volumes::leave`] comes before a kill), reads go on.
//!
//! # Invariant
//! Nothing outlives the process but files: mounts hang on descriptors, devices clear themselves. What is half-made when
//! the process dies is made again.

mod chunks;
mod device;
mod idmap;
mod import;
mod machine;
mod plan;
mod resize;
mod sparse;
mod state;
mod steps;
mod store;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use standfast_core::host::{DiskUse, HostSnapshot, Progress};
use standfast_core::id::{self, Id, Instance};
use tokio::runtime::Handle;
use tokio::sync::watch;

use plan::Step;
use state::{Machine, State, Volume};
use store::{Store, VolumeRecord};

pub use idmap::{map as map_mount, user_namespace};

/// Steps that run at once; others wait.
const STEPS_MAX: usize = 32;

/// How long a start of an instance waits for its volumes. One that comes later appears in the running instance.
const ENTER_LIMIT: Duration = Duration::from_secs(10);

/// See the module's documentation. Dropping it lets running steps finish and starts no more.
pub struct Volumes(Arc<Inner>);

struct Inner {
    store: Store,
    runtime: Handle,
    user_namespace: OwnedFd,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

/// The file system of an instance's root volume. While it is held the volume is not removed.
pub struct RootTree {
    /// What the instance writes; owned by its root.
    pub upper: PathBuf,
    /// The overlay's working directory, on the same file system.
    pub work: PathBuf,
    /// What lies below, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// Whether the layers are a whole root file system, so that the base image does not lie below them.
    pub whole: bool,
    _hold: Hold,
}

struct Hold {
    count: Option<Arc<()>>,
    volumes: Weak<Inner>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.count = None;
        if let Some(volumes) = self.volumes.upgrade() {
            volumes.advance();
        }
    }
}

/// A data volume that is attached to an instance and has its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub volume: Id<id::Volume>,
    /// As it was asked for: `/dev/sdf`.
    pub device_name: String,
    /// Where it is in the instance: `/mnt/sdf`.
    pub path: String,
    /// The loop device.
    pub major: u32,
    pub minor: u32,
    /// Whether its reads and writes hang.
    pub paused: bool,
}

/// What a volume's device may do for its instance, to be written into the instance's cgroup (`blkio.throttle.*` or
/// `io.max`). The kernel counts reads, and writes that are synced or direct; with cgroup v1 it does not count what is
/// written back later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub major: u32,
    pub minor: u32,
    pub iops: u32,
    pub bytes_per_second: u64,
    pub read_bytes_per_second: u64,
}

/// The least that is a limit at all: a page takes more than an hour.
const HANGING: u64 = 1;

/// Thaws what a process that is gone has left frozen of a state directory.
pub fn thaw_all(state: &Path) -> io::Result<()> {
    device::thaw_all(&state.join(store::VOLUMES))
}

impl Volumes {
    /// Takes over the state directory: removes what is half-made there, undoes what an earlier process left frozen, and
    /// knows what is whole. Nothing is removed that is whole before the first `apply`.
    pub fn start(state: &Path, runtime: Handle) -> io::Result<Volumes> {
        let store = Store::open(state)?;
        thaw_all(state)?;
        let mut known = State { garbage: true, ..State::default() };
        for (id, record) in store.volumes()? {
            let size_gib = match record {
                VolumeRecord::Root(_) => 0,
                VolumeRecord::Data => steps::gibibytes(std::fs::metadata(store.data(&id))?.len()),
            };
            known.volumes.insert(id, Volume { made: Some(record), size_gib, ..Volume::default() });
        }
        known.snapshots = store.snapshots()?.into_iter().map(|(id, record)| (id, Ok(record))).collect();
        let user_namespace =
            user_namespace().map_err(|error| device::context("no user namespace can be made", error))?;
        Ok(Volumes(Arc::new(Inner {
            store,
            runtime,
            user_namespace,
            state: Mutex::new(known),
            changes: watch::Sender::new(0),
        })))
    }

    /// Takes what should be and returns at once.
    pub fn apply(&self, snapshot: Arc<HostSnapshot>) {
        let mut state = self.0.state();
        state.wanted = Some(snapshot);
        for volume in state.volumes.values_mut() {
            volume.refused = None;
            volume.stuck = false;
        }
        drop(state);
        self.0.advance();
    }

    /// How far each volume and snapshot is that should be there.
    pub fn progress(&self) -> (BTreeMap<Id<id::Volume>, Progress>, BTreeMap<Id<id::Snapshot>, Progress>) {
        let state = self.0.state();
        let Some(wanted) = &state.wanted else { return Default::default() };
        let volumes = wanted
            .volumes
            .keys()
            .map(|id| (id.clone(), state.volumes.get(id).map_or(Progress::Working, Volume::progress)));
        let snapshots = wanted.snapshots.keys().map(|id| {
            let progress = match state.snapshots.get(id) {
                None => Progress::Working,
                Some(Ok(_)) => Progress::Ready,
                Some(Err(reason)) => Progress::Failed(reason.clone()),
            };
            (id.clone(), progress)
        });
        (volumes.collect(), snapshots.collect())
    }

    /// What the devices of attached volumes did. Reads a file of the kernel's for each.
    pub fn disks(&self) -> BTreeMap<Id<id::Volume>, DiskUse> {
        let devices: Vec<_> = {
            let state = self.0.state();
            let mounted = state.volumes.iter().filter_map(|(id, volume)| Some((id, volume.mounted.as_ref()?)));
            mounted.map(|(id, mounted)| (id.clone(), mounted.device.major_minor())).collect()
        };
        let read = |(id, (major, minor)): (Id<id::Volume>, (u32, u32))| {
            let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
            Some((id, super::counters::disk(&text)?))
        };
        devices.into_iter().filter_map(read).collect()
    }

    /// Changes whenever `progress`, `attachments` or `limits` may have.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// The tree of a root volume that is `Ready`.
    pub fn root(&self, id: &Id<id::Volume>) -> io::Result<RootTree> {
        let state = self.0.state();
        let volume = state.volumes.get(id);
        let Some((volume, VolumeRecord::Root(layers))) = volume.and_then(|v| Some((v, v.made.as_ref()?))) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("the root volume {id} is not ready")));
        };
        let count = Some(volume.hold.clone());
        Ok(RootTree {
            upper: self.0.store.volume(id).join("tree"),
            work: self.0.store.volume(id).join("work"),
            layers: layers.names.iter().map(|name| self.0.store.layer(name)).collect(),
            whole: layers.whole,
            _hold: Hold { count, volumes: Arc::downgrade(&self.0) },
        })
    }

    /// The instance's root file system is in place; `init` is a pidfd of a process in its mount namespace. Resolves when
    /// the volumes that are attached to it now are there. Later changes reach it by themselves, until `leave`.
    pub async fn enter(&self, id: &Id<Instance>, init: OwnedFd) {
        let mut changes = self.0.changes.subscribe();
        {
            let mut state = self.0.state();
            state.boots += 1;
            let machine = Machine { init: Arc::new(init), boot: state.boots };
            state.machines.insert(id.clone(), machine);
            // What its last boot did not take, because it was ending, this one may.
            for volume in state.volumes.values_mut().filter(|volume| volume.refused_by(id)) {
                volume.refused = None;
            }
        }
        self.0.advance();
        let settled = async { while plan::awaited(&self.0.state(), id) && changes.changed().await.is_ok() {} };
        if tokio::time::timeout(ENTER_LIMIT, settled).await.is_err() {
            eprintln!("level=warn event=volumes_late instance={id}");
        }
    }

    /// The instance ends or is about to be killed: nothing more is shown in it, and no write of it waits any longer. Nor does a
    /// read, once its limits are as [`Self::limits`] says then.
    pub fn leave(&self, id: &Id<Instance>) {
        let mut state = self.0.state();
        state.machines.remove(id);
        let mounted = state.volumes.values_mut().filter_map(|volume| volume.mounted.as_mut());
        for mounted in mounted.filter(|mounted| mounted.instance == *id && mounted.paused) {
            mounted.paused = false;
            if let Err(error) = mounted.device.thaw() {
                eprintln!("level=error event=thaw_failed instance={id} error={error:?}");
            }
        }
    }

    /// The data volumes that the instance has.
    pub fn attachments(&self, id: &Id<Instance>) -> Vec<Attachment> {
        let state = self.0.state();
        let of_instance = state.volumes.iter().filter_map(|(volume, known)| {
            let mounted = known.mounted.as_ref().filter(|mounted| mounted.instance == *id)?;
            let (major, minor) = mounted.device.major_minor();
            let short = machine::short_name(&mounted.device_name).unwrap_or_default();
            let path = format!("{}/{short}", machine::MOUNTS);
            let (volume, device_name, paused) = (volume.clone(), mounted.device_name.clone(), mounted.paused);
            Some(Attachment { volume, device_name, path, major, minor, paused })
        });
        of_instance.collect()
    }

    /// What the instance's volumes may do.
    pub fn limits(&self, id: &Id<Instance>) -> Vec<Limit> {
        let wanted = self.0.state().wanted.clone().unwrap_or_default();
        let attachments = self.attachments(id).into_iter();
        let limits = attachments.filter_map(|attachment| {
            let spec = wanted.volumes.get(&attachment.volume)?;
            let bytes_per_second = u64::from(spec.throughput_mib) << 20;
            Some(Limit {
                major: attachment.major,
                minor: attachment.minor,
                iops: spec.iops,
                bytes_per_second,
                read_bytes_per_second: if attachment.paused { HANGING } else { bytes_per_second },
            })
        });
        limits.collect()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what can be done now.
    fn advance(self: &Arc<Self>) {
        let mut state = self.state();
        let Some(wanted) = state.wanted.clone() else { return };
        let room = STEPS_MAX.saturating_sub(state.running);
        for step in plan::plan(&state).into_iter().take(room) {
            let needs = step.needs(&wanted);
            state.busy.take(&needs);
            state.busy.collecting = step == Step::Collect;
            state.running += 1;
            // A step does not keep the volumes from being dropped before it begins.
            let (volumes, wanted) = (Arc::downgrade(self), wanted.clone());
            self.runtime.spawn_blocking(move || {
                let Some(volumes) = volumes.upgrade() else { return };
                steps::take(&volumes, &step, &wanted);
                let mut state = volumes.state();
                state.busy.give_back(&needs);
                state.busy.collecting = false;
                state.running -= 1;
                drop(state);
                volumes.changes.send_modify(|count| *count += 1);
                volumes.advance();
            });
        }
    }
}
