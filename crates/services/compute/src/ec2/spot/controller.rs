//! Fulfils requests for spot instances, and interrupts instances.

use standfast_api::ec2 as api;
use standfast_core::place::{Region, Zone};
use standfast_core::{Error, Fault, Result, Scope, Timestamp};
use standfast_kernel::{Cx, Wake, zones};
use standfast_store::{Record, Txn, View};

use super::plan::{self, Seen, Step, World};
use super::{INTERRUPTION_TAG, prices, token};
use crate::ec2::host::{REBALANCE_TAG, SPOT_ACTION_TAG};
use crate::ec2::instance_types::InstanceType;
use crate::ec2::model::{Instance, Interruption, SpotRequest, SpotState, State, StateReason, Tagged};
use crate::ec2::{power, run, state_events, tags, template_data};

/// What wakes it.
pub const TABLES: &[&str] = &[SpotRequest::TABLE, Instance::TABLE, Tagged::TABLE, zones::TABLE];

pub async fn run(cx: Cx) -> Result<Wake> {
    let now = cx.now();
    let mut wake = Wake::OnChange;
    let mut steps = Vec::new();
    cx.view(|view| {
        for (scope, id, request) in view.all::<SpotRequest>() {
            match plan::next(&request, &world(view, &scope, &request, now)) {
                Some(step) => steps.push((scope, id, step)),
                // What is past and still has no effect waits for something else.
                None => {
                    let due = plan::deadline(&request).filter(|due| *due > now);
                    wake = due.map_or(wake, |due| wake.or(Wake::At(due)));
                }
            }
            if request.price_max.is_some() {
                wake = wake.or(Wake::At(prices::next_move(now)));
            }
        }
    });
    for (scope, id, step) in steps {
        match step {
            Step::Launch => launch(&cx.at(&scope), &id).await?,
            _ => cx.txn(|tx| take(tx, &scope, &id, now)).await?,
        }
    }
    Ok(wake)
}

fn world(view: &View, scope: &Scope, request: &SpotRequest, now: Timestamp) -> World {
    let record = request.instance.as_ref().and_then(|id| view.get::<Instance>(scope, id));
    let tagged = request.instance.as_ref().and_then(|id| view.get::<Tagged>(scope, id));
    let asked = tagged.as_ref().and_then(|tagged| tagged.tags.get(INTERRUPTION_TAG));
    World {
        instance: record.map(|instance| Seen { state: instance.state, waits: instance.resume }),
        interruption: asked.and_then(|text| text.parse().ok()),
        too_low: too_low(scope, request, now),
        now,
    }
}

/// Whether the request's price is lower than what its type costs: where its instance is, or wherever it may be.
fn too_low(scope: &Scope, request: &SpotRequest, now: Timestamp) -> bool {
    let Some(asked) = request.price_max.as_deref().and_then(|text| prices::Price::parse(text).ok()) else {
        return false;
    };
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let Some(known) = request.launch.get("InstanceType").and_then(text).and_then(|name| InstanceType::named(&name))
    else {
        return false;
    };
    let placed = request.launch.get("Placement").and_then(|placement| text(&placement["AvailabilityZone"]));
    let zones: Vec<String> = match request.zone.clone().filter(|_| request.instance.is_some()).or(placed) {
        Some(zone) => vec![zone],
        None => {
            Region::named(&scope.region).into_iter().flat_map(Region::zones).map(|Zone { name, .. }| name).collect()
        }
    };
    zones.iter().all(|zone| prices::at(&known, zone, now) > asked)
}

/// Launches an instance for a request; the launch's own transaction marks the request as fulfilled.
async fn launch(cx: &Cx, id: &str) -> Result<()> {
    let Some(request) = cx.view(|view| view.get::<SpotRequest>(cx.scope(), id)) else { return Ok(()) };
    let options = api::SpotMarketOptions {
        max_price: request.price_max.clone(),
        spot_instance_type: Some(if request.persistent { "persistent" } else { "one-time" }.into()),
        instance_interruption_behavior: (request.interruption == Interruption::Stop).then(|| "stop".into()),
        ..Default::default()
    };
    let over = api::RunInstancesInput {
        min_count: 1,
        max_count: 1,
        client_token: Some(token(id, request.launches)),
        instance_market_options: Some(api::InstanceMarketOptionsRequest {
            market_type: Some("spot".into()),
            spot_options: Some(options),
        }),
        ..Default::default()
    };
    let input = template_data::launch(&request.launch, over)?;
    match cx.call(api::RunInstances, input).await {
        Ok(_) => Ok(()),
        Err(error) => hold(cx, id, &error).await,
    }
}

