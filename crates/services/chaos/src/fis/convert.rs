//! Records to the shapes of the API.

use std::collections::BTreeMap;

use standfast_api::fis as api;
use standfast_core::{Arn, Timestamp};
use standfast_kernel::Cx;

use super::model::{Action, Experiment, Progress, Selection, Status, Target, Template};

pub fn template_arn(cx: &Cx, id: &str) -> String {
    Arn::new("fis", cx.scope(), format!("experiment-template/{id}")).to_string()
}

pub fn experiment_arn(cx: &Cx, id: &str) -> String {
    Arn::new("fis", cx.scope(), format!("experiment/{id}")).to_string()
}

fn selection(selection: Selection) -> String {
    match selection {
        Selection::All => "ALL".into(),
        Selection::Count(n) => format!("COUNT({n})"),
        Selection::Percent(n) => format!("PERCENT({n})"),
    }
}

fn some<T: Clone + Default + PartialEq>(value: &T) -> Option<T> {
    (*value != T::default()).then(|| value.clone())
}

pub fn template(cx: &Cx, id: &str, template: &Template) -> api::ExperimentTemplate {
    let target = |target: &Target| api::ExperimentTemplateTarget {
        resource_type: Some(target.resource_type.clone()),
        resource_arns: some(&target.resource_arns),
        resource_tags: some(&target.resource_tags),
        filters: some(&target.filters).map(|filters| {
            let filter =
                |(path, values)| api::ExperimentTemplateTargetFilter { path: Some(path), values: Some(values) };
            filters.into_iter().map(filter).collect()
        }),
        selection_mode: Some(selection(target.selection)),
        parameters: some(&target.parameters),
    };
    let action = |action: &Action| api::ExperimentTemplateAction {
        action_id: Some(action.action_id.clone()),
        description: action.description.clone(),
        parameters: some(&action.parameters),
        targets: some(&action.targets),
        start_after: some(&action.start_after),
    };
    api::ExperimentTemplate {
        id: Some(id.into()),
        arn: Some(template_arn(cx, id)),
        description: Some(template.description.clone()),
        targets: Some(template.targets.iter().map(|(name, t)| (name.clone(), target(t))).collect()),
        actions: Some(template.actions.iter().map(|(name, a)| (name.clone(), action(a))).collect()),
        stop_conditions: Some(
            stop_conditions(template)
                .map(|(source, value)| api::ExperimentTemplateStopCondition { source, value })
                .collect(),
        ),
        creation_time: Some(template.created),
        last_update_time: Some(template.updated),
        role_arn: Some(template.role_arn.clone()),
        tags: Some(template.tags.clone()),
        log_configuration: None,
        experiment_options: Some(api::ExperimentTemplateExperimentOptions {
            account_targeting: Some(accounts(template)),
            empty_target_resolution_mode: Some(mode(template)),
        }),
        target_account_configurations_count: Some(template.accounts.len() as i64),
        experiment_report_configuration: None,
    }
}

/// Sources and values; without any there is one of none.
fn stop_conditions(template: &Template) -> impl Iterator<Item = (Option<String>, Option<String>)> {
    let alarms = template.stop_alarms.iter().map(|arn| (Some("aws:cloudwatch:alarm".into()), Some(arn.clone())));
    let none = template.stop_alarms.is_empty().then(|| (Some("none".into()), None));
    none.into_iter().chain(alarms)
}

fn accounts(template: &Template) -> String {
    if template.multi_account { "multi-account".into() } else { "single-account".into() }
}

/// An action as it would be given again.
pub fn action_input(action: &Action) -> api::CreateExperimentTemplateActionInput {
    api::CreateExperimentTemplateActionInput {
        action_id: action.action_id.clone(),
        description: action.description.clone(),
        parameters: some(&action.parameters),
        targets: some(&action.targets),
        start_after: some(&action.start_after),
    }
}

fn mode(template: &Template) -> String {
    if template.skip_empty_targets { "skip".into() } else { "fail".into() }
}

