//! What callers ask of a group: parsed and checked once, when it is made or changed.

use std::collections::BTreeMap;

use standfast_api::{autoscaling as api, ec2, elbv2};
use standfast_core::place::{Region, Zone};
use standfast_core::{Error, Result};
use standfast_kernel::{Cx, Principal};
use standfast_store::View;

use super::errors::{self, validation};
use super::model::{
    Distribution, GroupTag, Launch, LaunchConfiguration, MixedPolicy, Override, TemplateRef, TerminationPolicy,
};
use super::{documents, launch, requirements};

/// Tags of a group.
const TAGS_MAX: usize = 50;
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;
/// The resource type of all tags here.
pub const GROUP_TYPE: &str = "auto-scaling-group";
/// Defaults of a mixed instances policy.
const ON_DEMAND_STRATEGY: &str = "prioritized";
const SPOT_STRATEGY: &str = "lowest-price";
const ON_DEMAND_PERCENTAGE: i32 = 100;
const VERSION: &str = "$Default";
const ON_DEMAND_STRATEGIES: &[&str] = &["prioritized", "lowest-price"];
const SPOT_STRATEGIES: &[&str] =
    &["lowest-price", "capacity-optimized", "capacity-optimized-prioritized", "price-capacity-optimized"];
const SPOT_POOLS: std::ops::RangeInclusive<i32> = 1..=20;
const OVERRIDES_MAX: usize = 40;

const WHAT_TO_LAUNCH: &str = "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId \
                              or MixedInstancesPolicy parameter.";
const BAD_TEMPLATE: &str = "You must use a valid fully-formed launch template.";

/// Checks bounds and desired capacity.
pub fn check_sizes(min: i32, max: i32, desired: i32) -> Result<()> {
    for (name, size) in [("MinSize", min), ("MaxSize", max), ("DesiredCapacity", desired)] {
        if size < 0 {
            return Err(validation(format!("{name} {size} must not be negative.")));
        }
    }
    if min > max {
        return Err(validation(format!("Max bound, {max}, must be greater than or equal to min bound, {min}")));
    }
    if !(min..=max).contains(&desired) {
        return Err(validation(format!(
            "Desired capacity:{desired} must be between the specified min size:{min} and max size:{max}"
        )));
    }
    Ok(())
}

/// The three ways to say what instances are launched from, of which a request uses one.
pub struct Asked {
    pub configuration: Option<String>,
    pub template: Option<api::LaunchTemplateSpecification>,
    pub mixed: Option<api::MixedInstancesPolicy>,
}

/// Reads it; None when the request does not say.
pub async fn launch(cx: &Cx, asked: Asked) -> Result<Option<Launch>> {
    match (asked.configuration, asked.template, asked.mixed) {
        (None, None, None) => Ok(None),
        (Some(name), None, None) => {
            configuration(&cx.view(|view| has_configuration(view, cx, &name)), &name)?;
            Ok(Some(Launch::Configuration(name)))
        }
        (None, Some(specification), None) => Ok(Some(Launch::Template(template(cx, specification).await?))),
        (None, None, Some(policy)) => Ok(Some(Launch::Mixed(mixed(cx, policy).await?))),
        _ => Err(validation(WHAT_TO_LAUNCH)),
    }
}

/// The error of a request that must say what to launch and does not.
pub fn nothing_to_launch() -> Error {
    validation(WHAT_TO_LAUNCH)
}

pub fn has_configuration(view: &View, cx: &Cx, name: &str) -> bool {
    view.get::<LaunchConfiguration>(cx.scope(), name).is_some()
}

pub fn configuration(exists: &bool, name: &str) -> Result<()> {
    if *exists {
        return Ok(());
    }
    let message =
        format!("Launch configuration name not found - A launch configuration with the name: {name} does not exist");
    Err(validation(message))
}

/// Finds a launch template by whichever of its names is given.
async fn template(cx: &Cx, asked: api::LaunchTemplateSpecification) -> Result<TemplateRef> {
    let (id, name) = (asked.launch_template_id, asked.launch_template_name);
    if id.is_some() == name.is_some() {
        let problem = "Specify either LaunchTemplateId or LaunchTemplateName, but not both.";
        return Err(validation(format!("{BAD_TEMPLATE} {problem}")));
    }
    let input = ec2::DescribeLaunchTemplatesInput {
        launch_template_ids: id.map(|id| vec![id]),
        launch_template_names: name.map(|name| vec![name]),
        ..Default::default()
    };
    let found = cx.call(ec2::DescribeLaunchTemplates, input).await.map_err(bad_template)?;
    let found = found.launch_templates.unwrap_or_default().into_iter().next();
    let found = found.ok_or_else(|| validation(format!("{BAD_TEMPLATE} The launch template does not exist.")))?;
    let id = found.launch_template_id.unwrap_or_default();
    let version = asked.version.filter(|version| !version.is_empty()).unwrap_or_else(|| VERSION.into());
    launch::version(cx, &id, &version).await.map_err(bad_template)?;
    Ok(TemplateRef { id, name: found.launch_template_name.unwrap_or_default(), version })
}

