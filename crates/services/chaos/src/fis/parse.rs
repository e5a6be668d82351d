//! What clients write in templates, parsed and checked, so that an experiment cannot fail for its form.

use std::collections::BTreeMap;
use std::time::Duration;

use standfast_api::fis::{
    CreateExperimentTemplateActionInput, CreateExperimentTemplateTargetInput, UpdateExperimentTemplateActionInputItem,
    UpdateExperimentTemplateTargetInput,
};
use standfast_core::place::Zone;
use standfast_core::{Arn, Error, Result};

use super::catalogue::{self, ActionType, Parameter, Value};
use super::model::{Action, Selection, Target};
use super::targets::{self, TargetType};

/// Quotas of FIS.
pub const ACTIONS_MAX: usize = 20;
pub const STOP_CONDITIONS_MAX: usize = 5;
const TARGETS_MAX: usize = 20;
const FILTERS_MAX: usize = 20;
/// The longest time an action may take: 12 hours, as in FIS.
const DURATION_MAX: Duration = Duration::from_secs(12 * 3600);
const ALARM_SOURCE: &str = "aws:cloudwatch:alarm";

pub fn invalid(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}

/// More than a quota allows.
pub fn too_many(what: &str, max: usize) -> Error {
    Error::client("ServiceQuotaExceededException", format!("There are more {what} than the quota of {max} allows."))
        .with_status(402)
}

/// A target as it is created; those of updates are the same.
pub type TargetInput = CreateExperimentTemplateTargetInput;
pub type ActionInput = CreateExperimentTemplateActionInput;

pub fn as_created(input: UpdateExperimentTemplateTargetInput) -> TargetInput {
    TargetInput {
        resource_type: input.resource_type,
        resource_arns: input.resource_arns,
        resource_tags: input.resource_tags,
        filters: input.filters,
        selection_mode: input.selection_mode,
        parameters: input.parameters,
    }
}

pub fn action_as_created(name: &str, input: UpdateExperimentTemplateActionInputItem) -> Result<ActionInput> {
    Ok(ActionInput {
        action_id: input.action_id.ok_or_else(|| invalid(format!("The action '{name}' has no actionId.")))?,
        description: input.description,
        parameters: input.parameters,
        targets: input.targets,
        start_after: input.start_after,
    })
}

/// The alarms that stop the experiment, from sources and values.
pub fn stop_conditions(conditions: Vec<(String, Option<String>)>) -> Result<Vec<String>> {
    if conditions.len() > STOP_CONDITIONS_MAX {
        return Err(too_many("stop conditions", STOP_CONDITIONS_MAX));
    }
    let mut alarms = Vec::new();
    for (source, value) in conditions {
        match (source.as_str(), value) {
            ("none", None) => (),
            ("none", Some(_)) => return Err(invalid("The stop condition source 'none' takes no value.")),
            (ALARM_SOURCE, Some(arn)) if alarm_name(&arn).is_some() => alarms.push(arn),
            (ALARM_SOURCE, Some(arn)) => {
                return Err(invalid(format!("The stop condition's value '{arn}' is not the ARN of an alarm.")));
            }
            (ALARM_SOURCE, None) => {
                return Err(invalid(format!("The stop condition source '{ALARM_SOURCE}' needs an alarm's ARN.")));
            }
            (other, _) => {
                return Err(invalid(format!(
                    "The stop condition source '{other}' is neither 'none' nor '{ALARM_SOURCE}'."
                )));
            }
        }
    }
    Ok(alarms)
}

/// The name in an alarm's ARN.
pub fn alarm_name(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(7, ':').collect();
    match parts[..] {
        ["arn", _, "cloudwatch", _, _, "alarm", name] if !name.is_empty() => Some(name),
        _ => None,
    }
}

pub fn targets(input: BTreeMap<String, TargetInput>) -> Result<BTreeMap<String, Target>> {
    if input.len() > TARGETS_MAX {
        return Err(too_many("targets", TARGETS_MAX));
    }
    input.into_iter().map(|(name, one)| Ok((name.clone(), target(&name, one)?))).collect()
}

