"""ssm through boto3: parameters, the public ones of images, and commands that run inside instances."""

import pytest

from waiting import eventually

LATEST = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
COMMAND_S = 30


@pytest.fixture(scope="module")
def ssm(client):
    return client("ssm")


def test_a_parameter_has_versions(ssm, refused):
    assert ssm.put_parameter(Name="/app/port", Value="80", Type="String")["Version"] == 1
    with refused("ParameterAlreadyExists"):
        ssm.put_parameter(Name="/app/port", Value="81", Type="String")
    assert ssm.put_parameter(Name="/app/port", Value="81", Overwrite=True)["Version"] == 2
    read = ssm.get_parameter(Name="/app/port")["Parameter"]
    assert (read["Value"], read["Version"], read["Type"]) == ("81", 2, "String")
    assert ssm.get_parameter(Name="/app/port:1")["Parameter"]["Value"] == "80"
    history = ssm.get_parameter_history(Name="/app/port")["Parameters"]
    assert [one["Value"] for one in history] == ["80", "81"]
    ssm.delete_parameter(Name="/app/port")
    with refused("ParameterNotFound"):
        ssm.get_parameter(Name="/app/port")
    with refused("ParameterNotFound"):
        ssm.delete_parameter(Name="/app/port")


def test_parameters_are_found_by_name_path_and_filter(ssm):
    for name in ("/shop/db/host", "/shop/db/port", "/shop/name"):
        ssm.put_parameter(Name=name, Value=name, Type="String")
    many = ssm.get_parameters(Names=["/shop/name", "/shop/nothing"])
    assert [one["Name"] for one in many["Parameters"]] == ["/shop/name"]
    assert many["InvalidParameters"] == ["/shop/nothing"]
    below = ssm.get_parameters_by_path(Path="/shop", Recursive=True)["Parameters"]
    assert [one["Name"] for one in below] == ["/shop/db/host", "/shop/db/port", "/shop/name"]
    assert len(ssm.get_parameters_by_path(Path="/shop")["Parameters"]) == 1
    begins = [{"Key": "Name", "Option": "BeginsWith", "Values": ["/shop/db"]}]
    assert len(ssm.describe_parameters(ParameterFilters=begins)["Parameters"]) == 2
    gone = ssm.delete_parameters(Names=["/shop/db/host", "/shop/db/port", "/shop/name", "/shop/nothing"])
    assert len(gone["DeletedParameters"]) == 3 and gone["InvalidParameters"] == ["/shop/nothing"]


def test_parameters_have_tags(ssm):
    ssm.put_parameter(Name="tagged", Value="x", Type="String")
    what = {"ResourceType": "Parameter", "ResourceId": "tagged"}
    ssm.add_tags_to_resource(**what, Tags=[{"Key": "team", "Value": "blue"}])
    assert ssm.list_tags_for_resource(**what)["TagList"] == [{"Key": "team", "Value": "blue"}]
    ssm.remove_tags_from_resource(**what, TagKeys=["team"])
    assert ssm.list_tags_for_resource(**what)["TagList"] == []


def test_the_latest_image_is_a_public_parameter(ssm, client):
    image = ssm.get_parameter(Name=LATEST)["Parameter"]["Value"]
    (found,) = client("ec2").describe_images(ImageIds=[image])["Images"]
    assert found["State"] == "available"
    below = ssm.get_parameters_by_path(Path="/aws/service/ami-amazon-linux-latest")["Parameters"]
    assert LATEST in [one["Name"] for one in below]


@pytest.fixture(scope="module")
def instance(client, ssm):
    ec2 = client("ec2")
    image = ssm.get_parameter(Name=LATEST)["Parameter"]["Value"]
    made = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=1, MaxCount=1)
    instance = made["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    yield instance
    ec2.terminate_instances(InstanceIds=[instance])


def run(ssm, instance, *lines):
    """Runs a script inside the instance; gives the finished invocation."""
    sent = ssm.send_command(
        InstanceIds=[instance], DocumentName="AWS-RunShellScript", Parameters={"commands": list(lines)}
    )
    command = sent["Command"]["CommandId"]

    def finished():
        got = ssm.get_command_invocation(CommandId=command, InstanceId=instance)
        return got["Status"] not in ("Pending", "InProgress", "Delayed") and got

    return eventually(finished, limit_s=COMMAND_S, what="the command's end")


def test_a_command_runs_inside_the_instance(ssm, instance):
    told = [one["InstanceId"] for one in ssm.describe_instance_information()["InstanceInformationList"]]
    assert instance in told
    good = run(ssm, instance, "echo I am $INSTANCE_ID", "echo aside >&2")
    assert (good["Status"], good["ResponseCode"]) == ("Success", 0)
    assert good["StandardOutputContent"] == f"I am {instance}\n"
    assert good["StandardErrorContent"] == "aside\n"
    bad = run(ssm, instance, "exit 7")
    assert (bad["Status"], bad["ResponseCode"]) == ("Failed", 7)
    assert len(ssm.list_commands(InstanceId=instance)["Commands"]) >= 2


def test_commands_for_nobody_are_refused(ssm, instance, refused):
    with refused("InvalidInstanceId"):
        ssm.send_command(
            InstanceIds=["i-0123456789abcdef0"], DocumentName="AWS-RunShellScript", Parameters={"commands": ["true"]}
        )
    with refused("InvalidDocument"):
        ssm.send_command(InstanceIds=[instance], DocumentName="AWS-Nothing", Parameters={"commands": ["true"]})
