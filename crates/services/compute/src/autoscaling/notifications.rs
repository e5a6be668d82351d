//! Notifications: what a group tells SNS topics of its activities, and its lifecycle hooks of who waits.
//!
//! Invariant: a message is owed from the transaction of what it tells of on, and published by a controller, so that none
//! is lost in a crash; it may come twice.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standfast_api::{autoscaling as api, sns};
use standfast_core::page::page;
use standfast_core::{Arn, Result, Rng, Scope, Timestamp};
use standfast_kernel::events::{self, Event};
use standfast_kernel::owed::{self, Debt};
use standfast_kernel::{Cx, Wake};
use standfast_store::{Record, Txn};

use super::errors::{self, validation};
use super::groups::{find, live};
use super::hooks;
use super::model::{Activity, Group, Hook, Member, Status};

const LAUNCH: &str = "autoscaling:EC2_INSTANCE_LAUNCH";
const LAUNCH_ERROR: &str = "autoscaling:EC2_INSTANCE_LAUNCH_ERROR";
const TERMINATE: &str = "autoscaling:EC2_INSTANCE_TERMINATE";
const TERMINATE_ERROR: &str = "autoscaling:EC2_INSTANCE_TERMINATE_ERROR";
const TEST: &str = "autoscaling:TEST_NOTIFICATION";
/// What a topic can be told of.
pub const TYPES: &[&str] = &[LAUNCH, LAUNCH_ERROR, TERMINATE, TERMINATE_ERROR, TEST];
const SERVICE: &str = "AWS Auto Scaling";
/// And on the event bus.
const SOURCE: &str = "aws.autoscaling";
/// Topics of a group.
const TOPICS_MAX: usize = 10;
const PAGE: i32 = 50;
const PAGE_MAX: i32 = 100;

/// What a topic is told of a group. Its id is `GROUP/TOPIC`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifies {
    pub group: String,
    pub topic: String,
    pub types: Vec<String>,
}

impl Record for Notifies {
    const TABLE: &'static str = "autoscaling.notifications";
    fn indexes(&self) -> Vec<(&'static str, String)> {
        vec![("group", self.group.clone())]
    }
}

fn key(group: &str, topic: &str) -> String {
    format!("{group}/{topic}")
}

/// A message that is to be published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    topic: String,
    subject: String,
    body: String,
}

impl Debt for Message {
    const TABLE: &'static str = "autoscaling.owed_messages";
}

/// The table of what is owed, for the controller.
pub const OWED: &[&str] = &[Message::TABLE];

pub async fn run(cx: Cx) -> Result<Wake> {
    let perform = |cx: Cx, message: Message| async move {
        let input = sns::PublishInput {
            topic_arn: Some(message.topic),
            subject: Some(message.subject),
            message: message.body,
            ..Default::default()
        };
        cx.call(sns::Publish, input).await.map(drop)
    };
    owed::settle(&cx, perform, |_, _, _| ()).await
}

fn owe(tx: &mut Txn, scope: &Scope, id: &str, topic: &str, subject: String, body: &Value, now: Timestamp) {
    let message = Message { topic: topic.to_owned(), subject, body: body.to_string() };
    owed::owe(tx, scope, id, message, now);
}

/// Tells the topics of a group that an activity has ended.
pub fn activity_ended(tx: &mut Txn, scope: &Scope, activity: &Activity, now: Timestamp) {
    let failed = matches!(activity.status, Status::Failed | Status::Cancelled);
    let launches = activity.description.starts_with("Launching") || activity.description.is_empty();
    let (event, what) = match (launches, failed) {
        (true, false) => (LAUNCH, "launch"),
        (true, true) => (LAUNCH_ERROR, "failed launch"),
        (false, false) => (TERMINATE, "termination"),
        (false, true) => (TERMINATE_ERROR, "failed termination"),
    };
    bus(tx, scope, activity, (launches, failed), now);
    let told = tx.by_index::<Notifies>(scope, "group", &activity.group);
    for (_, notifies) in told.iter().filter(|(_, notifies)| notifies.types.iter().any(|own| own == event)) {
        let instance = instance(&activity.description);
        let subject = match instance {
            "" => format!("Auto Scaling: {what} for group \"{}\"", activity.group),
            instance => format!("Auto Scaling: {what} for group \"{}\" instance \"{instance}\"", activity.group),
        };
        let id = format!("{}-{}", activity.id, notifies.topic);
        owe(tx, scope, &id, &notifies.topic, subject, &body(scope, activity, event, instance, now), now);
    }
}

