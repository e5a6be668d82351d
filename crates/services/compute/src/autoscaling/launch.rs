//! What an instance is launched from, and the call that launches it.

use standfast_api::ec2;
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;

use super::errors;
use super::model::{Device, Group, Launch, LaunchConfiguration, Lifecycle, Member, Source, TemplateRef};
use super::plan::Pick;

/// The tag by which an instance says whose it is.
pub const GROUP_TAG: &str = "aws:autoscaling:groupName";
const TEMPLATE_ID_TAG: &str = "aws:ec2launchtemplate:id";
const TEMPLATE_VERSION_TAG: &str = "aws:ec2launchtemplate:version";

/// What new members are launched from, looked up: versions are numbers.
#[derive(Clone, Debug)]
pub struct Recipe {
    source: Source,
    // Of a template's type and image only what an override says: the rest is EC2's to read there.
    instance_type: String,
    image: Option<String>,
    /// Per override of a mixed policy.
    overrides: Vec<OverrideRecipe>,
}

#[derive(Clone, Debug)]
struct OverrideRecipe {
    source: Source,
    image: Option<String>,
    types: Vec<String>,
}

impl Default for Recipe {
    fn default() -> Self {
        Self { source: Source::None, instance_type: String::new(), image: None, overrides: Vec::new() }
    }
}

impl Recipe {
    /// A member to be launched in a zone; the subnet is for the caller to choose.
    pub fn member(&self, name: &str, group: &Group, pick: &Pick, zone: &str, now: Timestamp) -> Member {
        let over = pick.over.and_then(|place| self.overrides.get(place));
        Member {
            group: name.to_owned(),
            instance: None,
            zone: zone.to_owned(),
            subnet: String::new(),
            source: over.map_or(&self.source, |over| &over.source).clone(),
            instance_type: pick.instance_type.clone().unwrap_or_else(|| self.instance_type.clone()),
            image: over.and_then(|over| over.image.clone()).or_else(|| self.image.clone()),
            weight: pick.weight.clone(),
            state: Lifecycle::Pending,
            unhealthy: None,
            protected: group.protect_new,
            joined: now,
            in_service: None,
            spare: false,
            unattached: group.is_suspended(super::model::Process::AddToLoadBalancer),
            targets: Default::default(),
            waits: Vec::new(),
            activity: None,
            generation: group.generation,
            spot: pick.spot,
            moves: None,
        }
    }

    /// Whether a member is just what would be launched.
    pub fn matches(&self, member: &Member) -> bool {
        let of_override = |over: &OverrideRecipe| {
            over.source == member.source && (over.types.is_empty() || over.types.contains(&member.instance_type))
        };
        match self.overrides.is_empty() {
            true => self.source == member.source,
            false => self.overrides.iter().any(of_override),
        }
    }
}

/// Looks up what the group launches from.
pub async fn recipe(cx: &Cx, launch: &Launch) -> Result<Recipe> {
    let (template, policy) = match launch {
        Launch::Configuration(name) => {
            let configuration = configuration(cx, name)?;
            return Ok(Recipe {
                source: Source::Configuration(name.clone()),
                instance_type: configuration.instance_type.clone(),
                image: Some(configuration.image.clone()),
                overrides: Vec::new(),
            });
        }
        Launch::Template(template) => (template, None),
        Launch::Mixed(policy) => (&policy.template, Some(policy)),
    };
    let source = numbered(cx, template).await?;
    let mut overrides = Vec::new();
    for over in policy.into_iter().flat_map(|policy| &policy.overrides) {
        let own = match &over.template {
            Some(template) => numbered(cx, template).await?,
            None => source.clone(),
        };
        let types = over.instance_type.iter().chain(&over.types).cloned().collect();
        overrides.push(OverrideRecipe { source: own, image: over.image.clone(), types });
    }
    Ok(Recipe { source, instance_type: String::new(), image: None, overrides })
}

/// A template with the number that its version has now.
async fn numbered(cx: &Cx, template: &TemplateRef) -> Result<Source> {
    let version = version(cx, &template.id, &template.version).await?;
    let number = version.version_number.unwrap_or_default().to_string();
    Ok(Source::Template(TemplateRef { version: number, ..template.clone() }))
}

