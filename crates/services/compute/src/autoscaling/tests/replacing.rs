//! Members that are replaced while nothing may be wrong with them: instance refreshes, lifetimes, recommendations.

use standfast_api::autoscaling::{AlarmSpecification, RefreshPreferences};

use super::sim::Sim;
use super::{LONG, SECOND, block_on, instances, settled};
use crate::autoscaling::model::{Launch, Unhealthy};
use crate::autoscaling::refreshes::{Refresh, RefreshStatus};

fn healthy(min: i32, max: Option<i32>) -> RefreshPreferences {
    RefreshPreferences {
        min_healthy_percentage: Some(min),
        max_healthy_percentage: max,
        instance_warmup: Some(20),
        ..Default::default()
    }
}

/// Goes on until the refresh has ended; the fewest that served and the most that were there meanwhile.
async fn ends(sim: &mut Sim) -> (usize, usize, Refresh) {
    let limit = sim.now + LONG * 8;
    let (mut fewest, mut most) = (usize::MAX, 0);
    sim.react().await;
    while sim.refreshed().is_active() && sim.step(limit).await {
        let records = sim.records().expect("there");
        fewest = fewest.min(sim.serving());
        most = most.max(records.members.values().filter(|member| member.counts()).count());
    }
    (fewest, most, sim.refreshed())
}

fn old(sim: &Sim, generation: u32) -> usize {
    sim.records().expect("there").members.values().filter(|member| member.generation < generation).count()
}

#[test]
fn a_refresh_keeps_within_its_bounds() {
    for (min, max, fewest, most) in [
        (90, None, 9, 10),
        (50, None, 5, 10),
        (0, None, 0, 10),
        (100, None, 9, 10),
        (100, Some(110), 10, 11),
        (100, Some(150), 10, 15),
        (80, Some(120), 8, 12),
    ] {
        block_on(async {
            let mut sim = settled(1, 20, 10).await;
            sim.refresh(healthy(min, max), None).await;
            let (served, there, refresh) = ends(&mut sim).await;
            assert_eq!(refresh.status, RefreshStatus::Successful, "{min} {max:?}: {refresh:?}");
            assert_eq!((refresh.percent(), refresh.remaining), (100, 0));
            assert!(served >= fewest, "{min} {max:?}: {served} served");
            assert!(there <= most, "{min} {max:?}: {there} were there");
            sim.pass_time(LONG).await;
            assert_eq!((old(&sim, 1), sim.serving(), instances(&sim)), (0, 10, 10));
            assert_eq!(sim.launches, 20, "{min} {max:?}: each is replaced once");
        });
    }
}

#[test]
fn a_single_instance_is_replaced_ahead_when_there_is_room() {
    block_on(async {
        let mut sim = settled(1, 1, 1).await;
        sim.refresh(healthy(100, Some(110)), None).await;
        let (served, there, refresh) = ends(&mut sim).await;
        assert_eq!((served, there, refresh.status), (1, 2, RefreshStatus::Successful));
    });
}

#[test]
fn a_refresh_waits_at_its_checkpoints() {
    block_on(async {
        let mut sim = settled(1, 20, 10).await;
        let preferences = RefreshPreferences {
            checkpoint_percentages: Some(vec![20, 50, 100]),
            checkpoint_delay: Some(600),
            ..healthy(80, None)
        };
        sim.refresh(preferences, None).await;
        sim.pass_time(SECOND * 300).await;
        let refresh = sim.refreshed();
        assert_eq!((refresh.percent(), old(&sim, 1)), (20, 8));
        assert_eq!(refresh.reason.as_deref(), Some("Waiting at the checkpoint of 20 percent."));
        sim.pass_time(SECOND * 600).await;
        assert_eq!((sim.refreshed().percent(), old(&sim, 1)), (50, 5));
        let (.., refresh) = ends(&mut sim).await;
        assert_eq!((refresh.status, refresh.percent()), (RefreshStatus::Successful, 100));
    });
}

#[test]
fn a_refresh_may_end_at_a_checkpoint() {
    block_on(async {
        let mut sim = settled(1, 20, 10).await;
        let preferences = RefreshPreferences { checkpoint_percentages: Some(vec![30]), ..healthy(90, None) };
        sim.refresh(preferences, None).await;
        let (.., refresh) = ends(&mut sim).await;
        assert_eq!((refresh.status, refresh.percent(), old(&sim, 1)), (RefreshStatus::Successful, 30, 7));
    });
}

#[test]
fn an_alarm_fails_a_refresh_and_rolls_it_back() {
    for auto_rollback in [false, true] {
        block_on(async {
            let mut sim = settled(1, 20, 10).await;
            let preferences = RefreshPreferences {
                auto_rollback: Some(auto_rollback),
                alarm_specification: Some(AlarmSpecification { alarms: Some(vec!["errors".into()]) }),
                ..healthy(80, None)
            };
            sim.alarms.insert("errors".into(), false);
            sim.refresh(preferences, Some(Launch::Configuration("new".into()))).await;
            sim.pass_time(SECOND * 40).await;
            let replaced = 10 - old(&sim, 1);
            assert!((2..10).contains(&replaced), "{replaced}");
            sim.alarms.insert("errors".into(), true);
            let (.., refresh) = ends(&mut sim).await;
            let reason = "The CloudWatch alarm errors went into the ALARM state.";
            if auto_rollback {
                assert_eq!(refresh.status, RefreshStatus::RollbackSuccessful);
                assert_eq!(refresh.rollback.as_ref().map(|own| own.reason.as_str()), Some(reason));
                assert_eq!(refresh.percent(), 0);
                let records = sim.records().expect("there");
                assert!(records.members.values().filter(|m| m.counts()).all(|member| member.generation != 1));
            } else {
                assert_eq!((refresh.status, refresh.reason.as_deref()), (RefreshStatus::Failed, Some(reason)));
            }
            assert_eq!(sim.records().expect("there").group.launch, Launch::Configuration("lc".into()));
            sim.pass_time(LONG).await;
            assert_eq!((sim.serving(), instances(&sim)), (10, 10));
        });
    }
}

#[test]
fn the_group_takes_over_what_it_was_refreshed_to() {
    block_on(async {
        let mut sim = settled(1, 9, 3).await;
        let preferences = RefreshPreferences { bake_time: Some(120), ..healthy(0, None) };
        sim.refresh(preferences, Some(Launch::Configuration("new".into()))).await;
        sim.pass_time(SECOND * 100).await;
        assert_eq!(sim.refreshed().status, RefreshStatus::Baking);
        let (.., refresh) = ends(&mut sim).await;
        assert_eq!(refresh.status, RefreshStatus::Successful);
        assert_eq!(sim.records().expect("there").group.launch, Launch::Configuration("new".into()));
    });
}

#[test]
fn protected_instances_are_waited_for_ignored_or_replaced() {
    for (choice, status, left) in [
        (None, RefreshStatus::Failed, 1),
        (Some("Ignore"), RefreshStatus::Successful, 1),
        (Some("Refresh"), RefreshStatus::Successful, 0),
    ] {
        block_on(async {
            let mut sim = settled(1, 9, 3).await;
            let id = sim.records().expect("there").members.keys().next().cloned().expect("three");
            sim.change_member(&id, |member| member.protected = true).await;
            let choice = choice.map(str::to_owned);
            let preferences = RefreshPreferences { scale_in_protected_instances: choice, ..healthy(50, None) };
            sim.refresh(preferences, None).await;
            let (.., refresh) = ends(&mut sim).await;
            assert_eq!((refresh.status, old(&sim, 1)), (status, left), "{refresh:?}");
        });
    }
}

#[test]
fn a_refresh_that_gets_nowhere_fails_after_an_hour() {
    block_on(async {
        let mut sim = settled(1, 9, 3).await;
        sim.refresh(healthy(50, None), None).await;
        sim.full.extend(super::ZONES.map(str::to_owned));
        let began = sim.now;
        let (.., refresh) = ends(&mut sim).await;
        assert_eq!(refresh.status, RefreshStatus::Failed);
        assert!(refresh.ended.expect("ended") >= began + SECOND * 3600);
    });
}

#[test]
fn old_instances_are_replaced_gradually() {
    block_on(async {
        let mut sim = settled(1, 20, 10).await;
        sim.change_group(|group| group.options.max_instance_lifetime_s = Some(86_400)).await;
        let limit = sim.now + SECOND * 100_000;
        sim.react().await;
        while sim.step(limit).await {
            assert!(sim.serving() >= 9, "{} serve", sim.serving());
        }
        assert_eq!((sim.launches, sim.serving(), instances(&sim)), (20, 10, 10));
    });
}

#[test]
fn what_ec2_will_interrupt_is_replaced_first() {
    block_on(async {
        let mut sim = settled(1, 9, 3).await;
        let victim = sim.running()[0].clone();
        sim.advised.insert(victim.clone());
        sim.pass_time(LONG).await;
        assert_eq!(sim.launches, 3, "only with capacity rebalancing");
        sim.change_group(|group| group.options.capacity_rebalance = Some(true)).await;
        sim.react().await;
        assert_eq!((sim.launches, sim.running().contains(&victim)), (4, true), "launched first");
        let limit = sim.now + LONG;
        while sim.step(limit).await {
            assert!(sim.serving() >= 3);
        }
        assert_eq!((sim.launches, sim.serving(), instances(&sim)), (4, 3, 3));
        assert!(!sim.running().contains(&victim));
    });
}

#[test]
fn a_maintenance_policy_launches_before_it_ends_the_unhealthy() {
    block_on(async {
        let mut sim = settled(1, 9, 4).await;
        sim.change_group(|group| group.options.maintenance = Some((Some(100), Some(125)))).await;
        let id = sim.records().expect("there").members.keys().next().cloned().expect("four");
        sim.change_member(&id, |member| member.unhealthy = Some(Unhealthy::User)).await;
        sim.react().await;
        assert_eq!((sim.launches, sim.running().len()), (5, 4), "launched, not ended");
        sim.pass_time(LONG).await;
        assert_eq!((sim.launches, sim.serving(), instances(&sim)), (5, 4, 4));
        assert!(!sim.records().expect("there").members.contains_key(&id));
    });
}
