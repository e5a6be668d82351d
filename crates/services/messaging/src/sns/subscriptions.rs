//! Subscriptions: Subscribe, ConfirmSubscription, Unsubscribe, their attributes, listings.
//!
//! An endpoint gets messages once it has said that it wants them: what it is asked carries a token, and opening the link
//! with it confirms. What nobody confirms is forgotten after two days.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use standfast_api::sns as api;
use standfast_core::page::page;
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, Wake, owed};
use standfast_store::Txn;

use super::errors::{because, invalid, needs, no_topic};
use super::model::{self, Delivery, Parcel, Protocol, Seen, Subscription, Topic};
use super::retry::Policy;
use super::topics::{BAD_TOKEN, PAGE};
use crate::pattern::{self, Dialect};

/// Quotas.
const PER_TOPIC_MAX: usize = 10_000;
const PENDING_MAX: usize = 5_000;
const FILTERED_MAX: usize = 200;
const ENDPOINT_CHARS_MAX: usize = 2048;
/// How long a token is good, and what nobody confirms stays.
const TOKEN_VALID: Duration = Duration::from_secs(48 * 3600);
const TOKEN_DIGITS: usize = 96;

/// Protocols that need what is not there.
const MISSING: [(&str, &str); 5] = [
    ("sqs", "SQS"),
    ("lambda", "Lambda"),
    ("sms", "a gateway for text messages"),
    ("application", "mobile push"),
    ("firehose", "Firehose"),
];

pub async fn subscribe(cx: Cx, input: api::SubscribeInput) -> Result<api::SubscribeResponse> {
    let protocol = protocol(&input.protocol)?;
    let endpoint = input.endpoint.unwrap_or_default();
    check_endpoint(protocol, &endpoint)?;
    let mut attributes = BTreeMap::new();
    for (name, value) in input.attributes.unwrap_or_default() {
        check_attribute(&name, &value, protocol)?;
        if !is_nothing(&name, &value) {
            attributes.insert(name, value);
        }
    }
    check_filter(&attributes)?;
    let (now, scope, seed) = (cx.now(), cx.scope(), cx.rng().u64());
    let (id, confirmed) = cx
        .txn(|tx| {
            let (topic, record) = model::topic(tx, &cx, &input.topic_arn)?;
            if record.is("FifoTopic") {
                return Err(because("Endpoint", format!("FIFO topics take FIFO queues of SQS only, not {endpoint}")));
            }
            let rng = Rng::seeded(seed);
            let all = model::subscriptions(tx, scope, &topic);
            let same = all.iter().find(|(_, other)| other.protocol == protocol && other.endpoint == endpoint);
            if let Some((id, old)) = same {
                if !attributes.is_empty() && old.attributes != attributes {
                    return Err(because("Attributes", "Subscription already exists with different attributes"));
                }
                if !old.confirmed {
                    ask(tx, scope, id, &rng, now);
                }
                return Ok((id.to_string(), old.confirmed));
            }
            check_quotas(&all, &attributes)?;
            let id = format!("{topic}:{}", rng.uuid());
            let new = Subscription {
                topic,
                protocol,
                endpoint: endpoint.clone(),
                owner: scope.account.to_string(),
                confirmed: false,
                authenticated: false,
                token: rng.hex(TOKEN_DIGITS),
                asked: now,
                attributes: attributes.clone(),
            };
            tx.put(scope, &id, new);
            ask(tx, scope, &id, &rng, now);
            Ok((id, false))
        })
        .await?;
    let told = confirmed || input.return_subscription_arn.unwrap_or(false);
    let arn = if told { model::subscription_arn(scope, &id) } else { "pending confirmation".to_owned() };
    Ok(api::SubscribeResponse { subscription_arn: Some(arn) })
}

/// Asks the endpoint whether it wants to be subscribed.
fn ask(tx: &mut Txn, scope: &Scope, id: &str, rng: &Rng, now: Timestamp) {
    let what = Delivery { subscription: id.to_owned(), what: Parcel::Confirmation };
    owed::owe(tx, scope, &format!("{}/{id}", rng.uuid()), what, now);
}

fn protocol(name: &str) -> Result<Protocol> {
    if let Some((_, what)) = MISSING.iter().find(|(missing, _)| *missing == name) {
        return Err(needs("Protocol", format!("A subscription with the protocol {name}"), what));
    }
    Protocol::named(name).ok_or_else(|| invalid(format!("Amazon SNS does not support this protocol string: {name}")))
}