fn configuration(cx: &Cx, name: &str) -> Result<std::sync::Arc<LaunchConfiguration>> {
    let found = cx.view(|view| view.get::<LaunchConfiguration>(cx.scope(), name));
    found.ok_or_else(|| errors::validation(format!("The launch configuration {name} does not exist.")))
}

/// A version of a launch template, by number or alias.
pub async fn version(cx: &Cx, template: &str, version: &str) -> Result<ec2::LaunchTemplateVersion> {
    let input = ec2::DescribeLaunchTemplateVersionsInput {
        launch_template_id: Some(template.to_owned()),
        versions: Some(vec![version.to_owned()]),
        ..Default::default()
    };
    let found = cx.call(ec2::DescribeLaunchTemplateVersions, input).await?;
    let versions = found.launch_template_versions.unwrap_or_default();
    versions.into_iter().next().ok_or_else(|| {
        let message = format!("The specified launch template version {version} of {template} does not exist.");
        Error::client("InvalidLaunchTemplateId.VersionNotFound", message)
    })
}

/// Asks for a member's instance: the same one, however often it is asked.
pub async fn run(cx: &Cx, token: &str, group: &Group, launch: &Launch, member: &Member) -> Result<ec2::Instance> {
    let input = match &member.source {
        Source::Configuration(name) => of_configuration(&*configuration(cx, name)?, member),
        Source::Template(template) => of_template(cx, template, member).await?,
        Source::None => return Err(Error::internal("a member without a source is never launched")),
    };
    let input = ec2::RunInstancesInput {
        min_count: 1,
        max_count: 1,
        client_token: Some(token.to_owned()),
        tag_specifications: Some(vec![tags(group, member)]),
        instance_market_options: market(launch, member).or(input.instance_market_options),
        ..input
    };
    let answer = match cx.call(ec2::RunInstances, input).await {
        Err(error) if error.is("IdempotentParameterMismatch") => return launched(cx, token).await?.ok_or(error),
        other => other?,
    };
    let instance = answer.instances.unwrap_or_default().into_iter().next();
    instance.ok_or_else(|| Error::internal("RunInstances answered without an instance"))
}

fn market(launch: &Launch, member: &Member) -> Option<ec2::InstanceMarketOptionsRequest> {
    let Launch::Mixed(policy) = launch else { return None };
    member.spot.then(|| ec2::InstanceMarketOptionsRequest {
        market_type: Some("spot".into()),
        spot_options: Some(ec2::SpotMarketOptions {
            max_price: policy.distribution.spot_max_price.clone(),
            spot_instance_type: Some("one-time".into()),
            ..Default::default()
        }),
    })
}

/// The instance that was launched with this token, when the group has changed since it was asked for.
async fn launched(cx: &Cx, token: &str) -> Result<Option<ec2::Instance>> {
    let filter = ec2::Filter { name: Some("client-token".into()), values: Some(vec![token.to_owned()]) };
    let input = ec2::DescribeInstancesInput { filters: Some(vec![filter]), ..Default::default() };
    let answer = cx.call(ec2::DescribeInstances, input).await?;
    let all = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    Ok(all.into_iter().next())
}

fn tags(group: &Group, member: &Member) -> ec2::TagSpecification {
    let tag = |key: &str, value: &str| ec2::Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) };
    let own = group.tags.iter().filter(|(_, own)| own.propagate).map(|(key, own)| tag(key, &own.value));
    let mut tags: Vec<_> = own.chain([tag(GROUP_TAG, &member.group)]).collect();
    if let Source::Template(template) = &member.source {
        tags.extend([tag(TEMPLATE_ID_TAG, &template.id), tag(TEMPLATE_VERSION_TAG, &template.version)]);
    }
    ec2::TagSpecification { resource_type: Some("instance".into()), tags: Some(tags) }
}

