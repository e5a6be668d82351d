//! Game days on virtual time: what is measured, what is refused, that everything is healed, and that a seed is a run.

use std::sync::Arc;

use serde_json::json;
use standfast_api::{cloudwatch, fis};
use standfast_gameday::report::{Report, Verdict, page};
use standfast_gameday::spec::{Layer, Measure};
use standfast_gameday::times::Took;
use standfast_gameday::{Ended, GameDay, Run, World};
use standfast_testkit::TestCloud;
use standfast_testkit::world::TestWorld;

use crate::site::{TEMPLATE, list, text};

const DAY: &str = include_str!("../../../../examples/what-is-the-time/zone-outage.yaml");
/// Both faults hit what the seed says.
const BY_CHANCE: &str = "
name: By chance
stack: {template: template.yaml}
probes: [{name: site, url: '${URL}', rate: 20}]
faults:
  - {at: 1s, name: one dies, action: standfast:ec2:kill-instances, targets: {group: Group, count: 1}}
  - {at: 20s, name: a zone goes, action: standfast:az:power-interruption, parameters: {availabilityZoneIdentifier: any}, for: 20s}
hypothesis: {availability: 90}
";

/// Plays a day in a new cloud; both with this seed.
fn play(seed: u64, day: &str, template: &str) -> Ended {
    let (day, template) = (GameDay::read(day).expect("a valid day"), template.to_owned());
    let (tell, told) = std::sync::mpsc::channel();
    standfast_testkit::run(seed, |cloud| async move {
        let cloud = Arc::new(cloud);
        let (_stopper, stop) = tokio::sync::watch::channel(false);
        let ended = run(&cloud, day, template, seed, stop).run().await.expect("the API answers");
        assert_eq!(running(&cloud).await, 0, "nothing stays broken");
        tell.send(ended).expect("somebody listens");
    });
    told.recv().expect("it was played")
}

fn run(cloud: &Arc<TestCloud>, day: GameDay, template: String, seed: u64, stop: standfast_gameday::probe::Stop) -> Run {
    let world: Arc<dyn World> = TestWorld::new(cloud.clone());
    Run { world, day, template: Some(template), stack: "site".into(), seed, say: Arc::new(|_| ()), stop }
}

fn report(ended: Ended) -> Box<Report> {
    match ended {
        Ended::Reported(report, _) => report,
        Ended::Refused(why) => panic!("refused: {why:?}"),
    }
}

/// How many experiments are not over.
async fn running(cloud: &TestCloud) -> usize {
    let all = cloud.send(&fis::MODEL, "ListExperiments", json!({})).await.expect("it lists");
    let over = |one: &&serde_json::Value| !matches!(text(&one["state"], "status"), "completed" | "stopped" | "failed");
    list(&all, "experiments").iter().filter(over).count()
}

#[test]
fn a_zone_is_lost_and_the_report_says_what_it_cost() {
    let report = report(play(1, DAY, TEMPLATE));
    assert_eq!(report.verdict, Verdict::Held, "{}: {:#?}", report.said, report.hypothesis);
    let probe = &report.probes[0];
    assert_eq!(probe.whole.requests, probe.whole.succeeded + probe.whole.failed);
    assert_eq!(probe.broken.requests, 45 * 100, "every request that was due is counted");
    assert_eq!(probe.whole.zones.len(), 3);
    // In the dark, two zones answer.
    let dark = &probe.seconds.zones["eu-west-1a"][12..35];
    assert!(dark.iter().all(|answered| *answered == 0), "{dark:?}");
    let fault = &report.faults[0];
    assert_eq!((fault.instances.len(), fault.zone.as_deref()), (2, Some("eu-west-1a")));
    assert_eq!((fault.began_ms, fault.ended_ms - fault.began_ms >= 30_000), (7000, true));
    let took = |measure, layer| {
        let time = report.times.iter().find(|time| (time.measure, time.layer) == (measure, layer));
        time.expect("it was taken").took
    };
    assert!(matches!(took(Measure::Recover, Layer::Group), Took::After { measured_ms: 1000..28_000 }));
    assert!(matches!(took(Measure::Eject, Layer::LoadBalancer), Took::After { measured_ms: 0..15_000 }));
    let layers: std::collections::BTreeSet<Layer> = report.timeline.iter().map(|entry| entry.layer).collect();
    for layer in [Layer::Fault, Layer::LoadBalancer, Layer::Group, Layer::Instance] {
        assert!(layers.contains(&layer), "{layer:?} is not in the timeline");
    }
    let page = page(&report);
    assert!(page.contains("Held") && !page.contains("<script") && !page.contains("src="), "it needs nothing else");
}

