//! Groups: made, changed, deleted, described.

use std::collections::{BTreeMap, BTreeSet};

use standfast_api::autoscaling::{
    self as api, AutoScalingGroupNamesType, AutoScalingGroupsType, CreateAutoScalingGroupInput,
    CreateAutoScalingGroupOutput, DeleteAutoScalingGroupInput, DeleteAutoScalingGroupOutput,
    UpdateAutoScalingGroupInput, UpdateAutoScalingGroupOutput,
};
use standfast_core::page::page;
use standfast_core::{Arn, Result};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, validation};
use super::model::{Group, Hook, Launch, Member, Options};
use super::settings::{self, Asked};
use super::{causes, convert, hooks, policies, refreshes};

const COOLDOWN_S: i32 = 300;
const HEALTH_CHECK_TYPE: &str = "EC2";
/// Groups of an account in a region.
pub const GROUPS_MAX: usize = 500;
const NAME_MAX: usize = 255;
const PAGE: usize = 50;
const PAGE_MAX: usize = 100;
/// A lifetime of an instance is zero (none) or between a day and a year.
const LIFETIME_S: std::ops::RangeInclusive<i32> = 86_400..=31_536_000;
/// Takes a default instance warmup or a bound of a maintenance policy away.
const NONE: i32 = -1;

pub async fn create(cx: Cx, mut input: CreateAutoScalingGroupInput) -> Result<CreateAutoScalingGroupOutput> {
    let name = input.auto_scaling_group_name.clone();
    check_name(&name)?;
    if cx.view(|view| view.get::<Group>(cx.scope(), &name).is_some()) {
        return Err(errors::group_exists(&name));
    }
    let hooks = hooks::of_group(&name, input.lifecycle_hook_specification_list.take().unwrap_or_default())?;
    let group = new_group(&cx, &name, input).await?;
    cx.txn(|tx| {
        if tx.get::<Group>(cx.scope(), &name).is_some() {
            return Err(errors::group_exists(&name));
        }
        if tx.count::<Group>(cx.scope()) >= GROUPS_MAX {
            return Err(errors::limit(format!("At most {GROUPS_MAX} Auto Scaling groups are allowed.")));
        }
        check_configuration(tx, &cx, &group)?;
        tx.put(cx.scope(), &name, group.clone());
        for (hook, record) in &hooks {
            tx.put(cx.scope(), &Hook::key(&name, hook), record.clone());
        }
        Ok(())
    })
    .await?;
    Ok(CreateAutoScalingGroupOutput {})
}

