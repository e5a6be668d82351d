//! What spot instances cost.
//!
//! AWS-DIFF: prices are a model, not a market. An hour on demand costs `VCPU_MICROS` for each vCPU and `GIB_MICROS` for
//! each GiB of memory, or `BURSTABLE_GIB_MICROS` for each GiB of a burstable type (in millionths of a dollar): close to
//! what M5, C5, R5 and T3 cost in us-east-1. Spot costs between 30 and
//! 40 percent of it: the base depends on type and zone, and every six hours the price moves by up to three points. So
//! a type in a zone at a time always has the same price.

use std::time::Duration;

use standfast_api::ec2 as api;
use standfast_core::place::{Region, Zone};
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;

use crate::ec2::errors;
use crate::ec2::filters::{self, Described, Field, Paging};
use crate::ec2::instance_types::InstanceType;

const VCPU_MICROS: u64 = 37_000;
const GIB_MICROS: u64 = 2_750;
const BURSTABLE_GIB_MICROS: u64 = 10_400;
/// The share of the price on demand, in thousandths: the lowest base, how far it varies, and how far it moves.
const SHARE_LOW: u64 = 300;
const SHARE_VARIES: u64 = 70;
const SHARE_MOVES: u64 = 30;
/// How long a price stays.
const PERIOD: Duration = Duration::from_secs(6 * 3600);
/// How far back the history goes.
const HISTORY: Duration = Duration::from_secs(90 * 24 * 3600);
pub const PRODUCT: &str = "Linux/UNIX";
const BOUNDS: (i32, i32) = (1, 1000);

/// A price in millionths of a dollar per hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(pub u64);

impl Price {
    /// Reads a price as requests give it: dollars, with a point.
    pub fn parse(text: &str) -> Result<Self> {
        let dollars: f64 =
            text.parse().ok().filter(|dollars| (0.000_001..1_000_000.0).contains(dollars)).ok_or_else(|| {
                errors::invalid(format!(
                    "Value ({text}) for parameter price is invalid. Invalid or missing Spot price."
                ))
            })?;
        Ok(Self((dollars * 1e6).round() as u64))
    }

