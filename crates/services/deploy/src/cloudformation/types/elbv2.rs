//! Load balancers, target groups, listeners and their rules.

use serde_json::{Map, Value, json};
use standfast_api::elbv2;
use standfast_core::Result;

use super::ec2_network::{gone, ready, vanished};
use super::job::{Job, as_list, said};
use super::{BASE, ResourceType, State};
use crate::cloudformation::errors;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::ElasticLoadBalancingV2::LoadBalancer",
        replaced: &["Name", "Scheme", "Type"],
        updated: &["IpAddressType", "LoadBalancerAttributes", "SecurityGroups", "SubnetMappings", "Subnets", "Tags"],
        attributes: &[
            "CanonicalHostedZoneID",
            "DNSName",
            "LoadBalancerArn",
            "LoadBalancerFullName",
            "LoadBalancerName",
            "SecurityGroups",
        ],
        create: |job| Box::pin(create_load_balancer(job)),
        equip: |job| Box::pin(load_balancer_attributes(job)),
        find: |job| Box::pin(find_load_balancer(job)),
        read: |job| Box::pin(read_load_balancer(job)),
        update: |job| Box::pin(update_load_balancer(job)),
        delete: |job| Box::pin(gone(job, elbv2::DeleteLoadBalancer, "LoadBalancerArn")),
        ..BASE
    },
    ResourceType {
        name: "AWS::ElasticLoadBalancingV2::TargetGroup",
        replaced: &["IpAddressType", "Name", "Port", "Protocol", "ProtocolVersion", "TargetType", "VpcId"],
        updated: &[
            "HealthCheckEnabled",
            "HealthCheckIntervalSeconds",
            "HealthCheckPath",
            "HealthCheckPort",
            "HealthCheckProtocol",
            "HealthCheckTimeoutSeconds",
            "HealthyThresholdCount",
            "Matcher",
            "Tags",
            "TargetGroupAttributes",
            "Targets",
            "UnhealthyThresholdCount",
        ],
        attributes: &["LoadBalancerArns", "TargetGroupArn", "TargetGroupFullName", "TargetGroupName"],
        create: |job| Box::pin(create_target_group(job)),
        equip: |job| Box::pin(target_group_parts(job)),
        find: |job| Box::pin(find_target_group(job)),
        read: |job| Box::pin(read_target_group(job)),
        update: |job| Box::pin(update_target_group(job)),
        delete: |job| Box::pin(gone(job, elbv2::DeleteTargetGroup, "TargetGroupArn")),
        ..BASE
    },
    ResourceType {
        name: "AWS::ElasticLoadBalancingV2::Listener",
        required: &["DefaultActions", "LoadBalancerArn"],
        replaced: &["LoadBalancerArn"],
        updated: &[
            "AlpnPolicy",
            "Certificates",
            "DefaultActions",
            "ListenerAttributes",
            "MutualAuthentication",
            "Port",
            "Protocol",
            "SslPolicy",
        ],
        attributes: &["ListenerArn"],
        create: |job| Box::pin(create_listener(job)),
        equip: |job| Box::pin(listener_attributes(job)),
        find: |job| Box::pin(find_listener(job)),
        read: |job| Box::pin(read_listener(job)),
        update: |job| Box::pin(update_listener(job)),
        delete: |job| Box::pin(gone(job, elbv2::DeleteListener, "ListenerArn")),
        ..BASE
    },
    ResourceType {
        name: "AWS::ElasticLoadBalancingV2::ListenerRule",
        required: &["Actions", "Conditions", "Priority"],
        replaced: &["ListenerArn"],
        updated: &["Actions", "Conditions", "Priority"],
        attributes: &["IsDefault", "RuleArn"],
        create: |job| Box::pin(create_rule(job)),
        find: |job| Box::pin(find_rule(job)),
        read: |job| Box::pin(async { Ok(ready(json!({"RuleArn": job.id(), "IsDefault": "false"}))) }),
        update: |job| Box::pin(update_rule(job)),
        delete: |job| Box::pin(gone(job, elbv2::DeleteRule, "RuleArn")),
        ..BASE
    },
];

/// The longest name of a load balancer or target group.
const NAME_CHARS_MAX: usize = 32;

/// The part of an ARN behind a marker, as metrics name it: `app/web/50dc6c495c0c9188`.
fn full_name(arn: &str, marker: &str) -> String {
    arn.split_once(marker).map_or_else(String::new, |(_, name)| name.to_owned())
}

async fn retag(job: &Job) -> Result<()> {
    let (set, gone) = job.tag_changes();
    if !gone.is_empty() {
        job.ask(elbv2::RemoveTags, json!({"ResourceArns": [job.id()], "TagKeys": gone})).await?;
    }
    if !set.is_empty() {
        job.ask(elbv2::AddTags, json!({"ResourceArns": [job.id()], "Tags": as_list(set)})).await?;
    }
    Ok(())
}

