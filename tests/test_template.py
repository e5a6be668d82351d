"""L9: what is wrong with a template is said before anything is made."""

import json

import pytest

BROKEN = """
Resources:
  Network:
    Type: AWS::EC2::VPC
    Properties:
      CidrBlock: !Ref NetworkCidr
"""
MENDED = "Parameters:\n  NetworkCidr: {Type: String, Default: 10.9.0.0/16}\n" + BROKEN


@pytest.fixture
def up(cloud, tmp_path):
    """`standfast up` of a template into the shared cloud; deletes the stack after the test."""
    template = tmp_path / "template.yaml"

    def deploy(body: str, *options: str, expect: int = 0) -> str:
        template.write_text(body)
        return cloud.run("up", str(template), "--stack-name", "l9", *options, expect=expect)

    yield deploy
    cloud.client("cloudformation").delete_stack(StackName="l9")


def test_an_undefined_parameter_is_named_and_the_template_deploys_when_it_is_added(cloud, up):
    said = up(BROKEN, expect=1)
    assert "NetworkCidr" in said and "Template" in said, said
    assert len(said.splitlines()) < 5, "an error, not a stack trace"
    stacks = [stack["name"] for stack in status(cloud)["stacks"]]
    assert "l9" not in stacks, "nothing was made"
    assert "CREATE_COMPLETE" in up(MENDED)
    assert "10.9.0.0/16" in [vpc["CidrBlock"] for vpc in cloud.client("ec2").describe_vpcs()["Vpcs"]]


def test_a_parameter_of_the_command_line_reaches_the_stack(cloud, up):
    up(MENDED, "-p", "NetworkCidr=10.8.0.0/16")
    assert "10.8.0.0/16" in [vpc["CidrBlock"] for vpc in cloud.client("ec2").describe_vpcs()["Vpcs"]]
    assert "KEY=VALUE" in up(MENDED, "-p", "NetworkCidr", expect=1)
    assert "Nothing" in up(MENDED, "-p", "Nothing=1", expect=1)


def test_a_resource_that_fails_rolls_the_stack_back_and_says_why(cloud, up):
    said = up(MENDED, "-p", "NetworkCidr=10.0.0.0/8", expect=1)
    assert "CREATE_FAILED" in said and "ROLLBACK_COMPLETE" in said
    assert "The CIDR '10.0.0.0/8' is invalid" in said


def test_a_template_that_is_not_there_is_said(cloud):
    assert "nowhere.yaml" in cloud.run("up", "nowhere.yaml", expect=1)


def status(cloud):
    """What `standfast status` says."""
    return json.loads(cloud.run("status", "--json"))
