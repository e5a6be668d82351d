//! Experiments at random, of every action that there is, over random targets, while they are stopped at random and control
//! planes die between any two commits: once all have ended, the world is as it was.
//!
//! Actions are those that ListActions gives, so a new one is here by itself; a parameter of a new name has to be given a
//! random value in `value`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::{autoscaling, cloudwatch, ec2, elbv2, fis, iam};
use standfast_core::host::HostSnapshot;
use standfast_core::{Fault, Rng};
use standfast_kernel::{faults, zones};
use standfast_testkit::TestCloud;

use crate::autoscaling::{group, image};
use crate::cloudformation_crash::World;
use crate::faults_acts::ABLE;
use crate::faults_fis::{template, wait};
use crate::site::{list, text};

/// So many times something is done, each time with time passing after it.
const ROUNDS: usize = 60;
const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];
/// More commits than a test needs.
const FOREVER: usize = usize::MAX;
/// All that was started ends within this by itself: every duration is shorter, and few follow each other.
const ENDED: Duration = Duration::from_secs(1800);
/// What takes instances away, or power from them: the world is sound after it, but not the same.
const FOR_GOOD: [&str; 7] = [
    "aws:ec2:reboot-instances",
    "aws:ec2:send-spot-instance-interruptions",
    "aws:ec2:stop-instances",
    "aws:ec2:terminate-instances",
    "standfast:az:power-interruption",
    "standfast:ec2:fail-hardware",
    "standfast:ec2:kill-instances",
];

#[test]
fn a_world_is_the_same_after_experiments_that_take_nothing_away() {
    for seed in 1..=6 {
        play(seed, |action| !FOR_GOOD.contains(&action));
    }
}

#[test]
fn a_world_is_sound_after_experiments_of_all_actions() {
    // In the last one a control plane dies between breaking something and saying so, and what it broke is stopped.
    for seed in (11..=16).chain([379]) {
        play(seed, |_| true);
    }
}

fn play(seed: u64, allowed: fn(&str) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(async {
        let world = World::able(seed, ABLE);
        let cloud = world.cloud(FOREVER);
        let ground = Ground::build(&cloud, allowed).await;
        let before = cloud.host.snapshot();
        assert!(differences(&cloud, &before, true).is_empty() && ground.actions.len() > 10, "seed {seed}");

        let mut chaos =
            Chaos { world: &world, cloud, rng: Rng::seeded(seed), ground, began: BTreeSet::new(), deaths: 0 };
        for _ in 0..ROUNDS {
            chaos.round().await;
        }
        let (cloud, began, deaths) = chaos.end().await;
        assert!(began.len() > 10 && deaths > 8, "seed {seed}: {deaths} deaths, and only {began:?} began");
        let same = !began.iter().any(|action| FOR_GOOD.contains(&action.as_str()));
        let until = cloud.now() + ENDED;
        let mut wrong = differences(&cloud, &before, same);
        while !wrong.is_empty() && cloud.now() < until {
            cloud.pass(Duration::from_secs(1)).await;
            wrong = differences(&cloud, &before, same);
        }
        assert!(wrong.is_empty(), "seed {seed}: the world is not as before: {wrong:#?}");
        cloud.cloud.supervisor().stop();
    });
}

/// What is broken still; with `same` also what is not as it was in any other way.
fn differences(cloud: &TestCloud, before: &HostSnapshot, same: bool) -> Vec<String> {
    let now = cloud.host.snapshot();
    let (faults, dark, links) =
        cloud.cx().view(|view| (faults::all(view), zones::dark(view), zones::impairments(view)));
    let paused = now.volumes.iter().filter(|(_, volume)| volume.paused).map(|(id, _)| id).collect::<Vec<_>>();
    let network = &now.network;
    [
        (!faults.is_empty(), format!("faults: {faults:?}")),
        (!dark.is_empty(), format!("dark zones: {dark:?}")),
        (!links.is_empty(), format!("links: {links:?}")),
        (!now.dark_zones.is_empty(), format!("hosts' dark zones: {:?}", now.dark_zones)),
        (!network.faults.is_empty(), format!("hosts' faults: {:?}", network.faults)),
        (!network.impairments.is_empty(), format!("hosts' links: {:?}", network.impairments)),
        (!paused.is_empty(), format!("paused: {paused:?}")),
        (whole_network(&now) != whole_network(before), format!("network: {:?}", whole_network(&now))),
        (same && *now != *before, format!("hosts are told {now:?}")),
    ]
    .into_iter()
    .filter_map(|(wrong, what)| wrong.then_some(what))
    .collect()
}