fn check_endpoint(protocol: Protocol, endpoint: &str) -> Result<()> {
    let fits = match protocol {
        Protocol::Http => endpoint.starts_with("http://"),
        Protocol::Https => endpoint.starts_with("https://"),
        Protocol::Email | Protocol::EmailJson => {
            let is_plain = !endpoint.contains(|c: char| c.is_whitespace() || c.is_control() || "<>,".contains(c));
            is_plain && endpoint.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        }
    };
    match fits && endpoint.len() <= ENDPOINT_CHARS_MAX {
        true => Ok(()),
        false if protocol.is_web() => Err(invalid(format!("Endpoint must match the specified protocol: {endpoint}"))),
        false => Err(invalid(format!("Email address: {endpoint}"))),
    }
}

fn check_quotas(all: &[(Arc<str>, Arc<Subscription>)], attributes: &BTreeMap<String, String>) -> Result<()> {
    let limit = |code: &'static str, message: String| Err(Error::client(code, message).with_status(403));
    if all.len() >= PER_TOPIC_MAX {
        return limit("SubscriptionLimitExceeded", format!("A topic has {PER_TOPIC_MAX} subscriptions at most."));
    }
    if all.iter().filter(|(_, one)| !one.confirmed).count() >= PENDING_MAX {
        return limit("SubscriptionLimitExceeded", format!("{PENDING_MAX} subscriptions may be pending at most."));
    }
    let filtered = |attributes: &BTreeMap<String, String>| attributes.contains_key("FilterPolicy");
    if filtered(attributes) && all.iter().filter(|(_, one)| filtered(&one.attributes)).count() >= FILTERED_MAX {
        return limit("FilterPolicyLimitExceeded", format!("A topic has {FILTERED_MAX} filter policies at most."));
    }
    Ok(())
}

/// Whether a value takes the attribute back.
fn is_nothing(name: &str, value: &str) -> bool {
    value.is_empty() || value == "{}" && ["FilterPolicy", "RedrivePolicy", "DeliveryPolicy"].contains(&name)
}

fn check_attribute(name: &str, value: &str, protocol: Protocol) -> Result<()> {
    match name {
        _ if is_nothing(name, value) => Ok(()),
        "FilterPolicy" => Ok(()),
        "FilterPolicyScope" if ["MessageAttributes", "MessageBody"].contains(&value) => Ok(()),
        "FilterPolicyScope" => Err(invalid(format!(
            "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
        ))),
        "RawMessageDelivery" if !["true", "false"].contains(&value) => {
            Err(because(name, format!("Invalid value [{value}]. Must be true or false.")))
        }
        "RawMessageDelivery" if value == "true" && !protocol.is_web() => Err(because(
            "RawMessageDelivery",
            format!("Delivery protocol [{}] does not support raw message delivery.", protocol.name()),
        )),
        "RawMessageDelivery" => Ok(()),
        "DeliveryPolicy" if !protocol.is_web() => {
            Err(because(name, format!("Delivery protocol [{}] does not support delivery policies.", protocol.name())))
        }
        "DeliveryPolicy" => {
            Policy::of_subscription(value).map(|_| ()).map_err(|why| invalid(format!("DeliveryPolicy: {why}")))
        }
        "RedrivePolicy" => Err(needs(name, format!("The dead-letter queue of {value}"), "SQS")),
        "SubscriptionRoleArn" => Err(needs(name, "A role for deliveries", "Firehose")),
        "ReplayPolicy" => Err(needs(name, "Replay", "message archiving")),
        _ => Err(because("AttributeName", format!("{name} is not an attribute of subscriptions that can be set"))),
    }
}

/// Whether policy and scope go together.
fn check_filter(attributes: &BTreeMap<String, String>) -> Result<()> {
    let Some(policy) = attributes.get("FilterPolicy") else { return Ok(()) };
    pattern::parse(policy, dialect(attributes)).map(|_| ()).map_err(|why| invalid(format!("FilterPolicy: {why}")))
}

/// What the filter policy looks at.
pub fn dialect(attributes: &BTreeMap<String, String>) -> Dialect {
    match attributes.get("FilterPolicyScope").map(String::as_str) {
        Some("MessageBody") => Dialect::Body,
        _ => Dialect::Attributes,
    }
}

