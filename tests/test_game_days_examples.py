"""The game days of examples/, all of them, as a user plays them; several at once, as they wait most of the time.

What a day shows is asserted on its report. Most need root and the linux driver; elsewhere they are skipped and say so. That
each file could be played is seen without.
"""

import concurrent.futures
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable

import pytest

import scenario
from cloud import ROOT, Cloud

EXAMPLES = ROOT / "examples"
# At once. They are not to keep each other from the processors: users of one would see it.
AT_ONCE = 9
# A game day waits for instances, health checks and a busy machine.
PLAYED_S = 400
CHECKED_S = 120
HELD, FAILED, REFUSED = 0, 1, 2


class Report:
    """report.json, and what one asks of it."""

    def __init__(self, report: dict):
        self.all = report
        self.advice = {(one["rule"], one["resource"]) for one in report["advice"]}
        self.seen = {point["resource"] for point in report["single_points"] if point["seen"]}
        self.why = [line["why"] for line in report["hypothesis"] if not line["held"]]

    def time(self, measure: str, layer: str, fault: int = 0) -> dict:
        """A figure of a fault."""
        of = self.all["faults"][fault]["name"]
        (found,) = [t for t in self.all["times"] if (t["fault"], t["measure"], t["layer"]) == (of, measure, layer)]
        return found

    def took(self, measure: str, layer: str, fault: int = 0) -> float:
        """The same, which was measured, in seconds."""
        figure = self.time(measure, layer, fault)
        assert figure["outcome"] == "after", figure
        return figure["measured_ms"] / 1000

    def broken(self, probe: str = "site") -> dict:
        """What a probe's users had while things were broken."""
        (found,) = [one["broken"] for one in self.all["probes"] if one["name"] == probe]
        return found

    def outage(self, probe: str = "site") -> float:
        """The longest, in seconds."""
        return self.broken(probe)["longest_outage_ms"] / 1000

    def entries(self, layer: str) -> list[dict]:
        """The timeline's entries of a layer."""
        return [entry for entry in self.all["timeline"] if entry["layer"] == layer]


@dataclasses.dataclass
class Day:
    """How a file is played, what it ends with, and what its report has to show."""

    shows: Callable[[Report], None]
    code: int = HELD
    options: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    # Whether its instances have to be machines of their own.
    root: bool = True
    # What is changed in the example before it is played.
    changes: tuple[tuple[str, str], ...] = ()


def a_nat_instance_is_replaced(report: Report):
    assert report.outage("first zone") == 0, report.broken("first zone")
    assert set(report.broken("second zone")["answers"]) & {"504", "502", "timed out", "connection closed"}
    assert report.took("replace", "group") < 45 and report.took("recover", "users") > 0
    # No target was hit: neither was anything to eject, nor do health checks promise anything.
    assert report.time("eject", "load_balancer")["outcome"] == "unaffected"
    assert report.time("recover", "users")["promised_ms"] is None


def each_zone_has_a_way_out(report: Report):
    assert report.took("eject", "load_balancer") < report.time("eject", "load_balancer")["promised_ms"] / 1000 == 10
    assert report.time("detect", "group")["outcome"] == "unaffected", "the NAT instance's group is in the other zone"
    assert not report.seen and not {rule for rule, _ in report.advice} & {"shared-nat"}


def zones_share_a_way_out(report: Report):
    assert 18 < report.outage("second zone") < 40 and report.broken("second zone")["answers"]["504"] > 200
    assert {"eu-west-1a", "NatGateway"} <= report.seen
    assert all("the subnets in eu-west-1b lose their way out" in why for why in report.why), report.why
    assert ("shared-nat", "NatGateway") in report.advice


