"""The aws CLI, as tutorials use it: only the endpoint is set."""

import json

import pytest

from cloud import EXAMPLE
from waiting import eventually

SETTLED_S = 60
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"


@pytest.fixture
def image(aws):
    return text(aws, "ssm", "get-parameter", "--name", IMAGE, "--query", "Parameter.Value")


@pytest.fixture
def vpc(aws):
    """The default VPC."""
    return text(aws, "ec2", "describe-vpcs", "--filters", "Name=is-default,Values=true", "--query", "Vpcs[0].VpcId")


@pytest.fixture
def subnets(aws, vpc):
    """Those of the default VPC."""
    of_vpc = ("--filters", f"Name=vpc-id,Values={vpc}")
    return text(aws, "ec2", "describe-subnets", *of_vpc, "--query", "Subnets[].SubnetId").split()


def text(aws, *arguments):
    """The CLI's text output."""
    return aws(*arguments, "--output", "text").strip()


def parsed(aws, *arguments):
    """The CLI's JSON output."""
    return json.loads(aws(*arguments, "--output", "json"))


def test_the_tutorial_of_launch_configuration_and_group_works(aws, image, vpc, subnets):
    arn = text(
        aws, "elbv2", "create-target-group", "--name", "l5-targets", "--protocol", "HTTP", "--port", "8080",
        "--vpc-id", vpc, "--query", "TargetGroups[0].TargetGroupArn",
    )  # fmt: skip
    aws(
        "autoscaling", "create-launch-configuration", "--launch-configuration-name", "l5-lc",
        "--image-id", image, "--instance-type", "t3.micro",
    )  # fmt: skip
    aws(
        "autoscaling", "create-auto-scaling-group", "--auto-scaling-group-name", "l5-asg",
        "--launch-configuration-name", "l5-lc", "--min-size", "2", "--max-size", "4", "--desired-capacity", "2",
        "--availability-zones", "eu-west-1a", "eu-west-1b", "--target-group-arns", arn,
        "--health-check-type", "EC2", "--tags", "Key=Name,Value=l5,PropagateAtLaunch=true",
    )  # fmt: skip
    states = ("autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", "l5-asg")
    query = "AutoScalingGroups[0].Instances[].[AvailabilityZone,LifecycleState]"
    eventually(
        lambda: sorted(text(aws, *states, "--query", query).splitlines())
        == ["eu-west-1a\tInService", "eu-west-1b\tInService"],
        limit_s=SETTLED_S, what="two instances in service in two zones",
    )  # fmt: skip
    health = text(
        aws, "elbv2", "describe-target-health", "--target-group-arn", arn,
        "--query", "length(TargetHealthDescriptions)",
    )  # fmt: skip
    assert health == "2"
    told = text(
        aws, "autoscaling", "describe-scaling-activities", "--auto-scaling-group-name", "l5-asg",
        "--query", "Activities[].Description",
    )  # fmt: skip
    assert told.count("Launching a new EC2 instance: i-") == 2
    aws("autoscaling", "set-desired-capacity", "--auto-scaling-group-name", "l5-asg", "--desired-capacity", "3")
    aws("autoscaling", "delete-auto-scaling-group", "--auto-scaling-group-name", "l5-asg", "--force-delete")
    eventually(
        lambda: parsed(aws, *states)["AutoScalingGroups"] == [], limit_s=SETTLED_S, what="the group to be gone"
    )
    aws("autoscaling", "delete-launch-configuration", "--launch-configuration-name", "l5-lc")
    aws("elbv2", "delete-target-group", "--target-group-arn", arn)


def test_an_instance_is_run_waited_for_and_terminated(aws, image):
    instance = text(
        aws, "ec2", "run-instances", "--image-id", image, "--instance-type", "t3.micro",
        "--tag-specifications", "ResourceType=instance,Tags=[{Key=Name,Value=cli}]",
        "--user-data", "#!/bin/sh\necho hello from the CLI", "--query", "Instances[0].InstanceId",
    )  # fmt: skip
    aws("ec2", "wait", "instance-running", "--instance-ids", instance)
    table = aws("ec2", "describe-instances", "--instance-ids", instance, "--output", "table")
    assert instance in table and "running" in table
    console = ("ec2", "get-console-output", "--instance-id", instance, "--latest", "--query", "Output")
    eventually(lambda: "hello from the CLI" in text(aws, *console), limit_s=SETTLED_S, what="the console output")
    aws("ec2", "terminate-instances", "--instance-ids", instance)
    aws("ec2", "wait", "instance-terminated", "--instance-ids", instance)
    assert "InvalidInstanceID.NotFound" in aws(
        "ec2", "describe-instances", "--instance-ids", "i-0123456789abcdef0", expect=255
    )


