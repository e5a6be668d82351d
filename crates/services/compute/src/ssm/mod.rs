//! Systems Manager: parameters, and commands run inside instances.
//!
//! Owns `ssm.parameters`, `ssm.commands` and `ssm.invocations`. Invariant: a public parameter (`/aws/service/...`) is
//! never stored; it is answered from what ec2 knows. It is not a fleet manager: documents other than the shell's and those
//! of FIS, and sessions, are refused by name.

mod commands;
mod documents;
mod filters;
mod invoke;
mod model;
mod parameters;
mod public;
mod tags;

use standfast_api::ssm as api;
use standfast_kernel::{On, Service};

/// The service's table.
pub fn service() -> Service {
    let running = invoke::Running::default();
    Service::new(&api::MODEL)
        .op(api::PutParameter, parameters::put)
        .op(api::GetParameter, parameters::get)
        .op(api::GetParameters, parameters::get_many)
        .op(api::GetParametersByPath, parameters::get_by_path)
        .op(api::GetParameterHistory, parameters::history)
        .op(api::DescribeParameters, parameters::describe)
        .op(api::DeleteParameter, parameters::delete)
        .op(api::DeleteParameters, parameters::delete_many)
        .op(api::AddTagsToResource, tags::add)
        .op(api::RemoveTagsFromResource, tags::remove)
        .op(api::ListTagsForResource, tags::list)
        .op(api::SendCommand, commands::send)
        .op(api::CancelCommand, commands::cancel)
        .op(api::GetCommandInvocation, commands::get_invocation)
        .op(api::ListCommands, commands::list)
        .op(api::DescribeInstanceInformation, commands::instances)
        .controller("commands", On::tables(&["ssm.invocations"]), move |cx| invoke::run(cx, running.clone()))
}
