//! The simulated driver: an instance is a state and the time of its next change.
//!
//! It obeys the same rules as the process driver, on the control plane's clock, which in tests is virtual. One task
//! wakes at the earliest time in a heap; nothing polls. On top of the driver's interface it has hooks with which a
//! test breaks applications (`set_app`), loads processors (`set_cpu`) and fails boots (`fail_next_boots`).
//!
//! Not here: networks. `answer` says what an instance's application would say to a probe; who probes is not its
//! concern, and the port is not looked at.

mod machine;

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use standfast_core::host::{Abilities, ExecOutput, HostDriver, HostObservation, HostSnapshot, Phase, Progress};
use standfast_core::{BoxFuture, Clock, Error, Id, Rng, Timestamp, id::Instance};
use tokio::sync::Notify;

use crate::address::Pool;
use crate::errors;
use crate::rules::{self, KILLED, Step, Target, ZONE_DARK};
use machine::{Due, Machine};

/// How a simulated driver behaves. Times are on the control plane's clock.
#[derive(Clone, Debug)]
pub struct SimConfig {
    pub clock: Clock,
    /// Where the jitter comes from.
    pub rng: Rng,
    /// From the decision to boot until the instance runs.
    pub boot_time: Duration,
    /// Each boot takes up to this much longer than `boot_time`, by chance.
    pub boot_jitter: Duration,
    /// From the decision to shut down until the instance is off.
    pub shutdown_time: Duration,
    /// From running until the application answers.
    pub app_start_time: Duration,
    /// What it says that it can do. It only notes what it is told of networks; volumes are there as soon as it is told.
    pub abilities: Abilities,
}

impl SimConfig {
    pub fn new(clock: Clock, rng: Rng) -> Self {
        Self {
            clock,
            rng,
            boot_time: Duration::from_secs(2),
            boot_jitter: Duration::from_millis(200),
            shutdown_time: Duration::from_secs(1),
            app_start_time: Duration::from_secs(1),
            abilities: Abilities::default(),
        }
    }
}

/// What an instance's application does with a request. Every boot begins with a healthy one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum App {
    /// Answers 200.
    #[default]
    Healthy,
    /// Answers this status.
    Status(u16),
    /// Takes the connection and never answers.
    Hang,
    /// Has crashed: connections are refused.
    Dead,
}

/// What a probe sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimReply {
    Status(u16),
    Refused,
    Timeout,
}

/// See the module's documentation.
pub struct SimHost {
    config: SimConfig,
    table: Mutex<Table>,
    /// Wakes those who wait in the order in which they came, so that a seed is a run.
    changes: Arc<Notify>,
    /// The earliest time in the heap has changed, or the driver is dropped.
    earlier: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    machines: BTreeMap<Id<Instance>, Machine>,
    by_address: HashMap<Ipv4Addr, Id<Instance>>,
    addresses: Pool,
    due: BinaryHeap<Due>,
    /// What it was told last.
    told: Arc<HostSnapshot>,
    /// How many boots are still to fail, and why.
    failing: Option<(usize, String)>,
    closed: bool,
}

impl SimHost {
    /// Starts a driver on the current runtime. Its task ends when the driver is dropped.
    pub fn start(config: SimConfig) -> Arc<Self> {
        let (clock, earlier) = (config.clock.clone(), Arc::new(Notify::new()));
        let (table, changes) = (Mutex::default(), Arc::new(Notify::new()));
        let host = Arc::new(Self { config, table, changes, earlier: earlier.clone() });
        tokio::spawn(run(Arc::downgrade(&host), clock, earlier));
        host
    }

    /// What a request to the address would get. `path` is not looked at: an application has one state.
    pub fn answer(&self, address: SocketAddr, path: &str) -> SimReply {
        let _ = path;
        let SocketAddr::V4(address) = address else { return SimReply::Refused };
        let table = self.table();
        let machine = table.by_address.get(address.ip()).and_then(|id| table.machines.get(id));
        let up = |m: &&Machine| {
            m.status.phase == Phase::Running && self.config.clock.now() >= m.since + self.config.app_start_time
        };
        match machine.filter(up).map(|machine| machine.app) {
            None | Some(App::Dead) => SimReply::Refused,
            Some(App::Healthy) => SimReply::Status(200),
            Some(App::Status(status)) => SimReply::Status(status),
            Some(App::Hang) => SimReply::Timeout,
        }
    }

    /// Changes what the instance's application does, until its next boot. Nothing for an unknown instance.
    pub fn set_app(&self, id: &Id<Instance>, app: App) {
        if let Some(machine) = self.table().machines.get_mut(id) {
            machine.app = app;
        }
    }

