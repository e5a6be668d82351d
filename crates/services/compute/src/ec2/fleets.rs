//! Fleets of type `instant`: instances of several templates and types, launched by one request.
//!
//! AWS-DIFF: fleets that keep themselves up (`maintain`) or fill up later (`request`) are refused; groups of autoscaling
//! do that.

use std::collections::BTreeMap;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Region;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;
use standfast_store::View;

use super::filters::{self, Described, Field, Paging};
use super::instance_types::InstanceType;
use super::model::{
    Fleet, FleetChoice, FleetConfig, FleetError, FleetLaunch, FleetOverride, FleetTarget, Instance,
    LaunchTemplateVersion, Tags,
};
use super::{defaults, errors, launch_templates, spot, tags, tokens};

const CAPACITY_MAX: i32 = 1000;
const OVERRIDES_MAX: usize = 300;
const BOUNDS: (i32, i32) = (1, 1000);
/// The tag by which a fleet's instances are known.
const FLEET_TAG: &str = "aws:ec2:fleet-id";
const TAGGED_TYPES: &[&str] = &["fleet", "instance", "volume"];

/// A choice and what orders it among the others.
struct Candidate {
    choice: FleetChoice,
    priority: f64,
    price: u64,
}

pub async fn create(cx: Cx, input: api::CreateFleetInput) -> Result<api::CreateFleetOutput> {
    defaults::ready(&cx).await?;
    match input.r#type.as_deref() {
        Some("instant") => {}
        None | Some("" | "maintain" | "request") => {
            let message =
                "Fleets of type 'instant' only are supported. Use a group of autoscaling to keep capacity up.";
            return Err(Error::client("UnsupportedOperation", message));
        }
        Some(other) => return Err(errors::invalid_value("type", other)),
    }
    let token = tokens::read(input.client_token.as_deref(), &input)?;
    if let Some(token) = &token {
        let made = cx.view(|view| view.by_index::<Fleet>(cx.scope(), "token", &token.token));
        if let Some((id, fleet)) = made.first() {
            tokens::same_request(token, fleet.client_token.as_ref())?;
            return Ok(created(id, fleet));
        }
    }
    let target = target(&input.target_capacity_specification)?;
    let tags_of = |kind| tags::specified(&cx, input.tag_specifications.as_ref(), kind, TAGGED_TYPES);
    let (fleet_tags, instance_tags, volume_tags) = (tags_of("fleet")?, tags_of("instance")?, tags_of("volume")?);
    let interruption = input.spot_options.as_ref().and_then(|options| options.instance_interruption_behavior.clone());
    if interruption.as_deref().is_some_and(|behaviour| behaviour != "terminate") {
        return Err(errors::combination("Instances of an instant fleet are terminated when they are interrupted."));
    }
    let (on_demand, on_spot) = (candidates(&cx, &input, false)?, candidates(&cx, &input, true)?);
    errors::dry_run(input.dry_run)?;
    let id = format!("fleet-{}", cx.rng().uuid());
    let mut fleet = Fleet {
        created: cx.now(),
        target,
        configs: input.launch_template_configs.iter().map(config).collect(),
        launched: Vec::new(),
        errors: Vec::new(),
        tags: fleet_tags,
        deleted: false,
        client_token: token,
    };
    let mut instance_tags = instance_tags;
    instance_tags.insert(FLEET_TAG.to_owned(), id.clone());
    let specifications = [("instance", &instance_tags), ("volume", &volume_tags)];
    for (count, candidates) in [(fleet.target.on_demand, &on_demand), (fleet.target.spot, &on_spot)] {
        fill(&cx, &mut fleet, count, candidates, &specifications).await;
    }
    let answer = created(&id, &fleet);
    cx.txn(|tx| {
        tx.put(cx.scope(), &id, fleet.clone());
        Ok(())
    })
    .await?;
    Ok(answer)
}

