//! What the tasks of a driver share: the table of instances, and telling of changes.
//!
//! Invariant: nothing waits while it holds the table's lock. A process id in the table belongs to a process that
//! nobody has waited for, so it cannot have been given to a stranger.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::process::Pid;
use standfast_core::host::{HostObservation, HostSnapshot, InstanceSpec, Observed, Phase, Traffic};
use standfast_core::{Clock, Id, id::Instance};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};

use super::Backend;
use super::directory::Directory;
use super::machine::{self, Live, Request};
use super::state::StateDir;
use crate::rules::{RESTARTED, Status, Target, ZONE_DARK};

/// How many instances are started at the same time.
const BOOTS_AT_ONCE: usize = 8;
/// How often CPU time is read, in control-plane time, and the least real time between two readings.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);
const SAMPLE_INTERVAL_REAL_MIN: Duration = Duration::from_millis(200);

pub(crate) struct Cloud {
    pub backend: Arc<dyn Backend>,
    pub clock: Clock,
    /// Whether instances' directories outlive the cloud.
    pub keep: bool,
    pub state: StateDir,
    pub boots: Semaphore,
    pub changes: watch::Sender<()>,
    pub exec_count: AtomicU64,
    runtime: Handle,
    table: Mutex<Table>,
}

struct Table {
    slots: BTreeMap<Id<Instance>, Slot>,
    snapshot: Arc<HostSnapshot>,
    /// Held by every instance's task, so that the end of all of them can be waited for. `None` once the cloud ends.
    tasks: Option<mpsc::Sender<()>>,
}

struct Slot {
    target: watch::Sender<Target>,
    status: Status,
    address: Ipv4Addr,
    cpu_time: Duration,
    traffic: Option<Traffic>,
    /// Why the power of this boot was cut, if it was.
    cut: Option<&'static str>,
    live: Option<Live>,
}

impl Cloud {
    /// A cloud with the instances that the directory holds, which are all down. The receiver ends when all tasks have.
    pub fn new(
        state: StateDir,
        clock: Clock,
        keep: bool,
        backend: Arc<dyn Backend>,
        runtime: Handle,
    ) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (tasks, ended) = mpsc::channel(1);
        let left = state.left();
        let table = Table { slots: BTreeMap::new(), snapshot: Arc::default(), tasks: Some(tasks) };
        let cloud = Arc::new(Self {
            boots: Semaphore::new(BOOTS_AT_ONCE),
            changes: watch::Sender::new(()),
            exec_count: AtomicU64::new(0),
            table: Mutex::new(table),
            backend,
            clock,
            keep,
            state,
            runtime,
        });
        for (id, record) in left {
            let mut table = cloud.table();
            let status = Status { phase: Phase::Crashed(RESTARTED.into()), boot: Some(record.boot) };
            // Until a snapshot says otherwise it is to stay as it is.
            let target = Target { exists: true, power: true, boot: record.boot, dark: false };
            cloud.add(&mut table, id, target, status, None, Some(record.address));
        }
        cloud.runtime.spawn(sample(Arc::downgrade(&cloud)));
        (cloud, ended)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn obey(self: &Arc<Self>, snapshot: Arc<HostSnapshot>) {
        let mut guard = self.table();
        let table = &mut *guard;
        if table.tasks.is_none() {
            return;
        }
        for (id, spec) in &snapshot.instances {
            let dark = snapshot.dark_zones.contains(&spec.zone);
            let target = Target { exists: true, power: spec.power, boot: spec.boot, dark };
            match table.slots.get_mut(id) {
                Some(slot) => slot.aim(target),
                None => self.add(table, id.clone(), target, Status::NEW, Some(spec), None),
            }
        }
        for (id, slot) in &mut table.slots {
            if !snapshot.instances.contains_key(id) {
                let target = Target { exists: false, ..*slot.target.borrow() };
                slot.aim(target);
            }
        }
        table.snapshot = snapshot;
    }

