//! From events to what is owed to targets, and to targets.

use std::collections::BTreeMap;

use serde_json::Value;
use standfast_api::{events as api, sns};
use standfast_core::place::DEFAULT_ACCOUNT;
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::events::Event;
use standfast_kernel::{Cloud, Cx, Wake, owed};
use standfast_store::Txn;

use super::model::{self, DEFAULT_BUS, Input, Invocation, Rule, Seen, Tail, Target, envelope, rule_key, validation};
use crate::pattern::{self, Dialect};

/// Events that a region keeps for people to look at.
const SEEN_MAX: u64 = 2000;
/// Entries of a call, and their bytes.
const ENTRIES_MAX: usize = 10;
const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// Events that are taken from their table in one transaction.
const BATCH: usize = 100;

/// Takes what services noted. The controller on the kernel's events.
pub async fn take(cx: Cx) -> Result<Wake> {
    let all = cx.view(|view| view.all::<Event>());
    for batch in all.chunks(BATCH) {
        let (now, seed) = (cx.now(), cx.rng().u64());
        cx.txn(|tx| {
            let rng = Rng::seeded(seed);
            for (scope, key, event) in batch {
                if tx.get::<Event>(scope, key).is_some() {
                    tx.delete::<Event>(scope, key);
                    publish(tx, scope, &rng, DEFAULT_BUS, event, now);
                }
            }
            Ok(())
        })
        .await?;
    }
    Ok(Wake::OnChange)
}

/// Puts an event on a bus: what its rules' targets are owed, and a copy for people. Gives its id.
fn publish(tx: &mut Txn, scope: &Scope, rng: &Rng, bus: &str, event: &Event, now: Timestamp) -> String {
    let id = rng.uuid();
    let whole = envelope(scope, &id, event);
    for (_, rule) in tx.prefix::<Rule>(scope, &rule_key(bus, "")) {
        let pattern = rule.pattern.as_ref().filter(|_| rule.enabled);
        let pattern = pattern.and_then(|pattern| pattern::parse(pattern, Dialect::Events).ok());
        if pattern.is_some_and(|pattern| pattern.matches_value(&whole)) {
            invoke(tx, scope, rng, &rule, &whole, now);
        }
    }
    keep(tx, scope, bus, whole);
    id
}

/// What a rule's own schedule does.
pub fn scheduled(tx: &mut Txn, scope: &Scope, rng: &Rng, rule: &Rule, event: &Event, now: Timestamp) {
    let whole = envelope(scope, &rng.uuid(), event);
    invoke(tx, scope, rng, rule, &whole, now);
    keep(tx, scope, &rule.bus, whole);
}

fn invoke(tx: &mut Txn, scope: &Scope, rng: &Rng, rule: &Rule, whole: &Value, now: Timestamp) {
    let arn = model::rule_arn(scope, rule);
    for target in &rule.targets {
        let input = input(target, &rule.name, &arn, whole, now);
        let what = Invocation { rule: rule.name.clone(), target: target.id.clone(), arn: target.arn.clone(), input };
        owed::owe(tx, scope, &rng.uuid(), what, now);
    }
}

fn keep(tx: &mut Txn, scope: &Scope, bus: &str, event: Value) {
    let log = log(&scope.region);
    let last = tx.get::<Tail>(&log, "tail").map_or(0, |tail| tail.last) + 1;
    tx.put(&log, "tail", Tail { last });
    tx.put(&log, &format!("{last:016x}"), Seen { bus: bus.to_owned(), event });
    if let Some(old) = last.checked_sub(SEEN_MAX) {
        tx.delete::<Seen>(&log, &format!("{old:016x}"));
    }
}

/// Where a region's events of all accounts are kept, in one order.
fn log(region: &str) -> Scope {
    Scope::new(DEFAULT_ACCOUNT, region)
}

/// The events of a region that came after a key, with their keys, oldest first.
pub fn list(cloud: &Cloud, region: &str, after: &str) -> Value {
    let all = cloud.store().view(|view| view.list_from::<Seen>(&log(region), after, SEEN_MAX as usize));
    let shown = |(key, seen): &(std::sync::Arc<str>, std::sync::Arc<Seen>)| serde_json::json!({ "Key": &**key, "Bus": seen.bus, "Event": seen.event });
    all.iter().map(shown).collect()
}

/// What a target is given of an event.
fn input(target: &Target, rule: &str, rule_arn: &str, whole: &Value, now: Timestamp) -> String {
    match &target.input {
        Input::Event => whole.to_string(),
        Input::Constant(text) => text.clone(),
        Input::Path(path) => at(whole, path).map_or_else(|| "{}".into(), Value::to_string),
        Input::Transformed { paths, template } => {
            let values = paths.iter().map(|(name, path)| (name.clone(), at(whole, path).cloned()));
            let mut values: BTreeMap<String, Option<Value>> = values.collect();
            values.insert("aws.events.rule-arn".into(), Some(rule_arn.into()));
            values.insert("aws.events.rule-name".into(), Some(rule.into()));
            values.insert("aws.events.event.ingestion-time".into(), Some(now.iso8601().into()));
            values.insert("aws.events.event.json".into(), Some(whole.clone()));
            transform(template, &values)
        }
    }
}

