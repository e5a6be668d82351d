"""A scenario's stack on the linux driver: deployed from examples/, reached from outside, looked into."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import boto3
import pytest

from cloud import REGION, ROOT, Cloud
from waiting import eventually

DEPLOYED_S = 120
REACHED_S = 30
# How long "does not answer" is given to answer.
SILENT_S = 1.0
# What an instance's root can run besides what every machine has: the AWS CLI, at the path where Amazon Linux has it.
LAYER = ROOT / "target/e2e-image"


def image_layer() -> pathlib.Path:
    """A directory with the AWS CLI, to be laid over the base image; made from the tests' own virtual environment."""
    packages = pathlib.Path(boto3.__file__).parent.parent
    done = LAYER / "done"
    if not done.exists():
        shutil.rmtree(LAYER, ignore_errors=True)
        (LAYER / "opt").mkdir(parents=True)
        shutil.copytree(packages, LAYER / "opt/aws", symlinks=True)
        command = LAYER / "usr/bin/aws"
        command.parent.mkdir(parents=True)
        command.write_text(
            "#!/usr/bin/python3\nimport sys\nsys.path.insert(0, '/opt/aws')\nfrom awscli.clidriver import main\nsys.exit(main())\n"
        )
        command.chmod(0o755)
        done.touch()
    return LAYER


def needs(*programs: str) -> None:
    """Skips, and says so, where the machine lacks what a scenario runs."""
    missing = [program for program in programs if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")]
    if missing:
        pytest.skip(f"NOT TESTED: this machine has no {', '.join(missing)}")


class Stack:
    """A deployed template and what a user does with it."""

    def __init__(self, cloud: Cloud, account: str, example: str, **parameters: str):
        """`example` is a folder of examples/ with its template.yaml, or `FOLDER/NAME` for another template in it."""
        folder, _, name = example.partition("/")
        self.cloud, self.account, self.name = cloud, account, name or folder
        self.clients: dict[str, object] = {}
        template = (ROOT / "examples" / folder / f"{name or 'template'}.yaml").read_text()
        self.call("cloudformation").create_stack(
            StackName=self.name,
            TemplateBody=template,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        stack = eventually(self._deployed, limit_s=DEPLOYED_S, what=f"{example} to be deployed")
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def call(self, service: str):
        """A boto3 client in the stack's account."""
        if service not in self.clients:
            self.clients[service] = self.cloud.client(service, account=self.account)
        return self.clients[service]

    def _deployed(self) -> dict | None:
        (stack,) = self.call("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        if stack["StackStatus"].startswith("ROLLBACK") or stack["StackStatus"].endswith("FAILED"):
            events = self.call("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
            pytest.fail(json.dumps([e for e in events if "FAILED" in e["ResourceStatus"]], default=str, indent=1))
        return stack if stack["StackStatus"] == "CREATE_COMPLETE" else None

    def delete(self) -> None:
        """Deletes the stack and waits until it is gone."""
        self.call("cloudformation").delete_stack(StackName=self.name)

        def gone():
            try:
                (stack,) = self.call("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
            except self.call("cloudformation").exceptions.ClientError:
                return True
            assert not stack["StackStatus"].endswith("FAILED"), stack
            return stack["StackStatus"] == "DELETE_COMPLETE"

        eventually(gone, limit_s=DEPLOYED_S, what=f"{self.name} to be deleted")

    def instance(self, instance_id: str) -> dict:
        """What DescribeInstances says of it."""
        (reservation,) = self.call("ec2").describe_instances(InstanceIds=[instance_id])["Reservations"]
        return reservation["Instances"][0]

    def state(self, instance_id: str, wanted: str) -> dict:
        """Waits for the state."""

        def look():
            found = self.instance(instance_id)
            return found if found["State"]["Name"] == wanted else None

        return eventually(look, limit_s=REACHED_S, what=f"{instance_id} to be {wanted}")

    def members(self, group: str) -> list[dict]:
        """The group's instances in service."""
        (found,) = self.call("autoscaling").describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return [member for member in found["Instances"] if member["LifecycleState"] == "InService"]

    def run(self, *arguments: str, expect: int | None = 0, limit_s: int = 60) -> str:
        """Runs a command of the binary as the stack's account; gives what it printed."""
        environment = self.cloud.environment() | {"AWS_ACCESS_KEY_ID": self.account}
        command = [str(self.cloud.binary), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s)
        told = f"standfast {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert expect is None or done.returncode == expect, told
        return done.stdout

    def inside(self, instance_id: str, command: str, expect: int | None = 0, limit_s: int = 60) -> str:
        """Runs a shell command in the instance, as its root; gives what it printed."""
        return self.run("exec", instance_id, "--", "sh", "-c", command, expect=expect, limit_s=limit_s)

    def opens(self, instance_id: str, address: str, port: int) -> bool:
        """Whether the instance can open a TCP connection."""
        script = f"import socket; socket.create_connection(('{address}', {port}), {SILENT_S})"
        return self.inside(instance_id, f'/usr/bin/python3 -c "{script}" 2>/dev/null && echo yes || echo no').strip() == "yes"


@contextlib.contextmanager
def deployments(cloud: Cloud, name: str):
    """Gives what deploys an example in an account of this name's own; all of them are deleted at the end."""
    stacks = []
    account = "".join(str(byte % 10) for byte in name.encode())[-12:].zfill(12)

    def make(example: str, prepare=lambda ec2: None, cloud: Cloud = cloud, **parameters: str) -> Stack:
        prepare(cloud.client("ec2", account=account))
        stacks.append(Stack(cloud, account, example, **parameters))
        return stacks[-1]

    yield make
    for stack in reversed(stacks):
        stack.delete()


def get(address: str, path: str = "/", port: int = 80, source: str | None = None, timeout: float = SILENT_S) -> str | None:
    """The body of an answer from a public address, as a user outside gets it; `None` without one. Every try is a new
    connection. From 127.254.0.N the user is 198.51.100.N."""
    try:
        with socket.create_connection((address, port), timeout, (source, 0) if source else None) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {address}\r\nUser-Agent: curl/8\r\n\r\n".encode())
            answer = b""
            while part := connection.recv(65536):
                answer += part
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode() if b" 200 " in head.split(b"\r\n")[0] + b" " else None


def reached(address: str, saying: str = "", **options) -> str:
    """Waits for an answer that contains the text."""

    def look():
        body = get(address, **options)
        return body if body is not None and saying in body else None

    return eventually(look, limit_s=REACHED_S, what=f"{address} to answer{' with ' + saying if saying else ''}")


class Outage:
    """Asks an address again and again and measures for how long it did not answer."""

    def __init__(self, address: str):
        self.address = address

    def __enter__(self) -> "Outage":
        assert get(self.address) is not None
        self.begun = time.monotonic()
        return self

    def over(self, saying: str = "") -> float:
        """Waits for the next answer (with this text); gives the seconds since the beginning."""
        reached(self.address, saying)
        return time.monotonic() - self.begun

    def __exit__(self, *_):
        pass


def region_zone(letter: str) -> str:
    """`eu-west-1a`."""
    return f"{REGION}{letter}"


def running_as_root() -> bool:
    """Whether the linux driver can be expected."""
    return sys.platform == "linux" and os.geteuid() == 0
