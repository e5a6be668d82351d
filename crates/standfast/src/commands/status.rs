//! `status`: the whole cloud on one screen.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, cloudformation, ec2, elbv2};

use super::{items, text};
use crate::api_client::ApiClient;
use crate::output;

/// Reads everything and prints it, for people or as JSON.
pub async fn run(client: &ApiClient, as_json: bool) -> Result<ExitCode> {
    let status = read(client).await?;
    if as_json {
        output::line(format_args!("{status:#}"));
    } else {
        output::text_of(screen(&status));
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything, as JSON.
pub async fn read(client: &ApiClient) -> Result<Json> {
    let none = || json!({});
    let zones = client.list(
        &ec2::MODEL,
        "DescribeAvailabilityZones",
        json!({"AllAvailabilityZones": true}),
        "AvailabilityZones",
    );
    let zones: Vec<Json> =
        (zones.await?.iter()).map(|zone| json!({"name": text(zone, "ZoneName"), "state": zone_state(zone)})).collect();
    let reservations = client.list(&ec2::MODEL, "DescribeInstances", none(), "Reservations").await?;
    let instances: Vec<Json> = (reservations.iter().flat_map(|reservation| items(reservation, "Instances")))
        .filter(|instance| state(instance) != "terminated")
        .map(|instance| {
            json!({
                "id": text(instance, "InstanceId"), "state": state(instance),
                "zone": instance.get("Placement").map(|place| text(place, "AvailabilityZone")),
                "type": text(instance, "InstanceType"), "private_ip": text(instance, "PrivateIpAddress"),
                "group": tag(instance, "aws:autoscaling:groupName"),
            })
        })
        .collect();
    let groups = client.list(&autoscaling::MODEL, "DescribeAutoScalingGroups", none(), "AutoScalingGroups").await?;
    let groups: Vec<Json> = (groups.iter())
        .map(|group| {
            let members: Vec<Json> = (items(group, "Instances").iter())
                .map(|member| {
                    json!({
                        "id": text(member, "InstanceId"), "zone": text(member, "AvailabilityZone"),
                        "lifecycle": text(member, "LifecycleState"), "health": text(member, "HealthStatus"),
                    })
                })
                .collect();
            json!({
                "name": text(group, "AutoScalingGroupName"), "min": group["MinSize"], "max": group["MaxSize"],
                "desired": group["DesiredCapacity"], "instances": members,
            })
        })
        .collect();
    let stacks = client.list(&cloudformation::MODEL, "DescribeStacks", none(), "Stacks").await?;
    let stacks: Vec<Json> = (stacks.iter())
        .map(|stack| json!({"name": text(stack, "StackName"), "status": text(stack, "StackStatus")}))
        .collect();
    Ok(json!({
        "endpoint": client.endpoint(), "region": client.region(), "zones": zones, "stacks": stacks,
        "load_balancers": load_balancers(client).await?, "groups": groups, "instances": instances,
    }))
}

async fn load_balancers(client: &ApiClient) -> Result<Vec<Json>> {
    let mut all = Vec::new();
    for balancer in client.list(&elbv2::MODEL, "DescribeLoadBalancers", json!({}), "LoadBalancers").await? {
        let arn = text(&balancer, "LoadBalancerArn");
        let mut target_groups = Vec::new();
        let groups =
            client.list(&elbv2::MODEL, "DescribeTargetGroups", json!({"LoadBalancerArn": arn}), "TargetGroups").await?;
        for group in groups {
            let arn = text(&group, "TargetGroupArn");
            let health = client.call(&elbv2::MODEL, "DescribeTargetHealth", json!({"TargetGroupArn": arn})).await?;
            let targets: Vec<Json> = (items(&health, "TargetHealthDescriptions").iter())
                .map(|description| {
                    let (target, health) = (&description["Target"], &description["TargetHealth"]);
                    json!({
                        "id": text(target, "Id"), "port": target["Port"], "health": text(health, "State"),
                        "reason": text(health, "Reason"), "description": text(health, "Description"),
                    })
                })
                .collect();
            target_groups.push(json!({"name": text(&group, "TargetGroupName"), "targets": targets}));
        }
        all.push(json!({
            "name": text(&balancer, "LoadBalancerName"), "dns_name": text(&balancer, "DNSName"),
            "state": balancer.get("State").map(|state| text(state, "Code")), "target_groups": target_groups,
        }));
    }
    Ok(all)
}

/// The API keeps calling a zone available, since plans for it stay valid; its messages say that it has no power.
fn zone_state(zone: &Json) -> &str {
    if items(zone, "Messages").is_empty() { text(zone, "State") } else { "dark" }
}

fn state(instance: &Json) -> &str {
    instance.get("State").map(|state| text(state, "Name")).unwrap_or_default()
}

fn tag(instance: &Json, key: &str) -> Option<String> {
    let tag = items(instance, "Tags").iter().find(|tag| text(tag, "Key") == key)?;
    Some(text(tag, "Value").to_owned())
}

fn screen(status: &Json) -> String {
    let mut out = format!("Cloud {} in {}\n", text(status, "endpoint"), text(status, "region"));
    section(&mut out, "Stacks", items(status, "stacks"), |stack| {
        format!("{:<28} {}", text(stack, "name"), text(stack, "status"))
    });
    section(&mut out, "Zones", items(status, "zones"), |zone| {
        let here = items(status, "instances").iter().filter(|i| text(i, "zone") == text(zone, "name"));
        let running = here.filter(|i| text(i, "state") == "running").count();
        format!("{:<16} {:<12} {running} running", text(zone, "name"), text(zone, "state"))
    });
    let mut health: BTreeMap<&str, &Json> = BTreeMap::new();
    for balancer in items(status, "load_balancers") {
        for group in items(balancer, "target_groups") {
            health.extend(items(group, "targets").iter().map(|target| (text(target, "id"), target)));
        }
    }
    section(&mut out, "Load balancers", items(status, "load_balancers"), |balancer| {
        let mut lines =
            format!("{:<16} {:<12} {}", text(balancer, "name"), text(balancer, "state"), text(balancer, "dns_name"));
        for group in items(balancer, "target_groups") {
            let targets = items(group, "targets");
            let healthy = targets.iter().filter(|target| text(target, "health") == "healthy").count();
            lines += &format!("\n    {:<14} {healthy} of {} targets healthy", text(group, "name"), targets.len());
        }
        lines
    });
    section(&mut out, "Auto Scaling groups", items(status, "groups"), |group| {
        let members = items(group, "instances");
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        for member in members.iter().filter(|member| text(member, "lifecycle") == "InService") {
            *zones.entry(text(member, "zone")).or_default() += 1;
        }
        let spread: Vec<String> = zones.iter().map(|(zone, count)| format!("{zone} {count}")).collect();
        format!(
            "{:<28} desired {} (min {}, max {}), in service: {}",
            text(group, "name"),
            group["desired"],
            group["min"],
            group["max"],
            if spread.is_empty() { "none".into() } else { spread.join(", ") }
        )
    });
    section(&mut out, "Instances", items(status, "instances"), |instance| {
        let target = match health.get(text(instance, "id")) {
            None => String::new(),
            Some(target) if text(target, "reason").is_empty() => format!("target {}", text(target, "health")),
            Some(target) => format!("target {} ({})", text(target, "health"), text(target, "reason")),
        };
        format!(
            "{:<20} {:<14} {:<12} {:<10} {:<15} {target}",
            text(instance, "id"),
            text(instance, "zone"),
            text(instance, "state"),
            text(instance, "type"),
            text(instance, "private_ip")
        )
    });
    out
}

fn section(out: &mut String, title: &str, items: &[Json], line: impl Fn(&Json) -> String) {
    if items.is_empty() {
        return;
    }
    *out += &format!("\n{title}\n");
    for item in items {
        *out += &format!("  {}\n", line(item).trim_end());
    }
}
