//! What actions do to the world, and how it is undone.

use std::time::Duration;

use standfast_api::ec2;
use standfast_core::network::Impairment;
use standfast_core::place::Zone;
use standfast_core::{Error, Id, Result};
use standfast_kernel::{Cx, zones};

use super::catalogue::{self, BEFORE_INTERRUPTION, DELAY, DURATION, Effect, LOSS, OTHER_ZONE, START_AFTER, ZONE};
use super::model::{Action, Experiment, Progress, Selection, Status, Target};
use super::templates::duration;

/// The longest delay of a packet.
const DELAY_MS_MAX: u32 = 60_000;

/// How long what it breaks stays broken.
pub enum Lasts {
    /// Over at once.
    Instant,
    For(Duration),
    UntilStopped,
}

/// The instances that a target means, in a stable order.
pub async fn resolve(cx: &Cx, target: &Target) -> Result<Vec<String>> {
    let wanted: Vec<&str> =
        target.resource_arns.iter().filter_map(|arn| arn.rsplit_once('/')).map(|(_, id)| id).collect();
    let tags = target.resource_tags.iter().map(|(key, value)| (format!("tag:{key}"), vec![value.clone()]));
    let filters = (target.filters.iter()).map(|(path, values)| (filter_name(path).to_owned(), values.clone()));
    let spot = target.resource_type == catalogue::SPOT_INSTANCES.resource_type;
    let spot = spot.then(|| ("instance-lifecycle".to_owned(), vec!["spot".to_owned()]));
    let filters: Vec<_> = tags
        .chain(filters)
        .chain(spot)
        .map(|(name, values)| ec2::Filter { name: Some(name), values: Some(values) })
        .collect();
    let input = ec2::DescribeInstancesInput {
        instance_ids: (!wanted.is_empty()).then(|| wanted.iter().map(|id| (*id).to_owned()).collect()),
        filters: (!filters.is_empty()).then_some(filters),
        ..Default::default()
    };
    let answer = cx.call(ec2::DescribeInstances, input).await?;
    let instances = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap_or_default());
    let alive = instances.filter(|instance| {
        let state = instance.state.as_ref().and_then(|state| state.name.as_deref());
        !matches!(state, Some("terminated" | "shutting-down"))
    });
    let mut ids: Vec<String> = alive.filter_map(|instance| instance.instance_id).collect();
    ids.sort();
    let count = match target.selection {
        Selection::All => return Ok(ids),
        Selection::Count(count) => count,
        Selection::Percent(percent) => (ids.len() * percent / 100).max(1),
    };
    let mut chosen = Vec::new();
    while chosen.len() < count && !ids.is_empty() {
        chosen.push(ids.swap_remove(cx.rng().below(ids.len())));
    }
    chosen.sort();
    Ok(chosen)
}

fn filter_name(path: &str) -> &str {
    match path {
        "Placement.AvailabilityZone" => "availability-zone",
        "State.Name" => "instance-state-name",
        "SubnetId" => "subnet-id",
        "VpcId" => "vpc-id",
        other => other,
    }
}

fn instances(experiment: &Experiment, action: &Action) -> Vec<String> {
    let target = catalogue::action(&action.action_id).and_then(|kind| action.targets.get(kind.target?.name));
    target.and_then(|name| experiment.resolved.get(name)).cloned().unwrap_or_default()
}

fn effect(action: &Action) -> Result<Effect> {
    catalogue::action(&action.action_id)
        .map(|kind| kind.effect)
        .ok_or_else(|| Error::internal(format!("the stored action {} is unknown", action.action_id)))
}

/// The reserved tag by which ec2 learns that the hardware below an instance has failed.
const IMPAIRED: &str = "aws:standfast:impaired";

/// The reserved tag by which ec2 learns when a Spot Instance is to be interrupted.
const INTERRUPTION: &str = "aws:standfast:spot-interruption";

/// Under which key an experiment's action impairs a link.
fn link_key(experiment: &str, action: &str) -> String {
    format!("{experiment}/{action}")
}

/// What the action does to a link; an error where the hosts cannot do it, before anything breaks.
fn impairment(cx: &Cx, action: &Action) -> Result<Impairment> {
    let text = |name: &str| action.parameters.get(name).map(String::as_str);
    let number = |name: &str, max: u32| match text(name).map(|value| value.parse::<u32>()) {
        None => Ok(0),
        Some(Ok(value)) if value <= max => Ok(value),
        Some(_) => Err(Error::client("ValidationException", format!("{name} must be a number from 0 to {max}."))),
    };
    let zone = |name: &str| {
        let zone = text(name).unwrap_or_default();
        match Zone::named(zone) {
            Some(_) => Ok(zone.to_owned()),
            None => Err(Error::client("ValidationException", format!("{name} '{zone}' is not an availability zone."))),
        }
    };
    let (loss, delay_ms) = (number(LOSS, 100)?, number(DELAY, DELAY_MS_MAX)?);
    let able = cx.host().abilities();
    let cannot = |what: &str, why: &str| {
        let driver = cx.host().name();
        let message = format!("The {driver} driver cannot {what} packets here: {why}. `standfast doctor` says more.");
        Err(Error::client("ValidationException", message))
    };
    match (loss, delay_ms) {
        (0, 0) => Err(Error::client("ValidationException", format!("One of {LOSS} and {DELAY} must be over 0."))),
        (1.., _) if !able.loss => cannot("lose", "instances have no networks of their own"),
        (_, 1..) if !able.networks => cannot("delay", "instances have no networks of their own"),
        (_, 1..) if !able.delay => cannot("delay", "the kernel has no TUN devices, or nftables without device hooks"),
        _ => Ok(Impairment { zones: (zone(ZONE)?, zone(OTHER_ZONE)?), loss_percent: loss as u8, delay_ms }),
    }
}

