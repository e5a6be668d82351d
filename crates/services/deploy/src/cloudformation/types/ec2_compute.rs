//! Launch templates and instances.

use serde_json::{Value, json};
use standfast_api::ec2;
use standfast_core::Result;

use super::ec2_network::{gone, ready, retag, retag_id, tag_specifications, vanished};
use super::job::{Job, said};
use super::{BASE, ResourceType, State, attributes};
use crate::cloudformation::template::text;

pub static TYPES: &[ResourceType] = &[
    ResourceType {
        name: "AWS::EC2::LaunchTemplate",
        required: &["LaunchTemplateData"],
        replaced: &["LaunchTemplateName"],
        updated: &["LaunchTemplateData", "TagSpecifications", "VersionDescription"],
        attributes: &["DefaultVersionNumber", "LatestVersionNumber", "LaunchTemplateId"],
        volatile: &["DefaultVersionNumber", "LatestVersionNumber"],
        create: |job| Box::pin(create_launch_template(job)),
        find: |job| Box::pin(job.tagged(ec2::DescribeLaunchTemplates, "LaunchTemplates", "LaunchTemplateId")),
        read: |job| Box::pin(read_launch_template(job)),
        update: |job| Box::pin(update_launch_template(job)),
        delete: |job| Box::pin(gone(job, ec2::DeleteLaunchTemplate, "LaunchTemplateId")),
        ..BASE
    },
    ResourceType {
        name: "AWS::EC2::Instance",
        replaced: &[
            "AvailabilityZone",
            "BlockDeviceMappings",
            "CpuOptions",
            "HibernationOptions",
            "ImageId",
            "Ipv6AddressCount",
            "KeyName",
            "LaunchTemplate",
            "NetworkInterfaces",
            "PlacementGroupName",
            "PrivateIpAddress",
            "SecurityGroups",
            "SubnetId",
        ],
        updated: &[
            "CreditSpecification",
            "DisableApiTermination",
            "EbsOptimized",
            "IamInstanceProfile",
            "InstanceInitiatedShutdownBehavior",
            "InstanceType",
            "MetadataOptions",
            "Monitoring",
            "PropagateTagsToVolumeOnCreation",
            "SecurityGroupIds",
            "SourceDestCheck",
            "Tags",
            "Tenancy",
            "UserData",
        ],
        attributes: &[
            "AvailabilityZone",
            "InstanceId",
            "PrivateDnsName",
            "PrivateIp",
            "PublicDnsName",
            "PublicIp",
            "VpcId",
        ],
        volatile: &["PublicDnsName", "PublicIp"],
        create: |job| Box::pin(run_instance(job)),
        find: |job| Box::pin(find_instance(job)),
        read: |job| Box::pin(read_instance(job)),
        update: |job| Box::pin(update_instance(job)),
        delete: |job| Box::pin(terminate(job)),
        ..BASE
    },
];

/// The longest name of a launch template.
const TEMPLATE_NAME_CHARS_MAX: usize = 128;
/// The clientToken's limit.
const TOKEN_CHARS_MAX: usize = 64;

/// The tags of the launch template itself: the stack's, and those the template specifies.
fn template_tags(job: &Job) -> Value {
    let mut tags = job.tags();
    let specified = job.get("TagSpecifications").and_then(Value::as_array).into_iter().flatten();
    for tag in specified.filter_map(|specification| specification["Tags"].as_array()).flatten() {
        tags.extend(text(&tag["Key"]).zip(text(&tag["Value"])));
    }
    let tags = super::job::as_list(tags);
    json!([{"ResourceType": "launch-template", "Tags": tags}])
}

async fn create_launch_template(job: &Job) -> Result<String> {
    let mut input = job.only(&["LaunchTemplateData", "VersionDescription"]);
    let name = job.name("LaunchTemplateName", TEMPLATE_NAME_CHARS_MAX);
    input.insert("LaunchTemplateName".into(), name.into());
    input.insert("TagSpecifications".into(), template_tags(job));
    said(&job.ask(ec2::CreateLaunchTemplate, input.into()).await?, "/LaunchTemplate/LaunchTemplateId")
}

async fn read_launch_template(job: &Job) -> Result<State> {
    let ids = json!({"LaunchTemplateIds": [job.id()]});
    let Some(found) = job.look(ec2::DescribeLaunchTemplates, ids, "LaunchTemplates").await? else {
        return Ok(vanished(job));
    };
    // Attributes are text to templates.
    let number = |member: &str| text(&found[member]).unwrap_or_default();
    Ok(ready(json!({
        "LaunchTemplateId": job.id(),
        "DefaultVersionNumber": number("DefaultVersionNumber"),
        "LatestVersionNumber": number("LatestVersionNumber"),
    })))
}

/// A new version, which becomes the default one.
async fn update_launch_template(job: &Job) -> Result<()> {
    if job.changes("LaunchTemplateData") || job.changes("VersionDescription") {
        let mut input = job.only(&["LaunchTemplateData", "VersionDescription"]);
        input.insert("LaunchTemplateId".into(), job.id().into());
        let answer = job.ask(ec2::CreateLaunchTemplateVersion, input.into()).await?;
        let version = said(&answer, "/LaunchTemplateVersion/VersionNumber")?;
        let input = json!({"LaunchTemplateId": job.id(), "DefaultVersion": version});
        job.ask(ec2::ModifyLaunchTemplate, input).await?;
    }
    retag(job).await
}

