//! Why an alarm is in its state, in CloudWatch's words and as its data.

use serde_json::json;
use standfast_core::Timestamp;

use super::evaluate::{Comparison, Finding, Gaps, Point, Rule, State};
use super::model::{MetricKind, Watches};

/// Of an alarm that was never evaluated.
pub const INITIAL: &str = "Unchecked: Initial alarm creation";

/// The reason of a new state.
pub fn reason(alarm: &MetricKind, finding: &Finding) -> String {
    let rule = &alarm.rule;
    if finding.state == State::InsufficientData {
        let n = rule.periods;
        return format!("Insufficient Data: {n} {} unknown.", if n == 1 { "datapoint was" } else { "datapoints were" });
    }
    if finding.points.is_empty() {
        let (treated, n) = (if rule.missing == Gaps::Breaching { "Breaching" } else { "NonBreaching" }, finding.filled);
        return format!(
            "Threshold Crossed: no datapoints were received for {n} {} and {n} missing {} treated as [{treated}].",
            if n == 1 { "period" } else { "periods" },
            if n == 1 { "datapoint was" } else { "datapoints were" },
        );
    }
    let alarming = finding.state == State::Alarm;
    let said: Vec<&Point> = finding.points.iter().filter(|point| rule.breaches(point) == alarming).collect();
    let said = if said.is_empty() { finding.points.iter().collect() } else { said };
    let list: Vec<String> = said.iter().map(|point| format!("{} ({})", number(point.value), day(point.at))).collect();
    let verb = match (said.len(), alarming) {
        (1, true) => "was",
        (1, false) => "was not",
        (_, true) => "were",
        (_, false) => "were not",
    };
    let (from, needed) =
        if alarming { ("OK -> ALARM", rule.to_alarm) } else { ("ALARM -> OK", rule.periods - rule.to_alarm + 1) };
    if rule.comparison.is_of_band() {
        let crossed = against_band(rule, &said, alarming);
        return format!(
            "Thresholds Crossed: {} out of the last {} {} [{}] {verb} {crossed} (minimum {needed} {} for {from} transition).",
            said.len(),
            rule.periods,
            datapoints(rule.periods),
            list.join(", "),
            datapoints(needed),
        );
    }
    format!(
        "Threshold Crossed: {} out of the last {} {} [{}] {verb} {} the threshold ({}) (minimum {needed} {} for {from} transition).",
        said.len(),
        rule.periods,
        datapoints(rule.periods),
        list.join(", "),
        rule.comparison.words(),
        number(rule.threshold),
        datapoints(needed),
    )
}

/// With the edges of the band at each point.
fn against_band(rule: &Rule, said: &[&Point], alarming: bool) -> String {
    let edges = |of: fn((f64, f64)) -> f64| {
        let edges = said.iter().filter_map(|point| point.band).map(|band| number(of(band)));
        edges.collect::<Vec<_>>().join(", ")
    };
    let low = format!("less than the lower thresholds [{}]", edges(|band| band.0));
    let high = format!("greater than the upper thresholds [{}]", edges(|band| band.1));
    match rule.comparison {
        Comparison::BelowBand => low,
        Comparison::AboveBand => high,
        _ => format!("{low} or {}{high}", if alarming { "" } else { "not " }),
    }
}

fn datapoints(n: u32) -> &'static str {
    if n == 1 { "datapoint" } else { "datapoints" }
}

/// What programs read of it.
pub fn data(alarm: &MetricKind, finding: &Finding, now: Timestamp) -> String {
    let mut data = json!({
        "version": "1.0",
        "queryDate": timestamp(now),
        "period": alarm.period_s(),
        "recentDatapoints": finding.points.iter().rev().map(|point| point.value).collect::<Vec<_>>(),
        "threshold": alarm.rule.threshold,
        "evaluatedDatapoints": finding.points.iter().map(|point| {
            json!({ "timestamp": timestamp(Timestamp(point.at * 1000)), "value": point.value })
        }).collect::<Vec<_>>(),
    });
    if let Some(oldest) = finding.points.last() {
        data["startDate"] = timestamp(Timestamp(oldest.at * 1000)).into();
    }
    if let Watches::Metric(watched) = &alarm.watches {
        data["statistic"] = watched.stat.clone().into();
        if let Some(unit) = &watched.unit {
            data["unit"] = unit.clone().into();
        }
    }
    data.to_string()
}

/// `2026-11-21T10:00:00.000+0000`.
pub fn timestamp(at: Timestamp) -> String {
    at.iso8601().replace('Z', "+0000")
}

/// `21/11/26 10:00:00`.
fn day(at: i64) -> String {
    let text = Timestamp(at * 1000).iso8601();
    format!("{}/{}/{} {}", &text[8..10], &text[5..7], &text[2..4], &text[11..19])
}

/// With a point always: `5.0`.
pub fn number(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudwatch::alarms::tests::metric;

    fn finding(state: State, values: &[f64], filled: u32) -> Finding {
        let points = values.iter().enumerate();
        let points = points.map(|(i, value)| Point {
            at: 1_763_719_200 - 60 * i as i64,
            value: *value,
            insignificant: false,
            band: Some((1.0, 6.0)),
        });
        Finding { state, points: points.collect(), breaching: 0, filled }
    }

    #[test]
    fn reasons_are_in_the_words_of_the_service() {
        let mut alarm = metric();
        let say = |alarm: &MetricKind, state, values: &[f64], filled| reason(alarm, &finding(state, values, filled));
        assert_eq!(
            say(&alarm, State::Alarm, &[9.5], 0),
            "Threshold Crossed: 1 out of the last 1 datapoint [9.5 (21/11/25 10:00:00)] was greater than the threshold (5.0) \
             (minimum 1 datapoint for OK -> ALARM transition)."
        );
        assert_eq!(say(&alarm, State::InsufficientData, &[], 1), "Insufficient Data: 1 datapoint was unknown.");
        (alarm.rule.periods, alarm.rule.to_alarm) = (3, 2);
        assert_eq!(
            say(&alarm, State::Ok, &[1.0, 9.0, 2.0], 0),
            "Threshold Crossed: 2 out of the last 3 datapoints [1.0 (21/11/25 10:00:00), 2.0 (21/11/25 09:58:00)] were not \
             greater than the threshold (5.0) (minimum 2 datapoints for ALARM -> OK transition)."
        );
        alarm.rule.comparison = Comparison::OutsideBand;
        assert_eq!(
            say(&alarm, State::Ok, &[2.0, 3.0, 9.0], 0),
            "Thresholds Crossed: 2 out of the last 3 datapoints [2.0 (21/11/25 10:00:00), 3.0 (21/11/25 09:59:00)] were not less \
             than the lower thresholds [1.0, 1.0] or not greater than the upper thresholds [6.0, 6.0] (minimum 2 datapoints for \
             ALARM -> OK transition)."
        );
        alarm.rule.missing = Gaps::Breaching;
        assert_eq!(
            say(&alarm, State::Alarm, &[], 3),
            "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as [Breaching]."
        );
    }
}