/// Tells the event bus of an activity's end.
fn bus(tx: &mut Txn, scope: &Scope, activity: &Activity, (launches, failed): (bool, bool), now: Timestamp) {
    let verb = if launches { "Launch" } else { "Terminate" };
    let outcome = if failed { "Unsuccessful" } else { "Successful" };
    let id = instance(&activity.description);
    let detail = json!({
        "ActivityId": activity.id,
        "AutoScalingGroupName": activity.group,
        "Cause": activity.cause,
        "Description": activity.description,
        "Details": {"Availability Zone": activity.zone, "Subnet ID": activity.subnet},
        "EC2InstanceId": id,
        "EndTime": activity.ended.unwrap_or(now).iso8601(),
        "RequestId": activity.id,
        "StartTime": activity.started.iso8601(),
        "StatusCode": if failed { activity.status.name() } else { "InProgress" },
        "StatusMessage": activity.message.as_deref().unwrap_or_default(),
    });
    let kind = format!("EC2 Instance {verb} {outcome}");
    note(tx, scope, &activity.id, kind, (&activity.group_arn, id), detail, now);
}

fn note(
    tx: &mut Txn,
    scope: &Scope,
    id: &str,
    detail_type: String,
    (group, instance): (&str, &str),
    detail: Value,
    at: Timestamp,
) {
    let instance = (!instance.is_empty()).then(|| Arn::new("ec2", scope, format!("instance/{instance}")).to_string());
    let resources = [group.to_owned()].into_iter().chain(instance).collect();
    let event = Event { source: SOURCE.to_owned(), detail_type, resources, detail, at };
    events::note(tx, scope, id, event);
}

/// The instance that an activity's description ends with.
fn instance(description: &str) -> &str {
    let words = description.split([' ', '.']);
    words.into_iter().find(|word| word.starts_with("i-")).unwrap_or_default()
}

fn body(scope: &Scope, activity: &Activity, event: &str, instance: &str, now: Timestamp) -> Value {
    json!({
        "Origin": if event.contains("LAUNCH") { "EC2" } else { "AutoScalingGroup" },
        "Destination": if event.contains("LAUNCH") { "AutoScalingGroup" } else { "EC2" },
        "Progress": activity.progress,
        "AccountId": scope.account,
        "Description": activity.description,
        "RequestId": activity.id,
        "EndTime": activity.ended.unwrap_or(now).iso8601(),
        "AutoScalingGroupARN": activity.group_arn,
        "ActivityId": activity.id,
        "StartTime": activity.started.iso8601(),
        "Service": SERVICE,
        "Time": now.iso8601(),
        "EC2InstanceId": instance,
        "StatusCode": if matches!(activity.status, Status::Successful) { "InProgress" } else { activity.status.name() },
        "StatusMessage": activity.message.as_deref().unwrap_or_default(),
        "Details": {"Subnet ID": activity.subnet, "Availability Zone": activity.zone},
        "AutoScalingGroupName": activity.group,
        "Cause": activity.cause,
        "Event": event,
    })
}

/// Tells the targets of hooks who waits for them. The waits are the member's.
pub fn waits(tx: &mut Txn, scope: &Scope, hooks: &[(String, std::sync::Arc<Hook>)], member: &Member, now: Timestamp) {
    for wait in &member.waits {
        let Some((_, hook)) = hooks.iter().find(|(name, _)| *name == wait.hook) else { continue };
        let (transition, origin, destination) = if hook.launching {
            (hooks::LAUNCHING, "EC2", "AutoScalingGroup")
        } else {
            (hooks::TERMINATING, "AutoScalingGroup", "EC2")
        };
        let mut body = json!({
            "Origin": origin,
            "Destination": destination,
            "AccountId": scope.account,
            "AutoScalingGroupName": member.group,
            "Service": SERVICE,
            "Time": now.iso8601(),
            "RequestId": wait.token,
            "LifecycleHookName": wait.hook,
            "EC2InstanceId": member.instance.as_deref().unwrap_or_default(),
            "LifecycleTransition": transition,
            "LifecycleActionToken": wait.token,
        });
        if let Some(metadata) = &hook.metadata {
            body["NotificationMetadata"] = metadata.clone().into();
        }
        waits_on_the_bus(tx, scope, hook.launching, &body, now);
        let Some(target) = &hook.notification_target else { continue };
        let verb = if hook.launching { "launching" } else { "terminating" };
        let subject = format!(
            "Auto Scaling:  Lifecycle action '{}' for instance {} in progress.",
            verb.to_uppercase(),
            member.instance.as_deref().unwrap_or_default()
        );
        owe(tx, scope, &wait.token, target, subject, &body, now);
    }
}

/// Tells the event bus of a wait, in the words that a topic is told.
fn waits_on_the_bus(tx: &mut Txn, scope: &Scope, launching: bool, body: &Value, now: Timestamp) {
    let members = [
        "LifecycleActionToken",
        "AutoScalingGroupName",
        "LifecycleHookName",
        "EC2InstanceId",
        "LifecycleTransition",
        "NotificationMetadata",
        "Origin",
        "Destination",
    ];
    let told = members.into_iter().filter_map(|name| Some((name.to_owned(), body.get(name)?.clone())));
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let group = tx.get::<Group>(scope, text("AutoScalingGroupName")).map(|group| group.arn.clone()).unwrap_or_default();
    let what = if launching { "launch" } else { "terminate" };
    let (id, kind) = (text("LifecycleActionToken"), format!("EC2 Instance-{what} Lifecycle Action"));
    note(tx, scope, id, kind, (&group, ""), Value::Object(told.collect()), now);
}

