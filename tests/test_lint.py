"""`standfast lint`: a template's errors and its weak places, with their lines, before anything runs."""

import json
import subprocess

import pytest

from cloud import BINARY, EXAMPLE, ROOT

TEMPLATE = EXAMPLE / "template.yaml"


def lint(template, *options: str, expect: int = 0) -> str:
    """What it prints. No cloud runs, and it needs none."""
    command = [str(BINARY), "lint", str(template), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == expect, f"{done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def findings(template, *options: str, expect: int = 0) -> dict[str, dict]:
    """Findings by their rule."""
    found = json.loads(lint(template, "--format", "json", *options, expect=expect))
    return {finding["rule"]: finding for finding in found["findings"]}


@pytest.fixture
def changed(tmp_path):
    """Writes the example's template with something replaced, and gives it with the line of the change."""

    def write(old: str, new: str):
        text = TEMPLATE.read_text()
        assert old in text
        path = tmp_path / "template.yaml"
        path.write_text(text.replace(old, new))
        return path, text[: text.index(old)].count("\n") + 1

    return write


def test_a_good_template_has_no_errors():
    found = findings(TEMPLATE)
    assert not [rule for rule, finding in found.items() if finding["severity"] == "error"], found
    assert found["no-target-alarm"]["resource"] == "TargetGroup"
    lint(TEMPLATE, "--fail-on", "warning", expect=1)


def test_a_weak_place_is_named_with_its_line(changed):
    path, line = changed("HealthCheckType: ELB", "HealthCheckType: EC2")
    finding = findings(path, expect=1)["elb-health-unused"]
    assert (finding["resource"], finding["property"], finding["line"]) == ("Group", "HealthCheckType", line)
    assert f"{path}:{line}: error[elb-health-unused] Group.HealthCheckType:" in lint(path, expect=1)


def test_a_group_in_one_zone_is_found(changed):
    zones = "VPCZoneIdentifier: [!Ref SubnetA"
    path, line = changed(f"{zones}, !Ref SubnetB, !Ref SubnetC]", f"{zones}]")
    finding = findings(path, expect=1)["group-in-one-zone"]
    assert (finding["resource"], finding["line"]) == ("Group", line)


# A rule, the example whose template has the flaw, the resource, and what is to be changed for it to be gone.
FLAWS = [
    ("group-of-one", "one-of-one", "Group", [("MaxSize: 1", "MaxSize: 2"), ("MaxSize: '1'", "MaxSize: 2")]),
    ("lone-target", "chain", "Targets", [("- {Id: !Ref App}", "- {Id: !Ref App}\n        - {Id: !Ref Cache}")]),
    (
        "no-front", "bastion", "Bastions",
        [("CidrBlock: 10.6.1.0/24\n      MapPublicIpOnLaunch: true", "CidrBlock: 10.6.1.0/24"),
         ("CidrBlock: 10.6.2.0/24\n      MapPublicIpOnLaunch: true", "CidrBlock: 10.6.2.0/24")],
    ),
    ("no-capacity-rebalance", "spot", "Group", [("Default: 'true'", "Default: 'false'")]),
    ("shared-nat", "nat", "NatGateway", [("Default: one-per-zone", "Default: shared")]),
    ("no-draining", "chain", "Targets", [("Value: '20'", "Value: '0'")]),
    (
        "sticky-sessions", "chain", "Targets",
        [("Value: '20'}", "Value: '20'}\n        - {Key: stickiness.enabled, Value: 'true'}")],
    ),
    (
        "no-addresses", "reference-picture", "Group",
        [("10.1.0.0/24", "10.1.0.0/28"), ("10.1.1.0/24", "10.1.1.0/28"), ("Default: 3\n", "Default: 30\n")],
    ),
    ("unheard-silence", "metrics", "Memory", [("Threshold: 50", "Threshold: 50\n      TreatMissingData: breaching")]),
    ("silent-alarm", "two-zones", "NothingServes", [("AlarmActions: [!Ref Operators]", "AlarmActions: []")]),
    ("one-spot-type", "spot", "Group", []),
    (
        "targets-in-one-zone", "chain", "Targets",
        [("- {Id: !Ref App}", "- {Id: !Ref App}\n        - {Id: !Ref Cache}")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "example", "resource", "changes"), FLAWS, ids=[flaw[0] for flaw in FLAWS])
def test_a_flaw_is_found_where_it_is_and_nowhere_else(tmp_path, rule, example, resource, changes):
    text = (ROOT / "examples" / example / "template.yaml").read_text()
    for old, new in changes:
        text = text.replace(old, new)
    path = tmp_path / "template.yaml"
    path.write_text(text)

    def found(template) -> bool:
        said = json.loads(subprocess.run([BINARY, "lint", template, "--format", "json"], capture_output=True, text=True).stdout)
        return (rule, resource) in {(finding["rule"], finding["resource"]) for finding in said["findings"]}

    before, after = found(ROOT / "examples" / example / "template.yaml"), found(path)
    assert before != after if changes else before, "one of both has the flaw"


def test_parameters_and_the_objective_are_taken_into_account():
    assert "no-headroom" in findings(TEMPLATE, "-p", "DesiredCapacity=9")
    assert "no-headroom" not in findings(TEMPLATE)
    assert "slow-health-check" in findings(TEMPLATE, "--objective", "9s")


def test_errors_of_the_template_are_placed(changed):
    path, line = changed("HealthCheckTimeoutSeconds: 2", "HealthCheckTimeoutSeconds: 7")
    finding = findings(path, expect=1)["template"]
    assert (finding["resource"], finding["line"]) == ("TargetGroup", line), finding
    path, line = changed("CidrBlock: !Ref VpcCidr", "CidrBlock: !Ref NoSuchParameter")
    finding = findings(path, expect=1)["template"]
    assert "NoSuchParameter" in finding["message"] and finding["line"] == line, finding
    path, line = changed("CidrBlock: !Ref VpcCidr", "CidrBlock: 10.0.0.0/4")
    finding = findings(path, expect=1)["template"]
    assert finding["line"] == line and "10.0.0.0/4" in finding["message"], finding
    assert "Request ID" not in finding["message"] and "handler" not in finding["message"], finding
    path, line = changed("Type: AWS::EC2::VPC\n", "Type: [\n")
    assert findings(path, expect=1)["template"]["line"] >= line


def test_sarif_names_rules_levels_and_places():
    log = json.loads(lint(TEMPLATE, "--format", "sarif"))
    assert log["version"] == "2.1.0"
    run = log["runs"][0]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert len(rules) >= 16 and {result["ruleId"] for result in run["results"]} <= rules
    for result in run["results"]:
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1 and place["artifactLocation"]["uri"] == str(TEMPLATE)
        assert result["level"] in ("error", "warning", "note") and result["message"]["text"]


def test_every_example_can_be_linted():
    for template in sorted(ROOT.glob("examples/*/template.yaml")):
        found = json.loads(subprocess.run(
            [str(BINARY), "lint", str(template), "--format", "json"], capture_output=True, text=True, timeout=60,
        ).stdout)["findings"]  # fmt: skip
        errors = [finding["message"] for finding in found if finding["rule"] == "template"]
        # What has no default has to be given.
        assert all("must have values" in message for message in errors), (template, found)


def test_a_template_that_is_not_there_is_said_in_a_line():
    done = subprocess.run([str(BINARY), "lint", "/nowhere.yaml"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "/nowhere.yaml" in done.stderr and len(done.stderr.splitlines()) == 1
