"""A thousand random calls leave nothing behind: not in a cloud that goes on, not in one that ends, not in one that is killed."""

import os
import shutil
import time

import pytest

import scenario
from churn import Churn, Holdings
from cloud import Cloud

pytestmark = pytest.mark.skipif(
    not scenario.running_as_root(), reason="NOT TESTED: the linux driver needs root, so nobody looked what it leaves behind"
)

# Another seed is another thousand steps.
SEED = int(os.environ.get("CHURN_SEED", "20261121"))
STEPS = 1000


@pytest.fixture
def linux(new_cloud, tmp_path):
    """A cloud that keeps its state."""
    return new_cloud("server", "--driver", "linux", "--data", str(tmp_path / "data")).start()


def report(what: Churn, begun: float) -> None:
    """What was done, for whoever reads the test's output."""
    done = sum(n for name, n in what.counts.items() if name.endswith(" done"))
    print(f"seed {SEED}: {done} of {sum(what.counts.values())} done in {time.monotonic() - begun:.0f} s: {dict(what.counts)}")


def test_a_thousand_random_steps_leave_nothing_behind(linux):
    leaves_nothing(linux, Churn(linux, SEED), lambda random: random.run(STEPS))


def test_callers_at_once_leave_nothing_behind(linux):
    random = Churn(linux, SEED + 3)
    # Others never let everything come to rest.
    random.weights[random.steps.index(random.do_rest)] = 0
    leaves_nothing(linux, random, lambda random: random.run_at_once(STEPS, callers=4))


def leaves_nothing(linux: Cloud, random: Churn, run) -> None:
    """Runs the steps, deletes what they made, and looks what is left of it."""
    holdings = Holdings(linux)
    random.described()
    before = holdings.at_rest()
    begun = time.monotonic()
    run(random)
    report(random, begun)
    random.answer()
    random.delete_all()
    holdings.are_again(before)
    assert linux.stop() == 0
    holdings.are_gone()


def test_a_cloud_killed_in_the_middle_comes_back_as_was_acknowledged_and_leaves_nothing(linux):
    random, holdings = Churn(linux, SEED + 1), Holdings(linux)
    random.described()
    before = holdings.at_rest()
    begun = time.monotonic()
    random.run(STEPS // 2)
    known = random.described()
    last = random.ec2.create_vpc(CidrBlock="10.49.0.0/16")["Vpc"]["VpcId"]
    linux.kill_all()
    holdings.are_gone(but_groups=True)
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
    holdings.are_again(before)
    assert linux.stop() == 0
    holdings.are_gone()


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
    holdings.are_gone(but_groups=True)
    assert holdings.groups(), "an instance ran, so there was something to sweep"
    shutil.rmtree(linux.data)
    folder = tmp_path / "next"
    folder.mkdir()
    next_cloud: Cloud = new_cloud("server", "--driver", "linux", folder=folder).start()
    holdings.are_gone()
    assert next_cloud.stop() == 0
    # Of what is gone nothing is left to be stopped.
    linux.data = None