/// Confirms. Whoever has the token may, wherever the topic is: it is opened from mails.
pub async fn confirm(cx: Cx, input: api::ConfirmSubscriptionInput) -> Result<api::ConfirmSubscriptionResponse> {
    let arn =
        model::arn(&input.topic_arn).ok_or_else(|| because("TopicArn", format!("{} is no topic", input.topic_arn)))?;
    let (scope, now) = (arn.scope(), cx.now());
    let authenticated = input.authenticate_on_unsubscribe.as_deref() == Some("true");
    let id = cx
        .txn(|tx| {
            tx.get::<Topic>(&scope, &arn.resource).ok_or_else(no_topic)?;
            let all = model::subscriptions(tx, &scope, &arn.resource);
            let known = all.iter().find(|(_, one)| !input.token.is_empty() && one.token == input.token);
            let Some((id, one)) = known else { return Err(because("Token", "Invalid token")) };
            if !one.confirmed {
                if now > one.asked + TOKEN_VALID {
                    return Err(because("Token", "Token has expired"));
                }
                tx.put(&scope, id, Subscription { confirmed: true, authenticated, ..(**one).clone() });
            }
            Ok(id.to_string())
        })
        .await?;
    Ok(api::ConfirmSubscriptionResponse { subscription_arn: Some(model::subscription_arn(&scope, &id)) })
}

/// Ends a subscription; what is gone already is gone.
// AWS-DIFF: callers without a signature are the default account, so AuthenticateOnUnsubscribe is shown and not enforced.
pub async fn unsubscribe(cx: Cx, input: api::UnsubscribeInput) -> Result<api::UnsubscribeOutput> {
    let arn = model::subscription_id(&input.subscription_arn)?;
    let scope = arn.scope();
    cx.txn(|tx| {
        if let Some(one) = tx.get::<Subscription>(&scope, &arn.resource) {
            tx.delete::<Subscription>(&scope, &arn.resource);
            if let Some(topic) = tx.get::<Topic>(&scope, &one.topic) {
                tx.put(&scope, &one.topic, Topic { deleted: topic.deleted.saturating_add(1), ..(*topic).clone() });
            }
        }
        Ok(api::UnsubscribeOutput {})
    })
    .await
}

pub async fn get(cx: Cx, input: api::GetSubscriptionAttributesInput) -> Result<api::GetSubscriptionAttributesResponse> {
    let arn = &input.subscription_arn;
    let (one, topic) = cx.view(|view| {
        let (_, one) = model::subscription(view, &cx, arn)?;
        let topic = view.get::<Topic>(cx.scope(), &one.topic);
        Ok::<_, Error>((one, topic))
    })?;
    let flag = |set: bool| if set { "true" } else { "false" }.to_owned();
    let mut all = BTreeMap::from([
        ("SubscriptionArn".to_owned(), arn.clone()),
        ("TopicArn".to_owned(), model::topic_arn(cx.scope(), &one.topic)),
        ("Owner".to_owned(), one.owner.clone()),
        ("Protocol".to_owned(), one.protocol.name().to_owned()),
        ("Endpoint".to_owned(), one.endpoint.clone()),
        ("PendingConfirmation".to_owned(), flag(!one.confirmed)),
        ("ConfirmationWasAuthenticated".to_owned(), flag(one.authenticated)),
        ("RawMessageDelivery".to_owned(), flag(false)),
        ("SubscriptionPrincipal".to_owned(), format!("arn:aws:iam::{}:root", one.owner)),
    ]);
    if one.attributes.contains_key("FilterPolicy") {
        all.insert("FilterPolicyScope".into(), "MessageAttributes".into());
    }
    if one.protocol.is_web() {
        let topic = topic.as_ref().and_then(|topic| topic.attributes.get("DeliveryPolicy"));
        let effective = Policy::effective(topic, one.attributes.get("DeliveryPolicy"));
        all.insert("EffectiveDeliveryPolicy".into(), effective.subscription_json());
    }
    all.extend(one.attributes);
    Ok(api::GetSubscriptionAttributesResponse { attributes: Some(all) })
}

