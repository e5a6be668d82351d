//! Attributes of instances: one at a time as they are described, and what of them can be changed when.

use standfast_api::ec2 as api;
use standfast_core::id;
use standfast_core::{Error, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::errors::{self, find};
use super::filters::{self, Described, Field, Paging, USUAL_BOUNDS};
use super::model::{Instance, State, UserData, Volume, VolumeAttachment};
use super::template_data::USER_DATA_BYTES_MAX;
use super::{convert, instance_types, network_interfaces, power, run};

pub async fn describe(
    cx: Cx,
    input: api::DescribeInstanceAttributeInput,
) -> Result<api::DescribeInstanceAttributeOutput> {
    let id = errors::id::<id::Instance>(&input.instance_id)?;
    cx.view(|view| {
        let record = find::<Instance>(view, cx.scope(), &id)?;
        errors::dry_run(input.dry_run)?;
        let shape = convert::instance(view, cx.scope(), &id, &record);
        let text = |value: String| Some(api::AttributeValue { value: Some(value) });
        let flag = |value: bool| Some(api::AttributeBooleanValue { value: Some(value) });
        let options = &record.options;
        let mut output =
            api::DescribeInstanceAttributeOutput { instance_id: Some(id.clone().into()), ..Default::default() };
        match input.attribute.as_str() {
            "instanceType" => output.instance_type = text(record.instance_type.clone()),
            "kernel" => output.kernel_id = Some(api::AttributeValue::default()),
            "ramdisk" => output.ramdisk_id = Some(api::AttributeValue::default()),
            "userData" => {
                let value = (!record.user_data.0.is_empty()).then(|| record.user_data.base64());
                output.user_data = Some(api::AttributeValue { value });
            }
            "disableApiTermination" => output.disable_api_termination = flag(options.api_termination_disabled),
            "disableApiStop" => output.disable_api_stop = flag(options.api_stop_disabled),
            "instanceInitiatedShutdownBehavior" => {
                let behaviour = if options.terminate_on_shutdown { "terminate" } else { "stop" };
                output.instance_initiated_shutdown_behavior = text(behaviour.to_owned());
            }
            "rootDeviceName" => output.root_device_name = text(record.root_device.clone()),
            "blockDeviceMapping" => output.block_device_mappings = shape.block_device_mappings,
            "productCodes" => output.product_codes = Some(Vec::new()),
            "sourceDestCheck" => output.source_dest_check = flag(shape.source_dest_check.unwrap_or(true)),
            "groupSet" => output.groups = shape.security_groups,
            "ebsOptimized" => output.ebs_optimized = flag(options.ebs_optimized),
            "sriovNetSupport" => output.sriov_net_support = text("simple".into()),
            "enaSupport" => output.ena_support = flag(true),
            "enclaveOptions" => output.enclave_options = Some(api::EnclaveOptions { enabled: Some(options.enclave) }),
            other => return Err(errors::invalid_value("attribute", other)),
        }
        Ok(output)
    })
}

/// What a request changes, from its own members or from `Attribute` and `Value`.
#[derive(Default)]
struct Changes {
    instance_type: Option<String>,
    user_data: Option<Vec<u8>>,
    api_termination_disabled: Option<bool>,
    api_stop_disabled: Option<bool>,
    terminate_on_shutdown: Option<bool>,
    source_dest_check: Option<bool>,
    ebs_optimized: Option<bool>,
}

impl Changes {
    fn of(input: &api::ModifyInstanceAttributeInput) -> Result<Self> {
        let flag = |given: &Option<api::AttributeBooleanValue>| given.as_ref().and_then(|given| given.value);
        let text = |given: &Option<api::AttributeValue>| given.as_ref().and_then(|given| given.value.clone());
        let mut changes = Self {
            instance_type: text(&input.instance_type),
            user_data: input.user_data.as_ref().map(|data| data.value.clone().unwrap_or_default().0),
            api_termination_disabled: flag(&input.disable_api_termination),
            api_stop_disabled: flag(&input.disable_api_stop),
            terminate_on_shutdown: text(&input.instance_initiated_shutdown_behavior)
                .map(|behaviour| shutdown_behaviour(&behaviour))
                .transpose()?,
            source_dest_check: flag(&input.source_dest_check),
            ebs_optimized: flag(&input.ebs_optimized),
        };
        if let (Some(attribute), Some(value)) = (input.attribute.as_deref(), input.value.as_deref()) {
            changes.set(attribute, value)?;
        }
        Ok(changes)
    }

    fn set(&mut self, attribute: &str, value: &str) -> Result<()> {
        let flag = || value.parse::<bool>().map_err(|_| errors::invalid_value("value", value)).map(Some);
        match attribute {
            "instanceType" => self.instance_type = Some(value.to_owned()),
            "userData" => self.user_data = Some(super::template_data::user_data(value)?.0.to_vec()),
            "disableApiTermination" => self.api_termination_disabled = flag()?,
            "disableApiStop" => self.api_stop_disabled = flag()?,
            "instanceInitiatedShutdownBehavior" => self.terminate_on_shutdown = Some(shutdown_behaviour(value)?),
            "sourceDestCheck" => self.source_dest_check = flag()?,
            "ebsOptimized" => self.ebs_optimized = flag()?,
            other => return Err(errors::invalid_value("attribute", other)),
        }
        Ok(())
    }

    /// Whether it changes what only a stopped instance may have changed.
    fn needs_stop(&self) -> bool {
        self.instance_type.is_some() || self.user_data.is_some() || self.ebs_optimized.is_some()
    }

    fn apply(&self, instance: &mut Instance) -> Result<()> {
        if let Some(name) = &self.instance_type {
            let known = instance_types::find(name)?;
            instance.instance_type = known.to_string();
            let old = instance.options.cpu_credits.take();
            instance.options.cpu_credits = known.default_credits().map(|default| old.unwrap_or_else(|| default.into()));
        }
        if let Some(data) = &self.user_data {
            if data.len() > USER_DATA_BYTES_MAX {
                return Err(errors::invalid(format!("User data is limited to {USER_DATA_BYTES_MAX} bytes")));
            }
            instance.user_data = UserData(data.as_slice().into());
        }
        let options = &mut instance.options;
        options.api_termination_disabled = self.api_termination_disabled.unwrap_or(options.api_termination_disabled);
        options.api_stop_disabled = self.api_stop_disabled.unwrap_or(options.api_stop_disabled);
        options.terminate_on_shutdown = self.terminate_on_shutdown.unwrap_or(options.terminate_on_shutdown);
        options.ebs_optimized = self.ebs_optimized.unwrap_or(options.ebs_optimized);
        Ok(())
    }
}

fn shutdown_behaviour(text: &str) -> Result<bool> {
    match text {
        "stop" => Ok(false),
        "terminate" => Ok(true),
        other => Err(errors::invalid_value("instanceInitiatedShutdownBehavior", other)),
    }
}

pub async fn modify(cx: Cx, input: api::ModifyInstanceAttributeInput) -> Result<api::ModifyInstanceAttributeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Instance>(&input.instance_id)?);
    let changes = Changes::of(&input)?;
    let groups = network_interfaces::groups(input.groups.as_ref())?;
    cx.txn(|tx| {
        let mut instance = (*find::<Instance>(tx, scope, &id)?).clone();
        if changes.needs_stop() && instance.state != State::Stopped {
            let message = format!("The instance '{id}' is not in the 'stopped' state.");
            return Err(Error::client("IncorrectInstanceState", message));
        }
        if instance.state.is_ending() {
            let message = format!("The instance '{id}' is being terminated.");
            return Err(Error::client("IncorrectInstanceState", message));
        }
        changes.apply(&mut instance)?;
        if !groups.is_empty() {
            network_interfaces::regroup(tx, scope, &instance, &groups)?;
        }
        if let Some(check) = changes.source_dest_check {
            network_interfaces::check_source_and_destination(tx, scope, &instance, check)?;
        }
        for mapping in input.block_device_mappings.iter().flatten() {
            let name = mapping.device_name.as_deref().unwrap_or_default();
            let device = instance.devices.iter_mut().find(|device| device.device == name);
            let device = device.ok_or_else(|| {
                let message = format!("No device is currently mapped at {name}");
                Error::client("InvalidInstanceAttributeValue", message)
            })?;
            let Some(keep) = mapping.ebs.as_ref().and_then(|ebs| ebs.delete_on_termination) else { continue };
            device.delete_on_termination = keep;
            if let Some(volume) = tx.get::<Volume>(scope, &device.volume) {
                let mut volume = (*volume).clone();
                volume.attachment =
                    volume.attachment.map(|old| VolumeAttachment { delete_on_termination: keep, ..old });
                tx.put(scope, &device.volume, volume);
            }
        }
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, instance);
        Ok(())
    })
    .await?;
    Ok(api::ModifyInstanceAttributeOutput {})
}

