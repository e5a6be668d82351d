//! Groups in a simulated world: what they do about faults, and that they come to rest where they should.

mod day;
mod mixed;
mod pool;
mod replacing;
mod sim;

use std::time::Duration;

use proptest::prelude::*;

use super::model::{Hook, HookResult, Lifecycle, Process, Status, TerminationPolicy};
use sim::{Sim, TARGET_GROUP, ZONES, group};

/// Long enough for anything to settle, back-offs included.
const LONG: Duration = Duration::from_secs(1800);
const SECOND: Duration = Duration::from_secs(1);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built").block_on(future)
}

fn instances(sim: &Sim) -> usize {
    sim.records().expect("the group is there").members.len()
}

async fn settled(min: i32, max: i32, desired: i32) -> Sim {
    let mut sim = Sim::new(7, group(min, max, desired)).await;
    sim.pass_time(LONG).await;
    assert_eq!(sim.serving(), desired as usize);
    sim
}

#[test]
fn a_new_group_spreads_over_its_zones() {
    block_on(async {
        let sim = settled(3, 9, 5).await;
        assert_eq!(sim.spread(), [2, 2, 1]);
        assert!(sim.causes().iter().all(|activity| activity.status == Status::Successful));
    });
}

#[test]
fn a_stopped_instance_is_replaced_at_once() {
    block_on(async {
        let mut sim = settled(3, 9, 5).await;
        let victim = sim.running()[0].clone();
        let launches = sim.launches;
        sim.stop(&victim);
        sim.react().await;
        assert_eq!(sim.launches, launches + 1, "no time has passed");
        sim.pass_time(LONG).await;
        assert_eq!((sim.serving(), sim.spread()), (5, vec![2, 2, 1]));
        assert_eq!(instances(&sim), 5, "the old one is gone");
        let causes: Vec<String> = sim.causes().into_iter().map(|activity| activity.cause).collect();
        assert!(
            causes.iter().any(|cause| cause.contains("EC2 health check indicating it has been terminated or stop"))
        );
        assert!(causes.iter().any(|cause| cause.contains("an unhealthy instance needing to be replaced")));
    });
}

#[test]
fn elb_health_counts_after_the_grace_period() {
    block_on(async {
        let mut sim = Sim::new(7, group(1, 2, 1)).await;
        sim.pass_time(SECOND * 5).await;
        let victim = sim.running()[0].clone();
        sim.break_app(&victim);
        sim.pass_time(SECOND * 20).await;
        assert_eq!(sim.launches, 1, "in grace");
        sim.pass_time(SECOND * 20).await;
        assert_eq!(sim.launches, 2, "after grace");
        sim.pass_time(LONG).await;
        assert_eq!((sim.serving(), instances(&sim)), (1, 1));
    });
}

#[test]
fn a_zone_is_lost_and_comes_back() {
    block_on(async {
        let mut sim = settled(3, 9, 5).await;
        sim.cut(ZONES[0]);
        sim.react().await;
        sim.pass_time(SECOND * 10).await;
        assert_eq!(sim.serving(), 5, "capacity is in the other zones within a boot and a health check");
        assert_eq!(sim.spread(), [3, 2, 0]);
        let failed = sim.causes().into_iter().find(|activity| activity.status == Status::Failed);
        let message = failed.and_then(|activity| activity.message).expect("the refused launch is told of");
        assert!(message.ends_with("Launching EC2 instance failed."), "{message}");

        sim.dark.clear();
        sim.react().await;
        let limit = sim.now + LONG;
        while sim.step(limit).await {
            assert!(sim.serving() >= 5, "never fewer than desired after the zone is back");
        }
        assert_eq!((sim.serving(), sim.spread(), instances(&sim)), (5, vec![2, 2, 1], 5));
    });
}

