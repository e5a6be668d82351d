//! Regions, zones and what the account may have.

use standfast_api::ec2 as api;
use standfast_core::Result;
use standfast_core::place::{REGIONS, Region};
use standfast_kernel::{Cx, zones};

use super::filters::{self, Described, Field, Paging};
use super::model::Vpc;
use super::{defaults, errors};

const BOUNDS: (i32, i32) = (1, 1000);

pub async fn describe(_: Cx, input: api::DescribeRegionsInput) -> Result<api::DescribeRegionsOutput> {
    if let Some(name) = input.region_names.iter().flatten().find(|name| Region::named(name).is_none()) {
        return Err(errors::invalid(format!("Invalid region name: {name}")));
    }
    let asked = |region: &&Region| {
        input.region_names.as_ref().is_none_or(|names| names.is_empty() || names.iter().any(|name| name == region.name))
    };
    let rows = REGIONS.iter().filter(asked).map(|region| api::Region {
        opt_in_status: Some("opt-in-not-required".into()),
        region_name: Some(region.name.into()),
        endpoint: Some(format!("ec2.{}.amazonaws.com", region.name)),
        ..Default::default()
    });
    let paging = Paging { max: None, token: None, bounds: BOUNDS };
    let (regions, _) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeRegionsOutput { regions: Some(regions) })
}

impl Described for api::Region {
    const FIELDS: &'static [Field<Self>] = &[
        ("endpoint", |region| filters::one(&region.endpoint)),
        ("opt-in-status", |region| filters::one(&region.opt_in_status)),
        ("region-name", |region| filters::one(&region.region_name)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.region_name.clone().unwrap_or_default()
    }
}

pub async fn describe_zones(
    cx: Cx,
    input: api::DescribeAvailabilityZonesInput,
) -> Result<api::DescribeAvailabilityZonesOutput> {
    let region = Region::named(cx.region()).ok_or_else(|| errors::invalid_value("region", cx.region()))?;
    for name in input.zone_names.iter().flatten() {
        if !region.zones().any(|zone| zone.name == *name) {
            return Err(errors::invalid(format!("Invalid availability zone: [{name}]")));
        }
    }
    for id in input.zone_ids.iter().flatten() {
        if !region.zones().any(|zone| zone.id == *id) {
            return Err(errors::invalid(format!("Invalid availability zone-id: [{id}]")));
        }
    }
    let listed = |list: &Option<Vec<String>>, value: &String| {
        list.as_ref().is_none_or(|list| list.is_empty() || list.contains(value))
    };
    let asked =
        region.zones().filter(|zone| listed(&input.zone_names, &zone.name) && listed(&input.zone_ids, &zone.id));
    let dark = cx.view(zones::dark);
    let rows = asked.map(|zone| {
        let message = dark
            .contains(&zone.name)
            .then(|| api::AvailabilityZoneMessage { message: Some(format!("{} has no power.", zone.name)) });
        api::AvailabilityZone {
            opt_in_status: Some("opt-in-not-required".into()),
            messages: Some(message.into_iter().collect()),
            region_name: Some(region.name.into()),
            zone_id: Some(zone.id),
            group_name: Some(format!("{}-zg-1", region.name)),
            network_border_group: Some(region.name.into()),
            zone_type: Some("availability-zone".into()),
            // A zone without power is still part of the region: what is planned for it stays planned.
            state: Some("available".into()),
            zone_name: Some(zone.name),
            ..Default::default()
        }
    });
    let paging = Paging { max: None, token: None, bounds: BOUNDS };
    let (zones, _) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeAvailabilityZonesOutput { availability_zones: Some(zones) })
}

impl Described for api::AvailabilityZone {
    const FIELDS: &'static [Field<Self>] = &[
        ("group-name", |zone| filters::one(&zone.group_name)),
        ("message", |zone| filters::each(&zone.messages, |message| &message.message)),
        ("opt-in-status", |zone| filters::one(&zone.opt_in_status)),
        ("parent-zone-id", |_| Vec::new()),
        ("parent-zone-name", |_| Vec::new()),
        ("region-name", |zone| filters::one(&zone.region_name)),
        ("state", |zone| filters::one(&zone.state)),
        ("zone-id", |zone| filters::one(&zone.zone_id)),
        ("zone-name", |zone| filters::one(&zone.zone_name)),
        ("zone-type", |zone| filters::one(&zone.zone_type)),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.zone_name.clone().unwrap_or_default()
    }
}

pub async fn describe_account_attributes(
    cx: Cx,
    input: api::DescribeAccountAttributesInput,
) -> Result<api::DescribeAccountAttributesOutput> {
    defaults::ready(&cx).await?;
    let default_vpc = cx.view(|view| view.by_index::<Vpc>(cx.scope(), "default", "true"));
    let default_vpc = default_vpc.first().map_or("none".to_owned(), |(id, _)| id.to_string());
    let all = [
        ("supported-platforms", "VPC".to_owned()),
        ("default-vpc", default_vpc),
        ("max-instances", "20".to_owned()),
        ("vpc-max-security-groups-per-interface", "5".to_owned()),
        ("max-elastic-ips", "5".to_owned()),
        ("vpc-max-elastic-ips", "5".to_owned()),
    ];
    let asked = |name: &str| input.attribute_names.as_ref().is_none_or(|names| names.iter().any(|asked| asked == name));
    let attributes = all.into_iter().filter(|(name, _)| asked(name)).map(|(name, value)| api::AccountAttribute {
        attribute_name: Some(name.into()),
        attribute_values: Some(vec![api::AccountAttributeValue { attribute_value: Some(value) }]),
    });
    Ok(api::DescribeAccountAttributesOutput { account_attributes: Some(attributes.collect()) })
}
