//! What happened to alarms: DescribeAlarmHistory.
//!
//! Invariant: an event is written in the transaction of the change that it tells of. An alarm keeps its latest `KEPT_MAX`,
//! those of a deleted alarm for as long as others do.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use standfast_api::cloudwatch::{AlarmHistoryItem, DescribeAlarmHistoryInput, DescribeAlarmHistoryOutput};
use standfast_core::page::page;
use standfast_core::{Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::Txn;

use super::super::errors::invalid;
use super::model::{Alarm, Condition, Event, EventKind, Held};
use super::reasons;
use super::types;

const KEPT_MAX: usize = 500;
/// CloudWatch keeps it for 30 days.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const PAGE_MAX: i32 = 100;

/// Writes an event of an alarm that is there. `rng` is a generator of the transaction's own.
pub fn note(tx: &mut Txn, scope: &Scope, rng: &Rng, event: Event) {
    let alarm = event.alarm.clone();
    let composite = tx.get::<Alarm>(scope, &alarm).is_some_and(|alarm| alarm.is_composite());
    let event = Event { composite, ..event };
    let since = event.at - KEPT;
    // Newer events have lower keys.
    let key = format!("{:016x}-{}", u64::MAX - u64::try_from(event.at.0).unwrap_or_default(), rng.uuid());
    tx.put(scope, &key, event);
    let all = tx.by_index::<Event>(scope, Event::BY_ALARM, &alarm);
    for (at, (key, event)) in all.iter().enumerate() {
        if at >= KEPT_MAX || event.at < since {
            tx.delete::<Event>(scope, key);
        }
    }
}

/// A state that became another one, or was set again.
pub fn transition(name: &str, old: &Condition, new: &Condition) -> Event {
    let side = |condition: &Condition| {
        let mut side = json!({ "stateValue": condition.state.name(), "stateReason": condition.reason });
        if let Some(data) = condition.data.as_ref().and_then(|data| serde_json::from_str::<Value>(data).ok()) {
            side["stateReasonData"] = data;
        }
        side
    };
    Event {
        alarm: name.to_owned(),
        at: new.updated,
        kind: EventKind::StateUpdate,
        summary: format!("Alarm updated from {} to {}", old.state.name(), new.state.name()),
        data: json!({ "version": "1.0", "oldState": side(old), "newState": side(new) }).to_string(),
        composite: false,
    }
}

/// Actions that are not done because of a suppressor.
pub fn held(name: &str, held: &Held, reason: &str, at: Timestamp) -> Event {
    let data = json!({ "version": "1.0", "actionsSuppressedBy": held.by.name(), "actionsSuppressedReason": reason });
    Event {
        alarm: name.to_owned(),
        at,
        kind: EventKind::Action,
        summary: reason.to_owned(),
        data: data.to_string(),
        composite: true,
    }
}

/// `verb` is `created`, `updated` or `deleted`.
pub fn configuration(name: &str, verb: &str, kind: &str, at: Timestamp) -> Event {
    let data = json!({ "version": "1.0", "type": kind, "timestamp": reasons::timestamp(at) });
    Event {
        alarm: name.to_owned(),
        at,
        kind: EventKind::ConfigurationUpdate,
        summary: format!("Alarm \"{name}\" {verb}"),
        data: data.to_string(),
        composite: false,
    }
}

pub async fn describe(cx: Cx, input: DescribeAlarmHistoryInput) -> Result<DescribeAlarmHistoryOutput> {
    let kind = input.history_item_type.as_deref();
    let kind = kind.map(|name| EventKind::named(name).ok_or_else(|| invalid(name, "HistoryItemType"))).transpose()?;
    let limit = input.max_records.unwrap_or(PAGE_MAX);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(invalid(limit, "MaxRecords"));
    }
    let oldest_first = match input.scan_by.as_deref() {
        None | Some("TimestampDescending") => false,
        Some("TimestampAscending") => true,
        Some(other) => return Err(invalid(other, "ScanBy")),
    };
    let wanted = types::wanted(input.alarm_types.as_deref())?;
    let fits = |event: &Event| {
        (if event.composite { wanted.composite } else { wanted.metric })
            && kind.is_none_or(|kind| kind == event.kind)
            && input.start_date.is_none_or(|start| event.at >= start)
            && input.end_date.is_none_or(|end| event.at <= end)
    };
    let mut events = cx.view(|view| match &input.alarm_name {
        Some(name) => view.by_index::<Event>(cx.scope(), Event::BY_ALARM, name),
        None => view.list::<Event>(cx.scope()),
    });
    events.retain(|(_, event)| fits(event));
    let place = |(key, event): &(Arc<str>, Arc<Event>)| match oldest_first {
        true => format!("{:016x}-{key}", event.at.0),
        false => key.to_string(),
    };
    events.sort_by_cached_key(place);
    let page = page(events, place, input.next_token.as_deref(), limit as usize, "InvalidNextToken")?;
    let items = page.items.into_iter().map(|(_, event)| item(&event)).collect();
    Ok(DescribeAlarmHistoryOutput { alarm_history_items: Some(items), next_token: page.next })
}

fn item(event: &Event) -> AlarmHistoryItem {
    AlarmHistoryItem {
        alarm_name: Some(event.alarm.clone()),
        alarm_type: Some(if event.composite { types::COMPOSITE } else { types::METRIC }.to_owned()),
        timestamp: Some(event.at),
        history_item_type: Some(event.kind.name().to_owned()),
        history_summary: Some(event.summary.clone()),
        history_data: Some(event.data.clone()),
        ..Default::default()
    }
}
