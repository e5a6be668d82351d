//! The bridge between records and the host driver.
//!
//! Each run tells the driver what should be (instances, networks, volumes), looks at what is, and moves the records of
//! all accounts and regions that differ, in one transaction. Nobody else talks to the driver about what to run.
//! What a snapshot says is built by pure functions (`instance`, `network`, `volumes`), and only where rows have changed.

mod credentials;
mod dhcp;
mod faults;
mod instance;
mod metadata;
mod names;
mod network;
mod traffic;
mod volumes;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::host::{Abilities, HostSnapshot, Observed, Phase};
use standfast_core::network::NetworkSnapshot;
use standfast_core::{Result, Rng, Scope};
use standfast_kernel::faults::{self as kernel_faults, Fault};
use standfast_kernel::{Cx, Wake, zones};
use standfast_store::{Record, Txn, View};

use super::auto_addresses::{self, Giver};
use super::model::{
    self, Check, IMPAIRED_INDEX, IMPAIRED_TAG, Instance, KeyPair, RoleCredentials, Snapshot, State, Tagged, Volume,
};
use super::plan::{self, Step, World};
use super::{launch, state_events, tags};
use instance::Before;
use network::{Index, Row, Tables, same};

pub use credentials::{TABLES as CREDENTIALS_TABLES, run as renew_credentials};
pub use metadata::{REBALANCE_TAG, SPOT_ACTION_TAG};

/// The tables that say what hosts should do.
pub const TABLES: &[&str] = &[
    Instance::TABLE,
    KeyPair::TABLE,
    Volume::TABLE,
    Snapshot::TABLE,
    model::Vpc::TABLE,
    model::Subnet::TABLE,
    model::InternetGateway::TABLE,
    model::RouteTable::TABLE,
    model::NetworkAcl::TABLE,
    model::SecurityGroup::TABLE,
    model::NetworkInterface::TABLE,
    model::DhcpOptions::TABLE,
    model::Peering::TABLE,
    model::ManagedPrefixList::TABLE,
    model::Tagged::TABLE,
    RoleCredentials::TABLE,
    zones::TABLE,
    zones::LINKS_TABLE,
    kernel_faults::TABLE,
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
    tables: Tables,
    keys: Vec<Row<KeyPair>>,
    volumes: Vec<Row<Volume>>,
    snapshots: Vec<Row<Snapshot>>,
    /// Empty, like the tags, where hosts have no metadata service.
    credentials: Vec<Row<RoleCredentials>>,
    /// The tags of instances that may see something of them.
    tags: Vec<Row<Tagged>>,
    dark: BTreeSet<String>,
    /// The volumes whose I/O hangs.
    paused: BTreeSet<String>,
    /// The instances that are asked to fail a check.
    impaired: HashMap<Arc<str>, Check>,
}

/// What the last run saw and told: what has not changed need not be built again, and when nothing has, the driver has
/// heard it already.
#[derive(Default)]
pub struct Memory {
    records: Arc<Records>,
    told: Option<Arc<HostSnapshot>>,
}

/// What is remembered between runs: an optimisation that can be lost at any time.
pub type Shared = Arc<Mutex<Memory>>;

pub async fn run(cx: Cx, memory: Shared) -> Result<Wake> {
    let many = memory.lock().unwrap_or_else(PoisonError::into_inner).records.tables.instances.len();
    if many >= GATHER_FROM {
        cx.clock().sleep((GATHER_PER_INSTANCE * many as u32).min(GATHER_MAX)).await;
    }
    let able = cx.host().abilities();
    let records = Arc::new(cx.view(|view| Records::read(view, able)));
    {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = memory.snapshot(&records, able) {
            let snapshot = Arc::new(snapshot);
            cx.host().obey(snapshot.clone());
            *memory = Memory { records: records.clone(), told: Some(snapshot) };
        }
    }
    let observed = cx.host().observe();
    let now = cx.now();
    let mut steps = Vec::new();
    let mut wake = Wake::OnChange;
    for row in &records.tables.instances {
        let (_, id, instance) = row;
        let seen = observed.instances.get(&**id);
        let dark = records.dark.contains(&instance.zone);
        let world = World { seen, dark, asked: records.impaired.get(id).copied(), networks: able.networks, now };
        match plan::next(instance, world) {
            Some(step) => {
                log_failure(id, instance, seen);
                steps.push((row, step));
            }
            None => wake = plan::deadline(instance).map_or(wake, |due| wake.or(Wake::At(due))),
        }
    }
    if !steps.is_empty() {
        let giver = Giver::new(&cx);
        cx.txn(|tx| {
            let rng = giver.rng();
            steps.iter().for_each(|(row, step)| apply(tx, row, step, &giver, &rng));
            Ok(())
        })
        .await?;
    }
    Ok(wake)
}

/// Says why a boot failed: the owner of the instance hears less.
fn log_failure(id: &str, instance: &Instance, seen: Option<&Observed>) {
    let Some(seen) = seen.filter(|seen| seen.boot == instance.boot) else { return };
    if let Phase::Failed(why) = &seen.phase {
        eprintln!("level=warn event=boot_failed instance={id} boot={} reason={why:?}", seen.boot);
    }
}

