//! Volumes, snapshots, images and imports.
//!
//! Invariant: a volume's attachment and the instance's list of devices say the same, and change in one transaction.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use standfast_core::Timestamp;
use standfast_core::id::{self, Id};
use standfast_store::Record;

use super::ClientToken;
use crate::ec2::errors::Keyed;

/// The index of records whose state the `volumes` controller has to move.
pub const MOVING_INDEX: &str = "moving";
/// The one value in that index.
pub const MOVING: &str = "moving";

/// A volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    pub zone: String,
    pub size_gib: i32,
    /// `gp2`, `gp3`, ...
    pub volume_type: String,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    /// What it was made from: an own snapshot, or one of the catalogue, which have no data.
    pub snapshot: Option<String>,
    pub created: Timestamp,
    pub attachment: Option<VolumeAttachment>,
    /// It holds a root file system: it was made with an instance, or from a snapshot of such a volume.
    #[serde(default)]
    pub root: bool,
    #[serde(default)]
    pub state: VolumeState,
    /// I/O hangs while this is set.
    #[serde(default)]
    pub paused: bool,
    /// The attribute of this name. Volumes here do not come up with their I/O switched off, so it is only kept.
    #[serde(default)]
    pub auto_enable_io: bool,
    /// The last change of type, size or performance.
    #[serde(default)]
    pub modification: Option<Modification>,
    #[serde(default)]
    pub client_token: Option<ClientToken>,
}

/// What became of a volume. Whether one that is there is `available` or `in-use` is said by its attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeState {
    Creating,
    #[default]
    Ready,
    /// It could not be made; the text says why.
    Failed(String),
    /// It goes as soon as the snapshots that are being taken of it are complete.
    Deleting,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VolumeAttachment {
    pub instance: Id<id::Instance>,
    pub device: String,
    pub attached: Timestamp,
    pub delete_on_termination: bool,
    /// The host has not been seen to have it yet.
    #[serde(default)]
    pub attaching: bool,
}

/// Type, size and performance: what ModifyVolume changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performance {
    pub volume_type: String,
    pub size_gib: i32,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
}

/// A change of a volume. It takes effect when `modifying` is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modification {
    pub original: Performance,
    pub target: Performance,
    pub started: Timestamp,
    pub state: ModificationState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModificationState {
    Modifying,
    Optimizing,
    Completed(Timestamp),
}

impl Volume {
    pub fn performance(&self) -> Performance {
        Performance {
            volume_type: self.volume_type.clone(),
            size_gib: self.size_gib,
            iops: self.iops,
            throughput: self.throughput,
        }
    }

    fn is_moving(&self) -> bool {
        let modified = self.modification.as_ref();
        matches!(self.state, VolumeState::Creating | VolumeState::Deleting)
            || self.attachment.as_ref().is_some_and(|attachment| attachment.attaching)
            || modified.is_some_and(|change| !matches!(change.state, ModificationState::Completed(_)))
    }
}

impl Record for Volume {
    const TABLE: &'static str = "ec2.volumes";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let token = self.client_token.iter().map(|token| ("token", token.token.clone()));
        token.chain(self.is_moving().then(|| (MOVING_INDEX, MOVING.to_owned()))).collect()
    }
}
impl Keyed for Volume {
    type Kind = id::Volume;
}

/// A snapshot of a volume, in the account that owns it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub source: SnapshotSource,
    /// The id of the volume as answers show it.
    pub volume: String,
    pub size_gib: i32,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    pub description: String,
    pub started: Timestamp,
    pub state: SnapshotState,
    /// Whether it is of a volume that holds a root file system.
    pub root: bool,
    /// The accounts that may make volumes from it, or `all`.
    pub shared_with: BTreeSet<String>,
}

/// Where a snapshot's data comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotSource {
    Volume(Id<id::Volume>),
    Copy {
        region: String,
        snapshot: Id<id::Snapshot>,
    },
    /// A root file system on the machine of the cloud.
    Import(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapshotState {
    Pending,
    Completed(Timestamp),
    Failed(String),
}

impl Snapshot {
    pub fn is_pending(&self) -> bool {
        self.state == SnapshotState::Pending
    }
}

impl Record for Snapshot {
    const TABLE: &'static str = "ec2.snapshots";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        if !self.is_pending() {
            return Vec::new();
        }
        let mut indexes = vec![(MOVING_INDEX, MOVING.to_owned())];
        if let SnapshotSource::Volume(volume) = &self.source {
            indexes.push((PENDING_OF_INDEX, volume.to_string()));
        }
        indexes
    }
}
impl Keyed for Snapshot {
    type Kind = id::Snapshot;
}

/// The index of snapshots that are being taken of a volume, by the volume's id.
pub const PENDING_OF_INDEX: &str = "pending_of";

/// An image of one's own. The images that every region has are not records (see `catalogue`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    pub name: String,
    pub description: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    pub root_device: String,
    /// In the order in which they were given.
    pub devices: Vec<ImageDevice>,
    pub created: Timestamp,
    pub state: ImageState,
    pub source: ImageSource,
    /// The accounts that may launch it, or `all`.
    pub launched_by: BTreeSet<String>,
    pub ena: bool,
    pub boot_mode: Option<String>,
    pub tpm: Option<String>,
    pub imds: Option<String>,
    pub client_token: Option<ClientToken>,
}

/// A volume that instances of an image begin with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageDevice {
    pub name: String,
    /// Empty when there is none.
    pub snapshot: Option<String>,
    pub size_gib: i32,
    pub volume_type: String,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub encrypted: bool,
    pub delete_on_termination: bool,
}

/// What an image was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSource {
    Instance(Id<id::Instance>),
    Copy { region: String, image: String },
    Registered,
    Imported,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageState {
    Pending,
    Available,
    Failed(String),
}

impl Image {
    /// The snapshots that it is made of.
    pub fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.devices.iter().filter_map(|device| device.snapshot.as_deref())
    }
}

impl Record for Image {
    const TABLE: &'static str = "ec2.images";
    fn unique(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone())]
    }
    fn indexes(&self) -> Vec<(&'static str, String)> {
        let mut indexes: Vec<_> = self.snapshots().map(|id| ("snapshot", id.to_owned())).collect();
        indexes.extend(self.client_token.iter().map(|token| ("token", token.token.clone())));
        if self.state == ImageState::Pending {
            indexes.push((MOVING_INDEX, MOVING.to_owned()));
        }
        indexes
    }
}
impl Keyed for Image {
    type Kind = id::Image;
}

/// An import, keyed by its own id (`import-ami-...`, `import-snap-...`). How far it is, its snapshot says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ImportTask {
    pub description: String,
    /// `TAR` or `OCI`.
    pub format: String,
    pub url: String,
    pub snapshot: Id<id::Snapshot>,
    /// `None` when only the snapshot was asked for.
    pub image: Option<Id<id::Image>>,
    pub architecture: String,
}

impl Record for ImportTask {
    const TABLE: &'static str = "ec2.imports";
}
