//! Faults made concrete: which zone, which instances, by a seed; and the experiment templates that make them.
//!
//! The game day chooses by itself and gives experiments ARNs, so the same seed in the same stack is the same choice,
//! whatever ids the instances got this time: candidates are ordered by zone and age.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use standfast_core::{Result, Rng};

use crate::World;
use crate::answers::{instances, items, list, tag, text};
use crate::site::Site;
use crate::spec::{Fault, Pick, Targets};

/// The value of a zone's parameter that means: one of those that the stack uses, by chance.
pub const ANY: &str = "any";
/// Parameters that name a zone end so.
const ZONE_PARAMETER: &str = "vailabilityZoneIdentifier";
/// Parameters by which an action is told how long to last.
const LASTING: [&str; 2] = ["duration", "startInstancesAfterDuration"];
/// Resource types of which single instances are chosen here.
const INSTANCES: [&str; 2] = ["aws:ec2:instance", SPOT];
const SPOT: &str = "aws:ec2:spot-instance";

/// An action, as the cloud describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub id: String,
    /// Whether each is required.
    pub parameters: BTreeMap<String, bool>,
    /// Name and resource type of what it acts on.
    pub target: Option<(String, String)>,
}

impl Action {
    /// Asks the cloud; the error is the caller's to tell.
    pub async fn read(world: &dyn World, id: &str) -> Result<Self> {
        let answer = world.call("fis", "GetAction", json!({"id": id})).await?;
        let action = &answer["action"];
        let members = |name: &str| action[name].as_object().cloned().unwrap_or_default();
        let required = |one: &Json| one["required"].as_bool().unwrap_or_default();
        Ok(Self {
            id: id.into(),
            parameters: members("parameters").iter().map(|(name, one)| (name.clone(), required(one))).collect(),
            target: members("targets")
                .iter()
                .next()
                .map(|(name, one)| (name.clone(), text(one, "resourceType").into())),
        })
    }
}

/// What a fault will do, as it goes to an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Aimed {
    pub parameters: BTreeMap<String, String>,
    /// What is hit, by ARN; empty for actions that name what they hit in their parameters.
    pub arns: Vec<String>,
    /// Instances that the fault takes away or harms.
    pub instances: BTreeSet<String>,
    pub zone: Option<String>,
}

/// An instance that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    zone: String,
    launched: String,
    id: String,
}

/// Decides what a fault hits now. An error says why nothing can be hit.
pub async fn aim(
    world: &dyn World,
    site: &Site,
    fault: &Fault,
    action: &Action,
    rng: &Rng,
) -> Result<Result<Aimed, String>> {
    let alive = alive(world, site).await?;
    let mut parameters = match parameters(fault, action) {
        Ok(parameters) => parameters,
        Err(why) => return Ok(Err(why)),
    };
    let mut zone = None;
    for (name, value) in &mut parameters {
        if name.ends_with(ZONE_PARAMETER) {
            if value == ANY {
                let zones: BTreeSet<&str> = alive.iter().map(|(_, one)| one.zone.as_str()).collect();
                let zones: Vec<&str> = zones.into_iter().collect();
                match zones.get(rng.below(zones.len())) {
                    Some(zone) => *value = (*zone).to_owned(),
                    None => return Ok(Err("the stack has instances in no zone".into())),
                }
            }
            zone.get_or_insert(value.clone());
        }
    }
    let hit = match (&action.target, &fault.targets) {
        (None, Some(_)) => Err(format!("{} takes no targets; its parameters say what it hits", action.id)),
        (Some((_, kind)), None) => Err(format!("{} needs targets: {kind}", action.id)),
        (None, None) => {
            let there = alive.iter().filter(|(_, one)| Some(&one.zone) == zone.as_ref());
            Ok((Vec::new(), there.map(|(_, one)| one.id.clone()).collect()))
        }
        (Some((_, kind)), Some(targets)) if INSTANCES.contains(&kind.as_str()) => {
            choose(site, targets, &of_kind(&alive, kind), rng).map(|ids| {
                let arn = |id: &String| format!("arn:aws:ec2:{}:{}:instance/{id}", region(&alive, id), site.account);
                (ids.iter().map(arn).collect(), ids.into_iter().collect())
            })
        }
        (Some((_, kind)), Some(targets)) => {
            let arns = named(world, site, targets, kind).await?;
            arns.map(|arns| {
                let struck = struck(&arns, kind, &alive);
                (arns, struck)
            })
        }
    };
    Ok(hit.map(|(arns, instances)| Aimed { parameters, arns, instances, zone }))
}

