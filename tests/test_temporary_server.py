"""The server of a command: one where none was named, gone with the command by whatever death."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import Settings, get_current_settings

from neural_classifiers.engine import own_prefect
from neural_classifiers.errors import RefusedError
from neural_classifiers.operation import temporary_server

ASK = """
import os, time, urllib.request
from neural_classifiers.engine import own_prefect
from neural_classifiers.operation import temporary_server as server

own_prefect.enter()
server.start()()
assert server.is_temporary()
print(os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"], flush=True)
time.sleep(float(os.environ["LIVES_S"]))
"""


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory):
    """One for all: making its database takes longer than all the rest."""
    return tmp_path_factory.mktemp("prefect")


def command(home: Path, lives_s: float, **more: str) -> subprocess.Popen[str]:
    own = {"NEURAL_CLASSIFIERS_HOME": str(home), "LIVES_S": str(lives_s), **more}
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"} | own
    return subprocess.Popen(
        [sys.executable, "-c", ASK],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_first_commands_at_once_both_get_a_server_whatever_proxy_is_named(prefect_home):
    both = [command(prefect_home, lives_s=0, http_proxy="http://127.0.0.1:9") for _ in range(2)]
    ends = [asking.communicate(timeout=300) for asking in both]
    assert [asking.returncode for asking in both] == [0, 0], ends


def test_a_command_s_server_is_its_own_changes_no_deployment_and_dies_with_it(prefect_home):
    asking = command(prefect_home, lives_s=300)
    url, auth = asking.stdout.readline().split()
    stranger = urllib.request.Request(f"{url}/flows/filter", b"{}")
    with pytest.raises(urllib.error.HTTPError, match="HTTP Error 40"):
        urllib.request.urlopen(stranger, timeout=30)
    with SyncPrefectClient(url, auth_string=auth) as client:
        flow = {"flow_id": str(client.create_flow_from_name("planted"))}
        run = client.request("POST", "/flow_runs/", json=flow).json()
        state = {"state": {"type": "RUNNING"}}
        client.request("POST", f"/flow_runs/{run['id']}/set_state", json=state)
        for method, path, body in (
            ("POST", "/work_pools/", {"name": "p", "type": "process"}),
            ("POST", "/deployments/", {"name": "d", **flow}),
            ("POST", "/flow_runs/", {**flow, "work_pool_name": "p"}),
            ("POST", "/flow_runs/", {**flow, "job_variables": {"command": "id"}}),
            ("PATCH", f"/flow_runs/{run['id']}", {"job_variables": {"command": "id"}}),
            ("DELETE", f"/flows/{flow['flow_id']}", None),
        ):
            with pytest.raises(PrefectHTTPStatusError, match="403"):
                client.request(method, path, json=body)
    [served] = psutil.Process(asking.pid).children()

    asking.kill()
    asking.communicate()

    assert psutil.wait_procs([served], timeout=30)[1] == []


def test_a_command_that_ends_leaves_no_server(prefect_home):
    asking = command(prefect_home, lives_s=0)
    told, said = asking.communicate(timeout=300)
    port = int(told.partition("/api")[0].rpartition(":")[2])

    assert asking.returncode == 0, said
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5)


def test_a_server_that_cannot_start_is_told_of(tmp_path):
    (tmp_path / ".prefect").write_text("a file, where Prefect's folder should be")

    asking = command(tmp_path, lives_s=0)
    _, said = asking.communicate(timeout=300)

    assert asking.returncode == 1
    assert "ServerDiedError: expected Prefect's server to answer" in said


def test_a_server_that_was_named_is_used_and_missed_in_a_line(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")

    ready = temporary_server.start()

    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert not temporary_server.is_temporary()
    with pytest.raises(RefusedError, match=r"^PREFECT_API_URL: expected a Prefect server at"):
        ready()


@pytest.mark.parametrize(
    ("given", "named"),
    [("", "127.0.0.1,localhost"), ("a,b", "a,b,127.0.0.1,localhost"), ("*", "*")],
)
def test_loopback_joins_what_no_proxy_is_asked_for(monkeypatch, given, named):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", given)
    assert own_prefect.past_proxies() == {"no_proxy": named, "NO_PROXY": named}


@pytest.mark.parametrize("is_temporary", [True, False])
def test_only_a_server_that_stays_hears_heartbeats_and_crashes_who_is_silent(
    monkeypatch, is_temporary
):
    monkeypatch.setattr(temporary_server, "is_temporary", lambda: is_temporary)
    with temporary_server.without_heartbeats():
        assert (get_current_settings().flows.heartbeat_frequency is None) == is_temporary

    for name, value in temporary_server.ENVIRONMENT.items() if is_temporary else ():
        monkeypatch.setenv(name, value)
    assert Settings().server.services.triggers.enabled != is_temporary
