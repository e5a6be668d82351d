//! Who hears of it.

use super::rules::{found, groups};
use super::{Case, Found};

pub fn no_group_alarm(case: &Case<'_>) -> Vec<Found> {
    groups(case, |group| {
        let of_targets = |arn: &String| case.estate.alarms.iter().any(|alarm| is_about(&alarm.about, arn));
        let heard = case.estate.alarms.iter().any(|alarm| alarm.about.contains(&group.name))
            || group.target_groups.iter().any(of_targets);
        (!heard && group.desired > 0).then(|| {
            let why =
                "No alarm watches the group or its targets: that it runs on less than it needs shows to users first.";
            found(&group.name, "", why, "Alarm on GroupInServiceInstances below what a zone less would leave.")
        })
    })
}

/// Whether a dimension's value, `targetgroup/name/id`, is the end of this ARN.
fn is_about(values: &[String], arn: &str) -> bool {
    values.iter().any(|value| !value.is_empty() && arn.ends_with(value.as_str()))
}

pub fn no_target_alarm(case: &Case<'_>) -> Vec<Found> {
    (case.estate.target_groups.iter())
        .filter(|group| !case.estate.alarms.iter().any(|alarm| is_about(&alarm.about, &group.arn)))
        .map(|group| {
            let why = "No alarm watches its targets: a zone may be out for long before anybody looks.";
            found(&group.arn, "", why, "Alarm on UnHealthyHostCount above 0, or HealthyHostCount below what you need.")
        })
        .collect()
}

pub fn silent_alarm(case: &Case<'_>) -> Vec<Found> {
    (case.estate.alarms.iter())
        .filter(|alarm| alarm.actions == 0)
        .map(|alarm| {
            let why = "It changes its state and does nothing: nobody is told and nothing is done.";
            found(&alarm.name, "AlarmActions", why, "Give it a topic or a scaling policy.")
        })
        .collect()
}

pub fn unheard_silence(case: &Case<'_>) -> Vec<Found> {
    // AWS's own services do not fall silent with what they measure; a program that publishes does.
    (case.estate.alarms.iter())
        .filter(|alarm| !alarm.namespace.is_empty() && !alarm.namespace.starts_with("AWS/"))
        .filter(|alarm| alarm.actions > 0 && alarm.silent_when_missing)
        .map(|alarm| {
            let why = format!(
                "{} {} is published by a program: when that or its instance is gone there is no data, and the alarm tells \
                 nobody.",
                alarm.namespace, alarm.metric
            );
            found(&alarm.name, "TreatMissingData", why, "Treat missing data as breaching, or give it InsufficientDataActions.")
        })
        .collect()
}

pub fn no_stop_condition(case: &Case<'_>) -> Vec<Found> {
    match (case.stops, case.estate.groups.first()) {
        (Some(false), Some(group)) => {
            let why = "What the game day breaks stays broken until its time is over, whatever it does to users.";
            vec![found(&group.name, "", why, "Name an alarm in the game day's stop_alarms.")]
        }
        _ => Vec::new(),
    }
}
