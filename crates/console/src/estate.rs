//! What exists in a region, as the API tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use standfast_api::{autoscaling, ec2, elbv2, fis};
use standfast_core::{Result, Timestamp};
use standfast_kernel::Cx;

/// How long an experiment that has ended is of interest: about as long as charts reach back.
const LATELY: Duration = Duration::from_secs(600);
/// Pages of a listing that are read at most.
const PAGES_MAX: usize = 100;

/// A region with what most pages need.
pub struct Estate {
    pub zones: Vec<Zone>,
    pub machines: Vec<Machine>,
    pub groups: Vec<autoscaling::AutoScalingGroup>,
    pub balancers: Vec<Balancer>,
    /// Experiments that have not ended.
    pub troubles: Vec<fis::Experiment>,
    /// Experiments that have, but lately.
    pub past: Vec<fis::Experiment>,
}

pub struct Zone {
    pub name: String,
    pub id: String,
    /// What the API says of it while it has no power.
    pub dark: Option<String>,
}

/// An instance. AWS's word is kept for the instances of groups.
#[derive(Clone, Default)]
pub struct Machine {
    pub id: String,
    pub name: Option<String>,
    pub zone: String,
    pub state: String,
    pub reason: Option<String>,
    pub kind: String,
    pub private_ip: Option<String>,
    pub public_ip: Option<String>,
    pub group: Option<String>,
    pub spot: bool,
    /// Whether its metrics come every minute, not every five.
    pub monitored: bool,
    pub launched: Option<Timestamp>,
}

pub struct Balancer {
    pub name: String,
    pub arn: String,
    /// As in metrics: `app/NAME/ID`.
    pub dimension: String,
    pub dns_name: String,
    pub scheme: String,
    pub state: String,
    pub zones: Vec<String>,
    /// Where its listeners listen, by zone and port.
    pub sockets: BTreeMap<(String, u16), String>,
    pub groups: Vec<TargetGroup>,
}

pub struct TargetGroup {
    pub shape: elbv2::TargetGroup,
    pub name: String,
    pub arn: String,
    pub dimension: String,
    pub targets: Vec<Target>,
}

#[derive(Clone)]
pub struct Target {
    pub id: String,
    pub port: i32,
    pub zone: String,
    pub state: String,
    pub reason: Option<String>,
    pub description: Option<String>,
}

impl Estate {
    pub async fn read(cx: &Cx) -> Result<Self> {
        let machines = machines(cx).await?;
        let zones_of: BTreeMap<String, String> = machines.iter().map(|m| (m.id.clone(), m.zone.clone())).collect();
        let (troubles, past) = troubles(cx).await?.into_iter().partition(is_going_on);
        Ok(Self {
            zones: zones(cx).await?,
            groups: groups(cx).await?,
            balancers: balancers(cx, &zones_of).await?,
            troubles,
            past,
            machines,
        })
    }

    pub fn is_dark(&self, zone: &str) -> bool {
        self.zones.iter().any(|one| one.name == zone && one.dark.is_some())
    }

    pub fn machine(&self, id: &str) -> Option<&Machine> {
        self.machines.iter().find(|machine| machine.id == id)
    }

    /// What load balancers think of an instance, with the names of the target groups.
    pub fn health(&self, id: &str) -> Vec<(&TargetGroup, &Target)> {
        let groups = self.balancers.iter().flat_map(|balancer| &balancer.groups);
        let mut all: Vec<_> = groups
            .flat_map(|group| group.targets.iter().map(move |target| (group, target)))
            .filter(|(_, target)| target.id == id)
            .collect();
        // A group that two load balancers use is read with each.
        all.dedup_by_key(|(group, _)| group.arn.clone());
        all
    }
}

impl Machine {
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }
}

impl Balancer {
    /// Whether it has a node or a target in a zone.
    pub fn reaches(&self, zone: &str) -> bool {
        let has_target = |group: &TargetGroup| group.targets.iter().any(|target| target.zone == zone);
        self.zones.iter().any(|own| own == zone) || self.groups.iter().any(has_target)
    }