#[test]
fn the_same_seed_is_the_same_report_to_the_byte() {
    let bytes = |seed| {
        let report = report(play(seed, BY_CHANCE, TEMPLATE));
        (serde_json::to_string(&report).expect("it can be written"), page(&report))
    };
    let (one, other) = (bytes(7), bytes(7));
    assert_eq!(one.0, other.0);
    assert_eq!(one.1, other.1);
    assert_ne!(one.0, bytes(8).0);
}

#[test]
fn a_seed_chooses_who_is_hit() {
    let chosen = |seed| {
        let report = report(play(seed, BY_CHANCE, TEMPLATE));
        (report.faults[0].instances.clone(), report.faults[1].zone.clone())
    };
    assert_eq!(chosen(3), chosen(3));
    let zones: std::collections::BTreeSet<_> = (3..9).map(|seed| chosen(seed).1).collect();
    assert!(zones.len() > 1, "{zones:?}");
}

#[test]
fn loosened_health_checks_fail_the_hypothesis_and_the_report_says_why() {
    let loose = TEMPLATE.replace("HealthCheckIntervalSeconds: 5", "HealthCheckIntervalSeconds: 60");
    let report = report(play(2, DAY, &loose));
    assert_eq!(report.verdict, Verdict::Failed);
    let line = report.hypothesis.iter().find(|line| !line.held).expect("one failed");
    assert!(line.what.contains("recovery of load balancer"), "{line:?}");
    assert!(line.why.contains("HealthCheckIntervalSeconds 60"), "{line:?}");
    assert!(report.said.contains("recovery of load balancer"), "{}", report.said);
    assert!(report.advice.iter().any(|advice| advice.rule == "slow-health-check" && advice.resource == "TargetGroup"));
}

#[test]
fn what_cannot_be_played_is_refused_before_anything_breaks() {
    for (from, to, said) in [
        ("count: 1", "count: 1, zone: eu-west-1d", "the targets resolve to nothing"),
        ("group: Group", "group: NoGroup", "the targets resolve to nothing"),
        ("count: 1", "count: 50", "50 instances are to be hit"),
        ("kill-instances", "no-such-action", "no-such-action"),
        ("availability: 90", "detect: {alarm: 1m}", "the stack has no alarm"),
        ("availability: 90", "availability: 99.9999", "cannot be measured"),
        ("'${URL}'", "'${Url}'", "no output 'Url'"),
        ("for: 20s", "for: 20s, targets: {group: Group}", "takes no targets"),
    ] {
        match play(4, &BY_CHANCE.replace(from, to), TEMPLATE) {
            Ended::Refused(why) => assert!(why.iter().any(|why| why.contains(said)), "{to}: {why:?}"),
            Ended::Reported(..) => panic!("{to} was played"),
        }
    }
}

#[test]
fn a_site_that_does_not_answer_is_left_alone() {
    let missing = BY_CHANCE.replace("'${URL}'", "'${URL}.nowhere'");
    let Ended::Refused(why) = play(5, &missing, TEMPLATE) else { panic!("nobody answers there") };
    assert!(why[0].contains("the probe 'site' still gets: 0"), "{why:?}");
}

/// A day that the alarm `stop` stops.
const STOPPED: &str = "
name: Two faults and an alarm
stack: {template: template.yaml}
probes: [{name: site, url: '${URL}', rate: 20}]
faults:
  - {at: 1s, name: a zone goes, action: standfast:az:power-interruption, parameters: {availabilityZoneIdentifier: any}, for: 20s}
  - {at: 10s, name: one dies, action: standfast:ec2:kill-instances, targets: {group: Group, count: 1}}
stop_alarms: [stop]
hypothesis: {availability: 50}
";

async fn make_alarm(cloud: &TestCloud) {
    let alarm = json!({
        "AlarmName": "stop", "Namespace": "Shop", "MetricName": "Orders", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "LessThanThreshold",
    });
    cloud.send(&cloudwatch::MODEL, "PutMetricAlarm", alarm).await.expect("an alarm");
}

async fn set_alarm(cloud: &TestCloud, state: &str) {
    let state = json!({"AlarmName": "stop", "StateValue": state, "StateReason": "a test"});
    cloud.send(&cloudwatch::MODEL, "SetAlarmState", state).await.expect("set");
}

