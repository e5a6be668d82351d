//! Images: the ones that every region has, and those that accounts have made.
//!
//! Making them is in `make` and `import`, what can be said and changed of one in `attributes`. Invariant: the snapshots
//! that an image is made of exist as long as the image does.

mod attributes;
mod import;
mod make;

pub use attributes::{describe_attribute, modify_attribute, reset_attribute};
pub use import::{describe_image_tasks, describe_snapshot_tasks, image as import_image, snapshot as import_snapshot};
pub use make::{copy, create, deregister, register};

use std::sync::Arc;

use standfast_api::ec2 as api;
use standfast_core::id;
use standfast_core::{Error, Id, Result, Scope};
use standfast_kernel::Cx;
use standfast_store::View;

use super::catalogue::{self, BASE_IMAGES, BaseImage};
use super::filters::{self, Described, Field, Paging};
use super::model::{Image, ImageDevice, ImageSource, ImageState};
use super::snapshots::{EVERYONE, shared};
use super::{errors, tags, volumes};

const BOUNDS: (i32, i32) = (1, 1000);

/// What a launch needs to know of an image.
#[derive(Clone, Debug)]
pub struct LaunchImage {
    pub id: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    pub root_device: String,
    pub devices: Vec<ImageDevice>,
    /// Whether its instances are asked for tokens by the metadata service.
    pub requires_tokens: bool,
}

impl LaunchImage {
    pub fn of_catalogue(region: &str, image: &BaseImage) -> Self {
        let root = ImageDevice {
            name: image.root_device.to_owned(),
            snapshot: Some(image.snapshot(region)),
            size_gib: image.root_size_gib,
            volume_type: image.root_volume_type.to_owned(),
            iops: None,
            throughput: None,
            encrypted: false,
            delete_on_termination: true,
        };
        Self {
            id: image.id(region),
            architecture: image.architecture.to_owned(),
            root_device: image.root_device.to_owned(),
            devices: vec![root],
            requires_tokens: image.imds().is_some(),
        }
    }

    fn of_record(id: &str, image: &Image) -> Self {
        Self {
            id: id.to_owned(),
            architecture: image.architecture.clone(),
            root_device: image.root_device.clone(),
            devices: image.devices.clone(),
            requires_tokens: image.imds.as_deref() == Some(catalogue::IMDS_V2),
        }
    }
}

