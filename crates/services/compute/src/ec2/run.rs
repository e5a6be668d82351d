//! RunInstances: from a request (and its launch template) to a `Launch`, whose parts are valid.
//!
//! What needs the records of the moment (subnet, groups, addresses, the zone's power) is decided in `launch`.

use std::net::Ipv4Addr;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Result, Timestamp};
use standfast_kernel::Cx;

use super::block_devices::Device;
use super::errors;
use super::images::LaunchImage;
use super::instance_types::{self, InstanceType};
use super::interface_addresses::Wanted;
use super::model::{ClientToken, IamProfile, MetadataOptions, Options, Tags, UserData};
use super::{
    block_devices, defaults, iam_profiles, images, launch, launch_templates, spot, tags, template_data, tokens,
};

/// How many instances one request may ask for.
const COUNT_MAX: i32 = 1000;
/// The types of resources that a launch tags.
const TAGGED_TYPES: &[&str] = &["instance", "volume", "network-interface", "spot-instances-request"];
/// Tags that say which template an instance was made from.
const TEMPLATE_ID_TAG: &str = "aws:ec2launchtemplate:id";
const TEMPLATE_VERSION_TAG: &str = "aws:ec2launchtemplate:version";

/// What a request asks for, read and checked.
#[derive(Clone, Debug)]
pub struct Launch {
    pub image: LaunchImage,
    pub instance_type: InstanceType,
    pub count_min: usize,
    pub count_max: usize,
    pub key_name: Option<String>,
    pub zone: Option<String>,
    pub subnet: Option<Id<id::Subnet>>,
    pub group_ids: Vec<Id<id::SecurityGroup>>,
    pub group_names: Vec<String>,
    pub private_ip: Option<Ipv4Addr>,
    /// By device index; the first one is the primary interface.
    pub interfaces: Vec<Interface>,
    pub devices: Vec<Device>,
    pub user_data: UserData,
    pub iam_profile: Option<IamProfile>,
    pub options: Options,
    /// Set when the instances are spot instances.
    pub spot: Option<spot::Asked>,
    /// What private host names look like, where the request says more than the subnet.
    pub hostname: Option<api::PrivateDnsNameOptionsRequest>,
    pub instance_tags: Tags,
    pub volume_tags: Tags,
    pub interface_tags: Tags,
    pub token: Option<ClientToken>,
    pub dry_run: Option<bool>,
}

/// An interface of an instance to be.
#[derive(Clone, Debug)]
pub struct Interface {
    pub device_index: i32,
    /// One that exists already.
    pub existing: Option<Id<id::NetworkInterface>>,
    pub subnet: Option<Id<id::Subnet>>,
    pub groups: Vec<Id<id::SecurityGroup>>,
    pub addresses: Wanted,
    pub public: Option<bool>,
    pub delete_on_termination: bool,
    pub description: String,
}

pub async fn run(cx: Cx, input: api::RunInstancesInput) -> Result<api::RunInstancesOutput> {
    defaults::ready(&cx).await?;
    let launch = read(&cx, input).await?;
    launch::launch(&cx, launch).await
}

/// Reads a request: puts the template under it and checks what can be checked without the network.
async fn read(cx: &Cx, input: api::RunInstancesInput) -> Result<Launch> {
    let token = tokens::read(input.client_token.as_deref(), &input)?;
    let (input, template_tags) = over_template(cx, input)?;
    let (count_min, count_max) = counts(input.min_count, input.max_count)?;
    let image_id = errors::required(input.image_id.clone().filter(|id| !id.is_empty()), "ImageId")?;
    let image = cx.view(|view| images::launchable(view, cx.scope(), &image_id))?;
    let instance_type = instance_types::find(input.instance_type.as_deref().unwrap_or("m1.small"))?;
    if instance_type.architecture != image.architecture {
        return Err(errors::invalid(format!(
            "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.",
            instance_type.architecture, image.architecture
        )));
    }
    let (instance_tags, volume_tags, interface_tags) = tags_of(cx, &input, template_tags)?;
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let placement = input.placement.clone().unwrap_or_default();
    let options = options(&input, &image, &instance_type, &placement)?;
    Ok(Launch {
        instance_type,
        count_min,
        count_max,
        key_name: text(&input.key_name),
        zone: zone(cx, &placement)?,
        subnet: text(&input.subnet_id).map(|text| errors::id(&text)).transpose()?,
        group_ids: ids(input.security_group_ids.as_ref())?,
        group_names: input.security_groups.clone().unwrap_or_default(),
        private_ip: address(input.private_ip_address.as_deref())?,
        interfaces: interfaces(&input, count_max)?,
        devices: devices(cx, &image, input.block_device_mappings.as_ref())?,
        image,
        user_data: match text(&input.user_data) {
            Some(text) => template_data::user_data(&text)?,
            None => UserData::default(),
        },
        iam_profile: iam_profiles::known(cx, input.iam_instance_profile.as_ref()).await?,
        options,
        spot: spot::read(cx, &input)?,
        hostname: input.private_dns_name_options.clone(),
        instance_tags,
        volume_tags,
        interface_tags,
        token,
        dry_run: input.dry_run,
    })
}

