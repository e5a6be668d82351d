//! What actions do to the world, and how it is undone.
//!
//! What lasts is a level: a record of the kernel that goes when the action ends. Invariant: beginning twice is the same as
//! once, and so is ending.

use std::collections::BTreeSet;
use std::time::Duration;

use standfast_api::ec2;
use standfast_core::{Cidr, Error, Id, Result};
use standfast_kernel::faults::{self, ApiFailure, ApiFault, Callers, CapacityFault, CutOff, Fault, Launches};
use standfast_kernel::{Cx, zones};

use super::catalogue::{
    self, ALARM_STATES, ALARMS, BEFORE_INTERRUPTION, DOCUMENT, DOCUMENT_PARAMETERS, DURATION, Effect, IF_TERMINATED,
    OPERATIONS, PERCENTAGE, PREFIX_LIST, SCOPE, SERVICE, START_AFTER, Whose, ZONE, ZONES,
};
use super::model::{Action, Experiment, Progress, Status};
use super::parse::{self, duration};
use super::{check, commands, packets, stop_conditions};

/// How long what it breaks stays broken.
pub enum Lasts {
    /// Over at once.
    Instant,
    For(Duration),
    UntilStopped,
}

/// The reserved tag by which ec2 learns that the hardware below an instance has failed.
const IMPAIRED: &str = "aws:standfast:impaired";

/// The reserved tag by which ec2 learns when a Spot Instance is to be interrupted.
const INTERRUPTION: &str = "aws:standfast:spot-interruption";

/// The ARNs that the action acts on; `None` when it needs no target.
pub fn targets(experiment: &Experiment, action: &Action) -> Option<Vec<String>> {
    let target = action.targets.get(catalogue::action(&action.action_id)?.target?.name)?;
    Some(experiment.resolved.get(target).cloned().unwrap_or_default())
}

pub fn effect(action: &Action) -> Result<Effect> {
    catalogue::action(&action.action_id)
        .map(|kind| kind.effect)
        .ok_or_else(|| Error::internal(format!("the stored action {} is unknown", action.action_id)))
}

/// The id or name at the end of an ARN.
pub fn id_of(arn: &str) -> &str {
    arn.rsplit(['/', ':']).next().unwrap_or(arn)
}

/// The name in a document's ARN: `arn:aws:ssm:eu-west-1::document/NAME`; a bare name is one too.
pub fn document(arn: &str) -> Result<&str> {
    match arn.rsplit_once(":document/") {
        Some((_, name)) if !name.is_empty() => Ok(name),
        None if !arn.contains(':') => Ok(arn),
        _ => Err(parse::invalid(format!("'{arn}' is not the ARN of a document."))),
    }
}

/// Under which key an experiment's action keeps what it broke.
fn key(experiment: &str, action: &str) -> String {
    format!("{experiment}/{action}")
}

/// Breaks it.
pub async fn begin(cx: &Cx, id: &str, experiment: &Experiment, name: &str, action: &Action) -> Result<Lasts> {
    let arns = targets(experiment, action).unwrap_or_default();
    let ids: Vec<String> = arns.iter().map(|arn| id_of(arn).to_owned()).collect();
    let text = |name: &str| action.parameters.get(name).map_or("", String::as_str);
    let time = |name: &str| duration(text(name));
    let effect = effect(action)?;
    match effect {
        Effect::Wait => return Ok(time(DURATION).map_or(Lasts::Instant, Lasts::For)),
        Effect::ZonePower => zones::set_power(cx, text(ZONE), false).await?,
        Effect::ImpairLink => {
            zones::impair(cx, &key(id, name), Some(packets::between_zones(cx, action)?)).await?;
        }
        Effect::SendCommand => {
            let parameters = action.parameters.get(DOCUMENT_PARAMETERS);
            commands::send(cx, &key(id, name), document(text(DOCUMENT))?, parameters, &arns).await?;
        }
        Effect::AssertAlarms => {
            let words = |name: &str| text(name).split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>();
            let states = words(ALARM_STATES);
            let states: Vec<&str> = states.iter().map(String::as_str).collect();
            stop_conditions::all_are(cx, &words(ALARMS), &states).await?;
            return Ok(Lasts::Instant);
        }
        Effect::FailHardware => {
            tag(cx, ids, IMPAIRED, "system".into()).await?;
            return Ok(Lasts::Instant);
        }
        Effect::InterruptSpotInstances => {
            let missing = || Error::internal("the stored action has no duration");
            let at = cx.now() + time(BEFORE_INTERRUPTION).ok_or_else(missing)?;
            tag(cx, ids, INTERRUPTION, at.iso8601()).await?;
            return Ok(Lasts::Instant);
        }
        Effect::KillInstances => {
            for id in &ids {
                cx.host().kill(&Id::from_text(id))?;
            }
            return Ok(Lasts::Instant);
        }
        Effect::TerminateInstances => {
            let input = ec2::TerminateInstancesInput { instance_ids: ids, ..Default::default() };
            cx.call(ec2::TerminateInstances, input).await?;
            return Ok(Lasts::Instant);
        }
        Effect::RebootInstances => {
            let input = ec2::RebootInstancesInput { instance_ids: ids, ..Default::default() };
            cx.call(ec2::RebootInstances, input).await?;
            return Ok(Lasts::Instant);
        }
        Effect::StopInstances => {
            cx.call(ec2::StopInstances, ec2::StopInstancesInput { instance_ids: ids, ..Default::default() }).await?;
            return Ok(time(START_AFTER).map_or(Lasts::Instant, Lasts::For));
        }
        Effect::ImpairPackets
        | Effect::CutOffSubnets
        | Effect::PauseVolumes
        | Effect::NoCapacity(_)
        | Effect::Api(_)
        | Effect::FailTargets => {
            let fault = fault(cx, effect, action, arns).await?;
            faults::set(cx, &key(id, name), Some(fault)).await?;
        }
    }
    Ok(time(DURATION).map_or(Lasts::UntilStopped, Lasts::For))
}

