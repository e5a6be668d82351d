//! Between the control plane and whatever runs instances.
//!
//! The control plane publishes what should be (`HostSnapshot`), the driver makes it so and shows what is
//! (`HostObservation`). Both are levels, not events: obeying the same snapshot twice changes nothing, and a driver that
//! was started again converges on the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{Id, Instance};
use crate::{BoxFuture, Error};

/// What a host should run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSnapshot {
    /// The instances that exist. One that is missing here is terminated and its directory removed.
    pub instances: BTreeMap<Id<Instance>, InstanceSpec>,
    /// Zones without power: what runs there is killed at once (SIGKILL, no grace) and nothing starts.
    pub dark_zones: BTreeSet<String>,
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
    /// The decoded user data. Text that begins with `#!` is run by its interpreter at the first boot only.
    pub user_data: Vec<u8>,
    /// Whether it should be running; false stops it and keeps its directory.
    pub power: bool,
    /// Counts boots: starting, or rebooting a running instance, is a higher number. A running instance whose number
    /// is lower than this one's is shut down and booted again.
    pub boot: u64,
}

/// What a host sees.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostObservation {
    pub instances: BTreeMap<Id<Instance>, Observed>,
}

/// An instance as its host sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub phase: Phase,
    /// The boot that the phase speaks of.
    pub boot: u64,
    /// Where it can be reached from the data plane: a loopback address in the process driver.
    pub address: Option<Ipv4Addr>,
    /// CPU time used since the boot.
    pub cpu_time: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
