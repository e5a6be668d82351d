//! Volumes, snapshots and images as a client sees them.

use std::time::Duration;

use serde_json::{Value as Json, json};
use standfast_api::ec2::MODEL;
use standfast_core::Id;
use standfast_core::host::{Abilities, SnapshotSpec};
use standfast_testkit::TestCloud;

const SOON: Duration = Duration::from_secs(60);
const VOLUMES: Abilities = Abilities { networks: false, volumes: true, metadata: false, loss: false, delay: false };

fn text<'a>(json: &'a Json, pointer: &str) -> &'a str {
    json.pointer(pointer).and_then(Json::as_str).unwrap_or_else(|| panic!("no text at {pointer} in {json:#}"))
}

async fn call(cloud: &TestCloud, operation: &str, input: Json) -> Json {
    match cloud.send(&MODEL, operation, input.clone()).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {input}: {error}"),
    }
}

async fn code(cloud: &TestCloud, operation: &str, input: Json) -> String {
    cloud.refused(&MODEL, operation, input).await.code.into_owned()
}

async fn base_image(cloud: &TestCloud) -> String {
    let filters = json!([{"Name": "name", "Values": ["al2023-ami-2023*-x86_64"]}]);
    text(&call(cloud, "DescribeImages", json!({"Filters": filters})).await, "/Images/0/ImageId").to_owned()
}

/// Launches an instance into the zone, waits until it runs, and gives it as described.
async fn running(cloud: &TestCloud, image: &str, zone: &str) -> Json {
    let answer = call(
        cloud,
        "RunInstances",
        json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image,
            "Placement": {"AvailabilityZone": zone}}),
    )
    .await;
    instance_becomes(cloud, text(&answer, "/Instances/0/InstanceId"), "running").await
}

async fn instance_becomes(cloud: &TestCloud, id: &str, state: &str) -> Json {
    cloud
        .until(&format!("{id} to be {state}"), SOON, || async {
            let answer = call(cloud, "DescribeInstances", json!({"InstanceIds": [id]})).await;
            let instance = answer["Reservations"][0]["Instances"][0].clone();
            (text(&instance, "/State/Name") == state).then_some(instance)
        })
        .await
}

async fn volume_becomes(cloud: &TestCloud, id: &str, state: &str) -> Json {
    cloud
        .until(&format!("{id} to be {state}"), SOON, || async {
            let answer = call(cloud, "DescribeVolumes", json!({"VolumeIds": [id]})).await;
            (text(&answer, "/Volumes/0/State") == state).then(|| answer["Volumes"][0].clone())
        })
        .await
}

async fn snapshot_completes(cloud: &TestCloud, id: &str) -> Json {
    cloud
        .until(&format!("{id} to complete"), SOON, || async {
            let answer = call(cloud, "DescribeSnapshots", json!({"SnapshotIds": [id]})).await;
            (text(&answer, "/Snapshots/0/State") == "completed").then(|| answer["Snapshots"][0].clone())
        })
        .await
}

async fn image_is_available(cloud: &TestCloud, id: &str) -> Json {
    cloud
        .until(&format!("{id} to be available"), SOON, || async {
            let answer = call(cloud, "DescribeImages", json!({"ImageIds": [id]})).await;
            (text(&answer, "/Images/0/State") == "available").then(|| answer["Images"][0].clone())
        })
        .await
}

async fn volume(cloud: &TestCloud, more: Json) -> String {
    let mut input = json!({"AvailabilityZone": "eu-west-1a", "Size": 10, "VolumeType": "gp3"});
    input.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let answer = call(cloud, "CreateVolume", input).await;
    assert_eq!(text(&answer, "/State"), "creating");
    text(&answer, "/VolumeId").to_owned()
}