/// What of a network does not depend on which instances there are.
fn whole_network(snapshot: &HostSnapshot) -> BTreeMap<String, String> {
    let each = |(id, vpc): (_, &standfast_core::network::Vpc)| {
        (format!("{id:?}"), format!("{:?} {:?} {:?} {:?}", vpc.cidrs, vpc.subnets, vpc.acls, vpc.route_tables))
    };
    snapshot.network.vpcs.iter().map(each).collect()
}

/// What can be broken, and how.
struct Ground {
    /// Actions with their parameters and the names and types of their targets.
    actions: Vec<(String, Vec<String>, BTreeMap<String, String>)>,
    /// ARNs by types.
    resources: BTreeMap<String, Vec<String>>,
}

impl Ground {
    async fn build(cloud: &TestCloud, allowed: fn(&str) -> bool) -> Self {
        group(cloud, 3, json!({})).await;
        let mut resources = BTreeMap::<String, Vec<String>>::new();
        let mut add = |kind: &str, arn: String| resources.entry(kind.into()).or_default().push(arn);
        let ec2_arn = |kind: &str, id: &str| format!("arn:aws:ec2:eu-west-1:000000000000:{kind}/{id}");
        let call = async |operation: &str, input: Json| {
            cloud.send(&ec2::MODEL, operation, input).await.unwrap_or_else(|error| panic!("{operation}: {error}"))
        };
        let one = json!({"ImageId": image(cloud).await, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1});
        let mut ids = Vec::new();
        for zone in ZONES {
            let mut input = one.clone();
            input["Placement"] = json!({"AvailabilityZone": zone});
            if zone == ZONES[2] {
                input["InstanceMarketOptions"] = json!({"MarketType": "spot"});
            }
            let made = call("RunInstances", input).await;
            let id = text(&list(&made, "Instances")[0], "InstanceId").to_owned();
            let kind = if zone == ZONES[2] { "aws:ec2:spot-instance" } else { "aws:ec2:instance" };
            add(kind, ec2_arn("instance", &id));
            ids.push(id);
        }
        let volume = call("CreateVolume", json!({"AvailabilityZone": ZONES[0], "Size": 1})).await;
        let volume = text(&volume, "VolumeId").to_owned();
        let attach = json!({"VolumeId": volume, "InstanceId": ids[0], "Device": "/dev/sdf"});
        let attached = || async { cloud.send(&ec2::MODEL, "AttachVolume", attach.clone()).await.ok() };
        cloud.until("the volume", ENDED, attached).await;
        add("aws:ec2:ebs-volume", ec2_arn("volume", &volume));
        for subnet in list(&call("DescribeSubnets", json!({})).await, "Subnets") {
            add("aws:ec2:subnet", text(subnet, "SubnetArn").to_owned());
        }
        let groups = cloud.send(&autoscaling::MODEL, "DescribeAutoScalingGroups", json!({})).await.expect("described");
        let arn = text(&list(&groups, "AutoScalingGroups")[0], "AutoScalingGroupARN");
        add("aws:ec2:autoscaling-group", arn.to_owned());
        let vpcs = call("DescribeVpcs", json!({})).await;
        let input =
            json!({"Name": "web", "Protocol": "HTTP", "Port": 80, "VpcId": text(&list(&vpcs, "Vpcs")[0], "VpcId")});
        let made = cloud.send(&elbv2::MODEL, "CreateTargetGroup", input).await.expect("made");
        add("aws:elasticloadbalancing:targetgroup", text(&list(&made, "TargetGroups")[0], "TargetGroupArn").to_owned());
        let input =
            json!({"RoleName": "app", "AssumeRolePolicyDocument": r#"{"Version":"2012-10-17","Statement":[]}"#});
        let made = cloud.send(&iam::MODEL, "CreateRole", input).await.expect("made");
        add("aws:iam:role", text(&made["Role"], "Arn").to_owned());
        let alarm = json!({
            "AlarmName": "red", "Namespace": "N", "MetricName": "m", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
        });
        cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", alarm).await.expect("put");
        cloud.pass(Duration::from_secs(120)).await;
        Self { actions: actions(cloud, allowed).await, resources }
    }
}

async fn actions(cloud: &TestCloud, allowed: fn(&str) -> bool) -> Vec<(String, Vec<String>, BTreeMap<String, String>)> {
    let all = cloud.send(&fis::MODEL, "ListActions", json!({})).await.expect("listed");
    let mut found = Vec::new();
    for id in list(&all, "actions").iter().map(|one| text(one, "id")).filter(|id| allowed(id)) {
        let one = cloud.send(&fis::MODEL, "GetAction", json!({"id": id})).await.expect("known")["action"].clone();
        let parameters = one["parameters"].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
        let targets = one["targets"].as_object().into_iter().flatten();
        let targets = targets.map(|(name, target)| (name.clone(), text(target, "resourceType").to_owned())).collect();
        found.push((id.to_owned(), parameters, targets));
    }
    found
}

/// A random value of a parameter; nothing leaves it out.
fn value(rng: &Rng, action: &str, name: &str) -> Option<String> {
    let number = |from: usize, to: usize| (from + rng.below(to - from + 1)).to_string();
    let pick = |all: &[&str]| all[rng.below(all.len())].to_owned();
    Some(match name {
        "duration" | "startInstancesAfterDuration" => format!("PT{}S", number(5, 120)),
        "durationBeforeInterruption" => format!("PT{}S", number(120, 300)),
        "completeIfInstancesTerminated" => pick(&["true", "false"]),
        "availabilityZoneIdentifier" | "otherAvailabilityZoneIdentifier" => pick(&ZONES),
        "availabilityZoneIdentifiers" => format!("{},{}", pick(&ZONES), pick(&ZONES)),
        "lossPercent" | "corruptPercent" | "percentage" => number(1, 100),
        "delayMilliseconds" => number(50, 500),
        "jitterMilliseconds" => number(0, 50),
        "scope" => pick(&["all", "availability-zone", "vpc"]),
        "service" => "ec2".into(),
        "operations" => pick(&["DescribeVpcs", "RunInstances,DescribeInstances"]),
        "alarmArns" => "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:red".into(),
        "alarmStates" => pick(&["ALARM", "OK,INSUFFICIENT_DATA"]),
        // Documents come with their parameters (see `document`); there is one version, and no prefix list.
        "documentArn" | "documentParameters" | "documentVersion" | "prefixListIdentifier" => return None,
        other => panic!("{action} has the parameter {other}: say what a random value of it is"),
    })
}

fn document(rng: &Rng) -> (String, String) {
    let mut all = [
        ("CPU-Stress", json!({"LoadPercent": "50"})),
        ("Memory-Stress", json!({"Workers": "2"})),
        ("Network-Blackhole-Port", json!({"Protocol": "tcp", "Port": "80"})),
        ("Network-Packet-Loss", json!({})),
        ("Network-Latency-Sources", json!({"Sources": "eu-west-1b,10.9.0.0/16"})),
    ];
    let (name, parameters) = &mut all[rng.below(5)];
    parameters["DurationSeconds"] = rng.below(90).saturating_add(5).to_string().into();
    (format!("arn:aws:ssm:eu-west-1::document/AWSFIS-Run-{name}"), parameters.to_string())
}

struct Chaos<'a> {
    world: &'a World,
    cloud: TestCloud,
    rng: Rng,
    ground: Ground,
    /// Actions that were accepted.
    began: BTreeSet<String>,
    deaths: usize,
}

impl Chaos<'_> {
    async fn round(&mut self) {
        match self.rng.below(10) {
            0..6 => self.start().await,
            6 | 7 => self.stop_one().await,
            _ => self.take_over(self.rng.below(40)),
        }
        self.cloud.pass(Duration::from_millis(self.rng.below(40_000) as u64)).await;
    }