/// The parameters of a fault's action, with how long it lasts.
fn parameters(fault: &Fault, action: &Action) -> Result<BTreeMap<String, String>, String> {
    let mut parameters = fault.parameters.clone();
    if let Some(unknown) = parameters.keys().find(|name| !action.parameters.contains_key(*name)) {
        let known: Vec<&str> = action.parameters.keys().map(String::as_str).collect();
        return Err(format!("{} has no parameter '{unknown}' (it has: {})", action.id, known.join(", ")));
    }
    if let Some(lasts) = fault.lasts {
        let Some(name) = LASTING.iter().find(|name| action.parameters.contains_key(**name)) else {
            return Err(format!("{} is over at once: it takes no 'for'", action.id));
        };
        parameters.insert((*name).to_owned(), format!("PT{}S", lasts.as_secs().max(1)));
    }
    let missing = action.parameters.iter().find(|(name, required)| **required && !parameters.contains_key(*name));
    match missing {
        Some((name, _)) if LASTING.contains(&name.as_str()) => Err(format!("{} needs 'for'", action.id)),
        Some((name, _)) => Err(format!("{} needs the parameter '{name}'", action.id)),
        None => Ok(parameters),
    }
}

/// The stack's instances that are not on their way out, those of its groups included, in order.
async fn alive(world: &dyn World, site: &Site) -> Result<Vec<(Json, Candidate)>> {
    let mut alive: Vec<(Json, Candidate)> = instances(world)
        .await?
        .into_iter()
        .filter(|instance| matches!(text(&instance["State"], "Name"), "running" | "pending" | "stopped"))
        .filter(|instance| belongs(site, instance))
        .map(|instance| {
            let candidate = Candidate {
                zone: text(&instance["Placement"], "AvailabilityZone").into(),
                launched: text(&instance, "LaunchTime").into(),
                id: text(&instance, "InstanceId").into(),
            };
            (instance, candidate)
        })
        .collect();
    alive.sort_by(|(_, one), (_, other)| one.cmp(other));
    Ok(alive)
}

/// Whether an instance is the stack's own or one of its groups'.
pub fn belongs(site: &Site, instance: &Json) -> bool {
    let id = text(instance, "InstanceId");
    let group = tag(instance, "aws:autoscaling:groupName");
    site.resources.iter().any(|one| one.physical == id || (!group.is_empty() && one.physical == group))
}

/// Those that an action can hit: a notice is for Spot Instances alone.
fn of_kind(alive: &[(Json, Candidate)], kind: &str) -> Vec<(Json, Candidate)> {
    let fits = |instance: &Json| kind != SPOT || text(instance, "InstanceLifecycle") == "spot";
    alive.iter().filter(|(instance, _)| fits(instance)).cloned().collect()
}

fn region(alive: &[(Json, Candidate)], id: &str) -> String {
    let zone = alive.iter().find(|(_, one)| one.id == id).map_or("", |(_, one)| one.zone.as_str());
    zone.trim_end_matches(|c: char| c.is_ascii_lowercase()).to_owned()
}

fn choose(site: &Site, targets: &Targets, alive: &[(Json, Candidate)], rng: &Rng) -> Result<Vec<String>, String> {
    let group =
        targets.group.as_ref().map(|name| site.resource(name).map_or(name.as_str(), |one| one.physical.as_str()));
    let resources: Vec<&str> =
        targets.resources.iter().map(|name| site.resource(name).map_or(name.as_str(), |one| &one.physical)).collect();
    let fits = |instance: &Json, one: &Candidate| {
        let is_named = targets.arns.iter().any(|arn| arn.rsplit('/').next() == Some(&one.id));
        let by_way = match group {
            Some(group) => tag(instance, "aws:autoscaling:groupName") == group,
            None if !targets.tags.is_empty() => targets.tags.iter().all(|(key, value)| tag(instance, key) == value),
            None => is_named || resources.contains(&one.id.as_str()),
        };
        by_way && targets.zone.as_ref().is_none_or(|zone| *zone == one.zone)
    };
    let mut left: Vec<String> =
        alive.iter().filter(|(instance, one)| fits(instance, one)).map(|(_, one)| one.id.clone()).collect();
    if left.is_empty() {
        return Err(format!("the targets resolve to nothing: {}", said(targets)));
    }
    let wanted = match targets.pick {
        Pick::All => return Ok(left),
        Pick::Count(count) if count > left.len() => {
            return Err(format!("{count} instances are to be hit, and there are {}: {}", left.len(), said(targets)));
        }
        Pick::Count(count) => count,
        Pick::Percent(percent) => (left.len() * percent / 100).max(1),
    };
    Ok((0..wanted).map(|_| left.remove(rng.below(left.len()))).collect())
}