    /// Sets how much of one processor the instance uses from now on, until its next boot.
    pub fn set_cpu(&self, id: &Id<Instance>, share: f64) {
        let now = self.config.clock.now();
        if let Some(machine) = self.table().machines.get_mut(id) {
            machine.set_cpu(share, now);
        }
    }

    /// The next `n` boots end as failed.
    pub fn fail_next_boots(&self, n: usize, reason: &str) {
        self.table().failing = (n > 0).then(|| (n, reason.to_string()));
    }

    /// What it was told last.
    pub fn snapshot(&self) -> Arc<HostSnapshot> {
        self.table().told.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what is due and returns when the next is.
    fn advance(&self) -> Option<Timestamp> {
        let now = self.config.clock.now();
        let mut guard = self.table();
        let table = &mut *guard;
        let mut changed = false;
        while table.due.peek().is_some_and(|due| due.at <= now) {
            let Some(due) = table.due.pop() else { break };
            // A number that has moved on means that something else happened to the instance first.
            if let Some(machine) = table.machines.get_mut(&due.id).filter(|m| m.turn == due.turn) {
                machine.arrive(now);
                self.settle(table, &due.id, now);
                changed = true;
            }
        }
        let next = table.due.peek().map(|due| due.at);
        drop(guard);
        if changed {
            self.changes.notify_waiters();
        }
        next
    }

    /// Takes all steps that an instance can take now; whether there was any.
    fn settle(&self, table: &mut Table, id: &Id<Instance>, now: Timestamp) -> bool {
        let mut changed = false;
        while let Some(machine) = table.machines.get_mut(id) {
            let wait = match rules::next(&machine.status, &machine.target) {
                Step::Stay => return changed,
                Step::Boot(boot) => {
                    machine.boot(boot, now, take(&mut table.failing));
                    let jitter_ms = self.config.boot_jitter.as_millis() as usize;
                    Some(self.config.boot_time + Duration::from_millis(self.config.rng.below(jitter_ms + 1) as u64))
                }
                Step::Refuse(boot) => {
                    machine.status.boot = Some(boot);
                    machine.enter(Phase::Crashed(ZONE_DARK.into()), now);
                    None
                }
                Step::ShutDown => {
                    machine.enter(Phase::ShuttingDown, now);
                    Some(self.config.shutdown_time)
                }
                Step::Cut => {
                    machine.enter(Phase::Crashed(ZONE_DARK.into()), now);
                    None
                }
                Step::SwitchOff => {
                    machine.enter(Phase::Off, now);
                    None
                }
                Step::Remove => {
                    table.forget(id);
                    None
                }
            };
            changed = true;
            if let Some(wait) = wait {
                table.schedule(id, now + wait, &self.earlier);
            }
        }
        changed
    }
}

impl Table {
    fn schedule(&mut self, id: &Id<Instance>, at: Timestamp, earlier: &Notify) {
        let Some(machine) = self.machines.get(id) else { return };
        if self.due.peek().is_none_or(|first| at < first.at) {
            earlier.notify_one();
        }
        self.due.push(Due { at, id: id.clone(), turn: machine.turn });
    }

    /// Sets what every instance should be; returns those for which that changed. Both maps are in the order of ids, so
    /// one pass along both does it: the control plane publishes thousands of instances many times a second.
    fn aim(&mut self, snapshot: &HostSnapshot, now: Timestamp) -> Vec<Id<Instance>> {
        let (mut touched, mut new) = (Vec::new(), Vec::new());
        let mut machines = self.machines.iter_mut().peekable();
        for (id, spec) in &snapshot.instances {
            let dark = snapshot.dark_zones.contains(&spec.zone);
            let target = Target { exists: true, power: spec.power, boot: spec.boot, dark };
            while let Some((gone, machine)) = machines.next_if(|(known, _)| *known < id) {
                retire(gone, machine, &mut touched);
            }
            match machines.next_if(|(known, _)| *known == id) {
                Some((_, machine)) if machine.target == target => {}
                Some((_, machine)) => {
                    machine.target = target;
                    touched.push(id.clone());
                }
                None => new.push((id.clone(), target)),
            }
        }
        machines.for_each(|(gone, machine)| retire(gone, machine, &mut touched));
        for (id, target) in new {
            self.add(&id, target, now);
            touched.push(id);
        }
        touched
    }

    fn forget(&mut self, id: &Id<Instance>) {
        if let Some(machine) = self.machines.remove(id) {
            self.by_address.remove(&machine.address);
            self.addresses.release(machine.address);
        }
    }

