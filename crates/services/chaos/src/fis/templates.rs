//! Experiment templates: made, looked at, changed and deleted.

use standfast_api::fis::{
    CreateExperimentTemplateInput, CreateExperimentTemplateOutput, DeleteExperimentTemplateInput,
    DeleteExperimentTemplateOutput, ExperimentTemplateSummary, GetExperimentTemplateInput, GetExperimentTemplateOutput,
    ListExperimentTemplatesInput, ListExperimentTemplatesOutput, UpdateExperimentTemplateInput,
    UpdateExperimentTemplateOutput,
};
use standfast_core::page::page;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::Template;
use super::{convert, parse};

const PAGE_MAX: usize = 100;
/// The quota of FIS.
const TEMPLATES_MAX: usize = 500;

pub async fn create(cx: Cx, input: CreateExperimentTemplateInput) -> Result<CreateExperimentTemplateOutput> {
    let template = parsed(&cx, input)?;
    let new_id = format!("EXT{}", cx.rng().hex(17));
    let (id, template) = cx
        .txn(|tx| {
            let all = tx.list::<Template>(cx.scope());
            let earlier = all.iter().find(|(_, earlier)| {
                earlier.client_token == template.client_token
                    && earlier.actions == template.actions
                    && earlier.targets == template.targets
            });
            if let Some((id, earlier)) = earlier {
                return Ok((id.to_string(), (**earlier).clone()));
            }
            if all.len() >= TEMPLATES_MAX {
                return Err(parse::too_many("experiment templates", TEMPLATES_MAX));
            }
            tx.put(cx.scope(), &new_id, template.clone());
            Ok((new_id.clone(), template.clone()))
        })
        .await?;
    Ok(CreateExperimentTemplateOutput { experiment_template: Some(convert::template(&cx, &id, &template)) })
}

fn parsed(cx: &Cx, input: CreateExperimentTemplateInput) -> Result<Template> {
    not_available(input.log_configuration.is_some(), input.experiment_report_configuration.is_some())?;
    let conditions = input.stop_conditions.into_iter().map(|one| (one.source, one.value)).collect();
    let targets = parse::targets(input.targets.unwrap_or_default())?;
    let options = input.experiment_options.unwrap_or_default();
    Ok(Template {
        description: input.description,
        actions: parse::actions(input.actions, &targets)?,
        targets,
        stop_alarms: parse::stop_conditions(conditions)?,
        role_arn: input.role_arn,
        tags: input.tags.unwrap_or_default(),
        client_token: input.client_token,
        created: cx.now(),
        updated: cx.now(),
        skip_empty_targets: options.empty_target_resolution_mode.as_deref() == Some("skip"),
        multi_account: options.account_targeting.as_deref() == Some("multi-account"),
        accounts: Default::default(),
    })
}

/// Logs and reports go to services that are not here; better no experiment than one whose log is missed afterwards.
fn not_available(log: bool, report: bool) -> Result<()> {
    let what = match (log, report) {
        (true, _) => "logConfiguration",
        (_, true) => "experimentReportConfiguration",
        _ => return Ok(()),
    };
    Err(parse::invalid(format!(
        "{what} is not available in this version of Standfast; `standfast game-day` writes reports."
    )))
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
            last_update_time: Some(template.updated),
            tags: Some(template.tags.clone()),
        })
        .collect();
    Ok(ListExperimentTemplatesOutput { experiment_templates: Some(templates), next_token: page.next })
}

/// What is given takes the place of what there was: all targets, all actions.
pub async fn update(cx: Cx, input: UpdateExperimentTemplateInput) -> Result<UpdateExperimentTemplateOutput> {
    not_available(input.log_configuration.is_some(), input.experiment_report_configuration.is_some())?;
    let conditions = input.stop_conditions.map(|all| all.into_iter().map(|one| (one.source, one.value)).collect());
    let conditions = conditions.map(parse::stop_conditions).transpose()?;
    let targets = input.targets.map(|all| all.into_iter().map(|(name, one)| (name, parse::as_created(one))).collect());
    let targets = targets.map(parse::targets).transpose()?;
    let as_created = |(name, one): (String, _)| Ok((name.clone(), parse::action_as_created(&name, one)?));
    let actions = input.actions.map(|all| all.into_iter().map(as_created).collect::<Result<_>>()).transpose()?;
    let mode = input.experiment_options.and_then(|options| options.empty_target_resolution_mode);
    let now = cx.now();
    let template = cx
        .txn(|tx| {
            let old = tx.get::<Template>(cx.scope(), &input.id).ok_or_else(|| unknown(&input.id))?;
            let mut new = (*old).clone();
            new.description = input.description.clone().unwrap_or(new.description);
            new.stop_alarms = conditions.clone().unwrap_or(new.stop_alarms);
            new.role_arn = input.role_arn.clone().unwrap_or(new.role_arn);
            new.targets = targets.clone().unwrap_or(new.targets);
            let kept = || new.actions.iter().map(|(name, one)| (name.clone(), convert::action_input(one))).collect();
            new.actions = parse::actions(actions.clone().unwrap_or_else(kept), &new.targets)?;
            new.skip_empty_targets = mode.as_deref().map_or(new.skip_empty_targets, |mode| mode == "skip");
            new.updated = now;
            tx.put(cx.scope(), &input.id, new.clone());
            Ok(new)
        })
        .await?;
    Ok(UpdateExperimentTemplateOutput { experiment_template: Some(convert::template(&cx, &input.id, &template)) })
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
