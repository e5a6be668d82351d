//! Requests for spot instances: made, described, cancelled.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Zone;
use standfast_core::{Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::{Terms, document, new, plan, prices};
use crate::ec2::errors;
use crate::ec2::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use crate::ec2::model::{Interruption, SpotRequest, SpotState};
use crate::ec2::{defaults, tags, template_data, tokens};

const COUNT_MAX: i32 = 1000;

pub async fn request(cx: Cx, input: api::RequestSpotInstancesInput) -> Result<api::RequestSpotInstancesOutput> {
    defaults::ready(&cx).await?;
    let count = input.instance_count.unwrap_or(1);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(errors::invalid_value("instanceCount", &count.to_string()));
    }
    if input.block_duration_minutes.is_some() {
        return Err(errors::combination("Spot instances with a defined duration are no longer offered."));
    }
    let terms = Terms::read(
        input.r#type.as_deref(),
        input.instance_interruption_behavior.as_deref(),
        input.spot_price.as_ref(),
        input.valid_until,
    )?;
    let given = tags::specified(&cx, input.tag_specifications.as_ref(), "spot-instances-request", &[])?;
    let token = tokens::read(input.client_token.as_deref(), &input)?;
    let specification = errors::required(input.launch_specification.clone(), "LaunchSpecification")?;
    errors::required(specification.image_id.as_ref(), "LaunchSpecification.ImageId")?;
    let launch = document(launch(specification));
    let (scope, seed, now) = (cx.scope(), cx.rng().u64(), cx.now());
    cx.txn(|tx| {
        if let Some(token) = &token {
            let made = tx.by_index::<SpotRequest>(scope, "token", &token.token);
            if let Some((_, first)) = made.first() {
                tokens::same_request(token, first.client_token.as_ref())?;
                let requests = made.iter().map(|(id, request)| shape(tx, scope, id, request)).collect();
                return Ok(api::RequestSpotInstancesOutput { spot_instance_requests: Some(requests) });
            }
        }
        errors::dry_run(input.dry_run)?;
        let rng = Rng::seeded(seed);
        let mut out = Vec::new();
        for _ in 0..count {
            let id = Id::<id::SpotInstanceRequest>::new(&rng);
            let request = SpotRequest {
                valid_from: input.valid_from,
                launch_group: input.launch_group.clone(),
                zone_group: input.availability_zone_group.clone(),
                client_token: token.clone(),
                ..new(&terms, launch.clone(), now)
            };
            tags::put(tx, scope, &id, &given);
            out.push(shape(tx, scope, &id, &request));
            out.last_mut().expect("just pushed").tags = Some(tags::shape(&given));
            tx.put(scope, &id, request);
        }
        Ok(api::RequestSpotInstancesOutput { spot_instance_requests: Some(out) })
    })
    .await
}

/// The launch that a specification means.
fn launch(given: api::RequestSpotLaunchSpecification) -> api::RunInstancesInput {
    let placement = given.placement.map(|placement| api::Placement {
        availability_zone: placement.availability_zone,
        availability_zone_id: placement.availability_zone_id,
        group_name: placement.group_name,
        tenancy: placement.tenancy,
        ..Default::default()
    });
    api::RunInstancesInput {
        security_group_ids: given.security_group_ids,
        security_groups: given.security_groups,
        block_device_mappings: given.block_device_mappings,
        ebs_optimized: given.ebs_optimized,
        iam_instance_profile: given.iam_instance_profile,
        image_id: given.image_id,
        instance_type: given.instance_type,
        kernel_id: given.kernel_id,
        key_name: given.key_name,
        monitoring: given.monitoring,
        network_interfaces: given.network_interfaces,
        placement,
        ramdisk_id: given.ramdisk_id,
        subnet_id: given.subnet_id,
        user_data: given.user_data,
        ..Default::default()
    }
}

/// A request's launch as answers show it.
fn specification(request: &SpotRequest) -> Option<api::LaunchSpecification> {
    let kept = template_data::launch(&request.launch, api::RunInstancesInput::default()).ok()?;
    let ids = kept.security_group_ids.into_iter().flatten().map(|id| (Some(id), None));
    let names = kept.security_groups.into_iter().flatten().map(|name| (None, Some(name)));
    let groups = ids.chain(names).map(|(group_id, group_name)| api::GroupIdentifier { group_id, group_name }).collect();
    Some(api::LaunchSpecification {
        user_data: kept.user_data,
        block_device_mappings: kept.block_device_mappings,
        ebs_optimized: kept.ebs_optimized,
        iam_instance_profile: kept.iam_instance_profile,
        image_id: kept.image_id,
        instance_type: kept.instance_type,
        kernel_id: kept.kernel_id,
        key_name: kept.key_name,
        network_interfaces: kept.network_interfaces,
        placement: kept.placement.map(|placement| api::SpotPlacement {
            availability_zone: placement.availability_zone,
            availability_zone_id: placement.availability_zone_id,
            group_name: placement.group_name,
            tenancy: placement.tenancy,
        }),
        ramdisk_id: kept.ramdisk_id,
        subnet_id: kept.subnet_id,
        security_groups: Some(groups),
        monitoring: kept.monitoring.or(Some(api::RunInstancesMonitoringEnabled { enabled: false })),
        ..Default::default()
    })
}

