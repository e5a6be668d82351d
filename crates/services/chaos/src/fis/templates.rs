//! Experiment templates: parsed and checked when they are made, so that an experiment cannot fail for its form.

use std::collections::BTreeMap;
use std::time::Duration;

use standfast_api::fis::{
    CreateExperimentTemplateActionInput, CreateExperimentTemplateInput, CreateExperimentTemplateOutput,
    CreateExperimentTemplateTargetInput, DeleteExperimentTemplateInput, DeleteExperimentTemplateOutput,
    ExperimentTemplateSummary, GetExperimentTemplateInput, GetExperimentTemplateOutput, ListExperimentTemplatesInput,
    ListExperimentTemplatesOutput,
};
use standfast_core::page::page;
use standfast_core::place::Zone;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::catalogue::{self, BEFORE_INTERRUPTION, DURATION, START_AFTER, ZONE};
use super::convert;
use super::model::{Action, Selection, Target, Template};

const PAGE_MAX: usize = 100;
/// The longest time an action may take: 12 hours, as in FIS.
const DURATION_MAX: Duration = Duration::from_secs(12 * 3600);
/// How long before a Spot Instance is interrupted its owner may be told.
const BEFORE_INTERRUPTION_BOUNDS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(2 * 60)..=Duration::from_secs(15 * 60);

pub async fn create(cx: Cx, input: CreateExperimentTemplateInput) -> Result<CreateExperimentTemplateOutput> {
    let template = parse(&cx, input)?;
    let new_id = format!("EXT{}", cx.rng().hex(17));
    let (id, template) = cx
        .txn(|tx| {
            let earlier = tx.list::<Template>(cx.scope()).into_iter().find(|(_, earlier)| {
                earlier.client_token == template.client_token
                    && earlier.actions == template.actions
                    && earlier.targets == template.targets
            });
            if let Some((id, earlier)) = earlier {
                return Ok((id.to_string(), (*earlier).clone()));
            }
            tx.put(cx.scope(), &new_id, template.clone());
            Ok((new_id.clone(), template.clone()))
        })
        .await?;
    Ok(CreateExperimentTemplateOutput { experiment_template: Some(convert::template(&cx, &id, &template)) })
}

pub async fn get(cx: Cx, input: GetExperimentTemplateInput) -> Result<GetExperimentTemplateOutput> {
    let template = cx.view(|v| v.get::<Template>(cx.scope(), &input.id)).ok_or_else(|| unknown(&input.id))?;
    Ok(GetExperimentTemplateOutput { experiment_template: Some(convert::template(&cx, &input.id, &template)) })
}

pub async fn list(cx: Cx, input: ListExperimentTemplatesInput) -> Result<ListExperimentTemplatesOutput> {
    let all = cx.view(|v| v.list::<Template>(cx.scope()));
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let page = page(all, |(id, _)| id.to_string(), input.next_token.as_deref(), limit, "ValidationException")?;
    let templates = (page.items.iter())
        .map(|(id, template)| ExperimentTemplateSummary {
            id: Some(id.to_string()),
            arn: Some(convert::template_arn(&cx, id)),
            description: Some(template.description.clone()),
            creation_time: Some(template.created),
            last_update_time: Some(template.created),
            tags: Some(template.tags.clone()),
        })
        .collect();
    Ok(ListExperimentTemplatesOutput { experiment_templates: Some(templates), next_token: page.next })
}

pub async fn delete(cx: Cx, input: DeleteExperimentTemplateInput) -> Result<DeleteExperimentTemplateOutput> {
    let template = cx
        .txn(|tx| {
            let template = tx.get::<Template>(cx.scope(), &input.id).ok_or_else(|| unknown(&input.id))?;
            tx.delete::<Template>(cx.scope(), &input.id);
            Ok(template)
        })
        .await?;
    Ok(DeleteExperimentTemplateOutput { experiment_template: Some(convert::template(&cx, &input.id, &template)) })
}

pub fn unknown(id: &str) -> Error {
    Error::client("ResourceNotFoundException", format!("Experiment template with id {id} does not exist."))
}

pub fn invalid(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}

