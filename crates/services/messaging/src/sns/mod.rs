//! SNS: topics, subscriptions, and messages on their way from the one to the other.
//!
//! Invariant: a publish that was acknowledged is delivered at least once to everyone it is for, or given up on by the
//! subscription's own schedule and counted as failed. It is not here: queues, functions, text messages, mobile push.

mod attributes;
mod counts;
mod deliver;
mod envelope;
mod errors;
mod mail;
mod model;
mod publish;
mod retry;
mod signing;
mod subscriptions;
mod topics;

use standfast_api::sns as api;
use standfast_kernel::owed::Debt;
use standfast_kernel::{On, Service};
use standfast_store::Record;

pub use self::mail::list as mails;
pub use self::signing::certificate;

/// The service's table.
pub fn service() -> Service {
    let flights = deliver::Flights::default();
    Service::new(&api::MODEL)
        .op(api::CreateTopic, topics::create)
        .op(api::DeleteTopic, topics::delete)
        .op(api::ListTopics, topics::list)
        .op(api::GetTopicAttributes, attributes::get)
        .op(api::SetTopicAttributes, attributes::set)
        .op(api::AddPermission, attributes::add_permission)
        .op(api::RemovePermission, attributes::remove_permission)
        .op(api::GetDataProtectionPolicy, topics::data_protection)
        .op(api::Subscribe, subscriptions::subscribe)
        .op(api::ConfirmSubscription, subscriptions::confirm)
        .op(api::Unsubscribe, subscriptions::unsubscribe)
        .op(api::GetSubscriptionAttributes, subscriptions::get)
        .op(api::SetSubscriptionAttributes, subscriptions::set)
        .op(api::ListSubscriptions, subscriptions::list)
        .op(api::ListSubscriptionsByTopic, subscriptions::list_by_topic)
        .op(api::Publish, publish::publish)
        .op(api::PublishBatch, publish::publish_batch)
        .op(api::TagResource, topics::tag)
        .op(api::UntagResource, topics::untag)
        .op(api::ListTagsForResource, topics::list_tags)
        .controller("deliveries", On::tables(&[<model::Delivery as Debt>::TABLE]), move |cx| {
            deliver::run(cx, flights.clone())
        })
        .controller("counts", On::tables(&[<counts::Counts as Record>::TABLE]), counts::tell)
        .controller(
            "sweep",
            On::tables(&[<model::Subscription as Record>::TABLE, <model::Seen as Record>::TABLE]),
            subscriptions::sweep,
        )
}
