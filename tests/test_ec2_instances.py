"""ec2 through boto3: images, instance types, launch templates, and instances that really run."""

import base64

import pytest

from waiting import eventually

MISSING_INSTANCE = "i-0123456789abcdef0"
WAIT = {"Delay": 1, "MaxAttempts": 60}
HELLO = "#!/bin/sh\necho hello from $INSTANCE_ID\n"


@pytest.fixture(scope="module")
def ec2(client):
    return client("ec2")


@pytest.fixture(scope="module")
def image(ec2):
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    return ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]


@pytest.fixture
def run(ec2, image):
    """Runs an instance and waits until it does; terminates all of them after the test."""
    made = []

    def run_one(**options):
        answer = ec2.run_instances(**{"ImageId": image, "MinCount": 1, "MaxCount": 1} | options)
        made.append(answer["Instances"][0]["InstanceId"])
        ec2.get_waiter("instance_running").wait(InstanceIds=made[-1:], WaiterConfig=WAIT)
        return made[-1]

    yield run_one
    if made:
        ec2.terminate_instances(InstanceIds=made)


def read(ec2, instance):
    return ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]


def test_images_and_types_are_found_by_their_usual_names(ec2, refused):
    canonical = ec2.describe_images(Owners=["099720109477"])["Images"]
    assert any("ubuntu" in image["Name"] for image in canonical)
    (small,) = ec2.describe_instance_types(InstanceTypes=["t3.small"])["InstanceTypes"]
    assert small["VCpuInfo"]["DefaultVCpus"] == 2 and small["MemoryInfo"]["SizeInMiB"] == 2048
    offered = ec2.describe_instance_type_offerings(LocationType="availability-zone")["InstanceTypeOfferings"]
    assert {"eu-west-1a", "eu-west-1b", "eu-west-1c"} == {offer["Location"] for offer in offered}
    with refused("InvalidParameterValue", naming="t9.huge") as caught:
        ec2.describe_instance_types(InstanceTypes=["t9.huge"])
    assert len(str(caught.value)) < 1000, "a message does not list all there are"
    with refused("InvalidAMIID.NotFound", naming="ami-0123456789abcdef0"):
        ec2.describe_images(ImageIds=["ami-0123456789abcdef0"])


def test_an_instance_runs_its_user_data_and_ends(ec2, run):
    instance = run(UserData=HELLO, InstanceType="t3.micro")

    def console():
        output = ec2.get_console_output(InstanceId=instance, Latest=True).get("Output", "")
        return f"hello from {instance}" in output and output

    eventually(console, limit_s=30, what="the user data's output")
    shown = read(ec2, instance)
    assert shown["State"] == {"Code": 16, "Name": "running"} and shown["InstanceType"] == "t3.micro"
    status = ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"][0]
    assert status["InstanceState"]["Name"] == "running"
    volumes = [{"Name": "attachment.instance-id", "Values": [instance]}]
    (volume,) = ec2.describe_volumes(Filters=volumes)["Volumes"]
    (health,) = ec2.describe_volume_status(VolumeIds=[volume["VolumeId"]])["VolumeStatuses"]
    assert health["VolumeStatus"]["Status"] == "ok"
    (change,) = ec2.terminate_instances(InstanceIds=[instance])["TerminatingInstances"]
    assert change["CurrentState"]["Name"] == "shutting-down"
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig=WAIT)
    assert read(ec2, instance)["State"]["Name"] == "terminated", "it stays visible for an hour"


def test_an_instance_stops_starts_and_reboots(ec2, run, refused):
    instance = run()
    ec2.reboot_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=WAIT)
    with refused("IncorrectInstanceState"):
        ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.small"})
    ec2.stop_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance], WaiterConfig=WAIT)
    ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "t3.small"})
    kind = ec2.describe_instance_attribute(InstanceId=instance, Attribute="instanceType")
    assert kind["InstanceType"] == {"Value": "t3.small"}
    address = read(ec2, instance)["PrivateIpAddress"]
    ec2.start_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig=WAIT)
    assert read(ec2, instance)["PrivateIpAddress"] == address


def test_settings_of_an_instance_can_be_read_and_changed(ec2, run, refused):
    instance = run(InstanceType="t3.micro")
    assert ec2.monitor_instances(InstanceIds=[instance])["InstanceMonitorings"][0]["Monitoring"]["State"] in (
        "pending", "enabled",
    )  # fmt: skip
    assert ec2.unmonitor_instances(InstanceIds=[instance])["InstanceMonitorings"][0]["Monitoring"]["State"] in (
        "disabling", "disabled",
    )  # fmt: skip
    options = ec2.modify_instance_metadata_options(InstanceId=instance, HttpTokens="required")
    assert options["InstanceMetadataOptions"]["HttpTokens"] == "required"
    (credits,) = ec2.describe_instance_credit_specifications(InstanceIds=[instance])["InstanceCreditSpecifications"]
    assert credits["CpuCredits"] in ("standard", "unlimited")
    ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": True})
    with refused("OperationNotPermitted", naming=instance):
        ec2.terminate_instances(InstanceIds=[instance])
    ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})


