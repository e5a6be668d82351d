//! EventBridge: what services and programs tell, and rules that pass it on.
//!
//! Invariant: what a rule's target is owed is written in the transaction that takes the event. Targets are topics of SNS.
//! It is not here: archives, pipes, connections, buses of others.

mod buses;
mod model;
mod route;
mod rules;
mod schedule;

use standfast_api::events as api;
use standfast_kernel::owed::Debt;
use standfast_kernel::{On, Service};
use standfast_store::Record;

pub use self::route::list as seen;

/// The service's table.
pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::CreateEventBus, buses::create)
        .op(api::DeleteEventBus, buses::delete)
        .op(api::DescribeEventBus, buses::describe)
        .op(api::ListEventBuses, buses::list)
        .op(api::PutRule, rules::put)
        .op(api::DeleteRule, rules::delete)
        .op(api::DescribeRule, rules::describe)
        .op(api::EnableRule, rules::enable)
        .op(api::DisableRule, rules::disable)
        .op(api::ListRules, rules::list)
        .op(api::ListRuleNamesByTarget, rules::list_by_target)
        .op(api::PutTargets, rules::put_targets)
        .op(api::RemoveTargets, rules::remove_targets)
        .op(api::ListTargetsByRule, rules::list_targets)
        .op(api::PutEvents, route::put)
        .op(api::TestEventPattern, rules::test_pattern)
        .op(api::TagResource, buses::tag)
        .op(api::UntagResource, buses::untag)
        .op(api::ListTagsForResource, buses::list_tags)
        .controller("bus", On::tables(&[standfast_kernel::events::TABLE]), route::take)
        .controller("schedules", On::tables(&[<model::Rule as Record>::TABLE]), schedule::run)
        .controller("targets", On::tables(&[<model::Invocation as Debt>::TABLE]), route::deliver)
}