fn target(asked: &api::TargetCapacitySpecificationRequest) -> Result<FleetTarget> {
    let total = asked.total_target_capacity;
    if !(1..=CAPACITY_MAX).contains(&total) {
        return Err(errors::invalid_value("TotalTargetCapacity", &total.to_string()));
    }
    let by_default = asked.default_target_capacity_type.clone().unwrap_or_else(|| "on-demand".into());
    let rest = |given: i32| (total - given).max(0);
    let (on_demand, spot) = match (asked.on_demand_target_capacity, asked.spot_target_capacity, by_default.as_str()) {
        (Some(on_demand), Some(spot), _) if on_demand + spot != total => {
            let message = "TotalTargetCapacity must be the sum of OnDemandTargetCapacity and SpotTargetCapacity.";
            return Err(errors::combination(message));
        }
        (Some(on_demand), Some(spot), _) => (on_demand, spot),
        (on_demand, spot, "on-demand") => {
            let spot = spot.unwrap_or(on_demand.map_or(0, rest));
            (on_demand.unwrap_or(rest(spot)), spot)
        }
        (on_demand, spot, "spot") => {
            let on_demand = on_demand.unwrap_or(spot.map_or(0, rest));
            (on_demand, spot.unwrap_or(rest(on_demand)))
        }
        (.., other) => return Err(errors::invalid_value("DefaultTargetCapacityType", other)),
    };
    Ok(FleetTarget { total, on_demand, spot, by_default })
}

/// What instances may be launched of, best first: by priority where the strategy says so, else by price.
fn candidates(cx: &Cx, input: &api::CreateFleetInput, on_spot: bool) -> Result<Vec<FleetChoice>> {
    let strategy = if on_spot {
        input.spot_options.as_ref().and_then(|options| options.allocation_strategy.as_deref())
    } else {
        input.on_demand_options.as_ref().and_then(|options| options.allocation_strategy.as_deref())
    };
    let by_priority = matches!(strategy, Some("prioritized" | "capacity-optimized-prioritized"));
    let mut all = Vec::new();
    for config in &input.launch_template_configs {
        let template = errors::required(config.launch_template_specification.as_ref(), "LaunchTemplateSpecification")?;
        let version = cx.view(|view| {
            let name = template.launch_template_name.as_deref();
            let found = launch_templates::named(view, cx.scope(), template.launch_template_id.as_deref(), name)?;
            launch_templates::version(view, cx.scope(), &found, template.version.as_deref())
        })?;
        let plain = vec![api::FleetLaunchTemplateOverridesRequest::default()];
        let overrides = config.overrides.as_ref().filter(|overrides| !overrides.is_empty()).unwrap_or(&plain);
        for over in overrides {
            if over.instance_requirements.is_some() {
                let message = "InstanceRequirements are not supported: name instance types.";
                return Err(Error::client("UnsupportedOperation", message));
            }
            all.push(candidate(cx, template, &version, over, on_spot));
        }
    }
    if all.len() > OVERRIDES_MAX {
        return Err(errors::invalid(format!("A fleet has at most {OVERRIDES_MAX} overrides.")));
    }
    if by_priority {
        all.sort_by(|a, b| a.priority.total_cmp(&b.priority));
    } else {
        all.sort_by_key(|candidate| candidate.price);
    }
    Ok(all.into_iter().map(|candidate| candidate.choice).collect())
}

fn candidate(
    cx: &Cx,
    template: &api::FleetLaunchTemplateSpecificationRequest,
    version: &LaunchTemplateVersion,
    over: &api::FleetLaunchTemplateOverridesRequest,
    on_spot: bool,
) -> Candidate {
    let of_template = version.data.get("InstanceType").and_then(|value| value.as_str()).map(str::to_owned);
    let instance_type = over.instance_type.clone().or(of_template);
    let placed = over.placement.as_ref().and_then(|placement| placement.availability_zone.clone());
    let zone = over.availability_zone.clone().or(placed);
    let price = instance_type.as_deref().and_then(InstanceType::named).map_or(u64::MAX, |known| {
        let zones = || Region::named(cx.region()).into_iter().flat_map(Region::zones).map(|zone| zone.name);
        let zones: Vec<String> = zone.clone().map_or_else(|| zones().collect(), |zone| vec![zone]);
        let cheapest = zones.iter().map(|zone| spot::price(&known, zone, cx.now()).0).min();
        if on_spot { cheapest.unwrap_or(u64::MAX) } else { spot::on_demand(&known).0 }
    });
    let choice = FleetChoice { instance_type, zone, spot: on_spot, ..choice(template, over) };
    Candidate { choice, priority: over.priority.unwrap_or(f64::MAX), price }
}

