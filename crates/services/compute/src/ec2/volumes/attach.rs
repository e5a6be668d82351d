//! Attaching volumes to instances, and detaching them.

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use crate::ec2::errors::{self, find};
use crate::ec2::model::{BlockDevice, Instance, State, Volume, VolumeAttachment, VolumeState};

/// How many volumes an instance may have besides its root volume: what most types of the Nitro system allow.
const DATA_VOLUMES_MAX: usize = 27;

pub async fn attach(cx: Cx, input: api::AttachVolumeInput) -> Result<api::AttachVolumeOutput> {
    let (volume_id, instance_id) =
        (errors::id::<id::Volume>(&input.volume_id)?, errors::id::<id::Instance>(&input.instance_id)?);
    let device = device_name(&input.device)?;
    let (scope, now, real) = (cx.scope(), cx.now(), cx.host().abilities().volumes);
    cx.txn(|tx| {
        let volume = find::<Volume>(tx, scope, &volume_id)?;
        let instance = find::<Instance>(tx, scope, &instance_id)?;
        attachable(&volume_id, &volume)?;
        takes(&instance_id, &instance, &device)?;
        if volume.zone != instance.zone {
            let message =
                format!("The volume '{volume_id}' is not in the same availability zone as instance '{instance_id}'");
            return Err(Error::client("InvalidVolume.ZoneMismatch", message));
        }
        let as_root = device == instance.root_device;
        if real && as_root != volume.root {
            return Err(wrong_kind(&volume_id, as_root));
        }
        errors::dry_run(input.dry_run)?;
        let attachment = VolumeAttachment {
            instance: instance_id.clone(),
            device: device.clone(),
            attached: now,
            delete_on_termination: false,
            attaching: true,
        };
        let answer = super::attachment(&volume_id, &attachment);
        let mut changed = (*instance).clone();
        let block = BlockDevice {
            device: device.clone(),
            volume: volume_id.clone(),
            attached: now,
            delete_on_termination: false,
        };
        // The root volume is the first one.
        changed.devices.insert(if as_root { 0 } else { changed.devices.len() }, block);
        tx.put(scope, &instance_id, changed);
        tx.put(scope, &volume_id, Volume { attachment: Some(attachment), ..(*volume).clone() });
        Ok(answer)
    })
    .await
}

fn attachable(id: &Id<id::Volume>, volume: &Volume) -> Result<()> {
    if volume.attachment.is_some() {
        return Err(Error::client("VolumeInUse", format!("{id} is already attached to an instance")));
    }
    if volume.state != VolumeState::Ready {
        return Err(Error::client("IncorrectState", format!("{id} is not 'available'.")));
    }
    Ok(())
}

fn takes(id: &Id<id::Instance>, instance: &Instance, device: &str) -> Result<()> {
    if !matches!(instance.state, State::Running | State::Stopped | State::Stopping) {
        return Err(Error::client("IncorrectState", format!("Instance '{id}' is not 'running'.")));
    }
    if instance.devices.iter().any(|taken| taken.device == device) {
        return Err(errors::invalid(format!(
            "Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        )));
    }
    if device == instance.root_device && instance.state != State::Stopped {
        let message = format!("Instance '{id}' is not 'stopped'. Its root volume can be attached while it is stopped.");
        return Err(Error::client("IncorrectState", message));
    }
    if instance.devices.len() > DATA_VOLUMES_MAX {
        let message = format!("The instance '{id}' has the maximum number of attached volumes: {DATA_VOLUMES_MAX}.");
        return Err(Error::client("AttachmentLimitExceeded", message));
    }
    Ok(())
}

/// AWS-DIFF: root file systems are trees and other volumes are block devices, so neither can be used as the other.
fn wrong_kind(id: &Id<id::Volume>, as_root: bool) -> Error {
    let message = if as_root {
        format!("The volume '{id}' holds no root file system: it was not made with an instance or from an image.")
    } else {
        format!("The volume '{id}' holds a root file system, which can be attached as a root volume only.")
    };
    Error::client("UnsupportedOperation", message)
}

/// A device's name as instances know it: `/dev/sdf`, `/dev/xvdba`, `xvdf`, `sdf1`.
fn device_name(text: &str) -> Result<String> {
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    let letters_max = if name.starts_with("xvd") { 2 } else { 1 };
    let rest = name.strip_prefix("xvd").or_else(|| name.strip_prefix("sd"));
    let valid = rest.is_some_and(|rest| {
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let digits = &rest[letters..];
        let numbered = digits.is_empty() || digits.parse::<u8>().is_ok_and(|n| (1..=15).contains(&n));
        (1..=letters_max).contains(&letters) && numbered && !digits.starts_with('0')
    });
    if valid {
        Ok(text.to_owned())
    } else {
        Err(errors::invalid(format!(
            "Value ({text}) for parameter device is invalid. {text} is not a valid EBS device name."
        )))
    }
}

pub async fn detach(cx: Cx, input: api::DetachVolumeInput) -> Result<api::DetachVolumeOutput> {
    let (scope, id) = (cx.scope(), errors::id::<id::Volume>(&input.volume_id)?);
    cx.txn(|tx| {
        let volume = find::<Volume>(tx, scope, &id)?;
        let Some(attachment) = &volume.attachment else {
            let message = format!("Volume '{id}' is in the '{}' state.", super::state(&volume));
            return Err(Error::client("IncorrectState", message));
        };
        let other_instance = input.instance_id.as_deref().is_some_and(|text| *text != *attachment.instance);
        let other_device = input.device.as_deref().is_some_and(|text| text != attachment.device);
        if other_instance || other_device {
            let message =
                format!("The volume '{id}' is not attached there: it is attached to {}.", attachment.instance);
            return Err(Error::client("InvalidAttachment.NotFound", message));
        }
        if let Some(instance) = tx.get::<Instance>(scope, &attachment.instance) {
            let root = attachment.device == instance.root_device;
            if root && !matches!(instance.state, State::Stopped | State::Terminated) {
                let message = format!(
                    "Unable to detach root volume '{}' from instance '{}'",
                    attachment.device, attachment.instance
                );
                return Err(Error::client("OperationNotPermitted", message));
            }
            let mut changed = (*instance).clone();
            changed.devices.retain(|device| device.volume != id);
            errors::dry_run(input.dry_run)?;
            tx.put(scope, &attachment.instance, changed);
        }
        errors::dry_run(input.dry_run)?;
        // What was not synced is lost with or without force: the host takes the device away at once.
        let answer = api::VolumeAttachment { state: Some("detaching".into()), ..super::attachment(&id, attachment) };
        tx.put(scope, &id, Volume { attachment: None, ..(*volume).clone() });
        Ok(answer)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_those_of_ec2() {
        for name in ["/dev/sdf", "/dev/sda1", "/dev/xvda", "/dev/xvdba", "xvdf", "sdf15"] {
            assert_eq!(device_name(name).ok().as_deref(), Some(name));
        }
        for name in
            ["", "/dev/", "/dev/sd", "/dev/sdfg", "/dev/sdf16", "/dev/sdf01", "/dev/nvme1n1", "/tmp/sdf", "/dev/sdF"]
        {
            assert!(device_name(name).is_err_and(|error| error.is("InvalidParameterValue")), "{name}");
        }
    }
}
