//! Which instance type a mixed group launches next, and on which market.
//!
//! The share on demand is the base and a percentage of what is above it, rounded up in favour of on demand. Within a
//! market the allocation strategy orders the types; one without capacity in a zone is passed over until its back-off ends.
// AWS-DIFF: there is no market with depths here. `capacity-optimized` spreads over the pools, and
// `price-capacity-optimized` takes the cheapest.

use std::collections::BTreeMap;

use crate::autoscaling::model::{Launch, Member, MixedPolicy};

use super::{Plan, Snapshot};

/// How many of the cheapest spot pools are used, where the group does not say.
const SPOT_POOLS: usize = 2;

/// What to launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// The place of the override in the policy; None where there is none.
    pub over: Option<usize>,
    /// None leaves it to the template.
    pub instance_type: Option<String>,
    pub spot: bool,
    pub weight: Option<String>,
}

impl Pick {
    pub fn units(&self) -> i32 {
        units(self.weight.as_deref())
    }

    /// The name under which a refusal of this pool is remembered; None for groups that launch one thing only.
    pub fn pool(&self, zone: &str) -> Option<String> {
        let market = if self.spot { "spot" } else { "on-demand" };
        self.over.map(|_| format!("{zone} {} {market}", self.instance_type.as_deref().unwrap_or_default()))
    }
}

/// The zone of a back-off's key.
pub(super) fn zone_of(key: &str) -> &str {
    key.split(' ').next().unwrap_or(key)
}

fn units(weight: Option<&str>) -> i32 {
    weight.and_then(|weight| weight.parse().ok()).unwrap_or(1)
}

/// The units of the heaviest instance that the group may launch.
pub(super) fn heaviest(launch: &Launch) -> i32 {
    let Launch::Mixed(policy) = launch else { return 1 };
    policy.overrides.iter().map(|over| units(over.weight.as_deref())).max().unwrap_or(1)
}

/// The units that should be on demand, of so many.
pub(super) fn on_demand_share(policy: &MixedPolicy, total: i32) -> i32 {
    let base = total.min(policy.distribution.on_demand_base);
    let above = (total - base) * policy.distribution.on_demand_percentage;
    base + (above + 99) / 100
}

/// What is there, while launches are being chosen.
pub(super) struct Ledger<'a> {
    s: &'a Snapshot<'a>,
    policy: Option<&'a MixedPolicy>,
    on_demand: i32,
    /// Instances by pool.
    pools: BTreeMap<String, usize>,
}

impl<'a> Ledger<'a> {
    pub fn new<'m>(s: &'a Snapshot<'a>, members: impl Iterator<Item = &'m Member>) -> Self {
        let policy = match s.launch {
            Launch::Mixed(policy) => Some(policy),
            _ => None,
        };
        let mut ledger = Self { s, policy, on_demand: 0, pools: BTreeMap::new() };
        for member in members {
            if !member.spot {
                ledger.on_demand += member.units();
            }
            let market = if member.spot { "spot" } else { "on-demand" };
            *ledger.pools.entry(format!("{} {} {market}", member.zone, member.instance_type)).or_default() += 1;
        }
        ledger
    }

    /// What to launch in a zone so that there are so many units in all; None when the zone has nothing to offer.
    pub fn pick(&self, zone: &str, total: i32, plan: &Plan) -> Option<Pick> {
        let Some(policy) = self.policy else { return Some(Pick::default()) };
        let spot = self.on_demand >= on_demand_share(policy, total);
        let ranked = self.ranked(policy, zone, spot);
        ranked.into_iter().find(|pick| pick.pool(zone).is_none_or(|pool| !self.s.is_closed(&pool, plan)))
    }

    pub fn note(&mut self, zone: &str, pick: &Pick) {
        if !pick.spot {
            self.on_demand += pick.units();
        }
        if let Some(pool) = pick.pool(zone) {
            *self.pools.entry(pool).or_default() += 1;
        }
    }

    /// All that could be launched, the best first.
    fn ranked(&self, policy: &MixedPolicy, zone: &str, spot: bool) -> Vec<Pick> {
        let picks = picks(policy, spot);
        if picks.is_empty() {
            // The template's own type.
            return vec![Pick { over: Some(usize::MAX), spot, ..Pick::default() }];
        }
        let price = |pick: &Pick| self.price(pick, zone);
        let held = |pick: &Pick| pick.pool(zone).and_then(|pool| self.pools.get(&pool)).copied().unwrap_or_default();
        let mut picks = picks;
        let distribution = &policy.distribution;
        match (spot, distribution.on_demand_strategy.as_str(), distribution.spot_strategy.as_str()) {
            (false, "lowest-price", _) | (true, _, "price-capacity-optimized") => picks.sort_by_key(price),
            (false, ..) | (true, _, "capacity-optimized-prioritized") => (),
            (true, _, "capacity-optimized") => picks.sort_by_key(held),
            (true, ..) => {
                picks.sort_by_key(price);
                let pools = distribution.spot_pools.and_then(|pools| usize::try_from(pools).ok());
                let cheap = pools.unwrap_or(SPOT_POOLS).clamp(1, picks.len());
                picks[..cheap].sort_by_key(held);
            }
        }
        picks
    }

    /// What a unit costs; unknown prices keep the order of the overrides.
    fn price(&self, pick: &Pick, zone: &str) -> u64 {
        let Some(name) = &pick.instance_type else { return 0 };
        let zone = if pick.spot { zone } else { "" };
        let price = self.s.world.prices.get(&(name.clone(), zone.to_owned())).copied().unwrap_or_default();
        price / u64::try_from(pick.units().max(1)).unwrap_or(1)
    }
}

/// What a policy offers, in its own order: an override of requirements offers every type that meets them.
fn picks(policy: &MixedPolicy, spot: bool) -> Vec<Pick> {
    let mut all = Vec::new();
    for (place, over) in policy.overrides.iter().enumerate() {
        let pick = |name: Option<&String>| Pick {
            over: Some(place),
            instance_type: name.cloned(),
            spot,
            weight: over.weight.clone(),
        };
        match &over.requirements {
            Some(_) => all.extend(over.types.iter().map(|name| pick(Some(name)))),
            None => all.push(pick(over.instance_type.as_ref())),
        }
    }
    all
}
