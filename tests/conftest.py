"""Fixtures: a cloud for all API tests, clouds of one's own for tests that break things, clients for both."""

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

import recorded
from cloud import DEFAULT_ACCOUNT, Cloud, client_environment

AWS = pathlib.Path(sys.executable).parent / "aws"

# Begun first where several processes share the tests, as they take longest.
LONG = (
    "test_examples_loop", "test_terraform", "test_examples", "test_fis_faults", "test_game_day", "test_scaling", "test_console",
    "test_churn",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Long ones first; and what looks back at the calls of all tests comes after them."""

    def place(item) -> tuple[bool, int]:
        name = item.module.__name__
        return name == "test_clients", LONG.index(name) if name in LONG else len(LONG)

    items.sort(key=place)


def pytest_sessionfinish(session):
    """The calls of this process are there for those who look back."""
    recorded.keep(getattr(session.config, "workerinput", {}).get("workerid", "main"))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """The cloud that API tests share. Each module has an account of its own in it."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud")).start()
    yield cloud
    cloud.close()


@pytest.fixture
def new_cloud(tmp_path):
    """Makes clouds for one test, and stops them after it."""
    with contextlib.ExitStack() as stack:

        def make(*command: str, folder: pathlib.Path = tmp_path, **options) -> Cloud:
            cloud = Cloud(folder, *command, **options)
            stack.callback(cloud.close)
            return cloud

        yield make


@pytest.fixture(scope="module")
def account(request) -> str:
    """The module's own account: twelve digits of its name."""
    digits = "".join(str(byte % 10) for byte in request.module.__name__.encode())
    return (digits * 12)[:12]


@pytest.fixture(scope="module")
def client(cloud, account):
    """Makes boto3 clients in the module's account."""
    return lambda service, **options: cloud.client(service, account=account, **options)


@pytest.fixture
def aws(cloud):
    """Runs the aws CLI against the shared cloud, in the default account."""

    def run(*arguments: str, expect: int = 0, endpoint: str | None = None) -> str:
        environment = os.environ | client_environment(endpoint or cloud.endpoint)
        environment["AWS_ACCESS_KEY_ID"] = DEFAULT_ACCOUNT
        command = [str(AWS), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == expect, f"aws {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout if expect == 0 else done.stderr

    return run


@contextlib.contextmanager
def _refused(code: str, naming: str = ""):
    with pytest.raises(ClientError) as caught:
        yield caught
    error = caught.value.response["Error"]
    status = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert error["Code"] == code, error
    assert 400 <= status < 500, status
    assert naming in error["Message"], error


@pytest.fixture(scope="session")
def refused():
    """`with refused(code, naming=text)`: the call inside is the caller's mistake, and the message names it."""
    return _refused