/// The request with its launch template under it, and the tags that tell of the template.
fn over_template(cx: &Cx, input: api::RunInstancesInput) -> Result<(api::RunInstancesInput, Tags)> {
    let Some(wanted) = input.launch_template.clone() else { return Ok((input, Tags::new())) };
    let (id, version) = cx.view(|view| {
        let name = wanted.launch_template_name.as_deref();
        let found = launch_templates::named(view, cx.scope(), wanted.launch_template_id.as_deref(), name)?;
        let version = launch_templates::version(view, cx.scope(), &found, wanted.version.as_deref())?;
        Ok((found.0, version))
    })?;
    let template_tags = Tags::from([
        (TEMPLATE_ID_TAG.to_owned(), id.to_string()),
        (TEMPLATE_VERSION_TAG.to_owned(), version.number.to_string()),
    ]);
    Ok((template_data::launch(&version.data, input)?, template_tags))
}

fn counts(min: i32, max: i32) -> Result<(usize, usize)> {
    for (parameter, value) in [("minCount", min), ("maxCount", max)] {
        if value < 1 {
            return Err(errors::invalid(format!(
                "Value ({value}) for parameter {parameter} is invalid. The value must be at least 1."
            )));
        }
    }
    if min > max {
        return Err(errors::invalid(format!(
            "Value ({min}) for parameter minCount is invalid. minCount must not be greater than maxCount ({max})."
        )));
    }
    if max > COUNT_MAX {
        let message = format!("Value ({max}) for parameter maxCount is invalid. A request may launch {COUNT_MAX}.");
        return Err(errors::invalid(message));
    }
    Ok((min as usize, max as usize))
}

fn ids(texts: Option<&Vec<String>>) -> Result<Vec<Id<id::SecurityGroup>>> {
    let mut out = Vec::new();
    for text in texts.into_iter().flatten() {
        let id = errors::id(text)?;
        if !out.contains(&id) {
            out.push(id);
        }
    }
    Ok(out)
}

pub fn address(text: Option<&str>) -> Result<Option<Ipv4Addr>> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| errors::invalid(format!("Invalid IPv4 address: '{text}'")))).transpose()
}

/// The zone that a placement asks for, by name.
fn zone(cx: &Cx, placement: &api::Placement) -> Result<Option<String>> {
    let region = standfast_core::place::Region::named(cx.region());
    let mut zones = region.into_iter().flat_map(standfast_core::place::Region::zones);
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, zone_id) = (text(&placement.availability_zone), text(&placement.availability_zone_id));
    let Some(asked) = name.clone().or(zone_id.clone()) else { return Ok(None) };
    let found = zones.find(|zone| Some(&zone.name) == name.as_ref() || Some(&zone.id) == zone_id.as_ref());
    let found = found.ok_or_else(|| errors::invalid(format!("Invalid availability zone: [{asked}]")))?;
    Ok(Some(found.name))
}

fn interfaces(input: &api::RunInstancesInput, count_max: usize) -> Result<Vec<Interface>> {
    let Some(given) = input.network_interfaces.as_ref().filter(|given| !given.is_empty()) else {
        return Ok(Vec::new());
    };
    let has = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if has(&input.security_group_ids) || has(&input.security_groups) {
        let message =
            "Network interfaces and an instance-level security groups may not be specified on the same request";
        return Err(errors::combination(message));
    }
    if input.subnet_id.is_some() && given.iter().any(|interface| interface.subnet_id.is_some()) {
        let message = "Network interfaces and an instance-level subnet ID may not be specified on the same request";
        return Err(errors::combination(message));
    }
    let mut out = Vec::new();
    for (n, given) in given.iter().enumerate() {
        let single = given.private_ip_address.as_deref();
        let count = given.secondary_private_ip_address_count;
        out.push(Interface {
            device_index: given.device_index.unwrap_or(n as i32),
            existing: given.network_interface_id.as_deref().map(errors::id).transpose()?,
            subnet: given.subnet_id.as_deref().filter(|text| !text.is_empty()).map(errors::id).transpose()?,
            groups: ids(given.groups.as_ref())?,
            addresses: Wanted::read(single, given.private_ip_addresses.as_ref(), count)?,
            public: given.associate_public_ip_address,
            delete_on_termination: given.delete_on_termination.unwrap_or(given.network_interface_id.is_none()),
            description: given.description.clone().unwrap_or_default(),
        });
    }
    out.sort_by_key(|interface| interface.device_index);
    if out[0].device_index != 0 || out.windows(2).any(|pair| pair[0].device_index == pair[1].device_index) {
        let message = "Each network interface requires a device index of its own, and one must be 0.";
        return Err(errors::invalid(message));
    }
    let single = out.iter().any(|interface| interface.existing.is_some() || interface.addresses.is_particular());
    if single && count_max > 1 {
        let message = "A network interface ID or a private IP address may be specified for one instance only.";
        return Err(errors::combination(message));
    }
    Ok(out)
}