async fn tag(cx: &Cx, resources: Vec<String>, key: &str, value: String) -> Result<()> {
    let tag = ec2::Tag { key: Some(key.into()), value: Some(value) };
    cx.call(ec2::CreateTags, ec2::CreateTagsInput { resources, tags: vec![tag], dry_run: None }).await.map(drop)
}

/// What is wrong while the action lasts.
async fn fault(cx: &Cx, effect: Effect, action: &Action, arns: Vec<String>) -> Result<Fault> {
    let text = |name: &str| action.parameters.get(name).map_or("", String::as_str);
    let percentage = text(PERCENTAGE).parse().unwrap_or(100);
    let names: BTreeSet<String> = arns.iter().map(|arn| id_of(arn).to_owned()).collect();
    Ok(match effect {
        Effect::ImpairPackets => Fault::Packets { instances: names, faults: packets::of_instances(cx, action)? },
        Effect::CutOffSubnets => {
            let from = match text(SCOPE) {
                "availability-zone" => CutOff::OtherZones,
                "vpc" => CutOff::OutsideVpc,
                "prefix-list" => CutOff::Blocks(blocks(cx, text(PREFIX_LIST)).await?),
                _ => CutOff::Everything,
            };
            Fault::Subnets { ids: names, from }
        }
        Effect::PauseVolumes => Fault::Volumes(names),
        Effect::FailTargets => Fault::Targets(arns.into_iter().collect()),
        Effect::NoCapacity(whose) => Fault::Capacity(CapacityFault {
            launches: match whose {
                Whose::Roles => Launches::Roles(names),
                Whose::Groups => Launches::Groups(names),
                Whose::Everybody => Launches::All,
            },
            zones: check::zones(cx, text(ZONES))?,
            percentage,
        }),
        Effect::Api(failure) => Fault::Api(api_fault(action, failure, names, percentage)),
        _ => return Err(Error::internal(format!("the action {} leaves no fault", action.action_id))),
    })
}

fn api_fault(action: &Action, failure: ApiFailure, roles: BTreeSet<String>, percentage: u8) -> ApiFault {
    let text = |name: &str| action.parameters.get(name).map_or("", String::as_str);
    let operations = text(OPERATIONS).split(',').map(str::trim).filter(|one| !one.is_empty());
    ApiFault {
        service: text(SERVICE).to_owned(),
        operations: operations.map(str::to_owned).collect(),
        percentage,
        callers: if action.targets.is_empty() { Callers::All } else { Callers::Roles(roles) },
        failure,
    }
}

/// The blocks of a prefix list.
async fn blocks(cx: &Cx, list: &str) -> Result<Vec<Cidr>> {
    let input = ec2::GetManagedPrefixListEntriesInput { prefix_list_id: list.to_owned(), ..Default::default() };
    let entries = cx.call(ec2::GetManagedPrefixListEntries, input).await?.entries.unwrap_or_default();
    Ok(entries.into_iter().filter_map(|entry| entry.cidr?.parse().ok()).collect())
}