fn parse(cx: &Cx, input: CreateExperimentTemplateInput) -> Result<Template> {
    for condition in &input.stop_conditions {
        if condition.source != "none" {
            return Err(invalid(format!(
                "The stop condition source '{}' is not available in this version of Standfast; use 'none'.",
                condition.source
            )));
        }
    }
    if input.log_configuration.is_some() || input.experiment_report_configuration.is_some() {
        return Err(invalid(
            "logConfiguration and experimentReportConfiguration are not available in this version of Standfast.",
        ));
    }
    let targets = (input.targets.unwrap_or_default().into_iter())
        .map(|(name, target)| Ok((name.clone(), parse_target(&name, target)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    let names: Vec<String> = input.actions.keys().cloned().collect();
    let actions = (input.actions.into_iter())
        .map(|(name, action)| Ok((name.clone(), parse_action(&name, action, &targets, &names)?)))
        .collect::<Result<BTreeMap<_, _>>>()?;
    if actions.is_empty() {
        return Err(invalid("The experiment template has no actions."));
    }
    let options = input.experiment_options.unwrap_or_default();
    Ok(Template {
        description: input.description,
        targets,
        actions,
        role_arn: input.role_arn,
        tags: input.tags.unwrap_or_default(),
        client_token: input.client_token,
        created: cx.now(),
        skip_empty_targets: options.empty_target_resolution_mode.as_deref() == Some("skip"),
    })
}

fn parse_target(name: &str, input: CreateExperimentTemplateTargetInput) -> Result<Target> {
    if catalogue::target_type(&input.resource_type).is_none() {
        return Err(invalid(format!(
            "The target '{name}' has the unsupported resource type '{}'.",
            input.resource_type
        )));
    }
    let (arns, tags) = (input.resource_arns.unwrap_or_default(), input.resource_tags.unwrap_or_default());
    let filters: Vec<_> = input.filters.unwrap_or_default().into_iter().map(|f| (f.path, f.values)).collect();
    let others = !tags.is_empty() || !filters.is_empty();
    if !arns.is_empty() && others {
        return Err(invalid(format!("The target '{name}' has both resourceArns and resourceTags or filters.")));
    }
    if arns.is_empty() && tags.is_empty() && filters.is_empty() {
        return Err(invalid(format!("The target '{name}' needs resourceArns, resourceTags or filters.")));
    }
    for (path, _) in &filters {
        if !matches!(path.as_str(), "Placement.AvailabilityZone" | "State.Name" | "SubnetId" | "VpcId") {
            return Err(invalid(format!("The target '{name}' has the unknown filter path '{path}'.")));
        }
    }
    let selection = parse_selection(&input.selection_mode).ok_or_else(|| {
        invalid(format!("The target '{name}' has the invalid selectionMode '{}'.", input.selection_mode))
    })?;
    Ok(Target { resource_type: input.resource_type, resource_arns: arns, resource_tags: tags, filters, selection })
}

fn parse_selection(text: &str) -> Option<Selection> {
    let number = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')')?.parse::<usize>().ok();
    match (text, number("COUNT("), number("PERCENT(")) {
        ("ALL", ..) => Some(Selection::All),
        (_, Some(count), _) if count > 0 => Some(Selection::Count(count)),
        (_, _, Some(percent)) if (1..=100).contains(&percent) => Some(Selection::Percent(percent)),
        _ => None,
    }
}

fn parse_action(
    name: &str,
    input: CreateExperimentTemplateActionInput,
    targets: &BTreeMap<String, Target>,
    names: &[String],
) -> Result<Action> {
    let kind = catalogue::action(&input.action_id)
        .ok_or_else(|| invalid(format!("The action '{name}' has the unknown actionId '{}'.", input.action_id)))?;
    let parameters = input.parameters.unwrap_or_default();
    for (parameter, value) in &parameters {
        if !kind.parameters.iter().any(|(known, ..)| known == parameter) {
            return Err(invalid(format!("The action '{name}' has the unknown parameter '{parameter}'.")));
        }
        let fits = match parameter.as_str() {
            ZONE => Zone::named(value).is_some(),
            DURATION | START_AFTER => duration(value).is_some(),
            BEFORE_INTERRUPTION => duration(value).is_some_and(|time| BEFORE_INTERRUPTION_BOUNDS.contains(&time)),
            _ => true,
        };
        if !fits {
            return Err(invalid(format!("The action '{name}' has the invalid value '{value}' for '{parameter}'.")));
        }
    }
    for (parameter, required, _) in kind.parameters {
        if *required && !parameters.contains_key(*parameter) {
            return Err(invalid(format!("The action '{name}' needs the parameter '{parameter}'.")));
        }
    }
    let used = input.targets.unwrap_or_default();
    if let Some(needed) = kind.target.filter(|needed| !used.contains_key(needed.name)) {
        return Err(invalid(format!("The action '{name}' needs the target '{}'.", needed.name)));
    }
    for (key, target) in &used {
        let wanted = kind.target.filter(|wanted| wanted.name == key);
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
    let start_after = input.start_after.unwrap_or_default();
    if let Some(other) = start_after.iter().find(|other| !names.contains(other) || *other == name) {
        return Err(invalid(format!("The action '{name}' starts after the unknown action '{other}'.")));
    }
    Ok(Action { action_id: input.action_id, description: input.description, parameters, targets: used, start_after })
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
        assert_eq!(parse_selection("ALL"), Some(Selection::All));
        assert_eq!(parse_selection("COUNT(3)"), Some(Selection::Count(3)));
        assert_eq!(parse_selection("PERCENT(50)"), Some(Selection::Percent(50)));
        for bad in ["", "all", "COUNT(0)", "COUNT(x)", "PERCENT(101)", "PERCENT(50"] {
            assert_eq!(parse_selection(bad), None, "{bad}");
        }
    }
}
