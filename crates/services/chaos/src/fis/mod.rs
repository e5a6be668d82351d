//! Fault injection: experiment templates, experiments, and the controller that runs them.
//!
//! Owns `fis.templates`, `fis.experiments` and `fis.safety_levers`. Invariant: what an action broke is undone when the
//! action's time is up or its experiment is stopped, also across a restart of the cloud, because the experiment's record
//! says what is broken. It acts only through operations of other services, the hosts' `kill`, and the kernel's records of
//! dark zones, impaired links and faults.

mod accounts;
mod actions;
mod catalogue;
mod check;
mod commands;
mod controller;
mod convert;
mod events;
mod experiments;
mod listing;
mod model;
mod packets;
mod parse;
mod plan;
mod safety_lever;
mod stop_conditions;
mod tags;
mod targets;
mod templates;

use standfast_api::fis as api;
use standfast_kernel::{On, Service};

/// What may change what is next: experiments, alarms that stop them, and their commands.
const WATCH: &[&str] = &["fis.experiments", "cloudwatch.alarms", "ssm.invocations"];

/// The service's table.
pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::CreateExperimentTemplate, templates::create)
        .op(api::GetExperimentTemplate, templates::get)
        .op(api::ListExperimentTemplates, templates::list)
        .op(api::UpdateExperimentTemplate, templates::update)
        .op(api::DeleteExperimentTemplate, templates::delete)
        .op(api::CreateTargetAccountConfiguration, accounts::create)
        .op(api::GetTargetAccountConfiguration, accounts::get)
        .op(api::ListTargetAccountConfigurations, accounts::list)
        .op(api::UpdateTargetAccountConfiguration, accounts::update)
        .op(api::DeleteTargetAccountConfiguration, accounts::delete)
        .op(api::StartExperiment, experiments::start)
        .op(api::StopExperiment, experiments::stop)
        .op(api::GetExperiment, experiments::get)
        .op(api::ListExperiments, experiments::list)
        .op(api::ListExperimentResolvedTargets, experiments::resolved_targets)
        .op(api::GetExperimentTargetAccountConfiguration, accounts::get_of_experiment)
        .op(api::ListExperimentTargetAccountConfigurations, accounts::list_of_experiment)
        .op(api::GetSafetyLever, safety_lever::get)
        .op(api::UpdateSafetyLeverState, safety_lever::update)
        .op(api::TagResource, tags::tag)
        .op(api::UntagResource, tags::untag)
        .op(api::ListTagsForResource, tags::list)
        .op(api::ListActions, listing::list_actions)
        .op(api::GetAction, listing::get_action)
        .op(api::ListTargetResourceTypes, listing::list_target_resource_types)
        .op(api::GetTargetResourceType, listing::get_target_resource_type)
        .controller("experiments", On::tables(WATCH), controller::run)
}