def test_a_load_balancer_is_created_and_waited_for(aws, subnets):
    arn = text(
        aws, "elbv2", "create-load-balancer", "--name", "cli", "--subnets", *subnets,
        "--query", "LoadBalancers[0].LoadBalancerArn",
    )  # fmt: skip
    aws("elbv2", "wait", "load-balancer-available", "--load-balancer-arns", arn)
    fixed = "Type=fixed-response,FixedResponseConfig={StatusCode=200,ContentType=text/plain,MessageBody=hi}"
    aws(
        "elbv2", "create-listener", "--load-balancer-arn", arn, "--protocol", "HTTP", "--port", "80",
        "--default-actions", fixed,
    )  # fmt: skip
    port = text(aws, "elbv2", "describe-listeners", "--load-balancer-arn", arn, "--query", "Listeners[0].Port")
    assert port == "80"
    aws("elbv2", "delete-load-balancer", "--load-balancer-arn", arn)
    aws("elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", arn)


def test_the_example_is_created_waited_for_and_deleted(aws):
    template = f"file://{EXAMPLE / 'template.yaml'}"
    aws("cloudformation", "validate-template", "--template-body", template)
    aws("cloudformation", "create-stack", "--stack-name", "cli", "--template-body", template)
    aws("cloudformation", "wait", "stack-create-complete", "--stack-name", "cli")
    keys = ("--query", "Stacks[0].Outputs[].OutputKey")
    outputs = text(aws, "cloudformation", "describe-stacks", "--stack-name", "cli", *keys)
    assert sorted(outputs.split()) == ["GroupName", "URL"]
    aws("cloudformation", "delete-stack", "--stack-name", "cli")
    aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "cli")


def test_deploy_creates_and_updates_by_change_sets(aws):
    deploy = ("cloudformation", "deploy", "--stack-name", "deployed", "--template-file", str(EXAMPLE / "template.yaml"))
    assert "Successfully created/updated stack" in aws(*deploy)
    assert "Successfully created/updated stack" in aws(*deploy, "--parameter-overrides", "DesiredCapacity=3")
    again = (*deploy, "--parameter-overrides", "DesiredCapacity=3", "--no-fail-on-empty-changeset")
    # The CLI names change sets by the second, and the last one was in this second.
    eventually(lambda: "No changes to deploy" in aws(*again), limit_s=SETTLED_S, what="a deployment of nothing")
    assert text(
        aws, "autoscaling", "describe-auto-scaling-groups",
        "--query", "AutoScalingGroups[?starts_with(AutoScalingGroupName, 'deployed')].DesiredCapacity",
    ) == "3"  # fmt: skip
    aws("cloudformation", "delete-stack", "--stack-name", "deployed")
    aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", "deployed")


def test_each_other_service_has_its_say(aws):
    me = parsed(aws, "sts", "get-caller-identity")
    assert me["Account"] == "000000000000"
    assert "arn:aws:iam::aws:policy/ReadOnlyAccess" in text(
        aws, "iam", "list-policies", "--scope", "AWS", "--query", "Policies[].Arn"
    )
    aws(
        "cloudwatch", "put-metric-data", "--namespace", "Cli", "--metric-name", "Runs", "--value", "1",
        "--dimensions", "Host=here",
    )  # fmt: skip
    assert text(aws, "cloudwatch", "list-metrics", "--namespace", "Cli", "--query", "Metrics[0].MetricName") == "Runs"
    assert "standfast:az:power-interruption" in text(aws, "fis", "list-actions", "--query", "actions[].id")
    aws("ssm", "put-parameter", "--name", "/cli/x", "--value", "1", "--type", "String")
    assert text(aws, "ssm", "get-parameters-by-path", "--path", "/cli", "--query", "Parameters[].Value") == "1"
