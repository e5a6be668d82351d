"""application-autoscaling through boto3: scalable targets with their policies, schedules, activities and tags."""

import pytest

OF = {"ServiceNamespace": "ecs", "ResourceId": "service/a/b", "ScalableDimension": "ecs:service:DesiredCount"}


@pytest.fixture
def scaling(client):
    return client("application-autoscaling")


def test_a_target_with_all_it_has(scaling, refused):
    arn = scaling.register_scalable_target(**OF, MinCapacity=1, MaxCapacity=5, Tags={"a": "b"})["ScalableTargetARN"]
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"], target["ScalableTargetARN"]) == (1, 5, arn)
    config = {
        "TargetValue": 50.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"},
    }
    made = scaling.put_scaling_policy(
        **OF, PolicyName="cpu", PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=config
    )
    (policy,) = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    assert policy["PolicyARN"] == made["PolicyARN"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == config
    scaling.put_scheduled_action(
        **OF, ScheduledActionName="night", Schedule="cron(0 22 * * ? *)", Timezone="Europe/London",
        ScalableTargetAction={"MinCapacity": 0},
    )  # fmt: skip
    (action,) = scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    assert (action["Schedule"], action["Timezone"]) == ("cron(0 22 * * ? *)", "Europe/London")
    assert scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"] == []
    scaling.tag_resource(ResourceARN=arn, Tags={"c": "d"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"c": "d"}
    scaling.delete_scheduled_action(**OF, ScheduledActionName="night")
    scaling.delete_scaling_policy(**OF, PolicyName="cpu")
    scaling.deregister_scalable_target(**OF)
    with refused("ObjectNotFoundException", naming="service/a/b"):
        scaling.deregister_scalable_target(**OF)
