"""fis through boto3: what can be broken, experiments that break it, and that it is whole again after them."""

import functools

import pytest
from botocore.exceptions import ClientError

from cloud import DEFAULT_ACCOUNT
from waiting import eventually

ZONE_POWER = "standfast:az:power-interruption"
WAIT_S = 30
# No other test has instances in this region: a dark zone is dark for all accounts.
REGION = "ap-southeast-2"
ZONE = f"{REGION}a"


@pytest.fixture(scope="module")
def fis(client):
    return client("fis", region=REGION)


@pytest.fixture
def template(fis, account):
    """Makes templates of one action, and deletes them after the test."""
    made = []

    def make(action, targets=None):
        answer = fis.create_experiment_template(
            clientToken=f"token-{len(made)}", description="a test", stopConditions=[{"source": "none"}],
            roleArn=f"arn:aws:iam::{account}:role/fis", actions={"act": action}, targets=targets or {},
        )  # fmt: skip
        made.append(answer["experimentTemplate"]["id"])
        return made[-1]

    yield make
    for one in made:
        fis.delete_experiment_template(id=one)


def state(fis, experiment):
    return fis.get_experiment(id=experiment)["experiment"]["state"]["status"]


def until(fis, experiment, wanted):
    eventually(lambda: state(fis, experiment) == wanted, limit_s=WAIT_S, what=f"{experiment} to be {wanted}")


def one_instance(ec2):
    """What RunInstances wants for one small instance."""
    named = [{"Name": "name", "Values": ["al2023-ami-*-x86_64"]}]
    image = ec2.describe_images(Owners=["amazon"], Filters=named)["Images"][0]["ImageId"]
    return {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1}


def test_actions_say_what_they_do_and_need(fis, refused):
    actions = {one["id"] for one in fis.list_actions()["actions"]}
    assert {"aws:ec2:terminate-instances", "aws:fis:wait", ZONE_POWER} <= actions
    action = fis.get_action(id=ZONE_POWER)["action"]
    assert action["parameters"]["availabilityZoneIdentifier"]["required"] is True
    kinds = [one["resourceType"] for one in fis.list_target_resource_types()["targetResourceTypes"]]
    assert {"aws:ec2:instance", "aws:ec2:subnet", "aws:ec2:ebs-volume", "aws:iam:role"} <= set(kinds)
    kind = fis.get_target_resource_type(resourceType="aws:ec2:instance")["targetResourceType"]
    assert kind["resourceType"] == "aws:ec2:instance"
    with refused("ResourceNotFoundException", naming="aws:no:action"):
        fis.get_action(id="aws:no:action")


def test_an_experiment_darkens_a_zone_until_it_is_stopped(fis, client, template):
    ec2 = client("ec2", region=REGION)
    mine = template({"actionId": ZONE_POWER, "parameters": {"availabilityZoneIdentifier": ZONE}})
    assert fis.get_experiment_template(id=mine)["experimentTemplate"]["description"] == "a test"
    assert mine in [one["id"] for one in fis.list_experiment_templates()["experimentTemplates"]]
    started = fis.start_experiment(clientToken="run", experimentTemplateId=mine, tags={"why": "test"})
    experiment = started["experiment"]["id"]
    until(fis, experiment, "running")
    there = one_instance(ec2) | {"Placement": {"AvailabilityZone": ZONE}}
    # AWS's own fault, so a 500: clients may try again.
    with pytest.raises(ClientError, match="InsufficientInstanceCapacity"):
        ec2.run_instances(**there)
    (shown,) = [one for one in fis.list_experiments()["experiments"] if one["id"] == experiment]
    assert shown["tags"] == {"why": "test"}
    fis.stop_experiment(id=experiment)
    until(fis, experiment, "stopped")
    instance = ec2.run_instances(**there)["Instances"][0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance])


def test_an_experiment_with_targets_acts_on_them(fis, client, template, account):
    ec2 = client("ec2", region=REGION)
    instance = ec2.run_instances(**one_instance(ec2))["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    arn = f"arn:aws:ec2:{REGION}:{account}:instance/{instance}"
    targets = {"it": {"resourceType": "aws:ec2:instance", "resourceArns": [arn], "selectionMode": "ALL"}}
    mine = template({"actionId": "aws:ec2:terminate-instances", "targets": {"Instances": "it"}}, targets)
    experiment = fis.start_experiment(clientToken="kill", experimentTemplateId=mine)["experiment"]["id"]
    until(fis, experiment, "completed")
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})


def test_mistakes_are_named(fis, template, refused):
    with refused("ValidationException"):
        template({"actionId": "aws:no:action"})
    with refused("ResourceNotFoundException"):
        fis.start_experiment(clientToken="x", experimentTemplateId="EXT0123456789abcdef0")
    with refused("ResourceNotFoundException"):
        fis.get_experiment(id="EXP0123456789abcdef0")


