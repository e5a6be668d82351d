"""The site as a user without any rights, on a machine where only root has been before."""

import os
import shutil

import pytest

import example_site as example
from cloud import readable_binary

NOBODY = 65534

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user, with setpriv"
)


def test_the_site_runs_serves_and_goes_without_rights(new_cloud, tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    template = shutil.copy(example.TEMPLATE, tmp_path / "template.yaml")
    site = example.up(
        new_cloud, "--stack-name", "site", template=template, binary=readable_binary(tmp_path), uid=NOBODY
    )
    cloud = site.cloud
    assert {os.stat(f"/proc/{pid}").st_uid for pid in cloud.processes()} == {NOBODY}
    assert sorted(site.settled().values()) == [1, 2, 2]
    nodes = site.nodes()
    assert len(nodes) == 3, "it has addresses of its own, on ports that it may bind"
    assert all(site.get(at=node)[0] == 200 for node in nodes)
    assert site.probe(duration_s=3).report()["failed"] == 0
    assert "DELETE_COMPLETE" in cloud.run("down")
    assert cloud.stop() == 0
