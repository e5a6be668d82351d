//! Where networks and zones are worse than they should be, as the running actions of experiments say.
//!
//! A page draws it; what an action does is the business of the fis service, and known here only by what its experiment tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use standfast_api::{ec2, fis};
use standfast_core::Result;
use standfast_kernel::Cx;

use crate::estate::Estate;

/// What the documents are called that harm the packets of instances.
const PACKET_DOCUMENTS: &str = "AWSFIS-Run-Network-";

/// What is harmed in a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Harm {
    /// By the two zones, in the order of their names.
    pub links: BTreeMap<(String, String), Vec<String>>,
    pub zones: BTreeMap<String, Vec<String>>,
    pub instances: BTreeMap<String, Vec<String>>,
}

/// What is needed beside experiments: whom their actions hit, and where those are.
struct Known<'a> {
    zones: Vec<&'a str>,
    /// Of instances and subnets.
    zone_of: BTreeMap<String, String>,
    /// By experiment and target.
    hit: BTreeMap<(String, String), Vec<String>>,
}

impl Harm {
    pub async fn read(cx: &Cx, estate: &Estate) -> Result<Self> {
        let going: Vec<&fis::Experiment> = estate.troubles.iter().filter(|one| actions(one).next().is_some()).collect();
        if going.is_empty() {
            return Ok(Self::default());
        }
        let machines = estate.machines.iter().map(|machine| (machine.id.clone(), machine.zone.clone()));
        let mut known = Known {
            zones: estate.zones.iter().map(|zone| zone.name.as_str()).collect(),
            zone_of: machines.collect(),
            hit: BTreeMap::new(),
        };
        let subnets = cx.call(ec2::DescribeSubnets, ec2::DescribeSubnetsInput::default()).await?.subnets;
        known.zone_of.extend(
            (subnets.into_iter().flatten()).filter_map(|subnet| Some((subnet.subnet_id?, subnet.availability_zone?))),
        );
        for experiment in &going {
            let id = experiment.id.clone().unwrap_or_default();
            let input = fis::ListExperimentResolvedTargetsInput { experiment_id: id.clone(), ..Default::default() };
            let resolved = cx.call(fis::ListExperimentResolvedTargets, input).await?.resolved_targets;
            for target in resolved.into_iter().flatten() {
                let arn = target.target_information.and_then(|mut told| told.remove("arn")).unwrap_or_default();
                let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
                let key = (id.clone(), target.target_name.unwrap_or_default());
                known.hit.entry(key).or_default().push(name);
            }
        }
        Ok(of(&going, &known))
    }

    fn link(&mut self, one: &str, other: &str, says: &str) {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        if one == other {
            return note(&mut self.zones, one, &format!("inside: {says}"));
        }
        let all = self.links.entry((first.to_owned(), second.to_owned())).or_default();
        if !all.iter().any(|said| said == says) {
            all.push(says.to_owned());
        }
    }
}

fn note(notes: &mut BTreeMap<String, Vec<String>>, about: &str, says: &str) {
    let all = notes.entry(about.to_owned()).or_default();
    if !all.iter().any(|said| said == says) {
        all.push(says.to_owned());
    }
}

/// The actions that are running.
fn actions(experiment: &fis::Experiment) -> impl Iterator<Item = &fis::ExperimentAction> {
    let runs = |action: &&fis::ExperimentAction| {
        action.state.as_ref().and_then(|state| state.status.as_deref()) == Some("running")
    };
    experiment.actions.iter().flat_map(BTreeMap::values).filter(runs)
}

fn of(experiments: &[&fis::Experiment], known: &Known) -> Harm {
    let mut harm = Harm::default();
    for experiment in experiments {
        for action in actions(experiment) {
            let hit: Vec<&String> = (action.targets.iter().flat_map(BTreeMap::values))
                .filter_map(|target| known.hit.get(&(experiment.id.clone()?, target.clone())))
                .flatten()
                .collect();
            add(&mut harm, action, &hit, known);
        }
    }
    harm
}