def test_images_that_ask_for_tokens_of_the_metadata_service_get_them(ec2, image, run):
    assert ec2.describe_images(ImageIds=[image])["Images"][0]["ImdsSupport"] == "v2.0"
    options = read(ec2, run())["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 2)
    options = read(ec2, run(MetadataOptions={"HttpTokens": "optional"}))["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("optional", 2)


def test_an_instance_takes_an_instance_profile(ec2, client, run):
    iam = client("iam")
    profile = {"InstanceProfileName": "shown"}
    iam.create_instance_profile(**profile)
    instance = run()
    made = ec2.associate_iam_instance_profile(IamInstanceProfile={"Name": "shown"}, InstanceId=instance)
    association = made["IamInstanceProfileAssociation"]["AssociationId"]
    assert read(ec2, instance)["IamInstanceProfile"]["Arn"].endswith(":instance-profile/shown")
    ec2.disassociate_iam_instance_profile(AssociationId=association)
    assert "IamInstanceProfile" not in read(ec2, instance)
    iam.delete_instance_profile(**profile)


def test_instances_are_filtered_and_paged(ec2, run):
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "part", "Value": "filtered"}]}]
    made = sorted(run(TagSpecifications=tags) for _ in range(2))
    running = [{"Name": "tag:part", "Values": ["filtered"]}, {"Name": "instance-state-name", "Values": ["running"]}]
    answer = ec2.describe_instances(Filters=running)
    assert sorted(i["InstanceId"] for r in answer["Reservations"] for i in r["Instances"]) == made
    pages = ec2.get_paginator("describe_instances").paginate(Filters=running, PaginationConfig={"PageSize": 5})
    assert sum(len(page["Reservations"]) for page in pages) == 2


def test_mistakes_about_instances_have_the_codes_of_aws(ec2, image, refused):
    with refused("InvalidInstanceID.NotFound", naming=MISSING_INSTANCE):
        ec2.describe_instances(InstanceIds=[MISSING_INSTANCE])
    with refused("InvalidInstanceID.NotFound", naming=MISSING_INSTANCE):
        ec2.terminate_instances(InstanceIds=[MISSING_INSTANCE])
    with refused("InvalidInstanceID.Malformed", naming="i-nonsense"):
        ec2.describe_instances(InstanceIds=["i-nonsense"])
    with refused("InvalidAMIID.NotFound"):
        ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)
    with refused("InvalidSubnetID.NotFound"):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId="subnet-0123456789abcdef0")
    with refused("InvalidKeyPair.NotFound", naming="nobody"):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, KeyName="nobody")
    with refused("InvalidParameterValue", naming="nobody"):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, IamInstanceProfile={"Name": "nobody"})
    with refused("InvalidParameterValue", naming="65"):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, MetadataOptions={"HttpPutResponseHopLimit": 65})
    with refused("InvalidParameterValue"):
        ec2.run_instances(ImageId=image, MinCount=2, MaxCount=1)
    with refused("DryRunOperation"):
        ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, DryRun=True)


def test_launch_templates_have_versions(ec2, image, run, refused):
    first = {"ImageId": image, "InstanceType": "t3.micro", "UserData": base64.b64encode(HELLO.encode()).decode()}
    made = ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=first)["LaunchTemplate"]
    template = {"LaunchTemplateId": made["LaunchTemplateId"]}
    with refused("InvalidLaunchTemplateName.AlreadyExistsException"):
        ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData=first)
    ec2.create_launch_template_version(
        **template, SourceVersion="1", LaunchTemplateData={"InstanceType": "t3.small"}
    )
    ec2.modify_launch_template(**template, DefaultVersion="2")
    (read_back,) = ec2.describe_launch_templates(LaunchTemplateNames=["web"])["LaunchTemplates"]
    assert (read_back["DefaultVersionNumber"], read_back["LatestVersionNumber"]) == (2, 2)
    versions = ec2.describe_launch_template_versions(**template, Versions=["$Latest"])["LaunchTemplateVersions"]
    assert versions[0]["LaunchTemplateData"] == first | {"InstanceType": "t3.small"}
    instance = run(ImageId=image, LaunchTemplate={"LaunchTemplateName": "web", "Version": "1"})
    assert read(ec2, instance)["InstanceType"] == "t3.micro"
    gone = ec2.delete_launch_template_versions(**template, Versions=["1"])
    assert len(gone["SuccessfullyDeletedLaunchTemplateVersions"]) == 1
    ec2.delete_launch_template(**template)
    with refused("InvalidLaunchTemplateId.NotFound", naming=made["LaunchTemplateId"]):
        ec2.describe_launch_templates(LaunchTemplateIds=[made["LaunchTemplateId"]])
