//! A topic's attributes, its policy and the permissions in it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use standfast_api::sns as api;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;

use super::errors::{because, invalid, needs};
use super::model::{self, Topic};
use super::retry::Policy;

const DISPLAY_NAME_CHARS_MAX: usize = 100;
const POLICY_BYTES_MAX: usize = 30 * 1024;
const STATEMENTS_MAX: usize = 20;
/// What may be set and is only kept.
const KEPT: &[&str] = &[
    "KmsMasterKeyId",
    "FifoThroughputScope",
    "HTTPSuccessFeedbackRoleArn",
    "HTTPFailureFeedbackRoleArn",
    "SQSSuccessFeedbackRoleArn",
    "SQSFailureFeedbackRoleArn",
    "LambdaSuccessFeedbackRoleArn",
    "LambdaFailureFeedbackRoleArn",
    "FirehoseSuccessFeedbackRoleArn",
    "FirehoseFailureFeedbackRoleArn",
    "ApplicationSuccessFeedbackRoleArn",
    "ApplicationFailureFeedbackRoleArn",
];
const SAMPLE_RATES: &[&str] = &[
    "HTTPSuccessFeedbackSampleRate",
    "SQSSuccessFeedbackSampleRate",
    "LambdaSuccessFeedbackSampleRate",
    "FirehoseSuccessFeedbackSampleRate",
    "ApplicationSuccessFeedbackSampleRate",
];
/// What anyone of the owner's account may do with a topic that has no policy of its own.
const OWNER_ACTIONS: [&str; 8] = [
    "SNS:GetTopicAttributes",
    "SNS:SetTopicAttributes",
    "SNS:AddPermission",
    "SNS:RemovePermission",
    "SNS:DeleteTopic",
    "SNS:Subscribe",
    "SNS:ListSubscriptionsByTopic",
    "SNS:Publish",
];

/// Whether an attribute of a new topic may have this value.
pub fn check_new(name: &str, value: &str) -> Result<()> {
    match name {
        "FifoTopic" => boolean(name, value),
        _ => check(name, value),
    }
}

/// Whether an attribute may be set to this value.
fn check(name: &str, value: &str) -> Result<()> {
    match name {
        "DisplayName" if value.chars().count() > DISPLAY_NAME_CHARS_MAX || value.contains(char::is_control) => Err(
            because("DisplayName", format!("it has over {DISPLAY_NAME_CHARS_MAX} characters or line breaks: {value}")),
        ),
        "DisplayName" => Ok(()),
        "Policy" => policy(value).map(|_| ()),
        "DeliveryPolicy" => {
            Policy::of_topic(value).map(|_| ()).map_err(|why| invalid(format!("DeliveryPolicy: {why}")))
        }
        "ContentBasedDeduplication" => boolean(name, value),
        "SignatureVersion" if value == "1" || value == "2" => Ok(()),
        "TracingConfig" if value == "PassThrough" || value == "Active" => Ok(()),
        "SignatureVersion" | "TracingConfig" => Err(because(name, format!("invalid value {value}"))),
        "ArchivePolicy" => Err(needs(name, "Archiving", "message archiving")),
        "DataProtectionPolicy" => Err(needs(name, "A data protection policy", "message data protection")),
        _ if SAMPLE_RATES.contains(&name) => match value.parse::<u8>() {
            Ok(0..=100) => Ok(()),
            _ => Err(because(name, format!("a percentage from 0 to 100, not {value}"))),
        },
        _ if KEPT.contains(&name) => Ok(()),
        _ => Err(because("AttributeName", format!("{name} is not an attribute of topics that can be set"))),
    }
}

fn boolean(name: &str, value: &str) -> Result<()> {
    match value {
        "true" | "false" => Ok(()),
        _ => Err(because(name, format!("must be true or false, not {value}"))),
    }
}

fn policy(text: &str) -> Result<Value> {
    let parsed = serde_json::from_str::<Value>(text).ok().filter(|policy| policy["Statement"].is_array());
    let Some(policy) = parsed.filter(|_| text.len() <= POLICY_BYTES_MAX) else {
        return Err(because("Policy Error", "null"));
    };
    Ok(policy)
}

pub async fn set(cx: Cx, input: api::SetTopicAttributesInput) -> Result<api::SetTopicAttributesOutput> {
    let (name, value) = (input.attribute_name, input.attribute_value.unwrap_or_default());
    // An empty value takes an attribute back, one that cannot be set is refused with any.
    if !value.is_empty() || !["DeliveryPolicy", "Policy", "TracingConfig"].contains(&name.as_str()) {
        let stands_for_nothing =
            value.is_empty() && (KEPT.contains(&name.as_str()) || SAMPLE_RATES.contains(&name.as_str()));
        if !stands_for_nothing {
            check(&name, &value)?;
        }
    }
    cx.txn(|tx| {
        let (id, mut topic) = model::topic(tx, &cx, &input.topic_arn)?;
        if name == "ContentBasedDeduplication" && !topic.is("FifoTopic") {
            return Err(because("Attributes", "Content-based deduplication can only be set for FIFO topics"));
        }
        match value.is_empty() {
            true => topic.attributes.remove(&name),
            false => topic.attributes.insert(name.clone(), value.clone()),
        };
        tx.put(cx.scope(), &id, topic);
        Ok(api::SetTopicAttributesOutput {})
    })
    .await
}

