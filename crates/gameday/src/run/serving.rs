//! Whether everything serves that should.

use serde_json::json;
use standfast_core::Result;

use crate::World;
use crate::answers::{items, list, number, text};
use crate::site::Site;

/// A stop alarm that fires: nothing could be broken now.
pub(super) async fn alarmed(world: &dyn World, site: &Site, alarms: &[String]) -> Result<Option<String>> {
    if alarms.is_empty() {
        return Ok(None);
    }
    let names: Vec<&str> =
        alarms.iter().map(|name| site.resource(name).map_or(name.as_str(), |one| one.physical.as_str())).collect();
    let all = list(world, "cloudwatch", "DescribeAlarms", json!({"AlarmNames": names}), "MetricAlarms").await?;
    let fires = all.iter().find(|alarm| text(alarm, "StateValue") == "ALARM");
    Ok(fires.map(|alarm| format!("the stop alarm {} is in ALARM", site.called(text(alarm, "AlarmName")))))
}

/// What does not serve that should: targets that are not healthy, groups that are not complete.
pub(super) async fn missing(world: &dyn World, site: &Site) -> Result<Option<String>> {
    for arn in site.target_groups() {
        let answer = world.call("elbv2", "DescribeTargetHealth", json!({"TargetGroupArn": arn})).await?;
        let targets = items(&answer, "TargetHealthDescriptions");
        let bad = targets.iter().find(|target| text(&target["TargetHealth"], "State") != "healthy");
        if let Some(bad) = bad {
            let (id, state) = (text(&bad["Target"], "Id"), text(&bad["TargetHealth"], "State"));
            return Ok(Some(format!("the target {id} of {} is {state}", site.called(arn))));
        }
        if targets.is_empty() {
            return Ok(Some(format!("{} has no targets", site.called(arn))));
        }
    }
    let names = site.groups();
    if !names.is_empty() {
        let input = json!({"AutoScalingGroupNames": names});
        for group in &list(world, "autoscaling", "DescribeAutoScalingGroups", input, "AutoScalingGroups").await? {
            let members = items(group, "Instances");
            let serving = members.iter().filter(|member| {
                text(member, "LifecycleState") == "InService" && text(member, "HealthStatus") == "Healthy"
            });
            let (serving, desired) = (serving.count() as u64, number(group, "DesiredCapacity"));
            if serving != desired || members.len() as u64 != desired {
                let name = site.called(text(group, "AutoScalingGroupName"));
                return Ok(Some(format!("{serving} of {desired} instances of {name} are in service")));
            }
        }
    }
    Ok(None)
}
