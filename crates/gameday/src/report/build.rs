//! From what happened to the report.

use std::collections::BTreeMap;

use super::points;
use super::verdict::{lines, said};
use super::words::YEAR_S;
use super::{Budget, Counted, FaultReport, Line, Phase, ProbeReport, Report, SCHEMA, Seconds, Verdict, words};
use crate::advice::{Case, OBJECTIVE, advise};
use crate::estate::Estate;
use crate::probe::{Kind, Log, Record, Second, Summary, nines, seconds, summarize};
use crate::spec::{GameDay, Layer, Probe};
use crate::times::{Seen, Struck, Time, times};
use crate::watch::{Entry, Levels, Sign};

const MONTH_S: f64 = 30.0 * 86_400.0;
/// A probe's outages of which the report tells each; beyond it only their number.
const OUTAGES_MAX: usize = 1000;

/// A probe and its records, in the order of their due times.
pub struct Fact {
    pub probe: Probe,
    pub log: Log,
}

/// All that happened.
pub struct Facts<'a> {
    pub day: &'a GameDay,
    pub stack: &'a str,
    pub seed: u64,
    pub speed: f64,
    pub began: String,
    pub interrupted: bool,
    pub probes: &'a [Fact],
    pub faults: Vec<FaultReport>,
    /// In milliseconds: where things may break, where all is healed, where the last check begins, the end.
    pub broken_ms: i64,
    pub healed_ms: i64,
    pub settled_ms: i64,
    pub end_ms: i64,
    /// Why the steady state does not hold in the end.
    pub unsteady: Vec<String>,
    pub entries: Vec<Entry>,
    pub levels: &'a [(i64, Levels)],
    /// As it was before anything broke.
    pub estate: &'a Estate,
}

/// Makes the report.
pub fn build(mut facts: Facts<'_>) -> Report {
    let probes: Vec<ProbeReport> = facts.probes.iter().map(|fact| probe(fact, &facts)).collect();
    for report in &probes {
        facts.entries.extend(outages(report));
    }
    facts
        .entries
        .sort_by(|one, other| (one.at_ms, one.layer, &one.resource).cmp(&(other.at_ms, other.layer, &other.resource)));
    let times = all_times(&facts, &probes);
    let objective = facts.day.hypothesis.longest_outage.unwrap_or(OBJECTIVE).max(std::time::Duration::from_secs(10));
    let stops = Some(!facts.day.stop_alarms.is_empty());
    let advice = advise(&Case { estate: facts.estate, objective, stops });
    let points = points::of(&facts, &times, &advice);
    let mut hypothesis: Vec<Line> = lines(&facts, &probes, &times, &points);
    if facts.day.hypothesis.steady_again && !facts.interrupted {
        hypothesis.push(Line {
            what: "the steady state in the end".into(),
            expected: "as before".into(),
            measured: if facts.unsteady.is_empty() { "as before".into() } else { "not as before".into() },
            held: facts.unsteady.is_empty(),
            why: facts.unsteady.join("; "),
        });
    }
    let verdict = match (facts.interrupted, hypothesis.iter().all(|line| line.held)) {
        (true, _) => Verdict::Interrupted,
        (false, true) => Verdict::Held,
        (false, false) => Verdict::Failed,
    };
    Report {
        schema: SCHEMA,
        name: facts.day.name.clone(),
        description: facts.day.description.clone(),
        stack: facts.stack.to_owned(),
        seed: facts.seed,
        speed: facts.speed,
        began: facts.began.clone(),
        length_ms: facts.end_ms,
        verdict,
        said: said(verdict, &hypothesis, &probes, !facts.faults.is_empty()),
        hypothesis,
        phases: phases(&facts),
        single_points: points,
        probes,
        times,
        advice,
        timeline: facts.entries,
        faults: facts.faults,
    }
}

fn phases(facts: &Facts<'_>) -> Vec<Phase> {
    let phase = |name, from_ms, to_ms| Phase { name, from_ms, to_ms };
    vec![
        phase("steady state", 0, facts.broken_ms),
        phase("broken", facts.broken_ms, facts.healed_ms),
        phase("settling", facts.healed_ms, facts.settled_ms),
        phase("steady again", facts.settled_ms, facts.end_ms),
    ]
}