    /// Gives the instance an address and a task. Without an address it does not exist.
    fn add(
        self: &Arc<Self>,
        table: &mut Table,
        id: Id<Instance>,
        target: Target,
        status: Status,
        spec: Option<&InstanceSpec>,
        earlier: Option<Ipv4Addr>,
    ) {
        let Some(alive) = table.tasks.clone() else { return };
        let Some(address) = self.backend.claim(&id, spec, earlier) else { return };
        let (target, receiver) = watch::channel(target);
        table.slots.insert(
            id.clone(),
            Slot { target, status, address, cpu_time: Duration::ZERO, traffic: None, cut: None, live: None },
        );
        let cloud = self.clone();
        self.runtime.spawn(async move {
            machine::live(cloud, id, receiver).await;
            drop(alive);
        });
    }

    /// From now on nothing boots; everything goes down, and is removed unless it is to be kept.
    pub fn close(&self) {
        let mut table = self.table();
        table.tasks = None;
        for slot in table.slots.values_mut() {
            let target = Target { exists: self.keep, power: false, ..*slot.target.borrow() };
            // Also wakes the tasks that have nothing to do, so that they see the end.
            slot.target.send_replace(target);
        }
    }

    pub fn is_closing(&self) -> bool {
        self.table().tasks.is_none()
    }

    pub fn observe(&self) -> HostObservation {
        let table = self.table();
        let speed = self.clock.speed();
        let seen = |slot: &Slot| Observed {
            phase: slot.status.phase.clone(),
            boot: slot.status.boot.unwrap_or(0),
            address: Some(slot.address),
            cpu_time: slot.cpu_time.mul_f64(speed),
            traffic: slot.traffic,
        };
        HostObservation {
            instances: table.slots.iter().map(|(id, slot)| (id.clone(), seen(slot))).collect(),
            ..HostObservation::default()
        }
    }

    fn with<T>(&self, id: &Id<Instance>, f: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.table().slots.get_mut(id).map(f)
    }

    pub fn status(&self, id: &Id<Instance>) -> Option<Status> {
        self.with(id, |slot| slot.status.clone())
    }

    pub fn spec(&self, id: &Id<Instance>) -> Option<InstanceSpec> {
        self.table().snapshot.instances.get(id).cloned()
    }

    pub fn address(&self, id: &Id<Instance>) -> Ipv4Addr {
        self.with(id, |slot| slot.address).unwrap_or(Ipv4Addr::LOCALHOST)
    }

    pub fn directory(&self, id: &Id<Instance>) -> Directory {
        self.state.instance(id)
    }

    /// What marks the processes of an instance of this cloud.
    pub fn mark(&self, id: &Id<Instance>) -> String {
        format!("{}/{id}", self.state.cloud)
    }

    /// Shows a phase of a boot.
    pub fn show(&self, id: &Id<Instance>, phase: Phase, boot: u64) {
        let changed = self.with(id, |slot| {
            if phase == Phase::Booting {
                slot.cpu_time = Duration::ZERO;
                slot.traffic = None;
                slot.cut = None;
            }
            let status = Status { phase, boot: Some(boot) };
            std::mem::replace(&mut slot.status, status.clone()) != status
        });
        if changed == Some(true) {
            self.changes.send_replace(());
        }
    }

    /// The instance has an init. It may have been killed, or its zone have lost power, since the boot was decided.
    pub fn up(&self, id: &Id<Instance>, live: Live) {
        self.with(id, |slot| {
            slot.live = Some(live);
            let dark = slot.target.borrow().dark;
            if let Some(reason) = slot.cut.or(dark.then_some(ZONE_DARK)) {
                slot.cut(reason);
            }
        });
    }

    /// The instance is down, in this phase, for the boot that it was in.
    pub fn down(&self, id: &Id<Instance>, phase: Phase) {
        let boot = self.with(id, |slot| {
            slot.live = None;
            slot.status.boot.unwrap_or(0)
        });
        self.show(id, phase, boot.unwrap_or(0));
    }