fn said(targets: &Targets) -> String {
    let way = match targets {
        Targets { group: Some(group), .. } => format!("instances of the group {group}"),
        Targets { tags, .. } if !tags.is_empty() => {
            let tags: Vec<String> = tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("instances with the tags {}", tags.join(", "))
        }
        Targets { resources, arns, .. } => resources.iter().chain(arns).cloned().collect::<Vec<_>>().join(", "),
    };
    targets.zone.as_ref().map_or(way.clone(), |zone| format!("{way} in {zone}"))
}

/// ARNs of resources other than instances, which have to be named.
async fn named(world: &dyn World, site: &Site, targets: &Targets, kind: &str) -> Result<Result<Vec<String>, String>> {
    let mut arns = targets.arns.clone();
    for name in targets.resources.iter().chain(&targets.group) {
        let Some(resource) = site.resource(name) else {
            return Ok(Err(format!("the stack has no resource '{name}'")));
        };
        match arn(world, site, &resource.physical, kind).await? {
            Some(arn) => arns.push(arn),
            None => return Ok(Err(format!("{name} ({}) is no target of type {kind}", resource.kind))),
        }
    }
    Ok(if arns.is_empty() { Err(format!("the targets resolve to nothing: {}", said(targets))) } else { Ok(arns) })
}

async fn arn(world: &dyn World, site: &Site, physical: &str, kind: &str) -> Result<Option<String>> {
    if physical.starts_with("arn:") {
        return Ok(Some(physical.to_owned()));
    }
    let zones = world.call("ec2", "DescribeAvailabilityZones", json!({})).await?;
    let region = items(&zones, "AvailabilityZones").first().map_or("", |zone| text(zone, "RegionName")).to_owned();
    let ec2 = |what: &str| Some(format!("arn:aws:ec2:{region}:{}:{what}/{physical}", site.account));
    Ok(match kind {
        "aws:ec2:subnet" => ec2("subnet"),
        "aws:ec2:ebs-volume" => ec2("volume"),
        "aws:ec2:autoscaling-group" => {
            let input = json!({"AutoScalingGroupNames": [physical]});
            let groups = list(world, "autoscaling", "DescribeAutoScalingGroups", input, "AutoScalingGroups").await?;
            groups.first().map(|group| text(group, "AutoScalingGroupARN").to_owned())
        }
        "aws:iam:role" => Some(format!("arn:aws:iam::{}:role/{physical}", site.account)),
        _ => None,
    })
}

/// Instances in subnets that are hit.
fn struck(arns: &[String], kind: &str, alive: &[(Json, Candidate)]) -> BTreeSet<String> {
    let hit = |subnet: &str| arns.iter().any(|arn| arn.rsplit('/').next() == Some(subnet));
    let there = alive.iter().filter(|(instance, _)| kind == "aws:ec2:subnet" && hit(text(instance, "SubnetId")));
    there.map(|(_, one)| one.id.clone()).collect()
}

