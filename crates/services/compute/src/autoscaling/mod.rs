//! Auto Scaling: groups that keep as many healthy instances as desired, evenly over their zones.
//!
//! Owns groups, their members, launch configurations, lifecycle hooks and scaling activities. Instances are EC2's and
//! targets elbv2's: both are called like any client would. Invariant: what a group does follows from its records and
//! from what EC2, elbv2 and the kernel's zones say, in `plan`; nothing else launches or ends members.

mod activities;
mod apply;
mod capacity;
mod catalogue;
mod causes;
mod controller;
mod convert;
mod documents;
mod errors;
mod group_metrics;
mod groups;
mod hooks;
mod instances;
mod launch;
mod launch_configurations;
pub mod model;
mod notifications;
pub mod plan;
mod policies;
mod pool_moves;
mod prices;
mod processes;
mod refreshes;
mod refusals;
mod requirements;
mod schedules;
mod settings;
mod tags;
mod targets;
#[cfg(test)]
mod tests;
mod warm_pools;

use standfast_api::autoscaling as api;
use standfast_kernel::controller::On;
use standfast_kernel::{Service, zones};

/// What a group's next step depends on.
const WATCHED: &[&str] = &[
    "autoscaling.groups",
    "autoscaling.instances",
    "autoscaling.lifecycle_hooks",
    "autoscaling.instance_refreshes",
    // Alarms that watch over instance refreshes.
    "cloudwatch.alarms",
    "ec2.instances",
    // EC2's recommendations to replace instances.
    "ec2.tags",
    // Its records go when targets have drained.
    "elbv2.targets",
    zones::TABLE,
];

pub fn service() -> Service {
    let told = group_metrics::Told::default();
    Service::new(&api::MODEL)
        .op(api::CreateLaunchConfiguration, launch_configurations::create)
        .op(api::DescribeLaunchConfigurations, launch_configurations::describe)
        .op(api::DeleteLaunchConfiguration, launch_configurations::delete)
        .op(api::CreateAutoScalingGroup, groups::create)
        .op(api::UpdateAutoScalingGroup, groups::update)
        .op(api::DeleteAutoScalingGroup, groups::delete)
        .op(api::DescribeAutoScalingGroups, groups::describe)
        .op(api::SetDesiredCapacity, capacity::set_desired)
        .op(api::TerminateInstanceInAutoScalingGroup, capacity::terminate_instance)
        .op(api::DescribeAutoScalingInstances, instances::describe)
        .op(api::AttachInstances, instances::attach)
        .op(api::DetachInstances, instances::detach)
        .op(api::EnterStandby, instances::enter_standby)
        .op(api::ExitStandby, instances::exit_standby)
        .op(api::SetInstanceHealth, instances::set_health)
        .op(api::SetInstanceProtection, instances::set_protection)
        .op(api::DescribeScalingActivities, activities::describe)
        .op(api::SuspendProcesses, processes::suspend)
        .op(api::ResumeProcesses, processes::resume)
        .op(api::DescribeScalingProcessTypes, processes::describe_types)
        .op(api::EnableMetricsCollection, processes::enable_metrics)
        .op(api::DisableMetricsCollection, processes::disable_metrics)
        .op(api::DescribeMetricCollectionTypes, processes::describe_metric_types)
        .op(api::AttachLoadBalancerTargetGroups, targets::attach_target_groups)
        .op(api::DetachLoadBalancerTargetGroups, targets::detach_target_groups)
        .op(api::DescribeLoadBalancerTargetGroups, targets::describe_target_groups)
        .op(api::AttachTrafficSources, targets::attach_traffic_sources)
        .op(api::DetachTrafficSources, targets::detach_traffic_sources)
        .op(api::DescribeTrafficSources, targets::describe_traffic_sources)
        .op(api::AttachLoadBalancers, targets::attach_load_balancers)
        .op(api::DetachLoadBalancers, targets::detach_load_balancers)
        .op(api::DescribeLoadBalancers, targets::describe_load_balancers)
        .op(api::CreateOrUpdateTags, tags::create_or_update)
        .op(api::DeleteTags, tags::delete)
        .op(api::DescribeTags, tags::describe)
        .op(api::PutLifecycleHook, hooks::put)
        .op(api::DeleteLifecycleHook, hooks::delete)
        .op(api::DescribeLifecycleHooks, hooks::describe)
        .op(api::DescribeLifecycleHookTypes, hooks::describe_types)
        .op(api::CompleteLifecycleAction, hooks::complete)
        .op(api::RecordLifecycleActionHeartbeat, hooks::heartbeat_recorded)
        .op(api::DescribeAccountLimits, catalogue::account_limits)
        .op(api::DescribeAdjustmentTypes, catalogue::adjustment_types)
        .op(api::DescribeTerminationPolicyTypes, catalogue::termination_policy_types)
        .op(api::DescribeAutoScalingNotificationTypes, catalogue::notification_types)
        .op(api::StartInstanceRefresh, refreshes::start)
        .op(api::CancelInstanceRefresh, refreshes::cancel)
        .op(api::RollbackInstanceRefresh, refreshes::rollback)
        .op(api::DescribeInstanceRefreshes, refreshes::describe)
        .op(api::PutWarmPool, warm_pools::put)
        .op(api::DeleteWarmPool, warm_pools::delete)
        .op(api::DescribeWarmPool, warm_pools::describe)
        .op(api::PutScalingPolicy, policies::put)
        .op(api::DescribePolicies, policies::describe)
        .op(api::DeletePolicy, policies::delete)
        .op(api::ExecutePolicy, policies::execute::execute)
        .op(api::PutScheduledUpdateGroupAction, schedules::put)
        .op(api::BatchPutScheduledUpdateGroupAction, schedules::batch_put)
        .op(api::DeleteScheduledAction, schedules::delete)
        .op(api::BatchDeleteScheduledAction, schedules::batch_delete)
        .op(api::DescribeScheduledActions, schedules::describe)
        .op(api::GetPredictiveScalingForecast, policies::predictive::describe)
        .op(api::PutNotificationConfiguration, notifications::put)
        .op(api::DeleteNotificationConfiguration, notifications::delete)
        .op(api::DescribeNotificationConfigurations, notifications::describe)
        .controller("groups", On::tables(WATCHED).lb(), controller::run)
        .controller("schedules", On::tables(schedules::WATCHED), schedules::run)
        .controller("predictive-scaling", On::tables(&["autoscaling.policies"]), policies::predictive::run)
        .controller("group-metrics", On::tables(&["autoscaling.groups"]), move |cx| {
            group_metrics::run(cx, told.clone())
        })
        .controller("notifications", On::tables(notifications::OWED), notifications::run)
        .controller("target-tracking-alarms", On::tables(policies::tracking::OWED), policies::tracking::run)
}