    /// Cuts the power of an instance that is on; false when it is not.
    pub fn cut(&self, id: &Id<Instance>, reason: &'static str) -> bool {
        self.with(id, |slot| slot.cut(reason)).unwrap_or(false)
    }

    pub fn cut_reason(&self, id: &Id<Instance>) -> Option<&'static str> {
        self.with(id, |slot| slot.cut).flatten()
    }

    /// Where the init of a running instance takes commands.
    pub fn requests(&self, id: &Id<Instance>) -> Option<mpsc::Sender<Request>> {
        self.with(id, |slot| match slot.status.phase {
            Phase::Running => slot.live.as_ref().map(|live| live.requests.clone()),
            _ => None,
        })
        .flatten()
    }

    pub fn has(&self, id: &Id<Instance>) -> bool {
        self.table().slots.contains_key(id)
    }

    /// The init is about to be waited for: its process id is ours no more.
    pub fn let_go(&self, id: &Id<Instance>) {
        self.with(id, |slot| {
            if let Some(live) = &mut slot.live {
                live.init = None;
            }
        });
    }

    /// Takes a removed instance out of the table; false when a snapshot has brought it back meanwhile.
    pub fn forget(&self, id: &Id<Instance>) -> bool {
        let mut table = self.table();
        if let Some(slot) = table.slots.get_mut(id)
            && slot.target.borrow().exists
        {
            slot.status = Status::NEW;
            return false;
        }
        if let Some(slot) = table.slots.remove(id) {
            self.backend.release(slot.address);
        }
        drop(table);
        self.changes.send_replace(());
        true
    }

    pub fn next_exec(&self) -> u64 {
        self.exec_count.fetch_add(1, Ordering::Relaxed)
    }

    fn inits(&self) -> Vec<(Id<Instance>, Pid)> {
        let table = self.table();
        table.slots.iter().filter_map(|(id, slot)| Some((id.clone(), slot.live.as_ref()?.init?))).collect()
    }
}

impl Slot {
    /// Sets what should be, and cuts the power at once where its zone is dark.
    fn aim(&mut self, target: Target) {
        self.target.send_if_modified(|old| std::mem::replace(old, target) != target);
        if target.dark {
            self.cut(ZONE_DARK);
        }
    }

    fn cut(&mut self, reason: &'static str) -> bool {
        let on = matches!(self.status.phase, Phase::Booting | Phase::Running | Phase::ShuttingDown);
        if on {
            self.cut.get_or_insert(reason);
        }
        if let Some(live) = &self.live {
            live.plug.pull();
        }
        on
    }
}

/// Reads the counters of all instances now and then, for as long as the cloud is there.
async fn sample(cloud: Weak<Cloud>) {
    let Some(clock) = cloud.upgrade().map(|cloud| cloud.clock.clone()) else { return };
    let interval = SAMPLE_INTERVAL.max(SAMPLE_INTERVAL_REAL_MIN.mul_f64(clock.speed()));
    loop {
        clock.sleep(interval).await;
        let Some(inits) = cloud.upgrade().map(|cloud| cloud.inits()) else { return };
        if inits.is_empty() {
            continue;
        }
        let Some(backend) = cloud.upgrade().map(|cloud| cloud.backend.clone()) else { return };
        let read = move || (backend.cpu_times(&inits), backend.traffic(&inits), inits);
        let (times, traffic, inits) = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        let Some(cloud) = cloud.upgrade() else { return };
        for (id, init) in inits {
            cloud.with(&id, |slot| {
                let same = slot.live.as_ref().is_some_and(|live| live.init == Some(init));
                if let Some(time) = times.get(&init).filter(|_| same) {
                    slot.cpu_time = slot.cpu_time.max(*time);
                }
                if let Some(traffic) = traffic.get(&init).filter(|_| same) {
                    slot.traffic = Some(*traffic);
                }
            });
        }
    }
}
