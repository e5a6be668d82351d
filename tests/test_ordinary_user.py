"""The site as a user without any rights, on a machine where only root has been before."""

import os
import pathlib
import shutil
import tempfile

import pytest

import example_site as example
from cloud import BINARY

NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user, with setpriv"
)


@pytest.fixture
def folder():
    """A folder that everyone can read, with the binary and the template."""
    with tempfile.TemporaryDirectory(prefix="test-standfast-") as path:
        folder = pathlib.Path(path)
        folder.chmod(0o755)
        shutil.copy(BINARY, folder / "standfast")
        shutil.copy(example.TEMPLATE, folder / "template.yaml")
        yield folder


def test_the_site_runs_serves_and_goes_without_rights(new_cloud, folder):
    site = example.up(
        new_cloud, "--stack-name", "site", template=folder / "template.yaml",
        folder=folder, binary=folder / "standfast", uid=NOBODY,
    )  # fmt: skip
    cloud = site.cloud
    assert {os.stat(f"/proc/{pid}").st_uid for pid in cloud.processes()} == {NOBODY}
    assert sorted(site.settled().values()) == [1, 2, 2]
    nodes = site.nodes()
    assert len(nodes) == 3, "it has addresses of its own, on ports that it may bind"
    assert all(site.get(at=node)[0] == 200 for node in nodes)
    assert site.probe(duration_s=3).report()["failed"] == 0
    assert "DELETE_COMPLETE" in cloud.run("down")
    assert cloud.stop() == 0