async fn run_instance(job: &Job) -> Result<String> {
    let mut input = job.without(&[
        "AvailabilityZone",
        "IamInstanceProfile",
        "Monitoring",
        "PlacementGroupName",
        "PropagateTagsToVolumeOnCreation",
        "SourceDestCheck",
        "Tags",
        "Tenancy",
    ]);
    let mut placement = serde_json::Map::new();
    placement.extend(job.get("AvailabilityZone").map(|zone| ("AvailabilityZone".to_owned(), zone.clone())));
    placement.extend(job.get("Tenancy").map(|tenancy| ("Tenancy".to_owned(), tenancy.clone())));
    placement.extend(job.get("PlacementGroupName").map(|name| ("GroupName".to_owned(), name.clone())));
    if !placement.is_empty() {
        input.insert("Placement".into(), placement.into());
    }
    if let Some(profile) = job.text("IamInstanceProfile") {
        let member = if profile.starts_with("arn:") { "Arn" } else { "Name" };
        input.insert("IamInstanceProfile".into(), json!({member: profile}));
    }
    if let Some(on) = job.get("Monitoring") {
        input.insert("Monitoring".into(), json!({"Enabled": on}));
    }
    // Templates call what is in an interface GroupSet and the API calls it Groups.
    if let Some(Value::Array(interfaces)) = input.get_mut("NetworkInterfaces") {
        for interface in interfaces.iter_mut().filter_map(Value::as_object_mut) {
            if let Some(groups) = interface.remove("GroupSet") {
                interface.insert("Groups".into(), groups);
            }
        }
    }
    input.insert("MinCount".into(), 1.into());
    input.insert("MaxCount".into(), 1.into());
    input.insert("TagSpecifications".into(), tag_specifications(job, "instance"));
    let mut token = format!("{}-{}", job.spec.suffix, job.logical_id);
    token.truncate(TOKEN_CHARS_MAX);
    input.insert("ClientToken".into(), token.into());
    said(&job.ask(ec2::RunInstances, input.into()).await?, "/Instances/0/InstanceId")
}

/// The one of these instances that is not terminated.
fn alive(answer: &Value) -> Option<Value> {
    let reservations = answer["Reservations"].as_array().into_iter().flatten();
    let mut instances = reservations.filter_map(|reservation| reservation["Instances"].as_array()).flatten();
    instances.find(|instance| instance["State"]["Name"] != "terminated").cloned()
}

async fn find_instance(job: &Job) -> Result<Option<String>> {
    let filter = |key: &str, value: &str| json!({"Name": format!("tag:{key}"), "Values": [value]});
    let filters =
        [filter(super::job::STACK_ID_TAG, &job.stack_arn), filter(super::job::LOGICAL_ID_TAG, &job.logical_id)];
    let found = alive(&job.ask(ec2::DescribeInstances, json!({"Filters": filters})).await?);
    let id = found.as_ref().and_then(|instance| instance["InstanceId"].as_str());
    Ok(id.filter(|id| !job.others.iter().any(|other| other == id)).map(str::to_owned))
}

async fn instance(job: &Job) -> Result<Option<Value>> {
    match job.ask(ec2::DescribeInstances, json!({"InstanceIds": [job.id()]})).await {
        Ok(answer) => Ok(alive(&answer)),
        Err(error) if crate::cloudformation::errors::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_instance(job: &Job) -> Result<State> {
    let Some(found) = instance(job).await? else {
        return Ok(State::Failed(format!("Instance {} failed to stabilize. Current state: terminated.", job.id())));
    };
    let mut attributes = attributes(&found, &["InstanceId", "PrivateDnsName", "PublicDnsName", "VpcId"]);
    attributes.insert("AvailabilityZone".into(), found["Placement"]["AvailabilityZone"].clone());
    attributes.insert("PrivateIp".into(), found["PrivateIpAddress"].clone());
    attributes.insert("PublicIp".into(), found["PublicIpAddress"].clone());
    Ok(match found["State"]["Name"].as_str() {
        Some("running" | "stopped") => State::Ready(attributes),
        Some("shutting-down") => State::Failed(format!(
            "Instance {} failed to stabilize. Current state: shutting-down. Reason: {}",
            job.id(),
            found["StateReason"]["Message"].as_str().unwrap_or("unknown")
        )),
        _ => State::Pending,
    })
}

async fn update_instance(job: &Job) -> Result<()> {
    if job.changes("SecurityGroupIds") {
        let groups = job.get("SecurityGroupIds").cloned().unwrap_or_default();
        job.ask(ec2::ModifyInstanceAttribute, json!({"InstanceId": job.id(), "Groups": groups})).await?;
    }
    for property in ["SourceDestCheck", "DisableApiTermination"] {
        if job.changes(property) {
            let on = super::values::is_true(job.get(property)).unwrap_or(property == "SourceDestCheck");
            job.ask(ec2::ModifyInstanceAttribute, json!({"InstanceId": job.id(), property: {"Value": on}})).await?;
        }
    }
    let stopped_only = ["InstanceType", "UserData", "EbsOptimized"];
    if stopped_only.into_iter().any(|property| job.changes(property)) {
        return Err(crate::cloudformation::errors::property(
            "Standfast changes InstanceType, UserData and EbsOptimized of an instance only by replacing it: give the \
             resource another logical id.",
        ));
    }
    retag_id(job, job.id()).await
}

async fn terminate(job: &Job) -> Result<bool> {
    match instance(job).await? {
        None => Ok(true),
        Some(found) if found["State"]["Name"] == "shutting-down" => Ok(false),
        Some(_) => {
            let was = job.forget(ec2::TerminateInstances, json!({"InstanceIds": [job.id()]})).await?;
            Ok(!was)
        }
    }
}