async fn new_group(cx: &Cx, name: &str, input: CreateAutoScalingGroupInput) -> Result<Group> {
    let (min, max) = (input.min_size, input.max_size);
    let desired = input.desired_capacity.unwrap_or(min);
    settings::check_sizes(min, max, desired)?;
    if input.instance_id.is_some() {
        return Err(validation(
            "InstanceId is not available in this version of Standfast; use LaunchTemplate, LaunchConfigurationName or \
             MixedInstancesPolicy.",
        ));
    }
    if input.load_balancer_names.as_ref().is_some_and(|names| !names.is_empty()) {
        return Err(errors::no_classic());
    }
    let health_check_type = input.health_check_type.unwrap_or_else(|| HEALTH_CHECK_TYPE.into());
    settings::check_health_check_type(&health_check_type)?;
    let termination_policies = settings::termination_policies(input.termination_policies.unwrap_or_default())?;
    let tags = settings::tags(cx, input.tags.unwrap_or_default())?;
    let mut target_groups = input.target_group_arns.unwrap_or_default();
    for arn in settings::traffic_sources(input.traffic_sources.unwrap_or_default())? {
        if !target_groups.contains(&arn) {
            target_groups.push(arn);
        }
    }
    let asked = Asked {
        configuration: input.launch_configuration_name,
        template: input.launch_template,
        mixed: input.mixed_instances_policy,
    };
    let launch = settings::launch(cx, asked).await?.ok_or_else(settings::nothing_to_launch)?;
    let places =
        settings::places(cx, input.vpc_zone_identifier, input.availability_zones, input.availability_zone_ids).await?;
    let places = places.ok_or_else(|| validation("At least one Availability Zone or VPC Subnet is required."))?;
    settings::check_target_groups(cx, &target_groups).await?;
    let now = cx.now();
    let resource = format!("autoScalingGroup:{}:autoScalingGroupName/{name}", cx.rng().uuid());
    let mut group = Group {
        arn: Arn::new("autoscaling", cx.scope(), resource).to_string(),
        created: now,
        launch,
        min,
        max,
        desired,
        cooldown_s: input.default_cooldown.unwrap_or(COOLDOWN_S),
        zones: places.zones,
        subnets: places.subnets,
        vpc_zone_identifier: places.vpc_zone_identifier,
        health_check_type,
        grace_s: input.health_check_grace_period.unwrap_or_default(),
        target_groups,
        termination_policies,
        protect_new: input.new_instances_protected_from_scale_in.unwrap_or_default(),
        tags,
        suspended: BTreeMap::new(),
        metrics: BTreeSet::new(),
        options: Options::default(),
        deleting: false,
        change: (desired > 0).then(|| causes::created(now, desired)),
        back_offs: BTreeMap::new(),
        generation: 0,
        warm_pool: None,
    };
    let changes = Changes {
        placement_group: input.placement_group,
        service_linked_role: input.service_linked_role_arn,
        max_instance_lifetime_s: input.max_instance_lifetime,
        capacity_rebalance: input.capacity_rebalance,
        context: input.context,
        desired_capacity_type: input.desired_capacity_type,
        default_instance_warmup_s: input.default_instance_warmup,
        maintenance: input.instance_maintenance_policy,
        zone_distribution: input.availability_zone_distribution,
        zone_impairment: input.availability_zone_impairment_policy,
        reservations: input.capacity_reservation_specification,
        lifecycle: input.instance_lifecycle_policy,
        deletion_protection: input.deletion_protection,
    };
    changes.check()?;
    changes.apply(&mut group.options);
    check_times(&group)?;
    Ok(group)
}

pub async fn update(cx: Cx, mut input: UpdateAutoScalingGroupInput) -> Result<UpdateAutoScalingGroupOutput> {
    let name = input.auto_scaling_group_name.clone();
    find(&cx, &name)?;
    let asked = Asked {
        configuration: input.launch_configuration_name.take(),
        template: input.launch_template.take(),
        mixed: input.mixed_instances_policy.take(),
    };
    let launch = settings::launch(&cx, asked).await?;
    let (subnets, zones) = (input.vpc_zone_identifier.take(), input.availability_zones.take());
    let places = settings::places(&cx, subnets, zones, input.availability_zone_ids.take()).await?;
    let policies = input.termination_policies.take().map(settings::termination_policies).transpose()?;
    if let Some(text) = &input.health_check_type {
        settings::check_health_check_type(text)?;
    }
    let changes = Changes {
        placement_group: input.placement_group.take(),
        service_linked_role: input.service_linked_role_arn.take(),
        max_instance_lifetime_s: input.max_instance_lifetime,
        capacity_rebalance: input.capacity_rebalance,
        context: input.context.take(),
        desired_capacity_type: input.desired_capacity_type.take(),
        default_instance_warmup_s: input.default_instance_warmup,
        maintenance: input.instance_maintenance_policy.take(),
        zone_distribution: input.availability_zone_distribution.take(),
        zone_impairment: input.availability_zone_impairment_policy.take(),
        reservations: input.capacity_reservation_specification.take(),
        lifecycle: input.instance_lifecycle_policy.take(),
        deletion_protection: input.deletion_protection.take(),
    };
    changes.check()?;
    let now = cx.now();
    cx.txn(|tx| {
        let mut group = live(tx, &cx, &name)?;
        if let Some(launch) = &launch {
            group.launch = launch.clone();
            // What was refused before may work now.
            group.back_offs.clear();
        }
        if let Some(places) = &places {
            group.zones.clone_from(&places.zones);
            group.subnets.clone_from(&places.subnets);
            group.vpc_zone_identifier.clone_from(&places.vpc_zone_identifier);
        }
        if let Some(policies) = &policies {
            group.termination_policies.clone_from(policies);
        }
        let (min, max) = (input.min_size.unwrap_or(group.min), input.max_size.unwrap_or(group.max));
        // Bounds that move take the desired capacity with them, unless the request says what it should be.
        let desired = input.desired_capacity.unwrap_or(group.desired.min(max).max(min));
        settings::check_sizes(min, max, desired)?;
        if desired != group.desired {
            group.change = Some(causes::updated(now, (min, max), group.desired, desired));
        }
        (group.min, group.max, group.desired) = (min, max, desired);
        group.cooldown_s = input.default_cooldown.unwrap_or(group.cooldown_s);
        group.grace_s = input.health_check_grace_period.unwrap_or(group.grace_s);
        group.protect_new = input.new_instances_protected_from_scale_in.unwrap_or(group.protect_new);
        if let Some(text) = &input.health_check_type {
            group.health_check_type.clone_from(text);
        }
        changes.apply(&mut group.options);
        check_times(&group)?;
        check_configuration(tx, &cx, &group)?;
        tx.put(cx.scope(), &name, group);
        Ok(())
    })
    .await?;
    Ok(UpdateAutoScalingGroupOutput {})
}

