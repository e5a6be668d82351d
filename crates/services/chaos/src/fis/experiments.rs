//! Experiments: started from a copy of a template, stopped, looked at.

use std::collections::BTreeMap;

use standfast_api::fis::{
    GetExperimentInput, GetExperimentOutput, ListExperimentsInput, ListExperimentsOutput, StartExperimentInput,
    StartExperimentOutput, StopExperimentInput, StopExperimentOutput,
};
use standfast_core::page::page;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::model::{Experiment, Progress, Status, Template};
use super::{convert, templates};

const PAGE_MAX: usize = 100;
/// Experiments that are over are forgotten beyond this many, oldest first.
const FINISHED_MAX: usize = 500;

pub async fn start(cx: Cx, input: StartExperimentInput) -> Result<StartExperimentOutput> {
    let new_id = format!("EXP{}", cx.rng().hex(17));
    let (id, experiment) = cx
        .txn(|tx| {
            let all = tx.list::<Experiment>(cx.scope());
            if let Some((id, earlier)) = all.iter().find(|(_, e)| e.client_token == input.client_token) {
                return Ok((id.to_string(), (**earlier).clone()));
            }
            let template = tx
                .get::<Template>(cx.scope(), &input.experiment_template_id)
                .ok_or_else(|| templates::unknown(&input.experiment_template_id))?;
            let mut over: Vec<_> = all.iter().filter(|(_, e)| e.status.is_over()).collect();
            over.sort_by_key(|(_, e)| e.created);
            for (old, _) in over.iter().take(over.len().saturating_sub(FINISHED_MAX)) {
                tx.delete::<Experiment>(cx.scope(), old);
            }
            let experiment = Experiment {
                template_id: input.experiment_template_id.clone(),
                template: (*template).clone(),
                tags: input.tags.clone().unwrap_or_default(),
                client_token: input.client_token.clone(),
                status: Status::Initiating,
                reason: None,
                created: cx.now(),
                started: None,
                ended: None,
                resolved: BTreeMap::new(),
                progress: template.actions.keys().map(|name| (name.clone(), Progress::Pending)).collect(),
            };
            tx.put(cx.scope(), &new_id, experiment.clone());
            Ok((new_id.clone(), experiment))
        })
        .await?;
    Ok(StartExperimentOutput { experiment: Some(convert::experiment(&cx, &id, &experiment)) })
}

pub async fn stop(cx: Cx, input: StopExperimentInput) -> Result<StopExperimentOutput> {
    let experiment = cx
        .txn(|tx| {
            let experiment = tx.get::<Experiment>(cx.scope(), &input.id).ok_or_else(|| unknown(&input.id))?;
            if experiment.status.is_over() {
                return Err(templates::invalid(format!("Experiment {} has ended already.", input.id)));
            }
            let stopping = Experiment { status: Status::Stopping, ..(*experiment).clone() };
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

fn unknown(id: &str) -> Error {
    Error::client("ResourceNotFoundException", format!("Experiment with id {id} does not exist."))
}
