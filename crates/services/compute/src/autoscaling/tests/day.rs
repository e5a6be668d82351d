//! A day of a group: load, failures and zone outages at random, by seed.
//!
//! What must hold at every moment: never fewer than the minimum are launched while some zone has capacity, never more
//! than the maximum and the margin for rebalancing, and no flapping: nothing is launched and then ended by the group's
//! own choice while neither the desired capacity nor a zone has changed.

use std::collections::BTreeMap;
use std::time::Duration;

use standfast_core::{Rng, Timestamp};

use super::sim::{Sim, ZONES, group};
use super::{SECOND, block_on};
use crate::autoscaling::model::Member;
use crate::autoscaling::plan::balance_margin;

const SEEDS: u64 = 1000;
const DAY: Duration = Duration::from_secs(86_400);
/// How long after a failure zones are balanced, back-offs included.
const SETTLED: Duration = Duration::from_secs(1800);
/// How much passes between two events, at most.
const PAUSE_MAX_S: u64 = 7200;
const MIN: i32 = 2;
const MAX: i32 = 9;
/// Replays one seed alone.
const REPLAY: &str = "STANDFAST_DAY_SEED";

struct Day {
    sim: Sim,
    rng: Rng,
    seed: u64,
    /// When what justifies a scale-in last changed.
    changed: Timestamp,
    /// When anything last happened: a failure closes a zone for a while, after which zones are balanced.
    disturbed: Timestamp,
    joined: BTreeMap<String, Timestamp>,
    ended: usize,
}

impl Day {
    fn fail(&self, what: &str) -> ! {
        let replay = format!("{REPLAY}={} cargo test -p standfast-compute a_day_of", self.seed);
        panic!("{what}\nreplay: {replay}\n{:#?}", self.sim.causes().into_iter().take(6).collect::<Vec<_>>());
    }

    fn roll(&self, sides: u64) -> u64 {
        self.rng.u64() % sides
    }

    /// Something happens.
    async fn event(&mut self) {
        let running = self.sim.running();
        let any = running.get(self.roll(running.len().max(1) as u64) as usize).cloned();
        let zone = ZONES[self.roll(3) as usize];
        match self.roll(12) {
            0..=3 => {
                let desired = MIN + self.roll((MAX - MIN + 1) as u64) as i32;
                self.sim.change_group(|group| group.desired = desired).await;
                self.changed = self.sim.now;
            }
            4 | 5 => any.into_iter().for_each(|id| self.sim.stop(&id)),
            6 => any.into_iter().for_each(|id| self.sim.break_app(&id)),
            7 => {
                self.sim.cut(zone);
                self.changed = self.sim.now;
            }
            8 | 9 => {
                self.sim.dark.clear();
                self.sim.full.clear();
                self.changed = self.sim.now;
            }
            10 => {
                self.sim.full.insert(zone.to_owned());
                self.changed = self.sim.now;
            }
            // Several at once.
            _ => running.iter().take(3).for_each(|id| self.sim.stop(id)),
        }
        self.disturbed = self.sim.now;
        self.sim.react().await;
        self.check();
    }

    fn check(&mut self) {
        let records = self.sim.records().expect("the group is there");
        let counting: Vec<&Member> = records.members.values().filter(|member| member.counts()).collect();
        let count = counting.len() as i32;
        let most = MAX + balance_margin(records.group.desired);
        if count > most {
            self.fail(&format!("{count} are there, at most {most} may be"));
        }
        let closed = |zone: &str| {
            let waits = records.group.back_offs.get(zone).is_some_and(|back_off| back_off.until > self.sim.now);
            waits || self.sim.dark.contains(zone) || self.sim.full.contains(zone)
        };
        if count < MIN && ZONES.iter().any(|zone| !closed(zone)) {
            self.fail(&format!("{count} are there, at least {MIN} must be"));
        }
        for member in counting {
            if let Some(id) = &member.instance {
                self.joined.insert(id.clone(), member.joined);
            }
        }
        self.check_flapping();
    }

    /// Looks at what was ended since the last look.
    fn check_flapping(&mut self) {
        let ended_count = self.sim.ends();
        let new = ended_count - self.ended;
        if new == 0 {
            return;
        }
        let activities = self.sim.causes();
        let ended: Vec<_> =
            activities.iter().filter(|own| own.description.starts_with("Terminating EC2 instance: ")).collect();
        for own in ended.iter().take(new) {
            let id = own.description.trim_start_matches("Terminating EC2 instance: ");
            let since = match own.cause.contains("to balance instances in zones") {
                true => self.disturbed + SETTLED,
                false if own.cause.contains("difference between desired and actual capacity") => self.changed,
                false => continue,
            };
            if let Some(joined) = self.joined.get(id).filter(|joined| **joined > since) {
                self.fail(&format!("{id} was launched at {joined:?} for nothing"));
            }
        }
        self.ended = ended_count;
    }
}

async fn day(seed: u64) {
    let mut own = group(MIN, MAX, 4);
    let rng = Rng::seeded(seed);
    if rng.u64().is_multiple_of(2) {
        own.target_groups.clear();
    }
    let sim = Sim::new(seed, own).await;
    let changed = sim.now;
    let mut day = Day { sim, rng, seed, changed, disturbed: changed, joined: BTreeMap::new(), ended: 0 };
    day.sim.react().await;
    let end = day.sim.now + DAY;
    while day.sim.now < end {
        let pause = day.roll(PAUSE_MAX_S);
        let next = day.sim.now + SECOND * pause as u32;
        while day.sim.step(next).await {
            day.check();
        }
        day.event().await;
    }
    // A night in which nothing happens: all is as it should be, and stays so.
    day.sim.dark.clear();
    day.sim.full.clear();
    day.sim.pass_time(SECOND * 3600).await;
    let (desired, launches) = (day.sim.records().expect("there").group.desired as usize, day.sim.launches);
    if day.sim.serving() != desired {
        day.fail(&format!("{} serve, {desired} are desired", day.sim.serving()));
    }
    day.sim.pass_time(DAY).await;
    if day.sim.launches != launches {
        day.fail("something was launched though nothing happened");
    }
}

#[test]
fn a_day_of_load_failures_and_outages_never_leaves_the_bounds_and_never_flaps() {
    let only = std::env::var(REPLAY).ok().and_then(|text| text.parse().ok());
    let seeds = only.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            let seeds = seeds.clone();
            scope.spawn(move || {
                for seed in seeds.filter(|seed| seed % threads == first) {
                    block_on(day(seed));
                }
            });
        }
    });
}
