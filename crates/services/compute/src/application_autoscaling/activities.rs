//! Activities: what was to be done to a target, and why it was not.

use serde::{Deserialize, Serialize};
use standfast_api::application_autoscaling as api;
use standfast_core::{Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Record, Txn};

use super::{Asked, Dimension, paged};

/// Activities of an account in a region that are kept.
const KEPT_MAX: usize = 500;

/// An activity. Its id sorts the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    id: String,
    of: Dimension,
    description: String,
    cause: String,
    at: Timestamp,
    message: String,
}

impl Record for Activity {
    const TABLE: &'static str = "application-autoscaling.activities";
}

/// Notes that something could not be done. `rng` is a generator of the transaction's own.
pub fn failed(tx: &mut Txn, scope: &Scope, rng: &Rng, of: &Dimension, what: (String, String), at: Timestamp) {
    let (description, cause) = what;
    let id = rng.uuid();
    let key = format!("{:016x}-{id}", u64::MAX - u64::try_from(at.0).unwrap_or_default());
    let message = format!(
        "Failed: the service '{}' does not exist in this version of Standfast, so {} of {} was not changed.",
        of.namespace, of.dimension, of.resource
    );
    tx.put(scope, &key, Activity { id, of: of.clone(), description, cause, at, message });
    for (key, _) in tx.list::<Activity>(scope).into_iter().skip(KEPT_MAX) {
        tx.delete::<Activity>(scope, &key);
    }
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeScalingActivitiesInput,
) -> Result<api::DescribeScalingActivitiesOutput> {
    let asked = Asked::new(input.service_namespace, input.resource_id, input.scalable_dimension)?;
    let mut rows = cx.view(|view| view.list::<Activity>(cx.scope()));
    rows.retain(|(_, activity)| activity.of.fits(&asked));
    let page = paged(rows, input.max_results, input.next_token.as_deref())?;
    let activities = page.items.iter().map(|(_, activity)| shape(activity)).collect();
    Ok(api::DescribeScalingActivitiesOutput { scaling_activities: Some(activities), next_token: page.next })
}

fn shape(activity: &Activity) -> api::ScalingActivity {
    api::ScalingActivity {
        activity_id: activity.id.clone(),
        service_namespace: activity.of.namespace.clone(),
        resource_id: activity.of.resource.clone(),
        scalable_dimension: activity.of.dimension.clone(),
        description: activity.description.clone(),
        cause: activity.cause.clone(),
        start_time: activity.at,
        end_time: Some(activity.at),
        status_code: "Failed".into(),
        status_message: Some(activity.message.clone()),
        details: None,
        not_scaled_reasons: None,
    }
}
