//! What is refused before anything breaks.

use std::time::Duration;

use standfast_core::quota::ACTIVE_EXPERIMENTS;
use standfast_core::{Result, Rng};

use crate::World;
use crate::aim::{self, Action};
use crate::answers::list;
use crate::estate::Estate;
use crate::inject;
use crate::probe::{Pace, RECORDS_MAX, Target};
use crate::report::words::{count, percent};
use crate::site::Site;
use crate::spec::{Fault, GameDay, Probe, Step, probes_of_metadata};
use crate::times::can_be_taken;
use crate::world::Shot;

/// A game day that can be run here.
pub struct Ready {
    pub probes: Vec<(Probe, Shot)>,
    pub actions: Vec<Action>,
    /// What is done meanwhile, with ids for names.
    pub steps: Vec<Step>,
    /// ARNs of alarms that stop everything.
    pub stop: Vec<String>,
    pub estate: Estate,
}

/// Looks at everything that can be known before. The errors say why this cannot be run; nothing has been broken.
pub async fn check(
    world: &dyn World,
    day: &GameDay,
    site: &Site,
    seed: u64,
    token: &str,
) -> Result<Result<Ready, Vec<String>>> {
    let mut why = Vec::new();
    let estate = Estate::read(world, site).await?;
    let declared = probes_of_metadata(&site.metadata).unwrap_or_else(|mistake| {
        why.push(format!("the template's Metadata: {mistake}"));
        Vec::new()
    });
    let mut probes = Vec::new();
    for probe in day.probes.iter().chain(&declared) {
        match aimed(world, site, probe) {
            Ok(ready) => probes.push(ready),
            Err(refused) => why.push(format!("the probe '{}': {refused}", probe.name)),
        }
    }
    why.extend(measurable(day, &probes.iter().map(|(probe, _)| probe).collect::<Vec<_>>(), &estate));
    let mut steps = Vec::new();
    for step in &day.steps {
        match doable(world, site, step) {
            Ok(ready) => steps.push(ready),
            Err(refused) => why.push(format!("the step '{}' (line {}): {refused}", step.name, step.line)),
        }
    }
    why.extend(too_many_at_once(day));
    let stop = alarms(world, day, site, &mut why).await?;
    let (mut actions, rng) = (Vec::new(), Rng::seeded(seed));
    for (n, fault) in day.faults.iter().enumerate() {
        match injectable(world, site, fault, &rng, &format!("{token}-check-{n}"), &stop).await? {
            Ok(action) => actions.push(action),
            Err(refused) => why.push(format!("the fault '{}' (line {}): {refused}", fault.name, fault.line)),
        }
    }
    Ok(if why.is_empty() { Ok(Ready { probes, actions, steps, stop, estate }) } else { Err(why) })
}

fn aimed(world: &dyn World, site: &Site, probe: &Probe) -> Result<(Probe, Shot), String> {
    let url = site.fill(&probe.url)?;
    let shot = world.aim(&Target { url: url.clone(), timeout: probe.timeout })?;
    Ok((Probe { url, ..probe.clone() }, shot))
}

fn doable(world: &dyn World, site: &Site, step: &Step) -> Result<Step, String> {
    let input = site.fill_in(&step.input)?;
    world.takes(&step.service, &step.operation, &input)?;
    Ok(Step { input, ..step.clone() })
}

async fn alarms(world: &dyn World, day: &GameDay, site: &Site, why: &mut Vec<String>) -> Result<Vec<String>> {
    let mut arns = Vec::new();
    for name in &day.stop_alarms {
        let physical = site.resource(name).map_or(name.as_str(), |resource| &resource.physical);
        let input = serde_json::json!({"AlarmNames": [physical]});
        let found = list(world, "cloudwatch", "DescribeAlarms", input, "MetricAlarms").await?;
        match found.first().map(|alarm| crate::answers::text(alarm, "AlarmArn").to_owned()) {
            Some(arn) => arns.push(arn),
            None => why.push(format!("stop_alarms: there is no alarm '{name}'")),
        }
    }
    Ok(arns)
}

async fn injectable(
    world: &dyn World,
    site: &Site,
    fault: &Fault,
    rng: &Rng,
    token: &str,
    stop: &[String],
) -> Result<Result<Action, String>> {
    let action = match Action::read(world, &fault.action).await {
        Ok(action) => action,
        Err(error) => return Ok(Err(error.message)),
    };
    let aimed = match aim::aim(world, site, fault, &action, rng).await? {
        Ok(aimed) => aimed,
        Err(refused) => return Ok(Err(refused)),
    };
    let template = aim::template(site, fault, &action, &aimed, token, stop);
    Ok(match inject::check(world, template, token).await {
        Ok(()) => Ok(action),
        Err(error) => Err(error.message),
    })
}

