"""Game days with the binary: one command from nothing to a report, whose figures agree with those of another client."""

import csv
import datetime
import http.client
import json
import re
import resource
import shutil
import signal
import threading
import time
import urllib.parse

import pytest

from cloud import EXAMPLE, Cloud
from waiting import eventually

DAY = EXAMPLE / "zone-outage.yaml"
# A game day waits for instances, health checks and a busy machine.
PLAYED_S = 420
# The other client asks this often.
EVERY_S = 0.02


class Counter:
    """Asks the site again and again, each request at its time, and counts by itself."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.requests: list[tuple[float, bool]] = []
        self.over = threading.Event()
        self.host = None

    def find(self, cloud: Cloud) -> bool:
        """Looks for the load balancer's name."""
        try:
            balancers = cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]
        except Exception:
            return False
        self.host = balancers[0]["DNSName"] if balancers else None
        return self.host is not None

    def ask(self) -> bool:
        """One request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", urllib.parse.urlsplit(self.endpoint).port, timeout=2)
        try:
            connection.request("GET", "/", headers={"Host": self.host, "User-Agent": "curl/8"})
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()

    def count(self) -> None:
        """Until it is told to end."""
        while not self.over.is_set():
            begun = time.time()
            self.requests.append((begun, self.ask()))
            time.sleep(max(0, EVERY_S - (time.time() - begun)))

    def between(self, begin: float, end: float) -> tuple[int, int]:
        """Requests and failures in this time."""
        then = [succeeded for at, succeeded in self.requests if begin <= at < end]
        return len(then), then.count(False)


class Played:
    """`standfast game-day run` in the background, in a cloud that it starts."""

    def __init__(self, cloud: Cloud, day, out, *options: str):
        cloud.command = ("game-day", "run", str(day), "--out", str(out), *options)
        self.cloud, self.out = cloud, out

    def start(self) -> "Played":
        self.cloud.start()
        return self

    def code(self) -> int:
        """Waits for its end."""
        return self.cloud.process.wait(timeout=PLAYED_S)

    def report(self) -> dict:
        """What it left."""
        return json.loads((self.out / "report.json").read_text())


@pytest.fixture
def play(new_cloud, tmp_path):
    """Plays a file in a cloud of the test's own."""
    return lambda day, *options: Played(new_cloud(), day, tmp_path / "out", *options)