fn target(name: &str, input: TargetInput) -> Result<Target> {
    let kind = targets::target_type(&input.resource_type).ok_or_else(|| {
        invalid(format!("The target '{name}' has the unsupported resource type '{}'.", input.resource_type))
    })?;
    let (arns, tags) = (input.resource_arns.unwrap_or_default(), input.resource_tags.unwrap_or_default());
    let filters: Vec<_> = input.filters.unwrap_or_default().into_iter().map(|f| (f.path, f.values)).collect();
    let parameters = input.parameters.unwrap_or_default();
    if !arns.is_empty() && (!tags.is_empty() || !filters.is_empty()) {
        return Err(invalid(format!("The target '{name}' has both resourceArns and resourceTags or filters.")));
    }
    if arns.is_empty() && tags.is_empty() && filters.is_empty() && parameters.is_empty() {
        return Err(invalid(format!("The target '{name}' needs resourceArns, resourceTags or filters.")));
    }
    if let Some(bad) = arns.iter().find(|arn| arn.parse::<Arn>().is_err()) {
        return Err(invalid(format!("The target '{name}' has the invalid resource ARN '{bad}'.")));
    }
    if filters.len() > FILTERS_MAX {
        return Err(too_many("filters of a target", FILTERS_MAX));
    }
    if let Some((path, _)) = filters.iter().find(|(path, _)| !targets::has_path(kind.kind, path)) {
        return Err(invalid(format!("The target '{name}' has the unknown filter path '{path}'.")));
    }
    if let Some((path, _)) = filters.iter().find(|(_, values)| values.is_empty()) {
        return Err(invalid(format!("The filter '{path}' of the target '{name}' has no values.")));
    }
    if let Some(other) = parameters.keys().find(|key| !kind.parameters.iter().any(|(known, _)| known == key)) {
        return Err(invalid(format!("The target '{name}' has the unknown parameter '{other}'.")));
    }
    let selection = selection(&input.selection_mode).ok_or_else(|| {
        invalid(format!("The target '{name}' has the invalid selectionMode '{}'.", input.selection_mode))
    })?;
    Ok(Target {
        resource_type: input.resource_type,
        resource_arns: arns,
        resource_tags: tags,
        filters,
        parameters,
        selection,
    })
}

fn selection(text: &str) -> Option<Selection> {
    let number = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')')?.parse::<usize>().ok();
    match (text, number("COUNT("), number("PERCENT(")) {
        ("ALL", ..) => Some(Selection::All),
        (_, Some(count), _) if count > 0 => Some(Selection::Count(count)),
        (_, _, Some(percent)) if (1..=100).contains(&percent) => Some(Selection::Percent(percent)),
        _ => None,
    }
}