/// Resets the one attribute that has a default here: the check of source and destination is on again.
pub async fn reset(cx: Cx, input: api::ResetInstanceAttributeInput) -> Result<api::ResetInstanceAttributeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Instance>(&input.instance_id)?);
    match input.attribute.as_str() {
        "sourceDestCheck" => (),
        "kernel" | "ramdisk" => {
            let message = format!("The attribute '{}' of HVM instances cannot be reset.", input.attribute);
            return Err(Error::client("UnsupportedOperation", message));
        }
        other => return Err(errors::invalid_value("attribute", other)),
    }
    cx.txn(|tx| {
        let instance = find::<Instance>(tx, scope, &id)?;
        errors::dry_run(input.dry_run)?;
        network_interfaces::check_source_and_destination(tx, scope, &instance, true)
    })
    .await?;
    Ok(api::ResetInstanceAttributeOutput {})
}

/// Changes what an instance is called inside. Its name itself can change only while it is stopped.
pub async fn modify_private_dns(
    cx: Cx,
    input: api::ModifyPrivateDnsNameOptionsInput,
) -> Result<api::ModifyPrivateDnsNameOptionsOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Instance>(&input.instance_id)?);
    if let Some(other) = input.private_dns_hostname_type.as_deref()
        && !matches!(other, "ip-name" | "resource-name")
    {
        return Err(errors::invalid_value("privateDnsHostnameType", other));
    }
    cx.txn(|tx| {
        let mut instance = (*find::<Instance>(tx, scope, &id)?).clone();
        if let Some(wanted) = input.private_dns_hostname_type.as_ref().filter(|w| **w != instance.options.hostname_type)
        {
            if instance.state != State::Stopped {
                let message = format!("The instance '{id}' is not in the 'stopped' state.");
                return Err(Error::client("IncorrectInstanceState", message));
            }
            instance.options.hostname_type = wanted.clone();
        }
        let options = &mut instance.options;
        options.dns_a_record = input.enable_resource_name_dns_a_record.unwrap_or(options.dns_a_record);
        options.dns_aaaa_record = input.enable_resource_name_dns_aaaa_record.unwrap_or(options.dns_aaaa_record);
        errors::dry_run(input.dry_run)?;
        tx.put(scope, &id, instance);
        Ok(())
    })
    .await?;
    Ok(api::ModifyPrivateDnsNameOptionsOutput { r#return: Some(true) })
}

pub async fn modify_credits(
    cx: Cx,
    input: api::ModifyInstanceCreditSpecificationInput,
) -> Result<api::ModifyInstanceCreditSpecificationOutput> {
    let scope = cx.scope();
    let (good, bad) = cx
        .txn(|tx| {
            errors::dry_run(input.dry_run)?;
            let (mut good, mut bad) = (Vec::new(), Vec::new());
            for asked in &input.instance_credit_specifications {
                let instance_id = Some(asked.instance_id.clone());
                match credits(tx, scope, asked) {
                    Ok((id, instance)) => {
                        tx.put(scope, &id, instance);
                        good.push(api::SuccessfulInstanceCreditSpecificationItem { instance_id });
                    }
                    Err(error) => bad.push(api::UnsuccessfulInstanceCreditSpecificationItem {
                        instance_id,
                        error: Some(api::UnsuccessfulInstanceCreditSpecificationItemError {
                            code: Some(error.code.into_owned()),
                            message: Some(error.message),
                        }),
                    }),
                }
            }
            Ok((good, bad))
        })
        .await?;
    Ok(api::ModifyInstanceCreditSpecificationOutput {
        successful_instance_credit_specifications: Some(good),
        unsuccessful_instance_credit_specifications: Some(bad),
    })
}

/// An instance with the credits that are asked for.
fn credits(
    view: &View,
    scope: &Scope,
    asked: &api::InstanceCreditSpecificationRequest,
) -> Result<(id::Id<id::Instance>, Instance)> {
    let id = errors::id::<id::Instance>(&asked.instance_id)?;
    let mut instance = (*find::<Instance>(view, scope, &id)?).clone();
    if instance.options.cpu_credits.is_none() {
        let message = format!("The instance '{id}' is not of a burstable performance type.");
        return Err(Error::client("InstanceCreditSpecification.NotSupported", message));
    }
    instance.options.cpu_credits = match asked.cpu_credits.as_deref() {
        Some(credits @ ("standard" | "unlimited")) => Some(credits.to_owned()),
        other => return Err(errors::invalid_value("cpuCredits", other.unwrap_or_default())),
    };
    Ok((id, instance))
}

async fn set_monitoring(
    cx: &Cx,
    ids: &[String],
    dry_run: Option<bool>,
    to: bool,
) -> Result<Vec<api::InstanceMonitoring>> {
    if ids.is_empty() {
        return Err(errors::missing("InstanceId"));
    }
    let scope = cx.scope();
    cx.txn(|tx| {
        let mut out = Vec::new();
        for (id, instance) in power::named(tx, scope, ids)? {
            let mut instance = (*instance).clone();
            instance.options.monitoring = to;
            let monitoring = Some(convert::monitoring(&instance));
            tx.put(scope, &id, instance);
            out.push(api::InstanceMonitoring { instance_id: Some(id.into()), monitoring });
        }
        errors::dry_run(dry_run)?;
        Ok(out)
    })
    .await
}

pub async fn monitor(cx: Cx, input: api::MonitorInstancesInput) -> Result<api::MonitorInstancesOutput> {
    let monitorings = set_monitoring(&cx, &input.instance_ids, input.dry_run, true).await?;
    Ok(api::MonitorInstancesOutput { instance_monitorings: Some(monitorings) })
}

pub async fn unmonitor(cx: Cx, input: api::UnmonitorInstancesInput) -> Result<api::UnmonitorInstancesOutput> {
    let monitorings = set_monitoring(&cx, &input.instance_ids, input.dry_run, false).await?;
    Ok(api::UnmonitorInstancesOutput { instance_monitorings: Some(monitorings) })
}

pub async fn modify_metadata(
    cx: Cx,
    input: api::ModifyInstanceMetadataOptionsInput,
) -> Result<api::ModifyInstanceMetadataOptionsOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Instance>(&input.instance_id)?);
    let given = api::InstanceMetadataOptionsRequest {
        http_tokens: input.http_tokens,
        http_put_response_hop_limit: input.http_put_response_hop_limit,
        http_endpoint: input.http_endpoint,
        http_protocol_ipv6: input.http_protocol_ipv6,
        instance_metadata_tags: input.instance_metadata_tags,
    };
    let options = cx
        .txn(|tx| {
            let mut instance = (*find::<Instance>(tx, scope, &id)?).clone();
            errors::dry_run(input.dry_run)?;
            instance.options.metadata = run::metadata(instance.options.metadata, Some(&given))?;
            let answer = convert::metadata(&instance.options);
            tx.put(scope, &id, instance);
            Ok(answer)
        })
        .await?;
    Ok(api::ModifyInstanceMetadataOptionsOutput {
        instance_id: Some(id.into()),
        instance_metadata_options: Some(options),
    })
}

