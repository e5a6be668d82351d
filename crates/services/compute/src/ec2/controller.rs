//! The bridge between records and the host driver.
//!
//! Each run tells the driver what should be, looks at what is, and moves the records of all accounts and regions that
//! differ, in one transaction. Nobody else talks to the driver about what to run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use standfast_core::host::{HostSnapshot, InstanceSpec, Metadata};
use standfast_core::id::{self, Id};
use standfast_core::{Result, Scope};
use standfast_kernel::{Cx, Wake, zones};
use standfast_store::Txn;

use super::model::Instance;
use super::plan::{self, Step, World};
use super::{launch, tags};

/// A run walks all instances. With many of them, changes are left to gather for this long each before a run, so that
/// launches by the thousand are not slowed by a walk for each.
const GATHER_PER_INSTANCE: Duration = Duration::from_micros(10);
const GATHER_MAX: Duration = Duration::from_millis(200);
/// Below this many instances a run is cheap enough to answer every change at once.
const GATHER_FROM: usize = 500;

/// An instance's record and where it is.
type Row = (Scope, Arc<str>, Arc<Instance>);

/// What the last run saw: when nothing of it has changed, the driver has heard it already.
#[derive(Default)]
pub struct Memory {
    rows: Vec<Row>,
    dark: BTreeSet<String>,
    told: bool,
}

/// What is remembered between runs: an optimisation that can be lost at any time.
pub type Shared = Arc<Mutex<Memory>>;

pub async fn run(cx: Cx, memory: Shared) -> Result<Wake> {
    let many = memory.lock().unwrap_or_else(PoisonError::into_inner).rows.len();
    if many >= GATHER_FROM {
        cx.clock().sleep((GATHER_PER_INSTANCE * many as u32).min(GATHER_MAX)).await;
    }
    let (rows, dark) = cx.view(|view| (view.all::<Instance>(), zones::dark(view)));
    let restarted = {
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        let restarted = !memory.told;
        if !memory.told || memory.dark != dark || !same(&memory.rows, &rows) {
            cx.host().obey(Arc::new(snapshot(&rows, &dark)));
            *memory = Memory { rows: rows.clone(), dark: dark.clone(), told: true };
        }
        restarted
    };
    let observed = cx.host().observe();
    let now = cx.now();
    let mut steps = Vec::new();
    let mut wake = Wake::OnChange;
    for row in &rows {
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

fn same(old: &[Row], new: &[Row]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(&old.2, &new.2))
}

/// What the host should run: everything that is not on its way out.
fn snapshot(rows: &[Row], dark: &BTreeSet<String>) -> HostSnapshot {
    let there = rows.iter().filter(|(_, _, instance)| !instance.state.is_ending());
    let instances: BTreeMap<Id<id::Instance>, InstanceSpec> =
        there.map(|(scope, id, instance)| (Id::from_shared(id.clone()), spec(scope, instance))).collect();
    HostSnapshot { instances, dark_zones: dark.clone(), ..HostSnapshot::default() }
}

fn spec(scope: &Scope, instance: &Instance) -> InstanceSpec {
    InstanceSpec {
        account: scope.account.to_string(),
        region: scope.region.to_string(),
        zone: instance.zone.clone(),
        instance_type: instance.instance_type.clone(),
        image_id: instance.image.clone(),
        private_ip: instance.private_ip,
        user_data: instance.user_data.0.to_vec(),
        power: instance.state.has_power(),
        boot: instance.boot,
        vcpus: 2,
        memory_mib: 1024,
        hostname: String::new(),
        ssh_keys: Vec::new(),
        root_volume: None,
        metadata: Metadata::default(),
    }
}

/// Takes a step, unless a request has moved the instance since it was planned: the next run plans anew.
fn apply(tx: &mut Txn, (scope, id, planned): &Row, step: &Step) {
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