fn bad_template(error: Error) -> Error {
    if error.fault == standfast_core::Fault::Server {
        return error;
    }
    validation(format!("{BAD_TEMPLATE} {}", error.message))
}

async fn mixed(cx: &Cx, policy: api::MixedInstancesPolicy) -> Result<MixedPolicy> {
    let asked = policy.launch_template.unwrap_or_default();
    let specification = asked.launch_template_specification;
    let specification = specification.ok_or_else(|| validation(format!("{BAD_TEMPLATE} It is missing.")))?;
    let base = template(cx, specification).await?;
    let given = asked.overrides.unwrap_or_default();
    check_overrides(&given)?;
    let mut overrides = Vec::new();
    for one in given {
        if let Some(weight) = &one.weighted_capacity
            && !weight.parse::<u32>().is_ok_and(|weight| (1..=999).contains(&weight))
        {
            let message = format!("The weighted capacity '{weight}' is not valid. It must be between 1 and 999.");
            return Err(validation(message));
        }
        let own = match one.launch_template_specification {
            Some(own) => Some(template(cx, own).await?),
            None => None,
        };
        let types = match &one.instance_requirements {
            Some(asked) => {
                let architecture = architecture(cx, own.as_ref().unwrap_or(&base), one.image_id.as_deref()).await?;
                requirements::types(cx, asked, architecture.as_deref()).await?
            }
            None => Vec::new(),
        };
        overrides.push(Override {
            instance_type: one.instance_type,
            weight: one.weighted_capacity,
            template: own,
            image: one.image_id,
            requirements: one.instance_requirements.map(documents::keep),
            types,
        });
    }
    let distribution = distribution(policy.instances_distribution.unwrap_or_default())?;
    Ok(MixedPolicy { template: base, overrides, distribution })
}

fn check_overrides(overrides: &[api::LaunchTemplateOverrides]) -> Result<()> {
    if overrides.len() > OVERRIDES_MAX {
        return Err(validation(format!("A mixed instances policy can have at most {OVERRIDES_MAX} overrides.")));
    }
    let weighted = overrides.iter().filter(|one| one.weighted_capacity.is_some()).count();
    if weighted != 0 && weighted != overrides.len() {
        return Err(validation("Either all overrides must have a WeightedCapacity or none of them."));
    }
    let with_requirements = overrides.iter().any(|one| one.instance_requirements.is_some());
    if with_requirements && overrides.iter().any(|one| one.instance_type.is_some()) {
        return Err(validation("You cannot specify both InstanceType and InstanceRequirements in overrides."));
    }
    let mut names: Vec<_> = overrides.iter().filter_map(|one| one.instance_type.as_deref()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(validation(format!("Duplicate instance type '{}' in the overrides.", pair[0])));
    }
    Ok(())
}

/// The processor architecture of what a template launches, if it says.
async fn architecture(cx: &Cx, template: &TemplateRef, image: Option<&str>) -> Result<Option<String>> {
    let version = launch::version(cx, &template.id, &template.version).await?;
    let image = image.map(str::to_owned).or(version.launch_template_data.and_then(|data| data.image_id));
    let Some(image) = image else { return Ok(None) };
    let input = ec2::DescribeImagesInput { image_ids: Some(vec![image]), ..Default::default() };
    match cx.call(ec2::DescribeImages, input).await {
        Err(error) if error.fault == standfast_core::Fault::Client => Ok(None),
        other => Ok(other?.images.unwrap_or_default().into_iter().next().and_then(|image| image.architecture)),
    }
}