async fn create_load_balancer(job: &Job) -> Result<String> {
    let mut input = job.without(&["LoadBalancerAttributes"]);
    input.insert("Name".into(), job.name("Name", NAME_CHARS_MAX).into());
    input.insert("Tags".into(), job.tag_list());
    said(&job.ask(elbv2::CreateLoadBalancer, input.into()).await?, "/LoadBalancers/0/LoadBalancerArn")
}

async fn load_balancer_attributes(job: &Job) -> Result<()> {
    if let Some(attributes) = job.get("LoadBalancerAttributes").filter(|_| job.changes("LoadBalancerAttributes")) {
        let input = json!({"LoadBalancerArn": job.id(), "Attributes": attributes});
        job.ask(elbv2::ModifyLoadBalancerAttributes, input).await?;
    }
    Ok(())
}

async fn find_load_balancer(job: &Job) -> Result<Option<String>> {
    let input = json!({"Names": [job.name("Name", NAME_CHARS_MAX)]});
    let found = job.look(elbv2::DescribeLoadBalancers, input, "LoadBalancers").await?;
    ours(job, found.and_then(|found| found["LoadBalancerArn"].as_str().map(str::to_owned))).await
}

/// The ARN when what it names has this stack's tag: of equal name may be someone else's.
async fn ours(job: &Job, arn: Option<String>) -> Result<Option<String>> {
    let Some(arn) = arn.filter(|arn| !job.others.contains(arn)) else { return Ok(None) };
    let answer = job.ask(elbv2::DescribeTags, json!({"ResourceArns": [arn]})).await?;
    let tags = answer["TagDescriptions"][0]["Tags"].as_array().into_iter().flatten();
    let mut tags = tags.filter(|tag| tag["Key"] == super::job::STACK_ID_TAG);
    Ok(tags.any(|tag| tag["Value"] == job.stack_arn.as_str()).then_some(arn))
}

async fn read_load_balancer(job: &Job) -> Result<State> {
    let input = json!({"LoadBalancerArns": [job.id()]});
    let Some(found) = job.look(elbv2::DescribeLoadBalancers, input, "LoadBalancers").await? else {
        return Ok(vanished(job));
    };
    Ok(match found["State"]["Code"].as_str() {
        Some("provisioning") => State::Pending,
        Some("failed") => State::Failed(format!("The load balancer failed: {}", found["State"]["Reason"])),
        _ => ready(json!({
            "CanonicalHostedZoneID": found["CanonicalHostedZoneId"],
            "DNSName": found["DNSName"],
            "LoadBalancerArn": job.id(),
            "LoadBalancerFullName": full_name(job.id(), ":loadbalancer/"),
            "LoadBalancerName": found["LoadBalancerName"],
            "SecurityGroups": found["SecurityGroups"],
        })),
    })
}

async fn update_load_balancer(job: &Job) -> Result<()> {
    load_balancer_attributes(job).await?;
    let arn = job.id();
    if job.changes("SecurityGroups") {
        let groups = job.get("SecurityGroups").cloned().unwrap_or_else(|| json!([]));
        job.ask(elbv2::SetSecurityGroups, json!({"LoadBalancerArn": arn, "SecurityGroups": groups})).await?;
    }
    if job.changes("Subnets") || job.changes("SubnetMappings") {
        let mut input = job.only(&["SubnetMappings", "Subnets"]);
        input.insert("LoadBalancerArn".into(), arn.into());
        job.ask(elbv2::SetSubnets, input.into()).await?;
    }
    if job.changes("IpAddressType") {
        let kind = job.text("IpAddressType").unwrap_or_else(|| "ipv4".into());
        job.ask(elbv2::SetIpAddressType, json!({"LoadBalancerArn": arn, "IpAddressType": kind})).await?;
    }
    retag(job).await
}

async fn create_target_group(job: &Job) -> Result<String> {
    let mut input = job.without(&["TargetGroupAttributes", "Targets"]);
    input.insert("Name".into(), job.name("Name", NAME_CHARS_MAX).into());
    input.insert("Tags".into(), job.tag_list());
    said(&job.ask(elbv2::CreateTargetGroup, input.into()).await?, "/TargetGroups/0/TargetGroupArn")
}

/// Attributes and targets, which have operations of their own.
async fn target_group_parts(job: &Job) -> Result<()> {
    let arn = job.id();
    if let Some(attributes) = job.get("TargetGroupAttributes").filter(|_| job.changes("TargetGroupAttributes")) {
        let input = json!({"TargetGroupArn": arn, "Attributes": attributes});
        job.ask(elbv2::ModifyTargetGroupAttributes, input).await?;
    }
    if !job.changes("Targets") {
        return Ok(());
    }
    let list = |targets: Option<&Value>| targets.and_then(Value::as_array).cloned().unwrap_or_default();
    let new = list(job.get("Targets"));
    let old = list(job.old.as_ref().and_then(|old| old.evaluated.properties.get("Targets")));
    let gone: Vec<Value> = old.iter().filter(|target| !new.contains(target)).cloned().collect();
    if !gone.is_empty() {
        job.forget(elbv2::DeregisterTargets, json!({"TargetGroupArn": arn, "Targets": gone})).await?;
    }
    if !new.is_empty() {
        job.ask(elbv2::RegisterTargets, json!({"TargetGroupArn": arn, "Targets": new})).await?;
    }
    Ok(())
}

