"""The scenarios of examples/ in which alarms, schedules and groups act by themselves: on the linux driver, with time made fast.

They need root. Elsewhere they are skipped, and say so.
"""

import datetime
import json
import re
import urllib.request

import pytest

import scenario
from cloud import Cloud
from scenario import get, reached
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so no scenario of the loop was run"
)

SPEED = 20
# Of real time: what twenty minutes of the cloud's and the launches in them take, several times over.
LIMIT_S = 240


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """A cloud whose clock runs fast, for all scenarios."""
    folder = tmp_path_factory.mktemp("fast")
    options = ("server", "--driver", "linux", "--speed", str(SPEED), "--image-layer", str(scenario.image_layer()))
    cloud = Cloud(folder, *options).start()
    yield cloud
    cloud.close()


@pytest.fixture
def deploy(fast, request):
    """Deploys an example in an account of the test's own and deletes it afterwards."""
    with scenario.deployments(fast, request.node.name) as make:
        yield make


def group(stack, name: str) -> dict:
    """What the group is."""
    return stack.call("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"][0]


def activities(stack, name: str) -> list[dict]:
    """Newest first."""
    return stack.call("autoscaling").describe_scaling_activities(AutoScalingGroupName=name)["Activities"]


def alarm(stack, name: str) -> str:
    """The alarm's state."""
    (found,) = stack.call("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return found["StateValue"]


def mails(cloud: Cloud) -> list[dict]:
    """All that was mailed."""
    return json.load(urllib.request.urlopen(f"{cloud.endpoint}/_standfast/mail", timeout=10))


def subscribed(cloud: Cloud, stack, address: str) -> None:
    """Opens the link in the message that asks this address."""
    asked = eventually(lambda: [mail for mail in mails(cloud) if mail["To"] == address], limit_s=30, what="the question")
    link = re.search(r"http://\S+Action=ConfirmSubscription[^\s>]+", asked[0]["Body"]).group()
    assert urllib.request.urlopen(link, timeout=10).status == 200


def told(cloud: Cloud, address: str, subject: str) -> dict:
    """Waits for a mail."""

    def look():
        return [mail for mail in mails(cloud) if mail["To"] == address and subject in mail["Subject"]]

    return eventually(look, limit_s=LIMIT_S, what=f"a mail with {subject}")[0]


def in_service(stack, name: str, count: int) -> list[str]:
    """Waits until just so many of the group are in service; their ids."""

    def look():
        members = stack.members(name)
        return members if len(members) == count and len(group(stack, name)["Instances"]) == count else None

    return [one["InstanceId"] for one in eventually(look, limit_s=LIMIT_S, what=f"{count} in service")]


def test_l3_what_stops_is_replaced_and_the_history_tells_it(deploy):
    stack = deploy("two-zones")
    name, target_group = stack.outputs["Group"], stack.outputs["TargetGroup"]
    stopped, other = in_service(stack, name, 2)
    zones = {stack.instance(one)["Placement"]["AvailabilityZone"] for one in (stopped, other)}
    assert len(zones) == 2, "one in each zone"
    stack.call("ec2").stop_instances(InstanceIds=[stopped])
    eventually(lambda: stopped not in [one["InstanceId"] for one in group(stack, name)["Instances"]],
               limit_s=LIMIT_S, what="the stopped one to be out of the group")  # fmt: skip
    (new,) = set(in_service(stack, name, 2)) - {other}
    stack.state(stopped, "terminated")

    def healthy() -> set[str]:
        health = stack.call("elbv2").describe_target_health(TargetGroupArn=target_group)["TargetHealthDescriptions"]
        return {one["Target"]["Id"] for one in health if one["TargetHealth"]["State"] == "healthy"}

    eventually(lambda: healthy() == {new, other}, limit_s=LIMIT_S, what="the new one to be registered")
    launch, end = activities(stack, name)[:2]
    story = sorted([launch, end], key=lambda one: one["Description"])
    assert story[0]["Description"] == f"Launching a new EC2 instance: {new}"
    assert story[1]["Description"] == f"Terminating EC2 instance: {stopped}"
    assert "health check" in story[1]["Cause"], story[1]["Cause"]


def test_l4_a_tenth_more_when_busy_and_a_tenth_less_when_quiet(deploy):
    # One in service, so that two bees are enough; a tenth of it, rounded, is the least that can be added.
    stack = deploy("two-zones", Size="1", Bees="2")
    name, autoscaling = stack.outputs["Group"], stack.call("autoscaling")
    in_service(stack, stack.outputs["Swarm"], 2)
    eventually(lambda: alarm(stack, stack.outputs["Busy"]) == "ALARM", limit_s=LIMIT_S, what="five busy minutes")
    eventually(lambda: group(stack, name)["DesiredCapacity"] > 1, limit_s=LIMIT_S, what="the decision to grow")
    grown = [one for one in activities(stack, name) if "triggered policy" in one["Cause"]]
    assert "changing the desired capacity from 1 to 2" in grown[-1]["Cause"], grown
    autoscaling.set_desired_capacity(AutoScalingGroupName=stack.outputs["Swarm"], DesiredCapacity=0)
    eventually(lambda: alarm(stack, stack.outputs["Quiet"]) == "ALARM", limit_s=LIMIT_S, what="twenty quiet minutes")
    in_service(stack, name, 1)
    history = stack.call("cloudwatch").describe_alarm_history(AlarmName=stack.outputs["Quiet"], HistoryItemType="Action")
    assert any("Successfully executed action" in one["HistorySummary"] for one in history["AlarmHistoryItems"])
    # Q2: how much capacity there was, by the minute.
    now = stack.call("cloudwatch").describe_alarms()["MetricAlarms"][0]["StateUpdatedTimestamp"]
    points = stack.call("cloudwatch").get_metric_statistics(
        Namespace="AWS/AutoScaling", MetricName="GroupInServiceInstances", Period=60, Statistics=["Maximum"],
        Dimensions=[{"Name": "AutoScalingGroupName", "Value": name}],
        StartTime=now - datetime.timedelta(hours=2), EndTime=now + datetime.timedelta(hours=2),
    )["Datapoints"]  # fmt: skip
    assert {1.0, 2.0} <= {point["Maximum"] for point in points}


def test_h6_schedules_act_at_their_time_in_their_zone(deploy):
    stack = deploy("two-zones", Size="1")
    name, autoscaling = stack.outputs["Group"], stack.call("autoscaling")
    in_service(stack, name, 1)
    planned = {
        one["ScheduledActionName"]: one
        for one in autoscaling.describe_scheduled_actions(AutoScalingGroupName=name)["ScheduledUpdateGroupActions"]
    }
    assert {(one["Recurrence"], one["TimeZone"]) for one in planned.values()} == {
        ("0 9 * * MON-FRI", "Europe/Amsterdam"), ("0 18 * * MON-FRI", "Europe/Amsterdam"),
    }  # fmt: skip
    created = group(stack, name)["CreatedTime"]
    at = created + datetime.timedelta(minutes=30)
    autoscaling.put_scheduled_update_group_action(
        AutoScalingGroupName=name, ScheduledActionName="once", StartTime=at, MinSize=2, DesiredCapacity=3
    )
    in_service(stack, name, 3)
    cause = [one["Cause"] for one in activities(stack, name) if "scheduled action" in one["Cause"]][0]
    said = re.search(r"At (\S+Z) a scheduled action|At (\S+Z) scheduled action", cause)
    assert said or "scheduled action" in cause, cause
    assert group(stack, name)["MinSize"] == 2
    left = autoscaling.describe_scheduled_actions(AutoScalingGroupName=name)["ScheduledUpdateGroupActions"]
    assert "once" not in [one["ScheduledActionName"] for one in left], "what happened once is over"


def test_h11_an_alarm_tells_when_the_standby_is_to_take_over(deploy, fast):
    stack = deploy("standby", Email="standby@example.com")
    primary, standby, address = (stack.outputs[key] for key in ("Primary", "Standby", "Address"))
    ec2 = stack.call("ec2")
    subscribed(fast, stack, "standby@example.com")
    reached(address, primary)
    ec2.stop_instances(InstanceIds=[standby])
    stack.state(standby, "stopped")
    stack.run("break", "hardware", primary)
    mail = told(fast, "standby@example.com", "ALARM")
    assert stack.outputs["Failed"] in mail["Subject"]
    assert get(address) is None
    ec2.start_instances(InstanceIds=[standby])
    stack.state(standby, "running")
    ec2.associate_address(AllocationId=stack.outputs["AllocationId"], InstanceId=standby, AllowReassociation=True)
    reached(address, standby)


def test_e12_the_inside_is_measured_and_alarms_tell_and_act(deploy, fast):
    stack = deploy("metrics", Email="metrics@example.com", Interval="2", IdleCpu="101")
    server, cloudwatch = stack.outputs["InstanceId"], stack.call("cloudwatch")
    subscribed(fast, stack, "metrics@example.com")

    def names(namespace: str) -> set[str]:
        return {one["MetricName"] for one in cloudwatch.list_metrics(Namespace=namespace)["Metrics"]}

    eventually(lambda: {"mem_used_percent", "disk_used_percent"} <= names("CWAgent"), limit_s=60, what="the agent's metrics")
    eventually(lambda: "OrdersWaiting" in names("Shop"), limit_s=60, what="the job's metric")
    stack.inside(server, "echo 500 > /srv/orders")
    assert "Orders" in told(fast, "metrics@example.com", stack.outputs["Orders"])["Subject"]
    # 600 of the type's 1,024 MiB.
    stack.inside(server, "/usr/bin/python3 -c 'import time; held = b\"x\" * (600 << 20); time.sleep(300)' > /dev/null 2>&1 &")
    told(fast, "metrics@example.com", stack.outputs["Memory"])
    (body,) = [cloudwatch.get_dashboard(DashboardName="server")["DashboardBody"]]
    widget = json.loads(body)["widgets"][1]["properties"]
    picture = cloudwatch.get_metric_widget_image(MetricWidget=json.dumps(widget))["MetricWidgetImage"]
    assert picture.startswith(b"\x89PNG")
    cloudwatch.enable_alarm_actions(AlarmNames=[stack.outputs["Idle"]])
    # Actions that are enabled while an alarm lasts begin with its next change.
    cloudwatch.set_alarm_state(AlarmName=stack.outputs["Idle"], StateValue="OK", StateReason="a look")
    eventually(
        lambda: stack.instance(server)["State"]["Name"] in ("stopping", "stopped"), limit_s=LIMIT_S, what="the server to be stopped"
    )