def loosened(folder, *changes: tuple[str, str]):
    """The example with its template or its day changed; gives the day."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("app"))
    for name in ("template.yaml", DAY.name):
        path = folder / name
        text = path.read_text()
        for old, new in changes:
            text = text.replace(old, new)
        path.write_text(text)
    return folder / DAY.name


def began(report: dict) -> float:
    """When its first request was due, as this machine counts."""
    return datetime.datetime.fromisoformat(report["began"]).timestamp()


def test_one_command_loses_a_zone_heals_and_agrees_with_another_client(play):
    played = play(DAY, "--seed", "1", "--records").start()
    counter = Counter(played.cloud.endpoint)
    eventually(lambda: counter.find(played.cloud), limit_s=60, what="the load balancer")
    eventually(counter.ask, limit_s=60, what="the site to answer")
    counting = threading.Thread(target=counter.count, daemon=True)
    counting.start()
    code = played.code()
    counter.over.set()
    counting.join()
    said = played.cloud.said()
    assert code == 0, said
    report = played.report()
    assert report["schema"] == "standfast.game-day-report/1" and report["verdict"] == "held", said
    probe = report["probes"][0]
    assert len(probe["whole"]["zones"]) == 3, probe["whole"]["zones"]
    with (played.out / "requests.csv").open() as file:
        requests = list(csv.DictReader(file))
    kept = (len(requests), sum(request["succeeded"] == "0" for request in requests))
    assert kept == (probe["whole"]["requests"], probe["whole"]["failed"])
    assert {request["zone"] for request in requests if request["succeeded"] == "1"} == set(probe["whole"]["zones"])
    # The same time, asked by somebody else. Each may be unlucky in what it had under way when the zone went.
    phase = next(phase for phase in report["phases"] if phase["name"] == "broken")
    length_s = (phase["to_ms"] - phase["from_ms"]) / 1000
    assert abs(probe["broken"]["requests"] - 100 * length_s) <= 1, "every request that was due is counted"
    begin = began(report) + phase["from_ms"] / 1000
    requests, failed = counter.between(begin, begin + length_s)
    assert requests > 500, "the other client was there"
    availability = probe["broken"]["availability"]
    assert abs((1 - failed / requests) - availability) < 0.01, (failed, requests, probe["broken"])
    fault = report["faults"][0]
    dark = [second for second in range(fault["began_ms"] // 1000 + 3, fault["ended_ms"] // 1000 - 1)]
    assert sum(probe["seconds"]["zones"]["eu-west-1a"][second] for second in dark) == 0, "a dark zone answers nobody"
    layers = {entry["layer"] for entry in report["timeline"]}
    assert {"fault", "load_balancer", "group", "instance"} <= layers
    page = (played.out / "report.html").read_text()
    assert "<b>Held</b>" in page and "http-equiv" not in page and not re.search(r"(src|href)=", page)
    assert played.cloud.processes() == [], "the cloud that it started is gone"


def test_an_interrupted_game_day_heals_first_and_reports(play):
    played = play(DAY, "--driver", "sim").start()
    eventually(lambda: "breaks: power is lost" in played.cloud.said(), limit_s=120, what="the fault")
    played.cloud.process.send_signal(signal.SIGINT)
    assert played.code() == 1
    assert "is over: power is lost" in played.cloud.said()
    assert played.report()["verdict"] == "interrupted"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("parameters: {availabilityZoneIdentifier: eu-west-1a}", "parameters: {zone: eu-west-1a}", "no parameter 'zone'"),
        ("eject: 15s", "detect: {alarm: 15s}", "the stack has no alarm"),
        ("availability: 97 %", "availability: 99.9999 %", "at least 1,000,000 are needed"),
        ("standfast:az:power-interruption", "standfast:az:no-such", "no-such"),
        ("rate: 100", "rates: 100", "rates is not known here"),
        ("url: ${URL}", "url: http://example.com/", "not on this machine"),
        ("watch: 45s", "steps: [{call: 'ec2:NoSuchThing'}]\nwatch: 45s", "ec2 has no operation 'NoSuchThing'"),
    ],
)
def test_what_cannot_be_played_is_refused_before_anything_breaks(cloud, account, tmp_path, old, new, said):
    day = loosened(tmp_path / "wrong", (old, new))
    process = cloud.spawn("game-day", "check", str(day))
    printed, _ = process.communicate(timeout=PLAYED_S)
    assert process.returncode == 2, printed
    assert said in printed and "nothing was broken" in printed, printed


def test_probes_of_ports_and_names(cloud):
    port = urllib.parse.urlsplit(cloud.endpoint).port
    tcp = json.loads(cloud.run("probe", f"tcp://127.0.0.1:{port}", "--rate", "20", "--duration", "1s", "--json"))
    assert tcp["kind"] == "tcp" and tcp["answers"] == {"connected": 20}, tcp
    dead = json.loads(cloud.run("probe", "tcp://127.0.0.1:1", "--rate", "20", "--duration", "1s", "--json"))
    assert dead["succeeded"] == 0 and dead["outages"] == 1, dead
    assert "form dns://" in cloud.run("probe", "dns://127.0.0.1:53", "--duration", "1s", expect=1)


def test_a_probe_of_5000_a_second_drops_nothing_and_needs_less_than_a_core(cloud, tmp_path):
    seconds, kept = 5, tmp_path / "requests.csv"
    url, options = f"{cloud.endpoint}/_standfast/health", ("--json", "--records", str(kept))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = cloud.run("probe", url, "--rate", "5000", "--duration", f"{seconds}s", *options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(printed)
    assert report["requests"] == 5000 * seconds, report
    with kept.open() as file:
        requests = list(csv.DictReader(file))
    # One each fifth of a millisecond, whatever became of the others.
    assert [int(request["due_us"]) for request in requests] == [200 * n for n in range(5000 * seconds)]
    assert sum(request["succeeded"] == "1" for request in requests) == report["succeeded"]
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < seconds, f"{used:.1f} s of processor time in {seconds} s"
