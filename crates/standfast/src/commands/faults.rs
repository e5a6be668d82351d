//! `break` and `heal`: experiments of the fis API.

use std::process::ExitCode;

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, elbv2};
use standfast_console::{KILL, POWER, POWER_ZONE};
use standfast_core::place::{Region, Zone};

use super::experiments::{self, Plan, ec2_arn, resource, running, start};
use super::{items, scenarios, text};
use crate::api_client::ApiClient;
use crate::cli::{self, ApiError, Breakable, Cut, Healable, StressOf};
use crate::output;

/// How long what needs a time is broken when it is to last until it is healed: the longest that there is.
const UNTIL_HEALED: &str = "PT12H";
/// The notice that spot instances get.
const SPOT_NOTICE: &str = "PT2M";

/// Starts an experiment that breaks something.
pub async fn break_it(client: &ApiClient, what: &Breakable) -> Result<ExitCode> {
    let said = match what {
        Breakable::Zone { zone } => break_zone(client, zone).await?,
        Breakable::Link(link) => break_link(client, link).await?,
        Breakable::Instance { id } => {
            to_instance(client, id, format!("{id} is killed"), KILL, json!({})).await?;
            format!("Instance {id} was killed with SIGKILL.")
        }
        Breakable::Hardware { id } => {
            let description = format!("the hardware below {id} fails");
            to_instance(client, id, description, "standfast:ec2:fail-hardware", json!({})).await?;
            format!(
                "The hardware below {id} has failed; `aws ec2 describe-instance-status` shows when it is recovered."
            )
        }
        Breakable::Spot { id } => {
            let notice = json!({"durationBeforeInterruption": SPOT_NOTICE});
            let target = resource("aws:ec2:spot-instance", ec2_arn(client, &format!("instance/{id}")).await?);
            let action = "aws:ec2:send-spot-instance-interruptions";
            let plan = Plan::of(format!("{id} is interrupted"), action, notice, Some(("SpotInstances", target)));
            start(client, &plan, None).await?;
            format!("Spot instance {id} has its notice: it goes in two minutes.")
        }
        Breakable::Scenario(scenario) => scenarios::start(client, scenario).await?,
        Breakable::Stress(stress) => break_from_within(client, stress).await?,
        Breakable::Network { loss: 0, delay: 0, corrupt: 0, .. } => bail!("say how: --loss, --delay or --corrupt"),
        Breakable::Network { id, loss, delay, corrupt } => {
            let parameters = json!({
                "lossPercent": loss.to_string(), "delayMilliseconds": delay.to_string(),
                "corruptPercent": corrupt.to_string(),
            });
            let target = resource("aws:ec2:instance", ec2_arn(client, &format!("instance/{id}")).await?);
            let action = "standfast:ec2:impair-network";
            lasting(client, what, Plan::of(described(what), action, parameters, Some(("Instances", target)))).await?
        }
        Breakable::Subnet { id, from } => {
            let target = resource("aws:ec2:subnet", ec2_arn(client, &format!("subnet/{id}")).await?);
            let parameters = json!({"scope": scope(*from), "duration": UNTIL_HEALED});
            let action = "aws:network:disrupt-connectivity";
            lasting(client, what, Plan::of(described(what), action, parameters, Some(("Subnets", target)))).await?
        }
        Breakable::Volume { id } => {
            let target = resource("aws:ec2:ebs-volume", ec2_arn(client, &format!("volume/{id}")).await?);
            let parameters = json!({"duration": UNTIL_HEALED});
            let action = "aws:ebs:pause-volume-io";
            lasting(client, what, Plan::of(described(what), action, parameters, Some(("Volumes", target)))).await?
        }
        Breakable::Capacity { zone, group } => {
            let parameters = json!({"availabilityZoneIdentifiers": zone, "duration": UNTIL_HEALED});
            let plan = match group {
                None => Plan::of(described(what), "standfast:az:insufficient-capacity", parameters, None),
                Some(group) => {
                    let target = resource("aws:ec2:autoscaling-group", group_arn(client, group).await?);
                    let action = "aws:ec2:asg-insufficient-instance-capacity-error";
                    Plan::of(described(what), action, parameters, Some(("AutoScalingGroups", target)))
                }
            };
            lasting(client, what, plan).await?
        }
        Breakable::Api { service, operations, error, percent } => {
            let mut parameters = json!({"service": service, "percentage": percent.to_string()});
            if !operations.is_empty() {
                parameters["operations"] = operations.join(",").into();
            }
            lasting(client, what, Plan::of(described(what), api_action(*error), parameters, None)).await?
        }
        Breakable::Targets { name } => {
            let target = resource("aws:elasticloadbalancing:targetgroup", target_group_arn(client, name).await?);
            let action = "standfast:elbv2:fail-targets";
            lasting(client, what, Plan::of(described(what), action, json!({}), Some(("TargetGroups", target)))).await?
        }
    };
    output::line(format_args!("{said}"));
    Ok(ExitCode::SUCCESS)
}

