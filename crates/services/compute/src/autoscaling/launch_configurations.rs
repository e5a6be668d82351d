//! Launch configurations: made, described, deleted; they never change.

use standfast_api::autoscaling::{
    self as api, CreateLaunchConfigurationInput, CreateLaunchConfigurationOutput, DeleteLaunchConfigurationOutput,
    LaunchConfigurationNameType, LaunchConfigurationNamesType, LaunchConfigurationsType,
};
use standfast_core::page::page;
use standfast_core::{Arn, Result};
use standfast_kernel::Cx;

use super::errors::{self, validation};
use super::model::{Device, Group, Launch, LaunchConfiguration, Volume};

/// Launch configurations of an account in a region.
pub const CONFIGURATIONS_MAX: usize = 200;
const NAME_MAX: usize = 255;
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;

pub async fn create(cx: Cx, input: CreateLaunchConfigurationInput) -> Result<CreateLaunchConfigurationOutput> {
    let name = input.launch_configuration_name.clone();
    let configuration = parse(&cx, input)?;
    cx.txn(|tx| {
        if tx.get::<LaunchConfiguration>(cx.scope(), &name).is_some() {
            return Err(errors::configuration_exists(&name));
        }
        if tx.count::<LaunchConfiguration>(cx.scope()) >= CONFIGURATIONS_MAX {
            return Err(errors::limit(format!("At most {CONFIGURATIONS_MAX} launch configurations are allowed.")));
        }
        tx.put(cx.scope(), &name, configuration.clone());
        Ok(())
    })
    .await?;
    Ok(CreateLaunchConfigurationOutput {})
}

fn parse(cx: &Cx, input: CreateLaunchConfigurationInput) -> Result<LaunchConfiguration> {
    let name = &input.launch_configuration_name;
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
        return Err(validation(format!("LaunchConfigurationName '{name}' must have 1 to {NAME_MAX} characters.")));
    }
    if input.instance_id.is_some() {
        return Err(validation(
            "InstanceId is not available in this version of Standfast; give ImageId and InstanceType.",
        ));
    }
    let required = |value: Option<String>, member: &str| {
        value.filter(|value| !value.is_empty()).ok_or_else(|| {
            validation(format!(
                "Valid requests must contain either the InstanceID parameter or both the \
                 ImageId and InstanceType parameters: {member} is missing."
            ))
        })
    };
    let resource = format!("launchConfiguration:{}:launchConfigurationName/{name}", cx.rng().uuid());
    Ok(LaunchConfiguration {
        arn: Arn::new("autoscaling", cx.scope(), resource).to_string(),
        created: cx.now(),
        image: required(input.image_id, "ImageId")?,
        instance_type: required(input.instance_type, "InstanceType")?,
        key_name: input.key_name,
        security_groups: input.security_groups.unwrap_or_default(),
        user_data: input.user_data,
        kernel: input.kernel_id,
        ramdisk: input.ramdisk_id,
        devices: input.block_device_mappings.unwrap_or_default().into_iter().map(device).collect(),
        monitoring: input.instance_monitoring.and_then(|monitoring| monitoring.enabled).unwrap_or(true),
        spot_price: input.spot_price,
        iam_profile: input.iam_instance_profile,
        ebs_optimized: input.ebs_optimized.unwrap_or_default(),
        public_address: input.associate_public_ip_address,
        tenancy: input.placement_tenancy,
        metadata: input
            .metadata_options
            .map(|own| (own.http_tokens, own.http_put_response_hop_limit, own.http_endpoint)),
    })
}

fn device(mapping: api::BlockDeviceMapping) -> Device {
    let volume = |ebs: api::Ebs| Volume {
        snapshot: ebs.snapshot_id,
        size_gib: ebs.volume_size,
        volume_type: ebs.volume_type,
        delete_on_termination: ebs.delete_on_termination,
        iops: ebs.iops,
        encrypted: ebs.encrypted,
        throughput: ebs.throughput,
    };
    Device {
        name: mapping.device_name,
        virtual_name: mapping.virtual_name,
        no_device: mapping.no_device,
        volume: mapping.ebs.map(volume),
    }
}