pub async fn get(cx: Cx, input: api::GetTopicAttributesInput) -> Result<api::GetTopicAttributesResponse> {
    let (scope, arn) = (cx.scope(), &input.topic_arn);
    let (topic, counts) = cx.view(|view| {
        let (name, topic) = model::topic(view, &cx, arn)?;
        let all = model::subscriptions(view, scope, &name);
        let confirmed = all.iter().filter(|(_, subscription)| subscription.confirmed).count();
        Ok::<_, Error>((topic, (confirmed, all.len() - confirmed)))
    })?;
    let mut all = BTreeMap::from([
        ("TopicArn".to_owned(), arn.clone()),
        ("Owner".to_owned(), scope.account.to_string()),
        ("DisplayName".to_owned(), String::new()),
        ("Policy".to_owned(), default_policy(scope, arn).to_string()),
        ("SubscriptionsConfirmed".to_owned(), counts.0.to_string()),
        ("SubscriptionsPending".to_owned(), counts.1.to_string()),
        ("SubscriptionsDeleted".to_owned(), topic.deleted.to_string()),
        (
            "EffectiveDeliveryPolicy".to_owned(),
            Policy::effective(topic.attributes.get("DeliveryPolicy"), None).topic_json(),
        ),
    ]);
    if topic.is("FifoTopic") {
        all.insert("ContentBasedDeduplication".into(), "false".into());
        all.insert("FifoThroughputScope".into(), "Topic".into());
    }
    all.extend(topic.attributes);
    Ok(api::GetTopicAttributesResponse { attributes: Some(all) })
}

fn default_policy(scope: &Scope, arn: &str) -> Value {
    json!({
        "Version": "2008-10-17",
        "Id": "__default_policy_ID",
        "Statement": [{
            "Sid": "__default_statement_ID",
            "Effect": "Allow",
            "Principal": { "AWS": "*" },
            "Action": OWNER_ACTIONS,
            "Resource": arn,
            "Condition": { "StringEquals": { "AWS:SourceOwner": &*scope.account } },
        }],
    })
}

pub async fn add_permission(cx: Cx, input: api::AddPermissionInput) -> Result<api::AddPermissionOutput> {
    if input.label.is_empty() || input.aws_account_id.is_empty() || input.action_name.is_empty() {
        return Err(because("Label", "a label, accounts and actions are needed"));
    }
    let known: Vec<&str> = OWNER_ACTIONS.iter().filter_map(|action| action.strip_prefix("SNS:")).collect();
    if let Some(action) =
        input.action_name.iter().find(|action| !known.contains(&action.as_str()) && *action != "Receive")
    {
        return Err(because("ActionName", format!("Policy statement action out of service scope: {action}")));
    }
    let twelve = |account: &&String| account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(account) = input.aws_account_id.iter().find(twelve) {
        return Err(because("AWSAccountId", format!("{account} is not an account")));
    }
    let principals: Vec<String> = input.aws_account_id.iter().map(|id| format!("arn:aws:iam::{id}:root")).collect();
    let actions: Vec<String> = input.action_name.iter().map(|action| format!("SNS:{action}")).collect();
    change_policy(&cx, &input.topic_arn, |statements| {
        if statements.iter().any(|statement| statement["Sid"] == input.label.as_str()) {
            return Err(because("Label", format!("Statement already exists: {}", input.label)));
        }
        if statements.len() >= STATEMENTS_MAX {
            return Err(because("Policy", format!("a policy has {STATEMENTS_MAX} statements at most")));
        }
        statements.push(json!({
            "Sid": input.label,
            "Effect": "Allow",
            "Principal": { "AWS": principals },
            "Action": actions,
            "Resource": input.topic_arn,
        }));
        Ok(())
    })
    .await?;
    Ok(api::AddPermissionOutput {})
}

pub async fn remove_permission(cx: Cx, input: api::RemovePermissionInput) -> Result<api::RemovePermissionOutput> {
    change_policy(&cx, &input.topic_arn, |statements| {
        statements.retain(|statement| statement["Sid"] != input.label.as_str());
        Ok(())
    })
    .await?;
    Ok(api::RemovePermissionOutput {})
}

async fn change_policy(cx: &Cx, arn: &str, change: impl Fn(&mut Vec<Value>) -> Result<()>) -> Result<()> {
    cx.txn(|tx| {
        let (name, topic) = model::topic(tx, cx, arn)?;
        let set = topic.attributes.get("Policy").map(|text| policy(text)).transpose()?;
        let mut policy = set.unwrap_or_else(|| default_policy(cx.scope(), arn));
        if let Some(statements) = policy["Statement"].as_array_mut() {
            change(statements)?;
        }
        let mut attributes = topic.attributes.clone();
        attributes.insert("Policy".into(), policy.to_string());
        tx.put(cx.scope(), &name, Topic { attributes, ..topic });
        Ok(())
    })
    .await
}