    /// Another control plane goes on, for so many commits.
    fn take_over(&mut self, commits: usize) {
        self.cloud.cloud.supervisor().stop();
        self.cloud = self.world.cloud(commits);
        self.deaths += 1;
    }

    /// The answer of a call; one that a dying control plane does not give makes another one take over.
    async fn call(&mut self, operation: &str, input: Json) -> Option<Json> {
        match self.cloud.send(&fis::MODEL, operation, input).await {
            Ok(answer) => Some(answer),
            Err(error) if error.fault != Fault::Server => None,
            Err(_) => {
                self.take_over(FOREVER);
                None
            }
        }
    }

    /// One experiment of a few actions, some of which begin after others.
    async fn start(&mut self) {
        let (mut actions, mut targets, mut ids) = (json!({}), json!({}), Vec::new());
        for n in 0..=self.rng.below(3) {
            let (action, target) = self.action(n);
            ids.push(text(&action, "actionId").to_owned());
            actions[format!("a{n}")] = action;
            if let Some(target) = target {
                targets[format!("t{n}")] = target;
            }
        }
        if self.rng.below(4) == 0 {
            actions["w"] = wait("PT10S", &[]);
            actions["a0"]["startAfter"] = json!(["w"]);
        }
        let mut input = template(&self.cloud, actions, targets);
        input["experimentOptions"] = json!({"emptyTargetResolutionMode": "skip"});
        let Some(made) = self.call("CreateExperimentTemplate", input.clone()).await else { return };
        let id = text(&made["experimentTemplate"], "id").to_owned();
        let input = json!({"clientToken": id, "experimentTemplateId": id});
        if self.call("StartExperiment", input).await.is_some() {
            self.began.extend(ids);
        }
    }