#[test]
fn a_volume_is_made_attached_grown_detached_and_deleted() {
    standfast_testkit::run(1, |cloud| async move {
        let instance = running(&cloud, &base_image(&cloud).await, "eu-west-1a").await;
        let instance = text(&instance, "/InstanceId");
        let id = volume(&cloud, json!({"ClientToken": "one"})).await;
        let made = volume_becomes(&cloud, &id, "available").await;
        assert_eq!((made["Iops"].as_i64(), made["Throughput"].as_i64()), (Some(3000), Some(125)));
        let again = json!({"AvailabilityZone": "eu-west-1a", "Size": 10, "VolumeType": "gp3", "ClientToken": "one"});
        assert_eq!(text(&call(&cloud, "CreateVolume", again).await, "/VolumeId"), id);

        let attach = json!({"VolumeId": id, "InstanceId": instance, "Device": "/dev/sdf"});
        assert_eq!(text(&call(&cloud, "AttachVolume", attach.clone()).await, "/State"), "attaching");
        let attached = volume_becomes(&cloud, &id, "in-use").await;
        assert_eq!(text(&attached, "/Attachments/0/InstanceId"), instance);
        assert_eq!(code(&cloud, "AttachVolume", attach).await, "VolumeInUse");
        assert_eq!(code(&cloud, "DeleteVolume", json!({"VolumeId": id})).await, "VolumeInUse");
        let described = instance_becomes(&cloud, instance, "running").await;
        assert_eq!(text(&described, "/BlockDeviceMappings/1/Ebs/VolumeId"), id);

        let grown = call(&cloud, "ModifyVolume", json!({"VolumeId": id, "Size": 20})).await;
        assert_eq!(text(&grown, "/VolumeModification/ModificationState"), "modifying");
        let smaller = json!({"VolumeId": id, "Size": 5});
        assert_eq!(code(&cloud, "ModifyVolume", smaller).await, "IncorrectModificationState");
        let changes = json!({"VolumeIds": [id]});
        for state in ["optimizing", "completed"] {
            cloud
                .until(state, Duration::from_secs(120), || async {
                    let found = call(&cloud, "DescribeVolumesModifications", changes.clone()).await;
                    (text(&found, "/VolumesModifications/0/ModificationState") == state).then_some(())
                })
                .await;
        }
        assert_eq!(volume_becomes(&cloud, &id, "in-use").await["Size"], 20);
        let again = json!({"VolumeId": id, "Size": 30});
        assert_eq!(code(&cloud, "ModifyVolume", again.clone()).await, "VolumeModificationRateExceeded");
        cloud.pass(Duration::from_secs(6 * 3600)).await;
        call(&cloud, "ModifyVolume", again).await;

        let detached = call(&cloud, "DetachVolume", json!({"VolumeId": id})).await;
        assert_eq!(text(&detached, "/State"), "detaching");
        volume_becomes(&cloud, &id, "available").await;
        assert_eq!(code(&cloud, "DetachVolume", json!({"VolumeId": id})).await, "IncorrectState");
        call(&cloud, "DeleteVolume", json!({"VolumeId": id})).await;
        assert_eq!(code(&cloud, "DescribeVolumes", json!({"VolumeIds": [id]})).await, "InvalidVolume.NotFound");
    });
}

#[test]
fn a_volume_goes_to_an_instance_of_its_zone_and_a_free_device_only() {
    standfast_testkit::run(2, |cloud| async move {
        let instance = running(&cloud, &base_image(&cloud).await, "eu-west-1b").await;
        let id = volume(&cloud, json!({})).await;
        volume_becomes(&cloud, &id, "available").await;
        let attach =
            |device: &str| json!({"VolumeId": id, "InstanceId": text(&instance, "/InstanceId"), "Device": device});
        assert_eq!(code(&cloud, "AttachVolume", attach("/dev/sdf")).await, "InvalidVolume.ZoneMismatch");
        assert_eq!(code(&cloud, "AttachVolume", attach("/dev/xvda")).await, "InvalidParameterValue");
        assert_eq!(code(&cloud, "AttachVolume", attach("/dev/nvme1n1")).await, "InvalidParameterValue");
        let root = text(&instance, "/BlockDeviceMappings/0/Ebs/VolumeId");
        assert_eq!(code(&cloud, "DetachVolume", json!({"VolumeId": root})).await, "OperationNotPermitted");
        let zone = json!({"AvailabilityZone": "eu-west-1z", "Size": 1});
        assert_eq!(code(&cloud, "CreateVolume", zone).await, "InvalidZone.NotFound");
        let sizeless = json!({"AvailabilityZone": "eu-west-1a"});
        assert_eq!(code(&cloud, "CreateVolume", sizeless).await, "MissingParameter");
    });
}