fn devices(cx: &Cx, image: &LaunchImage, mappings: Option<&Vec<api::BlockDeviceMapping>>) -> Result<Vec<Device>> {
    cx.view(|view| block_devices::read(view, cx.scope(), image, mappings))
}

fn options(
    input: &api::RunInstancesInput,
    image: &LaunchImage,
    instance_type: &InstanceType,
    placement: &api::Placement,
) -> Result<Options> {
    let yes = |value: Option<bool>| value == Some(true);
    let credits = input.credit_specification.as_ref().map(|credit| credit.cpu_credits.clone());
    let terminate_on_shutdown = match input.instance_initiated_shutdown_behavior.as_deref() {
        None | Some("" | "stop") => false,
        Some("terminate") => true,
        Some(other) => return Err(errors::invalid_value("instanceInitiatedShutdownBehavior", other)),
    };
    Ok(Options {
        monitoring: input.monitoring.as_ref().is_some_and(|monitoring| monitoring.enabled),
        ebs_optimized: yes(input.ebs_optimized),
        api_termination_disabled: yes(input.disable_api_termination),
        api_stop_disabled: yes(input.disable_api_stop),
        terminate_on_shutdown,
        hibernation: yes(input.hibernation_options.as_ref().and_then(|options| options.configured)),
        enclave: yes(input.enclave_options.as_ref().and_then(|options| options.enabled)),
        tenancy: placement.tenancy.clone().unwrap_or_else(|| "default".into()),
        placement_group: placement.group_name.clone().filter(|name| !name.is_empty()),
        cpu_credits: instance_type.default_credits().map(|default| credits.unwrap_or_else(|| default.to_owned())),
        metadata: metadata(MetadataOptions::of(image.requires_tokens), input.metadata_options.as_ref())?,
        auto_recovery: input.maintenance_options.as_ref().and_then(|options| options.auto_recovery.clone()),
        lifecycle: (input.instance_market_options.as_ref())
            .and_then(|market| market.market_type.clone())
            .filter(|market| market == "spot"),
        ..Options::default()
    })
}

/// How far a token of the metadata service may be told to go.
const HOP_LIMITS: std::ops::RangeInclusive<i32> = 1..=64;

/// Metadata options with what a request says about them.
pub fn metadata(old: MetadataOptions, given: Option<&api::InstanceMetadataOptionsRequest>) -> Result<MetadataOptions> {
    let Some(given) = given else { return Ok(old) };
    if let Some(limit) = given.http_put_response_hop_limit.filter(|limit| !HOP_LIMITS.contains(limit)) {
        let range = format!("It must be from {} to {}.", HOP_LIMITS.start(), HOP_LIMITS.end());
        let message = format!("Value ({limit}) for parameter HttpPutResponseHopLimit is invalid. {range}");
        return Err(errors::invalid(message));
    }
    Ok(MetadataOptions {
        tokens: given.http_tokens.clone().unwrap_or(old.tokens),
        hop_limit: given.http_put_response_hop_limit.unwrap_or(old.hop_limit),
        endpoint: given.http_endpoint.clone().unwrap_or(old.endpoint),
        ipv6: given.http_protocol_ipv6.clone().unwrap_or(old.ipv6),
        tags: given.instance_metadata_tags.clone().unwrap_or(old.tags),
    })
}

/// Tags of the instances, their volumes and their interfaces.
fn tags_of(cx: &Cx, input: &api::RunInstancesInput, template: Tags) -> Result<(Tags, Tags, Tags)> {
    let of = |resource_type| {
        // A template's specification and the request's may speak of the same type; their keys differ by then.
        let mut all = Tags::new();
        for specification in input.tag_specifications.iter().flatten() {
            let one = vec![specification.clone()];
            all.extend(tags::specified(cx, Some(&one), resource_type, TAGGED_TYPES)?);
        }
        tags::check(cx, &all)?;
        Ok(all)
    };
    let mut instance = of("instance")?;
    instance.extend(template);
    Ok((instance, of("volume")?, of("network-interface")?))
}

/// The text that tells when a user did something to an instance.
pub fn user_initiated(now: Timestamp) -> String {
    format!("User initiated ({} GMT)", now.civil().strftime("%Y-%m-%d %H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_checked() {
        assert_eq!(counts(1, 5).ok(), Some((1, 5)));
        for (min, max) in [(0, 1), (2, 1), (1, 0), (1, COUNT_MAX + 1), (-1, -1)] {
            assert!(counts(min, max).is_err_and(|error| error.is("InvalidParameterValue")), "{min} {max}");
        }
    }
}