def a_bastion_takes_its_address_along(report: Report):
    assert report.broken("second bastion")["availability"] > 0.98
    assert report.outage("first bastion") > 15 and report.took("replace", "group") < 15
    assert report.time("recover", "users")["outcome"] == "never"
    (dead,) = report.all["faults"][0]["instances"]
    assert report.seen == {f"{dead} of Bastions", "Bastions"}
    assert "Bastions: No load balancer stands before it" in report.why[0]
    assert ("no-front", "Bastions") in report.advice and "of first bastion failed" in report.all["said"]


def a_load_balancer_is_no_second_server(report: Report):
    assert report.broken()["answers"]["503"] > 200 and 13 < report.outage() < 40
    assert {"eu-west-1a", "Targets", "App"} <= report.seen
    assert all("App is its only target" in why for why in report.why), report.why
    # That the only target is taken out helps nobody.
    assert report.time("recover", "users")["promised_ms"] is None
    assert report.time("eject", "load_balancer")["promised_ms"] == 10_000


def an_operator_moves_the_address(report: Report):
    assert report.all["speed"] == 10
    assert 60 < report.took("detect", "alarm") < 210, "a failure counts for all of the period in which it begins"
    assert report.time("detect", "alarm")["promised_ms"] == 180_000
    assert 200 < report.took("recover", "users") < 300
    assert ("recovery-off", "Primary") in report.advice
    # What the cloud has dated stands where it was seen, however fast its time goes.
    seen, dated = sorted(e["at_ms"] for e in report.entries("alarm") if e["what"].endswith(" ALARM"))
    assert abs(seen - dated) < 15_000, (seen, dated)
    assert [e["what"] for e in report.entries("stack")] == [
        "is done: StopInstances", "is done: StartInstances", "is done: AssociateAddress",
    ]  # fmt: skip


def a_third_of_the_users_keep_an_address(report: Report):
    assert 12 < report.outage("first third") < 40
    assert all(report.broken(f"{third} third")["availability"] > 0.98 for third in ("second", "last"))
    assert "Server1" in report.seen and "Address1" in report.seen and "Address2" not in report.seen
    assert {("lone-address", f"Address{n}") for n in "123"} <= report.advice
    assert len(report.why) == 1 and "Address1: Users come to" in report.why[0]


def an_address_moves(report: Report):
    assert len(report.broken()["targets"]) == 2, "both servers have answered"
    assert len(report.entries("stack")) == 2 and not report.all["faults"]


def a_server_grows(report: Report):
    assert 0.5 < report.outage() < 20
    done = [entry["what"].split()[-1] for entry in report.entries("stack")]
    assert done == ["StopInstances", "ModifyInstanceAttribute", "StartInstances"]


def a_spot_instance_is_replaced_in_time(report: Report):
    (noticed,) = report.all["faults"][0]["instances"]
    assert report.took("replace", "group") < 100 and report.took("eject", "load_balancer") < 120
    leaves = [e["at_ms"] for e in report.entries("instance") if e["resource"] == noticed and e["sign"] == "out"]
    assert leaves[0] < report.all["faults"][0]["began_ms"] + 120_000, "before it was taken away"
    assert not {rule for rule, _ in report.advice} & {"all-spot", "no-capacity-rebalance"}


def the_night_has_one_instance(report: Report):
    assert report.took("replace", "group") < 15
    assert report.time("recover", "users")["promise"].startswith("HealthCheckGracePeriod 120")
    assert ("one-is-enough", "Group") in report.advice


def an_agent_sees_memory(report: Report):
    assert report.took("detect", "alarm") < 240 and not report.all["probes"]
    assert "Memory" in {entry["resource"] for entry in report.entries("alarm")}
    assert ("unheard-silence", "Memory") in report.advice


def chaos_is_survived(report: Report):
    faults = report.all["faults"]
    assert [len(fault["instances"]) for fault in faults[:4]] == [1, 2, 1, 1] and faults[4]["zone"]
    assert report.took("replace", "group") < 20 and report.took("replace", "group", fault=4) < 20
    # Late packets take nothing away.
    assert report.time("eject", "load_balancer", fault=1)["outcome"] == "unaffected"
    assert ("no-stop-condition", "Group") not in report.advice and not {"Swarm"} & {name for _, name in report.advice}