/// Tells a topic that it will be told.
pub fn test(tx: &mut Txn, scope: &Scope, rng: &Rng, name: &str, group: &Group, topic: &str, now: Timestamp) {
    let id = rng.uuid();
    let body = json!({
        "AccountId": scope.account,
        "RequestId": id,
        "AutoScalingGroupARN": group.arn,
        "AutoScalingGroupName": name,
        "Service": SERVICE,
        "Event": TEST,
        "Time": now.iso8601(),
    });
    let subject = format!("Auto Scaling: test notification for group \"{name}\"");
    owe(tx, scope, &id, topic, subject, &body, now);
}

/// Removes what a group that goes tells.
pub fn remove_all(tx: &mut Txn, scope: &Scope, group: &str) {
    for (key, _) in tx.by_index::<Notifies>(scope, "group", group) {
        tx.delete::<Notifies>(scope, &key);
    }
}

/// Checks that a topic of this region is named, and that it exists.
pub async fn check_topic(cx: &Cx, topic: &str) -> Result<()> {
    let arn: Option<Arn> = topic.parse().ok();
    if !arn.is_some_and(|arn| arn.service == "sns" && *arn.scope().region == *cx.region()) {
        return Err(validation(format!("Invalid SNS Topic ARN: {topic}")));
    }
    let input = sns::GetTopicAttributesInput { topic_arn: topic.to_owned() };
    match cx.call(sns::GetTopicAttributes, input).await {
        Err(error) if error.fault == standfast_core::Fault::Client => Err(validation(format!(
            "Unable to publish test message to notification target {topic}. Please check your target and role \
             configuration and try again. ({})",
            error.message
        ))),
        // What cannot be asked now is found out when the message is published.
        _ => Ok(()),
    }
}

pub async fn put(
    cx: Cx,
    input: api::PutNotificationConfigurationInput,
) -> Result<api::PutNotificationConfigurationOutput> {
    let (group, topic) = (&input.auto_scaling_group_name, &input.topic_arn);
    if input.notification_types.is_empty() {
        return Err(validation("At least one notification type must be specified."));
    }
    if let Some(unknown) = input.notification_types.iter().find(|own| !TYPES.contains(&own.as_str())) {
        return Err(validation(format!("\"{unknown}\" is not a valid Notification Type.")));
    }
    find(&cx, group)?;
    check_topic(&cx, topic).await?;
    let (now, seed) = (cx.now(), cx.rng().u64());
    cx.txn(|tx| {
        let record = live(tx, &cx, group)?;
        let all = tx.by_index::<Notifies>(cx.scope(), "group", group);
        let is_new = !all.iter().any(|(_, other)| other.topic == *topic);
        if is_new && all.len() >= TOPICS_MAX {
            return Err(errors::limit(format!("A group can notify at most {TOPICS_MAX} topics.")));
        }
        let mut types = input.notification_types.clone();
        types.sort();
        types.dedup();
        let notifies = Notifies { group: group.clone(), topic: topic.clone(), types };
        tx.put(cx.scope(), &key(group, topic), notifies);
        test(tx, cx.scope(), &Rng::seeded(seed), group, &record, topic, now);
        Ok(())
    })
    .await?;
    Ok(api::PutNotificationConfigurationOutput {})
}

pub async fn delete(
    cx: Cx,
    input: api::DeleteNotificationConfigurationInput,
) -> Result<api::DeleteNotificationConfigurationOutput> {
    let (group, topic) = (&input.auto_scaling_group_name, &input.topic_arn);
    cx.txn(|tx| {
        live(tx, &cx, group)?;
        tx.delete::<Notifies>(cx.scope(), &key(group, topic));
        Ok(())
    })
    .await?;
    Ok(api::DeleteNotificationConfigurationOutput {})
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeNotificationConfigurationsInput,
) -> Result<api::DescribeNotificationConfigurationsOutput> {
    let limit = input.max_records.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(validation(format!("MaxRecords must be from 1 to {PAGE_MAX}; it is {limit}.")));
    }
    let groups = input.auto_scaling_group_names.unwrap_or_default();
    for name in &groups {
        find(&cx, name)?;
    }
    let found = cx.view(|view| view.list::<Notifies>(cx.scope()));
    let found = found.iter().filter(|(_, own)| groups.is_empty() || groups.contains(&own.group));
    let rows = found.flat_map(|(key, own)| own.types.iter().map(move |type_| (format!("{key}/{type_}"), own, type_)));
    let page = page(rows, |(key, ..)| key.clone(), input.next_token.as_deref(), limit as usize, "InvalidNextToken")?;
    let shape = |(_, own, type_): &(String, &std::sync::Arc<Notifies>, &String)| api::NotificationConfiguration {
        auto_scaling_group_name: Some(own.group.clone()),
        topic_arn: Some(own.topic.clone()),
        notification_type: Some((*type_).clone()),
    };
    let notification_configurations = page.items.iter().map(shape).collect();
    Ok(api::DescribeNotificationConfigurationsOutput { notification_configurations, next_token: page.next })
}
