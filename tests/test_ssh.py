"""ssh into instances of the linux driver, over the addresses that the host reaches them by: a person's login, a session
while the control plane dies, and Terraform's provisioner."""

import os
import pathlib
import shutil
import subprocess

import pytest

import scenario
from cloud import Cloud, client_environment
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so nobody logged in by ssh"
)

WAIT = {"Delay": 1, "MaxAttempts": 60}
LOGIN_S = 30
ANSWER_S = 20
APPLY_S = 120
PROVIDERS = pathlib.Path(os.environ.get("STANDFAST_TF_PLUGINS", "/opt/tf-plugins"))
IMAGE_PARAMETER = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"

TWIN = """
provider "aws" {
  skip_metadata_api_check = true
}

variable "key" {}

data "aws_ssm_parameter" "image" {
  name = "%s"
}

resource "aws_key_pair" "ops" {
  key_name   = "ops"
  public_key = file("${var.key}.pub")
}

resource "aws_security_group" "ssh" {
  name = "ssh"
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_instance" "provisioned" {
  ami                    = data.aws_ssm_parameter.image.value
  instance_type          = "t3.micro"
  key_name               = aws_key_pair.ops.key_name
  vpc_security_group_ids = [aws_security_group.ssh.id]
  connection {
    host        = self.public_ip
    user        = "ec2-user"
    private_key = file(var.key)
    timeout     = "60s"
  }
  provisioner "file" {
    content     = "carried over"
    destination = "/tmp/carried"
  }
  provisioner "remote-exec" {
    inline = ["id -un > /tmp/provisioned", "hostname >> /tmp/provisioned"]
  }
}

output "id" {
  value = aws_instance.provisioned.id
}
""" % IMAGE_PARAMETER


@pytest.fixture
def cloud(new_cloud, tmp_path):
    scenario.needs("sshd", "ssh", "ssh-keygen")
    return new_cloud("server", "--driver", "linux", "--data", str(tmp_path / "data")).start()


def made_key(cloud: Cloud, folder: pathlib.Path, name: str) -> pathlib.Path:
    """A key pair of the cloud; gives the file with its private half."""
    material = cloud.client("ec2").create_key_pair(KeyName=name)["KeyMaterial"]
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(material)
    return path


def launched(cloud: Cloud, key_name: str) -> str:
    """A running instance with the key, open for ssh in a default VPC."""
    ec2 = cloud.client("ec2")
    image = cloud.client("ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]
    group = ec2.create_security_group(GroupName="ssh", Description="ssh from everywhere")["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="0.0.0.0/0"
    )  # fmt: skip
    made = ec2.run_instances(
        ImageId=image, InstanceType="t3.micro", KeyName=key_name, SecurityGroupIds=[group], MinCount=1, MaxCount=1
    )["Instances"][0]["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[made], WaiterConfig=WAIT)
    return made


def address(cloud: Cloud, instance: str) -> str:
    """The instance's address, as people find it."""
    (line,) = [line for line in cloud.run("addresses").splitlines() if instance in line]
    return line.split()[0]


def ssh(key: pathlib.Path, host: str, *command: str) -> list[str]:
    """The command line of a login that trusts the host and has this key only."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
    options += ["BatchMode=yes", "ConnectTimeout=5"]
    return ["ssh", "-F", "none", "-i", str(key), *[f"-o{option}" for option in options], f"ec2-user@{host}", *command]


def logged_in(key: pathlib.Path, host: str, command: str) -> str:
    """What a command says, which must be something; waits for sshd."""

    def look():
        done = subprocess.run(ssh(key, host, command), capture_output=True, text=True, timeout=ANSWER_S)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return eventually(look, limit_s=LOGIN_S, what=f"a login to {host}")


def test_the_key_of_an_instance_opens_it_and_no_other_does(cloud, tmp_path):
    key, other = made_key(cloud, tmp_path, "ops"), made_key(cloud, tmp_path, "other")
    instance = launched(cloud, "ops")
    host = address(cloud, instance)
    told = cloud.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert told["PublicIpAddress"] == host
    user, home, name, endpoint = logged_in(key, host, "id -un; pwd; hostname; echo $AWS_ENDPOINT_URL").split()
    assert (user, home, name) == ("ec2-user", "/home/ec2-user", told["PrivateDnsName"])
    assert endpoint.startswith("http://169.254.169.254"), "clients inside need no configuration"
    refused = subprocess.run(ssh(other, host, "true"), capture_output=True, text=True, timeout=ANSWER_S)
    assert refused.returncode == 255 and "Permission denied" in refused.stderr
    piped = subprocess.run(ssh(key, host, "cat > copied && wc -c < copied"), input="x" * 100_000, capture_output=True, text=True)
    assert piped.stdout.strip() == "100000"


def test_a_session_outlives_the_control_plane(cloud, tmp_path):
    key = made_key(cloud, tmp_path, "ops")
    instance = launched(cloud, "ops")
    host = address(cloud, instance)
    assert logged_in(key, host, "echo in") == "in"
    session = subprocess.Popen(
        ssh(key, host, "echo up; cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:

        def says(word: str) -> str:
            session.stdin.write(word + "\n")
            return session.stdout.readline().strip()

        assert session.stdout.readline().strip() == "up" and says("before") == "before"
        cloud.kill()
        assert says("alone") == "alone"
        assert logged_in(key, host, "echo new") == "new", "and others can be opened"
        cloud.start()
        assert "event=process_adopted process=host" in cloud.said()
        assert says("after") == "after"
        told = cloud.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        assert (told["State"]["Name"], told["PublicIpAddress"]) == ("running", host)
        session.stdin.close()
        assert session.wait(timeout=ANSWER_S) == 0
    finally:
        session.kill()
        session.wait()


@pytest.mark.skipif(not shutil.which("terraform"), reason="NOT TESTED: terraform is not installed")
def test_terraform_provisions_an_instance_over_ssh(cloud, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "main.tf").write_text(TWIN)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    environment = os.environ | client_environment(cloud.endpoint) | {"TF_VAR_key": str(key)}
    environment |= {"TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def terraform(*arguments: str) -> str:
        done = subprocess.run(
            ["terraform", *arguments], cwd=work, env=environment, text=True, timeout=APPLY_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout

    terraform("init", "-no-color", "-input=false", *([f"-plugin-dir={PROVIDERS}"] if PROVIDERS.is_dir() else []))
    applied = terraform("apply", "-auto-approve", "-no-color", "-input=false")
    assert "Provisioning with 'remote-exec'" in applied and "Apply complete!" in applied
    instance = terraform("output", "-raw", "id")
    user, name = cloud.run("exec", instance, "--", "cat", "/tmp/provisioned").split()
    assert user == "ec2-user" and name.startswith("ip-")
    assert cloud.run("exec", instance, "--", "cat", "/tmp/carried") == "carried over"
    assert "No changes." in terraform("plan", "-detailed-exitcode", "-no-color", "-input=false")
    assert "Destroy complete!" in terraform("destroy", "-auto-approve", "-no-color", "-input=false")
