//! Experiments: what was broken on purpose, with targets and actions.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::fis as api;
use standfast_core::Result;

use super::bus::about;
use crate::Page;
use crate::estate::{experiments, goes_on};
use crate::harm;
use crate::html::{self as ui, Live};

/// Of how many experiments the list says what they do: the newest.
const KNOWN_MAX: usize = 50;

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let all = experiments(&page.cx).await?;
    let input = api::ListExperimentTemplatesInput::default();
    let templates = page.cx.call(api::ListExperimentTemplates, input).await?.experiment_templates.unwrap_or_default();
    let mut known = BTreeMap::new();
    for summary in all.iter().take(KNOWN_MAX) {
        let input = api::GetExperimentInput { id: summary.id.clone().unwrap_or_default() };
        known.extend(page.cx.call(api::GetExperiment, input).await?.experiment.map(|one| (one.id.clone(), one)));
    }
    let row = |experiment: &api::ExperimentSummary| {
        let id = experiment.id.as_deref().unwrap_or_default();
        let status = experiment.state.as_ref().and_then(|state| state.status.as_deref()).unwrap_or_default();
        html! {
            td.mono { (ui::link("experiments", id)) }
            td { (ui::experiment_state(status)) }
            td.wide { @for says in known.get(&experiment.id).into_iter().flat_map(what) { div { (says) } } }
            td { @for (name, value) in experiment.tags.iter().flatten() { div { (name) ": " (value) } } }
            td { (ui::maybe_date(experiment.creation_time)) }
            td { @if goes_on(Some(status)) { (ui::ask("stop-experiment", "id", id, "Stop…")) } }
        }
    };
    let template = |template: &api::ExperimentTemplateSummary| {
        html! {
            td.mono { (template.id.as_deref().unwrap_or_default()) }
            td.wide { (template.description.as_deref().unwrap_or_default()) }
            td { (ui::maybe_date(template.creation_time)) }
        }
    };
    let content = html! {
        h1 { "Experiments" }
        @if all.is_empty() {
            (ui::empty("Nothing was broken on purpose yet. The map has a button for each zone.", &[
                ("standfast break zone eu-west-1a", "cuts a zone's power until it is healed."),
                ("aws fis start-experiment", "runs a template with targets, actions and stop conditions."),
            ]))
        } @else {
            (ui::table("Experiments", &["Experiment", "State", "What it does", "Tags", "Started", ""], all.iter().map(row)))
        }
        @if !templates.is_empty() {
            h2 { "Templates" }
            (ui::table("Templates", &["Template", "What it does", "Made"], templates.iter().map(template)))
        }
    };
    Ok(ui::shell(page, Live::Yes, "Experiments", content))
}

/// What each of its actions does.
fn what(experiment: &api::Experiment) -> Vec<String> {
    let actions = experiment.actions.iter().flat_map(BTreeMap::values);
    actions.map(|action| harm::says(action).or(action.action_id.clone()).unwrap_or_default()).collect()
}

pub async fn one(page: &Page<'_>, id: &str) -> Result<Response<Bytes>> {
    let answer = page.cx.call(api::GetExperiment, api::GetExperimentInput { id: id.into() }).await;
    let Some(experiment) = answer.ok().and_then(|answer| answer.experiment) else {
        return Ok(ui::missing(page, "experiment", id));
    };
    let state = experiment.state.clone().unwrap_or_default();
    let status = state.status.as_deref().unwrap_or_default();
    let stops: Vec<String> = experiment
        .stop_conditions
        .iter()
        .flatten()
        .map(|stop| stop.value.clone().or(stop.source.clone()).unwrap_or_default())
        .collect();
    let input = api::ListExperimentResolvedTargetsInput { experiment_id: id.into(), ..Default::default() };
    let hit = page.cx.call(api::ListExperimentResolvedTargets, input).await?.resolved_targets.unwrap_or_default();
    let content = html! {
        div.head {
            h1.mono { (id) } (ui::experiment_state(status))
            @if goes_on(Some(status)) { span.buttons { (ui::ask("stop-experiment", "id", id, "Stop…")) } }
        }
        (ui::facts(&[
            ("Status", html! { (state.reason.as_deref().unwrap_or("–")) }),
            ("Started", ui::maybe_date(experiment.start_time)),
            ("Ended", ui::maybe_date(experiment.end_time)),
            ("Stop conditions", html! { (stops.join(", ")) }),
            ("Tags", html! {
                @for (name, value) in experiment.tags.iter().flatten() { div { (name) ": " (value) } }
                @if experiment.tags.iter().flatten().next().is_none() { "–" }
            }),
        ]))
        h2 { "Actions" }
        (ui::table("Actions", &["Action", "State", "Parameters", "Targets", "Started", "Ended"], experiment.actions.iter().flatten().map(action)))
        @if !hit.is_empty() {
            h2 { "What it hit" }
            (ui::table("What it hit", &["Target", "Resource"], hit.iter().map(resolved)))
        }
        @if experiment.targets.as_ref().is_some_and(|targets| !targets.is_empty()) {
            h2 { "Targets" }
            (ui::table("Targets", &["Target", "Kind", "Selection", "Resources"], experiment.targets.iter().flatten().map(target)))
        }
    };
    Ok(ui::shell(page, Live::Yes, id, content))
}

fn action((name, action): (&String, &api::ExperimentAction)) -> Markup {
    let state = action.state.clone().unwrap_or_default();
    html! {
        td {
            @if let Some(says) = harm::says(action) { strong { (says) } } @else { (name) }
            div.mono.soft { (action.action_id.as_deref().unwrap_or_default()) }
        }
        td {
            (ui::experiment_state(state.status.as_deref().unwrap_or_default()))
            @if let Some(reason) = &state.reason { div.soft { (reason) } }
        }
        td { @for (name, value) in action.parameters.iter().flatten() { div { span.soft { (name) } " " (value) } } }
        td {
            @for (kind, target) in action.targets.iter().flatten() { div { span.soft { (kind) } " " (target) } }
            @if action.targets.iter().flatten().next().is_none() { "–" }
        }
        td { (ui::maybe_date(action.start_time)) }
        td { (ui::maybe_date(action.end_time)) }
    }
}

fn resolved(target: &api::ResolvedTarget) -> Markup {
    let told = target.target_information.iter().flatten().find(|(name, _)| *name == "arn");
    html! {
        td { (target.target_name.as_deref().unwrap_or_default()) }
        td.wide.mono { @if let Some((_, arn)) = told { (about(arn)) } }
    }
}

fn target((name, target): (&String, &api::ExperimentTarget)) -> Markup {
    html! {
        td { (name) }
        td.mono { (target.resource_type.as_deref().unwrap_or_default()) }
        td { (target.selection_mode.as_deref().unwrap_or_default()) }
        td.wide.mono {
            @for arn in target.resource_arns.iter().flatten() { div { (arn) } }
            @for (name, value) in target.resource_tags.iter().flatten() { div { "tag " (name) " " (value) } }
        }
    }
}