/// An image that an account sees.
enum Found {
    Catalogue(&'static BaseImage),
    Record { owner: Scope, id: String, image: Arc<Image> },
}

fn parse(text: &str) -> Result<Id<id::Image>> {
    errors::id::<id::Image>(text)
        .map_err(|_| Error::client("InvalidAMIID.Malformed", format!("Invalid id: \"{text}\" (expecting \"ami-...\")")))
}

fn not_found(text: &str) -> Error {
    Error::client("InvalidAMIID.NotFound", format!("The image id '[{text}]' does not exist"))
}

/// The image that a request names: of everyone, its own, or one that is shared with the account.
fn find(view: &View, scope: &Scope, text: &str) -> Result<Found> {
    let id = parse(text)?;
    if let Some(image) = catalogue::find(&scope.region, text) {
        return Ok(Found::Catalogue(image));
    }
    if let Some(image) = view.get::<Image>(scope, &id) {
        return Ok(Found::Record { owner: scope.clone(), id: text.to_owned(), image });
    }
    let mut others = view.all::<Image>().into_iter().filter(|(owner, other, image)| {
        owner.region == scope.region && **other == *text && shared(&image.launched_by, &scope.account)
    });
    let (owner, _, image) = others.next().ok_or_else(|| not_found(text))?;
    Ok(Found::Record { owner, id: text.to_owned(), image })
}

/// The account's own image that a request wants to change.
fn own(view: &View, scope: &Scope, text: &str) -> Result<(Id<id::Image>, Arc<Image>)> {
    match find(view, scope, text)? {
        Found::Record { owner, id, image } if owner == *scope => Ok((Id::from_text(&id), image)),
        _ => Err(Error::client("AuthFailure", format!("Not authorized for image:{text}"))),
    }
}

/// The image that a launch names, when instances can be made of it.
pub fn launchable(view: &View, scope: &Scope, text: &str) -> Result<LaunchImage> {
    match find(view, scope, text)? {
        Found::Catalogue(image) => Ok(LaunchImage::of_catalogue(&scope.region, image)),
        Found::Record { id, image, .. } if image.state == ImageState::Available => {
            Ok(LaunchImage::of_record(&id, &image))
        }
        Found::Record { image, .. } => {
            let message = format!("The image '[{text}]' is in the '{}' state and cannot be launched.", state(&image));
            Err(Error::client("InvalidAMIID.Unavailable", message))
        }
    }
}

pub async fn describe(cx: Cx, input: api::DescribeImagesInput) -> Result<api::DescribeImagesOutput> {
    let scope = cx.scope();
    cx.view(|view| {
        let mut found = match input.image_ids.as_ref().filter(|ids| !ids.is_empty()) {
            Some(ids) => ids.iter().map(|text| find(view, scope, text)).collect::<Result<_>>()?,
            None => all(view, scope),
        };
        let named = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
        if let Some(owners) = named(&input.owners) {
            found.retain(|image| owners.iter().any(|owner| image.is_of(owner, &scope.account)));
        }
        if let Some(users) = named(&input.executable_users) {
            found.retain(|image| users.iter().any(|user| image.is_launched_by(user, &scope.account)));
        }
        errors::dry_run(input.dry_run)?;
        let mut rows: Vec<api::Image> = found.iter().map(|image| image.shape(view, scope)).collect();
        rows.sort_by_key(Described::key);
        rows.dedup_by_key(|image| image.key());
        let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
        let (images, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
        Ok(api::DescribeImagesOutput { images: Some(images), next_token })
    })
}

/// Every image that the account sees.
fn all(view: &View, scope: &Scope) -> Vec<Found> {
    let records = view.all::<Image>().into_iter().filter(|(owner, _, image)| {
        owner.region == scope.region && (owner.account == scope.account || shared(&image.launched_by, &scope.account))
    });
    let records = records.map(|(owner, id, image)| Found::Record { owner, id: id.to_string(), image });
    BASE_IMAGES.iter().map(Found::Catalogue).chain(records).collect()
}

impl Found {
    /// Whether `owner` (an account, an alias or `self`) owns it, asked by `account`.
    fn is_of(&self, owner: &str, account: &str) -> bool {
        let (of, alias) = match self {
            Found::Catalogue(image) => (image.owner, image.owner_alias()),
            Found::Record { owner, .. } => (&*owner.account, None),
        };
        match owner {
            "self" => of == account,
            "amazon" | "aws-marketplace" => alias == Some(owner),
            other => of == other,
        }
    }

    /// Whether `user` (an account, `self` or `all`) has been given the right to launch it.
    fn is_launched_by(&self, user: &str, account: &str) -> bool {
        let user = if user == "self" { account } else { user };
        match self {
            Found::Catalogue(_) => user == EVERYONE,
            Found::Record { image, .. } => image.launched_by.contains(user),
        }
    }

    fn shape(&self, view: &View, scope: &Scope) -> api::Image {
        match self {
            Found::Catalogue(image) => of_catalogue(&scope.region, image),
            Found::Record { owner, id, image } => of_record(view, owner, id, image),
        }
    }
}

fn mapping(device: &ImageDevice) -> api::BlockDeviceMapping {
    // What the type gives by itself is shown for gp3 only.
    let made = volumes::performance(&device.volume_type, device.size_gib, device.iops, device.throughput).ok();
    let shown = made.filter(|made| made.volume_type != "gp2");
    api::BlockDeviceMapping {
        ebs: Some(api::EbsBlockDevice {
            delete_on_termination: Some(device.delete_on_termination),
            snapshot_id: device.snapshot.clone(),
            volume_size: Some(device.size_gib),
            volume_type: Some(device.volume_type.clone()),
            encrypted: Some(device.encrypted),
            iops: shown.as_ref().and_then(|made| made.iops),
            throughput: shown.as_ref().and_then(|made| made.throughput),
            ..Default::default()
        }),
        device_name: Some(device.name.clone()),
        ..Default::default()
    }
}

fn state(image: &Image) -> &'static str {
    match image.state {
        ImageState::Pending => "pending",
        ImageState::Available => "available",
        ImageState::Failed(_) => "failed",
    }
}

/// What all images here have in common.
fn common(architecture: &str, devices: &[ImageDevice], root_device: &str) -> api::Image {
    api::Image {
        platform_details: Some("Linux/UNIX".into()),
        usage_operation: Some("RunInstances".into()),
        block_device_mappings: Some(devices.iter().map(mapping).collect()),
        hypervisor: Some("xen".into()),
        root_device_name: Some(root_device.into()),
        root_device_type: Some("ebs".into()),
        sriov_net_support: Some("simple".into()),
        virtualization_type: Some("hvm".into()),
        architecture: Some(architecture.into()),
        image_type: Some("machine".into()),
        ..Default::default()
    }
}

fn of_catalogue(region: &str, image: &BaseImage) -> api::Image {
    let devices = LaunchImage::of_catalogue(region, image).devices;
    api::Image {
        description: Some(image.description.into()),
        ena_support: Some(true),
        image_owner_alias: image.owner_alias().map(str::to_owned),
        name: Some(image.name.into()),
        boot_mode: Some(if image.architecture == "arm64" { "uefi" } else { "uefi-preferred" }.into()),
        image_id: Some(image.id(region)),
        image_location: Some(format!("{}/{}", image.owner_alias().unwrap_or(image.owner), image.name)),
        state: Some("available".into()),
        owner_id: Some(image.owner.into()),
        creation_date: Some(image.created.into()),
        imds_support: image.imds().map(str::to_owned),
        public: Some(true),
        ..common(image.architecture, &devices, image.root_device)
    }
}

fn of_record(view: &View, owner: &Scope, id: &str, image: &Image) -> api::Image {
    let (instance, copied) = match &image.source {
        ImageSource::Instance(instance) => (Some(instance.to_string()), None),
        ImageSource::Copy { region, image } => (None, Some((image.clone(), region.clone()))),
        ImageSource::Registered | ImageSource::Imported => (None, None),
    };
    let (source_image_id, source_image_region) = copied.unzip();
    api::Image {
        description: Some(image.description.clone()).filter(|text| !text.is_empty()),
        ena_support: Some(image.ena),
        name: Some(image.name.clone()),
        boot_mode: image.boot_mode.clone(),
        tpm_support: image.tpm.clone(),
        imds_support: image.imds.clone(),
        image_id: Some(id.to_owned()),
        image_location: Some(format!("{}/{}", owner.account, image.name)),
        state: Some(state(image).into()),
        state_reason: match &image.state {
            ImageState::Failed(why) => Some(api::StateReason {
                code: Some("Server.InternalError".into()),
                message: Some(format!("Server.InternalError: {why}")),
            }),
            _ => None,
        },
        owner_id: Some(owner.account.to_string()),
        creation_date: Some(image.created.iso8601()),
        public: Some(image.launched_by.contains(EVERYONE)),
        tags: tags::of(view, owner, id),
        source_instance_id: instance,
        source_image_id,
        source_image_region,
        ..common(&image.architecture, &image.devices, &image.root_device)
    }
}

impl Described for api::Image {
    const FIELDS: &'static [Field<Self>] = &[
        ("architecture", |image| filters::one(&image.architecture)),
        ("block-device-mapping.delete-on-termination", |image| {
            root(image).flat_map(|ebs| filters::text(ebs.delete_on_termination)).collect()
        }),
        ("block-device-mapping.device-name", |image| {
            filters::each(&image.block_device_mappings, |mapping| &mapping.device_name)
        }),
        ("block-device-mapping.encrypted", |image| root(image).flat_map(|ebs| filters::text(ebs.encrypted)).collect()),
        ("block-device-mapping.snapshot-id", |image| {
            root(image).flat_map(|ebs| filters::one(&ebs.snapshot_id)).collect()
        }),
        ("block-device-mapping.volume-size", |image| {
            root(image).flat_map(|ebs| filters::text(ebs.volume_size)).collect()
        }),
        ("block-device-mapping.volume-type", |image| {
            root(image).flat_map(|ebs| filters::one(&ebs.volume_type)).collect()
        }),
        ("creation-date", |image| filters::one(&image.creation_date)),
        ("description", |image| filters::one(&image.description)),
        ("ena-support", |image| filters::text(image.ena_support)),
        ("hypervisor", |image| filters::one(&image.hypervisor)),
        ("image-allowed", |_| vec!["true".into()]),
        ("image-id", |image| filters::one(&image.image_id)),
        ("image-type", |image| filters::one(&image.image_type)),
        ("is-public", |image| filters::text(image.public)),
        ("kernel-id", |_| Vec::new()),
        ("manifest-location", |image| filters::one(&image.image_location)),
        ("name", |image| filters::one(&image.name)),
        ("owner-alias", |image| filters::one(&image.image_owner_alias)),
        ("owner-id", |image| filters::one(&image.owner_id)),
        ("platform", |image| filters::one(&image.platform)),
        ("product-code", |_| Vec::new()),
        ("product-code.type", |_| Vec::new()),
        ("ramdisk-id", |_| Vec::new()),
        ("root-device-name", |image| filters::one(&image.root_device_name)),
        ("root-device-type", |image| filters::one(&image.root_device_type)),
        ("source-image-id", |image| filters::one(&image.source_image_id)),
        ("source-image-region", |image| filters::one(&image.source_image_region)),
        ("source-instance-id", |image| filters::one(&image.source_instance_id)),
        ("state", |image| filters::one(&image.state)),
        ("state-reason-code", |image| image.state_reason.iter().flat_map(|r| filters::one(&r.code)).collect()),
        ("state-reason-message", |image| image.state_reason.iter().flat_map(|r| filters::one(&r.message)).collect()),
        ("sriov-net-support", |image| filters::one(&image.sriov_net_support)),
        ("virtualization-type", |image| filters::one(&image.virtualization_type)),
    ];
    fn tags(&self) -> Option<&Vec<api::Tag>> {
        self.tags.as_ref()
    }
    fn key(&self) -> String {
        self.image_id.clone().unwrap_or_default()
    }
}

fn root(image: &api::Image) -> impl Iterator<Item = &api::EbsBlockDevice> {
    image.block_device_mappings.iter().flatten().filter_map(|mapping| mapping.ebs.as_ref())
}
