//! Scheduled actions of scalable targets: bounds that change at a time.
//!
//! Invariant: when an action runs next is in its record. A target's bounds change as scheduled; that nothing of the
//! resource follows is told as a failed activity.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_api::application_autoscaling as api;
use standfast_core::cron::{Cron, TimeZone};
use standfast_core::{Arn, Result, Rng, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::{Record, Txn};

use super::{Asked, Dimension, Target, activities, limit, paged, validation};

/// Actions of a target.
const ACTIONS_MAX: usize = 200;
const UTC: &str = "UTC";

/// A scheduled action. Its id is its target's and its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduled {
    of: Dimension,
    name: String,
    arn: String,
    created: Timestamp,
    schedule: String,
    zone: Option<String>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    min: Option<i32>,
    max: Option<i32>,
    /// None when it never runs again; it is kept all the same.
    next: Option<Timestamp>,
}

impl Record for Scheduled {
    const TABLE: &'static str = "application-autoscaling.scheduled_actions";
}

/// The table, for the controller.
pub const WATCHED: &[&str] = &[Scheduled::TABLE];

/// When something happens.
enum Times {
    At(Timestamp),
    Every(Duration),
    Cron(Box<Cron>),
}

impl Times {
    fn parse(text: &str, zone: &TimeZone) -> Result<Self, String> {
        let inside = |name: &str| text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(inside) = inside("at") {
            let time = inside.parse().ok().and_then(|time: Timestamp| civil(time, zone));
            return time.map(Times::At).ok_or_else(|| format!("'{inside}' is no time such as 2026-11-21T10:00:00"));
        }
        if let Some(inside) = inside("rate") {
            return every(inside).map(Times::Every).ok_or_else(|| format!("'{inside}' is no rate such as 5 minutes"));
        }
        if inside("cron").is_some() {
            let inside = inside("cron").unwrap_or_default();
            return Cron::eventbridge(inside)
                .or_else(|_| Cron::eventbridge(text))
                .map(|cron| Times::Cron(Box::new(cron)));
        }
        Err("it must be at(...), rate(...) or cron(...)".to_owned())
    }

    fn after(&self, time: Timestamp, from: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Times::At(at) => (*at > time).then_some(*at),
            Times::Every(every) if time < from => Some(from + *every),
            Times::Every(every) => {
                let length = (every.as_millis() as i64).max(1);
                Some(Timestamp(from.0 + ((time.0 - from.0).div_euclid(length) + 1) * length))
            }
            Times::Cron(cron) => cron.next_after(time, zone),
        }
    }
}

/// The time at which the clocks of a zone show what `shown` shows in UTC.
fn civil(shown: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let there = zone.to_ambiguous_zoned(shown.civil()).compatible().ok()?;
    Some(Timestamp(there.timestamp().as_millisecond()))
}

