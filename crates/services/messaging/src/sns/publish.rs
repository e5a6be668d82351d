//! Publish and PublishBatch.
//!
//! Invariant: the message and what is owed to each subscription that it is for are one transaction: what was acknowledged
//! is delivered at least once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use standfast_api::sns as api;
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, owed};
use standfast_store::Txn;

use super::counts;
use super::errors::{because, invalid, needs};
use super::model::{self, Attribute, Delivery, Message, Parcel, Seen, Sequence, Subscription, Topic};
use super::subscriptions::dialect;
use crate::pattern::{self, Dialect};

/// Of a message with its attributes, and of a whole batch.
const BYTES_MAX: usize = 256 * 1024;
const SUBJECT_CHARS_MAX: usize = 100;
const BATCH_MAX: usize = 10;
const BATCH_ID_CHARS_MAX: usize = 80;
const FIFO_ID_CHARS_MAX: usize = 128;
const NAME_CHARS_MAX: usize = 256;
/// For how long a deduplication id is remembered.
const DEDUPLICATED_FOR: Duration = Duration::from_secs(300);
/// Messages of an account in a region that are on their way: more wait for those.
const ON_THE_WAY_MAX: usize = 50_000;

/// What is asked to be published, checked.
struct Draft {
    message: Message,
    bytes: usize,
    group: Option<String>,
    deduplication: Option<String>,
}

/// What came of it.
struct Published {
    id: String,
    sequence: Option<u64>,
}

pub async fn publish(cx: Cx, input: api::PublishInput) -> Result<api::PublishResponse> {
    if input.phone_number.is_some() {
        return Err(needs("PhoneNumber", "A text message", "a gateway for them"));
    }
    let Some(arn) = input.topic_arn.or(input.target_arn) else {
        return Err(invalid("TopicArn or TargetArn Reason: no value for required parameter"));
    };
    if arn.contains(":endpoint/") {
        return Err(needs("TargetArn", format!("The endpoint {arn}"), "mobile push"));
    }
    let topic = model::topic_name(&cx, &arn)?;
    let draft = draft(
        &topic,
        cx.now(),
        api::PublishBatchRequestEntry {
            id: String::new(),
            message: input.message,
            subject: input.subject,
            message_structure: input.message_structure,
            message_attributes: input.message_attributes,
            message_deduplication_id: input.message_deduplication_id,
            message_group_id: input.message_group_id,
        },
    )?;
    if draft.bytes > BYTES_MAX {
        return Err(invalid(format!("Message too long: {} bytes of at most {BYTES_MAX}", draft.bytes)));
    }
    let seed = cx.rng().u64();
    let published = cx
        .txn(|tx| {
            let (_, record) = model::topic(tx, &cx, &arn)?;
            accept(tx, cx.scope(), &record, &draft, &Rng::seeded(seed))
        })
        .await?;
    Ok(api::PublishResponse { message_id: Some(published.id), sequence_number: published.sequence.map(sequence_text) })
}

pub async fn publish_batch(cx: Cx, input: api::PublishBatchInput) -> Result<api::PublishBatchResponse> {
    let entries = input.publish_batch_request_entries;
    check_batch(&entries)?;
    let topic = model::topic_name(&cx, &input.topic_arn)?;
    let ids: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
    let drafts: Vec<_> = entries.into_iter().map(|entry| draft(&topic, cx.now(), entry)).collect();
    let bytes: usize = drafts.iter().flatten().map(|draft| draft.bytes).sum();
    if bytes > BYTES_MAX {
        let message = format!("The length of all the batch messages put together is {bytes}, more than {BYTES_MAX}");
        return Err(Error::client("BatchRequestTooLong", message));
    }
    let seed = cx.rng().u64();
    let results = cx
        .txn(|tx| {
            let (_, record) = model::topic(tx, &cx, &input.topic_arn)?;
            let rng = Rng::seeded(seed);
            let accept = |draft: &Result<Draft>| match draft {
                Ok(draft) => accept(tx, cx.scope(), &record, draft, &rng),
                Err(error) => Err(error.clone()),
            };
            Ok(drafts.iter().map(accept).collect::<Vec<_>>())
        })
        .await?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, result) in ids.into_iter().zip(results) {
        match result {
            Ok(published) => successful.push(api::PublishBatchResultEntry {
                id: Some(id),
                message_id: Some(published.id),
                sequence_number: published.sequence.map(sequence_text),
            }),
            Err(error) => failed.push(api::BatchResultErrorEntry {
                id,
                code: error.code.into_owned(),
                message: Some(error.message),
                sender_fault: true,
            }),
        }
    }
    Ok(api::PublishBatchResponse { successful: Some(successful), failed: Some(failed) })
}