fn add(harm: &mut Harm, action: &fis::ExperimentAction, hit: &[&String], known: &Known) {
    let parameter = |name: &str| action.parameters.as_ref().and_then(|all| all.get(name)).map_or("", String::as_str);
    let percent = |name: &str| parameter(name).parse().unwrap_or(0_u64);
    match action.action_id.as_deref().unwrap_or_default() {
        "standfast:az:impair-link" => {
            let says = packets(percent("lossPercent"), percent("delayMilliseconds"), 0);
            harm.link(parameter("availabilityZoneIdentifier"), parameter("otherAvailabilityZoneIdentifier"), &says);
        }
        "standfast:ec2:impair-network" => {
            let says = packets(percent("lossPercent"), percent("delayMilliseconds"), percent("corruptPercent"));
            hit.iter().for_each(|id| note(&mut harm.instances, id, &says));
        }
        "aws:network:disrupt-connectivity" => {
            for subnet in hit {
                let Some(zone) = known.zone_of.get(*subnet) else { continue };
                cut_off(harm, zone, subnet, parameter("scope"), known);
            }
        }
        "aws:ssm:send-command" if parameter("documentArn").contains(PACKET_DOCUMENTS) => {
            commanded(harm, parameter("documentParameters"), hit, known);
        }
        "standfast:az:insufficient-capacity" => {
            let zones = parameter("availabilityZoneIdentifiers").split(',').map(str::trim);
            zones.for_each(|zone| note(&mut harm.zones, zone, "no capacity"));
        }
        _ => (),
    }
}

fn cut_off(harm: &mut Harm, zone: &str, subnet: &str, scope: &str, known: &Known) {
    note(&mut harm.zones, zone, &format!("{subnet} is cut off from {}", cut_from(scope)));
    if matches!(scope, "all" | "availability-zone") {
        let others = known.zones.iter().filter(|other| **other != zone);
        others.for_each(|other| harm.link(zone, other, &format!("{subnet} is cut off")));
    }
}

/// A document's harm to packets: of instances, or between their zones and those that it names as sources.
fn commanded(harm: &mut Harm, parameters: &str, hit: &[&String], known: &Known) {
    let told: Json = serde_json::from_str(parameters).unwrap_or_default();
    let text = |name: &str| match &told[name] {
        Json::Array(all) => all.first().and_then(Json::as_str).unwrap_or_default().to_owned(),
        one => one.as_str().unwrap_or_default().to_owned(),
    };
    let number = |name: &str| text(name).parse().unwrap_or(0);
    let says = match text("Port") {
        port if !port.is_empty() => format!("port {port} is blocked"),
        _ => packets(number("LossPercent"), number("DelayMilliseconds"), 0),
    };
    let sources = text("Sources");
    let sources: BTreeSet<&str> = sources.split(',').map(str::trim).filter(|one| known.zones.contains(one)).collect();
    for id in hit {
        note(&mut harm.instances, id, &says);
        if let Some(zone) = known.zone_of.get(*id) {
            sources.iter().filter(|other| *other != zone).for_each(|other| harm.link(zone, other, &says));
        }
    }
}

/// What a running action makes of the world, where that can be said shortly.
pub fn says(action: &fis::ExperimentAction) -> Option<String> {
    let parameter = |name: &str| action.parameters.as_ref().and_then(|all| all.get(name)).map_or("", String::as_str);
    let number = |name: &str, otherwise| parameter(name).parse().unwrap_or(otherwise);
    let zone = parameter("availabilityZoneIdentifier");
    Some(match action.action_id.as_deref()? {
        "standfast:az:power-interruption" => format!("{zone} has no power"),
        "standfast:az:impair-link" => {
            let harm = packets(number("lossPercent", 0), number("delayMilliseconds", 0), 0);
            format!("{zone} ↔ {}: {harm}", parameter("otherAvailabilityZoneIdentifier"))
        }
        "standfast:az:insufficient-capacity" => format!("No capacity in {}", parameter("availabilityZoneIdentifiers")),
        "standfast:ec2:impair-network" => {
            let harm = packets(number("lossPercent", 0), number("delayMilliseconds", 0), number("corruptPercent", 0));
            format!("Packets of instances: {harm}")
        }
        "standfast:elbv2:fail-targets" => "Targets fail their health checks".to_owned(),
        "aws:ebs:pause-volume-io" => "Volumes hang".to_owned(),
        "aws:network:disrupt-connectivity" => format!("Subnets are cut off from {}", cut_from(parameter("scope"))),
        "aws:ssm:send-command" => parameter("documentArn").rsplit('/').next()?.to_owned(),
        id if id.starts_with("standfast:api:") => {
            format!("{} % of the requests to {} fail", number("percentage", 100), parameter("service"))
        }
        _ => return None,
    })
}

fn cut_from(scope: &str) -> &'static str {
    match scope {
        "availability-zone" => "other zones",
        "all" => "everything",
        "vpc" => "outside their VPC",
        _ => "some addresses",
    }
}

