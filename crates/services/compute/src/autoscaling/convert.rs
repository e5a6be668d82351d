//! Records to shapes.

use std::sync::Arc;

use standfast_api::autoscaling as api;
use standfast_core::Arn;
use standfast_core::place::Zone;
use standfast_kernel::Cx;

use super::model::{Group, Launch, Member, MixedPolicy, Options, Source, TemplateRef};
use super::settings::GROUP_TYPE;
use super::{documents, warm_pools};

const SERVICE_LINKED_ROLE: &str = "role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling";
const ZONE_DISTRIBUTION: &str = "balanced-best-effort";
pub const METRIC_GRANULARITY: &str = "1Minute";

pub fn group(cx: &Cx, name: &str, group: &Group, members: &[(Arc<str>, Arc<Member>)]) -> api::AutoScalingGroup {
    let (launch_configuration_name, launch_template, mixed_instances_policy) = match &group.launch {
        Launch::Configuration(name) => (Some(name.clone()), None, None),
        Launch::Template(own) => (None, Some(template(own)), None),
        Launch::Mixed(policy) => (None, None, Some(mixed(policy))),
    };
    let suspended = group.suspended.iter().map(|(process, reason)| api::SuspendedProcess {
        process_name: Some(process.name().into()),
        suspension_reason: Some(reason.clone()),
    });
    let metrics = group.metrics.iter().map(|metric| api::EnabledMetric {
        metric: Some(metric.clone()),
        granularity: Some(METRIC_GRANULARITY.into()),
    });
    let shape = api::AutoScalingGroup {
        auto_scaling_group_name: name.to_owned(),
        auto_scaling_group_arn: Some(group.arn.clone()),
        launch_configuration_name,
        launch_template,
        mixed_instances_policy,
        min_size: group.min,
        max_size: group.max,
        desired_capacity: group.desired,
        default_cooldown: group.cooldown_s,
        availability_zones: group.zones.clone(),
        load_balancer_names: Some(Vec::new()),
        target_group_arns: Some(group.target_groups.clone()),
        health_check_type: group.health_check_type.clone(),
        health_check_grace_period: Some(group.grace_s),
        instances: Some(members.iter().map(|(_, member)| instance(member)).collect()),
        created_time: group.created,
        suspended_processes: Some(suspended.collect()),
        vpc_zone_identifier: Some(group.vpc_zone_identifier.clone()),
        enabled_metrics: Some(metrics.collect()),
        status: group.deleting.then(|| "Delete in progress".to_owned()),
        tags: Some(tags(name, group)),
        termination_policies: Some(group.termination_policies.iter().map(|policy| policy.name().into()).collect()),
        new_instances_protected_from_scale_in: Some(group.protect_new),
        traffic_sources: Some(group.target_groups.iter().map(|arn| traffic_source(arn)).collect()),
        warm_pool_configuration: group.warm_pool.as_ref().map(warm_pools::shape),
        ..Default::default()
    };
    options(cx, &group.options, shape)
}

fn options(cx: &Cx, own: &Options, shape: api::AutoScalingGroup) -> api::AutoScalingGroup {
    let role = || Arn::global("iam", cx.account(), SERVICE_LINKED_ROLE).to_string();
    let distribution = own.zone_distribution.clone().unwrap_or_else(|| ZONE_DISTRIBUTION.into());
    let listed = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    api::AutoScalingGroup {
        placement_group: own.placement_group.clone(),
        service_linked_role_arn: Some(own.service_linked_role.clone().unwrap_or_else(role)),
        max_instance_lifetime: own.max_instance_lifetime_s,
        capacity_rebalance: own.capacity_rebalance,
        context: own.context.clone(),
        desired_capacity_type: own.desired_capacity_type.clone(),
        default_instance_warmup: own.default_instance_warmup_s,
        instance_maintenance_policy: own.maintenance.map(|(min_healthy_percentage, max_healthy_percentage)| {
            api::InstanceMaintenancePolicy { min_healthy_percentage, max_healthy_percentage }
        }),
        deletion_protection: own.deletion_protection.clone(),
        availability_zone_distribution: Some(api::AvailabilityZoneDistribution {
            capacity_distribution_strategy: Some(distribution),
        }),
        availability_zone_impairment_policy: own.zone_impairment.clone().map(|(shift, behaviour)| {
            api::AvailabilityZoneImpairmentPolicy {
                zonal_shift_enabled: shift,
                impaired_zone_health_check_behavior: behaviour,
            }
        }),
        capacity_reservation_specification: own.reservations.as_ref().map(|(preference, ids, arns)| {
            let target = api::CapacityReservationTarget {
                capacity_reservation_ids: listed(ids),
                capacity_reservation_resource_group_arns: listed(arns),
            };
            api::CapacityReservationSpecification {
                capacity_reservation_preference: preference.clone(),
                capacity_reservation_target: (!ids.is_empty() || !arns.is_empty()).then_some(target),
            }
        }),
        instance_lifecycle_policy: own.abandon_retention.clone().map(|retention| api::InstanceLifecyclePolicy {
            retention_triggers: Some(api::RetentionTriggers { terminate_hook_abandon: Some(retention) }),
        }),
        ..shape
    }
}

