//! What alarms do: actions are owed from the transaction of the state's change on, and done at least once.

use serde::{Deserialize, Serialize};
use serde_json::json;
use standfast_api::{autoscaling, ec2};
use standfast_core::{Arn, Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::owed::{self, Debt, Owed};
use standfast_kernel::{Cx, Wake};
use standfast_store::Txn;

use super::evaluate::State;
use super::history;
use super::model::{Alarm, Event, EventKind, MetricKind, Watches};
use super::notice;

/// What says that an instance's hardware failed, as `fis` has it.
const IMPAIRED: &str = "aws:standfast:impaired";
/// The dimension that says which instance.
const INSTANCE: &str = "InstanceId";

/// An action that is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    pub alarm: String,
    pub action: String,
    pub state: State,
    /// The newest value and the threshold, where the state came from an evaluation.
    pub breach: Option<(f64, f64)>,
    /// The state before, and when this one came.
    #[serde(default)]
    pub was: Option<State>,
    #[serde(default)]
    pub at: Option<Timestamp>,
}

impl Debt for Action {
    const TABLE: &'static str = "cloudwatch.owed_actions";
}

/// Writes down what is to be done because of a state: all of it when the state is new, scaling policies alone when it
/// lasts, which they are asked in every period.
pub fn owe(tx: &mut Txn, scope: &Scope, rng: &Rng, name: &str, alarm: &Alarm, why: &Owing) {
    for action in alarm.actions.get(&why.state).into_iter().flatten().filter(|action| !why.lasts || is_policy(action)) {
        let what = Action {
            alarm: name.to_owned(),
            action: action.clone(),
            state: why.state,
            breach: why.breach,
            was: Some(alarm.condition.state),
            at: Some(why.at),
        };
        owed::owe(tx, scope, &rng.uuid(), what, why.at);
    }
}

/// Why something is owed.
#[derive(Clone, Copy, Debug)]
pub struct Owing {
    pub state: State,
    pub at: Timestamp,
    pub breach: Option<(f64, f64)>,
    /// It is the state that it was before.
    pub lasts: bool,
}

/// Whether an alarm asks policies in a state, and so again while the state lasts.
pub fn asks_policies(alarm: &Alarm, state: State) -> bool {
    alarm.actions_enabled && alarm.actions.get(&state).into_iter().flatten().any(|action| is_policy(action))
}

fn is_policy(action: &str) -> bool {
    action.starts_with("arn:aws:autoscaling:") && action.contains(":scalingPolicy:")
}

pub async fn run(cx: Cx) -> Result<Wake> {
    let perform = |cx: Cx, action: Action| async move { perform(&cx, &action).await };
    owed::settle(&cx, perform, |tx, scope, ended| {
        history::note(tx, scope, &ended.rng, told(ended.owed, ended.error, ended.at));
    })
    .await
}

fn told(owed: &Owed<Action>, error: Option<&Error>, at: Timestamp) -> Event {
    let action = &owed.what.action;
    let summary = match error {
        None => format!("Successfully executed action {action}"),
        Some(error) => format!("Failed to execute action {action}. Received error: \"{}\"", error.message),
    };
    let mut data = json!({
        "actionState": if error.is_none() { "Succeeded" } else { "Failed" },
        "notificationResource": action,
        "stateUpdateTimestamp": owed.since.0,
    });
    if let Some(error) = error {
        data["error"] = error.message.clone().into();
    }
    Event {
        alarm: owed.what.alarm.clone(),
        at,
        kind: EventKind::Action,
        summary,
        data: data.to_string(),
        composite: false,
    }
}

async fn perform(cx: &Cx, owed: &Action) -> Result<()> {
    let arn: Arn = owed.action.parse().map_err(|_| unsupported(&owed.action))?;
    match (arn.service.as_str(), arn.resource.as_str()) {
        ("autoscaling", what) if what.starts_with("scalingPolicy:") => policy(cx, owed).await,
        ("sns", _) => notice::publish(cx, owed).await,
        ("automate", what) => on_instance(cx, owed, what.strip_prefix("ec2:").unwrap_or(what)).await,
        _ => Err(unsupported(&owed.action)),
    }
}

fn unsupported(action: &str) -> Error {
    Error::client("NotImplemented", format!("Actions such as {action} are not available in this version of Standfast."))
}

/// A scaling policy, with what breached and by how much.
async fn policy(cx: &Cx, owed: &Action) -> Result<()> {
    let input = autoscaling::ExecutePolicyInput {
        policy_name: owed.action.clone(),
        honor_cooldown: Some(true),
        metric_value: owed.breach.map(|(value, _)| value),
        breach_threshold: owed.breach.map(|(_, threshold)| threshold),
        ..Default::default()
    };
    match cx.call(autoscaling::ExecutePolicy, input).await {
        // While a group cools down its policies wait for the alarm to ask again.
        Err(error) if error.is("ScalingActivityInProgress") => Ok(()),
        other => other.map(|_| ()),
    }
}

/// An EC2 action, on the instance that the alarm's metric is of.
async fn on_instance(cx: &Cx, owed: &Action, what: &str) -> Result<()> {
    let alarm = cx.view(|view| view.get::<Alarm>(cx.scope(), &owed.alarm));
    let watched = alarm.as_ref().and_then(|alarm| match alarm.metric()? {
        MetricKind { watches: Watches::Metric(watched), .. } => {
            watched.dimensions.iter().find(|(name, _)| name == INSTANCE)
        }
        _ => None,
    });
    let Some((_, instance)) = watched else {
        let message = format!("EC2 actions need a metric with the dimension {INSTANCE}; {} has none.", owed.alarm);
        return Err(Error::client("ValidationError", message));
    };
    let ids = vec![instance.clone()];
    match what {
        "stop" => {
            let input = ec2::StopInstancesInput { instance_ids: ids, ..Default::default() };
            cx.call(ec2::StopInstances, input).await.map(|_| ())
        }
        "terminate" => {
            let input = ec2::TerminateInstancesInput { instance_ids: ids, ..Default::default() };
            cx.call(ec2::TerminateInstances, input).await.map(|_| ())
        }
        "reboot" => {
            let input = ec2::RebootInstancesInput { instance_ids: ids, ..Default::default() };
            cx.call(ec2::RebootInstances, input).await.map(|_| ())
        }
        "recover" => recover(cx, ids).await,
        _ => Err(unsupported(&owed.action)),
    }
}

/// Moves an instance to hardware that works: what made its system fail goes, and so EC2 boots it again with the same id,
/// addresses and volumes. One whose system does not fail is left alone.
async fn recover(cx: &Cx, ids: Vec<String>) -> Result<()> {
    let tag = ec2::Tag { key: Some(IMPAIRED.to_owned()), value: None };
    let input = ec2::DeleteTagsInput { resources: ids, tags: Some(vec![tag]), ..Default::default() };
    cx.call(ec2::DeleteTags, input).await.map(|_| ())
}