/// The input of CreateExperimentTemplate.
pub fn template(site: &Site, fault: &Fault, action: &Action, aimed: &Aimed, token: &str, stop: &[String]) -> Json {
    let mut targets = json!({});
    let mut used = json!({});
    if let Some((name, kind)) = &action.target {
        targets["hit"] = json!({"resourceType": kind, "resourceArns": aimed.arns, "selectionMode": "ALL"});
        used[name] = "hit".into();
    }
    let conditions: Vec<Json> = match stop {
        [] => vec![json!({"source": "none"})],
        alarms => alarms.iter().map(|arn| json!({"source": "aws:cloudwatch:alarm", "value": arn})).collect(),
    };
    json!({
        "clientToken": token, "description": fault.name, "stopConditions": conditions,
        "roleArn": format!("arn:aws:iam::{}:role/standfast-game-day", site.account),
        "actions": {"action": {"actionId": action.id, "parameters": aimed.parameters, "targets": used}},
        "targets": targets,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn action(parameters: &[(&str, bool)]) -> Action {
        let parameters = parameters.iter().map(|(name, required)| ((*name).to_owned(), *required)).collect();
        Action { id: "x:y".into(), parameters, target: None }
    }

    fn fault(lasts: Option<u64>, parameters: &[&str]) -> Fault {
        Fault {
            name: "f".into(),
            at: Duration::ZERO,
            action: "x:y".into(),
            parameters: parameters.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect(),
            targets: None,
            lasts: lasts.map(Duration::from_secs),
            line: 1,
        }
    }

    #[test]
    fn parameters_are_those_of_the_action() {
        let lasting = action(&[("duration", true), ("lossPercent", false)]);
        let given = parameters(&fault(Some(90), &["lossPercent"]), &lasting).expect("valid");
        assert_eq!(given["duration"], "PT90S");
        for (fault, action, said) in [
            (fault(None, &[]), &lasting, "needs 'for'"),
            (fault(Some(5), &["delay"]), &lasting, "no parameter 'delay' (it has: duration, lossPercent)"),
            (fault(Some(5), &[]), &action(&[]), "over at once"),
            (fault(None, &[]), &action(&[("zone", true)]), "needs the parameter 'zone'"),
        ] {
            let why = parameters(&fault, action).expect_err(said);
            assert!(why.contains(said), "{why}");
        }
    }

    fn candidates() -> Vec<(Json, Candidate)> {
        let one = |n: usize| {
            let zone = ["eu-west-1a", "eu-west-1b"][n % 2];
            let candidate = Candidate { zone: zone.into(), launched: n.to_string(), id: format!("i-{n}") };
            (json!({"Tags": [{"Key": "aws:autoscaling:groupName", "Value": "g"}]}), candidate)
        };
        (0..6).map(one).collect()
    }

    #[test]
    fn a_notice_goes_to_spot_instances_alone() {
        let mut alive = candidates();
        alive[2].0["InstanceLifecycle"] = "spot".into();
        let ids = |kind| of_kind(&alive, kind).into_iter().map(|(_, one)| one.id).collect::<Vec<_>>();
        assert_eq!(ids("aws:ec2:spot-instance"), ["i-2"]);
        assert_eq!(ids("aws:ec2:instance").len(), 6);
    }

    #[test]
    fn a_seed_chooses_the_same_every_time() {
        let (site, alive) = (Site::default(), candidates());
        let targets = Targets { group: Some("g".into()), pick: Pick::Count(2), ..Targets::default() };
        let chosen = |seed| choose(&site, &targets, &alive, &Rng::seeded(seed)).expect("there are six");
        assert_eq!(chosen(3), chosen(3));
        assert!((0..20).any(|seed| chosen(seed) != chosen(3)), "and others choose others");
    }

    #[test]
    fn what_resolves_to_nothing_is_refused() {
        let (site, alive, rng) = (Site::default(), candidates(), Rng::seeded(1));
        for (targets, said) in [
            (Targets { group: Some("h".into()), ..Targets::default() }, "nothing: instances of the group h"),
            (
                Targets { group: Some("g".into()), zone: Some("eu-west-1c".into()), ..Targets::default() },
                "in eu-west-1c",
            ),
            (Targets { group: Some("g".into()), pick: Pick::Count(7), ..Targets::default() }, "there are 6"),
            (Targets { tags: vec![("a".into(), "b".into())], ..Targets::default() }, "the tags a=b"),
        ] {
            let why = choose(&site, &targets, &alive, &rng).expect_err(said);
            assert!(why.contains(said), "{why}");
        }
        let half = Targets { group: Some("g".into()), pick: Pick::Percent(50), ..Targets::default() };
        assert_eq!(choose(&site, &half, &alive, &rng).map(|ids| ids.len()), Ok(3));
    }
}