    pub fn text(self) -> String {
        format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

pub fn on_demand(known: &InstanceType) -> Price {
    let (vcpus, memory_mib) = (u64::from(known.vcpus.unsigned_abs()), known.memory_mib.unsigned_abs());
    Price(if known.burstable {
        memory_mib * BURSTABLE_GIB_MICROS / 1024
    } else {
        vcpus * VCPU_MICROS + memory_mib * GIB_MICROS / 1024
    })
}

/// What a type costs in a zone at a time.
pub fn at(known: &InstanceType, zone: &str, time: Timestamp) -> Price {
    let name = known.to_string();
    let share = SHARE_LOW
        + digest(&[&name, zone]) % (SHARE_VARIES + 1)
        + digest(&[&name, zone, &period(time).to_string()]) % (SHARE_MOVES + 1);
    Price(on_demand(known).0 * share / 1000)
}

fn period(time: Timestamp) -> i64 {
    time.0.div_euclid(PERIOD.as_millis() as i64)
}

/// When prices move next.
pub fn next_move(time: Timestamp) -> Timestamp {
    Timestamp((period(time) + 1) * PERIOD.as_millis() as i64)
}

/// FNV-1a, 64 bits.
fn digest(parts: &[&str]) -> u64 {
    parts
        .iter()
        .flat_map(|part| part.bytes().chain([0]))
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeSpotPriceHistoryInput,
) -> Result<api::DescribeSpotPriceHistoryOutput> {
    errors::dry_run(input.dry_run)?;
    let now = cx.now();
    let end = input.end_time.unwrap_or(now).min(now);
    let start = input.start_time.unwrap_or(end).max(now - HISTORY).min(end);
    let types = match input.instance_types.as_ref().filter(|names| !names.is_empty()) {
        Some(names) => names.iter().filter_map(|name| InstanceType::named(name)).collect(),
        None => match filters::exactly(input.filters.as_ref(), "instance-type") {
            Some(names) => names.into_iter().filter_map(InstanceType::named).collect(),
            None => InstanceType::all().collect::<Vec<_>>(),
        },
    };
    let wanted = |zone: &Zone| {
        input.availability_zone.as_ref().is_none_or(|name| *name == zone.name)
            && input.availability_zone_id.as_ref().is_none_or(|id| *id == zone.id)
    };
    let zones: Vec<Zone> = Region::named(cx.region()).into_iter().flat_map(Region::zones).filter(wanted).collect();
    let products = input.product_descriptions.iter().flatten();
    let other_products = input.product_descriptions.as_ref().is_some_and(|list| !list.is_empty())
        && !products.into_iter().any(|product| product.starts_with(PRODUCT));
    let mut rows = Vec::new();
    for known in types.iter().filter(|_| !other_products) {
        for zone in &zones {
            // The price that held at the start, and each that came later; the newest first.
            for n in (period(start)..=period(end)).rev() {
                rows.push(row(known, zone, Timestamp(n * PERIOD.as_millis() as i64)));
            }
        }
    }
    rows.sort_by_key(Described::key);
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (prices, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    // An empty token says that this is the last page.
    Ok(api::DescribeSpotPriceHistoryOutput {
        next_token: Some(next_token.unwrap_or_default()),
        spot_price_history: Some(prices),
    })
}

fn row(known: &InstanceType, zone: &Zone, time: Timestamp) -> api::SpotPrice {
    api::SpotPrice {
        availability_zone: Some(zone.name.clone()),
        availability_zone_id: Some(zone.id.clone()),
        instance_type: Some(known.to_string()),
        product_description: Some(PRODUCT.into()),
        spot_price: Some(at(known, &zone.name, time).text()),
        timestamp: Some(time),
    }
}

impl Described for api::SpotPrice {
    const FIELDS: &'static [Field<Self>] = &[
        ("availability-zone", |price| filters::one(&price.availability_zone)),
        ("availability-zone-id", |price| filters::one(&price.availability_zone_id)),
        ("instance-type", |price| filters::one(&price.instance_type)),
        ("product-description", |price| filters::one(&price.product_description)),
        ("spot-price", |price| filters::one(&price.spot_price)),
        ("timestamp", |price| filters::text(price.timestamp)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        // The newest first: the time counts down.
        let time = self.timestamp.map_or(0, |time| i64::MAX - time.0);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{} {} {time:020}", text(&self.instance_type), text(&self.availability_zone))
    }
}

/// Refuses a launch at a price that is lower than what it costs.
pub fn check(known: &InstanceType, zone: &str, price_max: Option<&str>, now: Timestamp) -> Result<()> {
    let Some(text) = price_max else { return Ok(()) };
    let (asked, price) = (Price::parse(text)?, at(known, zone, now));
    if asked >= price {
        return Ok(());
    }
    let message = format!(
        "Your Spot request price of {text} is lower than the minimum required Spot request fulfillment price of {}.",
        price.text()
    );
    Err(Error::client("SpotMaxPriceTooLow", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spot_costs_a_third_or_so_of_the_price_on_demand_and_moves_every_six_hours() {
        let known = InstanceType::named("m5.large").expect("a known type");
        let full = on_demand(&known).0;
        let start = Timestamp(1_767_225_600_000);
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..40u32 {
            let time = start + PERIOD * n;
            let price = at(&known, "eu-west-1a", time);
            assert!((full * 3 / 10..=full * 4 / 10).contains(&price.0), "{} of {full}", price.0);
            assert_eq!(price, at(&known, "eu-west-1a", next_move(time) - Duration::from_millis(1)));
            seen.insert(price);
        }
        assert!(seen.len() > 5, "it moves");
    }

    #[test]
    fn prices_on_demand_are_close_to_those_of_usual_types() {
        for (name, micros) in [("t3.micro", 10_400), ("m5.large", 96_000), ("c5.large", 85_000)] {
            assert_eq!(on_demand(&InstanceType::named(name).expect("a known type")), Price(micros), "{name}");
        }
    }

    #[test]
    fn prices_are_read_and_written_in_dollars() {
        assert_eq!(Price::parse("0.0312").expect("a price"), Price(31_200));
        assert_eq!(Price(31_200).text(), "0.031200");
        for bad in ["", "free", "-1", "0"] {
            assert!(Price::parse(bad).is_err(), "{bad}");
        }
    }
}
