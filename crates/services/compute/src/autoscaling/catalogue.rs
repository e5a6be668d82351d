//! Lists that are the same for everyone, and limits.

use standfast_api::autoscaling::{
    AdjustmentType, DescribeAccountLimitsInput, DescribeAccountLimitsOutput, DescribeAdjustmentTypesInput,
    DescribeAdjustmentTypesOutput, DescribeAutoScalingNotificationTypesInput,
    DescribeAutoScalingNotificationTypesOutput, DescribeTerminationPolicyTypesInput,
    DescribeTerminationPolicyTypesOutput,
};
use standfast_core::Result;
use standfast_kernel::Cx;

use super::groups::GROUPS_MAX;
use super::launch_configurations::CONFIGURATIONS_MAX;
use super::model::{Group, LaunchConfiguration, TerminationPolicy};
use super::notifications;
use super::policies::Adjusts;

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
    let all = notifications::TYPES.iter().map(|name| (*name).to_owned()).collect();
    Ok(DescribeAutoScalingNotificationTypesOutput { auto_scaling_notification_types: Some(all) })
}
