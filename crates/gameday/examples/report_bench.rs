//! The report of a game day of a million requests: how long it takes to make and how large it is. With a folder, the report
//! is left there, to be looked at.

use std::time::Duration;

use standfast_core::{Clock, Rng};
use standfast_gameday::estate::{Balancer, Estate, Group, Instance, TargetGroup};
use standfast_gameday::probe::{Fate, Log, Who};
use standfast_gameday::report::{Fact, Facts, FaultReport, build, page};
use standfast_gameday::site::Resource;
use standfast_gameday::spec::{GameDay, Layer};
use standfast_gameday::watch::{Entry, Levels, Sign};

const DAY: &str = "
name: A zone loses its power
description: >-
  The site runs in three zones. One of them goes dark for half a minute: its instances, its load balancer node, its links.
  Users should hardly notice, and the group should bring back what was lost in the other two zones.
stack: {template: template.yaml}
probes: [{name: site, url: 'http://site.elb.localhost', rate: 10000}]
faults: [{at: 5s, name: power is lost, action: standfast:az:power-interruption, for: 40s}]
hypothesis: {availability: 99.5, longest_outage: 1s, eject: 15s, recover: {users: 2s, load_balancer: 10s, group: 28s}}
";
const RATE: u64 = 10_000;
const LENGTH_S: u64 = 100;
const BROKEN_S: u64 = 15;
const HEALED_S: u64 = 55;
const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];

fn main() {
    let rng = Rng::seeded(1);
    let mut log = Log::default();
    for n in 0..RATE * LENGTH_S {
        let due = Duration::from_micros(n * 1_000_000 / RATE);
        let since = due.as_secs_f64() - BROKEN_S as f64;
        let dark = since > 0.0 && due.as_secs() < HEALED_S;
        let failed = (0.0..0.6).contains(&since) && n % 3 == 0;
        let zone = ZONES[if dark { 1 + (n % 2) as usize } else { (n % 3) as usize }];
        let slow = if dark && since < 5.0 { 8000 } else { 0 };
        let latency = Duration::from_micros(700 + rng.below(900) as u64 + if n % 97 == 0 { 6000 } else { 0 } + slow);
        let who = Who { target: format!("i-{:017x}", n % 6), zone: zone.into() };
        if failed {
            log.add(due, latency, Fate::status(502), None);
        } else {
            log.add(due, latency, Fate::status(200), Some(who));
        }
    }
    let probes = [Fact { probe: GameDay::read(DAY).expect("valid").probes.remove(0), log }];
    let (day, estate) = (GameDay::read(DAY).expect("valid"), estate());
    let levels = levels();
    let clock = Clock::system(1.0);
    let start = clock.now();
    let report = build(facts(&day, &probes, &levels, &estate));
    let (page, json) = (page(&report), serde_json::to_vec(&report).expect("it can be written"));
    println!("report of a million requests, s: {}", clock.now().since(start).as_secs_f64());
    println!("report of a million requests, MB: {}", (page.len().max(json.len())) as f64 / 1e6);
    if let Some(folder) = std::env::args().nth(1) {
        std::fs::write(format!("{folder}/report.html"), page).expect("the folder is there");
        std::fs::write(format!("{folder}/report.json"), json).expect("the folder is there");
    }
}

fn facts<'a>(day: &'a GameDay, probes: &'a [Fact], levels: &'a [(i64, Levels)], estate: &'a Estate) -> Facts<'a> {
    Facts {
        day,
        stack: "what-is-the-time",
        seed: 1,
        speed: 1.0,
        began: "2026-11-21T12:00:00.000Z".into(),
        interrupted: false,
        probes,
        faults: vec![FaultReport {
            name: "power is lost".into(),
            action: "standfast:az:power-interruption".into(),
            parameters: [("availabilityZoneIdentifier".to_owned(), ZONES[0].to_owned())].into(),
            experiment: "EXP1".into(),
            began_ms: BROKEN_S as i64 * 1000,
            ended_ms: HEALED_S as i64 * 1000,
            status: "completed".into(),
            targets: Vec::new(),
            instances: vec!["i-0".into(), "i-1".into()],
            zone: Some(ZONES[0].into()),
        }],
        broken_ms: 10_000,
        healed_ms: 80_000,
        settled_ms: 90_000,
        end_ms: LENGTH_S as i64 * 1000,
        unsteady: Vec::new(),
        entries: entries(),
        levels,
        estate,
    }
}

fn entries() -> Vec<Entry> {
    let entry = |at_ms: i64, layer, sign, resource: &str, what: &str| Entry {
        at_ms,
        layer,
        sign,
        resource: resource.into(),
        zone: Some(ZONES[0].into()),
        what: what.into(),
    };
    let mut all = vec![entry(15_000, Layer::Fault, Sign::Broken, "power is lost", "begins")];
    for (n, id) in ["i-0", "i-1"].into_iter().enumerate() {
        let later = n as i64 * 250;
        all.push(entry(15_300 + later, Layer::Instance, Sign::Out, id, "is stopped"));
        all.push(entry(15_400 + later, Layer::LoadBalancer, Sign::Out, id, "is unhealthy (Target.FailedHealthChecks)"));
        all.push(entry(16_100 + later, Layer::Group, Sign::Out, id, "is Terminating, Unhealthy"));
        let new = format!("i-new{n}");
        all.push(entry(17_000 + later, Layer::Group, Sign::Note, &new, "is Pending, Healthy"));
        all.push(entry(19_000 + later, Layer::Instance, Sign::In, &new, "is running"));
        all.push(entry(20_000 + later, Layer::Group, Sign::In, &new, "is InService, Healthy"));
        all.push(entry(27_000 + later, Layer::LoadBalancer, Sign::In, &new, "is healthy"));
    }
    all.push(entry(55_000, Layer::Fault, Sign::Healed, "power is lost", "is over: completed"));
    all
}

fn levels() -> Vec<(i64, Levels)> {
    let at = |ms, healthy, members| {
        let levels = [((Layer::LoadBalancer, "t".to_owned()), healthy), ((Layer::Group, "g".to_owned()), members)];
        (ms, Levels::from(levels))
    };
    vec![at(0, 6, 6), at(15_400, 4, 6), at(16_100, 4, 4), at(20_250, 4, 6), at(27_250, 6, 6)]
}

fn estate() -> Estate {
    let zones = || ZONES.map(str::to_owned).to_vec();
    let resource = |logical: &str, physical: &str| Resource {
        logical: logical.into(),
        physical: physical.into(),
        kind: String::new(),
    };
    Estate {
        groups: vec![Group {
            name: "g".into(),
            min: 3,
            max: 9,
            desired: 6,
            zones: zones(),
            health_check: "ELB".into(),
            grace_s: 30,
            target_groups: vec!["t".into()],
            ..Group::default()
        }],
        balancers: vec![Balancer { arn: "b".into(), zones: zones(), ..Balancer::default() }],
        target_groups: vec![TargetGroup {
            arn: "t".into(),
            checks: true,
            interval_s: 5,
            unhealthy: 2,
            balancers: vec!["b".into()],
            ..TargetGroup::default()
        }],
        instances: (ZONES.iter())
            .map(|zone| Instance { zone: (*zone).into(), group: Some("g".into()), ..Instance::default() })
            .collect(),
        resources: vec![resource("Group", "g"), resource("TargetGroup", "t")],
        ..Estate::default()
    }
}