async fn of_template(cx: &Cx, template: &TemplateRef, member: &Member) -> Result<ec2::RunInstancesInput> {
    let found = version(cx, &template.id, &template.version).await?;
    let interfaces = found.launch_template_data.and_then(|data| data.network_interfaces).unwrap_or_default();
    let interfaces: Vec<_> = interfaces.into_iter().map(|own| interface(own, &member.subnet)).collect();
    let specification = ec2::LaunchTemplateSpecification {
        launch_template_id: Some(template.id.clone()),
        launch_template_name: None,
        version: Some(template.version.clone()),
    };
    Ok(ec2::RunInstancesInput {
        launch_template: Some(specification),
        instance_type: Some(member.instance_type.clone()).filter(|name| !name.is_empty()),
        image_id: member.image.clone(),
        // A subnet is either the request's or its interfaces'.
        subnet_id: interfaces.is_empty().then(|| member.subnet.clone()),
        network_interfaces: (!interfaces.is_empty()).then_some(interfaces),
        ..Default::default()
    })
}

/// A template's interface, moved to the subnet of the zone.
fn interface(
    own: ec2::LaunchTemplateInstanceNetworkInterfaceSpecification,
    subnet: &str,
) -> ec2::InstanceNetworkInterfaceSpecification {
    ec2::InstanceNetworkInterfaceSpecification {
        associate_public_ip_address: own.associate_public_ip_address,
        delete_on_termination: own.delete_on_termination,
        description: own.description,
        device_index: own.device_index,
        groups: own.groups,
        subnet_id: Some(subnet.to_owned()),
        ..Default::default()
    }
}

fn of_configuration(configuration: &LaunchConfiguration, member: &Member) -> ec2::RunInstancesInput {
    let metadata = configuration.metadata.clone().map(|(tokens, hops, endpoint)| ec2::InstanceMetadataOptionsRequest {
        http_tokens: tokens,
        http_put_response_hop_limit: hops,
        http_endpoint: endpoint,
        ..Default::default()
    });
    let profile = configuration.iam_profile.clone().map(|profile| {
        let is_arn = profile.starts_with("arn:");
        ec2::IamInstanceProfileSpecification {
            arn: is_arn.then(|| profile.clone()),
            name: (!is_arn).then_some(profile),
        }
    });
    let groups = (!configuration.security_groups.is_empty()).then(|| configuration.security_groups.clone());
    let mut input = ec2::RunInstancesInput {
        image_id: Some(configuration.image.clone()),
        instance_type: Some(configuration.instance_type.clone()),
        key_name: configuration.key_name.clone(),
        user_data: configuration.user_data.clone(),
        kernel_id: configuration.kernel.clone(),
        ramdisk_id: configuration.ramdisk.clone(),
        monitoring: Some(ec2::RunInstancesMonitoringEnabled { enabled: configuration.monitoring }),
        ebs_optimized: Some(configuration.ebs_optimized),
        iam_instance_profile: profile,
        metadata_options: metadata,
        placement: (configuration.tenancy.clone())
            .map(|tenancy| ec2::Placement { tenancy: Some(tenancy), ..Default::default() }),
        ..Default::default()
    };
    if !configuration.devices.is_empty() {
        input.block_device_mappings = Some(configuration.devices.iter().map(device).collect());
    }
    match configuration.public_address {
        None => {
            input.security_group_ids = groups;
            input.subnet_id = Some(member.subnet.clone());
        }
        public => {
            input.network_interfaces = Some(vec![ec2::InstanceNetworkInterfaceSpecification {
                device_index: Some(0),
                associate_public_ip_address: public,
                delete_on_termination: Some(true),
                groups,
                subnet_id: Some(member.subnet.clone()),
                ..Default::default()
            }]);
        }
    }
    input
}

fn device(device: &Device) -> ec2::BlockDeviceMapping {
    let ebs = device.volume.as_ref().map(|volume| ec2::EbsBlockDevice {
        snapshot_id: volume.snapshot.clone(),
        volume_size: volume.size_gib,
        volume_type: volume.volume_type.clone(),
        delete_on_termination: volume.delete_on_termination,
        iops: volume.iops,
        encrypted: volume.encrypted,
        throughput: volume.throughput,
        ..Default::default()
    });
    ec2::BlockDeviceMapping {
        device_name: Some(device.name.clone()),
        virtual_name: device.virtual_name.clone(),
        no_device: device.no_device.filter(|no| *no).map(|_| String::new()),
        ebs,
    }
}
