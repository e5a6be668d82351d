//! Between the control plane and whatever runs instances.
//!
//! The control plane publishes what should be (`HostSnapshot`), the driver makes it so and shows what is
//! (`HostObservation`). Both are levels, not events: obeying the same snapshot twice changes nothing, and a driver that
//! was started again converges on the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{self, Id, Instance};
use crate::network::NetworkSnapshot;
use crate::{BoxFuture, Error};

/// Why an instance crashed that ran when its host ended: the one crash after which it is to be started again, as the host
/// itself is back.
pub const HOST_RESTARTED: &str = "the cloud was restarted";

/// What the text of `Phase::Failed` begins with when the machine has too little left for the instance.
pub const NO_CAPACITY: &str = "no capacity";

/// Where connections of instances to the cloud's API come from, on the machine. Nothing else of a cloud calls from there.
pub const INSTANCES_CALL_FROM: Ipv4Addr = Ipv4Addr::new(127, 254, 255, 254);

/// What a host should run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSnapshot {
    /// The instances that exist. One that is missing here is terminated and its directory removed.
    pub instances: BTreeMap<Id<Instance>, InstanceSpec>,
    /// Zones without power: what runs there is killed at once (SIGKILL, no grace) and nothing starts.
    pub dark_zones: BTreeSet<String>,
    pub network: NetworkSnapshot,
    /// The volumes that exist, root volumes included. One that is missing here is deleted with its data.
    pub volumes: BTreeMap<Id<id::Volume>, VolumeSpec>,
    /// The snapshots that exist. One that is missing here is deleted; what was made from it stays.
    pub snapshots: BTreeMap<Id<id::Snapshot>, SnapshotSpec>,
}

/// A volume as its host needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeSpec {
    pub zone: String,
    pub size_gib: u32,
    /// Input and output operations per second, and MiB per second, that it may do.
    pub iops: u32,
    pub throughput_mib: u32,
    /// What it began as; empty when `None`.
    pub from: Option<Id<id::Snapshot>>,
    /// For the root volume of an instance: a file tree over the base image instead of a block device.
    pub root: bool,
    /// The instance that has it and the device's name (`/dev/sdf`).
    pub attached: Option<(Id<Instance>, String)>,
    /// I/O hangs while this is set.
    pub paused: bool,
}

/// A snapshot as its host needs to know it: what is to be copied, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SnapshotSpec {
    /// As the volume is at the first sight of this snapshot: what was written and not synced may be missing.
    OfVolume(Id<id::Volume>),
    CopyOf(Id<id::Snapshot>),
    /// A root file system to import: a tarball or an OCI layout directory on the machine of the cloud.
    Import(PathBuf),
}

/// How far a volume or a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    Working,
    Ready,
    /// It cannot be made; the text says why (the disk is full, no loop device is free).
    Failed(String),
}

/// An instance as its host needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceSpec {
    pub account: String,
    pub region: String,
    pub zone: String,
    pub instance_type: String,
    pub image_id: String,
    /// Its address in its VPC. A driver without networks of its own gives another one (see `Observed::address`).
    pub private_ip: Ipv4Addr,
    /// How much of the machine it may use at most, and sees inside.
    pub vcpus: u32,
    pub memory_mib: u64,
    /// Fully qualified: `ip-10-0-1-5.eu-west-1.compute.internal`.
    pub hostname: String,
    /// The resolvers that it is told to ask, and the domains in which it looks for short names.
    pub resolvers: Vec<Ipv4Addr>,
    pub search: String,
    /// Public keys that may log in, in OpenSSH's format.
    pub ssh_keys: Vec<String>,
    /// The volume that holds what it writes to its file system; `VolumeSpec::from` names what lies over the base image.
    pub root_volume: Option<Id<id::Volume>>,
    pub metadata: Metadata,
    /// The decoded user data. Text that begins with `#!` is run by its interpreter at the first boot only.
    pub user_data: Vec<u8>,
    /// Whether it should be running; false stops it and keeps its directory.
    pub power: bool,
    /// Counts boots: starting, or rebooting a running instance, is a higher number. A running instance whose number
    /// is lower than this one's is shut down and booted again.
    pub boot: u64,
}