def test_a_template_is_changed_and_tagged(fis, template):
    mine = template({"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}})
    changed = fis.update_experiment_template(id=mine, description="another")["experimentTemplate"]
    assert changed["description"] == "another" and list(changed["actions"]) == ["act"]
    fis.tag_resource(resourceArn=changed["arn"], tags={"a": "1", "b": "2"})
    fis.untag_resource(resourceArn=changed["arn"], tagKeys=["a"])
    assert fis.list_tags_for_resource(resourceArn=changed["arn"])["tags"] == {"b": "2"}


def test_target_accounts_are_kept_and_targets_previewed(fis, template, account):
    mine = template({"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}})
    role, other = f"arn:aws:iam::{account}:role/fis", "111111111111"
    fis.create_target_account_configuration(experimentTemplateId=mine, accountId=other, roleArn=role)
    fis.update_target_account_configuration(experimentTemplateId=mine, accountId=other, description="theirs")
    seen = fis.get_target_account_configuration(experimentTemplateId=mine, accountId=other)
    assert seen["targetAccountConfiguration"] == {"roleArn": role, "accountId": other, "description": "theirs"}
    assert len(fis.list_target_account_configurations(experimentTemplateId=mine)["targetAccountConfigurations"]) == 1
    started = fis.start_experiment(
        clientToken="preview", experimentTemplateId=mine, experimentOptions={"actionsMode": "skip-all"}
    )["experiment"]["id"]
    until(fis, started, "completed")
    assert fis.list_experiment_resolved_targets(experimentId=started)["resolvedTargets"] == []
    listed = fis.list_experiment_target_account_configurations(experimentId=started)
    assert len(listed["targetAccountConfigurations"]) == 1
    kept = fis.get_experiment_target_account_configuration(experimentId=started, accountId=other)
    assert kept["targetAccountConfiguration"]["roleArn"] == role
    fis.delete_target_account_configuration(experimentTemplateId=mine, accountId=other)


def test_the_safety_lever_lets_nothing_start(fis, template, refused):
    mine = template({"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}})
    assert fis.get_safety_lever(id="default")["safetyLever"]["state"]["status"] == "disengaged"
    fis.update_safety_lever_state(id="default", state={"status": "engaged", "reason": "no"})
    with refused("ConflictException"):
        fis.start_experiment(clientToken="lever", experimentTemplateId=mine)
    fis.update_safety_lever_state(id="default", state={"status": "disengaged", "reason": "yes"})


def test_the_aws_cli_makes_plays_and_deletes_an_experiment(aws):
    """In its own shorthand, and with what it makes of an answer."""
    aws = functools.partial(aws, "fis")
    account = DEFAULT_ACCOUNT
    made = aws(
        "create-experiment-template", "--description", "cli", "--role-arn", f"arn:aws:iam::{account}:role/fis",
        "--stop-conditions", "source=none", "--experiment-options", "accountTargeting=multi-account",
        "--actions", "w={actionId=aws:fis:wait,parameters={duration=PT10M}},"
        "no={actionId=standfast:az:insufficient-capacity,parameters={availabilityZoneIdentifiers=ap-southeast-2c},startAfter=w}",
        "--tags", "a=b", "--region", REGION, "--query", "experimentTemplate.id", "--output", "text",
    ).strip()  # fmt: skip
    there = ("--region", REGION, "--output", "text")
    role = ("--account-id", "111111111111", "--role-arn", f"arn:aws:iam::{account}:role/fis")
    aws("create-target-account-configuration", "--experiment-template-id", made, *role, *there)
    started = aws(
        "start-experiment", "--experiment-template-id", made, "--tags", "c=d", "--query", "experiment.id", *there
    ).strip()
    assert aws("list-experiment-resolved-targets", "--experiment-id", started, *there).strip() == ""
    stopped = aws("stop-experiment", "--id", started, "--query", "experiment.state.status", *there)
    assert stopped.strip() == "stopping"
    assert made in aws("delete-experiment-template", "--id", made, *there)


def test_a_command_that_is_not_done_is_cancelled(client, account):
    ec2, ssm = client("ec2", region=REGION), client("ssm", region=REGION)
    instance = ec2.run_instances(**one_instance(ec2))["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[instance], WaiterConfig={"Delay": 1})
    sent = ssm.send_command(
        InstanceIds=[instance], DocumentName="AWS-RunShellScript", Parameters={"commands": ["sleep 60"]}
    )["Command"]["CommandId"]
    ssm.cancel_command(CommandId=sent)
    assert ssm.get_command_invocation(CommandId=sent, InstanceId=instance)["Status"] == "Cancelled"
    ec2.terminate_instances(InstanceIds=[instance])