async fn find_target_group(job: &Job) -> Result<Option<String>> {
    let input = json!({"Names": [job.name("Name", NAME_CHARS_MAX)]});
    let found = job.look(elbv2::DescribeTargetGroups, input, "TargetGroups").await?;
    ours(job, found.and_then(|found| found["TargetGroupArn"].as_str().map(str::to_owned))).await
}

async fn read_target_group(job: &Job) -> Result<State> {
    let input = json!({"TargetGroupArns": [job.id()]});
    let Some(found) = job.look(elbv2::DescribeTargetGroups, input, "TargetGroups").await? else {
        return Ok(vanished(job));
    };
    Ok(ready(json!({
        "LoadBalancerArns": found["LoadBalancerArns"],
        "TargetGroupArn": job.id(),
        "TargetGroupFullName": format!("targetgroup/{}", full_name(job.id(), ":targetgroup/")),
        "TargetGroupName": found["TargetGroupName"],
    })))
}

async fn update_target_group(job: &Job) -> Result<()> {
    let checks = job.without(&[
        "IpAddressType",
        "Name",
        "Port",
        "Protocol",
        "ProtocolVersion",
        "Tags",
        "TargetGroupAttributes",
        "TargetType",
        "Targets",
        "VpcId",
    ]);
    if checks.keys().any(|property| job.changes(property)) {
        let mut input = checks;
        input.insert("TargetGroupArn".into(), job.id().into());
        job.ask(elbv2::ModifyTargetGroup, input.into()).await?;
    }
    target_group_parts(job).await?;
    retag(job).await
}

async fn create_listener(job: &Job) -> Result<String> {
    let mut input = job.without(&["ListenerAttributes"]);
    input.insert("Tags".into(), job.tag_list());
    said(&job.ask(elbv2::CreateListener, input.into()).await?, "/Listeners/0/ListenerArn")
}

async fn listener_attributes(job: &Job) -> Result<()> {
    if let Some(attributes) = job.get("ListenerAttributes").filter(|_| job.changes("ListenerAttributes")) {
        let input = json!({"ListenerArn": job.id(), "Attributes": attributes});
        job.ask(elbv2::ModifyListenerAttributes, input).await?;
    }
    Ok(())
}

async fn find_listener(job: &Job) -> Result<Option<String>> {
    let balancer = json!({"LoadBalancerArn": job.need("LoadBalancerArn")?});
    let answer = job.ask(elbv2::DescribeListeners, balancer).await?;
    let port = job.text("Port");
    let mut all = answer["Listeners"].as_array().into_iter().flatten();
    let found = all.find(|listener| crate::cloudformation::template::text(&listener["Port"]) == port);
    ours(job, found.and_then(|listener| listener["ListenerArn"].as_str().map(str::to_owned))).await
}

async fn read_listener(job: &Job) -> Result<State> {
    let input = json!({"ListenerArns": [job.id()]});
    let found = job.look(elbv2::DescribeListeners, input, "Listeners").await?;
    Ok(found.map_or_else(|| vanished(job), |_| ready(json!({"ListenerArn": job.id()}))))
}

async fn update_listener(job: &Job) -> Result<()> {
    let mut input = job.without(&["ListenerAttributes", "LoadBalancerArn"]);
    input.insert("ListenerArn".into(), job.id().into());
    job.ask(elbv2::ModifyListener, input.into()).await?;
    listener_attributes(job).await
}

async fn create_rule(job: &Job) -> Result<String> {
    let mut input = job.properties().clone();
    if !input.contains_key("ListenerArn") {
        return Err(errors::property("Property ListenerArn cannot be empty."));
    }
    input.insert("Tags".into(), job.tag_list());
    said(&job.ask(elbv2::CreateRule, input.into()).await?, "/Rules/0/RuleArn")
}

async fn find_rule(job: &Job) -> Result<Option<String>> {
    let answer = job.ask(elbv2::DescribeRules, json!({"ListenerArn": job.need("ListenerArn")?})).await?;
    let priority = job.text("Priority");
    let mut all = answer["Rules"].as_array().into_iter().flatten();
    let found = all.find(|rule| crate::cloudformation::template::text(&rule["Priority"]) == priority);
    ours(job, found.and_then(|rule| rule["RuleArn"].as_str().map(str::to_owned))).await
}

async fn update_rule(job: &Job) -> Result<()> {
    if job.changes("Priority") {
        let priorities = json!([{"RuleArn": job.id(), "Priority": job.get("Priority")}]);
        job.ask(elbv2::SetRulePriorities, json!({"RulePriorities": priorities})).await?;
    }
    let mut input: Map<String, Value> = job.only(&["Actions", "Conditions"]);
    input.insert("RuleArn".into(), job.id().into());
    job.ask(elbv2::ModifyRule, input.into()).await.map(drop)
}
