"""A thousand random calls leave nothing behind: not in a cloud that goes on, not in one that ends, not in one that is killed."""

import shutil
import time

import pytest

import churn
import scenario
from churn import Churn, Holdings
from cloud import Cloud
from waiting import eventually

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so nobody looked what it leaves behind"
)

SEED = 20261121
STEPS = 1000
SWEPT_S = 30


@pytest.fixture
def linux(new_cloud, tmp_path):
    """A cloud that keeps its state."""
    return new_cloud("server", "--driver", "linux", "--data", str(tmp_path / "data")).start()


def settled(holdings: Holdings) -> dict:
    """What a cloud without anything of its users holds, once that does not change any more."""
    eventually(lambda: not holdings.cloud.processes(), limit_s=SWEPT_S, what="instances to end")
    seen = []

    def look():
        seen.append(holdings.now())
        return len(seen) > 3 and seen[-1] == seen[-2] == seen[-3]

    eventually(look, limit_s=SWEPT_S, what="the cloud to be at rest")
    return seen[-1]


def empty_again(holdings: Holdings, before: dict) -> None:
    """Waits until the cloud holds what it held before."""

    def look():
        assert holdings.now() == before
        return True

    eventually(look, limit_s=SWEPT_S, what="the cloud to hold nothing more")


def report(what: Churn, begun: float) -> None:
    """What was done, for whoever reads the test's output."""
    done = sum(n for name, n in what.counts.items() if name.endswith(" done"))
    print(f"seed {SEED}: {done} of {sum(what.counts.values())} done in {time.monotonic() - begun:.0f} s: {dict(what.counts)}")


def test_a_thousand_random_steps_leave_nothing_behind(linux):
    random, holdings = Churn(linux, SEED), Holdings(linux)
    random.described()
    before = settled(holdings)
    begun = time.monotonic()
    random.run(STEPS)
    report(random, begun)
    random.answer()
    random.delete_all()
    empty_again(holdings, before)
    assert linux.stop() == 0
    assert not holdings.left()