def half_a_site_comes_back(report: Report):
    assert report.took("recover", "group") < 35 and report.time("recover", "group")["promised_ms"] == 65_000
    assert ("no-spare-zone", "Group") in report.advice


def one_server_is_a_single_point(report: Report):
    assert {"Server", "Address"} <= report.seen and 5 < report.outage() < 30
    assert report.took("recover", "users") >= 10, "not before it is started"


def exactly_one_and_its_address(report: Report):
    assert report.took("replace", "group") < 45 and 0 < report.outage() < 45


def hardware_is_recovered(report: Report):
    assert 30 < report.took("recover", "users") < 420 and report.took("recover", "instance") > 30
    assert any("fails its status checks" in entry["what"] for entry in report.entries("instance"))


def bad_luck_twice(report: Report):
    assert [len(report.all["faults"][0]["instances"]), bool(report.all["faults"][1]["zone"])] == [2, True]
    assert all(report.took("recover", "group", fault=n) < 60 for n in (0, 1))


def loose_checks_are_too_slow(report: Report):
    assert any("HealthCheckIntervalSeconds 34" in why for why in report.why), report.why
    assert ("slow-health-check", "TargetGroup") in report.advice


AWS = ("--image-layer", str(scenario.LAYER))
FAST = ("--speed", "10")
# An application that takes a while to start misses its first check, and the next one is far away.
LOOSENED = (
    ("HealthCheckIntervalSeconds: 5", "HealthCheckIntervalSeconds: 34"),
    ("./rc.local &", "(sleep 5; exec ./rc.local) &"),
)
# By file, and what is special about it; the longest first.
DAYS = {
    "what-is-the-time/zone-outage loosened": Day(
        loose_checks_are_too_slow, code=FAILED, options=("--seed", "1"), root=False, changes=LOOSENED
    ),
    "two-zones/chaos": Day(chaos_is_survived, options=("--seed", "7")),
    "what-is-the-time/lost-instances": Day(bad_luck_twice, options=("--seed", "7"), root=False),
    "one-of-one/lost-instance": Day(exactly_one_and_its_address, options=AWS, needs=("curl",)),
    "nat/nat-instance": Day(a_nat_instance_is_replaced, options=AWS, needs=("nft", "curl", "python3")),
    "recovery/hardware": Day(hardware_is_recovered, options=FAST, needs=("mkfs.ext4",)),
    "two-zones/zone-outage": Day(half_a_site_comes_back, options=("--seed", "1")),
    "bastion/lost-bastion": Day(a_bastion_takes_its_address_along, code=FAILED, needs=("sshd",)),
    "chain/lost-application": Day(a_load_balancer_is_no_second_server, code=FAILED),
    "standby/hardware": Day(an_operator_moves_the_address, options=FAST),
    "metrics/memory": Day(an_agent_sees_memory, options=(*FAST, *AWS)),
    "one-server/reboot": Day(one_server_is_a_single_point),
    "nat/zone-outage": Day(each_zone_has_a_way_out, options=AWS, needs=("nft", "curl", "python3")),
    "nat/shared-gateway": Day(zones_share_a_way_out, code=FAILED, needs=("python3",)),
    "reference-picture/lost-instance": Day(the_night_has_one_instance, root=False),
    "three-servers/lost-server": Day(a_third_of_the_users_keep_an_address, code=FAILED),
    "one-server/bigger-type": Day(a_server_grows),
    "floating-address/moved-address": Day(an_address_moves),
    "spot/interruption": Day(a_spot_instance_is_replaced_in_time, options=FAST, needs=("curl",)),
}
# Played by test_game_day.py, beside another client.
ELSEWHERE = {"what-is-the-time/zone-outage"}