#[test]
fn what_a_terminated_instance_had_goes_or_stays_as_it_was_told() {
    standfast_testkit::run(3, |cloud| async move {
        let image = base_image(&cloud).await;
        let kept = json!({"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 4, "DeleteOnTermination": false}});
        let ignored = json!({"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"});
        let launch = json!({"MinCount": 1, "MaxCount": 1, "InstanceType": "t3.micro", "ImageId": image,
            "BlockDeviceMappings": [kept, ignored]});
        let launched = call(&cloud, "RunInstances", launch).await;
        let id = text(&launched, "/Instances/0/InstanceId");
        let instance = instance_becomes(&cloud, id, "running").await;
        let volumes: Vec<&str> =
            (0..2).map(|n| text(&instance, &format!("/BlockDeviceMappings/{n}/Ebs/VolumeId"))).collect();
        call(&cloud, "TerminateInstances", json!({"InstanceIds": [id]})).await;
        instance_becomes(&cloud, id, "terminated").await;
        volume_becomes(&cloud, volumes[1], "available").await;
        let gone = json!({"VolumeIds": [volumes[0]]});
        assert_eq!(code(&cloud, "DescribeVolumes", gone).await, "InvalidVolume.NotFound");
    });
}

#[test]
fn an_image_of_an_instance_is_made_of_snapshots_and_launched_from_them() {
    standfast_testkit::run_able(4, VOLUMES, |cloud| async move {
        let instance = running(&cloud, &base_image(&cloud).await, "eu-west-1a").await;
        let id = text(&instance, "/InstanceId");
        let boot = cloud.host.snapshot().instances[id].boot;
        let made = call(&cloud, "CreateImage", json!({"InstanceId": id, "Name": "golden"})).await;
        let image_id = text(&made, "/ImageId");
        let image = image_is_available(&cloud, image_id).await;
        assert_eq!(cloud.host.snapshot().instances[id].boot, boot + 1, "it is rebooted");
        assert_eq!(text(&image, "/SourceInstanceId"), id);
        let snapshot = text(&image, "/BlockDeviceMappings/0/Ebs/SnapshotId");
        let root = text(&instance, "/BlockDeviceMappings/0/Ebs/VolumeId");
        let told = cloud.host.snapshot();
        assert_eq!(told.snapshots[snapshot], SnapshotSpec::OfVolume(Id::from_text(root)));

        let twice = json!({"InstanceId": id, "Name": "golden"});
        assert_eq!(code(&cloud, "CreateImage", twice).await, "InvalidAMIName.Duplicate");
        let in_use = json!({"SnapshotId": snapshot});
        assert_eq!(code(&cloud, "DeleteSnapshot", in_use.clone()).await, "InvalidSnapshot.InUse");
        let own = call(&cloud, "DescribeImages", json!({"Owners": ["self"]})).await;
        assert_eq!(own["Images"].as_array().map(Vec::len), Some(1));

        let second = running(&cloud, image_id, "eu-west-1b").await;
        let volume = text(&second, "/BlockDeviceMappings/0/Ebs/VolumeId");
        let told = cloud.host.snapshot();
        assert_eq!(told.volumes[volume].from, Some(Id::from_text(snapshot)));
        assert!(told.volumes[volume].root);
        assert_eq!(told.volumes[root].from, None, "base images have no data of their own");

        call(&cloud, "DeregisterImage", json!({"ImageId": image_id})).await;
        assert_eq!(code(&cloud, "DescribeImages", json!({"ImageIds": [image_id]})).await, "InvalidAMIID.NotFound");
        call(&cloud, "DeleteSnapshot", in_use).await;
    });
}

#[test]
fn a_snapshot_of_a_volume_that_goes_is_still_completed() {
    standfast_testkit::run_able(5, VOLUMES, |cloud| async move {
        let id = volume(&cloud, json!({})).await;
        volume_becomes(&cloud, &id, "available").await;
        let taken = call(&cloud, "CreateSnapshot", json!({"VolumeId": id, "Description": "nightly"})).await;
        assert_eq!((text(&taken, "/State"), text(&taken, "/Progress")), ("pending", "0%"));
        call(&cloud, "DeleteVolume", json!({"VolumeId": id})).await;
        let done = snapshot_completes(&cloud, text(&taken, "/SnapshotId")).await;
        assert_eq!((text(&done, "/Progress"), text(&done, "/Description")), ("100%", "nightly"));
        cloud
            .until("the volume to go", SOON, || async {
                cloud.send(&MODEL, "DescribeVolumes", json!({"VolumeIds": [id]})).await.err()
            })
            .await;
        let from = json!({"SnapshotId": text(&taken, "/SnapshotId"), "Size": 5});
        let mut small = from.clone();
        small["AvailabilityZone"] = "eu-west-1a".into();
        assert_eq!(code(&cloud, "CreateVolume", small).await, "InvalidParameterValue");
        let restored = volume(&cloud, json!({"SnapshotId": text(&taken, "/SnapshotId")})).await;
        let restored = volume_becomes(&cloud, &restored, "available").await;
        assert_eq!(text(&restored, "/SnapshotId"), text(&taken, "/SnapshotId"));
        let copy = json!({"SourceRegion": "eu-west-1", "SourceSnapshotId": text(&taken, "/SnapshotId")});
        let copy = call(&cloud, "CopySnapshot", copy).await;
        snapshot_completes(&cloud, text(&copy, "/SnapshotId")).await;
        let told = cloud.host.snapshot();
        let expected = SnapshotSpec::CopyOf(Id::from_text(text(&taken, "/SnapshotId")));
        assert_eq!(told.snapshots[text(&copy, "/SnapshotId")], expected);
    });
}

#[test]
fn a_root_file_system_is_imported_from_a_file_only() {
    standfast_testkit::run_able(6, VOLUMES, |cloud| async move {
        let container = |url: &str| json!({"DiskContainers": [{"Format": "tar", "Url": url}]});
        let remote = container("https://example.com/rootfs.tar");
        assert_eq!(code(&cloud, "ImportImage", remote).await, "InvalidParameterValue");
        let task = call(&cloud, "ImportImage", container("file:///srv/rootfs.tar")).await;
        assert_eq!(text(&task, "/Status"), "active");
        image_is_available(&cloud, text(&task, "/ImageId")).await;
        let tasks = json!({"ImportTaskIds": [text(&task, "/ImportTaskId")]});
        let tasks = call(&cloud, "DescribeImportImageTasks", tasks).await;
        assert_eq!(text(&tasks, "/ImportImageTasks/0/Status"), "completed");
        let snapshot = text(&tasks, "/ImportImageTasks/0/SnapshotDetails/0/SnapshotId");
        let told = cloud.host.snapshot();
        assert_eq!(told.snapshots[snapshot], SnapshotSpec::Import("/srv/rootfs.tar".into()));
    });
}

#[test]
fn snapshots_and_images_are_shared_with_accounts_that_are_named() {
    standfast_testkit::run(7, |cloud| async move {
        let id = volume(&cloud, json!({})).await;
        volume_becomes(&cloud, &id, "available").await;
        let taken = call(&cloud, "CreateSnapshot", json!({"VolumeId": id})).await;
        let snapshot = text(&taken, "/SnapshotId");
        snapshot_completes(&cloud, snapshot).await;
        let add = json!({"SnapshotId": snapshot, "Attribute": "createVolumePermission",
            "CreateVolumePermission": {"Add": [{"UserId": "111122223333"}]}});
        call(&cloud, "ModifySnapshotAttribute", add).await;
        let ask = json!({"SnapshotId": snapshot, "Attribute": "createVolumePermission"});
        let answer = call(&cloud, "DescribeSnapshotAttribute", ask).await;
        assert_eq!(text(&answer, "/CreateVolumePermissions/0/UserId"), "111122223333");
        let register = json!({"Name": "registered", "RootDeviceName": "/dev/xvda", "Architecture": "x86_64",
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}]});
        let image = call(&cloud, "RegisterImage", register).await;
        let image = text(&image, "/ImageId");
        image_is_available(&cloud, image).await;
        let public = json!({"ImageId": image, "LaunchPermission": {"Add": [{"Group": "all"}]}});
        call(&cloud, "ModifyImageAttribute", public).await;
        let described = image_is_available(&cloud, image).await;
        assert_eq!(described["Public"], true);
    });
}