/// A template and an override as a request gives them.
fn choice(
    template: &api::FleetLaunchTemplateSpecificationRequest,
    over: &api::FleetLaunchTemplateOverridesRequest,
) -> FleetChoice {
    FleetChoice {
        template_id: template.launch_template_id.clone(),
        template_name: template.launch_template_name.clone(),
        version: template.version.clone(),
        instance_type: over.instance_type.clone(),
        subnet: over.subnet_id.clone(),
        zone: over.availability_zone.clone(),
        image: over.image_id.clone(),
        price_max: over.max_price.clone(),
        spot: false,
    }
}

fn config(given: &api::FleetLaunchTemplateConfigRequest) -> FleetConfig {
    let template = given.launch_template_specification.clone().unwrap_or_default();
    let one = |over: &api::FleetLaunchTemplateOverridesRequest| FleetOverride {
        choice: choice(&template, over),
        priority: over.priority,
        weight: over.weighted_capacity,
    };
    FleetConfig {
        template: choice(&template, &Default::default()),
        overrides: given.overrides.iter().flatten().map(one).collect(),
    }
}

fn config_shape(config: &FleetConfig) -> api::FleetLaunchTemplateConfig {
    let one = |over: &FleetOverride| api::FleetLaunchTemplateOverrides {
        priority: over.priority,
        weighted_capacity: over.weight,
        ..chosen(&over.choice).overrides.unwrap_or_default()
    };
    api::FleetLaunchTemplateConfig {
        launch_template_specification: chosen(&config.template).launch_template_specification,
        overrides: Some(config.overrides.iter().map(one).collect()),
    }
}

/// Launches `count` instances of the candidates, each as many as it gives.
async fn fill(cx: &Cx, fleet: &mut Fleet, count: i32, candidates: &[FleetChoice], specifications: &[(&str, &Tags)]) {
    let mut missing = count;
    for choice in candidates {
        if missing <= 0 {
            return;
        }
        match cx.call(api::RunInstances, launch(choice, missing, specifications)).await {
            Ok(answer) => {
                let instances: Vec<_> = answer.instances.unwrap_or_default();
                let instance_type = instances.first().and_then(|one| one.instance_type.clone()).unwrap_or_default();
                let ids: Vec<_> =
                    instances.iter().filter_map(|one| one.instance_id.as_deref()).map(Id::from_text).collect();
                missing -= ids.len() as i32;
                fleet.launched.push(FleetLaunch { choice: choice.clone(), instance_type, instances: ids });
            }
            Err(error) => fleet.errors.push(FleetError {
                choice: choice.clone(),
                code: error.code.into_owned(),
                message: error.message,
            }),
        }
    }
}

fn launch(choice: &FleetChoice, count: i32, specifications: &[(&str, &Tags)]) -> api::RunInstancesInput {
    let specification = |(kind, tags): &(&str, &Tags)| api::TagSpecification {
        resource_type: Some((*kind).to_owned()),
        tags: Some(tags::shape(tags)),
    };
    let market = api::InstanceMarketOptionsRequest {
        market_type: Some("spot".into()),
        spot_options: Some(api::SpotMarketOptions { max_price: choice.price_max.clone(), ..Default::default() }),
    };
    api::RunInstancesInput {
        min_count: 1,
        max_count: count,
        image_id: choice.image.clone(),
        instance_type: choice.instance_type.clone(),
        subnet_id: choice.subnet.clone(),
        placement: choice
            .zone
            .clone()
            .map(|zone| api::Placement { availability_zone: Some(zone), ..Default::default() }),
        launch_template: Some(api::LaunchTemplateSpecification {
            launch_template_id: choice.template_id.clone(),
            launch_template_name: choice.template_name.clone(),
            version: choice.version.clone(),
        }),
        instance_market_options: choice.spot.then_some(market),
        tag_specifications: Some(
            specifications.iter().filter(|(_, tags)| !tags.is_empty()).map(specification).collect(),
        ),
        ..Default::default()
    }
}