/// Running actions that have failed by what their commands did, with the reasons.
pub async fn failures(cx: &Cx, id: &str, experiment: &Experiment) -> Result<Vec<(String, Error)>> {
    let mut failed = Vec::new();
    for (name, action) in &experiment.template.actions {
        let running = matches!(experiment.progress.get(name), Some(Progress::Running { .. }));
        if !running || effect(action)? != Effect::SendCommand {
            continue;
        }
        if let Some(command) = commands::failed(cx, &key(id, name)).await? {
            failed.push((name.clone(), parse::invalid(format!("The command {command} has failed."))));
        }
    }
    Ok(failed)
}

/// Undoes it; `stopped` when it was not its time.
pub async fn end(cx: &Cx, id: &str, experiment: &Experiment, name: &str, action: &Action, stopped: bool) -> Result<()> {
    match effect(action)? {
        Effect::ZonePower => {
            let zone = action.parameters.get(ZONE).map(String::as_str).unwrap_or_default();
            if !held_by_another(cx, id, name, zone) {
                zones::set_power(cx, zone, true).await?;
            }
            Ok(())
        }
        Effect::StopInstances => {
            let arns = targets(experiment, action).unwrap_or_default();
            let lenient = action.parameters.get(IF_TERMINATED).is_some_and(|is| is == "true");
            start_again(cx, &arns, lenient).await
        }
        Effect::ImpairLink => zones::impair(cx, &key(id, name), None).await,
        Effect::SendCommand => commands::end(cx, &key(id, name), stopped).await,
        Effect::ImpairPackets
        | Effect::CutOffSubnets
        | Effect::PauseVolumes
        | Effect::NoCapacity(_)
        | Effect::Api(_)
        | Effect::FailTargets => faults::set(cx, &key(id, name), None).await,
        Effect::Wait
        | Effect::FailHardware
        | Effect::InterruptSpotInstances
        | Effect::KillInstances
        | Effect::TerminateInstances
        | Effect::AssertAlarms
        | Effect::RebootInstances => Ok(()),
    }
}

/// Undoes what an action did that could not begin as a whole: some of its commands may have been sent.
pub async fn undo_part(cx: &Cx, id: &str, name: &str, action: &Action) -> Result<()> {
    match effect(action)? {
        Effect::SendCommand => commands::end(cx, &key(id, name), true).await,
        _ => Ok(()),
    }
}

/// Starts what is stopped. Instances that were terminated meanwhile are a failure, unless `lenient`.
async fn start_again(cx: &Cx, arns: &[String], lenient: bool) -> Result<()> {
    let ids: BTreeSet<&str> = arns.iter().map(|arn| id_of(arn)).collect();
    let answer = cx.call(ec2::DescribeInstances, Default::default()).await?;
    let all = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let alive = all.filter(|one| {
        let state = one.state.as_ref().and_then(|state| state.name.as_deref());
        !matches!(state, Some("terminated" | "shutting-down"))
    });
    let there: Vec<String> = alive.filter_map(|one| one.instance_id).filter(|id| ids.contains(id.as_str())).collect();
    let missing = ids.len() - there.len();
    if !there.is_empty() {
        let input = ec2::StartInstancesInput { instance_ids: there, ..Default::default() };
        match cx.call(ec2::StartInstances, input).await {
            // One that is still on its way down can be started when it is there.
            Err(error) if error.is("IncorrectInstanceState") => return Err(Error::unavailable(error.message)),
            other => other.map(drop)?,
        }
    }
    match missing {
        0 => Ok(()),
        _ if lenient => Ok(()),
        _ => Err(parse::invalid(format!("{missing} of the target instances were terminated meanwhile."))),
    }
}

/// Whether another running action keeps the zone dark.
fn held_by_another(cx: &Cx, id: &str, name: &str, zone: &str) -> bool {
    let all = cx.view(|v| v.all::<Experiment>());
    all.iter().any(|(_, other_id, other)| {
        matches!(other.status, Status::Running | Status::Stopping)
            && other.progress.iter().any(|(other_name, progress)| {
                matches!(progress, Progress::Beginning { .. } | Progress::Running { .. })
                    && !(&**other_id == id && other_name == name)
                    && other.template.actions.get(other_name).is_some_and(|action| {
                        effect(action).is_ok_and(|effect| effect == Effect::ZonePower)
                            && action.parameters.get(ZONE).is_some_and(|other| other == zone)
                    })
            })
    })
}
