//! The volumes of an instance to be: those of its image, with what the request says about them and about further ones.

use standfast_api::ec2 as api;
use standfast_core::{Error, Result, Scope};
use standfast_store::View;

use super::images::LaunchImage;
use super::model::ImageDevice;
use super::{errors, snapshots, volumes};

/// A volume of an instance to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    pub name: String,
    pub size_gib: i32,
    pub volume_type: String,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    pub snapshot: Option<String>,
    pub delete_on_termination: bool,
}

/// The devices of a launch, the root device first. Ephemeral ones (`VirtualName`) are ignored: no type here has any.
pub fn read(
    view: &View,
    scope: &Scope,
    image: &LaunchImage,
    mappings: Option<&Vec<api::BlockDeviceMapping>>,
) -> Result<Vec<Device>> {
    let mut out: Vec<Device> = image.devices.iter().map(of_image).collect();
    for mapping in mappings.into_iter().flatten() {
        let name = errors::required(mapping.device_name.clone(), "BlockDeviceMapping.DeviceName")?;
        let at = out.iter().position(|device| device.name == name);
        if mapping.no_device.is_some() {
            if let Some(at) = at.filter(|_| name != image.root_device) {
                out.remove(at);
            }
            continue;
        }
        let Some(ebs) = &mapping.ebs else { continue };
        match at {
            Some(at) => override_device(&mut out[at], ebs)?,
            None => out.push(further(view, scope, name, ebs)?),
        }
    }
    for device in &mut out {
        let made = volumes::performance(&device.volume_type, device.size_gib, device.iops, device.throughput)?;
        (device.iops, device.throughput) = (made.iops, made.throughput);
    }
    // The root volume is the first one.
    out.sort_by_key(|device| device.name != image.root_device);
    Ok(out)
}

fn of_image(device: &ImageDevice) -> Device {
    Device {
        name: device.name.clone(),
        size_gib: device.size_gib,
        volume_type: device.volume_type.clone(),
        iops: device.iops,
        throughput: device.throughput,
        encrypted: device.encrypted,
        kms_key: None,
        snapshot: device.snapshot.clone(),
        delete_on_termination: device.delete_on_termination,
    }
}

/// A volume that the image does not have.
fn further(view: &View, scope: &Scope, name: String, ebs: &api::EbsBlockDevice) -> Result<Device> {
    let from = match ebs.snapshot_id.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(snapshots::usable(view, scope, text)?),
        None => None,
    };
    let size_gib = ebs.volume_size.or(from.as_ref().map(|from| from.size_gib));
    let mut device = Device {
        name,
        size_gib: from.as_ref().map_or(1, |from| from.size_gib),
        volume_type: volumes::DEFAULT_TYPE.to_owned(),
        iops: None,
        throughput: None,
        encrypted: from.as_ref().is_some_and(|from| from.encrypted),
        kms_key: from.as_ref().and_then(|from| from.kms_key.clone()),
        snapshot: from.map(|from| from.id),
        delete_on_termination: true,
    };
    errors::required(size_gib, "BlockDeviceMapping.Ebs.VolumeSize")?;
    override_device(&mut device, ebs)?;
    Ok(device)
}

fn override_device(device: &mut Device, ebs: &api::EbsBlockDevice) -> Result<()> {
    if let Some(size) = ebs.volume_size {
        if size < device.size_gib && device.snapshot.is_some() {
            let snapshot = device.snapshot.as_deref().unwrap_or_default();
            let smallest = device.size_gib;
            let message =
                format!("Volume of size {size}GB is smaller than snapshot '{snapshot}', expect size>= {smallest}GB");
            return Err(Error::client("InvalidBlockDeviceMapping", message));
        }
        device.size_gib = size;
    }
    if let Some(volume_type) = ebs.volume_type.clone().filter(|name| *name != device.volume_type) {
        // What the image says of performance goes with its type.
        (device.volume_type, device.iops, device.throughput) = (volume_type, None, None);
    }
    device.iops = ebs.iops.or(device.iops);
    device.throughput = ebs.throughput.or(device.throughput);
    device.encrypted |= ebs.encrypted.unwrap_or(false);
    device.kms_key = ebs.kms_key_id.clone().or(device.kms_key.take());
    device.delete_on_termination = ebs.delete_on_termination.unwrap_or(device.delete_on_termination);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::catalogue::BASE_IMAGES;

    fn mapping(name: &str, ebs: api::EbsBlockDevice) -> api::BlockDeviceMapping {
        api::BlockDeviceMapping { device_name: Some(name.into()), ebs: Some(ebs), ..Default::default() }
    }

    fn devices(mappings: Option<&Vec<api::BlockDeviceMapping>>) -> Result<Vec<Device>> {
        let scope = Scope::new("000000000000", "eu-west-1");
        read(&View::default(), &scope, &LaunchImage::of_catalogue("eu-west-1", &BASE_IMAGES[0]), mappings)
    }

    #[test]
    fn block_devices_are_laid_over_the_image_s() {
        let plain = devices(None).expect("valid");
        assert_eq!((plain.len(), plain[0].size_gib, plain[0].iops), (1, 8, Some(3000)));
        let larger = api::EbsBlockDevice { volume_size: Some(20), encrypted: Some(true), ..Default::default() };
        let data =
            api::EbsBlockDevice { volume_size: Some(5), delete_on_termination: Some(false), ..Default::default() };
        let given = vec![mapping("/dev/sdf", data), mapping("/dev/xvda", larger)];
        let devices = devices(Some(&given)).expect("valid");
        assert_eq!((devices[0].size_gib, devices[0].encrypted, devices[0].snapshot.is_some()), (20, true, true));
        assert_eq!((devices[1].size_gib, devices[1].volume_type.as_str()), (5, "gp2"));
        assert!(!devices[1].delete_on_termination && devices[1].snapshot.is_none());
    }

    #[test]
    fn a_type_of_its_own_leaves_the_image_s_performance_behind() {
        let gp2 = api::EbsBlockDevice { volume_type: Some("gp2".into()), ..Default::default() };
        let devices = devices(Some(&vec![mapping("/dev/xvda", gp2)])).expect("valid");
        assert_eq!((devices[0].iops, devices[0].throughput), (Some(100), None));
    }

    #[test]
    fn a_root_volume_is_not_smaller_than_its_snapshot() {
        let small = api::EbsBlockDevice { volume_size: Some(1), ..Default::default() };
        let error = devices(Some(&vec![mapping("/dev/xvda", small)]));
        assert!(error.is_err_and(|error| error.is("InvalidBlockDeviceMapping")));
    }
}