    /// Whether its node in the zone can be reached.
    pub fn is_up(&self, zone: &str) -> bool {
        self.sockets.keys().any(|(one, _)| one == zone)
    }

    pub fn zones_up(&self) -> BTreeSet<&str> {
        self.sockets.keys().map(|(zone, _)| zone.as_str()).collect()
    }
}

impl TargetGroup {
    pub fn healthy(&self) -> usize {
        self.targets.iter().filter(|target| target.state == "healthy").count()
    }
}

async fn zones(cx: &Cx) -> Result<Vec<Zone>> {
    let answer = cx.call(ec2::DescribeAvailabilityZones, ec2::DescribeAvailabilityZonesInput::default()).await?;
    let zone = |zone: ec2::AvailabilityZone| Zone {
        name: zone.zone_name.unwrap_or_default(),
        id: zone.zone_id.unwrap_or_default(),
        // The API keeps calling a zone without power available, since plans for it stay valid.
        dark: zone.messages.unwrap_or_default().into_iter().next().map(|said| said.message.unwrap_or_default()),
    };
    Ok(answer.availability_zones.unwrap_or_default().into_iter().map(zone).collect())
}

/// All instances but those that are long gone.
pub async fn machines(cx: &Cx) -> Result<Vec<Machine>> {
    let (mut all, mut token) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let input = ec2::DescribeInstancesInput { next_token: token, ..Default::default() };
        let answer = cx.call(ec2::DescribeInstances, input).await?;
        let reservations = answer.reservations.unwrap_or_default().into_iter();
        all.extend(reservations.flat_map(|reservation| reservation.instances.unwrap_or_default()).map(machine));
        token = answer.next_token;
        if token.is_none() {
            break;
        }
    }
    all.sort_by(|a, b| (&a.zone, a.launched, &a.id).cmp(&(&b.zone, b.launched, &b.id)));
    Ok(all)
}

fn machine(shape: ec2::Instance) -> Machine {
    let mut tags: BTreeMap<String, String> = (shape.tags.unwrap_or_default().into_iter())
        .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
        .collect();
    Machine {
        id: shape.instance_id.unwrap_or_default(),
        name: tags.remove("Name"),
        zone: shape.placement.and_then(|placement| placement.availability_zone).unwrap_or_default(),
        state: shape.state.and_then(|state| state.name).unwrap_or_default(),
        reason: shape.state_reason.and_then(|reason| reason.message).filter(|message| !message.is_empty()),
        kind: shape.instance_type.unwrap_or_default(),
        private_ip: shape.private_ip_address,
        public_ip: shape.public_ip_address,
        group: tags.remove("aws:autoscaling:groupName"),
        spot: shape.instance_lifecycle.as_deref() == Some("spot"),
        monitored: shape.monitoring.and_then(|monitoring| monitoring.state).as_deref() == Some("enabled"),
        launched: shape.launch_time,
    }
}

pub async fn groups(cx: &Cx) -> Result<Vec<autoscaling::AutoScalingGroup>> {
    let (mut all, mut token) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let input = autoscaling::DescribeAutoScalingGroupsInput { next_token: token, ..Default::default() };
        let answer = cx.call(autoscaling::DescribeAutoScalingGroups, input).await?;
        all.extend(answer.auto_scaling_groups);
        token = answer.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(all)
}

pub async fn balancers(cx: &Cx, zones_of: &BTreeMap<String, String>) -> Result<Vec<Balancer>> {
    let (mut all, mut marker) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let input = elbv2::DescribeLoadBalancersInput { marker, ..Default::default() };
        let answer = cx.call(elbv2::DescribeLoadBalancers, input).await?;
        all.extend(answer.load_balancers.unwrap_or_default());
        marker = answer.next_marker;
        if marker.is_none() {
            break;
        }
    }
    let observed = cx.lb().observe().listeners;
    let mut out = Vec::new();
    for shape in all {
        let arn = shape.load_balancer_arn.unwrap_or_default();
        let mine = observed.iter().filter(|((balancer, ..), _)| *balancer == arn);
        out.push(Balancer {
            name: shape.load_balancer_name.unwrap_or_default(),
            dimension: arn.split_once("loadbalancer/").map(|(_, rest)| rest.to_owned()).unwrap_or_default(),
            dns_name: shape.dns_name.unwrap_or_default(),
            scheme: shape.scheme.unwrap_or_default(),
            state: shape.state.and_then(|state| state.code).unwrap_or_default(),
            zones: shape.availability_zones.unwrap_or_default().into_iter().filter_map(|zone| zone.zone_name).collect(),
            sockets: mine.map(|((_, zone, port), socket)| ((zone.clone(), *port), socket.to_string())).collect(),
            groups: target_groups(cx, Some(arn.clone()), zones_of).await?,
            arn,
        });
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(out)
}