async fn break_zone(client: &ApiClient, zone: &str) -> Result<String> {
    let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
    if running(&client, zone).await?.is_some() {
        return Ok(format!("Zone {zone} is dark already; `standfast heal zone {zone}` brings it back."));
    }
    let plan = Plan::of(format!("{zone} loses power"), POWER, json!({POWER_ZONE: zone}), None);
    let id = start(&client, &plan, Some(zone)).await?;
    Ok(format!(
        "Zone {zone} is dark: its instances, load balancer nodes and links are gone (experiment {id}).\n\
         `standfast status` and `standfast probe` show what users see; `standfast heal zone {zone}` brings it back."
    ))
}

async fn break_link(client: &ApiClient, link: &cli::Link) -> Result<String> {
    let (zone, other) = (&link.zone, &link.other);
    if (link.loss, link.delay) == (0, 0) {
        bail!("say how: --loss or --delay");
    }
    let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
    region_of(other)?;
    let mark = link_mark(zone, other);
    if running(&client, &mark).await?.is_some() {
        bail!(
            "the link between {zone} and {other} is broken already; `standfast heal link {zone} {other}` comes first"
        );
    }
    let parameters = json!({
        "availabilityZoneIdentifier": zone, "otherAvailabilityZoneIdentifier": other,
        "lossPercent": link.loss.to_string(), "delayMilliseconds": link.delay.to_string(),
    });
    let plan = Plan::of(format!("{zone} and {other} are cut off"), "standfast:az:impair-link", parameters, None);
    let id = start(&client, &plan, Some(&mark)).await?;
    let harm = together(&[
        (link.loss > 0, format!("{} % of the packets are lost", link.loss)),
        (link.delay > 0, format!("each packet takes {} ms longer", link.delay)),
    ]);
    Ok(format!(
        "Between {zone} and {other}, in both directions, {harm} (experiment {id}); \
         `standfast heal link {zone} {other}` undoes it."
    ))
}

/// What marks the experiment on a link, whichever zone is named first.
fn link_mark(zone: &str, other: &str) -> String {
    let (first, second) = if zone <= other { (zone, other) } else { (other, zone) };
    format!("{first} {second}")
}

/// An experiment of one action on one instance.
async fn to_instance(
    client: &ApiClient,
    id: &str,
    description: String,
    action: &str,
    parameters: Json,
) -> Result<String> {
    let target = resource("aws:ec2:instance", ec2_arn(client, &format!("instance/{id}")).await?);
    start(client, &Plan::of(description, action, parameters, Some(("Instances", target))), None).await
}

/// Stress ends by itself.
async fn break_from_within(client: &ApiClient, stress: &cli::BreakStress) -> Result<String> {
    let (id, seconds) = (&stress.id, stress.time.as_secs().max(1));
    let (document, mut parameters) = match stress.what {
        StressOf::Cpu => ("CPU-Stress", json!({})),
        StressOf::Memory => ("Memory-Stress", json!({})),
        StressOf::Io => ("IO-Stress", json!({})),
        StressOf::Disk => ("Disk-Fill", json!({})),
    };
    parameters["DurationSeconds"] = seconds.to_string().into();
    let parameters = json!({
        "documentArn": format!("arn:aws:ssm:{}::document/AWSFIS-Run-{document}", client.region()),
        "documentParameters": parameters.to_string(), "duration": format!("PT{seconds}S"),
    });
    let name = to_instance(client, id, format!("{id} is stressed"), "aws:ssm:send-command", parameters).await?;
    Ok(format!(
        "Instance {id} runs AWSFIS-Run-{document} for {seconds} s (experiment {name}); \
         `aws fis stop-experiment --id {name}` ends it before."
    ))
}

