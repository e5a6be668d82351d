//! Auto Scaling groups, launch configurations, lifecycle hooks and warm pools.

use serde_json::{Map, Value, json};
use standfast_api::autoscaling as api;
use standfast_api::elbv2;
use standfast_core::Result;

use super::ec2_network::{ready, vanished};
use super::job::Job;
use super::rolling::{self, Roll};
use super::{BASE, ResourceType, State};
use crate::cloudformation::template::text;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::AutoScaling::AutoScalingGroup",
        required: &["MaxSize", "MinSize"],
        replaced: &["AutoScalingGroupName", "InstanceId"],
        updated: &[
            "AvailabilityZoneDistribution",
            "AvailabilityZoneImpairmentPolicy",
            "AvailabilityZones",
            "CapacityRebalance",
            "CapacityReservationSpecification",
            "Context",
            "Cooldown",
            "DefaultInstanceWarmup",
            "DesiredCapacity",
            "DesiredCapacityType",
            "HealthCheckGracePeriod",
            "HealthCheckType",
            "InstanceMaintenancePolicy",
            "LaunchConfigurationName",
            "LaunchTemplate",
            "LifecycleHookSpecificationList",
            "LoadBalancerNames",
            "MaxInstanceLifetime",
            "MaxSize",
            "MetricsCollection",
            "MinSize",
            "MixedInstancesPolicy",
            "NewInstancesProtectedFromScaleIn",
            "NotificationConfigurations",
            "PlacementGroup",
            "ServiceLinkedRoleARN",
            "Tags",
            "TargetGroupARNs",
            "TerminationPolicies",
            "VPCZoneIdentifier",
        ],
        attributes: &["AutoScalingGroupARN"],
        create: |job| Box::pin(create_group(job)),
        equip: |job| Box::pin(equip_group(job)),
        find: |job| Box::pin(find_group(job)),
        read: |job| Box::pin(read_group(job)),
        update: |job| Box::pin(update_group(job)),
        delete: |job| Box::pin(delete_group(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::AutoScaling::LaunchConfiguration",
        required: &["ImageId"],
        replaced: &[
            "AssociatePublicIpAddress",
            "BlockDeviceMappings",
            "EbsOptimized",
            "IamInstanceProfile",
            "ImageId",
            "InstanceMonitoring",
            "InstanceType",
            "KernelId",
            "KeyName",
            "LaunchConfigurationName",
            "MetadataOptions",
            "PlacementTenancy",
            "RamDiskId",
            "SecurityGroups",
            "SpotPrice",
            "UserData",
        ],
        create: |job| Box::pin(create_launch_configuration(job)),
        find: |job| Box::pin(find_launch_configuration(job)),
        delete: |job| Box::pin(delete_launch_configuration(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::AutoScaling::LifecycleHook",
        required: &["AutoScalingGroupName", "LifecycleTransition"],
        replaced: &["AutoScalingGroupName", "LifecycleHookName"],
        updated: &[
            "DefaultResult",
            "HeartbeatTimeout",
            "LifecycleTransition",
            "NotificationMetadata",
            "NotificationTargetARN",
            "RoleARN",
        ],
        create: |job| Box::pin(put_hook(job)),
        update: |job| Box::pin(async { put_hook(job).await.map(drop) }),
        delete: |job| Box::pin(delete_hook(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::AutoScaling::WarmPool",
        required: &["AutoScalingGroupName"],
        replaced: &["AutoScalingGroupName"],
        updated: &["InstanceReusePolicy", "MaxGroupPreparedCapacity", "MinSize", "PoolState"],
        create: |job| Box::pin(put_warm_pool(job)),
        update: |job| Box::pin(async { put_warm_pool(job).await.map(drop) }),
        delete: |job| Box::pin(delete_warm_pool(job)),
        ..BASE
    },
];

const NAME_CHARS_MAX: usize = 255;

/// Tags of a group, which say whether its instances get them.
fn group_tags(job: &Job) -> Value {
    let mut own = Map::new();
    for tag in job.get("Tags").and_then(Value::as_array).into_iter().flatten() {
        own.extend(text(&tag["Key"]).map(|key| (key, tag.clone())));
    }
    for (key, value) in job.tags() {
        own.entry(key.clone()).or_insert_with(|| json!({"Key": key, "Value": value, "PropagateAtLaunch": true}));
    }
    own.into_iter().map(|(_, tag)| tag).collect()
}

/// The properties as both CreateAutoScalingGroup and UpdateAutoScalingGroup take them.
fn group_input(job: &Job) -> Map<String, Value> {
    let mut input = job.without(&[
        "Cooldown",
        "InstanceId",
        "LifecycleHookSpecificationList",
        "LoadBalancerNames",
        "MetricsCollection",
        "NotificationConfigurations",
        "Tags",
        "TargetGroupARNs",
    ]);
    input.insert("AutoScalingGroupName".into(), job.name("AutoScalingGroupName", NAME_CHARS_MAX).into());
    if let Some(Value::Array(subnets)) = job.get("VPCZoneIdentifier") {
        let subnets: Vec<String> = subnets.iter().filter_map(text).collect();
        input.insert("VPCZoneIdentifier".into(), subnets.join(",").into());
    }
    if let Some(cooldown) = job.get("Cooldown") {
        input.insert("DefaultCooldown".into(), cooldown.clone());
    }
    input
}

async fn create_group(job: &Job) -> Result<String> {
    let name = job.name("AutoScalingGroupName", NAME_CHARS_MAX);
    let mut input = group_input(job);
    let more = ["InstanceId", "LifecycleHookSpecificationList", "LoadBalancerNames", "TargetGroupARNs"];
    input.extend(job.only(&more));
    input.insert("Tags".into(), group_tags(job));
    job.ask(api::CreateAutoScalingGroup, input.into()).await?;
    Ok(name)
}

async fn equip_group(job: &Job) -> Result<()> {
    collect_metrics(job).await?;
    notify(job).await
}

/// Which topics are told of a group, and of what.
async fn notify(job: &Job) -> Result<()> {
    if !job.changes("NotificationConfigurations") {
        return Ok(());
    }
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    // Templates have two names for a topic.
    let topic = |own: &Value| [&own["TopicARN"], &own["TopicArn"]].into_iter().find_map(text);
    let wanted = list(job.get("NotificationConfigurations"));
    let old = list(job.old.as_ref().and_then(|old| old.evaluated.properties.get("NotificationConfigurations")));
    for gone in old.iter().filter_map(topic).filter(|own| !wanted.iter().any(|kept| topic(kept).as_ref() == Some(own)))
    {
        let input = json!({"AutoScalingGroupName": job.id(), "TopicARN": gone});
        job.forget(api::DeleteNotificationConfiguration, input).await?;
    }
    for own in &wanted {
        let input = json!({
            "AutoScalingGroupName": job.id(), "TopicARN": topic(own), "NotificationTypes": own["NotificationTypes"],
        });
        job.ask(api::PutNotificationConfiguration, input).await?;
    }
    Ok(())
}

async fn collect_metrics(job: &Job) -> Result<()> {
    if job.old.is_some() && job.changes("MetricsCollection") {
        job.ask(api::DisableMetricsCollection, json!({"AutoScalingGroupName": job.id()})).await?;
    }
    let wanted = job.get("MetricsCollection").and_then(Value::as_array).into_iter().flatten();
    for collection in wanted.filter(|_| job.changes("MetricsCollection")) {
        let mut input = collection.as_object().cloned().unwrap_or_default();
        input.insert("AutoScalingGroupName".into(), job.id().into());
        job.ask(api::EnableMetricsCollection, input.into()).await?;
    }
    Ok(())
}

async fn group(job: &Job, name: &str) -> Result<Option<Value>> {
    let input = json!({"AutoScalingGroupNames": [name]});
    job.look(api::DescribeAutoScalingGroups, input, "AutoScalingGroups").await
}

async fn find_group(job: &Job) -> Result<Option<String>> {
    let name = job.name("AutoScalingGroupName", NAME_CHARS_MAX);
    let found = group(job, &name).await?.unwrap_or_default();
    let mut tags = found["Tags"].as_array().into_iter().flatten();
    let ours = |tag: &Value| tag["Key"] == super::job::STACK_ID_TAG && tag["Value"] == job.stack_arn.as_str();
    Ok((tags.any(ours) && !job.others.contains(&name)).then_some(name))
}

/// A group is made when it is there, as in CloudFormation; with a creation policy when enough instances are in service.
async fn read_group(job: &Job) -> Result<State> {
    let Some(found) = group(job, job.id()).await? else { return Ok(vanished(job)) };
    let policy = job.spec.evaluated.creation_policy.as_ref();
    let percent = policy.map(|policy| &policy["AutoScalingCreationPolicy"]["MinSuccessfulInstancesPercent"]);
    if let Some(percent) = percent.and_then(text).and_then(|text| text.parse::<u64>().ok())
        && job.old.is_none()
    {
        let instances = found["Instances"].as_array().into_iter().flatten();
        let in_service = instances.filter(|instance| instance["LifecycleState"] == "InService").count() as u64;
        if in_service * 100 < found["DesiredCapacity"].as_u64().unwrap_or_default() * percent {
            return Ok(State::Pending);
        }
    }
    if let Some(state) = roll(job, &found).await? {
        return Ok(state);
    }
    Ok(ready(json!({"AutoScalingGroupARN": found["AutoScalingGroupARN"]})))
}

/// Moves a rolling update on, when the update policy asks for one; `None` when there is nothing left to do.
async fn roll(job: &Job, group: &Value) -> Result<Option<State>> {
    let policy = job.spec.evaluated.update_policy.as_ref().and_then(|policy| policy.get("AutoScalingRollingUpdate"));
    let launches = ["LaunchConfigurationName", "LaunchTemplate", "MixedInstancesPolicy"];
    let Some(policy) = policy.filter(|_| job.old.is_some() && launches.iter().any(|property| job.changes(property)))
    else {
        return Ok(None);
    };
    let configuration = job.text("LaunchConfigurationName");
    let mixed = job.get("MixedInstancesPolicy").map(|policy| &policy["LaunchTemplate"]["LaunchTemplateSpecification"]);
    match rolling::next(group, policy, job.get("LaunchTemplate").or(mixed), configuration.as_deref()) {
        Roll::Wait => Ok(Some(State::Pending)),
        Roll::Done | Roll::Terminate(_) if !answers(job, group).await? => Ok(Some(State::Pending)),
        Roll::Done => Ok(None),
        Roll::Stuck(reason) => Ok(Some(State::Failed(reason))),
        Roll::Terminate(ids) => {
            for id in ids {
                let input = json!({"InstanceId": id, "ShouldDecrementDesiredCapacity": false});
                job.forget(api::TerminateInstanceInAutoScalingGroup, input).await?;
            }
            Ok(Some(State::Pending))
        }
    }
}

/// Whether every instance that should get requests gets them.
// AWS-DIFF: CloudFormation waits for signals or not at all; here the load balancers' health checks take their place, so
// that a rolling update of a site costs no request and one to a version that does not answer is undone.
async fn answers(job: &Job, group: &Value) -> Result<bool> {
    for arn in group["TargetGroupARNs"].as_array().into_iter().flatten() {
        let health = job.ask(elbv2::DescribeTargetHealth, json!({"TargetGroupArn": arn})).await?;
        let targets = health["TargetHealthDescriptions"].as_array().into_iter().flatten();
        let mut states = targets.filter_map(|target| target["TargetHealth"]["State"].as_str());
        if states.any(|state| matches!(state, "initial" | "unhealthy")) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn update_group(job: &Job) -> Result<()> {
    let name = job.id().to_owned();
    let mut input = group_input(job);
    // What was scaled since stays scaled, unless the template asks for another number.
    if !job.changes("DesiredCapacity") {
        input.remove("DesiredCapacity");
    }
    input.insert("AutoScalingGroupName".into(), name.clone().into());
    job.ask(api::UpdateAutoScalingGroup, input.into()).await?;
    retarget(job, &name).await?;
    equip_group(job).await?;
    retag(job, &name).await
}

async fn retarget(job: &Job, name: &str) -> Result<()> {
    let list = |value: Option<&Value>| -> Vec<Value> { value.and_then(Value::as_array).cloned().unwrap_or_default() };
    let new = list(job.get("TargetGroupARNs"));
    let old = list(job.old.as_ref().and_then(|old| old.evaluated.properties.get("TargetGroupARNs")));
    let input = |arns: Vec<Value>| json!({"AutoScalingGroupName": name, "TargetGroupARNs": arns});
    let added: Vec<Value> = new.iter().filter(|arn| !old.contains(arn)).cloned().collect();
    if !added.is_empty() {
        job.ask(api::AttachLoadBalancerTargetGroups, input(added)).await?;
    }
    let gone: Vec<Value> = old.iter().filter(|arn| !new.contains(arn)).cloned().collect();
    if !gone.is_empty() {
        job.forget(api::DetachLoadBalancerTargetGroups, input(gone)).await?;
    }
    Ok(())
}

async fn retag(job: &Job, name: &str) -> Result<()> {
    let (set, gone) = job.tag_changes();
    let of_group = |mut tag: Value| {
        if let Some(tag) = tag.as_object_mut() {
            tag.insert("ResourceId".into(), name.into());
            tag.insert("ResourceType".into(), "auto-scaling-group".into());
        }
        tag
    };
    if !gone.is_empty() {
        let gone: Vec<Value> = gone.into_iter().map(|key| of_group(json!({"Key": key}))).collect();
        job.ask(api::DeleteTags, json!({"Tags": gone})).await?;
    }
    if !set.is_empty() || job.changes("Tags") {
        let all = group_tags(job).as_array().cloned().unwrap_or_default();
        let all: Vec<Value> = all.into_iter().map(of_group).collect();
        job.ask(api::CreateOrUpdateTags, json!({"Tags": all})).await?;
    }
    Ok(())
}

async fn delete_group(job: &Job) -> Result<bool> {
    let Some(found) = group(job, job.id()).await? else { return Ok(true) };
    if found["Status"].is_null() {
        let input = json!({"AutoScalingGroupName": job.id(), "ForceDelete": true});
        job.forget(api::DeleteAutoScalingGroup, input).await?;
        return Ok(group(job, job.id()).await?.is_none());
    }
    Ok(false)
}

async fn create_launch_configuration(job: &Job) -> Result<String> {
    let name = job.name("LaunchConfigurationName", NAME_CHARS_MAX);
    let mut input = job.without(&["InstanceMonitoring", "RamDiskId"]);
    input.insert("LaunchConfigurationName".into(), name.clone().into());
    if let Some(on) = job.get("InstanceMonitoring") {
        input.insert("InstanceMonitoring".into(), json!({"Enabled": on}));
    }
    if let Some(id) = job.get("RamDiskId") {
        input.insert("RamdiskId".into(), id.clone());
    }
    match job.ask(api::CreateLaunchConfiguration, input.into()).await {
        // Its name is ours alone when it is generated.
        Err(error) if !(job.again && job.get("LaunchConfigurationName").is_none() && error.is("AlreadyExists")) => {
            Err(error)
        }
        _ => Ok(name),
    }
}

async fn find_launch_configuration(job: &Job) -> Result<Option<String>> {
    if job.get("LaunchConfigurationName").is_some() {
        return Ok(None);
    }
    let name = job.name("LaunchConfigurationName", NAME_CHARS_MAX);
    let input = json!({"LaunchConfigurationNames": [name]});
    let found = job.look(api::DescribeLaunchConfigurations, input, "LaunchConfigurations").await?;
    Ok(found.map(|_| name))
}

async fn delete_launch_configuration(job: &Job) -> Result<bool> {
    job.forget(api::DeleteLaunchConfiguration, json!({"LaunchConfigurationName": job.id()})).await.map(|_| true)
}

async fn put_hook(job: &Job) -> Result<String> {
    let name = job.name("LifecycleHookName", NAME_CHARS_MAX);
    let mut input = job.properties().clone();
    input.insert("LifecycleHookName".into(), name.clone().into());
    job.ask(api::PutLifecycleHook, input.into()).await?;
    Ok(name)
}

async fn delete_hook(job: &Job) -> Result<bool> {
    let input = json!({"LifecycleHookName": job.id(), "AutoScalingGroupName": job.need("AutoScalingGroupName")?});
    job.forget(api::DeleteLifecycleHook, input).await.map(|_| true)
}

/// A group has one warm pool, which is known by the group's name.
async fn put_warm_pool(job: &Job) -> Result<String> {
    job.ask(api::PutWarmPool, job.properties().clone().into()).await?;
    job.need("AutoScalingGroupName")
}

async fn delete_warm_pool(job: &Job) -> Result<bool> {
    let name = json!({"AutoScalingGroupName": job.id()});
    let Some(group) = group(job, job.id()).await? else { return Ok(true) };
    match group["WarmPoolConfiguration"]["Status"].as_str() {
        _ if group["WarmPoolConfiguration"].is_null() => Ok(true),
        Some(_) => Ok(false),
        None => job.forget(api::DeleteWarmPool, name).await.map(|_| false),
    }
}
