//! Whether what an experiment is to break can be broken here: asked before anything breaks.

use standfast_api::ec2;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::actions::{self, id_of};
use super::catalogue::{DOCUMENT, Effect, OPERATIONS, SCOPE, SERVICE, ZONES};
use super::model::{Action, Experiment, Template};
use super::{packets, parse, targets};

/// The service that is not to be broken: nobody could stop the experiment.
const OWN_SERVICE: &str = "fis";

/// What can be said without knowing the targets: of the hosts, and of the parameters. `wanted` are the actions that run.
pub fn feasible(cx: &Cx, template: &Template, wanted: impl Fn(&Action) -> bool) -> Result<()> {
    for (name, action) in template.actions.iter().filter(|(_, action)| wanted(action)) {
        let named = |error: Error| Error { message: format!("The action '{name}': {}", error.message), ..error };
        action_is_feasible(cx, action).map_err(named)?;
    }
    Ok(())
}

fn action_is_feasible(cx: &Cx, action: &Action) -> Result<()> {
    let text = |name: &str| action.parameters.get(name).map_or("", String::as_str);
    match actions::effect(action)? {
        Effect::ImpairLink => packets::between_zones(cx, action).map(drop),
        Effect::ImpairPackets => packets::of_instances(cx, action).map(drop),
        Effect::SendCommand => packets::document_is_feasible(cx, actions::document(text(DOCUMENT))?),
        Effect::CutOffSubnets => match text(SCOPE) {
            scope @ ("s3" | "dynamodb") => {
                Err(parse::invalid(format!("The scope '{scope}' is not available: Standfast has no such service yet.")))
            }
            _ => packets::needs_networks(cx, "cut subnets off"),
        },
        Effect::PauseVolumes if !cx.host().abilities().volumes => {
            Err(packets::cannot(cx, "pause volumes", "instances have no volumes of their own"))
        }
        Effect::Api(_) => operations_exist(cx, action.targets.is_empty(), text(SERVICE), text(OPERATIONS)),
        Effect::NoCapacity(_) => zones(cx, text(ZONES)).map(drop),
        _ => Ok(()),
    }
}

/// The names of the zones in a list of names and ids.
pub fn zones(cx: &Cx, list: &str) -> Result<std::collections::BTreeSet<String>> {
    let zone = |text: &str| {
        let unknown = || parse::invalid(format!("'{text}' is not an availability zone of {}.", cx.region()));
        targets::zone_named(cx, text).ok_or_else(unknown)
    };
    list.split(',').map(str::trim).map(zone).collect()
}

fn operations_exist(cx: &Cx, everybody: bool, service: &str, operations: &str) -> Result<()> {
    let known = cx.cloud().operations_of(service);
    if known.is_empty() {
        let all = cx.cloud().services().join(", ");
        return Err(parse::invalid(format!("The service '{service}' is none of this cloud's, which are {all}.")));
    }
    if everybody && service == OWN_SERVICE {
        return Err(parse::invalid("The service 'fis' is not to be broken: nobody could stop the experiment."));
    }
    match operations.split(',').map(str::trim).find(|one| !one.is_empty() && !known.contains(one)) {
        Some(unknown) => {
            let meant = nearest(unknown, &known).map(|name| format!(" Did you mean {name}?")).unwrap_or_default();
            Err(parse::invalid(format!("The service '{service}' has no operation '{unknown}'.{meant}")))
        }
        None => Ok(()),
    }
}

/// The name that begins most like a word, whatever its case.
fn nearest<'a>(word: &str, all: &[&'a str]) -> Option<&'a str> {
    const COMMON_MIN: usize = 4;
    let common = |name: &str| word.bytes().zip(name.bytes()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let best = all.iter().max_by_key(|name| (common(name), std::cmp::Reverse(name.len())))?;
    (common(best) >= COMMON_MIN).then_some(*best)
}

/// What can be said of the targets once they are known.
pub async fn targets(cx: &Cx, experiment: &Experiment) -> Result<()> {
    let acts = |action: &Action| actions::targets(experiment, action).is_none_or(|arns| !arns.is_empty());
    feasible(cx, &experiment.template, acts)?;
    for action in experiment.template.actions.values() {
        let arns = actions::targets(experiment, action).unwrap_or_default();
        if actions::effect(action)? == Effect::PauseVolumes && !arns.is_empty() {
            volumes_can_be_paused(cx, &arns).await?;
        }
    }
    Ok(())
}

/// Root volumes are file trees, not devices: their I/O cannot be held up.
async fn volumes_can_be_paused(cx: &Cx, arns: &[String]) -> Result<()> {
    let ids: Vec<String> = arns.iter().map(|arn| id_of(arn).to_owned()).collect();
    let input = ec2::DescribeVolumesInput { volume_ids: Some(ids), ..Default::default() };
    let volumes = cx.call(ec2::DescribeVolumes, input).await?.volumes.unwrap_or_default();
    let holders = volumes.iter().flat_map(|one| one.attachments.iter().flatten());
    let mut holders: Vec<String> = holders.filter_map(|one| one.instance_id.clone()).collect();
    holders.sort();
    holders.dedup();
    if holders.is_empty() {
        return Ok(());
    }
    let input = ec2::DescribeInstancesInput { instance_ids: Some(holders), ..Default::default() };
    let answer = cx.call(ec2::DescribeInstances, input).await?;
    let instances = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let roots: Vec<_> = instances.filter_map(|one| one.root_device_name).collect();
    for volume in volumes {
        let mut devices = volume.attachments.iter().flatten().filter_map(|one| one.device.as_ref());
        if devices.any(|device| roots.contains(device)) {
            let id = volume.volume_id.unwrap_or_default();
            return Err(parse::invalid(format!(
                "The volume {id} is the root volume of an instance: those are file trees here, and cannot be paused."
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        let all = ["DescribeVpcAttribute", "DescribeVpcs", "RunInstances"];
        for (word, wanted) in [
            ("DescribeVpc", Some("DescribeVpcs")),
            ("describevpcs", Some("DescribeVpcs")),
            ("RunInstance", Some("RunInstances")),
            ("Fly", None),
        ] {
            assert_eq!(nearest(word, &all), wanted, "{word}");
        }
    }
}
