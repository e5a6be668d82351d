//! Making images: of an instance, of a snapshot, of another image; and taking them away again.

use std::collections::BTreeSet;

use standfast_api::ec2 as api;
use standfast_core::id::{self, Id};
use standfast_core::place::Region;
use standfast_core::{Error, Result, Rng, Scope};
use standfast_kernel::Cx;
use standfast_store::{Txn, View};

use super::{Found, LaunchImage, own};
use crate::ec2::errors::{self, find};
use crate::ec2::instance_types::InstanceType;
use crate::ec2::model::{Image, ImageDevice, ImageSource, ImageState, Instance, State, Tags, Volume};
use crate::ec2::snapshots::{self, Taking};
use crate::ec2::{catalogue, defaults, tags, tokens, volumes};

const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 3..=128;
/// The types of resources that making an image can tag.
const TAGGED_TYPES: &[&str] = &["image", "snapshot"];

pub fn check_name(name: &str) -> Result<()> {
    let valid = |c: char| c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(c);
    if NAME_LENGTHS.contains(&name.chars().count()) && name.chars().all(valid) {
        return Ok(());
    }
    let message = "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', '-', '/' and '_'";
    Err(Error::client("InvalidAMIName.Malformed", message))
}

pub fn name_is_free(view: &View, scope: &Scope, name: &str) -> Result<()> {
    match view.by_unique::<Image>(scope, "name", name) {
        None => Ok(()),
        Some((id, _)) => {
            let message = format!("AMI name {name} is already in use by AMI {id}");
            Err(Error::client("InvalidAMIName.Duplicate", message))
        }
    }
}

/// The image with what all new images have.
pub fn new(name: &str, devices: Vec<ImageDevice>, source: ImageSource, now: standfast_core::Timestamp) -> Image {
    Image {
        name: name.to_owned(),
        description: String::new(),
        architecture: "x86_64".into(),
        root_device: String::new(),
        devices,
        created: now,
        state: ImageState::Pending,
        source,
        launched_by: BTreeSet::new(),
        ena: true,
        boot_mode: None,
        tpm: None,
        imds: None,
        client_token: None,
    }
}

/// What a type is asked for, without what it gives by itself.
fn asked_iops(volume_type: &str, iops: Option<i32>) -> Option<i32> {
    iops.filter(|_| matches!(volume_type, "gp3" | "io1" | "io2"))
}

fn specified(cx: &Cx, input: Option<&Vec<api::TagSpecification>>) -> Result<(Tags, Tags)> {
    let of = |kind| tags::specified(cx, input, kind, TAGGED_TYPES);
    Ok((of("image")?, of("snapshot")?))
}

/// Makes an image of an instance: snapshots of its volumes, of which the root volume's is what instances begin with. A
/// running instance is rebooted, unless the request says not to.
pub async fn create(cx: Cx, input: api::CreateImageInput) -> Result<api::CreateImageOutput> {
    check_name(&input.name)?;
    let instance_id = errors::id::<id::Instance>(&input.instance_id)?;
    let (image_tags, snapshot_tags) = specified(&cx, input.tag_specifications.as_ref())?;
    let (scope, id, seed, now) = (cx.scope(), Id::<id::Image>::new(cx.rng()), cx.rng().u64(), cx.now());
    cx.txn(|tx| {
        let instance = find::<Instance>(tx, scope, &instance_id)?;
        if !matches!(instance.state, State::Running | State::Stopped) {
            let message = format!("Instance '{instance_id}' is not 'running' or 'stopped'.");
            return Err(Error::client("IncorrectState", message));
        }
        name_is_free(tx, scope, &input.name)?;
        let description = format!("Created by CreateImage({instance_id}) for {id}");
        let taking = Taking { description: &description, tags: &snapshot_tags, now };
        let devices = taken(tx, scope, &Rng::seeded(seed), &instance, &input, &taking)?;
        errors::dry_run(input.dry_run)?;
        let known = InstanceType::named(&instance.instance_type);
        let image = Image {
            description: input.description.clone().unwrap_or_default(),
            architecture: known.map_or("x86_64", |known| known.architecture).to_owned(),
            root_device: instance.root_device.clone(),
            ..new(&input.name, devices, ImageSource::Instance(instance_id.clone()), now)
        };
        if instance.state == State::Running && input.no_reboot != Some(true) {
            tx.put(scope, &instance_id, Instance { boot: instance.boot + 1, ..(*instance).clone() });
        }
        tags::put(tx, scope, &id, &image_tags);
        tx.put(scope, &id, image);
        Ok(())
    })
    .await?;
    Ok(api::CreateImageOutput { image_id: Some(id.into()) })
}