#[test]
fn an_alarm_that_fires_already_is_waited_for() {
    standfast_testkit::run(7, |cloud| async move {
        let cloud = Arc::new(cloud);
        make_alarm(&cloud).await;
        set_alarm(&cloud, "ALARM").await;
        let (_stopper, stop) = tokio::sync::watch::channel(false);
        let day = GameDay::read(STOPPED).expect("valid");
        let played = run(&cloud, day, TEMPLATE.into(), 7, stop);
        let calm = async {
            cloud.pass(std::time::Duration::from_secs(40)).await;
            set_alarm(&cloud, "OK").await;
        };
        let (ended, ()) = tokio::join!(played.run(), calm);
        let report = report(ended.expect("the API answers"));
        assert_eq!((report.verdict, report.faults.len()), (Verdict::Held, 2), "{}", report.said);
    });
}

#[test]
fn an_alarm_that_fires_meanwhile_stops_the_faults_and_the_report_says_so() {
    standfast_testkit::run(8, |cloud| async move {
        let cloud = Arc::new(cloud);
        make_alarm(&cloud).await;
        let (_stopper, stop) = tokio::sync::watch::channel(false);
        let day = GameDay::read(STOPPED).expect("valid");
        let played = run(&cloud, day, TEMPLATE.into(), 8, stop);
        let alarm = async {
            let begun = || async { (running(&cloud).await > 0).then_some(()) };
            cloud.until("the zone to be dark", crate::site::SETTLED, begun).await;
            cloud.pass(std::time::Duration::from_secs(3)).await;
            set_alarm(&cloud, "ALARM").await;
        };
        let (ended, ()) = tokio::join!(played.run(), alarm);
        let report = report(ended.expect("the API answers"));
        assert_eq!((report.verdict, report.faults.len()), (Verdict::Failed, 1), "{}", report.said);
        assert_eq!(report.faults[0].status, "stopped");
        let line = report.hypothesis.iter().find(|line| !line.held).expect("the last one");
        assert!(line.why.contains("the fault 'a zone goes' was stopped: "), "{line:?}");
        assert!(line.why.contains("the fault 'one dies' did not begin: ") && line.why.contains("ALARM"), "{line:?}");
        assert_eq!(running(&cloud).await, 0);
    });
}

/// What somebody does meanwhile, with a call that is refused for ever.
const STEPS: &str = "
name: An operator
stack: {template: template.yaml}
probes: [{name: site, url: '${URL}', rate: 20}]
steps:
  - name: one more
    at: 2s
    call: autoscaling:SetDesiredCapacity
    input: {AutoScalingGroupName: '${Group}', DesiredCapacity: 6}
watch: 30s
hypothesis: {availability: 99}
";

#[test]
fn steps_are_done_in_their_time() {
    let done = report(play(9, STEPS, TEMPLATE));
    assert_eq!(done.verdict, Verdict::Held, "{}: {:?}", done.said, done.hypothesis);
    assert!(done.said.contains("requests failed meanwhile"), "{}", done.said);
    let step = done.timeline.iter().find(|entry| entry.layer == Layer::Stack).expect("it is in the timeline");
    assert_eq!((step.resource.as_str(), step.what.as_str()), ("one more", "is done: SetDesiredCapacity"));
    assert_eq!(step.at_ms, 12_000, "two seconds into what follows the steady state");
    let refused = report(play(9, &STEPS.replace("DesiredCapacity: 6", "DesiredCapacity: 600"), TEMPLATE));
    assert_eq!(refused.verdict, Verdict::Failed);
    let line = refused.hypothesis.iter().find(|line| !line.held).expect("the last one");
    assert!(line.why.contains("the step 'one more' could not be done: "), "{line:?}");
}

#[test]
fn an_interruption_heals_and_reports_what_there_is() {
    standfast_testkit::run(6, |cloud| async move {
        let cloud = Arc::new(cloud);
        let (stopper, stop) = tokio::sync::watch::channel(false);
        let day = GameDay::read(DAY).expect("valid");
        let played = run(&cloud, day, TEMPLATE.into(), 6, stop);
        let dark = async {
            cloud
                .until("the zone to be dark", crate::site::SETTLED, || async {
                    (running(&cloud).await > 0).then_some(())
                })
                .await;
            cloud.pass(std::time::Duration::from_secs(3)).await;
            stopper.send_replace(true);
        };
        let (ended, ()) = tokio::join!(played.run(), dark);
        let report = report(ended.expect("the API answers"));
        assert_eq!(report.verdict, Verdict::Interrupted);
        assert_eq!(running(&cloud).await, 0);
        assert!(report.faults[0].ended_ms - report.faults[0].began_ms < 10_000);
    });
}
