"""The reference picture: load raises CPU, an alarm fires, an e-mail arrives, the group grows; the load ends, it shrinks."""

import email
import os
import re
import socketserver
import threading
import urllib.request

import boto3
import pytest

from cloud import ROOT, Cloud
from waiting import eventually

# In real time this takes some six minutes, which is asked for by this variable; else the cloud's clock runs faster.
REAL = "STANDFAST_REAL_TIME"
SPEED = 1 if os.environ.get(REAL) else 6
# Of the cloud's clock: what a launch, a few looks at CPU and the evaluations between take at most.
LIMIT_S = 900 / SPEED


class Mailbox(socketserver.StreamRequestHandler):
    """A mail server that takes everything: one message for each connection's DATA."""

    def handle(self) -> None:
        self.say("220 the test")
        while line := self.rfile.readline():
            command = line.split()[0].upper() if line.split() else b""
            if command == b"DATA":
                self.say("354 go on")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += self.rfile.readline()
                self.server.messages.append(text.decode())
            self.say("221 bye" if command == b"QUIT" else "250 ok")

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mailbox():
    """A mail server on loopback, with what it got."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        server.messages, server.daemon_threads = [], True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def decoded(message: str) -> str:
    """A message's text, as a mail program shows it."""
    body = email.message_from_string(message.removesuffix(".\r\n"))
    return body.get_payload(decode=True).decode()


def test_the_reference_picture(tmp_path, mailbox):
    smtp = f"smtp://127.0.0.1:{mailbox.server_address[1]}"
    cloud = Cloud(tmp_path, "server", "--speed", str(SPEED), "--smtp", smtp).start()
    try:
        run_the_picture(cloud, mailbox)
    finally:
        cloud.close()


def run_the_picture(cloud: Cloud, mailbox) -> None:
    template = ROOT / "examples/reference-picture/template.yaml"
    cloud.run("up", str(template), "--stack-name", "picture", limit_s=180)
    cloudformation, cloudwatch = cloud.client("cloudformation"), cloud.client("cloudwatch")
    autoscaling = cloud.client("autoscaling")
    (stack,) = cloudformation.describe_stacks(StackName="picture")["Stacks"]
    out = {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    asks = eventually(lambda: mailbox.messages, what="the message that asks", limit_s=30)[0]
    link = re.search(r"http://\S+Action=ConfirmSubscription\S+", decoded(asks)).group()
    assert urllib.request.urlopen(link.rstrip(">."), timeout=10).status == 200

    def group() -> dict:
        return autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[out["GroupName"]])["AutoScalingGroups"][0]

    def state(alarm: str) -> str:
        return cloudwatch.describe_alarms(AlarmNames=[out[alarm]])["MetricAlarms"][0]["StateValue"]

    url = out["URL"] + "/burn?ms=45"
    load = cloud.spawn("load", url, "--rate", "20", "--duration", f"{int(LIMIT_S * 2)}s", "--json")
    try:
        eventually(lambda: state("Busy") == "ALARM", what="the alarm", limit_s=LIMIT_S)
        eventually(lambda: group()["DesiredCapacity"] > 1, what="the decision to grow", limit_s=10)
        grown = eventually(
            lambda: [one for one in group()["Instances"] if one["LifecycleState"] == "InService"][1:],
            what="another instance in service", limit_s=LIMIT_S,
        )  # fmt: skip
        assert grown
        # An alarm that has seen a little of the first minute says OK before.
        about = re.compile(r"^Subject: .*ALARM: \"?.*Busy", re.M)
        told = eventually(
            lambda: [one for one in mailbox.messages if about.search(one)], what="the e-mail", limit_s=30
        )[0]  # fmt: skip
        assert "Threshold Crossed" in decoded(told)
    finally:
        load.terminate()
        load.wait(30)
    activities = autoscaling.describe_scaling_activities(AutoScalingGroupName=out["GroupName"])["Activities"]
    why = [one["Cause"] for one in activities if "monitor alarm" in one["Cause"]]
    assert why and "triggered policy" in why[0] and "from 1 to 2" in why[0], activities
    eventually(lambda: group()["DesiredCapacity"] == 1, what="the scale-in", limit_s=LIMIT_S)
    eventually(lambda: len(group()["Instances"]) == 1, what="the end of the others", limit_s=LIMIT_S)
    items = cloudwatch.describe_alarm_history(AlarmName=out["Busy"], HistoryItemType="Action")["AlarmHistoryItems"]
    assert any("Successfully executed action" in one["HistorySummary"] and ":sns:" in one["HistoryData"] for one in items)