#[test]
fn a_group_shrinks_where_it_has_most_and_drains_first() {
    block_on(async {
        let mut sim = settled(1, 9, 5).await;
        sim.change_group(|group| group.desired = 3).await;
        sim.react().await;
        assert_eq!((sim.running().len(), sim.spread()), (5, vec![1, 1, 1]), "they drain");
        sim.pass_time(SECOND * 5).await;
        assert_eq!(sim.running().len(), 5, "still");
        sim.pass_time(LONG).await;
        assert_eq!((sim.running().len(), instances(&sim), sim.serving()), (3, 3, 3));
    });
}

#[test]
fn protected_instances_stay() {
    block_on(async {
        let mut sim = settled(0, 9, 3).await;
        let ids: Vec<_> = sim.records().expect("there").members.keys().cloned().collect();
        for id in &ids[..2] {
            sim.change_member(id, |member| member.protected = true).await;
        }
        sim.change_group(|group| group.desired = 0).await;
        sim.pass_time(LONG).await;
        let left: Vec<_> = sim.records().expect("there").members.into_keys().collect();
        assert_eq!(left, ids[..2]);
    });
}

#[test]
fn policies_choose_who_goes() {
    for (policy, newest_goes) in [(TerminationPolicy::OldestInstance, false), (TerminationPolicy::NewestInstance, true)]
    {
        block_on(async {
            let mut sim = Sim::new(7, group(0, 9, 3)).await;
            sim.change_group(|group| {
                group.termination_policies = vec![policy];
                group.desired = 1;
            })
            .await;
            sim.pass_time(LONG).await;
            let first = sim.running();
            sim.change_group(|group| group.desired = 2).await;
            sim.pass_time(LONG).await;
            sim.change_group(|group| group.desired = 1).await;
            sim.pass_time(LONG).await;
            assert_eq!(sim.running() == first, newest_goes);
        });
    }
}

#[test]
fn suspended_processes_do_not_run() {
    block_on(async {
        let mut sim = settled(1, 9, 3).await;
        let suspend = |process: Process| {
            move |group: &mut super::model::Group| drop(group.suspended.insert(process, String::new()))
        };
        sim.change_group(suspend(Process::Launch)).await;
        sim.change_group(|group| group.desired = 5).await;
        sim.pass_time(LONG).await;
        assert_eq!(sim.serving(), 3, "no launch");
        sim.change_group(|group| group.suspended.clear()).await;
        sim.pass_time(LONG).await;
        assert_eq!(sim.serving(), 5);
        sim.change_group(suspend(Process::ReplaceUnhealthy)).await;
        let victim = sim.running()[0].clone();
        sim.stop(&victim);
        sim.pass_time(LONG).await;
        assert_eq!((instances(&sim), sim.serving()), (5, 4), "marked, not replaced");
        sim.change_group(suspend(Process::Terminate)).await;
        sim.change_group(|group| group.desired = 1).await;
        sim.pass_time(LONG).await;
        assert_eq!(instances(&sim), 5, "nothing ends");
    });
}

#[test]
fn deletion_by_force_leaves_nothing() {
    block_on(async {
        let mut sim = settled(1, 9, 3).await;
        sim.change_group(|group| (group.deleting, group.min, group.desired) = (true, 0, 0)).await;
        sim.pass_time(SECOND * 3).await;
        assert!(sim.records().is_none(), "no draining is waited for");
        assert!(sim.running().is_empty());
    });
}

#[test]
fn hooks_hold_instances_until_they_time_out() {
    block_on(async {
        let mut sim = Sim::new(7, group(0, 3, 1)).await;
        let hook = Hook {
            group: sim::NAME.into(),
            launching: true,
            heartbeat_s: 60,
            default: HookResult::Continue,
            metadata: None,
            notification_target: None,
            role: None,
        };
        sim.put_hook("warm", hook.clone()).await;
        sim.put_hook("save", Hook { launching: false, ..hook }).await;
        let state = |sim: &Sim| sim.records().expect("there").members.values().next().map(|member| member.state);
        sim.pass_time(SECOND * 30).await;
        assert_eq!(state(&sim), Some(Lifecycle::PendingWait));
        sim.pass_time(SECOND * 60).await;
        assert_eq!(state(&sim), Some(Lifecycle::InService));
        sim.change_group(|group| group.desired = 0).await;
        sim.pass_time(SECOND * 30).await;
        assert_eq!(state(&sim), Some(Lifecycle::TerminatingWait), "drained, held");
        sim.pass_time(SECOND * 60).await;
        assert_eq!(state(&sim), None);
    });
}

