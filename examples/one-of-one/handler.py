"""Carries the data volume of a group of one from instance to instance, as its lifecycle hooks ask.

    python3 handler.py GROUP

At termination the volume is detached and becomes a snapshot; at launch the newest snapshot becomes a volume in the new
instance's zone, attached as /dev/sdf. In AWS a Lambda function does this, told by EventBridge; here it asks.
"""

import sys
import time

import boto3

DEVICE = "/dev/sdf"
TAG = "carried-for"
POLL_S = 0.5


def waiting(scaling, group: str):
    """The group's instances that wait in a hook, and its name."""
    (found,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
    for instance in found["Instances"]:
        if instance["LifecycleState"] == "Pending:Wait":
            yield instance, "bring-the-data"
        if instance["LifecycleState"] == "Terminating:Wait":
            yield instance, "save-the-data"


def bring(ec2, group: str, instance: dict) -> bool:
    """A volume of the newest snapshot, or an empty one at the very first, attached to the instance; not while the last
    instance's volume is still to be saved."""
    own = [{"Name": f"tag:{TAG}", "Values": [group]}]
    if ec2.describe_volumes(Filters=own)["Volumes"]:
        return False
    snapshots = ec2.describe_snapshots(OwnerIds=["self"], Filters=own)["Snapshots"]
    newest = max(snapshots, key=lambda snapshot: snapshot["StartTime"], default=None)
    source = {"SnapshotId": newest["SnapshotId"]} if newest else {"Size": 1}
    volume = ec2.create_volume(
        AvailabilityZone=instance["AvailabilityZone"], VolumeType="gp3", **source,
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": TAG, "Value": group}]}],
    )  # fmt: skip
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume["VolumeId"]], WaiterConfig={"Delay": 1})
    ec2.attach_volume(VolumeId=volume["VolumeId"], InstanceId=instance["InstanceId"], Device=DEVICE)
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume["VolumeId"]], WaiterConfig={"Delay": 1})
    return True


def save(ec2, group: str, instance: dict) -> bool:
    """The instance's volume becomes a snapshot and goes."""
    own = [
        {"Name": f"tag:{TAG}", "Values": [group]},
        {"Name": "attachment.instance-id", "Values": [instance["InstanceId"]]},
    ]
    for volume in ec2.describe_volumes(Filters=own)["Volumes"]:
        ec2.detach_volume(VolumeId=volume["VolumeId"])
        ec2.get_waiter("volume_available").wait(VolumeIds=[volume["VolumeId"]], WaiterConfig={"Delay": 1})
        snapshot = ec2.create_snapshot(
            VolumeId=volume["VolumeId"],
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": TAG, "Value": group}]}],
        )
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot["SnapshotId"]], WaiterConfig={"Delay": 1})
        ec2.delete_volume(VolumeId=volume["VolumeId"])
        ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume["VolumeId"]], WaiterConfig={"Delay": 1})
    return True


def main(group: str) -> None:
    """Serves the hooks of the group until it is gone."""
    ec2, scaling = boto3.client("ec2"), boto3.client("autoscaling")
    while True:
        for instance, hook in waiting(scaling, group):
            if not (bring if hook == "bring-the-data" else save)(ec2, group, instance):
                continue
            scaling.complete_lifecycle_action(
                LifecycleHookName=hook, AutoScalingGroupName=group,
                InstanceId=instance["InstanceId"], LifecycleActionResult="CONTINUE",
            )  # fmt: skip
            print(f"{hook}: {instance['InstanceId']} in {instance['AvailabilityZone']}", flush=True)
        time.sleep(POLL_S)


if __name__ == "__main__":
    main(sys.argv[1])
