//! Looking at instances: their descriptions, their status, their console.

use std::sync::Arc;
use std::time::Duration;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Zone;
use standfast_core::{Error, Result, Timestamp};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors;
use super::filters::{self, Described, Field, Filters, Paging, USUAL_BOUNDS};
use super::model::{Check, Impaired, Instance, State};
use super::{convert, power};

/// How long the event of a recovery is shown.
const RECOVERY_VISIBLE: Duration = Duration::from_secs(3600);

/// The instances of these ids, or all; without ids, a filter that names some spares a walk through the others.
fn select(
    view: &View,
    cx: &Cx,
    ids: Option<&Vec<String>>,
    filters: Option<&Vec<api::Filter>>,
) -> Result<Vec<(Id<id::Instance>, Arc<Instance>)>> {
    if let Some(ids) = ids.filter(|ids| !ids.is_empty()) {
        return power::named(view, cx.scope(), ids);
    }
    let found = match filters::exactly(filters, "instance-id") {
        Some(ids) => {
            let unique: std::collections::BTreeSet<&str> = ids.into_iter().collect();
            let get = |id: &str| Some((Id::from_text(id), view.get::<Instance>(cx.scope(), id)?));
            unique.into_iter().filter_map(get).collect()
        }
        None => {
            let all = view.list::<Instance>(cx.scope());
            all.into_iter().map(|(id, instance)| (Id::from_text(&id), instance)).collect()
        }
    };
    Ok(found)
}

fn no_pages_of_named(ids: Option<&Vec<String>>, max: Option<i32>) -> Result<()> {
    if max.is_some() && ids.is_some_and(|ids| !ids.is_empty()) {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(errors::combination(message));
    }
    Ok(())
}

/// An instance and its reservation: what DescribeInstances filters and pages by. The shape is large and moves often.
struct Row(Id<id::Reservation>, Box<api::Instance>);

