"""cloudformation through boto3: stacks from creation to deletion, change sets, exports, validation, rollback."""

import json

import pytest
from botocore.exceptions import ClientError

from waiting import eventually

WAIT_S = 60

NETWORK = """
Parameters:
  Cidr: {Type: String, Default: 10.0.0.0/16}
  Open: {Type: String, Default: 'no', AllowedValues: ['yes', 'no']}
Conditions:
  IsOpen: !Equals [!Ref Open, 'yes']
Resources:
  Network:
    Type: AWS::EC2::VPC
    Properties: {CidrBlock: !Ref Cidr}
  Subnet:
    Type: AWS::EC2::Subnet
    Properties: {VpcId: !Ref Network, CidrBlock: !Select [0, !Cidr [!GetAtt Network.CidrBlock, 1, 8]]}
  Gateway:
    Type: AWS::EC2::InternetGateway
    Condition: IsOpen
Outputs:
  Network:
    Value: !Ref Network
    Export: {Name: !Sub '${AWS::StackName}-network'}
"""
GUEST = """
Resources:
  Guest:
    Type: AWS::EC2::SecurityGroup
    Properties: {GroupDescription: guest, VpcId: !ImportValue host-network}
"""

ROLLING = """
Parameters:
  Image:
    Type: AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>
    Default: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64
  Kind: {Type: String, Default: t3.micro}
Resources:
  Door:
    Type: AWS::EC2::SecurityGroup
    Properties: {GroupDescription: door, Tags: [{Key: kind, Value: !Ref Kind}]}
  Template:
    Type: AWS::EC2::LaunchTemplate
    Properties: {LaunchTemplateData: {ImageId: !Ref Image, InstanceType: !Ref Kind}}
  Group:
    Type: AWS::AutoScaling::AutoScalingGroup
    DependsOn: Door
    UpdatePolicy: {AutoScalingRollingUpdate: {MinInstancesInService: 0}}
    Properties:
      LaunchTemplate: {LaunchTemplateId: !Ref Template, Version: !GetAtt Template.LatestVersionNumber}
      AvailabilityZones: !GetAZs ''
      MinSize: 1
      MaxSize: 1
"""


@pytest.fixture(scope="module")
def cloudformation(client):
    return client("cloudformation")


@pytest.fixture
def stack(cloudformation):
    """Creates stacks and waits for their end; deletes them after the test, last first."""
    made = []

    def create(name, body, *, until="CREATE_COMPLETE", parameters=None, **options):
        cloudformation.create_stack(
            StackName=name, TemplateBody=body, Parameters=as_list(parameters or {}), **options
        )
        made.append(name)
        return rested(cloudformation, name, until)

    yield create
    for name in reversed(made):
        cloudformation.delete_stack(StackName=name)
        gone(cloudformation, name)


def as_list(parameters):
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def rested(cloudformation, name, wanted):
    """Waits until the stack does nothing any more, which must be in the wanted status."""

    def look():
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        return not stack["StackStatus"].endswith("_IN_PROGRESS") and stack

    stack = eventually(look, limit_s=WAIT_S, what=f"the stack {name} to come to rest")
    assert stack["StackStatus"] == wanted, events(cloudformation, name)
    return stack


def gone(cloudformation, name):
    """Waits until there is no stack of this name."""

    def look():
        try:
            cloudformation.describe_stacks(StackName=name)
        except ClientError as error:
            return "does not exist" in str(error)

    eventually(look, limit_s=WAIT_S, what=f"the stack {name} to be gone")


def events(cloudformation, name):
    told = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    return [(e["LogicalResourceId"], e["ResourceStatus"], e.get("ResourceStatusReason", "")) for e in reversed(told)]