pub async fn set(cx: Cx, input: api::SetSubscriptionAttributesInput) -> Result<api::SetSubscriptionAttributesOutput> {
    let (name, value) = (input.attribute_name, input.attribute_value.unwrap_or_default());
    cx.txn(|tx| {
        let (id, mut one) = model::subscription(tx, &cx, &input.subscription_arn)?;
        check_attribute(&name, &value, one.protocol)?;
        let is_new = !one.attributes.contains_key(&name);
        match is_nothing(&name, &value) {
            true => one.attributes.remove(&name),
            false => one.attributes.insert(name.clone(), value.clone()),
        };
        check_filter(&one.attributes)?;
        if name == "FilterPolicy" && is_new {
            let all = model::subscriptions(tx, cx.scope(), &one.topic);
            let others: Vec<_> = all.into_iter().filter(|(other, _)| **other != *id).collect();
            check_quotas(&others, &one.attributes)?;
        }
        tx.put(cx.scope(), &id, one);
        Ok(api::SetSubscriptionAttributesOutput {})
    })
    .await
}

pub async fn list(cx: Cx, input: api::ListSubscriptionsInput) -> Result<api::ListSubscriptionsResponse> {
    let all = cx.view(|view| view.list::<Subscription>(cx.scope()));
    let (subscriptions, next_token) = listing(&cx, all, input.next_token.as_deref())?;
    Ok(api::ListSubscriptionsResponse { subscriptions: Some(subscriptions), next_token })
}

pub async fn list_by_topic(
    cx: Cx,
    input: api::ListSubscriptionsByTopicInput,
) -> Result<api::ListSubscriptionsByTopicResponse> {
    let all = cx.view(|view| {
        let (name, _) = model::topic(view, &cx, &input.topic_arn)?;
        Ok::<_, Error>(model::subscriptions(view, cx.scope(), &name))
    })?;
    let (subscriptions, next_token) = listing(&cx, all, input.next_token.as_deref())?;
    Ok(api::ListSubscriptionsByTopicResponse { subscriptions: Some(subscriptions), next_token })
}

type Found = Vec<(Arc<str>, Arc<Subscription>)>;

fn listing(cx: &Cx, all: Found, token: Option<&str>) -> Result<(Vec<api::Subscription>, Option<String>)> {
    let page = page(all, |(id, _)| id.to_string(), token, PAGE, BAD_TOKEN)?;
    let shown = |(id, one): (Arc<str>, Arc<Subscription>)| api::Subscription {
        subscription_arn: Some(match one.confirmed {
            true => model::subscription_arn(cx.scope(), &id),
            false => "PendingConfirmation".to_owned(),
        }),
        owner: Some(one.owner.clone()),
        protocol: Some(one.protocol.name().to_owned()),
        endpoint: Some(one.endpoint.clone()),
        topic_arn: Some(model::topic_arn(cx.scope(), &one.topic)),
    };
    Ok((page.items.into_iter().map(shown).collect(), page.next))
}

/// Forgets what nobody confirmed, and deduplication ids that are of no use any more. The controller of both.
pub async fn sweep(cx: Cx) -> Result<Wake> {
    let now = cx.now();
    let (old, mut wake) = cx.view(|view| {
        let mut wake = Wake::OnChange;
        let mut old = Vec::new();
        for (scope, id, one) in view.all::<Subscription>().into_iter().filter(|(.., one)| !one.confirmed) {
            match one.asked + TOKEN_VALID {
                until if until < now => old.push((scope, id, true)),
                until => wake = wake.or(Wake::At(until + Duration::from_secs(1))),
            }
        }
        for (scope, id, seen) in view.all::<Seen>() {
            match seen.until {
                until if until < now => old.push((scope, id, false)),
                // Not one at a time.
                until => wake = wake.or(Wake::At((until + SWEEP_PAUSE).max(now + SWEEP_PAUSE))),
            }
        }
        (old, wake)
    });
    if !old.is_empty() {
        cx.txn(|tx| {
            for (scope, id, is_subscription) in &old {
                match is_subscription {
                    true if tx.get::<Subscription>(scope, id).is_some_and(|one| one.confirmed) => {}
                    true => tx.delete::<Subscription>(scope, id),
                    false => tx.delete::<Seen>(scope, id),
                }
            }
            Ok(())
        })
        .await?;
        wake = wake.or(Wake::At(now + SWEEP_PAUSE));
    }
    Ok(wake)
}

const SWEEP_PAUSE: Duration = Duration::from_secs(60);