/// Why the cloud would refuse one of the faults when its time comes: each is an experiment.
fn too_many_at_once(day: &GameDay) -> Option<String> {
    let end = |fault: &Fault| fault.lasts.map_or(day.watch, |lasts| fault.at + lasts);
    let at_once = |at: Duration| day.faults.iter().filter(|fault| fault.at <= at && at <= end(fault)).count();
    let most = day.faults.iter().map(|fault| at_once(fault.at)).max().unwrap_or(0);
    (most > ACTIVE_EXPERIMENTS).then(|| {
        format!("{most} faults are there at once, and no more than {ACTIVE_EXPERIMENTS} experiments may be active")
    })
}

/// Why lines of the hypothesis could not be measured.
fn measurable(day: &GameDay, probes: &[&Probe], estate: &Estate) -> Vec<String> {
    let expected = &day.hypothesis;
    let mut why = Vec::new();
    let by_probes = [
        ("availability", expected.availability.is_some()),
        ("longest_outage", expected.longest_outage.is_some()),
        ("p50", expected.p50.is_some()),
        ("p99", expected.p99.is_some()),
    ];
    for (name, _) in by_probes.iter().filter(|(_, is_expected)| *is_expected && probes.is_empty()) {
        why.push(format!("hypothesis.{name} cannot be measured: there are no probes"));
    }
    for (measure, layer, _) in &expected.times {
        why.extend(can_be_taken(*measure, *layer, estate, !probes.is_empty()).err());
    }
    let total = day.steady.time * 2 + day.watch + day.settle;
    for probe in probes {
        let all = Pace { per_second: probe.rate, duration: total }.total();
        if all > RECORDS_MAX {
            why.push(format!(
                "the probe '{}' might send {} requests, and {} can be remembered: take a lower rate or a shorter watch",
                probe.name,
                count(all),
                count(RECORDS_MAX)
            ));
        }
        why.extend(resolution(expected.availability, probe, day.watch));
        if let Some(shortest) = expected.longest_outage.filter(|outage| !outage.is_zero()) {
            let gap = Duration::from_secs(1) / probe.rate.max(1);
            if gap > shortest {
                why.push(format!(
                    "an outage of {} ms cannot be measured by the probe '{}', which asks every {} ms",
                    shortest.as_millis(),
                    probe.name,
                    gap.as_millis()
                ));
            }
        }
    }
    why
}

/// An availability of more nines than there are requests to show them is not measured by none failing.
fn resolution(availability: Option<f64>, probe: &Probe, watch: Duration) -> Option<String> {
    let least = availability.filter(|least| *least < 1.0)?;
    let requests = Pace { per_second: probe.rate, duration: watch }.total();
    // What floating point takes from 1 - 0.999 is not to cost a request.
    let needed = (1.0 / (1.0 - least) - 1e-6).ceil() as u64;
    (requests < needed).then(|| {
        let one = percent(1.0 - 1.0 / requests.max(1) as f64);
        format!(
            "an availability of {} cannot be measured by the probe '{}': of its {} requests one failure alone makes {one}; \
             at least {} are needed",
            percent(least),
            probe.name,
            count(requests),
            count(needed)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(rate: u32) -> Probe {
        Probe { name: "site".into(), url: "http://x".into(), rate, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn nines_need_requests() {
        let minute = Duration::from_secs(60);
        assert_eq!(resolution(Some(0.999), &probe(100), minute), None);
        assert_eq!(resolution(Some(0.999), &probe(20), Duration::from_secs(50)), None, "a thousand show three nines");
        assert_eq!(resolution(Some(1.0), &probe(1), minute), None, "that none fails can always be seen");
        let why = resolution(Some(0.99999), &probe(100), minute).expect("six thousand do not show five nines");
        assert!(why.contains("at least 100,000 are needed") && why.contains("one failure alone makes 99.98"), "{why}");
    }

    #[test]
    fn no_more_faults_are_there_at_once_than_experiments_may_be() {
        let day = |second: &str| {
            let faults = (0..6).map(|n| {
                let at = if n < 5 { "0s" } else { second };
                format!("  - {{action: a, at: {at}, for: 10s}}\n")
            });
            let faults: String = faults.collect();
            GameDay::read(&format!("name: x\nstack: {{name: s}}\nfaults:\n{faults}hypothesis: {{availability: 50}}\n"))
                .expect("valid")
        };
        assert_eq!(too_many_at_once(&day("11s")), None, "one comes after another has gone");
        assert!(too_many_at_once(&day("9s")).is_some_and(|why| why.starts_with("6 faults are there at once")));
    }

    #[test]
    fn what_needs_probes_is_refused_without() {
        const DAY: &str = "
name: x
stack: {name: s}
faults: [{action: a}]
hypothesis: {availability: 99, longest_outage: 1ms, detect: {alarm: 1m}}
";
        let day = GameDay::read(DAY).expect("valid");
        let why = measurable(&day, &[], &Estate::default());
        assert_eq!(why.len(), 3, "{why:?}");
        assert!(why[2].contains("the stack has no alarm"), "{why:?}");
        let why = measurable(&day, &[&probe(50)], &Estate::default());
        assert!(why.iter().any(|why| why.contains("an outage of 1 ms cannot be measured")), "{why:?}");
    }
}
