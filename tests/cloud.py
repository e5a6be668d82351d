"""A Standfast process under test: how it is started, called, stopped, killed, and what it must not leave behind.

Each cloud gets a temporary directory of its own as TMPDIR, so what it leaves there can be told from what others do.
"""

import os
import pathlib
import re
import signal
import subprocess
import threading

import boto3
from botocore.config import Config

import recorded
from waiting import eventually

ROOT = pathlib.Path(__file__).parent.parent
BINARY = pathlib.Path(os.environ.get("STANDFAST_BIN", ROOT / "target/release/standfast")).absolute()
EXAMPLE = ROOT / "examples/what-is-the-time"
REGION = "eu-west-1"
DEFAULT_ACCOUNT = "000000000000"

# The commands of the processes that a cloud has besides its control plane.
ROLES = ("host", "dataplane")

READY_S = 30
STOPPED_S = 60
SWEPT_S = 20


class Cloud:
    """One cloud in the foreground: `standfast server` or `standfast up`."""

    def __init__(self, folder: pathlib.Path, *command: str, binary: pathlib.Path = BINARY, uid: int | None = None):
        self.tmp = folder / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.tmp.chmod(0o777)
        self.binary = binary
        self.uid = uid
        self.output: list[str] = []
        self.marks: set[str] = set()
        self.endpoint = ""
        self.process: subprocess.Popen | None = None
        self.command = command or ("server",)
        # Where it keeps its state, if it does; then its host and data plane outlive its control plane.
        self.data = pathlib.Path(command[command.index("--data") + 1]) if "--data" in command else None

    def start(self) -> "Cloud":
        """Starts it on a free port and waits until it says that it is ready."""
        self.process = self.spawn(*self.command, "--listen", "127.0.0.1:0")
        self.output = []
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        self.endpoint = eventually(self._ready, limit_s=READY_S, what="the cloud to be ready")
        return self

    def _read(self, process: subprocess.Popen) -> None:
        # Kept with the test's other files, for whoever asks why it failed.
        with open(self.tmp.parent / "cloud.log", "a") as log:
            for line in process.stdout:
                self.output.append(line.rstrip("\n"))
                log.write(line)
                log.flush()

    def _ready(self) -> str | None:
        match = re.search(r"Standfast is ready: (http://\S+)", "\n".join(self.output))
        if not match:
            assert self.process.poll() is None, f"the cloud ended: {self.said()}"
            return None
        return match.group(1)

    def _note_marks(self) -> None:
        """Remembers what the processes of this cloud's instances are marked with."""
        files = [*self.tmp.glob("standfast-*/cloud-id"), *(self.data.glob("hosts/cloud-id") if self.data else [])]
        self.marks.update(file.read_text() for file in files)

    def said(self) -> str:
        """Everything that it has printed."""
        return "\n".join(self.output)

    def environment(self) -> dict[str, str]:
        """What commands that talk to this cloud are run with."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
        return kept | {"TMPDIR": str(self.tmp)} | client_environment(self.endpoint)

    def spawn(self, *arguments: str, **options) -> subprocess.Popen:
        """Runs the binary and does not wait."""
        command = [str(self.binary), *arguments]
        if self.uid is not None:
            command = ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", *command]
        environment = self.environment()
        if not self.endpoint:
            environment.pop("AWS_ENDPOINT_URL")
        return subprocess.Popen(
            command, env=environment, cwd=options.pop("cwd", "/"), text=True,
            stdout=subprocess.PIPE, stderr=options.pop("stderr", subprocess.STDOUT), **options,
        )  # fmt: skip

    def run(self, *arguments: str, expect: int = 0, limit_s: int = 120) -> str:
        """Runs a command of the binary against this cloud; gives what it printed."""
        process = self.spawn(*arguments)
        try:
            printed, _ = process.communicate(timeout=limit_s)
        finally:
            process.kill()
        assert process.returncode == expect, f"standfast {' '.join(arguments)}: {process.returncode}\n{printed}"
        return printed

    def client(self, service: str, account: str = DEFAULT_ACCOUNT, region: str = REGION):
        """A boto3 client that neither retries nor hides a failure, and whose successful calls are recorded."""
        client = boto3.client(
            service, endpoint_url=self.endpoint, region_name=region,
            aws_access_key_id=account, aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=60),
        )  # fmt: skip
        recorded.watch(client)
        return client

    def stop(self, signal_number: int = signal.SIGINT) -> int:
        """Asks it to stop, waits for its end and checks that it left nothing; gives its exit code."""
        self._note_marks()
        parts = self.parts()
        self.process.send_signal(signal_number)
        code = self.process.wait(timeout=STOPPED_S)
        assert self.processes() == [], "processes are left when the cloud has stopped"
        assert not [name for name, pid in parts.items() if is_alive(pid)], "parts of the cloud are left"
        assert list(self.tmp.iterdir()) == [], "files are left when the cloud has stopped"
        return code

    def kill(self) -> None:
        """SIGKILL to the control plane. Where no state is kept, all else ends by itself, soon."""
        self._note_marks()
        parts = self.parts()
        self.process.kill()
        self.process.wait(timeout=STOPPED_S)
        if not self.data:
            self._gone(parts)

    def kill_all(self) -> None:
        """SIGKILL to every process of the cloud itself, at once. What runs in its instances ends by itself, soon."""
        self._note_marks()
        parts = self.parts()
        for pid in [self.process.pid, *parts.values()]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(timeout=STOPPED_S)
        self._gone(parts)

    def _gone(self, parts: dict[str, int]) -> None:
        eventually(
            lambda: not self.processes() and not any(map(is_alive, parts.values())),
            limit_s=SWEPT_S, what="the killed cloud's processes to end",
        )  # fmt: skip

    def parts(self) -> dict[str, int]:
        """The processes of the cloud besides its control plane, by their role."""
        if self.data:
            files = {file.stem: file for file in self.data.glob("run/*.pid")}
            found = {role: int(file.read_text().split()[0]) for role, file in files.items()}
            return {role: pid for role, pid in found.items() if is_alive(pid)}
        children = {role_of(pid): pid for pid in pids() if parent(pid) == self.process.pid}
        return {role: pid for role, pid in children.items() if role in ROLES}

    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self.process is not None and self.process.poll() is None

    def processes(self) -> list[int]:
        """The processes that run in this cloud's instances."""
        self._note_marks()
        return [pid for pid in pids() if any(mark in instance_mark(pid) for mark in self.marks)]

    def close(self) -> None:
        """The end of a test: stops what still runs, also what a killed control plane left."""
        if self.is_running():
            self.stop()
        elif self.data:
            parts = self.parts()
            for pid in parts.values():
                os.kill(pid, signal.SIGTERM)
            self._gone(parts)


def client_environment(endpoint: str) -> dict[str, str]:
    """All that an AWS client needs to be told."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }


def is_alive(pid: int) -> bool:
    """Whether a process has not ended. One that nobody has waited for has."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """The kernel's letter for what a process does; nothing when it is gone."""
    return (stat(pid) or [""])[0]


def parent(pid: int) -> int:
    """The parent's process id, or 0 when the process has ended."""
    return int((stat(pid) or ["", "0"])[1])


def stat(pid: int) -> list[str]:
    """What the kernel says of a process, from its state on."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def role_of(pid: int) -> str:
    """The first argument of a process."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return words[1].decode() if len(words) > 1 else ""


def pids() -> list[int]:
    """All processes."""
    return [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]


def instance_mark(pid: int) -> str:
    """`CLOUD/INSTANCE` for a process of an instance, else nothing. A zombie has no environment and does not count."""
    try:
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return ""
    found = re.search(rb"(?:^|\0)STANDFAST_INSTANCE=([^\0]*)", environment)
    return found.group(1).decode() if found else ""
