//! The bridge between records and the host driver.
//!
//! Each run tells the driver what should be (instances, networks, volumes), looks at what is, and moves the records of
//! all accounts and regions that differ, in one transaction. Nobody else talks to the driver about what to run.
//! What a snapshot says is built by pure functions (`instance`, `network`, `volumes`), and only where rows have changed.

mod instance;
mod names;
mod network;
mod traffic;
mod volumes;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::Result;
use standfast_core::host::HostSnapshot;
use standfast_kernel::{Cx, Wake, zones};
use standfast_store::{Record, Txn, View};

use super::model::{self, Instance, KeyPair, Volume};
use super::plan::{self, Step, World};
use super::{launch, tags};
use network::{Row, Tables, same};

/// The tables that say what hosts should do.
pub const TABLES: &[&str] = &[
    Instance::TABLE,
    KeyPair::TABLE,
    Volume::TABLE,
    model::Vpc::TABLE,
    model::Subnet::TABLE,
    model::InternetGateway::TABLE,
    model::RouteTable::TABLE,
    model::NetworkAcl::TABLE,
    model::SecurityGroup::TABLE,
    model::NetworkInterface::TABLE,
    model::DhcpOptions::TABLE,
    model::Tagged::TABLE,
    zones::TABLE,
];

/// A run walks all instances. With many of them, changes are left to gather for this long each before a run, so that
/// launches by the thousand are not slowed by a walk for each.
const GATHER_PER_INSTANCE: Duration = Duration::from_micros(10);
const GATHER_MAX: Duration = Duration::from_millis(200);
/// Below this many instances a run is cheap enough to answer every change at once.
const GATHER_FROM: usize = 500;

/// The records that a snapshot is made from.
#[derive(Default)]
struct Records {
    instances: Vec<Row<Instance>>,
    keys: Vec<Row<KeyPair>>,
    volumes: Vec<Row<Volume>>,
    /// Empty where hosts have no networks.
    networks: Tables,
    dark: BTreeSet<String>,
}

/// What the last run saw and told: what has not changed need not be built again, and when nothing has, the driver has
/// heard it already.
#[derive(Default)]
pub struct Memory {
    records: Records,
    told: Option<Arc<HostSnapshot>>,
}

/// What is remembered between runs: an optimisation that can be lost at any time.
pub type Shared = Arc<Mutex<Memory>>;

pub async fn run(cx: Cx, memory: Shared) -> Result<Wake> {
    let many = memory.lock().unwrap_or_else(PoisonError::into_inner).records.instances.len();
    if many >= GATHER_FROM {
        cx.clock().sleep((GATHER_PER_INSTANCE * many as u32).min(GATHER_MAX)).await;
    }
    let networks = cx.host().abilities().networks;
    let records = cx.view(|view| Records::read(view, networks));
    let (instances, dark) = (records.instances.clone(), records.dark.clone());
    let restarted = {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let restarted = memory.told.is_none();
        if let Some(snapshot) = memory.snapshot(&records) {
            let snapshot = Arc::new(snapshot);
            cx.host().obey(snapshot.clone());
            *memory = Memory { records, told: Some(snapshot) };
        }
        restarted
    };
    let observed = cx.host().observe();
    let now = cx.now();
    let mut steps = Vec::new();
    let mut wake = Wake::OnChange;
    for row in &instances {
        let (_, id, instance) = row;
        let seen = observed.instances.get(&**id);
        let world = World { seen, dark: dark.contains(&instance.zone), restarted, now };
        match plan::next(instance, world) {
            Some(step) => steps.push((row, step)),
            None => wake = plan::deadline(instance).map_or(wake, |due| wake.or(Wake::At(due))),
        }
    }
    if !steps.is_empty() {
        cx.txn(|tx| {
            steps.iter().for_each(|(row, step)| apply(tx, row, step));
            Ok(())
        })
        .await?;
    }
    Ok(wake)
}

impl Records {
    fn read(view: &View, networks: bool) -> Self {
        Self {
            instances: view.all(),
            keys: view.all(),
            volumes: view.all(),
            networks: if networks { Tables::read(view) } else { Tables::default() },
            dark: zones::dark(view),
        }
    }
}

impl Memory {
    /// What the driver should hear now; `None` when it has heard it.
    fn snapshot(&self, new: &Records) -> Option<HostSnapshot> {
        let old = &self.records;
        let told = self.told.as_ref();
        let networks = told.filter(|_| old.networks.same(&new.networks));
        let instances = told.filter(|_| same(&old.instances, &new.instances) && same(&old.keys, &new.keys));
        let volumes = told.filter(|_| same(&old.instances, &new.instances) && same(&old.volumes, &new.volumes));
        if networks.is_some() && instances.is_some() && volumes.is_some() && old.dark == new.dark {
            return None;
        }
        Some(HostSnapshot {
            instances: instances
                .map_or_else(|| instance::specs(&new.instances, &new.keys), |told| told.instances.clone()),
            dark_zones: new.dark.clone(),
            network: networks.map_or_else(|| new.networks.snapshot(), |told| told.network.clone()),
            volumes: volumes.map_or_else(|| volumes::specs(&new.volumes, &new.instances), |told| told.volumes.clone()),
            snapshots: Default::default(),
        })
    }
}

/// Takes a step, unless a request has moved the instance since it was planned: the next run plans anew.
fn apply(tx: &mut Txn, (scope, id, planned): &Row<Instance>, step: &Step) {
    let Some(now) = tx.get::<Instance>(scope, id) else { return };
    if (now.state, now.boot, now.resume) != (planned.state, planned.boot, planned.resume) {
        return;
    }
    match step {
        Step::Put(new) => tx.put(scope, id, moved(&now, new)),
        Step::Terminate(new) => {
            launch::release(tx, scope, &now);
            let empty = Instance { interfaces: Vec::new(), devices: Vec::new(), ..moved(&now, new) };
            tx.put(scope, id, empty);
        }
        Step::Forget => {
            tx.delete::<Instance>(scope, id);
            tags::forget(tx, scope, id);
        }
    }
}

/// The newest record with what a plan moves: attributes that were changed meanwhile stay changed.
fn moved(newest: &Instance, planned: &Instance) -> Instance {
    Instance {
        state: planned.state,
        reason: planned.reason.clone(),
        transition: planned.transition.clone(),
        changed: planned.changed,
        launched: planned.launched,
        boot: planned.boot,
        resume: planned.resume,
        public_ip: planned.public_ip,
        ..newest.clone()
    }
}
