//! Experiments: what was broken on purpose, with targets and actions.

use bytes::Bytes;
use http::Response;
use maud::{Markup, html};
use standfast_api::fis as api;
use standfast_core::Result;

use crate::Page;
use crate::estate::{experiments, goes_on};
use crate::html::{self as ui, Live};

pub async fn list(page: &Page<'_>) -> Result<Response<Bytes>> {
    let all = experiments(&page.cx).await?;
    let input = api::ListExperimentTemplatesInput::default();
    let templates = page.cx.call(api::ListExperimentTemplates, input).await?.experiment_templates.unwrap_or_default();
    let row = |experiment: &api::ExperimentSummary| {
        let id = experiment.id.as_deref().unwrap_or_default();
        let status = experiment.state.as_ref().and_then(|state| state.status.as_deref()).unwrap_or_default();
        html! {
            td.mono { (ui::link("experiments", id)) }
            td { (ui::experiment_state(status)) }
            td { @for (name, value) in experiment.tags.iter().flatten() { div { (name) " " (value) } } }
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
            (ui::table("Experiments", &["Experiment", "State", "Tags", "Started", ""], all.iter().map(row)))
        }
        @if !templates.is_empty() {
            h2 { "Templates" }
            (ui::table("Templates", &["Template", "What it does", "Made"], templates.iter().map(template)))
        }
    };
    Ok(ui::shell(page, Live::Yes, "Experiments", content))
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
    let content = html! {
        div.head {
            h1.mono { (id) } (ui::experiment_state(status))
            @if goes_on(Some(status)) { span.buttons { (ui::ask("stop-experiment", "id", id, "Stop…")) } }
        }
        (ui::facts(&[
            ("State", html! { (ui::experiment_state(status)) div.soft { (state.reason.as_deref().unwrap_or_default()) } }),
            ("From", ui::maybe_date(experiment.start_time)),
            ("To", ui::maybe_date(experiment.end_time)),
            ("Stops on", html! { (stops.join(", ")) }),
            ("Tags", html! { @for (name, value) in experiment.tags.iter().flatten() { div { (name) " " (value) } } }),
        ]))
        h2 { "Actions" }
        (ui::table("Actions", &["Action", "State", "With", "On", "From", "To"], experiment.actions.iter().flatten().map(action)))
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
        td { (name) div.mono.soft { (action.action_id.as_deref().unwrap_or_default()) } }
        td {
            (ui::experiment_state(state.status.as_deref().unwrap_or_default()))
            @if let Some(reason) = &state.reason { div.soft { (reason) } }
        }
        td { @for (name, value) in action.parameters.iter().flatten() { div { span.soft { (name) } " " (value) } } }
        td { @for (kind, target) in action.targets.iter().flatten() { div { (kind) " " (target) } } }
        td { (ui::maybe_date(action.start_time)) }
        td { (ui::maybe_date(action.end_time)) }
    }
}

fn target((name, target): (&String, &api::ExperimentTarget)) -> Markup {
    html! {
        td { (name) }
        td.mono { (target.resource_type.as_deref().unwrap_or_default()) }
        td { (target.selection_mode.as_deref().unwrap_or_default()) }
        td.mono {
            @for arn in target.resource_arns.iter().flatten() { div { (arn) } }
            @for (name, value) in target.resource_tags.iter().flatten() { div { "tag " (name) " " (value) } }
        }
    }
}
