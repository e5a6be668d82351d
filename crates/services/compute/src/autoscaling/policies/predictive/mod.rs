//! Predictive scaling: a forecast of the hours to come, and capacity that is there before the load is.
//!
//! Every hour each policy's forecast is made anew (`forecast` says how) and kept; a policy that scales raises the desired
//! capacity some minutes before the hour, and for that hour no policy takes the group below it. It never takes away.

mod config;
mod forecast;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use standfast_api::autoscaling as api;
use standfast_api::cloudwatch as cw;
use standfast_core::{Fault, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake};
use standfast_store::{Record, Txn, View};

pub use config::check;

use self::config::{BUFFER_S, INCREASES, SCALES};
use self::forecast::{Bounds, HISTORY_HOURS, HOUR_S, Hours, PER_INSTANCE};
use super::{Kind, Policy, named};
use crate::autoscaling::errors::validation;
use crate::autoscaling::model::{Group, Process};
use crate::kept::Kept;

/// How long a span one call may ask for.
const SPAN_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a predictive scaling policy has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Predictive {
    pub config: Kept<api::PredictiveScalingConfiguration>,
}

impl Predictive {
    fn scales(&self) -> bool {
        self.config.0.mode.as_deref() == Some(SCALES)
    }

    fn ahead(&self) -> Duration {
        let seconds = self.config.0.scheduling_buffer_time.unwrap_or(BUFFER_S);
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }
}

/// What is foreseen by a policy. Its id is the policy's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// What it was made from.
    of: Predictive,
    updated: Timestamp,
    /// Load and capacity by hour; those of hours that are over stay for as long as history counts.
    hours: BTreeMap<i64, (f64, f64)>,
}

impl Record for Forecast {
    const TABLE: &'static str = "autoscaling.forecasts";
}

/// Removes what was foreseen by a policy that goes.
pub fn remove(tx: &mut Txn, scope: &Scope, key: &str) {
    tx.delete::<Forecast>(scope, key);
}

fn hour(at: Timestamp) -> i64 {
    at.0.div_euclid(HOUR_S * 1000)
}

fn start(hour: i64) -> Timestamp {
    Timestamp(hour * HOUR_S * 1000)
}

/// Makes forecasts that are due, and capacity that is.
pub async fn run(cx: Cx) -> Result<Wake> {
    let (now, mut wake, mut failure) = (cx.now(), Wake::OnChange, None);
    for (scope, key, policy) in cx.view(|view| view.all::<Policy>()) {
        let Kind::Predictive(own) = &policy.kind else { continue };
        let cx = cx.at(&scope);
        let old = cx.view(|view| view.get::<Forecast>(&scope, &key));
        let fresh = old.as_ref().is_some_and(|old| old.of == *own && hour(old.updated) == hour(now));
        if !fresh && let Err(error) = make(&cx, &key, &policy.group, own, old.as_deref(), now).await {
            failure = Some(error);
        }
        if own.scales() && policy.enabled {
            scale(&cx, &key, &policy, own, now).await?;
        }
        let next = start(hour(now) + 1);
        let early = next - own.ahead();
        wake = wake.or(Wake::At(if early > now { early } else { next }));
    }
    failure.map_or(Ok(wake), Err)
}

async fn make(cx: &Cx, key: &str, group: &str, own: &Predictive, old: Option<&Forecast>, now: Timestamp) -> Result<()> {
    let Some(spec) = own.config.0.metric_specifications.first() else { return Ok(()) };
    let metrics = config::metrics(group, spec);
    let history = history(cx, metrics.load, now).await?;
    let per = match metrics.learnt {
        Some((scaling, capacity)) => {
            let (scaling, capacity) = (self::history(cx, scaling, now).await?, self::history(cx, capacity, now).await?);
            forecast::per_instance(&history, &scaling, &capacity).unwrap_or(PER_INSTANCE)
        }
        None => PER_INSTANCE,
    };
    let of = |load: f64| (load, forecast::capacity(load, spec.target_value, per));
    let mut hours = old.filter(|old| old.of == *own).map(|old| old.hours.clone()).unwrap_or_default();
    hours.retain(|past, _| (hour(now) - HISTORY_HOURS..hour(now)).contains(past));
    hours.extend(forecast::loads(&history, hour(now)).into_iter().map(|(hour, load)| (hour, of(load))));
    let forecast = Forecast { of: own.clone(), updated: now, hours };
    cx.txn(|tx| {
        // The policy may have gone or changed meanwhile.
        if tx.get::<Policy>(cx.scope(), key).is_some_and(|policy| policy.kind == Kind::Predictive(own.clone())) {
            tx.put(cx.scope(), key, forecast.clone());
        }
        Ok(())
    })
    .await
}