def test_a_stack_is_created_described_updated_and_deleted(cloudformation, client, stack, refused):
    made = stack("net", NETWORK, Tags=[{"Key": "team", "Value": "blue"}])
    network = made["Outputs"][0]["OutputValue"]
    assert made["Outputs"][0]["ExportName"] == "net-network"
    assert made["Parameters"] == as_list({"Cidr": "10.0.0.0/16", "Open": "no"})
    (vpc,) = client("ec2").describe_vpcs(VpcIds=[network])["Vpcs"]
    tags = {tag["Key"]: tag["Value"] for tag in vpc["Tags"]}
    assert (tags["aws:cloudformation:logical-id"], tags["team"]) == ("Network", "blue")
    one = cloudformation.describe_stack_resource(StackName="net", LogicalResourceId="Network")["StackResourceDetail"]
    assert one["PhysicalResourceId"] == network
    kinds = [r["ResourceType"] for r in cloudformation.describe_stack_resources(StackName="net")["StackResources"]]
    assert sorted(kinds) == ["AWS::EC2::Subnet", "AWS::EC2::VPC"], "the condition keeps the gateway out"
    assert cloudformation.get_template(StackName="net")["TemplateBody"] == NETWORK
    with refused("AlreadyExistsException", naming="net"):
        cloudformation.create_stack(StackName="net", TemplateBody=NETWORK)
    with refused("ValidationError", naming="No updates are to be performed"):
        cloudformation.update_stack(StackName="net", TemplateBody=NETWORK)
    cloudformation.update_stack(
        StackName="net", UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Cidr", "UsePreviousValue": True}, *as_list({"Open": "yes"})],
    )  # fmt: skip
    updated = rested(cloudformation, "net", "UPDATE_COMPLETE")
    assert updated["Outputs"][0]["OutputValue"] == network, "what did not change was not replaced"
    listed = cloudformation.list_stack_resources(StackName="net")["StackResourceSummaries"]
    assert "AWS::EC2::InternetGateway" in [one["ResourceType"] for one in listed]
    cloudformation.delete_stack(StackName="net")
    gone(cloudformation, "net")
    with refused("InvalidVpcID.NotFound"):
        client("ec2").describe_vpcs(VpcIds=[network])
    deleted = cloudformation.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]
    assert "net" in [one["StackName"] for one in deleted]


def test_a_template_is_checked_before_anything_is_made(cloudformation, refused):
    valid = cloudformation.validate_template(TemplateBody=NETWORK)
    assert [one["ParameterKey"] for one in valid["Parameters"]] == ["Cidr", "Open"]
    summary = cloudformation.get_template_summary(TemplateBody=NETWORK)
    assert set(summary["ResourceTypes"]) == {"AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::InternetGateway"}
    wrong = {
        "Undefined": "Resources: {V: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: !Ref Undefined}}}",
        "Fn::Nothing": "Resources: {V: {Type: 'AWS::EC2::VPC', Properties: {CidrBlock: {Fn::Nothing: x}}}}",
        "AWS::No::Such": "Resources: {V: {Type: 'AWS::No::Such'}}",
        "Circular": "Resources: {A: {Type: 'AWS::EC2::VPC', DependsOn: B}, B: {Type: 'AWS::EC2::VPC', DependsOn: A}}",
    }
    for named, body in wrong.items():
        with refused("ValidationError", naming=named):
            cloudformation.create_stack(StackName="wrong", TemplateBody=body)
    with refused("ValidationError", naming="Open"):
        cloudformation.create_stack(
            StackName="wrong", TemplateBody=NETWORK, Parameters=as_list({"Open": "maybe"})
        )
    with refused("ValidationError", naming="does not exist"):
        cloudformation.describe_stacks(StackName="wrong")