pub async fn describe_credits(
    cx: Cx,
    input: api::DescribeInstanceCreditSpecificationsInput,
) -> Result<api::DescribeInstanceCreditSpecificationsOutput> {
    cx.view(|view| {
        let ids = input.instance_ids.clone().unwrap_or_default();
        let named = power::named(view, cx.scope(), &ids)?;
        let mut rows = Vec::new();
        for (id, instance) in &named {
            let credits = instance.options.cpu_credits.clone().ok_or_else(|| {
                let message = format!("The instance '{id}' does not have a burstable performance type.");
                Error::client("InvalidParameterCombination", message)
            })?;
            rows.push(api::InstanceCreditSpecification { instance_id: Some(id.into()), cpu_credits: Some(credits) });
        }
        if ids.is_empty() {
            // Without ids: the burstable instances that do not have the default of their family.
            let all = view.list::<Instance>(cx.scope());
            rows.extend(all.iter().filter_map(|(id, instance)| {
                let credits = instance.options.cpu_credits.clone().filter(|credits| credits == "unlimited")?;
                Some(api::InstanceCreditSpecification { instance_id: Some(id.to_string()), cpu_credits: Some(credits) })
            }));
        }
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: USUAL_BOUNDS };
        let (specifications, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        let instance_credit_specifications = Some(specifications);
        Ok(api::DescribeInstanceCreditSpecificationsOutput { instance_credit_specifications, next_token })
    })
}

impl Described for api::InstanceCreditSpecification {
    const FIELDS: &'static [Field<Self>] = &[("instance-id", |row| filters::one(&row.instance_id))];
    const TAGGED: bool = false;
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        None
    }
    fn key(&self) -> String {
        self.instance_id.clone().unwrap_or_default()
    }
}
