"""What holds for all services: nothing that is bound goes uncalled, and what is not bound is refused in its protocol.

This module runs last (see conftest): it looks back at what the others have called.
"""

import re

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import recorded
from cloud import DEFAULT_ACCOUNT, REGION

SERVICES = (
    "acm", "application-autoscaling", "autoscaling", "autoscaling-plans", "cloudformation", "cloudwatch", "ec2", "elbv2",
    "events", "fis", "iam", "sns", "ssm", "sts",
)  # fmt: skip


def test_every_service_of_the_binary_is_tested():
    assert sorted(recorded.coverage()) == sorted(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_every_bound_operation_was_called_with_success(service):
    recorded.assert_all_called(service)


@pytest.mark.parametrize("service", SERVICES)
def test_operations_that_are_not_bound_are_refused_in_the_services_protocol(cloud, service):
    client = unchecked_client(cloud, service)
    methods = {operation: method for method, operation in client.meta.method_to_api_mapping.items()}
    for operation in recorded.coverage()[service]["unbound"]:
        with pytest.raises(ClientError) as caught:
            getattr(client, methods[operation])(**needed(client, operation))
        error, meta = caught.value.response["Error"], caught.value.response["ResponseMetadata"]
        assert 400 <= meta["HTTPStatusCode"] < 500, (operation, error)
        assert operation in error["Message"], (operation, error)
        assert re.fullmatch(r"[A-Za-z.]+", error["Code"]), (operation, error)


def unchecked_client(cloud, service):
    """A client that sends what it is given, and leaves the judgement to the cloud."""
    return boto3.client(
        service, endpoint_url=cloud.endpoint, region_name=REGION,
        aws_access_key_id=DEFAULT_ACCOUNT, aws_secret_access_key="test",
        config=Config(parameter_validation=False, retries={"total_max_attempts": 1}),
    )  # fmt: skip


def needed(client, operation):
    """What a client cannot send without: what the path is made of, and the region that a snapshot is copied from."""
    if operation == "CopySnapshot":
        return {"SourceRegion": REGION}
    shape = client.meta.service_model.operation_model(operation).input_shape
    members = shape.members if shape else {}
    return {name: "x" for name, member in members.items() if member.serialization.get("location") == "uri"}