/// An experiment that goes on until `heal` stops it.
async fn lasting(client: &ApiClient, what: &Breakable, plan: Plan) -> Result<String> {
    let mark = mark_of(what);
    if running(client, &mark).await?.is_some() {
        bail!("it is broken already; `standfast heal {mark}` comes first");
    }
    let id = start(client, &plan, Some(&mark)).await?;
    Ok(format!("{} (experiment {id}); `standfast heal {mark}` undoes it.", capital(&plan.description)))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What marks the experiment: the words after `heal`.
fn mark_of(what: &Breakable) -> String {
    match what {
        Breakable::Network { id, .. } => format!("network {id}"),
        Breakable::Subnet { id, .. } => format!("subnet {id}"),
        Breakable::Volume { id } => format!("volume {id}"),
        Breakable::Capacity { zone, group: None } => format!("capacity {zone}"),
        Breakable::Capacity { zone, group: Some(group) } => format!("capacity {zone} --group {group}"),
        Breakable::Api { service, .. } => format!("api {service}"),
        Breakable::Targets { name } => format!("targets {name}"),
        // The others end by themselves, or have marks of their own.
        _ => String::new(),
    }
}

fn described(what: &Breakable) -> String {
    match what {
        Breakable::Network { id, loss, delay, corrupt } => {
            let harm = together(&[
                (*loss > 0, format!("loses {loss} % of what it sends")),
                (*delay > 0, format!("gets its packets {delay} ms late")),
                (*corrupt > 0, format!("gets {corrupt} % of its packets damaged")),
            ]);
            format!("the instance {id} {harm}")
        }
        Breakable::Subnet { id, from } => {
            let from = match from {
                Cut::Everything => "everything",
                Cut::OtherZones => "other zones",
                Cut::OutsideVpc => "what is outside its VPC",
            };
            format!("the subnet {id} is cut off from {from}")
        }
        Breakable::Volume { id } => format!("reads and writes of the volume {id} hang"),
        Breakable::Capacity { zone, group: None } => format!("nobody can launch instances in {zone}"),
        Breakable::Capacity { zone, group: Some(group) } => format!("{group} cannot launch instances in {zone}"),
        Breakable::Api { service, percent, .. } => format!("{percent} % of the requests to {service} fail"),
        Breakable::Targets { name } => format!("the targets of {name} fail their health checks"),
        _ => String::new(),
    }
}

/// What holds of these, in a sentence.
fn together(parts: &[(bool, String)]) -> String {
    let all: Vec<&str> = parts.iter().filter(|(holds, _)| *holds).map(|(_, part)| part.as_str()).collect();
    all.join(" and ")
}

fn scope(cut: Cut) -> &'static str {
    match cut {
        Cut::Everything => "all",
        Cut::OtherZones => "availability-zone",
        Cut::OutsideVpc => "vpc",
    }
}

fn api_action(error: ApiError) -> &'static str {
    match error {
        ApiError::Throttle => "standfast:api:throttle-error",
        ApiError::Internal => "standfast:api:internal-error",
        ApiError::Unavailable => "standfast:api:unavailable-error",
    }
}

async fn group_arn(client: &ApiClient, name: &str) -> Result<String> {
    let input = json!({"AutoScalingGroupNames": [name]});
    let groups = client.call(&autoscaling::MODEL, "DescribeAutoScalingGroups", input).await?;
    match items(&groups, "AutoScalingGroups").first() {
        Some(group) => Ok(text(group, "AutoScalingGroupARN").to_owned()),
        None => bail!("there is no Auto Scaling group '{name}'"),
    }
}

