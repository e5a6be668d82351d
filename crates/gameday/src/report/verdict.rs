//! The hypothesis beside what was measured, and why what does not hold does not.

use std::time::Duration;

use super::build::Facts;
use super::words::{count, percent, plural, time};
use super::{Line, ProbeReport, SinglePoint, Verdict};
use crate::spec::{Layer, Measure};
use crate::times::{Time, Took};

/// Each line of the hypothesis, for each probe or fault that it is about.
pub fn lines(facts: &Facts<'_>, probes: &[ProbeReport], times: &[Time], points: &[SinglePoint]) -> Vec<Line> {
    let expected = &facts.day.hypothesis;
    let mut out = Vec::new();
    for probe in probes {
        let of = |what: &str| if probes.len() > 1 { format!("{what} of {}", probe.name) } else { what.to_owned() };
        let broken = &probe.broken;
        if let Some(least) = expected.availability {
            let held = broken.availability >= least;
            out.push(Line {
                what: of("availability"),
                expected: format!("at least {}", percent(least)),
                measured: percent(broken.availability),
                held,
                why: if held { String::new() } else { why_failed(facts, probe, times, points) },
            });
        }
        if let Some(most) = expected.longest_outage {
            let held = broken.longest_outage_ms <= most.as_secs_f64() * 1000.0;
            out.push(Line {
                what: of("longest outage"),
                expected: format!("at most {}", limit(most)),
                measured: time(broken.longest_outage_ms / 1000.0),
                held,
                why: if held { String::new() } else { why_failed(facts, probe, times, points) },
            });
        }
        let latencies = [("p50", expected.p50, broken.latency.p50_ms), ("p99", expected.p99, broken.latency.p99_ms)];
        for (name, most, measured_ms) in latencies {
            let Some(most) = most else { continue };
            let held = measured_ms <= most.as_secs_f64() * 1000.0;
            let why = format!(
                "{} of 100 answers took longer than {}; the slowest {}",
                if name == "p50" { "50" } else { "1" },
                time(measured_ms / 1000.0),
                time(broken.latency.max_ms / 1000.0)
            );
            out.push(Line {
                what: of(name),
                expected: format!("at most {}", limit(most)),
                measured: time(measured_ms / 1000.0),
                held,
                why: if held { String::new() } else { why },
            });
        }
    }
    for (measure, layer, most) in &expected.times {
        for figure in times.iter().filter(|figure| (figure.measure, figure.layer) == (*measure, *layer)) {
            out.push(timed(figure, *most));
        }
    }
    out
}

fn limit(limit: Duration) -> String {
    time(limit.as_secs_f64())
}

fn timed(figure: &Time, most: Duration) -> Line {
    let (measured, held) = match figure.took {
        Took::After { measured_ms } => (time(measured_ms as f64 / 1000.0), measured_ms as u128 <= most.as_millis()),
        Took::Unaffected => ("nothing was lost".into(), true),
        Took::Never => ("not while it was watched".into(), false),
    };
    let why = match figure.promised_ms {
        _ if held => String::new(),
        Some(promised) => {
            let promised = time(promised as f64 / 1000.0);
            format!("the settings promise no more than {promised}: {}", figure.promise)
        }
        None => "no setting promises a time for this".into(),
    };
    Line {
        what: format!("{} of {} after '{}'", doing(figure.measure), layer(figure.layer), figure.fault),
        expected: format!("within {}", limit(most)),
        measured,
        held,
        why,
    }
}

/// A measure in words.
pub fn doing(measure: Measure) -> &'static str {
    match measure {
        Measure::Detect => "detection",
        Measure::Eject => "ejection",
        Measure::Replace => "replacement",
        Measure::Recover => "recovery",
    }
}

/// A layer in words.
pub fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Users => "users",
        Layer::LoadBalancer => "load balancer",
        Layer::Group => "group",
        Layer::Instance => "instances",
        Layer::Alarm => "alarms",
        Layer::Fault => "faults",
        Layer::Stack => "stack",
    }
}