pub async fn describe(cx: Cx, input: api::DescribeInstancesInput) -> Result<api::DescribeInstancesOutput> {
    no_pages_of_named(input.instance_ids.as_ref(), input.max_results)?;
    cx.view(|view| {
        let scope = cx.scope();
        let instances = select(view, &cx, input.instance_ids.as_ref(), input.filters.as_ref())?;
        let rows = instances
            .iter()
            .map(|(id, one)| Row(one.reservation.clone(), Box::new(convert::instance(view, scope, id, one))));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (rows, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        let reservations = convert::reservations(scope, rows.into_iter().map(|row| (row.0, row.1)).collect());
        Ok(api::DescribeInstancesOutput { reservations: Some(reservations), next_token })
    })
}

fn state(row: &Row) -> impl Iterator<Item = &api::InstanceState> {
    row.1.state.iter()
}

fn interfaces(row: &Row) -> impl Iterator<Item = &api::InstanceNetworkInterface> {
    row.1.network_interfaces.iter().flatten()
}

fn ebs(row: &Row) -> impl Iterator<Item = &api::EbsInstanceBlockDevice> {
    row.1.block_device_mappings.iter().flatten().filter_map(|mapping| mapping.ebs.as_ref())
}

impl Described for Row {
    const FIELDS: &'static [Field<Self>] = &[
        ("affinity", |_| Vec::new()),
        ("architecture", |row| filters::one(&row.1.architecture)),
        ("availability-zone", |row| row.1.placement.iter().flat_map(|p| filters::one(&p.availability_zone)).collect()),
        ("availability-zone-id", |row| {
            row.1.placement.iter().flat_map(|p| filters::one(&p.availability_zone_id)).collect()
        }),
        ("block-device-mapping.attach-time", |row| ebs(row).flat_map(|ebs| filters::text(ebs.attach_time)).collect()),
        ("block-device-mapping.delete-on-termination", |row| {
            ebs(row).flat_map(|ebs| filters::text(ebs.delete_on_termination)).collect()
        }),
        ("block-device-mapping.device-name", |row| filters::each(&row.1.block_device_mappings, |m| &m.device_name)),
        ("block-device-mapping.status", |row| ebs(row).flat_map(|ebs| filters::one(&ebs.status)).collect()),
        ("block-device-mapping.volume-id", |row| ebs(row).flat_map(|ebs| filters::one(&ebs.volume_id)).collect()),
        ("client-token", |row| filters::one(&row.1.client_token)),
        ("dns-name", |row| filters::one(&row.1.public_dns_name)),
        ("ebs-optimized", |row| filters::text(row.1.ebs_optimized)),
        ("ena-support", |row| filters::text(row.1.ena_support)),
        ("hypervisor", |row| filters::one(&row.1.hypervisor)),
        ("iam-instance-profile.arn", |row| {
            row.1.iam_instance_profile.iter().flat_map(|profile| filters::one(&profile.arn)).collect()
        }),
        ("iam-instance-profile.id", |row| {
            row.1.iam_instance_profile.iter().flat_map(|profile| filters::one(&profile.id)).collect()
        }),
        ("image-id", |row| filters::one(&row.1.image_id)),
        ("instance-id", |row| filters::one(&row.1.instance_id)),
        ("instance-lifecycle", |row| filters::one(&row.1.instance_lifecycle)),
        ("instance-state-code", |row| state(row).flat_map(|state| filters::text(state.code)).collect()),
        ("instance-state-name", |row| state(row).flat_map(|state| filters::one(&state.name)).collect()),
        ("instance-type", |row| filters::one(&row.1.instance_type)),
        ("instance.group-id", |row| filters::each(&row.1.security_groups, |group| &group.group_id)),
        ("instance.group-name", |row| filters::each(&row.1.security_groups, |group| &group.group_name)),
        ("ip-address", |row| filters::one(&row.1.public_ip_address)),
        ("kernel-id", |_| Vec::new()),
        ("key-name", |row| filters::one(&row.1.key_name)),
        ("launch-index", |row| filters::text(row.1.ami_launch_index)),
        ("launch-time", |row| filters::text(row.1.launch_time)),
        ("metadata-options.http-endpoint", |row| {
            row.1.metadata_options.iter().flat_map(|options| filters::one(&options.http_endpoint)).collect()
        }),
        ("metadata-options.http-tokens", |row| {
            row.1.metadata_options.iter().flat_map(|options| filters::one(&options.http_tokens)).collect()
        }),
        ("monitoring-state", |row| row.1.monitoring.iter().flat_map(|m| filters::one(&m.state)).collect()),
        ("network-interface.addresses.private-ip-address", |row| {
            interfaces(row).flat_map(|i| filters::one(&i.private_ip_address)).collect()
        }),
        ("network-interface.attachment.attachment-id", |row| {
            interfaces(row).filter_map(|i| i.attachment.as_ref()).flat_map(|a| filters::one(&a.attachment_id)).collect()
        }),
        ("network-interface.availability-zone", |row| {
            row.1.placement.iter().flat_map(|p| filters::one(&p.availability_zone)).collect()
        }),
        ("network-interface.group-id", |row| {
            interfaces(row).flat_map(|i| filters::each(&i.groups, |group| &group.group_id)).collect()
        }),
        ("network-interface.group-name", |row| {
            interfaces(row).flat_map(|i| filters::each(&i.groups, |group| &group.group_name)).collect()
        }),
        ("network-interface.mac-address", |row| interfaces(row).flat_map(|i| filters::one(&i.mac_address)).collect()),
        ("network-interface.network-interface-id", |row| {
            interfaces(row).flat_map(|i| filters::one(&i.network_interface_id)).collect()
        }),
        ("network-interface.private-dns-name", |row| {
            interfaces(row).flat_map(|i| filters::one(&i.private_dns_name)).collect()
        }),
        ("network-interface.status", |row| interfaces(row).flat_map(|i| filters::one(&i.status)).collect()),
        ("network-interface.subnet-id", |row| interfaces(row).flat_map(|i| filters::one(&i.subnet_id)).collect()),
        ("network-interface.vpc-id", |row| interfaces(row).flat_map(|i| filters::one(&i.vpc_id)).collect()),
        ("owner-id", |row| interfaces(row).take(1).flat_map(|i| filters::one(&i.owner_id)).collect()),
        ("placement-group-name", |row| row.1.placement.iter().flat_map(|p| filters::one(&p.group_name)).collect()),
        ("platform", |row| filters::one(&row.1.platform)),
        ("platform-details", |row| filters::one(&row.1.platform_details)),
        ("private-dns-name", |row| filters::one(&row.1.private_dns_name)),
        ("private-ip-address", |row| filters::one(&row.1.private_ip_address)),
        ("product-code", |_| Vec::new()),
        ("ramdisk-id", |_| Vec::new()),
        ("reason", |row| filters::one(&row.1.state_transition_reason)),
        ("requester-id", |_| Vec::new()),
        ("reservation-id", |row| vec![row.0.to_string()]),
        ("root-device-name", |row| filters::one(&row.1.root_device_name)),
        ("root-device-type", |row| filters::one(&row.1.root_device_type)),
        ("source-dest-check", |row| filters::text(row.1.source_dest_check)),
        ("spot-instance-request-id", |row| filters::one(&row.1.spot_instance_request_id)),
        ("state-reason-code", |row| row.1.state_reason.iter().flat_map(|reason| filters::one(&reason.code)).collect()),
        ("state-reason-message", |row| {
            row.1.state_reason.iter().flat_map(|reason| filters::one(&reason.message)).collect()
        }),
        ("subnet-id", |row| filters::one(&row.1.subnet_id)),
        ("tenancy", |row| row.1.placement.iter().flat_map(|p| filters::one(&p.tenancy)).collect()),
        ("virtualization-type", |row| filters::one(&row.1.virtualization_type)),
        ("vpc-id", |row| filters::one(&row.1.vpc_id)),
        // Older names that clients still send.
        ("group-id", |row| filters::each(&row.1.security_groups, |group| &group.group_id)),
        ("group-name", |row| filters::each(&row.1.security_groups, |group| &group.group_name)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.1.tags.as_ref()
    }
    fn key(&self) -> String {
        self.1.instance_id.clone().unwrap_or_default()
    }
}

pub async fn describe_status(
    cx: Cx,
    input: api::DescribeInstanceStatusInput,
) -> Result<api::DescribeInstanceStatusOutput> {
    no_pages_of_named(input.instance_ids.as_ref(), input.max_results)?;
    // Refuses unknown filters before anything is looked up.
    Filters::<api::InstanceStatus>::parse(input.filters.as_ref())?;
    let all = input.include_all_instances == Some(true);
    cx.view(|view| {
        let instances = select(view, &cx, input.instance_ids.as_ref(), input.filters.as_ref())?;
        let rows = instances
            .iter()
            .filter(|(_, instance)| all || instance.state == State::Running)
            .map(|(id, instance)| status(id, instance, cx.now()));
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (statuses, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeInstanceStatusOutput { instance_statuses: Some(statuses), next_token })
    })
}

/// How one of an instance's checks stands. An instance is reachable from the moment its host shows it running, so a
/// running one that is not impaired has passed its checks. Nothing answers on a system that fails.
fn checked(instance: &Instance, check: Check) -> api::InstanceStatusSummary {
    let fails = |impaired: &Impaired| impaired.check == check || impaired.check == Check::System;
    let impaired = instance.impaired.filter(|_| instance.state == State::Running).filter(fails);
    let (status, detail) = match instance.state {
        State::Running if impaired.is_some() => ("impaired", Some("failed")),
        State::Running => ("ok", Some("passed")),
        State::Pending => ("initializing", Some("initializing")),
        _ => ("not-applicable", None),
    };
    let details = detail.map(|detail| api::InstanceStatusDetails {
        name: Some("reachability".into()),
        status: Some(detail.into()),
        impaired_since: impaired.map(|impaired| impaired.since),
    });
    api::InstanceStatusSummary { details: details.map(|details| vec![details]), status: Some(status.into()) }
}

/// The event of a recovery, for as long as it is shown.
fn recovery(id: &Id<id::Instance>, instance: &Instance, now: Timestamp) -> Option<Vec<api::InstanceStatusEvent>> {
    let at = instance.recovered.filter(|at| now < *at + RECOVERY_VISIBLE)?;
    let digits = id.as_str().trim_start_matches("i-");
    Some(vec![api::InstanceStatusEvent {
        code: Some("system-reboot".into()),
        description: Some("[Completed] The instance was recovered from a failed system status check.".into()),
        instance_event_id: Some(format!("instance-event-{digits}")),
        not_before: Some(at),
        ..Default::default()
    }])
}

fn status(id: &Id<id::Instance>, instance: &Instance, now: Timestamp) -> api::InstanceStatus {
    api::InstanceStatus {
        availability_zone: Some(instance.zone.clone()),
        availability_zone_id: Zone::named(&instance.zone).map(|zone| zone.id),
        instance_id: Some(id.into()),
        instance_state: Some(convert::state(instance.state)),
        events: recovery(id, instance, now),
        instance_status: Some(checked(instance, Check::Instance)),
        system_status: Some(checked(instance, Check::System)),
        ..Default::default()
    }
}

fn reachability(summary: &Option<api::InstanceStatusSummary>) -> Vec<String> {
    summary.iter().flat_map(|summary| filters::each(&summary.details, |detail| &detail.status)).collect()
}

impl Described for api::InstanceStatus {
    const FIELDS: &'static [Field<Self>] = &[
        ("availability-zone", |status| filters::one(&status.availability_zone)),
        ("availability-zone-id", |status| filters::one(&status.availability_zone_id)),
        ("event.code", |status| filters::each(&status.events, |event| &event.code)),
        ("event.description", |status| filters::each(&status.events, |event| &event.description)),
        ("event.instance-event-id", |status| filters::each(&status.events, |event| &event.instance_event_id)),
        ("event.not-after", |_| Vec::new()),
        ("event.not-before", |status| {
            status.events.iter().flatten().flat_map(|event| filters::text(event.not_before)).collect()
        }),
        ("instance-state-code", |status| status.instance_state.iter().flat_map(|s| filters::text(s.code)).collect()),
        ("instance-state-name", |status| status.instance_state.iter().flat_map(|s| filters::one(&s.name)).collect()),
        ("instance-status.reachability", |status| reachability(&status.instance_status)),
        ("instance-status.status", |status| {
            status.instance_status.iter().flat_map(|summary| filters::one(&summary.status)).collect()
        }),
        ("system-status.reachability", |status| reachability(&status.system_status)),
        ("system-status.status", |status| {
            status.system_status.iter().flat_map(|summary| filters::one(&summary.status)).collect()
        }),
    ];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.instance_id.clone().unwrap_or_default()
    }
}