pub async fn describe(cx: Cx, input: LaunchConfigurationNamesType) -> Result<LaunchConfigurationsType> {
    let names = input.launch_configuration_names.unwrap_or_default();
    let rows = cx.view(|view| view.list::<LaunchConfiguration>(cx.scope()));
    let rows = rows.into_iter().filter(|(name, _)| names.is_empty() || names.iter().any(|own| **own == **name));
    let limit = input.max_records.map_or(PAGE, |max| (max.max(1) as usize).min(PAGE_MAX));
    let page = page(rows, |(name, _)| name.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
    let launch_configurations = page.items.iter().map(|(name, record)| shape(name, record)).collect();
    Ok(LaunchConfigurationsType { launch_configurations, next_token: page.next })
}

fn shape(name: &str, record: &LaunchConfiguration) -> api::LaunchConfiguration {
    api::LaunchConfiguration {
        launch_configuration_name: name.to_owned(),
        launch_configuration_arn: Some(record.arn.clone()),
        image_id: record.image.clone(),
        // What was not given is shown as empty, as AWS does.
        key_name: Some(record.key_name.clone().unwrap_or_default()),
        security_groups: Some(record.security_groups.clone()),
        classic_link_vpc_security_groups: Some(Vec::new()),
        user_data: Some(record.user_data.clone().unwrap_or_default()),
        instance_type: record.instance_type.clone(),
        kernel_id: Some(record.kernel.clone().unwrap_or_default()),
        ramdisk_id: Some(record.ramdisk.clone().unwrap_or_default()),
        block_device_mappings: Some(record.devices.iter().map(mapping).collect()),
        instance_monitoring: Some(api::InstanceMonitoring { enabled: Some(record.monitoring) }),
        spot_price: record.spot_price.clone(),
        iam_instance_profile: record.iam_profile.clone(),
        created_time: record.created,
        ebs_optimized: Some(record.ebs_optimized),
        associate_public_ip_address: record.public_address,
        placement_tenancy: record.tenancy.clone(),
        metadata_options: record.metadata.clone().map(|(tokens, hops, endpoint)| api::InstanceMetadataOptions {
            http_tokens: tokens,
            http_put_response_hop_limit: hops,
            http_endpoint: endpoint,
        }),
        ..Default::default()
    }
}

fn mapping(device: &Device) -> api::BlockDeviceMapping {
    let ebs = device.volume.as_ref().map(|volume| api::Ebs {
        snapshot_id: volume.snapshot.clone(),
        volume_size: volume.size_gib,
        volume_type: volume.volume_type.clone(),
        delete_on_termination: volume.delete_on_termination,
        iops: volume.iops,
        encrypted: volume.encrypted,
        throughput: volume.throughput,
    });
    api::BlockDeviceMapping {
        virtual_name: device.virtual_name.clone(),
        device_name: device.name.clone(),
        ebs,
        no_device: device.no_device,
    }
}

pub async fn delete(cx: Cx, input: LaunchConfigurationNameType) -> Result<DeleteLaunchConfigurationOutput> {
    let name = &input.launch_configuration_name;
    cx.txn(|tx| {
        if tx.get::<LaunchConfiguration>(cx.scope(), name).is_none() {
            let message = format!("Launch configuration name not found - Launch configuration {name} not found");
            return Err(validation(message));
        }
        let groups = tx.list::<Group>(cx.scope());
        let user = groups.iter().find(|(_, group)| matches!(&group.launch, Launch::Configuration(own) if own == name));
        if let Some((group, _)) = user {
            return Err(errors::configuration_in_use(name, group));
        }
        tx.delete::<LaunchConfiguration>(cx.scope(), name);
        Ok(())
    })
    .await?;
    Ok(DeleteLaunchConfigurationOutput {})
}