    /// Adds an instance. Without an address (8 million are taken) it does not exist.
    fn add(&mut self, id: &Id<Instance>, target: Target, now: Timestamp) {
        if let Some(address) = self.addresses.claim(id) {
            self.by_address.insert(address, id.clone());
            self.machines.insert(id.clone(), Machine::new(address, target, now));
        }
    }
}

/// An instance that is no longer in the snapshot is to go.
fn retire(id: &Id<Instance>, machine: &mut Machine, touched: &mut Vec<Id<Instance>>) {
    if std::mem::replace(&mut machine.target.exists, false) {
        touched.push(id.clone());
    }
}

/// Counts one failure off.
fn take(failing: &mut Option<(usize, String)>) -> Option<String> {
    let (left, reason) = failing.as_mut()?;
    let reason = reason.clone();
    *left -= 1;
    if *left == 0 {
        *failing = None;
    }
    Some(reason)
}

impl Drop for SimHost {
    fn drop(&mut self) {
        self.earlier.notify_one();
    }
}

/// The one task: sleeps until the next thing is due, or until there is an earlier one.
async fn run(host: Weak<SimHost>, clock: Clock, earlier: Arc<Notify>) {
    loop {
        // Nothing of the driver is held while it sleeps, so that it can be dropped.
        let Some(next) = host.upgrade().map(|host| host.advance()) else { return };
        let sleep = async {
            match next {
                // A little late is right and a little early is a busy loop: the clock counts whole milliseconds.
                Some(at) => clock.sleep(at.since(clock.now()) + Duration::from_millis(1)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = sleep => {}
            () = earlier.notified() => {}
        }
    }
}

impl HostDriver for SimHost {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn abilities(&self) -> Abilities {
        self.config.abilities
    }

    fn obey(&self, snapshot: Arc<HostSnapshot>) {
        let now = self.config.clock.now();
        let mut guard = self.table();
        let table = &mut *guard;
        if table.closed {
            return;
        }
        let touched = table.aim(&snapshot, now);
        // Volumes and snapshots are made at the moment they are heard of.
        let made = self.config.abilities.volumes
            && (table.told.volumes.keys().ne(snapshot.volumes.keys())
                || table.told.snapshots.keys().ne(snapshot.snapshots.keys()));
        let mut changed = made;
        for id in &touched {
            changed |= self.settle(table, id, now);
        }
        table.told = snapshot;
        drop(guard);
        if changed {
            self.changes.notify_waiters();
        }
    }

    fn observe(&self) -> HostObservation {
        let now = self.config.clock.now();
        let table = self.table();
        let instances = table.machines.iter().map(|(id, m)| (id.clone(), m.observed(now))).collect();
        if !self.config.abilities.volumes {
            return HostObservation { instances, ..HostObservation::default() };
        }
        HostObservation {
            instances,
            volumes: table.told.volumes.keys().map(|id| (id.clone(), Progress::Ready)).collect(),
            snapshots: table.told.snapshots.keys().map(|id| (id.clone(), Progress::Ready)).collect(),
            ..HostObservation::default()
        }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        // It hears of all that comes after this call, also before it is first polled.
        Box::pin(self.changes.clone().notified_owned())
    }

    fn kill(&self, id: &Id<Instance>) -> Result<(), Error> {
        let now = self.config.clock.now();
        let mut table = self.table();
        let machine = table.machines.get_mut(id).ok_or_else(|| errors::not_found(id))?;
        if !machine.is_on() {
            return Err(errors::not_running(id));
        }
        machine.enter(Phase::Crashed(KILLED.into()), now);
        self.settle(&mut table, id, now);
        drop(table);
        self.changes.notify_waiters();
        Ok(())
    }

    fn console(&self, id: &Id<Instance>) -> Vec<u8> {
        self.table().machines.get(id).map(|machine| machine.console(id).into_bytes()).unwrap_or_default()
    }

    /// Pretends to: `echo` gives its arguments back, and so does everything else.
    fn exec(&self, id: &Id<Instance>, argv: Vec<String>, _: Duration) -> BoxFuture<'static, Result<ExecOutput, Error>> {
        let running = match self.table().machines.get(id) {
            None => Err(errors::not_found(id)),
            Some(machine) if machine.status.phase != Phase::Running => Err(errors::not_running(id)),
            Some(_) => Ok(()),
        };
        Box::pin(async move {
            running?;
            let words = if argv.first().is_some_and(|program| program == "echo") { &argv[1..] } else { &argv[..] };
            Ok(ExecOutput { code: 0, stdout: format!("{}\n", words.join(" ")).into_bytes(), stderr: Vec::new() })
        })
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        *self.table() = Table { closed: true, ..Table::default() };
        self.changes.notify_waiters();
        Box::pin(std::future::ready(()))
    }
}
