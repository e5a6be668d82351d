"""ec2 through boto3: volumes, snapshots, images, key pairs."""

import base64
import struct
import tarfile

import pytest

from waiting import eventually

WAIT = {"Delay": 1, "MaxAttempts": 60}
ZONE = "eu-west-1a"


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def image(ec2):
    named = [{"Name": "name", "Values": ["al2023-ami-2023*-x86_64"]}]
    return ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]


@pytest.fixture(scope="module")
def instance(ec2, image):
    """A running instance in the zone."""
    placement = {"AvailabilityZone": ZONE}
    answer = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro", Placement=placement)
    made = answer["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[made], WaiterConfig=WAIT)
    yield made
    ec2.terminate_instances(InstanceIds=[made])


@pytest.fixture
def volume(ec2):
    made = ec2.create_volume(AvailabilityZone=ZONE, Size=10, VolumeType="gp3", Encrypted=True)["VolumeId"]
    ec2.get_waiter("volume_available").wait(VolumeIds=[made], WaiterConfig=WAIT)
    return made


@pytest.fixture
def snapshot(ec2, volume):
    made = ec2.create_snapshot(VolumeId=volume, Description="nightly")["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[made], WaiterConfig=WAIT)
    return made


def available(ec2, image):
    ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=WAIT)
    return ec2.describe_images(ImageIds=[image])["Images"][0]


def test_a_volume_is_attached_grown_and_detached(ec2, instance, volume, refused):
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume], WaiterConfig=WAIT)
    (shown,) = ec2.describe_volumes(Filters=[{"Name": "attachment.device", "Values": ["/dev/sdf"]}])["Volumes"]
    assert shown["VolumeId"] == volume and shown["Encrypted"] and shown["Iops"] == 3000
    with refused("VolumeInUse"):
        ec2.delete_volume(VolumeId=volume)
    change = ec2.modify_volume(VolumeId=volume, Size=20, Iops=4000)["VolumeModification"]
    assert change["ModificationState"] == "modifying" and change["OriginalSize"] == 10

    def grown():
        (change,) = ec2.describe_volumes_modifications(VolumeIds=[volume])["VolumesModifications"]
        return change["ModificationState"] in ("optimizing", "completed")

    eventually(grown, limit_s=30, what="the volume to grow")
    (status,) = ec2.describe_volume_status(VolumeIds=[volume])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "ok"
    ec2.modify_volume_attribute(VolumeId=volume, AutoEnableIO={"Value": True})
    attribute = ec2.describe_volume_attribute(VolumeId=volume, Attribute="autoEnableIO")
    assert attribute["AutoEnableIO"] == {"Value": True}
    ec2.enable_volume_io(VolumeId=volume)
    ec2.detach_volume(VolumeId=volume, InstanceId=instance, Force=True)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume], WaiterConfig=WAIT)
    ec2.delete_volume(VolumeId=volume)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume], WaiterConfig=WAIT)


def test_a_volume_keeps_to_the_limits_of_its_type(ec2, refused):
    with refused("InvalidParameterValue"):
        ec2.create_volume(AvailabilityZone=ZONE, Size=10, VolumeType="io1", Iops=501)
    with refused("InvalidParameterCombination"):
        ec2.create_volume(AvailabilityZone=ZONE, Size=10, VolumeType="gp2", Iops=300)
    with refused("InvalidZone.NotFound", naming="eu-west-1z"):
        ec2.create_volume(AvailabilityZone="eu-west-1z", Size=10)


def test_a_snapshot_is_copied_to_another_region_and_restored(ec2, client, cloud, account, snapshot, refused):
    (shown,) = ec2.describe_snapshots(OwnerIds=["self"], SnapshotIds=[snapshot])["Snapshots"]
    assert shown["Progress"] == "100%" and shown["Encrypted"]
    restored = ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot)
    assert restored["Size"] == 10 and restored["SnapshotId"] == snapshot
    user = {"Add": [{"UserId": "111122223333"}]}
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot, Attribute="createVolumePermission", CreateVolumePermission=user
    )
    permission = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="createVolumePermission")
    assert permission["CreateVolumePermissions"] == [{"UserId": "111122223333"}]
    other = cloud.client("ec2", account=account, region="eu-central-1")
    copy = other.copy_snapshot(SourceRegion="eu-west-1", SourceSnapshotId=snapshot)["SnapshotId"]
    other.get_waiter("snapshot_completed").wait(SnapshotIds=[copy], WaiterConfig=WAIT)
    ec2.delete_snapshot(SnapshotId=snapshot)
    with refused("InvalidSnapshot.NotFound", naming=snapshot):
        ec2.describe_snapshots(SnapshotIds=[snapshot])