pub async fn delete(cx: Cx, input: DeleteAutoScalingGroupInput) -> Result<DeleteAutoScalingGroupOutput> {
    let (name, force) = (&input.auto_scaling_group_name, input.force_delete == Some(true));
    cx.txn(|tx| {
        let mut group = (*tx.get::<Group>(cx.scope(), name).ok_or_else(|| errors::group_not_found(name))?).clone();
        match group.options.deletion_protection.as_deref() {
            Some("prevent-all-deletion") => return Err(protected(name)),
            Some("prevent-force-deletion") if force => return Err(protected(name)),
            _ => (),
        }
        if tx.by_index::<Member>(cx.scope(), "group", name).is_empty() {
            for (key, _) in tx.by_index::<Hook>(cx.scope(), "group", name) {
                tx.delete::<Hook>(cx.scope(), &key);
            }
            policies::remove_all(tx, cx.scope(), name, cx.now());
            refreshes::remove_all(tx, cx.scope(), name);
            tx.delete::<Group>(cx.scope(), name);
            return Ok(());
        }
        if !force {
            return Err(errors::group_in_use());
        }
        group.deleting = true;
        (group.min, group.max, group.desired) = (0, 0, 0);
        tx.put(cx.scope(), name, group);
        Ok(())
    })
    .await?;
    Ok(DeleteAutoScalingGroupOutput {})
}

fn protected(name: &str) -> standfast_core::Error {
    validation(format!("The Auto Scaling group {name} cannot be deleted because its deletion protection is on."))
}

pub async fn describe(cx: Cx, input: AutoScalingGroupNamesType) -> Result<AutoScalingGroupsType> {
    let names = input.auto_scaling_group_names.unwrap_or_default();
    let filters = Filters::parse(input.filters.unwrap_or_default())?;
    let with_instances = input.include_instances != Some(false);
    let limit = input.max_records.map_or(PAGE, |max| (max.max(1) as usize).min(PAGE_MAX));
    cx.view(|view| {
        let rows = view.list::<Group>(cx.scope());
        let wanted = |name: &str| names.is_empty() || names.iter().any(|own| own == name);
        let rows = rows.into_iter().filter(|(name, group)| wanted(name) && filters.pass(group));
        let page = page(rows, |(name, _)| name.to_string(), input.next_token.as_deref(), limit, "InvalidNextToken")?;
        let shape = |(name, group): &(_, std::sync::Arc<Group>)| {
            let name: &std::sync::Arc<str> = name;
            let members = if with_instances { members(view, &cx, name) } else { Vec::new() };
            convert::group(&cx, name, group, &members)
        };
        Ok(AutoScalingGroupsType { auto_scaling_groups: page.items.iter().map(shape).collect(), next_token: page.next })
    })
}