def game_days() -> set[str]:
    """Every game day in examples/, as FOLDER/NAME."""
    files = [file for file in EXAMPLES.glob("*/*.yaml") if "\nhypothesis:" in file.read_text()]
    return {f"{file.parent.name}/{file.stem}" for file in files}


def missing(day: Day) -> list[str]:
    """The programs that it needs and this machine has not."""
    return [program for program in day.needs if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")]


def changed(name: str, folder: pathlib.Path) -> pathlib.Path:
    """A day's file; in a copy of its example where something is changed."""
    file = EXAMPLES / f"{name.split()[0]}.yaml"
    if not DAYS[name].changes:
        return file
    shutil.copytree(file.parent, folder, ignore=shutil.ignore_patterns("app"))
    for path in folder.glob("*.yaml"):
        text = path.read_text()
        for old, new in DAYS[name].changes:
            text = text.replace(old, new)
        path.write_text(text)
    return folder / file.name


def play(name: str, folder: pathlib.Path) -> tuple[int, str, Report | None]:
    """Plays a day in a cloud that it starts; gives its exit code, what it said, and its report."""
    folder.mkdir(parents=True)
    file = changed(name, folder / "example")
    command = ("game-day", "run", str(file), "--out", str(folder / "out"))
    cloud = Cloud(folder, *command, *DAYS[name].options).start()
    try:
        code = cloud.process.wait(timeout=PLAYED_S)
    finally:
        cloud.close()
    assert list(cloud.tmp.iterdir()) == [], "files are left when the game day is over"
    report = folder / "out/report.json"
    return code, cloud.said(), Report(json.loads(report.read_text())) if report.exists() else None


def check(name: str, folder: pathlib.Path) -> tuple[int, str]:
    """Whether a day could be played, by a simulation; gives the exit code and what it said."""
    folder.mkdir(parents=True)
    file = EXAMPLES / f"{name}.yaml"
    process = Cloud(folder).spawn("game-day", "check", str(file), "--driver", "sim", "--listen", "127.0.0.1:0")
    printed, _ = process.communicate(timeout=CHECKED_S)
    return process.returncode, printed


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """All days that can be played here, begun in order; each test waits for its own."""
    root = scenario.running_as_root()
    here = [name for name, day in DAYS.items() if (root or not day.root) and not missing(day)]
    if root:
        scenario.image_layer()
    folder = tmp_path_factory.mktemp("days")
    pool = concurrent.futures.ThreadPoolExecutor(AT_ONCE)
    days = {name: pool.submit(play, name, folder / name.replace("/", "-").replace(" ", "-")) for name in here}
    # In what is left of the machine while the last days wait.
    yield days | {f"check {name}": pool.submit(check, name, folder / f"check-{name.replace('/', '-')}") for name in game_days()}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", DAYS)
def test_a_day_is_played_and_its_report_shows_what_it_is_about(played, name):
    day = DAYS[name]
    if day.root and not scenario.running_as_root():
        pytest.skip(f"NOT TESTED: the linux driver needs root, so the game day {name} was not played")
    scenario.needs(*day.needs)
    code, said, report = played[name].result()
    assert code == day.code, said
    assert report.all["verdict"] == ("held" if day.code == HELD else "failed")
    assert bool(report.why) == (day.code == FAILED) and all(report.why), report.why
    day.shows(report)


def test_every_day_could_be_played(played):
    assert game_days() == {name.split()[0] for name in DAYS} | ELSEWHERE
    # A simulation has no programs and no packets; that is said before anything breaks.
    cannot = {"metrics/memory": "cannot stress instances here", "two-zones/chaos": "cannot lose packets here"}
    for name in game_days():
        code, printed = played[f"check {name}"].result()
        assert code == (REFUSED if name in cannot else HELD), f"{name}: {printed}"
        assert cannot.get(name, "nothing was broken") in printed, printed