pub async fn console_output(cx: Cx, input: api::GetConsoleOutputInput) -> Result<api::GetConsoleOutputOutput> {
    use base64::Engine;
    let id = errors::id::<id::Instance>(&input.instance_id)?;
    cx.view(|view| errors::find::<Instance>(view, cx.scope(), &id))?;
    errors::dry_run(input.dry_run)?;
    let output = cx.host().console(&id);
    Ok(api::GetConsoleOutputOutput {
        instance_id: Some(id.into()),
        timestamp: Some(cx.now()),
        output: Some(base64::prelude::BASE64_STANDARD.encode(output)),
    })
}

/// What an owner reports of an instance is heard and changes nothing, as on EC2.
pub async fn report_status(cx: Cx, input: api::ReportInstanceStatusInput) -> Result<api::ReportInstanceStatusOutput> {
    if !matches!(input.status.as_str(), "ok" | "impaired") {
        return Err(errors::invalid_value("status", &input.status));
    }
    if input.instances.is_empty() {
        return Err(errors::missing("InstanceId"));
    }
    let instances = cx.view(|view| power::named(view, cx.scope(), &input.instances))?;
    if let Some((id, _)) = instances.iter().find(|(_, instance)| instance.state != State::Running) {
        let message = format!("The instance '{id}' is not in the 'running' state.");
        return Err(Error::client("IncorrectInstanceState", message));
    }
    errors::dry_run(input.dry_run)?;
    Ok(api::ReportInstanceStatusOutput {})
}
