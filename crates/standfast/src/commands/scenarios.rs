//! The scenarios that AWS names, as experiments: which resources are hit is said by tags, as AWS documents them.
//!
//! What they do to services that are not here (databases, caches, containers, autoshift) is left out.

use anyhow::Result;
use serde_json::{Value as Json, json};
use standfast_core::place::{Region, Zone};

use super::experiments::{self, Plan, running};
use super::faults::region_of;
use crate::api_client::ApiClient;
use crate::cli::{Scenario, ScenarioName};

/// Connectivity is lost only for as long as names take to change.
const NETWORK_S: u64 = 120;
const POWER_TAG: &str = "AzImpairmentPower";
const SLOWDOWN_TAG: &str = "CrossAZTrafficSlowdown";
/// How many packets of a hundred are lost between zones.
const SLOWDOWN_LOSS: &str = "15";
const APPLICATION_TAG: &str = "AZApplicationSlowdown";
/// How many milliseconds later packets come within a zone.
const SLOWDOWN_MS: &str = "200";

/// What marks the experiment.
pub fn mark(zone: &str) -> String {
    format!("scenario {zone}")
}

/// Starts the scenario; gives what there is to say.
pub async fn start(client: &ApiClient, scenario: &Scenario) -> Result<String> {
    let zone = &scenario.zone;
    let region = region_of(zone)?;
    let client = ApiClient::new(client.endpoint(), &region)?;
    let mark = mark(zone);
    if let Some(id) = running(&client, &mark).await? {
        anyhow::bail!("a scenario runs in {zone} already (experiment {id}); `standfast heal {mark}` comes first");
    }
    let seconds = scenario.time.as_secs().max(1);
    let plan = match scenario.name {
        ScenarioName::PowerInterruption => power_interruption(zone, seconds),
        ScenarioName::ApplicationSlowdown => application_slowdown(zone, &region, seconds),
        ScenarioName::TrafficSlowdown => traffic_slowdown(zone, &region, seconds),
    };
    let id = experiments::start(&client, &plan, Some(&mark)).await?;
    if experiments::hit_nothing(&client, &id).await? {
        anyhow::bail!("nothing in {zone} has the tags of the scenario: {}", tags_of(scenario.name));
    }
    Ok(format!(
        "{} in {zone} for {seconds} s (experiment {id}); `aws fis get-experiment --id {id}` tells what it hit, \
         `standfast heal {mark}` ends it.",
        plan.description
    ))
}

/// What has to be tagged for it.
fn tags_of(name: ScenarioName) -> String {
    match name {
        ScenarioName::PowerInterruption => {
            format!("{POWER_TAG} = StopInstances, IceAsg, IceInstanceLaunch, DisruptSubnet or ApiPauseVolume")
        }
        ScenarioName::ApplicationSlowdown => format!("{APPLICATION_TAG} = LatencyForEC2"),
        ScenarioName::TrafficSlowdown => format!("{SLOWDOWN_TAG} = PacketLossForEC2"),
    }
}

fn tagged(resource_type: &str, tag: &str, value: &str) -> Json {
    json!({"resourceType": resource_type, "resourceTags": {tag: value}, "selectionMode": "ALL"})
}

/// Running instances of a zone with this tag.
fn instances(tag: &str, value: &str, zone: &str) -> Json {
    let mut target = tagged("aws:ec2:instance", tag, value);
    target["filters"] = json!([
        {"path": "State.Name", "values": ["running"]},
        {"path": "Placement.AvailabilityZone", "values": [zone]},
    ]);
    target
}

fn in_zone(resource_type: &str, value: &str, zone: &str) -> Json {
    let mut target = tagged(resource_type, POWER_TAG, value);
    target["parameters"] = json!({"availabilityZoneIdentifier": zone});
    target
}

/// One of the volumes that outlive their instances: what is written to it hangs after the power is back.
fn volume(zone: &str) -> Json {
    let mut target = in_zone("aws:ec2:ebs-volume", "ApiPauseVolume", zone);
    target["filters"] = json!([{"path": "Attachments.DeleteOnTermination", "values": ["false"]}]);
    target["selectionMode"] = json!("COUNT(1)");
    target
}