/// Breaks it. Doing it twice is the same as once.
pub async fn begin(cx: &Cx, id: &str, experiment: &Experiment, name: &str, action: &Action) -> Result<Lasts> {
    let ids = instances(experiment, action);
    let time = |name: &str| action.parameters.get(name).and_then(|text| duration(text));
    match effect(action)? {
        Effect::Wait => return Ok(time(DURATION).map_or(Lasts::Instant, Lasts::For)),
        Effect::ZonePower => {
            let zone = action.parameters.get(ZONE).ok_or_else(|| Error::internal("the stored action names no zone"))?;
            zones::set_power(cx, zone, false).await?;
            return Ok(time(DURATION).map_or(Lasts::UntilStopped, Lasts::For));
        }
        Effect::ImpairLink => {
            zones::impair(cx, &link_key(id, name), Some(impairment(cx, action)?)).await?;
            return Ok(time(DURATION).map_or(Lasts::UntilStopped, Lasts::For));
        }
        Effect::FailHardware => {
            let tag = ec2::Tag { key: Some(IMPAIRED.into()), value: Some("system".into()) };
            cx.call(ec2::CreateTags, ec2::CreateTagsInput { resources: ids, tags: vec![tag], dry_run: None }).await?;
        }
        Effect::InterruptSpotInstances => {
            let missing = || Error::internal("the stored action has no duration");
            let at = cx.now() + time(BEFORE_INTERRUPTION).ok_or_else(missing)?;
            let tag = ec2::Tag { key: Some(INTERRUPTION.into()), value: Some(at.iso8601()) };
            cx.call(ec2::CreateTags, ec2::CreateTagsInput { resources: ids, tags: vec![tag], dry_run: None }).await?;
        }
        Effect::KillInstances => {
            for id in &ids {
                cx.host().kill(&Id::from_text(id))?;
            }
        }
        Effect::TerminateInstances => {
            cx.call(ec2::TerminateInstances, ec2::TerminateInstancesInput { instance_ids: ids, ..Default::default() })
                .await?;
        }
        Effect::RebootInstances => {
            cx.call(ec2::RebootInstances, ec2::RebootInstancesInput { instance_ids: ids, ..Default::default() })
                .await?;
        }
        Effect::StopInstances => {
            cx.call(ec2::StopInstances, ec2::StopInstancesInput { instance_ids: ids, ..Default::default() }).await?;
            return Ok(time(START_AFTER).map_or(Lasts::Instant, Lasts::For));
        }
    }
    Ok(Lasts::Instant)
}

/// Undoes it. Doing it twice is the same as once.
pub async fn end(cx: &Cx, id: &str, experiment: &Experiment, name: &str, action: &Action) -> Result<()> {
    match effect(action)? {
        Effect::ZonePower => {
            let zone = action.parameters.get(ZONE).map(String::as_str).unwrap_or_default();
            if !held_by_another(cx, id, name, zone) {
                zones::set_power(cx, zone, true).await?;
            }
        }
        Effect::StopInstances => {
            let instance_ids = instances(experiment, action);
            cx.call(ec2::StartInstances, ec2::StartInstancesInput { instance_ids, ..Default::default() }).await?;
        }
        Effect::ImpairLink => zones::impair(cx, &link_key(id, name), None).await?,
        Effect::Wait
        | Effect::FailHardware
        | Effect::InterruptSpotInstances
        | Effect::KillInstances
        | Effect::TerminateInstances
        | Effect::RebootInstances => (),
    }
    Ok(())
}

/// Whether another running action keeps the zone dark.
fn held_by_another(cx: &Cx, id: &str, name: &str, zone: &str) -> bool {
    let all = cx.view(|v| v.all::<Experiment>());
    all.iter().any(|(_, other_id, other)| {
        matches!(other.status, Status::Running | Status::Stopping)
            && other.progress.iter().any(|(other_name, progress)| {
                matches!(progress, Progress::Running { .. })
                    && !(&**other_id == id && other_name == name)
                    && other.template.actions.get(other_name).is_some_and(|action| {
                        effect(action).is_ok_and(|effect| effect == Effect::ZonePower)
                            && action.parameters.get(ZONE).is_some_and(|other| other == zone)
                    })
            })
    })
}