fn options(experiment: &Experiment) -> api::ExperimentOptions {
    api::ExperimentOptions {
        account_targeting: Some(accounts(&experiment.template)),
        empty_target_resolution_mode: Some(mode(&experiment.template)),
        actions_mode: Some(if experiment.skip_all { "skip-all" } else { "run-all" }.into()),
    }
}

pub fn state(experiment: &Experiment) -> api::ExperimentState {
    let failed = experiment.status == Status::Failed;
    api::ExperimentState {
        status: Some(experiment.status.name().into()),
        reason: Some(experiment.reason()),
        error: failed.then(|| api::ExperimentError {
            account_id: None,
            code: Some("ActionFailure".into()),
            location: None,
        }),
    }
}

pub fn summary(cx: &Cx, id: &str, experiment: &Experiment) -> api::ExperimentSummary {
    api::ExperimentSummary {
        id: Some(id.into()),
        arn: Some(experiment_arn(cx, id)),
        experiment_template_id: Some(experiment.template_id.clone()),
        state: Some(state(experiment)),
        creation_time: Some(experiment.created),
        tags: Some(experiment.tags.clone()),
        experiment_options: Some(options(experiment)),
    }
}

pub fn experiment(cx: &Cx, id: &str, experiment: &Experiment) -> api::Experiment {
    let target = |(name, target): (&String, &Target)| {
        let shape = api::ExperimentTarget {
            resource_type: Some(target.resource_type.clone()),
            // Those that were chosen, once they are.
            resource_arns: experiment.resolved.get(name).cloned().or_else(|| some(&target.resource_arns)),
            resource_tags: some(&target.resource_tags),
            filters: some(&target.filters).map(|filters| {
                let filter = |(path, values)| api::ExperimentTargetFilter { path: Some(path), values: Some(values) };
                filters.into_iter().map(filter).collect()
            }),
            selection_mode: Some(selection(target.selection)),
            parameters: some(&target.parameters),
        };
        (name.clone(), shape)
    };
    let actions: BTreeMap<_, _> = (experiment.template.actions.iter())
        .map(|(name, action)| {
            let (state, start_time, end_time) = progress(experiment.progress.get(name));
            let shape = api::ExperimentAction {
                action_id: Some(action.action_id.clone()),
                description: action.description.clone(),
                parameters: some(&action.parameters),
                targets: some(&action.targets),
                start_after: some(&action.start_after),
                state: Some(state),
                start_time,
                end_time,
            };
            (name.clone(), shape)
        })
        .collect();
    api::Experiment {
        id: Some(id.into()),
        arn: Some(experiment_arn(cx, id)),
        experiment_template_id: Some(experiment.template_id.clone()),
        role_arn: Some(experiment.template.role_arn.clone()),
        state: Some(state(experiment)),
        targets: Some(experiment.template.targets.iter().map(target).collect()),
        actions: Some(actions),
        stop_conditions: Some(
            stop_conditions(&experiment.template)
                .map(|(source, value)| api::ExperimentStopCondition { source, value })
                .collect(),
        ),
        creation_time: Some(experiment.created),
        start_time: experiment.started,
        end_time: experiment.ended,
        tags: Some(experiment.tags.clone()),
        log_configuration: None,
        experiment_options: Some(options(experiment)),
        target_account_configurations_count: Some(experiment.template.accounts.len() as i64),
        experiment_report_configuration: None,
        experiment_report: None,
    }
}

fn progress(progress: Option<&Progress>) -> (api::ExperimentActionState, Option<Timestamp>, Option<Timestamp>) {
    let progress = progress.unwrap_or(&Progress::Pending);
    let (start, end) = match progress {
        Progress::Pending | Progress::Cancelled | Progress::Skipped(_) => (None, None),
        Progress::Beginning { since } | Progress::Running { since, .. } => (Some(*since), None),
        Progress::Completed { since, ended }
        | Progress::Stopped { since, ended }
        | Progress::Failed { since, ended, .. } => (Some(*since), Some(*ended)),
    };
    let (status, reason) = progress.shown();
    (api::ExperimentActionState { status: Some(status.into()), reason: Some(reason.into()) }, start, end)
}
