"""A thousand random calls leave nothing behind: not in a cloud that goes on, not in one that ends, not in one that is killed."""

import os
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

# Another seed is another thousand steps.
SEED = int(os.environ.get("CHURN_SEED", "20261121"))
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


def gone_but_groups(holdings: Holdings) -> None:
    """With a cloud's processes the kernel takes all but control groups, in a moment."""

    def look():
        assert not holdings.left(but_groups=True)
        return True

    eventually(look, limit_s=SWEPT_S, what="the kernel to take away what the killed cloud had")


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


def test_callers_at_once_leave_nothing_behind(linux):
    random, holdings = Churn(linux, SEED + 3), Holdings(linux)
    random.described()
    before = settled(holdings)
    # Others never let everything come to rest.
    random.weights[random.steps.index(random.do_rest)] = 0
    begun = time.monotonic()
    random.run_at_once(STEPS, callers=4)
    report(random, begun)
    random.answer()
    random.delete_all()
    empty_again(holdings, before)
    assert linux.stop() == 0
    assert not holdings.left()


def test_a_cloud_killed_in_the_middle_comes_back_as_was_acknowledged_and_leaves_nothing(linux):
    random, holdings = Churn(linux, SEED + 1), Holdings(linux)
    random.described()
    before = settled(holdings)
    begun = time.monotonic()
    random.run(STEPS // 2)
    known = random.described()
    last = random.ec2.create_vpc(CidrBlock="10.49.0.0/16")["Vpc"]["VpcId"]
    linux.kill_all()
    gone_but_groups(holdings)
    linux.start()
    random.resume()
    after = random.settled()
    assert last in after, "the last call that was acknowledged"
    random.made("vpc", last)
    _same(random, known, after)
    random.answer()
    random.run(STEPS // 2)
    report(random, begun)
    random.answer()
    random.delete_all()
    empty_again(holdings, before)
    assert linux.stop() == 0
    assert not holdings.left()


def _same(random: Churn, before: dict, after: dict) -> None:
    """What was acknowledged is there, and as it was, but for what was on its way anyway."""
    ending = {id for id, one in before.items() if one.get("state") in ("shutting-down", "terminated", "deleting")}
    for id, one in before.items():
        was_of_ending = one.get("instance") in ending or ending & {instance for instance, *_ in one.get("attached", [])}
        if id in ending or was_of_ending or _with(ending, before, one):
            continue
        assert id in after, (id, one)
        facts = {name: fact for name, fact in one.items() if name not in ("state", "attached")}
        assert facts == {name: after[id][name] for name in facts}, (id, one, after[id])
        assert _arrived(one.get("state")) in (None, after[id].get("state")), (id, one, after[id])
    for kind, ids in random.live.items():
        assert not set(ids) - set(after), (kind, "acknowledged and lost")
    for kind, ids in random.gone.items():
        back = [id for id in set(ids) & set(after) if after[id].get("state") not in ("terminated", "deleted")]
        assert not back, (kind, "deleted and there again", back)


def _with(ending: set, before: dict, one: dict) -> bool:
    """Whether it has an interface that goes with an instance."""
    return before.get(one.get("at") or "", {}).get("instance") in ending if isinstance(one.get("at"), str) else False


def _arrived(state: str | None) -> str | None:
    """Where a state leads to; nothing where that depends."""
    return {"pending": "running", "stopping": "stopped", "creating": "available"}.get(state, state if state != "in-use" else None)


def test_what_a_killed_cloud_leaves_is_swept_by_the_next_one_also_without_its_state(linux, new_cloud, tmp_path):
    random, holdings = Churn(linux, SEED + 2), Holdings(linux)
    random.run(STEPS // 10)
    vpc = random.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    subnets = random.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    random.live["subnet"] = [subnet["SubnetId"] for subnet in subnets]
    random.do_run()
    random.answer()
    linux.kill_all()
    gone_but_groups(holdings)
    assert holdings.groups(), "an instance ran, so there was something to sweep"
    shutil.rmtree(linux.data)
    folder = tmp_path / "next"
    folder.mkdir()
    next_cloud: Cloud = new_cloud("server", "--driver", "linux", folder=folder).start()
    eventually(lambda: not holdings.left(), limit_s=SWEPT_S, what="the next cloud to have swept")
    assert next_cloud.stop() == 0
    # Of what is gone nothing is left to be stopped.
    linux.data = None
