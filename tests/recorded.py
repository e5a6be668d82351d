"""Which operations were called through boto3 and answered with success, and which ones there are.

Tests run in several processes; each leaves a file of its calls (`keep`), and `test_clients` looks at all of them.
"""

import collections
import functools
import json
import os
import pathlib
import subprocess

# Where the calls of a whole run are kept; without it only those of this process count.
CALLS = os.environ.get("STANDFAST_CALLS")
SUCCEEDED: dict[str, set[str]] = collections.defaultdict(set)

# Bound only to say what to use instead; each has a test that reads the refusal.
ALWAYS_REFUSED = {"autoscaling": {"AttachLoadBalancers", "DetachLoadBalancers"}}


def watch(client) -> None:
    """Records the client's successful calls."""
    client.meta.events.register("after-call", _note)


def _note(http_response, model, **_) -> None:
    if http_response.status_code < 300:
        SUCCEEDED[model.service_model.service_name].add(model.name)


def keep(worker: str) -> None:
    """Leaves the calls of this process for those who look back at the run."""
    if CALLS:
        called = {service: sorted(operations) for service, operations in SUCCEEDED.items()}
        pathlib.Path(CALLS).mkdir(parents=True, exist_ok=True)
        pathlib.Path(CALLS, f"{worker}.json").write_text(json.dumps(called))


@functools.cache
def succeeded() -> dict[str, set[str]]:
    """What was called in this process and in those before it."""
    all = collections.defaultdict(set, {service: set(called) for service, called in SUCCEEDED.items()})
    for file in pathlib.Path(CALLS).glob("*.json") if CALLS else ():
        for service, operations in json.loads(file.read_text()).items():
            all[service] |= set(operations)
    return all


@functools.cache
def coverage() -> dict[str, dict[str, list[str]]]:
    """What the binary says it has: `{service: {"bound": [operation], "unbound": [operation]}}`."""
    from cloud import BINARY

    return json.loads(subprocess.check_output([BINARY, "coverage"], text=True))


def assert_all_called(service: str) -> None:
    """Every bound operation of the service has answered with success. To be asked last in the service's module."""
    bound = set(coverage()[service]["bound"])
    assert bound, f"{service} has no operations"
    missing = sorted(bound - succeeded()[service] - ALWAYS_REFUSED.get(service, set()))
    assert not missing, f"bound, but never called with success: {', '.join(missing)}"
