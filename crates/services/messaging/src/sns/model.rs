//! The records of SNS.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use standfast_core::{Arn, Result, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_kernel::owed::Debt;
use standfast_store::{Record, View};

use super::errors::{because, no_subscription, no_topic};

/// A topic; its id is its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    /// As they were set, by their names in the API.
    pub attributes: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    /// Subscriptions that are gone.
    pub deleted: u32,
}

impl Record for Topic {
    const TABLE: &'static str = "sns.topics";
}

impl Topic {
    pub fn is(&self, attribute: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|value| value == "true")
    }
}

standfast_core::names! {
    /// How a subscription's messages travel.
    Protocol {
        Http "http",
        Https "https",
        Email "email",
        EmailJson "email-json",
    }
}

impl Protocol {
    pub fn is_web(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

/// A subscription; its id is `topic:uuid`, so a topic's are found by their beginning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    pub topic: String,
    pub protocol: Protocol,
    pub endpoint: String,
    pub owner: String,
    pub confirmed: bool,
    /// Whether only the owner may take it back.
    pub authenticated: bool,
    /// What confirms it.
    pub token: String,
    pub asked: Timestamp,
    /// As they were set, by their names in the API.
    pub attributes: BTreeMap<String, String>,
}

impl Record for Subscription {
    const TABLE: &'static str = "sns.subscriptions";
}

impl Subscription {
    pub fn is_raw(&self) -> bool {
        self.attributes.get("RawMessageDelivery").is_some_and(|value| value == "true")
    }
}

/// A value that comes with a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    pub data_type: String,
    /// The text; of binary values their base64.
    pub value: String,
}

/// A published message that is on its way; its id is the message's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub topic: String,
    pub subject: Option<String>,
    /// What everyone gets whose protocol has nothing of its own.
    pub body: String,
    /// Bodies by protocol, where the publisher gave any.
    pub bodies: BTreeMap<String, String>,
    pub attributes: BTreeMap<String, Attribute>,
    pub at: Timestamp,
}

impl Record for Message {
    const TABLE: &'static str = "sns.messages";
}

impl Message {
    pub fn body_for(&self, protocol: Protocol) -> &str {
        self.bodies.get(protocol.name()).unwrap_or(&self.body)
    }
}

/// What is owed to a subscription. The id begins with the message's, and so tells whether more of it is owed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The subscription's id.
    pub subscription: String,
    pub what: Parcel,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Parcel {
    /// The question whether the endpoint wants to be subscribed.
    Confirmation,
    /// The message of this id.
    Message(String),
}

impl Debt for Delivery {
    const TABLE: &'static str = "sns.deliveries";
}

/// A deduplication id that was seen; the record's id is the topic and a digest of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub message: String,
    pub sequence: u64,
    pub until: Timestamp,
}

impl Record for Seen {
    const TABLE: &'static str = "sns.seen";
}

/// How many messages a FIFO topic has had; its id is the topic's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    pub last: u64,
}

impl Record for Sequence {
    const TABLE: &'static str = "sns.sequences";
}

pub fn topic_arn(scope: &Scope, name: &str) -> String {
    Arn::new("sns", scope, name).to_string()
}

/// The ARN of the subscription of this id.
pub fn subscription_arn(scope: &Scope, id: &str) -> String {
    Arn::new("sns", scope, id).to_string()
}

/// The name of the topic that an ARN names, which must be of the caller's account and region.
pub fn topic_name(cx: &Cx, text: &str) -> Result<String> {
    let arn = arn(text).filter(|arn| !arn.resource.contains(':'));
    let arn = arn.ok_or_else(|| because("TopicArn", format!("{text} is not the ARN of a topic")))?;
    check_scope(cx, &arn, "TopicArn")?;
    Ok(arn.resource)
}

/// The topic that an ARN names.
pub fn topic(view: &View, cx: &Cx, text: &str) -> Result<(String, Topic)> {
    let name = topic_name(cx, text)?;
    let topic = view.get::<Topic>(cx.scope(), &name).ok_or_else(no_topic)?;
    Ok((name, (*topic).clone()))
}

/// The id of the subscription that an ARN names.
pub fn subscription_id(text: &str) -> Result<Arn> {
    let arn = arn(text).filter(|arn| arn.resource.split(':').count() == 2);
    arn.ok_or_else(|| because("SubscriptionArn", format!("{text} is not the ARN of a subscription")))
}

/// The subscription that an ARN names, and its id.
pub fn subscription(view: &View, cx: &Cx, text: &str) -> Result<(String, Subscription)> {
    let arn = subscription_id(text)?;
    check_scope(cx, &arn, "SubscriptionArn")?;
    let found = view.get::<Subscription>(cx.scope(), &arn.resource).ok_or_else(no_subscription)?;
    Ok((arn.resource, (*found).clone()))
}

/// The ARN, if it is one of SNS.
pub fn arn(text: &str) -> Option<Arn> {
    text.parse::<Arn>().ok().filter(|arn| arn.service == "sns")
}

// AWS-DIFF: the policies of topics are kept and shown, but let no other account in.
fn check_scope(cx: &Cx, arn: &Arn, parameter: &str) -> Result<()> {
    if arn.region != cx.region() {
        return Err(because(parameter, format!("{arn} is of the region {} and not of {}", arn.region, cx.region())));
    }
    if arn.account != cx.account() {
        let message = format!("Account {} is not authorized to act on {arn}", cx.account());
        return Err(standfast_core::Error::client("AuthorizationError", message).with_status(403));
    }
    Ok(())
}

/// A topic's subscriptions, with their ids.
pub fn subscriptions(
    view: &View,
    scope: &Scope,
    topic: &str,
) -> Vec<(std::sync::Arc<str>, std::sync::Arc<Subscription>)> {
    view.prefix::<Subscription>(scope, &format!("{topic}:"))
}