/// The members that have an instance, those of the warm pool left out, ordered by its id.
pub fn members(view: &View, cx: &Cx, group: &str) -> Vec<(std::sync::Arc<str>, std::sync::Arc<Member>)> {
    let mut members = view.by_index::<Member>(cx.scope(), "group", group);
    members.retain(|(_, member)| member.instance.is_some() && !member.state.in_pool());
    members.sort_by(|(_, a), (_, b)| a.instance.cmp(&b.instance));
    members
}

/// The group, unless it is being deleted.
pub fn live(view: &View, cx: &Cx, name: &str) -> Result<Group> {
    let group = view.get::<Group>(cx.scope(), name).ok_or_else(|| errors::group_not_found(name))?;
    if group.deleting {
        return Err(errors::group_deleting(name));
    }
    Ok((*group).clone())
}

/// The group, as it is now.
pub fn find(cx: &Cx, name: &str) -> Result<std::sync::Arc<Group>> {
    cx.view(|view| view.get::<Group>(cx.scope(), name)).ok_or_else(|| errors::group_not_found(name))
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().count() > NAME_MAX || name.chars().any(char::is_control) || name.contains(':') {
        let message = format!("AutoScalingGroupName '{name}' must have 1 to {NAME_MAX} characters and no colon.");
        return Err(validation(message));
    }
    Ok(())
}

/// The launch configuration must still be there when the group is written.
fn check_configuration(view: &View, cx: &Cx, group: &Group) -> Result<()> {
    match &group.launch {
        Launch::Configuration(name) => settings::configuration(&settings::has_configuration(view, cx, name), name),
        Launch::Template(_) | Launch::Mixed(_) => Ok(()),
    }
}

fn check_times(group: &Group) -> Result<()> {
    for (name, seconds) in [("DefaultCooldown", group.cooldown_s), ("HealthCheckGracePeriod", group.grace_s)] {
        if seconds < 0 {
            return Err(validation(format!("{name} {seconds} must not be negative.")));
        }
    }
    Ok(())
}

/// Settings that are kept as they are given. None leaves one as it was.
struct Changes {
    placement_group: Option<String>,
    service_linked_role: Option<String>,
    max_instance_lifetime_s: Option<i32>,
    capacity_rebalance: Option<bool>,
    context: Option<String>,
    desired_capacity_type: Option<String>,
    default_instance_warmup_s: Option<i32>,
    maintenance: Option<api::InstanceMaintenancePolicy>,
    zone_distribution: Option<api::AvailabilityZoneDistribution>,
    zone_impairment: Option<api::AvailabilityZoneImpairmentPolicy>,
    reservations: Option<api::CapacityReservationSpecification>,
    lifecycle: Option<api::InstanceLifecyclePolicy>,
    deletion_protection: Option<String>,
}

impl Changes {
    fn check(&self) -> Result<()> {
        if let Some(seconds) = self.max_instance_lifetime_s.filter(|s| *s != 0 && !LIFETIME_S.contains(s)) {
            let (low, high) = (LIFETIME_S.start(), LIFETIME_S.end());
            let message = format!("MaxInstanceLifetime {seconds} must be 0 or between {low} and {high} seconds.");
            return Err(validation(message));
        }
        if let Some(policy) = &self.maintenance {
            check_maintenance(policy)?;
        }
        let strategy = self.zone_distribution.as_ref().and_then(|own| own.capacity_distribution_strategy.as_deref());
        one_of("CapacityDistributionStrategy", strategy, &["balanced-best-effort", "balanced-only"])?;
        one_of("DesiredCapacityType", self.desired_capacity_type.as_deref(), &["units", "vcpu", "memory-mib"])
    }

