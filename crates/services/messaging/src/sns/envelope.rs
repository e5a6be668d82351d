//! What is sent: the request to an endpoint, the mail to a person.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use standfast_core::courier::{Mail, Post};
use standfast_core::{Result, Scope, Timestamp};

use super::model::{self, Message, Protocol, Subscription};
use super::retry::DEFAULT_CONTENT_TYPE;
use super::signing::Key;

/// Whom mails come from. AWS-DIFF: not a name of Amazon's.
const SENDER: &str = "no-reply@sns.standfast.localhost";
const DISPLAY_NAME: &str = "Standfast Notifications";
const SUBJECT: &str = "Standfast Notification Message";
const CONFIRM_SUBJECT: &str = "Standfast Notification - Subscription Confirmation";

/// What all parcels of one subscription need.
pub struct Address<'a> {
    pub scope: &'a Scope,
    /// The subscription's id.
    pub id: &'a str,
    pub subscription: &'a Subscription,
    /// `http://127.0.0.1:4566`
    pub endpoint: &'a str,
    /// The topic's.
    pub display_name: Option<&'a str>,
    pub signature_version: &'a str,
    pub content_type: Option<&'a str>,
}

impl Address<'_> {
    fn topic_arn(&self) -> String {
        model::topic_arn(self.scope, &self.subscription.topic)
    }

    fn arn(&self) -> String {
        model::subscription_arn(self.scope, self.id)
    }

    fn confirm_url(&self) -> String {
        let (arn, token) = (encoded(&self.topic_arn()), &self.subscription.token);
        format!("{}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}", self.endpoint)
    }

    fn unsubscribe_url(&self) -> String {
        format!("{}/?Action=Unsubscribe&SubscriptionArn={}", self.endpoint, encoded(&self.arn()))
    }

    fn from(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == ' ' || c == '-' || c == '_';
        let name: String = self.display_name.unwrap_or(DISPLAY_NAME).chars().filter(|c| plain(*c)).collect();
        format!("\"{name}\" <{SENDER}>")
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A notification's request.
pub fn post(to: &Address, id: &str, message: &Message, key: &Key) -> Result<Post> {
    let (raw, body) = match to.subscription.is_raw() {
        true => (true, message.body_for(to.subscription.protocol).to_owned()),
        false => (false, notification(to, id, message, key)?),
    };
    let mut headers = headers(to, "Notification", id);
    headers.push(("x-amz-sns-subscription-arn".into(), to.arn()));
    if raw {
        headers.push(("x-amz-sns-rawdelivery".into(), "true".into()));
    }
    Ok(Post { url: to.subscription.endpoint.clone(), headers, body })
}

/// The request that asks an endpoint whether it wants to be subscribed.
pub fn confirmation_post(to: &Address, id: &str, at: Timestamp, key: &Key) -> Result<Post> {
    let body = confirmation(to, id, at, key)?;
    Ok(Post { url: to.subscription.endpoint.clone(), headers: headers(to, "SubscriptionConfirmation", id), body })
}

fn headers(to: &Address, kind: &str, id: &str) -> Vec<(String, String)> {
    [
        ("x-amz-sns-message-type", kind),
        ("x-amz-sns-message-id", id),
        ("x-amz-sns-topic-arn", &to.topic_arn()),
        ("content-type", to.content_type.unwrap_or(DEFAULT_CONTENT_TYPE)),
        ("user-agent", "Amazon Simple Notification Service Agent"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

fn notification(to: &Address, id: &str, message: &Message, key: &Key) -> Result<String> {
    let topic = to.topic_arn();
    let (body, at) = (message.body_for(to.subscription.protocol), message.at.iso8601());
    let subject = message.subject.as_deref();
    let signed: Vec<(&str, &str)> = [("Message", body), ("MessageId", id)]
        .into_iter()
        .chain(subject.map(|subject| ("Subject", subject)))
        .chain([("Timestamp", at.as_str()), ("TopicArn", &topic), ("Type", "Notification")])
        .collect();
    let mut all = json!({ "Type": "Notification", "MessageId": id, "TopicArn": topic });
    if let Some(subject) = subject {
        all["Subject"] = subject.into();
    }
    all["Message"] = body.into();
    all["Timestamp"] = at.clone().into();
    sign(&mut all, to, key, &signed)?;
    all["UnsubscribeURL"] = to.unsubscribe_url().into();
    if !message.attributes.is_empty() {
        let attributes = message.attributes.iter();
        let attributes =
            attributes.map(|(name, one)| (name.clone(), json!({ "Type": one.data_type, "Value": one.value })));
        all["MessageAttributes"] = Value::Object(attributes.collect());
    }
    Ok(pretty(&all))
}

fn confirmation(to: &Address, id: &str, at: Timestamp, key: &Key) -> Result<String> {
    let (topic, at, url) = (to.topic_arn(), at.iso8601(), to.confirm_url());
    let message = format!(
        "You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL included in \
         this message."
    );
    let token = &to.subscription.token;
    let mut all = json!({
        "Type": "SubscriptionConfirmation",
        "MessageId": id,
        "Token": token,
        "TopicArn": topic,
        "Message": message,
        "SubscribeURL": url,
        "Timestamp": at,
    });
    let signed = [
        ("Message", message.as_str()),
        ("MessageId", id),
        ("SubscribeURL", &url),
        ("Timestamp", &at),
        ("Token", token),
        ("TopicArn", &topic),
        ("Type", "SubscriptionConfirmation"),
    ];
    sign(&mut all, to, key, &signed)?;
    Ok(pretty(&all))
}

/// Signs these fields, each with its name on a line of its own before it.
fn sign(all: &mut Value, to: &Address, key: &Key, fields: &[(&str, &str)]) -> Result<()> {
    let text: String = fields.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect();
    all["SignatureVersion"] = to.signature_version.into();
    all["Signature"] = key.sign(to.signature_version, &text)?.into();
    all["SigningCertURL"] = format!("{}{}", to.endpoint, key.path()).into();
    Ok(())
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A notification's mail.
pub fn mail(to: &Address, id: &str, message: &Message, key: &Key) -> Result<Mail> {
    let body = match to.subscription.protocol {
        Protocol::EmailJson => notification(to, id, message, key)? + "\n",
        protocol => format!(
            "{}\n\n--\nTo stop receiving notifications of this topic, open the link below:\n{}\n\nPlease do not reply to this \
             e-mail.\n",
            message.body_for(protocol),
            to.unsubscribe_url()
        ),
    };
    let subject = message.subject.clone().unwrap_or_else(|| SUBJECT.to_owned());
    Ok(Mail { from: to.from(), to: to.subscription.endpoint.clone(), subject, body })
}

/// The mail that asks a person whether they want to be subscribed.
pub fn confirmation_mail(to: &Address, id: &str, at: Timestamp, key: &Key) -> Result<Mail> {
    let body = match to.subscription.protocol {
        Protocol::EmailJson => confirmation(to, id, at, key)? + "\n",
        _ => format!(
            "You have chosen to subscribe to the topic:\n{}\n\nTo confirm this subscription, open the link below (if this was \
             in error no action is necessary):\n{}\n\nPlease do not reply to this e-mail.\n",
            to.topic_arn(),
            to.confirm_url()
        ),
    };
    Ok(Mail { from: to.from(), to: to.subscription.endpoint.clone(), subject: CONFIRM_SUBJECT.into(), body })
}
