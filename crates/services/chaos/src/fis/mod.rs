//! Fault injection: experiment templates, experiments, and the controller that runs them.
//!
//! Owns `fis.templates` and `fis.experiments`. Invariant: what an action broke is undone when the action's time is up or
//! its experiment is stopped, also across a restart of the cloud, because the experiment's record says what is broken.
//! It acts only through operations of other services, the hosts' `kill`, and the kernel's record of dark zones.

mod actions;
mod catalogue;
mod controller;
mod convert;
mod experiments;
mod model;
mod plan;
mod templates;

use standfast_api::fis as api;
use standfast_kernel::{On, Service};

/// The service's table.
pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::CreateExperimentTemplate, templates::create)
        .op(api::GetExperimentTemplate, templates::get)
        .op(api::ListExperimentTemplates, templates::list)
        .op(api::DeleteExperimentTemplate, templates::delete)
        .op(api::StartExperiment, experiments::start)
        .op(api::StopExperiment, experiments::stop)
        .op(api::GetExperiment, experiments::get)
        .op(api::ListExperiments, experiments::list)
        .op(api::ListActions, catalogue::list_actions)
        .op(api::GetAction, catalogue::get_action)
        .op(api::ListTargetResourceTypes, catalogue::list_target_resource_types)
        .op(api::GetTargetResourceType, catalogue::get_target_resource_type)
        .controller("experiments", On::tables(&["fis.experiments"]), controller::run)
}
