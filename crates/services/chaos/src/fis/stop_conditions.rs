//! Alarms that stop experiments.

use standfast_api::cloudwatch;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::Template;
use super::parse;

/// Why an experiment stopped.
pub const STOPPED: &str = "Experiment halted by stop condition.";

/// Alarms by their ARNs, with their states; `None` for one that does not exist.
async fn states(cx: &Cx, arns: &[String]) -> Result<Vec<(String, Option<String>)>> {
    let names = arns.iter().filter_map(|arn| parse::alarm_name(arn)).map(str::to_owned);
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let input = cloudwatch::DescribeAlarmsInput {
        alarm_names: Some(names.clone()),
        alarm_types: Some(vec!["MetricAlarm".into(), "CompositeAlarm".into()]),
        ..Default::default()
    };
    let found = cx.call(cloudwatch::DescribeAlarms, input).await?;
    let metric = found.metric_alarms.unwrap_or_default().into_iter().map(|one| (one.alarm_name, one.state_value));
    let composite = found.composite_alarms.unwrap_or_default().into_iter();
    let all: Vec<_> = metric.chain(composite.map(|one| (one.alarm_name, one.state_value))).collect();
    let state = |name: &String| all.iter().find(|(known, _)| known.as_ref() == Some(name))?.1.clone();
    Ok(names.into_iter().map(|name| (name.clone(), state(&name))).collect())
}

/// Refuses to start what an alarm would stop at once, or what names an alarm that is not there.
pub async fn none_is_met(cx: &Cx, template: &Template) -> Result<()> {
    for (name, state) in states(cx, &template.stop_alarms).await? {
        match state.as_deref() {
            None => return Err(parse::invalid(format!("The alarm '{name}' of a stop condition does not exist."))),
            Some("ALARM") => {
                let message = format!("The alarm '{name}' of a stop condition is in the ALARM state.");
                return Err(Error::client("ConflictException", message).with_status(409));
            }
            Some(_) => (),
        }
    }
    Ok(())
}

/// Whether an alarm says stop.
pub async fn is_met(cx: &Cx, template: &Template) -> Result<bool> {
    Ok(states(cx, &template.stop_alarms).await?.iter().any(|(_, state)| state.as_deref() == Some("ALARM")))
}

/// Whether all these alarms are in one of the states.
pub async fn all_are(cx: &Cx, alarms: &[String], wanted: &[&str]) -> Result<()> {
    for (name, state) in states(cx, alarms).await? {
        if !state.as_deref().is_some_and(|state| wanted.contains(&state)) {
            let state = state.unwrap_or_else(|| "not there".into());
            return Err(parse::invalid(format!("The alarm '{name}' is {state}, not {}.", wanted.join(" or "))));
        }
    }
    Ok(())
}