fn distribution(asked: api::InstancesDistribution) -> Result<Distribution> {
    let one_of = |name: &str, given: &Option<String>, known: &[&str]| match given {
        Some(text) if !text.is_empty() && !known.contains(&text.as_str()) => {
            let known = known.join(", ");
            Err(validation(format!("The {name} '{text}' is not valid. Valid values are: [{known}].")))
        }
        _ => Ok(()),
    };
    one_of("OnDemandAllocationStrategy", &asked.on_demand_allocation_strategy, ON_DEMAND_STRATEGIES)?;
    one_of("SpotAllocationStrategy", &asked.spot_allocation_strategy, SPOT_STRATEGIES)?;
    if let Some(base) = asked.on_demand_base_capacity.filter(|base| *base < 0) {
        return Err(validation(format!("OnDemandBaseCapacity {base} must not be negative.")));
    }
    if let Some(share) = asked.on_demand_percentage_above_base_capacity.filter(|share| !(0..=100).contains(share)) {
        let message = format!("OnDemandPercentageAboveBaseCapacity {share} must be between 0 and 100.");
        return Err(validation(message));
    }
    if let Some(pools) = asked.spot_instance_pools {
        if !SPOT_POOLS.contains(&pools) {
            let (low, high) = (SPOT_POOLS.start(), SPOT_POOLS.end());
            return Err(validation(format!("SpotInstancePools {pools} must be between {low} and {high}.")));
        }
        if asked.spot_allocation_strategy.as_deref().is_some_and(|strategy| strategy != SPOT_STRATEGY) {
            let message = "SpotInstancePools is valid only when the SpotAllocationStrategy is lowest-price.";
            return Err(validation(message));
        }
    }
    Ok(Distribution {
        on_demand_strategy: asked.on_demand_allocation_strategy.unwrap_or_else(|| ON_DEMAND_STRATEGY.into()),
        on_demand_base: asked.on_demand_base_capacity.unwrap_or_default(),
        on_demand_percentage: asked.on_demand_percentage_above_base_capacity.unwrap_or(ON_DEMAND_PERCENTAGE),
        spot_strategy: asked.spot_allocation_strategy.unwrap_or_else(|| SPOT_STRATEGY.into()),
        spot_pools: asked.spot_instance_pools,
        spot_max_price: asked.spot_max_price.filter(|price| !price.is_empty()),
    })
}

/// Where a group launches: its zones and the subnets in them.
pub struct Places {
    pub zones: Vec<String>,
    pub subnets: Vec<(String, String)>,
    pub vpc_zone_identifier: String,
}

/// Reads where; None when the request does not say.
pub async fn places(
    cx: &Cx,
    vpc_zone_identifier: Option<String>,
    zones: Option<Vec<String>>,
    zone_ids: Option<Vec<String>>,
) -> Result<Option<Places>> {
    let mut zones = zones.unwrap_or_default();
    for id in zone_ids.unwrap_or_default() {
        let zone = Region::named(cx.region()).into_iter().flat_map(Region::zones).find(|zone| zone.id == id);
        zones.push(zone.ok_or_else(|| validation(format!("Invalid Availability Zone ID: [{id}]")))?.name);
    }
    if let Some(zone) = zones.iter().find(|name| Zone::named(name).is_none_or(|zone| zone.region() != cx.region())) {
        return Err(validation(format!("Invalid Availability Zone: [{zone}]")));
    }
    zones.sort();
    zones.dedup();
    let identifier = vpc_zone_identifier.filter(|list| !list.trim().is_empty());
    let places = match identifier {
        None if zones.is_empty() => return Ok(None),
        None => Places { subnets: default_subnets(cx, &zones).await?, zones, vpc_zone_identifier: String::new() },
        Some(list) => {
            let subnets = subnets(cx, &list).await?;
            let mut own: Vec<String> = subnets.iter().map(|(_, zone)| zone.clone()).collect();
            own.sort();
            own.dedup();
            if !zones.is_empty() && zones != own {
                return Err(validation(
                    "The availability zones of the specified subnets and the Auto Scaling group do not match",
                ));
            }
            Places { zones: own, subnets, vpc_zone_identifier: list }
        }
    };
    Ok(Some(places))
}

async fn subnets(cx: &Cx, list: &str) -> Result<Vec<(String, String)>> {
    let ids: Vec<String> = list.split(',').map(|id| id.trim().to_owned()).collect();
    let input = ec2::DescribeSubnetsInput { subnet_ids: Some(ids.clone()), ..Default::default() };
    let found = match cx.call(ec2::DescribeSubnets, input).await {
        Err(error) if error.fault == standfast_core::Fault::Client => return Err(validation(error.message)),
        other => other?.subnets.unwrap_or_default(),
    };
    let vpcs: std::collections::BTreeSet<_> = found.iter().map(|subnet| subnet.vpc_id.clone()).collect();
    if vpcs.len() > 1 {
        return Err(validation("All subnets of an Auto Scaling group must be in the same VPC."));
    }
    let zone = |id: &String| {
        let subnet = found.iter().find(|subnet| subnet.subnet_id.as_ref() == Some(id));
        let zone = subnet.and_then(|subnet| subnet.availability_zone.clone());
        zone.map(|zone| (id.clone(), zone)).ok_or_else(|| validation(format!("The subnet ID '{id}' does not exist")))
    };
    ids.iter().map(zone).collect()
}