/// The devices of an image of an instance: a snapshot of each of its volumes, with what the request says of them.
fn taken(
    tx: &mut Txn,
    scope: &Scope,
    rng: &Rng,
    instance: &Instance,
    input: &api::CreateImageInput,
    taking: &Taking,
) -> Result<Vec<ImageDevice>> {
    let mut given: Vec<&api::BlockDeviceMapping> = input.block_device_mappings.iter().flatten().collect();
    let mut devices = Vec::new();
    for attached in &instance.devices {
        let said = given.iter().position(|mapping| mapping.device_name.as_ref() == Some(&attached.device));
        let said = said.map(|at| given.swap_remove(at));
        if said.is_some_and(|said| said.no_device.is_some()) && attached.device != instance.root_device {
            continue;
        }
        let volume = find::<Volume>(tx, scope, &attached.volume)?;
        let (snapshot, _) = snapshots::take(tx, scope, rng, (&attached.volume, &volume), taking);
        let mut device = ImageDevice {
            name: attached.device.clone(),
            snapshot: Some(snapshot.into()),
            size_gib: volume.size_gib,
            iops: asked_iops(&volume.volume_type, volume.iops),
            throughput: volume.throughput,
            volume_type: volume.volume_type.clone(),
            encrypted: volume.encrypted,
            delete_on_termination: attached.delete_on_termination,
        };
        if let Some(ebs) = said.and_then(|said| said.ebs.as_ref()) {
            say(&mut device, ebs)?;
        }
        devices.push(device);
    }
    for mapping in given {
        devices.extend(registered(tx, scope, mapping)?);
    }
    Ok(devices)
}

/// Changes a device to what a mapping says of it.
fn say(device: &mut ImageDevice, ebs: &api::EbsBlockDevice) -> Result<()> {
    if let Some(size) = ebs.volume_size {
        if size < device.size_gib && device.snapshot.is_some() {
            let message =
                format!("Volume of size {size}GB is smaller than snapshot, expect size>= {}GB", device.size_gib);
            return Err(Error::client("InvalidBlockDeviceMapping", message));
        }
        device.size_gib = size;
    }
    if let Some(volume_type) = ebs.volume_type.clone().filter(|name| *name != device.volume_type) {
        (device.volume_type, device.iops, device.throughput) = (volume_type, None, None);
    }
    device.iops = ebs.iops.or(device.iops);
    device.throughput = ebs.throughput.or(device.throughput);
    device.encrypted |= ebs.encrypted == Some(true);
    device.delete_on_termination = ebs.delete_on_termination.unwrap_or(device.delete_on_termination);
    volumes::performance(&device.volume_type, device.size_gib, device.iops, device.throughput).map(|_| ())
}

/// The device that a mapping speaks of; none when it is ephemeral or taken away.
fn registered(view: &View, scope: &Scope, mapping: &api::BlockDeviceMapping) -> Result<Option<ImageDevice>> {
    let name = errors::required(mapping.device_name.clone(), "BlockDeviceMapping.DeviceName")?;
    let Some(ebs) = mapping.ebs.as_ref().filter(|_| mapping.no_device.is_none()) else { return Ok(None) };
    let from = match ebs.snapshot_id.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => Some(snapshots::usable(view, scope, text)?),
        None => None,
    };
    let size_gib = errors::required(
        from.as_ref().map(|from| from.size_gib).or(ebs.volume_size),
        "BlockDeviceMapping.Ebs.VolumeSize",
    )?;
    let mut device = ImageDevice {
        name,
        size_gib,
        volume_type: volumes::DEFAULT_TYPE.to_owned(),
        iops: None,
        throughput: None,
        encrypted: from.as_ref().is_some_and(|from| from.encrypted),
        snapshot: from.map(|from| from.id),
        delete_on_termination: true,
    };
    say(&mut device, ebs)?;
    Ok(Some(device))
}