def test_a_template_may_be_json(stack):
    body = {"Resources": {"Key": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
    stack("json", json.dumps(body))


def test_a_stack_that_fails_rolls_back_and_says_why(cloudformation, client, stack):
    broken = NETWORK.replace("[!GetAtt Network.CidrBlock, 1, 8]", "[192.168.0.0/16, 1, 8]")
    before = len(client("ec2").describe_vpcs()["Vpcs"])
    stack("broken", broken, until="ROLLBACK_COMPLETE")
    failed = [event for event in events(cloudformation, "broken") if event[1] == "CREATE_FAILED"]
    assert failed[0][0] == "Subnet" and "192.168.0.0" in failed[0][2], failed
    assert len(client("ec2").describe_vpcs()["Vpcs"]) == before


def test_an_update_that_fails_goes_back(cloudformation, stack, refused):
    stack("back", NETWORK)
    broken = NETWORK.replace("[!GetAtt Network.CidrBlock, 1, 8]", "[192.168.0.0/16, 1, 8]")
    cloudformation.update_stack(StackName="back", TemplateBody=broken)
    rested(cloudformation, "back", "UPDATE_ROLLBACK_COMPLETE")
    with refused("ValidationError"):
        cloudformation.continue_update_rollback(StackName="back")
    with refused("ValidationError"):
        cloudformation.cancel_update_stack(StackName="back")


def test_change_sets_show_what_would_happen_and_do_it(cloudformation, stack, refused):
    stack("set", NETWORK)
    which = {"StackName": "set", "ChangeSetName": "open"}
    cloudformation.create_change_set(**which, UsePreviousTemplate=True, Parameters=as_list({"Open": "yes"}))

    def ready():
        read = cloudformation.describe_change_set(**which)
        return read["Status"] == "CREATE_COMPLETE" and read

    (change,) = eventually(ready, limit_s=WAIT_S, what="the change set")["Changes"]
    assert (change["ResourceChange"]["Action"], change["ResourceChange"]["LogicalResourceId"]) == ("Add", "Gateway")
    assert [one["ChangeSetName"] for one in cloudformation.list_change_sets(StackName="set")["Summaries"]] == ["open"]
    cloudformation.execute_change_set(**which)
    rested(cloudformation, "set", "UPDATE_COMPLETE")
    cloudformation.create_change_set(
        StackName="set", ChangeSetName="unwanted", UsePreviousTemplate=True, Parameters=as_list({"Open": "no"})
    )
    cloudformation.delete_change_set(StackName="set", ChangeSetName="unwanted")
    with refused("ChangeSetNotFound"):
        cloudformation.describe_change_set(StackName="set", ChangeSetName="unwanted")


def test_what_another_stack_imports_stays(cloudformation, stack):
    stack("host", NETWORK)
    stack("guest", GUEST)
    assert "host-network" in [one["Name"] for one in cloudformation.list_exports()["Exports"]]
    assert cloudformation.list_imports(ExportName="host-network")["Imports"] == ["guest"]
    # A deletion that cannot be is refused at once or fails; either way the network is there.
    try:
        cloudformation.delete_stack(StackName="host")
        rested(cloudformation, "host", "DELETE_FAILED")
    except ClientError as error:
        assert "guest" in str(error)


def test_a_protected_stack_stays(cloudformation, stack, refused):
    stack("kept", NETWORK, EnableTerminationProtection=True)
    with refused("ValidationError", naming="TerminationProtection"):
        cloudformation.delete_stack(StackName="kept")
    cloudformation.update_termination_protection(StackName="kept", EnableTerminationProtection=False)


def test_an_update_is_cancelled_and_a_rollback_that_fails_is_continued(cloudformation, client, stack):
    stack("rolling", ROLLING)
    autoscaling, ec2 = client("autoscaling"), client("ec2")
    resources = cloudformation.describe_stack_resources(StackName="rolling")["StackResources"]
    physical = {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in resources}
    hook = {"AutoScalingGroupName": physical["Group"], "LifecycleHookName": "hold"}
    autoscaling.put_lifecycle_hook(**hook, LifecycleTransition="autoscaling:EC2_INSTANCE_LAUNCHING")
    cloudformation.update_stack(
        StackName="rolling", UsePreviousTemplate=True, Parameters=as_list({"Kind": "t3.small"})
    )

    def held():
        groups = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[physical["Group"]])
        members = groups["AutoScalingGroups"][0]["Instances"]
        return [one for one in members if one["LifecycleState"] == "Pending:Wait"]

    eventually(held, limit_s=WAIT_S, what="the hook to hold the new instance, and so the update")
    # What the rollback has to change back is not there any more.
    ec2.delete_security_group(GroupId=physical["Door"])
    cloudformation.cancel_update_stack(StackName="rolling")
    autoscaling.delete_lifecycle_hook(**hook)
    rested(cloudformation, "rolling", "UPDATE_ROLLBACK_FAILED")
    cloudformation.continue_update_rollback(StackName="rolling", ResourcesToSkip=["Door"])
    rested(cloudformation, "rolling", "UPDATE_ROLLBACK_COMPLETE")
