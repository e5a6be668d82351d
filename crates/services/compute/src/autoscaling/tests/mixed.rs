//! Mixed instances policies in the simulated world.

use std::collections::BTreeMap;

use super::sim::{Sim, ZONES, group};
use super::{LONG, block_on};
use crate::autoscaling::model::{Distribution, Launch, MixedPolicy, Override, TemplateRef};

fn policy(types: &[(&str, Option<&str>)], base: i32, percentage: i32, spot_strategy: &str) -> Launch {
    let over = |(name, weight): &(&str, Option<&str>)| Override {
        instance_type: Some((*name).to_owned()),
        weight: weight.map(str::to_owned),
        template: None,
        image: None,
        requirements: None,
        types: Vec::new(),
    };
    Launch::Mixed(MixedPolicy {
        template: TemplateRef { id: "lt-1".into(), name: "web".into(), version: "1".into() },
        overrides: types.iter().map(over).collect(),
        distribution: Distribution {
            on_demand_strategy: "prioritized".into(),
            on_demand_base: base,
            on_demand_percentage: percentage,
            spot_strategy: spot_strategy.into(),
            spot_pools: None,
            spot_max_price: None,
        },
    })
}

async fn grown(launch: Launch, max: i32, desired: i32) -> Sim {
    let mut own = group(0, max, desired);
    own.launch = launch;
    let mut sim = Sim::new(7, own).await;
    sim.pass_time(LONG).await;
    sim
}

/// Units, instances, instances on spot.
fn counted(sim: &Sim) -> (i32, usize, usize) {
    let members = sim.records().expect("there").members;
    let units = members.values().map(|member| member.units()).sum();
    (units, members.len(), members.values().filter(|member| member.spot).count())
}

fn types(sim: &Sim) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for member in sim.records().expect("there").members.into_values() {
        *all.entry(member.instance_type).or_default() += 1;
    }
    all
}

#[test]
fn on_demand_and_spot_have_their_shares() {
    for (base, percentage, desired, spot) in
        [(0, 100, 10, 0), (0, 0, 10, 10), (2, 0, 10, 8), (2, 50, 10, 4), (0, 50, 5, 2), (0, 33, 10, 6), (20, 0, 10, 0)]
    {
        block_on(async {
            let launch = policy(&[("m5.large", None), ("c5.large", None)], base, percentage, "lowest-price");
            let sim = grown(launch, 20, desired).await;
            assert_eq!(counted(&sim), (desired, desired as usize, spot), "{base} {percentage} {desired}");
        });
    }
}

#[test]
fn weights_add_up_to_what_is_desired() {
    for (weight, desired, instances) in [("1", 6, 6), ("2", 6, 3), ("4", 10, 3), ("3", 7, 3), ("5", 3, 1)] {
        block_on(async {
            let sim = grown(policy(&[("m5.large", Some(weight))], 0, 100, "lowest-price"), 20, desired).await;
            let (units, count, _) = counted(&sim);
            assert_eq!(count, instances, "{weight} for {desired}");
            assert!(units >= desired);
        });
    }
}

#[test]
fn too_much_by_weight_is_kept_until_less_is_desired() {
    block_on(async {
        let mut sim = grown(policy(&[("m5.xlarge", Some("4"))], 0, 100, "lowest-price"), 20, 10).await;
        assert_eq!(counted(&sim).0, 12);
        sim.pass_time(LONG).await;
        assert_eq!((counted(&sim).0, sim.launches), (12, 3));
        sim.change_group(|group| group.desired = 9).await;
        sim.pass_time(LONG).await;
        assert_eq!(counted(&sim).0, 12, "one less would be too few");
        sim.change_group(|group| group.desired = 8).await;
        sim.pass_time(LONG).await;
        assert_eq!(counted(&sim).0, 8);
    });
}

#[test]
fn a_pool_without_capacity_is_passed_over() {
    block_on(async {
        let mut own = group(0, 20, 6);
        own.launch = policy(&[("m5.large", None), ("c5.large", None)], 0, 100, "lowest-price");
        let mut sim = Sim::new(7, own).await;
        for zone in ZONES {
            sim.full.insert(format!("{zone} m5.large on-demand"));
        }
        sim.pass_time(super::SECOND * 60).await;
        assert_eq!((sim.serving(), types(&sim)), (6, BTreeMap::from([("c5.large".to_owned(), 6)])));
        assert_eq!(sim.spread(), [2, 2, 2], "the zones are not closed");
    });
}

#[test]
fn spot_is_spread_over_the_pools_of_the_strategy() {
    let three = [("m5.large", None), ("c5.large", None), ("r5.large", None)];
    for (strategy, kinds) in [("lowest-price", 2), ("capacity-optimized", 3), ("capacity-optimized-prioritized", 1)] {
        block_on(async {
            let sim = grown(policy(&three, 0, 0, strategy), 20, 9).await;
            assert_eq!(types(&sim).len(), kinds, "{strategy}: {:?}", types(&sim));
        });
    }
}

#[test]
fn scaling_in_keeps_the_shares() {
    block_on(async {
        let launch = policy(&[("m5.large", None)], 2, 50, "lowest-price");
        let mut sim = grown(launch, 20, 10).await;
        assert_eq!(counted(&sim), (10, 10, 4));
        sim.change_group(|group| group.desired = 4).await;
        sim.pass_time(LONG).await;
        let (units, _, spot) = counted(&sim);
        assert_eq!(units, 4);
        assert!((1..=2).contains(&spot), "{spot} on spot");
    });
}