fn chosen(choice: &FleetChoice) -> api::LaunchTemplateAndOverridesResponse {
    api::LaunchTemplateAndOverridesResponse {
        launch_template_specification: Some(api::FleetLaunchTemplateSpecification {
            launch_template_id: choice.template_id.clone(),
            launch_template_name: choice.template_name.clone(),
            version: choice.version.clone(),
        }),
        overrides: Some(api::FleetLaunchTemplateOverrides {
            instance_type: choice.instance_type.clone(),
            max_price: choice.price_max.clone(),
            subnet_id: choice.subnet.clone(),
            availability_zone: choice.zone.clone(),
            image_id: choice.image.clone(),
            ..Default::default()
        }),
    }
}

fn lifecycle(choice: &FleetChoice) -> Option<String> {
    Some(if choice.spot { "spot" } else { "on-demand" }.into())
}

fn created(id: &str, fleet: &Fleet) -> api::CreateFleetOutput {
    let error = |error: &FleetError| api::CreateFleetError {
        launch_template_and_overrides: Some(chosen(&error.choice)),
        lifecycle: lifecycle(&error.choice),
        error_code: Some(error.code.clone()),
        error_message: Some(error.message.clone()),
    };
    let launched = |launched: &FleetLaunch| api::CreateFleetInstance {
        launch_template_and_overrides: Some(chosen(&launched.choice)),
        lifecycle: lifecycle(&launched.choice),
        instance_ids: Some(launched.instances.iter().map(String::from).collect()),
        instance_type: Some(launched.instance_type.clone()),
        ..Default::default()
    };
    api::CreateFleetOutput {
        fleet_id: Some(id.to_owned()),
        errors: Some(fleet.errors.iter().map(error).collect()),
        instances: Some(fleet.launched.iter().map(launched).collect()),
    }
}

fn not_found(id: &str) -> Error {
    Error::client("InvalidFleetId.NotFound", format!("The fleet ID '{id}' does not exist"))
}

fn shape(id: &str, fleet: &Fleet) -> api::FleetData {
    let count = |on_spot: Option<bool>| {
        let of = fleet.launched.iter().filter(|one| on_spot.is_none_or(|on_spot| one.choice.spot == on_spot));
        of.map(|one| one.instances.len()).sum::<usize>() as f64
    };
    let error = |error: &FleetError| api::DescribeFleetError {
        launch_template_and_overrides: Some(chosen(&error.choice)),
        lifecycle: lifecycle(&error.choice),
        error_code: Some(error.code.clone()),
        error_message: Some(error.message.clone()),
    };
    let launched = |launched: &FleetLaunch| api::DescribeFleetsInstances {
        launch_template_and_overrides: Some(chosen(&launched.choice)),
        lifecycle: lifecycle(&launched.choice),
        instance_ids: Some(launched.instances.iter().map(String::from).collect()),
        instance_type: Some(launched.instance_type.clone()),
        ..Default::default()
    };
    api::FleetData {
        activity_status: Some(if count(None) >= f64::from(fleet.target.total) { "fulfilled" } else { "error" }.into()),
        create_time: Some(fleet.created),
        fleet_id: Some(id.to_owned()),
        fleet_state: Some(if fleet.deleted { "deleted" } else { "active" }.into()),
        client_token: fleet.client_token.as_ref().map(|token| token.token.clone()),
        fulfilled_capacity: Some(count(None)),
        fulfilled_on_demand_capacity: Some(count(Some(false))),
        launch_template_configs: Some(fleet.configs.iter().map(config_shape).collect()),
        target_capacity_specification: Some(api::TargetCapacitySpecification {
            total_target_capacity: Some(fleet.target.total),
            on_demand_target_capacity: Some(fleet.target.on_demand),
            spot_target_capacity: Some(fleet.target.spot),
            default_target_capacity_type: Some(fleet.target.by_default.clone()),
            ..Default::default()
        }),
        r#type: Some("instant".into()),
        tags: (!fleet.tags.is_empty()).then(|| tags::shape(&fleet.tags)),
        errors: Some(fleet.errors.iter().map(error).collect()),
        instances: Some(fleet.launched.iter().map(launched).collect()),
        ..Default::default()
    }
}

pub async fn describe(cx: Cx, input: api::DescribeFleetsInput) -> Result<api::DescribeFleetsOutput> {
    let fleets: BTreeMap<_, _> = cx.view(|view| view.list::<Fleet>(cx.scope())).into_iter().collect();
    let rows = match input.fleet_ids.as_ref().filter(|ids| !ids.is_empty()) {
        // Fleets of type `instant` are shown to those only who name them.
        None => Vec::new(),
        Some(ids) => ids
            .iter()
            .map(|id| fleets.get(id.as_str()).map(|fleet| shape(id, fleet)).ok_or_else(|| not_found(id)))
            .collect::<Result<_>>()?,
    };
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (fleets, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeFleetsOutput { next_token, fleets: Some(fleets) })
}