/// How requests came to fail: when, how they failed, and what the load balancer made of it.
fn why_failed(facts: &Facts<'_>, probe: &ProbeReport, times: &[Time], points: &[SinglePoint]) -> String {
    let broken = &probe.broken;
    let longest = (probe.outages.iter())
        .filter(|outage| (outage.from_us as i64) < facts.healed_ms * 1000)
        .map(|outage| (outage.from_us, outage.to_us.min(facts.healed_ms as u64 * 1000) - outage.from_us))
        .max_by_key(|(_, length_us)| *length_us);
    let answers: Vec<String> = (broken.answers.iter())
        .filter(|(answer, _)| !answer.parse::<u16>().is_ok_and(|status| status < 500) && *answer != "connected")
        .map(|(answer, number)| format!("{answer}: {}", count(*number)))
        .collect();
    let mut why = format!(
        "{} of {} requests failed ({}) in {}",
        count(broken.failed),
        count(broken.requests),
        answers.join(", "),
        plural(broken.outages, "outage")
    );
    if let Some((from_us, length_us)) = longest {
        let from = (from_us as f64 / 1e6) - facts.broken_ms as f64 / 1000.0;
        why += &format!(", the longest {} from {} into it", time(length_us as f64 / 1e6), time(from.max(0.0)));
    }
    for figure in times.iter().filter(|figure| (figure.measure, figure.layer) == (Measure::Eject, Layer::LoadBalancer))
    {
        let ejected = match figure.took {
            Took::After { measured_ms } => format!("took the targets out after {}", time(measured_ms as f64 / 1000.0)),
            Took::Never => "never took the targets out".into(),
            Took::Unaffected => continue,
        };
        let promised = figure
            .promised_ms
            .map_or(String::new(), |ms| format!(" ({} = {})", figure.promise, time(ms as f64 / 1000.0)));
        why += &format!("; the load balancer {ejected}{promised}");
    }
    why + &alone(points)
}

/// What stands alone and was hit; what is said of several is said once.
fn alone(points: &[SinglePoint]) -> String {
    let mut said: Vec<(&str, Vec<&str>)> = Vec::new();
    for point in points.iter().filter(|point| point.seen && point.by_settings) {
        match said.iter_mut().find(|(why, _)| *why == point.why) {
            Some((_, of)) => of.push(&point.resource),
            None => said.push((&point.why, vec![&point.resource])),
        }
    }
    said.iter().map(|(why, of)| format!("; {}: {}", of.join(", "), why.trim_end_matches('.'))).collect()
}

/// The verdict in a sentence.
fn in_short(verdict: Verdict, lines: &[Line]) -> String {
    let failed: Vec<&str> = lines.iter().filter(|line| !line.held).map(|line| line.what.as_str()).collect();
    match verdict {
        Verdict::Held => "The hypothesis held.".into(),
        Verdict::Interrupted => "The game day was stopped before its end: nothing is proven.".into(),
        Verdict::Failed => format!("The hypothesis failed: {}.", failed.join(", ")),
    }
}

/// The verdict, and what users saw of it. A day of steps alone breaks nothing.
pub fn said(verdict: Verdict, lines: &[Line], probes: &[ProbeReport], breaks: bool) -> String {
    let when = if breaks { "while things were broken" } else { "meanwhile" };
    let worst = probes.iter().min_by(|one, other| one.broken.availability.total_cmp(&other.broken.availability));
    let saw = worst.map_or(String::new(), |probe| {
        let broken = &probe.broken;
        let whose = if probes.len() > 1 { format!(" of {}", probe.name) } else { String::new() };
        match broken.failed {
            0 if probes.len() > 1 => format!(" No request failed {when}."),
            0 => format!(" None of {} requests failed {when}.", count(broken.requests)),
            failed => format!(
                " {} of {} requests{whose} failed {when}; the longest outage took {}.",
                count(failed),
                count(broken.requests),
                time(broken.longest_outage_ms / 1000.0)
            ),
        }
    });
    in_short(verdict, lines) + &saw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_have_in_common_is_said_once() {
        let point = |resource: &str, why: &str, seen| SinglePoint {
            resource: resource.into(),
            seen,
            by_settings: true,
            why: why.into(),
        };
        let points = [point("A", "It is alone.", true), point("B", "It is alone.", true), point("C", "Far.", false)];
        assert_eq!(alone(&points), "; A, B: It is alone");
        let seen = SinglePoint { by_settings: false, ..point("z-a", "Users had no service.", true) };
        assert_eq!(alone(&[seen]), "", "that is what the sentence is about");
    }
}
