//! Warm pools in the simulated world.

use super::sim::{self, Sim};
use super::{LONG, SECOND, block_on, settled};
use crate::autoscaling::model::{Hook, HookResult, Lifecycle, PoolState, WarmPool};

fn pool(state: PoolState) -> WarmPool {
    WarmPool { min: 0, prepared_max: None, state, reuse: None, deleting: false }
}

fn count(sim: &Sim, state: Lifecycle) -> usize {
    sim.records().expect("there").members.values().filter(|member| member.state == state).count()
}

async fn with_pool(desired: i32, max: i32, pool: WarmPool) -> Sim {
    let mut sim = settled(0, max, desired).await;
    sim.change_group(|group| group.warm_pool = Some(pool.clone())).await;
    sim.pass_time(LONG).await;
    sim
}

#[test]
fn a_pool_is_as_large_as_what_the_group_may_still_grow() {
    block_on(async {
        let sim = with_pool(2, 6, pool(PoolState::Stopped)).await;
        assert_eq!((count(&sim, Lifecycle::WarmedStopped), sim.running().len(), sim.serving()), (4, 2, 2));
        let own = WarmPool { prepared_max: Some(3), ..pool(PoolState::Running) };
        let sim = with_pool(2, 6, own).await;
        assert_eq!((count(&sim, Lifecycle::WarmedRunning), sim.running().len()), (1, 3));
        let own = WarmPool { min: 2, prepared_max: Some(3), ..pool(PoolState::Hibernated) };
        let sim = with_pool(2, 6, own).await;
        assert_eq!(count(&sim, Lifecycle::WarmedHibernated), 2);
    });
}

#[test]
fn a_group_grows_out_of_its_pool() {
    block_on(async {
        let mut sim = with_pool(1, 4, pool(PoolState::Stopped)).await;
        let launches = sim.launches;
        sim.change_group(|group| group.desired = 3).await;
        sim.pass_time(SECOND * 20).await;
        assert_eq!((sim.serving(), sim.launches), (3, launches), "started, not launched");
        assert_eq!(count(&sim, Lifecycle::WarmedStopped), 1);
        let told = sim.causes().into_iter().any(|own| own.description.starts_with("Launching a new EC2 instance from"));
        assert!(told);
        sim.change_group(|group| (group.max, group.desired) = (8, 6)).await;
        sim.pass_time(LONG).await;
        assert_eq!((sim.serving(), count(&sim, Lifecycle::WarmedStopped)), (6, 2), "the rest is launched");
    });
}

#[test]
fn a_pool_takes_back_what_the_group_lets_go() {
    for reuse in [None, Some(true)] {
        block_on(async {
            let mut sim = with_pool(3, 4, WarmPool { reuse, ..pool(PoolState::Stopped) }).await;
            let launches = sim.launches;
            sim.change_group(|group| group.desired = 1).await;
            sim.pass_time(LONG).await;
            assert_eq!((sim.serving(), count(&sim, Lifecycle::WarmedStopped)), (1, 3));
            assert_eq!(sim.launches - launches, if reuse.is_some() { 0 } else { 2 });
        });
    }
}

#[test]
fn hooks_hold_instances_on_their_way_in_and_out_of_the_pool() {
    block_on(async {
        let mut sim = settled(0, 2, 0).await;
        let hook = Hook {
            group: sim::NAME.into(),
            launching: true,
            heartbeat_s: 60,
            default: HookResult::Continue,
            metadata: None,
            notification_target: None,
            role: None,
        };
        sim.put_hook("prepare", hook).await;
        sim.change_group(|group| group.warm_pool = Some(pool(PoolState::Stopped))).await;
        sim.pass_time(SECOND * 30).await;
        assert_eq!(count(&sim, Lifecycle::WarmedPendingWait), 2);
        sim.pass_time(SECOND * 60).await;
        assert_eq!(count(&sim, Lifecycle::WarmedStopped), 2);
        sim.change_group(|group| group.desired = 1).await;
        sim.pass_time(SECOND * 30).await;
        assert_eq!(count(&sim, Lifecycle::PendingWait), 1);
        sim.pass_time(SECOND * 60).await;
        assert_eq!((sim.serving(), count(&sim, Lifecycle::WarmedStopped)), (1, 1));
    });
}

#[test]
fn a_pool_that_is_deleted_goes_when_it_is_empty() {
    block_on(async {
        let mut sim = with_pool(1, 3, pool(PoolState::Stopped)).await;
        sim.change_group(|group| group.warm_pool.as_mut().expect("there").deleting = true).await;
        sim.pass_time(LONG).await;
        let records = sim.records().expect("there");
        assert_eq!((records.group.warm_pool, records.members.len(), sim.serving()), (None, 1, 1));
    });
}