/// Makes an image of snapshots that there are.
///
/// AWS-DIFF: a request that names no architecture gets `x86_64`, not `i386`, which nothing here can run.
pub async fn register(cx: Cx, input: api::RegisterImageInput) -> Result<api::RegisterImageOutput> {
    defaults::ready(&cx).await?;
    check_name(&input.name)?;
    let architecture = architecture(input.architecture.as_deref())?;
    if input.virtualization_type.as_deref() == Some("paravirtual") {
        return Err(errors::invalid_value("virtualizationType", "paravirtual"));
    }
    let root_device = errors::required(input.root_device_name.clone(), "RootDeviceName")?;
    let (image_tags, _) = specified(&cx, input.tag_specifications.as_ref())?;
    let (scope, id, now) = (cx.scope(), Id::<id::Image>::new(cx.rng()), cx.now());
    let real = cx.host().abilities().volumes;
    cx.txn(|tx| {
        name_is_free(tx, scope, &input.name)?;
        let mut devices = Vec::new();
        for mapping in input.block_device_mappings.iter().flatten() {
            devices.extend(registered(tx, scope, mapping)?);
        }
        let root = devices.iter().find(|device| device.name == root_device && device.snapshot.is_some());
        let Some(from) = root.and_then(|root| root.snapshot.as_deref()) else {
            let message = format!("A snapshot must be specified for the root device '{root_device}'.");
            return Err(Error::client("InvalidBlockDeviceMapping", message));
        };
        if real && !snapshots::usable(tx, scope, from)?.root {
            // AWS-DIFF: root file systems are trees here, and other volumes are block devices.
            let message = format!("The snapshot '{from}' holds no root file system that instances could begin with.");
            return Err(Error::client("UnsupportedOperation", message));
        }
        errors::dry_run(input.dry_run)?;
        let image = Image {
            description: input.description.clone().unwrap_or_default(),
            architecture: architecture.to_owned(),
            root_device: root_device.clone(),
            ena: input.ena_support == Some(true),
            boot_mode: input.boot_mode.clone(),
            tpm: input.tpm_support.clone(),
            imds: input.imds_support.clone(),
            ..new(&input.name, devices, ImageSource::Registered, now)
        };
        tags::put(tx, scope, &id, &image_tags);
        tx.put(scope, &id, image);
        Ok(())
    })
    .await?;
    Ok(api::RegisterImageOutput { image_id: Some(id.into()) })
}

pub fn architecture(asked: Option<&str>) -> Result<&'static str> {
    match asked {
        None | Some("" | "x86_64") => Ok("x86_64"),
        Some("arm64") => Ok("arm64"),
        Some(other) => Err(errors::invalid_value("architecture", other)),
    }
}

