//! Spot instances: requests for them, what fulfils a request, what interrupts an instance.
//!
//! Every spot instance has a request, also one that RunInstances made. Invariant: a request that is `active` names its
//! instance, and its state is moved by its owner's cancellation, by launches and by the `spot` controller.
//!
//! A service that wants an instance to be interrupted gives it the tag `INTERRUPTION_TAG` with the time in RFC 3339; the
//! instance is told of it two minutes before, in its metadata.

pub mod controller;
mod plan;
mod prices;
mod requests;

pub use prices::{at as price, describe as describe_prices, on_demand};
pub use requests::{cancel, describe, request};

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result, Rng, Scope, Timestamp};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::instance_types::InstanceType;
use super::model::{ClientToken, Instance, Interruption, SpotRequest, SpotState, Tags};
use super::template_data::{self, Data};
use super::{errors, tags};

/// A service gives an instance this tag to have it interrupted at the time that is its value.
pub const INTERRUPTION_TAG: &str = "aws:standfast:spot-interruption";
/// What of a launch is said anew whenever a request is fulfilled.
const NOT_KEPT: &[&str] = &["ClientToken", "DryRun", "MinCount", "MaxCount", "InstanceMarketOptions", "LaunchTemplate"];
const TAGGED_TYPES: &[&str] = &["instance", "volume", "network-interface", "spot-instances-request"];

/// What RunInstances is asked for, where it is for spot instances.
#[derive(Clone, Debug)]
pub struct Asked {
    terms: Terms,
    launch: Data,
    tags: Tags,
}

/// How long and at what price.
#[derive(Clone, Debug)]
struct Terms {
    persistent: bool,
    interruption: Interruption,
    price_max: Option<String>,
    valid_until: Option<Timestamp>,
}

impl Terms {
    fn read(
        kind: Option<&str>,
        interruption: Option<&str>,
        price_max: Option<&String>,
        valid_until: Option<Timestamp>,
    ) -> Result<Self> {
        let persistent = match kind {
            None | Some("" | "one-time") => false,
            Some("persistent") => true,
            Some(other) => return Err(errors::invalid_value("spotInstanceType", other)),
        };
        let interruption = match interruption {
            None | Some("" | "terminate") => Interruption::Terminate,
            Some("stop") if persistent => Interruption::Stop,
            Some("stop") => {
                let message = "The instance interruption behavior 'stop' is supported for persistent requests only.";
                return Err(errors::combination(message));
            }
            Some("hibernate") => {
                let message = "Spot instances are terminated or stopped when they are interrupted, not hibernated.";
                return Err(Error::client("UnsupportedOperation", message));
            }
            Some(other) => return Err(errors::invalid_value("instanceInterruptionBehavior", other)),
        };
        let price_max = price_max.filter(|text| !text.is_empty()).cloned();
        price_max.as_deref().map(prices::Price::parse).transpose()?;
        Ok(Self { persistent, interruption, price_max, valid_until })
    }
}

/// Reads the market options of a launch; `None` when it is on demand.
pub fn read(cx: &Cx, input: &api::RunInstancesInput) -> Result<Option<Asked>> {
    let Some(market) = &input.instance_market_options else { return Ok(None) };
    match market.market_type.as_deref() {
        None | Some("") => return Ok(None),
        Some("spot") => {}
        Some(other) => return Err(errors::invalid_value("marketType", other)),
    }
    let options = market.spot_options.clone().unwrap_or_default();
    let terms = Terms::read(
        options.spot_instance_type.as_deref(),
        options.instance_interruption_behavior.as_deref(),
        options.max_price.as_ref(),
        options.valid_until,
    )?;
    let tags = tags::specified(cx, input.tag_specifications.as_ref(), "spot-instances-request", TAGGED_TYPES)?;
    Ok(Some(Asked { terms, launch: document(input.clone()), tags }))
}

/// A launch as requests keep it.
fn document(input: api::RunInstancesInput) -> Data {
    let mut launch = template_data::document(input);
    NOT_KEPT.iter().for_each(|name| {
        launch.remove(*name);
    });
    launch
}

fn token(id: &str, launches: u32) -> String {
    format!("{id}:{launches}")
}

/// The request that a launch fulfils: the one that its client token names, or a new one.
pub fn fulfil(
    tx: &mut Txn,
    scope: &Scope,
    rng: &Rng,
    asked: &Asked,
    client_token: Option<&ClientToken>,
    (instance_id, instance): (&Id<id::Instance>, &Instance),
    now: Timestamp,
) -> Result<()> {
    if let Some(known) = InstanceType::named(&instance.instance_type) {
        prices::check(&known, &instance.zone, asked.terms.price_max.as_deref(), now)?;
    }
    let open = client_token.and_then(|token| {
        let (id, launches) = token.token.split_once(':')?;
        let request = tx.get::<SpotRequest>(scope, id)?;
        let meant = request.state == SpotState::Open && request.launches.to_string() == launches;
        meant.then(|| (Id::from_text(id), (*request).clone()))
    });
    let (id, request) = open.unwrap_or_else(|| {
        let id = Id::<id::SpotInstanceRequest>::new(rng);
        tags::put(tx, scope, &id, &asked.tags);
        (id, new(&asked.terms, asked.launch.clone(), now))
    });
    let active = plan::moved(&request, SpotState::Active, "fulfilled", "Your Spot request is fulfilled.", now);
    let fulfilled = SpotRequest {
        launches: request.launches + 1,
        instance: Some(instance_id.clone()),
        zone: Some(instance.zone.clone()),
        notice: None,
        ..active
    };
    tx.put(scope, &id, fulfilled);
    Ok(())
}

fn new(terms: &Terms, launch: Data, now: Timestamp) -> SpotRequest {
    SpotRequest {
        persistent: terms.persistent,
        interruption: terms.interruption,
        price_max: terms.price_max.clone(),
        valid_from: None,
        valid_until: terms.valid_until,
        launch_group: None,
        zone_group: None,
        launch,
        launches: 0,
        instance: None,
        zone: None,
        created: now,
        state: SpotState::Open,
        status: plan::status("pending-evaluation", "Your Spot request is being evaluated.", now),
        notice: None,
        client_token: None,
    }
}

/// The request of a spot instance.
pub fn of_instance(view: &View, scope: &Scope, instance: &str) -> Option<Id<id::SpotInstanceRequest>> {
    let found = view.by_index::<SpotRequest>(scope, "instance", instance);
    found.first().map(|(id, _)| Id::from_text(id))
}

/// Refuses to stop an instance whose request is for one time.
pub fn stoppable(view: &View, scope: &Scope, id: &Id<id::Instance>) -> Result<()> {
    let found = view.by_index::<SpotRequest>(scope, "instance", id);
    if found.iter().all(|(_, request)| request.persistent) {
        return Ok(());
    }
    let message = format!(
        "You can't stop the Spot Instance '{id}' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests."
    );
    Err(Error::client("UnsupportedOperation", message))
}