pub fn actions(
    input: BTreeMap<String, ActionInput>,
    targets: &BTreeMap<String, Target>,
) -> Result<BTreeMap<String, Action>> {
    if input.is_empty() {
        return Err(invalid("The experiment template has no actions."));
    }
    if input.len() > ACTIONS_MAX {
        return Err(too_many("actions", ACTIONS_MAX));
    }
    let actions = input
        .into_iter()
        .map(|(name, one)| Ok((name.clone(), action(&name, one, targets)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    ordered(&actions)?;
    Ok(actions)
}

fn action(name: &str, input: ActionInput, targets: &BTreeMap<String, Target>) -> Result<Action> {
    let kind = catalogue::action(&input.action_id).ok_or_else(|| match catalogue::is_elsewhere(&input.action_id) {
        true => invalid(format!(
            "The action '{name}' has the actionId '{}', which is not available in this version of Standfast.",
            input.action_id
        )),
        false => invalid(format!("The action '{name}' has the unknown actionId '{}'.", input.action_id)),
    })?;
    let parameters = input.parameters.unwrap_or_default();
    check_parameters(name, kind, &parameters)?;
    let used = input.targets.unwrap_or_default();
    check_targets(name, kind.target, &used, targets)?;
    let start_after = input.start_after.unwrap_or_default();
    Ok(Action { action_id: input.action_id, description: input.description, parameters, targets: used, start_after })
}

fn check_parameters(name: &str, kind: &ActionType, given: &BTreeMap<String, String>) -> Result<()> {
    for (key, value) in given {
        let Some(parameter) = kind.parameters.iter().find(|known| known.name == key) else {
            return Err(invalid(format!("The action '{name}' has the unknown parameter '{key}'.")));
        };
        if !fits(parameter, value) {
            return Err(invalid(format!("The action '{name}' has the invalid value '{value}' for '{key}'.")));
        }
    }
    match kind.parameters.iter().find(|known| known.required && !given.contains_key(known.name)) {
        Some(missing) => Err(invalid(format!("The action '{name}' needs the parameter '{}'.", missing.name))),
        None => Ok(()),
    }
}

fn fits(parameter: &Parameter, value: &str) -> bool {
    let number = || value.parse::<u32>();
    match parameter.value {
        Value::Text => !value.trim().is_empty(),
        Value::Duration => duration(value).is_some(),
        Value::DurationWithin(from, to) => duration(value).is_some_and(|d| (from..=to).contains(&d.as_secs())),
        Value::Number(max) => number().is_ok_and(|number| number <= max),
        Value::Percent => number().is_ok_and(|number| (1..=100).contains(&number)),
        Value::Zone => Zone::named(value).is_some(),
        Value::Zones => value.split(',').all(|zone| !zone.trim().is_empty()),
        Value::Bool => matches!(value, "true" | "false"),
        Value::OneOf(all) => all.contains(&value),
    }
}

fn check_targets(
    name: &str,
    wanted: Option<&TargetType>,
    used: &BTreeMap<String, String>,
    targets: &BTreeMap<String, Target>,
) -> Result<()> {
    if let Some(needed) = wanted.filter(|needed| !used.contains_key(needed.name)) {
        return Err(invalid(format!("The action '{name}' needs the target '{}'.", needed.name)));
    }
    for (key, target) in used {
        let wanted = wanted.filter(|wanted| wanted.name == key);
        let (Some(wanted), Some(found)) = (wanted, targets.get(target)) else {
            return Err(invalid(format!("The action '{name}' refers to the unknown target '{key}': '{target}'.")));
        };
        if found.resource_type != wanted.resource_type {
            return Err(invalid(format!(
                "The action '{name}' needs a target of type '{}', and '{target}' is '{}'.",
                wanted.resource_type, found.resource_type
            )));
        }
    }
    Ok(())
}

/// Whether every action can begin after those that it starts after: they are there, and none waits for itself.
fn ordered(actions: &BTreeMap<String, Action>) -> Result<()> {
    for (name, action) in actions {
        if let Some(other) = action.start_after.iter().find(|other| !actions.contains_key(*other) || *other == name) {
            return Err(invalid(format!("The action '{name}' starts after the unknown action '{other}'.")));
        }
    }
    let mut waiting: Vec<&String> = actions.keys().collect();
    loop {
        let before = waiting.len();
        let still: Vec<&String> = waiting.clone();
        waiting.retain(|name| actions[*name].start_after.iter().any(|other| still.contains(&other)));
        match waiting.first() {
            None => return Ok(()),
            Some(stuck) if waiting.len() == before => {
                return Err(invalid(format!("The action '{stuck}' starts, by way of others, after itself.")));
            }
            Some(_) => (),
        }
    }
}

/// Reads an ISO 8601 duration of days, hours, minutes and seconds, for example `PT5M`.
pub fn duration(text: &str) -> Option<Duration> {
    let (date, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((date, time)) if !time.is_empty() => (date, time),
        Some(_) => return None,
        None => (text.strip_prefix('P')?, ""),
    };
    let (mut seconds, mut any) = (0u64, false);
    for (part, units) in [(date, &[('D', 86_400)][..]), (time, &[('H', 3600), ('M', 60), ('S', 1)])] {
        let mut rest = part;
        for (unit, each) in units {
            if let Some((number, after)) = rest.split_once(*unit) {
                seconds = seconds.checked_add(number.parse::<u64>().ok()?.checked_mul(*each)?)?;
                (rest, any) = (after, true);
            }
        }
        if !rest.is_empty() {
            return None;
        }
    }
    let duration = Duration::from_secs(seconds);
    (any && seconds > 0 && duration <= DURATION_MAX).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601_with_bounds() {
        assert_eq!(duration("PT5M"), Some(Duration::from_secs(300)));
        assert_eq!(duration("PT1H30S"), Some(Duration::from_secs(3630)));
        for bad in ["", "P", "PT", "5M", "PT5", "PT0S", "PT13H", "P1DT", "PT5M1H", "PT-1S", "PT99999999999999999999S"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn selections_have_bounds() {
        assert_eq!(selection("ALL"), Some(Selection::All));
        assert_eq!(selection("COUNT(3)"), Some(Selection::Count(3)));
        assert_eq!(selection("PERCENT(50)"), Some(Selection::Percent(50)));
        for bad in ["", "all", "COUNT(0)", "COUNT(x)", "PERCENT(101)", "PERCENT(50"] {
            assert_eq!(selection(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_action_that_waits_for_itself_is_found() {
        let wait = |after: &[&str]| Action {
            action_id: "aws:fis:wait".into(),
            description: None,
            parameters: BTreeMap::new(),
            targets: BTreeMap::new(),
            start_after: after.iter().map(|name| (*name).to_owned()).collect(),
        };
        let of = |all: &[(&str, &[&str])]| {
            let actions = all.iter().map(|(name, after)| ((*name).to_owned(), wait(after))).collect();
            ordered(&actions).is_ok()
        };
        assert!(of(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])]));
        assert!(!of(&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])]));
        assert!(!of(&[("a", &["a"])]) && !of(&[("a", &["x"])]));
    }

    #[test]
    fn alarms_are_named_by_their_arns() {
        assert_eq!(alarm_name("arn:aws:cloudwatch:eu-west-1:000000000000:alarm:a:b"), Some("a:b"));
        for bad in ["", "alarm", "arn:aws:cloudwatch:eu-west-1:000000000000:alarm:", "arn:aws:sns:r:a:alarm:x"] {
            assert_eq!(alarm_name(bad), None, "{bad}");
        }
    }
}