#[test]
fn target_groups_come_and_go() {
    block_on(async {
        let mut sim = settled(1, 9, 2).await;
        sim.change_group(|group| group.target_groups.clear()).await;
        sim.pass_time(LONG).await;
        assert!(sim.records().expect("there").members.values().all(|member| member.targets.is_empty()));
        sim.change_group(|group| group.target_groups = vec![TARGET_GROUP.into()]).await;
        sim.pass_time(LONG).await;
        assert_eq!(sim.serving(), 2);
    });
}

/// Something that happens to a group.
#[derive(Clone, Debug)]
enum Fault {
    Stop(usize),
    BreakApp(usize),
    Cut(usize),
    Heal,
    Full(usize),
    Room,
    Desire(i32),
    Protect(usize),
    Pass(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (0..9usize).prop_map(Fault::Stop),
        2 => (0..9usize).prop_map(Fault::BreakApp),
        2 => (0..3usize).prop_map(Fault::Cut),
        2 => Just(Fault::Heal),
        1 => (0..3usize).prop_map(Fault::Full),
        1 => Just(Fault::Room),
        2 => (1..=9i32).prop_map(Fault::Desire),
        1 => (0..9usize).prop_map(Fault::Protect),
        6 => (0..120u64).prop_map(Fault::Pass),
    ]
}

async fn happen(sim: &mut Sim, fault: &Fault) {
    let nth = |sim: &Sim, n: usize| sim.running().get(n).cloned();
    match fault {
        Fault::Stop(n) => nth(sim, *n).into_iter().for_each(|id| sim.stop(&id)),
        Fault::BreakApp(n) => nth(sim, *n).into_iter().for_each(|id| sim.break_app(&id)),
        Fault::Cut(n) => sim.cut(ZONES[*n]),
        Fault::Heal => sim.dark.clear(),
        Fault::Full(n) => drop(sim.full.insert(ZONES[*n].to_owned())),
        Fault::Room => sim.full.clear(),
        Fault::Desire(n) => sim.change_group(|group| group.desired = *n).await,
        Fault::Protect(n) => {
            let ids: Vec<_> = sim.records().expect("there").members.into_keys().collect();
            if let Some(id) = ids.get(*n) {
                sim.change_member(id, |member| member.protected = true).await;
            }
        }
        Fault::Pass(seconds) => sim.pass_time(SECOND * *seconds as u32).await,
    }
    sim.react().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_faults_end_at_the_desired_capacity_in_balance(
        seed in any::<u64>(),
        behind_load_balancer in any::<bool>(),
        faults in prop::collection::vec(fault(), 1..40),
    ) {
        block_on(async {
            let mut own = group(1, 9, 5);
            if !behind_load_balancer {
                own.target_groups.clear();
            }
            let mut sim = Sim::new(seed, own).await;
            for fault in &faults {
                happen(&mut sim, fault).await;
            }
            sim.dark.clear();
            sim.full.clear();
            let ids: Vec<_> = sim.records().expect("there").members.into_keys().collect();
            for id in &ids {
                sim.change_member(id, |member| member.protected = false).await;
            }
            sim.pass_time(LONG).await;
            let records = sim.records().expect("there");
            let desired = records.group.desired as usize;
            assert_eq!(sim.serving(), desired);
            assert_eq!(records.members.len(), desired, "nothing is left over");
            assert_eq!(sim.running().len(), desired, "no instance runs that is nobody's");
            let spread = sim.spread();
            assert!(spread[0] - spread[2] <= 1, "unbalanced: {spread:?}");
            let quiet = sim.causes().len();
            sim.pass_time(LONG).await;
            assert_eq!(sim.causes().len(), quiet, "at rest");
        });
    }
}
