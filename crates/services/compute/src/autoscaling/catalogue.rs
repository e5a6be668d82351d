//! Lists that are the same for everyone, limits, and what is empty in this version.

use standfast_api::autoscaling::{
    AdjustmentType, DescribeAccountLimitsInput, DescribeAccountLimitsOutput, DescribeAdjustmentTypesInput,
    DescribeAdjustmentTypesOutput, DescribeAutoScalingNotificationTypesInput,
    DescribeAutoScalingNotificationTypesOutput, DescribeNotificationConfigurationsInput,
    DescribeNotificationConfigurationsOutput, DescribeScheduledActionsInput, DescribeScheduledActionsOutput,
    DescribeTerminationPolicyTypesInput, DescribeTerminationPolicyTypesOutput,
};
use standfast_core::Result;
use standfast_kernel::Cx;

use super::groups::{GROUPS_MAX, find};
use super::launch_configurations::CONFIGURATIONS_MAX;
use super::model::{Group, LaunchConfiguration, TerminationPolicy};
use super::policies::Adjusts;

const NOTIFICATIONS: &[&str] = &[
    "autoscaling:EC2_INSTANCE_LAUNCH",
    "autoscaling:EC2_INSTANCE_LAUNCH_ERROR",
    "autoscaling:EC2_INSTANCE_TERMINATE",
    "autoscaling:EC2_INSTANCE_TERMINATE_ERROR",
    "autoscaling:TEST_NOTIFICATION",
];

pub async fn account_limits(cx: Cx, _: DescribeAccountLimitsInput) -> Result<DescribeAccountLimitsOutput> {
    let (groups, configurations) =
        cx.view(|view| (view.count::<Group>(cx.scope()), view.count::<LaunchConfiguration>(cx.scope())));
    let number = |count: usize| i32::try_from(count).ok();
    Ok(DescribeAccountLimitsOutput {
        max_number_of_auto_scaling_groups: number(GROUPS_MAX),
        max_number_of_launch_configurations: number(CONFIGURATIONS_MAX),
        number_of_auto_scaling_groups: number(groups),
        number_of_launch_configurations: number(configurations),
    })
}

pub async fn adjustment_types(_: Cx, _: DescribeAdjustmentTypesInput) -> Result<DescribeAdjustmentTypesOutput> {
    let all = Adjusts::ALL.iter().map(|one| AdjustmentType { adjustment_type: Some(one.name().to_owned()) });
    Ok(DescribeAdjustmentTypesOutput { adjustment_types: Some(all.collect()) })
}

pub async fn termination_policy_types(
    _: Cx,
    _: DescribeTerminationPolicyTypesInput,
) -> Result<DescribeTerminationPolicyTypesOutput> {
    let all = TerminationPolicy::ALL.iter().map(|policy| policy.name().to_owned());
    Ok(DescribeTerminationPolicyTypesOutput { termination_policy_types: Some(all.collect()) })
}

pub async fn notification_types(
    _: Cx,
    _: DescribeAutoScalingNotificationTypesInput,
) -> Result<DescribeAutoScalingNotificationTypesOutput> {
    let all = NOTIFICATIONS.iter().map(|name| (*name).to_owned()).collect();
    Ok(DescribeAutoScalingNotificationTypesOutput { auto_scaling_notification_types: Some(all) })
}

pub async fn scheduled_actions(cx: Cx, input: DescribeScheduledActionsInput) -> Result<DescribeScheduledActionsOutput> {
    input.auto_scaling_group_name.map(|name| find(&cx, &name)).transpose()?;
    Ok(DescribeScheduledActionsOutput { scheduled_update_group_actions: Some(Vec::new()), next_token: None })
}

pub async fn notification_configurations(
    _: Cx,
    _: DescribeNotificationConfigurationsInput,
) -> Result<DescribeNotificationConfigurationsOutput> {
    Ok(DescribeNotificationConfigurationsOutput { notification_configurations: Vec::new(), next_token: None })
}
