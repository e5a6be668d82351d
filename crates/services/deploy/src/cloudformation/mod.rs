//! CloudFormation: templates in, stacks of real resources out.
//!
//! It owns `cloudformation.stacks`, `.resources`, `.templates`, `.events`, `.event_counters` and `.change_sets`.
//! Invariant: everything physical that a stack made and has not deleted is in a resource's record, also after a crash;
//! stacks make and change resources only through the operations that every client calls.
//!
//! The way of a stack: a handler checks the request ([`prepare`]) and records what the stack should become; the
//! controller asks [`plan`] what to do next, [`act`] does it to a resource and [`turn`] to the stack. What a resource
//! type is stands in [`types`]. [`template`] is the pure engine of the template language.

mod act;
mod change_sets;
mod controller;
mod describe;
mod errors;
mod events;
mod exports;
mod forecast;
mod model;
mod plan;
mod prepare;
mod resolve;
mod stacks;
pub mod template;
mod templates;
mod turn;
mod types;

use standfast_api::cloudformation as api;
use standfast_kernel::{On, Service};

/// The service's table.
pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::CreateStack, stacks::create)
        .op(api::UpdateStack, stacks::update)
        .op(api::DeleteStack, stacks::delete)
        .op(api::UpdateTerminationProtection, stacks::protect)
        .op(api::CancelUpdateStack, stacks::cancel_update)
        .op(api::ContinueUpdateRollback, stacks::continue_rollback)
        .op(api::DescribeStacks, describe::stacks)
        .op(api::ListStacks, describe::list_stacks)
        .op(api::DescribeStackEvents, events::describe)
        .op(api::DescribeStackResource, describe::resource)
        .op(api::DescribeStackResources, describe::resources)
        .op(api::ListStackResources, describe::list_resources)
        .op(api::ValidateTemplate, templates::validate)
        .op(api::GetTemplateSummary, templates::summary)
        .op(api::GetTemplate, templates::get)
        .op(api::ListExports, exports::list)
        .op(api::ListImports, exports::importers)
        .op(api::CreateChangeSet, change_sets::create)
        .op(api::DescribeChangeSet, change_sets::describe)
        .op(api::ExecuteChangeSet, change_sets::execute)
        .op(api::DeleteChangeSet, change_sets::delete)
        .op(api::ListChangeSets, change_sets::list)
        .controller("stacks", On::tables(&["cloudformation.stacks"]), controller::run)
}