/// The values of a metric in the hours that are over.
async fn history(cx: &Cx, queries: Vec<cw::MetricDataQuery>, now: Timestamp) -> Result<Hours> {
    let mut input = cw::GetMetricDataInput {
        metric_data_queries: queries,
        start_time: start(hour(now) - HISTORY_HOURS),
        end_time: start(hour(now)),
        ..Default::default()
    };
    let mut hours = Hours::new();
    loop {
        let answer = match cx.call(cw::GetMetricData, input.clone()).await {
            // A metric that cannot be computed has no history.
            Err(error) if error.fault == Fault::Client => return Ok(hours),
            other => other?,
        };
        for result in answer.metric_data_results.unwrap_or_default() {
            let times = result.timestamps.unwrap_or_default().into_iter().map(hour);
            hours.extend(times.zip(result.values.unwrap_or_default()));
        }
        input.next_token = answer.next_token;
        if input.next_token.is_none() {
            return Ok(hours);
        }
    }
}

/// The hours that count now: this one, and the next when it is near.
fn current(own: &Predictive, now: Timestamp) -> impl Iterator<Item = i64> {
    let this = hour(now);
    let near = start(this + 1) - own.ahead() <= now;
    [Some(this), near.then_some(this + 1)].into_iter().flatten()
}

fn foreseen(view: &View, scope: &Scope, key: &str, own: &Predictive, now: Timestamp) -> Option<f64> {
    let forecast = view.get::<Forecast>(scope, key).filter(|forecast| forecast.of == *own)?;
    current(own, now).filter_map(|hour| Some(forecast.hours.get(&hour)?.1)).reduce(f64::max)
}

/// The capacity below which no policy takes a group now, within its maximum.
pub fn floor(view: &View, scope: &Scope, name: &str, group: &Group, now: Timestamp) -> i32 {
    let policies = view.by_index::<Policy>(scope, "group", name);
    let floors = policies.iter().filter_map(|(key, policy)| match &policy.kind {
        Kind::Predictive(own) if own.scales() && policy.enabled => foreseen(view, scope, key, own, now),
        _ => None,
    });
    let bounds = Bounds { min: group.min, max: group.max, buffer: None };
    floors.map(|forecast| forecast::bounded(bounds, forecast).0).max().unwrap_or(group.min)
}

/// Raises the desired capacity to what is foreseen.
async fn scale(cx: &Cx, key: &str, policy: &Policy, own: &Predictive, now: Timestamp) -> Result<()> {
    let scope = cx.scope();
    let config = &own.config.0;
    let increases = config.max_capacity_breach_behavior.as_deref() == Some(INCREASES);
    let buffer = config.max_capacity_buffer.filter(|_| increases);
    let due = |view: &View| {
        let group = view.get::<Group>(scope, &policy.group)?;
        let forecast = foreseen(view, scope, key, own, now)?;
        let bounds = Bounds { min: group.min, max: group.max, buffer };
        let (wanted, max) = forecast::bounded(bounds, forecast);
        let stays = wanted <= group.desired || group.deleting || group.is_suspended(Process::ScheduledActions);
        if stays {
            return None;
        }
        let change = format!(
            "At {} predictive scaling policy {} set the desired capacity for the forecast of {}, changing the desired \
             capacity from {} to {wanted}.",
            now.iso8601_seconds(),
            policy.name,
            forecast as i64,
            group.desired
        );
        Some(Group { desired: wanted, max, change: Some(change), ..(*group).clone() })
    };
    if cx.view(|view| due(view).is_none()) {
        return Ok(());
    }
    cx.txn(|tx| {
        if let Some(group) = due(tx) {
            tx.put(scope, &policy.group, group);
        }
        Ok(())
    })
    .await
}

pub async fn describe(
    cx: Cx,
    input: api::GetPredictiveScalingForecastInput,
) -> Result<api::GetPredictiveScalingForecastOutput> {
    let (from, to) = (input.start_time, input.end_time);
    if to <= from || to.since(from) > SPAN_MAX {
        return Err(validation(format!(
            "EndTime must be after StartTime, by 30 days at most; they are {from} and {to}."
        )));
    }
    let (key, policy) = cx.view(|view| named(view, &cx, Some(&input.auto_scaling_group_name), &input.policy_name))?;
    let Kind::Predictive(own) = &policy.kind else {
        return Err(validation(format!("Policy {} is not of type PredictiveScaling", policy.name)));
    };
    let forecast = cx.view(|view| view.get::<Forecast>(cx.scope(), &key));
    let updated = forecast.as_ref().map_or(cx.now(), |forecast| forecast.updated);
    let hours: Vec<_> = forecast.iter().flat_map(|forecast| &forecast.hours).collect();
    let hours = || hours.iter().filter(|(hour, _)| start(**hour) >= from && start(**hour) < to);
    let timestamps: Vec<Timestamp> = hours().map(|(hour, _)| start(**hour)).collect();
    let load = |spec: &api::PredictiveScalingMetricSpecification| api::LoadForecast {
        timestamps: timestamps.clone(),
        values: hours().map(|(_, (load, _))| *load).collect(),
        metric_specification: spec.clone(),
    };
    Ok(api::GetPredictiveScalingForecastOutput {
        load_forecast: own.config.0.metric_specifications.iter().map(load).collect(),
        capacity_forecast: api::CapacityForecast {
            timestamps: timestamps.clone(),
            values: hours().map(|(_, (_, capacity))| *capacity).collect(),
        },
        update_time: updated,
    })
}