impl Described for api::FleetData {
    const FIELDS: &'static [Field<Self>] = &[
        ("activity-status", |fleet| filters::one(&fleet.activity_status)),
        ("excess-capacity-termination-policy", |_| Vec::new()),
        ("fleet-state", |fleet| filters::one(&fleet.fleet_state)),
        ("replace-unhealthy-instances", |_| Vec::new()),
        ("type", |fleet| filters::one(&fleet.r#type)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.fleet_id.clone().unwrap_or_default()
    }
}

/// The instances of a fleet that have not been terminated.
fn alive(cx: &Cx, view: &View, fleet: &Fleet) -> Vec<(Id<id::Instance>, std::sync::Arc<Instance>)> {
    let all = fleet.launched.iter().flat_map(|launched| &launched.instances);
    let found = all.filter_map(|id| Some((id.clone(), view.get::<Instance>(cx.scope(), id)?)));
    found.filter(|(_, instance)| !instance.state.is_ending()).collect()
}

pub async fn describe_instances(
    cx: Cx,
    input: api::DescribeFleetInstancesInput,
) -> Result<api::DescribeFleetInstancesOutput> {
    let rows = cx.view(|view| {
        let fleet = view.get::<Fleet>(cx.scope(), &input.fleet_id).ok_or_else(|| not_found(&input.fleet_id))?;
        let row = |(id, instance): (Id<id::Instance>, std::sync::Arc<Instance>)| api::ActiveInstance {
            spot_instance_request_id: spot::of_instance(view, cx.scope(), &id).map(String::from),
            instance_type: Some(instance.instance_type.clone()),
            instance_health: Some("healthy".into()),
            instance_id: Some(id.into()),
        };
        Ok(alive(&cx, view, &fleet).into_iter().map(row).collect::<Vec<_>>())
    })?;
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (instances, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeFleetInstancesOutput {
        active_instances: Some(instances),
        next_token,
        fleet_id: Some(input.fleet_id),
    })
}

impl Described for api::ActiveInstance {
    const FIELDS: &'static [Field<Self>] = &[("instance-type", |instance| filters::one(&instance.instance_type))];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.instance_id.clone().unwrap_or_default()
    }
}

pub async fn delete(cx: Cx, input: api::DeleteFleetsInput) -> Result<api::DeleteFleetsOutput> {
    if !input.terminate_instances {
        return Err(errors::combination(
            "Instances of an instant fleet are terminated with it: TerminateInstances must be true.",
        ));
    }
    errors::dry_run(input.dry_run)?;
    let (mut gone, mut failed) = (Vec::new(), Vec::new());
    for id in &input.fleet_ids {
        let Some(fleet) = cx.view(|view| view.get::<Fleet>(cx.scope(), id)) else {
            let error = not_found(id);
            failed.push(api::DeleteFleetErrorItem {
                error: Some(api::DeleteFleetError {
                    code: Some("fleetIdDoesNotExist".into()),
                    message: Some(error.message),
                }),
                fleet_id: Some(id.clone()),
            });
            continue;
        };
        let ids: Vec<String> = cx.view(|view| alive(&cx, view, &fleet)).into_iter().map(|(id, _)| id.into()).collect();
        if !ids.is_empty() {
            let input = api::TerminateInstancesInput { instance_ids: ids, ..Default::default() };
            cx.call(api::TerminateInstances, input).await?;
        }
        cx.txn(|tx| {
            tx.put(cx.scope(), id, Fleet { deleted: true, ..(*fleet).clone() });
            Ok(())
        })
        .await?;
        gone.push(api::DeleteFleetSuccessItem {
            current_fleet_state: Some("deleted_terminating".into()),
            previous_fleet_state: Some(if fleet.deleted { "deleted" } else { "active" }.into()),
            fleet_id: Some(id.clone()),
        });
    }
    Ok(api::DeleteFleetsOutput { successful_fleet_deletions: Some(gone), unsuccessful_fleet_deletions: Some(failed) })
}