async fn target_groups(
    cx: &Cx,
    balancer: Option<String>,
    zones_of: &BTreeMap<String, String>,
) -> Result<Vec<TargetGroup>> {
    let input = elbv2::DescribeTargetGroupsInput { load_balancer_arn: balancer, ..Default::default() };
    let answer = cx.call(elbv2::DescribeTargetGroups, input).await?;
    let mut out = Vec::new();
    for shape in answer.target_groups.unwrap_or_default() {
        let arn = shape.target_group_arn.clone().unwrap_or_default();
        let input = elbv2::DescribeTargetHealthInput { target_group_arn: arn.clone(), ..Default::default() };
        let health = cx.call(elbv2::DescribeTargetHealth, input).await?.target_health_descriptions;
        let mut targets: Vec<_> = health.unwrap_or_default().into_iter().map(|one| target(one, zones_of)).collect();
        targets.sort_by(|a: &Target, b| (&a.zone, &a.id, a.port).cmp(&(&b.zone, &b.id, b.port)));
        out.push(TargetGroup {
            name: shape.target_group_name.clone().unwrap_or_default(),
            dimension: arn.rsplit(':').next().unwrap_or_default().to_owned(),
            arn,
            shape,
            targets,
        });
    }
    Ok(out)
}

fn target(shape: elbv2::TargetHealthDescription, zones_of: &BTreeMap<String, String>) -> Target {
    let target = shape.target.unwrap_or_default();
    let health = shape.target_health.unwrap_or_default();
    Target {
        zone: zones_of.get(&target.id).cloned().or(target.availability_zone).unwrap_or_default(),
        id: target.id,
        port: target.port.unwrap_or_default(),
        state: health.state.unwrap_or_default(),
        reason: health.reason,
        description: health.description,
    }
}

/// Whether an experiment with this status has not ended.
pub fn goes_on(status: Option<&str>) -> bool {
    matches!(status, Some("pending" | "initiating" | "running" | "stopping"))
}

fn is_going_on(experiment: &fis::Experiment) -> bool {
    goes_on(experiment.state.as_ref().and_then(|state| state.status.as_deref()))
}

/// Experiments that go on, or began lately.
async fn troubles(cx: &Cx) -> Result<Vec<fis::Experiment>> {
    let mut out = Vec::new();
    for summary in experiments(cx).await? {
        let status = summary.state.as_ref().and_then(|state| state.status.as_deref());
        let lately = summary.creation_time.is_some_and(|at| at + LATELY > cx.now());
        let (true, Some(id)) = (goes_on(status) || lately, summary.id) else { continue };
        let answer = cx.call(fis::GetExperiment, fis::GetExperimentInput { id }).await?;
        out.extend(answer.experiment);
    }
    Ok(out)
}

/// All experiments, the newest first.
pub async fn experiments(cx: &Cx) -> Result<Vec<fis::ExperimentSummary>> {
    let (mut all, mut token) = (Vec::new(), None);
    for _ in 0..PAGES_MAX {
        let input = fis::ListExperimentsInput { next_token: token, ..Default::default() };
        let answer = cx.call(fis::ListExperiments, input).await?;
        all.extend(answer.experiments.unwrap_or_default());
        token = answer.next_token;
        if token.is_none() {
            break;
        }
    }
    all.sort_by_key(|experiment| std::cmp::Reverse(experiment.creation_time));
    Ok(all)
}
