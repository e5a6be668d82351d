"""The example's site: deployed with `standfast up`, looked at with `status`, loaded with `probe`."""

import collections
import http.client
import json
import pathlib
import re
import subprocess
import urllib.parse

from cloud import EXAMPLE, Cloud
from waiting import eventually

TEMPLATE = EXAMPLE / "template.yaml"
STACK = "what-is-the-time"
INSTANCES = 5
# Deploying, replacing and rebalancing take a few health checks of 5 s.
SETTLED_S = 90
PROBE_RATE = 200
# What something that is killed can take with it: the requests that it was just answering. Each takes a millisecond or two;
# a busy machine may have kept those of a tenth of a second waiting.
IN_FLIGHT_MAX = PROBE_RATE // 10


class Site:
    """A cloud in which `up` has deployed the example."""

    def __init__(self, cloud: Cloud):
        self.cloud = cloud
        self.url = eventually(self._printed_url, limit_s=SETTLED_S, what="`up` to print the site's URL and be done")

    def _printed_url(self) -> str | None:
        said = self.cloud.said()
        match = re.search(r"^ *URL +(http://\S+)", said, re.MULTILINE)
        # What it says last, when it is done.
        return match.group(1) if match and "Ctrl-C" in said else None

    @property
    def host(self) -> str:
        """The load balancer's name, without the port."""
        return urllib.parse.urlsplit(self.url).hostname

    def status(self) -> dict:
        """What `standfast status --json` says."""
        return json.loads(self.cloud.run("status", "--json"))

    def members(self) -> list[dict]:
        """The group's instances."""
        return self.status()["groups"][0]["instances"]

    def spread(self) -> dict[str, int]:
        """How many instances are in service in each zone."""
        return dict(collections.Counter(m["zone"] for m in self.members() if m["lifecycle"] == "InService"))

    def settled(self, without: str | None = None) -> dict[str, int]:
        """Waits until there are as many instances as desired, all in service and healthy, evenly spread over the zones
        with power, and nothing else is a target; gives the spread."""

        def look():
            status = self.status()
            members = status["groups"][0]["instances"]
            states = [(member["lifecycle"], member["health"]) for member in members]
            assert states == [("InService", "Healthy")] * INSTANCES, states
            targets = status["load_balancers"][0]["target_groups"][0]["targets"]
            health = {target["id"]: target["health"] for target in targets}
            assert health == {member["id"]: "healthy" for member in members}, health
            spread = collections.Counter(member["zone"] for member in members)
            assert without not in spread and len(spread) == (2 if without else 3), spread
            assert max(spread.values()) - min(spread.values()) <= 1, spread
            return dict(spread)

        return eventually(look, limit_s=SETTLED_S, what=f"{INSTANCES} healthy instances, evenly spread")

    def get(self, path: str = "/", at: tuple[str, int] | None = None) -> tuple[int, str]:
        """Status and text of one request: to the URL, or to this address with the load balancer's name as Host."""
        url = urllib.parse.urlsplit(self.url)
        # Every name below localhost is this machine (RFC 6761); not every resolver knows.
        connection = http.client.HTTPConnection(*(at or ("127.0.0.1", url.port)), timeout=10)
        try:
            connection.request("GET", path, headers={"Host": self.host, "User-Agent": "curl/8"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def nodes(self) -> list[tuple[str, int]]:
        """The addresses of its own that the load balancer listens on: those of the cloud's sockets in 127.64/10."""
        listening = listening_sockets(self.cloud.parts()["dataplane"])
        return sorted({one for one in listening if one[0].startswith("127.") and 64 <= int(one[0].split(".")[1]) < 128})

    def probe(self, duration_s: int, rate: int = PROBE_RATE) -> "Probe":
        """Starts open-loop load on the site."""
        return Probe(self, duration_s, rate)


class Probe:
    """`standfast probe` in the background; `report()` waits for its end."""

    def __init__(self, site: Site, duration_s: int, rate: int):
        self.duration_s = duration_s
        self.process = site.cloud.spawn(
            "probe", site.url, "--rate", str(rate), "--duration", f"{duration_s}s", "--json", stderr=subprocess.DEVNULL
        )

    def report(self) -> dict:
        """What the users saw."""
        try:
            printed, _ = self.process.communicate(timeout=self.duration_s + 30)
        finally:
            self.process.kill()
        assert self.process.returncode == 0, printed
        return json.loads(printed)

    def is_running(self) -> bool:
        """Whether it still sends."""
        return self.process.poll() is None


def up(make, *options: str, template: pathlib.Path = TEMPLATE, **cloud_options) -> Site:
    """`standfast up` in the foreground of a new cloud."""
    return Site(make("up", str(template), *options, **cloud_options).start())


def listening_sockets(pid: int) -> list[tuple[str, int]]:
    """Where this process listens for TCP over IPv4."""
    inodes = set()
    for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            match = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
        except OSError:
            continue  # closed meanwhile
        if match:
            inodes.add(match.group(1))
    rows = [row.split() for row in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [address(row[1]) for row in rows if row[3] == "0A" and row[9] in inodes]


def address(text: str) -> tuple[str, int]:
    """`0100007F:11D6` as the kernel prints it, on a little-endian machine."""
    host, port = text.split(":")
    return ".".join(str(byte) for byte in reversed(bytes.fromhex(host))), int(port, 16)