async fn target_group_arn(client: &ApiClient, name: &str) -> Result<String> {
    if name.starts_with("arn:") {
        return Ok(name.to_owned());
    }
    let groups = client.call(&elbv2::MODEL, "DescribeTargetGroups", json!({"Names": [name]})).await?;
    match items(&groups, "TargetGroups").first() {
        Some(group) => Ok(text(group, "TargetGroupArn").to_owned()),
        None => bail!("there is no target group '{name}'"),
    }
}

/// Stops the experiment that broke it.
pub async fn heal(client: &ApiClient, what: &Healable) -> Result<ExitCode> {
    let (client, mark, broken, whole) = match what {
        Healable::Zone { zone } => {
            let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
            (client, zone.clone(), format!("Zone {zone} has power"), format!("Zone {zone} has power again."))
        }
        Healable::Link { zone, other } => {
            let client = ApiClient::new(client.endpoint(), &region_of(zone)?)?;
            let link = format!("The link between {zone} and {other}");
            (client, link_mark(zone, other), format!("{link} is whole"), format!("{link} is whole again."))
        }
        Healable::All => return heal_all(client).await,
        Healable::Network { id } => named(client, format!("network {id}"), format!("The network of {id}")),
        Healable::Subnet { id } => named(client, format!("subnet {id}"), format!("The subnet {id}")),
        Healable::Volume { id } => named(client, format!("volume {id}"), format!("The volume {id}")),
        Healable::Capacity { zone, group: None } => {
            named(client, format!("capacity {zone}"), format!("Capacity in {zone}"))
        }
        Healable::Capacity { zone, group: Some(group) } => {
            named(client, format!("capacity {zone} --group {group}"), format!("Capacity of {group} in {zone}"))
        }
        Healable::Api { service } => named(client, format!("api {service}"), format!("The API of {service}")),
        Healable::Targets { name } => named(client, format!("targets {name}"), format!("The target group {name}")),
        Healable::Scenario { zone } => named(client, scenarios::mark(zone), format!("The scenario in {zone}")),
    };
    let Some(id) = running(&client, &mark).await? else {
        output::line(format_args!("{broken}; nothing to heal."));
        for mark in experiments::marks(&client).await? {
            output::line(format_args!("`standfast heal {}` would heal something.", words_of(&mark)));
        }
        return Ok(ExitCode::SUCCESS);
    };
    experiments::stop(&client, &id).await?;
    output::line(format_args!("{whole}"));
    Ok(ExitCode::SUCCESS)
}

/// What comes after `heal`: the marks of zones and links are their names.
fn words_of(mark: &str) -> String {
    let is_zone = |word: &str| Zone::named(word).is_some();
    match mark.split(' ').collect::<Vec<_>>()[..] {
        [zone] if is_zone(zone) => format!("zone {zone}"),
        [one, other] if is_zone(one) && is_zone(other) => format!("link {one} {other}"),
        _ => mark.to_owned(),
    }
}

fn named(client: &ApiClient, mark: String, what: String) -> (ApiClient, String, String, String) {
    (client.clone(), mark, format!("{what} is whole"), format!("{what} is whole again."))
}

/// Stops all experiments of the region.
async fn heal_all(client: &ApiClient) -> Result<ExitCode> {
    let all = experiments::active(client).await?;
    for id in &all {
        experiments::stop(client, id).await?;
    }
    match (all.len(), client.region()) {
        (0, region) => output::line(format_args!("No experiment runs in {region}; nothing to heal.")),
        (1, region) => output::line(format_args!("Stopped 1 experiment in {region}.")),
        (many, region) => output::line(format_args!("Stopped {many} experiments in {region}.")),
    }
    Ok(ExitCode::SUCCESS)
}

pub fn region_of(zone: &str) -> Result<String> {
    match Zone::named(zone) {
        Some(zone) => Ok(zone.region().to_owned()),
        None => {
            let region = Region::named(zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase()));
            let zones = region.unwrap_or_else(|| Region::named("eu-west-1").expect("a region of AWS's")).zones();
            let zones = zones.map(|zone| zone.name).collect::<Vec<_>>().join(", ");
            bail!("'{zone}' is not an availability zone; such are {zones}")
        }
    }
}