/// Copies an image of another region (or this one), with the snapshots that it is made of.
pub async fn copy(cx: Cx, input: api::CopyImageInput) -> Result<api::CopyImageOutput> {
    defaults::ready(&cx).await?;
    check_name(&input.name)?;
    let token = tokens::read(input.client_token.as_deref(), &input)?;
    let region = Region::named(&input.source_region)
        .ok_or_else(|| errors::invalid_value("SourceRegion", &input.source_region))?;
    let source = Scope::new(cx.account(), region.name);
    let (image_tags, snapshot_tags) = specified(&cx, input.tag_specifications.as_ref())?;
    let (scope, id, seed, now) = (cx.scope(), Id::<id::Image>::new(cx.rng()), cx.rng().u64(), cx.now());
    cx.txn(|tx| {
        if let Some(token) = &token
            && let Some((made, image)) = tx.by_index::<Image>(scope, "token", &token.token).first()
        {
            tokens::same_request(token, image.client_token.as_ref())?;
            return Ok(made.to_string());
        }
        let found = super::find(tx, &source, &input.source_image_id)?;
        name_is_free(tx, scope, &input.name)?;
        let rng = Rng::seeded(seed);
        let mut copied = original(&found, &source, &input, now)?;
        for device in &mut copied.devices {
            device.encrypted |= input.encrypted == Some(true);
            let Some(from) = device.snapshot.take() else { continue };
            device.snapshot = Some(match catalogue::of_snapshot(&source.region, &from) {
                // The images that every region has hold nothing, so there is nothing to copy.
                Some(image) => image.snapshot(&scope.region),
                None => {
                    let from = snapshots::source(&cx, &source.region, &from)?;
                    let mut snapshot = snapshots::copied(tx, &from, now)?;
                    snapshot.encrypted |= device.encrypted;
                    let snapshot_id = Id::<id::Snapshot>::new(&rng);
                    tags::put(tx, scope, &snapshot_id, &snapshot_tags);
                    tx.put(scope, &snapshot_id, snapshot);
                    snapshot_id.into()
                }
            });
        }
        errors::dry_run(input.dry_run)?;
        let mut all = Tags::new();
        if input.copy_image_tags == Some(true) {
            all = volumes::user_tags(tx, &source, &input.source_image_id);
        }
        all.extend(image_tags.clone());
        copied.client_token = token.clone();
        tags::put(tx, scope, &id, &all);
        tx.put(scope, &id, copied);
        Ok(id.to_string())
    })
    .await
    .map(|id| api::CopyImageOutput { image_id: Some(id) })
}

/// The copy as it is before its snapshots are copied.
fn original(
    found: &Found,
    source: &Scope,
    input: &api::CopyImageInput,
    now: standfast_core::Timestamp,
) -> Result<Image> {
    let from = ImageSource::Copy { region: source.region.to_string(), image: input.source_image_id.clone() };
    let description = |old: &str| input.description.clone().unwrap_or_else(|| old.to_owned());
    match found {
        Found::Catalogue(image) => {
            let launch = LaunchImage::of_catalogue(&source.region, image);
            Ok(Image {
                description: description(image.description),
                architecture: launch.architecture,
                root_device: launch.root_device,
                ..new(&input.name, launch.devices, from, now)
            })
        }
        Found::Record { image, .. } if image.state != ImageState::Available => {
            let message = format!("The image '{}' is not available.", input.source_image_id);
            Err(Error::client("InvalidAMIID.Unavailable", message))
        }
        Found::Record { image, .. } => Ok(Image {
            name: input.name.clone(),
            description: description(&image.description),
            created: now,
            state: ImageState::Pending,
            source: from,
            launched_by: BTreeSet::new(),
            ..(**image).clone()
        }),
    }
}

pub async fn deregister(cx: Cx, input: api::DeregisterImageInput) -> Result<api::DeregisterImageOutput> {
    let scope = cx.scope();
    let gone = cx
        .txn(|tx| {
            let (id, image) = own(tx, scope, &input.image_id)?;
            errors::dry_run(input.dry_run)?;
            tx.delete::<Image>(scope, &id);
            tags::forget(tx, scope, &id);
            if input.delete_associated_snapshots != Some(true) {
                return Ok(None);
            }
            let result = |snapshot: &str, tx: &mut Txn| {
                let code = if !tx.by_index::<Image>(scope, "snapshot", snapshot).is_empty() {
                    "skipped"
                } else {
                    snapshots::remove(tx, scope, snapshot);
                    "success"
                };
                api::DeleteSnapshotReturnCode { snapshot_id: Some(snapshot.to_owned()), return_code: Some(code.into()) }
            };
            Ok(Some(image.snapshots().map(|snapshot| result(snapshot, tx)).collect()))
        })
        .await?;
    Ok(api::DeregisterImageOutput { r#return: Some(true), delete_snapshot_results: gone })
}
