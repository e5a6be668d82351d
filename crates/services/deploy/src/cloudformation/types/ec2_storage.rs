//! Volumes and where they are attached.

use serde_json::{Value, json};
use standfast_api::ec2;
use standfast_core::Result;

use super::ec2_network::{identified, ready, retag, tag_specifications, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State, values};

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::EC2::Volume",
        required: &["AvailabilityZone"],
        replaced: &["AvailabilityZone", "Encrypted", "KmsKeyId", "MultiAttachEnabled", "SnapshotId"],
        updated: &["AutoEnableIO", "Iops", "Size", "Tags", "Throughput", "VolumeType"],
        attributes: &["VolumeId"],
        create: |job| Box::pin(create_volume(job)),
        equip: |job| Box::pin(volume_attributes(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeVolumes, "Volumes", "VolumeId")),
        read: |job| Box::pin(read_volume(job)),
        update: |job| Box::pin(update_volume(job)),
        delete: |job| Box::pin(delete_volume(job)),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::VolumeAttachment",
        required: &["InstanceId", "VolumeId"],
        replaced: &["Device", "InstanceId", "VolumeId"],
        create: |job| Box::pin(attach(job)),
        read: |job| Box::pin(read_attachment(job)),
        delete: |job| Box::pin(detach(job)),
        ..BASE
    },
];

async fn create_volume(job: &Job) -> Result<String> {
    let mut input = job.without(&["AutoEnableIO", "Tags"]);
    input.insert("TagSpecifications".into(), tag_specifications(job, "volume"));
    said(&job.ask(ec2::CreateVolume, input.into()).await?, "/VolumeId")
}

async fn volume_attributes(job: &Job) -> Result<()> {
    if job.changes("AutoEnableIO") {
        let on = values::is_true(job.get("AutoEnableIO")).unwrap_or(false);
        let input = json!({"VolumeId": job.id(), "AutoEnableIO": {"Value": on}});
        job.ask(ec2::ModifyVolumeAttribute, input).await?;
    }
    Ok(())
}

async fn volume(job: &Job, id: &str) -> Result<Option<Value>> {
    job.look(ec2::DescribeVolumes, json!({"VolumeIds": [id]}), "Volumes").await
}

async fn read_volume(job: &Job) -> Result<State> {
    let found = volume(job, job.id()).await?.unwrap_or_default();
    Ok(match found["State"].as_str() {
        Some("available" | "in-use") => identified(job, "VolumeId"),
        Some("creating") => State::Pending,
        _ => vanished(job),
    })
}

async fn update_volume(job: &Job) -> Result<()> {
    volume_attributes(job).await?;
    let mut input = json!({"VolumeId": job.id()});
    for property in ["Iops", "Size", "Throughput", "VolumeType"] {
        if let Some(value) = job.get(property).filter(|_| job.changes(property)) {
            input[property] = value.clone();
        }
    }
    if input.as_object().is_some_and(|input| input.len() > 1) {
        job.ask(ec2::ModifyVolume, input).await?;
    }
    retag(job).await
}

async fn delete_volume(job: &Job) -> Result<bool> {
    let found = volume(job, job.id()).await?.unwrap_or_default();
    match found["State"].as_str() {
        None | Some("deleted") => Ok(true),
        Some("deleting") => Ok(false),
        Some(_) => job.forget(ec2::DeleteVolume, json!({"VolumeId": job.id()})).await.map(|was| !was),
    }
}

/// The state of the volume's attachment to the instance.
async fn attachment(job: &Job) -> Result<Option<String>> {
    let found = volume(job, &job.need("VolumeId")?).await?.unwrap_or_default();
    let instance = job.need("InstanceId")?;
    let mut all = found["Attachments"].as_array().into_iter().flatten();
    let here = all.find(|one| one["InstanceId"] == instance.as_str());
    Ok(here.and_then(|one| one["State"].as_str()).map(str::to_owned))
}

async fn attach(job: &Job) -> Result<String> {
    let id = format!("{}|{}", job.need("VolumeId")?, job.need("InstanceId")?);
    if job.again && attachment(job).await?.is_some() {
        return Ok(id);
    }
    job.ask(ec2::AttachVolume, job.properties().clone().into()).await?;
    Ok(id)
}

async fn read_attachment(job: &Job) -> Result<State> {
    Ok(match attachment(job).await?.as_deref() {
        Some("attached") => ready(json!({})),
        Some("attaching") => State::Pending,
        _ => vanished(job),
    })
}

async fn detach(job: &Job) -> Result<bool> {
    match attachment(job).await?.as_deref() {
        None | Some("detached") => Ok(true),
        Some("detaching") => Ok(false),
        Some(_) => {
            let input = job.only(&["InstanceId", "VolumeId"]);
            job.forget(ec2::DetachVolume, input.into()).await.map(|was| !was)
        }
    }
}
