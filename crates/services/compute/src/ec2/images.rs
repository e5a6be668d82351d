//! Images: the base images of the region. Images of one's own come with volumes and snapshots.

use standfast_api::ec2 as api;
use standfast_core::id;
use standfast_core::{Error, Result};
use standfast_kernel::Cx;

use super::catalogue::{self, BASE_IMAGES, BaseImage};
use super::errors;
use super::filters::{self, Described, Field, Paging};

const BOUNDS: (i32, i32) = (1, 1000);

/// The image that a request names.
pub fn find(region: &str, text: &str) -> Result<&'static BaseImage> {
    errors::id::<id::Image>(text).map_err(|_| {
        Error::client("InvalidAMIID.Malformed", format!("Invalid id: \"{text}\" (expecting \"ami-...\")"))
    })?;
    catalogue::find(region, text)
        .ok_or_else(|| Error::client("InvalidAMIID.NotFound", format!("The image id '[{text}]' does not exist")))
}

pub async fn describe(cx: Cx, input: api::DescribeImagesInput) -> Result<api::DescribeImagesOutput> {
    let region = cx.region();
    let images: Vec<&BaseImage> = match input.image_ids.as_ref().filter(|ids| !ids.is_empty()) {
        Some(ids) => ids.iter().map(|text| find(region, text)).collect::<Result<_>>()?,
        None => BASE_IMAGES.iter().collect(),
    };
    let owned = |image: &&BaseImage| match input.owners.as_ref().filter(|owners| !owners.is_empty()) {
        None => true,
        Some(owners) => owners.iter().any(|owner| match owner.as_str() {
            "self" => image.owner == cx.account(),
            alias @ ("amazon" | "aws-marketplace") => image.owner_alias() == Some(alias),
            account => image.owner == account,
        }),
    };
    let mut rows: Vec<api::Image> = images.into_iter().filter(owned).map(|image| shape(region, image)).collect();
    rows.sort_by_key(Described::key);
    let paging = Paging { max: input.max_results, token: input.next_token.as_deref(), bounds: BOUNDS };
    let (images, next_token) = filters::answer(rows, input.filters.as_ref(), paging)?;
    Ok(api::DescribeImagesOutput { images: Some(images), next_token })
}

fn shape(region: &str, image: &BaseImage) -> api::Image {
    let root = api::EbsBlockDevice {
        delete_on_termination: Some(true),
        snapshot_id: Some(image.snapshot(region)),
        volume_size: Some(image.root_size_gib),
        volume_type: Some(image.root_volume_type.into()),
        encrypted: Some(false),
        iops: (image.root_volume_type == "gp3").then_some(3000),
        throughput: (image.root_volume_type == "gp3").then_some(125),
        ..Default::default()
    };
    let mapping =
        api::BlockDeviceMapping { ebs: Some(root), device_name: Some(image.root_device.into()), ..Default::default() };
    api::Image {
        platform_details: Some("Linux/UNIX".into()),
        usage_operation: Some("RunInstances".into()),
        block_device_mappings: Some(vec![mapping]),
        description: Some(image.description.into()),
        ena_support: Some(true),
        hypervisor: Some("xen".into()),
        image_owner_alias: image.owner_alias().map(str::to_owned),
        name: Some(image.name.into()),
        root_device_name: Some(image.root_device.into()),
        root_device_type: Some("ebs".into()),
        sriov_net_support: Some("simple".into()),
        virtualization_type: Some("hvm".into()),
        boot_mode: Some(if image.architecture == "arm64" { "uefi" } else { "uefi-preferred" }.into()),
        image_id: Some(image.id(region)),
        image_location: Some(format!("{}/{}", image.owner_alias().unwrap_or(image.owner), image.name)),
        state: Some("available".into()),
        owner_id: Some(image.owner.into()),
        creation_date: Some(image.created.into()),
        public: Some(true),
        architecture: Some(image.architecture.into()),
        image_type: Some("machine".into()),
        ..Default::default()
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
        ("source-instance-id", |_| Vec::new()),
        ("state", |image| filters::one(&image.state)),
        ("state-reason-code", |_| Vec::new()),
        ("state-reason-message", |_| Vec::new()),
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
