//! What the types of a mixed group cost, where price decides.
//!
//! Spot prices are EC2's. AWS-DIFF: EC2 has no call for prices on demand; types are ordered by their size instead, a
//! vCPU counting as much as `VCPU_GIB` GiB of memory.

use std::collections::{BTreeMap, BTreeSet};

use standfast_api::ec2;
use standfast_core::Result;
use standfast_kernel::Cx;

use super::model::MixedPolicy;

const VCPU_GIB: u64 = 13;
const MICROS: f64 = 1e6;

/// By type and zone; on demand with no zone. In millionths of a dollar, on demand in MiB.
pub async fn of(cx: &Cx, policy: &MixedPolicy) -> Result<BTreeMap<(String, String), u64>> {
    let named = policy.overrides.iter().flat_map(|over| over.instance_type.iter().chain(&over.types));
    let names: BTreeSet<String> = named.cloned().collect();
    let mut prices = BTreeMap::new();
    if names.len() < 2 {
        return Ok(prices);
    }
    let names: Vec<String> = names.into_iter().collect();
    let filter = ec2::Filter { name: Some("instance-type".into()), values: Some(names.clone()) };
    let input = ec2::DescribeInstanceTypesInput { filters: Some(vec![filter]), ..Default::default() };
    let found = cx.call(ec2::DescribeInstanceTypes, input).await?;
    for known in found.instance_types.unwrap_or_default() {
        let vcpus = known.vcpu_info.and_then(|info| info.default_vcpus).unwrap_or_default().unsigned_abs();
        let memory = known.memory_info.and_then(|info| info.size_in_mib).unwrap_or_default().unsigned_abs();
        let size = u64::from(vcpus) * VCPU_GIB * 1024 + memory;
        prices.insert((known.instance_type.unwrap_or_default(), String::new()), size);
    }
    if policy.distribution.on_demand_percentage < 100 {
        spot(cx, names, &mut prices).await?;
    }
    Ok(prices)
}

async fn spot(cx: &Cx, names: Vec<String>, prices: &mut BTreeMap<(String, String), u64>) -> Result<()> {
    let mut token = None;
    loop {
        let input = ec2::DescribeSpotPriceHistoryInput {
            instance_types: Some(names.clone()),
            start_time: Some(cx.now()),
            end_time: Some(cx.now()),
            next_token: token.take(),
            ..Default::default()
        };
        let page = cx.call(ec2::DescribeSpotPriceHistory, input).await?;
        for row in page.spot_price_history.unwrap_or_default() {
            let dollars: f64 = row.spot_price.and_then(|text| text.parse().ok()).unwrap_or_default();
            let key = (row.instance_type.unwrap_or_default(), row.availability_zone.unwrap_or_default());
            prices.insert(key, (dollars * MICROS) as u64);
        }
        token = page.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            return Ok(());
        }
    }
}