/// Says why a request could not be fulfilled: for now, or for ever.
async fn hold(cx: &Cx, id: &str, error: &Error) -> Result<()> {
    let (state, code) = match &*error.code {
        "InsufficientInstanceCapacity" => (SpotState::Open, "capacity-not-available"),
        "SpotMaxPriceTooLow" => (SpotState::Open, "price-too-low"),
        "InsufficientFreeAddressesInSubnet" => (SpotState::Open, "constraint-not-fulfillable"),
        _ if error.fault == Fault::Server => return Err(error.clone()),
        _ => (SpotState::Failed, "bad-parameters"),
    };
    let now = cx.now();
    cx.txn(|tx| {
        let Some(request) = tx.get::<SpotRequest>(cx.scope(), id) else { return Ok(()) };
        if request.state == SpotState::Open && request.status.code != code {
            tx.put(cx.scope(), id, plan::moved(&request, state, code, &error.message, now));
        }
        Ok(())
    })
    .await
}

/// Takes the step that is right for the request as the transaction sees it.
fn take(tx: &mut Txn, scope: &Scope, id: &str, now: Timestamp) -> Result<()> {
    let Some(request) = tx.get::<SpotRequest>(scope, id) else { return Ok(()) };
    let world = world(tx, scope, &request, now);
    let new = match plan::next(&request, &world) {
        None | Some(Step::Launch) => return Ok(()),
        Some(Step::Forget) => {
            tx.delete::<SpotRequest>(scope, id);
            tags::forget(tx, scope, id);
            return Ok(());
        }
        Some(Step::Put(new)) => {
            // An interruption that has been noted: a recommendation to rebalance comes with it.
            if let Some(instance) =
                request.instance.as_ref().filter(|_| request.notice.is_none() && new.notice.is_some())
            {
                set_tags(tx, scope, instance, &[(REBALANCE_TAG, Some(seconds(now)))]);
                state_events::rebalance(tx, scope, instance, now);
            }
            new
        }
        Some(Step::Tell(new)) => {
            tell(tx, scope, &new, now);
            new
        }
        Some(Step::Interrupt(new)) => {
            interrupt(tx, scope, &request, now);
            new
        }
        Some(Step::Resume(new)) => {
            let Some((instance_id, instance)) = instance(tx, scope, &request) else { return Ok(()) };
            if zones::is_dark(tx, &instance.zone) {
                return Ok(());
            }
            let started = power::started(&instance, now);
            state_events::moved(tx, scope, &instance_id, Some(instance.state), &started);
            tx.put(scope, &instance_id, started);
            new
        }
    };
    tx.put(scope, id, *new);
    Ok(())
}

fn instance(view: &View, scope: &Scope, request: &SpotRequest) -> Option<(String, Instance)> {
    let id = request.instance.as_ref()?;
    view.get::<Instance>(scope, id).map(|instance| (id.to_string(), (*instance).clone()))
}

/// RFC 3339 in whole seconds, as metadata has it.
fn seconds(time: Timestamp) -> String {
    format!("{}Z", time.civil().strftime("%Y-%m-%dT%H:%M:%S"))
}

/// Lets the instance see in its metadata what will happen to it.
fn tell(tx: &mut Txn, scope: &Scope, request: &SpotRequest, now: Timestamp) {
    let (Some(instance), Some(notice)) = (&request.instance, request.notice) else { return };
    let action = match request.interruption {
        Interruption::Terminate => "terminate",
        Interruption::Stop => "stop",
    };
    let text = serde_json::json!({ "action": action, "time": seconds(notice.at) }).to_string();
    set_tags(tx, scope, instance, &[(SPOT_ACTION_TAG, Some(text))]);
    state_events::interruption(tx, scope, instance, action, now);
}

fn interrupt(tx: &mut Txn, scope: &Scope, request: &SpotRequest, now: Timestamp) {
    let Some((id, old)) = instance(tx, scope, request) else { return };
    let (state, code) = match request.interruption {
        Interruption::Terminate => (State::ShuttingDown, "Server.SpotInstanceTermination"),
        Interruption::Stop => (State::Stopping, "Server.SpotInstanceShutdown"),
    };
    let reason = StateReason { code: code.into(), message: format!("{code}: Spot instance interruption") };
    let transition = run::user_initiated(now).replace("User initiated", "Service initiated");
    let (before, new) =
        (old.state, Instance { state, reason: Some(reason), transition, changed: now, resume: false, ..old });
    state_events::moved(tx, scope, &id, Some(before), &new);
    tx.put(scope, &id, new);
    set_tags(tx, scope, &id, &[(SPOT_ACTION_TAG, None), (REBALANCE_TAG, None), (INTERRUPTION_TAG, None)]);
}

/// Sets or removes tags of an instance.
fn set_tags(tx: &mut Txn, scope: &Scope, id: &str, changes: &[(&str, Option<String>)]) {
    let old = tx.get::<Tagged>(scope, id);
    let mut tags = old.map(|tagged| tagged.tags.clone()).unwrap_or_default();
    for (key, value) in changes {
        match value {
            Some(value) => tags.insert((*key).to_owned(), value.clone()),
            None => tags.remove(*key),
        };
    }
    if tags.is_empty() {
        tags::forget(tx, scope, id);
    } else {
        tx.put(scope, id, Tagged { resource_type: "instance".into(), tags });
    }
}
