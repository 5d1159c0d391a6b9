"""``up`` as a user has it: a schedule fires, a failed search is retried, a killed run goes on.

Server and worker are processes on a port and a folder of their own, with the password that was
made and a webhook told. The failure is one that happens: a file lies where the search's records
should go. Once it is gone, Retry does again what failed and what depends on it, and nothing else.
"""

import contextlib
import json
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import psutil
import pytest
from conftest import comments_file
from operated import SMALL, Site, wait_until

from neural_classifiers.engine import paths

LONG = {"solver": ["adam"], "alpha": [1e-4 + i * 1e-6 for i in range(200)]}


class Webhook(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    told: ClassVar[list[dict]] = []

    def do_POST(self):
        self.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Nothing: the test looks at what was posted."""


DATABASES = os.environ.get("DATABASES", "SQLite").split()  # "SQLite PostgreSQL": twice as long


@pytest.fixture(scope="module", params=DATABASES)
def site(request, tmp_path_factory):
    Webhook.told.clear()
    webhook = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    site = Site(
        tmp_path_factory.mktemp("site"),
        postgresql=request.param == "PostgreSQL",
        NEURAL_CLASSIFIERS_WEBHOOK=f"http://127.0.0.1:{webhook.server_port}/",
    )
    site.start()
    yield site
    assert site.stop() == []
    assert site.processes() == []
    assert site.command("down").strip() == "nothing was up"
    webhook.shutdown()


def executed(site: Site, run_id: str, attempt: int) -> set[str]:
    """The tasks of an attempt that were done, and did not end from the cache."""
    steps = site.told(run_id)["steps"]
    return {s["task_run"] for s in steps if s["attempt"] == attempt and not s["hit"]}


def forked(site: Site, run_id: str) -> bool:
    """Whether a run has begun to compute in a process of its own."""
    if site.folder_of(run_id) is None:  # what another run left may still be ending
        return False
    for process in site.processes():
        with contextlib.suppress(psutil.Error):
            if "--multiprocessing-fork" in process.cmdline():
                return True
    return False


def refused(site: Site, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict]:
    """Status and headers of an answer that says no."""
    request = urllib.request.Request(f"{site.address}/api/{path}", body, headers)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)
    return error.value.code, dict(error.value.headers)


def test_nobody_gets_in_who_should_not(site):
    assert refused(site, "admin/version")[0] == 401
    assert refused(site, "admin/version", Authorization="Basic dXNlcjpndWVzcw==")[0] == 401
    known = f"Basic {b64encode(site.auth.encode()).decode()}"
    status, headers = refused(
        site, "flow_runs/filter", b"{}", Authorization=known, Origin="http://example.org"
    )
    assert status == 403
    assert "access-control-allow-origin" not in headers
    assert refused(site, "flow_runs/filter", b"{}", Authorization=known)[0] == 403  # no token
    assert refused(site, "health", Host=f"evil.example:{site.port}")[0] == 421
    listening = {
        connection.laddr.ip
        for process in site.processes()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_the_ui_asks_its_own_server_whatever_the_port_and_reports_to_nobody(site):
    with urllib.request.urlopen(f"{site.address}/ui-settings", timeout=30) as answer:
        told = json.loads(answer.read())
    assert (told["api_url"], told["csrf_enabled"]) == (f"{site.address}/api", True)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert told["available_uis"] == ["v1"]  # the other one has telemetry that nothing turns off
    assert refused(site, "docs")[0] == 404  # loads from elsewhere


def test_what_it_writes_is_for_its_user_alone(site):
    for path in (".prefect", ".prefect/auth", "artifacts"):
        assert not paths.open_to_others(site.folder / path), path


def test_no_one_gets_the_port_between_a_server_and_the_next(site):
    site.part("server").kill()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", site.port))
    assert site.ask("admin/version")  # waits in the socket's queue for the next server


def test_it_is_up_once(site):
    said = site.command("up", status=1)
    assert f"it is up already: {site.address}" in said


def test_the_doctor_finds_all_well(site):
    checks = {row["what"]: row for row in json.loads(site.command("doctor", "--json"))["checks"]}
    for what in ("versions", "settings", "server", "worker", "schedules", "alerts"):
        assert checks[what]["state"] == "well", checks[what]
    assert "nightly next" in checks["schedules"]["found"]
    kind = "PostgreSQL 18" if site.database else "SQLite 3"
    assert re.fullmatch(
        rf"{kind}\S*, [\d.]+ MB; runs kept for 90 days", checks["database"]["found"]
    )


def test_every_deployment_has_its_schedule_and_a_form_that_explains(site):
    told = site.deployments()
    crons = {n: [s["schedule"]["cron"] for s in d["schedules"]] for n, d in told.items()}
    assert crons == {
        "nightly": ["30 2 * * *"],
        "weekly": ["30 4 * * 0"],
        "manual": [],
        "incoming": ["15 * * * *"],
    }
    assert {d["schedules"][0]["schedule"]["timezone"] for d in told.values() if d["schedules"]} == {
        "UTC"
    }
    for deployment in told.values():
        form = deployment["parameter_openapi_schema"]["properties"]
        assert all(field.get("description") for field in form.values()), form
        assert str(site.folder) not in json.dumps(deployment["pull_steps"])
    names = [a["name"] for a in site.ask("automations/filter", {})]
    assert sorted(names) == [
        "A run that fell silent has crashed",
        "A run that never started has crashed",
    ]


def test_a_schedule_fires_a_failed_search_is_retried_and_a_killed_run_goes_on(site):
    source = comments_file(site.folder / "comments.jsonl", n=120)
    in_the_way = site.folder / "artifacts" / "cache" / "search_keras"
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    in_the_way.write_text("a file where a folder should be")
    nightly = site.deployments()["nightly"]

    # A schedule of a few seconds, on small data: seen to fire
    parameters = {"source": str(source), **SMALL}
    schedule = {"schedule": {"interval": 10}, "parameters": parameters, "active": True}
    [made] = site.ask(f"deployments/{nightly['id']}/schedules", [schedule])
    wait_until(lambda: site.runs("Running"), 120, "the schedule to fire")
    site.ask(f"deployments/{nightly['id']}/schedules/{made['id']}", method="DELETE")
    for waiting in site.runs("Scheduled", "Late", "Pending"):  # the next, due while this one ran
        site.ask(f"flow_runs/{waiting['id']}", method="DELETE")
    [failed] = wait_until(lambda: site.runs("Failed"), 300, "the scheduled run to fail")
    run_id = failed["id"]
    assert failed["auto_scheduled"]  # by the schedule, by nobody's hand
    assert "search_keras" in failed["state"]["message"]
    metrics = json.loads((site.folder_of(run_id) / "metrics.json").read_bytes())
    assert {"constant", "linear", "linear_raw", "scikit"} == set(metrics["comments"])
    assert (site.folder_of(run_id) / "report.html").exists()

    # Retry, and kill -9 in the middle of it
    in_the_way.unlink()
    site.retry(run_id)
    flow = wait_until(
        lambda: site.told(run_id)["attempts"] == 2 and site.flow_process(), 120, "a second attempt"
    )
    flow.kill()
    site.wait_for_state(run_id, "Crashed", timeout_s=120)
    wait_until(lambda: site.told(run_id)["status"] == "crashed", 120, "the folder to say so")

    # Once more, from the command line: what failed and what depends on it, nothing else
    told = json.loads(site.command("rerun", "last", "--json").splitlines()[0])
    assert (told["status"], told["run_id"]) == ("completed", run_id)
    assert site.ask(f"flow_runs/{run_id}")["run_count"] == 3
    done = executed(site, run_id, 2) | executed(site, run_id, 3)
    of_keras = {f"{what}-keras" for what in ("score_model", "draw_model")}
    assert done == {"search_keras", *of_keras, "compare_models", "explain_models"}
    metrics = json.loads((site.folder_of(run_id) / "metrics.json").read_bytes())
    assert {"constant", "linear", "linear_raw", "scikit", "keras"} == set(metrics["comments"])
    run = site.told(run_id)
    assert (run["status"], run["attempts"]) == ("completed", 3)
    assert run["earlier"] == ["failed", "crashed"]
    assert run["parameters"] | parameters | {"seed": 34} == run["parameters"]  # and the defaults
    cached = site.ask("task_runs/filter", {"task_runs": {"state": {"name": {"any_": ["Cached"]}}}})
    assert {"ingest_comments", "fit_scikit-0", "fit_keras-1"} <= {t["name"] for t in cached}
    [summary] = site.ask("artifacts/latest/filter", {"artifacts": {"key": {"any_": ["summary"]}}})
    assert "**Completed**" in summary["data"]

    wait_until(lambda: len(Webhook.told) == 3, 30, "the last alert")  # sent when all is written
    events = [(told["event"], told["name"]) for told in Webhook.told]
    assert events == [(event, run["name"]) for event in ("failed", "crashed", "recovered")]


def test_a_cancelled_run_takes_its_worker_processes_with_it(site):
    source, told = comments_file(site.folder / "comments.jsonl", n=120), len(Webhook.told)
    wait_until(lambda: site.is_idle("nightly"), 60, "the run before it to end")
    idle = {process.pid for process in site.processes()}
    run_id = site.run("nightly", **{**SMALL, "source": str(source), "scikit_grid": LONG})
    wait_until(lambda: forked(site, run_id), 120, "a search in its worker process")
    second = site.run("nightly", source=str(source))
    site.wait_for_state(second, "Cancelled")
    site.ask(f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})

    site.wait_for_state(run_id, "Cancelled", timeout_s=120)
    wait_until(
        lambda: {process.pid for process in site.processes()} <= idle, 60, "its processes to end"
    )
    assert site.told(run_id)["status"] == "cancelled"
    wait_until(
        lambda: len(Webhook.told) > told, 60, "the alert of the second"
    )  # of the first, none
    [second] = Webhook.told[told:]
    assert second["text"].endswith("did not begin: Deployment concurrency limit reached.")