/// What happens to packets, in words.
fn packets(lost_percent: u64, delay_ms: u64, damaged_percent: u64) -> String {
    let says = [
        (lost_percent == 100).then(|| "cut".to_owned()),
        (1..100).contains(&lost_percent).then(|| format!("{lost_percent} % lost")),
        (delay_ms > 0).then(|| format!("{delay_ms} ms late")),
        (damaged_percent > 0).then(|| format!("{damaged_percent} % damaged")),
    ];
    says.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(action_id: &str, status: &str, parameters: &[(&str, &str)]) -> fis::Experiment {
        let action = fis::ExperimentAction {
            action_id: Some(action_id.into()),
            parameters: Some(parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()),
            targets: Some(BTreeMap::from([("Any".to_owned(), "target".to_owned())])),
            state: Some(fis::ExperimentActionState { status: Some(status.into()), reason: None }),
            ..Default::default()
        };
        let actions = Some(BTreeMap::from([("action".to_owned(), action)]));
        fis::Experiment { id: Some("EXP".into()), actions, ..Default::default() }
    }

    fn harm(experiment: &fis::Experiment, hit: &[&str]) -> Harm {
        let zone_of = [("i-1", "a"), ("i-2", "b"), ("subnet-1", "b")];
        let known = Known {
            zones: vec!["a", "b", "c"],
            zone_of: zone_of.map(|(id, zone)| (id.to_owned(), zone.to_owned())).into(),
            hit: [(("EXP".to_owned(), "target".to_owned()), hit.iter().map(|id| (*id).to_owned()).collect())].into(),
        };
        of(&[experiment], &known)
    }

    fn links(harm: &Harm) -> Vec<(&str, &str, String)> {
        harm.links.iter().map(|((one, other), says)| (one.as_str(), other.as_str(), says.join("; "))).collect()
    }

    #[test]
    fn a_link_between_zones_is_lossy_late_or_cut() {
        let of = |parameters: &[(&str, &str)]| {
            let zones = [("availabilityZoneIdentifier", "b"), ("otherAvailabilityZoneIdentifier", "a")];
            let all: Vec<_> = zones.into_iter().chain(parameters.iter().copied()).collect();
            harm(&experiment("standfast:az:impair-link", "running", &all), &[])
        };
        let lossy = of(&[("lossPercent", "20"), ("delayMilliseconds", "100")]);
        assert_eq!(links(&lossy), [("a", "b", "20 % lost, 100 ms late".to_owned())]);
        assert_eq!(links(&of(&[("lossPercent", "100"), ("delayMilliseconds", "0")]))[0].2, "cut");
        let inside = experiment(
            "standfast:az:impair-link",
            "running",
            &[
                ("availabilityZoneIdentifier", "a"),
                ("otherAvailabilityZoneIdentifier", "a"),
                ("delayMilliseconds", "9"),
            ],
        );
        assert_eq!(harm(&inside, &[]).zones["a"], ["inside: 9 ms late"]);
        let over = experiment("standfast:az:impair-link", "stopped", &[("lossPercent", "20")]);
        assert_eq!(harm(&over, &[]), Harm::default());
    }

    #[test]
    fn a_subnet_is_cut_off_from_the_other_zones() {
        let of = |scope| {
            harm(&experiment("aws:network:disrupt-connectivity", "running", &[("scope", scope)]), &["subnet-1"])
        };
        let says = "subnet-1 is cut off".to_owned();
        assert_eq!(links(&of("all")), [("a", "b", says.clone()), ("b", "c", says)]);
        let outside = of("vpc");
        assert!(outside.links.is_empty());
        assert_eq!(outside.zones["b"], ["subnet-1 is cut off from outside their VPC"]);
    }

    #[test]
    fn documents_harm_instances_and_the_links_to_their_sources() {
        let document = ("documentArn", "arn:aws:ssm:eu-west-1::document/AWSFIS-Run-Network-Packet-Loss-Sources");
        let parameters = ("documentParameters", "{\"LossPercent\": \"15\", \"Sources\": \"b,c\"}");
        let harm = harm(&experiment("aws:ssm:send-command", "running", &[document, parameters]), &["i-1"]);
        assert_eq!(harm.instances["i-1"], ["15 % lost"]);
        assert_eq!(
            links(&harm).iter().map(|(one, other, _)| (*one, *other)).collect::<Vec<_>>(),
            [("a", "b"), ("a", "c")]
        );
    }
}
