//! Application Auto Scaling: what may be scaled of other services, and how.
//!
//! Owns scalable targets, their policies, schedules and activities, for any service of the API. Invariant: policies and
//! schedules are of a registered target and go with it. None of the services that it scales is there yet: what is due is
//! told as a failed activity that says so. Groups of instances are autoscaling's.

mod activities;
mod policies;
mod schedules;
mod tags;
mod targets;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use standfast_api::application_autoscaling as api;
use standfast_core::page::{Page, page};
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Service;
use standfast_kernel::controller::On;
use standfast_store::Record;

const PAGE_MAX: i32 = 50;

pub fn service() -> Service {
    Service::new(&api::MODEL)
        .op(api::RegisterScalableTarget, targets::register)
        .op(api::DeregisterScalableTarget, targets::deregister)
        .op(api::DescribeScalableTargets, targets::describe)
        .op(api::PutScalingPolicy, policies::put)
        .op(api::DeleteScalingPolicy, policies::delete)
        .op(api::DescribeScalingPolicies, policies::describe)
        .op(api::PutScheduledAction, schedules::put)
        .op(api::DeleteScheduledAction, schedules::delete)
        .op(api::DescribeScheduledActions, schedules::describe)
        .op(api::DescribeScalingActivities, activities::describe)
        .op(api::TagResource, tags::tag)
        .op(api::UntagResource, tags::untag)
        .op(api::ListTagsForResource, tags::list)
        .controller("schedules", On::tables(schedules::WATCHED), schedules::run)
}

/// What is scaled: a property of a resource of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimension {
    pub namespace: String,
    pub resource: String,
    pub dimension: String,
}

impl Dimension {
    /// The dimension, if it is one of the service.
    fn new(namespace: &str, resource: &str, dimension: &str) -> Result<Self> {
        if !dimension.strip_prefix(namespace).is_some_and(|rest| rest.starts_with(':')) {
            return Err(validation(format!(
                "Unsupported service namespace, resource type or scalable dimension: {namespace}, {resource}, {dimension}"
            )));
        }
        let [namespace, resource, dimension] = [namespace, resource, dimension].map(str::to_owned);
        Ok(Self { namespace, resource, dimension })
    }

    /// The id of its target, and what those of its policies and schedules begin with.
    fn key(&self) -> String {
        format!("{}|{}|{}", self.namespace, self.resource, self.dimension)
    }

    fn key_of(&self, name: &str) -> String {
        format!("{}|{name}", self.key())
    }

    fn fits(&self, asked: &Asked) -> bool {
        self.namespace == asked.namespace
            && asked.resource.as_ref().is_none_or(|resource| *resource == self.resource)
            && asked.dimension.as_ref().is_none_or(|dimension| *dimension == self.dimension)
    }

    /// The error of an operation on something that this has none of.
    fn lacks(&self, what: &str) -> Error {
        let Self { namespace, resource, dimension } = self;
        Error::client(
            "ObjectNotFoundException",
            format!(
                "No {what} found for service namespace: {namespace}, resource ID: {resource}, scalable dimension: \
                 {dimension}"
            ),
        )
    }
}

/// What a list is narrowed to.
struct Asked {
    namespace: String,
    resource: Option<String>,
    dimension: Option<String>,
}

impl Asked {
    fn new(namespace: String, resource: Option<String>, dimension: Option<String>) -> Result<Self> {
        if dimension.is_some() && resource.is_none() {
            return Err(validation("ResourceId must be specified where ScalableDimension is."));
        }
        Ok(Self { namespace, resource, dimension })
    }
}

/// A scalable target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub of: Dimension,
    pub arn: String,
    pub min: i32,
    pub max: i32,
    pub role: String,
    pub created: Timestamp,
    /// Whether scaling in, scaling out and schedules are suspended.
    pub suspended: (bool, bool, bool),
    pub tags: std::collections::BTreeMap<String, String>,
}

impl Record for Target {
    const TABLE: &'static str = "application-autoscaling.targets";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![(Self::BY_ARN, self.arn.clone())]
    }
}

impl Target {
    const BY_ARN: &'static str = "arn";
}

fn validation(message: impl Into<String>) -> Error {
    Error::client("ValidationException", message)
}

fn limit(message: impl Into<String>) -> Error {
    Error::client("LimitExceededException", message)
}

/// A page of records, by the operation's MaxResults.
fn paged<T>(rows: Vec<(Arc<str>, T)>, max: Option<i32>, token: Option<&str>) -> Result<Page<(Arc<str>, T)>> {
    let limit = max.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(validation(format!("MaxResults must be from 1 to {PAGE_MAX}; it is {limit}.")));
    }
    page(rows, |(key, _)| key.to_string(), token, limit as usize, "InvalidNextTokenException")
}