fn check_batch(entries: &[api::PublishBatchRequestEntry]) -> Result<()> {
    if entries.is_empty() {
        return Err(Error::client("EmptyBatchRequest", "The batch request doesn't contain any entries."));
    }
    if entries.len() > BATCH_MAX {
        let message = format!("The batch request contains {} entries; {BATCH_MAX} are permitted.", entries.len());
        return Err(Error::client("TooManyEntriesInBatchRequest", message));
    }
    let plain = |id: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        !id.is_empty() && id.len() <= BATCH_ID_CHARS_MAX && id.chars().all(fits)
    };
    if let Some(entry) = entries.iter().find(|entry| !plain(&entry.id)) {
        let message =
            format!("The Id of a batch entry in a batch request doesn't abide by the specification: {}", entry.id);
        return Err(Error::client("InvalidBatchEntryId", message));
    }
    let mut seen = BTreeSet::new();
    if let Some(entry) = entries.iter().find(|entry| !seen.insert(&entry.id)) {
        let message = format!("Two or more batch entries in the request have the same Id: {}", entry.id);
        return Err(Error::client("BatchEntryIdsNotDistinct", message));
    }
    Ok(())
}

/// The sequence number as it is shown: twenty digits.
fn sequence_text(sequence: u64) -> String {
    format!("{sequence:020}")
}

fn draft(topic: &str, at: Timestamp, entry: api::PublishBatchRequestEntry) -> Result<Draft> {
    if entry.message.is_empty() {
        return Err(invalid("Empty message"));
    }
    check_subject(entry.subject.as_deref())?;
    let mut attributes = BTreeMap::new();
    for (name, value) in entry.message_attributes.unwrap_or_default() {
        let attribute = attribute(&name, value)?;
        attributes.insert(name, attribute);
    }
    let sizes =
        attributes.iter().map(|(name, attribute)| name.len() + attribute.data_type.len() + attribute.value.len());
    let bytes = entry.message.len() + entry.subject.as_ref().map_or(0, String::len) + sizes.sum::<usize>();
    let (body, bodies) = match entry.message_structure.as_deref() {
        None | Some("") => (entry.message, BTreeMap::new()),
        Some("json") => bodies(&entry.message)?,
        Some(other) => return Err(because("MessageStructure", format!("must be json, not {other}"))),
    };
    let message = Message { topic: topic.to_owned(), subject: entry.subject, body, bodies, attributes, at };
    Ok(Draft { message, bytes, group: entry.message_group_id, deduplication: entry.message_deduplication_id })
}

fn check_subject(subject: Option<&str>) -> Result<()> {
    let Some(subject) = subject else { return Ok(()) };
    let begins = subject.chars().next().is_some_and(|c| c.is_alphanumeric() || c.is_ascii_punctuation());
    match begins && subject.chars().count() <= SUBJECT_CHARS_MAX && !subject.contains(char::is_control) {
        true => Ok(()),
        false => Err(because(
            "Subject",
            format!(
                "it is empty, has over {SUBJECT_CHARS_MAX} characters, begins with a space or has line breaks: {subject}"
            ),
        )),
    }
}

/// The default body and those of protocols.
fn bodies(message: &str) -> Result<(String, BTreeMap<String, String>)> {
    let all: BTreeMap<String, Value> =
        serde_json::from_str(message).map_err(|_| invalid("Message Structure - JSON message body failed to parse"))?;
    let texts = all.into_iter().filter_map(|(protocol, body)| Some((protocol, body.as_str()?.to_owned())));
    let mut bodies: BTreeMap<_, _> = texts.collect();
    let default = bodies.remove("default");
    Ok((default.ok_or_else(|| invalid("Message Structure - No default entry in JSON message body"))?, bodies))
}

