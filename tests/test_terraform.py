"""Terraform with nothing but an endpoint set: apply, an empty plan, destroy; the example's twin, and the stacks that the
project was given where they lie beside the repository."""

import os
import pathlib
import shutil
import subprocess

import pytest

import example_site as example
from cloud import EXAMPLE, ROOT, client_environment

APPLY_S = 300
SHARED = ROOT.parent / "shared/terraform"
SHARED_S = 600
PROVIDERS = pathlib.Path(os.environ.get("STANDFAST_TF_PLUGINS", "/opt/tf-plugins"))

pytestmark = pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed")


@pytest.fixture
def terraform(new_cloud, tmp_path):
    """Runs terraform in a folder with the example, against a cloud of its own."""
    cloud = new_cloud().start()
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(EXAMPLE / "main.tf", work)
    environment = os.environ | client_environment(cloud.endpoint)
    environment |= {"TF_CLI_CONFIG_FILE": "/dev/null", "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}

    def run(*arguments: str, expect: int = 0) -> str:
        done = subprocess.run(
            ["terraform", *arguments], cwd=work, env=environment, text=True, timeout=APPLY_S,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == expect, done.stdout
        return done.stdout

    # Without a folder of providers, terraform asks its registry.
    run("init", "-no-color", "-input=false", *([f"-plugin-dir={PROVIDERS}"] if PROVIDERS.is_dir() else []))
    run.cloud = cloud
    return run


def test_the_twin_applies_changes_nothing_more_and_goes(terraform):
    applied = terraform("apply", "-auto-approve", "-no-color", "-input=false")
    assert "Apply complete!" in applied and "elb.localhost" in applied
    cloud = terraform.cloud
    (group,) = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    in_service = [one for one in group["Instances"] if one["LifecycleState"] == "InService"]
    assert len(in_service) == example.INSTANCES
    assert "No changes." in terraform("plan", "-detailed-exitcode", "-no-color", "-input=false")
    assert "Destroy complete!" in terraform("destroy", "-auto-approve", "-no-color", "-input=false")
    assert cloud.client("ec2").describe_vpcs(Filters=[{"Name": "is-default", "Values": ["false"]}])["Vpcs"] == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="NOT TESTED: there are no shared stacks beside the repository")
@pytest.mark.parametrize("stack", ["network", "web-tier"])
def test_a_shared_stack_applies_plans_empty_and_goes(new_cloud, stack):
    cloud = new_cloud().start()
    done = subprocess.run(
        ["bash", str(SHARED / "run"), cloud.endpoint, stack], text=True, timeout=SHARED_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout
