//! Experiments: started from a copy of a template, stopped, looked at.

use std::collections::BTreeMap;

use standfast_api::fis::{
    GetExperimentInput, GetExperimentOutput, ListExperimentResolvedTargetsInput, ListExperimentResolvedTargetsOutput,
    ListExperimentsInput, ListExperimentsOutput, ResolvedTarget, StartExperimentInput, StartExperimentOutput,
    StopExperimentInput, StopExperimentOutput,
};
use standfast_core::page::page;
use standfast_core::quota::ACTIVE_EXPERIMENTS;
use standfast_core::{Error, Result, Rng};
use standfast_kernel::Cx;

use super::model::{Experiment, Progress, Status, Template};
use super::{check, convert, events, parse, safety_lever, stop_conditions, templates};

const PAGE_MAX: usize = 100;
/// Experiments that are over are forgotten beyond this many, oldest first.
const FINISHED_MAX: usize = 500;

/// Nothing breaks before all that can be known is known: that the lever lets it, that no alarm stops it at once, and that
/// the hosts can do it.
pub async fn start(cx: Cx, input: StartExperimentInput) -> Result<StartExperimentOutput> {
    let skip_all = input.experiment_options.as_ref().and_then(|o| o.actions_mode.as_deref()) == Some("skip-all");
    let repeated = cx.view(|v| {
        let all = v.list::<Experiment>(cx.scope());
        all.into_iter().find(|(_, one)| one.client_token == input.client_token)
    });
    if let Some((id, experiment)) = repeated {
        return Ok(StartExperimentOutput { experiment: Some(convert::experiment(&cx, &id, &experiment)) });
    }
    let template = cx
        .view(|v| v.get::<Template>(cx.scope(), &input.experiment_template_id))
        .ok_or_else(|| templates::unknown(&input.experiment_template_id))?;
    // Actions that may turn out to have no targets are judged when that is known. A preview says what a start would say.
    check::feasible(&cx, &template, |action| !template.skip_empty_targets || action.targets.is_empty())?;
    if !skip_all {
        stop_conditions::none_is_met(&cx, &template).await?;
    }
    let new_id = format!("EXP{}", cx.rng().hex(17));
    let seed = cx.rng().u64();
    let experiment = cx
        .txn(|tx| {
            if let Some(reason) = safety_lever::engaged(tx, &cx) {
                let message = format!("The safety lever is engaged: {reason}");
                return Err(Error::client("ConflictException", message).with_status(409));
            }
            let all = tx.list::<Experiment>(cx.scope());
            let (mut over, active): (Vec<_>, Vec<_>) = all.iter().partition(|(_, one)| one.status.is_over());
            if active.len() >= ACTIVE_EXPERIMENTS {
                return Err(parse::too_many("active experiments", ACTIVE_EXPERIMENTS));
            }
            over.sort_by_key(|(_, one)| one.created);
            for (old, _) in over.iter().take(over.len().saturating_sub(FINISHED_MAX)) {
                tx.delete::<Experiment>(cx.scope(), old);
            }
            let experiment = Experiment {
                template_id: input.experiment_template_id.clone(),
                template: (*template).clone(),
                tags: input.tags.clone().unwrap_or_default(),
                client_token: input.client_token.clone(),
                skip_all,
                status: Status::Initiating,
                reason: None,
                created: cx.now(),
                started: None,
                ended: None,
                resolved: BTreeMap::new(),
                progress: template.actions.keys().map(|name| (name.clone(), Progress::Pending)).collect(),
            };
            events::moved(tx, &cx, &Rng::seeded(seed), &new_id, None, &experiment);
            tx.put(cx.scope(), &new_id, experiment.clone());
            Ok(experiment)
        })
        .await?;
    Ok(StartExperimentOutput { experiment: Some(convert::experiment(&cx, &new_id, &experiment)) })
}

pub async fn stop(cx: Cx, input: StopExperimentInput) -> Result<StopExperimentOutput> {
    let seed = cx.rng().u64();
    let experiment = cx
        .txn(|tx| {
            let experiment = tx.get::<Experiment>(cx.scope(), &input.id).ok_or_else(|| unknown(&input.id))?;
            if experiment.status.is_over() {
                return Err(parse::invalid(format!("Experiment {} has ended already.", input.id)));
            }
            let stopping = Experiment { status: Status::Stopping, ..(*experiment).clone() };
            events::moved(tx, &cx, &Rng::seeded(seed), &input.id, Some(&experiment), &stopping);
            tx.put(cx.scope(), &input.id, stopping.clone());
            Ok(stopping)
        })
        .await?;
    Ok(StopExperimentOutput { experiment: Some(convert::experiment(&cx, &input.id, &experiment)) })
}

pub async fn get(cx: Cx, input: GetExperimentInput) -> Result<GetExperimentOutput> {
    let experiment = cx.view(|v| v.get::<Experiment>(cx.scope(), &input.id)).ok_or_else(|| unknown(&input.id))?;
    Ok(GetExperimentOutput { experiment: Some(convert::experiment(&cx, &input.id, &experiment)) })
}

pub async fn list(cx: Cx, input: ListExperimentsInput) -> Result<ListExperimentsOutput> {
    let all = cx.view(|v| v.list::<Experiment>(cx.scope()));
    let wanted =
        all.into_iter().filter(|(_, e)| input.experiment_template_id.as_ref().is_none_or(|t| *t == e.template_id));
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let page = page(wanted, |(id, _)| id.to_string(), input.next_token.as_deref(), limit, "ValidationException")?;
    let experiments = page.items.iter().map(|(id, experiment)| convert::summary(&cx, id, experiment)).collect();
    Ok(ListExperimentsOutput { experiments: Some(experiments), next_token: page.next })
}

/// What an experiment's targets mean; of one that runs no actions, what they would have meant.
pub async fn resolved_targets(
    cx: Cx,
    input: ListExperimentResolvedTargetsInput,
) -> Result<ListExperimentResolvedTargetsOutput> {
    let id = &input.experiment_id;
    let experiment = cx.view(|v| v.get::<Experiment>(cx.scope(), id)).ok_or_else(|| unknown(id))?;
    if let Some(name) = input.target_name.as_ref().filter(|name| !experiment.template.targets.contains_key(*name)) {
        let message = format!("The experiment {id} has no target '{name}'.");
        return Err(Error::client("ResourceNotFoundException", message));
    }
    let wanted = experiment.resolved.iter().filter(|(name, _)| input.target_name.as_ref().is_none_or(|t| t == *name));
    let all = wanted.flat_map(|(name, arns)| arns.iter().map(move |arn| (name, arn)));
    let limit = input.max_results.map_or(PAGE_MAX, |limit| limit as usize);
    let key = |(name, arn): &(&String, &String)| format!("{name}\n{arn}");
    let page = page(all, key, input.next_token.as_deref(), limit, "ValidationException")?;
    let each = |(name, arn): (&String, &String)| ResolvedTarget {
        resource_type: experiment.template.targets.get(name).map(|target| target.resource_type.clone()),
        target_name: Some(name.clone()),
        target_information: Some([("arn".to_owned(), arn.clone())].into()),
    };
    let resolved = page.items.into_iter().map(each).collect();
    Ok(ListExperimentResolvedTargetsOutput { resolved_targets: Some(resolved), next_token: page.next })
}

pub fn unknown(id: &str) -> Error {
    Error::client("ResourceNotFoundException", format!("Experiment with id {id} does not exist."))
}
