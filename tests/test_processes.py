"""The processes of a cloud: each is killed while the site is under load, and what it was for goes on or comes back."""

import http.client
import os
import signal

import pytest

import example_site as example
from cloud import Cloud, is_alive, parent
from waiting import eventually

PROBE_S = 8
# A machine that is busy with other things; alone it is under a tenth of that.
OUTAGE_MS_MAX = 1000
# A host's instances boot and pass a health check.
HOST_OUTAGE_MS_MAX = 5000


@pytest.fixture
def site(new_cloud, tmp_path):
    """The example in a cloud that keeps its state, with all targets healthy."""
    site = example.up(new_cloud, "--data", str(tmp_path / "data"))
    site.settled()
    return site


def boots(site: example.Site) -> dict[str, str]:
    """The boot that each instance says in its console that it is in."""
    boots = {}
    for member in site.members():
        lines = site.cloud.run("logs", member["id"]).splitlines()
        boots[member["id"]] = [line for line in lines if "boot " in line and "address" in line][-1]
    return boots


def kill_part(cloud: Cloud, role: str, how: signal.Signals = signal.SIGKILL) -> None:
    """A signal to the host or the data plane; waits until there is another one."""
    old = eventually(lambda: cloud.parts().get(role), limit_s=30, what=f"a {role}")
    os.kill(old, how)
    eventually(lambda: cloud.parts().get(role, old) != old, limit_s=30, what=f"another {role}")


def test_a_killed_control_plane_is_not_noticed_and_its_successor_adopts(site):
    cloud, before, parts, ran = site.cloud, boots(site), site.cloud.parts(), set(site.cloud.processes())
    endpoint = cloud.endpoint
    probe = site.probe(duration_s=2 * PROBE_S)
    cloud.kill()
    assert site.get("/health")[0] == 200, "the load balancer serves without a control plane, also on the API's port"
    status, text = get_api(cloud)
    assert status == 503 and "control plane" in text
    cloud.start()
    assert cloud.endpoint == endpoint, "the port was kept"
    example.Site(cloud)
    assert "event=process_adopted process=host" in cloud.said()
    assert "event=process_adopted process=dataplane" in cloud.said()
    assert probe.is_running()
    report = probe.report()
    assert report["failed"] == 0, report
    assert cloud.parts() == parts and set(cloud.processes()) == ran, "nothing was started anew"
    assert boots(site) == before
    assert sorted(site.settled().values()) == [1, 2, 2]
    assert cloud.stop() == 0


def test_a_killed_data_plane_is_back_in_a_moment(site):
    probe = site.probe(duration_s=PROBE_S)
    os.kill(site.cloud.parts()["dataplane"], signal.SIGKILL)
    answers = [get_api(site.cloud)[0] for _ in range(100)]
    assert set(answers) == {200}, "the API's port is served by one or the other"
    kill_part(site.cloud, "dataplane")
    report = probe.report()
    assert report["failed"] <= example.IN_FLIGHT_MAX and report["longest_outage_ms"] < OUTAGE_MS_MAX, report
    assert "event=process_ended process=dataplane" in site.cloud.said()
    assert len(site.nodes()) == 3
    assert sorted(site.settled().values()) == [1, 2, 2]
    print(f"data plane killed: {report['failed']} failed, outage {report['longest_outage_ms']} ms")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
def test_a_killed_host_is_hardware_that_failed_and_came_back(site, how):
    before = boots(site)
    probe = site.probe(duration_s=PROBE_S)
    kill_part(site.cloud, "host", how)
    report = probe.report()
    assert report["longest_outage_ms"] < HOST_OUTAGE_MS_MAX, report
    assert sorted(site.settled().values()) == [1, 2, 2]
    after = boots(site)
    assert after.keys() == before.keys(), "the same instances"
    assert all(after[id] != before[id] and "boot 2" in after[id] for id in before), (before, after)
    print(f"host got {how.name}: {report['failed']} failed, outage {report['longest_outage_ms']} ms")


def test_without_state_a_killed_host_comes_back_too(new_cloud):
    site = example.up(new_cloud)
    site.settled()
    before = boots(site)
    kill_part(site.cloud, "host")
    eventually(
        lambda: all("boot 2" in line for line in boots(site).values()), limit_s=example.SETTLED_S, what="second boots"
    )
    assert sorted(site.settled().values()) == [1, 2, 2]
    assert boots(site).keys() == before.keys()
    assert site.cloud.stop() == 0


def test_a_cloud_whose_processes_are_all_killed_is_as_it_was(site):
    cloud, ids = site.cloud, {member["id"] for member in site.members()}
    cloud.kill_all()
    cloud.start()
    site = example.Site(cloud)
    assert sorted(site.settled().values()) == [1, 2, 2]
    assert {member["id"] for member in site.members()} == ids
    assert site.probe(duration_s=2).report()["failed"] == 0
    assert cloud.stop() == 0


def test_another_version_replaces_what_it_finds(site, tmp_path):
    cloud, old = site.cloud, site.cloud.parts()
    cloud.kill()
    other = tmp_path / "standfast"
    # The same program, and another file: written at another time.
    other.write_bytes(cloud.binary.read_bytes())
    other.chmod(0o755)
    cloud.binary = other
    cloud.start()
    site = example.Site(cloud)
    said = cloud.said()
    for role in old:
        assert f"event=process_replaced process={role} pid={old[role]} reason=" in said, said
    assert not set(old.values()) & set(cloud.parts().values())
    assert sorted(site.settled().values()) == [1, 2, 2]
    assert cloud.stop() == 0


def test_processes_whose_state_is_deleted_end_themselves(site):
    cloud = site.cloud
    cloud.kill()
    parts, ran = cloud.parts(), cloud.processes()
    assert len(parts) == 2 and ran
    aside = cloud.data.rename(cloud.data.with_name("deleted"))
    eventually(
        lambda: not any(map(is_alive, [*parts.values(), *ran])), limit_s=30, what="the orphans to end"
    )
    assert aside.is_dir()


def test_what_listens_for_a_successor_is_for_its_user_only(site):
    run = site.cloud.data / "run"
    assert run.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in run.glob("*.sock")} == {0o600}


def test_ctrl_c_in_a_terminal_reaches_only_the_server(site):
    # A terminal signals its foreground process group.
    server = os.getpgid(site.cloud.process.pid)
    assert all(os.getpgid(pid) != server for pid in site.cloud.parts().values())
    assert all(parent(pid) == site.cloud.process.pid for pid in site.cloud.parts().values())


def test_the_hidden_commands_say_who_starts_them(shared_folder):
    said = shared_folder.run("dataplane", "--clock", "0:0", expect=1)
    assert "started by `standfast server`" in said


@pytest.fixture
def shared_folder(tmp_path):
    """A cloud that is never started: only its commands are run."""
    return Cloud(tmp_path)


def get_api(cloud: Cloud) -> tuple[int, str]:
    """What the API's port answers to a request that is not a load balancer's."""
    connection = http.client.HTTPConnection(cloud.endpoint.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", "/_standfast/health")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()
