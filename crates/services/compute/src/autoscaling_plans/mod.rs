//! AWS Auto Scaling: plans that scale groups by policies which the plan makes and removes.
//!
//! Owns plans, and which policies each has made. Groups and policies are autoscaling's, called like any client would.
//! Invariant: what a plan makes is noted in its record before it is made, so that nothing is left over when it goes. Only
//! groups of instances can be scaled here; a plan says so of all other resources.

mod apply;
mod forecast;
mod plans;
mod policies;

use serde::{Deserialize, Serialize};
use standfast_api::autoscaling_plans as api;
use standfast_core::{Error, Timestamp, names};
use standfast_kernel::Service;
use standfast_kernel::controller::On;
use standfast_store::Record;

use crate::kept::Kept;

pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::CreateScalingPlan, plans::create)
        .op(api::UpdateScalingPlan, plans::update)
        .op(api::DeleteScalingPlan, plans::delete)
        .op(api::DescribeScalingPlans, plans::describe)
        .op(api::DescribeScalingPlanResources, plans::describe_resources)
        .op(api::GetScalingPlanResourceForecastData, forecast::get)
        .controller("plans", On::tables(&["autoscaling-plans.plans"]), apply::run)
}

/// The only version of a plan that is ever there.
const VERSION: i64 = 1;

/// A plan. Its id is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    source: Kept<api::ApplicationSource>,
    instructions: Vec<Kept<api::ScalingInstruction>>,
    status: Status,
    message: Option<String>,
    created: Timestamp,
    /// Since when it has its status.
    since: Timestamp,
    /// Policies that it has made or is about to make: group and policy.
    made: Vec<(String, String)>,
    /// How it goes with each instruction, in their order.
    outcomes: Vec<Outcome>,
}

impl Record for Plan {
    const TABLE: &'static str = "autoscaling-plans.plans";
}

/// How it goes with a resource: whether it is scaled, and what is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    status: Scaling,
    message: Option<String>,
}

names! {
    Status {
        Active "Active", ActiveWithProblems "ActiveWithProblems", Creating "CreationInProgress",
        Deleting "DeletionInProgress", Updating "UpdateInProgress",
    }
}

names! {
    /// Of a resource.
    Scaling { Inactive "Inactive", Partly "PartiallyActive", Active "Active" }
}

fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}

fn not_found(name: &str) -> Error {
    Error::client("ObjectNotFoundException", format!("No scaling plan found with name: {name}"))
}