/// A summary with what follows from it.
pub fn counted(summary: &Summary) -> Counted {
    let availability = summary.availability();
    Counted {
        requests: summary.requests,
        succeeded: summary.succeeded,
        failed: summary.failed,
        availability,
        nines: nines(summary.failed, summary.requests),
        lost_per_year_s: (1.0 - availability) * YEAR_S,
        outages: summary.outages.len(),
        longest_outage_ms: summary.longest_outage_us() as f64 / 1000.0,
        latency: summary.latency,
        answers: summary.answers.clone(),
        zones: summary.zones.clone(),
        targets: summary.targets.clone(),
    }
}

/// The records that were due in this time.
pub fn between(records: &[Record], from_ms: i64, to_ms: i64) -> &[Record] {
    let at = |ms: i64| records.partition_point(|record| (record.due_us as i64) < ms * 1000);
    let (from, to) = (at(from_ms), at(to_ms));
    &records[from..to.max(from)]
}

fn probe(fact: &Fact, facts: &Facts<'_>) -> ProbeReport {
    let Fact { probe, log } = fact;
    let whole = summarize(log, &log.records);
    let broken = summarize(log, between(&log.records, facts.broken_ms, facts.healed_ms));
    let budget = facts.day.hypothesis.availability.map(|objective| budget(objective, &broken, probe.rate));
    ProbeReport {
        name: probe.name.clone(),
        kind: Kind::of(&probe.url).map_or("", Kind::name),
        url: probe.url.clone(),
        rate: probe.rate,
        broken: counted(&broken),
        budget,
        seconds: columns(log, &seconds(&log.records)),
        outages: whole.outages.iter().take(OUTAGES_MAX).copied().collect(),
        whole: counted(&whole),
    }
}

fn budget(objective: f64, broken: &Summary, rate: u32) -> Budget {
    let month_s = (1.0 - objective) * MONTH_S;
    let lost_s = broken.failed as f64 / f64::from(rate.max(1));
    Budget {
        objective,
        allowed: (1.0 - objective) * broken.requests as f64,
        spent: broken.failed,
        month_s,
        of_month: if month_s > 0.0 { lost_s / month_s } else { f64::from(u8::from(broken.failed > 0)) },
    }
}

fn columns(log: &Log, seconds: &[Second]) -> Seconds {
    let mut out = Seconds::default();
    let mut zones: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (n, second) in seconds.iter().enumerate() {
        out.ok.push(second.ok);
        out.failed.push(second.failed);
        out.p50_ms.push(second.p50_ms);
        out.p99_ms.push(second.p99_ms);
        for (who, count) in &second.by_who {
            let zone = usize::from(*who).checked_sub(1).and_then(|at| log.names.get(at)).map_or("", |who| &who.zone);
            if !zone.is_empty() {
                let column = zones.entry(zone.to_owned()).or_insert_with(|| vec![0; seconds.len()]);
                column[n] += count;
            }
        }
    }
    out.zones = zones;
    out
}

/// Outages as entries of the timeline.
fn outages(report: &ProbeReport) -> Vec<Entry> {
    let entry = |us: u64, sign, what: String| Entry {
        at_ms: (us / 1000) as i64,
        layer: Layer::Users,
        sign,
        resource: report.name.clone(),
        zone: None,
        what,
    };
    let mut out = Vec::new();
    for outage in &report.outages {
        let failed = words::plural(outage.failed as usize, "request");
        out.push(entry(outage.from_us, Sign::OutageBegins, "requests fail".into()));
        if outage.ended {
            let lasted = words::time(outage.length_us() as f64 / 1e6);
            out.push(entry(
                outage.again_us,
                Sign::OutageEnds,
                format!("requests succeed again; {failed} failed in {lasted}"),
            ));
        }
    }
    out
}

fn all_times(facts: &Facts<'_>, probes: &[ProbeReport]) -> Vec<Time> {
    let mut out = Vec::new();
    let outages: Vec<_> = probes.iter().flat_map(|probe| &probe.outages).copied().collect();
    let outages = Some(outages.as_slice()).filter(|_| !probes.is_empty());
    let seen = Seen { entries: &facts.entries, levels: facts.levels, estate: facts.estate, outages };
    for fault in &facts.faults {
        // What happens until the next fault begins is this one's doing.
        let later = facts.faults.iter().map(|other| other.began_ms).filter(|began| *began > fault.began_ms);
        let struck = Struck {
            name: fault.name.clone(),
            began_ms: fault.began_ms,
            until_ms: later.min().unwrap_or(facts.end_ms + 1),
            instances: fault.instances.iter().cloned().collect(),
        };
        out.extend(times(&struck, &seen));
    }
    out
}