    fn action(&self, n: usize) -> (Json, Option<Json>) {
        let (rng, all) = (&self.rng, &self.ground.actions);
        let (id, names, wanted) = &all[rng.below(all.len())];
        let mut parameters: BTreeMap<_, _> =
            names.iter().filter_map(|name| Some((name.clone(), value(rng, id, name)?))).collect();
        if names.iter().any(|name| name == "documentArn") {
            let (arn, inner) = document(rng);
            parameters.extend([("documentArn".to_owned(), arn), ("documentParameters".to_owned(), inner)]);
        }
        let mut action = json!({"actionId": id, "parameters": parameters});
        let Some((name, kind)) = wanted.iter().next() else { return (action, None) };
        action["targets"] = json!({name: format!("t{n}")});
        let arns = self.ground.resources.get(kind).unwrap_or_else(|| panic!("no {kind} is here to be hit by {id}"));
        let mode = ["ALL", "COUNT(1)", "PERCENT(50)"][rng.below(3)];
        (action, Some(json!({"resourceType": kind, "resourceArns": arns, "selectionMode": mode})))
    }

    async fn active(&mut self) -> Vec<String> {
        let all = self.call("ListExperiments", json!({})).await.unwrap_or_default();
        let active = |one: &&Json| matches!(text(&one["state"], "status"), "initiating" | "running");
        list(&all, "experiments").iter().filter(active).map(|one| text(one, "id").to_owned()).collect()
    }

    async fn stop_one(&mut self) {
        let active = self.active().await;
        if let Some(id) = active.get(self.rng.below(active.len().max(1))) {
            self.call("StopExperiment", json!({"id": id})).await;
        }
    }

    /// Half of what runs is stopped, and the rest comes to its end.
    async fn end(mut self) -> (TestCloud, BTreeSet<String>, usize) {
        self.take_over(FOREVER);
        for id in self.active().await {
            if self.rng.below(2) == 0 {
                self.call("StopExperiment", json!({"id": id})).await;
            }
        }
        let Self { cloud, began, deaths, .. } = self;
        let over = || async {
            let all = cloud.send(&fis::MODEL, "ListExperiments", json!({})).await.expect("listed");
            let is_over = |one: &Json| matches!(text(&one["state"], "status"), "completed" | "stopped" | "failed");
            list(&all, "experiments").iter().all(is_over).then_some(())
        };
        cloud.until("all experiments to end", ENDED, over).await;
        (cloud, began, deaths)
    }
}