/// `5 minutes`
fn every(text: &str) -> Option<Duration> {
    let (number, unit) = text.trim().split_once(' ')?;
    let number: u64 = number.parse().ok().filter(|number| *number > 0)?;
    let seconds = match unit.trim() {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3600,
        "day" | "days" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

impl Scheduled {
    fn after(&self, time: Timestamp) -> Result<Option<Timestamp>, String> {
        let zone = TimeZone::get(self.zone.as_deref().unwrap_or(UTC)).map_err(|error| error.to_string())?;
        let times = Times::parse(&self.schedule, &zone)?;
        let from = self.start.unwrap_or(self.created);
        let time = self.start.map_or(time, |start| time.max(Timestamp(start.0 - 1)));
        Ok(times.after(time, from, &zone).filter(|next| self.end.is_none_or(|end| *next <= end)))
    }
}

pub async fn put(cx: Cx, input: api::PutScheduledActionInput) -> Result<api::PutScheduledActionOutput> {
    let of = Dimension::new(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let (name, now) = (input.scheduled_action_name.clone(), cx.now());
    let (key, id) = (of.key_of(&name), cx.rng().uuid());
    let resource = format!("scheduledAction:{id}:resource/{}/{}:scheduledActionName/{name}", of.namespace, of.resource);
    let arn = Arn::new("autoscaling", cx.scope(), resource).to_string();
    let action = input.scalable_target_action.clone();
    cx.txn(|tx| {
        tx.get::<Target>(cx.scope(), &of.key()).ok_or_else(|| of.lacks("registered scalable target"))?;
        let old = tx.get::<Scheduled>(cx.scope(), &key);
        if old.is_none() && tx.prefix::<Scheduled>(cx.scope(), &of.key_of("")).len() >= ACTIONS_MAX {
            return Err(limit(format!("A scalable target can have at most {ACTIONS_MAX} scheduled actions.")));
        }
        let schedule = input.schedule.clone().or_else(|| old.as_ref().map(|old| old.schedule.clone()));
        let schedule = schedule.ok_or_else(|| validation("Schedule is required for a new scheduled action."))?;
        let bounds = match &action {
            Some(action) => (action.min_capacity, action.max_capacity),
            None => old.as_ref().map(|old| (old.min, old.max)).unwrap_or_default(),
        };
        let mut new = Scheduled {
            of: of.clone(),
            name: name.clone(),
            arn: old.as_ref().map_or_else(|| arn.clone(), |old| old.arn.clone()),
            created: old.map_or(now, |old| old.created),
            schedule,
            zone: input.timezone.clone(),
            start: input.start_time,
            end: input.end_time,
            min: bounds.0,
            max: bounds.1,
            next: None,
        };
        check(&new)?;
        let bad = |why| validation(format!("The schedule '{}' is not valid: {why}.", new.schedule));
        let next = new.after(now).map_err(bad)?;
        if next.is_none() {
            return Err(bad("it names no time that comes".to_owned()));
        }
        new.next = next;
        tx.put(cx.scope(), &key, new);
        Ok(())
    })
    .await?;
    Ok(api::PutScheduledActionOutput {})
}

fn check(action: &Scheduled) -> Result<()> {
    if action.min.or(action.max).is_none() {
        return Err(validation("ScalableTargetAction must have MinCapacity, MaxCapacity or both."));
    }
    if let (Some(min), Some(max)) = (action.min, action.max)
        && max < min
    {
        return Err(validation(format!(
            "Maximum capacity cannot be less than minimum capacity: {max} is less than {min}."
        )));
    }
    if let Some(zone) = &action.zone
        && TimeZone::get(zone).is_err()
    {
        return Err(validation(format!("The timezone '{zone}' is not valid.")));
    }
    if let (Some(start), Some(end)) = (action.start, action.end)
        && end <= start
    {
        return Err(validation("EndTime must be later than StartTime."));
    }
    Ok(())
}

pub async fn delete(cx: Cx, input: api::DeleteScheduledActionInput) -> Result<api::DeleteScheduledActionOutput> {
    let of = Dimension::new(&input.service_namespace, &input.resource_id, &input.scalable_dimension)?;
    let (key, name) = (of.key_of(&input.scheduled_action_name), &input.scheduled_action_name);
    cx.txn(|tx| {
        tx.get::<Scheduled>(cx.scope(), &key).ok_or_else(|| of.lacks(&format!("scheduled action named {name}")))?;
        tx.delete::<Scheduled>(cx.scope(), &key);
        Ok(())
    })
    .await?;
    Ok(api::DeleteScheduledActionOutput {})
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeScheduledActionsInput,
) -> Result<api::DescribeScheduledActionsOutput> {
    let asked = Asked::new(input.service_namespace, input.resource_id, input.scalable_dimension)?;
    let names = input.scheduled_action_names.unwrap_or_default();
    let mut rows = cx.view(|view| view.list::<Scheduled>(cx.scope()));
    let wanted = |action: &Scheduled| names.is_empty() || names.contains(&action.name) || names.contains(&action.arn);
    rows.retain(|(_, action)| action.of.fits(&asked) && wanted(action));
    let page = paged(rows, input.max_results, input.next_token.as_deref())?;
    let actions = page.items.iter().map(|(_, action)| shape(action)).collect();
    Ok(api::DescribeScheduledActionsOutput { scheduled_actions: Some(actions), next_token: page.next })
}

fn shape(action: &Scheduled) -> api::ScheduledAction {
    api::ScheduledAction {
        scheduled_action_name: action.name.clone(),
        scheduled_action_arn: action.arn.clone(),
        service_namespace: action.of.namespace.clone(),
        schedule: action.schedule.clone(),
        timezone: action.zone.clone(),
        resource_id: action.of.resource.clone(),
        scalable_dimension: Some(action.of.dimension.clone()),
        start_time: action.start,
        end_time: action.end,
        scalable_target_action: Some(api::ScalableTargetAction { min_capacity: action.min, max_capacity: action.max }),
        creation_time: action.created,
    }
}

/// Does what is due.
pub async fn run(cx: Cx) -> Result<Wake> {
    let now = cx.now();
    let mut wake = Wake::OnChange;
    for (scope, key, action) in cx.view(|view| view.all::<Scheduled>()) {
        match action.next {
            Some(next) if next <= now => {
                let seed = cx.rng().u64();
                let next = cx.txn(|tx| Ok(perform(tx, &scope, &key, &Rng::seeded(seed), now))).await?;
                wake = next.map_or(wake, |next| wake.or(Wake::At(next)));
            }
            Some(next) => wake = wake.or(Wake::At(next)),
            None => (),
        }
    }
    Ok(wake)
}

fn perform(tx: &mut Txn, scope: &Scope, key: &str, rng: &Rng, now: Timestamp) -> Option<Timestamp> {
    let action = tx.get::<Scheduled>(scope, key)?;
    if action.next.is_none_or(|next| next > now) {
        return action.next;
    }
    if let Some(target) = tx.get::<Target>(scope, &action.of.key()).filter(|target| !target.suspended.2) {
        let (min, max) = (action.min.unwrap_or(target.min), action.max.unwrap_or(target.max));
        let description = format!("Setting min capacity to {min} and max capacity to {max}");
        let cause = format!("scheduled action name {} was triggered", action.name);
        activities::failed(tx, scope, rng, &action.of, (description, cause), now);
        if min <= max {
            tx.put(scope, &action.of.key(), Target { min, max, ..(*target).clone() });
        }
    }
    let next = action.after(now).ok().flatten();
    tx.put(scope, key, Scheduled { next, ..(*action).clone() });
    next
}