fn power_interruption(zone: &str, seconds: u64) -> Plan {
    let time = format!("PT{seconds}S");
    let stop = json!({"startInstancesAfterDuration": time, "completeIfInstancesTerminated": "true"});
    let capacity = json!({"duration": time, "availabilityZoneIdentifiers": zone, "percentage": "100"});
    let network = json!({"duration": format!("PT{}S", seconds.min(NETWORK_S)), "scope": "all"});
    let action = |id: &str, parameters: &Json, name: &str, target: &str| json!({"actionId": id, "parameters": parameters, "targets": {name: target}});
    let mut volumes = action("aws:ebs:pause-volume-io", &json!({"duration": time}), "Volumes", "EBS-Volumes");
    volumes["startAfter"] = json!(["Stop-Instances", "Stop-ASG-Instances"]);
    let actions = json!({
        "Stop-Instances": action("aws:ec2:stop-instances", &stop, "Instances", "EC2-Instances"),
        "Stop-ASG-Instances": action("aws:ec2:stop-instances", &stop, "Instances", "ASG-EC2-Instances"),
        "Pause-Instance-Launches":
            action("aws:ec2:api-insufficient-instance-capacity-error", &capacity, "Roles", "IAM-Roles"),
        "Pause-ASG-Scaling":
            action("aws:ec2:asg-insufficient-instance-capacity-error", &capacity, "AutoScalingGroups", "ASG"),
        "Pause-Network-Connectivity": action("aws:network:disrupt-connectivity", &network, "Subnets", "Subnets"),
        "Pause-EBS-IO": volumes,
    });
    let targets = json!({
        "EC2-Instances": instances(POWER_TAG, "StopInstances", zone),
        "ASG-EC2-Instances": instances(POWER_TAG, "IceAsg", zone),
        "IAM-Roles": tagged("aws:iam:role", POWER_TAG, "IceInstanceLaunch"),
        "ASG": tagged("aws:ec2:autoscaling-group", POWER_TAG, "IceAsg"),
        "Subnets": in_zone("aws:ec2:subnet", "DisruptSubnet", zone),
        "EBS-Volumes": volume(zone),
    });
    Plan { description: "AZ Availability: Power Interruption".into(), actions, targets, skip_empty: true }
}

fn traffic_slowdown(zone: &str, region: &str, seconds: u64) -> Plan {
    let zones = Region::named(region).into_iter().flat_map(Region::zones);
    let others: Vec<Zone> = zones.filter(|other| other.name != zone).collect();
    let sources = others.iter().map(|zone| zone.name.as_str()).collect::<Vec<_>>().join(",");
    let mut document = to_sources(&sources, seconds);
    document["LossPercent"] = json!(SLOWDOWN_LOSS);
    let action = of_packets("Packet-Loss", region, &document, seconds);
    let targets = json!({"EC2-Instances": instances(SLOWDOWN_TAG, "PacketLossForEC2", zone)});
    let actions = json!({"EC2-Network-Packet-Loss": action});
    Plan { description: "Cross-AZ: Traffic Slowdown".into(), actions, targets, skip_empty: true }
}

fn application_slowdown(zone: &str, region: &str, seconds: u64) -> Plan {
    let mut document = to_sources(zone, seconds);
    document["DelayMilliseconds"] = json!(SLOWDOWN_MS);
    document["JitterMilliseconds"] = json!("0");
    let action = of_packets("Latency", region, &document, seconds);
    let targets = json!({"EC2-Instances": instances(APPLICATION_TAG, "LatencyForEC2", zone)});
    let actions = json!({"EC2-Network-Latency": action});
    Plan { description: "AZ: Application Slowdown".into(), actions, targets, skip_empty: true }
}

fn to_sources(sources: &str, seconds: u64) -> Json {
    json!({
        "DurationSeconds": seconds.to_string(), "Sources": sources, "TrafficType": "egress", "Interface": "DEFAULT",
        "FlowsPercent": "100", "InstallDependencies": "True",
    })
}

/// A document that does something to the packets of a scenario's instances.
fn of_packets(what: &str, region: &str, document: &Json, seconds: u64) -> Json {
    let parameters = json!({
        "documentArn": format!("arn:aws:ssm:{region}::document/AWSFIS-Run-Network-{what}-Sources"),
        "documentParameters": document.to_string(), "duration": format!("PT{seconds}S"),
    });
    json!({"actionId": "aws:ssm:send-command", "parameters": parameters, "targets": {"Instances": "EC2-Instances"}})
}
