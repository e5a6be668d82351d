//! Records to the shapes of the API.

use std::collections::BTreeMap;

use standfast_api::fis as api;
use standfast_core::{Arn, Timestamp};
use standfast_kernel::Cx;

use super::model::{Experiment, Progress, Selection, Status, Target, Template};

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
        parameters: None,
    };
    let action = |action: &super::model::Action| api::ExperimentTemplateAction {
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
        stop_conditions: Some(vec![api::ExperimentTemplateStopCondition { source: Some("none".into()), value: None }]),
        creation_time: Some(template.created),
        last_update_time: Some(template.created),
        role_arn: Some(template.role_arn.clone()),
        tags: Some(template.tags.clone()),
        log_configuration: None,
        experiment_options: Some(api::ExperimentTemplateExperimentOptions {
            account_targeting: Some("single-account".into()),
            empty_target_resolution_mode: Some(mode(template)),
        }),
        target_account_configurations_count: Some(0),
        experiment_report_configuration: None,
    }
}

fn mode(template: &Template) -> String {
    if template.skip_empty_targets { "skip".into() } else { "fail".into() }
}

fn options(template: &Template) -> api::ExperimentOptions {
    api::ExperimentOptions {
        account_targeting: Some("single-account".into()),
        empty_target_resolution_mode: Some(mode(template)),
        actions_mode: Some("run-all".into()),
    }
}

pub fn state(experiment: &Experiment) -> api::ExperimentState {
    let (status, usual) = match experiment.status {
        Status::Initiating => ("initiating", "Experiment is initiating."),
        Status::Running => ("running", "Experiment is running."),
        Status::Completed => ("completed", "Experiment completed."),
        Status::Stopping => ("stopping", "Experiment is stopping."),
        Status::Stopped => ("stopped", "Experiment halted by user."),
        Status::Failed => ("failed", "Experiment failed."),
    };
    let reason = experiment.reason.clone().unwrap_or_else(|| usual.into());
    api::ExperimentState { status: Some(status.into()), reason: Some(reason), error: None }
}

pub fn summary(cx: &Cx, id: &str, experiment: &Experiment) -> api::ExperimentSummary {
    api::ExperimentSummary {
        id: Some(id.into()),
        arn: Some(experiment_arn(cx, id)),
        experiment_template_id: Some(experiment.template_id.clone()),
        state: Some(state(experiment)),
        creation_time: Some(experiment.created),
        tags: Some(experiment.tags.clone()),
        experiment_options: Some(options(&experiment.template)),
    }
}

pub fn experiment(cx: &Cx, id: &str, experiment: &Experiment) -> api::Experiment {
    let target = |(name, target): (&String, &Target)| {
        let arns = experiment.resolved.get(name).into_iter().flatten();
        let arns = arns.map(|id| Arn::new("ec2", cx.scope(), format!("instance/{id}")).to_string()).collect();
        let shape = api::ExperimentTarget {
            resource_type: Some(target.resource_type.clone()),
            resource_arns: Some(arns),
            resource_tags: some(&target.resource_tags),
            filters: None,
            selection_mode: Some(selection(target.selection)),
            parameters: None,
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
        stop_conditions: Some(vec![api::ExperimentStopCondition { source: Some("none".into()), value: None }]),
        creation_time: Some(experiment.created),
        start_time: experiment.started,
        end_time: experiment.ended,
        tags: Some(experiment.tags.clone()),
        log_configuration: None,
        experiment_options: Some(options(&experiment.template)),
        target_account_configurations_count: Some(0),
        experiment_report_configuration: None,
        experiment_report: None,
    }
}

fn progress(progress: Option<&Progress>) -> (api::ExperimentActionState, Option<Timestamp>, Option<Timestamp>) {
    let (status, reason, start, end) = match progress.unwrap_or(&Progress::Pending) {
        Progress::Pending => ("pending", "Initial state.", None, None),
        Progress::Running { since, .. } => ("running", "Action is running.", Some(*since), None),
        Progress::Completed { since, ended } => ("completed", "Action was completed.", Some(*since), Some(*ended)),
        Progress::Stopped { since, ended } => ("stopped", "Action was halted by stop.", Some(*since), Some(*ended)),
        Progress::Failed { reason, ended } => ("failed", reason.as_str(), None, Some(*ended)),
        Progress::Cancelled => ("cancelled", "Action was not run.", None, None),
    };
    (api::ExperimentActionState { status: Some(status.into()), reason: Some(reason.into()) }, start, end)
}
