//! Topics, their subscriptions and policies; rules of the event bus.

use serde_json::{Map, Value, json};
use standfast_api::{events, sns};
use standfast_core::Result;

use super::ec2_network::{ready, vanished};
use super::job::{Job, as_list, said};
use super::values::{document, is_true};
use super::{BASE, ResourceType, State};
use crate::cloudformation::template::text;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::SNS::Topic",
        replaced: &["FifoTopic", "TopicName"],
        updated: &[
            "ContentBasedDeduplication",
            "DisplayName",
            "FifoThroughputScope",
            "KmsMasterKeyId",
            "SignatureVersion",
            "Subscription",
            "Tags",
            "TracingConfig",
        ],
        attributes: &["TopicArn", "TopicName"],
        create: |job| Box::pin(create_topic(job)),
        equip: |job| Box::pin(subscribe_all(job)),
        // Making it again finds it.
        read: |job| Box::pin(read_topic(job)),
        update: |job| Box::pin(update_topic(job)),
        delete: |job| Box::pin(delete_topic(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::SNS::Subscription",
        required: &["Protocol", "TopicArn"],
        replaced: &["Endpoint", "Protocol", "TopicArn"],
        updated: SUBSCRIPTION,
        attributes: &["Arn"],
        create: |job| Box::pin(create_subscription(job)),
        read: |job| Box::pin(read_subscription(job)),
        update: |job| Box::pin(update_subscription(job)),
        delete: |job| Box::pin(delete_subscription(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::SNS::TopicPolicy",
        required: &["PolicyDocument", "Topics"],
        replaced: &["Topics"],
        updated: &["PolicyDocument"],
        attributes: &["Id"],
        create: |job| Box::pin(create_policy(job)),
        read: |job| Box::pin(async { Ok(ready(json!({"Id": job.id()}))) }),
        update: |job| Box::pin(put_policy(job)),
        delete: |job| Box::pin(delete_policy(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::Events::Rule",
        replaced: &["EventBusName", "Name"],
        updated: &["Description", "EventPattern", "RoleArn", "ScheduleExpression", "State", "Targets"],
        attributes: &["Arn"],
        create: |job| Box::pin(create_rule(job)),
        equip: |job| Box::pin(put_targets(job)),
        read: |job| Box::pin(read_rule(job)),
        update: |job| Box::pin(update_rule(job)),
        delete: |job| Box::pin(delete_rule(job)),
        ..BASE
    },
];

/// What a topic is told by attributes.
const TOPIC: &[&str] = &[
    "ContentBasedDeduplication",
    "DisplayName",
    "FifoThroughputScope",
    "FifoTopic",
    "KmsMasterKeyId",
    "SignatureVersion",
    "TracingConfig",
];
/// What a subscription is told by attributes.
const SUBSCRIPTION: &[&str] = &[
    "DeliveryPolicy",
    "FilterPolicy",
    "FilterPolicyScope",
    "RawMessageDelivery",
    "RedrivePolicy",
    "SubscriptionRoleArn",
];
/// How long generated names may be.
const TOPIC_CHARS_MAX: usize = 256;
const RULE_CHARS_MAX: usize = 64;
const FIFO: &str = ".fifo";
/// Between the bus and the rule in the physical id of a rule that is not on the default bus.
const SEPARATOR: char = '|';

/// Properties as attributes: all are text, documents as JSON.
fn attributes(job: &Job, names: &[&str]) -> Map<String, Value> {
    let as_text = |value: &Value| text(value).unwrap_or_else(|| document(value));
    job.only(names).iter().map(|(name, value)| (name.clone(), as_text(value).into())).collect()
}

async fn create_topic(job: &Job) -> Result<String> {
    let fifo = is_true(job.get("FifoTopic")) == Some(true) && job.get("TopicName").is_none();
    let name = match fifo {
        true => job.name("TopicName", TOPIC_CHARS_MAX - FIFO.len()) + FIFO,
        false => job.name("TopicName", TOPIC_CHARS_MAX),
    };
    let input = json!({"Name": name, "Attributes": attributes(job, TOPIC), "Tags": job.tag_list()});
    said(&job.ask(sns::CreateTopic, input).await?, "/TopicArn")
}

/// The subscriptions that a topic is made with.
fn wished(properties: &Map<String, Value>) -> Vec<(String, String)> {
    let all = properties.get("Subscription").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(|one| Some((text(&one["Protocol"])?, text(&one["Endpoint"])?))).collect()
}

async fn subscribe_all(job: &Job) -> Result<()> {
    for (protocol, endpoint) in wished(job.properties()) {
        let input = json!({"TopicArn": job.id(), "Protocol": protocol, "Endpoint": endpoint});
        job.ask(sns::Subscribe, input).await?;
    }
    Ok(())
}

async fn read_topic(job: &Job) -> Result<State> {
    let there = job.forget(sns::GetTopicAttributes, json!({"TopicArn": job.id()})).await?;
    let name = job.id().rsplit(':').next().unwrap_or_default();
    Ok(if there { ready(json!({"TopicArn": job.id(), "TopicName": name})) } else { vanished(job) })
}

async fn update_topic(job: &Job) -> Result<()> {
    for (name, value) in attributes(job, TOPIC).into_iter().filter(|(name, _)| job.changes(name)) {
        let input = json!({"TopicArn": job.id(), "AttributeName": name, "AttributeValue": value});
        job.ask(sns::SetTopicAttributes, input).await?;
    }
    let (set, gone) = job.tag_changes();
    if !gone.is_empty() {
        job.ask(sns::UntagResource, json!({"ResourceArn": job.id(), "TagKeys": gone})).await?;
    }
    if !set.is_empty() {
        job.ask(sns::TagResource, json!({"ResourceArn": job.id(), "Tags": as_list(set)})).await?;
    }
    if !job.changes("Subscription") {
        return Ok(());
    }
    let (old, new) = (job.old.as_ref().map(|old| wished(&old.evaluated.properties)), wished(job.properties()));
    let left: Vec<_> = old.unwrap_or_default().into_iter().filter(|one| !new.contains(one)).collect();
    let there = job.ask(sns::ListSubscriptionsByTopic, json!({"TopicArn": job.id()})).await?;
    for one in there["Subscriptions"].as_array().into_iter().flatten() {
        let whose = (text(&one["Protocol"]).unwrap_or_default(), text(&one["Endpoint"]).unwrap_or_default());
        if left.contains(&whose) {
            job.forget(sns::Unsubscribe, json!({"SubscriptionArn": one["SubscriptionArn"]})).await?;
        }
    }
    subscribe_all(job).await
}

async fn delete_topic(job: &Job) -> Result<bool> {
    job.forget(sns::DeleteTopic, json!({"TopicArn": job.id()})).await.map(|_| true)
}

async fn create_subscription(job: &Job) -> Result<String> {
    let mut input = job.only(&["Endpoint", "Protocol", "TopicArn"]);
    input.insert("Attributes".into(), attributes(job, SUBSCRIPTION).into());
    input.insert("ReturnSubscriptionArn".into(), true.into());
    said(&job.ask(sns::Subscribe, input.into()).await?, "/SubscriptionArn")
}

async fn read_subscription(job: &Job) -> Result<State> {
    let there = job.forget(sns::GetSubscriptionAttributes, json!({"SubscriptionArn": job.id()})).await?;
    Ok(if there { ready(json!({"Arn": job.id()})) } else { vanished(job) })
}

async fn update_subscription(job: &Job) -> Result<()> {
    let now = attributes(job, SUBSCRIPTION);
    for name in SUBSCRIPTION.iter().filter(|name| job.changes(name)) {
        let value = now.get(*name).cloned().unwrap_or_else(|| "".into());
        let input = json!({"SubscriptionArn": job.id(), "AttributeName": name, "AttributeValue": value});
        job.ask(sns::SetSubscriptionAttributes, input).await?;
    }
    Ok(())
}

async fn delete_subscription(job: &Job) -> Result<bool> {
    job.forget(sns::Unsubscribe, json!({"SubscriptionArn": job.id()})).await.map(|_| true)
}

async fn create_policy(job: &Job) -> Result<String> {
    put_policy(job).await?;
    Ok(job.name("", TOPIC_CHARS_MAX))
}

async fn put_policy(job: &Job) -> Result<()> {
    let policy = job.get("PolicyDocument").map(document).unwrap_or_default();
    set_policy(job, &policy).await
}

/// Its topics are as if they had never been given a policy.
async fn delete_policy(job: &Job) -> Result<bool> {
    set_policy(job, "").await.map(|()| true)
}

async fn set_policy(job: &Job, policy: &str) -> Result<()> {
    for topic in job.get("Topics").and_then(Value::as_array).into_iter().flatten() {
        let input = json!({"TopicArn": topic, "AttributeName": "Policy", "AttributeValue": policy});
        job.forget(sns::SetTopicAttributes, input).await?;
    }
    Ok(())
}

/// The bus and the name of a rule.
fn rule(job: &Job) -> (Option<&str>, &str) {
    job.id().split_once(SEPARATOR).map_or((None, job.id()), |(bus, name)| (Some(bus), name))
}

/// The members that name a rule, as `Rule` or `Name`.
fn of_rule(job: &Job, member: &str) -> Map<String, Value> {
    let (bus, name) = rule(job);
    let bus = bus.map(|bus| ("EventBusName".to_owned(), bus.into()));
    bus.into_iter().chain([(member.to_owned(), name.into())]).collect()
}

async fn create_rule(job: &Job) -> Result<String> {
    let name = job.name("Name", RULE_CHARS_MAX);
    let bus = job.text("EventBusName").filter(|bus| bus != "default");
    let mut input = rule_settings(job);
    input.insert("Name".into(), name.clone().into());
    input.extend(bus.iter().map(|bus| ("EventBusName".to_owned(), bus.clone().into())));
    input.insert("Tags".into(), job.tag_list());
    job.ask(events::PutRule, input.into()).await?;
    Ok(bus.map_or(name.clone(), |bus| format!("{bus}{SEPARATOR}{name}")))
}

fn rule_settings(job: &Job) -> Map<String, Value> {
    let mut input = job.only(&["Description", "RoleArn", "ScheduleExpression", "State"]);
    input.extend(job.get("EventPattern").map(|pattern| ("EventPattern".to_owned(), document(pattern).into())));
    input
}

async fn put_targets(job: &Job) -> Result<()> {
    let Some(targets) = job.get("Targets").and_then(Value::as_array).filter(|targets| !targets.is_empty()) else {
        return Ok(());
    };
    let mut input = of_rule(job, "Rule");
    input.insert("Targets".into(), targets.clone().into());
    let answer = job.ask(events::PutTargets, input.into()).await?;
    match answer["FailedEntries"].as_array().and_then(|failed| failed.first()) {
        Some(failed) => Err(crate::cloudformation::errors::property(format!(
            "The target {} was refused: {}",
            failed["TargetId"], failed["ErrorMessage"]
        ))),
        None => Ok(()),
    }
}

async fn read_rule(job: &Job) -> Result<State> {
    let input = of_rule(job, "Name");
    let there = job.forget(events::DescribeRule, input.clone().into()).await?;
    if !there {
        return Ok(vanished(job));
    }
    Ok(ready(json!({"Arn": job.ask(events::DescribeRule, input.into()).await?["Arn"]})))
}

async fn update_rule(job: &Job) -> Result<()> {
    let mut input = rule_settings(job);
    input.extend(of_rule(job, "Name"));
    job.ask(events::PutRule, input.into()).await?;
    if job.changes("Targets") {
        remove_targets(job).await?;
        put_targets(job).await?;
    }
    Ok(())
}

async fn remove_targets(job: &Job) -> Result<()> {
    let listed = job.ask(events::ListTargetsByRule, of_rule(job, "Rule").into()).await?;
    let ids: Vec<Value> =
        listed["Targets"].as_array().into_iter().flatten().map(|target| target["Id"].clone()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let mut input = of_rule(job, "Rule");
    input.insert("Ids".into(), ids.into());
    job.ask(events::RemoveTargets, input.into()).await.map(drop)
}

async fn delete_rule(job: &Job) -> Result<bool> {
    // A rule that is gone has no targets.
    if job.forget(events::DescribeRule, of_rule(job, "Name").into()).await? {
        remove_targets(job).await?;
        job.forget(events::DeleteRule, of_rule(job, "Name").into()).await?;
    }
    Ok(true)
}
