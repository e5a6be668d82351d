"""Which operations were called through boto3 and answered with success, and which ones there are."""

import collections
import functools
import json
import subprocess

SUCCEEDED: dict[str, set[str]] = collections.defaultdict(set)

# Bound only to say what to use instead; each has a test that reads the refusal.
ALWAYS_REFUSED = {"autoscaling": {"AttachLoadBalancers", "DetachLoadBalancers"}}


def watch(client) -> None:
    """Records the client's successful calls."""
    client.meta.events.register("after-call", _note)


def _note(http_response, model, **_) -> None:
    if http_response.status_code < 300:
        SUCCEEDED[model.service_model.service_name].add(model.name)


@functools.cache
def coverage() -> dict[str, dict[str, list[str]]]:
    """What the binary says it has: `{service: {"bound": [operation], "unbound": [operation]}}`."""
    from cloud import BINARY

    return json.loads(subprocess.check_output([BINARY, "coverage"], text=True))


def assert_all_called(service: str) -> None:
    """Every bound operation of the service has answered with success. To be asked last in the service's module."""
    bound = set(coverage()[service]["bound"])
    assert bound, f"{service} has no operations"
    missing = sorted(bound - SUCCEEDED[service] - ALWAYS_REFUSED.get(service, set()))
    assert not missing, f"bound, but never called with success: {', '.join(missing)}"