impl Records {
    fn read(view: &View, able: Abilities) -> Self {
        let tables = Tables::read(view, able.networks || able.metadata);
        let impaired = impaired(view, &tables.instances);
        let told = |(_, _, instance): &&Row<Instance>| able.metadata && metadata::reads_tags(instance);
        let tags = tables.instances.iter().filter(told);
        let tags = tags.filter_map(|(scope, id, _)| Some((scope.clone(), id.clone(), view.get::<Tagged>(scope, id)?)));
        Self {
            keys: view.all(),
            volumes: view.all(),
            snapshots: view.all(),
            credentials: if able.metadata { view.all() } else { Vec::new() },
            tags: tags.collect(),
            dark: zones::dark(view),
            paused: paused(view),
            impaired,
            tables,
        }
    }

    /// Whether all that instances share, or are told besides their own records, is the same.
    fn same_around_instances(&self, new: &Self) -> bool {
        same(&self.keys, &new.keys)
            && same(&self.credentials, &new.credentials)
            && same(&self.tags, &new.tags)
            && self.tables.same_around_instances(&new.tables)
    }
}

/// The volumes whose I/O hangs because of a fault.
fn paused(view: &View) -> BTreeSet<String> {
    let each = kernel_faults::all(view).into_iter().filter_map(|fault| match fault {
        Fault::Volumes(ids) => Some(ids),
        _ => None,
    });
    each.flatten().collect()
}

/// The instances that have the tag of an impaired check, by the index of tags.
fn impaired(view: &View, instances: &[Row<Instance>]) -> HashMap<Arc<str>, Check> {
    let scopes: BTreeSet<&Scope> = instances.iter().map(|(scope, ..)| scope).collect();
    let checks = [("system", Check::System), ("instance", Check::Instance)];
    let tagged = scopes.into_iter().flat_map(|scope| {
        checks.into_iter().flat_map(move |(text, check)| {
            let found = view.by_index::<Tagged>(scope, IMPAIRED_INDEX, text);
            found.into_iter().map(move |(id, _)| (id, check))
        })
    });
    tagged.collect()
}

impl Memory {
    /// What the driver should hear now; `None` when it has heard it.
    fn snapshot(&self, new: &Records, able: Abilities) -> Option<HostSnapshot> {
        let (old, told) = (&self.records, self.told.as_ref());
        let tables = old.tables.same(&new.tables);
        let networks = told.filter(|_| tables);
        let around = told.filter(|_| old.same_around_instances(new));
        let instances = around.filter(|_| tables);
        let volumes = told.filter(|_| same(&old.volumes, &new.volumes) && old.paused == new.paused);
        let snapshots = same(&old.snapshots, &new.snapshots);
        if networks.is_some() && instances.is_some() && volumes.is_some() && snapshots && old.dark == new.dark {
            return None;
        }
        let index = Index::of(&new.tables);
        Some(HostSnapshot {
            instances: match instances {
                Some(told) => told.instances.clone(),
                None => {
                    let before =
                        around.filter(|_| able.metadata).map(|told| Before { records: old, specs: &told.instances });
                    instance::specs(new, &index, able, before)
                }
            },
            dark_zones: new.dark.clone(),
            network: match networks {
                Some(told) => told.network.clone(),
                None if able.networks => new.tables.snapshot(&index),
                None => NetworkSnapshot::default(),
            },
            volumes: volumes.map_or_else(|| volumes::specs(&new.volumes, &new.paused), |told| told.volumes.clone()),
            snapshots: volumes::snapshots(&new.snapshots),
        })
    }
}

/// Takes a step, unless a request has moved the instance since it was planned: the next run plans anew.
fn apply(tx: &mut Txn, (scope, id, planned): &Row<Instance>, step: &Step, giver: &Giver, rng: &Rng) {
    let Some(now) = tx.get::<Instance>(scope, id) else { return };
    let same = (now.state, now.boot, now.resume, now.impaired)
        == (planned.state, planned.boot, planned.resume, planned.impaired);
    if !same {
        return;
    }
    match step {
        Step::Put(new) => {
            match new.state {
                State::Stopped => auto_addresses::take_back(tx, scope, &now),
                // One that no address is left for starts without.
                State::Pending => giver.give(tx, scope, &now, rng).unwrap_or_default(),
                _ => (),
            }
            state_events::moved(tx, scope, id, Some(now.state), new);
            tx.put(scope, id, moved(&now, new));
        }
        Step::Heal(new) => {
            tx.put(scope, id, moved(&now, new));
            if let Some(tagged) = tx.get::<Tagged>(scope, id) {
                let mut tagged = (*tagged).clone();
                tagged.tags.remove(IMPAIRED_TAG);
                tx.put(scope, id, tagged);
            }
        }
        Step::Terminate(new) => {
            launch::release(tx, scope, &now);
            state_events::moved(tx, scope, id, Some(now.state), new);
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
        impaired: planned.impaired,
        recovered: planned.recovered,
        ..newest.clone()
    }
}