pub fn tags(name: &str, group: &Group) -> Vec<api::TagDescription> {
    let tag = |(key, tag): (&String, &super::model::GroupTag)| api::TagDescription {
        resource_id: Some(name.to_owned()),
        resource_type: Some(GROUP_TYPE.into()),
        key: Some(key.clone()),
        value: Some(tag.value.clone()),
        propagate_at_launch: Some(tag.propagate),
    };
    group.tags.iter().map(tag).collect()
}

pub fn traffic_source(arn: &str) -> api::TrafficSourceIdentifier {
    api::TrafficSourceIdentifier { identifier: arn.to_owned(), r#type: Some("elbv2".into()) }
}

pub fn instance(member: &Member) -> api::Instance {
    let (launch_configuration_name, launch_template) = source(&member.source);
    api::Instance {
        instance_id: member.instance.clone().unwrap_or_default(),
        instance_type: Some(member.instance_type.clone()),
        availability_zone: member.zone.clone(),
        availability_zone_id: Zone::named(&member.zone).map(|zone| zone.id),
        lifecycle_state: member.state.name().into(),
        health_status: health(member).into(),
        launch_configuration_name,
        launch_template,
        image_id: member.image.clone(),
        protected_from_scale_in: member.protected,
        weighted_capacity: member.weight.clone(),
    }
}

pub fn instance_details(member: &Member) -> api::AutoScalingInstanceDetails {
    let (launch_configuration_name, launch_template) = source(&member.source);
    api::AutoScalingInstanceDetails {
        instance_id: member.instance.clone().unwrap_or_default(),
        instance_type: Some(member.instance_type.clone()),
        auto_scaling_group_name: member.group.clone(),
        availability_zone: member.zone.clone(),
        availability_zone_id: Zone::named(&member.zone).map(|zone| zone.id),
        lifecycle_state: member.state.name().into(),
        health_status: health(member).to_uppercase(),
        launch_configuration_name,
        launch_template,
        image_id: member.image.clone(),
        protected_from_scale_in: member.protected,
        weighted_capacity: member.weight.clone(),
    }
}

fn health(member: &Member) -> &'static str {
    if member.unhealthy.is_some() { "Unhealthy" } else { "Healthy" }
}

fn source(source: &Source) -> (Option<String>, Option<api::LaunchTemplateSpecification>) {
    match source {
        Source::Configuration(name) => (Some(name.clone()), None),
        Source::Template(own) => (None, Some(template(own))),
        Source::None => (None, None),
    }
}

fn template(template: &TemplateRef) -> api::LaunchTemplateSpecification {
    api::LaunchTemplateSpecification {
        launch_template_id: Some(template.id.clone()),
        launch_template_name: Some(template.name.clone()),
        version: Some(template.version.clone()),
    }
}

fn mixed(policy: &MixedPolicy) -> api::MixedInstancesPolicy {
    let overrides = policy.overrides.iter().map(|own| api::LaunchTemplateOverrides {
        instance_type: own.instance_type.clone(),
        weighted_capacity: own.weight.clone(),
        launch_template_specification: own.template.as_ref().map(template),
        instance_requirements: own.requirements.as_ref().map(documents::give),
        image_id: own.image.clone(),
    });
    let distribution = &policy.distribution;
    api::MixedInstancesPolicy {
        launch_template: Some(api::LaunchTemplate {
            launch_template_specification: Some(template(&policy.template)),
            overrides: Some(overrides.collect()),
        }),
        instances_distribution: Some(api::InstancesDistribution {
            on_demand_allocation_strategy: Some(distribution.on_demand_strategy.clone()),
            on_demand_base_capacity: Some(distribution.on_demand_base),
            on_demand_percentage_above_base_capacity: Some(distribution.on_demand_percentage),
            spot_allocation_strategy: Some(distribution.spot_strategy.clone()),
            spot_instance_pools: distribution.spot_pools,
            spot_max_price: distribution.spot_max_price.clone(),
        }),
    }
}