fn attribute(name: &str, value: api::MessageAttributeValue) -> Result<Attribute> {
    let wrong = |why: String| Error::client("ParameterValueInvalid", format!("The message attribute '{name}' {why}"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
        return Err(wrong("must contain only letters, digits, hyphens, underscores and periods.".into()));
    }
    let kind = value.data_type.split('.').next().unwrap_or_default();
    let text = value.string_value.filter(|text| !text.is_empty());
    let empty = || wrong(format!("must contain a non-empty value for its type {}.", value.data_type));
    let content = match kind {
        "String" => text.ok_or_else(empty)?,
        "Number" => text
            .filter(|text| text.parse::<f64>().is_ok_and(f64::is_finite))
            .ok_or_else(|| wrong("must contain a number as its value.".into()))?,
        "Binary" => {
            let bytes = value.binary_value.map(|blob| base64::prelude::BASE64_STANDARD.encode(blob.0));
            bytes.filter(|text| !text.is_empty()).ok_or_else(empty)?
        }
        _ => {
            return Err(wrong(format!(
                "has an invalid message attribute type {}, the set of supported type prefixes is Binary, Number, and String.",
                value.data_type
            )));
        }
    };
    if value.data_type == "String.Array" && serde_json::from_str::<Vec<Value>>(&content).is_err() {
        return Err(wrong("must be a JSON array, as its type String.Array says.".into()));
    }
    Ok(Attribute { data_type: value.data_type, value: content })
}

/// Takes a message for everyone whom it is for.
fn accept(tx: &mut Txn, scope: &Scope, record: &Topic, draft: &Draft, rng: &Rng) -> Result<Published> {
    let message = &draft.message;
    if tx.count::<Message>(scope) >= ON_THE_WAY_MAX {
        let text = format!("{ON_THE_WAY_MAX} messages are on their way already: deliveries are slower than publishes.");
        return Err(Error::client("Throttled", text).with_status(429));
    }
    let id = rng.uuid();
    let mut sequence = None;
    if record.is("FifoTopic") {
        match in_order(tx, scope, record, draft, &id)? {
            Known::Before(published) => return Ok(published),
            Known::New(number) => sequence = Some(number),
        }
    } else if draft.deduplication.is_some() {
        let why = "The request includes MessageDeduplicationId parameter that is not valid for this topic type";
        return Err(because("MessageDeduplicationId", why));
    }
    let all = model::subscriptions(tx, scope, &message.topic);
    let confirmed = all.iter().filter(|(_, one)| one.confirmed);
    let (wanted, filtered): (Vec<_>, Vec<_>) = confirmed.partition(|(_, one)| wants(one, message));
    for (subscription, _) in &wanted {
        let what = Delivery { subscription: subscription.to_string(), what: Parcel::Message(id.clone()) };
        owed::owe(tx, scope, &format!("{id}/{subscription}"), what, message.at);
    }
    counts::add(tx, scope, &message.topic, message.at, |counts| {
        counts.published(draft.bytes);
        counts.filtered_out += filtered.len() as u64;
    });
    if !wanted.is_empty() {
        tx.put(scope, &id, message.clone());
    }
    Ok(Published { id, sequence })
}

enum Known {
    Before(Published),
    New(u64),
}

/// The message's place in a FIFO topic, or what became of the same one before.
fn in_order(tx: &mut Txn, scope: &Scope, record: &Topic, draft: &Draft, id: &str) -> Result<Known> {
    let (topic, at) = (&draft.message.topic, draft.message.at);
    if draft.group.is_none() {
        return Err(invalid("The MessageGroupId parameter is required for FIFO topics"));
    }
    for (name, value) in [("MessageGroupId", &draft.group), ("MessageDeduplicationId", &draft.deduplication)] {
        let fits = |text: &String| {
            (1..=FIFO_ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if let Some(wrong) = value.as_ref().filter(|text| !fits(text)) {
            return Err(because(
                name,
                format!("it has 1 to {FIFO_ID_CHARS_MAX} letters, digits and punctuation marks: {wrong}"),
            ));
        }
    }
    let key = match &draft.deduplication {
        Some(given) => given.clone(),
        None if record.is("ContentBasedDeduplication") => draft.message.body.clone(),
        None => {
            return Err(invalid(
                "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            ));
        }
    };
    let digest: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    let key = format!("{topic}:{digest}");
    if let Some(seen) = tx.get::<Seen>(scope, &key).filter(|seen| seen.until > at) {
        return Ok(Known::Before(Published { id: seen.message.clone(), sequence: Some(seen.sequence) }));
    }
    let sequence = tx.get::<Sequence>(scope, topic).map_or(0, |sequence| sequence.last) + 1;
    tx.put(scope, topic, Sequence { last: sequence });
    tx.put(scope, &key, Seen { message: id.to_owned(), sequence, until: at + DEDUPLICATED_FOR });
    Ok(Known::New(sequence))
}

/// Whether a message is for a subscription.
fn wants(one: &Subscription, message: &Message) -> bool {
    let Some(policy) = one.attributes.get("FilterPolicy") else { return true };
    let dialect = dialect(&one.attributes);
    // One that cannot be read was never accepted.
    let Ok(pattern) = pattern::parse(policy, dialect) else { return false };
    match dialect {
        Dialect::Body => serde_json::from_str(&message.body).is_ok_and(|body| pattern.matches_value(&body)),
        _ => pattern.matches(&as_object(&message.attributes)),
    }
}

/// Attributes as filter policies see them: binary ones do not count.
fn as_object(attributes: &BTreeMap<String, Attribute>) -> Map<String, Value> {
    let value = |attribute: &Attribute| match attribute.data_type.as_str() {
        "String.Array" => serde_json::from_str(&attribute.value).ok(),
        kind if kind.starts_with("Number") => attribute.value.parse::<f64>().ok().map(Value::from),
        kind if kind.starts_with("Binary") => None,
        _ => Some(Value::from(attribute.value.clone())),
    };
    attributes.iter().filter_map(|(name, attribute)| Some((name.clone(), value(attribute)?))).collect()
}