/// What the metadata service tells an instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    pub enabled: bool,
    /// Whether requests without a token (version 1) are refused.
    pub tokens_required: bool,
    /// The time to live of the packets that carry a token, 1 to 64.
    pub hop_limit: u8,
    /// Every leaf of the tree by its path, without a leading slash and with the version left out: `meta-data/ami-id`,
    /// `user-data`, `dynamic/instance-identity/document`. Directories are what their leaves imply.
    pub tree: BTreeMap<String, String>,
}

/// What a host sees.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostObservation {
    pub instances: BTreeMap<Id<Instance>, Observed>,
    pub volumes: BTreeMap<Id<id::Volume>, Progress>,
    pub snapshots: BTreeMap<Id<id::Snapshot>, Progress>,
    /// What the devices of attached volumes did, where volumes are devices.
    pub disks: BTreeMap<Id<id::Volume>, DiskUse>,
    /// Where the network namespaces of `Owner::Service` interfaces can be opened: `/proc/PID/fd/N`.
    pub namespaces: BTreeMap<Id<id::NetworkInterface>, PathBuf>,
}

/// What a driver can really do. What it cannot is refused by those who would promise it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Instances have networks of their own and `HostSnapshot::network` is made true: addresses, routes, groups, ACLs.
    pub networks: bool,
    /// Volumes and snapshots are made, and instances have file systems of their own.
    pub volumes: bool,
    /// The metadata service answers at 169.254.169.254.
    pub metadata: bool,
    /// Packets can be lost, and can be delayed, between zones.
    pub loss: bool,
    pub delay: bool,
}

/// An instance as its host sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    pub phase: Phase,
    /// The boot that the phase speaks of.
    pub boot: u64,
    /// Where it can be reached from the data plane: a loopback address in the process driver, its private address (from
    /// within its VPC) where instances have networks.
    pub address: Option<Ipv4Addr>,
    /// CPU time used since the boot, on the control plane's clock: at twice the speed it is twice what the machine counted.
    pub cpu_time: Duration,
    /// What its interfaces carried since the boot, where it has interfaces of its own.
    pub traffic: Option<Traffic>,
}

/// Counters of an instance's network interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub packets_in: u64,
    pub packets_out: u64,
}

/// Counters of a volume's device, since it was attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub write_bytes: u64,
    /// How long something was under way, and the sum of how long each took.
    pub busy: Duration,
    pub waited: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Booting,
    Running,
    ShuttingDown,
    /// Not running because it was told to be off.
    Off,
    /// It died or was killed without being told: power lost, SIGKILL, its last process ended by a signal.
    Crashed(String),
    /// It could not be started; the text says why.
    Failed(String),
}

/// The answer of a command run inside an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// The exit code; 128 + N for signal N, 124 when the time ran out.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Whatever runs instances: processes, namespaces, or a simulation.
pub trait HostDriver: Send + Sync + 'static {
    /// The name for people: `process`, `sim`, `linux`.
    fn name(&self) -> &'static str;

    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Takes the state that should be and returns at once; the work goes on in the driver's own tasks.
    fn obey(&self, snapshot: Arc<HostSnapshot>);

    /// What is now. Only instances that the driver has (or had, when it crashed) appear.
    fn observe(&self) -> HostObservation;

    /// Resolves at the next change of a phase after the call of this method.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// Kills the instance with SIGKILL, now, as a hardware failure would. It then shows as `Crashed`.
    fn kill(&self, id: &Id<Instance>) -> Result<(), Error>;

    /// The newest console output, at most 64 KiB.
    fn console(&self, id: &Id<Instance>) -> Vec<u8>;

    /// Runs a command inside the instance and waits for its end.
    fn exec(
        &self,
        id: &Id<Instance>,
        argv: Vec<String>,
        limit: Duration,
    ) -> BoxFuture<'static, Result<ExecOutput, Error>>;

    /// Ends everything and leaves nothing behind; resolves when that is done.
    fn shutdown(&self) -> BoxFuture<'static, ()>;
}