fn shape(view: &View, scope: &Scope, id: &str, request: &SpotRequest) -> api::SpotInstanceRequest {
    let failed = request.state == SpotState::Failed;
    let status = &request.status;
    api::SpotInstanceRequest {
        availability_zone_group: request.zone_group.clone(),
        create_time: Some(request.created),
        fault: failed.then(|| api::SpotInstanceStateFault {
            code: Some(status.code.clone()),
            message: Some(status.message.clone()),
        }),
        instance_id: request.instance.as_ref().map(String::from),
        launch_group: request.launch_group.clone(),
        launch_specification: specification(request),
        launched_availability_zone_id: request.zone.as_deref().and_then(Zone::named).map(|zone| zone.id),
        launched_availability_zone: request.zone.clone(),
        product_description: Some(prices::PRODUCT.into()),
        spot_instance_request_id: Some(id.to_owned()),
        spot_price: request.price_max.clone(),
        state: Some(request.state.name().into()),
        status: Some(api::SpotInstanceStatus {
            code: Some(status.code.clone()),
            message: Some(status.message.clone()),
            update_time: Some(status.updated),
        }),
        tags: tags::of(view, scope, id),
        r#type: Some(if request.persistent { "persistent" } else { "one-time" }.into()),
        valid_from: request.valid_from,
        valid_until: request.valid_until,
        instance_interruption_behavior: Some(
            match request.interruption {
                Interruption::Terminate => "terminate",
                Interruption::Stop => "stop",
            }
            .into(),
        ),
        ..Default::default()
    }
}

pub async fn describe(
    cx: Cx,
    input: api::DescribeSpotInstanceRequestsInput,
) -> Result<api::DescribeSpotInstanceRequestsOutput> {
    cx.view(|view| {
        let rows = errors::select::<SpotRequest>(view, cx.scope(), input.spot_instance_request_ids.as_ref())?;
        let rows = rows.iter().map(|(id, request)| shape(view, cx.scope(), id, request));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (requests, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeSpotInstanceRequestsOutput { spot_instance_requests: Some(requests), next_token })
    })
}

/// Cancels requests. What they have launched runs on.
pub async fn cancel(
    cx: Cx,
    input: api::CancelSpotInstanceRequestsInput,
) -> Result<api::CancelSpotInstanceRequestsOutput> {
    let (scope, now) = (cx.scope(), cx.now());
    let ids = &input.spot_instance_request_ids;
    if ids.is_empty() {
        return Err(errors::missing("SpotInstanceRequestId"));
    }
    cx.txn(|tx| {
        let mut out = Vec::new();
        for (id, request) in errors::select::<SpotRequest>(tx, scope, Some(ids))? {
            let (code, message) = match request.state {
                SpotState::Open => {
                    ("canceled-before-fulfillment", "Your Spot request was canceled before it was fulfilled.")
                }
                SpotState::Active | SpotState::Disabled => (
                    "request-canceled-and-instance-running",
                    "Your Spot request is canceled, but your instance is still running.",
                ),
                SpotState::Closed | SpotState::Cancelled | SpotState::Failed => ("", ""),
            };
            let mut state = request.state;
            if !code.is_empty() {
                state = SpotState::Cancelled;
                tx.put(scope, &id, plan::moved(&request, state, code, message, now));
            }
            out.push(api::CancelledSpotInstanceRequest {
                spot_instance_request_id: Some(id.to_string()),
                state: Some(state.name().into()),
            });
        }
        errors::dry_run(input.dry_run)?;
        Ok(api::CancelSpotInstanceRequestsOutput { cancelled_spot_instance_requests: Some(out) })
    })
    .await
}

fn specified(
    request: &api::SpotInstanceRequest,
    field: fn(&api::LaunchSpecification) -> &Option<String>,
) -> Vec<String> {
    request.launch_specification.iter().flat_map(|launch| filters::one(field(launch))).collect()
}

impl Described for api::SpotInstanceRequest {
    const FIELDS: &'static [Field<Self>] = &[
        ("availability-zone-group", |request| filters::one(&request.availability_zone_group)),
        ("create-time", |request| filters::text(request.create_time)),
        ("fault-code", |request| request.fault.iter().flat_map(|fault| filters::one(&fault.code)).collect()),
        ("fault-message", |request| request.fault.iter().flat_map(|fault| filters::one(&fault.message)).collect()),
        ("instance-id", |request| filters::one(&request.instance_id)),
        ("launch-group", |request| filters::one(&request.launch_group)),
        ("launch.image-id", |request| specified(request, |launch| &launch.image_id)),
        ("launch.instance-type", |request| specified(request, |launch| &launch.instance_type)),
        ("launch.key-name", |request| specified(request, |launch| &launch.key_name)),
        ("launch.group-id", |request| {
            let launch = request.launch_specification.iter();
            launch.flat_map(|launch| filters::each(&launch.security_groups, |group| &group.group_id)).collect()
        }),
        ("launched-availability-zone", |request| filters::one(&request.launched_availability_zone)),
        ("launched-availability-zone-id", |request| filters::one(&request.launched_availability_zone_id)),
        ("network-interface.subnet-id", |request| specified(request, |launch| &launch.subnet_id)),
        ("product-description", |request| filters::one(&request.product_description)),
        ("spot-instance-request-id", |request| filters::one(&request.spot_instance_request_id)),
        ("spot-price", |request| filters::one(&request.spot_price)),
        ("state", |request| filters::one(&request.state)),
        ("status-code", |request| request.status.iter().flat_map(|status| filters::one(&status.code)).collect()),
        ("status-message", |request| request.status.iter().flat_map(|status| filters::one(&status.message)).collect()),
        ("type", |request| filters::one(&request.r#type)),
        ("valid-from", |request| filters::text(request.valid_from)),
        ("valid-until", |request| filters::text(request.valid_until)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.spot_instance_request_id.clone().unwrap_or_default()
    }
}