    fn apply(&self, options: &mut Options) {
        let text = |to: &mut Option<String>, from: &Option<String>| {
            if let Some(text) = from {
                *to = Some(text.clone()).filter(|text| !text.is_empty());
            }
        };
        text(&mut options.placement_group, &self.placement_group);
        text(&mut options.service_linked_role, &self.service_linked_role);
        text(&mut options.context, &self.context);
        text(&mut options.desired_capacity_type, &self.desired_capacity_type);
        text(&mut options.deletion_protection, &self.deletion_protection);
        options.capacity_rebalance = self.capacity_rebalance.or(options.capacity_rebalance);
        if let Some(seconds) = self.max_instance_lifetime_s {
            options.max_instance_lifetime_s = Some(seconds).filter(|seconds| *seconds != 0);
        }
        if let Some(seconds) = self.default_instance_warmup_s {
            options.default_instance_warmup_s = Some(seconds).filter(|seconds| *seconds != NONE);
        }
        if let Some(policy) = &self.maintenance {
            let bounds = [policy.min_healthy_percentage, policy.max_healthy_percentage];
            let [low, high] = bounds.map(|bound| bound.filter(|bound| *bound != NONE));
            options.maintenance = (low.is_some() || high.is_some()).then_some((low, high));
        }
        if let Some(distribution) = &self.zone_distribution {
            options.zone_distribution.clone_from(&distribution.capacity_distribution_strategy);
        }
        if let Some(policy) = &self.zone_impairment {
            let behaviour = policy.impaired_zone_health_check_behavior.clone();
            options.zone_impairment = Some((policy.zonal_shift_enabled, behaviour));
        }
        if let Some(specification) = &self.reservations {
            let target = specification.capacity_reservation_target.clone().unwrap_or_default();
            let ids = target.capacity_reservation_ids.unwrap_or_default();
            let arns = target.capacity_reservation_resource_group_arns.unwrap_or_default();
            options.reservations = Some((specification.capacity_reservation_preference.clone(), ids, arns));
        }
        if let Some(policy) = &self.lifecycle {
            let triggers = policy.retention_triggers.clone().unwrap_or_default();
            options.abandon_retention = triggers.terminate_hook_abandon;
        }
    }
}

fn one_of(name: &str, given: Option<&str>, known: &[&str]) -> Result<()> {
    match given {
        Some(text) if !text.is_empty() && !known.contains(&text) => {
            Err(validation(format!("The {name} '{text}' is not valid. Valid values are: [{}].", known.join(", "))))
        }
        _ => Ok(()),
    }
}

fn check_maintenance(policy: &api::InstanceMaintenancePolicy) -> Result<()> {
    let (min, max) = match (policy.min_healthy_percentage, policy.max_healthy_percentage) {
        (None | Some(NONE), None | Some(NONE)) => return Ok(()),
        (Some(min), Some(max)) if min != NONE && max != NONE => (min, max),
        _ => {
            return Err(validation(
                "InstanceMaintenancePolicy must specify both MinHealthyPercentage and MaxHealthyPercentage.",
            ));
        }
    };
    if !(0..=100).contains(&min) {
        return Err(validation(format!("MinHealthyPercentage {min} must be between 0 and 100.")));
    }
    if !(100..=200).contains(&max) {
        return Err(validation(format!("MaxHealthyPercentage {max} must be between 100 and 200.")));
    }
    if max - min > 100 {
        return Err(validation(format!(
            "The difference between MaxHealthyPercentage {max} and MinHealthyPercentage {min} must not be greater than \
             100."
        )));
    }
    Ok(())
}

/// Filters of DescribeAutoScalingGroups: all must match, each by one of its values.
struct Filters(Vec<(String, Vec<String>)>);

impl Filters {
    fn parse(filters: Vec<api::Filter>) -> Result<Self> {
        let read = |filter: api::Filter| {
            let name = filter.name.unwrap_or_default();
            if !matches!(name.as_str(), "tag-key" | "tag-value") && !name.starts_with("tag:") {
                let message =
                    format!("Filter type {name} is not correct. Allowed Filter types are: tag-key tag-value tag:");
                return Err(validation(message));
            }
            Ok((name, filter.values.unwrap_or_default()))
        };
        filters.into_iter().map(read).collect::<Result<_>>().map(Self)
    }

    fn pass(&self, group: &Group) -> bool {
        self.0.iter().all(|(name, values)| match name.as_str() {
            "tag-key" => group.tags.keys().any(|key| values.contains(key)),
            "tag-value" => group.tags.values().any(|tag| values.contains(&tag.value)),
            other => {
                let key = other.strip_prefix("tag:").unwrap_or_default();
                group.tags.get(key).is_some_and(|tag| values.contains(&tag.value))
            }
        })
    }
}