async fn default_subnets(cx: &Cx, zones: &[String]) -> Result<Vec<(String, String)>> {
    let filter = |name: &str, values: Vec<String>| ec2::Filter { name: Some(name.into()), values: Some(values) };
    let filters = vec![filter("default-for-az", vec!["true".into()]), filter("availability-zone", zones.to_vec())];
    let input = ec2::DescribeSubnetsInput { filters: Some(filters), ..Default::default() };
    let found = cx.call(ec2::DescribeSubnets, input).await?.subnets.unwrap_or_default();
    let subnet = |zone: &String| {
        let subnet = found.iter().find(|subnet| subnet.availability_zone.as_ref() == Some(zone));
        let id = subnet.and_then(|subnet| subnet.subnet_id.clone());
        let message = || validation(format!("No default subnet for availability zone: '{zone}'"));
        id.map(|id| (id, zone.clone())).ok_or_else(message)
    };
    zones.iter().map(subnet).collect()
}

/// Checks that target groups exist.
pub async fn check_target_groups(cx: &Cx, arns: &[String]) -> Result<()> {
    if arns.is_empty() {
        return Ok(());
    }
    let input = elbv2::DescribeTargetGroupsInput { target_group_arns: Some(arns.to_vec()), ..Default::default() };
    match cx.call(elbv2::DescribeTargetGroups, input).await {
        Err(error) if error.fault == standfast_core::Fault::Client => {
            Err(validation("Provided Target Groups may not be valid. Please ensure they exist and try again."))
        }
        other => other.map(drop),
    }
}

/// The target groups among traffic sources.
pub fn traffic_sources(sources: Vec<api::TrafficSourceIdentifier>) -> Result<Vec<String>> {
    let arn = |source: api::TrafficSourceIdentifier| {
        let is_target_group = source.identifier.contains(":targetgroup/");
        match source.r#type.as_deref() {
            Some("elb") => Err(errors::no_classic()),
            Some("elbv2") | None if is_target_group => Ok(source.identifier),
            Some("vpc-lattice") => {
                Err(validation("Traffic sources of VPC Lattice are not available in this version of Standfast."))
            }
            _ => Err(validation(format!("The traffic source '{}' is not valid.", source.identifier))),
        }
    };
    sources.into_iter().map(arn).collect()
}

pub fn check_health_check_type(text: &str) -> Result<()> {
    let known = |kind: &str| matches!(kind.trim(), "EC2" | "ELB" | "EBS" | "VPC_LATTICE");
    if text.is_empty() || !text.split(',').all(known) {
        let message =
            format!("The health check type '{text}' is not valid. Valid types are: EC2, ELB, EBS, VPC_LATTICE.");
        return Err(validation(message));
    }
    Ok(())
}

pub fn termination_policies(names: Vec<String>) -> Result<Vec<TerminationPolicy>> {
    let policy = |name: String| {
        TerminationPolicy::named(&name).ok_or_else(|| {
            let known: Vec<&str> = TerminationPolicy::ALL.iter().map(|policy| policy.name()).collect();
            let message =
                format!("Termination policy '{name}' is not valid. Valid policies are: [{}].", known.join(", "));
            validation(message)
        })
    };
    let policies = names.into_iter().map(policy).collect::<Result<Vec<_>>>()?;
    Ok(if policies.is_empty() { vec![TerminationPolicy::Default] } else { policies })
}

/// Reads tags; each with its key.
pub fn tags(cx: &Cx, tags: Vec<api::Tag>) -> Result<BTreeMap<String, GroupTag>> {
    let mut read = BTreeMap::new();
    for tag in tags {
        check_tag_key(cx, &tag.key)?;
        let (value, propagate) = (tag.value.unwrap_or_default(), tag.propagate_at_launch.unwrap_or(true));
        if value.chars().count() > TAG_VALUE_MAX {
            return Err(validation(format!(
                "The value of tag '{}' is longer than {TAG_VALUE_MAX} characters.",
                tag.key
            )));
        }
        if read.insert(tag.key.clone(), GroupTag { value, propagate }).is_some() {
            return Err(validation(format!("Duplicate tag key '{}' specified.", tag.key)));
        }
    }
    check_tag_count(read.len())?;
    Ok(read)
}

fn check_tag_key(cx: &Cx, key: &str) -> Result<()> {
    if key.is_empty() || key.chars().count() > TAG_KEY_MAX {
        return Err(validation(format!("The tag key '{key}' must have 1 to {TAG_KEY_MAX} characters.")));
    }
    if key.starts_with("aws:") && !matches!(cx.principal(), Principal::Service(_)) {
        return Err(validation(format!("The tag key '{key}' is reserved: keys must not begin with 'aws:'.")));
    }
    Ok(())
}

pub fn check_tag_count(count: usize) -> Result<()> {
    if count > TAGS_MAX {
        return Err(errors::limit(format!("A group can have at most {TAGS_MAX} tags.")));
    }
    Ok(())
}
