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
    run.cloud, run.work = cloud, work
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


EXPERIMENT = """
terraform {{
  required_providers {{ aws = {{ source = "hashicorp/aws" }} }}
}}
provider "aws" {{
  skip_credentials_validation = true
  skip_requesting_account_id  = false
}}
resource "aws_iam_role" "fis" {{
  name               = "fis"
  assume_role_policy = jsonencode({{ Version = "2012-10-17", Statement = [] }})
}}
resource "aws_cloudwatch_metric_alarm" "red" {{
  alarm_name          = "red"
  namespace           = "N"
  metric_name         = "m"
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 1
}}
resource "aws_fis_experiment_template" "kill" {{
  description = "{description}"
  role_arn    = aws_iam_role.fis.arn
  stop_condition {{
    source = "aws:cloudwatch:alarm"
    value  = aws_cloudwatch_metric_alarm.red.arn
  }}
  experiment_options {{
    account_targeting            = "multi-account"
    empty_target_resolution_mode = "{mode}"
  }}
  action {{
    name        = "refuse"
    description = "no launches"
    action_id   = "aws:ec2:api-insufficient-instance-capacity-error"
    start_after = ["kill"]
    parameter {{
      key   = "duration"
      value = "PT5M"
    }}
    parameter {{
      key   = "availabilityZoneIdentifiers"
      value = "eu-west-1a"
    }}
    parameter {{
      key   = "percentage"
      value = "50"
    }}
    target {{
      key   = "Roles"
      value = "app"
    }}
  }}
  target {{
    name           = "app"
    resource_type  = "aws:iam:role"
    selection_mode = "ALL"
    resource_arns  = [aws_iam_role.fis.arn]
  }}
  action {{
    name      = "cut"
    action_id = "aws:network:disrupt-connectivity"
    parameter {{
      key   = "duration"
      value = "PT1M"
    }}
    parameter {{
      key   = "scope"
      value = "all"
    }}
    target {{
      key   = "Subnets"
      value = "zone"
    }}
  }}
  target {{
    name           = "zone"
    resource_type  = "aws:ec2:subnet"
    selection_mode = "PERCENT(50)"
    parameters     = {{ availabilityZoneIdentifier = "eu-west-1a" }}
  }}
  action {{
    name      = "kill"
    action_id = "aws:ec2:terminate-instances"
    target {{
      key   = "Instances"
      value = "web"
    }}
  }}
  target {{
    name           = "web"
    resource_type  = "aws:ec2:instance"
    selection_mode = "COUNT(1)"
    resource_tag {{
      key   = "chaos"
      value = "ready"
    }}
    filter {{
      path   = "State.Name"
      values = ["running"]
    }}
  }}
  tags = {{ Name = "kill" }}
}}
"""


def test_an_experiment_template_is_made_changed_and_deleted(terraform):
    work = terraform.work
    (work / "main.tf").write_text(EXPERIMENT.format(description="one", mode="fail"))
    terraform("apply", "-auto-approve", "-no-color", "-input=false")
    fis = terraform.cloud.client("fis")
    (made,) = fis.list_experiment_templates()["experimentTemplates"]
    assert made["description"] == "one" and made["tags"]["Name"] == "kill"
    assert "No changes." in terraform("plan", "-detailed-exitcode", "-no-color", "-input=false")
    (work / "main.tf").write_text(EXPERIMENT.format(description="two", mode="skip"))
    terraform("apply", "-auto-approve", "-no-color", "-input=false")
    (changed,) = fis.list_experiment_templates()["experimentTemplates"]
    assert (changed["id"], changed["description"]) == (made["id"], "two")
    whole = fis.get_experiment_template(id=made["id"])["experimentTemplate"]
    assert whole["experimentOptions"]["emptyTargetResolutionMode"] == "skip"
    assert whole["actions"]["refuse"]["startAfter"] == ["kill"] and whole["stopConditions"][0]["value"].endswith(":red")
    terraform("destroy", "-auto-approve", "-no-color", "-input=false")
    assert fis.list_experiment_templates()["experimentTemplates"] == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="NOT TESTED: there are no shared stacks beside the repository")
@pytest.mark.parametrize("stack", ["network", "web-tier"])
def test_a_shared_stack_applies_plans_empty_and_goes(new_cloud, stack):
    cloud = new_cloud().start()
    done = subprocess.run(
        ["bash", str(SHARED / "run"), cloud.endpoint, stack], text=True, timeout=SHARED_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0 and "1 passed, 0 failed" in done.stdout, done.stdout
