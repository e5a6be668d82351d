//! A year of bad luck in a second: seeded random faults, and then the site is as it should be.

use std::time::Duration;

use standfast_core::{Id, Rng};
use standfast_host::sim::App;
use standfast_testkit::TestCloud;

use crate::site::{Site, instances};

const FAULTS: usize = 500;
const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];

#[test]
fn after_500_random_faults_the_group_is_whole_balanced_and_consistent() {
    for seed in [11, 12] {
        standfast_testkit::run(seed, |cloud| async move {
            let site = Site::up(&cloud).await;
            let dark = break_things(&cloud, &site, Rng::seeded(seed)).await;
            for (_, experiment) in dark {
                site.heal(&cloud, &experiment).await;
            }
            site.settled(&cloud, 5).await;
            cloud
                .until("the group to balance", Duration::from_secs(1800), || async {
                    let mut spread: Vec<_> = site.spread(&cloud).await.into_values().collect();
                    spread.sort_unstable();
                    (spread == [1, 2, 2]).then_some(())
                })
                .await;
            site.settled(&cloud, 5).await;
            consistent(&cloud, &site).await;
        });
    }
}

/// Injects the faults; gives the zones that are still dark with their experiments.
async fn break_things(cloud: &TestCloud, site: &Site, rng: Rng) -> Vec<(&'static str, String)> {
    let mut dark: Vec<(&str, String)> = Vec::new();
    for _ in 0..FAULTS {
        let members = site.members(cloud).await;
        let victim = (!members.is_empty()).then(|| Id::from_text(&members[rng.below(members.len())].0));
        match (rng.below(10), victim) {
            (0..=3, Some(victim)) => drop(cloud.cloud.planes().host.kill(&victim)),
            (4, Some(victim)) => cloud.host.set_app(&victim, App::Status(500)),
            (5, Some(victim)) => cloud.host.set_app(&victim, App::Hang),
            (6, Some(victim)) => cloud.host.set_app(&victim, App::Dead),
            (7, _) => cloud.host.fail_next_boots(1 + rng.below(2), "no luck"),
            (8, _) => {
                let zone = ZONES[rng.below(ZONES.len())];
                match dark.iter().position(|(z, _)| *z == zone) {
                    Some(at) => site.heal(cloud, &dark.remove(at).1).await,
                    // All three dark at once is a region's loss: nothing could serve.
                    None if dark.len() < 2 => dark.push((zone, site.break_zone(cloud, zone).await)),
                    None => (),
                }
            }
            _ => site.scale(cloud, 3 + rng.below(7) as u32).await,
        }
        cloud.pass(Duration::from_millis(rng.below(20_000) as u64)).await;
    }
    site.scale(cloud, 5).await;
    dark
}

/// What runs, what is recorded, what is a member and what gets requests are the same five.
async fn consistent(cloud: &TestCloud, site: &Site) {
    let mut members: Vec<_> = site.members(cloud).await.into_iter().map(|(id, ..)| id).collect();
    let states = instances(cloud).await;
    let mut running: Vec<_> = states.iter().filter(|(_, s)| *s == "running").map(|(id, _)| id.clone()).collect();
    let alive = states.values().filter(|state| !matches!(state.as_str(), "terminated" | "running")).count();
    let mut hosted: Vec<String> =
        standfast_core::host::HostDriver::observe(&*cloud.host).instances.keys().map(|id| id.to_string()).collect();
    members.sort();
    running.sort();
    hosted.sort();
    assert_eq!((&members, alive), (&running, 0), "members and running instances");
    assert_eq!(members, hosted, "members and what the host has");
    assert_eq!(site.load(cloud, 100, Duration::from_secs(5)).await, []);
}
