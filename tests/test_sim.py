"""The sim driver: the same site, without a process."""

import json

from cloud import EXAMPLE, Cloud
from waiting import eventually


def test_a_simulated_site_answers_and_survives_a_dark_zone(tmp_path):
    cloud = Cloud(tmp_path, "up", str(EXAMPLE / "template.yaml"), "--driver", "sim", "--speed", "20").start()
    try:
        url = eventually(lambda: site_url(cloud), limit_s=60, what="the site's URL")
        assert "(sim driver)" in cloud.said()
        cloud.run("break", "zone", "eu-west-1b")
        report = json.loads(cloud.run("probe", url, "--rate", "50", "--duration", "3s", "--json"))
        assert report["answers"].get("200", 0) >= 145, report
        assert cloud.processes() == []
    finally:
        cloud.close()


def site_url(cloud: Cloud) -> str | None:
    """What `up` prints when the site answers."""
    lines = [line.split() for line in cloud.said().splitlines()]
    found = [words[1] for words in lines if len(words) == 2 and words[0] == "URL"]
    return found[0] if found and "The site answers." in cloud.said() else None