def test_an_image_is_made_of_an_instance_copied_and_launched(ec2, instance, refused):
    golden = ec2.create_image(InstanceId=instance, Name="golden", NoReboot=True)["ImageId"]
    shown = available(ec2, golden)
    used = shown["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    with refused("InvalidSnapshot.InUse", naming=golden):
        ec2.delete_snapshot(SnapshotId=used)
    (launched,) = ec2.run_instances(ImageId=golden, MinCount=1, MaxCount=1, InstanceType="t3.micro")["Instances"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[launched["InstanceId"]], WaiterConfig=WAIT)
    ec2.terminate_instances(InstanceIds=[launched["InstanceId"]])
    copy = ec2.copy_image(Name="golden-copy", SourceImageId=golden, SourceRegion="eu-west-1")["ImageId"]
    assert available(ec2, copy)["SourceImageId"] == golden
    ec2.modify_image_attribute(ImageId=golden, LaunchPermission={"Add": [{"Group": "all"}]})
    permission = ec2.describe_image_attribute(ImageId=golden, Attribute="launchPermission")
    assert permission["LaunchPermissions"] == [{"Group": "all"}]
    ec2.reset_image_attribute(ImageId=golden, Attribute="launchPermission")
    assert not available(ec2, golden)["Public"]
    for image in (golden, copy):
        ec2.deregister_image(ImageId=image)
    with refused("InvalidAMIID.NotFound", naming=golden):
        ec2.describe_images(ImageIds=[golden])
    snapshots = ec2.create_snapshots(InstanceSpecification={"InstanceId": instance})["Snapshots"]
    assert len(snapshots) == 1


@pytest.fixture
def tarball(tmp_path):
    """The URL of a root file system, which need not be more than a file."""
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/motd").write_text("imported\n")
    with tarfile.open(tmp_path / "root.tar", "w") as tar:
        tar.add(tmp_path / "root", arcname=".")
    return (tmp_path / "root.tar").as_uri()


def test_an_image_is_imported_from_a_file_and_registered_of_a_snapshot(ec2, refused, tarball):
    with refused("InvalidParameterValue"):
        ec2.import_image(DiskContainers=[{"Format": "tar", "Url": "https://example.com/root.tar"}])
    task = ec2.import_image(DiskContainers=[{"Format": "tar", "Url": tarball}])
    assert available(ec2, task["ImageId"])["State"] == "available"
    (shown,) = ec2.describe_import_image_tasks(ImportTaskIds=[task["ImportTaskId"]])["ImportImageTasks"]
    assert shown["Status"] == "completed"
    task = ec2.import_snapshot(DiskContainer={"Format": "tar", "Url": tarball})["ImportTaskId"]
    (shown,) = ec2.describe_import_snapshot_tasks(ImportTaskIds=[task])["ImportSnapshotTasks"]
    assert shown["SnapshotTaskDetail"]["Url"] == tarball
    snapshot = shown["SnapshotTaskDetail"]["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot], WaiterConfig=WAIT)
    device = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}
    registered = ec2.register_image(
        Name="registered", RootDeviceName="/dev/xvda", Architecture="x86_64", BlockDeviceMappings=[device]
    )["ImageId"]
    assert available(ec2, registered)["RootDeviceName"] == "/dev/xvda"


def test_made_keys_are_rsa_unless_they_are_asked_to_be_ed25519(ec2, refused):
    made = ec2.create_key_pair(KeyName="rsa")
    assert made["KeyMaterial"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert len(made["KeyFingerprint"].split(":")) == 20, "SHA-1 of the private half"
    (shown,) = ec2.describe_key_pairs(KeyNames=["rsa"], IncludePublicKey=True)["KeyPairs"]
    kind, blob, _ = shown["PublicKey"].split()
    (length,) = struct.unpack(">I", base64.b64decode(blob)[:4])
    assert (shown["KeyType"], kind, length) == ("rsa", "ssh-rsa", 7)
    ec2.import_key_pair(KeyName="imported", PublicKeyMaterial=shown["PublicKey"].encode())
    (imported,) = ec2.describe_key_pairs(KeyNames=["imported"])["KeyPairs"]
    assert len(imported["KeyFingerprint"].split(":")) == 16, "MD5 of the public half"
    assert ec2.create_key_pair(KeyName="ed", KeyType="ed25519")["KeyMaterial"].startswith("-----BEGIN OPENSSH")
    with refused("UnsupportedOperation"):
        ec2.create_key_pair(KeyName="putty", KeyFormat="ppk")
    with refused("InvalidKeyPair.Duplicate", naming="rsa"):
        ec2.create_key_pair(KeyName="rsa")