/// The value that `$.detail.state` or `$.resources[0]` names.
fn at<'a>(whole: &'a Value, path: &str) -> Option<&'a Value> {
    let steps = path.strip_prefix('$')?.split(['.', '[', ']']).filter(|step| !step.is_empty());
    steps.into_iter().try_fold(whole, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        other => other.get(step.trim_matches(['\'', '"'])),
    })
}

/// Fills in `<name>`: a text inside quotes stays without its own, everything else is JSON.
fn transform(template: &str, values: &BTreeMap<String, Option<Value>>) -> String {
    let (mut out, mut rest, mut quoted) = (String::new(), template, false);
    while let Some(c) = rest.chars().next() {
        let name = rest.strip_prefix('<').and_then(|after| after.split_once('>')).map(|(name, _)| name);
        if let Some((name, value)) = name.and_then(|name| Some((name, values.get(name)?))) {
            match value {
                None => {}
                Some(Value::String(text)) if quoted => {
                    let json = Value::from(text.as_str()).to_string();
                    out.push_str(&json[1..json.len() - 1]);
                }
                Some(Value::String(text)) if !template.trim_start().starts_with(['{', '[']) => out.push_str(text),
                Some(other) => out.push_str(&other.to_string()),
            }
            rest = &rest[name.len() + 2..];
            continue;
        }
        quoted ^= c == '"' && !out.ends_with('\\');
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    // A template that is one text between quotes is that text.
    serde_json::from_str::<String>(&out).unwrap_or(out)
}

pub async fn put(cx: Cx, input: api::PutEventsRequest) -> Result<api::PutEventsResponse> {
    if input.entries.is_empty() || input.entries.len() > ENTRIES_MAX {
        return Err(validation(format!("A call has 1 to {ENTRIES_MAX} entries, not {}.", input.entries.len())));
    }
    let (now, seed) = (cx.now(), cx.rng().u64());
    let read: Vec<Result<Event>> = input.entries.iter().map(|entry| event(entry, now)).collect();
    let done = cx
        .txn(|tx| {
            let rng = Rng::seeded(seed);
            let mut done = Vec::new();
            for (entry, event) in input.entries.iter().zip(&read) {
                let bus = match model::bus(tx, &cx, entry.event_bus_name.as_deref()) {
                    Ok(bus) => bus,
                    Err(error) => {
                        done.push(Err(error));
                        continue;
                    }
                };
                done.push(event.clone().map(|event| publish(tx, cx.scope(), &rng, &bus, &event, now)));
            }
            Ok(done)
        })
        .await?;
    let failed = done.iter().filter(|one| one.is_err()).count();
    let entries = done.into_iter().map(|one| match one {
        Ok(id) => api::PutEventsResultEntry { event_id: Some(id), ..Default::default() },
        Err(error) => api::PutEventsResultEntry {
            error_code: Some(error.code.into_owned()),
            error_message: Some(error.message),
            ..Default::default()
        },
    });
    Ok(api::PutEventsResponse { failed_entry_count: Some(failed as i32), entries: Some(entries.collect()) })
}

fn event(entry: &api::PutEventsRequestEntry, now: Timestamp) -> Result<Event> {
    let wrong = |why: String| Error::client("InvalidArgument", why);
    let given = |text: &Option<String>, name: &str| {
        let text = text.clone().filter(|text| !text.is_empty());
        text.ok_or_else(|| wrong(format!("Parameter {name} is not valid. Reason: {name} is a required argument.")))
    };
    let (source, detail_type, detail) =
        (given(&entry.source, "Source")?, given(&entry.detail_type, "DetailType")?, given(&entry.detail, "Detail")?);
    if source.starts_with("aws.") {
        return Err(Error::client("NotAuthorizedForSourceException", "Not authorized for the source."));
    }
    if source.len() + detail_type.len() + detail.len() > ENTRY_BYTES_MAX {
        return Err(wrong(format!("The entry is longer than {ENTRY_BYTES_MAX} bytes.")));
    }
    let parsed = serde_json::from_str::<Value>(&detail).ok().filter(Value::is_object);
    let detail = parsed.ok_or_else(|| Error::client("MalformedDetail", "Detail is malformed."))?;
    let resources = entry.resources.clone().unwrap_or_default();
    Ok(Event { source, detail_type, resources, detail, at: entry.time.unwrap_or(now) })
}

/// Gives targets what they are owed. The controller on invocations.
pub async fn deliver(cx: Cx) -> Result<Wake> {
    let perform = |cx: Cx, what: Invocation| async move {
        let input = sns::PublishInput { topic_arn: Some(what.arn), message: what.input, ..Default::default() };
        cx.call(sns::Publish, input).await.map(|_| ())
    };
    owed::settle(&cx, perform, |_, _, ended| {
        if let Some(error) = ended.error {
            let Invocation { rule, target, .. } = &ended.owed.what;
            eprintln!("level=warn event=target_failed rule={rule} target={target} error={:?}", error.to_string());
        }
    })
    .await
}
